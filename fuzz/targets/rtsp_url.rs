//! RTSP URLs, as people paste them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use protocol::rtsp::url::Url;

fuzz_target!(|text: &str| {
    if let Ok(url) = text.parse::<Url>() {
        let again: Url = url.to_string().parse().expect("what we write we can read");
        assert_eq!((again.host, again.port, again.path), (url.host, url.port, url.path));
    }
});
