use http::StatusCode;
use rstest::rstest;

use super::*;
use crate::config::{Environment, settings};

fn access(s3: &str, variables: &[(&str, &str)]) -> Result<Access, NoAccess> {
    let s3: settings::S3 = toml::from_str(s3).unwrap();
    Access::of(&s3, &Environment::of(variables.iter().copied()))
}

const KEYS: [(&str, &str); 2] = [
    ("AWS_ACCESS_KEY_ID", "AKIA1"),
    ("AWS_SECRET_ACCESS_KEY", "s3cret/+= # comment"),
];

#[test]
fn the_usual_variables_are_taken_where_the_table_leaves_something_out() {
    let mut variables = KEYS.to_vec();
    variables.push(("AWS_ENDPOINT_URL", "http://10.0.0.5:9000/"));
    variables.push(("AWS_SESSION_TOKEN", "t0ken"));
    variables.push(("AWS_DEFAULT_REGION", "eu-central-1"));
    let by_words = access("", &variables).unwrap();
    assert_eq!(
        by_words.endpoint.as_ref().map(|url| url.as_str()),
        Some("http://10.0.0.5:9000/")
    );
    assert_eq!(
        (by_words.region.as_str(), by_words.key_id.as_str()),
        ("eu-central-1", "AKIA1")
    );
    assert_eq!(by_words.secret_key.expose(), "s3cret/+=");
    assert!(by_words.session_token.is_some());
    let table = "access_key_id = \"AKIA2\"\nsecret_access_key = \"other\"\nregion = \"x\"";
    let by_table = access(table, &variables).unwrap();
    assert_eq!(
        (by_table.key_id.as_str(), by_table.secret_key.expose()),
        ("AKIA2", "other")
    );
    assert_eq!(by_table.session_token, None, "it belongs to the other key");
    let shown = format!("{by_words:?} {by_table:?}");
    assert!(
        !shown.contains("AKIA") && !shown.contains("s3cret") && !shown.contains("t0ken"),
        "{shown}"
    );
}

#[test]
fn what_is_missing_is_named() {
    let NoAccess(wrong) = access("", &[("AWS_ENDPOINT_URL", "minio:9000")]).unwrap_err();
    let names: Vec<&str> = wrong.iter().filter_map(|line| line.split(':').next()).collect();
    assert_eq!(names.len(), 3, "{wrong:?}");
    assert!(wrong[0].contains("AWS_ENDPOINT_URL"), "{wrong:?}");
    assert_eq!(names[1..], ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"]);
    let with_user = [KEYS[0], KEYS[1], ("AWS_ENDPOINT_URL", "http://u:pa55@host")];
    let NoAccess(wrong) = access("", &with_user).unwrap_err();
    assert!(wrong.len() == 1 && !wrong[0].contains("pa55"), "{wrong:?}");
}

#[test]
fn a_secret_may_stand_in_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("key");
    std::fs::write(&file, "from a file\n").unwrap();
    let table = format!(
        "access_key_id = \"a\"\nsecret_access_key_file = {:?}",
        file.display().to_string()
    );
    assert_eq!(access(&table, &[]).unwrap().secret_key.expose(), "from a file");
    std::fs::write(&file, vec![b'x'; 5_000]).unwrap();
    let NoAccess(wrong) = access(&table, &[]).unwrap_err();
    assert!(wrong[0].contains("longer than 4096 bytes"), "{wrong:?}");
    std::fs::remove_file(&file).unwrap();
    assert!(access(&table, &[]).is_err());
}

#[rstest]
#[case(403, "InvalidAccessKeyId", Kind::Lasting, "check AWS_ACCESS_KEY_ID")]
#[case(403, "SignatureDoesNotMatch", Kind::Lasting, "check AWS_SECRET_ACCESS_KEY")]
#[case(
    403,
    "AccessDenied",
    Kind::Lasting,
    "(AccessDenied: as it says it); check the rights"
)]
#[case(403, "RequestTimeTooSkewed", Kind::Lasting, "the clock of this machine is wrong")]
#[case(404, "NoSuchBucket", Kind::Lasting, "S3 has no bucket b")]
#[case(404, "NoSuchUpload", Kind::Missing, "is not in the bucket b")]
#[case(404, "", Kind::Missing, "is not in the bucket b")]
#[case(301, "PermanentRedirect", Kind::Lasting, "check AWS_REGION")]
#[case(503, "SlowDown", Kind::Passing, "it answered 503")]
#[case(500, "", Kind::Passing, "it answered 500")]
#[case(400, "Odd", Kind::Lasting, "answered 400 for the bucket b (Odd: as it says it)")]
fn refusals_are_told_in_words(#[case] status: u16, #[case] code: &str, #[case] kind: Kind, #[case] words: &str) {
    let body = format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>as it says it</Message></Error>");
    let body = if code.is_empty() { String::new() } else { body };
    let refused = Refused::new(StatusCode::from_u16(status).unwrap(), &body.into());
    let failed = refused.in_words("b");
    assert_eq!(failed.kind, kind, "{failed}");
    assert!(failed.detail.contains(words), "{failed}");
}

#[test]
fn what_a_peer_says_is_cut_and_has_no_line_ends() {
    let body = format!(
        "<Error><Code>{}</Code><Message>a\nb\u{7}</Message></Error>",
        "X".repeat(5_000)
    );
    let told = Refused::new(StatusCode::BAD_REQUEST, &body.into()).in_words("b").detail;
    assert!(told.len() < 1_000 && !told.contains(['\n', '\u{7}']), "{told}");
    for body in ["", "<", "no xml", "<Error><Code/></Error>", "\u{0}"] {
        let refused = Refused::new(StatusCode::BAD_REQUEST, &Bytes::copy_from_slice(body.as_bytes()));
        assert_eq!(refused.in_words("b").kind, Kind::Lasting);
    }
}
