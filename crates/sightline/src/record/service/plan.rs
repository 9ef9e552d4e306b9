//! What the settings say of recording a stream.

use std::collections::BTreeMap;

use media::StreamName;

use crate::config::settings;
use crate::config::stream_key::{StreamKey, look_up};
use crate::record::camera;
use crate::record::trigger::{self, Mode, Schedule};
use crate::source::lower::upper;

/// How a stream is recorded.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Plan {
    /// By the settings; else it is when somebody says so.
    pub(super) is_recorded: bool,
    pub(super) record: settings::Record,
}

impl Plan {
    /// For whoever does it.
    pub(super) fn camera(&self) -> camera::Settings {
        let record = &self.record;
        camera::Settings {
            trigger: trigger::Settings {
                mode: if self.is_recorded { record.mode } else { Mode::Manual },
                schedule: Schedule::new(&record.schedule.0),
                pre_roll: record.pre_roll.0,
                post_roll: record.post_roll.0,
            },
            segment: record.segment.0,
            audio: record.audio,
        }
    }
}

/// What the settings say of all streams.
#[derive(Default)]
pub(super) struct Tables {
    record: settings::Record,
    streams: BTreeMap<StreamKey, settings::Stream>,
}

impl Tables {
    pub(super) fn set(&mut self, record: &settings::Record, streams: &BTreeMap<StreamKey, settings::Stream>) {
        self.record.clone_from(record);
        self.streams.clone_from(streams);
    }

    pub(super) fn plan(&self, stream: &StreamName) -> Plan {
        let own = look_up(&self.streams, stream).map(|(table, _)| &table.record);
        let says = own.and_then(|own| own.enabled);
        let own = own.cloned().unwrap_or_default();
        let record = self.record.of_stream(&own);
        // The same pictures, smaller: nobody wants them twice who does not say so.
        let is_recorded = says.unwrap_or(record.enabled && upper(stream).is_none());
        Plan { is_recorded, record }
    }

    /// Whether any stream is to be recorded, when it comes.
    pub(super) fn records(&self) -> bool {
        let of_stream = |stream: &settings::Stream| stream.record.enabled == Some(true);
        self.record.enabled || self.streams.values().any(of_stream)
    }

    /// What holds for all.
    pub(super) fn record(&self) -> &settings::Record {
        &self.record
    }

    /// Streams that have tables.
    pub(super) fn named(&self) -> impl Iterator<Item = &StreamName> {
        self.streams.keys().filter_map(|key| match key {
            StreamKey::Name(name) => Some(name),
            StreamKey::Expression(_) => None,
        })
    }

    /// Streams on demand that are fetched to be recorded: whose own table says that they are to be, always or at times.
    pub(super) fn fetched(&self) -> Vec<StreamName> {
        let fetched = self.streams.iter().filter_map(|(key, stream)| match key {
            StreamKey::Name(name) if stream.on_demand && stream.record.enabled == Some(true) => Some(name),
            StreamKey::Name(_) | StreamKey::Expression(_) => None,
        });
        let is_on = |name: &&StreamName| self.plan(name).record.mode != Mode::Manual;
        fetched.filter(is_on).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tables(text: &str) -> Tables {
        let settings: settings::Settings = toml::from_str(text).unwrap();
        let mut tables = Tables::default();
        tables.set(&settings.record, &settings.stream);
        tables
    }

    fn name(text: &str) -> StreamName {
        text.parse().unwrap()
    }

    #[test]
    fn every_stream_or_those_whose_tables_say_so() {
        let tables = tables(
            "[record]\nenabled = true\n[stream.yard.record]\nenabled = false\n[stream.\"door/low\".record]\nenabled = true\n[stream.\"~^floor\".record]\nmode = \"manual\"",
        );
        let is_recorded = |text: &str| tables.plan(&name(text)).is_recorded;
        assert!(is_recorded("door") && is_recorded("door/low") && is_recorded("floor3"));
        assert!(!is_recorded("yard") && !is_recorded("garden/low"));
        assert_eq!(tables.plan(&name("floor3")).camera().trigger.mode, Mode::Manual);
    }

    #[test]
    fn it_is_known_whether_anything_is_to_be_recorded() {
        assert!(!tables("[stream.door.record]\nkeep = \"1d\"").records());
        assert!(tables("[record]\nenabled = true").records());
        assert!(tables("[stream.\"~^floor\".record]\nenabled = true").records());
    }

    #[test]
    fn what_is_not_recorded_waits_for_somebody_who_says_so() {
        let tables = tables("[record]\nmode = \"events\"");
        let plan = tables.plan(&name("door"));
        assert!(!plan.is_recorded);
        assert_eq!(plan.camera().trigger.mode, Mode::Manual);
    }

    #[test]
    fn a_source_on_demand_is_fetched_where_its_own_table_wants_it_recorded() {
        let source = "source = \"rtsp://10.0.0.4/a\"\non_demand = true\n";
        let tables = tables(&format!(
            "[record]\nenabled = true\n[stream.a]\n{source}record.enabled = true\n[stream.b]\n{source}[stream.c]\n{source}record = {{ enabled = true, mode = \"manual\" }}\n[stream.d]\nrecord.enabled = true"
        ));
        assert_eq!(tables.fetched(), [name("a")]);
    }
}
