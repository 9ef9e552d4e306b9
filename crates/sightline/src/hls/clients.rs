//! Who plays a stream by HLS.
//!
//! A player has no session: it asks for one file after the other, over one connection or several. So a viewer is an address and a program,
//! `User-Agent`, that asked for something in the last seconds. Two tabs of one browser are one viewer, and so are all players behind a cache.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use media::WallTime;
use media::hub::{Full, Stream, Viewing};
use media::stats::{Role, SessionInfo, SessionStats};

use crate::secret::public_query;

/// Programs that are told apart at one address. Whoever makes up more of them is still one.
const MOST_AT_ONE_ADDRESS: usize = 16;
/// Of `User-Agent`, in bytes.
const MOST_OF_AGENT: usize = 128;
/// Shortest time after which a player that asks for nothing has left.
const SILENCE: Duration = Duration::from_secs(10);

/// The viewers of one stream.
pub struct Clients {
    stream: Arc<Stream>,
    hasher: RandomState,
    known: Mutex<HashMap<u64, Known>>,
}

struct Known {
    address: IpAddr,
    stats: Arc<SessionStats>,
    last: Instant,
    _viewing: Viewing,
}

/// Who asks.
#[derive(Clone, Copy, Debug)]
pub struct Client<'a> {
    /// From where.
    pub address: IpAddr,
    /// `User-Agent`.
    pub agent: &'a str,
    /// Of the URL, as it was.
    pub query: &'a str,
}

impl Clients {
    pub(super) fn new(stream: Arc<Stream>) -> Self {
        Self {
            stream,
            hasher: RandomState::new(),
            known: Mutex::default(),
        }
    }

    /// Somebody asks for something. The counters are theirs.
    ///
    /// # Errors
    /// [`Full`] when the stream has as many viewers as it may.
    pub fn seen(&self, client: Client<'_>, now: Instant, wall: WallTime) -> Result<Arc<SessionStats>, Full> {
        let key = self.hasher.hash_one((client.address, client.agent));
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = known.get_mut(&key) {
            known.last = now;
            return Ok(Arc::clone(&known.stats));
        }
        let mut others = known.values_mut().filter(|known| known.address == client.address);
        if let Some(last) = others.nth(MOST_AT_ONE_ADDRESS - 1) {
            last.last = now;
            return Ok(Arc::clone(&last.stats));
        }
        let agent = client.agent.get(..client.agent.floor_char_boundary(MOST_OF_AGENT));
        let stats = Arc::new(SessionStats::new(SessionInfo {
            stream: self.stream.name().clone(),
            role: Role::Viewer,
            protocol: "HLS",
            remote: Some(SocketAddr::new(client.address, 0)),
            agent: agent.filter(|agent| !agent.is_empty()).map(Arc::from),
            since: wall,
        }));
        if let Some(query) = public_query(client.query) {
            let _ = stats.query.set(query);
        }
        let viewing = self.stream.add_viewer(Arc::clone(&stats))?;
        let newcomer = Known {
            address: client.address,
            stats: Arc::clone(&stats),
            last: now,
            _viewing: viewing,
        };
        known.insert(key, newcomer);
        Ok(stats)
    }

    /// Those who have asked for nothing for three target durations have left.
    pub(super) fn forget_silent(&self, now: Instant, target: Option<Duration>) {
        let silence = SILENCE.max(3 * target.unwrap_or_default());
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|_, known| {
            let stays = now.saturating_duration_since(known.last) < silence;
            if !stays {
                known.stats.farewell.say("it asks for nothing any more");
            }
            stays
        });
    }
}
