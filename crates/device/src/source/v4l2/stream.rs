//! Capture from one camera.
//!
//! Belongs here: opening, setting up, waiting for pictures, their time, and what the errors of a driver mean. Does not belong here:
//! requests to the kernel ([`super::ioctl`]), the choice of a mode ([`super::modes`]).

use std::collections::VecDeque;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use media::CaptureSource;
use media::annexb::{ByteStream, Ending};
use media::h264;
use moq_v4l::sys;
use rustix::event::{PollFd, PollFlags};
use rustix::time::{ClockId, Timespec};

use super::buffers::Buffers;
use super::busy::Holders;
use super::devices::{self, Identity};
use super::ioctl::{Device, Filled, Settled};
use super::modes::{Choice, Coding, rank};
use super::{Camera, Exposure, Settings, Unfit};
use crate::source::{Captured, Description, Error, Kind, Lost, Open, Opening, Source, Taken, jpeg, pixels};

/// Modes tried one after the other when the bus has no room for the first. More would only keep the user waiting.
const MAX_ATTEMPTS: usize = 6;
/// Unusable pictures in a row after which a camera counts as failed: two seconds at 30 fps. Cameras send a few when they start.
const MAX_BROKEN_IN_A_ROW: u32 = 60;
/// A driver's timestamp further back than this is not believed: no picture waits that long in a buffer.
const OLDEST: Duration = Duration::from_secs(10);

impl Open for Camera {
    fn name(&self) -> String {
        self.path.display().to_string()
    }

    fn open(&mut self, with: &Opening) -> Result<Box<dyn Source>, Error> {
        let path = match &self.identity {
            // Plugged in again it may have got another number, and another camera the old one.
            Some(identity) => identity.locate(&self.path).unwrap_or_else(|| self.path.clone()),
            None => self.path.clone(),
        };
        let failed = |error: io::Error| open_error(&path, &error);
        let device = Device::open(&path).map_err(failed)?;
        let capability = device.capability().map_err(failed)?;
        if let Some(unfit) = devices::unfit(&capability) {
            return Err(Error::lasting(
                format!("{} is no camera", path.display()),
                unfit.to_string(),
                format!("choose another device; {}", cameras()),
            ));
        }
        let identity = Identity::of(&path, &capability);
        self.identity.get_or_insert(identity);
        let mut modes = devices::modes(&device, Some((with.wanted.width, with.wanted.height)));
        if let Some(only) = self.settings.format {
            modes.retain(|mode| mode.fourcc == only);
        }
        let bus = devices::bus(&path, &capability);
        let ranked = rank(&modes, &with.wanted, bus);
        if ranked.is_empty() {
            let formats = devices::format_names(&device);
            let why = match self.settings.format {
                Some(only) => format!("it has no format {}, only {formats}", String::from_utf8_lossy(&only)),
                None => Unfit::Formats(formats).to_string(),
            };
            let hint = "choose another camera or format, or exec:COMMAND with a program that converts its pictures";
            return Err(Error::lasting(
                format!("cannot use the camera {}", path.display()),
                why,
                hint,
            ));
        }
        let name = format!("{} at {}", capability.card, path.display());
        let stream = start(&path, device, ranked, &self.settings, with, &name)?;
        Ok(Box::new(stream))
    }
}

/// Starts the first mode that the driver and the bus have room for.
fn start(
    path: &Path,
    device: Device,
    ranked: Vec<Choice>,
    settings: &Settings,
    with: &Opening,
    name: &str,
) -> Result<Stream, Error> {
    let mut device = Some(device);
    let mut no_room = None;
    let mut last = None;
    for choice in ranked.into_iter().take(MAX_ATTEMPTS) {
        // After "no space on the bus" only what takes less can do.
        if let (Some(limit), Some(mbps)) = (no_room, choice.raw_mbps())
            && mbps >= limit
        {
            continue;
        }
        let failed = |error: io::Error| open_error(path, &error);
        let opened = match device.take() {
            Some(device) => device,
            None => Device::open(path).map_err(failed)?,
        };
        match begin(opened, &choice, settings, with) {
            Ok((buffers, settled, choice)) => return Ok(Stream::new(path, buffers, settled, choice, with, name)),
            Err(error) if error.raw_os_error() == Some(libc::EBUSY) => return Err(failed(error)),
            Err(error) => {
                if error.raw_os_error() == Some(libc::ENOSPC) {
                    no_room = choice.raw_mbps().or(no_room);
                }
                last = Some((choice, error));
            }
        }
    }
    Err(match last {
        Some((choice, error)) if error.raw_os_error() == Some(libc::ENOSPC) => Error::retryable(
            format!("the camera {} cannot start", path.display()),
            format!("its USB bus has no room for {choice}"),
            "choose a smaller size or rate, or plug the camera into another USB port, not into a hub with other cameras",
        ),
        Some((choice, error)) => Error::retryable(
            format!("the camera {} cannot start", path.display()),
            format!("its driver refuses {choice}: {error}"),
            "choose another size or rate",
        ),
        None => open_error(path, &io::Error::from_raw_os_error(libc::ENODEV)),
    })
}

/// Sets the camera up and lets it run.
fn begin(
    device: Device,
    choice: &Choice,
    settings: &Settings,
    with: &Opening,
) -> io::Result<(Buffers, Settled, Choice)> {
    let settled = device.set_format(choice.fourcc, choice.width, choice.height)?;
    let Some(coding) = Coding::of(settled.fourcc) else {
        return Err(io::Error::new(
            io::ErrorKind::Unsupported,
            format!("it delivers {} instead", String::from_utf8_lossy(&settled.fourcc)),
        ));
    };
    let rate = device.set_rate(choice.rate)?;
    apply(&device, settings);
    let got = Choice {
        coding,
        fourcc: settled.fourcc,
        width: settled.width,
        height: settled.height,
        rate: rate.unwrap_or(with.wanted.fps),
    };
    let buffers = Buffers::start(device, settings.buffers.clamp(2, 8))?;
    Ok((buffers, settled, got))
}

/// Sets the controls. A camera that lacks one still gives pictures, so nothing of this is an error.
fn apply(device: &Device, settings: &Settings) {
    let set = |id: u32, value: i32| {
        let range = device.control_range(id)?;
        device.set_control(id, value.clamp(range.minimum, range.maximum)).ok()
    };
    let is_set = |done: Option<()>, what: &str| {
        if done.is_none() {
            tracing::debug!("the camera has no control for {what}");
        }
    };
    match settings.exposure {
        Exposure::Unchanged => {}
        Exposure::Auto => {
            // USB cameras know "aperture priority" (fixed iris), others "auto"; each refuses the other's.
            let exposure = sys::v4l2_exposure_auto_type_V4L2_EXPOSURE_APERTURE_PRIORITY as i32;
            let auto = sys::v4l2_exposure_auto_type_V4L2_EXPOSURE_AUTO as i32;
            let known = device.control_range(sys::V4L2_CID_EXPOSURE_AUTO).is_some();
            let done = known.then(|| {
                device
                    .set_control(sys::V4L2_CID_EXPOSURE_AUTO, exposure)
                    .or_else(|_| device.set_control(sys::V4L2_CID_EXPOSURE_AUTO, auto))
                    .ok()
            });
            is_set(done.flatten(), "automatic exposure");
        }
        Exposure::Fixed { hundred_micros } => {
            let manual = sys::v4l2_exposure_auto_type_V4L2_EXPOSURE_MANUAL as i32;
            let time = i32::try_from(hundred_micros).unwrap_or(i32::MAX);
            let done =
                set(sys::V4L2_CID_EXPOSURE_AUTO, manual).and_then(|()| set(sys::V4L2_CID_EXPOSURE_ABSOLUTE, time));
            is_set(done, "the exposure time");
        }
    }
    set(
        sys::V4L2_CID_EXPOSURE_AUTO_PRIORITY,
        i32::from(settings.dynamic_frame_rate),
    );
    if let Some(brightness) = settings.brightness {
        is_set(set(sys::V4L2_CID_BRIGHTNESS, brightness), "brightness");
    }
}

/// A camera that runs.
struct Stream {
    path: PathBuf,
    buffers: Buffers,
    settled: Settled,
    coding: Coding,
    description: Description,
    with: Opening,
    jpeg: jpeg::Decoder,
    coded: ByteStream<h264::AccessUnits>,
    /// Access units to hand over before the next buffer is looked at.
    ready: VecDeque<Captured>,
    lost: Lost,
    broken_in_a_row: u32,
    /// What was wrong with the newest unusable picture.
    fault: String,
    last_sequence: Option<u32>,
}

impl Stream {
    fn new(path: &Path, buffers: Buffers, settled: Settled, choice: Choice, with: &Opening, name: &str) -> Self {
        tracing::debug!(buffers = buffers.count(), "camera {name} runs with {choice}");
        let kind = if choice.coding == Coding::H264 {
            Kind::Coded
        } else {
            Kind::Raw
        };
        Self {
            path: path.to_owned(),
            buffers,
            settled,
            coding: choice.coding,
            description: Description {
                text: format!("{name}, {choice}"),
                kind,
                width: settled.width & !1,
                height: settled.height & !1,
                fps: choice.rate,
            },
            with: with.clone(),
            jpeg: jpeg::Decoder::default(),
            coded: ByteStream::new(h264::AccessUnits::new(h264::Format::default(), Ending::Told)),
            ready: VecDeque::new(),
            lost: Lost::default(),
            broken_in_a_row: 0,
            fault: String::new(),
            last_sequence: None,
        }
    }

    /// The newest filled buffer; of access units the oldest, since none may be left out. Says with it whether the driver had been
    /// left without any buffer, so that even the newest may be stale.
    fn take(&mut self) -> io::Result<Option<(Filled, bool)>> {
        let mut newest: Option<Filled> = None;
        let mut taken = 0;
        while let Some(filled) = self.buffers.take()? {
            taken += 1;
            self.count_missed(filled.sequence);
            if filled.flags & sys::V4L2_BUF_FLAG_ERROR != 0 || filled.end <= filled.start {
                self.count_broken("its driver marked it as damaged");
                self.buffers.give_back(&filled)?;
                continue;
            }
            if let Some(older) = newest.replace(filled) {
                self.lost.skipped += 1;
                self.buffers.give_back(&older)?;
            }
            if self.coding == Coding::H264 {
                break;
            }
        }
        Ok(newest.map(|newest| (newest, taken >= self.buffers.count())))
    }

    fn count_broken(&mut self, why: impl Into<String>) {
        self.fault = why.into();
        self.lost.broken += 1;
        self.broken_in_a_row += 1;
    }

    /// Counts the pictures for which the driver had no buffer.
    fn count_missed(&mut self, sequence: u32) {
        if let Some(last) = self.last_sequence.replace(sequence) {
            let missed = sequence.wrapping_sub(last).wrapping_sub(1);
            // Drivers that do not count, or start anew, give nonsense here.
            if missed < 1_000 {
                self.lost.missed += u64::from(missed);
            }
        }
    }

    /// Turns a buffer into what the camera thread wants; `None` when it is unusable.
    fn convert(&mut self, filled: &Filled) -> Option<Captured> {
        let taken = self.taken(filled);
        let bytes = self.buffers.bytes(filled);
        let picture = match self.coding {
            Coding::H264 => {
                let ready = &mut self.ready;
                let mut done = |unit| ready.push_back(Captured::AccessUnit { unit, taken });
                self.coded.push(bytes, &mut done);
                // A buffer holds whole access units (V4L2_PIX_FMT_H264).
                self.coded.paused(done);
                // Before the first parameter sets nothing can be made of it, and that is no damage.
                return self.ready.pop_front();
            }
            Coding::Mjpeg => self
                .jpeg
                .decode(bytes, &self.with.pool)
                .map_err(|error| error.to_string()),
            Coding::Raw(layout) => {
                let raw = pixels::Raw {
                    layout,
                    width: self.settled.width,
                    height: self.settled.height,
                    stride: self.settled.stride.max(layout.row_bytes(self.settled.width)),
                    full_range: self.settled.full_range,
                    bytes,
                };
                pixels::convert(&raw, &self.with.pool).map_err(|error| error.to_string())
            }
        };
        match picture {
            Ok(picture) => Some(Captured::Picture { picture, taken }),
            Err(why) => {
                self.count_broken(why);
                None
            }
        }
    }

    /// When a picture left the sensor. Drivers stamp with the monotonic clock at the start of exposure or the end of the frame, whichever
    /// they know (`V4L2_BUF_FLAG_TSTAMP_SRC_…`); what they know is better than our time of arrival.
    fn taken(&self, filled: &Filled) -> Taken {
        let now = self.with.clock.now();
        let monotonic = filled.flags & sys::V4L2_BUF_FLAG_TIMESTAMP_MASK == sys::V4L2_BUF_FLAG_TIMESTAMP_MONOTONIC;
        let age = monotonic
            .then(|| age(monotonic_now(), filled.seconds, filled.micros))
            .flatten();
        match age.and_then(|age| now.checked_sub(age)) {
            Some(at) => Taken {
                at,
                source: CaptureSource::Camera,
            },
            None => Taken {
                at: now,
                source: CaptureSource::Arrival,
            },
        }
    }

    /// It was taken more than two frames ago.
    fn is_stale(&self, filled: &Filled) -> bool {
        let age = self.with.clock.now().saturating_duration_since(self.taken(filled).at);
        age > 2 * self.description.fps.interval()
    }

    /// Waits until there is something to take. `false`: not in time.
    fn wait(&self, until: Instant) -> Result<bool, Error> {
        loop {
            let left = until.saturating_duration_since(self.with.clock.now());
            let timeout = Timespec {
                tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
                tv_nsec: left.subsec_nanos().into(),
            };
            let mut files = [PollFd::new(self.buffers.device(), PollFlags::IN)];
            match rustix::event::poll(&mut files, Some(&timeout)) {
                Ok(0) => return Ok(false),
                Ok(_) => {}
                Err(rustix::io::Errno::INTR) => continue,
                Err(error) => return Err(self.failed(&error.into())),
            }
            let [file] = files;
            let happened = file.revents();
            if happened.contains(PollFlags::IN) {
                return Ok(true);
            }
            // Neither comes from a camera that streams: it was unplugged, or its driver gave up.
            if happened.contains(PollFlags::HUP) || self.buffers.device().capability().is_err() {
                return Err(gone(&self.path));
            }
            return Err(self.failed(&io::Error::other("its driver stopped delivering")));
        }
    }

    fn failed(&self, error: &io::Error) -> Error {
        match error.raw_os_error() {
            Some(libc::ENODEV | libc::ENXIO) => gone(&self.path),
            _ => Error::retryable(
                format!("the camera {} failed", self.path.display()),
                error.to_string(),
                "if it happens again, unplug it and plug it in, or try another USB port",
            ),
        }
    }
}

impl Source for Stream {
    fn description(&self) -> &Description {
        &self.description
    }

    fn next(&mut self, timeout: Duration) -> Result<Option<Captured>, Error> {
        if let Some(ready) = self.ready.pop_front() {
            return Ok(Some(ready));
        }
        let now = self.with.clock.now();
        let until = now.checked_add(timeout).unwrap_or(now);
        let mut waited_for_a_fresh_one = false;
        while self.wait(until)? {
            let Some((filled, starved)) = self.take().map_err(|error| self.failed(&error))? else {
                if self.with.clock.now() >= until {
                    return Ok(None);
                }
                continue;
            };
            // Once only: a machine too slow for fresh pictures shall still have pictures.
            if starved && !waited_for_a_fresh_one && self.coding != Coding::H264 && self.is_stale(&filled) {
                waited_for_a_fresh_one = true;
                self.lost.skipped += 1;
                self.buffers.give_back(&filled).map_err(|error| self.failed(&error))?;
                continue;
            }
            let captured = self.convert(&filled);
            self.buffers.give_back(&filled).map_err(|error| self.failed(&error))?;
            if captured.is_some() {
                self.broken_in_a_row = 0;
                return Ok(captured);
            }
            if self.broken_in_a_row >= MAX_BROKEN_IN_A_ROW {
                return Err(Error::retryable(
                    format!("the camera {} sends no usable pictures", self.path.display()),
                    format!("of {} the last: {}", self.broken_in_a_row, self.fault),
                    "check its cable, or choose another size with --size",
                ));
            }
        }
        Ok(None)
    }

    fn set_brightness(&mut self, value: i32) -> bool {
        let device = self.buffers.device();
        let range = device.control_range(sys::V4L2_CID_BRIGHTNESS);
        let set = |range: super::ioctl::Range| {
            let value = value.clamp(range.minimum, range.maximum);
            device.set_control(sys::V4L2_CID_BRIGHTNESS, value).ok()
        };
        range.and_then(set).is_some()
    }

    fn lost(&self) -> Lost {
        self.lost
    }
}

/// The kernel's own monotonic clock, in which drivers stamp: [`Clock`] has no way to say it in numbers.
fn monotonic_now() -> Timespec {
    rustix::time::clock_gettime(ClockId::Monotonic)
}

/// How long ago a driver's timestamp was; `None` when it cannot be right.
fn age(now: Timespec, seconds: i64, micros: i64) -> Option<Duration> {
    let now = i128::from(now.tv_sec) * 1_000_000_000 + i128::from(now.tv_nsec);
    let then = i128::from(seconds) * 1_000_000_000 + i128::from(micros) * 1_000;
    // A stamp a moment ahead is the reading of two clocks at slightly different times.
    let age = u64::try_from((now - then).max(0)).ok()?;
    let ahead = then - now;
    (ahead < 1_000_000 && age <= OLDEST.as_nanos() as u64).then(|| Duration::from_nanos(age))
}

fn gone(path: &Path) -> Error {
    Error::retryable(
        format!("the camera {} is gone", path.display()),
        "it was unplugged or its driver was unloaded",
        "plug it in again: the picture returns by itself",
    )
}

fn open_error(path: &Path, error: &io::Error) -> Error {
    let at = path.display();
    match error.raw_os_error() {
        Some(libc::EBUSY) => Error::retryable(
            format!("the camera {at} is busy"),
            Holders::of(path).to_string(),
            "close that program: the picture comes by itself",
        ),
        Some(libc::EACCES | libc::EPERM) => Error::lasting(
            format!("no permission to open the camera {at}"),
            error.to_string(),
            permission_hint(path),
        ),
        Some(libc::ENOENT) => Error::retryable(format!("no camera at {at}"), "there is no such device", cameras()),
        Some(libc::ENODEV | libc::ENXIO) => gone(path),
        Some(libc::ENOTTY) => Error::lasting(
            format!("{at} is no camera"),
            "it is a device of another kind",
            format!("choose another device; {}", cameras()),
        ),
        _ if error.kind() == io::ErrorKind::InvalidInput => Error::lasting(
            format!("{at} is no camera"),
            error.to_string(),
            format!(
                "choose a device such as /dev/video0, or file:PATH for a recording; {}",
                cameras()
            ),
        ),
        _ => Error::retryable(
            format!("cannot open the camera {at}"),
            error.to_string(),
            "unplug it and plug it in again",
        ),
    }
}

/// The cameras there are, as the end of a hint.
fn cameras() -> String {
    let found: Vec<String> = super::list()
        .into_iter()
        .filter(|info| info.unfit.is_none())
        .map(|info| format!("{} ({})", info.path.display(), info.name))
        .collect();
    if found.is_empty() {
        "no camera is connected now".to_owned()
    } else {
        format!("there are {}", found.join(", "))
    }
}

fn permission_hint(path: &Path) -> String {
    let group = fs::metadata(path).ok().and_then(|metadata| {
        let groups = fs::read_to_string("/etc/group").ok()?;
        group_name(&groups, metadata.gid())
    });
    match group.as_deref() {
        Some("root") => "run as root, or give the device to a group you are in".to_owned(),
        other => format!(
            "join its group with \"sudo usermod -aG {} $USER\", then log out and in again",
            other.unwrap_or("video")
        ),
    }
}

/// The name of a group in the format of `/etc/group`.
fn group_name(groups: &str, gid: u32) -> Option<String> {
    groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        let (name, _, id) = (fields.next()?, fields.next()?, fields.next()?);
        (id.parse() == Ok(gid)).then(|| name.to_owned())
    })
}

#[cfg(test)]
mod tests;
