//! What is shown of a file, and what returns to it.

use proptest::prelude::*;
use rstest::rstest;

use super::*;

const FILE: &str = r#"# the door: rtsp://admin:c-comment@10.0.0.4/old
# token = "c-former"
# url = "https://hooks.example/services/T0/c-hook"
# source = "exec:grab --password c-argument"
[auth]
token = "c-token" # mine
trusted_networks = ["10.0.0.0/8"] # a sign: # here

[user."a#b"]
password = 'c-account'

[stream.door]
source = ["rtsp://admin:c-first@10.0.0.4/h264", "rtsp://admin:c-second@10.0.0.4/h265"]
forward = ["rtsps://me:c-target@example.org/live?token=c-query"]
run_on_read = """
logger c-command"""

[stream]
yard = { source = "rtsp://root:c-inline@10.0.0.5:5554/main" } # c

[webhook.alerts]
url = "https://example.org/hooks/c-path"
secret = "c-signing"
"#;

#[test]
fn nothing_that_is_a_secret_is_shown() {
    let shown = redacted(FILE).unwrap();
    assert!(!shown.contains("c-"), "{shown}");
    for kept in [
        "# the door: rtsp://***@10.0.0.4/old",
        "# mine",
        "# a sign: # here",
        "\"rtsp://***@10.0.0.4/h265\"]",
        "10.0.0.5:5554/main",
        "password = \"[redacted]\"",
    ] {
        assert!(shown.contains(kept), "{kept}: {shown}");
    }
}

#[test]
fn what_was_shown_returns_byte_for_byte() {
    let shown = redacted(FILE).unwrap();
    assert_eq!(put_back(&shown, FILE).unwrap(), FILE);
}

#[test]
fn what_is_around_secrets_is_changed_and_they_return() {
    let shown = redacted(FILE).unwrap();
    let changed = shown
        .replace("10.0.0.4/h265", "10.0.0.4/other?x=1")
        .replace("# mine", "# ours")
        .replace("[auth]\n", "[log]\nlevel = \"debug\"\n\n[auth]\nopen = false\n");
    let back = put_back(&changed, FILE).unwrap();
    assert!(
        back.contains("rtsp://admin:c-second@10.0.0.4/other?x=1")
            || back.contains("rtsp://admin:c-first@10.0.0.4/other?x=1"),
        "{back}"
    );
    assert!(
        back.contains("open = false") && back.contains("token = \"c-token\" # ours"),
        "{back}"
    );
}

/// The first of those to whom a password would be sent must be the one that had it.
#[rstest]
#[case("//***@10.0.0.5:5554/main", "//***@evil.example:5554/main", "stream.yard.source")]
#[case("//***@10.0.0.5:5554/main", "//***@10.0.0.5/main", "stream.yard.source")]
#[case("rtsp://***@10.0.0.5:5554", "rtsps://***@10.0.0.5:5554", "stream.yard.source")]
#[case("yard = {", "garden = {", "stream.garden.source")]
#[case("https://example.org/***", "https://evil.example/***", "webhook.alerts.url")]
#[case("https://example.org/***", "https://evil.example/x", "webhook.alerts.secret")]
#[case(
    "https://example.org/***",
    "https://evil.example/@example.org/x",
    "webhook.alerts.secret"
)]
#[case(
    "https://example.org/***",
    "https://evil.example\\\\@example.org/x",
    "webhook.alerts.secret"
)]
#[case(
    "//***@10.0.0.5:5554/main",
    "//***@10.0.0.5:5554#@evil.example/main",
    "stream.yard.source"
)]
#[case("[webhook.alerts]", "[webhook.others]", "webhook.others.secret")]
#[case("[user.\"a#b\"]", "[user.eve]", "user.eve.password")]
#[case("# the door: rtsp://***@10.0.0.4", "# the door: rtsp://***@evil.example", "")]
fn secrets_never_move(#[case] from: &str, #[case] to: &str, #[case] key: &str) {
    let shown = redacted(FILE).unwrap();
    assert!(shown.contains(from), "{shown}");
    let changed = shown.replacen(from, to, 1);
    let lost = put_back(&changed, FILE).unwrap_err();
    assert!(lost.iter().any(|lost| lost.key == key), "{lost:?}");
}

#[test]
fn the_line_of_a_secret_that_is_lost_is_told() {
    let lost = put_back("\n\n[auth]\ntoken = \"[redacted]\"\n", "[log]\nlevel = \"info\"\n").unwrap_err();
    assert_eq!((lost[0].line, lost[0].key.as_str()), (4, "auth.token"));
}

#[test]
fn what_is_no_setting_of_ours_is_a_secret() {
    let text = "[cloud]\nlogin = \"c-unknown\"\nnumber = 12345\n";
    let shown = redacted(text).unwrap();
    assert!(!shown.contains("c-") && !shown.contains("12345"), "{shown}");
    assert_eq!(put_back(&shown, text).unwrap(), text);
}

#[test]
fn of_what_is_no_toml_nothing_is_shown() {
    assert_eq!(redacted("[auth\ntoken = \"c-token\""), None);
    assert_eq!(put_back("[auth", FILE).unwrap(), "[auth");
}

proptest! {
    /// However it is written: what is shown and sent back as it was changes nothing.
    #[test]
    fn there_and_back(
        password in "[a-z0-9]{4,12}",
        host in "[a-z]{1,8}(:[1-9][0-9]{1,3})?",
        note in "[ -~]{0,40}",
        literal in any::<bool>(),
    ) {
        let quote = if literal { '\'' } else { '"' };
        let text = format!("# {note}\n[stream.door]\nsource = {quote}rtsp://me:{password}@{host}/a{quote} # {note}\n[auth]\ntoken = {quote}{password}{quote}\n");
        let shown = redacted(&text).unwrap();
        let login = format!("me:{password}@");
        prop_assert!(!shown.contains(&login), "{}", shown);
        prop_assert_eq!(put_back(&shown, &text).unwrap(), text);
    }
}
