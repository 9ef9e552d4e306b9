//! Between who cuts frames into files and who writes them.
//!
//! Belongs here: what is handed over, and that handing over never waits. Does not belong here: frames, triggers and clocks of streams, queues, files.

use bytes::Bytes;
use media::WallTime;
use media::recording::Told;

use super::clock::Span;
use super::index::Ended;
use super::name::Clip;

/// Takes the files of one recording, one after the other: `begin`, as many `fragment` as there are, `end`, and again. Never waits.
pub trait Sink: Send {
    /// A file begins. The one before it was ended.
    ///
    /// # Errors
    /// [`Full`]: neither it nor its fragments are taken; the next `begin` may be.
    fn begin(&mut self, begin: Begin) -> Result<(), Full>;

    /// Its next fragment.
    ///
    /// # Errors
    /// [`Full`]: it is left out, and so is all that comes behind it in this file, which ends where it was whole. Who calls ends the file, and the run.
    fn fragment(&mut self, piece: Piece) -> Result<(), Full>;

    /// The file is complete. Is always taken. Without a file that was begun it is nothing.
    fn end(&mut self, end: End);
}

/// A file begins.
#[derive(Clone, Debug)]
pub struct Begin {
    /// Its header: what [`media::recording::Start::init_segment`] says.
    pub init_segment: Bytes,
    /// When its first picture was, for people: its name and its head say it.
    pub start: WallTime,
    /// As [`media::recording::Start::first_shown_90k`].
    pub first_shown_90k: u32,
    /// It begins where the last one of this sink ended. Whoever writes makes it a run of its own even so, where the last one was cut short.
    pub continues: bool,
    /// It is to have a name of its own; `None`: the one of its time.
    pub clip: Option<Clip>,
}

/// A fragment.
#[derive(Clone, Debug)]
pub struct Piece {
    /// `moof` and `mdat`.
    pub bytes: Bytes,
    /// As [`media::recording::Fragment::duration_90k`].
    pub duration_90k: u32,
    /// It begins with a keyframe.
    pub keyframe: bool,
    /// What its seal says.
    pub told: Told,
}

/// A file is complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    /// When it was. Of a file that was cut short it is known from its fragments.
    pub span: Span,
    /// Why nothing comes behind it; `None`: its run goes on.
    pub ended: Option<Ended>,
}

/// There is no room: the disk is too slow, full or away. How it is, whoever writes tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("what waits to be recorded has no more room: the disk is slow, full or away")]
pub struct Full;
