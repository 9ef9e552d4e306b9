//! What peers may not do: dawdle, flood, stay. Over loopback, with short patience.

use std::time::Instant;

use tokio_rustls::client::TlsStream;

use super::*;

const SHORT: Duration = Duration::from_millis(300);

/// Short patience in all.
pub(super) fn hasty() -> World {
    World::with(Wishes {
        patience: Patience {
            headers: SHORT,
            body: SHORT,
            handshake: SHORT,
            answer: Duration::from_secs(1),
            end: SHORT,
        },
        ..Wishes::default()
    })
}

/// Waits until so many connections are open.
async fn open(world: &World, count: usize) {
    let begun = Instant::now();
    while world.shared.open.load(Relaxed) != count {
        assert!(
            begun.elapsed() < PATIENCE,
            "{} connections",
            world.shared.open.load(Relaxed)
        );
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test]
async fn headers_that_drip_in_are_not_waited_for() {
    let world = hasty();
    let mut socket = world.connect().await;
    let begun = Instant::now();
    for byte in b"GET /healthz HTTP/1.1\r\nHost: a\r\nX-Slow: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa" {
        if socket.write_all(&[*byte]).await.is_err() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let said = until_closed(&mut socket).await;
    assert!(!said.contains("200"), "{said}");
    assert!((SHORT..PATIENCE).contains(&begun.elapsed()));
    open(&world, 0).await;
}

#[tokio::test]
async fn who_says_nothing_at_all_is_disconnected_and_so_is_who_idles() {
    let world = hasty();
    let mut silent = world.connect().await;
    let mut idle = world.connect().await;
    idle.write_all(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n")
        .await
        .unwrap();
    assert_eq!(until_closed(&mut silent).await, "");
    let said = until_closed(&mut idle).await;
    assert!(said.starts_with("HTTP/1.1 200 "), "{said}");
    open(&world, 0).await;
}

#[tokio::test]
async fn a_body_that_drips_in_is_not_waited_for() {
    let world = hasty();
    let mut socket = world.connect().await;
    let head = b"POST /sign-in HTTP/1.1\r\nHost: a\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 100\r\n\r\ntoken=";
    let said = exchange(&mut socket, head).await;
    assert!(
        said.starts_with("HTTP/1.1 408 ") && said.contains("\"too-slow\""),
        "{said}"
    );
}

#[tokio::test]
async fn heads_have_a_size() {
    let world = World::new();
    let long = "x".repeat(20_000);
    let many = "X-A: b\r\n".repeat(150);
    for (request, expected) in [
        (
            format!("GET /healthz HTTP/1.1\r\nHost: a\r\nX-Long: {long}\r\n\r\n"),
            "HTTP/1.1 431 ",
        ),
        (
            format!("GET /healthz HTTP/1.1\r\nHost: a\r\n{many}\r\n"),
            "HTTP/1.1 431 ",
        ),
        (format!("GET /{long} HTTP/1.1\r\nHost: a\r\n\r\n"), "HTTP/1.1 4"),
        ("rubbish\r\n\r\n".to_owned(), "HTTP/1.1 400 "),
        ("\u{16}\u{3}\u{1}".to_owned() + &long, "HTTP/1.1 4"),
    ] {
        let mut socket = world.connect().await;
        // What it did not read may come back as a reset; the answer was sent before.
        let _ = socket.write_all(request.as_bytes()).await;
        let said = until_closed(&mut socket).await;
        assert!(said.starts_with(expected), "{request:.40}: {said}");
    }
    // Others are served.
    let mut socket = world.connect().await;
    let said = exchange(
        &mut socket,
        b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    )
    .await;
    assert!(said.starts_with("HTTP/1.1 200 "), "{said}");
}

#[tokio::test]
async fn one_connection_more_than_the_limit_is_closed() {
    let world = World::with(Wishes {
        connections: 3,
        ..Wishes::default()
    });
    let mut there = vec![world.connect().await, connect(world.shared.ports.hls).await];
    there.push(connect(world.shared.ports.webrtc).await);
    open(&world, 3).await;
    let mut refused = world.connect().await;
    assert_eq!(until_closed(&mut refused).await, "");
    drop(there);
    open(&world, 0).await;
    let mut socket = world.connect().await;
    let said = exchange(
        &mut socket,
        b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    )
    .await;
    assert!(said.starts_with("HTTP/1.1 200 "), "{said}");
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn who_asks_and_never_reads_is_disconnected() {
    let world = hasty();
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4_096).unwrap();
    let address = (Ipv4Addr::LOCALHOST, world.shared.ports.http).into();
    let mut socket = socket.connect(address).await.unwrap();
    let request = b"GET /assets/pages.css HTTP/1.1\r\nHost: a\r\n\r\n".repeat(100);
    let flood = async { while socket.write_all(&request).await.is_ok() {} };
    tokio::time::timeout(PATIENCE, flood)
        .await
        .expect("it is served for ever");
    open(&world, 0).await;
}

#[tokio::test]
async fn the_end_waits_for_no_idle_connection_and_lets_requests_finish() {
    let world = World::new();
    let mut idle = world.connect().await;
    let mut asking = world.connect().await;
    open(&world, 2).await;
    // Takes a fifth of a second, to see how busy the processor is.
    let request = b"GET /api/v1/system HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer v-token\r\n\r\n";
    asking.write_all(request).await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    let begun = Instant::now();
    let (said, ()) = tokio::join!(until_closed(&mut asking), world.end());
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    assert!(
        said.starts_with("HTTP/1.1 200 ") && said.contains("cpu_percent"),
        "{said}"
    );
    assert_eq!(until_closed(&mut idle).await, "");
    assert_eq!(world.shared.open.load(Relaxed), 0);
}

#[tokio::test]
async fn the_end_does_not_wait_for_who_dawdles() {
    let world = World::new();
    let mut slow = world.connect().await;
    let head = b"POST /sign-in HTTP/1.1\r\nHost: a\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 100\r\n\r\n";
    slow.write_all(head).await.unwrap();
    let mut unsaid = connect(world.shared.ports.https).await;
    open(&world, 2).await;
    let begun = Instant::now();
    world.end().await;
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    until_closed(&mut slow).await;
    until_closed(&mut unsaid).await;
}

/// A browser whose user said that the certificate is fine.
pub(super) async fn connect_tls(world: &World, protocol: &str) -> TlsStream<TcpStream> {
    let socket = connect(world.shared.ports.https).await;
    crate::tls::tests::connect(socket, &[protocol]).await
}

#[tokio::test]
async fn https_answers_as_http_does() {
    let world = World::new();
    let mut socket = connect_tls(&world, "http/1.1").await;
    let request = b"GET /?token=v-token HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    socket.write_all(request).await.unwrap();
    let mut said = String::new();
    let _ = socket.read_to_string(&mut said).await;
    assert!(
        said.starts_with("HTTP/1.1 303 ") && said.contains("set-cookie: __Host-sightline="),
        "{said}"
    );
    let file = world.state.path().join("state/certificate.json");
    assert!(file.exists(), "it is kept");
}

#[tokio::test]
async fn who_stalls_in_tls_or_says_nothing_by_http_2_is_disconnected() {
    let world = hasty();
    let mut stalled = connect(world.shared.ports.https).await;
    stalled.write_all(&[22, 3, 1]).await.unwrap();
    assert_eq!(until_closed(&mut stalled).await, "");
    let mut silent = connect_tls(&world, "h2").await;
    let mut buffer = Vec::new();
    let reading = socket_end(&mut silent, &mut buffer);
    tokio::time::timeout(PATIENCE, reading)
        .await
        .expect("it may say nothing for ever");
    open(&world, 0).await;
}

async fn socket_end(socket: &mut TlsStream<TcpStream>, buffer: &mut Vec<u8>) {
    // However it ends.
    let _ = socket.read_to_end(buffer).await;
}

#[tokio::test]
async fn http_2_is_spoken_with_browsers() {
    let world = World::new();
    let socket = connect_tls(&world, "h2").await;
    assert_eq!(socket.get_ref().1.alpn_protocol(), Some(b"h2".as_slice()));
}
