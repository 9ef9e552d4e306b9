//! Somebody who publishes into a hub.
//!
//! Belongs here: what every test says of its publisher that is not what it tests. Does not belong here: the pictures ([`crate::stream`]).

use std::sync::Arc;

use media::hub::{Hub, Origin, Publisher, Publishing};
use media::stats::{Role, SessionInfo, SessionStats};
use media::{Clock, StreamName, Track};

/// Begins to publish `name` from elsewhere, by a publisher that nobody can ask for a keyframe.
///
/// # Panics
/// If the hub refuses it.
pub fn publish(hub: &Hub, name: &StreamName, tracks: Vec<Track>, clock: &dyn Clock) -> Publisher {
    let info = SessionInfo {
        stream: name.clone(),
        role: Role::Publisher,
        protocol: "test",
        remote: None,
        agent: None,
        since: clock.wall(),
    };
    let publishing = Publishing {
        stats: Arc::new(SessionStats::new(info)),
        origin: Origin::Remote,
        keyframe_requests: None,
    };
    hub.publish(name, tracks, publishing, clock.now())
        .unwrap_or_else(|refused| panic!("{name} is not taken: {refused}"))
}
