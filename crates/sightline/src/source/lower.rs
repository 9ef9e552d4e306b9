//! The lower rendition of a stream: what it is called, which of two streams is one, whether it can be had.
//!
//! Belongs here: what WebRTC and HLS have to know of it in common. Does not belong here: which viewer is given it (theirs), making one
//! ([`crate::camera`]).

use std::sync::Arc;

use media::{Codec, Format, Kind, StreamName, Track};

use super::Supervisor;
use super::plan::{self, Found};
use crate::config::stream_key::StreamKey;

/// The last part of a lower rendition's name.
const LOW: &str = "low";
/// H.264 that every browser decodes, whatever it agreed on.
const BASELINE: u8 = 66;

/// The name of a stream's lower rendition.
pub(crate) fn lower(name: &StreamName) -> Option<StreamName> {
    format!("{name}/{LOW}").parse().ok()
}

/// The name of the stream whose lower rendition this would be.
pub(crate) fn upper(name: &StreamName) -> Option<StreamName> {
    name.as_str().strip_suffix(LOW)?.strip_suffix('/')?.parse().ok()
}

/// The picture among the tracks of a stream.
pub(crate) fn video(tracks: &[Track]) -> Option<&Track> {
    tracks.iter().find(|track| track.kind() == Kind::Video)
}

/// Whether who plays `full` can be given pictures of `low`, without being asked again.
pub(crate) fn fits(full: &Track, low: &Track) -> bool {
    let profile = |format: &Format| match format {
        Format::H264(h264) => h264.profile_level_id().map(|[profile, ..]| profile),
        _ => None,
    };
    let same = |codec: Codec| codec == full.format.codec() && full.timescale == low.timescale;
    let (theirs, ours) = (profile(&full.format), profile(&low.format));
    same(low.format.codec()) && (theirs == ours || ours == Some(BASELINE))
}

impl Supervisor {
    /// Whether a stream of this name would be there if somebody asked for it: it has a table of its own with a source, a camera of ours makes it, or an IP
    /// camera has said that it has it. What
    /// an expression means is not known before it is asked, and cameras lock those out who guess.
    pub(crate) fn could_have(&self, name: &StreamName) -> bool {
        let upper = upper(name);
        if upper.as_ref().is_some_and(|camera| self.world.lowers.has(camera)) {
            return true;
        }
        let tables = self.lock();
        let asked = upper.and_then(|camera| tables.entries.get(&camera));
        if asked.is_some_and(|camera| camera.has_lower()) {
            return true;
        }
        let named = tables.settings.contains_key(&StreamKey::Name(name.clone()));
        named && matches!(plan::find(&tables.settings, name), Some(Found::Source { .. }))
    }

    /// Somebody needs a stream that could be had, without waiting for it: it is started, or goes on for the time that sources on demand go on after their last
    /// viewer. `false`: it cannot be had.
    pub(crate) fn want(self: &Arc<Self>, name: &StreamName) -> bool {
        let could_have = self.could_have(name);
        if could_have {
            // Why it is not there is told by its source.
            let _ = self.prospect(name, None, self.world.clock.now());
        }
        could_have
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_lower_streams() {
        let name = |text: &str| text.parse::<StreamName>().unwrap();
        assert_eq!(lower(&name("house/door")), Some(name("house/door/low")));
        assert_eq!(upper(&name("house/door/low")), Some(name("house/door")));
        assert_eq!(upper(&name("low")), None);
        assert_eq!(upper(&name("follow")), None);
        assert_eq!(upper(&name("door/slow")), None);
    }
}
