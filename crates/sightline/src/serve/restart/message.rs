//! What the two processes say to each other, one message at a time.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
};
use tokio::net::UnixDatagram;

use crate::net::Named;

/// What the first message begins with; the names of the sockets follow, a line each.
const SOCKETS: &str = "sightline hands over its sockets, 1";
/// The new one has everything that it needs.
const PREPARED: &str = "prepared";
/// It has not; why follows on the next lines.
const FAILED: &str = "failed";
/// The old one runs no longer.
const GO: &str = "go";
/// Of one message, in bytes. A reason that is longer is cut.
const MAX_BYTES: usize = 4_096;
/// In one message. There are eleven.
const MAX_SOCKETS: usize = 32;

/// A message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Said {
    Prepared,
    Failed(String),
    Go,
    /// The other process has closed its end, as one that is gone has.
    Nothing,
    /// None of these.
    Other,
}

/// Why the sockets could not be taken over.
#[derive(Debug, thiserror::Error)]
pub(super) enum Broken {
    #[error(
        "only {got} of {names} sockets came over: the limit of open files may be too low for both processes (`ulimit -n`, LimitNOFILE=)"
    )]
    Missing { got: usize, names: usize },
    #[error("the list of sockets is longer than {MAX_BYTES} bytes")]
    TooLong,
}

/// Both ends.
pub(super) fn channel() -> io::Result<(OwnedFd, OwnedFd)> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    Ok(rustix::net::socketpair(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        flags,
        None,
    )?)
}

/// Whether this can be an end of such a channel.
pub(super) fn is_channel(descriptor: BorrowedFd<'_>) -> bool {
    use rustix::net::sockopt::{socket_domain, socket_type};
    socket_domain(descriptor) == Ok(AddressFamily::UNIX) && socket_type(descriptor) == Ok(SocketType::SEQPACKET)
}

/// Puts all sockets into the channel.
pub(super) fn send_sockets(channel: &OwnedFd, sockets: &[Named]) -> io::Result<()> {
    let mut text = SOCKETS.to_owned();
    for socket in sockets {
        text.push('\n');
        text.push_str(&socket.name);
    }
    let descriptors: Vec<_> = sockets.iter().map(|socket| socket.socket.as_fd()).collect();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_SOCKETS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let fits = descriptors.len() <= MAX_SOCKETS && text.len() <= MAX_BYTES;
    if !fits || !control.push(SendAncillaryMessage::ScmRights(&descriptors)) {
        return Err(io::Error::other("more sockets than a message holds"));
    }
    rustix::net::sendmsg(
        channel,
        &[IoSlice::new(text.as_bytes())],
        &mut control,
        SendFlags::NOSIGNAL,
    )?;
    Ok(())
}

/// Takes the sockets out of the channel, where they are since before we were started. `None`: there is no such message.
pub(super) fn take_sockets(channel: BorrowedFd<'_>) -> Result<Option<Vec<Named>>, Broken> {
    let mut bytes = [0; MAX_BYTES];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_SOCKETS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    // Programs that we start must not get them.
    let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
    let received = rustix::net::recvmsg(channel, &mut [IoSliceMut::new(&mut bytes)], &mut control, flags);
    let Ok(received) = received else {
        return Ok(None);
    };
    let text = String::from_utf8_lossy(bytes.get(..received.bytes).unwrap_or_default());
    let Some(names) = text.strip_prefix(SOCKETS) else {
        return Ok(None);
    };
    if received.flags.contains(ReturnFlags::TRUNC) {
        return Err(Broken::TooLong);
    }
    let descriptors = control.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
        _ => None,
    });
    let descriptors: Vec<OwnedFd> = descriptors.flatten().collect();
    let names: Vec<_> = names.lines().skip(1).collect();
    // The kernel leaves out those for which there is no descriptor any more.
    if descriptors.len() != names.len() || received.flags.contains(ReturnFlags::CTRUNC) {
        let (got, names) = (descriptors.len(), names.len());
        return Err(Broken::Missing { got, names });
    }
    let named = names.into_iter().zip(descriptors).map(|(name, descriptor)| Named {
        name: name.to_owned(),
        socket: descriptor.into(),
    });
    Ok(Some(named.collect()))
}

/// Says something. It fails when the other process is gone.
pub(super) fn say(channel: impl AsFd, said: &Said) -> io::Result<()> {
    let mut text = match said {
        Said::Prepared => PREPARED.to_owned(),
        Said::Failed(why) => format!("{FAILED}\n{why}"),
        Said::Go => GO.to_owned(),
        Said::Nothing | Said::Other => return Ok(()),
    };
    text.truncate(text.floor_char_boundary(MAX_BYTES));
    rustix::net::send(channel, text.as_bytes(), SendFlags::NOSIGNAL)?;
    Ok(())
}

/// One end, to hear what is said at the other. That it is none of datagrams makes no difference to receiving.
pub(super) fn listening(channel: OwnedFd) -> io::Result<UnixDatagram> {
    UnixDatagram::from_std(channel.into())
}

/// Waits for the next thing that the other process says.
pub(super) async fn hear(channel: &UnixDatagram) -> Said {
    let mut bytes = [0; MAX_BYTES];
    // An error where it is gone and had not read everything.
    let length = channel.recv(&mut bytes).await.unwrap_or(0);
    let text = String::from_utf8_lossy(bytes.get(..length).unwrap_or_default());
    let (word, rest) = text.split_once('\n').unwrap_or((&text, ""));
    match word {
        "" => Said::Nothing,
        PREPARED => Said::Prepared,
        FAILED => Said::Failed(rest.to_owned()),
        GO => Said::Go,
        _ => Said::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sockets(names: &[&str]) -> Vec<Named> {
        let named = names.iter().map(|name| Named {
            name: (*name).to_owned(),
            socket: std::net::TcpListener::bind("127.0.0.1:0").unwrap().into(),
        });
        named.collect()
    }

    fn port(socket: &Named) -> u16 {
        socket.socket.local_addr().unwrap().as_socket().unwrap().port()
    }

    #[test]
    fn sockets_come_over_with_their_names_and_are_not_passed_on() {
        let (ours, theirs) = channel().unwrap();
        let sent = sockets(&["rtsp", "http"]);
        send_sockets(&ours, &sent).unwrap();
        assert!(is_channel(theirs.as_fd()));
        let got = take_sockets(theirs.as_fd()).unwrap().unwrap();
        for (sent, got) in sent.iter().zip(&got) {
            assert_eq!((&sent.name, port(sent)), (&got.name, port(got)));
            let flags = rustix::io::fcntl_getfd(&got.socket).unwrap();
            assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
        }
        assert_eq!(got.len(), 2);
        assert!(take_sockets(theirs.as_fd()).unwrap().is_none(), "there was one message");
    }

    #[test]
    fn sockets_without_a_name_and_names_without_a_socket_are_refused() {
        for (names, count) in [("a\nb", 1), ("a", 2), ("", 1), ("a", 0)] {
            let (ours, theirs) = channel().unwrap();
            let some = sockets(&["x", "y"]);
            let descriptors: Vec<_> = some.iter().take(count).map(|socket| socket.socket.as_fd()).collect();
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
            let mut control = SendAncillaryBuffer::new(&mut space);
            assert!(control.push(SendAncillaryMessage::ScmRights(&descriptors)));
            let text = format!("{SOCKETS}\n{names}");
            rustix::net::sendmsg(
                &ours,
                &[IoSlice::new(text.as_bytes())],
                &mut control,
                SendFlags::NOSIGNAL,
            )
            .unwrap();
            let refused = take_sockets(theirs.as_fd()).unwrap_err();
            assert!(
                matches!(refused, Broken::Missing { .. }),
                "{names:?} {count}: {refused}"
            );
        }
    }

    #[test]
    fn more_than_a_message_holds_is_not_sent() {
        let (ours, _theirs) = channel().unwrap();
        assert!(send_sockets(&ours, &sockets(&["x"; MAX_SOCKETS + 1])).is_err());
        assert!(send_sockets(&ours, &sockets(&[&"x".repeat(MAX_BYTES)])).is_err());
        assert!(send_sockets(&ours, &sockets(&["x"; MAX_SOCKETS])).is_ok());
    }

    #[test]
    fn what_others_have_there_is_none_of_ours() {
        let (ours, theirs) = channel().unwrap();
        assert!(take_sockets(theirs.as_fd()).unwrap().is_none(), "nothing was said");
        rustix::net::send(&ours, b"good morning", SendFlags::NOSIGNAL).unwrap();
        assert!(take_sockets(theirs.as_fd()).unwrap().is_none());
        drop(ours);
        assert!(take_sockets(theirs.as_fd()).unwrap().is_none());
        let (stream, _other) = std::os::unix::net::UnixStream::pair().unwrap();
        assert!(!is_channel(stream.as_fd()));
        let null = std::fs::File::open("/dev/null").unwrap();
        assert!(!is_channel(null.as_fd()));
    }

    #[tokio::test]
    async fn what_is_said_is_heard_and_its_end_too() {
        let (ours, theirs) = channel().unwrap();
        let theirs = listening(theirs).unwrap();
        let long = Said::Failed("ä".repeat(MAX_BYTES));
        for said in [Said::Prepared, Said::Failed("no\nreason".into()), Said::Go] {
            say(&ours, &said).unwrap();
            assert_eq!(hear(&theirs).await, said);
        }
        say(&ours, &long).unwrap();
        let Said::Failed(cut) = hear(&theirs).await else {
            panic!("not understood");
        };
        assert!(cut.len() < MAX_BYTES && cut.chars().all(|c| c == 'ä'), "{cut}");
        rustix::net::send(&ours, b"what?", SendFlags::NOSIGNAL).unwrap();
        assert_eq!(hear(&theirs).await, Said::Other);
        // With something in the channel that nobody read, which the kernel reports as an error.
        say(&theirs, &Said::Prepared).unwrap();
        drop(ours);
        assert_eq!(hear(&theirs).await, Said::Nothing);
        assert!(say(&theirs, &Said::Go).is_err());
    }
}
