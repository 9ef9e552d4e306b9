//! Looks at the program: how each stream is, who is at it, what the machine is.
//!
//! Belongs here: from hub, sources, recordings and the room of statuses to the forms of [`super::facts`]. Does not belong here: when it is looked, figures
//! ([`super::sampler`]).

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;
use std::time::{Duration, Instant};

use media::hub::{Hub, State};
use media::stats::Role;
use media::{Clock, StreamName, WallTime};

use super::board::Key;
use super::facts::{Hardware, Publisher, Source, Stream, Tracks, Value, json};
use crate::http::forms;
use crate::machine::Machine;
use crate::motion::Detector;
use crate::record::export::Exports;
use crate::record::service::Recordings;
use crate::source::lower::lower;
use crate::source::{self, Supervisor};
use crate::status;

/// Rows of sessions that are told of one stream.
const MOST_SESSIONS: usize = 100;
/// How long a stream is told that has ended, and that nothing of the settings gives.
const REMEMBERED: Duration = Duration::from_secs(600);
/// How many of them.
const MOST_REMEMBERED: usize = 100;

/// What is looked at.
pub struct World {
    /// Streams.
    pub hub: Hub,
    /// Where they come from.
    pub streams: Arc<Supervisor>,
    /// How they are recorded.
    pub recordings: Arc<Recordings>,
    /// What of it was made a file of its own.
    pub exports: Arc<Exports>,
    /// What moves in front of them.
    pub motion: Arc<Detector>,
    /// What cameras say of themselves.
    pub status: Arc<status::Server>,
    /// The machine.
    pub machine: Arc<Machine>,
    /// Where the time comes from.
    pub clock: Arc<dyn Clock>,
}

/// What was seen of streams before.
#[derive(Debug, Default)]
pub(super) struct Seen(BTreeMap<StreamName, Before>);

#[derive(Debug)]
struct Before {
    state: &'static str,
    since: Arc<str>,
    at: Instant,
    tracks: Tracks,
}

impl World {
    /// How all streams are: those that are there, that have a source, or were there not long ago.
    pub(super) fn streams(&self, seen: &mut Seen) -> BTreeMap<StreamName, Stream> {
        let (now, wall) = (self.clock.now(), self.clock.wall());
        let mut sources: BTreeMap<StreamName, source::Report> = (self.streams.reports().into_iter())
            .map(|report| (report.stream.clone(), report))
            .collect();
        let mut found = BTreeMap::new();
        for stream in self.hub.list() {
            let state = match stream.state() {
                State::Live => "live",
                State::Held { .. } => "held",
                State::Ended(_) => continue,
            };
            let name = stream.name();
            let publisher = stream.publisher().map(|stats| Publisher {
                session: stats.id.get(),
                protocol: stats.info.protocol,
                agent: stats.info.agent.as_deref().map(str::to_owned),
                since: stats.info.since.to_rfc3339(),
                remote: stats.info.remote.map(|remote| remote.to_string()),
            });
            let tracks = Tracks(stream.tracks());
            let source = sources.remove(name);
            let newest = stream.newest_keyframe();
            let found_here = Stream {
                latency_since: newest.map(|entry| forms::since(entry.frame.capture.source)),
                ..self.stream(name, state, publisher, tracks, source.as_ref())
            };
            found.insert(name.clone(), found_here);
        }
        for (name, report) in sources {
            let tracks = seen.0.get(&name).map_or_else(no_tracks, |before| before.tracks.clone());
            let stream = self.stream(&name, "ended", None, tracks, Some(&report));
            found.insert(name, stream);
        }
        for name in self.streams.awaited() {
            (found.entry(name.clone())).or_insert_with(|| self.stream(name, "ended", None, no_tracks(), None));
        }
        seen.remembered(now, |name, tracks| {
            (found.entry(name.clone())).or_insert_with(|| self.stream(name, "ended", None, tracks.clone(), None));
        });
        seen.note(&mut found, now, wall);
        found
    }

    fn stream(
        &self,
        name: &StreamName,
        state: &'static str,
        publisher: Option<Publisher>,
        tracks: Tracks,
        source: Option<&source::Report>,
    ) -> Stream {
        let low = lower(name).filter(|low| {
            let is_there = self.hub.stream(low, self.clock.now()).is_ok();
            is_there || self.streams.could_have(low)
        });
        Stream {
            name: name.clone(),
            state,
            since: "".into(),
            latency_since: None,
            publisher,
            tracks,
            recording: self.recordings.report(name).as_ref().map(forms::Recording::new),
            source: source.map(|report| Source {
                state: report.state.word(),
                url: report.places.get(report.place).cloned(),
                why: (report.state.why()).map(|why| (why.trouble.to_string(), Arc::clone(&why.detail))),
            }),
            low,
        }
    }

    /// What somebody wants to be told of one stream; `None`: there is nothing to tell.
    pub(super) fn detail(&self, key: &Key) -> Option<Value> {
        match key {
            Key::Sessions(name) => {
                let stream = self.hub.stream(name, self.clock.now()).ok()?;
                let all = stream.sessions();
                let viewers = all.iter().filter(|stats| stats.info.role == Role::Viewer);
                let more = viewers.clone().count().saturating_sub(MOST_SESSIONS);
                let rows: Vec<_> = (viewers.take(MOST_SESSIONS))
                    .map(|stats| forms::Session::new(stats, true))
                    .collect();
                let publisher = all.iter().find(|stats| stats.info.role == Role::Publisher);
                let publisher = publisher.map(|stats| forms::Session::new(stats, true));
                let text = format!(
                    r#"{{"publisher":{},"sessions":{},"more":{more}}}"#,
                    json(&publisher),
                    json(&rows)
                );
                Some(Value::Sessions(name.clone(), text.into()))
            }
            Key::Camera(name) => {
                let (status, heard) = self.status.known_camera(name)?;
                let at = self.clock.wall_at(heard).to_rfc3339();
                let text = protocol::status::said(name, &status, &at);
                Some(Value::Camera(name.clone(), String::from_utf8_lossy(&text).into()))
            }
            Key::Health | Key::System | Key::Stream(_) | Key::Export(_) => None,
        }
    }
}

impl Seen {
    /// Those that were told as ended by the newest look.
    pub(super) fn ended(&self) -> impl Iterator<Item = &StreamName> {
        let ended = self.0.iter().filter(|(_, before)| before.state == "ended");
        ended.map(|(name, _)| name)
    }

    /// Those that have ended and are told for a while.
    fn remembered(&self, now: Instant, mut tell: impl FnMut(&StreamName, &Tracks)) {
        let mut ended: Vec<_> = (self.0.iter())
            .filter(|(_, before)| before.state == "live" || before.state == "held" || !is_over(before, now))
            .collect();
        ended.sort_unstable_by_key(|(_, before)| std::cmp::Reverse(before.at));
        for (name, before) in ended.into_iter().take(MOST_REMEMBERED) {
            tell(name, &before.tracks);
        }
    }

    /// Since when each is as it is.
    fn note(&mut self, found: &mut BTreeMap<StreamName, Stream>, now: Instant, wall: WallTime) {
        self.0.retain(|name, _| found.contains_key(name));
        for (name, stream) in found {
            // Its publisher may be older than the look.
            let publisher = stream.publisher.as_ref().filter(|_| stream.state == "live");
            let new = || Before {
                state: stream.state,
                since: publisher
                    .map_or_else(|| wall.to_rfc3339(), |publisher| publisher.since.clone())
                    .into(),
                at: now,
                tracks: stream.tracks.clone(),
            };
            let before = match self.0.entry(name.clone()) {
                Entry::Vacant(place) => place.insert(new()),
                Entry::Occupied(place) => {
                    let before = place.into_mut();
                    if before.state != stream.state {
                        *before = new();
                    }
                    before
                }
            };
            before.tracks = stream.tracks.clone();
            stream.since = Arc::clone(&before.since);
        }
    }
}

fn is_over(before: &Before, now: Instant) -> bool {
    now.saturating_duration_since(before.at) > REMEMBERED
}

fn no_tracks() -> Tracks {
    Tracks(Arc::from([]))
}

/// What this machine is.
pub(super) fn hardware(memory_bytes: Option<u64>) -> Hardware {
    Hardware {
        model: crate::machine::model(),
        processors: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        memory_total_mb: memory_bytes.map(|bytes| bytes >> 20),
    }
}
