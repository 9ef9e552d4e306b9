//! Behind proxies: whose words are believed, what follows from them, by which names we go.

use std::pin::Pin;

use super::*;
use crate::auth::authority::{Allowed, Answer, Authority, Elsewhere, Question, Vouched};
use crate::auth::{Groups, Rules};
use crate::http::forwarded::{Prefix, Users};

/// The proxy, and somebody who is none.
const PROXY: &str = "127.0.0.1:5000";
const CLIENT: &str = "198.51.100.9";

fn trusted() -> Trusted {
    Trusted {
        networks: vec!["127.0.0.1".parse().unwrap()],
        prefix: Prefix::default(),
        users: Some(Users {
            user: "x-forwarded-user".parse().unwrap(),
            groups: "x-forwarded-groups".parse().unwrap(),
            secret: Some(Secret::new("0123456789abcdef")),
            roles: Groups {
                roles: vec!["staff = admin".parse().unwrap(), "family = viewer".parse().unwrap()],
                default: None,
            },
        }),
    }
}

fn world() -> World {
    World::with(Wishes {
        trusted: trusted(),
        ..Wishes::default()
    })
}

async fn post(world: &World, remote: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Reply {
    ask(&world.dashboard, remote, Method::POST, path, headers, body).await
}

fn cookies(reply: &Reply) -> Vec<&str> {
    let all = reply.headers.get_all("set-cookie").iter();
    all.map(|cookie| cookie.to_str().unwrap()).collect()
}

/// A session that begins behind a proxy is the client's: its address, its scheme, its path.
#[tokio::test]
async fn a_session_is_the_clients() {
    let world = world();
    world.user("anna", "admin", "*");
    let form = format!("name=anna&password={}", PASSWORD.replace(' ', "+"));
    let headers = [
        ("content-type", "application/x-www-form-urlencoded"),
        ("x-forwarded-for", "10.9.0.2, 198.51.100.9"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "cams.example"),
        ("x-forwarded-prefix", "/cams"),
        ("origin", "https://cams.example"),
    ];
    let reply = post(&world, PROXY, "/sign-in", &headers, &form).await;
    assert_eq!(reply.status, StatusCode::SEE_OTHER, "{}", reply.text);
    assert_eq!(reply.headers["location"], "./");
    let given = cookies(&reply);
    assert!(
        given[0].starts_with("__Secure-sightline=") && given[0].contains("; Path=/cams/;"),
        "{given:?}"
    );
    assert!(given[1].starts_with("__Secure-sightline-device="), "{given:?}");
    let cookie = given[0].split(';').next().unwrap();
    let mut again = headers.to_vec();
    again.push(("cookie", cookie));
    let sessions = world.ask(PROXY, Method::GET, "/api/v1/me/sessions", &again).await;
    assert_eq!(sessions.json()[0]["remote"], CLIENT, "{}", sessions.text);
    let people = world.shared.auth.everybody();
    assert!(people.sessions().all(|session| session.remote.to_string() == CLIENT));
    // The same words of somebody who is no proxy: the page of another site, and nothing is secure.
    let reply = post(&world, ELSEWHERE, "/sign-in", &headers, &form).await;
    assert_eq!(reply.status, StatusCode::FORBIDDEN, "{}", reply.text);
    let own = [headers[0], headers[1], headers[2], headers[4]];
    let reply = post(&world, ELSEWHERE, "/sign-in", &own, &form).await;
    assert!(cookies(&reply)[0].starts_with("sightline="), "{:?}", reply.headers);
    assert!(cookies(&reply)[0].contains("; Path=/; "), "{:?}", reply.headers);
}

/// Trusted networks are those of the client, not of the proxy and not of what the client claims.
#[tokio::test]
async fn a_stranger_becomes_no_neighbour() {
    let world = world();
    let neighbour = &[("x-forwarded-for", "10.9.0.2")][..];
    let asked = |remote: &'static str, headers: &'static [(&'static str, &'static str)]| {
        world.ask(remote, Method::GET, "/api/v1/streams", headers)
    };
    assert_eq!(
        world.ask(PROXY, Method::GET, "/api/v1/streams", neighbour).await.status,
        StatusCode::OK
    );
    assert_eq!(
        asked(PROXY, &[("x-forwarded-for", "10.9.0.2, 198.51.100.9")])
            .await
            .status,
        StatusCode::UNAUTHORIZED
    );
    assert_eq!(
        asked(PROXY, &[("x-forwarded-for", "10.9.0.2, unknown")]).await.status,
        StatusCode::UNAUTHORIZED
    );
    assert_eq!(
        asked(ELSEWHERE, &[("x-forwarded-for", "10.9.0.2")]).await.status,
        StatusCode::UNAUTHORIZED
    );
}

#[tokio::test]
async fn the_users_of_a_proxy_are_believed_where_it_vouches() {
    let world = world();
    let _door = world.publish("door", None);
    let named = [
        ("x-forwarded-user", "anna"),
        ("x-forwarded-groups", "family"),
        ("x-forwarded-for", CLIENT),
    ];
    let vouch = [("x-sightline-proxy-secret", "0123456789abcdef")];
    let headers = [&named[..], &vouch].concat();
    let me = world.ask(PROXY, Method::GET, "/api/v1/me", &headers).await.json();
    assert_eq!(
        (&me["name"], &me["role"], &me["account"]),
        (&"anna".into(), &"viewer".into(), &false.into()),
        "{me}"
    );
    assert_eq!(
        world
            .ask(PROXY, Method::GET, "/api/v1/streams/door", &headers)
            .await
            .status,
        StatusCode::OK
    );
    assert_eq!(
        world.ask(PROXY, Method::GET, "/api/v1/users", &headers).await.status,
        StatusCode::FORBIDDEN
    );
    // Without the secret, with a wrong one, from elsewhere with the right one.
    let wrong = [("x-sightline-proxy-secret", "0123456789abcdee")];
    for (remote, headers) in [
        (PROXY, named.to_vec()),
        (PROXY, [&named[..], &wrong].concat()),
        (ELSEWHERE, headers.clone()),
    ] {
        let reply = world.ask(remote, Method::GET, "/api/v1/me", &headers).await;
        assert_eq!(reply.code(), "credential-missing", "{remote} {headers:?}");
    }
    // In no group that means anything here: known, and may nothing.
    let other = [
        &[("x-forwarded-user", "otto"), ("x-forwarded-groups", "guests")][..],
        &vouch,
    ]
    .concat();
    assert_eq!(
        world.ask(PROXY, Method::GET, "/api/v1/streams", &other).await.status,
        StatusCode::FORBIDDEN
    );
    // What is changed is in the log with the name and the address of the client; a page of another site changes nothing.
    let staff = [
        &[("x-forwarded-user", "berta"), ("x-forwarded-groups", "guests, staff")][..],
        &named[2..],
        &vouch,
    ]
    .concat();
    let other_site = [&staff[..], &[("sec-fetch-site", "cross-site")]].concat();
    let path = "/api/v1/streams/door/recording";
    assert_eq!(
        world.ask(PROXY, Method::DELETE, path, &other_site).await.code(),
        "another-site"
    );
    // Nothing records there; that is told to whoever may ask.
    assert_eq!(
        world.ask(PROXY, Method::DELETE, path, &staff).await.status,
        StatusCode::NOT_FOUND
    );
    let lines = world.ask(PROXY, Method::GET, "/api/v1/audit", &staff).await;
    let lines = lines.text;
    assert!(
        lines.contains("\"berta\"") && lines.contains(CLIENT) && !lines.contains("127.0.0.1"),
        "{lines}"
    );
}

/// URLs in answers lead through the proxy.
#[tokio::test]
async fn urls_lead_through_the_proxy() {
    let world = world();
    let _door = world.publish("door", None);
    let headers = [
        ("x-forwarded-for", CLIENT),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "cams.example:8443"),
        ("x-forwarded-prefix", "/cams/"),
        ("authorization", "Bearer v-token"),
    ];
    let urls = world
        .ask(PROXY, Method::GET, "/api/v1/streams/door", &headers)
        .await
        .json();
    assert_eq!(
        urls["urls"]["hls"],
        "https://cams.example:8443/cams/live/door/index.m3u8"
    );
    assert_eq!(urls["urls"]["rtsp"], "rtsp://cams.example:8554/door");
    let direct = world
        .ask(ELSEWHERE, Method::GET, "/api/v1/streams/door", &headers)
        .await
        .json();
    let port = world.shared.ports.hls;
    assert_eq!(direct["urls"]["hls"], format!("http://pi.local:{port}/door/index.m3u8"));
}

/// DNS rebinding: a name of somebody else's that leads here.
#[tokio::test]
async fn who_needs_no_credential_comes_by_a_name_of_ours() {
    let world = World::new();
    let open = World::with(Wishes {
        mode: Mode::Open,
        ..Wishes::default()
    });
    let status = async |entrance: &Entrance, path: &str, host: &str, token: &str| {
        let request = Request::builder().uri(path).header("host", host);
        let request = match token {
            "" => request,
            token => request.header("authorization", format!("Bearer {token}")),
        };
        let peer = Peer::new(TRUSTED.parse().unwrap(), "192.0.2.1:8000".parse().unwrap(), false);
        entrance
            .answer(peer, request.body(Body::empty()).unwrap())
            .await
            .status()
    };
    for (host, ours) in [
        ("192.0.2.1:8000", true),
        ("[fd00::1]:8000", true),
        ("localhost", true),
        ("pi", true),
        ("pi.local:8000", true),
        ("cams.example:8000", true),
        ("evil.example", false),
        ("evil.example:8000", false),
    ] {
        let expected = if ours {
            StatusCode::OK
        } else {
            StatusCode::MISDIRECTED_REQUEST
        };
        for path in ["/api/v1/streams", "/"] {
            assert_eq!(
                status(&world.dashboard, path, host, "").await,
                expected,
                "{host} {path}"
            );
            assert_eq!(
                status(&open.dashboard, path, host, "").await,
                expected,
                "open: {host} {path}"
            );
        }
        // A credential is for whoever has it, by whatever name.
        assert_eq!(
            status(&world.dashboard, "/api/v1/streams", host, "v-token").await,
            StatusCode::OK,
            "{host}"
        );
        // Pages of other sites may read there under their own name.
        assert_eq!(status(&world.players, "/", host, "").await, StatusCode::OK, "{host}");
        assert_eq!(status(&open.players, "/", host, "").await, StatusCode::OK, "{host}");
        // But nobody's page publishes or listens for a neighbour.
        let socket = status(&world.players, "/api/v1/live", host, "").await;
        let expected = if ours {
            StatusCode::UPGRADE_REQUIRED
        } else {
            StatusCode::MISDIRECTED_REQUEST
        };
        assert_eq!(socket, expected, "{host}");
    }
}

/// The same where a proxy is on the way, or might be: a browser on the proxy's machine comes from its address, and its page writes all but `Host`.
#[tokio::test]
async fn who_comes_through_a_proxy_comes_by_a_name_of_ours_too() {
    let world = world();
    let asked = (&*world.dashboard, PROXY, "/api/v1/streams");
    let near = ("x-forwarded-for", "10.9.0.2");
    for (host, ours) in [
        ("pi.local:8000", true),
        ("127.0.0.1", true),
        ("cams.example", true),
        ("evil.example", false),
        ("evil.example:8000", false),
    ] {
        let expected = match ours {
            true => StatusCode::OK,
            false => StatusCode::MISDIRECTED_REQUEST,
        };
        let said = ("x-forwarded-host", host);
        let status = by_name(asked, host, &[near]).await;
        assert_eq!(status, expected, "{host} in Host");
        let status = by_name(asked, "pi.local", &[near, said]).await;
        assert_eq!(status, expected, "{host} in X-Forwarded-Host");
        let status = by_name(asked, host, &[near, ("x-forwarded-host", "localhost")]).await;
        assert_eq!(status, expected, "{host}, whatever is said beside it");
        let token = ("authorization", "Bearer v-token");
        let status = by_name(asked, host, &[near, said, token]).await;
        assert_eq!(status, StatusCode::OK, "{host} with a credential");
    }
}

/// What is answered by an entrance to somebody who asks for a path, by this name.
async fn by_name(
    (entrance, remote, path): (&Entrance, &str, &str),
    host: &str,
    headers: &[(&str, &str)],
) -> StatusCode {
    let mut request = Request::builder().uri(path).header("host", host);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let peer = Peer::new(remote.parse().unwrap(), "192.0.2.1:8000".parse().unwrap(), false);
    let reply = entrance.answer(peer, request.body(Body::empty()).unwrap()).await;
    reply.status()
}

/// Somebody who is asked and looks at addresses alone.
struct LetsEverybodyIn;

impl Authority for LetsEverybodyIn {
    fn ask(&self, _: Question) -> Pin<Box<dyn Future<Output = Answer> + Send + '_>> {
        let vouched = Vouched {
            name: "anyone".into(),
            allowed: Allowed::by(&["api".parse().unwrap(), "read".parse().unwrap()]),
            until: None,
            has_shown: true,
            by: 0,
        };
        Box::pin(std::future::ready(Answer::Yes(vouched)))
    }
}

/// Whom an authority lets in without a credential is let in by address, as far as we know.
#[tokio::test]
async fn who_shows_nothing_to_an_authority_comes_by_a_name_of_ours() {
    let world = World::new();
    let auth = &world.shared.auth;
    auth.set_rules(Rules {
        elsewhere: Some(Elsewhere::scripted(Arc::new(LetsEverybodyIn), &[])),
        ..(*auth.rules()).clone()
    });
    let asked = (&*world.dashboard, ELSEWHERE, "/api/v1/config");
    let token = ("authorization", "Bearer theirs");
    assert_eq!(by_name(asked, "pi.local", &[]).await, StatusCode::OK);
    assert_eq!(
        by_name(asked, "evil.example", &[]).await,
        StatusCode::MISDIRECTED_REQUEST
    );
    assert_eq!(by_name(asked, "evil.example", &[token]).await, StatusCode::OK);
}

/// Players on people's own pages may play where that is free, by LL-HLS as by WHEP. Nobody's page publishes.
#[tokio::test]
async fn players_of_other_sites_may_play_by_whatever_name() {
    let world = World::new();
    let _door = world.publish("door", None);
    for (path, by_any) in [("/door/whep", true), ("/door/whip", false)] {
        let request = Request::builder().method(Method::POST).uri(path);
        let request = request
            .header("host", "evil.example")
            .header("content-type", "application/sdp");
        let peer = Peer::new(TRUSTED.parse().unwrap(), "192.0.2.1:8889".parse().unwrap(), false);
        let reply = world.players.answer(peer, request.body(Body::empty()).unwrap()).await;
        let is_refused = reply.status() == StatusCode::MISDIRECTED_REQUEST;
        assert_eq!(is_refused, !by_any, "{path}: {}", reply.status());
    }
}

#[tokio::test]
async fn whoever_asks_too_often_waits_and_nobody_else_does() {
    let clock = Arc::new(SimClock::default());
    let world = World::with(Wishes {
        clock: clock.clone(),
        requests: 50,
        ..Wishes::default()
    });
    let asked = async |headers: &[(&str, &str)], path: &str| {
        let mut refused = 0;
        let mut last = None;
        for _ in 0..200 {
            let reply = world.get(path, headers).await;
            if reply.status == StatusCode::TOO_MANY_REQUESTS {
                refused += 1;
                last = Some(reply);
            }
        }
        (refused, last)
    };
    let viewer = [("authorization", "Bearer v-token")];
    let (refused, last) = asked(&viewer, "/api/v1/streams").await;
    let last = last.unwrap();
    assert_eq!((refused, last.code()), (50, "too-many-requests".to_owned()));
    assert_eq!(last.headers["retry-after"], "1");
    assert_eq!(asked(&[], "/api/v1/streams").await.0, 50, "nobody is somebody else");
    assert_eq!(asked(&[("authorization", "Bearer a-token")], "/metrics").await.0, 50);
    // Pages, what they are made of, and media.
    for path in ["/", "/healthz", "/assets/pages.css", "/live/door/index.m3u8"] {
        assert_eq!(asked(&[], path).await.0, 0, "{path}");
    }
    clock.advance(Duration::from_secs(1));
    assert_eq!(asked(&viewer, "/api/v1/streams").await.0, 150);
}

/// A thousand addresses guess the owner's password for as long as they like: the owner, in a browser that was let in before, is never made to wait.
#[tokio::test]
async fn a_thousand_guessers_beside_one_owner() {
    let clock = Arc::new(SimClock::default());
    let world = World::with(Wishes {
        trusted: trusted(),
        clock: clock.clone(),
        ..Wishes::default()
    });
    world.user("anna", "admin", "*");
    let form = ("content-type", "application/x-www-form-urlencoded");
    let right = format!("name=anna&password={}", PASSWORD.replace(' ', "+"));
    let owner = [form, ("x-forwarded-for", CLIENT)];
    let first = post(&world, PROXY, "/sign-in", &owner, &right).await;
    let device = cookies(&first)[1].split(';').next().unwrap().to_owned();
    let owner = [form, ("x-forwarded-for", CLIENT), ("cookie", &device)];
    let mut turned_away = 0;
    for round in 0..5_u32 {
        for guesser in 0..200_u32 {
            let number = round * 200 + guesser;
            let address = format!("203.0.{}.{}", number / 250, number % 250 + 1);
            let guess = [form, ("x-forwarded-for", &address)];
            // What is not looked at is answered at once; what is looked at is not waited for by anybody else.
            let reply = tokio::time::timeout(
                PATIENCE,
                post(&world, PROXY, "/sign-in", &guess, "name=anna&password=wrong+guess+1"),
            );
            let status = reply.await.unwrap().status;
            turned_away += u32::from(matches!(status.as_u16(), 429 | 503));
            assert!(matches!(status.as_u16(), 401 | 429 | 503), "{status}");
        }
        let reply = post(&world, PROXY, "/sign-in", &owner, &right).await;
        assert_eq!(reply.status, StatusCode::SEE_OTHER, "round {round}: {}", reply.text);
        // A hash a sign-in: four a second are computed, half of them for whom is known.
        clock.advance(Duration::from_secs(1));
    }
    assert!(turned_away > 900, "{turned_away}");
}
