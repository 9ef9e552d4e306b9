//! What is looked for motion.

use std::time::Duration;

use device::motion;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::motion::{Mode, Polygons, Share};
use crate::config::units::Span;

/// Motion in front of cameras.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Motion {
    /// Look for motion in every stream while it is there, but not in the lower ones of cameras (NAME/low). [stream.NAME] says otherwise of one, by motion.enabled.
    pub enabled: bool,
    /// What is decoded of streams that others publish: "full" (all pictures, of which five a second are looked at) or "thrifty" (keyframes alone, for a tenth
    /// of the work; what is there for less than two of them is missed). Cameras of this machine cost next to nothing either way.
    pub mode: Mode,
    /// From 1 (only what differs much from what was there before) to 100 (whatever the noise of the camera allows).
    #[schemars(range(min = 1, max = 100))]
    pub sensitivity: u8,
    /// What moves and is smaller than this is passed over: a part of what is looked at, in steps of 0.1%.
    pub min_size: Share,
    /// What moves for less than this is passed over, 0s to 1min.
    pub min_duration: Span,
}

impl Default for Motion {
    fn default() -> Self {
        let usual = motion::Settings::default();
        Self {
            enabled: false,
            mode: Mode::Full,
            sensitivity: usual.sensitivity,
            min_size: Share {
                permille: usual.min_size_permille,
            },
            min_duration: Span(Duration::from_millis(500)),
        }
    }
}

/// What is looked for in one stream. What is left out is as in [motion].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct MotionOfStream {
    /// Look for motion in it, or not. Left out: as in [motion].
    #[schemars(example = true)]
    pub enabled: Option<bool>,
    /// What is decoded, as in [motion], and so are the others.
    #[schemars(example = &"thrifty")]
    pub mode: Option<Mode>,
    /// From 1 to 100.
    #[schemars(range(min = 1, max = 100), example = 50)]
    pub sensitivity: Option<u8>,
    /// What is smaller is passed over.
    #[schemars(example = &"0.5%")]
    pub min_size: Option<Share>,
    /// What moves for less is passed over.
    #[schemars(example = &"1s")]
    pub min_duration: Option<Span>,
    /// Where nobody looks, such as a street or a tree: polygons, whose corners are parts of the picture's width and height from its left and top, such as
    /// [[[0, 0], [1, 0], [1, 0.3], [0, 0.3]]] for the upper third; or as a text, "0,0 1,0 1,0.3 0,0.3", with ";" between polygons. At most 32 of them, with 256
    /// corners together.
    #[schemars(example = &"0,0 1,0 1,0.3 0,0.3")]
    pub mask: Option<Polygons>,
}

impl MotionOfStream {
    pub(super) fn says_nothing(&self) -> bool {
        *self == Self::default()
    }
}

impl Motion {
    /// The same for a stream of which the settings say this besides.
    pub fn of_stream(&self, own: &MotionOfStream) -> Self {
        Self {
            enabled: own.enabled.unwrap_or(self.enabled),
            mode: own.mode.unwrap_or(self.mode),
            sensitivity: own.sensitivity.unwrap_or(self.sensitivity),
            min_size: own.min_size.unwrap_or(self.min_size),
            min_duration: own.min_duration.unwrap_or(self.min_duration),
        }
    }

    /// As it is looked for, but where nobody looks.
    pub fn for_device(&self, mask: Option<&Polygons>) -> motion::Settings {
        motion::Settings {
            sensitivity: self.sensitivity,
            min_size_permille: self.min_size.permille,
            min_duration: self.min_duration.0,
            mask: mask.map(Polygons::mask).unwrap_or_default(),
        }
    }
}
