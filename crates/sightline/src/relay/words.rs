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
        let mut words = Words {
            environment,
            wrong: Vec::new(),
        };
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

struct Words<'a> {
    environment: &'a Environment,
    wrong: Vec<String>,
}

impl<'a> Words<'a> {
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

    fn source(&mut self) -> Option<SourceList> {
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
            self.refuse(
                IP,
                format!("{ip:?} is no address; write one like 192.168.1.141, or a URL as CAMERA_RTSP_URL"),
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

    fn read<T: FromStr<Err: Display>>(&mut self, name: &'static str) -> Option<T> {
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

    fn refuse(&mut self, name: &'static str, why: impl Display) {
        let line = format!("{}: {why}", self.called(name));
        self.wrong.push(line);
    }

    /// The word and where it stands.
    fn called(&self, name: &str) -> String {
        match self.environment.from(name) {
            Some(from) => Origin::Variable {
                name: name.to_owned(),
                from: from.clone(),
            }
            .to_string(),
            None => name.to_owned(),
        }
    }

    /// systemd hands out a `.env` of ours with the comments behind the values.
    fn get(&self, name: &str) -> Option<&'a str> {
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
    if rest
        .split(['/', '?'])
        .next()
        .is_some_and(|authority| authority.contains('@'))
    {
        return url.to_owned();
    }
    let encode = |text| utf8_percent_encode(text, NON_ALPHANUMERIC);
    format!("{scheme}://{}:{}@{rest}", encode(user), encode(password))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::stream_source::Place;
    use proptest::prelude::*;

    const RECORD: [(&str, &str); 2] = [(MODE, "record"), (FOLDER, "/x")];

    fn read(words: &[(&str, &str)]) -> Result<Camera, Vec<String>> {
        camera(&Environment::of(words.iter().copied()), None).unwrap()
    }

    fn places(camera: &Camera) -> Vec<Place> {
        let list = camera.stream.source.clone().unwrap();
        list.0.iter().map(|source| source.filled(None).unwrap()).collect()
    }

    #[test]
    fn the_three_modes_of_the_guide() {
        let account = [(IP, "192.168.1.141"), (USER, "admin"), (PASSWORD, "password")];
        let target = (TARGET, "rtsp://your-server.local:8554/camera1");
        let republish = read(&[&account[..], &[(MODE, "republish"), target]].concat()).unwrap();
        assert_eq!(republish.stream.forward.len(), 1);
        assert_eq!((&republish.hls, &republish.record), (&None, &None));
        assert_eq!(
            places(&republish)[0].to_string(),
            "rtsp://192.168.1.141/h264Preview_01_main"
        );
        assert_eq!(places(&republish).len(), PATHS.len() + ONVIF_PORTS.len());
        assert_eq!(republish.account, Account::Words(true));

        let hls = read(&[
            (IP, "192.168.1.141"),
            (MODE, "hls"),
            (FOLDER, "/var/www/html/camera1"),
            (SEGMENT, "4"),
        ])
        .unwrap();
        let output = hls.hls.unwrap();
        assert_eq!(
            (output.folder.to_str(), output.segment.as_secs()),
            (Some("/var/www/html/camera1"), 4)
        );
        assert_eq!(output.retention.map(|keep| keep.as_secs()), Some(6 * 3_600));
        assert_eq!(hls.account, Account::Words(false));

        let record = [
            (IP, "cam.local:8554"),
            (MODE, "RECORD"),
            (FOLDER, "/mnt/storage/camera1"),
            (SEGMENT, "60"),
            (PATH, "/ch0?a=b"),
        ];
        let record = read(&record).unwrap();
        let output = record.record.clone().unwrap();
        assert_eq!((output.segment.as_secs(), output.retention), (60, None));
        assert_eq!(places(&record).len(), 1);
        assert_eq!(places(&record)[0].to_string(), "rtsp://cam.local:8554/ch0?a=b");
    }

    #[test]
    fn every_word_that_is_wrong_is_named() {
        for (words, name) in [
            (&[(IP, "10.0.0.4")][..], MODE),
            (&[(IP, "10.0.0.4"), (MODE, "film")], MODE),
            (&[(MODE, "record"), (FOLDER, "/x")], IP),
            (&[(IP, "http://10.0.0.4/"), (MODE, "record"), (FOLDER, "/x")], IP),
            (&[(IP, "10.0.0.4"), (MODE, "hls")], FOLDER),
            (&[(IP, "10.0.0.4"), (MODE, "republish")], TARGET),
            (&[(IP, "10.0.0.4"), (MODE, "republish"), (TARGET, "rtmp://a/b")], TARGET),
            (
                &[(IP, "10.0.0.4"), (MODE, "record"), (FOLDER, "/x"), (SEGMENT, "soon")],
                SEGMENT,
            ),
            (
                &[(IP, "10.0.0.4"), (MODE, "record"), (FOLDER, "/x"), (SEGMENT, "0")],
                SEGMENT,
            ),
            (
                &[(IP, "10.0.0.4"), (MODE, "record"), (FOLDER, "/x"), (RETENTION, "late")],
                RETENTION,
            ),
            (
                &[(IP, "10.0.0.4"), (MODE, "record"), (FOLDER, "/x"), (PASSWORD, "canary")],
                USER,
            ),
            (&[(URL, "10.0.0.4/x"), (MODE, "record"), (FOLDER, "/x")], URL),
        ] {
            let wrong = read(words).unwrap_err();
            assert!(wrong.len() == 1 && wrong[0].starts_with(name), "{name}: {wrong:?}");
            assert!(!wrong[0].contains("canary"));
        }
        // All at once.
        let wrong = read(&[(MODE, "film"), (SEGMENT, "soon")]).unwrap_err();
        assert_eq!(wrong.len(), 3, "{wrong:?}");
        assert!(
            camera(&Environment::of([(FOLDER, "/x")]), None).is_none(),
            "of somebody else"
        );
    }

    #[test]
    fn accounts_and_tokens_stand_in_urls_that_have_none() {
        let account = [(USER, "admin"), (PASSWORD, "p@ss/w#rd")];
        let url = |url| [&RECORD[..], &account, &[(URL, url)]].concat();
        let given = read(&url("rtsp://10.0.0.4/x")).unwrap();
        let Place::Rtsp(place) = &places(&given)[0] else {
            panic!()
        };
        assert_eq!(place.password.as_deref(), Some("p@ss/w#rd"));
        let own = read(&url("rtsp://me:mine@10.0.0.4/x")).unwrap();
        let Place::Rtsp(place) = &places(&own)[0] else { panic!() };
        assert_eq!(place.password.as_deref(), Some("mine"));

        let words = [
            (IP, "10.0.0.4"),
            (MODE, "republish"),
            (TARGET, "rtsp://10.0.0.5:8554/camera1"),
        ];
        let shown = camera(&Environment::of(words), Some(&Secret::new("t0ken")))
            .unwrap()
            .unwrap();
        let crate::config::destination::Destination::Rtsp(to) = shown.stream.forward[0].filled(None).unwrap() else {
            panic!()
        };
        assert_eq!(
            (to.user.as_deref(), to.password.as_deref()),
            (Some("publisher"), Some("t0ken"))
        );
    }

    #[test]
    fn comments_behind_values_are_none_of_them() {
        let words = [
            (MODE, "record"),
            (FOLDER, "/x"),
            (IP, "10.0.0.4"),
            (SEGMENT, "60  # 1-minute segments"),
        ];
        let account = [(USER, "admin"), (PASSWORD, "a #b")];
        let camera = read(&[&words[..], &account].concat()).unwrap();
        assert_eq!(camera.record.as_ref().unwrap().segment.as_secs(), 60);
        let Place::Rtsp(place) = &places(&camera)[0] else {
            panic!()
        };
        assert_eq!(place.password.as_deref(), Some("a #b"), "a password may hold anything");
    }

    #[test]
    fn addresses_of_all_kinds() {
        for (ip, place) in [
            ("fd00::4", "rtsp://[fd00::4]:554/x"),
            ("[fd00::4]:8554", "rtsp://[fd00::4]:8554/x"),
            ("10.0.0.4", "rtsp://10.0.0.4:554/x"),
        ] {
            let camera = read(&[&RECORD[..], &[(IP, ip), (PATH, "x")]].concat()).unwrap();
            assert_eq!(
                places(&camera)[0].to_string().replace(":554/", "/"),
                place.replace(":554/", "/")
            );
        }
    }

    proptest! {
        #[test]
        fn a_password_may_hold_any_character(password in "[^\0\r\n]{1,30}") {
            prop_assume!(!password.is_empty());
            let words = [&RECORD[..], &[(IP, "10.0.0.4"), (USER, "admin"), (PASSWORD, &password)]].concat();
            let camera = read(&words).unwrap();
            for place in places(&camera) {
                let found = match &place {
                    Place::Rtsp(url) => url.password.clone().unwrap_or_default(),
                    Place::Onvif(device) => device.account.as_ref().unwrap().password.expose().to_owned(),
                    other => panic!("{other}"),
                };
                prop_assert_eq!(&found, &password);
            }
        }

        #[test]
        fn no_words_panic(ip in ".{0,30}", path in ".{0,30}", time in ".{0,10}") {
            let _ = read(&[&RECORD[..], &[(IP, &ip), (PATH, &path), (SEGMENT, &time)]].concat());
        }
    }
}
