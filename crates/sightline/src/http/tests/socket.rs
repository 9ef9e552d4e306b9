//! The way to the status socket: who is let in, on which port, from which page.

use futures_util::{SinkExt as _, StreamExt as _};
use http::header::{COOKIE, ORIGIN};
use http::{HeaderName, HeaderValue};
use rstest::rstest;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

use super::*;

type Socket = WebSocketStream<TcpStream>;

/// A handshake with these headers; what it was refused with.
async fn open(port: u16, path: &str, headers: &[(HeaderName, &str)]) -> Result<Socket, u16> {
    let mut request = format!("ws://localhost:{port}{path}").into_client_request().unwrap();
    for (name, value) in headers {
        request
            .headers_mut()
            .insert(name, HeaderValue::from_str(value).unwrap());
    }
    match client_async(request, connect(port).await).await {
        Ok((socket, _)) => Ok(socket),
        Err(Error::Http(response)) => Err(response.status().as_u16()),
        Err(error) => panic!("{error}"),
    }
}

async fn ping(socket: &mut Socket) -> Value {
    socket
        .send(Message::Text(r#"{"type":"ping","client":1}"#.into()))
        .await
        .unwrap();
    loop {
        let next = tokio::time::timeout(PATIENCE, socket.next());
        if let Message::Text(text) = next.await.unwrap().unwrap().unwrap() {
            return serde_json::from_str(&text).unwrap();
        }
    }
}

/// As the page signs in.
fn cookie(world: &World) -> String {
    world.cookie(AuthRole::Viewer)
}

#[tokio::test]
async fn every_port_has_it_with_and_without_the_slash() {
    let world = World::new();
    let ports = world.shared.ports;
    for port in [ports.http, ports.hls, ports.webrtc, ports.websocket.unwrap()] {
        for path in [
            "/ws/camera/?token=v-token",
            "/ws/camera?camera=house/door&token=v-token",
        ] {
            let mut socket = open(port, path, &[]).await.unwrap();
            assert_eq!(ping(&mut socket).await["type"], "pong", "{port} {path}");
        }
    }
    world.end().await;
}

#[rstest]
#[case("/ws/camera/", 401)]
#[case("/ws/camera/?token=wrong", 401)]
#[case("/ws/camera/?token=v-token&camera=../x", 400)]
#[case("/ws/cameras/?token=v-token", 404)]
#[tokio::test]
async fn who_is_not_let_in(#[case] path: &str, #[case] status: u16) {
    let world = World::new();
    assert_eq!(open(world.shared.ports.http, path, &[]).await.err(), Some(status));
    world.end().await;
}

/// A page of another site opens the socket in the name of whoever looks at it (cross-site WebSocket hijacking).
#[tokio::test]
async fn a_cookie_counts_for_our_own_pages_alone() {
    let world = World::new();
    let port = world.shared.ports.http;
    let (cookie, own) = (cookie(&world), format!("http://localhost:{port}"));
    let site = HeaderName::from_static("sec-fetch-site");
    let with = |more: Vec<(HeaderName, String)>| {
        let cookie = cookie.clone();
        async move {
            let all: Vec<_> = more.into_iter().chain([(COOKIE, cookie)]).collect();
            let all: Vec<_> = all.iter().map(|(name, value)| (name.clone(), value.as_str())).collect();
            open(port, "/ws/camera/", &all).await.map(drop)
        }
    };
    assert_eq!(with(vec![(ORIGIN, own.clone())]).await, Ok(()));
    assert_eq!(with(vec![(site.clone(), "same-origin".to_owned())]).await, Ok(()));
    assert_eq!(with(vec![]).await, Ok(()), "a program that has the cookie");
    for origin in ["https://evil.example", "null", "http://localhost:1", "http://localhost"] {
        assert_eq!(with(vec![(ORIGIN, origin.to_owned())]).await, Err(403), "{origin}");
    }
    assert_eq!(
        with(vec![(site, "same-site".to_owned()), (ORIGIN, own)]).await,
        Err(403)
    );
    // Whoever writes the token into the address knows it.
    let named = open(port, "/ws/camera/?token=v-token", &[(ORIGIN, "https://old.example")]).await;
    assert!(named.is_ok());
    world.end().await;
}

#[tokio::test]
async fn where_all_is_open_any_page_may() {
    let world = World::with(Wishes {
        mode: Mode::Open,
        ..Wishes::default()
    });
    let socket = open(
        world.shared.ports.http,
        "/ws/camera/",
        &[(ORIGIN, "https://old.example")],
    )
    .await;
    assert_eq!(ping(&mut socket.unwrap()).await["type"], "pong");
    world.end().await;
}

#[tokio::test]
async fn what_is_no_handshake_is_told_what_is_here() {
    let world = World::new();
    for headers in [
        &[][..],
        &[
            ("connection", "upgrade"),
            ("upgrade", "websocket"),
            ("sec-websocket-version", "8"),
        ],
        &[
            ("connection", "upgrade"),
            ("upgrade", "websocket"),
            ("sec-websocket-version", "13"),
        ],
        &[
            ("connection", "upgrade"),
            ("upgrade", "websocket"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", "short"),
        ],
    ] {
        let headers: Vec<_> = headers
            .iter()
            .chain(&[("authorization", "Bearer v-token")])
            .copied()
            .collect();
        let reply = world.get("/ws/camera/", &headers).await;
        assert_eq!(
            (reply.status.as_u16(), reply.code().as_str()),
            (426, "not-a-websocket"),
            "{headers:?}"
        );
        assert_eq!(
            (reply.header("upgrade"), reply.header("sec-websocket-version")),
            ("websocket", "13")
        );
    }
    world.end().await;
}

#[tokio::test]
async fn one_too_many_is_told_to_come_again() {
    let world = World::with(Wishes {
        status_clients: 1,
        connections: 2,
        ..Wishes::default()
    });
    let port = world.shared.ports.http;
    let path = "/ws/camera/?token=v-token";
    let first = open(port, path, &[]).await.unwrap();
    assert_eq!(open(port, path, &[]).await.err(), Some(503));
    let reply = world
        .get("/api/v1/system", &[("authorization", "Bearer v-token")])
        .await;
    assert_eq!(reply.json()["program"]["status"]["clients"], 1);
    drop(first);
    let again = async {
        while open(port, path, &[]).await.is_err() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, again).await.expect("its place is free");
    world.end().await;
}

/// A socket is no longer a connection of HTTP: it counts against its own limit.
#[tokio::test]
async fn sockets_leave_the_connections_of_http_alone() {
    let world = World::with(Wishes {
        connections: 2,
        ..Wishes::default()
    });
    let mut sockets = Vec::new();
    for _ in 0..10 {
        let opening = async {
            loop {
                // The connection of the one before may not have become a socket yet.
                if let Ok(socket) = open(world.shared.ports.http, "/ws/camera/?token=v-token", &[]).await {
                    break socket;
                }
            }
        };
        let mut socket = tokio::time::timeout(PATIENCE, opening).await.unwrap();
        assert_eq!(ping(&mut socket).await["type"], "pong");
        sockets.push(socket);
    }
    let counted = || world.shared.open.load(Relaxed);
    let settled = async {
        while counted() > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, settled).await.expect("none is counted");
    world.end().await;
}
