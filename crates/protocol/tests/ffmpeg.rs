//! RTP and SDP against a real FFmpeg, both ways, over UDP on the loopback.
//!
//! Both sides must carry the very bytes: what FFmpeg sends is compared with what it was given to send, and what we send with
//! what FFmpeg wrote down. `ffmpeg` must be installed; a machine without it fails.

// Sockets, files, processes and clocks are what this test is about.
#![allow(clippy::disallowed_types, clippy::disallowed_methods)]

use std::fs;
use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use media::annexb::{self, nal_units};
use media::{CaptureSource, Codec, Frame, Kind, TrackIndex, WallTime, h264, h265};
use protocol::rtp::{
    Arrival, Framing, Packetizer, PacketizerConfig, Received, Receiver, ReceiverConfig, Reordering, Timeline,
};
use protocol::sdp;
use rstest::rstest;

/// Length of the streams.
const SECONDS: &str = "1";
const DEADLINE: Duration = Duration::from_secs(60);

/// Kills the program when the test ends, however it ends.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn ffmpeg() -> Command {
    let mut command = Command::new("ffmpeg");
    command.args(["-hide_banner", "-loglevel", "error", "-nostdin", "-y"]);
    command
}

fn start(command: &mut Command) -> Running {
    let child = command.stdout(Stdio::null()).spawn();
    Running(child.expect("`ffmpeg` cannot be started; it is needed for this test (package `ffmpeg`)"))
}

fn run(command: &mut Command) {
    let mut running = start(command);
    let status = running.0.wait().unwrap();
    assert!(status.success(), "{command:?}: {status}");
}

/// Two neighbouring free ports, the first one even (RFC 3550 §11).
fn ports() -> (UdpSocket, UdpSocket) {
    let bind = |port| UdpSocket::bind((Ipv4Addr::LOCALHOST, port));
    for _ in 0..1_000 {
        let rtp = bind(0).unwrap();
        let port = rtp.local_addr().unwrap().port();
        if port % 2 == 0
            && let Ok(rtcp) = bind(port + 1)
        {
            return (rtp, rtcp);
        }
    }
    panic!("no two neighbouring ports are free");
}

/// How far our clock is ahead of FFmpeg's: with `-re` its timestamps run up to 0.1 s ahead of its reports, and pictures from
/// the future are not believed.
const CLOCK_AHEAD: Duration = Duration::from_secs(2);

fn now() -> Arrival {
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap() + CLOCK_AHEAD;
    Arrival {
        at: Instant::now(),
        wall: WallTime::from_unix_micros(i64::try_from(wall.as_micros()).unwrap()),
    }
}

/// A stream in a file, and its packets as they are in there.
struct Clip {
    folder: tempfile::TempDir,
    codec: Codec,
}

impl Clip {
    fn make(name: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let video = "testsrc2=size=320x240:rate=30,noise=alls=10:allf=t";
        let x264 = "-c:v libx264 -b:v 800k -g 15 -sc_threshold 0";
        let (codec, source, options) = match name {
            "h264" => (Codec::H264, video, format!("{x264} -tune zerolatency")),
            "h264 slices" => (Codec::H264, video, format!("{x264} -tune zerolatency -slices 4")),
            "h264 b-frames" => (Codec::H264, video, format!("{x264} -bf 2")),
            "h265" => {
                let x265 =
                    "-c:v libx265 -b:v 800k -g 15 -preset ultrafast -x265-params log-level=error:scenecut=0:bframes=0";
                (Codec::H265, video, x265.to_owned())
            }
            "aac" => (Codec::Aac, "sine=sample_rate=44100", "-c:a aac -ac 2".to_owned()),
            "aac latm" => (Codec::Aac, "sine=sample_rate=48000", "-c:a aac".to_owned()),
            "opus" => (Codec::Opus, "sine=sample_rate=48000", "-c:a libopus -ac 2".to_owned()),
            "pcma" => (Codec::G711, "sine=sample_rate=8000", "-c:a pcm_alaw".to_owned()),
            "pcmu" => (Codec::G711, "sine=sample_rate=16000", "-c:a pcm_mulaw -ac 2".to_owned()),
            other => panic!("no clip {other}"),
        };
        let clip = Self { folder, codec };
        let mut command = ffmpeg();
        command
            .args(["-f", "lavfi", "-i", source, "-t", SECONDS, "-pix_fmt", "yuv420p"])
            .args(options.split(' '));
        run(command.arg(clip.path("clip.mkv")));
        let mut command = ffmpeg();
        command
            .arg("-i")
            .arg(clip.path("clip.mkv"))
            .args(["-map", "0", "-c", "copy"]);
        match codec {
            Codec::H264 => command.args(["-bsf:v", "h264_mp4toannexb"]),
            Codec::H265 => command.args(["-bsf:v", "hevc_mp4toannexb"]),
            _ => &mut command,
        };
        run(command.args(["-f", "data"]).arg(clip.path("clip.bin")));
        clip
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn bytes(&self) -> Vec<u8> {
        fs::read(self.path("clip.bin")).unwrap()
    }

    /// Lets FFmpeg send it in real time, and receives it.
    fn receive(&self, flags: &str, options: &[&str]) -> (sdp::Media, Receiver, Vec<Received>) {
        let (rtp, rtcp) = ports();
        let port = rtp.local_addr().unwrap().port();
        let datagrams = listen(rtp, rtcp);
        let mut command = ffmpeg();
        command
            .args(["-re", "-i"])
            .arg(self.path("clip.mkv"))
            .args(["-c", "copy"])
            .args(options);
        command.args(["-rtpflags", &format!("send_bye{flags}"), "-f", "rtp", "-sdp_file"]);
        command
            .arg(self.path("sent.sdp"))
            .arg(format!("rtp://127.0.0.1:{port}"));
        let _sender = start(&mut command);
        let mut description = await_description(&self.path("sent.sdp"));
        assert!(description.ignored.is_empty(), "{:?}", description.ignored);
        let media = description.media.remove(0);
        let (receiver, received) = receive(&media, &datagrams);
        (media, receiver, received)
    }

    /// What must arrive: the slices of a video one by one, or the bytes of audio.
    fn essence(&self) -> Vec<Bytes> {
        match self.codec {
            Codec::H264 | Codec::H265 => slices(self.codec, annexb::units(&self.bytes())),
            _ => vec![self.bytes().into()],
        }
    }
}

fn slices<'a>(codec: Codec, units: impl Iterator<Item = &'a [u8]>) -> Vec<Bytes> {
    let coded = units.filter(|unit| match codec {
        Codec::H264 => matches!(h264::unit_type(unit), h264::nal::SLICE | h264::nal::IDR),
        _ => h265::unit_type(unit) <= h265::nal::VCL_LAST,
    });
    coded.map(Bytes::copy_from_slice).collect()
}

/// Reads a description as soon as it is there and whole.
fn await_description(path: &Path) -> sdp::Description {
    let begun = Instant::now();
    loop {
        if let Ok(bytes) = fs::read(path)
            && let Ok(description) = sdp::parse(&bytes, &sdp::Limits::default())
            && !description.media.is_empty()
        {
            return description;
        }
        assert!(begun.elapsed() < DEADLINE, "FFmpeg wrote no SDP that can be used");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A packet as it came.
struct Datagram {
    rtcp: bool,
    bytes: Vec<u8>,
    arrival: Arrival,
}

/// Reads the sockets from now on: what waits in them while FFmpeg writes its description would overflow their buffers.
/// RTCP is looked at before each RTP packet is handed on, so that the two stay in the order in which they were sent.
fn listen(rtp: UdpSocket, rtcp: UdpSocket) -> mpsc::Receiver<Datagram> {
    let (sender, datagrams) = mpsc::channel();
    rtp.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    rtcp.set_nonblocking(true).unwrap();
    std::thread::spawn(move || {
        let mut buffer = vec![0; 65_536];
        let mut reports = vec![0; 65_536];
        let begun = Instant::now();
        while begun.elapsed() < DEADLINE {
            let packet = rtp.recv(&mut buffer);
            let arrival = now();
            let mut came = Vec::new();
            while let Ok(length) = rtcp.recv(&mut reports) {
                came.push((true, reports[..length].to_vec()));
            }
            came.extend(packet.map(|length| (false, buffer[..length].to_vec())));
            for (rtcp, bytes) in came {
                if sender.send(Datagram { rtcp, bytes, arrival }).is_err() {
                    return;
                }
            }
        }
    });
    datagrams
}

/// Whether BYE (packet type 203, RFC 3550 §6.6) is among the packets of a compound one.
fn says_goodbye(mut compound: &[u8]) -> bool {
    while let Some((&[_, kind, high, low], _)) = compound.split_first_chunk() {
        if kind == 203 {
            return true;
        }
        let length = (usize::from(u16::from_be_bytes([high, low])) + 1) * 4;
        compound = compound.get(length..).unwrap_or_default();
    }
    false
}

/// Receives until FFmpeg says goodbye and what it sent before has come.
fn receive(media: &sdp::Media, datagrams: &mpsc::Receiver<Datagram>) -> (Receiver, Vec<Received>) {
    let config = ReceiverConfig {
        reordering: Some(Reordering::default()),
        ..ReceiverConfig::new(TrackIndex(0), media, 1, "test".into())
    };
    let mut receiver = Receiver::new(config, Timeline::default());
    let mut received = Vec::new();
    let begun = Instant::now();
    let mut goodbye = false;
    loop {
        // BYE may overtake what waits in the other socket while a busy machine lets nobody read it.
        match datagrams.recv_timeout(Duration::from_millis(700)) {
            Ok(datagram) if datagram.rtcp => {
                goodbye |= says_goodbye(&datagram.bytes);
                receiver.receive_rtcp(&datagram.bytes, datagram.arrival);
            }
            Ok(datagram) => receiver.receive_rtp(&datagram.bytes, datagram.arrival),
            Err(_) => {
                receiver.handle_timeout(Instant::now());
                if goodbye {
                    received.extend(std::iter::from_fn(|| receiver.poll()));
                    return (receiver, received);
                }
            }
        }
        received.extend(std::iter::from_fn(|| receiver.poll()));
        assert!(
            begun.elapsed() < DEADLINE,
            "FFmpeg never said goodbye: {:?}",
            receiver.stats()
        );
    }
}

#[rstest]
#[case::h264("h264", "", &[])]
#[case::h264_sets_in_band("h264", "", &["-bsf:v", "h264_mp4toannexb"])]
#[case::h264_single_nal_units("h264 slices", "+h264_mode0", &["-pkt_size", "60000"])]
#[case::h264_slices("h264 slices", "", &[])]
#[case::h264_reordered("h264 b-frames", "", &[])]
#[case::h265("h265", "", &[])]
#[case::h265_sets_in_band("h265", "", &["-bsf:v", "hevc_mp4toannexb"])]
#[case::aac("aac", "", &[])]
#[case::aac_latm("aac latm", "+latm", &[])]
#[case::opus("opus", "", &[])]
#[case::pcma("pcma", "", &[])]
#[case::pcmu("pcmu", "", &[])]
fn what_ffmpeg_sends_arrives(#[case] clip: &str, #[case] flags: &str, #[case] options: &[&str]) {
    let clip = Clip::make(clip);
    let (_, receiver, received) = clip.receive(flags, options);
    let stats = receiver.stats();
    assert_eq!(
        (stats.lost, stats.malformed, stats.foreign, stats.units_dropped),
        (0, 0, 0, 0),
        "{stats:?}"
    );
    assert!(received.iter().all(|received| !received.discontinuity));
    let sent = clip.essence();
    if clip.codec.kind() == Kind::Video {
        let got = slices(
            clip.codec,
            received.iter().flat_map(|received| nal_units(&received.frame.data)),
        );
        assert_eq!(got.len(), sent.len());
        assert!(got == sent, "the bytes differ");
        assert_eq!(received.len(), 30);
        assert_eq!(received.iter().filter(|received| received.frame.keyframe).count(), 2);
        assert_eq!(received[0].frame.format.dimensions(), Some((320, 240)));
    } else {
        let got: Vec<u8> = received
            .iter()
            .flat_map(|received| received.frame.data.to_vec())
            .collect();
        // FFmpeg never sends the AAC frames that wait for others to share their packet when the stream ends.
        assert!(
            got.len() * 10 >= sent[0].len() * 9,
            "{} of {} bytes",
            got.len(),
            sent[0].len()
        );
        assert!(sent[0].starts_with(&got), "the bytes differ");
    }

    // Times: as long as the clip is, and tied to the clock of this machine by the sender report.
    let times = received.iter().map(|received| received.frame.time.as_micros());
    let span = times.clone().max().unwrap() - times.min().unwrap();
    assert!((800_000..1_100_000).contains(&span), "{span} µs");
    for received in &received {
        let capture = received.frame.capture;
        assert_eq!(capture.source, CaptureSource::SenderReport);
        let age_micros = received.arrival.wall.micros_since(capture.at) - CLOCK_AHEAD.as_micros() as i64;
        assert!(age_micros.abs() < 1_000_000, "{age_micros} µs");
    }
}

/// Waits until FFmpeg listens. Asking by binding the port ourselves could take it away from FFmpeg.
fn await_listener(port: u16) {
    let begun = Instant::now();
    let local = format!("0100007F:{port:04X}");
    let anywhere = format!("00000000:{port:04X}");
    loop {
        let table = fs::read_to_string("/proc/net/udp").unwrap();
        if table.contains(&local) || table.contains(&anywhere) {
            return;
        }
        assert!(begun.elapsed() < DEADLINE, "FFmpeg does not listen on port {port}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[rstest]
#[case::h264("h264")]
#[case::h264_slices("h264 slices")]
#[case::h265("h265")]
#[case::aac("aac")]
#[case::opus("opus")]
#[case::pcma("pcma")]
#[case::pcmu("pcmu")]
fn what_we_send_ffmpeg_reads(#[case] clip: &str) {
    let clip = Clip::make(clip);
    let (media, _, received) = clip.receive("", &[]);
    let frames: Vec<Frame> = received.into_iter().map(|received| received.frame).collect();

    let (rtp, rtcp) = ports();
    let port = rtp.local_addr().unwrap().port();
    let track = media::Track {
        index: TrackIndex(0),
        format: Arc::clone(&media.format),
        timescale: media.clock,
    };
    let tracks = [track];
    let described = sdp::tracks(&tracks);
    let session = sdp::Describe {
        name: "test",
        address: IpAddr::V4(Ipv4Addr::LOCALHOST),
        session_id: 1,
    };
    let text = sdp::describe(&session, &described).replace("IP4 0.0.0.0", "IP4 127.0.0.1");
    let text = text
        .replace("m=video 0 ", &format!("m=video {port} "))
        .replace("m=audio 0 ", &format!("m=audio {port} "));
    fs::write(clip.path("ours.sdp"), text).unwrap();

    // FFmpeg may hold back what it received last until it knows its duration.
    let wanted = frames.len() - 5;
    let mut command = ffmpeg();
    command
        .args(["-protocol_whitelist", "file,udp,rtp", "-i"])
        .arg(clip.path("ours.sdp"));
    command.args(["-map", "0", "-c", "copy", "-frames", &wanted.to_string(), "-f", "data"]);
    drop((rtp, rtcp));
    let mut reader = start(command.arg(clip.path("received.bin")));
    await_listener(port);
    send(&frames, &described[0], port, &mut reader);

    let bytes = fs::read(clip.path("received.bin")).unwrap();
    let sent = frames.iter().take(wanted);
    if clip.codec.kind() == Kind::Video {
        let sent = slices(clip.codec, sent.flat_map(|frame| nal_units(&frame.data)));
        let got = slices(clip.codec, annexb::units(&bytes));
        assert_eq!(got.len(), sent.len());
        assert!(got == sent, "the bytes differ");
    } else {
        // To FFmpeg each packet is a frame: it has enough earlier where a large one was split.
        let sent: Vec<u8> = sent.flat_map(|frame| frame.data.to_vec()).collect();
        assert!(
            bytes.len() * 5 >= sent.len() * 2,
            "{} of {} bytes",
            bytes.len(),
            sent.len()
        );
        assert!(sent.starts_with(&bytes), "the bytes differ");
    }
}

/// Sends in real time and waits until FFmpeg has what it wants.
fn send(frames: &[Frame], track: &sdp::Track<'_>, port: u16, reader: &mut Running) {
    let config = PacketizerConfig {
        payload_type: track.payload_type,
        ssrc: 0x1234_5678,
        first_sequence: 65_500,
        timestamp_offset: 0xffff_0000,
        max_packet_bytes: PacketizerConfig::DEFAULT_MAX_PACKET_BYTES,
    };
    let packetizer = Packetizer::new(track.format, config);
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let mut sequence = packetizer.config().first_sequence;
    let begun = Instant::now();
    for frame in frames {
        let due = Duration::from_micros(u64::try_from(frame.time.as_micros()).unwrap_or(0));
        std::thread::sleep(due.saturating_sub(begun.elapsed()));
        let mut out = Vec::new();
        let timestamp = packetizer.timestamp(frame.time);
        let ranges = packetizer.render(frame, sequence, timestamp, Framing::Datagram, &mut out);
        sequence = sequence.wrapping_add(ranges.len());
        for range in ranges.packets() {
            // FFmpeg may have left already.
            let _ = socket.send_to(&out[range], (Ipv4Addr::LOCALHOST, port));
        }
    }
    loop {
        if let Some(status) = reader.0.try_wait().unwrap() {
            assert!(status.success(), "FFmpeg: {status}");
            return;
        }
        assert!(begun.elapsed() < DEADLINE, "FFmpeg waits for more");
        std::thread::sleep(Duration::from_millis(20));
    }
}
