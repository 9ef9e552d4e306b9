//! MediaMTX's values as ours.
//!
//! Belongs here: one function for each kind of value. Does not belong here: which key has which kind ([`super::keys`]).

use std::time::Duration;

use super::yaml::{Node, Value};

/// What a key of ours is given, or what is wrong with the value.
pub(super) type Converted = Result<toml::Value, String>;

pub(super) fn truth(node: &Node) -> Converted {
    let truth = node.truth();
    truth
        .map(toml::Value::Boolean)
        .ok_or_else(|| expected("yes or no", node))
}

pub(super) fn word(node: &Node) -> Converted {
    let word = node.word();
    word.map(|word| toml::Value::String(word.to_owned()))
        .ok_or_else(|| expected("a word", node))
}

pub(super) fn number(node: &Node) -> Converted {
    let number = node.word().and_then(|word| word.parse().ok());
    number
        .map(toml::Value::Integer)
        .ok_or_else(|| expected("a number", node))
}

/// A list of words; a single word is a list of one, between commas of several.
pub(super) fn words(node: &Node) -> Converted {
    let words = list(node).ok_or_else(|| expected("a list of words", node))?;
    Ok(words.into_iter().map(toml::Value::String).collect::<Vec<_>>().into())
}

/// A time span as Go writes it, `1m30s`, as we do.
pub(super) fn span(node: &Node) -> Converted {
    length(node).map(span_of)
}

/// How long a time span is.
pub(super) fn length(node: &Node) -> Result<Duration, String> {
    let span = node.word().and_then(duration);
    span.ok_or_else(|| expected("a time span such as 10s, 1m30s, 200ms", node))
}

/// A time span as a setting of ours.
pub(super) fn span_of(span: Duration) -> toml::Value {
    let text = match span.as_micros() {
        micros if micros % 1_000 == 0 => format!("{}ms", micros / 1_000),
        micros => format!("{micros}us"),
    };
    toml::Value::String(text)
}

/// Whether UDP is among the transports.
pub(super) fn has_udp(node: &Node) -> Converted {
    let words = list(node).ok_or_else(|| expected("a list such as [udp, tcp]", node))?;
    Ok(toml::Value::Boolean(
        words.iter().any(|word| word.eq_ignore_ascii_case("udp")),
    ))
}

/// How a log is written.
pub(super) fn log_format(node: &Node) -> Converted {
    let structured = node.truth().ok_or_else(|| expected("yes or no", node))?;
    Ok(toml::Value::String(
        if structured { "json" } else { "human" }.to_owned(),
    ))
}

/// How media comes from a source.
pub(super) fn transport(node: &Node) -> Converted {
    match node.word() {
        Some("automatic") => Ok(toml::Value::String("auto".to_owned())),
        Some(word @ ("udp" | "tcp")) => Ok(toml::Value::String(word.to_owned())),
        _ => Err(expected("automatic, udp or tcp; multicast is not fetched here", node)),
    }
}

/// Host, unless it is all addresses, and port.
pub(super) fn address(node: &Node) -> Result<(Option<String>, u16), String> {
    let wrong = || expected("an address such as :8554 or 192.168.1.5:8554", node);
    let (host, port) = node.word().and_then(|word| word.rsplit_once(':')).ok_or_else(wrong)?;
    let port = port.parse().map_err(|_| wrong())?;
    let host = host.trim_matches(['[', ']']);
    let all = ["", "0.0.0.0", "::"].contains(&host);
    Ok((Some(host.to_owned()).filter(|_| !all), port))
}

/// The words of a list.
pub(super) fn list(node: &Node) -> Option<Vec<String>> {
    match &node.value {
        Value::Word { text, .. } if text.is_empty() => Some(Vec::new()),
        Value::Word { text, .. } => Some(text.split(',').map(|word| word.trim().to_owned()).collect()),
        Value::List(nodes) => nodes.iter().map(|node| node.word().map(str::to_owned)).collect(),
        Value::Map(_) => None,
    }
}

/// Whether a value is the one that MediaMTX has without it, however it is spelt.
pub(super) fn is_usual(node: &Node, usual: &str) -> bool {
    let usual_truth = ["yes", "true"].contains(&usual).then_some(true);
    let usual_truth = usual_truth.or(["no", "false"].contains(&usual).then_some(false));
    let shown = node.shown();
    let spans = || Some(duration(&shown)? == duration(usual)?);
    let truths = || Some(node.truth()? == usual_truth?);
    let numbers = || Some(shown.parse::<f64>().ok()?.total_cmp(&usual.parse().ok()?).is_eq());
    shown == usual
        || format!("[{shown}]") == usual
        || (node.is_null() && (usual.is_empty() || usual == "[]"))
        || (shown == "[]" && usual.is_empty())
        || truths() == Some(true)
        || numbers() == Some(true)
        || spans() == Some(true)
}

/// Go's `time.ParseDuration`, with days.
fn duration(text: &str) -> Option<Duration> {
    if text.is_empty() {
        return None;
    }
    let mut total = Duration::ZERO;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, behind) = rest.split_at_checked(digits)?;
        let unit_end = behind
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(behind.len());
        let (unit, behind) = behind.split_at_checked(unit_end)?;
        let seconds = match unit {
            "us" | "µs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3_600.0,
            "d" => 86_400.0,
            _ => return None,
        };
        let part = Duration::try_from_secs_f64(number.parse::<f64>().ok()? * seconds).ok()?;
        // Less than a microsecond is what floating point adds.
        let part = Duration::from_micros(u64::try_from((part.as_nanos() + 500) / 1_000).ok()?);
        total = total.checked_add(part)?;
        rest = behind;
    }
    Some(total)
}

pub(super) fn expected(what: &str, node: &Node) -> String {
    format!("expected {what}, found {}", node.shown())
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("10s", Some(10_000_000))]
    #[case("1m30s", Some(90_000_000))]
    #[case("200ms", Some(200_000))]
    #[case("1.5h", Some(5_400_000_000))]
    #[case("1d", Some(86_400_000_000))]
    #[case("10", None)]
    #[case("s", None)]
    #[case("", None)]
    #[case("10 parsecs", None)]
    fn durations_are_gos(#[case] text: &str, #[case] micros: Option<u128>) {
        assert_eq!(duration(text).map(|duration| duration.as_micros()), micros);
    }

    #[rstest]
    #[case("'60s'", "1m", true)]
    #[case("off", "no", true)]
    #[case("'off'", "no", false)]
    #[case("1.0", "1", true)]
    #[case("[]", "", true)]
    #[case("", "", true)]
    #[case("['*']", "[*]", true)]
    #[case("'*'", "[*]", true)]
    #[case("udp", "automatic", false)]
    fn what_is_usual_may_be_spelt_differently(#[case] yaml: &str, #[case] usual: &str, #[case] is: bool) {
        let root = super::super::yaml::parse(&format!("x: {yaml}")).unwrap().unwrap();
        let Value::Map(pairs) = &root.value else {
            panic!("{root:?}")
        };
        assert_eq!(is_usual(&pairs[0].1, usual), is);
    }

    #[rstest]
    #[case(":8554", Ok((None, 8554)))]
    #[case("0.0.0.0:8554", Ok((None, 8554)))]
    #[case("192.168.1.5:554", Ok((Some("192.168.1.5"), 554)))]
    #[case("[::1]:554", Ok((Some("::1"), 554)))]
    #[case("8554", Err(()))]
    #[case(":port", Err(()))]
    fn addresses_have_a_host_and_a_port(#[case] text: &str, #[case] expected: Result<(Option<&str>, u16), ()>) {
        let root = super::super::yaml::parse(&format!("'{text}'")).unwrap().unwrap();
        let found = address(&root).map_err(|_| ());
        assert_eq!(found, expected.map(|(host, port)| (host.map(str::to_owned), port)));
    }
}
