//! The ports: whether the program could have them, or has them already.

use super::Findings;
use crate::config::settings::Settings;
use crate::net::{self, Holder, ListenError, Transport};

const ABOUT: &str = "ports";
/// How our program is called among processes.
const OURS: &str = "sightline";

/// Looks at all of them. The port of HTTP where a program of ours serves already.
pub(super) fn look(settings: &Settings, found: &mut Findings<'_>) -> Option<u16> {
    let host = settings.server.host.map(|address| address.0);
    let tcp = [
        ("RTSP", settings.rtsp.port, "rtsp.port"),
        ("RTSPS", settings.rtsp.rtsps_port, "rtsp.rtsps_port"),
        ("HTTP", settings.http.port, "http.port"),
        ("HTTPS", settings.http.https_port, "http.https_port"),
        ("HLS", settings.hls.port, "hls.port"),
        ("WebRTC", settings.webrtc.port, "webrtc.port"),
        ("media of WebRTC", settings.webrtc.ice_port, "webrtc.ice_port"),
    ];
    let udp = [
        ("media of WebRTC", settings.webrtc.ice_port, "webrtc.ice_port"),
        ("RTP", settings.rtsp.rtp_port, "rtsp.rtp_port"),
        ("RTCP", settings.rtsp.rtcp_port, "rtsp.rtcp_port"),
    ];
    // Without RTP over UDP these are not taken.
    let udp = udp
        .into_iter()
        .filter(|(_, _, setting)| settings.rtsp.udp || !setting.starts_with("rtsp"));
    let (mut free, mut all, mut ours) = (0, 0, None);
    let tried = (tcp.into_iter())
        .map(|(what, port, setting)| {
            (
                what,
                Transport::Tcp,
                port,
                net::listen_tcp(host, port, setting).map(drop),
            )
        })
        .chain(
            udp.map(|(what, port, setting)| (what, Transport::Udp, port, net::bind_udp(host, port, setting).map(drop))),
        );
    for (what, transport, port, result) in tried {
        all += 1;
        match result {
            Ok(()) => free += 1,
            Err(ListenError::InUse {
                holder: Some(Holder { name, pid }),
                ..
            }) if name == OURS => {
                if port == settings.http.port {
                    ours = Some(pid);
                }
            }
            Err(error) => {
                let what = format!("{what}, {} port {port}: {error}", transport.name());
                found.wrong(ABOUT, what, "end that program, or choose another port");
            }
        }
    }
    match ours {
        Some(pid) => found.fine(ABOUT, format!("a server of ours has them (pid {pid})")),
        None if free == all => found.fine(ABOUT, "all are free"),
        None => {}
    }
    ours.map(|_| settings.http.port)
}
