//! What is done with which camera, by the settings.
//!
//! Does not belong here: the words of `.env` ([`super::words`]), making folders and opening them ([`super::folder`]).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use media::StreamName;

use super::words::with_login;
use crate::config::destination::{Destination, ForwardUrl};
use crate::config::settings::{Relay, Settings, Stream};
use crate::config::stream_key::StreamKey;
use crate::config::stream_source::{Place, StreamSource};
use crate::secret::Secret;

/// Segments of HLS, where nothing is said.
const HLS_SEGMENT: Duration = Duration::from_secs(4);
/// Recordings, likewise.
const RECORD_SEGMENT: Duration = Duration::from_secs(60);
/// How long segments of HLS stay, likewise.
const HLS_RETENTION: Duration = Duration::from_secs(6 * 3_600);

/// One camera, and what is done with its stream.
#[derive(Clone, Debug, PartialEq)]
pub struct Camera {
    /// What it is called in the log.
    pub name: StreamName,
    /// Where it is, and where it is sent on to.
    pub stream: Stream,
    /// Where its account is set, for people.
    pub account: Account,
    /// Written as HLS.
    pub hls: Option<Output>,
    /// Recorded.
    pub record: Option<Output>,
}

/// Where the account of a camera is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Account {
    /// In `CAMERA_USERNAME` and `CAMERA_PASSWORD`; whether it is.
    Words(bool),
    /// In the URL.
    Url,
}

/// A folder that is written into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// Where.
    pub folder: PathBuf,
    /// The setting that says so, for people.
    pub setting: String,
    /// How long a file lasts.
    pub segment: Duration,
    /// What is older is removed; `None`: nothing.
    pub retention: Option<Duration>,
}

/// Where the settings of a camera stand, for people: the name of a setting by that of its key.
pub(super) type Called<'a> = &'a dyn Fn(&str) -> String;

impl Camera {
    /// By one table, or what stands for it.
    ///
    /// # Errors
    /// All that is wrong, a line for each.
    pub(super) fn new(
        name: StreamName,
        relay: &Relay,
        account: Account,
        called: Called<'_>,
    ) -> Result<Self, Vec<String>> {
        let mut wrong = Vec::new();
        if relay.source.is_none() {
            wrong.push(format!("{}: not set; say where the camera is", called("source")));
        }
        if relay.republish.is_empty() && relay.hls_dir.is_none() && relay.record_dir.is_none() {
            wrong.push(format!(
                "{}: nothing is done with the camera; set {}, {} or {}",
                called("source"),
                called("republish"),
                called("hls_dir"),
                called("record_dir")
            ));
        }
        if relay.republish.len() > MOST_TARGETS {
            wrong.push(format!(
                "{}: it holds {} URLs; give at most {MOST_TARGETS}",
                called("republish"),
                relay.republish.len()
            ));
        }
        let filled = relay.source.iter().flat_map(|list| &list.0);
        let unusable = filled.filter_map(|source| source.filled(None).err());
        wrong.extend(unusable.map(|why| format!("{}: {why}", called("source"))));
        let unusable = relay.republish.iter().filter_map(|to| to.filled(None).err());
        wrong.extend(unusable.map(|why| format!("{}: {why}", called("republish"))));
        if !wrong.is_empty() {
            return Err(wrong);
        }
        let output = |folder: &Option<PathBuf>, key: &str, segment, retention: Option<Duration>| {
            let set = relay.retention.map(|set| Some(set.0).filter(|set| !set.is_zero()));
            Some(Output {
                folder: folder.clone()?,
                setting: called(key),
                segment: relay.segment.map_or(segment, |set| set.0),
                retention: set.unwrap_or(retention),
            })
        };
        Ok(Self {
            name,
            account,
            hls: output(&relay.hls_dir, "hls_dir", HLS_SEGMENT, Some(HLS_RETENTION)),
            record: output(&relay.record_dir, "record_dir", RECORD_SEGMENT, None),
            stream: Stream {
                source: relay.source.clone(),
                source_transport: relay.source_transport,
                source_fingerprint: relay.source_fingerprint,
                forward: relay.republish.clone(),
                forward_fingerprint: relay.republish_fingerprint,
                ..Stream::default()
            },
        })
    }

    /// The folders that are written into.
    pub fn outputs(&self) -> impl Iterator<Item = &Output> {
        self.hls.iter().chain(&self.record)
    }
}

/// The cameras of the tables `[relay.NAME]`.
///
/// # Errors
/// All that is wrong, a line for each.
pub fn cameras(settings: &Settings) -> Result<Vec<Camera>, Vec<String>> {
    let mut cameras = Vec::new();
    let mut wrong = Vec::new();
    for (name, relay) in &settings.relay {
        let called = |key: &str| format!("relay.{}.{key}", name.0);
        match Camera::new(name.0.clone(), relay, Account::Url, &called) {
            Ok(camera) => cameras.push(camera),
            Err(lines) => wrong.extend(lines),
        }
    }
    wrong.extend(shared_folders(&cameras));
    if wrong.is_empty() { Ok(cameras) } else { Err(wrong) }
}

/// The same cameras, whose servers are shown this token where their URLs name no user.
pub fn shown_to_servers(mut cameras: Vec<Camera>, token: &Secret) -> Vec<Camera> {
    let targets = cameras.iter_mut().flat_map(|camera| &mut camera.stream.forward);
    for target in targets {
        if let Some(shown) = target_with(target, token) {
            *target = shown;
        }
    }
    cameras
}

/// `None`: it names a user.
fn target_with(target: &ForwardUrl, token: &Secret) -> Option<ForwardUrl> {
    let url = match target.filled(None).ok()? {
        Destination::Rtsp(url) if url.user.is_none() => url.with_login(),
        // As settings spell it.
        Destination::Whip(url) if url.username().is_empty() => url.as_str().replacen("http", "whip", 1),
        _ => return None,
    };
    with_login(&url, "publisher", token.expose()).parse().ok()
}

/// The same source, shown this token where it is another server whose URL names no user.
pub fn source_with(source: StreamSource, token: &Secret) -> StreamSource {
    let url = match source.filled(None) {
        Ok(Place::Rtsp(url)) if url.user.is_none() => url.with_login(),
        Ok(Place::Whep(url)) if url.username().is_empty() => url.as_str().replacen("http", "whep", 1),
        Ok(Place::Hls(url)) if url.username().is_empty() => url.to_string(),
        _ => return source,
    };
    with_login(&url, "viewer", token.expose()).parse().unwrap_or(source)
}

/// Two that write into one folder would take each other's files away.
pub(super) fn shared_folders(cameras: &[Camera]) -> Vec<String> {
    let mut before: BTreeMap<&Path, &str> = BTreeMap::new();
    let mut wrong = Vec::new();
    for output in cameras.iter().flat_map(Camera::outputs) {
        if output.folder.as_os_str().is_empty() {
            wrong.push(format!("{}: it is empty; name a folder", output.setting));
        } else if let Some(other) = before.insert(&output.folder, &output.setting) {
            wrong.push(format!(
                "{}: that is the folder of {other}; give each one of its own",
                output.setting
            ));
        }
    }
    wrong
}

/// What the source and the forwarder are told.
pub(super) fn streams(cameras: &[Camera]) -> BTreeMap<StreamKey, Stream> {
    let table = |camera: &Camera| (StreamKey::Name(camera.name.clone()), camera.stream.clone());
    cameras.iter().map(table).collect()
}

/// As many as a stream may be forwarded to.
const MOST_TARGETS: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<Camera>, Vec<String>> {
        cameras(&toml::from_str(text).unwrap())
    }

    #[test]
    fn any_of_the_modes_for_any_number_of_cameras() {
        let text = "[relay.door]\nsource = \"rtsp://u:canary@10.0.0.4/1\"\nrepublish = [\"rtsp://10.0.0.5:8554/door\", \"whip://10.0.0.6/door/whip\"]\nhls_dir = \"/srv/door\"\n\
            record_dir = \"/mnt/door\"\n[relay.yard]\nsource = [\"rtsp://10.0.0.7/1\", \"onvif://10.0.0.7/\"]\nrecord_dir = \"/mnt/yard\"\nsegment = 5\nretention = \"7d\"\n\
            [relay.gate]\nsource = \"rtsp://10.0.0.8/1\"\nhls_dir = \"/srv/gate\"\nsegment = \"2s\"\nretention = 0\n";
        let cameras = read(text).unwrap();
        let times = |output: &Option<Output>| {
            let output = output.as_ref()?;
            Some((output.segment.as_secs(), output.retention.map(|keep| keep.as_secs())))
        };
        let told: Vec<_> = cameras
            .iter()
            .map(|camera| {
                (
                    camera.name.as_str(),
                    times(&camera.hls),
                    times(&camera.record),
                    camera.stream.forward.len(),
                )
            })
            .collect();
        assert_eq!(
            told,
            [
                ("door", Some((4, Some(21_600))), Some((60, None)), 2),
                ("gate", Some((2, None)), None, 0),
                ("yard", None, Some((5, Some(604_800))), 0),
            ]
        );
        assert_eq!(streams(&cameras).len(), 3);
        assert!(!format!("{cameras:?}").contains("canary"));
    }

    #[test]
    fn a_token_is_shown_where_a_url_names_no_user() {
        let token = Secret::new("t0/ken");
        let text = "[relay.door]\nsource = \"rtsp://10.0.0.4/1\"\nrepublish = [\"rtsp://10.0.0.5:8554/a$1\", \"whips://10.0.0.6/door/whip\", \"rtsp://me:mine@10.0.0.7/b\"]\n";
        let cameras = shown_to_servers(read(text).unwrap(), &token);
        let forward = cameras[0].stream.forward.iter().map(|to| to.filled(None).unwrap());
        let told: Vec<_> = forward
            .map(|to| match to {
                Destination::Rtsp(url) => (url.user.unwrap(), url.password.unwrap(), url.path),
                Destination::Whip(url) => {
                    assert_eq!(url.scheme(), "https");
                    let password = url.password().unwrap().replace("%2F", "/");
                    (url.username().to_owned(), password, url.path().to_owned())
                }
            })
            .collect();
        let expected = [
            ("publisher", "t0/ken", "/a$1"),
            ("publisher", "t0/ken", "/door/whip"),
            ("me", "mine", "/b"),
        ];
        let expected = expected.map(|(user, password, path)| (user.to_owned(), password.to_owned(), path.to_owned()));
        assert_eq!(told, expected);
        for (source, password) in [
            ("rtsp://10.0.0.4/1", Some("t0/ken")),
            ("rtsp://u:p@10.0.0.4/1", Some("p")),
            ("rtsp://u@10.0.0.4/1", Some("")),
        ] {
            let Ok(Place::Rtsp(url)) = source_with(source.parse().unwrap(), &token).filled(None) else {
                panic!("{source}")
            };
            assert_eq!(url.password.as_deref(), password, "{source}");
        }
        let of_a_program: StreamSource = "exec:camera".parse().unwrap();
        assert_eq!(source_with(of_a_program.clone(), &token), of_a_program);
    }

    #[test]
    fn what_is_wrong_is_said_with_the_setting() {
        let text = "[relay.a]\nrecord_dir = \"/x\"\n[relay.b]\nsource = \"rtsp://h/\"\n[relay.c]\nsource = \"rtsp://h/\"\nhls_dir = \"/y\"\nrecord_dir = \"/y\"\n\
            [relay.d]\nsource = \"rtsp://h/\"\nhls_dir = \"\"\n";
        let wrong = read(text).unwrap_err();
        let begins = [
            "relay.a.source: not set",
            "relay.b.source: nothing is done with the camera; set relay.b.republish",
            "relay.c.record_dir: that is the folder of relay.c.hls_dir",
            "relay.d.hls_dir: it is empty",
        ];
        assert_eq!(wrong.len(), begins.len(), "{wrong:#?}");
        for (line, begin) in wrong.iter().zip(begins) {
            assert!(line.starts_with(begin), "{line}");
        }
        let many = format!(
            "[relay.e]\nsource = \"rtsp://h/\"\nrepublish = [{}]\n",
            "\"rtsp://h/1\",".repeat(9)
        );
        assert!(read(&many).unwrap_err()[0].starts_with("relay.e.republish: it holds 9 URLs"));
    }
}
