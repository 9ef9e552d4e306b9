//! A player without pictures: asks for lists and media over one connection, as its checker is told.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use testkit::hls::{Checker, Fetch, Settings};

use crate::origin::{Connection, Reply};
use crate::support::wall;

/// Plays one stream and has everything checked.
pub(crate) struct Player {
    connection: Connection,
    name: String,
    checker: Checker,
    /// What follows the last list.
    next: String,
    fetched: BTreeSet<String>,
    requests: usize,
    pub(crate) list: String,
}

impl Player {
    pub(crate) fn start(port: u16, name: &str) -> Self {
        let mut player = Self {
            connection: Connection::new(port),
            name: name.to_owned(),
            // Where a machine that is busy with other tests drops pictures, dates go on and durations do not.
            checker: Checker::new(Settings {
                date_tolerance_us: 1_000_000,
                ..Settings::default()
            }),
            next: String::new(),
            fetched: BTreeSet::new(),
            requests: 0,
            list: String::new(),
        };
        let index = player.get("index.m3u8");
        assert_eq!(index.status, 200, "{}", index.text());
        player
    }

    fn get(&mut self, file: &str) -> Reply {
        let uri = format!("/{}/{file}", self.name);
        let asked = wall();
        let reply = self.connection.get(&uri);
        self.checker.see(&Fetch {
            uri: &uri,
            asked,
            answered: wall(),
            status: reply.status,
            body: &reply.body,
        });
        reply
    }

    /// The next list, and all that is new in it. Says whether it goes on.
    pub(crate) fn look(&mut self) -> bool {
        self.look_for_news().expect("there is nothing new")
    }

    /// The same while nobody publishes: that there was nothing new for three target durations is an answer too, after which a player asks again.
    pub(crate) fn look_for_news(&mut self) -> Option<bool> {
        self.requests += 1;
        let skip = if self.requests.is_multiple_of(5) {
            "&_HLS_skip=YES"
        } else {
            ""
        };
        let query = format!("stream.m3u8?{}{skip}", self.next);
        let reply = self.get(if self.next.is_empty() { "stream.m3u8" } else { &query });
        if reply.status == 503 {
            return None;
        }
        assert_eq!(reply.status, 200, "{}", reply.text());
        self.list = reply.text().to_owned();
        for uri in self.list.clone().lines().filter_map(media) {
            if self.fetched.insert(uri.to_owned()) {
                self.get(uri);
            }
        }
        let hint = self
            .list
            .lines()
            .find_map(|line| line.strip_prefix("#EXT-X-PRELOAD-HINT:TYPE=PART,URI="));
        let Some((_, next)) = hint.and_then(|hint| hint.split_once('_')) else {
            return Some(false);
        };
        let (msn, part) = next.split_once(".mp4").unwrap().0.split_once('.').unwrap();
        self.next = format!("_HLS_msn={msn}&_HLS_part={part}");
        Some(true)
    }

    pub(crate) fn look_for(&mut self, time: Duration) {
        let began = Instant::now();
        while began.elapsed() < time {
            assert!(self.look(), "it ended");
        }
    }

    /// What was wrong.
    pub(crate) fn complaints(self) -> Vec<String> {
        self.checker.finish().iter().map(ToString::to_string).collect()
    }
}

/// The URI that a line names, unless it is a list or not there yet.
fn media(line: &str) -> Option<&str> {
    if line.starts_with("#EXT-X-PART:") || line.starts_with("#EXT-X-MAP:") {
        return line.split_once("URI=\"")?.1.split('"').next();
    }
    (!line.starts_with('#')).then_some(line)
}
