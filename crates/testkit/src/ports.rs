//! Ports that a test names before anybody listens there.
//!
//! Belongs here: finding one. Does not belong here: ports that nobody needs to know beforehand; there the system chooses (port 0).

use std::net::{TcpListener, UdpSocket};

/// A port that nobody has, by TCP nor by UDP. None of those that the system gives to whoever wants any: until a server listens there, and from its end
/// until it comes back, such a one might be somebody else's.
///
/// # Panics
/// There is none.
pub fn free() -> u16 {
    let range = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    // Linux's own, where it is not told.
    let first = range.split_whitespace().next().map_or(Ok(32_768), str::parse);
    let first: u16 = first.expect("a port");
    assert!(first > 11_000, "the system gives away all ports from {first} on");
    // There are machines without IPv6.
    let any = if TcpListener::bind("[::]:0").is_ok() {
        "::"
    } else {
        "0.0.0.0"
    };
    let found = (0..10_000).find_map(|_| {
        // Below are those of well-known services.
        let port = fastrand::u16(10_000..first);
        let is_free = TcpListener::bind((any, port)).is_ok() && UdpSocket::bind((any, port)).is_ok();
        is_free.then_some(port)
    });
    found.expect("a free port")
}
