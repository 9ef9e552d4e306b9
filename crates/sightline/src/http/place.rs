//! Where a client finds us, for the URLs in answers.

use media::StreamName;

/// By which host a client knows us, and below which URL it has everything where a proxy is in front.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Place {
    host: Box<str>,
    proxy: Option<Behind>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Behind {
    /// Where `/` is, without a slash at its end.
    base: Box<str>,
    /// Where streams are below it.
    streams_at: &'static str,
}

impl Place {
    /// By a host as a URL takes it, at our own ports.
    pub(crate) fn direct(host: impl Into<Box<str>>) -> Self {
        Self {
            host: host.into(),
            proxy: None,
        }
    }

    /// Behind a proxy, which has all of one port of ours at this URL.
    pub(super) fn behind(host: impl Into<Box<str>>, base: impl Into<Box<str>>, streams_at: &'static str) -> Self {
        Self {
            host: host.into(),
            proxy: Some(Behind {
                base: base.into(),
                streams_at,
            }),
        }
    }

    /// The host alone.
    pub(super) fn host(&self) -> &str {
        &self.host
    }

    /// Where `/` is, where a proxy is in front.
    pub(super) fn base(&self) -> Option<&str> {
        self.proxy.as_ref().map(|proxy| &*proxy.base)
    }

    /// RTSP, to which no such proxy leads.
    pub(crate) fn rtsp(&self, port: u16, name: &StreamName) -> String {
        format!("rtsp://{}:{port}/{name}", self.host)
    }

    /// A list of LL-HLS.
    pub(crate) fn hls(&self, port: u16, name: &StreamName) -> String {
        format!("{}/{name}/index.m3u8", self.streams(port))
    }

    /// Where sessions of WebRTC are asked for.
    pub(crate) fn whep(&self, port: u16, name: &StreamName) -> String {
        format!("{}/{name}/whep", self.streams(port))
    }

    /// What texts for it depend on.
    pub(crate) fn bytes(&self) -> impl Iterator<Item = u8> {
        let (base, streams_at) = (self.proxy.as_ref()).map_or(("", ""), |proxy| (&proxy.base, proxy.streams_at));
        // No host and no URL hold the byte between.
        let parts = [&*self.host, base, streams_at].into_iter();
        parts.flat_map(|part| part.bytes().chain([b' ']))
    }

    fn streams(&self, port: u16) -> String {
        match &self.proxy {
            Some(proxy) => format!("{}{}", proxy.base, proxy.streams_at.trim_end_matches('/')),
            None => format!("http://{}:{port}", self.host),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn behind_a_proxy_one_port_has_all_but_rtsp() {
        let door: StreamName = "house/door".parse().unwrap();
        let direct = Place::direct("[fd00::1]");
        assert_eq!(direct.hls(8_888, &door), "http://[fd00::1]:8888/house/door/index.m3u8");
        let behind = Place::behind("cams.example", "https://cams.example:8443/cams", "/live/");
        assert_eq!(
            behind.hls(8_888, &door),
            "https://cams.example:8443/cams/live/house/door/index.m3u8"
        );
        assert_eq!(
            behind.whep(8_889, &door),
            "https://cams.example:8443/cams/live/house/door/whep"
        );
        let players = Place::behind("cams.example", "https://cams.example", "/");
        assert_eq!(players.whep(8_889, &door), "https://cams.example/house/door/whep");
        assert_eq!(behind.rtsp(8_554, &door), "rtsp://cams.example:8554/house/door");
    }
}
