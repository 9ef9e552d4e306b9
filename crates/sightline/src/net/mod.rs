//! The machine's network, as seen by a server.
//!
//! Belongs here: this machine's addresses in the order in which people want them, listening sockets and where a server has its own from,
//! socket options that latency depends on, and who holds a port. Does not belong here: any protocol.

mod addresses;
mod datagrams;
mod gate;
mod holder;
mod listen;
mod listeners;
mod options;

pub use addresses::{
    Reach, interface_addresses, ipv4_interfaces, is_loopback, is_virtual, names_of_this_machine, rank,
};
pub use datagrams::{Datagrams, Incoming, Received};
pub use gate::{Gate, Keeper};
pub use holder::{Holder, Transport, who_holds};
pub use listen::{ListenError, RtpPair, bind_rtp_pair, bind_udp, listen_tcp};
pub use listeners::{Listeners, Named, Wanted};
pub use options::{acknowledge_quickly, bound_unsent, bound_unsent_time, raise_descriptor_limit, send_without_delay};
