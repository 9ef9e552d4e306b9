//! Chromium as viewer and publisher.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::browser::{Browser, alone};
use super::support::{Machine, PATIENCE, Server, not_taken, publish_encoded_with_ffmpeg, publish_with_ffmpeg, tool};
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

/// Plays, and has its first picture in two seconds of what the machine leaves to all who have a part in it.
fn first_picture_in_time(browser: &mut Browser, url: &str, who: &str) -> Value {
    let machine = Machine::watch();
    let answer = browser.watch(url);
    let ms = answer["first_ms"]
        .as_f64()
        .unwrap_or_else(|| panic!("no picture: {answer}"));
    let kept_ms = machine.kept().as_secs_f64() * 1_000.0;
    println!("{who}: first picture after {ms:.0} ms, {kept_ms:.0} of them the machine's");
    assert!(
        ms - kept_ms < 2_000.0,
        "first picture after {ms} ms for {who}; the machine kept {kept_ms} ms"
    );
    answer
}

/// Nothing is lost between us and the browser but what it did not take in time, of which so much was there before.
fn nothing_is_lost(seen: &Value, before: u64) {
    let most = i64::try_from(not_taken() - before).unwrap();
    let lost = seen["lost"].as_i64().unwrap_or_else(|| panic!("{seen}"));
    assert!(lost <= most, "{most} were not taken: {seen}");
}

#[test]
fn plays_rejoins_and_is_gone_when_it_says_so() {
    let _alone = alone();
    let before = not_taken();
    let mut server = start();
    let mut browser = Browser::start();
    let url = endpoint(&server, "zerolatency", "whep");
    for round in 1..=6 {
        let answer = first_picture_in_time(&mut browser, &url, &format!("round {round}"));
        first_picture_ms(&answer);
        // By abs-capture-time, on the same machine's clock.
        let age = |seen: &Value| seen["capture_age_ms"].as_f64();
        let seen = browser.look_until("30 pictures, and one that is young", |seen| {
            seen["decoded"].as_u64() > Some(30) && age(seen).is_some_and(|ms| ms < 1_000.0)
        });
        assert!(age(&seen) > Some(-5.0), "a time that is still to come: {seen}");
        // We are the passive side of DTLS: the browser then agrees on AES-GCM.
        assert!(
            seen["srtp"].as_str().unwrap().contains("AES_") && seen["srtp"].as_str().unwrap().ends_with("GCM"),
            "{seen}"
        );
        assert!(seen["dtls"].as_str().unwrap().contains("GCM"), "{seen}");
        assert_eq!(seen["protocol"], "udp", "{seen}");
        nothing_is_lost(&seen, before);
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
    let before = not_taken();
    let server = start();
    let url = endpoint(&server, "zerolatency", "whep");
    let mut browsers = Vec::new();
    for count in 1..=3 {
        let mut browser = Browser::start();
        first_picture_ms(&first_picture_in_time(&mut browser, &url, &format!("viewer {count}")));
        browsers.push(browser);
        assert_eq!(described(&server, "zerolatency")["viewers"], count);
    }
    for browser in &mut browsers {
        let seen = browser.look_until("30 pictures", |seen| seen["decoded"].as_u64() > Some(30));
        nothing_is_lost(&seen, before);
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
    let not_taken_before = not_taken();
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
    nothing_is_lost(&seen, not_taken_before);
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
        first_picture_in_time(&mut browser, &url, "a viewer");
        // No standing delay: the burst, here of four seconds and more, is caught up with.
        let age = |seen: &Value| seen["capture_age_ms"].as_f64();
        browser.look_until("level", |seen| {
            seen["decoded"].as_u64() > Some(100) && age(seen) < Some(300.0)
        });
        let before = browser.call("look", &[])["decoded"].as_u64().unwrap();
        browser.look_until("level a second later", |seen| {
            seen["decoded"].as_u64() > Some(before + 30) && age(seen) < Some(500.0)
        });
        browser.call("leave", &[]);
    }
}

#[test]
fn a_viewer_stays_while_its_stream_is_held_and_ends_with_it() {
    let _alone = alone();
    // Longer than FFmpeg takes to start on a busy machine.
    let mut server = Server::start_with(&["--open"], &[("SIGHTLINE_LIMITS_HOLD", "12s")]);
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
    let before = not_taken();
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
    nothing_is_lost(&seen, before);
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
