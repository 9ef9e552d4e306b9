//! What the API tells, as lines of a screen.
//!
//! Belongs here: which figures, how they are written, which viewers come first. Does not belong here: asking, the terminal ([`super`]).

use std::collections::HashMap;
use std::time::{Duration, Instant};

use serde::Deserialize;
use url::Url;

/// All that was told at one time.
#[derive(Clone)]
pub(super) struct Sample {
    pub(super) at: Instant,
    pub(super) server: Url,
    pub(super) system: System,
    pub(super) streams: Vec<Stream>,
    /// `None`: they are not told to this token.
    pub(super) viewers: Option<Sessions>,
}

#[derive(Clone, Deserialize)]
pub(super) struct System {
    cpu_percent: Option<f64>,
    memory_percent: Option<f64>,
    network: Option<Network>,
    temperature_celsius: Option<f64>,
    program: Program,
}

#[derive(Clone, Deserialize)]
struct Network {
    received_mbps: f64,
    sent_mbps: f64,
}

#[derive(Clone, Deserialize)]
struct Program {
    version: String,
    uptime_seconds: u64,
    viewers: usize,
}

#[derive(Clone, Deserialize)]
pub(super) struct Streams {
    pub(super) streams: Vec<Stream>,
}

#[derive(Clone, Deserialize)]
pub(super) struct Stream {
    name: String,
    state: String,
    publisher: Option<Session>,
    tracks: Vec<Track>,
    width: Option<u32>,
    height: Option<u32>,
    fps: f64,
    bitrate_kbps: f64,
    viewers: usize,
    latency: Option<Latency>,
}

#[derive(Clone, Deserialize)]
struct Track {
    codec: String,
}

#[derive(Clone, Deserialize)]
struct Latency {
    to_server_ms: f64,
    since: String,
}

#[derive(Clone, Deserialize)]
pub(super) struct Sessions {
    sessions: Vec<Session>,
    total: usize,
}

#[derive(Clone, Deserialize)]
struct Session {
    id: u64,
    #[serde(default)]
    stream: String,
    protocol: String,
    #[serde(default)]
    remote: Option<String>,
    bytes: u64,
    frames_dropped: u64,
    jumps: u64,
    packets_lost: u64,
    rtt_ms: f64,
    waiting_bytes: i64,
    latency_ms: f64,
}

/// Bits a second of each viewer, by its number.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Rates(HashMap<u64, f64>);

impl Rates {
    pub(super) fn between(before: &Sample, after: &Sample) -> Self {
        let seconds = after.at.saturating_duration_since(before.at).as_secs_f64();
        let bytes = |sample: &Sample| -> HashMap<u64, u64> {
            let sessions = sample.viewers.iter().flat_map(|viewers| &viewers.sessions);
            sessions.map(|session| (session.id, session.bytes)).collect()
        };
        let known = bytes(before);
        let rate = |(id, bytes): (u64, u64)| {
            let new = bytes.saturating_sub(*known.get(&id)?);
            (seconds > 0.0).then(|| (id, new as f64 * 8.0 / seconds))
        };
        Self(bytes(after).into_iter().filter_map(rate).collect())
    }
}

impl Sample {
    /// At most so many columns and rows. `trouble`: why it is not newer.
    pub(super) fn lines(&self, rates: &Rates, trouble: Option<&str>, (columns, rows): (usize, usize)) -> Vec<String> {
        let mut lines = vec![self.head(), String::new()];
        if let Some(trouble) = trouble {
            lines.insert(1, format!("! {trouble}"));
        }
        lines.push(format!(
            "{:<24} {:<5} {:>7} {:>6} {:>7} {:>9}  {:<11} {}",
            "STREAM", "STATE", "VIEWERS", "FPS", "MB/S", "TO SERVER", "PICTURE", "FROM"
        ));
        let mut streams: Vec<_> = self.streams.iter().collect();
        streams.sort_by(|a, b| b.viewers.cmp(&a.viewers).then_with(|| a.name.cmp(&b.name)));
        lines.extend(streams.iter().map(|stream| stream.line()));
        if streams.is_empty() {
            lines.push("(nobody publishes)".to_owned());
        }
        lines.push(String::new());
        match &self.viewers {
            None => lines.push("Viewers one by one are told to admins: show the admin token.".to_owned()),
            Some(viewers) => viewers.lines(rates, &mut lines),
        }
        cut(lines, columns, rows)
    }

    fn head(&self) -> String {
        let System {
            cpu_percent,
            memory_percent,
            network,
            temperature_celsius,
            program,
        } = &self.system;
        let mut parts = vec![format!(
            "Sightline {} at {}, up {}",
            program.version,
            self.server.as_str().trim_end_matches('/'),
            span(Duration::from_secs(program.uptime_seconds))
        )];
        parts.push(format!("{} viewers", program.viewers));
        parts.extend(cpu_percent.map(|percent| format!("cpu {percent:.0} %")));
        parts.extend(memory_percent.map(|percent| format!("memory {percent:.0} %")));
        parts.extend((network.as_ref()).map(
            |Network {
                 received_mbps,
                 sent_mbps,
             }| format!("in {received_mbps:.1} out {sent_mbps:.1} Mb/s"),
        ));
        parts.extend(temperature_celsius.map(|celsius| format!("{celsius:.0} °C")));
        parts.join(" · ")
    }
}

impl Stream {
    fn line(&self) -> String {
        let size = self
            .width
            .zip(self.height)
            .map(|(width, height)| format!("{width}x{height}"));
        let latency = (self.latency.as_ref()).map(|Latency { to_server_ms, since }| match since.as_str() {
            // Without a time of its own nothing is known of the way here.
            "arrival" => "-".to_owned(),
            _ => format!("{to_server_ms:.1} ms"),
        });
        let codecs: Vec<_> = self.tracks.iter().map(|track| track.codec.as_str()).collect();
        let from = self.publisher.as_ref().map_or_else(
            || "gone, and may return".to_owned(),
            |publisher| {
                let remote = publisher.remote.as_ref().map(|remote| format!(" {remote}"));
                format!(
                    "{}{}, {}",
                    publisher.protocol,
                    remote.unwrap_or_default(),
                    codecs.join(" ")
                )
            },
        );
        format!(
            "{:<24} {:<5} {:>7} {:>6.1} {:>7.2} {:>9}  {:<11} {from}",
            plain(&self.name),
            self.state,
            self.viewers,
            self.fps,
            self.bitrate_kbps / 1_000.0,
            latency.unwrap_or_else(|| "-".to_owned()),
            size.unwrap_or_else(|| "-".to_owned()),
        )
    }
}

impl Sessions {
    /// Those first that have it worst, then those who take most.
    fn lines(&self, rates: &Rates, lines: &mut Vec<String>) {
        lines.push(format!(
            "{:>6} {:<20} {:<9} {:>7} {:>8} {:>7} {:>8} {:>6} {:>8} {:>8}  {}",
            "VIEWER", "STREAM", "PROTOCOL", "MB/S", "RTT", "LOST", "DROPPED", "JUMPS", "WAITING", "LATENCY", "FROM"
        ));
        let rate = |session: &Session| rates.0.get(&session.id).copied();
        let mut sessions: Vec<_> = self.sessions.iter().collect();
        sessions.sort_by(|a, b| {
            let bad = |session: &Session| session.frames_dropped + session.jumps;
            let taken = |session: &Session| rate(session).unwrap_or_default();
            (bad(b).cmp(&bad(a)))
                .then_with(|| taken(b).total_cmp(&taken(a)))
                .then_with(|| a.id.cmp(&b.id))
        });
        lines.extend(sessions.iter().map(|session| session.line(rate(session))));
        if self.total > sessions.len() {
            lines.push(format!("({} more)", self.total - sessions.len()));
        }
    }
}

impl Session {
    fn line(&self, rate: Option<f64>) -> String {
        let rate = rate.map_or_else(|| "-".to_owned(), |bits| format!("{:.2}", bits / 1e6));
        // Zero: nobody measured it.
        let ms = |ms: f64| {
            if ms == 0.0 {
                "-".to_owned()
            } else {
                format!("{ms:.1} ms")
            }
        };
        format!(
            "{:>6} {:<20} {:<9} {rate:>7} {:>8} {:>7} {:>8} {:>6} {:>8} {:>8}  {}",
            self.id,
            plain(&self.stream),
            self.protocol,
            ms(self.rtt_ms),
            self.packets_lost,
            self.frames_dropped,
            self.jumps,
            format!("{} K", self.waiting_bytes >> 10),
            ms(self.latency_ms),
            plain(self.remote.as_deref().unwrap_or_default()),
        )
    }
}

/// Without what would steer the terminal: another server says these words.
fn plain(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).collect()
}

/// `3 d 4 h`, `2 h 5 min`, `5 min`.
fn span(span: Duration) -> String {
    let minutes = span.as_secs() / 60;
    let (days, hours, rest) = (minutes / 1_440, minutes / 60 % 24, minutes % 60);
    match (days, hours) {
        (0, 0) => format!("{rest} min"),
        (0, hours) => format!("{hours} h {rest} min"),
        (days, hours) => format!("{days} d {hours} h"),
    }
}

fn cut(mut lines: Vec<String>, columns: usize, rows: usize) -> Vec<String> {
    if lines.len() > rows {
        lines.truncate(rows.saturating_sub(1));
        lines.push("…".to_owned());
    }
    for line in &mut lines {
        *line = plain(line).chars().take(columns).collect();
    }
    lines
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn sample(at: Instant, bytes: u64) -> Sample {
        let system = json!({
            "cpu_percent": 12.3, "memory_percent": 34.0, "network": { "received_mbps": 1.25, "sent_mbps": 80.0 },
            "temperature_celsius": null, "program": { "version": "1.0.0", "uptime_seconds": 7_500, "viewers": 1_002 },
        });
        let session = |id: u64, jumps: u64, remote: &str| {
            json!({
                "id": id, "stream": "door", "protocol": "WebRTC", "remote": remote, "bytes": bytes * id, "frames_dropped": jumps * 30,
                "jumps": jumps, "packets_lost": 4, "rtt_ms": 20.25, "waiting_bytes": 0, "latency_ms": 0.0,
            })
        };
        let publisher = session(1, 0, "10.0.0.4:554");
        let streams = json!([
            { "name": "attic", "state": "held", "publisher": null, "tracks": [], "width": null, "height": null, "fps": 0.0,
              "bitrate_kbps": 0.0, "viewers": 0, "latency": null },
            { "name": "door", "state": "live", "publisher": publisher, "tracks": [{ "codec": "H264" }], "width": 640, "height": 480,
              "fps": 29.97, "bitrate_kbps": 812.0, "viewers": 1_002, "latency": { "to_server_ms": 3.24, "since": "capture" } },
        ]);
        let viewers =
            json!({ "sessions": [session(7, 0, "10.0.0.9:1"), session(8, 2, "evil\u{1b}[2J")], "total": 1_002 });
        Sample {
            at,
            server: "http://pi:8000/".parse().unwrap(),
            system: serde_json::from_value(system).unwrap(),
            streams: serde_json::from_value(streams).unwrap(),
            viewers: serde_json::from_value(viewers).unwrap(),
        }
    }

    #[test]
    fn a_screen() {
        let now = Instant::now();
        let (first, second) = (sample(now, 0), sample(now + Duration::from_secs(2), 25_000));
        let lines = second.lines(&Rates::between(&first, &second), None, (200, 40));
        insta::assert_snapshot!(lines.join("\n"), @"
        Sightline 1.0.0 at http://pi:8000, up 2 h 5 min · 1002 viewers · cpu 12 % · memory 34 % · in 1.2 out 80.0 Mb/s

        STREAM                   STATE VIEWERS    FPS    MB/S TO SERVER  PICTURE     FROM
        door                     live     1002   30.0    0.81    3.2 ms  640x480     WebRTC 10.0.0.4:554, H264
        attic                    held        0    0.0    0.00         -  -           gone, and may return

        VIEWER STREAM               PROTOCOL     MB/S      RTT    LOST  DROPPED  JUMPS  WAITING  LATENCY  FROM
             8 door                 WebRTC       0.80  20.2 ms       4       60      2      0 K        -  evil[2J
             7 door                 WebRTC       0.70  20.2 ms       4        0      0      0 K        -  10.0.0.9:1
        (1000 more)
        ");
        let unknown = second.lines(&Rates::between(&second, &second), Some("gone"), (30, 7));
        insta::assert_snapshot!(unknown.join("\n"), @"
        Sightline 1.0.0 at http://pi:8
        ! gone

        STREAM                   STATE
        door                     live 
        attic                    held 
        …
        ");
    }

    #[test]
    fn how_long_it_runs() {
        let of = |seconds| span(Duration::from_secs(seconds));
        assert_eq!(
            [of(59), of(3_599), of(7_500), of(90_000)],
            ["0 min", "59 min", "2 h 5 min", "1 d 1 h"]
        );
    }
}
