//! The thread that writes, and those who ask it.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use media::Clock;
use rusqlite::{Connection, ErrorCode, TransactionBehavior};
use tokio::sync::{oneshot, watch};

use super::audit::{self, Entry, Query, Row};
use super::schema::{self, Unreadable};
use super::{read, write};
use crate::auth::people::{Change, People, Refused, Session};
use crate::database;

/// What is kept of people, and its thread.
#[derive(Debug)]
pub struct Control {
    asks: Mutex<Option<SyncSender<Ask>>>,
    people: watch::Receiver<Arc<People>>,
    unreadable: Option<Unreadable>,
    device_key: [u8; 32],
    /// Lines that nobody waits for, and that are not written yet.
    notes: Arc<AtomicUsize>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// Why a change is not in force. The texts say what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotDone {
    /// It may not be.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// There is no file that could keep it.
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
    /// The disk is full.
    #[error("the disk of the state folder is full; make room, and try again")]
    NoRoom,
    /// Writing failed otherwise.
    #[error("the state folder cannot be written: {0}; look at its disk and at the log of the system")]
    Failed(String),
    /// Too much waits to be written.
    #[error("too many changes wait to be written; try again in a second")]
    Busy,
    /// The program ends.
    #[error("the program ends")]
    Closed,
}

type Reply<T> = oneshot::Sender<Result<T, NotDone>>;

enum Ask {
    Change(Box<Change>, Reply<()>),
    Audit(Box<Entry>, Option<Reply<()>>),
    Audited(Box<Query>, Reply<Vec<Row>>),
    ReadAgain(Reply<()>),
}

impl Control {
    /// Opens the file of this folder and reads all of it; makes it where there is none.
    ///
    /// # Errors
    /// [`Unreadable`].
    pub fn open(folder: &Path, clock: Arc<dyn Clock>) -> Result<Self, Unreadable> {
        let path = folder.join(schema::FILE);
        let connection = schema::open(&path)?;
        let read = read::everybody(&connection).and_then(|people| Ok((people, read::device_key(&connection)?)));
        let (people, key) = read.map_err(|error| Unreadable::of_sqlite(&path, &error))?;
        Ok(Self::start(Some((connection, path)), (people, key), None, clock))
    }

    /// Where the file cannot be read: nobody of it is let in, and nothing is kept. Who shows another credential can sign in until the program ends.
    pub fn without(unreadable: Unreadable, clock: Arc<dyn Clock>) -> Self {
        Self::start(None, (People::default(), super::random_key()), Some(unreadable), clock)
    }

    fn start(
        file: Option<(Connection, PathBuf)>,
        (people, device_key): (People, [u8; 32]),
        unreadable: Option<Unreadable>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let (asks, asked) = sync_channel(MAX_WAITING);
        let (told, watched) = watch::channel(Arc::new(people));
        let store = Store {
            file,
            told,
            clock,
            unreadable: unreadable.clone(),
            seen_us: 0,
            notes: Arc::default(),
            copy_tried_us: i64::MIN,
        };
        let notes = Arc::clone(&store.notes);
        let thread = std::thread::Builder::new().name("store".to_owned());
        let thread = thread.spawn(move || store.run(&asked)).ok();
        Self {
            // Without a thread nobody is at the other end, and all that is asked is refused.
            asks: Mutex::new(thread.is_some().then_some(asks)),
            people: watched,
            unreadable,
            device_key,
            notes,
            thread: Mutex::new(thread),
        }
    }

    /// Everybody, as they are now and as they become.
    pub fn people(&self) -> watch::Receiver<Arc<People>> {
        self.people.clone()
    }

    /// Everybody, now.
    pub fn now(&self) -> Arc<People> {
        Arc::clone(&self.people.borrow())
    }

    /// Why nobody of it is let in.
    pub fn unreadable(&self) -> Option<&Unreadable> {
        self.unreadable.as_ref()
    }

    /// What cookies of devices are sealed with.
    pub fn device_key(&self) -> &[u8; 32] {
        &self.device_key
    }

    /// Makes it so. Answers when it is on the disk, and in force.
    ///
    /// # Errors
    /// [`NotDone`]; then all is as it was.
    pub async fn change(&self, change: Change) -> Result<(), NotDone> {
        self.ask(|reply| Ask::Change(Box::new(change), reply)).await
    }

    /// The same from a thread that may wait.
    ///
    /// # Errors
    /// As [`Control::change`].
    pub fn change_now(&self, change: Change) -> Result<(), NotDone> {
        let (reply, answer) = oneshot::channel();
        self.send(Ask::Change(Box::new(change), reply))?;
        answer.blocking_recv().unwrap_or(Err(NotDone::Closed))
    }

    /// Writes a line of the audit log, and answers when it is there.
    ///
    /// # Errors
    /// [`NotDone`].
    pub async fn audit(&self, entry: Entry) -> Result<(), NotDone> {
        self.ask(|reply| Ask::Audit(Box::new(entry), Some(reply))).await
    }

    /// The same for what nobody waits for. Of these few may wait at a time, so that changes find room whatever strangers do.
    ///
    /// # Errors
    /// [`NotDone::Busy`] where as many wait; then it is lost.
    pub fn note(&self, entry: Entry) -> Result<(), NotDone> {
        if self.notes.fetch_add(1, Relaxed) >= MAX_NOTES {
            self.notes.fetch_sub(1, Relaxed);
            return Err(NotDone::Busy);
        }
        let sent = self.send(Ask::Audit(Box::new(entry), None));
        if sent.is_err() {
            self.notes.fetch_sub(1, Relaxed);
        }
        sent
    }

    /// Lines of the audit log, the newest first.
    ///
    /// # Errors
    /// [`NotDone`].
    pub async fn audited(&self, query: Query) -> Result<Vec<Row>, NotDone> {
        self.ask(|reply| Ask::Audited(Box::new(query), reply)).await
    }

    /// Reads all of it again: another process may have written to it.
    ///
    /// # Errors
    /// [`NotDone`]; then all is as it was.
    pub async fn read_again(&self) -> Result<(), NotDone> {
        self.ask(Ask::ReadAgain).await
    }

    /// Writes what waits, and lets go of the file.
    pub fn close(&self) {
        drop(self.asks.lock().unwrap_or_else(PoisonError::into_inner).take());
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            // A panic in it was reported already.
            let _ = thread.join();
        }
    }

    async fn ask<T>(&self, ask: impl FnOnce(Reply<T>) -> Ask) -> Result<T, NotDone> {
        let (reply, answer) = oneshot::channel();
        self.send(ask(reply))?;
        answer.await.unwrap_or(Err(NotDone::Closed))
    }

    fn send(&self, ask: Ask) -> Result<(), NotDone> {
        let asks = self.asks.lock().unwrap_or_else(PoisonError::into_inner);
        match asks.as_ref().map(|asks| asks.try_send(ask)) {
            Some(Ok(())) => Ok(()),
            Some(Err(TrySendError::Full(_))) => Err(NotDone::Busy),
            Some(Err(TrySendError::Disconnected(_))) | None => Err(NotDone::Closed),
        }
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        self.close();
    }
}

/// What the thread has.
pub(super) struct Store {
    /// `None`: nothing can be kept.
    pub(super) file: Option<(Connection, PathBuf)>,
    pub(super) told: watch::Sender<Arc<People>>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) unreadable: Option<Unreadable>,
    /// When uses were written last.
    pub(super) seen_us: i64,
    /// Lines that nobody waits for.
    pub(super) notes: Arc<AtomicUsize>,
    /// When it was looked last whether a copy is due.
    pub(super) copy_tried_us: i64,
}

impl Store {
    fn run(mut self, asked: &Receiver<Ask>) {
        self.seen_us = self.clock.wall().unix_micros();
        self.copy();
        loop {
            self.keep();
            match asked.recv_timeout(LOOK_EVERY) {
                Ok(ask) => self.answer(ask),
                // Nobody waits.
                Err(RecvTimeoutError::Timeout) => self.copy(),
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        // What is lost here is when somebody was seen last.
        let _ = self.change(&Change::Seen);
    }

    fn answer(&mut self, ask: Ask) {
        match ask {
            // Whoever asked may be gone; it is done all the same.
            Ask::Change(change, reply) => drop(reply.send(self.change(&change))),
            Ask::Audit(entry, reply) => {
                let written = self.with_file(|connection| audit::write(connection, &entry));
                match reply {
                    Some(reply) => drop(reply.send(written)),
                    None => drop(self.notes.fetch_sub(1, Relaxed)),
                }
            }
            Ask::ReadAgain(reply) => {
                let read = self.with_file(|connection| read::everybody(connection));
                drop(reply.send(read.map(|people| {
                    self.told.send_replace(Arc::new(people));
                })));
            }
            Ask::Audited(query, reply) => {
                drop(reply.send(self.with_file(|connection| audit::read(connection, &query))));
            }
        }
    }

    /// Forgets what is over, writes when somebody was seen.
    fn keep(&mut self) {
        let now = self.clock.wall();
        if self.told.borrow().holds_over(now) {
            let _ = self.change(&Change::Expire(now));
        }
        if now.unix_micros().saturating_sub(self.seen_us) >= SEEN_EVERY_US {
            self.seen_us = now.unix_micros();
            let _ = self.change(&Change::Seen);
            let _ = self.with_file(|connection| audit::trim(connection, now));
        }
    }

    /// Copies once a day. Where that fails it is not tried again at once: a copy that finds no room fills what room there is.
    pub(super) fn copy(&mut self) {
        let now_us = self.clock.wall().unix_micros();
        if now_us.saturating_sub(self.copy_tried_us).unsigned_abs() < COPY_TRIED_EVERY_US {
            return;
        }
        self.copy_tried_us = now_us;
        if let Some((connection, path)) = &self.file
            && is_copy_due(path)
            && let Err(error) = schema::copy(connection, path)
        {
            tracing::warn!("the accounts could not be copied: {error}");
        }
    }

    /// Writes a change, and then tells of it.
    pub(super) fn change(&mut self, change: &Change) -> Result<(), NotDone> {
        let mut people = People::clone(&self.told.borrow());
        people.check(change)?;
        let kept = self.kept(&people, change);
        let in_memory = match (&kept, change) {
            (Ok(()), change) => change.clone(),
            // Who is let in is let in, and who goes is gone, whatever the disk does.
            (Err(_), Change::Begin(session)) => Change::Begin(Arc::new(unkept(session))),
            (Err(_), Change::End(_) | Change::EndAll { .. } | Change::Expire(_)) => change.clone(),
            (Err(_), _) => return kept,
        };
        let needs_disk = match change {
            Change::Begin(_) => false,
            Change::End(sum) => people.sessions().any(|session| session.sum == *sum && session.kept),
            _ => true,
        };
        people.apply(&in_memory);
        if !matches!(change, Change::Seen) {
            self.told.send_replace(Arc::new(people));
        }
        match needs_disk {
            true => kept,
            false => Ok(()),
        }
    }

    fn kept(&mut self, people: &People, change: &Change) -> Result<(), NotDone> {
        self.with_file(|connection| {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            write::write(&transaction, people, change)?;
            transaction.commit()
        })
    }

    fn with_file<T>(&mut self, work: impl FnOnce(&mut Connection) -> rusqlite::Result<T>) -> Result<T, NotDone> {
        let Some((connection, _)) = &mut self.file else {
            return Err(self.unreadable.clone().map_or(NotDone::Closed, NotDone::Unreadable));
        };
        work(connection).map_err(|error| {
            let not_done = match error.sqlite_error_code() {
                Some(ErrorCode::DiskFull) => NotDone::NoRoom,
                _ => NotDone::Failed(error.to_string()),
            };
            tracing::warn!("accounts: {not_done}");
            not_done
        })
    }
}

/// As it is where nothing can be kept.
fn unkept(session: &Session) -> Session {
    Session {
        sum: session.sum,
        owner: session.owner.clone(),
        made_at: session.made_at,
        seen_us: session.seen_at().unix_micros().into(),
        ends_at: session.ends_at,
        remote: session.remote,
        agent: session.agent.clone(),
        kept: false,
    }
}

/// Whether the copy is a day old, or there is none.
fn is_copy_due(path: &Path) -> bool {
    let copy = database::beside(path, schema::COPY);
    let made = std::fs::metadata(copy).and_then(|metadata| metadata.modified());
    let age = made.map(|made| SystemTime::now().duration_since(made));
    match age {
        Ok(Ok(age)) => age >= COPY_EVERY,
        // Made in what is the future now.
        Ok(Err(_)) => false,
        Err(_) => true,
    }
}

/// Changes and lines that wait.
const MAX_WAITING: usize = 1_024;
/// Of them lines that nobody waits for.
const MAX_NOTES: usize = 64;
/// How often is looked whether something is over.
const LOOK_EVERY: Duration = Duration::from_secs(1);
const SEEN_EVERY_US: i64 = 3_600_000_000;
const COPY_EVERY: Duration = Duration::from_secs(86_400);
const COPY_TRIED_EVERY_US: u64 = 3_600_000_000;
