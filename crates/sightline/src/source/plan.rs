//! Which source a stream has, by the settings.

use std::collections::BTreeMap;

use media::StreamName;
use protocol::rtsp::url::Url;

use super::Why;
use super::lower::upper;
use super::machine::MOST_PLACES;
use crate::config::settings::{Stream, Transport};
use crate::config::stream_key::{StreamKey, look_up};
use crate::config::stream_source::Place;
use crate::config::units::Name;
use crate::rtsp::client::Trust;
use crate::state::credentials::Credentials;

/// What is set for the source of one stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    /// At least one, in the order they are tried.
    pub(super) places: Vec<Place>,
    pub(super) on_demand: bool,
    pub(super) transport: Transport,
    pub(super) trust: Trust,
    /// The name of a login that is kept apart, for places that have none.
    pub(super) credential: Option<Name>,
    /// Places that are not asked, and why: the login is not for them.
    pub(super) withheld: BTreeMap<usize, Why>,
}

impl Plan {
    /// With the login that is kept apart.
    pub(super) fn logged_in(mut self, credentials: &Credentials) -> Self {
        let Some(name) = self.credential.as_ref().map(ToString::to_string) else {
            return self;
        };
        for (number, place) in self.places.iter_mut().enumerate() {
            let Some(origin) = place.origin().filter(|_| !place.has_login()) else {
                continue;
            };
            match credentials.for_source(&name, &origin) {
                Ok(account) => *place = place.clone().with_login(&account),
                Err(not_given) => _ = self.withheld.insert(number, Why::withheld(&not_given)),
            }
        }
        self
    }

    /// For each place the first one that asks the same machine.
    pub(super) fn hosts(&self) -> [u8; MOST_PLACES] {
        let names: Vec<Option<String>> = self.places.iter().map(Place::host).collect();
        let mut hosts = [0; MOST_PLACES];
        for ((number, name), host) in (0_u8..).zip(&names).zip(&mut hosts) {
            let same = |other: &Option<String>| name.is_some() && other == name;
            let first = names.iter().position(same).and_then(|first| u8::try_from(first).ok());
            *host = first.unwrap_or(number);
        }
        hosts
    }

    /// For the lower stream of a camera of this machine.
    pub(super) fn of_lower(camera: StreamName) -> Self {
        Self {
            places: vec![Place::Lower(camera)],
            on_demand: true,
            transport: Transport::default(),
            trust: Trust::System,
            credential: None,
            withheld: BTreeMap::new(),
        }
    }
}

/// What the settings say of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// It is fetched. `given`: by an expression, or by a camera, so that nobody knows of it before it is asked for.
    Source { plan: Plan, given: bool },
    /// RTSP players are sent there.
    Elsewhere(Url),
    /// What an expression found makes no URL.
    Unusable(String),
}

/// `None`: if anybody, a publisher gives the stream.
pub(super) fn find(settings: &BTreeMap<StreamKey, Stream>, name: &StreamName) -> Option<Found> {
    let (stream, captures) = look_up(settings, name)?;
    let captures = captures.as_ref();
    if let Some(to) = &stream.redirect {
        let to = to.filled(captures);
        return Some(to.map_or_else(|error| Found::Unusable(error.to_string()), Found::Elsewhere));
    }
    let sources = stream.source.as_ref()?.0.iter();
    let places: Result<Vec<Place>, _> = sources.map(|source| source.filled(captures)).collect();
    let given = captures.is_some();
    let source = |places| Found::Source {
        plan: Plan {
            places,
            on_demand: stream.on_demand || given,
            transport: stream.source_transport,
            trust: stream.source_fingerprint.map_or(Trust::System, Trust::Fingerprint),
            credential: stream.credential.clone(),
            withheld: BTreeMap::new(),
        },
        given,
    };
    Some(places.map_or_else(|error| Found::Unusable(error.to_string()), source))
}

/// The lower stream of an IP camera that is asked by ONVIF and has a table of its own, by that table's settings.
pub(super) fn lower_of_camera(settings: &BTreeMap<StreamKey, Stream>, name: &StreamName) -> Option<Found> {
    let upper = upper(name)?;
    settings.get(&StreamKey::Name(upper.clone()))?;
    let Some(Found::Source { plan, .. }) = find(settings, &upper) else {
        return None;
    };
    let lower = |place: &Place| match place {
        Place::Onvif(device) => device.lower().map(Place::Onvif),
        _ => None,
    };
    // Of a table with several, the lower streams of those that have one.
    let places: Vec<Place> = plan.places.iter().filter_map(lower).collect();
    let plan = Plan {
        places,
        on_demand: true,
        ..plan
    };
    (!plan.places.is_empty()).then_some(Found::Source { plan, given: true })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(tables: &[(&str, &str)]) -> BTreeMap<StreamKey, Stream> {
        let table = |(key, text): &(&str, &str)| (key.parse().unwrap(), toml::from_str(text).unwrap());
        tables.iter().map(table).collect()
    }

    fn found(name: &str, settings: &BTreeMap<StreamKey, Stream>) -> Option<Found> {
        find(settings, &name.parse().unwrap())
    }

    #[test]
    fn cameras_that_are_asked_have_lower_streams() {
        let settings = settings(&[
            (
                "door",
                "source = [\"onvif://u:p@a/\", \"rtsp://b/2\"]\nsource_transport = \"udp\"",
            ),
            ("yard", "source = \"rtsp://b/2\""),
            ("~^g/(.+)$", "source = \"onvif://$1\""),
        ]);
        let lower = |name: &str| lower_of_camera(&settings, &name.parse().unwrap());
        let Some(Found::Source { plan, given: true }) = lower("door/low") else {
            panic!("no source")
        };
        assert_eq!(plan.places.len(), 1, "not the RTSP server's whole stream");
        assert_eq!(plan.places[0].to_string(), "onvif://***@a/, smaller");
        assert!(plan.on_demand && plan.transport == Transport::Udp);
        for none in ["door", "door/low/low", "yard/low", "g/a/low", "other/low"] {
            assert_eq!(lower(none), None, "{none}");
        }
    }

    #[test]
    fn places_of_one_machine_are_known_as_such() {
        let settings = settings(&[(
            "door",
            "source = [\"rtsp://u:p@[fd00::4]/1\", \"rtsp://Cam/1\", \"onvif://u:p@[fd00::4]:8000/\", \"onvif://cam/\", \"exec:x\", \"exec:x\"]",
        )]);
        let Some(Found::Source { plan, .. }) = found("door", &settings) else {
            panic!("no source")
        };
        assert_eq!(plan.hosts()[..6], [0, 1, 0, 1, 4, 5]);
    }

    #[test]
    fn what_is_set_for_a_stream() {
        let settings = settings(&[
            ("door", "source = [\"rtsp://u:p@a/1\", \"rtsp://b/2\"]"),
            ("yard", "redirect = \"rtsp://c/3\""),
            ("held", "always_available = true"),
            (
                "~^floor(\\d+)/(.+)$",
                "source = \"rtsp://10.0.$1.2:55$1/$2\"\nsource_transport = \"udp\"",
            ),
        ]);
        let Some(Found::Source { plan, given: false }) = found("door", &settings) else {
            panic!("no source")
        };
        assert_eq!((plan.places.len(), plan.on_demand), (2, false));
        assert_eq!(
            found("yard", &settings),
            Some(Found::Elsewhere("rtsp://c/3".parse().unwrap()))
        );
        assert_eq!((found("held", &settings), found("other", &settings)), (None, None));
        let Some(Found::Source { plan, given: true }) = found("floor3/cam/1", &settings) else {
            panic!("no source")
        };
        assert_eq!(plan.places[0].to_string(), "rtsp://10.0.3.2:553/cam/1");
        assert!(plan.on_demand && plan.transport == Transport::Udp);
        // 5599999 is no port.
        assert!(matches!(found("floor99999/x", &settings), Some(Found::Unusable(_))));
    }
}
