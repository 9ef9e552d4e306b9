//! The cameras of this machine: from settings to streams in the hub.
//!
//! Belongs here: which source a setting means, publishing what a camera gives, its keyframes on demand, what the log says of it, all
//! cameras' start and end ([`Cameras`]), those that give a second stream ([`Lowers`]), the slates of streams that nobody publishes ([`Standby`]). Does not belong here: capturing and
//! encoding (`device`), who views.

mod all;
mod lower;
mod standby;

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Instant;

use device::camera::{self, Drawing, Handle, Output, RETRY, Status};
use device::encode;
use device::motion::{self, Seen};
use device::overlay::Corner;
use device::source::{self, Word, libcamera, probe_default, v4l2};
use media::hub::{Hub, Origin, Publisher, Publishing, Refused, State, Stream};
use media::stats::{Role, SessionInfo, SessionStats};
use media::{Clock, Kind, StreamName, Track, TrackIndex, WallTime};

use crate::config::settings;
use crate::config::units::{Bitrate, Source};
use crate::random;

pub use all::{Cameras, Wanted};
pub use lower::Lowers;
pub(crate) use lower::NoLower;
pub(crate) use standby::PROTOCOL as SLATE;
pub use standby::Standby;

/// A camera that runs and publishes. Ends when dropped, within a second.
pub struct Camera {
    camera: camera::Camera,
    /// Its stream.
    pub name: StreamName,
    /// What it is and why this one.
    pub why: String,
    status: Arc<Mutex<Option<Status>>>,
    /// As it was set; `None` where the source has none to set.
    brightness: Option<Mutex<Option<i32>>>,
    passing: Arc<AtomicBool>,
    /// What moves in front of it, where somebody looks.
    motion: Arc<Mutex<Option<motion::Now>>>,
}

/// Motion is looked for in a camera's pictures, until it is dropped.
pub struct Watched {
    _watching: camera::Watching,
    motion: Arc<Mutex<Option<motion::Now>>>,
}

impl Drop for Watched {
    fn drop(&mut self) {
        *self.motion.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

impl Camera {
    /// Starts it. Its stream is there with its first frame: a picture, or a slate that says why there is none. Looking for a camera where
    /// none is named may take seconds; `give_up` is asked now and then meanwhile.
    ///
    /// # Errors
    /// When the operating system gives no thread.
    pub fn start(
        name: StreamName,
        settings: &settings::Camera,
        hub: Hub,
        clock: Arc<dyn Clock>,
        zone: jiff::tz::TimeZone,
        give_up: &dyn Fn() -> bool,
    ) -> std::io::Result<Self> {
        let source = source(settings);
        let (word, why) = match &settings.source {
            Source::Word(word) => (word.clone(), format!("{word}, as set")),
            Source::Auto => probe_default(&source, clock.as_ref(), give_up),
        };
        let status = Arc::new(Mutex::new(None));
        let (handle, passing) = (Arc::new(OnceLock::new()), Arc::new(AtomicBool::new(false)));
        let publication = Publication {
            name: name.clone(),
            hub,
            clock: Arc::clone(&clock),
            handle: Arc::clone(&handle),
            part: Part::Camera {
                takeover: settings.takeover,
            },
            passing: Arc::clone(&passing),
            track: None,
            publisher: None,
            over: Arc::default(),
            status: Arc::clone(&status),
        };
        let camera = camera::Camera::start(
            camera::Settings {
                name: name.to_string(),
                source: word.opener(&source),
                encode: encoding(settings),
                encoder: encoder(settings.encoder),
                drawing: drawing(&word, settings),
                zone: Arc::new(move |at| utc_offset_seconds(&zone, at)),
                retry: RETRY,
                seed: random::bits(),
                low: settings.low,
            },
            clock,
            publication.sink(),
        )?;
        // The sink asks for it only when a viewer asks for a keyframe.
        let _ = handle.set(camera.handle());
        let brightness = matches!(word, Word::V4l2(_)).then(|| Mutex::new(settings.brightness));
        Ok(Self {
            camera,
            name,
            why,
            status,
            brightness,
            passing,
            motion: Arc::default(),
        })
    }

    /// Steers it and reads its counters.
    pub fn handle(&self) -> Handle {
        self.camera.handle()
    }

    /// Looks for motion in its pictures. `tell` is called from its thread, and must not block.
    pub fn watch(&self, settings: motion::Settings, mut tell: impl FnMut(&Seen) + Send + 'static) -> Watched {
        let motion = Arc::clone(&self.motion);
        *motion.lock().unwrap_or_else(PoisonError::into_inner) = Some(motion::Now::default());
        let watching = self.camera.handle().watch(
            settings,
            Box::new(move |seen| {
                *motion.lock().unwrap_or_else(PoisonError::into_inner) = Some(seen.now);
                tell(&seen);
            }),
        );
        Watched {
            _watching: watching,
            motion: Arc::clone(&self.motion),
        }
    }

    /// What moves in front of it; `None`: nobody looks, or it has no pictures but in its own H.264.
    pub fn motion(&self) -> Option<motion::Now> {
        let motion = *self.motion.lock().unwrap_or_else(PoisonError::into_inner);
        motion.filter(|_| !self.is_passing())
    }

    /// Its own H.264 passes: there are no pictures here.
    pub fn is_passing(&self) -> bool {
        self.passing.load(Relaxed)
    }

    /// What makes a lower stream of it.
    fn maker(&self) -> lower::Maker {
        lower::Maker {
            handle: self.handle(),
            passing: Arc::clone(&self.passing),
        }
    }

    /// The brightness that was set last, as the camera counts it; `None` where nobody set any, or there is none to set.
    pub fn brightness(&self) -> Option<i32> {
        *(self.brightness.as_ref()?)
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets it; false where there is none to set.
    pub fn set_brightness(&self, value: i32) -> bool {
        let Some(brightness) = &self.brightness else {
            return false;
        };
        *brightness.lock().unwrap_or_else(PoisonError::into_inner) = Some(value);
        self.camera.handle().set_brightness(value);
        true
    }

    /// Whether there is a brightness to set.
    pub fn has_brightness(&self) -> bool {
        self.brightness.is_some()
    }

    /// What it is doing.
    pub fn status(&self) -> Option<Status> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Seconds east of Greenwich.
pub fn utc_offset_seconds(zone: &jiff::tz::TimeZone, at: WallTime) -> i32 {
    let at = jiff::Timestamp::from_microsecond(at.unix_micros()).unwrap_or_default();
    zone.to_offset(at).seconds()
}

fn encoder(encoder: settings::Encoder) -> encode::Preference {
    use encode::{Codec, Preference};
    match encoder {
        settings::Encoder::Auto => Preference::Auto,
        settings::Encoder::OpenH264 => Preference::OpenH264,
        settings::Encoder::Libx264 => Preference::Ffmpeg(Codec::X264),
        settings::Encoder::V4l2M2m => Preference::Ffmpeg(Codec::V4l2M2m),
        settings::Encoder::Nvenc => Preference::Ffmpeg(Codec::Nvenc),
        settings::Encoder::Vaapi => Preference::Ffmpeg(Codec::Vaapi),
        settings::Encoder::Qsv => Preference::Ffmpeg(Codec::Qsv),
    }
}

fn source(settings: &settings::Camera) -> source::Settings {
    let exposure = settings
        .exposure
        .map_or(v4l2::Exposure::Auto, |hundred_micros| v4l2::Exposure::Fixed {
            hundred_micros: hundred_micros.unsigned_abs(),
        });
    let usual = libcamera::Settings::default();
    source::Settings {
        v4l2: v4l2::Settings {
            exposure,
            brightness: settings.brightness,
            ..v4l2::Settings::default()
        },
        libcamera: libcamera::Settings {
            vflip: settings.vflip.or(usual.vflip),
            bitrate_kbps: settings.bitrate.map_or(usual.bitrate_kbps, Bitrate::kbps),
            intra: settings.gop.unwrap_or(usual.intra),
            ..usual
        },
        file_fps: None,
    }
}

fn encoding(settings: &settings::Camera) -> encode::Settings {
    let usual = encode::Settings::default();
    encode::Settings {
        width: settings.size.width,
        height: settings.size.height,
        fps: settings.fps.0,
        bitrate_kbps: settings.bitrate.map_or(usual.bitrate_kbps, Bitrate::kbps),
        gop_frames: settings.gop.unwrap_or(usual.gop_frames),
    }
}

/// Lines and stamp. Settings that have both in one corner are refused, except where only the want of a camera brings the stamp: it is left out.
fn drawing(word: &Word, settings: &settings::Camera) -> Drawing {
    let (lines, stamp) = settings.drawn(Some(word));
    let lines = lines.then(|| corner(settings.overlay_corner));
    let stamp = stamp.then(|| corner(settings.stamp_corner));
    Drawing {
        lines,
        stamp: stamp.filter(|stamp| lines != Some(*stamp)),
    }
}

fn corner(corner: settings::Corner) -> Corner {
    match corner {
        settings::Corner::TopLeft => Corner::TopLeft,
        settings::Corner::TopRight => Corner::TopRight,
        settings::Corner::BottomLeft => Corner::BottomLeft,
        settings::Corner::BottomRight => Corner::BottomRight,
    }
}

/// From a camera's output to the hub.
struct Publication {
    name: StreamName,
    hub: Hub,
    clock: Arc<dyn Clock>,
    handle: Arc<OnceLock<Handle>>,
    part: Part,
    /// The camera's own H.264 passes: nobody can be asked for a keyframe.
    passing: Arc<AtomicBool>,
    track: Option<Track>,
    /// With the track in the stream that its frames belong to.
    publisher: Option<(Publisher, TrackIndex)>,
    /// Nothing is published any more: the hub was told to end, or the slate has given way.
    over: Arc<AtomicBool>,
    status: Arc<Mutex<Option<Status>>>,
}

/// Whose pictures are published.
enum Part {
    /// A camera's.
    Camera {
        /// Others may take the stream over; it returns when they are gone.
        takeover: bool,
    },
    /// A slate's, in place of a publisher that is gone or silent: among its tracks, so that viewers of these can stay. It gives way for good.
    Slate { tracks: Arc<[Track]> },
}

impl Part {
    /// What statistics and messages call it.
    fn protocol(&self) -> &'static str {
        match self {
            Self::Camera { .. } => "camera",
            Self::Slate { .. } => standby::PROTOCOL,
        }
    }

    /// Whether it may take the stream from whoever has it.
    fn may_replace(&self, stream: &Stream, now: Instant) -> bool {
        matches!(self, Self::Slate { .. }) && standby::silent_since(stream, now).is_some()
    }

    /// The tracks to publish, and which of them is its own.
    fn tracks(&self, own: &Track) -> (Vec<Track>, TrackIndex) {
        let mut tracks = match self {
            Self::Camera { .. } => Vec::new(),
            Self::Slate { tracks } => tracks.to_vec(),
        };
        let video = tracks.iter_mut().find(|track| track.kind() == Kind::Video);
        let Some(video) = video else {
            return (vec![own.clone()], own.index);
        };
        let index = video.index;
        *video = Track { index, ..own.clone() };
        (tracks, index)
    }
}

impl Publication {
    fn sink(mut self) -> camera::Sink {
        Box::new(move |output| match output {
            Output::Track(track) => self.track = Some(track),
            Output::Frame(mut frame) => {
                let now = self.clock.now();
                if self.publisher.is_none() && frame.keyframe && !self.over.load(Relaxed) {
                    self.publish(now);
                }
                let Some((publisher, track)) = &mut self.publisher else {
                    return;
                };
                frame.track = *track;
                let latency_us = self.clock.wall_at(now).micros_since(frame.capture.at);
                match publisher.publish(frame, now) {
                    Ok(()) => {
                        publisher.stats().latency_us.set(latency_us);
                        publisher.stats().delays.note(latency_us);
                    }
                    Err(refused) => {
                        self.publisher = None;
                        self.refused(&refused);
                    }
                }
            }
            Output::Status(status) => {
                match (&self.part, &status) {
                    // Not worth more: it was said why there is one.
                    (Part::Slate { .. }, Status::Starting { .. } | Status::Running { .. }) => {
                        tracing::debug!(stream = %self.name, ?status, "slate");
                    }
                    (part, _) => log(&self.name, part.protocol(), &status),
                }
                self.note_passing(matches!(status, Status::Running { passing: true, .. }));
                *self.status.lock().unwrap_or_else(PoisonError::into_inner) = Some(status);
            }
        })
    }

    fn refused(&mut self, refused: &Refused) {
        let stopped = *refused == Refused::Stopped;
        match self.part {
            _ if stopped => {}
            Part::Camera { .. } => {
                tracing::info!(stream = %self.name, reason = %refused, "the camera no longer publishes; its picture returns when the stream is free");
            }
            Part::Slate { .. } => tracing::info!(stream = %self.name, reason = %refused, "the slate gives way"),
        }
        self.over
            .store(stopped || matches!(self.part, Part::Slate { .. }), Relaxed);
    }

    /// Viewers wait for a keyframe that they asked for, so nobody may be asked who gives none.
    fn note_passing(&mut self, passing: bool) {
        if self.passing.swap(passing, Relaxed) == passing {
            return;
        }
        let requests = self.keyframe_requests();
        if let Some((publisher, _)) = &mut self.publisher {
            publisher.set_keyframe_requests(requests);
        }
    }

    /// How to ask for a keyframe, where the encoder is ours.
    fn keyframe_requests(&self) -> Option<Arc<dyn Fn() + Send + Sync>> {
        if self.passing.load(Relaxed) {
            return None;
        }
        let handle = Arc::clone(&self.handle);
        Some(Arc::new(move || {
            if let Some(handle) = handle.get() {
                handle.request_keyframe();
            }
        }))
    }

    /// Takes the stream unless somebody who was let take it over still has it.
    fn publish(&mut self, now: Instant) {
        let taken = (self.hub.stream(&self.name, now))
            .is_ok_and(|stream| stream.state() == State::Live && !self.part.may_replace(&stream, now));
        let (Some(track), false) = (&self.track, taken) else {
            return;
        };
        let stats = Arc::new(SessionStats::new(SessionInfo {
            stream: self.name.clone(),
            role: Role::Publisher,
            protocol: self.part.protocol(),
            remote: None,
            agent: None,
            since: self.clock.wall(),
        }));
        let (handle, passing) = (Arc::clone(&self.handle), Arc::clone(&self.passing));
        stats.ceiling.tie(move |kbps| {
            let handle = handle.get().filter(|_| !passing.load(Relaxed));
            handle.is_some_and(|handle| {
                handle.set_ceiling_kbps(kbps);
                true
            })
        });
        let publishing = Publishing {
            stats,
            origin: match self.part {
                Part::Camera { takeover } => Origin::Local { takeover },
                Part::Slate { .. } => Origin::StandIn,
            },
            keyframe_requests: self.keyframe_requests(),
        };
        let (tracks, own) = self.part.tracks(track);
        match self.hub.publish(&self.name, tracks, publishing, now) {
            // Somebody came in between, and keeps it.
            Ok(publisher) if publisher.is_waiting() && !self.part.may_replace(publisher.stream(), now) => {}
            Ok(publisher) => self.publisher = Some((publisher, own)),
            Err(error) => {
                tracing::warn!(stream = %self.name, reason = %error, "the {} cannot publish", self.part.protocol());
            }
        }
    }
}

fn log(name: &StreamName, what: &str, status: &Status) {
    match status {
        Status::Starting { source } => tracing::debug!(stream = %name, source, "camera starts"),
        Status::Running { source, encoder, .. } => tracing::info!(stream = %name, source, encoder, "camera runs"),
        Status::Slate { error, retry_in } => {
            let retry_ms = u64::try_from(retry_in.as_millis()).unwrap_or(u64::MAX);
            tracing::warn!(stream = %name, reason = %error, retry_ms, "no picture from the camera; viewers see a slate");
        }
        Status::Off => tracing::info!(stream = %name, "camera is switched off; viewers see a slate"),
        Status::Ended { why } => tracing::error!(stream = %name, reason = why, "the {what} ended by a bug of ours"),
    }
}

#[cfg(test)]
mod tests;
