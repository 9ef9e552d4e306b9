//! Every key of MediaMTX's file (1.20), what it has without it, and what it means here.
//!
//! Belongs here: the tables. Does not belong here: doing something with a value ([`super::Translator`]).

use super::values::{self, Converted};
use super::yaml::Node;

/// A key of the file.
pub(super) struct Key {
    pub(super) name: &'static str,
    /// The value that MediaMTX has without it.
    pub(super) usual: &'static str,
    pub(super) means: Means,
    /// Its value is not shown.
    pub(super) secret: bool,
}

/// What a key means here.
pub(super) enum Means {
    /// Read with others.
    Elsewhere,
    /// A setting of ours; in a path, one of its table.
    Sets(&'static [&'static str], fn(&Node) -> Converted),
    /// An address, of which this setting takes the port.
    Listens(&'static [&'static str]),
    /// Nothing. What to do instead is told where the value is not the usual one.
    Nothing(&'static str),
}

use Means::{Elsewhere, Listens, Nothing, Sets};

const fn key(name: &'static str, usual: &'static str, means: Means) -> Key {
    let secret = false;
    Key {
        name,
        usual,
        means,
        secret,
    }
}

const fn secret(name: &'static str, means: Means) -> Key {
    Key {
        name,
        usual: "",
        means,
        secret: true,
    }
}

const ONLINE: &str = "runOnAvailable and runOnUnavailable are, which differ where alwaysAvailable shows a slate";
const FRAGMENTS: &str = "recordings are fragmented MP4, a second at most in each fragment";
const SEGMENTS: &str = "events and webhooks tell when a recording begins and ends";
const API: &str = "the API is on http.port, at /api/v1, for who has a token";
const METRICS: &str = "see GET /metrics on http.port";
const PROFILES: &str = "there are no profiles to fetch; `perf record` takes them";
const PLAYBACK: &str = "recordings are listed and played on http.port, at /list and /get too";
const RTMP: &str = "RTMP is not served";
const SRT: &str = "SRT is not served";
const MOQ: &str = "MoQ is not served";
const ORIGINS: &str = "pages of all origins may play; what asks for a credential asks them, too";
const PROXIES: &str = "addresses of viewers are those of the proxy; SIGHTLINE_PROXY_TRUSTED says whom to believe";
const HTTPS: &str = "HTTPS is on http.https_port, for the pages and players as well";
const MULTICAST: &str = "there is no multicast";
const SRTP: &str = "SRTP is not served; RTSPS carries RTP in its connection";
const RTSPS: &str = "RTSP and RTSPS are both served; close the port of the one in the firewall that nobody shall have";
const QUEUES: &str = "there are no queues of packets; limits.lag says how far a viewer may be behind";
const ON_OFF: &str = "it is always served; close its port in the firewall where nobody shall have it";
const OFFERS: &str = "answers do not wait for anything that this could limit";

/// What `authMethod: http` was before there were methods.
pub(super) const EXTERNAL: &str = "externalAuthenticationURL";

/// Keys outside of paths.
pub(super) const GLOBAL: &[Key] = &[
    key("logLevel", "info", Sets(&["log", "level"], values::word)),
    key(
        "logDestinations",
        "[stdout]",
        Nothing("logs go to the standard error; the system's journal keeps them for services"),
    ),
    key("logStructured", "no", Sets(&["log", "format"], values::log_format)),
    key(
        "logFile",
        "mediamtx.log",
        Nothing("logs go to the standard error; redirect it to a file"),
    ),
    key(
        "sysLogPrefix",
        "mediamtx",
        Nothing("logs go to the standard error; the system's journal names the service"),
    ),
    key("dumpPackets", "no", Nothing("tcpdump does that")),
    key("readTimeout", "10s", Sets(&["rtsp", "timeout"], values::span)),
    key(
        "writeTimeout",
        "10s",
        Nothing("a viewer who takes nothing is given up after rtsp.timeout"),
    ),
    key("writeQueueSize", "512", Nothing(QUEUES)),
    key(
        "udpMaxPayloadSize",
        "1452",
        Nothing("packets have 1,200 bytes, which all ways carry"),
    ),
    key("udpReadBufferSize", "0", Nothing("it is as large as the system allows")),
    key("runOnConnect", "", Sets(&["server", "run_on_connect"], values::word)),
    key(
        "runOnConnectRestart",
        "no",
        Sets(&["server", "run_on_connect_restart"], values::truth),
    ),
    key(
        "runOnDisconnect",
        "",
        Sets(&["server", "run_on_disconnect"], values::word),
    ),
    key("authMethod", "internal", Elsewhere),
    key("authInternalUsers", "", Elsewhere),
    secret("authHTTPAddress", Sets(&["auth", "http", "url"], values::word)),
    secret(
        "authHTTPFingerprint",
        Sets(&["auth", "http", "fingerprint"], values::word),
    ),
    key("authHTTPExclude", "", Elsewhere),
    secret("authJWTJWKS", Sets(&["auth", "jwt", "jwks"], values::word)),
    secret(
        "authJWTJWKSFingerprint",
        Sets(&["auth", "jwt", "fingerprint"], values::word),
    ),
    key(
        "authJWTClaimKey",
        "mediamtx_permissions",
        Sets(&["auth", "jwt", "claim"], values::word),
    ),
    key("authJWTExclude", "", Elsewhere),
    key("authJWTIssuer", "", Sets(&["auth", "jwt", "issuer"], values::word)),
    key("authJWTAudience", "", Sets(&["auth", "jwt", "audience"], values::word)),
    key(
        "authJWTInHTTPQuery",
        "yes",
        Nothing("?token= and ?jwt= are always looked at"),
    ),
    key("api", "no", Nothing(API)),
    key("apiAddress", ":9997", Nothing(API)),
    key("apiEncryption", "no", Nothing(HTTPS)),
    key("apiServerKey", "server.key", Elsewhere),
    key("apiServerCert", "server.crt", Elsewhere),
    key("apiAllowOrigins", "[*]", Nothing(ORIGINS)),
    key("apiTrustedProxies", "", Nothing(PROXIES)),
    key("metrics", "no", Nothing(METRICS)),
    key("metricsAddress", ":9998", Nothing(METRICS)),
    key("metricsEncryption", "no", Nothing(HTTPS)),
    key("metricsServerKey", "server.key", Elsewhere),
    key("metricsServerCert", "server.crt", Elsewhere),
    key("metricsAllowOrigins", "[*]", Nothing(ORIGINS)),
    key("metricsTrustedProxies", "", Nothing(PROXIES)),
    key("pprof", "no", Nothing(PROFILES)),
    key("pprofAddress", ":9999", Nothing(PROFILES)),
    key("pprofEncryption", "no", Nothing(PROFILES)),
    key("pprofServerKey", "server.key", Nothing(PROFILES)),
    key("pprofServerCert", "server.crt", Nothing(PROFILES)),
    key("pprofAllowOrigins", "[*]", Nothing(PROFILES)),
    key("pprofTrustedProxies", "", Nothing(PROFILES)),
    key("playback", "no", Nothing(PLAYBACK)),
    key("playbackAddress", ":9996", Nothing(PLAYBACK)),
    key("playbackEncryption", "no", Nothing(PLAYBACK)),
    key("playbackServerKey", "server.key", Nothing(PLAYBACK)),
    key("playbackServerCert", "server.crt", Nothing(PLAYBACK)),
    key("playbackAllowOrigins", "[*]", Nothing(PLAYBACK)),
    key("playbackTrustedProxies", "", Nothing(PLAYBACK)),
    key("rtsp", "yes", Nothing(ON_OFF)),
    key(
        "rtspTransports",
        "[udp, multicast, tcp]",
        Sets(&["rtsp", "udp"], values::has_udp),
    ),
    key("rtspEncryption", "no", Nothing(RTSPS)),
    key("rtspAddress", ":8554", Listens(&["rtsp", "port"])),
    key("rtspsAddress", ":8322", Listens(&["rtsp", "rtsps_port"])),
    key("rtpAddress", ":8000", Listens(&["rtsp", "rtp_port"])),
    key("rtcpAddress", ":8001", Listens(&["rtsp", "rtcp_port"])),
    key("multicastIPRange", "224.1.0.0/16", Nothing(MULTICAST)),
    key("multicastRTPPort", "8002", Nothing(MULTICAST)),
    key("multicastRTCPPort", "8003", Nothing(MULTICAST)),
    key("srtpAddress", ":8004", Nothing(SRTP)),
    key("srtcpAddress", ":8005", Nothing(SRTP)),
    key("multicastSRTPPort", "8006", Nothing(MULTICAST)),
    key("multicastSRTCPPort", "8007", Nothing(MULTICAST)),
    key("rtspServerKey", "server.key", Elsewhere),
    key("rtspServerCert", "server.crt", Elsewhere),
    key(
        "rtspAuthMethods",
        "[basic]",
        Nothing("Digest and Basic are both offered"),
    ),
    key("rtspTrustedProxies", "", Nothing(PROXIES)),
    // It is told whenever it is wanted: nobody has it here.
    key("rtmp", "no", Nothing(RTMP)),
    key("rtmpEncryption", "no", Nothing(RTMP)),
    key("rtmpAddress", ":1935", Nothing(RTMP)),
    key("rtmpsAddress", ":1936", Nothing(RTMP)),
    key("rtmpServerKey", "server.key", Nothing(RTMP)),
    key("rtmpServerCert", "server.crt", Nothing(RTMP)),
    key("rtmpTrustedProxies", "", Nothing(RTMP)),
    key("hls", "yes", Nothing(ON_OFF)),
    key("hlsAddress", ":8888", Listens(&["hls", "port"])),
    key("hlsEncryption", "no", Nothing(HTTPS)),
    key("hlsServerKey", "server.key", Elsewhere),
    key("hlsServerCert", "server.crt", Elsewhere),
    key("hlsAllowOrigins", "[*]", Nothing(ORIGINS)),
    key("hlsTrustedProxies", "", Nothing(PROXIES)),
    key(
        "hlsAlwaysRemux",
        "no",
        Nothing("it begins with the first player, which has its list within 50 ms"),
    ),
    key(
        "hlsVariant",
        "lowLatency",
        Nothing("streams are served as LL-HLS in fMP4, which players of plain HLS play too"),
    ),
    key("hlsSegmentCount", "7", Sets(&["hls", "segment_count"], values::number)),
    key(
        "hlsSegmentDuration",
        "1s",
        Sets(&["hls", "segment_duration"], values::span),
    ),
    key(
        "hlsPartDuration",
        "200ms",
        Sets(&["hls", "part_duration"], values::span),
    ),
    key(
        "hlsSegmentMaxSize",
        "50M",
        Nothing("limits.stream_memory bounds what a stream keeps"),
    ),
    key(
        "hlsDirectory",
        "",
        Nothing("segments are in memory; a cache in front of it may keep them on a disk"),
    ),
    key(
        "hlsMuxerCloseAfter",
        "60s",
        Nothing("a stream without players costs nothing and closes by itself"),
    ),
    secret(
        "hlsCDNSecret",
        Nothing("a cache in front needs no secret; see docs/guide/many-viewers.md"),
    ),
    key("webrtc", "yes", Nothing(ON_OFF)),
    key("webrtcAddress", ":8889", Listens(&["webrtc", "port"])),
    key("webrtcEncryption", "no", Nothing(HTTPS)),
    key("webrtcServerKey", "server.key", Elsewhere),
    key("webrtcServerCert", "server.crt", Elsewhere),
    key("webrtcAllowOrigins", "[*]", Nothing(ORIGINS)),
    key("webrtcTrustedProxies", "", Nothing(PROXIES)),
    key("webrtcLocalUDPAddress", ":8189", Listens(&["webrtc", "ice_port"])),
    key(
        "webrtcLocalTCPAddress",
        "",
        Nothing("ICE over TCP is on the number of webrtc.ice_port, always"),
    ),
    key(
        "webrtcIPsFromInterfaces",
        "yes",
        Nothing("addresses of all interfaces are offered"),
    ),
    key(
        "webrtcIPsFromInterfacesList",
        "",
        Nothing("addresses of all interfaces are offered"),
    ),
    key(
        "webrtcAdditionalHosts",
        "",
        Sets(&["webrtc", "additional_hosts"], values::words),
    ),
    secret(
        "webrtcICEServers2",
        Nothing("viewers come here without STUN and TURN; webrtc.additional_hosts names the public address"),
    ),
    key("webrtcSTUNGatherTimeout", "5s", Nothing(OFFERS)),
    key("webrtcHandshakeTimeout", "10s", Nothing(OFFERS)),
    key("webrtcTrackGatherTimeout", "2s", Nothing(OFFERS)),
    key("srt", "no", Nothing(SRT)),
    key("srtAddress", ":8890", Nothing(SRT)),
    key("moq", "no", Nothing(MOQ)),
    key("moqHTTP2Address", ":8892", Nothing(MOQ)),
    key("moqHTTP3Address", ":8892", Nothing(MOQ)),
    key("moqQUICAddress", ":8893", Nothing(MOQ)),
    key("moqServerKey", "auto.key", Nothing(MOQ)),
    key("moqServerCert", "auto.crt", Nothing(MOQ)),
    key("moqAllowOrigins", "[*]", Nothing(MOQ)),
    key("moqTrustedProxies", "", Nothing(MOQ)),
    key("pathDefaults", "", Elsewhere),
    key("paths", "", Elsewhere),
];

const SOURCES: &str = "sources are fetched by RTSP, WHEP and HLS";
const WHEP: &str = "a source by WHEP has 5 s for each answer by HTTP, 15 s to connect, and half a second until all its tracks are there";
const WAITING: &str = "a viewer waits ten seconds for a source, and it ends ten seconds after the last";
const PI: &str =
    "the Raspberry Pi's camera has size, fps, bitrate, gop, exposure, brightness and vflip in [camera.NAME]";

/// Keys of a path, and of what all paths have.
pub(super) const PATH: &[Key] = &[
    key("source", "publisher", Elsewhere),
    key("sourceRedirect", "", Elsewhere),
    key("sourceOnDemand", "no", Sets(&["on_demand"], values::truth)),
    key("sourceFingerprint", "", Sets(&["source_fingerprint"], values::word)),
    key("sourceOnDemandStartTimeout", "10s", Nothing(WAITING)),
    key("sourceOnDemandCloseAfter", "10s", Nothing(WAITING)),
    key(
        "maxReaders",
        "0",
        Nothing("limits.viewers holds for all streams together"),
    ),
    secret("srtReadPassphrase", Nothing(SRT)),
    secret("srtPublishPassphrase", Nothing(SRT)),
    key(
        "useAbsoluteTimestamp",
        "no",
        Nothing("the publisher's clock is used where it says one, always"),
    ),
    key("alwaysAvailable", "no", Sets(&["always_available"], values::truth)),
    key("alwaysAvailableTracks", "", Nothing("the slate is as the stream was")),
    key(
        "alwaysAvailableFile",
        "",
        Nothing("the slate says what is missing and since when"),
    ),
    secret(
        "forward",
        Nothing("write its targets into forward of [stream.NAME], by RTSP and WHIP"),
    ),
    key("record", "no", Sets(&["record", "enabled"], values::truth)),
    key("recordPath", "./recordings/%path/%Y-%m-%d_%H-%M-%S-%f", Elsewhere),
    key("recordFormat", "fmp4", Nothing(FRAGMENTS)),
    key("recordPartDuration", "1s", Nothing(FRAGMENTS)),
    key("recordMaxPartSize", "50M", Nothing(FRAGMENTS)),
    key("recordSegmentDuration", "1h", Elsewhere),
    key("recordDeleteAfter", "1d", Sets(&["record", "keep"], values::span)),
    key(
        "overridePublisher",
        "yes",
        Nothing("a publisher takes over from one of the same role, at its first keyframe"),
    ),
    key("rtspDemuxMpegts", "no", Nothing("MPEG-TS in RTP is not read")),
    key(
        "rtspTransport",
        "automatic",
        Sets(&["source_transport"], values::transport),
    ),
    key(
        "rtspAnyPort",
        "no",
        Nothing("packets of a source are taken from the address that it names"),
    ),
    key("rtspRangeType", "", Nothing("sources are played live")),
    key("rtspRangeStart", "", Nothing("sources are played live")),
    key("rtspScale", "", Nothing("sources are played live")),
    key(
        "rtspUDPSourcePortRange",
        "[32768, 60999]",
        Nothing("the system chooses the ports"),
    ),
    key("rtpSDP", "", Nothing(SOURCES)),
    key("moqTransport", "quic", Nothing(SOURCES)),
    secret("whepBearerToken", Elsewhere),
    key("whepSTUNGatherTimeout", "5s", Nothing(WHEP)),
    key("whepHandshakeTimeout", "10s", Nothing(WHEP)),
    key("whepTrackGatherTimeout", "2s", Nothing(WHEP)),
    key(
        "fallback",
        "",
        Nothing("several sources in [stream.NAME] source are tried in order"),
    ),
    key(
        "publishUser",
        "",
        Nothing("accounts of single paths are not there; publishers show a token"),
    ),
    secret(
        "publishPass",
        Nothing("accounts of single paths are not there; publishers show a token"),
    ),
    key(
        "readUser",
        "",
        Nothing("accounts of single paths are not there; viewers show a token"),
    ),
    secret(
        "readPass",
        Nothing("accounts of single paths are not there; viewers show a token"),
    ),
    key("rpiCameraCamID", "0", Elsewhere),
    key("rpiCameraWidth", "1920", Elsewhere),
    key("rpiCameraHeight", "1080", Elsewhere),
    key("rpiCameraFPS", "30", Elsewhere),
    key("rpiCameraIDRPeriod", "60", Elsewhere),
    key("rpiCameraBitrate", "5000000", Elsewhere),
    key("rpiCameraSecondary", "no", Nothing(PI)),
    key("rpiCameraHFlip", "no", Nothing(PI)),
    key("rpiCameraVFlip", "no", Elsewhere),
    key("rpiCameraBrightness", "0", Nothing(PI)),
    key("rpiCameraContrast", "1", Nothing(PI)),
    key("rpiCameraSaturation", "1", Nothing(PI)),
    key("rpiCameraSharpness", "1", Nothing(PI)),
    key("rpiCameraExposure", "normal", Nothing(PI)),
    key("rpiCameraAWB", "auto", Nothing(PI)),
    key("rpiCameraAWBGains", "[0, 0]", Nothing(PI)),
    key("rpiCameraDenoise", "off", Nothing(PI)),
    key("rpiCameraShutter", "0", Nothing(PI)),
    key("rpiCameraMetering", "centre", Nothing(PI)),
    key("rpiCameraGain", "0", Nothing(PI)),
    key("rpiCameraEV", "0", Nothing(PI)),
    key("rpiCameraROI", "", Nothing(PI)),
    key("rpiCameraHDR", "no", Nothing(PI)),
    key("rpiCameraTuningFile", "", Nothing(PI)),
    key("rpiCameraMode", "", Nothing(PI)),
    key("rpiCameraAfMode", "continuous", Nothing(PI)),
    key("rpiCameraAfRange", "normal", Nothing(PI)),
    key("rpiCameraAfSpeed", "normal", Nothing(PI)),
    key("rpiCameraLensPosition", "0", Nothing(PI)),
    key("rpiCameraAfWindow", "", Nothing(PI)),
    key("rpiCameraFlickerPeriod", "0", Nothing(PI)),
    key("rpiCameraTextOverlayEnable", "no", Nothing(PI)),
    key("rpiCameraTextOverlay", "%Y-%m-%d %H:%M:%S - MediaMTX", Nothing(PI)),
    key("rpiCameraCodec", "auto", Nothing(PI)),
    key("rpiCameraH264Profile", "auto", Nothing(PI)),
    key("rpiCameraH264Level", "4.1", Nothing(PI)),
    key("rpiCameraMJPEGQuality", "60", Nothing(PI)),
    key("runOnInit", "", Sets(&["run_on_start"], values::word)),
    key("runOnInitRestart", "no", Sets(&["run_on_start_restart"], values::truth)),
    key("runOnDemand", "", Elsewhere),
    key("runOnDemandRestart", "no", Elsewhere),
    key("runOnDemandStartTimeout", "10s", Nothing(WAITING)),
    key("runOnDemandCloseAfter", "10s", Nothing(WAITING)),
    key("runOnUnDemand", "", Sets(&["run_on_undemand"], values::word)),
    key("runOnAvailable", "", Sets(&["run_on_available"], values::word)),
    key(
        "runOnAvailableRestart",
        "no",
        Sets(&["run_on_available_restart"], values::truth),
    ),
    key("runOnUnavailable", "", Sets(&["run_on_unavailable"], values::word)),
    key("runOnOnline", "", Nothing(ONLINE)),
    key("runOnOnlineRestart", "no", Nothing(ONLINE)),
    key("runOnOffline", "", Nothing(ONLINE)),
    key("runOnRead", "", Sets(&["run_on_read"], values::word)),
    key("runOnReadRestart", "no", Sets(&["run_on_read_restart"], values::truth)),
    key("runOnUnread", "", Sets(&["run_on_unread"], values::word)),
    key("runOnRecordSegmentCreate", "", Nothing(SEGMENTS)),
    key("runOnRecordSegmentComplete", "", Nothing(SEGMENTS)),
];

/// Names that keys had, and those they have.
pub(super) const RENAMED: [(&str, &str); 18] = [
    ("protocols", "rtspTransports"),
    ("encryption", "rtspEncryption"),
    ("serverKey", "rtspServerKey"),
    ("serverCert", "rtspServerCert"),
    ("authMethods", "rtspAuthMethods"),
    (EXTERNAL, "authHTTPAddress"),
    ("readBufferCount", "writeQueueSize"),
    ("hlsAllowOrigin", "hlsAllowOrigins"),
    ("webrtcAllowOrigin", "webrtcAllowOrigins"),
    ("webrtcICEUDPMuxAddress", "webrtcLocalUDPAddress"),
    ("webrtcICETCPMuxAddress", "webrtcLocalTCPAddress"),
    ("webrtcICEHostNAT1To1IPs", "webrtcAdditionalHosts"),
    ("webrtcICEServers", "webrtcICEServers2"),
    ("runOnReady", "runOnAvailable"),
    ("runOnReadyRestart", "runOnAvailableRestart"),
    ("runOnNotReady", "runOnUnavailable"),
    ("sourceProtocol", "rtspTransport"),
    ("sourceAnyPortEnable", "rtspAnyPort"),
];

/// The name that a key has now.
pub(super) fn name_of_today(name: &str) -> &str {
    let renamed = RENAMED.iter().find(|(old, _)| *old == name);
    renamed.map_or(name, |(_, new)| new)
}
