//! Uploads as settings hold them: where they go, and what can be wrong with them together.
//!
//! Does not belong here: sending anything ([`crate::upload`], [`crate::s3`]).

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use super::load::Wrong;
use super::settings::Settings;
use super::units::{InvalidWord, Span};
use crate::secret::redacted_url;

/// Where files are put.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UploadTarget {
    /// A bucket.
    S3(S3Place),
    /// A folder of this machine, or one that is mounted.
    Folder(PathBuf),
}

/// A place in a bucket.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct S3Place {
    /// The bucket.
    pub bucket: String,
    /// What stands in front of all names; empty, or without slashes at its ends.
    pub prefix: String,
}

/// Most uploads.
const MOST: usize = 64;
/// The longest prefix; the name of an object has at most 1,024 bytes.
const MAX_PREFIX_BYTES: usize = 400;
const SCHEME: &str = "s3://";
const EVERY: std::ops::RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(86_400);

impl FromStr for UploadTarget {
    type Err = InvalidWord;

    fn from_str(text: &str) -> Result<Self, InvalidWord> {
        let text = text.trim();
        let is_s3 = text
            .get(..SCHEME.len())
            .is_some_and(|begin| begin.eq_ignore_ascii_case(SCHEME));
        if is_s3 {
            return text.parse().map(Self::S3);
        }
        let why = match text {
            "" => "it is empty",
            text if text.contains("://") => "it is neither a folder nor in S3",
            text if text.chars().any(char::is_control) => "it holds a control character",
            text => return Ok(Self::Folder(text.into())),
        };
        let shown = redacted_url(text);
        Err(InvalidWord::new(format!(
            "{shown:?} is no place for uploads: {why}; write s3://bucket/prefix or a folder"
        )))
    }
}

impl FromStr for S3Place {
    type Err = InvalidWord;

    fn from_str(text: &str) -> Result<Self, InvalidWord> {
        let refused = |why: &str| {
            let message = format!("no place in S3: {why}; write it like s3://bucket/prefix");
            Err(InvalidWord::new(message))
        };
        let rest = match text.trim().get(..SCHEME.len()) {
            Some(begin) if begin.eq_ignore_ascii_case(SCHEME) => text.trim().get(SCHEME.len()..).unwrap_or_default(),
            _ => return refused("it does not begin with s3://"),
        };
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        if bucket.contains(['@', ':']) {
            return refused("keys do not stand in it, but in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY");
        }
        let is_bucket = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
        if !(3..=63).contains(&bucket.len()) || !bucket.chars().all(is_bucket) {
            return refused("a bucket has 3 to 63 letters, digits, dots and hyphens");
        }
        let prefix = prefix.trim_matches('/');
        if prefix.len() > MAX_PREFIX_BYTES {
            return refused("its prefix is longer than 400 bytes");
        }
        // What other programs would take for another name.
        let is_odd = |c: char| c.is_control() || "\\?#*<>|\"".contains(c);
        if prefix.chars().any(is_odd)
            || (!prefix.is_empty() && prefix.split('/').any(|part| ["", ".", ".."].contains(&part)))
        {
            return refused("its prefix holds an empty part, a part of dots alone, or one of \\ ? # * < > | \"");
        }
        Ok(Self {
            bucket: bucket.to_owned(),
            prefix: prefix.to_owned(),
        })
    }
}

impl S3Place {
    /// The whole name of what is called so there.
    pub fn key(&self, name: &str) -> String {
        match self.prefix.is_empty() {
            true => name.to_owned(),
            false => format!("{}/{name}", self.prefix),
        }
    }
}

impl fmt::Display for S3Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.prefix.is_empty() {
            true => write!(f, "{SCHEME}{}", self.bucket),
            false => write!(f, "{SCHEME}{}/{}", self.bucket, self.prefix),
        }
    }
}

impl fmt::Display for UploadTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::S3(place) => place.fmt(f),
            Self::Folder(folder) => folder.display().fmt(f),
        }
    }
}

/// What is wrong in the tables `[upload.NAME]`.
pub(super) fn wrong(settings: &Settings) -> Vec<Wrong> {
    let mut wrong = Vec::new();
    if settings.upload.len() > MOST {
        let message = format!(
            "there are {} uploads; at most {MOST} are possible",
            settings.upload.len()
        );
        wrong.push(("upload".to_owned(), message));
    }
    for (name, upload) in &settings.upload {
        let mut refuse = |key: &str, why: String| wrong.push((format!("upload.{name}.{key}"), why));
        if !EVERY.contains(&upload.every.0) {
            let every = Span(upload.every.0);
            refuse("every", format!("{every} is not between 1s and 1d"));
        }
        if upload.stream.is_some() && upload.source.is_some() {
            let message = "a stream of this server and a source of its own cannot both be taken; leave one out";
            refuse("source", message.to_owned());
        }
    }
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("s3://bucket", "s3://bucket", "x.jpg")]
    #[case(" S3://my-bucket.1/a/b/ ", "s3://my-bucket.1/a/b", "a/b/x.jpg")]
    #[case(
        "s3://bucket/kamera \u{fc}ber",
        "s3://bucket/kamera \u{fc}ber",
        "kamera \u{fc}ber/x.jpg"
    )]
    fn places_in_s3(#[case] text: &str, #[case] shown: &str, #[case] key: &str) {
        let UploadTarget::S3(place) = text.parse().unwrap() else {
            panic!("{text}")
        };
        assert_eq!((place.to_string().as_str(), place.key("x.jpg").as_str()), (shown, key));
    }

    #[rstest]
    #[case("", "it is empty")]
    #[case("ftp://u:pa55@host/x", "neither a folder nor in S3")]
    #[case("s3://", "3 to 63 letters")]
    #[case("s3://ab", "3 to 63 letters")]
    #[case("s3://KEY:pa55@bucket", "keys do not stand in it")]
    #[case("s3://bucket/a//b", "an empty part")]
    #[case("s3://bucket/../b", "a part of dots")]
    #[case("s3://bucket/a?b", "one of")]
    #[case("a\u{7}b", "control character")]
    fn no_places(#[case] text: &str, #[case] why: &str) {
        let error = text.parse::<UploadTarget>().unwrap_err().to_string();
        assert!(error.contains(why) && !error.contains("pa55"), "{error}");
    }

    #[test]
    fn what_cannot_be_is_said_where_it_stands() {
        let text = "[upload.a]\nevery = \"500ms\"\n[upload.b]\nstream = \"x\"\nsource = \"rtsp://10.0.0.4/1\"\n[upload.c]\nevery = 5";
        let settings: Settings = toml::from_str(text).unwrap();
        let keys: Vec<String> = wrong(&settings).into_iter().map(|(key, _)| key).collect();
        assert_eq!(keys, ["upload.a.every", "upload.b.source"]);
    }
}
