//! Times of the week as people write them: `mon-fri 08:00-18:00`, `sat,sun`, `22:00-06:00`, `mon-fri 08:00-12:00,13:00-18:00`.
//!
//! They are what a clock on the wall shows. In the night in which summer time begins, times between two and three do not come, and when it ends they come
//! twice. A span that ends before it begins goes on into the next day, whichever day that is.

use std::fmt;
use std::str::FromStr;

use jiff::civil::DateTime;

/// One entry of a schedule: days, and spans of minutes within them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Times {
    /// Bit 0: Monday.
    days: u8,
    /// From which minute of the day, and how many.
    spans: Vec<(u16, u16)>,
}

/// Why times were refused. The text is for people.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTimes {
    /// Nothing there.
    #[error("no times are given; {HINT}")]
    Empty,
    /// More than are read.
    #[error("{0} bytes long, at most {MAX_BYTES} are read; write more entries instead")]
    TooLong(usize),
    /// More than days and times.
    #[error("{0:?} stands behind days and times; {HINT}")]
    Behind(String),
    /// No day of the week.
    #[error("{0:?} is no day of the week; {HINT}")]
    Day(String),
    /// No span of the day.
    #[error("{0:?} is no span of the day; {HINT}")]
    Span(String),
    /// It ends where it begins.
    #[error("{0:?} ends when it begins; the whole day is 00:00-24:00")]
    Nothing(String),
}

/// When of a week, to the minute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// A bit a minute, from Monday 00:00 on.
    minutes: Box<[u64]>,
}

impl Schedule {
    /// All of these. Without any it is never.
    pub fn new(entries: &[Times]) -> Self {
        let mut minutes = vec![0_u64; WEEK.div_ceil(64)];
        for Times { days, spans } in entries {
            for day in (0..7).filter(|day| days & (1 << day) != 0) {
                for (from, count) in spans {
                    for minute in *from..from + count {
                        let minute = (day * usize::from(DAY) + usize::from(minute)) % WEEK;
                        if let Some(word) = minutes.get_mut(minute / 64) {
                            *word |= 1 << (minute % 64);
                        }
                    }
                }
            }
        }
        Self {
            minutes: minutes.into(),
        }
    }

    /// It is never.
    pub fn is_empty(&self) -> bool {
        self.minutes.iter().all(|word| *word == 0)
    }

    /// Whether it is then, in local time.
    pub fn contains(&self, local: DateTime) -> bool {
        // All of them are small and none is negative.
        let day = local.weekday().to_monday_zero_offset() as usize;
        let minute = day * usize::from(DAY) + local.hour() as usize * 60 + local.minute() as usize;
        let word = self.minutes.get(minute / 64).copied().unwrap_or_default();
        word & (1 << (minute % 64)) != 0
    }
}

impl FromStr for Times {
    type Err = InvalidTimes;

    fn from_str(text: &str) -> Result<Self, InvalidTimes> {
        if text.len() > MAX_BYTES {
            return Err(InvalidTimes::TooLong(text.len()));
        }
        let lower = text.to_ascii_lowercase();
        let mut words = lower.split_whitespace().peekable();
        let begins_with_a_day = |word: &&str| !word.starts_with(|c: char| c.is_ascii_digit());
        let days = words.next_if(begins_with_a_day).map(read_days).transpose()?;
        let spans = words.next().map(read_spans).transpose()?;
        if days.is_none() && spans.is_none() {
            return Err(InvalidTimes::Empty);
        }
        match words.next() {
            Some(behind) => Err(InvalidTimes::Behind(behind.to_owned())),
            None => Ok(Self {
                days: days.unwrap_or(ALL_DAYS),
                spans: spans.unwrap_or_else(|| vec![(0, DAY)]),
            }),
        }
    }
}

impl fmt::Display for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut between = "";
        if self.days != ALL_DAYS {
            let has = |day: usize| day < 7 && self.days & (1 << day) != 0;
            let begins = (0..7).filter(|&day| has(day) && (day == 0 || !has(day - 1)));
            for first in begins {
                let last = (first..7).take_while(|&day| has(day)).last().unwrap_or(first);
                f.write_str(between)?;
                f.write_str(short(first))?;
                if last > first {
                    write!(f, "-{}", short(last))?;
                }
                between = ",";
            }
            between = " ";
        }
        for (from, count) in &self.spans {
            // What ends with its day reads as that.
            let to = match from + count {
                DAY => DAY,
                to => to % DAY,
            };
            write!(
                f,
                "{between}{:02}:{:02}-{:02}:{:02}",
                from / 60,
                from % 60,
                to / 60,
                to % 60
            )?;
            between = ",";
        }
        Ok(())
    }
}

/// `mon-fri,sun`
fn read_days(word: &str) -> Result<u8, InvalidTimes> {
    let mut days = 0;
    for part in word.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (read_day(first)?, read_day(last)?);
        // Around the end of the week where it must be.
        let count = (last + 7 - first) % 7 + 1;
        for day in first..first + count {
            days |= 1 << (day % 7);
        }
    }
    Ok(days)
}

fn read_day(word: &str) -> Result<usize, InvalidTimes> {
    let found = DAYS.iter().position(|day| *day == word || day.get(..3) == Some(word));
    found.ok_or_else(|| InvalidTimes::Day(word.to_owned()))
}

/// `08:00-12:00,13:00-18:00`
fn read_spans(word: &str) -> Result<Vec<(u16, u16)>, InvalidTimes> {
    word.split(',').map(read_span).collect()
}

fn read_span(word: &str) -> Result<(u16, u16), InvalidTimes> {
    let ends = word
        .split_once('-')
        .and_then(|(from, to)| Some((read_minute(from)?, read_minute(to)?)));
    let Some((from, to)) = ends.filter(|(from, _)| *from < DAY) else {
        return Err(InvalidTimes::Span(word.to_owned()));
    };
    if from == to {
        return Err(InvalidTimes::Nothing(word.to_owned()));
    }
    Ok((from, if to > from { to - from } else { DAY - from + to }))
}

/// The minute of the day, up to 24:00.
fn read_minute(word: &str) -> Option<u16> {
    let (hour, minute) = word.split_once(':')?;
    let is_number = |digits: &str| digits.bytes().all(|digit| digit.is_ascii_digit());
    if !is_number(hour) || !is_number(minute) || !(1..=2).contains(&hour.len()) || minute.len() != 2 {
        return None;
    }
    let (hour, minute): (u16, u16) = (hour.parse().ok()?, minute.parse().ok()?);
    let of_day = hour * 60 + minute;
    (minute < 60 && of_day <= DAY).then_some(of_day)
}

fn short(day: usize) -> &'static str {
    DAYS.get(day).and_then(|day| day.get(..3)).unwrap_or_default()
}

const HINT: &str = "write them like \"mon-fri 08:00-18:00\", \"sat,sun\" or \"22:00-06:00\"";
const DAYS: [&str; 7] = [
    "monday",
    "tuesday",
    "wednesday",
    "thursday",
    "friday",
    "saturday",
    "sunday",
];
const ALL_DAYS: u8 = 0x7f;
/// Minutes of a day, and of a week.
const DAY: u16 = 1_440;
const WEEK: usize = 7 * 1_440;
/// The longest entry that is read.
const MAX_BYTES: usize = 200;

#[cfg(test)]
mod tests;
