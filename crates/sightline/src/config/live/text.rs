//! The settings file as text: shown without secrets, taken back with them, and whether it can be written.

use std::path::Path;

use schemars::JsonSchema;
use serde::Serialize;

use super::super::load::problem;
use super::super::mediamtx;
use super::super::problem::Origin;
use super::{Live, Refused, Why, redacted};

/// The settings file, as text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "SettingsFile")]
pub struct FileText {
    /// Where it is, or will be.
    pub file: String,
    /// False: there is none yet, and `text` is how it would begin.
    pub exists: bool,
    /// With `[redacted]` and `***` in place of secrets. They are put back by their place when it is sent back.
    pub text: String,
    /// Which text this is; for changing it.
    pub version: String,
    /// Why it cannot be changed here; null: it can.
    pub read_only: Option<String>,
}

impl Live {
    /// The settings file, without secrets. Reads it.
    ///
    /// # Errors
    /// [`Refused`]: it cannot be read, or it is none of which it is known where its secrets are.
    pub fn text(&self) -> Result<FileText, Refused> {
        let current = self.lock();
        let (path, exists) = current.place()?;
        let text = current.text_or_new(&path, exists)?;
        let shown = shown_of(&path, &text)?;
        Ok(FileText {
            version: version_of(&text),
            text: shown,
            read_only: read_only(&path, exists),
            file: path.display().to_string(),
            exists,
        })
    }
}

/// Of a file that is not ours.
pub(super) const OF_MEDIAMTX: &str = "MediaMTX's own file is not written here: change it by hand, which takes effect at once, or make one of ours with \
    `sightline config convert` and start with that";

/// The text of a file without secrets.
pub(super) fn shown_of(path: &Path, text: &str) -> Result<String, Refused> {
    let message = match mediamtx::is_its(path) {
        true => OF_MEDIAMTX,
        false => {
            "the file is no TOML, so that it is not known where its secrets are, and it is not shown; mend it by hand, `sightline config check` says where"
        }
    };
    let shown = redacted::redacted(text).filter(|_| !mediamtx::is_its(path));
    shown.ok_or_else(|| Refused::one(Why::File, problem(None, &path.display().to_string(), message)))
}

/// A text that was shown and changed, with the secrets of the file.
pub(super) fn with_secrets(path: &Path, text: &str, old: &str) -> Result<String, Refused> {
    redacted::put_back(text, old).map_err(|lost| {
        let origin = |line| Origin::File {
            path: path.to_owned(),
            line,
            column: 1,
        };
        let problems = lost
            .into_iter()
            .map(|lost| problem(Some(origin(lost.line)), &lost.key, lost.message));
        Refused::new(Why::Invalid, problems.collect())
    })
}

/// Which text it is: who changes what was shown says so, and learns if it is another by then. Secrets count, and are told nothing of: it is a number for this
/// run of the program alone.
pub(super) fn version_of(text: &str) -> String {
    use std::hash::BuildHasher as _;
    static SEED: std::sync::LazyLock<std::hash::RandomState> = std::sync::LazyLock::new(Default::default);
    format!("{:016x}", SEED.hash_one(text))
}

/// Why the file cannot be changed here; `None`: it can, as far as one can know beforehand.
pub(super) fn read_only(path: &Path, exists: bool) -> Option<String> {
    if mediamtx::is_its(path) {
        return Some(OF_MEDIAMTX.to_owned());
    }
    let writable = |path: &Path| {
        #[cfg(unix)]
        return rustix::fs::access(path, rustix::fs::Access::WRITE_OK).is_ok();
        #[cfg(not(unix))]
        return std::fs::metadata(path).is_ok_and(|about| !about.permissions().readonly());
    };
    // Replaced where its folder allows that, else written in place; a folder that is not there yet is made.
    let path = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let folder = path.ancestors().skip(1).find(|folder| folder.exists());
    if (exists && writable(&path)) || folder.is_some_and(writable) {
        return None;
    }
    let file = path.display();
    Some(format!(
        "{file} cannot be written by the user of this program: change it where it comes from"
    ))
}
