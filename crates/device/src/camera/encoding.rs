//! The thread that makes frames: overlay, stamp, encoder, and the slate while the source gives nothing.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use media::annexb::AccessUnit;
use media::{CaptureSource, Clock};

use super::cadence::Cadence;
use super::choice::Choice;
use super::low::{Offered, Slot};
use super::mailbox::{Feed, Item, Mailbox, Turn};
use super::packaging::Packager;
use super::pen::Pen;
use super::stats::Stats;
use super::watch::Watch;
use super::{Drawing, Status, Zone};
use crate::encode::{self, Encoder};
use crate::last_words;
use crate::overlay::{Measured, Under};
use crate::picture::{Picture, Pool};
use crate::source::slate::{Message, Slate};
use crate::source::{self, Description, Taken};

/// How long the thread sleeps when it has nothing to do.
const IDLE: Duration = Duration::from_millis(500);
/// A source that starts within this time shows no slate before its first picture.
const STARTS_WITHIN: Duration = Duration::from_secs(1);
/// How long pictures are given up after they could not be encoded.
const TROUBLE_LASTS: Duration = Duration::from_secs(1);
/// Slates come at the rate of the stream, but not more seldom than this.
const SLATE_EVERY: Duration = Duration::from_millis(200);
/// Size of the slate where the size of the pictures is what cannot be encoded.
const SAFE_SIZE: (u32, u32) = (640, 480);

/// What the thread works with.
pub(super) struct Parts {
    pub(super) name: String,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) mailbox: Arc<Mailbox>,
    pub(super) packager: Arc<Mutex<Packager>>,
    pub(super) stats: Arc<Stats>,
    pub(super) pool: Pool,
    pub(super) zone: Zone,
}

pub(super) struct Encoding {
    parts: Parts,
    /// As asked for; the size is that of the last pictures.
    settings: encode::Settings,
    /// The encoder takes no more than this.
    ceiling_kbps: Option<u32>,
    pen: Pen,
    /// Who is given each picture when it has been encoded, as it was before it was drawn into.
    low: Option<Arc<Slot>>,
    /// Who looks for motion in them.
    watch: Option<Arc<Watch>>,
    under: Under,
    encoder: Option<Box<dyn Encoder>>,
    choice: Choice,
    cadence: Cadence,
    slate: Slate,
    /// When the next slate is due; `None` while pictures come.
    next_slate: Option<Instant>,
    /// Why pictures cannot be encoded, and until when that is not tried again.
    trouble: Option<(source::Error, Instant)>,
    /// Failures of the encoder without a picture between them.
    failures: u32,
    reported: Reported,
}

/// The status that was reported last.
#[derive(PartialEq)]
enum Reported {
    Nothing,
    Starting,
    Running { source: Arc<Description>, encoder: String },
    Slate(Arc<source::Error>),
    Off,
}

/// What viewers see of a camera that was switched off.
fn off() -> source::Error {
    source::Error::lasting(
        "this camera is switched off",
        "somebody stopped it",
        "it shows pictures again when it is started",
    )
}

impl Encoding {
    pub(super) fn new(
        parts: Parts,
        settings: encode::Settings,
        preference: encode::Preference,
        drawing: Drawing,
    ) -> Self {
        let pen = Pen::new(drawing, Arc::clone(&parts.zone));
        Self {
            choice: Choice::new(preference, &parts.clock, &parts.mailbox),
            slate: Slate::new(parts.name.clone()),
            parts,
            settings,
            ceiling_kbps: None,
            cadence: Cadence::new(settings.fps),
            pen,
            low: None,
            watch: None,
            under: Under::default(),
            encoder: None,
            next_slate: None,
            trouble: None,
            failures: 0,
            reported: Reported::Nothing,
        }
    }

    pub(super) fn run(mut self) {
        let packager = Arc::clone(&self.parts.packager);
        let mailbox = Arc::clone(&self.parts.mailbox);
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| self.turns())) {
            mailbox.stop();
            lock(&packager).status(Status::Ended {
                why: last_words::of_panic(&*panic),
            });
        }
    }

    fn turns(&mut self) {
        loop {
            let now = self.parts.clock.now();
            let timeout = self
                .next_slate
                .map_or(IDLE, |due| due.saturating_duration_since(now).min(IDLE));
            let Some(turn) = self.parts.mailbox.turn(timeout) else {
                return;
            };
            if self.choice.changed() {
                self.encoder = None;
            }
            self.obey(&turn);
            match turn.item {
                Some(Item::Picture(picture, taken)) => self.picture(picture, taken, &turn.feed),
                Some(Item::Unit(unit, taken)) => self.unit(unit, taken, &turn.feed),
                None => self.nothing(&turn.feed),
            }
        }
    }

    /// Takes over what was asked for since the last turn.
    fn obey(&mut self, turn: &Turn) {
        self.pen.set(turn.drawing);
        self.low.clone_from(&turn.low);
        self.watch.clone_from(&turn.watch);
        let before_kbps = self.bitrate_kbps();
        self.settings.bitrate_kbps = turn.bitrate_kbps;
        self.ceiling_kbps = turn.ceiling_kbps;
        let kbps = self.bitrate_kbps();
        let Some(encoder) = &mut self.encoder else { return };
        if turn.keyframe {
            encoder.request_keyframe();
        }
        if kbps != before_kbps
            && let Err(error) = encoder.set_bitrate_kbps(kbps)
        {
            self.encoder_failed(&error);
        }
    }

    /// What the encoder is to take.
    fn bitrate_kbps(&self) -> u32 {
        let set = self.settings.bitrate_kbps;
        self.ceiling_kbps.map_or(set, |most| set.min(most))
    }

    /// A picture of the source.
    fn picture(&mut self, picture: Picture, taken: Taken, feed: &Feed) {
        let now = self.parts.clock.now();
        if self.trouble.as_ref().is_some_and(|(_, until)| now < *until) {
            self.parts.stats.dropped.add(1);
            self.parts.pool.give(picture);
            self.nothing(feed);
            return;
        }
        self.trouble = None;
        self.back_from_slate();
        if self.prepare(picture.width(), picture.height()) {
            self.keep_rate(feed, now);
            self.report_running(feed, false);
            let watch = self.watch.clone();
            let grey = watch.as_ref().and_then(|watch| watch.shrink(&picture, taken.at));
            self.draw_and_encode(picture, taken);
            if let (Some(watch), Some(grey)) = (watch, grey) {
                watch.look(&grey, taken.at, self.parts.clock.wall_at(taken.at));
            }
        } else {
            self.parts.stats.dropped.add(1);
            self.parts.pool.give(picture);
        }
    }

    /// An access unit of the source: its own H.264.
    fn unit(&mut self, unit: AccessUnit, taken: Taken, feed: &Feed) {
        self.next_slate = None;
        if let Some(watch) = &self.watch {
            watch.interrupt();
        }
        // A slate would have to be as large.
        if let Some((width, height)) = unit.format.dimensions().filter(|_| unit.keyframe)
            && (self.settings.width, self.settings.height) != (width, height)
        {
            (self.settings.width, self.settings.height) = (width, height);
            self.encoder = None;
        }
        self.report_running(feed, true);
        lock(&self.parts.packager).passed(unit, taken);
    }

    /// Nothing came: a slate, when there is reason for one and it is due.
    fn nothing(&mut self, feed: &Feed) {
        let now = self.parts.clock.now();
        let Some((message, retry_at)) = self.slate_for(feed, now) else {
            return;
        };
        let interval = self.settings.fps.interval().min(SLATE_EVERY);
        let due = *self.next_slate.get_or_insert_with(|| {
            if let Some(watch) = &self.watch {
                watch.interrupt();
            }
            // The change of content is worth a keyframe.
            if let Some(encoder) = &mut self.encoder {
                encoder.request_keyframe();
            }
            now
        });
        if now < due {
            return;
        }
        // Never in a burst after the thread was held up.
        self.next_slate = Some((due + interval).max(now));
        let picture = self.parts.pool.take(self.settings.width, self.settings.height);
        let Some(mut picture) = picture.or_else(|| Picture::black(SAFE_SIZE.0, SAFE_SIZE.1)) else {
            return;
        };
        let retry_in = retry_at
            .map(|at| at.saturating_duration_since(now))
            .filter(|left| !left.is_zero());
        self.slate.draw(&mut picture, &message, retry_in);
        if self.prepare(picture.width(), picture.height()) {
            let taken = Taken {
                at: now,
                source: CaptureSource::Camera,
            };
            self.parts.stats.slates.add(1);
            self.draw_and_encode(picture, taken);
        } else {
            self.parts.pool.give(picture);
        }
    }

    /// What a slate would say now, and when the source is tried again. Reports the change.
    fn slate_for(&mut self, feed: &Feed, now: Instant) -> Option<(Message, Option<Instant>)> {
        if let Some((error, until)) = &self.trouble {
            return Some((Message::Failed(error.clone()), Some(*until)));
        }
        match feed {
            Feed::Running { .. } => None,
            Feed::Starting { source, since } => {
                self.report(Reported::Starting, || Status::Starting {
                    source: source.to_string(),
                });
                let source = source.to_string();
                (now.saturating_duration_since(*since) >= STARTS_WITHIN).then_some((Message::Starting { source }, None))
            }
            Feed::Off => {
                self.report(Reported::Off, || Status::Off);
                Some((Message::Vacant(off()), None))
            }
            Feed::Failed { error, retry_at } => {
                let rest = retry_at.map_or(Duration::ZERO, |at| at.saturating_duration_since(now));
                // Once a failure, not again when the next attempt begins.
                if retry_at.is_some() {
                    self.report(Reported::Slate(Arc::clone(error)), || Status::Slate {
                        error: source::Error::clone(error),
                        retry_in: rest,
                    });
                }
                Some((Message::Failed(source::Error::clone(error)), *retry_at))
            }
        }
    }

    fn back_from_slate(&mut self) {
        if self.next_slate.take().is_some()
            && let Some(encoder) = &mut self.encoder
        {
            encoder.request_keyframe();
        }
    }

    /// Makes sure that there is an encoder for pictures of this size.
    fn prepare(&mut self, width: u32, height: u32) -> bool {
        if (self.settings.width, self.settings.height) != (width, height) {
            (self.settings.width, self.settings.height) = (width, height);
            self.encoder = None;
        }
        if self.encoder.is_some() {
            return true;
        }
        let packager = Arc::clone(&self.parts.packager);
        let output = Box::new(move |unit: encode::AccessUnit<'_>| lock(&packager).encoded(unit));
        let settings = encode::Settings {
            bitrate_kbps: self.bitrate_kbps(),
            ..self.settings
        };
        match self.choice.make(settings, output) {
            Ok(encoder) => {
                self.cadence = Cadence::new(self.settings.fps);
                self.encoder = Some(encoder);
            }
            Err(error) => self.encoder_failed(&error),
        }
        self.encoder.is_some()
    }

    fn draw_and_encode(&mut self, mut picture: Picture, taken: Taken) {
        let at = self.parts.clock.wall_at(taken.at);
        let low = self.low.clone();
        if low.is_some() {
            let rows = self.pen.rows(picture.width(), picture.height());
            self.under.keep(&picture, rows);
        }
        let measured = Measured {
            fps: self.parts.stats.fps(),
            latency_ms: self.parts.stats.latency_ms(),
        };
        self.pen.draw(&mut picture, at, measured);
        let Some(encoder) = &mut self.encoder else { return };
        lock(&self.parts.packager).submitted(taken.at, at, self.settings.fps);
        match encoder.encode(&picture, taken) {
            Ok(()) => self.failures = 0,
            Err(error) => self.encoder_failed(&error),
        }
        let done = match low {
            None => Some(picture),
            Some(low) => {
                self.under.restore(&mut picture);
                low.offer(Offered {
                    picture,
                    taken,
                    at,
                    drawing: self.pen.drawing(),
                    first: self.settings,
                    first_keyframe: lock(&self.parts.packager).keyframe(),
                    fps: measured.fps,
                })
            }
        };
        if let Some(picture) = done {
            self.parts.pool.give(picture);
        }
    }

    /// Drops the encoder; the next picture gets a new one. Where that would only fail again, viewers are told.
    fn encoder_failed(&mut self, error: &encode::Error) {
        self.encoder = None;
        self.parts.stats.encoder_failures.add(1);
        if self.choice.failed(error) {
            return;
        }
        self.failures += 1;
        let refused = matches!(error, encode::Error::Refused { .. });
        if !refused && self.failures < 3 {
            return;
        }
        let error = source::Error::retryable(
            "the pictures cannot be encoded",
            error.to_string(),
            "choose another size or bitrate",
        );
        (self.settings.width, self.settings.height) = SAFE_SIZE;
        self.report(Reported::Slate(Arc::new(error.clone())), || Status::Slate {
            error: error.clone(),
            retry_in: TROUBLE_LASTS,
        });
        self.trouble = Some((error, self.parts.clock.now() + TROUBLE_LASTS));
    }

    /// Tells the encoder at what rate pictures really come.
    fn keep_rate(&mut self, feed: &Feed, now: Instant) {
        let Feed::Running { description } = feed else { return };
        let told = if description.fps == self.settings.fps {
            self.cadence.look(now, self.parts.stats.fps())
        } else {
            self.settings.fps = description.fps;
            self.cadence = Cadence::new(description.fps);
            Some(description.fps)
        };
        if let (Some(fps), Some(encoder)) = (told, &mut self.encoder)
            && let Err(error) = encoder.set_fps(fps)
        {
            self.encoder_failed(&error);
        }
    }

    fn report_running(&mut self, feed: &Feed, passing: bool) {
        let Feed::Running { description } = feed else { return };
        let source = Arc::clone(description);
        let encoder = match (&self.encoder, passing) {
            (_, true) => "the source's own H.264".to_owned(),
            (Some(encoder), false) => format!("{}: {}", encoder.name(), self.choice.why()),
            (None, false) => return,
        };
        let news = Reported::Running {
            source,
            encoder: encoder.clone(),
        };
        self.report(news, || Status::Running {
            source: description.text.clone(),
            encoder,
            passing,
        });
    }

    fn report(&mut self, news: Reported, status: impl FnOnce() -> Status) {
        if self.reported != news {
            self.reported = news;
            lock(&self.parts.packager).status(status());
        }
    }
}

fn lock(packager: &Mutex<Packager>) -> MutexGuard<'_, Packager> {
    packager.lock().unwrap_or_else(PoisonError::into_inner)
}
