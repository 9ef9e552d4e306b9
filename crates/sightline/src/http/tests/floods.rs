//! What is sent to break a server, not to ask it: lengths that say two things, floods of frames by HTTP/2, paths that lead out of the house. Over loopback.

use tokio::io::{AsyncRead, AsyncWrite};

use super::limits::{connect_tls, hasty};
use super::*;

const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
/// What a flood may take until its connection ends, in bytes: many times what any honest client sends before it is answered.
const FLOOD: usize = 64 << 20;

/// A frame of HTTP/2 (RFC 9113 §4.1).
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// The fields of `GET /healthz`, as HPACK writes them without a table (RFC 7541 §6).
fn healthz() -> Vec<u8> {
    [&[0x82, 0x87, 0x04, 8][..], b"/healthz", &[0x01, 1, b'a']].concat()
}

/// A field that no table remembers.
fn field(name: &str, value: &str) -> Vec<u8> {
    let mut field = vec![0, u8::try_from(name.len()).unwrap()];
    field.extend(name.bytes());
    // RFC 7541 §5.1, a number of seven bits and more.
    match value.len() {
        length @ ..127 => field.push(length as u8),
        length => {
            field.push(127);
            let mut rest = length - 127;
            while rest >= 128 {
                field.push((rest % 128) as u8 | 128);
                rest /= 128;
            }
            field.push(rest as u8);
        }
    }
    field.extend(value.bytes());
    field
}

/// Begins a connection by HTTP/2.
async fn begun(world: &World) -> impl AsyncRead + AsyncWrite + Unpin + use<> {
    let mut socket = connect_tls(world, "h2").await;
    socket.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
    socket.write_all(&frame(SETTINGS, 0, 0, &[])).await.unwrap();
    socket
}

/// Sends this again and again, and reads what comes: the code of `GOAWAY`, if one came before the end.
async fn flood(socket: impl AsyncRead + AsyncWrite + Unpin, mut next: impl FnMut(u32) -> Vec<u8>) -> Option<u32> {
    let (mut from, mut to) = tokio::io::split(socket);
    let sending = async {
        let (mut sent, mut round) = (0, 0);
        while sent < FLOOD {
            let bytes = next(round);
            if to.write_all(&bytes).await.is_err() {
                return;
            }
            (sent, round) = (sent + bytes.len(), round + 1);
        }
        panic!("{sent} bytes were borne");
    };
    let reading = async {
        let (mut head, mut code) = ([0; 9], None);
        while from.read_exact(&mut head).await.is_ok() {
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
            let mut payload = vec![0; length as usize];
            if from.read_exact(&mut payload).await.is_err() {
                break;
            }
            if head[3] == GOAWAY {
                code = payload[4..8].try_into().ok().map(u32::from_be_bytes);
            }
        }
        code
    };
    let both = async { tokio::join!(sending, reading).1 };
    tokio::time::timeout(PATIENCE, both)
        .await
        .expect("it is borne for ever")
}

/// The flood is answered with an error that ends its connection (RFC 9113 §5.4.1), and nobody else's.
async fn ends_its_connection(world: &World, flood: impl Future<Output = Option<u32>>) {
    assert!(flood.await.is_some_and(|code| code != 0));
    others_are_served(world).await;
}

async fn others_are_served(world: &World) {
    let mut socket = world.connect().await;
    let request = b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let said = exchange(&mut socket, request).await;
    assert!(said.starts_with("HTTP/1.1 200 "), "{said}");
}

/// A server behind a proxy that reads a length otherwise than the proxy answers requests that nobody let through (RFC 9112 §11.2).
#[tokio::test]
async fn a_body_has_one_length() {
    let world = hasty();
    let smuggled = "GET /healthz HTTP/1.1\r\nHost: smuggled\r\n\r\n";
    let lengths = [
        "Content-Length: 5\r\nContent-Length: 6\r\n",
        "Content-Length: 5, 6\r\n",
        "Content-Length: +5\r\n",
        "Content-Length: 0x5\r\n",
        "Content-Length : 5\r\n",
        "Content-Length: 18446744073709551621\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Transfer-Encoding: chunked, identity\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Content-Length: 5\r\n Transfer-Encoding: chunked\r\n",
        "X-Nothing: a\0b\r\nContent-Length: 5\r\n",
    ];
    for length in lengths {
        let mut socket = world.connect().await;
        let head = "POST /sign-in HTTP/1.1\r\nHost: a\r\nContent-Type: application/x-www-form-urlencoded\r\n";
        let request = format!("{head}{length}\r\n0\r\n\r\n{smuggled}");
        let said = exchange(&mut socket, request.as_bytes()).await;
        assert!(
            said.matches("HTTP/1.1 ").count() <= 1 && !said.contains("HTTP/1.1 200 "),
            "{length:?}: {said}"
        );
    }
    others_are_served(&world).await;
}

#[tokio::test]
async fn chunks_have_a_size() {
    let world = hasty();
    let extension = format!("1;{}\r\na\r\n", "x".repeat(1 << 20));
    let trailers = format!("0\r\n{}", "X-A: b\r\n".repeat(100_000));
    let ones = "1\r\na\r\n".repeat(100_000);
    for body in [
        "ffffffffffffffffff\r\na",
        "-1\r\na",
        "\r\n\r\n",
        &extension,
        &trailers,
        &ones,
    ] {
        let mut socket = world.connect().await;
        let head = "POST /sign-in HTTP/1.1\r\nHost: a\r\nContent-Type: application/x-www-form-urlencoded\r\nTransfer-Encoding: chunked\r\n\r\n";
        // What it did not read may come back as a reset.
        let _ = socket.write_all(format!("{head}{body}").as_bytes()).await;
        let said = until_closed(&mut socket).await;
        assert!(
            !said.contains("HTTP/1.1 2") && !said.contains("HTTP/1.1 3"),
            "{body:.20}: {said}"
        );
    }
    others_are_served(&world).await;
}

/// CVE-2024-27316 and its kin: fields that never end.
#[tokio::test]
async fn fields_that_go_on_for_ever_end_the_connection() {
    let world = hasty();
    let socket = begun(&world).await;
    let more = field("x-more", &"x".repeat(16_000));
    let code = flood(socket, |round| match round {
        0 => frame(HEADERS, END_STREAM, 1, &healthz()),
        _ => frame(CONTINUATION, 0, 1, &more),
    });
    ends_its_connection(&world, code).await;
}

#[tokio::test]
async fn empty_continuations_end_the_connection() {
    let world = hasty();
    let socket = begun(&world).await;
    let empty = frame(CONTINUATION, 0, 1, &[]).repeat(1_000);
    let code = flood(socket, |round| match round {
        0 => frame(HEADERS, END_STREAM, 1, &healthz()),
        _ => empty.clone(),
    });
    ends_its_connection(&world, code).await;
}

/// CVE-2023-44487: requests that are taken back at once, as fast as they come.
#[tokio::test]
async fn requests_that_are_taken_back_at_once_end_the_connection() {
    let world = hasty();
    let socket = begun(&world).await;
    let code = flood(socket, |round| {
        let stream = round * 2 + 1;
        let asked = frame(HEADERS, END_STREAM | END_HEADERS, stream, &healthz());
        [asked, frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes())].concat()
    });
    ends_its_connection(&world, code).await;
}

/// Requests that break the protocol, so that it is us who take them back.
#[tokio::test]
async fn requests_that_we_must_take_back_end_the_connection() {
    let world = hasty();
    let socket = begun(&world).await;
    let code = flood(socket, |round| {
        let stream = round * 2 + 1;
        let asked = frame(HEADERS, END_STREAM | END_HEADERS, stream, &healthz());
        // RFC 9113 §6.9: a window that grows by nothing.
        [asked, frame(WINDOW_UPDATE, 0, stream, &[0; 4])].concat()
    });
    ends_its_connection(&world, code).await;
}

/// Each wants an answer, and nobody takes one.
#[tokio::test]
async fn pings_and_settings_whose_answers_nobody_reads_end_the_connection() {
    let world = hasty();
    for one in [frame(PING, 0, 0, &[7; 8]), frame(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 9])] {
        let mut socket = begun(&world).await;
        let many = one.repeat(1_000);
        let sending = async {
            let mut sent = 0;
            while socket.write_all(&many).await.is_ok() {
                sent += many.len();
                assert!(sent < FLOOD, "{sent} bytes were borne");
            }
        };
        tokio::time::timeout(PATIENCE, sending)
            .await
            .expect("it is borne for ever");
        others_are_served(&world).await;
    }
}

#[tokio::test]
async fn large_fields_by_http_2_are_refused() {
    let world = hasty();
    let mut socket = begun(&world).await;
    // A table of 4 KiB, written once and named a thousand times: 4 MB of fields in 1 KB.
    let mut fields = healthz();
    fields.extend([0x40, 1, b'x']);
    fields.extend(field("", &"y".repeat(3_900)).split_off(2));
    fields.extend([0xbe; 1_000]);
    let asked = frame(HEADERS, END_STREAM | END_HEADERS, 1, &fields);
    socket.write_all(&asked).await.unwrap();
    let mut said = Vec::new();
    let reading = socket.read_to_end(&mut said);
    // However it ends.
    let _ = tokio::time::timeout(PATIENCE, reading).await.expect("it is not closed");
    // Indexed field 8 of the table that everybody has is `:status: 200`.
    let mut rest = &said[..];
    while let Some((head, more)) = rest.split_first_chunk::<9>() {
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        assert!(head[3] != HEADERS || more[0] != 0x88, "it was answered");
        rest = more.get(length..).unwrap_or_default();
    }
    others_are_served(&world).await;
}

/// Everything that is shown is part of the program, so no path may lead to a file.
#[tokio::test]
async fn no_path_leads_to_a_file() {
    let world = World::new();
    let ports = [
        world.shared.ports.http,
        world.shared.ports.hls,
        world.shared.ports.webrtc,
    ];
    let ways = [
        "/../../../../etc/passwd",
        "/assets/../../../../etc/passwd",
        "/assets/..%2f..%2f..%2f..%2fetc%2fpasswd",
        "/assets/%2e%2e/%2e%2e/%2e%2e/etc/passwd",
        "/assets/..%5c..%5cetc%5cpasswd",
        "/assets/..%252f..%252fetc%252fpasswd",
        "/assets//etc/passwd",
        "/assets/%00/etc/passwd",
        "/assets/pages.css%00.html",
        "/live/../../etc/passwd/",
        "/live/..%2f..%2fetc%2fpasswd/index.m3u8",
        "/cam/..%2f..%2f..%2fetc%2fpasswd",
        "/cam/%2e%2e/whep",
        "/.well-known/acme-challenge/..%2f..%2fetc%2fpasswd",
        "/api/v1/streams/..%2f..%2fsystem",
        "//etc/passwd",
        "/\\..\\..\\etc\\passwd",
    ];
    for port in ports {
        for way in ways {
            let mut socket = connect(port).await;
            let request =
                format!("GET {way} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer a-token\r\nConnection: close\r\n\r\n");
            let said = exchange(&mut socket, request.as_bytes()).await;
            assert!(
                said.starts_with("HTTP/1.1 4") && !said.contains("root:"),
                "{way} on {port}: {said}"
            );
        }
    }
}
