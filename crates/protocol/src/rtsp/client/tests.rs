use std::time::{Duration, Instant};

use rstest::rstest;

use super::*;
use crate::rtsp::url::Url;
use crate::rtsp::wire::{Decoder, Item, Limits};

mod failures;

/// The time tests begin at. What it is does not matter.
#[allow(clippy::disallowed_methods)]
fn base() -> Instant {
    Instant::now()
}

const PASSWORDS: [&str; 4] = ["p@ss", "p%40ss", "secret", "12345"];

/// A driver, with the test in the server's place.
struct Peer {
    session: Session,
    now: Instant,
    log: Vec<String>,
    decoder: Decoder,
    cseq: String,
    next_port: u16,
    can_bind: bool,
}

impl Peer {
    fn new(url: &str) -> Self {
        Self::with(url, Mode::Play, Config::default())
    }

    fn with(url: &str, mode: Mode, config: Config) -> Self {
        let now = base();
        let mut session = Session::new(config, url.parse::<Url>().unwrap(), mode, 3);
        session.connected(now);
        Self {
            session,
            now,
            log: Vec::new(),
            decoder: Decoder::new(Limits::default()),
            cseq: String::new(),
            next_port: 50_000,
            can_bind: true,
        }
    }

    /// Handles events; returns what was written, with LF line ends.
    fn drive(&mut self) -> String {
        while let Some(event) = self.session.poll() {
            let now = self.now;
            match &event {
                Event::Described { sdp } => {
                    let sdp = String::from_utf8_lossy(sdp).into_owned();
                    let choices = sdp.split("\nm=").skip(1).enumerate().map(|(track, section)| Choice {
                        track,
                        control: section
                            .lines()
                            .find_map(|line| line.strip_prefix("a=control:"))
                            .map(str::to_owned),
                    });
                    self.log.push(format!("Described {} bytes", sdp.len()));
                    self.session.choose(&choices.collect::<Vec<_>>(), now);
                    continue;
                }
                Event::Bind { .. } => {
                    let ports = self.can_bind.then_some((self.next_port, self.next_port + 1));
                    self.next_port += 2;
                    self.session.bound(ports, now);
                }
                Event::Reconnect => {
                    self.log.push(format!("Reconnect to {}", self.session.url()));
                    self.session.connected(now);
                    continue;
                }
                Event::Failed(error) => {
                    let text = error.to_string();
                    assert!(PASSWORDS.iter().all(|password| !text.contains(password)), "{text}");
                    self.log.push(format!("Failed: {text}"));
                    continue;
                }
                _ => {}
            }
            self.log.push(format!("{event:?}"));
        }
        let output = self.session.take_output();
        self.decoder.push(&output);
        while let Some(item) = self.decoder.next_item().unwrap() {
            if let Item::Request(request) = item {
                request.headers.get("CSeq").unwrap().clone_into(&mut self.cseq);
            }
        }
        String::from_utf8(output.to_vec()).unwrap().replace("\r\n", "\n")
    }

    /// Answers the last request with a text with LF line ends; `{cseq}` is its number, a body gets its length.
    fn answer(&mut self, text: &str, deliver: impl Fn(&mut Self, &[u8])) -> String {
        let mut text = text.replace("{cseq}", &self.cseq);
        let parts: Vec<&str> = text.splitn(2, "\n\n").collect();
        if let [head, body] = parts[..]
            && !body.is_empty()
            && !body.starts_with("RTSP/")
        {
            text = format!(
                "{head}\nContent-Length: {}\n\n{body}",
                body.len() + body.matches('\n').count()
            );
        }
        if let Some((_, second)) = text.split_once("\n\nRTSP/")
            && let Some((head, body)) = second.split_once("\n\n")
            && !body.is_empty()
        {
            let length = body.len() + body.matches('\n').count();
            let with_length = format!("{head}\nContent-Length: {length}\n\n{body}");
            text = text.replace(second, &with_length);
        }
        deliver(self, text.replace('\n', "\r\n").as_bytes());
        self.drive()
    }

    fn reply(&mut self, text: &str) -> String {
        self.answer(text, |peer, bytes| peer.session.receive(bytes, peer.now))
    }

    fn wait(&mut self, duration: Duration) -> String {
        self.now += duration;
        self.session.handle_timeout(self.now);
        self.drive()
    }

    /// Up to the point where media flows over the connection.
    fn play(url: &str) -> Self {
        let mut peer = Self::new(url);
        peer.drive();
        peer.reply("RTSP/1.0 200 OK\nCSeq: {cseq}\nPublic: OPTIONS, GET_PARAMETER\n\n");
        peer.reply("RTSP/1.0 200 OK\nCSeq: {cseq}\n\nv=0\nm=video\n");
        peer.reply("RTSP/1.0 200 OK\nCSeq: {cseq}\nSession: 1\nTransport: RTP/AVP/TCP;interleaved=0-1\n\n");
        peer.reply("RTSP/1.0 200 OK\nCSeq: {cseq}\n\n");
        assert_eq!(peer.log.last().unwrap(), "Playing { rtp_info: [] }");
        peer
    }

    fn failure(&self) -> &str {
        self.log
            .last()
            .unwrap()
            .strip_prefix("Failed: ")
            .unwrap_or_else(|| panic!("{:?}", self.log))
    }
}

fn publish() -> Mode {
    Mode::Publish {
        sdp: "v=0\r\nm=video 0 RTP/AVP 96\r\nm=audio 0 RTP/AVP 97\r\n".to_owned(),
        controls: vec!["trackID=0".to_owned(), "trackID=1".to_owned()],
        via: None,
    }
}

/// What a client says and does when a server says this. The transcripts are written after what these devices say, not
/// recorded.
fn dialogue(transcript: &str, deliver: impl Fn(&mut Peer, &[u8]) + Copy) -> String {
    let settings: Vec<&str> = transcript.lines().map_while(|line| line.strip_prefix("# ")).collect();
    let mode = if settings.contains(&"publish") {
        publish()
    } else {
        Mode::Play
    };
    let mut peer = Peer::with(settings[0], mode, Config::default());
    let start = transcript.lines().take(settings.len()).map(|line| line.len() + 1).sum();
    let mut written = peer.drive();
    for answer in transcript[start..].split("%%\n") {
        let first = answer.lines().next().unwrap();
        written += &format!("< {first}\n");
        let output = match first.split_once(' ').unwrap_or((first, "")) {
            ("!wait", seconds) => peer.wait(Duration::from_secs(seconds.parse().unwrap())),
            ("!leave", _) => {
                peer.session.tear_down(peer.now);
                peer.drive()
            }
            ("!close", _) => {
                peer.session.disconnected(peer.now);
                peer.drive()
            }
            ("$", hex) => {
                let bytes = hex.split_whitespace().map(|byte| u8::from_str_radix(byte, 16).unwrap());
                deliver(&mut peer, &bytes.collect::<Vec<_>>());
                peer.drive()
            }
            _ => peer.answer(answer, deliver),
        };
        peer.log.drain(..).for_each(|event| written += &format!("* {event}\n"));
        written += &output;
    }
    written
}

#[rstest]
fn transcripts(#[files("src/rtsp/testdata/client/*.txt")] path: std::path::PathBuf) {
    let transcript = std::fs::read_to_string(&path).unwrap();
    let whole = dialogue(&transcript, |peer, bytes| peer.session.receive(bytes, peer.now));
    let bytewise = dialogue(&transcript, |peer, bytes| {
        bytes.iter().for_each(|&byte| peer.session.receive(&[byte], peer.now));
    });
    assert_eq!(whole, bytewise);
    insta::assert_snapshot!(path.file_stem().unwrap().to_str().unwrap(), whole);
}
