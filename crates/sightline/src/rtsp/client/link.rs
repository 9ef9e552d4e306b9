//! One client session on its connection.
//!
//! Belongs here: connecting and reconnecting as the session asks, reading, writing (through TLS where it is asked for, [`super::tls`]), timeouts, UDP ports. Does not belong
//! here: what the media is.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use protocol::rtsp::client::{Config, Event, Mode, Negotiated, Session};
use protocol::rtsp::server::ChannelKind;
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use super::super::udp::{Datagram, Port};
use super::ports::Ports;
use super::tls::Secure;
use super::{Error, Settings, Transport, Url};
use crate::net;

/// Bytes read at once: a keyframe of 64 KB in one call.
const READ_BYTES: usize = 64 * 1024;
/// Datagrams that wait for the session's task.
const QUEUE_DATAGRAMS: usize = 1_024;

/// How long the answer to a TEARDOWN is waited for: when a program ends, the camera and a file have to end within the same second.
const LEAVE_WITHIN: Duration = Duration::from_millis(300);

/// What the caller of a link must look at.
pub(super) enum Input {
    /// Something the session says, but for what the link does by itself (ports, reconnecting, ends).
    Event(Event),
    /// A packet, by whichever way it came.
    Packet {
        track: usize,
        kind: ChannelKind,
        bytes: Bytes,
    },
    /// [`Link::wake_at`] has come.
    Woken,
    /// Everything that had to wait is with the operating system now.
    Written,
}

/// How packets of one track go to the server.
#[derive(Clone, Copy)]
enum Way {
    Channels {
        rtp: u8,
        rtcp: u8,
    },
    Addresses {
        rtp: SocketAddr,
        rtcp: SocketAddr,
    },
    /// The server did not name its ports; then it cannot be sent to.
    Unknown,
}

pub(super) struct Link {
    session: Session,
    socket: TcpStream,
    /// Between both, for `rtsps://`.
    secure: Option<Secure>,
    settings: Settings,
    buffer: Vec<u8>,
    unwritten: BytesMut,
    ports: HashMap<usize, Ports>,
    ways: HashMap<usize, Way>,
    inbox: mpsc::Sender<Datagram>,
    datagrams: mpsc::Receiver<Datagram>,
    wake_at: Option<Instant>,
    /// The server closed the connection, which stays readable for ever.
    is_closed: bool,
}

impl Link {
    pub(super) async fn connect(url: Url, mode: Mode, settings: Settings) -> Result<Self, Error> {
        let config = Config {
            login: settings.login.clone(),
            // RTP beside the connection would not be encrypted.
            transport: if url.tls { Transport::Tcp } else { settings.transport },
            ..Config::default()
        };
        let mut session = Session::new(config, url, mode, (settings.random)());
        let (socket, secure) = open(session.url(), &settings).await?;
        session.connected(settings.clock.now());
        let (inbox, datagrams) = mpsc::channel(QUEUE_DATAGRAMS);
        Ok(Self {
            session,
            socket,
            secure,
            settings,
            buffer: vec![0; READ_BYTES],
            unwritten: BytesMut::new(),
            ports: HashMap::new(),
            ways: HashMap::new(),
            inbox,
            datagrams,
            wake_at: None,
            is_closed: false,
        })
    }

    pub(super) fn session(&mut self) -> &mut Session {
        &mut self.session
    }

    pub(super) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Makes [`Link::next`] return [`Input::Woken`] at that time, once.
    pub(super) fn wake_at(&mut self, at: Instant) {
        self.wake_at = Some(at);
    }

    /// The interleaved channels of a track, or `None` when it travels by UDP.
    pub(super) fn channels(&self, track: usize) -> Option<(u8, u8)> {
        match self.ways.get(&track)? {
            Way::Channels { rtp, rtcp } => Some((*rtp, *rtcp)),
            Way::Addresses { .. } | Way::Unknown => None,
        }
    }

    /// Everything handed over before is with the operating system.
    pub(super) fn is_written(&self) -> bool {
        self.unwritten.is_empty()
    }

    /// Queues bytes behind what is queued: whole `$` frames.
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.queue_output()?;
        if let Some(secure) = &mut self.secure {
            secure.send(bytes, &mut self.unwritten)?;
            return self.flush();
        }
        if self.unwritten.is_empty() {
            let written = match self.socket.try_write(bytes) {
                Ok(written) => written,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
                Err(error) => return Err(error.into()),
            };
            self.unwritten
                .extend_from_slice(bytes.get(written..).unwrap_or_default());
        } else {
            self.unwritten.extend_from_slice(bytes);
        }
        Ok(())
    }

    /// Sends one packet of a track by UDP.
    pub(super) fn send(&self, track: usize, port: Port, packet: &[u8]) {
        if let (Some(ports), Some(Way::Addresses { rtp, rtcp })) = (self.ports.get(&track), self.ways.get(&track)) {
            let to = match port {
                Port::Rtp => *rtp,
                Port::Rtcp => *rtcp,
            };
            ports.send(port, packet, to);
        }
    }

    /// Sends an RTCP packet of a track by whichever way it travels.
    pub(super) fn send_report(&mut self, track: usize, report: &[u8]) -> Result<(), Error> {
        match self.channels(track) {
            Some((_, rtcp)) => {
                let [high, low] = (report.len() as u16).to_be_bytes();
                let mut frame = BytesMut::from(&[b'$', rtcp, high, low][..]);
                frame.extend_from_slice(report);
                self.write(&frame)
            }
            None => {
                self.send(track, Port::Rtcp, report);
                Ok(())
            }
        }
    }

    /// What happens next. Cancel-safe once media flows; before that a new connection the session asked for may be lost.
    ///
    /// # Errors
    /// When the session is over: it failed, or was ended by the server.
    pub(super) async fn next(&mut self) -> Result<Input, Error> {
        loop {
            if let Some(input) = self.poll().await? {
                return Ok(input);
            }
            if self.is_closed {
                return Err(Error::Ended);
            }
            let waited = !self.unwritten.is_empty();
            self.flush()?;
            if waited && self.unwritten.is_empty() {
                return Ok(Input::Written);
            }
            let timeout = self.session.poll_timeout().into_iter().chain(self.wake_at).min();
            let sleep = async {
                match timeout {
                    Some(at) => tokio::time::sleep_until(at.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                ready = self.socket.readable() => {
                    ready?;
                    self.read()?;
                }
                ready = self.socket.writable(), if !self.unwritten.is_empty() => ready?,
                Some(datagram) = self.datagrams.recv() => {
                    let kind = match datagram.port {
                        Port::Rtp => ChannelKind::Rtp,
                        Port::Rtcp => ChannelKind::Rtcp,
                    };
                    return Ok(Input::Packet { track: datagram.track, kind, bytes: datagram.bytes });
                }
                () = sleep => {
                    let now = self.settings.clock.now();
                    if self.wake_at.take_if(|at| *at <= now).is_some() {
                        return Ok(Input::Woken);
                    }
                    self.session.handle_timeout(now);
                }
            }
        }
    }

    /// Ends the session properly, or without an answer.
    pub(super) async fn close(mut self) {
        self.session.tear_down(self.settings.clock.now());
        let leave = async { while self.next().await.is_ok() {} };
        let _ = tokio::time::timeout(LEAVE_WITHIN, leave).await;
    }

    /// The session's next event that is not the link's own business.
    async fn poll(&mut self) -> Result<Option<Input>, Error> {
        let now = self.settings.clock.now();
        while let Some(event) = self.session.poll() {
            match event {
                Event::Bind { track } => {
                    let server = self.server();
                    let bound =
                        server.and_then(|server| Ports::bind(server, track, &self.inbox, self.settings.random).ok());
                    let numbers = bound.as_ref().and_then(Ports::numbers);
                    self.ports.extend(bound.map(|ports| (track, ports)));
                    self.session.bound(numbers, now);
                }
                Event::SetUp { track, transport, ssrc } => {
                    self.set_up(track, transport);
                    return Ok(Some(Input::Event(Event::SetUp { track, transport, ssrc })));
                }
                Event::Reconnect => {
                    self.unwritten.clear();
                    self.is_closed = false;
                    (self.socket, self.secure) = open(self.session.url(), &self.settings).await?;
                    self.session.connected(self.settings.clock.now());
                }
                Event::Data { track, kind, bytes } => return Ok(Some(Input::Packet { track, kind, bytes })),
                Event::Closed => return Err(Error::Ended),
                Event::Failed(error) => return Err(error.into()),
                event => return Ok(Some(Input::Event(event))),
            }
        }
        Ok(None)
    }

    fn set_up(&mut self, track: usize, transport: Negotiated) {
        let way = match transport {
            Negotiated::Interleaved { rtp, rtcp } => {
                self.ports.remove(&track);
                Way::Channels { rtp, rtcp }
            }
            // What the server says of its address (`source=`) is not believed: reports would go wherever it likes.
            Negotiated::Udp { server_ports, .. } => match (server_ports, self.server()) {
                (Some((rtp, rtcp)), Some(server)) => Way::Addresses {
                    rtp: SocketAddr::new(server, rtp),
                    rtcp: SocketAddr::new(server, rtcp),
                },
                _ => Way::Unknown,
            },
        };
        self.ways.insert(track, way);
    }

    pub(super) fn server_address(&self) -> Option<SocketAddr> {
        self.socket.peer_addr().ok()
    }

    fn server(&self) -> Option<IpAddr> {
        self.server_address().map(|address| address.ip())
    }

    fn queue_output(&mut self) -> Result<(), Error> {
        let output = self.session.take_output();
        match &mut self.secure {
            Some(secure) => secure.send(&output, &mut self.unwritten)?,
            None => self.unwritten.extend_from_slice(&output),
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Error> {
        self.queue_output()?;
        while !self.unwritten.is_empty() {
            match self.socket.try_write(&self.unwritten) {
                Ok(written) => drop(self.unwritten.split_to(written)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn read(&mut self) -> Result<(), Error> {
        // The server may leave Nagle on, as FFmpeg does; see the function.
        net::acknowledge_quickly(&self.socket);
        let now = self.settings.clock.now();
        match self.socket.try_read(&mut self.buffer) {
            Ok(0) => {
                self.is_closed = true;
                self.session.disconnected(now);
            }
            Ok(length) => {
                let bytes = self.buffer.get(..length).unwrap_or_default();
                match &mut self.secure {
                    Some(secure) => secure.receive(bytes, |plain| self.session.receive(plain, now))?,
                    None => self.session.receive(bytes, now),
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }
}

/// A connection, through the handshake where it is by TLS.
async fn open(url: &Url, settings: &Settings) -> Result<(TcpStream, Option<Secure>), Error> {
    let socket = connect(url, settings).await?;
    if !url.tls {
        return Ok((socket, None));
    }
    let mut secure = Secure::new(url, settings)?;
    let shaken = tokio::time::timeout(settings.connect_timeout, shake_hands(&socket, &mut secure)).await;
    let failed = |why: String| Error::Tls {
        address: format!("{}:{}", url.host, url.port),
        why,
    };
    match shaken {
        Ok(Ok(())) => Ok((socket, Some(secure))),
        Ok(Err(Error::Io(error))) => Err(failed(error.to_string())),
        Ok(Err(error)) => Err(error),
        Err(_) => Err(failed("the handshake is not answered".to_owned())),
    }
}

async fn shake_hands(socket: &TcpStream, secure: &mut Secure) -> Result<(), Error> {
    let mut buffer = [0; 4_096];
    let mut output = BytesMut::new();
    loop {
        secure.take_output(&mut output)?;
        while !output.is_empty() {
            socket.writable().await?;
            match socket.try_write(&output) {
                Ok(written) => drop(output.split_to(written)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error.into()),
            }
        }
        if !secure.is_handshaking() {
            return Ok(());
        }
        socket.readable().await?;
        match socket.try_read(&mut buffer) {
            Ok(0) => return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
            // RTSP waits for our first request.
            Ok(length) => secure.receive(buffer.get(..length).unwrap_or_default(), |_| {})?,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error.into()),
        }
    }
}

async fn connect(url: &Url, settings: &Settings) -> Result<TcpStream, Error> {
    let address = format!("{}:{}", url.host, url.port);
    let host = url.host.trim_start_matches('[').trim_end_matches(']').to_owned();
    let resolved = tokio::net::lookup_host((host.as_str(), url.port)).await;
    let addresses: Vec<_> = resolved
        .map_err(|error| Error::Resolve {
            host: host.clone(),
            error,
        })?
        .collect();
    let mut failed = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for candidate in addresses {
        match tokio::time::timeout(settings.connect_timeout, TcpStream::connect(candidate)).await {
            Ok(Ok(socket)) => {
                // Without it a slow request is no error, only slow.
                let _ = net::send_without_delay(&socket);
                return Ok(socket);
            }
            Ok(Err(error)) => failed = error,
            Err(_) => failed = io::ErrorKind::TimedOut.into(),
        }
    }
    Err(Error::Connect { address, error: failed })
}
