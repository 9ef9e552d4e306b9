//! The same by HTTP: pages, players by HLS and by WebRTC, most of which end without a word.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant, SystemTime};

use media::WallTime;
use protocol::webrtc::{Asking, Client, Datagram, Identity, Moment, Outbox, Transport, Wanted};
use sightline::random;

use super::churn::Churn;
use super::from_variable;
use super::support::Server;

/// How a session goes.
#[derive(Clone, Copy)]
enum Way {
    /// Begins a request and leaves in its middle.
    HalfARequest,
    /// Reads the page.
    Reads,
    /// Asks for what is not there.
    Misses,
    /// Reads the list of HLS, and leaves while it waits for the next part.
    Waits,
    /// Listens to events and leaves.
    Listens,
    /// Asks for the status socket and leaves.
    Watches,
    /// Offers what is no SDP.
    Rubbish,
    /// Offers to watch and is not heard of again.
    Offers,
    /// Offers to watch and takes it back.
    TakesBack,
    /// Watches, and leaves without a word.
    Plays,
    /// Watches and says goodbye.
    TakesLeave,
}

const WAYS: [Way; 11] = [
    Way::HalfARequest,
    Way::Reads,
    Way::Misses,
    Way::Waits,
    Way::Listens,
    Way::Watches,
    Way::Rubbish,
    Way::Offers,
    Way::TakesBack,
    Way::Plays,
    Way::TakesLeave,
];

/// Longest wait for an answer or a picture.
const PATIENCE: Duration = Duration::from_secs(20);

static IDENTITY: LazyLock<Arc<Identity>> = LazyLock::new(|| Arc::new(Identity::generate().unwrap()));

fn connect(port: u16) -> TcpStream {
    let socket = TcpStream::connect(("127.0.0.1", port)).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

/// The request goes out; what comes back is not waited for.
fn begin(port: u16, method: &str, path: &str, headers: &str, body: &str) -> TcpStream {
    let mut socket = connect(port);
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n{headers}Content-Length: {length}\r\n\r\n{body}"
    );
    socket.write_all(request.as_bytes()).unwrap();
    socket
}

/// The status line and the headers of an answer.
fn head(socket: &mut TcpStream) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        assert_eq!(
            socket.read(&mut byte).unwrap(),
            1,
            "{:?}",
            String::from_utf8_lossy(&head)
        );
        head.extend(byte);
    }
    String::from_utf8(head).unwrap()
}

/// A whole answer, with the connection's end.
fn ask(port: u16, method: &str, path: &str, headers: &str, body: &str) -> (String, String) {
    let mut socket = begin(port, method, path, &format!("Connection: close\r\n{headers}"), body);
    let head = head(&mut socket);
    let mut body = String::new();
    socket.read_to_string(&mut body).unwrap();
    (head, body)
}

fn expect(status: u16, (head, body): (String, String)) -> (String, String) {
    assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{head}{body}");
    (head, body)
}

/// The place of the session that an answer made.
fn place(head: &str) -> String {
    let place = head.lines().find_map(|line| line.strip_prefix("location: "));
    place.unwrap_or_else(|| panic!("{head}")).trim().to_owned()
}

/// A viewer by WebRTC until it has a picture.
struct Viewer {
    client: Client,
    socket: UdpSocket,
    local: SocketAddr,
    out: Outbox,
}

impl Viewer {
    fn offer(port: u16, number: u32) -> (Self, String) {
        // Nobody is given packets at an address where somebody else was heard seconds ago, so each comes from another.
        let [.., high, low] = number.to_be_bytes();
        let socket = UdpSocket::bind((Ipv4Addr::new(127, 1, high, low), 0)).unwrap();
        let local = socket.local_addr().unwrap();
        let (asking, offer) = Asking::offer(&IDENTITY, local, Wanted::Picture, &mut random::bits);
        let headers = "Content-Type: application/sdp\r\n";
        let (head, answer) = expect(201, ask(port, "POST", "/live/cam/whep", headers, &offer));
        let client = asking.answered(answer.as_bytes(), None, &mut random::bits, Instant::now());
        let viewer = Self {
            client: client.unwrap(),
            socket,
            local,
            out: Outbox::new(),
        };
        (viewer, place(&head))
    }

    fn now() -> Moment {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        Moment {
            at: Instant::now(),
            wall: WallTime::from_unix_micros(since.as_micros() as i64),
        }
    }

    fn send(&mut self) {
        for batch in self.out.batches() {
            for datagram in self.out.datagrams_of(batch) {
                let _ = self.socket.send_to(datagram, batch.to);
            }
        }
        self.out.clear();
    }

    fn watch(&mut self) {
        let begun = Instant::now();
        let mut buffer = [0; 2_048];
        self.client.handle_timeout(Self::now(), &mut self.out);
        self.send();
        while self.client.poll_frame().is_none() {
            assert!(
                begun.elapsed() < PATIENCE && !self.client.has_ended(),
                "no picture after {:?}: connected: {}, ended: {:?}",
                begun.elapsed(),
                self.client.is_connected(),
                self.client.ended()
            );
            let due = self.client.poll_timeout().saturating_duration_since(Instant::now());
            if due.is_zero() {
                self.client.handle_timeout(Self::now(), &mut self.out);
                self.send();
            }
            self.socket
                .set_read_timeout(Some(due.max(Duration::from_millis(1))))
                .unwrap();
            if let Ok((size, from)) = self.socket.recv_from(&mut buffer) {
                let datagram = Datagram {
                    transport: Transport::Udp,
                    from,
                    to: self.local,
                    bytes: &buffer[..size],
                };
                self.client.receive(datagram, Self::now(), &mut self.out);
            }
            self.send();
        }
    }

    fn close(&mut self) {
        self.client.close(Instant::now(), &mut self.out);
        self.send();
    }
}

fn session(port: u16, number: u32) {
    match WAYS[number as usize % WAYS.len()] {
        Way::HalfARequest => connect(port)
            .write_all(b"GET /live/cam/ HTTP/1.1\r\nHost: 127")
            .unwrap(),
        Way::Reads => drop(expect(200, ask(port, "GET", "/live/cam/", "", ""))),
        Way::Misses => drop(expect(404, ask(port, "GET", "/live/nobody/index.m3u8", "", ""))),
        Way::Waits => {
            let (_, list) = expect(200, ask(port, "GET", "/live/cam/stream.m3u8", "", ""));
            let first = list
                .lines()
                .find_map(|line| line.strip_prefix("#EXT-X-MEDIA-SEQUENCE:"));
            let segments = list.lines().filter(|line| line.starts_with("#EXTINF")).count();
            let next = first.unwrap().parse::<usize>().unwrap() + segments + 1;
            let _socket = begin(port, "GET", &format!("/live/cam/stream.m3u8?_HLS_msn={next}"), "", "");
            std::thread::sleep(Duration::from_millis(2));
        }
        Way::Listens => {
            let mut socket = begin(port, "GET", "/api/v1/events", "", "");
            assert!(head(&mut socket).starts_with("HTTP/1.1 200 "));
        }
        Way::Watches => {
            let headers = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
            let mut socket = begin(port, "GET", "/ws/camera/", headers, "");
            assert!(head(&mut socket).starts_with("HTTP/1.1 101 "));
        }
        Way::Rubbish => {
            let headers = "Content-Type: application/sdp\r\n";
            drop(expect(
                400,
                ask(port, "POST", "/live/cam/whep", headers, "v=0\r\nno\r\n"),
            ));
        }
        Way::Offers => drop(Viewer::offer(port, number)),
        Way::TakesBack => {
            let (_, place) = Viewer::offer(port, number);
            drop(expect(200, ask(port, "DELETE", &place, "", "")));
        }
        Way::Plays => Viewer::offer(port, number).0.watch(),
        Way::TakesLeave => {
            let (mut viewer, place) = Viewer::offer(port, number);
            viewer.watch();
            viewer.close();
            // Its goodbye may have ended it already.
            let (head, _) = ask(port, "DELETE", &place, "", "");
            assert!(
                head.starts_with("HTTP/1.1 200 ") || head.starts_with("HTTP/1.1 404 "),
                "{head}"
            );
        }
    }
}

#[test]
fn thousands_who_pass_by_by_http_leave_nothing_behind() {
    let all = from_variable("PASSERS_BY", 10_000);
    // Those who offer and are not heard of again are kept for as long as a slow one may take.
    let server = Server::start_with(&["--open"], &[("SIGHTLINE_LIMITS_WEBRTC_SESSIONS", "100000")]);
    let port = server.port_of("http_port");
    Churn::of(server).go(all, |number| session(port, number));
}
