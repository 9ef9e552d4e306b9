use super::*;
use proptest::prelude::*;
use rstest::rstest;

fn decode(bytes: &[u8]) -> Result<Vec<Item>, Fault> {
    let mut decoder = Decoder::new(Limits::default());
    decoder.push(bytes);
    let mut items = Vec::new();
    while let Some(item) = decoder.next_item()? {
        items.push(item);
    }
    Ok(items)
}

fn one(bytes: &[u8]) -> Item {
    let mut items = decode(bytes).unwrap();
    assert_eq!(items.len(), 1, "{items:?}");
    items.remove(0)
}

fn request(bytes: &[u8]) -> Request {
    match one(bytes) {
        Item::Request(request) => request,
        other => panic!("{other:?}"),
    }
}

fn response(bytes: &[u8]) -> Response {
    match one(bytes) {
        Item::Response(response) => response,
        other => panic!("{other:?}"),
    }
}

#[test]
fn odd_requests_are_understood() {
    let odd =
        request(b"\r\n\noptions  rtsp://h/a b \tRTSP/1.0 \nCSEQ :  7\t\nnonsense\nX: a,\n  b\r\n\tc\nY: \xe9\n: z\n\n");
    assert_eq!(
        (&odd.method, odd.uri.as_str(), odd.version),
        (&Method::Options, "rtsp://h/a b", Some((1, 0)))
    );
    let headers: Vec<_> = odd.headers.iter().collect();
    assert_eq!(headers, [("CSEQ", "7"), ("X", "a, b c"), ("Y", "\u{fffd}"), ("", "z")]);
}

#[rstest]
#[case(b"OPTIONS * RTSP/2.0\r\n\r\n", Some((2, 0)))]
#[case(b"OPTIONS * rtsp/1.0\r\n\r\n", Some((1, 0)))]
#[case(b"OPTIONS * RTSP/999.0\r\n\r\n", None)]
#[case(b"OPTIONS * RTSP/\r\n\r\n", None)]
#[case(b"OPTIONS *\r\n\r\n", None)]
#[case(b"OPTIONS \r\n\r\n", None)]
fn versions(#[case] bytes: &[u8], #[case] version: Option<(u8, u8)>) {
    assert_eq!(request(bytes).version, version);
}

#[rstest]
#[case(b"RTSP/1.0 200 OK\r\n\r\n", 200, "OK")]
#[case(b"RTSP/1.0 200\r\n\r\n", 200, "")]
#[case(b"rtsp/1.0  404   Not  Found \n\n", 404, "Not  Found")]
#[case(b"RTSP/1.0 551 \xff\r\n\r\n", 551, "\u{fffd}")]
fn odd_responses_are_understood(#[case] bytes: &[u8], #[case] status: u16, #[case] reason: &str) {
    let response = response(bytes);
    assert_eq!((response.status, response.reason.as_str()), (Status(status), reason));
}

#[test]
fn a_status_that_is_none_is_garbage() {
    for line in ["RTSP/1.0 2000 OK", "RTSP/1.0 x OK", "RTSP/1.0", "RTSP/1.0 99 OK"] {
        assert_eq!(decode(format!("{line}\r\n\r\n").as_bytes()), Ok(vec![]), "{line}");
    }
}

#[rstest]
#[case::length("Content-Length: +1", "Content-Length is \"+1\"")]
#[case::lengths("Content-Length: 1\r\ncontent-length: 2", "Content-Length is \"2\"")]
#[case::empty("Content-Length:", "Content-Length is \"\"")]
fn where_the_next_message_begins_must_be_certain(#[case] header: &str, #[case] expected: &str) {
    let fault = decode(format!("OPTIONS * RTSP/1.0\r\n{header}\r\n\r\n").as_bytes()).unwrap_err();
    assert!(fault.to_string().contains(expected), "{fault}");
}

#[test]
fn the_same_length_twice_is_one_length() {
    let request = request(b"OPTIONS * RTSP/1.0\r\nContent-Length: 2\r\ncontent-length: 2\r\n\r\nab");
    assert_eq!(request.body, "ab");
}

#[test]
fn first_bytes_are_shown_and_safe_to_show() {
    let mut bytes = b"\x1b[31m\"".to_vec();
    bytes.resize(5000, 0xff);
    let fault = decode(&bytes).unwrap_err();
    let text = fault.to_string();
    assert!(text.contains(r#"the first of them "\x1b[31m\""#), "{text}");
    assert!(text.chars().all(|c| c.is_ascii_graphic() || c == ' '), "{text}");
}

#[test]
fn frames_share_the_memory_of_the_input() {
    let mut decoder = Decoder::new(Limits::default());
    decoder.push(b"$\x00\x00\x03abc$\x01\x00\x02de");
    let range = decoder.buffer.as_ptr_range();
    for (expected, number) in [("abc", 0), ("de", 1)] {
        match decoder.next_item() {
            Ok(Some(Item::Frame { channel, payload })) => {
                assert_eq!((channel, &*payload), (number, expected.as_bytes()));
                assert!(range.contains(&payload.as_ptr()));
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn nothing_is_kept_between_items() {
    let mut decoder = Decoder::new(Limits::default());
    decoder.push(b"$\x00\x00\x01a\r\n");
    assert!(decoder.is_mid_item());
    while decoder.next_item().unwrap().is_some() {}
    assert!(!decoder.is_mid_item());
    assert_eq!(decoder.buffer.capacity(), 0);
}

#[test]
fn a_head_in_small_pieces_is_searched_once() {
    let mut decoder = Decoder::new(Limits::default());
    decoder.push(b"OPTIONS * RTSP/1.0\r\nA: ");
    let mut before = 0;
    for _ in 0..1000 {
        decoder.push(b"bbbbbbbbbb");
        assert_eq!(decoder.next_item(), Ok(None));
        assert_eq!(decoder.scan.position, decoder.buffer.len());
        assert_eq!(decoder.scan.position - before, if before == 0 { 33 } else { 10 });
        before = decoder.scan.position;
    }
}

fn text() -> impl Strategy<Value = String> {
    "[a-zA-Z0-9/;=,. -]{0,20}".prop_map(|text| text.trim().to_owned())
}

proptest! {
    #[test]
    fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300), dense in "(RTSP/1.0|OPTIONS|[$ :\r\n0-9*])*") {
        let _ = decode(&bytes);
        let _ = decode(dense.as_bytes());
        let _ = decode(&[dense.as_bytes(), &bytes].concat());
    }

    /// What we write, another implementation reads as we meant it, and so do we.
    #[test]
    fn what_is_written_is_read(
        names in proptest::collection::vec(("[A-Z][a-z]{1,8}-[0-9]", text()), 0..6),
        body in proptest::collection::vec(any::<u8>(), 0..40), status in 100_u16..600, reason in text(),
    ) {
        let mut ours = Request::new(Method::Announce, "rtsp://host:8554/s?a=b");
        let mut theirs = Response::new(Status(status));
        theirs.reason = reason;
        for (name, value) in names.iter().enumerate().map(|(number, (name, value))| (format!("{name}{number}"), value)) {
            ours.headers.push(name.as_str(), value.as_str());
            theirs.headers.push(name.as_str(), value.as_str());
        }
        ours.body = body.clone().into();
        theirs.body = body.into();
        let mut bytes = BytesMut::new();
        ours.write(&mut bytes);
        let (oracle, length) = rtsp_types::Message::<Vec<u8>>::parse(&bytes).unwrap();
        prop_assert_eq!(length, bytes.len());
        let rtsp_types::Message::Request(oracle) = oracle else { panic!("{oracle:?}") };
        prop_assert_eq!(oracle.method(), rtsp_types::Method::Announce);
        prop_assert_eq!(oracle.body(), &ours.body);
        for (name, value) in ours.headers.iter() {
            let name = rtsp_types::HeaderName::try_from(name.to_owned()).unwrap();
            prop_assert_eq!(oracle.header(&name).map(|value| value.as_str()), Some(value));
        }
        theirs.write(&mut bytes);
        let (oracle, _) = rtsp_types::Message::<Vec<u8>>::parse(&bytes[length..]).unwrap();
        let rtsp_types::Message::Response(oracle) = oracle else { panic!("{oracle:?}") };
        prop_assert_eq!(u16::from(oracle.status()), status);
        prop_assert_eq!(oracle.reason_phrase(), theirs.reason.as_str());

        let content_length = |headers: &mut Headers, body: &Bytes| {
            if !body.is_empty() {
                headers.push("Content-Length", body.len().to_string());
            }
        };
        content_length(&mut ours.headers, &ours.body);
        content_length(&mut theirs.headers, &theirs.body);
        prop_assert_eq!(decode(&bytes).unwrap(), [Item::Request(ours), Item::Response(theirs)]);
    }

    /// After any garbage that passes no limit, the next message is found.
    #[test]
    fn garbage_is_left_behind(garbage in proptest::collection::vec(any::<u8>(), 0..200)) {
        // A line feed ends what may look like the begin of a line, and a `$` could swallow what follows as its payload.
        let garbage: Vec<u8> = garbage.into_iter().filter(|&byte| byte != b'$').collect();
        let mut decoder = Decoder::new(Limits::default());
        decoder.push(&[b"RTSP/1.0 200 OK\r\n\r\n\xff", &garbage[..], b"\n\xffRTSP/1.0 201 OK\r\n\r\n"].concat());
        let mut last = None;
        while let Some(item) = decoder.next_item().unwrap() {
            last = Some(item);
        }
        prop_assert!(matches!(last, Some(Item::Response(Response { status: Status(201), .. }))), "{last:?}");
    }
}
