//! Flags that scripts pass and that change nothing: those of ports that this version does not open yet, and those of the publisher that Sightline
//! replaces. They are accepted, and answered with a notice.

/// Flags without effect.
#[derive(Debug, clap::Args)]
pub(super) struct Later {
    #[arg(long, value_name = "PORT", hide = true)]
    hls_port: Option<u16>,
    #[arg(long, value_name = "PORT", hide = true)]
    webrtc_port: Option<u16>,
    #[arg(long, value_name = "PORT", hide = true)]
    ice_port: Option<u16>,
    #[arg(long, value_name = "PORT", hide = true)]
    http_port: Option<u16>,
    #[command(flatten)]
    old: Old,
}

/// Flags of the old publisher.
#[derive(Debug, clap::Args)]
pub(super) struct Old {
    #[arg(long, value_name = "PATH", hide = true)]
    mediamtx_path: Option<std::ffi::OsString>,
    #[arg(long, value_name = "PATH", hide = true)]
    ffmpeg_path: Option<std::ffi::OsString>,
    #[arg(long, value_name = "URL", hide = true)]
    ws_url: Option<std::ffi::OsString>,
}

impl Later {
    /// Says in the log which of them were given.
    pub(super) fn notice(&self) {
        let ports = [
            ("--hls-port", self.hls_port, "HLS"),
            ("--webrtc-port", self.webrtc_port, "WebRTC"),
            ("--ice-port", self.ice_port, "WebRTC"),
            ("--http-port", self.http_port, "the dashboard"),
        ];
        for (flag, port, what) in ports {
            if port.is_some() {
                tracing::warn!("{flag} has no effect: this version does not serve {what}");
            }
        }
        self.old.notice();
    }
}

impl Old {
    /// Says in the log which of them were given.
    pub(super) fn notice(&self) {
        let paths = [
            ("--mediamtx-path", &self.mediamtx_path, "MediaMTX"),
            ("--ffmpeg-path", &self.ffmpeg_path, "FFmpeg"),
        ];
        for (flag, path, what) in paths {
            if path.is_some() {
                tracing::warn!("{flag} is no longer needed: {what} is not used");
            }
        }
        if self.ws_url.is_some() {
            tracing::warn!("--ws-url has no effect: this version does not send camera status");
        }
    }
}
