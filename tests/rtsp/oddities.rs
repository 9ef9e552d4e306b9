//! What cameras do that no standard says: one that is scripted here, read by our client and by retina, another reader of cameras. Both must see every
//! access unit that was sent; where retina refuses what we take, the table says so.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use media::{Format, WallTime};
use protocol::rtp::{Framing, Packetizer, PacketizerConfig};
use retina::client::{PlayOptions, Session, SessionOptions, SetupOptions};
use retina::codec::CodecItem;
use sightline::rtsp::client::{Player, Settings, Transport, Trust, Url};
use testkit::stream::{Settings as VideoSettings, Video};

use super::support::PATIENCE;

/// Access units that a camera sends.
const UNITS: usize = 25;
const SPROP: &str = "SPROP";

/// What a camera says and sends.
#[derive(Clone)]
pub(super) struct Oddity {
    /// Header fields of the answer to DESCRIBE; URL stands for the stream's.
    pub(super) describe: &'static str,
    /// The description; SPROP stands for the parameter sets.
    pub(super) sdp: String,
    /// How the URL of SETUP must end, a slash left out.
    pub(super) set_up: &'static str,
    /// The answer's transport.
    pub(super) transport: &'static str,
    pub(super) channel: u8,
    pub(super) login: Login,
    /// What stands between two `$` frames, again and again.
    pub(super) between: &'static str,
    /// Bytes of one write.
    pub(super) cut: usize,
    /// What is added to timestamps from the middle on.
    pub(super) jump: u32,
    /// Other parameter sets from the middle on.
    pub(super) resize: bool,
    /// What retina says where it does not take it.
    pub(super) retina: Option<&'static str>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Login {
    None,
    Basic,
    /// MD5 and SHA-256 together.
    BothDigests,
    /// The nonce is too old after DESCRIBE.
    Stale,
}

fn sdp(control: &str, session_control: &str, fmtp: &str) -> String {
    format!(
        "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=camera\r\nt=0 0\r\n{session_control}m=video 0 RTP/AVP 96\r\nc=IN IP4 0.0.0.0\r\n\
         a=rtpmap:96 H264/90000\r\n{fmtp}{control}"
    )
}

const FMTP: &str = "a=fmtp:96 packetization-mode=1;profile-level-id=42e01f;sprop-parameter-sets=SPROP\r\n";

impl Default for Oddity {
    fn default() -> Self {
        Self {
            describe: "Content-Base: URL/\r\n",
            sdp: sdp("a=control:trackID=1\r\n", "a=control:*\r\n", FMTP),
            set_up: "/stream/trackID=1",
            transport: "RTP/AVP/TCP;unicast;interleaved=0-1",
            channel: 0,
            login: Login::None,
            between: "",
            cut: 1_400,
            jump: 0,
            resize: false,
            retina: None,
        }
    }
}

/// The pictures, and the bytes in which they are sent.
pub(super) fn film(oddity: &Oddity) -> (Vec<Vec<u8>>, Vec<u8>, String) {
    let mut video = Video::new(VideoSettings {
        gop_frames: 8,
        ..VideoSettings::default()
    });
    let config = PacketizerConfig {
        payload_type: 96,
        ssrc: 0x1234_5678,
        first_sequence: 65_530,
        timestamp_offset: 0xffff_f000,
        max_packet_bytes: 1_400,
    };
    let sprop = sprop(video.format());
    let mut packetizer = Packetizer::new(video.format(), config);
    let (mut units, mut bytes, mut sequence) = (Vec::new(), Vec::new(), 65_530_u16);
    for number in 0..UNITS {
        let is_second_half = number >= UNITS / 2;
        if oddity.resize && number == UNITS / 2 {
            video.resize(320, 240);
            packetizer = Packetizer::new(video.format(), config);
        }
        let frame = video.next_frame(WallTime::from_unix_micros(0));
        let timestamp = packetizer
            .timestamp(frame.time)
            .wrapping_add(if is_second_half { oddity.jump } else { 0 });
        let framing = Framing::Interleaved {
            channel: oddity.channel,
        };
        let ranges = packetizer.render(&frame, sequence, timestamp, framing, &mut bytes);
        sequence = sequence.wrapping_add(ranges.len());
        bytes.extend_from_slice(oddity.between.as_bytes());
        units.push(slices(&frame.data));
    }
    (units, bytes, sprop)
}

fn sprop(format: &Format) -> String {
    use base64::Engine as _;
    let Format::H264(format) = format else { unreachable!() };
    let encode = |set: &bytes::Bytes| base64::engine::general_purpose::STANDARD.encode(set);
    let sets: Vec<String> = format.parameter_sets().map(encode).collect();
    sets.join(",")
}

/// The NAL units of a picture alone, from units with their length in front.
fn slices(mut data: &[u8]) -> Vec<u8> {
    let mut slices = Vec::new();
    while let Some((length, rest)) = data.split_first_chunk::<4>() {
        let (unit, rest) = rest.split_at(u32::from_be_bytes(*length) as usize);
        if matches!(unit[0] & 0x1f, 1 | 5) {
            slices.extend_from_slice(unit);
        }
        data = rest;
    }
    slices
}

/// Serves the oddity to everyone who connects, and gives its URL.
pub(super) fn camera(oddity: &Oddity, media: Vec<u8>, sprop: &str) -> String {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = format!("127.0.0.1:{}", listener.local_addr().unwrap().port());
    let url = format!("rtsp://{address}/stream");
    let mut oddity = oddity.clone();
    oddity.sdp = oddity.sdp.replace(SPROP, sprop).replace("HOST", &address);
    let (media, given) = (Arc::new(media), url.clone());
    std::thread::spawn(move || {
        for socket in listener.incoming().map_while(Result::ok) {
            let (oddity, media, url) = (oddity.clone(), Arc::clone(&media), given.clone());
            std::thread::spawn(move || serve(socket, &oddity, &media, &url));
        }
    });
    url
}

/// One connection, until the other end closes it.
fn serve(mut socket: TcpStream, oddity: &Oddity, media: &[u8], url: &str) -> Option<()> {
    let mut said = String::new();
    loop {
        let Some(end) = said.find("\r\n\r\n") else {
            let mut bytes = [0; 4_096];
            let length = socket.read(&mut bytes).ok().filter(|&length| length > 0)?;
            said.push_str(&String::from_utf8_lossy(&bytes[..length]));
            continue;
        };
        let request: String = said.drain(..end + 4).collect();
        // Answers to what stands between our frames.
        if request.starts_with("RTSP/") {
            continue;
        }
        let cseq = request.lines().find_map(|line| line.strip_prefix("CSeq: "))?;
        let (status, more) = answer(&request, oddity, url);
        let answer = format!("RTSP/1.0 {status}\r\nCSeq: {cseq}\r\n{more}");
        socket.write_all(answer.as_bytes()).ok()?;
        if request.starts_with("PLAY") && status.starts_with("200") {
            for piece in media.chunks(oddity.cut) {
                socket.write_all(piece).ok()?;
            }
        }
    }
}

fn answer(request: &str, oddity: &Oddity, url: &str) -> (&'static str, String) {
    let (method, uri) = request.split_once(' ').unwrap();
    let uri = uri.split(' ').next().unwrap();
    if method != "OPTIONS"
        && let Some(challenge) = challenge(request, method, oddity.login)
    {
        return ("401 Unauthorized", format!("{challenge}\r\n"));
    }
    match method {
        "OPTIONS" => (
            "200 OK",
            "Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN\r\n\r\n".to_owned(),
        ),
        "DESCRIBE" => {
            let (headers, length) = (oddity.describe.replace("URL", url), oddity.sdp.len());
            let head = format!("{headers}Content-Type: application/sdp\r\nContent-Length: {length}\r\n\r\n");
            ("200 OK", head + &oddity.sdp)
        }
        "SETUP" if !uri.trim_end_matches('/').ends_with(oddity.set_up) => ("404 Not Found", "\r\n".to_owned()),
        "SETUP" => (
            "200 OK",
            format!("Session: 77;timeout=60\r\nTransport: {}\r\n\r\n", oddity.transport),
        ),
        _ => ("200 OK", "Session: 77\r\n\r\n".to_owned()),
    }
}

/// What is asked for, where a request does not show it.
fn challenge(request: &str, method: &str, login: Login) -> Option<String> {
    let shown = request.lines().find_map(|line| line.strip_prefix("Authorization: "));
    let digest =
        |nonce: &str, more: &str| format!("WWW-Authenticate: Digest realm=\"cam\", nonce=\"{nonce}\"{more}\r\n");
    match login {
        Login::None => None,
        // user:pass
        Login::Basic => {
            (shown != Some("Basic dXNlcjpwYXNz")).then(|| "WWW-Authenticate: Basic realm=\"cam\"\r\n".to_owned())
        }
        Login::BothDigests => {
            let is_there = shown.is_some_and(|shown| shown.starts_with("Digest ") && shown.contains("\"one\""));
            let both = digest("one", ", algorithm=MD5") + &digest("one", ", algorithm=SHA-256");
            (!is_there).then_some(both)
        }
        Login::Stale => {
            let nonce = if method == "DESCRIBE" { "one" } else { "two" };
            let is_there = shown.is_some_and(|shown| shown.contains(&format!("nonce=\"{nonce}\"")));
            let stale = if shown.is_some() { ", stale=true" } else { "" };
            (!is_there).then(|| digest(nonce, stale))
        }
    }
}

fn random() -> u64 {
    fastrand::u64(..)
}

async fn ours(url: &str) -> Result<Vec<Vec<u8>>, String> {
    let settings = Settings {
        transport: Transport::Tcp,
        login: None,
        trust: Trust::default(),
        fingerprint_setting: "source_fingerprint",
        connect_timeout: PATIENCE,
        clock: Arc::new(sightline::clock::SystemClock),
        random,
    };
    let url: Url = url.replace("rtsp://", "rtsp://user:pass@").parse().unwrap();
    let mut player = Player::connect(url, settings)
        .await
        .map_err(|error| error.to_string())?;
    let mut units = Vec::new();
    while units.len() < UNITS {
        let received = player.next().await.map_err(|error| error.to_string())?;
        assert!(received.frame.format.dimensions().is_some_and(|(width, _)| width > 0));
        units.push(slices(&received.frame.data));
    }
    Ok(units)
}

async fn retinas(url: &str) -> Result<Vec<Vec<u8>>, String> {
    let text = |error: retina::Error| error.to_string();
    let login = retina::client::Credentials {
        username: "user".to_owned(),
        password: "pass".to_owned(),
    };
    let options = SessionOptions::default().creds(Some(login));
    let mut session = Session::describe(url.parse().unwrap(), options).await.map_err(text)?;
    session.setup(0, SetupOptions::default()).await.map_err(text)?;
    let playing = session.play(PlayOptions::default()).await.map_err(text)?;
    let mut items = playing.demuxed().map_err(text)?;
    let mut units = Vec::new();
    while units.len() < UNITS {
        match items.next().await.ok_or("it ended")?.map_err(text)? {
            CodecItem::VideoFrame(frame) => units.push(slices(frame.data())),
            _ => continue,
        }
    }
    Ok(units)
}

async fn within<T>(limit: Duration, reading: impl Future<Output = Result<T, String>>) -> Result<T, String> {
    tokio::time::timeout(limit, reading)
        .await
        .unwrap_or_else(|_| Err("nothing more comes".to_owned()))
}

fn both_read(oddity: &Oddity) {
    let (sent, media, sprop) = film(oddity);
    let url = camera(oddity, media, &sprop);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let read = within(PATIENCE, ours(&url))
            .await
            .unwrap_or_else(|why| panic!("we: {why}"));
        assert!(read == sent, "{} of {} units, or others", read.len(), sent.len());
        // What it does not answer is waited for in vain.
        let limit = oddity.retina.map_or(PATIENCE, |_| Duration::from_secs(3));
        match (within(limit, retinas(&url)).await, oddity.retina) {
            (Ok(read), None) => assert!(read == sent, "retina reads others"),
            (Err(why), Some(expected)) => assert!(why.contains(expected), "retina: {why}"),
            (Ok(_), Some(_)) => panic!("retina takes it"),
            (Err(why), None) => panic!("retina: {why}"),
        }
    });
}

macro_rules! oddities {
    ($($name:ident { $($field:ident: $value:expr),* $(,)? })*) => {$(
        #[test]
        fn $name() {
            #[allow(clippy::needless_update, reason = "one has no oddity at all")]
            both_read(&Oddity { $($field: $value,)* ..Oddity::default() });
        }
    )*};
}

oddities! {
    nothing_odd {}
    no_base_at_all { describe: "" }
    content_location_alone { describe: "Content-Location: URL/\r\n" }
    a_base_without_slash { describe: "Content-Base: URL\r\n" }
    a_star_for_the_only_track { sdp: sdp("a=control:*\r\n", "", FMTP), set_up: "/stream" }
    no_control_at_all { sdp: sdp("", "", FMTP), set_up: "/stream" }
    an_absolute_control { sdp: sdp("a=control:rtsp://HOST/other/track1\r\n", "", FMTP), set_up: "/other/track1" }
    a_control_on_another_host { sdp: sdp("a=control:rtsp://192.168.0.1:554/x/track1\r\n", "", FMTP), set_up: "rtsp://192.168.0.1:554/x/track1" }
    no_parameter_sets_in_the_description { sdp: sdp("a=control:trackID=1\r\n", "", "a=fmtp:96 packetization-mode=1\r\n") }
    no_fmtp_at_all { sdp: sdp("a=control:trackID=1\r\n", "", "") }
    broken_parameter_sets { sdp: sdp("a=control:trackID=1\r\n", "", "a=fmtp:96 packetization-mode=1;sprop-parameter-sets=Z!!,aM\r\n") }
    lines_that_end_with_lf_alone { sdp: sdp("a=control:trackID=1\r\n", "a=control:*\r\n", FMTP).replace("\r\n", "\n") }
    a_last_line_that_does_not_end { sdp: sdp("a=control:trackID=1", "", FMTP) }
    basic { login: Login::Basic }
    md5_and_sha256 { login: Login::BothDigests }
    a_nonce_that_is_stale_in_the_middle { login: Login::Stale, retina: Some("Received Unauthorized after trying digest auth") }
    other_channels_than_asked_for { transport: "RTP/AVP/TCP;unicast;interleaved=4-5", channel: 4 }
    cut_into_single_bytes { cut: 1 }
    cut_into_odd_pieces { cut: 997 }
    requests_of_the_camera_between { between: "OPTIONS rtsp://127.0.0.1/stream RTSP/1.0\r\nCSeq: 5\r\n\r\n", retina: Some("nothing more comes") }
    an_answer_to_nobody_between { between: "RTSP/1.0 200 OK\r\nCSeq: 1\r\nSession: 77\r\n\r\n", retina: Some("Unexpected RTSP response") }
    timestamps_that_jump_an_hour_ahead { jump: 90_000 * 3_600 }
    timestamps_that_jump_back { jump: 0_u32.wrapping_sub(90_000 * 3_600) }
    other_parameter_sets_in_the_middle { resize: true }
}
