//! `--test-connection`: is there a picture, what is it, and how soon.

use std::fmt;
use std::time::Duration;

use device::decode::Decoder;
use media::{Codec, Kind, MediaTime};
use serde::Serialize;

use super::burst::{Burst, Coming};
use super::{Error, Options};
use crate::rtsp::client::Player;

/// Longest wait for the first picture: more than the GOP of any camera that can be watched.
const FIRST_PICTURE_LIMIT: Duration = Duration::from_secs(10);
/// How much of the stream the frame rate is measured by.
const RATE_WINDOW: Duration = Duration::from_secs(1);
/// Longest wait for that much. A server may send the pictures since the last keyframe first, slower than it could.
const RATE_LIMIT: Duration = Duration::from_secs(5);

/// What a connection was found to be.
#[derive(Clone, Debug, Serialize)]
pub struct Connection {
    /// Codec of the picture.
    pub codec: &'static str,
    /// Pixels per row, where known.
    pub width: Option<u32>,
    /// Rows, where known.
    pub height: Option<u32>,
    /// Frames per second, by the times that the stream states.
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
    let (mut burst, mut rate) = (Burst::default(), Rate::default());
    let mut trouble = "none came within 10 s".to_owned();
    loop {
        let since = |start| clock.now().saturating_duration_since(start);
        let left = match &first {
            None => FIRST_PICTURE_LIMIT.saturating_sub(since(begun)),
            Some(_) if rate.is_known() => break,
            Some((at, _)) => RATE_LIMIT.saturating_sub(since(*at)),
        };
        let received = match tokio::time::timeout(left, player.next()).await {
            Ok(received) => received.map_err(|error| no_picture(error.to_string()))?,
            Err(_) => break,
        };
        let frame = received.frame;
        if frame.format.codec().kind() != Kind::Video {
            continue;
        }
        rate.add(frame.time, burst.take(frame.time, received.arrival.at));
        if first.is_some() {
            continue;
        }
        if frame.format.codec() != Codec::H264 {
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
    let dimensions = format.dimensions();
    let connection = Connection {
        codec: format.codec().name(),
        width: dimensions.map(|(width, _)| width),
        height: dimensions.map(|(_, height)| height),
        fps: rate.fps(),
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

/// Frames per second of a stream that may begin with a burst, by the times that the stream states.
#[derive(Default)]
struct Rate {
    /// Frames after the first that counts, its time and the newest: in presentation order, which is not that of their coming.
    frames: u32,
    span: Option<(i64, i64)>,
}

impl Rate {
    /// Of what came early the times are true. Those pressed together count from the last of them on.
    fn add(&mut self, time: MediaTime, coming: Coming) {
        let micros = time.as_micros();
        self.span = match self.span {
            Some((oldest, newest)) if coming != Coming::Pressed => {
                self.frames += 1;
                Some((oldest.min(micros), newest.max(micros)))
            }
            _ => Some((micros, micros)),
        };
    }

    fn micros(&self) -> i64 {
        self.span.map_or(0, |(oldest, newest)| newest - oldest)
    }

    fn is_known(&self) -> bool {
        self.micros() >= media::time::micros(RATE_WINDOW)
    }

    /// 0 before there are two frames.
    fn fps(&self) -> f64 {
        f64::from(self.frames) * 1e6 / self.micros().max(1) as f64
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use media::Timescale;

    use super::*;

    /// Milliseconds after which a frame follows the one before, all coming at once.
    fn rate(steps: impl IntoIterator<Item = i64>) -> Rate {
        let (mut burst, mut rate, mut ticks) = (Burst::default(), Rate::default(), 0);
        let at = Instant::now();
        for step in std::iter::once(0).chain(steps) {
            ticks += step * 90;
            let time = MediaTime::new(ticks, Timescale::VIDEO);
            rate.add(time, burst.take(time, at));
        }
        rate
    }

    fn frames(count: usize, every_ms: i64) -> impl Iterator<Item = i64> {
        std::iter::repeat_n(every_ms, count)
    }

    #[test]
    fn a_burst_does_not_count() {
        let pressed = rate(frames(3_000, 1).chain(frames(26, 40)));
        assert!(pressed.is_known());
        assert!((pressed.fps() - 25.0).abs() < 0.01, "{}", pressed.fps());
        let alone = rate(frames(3_000, 1).chain(frames(1, 40)));
        assert!(!alone.is_known(), "a burst alone is not enough");
    }

    #[test]
    fn true_times_tell_at_once() {
        let true_times = rate(frames(26, 40));
        assert!(true_times.is_known());
        assert!((true_times.fps() - 25.0).abs() < 0.01);
    }

    #[test]
    fn frames_that_are_left_out_lower_the_rate() {
        let uneven = rate(frames(20, 40).chain(frames(5, 80)));
        assert!((uneven.fps() - 25.0 / 1.2).abs() < 0.01, "{}", uneven.fps());
    }

    #[test]
    fn frames_in_decoding_order_have_the_same_rate() {
        let mut reordered = Rate::default();
        for group in 0..10 {
            for at in [0, 3, 1, 2] {
                let coming = if (group, at) == (0, 0) {
                    Coming::Pressed
                } else {
                    Coming::Live
                };
                reordered.add(MediaTime::new((group * 4 + at) * 3_600, Timescale::VIDEO), coming);
            }
        }
        assert!((reordered.fps() - 25.0).abs() < 0.5, "{}", reordered.fps());
    }

    #[test]
    fn nothing_is_known_of_a_still_picture() {
        assert_eq!(rate([]).fps(), 0.0);
        assert!(!rate([]).is_known());
    }
}
