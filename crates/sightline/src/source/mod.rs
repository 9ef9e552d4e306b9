//! Streams that this server fetches, and the one place where a stream that is not there is looked up.
//!
//! Belongs here: which source a name has ([`plan`]), which is the lower rendition of another ([`lower`]), one attempt at one ([`rtsp`], [`whep`], [`hls`], [`onvif`]) and what it does to the hub ([`Sink`]), what is wrong with one and what to do about it ([`why`]), trying one out before it is set ([`probe`]), when attempts are
//! made ([`machine`], which decides without I/O, and [`entry`], which does what it says), who waits for them ([`Supervisor::find`]). Does
//! not belong here: how RTSP is spoken ([`crate::rtsp::client`]), who takes over from whom (the hub): a source is a publisher like others.

mod camera;
mod counting;
mod entry;
mod exec;
mod hls;
pub(crate) mod lower;
mod machine;
mod onvif;
mod plan;
pub mod probe;
mod rtsp;
mod sink;
#[cfg(test)]
pub(crate) mod tests;
mod whep;
mod why;

use std::collections::BTreeMap;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use media::hub::{Hub, NotFound, Stream};
use media::{Clock, StreamName};
use tokio::sync::watch;

use crate::auth::Auth;
use crate::camera::Lowers;
use crate::config::settings;
use crate::config::stream_key::StreamKey;
use crate::config::stream_source::Place;
use crate::events::Events;
use crate::shutdown::Shutdown;
use crate::state::credentials::Credentials;
use entry::Entry;
pub use entry::Report;
pub use machine::State;
use plan::{Found, Plan};
pub use sink::Sink;
pub use why::{Cause, Why};

/// How long somebody waits for a source to give its first picture.
const SOURCE_START: Duration = Duration::from_secs(10);
/// How long for a camera or slate of this machine: right after the start of the program.
const CAMERA_START: Duration = Duration::from_secs(3);
/// How often these are looked for.
const LOOK_AGAIN: Duration = Duration::from_millis(5);
/// How long sources may take leave of their servers when the program ends.
const LEAVE_WITHIN: Duration = Duration::from_millis(500);

/// A source of a stream.
pub trait Source: Send {
    /// One attempt: connects, publishes what comes into the sink, until it is told to stop or cannot go on.
    fn run<'a>(&'a mut self, sink: &'a mut Sink, stop: Shutdown) -> Pin<Box<dyn Future<Output = Ended> + Send + 'a>>;
}

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It was told to.
    Stopped,
    /// By itself.
    Failed(Why),
}

/// Kinds of what can go wrong. Their text is for viewers, whom it does not concern where the stream comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
    /// Nobody answers there.
    #[error("its source cannot be reached")]
    Unreachable,
    /// The source was shown a login, and refused it.
    #[error("its source does not accept the login that is set for it")]
    Login,
    /// The source wants a login, and was shown none: none is set, or it asks for one of a kind that we do not have.
    #[error("its source wants a login that is not set for it")]
    LoginNeeded,
    /// The login that is set for it is for another, or is not there: it is not asked.
    #[error("the login that is set for its source is not for it")]
    Credential,
    /// It shows a certificate that is not believed.
    #[error("its source shows a certificate that is not believed")]
    Certificate,
    /// The source has no such stream.
    #[error("its source does not have it")]
    NotThere,
    /// It gives nothing that can be used.
    #[error("its source gives nothing that can be used here")]
    Unusable,
    /// It ended or broke.
    #[error("its source has ended")]
    Ended,
    /// The program that gives it cannot be started.
    #[error("the program that gives it cannot be started")]
    Program,
    /// Somebody else publishes the stream.
    #[error("somebody else publishes it")]
    Occupied,
    /// A bug of ours.
    #[error("a bug of this server ended its source")]
    Bug,
}

impl Trouble {
    /// Whether it stays so until a person changes something. Cameras lock accounts that guess.
    fn is_lasting(self) -> bool {
        matches!(
            self,
            Self::Login | Self::LoginNeeded | Self::Credential | Self::Certificate | Self::NotThere | Self::Program
        )
    }
}

/// Why somebody does not get a stream. The text is for viewers.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Missing {
    /// Nobody publishes it.
    #[error(transparent)]
    NotFound(#[from] NotFound),
    /// Its source failed.
    #[error("\"{stream}\" is not there: {trouble}; the log of this server says more")]
    Failed {
        /// The stream.
        stream: StreamName,
        /// What is wrong.
        trouble: Trouble,
    },
    /// Its source takes long.
    #[error("\"{stream}\" is not there: its source gave no picture within {} s; the log of this server may say more", SOURCE_START.as_secs())]
    Slow {
        /// The stream.
        stream: StreamName,
    },
    /// More streams are fetched than may be.
    #[error("\"{stream}\" is not there: {limit} streams are fetched already, which is the limit")]
    Full {
        /// The stream.
        stream: StreamName,
        /// How many may be.
        limit: usize,
    },
    /// It is to be played elsewhere, by RTSP alone.
    #[error("\"{stream}\" is played from another server, to which RTSP players alone are sent")]
    Elsewhere {
        /// The stream.
        stream: StreamName,
        /// Where.
        to: protocol::rtsp::url::Url,
    },
}

/// What a supervisor needs.
pub struct World {
    /// Where streams go.
    pub hub: Hub,
    /// Where it is told how sources are.
    pub events: Arc<Events>,
    /// Where the time comes from.
    pub clock: Arc<dyn Clock>,
    /// Unpredictable numbers.
    pub random: fn() -> u64,
    /// Streams that cameras and slates of this machine will give, if not at once.
    pub soon: Vec<StreamName>,
    /// Cameras of this machine that give a second stream.
    pub lowers: Arc<Lowers>,
}

/// What asks a place. One attempt is made with it.
fn open(place: &Place, plan: &Plan, stream: &StreamName, supervisor: &Supervisor) -> Box<dyn Source> {
    let world = &supervisor.world;
    match place {
        Place::Exec(command) => Box::new(exec::Exec::new(command.clone(), stream, supervisor)),
        Place::Rtsp(url) => Box::new(rtsp::Pull::new(
            url.clone(),
            plan,
            Arc::clone(&world.clock),
            world.random,
        )),
        Place::Onvif(device) => Box::new(onvif::Pull::new(
            device.clone(),
            plan,
            Arc::clone(&world.clock),
            world.random,
        )),
        Place::Hls(url) => Box::new(hls::Pull::new(url.clone(), plan, Arc::clone(&world.clock))),
        Place::Lower(name) => Box::new(camera::Lower::new(
            name.clone(),
            Arc::clone(&world.lowers),
            Arc::clone(&world.clock),
        )),
        Place::Whep(url) => Box::new(whep::Pull::new(
            url.clone(),
            plan,
            Arc::clone(&world.clock),
            world.random,
        )),
    }
}

/// Keeps the sources of all streams going.
pub struct Supervisor {
    world: World,
    shutdown: Shutdown,
    tables: Mutex<Tables>,
    /// Where programs publish that we run.
    front: OnceLock<Front>,
    /// Logins that are kept apart from the settings.
    credentials: OnceLock<Arc<Credentials>>,
}

/// Where we take streams by RTSP ourselves.
struct Front {
    address: SocketAddr,
    auth: Arc<Auth>,
}

#[derive(Default)]
struct Tables {
    settings: BTreeMap<StreamKey, settings::Stream>,
    entries: BTreeMap<StreamName, Arc<Entry>>,
}

/// What is known of a stream that somebody looks for.
enum Prospect {
    /// It has a source.
    Source(Arc<Entry>),
    /// A camera or slate of this machine is about to give it.
    Soon,
    /// If anybody, a publisher gives it.
    Publisher,
}

impl Supervisor {
    /// Without sources. Those of [`Supervisor::set`] run until `shutdown`.
    pub fn new(world: World, shutdown: Shutdown) -> Arc<Self> {
        Arc::new(Self {
            world,
            shutdown,
            tables: Mutex::default(),
            front: OnceLock::new(),
            credentials: OnceLock::new(),
        })
    }

    /// For tests of what is served, not fetched.
    #[cfg(test)]
    pub(crate) fn without_sources(hub: &Hub, clock: &Arc<dyn Clock>) -> Arc<Self> {
        let world = World {
            hub: hub.clone(),
            events: Events::new(hub, Arc::clone(clock)),
            clock: Arc::clone(clock),
            random: crate::random::bits,
            soon: Vec::new(),
            lowers: Arc::default(),
        };
        let (trigger, shutdown) = crate::shutdown::channel();
        // It ends with the test.
        std::mem::forget(trigger);
        Self::new(world, shutdown)
    }

    /// Says where programs that we run reach our own RTSP port, and who judges what they show there.
    pub fn publish_at(&self, address: SocketAddr, auth: Arc<Auth>) {
        // It is said once.
        let _ = self.front.set(Front { address, auth });
    }

    /// Says where logins are that are kept apart from the settings. Without it there are none.
    pub fn keep_credentials(&self, credentials: Arc<Credentials>) {
        // It is said once.
        let _ = self.credentials.set(credentials);
    }

    /// Logins that are kept apart from the settings.
    pub fn credentials(&self) -> Arc<Credentials> {
        let none = || Arc::new(Credentials::none("this command keeps none"));
        Arc::clone(self.credentials.get_or_init(none))
    }

    /// Where streams are that are there.
    pub fn hub(&self) -> &Hub {
        &self.world.hub
    }

    /// What happens at streams, their sources among it.
    pub fn events(&self) -> &Arc<Events> {
        &self.world.events
    }

    /// Changes what is set: sources whose settings stay are not touched. To be called within the runtime.
    pub fn set(self: &Arc<Self>, settings: &BTreeMap<StreamKey, settings::Stream>) {
        let mut tables = self.lock();
        tables.settings.clone_from(settings);
        let mut before = std::mem::take(&mut tables.entries);
        let names = settings.keys().filter_map(|key| match key {
            StreamKey::Name(name) => Some(name),
            StreamKey::Expression(_) => None,
        });
        let found: Vec<StreamName> = before.keys().chain(names).cloned().collect();
        for name in found {
            if tables.entries.contains_key(&name) {
                continue;
            }
            let there = before.remove(&name);
            let Some(Found::Source { plan, given }) = self.found(settings, &name) else {
                there.iter().for_each(|entry| entry.retire());
                continue;
            };
            let entry = match there {
                Some(entry) if *entry.plan() == plan => entry,
                there => self.start(name.clone(), plan, given, there),
            };
            tables.entries.insert(name, entry);
        }
    }

    /// The stream of this name: the one that is there, or that its source or this machine is about to give.
    ///
    /// # Errors
    /// [`Missing`], after ten seconds at the latest.
    pub async fn find(self: &Arc<Self>, name: &StreamName) -> Result<Arc<Stream>, Missing> {
        self.find_for(name, None).await
    }

    /// As [`Supervisor::find`], for somebody whose URL has this query; a program that is started by it is told, without credentials.
    ///
    /// # Errors
    /// [`Missing`], after ten seconds at the latest.
    pub async fn find_for(self: &Arc<Self>, name: &StreamName, query: Option<&str>) -> Result<Arc<Stream>, Missing> {
        let clock = &self.world.clock;
        let begun = clock.now();
        let prospect = self.prospect(name, query, begun)?;
        let mut changes = match &prospect {
            Prospect::Source(entry) => Some(entry.changes()),
            Prospect::Soon | Prospect::Publisher => None,
        };
        let deadline = begun + prospect.patience();
        loop {
            let now = clock.now();
            let missing = match self.world.hub.stream(name, now) {
                Ok(stream) => return Ok(stream),
                Err(missing) => missing,
            };
            if let Prospect::Source(entry) = &prospect {
                if let Some(trouble) = entry.trouble_until(deadline) {
                    let stream = name.clone();
                    return Err(Missing::Failed { stream, trouble });
                }
                if now >= deadline {
                    let stream = name.clone();
                    return Err(Missing::Slow { stream });
                }
            } else if now >= deadline {
                return Err(missing.into());
            }
            match &mut changes {
                Some(changes) => wait(changes, deadline).await,
                None => tokio::time::sleep(LOOK_AGAIN).await,
            }
        }
    }

    /// Somebody goes on needing a stream: its source, if it has one, is started or goes on.
    pub(crate) fn need(self: &Arc<Self>, name: &StreamName) {
        // Why it is not there is told by its source.
        let _ = self.prospect(name, None, self.world.clock.now());
    }

    /// Streams that cameras and slates of this machine will give, and that are not there yet.
    pub fn awaited(&self) -> impl Iterator<Item = &StreamName> {
        let now = self.world.clock.now();
        let names = self.world.soon.iter();
        names.filter(move |name| self.world.hub.stream(name, now).is_err())
    }

    /// How all sources are, by the names of their streams.
    pub fn reports(&self) -> Vec<Report> {
        let entries: Vec<Arc<Entry>> = self.lock().entries.values().cloned().collect();
        entries.iter().map(|entry| entry.report(&*self.world.clock)).collect()
    }

    /// Where a stream comes from, as it may be shown.
    pub fn source_of(&self, name: &StreamName) -> Option<String> {
        let entry = self.lock().entries.get(name).cloned()?;
        Some(entry.shown_place())
    }

    /// The query of who was the first to want a stream that is fetched on demand.
    fn query_of(&self, name: &StreamName) -> Option<Arc<str>> {
        let entry = self.lock().entries.get(name).cloned()?;
        entry.query()
    }

    /// Waits for the end of the program, and then until sources have taken leave of their servers, but not for long.
    pub async fn run(self: Arc<Self>) {
        self.shutdown.requested().await;
        let entries: Vec<Arc<Entry>> = self.lock().entries.values().cloned().collect();
        let gone = async {
            for entry in entries {
                entry.gone().await;
            }
        };
        let _ = tokio::time::timeout(LEAVE_WITHIN, gone).await;
    }

    /// Where the stream may come from, whose source begins to run.
    fn prospect(self: &Arc<Self>, name: &StreamName, query: Option<&str>, now: Instant) -> Result<Prospect, Missing> {
        let mut tables = self.lock();
        if let Some(entry) = tables.entries.get(name) {
            entry.wanted(query, now);
            return Ok(Prospect::Source(Arc::clone(entry)));
        }
        match self.found(&tables.settings, name) {
            Some(Found::Source { plan, given }) => {
                let limit = self.world.hub.limits().streams;
                if tables.entries.len() >= limit {
                    let stream = name.clone();
                    return Err(Missing::Full { stream, limit });
                }
                let entry = self.start(name.clone(), plan, given, None);
                entry.wanted(query, now);
                tables.entries.insert(name.clone(), Arc::clone(&entry));
                Ok(Prospect::Source(entry))
            }
            Some(Found::Elsewhere(to)) => Err(Missing::Elsewhere {
                stream: name.clone(),
                to,
            }),
            Some(Found::Unusable(why)) => {
                tracing::warn!(stream = %name, reason = why, "the source of a stream cannot be asked with what its expression found");
                let (stream, trouble) = (name.clone(), Trouble::Unusable);
                Err(Missing::Failed { stream, trouble })
            }
            // Its slate takes a moment to its first picture.
            None if self.world.soon.contains(name) || is_always_available(&tables.settings, name) => Ok(Prospect::Soon),
            None => Ok(Prospect::Publisher),
        }
    }

    /// What is known of a stream by its name: settings first.
    fn found(&self, settings: &BTreeMap<StreamKey, settings::Stream>, name: &StreamName) -> Option<Found> {
        let lower = || {
            let camera = lower::upper(name).filter(|camera| self.world.lowers.has(camera))?;
            Some(Found::Source {
                plan: Plan::of_lower(camera),
                given: true,
            })
        };
        let lower = || lower().or_else(|| plan::lower_of_camera(settings, name));
        let named = settings.contains_key(&StreamKey::Name(name.clone()));
        // A camera with a table of its own is meant rather than whatever an expression makes of the name.
        let first = if named { None } else { lower() };
        let found = first.or_else(|| plan::find(settings, name)).or_else(lower)?;
        Some(match found {
            Found::Source { plan, given } => Found::Source {
                plan: plan.logged_in(&self.credentials()),
                given,
            },
            other => other,
        })
    }

    fn start(
        self: &Arc<Self>,
        name: StreamName,
        plan: Plan,
        by_expression: bool,
        before: Option<Arc<Entry>>,
    ) -> Arc<Entry> {
        let entry = Entry::new(name, plan, by_expression, &self.world);
        tokio::spawn(entry::supervise(Arc::clone(&entry), Arc::clone(self), before));
        entry
    }

    /// Forgets an entry that nobody needs. Says whether it did: being wanted and being forgotten exclude each other.
    fn forget(&self, entry: &Arc<Entry>) -> bool {
        let mut tables = self.lock();
        if !entry.is_idle() {
            return false;
        }
        if (tables.entries.get(entry.name())).is_some_and(|there| Arc::ptr_eq(there, entry)) {
            tables.entries.remove(entry.name());
        }
        true
    }

    fn lock(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_always_available(settings: &BTreeMap<StreamKey, settings::Stream>, name: &StreamName) -> bool {
    let table = settings.get(&StreamKey::Name(name.clone()));
    table.is_some_and(|stream| stream.always_available)
}

impl Prospect {
    fn patience(&self) -> Duration {
        match self {
            Self::Source(_) => SOURCE_START,
            Self::Soon => CAMERA_START,
            Self::Publisher => Duration::ZERO,
        }
    }
}

/// Until something has changed, or then.
async fn wait(changes: &mut watch::Receiver<u64>, deadline: Instant) {
    let gone = tokio::time::timeout_at(deadline.into(), changes.changed()).await;
    // Its task is gone, so nothing will change.
    if matches!(gone, Ok(Err(_))) {
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}
