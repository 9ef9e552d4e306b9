//! An event as JSON: one flat object, whatever it tells.

use std::net::IpAddr;

use device::motion;
use media::StreamName;
use media::hub::EndReason;
use serde::Serialize;

use super::{Connection, Event, Export, ExportStep, Motion, Parting, Peer, What};

/// How much somebody is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sight {
    /// All there is.
    Whole,
    /// Not who others are, and where a source is: for viewers of the stream.
    NoPeers,
}

/// What programs read. Members that say nothing are left out.
#[derive(Debug, Default, Serialize)]
pub struct Form<'a> {
    id: u64,
    /// RFC 3339.
    at: String,
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    stream: Option<&'a str>,
    /// Of a publisher or viewer: the number by which it can be ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    session: Option<u64>,
    /// Of a connection: its number.
    #[serde(skip_serializing_if = "Option::is_none")]
    connection: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    protocol: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    remote: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    agent: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    query: Option<&'a str>,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    counted: Option<Counted>,
    /// Of a connection or motion that is over.
    #[serde(rename = "duration_ms", skip_serializing_if = "Option::is_none")]
    lasted_ms: Option<i64>,
    /// Of a source or an export.
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<&'a str>,
    /// Of settings.
    #[serde(skip_serializing_if = "Option::is_none")]
    keys: Option<&'a [String]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    changed: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    problems: Option<&'a [String]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    by: Option<&'a str>,
    /// Of logins.
    #[serde(skip_serializing_if = "Option::is_none")]
    times: Option<u64>,
    /// Of an export: by what it is asked for, and how much of it is made.
    #[serde(skip_serializing_if = "Option::is_none")]
    export: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    percent: Option<u8>,
    /// Of a recording that somebody gave a name, and of an export.
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<&'a str>,
    /// Of motion: when it began. RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    began: Option<String>,
    /// Where it is, or was.
    #[serde(skip_serializing_if = "Option::is_none")]
    area: Option<Area>,
    /// How far it stands out, 1 to 100.
    #[serde(skip_serializing_if = "Option::is_none")]
    score: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<&'static str>,
}

/// Part of a picture: parts of its width and height, from its left and top.
#[derive(Debug, Serialize)]
struct Area {
    left: f32,
    top: f32,
    right: f32,
    bottom: f32,
}

impl From<motion::Area> for Area {
    fn from(area: motion::Area) -> Self {
        let part = |permille: u16| f32::from(permille) / 1_000.0;
        Self {
            left: part(area.left_permille),
            top: part(area.top_permille),
            right: part(area.right_permille),
            bottom: part(area.bottom_permille),
        }
    }
}

/// What somebody who left was given, or gave.
#[derive(Debug, Serialize)]
struct Counted {
    duration_ms: i64,
    bytes: u64,
    packets: u64,
    frames: u64,
    keyframes: u64,
    frames_dropped: u64,
    jumps: u64,
    packets_lost: u64,
}

impl Event {
    /// As programs read it.
    pub fn form(&self, sight: Sight) -> Form<'_> {
        let form = Form {
            id: self.id,
            at: self.at.to_rfc3339(),
            kind: self.what.kind().name(),
            stream: self.what.stream().map(StreamName::as_str),
            ..Form::default()
        };
        let whole = sight == Sight::Whole;
        match &self.what {
            What::StreamAvailable(_) | What::ProgramEnding => form,
            What::StreamUnavailable(_, why) => Form {
                reason: Some(why_unavailable(*why).to_owned()),
                ..form
            },
            What::Joined(peer) => form.with_peer(peer, whole),
            What::Left(parting) => Form {
                counted: Some(self.counted(parting)),
                // It may name others.
                reason: parting.reason.as_deref().filter(|_| whole).map(str::to_owned),
                ..form.with_peer(&parting.peer, whole)
            },
            What::Source(source) => Form {
                state: Some(source.state),
                url: whole.then_some(&source.url),
                query: source.query.as_deref().filter(|_| whole),
                reason: source.why.as_ref().map(|why| match whole {
                    true => why.detail.to_string(),
                    false => why.trouble.to_string(),
                }),
                ..form
            },
            What::SettingsChanged { keys, count, by } => Form {
                keys: Some(keys),
                changed: Some(*count),
                by: Some(by),
                ..form
            },
            What::SettingsRefused { problems, by } => Form {
                problems: Some(problems),
                by: Some(by),
                ..form
            },
            What::ProgramStarted => Form {
                version: Some(env!("CARGO_PKG_VERSION")),
                ..form
            },
            What::LoginRefused(login) => Form {
                protocol: Some(login.protocol),
                remote: Some(login.remote).map(|remote: IpAddr| remote.to_string()),
                reason: Some(login.reason.clone()),
                times: Some(login.times),
                ..form
            },
            What::Recording(recording) => Form {
                file: recording.file.as_deref(),
                reason: recording.reason.clone(),
                ..form
            },
            What::Export(export) => form.with_export(export),
            What::Motion(motion) => form.with_motion(motion),
            What::Opened(connection) => form.with_connection(connection, whole),
            What::Closed(closed) => Form {
                lasted_ms: Some(self.at.micros_since(closed.since).max(0) / 1_000),
                reason: closed.reason.clone(),
                ..form.with_connection(&closed.connection, whole)
            },
        }
    }

    fn counted(&self, parting: &Parting) -> Counted {
        let totals = &parting.totals;
        Counted {
            duration_ms: self.at.micros_since(parting.peer.since).max(0) / 1_000,
            bytes: totals.bytes,
            packets: totals.packets,
            frames: totals.frames,
            keyframes: totals.keyframes,
            frames_dropped: totals.frames_dropped,
            jumps: totals.jumps,
            packets_lost: totals.packets_lost,
        }
    }
}

impl What {
    /// The stream that it is about.
    pub fn stream(&self) -> Option<&StreamName> {
        match self {
            Self::StreamAvailable(stream) | Self::StreamUnavailable(stream, _) => Some(stream),
            Self::Joined(peer) => Some(&peer.stream),
            Self::Left(parting) => Some(&parting.peer.stream),
            Self::Source(source) => Some(&source.stream),
            Self::LoginRefused(login) => login.stream.as_ref(),
            Self::Recording(recording) => recording.stream.as_ref(),
            Self::Export(export) => Some(&export.stream),
            Self::Motion(motion) => Some(&motion.stream),
            Self::SettingsChanged { .. }
            | Self::SettingsRefused { .. }
            | Self::ProgramStarted
            | Self::ProgramEnding
            | Self::Opened(_)
            | Self::Closed(_) => None,
        }
    }
}

impl<'a> Form<'a> {
    fn with_export(self, export: &'a Export) -> Self {
        Self {
            export: Some(&export.id),
            percent: match export.step {
                ExportStep::Progress(percent) => Some(percent),
                ExportStep::Started | ExportStep::Ended => None,
            },
            state: Some(export.state),
            file: Some(&export.file),
            reason: export.reason.clone(),
            ..self
        }
    }

    fn with_motion(self, motion: &'a Motion) -> Self {
        Self {
            began: Some(motion.began.to_rfc3339()),
            lasted_ms: motion.ended.map(|at| at.micros_since(motion.began).max(0) / 1_000),
            area: motion.area.map(Area::from),
            score: motion.score,
            by: Some(motion.by),
            ..self
        }
    }

    fn with_connection(self, connection: &'a Connection, whole: bool) -> Self {
        Self {
            connection: Some(connection.id),
            protocol: Some(connection.protocol),
            remote: whole.then(|| connection.remote.to_string()),
            ..self
        }
    }

    fn with_peer(self, peer: &'a Peer, whole: bool) -> Self {
        Self {
            session: Some(peer.session),
            protocol: Some(peer.protocol),
            remote: peer.remote.filter(|_| whole).map(|remote| remote.to_string()),
            agent: peer.agent.as_deref().filter(|_| whole),
            query: peer.query.as_deref().filter(|_| whole),
            ..self
        }
    }
}

fn why_unavailable(why: EndReason) -> &'static str {
    match why {
        EndReason::PublisherGone => "its publisher left and did not come back in time",
        EndReason::Stopped => "it was ended",
    }
}
