//! `sightline bench`: loads that measure.

use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};

use super::{ConfigFile, Failure, Ready, connect, ready};
use crate::bench::{self, encode, hls, rtsp, status, whep};
use crate::config::Loaded;
use crate::config::socket_url::SocketUrl;
use crate::config::units::{Bitrate, Size, StreamUrl};
use crate::net;
use crate::rtsp::client;
use crate::secret::Secret;
use crate::shutdown::{self, End};
use crate::status::client::Target;

/// Measure servers and encoders
#[derive(Debug, Args)]
#[command(arg_required_else_help = true, after_help = EXAMPLES)]
pub(super) struct Bench {
    #[command(subcommand)]
    command: BenchCommand,
}

const EXAMPLES: &str = "Examples:
  sightline bench encode
  sightline bench rtsp rtsp://localhost:8554/load --publish --viewers 100
  sightline bench hls http://localhost:8888/zerolatency/index.m3u8 --viewers 200
  sightline bench whep http://localhost:8889/zerolatency/whep --viewers 150
  sightline bench status ws://localhost:8000 --token TOKEN --clients 2000";

#[derive(Debug, Subcommand)]
enum BenchCommand {
    Rtsp(Rtsp),
    Hls(Hls),
    Status(Status),
    Whep(Whep),
    Encode(Encode),
}

/// Many RTSP viewers of one server, which measure each frame's age by the time inside it
#[derive(Debug, Args)]
#[command(after_help = RTSP_EXAMPLES)]
struct Rtsp {
    /// The stream, as rtsp://host:8554/NAME
    url: StreamUrl,
    /// How media travels to them
    #[arg(long, value_name = "WORD", default_value = "tcp")]
    transport: Transport,
    /// Publish a test stream there first
    #[arg(long)]
    publish: bool,
    #[command(flatten)]
    crowd: Crowd,
}

/// What all loads of viewers have in common.
#[derive(Debug, Args)]
struct Crowd {
    /// How many viewers; 0 with --publish only publishes
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = whole::<0, 100_000>)]
    viewers: u32,
    /// Width and height of the test stream in pixels
    #[arg(long, value_name = "WxH", default_value = "640x480")]
    size: Size,
    /// Its pictures per second
    #[arg(long, value_name = "FPS", default_value_t = 30, value_parser = whole::<1, 240>)]
    fps: u32,
    /// Its bits per second
    #[arg(long, value_name = "BITS", default_value = "2M")]
    bitrate: Bitrate,
    /// Its pictures from keyframe to keyframe
    #[arg(long, value_name = "PICTURES", default_value_t = 60, value_parser = whole::<1, 600>)]
    gop: u32,
    #[command(flatten)]
    measured: Measured,
}

/// What all loads on a server have in common.
#[derive(Debug, Args)]
struct Measured {
    /// How long to measure after all have joined
    #[arg(long, value_name = "SECONDS", default_value_t = 10.0, value_parser = seconds)]
    seconds: f64,
    /// Process of the server on this machine, to measure what it costs
    #[arg(long, value_name = "PID", value_parser = whole::<1, { i32::MAX as u32 }>)]
    pid: Option<u32>,
    /// Token to show the server; a user and password in the URL win over it [SIGHTLINE_TOKEN]
    #[arg(long, value_name = "TOKEN")]
    token: Option<String>,
    /// Print the figures as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: ConfigFile,
}

const RTSP_EXAMPLES: &str = "Examples:
  sightline bench rtsp rtsp://localhost:8554/zerolatency --viewers 100
  sightline bench rtsp rtsp://localhost:8554/load --publish --viewers 400 --json
  sightline bench rtsp rtsp://localhost:8554/load --pid $(pidof sightline)";

/// Many LL-HLS viewers of one server, which reload lists and fetch parts as browsers do
#[derive(Debug, Args)]
#[command(after_help = HLS_EXAMPLES)]
struct Hls {
    /// The playlist, as http://host:8888/NAME/index.m3u8
    #[arg(value_parser = playlist_url)]
    url: url::Url,
    /// Publish a test stream first, by RTSP, at the URL that the server takes it at
    #[arg(long, value_name = "URL")]
    publish: Option<StreamUrl>,
    #[command(flatten)]
    crowd: Crowd,
}

const HLS_EXAMPLES: &str = "Examples:
  sightline bench hls http://localhost:8888/zerolatency/index.m3u8 --viewers 200
  sightline bench hls http://pi:8888/a/index.m3u8 --publish rtsp://pi:8554/a";

/// Many dashboards on one status socket, and a camera that says how it is: the token is that of somebody who may publish and view
#[derive(Debug, Args)]
#[command(after_help = STATUS_EXAMPLES)]
struct Status {
    /// The socket, as ws://host:8000
    url: SocketUrl,
    /// How many dashboards
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = whole::<1, 50_000>)]
    clients: u32,
    /// How many besides that never read
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = whole::<0, 50_000>)]
    silent: u32,
    /// Statuses a second
    #[arg(long, value_name = "N", default_value_t = 30, value_parser = whole::<1, 100>)]
    rate: u32,
    #[command(flatten)]
    measured: Measured,
}

const STATUS_EXAMPLES: &str = "Examples:
  sightline bench status ws://localhost:8000 --clients 2000 --silent 1
  sightline bench status ws://pi.local:8000 --token TOKEN --rate 1 --json";

/// Many WebRTC viewers of one server, each with its own ICE, DTLS and SRTP
#[derive(Debug, Args)]
#[command(after_help = WHEP_EXAMPLES)]
struct Whep {
    /// Where offers are posted, as http://host:8889/NAME/whep
    #[arg(value_parser = whep_url)]
    url: url::Url,
    /// Publish a test stream first, by RTSP, at the URL that the server takes it at
    #[arg(long, value_name = "URL")]
    publish: Option<StreamUrl>,
    #[command(flatten)]
    crowd: Crowd,
}

const WHEP_EXAMPLES: &str = "Examples:
  sightline bench whep http://localhost:8889/zerolatency/whep --viewers 150
  sightline bench whep http://pi:8889/a/whep --publish rtsp://pi:8554/a";

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Transport {
    Tcp,
    Udp,
}

/// What a camera costs on this machine: from capture to the encoded frame, with overlay and stamp
#[derive(Debug, Args)]
#[command(after_help = ENCODE_EXAMPLES)]
struct Encode {
    /// Width and height in pixels
    #[arg(long, value_name = "WxH", default_value = "640x480")]
    size: Size,
    /// Pictures per second
    #[arg(long, value_name = "FPS", default_value_t = 30, value_parser = whole::<1, 240>)]
    fps: u32,
    /// Bits per second
    #[arg(long, value_name = "BITS", default_value = "800k")]
    bitrate: Bitrate,
    /// Pictures from keyframe to keyframe
    #[arg(long, value_name = "PICTURES", default_value_t = 10, value_parser = whole::<1, 600>)]
    gop: u32,
    /// How long to measure in real time
    #[arg(long, value_name = "SECONDS", default_value_t = 10.0, value_parser = seconds)]
    seconds: f64,
    /// Print the figures as JSON
    #[arg(long)]
    json: bool,
}

const ENCODE_EXAMPLES: &str = "Examples:
  sightline bench encode
  sightline bench encode --size 1920x1080 --bitrate 4M --seconds 30 --json";

impl Encode {
    fn run(self) -> Result<(), Failure> {
        let settings = device::encode::Settings {
            width: self.size.width,
            height: self.size.height,
            fps: device::picture::FrameRate::whole(self.fps),
            bitrate_kbps: self.bitrate.kbps(),
            gop_frames: self.gop,
        };
        let clock: Arc<dyn media::Clock> = Arc::new(crate::clock::SystemClock);
        let duration = Duration::from_secs_f64(self.seconds);
        let measure = move || encode::run(settings, device::encode::Preference::Auto, duration, &clock);
        let measuring = async {
            let report = tokio::task::spawn_blocking(measure).await;
            report.map_err(Failure::running)?.map_err(Failure::running)
        };
        print(measured(measuring)?, self.json)
    }
}

/// Runs a load until it is over; `None`: somebody ended it.
fn measured<Report>(load: impl Future<Output = Result<Report, Failure>>) -> Result<Option<Report>, Failure> {
    let runtime = connect::runtime()?;
    let ended = runtime.block_on(shutdown::run(|shutdown| async move {
        tokio::select! {
            report = load => report.map(Some),
            () = shutdown.requested() => Ok(None),
        }
    }));
    runtime.shutdown_background();
    match ended.map_err(Failure::running)? {
        End::Done(report) => report,
        End::Abandoned => Ok(None),
    }
}

/// For people or programs.
fn print<Report: serde::Serialize + std::fmt::Display>(report: Option<Report>, json: bool) -> Result<(), Failure> {
    let Some(report) = report else { return Ok(()) };
    let text = if json {
        serde_json::to_string(&report).map_err(Failure::running)?
    } else {
        report.to_string()
    };
    // Nobody reads it: no failure of the measurement.
    let _ = writeln!(std::io::stdout(), "{}", text.trim_end());
    Ok(())
}

impl Bench {
    pub(super) fn run(self) -> Result<(), Failure> {
        match self.command {
            BenchCommand::Rtsp(rtsp) => rtsp.run(),
            BenchCommand::Hls(hls) => hls.run(),
            BenchCommand::Status(status) => status.run(),
            BenchCommand::Whep(whep) => whep.run(),
            BenchCommand::Encode(encode) => encode.run(),
        }
    }
}

impl Measured {
    /// Runs a load on a server, shows how many of `all` have joined, and prints what was measured.
    fn run<Running, Report, Error>(
        &self,
        all: u32,
        load: impl FnOnce(&Ready, Box<dyn Fn(usize)>) -> Running,
    ) -> Result<(), Failure>
    where
        Running: Future<Output = Result<Report, Error>>,
        Report: serde::Serialize + std::fmt::Display,
        Error: std::fmt::Display,
    {
        let ready = ready(self.config.config.clone(), &[])?;
        net::raise_descriptor_limit();
        let console = Arc::clone(&ready.log.console);
        let progress = move |joined| console.status(&format!("{joined} of {all} have joined"));
        let running = load(&ready, Box::new(progress));
        let report = measured(async { running.await.map_err(Failure::running) });
        ready.log.console.status("");
        print(report?, self.json)
    }

    fn duration(&self) -> Duration {
        Duration::from_secs_f64(self.seconds)
    }

    fn token<'a>(&'a self, loaded: &'a Loaded) -> Option<&'a str> {
        let settings = loaded.settings.auth.token.as_ref();
        self.token.as_deref().or(settings.map(Secret::expose))
    }
}

impl Crowd {
    fn of(&self, publish: Option<client::Url>, ready: &Ready) -> bench::Crowd {
        bench::Crowd {
            viewers: self.viewers as usize,
            duration: self.measured.duration(),
            publish: publish.map(|url| self.publish(url, ready)),
            pid: self.measured.pid,
            clock: Arc::clone(&ready.clock),
        }
    }

    fn target(&self, url: url::Url, ready: &Ready) -> bench::Target {
        let token = self.measured.token(&ready.loaded).map(Secret::new);
        bench::Target { url, token }
    }

    fn connect(&self, url: &client::Url, transport: client::Transport, ready: &Ready) -> client::Settings {
        let token = self.measured.token(&ready.loaded);
        let certificate = connect::Named {
            fingerprint: ready.loaded.settings.receive.fingerprint,
            setting: "receive.fingerprint",
        };
        connect::settings(url, token, "viewer", transport, &certificate, Arc::clone(&ready.clock))
    }

    fn publish(&self, url: client::Url, ready: &Ready) -> bench::Publish {
        bench::Publish {
            settings: self.connect(&url, client::Transport::Tcp, ready),
            url,
            load: bench::Load {
                size: (self.size.width, self.size.height),
                fps: self.fps,
                bitrate_kbps: self.bitrate.kbps(),
                gop_frames: self.gop,
            },
        }
    }
}

impl Rtsp {
    fn run(self) -> Result<(), Failure> {
        let transport = match self.transport {
            Transport::Tcp => client::Transport::Tcp,
            Transport::Udp => client::Transport::Udp,
        };
        let (url, crowd) = (self.url.0, self.crowd);
        crowd.measured.run(crowd.viewers, |ready, progress| {
            // With a stream of our own, the credential has to allow publishing too: a viewer's token would not.
            let settings = crowd.connect(&url, transport, ready);
            let publish = self.publish.then(|| url.clone());
            rtsp::run(url, settings, crowd.of(publish, ready), progress)
        })
    }
}

impl Hls {
    fn run(self) -> Result<(), Failure> {
        let crowd = self.crowd;
        crowd.measured.run(crowd.viewers, |ready, progress| {
            let publish = self.publish.map(|url| url.0);
            hls::run(crowd.target(self.url, ready), crowd.of(publish, ready), progress)
        })
    }
}

impl Whep {
    fn run(self) -> Result<(), Failure> {
        let crowd = self.crowd;
        crowd.measured.run(crowd.viewers, |ready, progress| {
            let publish = self.publish.map(|url| url.0);
            whep::run(crowd.target(self.url, ready), crowd.of(publish, ready), progress)
        })
    }
}

impl Status {
    fn run(self) -> Result<(), Failure> {
        let measured = self.measured;
        measured.run(self.clients + self.silent, |ready, progress| {
            let plan = status::Plan {
                target: Target {
                    url: self.url,
                    token: measured.token(&ready.loaded).map(Secret::new),
                    named: true,
                    per_second: self.rate,
                },
                clients: self.clients as usize,
                silent: self.silent as usize,
                duration: measured.duration(),
                pid: measured.pid,
                clock: Arc::clone(&ready.clock),
            };
            status::run(plan, progress)
        })
    }
}

fn playlist_url(text: &str) -> Result<url::Url, String> {
    http_url(text, "http://localhost:8888/zerolatency/index.m3u8")
}

fn whep_url(text: &str) -> Result<url::Url, String> {
    http_url(text, "http://localhost:8889/zerolatency/whep")
}

fn http_url(text: &str, example: &str) -> Result<url::Url, String> {
    let url: url::Url = text
        .parse()
        .map_err(|error| format!("{error}; write it like {example}"))?;
    match (url.scheme(), url.host_str()) {
        ("http", Some(_)) => Ok(url),
        ("https", _) => Err(format!("this load speaks HTTP without TLS; write it like {example}")),
        _ => Err(format!("write it like {example}")),
    }
}

fn seconds(text: &str) -> Result<f64, String> {
    let seconds = text.parse().ok().filter(|seconds| (0.1..=86_400.0).contains(seconds));
    seconds.ok_or_else(|| "write seconds, from 0.1 to 86400".to_owned())
}

fn whole<const LEAST: u32, const MOST: u32>(text: &str) -> Result<u32, String> {
    let number = text.parse().ok().filter(|number| (LEAST..=MOST).contains(number));
    number.ok_or_else(|| format!("write a whole number from {LEAST} to {MOST}"))
}
