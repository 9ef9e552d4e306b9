//! The commands that connect to another server.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::socket_url::SocketUrl;
use crate::config::units::{Name, StreamUrl};
use crate::rtsp::client::Fingerprint;

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
    /// The SHA-256 of the certificate that a server with rtsps:// shows, where it made that itself. Left out: one that the operating system
    /// believes. A refusal tells which it is.
    #[schemars(example = &"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef")]
    pub fingerprint: Option<Fingerprint>,
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
    /// The SHA-256 of the certificate that a server with rtsps:// shows, where it made that itself. Left out: one that the operating system
    /// believes. A refusal tells which it is.
    #[schemars(example = &"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef")]
    pub fingerprint: Option<Fingerprint>,
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
