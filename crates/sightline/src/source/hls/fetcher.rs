//! Lists and segments of one server.

#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::StatusCode;
use http::header::{ACCEPT_ENCODING, HeaderValue, RANGE};
use media::demux::{self, Demuxer, Sample};
use media::{Clock, WallTime};
use protocol::hls::playlist::{self, Map, Media, Playlist, Segment, Variant};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use url::Url;

use super::super::{Trouble, Why};
use crate::fetch::{self, Client, FetchError, Policy, Request};
use crate::trust::Trust;

/// Longest wait for a list or a segment: what takes longer cannot be played live.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// Largest segment: six seconds at 40 Mb/s.
const MAX_SEGMENT_BYTES: usize = 32 << 20;
const MAX_HEADER_BYTES: usize = 1 << 20;
const MAX_REDIRECTS: u8 = 5;
/// Lists that lead to lists, until there are segments.
const MAX_LISTS: usize = 2;
/// Segments in a row that are not there, or are of no use.
const MAX_FAILURES: u32 = 3;
/// Further behind the newest segment than this, the newest is next.
const MAX_BEHIND: u64 = 3;
/// Least time between two looks at a list, unless the server holds its answers until they have something new.
const LEAST_WAIT: Duration = Duration::from_millis(100);
/// A list that names nothing new for three of its target durations, and for so long, has ended without saying so.
const STALL: Duration = Duration::from_secs(10);
/// Longest target duration that counts where the server holds its answers: with the longest that lists may have it would hold one for hours.
const MAX_HELD_TARGET: Duration = Duration::from_secs(20);

/// A segment, taken apart.
#[derive(Debug)]
pub(super) struct Fetched {
    pub(super) samples: Vec<Sample>,
    pub(super) discontinuity: bool,
    /// There is more behind it already.
    pub(super) old: bool,
    /// Of its first picture.
    pub(super) date: Option<WallTime>,
    pub(super) remote: Option<SocketAddr>,
}

/// See the module.
pub(super) struct Fetcher {
    url: Url,
    http: Arc<Client>,
    trust: Trust,
    clock: Arc<dyn Clock>,
    demuxer: Demuxer,
    map: Option<Arc<Map>>,
    remote: Option<SocketAddr>,
    /// In a row.
    failures: u32,
    /// What was skipped is missing before the next.
    skipped: bool,
    /// It is a list of sound alone: decoding may start anywhere.
    is_sound: bool,
    /// A part that is asked for before its list names it.
    ahead: Option<Ahead>,
    /// Hints in a row that led to nothing.
    misled: u32,
}

/// What is to be fetched.
pub(super) struct Found {
    url: Url,
    list: Media,
    /// The list of the sound, where that is apart.
    pub(super) sound: Option<Url>,
}

/// A part on its way.
struct Ahead {
    place: Place,
    url: Url,
    range: Option<playlist::Range>,
    /// How long it may take when the list names it: it is there then.
    patience: Duration,
    task: JoinHandle<Result<Answer, Why>>,
}

impl Drop for Ahead {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What a server answered, and from where.
struct Answer {
    bytes: Bytes,
    remote: SocketAddr,
}

impl Fetcher {
    pub(super) fn new(url: Url, trust: Trust, clock: Arc<dyn Clock>) -> Self {
        let http = Arc::new(Client::new(Policy {
            trust: trust.clone(),
            may_connect: fetch::anywhere,
            redirects: MAX_REDIRECTS,
            timeout: ANSWER_WITHIN,
        }));
        Self {
            url,
            http,
            trust,
            clock,
            demuxer: Demuxer::new(),
            map: None,
            remote: None,
            failures: 0,
            skipped: false,
            is_sound: false,
            ahead: None,
            misled: 0,
        }
    }

    /// Of a list of sound that goes with this one.
    pub(super) fn of_sound(&self, url: &Url) -> Self {
        Self {
            is_sound: true,
            ..Self::new(url.clone(), self.trust.clone(), Arc::clone(&self.clock))
        }
    }

    /// Fetches until it cannot go on, and says why.
    pub(super) async fn run(&mut self, found: Found, out: mpsc::Sender<Fetched>) -> Why {
        self.fetch(found, &out, &mut false).await.unwrap_or_else(|why| why)
    }

    /// As [`Fetcher::find`] and [`Fetcher::run`]. Sound that is not to be had from the beginning, or that is left out, ends nothing: pictures go on without.
    pub(super) async fn listen(&mut self, out: mpsc::Sender<Fetched>) -> Why {
        let mut sent = false;
        let fetched = match self.find().await {
            Ok(found) => self.fetch(found, &out, &mut sent).await,
            Err(why) => Err(why),
        };
        let why = fetched.unwrap_or_else(|why| why);
        if sent {
            // Whether it is left out shows when what was sent is taken.
            drop(out.reserve().await);
        }
        match (out.is_closed(), sent) {
            (false, true) => return why,
            (false, false) => {
                tracing::info!(list = %shown(&self.url), reason = %why.detail, "source: its sound is not to be had");
            }
            // Who left it out has told so.
            (true, _) => {}
        }
        drop(out);
        std::future::pending().await
    }

    async fn fetch(&mut self, found: Found, out: &mpsc::Sender<Fetched>, sent: &mut bool) -> Result<Why, Why> {
        let Found { url, mut list, .. } = found;
        let may_start = |part: &playlist::Part| part.independent || self.is_sound;
        let by_parts = list.can_block && list.parts.iter().any(may_start);
        let mut next: Option<Place> = None;
        let mut grown = self.clock.now();
        loop {
            let asked = self.clock.now();
            let pieces = pieces(&list, by_parts);
            let mut has_grown = false;
            if let [first, ..] = pieces[..]
                && let [.., last] = pieces[..]
            {
                let from = begin(&pieces, next).unwrap_or_else(|| {
                    self.skipped |= next.is_some();
                    let newest = pieces.iter().rev().find(|piece| piece.starts || self.is_sound);
                    newest.unwrap_or(&first).place
                });
                for piece in pieces.iter().filter(|piece| piece.place >= from) {
                    grown = self.clock.now();
                    if let Some(fetched) = self.segment(&url, piece, piece.place < last.place).await? {
                        // Who takes them has ended, and says why.
                        let taken = out.send(fetched).await;
                        taken.map_err(|_| Why::new(Trouble::Ended, "nobody takes its pictures any more"))?;
                        *sent = true;
                    }
                }
                let follows = if last.place >= from {
                    behind(&list, last.place)
                } else {
                    from
                };
                // One that begins anew each time has not.
                has_grown = next.is_none_or(|next| next < follows);
                next = Some(follows);
            }
            if list.ended {
                return Ok(Why::new(Trouble::Ended, "the server says that the stream has ended"));
            }
            let silent = self.clock.now().saturating_duration_since(grown);
            if silent > longest_stall(&list) {
                let detail = format!(
                    "its list names nothing new for {} s; see whether its publisher still sends",
                    silent.as_secs()
                );
                return Err(Why::new(Trouble::Ended, detail));
            }
            if by_parts {
                self.ask_ahead(&url, &list, next);
            }
            list = self.again(&url, &list, next, has_grown, asked).await?;
        }
    }

    /// The list of segments: that of the URL, or of the best of its variants.
    pub(super) async fn find(&mut self) -> Result<Found, Why> {
        let mut url = self.url.clone();
        let mut sound = None;
        for _ in 0..MAX_LISTS {
            let (at, list) = self.list(url, None).await?;
            match list {
                Playlist::Media(list) => return Ok(Found { url: at, list, sound }),
                Playlist::Variants(variants) => {
                    let variant = best(&variants)?;
                    sound = variant.sound.as_ref().map(|uri| self.joined(&at, uri)).transpose()?;
                    url = self.joined(&at, &variant.uri)?;
                }
            }
        }
        Err(Why::new(
            Trouble::Unusable,
            "its lists of variants lead to lists of variants",
        ))
    }

    /// Asks for the part that the list hints at, which the server then gives in the moment that it has it (draft-pantos-hls-rfc8216bis §6.2.6), without
    /// another round trip behind that of the list.
    fn ask_ahead(&mut self, list: &Url, media: &Media, next: Option<Place>) {
        let Some(hint) = &media.hint else { return };
        let place = Place {
            sequence: hint.piece.sequence,
            part: Some(hint.index),
        };
        let is_next = next == Some(place) && self.ahead.as_ref().is_none_or(|ahead| ahead.place != place);
        if !is_next || self.misled >= MAX_FAILURES || hint.piece.encrypted.is_some() {
            return;
        }
        let Ok(url) = self.joined(list, &hint.piece.uri) else {
            return;
        };
        let range = hint.piece.range;
        let (http, asked) = (Arc::clone(&self.http), url.clone());
        let patience = longest_answer(media);
        let task = tokio::spawn(async move { body(&http, asked, range, MAX_SEGMENT_BYTES, Some(patience)).await });
        self.ahead = Some(Ahead {
            place,
            url,
            range,
            patience: media.target.min(ANSWER_WITHIN),
            task,
        });
    }

    /// The list, when something new may be in it.
    async fn again(
        &mut self,
        url: &Url,
        list: &Media,
        next: Option<Place>,
        has_grown: bool,
        asked: Instant,
    ) -> Result<Media, Why> {
        let mut url = url.clone();
        let mut wait = LEAST_WAIT;
        let mut timeout = None;
        if let (true, Some(next)) = (list.can_block, next) {
            // The server answers when it is there (draft-pantos-hls-rfc8216bis §6.2.5.2).
            url.query_pairs_mut()
                .append_pair("_HLS_msn", &next.sequence.to_string());
            if let Some(part) = next.part {
                // One past the end of its segment is the first of the next.
                url.query_pairs_mut().append_pair("_HLS_part", &part.to_string());
                // A server that answers the same at once does not wait, whatever its list says.
                if has_grown {
                    wait = Duration::ZERO;
                }
            }
            timeout = Some(longest_answer(list));
        } else {
            // §6.3.4: not before a target duration has passed since the last time, or half of one when nothing was new.
            wait = if has_grown { list.target } else { list.target / 2 }.max(LEAST_WAIT);
        }
        tokio::time::sleep_until((asked + wait).into()).await;
        match self.list(url, timeout).await? {
            (_, Playlist::Media(media)) => Ok(media),
            (_, Playlist::Variants(_)) => Err(Why::new(
                Trouble::Unusable,
                "its list of segments became one of variants",
            )),
        }
    }

    async fn list(&mut self, url: Url, timeout: Option<Duration>) -> Result<(Url, Playlist), Why> {
        let asked = url.clone();
        let mut request = Request::get(url);
        request
            .headers
            .insert(ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
        request.timeout = timeout;
        let response = self.http.send(request).await.map_err(|error| why(&error))?;
        self.remote = Some(response.remote);
        let (status, url) = (response.status, response.url.clone());
        if status != StatusCode::OK {
            return Err(refusal(status, &url, &asked));
        }
        let text = response.bytes(playlist::MAX_BYTES).await.map_err(|error| why(&error))?;
        let list = Playlist::parse(&text);
        let unusable = |error: &dyn std::fmt::Display| {
            Why::new(
                Trouble::Unusable,
                format!("the list at {} is none: {error}", shown(&url)),
            )
        };
        Ok((url.clone(), list.map_err(|error| unusable(&error))?))
    }

    /// `None`: there is nothing to be had of it.
    async fn segment(&mut self, list: &Url, piece: &Piece<'_>, old: bool) -> Result<Option<Fetched>, Why> {
        let segment = piece.segment;
        if let Some(method) = &segment.encrypted {
            let detail = format!(
                "its segments are encrypted ({method}), which is not taken; let the server give them in the clear"
            );
            return Err(Why::new(Trouble::Unusable, detail));
        }
        if segment.gap {
            self.skipped = true;
            return Ok(None);
        }
        if segment.discontinuity || self.skipped {
            self.demuxer.discontinuity();
        }
        match self.samples(list, piece).await {
            Ok(samples) => {
                self.failures = 0;
                let skipped = std::mem::take(&mut self.skipped);
                Ok(Some(Fetched {
                    samples,
                    discontinuity: segment.discontinuity || skipped,
                    old,
                    date: segment.date,
                    remote: self.remote,
                }))
            }
            Err(why) => {
                // One may be gone already, or never have come.
                (self.failures, self.skipped) = (self.failures + 1, true);
                if self.failures >= MAX_FAILURES || why.trouble == Trouble::Unusable {
                    return Err(why);
                }
                tracing::debug!(reason = %why.detail, "source: a segment is skipped");
                Ok(None)
            }
        }
    }

    async fn samples(&mut self, list: &Url, piece: &Piece<'_>) -> Result<Vec<Sample>, Why> {
        let segment = piece.segment;
        if let Some(map) = segment.map.clone().filter(|map| self.map.as_ref() != Some(map)) {
            let url = self.joined(list, &map.uri)?;
            let header = self.bytes(url, map.range, MAX_HEADER_BYTES).await?;
            self.demuxer.header(&header).map_err(|error| damaged(&error))?;
            self.map = Some(map);
        }
        let url = self.joined(list, &segment.uri)?;
        let bytes = match self.came(piece.place, &url, segment.range).await {
            Some(bytes) => bytes,
            None => self.bytes(url, segment.range, MAX_SEGMENT_BYTES).await?,
        };
        self.demuxer.piece(&bytes).map_err(|error| damaged(&error))
    }

    async fn bytes(&mut self, url: Url, range: Option<playlist::Range>, limit: usize) -> Result<Bytes, Why> {
        let answer = body(&self.http, url, range, limit, None).await?;
        self.remote = Some(answer.remote);
        Ok(answer.bytes)
    }

    /// What was asked for ahead, where it is this.
    async fn came(&mut self, place: Place, url: &Url, range: Option<playlist::Range>) -> Option<Bytes> {
        let mut ahead = self.ahead.take_if(|ahead| ahead.place <= place)?;
        let is_it = ahead.place == place && ahead.url == *url && ahead.range == range;
        let answer = match is_it {
            true => tokio::time::timeout(ahead.patience, &mut ahead.task).await.ok(),
            false => None,
        };
        // Late, failed, refused: each of them led to nothing.
        let answer = answer.and_then(Result::ok).and_then(Result::ok);
        self.misled = if answer.is_some() { 0 } else { self.misled + 1 };
        answer.map(|answer| answer.bytes)
    }

    /// What a URI means in a list. Who is asked by name and password is shown them again, nobody else.
    fn joined(&self, list: &Url, uri: &str) -> Result<Url, Why> {
        let unusable = |what: &str| Why::new(Trouble::Unusable, format!("the list at {} names {what}", shown(list)));
        let mut url = list.join(uri).map_err(|_| unusable("something that is no URL"))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(unusable("something that is not to be had by HTTP"));
        }
        if url.origin() == self.url.origin() && url.username().is_empty() {
            let _ = url.set_username(self.url.username());
            let _ = url.set_password(self.url.password());
        }
        Ok(url)
    }
}

/// How long a list may name nothing new.
fn longest_stall(list: &Media) -> Duration {
    let target = match list.can_block {
        true => list.target.min(MAX_HELD_TARGET),
        false => list.target,
    };
    STALL.max(target * 3)
}

/// How long an answer may be held until there is something new: three target durations (draft-pantos-hls-rfc8216bis §6.2.5.2), and its way.
fn longest_answer(list: &Media) -> Duration {
    ANSWER_WITHIN + list.target.min(MAX_HELD_TARGET) * 3
}

/// A resource, or a part of one. `patience`: in place of the usual, for the head of the answer.
async fn body(
    http: &Client,
    url: Url,
    range: Option<playlist::Range>,
    limit: usize,
    patience: Option<Duration>,
) -> Result<Answer, Why> {
    let asked = url.clone();
    let mut request = Request::get(url);
    request.timeout = patience;
    if let Some(range) = range {
        let last = range.offset.saturating_add(range.length).saturating_sub(1);
        let value = HeaderValue::from_str(&format!("bytes={}-{last}", range.offset));
        request.headers.extend(value.ok().map(|value| (RANGE, value)));
    }
    let response = http.send(request).await.map_err(|error| why(&error))?;
    let (remote, status) = (response.remote, response.status);
    if !matches!(status, StatusCode::OK | StatusCode::PARTIAL_CONTENT) {
        return Err(refusal(status, &response.url, &asked));
    }
    let bytes = response.bytes(limit).await.map_err(|error| why(&error))?;
    let bytes = match range {
        // Servers of files that do not know ranges send all.
        Some(range) if status == StatusCode::OK => {
            let from = usize::try_from(range.offset).unwrap_or(usize::MAX).min(bytes.len());
            let length = usize::try_from(range.length).unwrap_or(usize::MAX);
            bytes.slice(from..from.saturating_add(length).min(bytes.len()))
        }
        _ => bytes,
    };
    Ok(Answer { bytes, remote })
}

/// Where something is in a list: in which segment, and which part of it, where it is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    sequence: u64,
    part: Option<u64>,
}

/// What follows in a list: the next part, or the first of the next segment where this one is complete; else the next segment.
fn behind(list: &Media, place: Place) -> Place {
    let is_complete = list.segments.last().is_some_and(|last| last.sequence >= place.sequence);
    match place.part {
        Some(part) if !is_complete => Place {
            part: Some(part.saturating_add(1)),
            ..place
        },
        part => Place {
            sequence: place.sequence.saturating_add(1),
            part: part.map(|_| 0),
        },
    }
}

/// What is fetched at once.
#[derive(Clone, Copy)]
struct Piece<'a> {
    place: Place,
    segment: &'a Segment,
    /// It begins with a keyframe, as far as the list says.
    starts: bool,
}

/// What a list names, by parts or by whole segments.
fn pieces(list: &Media, by_parts: bool) -> Vec<Piece<'_>> {
    let of_part = |part: &'_ playlist::Part| Place {
        sequence: part.piece.sequence,
        part: Some(part.index),
    };
    if by_parts {
        let parts = list.parts.iter().map(|part| Piece {
            place: of_part(part),
            segment: &part.piece,
            starts: part.independent,
        });
        return parts.collect();
    }
    let segments = list.segments.iter().map(|segment| Piece {
        place: Place {
            sequence: segment.sequence,
            part: None,
        },
        segment,
        starts: true,
    });
    segments.collect()
}

/// From where to go on. `None`: from the newest, at first, when it is too far behind, and when the server began anew.
fn begin(pieces: &[Piece<'_>], next: Option<Place>) -> Option<Place> {
    let (first, last) = (pieces.first()?.place, pieces.last()?.place);
    let is_behind = |next: &Place| *next < first || last.sequence.saturating_sub(next.sequence) > MAX_BEHIND;
    let is_new = |next: &Place| last.sequence.saturating_add(1) < next.sequence;
    next.filter(|next| !is_behind(next) && !is_new(next))
}

/// What the codecs of variants begin with that are taken.
const CODECS: [&str; 7] = ["avc1", "avc3", "hvc1", "hev1", "mp4a.40", "opus", "Opus"];

/// Of what we can take, the most.
fn best(variants: &[Variant]) -> Result<&Variant, Why> {
    // What is not said is tried.
    let is_taken = |variant: &&Variant| {
        let mut codecs = variant
            .codecs
            .split(',')
            .map(str::trim)
            .filter(|codec| !codec.is_empty());
        codecs.all(|codec| CODECS.iter().any(|word| codec.starts_with(word)))
    };
    let best = variants
        .iter()
        .filter(is_taken)
        .max_by_key(|variant| variant.bits_per_second);
    best.ok_or_else(|| {
        let codecs: Vec<&str> = variants.iter().take(5).map(|variant| variant.codecs.as_str()).collect();
        Why::new(
            Trouble::Unusable,
            format!("none of its variants is in H.264 or H.265: {}", codecs.join("; ")),
        )
    })
}

/// A URL without credentials, also such as stand in its query.
fn shown(url: &Url) -> String {
    crate::secret::redacted_url(&url[..url::Position::AfterPath])
}

fn damaged(error: &demux::Error) -> Why {
    let trouble = match error {
        demux::Error::Encrypted | demux::Error::NoTracks(_) | demux::Error::Unknown => Trouble::Unusable,
        _ => Trouble::Ended,
    };
    Why::new(trouble, format!("a segment cannot be used: {error}"))
}

fn why(error: &FetchError) -> Why {
    let trouble = match error {
        FetchError::Resolve { .. } | FetchError::Connect { .. } | FetchError::Slow { .. } => Trouble::Unreachable,
        FetchError::Certificate { fingerprint, .. } => {
            let detail = format!("{error}; if it is its own, set source_fingerprint = \"{fingerprint}\"");
            return Why::new(Trouble::Certificate, detail).of_fetch(error);
        }
        FetchError::Http { .. } => Trouble::Ended,
        _ => Trouble::Unusable,
    };
    Why::new(trouble, error.to_string()).of_fetch(error)
}

fn refusal(status: StatusCode, url: &Url, asked: &Url) -> Why {
    let has_login = !asked.username().is_empty() || asked.password().is_some();
    let trouble = match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN if has_login => Trouble::Login,
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Trouble::LoginNeeded,
        StatusCode::NOT_FOUND | StatusCode::GONE => Trouble::NotThere,
        status if status.is_server_error() => Trouble::Unreachable,
        _ => Trouble::Unusable,
    };
    Why::new(trouble, format!("the server answers {status} for {}", shown(url)))
}
