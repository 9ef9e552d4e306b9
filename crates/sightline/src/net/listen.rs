//! Sockets a server waits on.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use socket2::{Domain, Protocol, Socket, Type};

use super::{Holder, Transport, who_holds};

/// Connections the kernel keeps until they are accepted. 400 viewers that start together must not wait for a second SYN.
const BACKLOG: i32 = 1_024;

/// Of the socket for media. The kernel grants what its limit (`net.core.wmem_max`) allows, silently.
const BUFFER_BYTES: usize = 4 << 20;

/// Why a socket could not be had. The text says what, why and what to do.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Somebody else has the port.
    #[error("{} port {port} is in use by {}; stop it or choose another port with {setting}", transport.name(), held_by(holder.as_ref()))]
    InUse {
        /// TCP or UDP.
        transport: Transport,
        /// The port.
        port: u16,
        /// Who has it, if that can be seen.
        holder: Option<Holder>,
        /// The flag or key that chooses the port.
        setting: &'static str,
    },
    /// Ports below 1,024 need a right.
    #[error("no permission to listen on {} port {port}; choose one of 1024 or above with {setting}", transport.name())]
    Denied {
        /// TCP or UDP.
        transport: Transport,
        /// The port.
        port: u16,
        /// The flag or key that chooses the port.
        setting: &'static str,
    },
    /// The address is none of this machine's.
    #[error("{address} is not an address of this machine; correct server.host")]
    NotOurs {
        /// The address.
        address: IpAddr,
    },
    /// Anything else.
    #[error("cannot listen on {} {address}: {error}; correct server.host, or choose another port", transport.name())]
    Other {
        /// TCP or UDP.
        transport: Transport,
        /// Where.
        address: SocketAddr,
        /// What the operating system says.
        error: io::Error,
    },
}

fn held_by(holder: Option<&Holder>) -> String {
    holder.map_or_else(|| "another program".to_owned(), Holder::to_string)
}

/// A non-blocking TCP listener. `host` `None` takes all addresses of both families through one socket, or of IPv4 alone where the
/// machine has no IPv6. `setting` is the flag or key that the error names.
///
/// # Errors
/// [`ListenError`].
pub fn listen_tcp(
    host: Option<IpAddr>,
    port: u16,
    setting: &'static str,
) -> Result<std::net::TcpListener, ListenError> {
    let socket = bind(Transport::Tcp, host, port, setting)?;
    let listening = socket.listen(BACKLOG);
    listening.map_err(|error| explain(error, Transport::Tcp, any_or(host), port, setting))?;
    Ok(socket.into())
}

/// Two non-blocking UDP sockets for RTP and RTCP.
#[derive(Debug)]
pub struct RtpPair {
    /// Media.
    pub rtp: std::net::UdpSocket,
    /// Reports.
    pub rtcp: std::net::UdpSocket,
}

/// Binds the pair of ports for RTP and RTCP, as [`listen_tcp`] does; for `[0, 0]` any even port and the next one, as RFC 3550 §11
/// has it. Buffers are raised so that a burst of a keyframe to all viewers fits.
///
/// # Errors
/// [`ListenError`].
pub fn bind_rtp_pair(
    host: Option<IpAddr>,
    [rtp_port, rtcp_port]: [u16; 2],
    setting: &'static str,
) -> Result<RtpPair, ListenError> {
    let (rtp, rtcp) = match [rtp_port, rtcp_port] {
        [0, 0] => bind_any_pair(host, setting)?,
        [rtp_port, rtcp_port] => (
            bind(Transport::Udp, host, rtp_port, setting)?,
            bind(Transport::Udp, host, rtcp_port, setting)?,
        ),
    };
    // Smaller buffers than wished for are no reason not to start.
    let _ = rtp.set_send_buffer_size(BUFFER_BYTES);
    let _ = rtp.set_recv_buffer_size(BUFFER_BYTES);
    Ok(RtpPair {
        rtp: rtp.into(),
        rtcp: rtcp.into(),
    })
}

/// A non-blocking UDP socket, with buffers as [`bind_rtp_pair`] has them.
///
/// # Errors
/// [`ListenError`].
pub fn bind_udp(host: Option<IpAddr>, port: u16, setting: &'static str) -> Result<std::net::UdpSocket, ListenError> {
    let socket = bind(Transport::Udp, host, port, setting)?;
    let _ = socket.set_send_buffer_size(BUFFER_BYTES);
    let _ = socket.set_recv_buffer_size(BUFFER_BYTES);
    Ok(socket.into())
}

/// Takes what the system gives until it is an even port whose neighbour is free too.
fn bind_any_pair(host: Option<IpAddr>, setting: &'static str) -> Result<(Socket, Socket), ListenError> {
    /// Half of all ports are odd, and neighbours are seldom taken: 64 in a row fail once in 2^60 starts.
    const ATTEMPTS: usize = 64;
    let mut last = None;
    // Kept until the end, so that the system does not give the same port again.
    let mut unfit = Vec::new();
    for _ in 0..ATTEMPTS {
        let rtp = bind(Transport::Udp, host, 0, setting)?;
        let port = rtp.local_addr().ok().and_then(|address| address.as_socket());
        let port = port.map_or(0, |address| address.port());
        if port % 2 == 0 && port != 0 {
            match bind(Transport::Udp, host, port.saturating_add(1), setting) {
                Ok(rtcp) => return Ok((rtp, rtcp)),
                Err(error) => last = Some(error),
            }
        }
        unfit.push(rtp);
    }
    Err(last.unwrap_or(ListenError::Other {
        transport: Transport::Udp,
        address: SocketAddr::new(any_or(host), 0),
        error: io::Error::from(io::ErrorKind::AddrInUse),
    }))
}

fn bind(transport: Transport, host: Option<IpAddr>, port: u16, setting: &'static str) -> Result<Socket, ListenError> {
    let address = any_or(host);
    let bound = try_bind(transport, address, port);
    let no_ipv6 = |error: &io::Error| {
        matches!(
            error.kind(),
            io::ErrorKind::Unsupported | io::ErrorKind::AddrNotAvailable
        ) || error.raw_os_error() == Some(ADDRESS_FAMILY_UNSUPPORTED)
    };
    match bound {
        Err(error) if host.is_none() && no_ipv6(&error) => {
            let v4 = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
            try_bind(transport, v4, port).map_err(|error| explain(error, transport, v4, port, setting))
        }
        bound => bound.map_err(|error| explain(error, transport, address, port, setting)),
    }
}

/// `EAFNOSUPPORT`: the machine was started without IPv6. The standard library has no kind for it, and each system its own number.
#[cfg(unix)]
const ADDRESS_FAMILY_UNSUPPORTED: i32 = rustix::io::Errno::AFNOSUPPORT.raw_os_error();
/// `WSAEAFNOSUPPORT`, the same.
#[cfg(windows)]
const ADDRESS_FAMILY_UNSUPPORTED: i32 = 10_047;

/// Whether sockets can be bound for IPv6 here.
pub(super) fn has_ipv6() -> bool {
    try_bind(Transport::Udp, IpAddr::V6(Ipv6Addr::UNSPECIFIED), 0).is_ok()
}

fn try_bind(transport: Transport, address: IpAddr, port: u16) -> io::Result<Socket> {
    let address = SocketAddr::new(address, port);
    let (kind, protocol) = match transport {
        Transport::Tcp => (Type::STREAM, Protocol::TCP),
        Transport::Udp => (Type::DGRAM, Protocol::UDP),
    };
    let socket = Socket::new(Domain::for_address(address), kind, Some(protocol))?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    // A restart must not wait for old connections in TIME_WAIT. On Windows the option means something else: stealing the port.
    #[cfg(not(windows))]
    if transport == Transport::Tcp {
        socket.set_reuse_address(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

pub(super) fn any_or(host: Option<IpAddr>) -> IpAddr {
    host.unwrap_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED))
}

fn explain(error: io::Error, transport: Transport, address: IpAddr, port: u16, setting: &'static str) -> ListenError {
    match error.kind() {
        io::ErrorKind::AddrInUse => ListenError::InUse {
            transport,
            port,
            holder: who_holds(transport, port),
            setting,
        },
        io::ErrorKind::PermissionDenied => ListenError::Denied {
            transport,
            port,
            setting,
        },
        io::ErrorKind::AddrNotAvailable => ListenError::NotOurs { address },
        _ => ListenError::Other {
            transport,
            address: SocketAddr::new(address, port),
            error,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpStream;

    #[test]
    fn listens_on_both_families() {
        let listener = listen_tcp(None, 0, "--rtsp-port").unwrap();
        let port = listener.local_addr().unwrap().port();
        assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok());
        if listener.local_addr().unwrap().is_ipv6() {
            assert!(TcpStream::connect((Ipv6Addr::LOCALHOST, port)).is_ok());
        }
    }

    #[test]
    fn a_port_in_use_is_reported_with_its_holder() {
        let taken = listen_tcp(None, 0, "--rtsp-port").unwrap();
        let port = taken.local_addr().unwrap().port();
        let error = listen_tcp(None, port, "--rtsp-port").unwrap_err();
        let ListenError::InUse { holder, .. } = &error else {
            panic!("{error:?}");
        };
        if cfg!(target_os = "linux") {
            assert_eq!(holder.as_ref().unwrap().pid, std::process::id());
        }
        let text = error.to_string();
        assert!(text.starts_with(&format!("TCP port {port} is in use by ")), "{text}");
        assert!(
            text.ends_with("; stop it or choose another port with --rtsp-port"),
            "{text}"
        );
    }

    #[test]
    fn an_address_of_another_machine_is_named() {
        let error = listen_tcp(Some("192.0.2.1".parse().unwrap()), 0, "--rtsp-port").unwrap_err();
        assert_eq!(
            error.to_string(),
            "192.0.2.1 is not an address of this machine; correct server.host"
        );
    }

    #[test]
    fn any_pair_is_even_and_odd() {
        let pairs: Vec<RtpPair> = (0..20)
            .map(|_| bind_rtp_pair(None, [0, 0], "rtsp.rtp_port").unwrap())
            .collect();
        for pair in &pairs {
            let rtp = pair.rtp.local_addr().unwrap().port();
            assert_eq!((rtp % 2, pair.rtcp.local_addr().unwrap().port()), (0, rtp + 1));
        }
    }

    #[test]
    fn a_pair_of_udp_ports_is_held() {
        let pair = bind_rtp_pair(Some(IpAddr::V4(Ipv4Addr::LOCALHOST)), [0, 0], "rtsp.rtp_port").unwrap();
        let port = pair.rtcp.local_addr().unwrap().port();
        let error = bind_rtp_pair(Some(IpAddr::V4(Ipv4Addr::LOCALHOST)), [0, port], "rtsp.rtp_port").unwrap_err();
        assert!(matches!(error, ListenError::InUse { .. }), "{error}");
    }
}
