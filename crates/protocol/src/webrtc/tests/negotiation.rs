//! Offers and their answers.

use std::sync::Arc;

use media::audio::{Aac, G711, Law, Opus};
use media::{Clock as _, Format, Timescale, Track, TrackIndex};
use proptest::prelude::*;
use rstest::rstest;
use testkit::clock::SimClock;
use testkit::stream::{Settings, Video};

use super::super::offer::OfferError;
use super::super::viewer::View;
use super::super::{Answered, Fragment, Offer, Playout, Publisher, Refusal, Viewer};
use super::{config, numbers, offers};

fn sound(format: Format) -> Track {
    Track {
        index: TrackIndex(1),
        timescale: Timescale::OPUS,
        format: Arc::new(format),
    }
}

fn answer(offer: &str, tracks: &[Track], reorders: bool) -> Result<Answered<Viewer>, Refusal> {
    let offer = Offer::parse(offer.as_bytes())?;
    let view = View {
        tracks,
        reorders,
        playout: Playout::Smooth,
    };
    Viewer::answer(&offer, view, &config(), &mut numbers(5), SimClock::new().now())
}

/// Without what differs from run to run.
fn shown(sdp: &str) -> String {
    let lines = sdp.lines().map(|line| {
        if line.starts_with("a=fingerprint") {
            "a=fingerprint:sha-256 …"
        } else {
            line
        }
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn picture() -> Track {
    Video::new(Settings::default()).track()
}

#[test]
fn chromium_is_answered() {
    let answered = answer(
        &offers::chromium(),
        &[picture(), sound(Format::Opus(Opus { channels: 2 }))],
        false,
    )
    .unwrap();
    assert!(answered.left_out.is_empty());
    insta::assert_snapshot!("viewer_of_picture_and_sound", shown(&answered.sdp));
}

/// We judge for ourselves where we are told of each packet; else the peer does; else nobody.
#[rstest]
#[case(&["transport-cc", "goog-remb"], Some("transport-cc"))]
#[case(&["goog-remb"], Some("goog-remb"))]
#[case(&[], None)]
fn what_the_peer_can_take_is_asked_for_in_one_way(#[case] offered: &[&str], #[case] expected: Option<&str>) {
    let lines: String = offered.iter().map(|name| format!("a=rtcp-fb:* {name}\r\n")).collect();
    let offer = offers::chromium().replace("a=rtcp-fb:102 nack\r\n", &format!("a=rtcp-fb:102 nack\r\n{lines}"));
    let answered = answer(&offer, &[picture()], false).unwrap();
    let feedback = ["transport-cc", "goog-remb"].map(|name| answered.sdp.contains(&format!(" {name}\r\n")));
    let extensions = ["transport-wide-cc-extensions-01", "abs-send-time"].map(|name| answered.sdp.contains(name));
    let wanted = [Some("transport-cc"), Some("goog-remb")].map(|name| name == expected);
    assert_eq!((feedback, extensions), (wanted, wanted), "{}", answered.sdp);
}

#[test]
fn a_publishing_chromium_is_answered() {
    let offer = Offer::parse(offers::publishing().as_bytes()).unwrap();
    let answered = Publisher::answer(&offer, &config(), &mut numbers(6), SimClock::new().now()).unwrap();
    assert_eq!(answered.session.tracks().len(), 2);
    insta::assert_snapshot!("publisher_of_picture_and_sound", shown(&answered.sdp));
}

#[test]
fn sound_that_browsers_do_not_play_is_left_out_and_said_so() {
    let aac = sound(Format::Aac(Aac::low_complexity(48_000, 2).unwrap()));
    let answered = answer(&offers::chromium(), &[picture(), aac], false).unwrap();
    assert_eq!(answered.left_out, ["AAC: browsers do not play AAC by WebRTC"]);
    assert!(
        answered
            .sdp
            .contains("\r\na=x-sightline-left-out:AAC: browsers do not play AAC by WebRTC\r\n")
    );
    // There, but silent: a browser that is given no place for it would have to be asked again.
    let (_, silent) = answered.sdp.split_once("m=audio 9 UDP/TLS/RTP/SAVPF 111\r\n").unwrap();
    assert!(
        silent.contains("a=inactive\r\n") && !silent.contains("a=ssrc"),
        "{silent}"
    );
    assert!(answered.sdp.contains("a=group:BUNDLE 0 1\r\n"));
}

#[rstest]
#[case(Law::Mu, "m=audio 9 UDP/TLS/RTP/SAVPF 0\r\n")]
#[case(Law::A, "m=audio 9 UDP/TLS/RTP/SAVPF 8\r\n")]
fn telephone_sound_is_sent_as_it_is(#[case] law: Law, #[case] line: &str) {
    let g711 = Format::G711(G711 {
        law,
        sample_rate_hz: 8_000,
        channels: 1,
    });
    let answered = answer(&offers::chromium(), &[picture(), sound(g711)], false).unwrap();
    assert!(answered.sdp.contains(line), "{}", answered.sdp);
}

#[test]
fn what_is_offered_what_there_is_and_the_way_out_are_told() {
    let without = offers::chromium().replace("H264/", "VP9/");
    let refusal = answer(&without, &[picture()], false).unwrap_err().to_string();
    insta::assert_snapshot!("refused_without_h264", refusal);
    let single = offers::h264(&["42e01f"]).replace("packetization-mode=1", "packetization-mode=0");
    let refusal = answer(&single, &[picture()], false).unwrap_err().to_string();
    insta::assert_snapshot!("refused_with_single_units_alone", refusal);
    let refusal = answer(&offers::chromium(), &[picture()], true).unwrap_err().to_string();
    insta::assert_snapshot!("refused_for_b_frames", refusal);
    let offer = Offer::parse(
        without
            .replace("recvonly", "sendonly")
            .replace("opus/", "speex/")
            .replace("PCM", "X")
            .as_bytes(),
    )
    .unwrap();
    let refusal = Publisher::answer(&offer, &config(), &mut numbers(6), SimClock::new().now())
        .unwrap_err()
        .to_string();
    insta::assert_snapshot!("refused_publisher", refusal);
}

#[test]
fn sound_alone_is_heard_of_a_stream_that_browsers_cannot_show() {
    let offer = offers::chromium().replace("m=video 9", "m=video 0");
    let tracks = [picture(), sound(Format::Opus(Opus { channels: 2 }))];
    let answered = answer(&offer, &tracks, true).unwrap();
    assert!(answered.sdp.contains("m=video 0 "));
    assert_eq!(answered.session.tracks().collect::<Vec<_>>(), [TrackIndex(1)]);
}

#[rstest]
#[case("", OfferError::NotSdp)]
#[case("{\"sdp\":\"v=0\"}", OfferError::NotSdp)]
#[case("v=0\r\n", OfferError::NotSdp)]
#[case("v=0\r\na=ice-ufrag:abcd\r\n", OfferError::NoMedia)]
fn what_is_no_offer_is_told(#[case] text: &str, #[case] expected: OfferError) {
    assert_eq!(Offer::parse(text.as_bytes()).unwrap_err(), expected);
}

#[rstest]
#[case("a=fingerprint:sha-256", "a=fingerprint:sha-1", OfferError::NoFingerprint)]
#[case("a=ice-pwd:8kZ", "a=ice-pwd:\r\na=x:", OfferError::NoCredentials)]
#[case("a=ice-ufrag:Yq7T", "a=ice-ufrag:Y", OfferError::NoCredentials)]
#[case("a=extmap-allow-mixed", "a=ice-lite", OfferError::BothLite)]
fn what_every_session_needs_is_missed(#[case] there: &str, #[case] instead: &str, #[case] expected: OfferError) {
    let text = offers::chromium().replace(there, instead);
    assert_eq!(Offer::parse(text.as_bytes()).unwrap_err(), expected);
}

#[test]
fn limits_hold() {
    let lines = format!("{}{}", offers::chromium(), "a=x\r\n".repeat(5_000));
    assert!(matches!(
        Offer::parse(lines.as_bytes()),
        Err(OfferError::TooLarge { what: "lines", .. })
    ));
    let sections = format!(
        "{}{}",
        offers::chromium(),
        "m=video 9 UDP/TLS/RTP/SAVPF 96\r\n".repeat(40)
    );
    assert!(matches!(
        Offer::parse(sections.as_bytes()),
        Err(OfferError::TooLarge { what: "m= lines", .. })
    ));
    let bytes = format!("{}a={}", offers::chromium(), "x".repeat(200_000));
    assert!(matches!(
        Offer::parse(bytes.as_bytes()),
        Err(OfferError::TooLarge { what: "bytes", .. })
    ));
}

/// An offer with some of its lines gone, doubled, exchanged or broken.
fn mangled(offer: &str, changes: &[(prop::sample::Index, u8, prop::sample::Index)]) -> String {
    let mut lines: Vec<String> = offer.lines().map(str::to_owned).collect();
    for (at, change, other) in changes {
        let (at, other) = (at.index(lines.len()), other.index(lines.len()));
        match change % 5 {
            0 if lines.len() > 1 => drop(lines.remove(at)),
            1 => lines.insert(at, lines[other].clone()),
            2 => lines.swap(at, other),
            3 => {
                let cut = lines[at].char_indices().nth(other).map_or(0, |(cut, _)| cut);
                lines[at].truncate(cut);
            }
            _ => lines[at] = lines[at].replace(['0', '1', '9'], "65536"),
        }
    }
    lines.join("\r\n")
}

/// Found by fuzzing: what is white in Unicode alone (a vertical tab, a no-break space) is a part of its line like any other character.
#[test]
fn a_line_begins_with_its_letter() {
    for white in ['\u{b}', '\u{a0}'] {
        let offer = offers::chromium().replace("m=audio", &format!("{white}m=audio"));
        let answered = answer(&offer, &[picture()], false).unwrap();
        let sections = answered.sdp.lines().filter(|line| line.starts_with("m=")).count();
        assert_eq!(sections, 1, "{}", answered.sdp);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn rubbish_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..2_000)) {
        let _ = Offer::parse(&bytes);
        let _ = Fragment::parse(&bytes);
    }

    #[test]
    fn broken_offers_are_answered_or_refused(changes in prop::collection::vec(any::<(prop::sample::Index, u8, prop::sample::Index)>(), 1..12)) {
        let tracks = [picture(), sound(Format::Opus(Opus { channels: 2 }))];
        let _ = answer(&mangled(&offers::chromium(), &changes), &tracks, false);
        if let Ok(offer) = Offer::parse(mangled(&offers::publishing(), &changes).as_bytes()) {
            let _ = Publisher::answer(&offer, &config(), &mut numbers(1), SimClock::new().now());
        }
    }
}
