//! "Did you mean …?" for a key that does not exist.

use super::keys::{Section, sections};

/// A sentence about the key `name` that does not exist in `section` (`None`: at the top of the file).
pub(super) fn unknown_key(section: Option<&Section>, name: &str) -> String {
    let suggestion = match section {
        Some(section) => nearest(name, section.keys.iter().map(|key| key.name))
            .map(|key| path(section, key))
            .or_else(|| elsewhere(name)),
        None => nearest(name, sections().iter().map(|section| section.name))
            .map(|section| format!("[{section}]"))
            .or_else(|| elsewhere(name)),
    };
    let kind = if section.is_some() { "key" } else { "section" };
    match suggestion {
        Some(suggestion) => format!("there is no such {kind}; did you mean {suggestion}?"),
        None => match section {
            Some(section) => {
                let keys: Vec<&str> = section.keys.iter().map(|key| key.name).collect();
                format!("there is no such key; [{}] has {}", section.name, keys.join(", "))
            }
            None => {
                let names: Vec<&str> = sections().iter().map(|section| section.name).collect();
                format!("there is no such section; there are {}", names.join(", "))
            }
        },
    }
}

/// The variable whose name is nearest to this one.
pub(super) fn unknown_variable(name: &str) -> Option<&'static str> {
    let keys = sections().iter().flat_map(|section| section.keys);
    nearest(name, keys.map(|key| key.variable))
}

/// The same or nearly the same key of another section.
fn elsewhere(name: &str) -> Option<String> {
    let found = sections()
        .iter()
        .find_map(|section| section.key(name).map(|key| path(section, key.name)));
    found.or_else(|| {
        // "rtsp_port" for "rtsp.port".
        let paths: Vec<String> = sections()
            .iter()
            .flat_map(|section| section.keys.iter().map(|key| path(section, key.name)))
            .collect();
        nearest(&name.replace('_', "."), paths.iter().map(String::as_str)).map(str::to_owned)
    })
}

fn path(section: &Section, key: &str) -> String {
    let name = if section.named { ".NAME" } else { "" };
    format!("{}{name}.{key}", section.name)
}

/// The candidate with the fewest slips, if they are few enough for the length.
pub(super) fn nearest<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let lower = name.to_lowercase();
    candidates
        .map(|candidate| {
            (
                strsim::damerau_levenshtein(&lower, &candidate.to_lowercase()),
                candidate,
            )
        })
        .filter(|(slips, candidate)| *slips <= candidate.len().div_ceil(4))
        .min_by_key(|(slips, _)| *slips)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case(Some("rtsp"), "prot", "there is no such key; did you mean rtsp.port?")]
    #[case(Some("rtsp"), "token", "there is no such key; did you mean auth.token?")]
    #[case(Some("camera"), "bitrat", "there is no such key; did you mean camera.NAME.bitrate?")]
    #[case(Some("limits"), "zzz", "there is no such key; [limits] has ")]
    #[case(None, "rstp", "there is no such section; did you mean [rtsp]?")]
    #[case(None, "rtsp_port", "there is no such section; did you mean rtsp.port?")]
    #[case(
        None,
        "trusted_networks",
        "there is no such section; did you mean auth.trusted_networks?"
    )]
    #[case(None, "zzz", "there is no such section; there are server, rtsp, ")]
    fn keys(#[case] section: Option<&str>, #[case] name: &str, #[case] expected: &str) {
        let section = section.map(|name| sections().iter().find(|section| section.name == name).unwrap());
        let sentence = unknown_key(section, name);
        assert!(sentence.starts_with(expected), "{sentence}");
    }

    #[test]
    fn variables() {
        assert_eq!(unknown_variable("SIGHTLINE_RTSP_PROT"), Some("SIGHTLINE_RTSP_PORT"));
        assert_eq!(unknown_variable("SIGHTLINE_SOMETHING_ELSE_ENTIRELY"), None);
    }
}
