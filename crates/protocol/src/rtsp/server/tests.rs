use std::time::{Duration, Instant};

use proptest::prelude::*;
use rstest::rstest;

use super::*;
use crate::rtsp::auth::{Challenge, Credentials};
use crate::rtsp::message::Status;

mod hostile;
mod login;
mod rules;

/// The time tests begin at. What it is does not matter.
#[allow(clippy::disallowed_methods)]
fn base() -> Instant {
    Instant::now()
}

/// Answers `Authorize`.
type Guard = fn(&Event) -> Result<(), Denied>;
/// A `$` frame as the driver saw it.
type Data = (usize, ChannelKind, Vec<u8>);

/// A driver that says yes to everything unless told otherwise, and the peer's end of the connection.
struct Pair {
    session: Session,
    now: Instant,
    log: Vec<String>,
    data: Vec<Data>,
    /// Answers to `Authorize`: `None` means yes.
    guard: Option<Guard>,
    controls: Vec<String>,
    /// Events of these kinds are left for the test to answer.
    hold: Vec<&'static str>,
    session_id: String,
}

impl Pair {
    fn new() -> Self {
        Self::with(Config::default())
    }

    fn with(config: Config) -> Self {
        let now = base();
        Self {
            session: Session::new(config, 7, now),
            now,
            log: Vec::new(),
            data: Vec::new(),
            guard: None,
            controls: vec!["trackID=0".into(), "trackID=1".into()],
            hold: Vec::new(),
            session_id: String::new(),
        }
    }

    /// Sends text with LF line ends and returns what comes back, as text with LF line ends.
    fn send(&mut self, text: &str) -> String {
        self.send_raw(text.replace('\n', "\r\n").as_bytes())
    }

    fn send_raw(&mut self, bytes: &[u8]) -> String {
        self.session.receive(bytes, self.now);
        self.drive()
    }

    fn drive(&mut self) -> String {
        while let Some(event) = self.session.poll() {
            self.answer(event);
        }
        let output = self.session.take_output();
        let output = String::from_utf8(output.to_vec()).unwrap().replace("\r\n", "\n");
        for line in output.lines() {
            if let Some(session) = line.strip_prefix("Session: ") {
                session.split(';').next().unwrap().clone_into(&mut self.session_id);
            }
        }
        output
    }

    fn answer(&mut self, event: Event) {
        let now = self.now;
        let shown = match &event {
            Event::Data { track, kind, bytes } => {
                self.data.push((*track, *kind, bytes.to_vec()));
                return;
            }
            Event::Announce { stream, sdp, .. } => format!("Announce {stream:?}, {} bytes", sdp.len()),
            Event::Close { reason } => format!("Close: {reason}"),
            event => format!("{event:?}"),
        };
        let held = self.hold.iter().any(|kind| shown.starts_with(kind));
        self.log.push(shown);
        if held {
            return;
        }
        let session = &mut self.session;
        match event {
            Event::Authorize { .. } => session.authorized(self.guard.map_or(Ok(()), |guard| guard(&event)), now),
            Event::Describe { .. } => session.describe(
                Ok(Description {
                    sdp: "v=0\r\n".into(),
                    controls: self.controls.clone(),
                }),
                now,
            ),
            Event::Announce { sdp, .. } => {
                let sdp = String::from_utf8_lossy(&sdp).into_owned();
                let media = sdp.split("\nm=").skip(1);
                let controls = media.map(|section| {
                    let line = section.lines().find_map(|line| line.strip_prefix("a=control:"));
                    line.unwrap_or_default().to_owned()
                });
                let controls = controls.collect();
                session.announce(Ok(Announced { controls }), now);
            }
            Event::SetUp { track, transport, .. } => session.set_up(
                Ok(ServerPorts {
                    rtp_rtcp: (!transport.is_interleaved()).then_some((8000, 8001)),
                    source: None,
                    ssrc: Some(0x0011_2200 + track as u32),
                }),
                now,
            ),
            Event::Play { tracks } => {
                let info = |track: usize| RtpInfo {
                    track,
                    sequence: 100 + track as u16,
                    rtp_time: 90_000,
                };
                let infos: Vec<RtpInfo> = tracks.into_iter().map(info).collect();
                session.play(Ok(&infos), now);
            }
            Event::Record { .. } => session.record(Ok(()), now),
            Event::Pause | Event::TearDown | Event::Close { .. } | Event::Data { .. } => {}
        }
    }

    fn wait(&mut self, duration: Duration) -> String {
        self.now += duration;
        self.session.handle_timeout(self.now);
        self.drive()
    }

    /// Sets up both tracks over the connection and plays.
    fn play(&mut self) {
        let setup = |track: u8, cseq: u8| {
            format!(
                "SETUP rtsp://h/s/trackID={track} RTSP/1.0\nCSeq: {cseq}\nTransport: RTP/AVP/TCP;interleaved={}-{}\n\n",
                track * 2,
                track * 2 + 1
            )
        };
        for request in [
            setup(0, 1),
            setup(1, 2),
            "PLAY rtsp://h/s/ RTSP/1.0\nCSeq: 3\n\n".into(),
        ] {
            assert_eq!(status(&self.send(&request)), 200);
        }
    }

    fn is_closed(&self) -> bool {
        self.log.last().is_some_and(|line| line.starts_with("Close"))
    }
}

fn status(response: &str) -> u16 {
    let mut words = response.split(' ');
    assert_eq!(words.next(), Some("RTSP/1.0"), "{response}");
    words.next().unwrap().parse().unwrap()
}

fn header<'a>(response: &'a str, name: &str) -> Option<&'a str> {
    response
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

/// Plays a transcript's requests and writes down everything that happened. The transcripts are written after what these
/// programs send, not recorded.
fn dialogue(transcript: &str, mut deliver: impl FnMut(&mut Pair, &[u8]) -> String) -> String {
    let mut pair = Pair::new();
    let mut written = String::new();
    for request in transcript.split("%%\n") {
        let mut request = request.replace("{session}", &pair.session_id);
        if let Some((head, body)) = request.split_once("\n\n")
            && !body.is_empty()
        {
            let body = body.replace('\n', "\r\n");
            request = format!(
                "{head}\nContent-Length: {}\n\n{}",
                body.len(),
                body.replace("\r\n", "\n")
            );
        }
        let response = deliver(&mut pair, request.replace('\n', "\r\n").as_bytes());
        let first = request.lines().next().unwrap_or_default();
        written += &format!("> {first}\n");
        pair.log
            .drain(..)
            .for_each(|event| written += &format!("  * {event}\n"));
        response.lines().for_each(|line| written += &format!("  {line}\n"));
    }
    written
}

#[rstest]
fn transcripts(#[files("src/rtsp/testdata/server/*.txt")] path: std::path::PathBuf) {
    let transcript = std::fs::read_to_string(&path).unwrap();
    let whole = dialogue(&transcript, Pair::send_raw);
    let bytewise = dialogue(&transcript, |pair, bytes| {
        bytes.iter().map(|&byte| pair.send_raw(&[byte])).collect()
    });
    assert_eq!(whole, bytewise);
    insta::assert_snapshot!(path.file_stem().unwrap().to_str().unwrap(), whole);
}

#[test]
fn a_pipelined_transcript_is_answered_like_a_patient_one() {
    // The session's id is not known to a client that does not wait, so it leaves it out.
    let requests = "DESCRIBE rtsp://h/s RTSP/1.0\nCSeq: 1\n\n\
        SETUP rtsp://h/s/trackID=0 RTSP/1.0\nCSeq: 2\nTransport: RTP/AVP/TCP;interleaved=0-1\n\n\
        PLAY rtsp://h/s RTSP/1.0\nCSeq: 3\n\n";
    let mut patient = Pair::new();
    let expected: String = requests
        .split_inclusive("\n\n")
        .map(|request| patient.send(request))
        .collect();
    assert_eq!(expected.matches("200 OK").count(), 3, "{expected}");
    assert_eq!(Pair::new().send(requests), expected);
}
