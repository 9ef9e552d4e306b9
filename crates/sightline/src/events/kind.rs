//! Kinds of events, by their names.

use std::fmt;

use media::stats::Role;

use super::{ExportStep, Step, What};

/// What kind of event it is. Names are stable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A stream can be viewed.
    StreamAvailable,
    /// It cannot any more.
    StreamUnavailable,
    /// Somebody publishes.
    PublisherJoined,
    /// Not any more.
    PublisherLeft,
    /// Somebody views.
    ViewerJoined,
    /// Not any more.
    ViewerLeft,
    /// A source is in another state.
    SourceChanged,
    /// Other settings hold.
    SettingsChanged,
    /// A change of settings was not made.
    SettingsRefused,
    /// Everything listens.
    ProgramStarted,
    /// The program is told to end.
    ProgramEnding,
    /// Somebody could not log in.
    LoginRefused,
    /// A recording of a stream begins.
    RecordingStarted,
    /// It is to go on, and cannot for now.
    RecordingPaused,
    /// It ended.
    RecordingEnded,
    /// An export is being made.
    ExportStarted,
    /// It got on.
    ExportProgress,
    /// It is there, or failed.
    ExportEnded,
    /// Something moves in front of a camera.
    MotionBegan,
    /// Nothing does any more.
    MotionEnded,
    /// A connection is there, whatever it is for.
    ConnectionOpened,
    /// Not any more.
    ConnectionClosed,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 22] = [
        Self::StreamAvailable,
        Self::StreamUnavailable,
        Self::PublisherJoined,
        Self::PublisherLeft,
        Self::ViewerJoined,
        Self::ViewerLeft,
        Self::SourceChanged,
        Self::SettingsChanged,
        Self::SettingsRefused,
        Self::ProgramStarted,
        Self::ProgramEnding,
        Self::LoginRefused,
        Self::RecordingStarted,
        Self::RecordingPaused,
        Self::RecordingEnded,
        Self::ExportStarted,
        Self::ExportProgress,
        Self::ExportEnded,
        Self::MotionBegan,
        Self::MotionEnded,
        Self::ConnectionOpened,
        Self::ConnectionClosed,
    ];

    /// Its name: what it is about, and what became of that.
    pub fn name(self) -> &'static str {
        match self {
            Self::StreamAvailable => "stream.available",
            Self::StreamUnavailable => "stream.unavailable",
            Self::PublisherJoined => "publisher.joined",
            Self::PublisherLeft => "publisher.left",
            Self::ViewerJoined => "viewer.joined",
            Self::ViewerLeft => "viewer.left",
            Self::SourceChanged => "source.changed",
            Self::SettingsChanged => "settings.changed",
            Self::SettingsRefused => "settings.refused",
            Self::ProgramStarted => "program.started",
            Self::ProgramEnding => "program.ending",
            Self::LoginRefused => "login.refused",
            Self::RecordingStarted => "recording.started",
            Self::RecordingPaused => "recording.paused",
            Self::RecordingEnded => "recording.ended",
            Self::ExportStarted => "export.started",
            Self::ExportProgress => "export.progress",
            Self::ExportEnded => "export.ended",
            Self::MotionBegan => "motion.began",
            Self::MotionEnded => "motion.ended",
            Self::ConnectionOpened => "connection.opened",
            Self::ConnectionClosed => "connection.closed",
        }
    }

    /// The kinds that a word means: one by its name, or all that are about the same, `viewer`.
    ///
    /// # Errors
    /// [`Unknown`].
    pub fn meant(word: &str) -> Result<Vec<Self>, Unknown> {
        let about = |kind: &Self| kind.name().split('.').next() == Some(word);
        let meant: Vec<Self> = Self::ALL
            .into_iter()
            .filter(|kind| kind.name() == word || about(kind))
            .collect();
        if meant.is_empty() {
            let word = word.chars().take(40).collect();
            return Err(Unknown { word });
        }
        Ok(meant)
    }
}

impl What {
    /// Its kind.
    pub fn kind(&self) -> Kind {
        match self {
            Self::StreamAvailable(_) => Kind::StreamAvailable,
            Self::StreamUnavailable(..) => Kind::StreamUnavailable,
            Self::Joined(peer) => match peer.role {
                Role::Publisher => Kind::PublisherJoined,
                Role::Viewer => Kind::ViewerJoined,
            },
            Self::Left(parting) => match parting.peer.role {
                Role::Publisher => Kind::PublisherLeft,
                Role::Viewer => Kind::ViewerLeft,
            },
            Self::Source(_) => Kind::SourceChanged,
            Self::SettingsChanged { .. } => Kind::SettingsChanged,
            Self::SettingsRefused { .. } => Kind::SettingsRefused,
            Self::ProgramStarted => Kind::ProgramStarted,
            Self::ProgramEnding => Kind::ProgramEnding,
            Self::LoginRefused(_) => Kind::LoginRefused,
            Self::Recording(recording) => match recording.step {
                Step::Started => Kind::RecordingStarted,
                Step::Paused => Kind::RecordingPaused,
                Step::Ended => Kind::RecordingEnded,
            },
            Self::Export(export) => match export.step {
                ExportStep::Started => Kind::ExportStarted,
                ExportStep::Progress(_) => Kind::ExportProgress,
                ExportStep::Ended => Kind::ExportEnded,
            },
            Self::Motion(motion) => match motion.ended {
                None => Kind::MotionBegan,
                Some(_) => Kind::MotionEnded,
            },
            Self::Opened(_) => Kind::ConnectionOpened,
            Self::Closed(_) => Kind::ConnectionClosed,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// No kind has this name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{word:?} is no kind of event; there are {}", names())]
pub struct Unknown {
    word: String,
}

fn names() -> String {
    Kind::ALL.map(Kind::name).join(", ")
}
