//! The sockets that a server waits on: those that the process before it handed over where they are the ones that are wanted, new ones
//! else.
//!
//! Belongs here: which socket is whose. Does not belong here: how one is bound ([`super::listen`]), how it gets from one process to the
//! next ([`crate::serve`]).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use socket2::{Socket, Type};

use super::Transport;
use super::listen::{self, ListenError, RtpPair};

/// A socket by the name of what it is for.
#[derive(Debug)]
pub struct Named {
    /// What it is for, the same in all versions of the program.
    pub name: String,
    /// A TCP listener, or bound for UDP.
    pub socket: Socket,
}

/// What is wanted.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    /// What the socket is for.
    pub name: &'static str,
    /// Where; `None`: at all addresses of both families.
    pub host: Option<IpAddr>,
    /// The port; 0: any.
    pub port: u16,
    /// The flag or key that chooses the port, for errors.
    pub setting: &'static str,
}

/// Gives the sockets out, and keeps a second descriptor of each, by which they can be handed on and stay open until the end.
#[derive(Debug, Default)]
pub struct Listeners {
    handed: Vec<Named>,
    kept: Vec<Named>,
}

impl Listeners {
    /// `handed`: what the process before has handed over.
    pub fn new(handed: Vec<Named>) -> Self {
        Self {
            handed,
            kept: Vec::new(),
        }
    }

    /// As [`super::listen_tcp`].
    ///
    /// # Errors
    /// [`ListenError`].
    pub fn tcp(&mut self, wanted: Wanted) -> Result<std::net::TcpListener, ListenError> {
        let socket = match self.take(Transport::Tcp, wanted) {
            Some(socket) => socket,
            None => listen::listen_tcp(wanted.host, wanted.port, wanted.setting)?.into(),
        };
        self.keep(Transport::Tcp, wanted, &socket)?;
        Ok(socket.into())
    }

    /// As [`super::bind_udp`].
    ///
    /// # Errors
    /// [`ListenError`].
    pub fn udp(&mut self, wanted: Wanted) -> Result<std::net::UdpSocket, ListenError> {
        let socket = match self.take(Transport::Udp, wanted) {
            Some(socket) => socket,
            None => listen::bind_udp(wanted.host, wanted.port, wanted.setting)?.into(),
        };
        self.keep(Transport::Udp, wanted, &socket)?;
        Ok(socket.into())
    }

    /// As [`super::bind_rtp_pair`].
    ///
    /// # Errors
    /// [`ListenError`].
    pub fn rtp_pair(&mut self, [rtp, rtcp]: [Wanted; 2]) -> Result<RtpPair, ListenError> {
        let handed = [rtp, rtcp].map(|wanted| self.take(Transport::Udp, wanted));
        let pair = match handed {
            [Some(rtp), Some(rtcp)] => RtpPair {
                rtp: rtp.into(),
                rtcp: rtcp.into(),
            },
            // The half that was handed over alone is closed here, which is nothing where the other process still has it: then the error says so.
            _ => listen::bind_rtp_pair(rtp.host, [rtp.port, rtcp.port], rtp.setting)?,
        };
        for (wanted, socket) in [(rtp, &pair.rtp), (rtcp, &pair.rtcp)] {
            self.keep(Transport::Udp, wanted, socket2::SockRef::from(socket))?;
        }
        Ok(pair)
    }

    /// A second descriptor of all that were given out.
    pub fn into_kept(self) -> Vec<Named> {
        self.kept
    }

    /// The one that was handed over and is wanted: by its address, whatever it was for; or where any port would do, by its name.
    fn take(&mut self, transport: Transport, wanted: Wanted) -> Option<Socket> {
        let at = self
            .handed
            .iter()
            .position(|handed| is_wanted(handed, transport, wanted))?;
        Some(self.handed.swap_remove(at).socket)
    }

    /// The one that was kept under this name before was given back.
    fn keep(
        &mut self,
        transport: Transport,
        wanted: Wanted,
        socket: impl std::ops::Deref<Target = Socket>,
    ) -> Result<(), ListenError> {
        // Elsewhere nobody can be given them.
        if !cfg!(target_os = "linux") {
            return Ok(());
        }
        let again = socket.try_clone().map_err(|error| ListenError::Other {
            transport,
            address: SocketAddr::new(listen::any_or(wanted.host), wanted.port),
            error,
        })?;
        self.kept.retain(|kept| kept.name != wanted.name);
        self.kept.push(Named {
            name: wanted.name.to_owned(),
            socket: again,
        });
        Ok(())
    }
}

fn is_wanted(handed: &Named, transport: Transport, wanted: Wanted) -> bool {
    let kind = match transport {
        Transport::Tcp => Type::STREAM,
        Transport::Udp => Type::DGRAM,
    };
    let address = handed.socket.local_addr().ok().and_then(|address| address.as_socket());
    let Some(address) = address.filter(|_| handed.socket.r#type().ok() == Some(kind)) else {
        return false;
    };
    let any = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    let there = match wanted.host {
        Some(host) => address.ip() == host,
        // One socket for both families, or of IPv4 alone where the machine has nothing else.
        None => address.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED) || (address.ip() == any && !listen::has_ipv6()),
    };
    let port_fits = match wanted.port {
        0 => handed.name == wanted.name,
        port => address.port() == port,
    };
    there && port_fits
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpStream;

    const LOCALHOST: Option<IpAddr> = Some(IpAddr::V4(Ipv4Addr::LOCALHOST));

    fn wanted(name: &'static str, port: u16) -> Wanted {
        Wanted {
            name,
            host: LOCALHOST,
            port,
            setting: "--port",
        }
    }

    fn port(socket: &std::net::TcpListener) -> u16 {
        socket.local_addr().unwrap().port()
    }

    /// What a process with these names hands over, and the ports.
    fn handed(names: &[&'static str]) -> (Listeners, Vec<u16>) {
        let mut before = Listeners::default();
        let ports = names.iter().map(|name| port(&before.tcp(wanted(name, 0)).unwrap()));
        let ports = ports.collect();
        (Listeners::new(before.into_kept()), ports)
    }

    #[test]
    fn what_was_handed_over_is_taken_by_its_address() {
        let (mut after, ports) = handed(&["rtsp", "http"]);
        // They have changed places.
        assert_eq!(port(&after.tcp(wanted("rtsp", ports[1])).unwrap()), ports[1]);
        assert_eq!(port(&after.tcp(wanted("http", ports[0])).unwrap()), ports[0]);
        assert!(after.handed.is_empty());
    }

    #[test]
    fn where_any_port_would_do_it_is_taken_by_its_name() {
        let (mut after, ports) = handed(&["rtsp", "http"]);
        assert_eq!(port(&after.tcp(wanted("http", 0)).unwrap()), ports[1]);
        assert_eq!(port(&after.tcp(wanted("rtsp", 0)).unwrap()), ports[0]);
        let another = port(&after.tcp(wanted("rtsp", 0)).unwrap());
        assert!(!ports.contains(&another));
    }

    #[test]
    fn another_address_or_transport_is_not_what_is_wanted() {
        let (mut after, ports) = handed(&["ice"]);
        let elsewhere = Wanted {
            host: Some("127.0.0.2".parse().unwrap()),
            ..wanted("ice", 0)
        };
        assert_ne!(port(&after.tcp(elsewhere).unwrap()), ports[0]);
        let udp = after.udp(wanted("ice", ports[0])).unwrap();
        assert_eq!(udp.local_addr().unwrap().port(), ports[0]);
        assert_eq!(after.handed.len(), 1);
        // At all addresses instead of one: the one that is held stands in the way.
        let everywhere = Wanted {
            host: None,
            ..wanted("ice", ports[0])
        };
        assert!(matches!(after.tcp(everywhere), Err(ListenError::InUse { .. })));
    }

    #[test]
    fn a_pair_of_ports_is_taken_whole() {
        let mut before = Listeners::default();
        let pair = before.rtp_pair([wanted("rtp", 0), wanted("rtcp", 0)]).unwrap();
        let port = pair.rtp.local_addr().unwrap().port();
        drop(pair);
        let mut after = Listeners::new(before.into_kept());
        let pair = after.rtp_pair([wanted("rtp", 0), wanted("rtcp", 0)]).unwrap();
        assert_eq!(pair.rtp.local_addr().unwrap().port(), port);
        assert_eq!(pair.rtcp.local_addr().unwrap().port(), port + 1);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn what_is_kept_goes_on_listening() {
        let mut listeners = Listeners::default();
        let socket = listeners.tcp(wanted("rtsp", 0)).unwrap();
        let (port, kept) = (port(&socket), listeners.into_kept());
        drop(socket);
        assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok());
        drop(kept);
        assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn of_one_name_the_last_is_kept() {
        let mut listeners = Listeners::default();
        let first = port(&listeners.tcp(wanted("ice", 0)).unwrap());
        let second = port(&listeners.tcp(wanted("ice", 0)).unwrap());
        assert_eq!(listeners.into_kept().len(), 1);
        assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, first)).is_err());
        assert_ne!(first, second);
    }
}
