//! Lines as they are written, with a fixed clock.

use std::time::Instant;

use media::WallTime;
use proptest::prelude::*;
use tracing::{debug, error, info, warn};

use super::console::tests::Written;
use super::*;
use crate::config::units::StreamUrl;
use crate::secret::Secret;

struct Fixed;

impl Clock for Fixed {
    fn now(&self) -> Instant {
        Instant::now()
    }

    fn wall(&self) -> WallTime {
        // 2025-10-06T12:34:56.789012Z
        WallTime::from_unix_micros(1_759_754_096_789_012)
    }
}

/// Everything that `work` logs, at the default level.
fn logged(style: line::Style, work: impl FnOnce()) -> String {
    kept(style, work).0
}

/// The same, and what was kept of it.
fn kept(style: line::Style, work: impl FnOnce()) -> (String, Arc<Ring>) {
    let (written, ring) = (Written::default(), Arc::default());
    let layer = Lines {
        style,
        clock: Arc::new(Fixed),
        console: Arc::new(Console::new(Box::new(written.clone()), false)),
        ring: Arc::clone(&ring),
    };
    let subscriber = tracing_subscriber::registry().with(layer.with_filter(Levels::default().targets()));
    tracing::subscriber::with_default(subscriber, work);
    (written.take(), ring)
}

const HUMAN: line::Style = line::Style::Human { colour: false };

/// What a line says behind its time, which is local.
fn behind_time(text: &str) -> Vec<&str> {
    text.lines().map(|line| line.get(12..).unwrap()).collect()
}

#[test]
fn for_people() {
    let text = logged(HUMAN, || {
        info!(stream = %"zerolatency", viewers = 3, ratio = 0.5, tls = false, "publisher connected");
        warn!(agent = "VLC media player", empty = "", quoted = "a\"b\\c", "slow");
        error!("bad");
        debug!("not shown");
    });
    assert_eq!(
        behind_time(&text),
        [
            "  info   publisher connected  stream=zerolatency  viewers=3  ratio=0.5  tls=false",
            "  warn   slow  agent=\"VLC media player\"  empty=\"\"  quoted=\"a\\\"b\\\\c\"",
            "  error  bad",
        ]
    );
}

#[test]
fn colours_end_where_they_should() {
    let text = logged(line::Style::Human { colour: true }, || warn!(a = 1, "x"));
    assert_eq!(
        text.matches("\x1b[0m").count(),
        text.matches("\x1b[").count() / 2,
        "{text:?}"
    );
}

#[test]
fn for_programs() {
    let text = logged(line::Style::Json, || {
        info!(stream = %"zerolatency", viewers = 3_u64, delta = -1, ok = true, level = "mine", "publisher connected");
    });
    assert_eq!(
        text,
        "{\"timestamp\":\"2025-10-06T12:34:56.789012Z\",\"level\":\"info\",\"event\":\"publisher connected\",\
         \"stream\":\"zerolatency\",\"viewers\":3,\"delta\":-1,\"ok\":true,\"field_level\":\"mine\"}\n"
    );
}

#[test]
fn long_values_are_cut() {
    let text = logged(line::Style::Json, || {
        info!(agent = "x".repeat(10_000), "{}", "y".repeat(10_000));
    });
    assert!(text.len() < 1_300, "{}", text.len());
    assert!(text.contains("x…") && text.contains("y…"));
}

#[test]
fn credentials_do_not_show() {
    for style in [HUMAN, line::Style::Json] {
        let text = logged(style, || {
            let secret = Secret::new("canary-7f3a");
            let url: StreamUrl = "rtsp://viewer:canary-7f3a@host:8554/a?token=canary-7f3a"
                .parse()
                .unwrap();
            info!(%secret, ?secret, %url, ?url, "{secret} {secret:?} {url} {url:?}");
        });
        assert!(!text.contains("canary"), "{text}");
        assert!(text.contains("rtsp://host:8554/a?token=***"), "{text}");
    }
}

proptest! {
    #[test]
    fn whatever_a_peer_sends_is_one_line(value in "(.|[\r\n\u{1b}\u{7f}\u{9b}\u{202e}\u{2028}]){0,60}") {
        let human = logged(HUMAN, || info!(value = %value, "{value}"));
        prop_assert_eq!(human.matches('\n').count(), 1);
        prop_assert!(!human.trim_end_matches('\n').chars().any(|c| c.is_control() || c == '\u{202e}'), "{human:?}");
        let json = logged(line::Style::Json, || info!(value = %value, "{value}"));
        prop_assert_eq!(json.matches('\n').count(), 1);
        let read: serde_json::Value = serde_json::from_str(&json).unwrap();
        prop_assert_eq!(read["value"].as_str(), Some(value.as_str()));
    }
}

/// For the page they are as for programs, whatever the terminal shows.
#[test]
fn what_is_written_is_kept() {
    let work = || {
        info!(stream = %"door", viewers = 3, "publisher connected");
        debug!("not written, and not kept");
    };
    let (_, ring) = kept(HUMAN, work);
    let part = ring.read(None, 10);
    assert_eq!(part.lines.len(), 1);
    assert_eq!(*part.lines[0], *logged(line::Style::Json, work).trim_end());
}

#[test]
fn the_dial_sets_what_is_written() {
    let written = Written::default();
    let layer = Lines {
        style: HUMAN,
        clock: Arc::new(Fixed),
        console: Arc::new(Console::new(Box::new(written.clone()), false)),
        ring: Arc::default(),
    };
    let (filter, handle) = reload::Layer::new(Levels::default().targets());
    let dial = Dial(handle);
    let subscriber = tracing_subscriber::registry().with(layer.with_filter(filter));
    tracing::subscriber::with_default(subscriber, || {
        for level in ["debug", "error", "info"] {
            dial.set(&level.parse().unwrap());
            // One place in the code, whose verdict must not be remembered.
            info!(level, "told");
        }
    });
    let text = written.take();
    assert_eq!(
        behind_time(&text),
        ["  info   told  level=debug", "  info   told  level=info"]
    );
}
