//! A stream of an HLS server: its list asked for again and again, its segments published at the rate of their times.
//!
//! Belongs here: fetching ([`Fetcher`]), which variant and which segment to begin with, pacing ([`Pace`]), what goes wrong in our words. Does not belong
//! here: lists as text ([`protocol::hls::playlist`]), segments as bytes ([`media::demux`]).
//!
//! HLS comes in bursts, a segment at a time. A picture is published no sooner than its distance to the first says, so that viewers get a steady
//! stream, and later only where it was not there in time; it stays that late then. The newest segment is the first: the delay is that
//! of the server's segments, not the three of them that players keep; where it has parts (LL-HLS) each is fetched when it is there, from the newest that begins with a
//! keyframe on.

mod fetcher;
mod pace;

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use media::stats::SessionStats;
use media::{Capture, CaptureSource, Clock, Kind, Track, TrackIndex, WallTime};
use tokio::sync::mpsc;
use url::Url;

use super::plan::Plan;
use super::{Ended, Sink, Source, Why};
use crate::shutdown::Shutdown;
use fetcher::{Fetched, Fetcher};
use pace::Pace;

/// Segments that wait to be published: one is, the next is there.
const QUEUE_SEGMENTS: usize = 1;
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
        let (sender, segments) = mpsc::channel(QUEUE_SEGMENTS);
        let publishing = publish(segments, sink, &*self.clock);
        let fetching = self.fetcher.run(sender);
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

/// Publishes segments until none follows.
async fn publish(mut segments: mpsc::Receiver<Fetched>, sink: &mut Sink, clock: &dyn Clock) -> Result<(), Why> {
    let mut begun: Option<(Arc<SessionStats>, Vec<Kind>)> = None;
    let mut pace = Pace::default();
    // What there is at first between a keyframe and the newest is published at once.
    let mut paced = false;
    while let Some(segment) = segments.recv().await {
        let first_us = segment.samples.first().map_or(0, |sample| sample.decode_us);
        if begun.is_none() {
            let tracks = tracks(&segment);
            let kinds = tracks.iter().map(Track::kind).collect();
            begun = Some((sink.begin(tracks, "HLS", segment.remote), kinds));
        }
        let Some((stats, kinds)) = &begun else { continue };
        if segment.discontinuity {
            pace.jump();
        }
        paced |= !segment.old;
        for sample in segment.samples {
            let Some(track) = kinds.iter().position(|kind| *kind == sample.kind()) else {
                continue;
            };
            let due = if segment.old && !paced {
                pace.rush(sample.decode_us, clock.now())
            } else {
                pace.due(sample.decode_us, clock.now())
            };
            tokio::time::sleep_until(due.into()).await;
            let (now, wall) = (clock.now(), clock.wall());
            let told = segment
                .date
                .map(|date| date.offset_micros(sample.decode_us.saturating_sub(first_us)));
            let capture = captured(sample.capture, told, wall);
            let latency_us = wall.micros_since(capture.at);
            if capture.source != CaptureSource::Arrival {
                stats.delays.note(latency_us);
            }
            stats.latency_us.set(latency_us);
            stats.bytes.add(sample.data.len() as u64);
            sink.take(sample.into_frame(TrackIndex(track as u8), capture), now)?;
        }
    }
    Ok(())
}

/// One picture and one sound at most, the picture first.
fn tracks(segment: &Fetched) -> Vec<Track> {
    let mut tracks: Vec<Track> = Vec::new();
    let of = |kind: Kind| segment.samples.iter().find(move |sample| sample.kind() == kind);
    for sample in [of(Kind::Video), of(Kind::Audio)].into_iter().flatten() {
        tracks.push(Track {
            index: TrackIndex(tracks.len() as u8),
            format: Arc::clone(&sample.format),
            timescale: sample.time.scale(),
        });
    }
    tracks
}

/// When a picture was captured, by the best that says so.
fn captured(sei: Option<WallTime>, told: Option<WallTime>, arrival: WallTime) -> Capture {
    let is_believed = |at: &WallTime| (EARLIEST_US..media::time::micros(OLDEST)).contains(&arrival.micros_since(*at));
    let (at, source) = match (sei, told.filter(is_believed)) {
        (Some(at), _) => (at, CaptureSource::Sei),
        (None, Some(at)) => (at, CaptureSource::SenderReport),
        (None, None) => (arrival, CaptureSource::Arrival),
    };
    Capture { at, source }
}
