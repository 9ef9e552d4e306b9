//! Sources and destinations of a table with an expression. Whoever watches chooses the name, and with it neither who is asked nor which program runs.
//!
//! The input is a source or destination, a line feed, and a name.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use media::StreamName;
use regex::Regex;
use sightline::config::destination::{Destination, ForwardUrl};
use sightline::config::stream_source::{Place, StreamSource};

static EXPRESSION: LazyLock<Regex> =
    LazyLock::new(|| Regex::new("^(.)(.*?)([^/]*)$").expect("the expression is written here"));

/// Who is asked, or which program runs and with how many arguments.
fn asked(place: &Place) -> String {
    match place {
        Place::Rtsp(url) => format!(
            "{} {} {} {:?} {:?}",
            url.tls, url.host, url.port, url.user, url.password
        ),
        Place::Whep(url) | Place::Hls(url) => url[..url::Position::BeforePath].to_owned(),
        Place::Exec(command) => {
            let arguments = command.arguments("rtsp://localhost/");
            format!("{} {} {}", command.program(), command.publishes(), arguments.count())
        }
        Place::Onvif(device) => {
            let account = device.account.as_ref();
            let account = account.map(|account| (&account.user, account.password.expose()));
            format!("{} {account:?}", &device.service[..url::Position::BeforePath])
        }
        Place::Lower(camera) => camera.to_string(),
    }
}

fn told(destination: &Destination) -> String {
    match destination {
        Destination::Rtsp(url) => asked(&Place::Rtsp(url.clone())),
        Destination::Whip(url) => asked(&Place::Whep(url.clone())),
    }
}

fuzz_target!(|text: &str| {
    let Some((template, name)) = text.split_once('\n') else {
        return;
    };
    let Ok(name) = name.parse::<StreamName>() else { return };
    let chosen = EXPRESSION.captures(name.as_str());
    let plain = EXPRESSION.captures("plain");
    // A place before the path is the owner's wish.
    let authority = template.split_once("://").and_then(|(_, rest)| rest.split('/').next());
    let fixed = authority.is_none_or(|authority| !authority.contains('$'));
    if let Ok(source) = template.parse::<StreamSource>() {
        assert!(source.highest_group() <= 9);
        assert!(!source.to_string().is_empty());
        if let (Ok(chosen), Ok(plain), true) = (source.filled(chosen.as_ref()), source.filled(plain.as_ref()), fixed) {
            assert_eq!(asked(&chosen), asked(&plain));
        }
    }
    if let Ok(url) = template.parse::<ForwardUrl>()
        && let (Ok(chosen), Ok(plain), true) = (url.filled(chosen.as_ref()), url.filled(plain.as_ref()), fixed)
    {
        assert_eq!(told(&chosen), told(&plain));
    }
});
