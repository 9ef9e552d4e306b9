//! Which cameras there are in the networks of this machine, and what each says of itself.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use media::Clock;
use protocol::onvif::device::Information;
use protocol::onvif::discovery::{self, Answer, Asked, Found};
use protocol::onvif::media::Profile;
use protocol::rtsp;
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;
use url::Url;

use super::{Account, Camera, Failed};
use crate::trust::Trust;

/// Cameras that are told of.
pub const MAX_CAMERAS: usize = 256;
/// Of these as many are asked at a time.
const AT_ONCE: usize = 8;
/// The longest that all questions to one may take.
const CAMERA_WITHIN: Duration = Duration::from_secs(20);
/// The question is asked again so long after the first time: datagrams are lost.
const AGAIN_AFTER: Duration = Duration::from_millis(400);
/// Answers of one sender that are looked at: each camera is asked four questions by each way to it.
const MAX_ANSWERS: usize = 64;
/// Senders that are listened to.
const MAX_SENDERS: usize = 1_024;
/// Answers that wait to be looked at.
const MAX_WAITING: usize = 64;
/// Streams of one camera whose URL is asked for: recorders have many.
const MAX_STREAMS: usize = 64;
/// Largest datagram.
const MAX_DATAGRAM_BYTES: usize = 65_536;

/// What asking a camera needs.
#[derive(Clone)]
pub struct Asking {
    /// With what cameras are asked for their streams.
    pub account: Option<Account>,
    /// Whose certificates are believed, of cameras that are asked by HTTPS.
    pub trust: Trust,
    /// The clock of this machine.
    pub clock: Arc<dyn Clock>,
    /// Unpredictable numbers.
    pub random: fn() -> u64,
}

/// Where cameras are looked for.
#[derive(Clone, Debug)]
pub struct Search {
    /// Where the question goes.
    pub to: SocketAddr,
    /// From which addresses of this machine: each is another network.
    pub from: Vec<Ipv4Addr>,
    /// How long answers are waited for.
    pub wait: Duration,
    /// Unpredictable numbers.
    pub random: fn() -> u64,
}

/// A camera that answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Where the answer came from; none where it was not asked for.
    pub address: Option<IpAddr>,
    /// Where it is asked by HTTP.
    pub device: Url,
    /// What it calls itself.
    pub name: Option<String>,
    /// What it is.
    pub hardware: Option<String>,
}

/// What a camera told.
#[derive(Debug)]
pub struct Told {
    /// What it is.
    pub information: Information,
    /// Its streams, in its own order.
    pub streams: Vec<Stream>,
}

/// A stream of a camera.
#[derive(Debug)]
pub struct Stream {
    /// What it is.
    pub profile: Profile,
    /// Where it is, with the login that was given.
    pub url: Option<rtsp::url::Url>,
}

/// Where questions to all cameras go.
pub fn everywhere() -> SocketAddr {
    SocketAddr::from(discovery::MULTICAST)
}

/// Who answers, each once, however often and by how many ways it does.
///
/// # Errors
/// When the operating system gives no socket by any of the ways.
pub async fn search(search: &Search) -> std::io::Result<Vec<Seen>> {
    let sockets = sockets(search)?;
    let (sender, mut answers) = mpsc::channel(MAX_WAITING);
    let mut listening = JoinSet::new();
    for socket in &sockets {
        listening.spawn(listen(Arc::clone(socket), sender.clone()));
    }
    let mut heard = Heard::default();
    let end = Instant::now() + search.wait;
    let mut next = Instant::now();
    let mut rounds = 0;
    loop {
        tokio::select! {
            () = tokio::time::sleep_until(end) => break,
            () = tokio::time::sleep_until(next), if rounds < 2 => {
                rounds += 1;
                next += AGAIN_AFTER;
                for socket in &sockets {
                    for asked in [Asked::Cameras, Asked::Devices] {
                        let id = uuid((search.random)(), (search.random)());
                        // A network that is down answers nothing.
                        let _ = socket.send_to(discovery::probe(asked, &id).as_bytes(), search.to).await;
                        heard.ids.push(id);
                    }
                }
            }
            Some((from, answer)) = answers.recv() => heard.note(from, answer),
        }
    }
    let mut seen = heard.seen();
    seen.sort_by_key(|camera| camera.address);
    Ok(seen)
}

/// Version 4 (RFC 9562 §5.4).
fn uuid(a: u64, b: u64) -> String {
    let (low, high) = (a >> 32, a as u16);
    let last = b & 0xffff_ffff_ffff;
    format!(
        "{low:08x}-{high:04x}-4{:03x}-8{:03x}-{last:012x}",
        a >> 16 & 0xfff,
        b >> 52
    )
}

/// What was heard until now.
#[derive(Default)]
pub(super) struct Heard {
    ids: Vec<String>,
    cameras: Vec<(Seen, Found)>,
    senders: BTreeMap<IpAddr, usize>,
}

impl Heard {
    /// In the order in which they were heard first.
    pub(super) fn seen(&self) -> Vec<Seen> {
        self.cameras.iter().map(|(seen, _)| seen.clone()).collect()
    }

    pub(super) fn note(&mut self, from: IpAddr, answer: Answer) {
        let from = from.to_canonical();
        if !self.may_say_more(from) || !answer.is_to(&self.ids) {
            return;
        }
        for found in answer.found {
            let known = self.cameras.iter().any(|(_, known)| known.is_same(&found));
            let device = found.address(from).and_then(|address| Url::parse(&address).ok());
            let Some(device) = device else { continue };
            let there = self.cameras.iter().any(|(seen, _)| seen.device == device);
            if known || there || self.cameras.len() >= MAX_CAMERAS {
                continue;
            }
            let seen = Seen {
                address: Some(from),
                device,
                name: found.name.clone(),
                hardware: found.hardware.clone(),
            };
            self.cameras.push((seen, found));
        }
    }

    /// One that floods is not listened to for ever, and does not crowd out the others.
    fn may_say_more(&mut self, from: IpAddr) -> bool {
        if self.senders.len() >= MAX_SENDERS && !self.senders.contains_key(&from) {
            return false;
        }
        let count = self.senders.entry(from).or_default();
        *count += 1;
        *count <= MAX_ANSWERS
    }
}

async fn listen(socket: Arc<UdpSocket>, sender: mpsc::Sender<(IpAddr, Answer)>) {
    let mut buffer = vec![0; MAX_DATAGRAM_BYTES];
    loop {
        let Ok((size, from)) = socket.recv_from(&mut buffer).await else {
            // A port that nobody listens at, where one host was asked.
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        let Ok(answer) = discovery::answer(buffer.get(..size).unwrap_or_default()) else {
            continue;
        };
        if sender.send((from.ip(), answer)).await.is_err() {
            return;
        }
    }
}

fn sockets(search: &Search) -> std::io::Result<Vec<Arc<UdpSocket>>> {
    let bound = |address: Ipv4Addr| {
        let socket = std::net::UdpSocket::bind((address, 0))?;
        socket.set_nonblocking(true)?;
        if search.to.ip().is_multicast() {
            let options = socket2::SockRef::from(&socket);
            options.set_multicast_if_v4(&address)?;
            options.set_multicast_ttl_v4(1)?;
        }
        UdpSocket::from_std(socket).map(Arc::new)
    };
    let (mut sockets, mut last) = (Vec::new(), None);
    for address in &search.from {
        match bound(*address) {
            Ok(socket) => sockets.push(socket),
            // An interface that has just gone is none.
            Err(error) => last = Some(error),
        }
    }
    match last {
        Some(error) if sockets.is_empty() => Err(error),
        _ => Ok(sockets),
    }
}

/// Asks cameras for what they are and for their streams, some at a time. In their order.
pub async fn ask_all(asking: &Asking, cameras: &[Seen]) -> Vec<Result<Told, Failed>> {
    let mut waiting: VecDeque<(usize, Url)> = cameras.iter().map(|seen| seen.device.clone()).enumerate().collect();
    let mut told: Vec<Option<Result<Told, Failed>>> = cameras.iter().map(|_| None).collect();
    let mut running = JoinSet::new();
    loop {
        while running.len() < AT_ONCE {
            let Some((index, device)) = waiting.pop_front() else {
                break;
            };
            let asking = asking.clone();
            running.spawn(async move { (index, ask(&asking, device).await) });
        }
        match running.join_next().await {
            Some(Ok((index, answer))) => {
                if let Some(place) = told.get_mut(index) {
                    *place = Some(answer);
                }
            }
            // A bug of ours.
            Some(Err(panic)) => std::panic::resume_unwind(panic.into_panic()),
            None => break,
        }
    }
    told.into_iter().flatten().collect()
}

async fn ask(asking: &Asking, device: Url) -> Result<Told, Failed> {
    let host = device.host_str().unwrap_or_default().to_owned();
    let mut camera = Camera::new(
        device,
        asking.account.clone(),
        asking.trust.clone(),
        Arc::clone(&asking.clock),
        asking.random,
    );
    let telling = async {
        let found = camera.streams().await?;
        // What it is called is not worth giving up what it has.
        let information = camera.information().await.unwrap_or_default();
        let mut streams = Vec::new();
        for profile in found.profiles.iter().take(MAX_STREAMS) {
            let url = match camera.url(&found, profile).await {
                Ok(url) => Some(url),
                Err(error @ Failed::Login(_)) => return Err(error),
                // One that is not told is shown without its address.
                Err(_) => None,
            };
            let profile = profile.clone();
            streams.push(Stream { profile, url });
        }
        Ok(Told { information, streams })
    };
    let told = tokio::time::timeout(CAMERA_WITHIN, telling).await;
    told.unwrap_or(Err(Failed::Slow {
        host,
        after: CAMERA_WITHIN,
    }))
}
