//! Streams with known frames, and what is listed of them.

mod world;

use media::audio::{G711, Law};
use media::{Format, Timescale};
use proptest::prelude::*;
use rstest::rstest;
use testkit::stream::Settings;

use super::*;
use world::*;

fn seeds() -> Config {
    Config {
        part: Duration::from_millis(50),
        segment: Duration::from_millis(200),
        segments: 3,
        ..Config::default()
    }
}

#[test]
fn a_list_as_players_get_it() {
    let mut world = World::new(Config::default());
    world.play(64);
    insta::assert_snapshot!("list", world.list());
    insta::assert_snapshot!("multivariant", world.multivariant());
}

/// All of the draft's rules, and ours, over streams of all kinds.
#[rstest]
#[case::usual(Config::default(), 30, 10, None)]
#[case::parts_do_not_divide_the_gop(Config::default(), 25, 25, None)]
#[case::sixty_a_second(Config::default(), 60, 60, Some(Sound::aac()))]
#[case::seeds(seeds(), 30, 10, Some(Sound::opus()))]
#[case::gop_of_two_seconds(Config::default(), 30, 60, Some(Sound::aac()))]
#[case::gop_without_end(Config::default(), 30, 0, Some(Sound::opus()))]
#[case::slow(Config::default(), 5, 5, None)]
fn lists_and_media_keep_the_rules(
    #[case] config: Config,
    #[case] fps: u32,
    #[case] gop_frames: u64,
    #[case] sound: Option<Sound>,
) {
    let gop = (gop_frames > 0).then(|| Duration::from_secs(gop_frames) / fps);
    let settings = Settings {
        fps,
        gop_frames,
        ..Settings::default()
    };
    let mut world = World::with_sound(config, settings, gop, sound);
    let mut viewer = Viewer::new();
    for frame in 0..fps as usize * 30 {
        if frame == fps as usize * 20 {
            world.pause(2_500_000);
            world.publisher += 1;
            world.video.request_keyframe();
        }
        if world.play_one(0) {
            viewer.look(&mut world);
        }
    }
    world.muxer.end();
    viewer.look(&mut world);
    assert_eq!(viewer.complaints(&[]), [""; 0]);
}

/// Capture times of a camera by its own clock, or of a browser.
#[rstest]
#[case::a_little(4_000)]
#[case::much(14_000)]
fn jitter_stays_out_of_the_lists(#[case] most_us: i64) {
    let mut world = World::new(Config::default());
    let mut viewer = Viewer::new();
    let mut rng = fastrand::Rng::with_seed(7);
    for _ in 0..900 {
        if world.play_one(rng.i64(-most_us..=most_us)) {
            viewer.look(&mut world);
        }
    }
    assert_eq!(viewer.complaints(&[]), [""; 0]);
}

/// Dates go on over what is missing, list time follows slowly; where much is missing it begins anew.
#[test]
fn lost_frames_leave_no_trace_in_parts() {
    let sound = Some(Sound::aac());
    let mut world = World::with_sound(
        Config::default(),
        Settings::default(),
        Some(Duration::from_micros(333_333)),
        sound,
    );
    let mut viewer = Viewer::new();
    let mut rng = fastrand::Rng::with_seed(3);
    for frame in 0..1_800 {
        if rng.u8(..100) < 2 || (900..909).contains(&frame) {
            world.lose_one();
        } else if world.play_one(rng.i64(-3_000..3_000)) {
            viewer.look(&mut world);
        }
    }
    assert!(
        world.list().contains("#EXT-X-DISCONTINUITY-SEQUENCE:101"),
        "of the nine in a row"
    );
    // A GOP that lost a frame does not end where it was foretold.
    let but = [testkit::hls::Rule::HintBroken];
    assert_eq!(viewer.complaints(&but), [""; 0]);
}

/// Players count from the decode time of a segment's first frame. Where frames are missing that is not when it is shown, and a date that did
/// not go with it would be wrong by the frames that are missing.
#[test]
fn dates_go_with_list_time() {
    let mut world = World::of(
        Config::default(),
        Settings::default(),
        Some(Duration::from_micros(333_333)),
    );
    let mut rng = fastrand::Rng::with_seed(4);
    let mut compared = 0;
    for frame in 0..1_800 {
        if rng.u8(..100) < 3 {
            world.lose_one();
        } else {
            world.play_one(0);
        }
        if frame < 90 || frame % 30 != 0 {
            continue;
        }
        let list = world.list();
        let mut last = None::<(i64, i64)>;
        let mut date_ms = 0;
        for line in list.lines() {
            match line.split_once(':') {
                Some(("#EXT-X-PROGRAM-DATE-TIME", date)) => date_ms = milliseconds_of_day(date),
                Some(("#EXTINF", duration)) => {
                    if let Some((before_ms, duration_ms)) = last {
                        let off = date_ms - before_ms - duration_ms;
                        assert!(off.abs() <= 3, "{off} ms: {list}");
                        compared += 1;
                    }
                    last = Some((date_ms, micros(duration.trim_end_matches(',')) / 1_000));
                }
                _ if line == "#EXT-X-DISCONTINUITY" => last = None,
                _ => {}
            }
        }
    }
    assert!(compared > 200, "{compared}");
}

/// Of `2026-11-21T21:06:27.143Z`.
fn milliseconds_of_day(date: &str) -> i64 {
    let time = date.trim_end_matches('Z').split_once('T').unwrap().1;
    let mut fields = time.split([':', '.']).map(|field| field.parse::<i64>().unwrap());
    let mut next = || fields.next().unwrap();
    ((next() * 60 + next()) * 60 + next()) * 1_000 + next()
}

#[test]
fn a_part_is_there_with_its_last_frame() {
    let mut world = World::new(Config::default());
    world.play(90);
    // Three frames to a part, ten parts to a segment: with the third frame, not with the fourth.
    let new = world.play(30);
    assert_eq!(new, [2, 5, 8, 11, 14, 17, 20, 23, 26, 29]);
}

#[test]
fn the_last_part_of_a_segment_is_foretold() {
    // 25 frames are eight parts of three and one more, which is as long as it gets.
    let settings = Settings {
        fps: 25,
        gop_frames: 25,
        ..Settings::default()
    };
    let mut world = World::of(Config::default(), settings, Some(Duration::from_secs(1)));
    world.play(76);
    let list = world.list();
    assert_eq!(
        lines(&list, "#EXTINF:"),
        ["1,"; 2],
        "the third is whole, and named with the next part"
    );
    assert!(
        list.ends_with(",URI=\"run_102.8.mp4\"\n#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"run_103.0.mp4\"\n"),
        "{list}"
    );
    let new = world.play(25);
    assert_eq!(
        new,
        [1, 4, 7, 10, 13, 16, 19, 22, 23],
        "the short one as well: frame 24 of its GOP"
    );
}

#[test]
fn what_is_hinted_comes() {
    for config in [Config::default(), seeds()] {
        let mut world = World::new(config);
        world.play(64);
        for _ in 0..120 {
            let list = world.list();
            let hint = attribute(lines(&list, "#EXT-X-PRELOAD-HINT:TYPE=PART,")[0], "URI")
                .unwrap()
                .to_owned();
            assert!(matches!(world.media(&hint), Resource::Wait));
            while world.play(1).is_empty() {}
            assert!(matches!(world.media(&hint), Resource::Ready(_)), "{hint}");
            let list = world.list();
            let last = lines(&list, "#EXT-X-PART:").last().copied().unwrap();
            assert_eq!(attribute(last, "URI"), Some(&*hint));
        }
    }
}

#[test]
fn a_segment_is_its_parts() {
    let mut world = World::new(Config::default());
    world.play(70);
    let bytes = |world: &World, uri: &str| match world.media(uri) {
        Resource::Ready(bytes) => bytes.concat(),
        other => panic!("{uri}: {other:?}"),
    };
    let parts: Vec<u8> = (0..10)
        .flat_map(|part| bytes(&world, &format!("run_101.{part}.mp4")))
        .collect();
    assert_eq!(bytes(&world, "run_101.mp4"), parts);
    assert!(bytes(&world, "run_i0.mp4").starts_with(b"\0\0\0\x20ftyp"));
    for gone in [
        "run_99.mp4",
        "run_101.10.mp4",
        "run_102.mp4",
        "run_103.0.mp4",
        "run_i1.mp4",
        "other_101.mp4",
    ] {
        assert!(matches!(world.media(gone), Resource::Gone), "{gone}");
    }
}

#[rstest]
// Whole: 100, 101; the third grows and has three parts.
#[case("", "ready")]
#[case("_HLS_msn=0", "ready")]
#[case("_HLS_msn=101", "ready")]
#[case("_HLS_msn=102", "wait")]
#[case("_HLS_msn=103", "wait")]
#[case("_HLS_msn=104", "refused")]
#[case("_HLS_msn=18446744073709551615", "refused")]
#[case("_HLS_msn=101&_HLS_part=9", "ready")]
#[case::past_its_segment_is_the_first_of_the_next("_HLS_msn=101&_HLS_part=10", "ready")]
#[case::however_far("_HLS_msn=101&_HLS_part=1000", "ready")]
#[case("_HLS_msn=102&_HLS_part=2", "ready")]
#[case("_HLS_msn=102&_HLS_part=3", "wait")]
#[case::three_seconds_are_28_parts("_HLS_msn=102&_HLS_part=30", "wait")]
#[case::and_no_more("_HLS_msn=102&_HLS_part=31", "refused")]
#[case("_HLS_msn=103&_HLS_part=28", "wait")]
#[case("_HLS_msn=103&_HLS_part=29", "refused")]
#[case("_HLS_msn=104&_HLS_part=0", "refused")]
#[case("_HLS_msn=102&_HLS_part=18446744073709551615", "refused")]
fn requests(#[case] query: &str, #[case] expected: &str) {
    let mut world = World::new(Config::default());
    world.play(69);
    let found = match world.ask(query) {
        List::Ready(_) => "ready",
        List::Wait => "wait",
        List::Refused(_) => "refused",
    };
    assert_eq!(found, expected);
}

#[test]
fn past_the_end_of_the_last_segment_is_waited_for() {
    let mut world = World::new(Config::default());
    world.play(60);
    assert!(
        matches!(world.ask("_HLS_msn=101&_HLS_part=10"), List::Wait),
        "the next has not begun"
    );
    assert!(matches!(world.ask("_HLS_msn=101&_HLS_part=9"), List::Ready(_)));
    world.play(3);
    assert!(matches!(world.ask("_HLS_msn=101&_HLS_part=10"), List::Ready(_)));
}

#[test]
fn a_list_is_rendered_once_for_all() {
    let mut world = World::new(Config::default());
    world.play(70);
    let (List::Ready(one), List::Ready(two)) = (world.ask(""), world.ask("_HLS_msn=101")) else {
        panic!()
    };
    assert!(std::sync::Arc::ptr_eq(&one, &two));
    assert!(std::ptr::eq(one.gzip(), two.gzip()));
    world.play(3);
    let List::Ready(three) = world.ask("") else { panic!() };
    assert_ne!(one.plain(), three.plain());
}

#[test]
fn there_is_a_list_as_soon_as_the_pace_is_known() {
    let settings = Settings {
        gop_frames: 300,
        ..Settings::default()
    };
    let mut world = World::of(Config::default(), settings, None);
    // Sixteen distances tell the pace.
    world.play(16);
    assert!(matches!(world.ask(""), List::Wait));
    world.play(1);
    let list = world.list();
    // One whole segment, so that players begin; the next hangs on it.
    assert_eq!(lines(&list, "#EXTINF:").len(), 1);
    assert_eq!(lines(&list, "#EXT-X-TARGETDURATION:"), ["4"]);
    world.play(1_000);
    let list = world.list();
    assert_eq!(lines(&list, "#EXT-X-TARGETDURATION:"), ["4"]);
    for duration in lines(&list, "#EXTINF:") {
        assert!(micros(duration.trim_end_matches(',')) < 4_500_000, "{list}");
    }
}

#[test]
fn gops_that_are_long_but_known_make_whole_segments() {
    let settings = Settings {
        gop_frames: 60,
        ..Settings::default()
    };
    let mut world = World::of(Config::default(), settings, Some(Duration::from_secs(2)));
    world.play(600);
    let list = world.list();
    assert_eq!(lines(&list, "#EXTINF:"), ["2,"; 7]);
    assert_eq!(lines(&list, "#EXT-X-TARGETDURATION:"), ["2"]);
}

#[test]
fn three_target_durations_stay_listed() {
    let mut world = World::new(seeds());
    world.play(600);
    let list = world.list();
    let durations: Vec<_> = lines(&list, "#EXTINF:")
        .iter()
        .map(|text| micros(text.trim_end_matches(',')))
        .collect();
    let listed_us: i64 = durations.iter().sum();
    assert!(durations.len() >= 9 && listed_us >= 3_000_000, "{durations:?}");
    assert!(
        listed_us - durations[0] < 3_000_000,
        "and not more than needed: {durations:?}"
    );
}

#[test]
fn what_was_listed_can_be_had_a_while_longer() {
    let mut world = World::new(Config::default());
    world.play(300);
    let list = world.list();
    let segment = list.lines().find(|line| !line.starts_with('#')).unwrap().to_owned();
    let part = attribute(lines(&list, "#EXT-X-PART:")[0], "URI").unwrap().to_owned();
    world.play(31);
    assert!(!world.list().contains(&segment));
    assert!(matches!(world.media(&segment), Resource::Ready(_)));
    world.play(75);
    assert!(!world.list().contains(&part));
    assert!(matches!(world.media(&part), Resource::Ready(_)));
    world.play(600);
    assert!(matches!(world.media(&segment), Resource::Gone));
    assert!(matches!(world.media(&part), Resource::Gone));
}

#[test]
fn memory_is_bounded() {
    let config = Config {
        memory_bytes: 1 << 20,
        ..Config::default()
    };
    let settings = Settings {
        frame_bytes: 40_000,
        gop_frames: 0,
        ..Settings::default()
    };
    let mut world = World::of(config, settings, None);
    for _ in 0..600 {
        world.play(1);
        assert!(world.muxer.bytes() < (1 << 20) + 400_000, "{}", world.muxer.bytes());
    }
    // Nor does one whose time stands still pile up.
    let mut world = World::of(config, settings, None);
    let first = world.video.next_frame(media::WallTime::from_unix_micros(START_US));
    for _ in 0..300 {
        world.muxer.push(&first, 0);
    }
    assert!(world.muxer.bytes() < (1 << 20) + 400_000, "{}", world.muxer.bytes());
}

#[test]
fn a_returning_publisher_begins_behind_a_discontinuity() {
    let mut world = World::new(Config::default());
    world.play(64);
    let before = world.list();
    world.pause(3_000_000);
    (world.publisher, _) = (1, world.video.request_keyframe());
    world.play(7);
    let list = world.list();
    insta::assert_snapshot!("discontinuity", list.split_once("#EXTINF:1,\nrun_101.mp4\n").unwrap().1);
    for tag in [
        "#EXT-X-TARGETDURATION:",
        "#EXT-X-PART-INF:",
        "#EXT-X-SERVER-CONTROL:",
        "#EXT-X-MEDIA-SEQUENCE:",
    ] {
        assert_eq!(lines(&list, tag), lines(&before, tag));
    }
    // When the discontinuity is no longer listed, it is counted.
    world.play(600);
    let list = world.list();
    assert!(!list.contains("#EXT-X-DISCONTINUITY\n"));
    assert_eq!(lines(&list, "#EXT-X-DISCONTINUITY-SEQUENCE:"), ["101"]);
    assert!(list.contains("#EXT-X-MAP:URI=\"run_i1.mp4\""));
    assert!(matches!(world.media("run_i0.mp4"), Resource::Gone));
}

#[test]
fn other_parameter_sets_get_another_header() {
    let mut world = World::new(Config::default());
    world.play(64);
    world.video.resize(320, 240);
    world.play(40);
    let list = world.list();
    assert_eq!(
        lines(&list, "#EXT-X-MAP:"),
        ["URI=\"run_i0.mp4\"", "URI=\"run_i1.mp4\""]
    );
    assert_eq!(lines(&list, "#EXT-X-DISCONTINUITY").len(), 2, "the sequence and one");
    assert!(world.multivariant().contains("RESOLUTION=320x240"));
}

#[test]
fn the_end_is_said_and_nobody_waits() {
    let mut world = World::new(Config::default());
    world.play(64);
    world.muxer.end();
    let list = world.list();
    assert!(
        list.ends_with("#EXTINF:0.133,\nrun_102.mp4\n#EXT-X-ENDLIST\n"),
        "{list}"
    );
    assert_eq!(text(world.ask("_HLS_msn=105&_HLS_part=3")), list);
    assert_eq!(text(world.ask("_HLS_skip=YES")), list);
    assert!(matches!(world.media("run_103.0.mp4"), Resource::Gone));
    assert_eq!(world.play(60), [0; 0], "nothing follows");
}

#[test]
fn an_update_leaves_out_what_the_client_has() {
    let mut world = World::new(Config::default());
    world.play(400);
    let (whole, delta) = (world.list(), text(world.ask("_HLS_skip=YES")));
    let skipped: usize = lines(&delta, "#EXT-X-SKIP:SKIPPED-SEGMENTS=")[0].parse().unwrap();
    let count = |list: &str| lines(list, "#EXTINF:").len();
    assert_eq!((skipped, count(&delta) + skipped), (1, count(&whole)));
    assert!(whole.ends_with(delta.split_once("SKIPPED-SEGMENTS=1\n").unwrap().1));
    // Without the attribute the directive is passed over.
    let mut world = World::new(seeds());
    world.play(400);
    assert_eq!(text(world.ask("_HLS_skip=v2")), world.list());
}

#[test]
fn a_token_is_on_every_uri() {
    let mut world = World::new(Config::default());
    world.play(100);
    let token = "a%2Fb";
    let list = text(world.muxer.list(&Query::default(), Some(token)));
    let uris: Vec<_> = list.lines().filter(|line| line.contains(".mp4")).collect();
    assert!(uris.len() > 30);
    assert!(uris.iter().all(|line| line.contains(".mp4?token=a%2Fb")), "{list}");
    assert!(
        world
            .multivariant_with(Some(token))
            .contains("\nstream.m3u8?token=a%2Fb\n")
    );
    assert!(!world.list().contains("token"), "those without one do not get it");
    // Many tokens are served, and do not pile up.
    for token in 0..100 {
        let token = token.to_string();
        assert!(text(world.muxer.list(&Query::default(), Some(&token))).contains(&*token));
    }
}

#[rstest]
#[case::aac(Sound::aac(), "mp4a.40.2")]
#[case::opus(Sound::opus(), "opus")]
fn sound_stands_in_the_parts(#[case] sound: Sound, #[case] codec: &str) {
    let mut world = World::with_sound(
        Config::default(),
        Settings::default(),
        Some(Duration::from_micros(333_333)),
        Some(sound),
    );
    world.play(100);
    let list = world.multivariant();
    assert!(list.contains(&format!("CODECS=\"avc1.42C01F,{codec}\"")), "{list}");
    let Resource::Ready(part) = world.media("run_101.4.mp4") else {
        panic!()
    };
    let count = |name: &[u8]| part[0].windows(4).filter(|bytes| *bytes == name).count();
    assert_eq!((count(b"traf"), count(b"mdat"), count(b"prft")), (2, 1, 1));
}

#[test]
fn sound_that_falls_silent_leaves_and_comes_back() {
    let mut world = World::with_sound(
        Config::default(),
        Settings::default(),
        Some(Duration::from_micros(333_333)),
        Some(Sound::opus()),
    );
    world.play(100);
    assert!(world.multivariant().contains("opus"));
    world.sound().silent = true;
    world.play(60);
    assert!(!world.multivariant().contains("opus"));
    assert_eq!(lines(&world.list(), "#EXT-X-DISCONTINUITY\n").len(), 0);
    assert_eq!(world.list().matches("#EXT-X-DISCONTINUITY\n").count(), 1);
    world.sound().silent = false;
    world.play(60);
    assert!(world.multivariant().contains("opus"));
    assert_eq!(world.list().matches("#EXT-X-DISCONTINUITY\n").count(), 2);
}

#[test]
fn what_players_do_not_take_is_left_out() {
    let g711 = Format::G711(G711 {
        law: Law::Mu,
        sample_rate_hz: 8_000,
        channels: 1,
    });
    let sound = Sound::new(g711, Timescale::G711, 160);
    let track = sound.track.clone();
    let mut world = World::with_sound(
        Config::default(),
        Settings::default(),
        Some(Duration::from_micros(333_333)),
        Some(sound),
    );
    world.play(100);
    assert!(
        world
            .multivariant()
            .contains("# G.711 sound is left out: HLS players do not take it; publish AAC or Opus\n")
    );
    let error = Muxer::new(&[track], None, identity(), Config::default()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "no track of this stream can be played by HLS, which takes H.264, H.265, AAC and Opus; it has G.711"
    );
}

/// Seconds between the keyframes of a stream whose frames are lost, late, early, and whose encoder does as it likes.
#[derive(Clone, Debug)]
struct Trouble {
    late_us: i64,
    lost: bool,
    keyframe: bool,
    publisher: bool,
}

fn trouble() -> impl Strategy<Value = Trouble> {
    let rare = |percent: u32| prop::bool::weighted(f64::from(percent) / 100.0);
    (0_i64..12_000, rare(3), rare(5), rare(1)).prop_map(|(late_us, lost, keyframe, publisher)| Trouble {
        late_us,
        lost,
        keyframe,
        publisher,
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn lists_keep_their_promises(
        troubles in prop::collection::vec(trouble(), 50..400),
        seeds_config: bool,
        gop_frames in prop::sample::select(vec![0_u64, 7, 10, 30, 61]),
    ) {
        let config = if seeds_config { seeds() } else { Config::default() };
        let mut world = World::of(config, Settings { gop_frames, ..Settings::default() }, None);
        let mut last = (0, 0);
        let mut targets = None;
        for trouble in troubles {
            if trouble.lost {
                world.lose_one();
                continue;
            }
            if trouble.publisher {
                world.publisher += 1;
                world.video.request_keyframe();
            }
            if trouble.keyframe {
                world.video.request_keyframe();
            }
            if !world.play_one(trouble.late_us) {
                continue;
            }
            let List::Ready(list) = world.ask("") else { continue };
            let list = std::str::from_utf8(list.plain()).unwrap();
            let target_us = micros(attribute(lines(list, "#EXT-X-PART-INF:")[0], "PART-TARGET").unwrap());
            let target_s: i64 = lines(list, "#EXT-X-TARGETDURATION:")[0].parse().unwrap();
            prop_assert_eq!(*targets.get_or_insert((target_us, target_s)), (target_us, target_s));
            for duration in part_durations(list) {
                prop_assert!((1..=target_us).contains(&duration), "{}", list);
            }
            for duration in lines(list, "#EXTINF:") {
                let duration_us = micros(duration.trim_end_matches(','));
                prop_assert!((duration_us + 500_000) / 1_000_000 <= target_s, "{}", list);
            }
            let sequence: u64 = lines(list, "#EXT-X-MEDIA-SEQUENCE:")[0].parse().unwrap();
            let discontinuities: u64 = lines(list, "#EXT-X-DISCONTINUITY-SEQUENCE:")[0].parse().unwrap();
            prop_assert!(sequence >= last.0 && discontinuities >= last.1);
            last = (sequence, discontinuities);
        }
    }
}

/// Two streams of one camera, the second begun later, with times of its own.
#[test]
fn variants_have_the_same_times_and_tell_how_far_the_other_is() {
    let base = media::WallTime::from_unix_micros(START_US - 5_000_000);
    let mut worlds = [0, 700_000].map(|later| {
        let mut world = World::new(Config::default());
        world.muxer.count_from(base);
        world.pause(later);
        world.play(90);
        world
    });
    let [first, low] = &mut worlds;
    for (world, later_us) in [(&mut *first, 0), (&mut *low, 700_000)] {
        let list = world.list();
        let name = list
            .lines()
            .find(|line| line.ends_with(".mp4") && !line.starts_with('#'));
        let Resource::Ready(bytes) = world.media(name.unwrap()) else {
            panic!("{list}")
        };
        // By the clock of the cameras: five seconds after the base, and a second that is left free before it.
        let decoded_us = decode_time_us(&bytes.concat());
        assert!((decoded_us - 6_000_000 - later_us).abs() < 2_000, "{decoded_us}");
    }
    let last = low.muxer.last_part().unwrap();
    first.muxer.report(Some(Report {
        uri: "low/stream.m3u8",
        last,
    }));
    first.play(10);
    let (msn, part) = last;
    let list = text(first.muxer.list(&Query::default(), Some("t")));
    let report = format!("#EXT-X-RENDITION-REPORT:URI=\"low/stream.m3u8?token=t\",LAST-MSN={msn},LAST-PART={part}\n");
    assert!(list.ends_with(&report), "{list}");
    first.muxer.report(None);
    first.play(10);
    assert!(!first.list().contains("RENDITION-REPORT"));
    first.muxer.end();
    assert!(first.list().ends_with("#EXT-X-ENDLIST\n"));
    // Its list names both.
    let [one, two] = [first, low].map(|world| world.muxer.variant().unwrap());
    let list = multivariant(&[(&one, "stream.m3u8"), (&two, "low/stream.m3u8")], None);
    let list = String::from_utf8(list.plain().to_vec()).unwrap();
    let uris: Vec<_> = list.lines().filter(|line| !line.starts_with('#')).collect();
    assert_eq!(uris, ["stream.m3u8", "low/stream.m3u8"]);
    assert_eq!(lines(&list, "#EXT-X-STREAM-INF:BANDWIDTH=").len(), 2);
}

/// Of the first track, by its `tfdt`, in ticks of 90,000 a second.
fn decode_time_us(fragment: &[u8]) -> i64 {
    let at = fragment.windows(4).position(|word| word == b"tfdt").unwrap();
    assert_eq!(fragment[at + 4], 1, "64 bits");
    let ticks = u64::from_be_bytes(fragment[at + 8..at + 16].try_into().unwrap());
    i64::try_from(ticks).unwrap() * 100 / 9
}
