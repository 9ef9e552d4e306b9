//! `sightline bench hls`: many LL-HLS viewers of one server.
//!
//! Belongs here: viewers that reload lists and fetch parts as hls.js does, and measure each part's age when it is there. Does not belong
//! here: how many there are and when they are measured (`super::crowd`), which servers are compared (`bench/`).
//!
//! A viewer has two connections: one asks for the list with the next part in it and waits, the other fetches what is listed. It starts with
//! the newest part that begins with a keyframe. Only the first variant's video is fetched.

use std::sync::Arc;
use std::time::Duration;

use media::{Clock, Codec, sei};
use tokio::sync::mpsc;
use url::Url;

use super::crowd::{Crowd, Error, JOIN_LIMIT, Kind, Moment, Report, Ticket, View};
use super::http::{Client, Target, joined};
use super::playlist::{Media, Piece, Playlist};

/// Parts that are listed and not fetched yet. One that is so far behind has lost the edge.
const MAX_BEHIND: usize = 256;

/// `progress` is told how many viewers have joined.
///
/// # Errors
/// [`Error`].
pub async fn run(target: Target, crowd: Crowd, progress: impl Fn(usize)) -> Result<Report, Error> {
    const KIND: Kind = Kind {
        transport: "LL-HLS",
        by_requests: true,
    };
    let target = Arc::new(target);
    let view = |ticket| view(Arc::clone(&target), Arc::clone(&crowd.clock), ticket);
    crowd.run(KIND, view, progress).await
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

async fn view(target: Arc<Target>, clock: Arc<dyn Clock>, mut ticket: Ticket) -> Result<View, String> {
    let begun = clock.now();
    let join = async {
        let mut lists = Client::connect(&target).await?;
        let (url, media) = first_list(&mut lists, &target.url).await?;
        let mut parts = Client::connect(&target).await?;
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
                            view.latency.add(clock.wall().micros_since(captured));
                        }
                        if view.first_picture_us.is_none() && piece.independent {
                            let waited = clock.now().saturating_duration_since(begun);
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
