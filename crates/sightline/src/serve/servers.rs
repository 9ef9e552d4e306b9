//! The servers of all protocols, made before any of them begins.
//!
//! Belongs here: what each of them is given of the settings. Does not belong here: when they run ([`super`]), what changes while they do
//! ([`super::follow`]).

use std::sync::Arc;

use crate::auth::Auth;
use crate::config::live::Live;
use crate::forward::Forwarder;
use crate::motion::Detector;
use crate::net::Gate;
use crate::record::archive::Archive;
use crate::record::export::Exports;
use crate::record::library::Library;
use crate::record::service::Recordings;
use crate::shutdown::Shutdown;
use crate::source::Supervisor;
use crate::state::control::Control;
use crate::stills::Stills;
use crate::tls::Certificates;
use crate::upload::Uploads;
use crate::webhooks::Webhooks;
use crate::{http, random, rtsp, status, webrtc};

use super::follow::{Limits, Services};
use super::sockets::{Ports, Sockets};
use super::{Error, Program, recording, urls};

/// What they are made of.
pub(super) struct Making<'a> {
    pub(super) program: &'a Program,
    pub(super) streams: &'a Arc<Supervisor>,
    pub(super) forwards: &'a Arc<Forwarder>,
    pub(super) webhooks: &'a Arc<Webhooks>,
    pub(super) recordings: &'a Arc<Recordings>,
    pub(super) exports: &'a Arc<Exports>,
    pub(super) shutdown: &'a Shutdown,
    pub(super) archive: &'a Arc<Archive>,
    pub(super) uploads: &'a Arc<Uploads>,
    pub(super) auth: &'a Arc<Auth>,
    pub(super) control: &'a Arc<Control>,
    pub(super) certificates: &'a Arc<Certificates>,
    pub(super) live: &'a Arc<Live>,
    pub(super) limits: Limits,
    pub(super) gate: Gate,
}

/// Those that run as a whole, and where.
pub(super) struct Servers {
    pub(super) rtsp: rtsp::Server,
    pub(super) http: http::Server,
    pub(super) ports: Ports,
}

impl Making<'_> {
    pub(super) fn servers(self, sockets: Sockets) -> Result<(Servers, Services), Error> {
        let what = |what| move |error| Error::System { what, error };
        let clock = &self.program.clock;
        let listening = rtsp::Sockets {
            tcp: sockets.rtsp,
            tls: Some((sockets.rtsps, Arc::clone(self.certificates))),
            rtp: sockets.rtp,
        };
        let rtsp = rtsp::Server::new(
            listening,
            self.rtsp_settings(),
            Arc::clone(self.streams),
            Arc::clone(self.auth),
            Arc::clone(clock),
            random::bits,
        );
        let rtsp = rtsp.map_err(what("serve RTSP"))?;
        let rtsp_port = rtsp.local_addr().map_err(what("serve RTSP"))?.port();
        let webrtc = webrtc::Service::new(
            sockets.ice,
            self.webrtc_settings(),
            Arc::clone(self.streams),
            Arc::clone(clock),
            random::bits,
        );
        let webrtc = webrtc.map_err(what("serve WebRTC"))?;
        let clients = self.program.loaded.settings.limits.status_clients;
        let status = status::Server::new(clients, Arc::clone(clock));
        status.record_with(Arc::clone(self.recordings));
        let motion = recording::motion(self.program, self.streams, self.recordings, self.shutdown);
        status.tell_motion(Arc::clone(&motion));
        let http = http::Server::new(
            sockets.http,
            self.http_settings(rtsp_port, &status, &motion),
            Arc::clone(self.streams),
            Arc::clone(self.auth),
            Arc::clone(&webrtc),
            Arc::clone(clock),
        );
        let http = http.map_err(what("serve HTTP"))?;
        let ports = Ports {
            rtsp: rtsp_port,
            rtsps: rtsp.secure_port(),
            http: http.ports(),
            ice: webrtc.port(),
        };
        let services = Services {
            auth: Arc::clone(self.auth),
            status,
            streams: Arc::clone(self.streams),
            forwards: Arc::clone(self.forwards),
            webhooks: Arc::clone(self.webhooks),
            recordings: Arc::clone(self.recordings),
            motion,
            webrtc,
            limits: self.limits,
        };
        Ok((Servers { rtsp, http, ports }, services))
    }

    fn rtsp_settings(&self) -> rtsp::Settings {
        let settings = &self.program.loaded.settings.rtsp;
        let mut rtsp = rtsp::Settings {
            connections: self.limits.rtsp.clone(),
            gate: self.gate.clone(),
            ..rtsp::Settings::default()
        };
        rtsp.session.udp = settings.udp;
        rtsp.session.session_timeout = settings.timeout.0;
        rtsp
    }

    fn webrtc_settings(&self) -> webrtc::Settings {
        let settings = &self.program.loaded.settings;
        webrtc::Settings {
            sessions: settings.limits.webrtc_sessions,
            host: settings.server.host.map(|address| address.0),
            additional_hosts: settings.webrtc.additional_hosts.clone(),
            gate: self.gate.clone(),
            ..webrtc::Settings::default()
        }
    }

    fn http_settings(&self, rtsp_port: u16, status: &Arc<status::Server>, motion: &Arc<Detector>) -> http::Settings {
        http::Settings {
            connections: self.limits.http.clone(),
            patience: http::Patience::default(),
            trusted: self.limits.trusted.clone(),
            hosts: self.limits.hosts.clone(),
            host: urls::named_host(&self.program.loaded.settings.server, &self.program.environment),
            rtsp_port,
            hls: self.limits.hls.clone(),
            certificates: Arc::clone(self.certificates),
            status: Arc::clone(status),
            forwards: Arc::clone(self.forwards),
            webhooks: Arc::clone(self.webhooks),
            recordings: Arc::clone(self.recordings),
            motion: Arc::clone(motion),
            uploads: Some(Arc::clone(self.uploads)),
            live: Arc::clone(self.live),
            gate: self.gate.clone(),
            library: {
                let recordings = Arc::clone(self.recordings);
                Library::new(move || recordings.recorder(), Some(Arc::clone(self.archive)))
            },
            exports: Arc::clone(self.exports),
            stills: Stills::new(Arc::clone(&self.program.clock)),
            log: Arc::clone(&self.program.log.ring),
            control: Arc::clone(self.control),
            history: super::recording::history(self.program),
        }
    }
}
