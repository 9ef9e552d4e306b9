//! The program's end, while clients are there.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use rustix::process::Signal;

use crate::Server;

#[test]
fn it_ends_within_a_second_whatever_clients_do() {
    let server = Server::start(&[]);
    let connect = |name| TcpStream::connect(("127.0.0.1", u16::try_from(server.port(name)).unwrap())).unwrap();
    let silent: Vec<TcpStream> = ["http", "https", "hls", "webrtc"].map(connect).into();
    let mut dawdling = connect("http");
    dawdling.write_all(b"POST /sign-in HTTP/1.1\r\nHost: a\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 9\r\n\r\n").unwrap();
    let mut served = connect("http");
    served.write_all(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    let mut start = [0; 12];
    served.read_exact(&mut start).unwrap();
    assert_eq!(&start, b"HTTP/1.1 200");
    server.process.signal(Signal::TERM);
    let (status, lines) = server.process.finish_within(Duration::from_millis(1_250));
    assert_eq!(status.code(), Some(0), "{lines:#?}");
    assert!(
        !lines.iter().any(|line| line.contains("not everything ended")),
        "{lines:#?}"
    );
    drop(silent);
}
