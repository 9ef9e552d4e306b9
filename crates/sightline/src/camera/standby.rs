//! Streams that are always there: a slate whenever nobody publishes them (CONTRACT §9, `always_available`).
//!
//! Belongs here: noticing that a publisher is gone, silent or back, what the slate says, its size and rate. Does not belong here: drawing and encoding
//! it (a camera with [`Vacancy`] as its source does), who takes over from whom (the hub).
//!
//! A slate runs only while there is no other picture. Of a core it takes 0.8 % at 640×480 and 4 % at 1920×1080, watched or not.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use device::camera::{self, Drawing, RETRY};
use device::encode;
use device::picture::{FrameRate, Picture};
use device::source;
use device::source::vacancy::Vacancy;
use media::hub::{Hub, State, Stream};
use media::{Clock, Codec, Format, Kind, StreamName, Track, WallTime};
use tokio::task;

use super::{Part, Publication, utc_offset_seconds};
use crate::config::live;
use crate::random;
use crate::shutdown::Shutdown;

/// What statistics and messages call a slate.
pub(crate) const PROTOCOL: &str = "slate";
/// How often it is looked whether somebody publishes: a few look-ups of a name a second.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Pictures per second of a slate at the most: enough for players, who would take fewer for a stream that hangs.
const MOST_FPS: u32 = 5;
/// A keyframe every two seconds; newcomers are given one when they come.
const GOP_FRAMES: u32 = 10;
/// A slate is letters on grey: a few kilobytes each keyframe, next to nothing between.
const BITRATE_KBPS: u32 = 300;
/// Size where no publisher was there before.
const USUAL_SIZE: (u32, u32) = (640, 480);

/// Keeps slates in streams that are always to be available.
pub struct Standby {
    names: live::Part<Vec<StreamName>>,
    streams: Vec<(Watch, Option<Slate>)>,
    hub: Hub,
    clock: Arc<dyn Clock>,
    zone: jiff::tz::TimeZone,
}

impl Standby {
    /// For these streams, from now on.
    pub fn new(names: live::Part<Vec<StreamName>>, hub: &Hub, clock: Arc<dyn Clock>, zone: jiff::tz::TimeZone) -> Self {
        let mut standby = Self {
            streams: Vec::new(),
            hub: hub.clone(),
            clock,
            zone,
            names,
        };
        standby.set(&standby.names.now().clone());
        standby
    }

    /// Looks after them until the end of the program.
    pub async fn run(mut self, shutdown: Shutdown) {
        while !shutdown.is_requested() {
            self.look();
            let idle = self.streams.is_empty();
            let again = async {
                if idle {
                    std::future::pending::<()>().await;
                }
                tokio::time::sleep(LOOK_EVERY).await;
            };
            let changed = tokio::select! {
                () = again => None,
                () = shutdown.requested() => None,
                names = self.names.changed() => Some(names),
            };
            if let Some(names) = changed {
                self.set(&names);
            }
        }
        let slates: Vec<Slate> = self.streams.into_iter().filter_map(|(_, slate)| slate).collect();
        for slate in &slates {
            slate.camera.handle().stop();
        }
        // Their threads are waited for, some 50 ms.
        let _ = task::spawn_blocking(move || drop(slates)).await;
    }

    /// These and no others. What goes on being looked after is not touched.
    fn set(&mut self, names: &[StreamName]) {
        for (watch, slate) in &mut self.streams {
            if !names.contains(&watch.name) {
                end(slate);
            }
        }
        self.streams.retain(|(watch, _)| names.contains(&watch.name));
        for name in names {
            if self.streams.iter().all(|(watch, _)| watch.name != *name) {
                let watch = Watch {
                    name: name.clone(),
                    hub: self.hub.clone(),
                    began: self.clock.wall(),
                };
                self.streams.push((watch, None));
            }
        }
    }

    fn look(&mut self) {
        let (now, wall) = (self.clock.now(), self.clock.wall());
        for (watch, slate) in &mut self.streams {
            if slate.as_ref().is_some_and(|slate| slate.over.load(Relaxed)) {
                end(slate);
            }
            match watch.look(now, wall, slate.is_some()) {
                Step::Stay => {}
                Step::Hide => end(slate),
                Step::Show(vacant) => match Slate::start(watch, vacant, &self.clock, &self.zone) {
                    Ok(started) => *slate = Some(started),
                    Err(error) => {
                        tracing::warn!(stream = %watch.name, %error, "no threads for a slate; tried again");
                    }
                },
            }
        }
    }
}

/// Ends a slate without waiting for its threads.
fn end(slate: &mut Option<Slate>) {
    if let Some(slate) = slate.take() {
        slate.camera.handle().stop();
        task::spawn_blocking(move || drop(slate));
    }
}

/// A slate that is shown.
struct Slate {
    camera: camera::Camera,
    /// It has given way to a publisher.
    over: Arc<AtomicBool>,
}

impl Slate {
    fn start(
        watch: &Watch,
        vacant: Vacant,
        clock: &Arc<dyn Clock>,
        zone: &jiff::tz::TimeZone,
    ) -> std::io::Result<Self> {
        let what = vacant.says(zone);
        tracing::info!(stream = %watch.name, reason = %what, "no picture from a publisher; viewers see a slate");
        let (handle, over) = (Arc::new(OnceLock::new()), Arc::new(AtomicBool::new(false)));
        let publication = Publication {
            name: watch.name.clone(),
            hub: watch.hub.clone(),
            clock: Arc::clone(clock),
            handle: Arc::clone(&handle),
            part: Part::Slate { tracks: vacant.tracks },
            passing: Arc::default(),
            track: None,
            publisher: None,
            over: Arc::clone(&over),
            status: Arc::default(),
        };
        let (zone, (width, height)) = (zone.clone(), vacant.size);
        let camera = camera::Camera::start(
            camera::Settings {
                name: watch.name.to_string(),
                source: Box::new(Vacancy::new(watch.name.as_str(), what)),
                encode: encode::Settings {
                    width,
                    height,
                    fps: vacant.fps,
                    bitrate_kbps: BITRATE_KBPS,
                    gop_frames: GOP_FRAMES,
                },
                // Nothing to gain from hardware here, and others may need it.
                encoder: encode::Preference::OpenH264,
                drawing: Drawing::default(),
                zone: Arc::new(move |at| utc_offset_seconds(&zone, at)),
                retry: RETRY,
                seed: random::bits(),
                low: false,
            },
            Arc::clone(clock),
            publication.sink(),
        )?;
        // The sink asks for it only when a viewer asks for a keyframe.
        let _ = handle.set(camera.handle());
        Ok(Self { camera, over })
    }
}

/// Decides when one stream shows its slate.
struct Watch {
    name: StreamName,
    hub: Hub,
    /// When the program began to look after it.
    began: WallTime,
}

/// What to do.
#[derive(Debug)]
enum Step {
    /// Nothing.
    Stay,
    /// Start the slate.
    Show(Vacant),
    /// End it: somebody came before its first picture.
    Hide,
}

/// A stream without a picture.
#[derive(Debug)]
struct Vacant {
    since: WallTime,
    cause: Cause,
    /// What was published before: viewers of these tracks are there. Empty where nothing was.
    tracks: Arc<[Track]>,
    size: (u32, u32),
    fps: FrameRate,
}

/// What happened then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    /// The program began to look after the stream, and nobody came.
    Began,
    /// Its publisher left.
    Left,
    /// Its publisher gave its last picture. It is connected still: its network or its power may be gone.
    Silent,
}

impl Watch {
    /// `shown`: the slate runs.
    fn look(&self, now: Instant, wall: WallTime, shown: bool) -> Step {
        let ago = |since| WallTime::from_unix_micros(wall.unix_micros().saturating_sub(media::time::micros(since)));
        match self.hub.stream(&self.name, now) {
            Err(_) if shown => Step::Stay,
            Err(not_found) => Step::Show(Vacant {
                since: not_found.last_seen.map_or(self.began, ago),
                cause: not_found.last_seen.map_or(Cause::Began, |_| Cause::Left),
                tracks: Arc::default(),
                size: USUAL_SIZE,
                fps: FrameRate::whole(MOST_FPS),
            }),
            Ok(stream) => {
                let begin = |since, cause| {
                    let since = ago(now.saturating_duration_since(since));
                    Vacant::after(&stream, since, cause).map_or(Step::Stay, Step::Show)
                };
                match (stream.state(), silent_since(&stream, now)) {
                    (State::Live, None) if shown && !is_ours(&stream) => Step::Hide,
                    (State::Live, Some(since)) if !shown => begin(since, Cause::Silent),
                    (State::Held { since }, _) if !shown => begin(since, Cause::Left),
                    (State::Live | State::Held { .. } | State::Ended(_), _) => Step::Stay,
                }
            }
        }
    }
}

/// When the last frame came, if that is as long ago as a stream is held: nobody leaves who loses network or power, and that is noticed only
/// when the connection's own limit is over.
pub(super) fn silent_since(stream: &Stream, now: Instant) -> Option<Instant> {
    let last = stream.last_frame()?;
    (now.saturating_duration_since(last) >= stream.limits().hold).then_some(last)
}

/// Pictures per second as the parameter sets state them.
fn stated_rate(format: &Format) -> Option<FrameRate> {
    let Format::H264(format) = format else { return None };
    let milli = (format.frame_rate()? * 1_000.0).round();
    FrameRate::new(milli as u32, 1_000)
}

/// The slate has the stream, or nobody has any more.
fn is_ours(stream: &Stream) -> bool {
    stream
        .publisher()
        .is_none_or(|publisher| publisher.info.protocol == PROTOCOL)
}

impl Vacant {
    /// As its last publisher left the stream. `None` for streams whose picture is no H.264: their viewers could not follow, so the slate waits
    /// until these have been let go.
    fn after(stream: &Stream, since: WallTime, cause: Cause) -> Option<Self> {
        let tracks = stream.tracks();
        let video = tracks.iter().find(|track| track.kind() == Kind::Video)?;
        if video.format.codec() != Codec::H264 {
            return None;
        }
        let size = video.format.dimensions();
        let size = size.filter(|&(width, height)| Picture::black(width, height).is_some());
        let most = FrameRate::whole(MOST_FPS);
        let fps = stated_rate(&video.format).filter(|rate| rate.as_f64() < most.as_f64());
        Some(Self {
            since,
            cause,
            size: size.unwrap_or(USUAL_SIZE),
            fps: fps.unwrap_or(most),
            tracks,
        })
    }

    /// In words, for the slate and the log.
    fn says(&self, zone: &jiff::tz::TimeZone) -> source::Error {
        let at = jiff::Timestamp::from_microsecond(self.since.unix_micros()).unwrap_or_default();
        let at = at.to_zoned(zone.clone()).strftime("%Y-%m-%d %H:%M:%S");
        let (what, why) = match self.cause {
            Cause::Began => ("nobody publishes this stream", "when the server began to offer it"),
            Cause::Left => ("nobody publishes this stream", "when its publisher left"),
            Cause::Silent => ("no picture comes from the publisher", "though it is connected"),
        };
        source::Error::retryable(
            what,
            format!("since {at}, {why}"),
            "the picture comes by itself as soon as there is one",
        )
    }
}

#[cfg(test)]
mod tests;
