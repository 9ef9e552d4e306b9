//! The JSON texts: what clients ask for, and what they are told.

use bytes::Bytes;
use media::{StreamName, WallTime};
use serde::Serialize;
use serde_json::{Map, Value};

use super::{CameraStatus, Command};

/// Longest text from a client, in bytes.
pub const MAX_TEXT_BYTES: usize = 4_096;
/// Longest line of a chat, in characters.
const MAX_CHAT_CHARS: usize = 1_000;
/// Longest name of a file, in bytes.
const MAX_FILE_NAME_BYTES: usize = 200;
/// What is repeated to a client of what it sent, in characters or bytes.
const MAX_REPEATED: usize = 64;

/// What a client asks for.
#[derive(Clone, Debug, PartialEq)]
pub enum Request {
    /// The time here, to compare clocks. Whatever it sent along is sent back.
    Ping(Echo),
    /// A line for everybody.
    Chat(String),
    /// Something for a camera.
    Camera {
        /// Which; `None`: the one that the client's address names, else the default.
        camera: Option<StreamName>,
        /// What.
        asked: Asked,
    },
    /// What only answers are made of: to answer it could go on for ever.
    Answer,
}

/// What can be asked of a camera.
#[derive(Clone, Debug, PartialEq)]
pub enum Asked {
    /// What its publisher is told to do.
    Command(Command),
    /// Recording, which the server does.
    Recording(Recording),
}

/// What is to become of a recording.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Recording {
    /// It begins.
    Start {
        /// What it is to be called; `None`: as others are.
        file: Option<String>,
    },
    /// It ends.
    Stop,
}

/// What a client sent with its `ping`: a number or a short text, as JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Echo(String);

/// A text that means nothing here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed {
    /// Its `type`, as far as it has one.
    pub of: String,
    /// What is wrong, for people.
    pub why: String,
}

impl Request {
    /// Reads a text.
    ///
    /// # Errors
    /// [`Malformed`].
    pub fn read(text: &str) -> Result<Self, Malformed> {
        let wrong = |why: String| Malformed {
            of: "text".to_owned(),
            why,
        };
        if text.len() > MAX_TEXT_BYTES {
            return Err(wrong(format!(
                "{} bytes long; at most {MAX_TEXT_BYTES} are read",
                text.len()
            )));
        }
        let object: Map<String, Value> =
            serde_json::from_str(text).map_err(|error| wrong(format!("not a JSON object: {error}")))?;
        let Some(kind) = object.get("type").and_then(Value::as_str) else {
            return Err(wrong(
                "no \"type\"; an object looks like {\"type\":\"ping\",\"client\":1}".to_owned(),
            ));
        };
        Fields { kind, object: &object }.read().map_err(|why| Malformed {
            of: kind.chars().take(MAX_REPEATED).collect(),
            why,
        })
    }
}

/// An object of a known type.
struct Fields<'a> {
    kind: &'a str,
    object: &'a Map<String, Value>,
}

impl Fields<'_> {
    fn read(&self) -> Result<Request, String> {
        let asked = match self.kind {
            "ping" => return self.echo().map(Request::Ping),
            "chat" => return self.chat().map(Request::Chat),
            "ack" | "error" | "pong" => return Ok(Request::Answer),
            "start_recording" => self.file_name()?,
            "stop_recording" => Asked::Recording(Recording::Stop),
            "start_stream" => Asked::Command(Command::StartStream(true)),
            "stop_stream" => Asked::Command(Command::StopStream(true)),
            "request_keyframe" => Asked::Command(Command::RequestKeyframe(true)),
            "set_brightness" => Asked::Command(Command::Brightness(self.number("brightness", i32::MIN)?)),
            "set_bitrate_kbps" => Asked::Command(Command::SetBitrateKbps(self.number("kbps", 1)?)),
            "set_overlay" => Asked::Command(Command::SetOverlay(self.flag("on")?)),
            _ => return Err("no such type is known here".to_owned()),
        };
        let camera = self.camera()?;
        Ok(Request::Camera { camera, asked })
    }

    fn camera(&self) -> Result<Option<StreamName>, String> {
        match self.object.get("camera") {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(name)) if name.is_empty() => Ok(None),
            Some(Value::String(name)) => name.parse().map(Some).map_err(|error| format!("camera: {error}")),
            Some(_) => Err("\"camera\" is no text".to_owned()),
        }
    }

    fn chat(&self) -> Result<String, String> {
        let text = self.object.get("text").and_then(Value::as_str).unwrap_or_default();
        let count = text.chars().count();
        match count {
            0 => Err("no \"text\"".to_owned()),
            1..=MAX_CHAT_CHARS => Ok(text.to_owned()),
            _ => Err(format!(
                "{count} characters long; at most {MAX_CHAT_CHARS} are passed on"
            )),
        }
    }

    fn echo(&self) -> Result<Echo, String> {
        let client = self.object.get("client").unwrap_or(&Value::Null);
        let text = client.to_string();
        if matches!(client, Value::Array(_) | Value::Object(_)) || text.len() > MAX_REPEATED {
            return Err("\"client\" is no number or short text".to_owned());
        }
        Ok(Echo(text))
    }

    fn file_name(&self) -> Result<Asked, String> {
        let name = self.object.get("filename").and_then(Value::as_str).unwrap_or_default();
        if name.len() > MAX_FILE_NAME_BYTES {
            return Err(format!("\"filename\" is longer than {MAX_FILE_NAME_BYTES} bytes"));
        }
        let file = Some(name.to_owned()).filter(|name| !name.trim().is_empty());
        Ok(Asked::Recording(Recording::Start { file }))
    }

    /// The number of that name, or of the name `value`.
    fn number(&self, name: &str, least: i32) -> Result<i32, String> {
        let value = self.object.get(name).or_else(|| self.object.get("value"));
        let number = value
            .and_then(Value::as_i64)
            .and_then(|number| i32::try_from(number).ok());
        let number = number.filter(|number| *number >= least);
        number.ok_or_else(|| format!("no whole number as \"{name}\""))
    }

    fn flag(&self, name: &str) -> Result<bool, String> {
        let value = self.object.get(name).or_else(|| self.object.get("value"));
        value
            .and_then(Value::as_bool)
            .ok_or_else(|| format!("neither true nor false as \"{name}\""))
    }
}

impl Asked {
    /// The word for it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Command(command) => command.name(),
            Self::Recording(Recording::Start { .. }) => "start_recording",
            Self::Recording(Recording::Stop) => "stop_recording",
        }
    }
}

/// The answer to a ping. `server` is read as late as can be.
pub fn pong(echo: &Echo, server: WallTime) -> String {
    format!(
        r#"{{"type":"pong","client":{},"server_us":{}}}"#,
        echo.0,
        server.unix_micros()
    )
}

/// An `ack` or an `error`.
pub(super) fn answer(of: &str, result: Result<&str, &str>) -> Bytes {
    #[derive(Serialize)]
    struct Answer<'a> {
        r#type: &'static str,
        of: &'a str,
        message: &'a str,
    }
    let (kind, message) = match result {
        Ok(message) => ("ack", message),
        Err(message) => ("error", message),
    };
    json(&Answer {
        r#type: kind,
        of,
        message,
    })
}

/// A line of a chat.
pub(super) fn chat(text: &str, from: &str, at: WallTime) -> Bytes {
    #[derive(Serialize)]
    struct Chat<'a> {
        r#type: &'static str,
        text: &'a str,
        from: &'a str,
        at: String,
    }
    json(&Chat {
        r#type: "chat",
        text,
        from,
        at: at.to_rfc3339(),
    })
}

/// Whether a camera is connected.
pub(super) fn connection(camera: &StreamName, is_connected: bool) -> Bytes {
    #[derive(Serialize)]
    #[allow(non_snake_case, reason = "as the dashboards read it")]
    struct Connection<'a> {
        r#type: &'static str,
        camera: &'a str,
        isConnected: bool,
    }
    json(&Connection {
        r#type: "connection_status",
        camera: camera.as_str(),
        isConnected: is_connected,
    })
}

/// How a camera says it is, without the type of a message, and when it said so.
pub fn said(camera: &StreamName, status: &CameraStatus, at: &str) -> Bytes {
    json(&Metrics {
        at: Some(at),
        ..Metrics::new(None, camera, status)
    })
}

/// How a camera is. What old dashboards do not know stands behind what they do, and only where it says something.
pub(super) fn metrics(camera: &StreamName, status: &CameraStatus) -> Bytes {
    json(&Metrics::new(Some("camera_metrics"), camera, status))
}

#[derive(Serialize)]
#[allow(non_snake_case, reason = "as the dashboards read it")]
struct Metrics<'a> {
    #[serde(skip_serializing_if = "is_default")]
    r#type: Option<&'static str>,
    camera: &'a str,
    isConnected: bool,
    fps: f32,
    frames_sent: i32,
    frames_dropped: i32,
    cpu_percent: f32,
    memory_percent: f32,
    memory_used_mb: i64,
    memory_total_mb: i64,
    network_mbps: f32,
    latency_ms: i32,
    #[serde(skip_serializing_if = "is_default")]
    brightness: i32,
    #[serde(skip_serializing_if = "is_default")]
    width: i32,
    #[serde(skip_serializing_if = "is_default")]
    height: i32,
    #[serde(skip_serializing_if = "is_default")]
    errorMessage: &'a str,
    #[serde(skip_serializing_if = "is_default")]
    motion_detected: bool,
    #[serde(skip_serializing_if = "is_default")]
    motion_intensity: f32,
    #[serde(skip_serializing_if = "is_default")]
    capture_time_us: i64,
    #[serde(skip_serializing_if = "is_default")]
    at: Option<&'a str>,
}

impl<'a> Metrics<'a> {
    fn new(r#type: Option<&'static str>, camera: &'a StreamName, status: &'a CameraStatus) -> Self {
        // Dashboards call methods of numbers on these: JSON's word for what is none would stop them.
        let number = |value: f32| if value.is_finite() { value } else { 0.0 };
        Self {
            r#type,
            camera: camera.as_str(),
            isConnected: status.is_connected,
            fps: number(status.fps),
            frames_sent: status.frames_sent,
            frames_dropped: status.frames_dropped,
            cpu_percent: number(status.cpu_percent),
            memory_percent: number(status.memory_percent),
            memory_used_mb: status.memory_used_mb,
            memory_total_mb: status.memory_total_mb,
            network_mbps: number(status.network_mbps),
            latency_ms: status.latency_ms,
            brightness: status.brightness,
            width: status.width,
            height: status.height,
            errorMessage: truncated(&status.error_message),
            motion_detected: status.motion_detected.unwrap_or_default(),
            motion_intensity: number(status.motion_intensity),
            capture_time_us: status.capture_time_us,
            at: None,
        }
    }
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// At most 500 characters.
fn truncated(text: &str) -> &str {
    let end = text.char_indices().nth(500).map_or(text.len(), |(at, _)| at);
    text.get(..end).unwrap_or_default()
}

fn json(value: &impl Serialize) -> Bytes {
    // Texts and numbers alone: nothing that could fail.
    serde_json::to_vec(value).unwrap_or_default().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rstest::rstest;

    fn text(bytes: &Bytes) -> &str {
        std::str::from_utf8(bytes).unwrap()
    }

    #[test]
    fn texts_are_as_old_dashboards_read_them() {
        let camera = StreamName::default_stream();
        assert_eq!(
            text(&connection(&camera, true)),
            r#"{"type":"connection_status","camera":"zerolatency","isConnected":true}"#
        );
        let status = CameraStatus {
            is_connected: true,
            fps: 29.97,
            frames_sent: 120,
            frames_dropped: 2,
            cpu_percent: 12.5,
            memory_percent: 40.25,
            memory_used_mb: 1_500,
            memory_total_mb: 3_800,
            network_mbps: f32::NAN,
            latency_ms: 12,
            ..CameraStatus::default()
        };
        let old = r#"{"type":"camera_metrics","camera":"zerolatency","isConnected":true,"fps":29.97,"frames_sent":120,"frames_dropped":2,"cpu_percent":12.5,"memory_percent":40.25,"memory_used_mb":1500,"memory_total_mb":3800,"network_mbps":0.0,"latency_ms":12"#;
        assert_eq!(text(&metrics(&camera, &status)), format!("{old}}}"));
        let more = CameraStatus {
            width: 640,
            height: 480,
            error_message: "ü".repeat(501),
            capture_time_us: 5,
            ..status
        };
        let new = format!(
            r#","width":640,"height":480,"errorMessage":"{}","capture_time_us":5}}"#,
            "ü".repeat(500)
        );
        assert_eq!(text(&metrics(&camera, &more)), format!("{old}{new}"));
    }

    #[test]
    fn answers() {
        assert_eq!(
            text(&answer("ping \"", Err("a\nb"))),
            r#"{"type":"error","of":"ping \"","message":"a\nb"}"#
        );
        assert_eq!(
            text(&answer("chat", Ok("told"))),
            r#"{"type":"ack","of":"chat","message":"told"}"#
        );
        let at = WallTime::from_unix_micros(1_704_067_200_500_000);
        assert_eq!(
            text(&chat("</script>", "viewer 3", at)),
            r#"{"type":"chat","text":"</script>","from":"viewer 3","at":"2024-01-01T00:00:00.500Z"}"#
        );
        let Ok(Request::Ping(echo)) = Request::read(r#"{"type":"ping","client":1234.5}"#) else {
            panic!("a ping")
        };
        assert_eq!(
            pong(&echo, at),
            r#"{"type":"pong","client":1234.5,"server_us":1704067200500000}"#
        );
    }

    #[rstest]
    #[case(r#"{"type":"stop_stream"}"#, None, Command::StopStream(true))]
    #[case(
        r#"{"type":"start_stream","camera":"house/door"}"#,
        Some("house/door"),
        Command::StartStream(true)
    )]
    #[case(r#"{"type":"set_brightness","camera":"","brightness":-5}"#, None, Command::Brightness(-5))]
    #[case(r#"{"type":"set_brightness","value":50}"#, None, Command::Brightness(50))]
    #[case(
        r#"{"type":"set_bitrate_kbps","kbps":800,"more":{}}"#,
        None,
        Command::SetBitrateKbps(800)
    )]
    #[case(r#"{"type":"set_overlay","on":false}"#, None, Command::SetOverlay(false))]
    #[case(r#"{"type":"request_keyframe","camera":null}"#, None, Command::RequestKeyframe(true))]
    fn commands(#[case] text: &str, #[case] camera: Option<&str>, #[case] command: Command) {
        let camera = camera.map(|name| name.parse().unwrap());
        let asked = Asked::Command(command);
        assert_eq!(Request::read(text), Ok(Request::Camera { camera, asked }));
    }

    #[test]
    fn recording_is_read() {
        let text = r#"{"type":"start_recording","camera":"zerolatency","filename":"recording_2025-10-06.mp4"}"#;
        let Ok(Request::Camera { asked, .. }) = Request::read(text) else {
            panic!("a request")
        };
        assert_eq!(asked.name(), "start_recording");
        let file = Some("recording_2025-10-06.mp4".to_owned());
        assert_eq!(asked, Asked::Recording(Recording::Start { file }));
        let Ok(Request::Camera { asked, .. }) = Request::read(r#"{"type":"start_recording"}"#) else {
            panic!("a request")
        };
        assert_eq!(asked, Asked::Recording(Recording::Start { file: None }));
    }

    #[rstest]
    #[case("", "text")]
    #[case("null", "text")]
    #[case("[]", "text")]
    #[case("{}", "text")]
    #[case(r#"{"type":5}"#, "text")]
    #[case(r#"{"type":"chat"}"#, "chat")]
    #[case(r#"{"type":"chat","text":5}"#, "chat")]
    #[case(r#"{"type":"ping","client":{}}"#, "ping")]
    #[case(r#"{"type":"set_brightness"}"#, "set_brightness")]
    #[case(r#"{"type":"set_brightness","brightness":5000000000}"#, "set_brightness")]
    #[case(r#"{"type":"set_bitrate_kbps","kbps":0}"#, "set_bitrate_kbps")]
    #[case(r#"{"type":"set_overlay","on":"yes"}"#, "set_overlay")]
    #[case(r#"{"type":"stop_stream","camera":"../x"}"#, "stop_stream")]
    #[case(r#"{"type":"stop_stream","camera":7}"#, "stop_stream")]
    #[case(r#"{"type":"reboot"}"#, "reboot")]
    fn what_is_wrong_is_said(#[case] text: &str, #[case] of: &str) {
        let malformed = Request::read(text).unwrap_err();
        assert_eq!(malformed.of, of);
        assert!(!malformed.why.is_empty());
    }

    #[test]
    fn lengths_are_limited() {
        let long = |kind: &str, member: &str, length: usize| {
            format!(r#"{{"type":"{kind}","{member}":"{}"}}"#, "ä".repeat(length))
        };
        assert!(Request::read(&long("chat", "text", MAX_CHAT_CHARS)).is_ok());
        assert!(Request::read(&long("chat", "text", MAX_CHAT_CHARS + 1)).is_err());
        assert!(Request::read(&long("ping", "client", 31)).is_ok());
        assert!(Request::read(&long("ping", "client", 32)).is_err());
        assert!(Request::read(&long("start_recording", "filename", 101)).is_err());
        let spaces = format!("{}{{\"type\":\"ping\"}}", " ".repeat(MAX_TEXT_BYTES));
        assert!(Request::read(&spaces).unwrap_err().why.contains("at most 4096"));
        let kind = "k".repeat(200);
        assert_eq!(
            Request::read(&format!("{{\"type\":\"{kind}\"}}")).unwrap_err().of.len(),
            64
        );
        assert!(Request::read(&"[".repeat(4_000)).is_err(), "deep");
    }

    proptest! {
        #[test]
        fn whatever_comes_is_read_or_refused(text: String) {
            let _ = Request::read(&text);
        }

        #[test]
        fn what_we_say_is_json(name in "cam[a-z]{1,9}", words: String, fps: f32, at: i64) {
            let camera: StreamName = name.parse().unwrap();
            let status = CameraStatus { fps, error_message: words.clone(), ..CameraStatus::default() };
            let at = WallTime::from_unix_micros(at);
            for text in [metrics(&camera, &status), chat(&words, &words, at), answer(&words, Err(&words))] {
                let value: Value = serde_json::from_slice(&text).unwrap();
                prop_assert!(value["type"].is_string());
            }
        }
    }
}
