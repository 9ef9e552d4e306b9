//! Socket options that latency depends on.
//!
//! Linux only where said; elsewhere those calls do nothing, which costs latency and nothing else.

use std::io;
use std::time::Duration;

use socket2::SockRef;

/// Sends small segments at once (no Nagle, RFC 896).
///
/// # Errors
/// As the operating system says.
pub fn send_without_delay<'a>(socket: impl Into<SockRef<'a>>) -> io::Result<()> {
    socket.into().set_tcp_nodelay(true)
}

/// Asks for the next segments to be acknowledged at once. Linux forgets it after a few segments, so it is asked again before
/// each read of a publisher's socket: FFmpeg leaves Nagle on, and the tail of each frame would wait up to 40 ms for a delayed
/// acknowledgement (measured from source to browser: p95 45.7 ms without, 2.9 ms with).
#[cfg(any(target_os = "linux", target_os = "android"))]
pub fn acknowledge_quickly<'a>(socket: impl Into<SockRef<'a>>) {
    // What fails here fails on the next read, which reports it.
    let _ = socket.into().set_tcp_quickack(true);
}

/// Asks for the next segments to be acknowledged at once: not on this system.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub fn acknowledge_quickly<'a>(socket: impl Into<SockRef<'a>>) {
    drop(socket.into());
}

/// Lets the kernel hold at most this much that it could not send yet. Its buffer grows to megabytes, which at 2 Mb/s are ten seconds
/// of old pictures in front of a viewer whose link is slow; what is not in the buffer can still be left out.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub fn bound_unsent<'a>(socket: impl Into<SockRef<'a>>, bytes: u32) {
    // What fails here costs latency on slow links and nothing else.
    let _ = socket.into().set_tcp_notsent_lowat(bytes);
}

/// Lets the kernel hold at most this much that it could not send yet: not on this system.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub fn bound_unsent<'a>(socket: impl Into<SockRef<'a>>, _bytes: u32) {
    drop(socket.into());
}

/// Ends the connection when the peer has taken nothing for so long of what is ready to be sent (`TCP_USER_TIMEOUT`, RFC 5482): one that
/// asks and never reads would hold its buffers for ever.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub fn bound_unsent_time<'a>(socket: impl Into<SockRef<'a>>, time: Duration) {
    // What fails here leaves the kernel's own limit, some 15 minutes.
    let _ = socket.into().set_tcp_user_timeout(Some(time));
}

/// Ends the connection when the peer has taken nothing for so long: not on this system.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub fn bound_unsent_time<'a>(socket: impl Into<SockRef<'a>>, _time: Duration) {
    drop(socket.into());
}

/// Lets this process open as many descriptors as the system allows, up to a million: the usual limit of 1,024 is reached at 1,000
/// viewers. Not more, since children inherit it, and some programs close every descriptor they might have.
pub fn raise_descriptor_limit() {
    #[cfg(unix)]
    {
        use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
        const ENOUGH: u64 = 1 << 20;
        let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
        let wanted = maximum.unwrap_or(ENOUGH).min(ENOUGH);
        if current.is_some_and(|current| current < wanted) {
            let current = Some(wanted);
            // Where it is refused, the limit stays, and accepting says so when it is reached.
            let _ = setrlimit(Resource::Nofile, Rlimit { current, maximum });
        }
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_os = "linux")]
    #[test]
    fn the_limit_is_raised() {
        use rustix::process::{Resource, getrlimit};
        super::raise_descriptor_limit();
        let limit = getrlimit(Resource::Nofile);
        let least = limit.maximum.unwrap_or(u64::MAX).min(1 << 20);
        assert!(limit.current.is_none_or(|current| current >= least), "{limit:?}");
    }
}
