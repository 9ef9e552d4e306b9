use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Instant;

use http::header::{ACCEPT_ENCODING, CONTENT_TYPE};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::clock::SystemClock;
use media::Clock as _;

/// Long enough for a slow machine, short enough to wait for in a test.
const LIMIT: Duration = Duration::from_millis(400);

fn policy() -> Policy {
    Policy {
        trust: Trust::System,
        may_connect: anywhere,
        redirects: 3,
        timeout: LIMIT,
    }
}

/// A server that does with each connection what it is told; its port.
async fn server<F>(serve: impl Fn(TcpStream) -> F + Send + 'static) -> u16
where
    F: Future<Output = std::io::Result<()>> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            tokio::spawn(serve(socket));
        }
    });
    port
}

/// The head of the next request; empty at the end.
async fn head(socket: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match socket.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => break,
        }
    }
    String::from_utf8(head).unwrap()
}

/// One that answers every request with what is made of its head.
async fn answering(answer: impl Fn(&str) -> Vec<u8> + Clone + Send + Sync + 'static) -> u16 {
    server(move |mut socket| {
        let answer = answer.clone();
        async move {
            loop {
                let head = head(&mut socket).await;
                if head.is_empty() {
                    return Ok(());
                }
                socket.write_all(&answer(&head)).await?;
            }
        }
    })
    .await
}

fn ok(body: &[u8]) -> Vec<u8> {
    let mut answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()).into_bytes();
    answer.extend_from_slice(body);
    answer
}

fn get(url: &str) -> Request {
    Request::get(url.parse().unwrap())
}

async fn text(client: &Client, url: &str) -> Result<String, FetchError> {
    let body = client.send(get(url)).await?.bytes(10_000).await?;
    Ok(String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test]
async fn what_is_asked_and_what_is_answered() {
    let port = answering(|head| ok(head.as_bytes())).await;
    let client = Client::new(policy());
    let mut request = get(&format!("http://me%40here:p%3Aw@127.0.0.1:{port}/a%20b?c=d#e"));
    request.method = Method::POST;
    request.body = Bytes::from_static(b"");
    request
        .headers
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/sdp"));
    let response = client.send(request).await.unwrap();
    assert_eq!((response.status, response.remote.port()), (StatusCode::OK, port));
    assert_eq!(response.url.path(), "/a%20b");
    let said = response.bytes(10_000).await.unwrap();
    let said = String::from_utf8(said.to_vec()).unwrap().to_ascii_lowercase();
    assert!(said.starts_with("post /a%20b?c=d http/1.1\r\n"), "{said}");
    for line in [
        format!("\r\nhost: 127.0.0.1:{port}\r\n"),
        // me@here:p:w
        "\r\nauthorization: basic bwvaagvyztpwonc=\r\n".to_owned(),
        "\r\ncontent-type: application/sdp\r\n".to_owned(),
    ] {
        assert!(said.contains(&line), "{line} in {said}");
    }
}

#[tokio::test]
async fn a_connection_serves_again_and_may_be_closed_in_between() {
    static CONNECTIONS: AtomicUsize = AtomicUsize::new(0);
    let port = server(|mut socket| async move {
        CONNECTIONS.fetch_add(1, Relaxed);
        // Three answers, then it closes without a word.
        for _ in 0..3 {
            head(&mut socket).await;
            socket.write_all(&ok(b"yes")).await?;
        }
        Ok(())
    })
    .await;
    let client = Client::new(policy());
    for _ in 0..9 {
        assert_eq!(
            text(&client, &format!("http://127.0.0.1:{port}/")).await.unwrap(),
            "yes"
        );
    }
    assert_eq!(CONNECTIONS.load(Relaxed), 3);
}

/// What was perhaps done is not asked for twice, so such a request has a connection that nobody closes meanwhile.
#[tokio::test]
async fn a_connection_that_was_used_is_not_given_a_post() {
    static CONNECTIONS: AtomicUsize = AtomicUsize::new(0);
    let port = server(|mut socket| async move {
        CONNECTIONS.fetch_add(1, Relaxed);
        loop {
            if head(&mut socket).await.is_empty() {
                return Ok(());
            }
            socket.write_all(&ok(b"yes")).await?;
        }
    })
    .await;
    let client = Client::new(policy());
    let url = format!("http://127.0.0.1:{port}/");
    let post = || Request {
        method: Method::POST,
        ..get(&url)
    };
    let local = client.connect_to(&url.parse().unwrap()).await.unwrap();
    assert!(local.is_loopback());
    client.send(post()).await.unwrap().bytes(100).await.unwrap();
    assert_eq!(CONNECTIONS.load(Relaxed), 1);
    client.send(post()).await.unwrap().bytes(100).await.unwrap();
    assert_eq!(CONNECTIONS.load(Relaxed), 2);
}

#[tokio::test]
async fn kept_connections_are_few() {
    let client = Client::new(policy());
    for _ in 0..MAX_KEPT + 3 {
        let port = answering(|_| ok(b"yes")).await;
        text(&client, &format!("http://127.0.0.1:{port}/")).await.unwrap();
        assert!(client.kept.lock().len() <= MAX_KEPT);
    }
    assert_eq!(client.kept.lock().len(), MAX_KEPT);
}

#[tokio::test]
async fn packed_bodies_are_unpacked_within_the_limit() {
    let packed = |plain: &[u8]| {
        use std::io::Write as _;
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(plain).unwrap();
        encoder.finish().unwrap()
    };
    let port = answering(move |head| {
        let (encoding, body) = match head.split(' ').nth(1) {
            Some("/list") => ("gzip", packed(b"#EXTM3U")),
            Some("/bomb") => ("gzip", packed(&[0; 20_000])),
            Some("/torn") => ("gzip", packed(b"#EXTM3U")[..12].to_vec()),
            _ => ("br", b"x".to_vec()),
        };
        let length = body.len();
        let head = format!("HTTP/1.1 200 OK\r\nContent-Encoding: {encoding}\r\nContent-Length: {length}\r\n\r\n");
        [head.into_bytes(), body].concat()
    })
    .await;
    let client = Client::new(policy());
    let ask = async |path: &str| {
        let mut request = get(&format!("http://127.0.0.1:{port}/{path}"));
        request
            .headers
            .insert(ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
        client.send(request).await.unwrap().bytes(10_000).await
    };
    assert_eq!(ask("list").await.unwrap(), "#EXTM3U");
    assert!(matches!(
        ask("bomb").await,
        Err(FetchError::TooLarge {
            limit_bytes: 10_000,
            ..
        })
    ));
    assert!(matches!(ask("torn").await, Err(FetchError::Encoding { .. })));
    assert!(matches!(ask("brotli").await, Err(FetchError::Encoding { .. })));
}

#[tokio::test]
async fn heads_without_end_are_given_up() {
    let lines = server(|mut socket| async move {
        socket.write_all(b"HTTP/1.1 200 OK\r\n").await?;
        loop {
            socket.write_all(b"X-More: and more\r\n").await?;
        }
    })
    .await;
    let line = server(|mut socket| async move {
        socket.write_all(b"HTTP/1.1 200 OK\r\nX-Long: ").await?;
        loop {
            socket.write_all(&[b'x'; 1_000]).await?;
        }
    })
    .await;
    let hints = server(|mut socket| async move {
        head(&mut socket).await;
        loop {
            socket.write_all(b"HTTP/1.1 103 Early Hints\r\n\r\n").await?;
        }
    })
    .await;
    let nonsense = server(|mut socket| async move { socket.write_all(b"SSH-2.0-OpenSSH_9.2\r\n").await }).await;
    let client = Client::new(policy());
    for port in [lines, line, nonsense] {
        let error = text(&client, &format!("http://127.0.0.1:{port}/")).await.unwrap_err();
        assert!(matches!(error, FetchError::Http { .. }), "{error}");
        assert!(error.to_string().contains(&format!("127.0.0.1:{port}")), "{error}");
    }
    let begun = SystemClock.now();
    let error = text(&client, &format!("http://127.0.0.1:{hints}/")).await.unwrap_err();
    assert!(
        matches!(error, FetchError::Slow { .. } | FetchError::Http { .. }),
        "{error}"
    );
    assert!(begun.elapsed() < 5 * LIMIT);
}

#[tokio::test]
async fn bodies_without_end_are_given_up() {
    let endless = server(|mut socket| async move {
        head(&mut socket).await;
        socket
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000000\r\n\r\n")
            .await?;
        loop {
            socket.write_all(&[0; 1_000]).await?;
        }
    })
    .await;
    let trickling = server(|mut socket| async move {
        head(&mut socket).await;
        socket
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
            .await?;
        loop {
            socket.write_all(&[0]).await?;
            tokio::time::sleep(LIMIT / 10).await;
        }
    })
    .await;
    let torn = server(|mut socket| async move {
        head(&mut socket).await;
        socket
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nshort")
            .await
    })
    .await;
    let client = Client::new(policy());
    let ask = async |port: u16| text(&client, &format!("http://127.0.0.1:{port}/")).await.unwrap_err();
    assert!(matches!(ask(endless).await, FetchError::TooLarge { .. }));
    let begun: Instant = SystemClock.now();
    assert!(matches!(ask(trickling).await, FetchError::Slow { .. }));
    assert!(begun.elapsed() < 4 * LIMIT);
    assert!(matches!(ask(torn).await, FetchError::Http { .. }));
    // Piece by piece, a slow one may go on for as long as its reader wants.
    let mut response = client
        .send(get(&format!("http://127.0.0.1:{trickling}/")))
        .await
        .unwrap();
    while begun.elapsed() < 4 * LIMIT {
        assert!(response.chunk().await.unwrap().is_some());
    }
}

#[tokio::test]
async fn silence_is_given_up() {
    let port = server(|mut socket| async move {
        head(&mut socket).await;
        std::future::pending().await
    })
    .await;
    let client = Client::new(policy());
    let begun: Instant = SystemClock.now();
    let error = text(&client, &format!("http://127.0.0.1:{port}/")).await.unwrap_err();
    assert!(
        matches!(error, FetchError::Slow { .. }) && begun.elapsed() < 3 * LIMIT,
        "{error}"
    );
    // One that is asked to wait has longer.
    let mut request = get(&format!("http://127.0.0.1:{port}/"));
    request.timeout = Some(2 * LIMIT);
    let begun: Instant = SystemClock.now();
    assert!(client.send(request).await.is_err());
    assert!(begun.elapsed() >= 2 * LIMIT);
}

fn sent_to(status: u16, to: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status} There\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n").into_bytes()
}

#[tokio::test]
async fn redirects_are_followed_and_counted() {
    let port = answering(|head| match head.split(' ').nth(1) {
        Some("/start") => sent_to(307, "next?secret=1"),
        Some("/next?secret=1") => sent_to(302, "/end"),
        Some("/loop") => sent_to(301, "/loop"),
        Some("/file") => sent_to(302, "file:///etc/passwd"),
        Some("/nothing") => sent_to(302, "http://"),
        _ => ok(head.as_bytes()),
    })
    .await;
    let client = Client::new(policy());
    let at = |path: &str| format!("http://u:p@127.0.0.1:{port}/{path}");
    let said = text(&client, &at("start")).await.unwrap();
    // The same server may know what it knew.
    assert!(said.starts_with("GET /end") && said.contains("Basic dTpw"), "{said}");
    let mut request = get(&at("start"));
    request.method = Method::POST;
    let said = client.send(request).await.unwrap().bytes(10_000).await.unwrap();
    assert!(said.starts_with(b"GET /end"), "302 of a POST is to be fetched");
    assert!(matches!(
        text(&client, &at("loop")).await,
        Err(FetchError::Redirects { limit: 3, .. })
    ));
    for wrong in ["file", "nothing"] {
        let error = text(&client, &at(wrong)).await.unwrap_err();
        assert!(matches!(error, FetchError::Redirect { .. }), "{error}");
    }
    let none = Client::new(Policy {
        redirects: 0,
        ..policy()
    });
    assert_eq!(none.send(get(&at("loop"))).await.unwrap().status, 301);
}

#[tokio::test]
async fn another_server_is_not_shown_what_the_first_was() {
    let other = answering(|head| ok(head.as_bytes())).await;
    let port = answering(move |_| sent_to(307, &format!("http://x:y@127.0.0.1:{other}/"))).await;
    let client = Client::new(policy());
    for url in [
        format!("http://u:p@127.0.0.1:{port}/"),
        format!("http://127.0.0.1:{port}/"),
    ] {
        let mut request = get(&url);
        if !url.contains('@') {
            request
                .headers
                .insert(AUTHORIZATION, HeaderValue::from_static("Bearer secret"));
        }
        request.headers.insert(COOKIE, HeaderValue::from_static("secret=1"));
        let said = client.send(request).await.unwrap().bytes(10_000).await.unwrap();
        let said = String::from_utf8(said.to_vec()).unwrap().to_ascii_lowercase();
        assert!(!said.contains("authorization") && !said.contains("cookie"), "{said}");
    }
}

#[tokio::test]
async fn addresses_that_are_not_allowed_are_never_connected_to() {
    static CONNECTIONS: AtomicUsize = AtomicUsize::new(0);
    let inside = server(|_| async move {
        CONNECTIONS.fetch_add(1, Relaxed);
        Ok(())
    })
    .await;
    let strict = Client::new(Policy {
        may_connect: public,
        ..policy()
    });
    // As names, numbers, and numbers in disguise.
    for host in [
        "localhost",
        "127.0.0.1",
        "2130706433",
        "0x7f.1",
        "[::ffff:127.0.0.1]",
        "0",
    ] {
        let error = text(&strict, &format!("http://{host}:{inside}/")).await.unwrap_err();
        assert!(matches!(error, FetchError::Forbidden { .. }), "{host}: {error}");
    }
    // By a redirect of one that is allowed.
    let outside = answering(move |_| sent_to(302, &format!("http://127.0.0.2:{inside}/"))).await;
    let client = Client::new(Policy {
        may_connect: |address| address != std::net::Ipv4Addr::new(127, 0, 0, 2),
        ..policy()
    });
    let error = text(&client, &format!("http://127.0.0.1:{outside}/"))
        .await
        .unwrap_err();
    assert!(matches!(error, FetchError::Forbidden { .. }), "{error}");
    assert_eq!(CONNECTIONS.load(Relaxed), 0);
}

#[tokio::test]
async fn errors_say_whose_fault_it_is_and_no_credential() {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = closed.local_addr().unwrap().port();
    drop(closed);
    let client = Client::new(policy());
    let ask = async |url: &str| text(&client, url).await.unwrap_err();
    let error = ask(&format!("http://u:canary@127.0.0.1:{port}/?token=canary")).await;
    assert!(matches!(error, FetchError::Connect { .. }), "{error}");
    assert!(!error.to_string().contains("canary"), "{error}");
    let error = ask("http://u:canary@nowhere.invalid/").await;
    assert!(
        matches!(error, FetchError::Resolve { .. } | FetchError::Slow { .. }),
        "{error}"
    );
    assert!(!error.to_string().contains("canary"), "{error}");
    let error = ask("ftp://u:canary@127.0.0.1/?token=canary").await;
    assert!(matches!(error, FetchError::Url(_)), "{error}");
    assert!(!error.to_string().contains("canary"), "{error}");
}

/// One that answers by TLS, with a certificate of its own making; its port and fingerprint.
async fn by_tls() -> (u16, Fingerprint) {
    use rustls::pki_types::PrivatePkcs8KeyDer;
    use sha2::Digest as _;

    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let certificate = made.cert.der().clone();
    let fingerprint = Fingerprint(sha2::Sha256::digest(&certificate).into());
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key.into())
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let port = server(move |socket| {
        let acceptor = acceptor.clone();
        async move {
            let mut socket = acceptor.accept(socket).await?;
            let mut seen = Vec::new();
            while !seen.ends_with(b"\r\n\r\n") {
                seen.push(socket.read_u8().await?);
            }
            let answer = match seen.starts_with(b"GET /down") {
                true => sent_to(302, "http://127.0.0.1:1/"),
                false => ok(b"secret"),
            };
            socket.write_all(&answer).await?;
            socket.shutdown().await
        }
    })
    .await;
    (port, fingerprint)
}

#[tokio::test]
async fn by_tls_with_a_certificate_that_is_believed_alone() {
    let (port, fingerprint) = by_tls().await;
    let url = format!("https://127.0.0.1:{port}/");
    let error = text(&Client::new(policy()), &url).await.unwrap_err();
    assert!(
        matches!(&error, FetchError::Certificate { fingerprint: shown, .. } if *shown == fingerprint),
        "{error}"
    );
    let wrong = Trust::Fingerprint(Fingerprint([0; 32]));
    let client = Client::new(Policy {
        trust: wrong,
        ..policy()
    });
    assert!(matches!(text(&client, &url).await, Err(FetchError::Certificate { .. })));
    let right = Trust::Fingerprint(fingerprint);
    let client = Client::new(Policy {
        trust: right,
        ..policy()
    });
    assert_eq!(text(&client, &url).await.unwrap(), "secret");
    // From there not back to where everybody reads along.
    let error = text(&client, &format!("{url}down")).await.unwrap_err();
    assert!(matches!(error, FetchError::Redirect { .. }), "{error}");
    // And one that does not speak it.
    let clear = answering(|_| ok(b"")).await;
    let error = text(&client, &format!("https://127.0.0.1:{clear}/")).await.unwrap_err();
    assert!(
        matches!(error, FetchError::Tls { .. } | FetchError::Slow { .. }),
        "{error}"
    );
}
