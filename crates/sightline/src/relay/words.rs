//! The words of `.env` by which one camera is relayed: `CAMERA_IP`, `STREAM_MODE` and so on.
//!
//! Does not belong here: how `.env` is read ([`crate::config::dotenv`]), tables of the settings file ([`super::plan`]).

use std::fmt::Display;
use std::path::PathBuf;
use std::str::FromStr;

use media::StreamName;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use protocol::rtsp::url::Url;

use super::plan::{self, Account, Camera};
use crate::config::settings::Relay;
use crate::config::stream_source::SourceList;
use crate::config::{Environment, Origin};
use crate::secret::Secret;

/// Where cameras have their main stream, in the order in which it is looked for. Reolink, its newer ones, Hikvision, Dahua, TP-Link, Axis; the rest say it by
/// ONVIF, at its usual port and at Reolink's. That comes last: where it has accounts of its own, a refused one says nothing of this one.
const PATHS: [&str; 6] = [
    "h264Preview_01_main",
    "Preview_01_main",
    "Streaming/Channels/101",
    "cam/realmonitor?channel=1&subtype=0",
    "stream1",
    "axis-media/media.amp",
];
const ONVIF_PORTS: [u16; 2] = [80, 8_000];

/// What the camera is called in the log.
const NAME: &str = "camera";

const IP: &str = "CAMERA_IP";
const USER: &str = "CAMERA_USERNAME";
const PASSWORD: &str = "CAMERA_PASSWORD";
const PATH: &str = "CAMERA_PATH";
const URL: &str = "CAMERA_RTSP_URL";
const MODE: &str = "STREAM_MODE";
const TARGET: &str = "OUTPUT_RTSP_URL";
const FOLDER: &str = "OUTPUT_DIR";
const SEGMENT: &str = "SEGMENT_TIME";
const RETENTION: &str = "RETENTION";

/// The camera that these words name; `None` where there is none of them. `token`: what is shown to the server that gets the stream, where its URL has no user.
///
/// # Errors
/// All that is wrong, a line for each, with the word and where it stands.
pub fn camera(environment: &Environment, token: Option<&Secret>) -> Option<Result<Camera, Vec<String>>> {
    let is_meant = [IP, URL, MODE].iter().any(|name| environment.get(name).is_some());
    is_meant.then(|| {
        let mut words = Words::new(environment);
        let relay = words.relay(token);
        if !words.wrong.is_empty() {
            return Err(words.wrong);
        }
        let name = NAME.parse().unwrap_or_else(|_| StreamName::default_stream());
        let account = match words.get(URL) {
            Some(_) if words.get(USER).is_none() => Account::Url,
            _ => Account::Words(words.get(USER).is_some()),
        };
        let called = |key: &str| words.called(word_of(key));
        let camera = Camera::new(name, &relay, account, &called)?;
        let wrong = plan::shared_folders(std::slice::from_ref(&camera));
        if wrong.is_empty() { Ok(camera) } else { Err(wrong) }
    })
}

/// Which word stands for a key of a table.
fn word_of(key: &str) -> &'static str {
    match key {
        "republish" => TARGET,
        "hls_dir" | "record_dir" => FOLDER,
        "segment" => SEGMENT,
        "retention" => RETENTION,
        _ => IP,
    }
}

/// Words of one environment, and what is wrong with those that were read.
pub(crate) struct Words<'a> {
    environment: &'a Environment,
    /// A line for each, with the word and where it stands.
    pub(crate) wrong: Vec<String>,
}

impl<'a> Words<'a> {
    /// Without anything wrong.
    pub(crate) fn new(environment: &'a Environment) -> Self {
        Self {
            environment,
            wrong: Vec::new(),
        }
    }

    /// Whether they name a camera.
    pub(crate) fn name_a_camera(&self) -> bool {
        [IP, URL].iter().any(|name| self.get(name).is_some())
    }

    fn relay(&mut self, token: Option<&Secret>) -> Relay {
        let mut relay = Relay {
            source: self.source(),
            segment: self.read(SEGMENT),
            retention: self.read(RETENTION),
            ..Relay::default()
        };
        let mode = self.get(MODE).map(str::to_ascii_lowercase);
        match mode.as_deref() {
            Some("republish") => relay.republish.extend(self.target(token)),
            Some("hls") => relay.hls_dir = self.folder("stream.m3u8 and its segments go"),
            Some("record") => relay.record_dir = self.folder("recordings go"),
            Some(other) => self.refuse(MODE, format!("{other:?} is none; write republish, hls or record")),
            None => self.refuse(MODE, "not set; write republish, hls or record"),
        }
        relay
    }

    /// Where the camera is.
    pub(crate) fn source(&mut self) -> Option<SourceList> {
        if let Some(url) = self.get(URL) {
            if !["rtsp://", "rtsps://"].iter().any(|scheme| begins(url, scheme)) {
                self.refuse(
                    URL,
                    "it does not begin with rtsp:// or rtsps://; write it like rtsp://192.168.1.141:554/stream1",
                );
                return None;
            }
            let url = match self.account()? {
                Some((user, password)) => with_login(url, user, password),
                None => url.to_owned(),
            };
            return self.read_as(URL, &url).map(|source| SourceList(vec![source]));
        }
        let Some(ip) = self.get(IP) else {
            self.refuse(
                IP,
                "not set; write the address of the camera, such as 192.168.1.141, or its whole URL as CAMERA_RTSP_URL",
            );
            return None;
        };
        let Some((authority, host)) = authority(ip) else {
            // Not what it holds: that may be a whole URL with a password.
            self.refuse(
                IP,
                "that is no address; write one like 192.168.1.141, and user and password as CAMERA_USERNAME and CAMERA_PASSWORD; or a whole URL as CAMERA_RTSP_URL",
            );
            return None;
        };
        let account = self.account()?;
        let of = |url: String| match account {
            Some((user, password)) => with_login(&url, user, password),
            None => url,
        };
        let urls: Vec<String> = match self.get(PATH) {
            Some(path) => vec![of(format!("rtsp://{authority}/{}", path.trim_start_matches('/')))],
            None => {
                let paths = PATHS.iter().map(|path| of(format!("rtsp://{authority}/{path}")));
                let onvif = ONVIF_PORTS.iter().map(|port| of(format!("onvif://{host}:{port}/")));
                paths.chain(onvif).collect()
            }
        };
        let named = if self.get(PATH).is_some() { PATH } else { IP };
        let sources: Option<Vec<_>> = urls.iter().map(|url| self.read_as(named, url)).collect();
        sources.map(SourceList)
    }

    /// Outer `None`: it is wrong. Inner: there is none.
    #[allow(clippy::option_option, reason = "both are said above")]
    fn account(&mut self) -> Option<Option<(&'a str, &'a str)>> {
        let environment = self.environment;
        match (environment.get(USER), environment.get(PASSWORD)) {
            (Some(user), password) => Some(Some((user, password.unwrap_or_default()))),
            (None, None) => Some(None),
            (None, Some(_)) => {
                self.refuse(
                    USER,
                    format!("not set, though {PASSWORD} is; write the user of the camera"),
                );
                None
            }
        }
    }

    fn target(&mut self, token: Option<&Secret>) -> Option<crate::config::destination::ForwardUrl> {
        let Some(url) = self.get(TARGET) else {
            self.refuse(
                TARGET,
                "not set; write where the stream goes, such as rtsp://your-server.local:8554/camera1",
            );
            return None;
        };
        let url = match token {
            Some(token) => with_login(url, "publisher", token.expose()),
            None => url.to_owned(),
        };
        self.read_as(TARGET, &url)
    }

    fn folder(&mut self, what: &str) -> Option<PathBuf> {
        let folder = self.get(FOLDER).map(PathBuf::from);
        if folder.is_none() {
            self.refuse(FOLDER, format!("not set; write the folder where {what}"));
        }
        folder
    }

    /// A word that is a value of this type; `None`: it is not there, or wrong.
    pub(crate) fn read<T: FromStr<Err: Display>>(&mut self, name: &'static str) -> Option<T> {
        let text = self.get(name)?;
        self.read_as(name, text)
    }

    fn read_as<T: FromStr<Err: Display>>(&mut self, name: &'static str, text: &str) -> Option<T> {
        match text.parse() {
            Ok(read) => Some(read),
            Err(why) => {
                self.refuse(name, why);
                None
            }
        }
    }

    /// Something is wrong with a word.
    pub(crate) fn refuse(&mut self, name: &'static str, why: impl Display) {
        let line = format!("{}: {why}", self.called(name));
        self.wrong.push(line);
    }

    /// The word and where it stands.
    pub(crate) fn called(&self, name: &str) -> String {
        match self.environment.from(name) {
            Some(from) => Origin::Variable {
                name: name.to_owned(),
                from: from.clone(),
            }
            .to_string(),
            None => name.to_owned(),
        }
    }

    /// What a word says. systemd hands out a `.env` of ours with the comments behind the values.
    pub(crate) fn get(&self, name: &str) -> Option<&'a str> {
        let value = self.environment.get(name)?;
        let value = value.split_once(" #").map_or(value, |(value, _)| value).trim();
        Some(value).filter(|value| !value.is_empty())
    }
}

/// Host with port, and host alone, as they stand in a URL.
fn authority(ip: &str) -> Option<(String, String)> {
    if ip.contains(|c: char| c.is_whitespace() || "/@?#\\%".contains(c)) {
        return None;
    }
    let authority = match ip.parse::<std::net::Ipv6Addr>() {
        Ok(address) => format!("[{address}]"),
        Err(_) => ip.to_owned(),
    };
    let url: Url = format!("rtsp://{authority}/").parse().ok()?;
    let host = match url.host.contains(':') {
        true => format!("[{}]", url.host.trim_matches(['[', ']'])),
        false => url.host,
    };
    Some((authority, host))
}

fn begins(url: &str, scheme: &str) -> bool {
    url.get(..scheme.len())
        .is_some_and(|begin| begin.eq_ignore_ascii_case(scheme))
}

/// The URL with this account, unless it has one.
pub fn with_login(url: &str, user: &str, password: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return url.to_owned();
    };
    // As RTSP URLs are read here: a password may hold `/` as it is.
    let has_user = || url.parse::<Url>().is_ok_and(|url| url.user.is_some());
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    if authority.contains('@') || has_user() {
        return url.to_owned();
    }
    let encode = |text| utf8_percent_encode(text, NON_ALPHANUMERIC);
    format!("{scheme}://{}:{}@{rest}", encode(user), encode(password))
}

#[cfg(test)]
mod tests;
