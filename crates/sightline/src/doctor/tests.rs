//! Machines that something is wrong with.

use std::fs;

use super::*;
use crate::clock::SystemClock;

/// A machine whose files say what they are told to.
struct Sick {
    root: tempfile::TempDir,
    settings: String,
}

impl Sick {
    fn new(files: &[(&str, &str)]) -> Self {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let state = root.path().join("state");
        // Ports that the system chooses are free.
        let settings = format!(
            "[server]\nstate_dir = {state:?}\n[rtsp]\nport = 0\nrtsps_port = 0\nrtp_port = 0\nrtcp_port = 0\n[http]\nport = 0\nhttps_port = 0\n\
             [hls]\nport = 0\n[webrtc]\nport = 0\nice_port = 0\n"
        );
        Self { root, settings }
    }

    fn with(mut self, settings: &str) -> Self {
        self.settings.push_str(settings);
        self
    }

    fn examined(&self) -> Vec<Finding> {
        let file = self.root.path().join("sightline.toml");
        fs::write(&file, &self.settings).unwrap();
        let patient = Patient {
            wanted: Wanted {
                file: Some(file),
                ..Wanted::default()
            },
            root: self.root.path().to_owned(),
            clock: &SystemClock,
        };
        let mut all = Vec::new();
        examine(&patient, &mut |finding| all.push(finding));
        all
    }

    /// The findings of this level about that.
    fn said(&self, level: Level, about: &str) -> Vec<String> {
        let all = self.examined();
        let said = all.iter().filter(|one| one.level == level && one.about == about);
        said.map(|one| one.what.clone()).collect()
    }
}

#[test]
fn a_machine_with_which_nothing_is_wrong() {
    let all = Sick::new(&[
        ("proc/sys/net/core/rmem_max", "4194304"),
        ("proc/sys/net/core/wmem_max", "4194304"),
        ("sys/devices/platform/soc/soc:firmware/get_throttled", "0x0"),
    ])
    .examined();
    let wrong: Vec<_> = all.iter().filter(|one| one.level == Level::Wrong).collect();
    // Of cameras that the machine of this test really has.
    assert!(wrong.iter().all(|one| one.about == "cameras"), "{wrong:?}");
    for about in ["settings", "state folder", "ports", "UDP buffers", "power"] {
        assert!(
            all.iter().any(|one| one.about == about && one.level == Level::Fine),
            "{about}: {all:?}"
        );
    }
    assert!(all.iter().all(|one| (one.level == Level::Fine) == one.next.is_none()));
}

#[test]
fn what_the_machine_says_of_itself() {
    for (bits, said) in [("0x50005", "voltage"), ("0x10000", "voltage"), ("0xe0000", "too hot")] {
        let sick = Sick::new(&[("sys/devices/platform/soc/soc:firmware/get_throttled", bits)]);
        assert!(sick.said(Level::Wrong, "power")[0].contains(said), "{bits}");
    }
    let sick = Sick::new(&[
        ("sys/class/thermal/thermal_zone0/temp", "85300"),
        ("sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "powersave\n"),
        ("proc/sys/net/core/rmem_max", "212992"),
        ("proc/sys/net/core/wmem_max", "4194304"),
    ]);
    assert!(sick.said(Level::Wrong, "power")[0].contains("85 °C"));
    assert!(sick.said(Level::Note, "power")[0].contains("saves power"));
    assert_eq!(
        sick.said(Level::Note, "UDP buffers"),
        ["net.core.rmem_max is 208 KiB: keyframes of many megabits over UDP may lose packets"]
    );
}

#[test]
fn wrong_settings_hide_nothing_else() {
    let sick = Sick::new(&[]).with("[log]\nlevel = \"loud\"\n");
    let all = sick.examined();
    assert!(
        all.iter()
            .any(|one| one.about == "settings" && one.level == Level::Wrong)
    );
    assert!(all.iter().any(|one| one.about == "ports"));
}

#[test]
fn a_port_that_another_program_has_and_a_camera_that_is_not_there() {
    let taken = std::net::TcpListener::bind("[::]:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let sick = Sick::new(&[]).with("[camera.door]\nsource = \"v4l2:/dev/video-of-nobody\"\n");
    let sick = Sick {
        settings: sick
            .settings
            .replacen("[hls]\nport = 0", &format!("[hls]\nport = {port}"), 1),
        ..sick
    };
    let ports = sick.said(Level::Wrong, "ports");
    let us = format!("(pid {})", std::process::id());
    assert!(
        ports[0].contains(&format!("HLS, TCP port {port}")) && ports[0].contains(&us),
        "{ports:?}"
    );
    let cameras = sick.said(Level::Wrong, "cameras");
    assert!(
        cameras
            .iter()
            .any(|one| one.contains("the camera of \"door\", is not there")),
        "{cameras:?}"
    );
}

#[test]
fn a_certificate_that_ends_soon() {
    let day = |days: i64| SystemClock.wall().unix_micros() / 1_000_000 + days * 86_400;
    for (days, level, said) in [
        (-2, Level::Wrong, "has ended"),
        (3, Level::Wrong, "ends in"),
        (90, Level::Fine, "days more"),
    ] {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(vec!["cam.example".to_owned()]).unwrap();
        let ends = jiff::Timestamp::from_second(day(days))
            .unwrap()
            .to_zoned(jiff::tz::TimeZone::UTC)
            .date();
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(ends.year().into(), ends.month() as u8, ends.day() as u8);
        let pem = params.self_signed(&key).unwrap().pem();
        let sick = Sick::new(&[("full.pem", &pem), ("key.pem", &key.serialize_pem())]);
        let [certificate, key] = ["full.pem", "key.pem"].map(|name| sick.root.path().join(name));
        let sick = sick.with(&format!("[tls]\ncertificate = {certificate:?}\nkey = {key:?}\n"));
        let found = sick.said(level, "certificate");
        assert!(found[0].contains(said), "{days}: {found:?}");
        fs::write(&key, "no key").unwrap();
        assert!(sick.said(Level::Wrong, "certificate")[0].contains("holds no private key"));
    }
    let _ = crate::tls::acme::validity(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
}

#[test]
fn a_certificate_of_an_authority() {
    let key = rcgen::KeyPair::generate().unwrap();
    let ends = |days: i64| SystemClock.wall().unix_micros() / 1_000_000 + days * 86_400;
    for (left_days, level, said) in [
        (-2, Level::Wrong, "has ended"),
        (10, Level::Wrong, "ends in "),
        (60, Level::Fine, "ends in "),
    ] {
        let pem = rcgen::CertificateParams::new(vec!["cam.example".to_owned()]).unwrap();
        let kept = serde_json::json!({ "version": 1, "directory": "https://ca.example/dir", "account": null, "certificate": {
            "domains": ["cam.example"], "begins_s": ends(left_days - 90), "ends_s": ends(left_days),
            "chain": pem.self_signed(&key).unwrap().pem(), "key": key.serialize_pem(),
        }});
        let settings =
            "[acme]\ndomains = [\"cam.example\"]\nagree_to_terms = true\ndirectory = \"https://ca.example/dir\"\n";
        let sick = Sick::new(&[("state/acme.json", &kept.to_string())]).with(settings);
        let found = sick.said(level, "certificate");
        assert!(
            found[0].contains("ca.example") && found[0].contains(said),
            "{left_days}: {found:?}"
        );
        let sick = Sick::new(&[]).with(settings);
        assert!(sick.said(Level::Note, "certificate")[0].contains("has not issued any yet"));
        let sick = Sick::new(&[("state/acme.json", "canary")]).with(settings);
        assert!(sick.said(Level::Wrong, "certificate")[0].contains("is damaged"));
    }
}
