//! Short sessions by the thousand, most of which end without a word.

use std::io::{Read as _, Write as _};
use std::net::{TcpStream, UdpSocket};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::{Duration, Instant};

use super::from_variable;
use super::killing::{frames, viewer, wait_for_frames};
use super::support::{Process, Server, publish_with_ffmpeg};

/// Sessions that go on at the same time.
const AT_ONCE: u32 = 16;
/// Memory that the allocator may keep over what it had after the first half of the sessions, when as many had been there at a time.
const MAX_GROWTH_KIB: u64 = 4_096;

/// How a session goes.
#[derive(Clone, Copy)]
enum Way {
    /// Connects, and leaves again.
    Silent,
    /// Begins a request and leaves in its middle.
    HalfARequest,
    /// Says what is no RTSP.
    Rubbish,
    /// Asks what is there.
    Describes,
    /// Asks for what is not there.
    Misses,
    /// Sets up and leaves.
    SetsUp,
    /// Plays by TCP, reads a little, leaves without a word.
    Plays,
    /// Plays by UDP and leaves without a word.
    PlaysByUdp,
    /// Plays and says goodbye.
    TakesLeave,
    /// Announces a stream of its own and leaves.
    Announces,
    /// Announces, sets up, records nothing, leaves.
    Records,
}

const WAYS: [Way; 11] = [
    Way::Silent,
    Way::HalfARequest,
    Way::Rubbish,
    Way::Describes,
    Way::Misses,
    Way::SetsUp,
    Way::Plays,
    Way::PlaysByUdp,
    Way::TakesLeave,
    Way::Announces,
    Way::Records,
];

const SDP: &str = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\nm=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\n\
     a=fmtp:96 packetization-mode=1;sprop-parameter-sets=Z0LAHtoCgPRA,aM48gA==\r\na=control:trackID=0\r\n";

/// A client that speaks by hand.
struct Client {
    socket: TcpStream,
    url: String,
    cseq: u32,
    session: Option<String>,
}

impl Client {
    fn connect(port: u16, name: &str) -> Self {
        let socket = TcpStream::connect(("127.0.0.1", port)).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        Self {
            socket,
            url: format!("rtsp://127.0.0.1:{port}/{name}"),
            cseq: 0,
            session: None,
        }
    }

    /// Sends a request and reads until the head of its answer is whole; media may follow it.
    fn ask(&mut self, method: &str, path: &str, headers: &str, body: &str) -> String {
        self.cseq += 1;
        let mut request = format!(
            "{method} {}{path} RTSP/1.0\r\nCSeq: {}\r\n{headers}",
            self.url, self.cseq
        );
        if let Some(session) = &self.session {
            request += &format!("Session: {session}\r\n");
        }
        if !body.is_empty() {
            request += &format!("Content-Type: application/sdp\r\nContent-Length: {}\r\n", body.len());
        }
        request += "\r\n";
        request += body;
        self.socket.write_all(request.as_bytes()).unwrap();
        let mut answer = Vec::new();
        let mut piece = [0; 4_096];
        loop {
            let length = self.socket.read(&mut piece).unwrap();
            assert!(
                length > 0,
                "{method}: closed after {:?}",
                String::from_utf8_lossy(&answer)
            );
            answer.extend_from_slice(&piece[..length]);
            let text = String::from_utf8_lossy(&answer);
            let Some(begin) = text.find("RTSP/1.0 ") else { continue };
            let Some(head) = text[begin..].split_once("\r\n\r\n").map(|(head, _)| head.to_owned()) else {
                continue;
            };
            let session = head.lines().find_map(|line| line.strip_prefix("Session: "));
            if let Some(session) = session.and_then(|value| value.split(';').next()) {
                self.session = Some(session.to_owned());
            }
            return head;
        }
    }

    fn expect(&mut self, status: u16, method: &str, path: &str, headers: &str, body: &str) {
        let answer = self.ask(method, path, headers, body);
        assert!(answer.starts_with(&format!("RTSP/1.0 {status} ")), "{method}: {answer}");
    }
}

const TCP: &str = "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n";

fn session(port: u16, number: u32) {
    let way = WAYS[number as usize % WAYS.len()];
    let name = match way {
        Way::Misses => "nobody".to_owned(),
        Way::Announces | Way::Records => format!("own/{number}"),
        _ => "cam".to_owned(),
    };
    let mut client = Client::connect(port, &name);
    match way {
        Way::Silent => {}
        Way::HalfARequest => client
            .socket
            .write_all(b"DESCRIBE rtsp://127.0.0.1/cam RTSP/1.0\r\nCSe")
            .unwrap(),
        Way::Rubbish => client
            .socket
            .write_all(&[0x16, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3, 0])
            .unwrap(),
        Way::Describes => client.expect(200, "DESCRIBE", "", "", ""),
        Way::Misses => client.expect(404, "DESCRIBE", "", "", ""),
        Way::SetsUp => client.expect(200, "SETUP", "/trackID=0", TCP, ""),
        Way::Plays | Way::TakesLeave => {
            client.expect(200, "SETUP", "/trackID=0", TCP, "");
            client.expect(200, "PLAY", "", "", "");
            let mut some = [0; 2_048];
            assert!(client.socket.read(&mut some).unwrap() > 0);
            if let Way::TakesLeave = way {
                client.expect(200, "TEARDOWN", "", "", "");
            }
        }
        Way::PlaysByUdp => {
            let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
            let rtp = socket.local_addr().unwrap().port();
            // The port beside it need not be ours: nobody waits for reports.
            let rtcp = rtp.checked_add(1).unwrap_or(rtp - 1);
            let transport = format!("Transport: RTP/AVP;unicast;client_port={rtp}-{rtcp}\r\n");
            client.expect(200, "SETUP", "/trackID=0", &transport, "");
            client.expect(200, "PLAY", "", "", "");
            socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
            assert!(socket.recv(&mut [0; 2_048]).unwrap() > 0);
        }
        Way::Announces => client.expect(200, "ANNOUNCE", "", "", SDP),
        Way::Records => {
            client.expect(200, "ANNOUNCE", "", "", SDP);
            client.expect(
                200,
                "SETUP",
                "/trackID=0",
                "Transport: RTP/AVP/TCP;unicast;interleaved=0-1;mode=record\r\n",
                "",
            );
            client.expect(200, "RECORD", "", "", "");
        }
    }
}

/// A server with a stream and one who watches it, through many short sessions.
pub(crate) struct Churn {
    server: Server,
    _publisher: Process,
    witness: Process,
}

impl Churn {
    pub(crate) fn of(mut server: Server) -> Self {
        let publisher = publish_with_ffmpeg(&mut server, "cam", "tcp", 15);
        let mut witness = viewer(&server, "tcp");
        wait_for_frames(&mut witness, 10);
        Self {
            server,
            _publisher: publisher,
            witness,
        }
    }

    /// All sessions, by their numbers. Nothing may be left of them, and the witness sees on.
    pub(crate) fn go(mut self, all: u32, session: impl Fn(u32) + Sync) {
        let (descriptors, threads, _) = self.settled(None);
        sessions(0..all / 2, &session);
        let (.., warm_kib) = self.settled(Some((descriptors, threads)));
        sessions(all / 2..all, &session);
        let after = self.settled(Some((descriptors, threads)));
        assert_eq!(after.0, descriptors, "descriptors after {all} sessions");
        // Fewer is well: the start-up's helpers leave when they have had nothing to do for a while.
        assert!(
            after.1 <= threads,
            "{} threads after {all} sessions, {threads} before",
            after.1
        );
        let grown = after.2.saturating_sub(warm_kib);
        assert!(
            grown < MAX_GROWTH_KIB,
            "memory grew by {grown} KiB from session {} to {all}",
            all / 2
        );
        let seen = frames(&self.witness);
        wait_for_frames(&mut self.witness, seen + 30);
        let said = self.server.process.said();
        let panicked = said.iter().find(|line| line.contains("panic"));
        assert_eq!(panicked, None);
    }

    /// What the server holds, once the sessions that ended have been noticed. Streams of publishers that left are held for some seconds.
    fn settled(&self, wanted: Option<(usize, usize)>) -> (usize, usize, u64) {
        let process = &self.server.process;
        let begun = Instant::now();
        loop {
            let held = (process.descriptors(), threads(&self.server));
            let quiet = wanted.is_none_or(|wanted| held.0 == wanted.0 && held.1 <= wanted.1)
                && begun.elapsed() > Duration::from_secs(8);
            if quiet || begun.elapsed() > Duration::from_secs(40) {
                return (held.0, held.1, process.resident_kib());
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

fn sessions(numbers: std::ops::Range<u32>, session: &(impl Fn(u32) + Sync)) {
    let next = AtomicU32::new(numbers.start);
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Relaxed);
                    if number >= numbers.end {
                        break;
                    }
                    session(number);
                }
            });
        }
    });
}

fn threads(server: &Server) -> usize {
    std::fs::read_dir(format!("/proc/{}/task", server.process.pid()))
        .unwrap()
        .count()
}

#[test]
fn thousands_of_short_sessions_leave_nothing_behind() {
    let all = from_variable("SESSIONS", 40_000);
    let server = Server::start(&[]);
    let port = server.port;
    Churn::of(server).go(all, |number| session(port, number));
}
