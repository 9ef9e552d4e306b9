//! Flags that scripts pass to the publisher that Sightline replaces, and that change nothing. They are accepted, and answered with a notice.

/// Flags without effect.
#[derive(Debug, clap::Args)]
pub(super) struct Old {
    #[arg(long, value_name = "PATH", hide = true)]
    mediamtx_path: Option<std::ffi::OsString>,
    #[arg(long, value_name = "PATH", hide = true)]
    ffmpeg_path: Option<std::ffi::OsString>,
}

/// The same, for commands that have the status socket themselves.
#[derive(Debug, clap::Args)]
pub(super) struct OldSocket {
    #[arg(long, value_name = "URL", hide = true)]
    ws_url: Option<std::ffi::OsString>,
}

impl OldSocket {
    /// Says in the log that it was given.
    pub(super) fn notice(&self) {
        if self.ws_url.is_some() {
            tracing::warn!("--ws-url has no effect: this program has the status socket itself");
        }
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
    }
}
