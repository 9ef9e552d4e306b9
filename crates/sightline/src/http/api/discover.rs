//! Looking for cameras: those of this machine, and those of its networks.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use axum_core::response::IntoResponse as _;
use device::source::v4l2::{self, Unfit};
use device::source::{Word, libcamera};
use media::Clock;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::sync::OwnedSemaphorePermit;

use super::people::{Asked, read_as};
use super::probe::{Told, busy, capturing, fetching};
use super::rounded;
use crate::auth::Action;
use crate::config::onvif_url::written;
use crate::config::settings::Settings;
use crate::http::access::Caller;
use crate::http::answer::json;
use crate::http::openapi::{Content, Operation};
use crate::http::problem::Problem;
use crate::http::routes::{Answer, Call, Gone};
use crate::net;
use crate::onvif::discover::{Search, Seen, everywhere, search};
use crate::source::probe::cause_of_device;

pub(super) const LOOK: Operation = Operation {
    body: Some(Content::json::<Question>()),
    problems: &[400, 408, 413, 415, 429],
    ..Operation::reads::<Answered>("Look for cameras of this machine and of its networks, within 5 seconds")
};

/// How long cameras of the network may take to answer.
const WAIT: Duration = Duration::from_secs(3);
/// How long looking may take.
const WITHIN: Duration = Duration::from_secs(5);
/// Devices of this machine that are told of.
const MAX_DEVICES: usize = 64;
/// Modes of one that are told of, the largest first.
const MAX_MODES: usize = 12;

/// Nothing is to be said.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Discover")]
struct Question {}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Discovered")]
struct Answered {
    /// Of this machine.
    devices: Vec<Device>,
    /// Of its networks, 256 at the most.
    cameras: Vec<Camera>,
    /// Where was looked: interfaces with their addresses.
    networks: Vec<String>,
}

/// A camera of this machine.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "FoundDevice")]
struct Device {
    /// As `source` of a camera has it.
    source: String,
    name: String,
    /// Where it is: a device node, or a number.
    place: String,
    modes: Vec<Mode>,
    /// Why it cannot be used now.
    cause: Option<Told>,
    /// Cameras of the settings that it is.
    known: Vec<String>,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "DeviceMode")]
struct Mode {
    /// As the driver calls it: `MJPG`, `YUYV`, `H264`.
    format: String,
    width: u32,
    height: u32,
    /// The fastest; `null`: it does not tell.
    fps: Option<f64>,
}

/// A camera of the network.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "FoundCamera")]
struct Camera {
    /// As `source` of a stream has it: it is asked where its streams are.
    source: String,
    address: Option<String>,
    name: Option<String>,
    hardware: Option<String>,
    /// Streams of the settings that are fetched from the same machine.
    known: Vec<String>,
}

/// `POST /api/v1/discover`. It ends when whoever asked hangs up.
pub(super) fn look(call: Call, caller: Caller) -> Answer {
    Box::pin(async move {
        let gone = call.request.extensions().get::<Gone>().cloned();
        let asked = read_as::<Question>(call, &caller.who, Some(Action::Administer), "{}").await;
        let Asked { shared, .. } = match asked {
            Ok(asked) => asked,
            Err(problem) => return problem.into_response(),
        };
        let Some(turn) = shared.probes.look() else {
            return busy("somebody looks for cameras already".to_owned()).into_response();
        };
        let gone = async {
            match gone {
                Some(gone) => gone.wait().await,
                None => std::future::pending().await,
            }
        };
        let settings = shared.settings.live.now();
        tokio::select! {
            (devices, (cameras, networks)) = both(&settings, Arc::clone(&shared.clock), Arc::new(turn)) => json(&Answered { devices, cameras, networks }),
            // Nobody reads it.
            () = gone => Problem::bug().into_response(),
        }
    })
}

/// The turn lasts until the slower of both is over.
type Turn = Arc<OwnedSemaphorePermit>;

async fn both(settings: &Settings, clock: Arc<dyn Clock>, turn: Turn) -> (Vec<Device>, (Vec<Camera>, Vec<String>)) {
    tokio::join!(devices(settings, clock, Arc::clone(&turn)), cameras(settings))
}

/// Tells programs that are asked to end, also where nobody waits for them any more.
struct Over(Arc<AtomicBool>);

impl Drop for Over {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

/// Opening devices waits for them.
async fn devices(settings: &Settings, clock: Arc<dyn Clock>, turn: Turn) -> Vec<Device> {
    let over = Over(Arc::default());
    let give_up = Arc::clone(&over.0);
    let listing = tokio::task::spawn_blocking(move || {
        let _turn = turn;
        let sensors = libcamera::list(&libcamera::Settings::default(), &*clock, &|| give_up.load(Relaxed));
        // Where there is no program for it there is no such camera.
        (v4l2::list(), sensors.unwrap_or_default())
    });
    let listed = tokio::time::timeout(WITHIN, listing).await;
    drop(over);
    let Ok(Ok((nodes, sensors))) = listed else {
        return Vec::new();
    };
    let nodes = nodes
        .into_iter()
        .filter(|info| !matches!(info.unfit, Some(Unfit::NoCapture(_))));
    let nodes = nodes.map(|info| of_node(settings, info));
    let sensors = sensors.into_iter().map(|info| {
        let word = Word::Libcamera(info.index);
        Device {
            source: word.to_string(),
            name: info.name,
            place: info.index.to_string(),
            modes: Vec::new(),
            cause: None,
            known: capturing(settings, |known| *known == word),
        }
    });
    nodes.chain(sensors).take(MAX_DEVICES).collect()
}

fn of_node(settings: &Settings, info: v4l2::Info) -> Device {
    let is =
        |known: &Word| matches!(known, Word::V4l2(path) if *path == info.path || Some(path) == info.by_id.as_ref());
    let known = capturing(settings, is);
    let place = info.path.display().to_string();
    let cause = info
        .unfit
        .as_ref()
        .map(|unfit| Told::new(cause_of_device(unfit), Some(unfit.to_string())));
    let mut modes: Vec<Mode> = info.modes.iter().map(mode).collect();
    modes.sort_by_key(|mode| {
        std::cmp::Reverse((mode.width.saturating_mul(mode.height), mode.fps.map(|fps| fps as u32)))
    });
    modes.truncate(MAX_MODES);
    Device {
        // The name that stays when cameras are plugged in another order.
        source: Word::V4l2(info.by_id.unwrap_or(info.path)).to_string(),
        name: info.name,
        place,
        modes,
        cause,
        known,
    }
}

fn mode(mode: &v4l2::Mode) -> Mode {
    let fastest = mode.rates.first();
    Mode {
        format: String::from_utf8_lossy(&mode.fourcc).trim().to_owned(),
        width: mode.width,
        height: mode.height,
        fps: fastest.map(|rate| rounded(rate.as_f64(), 2)),
    }
}

async fn cameras(settings: &Settings) -> (Vec<Camera>, Vec<String>) {
    let ways = net::ipv4_interfaces();
    let ways: Vec<_> = ways.into_iter().filter(|(_, address)| !address.is_loopback()).collect();
    let networks = ways
        .iter()
        .map(|(name, address)| format!("{name} ({address})"))
        .collect();
    if ways.is_empty() {
        return (Vec::new(), networks);
    }
    let looking = Search {
        to: everywhere(),
        from: ways.iter().map(|(_, address)| *address).collect(),
        wait: WAIT,
        random: crate::random::bits,
    };
    // A machine without a socket to spare sees none, which is what it says.
    let seen = search(&looking).await.unwrap_or_default();
    (seen.iter().map(|seen| of_network(settings, seen)).collect(), networks)
}

fn of_network(settings: &Settings, seen: &Seen) -> Camera {
    let host = seen
        .device
        .host_str()
        .unwrap_or_default()
        .trim_matches(['[', ']'])
        .to_owned();
    let address = seen.address.map(|address| address.to_string());
    let is_there = |place: Option<String>| place.is_some_and(|place| place == host || Some(&place) == address.as_ref());
    Camera {
        source: written(&seen.device, "", ""),
        known: fetching(settings, |place| is_there(place.host())),
        name: seen.name.clone(),
        hardware: seen.hardware.clone(),
        address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(text: &str) -> Settings {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn those_that_are_known_are_marked() {
        let settings = settings(
            "[stream.door]\nsource = \"rtsp://u:p@10.0.0.4/1\"\n[stream.yard]\nsource = \"rtsp://10.0.0.5/1\"\n[camera.desk]\nsource = \"v4l2:/dev/video3\"\n",
        );
        let seen = Seen {
            address: Some("10.0.0.4".parse().unwrap()),
            device: "http://10.0.0.4:8080/onvif/device_service".parse().unwrap(),
            name: Some("Front door".to_owned()),
            hardware: None,
        };
        let camera = of_network(&settings, &seen);
        assert_eq!(
            (camera.source.as_str(), camera.known),
            ("onvif://10.0.0.4:8080/", vec!["door".to_owned()])
        );
        let info = v4l2::Info {
            path: "/dev/video3".into(),
            by_id: Some("/dev/v4l/by-id/usb-cam".into()),
            name: "Cam".to_owned(),
            driver: String::new(),
            bus: String::new(),
            modes: Vec::new(),
            unfit: Some(Unfit::Busy("used by sightline (process 1)".to_owned())),
        };
        let device = of_node(&settings, info);
        assert_eq!(
            (device.source.as_str(), device.known),
            ("v4l2:/dev/v4l/by-id/usb-cam", vec!["desk".to_owned()])
        );
        let told = serde_json::to_value(&device.cause).unwrap();
        assert_eq!(
            (&told["code"], &told["detail"]),
            (&"device-held".into(), &"used by sightline (process 1)".into())
        );
    }
}
