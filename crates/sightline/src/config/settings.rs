//! Every setting there is, with its default and its documentation.
//!
//! This is the one definition. The doc comments below are what users read in `sightline config init`, in `--help` and in the JSON
//! Schema; the environment variable of a key is its path in capitals. Adding a setting is one field here.
//!
//! Does not belong here: how settings are found and merged ([`super::load`]), types of values ([`super::units`]).

mod auth;
mod camera;
mod client;
mod history;
mod motion;
mod proxy;
mod record;
mod relay;
mod s3;
mod tls;
mod upload;
mod user;
mod webhook;

use std::collections::BTreeMap;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::destination::ForwardUrl;
use super::hook::Hook;
use super::stream_key::StreamKey;
use super::stream_source::SourceList;
use super::units::{Address, Bytes, Name, Span};
use super::url_template::RtspUrl;
use crate::log::Levels;
use crate::rtsp::client::Fingerprint;
pub use auth::{Auth, AuthHttp, AuthJwt, AuthMethod};
pub use camera::{Camera, Corner, Encoder};
pub use client::{DisplayMode, Publish, Receive, Transport};
pub use history::History;
pub use motion::{Motion, MotionOfStream};
pub use proxy::Proxy;
pub use record::{Record, RecordOfStream};
pub use relay::Relay;
pub use s3::S3;
pub use tls::{Acme, AcmeChallenge, Tls};
pub use upload::Upload;
pub use user::User;
pub use webhook::Webhook;

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
    /// A proxy in front of the HTTP ports, such as nginx or Caddy. Nothing of it is changed by HTTP.
    pub proxy: Proxy,
    /// LL-HLS, for players and browsers.
    pub hls: Hls,
    /// WebRTC, for browsers.
    pub webrtc: Webrtc,
    /// The certificate that HTTPS and RTSPS show. Without a line here one is made at the first start and kept in the state folder; nobody
    /// vouches for it, so browsers warn once.
    pub tls: Tls,
    /// A certificate that browsers believe, asked of a certificate authority by ACME.
    pub acme: Acme,
    /// Who may do what. Without a line here, RTSP is free on this machine, and everything else needs the tokens that were made at the
    /// first start and that `sightline up` prints in each URL.
    pub auth: Auth,
    /// Accounts of people, one table for each: [user.anna]. They count beside the tokens, where auth.token and auth.open do not say otherwise.
    pub user: BTreeMap<Name, User>,
    /// The status socket, by which cameras and dashboards know of each other.
    pub status: Status,
    /// How much is kept for viewers, and when a viewer or stream is given up.
    pub limits: Limits,
    /// What figures were: the last hour by seconds, then by minutes and hours, in the state folder.
    pub history: History,
    /// What is written to the log.
    pub log: Log,
    /// A camera of this machine, one table for each, named after its stream: [camera.zerolatency], [camera."house/door"].
    /// Its variables hold the name, SIGHTLINE_CAMERA_ZEROLATENCY_SIZE; without it they mean the default stream.
    pub camera: BTreeMap<Name, Camera>,
    /// A stream that comes from elsewhere, one table for each, named after it: [stream.door], [stream."house/door"]. Only streams with
    /// wishes need one. A name that begins with ~ is a regular expression for many, [stream."~^floor(\\d+)/(.+)$"]: the table of the exact
    /// name wins over them, then the first in the order of the alphabet. Variables hold the name too, SIGHTLINE_STREAM_DOOR_SOURCE.
    pub stream: BTreeMap<StreamKey, Stream>,
    /// Recordings on a disk of this machine.
    pub record: Record,
    /// Motion in front of cameras.
    pub motion: Motion,
    /// Where S3 is, for uploads and for the archive of recordings. A bucket stands where something is put into it: "s3://bucket/prefix".
    pub s3: S3,
    /// Snapshots that are uploaded to S3 or into a folder, one table for each, with a name of its own: [upload.door]. A server (`up`, `serve`) does it for those with a
    /// stream, `sightline upload` for those with a source.
    pub upload: BTreeMap<Name, Upload>,
    /// A server that is told what happens, one table for each, with a name of its own: [webhook.alerts]. Each event is POSTed to it as JSON, signed
    /// after the Standard Webhooks specification.
    pub webhook: BTreeMap<Name, Webhook>,
    /// `sightline publish`: a camera of this machine to another server.
    pub publish: Publish,
    /// `sightline receive`: measure, show or save a stream.
    pub receive: Receive,
    /// `sightline relay`: a camera whose stream is sent on, written as HLS, recorded, or all of it, one table for each, with a name of its own:
    /// [relay.garden]. A server (`up`, `serve`) does nothing with them.
    pub relay: BTreeMap<Name, Relay>,
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
    /// A program that runs as long as an RTSP connection is there, whatever that is for, one for each. As run_on_available in [stream.NAME], with
    /// MTX_CONN_TYPE (rtspConn, rtspsConn), MTX_CONN_ID and RTSP_PORT. At most 64 run at a time; connections that come faster than 20 a second are not all
    /// told.
    #[schemars(example = &"logger $MTX_CONN_ID")]
    pub run_on_connect: Option<Hook>,
    /// Start it again, five seconds after it ended, as long as the connection is there.
    pub run_on_connect_restart: bool,
    /// A program that is run when an RTSP connection is over, for a minute at most.
    #[schemars(example = &"logger $MTX_CONN_ID")]
    pub run_on_disconnect: Option<Hook>,
}

/// RTSP, for players and publishers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Rtsp {
    /// TCP port. 0: the system chooses one.
    pub port: u16,
    /// TCP port for RTSPS: the same by TLS, with RTP inside the connection. The certificate is that of [tls].
    pub rtsps_port: u16,
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
            rtsps_port: 8_322,
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
    /// TCP port for the same by HTTPS. The certificate is that of [tls].
    pub https_port: u16,
    /// Names by which browsers reach this machine, besides those that are known: addresses, names without a dot or with the endings of home networks (.local,
    /// .lan, .internal, .home.arpa), the host's own, server.advertise, webrtc.additional_hosts and those of the certificate. Who needs no credential is refused by any
    /// other name, which may be that of a site that leads here.
    pub hosts: Vec<String>,
}

impl Default for Http {
    fn default() -> Self {
        Self {
            port: 8_000,
            https_port: 8_443,
            hosts: Vec::new(),
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
    /// Who listens to `/api/v1/events` at a time.
    #[schemars(range(min = 1, max = 100_000))]
    pub event_listeners: usize,
    /// Pages of the dashboard that are open at a time, each with a socket.
    #[schemars(range(min = 1, max = 100_000))]
    pub live_clients: usize,
    /// Requests a second to the API that are answered to one session, token or share, or to one address that shows none; three seconds of them at once. Pages,
    /// pictures and media are not counted.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub requests: u32,
    /// Memory for the newest pictures of one stream, from its last keyframe on; and once more for its parts and segments while somebody plays
    /// it by HLS.
    pub stream_memory: Bytes,
    /// Memory for the newest pictures of all streams together. Left out: a quarter of what the program may have of the machine.
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
            event_listeners: 100,
            live_clients: 500,
            requests: 50,
            stream_memory: Bytes(hub.ring_bytes as u64),
            memory: None,
        }
    }
}

impl Limits {
    /// As the hub takes them, on a machine that gives the program so much memory. A quarter of it: HLS may take as much again, and sessions
    /// and sockets need theirs.
    pub fn for_hub(&self, memory_bytes: Option<u64>) -> media::hub::Limits {
        let bytes = |bytes: Bytes| usize::try_from(bytes.0).unwrap_or(usize::MAX);
        media::hub::Limits {
            hold: self.hold.0,
            lag: self.lag.0,
            burst_time: self.burst_time.0,
            streams: self.streams,
            viewers_per_stream: self.viewers,
            ring_bytes: bytes(self.stream_memory),
            total_bytes: self.memory.or(memory_bytes.map(|bytes| Bytes(bytes / 4))).map(bytes),
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

/// A stream that comes from elsewhere.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Stream {
    /// Where the server fetches the stream, such as "rtsp://user:password@10.0.0.4/h264", "whep://10.0.0.5:8889/door/whep" or
    /// "https://10.0.0.5/door.m3u8" (HLS), a camera that says by ONVIF where its streams are ("onvif://user:password@10.0.0.4/", with a profile behind the
    /// slash for another than its main stream; its lower stream is there as NAME/low), a program that gives it (exec:PROGRAM ARGUMENT…, which publishes at {output} or writes H.264 or
    /// H.265 to its standard output; run:PROGRAM ARGUMENT… publishes as it knows to, by MTX_PATH and RTSP_PORT), or a list of them: when one fails, the next is asked at once. Left out: the stream is there when somebody
    /// publishes it. In a table with an expression, $1 to $9 stand for its groups, and it is always as with on_demand.
    #[schemars(example = "rtsp://user:password@10.0.0.4/h264")]
    pub source: Option<SourceList>,
    /// Fetch the stream only while somebody watches it: from the first viewer on, until ten seconds after the last.
    pub on_demand: bool,
    /// The name of a login that is kept apart from the settings, in the state folder, and shown to sources that have none in their URL: made at the page's
    /// cameras or with POST /api/v1/credentials. It is for one scheme, host and port, and no other source is shown it.
    #[schemars(example = &"garden")]
    pub credential: Option<Name>,
    /// How media travels from the source: "tcp" (in the RTSP connection), "udp", or "auto": as "tcp", but over UDP where the source refuses
    /// that.
    pub source_transport: Transport,
    /// The SHA-256 of the certificate that a source with rtsps:// shows, as cameras have of their own making. Left out: one that the operating
    /// system believes. The log tells it when it is another.
    #[schemars(example = &"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef")]
    pub source_fingerprint: Option<Fingerprint>,
    /// Send RTSP players there instead: they are answered 302 with this URL as it is, a password in it included.
    #[schemars(example = "rtsp://10.0.0.5:8554/door")]
    pub redirect: Option<RtspUrl>,
    /// Send the stream on to other servers, such as ["rtsp://user:password@10.0.0.5:8554/garden", "whip://10.0.0.6:8889/garden/whip?token=…"], at most eight.
    /// Each is connected to by itself whenever the stream is there, again and again. This does not start a stream that is fetched on demand. In a
    /// table with an expression, $1 to $9 stand for its groups.
    pub forward: Vec<ForwardUrl>,
    /// The SHA-256 of the certificate that servers with rtsps:// or whips:// show to which the stream is sent on, as source_fingerprint.
    #[schemars(example = &"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef")]
    pub forward_fingerprint: Option<Fingerprint>,
    /// Show a slate that says what is missing and since when, whenever nobody publishes the stream: from the start of the
    /// program, as soon as its publisher is gone, and when that has sent nothing for limits.hold. Viewers stay; a publisher takes over at
    /// its first keyframe. For H.264.
    pub always_available: bool,
    /// What is recorded of it, in a table of its own: [stream.NAME.record].
    #[serde(skip_serializing_if = "RecordOfStream::says_nothing")]
    pub record: RecordOfStream,
    /// Motion in front of it, in a table of its own: [stream.NAME.motion].
    #[serde(skip_serializing_if = "MotionOfStream::says_nothing")]
    pub motion: MotionOfStream,
    /// A program that runs from the start of the server on, as long as this table is there; for one that publishes the stream from somewhere else. Not in
    /// tables with an expression.
    #[schemars(example = &"ffmpeg -i rtsp://10.0.0.4/h264 -c copy -f rtsp rtsp://localhost:$RTSP_PORT/$MTX_PATH")]
    pub run_on_start: Option<Hook>,
    /// Start it again, five seconds after it ended.
    pub run_on_start_restart: bool,
    /// A program that is run when the source of the stream, which is fetched on demand, is not needed any more or failed, for a minute at most.
    #[schemars(example = &"logger $MTX_PATH")]
    pub run_on_undemand: Option<Hook>,
    /// A program with its arguments that runs as long as the stream is there, such as "ffmpeg -i rtsp://localhost:$RTSP_PORT/$MTX_PATH …". No shell
    /// sees it. $NAME in an argument stands for what the event tells, as MediaMTX names it (MTX_PATH, MTX_SOURCE_TYPE, MTX_SOURCE_ID, RTSP_PORT, G1);
    /// its environment has the same, and all of it as EVENT_JSON. Not changed by HTTP.
    #[schemars(example = &"notify-send $MTX_PATH")]
    pub run_on_available: Option<Hook>,
    /// Start it again, five seconds after it ended, as long as the stream is there.
    pub run_on_available_restart: bool,
    /// A program that is run when the stream is gone, for a minute at most.
    #[schemars(example = &"notify-send $MTX_PATH")]
    pub run_on_unavailable: Option<Hook>,
    /// A program that runs as long as a viewer is there, one for each viewer. MTX_READER_TYPE and MTX_READER_ID say who it is.
    #[schemars(example = &"logger $MTX_READER_ID")]
    pub run_on_read: Option<Hook>,
    /// Start it again, five seconds after it ended, as long as the viewer is there.
    pub run_on_read_restart: bool,
    /// A program that is run when a viewer has left, for a minute at most.
    #[schemars(example = &"logger $MTX_READER_ID")]
    pub run_on_unread: Option<Hook>,
}
