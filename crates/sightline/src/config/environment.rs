//! Environment variables, those of the process over those of `.env`.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use super::dotenv;

/// Longest `.env` that is read, in bytes. What is longer is some other file.
const MAX_BYTES: u64 = 64 << 10;

/// Variables and where each comes from.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    variables: BTreeMap<String, Variable>,
    /// Those of the file that the process has too.
    overruled: BTreeMap<String, Variable>,
    notices: Vec<String>,
}

#[derive(Clone)]
struct Variable {
    value: String,
    from: From,
}

impl fmt::Debug for Variable {
    // Values are often passwords.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.from.fmt(f)
    }
}

/// Where a variable stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum From {
    /// The environment of the process.
    Process,
    /// A line of a file.
    File {
        /// Which file.
        path: PathBuf,
        /// From 1.
        line: usize,
    },
}

impl Environment {
    /// The environment of this process over the file `.env` in its working directory.
    pub fn of_process() -> Self {
        Self::of_process_over(Path::new(".env"))
    }

    /// The environment of this process over such a file.
    pub fn of_process_over(path: &Path) -> Self {
        let mut environment = Self::of_file(path);
        // Variables that are not UTF-8 are none of ours.
        let process =
            std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
        environment.overlay(process);
        environment
    }

    /// The variables of one `.env` file; none when there is no such file. It may belong to another program, so whatever is wrong with it is
    /// a notice.
    pub fn of_file(path: &Path) -> Self {
        let mut environment = Self::default();
        match std::fs::metadata(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return environment,
            Ok(metadata) if !metadata.is_file() => return environment,
            Ok(metadata) if metadata.len() > MAX_BYTES => {
                environment.note(format!(
                    "{} is too long to be a list of variables; it is not read",
                    path.display()
                ));
                return environment;
            }
            _ => {}
        }
        let text = match std::fs::read(path) {
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(error) => {
                environment.note(format!("{} cannot be read: {error}", path.display()));
                return environment;
            }
        };
        let (variables, odd_lines) = dotenv::parse(&text);
        for line in odd_lines {
            environment.note(format!(
                "{}:{line}: not of the form NAME=value; the line is ignored",
                path.display()
            ));
        }
        for variable in variables {
            let from = From::File {
                path: path.to_owned(),
                line: variable.line,
            };
            let value = variable.value;
            environment.variables.insert(variable.name, Variable { value, from });
        }
        environment
    }

    /// An environment of these variables alone.
    pub fn of<'a>(variables: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let mut environment = Self::default();
        environment.overlay(
            variables
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value.to_owned())),
        );
        environment
    }

    /// The value of a variable, `None` when it is not set or empty: `NAME=` in a script means "not set".
    pub fn get(&self, name: &str) -> Option<&str> {
        let variable = self.variables.get(name)?;
        Some(variable.value.as_str()).filter(|value| !value.is_empty())
    }

    /// Where a variable stands.
    pub fn from(&self, name: &str) -> Option<&From> {
        self.variables.get(name).map(|variable| &variable.from)
    }

    /// What the file says of a variable that the process sets, and where; `None` when it says nothing.
    pub fn overruled(&self, name: &str) -> Option<(&str, &From)> {
        let variable = self.overruled.get(name)?;
        Some((variable.value.as_str(), &variable.from)).filter(|(value, _)| !value.is_empty())
    }

    /// All variables whose name starts so and that are not empty.
    pub fn starting_with(&self, prefix: &'static str) -> impl Iterator<Item = (&str, &str)> {
        let all = self.variables.iter().filter(move |(name, _)| name.starts_with(prefix));
        all.map(|(name, variable)| (name.as_str(), variable.value.as_str()))
            .filter(|(_, value)| !value.is_empty())
    }

    /// What was odd about the files.
    pub fn notices(&self) -> &[String] {
        &self.notices
    }

    fn overlay(&mut self, variables: impl Iterator<Item = (String, String)>) {
        for (name, value) in variables {
            let from = From::Process;
            let before = self.variables.insert(name.clone(), Variable { value, from });
            if let Some(before) = before {
                self.overruled.insert(name, before);
            }
        }
    }

    fn note(&mut self, notice: String) {
        self.notices.push(notice);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_process_wins_over_the_file_and_empty_means_unset() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(".env");
        std::fs::write(&path, "A=file\nB=file # comment\nodd\nC=file\n").unwrap();
        let mut environment = Environment::of_file(&path);
        environment.overlay(
            [("A", "process"), ("C", "")]
                .map(|(n, v)| (n.to_owned(), v.to_owned()))
                .into_iter(),
        );
        assert_eq!(environment.get("A"), Some("process"));
        assert_eq!(environment.from("A"), Some(&From::Process));
        let from = From::File {
            path: path.clone(),
            line: 1,
        };
        assert_eq!(environment.overruled("A"), Some(("file", &from)));
        assert_eq!(environment.overruled("B"), None);
        assert_eq!(environment.get("B"), Some("file"));
        assert_eq!(environment.from("B"), Some(&From::File { path, line: 2 }));
        assert_eq!(environment.get("C"), None);
        assert_eq!(environment.notices().len(), 1, "{:?}", environment.notices());
    }

    #[test]
    fn no_file_is_no_news() {
        let folder = tempfile::tempdir().unwrap();
        for path in [folder.path().join("nothing"), folder.path().to_owned()] {
            let environment = Environment::of_file(&path);
            assert!(environment.variables.is_empty() && environment.notices().is_empty());
        }
    }

    #[test]
    fn a_huge_file_is_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(".env");
        std::fs::write(&path, "A=1\n".repeat(20_000)).unwrap();
        let environment = Environment::of_file(&path);
        assert_eq!(environment.get("A"), None);
        assert_eq!(environment.notices().len(), 1);
    }

    #[test]
    fn debug_shows_no_values() {
        let environment = Environment::of([("CAMERA_PASSWORD", "canary-7f3a")]);
        assert!(!format!("{environment:?}").contains("canary"));
    }
}
