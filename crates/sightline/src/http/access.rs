//! From a request to a principal.
//!
//! Belongs here: where credentials stand in a request (CONTRACT §7), and the session's cookie. Does not belong here: whether they are right,
//! and what for ([`crate::auth`]).

use std::borrow::Cow;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{AUTHORIZATION, COOKIE, HeaderMap, USER_AGENT};
use http::request::Parts;
use http::{HeaderValue, Uri};
use url::form_urlencoded;

use super::Shared;
use super::peer::{Jar, Peer};
use crate::auth::authority::{Protocol, Wants, Way};
use crate::auth::people::{self, Grant, Sum};
use crate::auth::{Device, Presented, Principal, Refusal, Verdict};
use crate::secret::Secret;

/// Somebody who may be here.
#[derive(Clone, Debug)]
pub(super) struct Caller {
    /// Who it is.
    pub(super) who: Principal,
    /// What it showed.
    pub(super) shown: Shown,
}

/// Where the credential stood that was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shown {
    /// There was none.
    Nothing,
    /// In the header `Authorization`, which only whoever knows the credential can send.
    Header,
    /// In the URL.
    Query,
    /// In a cookie, which browsers send whoever asks them to.
    Cookie,
    /// At the proxy in front of us, where browsers show it whoever asks them to.
    Proxy,
}

/// What a request shows, as it stands in it.
#[derive(Debug, Default)]
enum Found {
    #[default]
    Nothing,
    Token(Secret),
    Basic {
        user: String,
        password: Secret,
    },
}

impl Found {
    fn presented(&self) -> Presented<'_> {
        match self {
            Self::Nothing => Presented::Nothing,
            Self::Token(token) => Presented::Token(token.expose()),
            Self::Basic { user, password } => Presented::Basic {
                user,
                password: password.expose(),
            },
        }
    }
}

/// Who makes this request, or who knows that. A header counts more than the URL, and the URL more than a cookie.
pub(super) fn identify<'a>(
    shared: &'a Shared,
    peer: Peer,
    request: &Parts,
    protocol: Protocol,
    wants: Wants<'_>,
) -> (Verdict<'a>, Shown) {
    let presentation = Presentation::of(shared, peer, &request.headers, &request.uri);
    if let Some(who) = presentation.by_proxy(shared, peer, &request.headers) {
        return (Verdict::Known(Ok(who)), Shown::Proxy);
    }
    let agent = request.headers.get(USER_AGENT).and_then(|agent| agent.to_str().ok());
    let way = Way {
        remote: peer.remote,
        protocol,
        query: request.uri.query().unwrap_or_default(),
        agent: agent.unwrap_or_default(),
        // A session of WebRTC is asked for once.
        repeats: protocol != Protocol::Webrtc,
    };
    let Presentation { found, session, shown } = presentation;
    let verdict = (shared.auth).http_from(&way, found.presented(), session, wants, shared.clock.now());
    (verdict, shown)
}

/// The same of somebody who was let in by these, and is still here.
///
/// # Errors
/// [`Refusal`].
pub(super) fn identify_again(
    shared: &Shared,
    peer: Peer,
    headers: &HeaderMap,
    uri: &Uri,
    was: &Caller,
) -> Result<Caller, Refusal> {
    let (now, wall) = (shared.clock.now(), shared.clock.wall());
    if let Some(still) = shared.auth.still_vouched(&was.who, peer.remote, now, wall) {
        let shown = was.shown;
        return still.map(|who| Caller { who, shown });
    }
    let presentation = Presentation::of(shared, peer, headers, uri);
    if let Some(who) = presentation.by_proxy(shared, peer, headers) {
        let shown = Shown::Proxy;
        return Ok(Caller { who, shown });
    }
    let Presentation { found, session, shown } = presentation;
    let who = shared.auth.http_still(peer.remote, found.presented(), session, now)?;
    Ok(Caller { who, shown })
}

/// What a request shows, and where.
struct Presentation {
    found: Found,
    session: Option<Arc<Grant>>,
    shown: Shown,
}

impl Presentation {
    fn of(shared: &Shared, peer: Peer, headers: &HeaderMap, uri: &Uri) -> Self {
        let (found, shown) = match by_header(headers) {
            Found::Nothing => match by_query(uri) {
                Found::Nothing => (Found::Nothing, Shown::Nothing),
                found => (found, Shown::Query),
            },
            found => (found, Shown::Header),
        };
        let session = match shown {
            Shown::Nothing => session(shared, peer, headers),
            _ => None,
        };
        let shown = if session.is_some() { Shown::Cookie } else { shown };
        Self { found, session, shown }
    }

    /// Whom the proxy in front knows, unless this shows more than a cookie. Whom it knows and who has no role here may have an account.
    fn by_proxy(&self, shared: &Shared, peer: Peer, headers: &HeaderMap) -> Option<Principal> {
        if !matches!(self.shown, Shown::Nothing | Shown::Cookie) {
            return None;
        }
        let who = proxied(shared, peer, headers)?;
        (self.session.is_none() || who.may_something()).then(|| shared.auth.known_elsewhere(who, peer.remote))
    }
}

/// Who signed in at the proxy.
fn proxied(shared: &Shared, peer: Peer, headers: &HeaderMap) -> Option<Principal> {
    let user = peer.user(headers)?;
    let trusted = shared.settings.trusted.get();
    let roles = &trusted.users.as_ref()?.roles;
    Some(roles.principal(&shared.auth.everybody(), &user.name, &user.groups))
}

/// `Authorization`: Bearer (RFC 6750), `Token` as the seeds have it, or Basic (RFC 7617). Another scheme is meant for somebody else, such as
/// a proxy.
fn by_header(headers: &HeaderMap) -> Found {
    let credential = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let Some((scheme, rest)) = credential.and_then(|value| value.split_once(' ')) else {
        return Found::Nothing;
    };
    let rest = rest.trim();
    if scheme.eq_ignore_ascii_case("bearer") || scheme.eq_ignore_ascii_case("token") {
        return Found::Token(Secret::new(rest));
    }
    if scheme.eq_ignore_ascii_case("basic")
        && let Some(text) = STANDARD
            .decode(rest)
            .ok()
            .and_then(|bytes| String::from_utf8(bytes).ok())
        && let Some((user, password)) = text.split_once(':')
    {
        return Found::Basic {
            user: user.to_owned(),
            password: Secret::new(password),
        };
    }
    Found::Nothing
}

fn by_query(uri: &Uri) -> Found {
    token_in(uri.query().unwrap_or_default()).map_or(Found::Nothing, |token| Found::Token(Secret::new(&*token)))
}

/// The token of a query: `token`, else `jwt`, as older clients of MediaMTX have it.
pub(super) fn token_in(query: &str) -> Option<Cow<'_, str>> {
    // The directives of LL-HLS come with every list, and need not be decoded to see that none is a token.
    if !query.contains("token") && !query.contains("jwt") && !query.contains('%') {
        return None;
    }
    let named = |wanted| {
        let mut pairs = form_urlencoded::parse(query.as_bytes());
        pairs.find(|(name, _)| name == wanted)
    };
    let (_, token) = named("token").or_else(|| named("jwt"))?;
    Some(token)
}

pub(super) fn session(shared: &Shared, peer: Peer, headers: &HeaderMap) -> Option<Arc<Grant>> {
    let wall = shared.clock.wall();
    let people = shared.auth.everybody();
    let all = cookies(headers, cookie_name(peer.jar(headers)));
    // Another program on this host may have set one of the same name: any that is right will do, of the first few.
    all.take(MAX_COOKIES).find_map(|value| {
        let session = people.session(Sum::of(value.as_bytes()), wall)?;
        let grant = shared.auth.granted(session, peer.remote, wall)?;
        session.see(wall);
        Some(Arc::new(grant))
    })
}

/// The values of the cookies of this name.
fn cookies<'a>(headers: &'a HeaderMap, name: &'a str) -> impl Iterator<Item = &'a str> {
    let all = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
    let ours = all.flat_map(|cookies| cookies.split(';')).filter_map(move |cookie| {
        let (given, value) = cookie.trim().split_once('=')?;
        (given == name).then_some(value)
    });
    ours.filter(|value| value.len() <= MAX_COOKIE_BYTES)
}

/// The browser from which this name was let in before.
pub(super) fn device(shared: &Shared, peer: Peer, headers: &HeaderMap, name: &str) -> Option<Device> {
    let key = shared.settings.control.device_key();
    let mut all = cookies(headers, device_name(peer.jar(headers))).take(MAX_COOKIES);
    all.find_map(|value| Device::unseal(value, name, key))
}

/// `Set-Cookie` for a session.
pub(super) fn cookie(value: &Secret, jar: Jar<'_>) -> Option<HeaderValue> {
    set_cookie(cookie_name(jar), value.expose(), people::SESSION_US / 1_000_000, jar)
}

/// `Set-Cookie` for a browser from which somebody was let in, for a year.
pub(super) fn device_cookie(value: &Secret, jar: Jar<'_>) -> Option<HeaderValue> {
    set_cookie(device_name(jar), value.expose(), 365 * 24 * 3_600, jar)
}

/// `Set-Cookie` that removes it.
pub(super) fn no_cookie(jar: Jar<'_>) -> Option<HeaderValue> {
    set_cookie(cookie_name(jar), "", 0, jar)
}

/// For no script, and not sent along when a page of another site posts something to us.
fn set_cookie(name: &str, value: &str, life_s: i64, jar: Jar<'_>) -> Option<HeaderValue> {
    let (secure, prefix) = (if jar.secure { "; Secure" } else { "" }, jar.prefix);
    let text = format!("{name}={value}; Path={prefix}/; Max-Age={life_s}; HttpOnly; SameSite=Lax{secure}");
    let mut value = HeaderValue::from_str(&text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// Two names, since ports do not tell cookies apart: a browser that has a secure one would not take another of that name without TLS. The
/// prefix keeps others from setting it (RFC 6265bis §4.1.3.2), where it is good for the whole host. Below a path of a proxy it is good there alone, so that two
/// servers behind one name do not sign each other's people out.
fn cookie_name(jar: Jar<'_>) -> &'static str {
    match (jar.secure, jar.prefix.is_empty()) {
        (true, true) => "__Host-sightline",
        (true, false) => "__Secure-sightline",
        (false, _) => "sightline",
    }
}

fn device_name(jar: Jar<'_>) -> &'static str {
    match (jar.secure, jar.prefix.is_empty()) {
        (true, true) => "__Host-sightline-device",
        (true, false) => "__Secure-sightline-device",
        (false, _) => "sightline-device",
    }
}

/// How many cookies of our name are looked at.
const MAX_COOKIES: usize = 4;
/// Longest value that is looked at. Ours have 43 bytes.
const MAX_COOKIE_BYTES: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn shown(found: &Found) -> String {
        match found.presented() {
            Presented::Nothing => "nothing".to_owned(),
            Presented::Token(token) => format!("token {token}"),
            Presented::Basic { user, password } => format!("{user}:{password}"),
            Presented::Digest { .. } => "digest".to_owned(),
        }
    }

    #[rstest]
    #[case("Bearer abc", "token abc")]
    #[case("bearer  abc ", "token abc")]
    #[case("Token abc", "token abc")]
    #[case("Basic dmlld2VyOmE6Yg==", "viewer:a:b")]
    #[case("basic OnB3", ":pw")]
    #[case("Basic dmlld2Vy", "nothing")]
    #[case("Basic !!!", "nothing")]
    #[case("Basic /w==", "nothing")]
    #[case("Digest username=\"x\"", "nothing")]
    #[case("Negotiate abc", "nothing")]
    #[case("Bearer", "nothing")]
    #[case("", "nothing")]
    fn headers(#[case] value: &'static str, #[case] expected: &str) {
        let headers = [(AUTHORIZATION, HeaderValue::from_static(value))].into_iter().collect();
        assert_eq!(shown(&by_header(&headers)), expected);
    }

    #[rstest]
    #[case("/a?token=abc", "token abc")]
    #[case("/a?x=1&token=a%2Fb+c&token=d", "token a/b c")]
    #[case("/a?token=", "token ")]
    #[case("/a?%74oken=abc", "token abc")]
    #[case("/a?_HLS_msn=3&_HLS_part=1", "nothing")]
    #[case("/a?Token=abc", "nothing")]
    #[case("/a?jwt=a.b.c", "token a.b.c")]
    #[case("/a?jwt=old&token=new", "token new")]
    #[case("/a", "nothing")]
    fn queries(#[case] uri: Uri, #[case] expected: &str) {
        assert_eq!(shown(&by_query(&uri)), expected);
    }

    #[test]
    fn cookies_are_for_no_script() {
        let text = |secure, prefix| {
            let jar = Jar { secure, prefix };
            set_cookie(cookie_name(jar), "v", 60, jar)
                .unwrap()
                .to_str()
                .unwrap()
                .to_owned()
        };
        assert_eq!(
            text(false, ""),
            "sightline=v; Path=/; Max-Age=60; HttpOnly; SameSite=Lax"
        );
        assert_eq!(
            text(true, ""),
            "__Host-sightline=v; Path=/; Max-Age=60; HttpOnly; SameSite=Lax; Secure"
        );
        assert_eq!(
            text(true, "/cams"),
            "__Secure-sightline=v; Path=/cams/; Max-Age=60; HttpOnly; SameSite=Lax; Secure"
        );
        let jar = Jar {
            secure: true,
            prefix: "",
        };
        assert!(no_cookie(jar).unwrap().to_str().unwrap().contains("Max-Age=0"));
    }
}
