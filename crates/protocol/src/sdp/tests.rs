use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use media::audio::Law;
use media::{Format, TrackIndex, h264};
use proptest::prelude::*;

use super::*;
use crate::rtp;
use crate::rtp::test_streams as streams;

fn track(format: Arc<Format>, index: u8) -> media::Track {
    media::Track {
        index: TrackIndex(index),
        timescale: rtp::clock(&format),
        format,
    }
}

fn session(name: &str) -> Describe<'_> {
    Describe {
        name,
        address: IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)),
        session_id: 7,
    }
}

fn summary(description: &Description) -> String {
    let mut text = format!("name {:?}, control {:?}\n", description.name, description.control);
    for media in &description.media {
        let format = match media.format.as_ref() {
            Format::H264(format) => format!("{} sets, {:?}", format.parameter_sets().count(), format.dimensions()),
            Format::H265(format) => format!("{} sets, {:?}", format.parameter_sets().count(), format.dimensions()),
            Format::Aac(aac) => format!(
                "config {:02x?}, {} Hz, {} ch",
                &aac.config[..],
                aac.sample_rate_hz,
                aac.channels
            ),
            Format::Opus(opus) => format!("{} ch", opus.channels),
            Format::G711(g711) => format!("{:?}, {} Hz, {} ch", g711.law, g711.sample_rate_hz, g711.channels),
        };
        let _ = writeln!(
            text,
            "{}: {:?} as {} at {} Hz, control {:?}, capture time {:?}: {format}",
            media.index,
            media.payload,
            media.payload_type,
            media.clock.hz(),
            media.control,
            media.abs_capture_time
        );
    }
    for ignored in &description.ignored {
        let _ = writeln!(
            text,
            "{}: ignored, control {:?}: {}",
            ignored.index, ignored.control, ignored.why
        );
    }
    text
}

#[test]
fn what_others_send() {
    let fixtures: [(&str, &[u8]); 11] = [
        ("ffmpeg", include_bytes!("fixtures/ffmpeg.sdp")),
        ("ffmpeg_opus_hevc", include_bytes!("fixtures/ffmpeg_opus_hevc.sdp")),
        ("gstreamer", include_bytes!("fixtures/gstreamer.sdp")),
        ("vlc", include_bytes!("fixtures/vlc.sdp")),
        ("obs", include_bytes!("fixtures/obs.sdp")),
        ("hikvision", include_bytes!("fixtures/hikvision.sdp")),
        ("dahua", include_bytes!("fixtures/dahua.sdp")),
        ("reolink", include_bytes!("fixtures/reolink.sdp")),
        ("axis", include_bytes!("fixtures/axis.sdp")),
        ("nameless", include_bytes!("fixtures/nameless.sdp")),
        ("unsupported", include_bytes!("fixtures/unsupported.sdp")),
    ];
    for (name, bytes) in fixtures {
        let description = parse(bytes, &Limits::default()).unwrap();
        insta::assert_snapshot!(name, summary(&description));
    }
}

#[test]
fn within_tls_srtp_need_not_be_asked_for() {
    let bytes = include_bytes!("fixtures/unsupported.sdp");
    let limits = Limits::default();
    let (plain, within) = (
        parse(bytes, &limits).unwrap(),
        parse_within_tls(bytes, &limits).unwrap(),
    );
    assert_eq!(within.media.len(), plain.media.len() + 1);
    assert_eq!(
        (within.media[0].index, within.media[0].format.codec()),
        (0, media::Codec::H264)
    );
}

#[test]
fn what_we_send() {
    let formats = [
        streams::h264(),
        streams::aac(),
        streams::h265(),
        streams::opus(),
        streams::g711(Law::A),
    ];
    let all: Vec<_> = formats
        .into_iter()
        .zip(0..)
        .map(|(format, index)| track(format, index))
        .collect();
    insta::assert_snapshot!(
        "described",
        describe(&session("cam/one"), &tracks(&all)).replace("\r\n", "\n")
    );
    // Nothing is known yet of this one.
    let bare = [track(Arc::new(Format::H264(h264::Format::default())), 0)];
    let six = Describe {
        address: IpAddr::V6(Ipv6Addr::LOCALHOST),
        ..session("")
    };
    insta::assert_snapshot!("described_bare", describe(&six, &tracks(&bare)).replace("\r\n", "\n"));
}

#[test]
fn what_we_send_reads_back() {
    let formats = [
        streams::h264(),
        streams::h265(),
        streams::aac(),
        streams::opus(),
        streams::g711(Law::A),
        streams::g711(Law::Mu),
    ];
    let all: Vec<_> = formats
        .iter()
        .cloned()
        .zip(0..)
        .map(|(format, index)| track(format, index))
        .collect();
    let described = tracks(&all);
    let text = describe(&session("a name"), &described);
    assert!(text.split("\r\n").all(|line| !line.contains('\n')));
    let description = parse(text.as_bytes(), &Limits::default()).unwrap();
    assert_eq!(
        (description.name.as_str(), description.control.as_deref()),
        ("a name", Some("*"))
    );
    assert!(description.ignored.is_empty());
    assert_eq!(description.media.len(), formats.len());
    for ((media, format), track) in description.media.iter().zip(&formats).zip(&described) {
        assert_eq!(&media.format, format);
        assert_eq!(
            (media.payload_type, media.clock),
            (track.payload_type, rtp::clock(format))
        );
        assert_eq!(media.payload, rtp::Payload::of(format.codec()));
        assert_eq!(media.control, Some(format!("trackID={}", media.index)));
    }
}

#[test]
fn names_cannot_add_lines() {
    let text = describe(&session("x\r\na=control:evil"), &[]);
    assert!(text.contains("s=xa=control:evil\r\n"));
}

#[test]
fn limits_hold() {
    let limits = Limits {
        bytes: 100,
        lines: 5,
        media: 2,
    };
    let too_large = |text: &str| match parse(text.as_bytes(), &limits) {
        Err(Error::TooLarge { what, .. }) => what,
        other => panic!("{other:?}"),
    };
    assert_eq!(too_large(&format!("v=0\r\n{}", "a".repeat(100))), "bytes");
    assert_eq!(too_large("v=0\na\na\na\na\na\n"), "lines");
    assert_eq!(too_large("v=0\nm=a\nm=a\nm=a\n"), "media sections");
    assert!(parse(b"v=0\nm=a\nm=a\na=b\n", &limits).is_ok());
}

#[test]
fn what_is_no_sdp_is_refused() {
    for text in [
        "",
        "\r\n\0",
        "hello",
        "s=x\nv=0",
        "v=1\n",
        "<html>\n</html>",
        "v =0\nv=0",
    ] {
        let result = parse(text.as_bytes(), &Limits::default());
        assert_eq!(
            matches!(result, Err(Error::Malformed(_))),
            text != "v =0\nv=0",
            "{text:?}: {result:?}"
        );
    }
}

proptest! {
    #[test]
    fn hostile_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = parse(&bytes, &Limits::default());
        let _ = parse(&[b"v=0\n", bytes.as_slice()].concat(), &Limits::default());
    }

    #[test]
    fn hostile_lines_never_panic(lines in prop::collection::vec(
        prop_oneof![
            "m=(video|audio|[a-z]{0,3}) [0-9]{0,7} RTP/AVP( [0-9]{1,3}){0,3}",
            "a=rtpmap:[0-9]{0,3} (H264|H265|MPEG4-GENERIC|MP4A-LATM|opus|PCMU)/[0-9]{0,11}/?[0-9]{0,3}",
            "a=fmtp:9[0-9] (config|sizelength|indexlength|mode|sprop-parameter-sets|sprop-sps|cpresent|packetization-mode)=[A-Za-z0-9+/=,]{0,40}",
            "a=extmap:[0-9/]{0,5} http://www.webrtc.org/experiments/rtp-hdrext/abs-capture-time",
            "a=fmtp:9[0-9] cpresent=0;config=[0-9a-f]{0,20}",
            "a=control:.{0,20}",
            ".{0,30}",
        ], 0..20,
    )) {
        let text = format!("v=0\r\nm=audio 0 RTP/AVP 96 97 98\r\n{}", lines.join("\r\n"));
        let _ = parse(text.as_bytes(), &Limits::default());
    }
}
