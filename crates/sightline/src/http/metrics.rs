//! `GET /metrics`: counters and gauges in Prometheus' text format 0.0.4, for whoever may see the streams.
//!
//! Belongs here: names, labels and the text. Does not belong here: counting, which sessions and the hub do ([`media::stats`], [`media::hub::Books`]): all is
//! read when it is asked for, stream after stream, and no lock is held from one to the next.
//!
//! Labels are words of the program (`role`, `protocol`, `stage`) and names of streams, of which the hub tells 200 apart; never a peer. Written by hand: the
//! crates for this keep counters of their own, and ours are there already.

use std::collections::BTreeMap;
use std::fmt::{Display, Write as _};
use std::sync::atomic::Ordering::Relaxed;

use axum_core::response::{IntoResponse as _, Response};
use http::HeaderValue;
use http::header::CONTENT_TYPE;
use media::hub::{Account, Books, OTHERS};
use media::stats::{Delays, Role, Totals};

use super::Shared;
use super::access::Caller;
use super::openapi::Operation;
use super::routes::{Answer, Call, Route, Target, Verb, sees};
use crate::auth::Principal;
use crate::forward::State;
use crate::machine;
use crate::motion;
use crate::record::report::{LeftOut, StorageReport};
use crate::record::service as record;
use crate::{upload, webhooks};

const METRICS: Operation = Operation::gives("Counters and delays for Prometheus", "text/plain; version=0.0.4");

pub(super) const ROUTES: &[Route] = &[Route {
    verb: Verb::Get,
    path: "/metrics",
    target: Target::Metrics { handler: metrics },
    about: Some(&METRICS),
}];

/// What sessions count: name, help, and where it stands.
type Counted = (&'static str, &'static str, fn(&Totals) -> u64);

const COUNTERS: [Counted; 10] = [
    ("bytes", "Payload and headers moved, in bytes", |totals| totals.bytes),
    ("packets", "Packets moved", |totals| totals.packets),
    ("frames", "Pictures and pieces of sound moved", |totals| totals.frames),
    ("keyframes", "Keyframes among the frames", |totals| totals.keyframes),
    (
        "frames_dropped",
        "Frames not sent to viewers, or of publishers and not usable",
        |totals| totals.frames_dropped,
    ),
    ("jumps", "Times viewers were moved to the newest keyframe", |totals| {
        totals.jumps
    }),
    ("packets_lost", "Packets that the network lost", |totals| {
        totals.packets_lost
    }),
    (
        "packets_malformed",
        "Packets of peers that could not be read",
        |totals| totals.packets_malformed,
    ),
    (
        "timestamp_jumps",
        "Times that timestamps of publishers jumped and were put right",
        |totals| totals.timestamp_jumps,
    ),
    (
        "renditions",
        "Times viewers were given another rendition, by what their way carries",
        |totals| totals.renditions,
    ),
];

fn metrics(call: Call, caller: Caller) -> Answer {
    Box::pin(async move {
        let mut page = Page::default();
        page.program(&call.shared);
        page.process(&call.shared);
        page.traffic(&call.shared, &caller.who);
        let text = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
        let response: Response = ([(CONTENT_TYPE, text)], page.0).into_response();
        response
    })
}

/// The text of an answer.
#[derive(Default)]
struct Page(String);

impl Page {
    /// The head of a family; its samples follow.
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to a text never fails.
        let _ = writeln!(self.0, "# HELP {name} {help}.\n# TYPE {name} {kind}");
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        self.0.push_str(name);
        for (index, (label, text)) in labels.iter().enumerate() {
            let _ = write!(self.0, "{}{label}=\"", if index == 0 { '{' } else { ',' });
            for c in text.chars() {
                match c {
                    '\\' => self.0.push_str("\\\\"),
                    '"' => self.0.push_str("\\\""),
                    '\n' => self.0.push_str("\\n"),
                    _ => self.0.push(c),
                }
            }
            self.0.push('"');
        }
        let _ = writeln!(self.0, "{} {value}", if labels.is_empty() { "" } else { "}" });
    }

    fn single(&mut self, name: &str, kind: &str, help: &str, value: impl Display) {
        self.family(name, kind, help);
        self.sample(name, &[], value);
    }

    fn program(&mut self, shared: &Shared) {
        self.family("sightline_build_info", "gauge", "Which program this is; always 1");
        self.sample("sightline_build_info", &[("version", env!("CARGO_PKG_VERSION"))], 1);
        let status = shared.settings.status.totals();
        for (name, help, value) in [
            (
                "sightline_kept_bytes",
                "Newest frames kept for viewers, in bytes",
                shared.hub.ring_bytes(),
            ),
            (
                "sightline_http_connections",
                "HTTP connections that are open",
                shared.open.load(Relaxed),
            ),
            (
                "sightline_status_clients",
                "Clients of the status socket",
                status.clients,
            ),
            (
                "sightline_status_cameras",
                "Cameras that the status socket knows",
                status.cameras,
            ),
        ] {
            self.single(name, "gauge", help, value);
        }
        self.family(
            "sightline_forwards",
            "gauge",
            "Targets that streams are sent on to, by how they are",
        );
        let forwards = shared.settings.forwards.reports();
        for state in State::WORDS {
            let count = forwards.iter().filter(|report| report.state.word() == state).count();
            self.sample("sightline_forwards", &[("state", state)], count);
        }
        self.webhooks(shared);
        self.recordings(shared);
        self.motion(shared);
        self.stills(shared);
        self.uploads(shared);
        let panics = shared.panics.load(Relaxed);
        self.single(
            "sightline_http_panics_total",
            "counter",
            "HTTP requests that a bug of ours ended",
            panics,
        );
    }

    fn webhooks(&mut self, shared: &Shared) {
        let webhooks = shared.settings.webhooks.reports();
        self.family(
            "sightline_webhooks",
            "gauge",
            "Servers that are told of events, by how they are",
        );
        for state in webhooks::State::WORDS {
            let count = webhooks.iter().filter(|report| report.state.word() == state).count();
            self.sample("sightline_webhooks", &[("state", state)], count);
        }
        let waiting: usize = webhooks.iter().map(|report| report.waiting).sum();
        self.single(
            "sightline_webhook_events_waiting",
            "gauge",
            "Events that servers are yet to be told",
            waiting,
        );
        let totals = shared.settings.webhooks.totals();
        self.counters(
            "sightline_webhook",
            &[
                ("events", "Events that servers were told", totals.told),
                ("events_lost", "Events that servers will never be told", totals.lost),
                (
                    "failures",
                    "Attempts to tell servers of events that failed",
                    totals.failures,
                ),
            ],
        );
    }

    fn motion(&mut self, shared: &Shared) {
        let reports = shared.settings.motion.reports();
        let name = "sightline_motion_streams";
        self.family(name, "gauge", "Streams in which motion is looked for, by how that is");
        for state in motion::State::ALL {
            let count = reports.iter().filter(|report| report.state == state).count();
            self.sample(name, &[("state", state.word())], count);
        }
        let moving = reports.iter().filter(|report| report.now.is_moving).count();
        let name = "sightline_motion_moving";
        self.single(name, "gauge", "Streams in which something moves", moving);
        let counts = shared.settings.motion.totals();
        self.counters(
            "sightline_motion",
            &[
                (
                    "looks",
                    "Pictures of streams that were looked at for motion",
                    counts.looks,
                ),
                ("decoded", "Frames that were decoded to look for motion", counts.decoded),
                (
                    "failures",
                    "Frames that could not be decoded to look for motion",
                    counts.failures,
                ),
                (
                    "late",
                    "Frames that were not looked at for motion since the machine is too slow",
                    counts.late,
                ),
            ],
        );
    }

    fn stills(&mut self, shared: &Shared) {
        let totals = shared.settings.stills.totals();
        self.counters(
            "sightline_stills",
            &[
                ("asked", "Newest pictures of streams that were asked for", totals.asked),
                ("decoded", "Keyframes that were decoded for them", totals.decoded),
                ("failed", "Keyframes that could not be decoded", totals.failed),
            ],
        );
    }

    /// By stream they would be as many as there are streams; the API has them.
    fn recordings(&mut self, shared: &Shared) {
        let totals = shared.settings.recordings.totals();
        self.family(
            "sightline_recordings",
            "gauge",
            "Streams that are recorded or could be, by how that is",
        );
        for (state, count) in record::State::ALL.iter().zip(totals.streams) {
            self.sample("sightline_recordings", &[("state", state.word())], count);
        }
        let counts = totals.counts;
        self.counters(
            "sightline_recording",
            &[
                ("files", "Files of recordings that were begun", counts.files),
                (
                    "files_refused",
                    "Files of recordings that were not begun, since there would have been too many",
                    counts.files_refused,
                ),
                ("fragments", "Fragments of recordings that were cut", counts.fragments),
                ("bytes", "Bytes of recordings that were cut", counts.bytes),
                (
                    "fragments_lost",
                    "Fragments of recordings that are in no file",
                    counts.lost_fragments,
                ),
                (
                    "frames_left_out",
                    "Frames that were read to be recorded and are in no fragment",
                    counts.left_out_frames,
                ),
                (
                    "frames_missed",
                    "Frames to be recorded that were gone before they were read",
                    counts.missed_frames,
                ),
            ],
        );
        let Some(recorder) = shared.settings.recordings.recorder() else {
            return;
        };
        let report = recorder.report();
        let sum = |value: fn(&StorageReport) -> u64| report.storages.iter().map(value).sum::<u64>();
        for (what, help, value) in [
            (
                "free",
                "Free on the disk of recordings",
                sum(|storage| storage.free_bytes),
            ),
            ("used", "Recordings on the disk", sum(|storage| storage.used_bytes)),
            (
                "queued",
                "Recordings that wait to be written",
                sum(|storage| storage.queued_bytes),
            ),
        ] {
            let help = format!("{help}, in bytes");
            self.single(&format!("sightline_recording_{what}_bytes"), "gauge", &help, value);
        }
        let counters = report.counters;
        self.counters(
            "sightline_recording",
            &[
                ("written_bytes", "Bytes of recordings that were written", counters.bytes),
                (
                    "failures",
                    "Times that the disk of recordings failed",
                    counters.failures,
                ),
            ],
        );
        let name = "sightline_recording_left_out_total";
        self.family(name, "counter", "Fragments of recordings that were not written, by why");
        for (why, count) in LeftOut::ALL.iter().zip(counters.left_out) {
            self.sample(name, &[("reason", why.name())], count);
        }
    }

    /// All together: which there are is for whoever reads the settings.
    fn uploads(&mut self, shared: &Shared) {
        let archived = shared.settings.library.archive_report();
        self.counters(
            "sightline_archive",
            &[
                ("files", "Recordings that went to the archive", archived.files),
                ("bytes", "Bytes of recordings that went to the archive", archived.bytes),
            ],
        );
        let is_failing = u8::from(archived.trouble.is_some());
        self.single(
            "sightline_archive_failing",
            "gauge",
            "Whether recordings cannot be archived",
            is_failing,
        );
        let reports = shared
            .settings
            .uploads
            .as_ref()
            .map(|uploads| uploads.reports())
            .unwrap_or_default();
        let sum = |value: fn(&upload::Report) -> u64| reports.iter().map(value).sum::<u64>();
        let name = "sightline_upload_snapshots_total";
        self.family(name, "counter", "Snapshots to be uploaded, by what became of them");
        for (state, count) in [
            ("sent", sum(|report| report.sent)),
            ("missed", sum(|report| report.missed)),
            ("dropped", sum(|report| report.dropped)),
            ("deleted", sum(|report| report.deleted)),
        ] {
            self.sample(name, &[("state", state)], count);
        }
        for (what, help, value) in [
            (
                "waiting",
                "Snapshots that wait to be sent",
                sum(|report| report.waiting as u64),
            ),
            (
                "waiting_bytes",
                "Snapshots that wait to be sent, in bytes",
                sum(|report| report.waiting_bytes),
            ),
            (
                "failing",
                "Uploads that cannot send",
                sum(|report| u64::from(report.trouble.is_some())),
            ),
        ] {
            self.single(&format!("sightline_upload_{what}"), "gauge", help, value);
        }
    }

    /// Counters whose names begin and end alike: what stands between, its help, its value.
    fn counters(&mut self, prefix: &str, counters: &[(&str, &str, u64)]) {
        for (what, help, value) in counters {
            self.single(&format!("{prefix}_{what}_total"), "counter", help, value);
        }
    }

    /// Under the names that all programs use.
    fn process(&mut self, shared: &Shared) {
        let figures = machine::process();
        let up = shared.clock.now().saturating_duration_since(shared.began);
        let began_us = shared
            .clock
            .wall()
            .unix_micros()
            .saturating_sub(media::time::micros(up));
        let began = began_us as f64 / 1e6;
        self.single(
            "process_start_time_seconds",
            "gauge",
            "When the program began, in seconds since 1970",
            began,
        );
        if let Some(time) = figures.processor_time {
            self.single(
                "process_cpu_seconds_total",
                "counter",
                "Processor time used, in seconds",
                time.as_secs_f64(),
            );
        }
        for (name, help, value) in [
            (
                "process_resident_memory_bytes",
                "Memory in use, in bytes",
                figures.resident_bytes,
            ),
            (
                "process_virtual_memory_bytes",
                "Address space in use, in bytes",
                figures.virtual_bytes,
            ),
            ("process_open_fds", "File descriptors that are open", figures.open_files),
            (
                "process_max_fds",
                "File descriptors that may be open",
                figures.most_open_files,
            ),
        ] {
            if let Some(value) = value {
                self.single(name, "gauge", help, value);
            }
        }
    }

    /// What went through the program: by protocol since its start, by stream since the stream began.
    fn traffic(&mut self, shared: &Shared, who: &Principal) {
        let ledger = shared.hub.ledger();
        let (mut all, mut others) = (ledger.ended.clone(), ledger.ended_others);
        // In order, and each name once.
        let mut by_name: BTreeMap<&str, Books> = BTreeMap::new();
        for stream in &ledger.streams {
            let books = stream.books();
            all.add(&books);
            if stream.is_told_apart() && sees(who, stream.name()) {
                by_name.insert(stream.name().as_str(), books);
            } else {
                others.add(&books);
            }
        }
        if !others.accounts().is_empty() {
            by_name.insert(OTHERS, others);
        }
        self.single(
            "sightline_streams",
            "gauge",
            "Streams, live and held",
            ledger.streams.len(),
        );
        let mut accounts = all.accounts().to_vec();
        accounts.sort_unstable_by_key(|account| (role(account.role), account.protocol));
        self.protocols(&accounts);
        self.streams(&by_name);
        self.delays(&accounts);
    }

    fn protocols(&mut self, accounts: &[Account]) {
        let labels = |account: &Account| [("role", role(account.role)), ("protocol", account.protocol)];
        self.family("sightline_sessions", "gauge", "Publishers and viewers");
        for account in accounts {
            self.sample("sightline_sessions", &labels(account), account.sessions);
        }
        for (what, help, value) in COUNTERS {
            let name = format!("sightline_{what}_total");
            self.family(&name, "counter", help);
            for account in accounts {
                self.sample(&name, &labels(account), value(&account.totals));
            }
        }
    }

    fn streams(&mut self, by_name: &BTreeMap<&str, Books>) {
        let sums = by_name.iter().flat_map(|(name, books)| {
            [Role::Publisher, Role::Viewer].map(|role| {
                let of_role = books.accounts().iter().filter(|account| account.role == role);
                let sum = of_role.fold((0, Totals::default()), |(sessions, totals), account| {
                    (sessions + account.sessions, totals.plus(&account.totals))
                });
                (*name, role, sum)
            })
        });
        let sums: Vec<_> = sums.collect();
        self.family(
            "sightline_stream_sessions",
            "gauge",
            "Publishers and viewers of a stream",
        );
        for (name, of, (sessions, _)) in &sums {
            self.sample(
                "sightline_stream_sessions",
                &[("stream", name), ("role", role(*of))],
                sessions,
            );
        }
        for (what, help, value) in COUNTERS {
            let family = format!("sightline_stream_{what}_total");
            self.family(&family, "counter", &format!("By stream: {help}"));
            for (name, of, (_, totals)) in &sums {
                self.sample(&family, &[("stream", name), ("role", role(*of))], value(totals));
            }
        }
    }

    fn delays(&mut self, accounts: &[Account]) {
        const NAME: &str = "sightline_latency_seconds";
        self.family(
            NAME,
            "histogram",
            "Delay of frames by stage: from capture to the server, from there to the socket of a viewer",
        );
        for account in accounts {
            let stage = match account.role {
                Role::Publisher => "capture_to_server",
                Role::Viewer => "server_to_socket",
            };
            let (stage, protocol) = (("stage", stage), ("protocol", account.protocol));
            let bounds = Delays::BOUNDS_US.map(|bound| (bound as f64 / 1e6).to_string());
            let bounds = bounds.iter().map(String::as_str).chain(["+Inf"]);
            let mut count = 0_u64;
            for (bound, of_class) in bounds.zip(account.totals.delays) {
                count = count.saturating_add(of_class);
                self.sample(&format!("{NAME}_bucket"), &[stage, protocol, ("le", bound)], count);
            }
            let sum = account.totals.delays_sum_us as f64 / 1e6;
            self.sample(&format!("{NAME}_sum"), &[stage, protocol], sum);
            self.sample(&format!("{NAME}_count"), &[stage, protocol], count);
        }
    }
}

fn role(role: Role) -> &'static str {
    match role {
        Role::Publisher => "publisher",
        Role::Viewer => "viewer",
    }
}
