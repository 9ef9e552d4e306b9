//! `sightline cameras`: IP cameras of the network, and what to write into the settings for them.
//!
//! Belongs here: flags, what people and programs are shown, what to do when nothing is found. Does not belong here: looking and asking
//! ([`crate::onvif`]).

use std::collections::BTreeSet;
use std::io::{self, Write as _};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use protocol::onvif::media::{self as streams, Profile};
use serde::Serialize;
use url::Url;

use super::{Failure, connect, password};
use crate::clock::SystemClock;
use crate::config::Environment;
use crate::config::onvif_url::written;
use crate::config::units::Span;
use crate::net;
use crate::onvif::discover::{Asking, MAX_CAMERAS, Search, Seen, Stream, Told, ask_all, everywhere, search};
use crate::onvif::{Account, DEVICE_PATH, Failed, LoginRefused};
use crate::random;
use crate::trust::{Fingerprint, Trust};

/// Find IP cameras in the network by ONVIF, with their streams, and print what to write into the settings
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Cameras {
    /// Cameras that are asked instead of looking for some: 192.168.1.20, 192.168.1.20:8000, or the URL of the device service
    #[arg(value_name = "HOST")]
    hosts: Vec<String>,
    /// Ask for the streams as this user of the cameras. The password is read from the variable CAMERA_PASSWORD, else it is asked
    /// for, or the first line of standard input where that is no terminal. It is shown to cameras as a digest alone, to each that answers
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// Print the password in the URLs, where PASSWORD stands otherwise
    #[arg(long, requires = "user")]
    with_password: bool,
    /// Look behind this interface alone, by its name or IPv4 address; may be given more than once [default: all but the loopback]
    #[arg(long = "interface", value_name = "NAME")]
    interfaces: Vec<String>,
    /// How long answers are waited for
    #[arg(long, value_name = "TIME", default_value = "3s")]
    wait: Span,
    /// The SHA-256 of the certificate that is believed of a camera that is asked by https://
    #[arg(long, value_name = "SHA256")]
    fingerprint: Option<Fingerprint>,
    /// Print a JSON object a line: `address`, `device`, `name`, `manufacturer`, `model`, `firmware`, `profiles`, `config`, and `error` where it
    /// does not tell
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "Examples:
  sightline cameras
  sightline cameras --user admin
  sightline cameras --user admin 192.168.1.20
  sightline cameras --user admin --json | jq -r '.profiles[].url'

What follows # in its output is a comment to sightline.toml: the whole may be pasted there.
Exit code: 0 when a camera told its streams or none was asked for a login, 1 when none was found or each refused.";

/// Where the password may stand.
const PASSWORD_VARIABLE: &str = "CAMERA_PASSWORD";
/// Longest that answers are waited for.
const MAX_WAIT: Duration = Duration::from_secs(60);

impl Cameras {
    pub(super) fn run(self) -> Result<(), Failure> {
        let environment = Environment::of_process();
        let hosts: Vec<Seen> = self.hosts.iter().map(|host| host_of(host)).collect::<Result<_, _>>()?;
        if hosts.len() > MAX_CAMERAS {
            return Err(Failure::Usage(format!(
                "at most {MAX_CAMERAS} cameras are asked at a time"
            )));
        }
        let ways = ways(&self.interfaces, net::ipv4_interfaces())?;
        let account = self.user.as_ref().map(|user| {
            let password = password::ask(user, PASSWORD_VARIABLE, &environment)?;
            let user = user.clone();
            Ok::<_, Failure>(Account { user, password })
        });
        let asking = Asking {
            account: account.transpose()?,
            trust: self.fingerprint.map_or(Trust::System, Trust::Fingerprint),
            clock: Arc::new(SystemClock),
            random: random::bits,
        };
        let looking = Search {
            to: everywhere(),
            from: ways.iter().map(|(_, address)| *address).collect(),
            wait: self.wait.0.min(MAX_WAIT),
            random: random::bits,
        };
        let (cameras, told) = connect::runtime()?.block_on(async {
            let cameras = match hosts.is_empty() {
                true => search(&looking).await.map_err(Failure::running)?,
                false => hosts,
            };
            let told = ask_all(&asking, &cameras).await;
            Ok::<_, Failure>((cameras, told))
        })?;
        if cameras.is_empty() {
            return Err(Failure::Running(nothing_found(&ways, looking.wait)));
        }
        let login = Login {
            account: asking.account.as_ref(),
            with_password: self.with_password,
        };
        let mut names = BTreeSet::new();
        let mut out = io::stdout().lock();
        for (seen, told) in cameras.iter().zip(&told) {
            let camera = Camera::new(seen, told, &login, &mut names);
            let text = match self.json {
                true => serde_json::to_string(&camera).map_err(Failure::running)?,
                false => camera.text(told.as_ref().err(), &login),
            };
            // Nobody reads it: the exit code tells.
            let _ = writeln!(out, "{text}");
        }
        let refused = told.iter().all(Result::is_err);
        match refused && (login.account.is_some() || !self.hosts.is_empty()) {
            true => Err(Failure::Told),
            false => Ok(()),
        }
    }
}

/// A camera that is named, not looked for.
fn host_of(text: &str) -> Result<Seen, Failure> {
    let wrong = |why: &str| {
        let shown = crate::secret::redacted_url(text);
        Failure::Usage(format!(
            "{shown} is no camera to ask: {why}; write 192.168.1.20, 192.168.1.20:8000 or http://192.168.1.20/onvif/device_service"
        ))
    };
    let is_url = text.contains("://");
    let text = match is_url {
        true => text.to_owned(),
        false => format!("http://{text}/"),
    };
    let mut device: Url = text
        .parse()
        .map_err(|error: url::ParseError| wrong(&error.to_string()))?;
    if !matches!(device.scheme(), "http" | "https") || !device.has_host() {
        return Err(wrong("it is asked by http:// or https://"));
    }
    if !device.username().is_empty() || device.password().is_some() {
        return Err(wrong(
            "a login in a command is seen by everybody on this machine, --user asks for it",
        ));
    }
    if device.path() == "/" {
        device.set_path(DEVICE_PATH);
    }
    Ok(Seen {
        address: device
            .host_str()
            .and_then(|host| host.trim_matches(['[', ']']).parse().ok()),
        device,
        name: None,
        hardware: None,
    })
}

/// The interfaces that are asked on: those that are named, or all but the loopback.
fn ways(named: &[String], all: Vec<(String, Ipv4Addr)>) -> Result<Vec<(String, Ipv4Addr)>, Failure> {
    if named.is_empty() {
        return Ok(all.into_iter().filter(|(_, address)| !address.is_loopback()).collect());
    }
    let is = |way: &(String, Ipv4Addr), name: &String| way.0 == *name || way.1.to_string() == *name;
    for name in named {
        if !all.iter().any(|way| is(way, name)) {
            let there: Vec<String> = all
                .iter()
                .map(|(name, address)| format!("{name} ({address})"))
                .collect();
            return Err(Failure::Usage(format!(
                "--interface: this machine has no {name}; with an IPv4 address it has {}",
                there.join(", ")
            )));
        }
    }
    Ok(all
        .into_iter()
        .filter(|way| named.iter().any(|name| is(way, name)))
        .collect())
}

/// What to do when no camera answers.
fn nothing_found(ways: &[(String, Ipv4Addr)], wait: Duration) -> String {
    let asked: Vec<String> = ways
        .iter()
        .map(|(name, address)| format!("{name} ({address})"))
        .collect();
    if asked.is_empty() {
        return "this machine is in no network: no interface but the loopback has an IPv4 address".to_owned();
    }
    format!(
        "no camera answered within {wait:?} on {}\n\
         - a camera answers in its own network alone: is this machine in it? In a container, only with the network of its host\n\
         - in many cameras ONVIF is switched off at first: its page has it, mostly beside the ports, often with an account of its own\n\
         - a firewall of this machine may keep answers away: they come by UDP from port 3702\n\
         - a camera whose address is known is asked by it: sightline cameras 192.168.1.20",
        asked.join(", ")
    )
}

/// With what cameras were asked.
struct Login<'a> {
    account: Option<&'a Account>,
    with_password: bool,
}

impl Login<'_> {
    /// As it stands in a URL, percent-encoded.
    fn shown(&self) -> String {
        let encoded = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        match self.account {
            Some(account) if self.with_password => {
                format!("{}:{}@", encoded(&account.user), encoded(account.password.expose()))
            }
            Some(account) => format!("{}:PASSWORD@", encoded(&account.user)),
            None => String::new(),
        }
    }
}

/// A camera as it is told of.
#[derive(Debug, Serialize)]
struct Camera {
    address: Option<String>,
    device: String,
    name: Option<String>,
    manufacturer: Option<String>,
    model: Option<String>,
    firmware: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    profiles: Vec<Shown>,
    /// A piece of the settings file.
    config: String,
}

#[derive(Debug, Serialize)]
struct Shown {
    token: String,
    name: String,
    codec: Option<String>,
    width: Option<u32>,
    height: Option<u32>,
    fps: Option<u16>,
    url: Option<String>,
}

impl Camera {
    fn new(seen: &Seen, told: &Result<Told, Failed>, login: &Login<'_>, names: &mut BTreeSet<String>) -> Self {
        let told_of = told.as_ref().ok();
        let information = told_of.map(|told| told.information.clone()).unwrap_or_default();
        let profiles = told_of.map_or(&[] as &[Stream], |told| &told.streams);
        let what = [information.manufacturer.as_deref(), information.model.as_deref()];
        let what = what.into_iter().flatten().collect::<Vec<_>>().join(" ");
        let named = seen.name.clone().filter(|name| !name.is_empty());
        let called = named.or_else(|| (!what.is_empty()).then_some(what));
        let base = name_of(called.as_deref().unwrap_or_default());
        Self {
            address: seen.address.map(|address| address.to_string()),
            device: seen.device.to_string(),
            name: seen.name.clone(),
            manufacturer: information.manufacturer,
            model: information.model.or_else(|| seen.hardware.clone()),
            firmware: information.firmware,
            error: told.as_ref().err().map(ToString::to_string),
            config: config(&base, &seen.device, profiles, login, names),
            profiles: profiles.iter().map(|stream| shown(stream, login)).collect(),
        }
    }

    fn text(&self, failed: Option<&Failed>, login: &Login<'_>) -> String {
        let words = [&self.manufacturer, &self.model];
        let mut what: Vec<&str> = words.into_iter().flatten().map(String::as_str).collect();
        what.extend(self.name.as_deref().filter(|name| !what.contains(name)));
        let host = self.address.as_deref().unwrap_or(&self.device);
        let mut text = plain(&format!("# {host}  {}  {}", what.join(" "), self.device));
        for profile in &self.profiles {
            let size = profile.width.zip(profile.height);
            let size = size.map_or_else(|| "?".to_owned(), |(width, height)| format!("{width}x{height}"));
            let fps = profile.fps.map_or_else(|| "?".to_owned(), |fps| fps.to_string());
            let (codec, url) = (profile.codec.as_deref(), profile.url.as_deref());
            text.push('\n');
            text.push_str(&plain(&format!(
                "#   {}  {}  {size}  {fps} fps  {}",
                profile.token,
                codec.unwrap_or("?"),
                url.unwrap_or("it does not say where")
            )));
        }
        if let Some(failed) = failed {
            text.push('\n');
            text.push_str(&plain(&format!("#   {failed}")));
            if let Failed::Login(LoginRefused::Needed(host)) = failed {
                text.push('\n');
                text.push_str(&plain(&format!("#   → sightline cameras --user NAME {host}")));
            }
        } else if login.account.is_some() && !login.with_password {
            text.push_str("\n#   write the camera's password in place of PASSWORD, percent-encoded");
        }
        format!("{text}\n{}", self.config)
    }
}

fn shown(stream: &Stream, login: &Login<'_>) -> Shown {
    let profile = &stream.profile;
    let url = stream.url.as_ref().map(|url| match login.with_password {
        true => url.with_login(),
        false => url.to_string(),
    });
    Shown {
        token: plain(&profile.token),
        name: profile.name.clone(),
        codec: profile.encoding.clone(),
        width: profile.size.map(|(width, _)| width),
        height: profile.size.map(|(_, height)| height),
        fps: profile.fps,
        url,
    }
}

/// A table for each lens. Its lower stream comes by itself.
fn config(base: &str, device: &Url, all: &[Stream], login: &Login<'_>, names: &mut BTreeSet<String>) -> String {
    let profiles: Vec<Profile> = all.iter().map(|stream| stream.profile.clone()).collect();
    let lenses: BTreeSet<Option<&str>> = profiles.iter().map(|profile| profile.lens.as_deref()).collect();
    let mut text = String::new();
    for lens in &lenses {
        let of_lens = profiles.iter().filter(|profile| profile.lens.as_deref() == *lens);
        let of_lens: Vec<Profile> = of_lens.cloned().collect();
        let Some(best) = streams::main(&of_lens) else { continue };
        let name = free(base, names);
        let encoded = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        let profile = if lenses.len() > 1 {
            encoded(&best.token)
        } else {
            String::new()
        };
        let source = written(device, &login.shown(), &profile);
        text.push_str(&format!("[stream.{name}]\nsource = \"{source}\"\n"));
        if let Some(lower) = streams::lower(&of_lens, best) {
            let (width, height) = lower.size.unwrap_or_default();
            text.push_str(&format!(
                "# {name}/low: {width}x{height}, by itself when somebody needs it\n"
            ));
        }
    }
    text
}

/// A name of a stream, from what a camera is called.
fn name_of(text: &str) -> String {
    let word = |c: char| {
        if c.is_ascii_alphanumeric() {
            c.to_ascii_lowercase()
        } else {
            '-'
        }
    };
    let words: String = text.chars().map(word).collect();
    let words: Vec<&str> = words.split('-').filter(|word| !word.is_empty()).collect();
    let name: String = words.join("-").chars().take(MAX_NAME).collect();
    match name.trim_matches('-') {
        "" => "camera".to_owned(),
        name => name.to_owned(),
    }
}

/// That name, or it with a number where another camera has it.
fn free(base: &str, names: &mut BTreeSet<String>) -> String {
    let numbered = (1..).map(|number| match number {
        1 => base.to_owned(),
        number => format!("{base}-{number}"),
    });
    let name = numbered
        .into_iter()
        .find(|name| !names.contains(name))
        .unwrap_or_default();
    names.insert(name.clone());
    name
}

/// Longest name that is made up.
const MAX_NAME: usize = 40;

/// What a camera says, without what a terminal would obey.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_streams() {
        for (text, name) in [
            ("HIKVISION DS-2CD2143G0-I", "hikvision-ds-2cd2143g0-i"),
            ("Front  door!", "front-door"),
            ("Tür", "t-r"),
            ("", "camera"),
            ("摄像机", "camera"),
        ] {
            assert_eq!(name_of(text), name);
            assert!(name.parse::<media::StreamName>().is_ok(), "{name}");
        }
        assert_eq!(name_of(&"x".repeat(99)).len(), MAX_NAME);
        let mut names = BTreeSet::new();
        let taken: Vec<String> = (0..3).map(|_| free("a", &mut names)).collect();
        assert_eq!(taken, ["a", "a-2", "a-3"]);
    }

    #[test]
    fn hosts_that_are_named() {
        let device = |text: &str| host_of(text).map(|seen| seen.device.to_string());
        assert_eq!(device("10.0.0.4").unwrap(), "http://10.0.0.4/onvif/device_service");
        assert_eq!(
            device("[fd00::1]:8000").unwrap(),
            "http://[fd00::1]:8000/onvif/device_service"
        );
        assert_eq!(
            device("https://cam/onvif/services").unwrap(),
            "https://cam/onvif/services"
        );
        for wrong in ["rtsp://10.0.0.4/", "http://", "admin:canary@10.0.0.4", "a b"] {
            let Err(Failure::Usage(error)) = device(wrong) else {
                panic!("{wrong}")
            };
            assert!(!error.contains("canary") && error.contains("192.168.1.20"), "{error}");
        }
    }

    #[test]
    fn interfaces_that_are_asked_on() {
        let all = || {
            vec![
                ("lo".to_owned(), Ipv4Addr::LOCALHOST),
                ("eth0".to_owned(), Ipv4Addr::new(10, 0, 0, 1)),
            ]
        };
        let asked = |named: &[&str]| {
            let named: Vec<String> = named.iter().map(|name| (*name).to_owned()).collect();
            ways(&named, all()).map(|ways| ways.into_iter().map(|(name, _)| name).collect::<Vec<_>>())
        };
        assert_eq!(asked(&[]).unwrap(), ["eth0"]);
        assert_eq!(asked(&["lo"]).unwrap(), ["lo"]);
        assert_eq!(asked(&["10.0.0.1", "eth0"]).unwrap(), ["eth0"]);
        let Err(Failure::Usage(error)) = asked(&["wlan0"]) else {
            panic!()
        };
        assert!(error.contains("eth0 (10.0.0.1)"), "{error}");
        assert!(nothing_found(&[], MAX_WAIT).contains("no network"));
        let said = nothing_found(&all(), Duration::from_secs(3));
        assert!(
            said.contains("within 3s on lo (127.0.0.1), eth0 (10.0.0.1)") && said.contains("firewall"),
            "{said}"
        );
    }

    fn stream(token: &str, lens: &str, width: u32) -> Stream {
        Stream {
            profile: Profile {
                token: token.to_owned(),
                name: token.to_owned(),
                encoding: Some("H264".to_owned()),
                size: Some((width, 100)),
                fps: Some(25),
                lens: Some(lens.to_owned()),
            },
            url: "rtsp://10.0.0.4/x".parse().ok(),
        }
    }

    #[test]
    fn settings_are_such_that_the_program_reads() {
        let account = Account {
            user: "ad@min".to_owned(),
            password: crate::secret::Secret::new("can/ary"),
        };
        let device: Url = "http://10.0.0.4:81/onvif/services".parse().unwrap();
        let streams = [
            stream("a b/1", "1", 1_920),
            stream("c", "1", 640),
            stream("d", "2", 1_920),
        ];
        let written = |with_password| {
            let login = Login {
                account: Some(&account),
                with_password,
            };
            config("yard", &device, &streams, &login, &mut BTreeSet::new())
        };
        let text = written(false);
        assert!(!text.contains("can") && text.contains(":PASSWORD@"), "{text}");
        let text = written(true);
        assert!(text.contains("# yard/low: 640x100"), "{text}");
        let settings: crate::config::Settings = toml::from_str(&text).unwrap();
        let places: Vec<_> = settings
            .stream
            .values()
            .map(|stream| stream.source.as_ref().unwrap().0[0].filled(None))
            .collect();
        let Ok(crate::config::stream_source::Place::Onvif(first)) = &places[0] else {
            panic!("{places:?}")
        };
        assert_eq!(first.service, device);
        assert_eq!(first.account.as_ref(), Some(&account));
        assert_eq!(first.wanted.profile.as_deref(), Some("a b/1"));
        assert_eq!(places.len(), 2, "one for each lens");
    }

    #[test]
    fn a_terminal_obeys_no_camera() {
        let seen = Seen {
            address: "10.0.0.4".parse().ok(),
            device: "http://10.0.0.4/onvif/device_service".parse().unwrap(),
            name: None,
            hardware: Some("X\u{9b}2J".to_owned()),
        };
        let told = Ok(Told {
            information: Default::default(),
            streams: vec![stream("t\u{1b}[31m\n[auth]", "1", 640)],
        });
        let login = Login {
            account: None,
            with_password: false,
        };
        let camera = Camera::new(&seen, &told, &login, &mut BTreeSet::new());
        let text = camera.text(None, &login);
        assert!(!text.contains(['\u{1b}', '\u{9b}']), "{text:?}");
        assert!(
            text.lines().all(|line| line.starts_with('#')
                || line.starts_with("[stream.")
                || line.starts_with("source = ")
                || line.is_empty()),
            "{text}"
        );
        let refused: Result<Told, _> = Err(Failed::Login(LoginRefused::Needed("10.0.0.4".to_owned())));
        let camera = Camera::new(&seen, &refused, &login, &mut BTreeSet::new());
        let text = camera.text(refused.as_ref().err(), &login);
        assert!(
            text.contains("wants a user and password") && text.contains("--user NAME 10.0.0.4"),
            "{text}"
        );
    }
}
