//! Every setting there is, with its default and its documentation.
//!
//! This is the one definition. The doc comments below are what users read in `sightline config init`, in `--help` and in the JSON
//! Schema; the environment variable of a key is its path in capitals. Adding a setting is one field here.
//!
//! Does not belong here: how settings are found and merged ([`super::load`]), types of values ([`super::units`]).

use std::collections::BTreeMap;
use std::path::PathBuf;

use device::picture::FrameRate;
use device::source::Word;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::socket_url::SocketUrl;
use super::units::{Address, Bitrate, Bytes, Fps, Name, Size, Source, Span, StreamUrl, Switch};
use crate::auth::Network;
use crate::log::Levels;
use crate::secret::Secret;

/// Settings of Sightline.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(title = "Settings of Sightline")]
pub struct Settings {
    /// Where the program listens and keeps its state.
    pub server: Server,
    /// RTSP, for players and publishers.
    pub rtsp: Rtsp,
    /// The dashboard and the API, for browsers and programs.
    pub http: Http,
    /// LL-HLS, for players and browsers.
    pub hls: Hls,
    /// WebRTC, for browsers.
    pub webrtc: Webrtc,
    /// Who may do what. Without a line here, RTSP is free on this machine, and everything else needs the tokens that were made at the
    /// first start and that `sightline up` prints in each URL.
    pub auth: Auth,
    /// The status socket, by which cameras and dashboards know of each other.
    pub status: Status,
    /// How much is kept for viewers, and when a viewer or stream is given up.
    pub limits: Limits,
    /// What is written to the log.
    pub log: Log,
    /// A camera of this machine, one table for each, named after its stream: [camera.zerolatency], [camera."house/door"].
    /// Its variables hold the name, SIGHTLINE_CAMERA_ZEROLATENCY_SIZE; without it they mean the default stream.
    pub camera: BTreeMap<Name, Camera>,
    /// A stream that others publish, one table for each, named after it: [stream.door], [stream."house/door"]. Only streams with
    /// wishes need one. Its variables hold the name too, SIGHTLINE_STREAM_DOOR_ALWAYS_AVAILABLE.
    pub stream: BTreeMap<Name, Stream>,
    /// `sightline publish`: a camera of this machine to another server.
    pub publish: Publish,
    /// `sightline receive`: measure, show or save a stream.
    pub receive: Receive,
}

/// Where the program listens and keeps its state.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Server {
    /// Address to listen on. Left out: all addresses, IPv4 and IPv6.
    #[schemars(example = "192.168.1.5")]
    pub host: Option<Address>,
    /// Addresses or host names that the printed URLs show. Empty: those of this machine's interfaces, the local network first.
    pub advertise: Vec<String>,
    /// Folder for what must outlive a restart, such as the generated tokens. Left out: $STATE_DIRECTORY, else
    /// $XDG_STATE_HOME/sightline, else ~/.local/state/sightline; for a service that runs as root, /var/lib/sightline.
    #[schemars(example = "/var/lib/sightline")]
    pub state_dir: Option<PathBuf>,
}

/// RTSP, for players and publishers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Rtsp {
    /// TCP port. 0: the system chooses one.
    pub port: u16,
    /// Offer RTP over UDP too. Off: everything goes through the TCP connection.
    pub udp: bool,
    /// UDP port for RTP. 0, for both: the system chooses an even one and the next.
    pub rtp_port: u16,
    /// UDP port for RTCP.
    pub rtcp_port: u16,
    /// How long a session lives without a sign of life from its peer.
    pub timeout: Span,
}

impl Default for Rtsp {
    fn default() -> Self {
        Self {
            port: 8_554,
            udp: true,
            rtp_port: 8_000,
            rtcp_port: 8_001,
            timeout: Span(std::time::Duration::from_secs(60)),
        }
    }
}

/// The dashboard and the API, for browsers and programs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Http {
    /// TCP port. 0, as for the other ports: the system chooses one.
    pub port: u16,
    /// TCP port for the same by HTTPS, with a certificate that is made at the first start and kept in the state folder.
    pub https_port: u16,
}

impl Default for Http {
    fn default() -> Self {
        Self {
            port: 8_000,
            https_port: 8_443,
        }
    }
}

/// LL-HLS, for players and browsers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Hls {
    /// TCP port.
    pub port: u16,
    /// How long a part lasts: what a player is behind the newest picture is three to four of them. A part holds whole pictures.
    pub part_duration: Span,
    /// How long a segment lasts. It holds whole groups of pictures, from keyframe to keyframe, where those are short enough.
    pub segment_duration: Span,
    /// Segments that stay listed; more where they are shorter than three seconds together.
    #[schemars(range(min = 1, max = 1_000))]
    pub segment_count: usize,
}

impl Default for Hls {
    fn default() -> Self {
        let hls = protocol::hls::Config::default();
        Self {
            port: 8_888,
            part_duration: Span(hls.part),
            segment_duration: Span(hls.segment),
            segment_count: hls.segments,
        }
    }
}

impl Hls {
    /// As streams are cut.
    pub fn for_muxer(&self, limits: &Limits) -> protocol::hls::Config {
        protocol::hls::Config {
            part: self.part_duration.0,
            segment: self.segment_duration.0,
            segments: self.segment_count,
            memory_bytes: usize::try_from(limits.stream_memory.0).unwrap_or(usize::MAX),
        }
    }
}

/// WebRTC, for browsers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Webrtc {
    /// TCP port where sessions are asked for.
    pub port: u16,
    /// UDP port of the media, and TCP port for those who cannot send by UDP.
    pub ice_port: u16,
    /// Names and addresses at which browsers reach this machine besides those of its interfaces: what a router forwards from, or the host of a
    /// container, such as ["camera.example", "203.0.113.5"].
    pub additional_hosts: Vec<String>,
}

impl Default for Webrtc {
    fn default() -> Self {
        Self {
            port: 8_889,
            ice_port: 8_189,
            additional_hosts: Vec::new(),
        }
    }
}

/// Who may do what.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Auth {
    /// Ask nobody for anything. Everyone who reaches the ports may view and publish; said at every start. Also SIGHTLINE_OPEN.
    pub open: bool,
    /// One token for everything, in place of the generated ones, with any user name. It is then asked for everywhere, on this
    /// machine and in trusted networks too, and wins over `open`. Programs that connect (publish, receive) show it.
    /// Also SIGHTLINE_TOKEN.
    #[schemars(example = "a-long-secret")]
    pub token: Option<Secret>,
    /// Networks from which no credential is needed, such as ["192.168.1.0/24"]. Said at every start. Behind a proxy everybody has the
    /// proxy's address.
    pub trusted_networks: Vec<Network>,
}

/// The status socket, by which cameras and dashboards know of each other: ws://HOST:8000/ws/camera/, and on all other HTTP ports.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Status {
    /// How many times a second a camera of this machine says how it is; at once when something changes. 1 is enough for our page; old
    /// dashboards count messages as frames, and want the camera's frame rate here.
    #[schemars(range(min = 1, max = 60))]
    pub rate: u32,
}

impl Default for Status {
    fn default() -> Self {
        Self { rate: 1 }
    }
}

/// How much is kept for viewers, and when a viewer or stream is given up.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// How long viewers stay when their publisher is gone. Its return within that time is seamless.
    pub hold: Span,
    /// How far behind the newest picture a viewer may fall before it is moved to the newest keyframe.
    pub lag: Span,
    /// How much a viewer may be given at once when it joins, so that its first picture is there at once: the pictures since the last
    /// keyframe. Where those are more, it waits for the next keyframe. 0s: every viewer waits for that.
    pub burst_time: Span,
    /// Streams at a time.
    #[schemars(range(min = 1, max = 100_000))]
    pub streams: usize,
    /// Viewers of one stream.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub viewers: usize,
    /// Connections to the RTSP port at a time, viewers and publishers together.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub connections: usize,
    /// Connections to all HTTP ports at a time.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub http_connections: usize,
    /// WebRTC sessions at a time, viewers and publishers together.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub webrtc_sessions: usize,
    /// Clients of the status socket at a time: pages, dashboards, publishers.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub status_clients: usize,
    /// Memory for the newest pictures of one stream, from its last keyframe on; and once more for its parts and segments while somebody plays
    /// it by HLS.
    pub stream_memory: Bytes,
    /// Memory for the newest pictures of all streams together. Left out: no limit but those above.
    #[schemars(example = "256MiB")]
    pub memory: Option<Bytes>,
}

impl Default for Limits {
    fn default() -> Self {
        let hub = media::hub::Limits::default();
        Self {
            hold: Span(hub.hold),
            lag: Span(hub.lag),
            burst_time: Span(hub.burst_time),
            streams: hub.streams,
            viewers: hub.viewers_per_stream,
            connections: 20_000,
            http_connections: 10_000,
            webrtc_sessions: 1_000,
            status_clients: 5_000,
            stream_memory: Bytes(hub.ring_bytes as u64),
            memory: None,
        }
    }
}

impl Limits {
    /// As the hub takes them.
    pub fn for_hub(&self) -> media::hub::Limits {
        let bytes = |bytes: Bytes| usize::try_from(bytes.0).unwrap_or(usize::MAX);
        media::hub::Limits {
            hold: self.hold.0,
            lag: self.lag.0,
            burst_time: self.burst_time.0,
            streams: self.streams,
            viewers_per_stream: self.viewers,
            ring_bytes: bytes(self.stream_memory),
            total_bytes: self.memory.map(bytes),
            ..media::hub::Limits::default()
        }
    }
}

/// What is written to the log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// How lines look: for people, or one JSON object each with `timestamp`, `level`, `event` and fields.
    pub format: LogFormat,
    /// What is written: error, warn, info, debug or trace; for parts of the program like "info,sightline::rtsp=debug".
    pub level: Levels,
}

impl Default for Log {
    fn default() -> Self {
        Self {
            format: LogFormat::Human,
            level: Levels::default(),
        }
    }
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum LogFormat {
    /// For people.
    Human,
    /// One JSON object a line.
    Json,
}

/// A camera of this machine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Camera {
    /// Where the pictures come from: "auto" (the first camera found, else the test pattern), "test", "test:bars",
    /// "v4l2:/dev/video0", "libcamera", "exec:COMMAND" (H.264 on its standard output), "file:PATH" (looped in real time).
    pub source: Source,
    /// Width and height in pixels. A camera that cannot do it comes as near as it can.
    pub size: Size,
    /// Pictures per second, such as 30, 29.97 or "30000/1001".
    pub fps: Fps,
    /// Bits per second, such as "800k". Left out: 800k, or 2M where libcamera's own encoder is used.
    #[schemars(example = &"2M")]
    pub bitrate: Option<Bitrate>,
    /// Pictures from keyframe to keyframe. Left out: 10, or 15 where libcamera's own encoder is used.
    #[schemars(range(min = 1, max = 600), example = 30)]
    pub gop: Option<u32>,
    /// Which encoder: "auto" takes the best that works here.
    pub encoder: Encoder,
    /// Draw clock, frame rate and latency into the picture: "auto" (for test, v4l2 and libcamera), "on" or "off". "off" lets H.264
    /// of the camera pass untouched.
    pub overlay: Switch,
    /// Draw the machine-readable clock by which latency is measured from the picture: "auto" (for test), "on" or "off".
    pub stamp: Switch,
    /// Where the overlay goes. Receivers of old look for it at the top left.
    pub overlay_corner: Corner,
    /// Where the machine-readable clock goes; not where the overlay is.
    pub stamp_corner: Corner,
    /// Exposure as the camera counts it (V4L2: 100 µs). Left out: automatic.
    #[schemars(range(min = 1, max = 1_000_000))]
    #[schemars(example = 200)]
    pub exposure: Option<i32>,
    /// Brightness as the camera counts it. Left out: as the camera has it.
    #[schemars(example = 0)]
    pub brightness: Option<i32>,
    /// Turn the picture upside down, for cameras mounted that way (libcamera alone): "auto" (which is on), "on" or "off".
    pub vflip: Switch,
    /// Let a publisher from the network take over this stream.
    pub takeover: bool,
}

impl Camera {
    /// Whether lines and stamp are drawn where the pictures come from this source; `None`: from a camera that is yet to be found. `auto`:
    /// lines where pictures come raw from a camera of ours, the stamp on the test pattern.
    pub fn drawn(&self, source: Option<&Word>) -> (bool, bool) {
        let test = matches!(source, Some(Word::Test(_)));
        let ours = test || matches!(source, None | Some(Word::V4l2(_) | Word::Libcamera(_)));
        (self.overlay.or(ours), self.stamp.or(test))
    }
}

impl Default for Camera {
    fn default() -> Self {
        Self {
            source: Source::Auto,
            size: Size {
                width: 640,
                height: 480,
            },
            fps: Fps(FrameRate::whole(30)),
            bitrate: None,
            gop: None,
            encoder: Encoder::Auto,
            overlay: Switch::Auto,
            stamp: Switch::Auto,
            overlay_corner: Corner::TopLeft,
            stamp_corner: Corner::BottomRight,
            exposure: None,
            brightness: None,
            vflip: Switch::Auto,
            takeover: false,
        }
    }
}

/// A stream that others publish.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Stream {
    /// Show a slate that says what is missing and since when, whenever nobody publishes the stream: from the start of the
    /// program, as soon as its publisher is gone, and when that has sent nothing for limits.hold. Viewers stay; a publisher takes over at
    /// its first keyframe. For H.264.
    pub always_available: bool,
}

/// A corner of the picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub enum Corner {
    /// Upper left.
    TopLeft,
    /// Upper right.
    TopRight,
    /// Lower left.
    BottomLeft,
    /// Lower right.
    BottomRight,
}

/// Which encoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum Encoder {
    /// The best that works here.
    Auto,
    /// Built in.
    OpenH264,
    /// x264, through FFmpeg.
    Libx264,
    /// Raspberry Pi and others, through FFmpeg.
    #[serde(rename = "h264_v4l2m2m")]
    V4l2M2m,
    /// NVIDIA, through FFmpeg.
    #[serde(rename = "h264_nvenc")]
    Nvenc,
    /// Intel and AMD, through FFmpeg.
    #[serde(rename = "h264_vaapi")]
    Vaapi,
    /// Intel, through FFmpeg.
    #[serde(rename = "h264_qsv")]
    Qsv,
}

/// `sightline publish`: a camera of this machine to another server. The camera itself has its own table.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Publish {
    /// Server and stream, such as "rtsp://user:password@host:8554/zerolatency". Left out: the stream's name on the server at
    /// PI_VPN_IP, else on this machine.
    #[schemars(example = "rtsp://192.168.1.5:8554/zerolatency")]
    pub url: Option<StreamUrl>,
    /// Name of the stream, when the URL has none. It also says which camera is meant.
    #[schemars(example = &"zerolatency")]
    pub name: Option<Name>,
    /// How media travels: "tcp" (in the RTSP connection), "udp", or "auto": as "tcp", but over UDP where the server refuses that.
    pub transport: Transport,
    /// Status socket to report the camera to, such as "ws://192.168.1.5:8000/ws/camera/". Left out: that of the server at WINDOWS_VPN_IP, else
    /// at PI_VPN_IP, else of the server that gets the stream, at WEBSOCKET_PORT or 8000.
    #[schemars(example = "ws://192.168.1.5:8000/ws/camera/")]
    pub ws_url: Option<SocketUrl>,
    /// Show what is sent in a window. `q` in it, or closing it, ends the publisher.
    pub preview: bool,
}

/// `sightline receive`: measure, show or save a stream.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Receive {
    /// The stream, such as "rtsp://user:password@host:8554/zerolatency". Left out: zerolatency on the server at PI_VPN_IP, else on
    /// this machine.
    #[schemars(example = "rtsp://192.168.1.5:8554/zerolatency")]
    pub url: Option<StreamUrl>,
    /// What happens to the pictures: "headless" (measured only), "display" (a window) or "save" (an MP4 file).
    pub display_mode: DisplayMode,
    /// The file of display mode "save"; one that is there already is never written over. Left out: recording_YYYYMMDD_HHMMSS.mp4 in
    /// the working directory.
    #[schemars(example = "recording.mp4")]
    pub output: Option<PathBuf>,
    /// How media travels: "tcp" (in the RTSP connection), "udp", or "auto": as "tcp", but over UDP where the server refuses that.
    pub transport: Transport,
    /// Say what the stream is and how soon its first picture came, then end: 0 when there was one, 1 when not.
    pub test_connection: bool,
    /// End after this many seconds. Left out: only when told to.
    #[schemars(range(min = 0.1, max = 31_536_000))]
    #[schemars(example = 10)]
    pub seconds: Option<f64>,
    /// Print measurements as JSON lines.
    pub json: bool,
}

/// How media travels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum Transport {
    /// In the RTSP connection, over UDP where the server refuses that.
    #[default]
    Auto,
    /// In the RTSP connection.
    Tcp,
    /// RTP over UDP.
    Udp,
}

impl Transport {
    /// As the RTSP client takes it.
    pub fn for_client(self) -> crate::rtsp::client::Transport {
        match self {
            Self::Auto => crate::rtsp::client::Transport::Auto,
            Self::Tcp => crate::rtsp::client::Transport::Tcp,
            Self::Udp => crate::rtsp::client::Transport::Udp,
        }
    }
}

/// What [`Receive`] does with the pictures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum DisplayMode {
    /// Measures only.
    #[default]
    Headless,
    /// A window.
    Display,
    /// An MP4 file.
    Save,
}
