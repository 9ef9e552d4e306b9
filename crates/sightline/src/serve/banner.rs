//! What people read when it has started.

use std::fmt::Write as _;
use std::io::{self, IsTerminal as _, Write as _};

use qrcode::QrCode;
use qrcode::render::unicode::Dense1x2;

use device::camera::Status;

use super::urls::{self, Place};
use super::{Ports, Program, recording};
use crate::auth::{Auth, Mode, Role};
use crate::camera::Camera;

/// A camera of this machine and why it is this one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct CameraLine {
    /// Its stream.
    pub(super) name: String,
    /// What it is and does.
    pub(super) text: String,
    /// Why it is this one.
    pub(super) why: String,
}

impl CameraLine {
    pub(super) fn new(camera: &Camera) -> Self {
        let text = match camera.status() {
            Some(Status::Running { source, encoder, .. }) => format!("{source}, {encoder}"),
            Some(Status::Slate { error, .. }) => format!("no picture yet: {error}"),
            Some(Status::Ended { why }) => format!("ended by a bug of ours: {why}"),
            Some(Status::Starting { source }) => format!("{source}, which takes its time to start"),
            Some(Status::Off) => "switched off".to_owned(),
            None => "starting".to_owned(),
        };
        Self {
            name: camera.name.to_string(),
            text,
            why: camera.why.clone(),
        }
    }
}

/// Everything that is said.
#[derive(Debug)]
pub(super) struct Banner {
    cameras: Vec<CameraLine>,
    access: String,
    records: String,
    open: Vec<(String, &'static str)>,
    watch: Vec<(String, &'static str)>,
    /// The first stream by the protocols of browsers.
    in_browser: Vec<(String, &'static str)>,
    publish: Vec<(String, &'static str)>,
    settings: String,
    for_phone: Option<String>,
}

/// What stands for a stream's name where there is none yet.
const ANY_NAME: &str = "NAME";

impl Banner {
    pub(super) fn new(program: &Program, ports: Ports, auth: &Auth, cameras: Vec<CameraLine>) -> Self {
        let places = urls::places(&program.loaded.settings.server, &program.environment);
        let url = |place: &Place, name: &str, role| (urls::rtsp(place, ports.rtsp, name, auth, role), place.label);
        let open = |place: &Place| (urls::http(place, ports.http.http, "", auth), place.label);
        // Every address for the first stream; of the others it is said that they can be reached at the same places.
        let mut names = cameras.iter().map(|camera| camera.name.as_str());
        let first = names.next();
        let mut watch: Vec<_> = places
            .iter()
            .map(|place| url(place, first.unwrap_or(ANY_NAME), Role::Viewer))
            .collect();
        if let Some(place) = places.first() {
            watch.extend(names.map(|name| url(place, name, Role::Viewer)));
        }
        let in_browser = places.first().zip(first).map(|(place, name)| {
            let page = urls::http(place, ports.http.webrtc, &format!("{name}/"), auth);
            let list = urls::http(place, ports.http.hls, &format!("{name}/index.m3u8"), auth);
            vec![(page, "in a browser, this stream alone"), (list, "LL-HLS")]
        });
        let publish = places.iter().map(|place| url(place, ANY_NAME, Role::Publisher));
        // A phone does not reach this machine by its loopback address.
        let for_phone = places.iter().find(|place| !place.is_loopback);
        let for_phone = for_phone.map(|place| open(place).0);
        Self {
            access: access(auth),
            records: recording::line(program),
            open: places.iter().map(open).collect(),
            watch,
            in_browser: in_browser.unwrap_or_default(),
            publish: publish.collect(),
            settings: match &program.loaded.file {
                Some(path) => path.display().to_string(),
                None => "defaults; `sightline config init sightline.toml` writes a file to change them".to_owned(),
            },
            for_phone,
            cameras,
        }
    }

    /// To standard output; with a QR code where a terminal shows it.
    pub(super) fn print(&self) {
        let text = self.text(io::stdout().is_terminal());
        // Nobody reads it: no reason to stop.
        let _ = io::stdout().write_all(text.as_bytes());
        let _ = io::stdout().flush();
    }

    fn text(&self, with_code: bool) -> String {
        let mut text = format!("\nSightline {}\n\n", env!("CARGO_PKG_VERSION"));
        for camera in &self.cameras {
            row(&mut text, "Camera", &format!("{}: {}", camera.name, camera.text));
            row(&mut text, "", &format!("({})", camera.why));
        }
        row(&mut text, "Access", &self.access);
        row(&mut text, "Records", &self.records);
        row(&mut text, "Settings", &self.settings);
        text.push('\n');
        rows(&mut text, "Open", &self.open);
        text.push('\n');
        rows(&mut text, "Watch", &self.watch);
        // One of them has more than one address.
        if self.cameras.len() > 1 && self.watch.len() > self.cameras.len() {
            row(
                &mut text,
                "",
                "(each camera at each of these addresses, under its own name)",
            );
        }
        rows(&mut text, "", &self.in_browser);
        text.push('\n');
        rows(&mut text, "Publish", &self.publish);
        text.push('\n');
        let code = self.for_phone.as_deref().filter(|_| with_code).and_then(qr_code);
        if let Some(code) = code {
            text.push_str(&code);
            text.push('\n');
        }
        text.push_str("  Press Ctrl-C to stop.\n\n");
        text
    }
}

fn access(auth: &Auth) -> String {
    let rules = auth.rules();
    let networks = &rules.trusted_networks;
    match &rules.mode {
        Mode::Open => "open: everyone may view and publish, without a credential".to_owned(),
        Mode::Single(_) => "everyone needs the token, on this machine too".to_owned(),
        Mode::Tokens(_) if networks.is_empty() => {
            "RTSP is free on this machine; all else needs the token in the URL".to_owned()
        }
        Mode::Tokens(_) => {
            let networks: Vec<String> = networks.iter().map(ToString::to_string).collect();
            format!(
                "free in {}, and RTSP on this machine; all else needs the token in the URL",
                networks.join(", ")
            )
        }
    }
}

/// Writing to a String does not fail, so results are let go below.
fn row(text: &mut String, title: &str, value: &str) {
    let _ = writeln!(text, "  {title:<9} {value}");
}

fn rows(text: &mut String, title: &str, urls: &[(String, &'static str)]) {
    let width = urls.iter().map(|(url, _)| url.chars().count()).max().unwrap_or(0);
    let mut title = title;
    for (url, label) in urls {
        let _ = writeln!(text, "  {title:<9} {url:<width$}  {label}");
        title = "";
    }
}

/// Two modules a character. Light on dark, as most terminals are, which readers take as well as the other way round; the quiet zone is part
/// of it.
fn qr_code(url: &str) -> Option<String> {
    let code = QrCode::with_error_correction_level(url, qrcode::EcLevel::L).ok()?;
    let image = code
        .render::<Dense1x2>()
        .dark_color(Dense1x2::Light)
        .light_color(Dense1x2::Dark)
        .build();
    let lines = image.lines().map(|line| format!("  {line}\n"));
    Some(lines.collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::Tokens;
    use crate::secret::Secret;

    fn banner(cameras: &[(&str, &str, &str)]) -> Banner {
        Banner {
            cameras: cameras
                .iter()
                .map(|(name, text, why)| CameraLine {
                    name: (*name).to_owned(),
                    text: (*text).to_owned(),
                    why: (*why).to_owned(),
                })
                .collect(),
            access: "RTSP is free on this machine".to_owned(),
            records: "all streams, kept 7d, in recordings".to_owned(),
            open: vec![("http://192.168.1.5:8000/?token=secret".to_owned(), "local network")],
            watch: vec![
                (
                    "rtsp://viewer:secret@192.168.1.5:8554/zerolatency".to_owned(),
                    "local network",
                ),
                ("rtsp://localhost:8554/zerolatency".to_owned(), "this machine"),
            ],
            in_browser: vec![
                (
                    "http://192.168.1.5:8889/zerolatency/?token=secret".to_owned(),
                    "in a browser, this stream alone",
                ),
                (
                    "http://192.168.1.5:8888/zerolatency/index.m3u8?token=secret".to_owned(),
                    "LL-HLS",
                ),
            ],
            publish: vec![(
                "rtsp://publisher:secret@192.168.1.5:8554/NAME".to_owned(),
                "local network",
            )],
            settings: "sightline.toml".to_owned(),
            for_phone: Some("http://192.168.1.5:8000/?token=secret".to_owned()),
        }
    }

    #[test]
    fn is_calm() {
        let text = banner(&[(
            "zerolatency",
            "test pattern, 640×480@30, openh264",
            "no camera was found",
        )])
        .text(false);
        insta::assert_snapshot!(text.replace(env!("CARGO_PKG_VERSION"), "VERSION"), @"

        Sightline VERSION

          Camera    zerolatency: test pattern, 640×480@30, openh264
                    (no camera was found)
          Access    RTSP is free on this machine
          Records   all streams, kept 7d, in recordings
          Settings  sightline.toml

          Open      http://192.168.1.5:8000/?token=secret  local network

          Watch     rtsp://viewer:secret@192.168.1.5:8554/zerolatency  local network
                    rtsp://localhost:8554/zerolatency                  this machine
                    http://192.168.1.5:8889/zerolatency/?token=secret            in a browser, this stream alone
                    http://192.168.1.5:8888/zerolatency/index.m3u8?token=secret  LL-HLS

          Publish   rtsp://publisher:secret@192.168.1.5:8554/NAME  local network

          Press Ctrl-C to stop.
        ");
    }

    #[test]
    fn of_several_cameras_all_addresses_are_told() {
        let rule = "\n            (each camera at each of these addresses, under its own name)\n";
        let mut two = banner(&[("a", "", ""), ("b", "", "")]);
        assert!(!two.text(false).contains(rule), "one address each");
        two.watch
            .push(("rtsp://192.168.1.5:8554/b".to_owned(), "local network"));
        assert!(two.text(false).contains(rule), "{}", two.text(false));
        assert!(!banner(&[("a", "", "")]).text(false).contains(rule));
    }

    #[test]
    fn the_code_is_drawn_whole() {
        let text = banner(&[]).text(true);
        let code: Vec<&str> = text.lines().filter(|line| line.contains(['█', '▀', '▄'])).collect();
        let width = code.iter().map(|line| line.chars().count()).max().unwrap();
        assert!(
            code.len() > 15 && code.iter().all(|line| line.chars().count() == width),
            "{text}"
        );
    }

    #[test]
    fn access_is_said_as_it_is() {
        let tokens = || {
            Mode::Tokens(Tokens {
                viewer: Secret::new("v"),
                publisher: Secret::new("p"),
                admin: Secret::new("a"),
            })
        };
        let trusted = vec!["10.0.0.0/8".parse().unwrap()];
        assert!(access(&Auth::new(Mode::Open, Vec::new())).starts_with("open: everyone"));
        assert!(access(&Auth::new(tokens(), trusted)).starts_with("free in 10.0.0.0/8, and RTSP"));
        assert!(access(&Auth::new(tokens(), Vec::new())).starts_with("RTSP is free on this machine; all else"));
        assert!(access(&Auth::new(Mode::Single(Secret::new("x")), Vec::new())).starts_with("everyone needs the token"));
    }
}
