//! What the settings say of motion in one stream.

use std::collections::BTreeMap;

use device::motion;
use media::StreamName;

use crate::config::motion::Mode;
use crate::config::settings;
use crate::config::stream_key::{StreamKey, look_up};
use crate::source::lower::upper;

/// What is to be looked for.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Plan {
    /// Somebody is to look.
    pub(super) is_watched: bool,
    /// Nobody is to, and nobody is to be believed who does.
    pub(super) is_refused: bool,
    pub(super) mode: Mode,
    pub(super) settings: motion::Settings,
}

/// What the settings say of all streams.
#[derive(Default)]
pub(super) struct Tables {
    motion: settings::Motion,
    streams: BTreeMap<StreamKey, settings::Stream>,
}

impl Tables {
    pub(super) fn set(&mut self, motion: &settings::Motion, streams: &BTreeMap<StreamKey, settings::Stream>) {
        self.motion.clone_from(motion);
        self.streams.clone_from(streams);
    }

    pub(super) fn plan(&self, stream: &StreamName) -> Plan {
        plan(&self.motion, &self.streams, stream)
    }
}

/// What they say of one.
pub(super) fn plan(
    motion: &settings::Motion,
    streams: &BTreeMap<StreamKey, settings::Stream>,
    stream: &StreamName,
) -> Plan {
    let own = look_up(streams, stream).map(|(table, _)| &table.motion);
    let says = own.and_then(|own| own.enabled);
    let own = own.cloned().unwrap_or_default();
    let of_stream = motion.of_stream(&own);
    Plan {
        // The same pictures, smaller: nobody wants them looked at twice who does not say so.
        is_watched: says.unwrap_or(motion.enabled && upper(stream).is_none()),
        is_refused: says == Some(false),
        mode: of_stream.mode,
        settings: of_stream.for_device(own.mask.as_ref()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_stream_or_those_whose_tables_say_so() {
        let text = "[motion]\nenabled = true\nsensitivity = 80\n[stream.yard.motion]\nenabled = false\n[stream.\"door/low\".motion]\nenabled = true\n[stream.\"~^floor\".motion]\nmode = \"thrifty\"";
        let settings: settings::Settings = toml::from_str(text).unwrap();
        let mut tables = Tables::default();
        tables.set(&settings.motion, &settings.stream);
        let plan = |name: &str| tables.plan(&name.parse().unwrap());
        assert!(plan("door").is_watched && plan("floor3").is_watched && plan("door/low").is_watched);
        assert!(!plan("yard").is_watched && plan("yard").is_refused);
        assert!(!plan("garden/low").is_watched && !plan("garden/low").is_refused);
        assert_eq!((plan("floor3").mode, plan("door").mode), (Mode::Thrifty, Mode::Full));
        assert_eq!(plan("floor3").settings.sensitivity, 80);
    }
}
