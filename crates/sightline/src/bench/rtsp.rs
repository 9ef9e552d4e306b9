//! `sightline bench rtsp`: many RTSP viewers of one server.
//!
//! Belongs here: viewers that measure each frame's age on arrival. Does not belong here: how many there are and when they are measured
//! (`super::crowd`), which servers are compared (`bench/`).

use media::CaptureSource;

use super::crowd::{Crowd, Error, JOIN_LIMIT, Kind, Moment, Report, Ticket, View};
use crate::rtsp::client::{self, Player, Url};

/// `progress` is told how many viewers have joined.
///
/// # Errors
/// [`Error`].
pub async fn run(
    url: Url,
    settings: client::Settings,
    crowd: Crowd,
    progress: impl Fn(usize),
) -> Result<Report, Error> {
    let kind = Kind {
        transport: match settings.transport {
            client::Transport::Tcp | client::Transport::Auto => "TCP",
            client::Transport::Udp | client::Transport::AutoUdpFirst => "UDP",
        },
        by_requests: false,
    };
    crowd
        .run(kind, |ticket| view(url.clone(), settings.clone(), ticket), progress)
        .await
}

async fn view(url: Url, settings: client::Settings, mut ticket: Ticket) -> Result<View, String> {
    let clock = settings.clock.clone();
    let begun = clock.now();
    let player = tokio::time::timeout(JOIN_LIMIT, Player::connect(url, settings)).await;
    let player = player
        .map_err(|_| "no picture in time".to_owned())
        .and_then(|player| player.map_err(|error| error.to_string()));
    let mut player = player?;
    let mut view = View::default();
    let mut start = None;
    loop {
        let received = tokio::select! {
            received = player.next() => received.map_err(|error| error.to_string())?,
            moment = ticket.next() => match moment {
                Moment::Start => {
                    start = Some(totals(&player));
                    continue;
                }
                Moment::End => break,
            },
        };
        if view.first_picture_us.is_none() && received.frame.keyframe {
            view.first_picture_us = Some(media::time::micros(clock.now().saturating_duration_since(begun)));
            ticket.joined();
        }
        if start.is_some() {
            view.frames += 1;
            if received.frame.capture.source == CaptureSource::Sei {
                view.latency.add(clock.wall().micros_since(received.frame.capture.at));
            }
        }
    }
    if view.first_picture_us.is_none() {
        return Err("connected, but no keyframe came".to_owned());
    }
    let (end, start) = (totals(&player), start.unwrap_or_default());
    view.units = end.0.saturating_sub(start.0);
    view.bytes = end.1.saturating_sub(start.1);
    view.lost = end.2.saturating_sub(start.2);
    tokio::time::timeout(JOIN_LIMIT, player.close())
        .await
        .map_err(|_| "the server did not let go".to_owned())?;
    Ok(view)
}

/// Packets, bytes, packets lost.
fn totals(player: &Player) -> (u64, u64, u64) {
    player.stats().fold((0, 0, 0), |sum, track| {
        let now = track.received;
        (
            sum.0 + now.packets,
            sum.1 + now.bytes,
            sum.2 + u64::try_from(now.lost).unwrap_or(0),
        )
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;
    use crate::clock::SystemClock;

    /// Answers every request up to PLAY, then closes the connection.
    async fn close_after_play(listener: TcpListener) {
        loop {
            let Ok((mut socket, _)) = listener.accept().await else {
                return;
            };
            tokio::spawn(async move {
                let mut buffer = vec![0; 4_096];
                loop {
                    let Ok(read @ 1..) = socket.read(&mut buffer).await else {
                        return;
                    };
                    let request = String::from_utf8_lossy(&buffer[..read]).into_owned();
                    let cseq = request
                        .lines()
                        .find(|line| line.starts_with("CSeq"))
                        .unwrap_or("CSeq: 1");
                    let sdp = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\nm=video 0 RTP/AVP 96\r\n\
                               a=rtpmap:96 H264/90000\r\na=fmtp:96 packetization-mode=1\r\na=control:trackID=0\r\n";
                    let (head, body) = match request.split(' ').next() {
                        Some("DESCRIBE") => ("Content-Type: application/sdp\r\n", sdp),
                        Some("SETUP") => ("Session: 1\r\nTransport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n", ""),
                        _ => ("Session: 1\r\n", ""),
                    };
                    let length = body.len();
                    let answer = format!("RTSP/1.0 200 OK\r\n{cseq}\r\n{head}Content-Length: {length}\r\n\r\n{body}");
                    if socket.write_all(answer.as_bytes()).await.is_err() || request.starts_with("PLAY") {
                        return;
                    }
                }
            });
        }
    }

    #[tokio::test]
    async fn viewers_that_are_thrown_out_before_their_first_picture_are_not_waited_for() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("rtsp://{}/cam", listener.local_addr().unwrap());
        let server = tokio::spawn(close_after_play(listener));
        let crowd = Crowd {
            viewers: 2,
            duration: Duration::from_millis(10),
            publish: None,
            pid: None,
            clock: Arc::new(SystemClock),
        };
        let settings = client::Settings {
            transport: client::Transport::Tcp,
            login: None,
            trust: client::Trust::default(),
            fingerprint_setting: "receive.fingerprint",
            connect_timeout: JOIN_LIMIT,
            clock: Arc::new(SystemClock),
            random: crate::random::bits,
        };
        let running = run(url.parse().unwrap(), settings, crowd, |_| {});
        let ended = tokio::time::timeout(JOIN_LIMIT, running).await;
        let error = ended.expect("it waits for who is gone").unwrap_err();
        assert!(matches!(error, Error::NoViewer(_)), "{error}");
        server.abort();
    }
}
