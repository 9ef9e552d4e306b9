//! A stream of an HLS server: its list asked for again and again, its segments published at the rate of their times.
//!
//! Belongs here: fetching ([`Fetcher`]), which variant and which segment to begin with, pacing ([`Pace`]), what goes wrong in our words. Does not belong
//! here: lists as text ([`protocol::hls::playlist`]), segments as bytes ([`media::demux`]).
//!
//! HLS comes in bursts, a segment at a time. A picture is published no sooner than its distance to the first says, so that viewers get a steady
//! stream, and later only where it was not there in time; it stays that late then. Sound may be in a list of its own, which is fetched beside that of the pictures ([`Lines`]). The newest segment is the first: the delay is that
//! of the server's segments, not the three of them that players keep; where it has parts (LL-HLS) each is fetched when it is there, from the newest that begins with a
//! keyframe on, and asked for as soon as the list hints at it.

mod fetcher;
mod lines;
mod pace;

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use media::{Capture, CaptureSource, Clock, Kind, Track, TrackIndex, WallTime};
use tokio::sync::mpsc;
use url::Url;

use super::plan::Plan;
use super::{Ended, Sink, Source, Why};
use crate::shutdown::Shutdown;
use fetcher::Fetcher;
use lines::{Item, Lines, Next};
use pace::Pace;

/// Segments that wait to be published: one is, the next is there.
const QUEUE_SEGMENTS: usize = 1;
/// How long the first sound may take, when the first pictures are there.
const SOUND_WITHIN: Duration = Duration::from_secs(5);
/// A date of a segment is believed from here …
const EARLIEST_US: i64 = -1_000_000;
/// … to here, counted as the age of its pictures.
const OLDEST: Duration = Duration::from_secs(60);

/// Asks for one stream.
pub(super) struct Pull {
    fetcher: Fetcher,
    clock: Arc<dyn Clock>,
}

impl Pull {
    pub(super) fn new(url: Url, plan: &Plan, clock: Arc<dyn Clock>) -> Self {
        Self {
            fetcher: Fetcher::new(url, plan.trust.clone(), Arc::clone(&clock)),
            clock,
        }
    }

    async fn pull(&mut self, sink: &mut Sink, stop: &Shutdown) -> Result<Ended, Why> {
        let found = tokio::select! {
            found = self.fetcher.find() => found?,
            () = stop.requested() => return Ok(Ended::Stopped),
        };
        let sound = found.sound.as_ref().map(|url| self.fetcher.of_sound(url));
        let (sender, pictures) = mpsc::channel(QUEUE_SEGMENTS);
        let (sound_sender, sound_inbox) = mpsc::channel(QUEUE_SEGMENTS);
        let lines = Lines::new(pictures, sound.is_some().then_some(sound_inbox));
        let publishing = publish(lines, sink, &*self.clock);
        let fetching = async {
            let listening = async {
                match sound {
                    Some(mut sound) => sound.listen(sound_sender).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                why = self.fetcher.run(found, sender) => why,
                why = listening => why,
            }
        };
        // What was fetched before the end is published before it is told.
        let both = async { tokio::join!(fetching, publishing) };
        let (fetched, published) = tokio::select! {
            ended = both => ended,
            () = stop.requested() => return Ok(Ended::Stopped),
        };
        published?;
        Err(fetched)
    }
}

impl Source for Pull {
    fn run<'a>(&'a mut self, sink: &'a mut Sink, stop: Shutdown) -> Pin<Box<dyn Future<Output = Ended> + Send + 'a>> {
        Box::pin(async move { self.pull(sink, &stop).await.unwrap_or_else(Ended::Failed) })
    }
}

/// Publishes what comes until nothing follows.
async fn publish(mut lines: Lines, sink: &mut Sink, clock: &dyn Clock) -> Result<(), Why> {
    if !lines.begin(SOUND_WITHIN).await {
        return Ok(());
    }
    let tracks = tracks(&lines);
    let kinds: Vec<Kind> = tracks.iter().map(Track::kind).collect();
    let stats = sink.begin(tracks, "HLS", lines.remote());
    let mut pace = Pace::default();
    let mut pictures: Option<(i64, Capture)> = None;
    loop {
        let item = match lines.next() {
            Next::Publish(item) => item,
            Next::Wait => {
                lines.wait().await;
                continue;
            }
            Next::Over => return Ok(()),
        };
        if item.jumps {
            pace.jump();
        }
        let kind = item.sample.kind();
        let Some(track) = kinds.iter().position(|known| *known == kind) else {
            continue;
        };
        let decode_us = item.sample.decode_us;
        // What there is at first between a keyframe and the newest is published at once.
        let due = match item.at_once {
            true => pace.rush(decode_us, clock.now()),
            false => pace.due(decode_us, clock.now()),
        };
        tokio::time::sleep_until(due.into()).await;
        let (now, wall) = (clock.now(), clock.wall());
        let capture = match pictures {
            // Two lists may say it differently, or one alone.
            Some((at_us, capture)) if item.apart => Capture {
                at: capture.at.offset_micros(decode_us.saturating_sub(at_us)),
                ..capture
            },
            _ => captured(&item, wall),
        };
        if kind == Kind::Video {
            pictures = Some((decode_us, capture));
        }
        let latency_us = wall.micros_since(capture.at);
        if capture.source != CaptureSource::Arrival {
            stats.delays.note(latency_us);
        }
        stats.latency_us.set(latency_us);
        stats.bytes.add(item.sample.data.len() as u64);
        sink.take(item.sample.into_frame(TrackIndex(track as u8), capture), now)?;
    }
}

fn tracks(lines: &Lines) -> Vec<Track> {
    let tracks = lines.firsts().enumerate().map(|(index, sample)| Track {
        index: TrackIndex(index as u8),
        format: Arc::clone(&sample.format),
        timescale: sample.time.scale(),
    });
    tracks.collect()
}

/// When a picture was captured, by the best that says so.
fn captured(item: &Item, arrival: WallTime) -> Capture {
    let (sei, told) = (item.sample.capture, item.date);
    let is_believed = |at: &WallTime| (EARLIEST_US..media::time::micros(OLDEST)).contains(&arrival.micros_since(*at));
    let (at, source) = match (sei, told.filter(is_believed)) {
        (Some(at), _) => (at, CaptureSource::Sei),
        (None, Some(at)) => (at, CaptureSource::SenderReport),
        (None, None) => (arrival, CaptureSource::Arrival),
    };
    Capture { at, source }
}
