//! Commands that are run when something happens at a stream or connection.
//!
//! Belongs here: which command an event starts and which it ends ([`Hooks`]), those of connections ([`connections`]), one command while it runs ([`run`]), what it is told ([`variables`], [`sources`]).
//! Does not belong here: what happens ([`crate::events`]), how commands are written ([`crate::config::command`]), process groups ([`device::program`]).
//!
//! No shell sees a command, and none comes from HTTP: they stand in the settings file. What peers say stands in variables and inside of single
//! arguments, and never makes another argument of one.

mod connections;
mod run;
mod sources;
#[cfg(all(test, unix))]
mod tests;
mod variables;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use media::hub::Hub;
use media::stats::Role;
use media::{Clock, StreamName};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::config::hook::Hook;
use crate::config::live::Live;
use crate::config::settings::{Server, Settings, Stream};
use crate::config::stream_key::{StreamKey, look_up};
use crate::events::{Event, Heard, Listener, What};
use crate::log::notice::{Notice, Tell};
use crate::shutdown::{self, Shutdown, Trigger};
use connections::Connections;
use run::{Job, Length};
use sources::Sources;
use variables::Variables;
pub(crate) use variables::escaped;

/// Commands that run at a time. One more is not run.
const MOST: usize = 256;
/// How long commands may take to end when the program ends.
const END_WITHIN: Duration = Duration::from_millis(500);

/// Runs what settings say for each event.
pub struct Hooks {
    live: Arc<Live>,
    hub: Hub,
    clock: Arc<dyn Clock>,
    rtsp_port: u16,
    slots: Arc<Semaphore>,
    jobs: JoinSet<()>,
    /// Those that run as long as something lasts. Dropping the trigger ends one.
    lasting: HashMap<Lasting, Trigger>,
    connections: Connections,
    sources: Sources,
    full: Notice<Full>,
    /// Those of the tables, as they were started.
    started: BTreeMap<StreamName, (Hook, bool)>,
    /// What is run once is never told to end: it has its time, also when the program ends.
    never: (Trigger, Shutdown),
}

/// What lasts.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Lasting {
    /// The table of a stream, whether that is there or not.
    Table(StreamName),
    Stream(StreamName),
    Viewer(StreamName, u64),
}

/// A command that is not run.
#[derive(Debug)]
struct Full {
    stream: Option<StreamName>,
    most: usize,
}

impl Tell for Full {
    fn tell(&self, times: u64) {
        let stream = self.stream.as_ref().map(tracing::field::display);
        let what = if self.most == MOST {
            "commands"
        } else {
            "commands of connections"
        };
        tracing::warn!(
            stream,
            times,
            "{} {what} run already, which is the limit: one more is not run",
            self.most
        );
    }
}

impl Hooks {
    /// Without any running. `rtsp_port` is what commands are told of where RTSP is served.
    pub fn new(live: Arc<Live>, hub: Hub, clock: Arc<dyn Clock>, rtsp_port: u16) -> Self {
        let sources = Sources::new(hub.clone(), Arc::clone(&clock));
        Self {
            sources,
            live,
            hub,
            clock,
            rtsp_port,
            slots: Arc::new(Semaphore::new(MOST)),
            jobs: JoinSet::new(),
            lasting: HashMap::new(),
            connections: Connections::new(),
            full: Notice::default(),
            started: BTreeMap::new(),
            never: shutdown::channel(),
        }
    }

    /// Until the last event, and then until all commands have ended, but not for long.
    pub async fn run(mut self, mut listener: Listener) {
        let mut tables = self.live.part(of_tables);
        self.tables(&tables.now().clone());
        loop {
            tokio::select! {
                now = tables.changed() => self.tables(&now),
                heard = listener.next() => match heard {
                    Heard::Event(event) => {
                        self.sources.before(&event);
                        self.happened(&event);
                        self.sources.after(&event);
                    }
                    Heard::Missed(count) => self.missed(count),
                    Heard::MissedConnections(count) => self.missed_connections(count),
                    Heard::Ended => break,
                },
                Some(_) = self.jobs.join_next() => {}
            }
        }
        self.lasting.clear();
        self.connections.clear();
        let ended = async { while self.jobs.join_next().await.is_some() {} };
        // Those that take longer are killed with their tasks.
        let _ = tokio::time::timeout(END_WITHIN, ended).await;
    }

    /// Starts and ends what runs as long as a table is there.
    fn tables(&mut self, now: &BTreeMap<StreamName, (Hook, bool)>) {
        let before = std::mem::replace(&mut self.started, now.clone());
        for (stream, _) in before.iter().filter(|(stream, hook)| now.get(*stream) != Some(hook)) {
            self.lasting.remove(&Lasting::Table(stream.clone()));
        }
        for (stream, (hook, restart)) in now {
            if before
                .get(stream)
                .is_some_and(|known| (hook, restart) == (&known.0, &known.1))
            {
                continue;
            }
            let command = match hook.filled(None) {
                Ok(command) => command,
                Err(error) => {
                    tracing::warn!(%stream, reason = %error, "a command is not run");
                    continue;
                }
            };
            let (trigger, stop) = shutdown::channel();
            let job = Job {
                stream: Some(stream.clone()),
                command,
                variables: Variables::of_table(stream, self.rtsp_port),
                length: Length::Lasting { restart: *restart },
            };
            self.start(job, stop);
            self.lasting.insert(Lasting::Table(stream.clone()), trigger);
        }
    }

    fn happened(&mut self, event: &Event) {
        let settings = self.live.now();
        let Some(stream) = event.what.stream() else {
            return self.connection(event, &settings.server);
        };
        let Some((table, captures)) = look_up(&settings.stream, stream) else {
            return self.ends(event);
        };
        let variables = || Variables::new(event, captures.as_ref(), &self.sources, self.rtsp_port);
        let job = |command: &Option<Hook>, length| {
            let command = command.as_ref()?;
            match command.filled(captures.as_ref()) {
                Ok(command) => Some(Job {
                    stream: Some(stream.clone()),
                    command,
                    variables: variables(),
                    length,
                }),
                Err(error) => {
                    tracing::warn!(%stream, reason = %error, "a command is not run");
                    None
                }
            }
        };
        let Some((begins, ended)) = chosen(&event.what, table) else {
            return;
        };
        let begins = begins.and_then(|(command, restart)| job(command, Length::Lasting { restart }));
        let ended = ended.and_then(|command| job(command, Length::Once));
        self.ends(event);
        if let (Some(job), Some(lasting)) = (begins, begun(&event.what)) {
            let (trigger, stop) = shutdown::channel();
            self.start(job, stop);
            self.lasting.insert(lasting, trigger);
        }
        if let Some(job) = ended {
            self.start(job, self.never.1.clone());
        }
    }

    /// Starts and ends what is about a connection.
    fn connection(&mut self, event: &Event, settings: &Server) {
        self.connections.ended(event);
        let (hook, length) = match &event.what {
            What::Opened(_) => {
                let restart = settings.run_on_connect_restart;
                (&settings.run_on_connect, Length::Lasting { restart })
            }
            What::Closed(_) => (&settings.run_on_disconnect, Length::Once),
            _ => return,
        };
        let Some(hook) = hook else { return };
        let command = match hook.filled(None) {
            Ok(command) => command,
            Err(error) => {
                tracing::warn!(reason = %error, "a command is not run");
                return;
            }
        };
        let job = Job {
            stream: None,
            command,
            variables: Variables::new(event, None, &self.sources, self.rtsp_port),
            length,
        };
        if let What::Opened(connection) = &event.what {
            let (trigger, stop) = shutdown::channel();
            if self.start(job, stop) {
                self.connections.begun(connection, trigger);
            }
        } else {
            self.start(job, self.never.1.clone());
        }
    }

    /// Whether it is started: not where as many run as may.
    fn start(&mut self, job: Job, stop: Shutdown) -> bool {
        let of_connections = match job.stream {
            Some(_) => Ok(None),
            None => Arc::clone(self.connections.slots(&job.length))
                .try_acquire_owned()
                .map(Some),
        };
        let slots = match of_connections {
            Ok(of_connections) => match Arc::clone(&self.slots).try_acquire_owned() {
                Ok(slot) => Ok((slot, of_connections)),
                Err(_) => Err(MOST),
            },
            Err(_) => Err(connections::MOST),
        };
        match slots {
            Ok(slots) => {
                self.jobs.spawn(async move {
                    job.run(stop).await;
                    drop(slots);
                });
                true
            }
            Err(most) => {
                let stream = job.stream;
                self.full.happened(Full { stream, most }, self.clock.now());
                false
            }
        }
    }

    /// Ends what ran as long as something lasted that is over.
    fn ends(&mut self, event: &Event) {
        let over = match &event.what {
            What::StreamUnavailable(stream, _) => Lasting::Stream(stream.clone()),
            What::Left(parting) if parting.peer.role == Role::Viewer => {
                Lasting::Viewer(parting.peer.stream.clone(), parting.peer.session)
            }
            _ => return,
        };
        self.lasting.remove(&over);
    }

    fn missed_connections(&mut self, count: u64) {
        tracing::warn!(
            count,
            "events of connections came faster than commands are started; those of connections that are gone are ended"
        );
        self.connections.missed();
    }

    /// Events that were not heard may have been ends.
    fn missed(&mut self, count: u64) {
        tracing::warn!(
            count,
            "events came faster than commands are started; those of streams, viewers and connections that are gone are ended"
        );
        self.connections.missed();
        self.sources.missed();
        let now = self.clock.now();
        let hub = &self.hub;
        self.lasting.retain(|lasting, _| match lasting {
            Lasting::Table(_) => true,
            Lasting::Stream(stream) => hub.stream(stream, now).is_ok(),
            Lasting::Viewer(stream, id) => hub
                .stream(stream, now)
                .is_ok_and(|stream| stream.sessions().iter().any(|stats| stats.id.get() == *id)),
        });
    }
}

/// How a source is that was needed and is not any more, or could not be had.
const OVER: [&str; 2] = ["idle", "failed"];

/// The commands of tables, and whether they are started again.
fn of_tables(settings: &Settings) -> BTreeMap<StreamName, (Hook, bool)> {
    let tables = settings.stream.iter().filter_map(|(key, table)| match key {
        StreamKey::Name(name) => Some((name.clone(), (table.run_on_start.clone()?, table.run_on_start_restart))),
        StreamKey::Expression(_) => None,
    });
    tables.collect()
}

type Command<'a> = &'a Option<Hook>;

/// What is run as long as it lasts, and whether again and again, and what is run once.
#[expect(clippy::type_complexity, reason = "two answers to one question, read in one place")]
fn chosen<'a>(what: &What, table: &'a Stream) -> Option<(Option<(Command<'a>, bool)>, Option<Command<'a>>)> {
    match what {
        What::StreamAvailable(_) => Some((Some((&table.run_on_available, table.run_on_available_restart)), None)),
        What::StreamUnavailable(..) => Some((None, Some(&table.run_on_unavailable))),
        What::Joined(peer) if peer.role == Role::Viewer => {
            Some((Some((&table.run_on_read, table.run_on_read_restart)), None))
        }
        What::Left(parting) if parting.peer.role == Role::Viewer => Some((None, Some(&table.run_on_unread))),
        What::Source(source) if OVER.contains(&source.state) => Some((None, Some(&table.run_on_undemand))),
        _ => None,
    }
}

fn begun(what: &What) -> Option<Lasting> {
    match what {
        What::StreamAvailable(stream) => Some(Lasting::Stream(stream.clone())),
        What::Joined(peer) if peer.role == Role::Viewer => Some(Lasting::Viewer(peer.stream.clone(), peer.session)),
        _ => None,
    }
}
