//! What requests by HTTP do to sessions.
//!
//! Belongs here: making a viewer or a publisher out of an offer, fragments, goodbyes. Does not belong here: status codes and header fields
//! ([`crate::http`]).

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use media::hub::{Entry, Origin, Position, PublishError, Stream};
use media::stats::{GrantId, Role, SessionInfo, SessionStats};
use media::{Kind, StreamName, Track};
use protocol::webrtc::{Config, Fragment, Offer, Playout, Publisher, Refusal, View, Viewer, reorders};
use tokio::sync::{mpsc, oneshot};

use super::Service;
use super::fanout::Fanout;
use super::publish::Publishing;
use super::sessions::{Message, New, QUEUE, Session};
use super::thinning::Given;
use super::viewer::{Place, Seated, protocol_name};
use crate::forward::via;
use crate::secret::public_query;
use crate::source::Missing;

/// How often it is looked whether a session is gone.
const LOOK_AGAIN: Duration = Duration::from_millis(5);
/// Pictures of a group that are looked at for reordering: the second or third shows it.
const MAX_LOOKED_AT: usize = 600;
/// How long a task may take to start ICE anew, or to end a session.
const RESTART_TIME: Duration = Duration::from_secs(2);

/// What a session does with its stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Which {
    /// WHEP.
    Viewer,
    /// WHIP.
    Publisher,
}

/// Somebody's offer.
pub(crate) struct Asked {
    pub(crate) stream: StreamName,
    pub(crate) offer: bytes::Bytes,
    pub(crate) remote: IpAddr,
    pub(crate) agent: Option<Arc<str>>,
    /// Of the URL, as it was.
    pub(crate) query: Option<Box<str>>,
    /// By what it was let in, where that can end.
    pub(crate) grant: Option<GrantId>,
    /// `?latency=min`.
    pub(crate) at_once: bool,
    /// Through which servers what is published came.
    pub(crate) came_through: Vec<Box<str>>,
}

/// A session that was made.
pub(crate) struct Created {
    /// The last part of its URL.
    pub(crate) secret: String,
    pub(crate) etag: String,
    pub(crate) sdp: String,
}

/// Why there is no session.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refused {
    #[error(transparent)]
    NoStream(Missing),
    #[error("{0}")]
    Offer(Refusal),
    #[error("{limit} {what} are there already, which is the limit")]
    Full { what: &'static str, limit: usize },
    #[error(transparent)]
    Publish(PublishError),
    #[error(transparent)]
    Circle(#[from] via::Circle),
}

/// What became of a fragment.
pub(crate) enum Patched {
    /// There is no such session.
    Gone,
    /// Its `If-Match` means an ICE that was replaced.
    Outdated,
    /// Candidates, of which a lite agent needs none.
    Noted,
    /// ICE starts anew.
    Restarted { fragment: String, etag: String },
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        Self::Offer(refusal)
    }
}

impl Service {
    /// WHEP.
    pub(crate) async fn view(self: &Arc<Self>, asked: Asked) -> Result<Created, Refused> {
        let offer = Offer::parse(&asked.offer).map_err(Refusal::from)?;
        let found = self.streams.find_for(&asked.stream, asked.query.as_deref()).await;
        let stream = found.map_err(Refused::NoStream)?;
        self.room()?;
        // Asks the encoder for a keyframe, which then is there when the session is.
        let _ = stream.start(self.clock.now());
        let tracks = stream.tracks();
        let view = View {
            tracks: &tracks,
            reorders: is_reordered(&stream, &tracks),
            playout: if asked.at_once {
                Playout::AtOnce
            } else {
                Playout::Smooth
            },
        };
        let config = self.config(asked.remote)?;
        let answered = Viewer::answer(&offer, view, &config, &mut self.random.clone(), self.clock.now())?;
        for why in &answered.left_out {
            tracing::info!(asker = %asked.remote, stream = %asked.stream, %why, "WebRTC viewer: a track is left out");
        }
        let full = |full: media::hub::Full| Refused::Full {
            what: full.what,
            limit: full.limit,
        };
        let (inbox, counted) = Fanout::of(&stream, self).seat(&stream, self).map_err(full)?;
        let id = (self.random)();
        let registered = self.register(New {
            which: Which::Viewer,
            stream: &asked.stream,
            id,
            inbox: inbox.clone(),
            ours: &answered.ours.ufrag,
            theirs: &offer.credentials().ufrag,
            random: self.random,
        })?;
        let created = created(&registered.session, answered.sdp);
        let seated = Box::new(Seated {
            id,
            session: answered.session,
            registered,
            stream: asked.stream,
            asker: asked.remote,
            agent: asked.agent,
            query: asked.query.as_deref().and_then(public_query),
            grant: asked.grant,
            place: Place::Connecting,
            joined: None,
            given: Given::default(),
            connections: Vec::new(),
            _counted: counted,
        });
        // One whose task has just ended is dropped, and its URL with it: the peer asks again.
        let _ = inbox.send(Message::Join(seated)).await;
        Ok(created)
    }

    /// WHIP.
    pub(crate) fn publish(self: &Arc<Self>, asked: Asked) -> Result<Created, Refused> {
        via::check(&asked.came_through, &asked.stream)?;
        let offer = Offer::parse(&asked.offer).map_err(Refusal::from)?;
        self.room()?;
        let config = self.config(asked.remote)?;
        let now = self.clock.now();
        let answered = Publisher::answer(&offer, &config, &mut self.random.clone(), now)?;
        for why in &answered.left_out {
            tracing::warn!(asker = %asked.remote, stream = %asked.stream, %why, "WebRTC publisher: a track is left out");
        }
        let stats = Arc::new(SessionStats::new(SessionInfo {
            stream: asked.stream.clone(),
            role: Role::Publisher,
            protocol: protocol_name(None),
            // Its port is not known before it is heard by ICE.
            remote: Some(SocketAddr::new(asked.remote, 0)),
            agent: asked.agent,
            since: self.clock.wall(),
        }));
        let _ = stats.came_through.set(asked.came_through.into());
        if let Some(query) = asked.query.as_deref().and_then(public_query) {
            let _ = stats.query.set(query);
        }
        if let Some(grant) = asked.grant {
            let _ = stats.grant.set(grant);
        }
        let (sender, inbox) = mpsc::channel(QUEUE);
        let wish = sender.clone();
        let publishing = media::hub::Publishing {
            stats: Arc::clone(&stats),
            origin: Origin::Remote,
            // One that does not fit is wished for again in a second.
            keyframe_requests: Some(Arc::new(move || drop(wish.try_send(Message::KeyframeWanted)))),
        };
        let tracks = answered.session.tracks().to_vec();
        let id = (self.random)();
        let registered = self.register(New {
            which: Which::Publisher,
            stream: &asked.stream,
            id,
            inbox: sender,
            ours: &answered.ours.ufrag,
            theirs: &offer.credentials().ufrag,
            random: self.random,
        })?;
        let publisher = self
            .hub
            .publish(&asked.stream, tracks, publishing, now)
            .map_err(Refused::Publish)?;
        registered.session.tie(&stats);
        let created = created(&registered.session, answered.sdp);
        let publishing = Publishing {
            session: answered.session,
            publisher,
            stats,
            registered,
            stream: asked.stream,
            asker: asked.remote,
            inbox,
            service: Arc::clone(self),
        };
        tokio::spawn(publishing.run());
        Ok(created)
    }

    /// PATCH.
    pub(crate) async fn patch(
        &self,
        which: Which,
        (stream, secret): (&str, &str),
        fragment: Fragment,
        if_match: Option<&str>,
        remote: IpAddr,
    ) -> Patched {
        let Some(session) = self.sessions.by_secret(which, stream, secret) else {
            return Patched::Gone;
        };
        let etag = session.etag();
        let matches = |tags: &str| tags.trim() == "*" || tags.split(',').any(|tag| tag.trim() == etag);
        if if_match.is_some_and(|tags| !matches(tags)) {
            return Patched::Outdated;
        }
        let Some(theirs) = fragment.credentials.filter(|theirs| theirs.ufrag != session.theirs()) else {
            return Patched::Noted;
        };
        let (ours, answer) = oneshot::channel();
        let restart = Message::Restart {
            id: session.id,
            theirs,
            ours,
        };
        let sent = session.inbox.send(restart).await.is_ok();
        match tokio::time::timeout(RESTART_TIME, answer).await {
            Ok(Ok(ours)) if sent => Patched::Restarted {
                fragment: Fragment::answer(&ours, &self.candidates.list(remote)),
                etag: session.etag(),
            },
            _ => Patched::Gone,
        }
    }

    /// DELETE. Whether there was such a session.
    pub(crate) async fn end(&self, which: Which, stream: &str, secret: &str) -> bool {
        let Some(session) = self.sessions.by_secret(which, stream, secret) else {
            return false;
        };
        let sent = session.inbox.send(Message::Close { id: session.id }).await.is_ok();
        // Until it is gone, so that what is asked next is answered so.
        let gone = async {
            while sent && self.is_there(which, stream, secret) {
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        };
        let _ = tokio::time::timeout(RESTART_TIME, gone).await;
        sent
    }

    /// Whether there is such a session.
    pub(crate) fn is_there(&self, which: Which, stream: &str, secret: &str) -> bool {
        self.sessions.by_secret(which, stream, secret).is_some()
    }

    /// Said before anything is set up; what counts is [`super::sessions::Sessions::add`].
    fn room(&self) -> Result<(), Refused> {
        let limit = self.sessions.limit();
        if self.sessions.len() < limit {
            return Ok(());
        }
        Err(Refused::Full {
            what: "WebRTC sessions",
            limit,
        })
    }

    fn register(&self, new: New<'_>) -> Result<super::sessions::Registered, Refused> {
        self.sessions.add(new).map_err(|full| Refused::Full {
            what: "WebRTC sessions",
            limit: full.limit,
        })
    }

    fn config(&self, peer: IpAddr) -> Result<Config, Refused> {
        let identity = self.identity().map_err(|error| Refusal::Setup(error.to_string()))?;
        Ok(Config {
            identity,
            candidates: self.candidates.list(peer),
        })
    }
}

fn created(session: &Arc<Session>, sdp: String) -> Created {
    Created {
        secret: session.secret.clone(),
        etag: session.etag(),
        sdp,
    }
}

/// Whether pictures since the newest keyframe are shown in another order than they are sent in.
pub(crate) fn is_reordered(stream: &Stream, tracks: &[Track]) -> bool {
    if !tracks.iter().any(|track| track.kind() == Kind::Video) {
        return false;
    }
    let Some(keyframe) = stream.newest_keyframe() else {
        return false;
    };
    let mut position = Position::at(&keyframe);
    let mut entries: Vec<Arc<Entry>> = Vec::new();
    let _ = stream.read(&mut position, MAX_LOOKED_AT, &mut entries);
    entries.iter().any(|entry| reorders(&entry.frame))
}
