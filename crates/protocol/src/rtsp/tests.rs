//! Both sides against each other over a link in memory that cuts bytes anywhere.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::auth::{Challenge, Credentials};
use super::client::{self, ChannelKind, Choice, Mode, Negotiated};
use super::server::{self, Denied, SetUpTransport};

const SDP: &str =
    "v=0\r\ns=x\r\nm=video 0 RTP/AVP 96\r\na=control:trackID=0\r\nm=audio 0 RTP/AVP 97\r\na=control:trackID=1\r\n";
const PASSWORD: &str = "pässwörd:\"\\/@";

/// The time tests begin at. What it is does not matter.
#[allow(clippy::disallowed_methods)]
fn base() -> Instant {
    Instant::now()
}

fn controls() -> Vec<String> {
    vec!["trackID=0".to_owned(), "trackID=1".to_owned()]
}

type Frame = (usize, ChannelKind, Vec<u8>);

struct Link {
    client: client::Session,
    server: server::Session,
    now: Instant,
    /// Lengths of the pieces that bytes travel in, used in turn.
    pieces: VecDeque<usize>,
    to_server: VecDeque<u8>,
    to_client: VecDeque<u8>,
    log: Vec<String>,
    at_server: Vec<Frame>,
    at_client: Vec<Frame>,
    channels: Vec<(u8, u8)>,
    with_basic: bool,
    flowing: bool,
}

impl Link {
    fn new(mode: Mode, transport: client::Transport, pieces: Vec<usize>, server: server::Config) -> Self {
        let now = base();
        let config = client::Config {
            transport,
            login: Some(client::Login {
                user: "viewer".to_owned(),
                password: PASSWORD.to_owned(),
            }),
            ..client::Config::default()
        };
        let url = "rtsp://localhost:8554/house/door?x=y".parse().unwrap();
        let mut client = client::Session::new(config, url, mode, 1);
        client.connected(now);
        Self {
            client,
            server: server::Session::new(server, 2, now),
            now,
            pieces: pieces.into(),
            to_server: VecDeque::new(),
            to_client: VecDeque::new(),
            log: Vec::new(),
            at_server: Vec::new(),
            at_client: Vec::new(),
            channels: Vec::new(),
            with_basic: false,
            flowing: false,
        }
    }

    fn piece(&mut self) -> usize {
        let Some(piece) = self.pieces.pop_front() else {
            return usize::MAX;
        };
        self.pieces.push_back(piece);
        piece
    }

    /// Until nothing moves any more.
    fn run(&mut self) {
        loop {
            self.drive_client();
            self.drive_server();
            if self.to_server.is_empty() && self.to_client.is_empty() {
                return;
            }
            let length = self.piece().min(self.to_server.len());
            let piece: Vec<u8> = self.to_server.drain(..length).collect();
            self.server.receive(&piece, self.now);
            let length = self.piece().min(self.to_client.len());
            let piece: Vec<u8> = self.to_client.drain(..length).collect();
            self.client.receive(&piece, self.now);
        }
    }

    fn drive_client(&mut self) {
        use client::Event;
        while let Some(event) = self.client.poll() {
            let now = self.now;
            match event {
                Event::Described { sdp } => {
                    assert_eq!(sdp, SDP);
                    let choice = |(track, control)| Choice {
                        track,
                        control: Some(control),
                    };
                    // In another order than described.
                    let choices: Vec<Choice> = controls().into_iter().enumerate().map(choice).rev().collect();
                    self.client.choose(&choices, now);
                }
                Event::Bind { track } => {
                    let port = 50_000 + 2 * track as u16;
                    self.client.bound(Some((port, port + 1)), now);
                }
                Event::SetUp { track, transport, ssrc } => {
                    assert_eq!(ssrc, Some(0x55AA_0000 + track as u32));
                    if let Negotiated::Interleaved { rtp, rtcp } = transport {
                        self.channels.push((rtp, rtcp));
                    }
                    self.log.push(format!("client: {track} {transport:?}"));
                }
                Event::Data { track, kind, bytes } => self.at_client.push((track, kind, bytes.to_vec())),
                Event::Playing { .. } | Event::Recording => {
                    self.flowing = true;
                    self.log.push(format!("client: {event:?}"));
                }
                Event::Reconnect | Event::Closed | Event::Failed(_) => self.log.push(format!("client: {event:?}")),
            }
        }
        self.to_server.extend(self.client.take_output());
    }

    fn drive_server(&mut self) {
        use server::Event;
        while let Some(event) = self.server.poll() {
            let now = self.now;
            match event {
                Event::Authorize { credentials, .. } => {
                    let right = match &credentials {
                        Credentials::Basic { user, password } => {
                            self.with_basic && user == "viewer" && password == PASSWORD
                        }
                        Credentials::Digest(digest) => digest.user() == "viewer" && digest.verify(PASSWORD),
                        Credentials::None | Credentials::Token(_) => false,
                    };
                    self.log.push(format!("server: {credentials:?} {right}"));
                    let challenge = Challenge {
                        realm: "Sightline".to_owned(),
                        digest: !self.with_basic,
                        basic: self.with_basic,
                    };
                    let answer = if right {
                        Ok(())
                    } else {
                        Err(Denied::Challenge(challenge))
                    };
                    self.server.authorized(answer, now);
                }
                Event::Describe { .. } => {
                    let description = server::Description {
                        sdp: SDP.to_owned(),
                        controls: controls(),
                    };
                    self.server.describe(Ok(description), now);
                }
                Event::Announce { sdp, .. } => {
                    assert_eq!(sdp, SDP);
                    self.server
                        .announce(Ok(server::Announced { controls: controls() }), now);
                }
                Event::SetUp { track, transport, .. } => {
                    let udp = matches!(transport, SetUpTransport::Udp { .. });
                    let ports = server::ServerPorts {
                        rtp_rtcp: udp.then_some((8000, 8001)),
                        source: udp.then(|| "127.0.0.1".parse().unwrap()),
                        ssrc: Some(0x55AA_0000 + track as u32),
                    };
                    self.log.push(format!("server: {track} {transport:?}"));
                    self.server.set_up(Ok(ports), now);
                }
                Event::Play { tracks } => {
                    let info = |track: usize| server::RtpInfo {
                        track,
                        sequence: 65_530 + track as u16,
                        rtp_time: u32::MAX,
                    };
                    let infos: Vec<server::RtpInfo> = tracks.into_iter().map(info).collect();
                    self.server.play(Ok(&infos), now);
                }
                Event::Record { .. } => self.server.record(Ok(()), now),
                Event::Data { track, kind, bytes } => self.at_server.push((track, kind, bytes.to_vec())),
                Event::Pause | Event::TearDown | Event::Close { .. } => self.log.push(format!("server: {event:?}")),
            }
        }
        self.to_client.extend(self.server.take_output());
    }

    fn wait(&mut self, duration: Duration) {
        self.now += duration;
        self.client.handle_timeout(self.now);
        self.server.handle_timeout(self.now);
        self.run();
    }

    fn has(&self, text: &str) -> bool {
        self.log.iter().any(|line| line.contains(text))
    }
}

fn frame(channel: u8, payload: &[u8]) -> Vec<u8> {
    let [high, low] = (payload.len() as u16).to_be_bytes();
    [&[b'$', channel, high, low], payload].concat()
}

fn publish() -> Mode {
    Mode::Publish {
        sdp: SDP.to_owned(),
        controls: controls(),
        via: None,
    }
}

proptest! {
    // A case is a whole session: 256 of them take seconds.
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn media_flows_however_bytes_are_cut(
        pieces in proptest::collection::vec(1_usize..200, 0..8), send: bool, with_basic: bool,
        payloads in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..50), 0..12),
    ) {
        let mode = if send { publish() } else { Mode::Play };
        let mut link = Link::new(mode, client::Transport::Auto, pieces, server::Config::default());
        link.with_basic = with_basic;
        link.run();
        prop_assert!(link.flowing, "{:?}", link.log);
        let login = if with_basic { "Basic(\"viewer\") true" } else { "Digest(\"viewer\", SHA-256) true" };
        prop_assert!(link.has(login), "{:?}", link.log);
        prop_assert_eq!(link.log.iter().filter(|line| line.ends_with("true")).count(), 1);

        // Frames both ways, requests and responses between them.
        for payload in &payloads {
            for (rtp, rtcp) in link.channels.clone() {
                link.to_server.extend(frame(rtcp, payload));
                link.to_client.extend(frame(rtp, payload));
            }
        }
        link.wait(Duration::from_secs(30));
        let count = 2 * payloads.len();
        prop_assert_eq!((link.at_server.len(), link.at_client.len()), (count, count));
        prop_assert!(link.at_server.iter().all(|(_, kind, _)| *kind == ChannelKind::Rtcp));
        prop_assert!(link.at_client.iter().all(|(_, kind, _)| *kind == ChannelKind::Rtp));
        for track in 0..2 {
            let got: Vec<&Vec<u8>> = link.at_client.iter().filter(|frame| frame.0 == track).map(|frame| &frame.2).collect();
            prop_assert_eq!(got, payloads.iter().collect::<Vec<_>>());
        }

        link.client.tear_down(link.now);
        link.run();
        prop_assert!(link.has("server: TearDown") && link.has("client: Closed"), "{:?}", link.log);
    }

    #[test]
    fn over_udp_keepalives_keep_both_alive(minutes in 1_u64..6, send: bool, pieces in proptest::collection::vec(1_usize..99, 0..4)) {
        let mode = if send { publish() } else { Mode::Play };
        let mut link = Link::new(mode, client::Transport::Udp, pieces, server::Config::default());
        link.run();
        prop_assert!(link.flowing, "{:?}", link.log);
        prop_assert!(link.has("Udp { server_ports: Some((8000, 8001)), source: Some(127.0.0.1) }"), "{:?}", link.log);
        for _ in 0..2 * minutes {
            link.wait(Duration::from_secs(30));
        }
        prop_assert!(!link.has("Close"), "{:?}", link.log);
        // The client falls silent.
        for _ in 0..60 {
            link.now += Duration::from_secs(1);
            link.server.handle_timeout(link.now);
            link.drive_server();
        }
        prop_assert!(link.has("server: Close { reason: Idle(60s) }"), "{:?}", link.log);
    }
}

#[test]
fn the_transport_is_changed_where_the_server_has_another() {
    for (interleaved, transport, expected) in [
        (false, client::Transport::Auto, "Udp"),
        (true, client::Transport::AutoUdpFirst, "Interleaved"),
    ] {
        let config = server::Config {
            interleaved,
            udp: !interleaved,
            ..server::Config::default()
        };
        let mut link = Link::new(Mode::Play, transport, vec![7, 100], config);
        link.run();
        assert!(link.flowing && link.has(expected), "{:?}", link.log);
    }
}

#[test]
fn a_refusal_reaches_people_in_the_servers_words() {
    let config = server::Config {
        interleaved: true,
        udp: false,
        ..server::Config::default()
    };
    let mut link = Link::new(Mode::Play, client::Transport::Udp, vec![], config);
    link.run();
    assert!(
        link.has("Unsupported Transport: RTP/AVP/TCP;unicast;interleaved=0-1 is supported"),
        "{:?}",
        link.log
    );
}
