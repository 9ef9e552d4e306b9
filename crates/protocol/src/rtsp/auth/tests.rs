use super::*;
use proptest::prelude::*;
use rstest::rstest;

fn digest(header: &str, method: &str) -> DigestResponse {
    match Credentials::parse(header, method) {
        Credentials::Digest(digest) => digest,
        other => panic!("{other:?}"),
    }
}

// RFC 7616 §3.9.1.
const RFC7616: &str = r#"Digest username="Mufasa", realm="http-auth@example.org", uri="/dir/index.html",
    nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", nc=00000001,
    cnonce="f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ", qop=auth,
    opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS", "#;

#[rstest]
#[case("MD5", "8ca523f5e9506fed4657c9700eebdbec")]
#[case("SHA-256", "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1")]
fn rfc7616_examples(#[case] algorithm: &str, #[case] response: &str) {
    let header = format!("{RFC7616}response=\"{response}\", algorithm={algorithm}");
    let response = digest(&header, "GET");
    assert!(response.verify("Circle of Life"));
    assert!(!response.verify("Circle Of Life"));
    assert!(
        !digest(&header, "PUT").verify("Circle of Life"),
        "the method is part of it"
    );
    let ha1 = response
        .algorithm()
        .ha1("Mufasa", "http-auth@example.org", "Circle of Life");
    assert!(response.verify_ha1(&ha1) && response.verify_ha1(&ha1.to_uppercase()));
}

#[test]
fn rfc7616_examples_as_a_client() {
    let challenges = [
        r#"Digest realm="http-auth@example.org", qop="auth, auth-int", algorithm=SHA-256,
           nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS""#,
        r#"Digest realm="http-auth@example.org", qop="auth, auth-int", algorithm=MD5,
           nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS""#,
    ];
    let cnonce = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ";
    for (challenges, response) in [
        (
            &challenges[..],
            "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1",
        ),
        (&challenges[1..], "8ca523f5e9506fed4657c9700eebdbec"),
    ] {
        let mut answer = choose(challenges.iter().copied()).unwrap();
        let header = answer.header("Mufasa", "Circle of Life", "GET", "/dir/index.html", cnonce);
        assert!(header.contains(response), "{header}");
        assert!(header.contains("nc=00000001"), "{header}");
        assert!(answer.header("Mufasa", "", "GET", "/", cnonce).contains("nc=00000002"));
    }
}

#[test]
fn rfc2617_example() {
    let header = r#"Digest username="Mufasa", realm="testrealm@host.com", nonce="dcd98b7102dd2f0e8b11d0f600bfb0c093",
        uri="/dir/index.html", qop=auth, nc=00000001, cnonce="0a4f113b", response="6629fae49393a05397450978507c4ef1",
        opaque="5ccc069c403ebaf9f0171e9517f40e41""#;
    assert!(digest(header, "GET").verify("Circle Of Life"));
}

#[test]
fn rfc2069_form() {
    // The sums of RFC 2069 §2.4 as erratum 749 corrects them.
    let header = r#"Digest username="Mufasa", realm="testrealm@host.com", nonce="dcd98b7102dd2f0e8b11d0f600bfb0c093",
        uri="/dir/index.html", response="1949323746fe6a43ef61f9606e7febea", opaque="5ccc069c403ebaf9f0171e9517f40e41""#;
    let response = digest(header, "GET");
    assert!(response.verify("CircleOfLife"));
    assert_eq!((response.user(), response.realm()), ("Mufasa", "testrealm@host.com"));
}

#[rstest]
#[case::basic("Basic dXNlcjpwYTpzcw==", Credentials::Basic { user: "user".into(), password: "pa:ss".into() })]
#[case::basic_without_padding("basic dXNlcjpwYTpzcw", Credentials::Basic { user: "user".into(), password: "pa:ss".into() })]
#[case::bearer("Bearer abc", Credentials::Token("abc".into()))]
#[case::no_base64("Basic !!!", Credentials::None)]
#[case::no_colon("Basic dXNlcg==", Credentials::None)]
#[case::unknown("Negotiate abc", Credentials::None)]
#[case::half_a_digest("Digest username=\"a\"", Credentials::None)]
#[case::no_count("Digest username=a,realm=b,nonce=c,uri=d,response=e,qop=auth", Credentials::None)]
#[case::integrity(
    "Digest username=a,realm=b,nonce=c,uri=d,response=e,qop=auth-int,nc=1,cnonce=f",
    Credentials::None
)]
#[case::unknown_hash(
    "Digest username=a,realm=b,nonce=c,uri=d,response=e,algorithm=SHA-512",
    Credentials::None
)]
#[case::empty("", Credentials::None)]
fn reads(#[case] header: &str, #[case] expected: Credentials) {
    assert_eq!(Credentials::parse(header, "DESCRIBE"), expected);
}

#[test]
fn challenges_go_out_strongest_first_and_md5_last() {
    let challenge = Challenge {
        realm: "Sight\"line\r\n".into(),
        digest: true,
        basic: true,
    };
    let expected = [
        r#"Basic realm="Sight_line__""#,
        r#"Digest realm="Sight_line__", nonce="n", stale=TRUE, algorithm=SHA-256, qop="auth""#,
        r#"Digest realm="Sight_line__", nonce="n", stale=TRUE, algorithm=MD5, qop="auth""#,
    ];
    assert_eq!(challenge.headers("n", true, true), expected);
}

#[rstest]
#[case(&["Basic realm=\"x\"", "Digest realm=\"x\",nonce=\"n\",stale=\"FALSE\""], 1)]
#[case(&["Digest realm=\"x\", nonce=\"n\", algorithm=\"SHA-256\", Digest realm=\"x\", nonce=\"n\""], 2)]
#[case(&["Basic"], 0)]
fn a_client_takes_the_strongest(#[case] headers: &[&str], #[case] strength: u8) {
    assert_eq!(choose(headers.iter().copied()).unwrap().strength(), strength);
}

/// RFC 7616 §3.4.2 wants one sum kept over all requests for these; nobody is known to ask for them.
#[test]
fn session_variants_are_not_answered() {
    for algorithm in ["MD5-sess", "SHA-256-SESS"] {
        let challenge = format!("Digest realm=\"r\", nonce=\"n\", qop=\"auth\", algorithm={algorithm}");
        assert_eq!(
            choose([challenge.as_str()].into_iter()).unwrap_err(),
            format!("Digest {algorithm}")
        );
    }
    let response = r#"Digest username="u", realm="r", nonce="n", uri="/", response="0", algorithm=MD5-sess, qop=auth, nc=1, cnonce="c""#;
    assert_eq!(DigestResponse::parse(response, "GET"), None);
}

#[test]
fn a_client_names_what_it_cannot_answer() {
    let headers = [
        "Negotiate",
        "Digest nonce=n, algorithm=SHA-512-256",
        "Digest nonce=n, qop=auth-int",
    ];
    assert_eq!(
        choose(headers.into_iter()),
        Err("Negotiate, Digest SHA-512-256, Digest".to_owned())
    );
}

#[test]
fn secrets_do_not_show_in_debug() {
    let shown = format!(
        "{:?} {:?} {:?}",
        Credentials::parse("Basic dXNlcjpjYW5hcnk=", "PLAY"),
        Credentials::Token("canary".into()),
        digest("Digest username=u,realm=b,nonce=c,uri=d,response=canary", "PLAY"),
    );
    assert!(!shown.contains("canary"), "{shown}");
}

proptest! {
    #[test]
    fn never_panics(text in ".{0,100}", dense in "(Basic|Digest|Bearer) [=\",a-z0-9+/]{0,40}") {
        for text in [&text, &dense] {
            Credentials::parse(text, "PLAY");
            let _ = choose([text.as_str()].into_iter());
        }
    }

    #[test]
    fn both_sides_agree(
        user in "[^\\p{C}]{1,20}", password in "[^\\p{C}]{0,20}", wrong in "[^\\p{C}]{0,20}", realm in "[ -~]{0,20}",
        which in 0_usize..3, qop: bool,
    ) {
        let challenge = Challenge { realm, digest: true, basic: true };
        let headers = challenge.headers("00ff", false, qop);
        let mut answer = choose([headers[which].as_str()].into_iter()).unwrap();
        let header = answer.header(&user, &password, "SETUP", "rtsp://h/s", "cn");
        match Credentials::parse(&header, "SETUP") {
            Credentials::Digest(digest) => {
                prop_assert_eq!(digest.user(), &user);
                prop_assert!(digest.verify(&password));
                prop_assert_eq!(digest.verify(&wrong), wrong == password);
            }
            Credentials::Basic { user: read, password: secret } => {
                // A user with a colon cannot be said in Basic (RFC 7617 §2).
                prop_assert_eq!(format!("{read}:{secret}"), format!("{user}:{password}"));
            }
            other => prop_assert!(false, "{other:?}"),
        }
    }

    #[test]
    fn comparison_is_equality(one in "[ab]{0,3}", other in "[ab]{0,3}") {
        prop_assert_eq!(is_same(one.as_bytes(), other.as_bytes()), one == other);
    }
}
