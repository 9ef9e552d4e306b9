//! All ports, taken before anything else begins: a program that does not get one says so at once.

use std::collections::HashMap;

use super::Program;
use crate::net::{ListenError, Listeners, RtpPair, Wanted};
use crate::{http, webrtc};

/// All that is listened on.
pub(super) struct Sockets {
    pub(super) rtsp: std::net::TcpListener,
    pub(super) rtsps: std::net::TcpListener,
    pub(super) rtp: Option<RtpPair>,
    pub(super) http: http::Sockets,
    pub(super) ice: webrtc::Sockets,
}

/// Where that is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ports {
    pub(super) rtsp: u16,
    pub(super) rtsps: Option<u16>,
    pub(super) http: http::Ports,
    /// UDP, and nearly always TCP.
    pub(super) ice: u16,
}

impl Sockets {
    /// From `listeners`, which keeps a second descriptor of each. Ports that have a number first: what the system chooses for the others may be it.
    pub(super) fn bind(program: &Program, listeners: &mut Listeners) -> Result<Self, ListenError> {
        let settings = &program.loaded.settings;
        let tcp = [
            Some(("rtsp", settings.rtsp.port, "--rtsp-port")),
            Some(("rtsps", settings.rtsp.rtsps_port, "--rtsps-port")),
            Some(("http", settings.http.port, "--http-port")),
            Some(("https", settings.http.https_port, "--https-port")),
            Some(("hls", settings.hls.port, "--hls-port")),
            Some(("webrtc", settings.webrtc.port, "--webrtc-port")),
            websocket_port(program).map(|port| ("websocket", port, "WEBSOCKET_PORT")),
        ];
        let rtp_by_system = [settings.rtsp.rtp_port, settings.rtsp.rtcp_port] == [0, 0];
        let (mut tcp_sockets, mut rtp, mut ice) = (HashMap::new(), None, None);
        for by_system in [false, true] {
            for (name, port, setting) in tcp
                .into_iter()
                .flatten()
                .filter(|(_, port, _)| (*port == 0) == by_system)
            {
                tcp_sockets.insert(name, listeners.tcp(wanted(program, name, port, setting))?);
            }
            if settings.rtsp.udp && rtp_by_system == by_system {
                rtp = Some(rtp_ports(program, listeners)?);
            }
            if (settings.webrtc.ice_port == 0) == by_system {
                ice = Some(ice_port(program, listeners)?);
            }
        }
        let mut tcp = |name| tcp_sockets.remove(name);
        let all = || {
            Some(Self {
                rtsp: tcp("rtsp")?,
                rtsps: tcp("rtsps")?,
                rtp,
                http: http::Sockets {
                    http: tcp("http")?,
                    https: tcp("https")?,
                    hls: tcp("hls")?,
                    webrtc: tcp("webrtc")?,
                    websocket: tcp("websocket"),
                },
                ice: ice?,
            })
        };
        Ok(all().expect("each port is one by the system or one that is not"))
    }
}

/// The names are for the program that takes this one's place, perhaps another version of it: they stay as they are.
fn wanted(program: &Program, name: &'static str, port: u16, setting: &'static str) -> Wanted {
    Wanted {
        name,
        host: program.loaded.settings.server.host.map(|address| address.0),
        port,
        setting,
    }
}

/// The ICE port. Browsers learn it from the answer, so where nobody asked for a particular one and the usual one is taken, another does as well.
fn ice_port(program: &Program, listeners: &mut Listeners) -> Result<webrtc::Sockets, ListenError> {
    match ice_sockets(program, program.loaded.settings.webrtc.ice_port, listeners) {
        Err(error @ ListenError::InUse { .. }) if program.loaded.origin("webrtc.ice_port").is_none() => {
            let sockets = ice_sockets(program, 0, listeners)?;
            let ice_port = sockets.udp.local_addr().map_or(0, |address| address.port());
            tracing::warn!(reason = %error, ice_port, "WebRTC uses another port");
            Ok(sockets)
        }
        sockets => sockets,
    }
}

/// By UDP and TCP, under one number. Where the system chooses it for UDP it may be taken by TCP: then it chooses again.
fn ice_sockets(program: &Program, port: u16, listeners: &mut Listeners) -> Result<webrtc::Sockets, ListenError> {
    const SETTING: &str = "--ice-port";
    /// Where a tenth of all numbers is taken, as beside many clients, all of these fail once in 10^16 starts.
    const ATTEMPTS: usize = 16;
    let mut both = || -> Result<webrtc::Sockets, ListenError> {
        let udp = listeners.udp(wanted(program, "ice-udp", port, SETTING))?;
        let number = udp.local_addr().map_or(port, |address| address.port());
        let tcp = listeners.tcp(wanted(program, "ice-tcp", number, SETTING))?;
        Ok(webrtc::Sockets { udp, tcp })
    };
    for _ in 1..ATTEMPTS {
        match both() {
            Err(ListenError::InUse { .. }) if port == 0 => {}
            sockets => return sockets,
        }
    }
    both()
}

/// The port of `WEBSOCKET_PORT`, unless it has the status socket anyway.
fn websocket_port(program: &Program) -> Option<u16> {
    let settings = &program.loaded.settings;
    let have_it = [settings.http.port, settings.hls.port, settings.webrtc.port];
    program.websocket_port.filter(|port| !have_it.contains(port))
}

/// The ports for RTP over UDP. Players learn them when they set up a session, so where nobody asked for particular ones and the usual ones are
/// taken, others do as well.
fn rtp_ports(program: &Program, listeners: &mut Listeners) -> Result<RtpPair, ListenError> {
    const SETTINGS: &str = "rtsp.rtp_port and rtsp.rtcp_port; the system chooses both with SIGHTLINE_RTSP_RTP_PORT=0 SIGHTLINE_RTSP_RTCP_PORT=0";
    let settings = &program.loaded.settings.rtsp;
    let mut pair = |[rtp, rtcp]: [u16; 2]| {
        listeners.rtp_pair([
            wanted(program, "rtp", rtp, SETTINGS),
            wanted(program, "rtcp", rtcp, SETTINGS),
        ])
    };
    let chosen = ["rtsp.rtp_port", "rtsp.rtcp_port"]
        .iter()
        .any(|key| program.loaded.origin(key).is_some());
    match pair([settings.rtp_port, settings.rtcp_port]) {
        Err(error @ ListenError::InUse { .. }) if !chosen => {
            let pair = pair([0, 0])?;
            let port = pair.rtp.local_addr().map_or(0, |address| address.port());
            tracing::warn!(reason = %error, rtp_port = port, "RTP over UDP uses other ports");
            Ok(pair)
        }
        pair => pair,
    }
}
