//! Which process holds a port.
//!
//! Linux: `/proc/net/{tcp,udp}{,6}` gives the socket's inode, `/proc/PID/fd` who has it open. Other users' processes hide theirs,
//! and other systems have no such files: then nobody is named. Only asked after binding failed, since reading `/proc/net/tcp`
//! takes milliseconds.

use std::fmt;
use std::fs;
use std::path::Path;

/// A kind of port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    /// A listening TCP socket.
    Tcp,
    /// A bound UDP socket.
    Udp,
}

impl Transport {
    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
        }
    }
}

/// A process that holds a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Process id.
    pub pid: u32,
    /// Its short name.
    pub name: String,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (pid {})", self.name, self.pid)
    }
}

/// Who holds `port`, if this system and our rights let us see it.
pub fn who_holds(transport: Transport, port: u16) -> Option<Holder> {
    let tables = match transport {
        Transport::Tcp => ["tcp", "tcp6"],
        Transport::Udp => ["udp", "udp6"],
    };
    let inodes: Vec<u64> = tables
        .iter()
        .filter_map(|table| fs::read_to_string(Path::new("/proc/net").join(table)).ok())
        .flat_map(|table| inodes(&table, transport, port))
        .collect();
    if inodes.is_empty() {
        return None;
    }
    let targets: Vec<String> = inodes.iter().map(|inode| format!("socket:[{inode}]")).collect();
    let pid = processes().find(|pid| has_open(*pid, &targets))?;
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    // A process chooses its own name.
    let name: String = name.trim().chars().filter(|c| !c.is_control()).collect();
    Some(Holder { pid, name })
}

/// Inodes of the sockets in a `/proc/net` table that hold `port` (proc(5): columns local address, state at 3, inode at 9).
fn inodes(table: &str, transport: Transport, port: u16) -> Vec<u64> {
    const TCP_LISTEN: &str = "0A";
    let sockets = table.lines().skip(1).filter_map(move |line| {
        let mut columns = line.split_ascii_whitespace();
        let (_, local_port) = columns.nth(1)?.rsplit_once(':')?;
        let state = columns.nth(1)?;
        let inode = columns.nth(5)?.parse().ok()?;
        let holds = u16::from_str_radix(local_port, 16) == Ok(port);
        (holds && (transport == Transport::Udp || state == TCP_LISTEN)).then_some(inode)
    });
    sockets.collect()
}

fn processes() -> impl Iterator<Item = u32> {
    fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}

fn has_open(pid: u32, targets: &[String]) -> bool {
    fs::read_dir(format!("/proc/{pid}/fd"))
        .into_iter()
        .flatten()
        .filter_map(|entry| fs::read_link(entry.ok()?.path()).ok())
        .any(|link| targets.iter().any(|target| link.as_os_str() == target.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000:216A 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0 100 0 0 10 0
   1: 0100007F:216A 0100007F:9C40 01 00000000:00000000 00:00000000 00000000     0        0 4712 1 0 20 4 30 10 -1
   2: 0100007F:1F40 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 4713 2 0 0
broken line
   3: zz 00000000:0000 0A
";

    #[test]
    fn finds_listeners_not_connections() {
        assert_eq!(inodes(TABLE, Transport::Tcp, 8554), [4711]);
        assert_eq!(inodes(TABLE, Transport::Udp, 8000), [4713]);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn names_this_very_process() {
        let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let holder = who_holds(Transport::Tcp, tcp.local_addr().unwrap().port()).unwrap();
        assert_eq!(holder.pid, std::process::id());
        let udp = std::net::UdpSocket::bind("[::1]:0").unwrap();
        let holder = who_holds(Transport::Udp, udp.local_addr().unwrap().port()).unwrap();
        assert_eq!(holder.pid, std::process::id());
        assert!(!holder.name.is_empty());
    }

    #[test]
    fn nobody_listens_on_port_0() {
        assert_eq!(who_holds(Transport::Tcp, 0), None);
    }
}
