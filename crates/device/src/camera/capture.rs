//! The thread that waits for the camera: opens the source, takes what it delivers, opens it again when it failed.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use media::Clock;

use super::backoff::Backoff;
use super::mailbox::{Errand, Feed, Mailbox};
use super::stats::Stats;
use crate::last_words;
use crate::picture::Pool;
use crate::source::{self, Captured, Open, Opening, Source};

/// How long a source is waited for before the thread looks whether it should stop.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// A source that was opened gives its first picture within this time, or is called dead: a camera program on a slow board takes some
/// seconds to start.
const FIRST_PICTURE_WITHIN: Duration = Duration::from_secs(10);
/// One that was delivering is called dead after this time, or five intervals where that is longer. Drivers report an unplugged camera
/// at once; this is for those that hang.
const SILENT_AFTER: Duration = Duration::from_secs(3);

pub(super) struct Capturing {
    pub(super) source: Box<dyn Open>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) mailbox: Arc<Mailbox>,
    pub(super) stats: Arc<Stats>,
    pub(super) pool: Pool,
    pub(super) backoff: Backoff,
}

/// Why a source is no longer read.
enum End {
    Stop,
    Reopen,
    Off,
    Failed { error: source::Error, ran: Duration },
}

impl Capturing {
    pub(super) fn run(mut self) {
        loop {
            match self.open_and_read() {
                End::Stop => return,
                End::Reopen => self.starting(),
                End::Off => {
                    self.mailbox.set_feed(Feed::Off);
                    self.mailbox.wait_while_off();
                    self.starting();
                }
                End::Failed { error, ran } => self.failed(error, ran),
            }
        }
    }

    /// Opens the source and reads it to its end. A panic in it is an error of it: viewers keep their slate.
    fn open_and_read(&mut self) -> End {
        let begun = self.clock.now();
        let read = catch_unwind(AssertUnwindSafe(|| {
            let wanted = match self.mailbox.opening() {
                Ok(wanted) => wanted,
                Err(Errand::Off) => return End::Off,
                Err(_) => return End::Stop,
            };
            let opening = Opening {
                wanted,
                clock: Arc::clone(&self.clock),
                pool: self.pool.clone(),
            };
            match self.source.open(&opening) {
                Ok(mut source) => self.read(&mut *source),
                Err(error) => End::Failed {
                    error,
                    ran: Duration::ZERO,
                },
            }
        }));
        read.unwrap_or_else(|panic| End::Failed {
            error: source::Error::retryable(
                format!("{} failed", self.source.name()),
                format!("an error in this program: {}", last_words::of_panic(&*panic)),
                "please report it",
            ),
            ran: self.clock.now().saturating_duration_since(begun),
        })
    }

    fn read(&self, source: &mut dyn Source) -> End {
        let opened = self.clock.now();
        let mut last: Option<Instant> = None;
        let mut first: Option<Instant> = None;
        let mut lost = 0;
        loop {
            if let Err(end) = self.pass_orders(source) {
                return end;
            }
            let now = match source.next(LOOK_EVERY) {
                Ok(Some(captured)) => {
                    let now = self.clock.now();
                    if first.is_none() {
                        first = Some(now);
                        let description = Arc::new(source.description().clone());
                        self.mailbox.set_feed(Feed::Running { description });
                    }
                    self.deliver(captured);
                    let total = source.lost().total();
                    self.stats.dropped.add(total.saturating_sub(lost));
                    lost = total;
                    last = Some(now);
                    continue;
                }
                Ok(None) => self.clock.now(),
                Err(error) => {
                    let ran = first.map_or(Duration::ZERO, |first| {
                        self.clock.now().saturating_duration_since(first)
                    });
                    return End::Failed { error, ran };
                }
            };
            let patience = match last {
                None => FIRST_PICTURE_WITHIN,
                Some(_) => SILENT_AFTER.max(source.description().fps.interval() * 5),
            };
            let silent = now.saturating_duration_since(last.unwrap_or(opened));
            if silent > patience {
                return End::Failed {
                    error: silence(source, silent),
                    ran: first.map_or(Duration::ZERO, |first| now.saturating_duration_since(first)),
                };
            }
        }
    }

    fn pass_orders(&self, source: &mut dyn Source) -> Result<(), End> {
        match self.mailbox.errand() {
            Errand::Stop => Err(End::Stop),
            Errand::Reopen => Err(End::Reopen),
            Errand::Off => Err(End::Off),
            Errand::Continue { brightness } => {
                if let Some(value) = brightness {
                    source.set_brightness(value);
                }
                Ok(())
            }
        }
    }

    fn deliver(&self, captured: Captured) {
        match captured {
            Captured::Picture { picture, taken } => {
                self.stats.captured(taken.at);
                if let Some(replaced) = self.mailbox.put_picture(picture, taken) {
                    self.stats.dropped.add(1);
                    self.pool.give(replaced);
                }
            }
            Captured::AccessUnit { unit, taken } => {
                self.stats.captured(taken.at);
                self.stats.dropped.add(self.mailbox.put_unit(unit, taken));
            }
        }
    }

    fn starting(&self) {
        self.mailbox.set_feed(Feed::Starting {
            source: Arc::from(self.source.name()),
            since: self.clock.now(),
        });
    }

    /// Shows what is wrong and waits until the source is to be tried again.
    fn failed(&mut self, error: source::Error, ran: Duration) {
        self.stats.failures.add(1);
        let rest = self.backoff.wait(ran, error.retryable);
        let error = Arc::new(error);
        let retry_at = Some(self.clock.now() + rest);
        self.mailbox.set_feed(Feed::Failed {
            error: Arc::clone(&error),
            retry_at,
        });
        self.mailbox.rest(rest);
        self.mailbox.set_feed(Feed::Failed { error, retry_at: None });
    }
}

fn silence(source: &mut dyn Source, silent: Duration) -> source::Error {
    let mut why = format!("it has given none for {} s", silent.as_secs());
    if let Some(words) = source.last_words() {
        why = format!("{why}, after saying: {words}");
    }
    source::Error::retryable(
        format!("no picture from {}", source.description().text),
        why,
        format!("{}; it is opened anew", source.when_silent()),
    )
}

#[cfg(test)]
mod tests {
    use media::CaptureSource;
    use testkit::clock::SimClock;

    use super::*;
    use crate::camera::{Drawing, RETRY};
    use crate::picture::{FrameRate, Picture};
    use crate::source::{Description, Kind, Taken};
    use crate::{encode, source};

    /// Gives some pictures, then nothing, on a clock that moves while it is waited for.
    struct FallsSilent {
        clock: SimClock,
        left: u32,
        words: Option<String>,
        description: Description,
    }

    impl Open for FallsSilent {
        fn name(&self) -> String {
            "mute".to_owned()
        }

        fn open(&mut self, _: &Opening) -> Result<Box<dyn Source>, source::Error> {
            Ok(Box::new(Self {
                clock: self.clock.clone(),
                words: self.words.clone(),
                description: self.description.clone(),
                ..*self
            }))
        }
    }

    impl Source for FallsSilent {
        fn description(&self) -> &Description {
            &self.description
        }

        fn next(&mut self, timeout: Duration) -> Result<Option<Captured>, source::Error> {
            let at = self.clock.advance(timeout);
            if self.left == 0 {
                return Ok(None);
            }
            self.left -= 1;
            let (picture, source) = (Picture::black(16, 16).unwrap(), CaptureSource::Camera);
            Ok(Some(Captured::Picture {
                picture,
                taken: Taken { at, source },
            }))
        }

        fn last_words(&mut self) -> Option<String> {
            self.words.clone()
        }
    }

    fn falls_silent(left: u32, fps: FrameRate, words: Option<String>) -> FallsSilent {
        FallsSilent {
            clock: SimClock::new(),
            left,
            words,
            description: Description {
                text: "mute".to_owned(),
                kind: Kind::Raw,
                width: 16,
                height: 16,
                fps,
            },
        }
    }

    fn silent_after(pictures: u32, fps: FrameRate) -> (String, Duration) {
        let source = falls_silent(pictures, fps, None);
        let clock = source.clock.clone();
        let settings = encode::Settings::default();
        let mut capturing = Capturing {
            mailbox: Arc::new(Mailbox::new(
                source.name(),
                settings,
                Drawing::default(),
                false,
                clock.now(),
            )),
            source: Box::new(source),
            clock: Arc::new(clock),
            stats: Arc::default(),
            pool: Pool::default(),
            backoff: Backoff::new(RETRY, 1),
        };
        match capturing.open_and_read() {
            End::Failed { error, ran } => (error.to_string(), ran),
            End::Stop | End::Reopen | End::Off => panic!("it was not told to"),
        }
    }

    #[test]
    fn the_last_words_of_a_silent_source_are_passed_on() {
        let words = Some("Camera frontend has timed out".to_owned());
        let mut source = falls_silent(0, FrameRate::whole(30), words);
        let error = silence(&mut source, Duration::from_secs(3)).to_string();
        assert!(
            error.contains("none for 3 s, after saying: Camera frontend has timed out; look"),
            "{error}"
        );
    }

    #[test]
    fn a_source_that_falls_silent_is_called_dead() {
        let (error, ran) = silent_after(100, FrameRate::whole(30));
        assert_eq!(
            error,
            "no picture from mute: it has given none for 3 s; look at its cable and power; it is opened anew"
        );
        assert!(ran >= Duration::from_secs(7));
        let (error, ran) = silent_after(0, FrameRate::whole(30));
        assert!(error.contains("none for 10 s"), "{error}");
        assert_eq!(ran, Duration::ZERO);
        let (error, _) = silent_after(1, FrameRate::new(1, 5).unwrap());
        assert!(error.contains("none for 25 s"), "{error}");
    }
}
