//! The word that names a source on the command line and in the configuration.
//!
//! Belongs here: reading and writing of such words. Does not belong here: opening what they name, looking whether it is
//! there.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use super::test_pattern::Pattern;

/// Which source to open, as people write it. [`fmt::Display`] gives back a word that [`FromStr`] reads as the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Word {
    /// `test`: the moving picture that costs an encoder real work; `test:bars`: still colour bars.
    Test(Pattern),
    /// `v4l2:/dev/video0`: a camera of the kernel. Also a name that stays the same when cameras are plugged in another order,
    /// as below `/dev/v4l/by-id`.
    V4l2(PathBuf),
    /// `libcamera`, `libcamera:1`: a Raspberry Pi's camera through `rpicam-vid` or `libcamera-vid`, by its number there.
    Libcamera(u8),
    /// `exec:COMMAND`: a shell command that writes H.264 (Annex B) to its standard output.
    ///
    /// Whoever may set this word may run any program as the user that Sightline runs as.
    Exec(String),
    /// `file:PATH`: an MP4 or H.264 file, played in real time and over again.
    File(PathBuf),
}

/// The words there are, for messages and `--help`.
pub const WORDS: &str = "test, test:bars, v4l2:/dev/videoN, libcamera, exec:COMMAND, file:PATH";

/// Longest word in bytes: room for a long pipeline, far below what a kernel takes as one argument (128 KiB on Linux).
const MAX_BYTES: usize = 16 * 1024;

/// Why a word was refused. The text is for people.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidWord {
    /// Nothing there.
    #[error("the source is empty; give one of {WORDS}")]
    Empty,
    /// Longer than 16 KiB.
    #[error("the source is {0} bytes long, at most {MAX_BYTES} are allowed; put a long command into a script")]
    TooLong(usize),
    /// A NUL byte, which no path and no command can hold.
    #[error("the source holds a NUL character, which no path or command can hold")]
    Nul,
    /// Not a word of ours, but what it looks like can be named.
    #[error("{word:?} is not a source; {hint}")]
    Meant {
        /// What was given.
        word: String,
        /// What to write instead, or where such a thing goes.
        hint: String,
    },
    /// Not a word of ours.
    #[error("{0:?} is not a source; there are {WORDS}")]
    Unknown(String),
    /// The part after the colon is missing or not what belongs there.
    #[error("{word:?}: {why}")]
    Argument {
        /// What was given.
        word: String,
        /// What is wrong with it.
        why: &'static str,
    },
}

impl FromStr for Word {
    type Err = InvalidWord;

    fn from_str(text: &str) -> Result<Self, InvalidWord> {
        let text = text.trim();
        if text.is_empty() {
            return Err(InvalidWord::Empty);
        }
        if text.len() > MAX_BYTES {
            return Err(InvalidWord::TooLong(text.len()));
        }
        if text.contains('\0') {
            return Err(InvalidWord::Nul);
        }
        let argument = |why| InvalidWord::Argument {
            word: text.to_owned(),
            why,
        };
        match text
            .split_once(':')
            .map_or((text, None), |(word, rest)| (word, Some(rest)))
        {
            ("test", None) => Ok(Self::Test(Pattern::Moving)),
            ("test", Some("bars")) => Ok(Self::Test(Pattern::Bars)),
            ("test", Some(_)) => Err(argument("there are test and test:bars")),
            ("v4l2", Some(path)) if path.starts_with('/') => Ok(Self::V4l2(PathBuf::from(path))),
            ("v4l2", _) => Err(argument(
                "name the camera's device with its whole path, such as v4l2:/dev/video0",
            )),
            ("libcamera", None) => Ok(Self::Libcamera(0)),
            // Digits alone: `parse` would also take "+1" and "007", which would not be written back the same.
            ("libcamera", Some(index)) => match index.parse::<u8>() {
                Ok(number) if number.to_string() == index => Ok(Self::Libcamera(number)),
                _ => Err(argument("the camera's number is 0 to 255, as in libcamera:1")),
            },
            ("exec", Some(command)) if !command.trim().is_empty() => Ok(Self::Exec(command.trim().to_owned())),
            ("exec", _) => Err(argument(
                "give a command that writes H.264 (Annex B) to its standard output, as in exec:COMMAND",
            )),
            ("file", Some(path)) if !path.is_empty() => Ok(Self::File(PathBuf::from(path))),
            ("file", _) => Err(argument(
                "give the path of an MP4 or H.264 file, as in file:holiday.mp4",
            )),
            _ => Err(unknown(text)),
        }
    }
}

/// What people write who do not know our words yet, and what they meant.
fn unknown(text: &str) -> InvalidWord {
    let lower = text.to_ascii_lowercase();
    let hint = if text.starts_with("/dev/") {
        format!("write v4l2:{text}")
    } else if text.parse::<u8>().is_ok() {
        format!("write v4l2:/dev/video{text}")
    } else if let Some(number) = lower.strip_prefix("video").filter(|rest| rest.parse::<u8>().is_ok()) {
        format!("write v4l2:/dev/video{number}")
    } else if ["rtsp://", "rtsps://", "http://", "https://", "rtmp://", "srt://"]
        .iter()
        .any(|scheme| lower.starts_with(scheme))
    {
        "a URL is a stream to pull, not a source of this machine".to_owned()
    } else if [".mp4", ".mov", ".m4v", ".h264", ".264"]
        .iter()
        .any(|end| lower.ends_with(end))
    {
        format!("write file:{text}")
    } else if matches!(
        lower.split(' ').next(),
        Some("rpicam" | "picamera" | "picamera2" | "rpicam-vid" | "libcamera-vid" | "csi")
    ) {
        "write libcamera for a Raspberry Pi's camera, or exec:COMMAND for a command of your own".to_owned()
    } else {
        return InvalidWord::Unknown(text.to_owned());
    };
    InvalidWord::Meant {
        word: text.to_owned(),
        hint,
    }
}

impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Test(Pattern::Moving) => f.write_str("test"),
            Self::Test(Pattern::Bars) => f.write_str("test:bars"),
            Self::V4l2(path) => write!(f, "v4l2:{}", path.display()),
            Self::Libcamera(0) => f.write_str("libcamera"),
            Self::Libcamera(index) => write!(f, "libcamera:{index}"),
            Self::Exec(command) => write!(f, "exec:{command}"),
            Self::File(path) => write!(f, "file:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn error(text: &str) -> String {
        text.parse::<Word>().unwrap_err().to_string()
    }

    #[test]
    fn reads_every_word() {
        let word = |text: &str| text.parse::<Word>().unwrap();
        assert_eq!(word("test"), Word::Test(Pattern::Moving));
        assert_eq!(word(" test:bars\n"), Word::Test(Pattern::Bars));
        assert_eq!(word("v4l2:/dev/video2"), Word::V4l2("/dev/video2".into()));
        assert_eq!(
            word("v4l2:/dev/v4l/by-id/usb-046d_HD-video-index0"),
            Word::V4l2("/dev/v4l/by-id/usb-046d_HD-video-index0".into())
        );
        assert_eq!(word("libcamera"), Word::Libcamera(0));
        assert_eq!(word("libcamera:0"), Word::Libcamera(0));
        assert_eq!(word("libcamera:1"), Word::Libcamera(1));
        assert_eq!(
            word("exec:ffmpeg -i rtsp://a:b@c -f h264 - | cat"),
            Word::Exec("ffmpeg -i rtsp://a:b@c -f h264 - | cat".to_owned())
        );
        assert_eq!(word("file:a b/c:d.mp4"), Word::File("a b/c:d.mp4".into()));
    }

    #[test]
    fn says_what_is_wrong() {
        assert!(error("").contains("test, test:bars, v4l2:/dev/videoN"));
        assert!(error("webcam").contains("there are test, test:bars"));
        assert!(error("/dev/video0").contains("write v4l2:/dev/video0"));
        assert!(error("0").contains("write v4l2:/dev/video0"));
        assert!(error("video1").contains("write v4l2:/dev/video1"));
        assert!(error("v4l2").contains("v4l2:/dev/video0"));
        assert!(error("v4l2:video0").contains("whole path"));
        assert!(error("rtsp://camera/1").contains("stream to pull"));
        assert!(error("holiday.MP4").contains("write file:holiday.MP4"));
        assert!(error("rpicam-vid -t 0").contains("libcamera"));
        assert!(error("test:card").contains("test:bars"));
        assert!(error("libcamera:300").contains("0 to 255"));
        assert!(error("libcamera:+1").contains("0 to 255"));
        assert!(error("exec: ").contains("exec:COMMAND"));
        assert!(error("file:").contains("file:holiday.mp4"));
        assert!(error("file:a\0b").contains("NUL"));
    }

    #[test]
    fn length_limit_is_exact() {
        let fits = format!("exec:{}", "x".repeat(MAX_BYTES - 5));
        assert!(fits.parse::<Word>().is_ok());
        assert_eq!(
            format!("{fits}x").parse::<Word>(),
            Err(InvalidWord::TooLong(MAX_BYTES + 1))
        );
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(text in "((test|v4l2|libcamera|exec|file)(:.{0,40})?|.{0,40})") {
            if let Ok(word) = text.parse::<Word>() {
                prop_assert_eq!(word.to_string().parse::<Word>(), Ok(word));
            }
        }

        #[test]
        fn any_path_reads_back(path in "/[^\\x00\\s]{1,40}") {
            for word in [Word::V4l2(path.clone().into()), Word::File(path.into())] {
                prop_assert_eq!(word.to_string().parse::<Word>(), Ok(word));
            }
        }
    }
}
