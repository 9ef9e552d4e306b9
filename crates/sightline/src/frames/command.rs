//! Commands that are handed pictures: what stands in their words, how long they may take, and that they end with us.
//!
//! Belongs here: places in words, one run. Does not belong here: which pictures, what a failure means.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command, Stdio};
use std::thread;
use std::time::Duration;

use device::program::{Ask, Program};
use media::Clock;

use crate::random;
use crate::shutdown::Shutdown;

/// A program and its arguments, with places for what it is handed. No shell sees them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    program: OsString,
    arguments: Vec<OsString>,
}

/// What the places stand for.
#[derive(Clone, Copy, Debug)]
pub struct Places<'a> {
    /// `{}`: the file that holds the picture.
    pub file: &'a Path,
    /// `{time}`: when it was captured.
    pub time: &'a str,
    /// `{index}`: which picture it is, from 0.
    pub index: u64,
    /// `{segment}`: the recording that it is from.
    pub segment: Option<&'a Path>,
}

const FILE: &str = "{}";
const TIME: &str = "{time}";
const INDEX: &str = "{index}";
const SEGMENT: &str = "{segment}";

impl Template {
    /// `None` where there are no words.
    pub fn new(words: Vec<OsString>) -> Option<Self> {
        let mut words = words.into_iter();
        Some(Self {
            program: words.next()?,
            arguments: words.collect(),
        })
    }

    /// Whether it is run for each picture, since it has a place for what is another each time.
    pub fn is_for_each(&self) -> bool {
        self.has(FILE) || self.has(TIME) || self.has(INDEX)
    }

    /// Whether it is told a file that holds the picture. Else that is on its standard input.
    pub fn takes_file(&self) -> bool {
        self.has(FILE)
    }

    /// The program, as people know it.
    pub fn name(&self) -> String {
        let name = Path::new(&self.program).file_name().unwrap_or(&self.program);
        name.to_string_lossy().into_owned()
    }

    /// The command for a picture.
    pub fn filled(&self, places: &Places<'_>) -> Command {
        let mut command = Command::new(&self.program);
        command.args(self.arguments.iter().map(|word| fill(word, places)));
        command
    }

    fn has(&self, place: &str) -> bool {
        let has = |word: &OsString| word.to_str().is_some_and(|word| word.contains(place));
        self.arguments.iter().any(has)
    }
}

/// A word stays a word, whatever is put into it.
fn fill(word: &OsStr, places: &Places<'_>) -> OsString {
    // What is no text has no places.
    let Some(mut rest) = word.to_str() else {
        return word.to_owned();
    };
    let mut filled = OsString::new();
    while let Some(at) = rest.find('{') {
        let (before, behind) = rest.split_at(at);
        filled.push(before);
        let place = [FILE, TIME, INDEX, SEGMENT]
            .into_iter()
            .find(|place| behind.starts_with(place));
        match place {
            Some(FILE) => filled.push(places.file),
            Some(TIME) => filled.push(places.time),
            Some(INDEX) => filled.push(places.index.to_string()),
            Some(SEGMENT) => filled.push(places.segment.unwrap_or(Path::new(""))),
            _ => filled.push("{"),
        }
        rest = behind.get(place.map_or(1, str::len)..).unwrap_or_default();
    }
    filled.push(rest);
    filled
}

/// How a run ended.
#[derive(Debug, PartialEq, Eq)]
pub enum How {
    /// With success.
    Done,
    /// Otherwise, in words for people.
    Failed(String),
    /// We are to end, so it was.
    Stopped,
}

/// What bounds a run.
#[derive(Clone, Copy)]
pub struct Bounds<'a> {
    /// How long it may take.
    pub timeout: Duration,
    /// Ends it.
    pub shutdown: &'a Shutdown,
    /// Where the time comes from.
    pub clock: &'a dyn Clock,
}

/// Runs a command once; `feed` is given its standard input, on another thread.
///
/// # Errors
/// When it cannot be started.
pub fn run(mut command: Command, bounds: Bounds<'_>, feed: Option<impl FnOnce(ChildStdin) + Send>) -> io::Result<How> {
    command.stdin(if feed.is_some() { Stdio::piped() } else { Stdio::null() });
    let mut program = Program::start_as_told(command)?;
    let input = program.take_input();
    Ok(thread::scope(|scope| {
        if let (Some(feed), Some(input)) = (feed, input) {
            scope.spawn(move || feed(input));
        }
        // The end of its group closes the pipe, by which whoever feeds it ends too.
        watch(&mut program, bounds)
    }))
}

/// Waits for the end of a program, or brings it about. Nothing of its group is left behind.
pub fn watch(program: &mut Program, bounds: Bounds<'_>) -> How {
    let begun = bounds.clock.now();
    let mut pause = SHORTEST_LOOK;
    let ended_by_us = loop {
        if program.has_exited() {
            break None;
        }
        if bounds.shutdown.is_requested() {
            break Some(How::Stopped);
        }
        if bounds.clock.now().saturating_duration_since(begun) >= bounds.timeout {
            let limit = bounds.timeout.as_secs_f64();
            break Some(How::Failed(format!("it took longer than {limit} s, and was ended")));
        }
        thread::sleep(pause);
        pause = (pause * 2).min(LONGEST_LOOK);
    };
    if ended_by_us.is_some() {
        program.ask(Ask::Terminate);
        let asked = bounds.clock.now();
        while !program.has_exited() && bounds.clock.now().saturating_duration_since(asked) < END_WITHIN {
            thread::sleep(SHORTEST_LOOK);
        }
    }
    let status = program.kill();
    match (ended_by_us, status) {
        (Some(how), _) => how,
        (None, Some(status)) if status.success() => How::Done,
        (None, Some(status)) => How::Failed(format!("it ended with {status}")),
        (None, None) => How::Failed("nobody knows how it ended".to_owned()),
    }
}

const SHORTEST_LOOK: Duration = Duration::from_millis(1);
const LONGEST_LOOK: Duration = Duration::from_millis(20);
/// How long a command may take to end when it is told to: less than we have ourselves.
const END_WITHIN: Duration = Duration::from_millis(300);

/// A folder of our own for the file that commands are handed. It goes when this is dropped.
#[derive(Debug)]
pub struct Handed {
    folder: PathBuf,
    file: PathBuf,
}

impl Handed {
    /// A folder where the system wants such things (`TMPDIR`), which nobody else may look into.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn new(ending: &str) -> io::Result<Self> {
        let folder = std::env::temp_dir().join(format!("sightline-{:016x}", random::bits()));
        let mut builder = fs::DirBuilder::new();
        #[cfg(unix)]
        {
            use std::os::unix::fs::DirBuilderExt as _;
            builder.mode(0o700);
        }
        builder.create(&folder)?;
        let file = folder.join(format!("frame.{ending}"));
        Ok(Self { folder, file })
    }

    /// Puts these bytes into the file, in the place of what was there.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn put(&self, bytes: &[u8]) -> io::Result<&Path> {
        // A command may have moved it away, or kept it open: that one stays as it is.
        match fs::remove_file(&self.file) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        fs::write(&self.file, bytes)?;
        Ok(&self.file)
    }
}

impl Drop for Handed {
    fn drop(&mut self) {
        // What it holds may be anybody's by now; where it cannot be removed, the system does some day.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;
    use crate::shutdown;
    use std::io::Write as _;

    fn template(words: &[&str]) -> Template {
        Template::new(words.iter().map(OsString::from).collect()).unwrap()
    }

    fn arguments(words: &[&str], file: &str) -> Vec<String> {
        let places = Places {
            file: Path::new(file),
            time: "2026-11-23T04:05:06.123Z",
            index: 7,
            segment: Some(Path::new("/r/a b.mp4")),
        };
        let command = template(words).filled(&places);
        command
            .get_args()
            .map(|word| word.to_str().unwrap().to_owned())
            .collect()
    }

    fn run_it(words: &[&str], timeout: Duration) -> How {
        let (_trigger, shutdown) = shutdown::channel();
        let bounds = Bounds {
            timeout,
            shutdown: &shutdown,
            clock: &SystemClock,
        };
        let mut command = Command::new(words[0]);
        command.args(&words[1..]);
        run(command, bounds, None::<fn(ChildStdin)>).unwrap()
    }

    #[test]
    fn a_word_stays_a_word() {
        let file = "/t/a {time} $(b)'.jpg";
        assert_eq!(
            arguments(
                &["x", "{}", "--at={time}", "{index}:{segment}", "{other}", "{", "a{}b{}"],
                file
            ),
            [
                file,
                "--at=2026-11-23T04:05:06.123Z",
                "7:/r/a b.mp4",
                "{other}",
                "{",
                &format!("a{file}b{file}")
            ]
        );
        assert!(Template::new(Vec::new()).is_none());
    }

    #[test]
    fn what_has_a_place_for_a_picture_is_run_for_each() {
        for (words, each, file) in [
            (&["x"][..], false, false),
            (&["x", "{segment}"], false, false),
            (&["{}", "x"], false, false),
            (&["x", "{index}"], true, false),
            (&["x", "a={}"], true, true),
        ] {
            let template = template(words);
            assert_eq!(
                (template.is_for_each(), template.takes_file()),
                (each, file),
                "{words:?}"
            );
        }
    }

    #[test]
    fn how_a_command_ended_is_told() {
        let minute = Duration::from_secs(60);
        assert_eq!(run_it(&["true"], minute), How::Done);
        assert_eq!(
            run_it(&["sh", "-c", "exit 3"], minute),
            How::Failed("it ended with exit status: 3".to_owned())
        );
        let slow = run_it(
            &["sh", "-c", "trap '' TERM; sleep 60 & wait"],
            Duration::from_millis(50),
        );
        assert_eq!(
            slow,
            How::Failed("it took longer than 0.05 s, and was ended".to_owned())
        );
        let (_trigger, shutdown) = shutdown::channel();
        let bounds = Bounds {
            timeout: minute,
            shutdown: &shutdown,
            clock: &SystemClock,
        };
        let missing = run(Command::new("/no/such/program"), bounds, None::<fn(ChildStdin)>);
        assert_eq!(missing.unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn it_ends_with_us() {
        let (trigger, shutdown) = shutdown::channel();
        let bounds = Bounds {
            timeout: Duration::from_secs(60),
            shutdown: &shutdown,
            clock: &SystemClock,
        };
        let mut command = Command::new("sleep");
        command.arg("60");
        // It never reads, and whoever feeds it must not wait for ever.
        let feed = |mut input: ChildStdin| {
            trigger.request();
            let _ = input.write_all(&vec![0; 10 << 20]);
        };
        assert_eq!(run(command, bounds, Some(feed)).unwrap(), How::Stopped);
    }

    #[test]
    fn the_file_is_ours_and_goes() {
        let handed = Handed::new("jpg").unwrap();
        let path = handed.put(b"one").unwrap().to_owned();
        assert_eq!(handed.put(b"two").unwrap(), path);
        assert_eq!(fs::read(&path).unwrap(), b"two");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let folder = fs::metadata(path.parent().unwrap()).unwrap();
            assert_eq!(folder.permissions().mode() & 0o777, 0o700);
        }
        drop(handed);
        assert!(!path.exists() && !path.parent().unwrap().exists());
    }
}
