//! Several cameras in this process, each picture of which is known.
//!
//! Belongs here: sending them all at one pace, and when each picture was sent. Does not belong here: what became of them.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use media::hub::{Hub, Limits};
use media::stats::{Role, SessionInfo, SessionStats};
use media::{Clock as _, StreamName};
use sightline::clock::SystemClock;
use sightline::random;
use sightline::rtsp::client::{self, Sender, Trust, Url};
use testkit::publishing::publish;
use testkit::stream::{Settings, Video};

/// They send until this is dropped.
pub(crate) struct Cameras {
    sent: Arc<Mutex<Vec<Instant>>>,
    _runtime: tokio::runtime::Runtime,
}

impl Cameras {
    /// Each name with its pictures; all have the rate of the first. They begin when all are taken.
    pub(crate) fn start(rtsp_port: u64, cameras: &[(StreamName, Settings)]) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let hub = Hub::new(Limits::default());
        let mut senders = Vec::new();
        for (name, settings) in cameras {
            let video = Video::new(*settings);
            let tracks = vec![video.track()];
            let publisher = publish(&hub, name, tracks.clone(), &SystemClock);
            let stream = hub.stream(name, SystemClock.now()).unwrap();
            let mut reader = stream.join(SystemClock.now()).unwrap();
            let url: Url = format!("rtsp://127.0.0.1:{rtsp_port}/{name}").parse().unwrap();
            let connecting = Sender::connect(url, "test", &tracks, None, connect());
            let mut sender = runtime.block_on(connecting).unwrap();
            let stats = SessionStats::new(SessionInfo {
                stream: name.clone(),
                role: Role::Publisher,
                protocol: "test",
                remote: None,
                agent: None,
                since: SystemClock.wall(),
            });
            // It ends with the server.
            runtime.spawn(async move { sender.run(&mut reader, &stats).await });
            senders.push((video, publisher));
        }
        let sent = Arc::default();
        runtime.spawn(pace(senders, Arc::clone(&sent), hub));
        Self {
            sent,
            _runtime: runtime,
        }
    }

    /// When each picture was sent, so far.
    pub(crate) fn sent(&self) -> Vec<Instant> {
        self.sent.lock().unwrap().clone()
    }
}

async fn pace(mut senders: Vec<(Video, media::hub::Publisher)>, sent: Arc<Mutex<Vec<Instant>>>, hub: Hub) {
    let begun = Instant::now();
    let every_us = senders[0].0.interval_us();
    for number in 0.. {
        tokio::time::sleep_until((begun + Duration::from_micros(number * every_us)).into()).await;
        for (video, publisher) in &mut senders {
            publisher
                .publish(video.next_frame(SystemClock.wall()), SystemClock.now())
                .unwrap();
        }
        sent.lock().unwrap().push(Instant::now());
    }
    drop(hub);
}

/// As a client of this machine.
pub(crate) fn connect() -> client::Settings {
    client::Settings {
        transport: client::Transport::Tcp,
        login: None,
        trust: Trust::System,
        fingerprint_setting: "test",
        connect_timeout: Duration::from_secs(10),
        clock: Arc::new(SystemClock),
        random: random::bits,
    }
}
