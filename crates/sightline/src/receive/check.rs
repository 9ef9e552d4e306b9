//! `--test-connection`: is there a picture, what is it, and how soon.

use std::fmt;
use std::time::Duration;

use device::decode::Decoder;
use media::{Codec, Kind};
use serde::Serialize;

use super::{Error, Options};
use crate::rtsp::client::Player;

/// Longest wait for the first picture: more than the GOP of any camera that can be watched.
const FIRST_PICTURE_LIMIT: Duration = Duration::from_secs(10);
/// How long the frame rate is measured.
const RATE_WINDOW: Duration = Duration::from_secs(1);

/// What a connection was found to be.
#[derive(Clone, Debug, Serialize)]
pub struct Connection {
    /// Codec of the picture.
    pub codec: &'static str,
    /// Pixels per row, where known.
    pub width: Option<u32>,
    /// Rows, where known.
    pub height: Option<u32>,
    /// Measured frames per second.
    pub fps: f64,
    /// From the start to the first picture, in milliseconds.
    pub first_picture_ms: f64,
    /// Whether the picture was decoded, or only received.
    pub decoded: bool,
    /// `TCP` or `UDP`.
    pub transport: &'static str,
    /// Codecs of the other tracks.
    pub other_tracks: Vec<&'static str>,
}

impl fmt::Display for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.codec)?;
        if let (Some(width), Some(height)) = (self.width, self.height) {
            write!(f, " {width}×{height}")?;
        }
        write!(
            f,
            " at {:.1} fps over {}, first picture after {:.0} ms",
            self.fps, self.transport, self.first_picture_ms
        )?;
        if !self.decoded {
            write!(f, " (received, not decoded)")?;
        }
        for track in &self.other_tracks {
            write!(f, "; {track}")?;
        }
        Ok(())
    }
}

/// Connects and looks.
///
/// # Errors
/// [`Error`] when there is no picture.
pub async fn test_connection(options: &Options) -> Result<Connection, Error> {
    let clock = options.client.clock.clone();
    let begun = clock.now();
    let url = options.url.to_string();
    let no_picture = |why: String| Error::NoPicture { url: url.clone(), why };
    let mut player = Player::connect(options.url.clone(), options.client.clone())
        .await
        .map_err(|error| no_picture(error.to_string()))?;
    let mut decoder = Decoder::new();
    let mut first = None;
    let mut frames = 0_u32;
    let mut trouble = "none came within 10 s".to_owned();
    loop {
        let since = |start| clock.now().saturating_duration_since(start);
        let left = match &first {
            None => FIRST_PICTURE_LIMIT.saturating_sub(since(begun)),
            Some((at, _)) => RATE_WINDOW.saturating_sub(since(*at)),
        };
        let received = match tokio::time::timeout(left, player.next()).await {
            Ok(received) => received.map_err(|error| no_picture(error.to_string()))?,
            Err(_) => break,
        };
        let frame = received.frame;
        if frame.format.codec().kind() != Kind::Video {
            continue;
        }
        if first.is_some() {
            frames += 1;
        } else if frame.format.codec() != Codec::H264 {
            first = frame.keyframe.then(|| (clock.now(), (frame.format.clone(), false)));
        } else {
            if let Err(error) = decoder.decode(&frame) {
                trouble = error.to_string();
            }
            first = decoder.next().map(|_| (clock.now(), (frame.format.clone(), true)));
        }
    }
    let Some((at, (format, decoded))) = first else {
        return Err(no_picture(trouble));
    };
    let elapsed = clock.now().saturating_duration_since(at).as_secs_f64();
    let dimensions = format.dimensions();
    let connection = Connection {
        codec: format.codec().name(),
        width: dimensions.map(|(width, _)| width),
        height: dimensions.map(|(_, height)| height),
        fps: f64::from(frames) / elapsed.max(0.001),
        first_picture_ms: at.saturating_duration_since(begun).as_secs_f64() * 1e3,
        decoded,
        transport: if player.is_udp() { "UDP" } else { "TCP" },
        other_tracks: player
            .tracks()
            .map(|track| track.format.codec())
            .filter(|codec| codec.kind() != Kind::Video)
            .map(Codec::name)
            .collect(),
    };
    player.close().await;
    Ok(connection)
}
