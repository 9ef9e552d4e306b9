//! The server that is asked, and asking it.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::time::{Duration, Instant};

use crate::support::{PATIENCE, Server};

/// A server with a test picture, open to all.
pub(crate) fn camera(variables: &[(&str, &str)]) -> Server {
    let mut server = Server::start_with(&["--source", "test", "--open"], variables);
    server.wait_for_event("camera runs", "zerolatency");
    // Its first picture is still being encoded.
    let mut connection = Connection::new(port(&server));
    let begun = Instant::now();
    while connection.get("/zerolatency/index.m3u8").status == 404 {
        assert!(begun.elapsed() < PATIENCE);
        std::thread::sleep(Duration::from_millis(5));
    }
    server
}

/// Its HLS port.
pub(crate) fn port(server: &Server) -> u16 {
    server.port_of("hls_port")
}

pub(crate) fn url(server: &Server, name: &str) -> String {
    format!("http://127.0.0.1:{}/{name}/index.m3u8", port(server))
}

/// What was answered.
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

/// One connection that stays open.
pub(crate) struct Connection {
    socket: BufReader<TcpStream>,
}

impl Connection {
    pub(crate) fn new(port: u16) -> Self {
        let socket = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.set_nodelay(true).unwrap();
        Self {
            socket: BufReader::new(socket),
        }
    }

    pub(crate) fn get(&mut self, path: &str) -> Reply {
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nUser-Agent: checker\r\n\r\n");
        self.socket.get_mut().write_all(request.as_bytes()).unwrap();
        let line = self.line();
        let status = line.split(' ').nth(1).and_then(|code| code.parse().ok());
        let mut length = Some(0);
        loop {
            let line = self.line();
            let Some((name, value)) = line.split_once(": ") else {
                break;
            };
            if name.eq_ignore_ascii_case("content-length") {
                length = Some(value.parse().unwrap());
            } else if name.eq_ignore_ascii_case("transfer-encoding") {
                length = None;
            }
        }
        let body = match length {
            Some(length) => self.take(length),
            None => self.chunks(),
        };
        Reply {
            status: status.unwrap(),
            body,
        }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.socket.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    fn take(&mut self, length: usize) -> Vec<u8> {
        let mut body = vec![0; length];
        self.socket.read_exact(&mut body).unwrap();
        body
    }

    /// A body of unknown length, as proxies send them (RFC 9112 §7.1).
    fn chunks(&mut self) -> Vec<u8> {
        let mut body = Vec::new();
        loop {
            let length = usize::from_str_radix(&self.line(), 16).unwrap();
            body.extend(self.take(length));
            self.line();
            if length == 0 {
                return body;
            }
        }
    }
}
