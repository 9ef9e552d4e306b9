//! Trying a camera out before it is set: what it gives, and a picture of it.
//!
//! Belongs here: one attempt by the same way that a saved stream is fetched ([`super::open`]), into a hub of its own that nobody else sees; what is measured of it
//! ([`meter`]), cameras of this machine ([`device`]), how many are tried at a time and which pictures are kept for a while ([`desk`]). Does not belong here: who may
//! ask (`http`), which cameras there are ([`crate::onvif`], [`device::source`]).
//!
//! Nothing is saved by it, and nothing of it is told to anybody but who asked. A login is shown once.

mod desk;
mod device;
mod meter;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ::device::jpeg::Shape;
use media::hub::{Event, Hub, Limits as HubLimits, Stream};
use media::{Clock, Kind, StreamName};
use tokio::time::Instant;

use super::entry::Entry;
use super::plan::Plan;
use super::{Cause, Ended, Sink, Supervisor, Trouble, Why, World, open};
use crate::config::settings::Transport;
use crate::config::stream_source::Place;
use crate::events::Events;
use crate::rtsp::client::Trust;
use crate::shutdown;
use crate::stills::Stills;
pub use desk::{AT_ONCE, Desk, PICTURES};
pub(crate) use device::cause as cause_of_device;
pub use device::probe as probe_device;
use meter::Meter;
pub use meter::Probed;

/// How long it may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// All of it but the picture.
    pub within: Duration,
    /// From the first keyframe on, where no two more come.
    pub watch: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            within: Duration::from_secs(12),
            // Beyond it keyframes are too far apart for whoever joins, which is what it is to find out.
            watch: Duration::from_millis(4_200),
        }
    }
}

/// What is asked, and how.
#[derive(Clone, Debug)]
pub struct Wish {
    /// With the login that is shown.
    pub place: Place,
    /// As of a saved stream.
    pub transport: Transport,
    /// As of a saved stream.
    pub trust: Trust,
}

/// What a probe needs.
#[derive(Clone)]
pub struct Tools {
    /// Where the time comes from.
    pub clock: Arc<dyn Clock>,
    /// Unpredictable numbers.
    pub random: fn() -> u64,
    /// What decodes its picture.
    pub stills: Stills,
}

/// Keyframes that are seen before enough is known.
const KEYFRAMES: usize = 3;
/// Seconds that are watched where keyframes come often: fewer pictures tell no rate.
const LEAST_S: f64 = 2.0;
/// How long a source may take leave of its server.
const LEAVE_WITHIN: Duration = Duration::from_millis(500);
/// How often it is looked whether there is a stream.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// Pictures a row of the one that is shown, and of a smaller one where that takes too many bytes.
const WIDTHS: [u16; 3] = [960, 640, 320];
/// Largest picture.
pub const PICTURE_BYTES: usize = 512 << 10;
const QUALITY: u8 = 80;

/// Asks a camera of the network. Whoever drops it ends it.
///
/// # Errors
/// [`Why`].
pub async fn probe(wish: &Wish, tools: &Tools, limits: Limits) -> Result<Probed, Why> {
    let hub = hub();
    let (trigger, stop) = shutdown::channel();
    let world = World {
        hub: hub.clone(),
        events: Events::new(&hub, Arc::clone(&tools.clock)),
        clock: Arc::clone(&tools.clock),
        random: tools.random,
        soon: Vec::new(),
        lowers: Arc::default(),
    };
    let plan = Plan {
        places: vec![wish.place.clone()],
        on_demand: true,
        transport: wish.transport,
        trust: wish.trust.clone(),
        credential: None,
        withheld: BTreeMap::new(),
    };
    let name = name()?;
    let supervisor = Supervisor::new(world, stop.clone());
    let entry = Entry::tried_out(name.clone(), plan.clone(), &supervisor.world);
    let mut source = open(&wish.place, &plan, &name, &supervisor);
    let mut sink = Sink::new(Arc::clone(&entry), hub.clone(), Arc::clone(&tools.clock));
    let mut meter = Meter::default();
    let deadline = Instant::now() + limits.within;
    let ended = {
        let mut running = source.run(&mut sink, stop);
        let ended = tokio::select! {
            ended = &mut running => Some(ended),
            () = watch(&hub, &name, tools, limits, &mut meter) => None,
            () = tokio::time::sleep_until(deadline) => None,
        };
        if ended.is_none() {
            trigger.request();
            let _ = tokio::time::timeout(LEAVE_WITHIN, running).await;
        }
        ended
    };
    let has_answered = sink.has_begun();
    let stream = hub.stream(&name, tools.clock.now()).ok();
    sink.close(false);
    let asked = matches!(wish.place, Place::Onvif(_));
    let probed = meter.probed(stream.as_deref(), asked.then(|| entry.has_lower()));
    match (probed, ended) {
        (Some(probed), _) => Ok(with_picture(probed, stream.as_ref(), tools).await),
        // It said what it is made of, and then nothing.
        (None, Some(Ended::Failed(why))) if has_answered && why.cause == Cause::Silent => {
            Err(why.because(Cause::NoKeyframe))
        }
        (None, Some(Ended::Failed(why))) => Err(why),
        _ if stream.as_ref().is_some_and(|stream| !has_video(stream)) => {
            let detail = "the camera gives sound alone";
            Err(Why::new(Trouble::Unusable, detail).because(Cause::NoVideo))
        }
        _ if has_answered => {
            let detail = format!("no keyframe came within {} s", limits.within.as_secs());
            Err(Why::new(Trouble::Unusable, detail).because(Cause::NoKeyframe))
        }
        _ => {
            let detail = format!(
                "the camera said nothing of its stream within {} s",
                limits.within.as_secs()
            );
            Err(Why::new(Trouble::Unreachable, detail).because(Cause::Silent))
        }
    }
}

/// For one camera and a few seconds.
fn hub() -> Hub {
    Hub::new(HubLimits {
        streams: 2,
        ..HubLimits::default()
    })
}

fn name() -> Result<StreamName, Why> {
    let name = "probe".parse();
    name.map_err(|_| Why::new(Trouble::Bug, "the name of a probe is none"))
}

fn has_video(stream: &Stream) -> bool {
    let tracks = stream.tracks();
    tracks.is_empty() || tracks.iter().any(|track| track.kind() == Kind::Video)
}

/// Looks at what comes until enough is known, or nothing follows.
async fn watch(hub: &Hub, name: &StreamName, tools: &Tools, limits: Limits, meter: &mut Meter) {
    let stream = loop {
        if let Ok(stream) = hub.stream(name, tools.clock.now()) {
            break stream;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    };
    if !has_video(&stream) {
        return;
    }
    let mut frames = Vec::new();
    let Ok(mut reader) = stream.replay(tools.clock.now(), &mut frames) else {
        return;
    };
    let enough = async {
        loop {
            for entry in frames.drain(..) {
                meter.note(&entry.frame);
            }
            if meter.has(KEYFRAMES, LEAST_S) {
                return;
            }
            if let Event::Ended(_) = reader.next(&mut frames).await {
                return;
            }
        }
    };
    let _ = tokio::time::timeout(limits.watch, enough).await;
}

async fn with_picture(mut probed: Probed, stream: Option<&Arc<Stream>>, tools: &Tools) -> Probed {
    let Some(stream) = stream else { return probed };
    for width in WIDTHS {
        let shape = Shape {
            max_width: Some(width),
            quality: QUALITY,
        };
        match tools.stills.live(stream, shape).await {
            Ok(still) if still.jpeg.len() <= PICTURE_BYTES => {
                probed.picture = Ok(still.jpeg);
                return probed;
            }
            Ok(_) => {}
            Err(none) => {
                probed.picture = Err(none.to_string());
                return probed;
            }
        }
    }
    probed
}
