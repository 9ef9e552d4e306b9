//! Settings that change while the program runs.
//!
//! Belongs here: the one place that changes them ([`Live`]), by the API or by a changed file ([`watch()`]); what the change is ([`Diff`]); who is told ([`Part`]).
//! Does not belong here: what a setting does, who may change it ([`crate::auth`]).
//!
//! The file is the truth. A change by the API is a change of its text, which is then read like one by hand: what is announced is what the file
//! says, together with variables and flags, which win over it as at the start. A file that has an error changes nothing.

mod adjustable;
mod diff;
mod edit;
mod forms;
mod redacted;
mod refuse;
mod store;
#[cfg(test)]
mod tests;
mod text;
mod view;
mod watch;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::{fmt, io};

use tokio::sync::watch as channel;

pub use adjustable::Adjustable;
pub use diff::{Change, Diff, Takes};
pub use edit::{Edit, Step};
pub use forms::schema;
pub use text::FileText;
pub use view::View;
pub use watch::{reread, watch};

use text::{OF_MEDIAMTX, read_only, shown_of, version_of, with_secrets};

use super::file;
use super::keys;
use super::load::{Loaded, key_of, load_text, problem, unreadable};
use super::mediamtx;
use super::problem::{Origin, Problem};
use super::settings::Settings;
use crate::events::Events;
use crate::state;

/// Settings that may change. One for the program.
pub struct Live {
    /// Held while a change is made, so that there is one at a time.
    current: Mutex<Current>,
    sender: channel::Sender<Arc<Settings>>,
    /// Those of the start, which hold on for what takes effect at the next one.
    started: Loaded,
    /// Where changes are told, from when on there is such a place.
    events: OnceLock<Arc<Events>>,
}

struct Current {
    loaded: Loaded,
    /// What stands in the file if that is wrong, and was told to people.
    refused: Option<Unusable>,
}

/// Why the file says nothing.
#[derive(PartialEq)]
enum Unusable {
    Missing,
    Unreadable(std::io::ErrorKind),
    Wrong(String),
}

/// Who changes settings, for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Who {
    /// Somebody who changed the file.
    File,
    /// Somebody who sent SIGHUP, to have the file read at once.
    Signal,
    /// Somebody who asked by HTTP: their role and address.
    Caller(String),
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File => f.write_str("the settings file"),
            Self::Signal => f.write_str("the settings file, read again by SIGHUP"),
            Self::Caller(who) => write!(f, "{who}, by HTTP"),
        }
    }
}

/// A change that is not made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// What kind of reason.
    pub why: Why,
    /// All reasons. Lines are those of the file as it would be.
    pub problems: Vec<Problem>,
}

/// Why a change is not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// It is wrong.
    Invalid,
    /// Variables or flags hold the key.
    Held,
    /// The file has an error already, or cannot be read or written.
    File,
    /// It would have programs run, which may not be asked for by HTTP.
    Program,
    /// It would have servers of private networks told, or a file read, which may not be asked for by HTTP either.
    Reach,
    /// The file is another than the one that was changed.
    Changed,
}

/// A change that may be made.
struct Prepared {
    loaded: Loaded,
    diff: Diff,
    /// Where it goes, and whether a file is there.
    path: PathBuf,
    exists: bool,
}

impl Live {
    /// Of what was loaded at the start.
    pub fn new(loaded: Loaded) -> Arc<Self> {
        let (sender, _) = channel::channel(Arc::new(loaded.settings.clone()));
        let started = loaded.clone();
        let refused = None;
        Arc::new(Self {
            current: Mutex::new(Current { loaded, refused }),
            sender,
            started,
            events: OnceLock::new(),
        })
    }

    /// Changes, made or refused, are told there from now on.
    pub fn tell_to(&self, events: Arc<Events>) {
        // The first stays.
        let _ = self.events.set(events);
    }

    /// The settings as they are.
    pub fn now(&self) -> Arc<Settings> {
        Arc::clone(&self.sender.borrow())
    }

    /// Every change of any setting. Most want to know of a part alone: see [`Live::part`].
    pub fn changes(&self) -> channel::Receiver<Arc<Settings>> {
        self.sender.subscribe()
    }

    /// A part of the settings, and its changes.
    pub fn part<T: PartialEq + Clone>(&self, read: impl Fn(&Settings) -> T + Send + 'static) -> Part<T> {
        let mut receiver = self.changes();
        let last = read(&receiver.borrow_and_update());
        Part {
            receiver,
            read: Box::new(read),
            last,
        }
    }

    /// The settings as they are, for people and programs.
    pub fn view(&self) -> View {
        let current = self.lock();
        let mut waiting = Diff::between(&self.started, &current.loaded);
        waiting.changed.retain(|change| change.takes == Takes::Restart);
        let place = current.place();
        let read_only = match &place {
            Ok((path, exists)) => read_only(path, *exists),
            Err(refused) => Some(refused.to_string()),
        };
        View::new(&current.loaded, waiting, read_only)
    }

    /// What a change would do. Nothing is changed. Reads the file.
    ///
    /// # Errors
    /// [`Refused`], with everything that is wrong.
    pub fn propose(&self, edit: &Edit) -> Result<Diff, Refused> {
        Ok(self.lock().prepare(edit)?.diff)
    }

    /// Makes a change: all of it or, if anything is wrong, nothing. The file is written, then everybody is told.
    ///
    /// # Errors
    /// [`Refused`], with everything that is wrong.
    pub fn apply(&self, edit: &Edit, by: &Who) -> Result<Diff, Refused> {
        let mut current = self.lock();
        let Prepared {
            loaded,
            diff,
            path,
            exists,
        } = current
            .prepare(edit)
            .inspect_err(|refused| self.tell_refused(refused, by))?;
        let is_new_text = !exists || current.loaded.text() != loaded.text();
        if is_new_text {
            write(&path, loaded.text(), exists).inspect_err(|refused| self.tell_refused(refused, by))?;
        }
        if !exists {
            let file = path.display();
            tracing::info!(%file, "a settings file is made for a change by HTTP; the next start finds it there");
        }
        self.adopt(&mut current, loaded, &diff, by);
        Ok(diff)
    }

    /// Reads the file again. One with an error changes nothing, which is told to the log, once if `by` is the file itself.
    pub fn reread(&self, by: &Who) {
        self.reread_if(by, |_| true);
    }

    /// The same, unless what was read is not to be believed, as of a file that is being written. Tells whether it was.
    fn reread_if(&self, by: &Who, is_whole: impl FnOnce(&Path) -> bool) -> bool {
        let mut current = self.lock();
        let wanted = current.loaded.wanted();
        let Some(path) = current.loaded.file.clone().or_else(|| file::find(wanted)) else {
            return true;
        };
        let read = file::read(&path);
        let is_whole = is_whole(&path);
        if is_whole {
            self.take(&mut current, &path, &read, by);
        }
        is_whole
    }

    fn take(&self, current: &mut Current, path: &Path, read: &io::Result<String>, by: &Who) {
        let wanted = current.loaded.wanted();
        let unusable = match read {
            Ok(text) if current.loaded.file.is_some() && text == current.loaded.text() => {
                current.refused = None;
                if *by == Who::Signal {
                    tracing::info!(file = %path.display(), "the settings file was read again and says the same");
                }
                return;
            }
            Ok(text) => Unusable::Wrong(text.clone()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Unusable::Missing,
            Err(error) => Unusable::Unreadable(error.kind()),
        };
        if *by == Who::File && current.refused.as_ref() == Some(&unusable) {
            return;
        }
        let loaded = match read {
            Ok(text) => load_text(wanted, path, text).map_err(|invalid| invalid.problems),
            Err(error) => Err(vec![unreadable(path, error)]),
        };
        match loaded {
            Ok(loaded) => {
                let diff = Diff::between(&current.loaded, &loaded);
                self.adopt(current, loaded, &diff, by);
            }
            Err(problems) => {
                let refused = Refused::new(Why::File, problems);
                self.tell_refused(&refused, by);
                for problem in refused.problems {
                    tracing::warn!(%problem, "the settings file cannot be used; the settings stay as they are");
                }
                current.refused = Some(unusable);
            }
        }
    }

    fn adopt(&self, current: &mut Current, loaded: Loaded, diff: &Diff, by: &Who) {
        for change in &diff.changed {
            tell(change, by);
        }
        if let Some(events) = self.events.get().filter(|_| !diff.is_empty()) {
            events.settings_changed(diff, by);
        }
        let settings = Arc::new(loaded.settings.clone());
        *current = Current { loaded, refused: None };
        self.sender.send_if_modified(|before| {
            let changed = *before != settings;
            *before = settings;
            changed
        });
    }

    fn tell_refused(&self, refused: &Refused, by: &Who) {
        if let Some(events) = self.events.get() {
            events.settings_refused(refused, by);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Current> {
        // What it holds is replaced whole or not at all.
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// To the log.
fn tell(change: &Change, by: &Who) {
    let text = |value: &Option<serde_json::Value>| value.as_ref().map_or("not set".to_owned(), ToString::to_string);
    let (from, to, key) = (text(&change.from), text(&change.to), &change.key);
    match change.takes {
        Takes::Restart => tracing::warn!(key, from, to, %by, "setting changed; it takes effect at the next start"),
        takes => tracing::info!(key, from, to, takes = %takes, %by, "setting changed"),
    }
}

impl Current {
    fn prepare(&self, edit: &Edit) -> Result<Prepared, Refused> {
        let (path, exists) = self.place()?;
        let wanted = self.loaded.wanted();
        let text = match edit {
            _ if mediamtx::is_its(&path) => {
                return Err(Refused::one(
                    Why::File,
                    problem(None, &path.display().to_string(), OF_MEDIAMTX),
                ));
            }
            Edit::File { text, version } => {
                let old = self.text_or_new(&path, exists)?;
                if *version != version_of(&old) {
                    let message =
                        "the file was changed by somebody else meanwhile; read it again, and make your changes to that";
                    return Err(Refused::one(
                        Why::Changed,
                        problem(None, &path.display().to_string(), message),
                    ));
                }
                // Of what is no TOML nothing was shown.
                shown_of(&path, &old)?;
                with_secrets(&path, text, &old)?
            }
            Edit::Steps(steps) => {
                let text = self.text_or_new(&path, exists)?;
                // It may have changed since it was read.
                let loaded = load_text(wanted, &path, &text);
                let loaded = loaded.map_err(|invalid| Refused::new(Why::File, invalid.problems))?;
                refuse_held(steps, &loaded)?;
                with_steps(steps, text)?
            }
        };
        if text.len() as u64 > file::MAX_BYTES {
            let message = format!("the settings file would be longer than {} bytes", file::MAX_BYTES);
            return Err(Refused::one(Why::Invalid, problem(None, "", &message)));
        }
        let loaded = load_text(wanted, &path, &text);
        let loaded = loaded.map_err(|invalid| Refused::new(Why::Invalid, invalid.problems))?;
        if let Edit::Steps(steps) = edit {
            check_result(steps, &loaded)?;
        }
        refuse::by_http(&self.loaded.settings, &loaded.settings)?;
        let diff = Diff::between(&self.loaded, &loaded);
        Ok(Prepared {
            loaded,
            diff,
            path,
            exists,
        })
    }

    /// Where the file is, or where it will be.
    fn place(&self) -> Result<(PathBuf, bool), Refused> {
        let wanted = self.loaded.wanted();
        if let Some(path) = self.loaded.file.clone().or_else(|| file::find(wanted)) {
            return Ok((path, true));
        }
        let place = file::new_place(wanted).map(|path| (path, false));
        place.ok_or_else(|| {
            let message = "there is no settings file and no place to make one: name a file with --config, or the state folder with --state-dir";
            Refused::one(Why::File, problem(None, "", message))
        })
    }

    /// The text of the file as it is now, or that with which a new one begins.
    fn text_or_new(&self, path: &Path, exists: bool) -> Result<String, Refused> {
        match exists {
            true => self.text(path),
            false => Ok(NEW_FILE.to_owned()),
        }
    }

    /// The text of the file as it is now; if somebody removed it, as it was.
    fn text(&self, path: &Path) -> Result<String, Refused> {
        match file::read(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(self.loaded.text().to_owned()),
            read => read.map_err(|error| Refused::one(Why::File, unreadable(path, &error))),
        }
    }
}

/// How a file begins that is made for the first change.
const NEW_FILE: &str =
    "# Settings of Sightline, made for a change by HTTP. `sightline config init` prints all that can be set.\n";

impl Refused {
    fn new(why: Why, problems: Vec<Problem>) -> Self {
        Self { why, problems }
    }

    fn one(why: Why, problem: Problem) -> Self {
        Self::new(why, vec![problem])
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let problems: Vec<String> = self.problems.iter().map(ToString::to_string).collect();
        f.write_str(&problems.join("\n"))
    }
}

impl std::error::Error for Refused {}

/// Keys that variables or flags hold cannot be changed in the file: it would have no effect.
fn refuse_held(steps: &[Step], loaded: &Loaded) -> Result<(), Refused> {
    let held = loaded.given().filter_map(|(key, places)| {
        let origin = &places.last()?.origin;
        let is_held = matches!(origin, Origin::Variable { .. } | Origin::Flag(_));
        let concerned = |step: &Step| keys_of(step).iter().any(|path| is_in(key, &path.join(".")));
        (is_held && steps.iter().any(concerned)).then(|| {
            let message = "this wins over the settings file; change it there, or take it away there and start again";
            problem(Some(origin.clone()), key, message)
        })
    });
    let problems: Vec<Problem> = held.collect();
    if problems.is_empty() {
        return Ok(());
    }
    Err(Refused::new(Why::Held, problems))
}

/// Whether it is that key, or one in that table.
fn is_in(key: &str, path: &str) -> bool {
    let rest = key.strip_prefix(path);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// The paths of all that a step gives or takes.
fn keys_of(step: &Step) -> Vec<Vec<String>> {
    match step {
        Step::Set { path, .. } | Step::Remove { path } => vec![path.clone()],
        Step::Add { .. } => Vec::new(),
        Step::Table { path, values } => {
            let key = |key: &String| [path.as_slice(), std::slice::from_ref(key)].concat();
            values.keys().map(key).collect()
        }
    }
}

fn with_steps(steps: &[Step], mut text: String) -> Result<String, Refused> {
    for step in steps {
        let invalid = |message: &str| Refused::one(Why::Invalid, problem(None, &step.path().join("."), message));
        if gives_mask(step) {
            return Err(invalid(
                "this is what is shown in place of a secret, not the secret; leave the key out to keep what it is",
            ));
        }
        text = step.done(&text).map_err(|message| invalid(&message))?;
    }
    Ok(text)
}

/// Whether a step sets something to what is shown in place of a secret.
fn gives_mask(step: &Step) -> bool {
    fn is_mask(secret: bool, value: &toml::Value) -> bool {
        match value {
            toml::Value::String(text) => redacted::is_mask(secret, text),
            toml::Value::Array(items) => items.iter().any(|item| is_mask(secret, item)),
            _ => false,
        }
    }
    let is_secret = |path: &[String]| key_of(path).is_some_and(keys::Key::is_secret);
    match step {
        Step::Set { path, value } => is_mask(is_secret(path), value),
        Step::Remove { .. } | Step::Add { .. } => false,
        Step::Table { path, values } => values.iter().any(|(key, value)| {
            let path = [path.as_slice(), std::slice::from_ref(key)].concat();
            is_mask(is_secret(&path), value)
        }),
    }
}

/// Whether the text says what was asked for. There are many ways to write a table, and this is for the one that nobody thought of.
fn check_result(steps: &[Step], loaded: &Loaded) -> Result<(), Refused> {
    for (index, step) in steps.iter().enumerate() {
        let later = steps.get(index.saturating_add(1)..).unwrap_or_default();
        let replaced = |path: &[String]| {
            later
                .iter()
                .any(|later| path.starts_with(later.path()) || later.path().starts_with(path))
        };
        let is =
            |path: &[String], value: Option<&toml::Value>| replaced(path) || diff::at(loaded.values(), path) == value;
        let done = match step {
            Step::Set { path, value } => is(path, Some(value)),
            Step::Remove { path } => is(path, None),
            Step::Add { path } => replaced(path) || diff::at(loaded.values(), path).is_some(),
            Step::Table { path, values } => values.iter().all(|(key, value)| {
                let path = [path.as_slice(), std::slice::from_ref(key)].concat();
                match value.as_table().filter(|_| keys::is_inner_table(&path)) {
                    None => is(&path, Some(value)),
                    Some(table) => table
                        .iter()
                        .all(|(key, value)| is(&[path.as_slice(), std::slice::from_ref(key)].concat(), Some(value))),
                }
            }),
        };
        if !done {
            let message = "the way the file is written does not let this be changed; change it by hand";
            return Err(Refused::one(Why::File, problem(None, &step.path().join("."), message)));
        }
    }
    Ok(())
}

fn write(path: &Path, text: &str, exists: bool) -> Result<(), Refused> {
    let refused = |message: String| Refused::one(Why::File, problem(None, &path.display().to_string(), &message));
    if let Some(folder) = path.parent().filter(|_| !exists) {
        // Made for its owner alone, like everything of the state folder.
        state::Folder::open(folder.to_owned()).map_err(|error| refused(error.to_string()))?;
    }
    store::write(path, text).map_err(|error| {
        refused(format!(
            "the settings file cannot be written: {error}; make it writable for this user, or change it where it comes from"
        ))
    })
}

/// A part of the settings. Who keeps it is told of changes of this part alone.
pub struct Part<T> {
    receiver: channel::Receiver<Arc<Settings>>,
    read: Box<dyn Fn(&Settings) -> T + Send>,
    last: T,
}

impl<T: PartialEq + Clone> Part<T> {
    /// As it was when it was last asked for.
    pub fn now(&self) -> &T {
        &self.last
    }

    /// Waits until it is another than it was, and gives it. Waits for ever when nothing can change any more.
    pub async fn changed(&mut self) -> T {
        loop {
            if self.receiver.changed().await.is_err() {
                return std::future::pending().await;
            }
            let now = (self.read)(&self.receiver.borrow_and_update());
            if now != self.last {
                self.last = now.clone();
                return now;
            }
        }
    }
}
