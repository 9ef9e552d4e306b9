//! Snapshots of streams and old recordings, uploaded as the settings say, which may change.

use std::convert::Infallible;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

use crate::config::live::Live;
use crate::config::settings::{self, Settings};
use crate::publish::Backoff;
use crate::random;
use crate::record::archive::{self, Archive};
use crate::record::service::Recordings;
use crate::s3::{Access, NoAccess};
use crate::shutdown::Shutdown;
use crate::source::Supervisor;
use crate::state;
use crate::upload::plan::Common;
use crate::upload::{self, Uploads};

use super::{Program, state_place};

/// What uploads snapshots.
pub(super) fn uploads(program: &Program, streams: &Arc<Supervisor>, shutdown: &Shutdown) -> Arc<Uploads> {
    let world = upload::World {
        streams: Arc::clone(streams),
        clock: Arc::clone(&program.clock),
        zone: crate::clock::zone,
        random: random::bits,
    };
    Uploads::new(world, shutdown.clone())
}

/// Begins what is set, and follows it.
async fn follow_uploads(program: &Program, live: &Live, uploads: &Uploads) -> Infallible {
    let mut parts = live.part(|settings| (settings.upload.clone(), settings.s3.clone()));
    let settings = &program.loaded.settings;
    let mut now = (settings.upload.clone(), settings.s3.clone());
    let mut told = Vec::new();
    loop {
        let (upload, s3) = now.clone();
        let settings = Settings {
            upload,
            s3,
            ..Settings::default()
        };
        let wrong = set(program, &settings, uploads).await;
        if wrong != told {
            for line in &wrong {
                tracing::error!("nothing is uploaded for {line}");
            }
        }
        let is_well = wrong.is_empty();
        told = wrong;
        // The process before may still have the spool, or a key may be put where it is looked for.
        tokio::select! {
            changed = parts.changed() => now = changed,
            () = tokio::time::sleep(AGAIN), if !is_well => {}
        }
    }
}

/// How soon it is tried again to start what does not.
const AGAIN: Duration = Duration::from_secs(10);
/// And the first time.
const SOON: Duration = Duration::from_secs(1);

/// What does not run, and why.
async fn set(program: &Program, settings: &Settings, uploads: &Uploads) -> Vec<String> {
    let place = state::default_place(&state_place(program), &program.environment);
    let state = match place {
        Ok(state) => state,
        Err(error) => return vec![format!("any stream: {error}")],
    };
    let common = Common {
        s3: &settings.s3,
        environment: &program.environment,
        state: &state,
    };
    uploads.set(settings, &common).await
}

/// Both.
pub(super) async fn follow(
    program: &Program,
    live: &Live,
    uploads: &Uploads,
    archive: &Arc<Archive>,
    shutdown: &Shutdown,
) -> Infallible {
    let (never, _) = tokio::join!(
        follow_uploads(program, live, uploads),
        follow_archive(program, live, archive, shutdown)
    );
    never
}

/// What is in the archive, in the state folder.
const CATALOGUE: &str = "archive.sqlite";

/// What archives recordings.
pub(super) fn archive(program: &Program, recordings: &Arc<Recordings>) -> Arc<Archive> {
    let recordings = Arc::clone(recordings);
    let state = state::default_place(&state_place(program), &program.environment).unwrap_or_default();
    Archive::new(archive::World {
        recorder: Box::new(move || recordings.recorder()),
        clock: Arc::clone(&program.clock),
        random: random::bits,
        catalogue: state.join(CATALOGUE),
    })
}

/// Archives what is set, and follows it.
async fn follow_archive(program: &Program, live: &Live, archive: &Arc<Archive>, shutdown: &Shutdown) -> Infallible {
    let wishes = |settings: &Settings| (settings.record.clone(), settings.s3.clone());
    let mut parts = live.part(wishes);
    let mut now = wishes(&program.loaded.settings);
    loop {
        let archiving = async {
            if now.0.archive.is_some() {
                archive_until_it_works(program, archive, &now, shutdown).await;
            }
            archive.say_trouble(None);
            std::future::pending::<Infallible>().await
        };
        now = tokio::select! {
            never = archiving => match never {},
            changed = parts.changed() => changed,
        };
    }
}

/// A key may be put where it is looked for, a disk be mounted: it is tried again, and said once.
async fn archive_until_it_works(
    program: &Program,
    archive: &Arc<Archive>,
    (record, s3): &(settings::Record, settings::S3),
    shutdown: &Shutdown,
) {
    let mut backoff = Backoff::new(SOON, AGAIN, Duration::MAX);
    let mut told = None;
    loop {
        let wrong = match plan(program, record, s3).await {
            Ok(None) => return,
            Ok(Some(plan)) => match Arc::clone(archive).run(plan, shutdown.clone()).await {
                Ok(()) => return,
                Err(failed) => failed.to_string(),
            },
            Err(NoAccess(wrong)) => wrong.join("; "),
        };
        if told.as_ref() != Some(&wrong) {
            tracing::error!("nothing is archived: {wrong}");
            archive.say_trouble(Some(wrong.clone()));
            told = Some(wrong);
        }
        tokio::time::sleep(backoff.next(Duration::ZERO)).await;
    }
}

/// Reads the file of the key, on a thread that may wait for a disk.
async fn plan(
    program: &Program,
    record: &settings::Record,
    s3: &settings::S3,
) -> Result<Option<archive::Plan>, NoAccess> {
    let Some(place) = record.archive.clone() else {
        return Ok(None);
    };
    let (s3, environment) = (s3.clone(), program.environment.clone());
    let access = tokio::task::spawn_blocking(move || Access::of(&s3, &environment));
    let access = access
        .await
        .unwrap_or_else(|error| Err(NoAccess(vec![error.to_string()])));
    Ok(Some(archive::Plan {
        place,
        access: access?,
        after: record.archive_after.0,
        bytes_per_second: NonZeroU64::new(u64::from(record.archive_rate.kbps()) * 1_000 / 8),
    }))
}
