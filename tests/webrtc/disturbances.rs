//! Ways that lose, reorder and narrow: what is on the screen at their end, and at the end of a clean one beside them. What the machine keeps from all of them
//! is no fault of a way.

use std::time::{Duration, Instant};

use rstest::rstest;
use serde_json::{Value, json};

use super::browser::{Browser, alone};
use super::network::{Network, Place};
use super::support::{Machine, Process, Server, test_tool};

/// Longest time without a new picture on a poor way.
const LONGEST_STILL_MS: f64 = 500.0;
/// Of our own client, which measures and shows nothing: str0m asks for a lost packet every 105 ms, and there is a keyframe a second at the most.
const LONGEST_STILL_OF_OURS_MS: f64 = 1_000.0;
/// A handshake of which two flights in a row are lost.
const FIRST_PICTURE_MS: f64 = 5_000.0;
/// The age of 95 of 100 pictures at the end of a clean way. Somebody who is held up whenever a packet is lost elsewhere is so ten times a second.
const CLEAN_P95_MS: f64 = 250.0;
/// Even a machine that is busy with a browser, builds and other tests gives a clean way its picture in this time.
const LONGEST_CLEAN_STILL_MS: f64 = 1_000.0;
const PICTURES_PER_SECOND: u64 = 30;
/// A round trip of 20 ms, as to the next town.
const DELAY_MS: u64 = 10;

/// A camera of 30 pictures a second whose keyframes are ten seconds apart: what is lost has to be brought back, not waited for.
fn camera(network: &Network, kbps: u32) -> Server {
    let bitrate = format!("{kbps}k");
    let variables = [
        ("SIGHTLINE_CAMERA_BITRATE", bitrate.as_str()),
        ("SIGHTLINE_CAMERA_GOP", "300"),
    ];
    let mut server = network.server(&["--open", "--source", "test"], &variables);
    server
        .process
        .wait_for("its camera", |line| line.contains("camera runs").then_some(()));
    server
}

fn endpoint(network: &Network, server: &Server, place: Place, stream: &str, which: &str) -> String {
    network.url(
        place,
        "http",
        server.port_of("webrtc_port"),
        &format!("{stream}/{which}"),
    )
}

/// What a `bench whep` reports.
fn report(bench: Process) -> Value {
    let (status, said) = bench.finish();
    let report = said
        .iter()
        .rev()
        .find_map(|line| serde_json::from_str::<Value>(line).ok());
    assert!(status.success(), "{said:#?}");
    report.unwrap_or_else(|| panic!("no report in {said:#?}"))
}

/// Nobody on a clean way notices what happens on a poor one.
fn is_clean(report: &Value, network: &Network, machine: &Machine) {
    assert_eq!(report["failed"], 0, "{report}");
    // But what a busy machine did not let the player take in time.
    let missed = network.not_taken(Place::Clean);
    for what in ["lost", "damaged"] {
        assert!(
            report[what].as_u64().unwrap() <= missed,
            "{missed} were not taken: {report}"
        );
    }
    let stood_ms = stood(machine);
    let about = format!("the machine stood for {stood_ms:.0} ms: {report}");
    assert!(figure(report, "latency", "p95_ms") < CLEAN_P95_MS + stood_ms, "{about}");
    assert!(
        figure(report, "longest_still", "max_ms") < LONGEST_CLEAN_STILL_MS + stood_ms,
        "{about}"
    );
}

/// For how long the machine stood at a time, in milliseconds.
fn stood(machine: &Machine) -> f64 {
    machine.longest().as_secs_f64() * 1_000.0
}

/// Pictures that there would have been in the time that the machine kept.
fn kept_pictures(machine: &Machine) -> usize {
    (machine.kept().as_secs_f64() * PICTURES_PER_SECOND as f64) as usize
}

fn figure(report: &Value, what: &str, which: &str) -> f64 {
    let figure = report[what][which].as_f64();
    figure.unwrap_or_else(|| panic!("no {what} in {report}"))
}

/// How many pictures a browser has shown since the last time it was asked, and for how long it was without one, in milliseconds.
fn stills(browser: &mut Browser) -> (usize, f64) {
    let ages = browser.call("pictures", &[]);
    let ages: Vec<f64> = ages.as_array().unwrap().iter().filter_map(Value::as_f64).collect();
    let between = ages.windows(2).map(|pair| pair[0] - pair[1]);
    (ages.len() - 1, between.chain(ages.last().copied()).fold(0.0, f64::max))
}

#[rstest]
#[case::two_percent_lost(json!({"loss": 0.02, "delay_ms": DELAY_MS}))]
#[case::five_percent_lost(json!({"loss": 0.05, "delay_ms": DELAY_MS}))]
#[case::reordered(json!({"reorder": 0.1, "reorder_by_ms": 15, "delay_ms": DELAY_MS}))]
fn the_picture_goes_on(#[case] quality: Value) {
    const SECONDS: u32 = 15;
    let _alone = alone();
    let (mut network, machine) = (Network::new(), Machine::watch());
    let server = camera(&network, 2_000);
    network.set(&quality);
    let mut browser = Browser::start_by(network.command(Place::Poor, "node"));
    let seen = browser.watch(&endpoint(&network, &server, Place::Poor, "zerolatency", "whep"));
    assert!(seen["first_ms"].is_number(), "no picture: {seen}");
    let [clean, poor] = [Place::Clean, Place::Poor].map(|place| {
        let url = endpoint(&network, &server, place, "zerolatency", "whep");
        network.bench(place, &url, SECONDS)
    });
    stills(&mut browser);
    let begun = Instant::now();
    let poor = report(poor);
    let (shown, longest_ms) = stills(&mut browser);
    let passed = begun.elapsed();
    let clean = report(clean);
    let counts = network.set(&json!({}));
    println!(
        "{quality}: {counts}\nours: {poor}\nChromium: {shown} pictures, longest still {longest_ms:.0} ms\nclean: {clean}"
    );
    let hurt = counts["lost"].as_u64().max(counts["reordered"].as_u64());
    assert!(hurt > Some(30), "the way is not poor: {counts}");
    assert_eq!(poor["failed"], 0, "{poor}");
    assert!(figure(&poor, "first_picture", "max_ms") < FIRST_PICTURE_MS, "{poor}");
    let stood_ms = stood(&machine);
    assert!(
        figure(&poor, "longest_still", "max_ms") < LONGEST_STILL_OF_OURS_MS + stood_ms,
        "the machine stood for {stood_ms:.0} ms: {poor}"
    );
    assert!(
        longest_ms < LONGEST_STILL_MS + stood_ms,
        "{longest_ms} ms without a picture in Chromium; the machine stood for {stood_ms:.0} ms"
    );
    assert!(
        (shown + kept_pictures(&machine)) as f64 > passed.as_secs_f64() * PICTURES_PER_SECOND as f64 * 0.5,
        "{shown} pictures in {passed:?}"
    );
    is_clean(&clean, &network, &machine);
}

/// Twice what gets through: the encoder takes less for its only viewer. With a second one it takes all again, and the first gets what there is for it.
#[test]
fn the_picture_goes_on_where_half_of_it_gets_through() {
    let _alone = alone();
    let (mut network, machine) = (Network::new(), Machine::watch());
    let server = camera(&network, 2_000);
    network.set(&json!({"rate_kbps": 1_000, "delay_ms": DELAY_MS}));
    let mut browser = Browser::start_by(network.command(Place::Poor, "node"));
    browser.watch(&endpoint(&network, &server, Place::Poor, "zerolatency", "whep"));
    std::thread::sleep(Duration::from_secs(5));
    stills(&mut browser);
    std::thread::sleep(Duration::from_secs(10));
    let (shown, longest_ms) = stills(&mut browser);
    assert!(shown + kept_pictures(&machine) > 200, "{shown} pictures in ten seconds");
    let stood_ms = stood(&machine);
    assert!(
        longest_ms < LONGEST_STILL_MS + stood_ms,
        "{longest_ms} ms without a picture; the machine stood for {stood_ms:.0} ms"
    );
    let url = endpoint(&network, &server, Place::Clean, "zerolatency", "whep");
    let clean = network.bench(Place::Clean, &url, 20);
    // Until it is known that the encoder takes more than gets through, and what is on its way is through, some five seconds pass.
    std::thread::sleep(Duration::from_secs(9));
    stills(&mut browser);
    std::thread::sleep(Duration::from_secs(8));
    let (shown, longest_ms) = stills(&mut browser);
    let clean = report(clean);
    println!("{shown} pictures beside the second, longest still {longest_ms:.0} ms\nclean: {clean}");
    // As many as get through, which are a third and more.
    assert!(
        shown + kept_pictures(&machine) >= 60,
        "{shown} pictures in eight seconds"
    );
    // A keyframe takes 0.3 s by itself.
    let stood_ms = stood(&machine);
    assert!(
        longest_ms < 1_000.0 + stood_ms,
        "{longest_ms} ms without a picture; the machine stood for {stood_ms:.0} ms"
    );
    is_clean(&clean, &network, &machine);
}

/// What the stream needs gets through, though a keyframe takes a while.
#[test]
fn the_picture_goes_on_over_one_megabit() {
    const SECONDS: u32 = 15;
    let _alone = alone();
    let (mut network, machine) = (Network::new(), Machine::watch());
    let server = camera(&network, 600);
    network.set(&json!({"rate_kbps": 1_000, "delay_ms": DELAY_MS}));
    let mut browser = Browser::start_by(network.command(Place::Poor, "node"));
    browser.watch(&endpoint(&network, &server, Place::Poor, "zerolatency", "whep"));
    let url = endpoint(&network, &server, Place::Clean, "zerolatency", "whep");
    let clean = network.bench(Place::Clean, &url, SECONDS);
    stills(&mut browser);
    let clean = report(clean);
    let (shown, longest_ms) = stills(&mut browser);
    let counts = network.set(&json!({}));
    println!("{counts}\nChromium: {shown} pictures, longest still {longest_ms:.0} ms\nclean: {clean}");
    let stood_ms = stood(&machine);
    assert!(
        longest_ms < LONGEST_STILL_MS + stood_ms,
        "{longest_ms} ms without a picture in Chromium; the machine stood for {stood_ms:.0} ms"
    );
    is_clean(&clean, &network, &machine);
}

/// Half of it gets through to one of two viewers: the camera makes a lower stream for that one, and no longer than it is needed.
#[test]
fn a_camera_makes_a_lower_stream_for_a_poor_way() {
    const SECONDS: u32 = 16;
    let _alone = alone();
    let (mut network, machine) = (Network::new(), Machine::watch());
    let variables = [("SIGHTLINE_CAMERA_BITRATE", "2000k"), ("SIGHTLINE_CAMERA_GOP", "60")];
    let mut server = network.server(&["--open", "--source", "test", "--low"], &variables);
    (server.process).wait_for("its camera", |line| line.contains("camera runs").then_some(()));
    network.set(&json!({"delay_ms": DELAY_MS}));
    let url = endpoint(&network, &server, Place::Clean, "zerolatency", "whep");
    let clean = network.bench(Place::Clean, &url, SECONDS);
    let mut browser = Browser::start_by(network.command(Place::Poor, "node"));
    browser.watch(&endpoint(&network, &server, Place::Poor, "zerolatency", "whep"));
    let begins = |line: &str| line.contains("source runs").then(|| line.contains("zerolatency/low"));
    network.set(&json!({"rate_kbps": 1_000, "delay_ms": DELAY_MS}));
    assert!(server.process.wait_for("a lower stream", begins));
    // What was on its way is through, and the picture is another.
    std::thread::sleep(Duration::from_secs(3));
    stills(&mut browser);
    std::thread::sleep(Duration::from_secs(6));
    let (shown, longest_ms) = stills(&mut browser);
    network.set(&json!({"delay_ms": DELAY_MS}));
    let clean = report(clean);
    println!("Chromium: {shown} pictures in six seconds, longest still {longest_ms:.0} ms\nclean: {clean}");
    assert!(
        shown + kept_pictures(&machine) >= 120,
        "{shown} pictures in six seconds"
    );
    is_clean(&clean, &network, &machine);
    let ends = |line: &str| (line.contains("source stopped") && line.contains("zerolatency/low")).then_some(());
    server.process.wait_for("its end", ends);
}

/// For a while less gets through than the stream needs, or nothing; then all is well again.
#[rstest]
#[case::nothing_for_a_moment(json!({"loss": 1.0}), 300, LONGEST_STILL_MS)]
// More than the history holds is gone for good, and asking for it makes a keyframe, of which there is one a second at the most.
#[case::one_megabit(json!({"rate_kbps": 1_000, "delay_ms": DELAY_MS}), 4_000, LONGEST_STILL_MS + 1_000.0)]
#[case::nothing(json!({"loss": 1.0}), 3_000, LONGEST_STILL_MS + 1_000.0)]
fn the_picture_is_back_when_the_way_is_free_again(#[case] quality: Value, #[case] ms: u64, #[case] longest: f64) {
    const SECONDS: u32 = 12;
    let _alone = alone();
    let (mut network, machine) = (Network::new(), Machine::watch());
    let server = camera(&network, 2_000);
    network.set(&json!({"delay_ms": DELAY_MS}));
    let mut browser = Browser::start_by(network.command(Place::Poor, "node"));
    browser.watch(&endpoint(&network, &server, Place::Poor, "zerolatency", "whep"));
    let url = endpoint(&network, &server, Place::Clean, "zerolatency", "whep");
    let clean = network.bench(Place::Clean, &url, SECONDS);
    std::thread::sleep(Duration::from_secs(2));
    network.set(&quality);
    std::thread::sleep(Duration::from_millis(ms));
    let counts = network.set(&json!({"delay_ms": DELAY_MS}));
    stills(&mut browser);
    std::thread::sleep(Duration::from_secs(5));
    let (shown, longest_ms) = stills(&mut browser);
    let clean = report(clean);
    println!(
        "{quality} for {ms} ms: {counts}\nChromium afterwards: {shown} pictures in 5 s, longest still {longest_ms:.0} ms\nclean: {clean}"
    );
    let stood_ms = stood(&machine);
    assert!(
        longest_ms < longest + stood_ms,
        "{longest_ms} ms without a picture in Chromium; the machine stood for {stood_ms:.0} ms"
    );
    is_clean(&clean, &network, &machine);
}

/// A publisher on a poor way: what is lost is asked for again, whether it repeats under a number of its own (RTX) or not.
#[rstest]
#[case::with_rtx(&[])]
#[case::without_rtx(&["--without-rtx"])]
fn what_a_publisher_loses_is_asked_for_again(#[case] more: &[&str]) {
    const SECONDS: u32 = 10;
    let _alone = alone();
    let (mut network, machine) = (Network::new(), Machine::watch());
    let mut server = network.server(&["--open"], &[]);
    network.set(&json!({"loss": 0.05, "delay_ms": DELAY_MS}));
    let mut publisher = publish(&network, &server, more);
    server.wait_for_event("WebRTC publisher began", "aio");
    let url = endpoint(&network, &server, Place::Clean, "aio", "whep");
    let seen = report(network.bench(Place::Clean, &url, SECONDS));
    let counts = network.set(&json!({}));
    println!("{counts}\nviewer: {seen}");
    assert!(counts["lost"].as_u64() > Some(15), "{counts}");
    assert!(publisher.is_running(), "{:#?}", publisher.said());
    let stood_ms = stood(&machine);
    assert!(
        figure(&seen, "longest_still", "max_ms") < LONGEST_STILL_MS + stood_ms,
        "the machine stood for {stood_ms:.0} ms: {seen}"
    );
}

#[test]
fn what_a_publisher_loses_for_good_is_told() {
    let _alone = alone();
    let mut network = Network::new();
    let mut server = network.server(&["--open"], &[]);
    let _publisher = publish(&network, &server, &[]);
    server.wait_for_event("WebRTC publisher began", "aio");
    network.set(&json!({"loss": 0.4}));
    let told = server.wait_for_events("packets are lost on the way here", "aio", 1);
    assert!(told["packets"].as_u64() > Some(0), "{told}");
}

fn publish(network: &Network, server: &Server, more: &[&str]) -> Process {
    let script = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/clients/webrtc.py");
    let mut command = network.command(Place::Poor, test_tool("aiortc").join("bin/python"));
    let url = endpoint(network, server, Place::Poor, "aio", "whip");
    command
        .arg(script)
        .args(["publish", &url, "--seconds", "60"])
        .args(more);
    let mut process = Process::start(&mut command);
    process.collect_stdout();
    process
}
