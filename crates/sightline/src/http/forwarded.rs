//! What a proxy in front of us says of its client.
//!
//! Belongs here: whose words are believed ([`Trusted`]), what is made of them ([`Forwarded`]). Does not belong here: what the user of a proxy may do
//! ([`crate::auth::Groups`]), names that we go by (`super::hosts`). Pure: functions of addresses and header fields.
//!
//! `X-Forwarded-For` is read from its right end: each proxy writes there whom it was asked by, and what stands to the left of an address that is not trusted,
//! anybody may have written. Of the other fields the word of the outermost proxy that is trusted counts. From elsewhere all of them are as good as absent.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use http::header::{HOST, HeaderMap, HeaderName, HeaderValue};
use http::uri::Authority;

use crate::auth::{Groups, Network};
use crate::secret::Secret;

/// Whom it asks for.
pub const FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// Whether that one asked by TLS.
pub const PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
/// Which host that one asked.
pub const TARGET: HeaderName = HeaderName::from_static("x-forwarded-host");
/// Below which path it has us.
pub const PREFIX: HeaderName = HeaderName::from_static("x-forwarded-prefix");
/// Who signed in at it. Behind the entrance the user of a proxy that vouches stands under this name, whatever the proxy calls it.
pub const USER: HeaderName = HeaderName::from_static("x-forwarded-user");
/// In which groups that user is, as above.
pub const GROUPS: HeaderName = HeaderName::from_static("x-forwarded-groups");
/// That it is the proxy which says so.
pub const SECRET: HeaderName = HeaderName::from_static("x-sightline-proxy-secret");

/// Addresses in `X-Forwarded-For` that are looked at.
const MAX_HOPS: usize = 32;
/// Of a path in front of ours.
const MAX_PREFIX_BYTES: usize = 128;
/// Of the name of a user: an address of mail has 254 at most.
const MAX_USER_BYTES: usize = 254;
/// Groups of a user that are looked at.
const MAX_GROUPS: usize = 256;

/// Whose words are believed.
#[derive(Debug, Default)]
pub struct Trusted {
    /// The proxies.
    pub networks: Vec<Network>,
    /// Below which path they have us, where they do not say.
    pub prefix: Prefix,
    /// Whose users are let in. `None`: nobody's.
    pub users: Option<Users>,
}

/// What is believed of users.
#[derive(Debug)]
pub struct Users {
    /// The field with the name.
    pub user: HeaderName,
    /// The field with the groups.
    pub groups: HeaderName,
    /// What the proxy shows. `None`: nothing, which does not do on this machine, where everybody has its address.
    pub secret: Option<Secret>,
    /// What they may do.
    pub roles: Groups,
}

/// A path in front of ours, such as `/cams`; empty where there is none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Prefix(Box<str>);

impl Prefix {
    /// Without a slash at its end. What is no plain path gives none.
    pub fn of(text: &str) -> Option<Self> {
        let path = text.trim_end_matches('/');
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '~' | '-');
        let is_part = |part: &str| !part.is_empty() && !part.starts_with('.') && part.chars().all(fits);
        if path.is_empty() {
            return Some(Self::default());
        }
        let parts = path.strip_prefix('/')?;
        (path.len() <= MAX_PREFIX_BYTES && parts.split('/').all(is_part)).then(|| Self(path.into()))
    }

    /// As it stands in front of a path.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A text that is no path in front of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("write a path such as \"/cams\", of letters, digits and -._~, 128 bytes at most")]
pub struct NoPrefix;

impl FromStr for Prefix {
    type Err = NoPrefix;

    fn from_str(text: &str) -> Result<Self, NoPrefix> {
        Self::of(text).ok_or(NoPrefix)
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Somebody who signed in at a proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxyUser {
    /// The name.
    pub name: Box<str>,
    /// The groups.
    pub groups: Vec<Box<str>>,
}

/// What a proxy that is trusted says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forwarded {
    /// Whom it asks for: the first from the right that is not trusted.
    pub client: IpAddr,
    /// Whether that one talks TLS. `None`: it does not say.
    pub secure: Option<bool>,
    /// Which host that one named. `None`: the one in `Host`.
    pub host: Option<Authority>,
    /// Below which path it has us.
    pub prefix: Prefix,
    /// Who signed in at it.
    pub user: Option<ProxyUser>,
    /// It names a user, and does not show that it may.
    pub does_not_vouch: bool,
}

impl Forwarded {
    /// What is said by whoever is connected from `peer`; `None` where that one is not trusted.
    pub fn of(trusted: &Trusted, peer: IpAddr, headers: &HeaderMap) -> Option<Self> {
        if !trusted.trusts(peer) {
            return None;
        }
        let (client, hops) = trusted.client(peer, headers);
        let said = |name: HeaderName| said(headers, &name, hops);
        let prefix = said(PREFIX).and_then(Prefix::of);
        let named = trusted.users.as_ref().and_then(|users| users.named(headers));
        let vouches = trusted.users.as_ref().is_some_and(|users| users.vouch(peer, headers));
        Some(Self {
            client,
            secure: said(PROTO).map(|scheme| scheme.eq_ignore_ascii_case("https")),
            host: said(TARGET).and_then(|host| host.parse().ok()),
            prefix: prefix.unwrap_or_else(|| trusted.prefix.clone()),
            does_not_vouch: named.is_some() && !vouches,
            user: named.filter(|_| vouches),
        })
    }

    /// Writes it as if there were no proxy: `Host` is the one that the client named, prefix and user stand once under our names for them or not at all, and the
    /// secret is gone.
    pub fn settle(&self, headers: &mut HeaderMap) {
        let mut set = |name: HeaderName, value: Option<&str>| {
            match value.and_then(|value| HeaderValue::from_bytes(value.as_bytes()).ok()) {
                Some(value) => _ = headers.insert(name, value),
                None => _ = headers.remove(name),
            };
        };
        if let Some(host) = &self.host {
            set(HOST, Some(host.as_str()));
        }
        set(PREFIX, Some(self.prefix.as_str()).filter(|prefix| !prefix.is_empty()));
        let groups = self.user.as_ref().map(|user| user.groups.join(","));
        set(USER, self.user.as_ref().map(|user| &*user.name));
        set(GROUPS, groups.as_deref());
        set(SECRET, None);
    }
}

impl ProxyUser {
    /// The one that [`Forwarded::settle`] wrote. Only where the proxy vouched.
    pub fn settled(headers: &HeaderMap) -> Option<Self> {
        Self::read(headers, &USER, &GROUPS)
    }

    /// Of two names none counts: one of them may be the client's own.
    fn read(headers: &HeaderMap, user: &HeaderName, groups: &HeaderName) -> Option<Self> {
        let once = |name| {
            let mut all = headers.get_all(name).iter();
            let value = all.next().filter(|_| all.next().is_none())?;
            let text = std::str::from_utf8(value.as_bytes()).ok()?.trim();
            (!text.is_empty() && !text.contains(char::is_control)).then_some(text)
        };
        let name = once(user).filter(|name| name.len() <= MAX_USER_BYTES)?;
        // Some write a comma between groups, some a line.
        let groups = once(groups).unwrap_or_default().split([',', '|']);
        let groups = groups.map(str::trim).filter(|group| !group.is_empty());
        Some(Self {
            name: name.into(),
            groups: groups.take(MAX_GROUPS).map(Into::into).collect(),
        })
    }
}

impl Users {
    fn named(&self, headers: &HeaderMap) -> Option<ProxyUser> {
        ProxyUser::read(headers, &self.user, &self.groups)
    }

    fn vouch(&self, peer: IpAddr, headers: &HeaderMap) -> bool {
        match &self.secret {
            None => !peer.to_canonical().is_loopback(),
            Some(secret) => {
                let mut shown = headers.get_all(SECRET).iter();
                let shown = shown.next().filter(|_| shown.next().is_none());
                let shown = shown.and_then(|shown| shown.to_str().ok());
                shown.is_some_and(|shown| secret.matches(shown))
            }
        }
    }
}

impl Trusted {
    fn trusts(&self, address: IpAddr) -> bool {
        self.networks.iter().any(|network| network.contains(address))
    }

    /// The first address from the right that is not trusted, and how many proxies are in front of it.
    fn client(&self, peer: IpAddr, headers: &HeaderMap) -> (IpAddr, usize) {
        let lines = headers.get_all(FOR).iter().rev();
        // A line that cannot be read is an address that cannot.
        let entries = lines.flat_map(|line| line.to_str().unwrap_or("?").rsplit(','));
        let (mut client, mut hops) = (peer.to_canonical(), 1_usize);
        for entry in entries.take(MAX_HOPS) {
            // "unknown", or hidden on purpose: whoever said so is the last one that is known.
            let Some(address) = address(entry.trim()) else { break };
            client = address;
            if !self.trusts(address) {
                break;
            }
            hops = hops.saturating_add(1);
        }
        (client, hops)
    }
}

/// With or without a port.
fn address(text: &str) -> Option<IpAddr> {
    let plain = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    let address = plain.unwrap_or(text).parse().ok();
    let with_port = || text.parse::<SocketAddr>().ok().map(|address| address.ip());
    address.or_else(with_port).map(|address: IpAddr| address.to_canonical())
}

/// What the outermost of so many proxies said: where each adds a word, the one so far from the right.
fn said<'a>(headers: &'a HeaderMap, name: &HeaderName, hops: usize) -> Option<&'a str> {
    let lines = headers.get_all(name).iter().rev();
    let mut words = lines
        .flat_map(|line| line.to_str().unwrap_or_default().rsplit(','))
        .map(str::trim);
    let (mut last, mut left) = (None, hops);
    while left > 0 {
        match words.next() {
            Some(word) => last = Some(word),
            None => break,
        }
        left -= 1;
    }
    last.filter(|word| !word.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rstest::rstest;

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            let name: HeaderName = name.parse().unwrap();
            headers.append(name, HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    fn trusted(secret: Option<&str>) -> Trusted {
        Trusted {
            networks: ["127.0.0.1", "10.0.0.0/24", "fd00::/64"]
                .map(|text| text.parse().unwrap())
                .to_vec(),
            prefix: Prefix::default(),
            users: Some(Users {
                user: "remote-user".parse().unwrap(),
                groups: "remote-groups".parse().unwrap(),
                secret: secret.map(Secret::new),
                roles: Groups::default(),
            }),
        }
    }

    fn of(peer: &str, pairs: &[(&str, &str)]) -> Option<Forwarded> {
        Forwarded::of(&trusted(Some("s3cret")), peer.parse().unwrap(), &headers(pairs))
    }

    #[rstest]
    #[case::one("10.0.0.1", &["192.0.2.7"], "192.0.2.7")]
    #[case::its_own_word("10.0.0.1", &["1.1.1.1, 192.0.2.7"], "192.0.2.7")]
    #[case::two_proxies("10.0.0.1", &["1.1.1.1, 192.0.2.7, 10.0.0.2"], "192.0.2.7")]
    #[case::two_lines("10.0.0.1", &["1.1.1.1", "192.0.2.7", "10.0.0.2"], "192.0.2.7")]
    #[case::a_port("10.0.0.1", &["192.0.2.7:5000"], "192.0.2.7")]
    #[case::brackets("10.0.0.1", &["[2001:db8::1]:5000"], "2001:db8::1")]
    #[case::bare_brackets("10.0.0.1", &["[2001:db8::1]"], "2001:db8::1")]
    #[case::mapped("::ffff:10.0.0.1", &["::ffff:192.0.2.7"], "192.0.2.7")]
    #[case::nothing("10.0.0.1", &[], "10.0.0.1")]
    #[case::unknown("10.0.0.1", &["192.0.2.7, unknown"], "10.0.0.1")]
    #[case::hidden("10.0.0.1", &["192.0.2.7, _x, 10.0.0.2"], "10.0.0.2")]
    #[case::all_trusted("10.0.0.1", &["10.0.0.9, 10.0.0.2"], "10.0.0.9")]
    #[case::empty("10.0.0.1", &[""], "10.0.0.1")]
    fn the_client_is_the_first_that_is_not_trusted(#[case] peer: &str, #[case] lines: &[&str], #[case] expected: &str) {
        let pairs: Vec<(&str, &str)> = lines.iter().map(|line| ("x-forwarded-for", *line)).collect();
        assert_eq!(of(peer, &pairs).unwrap().client.to_string(), expected);
    }

    #[test]
    fn of_the_other_fields_the_outermost_proxy_counts() {
        let said = of(
            "10.0.0.1",
            &[
                ("x-forwarded-for", "6.6.6.6, 192.0.2.7, 10.0.0.2"),
                ("x-forwarded-host", "evil.example, cams.example:8443, inner"),
                ("x-forwarded-proto", "http, https, http"),
                ("x-forwarded-prefix", "/cams/"),
            ],
        );
        let said = said.unwrap();
        assert_eq!(said.host.unwrap().as_str(), "cams.example:8443");
        assert_eq!((said.secure, said.prefix.as_str()), (Some(true), "/cams"));
        let silent = of("10.0.0.1", &[]).unwrap();
        assert_eq!((silent.host, silent.secure, silent.prefix.as_str()), (None, None, ""));
    }

    #[rstest]
    #[case("/cams", Some("/cams"))]
    #[case("/a/b-c.d/", Some("/a/b-c.d"))]
    #[case("/", Some(""))]
    #[case("", Some(""))]
    #[case("cams", None)]
    #[case("//evil.example", None)]
    #[case("/a//b", None)]
    #[case("/../x", None)]
    #[case("/a; Domain=x", None)]
    #[case("/a\"b", None)]
    fn prefixes_are_plain_paths(#[case] text: &str, #[case] expected: Option<&str>) {
        assert_eq!(Prefix::of(text).as_ref().map(Prefix::as_str), expected);
        assert_eq!(Prefix::of(&format!("/{}", "a".repeat(MAX_PREFIX_BYTES))), None);
    }

    #[rstest]
    #[case::right("10.0.0.1", Some("s3cret"), &[("x-sightline-proxy-secret", "s3cret")], true)]
    #[case::wrong("10.0.0.1", Some("s3cret"), &[("x-sightline-proxy-secret", "secret")], false)]
    #[case::none("10.0.0.1", Some("s3cret"), &[], false)]
    #[case::twice("10.0.0.1", Some("s3cret"), &[("x-sightline-proxy-secret", "s3cret"), ("x-sightline-proxy-secret", "x")], false)]
    #[case::by_address("10.0.0.1", None, &[], true)]
    #[case::loopback_is_everybody("127.0.0.1", None, &[], false)]
    #[case::loopback_with_it("127.0.0.1", Some("s3cret"), &[("x-sightline-proxy-secret", "s3cret")], true)]
    fn a_user_is_believed_of_who_vouches(
        #[case] peer: &str,
        #[case] secret: Option<&str>,
        #[case] more: &[(&str, &str)],
        #[case] believed: bool,
    ) {
        let pairs = [&[("remote-user", "anna"), ("remote-groups", "staff, door|yard")], more].concat();
        let mut headers = headers(&pairs);
        let said = Forwarded::of(&trusted(secret), peer.parse().unwrap(), &headers).unwrap();
        assert_eq!((said.user.is_some(), said.does_not_vouch), (believed, !believed));
        said.settle(&mut headers);
        let settled = ProxyUser::settled(&headers);
        assert_eq!(settled, said.user);
        if let Some(user) = settled {
            assert_eq!(
                (&*user.name, user.groups.join(" ")),
                ("anna", "staff door yard".to_owned())
            );
        }
        assert!(!headers.contains_key(SECRET));
    }

    /// Its own beside that of the client, which it passed on.
    #[test]
    fn of_two_users_none_is_believed() {
        let vouch = ("x-sightline-proxy-secret", "s3cret");
        let said = of("10.0.0.1", &[("remote-user", "anna"), ("remote-user", "root"), vouch]).unwrap();
        assert_eq!(said.user, None);
        // By the name that is ours inside.
        let mut headers = headers(&[("x-forwarded-user", "root"), vouch]);
        let said = Forwarded::of(&trusted(Some("s3cret")), "10.0.0.1".parse().unwrap(), &headers).unwrap();
        said.settle(&mut headers);
        assert_eq!(ProxyUser::settled(&headers), None);
    }

    fn any_line() -> impl Strategy<Value = String> {
        let address = any::<u32>().prop_map(|bits| IpAddr::from(bits.to_be_bytes()).to_string());
        let entry = prop_oneof![address, Just("10.0.0.3".to_owned()), "[ -~]{0,12}"];
        prop::collection::vec(entry, 0..6).prop_map(|entries| entries.join(", "))
    }

    proptest! {
        /// Whatever a client wrote before its own address was put behind it by proxies that are trusted.
        #[test]
        fn no_untrusted_address_moves_the_client(
            lines in prop::collection::vec(any_line(), 0..4),
            client in any::<u32>(),
            proxies in prop::collection::vec(0_u8..=255, 0..5),
            joined: bool,
        ) {
            let trusted = trusted(None);
            let client = IpAddr::from(client.to_be_bytes());
            prop_assume!(!trusted.trusts(client));
            let mut written = HeaderMap::new();
            for line in &lines {
                written.append(FOR, HeaderValue::from_str(line).unwrap());
            }
            // Its own words alone: from no trusted address they are nothing.
            prop_assert_eq!(Forwarded::of(&trusted, client, &written), None);
            let added: Vec<String> = std::iter::once(client.to_string())
                .chain(proxies.iter().map(|last| format!("10.0.0.{last}")))
                .collect();
            if joined {
                let line = lines.iter().cloned().chain([added.join(", ")]).collect::<Vec<_>>().join(", ");
                written.insert(FOR, HeaderValue::from_str(&line).unwrap());
            } else {
                for one in &added {
                    written.append(FOR, HeaderValue::from_str(one).unwrap());
                }
            }
            let said = Forwarded::of(&trusted, "10.0.0.1".parse().unwrap(), &written).unwrap();
            prop_assert_eq!(said.client, client);
        }
    }
}
