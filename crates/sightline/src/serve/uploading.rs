//! Snapshots of streams and old recordings, uploaded as the settings say, which may change.

use std::convert::Infallible;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

use crate::config::live::Live;
use crate::config::settings::{self, Settings};
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
        let plan = plan(program, &now.0, &now.1);
        let archiving = async {
            match plan {
                Ok(Some(plan)) => Arc::clone(archive).run(plan, shutdown.clone()).await,
                Ok(None) => {}
                Err(wrong) => tracing::error!("nothing is archived: {}", wrong.0.join("; ")),
            }
            std::future::pending::<()>().await;
        };
        now = tokio::select! {
            () = archiving => continue,
            changed = parts.changed() => changed,
        };
    }
}

fn plan(program: &Program, record: &settings::Record, s3: &settings::S3) -> Result<Option<archive::Plan>, NoAccess> {
    let Some(place) = record.archive.clone() else {
        return Ok(None);
    };
    Ok(Some(archive::Plan {
        place,
        access: Access::of(s3, &program.environment)?,
        after: record.archive_after.0,
        bytes_per_second: NonZeroU64::new(u64::from(record.archive_rate.kbps()) * 1_000 / 8),
    }))
}
