//! What is uploaded where, by the settings.
//!
//! Does not belong here: the words of `.env` ([`super::words`]).

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use media::StreamName;

use super::lifecycle::Keep;
use super::name;
use crate::config::Environment;
use crate::config::settings::{self, Settings, Stream};
use crate::config::stream_key::StreamKey;
use crate::config::upload::{S3Place, UploadTarget};
use crate::record::trigger::Schedule;
use crate::s3::Access;

/// One upload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// What it is called in the log and in names.
    pub name: StreamName,
    /// The stream that snapshots are taken of.
    pub stream: StreamName,
    pub(super) to: To,
    pub(super) every: Duration,
    /// `None`: always.
    pub(super) schedule: Option<Schedule>,
    pub(super) keep: Keep,
    pub(super) spool: PathBuf,
    pub(super) spool_bytes: u64,
    pub(super) max_width: Option<u16>,
    pub(super) quality: u8,
}

/// Where snapshots go, and by whose leave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum To {
    S3(S3Place, Box<Access>),
    Folder(PathBuf),
}

impl fmt::Display for To {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::S3(place, _) => place.fmt(f),
            Self::Folder(folder) => folder.display().fmt(f),
        }
    }
}

/// A table, and what its keys are called where people wrote them.
pub(super) struct Table<'a> {
    pub(super) name: &'a StreamName,
    /// The stream that it takes.
    pub(super) stream: StreamName,
    pub(super) upload: &'a settings::Upload,
    pub(super) called: &'a dyn Fn(&str) -> String,
}

/// What all uploads share.
pub struct Common<'a> {
    /// Where S3 is.
    pub s3: &'a settings::S3,
    /// Where its keys are, where that does not say.
    pub environment: &'a Environment,
    /// The state folder, where spools are.
    pub state: &'a Path,
}

impl Plan {
    /// By one table.
    ///
    /// # Errors
    /// All that is wrong, a line for each.
    pub(super) fn new(table: &Table<'_>, common: &Common<'_>) -> Result<Self, Vec<String>> {
        let Table {
            name,
            stream,
            upload,
            called,
        } = table;
        let to = match &upload.to {
            Some(UploadTarget::S3(place)) => match Access::of(common.s3, common.environment) {
                Ok(access) => To::S3(place.clone(), Box::new(access)),
                Err(no_access) => return Err(no_access.0),
            },
            Some(UploadTarget::Folder(folder)) => To::Folder(folder.clone()),
            None => {
                let key = called("to");
                return Err(vec![format!("{key}: not set; write s3://bucket/prefix or a folder")]);
            }
        };
        let spool = upload.spool_dir.clone();
        Ok(Self {
            name: (*name).clone(),
            stream: stream.clone(),
            to,
            every: upload.every.0,
            schedule: (!upload.schedule.0.is_empty()).then(|| Schedule::new(&upload.schedule.0)),
            keep: Keep {
                age: upload.keep.0,
                count: upload.keep_count,
            },
            spool: spool.unwrap_or_else(|| common.state.join(FOLDER).join(name::folder(name))),
            spool_bytes: upload.spool.0,
            max_width: upload.max_width,
            quality: upload.quality,
        })
    }
}

/// The folder of spools in the state folder.
const FOLDER: &str = "uploads";

/// Those that take streams of a server; what is wrong stands beside the name of each that does not run for it.
pub(super) fn of_server(settings: &Settings, common: &Common<'_>) -> Vec<(StreamName, Result<Plan, Vec<String>>)> {
    let tables = settings.upload.iter().filter_map(|(name, upload)| {
        let stream = upload.stream.as_ref()?.0.clone();
        let called = |key: &str| format!("upload.{name}.{key}");
        let table = Table {
            name: &name.0,
            stream,
            upload,
            called: &called,
        };
        Some((name.0.clone(), Plan::new(&table, common)))
    });
    tables.collect()
}

/// Streams that are fetched.
pub type Streams = BTreeMap<StreamKey, Stream>;

/// Tables, and what the keys of each are called where people wrote them.
pub type Tables<'a> = BTreeMap<StreamName, (settings::Upload, &'a dyn Fn(&str) -> String)>;

/// Those that have a camera of their own, and the streams that those are.
///
/// # Errors
/// All that is wrong, a line for each.
pub fn with_sources(uploads: &Tables<'_>, common: &Common<'_>) -> Result<(Vec<Plan>, Streams), Vec<String>> {
    let (mut plans, mut streams, mut wrong) = (Vec::new(), BTreeMap::new(), Vec::new());
    for (name, (upload, called)) in uploads {
        let table = Table {
            name,
            stream: name.clone(),
            upload,
            called: *called,
        };
        match Plan::new(&table, common) {
            Ok(plan) => plans.push(plan),
            Err(lines) => wrong.extend(lines),
        }
        match &upload.source {
            None => wrong.push(format!("{}: not set; say where the camera is", called("source"))),
            Some(source) => {
                let unusable = source.0.iter().filter_map(|source| source.filled(None).err());
                wrong.extend(unusable.map(|why| format!("{}: {why}", called("source"))));
            }
        }
        let stream = Stream {
            source: upload.source.clone(),
            source_transport: upload.source_transport,
            source_fingerprint: upload.source_fingerprint,
            // Nobody asks the camera for anything outside of the schedule.
            on_demand: true,
            ..Stream::default()
        };
        streams.insert(StreamKey::Name(name.clone()), stream);
    }
    if wrong.is_empty() {
        Ok((plans, streams))
    } else {
        Err(wrong)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plans(text: &str, variables: &[(&str, &str)]) -> Vec<(StreamName, Result<Plan, Vec<String>>)> {
        let settings: Settings = toml::from_str(text).unwrap();
        let environment = Environment::of(variables.iter().copied());
        let common = Common {
            s3: &settings.s3,
            environment: &environment,
            state: Path::new("/state"),
        };
        of_server(&settings, &common)
    }

    #[test]
    fn a_server_takes_its_own_streams_alone() {
        let text = "[upload.a]\nstream = \"house/door\"\nto = \"/srv\"\nkeep = \"30d\"\nkeep_count = 5\n[upload.b]\nsource = \"rtsp://10.0.0.4/1\"\nto = \"/srv\"\n";
        let plans = plans(text, &[]);
        let [(_, Ok(plan))] = &plans[..] else {
            panic!("{plans:?}")
        };
        assert_eq!((plan.stream.as_str(), plan.name.as_str()), ("house/door", "a"));
        assert_eq!(
            (plan.spool.to_str(), plan.every),
            (Some("/state/uploads/a"), Duration::from_secs(10))
        );
        assert_eq!(
            (plan.keep.age.as_secs(), plan.keep.count, plan.schedule.is_none()),
            (2_592_000, 5, true)
        );
    }

    #[test]
    fn what_is_missing_is_named() {
        let text = "[upload.a]\nstream = \"door\"\n[upload.b]\nstream = \"door\"\nto = \"s3://bucket\"\n";
        let plans = plans(text, &[("AWS_ACCESS_KEY_ID", "key")]);
        let wrong: Vec<&String> = plans.iter().flat_map(|(_, plan)| plan.as_ref().unwrap_err()).collect();
        assert!(wrong[0].starts_with("upload.a.to: not set"), "{wrong:?}");
        assert!(
            wrong.len() == 2 && wrong[1].starts_with("AWS_SECRET_ACCESS_KEY: not set"),
            "{wrong:?}"
        );
    }
}
