//! What ONVIF cameras and whoever answers for them say.
#![no_main]

use libfuzzer_sys::fuzz_target;
use protocol::onvif::media::{Version, lower, main, profiles, stream_uri};
use protocol::onvif::soap::Login;
use protocol::onvif::{device, discovery, media};

fuzz_target!(|data: &[u8]| {
    if let Ok(answer) = discovery::answer(data) {
        assert!(!answer.found.is_empty());
        for found in &answer.found {
            assert!(found.is_same(found));
            for host in ["10.0.0.4", "fd00::1"] {
                let Some(address) = found.address(host.parse().unwrap()) else {
                    continue;
                };
                // Nobody is sent to somebody else.
                let authority = address.split_once("://").unwrap().1;
                let host = if host.contains(':') {
                    format!("[{host}]")
                } else {
                    host.to_owned()
                };
                assert!(authority.starts_with(&host), "{address}");
                let next = authority[host.len()..].chars().next();
                assert!(next.is_none_or(|next| ":/?#".contains(next)), "{address}");
            }
        }
    }
    if let Ok(Some(time)) = device::time(data) {
        // What a camera says of its clock is said again in our logins.
        let login = Login {
            user: "u",
            password: "p",
            nonce: [0; 16],
            created: time,
        };
        assert!(
            device::get_services()
                .envelope(Some(&login))
                .contains(&time.to_rfc3339())
        );
    }
    let _ = device::services(data);
    let _ = device::capabilities(data);
    let _ = device::information(data);
    for version in [Version::One, Version::Two] {
        let _ = stream_uri(version, data);
        let Ok(profiles) = profiles(version, data) else {
            continue;
        };
        for profile in &profiles {
            // A token that says what it likes stays a token.
            let question = media::get_stream_uri(version, &profile.token).envelope(None);
            assert_eq!(question.matches("ProfileToken>").count(), 2);
        }
        if let Some(main) = main(&profiles) {
            assert!(main.is_carried());
            if let Some(lower) = lower(&profiles, main) {
                assert!(lower.is_carried() && lower != main);
            }
        }
    }
});
