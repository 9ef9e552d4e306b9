//! The command that publishes a stream when somebody wants it, as a source of ours.

use std::sync::LazyLock;

use regex::{Captures, Regex};

use crate::config::command::{OUTPUT, PORT};

/// A URL of RTSP on this machine: credentials, port, path, and what ends it.
static HERE: LazyLock<Option<Regex>> = LazyLock::new(|| {
    let pattern = r#"rtsp://(?:[^/@\s"']*@)?(?:localhost|127\.0\.0\.1|\[::1\])(?::([^/\s"']+))?/([^\s"'?]+)"#;
    Regex::new(pattern).ok()
});

/// Where the command publishes at our own port under the path's name, it is told where, with a credential for it; one that does not say so in its words
/// publishes as it knows to. What stands for the name and its groups is what stands for them here.
pub(super) fn source(command: &str, path: &str, rtsp_port: u16) -> String {
    let port = rtsp_port.to_string();
    let is_ours = |found: &Captures<'_>| {
        let of_port = found.get(1).map_or("554", |found| found.as_str());
        let of_path = found.get(2).map_or("", |found| found.as_str());
        [port.as_str(), "$RTSP_PORT", "${RTSP_PORT}"].contains(&of_port)
            && [path, "$MTX_PATH", "${MTX_PATH}"].contains(&of_path)
    };
    let told = HERE.as_ref().map(|here| {
        here.replace_all(command, |found: &Captures<'_>| match is_ours(found) {
            true => OUTPUT.to_owned(),
            false => found.get(0).map_or("", |all| all.as_str()).to_owned(),
        })
    });
    let told = told.as_deref().unwrap_or(command);
    let scheme = if told.contains(OUTPUT) { "exec" } else { "run" };
    format!("{scheme}:{}", with_places(told, path))
}

/// Names behind a dollar sign as we write them.
fn with_places(text: &str, path: &str) -> String {
    let is_expression = path.starts_with('~');
    let mut ours = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once('$') {
        ours.push_str(before);
        let (name, after) = match behind.strip_prefix('{').and_then(|inner| inner.split_once('}')) {
            Some(braced) => braced,
            None => {
                let end = behind.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
                behind.split_at(end.unwrap_or(behind.len()))
            }
        };
        let group = name
            .strip_prefix('G')
            .filter(|number| number.len() == 1 && number.as_bytes()[0].is_ascii_digit());
        rest = after;
        match (name, group) {
            ("MTX_PATH", _) if is_expression => ours.push_str("$0"),
            ("MTX_PATH", _) => ours.push_str(path),
            ("RTSP_PORT", _) => ours.push_str(PORT),
            (_, Some(number)) if is_expression => {
                ours.push('$');
                ours.push_str(number);
            }
            _ => {
                ours.push_str(if is_expression { "$$" } else { "$" });
                rest = behind;
            }
        }
    }
    ours + rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case(
        "cam",
        "ffmpeg -i a.mp4 -f rtsp rtsp://localhost:$RTSP_PORT/$MTX_PATH",
        "exec:ffmpeg -i a.mp4 -f rtsp {output}"
    )]
    #[case(
        "cam",
        "ffmpeg -f rtsp 'rtsp://me:pw@127.0.0.1:9554/cam'",
        "exec:ffmpeg -f rtsp '{output}'"
    )]
    #[case(
        "cam",
        "x -i rtsp://localhost:8555/cam rtsp://[::1]:${RTSP_PORT}/${MTX_PATH}",
        "exec:x -i rtsp://localhost:8555/cam {output}"
    )]
    #[case("cam", "x rtsp://localhost:9554/camera2", "run:x rtsp://localhost:9554/camera2")]
    #[case(
        "cam",
        "/opt/start.sh $MTX_PATH $RTSP_PORT $HOME",
        "run:/opt/start.sh cam {port} $HOME"
    )]
    #[case(
        "~^f(.)$",
        "x $G1 ${MTX_PATH} $HOME $G12 rtsp://localhost:$RTSP_PORT/$MTX_PATH",
        "exec:x $1 $0 $$HOME $$G12 {output}"
    )]
    #[case(
        "~^f(.)$",
        "x rtsp://localhost:$RTSP_PORT/low_$G1",
        "run:x rtsp://localhost:{port}/low_$1"
    )]
    fn commands(#[case] path: &str, #[case] command: &str, #[case] ours: &str) {
        assert_eq!(source(command, path, 9_554), ours);
        assert!(ours.parse::<crate::config::stream_source::StreamSource>().is_ok());
    }
}
