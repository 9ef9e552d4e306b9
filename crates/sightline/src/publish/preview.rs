//! The pictures of `publish --preview`: what is sent, decoded again.
//!
//! Belongs here: reading the stream as any viewer does, decoding on a thread of its own, leaving out what is no longer new. Does not belong
//! here: the window ([`crate::window`]).
//!
//! The sending does not notice: a reader costs the hub a position in its ring, and who is slow loses pictures.

use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use device::decode::Decoder;
use device::picture::Picture;
use media::hub::{Entry, Event, Hub};
use media::{Codec, Frame};
use tokio::runtime::Handle;

use super::{LOOK_AGAIN, Plan};
use crate::shutdown::{Trigger, channel};
use crate::window::Screen;

/// The thread. Ends when dropped, after the frame it is at.
pub(super) struct Preview {
    end: Option<Trigger>,
    thread: Option<JoinHandle<()>>,
}

impl Preview {
    pub(super) fn start(plan: &Plan, hub: &Hub, screen: Screen, runtime: Handle) -> io::Result<Self> {
        let (end, ended) = channel();
        let (plan, hub) = (plan.clone(), hub.clone());
        let thread = thread::Builder::new().name("preview".to_owned()).spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    biased;
                    () = ended.requested() => {}
                    () = show(&plan, &hub, &screen) => {}
                }
            });
        })?;
        Ok(Self {
            end: Some(end),
            thread: Some(thread),
        })
    }
}

impl Drop for Preview {
    fn drop(&mut self) {
        self.end = None;
        if let Some(thread) = self.thread.take() {
            // A panic in it was reported by the panic hook, and disturbed nobody else.
            let _ = thread.join();
        }
    }
}

/// Shows the stream for ever, through whatever happens to it.
async fn show(plan: &Plan, hub: &Hub, screen: &Screen) {
    let mut newest = Newest::default();
    let mut frames = Vec::new();
    loop {
        let stream = super::our_stream(plan, hub).await;
        let joined = super::join(&stream, &plan.settings.clock, "preview");
        if let Some(mut joined) = joined {
            loop {
                match joined.reader.next(&mut frames).await {
                    Event::Frames(_) => {
                        newest.of(&frames).into_iter().for_each(|picture| screen.show(picture));
                        frames.clear();
                    }
                    Event::Jumped { .. } | Event::Tracks(_) => newest.decoder.discontinuity(),
                    Event::Ended(_) => break,
                }
            }
        }
        newest.decoder.discontinuity();
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

/// Decodes as little as shows the newest picture.
#[derive(Default)]
struct Newest {
    decoder: Decoder,
    /// The last frame gave no picture: said once, until one does again.
    is_failing: bool,
}

impl Newest {
    /// The newest picture of frames that came since the last time. More than one came when decoding is slower than the camera: then it goes on
    /// at the newest keyframe among them.
    fn of(&mut self, frames: &[Arc<Entry>]) -> Option<Picture> {
        let is_shown = |entry: &&Arc<Entry>| entry.frame.format.codec() == Codec::H264;
        let start = frames
            .iter()
            .rposition(|entry| is_shown(&entry) && entry.frame.keyframe)
            .unwrap_or(0);
        let mut newest = None;
        for entry in frames.iter().skip(start).filter(is_shown) {
            self.decode(&entry.frame);
            while let Some(decoded) = self.decoder.next() {
                newest = Some(decoded.picture);
            }
        }
        newest
    }

    fn decode(&mut self, frame: &Frame) {
        match self.decoder.decode(frame) {
            Ok(()) => self.is_failing = false,
            Err(error) if !self.is_failing => {
                self.is_failing = true;
                tracing::warn!(reason = %error, "the preview cannot show a picture; it is sent all the same");
            }
            Err(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use media::StreamName;

    use super::*;
    use crate::camera::Camera;
    use crate::clock::SystemClock;
    use crate::config::settings;

    #[tokio::test]
    async fn what_is_no_longer_new_is_not_decoded() {
        const GOP: usize = 5;
        let clock: Arc<dyn media::Clock> = Arc::new(SystemClock);
        let (hub, name) = (Hub::new(media::hub::Limits::default()), StreamName::default_stream());
        let settings = settings::Camera {
            source: "test".parse().unwrap(),
            size: "64x64".parse().unwrap(),
            fps: "60".parse().unwrap(),
            gop: Some(GOP as u32),
            ..settings::Camera::default()
        };
        let zone = jiff::tz::TimeZone::UTC;
        let _camera = Camera::start(name.clone(), &settings, hub.clone(), Arc::clone(&clock), zone, &|| {
            false
        })
        .unwrap();
        let stream = loop {
            if let Ok(stream) = hub.stream(&name, clock.now()) {
                break stream;
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        };
        let mut reader = stream.join(clock.now()).unwrap();
        let mut frames = Vec::new();
        while frames.len() < 4 * GOP {
            assert!(matches!(reader.next(&mut frames).await, Event::Frames(_)));
        }
        let mut newest = Newest::default();
        assert!(newest.of(&frames).is_some());
        // At most the newest GOP of four.
        let decoded = newest.decoder.stats().decoded;
        assert!((1..=GOP as u64).contains(&decoded), "{decoded}");
        // From there on each one, as it comes.
        for _ in 0..GOP {
            frames.clear();
            assert!(matches!(reader.next(&mut frames).await, Event::Frames(_)));
            assert!(newest.of(&frames).is_some());
        }
    }
}
