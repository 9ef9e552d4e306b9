//! What is known under a key, and how it is told.
//!
//! Belongs here: the forms of the feed, what of each is for whom. Does not belong here: where it is read ([`super::world`]).

use std::sync::Arc;

use bytes::Bytes;
use media::{StreamName, Track};
use serde::Serialize;

use super::board::Key;
use super::class::Class;
use super::health::Reason;
use crate::auth::Action;
use crate::http::forms;

/// Most reasons in one message: 64 KiB are not passed.
const MOST_REASONS: usize = 200;

/// Where streams are played.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Places {
    /// RTSP.
    pub(crate) rtsp: u16,
    /// LL-HLS.
    pub(crate) hls: u16,
    /// WebRTC's signalling.
    pub(crate) webrtc: u16,
}

/// What is known under a key.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    /// A stream.
    Stream(Box<Stream>),
    /// How a camera says it is: for who may view it, as JSON.
    Camera(StreamName, Arc<str>),
    /// Who is at a stream: for who may operate it, as JSON.
    Sessions(StreamName, Arc<str>),
    /// An export of a camera, as JSON.
    Export(StreamName, Arc<str>),
    /// What is wrong.
    Health(Arc<[Reason]>),
    /// The machine.
    System(Box<System>),
}

/// A stream.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Stream {
    /// Its name.
    pub(crate) name: StreamName,
    /// `live`, `held` or `ended`.
    pub(crate) state: &'static str,
    /// Since when it is so. RFC 3339.
    pub(crate) since: Arc<str>,
    /// Who publishes it.
    pub(crate) publisher: Option<Publisher>,
    /// What it is made of.
    pub(crate) tracks: Tracks,
    /// How it is recorded.
    pub(crate) recording: Option<forms::Recording>,
    /// Where the server fetches it.
    pub(crate) source: Option<Source>,
    /// What its latency counts from.
    pub(crate) latency_since: Option<&'static str>,
    /// The name of its lower rendition.
    pub(crate) low: Option<StreamName>,
}

/// Who publishes a stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Publisher {
    /// The number by which it can be ended.
    pub(crate) session: u64,
    /// As people say it.
    pub(crate) protocol: &'static str,
    /// What it calls itself.
    pub(crate) agent: Option<String>,
    /// Since when. RFC 3339.
    pub(crate) since: String,
    /// For who may operate the stream.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) remote: Option<String>,
}

/// Where the server fetches a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Source {
    /// In a word.
    pub(crate) state: &'static str,
    /// Without credentials; for who may operate the stream.
    pub(crate) url: Option<String>,
    /// What is wrong, for viewers and for who may operate the stream.
    pub(crate) why: Option<(String, Arc<str>)>,
}

/// Tracks, which are another's if they are other tracks.
#[derive(Clone, Debug)]
pub(crate) struct Tracks(pub(crate) Arc<[Track]>);

impl PartialEq for Tracks {
    fn eq(&self, other: &Self) -> bool {
        let formats = |tracks: &Self| tracks.0.iter().map(|track| track.format.clone()).collect::<Vec<_>>();
        Arc::ptr_eq(&self.0, &other.0) || formats(self) == formats(other)
    }
}

/// The machine.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct System {
    version: &'static str,
    /// When this was told.
    uptime_seconds: Uptime,
    /// Folders of recordings.
    pub(crate) disks: Vec<Disk>,
    /// What it is.
    pub(crate) machine: Hardware,
    /// Too hot, or with too little power.
    pub(crate) throttled: Option<bool>,
}

/// Seconds, which are no news by themselves.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(transparent)]
struct Uptime(u64);

impl PartialEq for Uptime {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl System {
    /// A program that has run so long.
    pub(crate) fn new(uptime_seconds: u64, disks: Vec<Disk>, machine: Hardware, throttled: Option<bool>) -> Self {
        Self {
            version: env!("CARGO_PKG_VERSION"),
            uptime_seconds: Uptime(uptime_seconds),
            disks,
            machine,
            throttled,
        }
    }
}

/// A folder of recordings.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Disk {
    /// What it is called.
    pub(crate) name: String,
    /// Free for us.
    pub(crate) free_gb: f64,
    /// In all.
    pub(crate) total_gb: f64,
    /// How long what is free lasts, as fast as it went so far.
    pub(crate) days_left: Option<f64>,
    /// `recording`, `paused`, `away`, `in_use` or `failing`.
    pub(crate) state: &'static str,
}

/// What a machine is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Hardware {
    /// As it calls itself.
    pub(crate) model: Option<String>,
    /// How many the program may use.
    pub(crate) processors: usize,
    /// MiB.
    pub(crate) memory_total_mb: Option<u64>,
}

#[derive(Serialize)]
struct StreamForm<'a> {
    name: &'a str,
    state: &'static str,
    since: &'a str,
    publisher: Option<Publisher>,
    tracks: Vec<forms::Track>,
    width: Option<u32>,
    height: Option<u32>,
    recording: Option<&'a forms::Recording>,
    source: Option<SourceForm<'a>>,
    latency_since: Option<&'static str>,
    low: Option<&'a str>,
    urls: Urls,
    may: Vec<&'static str>,
}

#[derive(Serialize)]
struct SourceForm<'a> {
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<&'a str>,
}

#[derive(Serialize)]
struct Urls {
    rtsp: String,
    hls: String,
    whep: String,
}

#[derive(Serialize)]
struct ReasonForm<'a> {
    of: Option<&'a str>,
    grade: &'static str,
    code: &'static str,
    text: &'a str,
    since: String,
}

impl Value {
    /// What somebody has to be allowed to do to which camera to be told; `None`: that depends on more.
    pub(super) fn demands(&self) -> Option<(&StreamName, Action)> {
        match self {
            Self::Stream(stream) => Some((&stream.name, Action::View)),
            Self::Camera(name, _) => Some((name, Action::View)),
            Self::Sessions(name, _) => Some((name, Action::Operate)),
            Self::Export(name, _) => Some((name, Action::Replay)),
            Self::Health(_) | Self::System(_) => None,
        }
    }

    /// What the text for somebody depends on; `None`: there is none for it.
    pub(super) fn variant(&self, class: &Class) -> Option<Box<[u8]>> {
        if let Some((name, action)) = self.demands()
            && !class.stream(name).may(action)
        {
            return None;
        }
        match self {
            Self::Stream(stream) => {
                let sight = class.stream(&stream.name);
                Some([sight.bits()].into_iter().chain(class.place().bytes()).collect())
            }
            Self::Camera(..) | Self::Sessions(..) | Self::Export(..) => Some(Box::default()),
            Self::Health(_) | Self::System(_) if !class.some().may(Action::View) => None,
            Self::Health(reasons) => Some(reasons.iter().map(|reason| u8::from(concerns(reason, class))).collect()),
            Self::System(_) => Some(Box::default()),
        }
    }

    /// The message for somebody whom it concerns.
    pub(super) fn text(&self, key: &Key, class: &Class, places: &Places) -> Bytes {
        let value = match self {
            Self::Stream(stream) => json(&stream.form(class, places)),
            Self::Camera(_, text) | Self::Sessions(_, text) | Self::Export(_, text) => text.to_string(),
            Self::Health(reasons) => {
                let told = reasons.iter().filter(|reason| concerns(reason, class));
                json(&told.take(MOST_REASONS).map(ReasonForm::from).collect::<Vec<_>>())
            }
            Self::System(system) => json(system),
        };
        let key = json(&key.name());
        Bytes::from(format!(r#"{{"type":"set","key":{key},"value":{value}}}"#))
    }
}

/// What is wrong with the machine concerns those who may view all.
fn concerns(reason: &Reason, class: &Class) -> bool {
    match &reason.of {
        Some(name) => class.stream(name).may(Action::View),
        None => class.program().may(Action::View),
    }
}

/// Forms of ours, which always become JSON.
pub(super) fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_else(|_| "null".to_owned())
}

impl Stream {
    fn form<'a>(&'a self, class: &Class, places: &Places) -> StreamForm<'a> {
        let sight = class.stream(&self.name);
        let steers = sight.may(Action::Operate);
        let size = self.tracks.0.iter().find_map(|track| track.format.dimensions());
        let mut publisher = self.publisher.clone();
        if let Some(publisher) = publisher.as_mut().filter(|_| !steers) {
            publisher.remote = None;
        }
        let (name, place) = (&self.name, class.place());
        StreamForm {
            name: name.as_str(),
            state: self.state,
            since: &self.since,
            publisher,
            tracks: (self.tracks.0.iter())
                .map(|track| forms::Track::new(&track.format))
                .collect(),
            width: size.map(|(width, _)| width),
            height: size.map(|(_, height)| height),
            recording: self.recording.as_ref(),
            source: self.source.as_ref().map(|source| SourceForm {
                state: source.state,
                url: source.url.as_deref().filter(|_| steers),
                why: source
                    .why
                    .as_ref()
                    .map(|(told, all)| if steers { all } else { told.as_str() }),
            }),
            latency_since: self.latency_since,
            low: self.low.as_ref().map(StreamName::as_str),
            urls: Urls {
                rtsp: place.rtsp(places.rtsp, name),
                hls: place.hls(places.hls, name),
                whep: place.whep(places.webrtc, name),
            },
            may: (Action::ALL.into_iter())
                .filter(|action| sight.may(*action))
                .map(Action::name)
                .collect(),
        }
    }
}

impl<'a> From<&'a Reason> for ReasonForm<'a> {
    fn from(reason: &'a Reason) -> Self {
        Self {
            of: reason.of.as_ref().map(StreamName::as_str),
            grade: reason.grade.word(),
            code: reason.code,
            text: &reason.text,
            since: reason.since.to_rfc3339(),
        }
    }
}
