//! The command line as a whole.

use super::*;
use crate::config::keys;

fn parsed(line: &str) -> Result<Cli, clap::Error> {
    parse(&line.split_whitespace().map(OsString::from).collect::<Vec<_>>())
}

#[test]
fn the_definition_is_consistent() {
    Cli::command().debug_assert();
    documented().debug_assert();
}

#[test]
fn every_flag_is_a_setting() {
    for flag in [CAMERA_FLAGS, SERVER_FLAGS, COMMON_FLAGS].concat() {
        let key = keys::key(flag.key).unwrap_or_else(|| panic!("{} has no key {}", flag.name, flag.key));
        assert_eq!(
            flag.value_name.is_empty(),
            !flag.switch_value.is_empty(),
            "{}",
            flag.name
        );
        if key.is_flag() {
            assert_eq!(flag.switch_value, "true", "{}", flag.name);
        }
    }
}

#[test]
fn help_documents_every_flag_from_the_definition() {
    for command in ["up", "serve"] {
        let error = parsed(&format!("sightline {command} --help")).unwrap_err();
        assert!(!error.use_stderr());
        let help = error.to_string();
        for expected in [
            "SIGHTLINE_RTSP_PORT",
            "default 8554, rtsp.port",
            "--token",
            "Examples:",
            "SIGHTLINE_AUTH_OPEN",
        ] {
            assert!(help.contains(expected), "{command}: {expected}\n{help}");
        }
    }
}

#[test]
fn those_who_connect_are_told_of_the_token_they_show() {
    for command in ["publish", "receive"] {
        let help = parsed(&format!("sightline {command} --help")).unwrap_err().to_string();
        assert!(help.contains("What the server asks for"), "{command}: {help}");
        assert!(help.contains("SIGHTLINE_AUTH_TOKEN"), "{command}: {help}");
        assert!(!help.contains("wins over `open`"), "{command}: {help}");
    }
}

/// README promises examples for every command. clap wraps what is wider than the terminal, and the rest of a command would then stand
/// there as a command of its own.
#[test]
fn every_command_has_examples_that_fit_a_terminal() {
    fn walk(path: &str, command: &clap::Command) {
        let after = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        let examples = after.strip_prefix("Examples:\n");
        let examples = examples.unwrap_or_else(|| panic!("{path} --help has no examples: {after:?}"));
        let examples: Vec<&str> = examples.lines().take_while(|line| !line.is_empty()).collect();
        assert!(!examples.is_empty(), "{path}");
        for line in examples {
            assert!(line.starts_with("  "), "{path}: {line}");
            assert!(line.chars().count() <= 80, "{path}: {line}");
        }
        for inner in command.get_subcommands() {
            walk(&format!("{path} {}", inner.get_name()), inner);
        }
    }
    walk("sightline", &documented());
}

#[test]
fn flags_become_settings() {
    let cli = parsed("sightline up --source test --rtsp-port 0 --open --no-overlay").unwrap();
    let Command::Up(up) = cli.command else {
        panic!("{cli:?}");
    };
    let given: Vec<(&str, &str)> = up
        .flags
        .given()
        .iter()
        .map(|flag| (flag.key, flag.value.as_str()))
        .collect();
    assert_eq!(
        given,
        [
            ("camera.*.source", "test"),
            ("camera.*.overlay", "off"),
            ("auth.open", "true"),
            ("rtsp.port", "0"),
        ]
    );
}

#[test]
fn wrong_use_goes_to_standard_error() {
    for line in [
        "sightline",
        "sightline fly",
        "sightline up --rtsp-prot 1",
        "sightline serve a.toml --config b.toml",
    ] {
        assert!(parsed(line).unwrap_err().use_stderr(), "{line}");
    }
    let suggestion = parsed("sightline up --rtsp-prot 1").unwrap_err().to_string();
    assert!(suggestion.contains("--rtsp-port"), "{suggestion}");
}

#[test]
fn old_flags_are_accepted_and_each_port_has_one() {
    let line =
        "sightline up --mediamtx-path /x --ffmpeg-path /y --hls-port 1 --webrtc-port 2 --ice-port 3 --http-port 4";
    assert!(parsed(line).is_ok());
}
