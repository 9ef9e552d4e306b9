//! How one event looks.

use std::fmt::{self, Write as _};

use media::WallTime;
use serde_json::Value as Json;
use tracing::field::{Field, Visit};
use tracing::{Event, Level};

/// For whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    /// People: `14:03:27.512  warn  publisher lost  stream=zerolatency`.
    Human {
        /// With colours.
        colour: bool,
    },
    /// Programs: one JSON object with `timestamp` (RFC 3339, UTC), `level`, `event` and the fields.
    Json,
}

/// Longest value of a field in characters; peers send long ones.
const MAX_VALUE_CHARS: usize = 512;

/// An event, read once for all who are told.
pub(super) struct Line {
    fields: Fields,
    level: Level,
    at: WallTime,
}

impl Line {
    pub(super) fn new(event: &Event<'_>, at: WallTime) -> Self {
        let mut fields = Fields::default();
        event.record(&mut fields);
        Self {
            fields,
            level: *event.metadata().level(),
            at,
        }
    }

    pub(super) fn format(&self, style: Style) -> String {
        match style {
            Style::Human { colour } => human(&self.fields, self.level, self.at, colour),
            Style::Json => json(&self.fields, self.level, self.at),
        }
    }
}

/// The message and the fields of an event.
#[derive(Default)]
struct Fields {
    message: String,
    fields: Vec<(&'static str, Json)>,
}

impl Fields {
    fn add(&mut self, field: &Field, value: impl Into<Json>) {
        self.fields.push((field.name(), value.into()));
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.record_str(field, &format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        let mut value: String = value.chars().take(MAX_VALUE_CHARS.saturating_add(1)).collect();
        if let Some((cut, _)) = value.char_indices().nth(MAX_VALUE_CHARS) {
            value.truncate(cut);
            value.push('…');
        }
        if field.name() == "message" {
            self.message = value;
        } else {
            self.add(field, value);
        }
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field, value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.add(field, value);
    }
}

fn json(fields: &Fields, level: Level, now: WallTime) -> String {
    let mut object = serde_json::Map::new();
    let time = timestamp(now).map(|time| format!("{time:.6}"));
    object.insert("timestamp".to_owned(), time.unwrap_or_default().into());
    object.insert("level".to_owned(), level_name(level).into());
    object.insert("event".to_owned(), fields.message.clone().into());
    for (name, value) in &fields.fields {
        // The three above are what readers rely on.
        let name = match *name {
            "timestamp" | "level" | "event" => format!("field_{name}"),
            _ => (*name).to_owned(),
        };
        object.insert(name, value.clone());
    }
    Json::Object(object).to_string()
}

fn human(fields: &Fields, level: Level, now: WallTime, colour: bool) -> String {
    let mut line = String::new();
    let paint = |code: &'static str| if colour { code } else { "" };
    let time = timestamp(now).map(|time| time.to_zoned(crate::clock::zone()).strftime("%H:%M:%S%.3f").to_string());
    let (dim, reset) = (paint("\x1b[2m"), paint("\x1b[0m"));
    let level_colour = match level {
        Level::ERROR => paint("\x1b[31m"),
        Level::WARN => paint("\x1b[33m"),
        Level::INFO => "",
        _ => dim,
    };
    let level_reset = if level_colour.is_empty() { "" } else { reset };
    let name = level_name(level);
    let time = time.unwrap_or_default();
    // Writing to a String does not fail.
    let _ = write!(line, "{dim}{time}{reset}  {level_colour}{name:<5}{level_reset}  ");
    escape(&fields.message, &mut line);
    for (name, value) in &fields.fields {
        let _ = write!(line, "  {dim}{name}={reset}");
        match value {
            Json::String(text) if needs_quotes(text) => {
                line.push('"');
                escape(&text.replace('\\', "\\\\").replace('"', "\\\""), &mut line);
                line.push('"');
            }
            Json::String(text) => line.push_str(text),
            other => _ = write!(line, "{other}"),
        }
    }
    line
}

fn timestamp(time: WallTime) -> Option<jiff::Timestamp> {
    jiff::Timestamp::from_microsecond(time.unix_micros()).ok()
}

fn level_name(level: Level) -> &'static str {
    match level {
        Level::ERROR => "error",
        Level::WARN => "warn",
        Level::INFO => "info",
        Level::DEBUG => "debug",
        Level::TRACE => "trace",
    }
}

fn needs_quotes(text: &str) -> bool {
    text.is_empty()
        || text
            .chars()
            .any(|c| c.is_whitespace() || c == '"' || c == '=' || is_unsafe(c))
}

/// Characters that would let a peer forge lines or steer the terminal: controls, and those that reorder text.
fn is_unsafe(c: char) -> bool {
    c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn escape(text: &str, line: &mut String) {
    for c in text.chars() {
        if is_unsafe(c) {
            line.extend(c.escape_default());
        } else {
            line.push(c);
        }
    }
}
