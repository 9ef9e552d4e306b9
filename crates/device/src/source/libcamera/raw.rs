//! Raw pictures from the program's output.
//!
//! Belongs here: cutting a stream of bytes without any framing into pictures, and finding each one's time. Does not belong here: what the program is
//! told to write.

use std::process::Command;
use std::time::{Duration, Instant};

use media::CaptureSource;

use crate::source::child::{Child, Heard, Read};
use crate::source::pixels::{self, Layout, Raw};
use crate::source::{Captured, Description, Error, Lost, Opening, Source, Taken};

/// Pictures that may be passed over to get to the newest one, before one is handed over all the same.
const MAX_SKIPPED: u32 = 8;
/// How long to wait for a picture's time when the picture is there: the program writes it right after.
const TIME_PATIENCE: Duration = Duration::from_millis(10);
/// Pictures without a time after which none is waited for any more.
const MAX_TIMELESS: u32 = 10;
/// Pauses within pictures after which the size must be wrong.
const MAX_UNFINISHED: u32 = 5;
/// A time further back than this belongs to something else.
const OLDEST: Duration = Duration::from_secs(2);

/// The program, writing pictures in planar 4:2:0.
pub(super) struct RawChild {
    name: String,
    child: Child,
    description: Description,
    with: Opening,
    frame: Frame,
    /// A time is to be expected for each picture.
    stamped: bool,
    /// Pictures in a row whose time had not come.
    timeless: u32,
    /// Times still to come whose pictures were handed over already.
    overdue: u32,
    unfinished: u32,
    lost: Lost,
}

/// The picture that is being read.
struct Frame {
    bytes: Vec<u8>,
    /// Bytes of a whole picture.
    size: usize,
    /// When its first bytes arrived, and the newest.
    began: Option<Instant>,
    heard: Option<Instant>,
    /// What arrived beyond its end.
    rest: Vec<u8>,
}

impl Frame {
    fn new(size: usize) -> Self {
        Self {
            bytes: Vec::with_capacity(size),
            size,
            began: None,
            heard: None,
            rest: Vec::new(),
        }
    }

    fn is_whole(&self) -> bool {
        self.bytes.len() >= self.size
    }

    fn push(&mut self, bytes: &[u8], now: Instant) {
        self.heard = Some(now);
        self.began.get_or_insert(now);
        let missing = self.size.saturating_sub(self.bytes.len());
        let (ours, next) = bytes.split_at_checked(missing).unwrap_or((bytes, &[]));
        self.bytes.extend_from_slice(ours);
        self.rest.extend_from_slice(next);
    }

    /// Goes on to the next picture.
    fn advance(&mut self) {
        self.bytes.clear();
        let rest = std::mem::take(&mut self.rest);
        self.began = None;
        if let (Some(heard), false) = (self.heard, rest.is_empty()) {
            self.push(&rest, heard);
        }
        // Its memory serves again.
        if self.rest.is_empty() {
            self.rest = rest;
            self.rest.clear();
        }
    }
}

impl RawChild {
    pub(super) fn start(
        name: &str,
        command: Command,
        description: Description,
        stamped: bool,
        with: &Opening,
    ) -> Result<Self, Error> {
        let cannot = |why: String| Error::retryable(format!("cannot start {name}"), why, super::HINT);
        let (width, height) = (description.width, description.height);
        let largest = crate::picture::MAX_DIMENSION;
        if !(16..=largest).contains(&width) || !(16..=largest).contains(&height) {
            return Err(cannot(format!(
                "{width}×{height} is outside 16×16 to {largest}×{largest}"
            )));
        }
        let mut child = Child::spawn(name, command).map_err(|error| cannot(error.to_string()))?;
        child.listen(listen);
        Ok(Self {
            name: name.to_owned(),
            child,
            frame: Frame::new(width as usize * height as usize * 3 / 2),
            description,
            with: with.clone(),
            stamped,
            timeless: 0,
            overdue: 0,
            unfinished: 0,
            lost: Lost::default(),
        })
    }

    /// Reads what is there, waiting until `until` for the first of it.
    fn read(&mut self, until: Instant) -> Result<Read, Error> {
        let clock = &*self.with.clock;
        let frame = &mut self.frame;
        let read = self.child.read(clock, until, |bytes| frame.push(bytes, clock.now()));
        read.map_err(|error| {
            Error::retryable(
                format!("cannot read from {}", self.name),
                error.to_string(),
                super::HINT,
            )
        })
    }

    /// The whole picture that was read, and when it was taken; goes on to the next.
    fn hand_over(&mut self, taken: Taken) -> Result<Captured, Error> {
        let raw = Raw {
            layout: Layout::I420,
            width: self.description.width,
            height: self.description.height,
            stride: self.description.width,
            // The program asks libcamera for JPEG's colour space when it writes raw pictures.
            full_range: true,
            bytes: &self.frame.bytes,
        };
        let picture = pixels::convert(&raw, &self.with.pool).map_err(|error| {
            Error::lasting(
                format!("{} gives no picture", self.name),
                error.to_string(),
                "choose another size",
            )
        })?;
        self.frame.advance();
        Ok(Captured::Picture { picture, taken })
    }

    /// When the picture that is whole was taken: by the sensor where the program tells, else when it began to arrive.
    fn taken(&mut self) -> Taken {
        let clock = &*self.with.clock;
        let now = clock.now();
        let arrived = Taken {
            at: self.frame.began.unwrap_or(now),
            source: CaptureSource::Arrival,
        };
        if !self.stamped {
            return arrived;
        }
        let until = now.checked_add(TIME_PATIENCE).unwrap_or(now);
        // There is one time to each picture, in the same order.
        while self.overdue > 0 && self.child.note(clock, until).is_some() {
            self.overdue -= 1;
        }
        let Some(note) = self.child.note(clock, until) else {
            self.overdue += 1;
            self.timeless += 1;
            self.stamped = self.timeless < MAX_TIMELESS;
            return arrived;
        };
        self.timeless = 0;
        let age = boot_nanos()
            .checked_sub(note)
            .and_then(|age| u64::try_from(age).ok())
            .map(Duration::from_nanos);
        match age
            .filter(|age| *age <= OLDEST)
            .and_then(|age| clock.now().checked_sub(age))
        {
            Some(at) => Taken {
                at,
                source: CaptureSource::Camera,
            },
            None => arrived,
        }
    }

    /// Nothing came: between pictures that is as it should be.
    fn quiet(&mut self) -> Result<(), Error> {
        let due = self
            .frame
            .heard
            .and_then(|heard| heard.checked_add(self.description.fps.interval()));
        if self.frame.bytes.is_empty() || due.is_none_or(|due| self.with.clock.now() < due) {
            return Ok(());
        }
        self.unfinished += 1;
        self.frame.heard = None;
        if self.unfinished < MAX_UNFINISHED {
            return Ok(());
        }
        Err(Error::lasting(
            format!("{} gives no picture", self.name),
            format!(
                "what it writes are not pictures of {}×{}",
                self.description.width, self.description.height
            ),
            "choose another size, such as 640x480",
        ))
    }
}

impl Source for RawChild {
    fn description(&self) -> &Description {
        &self.description
    }

    fn next(&mut self, timeout: Duration) -> Result<Option<Captured>, Error> {
        let now = self.with.clock.now();
        let until = now.checked_add(timeout).unwrap_or(now);
        while !self.frame.is_whole() {
            match self.read(until)? {
                Read::Bytes => {}
                Read::Nothing => {
                    self.quiet()?;
                    return Ok(None);
                }
                Read::Ended => return Err(self.child.ended(super::HINT)),
            }
        }
        self.unfinished = 0;
        let mut taken = self.taken();
        // One that is whole behind it is newer.
        for _ in 0..MAX_SKIPPED {
            let now = self.with.clock.now();
            while self.frame.rest.len() < self.frame.size && self.read(now)? == Read::Bytes {}
            if self.frame.rest.len() < self.frame.size {
                break;
            }
            self.frame.advance();
            self.lost.skipped += 1;
            taken = self.taken();
        }
        self.hand_over(taken).map(Some)
    }

    fn lost(&self) -> Lost {
        self.lost
    }

    fn last_words(&mut self) -> Option<String> {
        self.child.last_words()
    }

    fn when_silent(&self) -> &'static str {
        super::HINT
    }
}

/// Lines of the metadata have the form `SensorTimestamp=123456789`, in nanoseconds of the boot clock; other names do not matter here.
fn listen(line: &str) -> Heard {
    match line.split_once('=') {
        Some(("SensorTimestamp", value)) => value.trim().parse().map_or(Heard::Noise, Heard::Note),
        Some((name, _)) if !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric()) => Heard::Noise,
        _ => Heard::Words,
    }
}

/// The clock that libcamera stamps with: monotonic, and going on while the machine sleeps.
fn boot_nanos() -> i64 {
    #[cfg(target_os = "linux")]
    {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        now.tv_sec.saturating_mul(1_000_000_000).saturating_add(now.tv_nsec)
    }
    #[cfg(not(target_os = "linux"))]
    {
        // No time of such a clock is believed.
        i64::MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use media::Clock as _;
    use proptest::prelude::*;
    use testkit::clock::SimClock;

    #[test]
    fn the_time_is_noted_and_other_metadata_is_noise() {
        assert_eq!(listen("SensorTimestamp=123456789012"), Heard::Note(123_456_789_012));
        assert_eq!(listen("SensorTimestamp=soon"), Heard::Noise);
        assert_eq!(listen("ColourGains=[ 1.5, 2.0 ]"), Heard::Noise);
        assert_eq!(listen("ERROR: *** no cameras available ***"), Heard::Words);
        assert_eq!(listen("[0:01] INFO Camera: size = 640"), Heard::Words);
        assert_eq!(listen("=x"), Heard::Words);
    }

    proptest! {
        #[test]
        fn any_cut_of_the_stream_gives_the_same_pictures(size in 1..50_usize, pictures in 1..8_usize, cuts in prop::collection::vec(1..40_usize, 1..40)) {
            let stream: Vec<u8> = (0..size * pictures).map(|n| n as u8).collect();
            let clock = SimClock::new();
            let mut frame = Frame::new(size);
            let mut got = Vec::new();
            let mut rest = &stream[..];
            for cut in cuts.iter().cycle() {
                let (piece, tail) = rest.split_at((*cut).min(rest.len()));
                rest = tail;
                frame.push(piece, clock.now());
                while frame.is_whole() {
                    got.push(frame.bytes.clone());
                    frame.advance();
                }
                if rest.is_empty() {
                    break;
                }
            }
            prop_assert_eq!(got, stream.chunks(size).map(<[u8]>::to_vec).collect::<Vec<_>>());
        }
    }
}
