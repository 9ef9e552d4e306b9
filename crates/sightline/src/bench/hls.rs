//! `sightline bench hls`: many LL-HLS viewers of one server.
//!
//! Belongs here: viewers that reload lists and fetch parts as hls.js does, and measure each part's age when it is there. Does not belong
//! here: how many there are and when they are measured (`super::crowd`), which servers are compared (`bench/`).
//!
//! A viewer has two connections: one asks for the list with the next part in it and waits, the other fetches what is listed. It starts with
//! the newest part that begins with a keyframe. Only the first variant's video is fetched.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use media::{Clock, Codec, sei};
use serde::Serialize;
use tokio::sync::mpsc;
use url::Url;

use super::crowd::{self, CostPerUnit, Crowd, JOIN_LIMIT, Moment, NoProcess, Seen, ServerCost, Ticket, View};
use super::figures::Percentiles;
use super::http::{Client, joined};
use super::playlist::{Media, Piece, Playlist};
use super::publish::{self, Publish};
use crate::secret::Secret;

/// What to do.
#[derive(Clone)]
pub struct Plan {
    /// The list of renditions, or of media.
    pub url: Url,
    /// Shown in the header `Authorization`.
    pub token: Option<Secret>,
    /// How many viewers.
    pub viewers: usize,
    /// How long to measure, after all have joined.
    pub duration: Duration,
    /// The stream to publish; `None`: one is there already.
    pub publish: Option<Publish>,
    /// The server's process, if it runs on this machine and its cost is to be measured.
    pub pid: Option<u32>,
    /// Where the time comes from.
    pub clock: Arc<dyn Clock>,
}

/// What was measured.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Viewers that played to the end.
    pub viewers: usize,
    /// Viewers that could not join, or were thrown out.
    pub failed: usize,
    /// What the first of them met.
    pub first_error: Option<String>,
    /// Seconds measured.
    pub seconds: f64,
    /// Requests answered, all viewers together: lists and parts.
    pub requests: u64,
    /// Parts delivered.
    pub parts: u64,
    /// Parts that were listed but gone, or never listed.
    pub lost: u64,
    /// Megabits delivered per second.
    pub megabits_per_second: f64,
    /// Age of the newest picture in a part when all of the part was there, by the time in the picture. `None` when it carries none.
    pub latency: Option<Percentiles>,
    /// From the click to the first part that begins with a keyframe.
    pub first_picture: Option<Percentiles>,
    /// What the server cost.
    pub server: Option<ServerCost>,
}

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The server to be measured does not run.
    #[error(transparent)]
    NoProcess(#[from] NoProcess),
    /// There is no stream.
    #[error(transparent)]
    Publish(#[from] publish::Error),
    /// Every viewer failed.
    #[error("no viewer could play: {0}")]
    NoViewer(String),
}

/// Parts that are listed and not fetched yet. One that is so far behind has lost the edge.
const MAX_BEHIND: usize = 256;

/// Runs the plan. `progress` is told how many viewers have joined.
///
/// # Errors
/// [`Error`].
pub async fn run(plan: Plan, progress: impl Fn(usize)) -> Result<Report, Error> {
    let clock = Arc::clone(&plan.clock);
    let crowd = Crowd {
        viewers: plan.viewers,
        duration: plan.duration,
        pid: plan.pid,
        clock: &*clock,
    };
    crowd.check()?;
    let published = match plan.publish.clone() {
        Some(publish) => Some(publish.start().await?),
        None => None,
    };
    let plan = Arc::new(plan);
    let seen = crowd.run(|ticket| view(Arc::clone(&plan), ticket), progress).await;
    drop(published);
    if seen.viewers == 0 && plan.viewers > 0 {
        return Err(Error::NoViewer(seen.first_error.unwrap_or_default()));
    }
    Ok(Report::from(seen))
}

/// What the connection for lists tells the one for parts.
enum News {
    List {
        bytes: usize,
    },
    Piece(Piece),
    /// Pieces between the last and this one were never listed.
    Gap,
}

async fn view(plan: Arc<Plan>, mut ticket: Ticket) -> Result<View, String> {
    let begun = plan.clock.now();
    let join = async {
        let mut lists = Client::connect(&plan.url, plan.token.as_ref()).await?;
        let (url, media) = first_list(&mut lists, &plan.url).await?;
        let mut parts = Client::connect(&plan.url, plan.token.as_ref()).await?;
        if let Some(map) = &media.map {
            parts.get(&joined(&url, map)?).await?;
        }
        Ok::<_, String>((lists, parts, url, media))
    };
    let join = tokio::time::timeout(JOIN_LIMIT, join).await;
    let (lists, mut parts, url, media) = join.map_err(|_| "no list in time".to_owned())??;
    let (news, mut listed) = mpsc::channel(MAX_BEHIND);
    let reloading = follow(lists, url.clone(), media, news);
    let mut view = View::default();
    let fetching = async {
        let mut measuring = false;
        loop {
            let news = tokio::select! {
                news = listed.recv() => news.ok_or("the list ended")?,
                moment = ticket.next() => match moment {
                    Moment::Start => {
                        measuring = true;
                        continue;
                    }
                    Moment::End => return Ok::<_, String>(()),
                },
            };
            let mut count = |units, frames, bytes, lost| {
                if measuring {
                    view.units += units;
                    view.frames += frames;
                    view.bytes += bytes as u64;
                    view.lost += lost;
                }
            };
            match news {
                News::List { bytes } => count(1, 0, bytes, 0),
                News::Gap => count(0, 0, 0, 1),
                News::Piece(piece) => match parts.get(&joined(&url, &piece.uri)?).await? {
                    None => count(1, 0, 0, 1),
                    Some(body) => {
                        count(1, 1, body.len(), 0);
                        if measuring && let Some(captured) = newest(&body) {
                            view.latency.add(plan.clock.wall().micros_since(captured));
                        }
                        if view.first_picture_us.is_none() && piece.independent {
                            let waited = plan.clock.now().saturating_duration_since(begun);
                            view.first_picture_us = Some(media::time::micros(waited));
                            ticket.joined();
                        }
                    }
                },
            }
        }
    };
    tokio::select! {
        ended = reloading => ended?,
        ended = fetching => ended?,
    }
    if view.first_picture_us.is_none() {
        return Err("lists came, but no part that begins with a keyframe".to_owned());
    }
    Ok(view)
}

/// Time of the newest picture.
fn newest(part: &[u8]) -> Option<media::WallTime> {
    sei::find_last(part, Codec::H264).or_else(|| sei::find_last(part, Codec::H265))
}

/// The media list, and where it is.
async fn first_list(client: &mut Client, url: &Url) -> Result<(Url, Media), String> {
    let mut url = url.clone();
    for _ in 0..2 {
        match list(client, &url).await?.0 {
            Playlist::Media(media) => return Ok((url, media)),
            Playlist::Multivariant(variants) => {
                let first = variants.first().ok_or("the list of renditions has none")?;
                url = joined(&url, first)?;
            }
        }
    }
    Err("a list of renditions leads to another".to_owned())
}

/// Reloads the list for ever, and tells what is new in it: at first the newest keyframe and what follows it.
async fn follow(mut client: Client, url: Url, mut media: Media, news: mpsc::Sender<News>) -> Result<(), String> {
    let start = media.pieces.iter().rposition(|piece| piece.independent).unwrap_or(0);
    let mut next = media.pieces.get(start).map(|piece| piece.at);
    let tell = async |what| news.send(what).await.map_err(|_| "the viewer has left".to_owned());
    loop {
        if let (Some(next), Some(first)) = (next, media.pieces.first())
            && first.at > next
        {
            tell(News::Gap).await?;
        }
        for piece in std::mem::take(&mut media.pieces) {
            if next.is_none_or(|next| piece.at >= next) {
                next = Some((piece.at.0, piece.at.1 + 1));
                tell(News::Piece(piece)).await?;
            }
        }
        if media.ended {
            return Err("the stream ended".to_owned());
        }
        let mut wanted = url.clone();
        if media.blocks {
            let mut query = wanted.query_pairs_mut();
            query.append_pair("_HLS_msn", &media.next_msn.to_string());
            if media.has_parts {
                query.append_pair("_HLS_part", &media.next_part.to_string());
            }
        } else {
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        let (playlist, bytes) = list(&mut client, &wanted).await?;
        tell(News::List { bytes }).await?;
        let Playlist::Media(playlist) = playlist else {
            return Err("a media list turned into a list of renditions".to_owned());
        };
        media = playlist;
    }
}

/// A list and its size.
async fn list(client: &mut Client, url: &Url) -> Result<(Playlist, usize), String> {
    let body = client.get(url).await?;
    let body = body.ok_or_else(|| format!("{} is not there", url.path()))?;
    let text = std::str::from_utf8(&body).map_err(|error| format!("a playlist is no text: {error}"))?;
    Ok((Playlist::parse(text)?, body.len()))
}

impl From<Seen> for Report {
    fn from(seen: Seen) -> Self {
        Self {
            viewers: seen.viewers,
            failed: seen.failed,
            seconds: seen.elapsed.as_secs_f64(),
            requests: seen.units,
            parts: seen.frames,
            lost: seen.lost,
            megabits_per_second: seen.megabits_per_second(),
            latency: seen.latency.percentiles(),
            first_picture: seen.first_picture.percentiles(),
            server: seen.cost(CostPerUnit::Request),
            first_error: seen.first_error,
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let viewers = (self.viewers, self.failed);
        crowd::write_viewers(f, viewers, "LL-HLS", self.first_error.as_deref())?;
        let Self {
            requests,
            parts,
            lost,
            megabits_per_second: rate,
            seconds,
            ..
        } = self;
        writeln!(
            f,
            "delivered      {requests} requests, {parts} parts, {rate:.1} Mb/s in {seconds:.1} s; {lost} parts lost"
        )?;
        crowd::write_latency(f, self.latency.as_ref())?;
        crowd::write_first_picture(f, self.first_picture.as_ref())?;
        self.server.map_or(Ok(()), |server| server.fmt(f))
    }
}
