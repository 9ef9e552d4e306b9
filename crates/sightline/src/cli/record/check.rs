//! `sightline record check`: recordings and their index held against each other, and mended.
//!
//! Belongs here: flags, what people and programs are shown, asking before something is changed. Does not belong here: comparing and mending ([`crate::record::check`]).

use std::collections::BTreeMap;
use std::io::{self, BufRead as _, IsTerminal as _, Write as _};
use std::path::Path;
use std::sync::Arc;

use clap::Args;
use serde::Serialize;

use super::super::status_line::StatusLine;
use super::super::{Failure, StateFolder, print};
use crate::clock::SystemClock;
use crate::files;
use crate::record::check::{
    self, Done, Error, Finding, Kind, Listener, Plan, Progress, Rebuilt, Summary, Unmendable, What,
};
use crate::record::recorder::Clocks;
use crate::record::storage::LOCK;
use crate::record::{FOLDER, INDEX};

/// Compare the recordings of a server with their index, and mend what differs
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Check {
    #[command(flatten)]
    folder: StateFolder,
    /// Read every file to its end, and hold each fragment against its checksum: as long as the disk takes
    #[arg(long)]
    deep: bool,
    /// Make of the index what the files say: take in what it does not know, correct rows, remove rows whose file is gone. Says before what it will do, and asks. No
    /// recording is removed. No server may run
    #[arg(long, conflicts_with = "rebuild")]
    repair: bool,
    /// Put the index aside and make it anew from all files; events and what is protected are taken over. Interrupted, it goes on when it is called again. No server may run
    #[arg(long)]
    rebuild: bool,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    /// Print a JSON object a line: each difference with `kind`, `id`, `path`, `why`, and at the end `summary`
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "Examples:
  sightline record check
  sightline record check --deep
  sightline record check --repair
  sightline record check --rebuild --state-dir /var/lib/sightline
  sightline record check --json | jq -r 'select(.kind == \"file_missing\").path'

It reads beside a running server too, and holds up nothing; what is being written
is no difference.
Exit code: 0 when both agree (behind --repair and --rebuild: agree now), 1 when
they differ, 2 when that could not be found out, or not of all.";

impl Check {
    pub(super) fn run(self) -> Result<(), Failure> {
        let (loaded, folder) = self.folder.find()?;
        let root = loaded.settings.record.path;
        let what = What {
            root: root.unwrap_or_else(|| folder.join(FOLDER)),
            index: folder.join(INDEX),
            deep: self.deep,
        };
        let mut shown = Shown::new(self.json);
        let summary = match (self.repair, self.rebuild) {
            (true, _) => repair(&what, self.yes, &mut shown),
            (_, true) => rebuild(&what, self.yes, &mut shown),
            _ => check::check(&what, &mut shown)
                .map(Some)
                .map_err(|error| unknown(&error)),
        };
        shown.line.clear();
        if self.repair || self.rebuild {
            // What root made there the server has to be able to write.
            files::give_to_owner(&folder, INDEX).map_err(Failure::running)?;
            if what.root.is_dir() {
                files::give_to_owner(&what.root, LOCK).map_err(Failure::running)?;
            }
        }
        let Some(summary) = summary? else {
            return Err(Failure::Told);
        };
        shown.end(&summary)
    }
}

fn unknown(error: &Error) -> Failure {
    Failure::Unknown(error.to_string())
}

fn clocks() -> Clocks {
    Clocks {
        clock: Arc::new(SystemClock),
        zone: crate::clock::zone,
        is_synchronised: crate::clock::is_synchronised,
    }
}

/// Mends what a check finds. `None`: nobody wanted that.
fn repair(what: &What, yes: bool, shown: &mut Shown) -> Result<Option<Summary>, Failure> {
    let (held, plan, summary) = check::plan(what, shown).map_err(|error| unmendable(&error))?;
    if plan.is_empty() {
        return Ok(Some(summary));
    }
    shown.say_left_out();
    shown.say(&format!(
        "This repair will, in {}:\n{}",
        what.index.display(),
        will(&plan)
    ))?;
    if !is_wanted(yes)? {
        return Ok(None);
    }
    shown.again();
    let (done, summary) = check::repair(what, held, &plan, &clocks(), shown).map_err(|error| unmendable(&error))?;
    shown.say(&did(&done))?;
    Ok(Some(summary))
}

fn rebuild(what: &What, yes: bool, shown: &mut Shown) -> Result<Option<Summary>, Failure> {
    let text = format!(
        "This puts {} aside, and makes it anew from all files in {}: each is read to its end.\nWhat people told (events, what is protected) is taken over. No recording is \
         changed, but for what a crash left: such a file is cut to what is whole.\n",
        what.index.display(),
        what.root.display()
    );
    shown.say(&text)?;
    if !is_wanted(yes)? {
        return Ok(None);
    }
    let (rebuilt, summary) = check::rebuild(what, &clocks(), shown).map_err(|error| unmendable(&error))?;
    shown.say(&made_anew(&rebuilt))?;
    Ok(Some(summary))
}

fn unmendable(error: &Unmendable) -> Failure {
    match error {
        Unmendable::Check(error) => unknown(error),
        error => Failure::running(error),
    }
}

/// Whether somebody says yes.
fn is_wanted(yes: bool) -> Result<bool, Failure> {
    if yes {
        return Ok(true);
    }
    if !io::stdin().is_terminal() {
        return Err(Failure::Usage(
            "nothing was changed: nobody can be asked here; add --yes to go on without".to_owned(),
        ));
    }
    let _ = write!(io::stderr(), "Go on? [y/N] ");
    let _ = io::stderr().flush();
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer).map_err(Failure::running)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

/// What a repair will do.
fn will(plan: &Plan) -> String {
    let mut text = String::new();
    let mut line = |count: u64, what: &str| {
        if count > 0 {
            text.push_str(&format!("  {count:>9}  {what}\n"));
        }
    };
    line(
        plan.files,
        "files are read and taken into the index (one that a crash left is cut to what is whole)",
    );
    line(
        plan.told_anew.len() as u64,
        "rows are told anew from their files, which stay as they are",
    );
    line(
        plan.gone.len() as u64,
        "rows are removed: their file is gone or another one; no file is",
    );
    line(plan.days.len() as u64, "days have their ranges made anew");
    line(u64::from(plan.sums), "sum of what cameras take is made anew");
    line(
        plan.leftovers,
        "beginnings of files without a name are removed: nothing is in them",
    );
    line(
        plan.left,
        "differences are left: what cannot be read, and what is more than a repair does at once",
    );
    text.push_str("No recording is removed.\n");
    text
}

fn did(done: &Done) -> String {
    let mut text = format!(
        "{} files were looked at and taken in, {} rows were told anew, {} rows were removed.\n",
        done.adopted, done.told_anew, done.gone
    );
    for why in &done.failed {
        text.push_str(&format!("Not done: {why}\n"));
    }
    if done.failed_more > 0 {
        text.push_str(&format!("Not done: {} more\n", done.failed_more));
    }
    if !done.failed.is_empty() {
        text.push_str(
            "What cannot be read is not in the index. When it can be, `sightline record check --repair` takes it in.\n",
        );
    }
    text
}

fn made_anew(rebuilt: &Rebuilt) -> String {
    let mut text = String::new();
    if rebuilt.went_on {
        text.push_str("A rebuild that was interrupted went on.\n");
    }
    if let Some(aside) = &rebuilt.aside {
        text.push_str(&format!(
            "The index before lies in {}; remove it when all is well.\n",
            aside.display()
        ));
    }
    if let Some(taken) = rebuilt.taken_over {
        text.push_str(&format!(
            "{} events and {} protected ranges were taken over.\n",
            taken.events, taken.protected
        ));
    }
    if !rebuilt.has_all_told {
        text.push_str(
            "Not all that people told could be read: until somebody looks at what is protected and confirms it, the server deletes nothing.\n",
        );
    }
    text.push_str(&did(&rebuilt.done));
    text
}

/// What was shown.
struct Shown {
    json: bool,
    line: StatusLine,
    listed: BTreeMap<Kind, u64>,
}

/// The last line, for programs.
#[derive(Serialize)]
struct End<'a> {
    kind: &'static str,
    differences: u64,
    #[serde(flatten)]
    summary: &'a Summary,
}

impl Shown {
    fn new(json: bool) -> Self {
        Self {
            json,
            line: StatusLine::new(),
            listed: BTreeMap::new(),
        }
    }

    /// For people: behind `--json` it goes to standard error.
    fn say(&mut self, text: &str) -> Result<(), Failure> {
        self.line.clear();
        if self.json {
            let _ = io::stderr().write_all(text.as_bytes());
            return Ok(());
        }
        print(text)
    }

    /// What comes now is of another look.
    fn again(&mut self) {
        self.listed.clear();
    }

    fn say_left_out(&mut self) {
        let left = self.listed.iter().filter(|(_, count)| **count > LISTED);
        let lines: Vec<String> = left
            .map(|(kind, count)| format!("… and {} more {}; --json lists all\n", count - LISTED, kind.text()))
            .collect();
        for line in lines {
            // Where nobody reads, the exit code tells.
            let _ = self.say(&line);
        }
    }

    fn end(&mut self, summary: &Summary) -> Result<(), Failure> {
        let differences = summary.differences();
        if self.json {
            let end = End {
                kind: "summary",
                differences,
                summary,
            };
            print(&(serde_json::to_string(&end).map_err(Failure::running)? + "\n"))?;
        } else {
            self.say_left_out();
            print(&table(summary))?;
        }
        match (differences, summary.not_compared.is_empty()) {
            (1.., _) => Err(Failure::Told),
            (0, true) => Ok(()),
            (0, false) => Err(Failure::Unknown("not all could be compared, see above".to_owned())),
        }
    }
}

impl Listener for Shown {
    fn finding(&mut self, finding: &Finding) {
        self.line.clear();
        let listed = self.listed.entry(finding.kind).or_default();
        *listed += 1;
        let text = match self.json {
            true => serde_json::to_string(finding).unwrap_or_default(),
            false if *listed > LISTED => return,
            false => line(finding),
        };
        // Where nobody reads, the exit code tells.
        let _ = writeln!(io::stdout(), "{text}");
    }

    fn progress(&mut self, progress: &Progress) {
        self.line
            .show(progress.step, progress.done, progress.total, progress.bytes);
    }
}

/// Names of files may hold anything: on a terminal nothing of it is obeyed.
fn line(finding: &Finding) -> String {
    let row = finding.id.map(|id| format!(" (row {})", id.0)).unwrap_or_default();
    let path: String = finding.path.chars().flat_map(visible).collect();
    let why: String = finding.why.chars().flat_map(visible).collect();
    format!("{}: {path}{row}: {why}", name(finding.kind))
}

fn visible(c: char) -> impl Iterator<Item = char> {
    let (plain, escaped) = match c.is_control() {
        false => (Some(c), None),
        true => (None, Some(c.escape_default())),
    };
    plain.into_iter().chain(escaped.into_iter().flatten())
}

fn name(kind: Kind) -> String {
    let value = serde_json::to_value(kind).unwrap_or_default();
    value.as_str().unwrap_or_default().to_owned()
}

fn table(summary: &Summary) -> String {
    let mut text = String::new();
    for storage in &summary.storages {
        let state = storage.away.as_ref().map_or("", |_| ", away: its rows are left alone");
        text.push_str(&format!(
            "{}: {} rows{state}\n",
            shortened(Path::new(&storage.path)),
            storage.rows
        ));
    }
    let mut row = |count: u64, what: &str| text.push_str(&format!("{count:>9}  {what}\n"));
    row(summary.rows, "rows of the index");
    row(summary.files, "recordings on the disk");
    for (count, what) in [
        (summary.other_files, "other files there, which are left alone"),
        (summary.being_written, "files that the server is writing"),
        (summary.being_adopted, "files that the server is taking into the index"),
    ] {
        if count > 0 {
            row(count, what);
        }
    }
    for (kind, count) in &summary.found {
        row(*count, kind.text());
    }
    for why in &summary.not_compared {
        text.push_str(&format!("Not compared: {why}\n"));
    }
    if let Some(server) = &summary.server {
        let process = server
            .process
            .map_or_else(String::new, |process| format!(" (process {process})"));
        text.push_str(&format!(
            "A server is running{process}: what it is writing was not compared.\n"
        ));
    }
    let differences = summary.differences();
    let is_damaged = summary.found.contains_key(&Kind::IndexDamaged);
    text.push_str(&match (differences, is_damaged) {
        (0, _) => {
            let is_away = summary.storages.iter().any(|storage| storage.away.is_some());
            let is_all = summary.server.is_none() && summary.not_compared.is_empty() && !is_away;
            let of_what = if is_all { "" } else { ", as far as they were compared" };
            format!("Recordings and index agree{of_what}.\n")
        }
        (_, true) => "The index is damaged. Stop the server; `sightline record check --rebuild` makes it anew.\n".to_owned(),
        (_, false) => format!("{differences} differences. Stop the server; `sightline record check --repair` says what it would do, and mends them.\n"),
    });
    text
}

fn shortened(path: &Path) -> String {
    path.display().to_string().chars().flat_map(visible).collect()
}

/// Of a kind, for people.
const LISTED: u64 = 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_stands_in_a_name_moves_the_cursor() {
        assert_eq!(
            "a\u{1b}[2Jb\n".chars().flat_map(visible).collect::<String>(),
            "a\\u{1b}[2Jb\\n"
        );
    }

    #[test]
    fn a_repair_says_what_it_will_do() {
        let plan = Plan {
            sums: true,
            files: 12,
            ..Plan::default()
        };
        let text = will(&plan);
        assert!(text.contains("       12  files are read"), "{text}");
        assert!(text.ends_with("No recording is removed.\n"), "{text}");
        assert_eq!(text.lines().count(), 3, "{text}");
    }
}
