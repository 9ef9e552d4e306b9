//! The lower stream of a camera of this machine: made while somebody needs it, as if it were fetched.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use device::camera::{Output, Status};
use media::{Clock, Frame, StreamName};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use super::{Ended, Sink, Source, Trouble, Why};
use crate::camera::{Lowers, NoLower};
use crate::shutdown::Shutdown;

/// Pictures that wait for this task, which takes each in microseconds. Beyond it they are left out up to a keyframe.
const QUEUE: usize = 32;
/// How often it is looked whether there is still something to make pictures of.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Asks one camera.
pub(super) struct Lower {
    camera: StreamName,
    lowers: Arc<Lowers>,
    clock: Arc<dyn Clock>,
}

impl Lower {
    pub(super) fn new(camera: StreamName, lowers: Arc<Lowers>, clock: Arc<dyn Clock>) -> Self {
        Self { camera, lowers, clock }
    }

    async fn make(&self, sink: &mut Sink, stop: &Shutdown) -> Result<Ended, Why> {
        let (to, mut outputs) = mpsc::channel(QUEUE);
        let lower = self.lowers.start(&self.camera, passes_on(to)).map_err(|no| why(&no))?;
        sink.asks_for_keyframes(lower.keyframe_requests());
        let mut stats = None;
        loop {
            let output = tokio::select! {
                output = outputs.recv() => output,
                () = stop.requested() => return Ok(Ended::Stopped),
                () = tokio::time::sleep(LOOK_EVERY) => {
                    self.lowers.check(&self.camera).map_err(|no| why(&no))?;
                    continue;
                }
            };
            match output {
                Some(Output::Track(track)) => stats = Some(sink.begin(vec![track], "camera", None)),
                Some(Output::Frame(frame)) => {
                    let now = self.clock.now();
                    if let Some(stats) = &stats {
                        let latency_us = self.clock.wall_at(now).micros_since(frame.capture.at);
                        stats.delays.note(latency_us);
                        stats.latency_us.set(latency_us);
                    }
                    sink.take(frame, now)?;
                }
                Some(Output::Status(Status::Ended { why })) => return Err(Why::new(Trouble::Unusable, why)),
                Some(Output::Status(_)) => {}
                None => return Err(Why::new(Trouble::Ended, "the camera has ended")),
            }
        }
    }
}

impl Source for Lower {
    fn run<'a>(&'a mut self, sink: &'a mut Sink, stop: Shutdown) -> Pin<Box<dyn Future<Output = Ended> + Send + 'a>> {
        Box::pin(async move { self.make(sink, &stop).await.unwrap_or_else(Ended::Failed) })
    }
}

/// From the camera's thread to the task, without ever waiting.
fn passes_on(to: mpsc::Sender<Output>) -> device::camera::Sink {
    let mut broken = false;
    Box::new(move |output| {
        if broken && matches!(&output, Output::Frame(Frame { keyframe: false, .. })) {
            return;
        }
        broken = matches!(to.try_send(output), Err(TrySendError::Full(_)));
    })
}

fn why(no: &NoLower) -> Why {
    let trouble = match no {
        NoLower::NotYet => Trouble::Unreachable,
        NoLower::Passing => Trouble::Unusable,
        NoLower::Thread(_) => Trouble::Program,
    };
    Why::new(trouble, no.to_string())
}

#[cfg(test)]
mod tests {
    use media::{Capture, CaptureSource, Format, MediaTime, Timescale, TrackIndex, WallTime};

    use super::*;

    #[test]
    fn what_the_task_has_no_time_for_is_left_out_up_to_a_keyframe() {
        let (to, mut outputs) = mpsc::channel(2);
        let mut sink = passes_on(to);
        let mut put = |ticks: i64, keyframe: bool| {
            sink(Output::Frame(Frame {
                track: TrackIndex(0),
                time: MediaTime::new(ticks, Timescale::VIDEO),
                capture: Capture {
                    at: WallTime::from_unix_micros(0),
                    source: CaptureSource::Camera,
                },
                keyframe,
                format: Arc::new(Format::H264(media::h264::Format::default())),
                data: bytes::Bytes::new(),
            }));
        };
        let mut taken = Vec::new();
        let mut take = || {
            while let Ok(Output::Frame(frame)) = outputs.try_recv() {
                taken.push(frame.time.ticks());
            }
        };
        (0..4).for_each(|n| put(n, n == 0));
        take();
        put(4, false);
        take();
        put(5, true);
        put(6, false);
        take();
        assert_eq!(taken, [0, 1, 5, 6]);
    }
}
