//! What proxies say in header fields: of whoever is not trusted nothing is believed, and what is made of it can be written as a header again.
#![no_main]

use std::net::IpAddr;

use http::{HeaderMap, HeaderName, HeaderValue};
use libfuzzer_sys::fuzz_target;
use sightline::auth::Groups;
use sightline::http::forwarded::{Forwarded, Prefix, ProxyUser, Trusted, Users};

// An address, then a field a line.
fuzz_target!(|text: &str| {
    let mut lines = text.lines();
    let peer = lines.next().and_then(|line| line.parse().ok());
    let peer: IpAddr = peer.unwrap_or(IpAddr::from([10, 0, 0, 1]));
    let mut headers = HeaderMap::new();
    for (name, value) in lines.filter_map(|line| line.split_once(':')).take(100) {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::from_str(value.trim())) {
            headers.append(name, value);
        }
    }
    let trusted = Trusted {
        networks: vec!["10.0.0.0/8".parse().unwrap()],
        prefix: Prefix::default(),
        users: Some(Users {
            user: HeaderName::from_static("x-forwarded-user"),
            groups: HeaderName::from_static("x-forwarded-groups"),
            secret: None,
            roles: Groups::default(),
        }),
    };
    let is_trusted = trusted.networks.iter().any(|network| network.contains(peer));
    let Some(said) = Forwarded::of(&trusted, peer, &headers) else {
        assert!(!is_trusted);
        return;
    };
    assert!(is_trusted);
    let prefix = said.prefix.as_str();
    assert_eq!(Prefix::of(prefix).as_ref(), Some(&said.prefix));
    assert!(!prefix.ends_with('/') && !prefix.contains("//") && !prefix.contains("/."));
    said.settle(&mut headers);
    assert_eq!(ProxyUser::settled(&headers), said.user);
});
