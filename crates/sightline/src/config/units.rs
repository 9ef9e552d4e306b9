//! Values with their unit, as words: `40ms`, `800k`, `16MiB`, `640x480`, `29.97`.
//!
//! Belongs here: types that read such a word, refuse it with a sentence that says what was meant, and write it back. One macro makes each of them a setting (serde, JSON Schema). Does not belong here: which settings exist ([`super::settings`]).

mod field;
mod text;

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use device::picture::FrameRate;
use media::StreamName;
use protocol::rtsp::url::{InvalidUrl, Url};

use crate::secret::{Secret, redacted_url};
pub use field::Field;

/// Why a word was refused. The text is for people and stands behind the name of the setting.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidWord(String);

impl InvalidWord {
    pub(crate) fn new(why: String) -> Self {
        Self(why)
    }
}

fn invalid(text: impl Into<String>) -> InvalidWord {
    InvalidWord(text.into())
}

/// A time span: a number and `us`, `ms`, `s`, `min`, `h` or `d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub std::time::Duration);

/// Units of time in microseconds, smallest first.
const TIME_UNITS: [(&str, u64); 6] = [
    ("us", 1),
    ("ms", 1_000),
    ("s", 1_000_000),
    ("min", 60_000_000),
    ("h", 3_600_000_000),
    ("d", 86_400_000_000),
];

impl FromStr for Span {
    type Err = InvalidWord;

    fn from_str(text: &str) -> Result<Self, InvalidWord> {
        let (number, unit) = split_unit(text);
        let hint = "write a number and a unit, such as 40ms, 5s, 10min, 6h";
        if unit.is_empty() && number.parse::<f64>().is_ok() {
            return Err(invalid(format!("{text:?} has no unit; {hint}")));
        }
        let micros = TIME_UNITS
            .iter()
            .find(|(name, _)| *name == unit)
            .map(|(_, micros)| *micros);
        let micros = micros.and_then(|micros| scaled(number, micros));
        let micros = micros.ok_or_else(|| invalid(format!("{text:?} is not a time span; {hint}")))?;
        Ok(Self(std::time::Duration::from_micros(micros)))
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = u64::try_from(self.0.as_micros()).unwrap_or(u64::MAX);
        write_in_largest(f, micros, &TIME_UNITS, "s")
    }
}

/// A bitrate in bits per second: a number and `k` (1,000) or `M` (1,000,000), or a plain number of bits per second.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bitrate {
    bits_per_second: u64,
}

impl Bitrate {
    /// From kilobits (1,000 bits) per second.
    pub const fn from_kbps(kbps: u32) -> Self {
        Self {
            bits_per_second: kbps as u64 * 1_000,
        }
    }

    /// Kilobits per second, rounded down, saturating.
    pub fn kbps(self) -> u32 {
        u32::try_from(self.bits_per_second / 1_000).unwrap_or(u32::MAX)
    }
}

/// What every encoder takes.
const LEAST_BITRATE: u64 = 32_000;
const MOST_BITRATE: u64 = 100_000_000;
const BITRATE_UNITS: [(&str, u64); 3] = [("", 1), ("k", 1_000), ("M", 1_000_000)];

impl FromStr for Bitrate {
    type Err = InvalidWord;

    fn from_str(text: &str) -> Result<Self, InvalidWord> {
        let (number, unit) = split_unit(text);
        let factor = match unit {
            "" => Some(1),
            "k" | "K" | "kbps" | "kb/s" | "kbit/s" => Some(1_000),
            "M" | "m" | "Mbps" | "Mb/s" | "Mbit/s" => Some(1_000_000),
            _ => None,
        };
        let bits_per_second = factor.and_then(|factor| scaled(number, factor)).ok_or_else(|| {
            invalid(format!(
                "{text:?} is not a bitrate; write it like 800k or 2M (bits per second)"
            ))
        })?;
        let least = LEAST_BITRATE;
        let most = MOST_BITRATE;
        if bits_per_second < least {
            let meant = format!("{number}k");
            let hint = if unit.is_empty() && meant.parse::<Self>().is_ok() {
                format!("; did you mean {meant}?")
            } else {
                "; more is needed for a picture, 800k is usual at 640x480".to_owned()
            };
            return Err(invalid(format!(
                "{text:?} is less than {} bits per second{hint}",
                Self { bits_per_second: least }
            )));
        }
        if bits_per_second > most {
            return Err(invalid(format!(
                "{text:?} is more than {} bits per second",
                Self { bits_per_second: most }
            )));
        }
        Ok(Self { bits_per_second })
    }
}

impl fmt::Display for Bitrate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_in_largest(f, self.bits_per_second, &BITRATE_UNITS, "")
    }
}

/// An amount of memory or storage in bytes: a number and `KiB`, `MiB`, `GiB`, `kB`, `MB`, `GB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bytes(pub u64);

const BYTE_UNITS: [(&str, u64); 5] = [
    ("B", 1),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
];

impl FromStr for Bytes {
    type Err = InvalidWord;

    fn from_str(text: &str) -> Result<Self, InvalidWord> {
        let (number, unit) = split_unit(text);
        let factor = match unit {
            "kB" => Some(1_000),
            "MB" => Some(1_000_000),
            "GB" => Some(1_000_000_000),
            "TB" => Some(1_000_000_000_000),
            _ => BYTE_UNITS
                .iter()
                .find(|(name, _)| *name == unit)
                .map(|(_, factor)| *factor),
        };
        factor
            .and_then(|factor| scaled(number, factor))
            .map(Self)
            .ok_or_else(|| {
                invalid(format!(
                    "{text:?} is not an amount of bytes; write it like 16MiB or 500MB"
                ))
            })
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_in_largest(f, self.0, &BYTE_UNITS, "B")
    }
}

/// Width and height of a picture in pixels, `640x480`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Pixels per row, even, 16 to 8,192.
    pub width: u32,
    /// Rows, even, 16 to 8,192.
    pub height: u32,
}

impl FromStr for Size {
    type Err = InvalidWord;

    fn from_str(text: &str) -> Result<Self, InvalidWord> {
        let sides = text.split_once(['x', 'X', '×']);
        let sides = sides.and_then(|(width, height)| Some((width.parse().ok()?, height.parse().ok()?)));
        let Some((width, height)) = sides else {
            return Err(invalid(format!(
                "{text:?} is not a size; write width and height like 640x480"
            )));
        };
        for side in [width, height] {
            if !(16..=device::picture::MAX_DIMENSION).contains(&side) || side % 2 != 0 {
                return Err(invalid(format!(
                    "{text:?} cannot be encoded: width and height are even numbers from 16 to {}",
                    device::picture::MAX_DIMENSION
                )));
            }
        }
        Ok(Self { width, height })
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}", self.width, self.height)
    }
}

/// Pictures per second: `30`, `29.97`, `30000/1001`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fps(pub FrameRate);

impl FromStr for Fps {
    type Err = InvalidWord;

    fn from_str(text: &str) -> Result<Self, InvalidWord> {
        let hint = "write pictures per second, from 1/60 to 480, like 30, 29.97 or 30000/1001";
        let fraction = match text.split_once('/') {
            Some((frames, seconds)) => frames.parse().ok().zip(seconds.parse().ok()),
            None => fraction(text),
        };
        fraction
            .and_then(|(frames, seconds)| FrameRate::new(frames, seconds))
            .map(Self)
            .ok_or_else(|| invalid(format!("{text:?} is not a frame rate; {hint}")))
    }
}

/// A decimal number as a fraction. 23.976, 29.97 and 59.94 are what people write for 24, 30 and 60 frames in 1.001 seconds.
fn fraction(text: &str) -> Option<(u32, u32)> {
    match text {
        "23.976" | "23.98" => return Some((24_000, 1_001)),
        "29.97" => return Some((30_000, 1_001)),
        "59.94" => return Some((60_000, 1_001)),
        _ => {}
    }
    let thousandths = u32::try_from(scaled(text, 1_000)?).ok()?;
    Some(if thousandths.is_multiple_of(1_000) {
        (thousandths / 1_000, 1)
    } else {
        (thousandths, 1_000)
    })
}

impl fmt::Display for Fps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0.frames(), self.0.seconds()) {
            (frames, 1) => write!(f, "{frames}"),
            (frames, seconds) => write!(f, "{frames}/{seconds}"),
        }
    }
}

/// Where pictures come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The first camera that is found, else the test pattern.
    Auto,
    /// This one.
    Word(device::source::Word),
}

impl FromStr for Source {
    type Err = InvalidWord;

    fn from_str(text: &str) -> Result<Self, InvalidWord> {
        use device::source::InvalidWord as Wrong;
        if text.trim() == "auto" {
            return Ok(Self::Auto);
        }
        text.parse().map(Self::Word).map_err(|error| match error {
            // These list the words that name one source.
            Wrong::Empty | Wrong::Unknown(_) => {
                invalid(format!("{error}, and auto for the first camera that is found"))
            }
            _ => invalid(error.to_string()),
        })
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Word(word) => word.fmt(f),
        }
    }
}

/// The name of a stream as a key of a table.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name(pub StreamName);

impl FromStr for Name {
    type Err = media::name::InvalidName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// An address to listen on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address(pub IpAddr);

impl FromStr for Address {
    type Err = InvalidWord;

    fn from_str(text: &str) -> Result<Self, InvalidWord> {
        let address = text.parse().map(Self);
        address.map_err(|_| invalid(format!("{text:?} is not an IP address such as 192.168.1.5 or ::1")))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Where a stream is. `Debug` and `Display` leave credentials out.
#[derive(Clone, PartialEq, Eq)]
pub struct StreamUrl(pub Url);

impl FromStr for StreamUrl {
    type Err = InvalidWord;

    fn from_str(text: &str) -> Result<Self, InvalidWord> {
        let url: Url = text.parse().map_err(|error: InvalidUrl| invalid(error.to_string()))?;
        // Which of its numbers is the port cannot be told.
        if url.host.contains(':') && !text.contains(&format!("[{}]", url.host)) {
            return Err(invalid(
                "an IPv6 address stands in brackets in a URL; write it like rtsp://[fd00::2]:8554/zerolatency"
                    .to_owned(),
            ));
        }
        Ok(Self(url))
    }
}

impl fmt::Display for StreamUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The URL itself leaves out user and password, not a token in its query.
        f.write_str(&redacted_url(&self.0.to_string()))
    }
}

impl fmt::Debug for StreamUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// On, off, or decided by the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Switch {
    /// The program decides.
    Auto,
    /// Always.
    On,
    /// Never.
    Off,
}

impl Switch {
    /// On or off, `auto` where the program decides.
    pub fn or(self, auto: bool) -> bool {
        match self {
            Self::Auto => auto,
            Self::On => true,
            Self::Off => false,
        }
    }
}

impl FromStr for Switch {
    type Err = InvalidWord;

    fn from_str(text: &str) -> Result<Self, InvalidWord> {
        match text {
            "auto" => Ok(Self::Auto),
            "on" | "true" | "yes" | "1" => Ok(Self::On),
            "off" | "false" | "no" | "0" => Ok(Self::Off),
            _ => Err(invalid(format!("{text:?} is neither \"auto\", \"on\" nor \"off\""))),
        }
    }
}

impl fmt::Display for Switch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::On => "on",
            Self::Off => "off",
        })
    }
}

impl FromStr for Secret {
    type Err = InvalidWord;

    fn from_str(text: &str) -> Result<Self, InvalidWord> {
        // The text itself must not appear in the message.
        if text.is_empty() {
            return Err(invalid("it is empty; leave it out or give one"));
        }
        if text.chars().any(char::is_control) {
            return Err(invalid(
                "it holds a control character, which cannot be typed as a password",
            ));
        }
        Ok(Self::new(text))
    }
}

/// Splits `1.5s` into `1.5` and `s`; blanks around the unit are dropped.
fn split_unit(text: &str) -> (&str, &str) {
    let text = text.trim();
    let end = text
        .find(|c: char| !c.is_ascii_digit() && c != '.' && c != '_')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    (number, unit.trim_start())
}

/// `number × factor`, exact, where `number` has at most a few decimals. `None` when it is no number, negative, too large, or not whole after scaling.
fn scaled(number: &str, factor: u64) -> Option<u64> {
    let number = number.replace('_', "");
    let (whole, decimals) = number.split_once('.').unwrap_or((&number, ""));
    if whole.is_empty() || decimals.len() > 9 || (number.contains('.') && decimals.is_empty()) {
        return None;
    }
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    if !digits(whole) || !digits(decimals) {
        return None;
    }
    let power = 10_u64.pow(u32::try_from(decimals.len()).ok()?);
    let part = if decimals.is_empty() { 0 } else { decimals.parse().ok()? };
    let value = whole.parse::<u64>().ok()?.checked_mul(power)?.checked_add(part)?;
    let value = value.checked_mul(factor)?;
    value.is_multiple_of(power).then(|| value / power)
}

/// Writes the value in the largest unit that divides it; zero in `zero_unit`.
fn write_in_largest(f: &mut fmt::Formatter<'_>, value: u64, units: &[(&str, u64)], zero_unit: &str) -> fmt::Result {
    if value == 0 {
        return write!(f, "0{zero_unit}");
    }
    let largest = units.iter().rev().find(|(_, factor)| value.is_multiple_of(*factor));
    let (name, factor) = largest.copied().unwrap_or((zero_unit, 1));
    write!(f, "{}{name}", value / factor)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rstest::rstest;
    use std::time::Duration;

    #[rstest]
    #[case("5s", Duration::from_secs(5), "5s")]
    #[case("40ms", Duration::from_millis(40), "40ms")]
    #[case("1.5s", Duration::from_millis(1_500), "1500ms")]
    #[case("90 min", Duration::from_secs(5_400), "90min")]
    #[case("120min", Duration::from_secs(7_200), "2h")]
    #[case("0s", Duration::ZERO, "0s")]
    #[case("250us", Duration::from_micros(250), "250us")]
    fn spans(#[case] text: &str, #[case] span: Duration, #[case] shown: &str) {
        let read: Span = text.parse().unwrap();
        assert_eq!((read.0, read.to_string().as_str()), (span, shown));
    }

    #[rstest]
    #[case("5", "\"5\" has no unit; write a number and a unit, such as 40ms, 5s, 10min, 6h")]
    #[case(
        "5 parsecs",
        "\"5 parsecs\" is not a time span; write a number and a unit, such as 40ms, 5s, 10min, 6h"
    )]
    #[case(
        "-5s",
        "\"-5s\" is not a time span; write a number and a unit, such as 40ms, 5s, 10min, 6h"
    )]
    #[case(
        "",
        "\"\" is not a time span; write a number and a unit, such as 40ms, 5s, 10min, 6h"
    )]
    fn wrong_spans(#[case] text: &str, #[case] why: &str) {
        assert_eq!(text.parse::<Span>().unwrap_err().to_string(), why);
    }

    #[rstest]
    #[case("800k", 800, "800k")]
    #[case("2M", 2_000, "2M")]
    #[case("1.5M", 1_500, "1500k")]
    #[case("2000000", 2_000, "2M")]
    #[case("2 Mbit/s", 2_000, "2M")]
    fn bitrates(#[case] text: &str, #[case] kbps: u32, #[case] shown: &str) {
        let read: Bitrate = text.parse().unwrap();
        assert_eq!((read.kbps(), read.to_string().as_str()), (kbps, shown));
    }

    #[rstest]
    #[case("800", "\"800\" is less than 32k bits per second; did you mean 800k?")]
    #[case(
        "1k",
        "\"1k\" is less than 32k bits per second; more is needed for a picture, 800k is usual at 640x480"
    )]
    #[case(
        "0",
        "\"0\" is less than 32k bits per second; more is needed for a picture, 800k is usual at 640x480"
    )]
    #[case("101M", "\"101M\" is more than 100M bits per second")]
    #[case("fast", "\"fast\" is not a bitrate; write it like 800k or 2M (bits per second)")]
    fn wrong_bitrates(#[case] text: &str, #[case] why: &str) {
        assert_eq!(text.parse::<Bitrate>().unwrap_err().to_string(), why);
    }

    #[rstest]
    #[case("16MiB", 16 << 20, "16MiB")]
    #[case("500MB", 500_000_000, "500000000B")]
    #[case("1.5GiB", 3 << 29, "1536MiB")]
    fn bytes(#[case] text: &str, #[case] number: u64, #[case] shown: &str) {
        let read: Bytes = text.parse().unwrap();
        assert_eq!((read.0, read.to_string().as_str()), (number, shown));
    }

    #[rstest]
    #[case("640x480", Some((640, 480)))]
    #[case("1920×1080", Some((1920, 1080)))]
    #[case("641x480", None)]
    #[case("8x8", None)]
    #[case("10000x10000", None)]
    #[case("640", None)]
    fn sizes(#[case] text: &str, #[case] expected: Option<(u32, u32)>) {
        let read = text.parse::<Size>().ok().map(|size| (size.width, size.height));
        assert_eq!(read, expected);
    }

    #[rstest]
    #[case("30", Some((30, 1)), "30")]
    #[case("29.97", Some((30_000, 1_001)), "30000/1001")]
    #[case("7.5", Some((7_500, 1_000)), "7500/1000")]
    #[case("1/2", Some((1, 2)), "1/2")]
    #[case("0", None, "")]
    #[case("1000", None, "")]
    #[case("fast", None, "")]
    fn frame_rates(#[case] text: &str, #[case] expected: Option<(u32, u32)>, #[case] shown: &str) {
        let read = text.parse::<Fps>().ok();
        assert_eq!(read.map(|fps| (fps.0.frames(), fps.0.seconds())), expected);
        assert_eq!(read.map(|fps| fps.to_string()).unwrap_or_default(), shown);
    }

    proptest! {
        #[test]
        fn what_is_shown_reads_back(micros: u64, bytes: u64, kbps in 32_u32..=100_000, frames in 1_u32..=480) {
            let span = Span(Duration::from_micros(micros));
            prop_assert_eq!(span.to_string().parse::<Span>().unwrap(), span);
            prop_assert_eq!(Bytes(bytes).to_string().parse::<Bytes>().unwrap(), Bytes(bytes));
            let bitrate = Bitrate::from_kbps(kbps);
            prop_assert_eq!(bitrate.to_string().parse::<Bitrate>().unwrap(), bitrate);
            let fps = Fps(FrameRate::whole(frames));
            prop_assert_eq!(fps.to_string().parse::<Fps>().unwrap(), fps);
        }

        #[test]
        fn no_word_panics(text in ".{0,40}") {
            let _ = (text.parse::<Span>(), text.parse::<Bitrate>(), text.parse::<Bytes>(), text.parse::<Size>(), text.parse::<Fps>());
        }
    }
}
