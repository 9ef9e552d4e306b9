//! Headers with a grammar of their own, and URLs as requests and descriptions hold them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use protocol::rtsp::header::{RtpInfo, SessionHeader};
use protocol::rtsp::transport::Transport;
use protocol::rtsp::url::{Target, Url, control_base, resolve_control};

fuzz_target!(|text: &str| {
    for transport in Transport::parse_list(text) {
        let again = Transport::parse_list(&transport.to_string());
        assert_eq!(again.len(), 1, "{transport}");
    }
    let _ = SessionHeader::parse(text);
    let _ = RtpInfo::parse_list(text);

    let (first, second) = text.split_once('\n').unwrap_or((text, ""));
    let _ = resolve_control(first, Some(second));
    if let Ok(asked) = first.parse::<Url>() {
        let _ = control_base(&asked, Some(second), None);
    }
    if let Some(target) = Target::parse(first) {
        let _ = (target.token(), target.base(&target.path));
        let controls = [second.to_owned(), "trackID=1".to_owned()];
        let _ = target.track(&target.path, &controls);
        let _ = target.track("cam", &controls);
    }
});
