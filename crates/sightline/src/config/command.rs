//! Commands in settings: a program and its arguments, with places for what an expression found. No shell ever sees them.
//!
//! Belongs here: words and quotes, places, what a name may not become. Does not belong here: running them ([`crate::source`]).

use std::fmt;
use std::str::FromStr;

use regex::Captures;

use super::units::InvalidWord;

/// A program and its arguments. `Debug` and `Display` show the program alone: what is in arguments may be a password.
///
/// In a table of an expression, `$1` to `$9` in an argument stand for its groups, `$0` for the whole name and `$$` for a dollar sign; elsewhere nothing
/// does. An argument stays one argument, whatever is put into it.
#[derive(Clone, PartialEq, Eq)]
pub struct CommandTemplate(Vec<Box<str>>);

/// A program and its arguments, nothing left open but for [`OUTPUT`] and [`PORT`].
#[derive(Clone, PartialEq, Eq)]
pub struct Command {
    words: Vec<String>,
    /// It publishes without being told where.
    by_itself: bool,
}

/// Stands for the URL at which the program publishes.
pub const OUTPUT: &str = "{output}";
/// Stands for the port at which RTSP is served, in commands of programs that publish.
pub const PORT: &str = "{port}";

/// Longest command, in bytes.
const MAX_BYTES: usize = 4_000;
/// What a shell would take for something else than a word.
const OF_SHELLS: [&str; 9] = ["|", "||", "&", "&&", ";", ">", ">>", "<", "2>&1"];

impl CommandTemplate {
    /// The command of a table with a name (`None`), or of one with an expression that found this.
    ///
    /// # Errors
    /// When what was found would make something else of an argument: an option, where it begins with a place and what is put there with `-`; a path that
    /// leads upwards by `..`.
    pub fn filled(&self, captures: Option<&Captures<'_>>) -> Result<Command, InvalidWord> {
        let Some(captures) = captures else {
            return Ok(Command::new(self.0.iter().map(ToString::to_string).collect()));
        };
        let fill = |argument: &str| {
            let filled = fill(argument, |number| {
                captures.get(number).map_or("", |group| group.as_str())
            });
            let goes_up = |text: &str| text.split('/').any(|part| part == "..");
            let what = if filled.starts_with('-') && !argument.starts_with('-') {
                "an option to the program"
            } else if goes_up(&filled) && !goes_up(argument) {
                "a way out of the folder that was meant"
            } else {
                return Ok(filled);
            };
            let message = format!("\"{filled}\" would be {what}; such names are not taken");
            Err(InvalidWord::new(message))
        };
        let words: Result<Vec<String>, InvalidWord> = self.0.iter().map(|word| fill(word)).collect();
        words.map(Command::new)
    }

    /// The program behind this word.
    pub(super) fn show_as(&self, scheme: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        show(f, scheme, self.0.first().map_or("", |program| program), self.0.len())
    }

    /// The highest number of a group that it has a place for.
    pub fn highest_group(&self) -> usize {
        let mut highest = 0;
        for word in &self.0 {
            fill(word, |number| {
                highest = highest.max(number);
                ""
            });
        }
        highest
    }
}

/// A text with its places filled.
fn fill<'a>(text: &str, mut group: impl FnMut(usize) -> &'a str) -> String {
    let mut filled = String::with_capacity(text.len());
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        let next = characters.peek().copied().filter(|_| character == '$');
        match next.map(|next| (next, next.to_digit(10))) {
            Some(('$', _)) => filled.push('$'),
            Some((_, Some(number))) => filled.push_str(group(number as usize)),
            _ => {
                filled.push(character);
                continue;
            }
        }
        characters.next();
    }
    filled
}

impl Command {
    fn new(words: Vec<String>) -> Self {
        Self {
            words,
            by_itself: false,
        }
    }

    /// Of a program that publishes without being told where.
    pub fn by_itself(self) -> Self {
        Self {
            by_itself: true,
            ..self
        }
    }

    /// The program, without its folder.
    pub fn name(&self) -> &str {
        short(self.program())
    }

    /// The program as it is started.
    pub fn program(&self) -> &str {
        self.words.first().map_or("", String::as_str)
    }

    /// Whether it publishes by itself.
    pub fn publishes(&self) -> bool {
        self.by_itself || self.words.iter().any(|word| word.contains(OUTPUT))
    }

    /// Its arguments. `url` stands in place of [`OUTPUT`].
    pub fn arguments<'a>(&'a self, url: &'a str) -> impl Iterator<Item = String> + 'a {
        self.words.iter().skip(1).map(|word| word.replace(OUTPUT, url))
    }
}

fn short(program: &str) -> &str {
    program.rsplit('/').next().unwrap_or(program)
}

impl FromStr for CommandTemplate {
    type Err = InvalidWord;

    fn from_str(text: &str) -> Result<Self, InvalidWord> {
        let wrong = |why: &str| {
            Err(InvalidWord::new(format!(
                "{why}; write it like exec:ffmpeg -i \"file name.mp4\" …"
            )))
        };
        if text.len() > MAX_BYTES {
            return wrong(&format!(
                "the command is {} bytes long, at most {MAX_BYTES} are allowed",
                text.len()
            ));
        }
        if text.contains('\0') {
            return wrong("the command holds a NUL character");
        }
        let Some(words) = words(text) else {
            return wrong("a quote in the command is not closed");
        };
        let of_shell = |(word, quoted): &&(String, bool)| !quoted && OF_SHELLS.contains(&word.as_str());
        if let Some((word, _)) = words.iter().find(of_shell) {
            return wrong(&format!(
                "there is no shell to which {word} means something; write exec:sh -c '…', or put it in quotes"
            ));
        }
        let words: Vec<Box<str>> = words.into_iter().map(|(word, _)| word.into()).collect();
        let Some(program) = words.first().filter(|program| !program.is_empty()) else {
            return wrong("there is no program");
        };
        // Which program runs, settings alone decide.
        if program.contains('$') || program.contains(OUTPUT) {
            return wrong("the program's own name cannot hold what an expression finds");
        }
        Ok(Self(words))
    }
}

/// Words between blanks, as a shell would part them: in '…' all characters are themselves, in "…" all but `\` before `"` or `\`, outside of both `\`
/// makes the next one itself. Tells of each whether quotes or `\` were in it. `None`: a quote is not closed.
fn words(text: &str) -> Option<Vec<(String, bool)>> {
    let mut words = Vec::new();
    let mut word: Option<(String, bool)> = None;
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        if character.is_whitespace() {
            words.extend(word.take());
            continue;
        }
        let (now, quoted) = word.get_or_insert_default();
        match character {
            '\'' => {
                *quoted = true;
                loop {
                    match characters.next()? {
                        '\'' => break,
                        inner => now.push(inner),
                    }
                }
            }
            '"' => {
                *quoted = true;
                loop {
                    match characters.next()? {
                        '"' => break,
                        '\\' if matches!(characters.peek(), Some('"' | '\\')) => now.extend(characters.next()),
                        inner => now.push(inner),
                    }
                }
            }
            '\\' => {
                *quoted = true;
                now.push(characters.next()?);
            }
            _ => now.push(character),
        }
    }
    words.extend(word);
    Some(words)
}

impl fmt::Display for CommandTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.show_as("exec", f)
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.by_itself { "run" } else { "exec" };
        show(f, scheme, self.program(), self.words.len())
    }
}

fn show(f: &mut fmt::Formatter<'_>, scheme: &str, program: &str, words: usize) -> fmt::Result {
    let rest = if words > 1 { " …" } else { "" };
    write!(f, "{scheme}:{program}{rest}")
}

impl fmt::Debug for CommandTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use regex::Regex;
    use rstest::rstest;

    #[rstest]
    #[case("ffmpeg -i a.mp4", &["ffmpeg", "-i", "a.mp4"])]
    #[case("  a\t'b c' \"d \\\" \\\\ \\n e\" f\\ g ''", &["a", "b c", "d \" \\ \\n e", "f g", ""])]
    #[case("a 'it'\\''s' x\"y\"z", &["a", "it's", "xyz"])]
    #[case("sh -c 'a | b'", &["sh", "-c", "a | b"])]
    #[case("grep '|' \\;", &["grep", "|", ";"])]
    fn words_are_parted_as_people_expect(#[case] text: &str, #[case] expected: &[&str]) {
        let command = text.parse::<CommandTemplate>().unwrap().filled(None).unwrap();
        assert_eq!(command.words, expected);
    }

    #[rstest]
    #[case("", "there is no program")]
    #[case("''", "there is no program")]
    #[case("a 'b", "a quote in the command is not closed")]
    #[case("a b\\", "a quote in the command is not closed")]
    #[case("a | b", "there is no shell to which | means")]
    #[case("$1 -i", "the program's own name")]
    fn what_cannot_be_run_says_why(#[case] text: &str, #[case] why: &str) {
        let error = text.parse::<CommandTemplate>().unwrap_err().to_string();
        assert!(error.starts_with(why), "{error}");
    }

    #[test]
    fn the_length_limit_is_exact() {
        assert!("x".repeat(MAX_BYTES).parse::<CommandTemplate>().is_ok());
        assert!("x".repeat(MAX_BYTES + 1).parse::<CommandTemplate>().is_err());
    }

    fn filled(name: &str, command: &str) -> Result<Command, InvalidWord> {
        let captures = Regex::new("^(.+)/(.+)$").unwrap();
        let captures = captures.captures(name).unwrap();
        command.parse::<CommandTemplate>().unwrap().filled(Some(&captures))
    }

    #[test]
    fn one_argument_stays_one_and_none_becomes_an_option() {
        let command = filled("a/b", "play --name=$1 '$2 $$1' {output}").unwrap();
        assert_eq!(command.words, ["play", "--name=a", "b $1", "{output}"]);
        assert!(filled("a/-rf", "rm $2").unwrap_err().to_string().contains("an option"));
        // Names have no part that begins with a dot, but an expression may find the end of one.
        let found = Regex::new("^x(.+)$").unwrap();
        let template: CommandTemplate = "play /films/$1 ../$1".parse().unwrap();
        assert!(template.filled(found.captures("x../shadow").as_ref()).is_err());
        assert!(template.filled(found.captures("x..shadow").as_ref()).is_ok());
        // What is in front of it decides what it is.
        assert!(filled("a/-rf", "play ./$2").is_ok() && filled("a/-rf", "play -n$2").is_ok());
    }

    #[test]
    fn the_program_alone_is_shown() {
        let template: CommandTemplate = "/usr/bin/ffmpeg -i rtsp://u:canary@h/x".parse().unwrap();
        let command = template.filled(None).unwrap();
        let shown = format!("{template} {template:?} {command} {command:?}");
        assert_eq!(shown, ["exec:/usr/bin/ffmpeg …"; 4].join(" "));
        assert_eq!(command.name(), "ffmpeg");
    }

    #[test]
    fn the_output_is_put_into_arguments() {
        let command = "play -o x={output}"
            .parse::<CommandTemplate>()
            .unwrap()
            .filled(None)
            .unwrap();
        assert!(command.publishes());
        let arguments: Vec<String> = command.arguments("rtsp://h/x").collect();
        assert_eq!(arguments, ["-o", "x=rtsp://h/x"]);
    }

    proptest! {
        #[test]
        fn no_text_panics(text in ".{0,80}") {
            if let Ok(command) = text.parse::<CommandTemplate>() {
                prop_assert!(!command.0.is_empty());
            }
        }

        #[test]
        fn no_name_changes_how_many_arguments_there_are(name in "[A-Za-z0-9._~/-]{1,40}") {
            let name = format!("{name}/x");
            if let Ok(command) = filled(&name, "play $1 a$1 -x $2") {
                prop_assert_eq!(command.words.len(), 5);
                prop_assert!(!command.words[1].starts_with('-'));
            }
        }
    }
}
