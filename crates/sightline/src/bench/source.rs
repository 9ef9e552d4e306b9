//! A stream that costs its generator little and carries the time in every frame.
//!
//! Belongs here: two seconds of the test pattern, encoded once, sent again and again with a fresh capture time. Does not belong
//! here: measuring.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use device::encode::{self, Encoder, OpenH264};
use device::picture::{FrameRate, Picture};
use device::source::Taken;
use device::source::test_pattern::{Pattern, Scene};
use media::annexb::Ending;
use media::hub::{Hub, Limits, Origin, Publisher, Publishing};
use media::stats::{Role, SessionInfo, SessionStats};
use media::{Capture, CaptureSource, Clock, Codec, Format, Frame, MediaTime, StreamName, Timescale, Track, TrackIndex};
use media::{h264, sei};
use tokio::task::JoinHandle;

/// What to send.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// Pixels per row and rows.
    pub size: (u32, u32),
    /// Frames per second.
    pub fps: u32,
    /// Bitrate in kb/s.
    pub bitrate_kbps: u32,
    /// Frames from keyframe to keyframe.
    pub gop_frames: u32,
}

impl Default for Load {
    /// 640×480@30, 2 Mb/s, a keyframe every two seconds.
    fn default() -> Self {
        Self {
            size: (640, 480),
            fps: 30,
            bitrate_kbps: 2_000,
            gop_frames: 60,
        }
    }
}

/// One GOP, encoded.
struct Gop {
    frames: Vec<(Bytes, bool)>,
    format: Arc<Format>,
}

/// Why there is no stream to send.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The encoder does not take the settings.
    #[error(transparent)]
    Encode(#[from] encode::Error),
    /// Sizes that no picture can have.
    #[error("a picture cannot have {0}×{1} pixels; even numbers from 16 to 8192 can")]
    Size(u32, u32),
    /// Our own hub refused.
    #[error(transparent)]
    Publish(#[from] media::hub::PublishError),
    /// The encoder gave nothing usable.
    #[error("the encoder gave no keyframe with parameter sets")]
    NoKeyframe,
}

/// Publishes into a hub of its own, paced by the clock, until dropped.
pub(super) struct Generator {
    hub: Hub,
    name: StreamName,
    tracks: Vec<Track>,
    task: JoinHandle<()>,
}

impl Generator {
    pub(super) fn start(load: Load, clock: Arc<dyn Clock>) -> Result<Self, Error> {
        let gop = Gop::encode(load, clock.as_ref())?;
        let name = StreamName::default_stream();
        let track = Track {
            index: TrackIndex(0),
            format: gop.format.clone(),
            timescale: Timescale::VIDEO,
        };
        let tracks = vec![track];
        let stats = Arc::new(SessionStats::new(SessionInfo {
            stream: name.clone(),
            role: Role::Publisher,
            protocol: "generator",
            remote: None,
            agent: None,
            since: clock.wall(),
        }));
        let publishing = Publishing {
            stats,
            origin: Origin::Local { takeover: false },
            keyframe_requests: None,
        };
        let hub = Hub::new(Limits::default());
        let publisher = hub.publish(&name, tracks.clone(), publishing, clock.now())?;
        let task = tokio::spawn(pace(gop, load.fps.max(1), publisher, clock));
        Ok(Self {
            hub,
            name,
            tracks,
            task,
        })
    }

    pub(super) fn tracks(&self) -> &[Track] {
        &self.tracks
    }

    /// A reader of it.
    pub(super) fn reader(&self, now: Instant) -> Option<media::hub::Reader> {
        self.hub.stream(&self.name, now).ok()?.join(now).ok()
    }
}

impl Drop for Generator {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn pace(gop: Gop, fps: u32, mut publisher: Publisher, clock: Arc<dyn Clock>) {
    let start = clock.now();
    for (number, (data, keyframe)) in (0_u32..).zip(gop.frames.iter().cycle()) {
        // From the start each time, so that no error adds up.
        let due = Duration::from_micros(u64::from(number) * 1_000_000 / u64::from(fps));
        tokio::time::sleep_until((start + due).into()).await;
        let at = clock.wall();
        let frame = Frame {
            track: TrackIndex(0),
            time: MediaTime::new(i64::from(number) * 90_000 / i64::from(fps), Timescale::VIDEO),
            capture: Capture {
                at,
                source: CaptureSource::Camera,
            },
            keyframe: *keyframe,
            format: gop.format.clone(),
            data: sei::insert(data, Codec::H264, at),
        };
        if publisher.publish(frame, clock.now()).is_err() {
            return;
        }
    }
}

impl Gop {
    fn encode(load: Load, clock: &dyn Clock) -> Result<Self, Error> {
        let (width, height) = load.size;
        let size = || Error::Size(width, height);
        let settings = encode::Settings {
            width,
            height,
            fps: FrameRate::whole(load.fps.max(1)),
            bitrate_kbps: load.bitrate_kbps,
            gop_frames: load.gop_frames,
        };
        let gop = u64::from(load.gop_frames.max(1));
        let fps = u64::from(load.fps.max(1));
        let units = Arc::new(Mutex::new(Vec::new()));
        let sink = units.clone();
        let mut builder = h264::AccessUnits::new(h264::Format::default(), Ending::Told);
        let mut encoder = OpenH264::new(
            settings,
            Box::new(move |unit| {
                for nal in unit.nals {
                    builder.push(nal);
                }
                sink.lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .extend(builder.finish());
            }),
        )?;
        let mut scene = Scene::new(Pattern::Moving, width, height).ok_or_else(size)?;
        let mut picture = Picture::black(width, height).ok_or_else(size)?;
        // The first GOP lets the rate control settle.
        for number in 0..gop * 2 {
            if number == gop {
                units.lock().unwrap_or_else(PoisonError::into_inner).clear();
                encoder.request_keyframe();
            }
            scene.draw(&mut picture, Duration::from_micros(number * 1_000_000 / fps));
            encoder.encode(
                &picture,
                Taken {
                    at: clock.now(),
                    source: CaptureSource::Camera,
                },
            )?;
        }
        let units = std::mem::take(&mut *units.lock().unwrap_or_else(PoisonError::into_inner));
        let first = units.first().filter(|unit| unit.keyframe).ok_or(Error::NoKeyframe)?;
        let format = first.format.clone();
        let frames = units.into_iter().map(|unit| (unit.data, unit.keyframe)).collect();
        Ok(Self { frames, format })
    }
}
