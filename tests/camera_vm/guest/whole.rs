//! A whole camera on a device of the kernel: pictures, a slate while it is gone, pictures again.

use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use device::camera::{self, Camera, Drawing, Output, Status};
use device::encode::{self, Preference};
use device::overlay::Corner;
use device::picture::FrameRate;
use device::source::v4l2;
use media::Frame;
use testkit::clock::SystemClock;

use super::Scenario;
use super::support::{Helper, PATIENCE, Resources, plug, resources, settle, vivid};

pub(super) const SCENARIOS: &[Scenario] = &[
    (
        "whole::a_slate_while_unplugged_and_the_picture_again_ten_times",
        unplugged,
    ),
    ("whole::a_slate_while_another_program_has_the_camera", busy),
];

const PATH: &str = "/dev/video0";
const ALONE: &str = "n_devs=1 node_types=0x1";

/// A running camera and what comes out of it.
struct Running {
    camera: Camera,
    output: Receiver<Output>,
    frames: u64,
    last: Option<Frame>,
    /// Longest wait from frame to frame.
    longest: Duration,
    heard: Instant,
}

impl Running {
    fn start() -> Self {
        let (send, output) = mpsc::channel();
        let settings = camera::Settings {
            name: "vivid".to_owned(),
            source: Box::new(v4l2::Camera::new(PATH, v4l2::Settings::default())),
            // Small and slow: this machine encodes in emulation.
            encode: encode::Settings {
                width: 320,
                height: 180,
                fps: FrameRate::whole(10),
                bitrate_kbps: 200,
                gop_frames: 10,
            },
            encoder: Preference::OpenH264,
            drawing: Drawing {
                lines: Some(Corner::TopLeft),
                stamp: None,
            },
            zone: Arc::new(|_| 0),
            retry: Duration::from_millis(100)..=Duration::from_millis(400),
            seed: 1,
            low: false,
        };
        let sink = Box::new(move |output| drop(send.send(output)));
        Self {
            camera: Camera::start(settings, Arc::new(SystemClock), sink).expect("threads"),
            output,
            frames: 0,
            last: None,
            longest: Duration::ZERO,
            heard: Instant::now(),
        }
    }

    /// Takes what comes until `enough` of a status or a frame.
    fn until(&mut self, what: &str, mut enough: impl FnMut(&Output) -> bool) {
        let until = Instant::now() + 2 * PATIENCE;
        loop {
            let output = match self
                .output
                .recv_timeout(until.saturating_duration_since(Instant::now()))
            {
                Ok(output) => output,
                Err(RecvTimeoutError::Timeout) => panic!("waited for {what} in vain"),
                Err(RecvTimeoutError::Disconnected) => panic!("the camera ended before {what}"),
            };
            if let Output::Frame(frame) = &output {
                self.take(frame);
            }
            if enough(&output) {
                return;
            }
        }
    }

    fn take(&mut self, frame: &Frame) {
        if let Some(last) = &self.last {
            assert!(frame.time.micros_since(last.time) > 0, "media time goes on");
            self.longest = self.longest.max(self.heard.elapsed());
        }
        self.heard = Instant::now();
        self.frames += 1;
        self.last = Some(frame.clone());
    }

    fn until_running(&mut self) {
        self.until("pictures", |output| match output {
            Output::Status(Status::Running { source, .. }) => {
                assert!(source.contains("vivid at /dev/video"), "{source}");
                true
            }
            _ => false,
        });
    }

    fn until_slate(&mut self, says: &str) {
        self.until(
            says,
            |output| matches!(output, Output::Status(Status::Slate { error, .. }) if error.to_string().contains(says)),
        );
    }

    fn frames(&mut self, count: u32) {
        let mut left = count;
        self.until("frames", |output| {
            left -= u32::from(matches!(output, Output::Frame(_)));
            left == 0
        });
    }
}

fn unplugged() {
    vivid(ALONE);
    let mut running = Running::start();
    running.until_running();
    let mut held = Vec::new();
    for _ in 0..10 {
        running.frames(5);
        plug(false);
        running.until_slate("the camera /dev/video0 is gone: it was unplugged");
        running.until_slate("no camera at /dev/video0");
        running.frames(2);
        plug(true);
        settle(PATH);
        running.until_running();
        held.push(resources());
    }
    // The first cycles leave what is only made once. The allocator takes 4 MB at once when a second thread needs memory, whenever
    // that is; ten pictures a cycle would be more than the 6 MB allowed here.
    let (early, late) = (&held[1..5], &held[6..]);
    let least = |cycles: &[Resources]| cycles.iter().map(|held| held.resident_kib).min().unwrap();
    assert!(
        late.iter()
            .all(|held| (held.files, held.threads) == (early[0].files, early[0].threads)),
        "{held:?}"
    );
    assert!(least(late) < least(early) + 6 * 1024, "{held:?}");
    running.frames(5);
    let stats = running.camera.handle().stats();
    println!(
        "measured: {} frames over ten unplugs, longest gap {:.0?}, {} slates, {:?}",
        running.frames,
        running.longest,
        stats.slates,
        resources()
    );
    assert!(stats.failures >= 20 && stats.slates >= 20, "{stats:?}");
    // Viewers are never left without a picture for long, unplugging included.
    assert!(running.longest < Duration::from_secs(5), "{:?}", running.longest);
    running.camera.stop();
    assert_eq!(resources().threads, 1);
}

fn busy() {
    vivid(ALONE);
    let helper = Helper::hold(PATH, true);
    let mut running = Running::start();
    running.until_slate(&format!(
        "the camera /dev/video0 is busy: used by exe (process {})",
        helper.pid()
    ));
    running.frames(2);
    drop(helper);
    running.until_running();
    running.frames(5);
}
