//! Where a stream is sent on to, by the settings.

use std::collections::BTreeMap;

use media::StreamName;

use crate::config::destination::Destination;
use crate::config::settings::Stream;
use crate::config::stream_key::{StreamKey, look_up};
use crate::rtsp::client::Trust;

/// What is set for one target of one stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) to: Destination,
    pub(super) trust: Trust,
}

/// All targets of a stream, none twice.
pub(super) fn find(settings: &BTreeMap<StreamKey, Stream>, name: &StreamName) -> Vec<Plan> {
    let Some((stream, captures)) = look_up(settings, name) else {
        return Vec::new();
    };
    let mut plans: Vec<Plan> = Vec::new();
    for url in &stream.forward {
        match url.filled(captures.as_ref()) {
            Ok(to) => {
                let trust = stream.forward_fingerprint.map_or(Trust::System, Trust::Fingerprint);
                let plan = Plan { to, trust };
                if !plans.contains(&plan) {
                    plans.push(plan);
                }
            }
            Err(error) => {
                tracing::warn!(stream = %name, reason = %error, "a target of a stream cannot be reached with what its expression found");
            }
        }
    }
    plans
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_name_or_by_expression_and_none_twice() {
        let tables = [
            ("door", "forward = [\"rtsp://a/1\", \"rtsp://b/2\", \"rtsp://a/1\"]"),
            (
                "~^floor(\\d+)/(.+)$",
                "forward = [\"rtsp://10.0.$1.2:55$1/$2\", \"rtsp://c/$0\"]",
            ),
        ];
        let settings = (tables.iter())
            .map(|(key, text)| (key.parse().unwrap(), toml::from_str(text).unwrap()))
            .collect();
        let found = |name: &str| -> Vec<String> {
            let plans = find(&settings, &name.parse().unwrap());
            plans.iter().map(|plan| plan.to.to_string()).collect()
        };
        assert_eq!(found("door"), ["rtsp://a/1", "rtsp://b/2"]);
        assert_eq!(found("floor3/cam"), ["rtsp://10.0.3.2:553/cam", "rtsp://c/floor3/cam"]);
        // 5599999 is no port.
        assert_eq!(found("floor99999/cam"), ["rtsp://c/floor99999/cam"]);
        assert!(found("yard").is_empty());
    }
}
