//! The protobuf messages (proto3, package `tutorial`). What a field number means never changes; unknown ones are ignored.
//!
//! By prost's derive and not from a .proto file: there are two messages, and no compiler has to run at build. `docs/reference/camera.proto`
//! is the same for other programs; a test compares the two.

use prost::Message as _;

/// What a publisher says of its camera. A field that is absent is zero or empty; a message without any says that the camera is not connected.
#[derive(Clone, PartialEq, prost::Message)]
pub struct CameraStatus {
    /// The camera gives pictures.
    #[prost(bool, tag = "1")]
    pub is_connected: bool,
    /// Pictures per second.
    #[prost(float, tag = "2")]
    pub fps: f32,
    /// Frames sent since the start.
    #[prost(int32, tag = "3")]
    pub frames_sent: i32,
    /// Frames given up since the start.
    #[prost(int32, tag = "4")]
    pub frames_dropped: i32,
    /// Load of the machine, 0 to 100.
    #[prost(float, tag = "5")]
    pub cpu_percent: f32,
    /// Memory in use, 0 to 100.
    #[prost(float, tag = "6")]
    pub memory_percent: f32,
    /// Memory in use, MiB.
    #[prost(int64, tag = "7")]
    pub memory_used_mb: i64,
    /// Memory there is, MiB.
    #[prost(int64, tag = "8")]
    pub memory_total_mb: i64,
    /// What the machine sends, megabits per second.
    #[prost(float, tag = "9")]
    pub network_mbps: f32,
    /// From capture to the encoded frame, milliseconds.
    #[prost(int32, tag = "10")]
    pub latency_ms: i32,
    /// The camera's stream; empty: `zerolatency`, or the one that the socket's address names.
    #[prost(string, tag = "11")]
    pub camera_name: String,
    /// As the camera counts it.
    #[prost(int32, tag = "12")]
    pub brightness: i32,
    /// Pixels.
    #[prost(int32, tag = "13")]
    pub width: i32,
    /// Pixels.
    #[prost(int32, tag = "14")]
    pub height: i32,
    /// What is wrong, for people.
    #[prost(string, tag = "15")]
    pub error_message: String,
    /// Something moves. Absent: this publisher does not look, or looks and is one of those that leave out what is false.
    #[prost(bool, optional, tag = "16")]
    pub motion_detected: Option<bool>,
    /// How much, 0 to 1.
    #[prost(float, tag = "17")]
    pub motion_intensity: f32,
    /// When the newest picture was captured, UTC microseconds.
    #[prost(int64, tag = "18")]
    pub capture_time_us: i64,
}

impl CameraStatus {
    /// Reads one.
    ///
    /// # Errors
    /// What is wrong with the bytes, for people.
    pub fn read(bytes: &[u8]) -> Result<Self, String> {
        Self::decode(bytes).map_err(|error| error.to_string())
    }

    /// The bytes of it.
    pub fn write(&self) -> Vec<u8> {
        self.encode_to_vec()
    }

    /// Whether it says no more than whether the camera is connected.
    pub fn is_bare(&self) -> bool {
        let bare = Self {
            is_connected: self.is_connected,
            ..Self::default()
        };
        *self == bare
    }
}

/// What a publisher is told to do.
#[derive(Clone, PartialEq, prost::Message)]
pub struct CameraCommand {
    /// `None` where it is of a kind that is not known.
    #[prost(oneof = "Command", tags = "1, 2, 3, 4, 5, 6, 7, 8, 9")]
    pub command: Option<Command>,
}

/// The kinds of commands.
#[derive(Clone, PartialEq, Eq, prost::Oneof)]
pub enum Command {
    /// Brightness, as the camera counts it.
    #[prost(int32, tag = "1")]
    Brightness(i32),
    /// Another name.
    #[prost(string, tag = "2")]
    CameraName(String),
    /// Begin to send.
    #[prost(bool, tag = "3")]
    StartStream(bool),
    /// Stop sending.
    #[prost(bool, tag = "4")]
    StopStream(bool),
    /// Begin to record into this file.
    #[prost(string, tag = "5")]
    StartRecording(String),
    /// Stop recording.
    #[prost(bool, tag = "6")]
    StopRecording(bool),
    /// Give a keyframe.
    #[prost(bool, tag = "7")]
    RequestKeyframe(bool),
    /// Bitrate, kilobits per second.
    #[prost(int32, tag = "8")]
    SetBitrateKbps(i32),
    /// Show or hide the lines in the picture.
    #[prost(bool, tag = "9")]
    SetOverlay(bool),
}

impl CameraCommand {
    /// Reads one.
    ///
    /// # Errors
    /// What is wrong with the bytes, for people.
    pub fn read(bytes: &[u8]) -> Result<Self, String> {
        Self::decode(bytes).map_err(|error| error.to_string())
    }

    /// The bytes of it.
    pub fn write(&self) -> Vec<u8> {
        self.encode_to_vec()
    }
}

impl Command {
    /// The word for it in texts.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Brightness(_) => "set_brightness",
            Self::CameraName(_) => "set_camera_name",
            Self::StartStream(_) => "start_stream",
            Self::StopStream(_) => "stop_stream",
            Self::StartRecording(_) => "start_recording",
            Self::StopRecording(_) => "stop_recording",
            Self::RequestKeyframe(_) => "request_keyframe",
            Self::SetBitrateKbps(_) => "set_bitrate_kbps",
            Self::SetOverlay(_) => "set_overlay",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Every field at a value of its own.
    fn full() -> CameraStatus {
        CameraStatus {
            is_connected: true,
            fps: 29.5,
            frames_sent: 3,
            frames_dropped: 4,
            cpu_percent: 5.0,
            memory_percent: 6.0,
            memory_used_mb: 7,
            memory_total_mb: 8,
            network_mbps: 9.0,
            latency_ms: 10,
            camera_name: "cam".to_owned(),
            brightness: -12,
            width: 13,
            height: 14,
            error_message: "err".to_owned(),
            motion_detected: Some(true),
            motion_intensity: 17.0,
            capture_time_us: 18,
        }
    }

    /// The bytes that Google's Python library writes for the fields of `full` (protobuf 4.21, `SerializeToString`).
    const FULL: &[u8] = b"\x08\x01\x15\x00\x00\xec\x41\x18\x03\x20\x04\x2d\x00\x00\xa0\x40\x35\x00\x00\xc0\x40\x38\x07\x40\x08\x4d\x00\x00\x10\x41\
        \x50\x0a\x5a\x03cam\x60\xf4\xff\xff\xff\xff\xff\xff\xff\xff\x01\x68\x0d\x70\x0e\x7a\x03err\x80\x01\x01\x8d\x01\x00\x00\x88\x41\x90\x01\x12";

    #[test]
    fn a_full_message_is_as_other_libraries_write_it() {
        assert_eq!(full().write(), FULL);
        assert_eq!(CameraStatus::read(FULL), Ok(full()));
    }

    #[test]
    fn two_bytes_are_a_full_message_and_none_say_not_connected() {
        let connected = CameraStatus::read(b"\x08\x01").unwrap();
        assert!(connected.is_connected && connected.is_bare());
        let empty = CameraStatus::read(b"").unwrap();
        assert!(!empty.is_connected && empty.is_bare());
        assert!(!CameraStatus::read(b"\x08\x01\x18\x01").unwrap().is_bare());
    }

    #[test]
    fn unknown_fields_are_ignored_and_rubbish_is_not() {
        let with_99 = b"\x08\x01\x98\x06\x07";
        assert!(CameraStatus::read(with_99).unwrap().is_connected);
        for rubbish in [&b"\x08"[..], b"\x5a\x7fx", b"\x5a\x01\xff", b"\x00", b"\x0b"] {
            assert!(CameraStatus::read(rubbish).is_err(), "{rubbish:?}");
        }
    }

    #[test]
    fn commands_have_their_numbers() {
        for (command, bytes) in [
            (Command::Brightness(5), &b"\x08\x05"[..]),
            (Command::CameraName("a".to_owned()), b"\x12\x01a"),
            (Command::StartStream(true), b"\x18\x01"),
            (Command::StopStream(true), b"\x20\x01"),
            (Command::StartRecording("f".to_owned()), b"\x2a\x01f"),
            (Command::StopRecording(true), b"\x30\x01"),
            (Command::RequestKeyframe(true), b"\x38\x01"),
            (Command::SetBitrateKbps(800), b"\x40\xa0\x06"),
            (Command::SetOverlay(false), b"\x48\x00"),
        ] {
            let message = CameraCommand {
                command: Some(command.clone()),
            };
            assert_eq!(message.write(), bytes, "{}", command.name());
            assert_eq!(CameraCommand::read(bytes).unwrap(), message);
        }
        assert_eq!(CameraCommand::read(b"\x98\x06\x07").unwrap().command, None);
    }

    /// Name and number of each field of a message in the file for other programs, with its type.
    fn fields(message: &str) -> Vec<(String, String, u32)> {
        let file = include_str!("../../../../docs/reference/camera.proto");
        let begin = file.find(&format!("message {message} {{")).unwrap();
        let body = &file[begin..];
        let end = body.find("\n}").unwrap();
        body[..end]
            .lines()
            .filter_map(|line| {
                let (field, _) = line.trim().split_once(';')?;
                let (left, number) = field.split_once(" = ")?;
                let (kind, name) = left.rsplit_once(' ')?;
                Some((kind.to_owned(), name.to_owned(), number.parse().ok()?))
            })
            .collect()
    }

    #[test]
    fn the_file_for_other_programs_says_the_same() {
        let status: Vec<_> = fields("CameraStatus");
        let ours = "bool isConnected 1,float fps 2,int32 frames_sent 3,int32 frames_dropped 4,float cpu_percent 5,float memory_percent 6,\
            int64 memory_used_mb 7,int64 memory_total_mb 8,float network_mbps 9,int32 latency_ms 10,string cameraName 11,int32 brightness 12,\
            int32 width 13,int32 height 14,string errorMessage 15,optional bool motion_detected 16,float motion_intensity 17,int64 capture_time_us 18";
        let text = |fields: Vec<(String, String, u32)>| {
            let text = fields
                .iter()
                .map(|(kind, name, number)| format!("{kind} {name} {number}"));
            text.collect::<Vec<_>>().join(",")
        };
        assert_eq!(text(status), ours);
        let ours = "int32 brightness 1,string cameraName 2,bool start_stream 3,bool stop_stream 4,string start_recording 5,\
            bool stop_recording 6,bool request_keyframe 7,int32 set_bitrate_kbps 8,bool set_overlay 9";
        assert_eq!(text(fields("CameraCommand")), ours);
    }

    proptest! {
        #[test]
        fn whatever_comes_is_read_or_refused(bytes: Vec<u8>) {
            let _ = CameraCommand::read(&bytes);
            if let Ok(status) = CameraStatus::read(&bytes) {
                prop_assert_eq!(CameraStatus::read(&status.write()).unwrap().write(), status.write());
            }
        }
    }
}
