//! Two publishers of one name.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::killing::{frames, viewer_of, wait_for_frames};
use super::support::{PATIENCE, Process, Server, publish_with_ffmpeg, sightline, test_tool, tool};

/// H.264 of FFmpeg's, as NAL units: `frames` pictures, a keyframe every `gop`, each picture one slice.
fn h264(size: &str, frames: u32, gop: u32) -> Vec<Vec<u8>> {
    let mut command = tool("ffmpeg");
    command.args([
        "-nostdin",
        "-v",
        "error",
        "-f",
        "lavfi",
        "-i",
        &format!("testsrc=size={size}:rate=30"),
    ]);
    command.args([
        "-frames:v",
        &frames.to_string(),
        "-pix_fmt",
        "yuv420p",
        "-c:v",
        "libx264",
    ]);
    command.args([
        "-profile:v",
        "baseline",
        "-g",
        &gop.to_string(),
        "-keyint_min",
        &gop.to_string(),
    ]);
    command.args([
        "-sc_threshold",
        "0",
        "-x264-params",
        "slices=1:sliced-threads=0",
        "-f",
        "h264",
        "-",
    ]);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let bytes = output.stdout;
    let starts: Vec<_> = bytes
        .windows(3)
        .enumerate()
        .filter(|(_, three)| *three == [0, 0, 1])
        .collect();
    let ends = starts.iter().skip(1).map(|(at, _)| *at).chain([bytes.len()]);
    let units = starts.iter().zip(ends).map(|((at, _), end)| {
        let unit = &bytes[at + 3..end];
        let length = unit.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
        unit[..length].to_vec()
    });
    units.collect()
}

fn kind(unit: &[u8]) -> u8 {
    unit[0] & 0x1f
}

const SLICE: u8 = 1;
const KEYFRAME_SLICE: u8 = 5;
const SPS: u8 = 7;
const PPS: u8 = 8;

fn time(event: &Value) -> jiff::Timestamp {
    event["timestamp"].as_str().unwrap().parse().unwrap()
}

#[test]
fn the_second_takes_over_at_its_first_keyframe_and_viewers_stay() {
    /// Pictures of the second publisher in front of its first keyframe: two and a half seconds.
    const EARLIER: usize = 75;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("late.h264");
    let units = h264("320x240", 180, 90);
    let keyframes: Vec<usize> = (0..units.len())
        .filter(|&at| kind(&units[at]) == KEYFRAME_SLICE)
        .collect();
    let [first, second] = keyframes[..] else {
        panic!("{} keyframes in 180 pictures", keyframes.len())
    };
    let mut late: Vec<&Vec<u8>> = units[..first]
        .iter()
        .filter(|unit| matches!(kind(unit), SPS | PPS))
        .collect();
    let between: Vec<_> = units[first..second].iter().filter(|unit| kind(unit) == SLICE).collect();
    late.extend(&between[between.len() - EARLIER..]);
    let rest = units[first..].iter().skip_while(|unit| !matches!(kind(unit), SPS));
    late.extend(rest);
    let bytes: Vec<u8> = late
        .iter()
        .flat_map(|unit| [&[0, 0, 0, 1], unit.as_slice()].concat())
        .collect();
    std::fs::write(&file, bytes).unwrap();

    let mut server = Server::start(&[]);
    let mut before = publish_with_ffmpeg(&mut server, "cam", "tcp", 30);
    let mut viewers = ["tcp", "udp"].map(|transport| viewer_of(&server, "cam", transport));
    for viewer in &mut viewers {
        wait_for_frames(viewer, 10);
    }
    let (file, url) = (file.to_str().unwrap(), server.url("cam"));
    let mut command = Command::new(test_tool("gortsplib"));
    let mut after = Process::start(command.args(["publish", "-seconds", "60", "-fps", "30", "-file", file, &url]));
    let began = server.wait_for_events("RTSP publisher began", "cam", 2);
    let left = server.wait_for_events("RTSP publisher left", "cam", 1);
    let reason = left["reason"].as_str().unwrap();
    let by = format!("{} (RTSP/TCP) took over", began["remote"].as_str().unwrap());
    assert!(reason.contains(&by), "{reason} instead of {by}");
    let waited_ms = time(&left).duration_since(time(&began)).as_millis();
    assert!(
        waited_ms >= EARLIER as i128 * 1_000 / 30 - 100,
        "taken over {waited_ms} ms after it began, before its first keyframe"
    );
    // The one before is told by the end of its connection.
    let begun = Instant::now();
    while before.is_running() {
        assert!(begun.elapsed() < PATIENCE, "the first publisher goes on");
        std::thread::sleep(Duration::from_millis(20));
    }
    for viewer in &mut viewers {
        let seen = frames(viewer);
        wait_for_frames(viewer, seen + 30);
    }
    assert!(after.is_running(), "{:?}", after.said());
    assert_eq!(server.events("RTSP viewer left", "cam"), Vec::<Value>::new());
}

/// A publisher that does what it is told, when it is told: three of FFmpeg's take seconds to start.
struct ByHand {
    socket: TcpStream,
    address: SocketAddr,
    keyframe: Vec<u8>,
    sent: u16,
}

impl ByHand {
    /// Asks to publish; the server's answer where that is not 200.
    fn publish(server: &Server, name: &str, units: &[Vec<u8>]) -> Result<Self, String> {
        let socket = TcpStream::connect(("127.0.0.1", server.port)).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let address = socket.local_addr().unwrap();
        let first = |wanted| units.iter().find(|unit| kind(unit) == wanted).unwrap();
        let [sps, pps] = [SPS, PPS].map(|set| STANDARD.encode(first(set)));
        let description = format!(
            "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\nm=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\n\
             a=fmtp:96 packetization-mode=1;sprop-parameter-sets={sps},{pps}\r\na=control:trackID=0\r\n"
        );
        let keyframe = first(KEYFRAME_SLICE).clone();
        let mut publisher = Self {
            socket,
            address,
            keyframe,
            sent: 0,
        };
        let url = server.url(name);
        let (kind, length) = ("Content-Type: application/sdp", description.len());
        publisher.ask(&format!(
            "ANNOUNCE {url} RTSP/1.0\r\nCSeq: 1\r\n{kind}\r\nContent-Length: {length}\r\n\r\n{description}"
        ))?;
        let transport = "RTP/AVP/TCP;unicast;interleaved=0-1;mode=record";
        let answer = publisher.ask(&format!(
            "SETUP {url}/trackID=0 RTSP/1.0\r\nCSeq: 2\r\nTransport: {transport}\r\n\r\n"
        ))?;
        let session = answer.lines().find_map(|line| line.strip_prefix("Session: ")).unwrap();
        let session = session.split(';').next().unwrap();
        publisher.ask(&format!(
            "RECORD {url} RTSP/1.0\r\nCSeq: 3\r\nSession: {session}\r\n\r\n"
        ))?;
        Ok(publisher)
    }

    fn ask(&mut self, request: &str) -> Result<String, String> {
        self.socket.write_all(request.as_bytes()).unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            self.socket.read_exact(&mut byte).unwrap();
            answer.extend(byte);
        }
        let answer = String::from_utf8(answer).unwrap();
        if answer.starts_with("RTSP/1.0 200") {
            Ok(answer)
        } else {
            Err(answer)
        }
    }

    /// Sends a keyframe, in one packet.
    fn keyframe(&mut self) {
        self.sent += 1;
        let mut packet = vec![0x80, 0x80 | 96];
        packet.extend(self.sent.to_be_bytes());
        packet.extend((u32::from(self.sent) * 3_000).to_be_bytes());
        packet.extend([0, 0, 0, 9]);
        packet.extend(&self.keyframe);
        let mut framed = vec![b'$', 0];
        framed.extend(u16::try_from(packet.len()).unwrap().to_be_bytes());
        framed.extend(packet);
        // One that was let go finds its connection closed.
        let _ = self.socket.write_all(&framed);
    }
}

/// Why a publisher was let go, if it was.
fn let_go(server: &Server, publisher: &ByHand) -> Option<String> {
    let remote = Value::from(publisher.address.to_string());
    let left = server.events("RTSP publisher left", "cam");
    let left = left.iter().find(|event| event["remote"] == remote)?;
    Some(left["reason"].as_str()?.to_owned())
}

/// Has a publisher go on until it is let go.
fn go_on(server: &Server, publisher: &mut ByHand) -> String {
    let begun = Instant::now();
    loop {
        publisher.keyframe();
        if let Some(reason) = let_go(server, publisher) {
            return reason;
        }
        assert!(begun.elapsed() < PATIENCE, "{:#?}", server.process.said());
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn those_who_replace_each_other_three_times_in_ten_seconds_are_stopped() {
    let units = h264("64x64", 1, 1);
    let mut server = Server::start(&[]);
    let mut holder = ByHand::publish(&server, "cam", &units).unwrap();
    holder.keyframe();
    let mut late = None;
    for round in 1..=3 {
        if round == 3 {
            // This one comes when there were two changes only, and has no keyframe before the third.
            late = Some(ByHand::publish(&server, "cam", &units).unwrap());
        }
        let mut newer = ByHand::publish(&server, "cam", &units).unwrap();
        newer.keyframe();
        let reason = go_on(&server, &mut holder);
        let by = format!("{} (RTSP/TCP) took over", newer.address);
        assert!(reason.contains(&by), "{reason} instead of {by}");
        holder = newer;
    }
    let both = |newer: &str| {
        format!(
            "changed hands three times in ten seconds; {} (RTSP/TCP) keeps it and {newer} (RTSP/TCP) is refused",
            holder.address
        )
    };
    let answer = ByHand::publish(&server, "cam", &units).map(|newer| newer.address);
    let answer = answer.unwrap_err();
    assert!(answer.starts_with("RTSP/1.0 403"), "{answer}");
    let refused = server.wait_for_events("RTSP publisher refused", "cam", 1);
    let (newer, reason) = (refused["remote"].as_str().unwrap(), refused["reason"].as_str().unwrap());
    assert!(reason.contains(&both(newer)), "{reason}");

    let mut late = late.unwrap();
    let reason = go_on(&server, &mut late);
    assert!(reason.contains(&both(&late.address.to_string())), "{reason}");
    holder.keyframe();
    assert_eq!(let_go(&server, &holder), None, "the holder keeps it");
}

/// Size of the stream's pictures, as our receiver finds.
fn size(server: &Server) -> String {
    let mut command = sightline();
    let url = server.url("zerolatency");
    let mut process = Process::start(command.args(["receive", &url, "--test-connection"]));
    process.collect_stdout();
    let (_, said) = process.finish();
    said.join("\n")
}

fn wait_for_size(server: &Server, wanted: &str) {
    let begun = Instant::now();
    loop {
        let found = size(server);
        if found.contains(wanted) {
            return;
        }
        assert!(begun.elapsed() < PATIENCE, "{wanted} does not come: {found}");
    }
}

#[test]
fn a_camera_of_ours_is_not_taken_over() {
    let mut server = Server::start(&["--source", "test"]);
    let mut viewer = viewer_of(&server, "zerolatency", "tcp");
    wait_for_frames(&mut viewer, 10);
    let units = h264("64x64", 1, 1);
    let answer = ByHand::publish(&server, "zerolatency", &units)
        .map(|newer| newer.address)
        .unwrap_err();
    assert!(answer.starts_with("RTSP/1.0 403"), "{answer}");
    let refused = server.wait_for_events("RTSP publisher refused", "zerolatency", 1);
    let reason = refused["reason"].as_str().unwrap();
    assert!(
        reason.contains("not taken over; publish under another name, or set takeover = true"),
        "{reason}"
    );
    let seen = frames(&viewer);
    wait_for_frames(&mut viewer, seen + 30);
}

#[test]
fn unless_it_may_be_and_then_it_comes_back() {
    let takeover = [("SIGHTLINE_CAMERA_ZEROLATENCY_TAKEOVER", "true")];
    let mut server = Server::start_with(&["--source", "test"], &takeover);
    let mut viewer = viewer_of(&server, "zerolatency", "tcp");
    wait_for_frames(&mut viewer, 10);
    wait_for_size(&server, "640×480");
    let publisher = publish_with_ffmpeg(&mut server, "zerolatency", "tcp", 15);
    wait_for_size(&server, "320×240");
    let seen = frames(&viewer);
    wait_for_frames(&mut viewer, seen + 30);
    drop(publisher);
    wait_for_size(&server, "640×480");
    let seen = frames(&viewer);
    wait_for_frames(&mut viewer, seen + 30);
    let left = server.events("RTSP viewer left", "zerolatency");
    let remote = server.events("RTSP viewer joined", "zerolatency")[0]["remote"].clone();
    assert!(
        left.iter().all(|event| event["remote"] != remote),
        "the viewer did not stay: {left:?}"
    );
}
