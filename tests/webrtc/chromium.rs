//! Chromium as viewer and publisher.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::browser::{Browser, alone};
use super::support::{PATIENCE, Server, publish_encoded_with_ffmpeg, publish_with_ffmpeg, tool};
use super::{described, endpoint};

fn start() -> Server {
    Server::start(&["--open", "--source", "test"])
}

/// A picture on a machine that is busy with other tests; what it takes on a quiet one is measured in `docs/design/browser.md`.
fn first_picture_ms(answer: &Value) -> f64 {
    let ms = answer["first_ms"]
        .as_f64()
        .unwrap_or_else(|| panic!("no picture: {answer}"));
    assert_eq!((&answer["width"], &answer["height"]), (&json!(640), &json!(480)));
    ms
}

#[test]
fn plays_rejoins_and_is_gone_when_it_says_so() {
    let _alone = alone();
    let mut server = start();
    let mut browser = Browser::start();
    let url = endpoint(&server, "zerolatency", "whep");
    for round in 1..=6 {
        let answer = browser.watch(&url);
        let ms = first_picture_ms(&answer);
        assert!(ms < 2_000.0, "first picture after {ms} ms in round {round}");
        let seen = browser.look_until("30 pictures", |seen| seen["decoded"].as_u64() > Some(30));
        // We are the passive side of DTLS: the browser then agrees on AES-GCM.
        assert!(
            seen["srtp"].as_str().unwrap().contains("AES_") && seen["srtp"].as_str().unwrap().ends_with("GCM"),
            "{seen}"
        );
        assert!(seen["dtls"].as_str().unwrap().contains("GCM"), "{seen}");
        assert_eq!((&seen["lost"], &seen["protocol"]), (&json!(0), &json!("udp")), "{seen}");
        // By abs-capture-time, on the same machine's clock.
        let age = seen["capture_age_ms"]
            .as_f64()
            .unwrap_or_else(|| panic!("no capture time: {seen}"));
        assert!((-5.0..1_000.0).contains(&age), "{age} ms");
        assert_eq!(described(&server, "zerolatency")["viewers"], 1);
        assert_eq!(browser.call("leave", &[]), json!([200, 404]));
        server.wait_for_events("WebRTC viewer left", "zerolatency", round);
    }
    assert_eq!(described(&server, "zerolatency")["viewers"], 0);
    assert_eq!(server.events("WebRTC viewer joined", "zerolatency").len(), 6);
}

/// Each of three has its picture while the others play on.
#[test]
fn a_second_viewer_and_a_third_disturb_nobody() {
    let _alone = alone();
    let server = start();
    let url = endpoint(&server, "zerolatency", "whep");
    let mut browsers = Vec::new();
    for count in 1..=3 {
        let mut browser = Browser::start();
        let ms = first_picture_ms(&browser.watch(&url));
        assert!(ms < 2_000.0, "first picture after {ms} ms for viewer {count}");
        browsers.push(browser);
        assert_eq!(described(&server, "zerolatency")["viewers"], count);
    }
    for browser in &mut browsers {
        let seen = browser.look_until("30 pictures", |seen| seen["decoded"].as_u64() > Some(30));
        assert_eq!(seen["lost"], 0, "{seen}");
    }
    assert_eq!(browsers[0].call("leave", &[]), json!([200, 404]));
    let before = browsers[1].call("look", &[])["decoded"].as_u64().unwrap();
    browsers[1].look_until("pictures after the first left", |seen| {
        seen["decoded"].as_u64() > Some(before + 30)
    });
    assert_eq!(described(&server, "zerolatency")["viewers"], 2);
}

/// Hundreds of offers that are none, or half of one: each is answered with what is wrong with it, and who plays notices nothing.
#[test]
fn rubbish_offers_disturb_nobody() {
    let _alone = alone();
    let server = start();
    let url = endpoint(&server, "zerolatency", "whep");
    let mut browser = Browser::start();
    first_picture_ms(&browser.watch(&url));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("offer");
    let mut counts = [0_usize; 2];
    for (which, stream, offer) in [("whep", "zerolatency", "view"), ("whip", "other", "publish")] {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/webrtc_offer");
        let offer = std::fs::read_to_string(corpus.join(offer)).unwrap();
        let lines: Vec<_> = offer.lines().collect();
        for at in 0..lines.len() {
            let without = [&lines[..at], &lines[at + 1..]].concat();
            let twice = [&lines[..=at], &lines[at..]].concat();
            let other = [
                &lines[..at],
                &["a=mid:\u{1}", "m=video 9 UDP/TLS/RTP/SAVPF 999999"],
                &lines[at..],
            ]
            .concat();
            for body in [
                without.join("\r\n"),
                twice.join("\r\n"),
                other.join("\r\n"),
                lines[..at].join("\n"),
            ] {
                std::fs::write(&file, body).unwrap();
                let status = post(&endpoint(&server, stream, which), &file);
                // Some are good enough to be answered; nobody comes then.
                assert!(matches!(status, 201 | 400..=499), "{status} for line {at} of {which}");
                counts[usize::from(status == 201)] += 1;
            }
        }
    }
    let [refused, answered] = counts;
    assert!(refused > 50 && answered > 50, "{refused} refused, {answered} answered");
    let before = browser.call("look", &[])["decoded"].as_u64().unwrap();
    let seen = browser.look_until("pictures", |seen| seen["decoded"].as_u64() > Some(before + 30));
    assert_eq!(seen["lost"], 0, "{seen}");
    assert_eq!(described(&server, "zerolatency")["viewers"], 1);
    let said = server.process.said();
    assert!(!said.iter().any(|line| line.contains("panic")), "{said:#?}");
}

fn post(url: &str, offer: &Path) -> u16 {
    let output = tool("curl")
        .args([
            "--silent",
            "--max-time",
            "20",
            "--output",
            "/dev/null",
            "--write-out",
            "%{http_code}",
        ])
        .args(["--header", "Content-Type: application/sdp", "--data-binary"])
        .arg(format!("@{}", offer.display()))
        .arg(url)
        .output()
        .unwrap();
    String::from_utf8_lossy(&output.stdout).parse().unwrap()
}

#[test]
fn plays_by_tcp_where_udp_does_not_get_through() {
    let _alone = alone();
    let mut server = start();
    let mut browser = Browser::start();
    let answer = browser.call(
        "watch",
        &[json!(endpoint(&server, "zerolatency", "whep")), json!({"tcp": true})],
    );
    first_picture_ms(&answer);
    let seen = browser.look_until("30 pictures", |seen| seen["decoded"].as_u64() > Some(30));
    assert_eq!(seen["protocol"], "tcp", "{seen}");
    let joined = server.wait_for_events("WebRTC viewer joined", "zerolatency", 1);
    assert_eq!(joined["protocol"], "WebRTC/TCP");
}

#[test]
fn a_stream_that_is_not_there_or_cannot_be_played_is_told() {
    let _alone = alone();
    let mut server = start();
    let mut browser = Browser::start();
    let missing = browser.call("watch", &[json!(endpoint(&server, "nothing", "whep"))]);
    assert_eq!(missing["status"], 404, "{missing}");
    let _publisher = publish_encoded_with_ffmpeg(
        &mut server,
        "bframes",
        "tcp",
        "-c:v libx264 -preset veryfast -bf 2 -g 30",
    );
    // Until a group of pictures is there, by which it is known.
    let begun = Instant::now();
    loop {
        let refused = browser.call("watch", &[json!(endpoint(&server, "bframes", "whep"))]);
        if refused["status"] == 400 {
            let text = refused["text"].as_str().unwrap();
            assert!(
                text.contains("B-frames") && text.contains("-bf 0") && text.contains("H.264"),
                "{text}"
            );
            return;
        }
        assert!(begun.elapsed() < PATIENCE, "{refused}");
    }
}

/// FFmpeg cannot be asked for a keyframe: what is kept of the last ten seconds brings the first picture.
#[test]
fn the_first_picture_is_there_whatever_the_group_of_pictures() {
    let _alone = alone();
    let mut server = start();
    let mut publisher = publish_with_ffmpeg(&mut server, "ffmpeg", "tcp", 300);
    std::thread::sleep(Duration::from_secs(4));
    assert!(publisher.is_running());
    let mut browser = Browser::start();
    let url = endpoint(&server, "ffmpeg", "whep");
    for _ in 0..2 {
        let answer = browser.watch(&url);
        let ms = answer["first_ms"]
            .as_f64()
            .unwrap_or_else(|| panic!("no picture: {answer}"));
        assert!(ms < 2_000.0, "{ms} ms");
        // No standing delay: the burst, here of four seconds and more, is caught up with.
        let age = |seen: &Value| seen["capture_age_ms"].as_f64();
        browser.look_until("level", |seen| {
            seen["decoded"].as_u64() > Some(100) && age(seen) < Some(300.0)
        });
        let before = browser.call("look", &[])["decoded"].as_u64().unwrap();
        let seen = browser.look_until("a second later", |seen| seen["decoded"].as_u64() > Some(before + 30));
        assert!(age(&seen) < Some(500.0), "{seen}");
        browser.call("leave", &[]);
    }
}

#[test]
fn a_viewer_stays_while_its_stream_is_held_and_ends_with_it() {
    let _alone = alone();
    let mut server = Server::start_with(&["--open"], &[("SIGHTLINE_LIMITS_HOLD", "2s")]);
    let mut publisher = publish_with_ffmpeg(&mut server, "held", "tcp", 30);
    let mut browser = Browser::start();
    browser.watch(&endpoint(&server, "held", "whep"));
    publisher.kill();
    server.wait_for_event("publisher left", "held");
    assert!(server.events("WebRTC viewer left", "held").is_empty());
    let mut again = publish_with_ffmpeg(&mut server, "held", "tcp", 30);
    let before = browser.call("look", &[])["decoded"].as_u64().unwrap();
    browser.look_until("pictures of the second publisher", |seen| {
        seen["decoded"].as_u64() > Some(before + 30)
    });
    again.kill();
    let left = server.wait_for_events("WebRTC viewer left", "held", 1);
    assert!(left["reason"].as_str().unwrap().contains("publisher is gone"), "{left}");
    browser.look_until("the end", |seen| seen["connection"] != "connected");
}

#[test]
fn publishes_its_camera_and_microphone() {
    let _alone = alone();
    let mut server = Server::start(&["--open"]);
    let mut publisher = Browser::start();
    let answer = publisher.call("publish", &[json!(endpoint(&server, "house/cam", "whip"))]);
    assert_eq!(answer["status"], 201, "{answer}");
    server.wait_for_event("WebRTC publisher began", "house/cam");
    let mut viewer = Browser::start();
    // A keyframe is asked for: the browser sends none by itself.
    first_picture_ms(&viewer.watch(&endpoint(&server, "house/cam", "whep")));
    let seen = viewer.look_until("pictures and sound", |seen| {
        seen["decoded"].as_u64() > Some(30) && seen["sounds"].as_u64() > Some(50)
    });
    assert_eq!(seen["lost"], 0, "{seen}");
    let stream = described(&server, "house/cam");
    assert_eq!(
        (&stream["publisher"]["protocol"], &stream["viewers"]),
        (&json!("WebRTC"), &json!(1)),
        "{stream}"
    );
    let codecs: Vec<_> = stream["tracks"]
        .as_array()
        .unwrap()
        .iter()
        .map(|track| &track["codec"])
        .collect();
    assert!(
        codecs.contains(&&json!("H.264")) && codecs.contains(&&json!("Opus")),
        "{stream}"
    );
    assert_eq!(publisher.call("leave", &[]), json!([200, 404]));
    server.wait_for_event("WebRTC publisher left", "house/cam");
}
