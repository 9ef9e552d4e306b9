//! What Prometheus is told, read as strictly as its own tools read it.

use std::collections::{BTreeMap, BTreeSet};

use super::*;

const VIEWER: &[(&str, &str)] = &[("authorization", "Bearer v-token")];

/// The samples of a page, by name and labels as written.
type Samples = BTreeMap<String, f64>;

/// Reads the text format 0.0.4, and refuses what the format allows but tools warn of.
fn read(text: &str) -> Result<Samples, String> {
    let (mut samples, mut known) = (Samples::new(), BTreeSet::new());
    let (mut family, mut kind) = (String::new(), String::new());
    let name_fits = |name: &str| {
        name.starts_with(|c: char| c.is_ascii_alphabetic())
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    let Some(text) = text.strip_suffix('\n') else {
        return Err("no end of the last line".to_owned());
    };
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let wrong = |why: &str| Err(format!("{why}: {line}"));
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, _) = help.split_once(' ').ok_or("no help")?;
            let told = lines
                .next()
                .and_then(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
            let Some((of, is)) = told.filter(|(of, _)| *of == name) else {
                return wrong("no type after its help");
            };
            if !name_fits(of) || !["counter", "gauge", "histogram"].contains(&is) || !known.insert(of.to_owned()) {
                return wrong("bad or repeated family");
            }
            if (is == "counter") != of.ends_with("_total") {
                return wrong("counters alone are totals");
            }
            (family, kind) = (of.to_owned(), is.to_owned());
            continue;
        }
        let (key, value) = line.rsplit_once(' ').ok_or("no value")?;
        let name = key.split('{').next().unwrap_or_default();
        let of_family = match kind.as_str() {
            "histogram" => ["_bucket", "_sum", "_count"]
                .iter()
                .any(|end| name == format!("{family}{end}")),
            _ => name == family,
        };
        if !of_family {
            return wrong("outside of its family");
        }
        if key.contains('{') {
            labels(&key[name.len()..]).map_err(|why| format!("{why}: {line}"))?;
        }
        let value: f64 = value.parse().map_err(|_| format!("no number: {line}"))?;
        if !value.is_finite() || (kind != "gauge" && value < 0.0) {
            return wrong("not a value");
        }
        if samples.insert(key.to_owned(), value).is_some() {
            return wrong("said twice");
        }
    }
    Ok(samples)
}

/// `{name="value",…}`.
fn labels(text: &str) -> Result<BTreeMap<String, String>, &'static str> {
    let mut rest = text.strip_prefix('{').ok_or("no brace")?;
    let mut labels = BTreeMap::new();
    loop {
        let (name, after) = rest.split_once("=\"").ok_or("no label")?;
        if name.is_empty() || !name.chars().all(|c| c.is_ascii_lowercase() || c == '_') {
            return Err("bad label");
        }
        let (mut value, mut characters) = (String::new(), after.char_indices());
        let end = loop {
            match characters.next().ok_or("no end of a label")? {
                (at, '"') => break at,
                (_, '\\') => value.push(match characters.next().ok_or("no end of an escape")?.1 {
                    'n' => '\n',
                    c @ ('"' | '\\') => c,
                    _ => return Err("bad escape"),
                }),
                (_, c) => value.push(c),
            }
        };
        if labels.insert(name.to_owned(), value).is_some() {
            return Err("a label twice");
        }
        rest = match &after[end + 1..] {
            "}" => return Ok(labels),
            more => more.strip_prefix(',').ok_or("no comma")?,
        };
    }
}

async fn scrape(world: &World) -> Samples {
    let reply = world.get("/metrics", VIEWER).await;
    assert_eq!(
        (reply.status, reply.header("content-type")),
        (StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8")
    );
    let samples = read(&reply.text).unwrap_or_else(|why| panic!("{why}\n{}", reply.text));
    histograms_add_up(&samples);
    samples
}

fn histograms_add_up(samples: &Samples) {
    for (key, count) in samples.iter().filter(|(key, _)| key.contains("_count{")) {
        let prefix = key.replace("_count{", "_bucket{");
        let prefix = prefix.trim_end_matches('}');
        let mut buckets: Vec<_> = samples.iter().filter(|(key, _)| key.starts_with(prefix)).collect();
        let bound = |key: &str| {
            let (_, bound) = key.rsplit_once("le=\"").unwrap();
            bound
                .trim_end_matches("\"}")
                .replace("+Inf", "inf")
                .parse::<f64>()
                .unwrap()
        };
        buckets.sort_by(|a, b| bound(a.0).total_cmp(&bound(b.0)));
        assert_eq!(buckets.len(), 13, "{key}");
        assert!(buckets.is_sorted_by_key(|(_, count)| **count), "{buckets:?}");
        assert_eq!(buckets.last().unwrap().1, count);
    }
}

/// The values of a family by the label `stream`, of one role.
fn by_stream(samples: &Samples, family: &str, role: &str) -> BTreeMap<String, f64> {
    let of_family = samples
        .iter()
        .filter(|(key, _)| key.starts_with(&format!("{family}{{")));
    let streams = of_family.filter_map(|(key, value)| {
        let labels = labels(&key[family.len()..]).unwrap();
        (labels["role"] == role).then(|| (labels["stream"].clone(), *value))
    });
    streams.collect()
}

#[tokio::test]
async fn what_sessions_count_is_told_and_stays_when_they_go() {
    let clock = SimClock::new();
    let world = World::with(Wishes {
        clock: Arc::new(clock.clone()),
        ..Wishes::default()
    });
    let publisher = world.publish("house/door", Some(&clock));
    publisher.stats().delays.note(3_000);
    let samples = scrape(&world).await;
    let publishers = "{role=\"publisher\",protocol=\"RTSP/TCP\"}";
    let stream = "{stream=\"house/door\",role=\"publisher\"}";
    for (key, value) in [
        (format!("sightline_bytes_total{publishers}"), 123_456.0),
        (format!("sightline_frames_total{publishers}"), 31.0),
        (format!("sightline_sessions{publishers}"), 1.0),
        (format!("sightline_stream_bytes_total{stream}"), 123_456.0),
        (
            "sightline_stream_sessions{stream=\"house/door\",role=\"viewer\"}".to_owned(),
            1.0,
        ),
        (
            "sightline_sessions{role=\"viewer\",protocol=\"RTSP/UDP\"}".to_owned(),
            1.0,
        ),
        ("sightline_streams".to_owned(), 1.0),
        (
            "sightline_latency_seconds_bucket{stage=\"capture_to_server\",protocol=\"RTSP/TCP\",le=\"0.0025\"}"
                .to_owned(),
            0.0,
        ),
        (
            "sightline_latency_seconds_bucket{stage=\"capture_to_server\",protocol=\"RTSP/TCP\",le=\"0.005\"}"
                .to_owned(),
            1.0,
        ),
        (
            "sightline_latency_seconds_sum{stage=\"capture_to_server\",protocol=\"RTSP/TCP\"}".to_owned(),
            0.003,
        ),
    ] {
        assert_eq!(samples.get(&key), Some(&value), "{key}");
    }
    for process in [
        "process_cpu_seconds_total",
        "process_resident_memory_bytes",
        "process_open_fds",
    ] {
        assert!(samples[process] > 0.0, "{process}");
    }
    // 2020 or later, whatever the tests' clock says.
    assert!(samples["process_start_time_seconds"] > 0.0);

    publisher.close(clock.now());
    clock.advance(Duration::from_secs(10));
    world.hub.poll(clock.now());
    let samples = scrape(&world).await;
    assert_eq!(samples["sightline_streams"], 0.0);
    assert_eq!(samples[&format!("sightline_bytes_total{publishers}")], 123_456.0);
    assert_eq!(samples[&format!("sightline_sessions{publishers}")], 0.0);
    assert!(by_stream(&samples, "sightline_stream_bytes_total", "publisher").is_empty());
}

#[tokio::test]
async fn what_is_missing_of_recordings_is_told() {
    let samples = scrape(&World::new()).await;
    for what in [
        "files",
        "files_refused",
        "fragments",
        "bytes",
        "fragments_lost",
        "frames_left_out",
        "frames_missed",
    ] {
        let name = format!("sightline_recording_{what}_total");
        assert_eq!(samples.get(&name), Some(&0.0), "{name}");
    }
}

/// However many streams there are and were, and whatever they are called.
#[tokio::test]
async fn labels_are_bounded_and_sums_never_fall() {
    let clock = SimClock::new();
    let world = World::with(Wishes {
        clock: Arc::new(clock.clone()),
        ..Wishes::default()
    });
    let mut publishers = vec![world.publish("other", None)];
    publishers.extend((0..230).map(|number| world.publish(&format!("cam{number}"), None)));
    let bytes = "sightline_stream_bytes_total";
    let samples = scrape(&world).await;
    let named = by_stream(&samples, bytes, "publisher");
    assert_eq!(named.len(), 201);
    assert_eq!(
        named["other"],
        31.0 * 123_456.0,
        "those beyond 200, and one that is called so"
    );
    assert_eq!(named.values().sum::<f64>(), 231.0 * 123_456.0);
    let series = samples.len();

    // All go, others come: the sum of the others stays, and a name takes the place of one that is gone.
    for publisher in publishers {
        publisher.close(clock.now());
    }
    clock.advance(Duration::from_secs(10));
    world.hub.poll(clock.now());
    let named = by_stream(&scrape(&world).await, bytes, "publisher");
    assert_eq!(named, BTreeMap::from([("other".to_owned(), 31.0 * 123_456.0)]));
    let _publishers: Vec<_> = (0..250)
        .map(|number| world.publish(&format!("new{number}"), None))
        .collect();
    let samples = scrape(&world).await;
    let named = by_stream(&samples, bytes, "publisher");
    assert_eq!((named.len(), named["other"]), (201, 81.0 * 123_456.0));
    assert_eq!(samples.len(), series);
    let all = samples["sightline_bytes_total{role=\"publisher\",protocol=\"RTSP/TCP\"}"];
    assert_eq!(all, 481.0 * 123_456.0);
}

#[test]
fn the_reader_of_these_tests_is_strict() {
    let head = "# HELP a_total x.\n# TYPE a_total counter\n";
    assert!(read(&format!("{head}a_total{{b=\"c\\\"\\\\,\",d=\"\"}} 1\na_total 2\n")).is_ok());
    for wrong in [
        "a_total 1",
        "b_total 1\n",
        "a_total 1\na_total 2\n",
        "a_total -1\n",
        "a_total x\n",
        "a_total{b=\"c} 1\n",
        "a_total{b=\"c\",b=\"d\"} 1\n",
        "a_total{b=\"\\x\"} 1\n",
        "a_total{} 1\n",
        "a_total 1\n# HELP a_total x.\n# TYPE a_total counter\n",
        "# HELP b x.\n# TYPE b counter\n",
        "# HELP b x.\n# TYPE c gauge\n",
    ] {
        assert!(read(&format!("{head}{wrong}")).is_err(), "{wrong}");
    }
}
