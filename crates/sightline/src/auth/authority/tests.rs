//! Tokens, each claim wrong once; authorities that are slow, away, lying; and who is asked when.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering::Relaxed};
use std::time::Instant;

use futures_util::FutureExt as _;
use rstest::rstest;
use serde_json::{Value, json};
use testkit::clock::SimClock;
use tokio::sync::Notify;

use super::super::{Account, Auth, Mode, Password, Presented, Principal, Refusal, Replay, Rights, Rules, Tokens, may};
use super::testing::{Does, SIGNERS, Server, Signers};
use super::token::{Expected, Keys, MAX_BYTES};
use super::*;

mod guesses;
mod lasting;
mod lists;

/// Longer than loopback takes on a busy machine.
const AMPLE: Duration = Duration::from_secs(20);
/// What an authority that never answers is given.
const SHORT: Duration = Duration::from_millis(200);
/// Seconds since 1970, when all of this happens.
const NOW_S: i64 = 1_800_000_000;

fn clock() -> Arc<SimClock> {
    Arc::new(SimClock::at(WallTime::from_unix_micros(NOW_S * 1_000_000)))
}

fn keys(set: &Value) -> Keys {
    Keys::read(set.to_string().as_bytes()).unwrap()
}

fn expected() -> Expected {
    Expected {
        issuer: Some("https://id.example".into()),
        audience: Some("cameras".into()),
    }
}

/// Claims that are all right.
fn right() -> Value {
    json!({
        "sub": "anna",
        "iss": "https://id.example",
        "aud": "cameras",
        "exp": NOW_S + 60,
        "nbf": NOW_S - 60,
        "mediamtx_permissions": [{ "action": "read", "path": "door" }],
    })
}

fn verify(token: &str) -> Result<token::Claims, WhyNot> {
    keys(&SIGNERS.set()).verify(token, &expected(), clock().wall())
}

#[rstest]
#[case("RS256", "rsa")]
#[case("PS256", "rsa")]
#[case("ES256", "ec")]
#[case("EdDSA", "ed")]
fn tokens_are_believed(#[case] method: &str, #[case] key: &str) {
    let claims = verify(&SIGNERS.sign(&json!({ "alg": method, "kid": key }), &right())).unwrap();
    assert_eq!(claims.subject.as_deref(), Some("anna"));
    let ends = claims.ends.map(WallTime::unix_micros);
    assert_eq!(ends, Some((NOW_S + 60) * 1_000_000));
}

#[rstest]
#[case("exp", json!(NOW_S - 30), Err(WhyNot::Ended))]
#[case("exp", json!(NOW_S - 29), Ok(()))]
#[case("exp", json!(NOW_S as f64 - 29.5), Ok(()))]
#[case("exp", json!("tomorrow"), Err(WhyNot::Times))]
#[case("exp", json!(1e300), Ok(()))]
#[case("exp", json!(-1e300), Err(WhyNot::Ended))]
#[case("exp", Value::Null, Ok(()))]
#[case("nbf", json!(NOW_S + 31), Err(WhyNot::NotYet))]
#[case("nbf", json!(NOW_S + 30), Ok(()))]
#[case("nbf", json!([]), Err(WhyNot::Times))]
#[case("iss", json!("https://id.example.org"), Err(WhyNot::Issuer))]
#[case("iss", json!(["https://id.example"]), Err(WhyNot::Issuer))]
#[case("iss", Value::Null, Err(WhyNot::Issuer))]
#[case("aud", json!("doors"), Err(WhyNot::Audience))]
#[case("aud", json!(["doors", "cameras"]), Ok(()))]
#[case("aud", json!([]), Err(WhyNot::Audience))]
#[case("aud", Value::Null, Err(WhyNot::Audience))]
fn each_claim_is_wrong_once(#[case] claim: &str, #[case] value: Value, #[case] expected: Result<(), WhyNot>) {
    let mut claims = right();
    claims[claim] = value;
    assert_eq!(verify(&SIGNERS.token(&claims)).map(drop), expected, "{claims}");
}

#[rstest]
#[case(json!({ "alg": "ES256", "kid": "other" }), WhyNot::NoSuchKey)]
#[case(json!({ "alg": "ES256", "kid": "rsa" }), WhyNot::Method)]
#[case(json!({ "alg": "RS256", "kid": "ec" }), WhyNot::Method)]
#[case(json!({ "alg": "none", "kid": "ec" }), WhyNot::Malformed)]
#[case(json!({ "alg": "none" }), WhyNot::Malformed)]
#[case(json!({ "alg": "ES512", "kid": "ec" }), WhyNot::Malformed)]
#[case(json!({ "alg": "ES256", "kid": "ec", "crit": ["exp"] }), WhyNot::Critical)]
fn heads_that_lie(#[case] head: Value, #[case] why: WhyNot) {
    assert_eq!(verify(&SIGNERS.sign(&head, &right())), Err(why));
}

/// RFC 8725 §2.1: the public key, which everybody has, taken for a shared secret.
#[test]
fn a_public_key_is_no_secret() {
    let head = json!({ "alg": "HS256", "kid": "rsa" });
    let unsigned = SIGNERS.sign(&head, &right());
    let text = unsigned.rsplit_once('.').unwrap().0;
    let modulus = SIGNERS.set()["keys"][0]["n"].as_str().unwrap().as_bytes().to_vec();
    for secret in [SIGNERS.rsa_public_der(), modulus] {
        let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, &secret);
        let signature = aws_lc_rs::hmac::sign(&key, text.as_bytes());
        use base64::Engine as _;
        let signature = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(signature.as_ref());
        assert_eq!(verify(&format!("{text}.{signature}")), Err(WhyNot::Method));
    }
}

#[test]
fn signatures_of_others_are_worth_nothing() {
    let others = Signers::new();
    for (method, key) in [("RS256", "rsa"), ("ES256", "ec"), ("EdDSA", "ed")] {
        let head = json!({ "alg": method, "kid": key });
        assert_eq!(
            verify(&others.sign(&head, &right())),
            Err(WhyNot::Signature),
            "{method}"
        );
        let ours = SIGNERS.sign(&head, &right());
        let (head, rest) = ours.split_once('.').unwrap();
        let (_, signature) = rest.split_once('.').unwrap();
        let mut claims = right();
        claims["sub"] = "admin".into();
        let other = SIGNERS.token(&claims);
        let claims = other.split('.').nth(1).unwrap();
        assert_eq!(verify(&format!("{head}.{claims}.{signature}")), Err(WhyNot::Signature));
    }
}

#[test]
fn what_is_no_token() {
    let long = format!("{}.a.b", "a".repeat(MAX_BYTES));
    for (text, why) in [
        ("", WhyNot::Missing),
        ("canary", WhyNot::Malformed),
        ("a.b", WhyNot::Malformed),
        ("..", WhyNot::Malformed),
        ("a.b.c.d.e", WhyNot::Malformed),
        (&long, WhyNot::TooLong),
    ] {
        let answer = verify(text);
        assert_eq!(answer, Err(why), "{text}");
        assert!(!why.to_string().contains("canary"));
    }
}

#[test]
fn a_token_without_a_number_means_the_only_key_of_its_method() {
    let token = SIGNERS.sign(&json!({ "alg": "ES256" }), &right());
    assert!(verify(&token).is_ok());
    let mut two = SIGNERS.set();
    let mut other = two["keys"][1].clone();
    other["kid"] = "another".into();
    two["keys"].as_array_mut().unwrap().push(other);
    let verified = keys(&two).verify(&token, &expected(), clock().wall());
    assert_eq!(verified, Err(WhyNot::WhichKey));
}

#[rstest]
#[case(json!({ "use": "enc" }), None)]
#[case(json!({ "key_ops": ["encrypt"] }), None)]
#[case(json!({ "key_ops": ["verify"] }), Some(Ok(())))]
#[case(json!({ "alg": "ES256" }), Some(Ok(())))]
#[case(json!({ "alg": "ES384" }), None)]
#[case(json!({ "crv": "P-521" }), None)]
#[case(json!({ "x": "!" }), None)]
#[case(json!({ "x": "AAAA", "y": "AAAA" }), Some(Err(WhyNot::Signature)))]
fn keys_are_for_what_they_say(#[case] change: Value, #[case] verified: Option<Result<(), WhyNot>>) {
    let mut key = SIGNERS.set()["keys"][1].clone();
    for (name, value) in change.as_object().unwrap() {
        key[name] = value.clone();
    }
    let set = json!({ "keys": ["nonsense", { "kty": "oct", "kid": "ec", "k": "AAAA" }, { "kty": "new" }, key] });
    let read = Keys::read(set.to_string().as_bytes());
    let token = SIGNERS.token(&right());
    let found = read
        .ok()
        .map(|keys| keys.verify(&token, &expected(), clock().wall()).map(drop));
    assert_eq!(found, verified);
}

#[test]
fn what_is_no_set_of_keys() {
    for text in [
        "",
        "[]",
        "{}",
        r#"{"keys":7}"#,
        r#"{"keys":[]}"#,
        r#"{"keys":[{"kty":"oct","k":"AAAA"}]}"#,
    ] {
        assert!(Keys::read(text.as_bytes()).is_err(), "{text}");
    }
}

#[rstest]
#[case(json!([{ "action": "read", "path": "door" }]), "view door")]
#[case(json!("[{\"action\":\"publish\",\"path\":\"~^yard/\"}]"), "publisher ~^yard/")]
#[case(json!([{ "action": "playback" }, { "action": "read", "path": null }]), "replay * ; view *")]
#[case(json!([{ "action": "api" }]), "operate,erase,administer *")]
#[case(json!([{ "action": "metrics", "path": "x" }, { "action": "pprof" }]), "nothing, and metrics")]
// What cannot be read allows nothing, and takes nothing from the rest.
#[case(json!([{ "action": "read", "path": "~(" }, { "action": "read", "path": "door" }]), "view door")]
#[case(json!([{ "action": "read", "path": "*" }, { "action": "read", "path": "a b" }, { "action": "fly" }, {}]), "nothing")]
#[case(json!([{ "action": "read", "path": "~(a{1000}){1000}" }, { "action": "read", "path": 7 }]), "nothing")]
fn what_a_claim_allows(#[case] claim: Value, #[case] rights: &str) {
    let allowed = Allowed::by(&permission::read(&claim).unwrap());
    let figures = if allowed.metrics { ", and metrics" } else { "" };
    assert_eq!(format!("{}{figures}", allowed.rights), rights);
}

#[test]
fn claims_that_are_none() {
    let many = |count: usize| json!(vec![json!({ "action": "read" }); count]);
    assert!(permission::read(&many(permission::MOST)).is_some());
    assert!(permission::read(&many(1_000)).is_none());
    for claim in [
        json!(7),
        json!({}),
        json!("all"),
        json!("{}"),
        json!(["read"]),
        Value::Null,
    ] {
        assert!(permission::read(&claim).is_none(), "{claim}");
    }
}

fn question(token: &str) -> Question {
    Question {
        user: "".into(),
        password: Secret::new(""),
        token: Secret::new(token),
        remote: [192, 0, 2, 7].into(),
        wants: Some((Verb::Read, Some("door".parse().unwrap()))),
        protocol: Protocol::Hls,
        query: "".into(),
        agent: "".into(),
        repeats: true,
    }
}

fn by_jwt(server: &Server, clock: &Arc<SimClock>, patience: Duration) -> jwt::Authority {
    let settings = AuthJwt {
        jwks: Some(server.url.parse().unwrap()),
        ..AuthJwt::default()
    };
    jwt::Authority::new(&settings, Arc::clone(clock) as _, patience)
}

fn by_callback(url: &str, clock: &Arc<SimClock>, patience: Duration) -> callback::Authority {
    let settings = AuthHttp {
        url: Some(url.parse().unwrap()),
        ..AuthHttp::default()
    };
    callback::Authority::new(&settings, Arc::clone(clock) as _, patience)
}

#[tokio::test]
async fn keys_are_fetched_when_they_are_wanted() {
    let away = Arc::new(AtomicBool::new(false));
    let (is_away, set) = (Arc::clone(&away), SIGNERS.set().to_string());
    let server = Server::new(move |_| match is_away.load(Relaxed) {
        false => Does::Says(200, set.clone()),
        true => Does::Says(500, String::new()),
    });
    let server = server.await;
    let clock = clock();
    let authority = by_jwt(&server, &clock, AMPLE);
    let mut claims = right();
    claims["exp"] = (NOW_S + 1_000_000).into();
    let mut number = 0;
    // A token that was not shown before, so that none is remembered.
    let mut token = |kid: &str| {
        number += 1;
        claims["jti"] = number.into();
        SIGNERS.sign(&json!({ "alg": "ES256", "kid": kid }), &claims)
    };
    let is_yes = |answer| matches!(answer, Answer::Yes(_));
    assert_eq!(authority.ask(question("no token")).await, Answer::No(WhyNot::Malformed));
    assert_eq!(server.asked().len(), 0, "what is no token asks nobody");
    let all: Vec<_> = (0..20).map(|_| token("ec")).collect();
    let answers = futures_util::future::join_all(all.iter().map(|token| authority.ask(question(token)))).await;
    assert!(answers.into_iter().all(is_yes));
    assert_eq!(server.asked().len(), 1, "once for all who come together");
    for _ in 0..10 {
        assert_eq!(
            authority.ask(question(&token("new"))).await,
            Answer::No(WhyNot::NoSuchKey)
        );
    }
    assert_eq!(server.asked().len(), 1, "not within a minute, whatever strangers show");
    clock.advance(Duration::from_secs(61));
    assert_eq!(
        authority.ask(question(&token("new"))).await,
        Answer::No(WhyNot::NoSuchKey)
    );
    assert_eq!(server.asked().len(), 2, "a number that nobody knows");
    away.store(true, Relaxed);
    clock.advance(Duration::from_secs(3_600));
    assert!(
        is_yes(authority.ask(question(&token("ec"))).await),
        "while it is away the keys go on counting"
    );
    assert_eq!(server.asked().len(), 3);
    clock.advance(Duration::from_secs(86_400));
    assert_eq!(authority.ask(question(&token("ec"))).await, Answer::Away, "for a day");
    assert_eq!(authority.ask(question(&token("ec"))).await, Answer::Away);
    assert_eq!(server.asked().len(), 4, "not again and again");
    away.store(false, Relaxed);
    clock.advance(Duration::from_secs(6));
    assert!(is_yes(authority.ask(question(&token("ec"))).await));
}

/// Whoever comes while keys are fetched, waits for them: at the start, and when the authority signs with others.
#[tokio::test]
async fn keys_that_are_on_their_way_are_waited_for() {
    let told = Arc::new(Notify::new());
    let set = Arc::new(Mutex::new(SIGNERS.set()));
    let (tells, serves) = (Arc::clone(&told), Arc::clone(&set));
    let server = Server::new(move |_| Does::Later(Arc::clone(&tells), serves.lock().unwrap().to_string())).await;
    let clock = clock();
    let authority = by_jwt(&server, &clock, AMPLE);
    let mut claims = right();
    claims["exp"] = (NOW_S + 1_000_000).into();
    let mut number = 0;
    let mut asked = |kid: &str| {
        number += 1;
        claims["jti"] = number.into();
        question(&SIGNERS.sign(&json!({ "alg": "ES256", "kid": kid }), &claims))
    };
    for (round, kid) in [(1, "ec"), (2, "another")] {
        let mut first = authority.ask(asked(kid));
        while server.asked().len() < round {
            assert!((&mut first).now_or_never().is_none(), "{kid}");
            tokio::task::yield_now().await;
        }
        let mut second = authority.ask(asked(kid));
        assert!((&mut second).now_or_never().is_none(), "{kid} is on its way");
        if round > 1 {
            let known = authority.ask(asked("ec")).now_or_never();
            assert!(matches!(known, Some(Answer::Yes(_))), "what is known is not held up");
        }
        told.notify_one();
        for answer in [first.await, second.await] {
            assert!(matches!(answer, Answer::Yes(_)), "{kid}: {answer:?}");
        }
        assert_eq!(server.asked().len(), round, "once for both");
        let mut other = SIGNERS.set()["keys"][1].clone();
        other["kid"] = "another".into();
        set.lock().unwrap()["keys"].as_array_mut().unwrap().push(other);
        clock.advance(Duration::from_secs(61));
    }
}

#[tokio::test]
async fn a_token_is_remembered_until_it_ends() {
    let set = SIGNERS.set().to_string();
    let server = Server::new(move |_| Does::Says(200, set.clone())).await;
    let clock = clock();
    let authority = by_jwt(&server, &clock, AMPLE);
    let token = SIGNERS.token(&right());
    let Answer::Yes(vouched) = authority.ask(question(&token)).await else {
        panic!("it is not believed");
    };
    assert_eq!(
        (&*vouched.name, vouched.allowed.rights.to_string().as_str()),
        ("anna", "view door")
    );
    clock.advance(Duration::from_secs(59));
    assert!(matches!(authority.ask(question(&token)).await, Answer::Yes(_)));
    clock.advance(Duration::from_secs(31));
    assert_eq!(authority.ask(question(&token)).await, Answer::No(WhyNot::Ended));
    let mut claims = right();
    claims["exp"] = (NOW_S + 1_000).into();
    claims.as_object_mut().unwrap().remove("mediamtx_permissions");
    let bare = authority.ask(question(&SIGNERS.token(&claims))).await;
    assert_eq!(bare, Answer::No(WhyNot::Permissions));
}

#[rstest]
#[case(Does::Nothing, SHORT)]
#[case(Does::Floods, AMPLE)]
#[case(Does::Babbles, AMPLE)]
#[case(Does::Says(200, "<html>".to_owned()), AMPLE)]
#[case(Does::Says(404, String::new()), AMPLE)]
#[tokio::test]
async fn keys_that_cannot_be_had_are_no_keys(#[case] does: Does, #[case] patience: Duration) {
    let does = Mutex::new(Some(does));
    let server = Server::new(move |_| does.lock().unwrap().take().unwrap_or(Does::Nothing)).await;
    let authority = by_jwt(&server, &clock(), patience);
    assert_eq!(authority.ask(question(&SIGNERS.token(&right()))).await, Answer::Away);
}

#[tokio::test]
async fn a_question_has_mediamtxs_names() {
    let server = Server::new(|_| Does::Says(204, String::new())).await;
    let authority = by_callback(&server.url, &clock(), AMPLE);
    let asked = Question {
        user: "anna".into(),
        password: Secret::new("pw"),
        query: "a=1&_HLS_msn=3&_HLS_part=1&b=2".into(),
        agent: "Lavf61".into(),
        ..question("pw")
    };
    let Answer::Yes(vouched) = authority.ask(asked).await else {
        panic!("a 204 is yes");
    };
    assert_eq!(vouched.allowed.rights.to_string(), "view door");
    let asked = server.asked();
    assert!(
        asked[0].starts_with("POST / HTTP/1.1\r\n")
            && asked[0].to_lowercase().contains("content-type: application/json")
    );
    let body: Value = serde_json::from_str(asked[0].split("\r\n\r\n").nth(1).unwrap()).unwrap();
    let expected = json!({
        "ip": "192.0.2.7", "user": "anna", "password": "pw", "token": "pw", "action": "read", "path": "door",
        "protocol": "hls", "id": null, "query": "a=1&b=2", "userAgent": "Lavf61",
    });
    assert_eq!(body, expected);
}

#[rstest]
#[case(200, Some(true))]
#[case(299, Some(true))]
#[case(300, Some(false))]
#[case(307, Some(false))]
#[case(401, Some(false))]
#[case(403, Some(false))]
#[case(404, Some(false))]
#[case(500, None)]
#[case(503, None)]
#[tokio::test]
async fn what_a_status_means(#[case] status: u16, #[case] says: Option<bool>) {
    let server = Server::new(move |_| Does::Says(status, "canary".to_owned())).await;
    let answer = by_callback(&server.url, &clock(), AMPLE).ask(question("t")).await;
    let said = match answer {
        Answer::Yes(_) => Some(true),
        Answer::No(_) => Some(false),
        Answer::Away => None,
    };
    assert_eq!(said, says);
}

#[tokio::test]
async fn redirects_are_no_and_not_followed() {
    let elsewhere = Server::new(|_| Does::Says(200, String::new())).await;
    let to = elsewhere.url.clone();
    let server = Server::new(move |_| Does::Sends(to.clone())).await;
    let answer = by_callback(&server.url, &clock(), AMPLE).ask(question("t")).await;
    assert_eq!(answer, Answer::No(WhyNot::Refused));
    assert!(elsewhere.asked().is_empty());
}

#[rstest]
#[case(Does::Nothing, SHORT, Answer::Away)]
#[case(Does::Babbles, AMPLE, Answer::Away)]
#[tokio::test]
async fn no_answer_is_never_yes(#[case] does: Does, #[case] patience: Duration, #[case] expected: Answer) {
    let does = Mutex::new(Some(does));
    let server = Server::new(move |_| does.lock().unwrap().take().unwrap_or(Does::Nothing)).await;
    let authority = by_callback(&server.url, &clock(), patience);
    assert_eq!(authority.ask(question("t")).await, expected);
}

/// Of a body nothing is wanted, and next to nothing read.
#[tokio::test]
async fn a_flood_is_an_answer_all_the_same() {
    let server = Server::new(|_| Does::Floods).await;
    let authority = by_callback(&server.url, &clock(), AMPLE);
    for _ in 0..3 {
        let asked = Question {
            repeats: false,
            ..question("t")
        };
        assert!(matches!(authority.ask(asked).await, Answer::Yes(_)));
    }
    assert_eq!(server.asked().len(), 3);
}

#[tokio::test]
async fn nobody_there_is_no_answer() {
    let gone = Server::new(|_| Does::Nothing).await.url.clone();
    assert_eq!(
        by_callback(&gone, &clock(), AMPLE).ask(question("t")).await,
        Answer::Away
    );
}

#[tokio::test]
async fn an_answer_holds_for_ten_seconds_for_the_same_question() {
    let status = Arc::new(AtomicU16::new(200));
    let says = Arc::clone(&status);
    let server = Server::new(move |_| Does::Says(says.load(Relaxed), String::new())).await;
    let clock = clock();
    let authority = by_callback(&server.url, &clock, AMPLE);
    let is_yes = async |question: Question| matches!(authority.ask(question).await, Answer::Yes(_));
    let part = |n: u32| Question {
        query: format!("_HLS_msn={n}&_HLS_part=0").into(),
        ..question("t")
    };
    for n in 0..50 {
        assert!(is_yes(part(n)).await);
    }
    assert_eq!(server.asked().len(), 1);
    status.store(401, Relaxed);
    for other in [
        Question {
            remote: [192, 0, 2, 8].into(),
            ..part(1)
        },
        Question {
            wants: Some((Verb::Read, Some("yard".parse().unwrap()))),
            ..part(1)
        },
        Question {
            wants: Some((Verb::Playback, Some("door".parse().unwrap()))),
            ..part(1)
        },
        Question {
            password: Secret::new("t"),
            token: Secret::new(""),
            ..part(1)
        },
        Question {
            query: "_HLS_msn=1&key=2".into(),
            ..part(1)
        },
        // A session is asked about whenever it begins.
        Question {
            repeats: false,
            ..part(1)
        },
    ] {
        assert!(!is_yes(other.clone()).await, "{other:?}");
    }
    assert!(is_yes(part(1)).await);
    clock.advance(Duration::from_secs(10));
    assert!(!is_yes(part(1)).await);
    status.store(500, Relaxed);
    clock.advance(Duration::from_secs(10));
    assert_eq!(authority.ask(part(1)).await, Answer::Away);
    status.store(200, Relaxed);
    assert!(is_yes(part(1)).await, "that it was away is not remembered");
}

#[tokio::test]
async fn questions_at_a_time_are_limited() {
    let server = Server::new(|_| Does::Nothing).await;
    let authority = Arc::new(by_callback(&server.url, &clock(), AMPLE));
    let mut asking = tokio::task::JoinSet::new();
    // One more than are asked, and wait: it is told at once, long before the first of them is.
    for n in 0..=64 + 256 {
        let asked = Question {
            remote: std::net::Ipv4Addr::from_bits(0x0a00_0000 + n).into(),
            ..question("t")
        };
        let authority = Arc::clone(&authority);
        asking.spawn(async move { authority.ask(asked).await });
    }
    assert_eq!(asking.join_next().await.unwrap().unwrap(), Answer::Away);
    assert_eq!(asking.len(), 64 + 256);
    assert!(server.asked().len() <= 64);
}

/// Whoever shows nothing is not braked, and each query is another question.
#[tokio::test]
async fn one_address_leaves_places_to_others() {
    let server = Server::new(|asked| match asked.contains(FAR) {
        true => Does::Nothing,
        false => Does::Says(204, String::new()),
    });
    let server = server.await;
    let authority = Arc::new(by_callback(&server.url, &clock(), AMPLE));
    let mut asking = tokio::task::JoinSet::new();
    let about = |remote: &str, n: u32| Question {
        remote: remote.parse().unwrap(),
        query: format!("n={n}").into(),
        ..question("")
    };
    for n in 0..=16 + 48 {
        let (authority, asked) = (Arc::clone(&authority), about(FAR, n));
        asking.spawn(async move { authority.ask(asked).await });
    }
    let refused = asking.join_next().await.unwrap().unwrap();
    assert_eq!((refused, asking.len()), (Answer::Away, 16 + 48));
    for n in 0..100 {
        let answer = authority.ask(about("192.0.2.8", n)).await;
        assert!(matches!(answer, Answer::Yes(_)), "{answer:?}");
    }
    let of_one = server.asked().iter().filter(|asked| asked.contains(FAR)).count();
    assert!(of_one <= 16, "{of_one}");
    // What is given up is no longer counted.
    asking.shutdown().await;
    let again = Arc::clone(&authority);
    let asked = about(FAR, 1_000);
    let mut again = tokio::spawn(async move { again.ask(asked).await });
    let answered = tokio::time::timeout(SHORT, &mut again).await;
    assert!(answered.is_err(), "it is asked about, and hangs");
    again.abort();
}

/// Answers what it is told to, and remembers what it was asked.
#[derive(Default)]
struct Scripted {
    answer: Mutex<Option<Answer>>,
    asked: Mutex<Vec<Question>>,
    proves: AtomicBool,
}

impl Authority for Scripted {
    fn ask(&self, question: Question) -> Pin<Box<dyn Future<Output = Answer> + Send + '_>> {
        self.asked.lock().unwrap().push(question);
        let answer = self.answer.lock().unwrap().clone().unwrap_or(Answer::Away);
        Box::pin(std::future::ready(answer))
    }

    fn proves(&self) -> bool {
        self.proves.load(Relaxed)
    }
}

impl Scripted {
    fn says(&self, answer: Answer) {
        *self.answer.lock().unwrap() = Some(answer);
    }

    fn times(&self) -> usize {
        self.asked.lock().unwrap().len()
    }
}

fn yes(rights: &str) -> Answer {
    Answer::Yes(Vouched {
        name: "anna".into(),
        allowed: Allowed {
            rights: rights.parse().unwrap(),
            metrics: false,
        },
        until: None,
        has_shown: true,
        by: 0,
    })
}

/// Tokens of ours, an account, a network that is trusted, and somebody else.
fn world(exclude: &[&str]) -> (Arc<Scripted>, Auth) {
    let scripted = Arc::new(Scripted::default());
    let exclude: Vec<Permission> = exclude.iter().map(|text| text.parse().unwrap()).collect();
    let auth = Auth::of(Rules {
        mode: Mode::Tokens(Tokens {
            viewer: Secret::new("v-token"),
            publisher: Secret::new("p-token"),
            admin: Secret::new("a-token"),
        }),
        trusted_networks: vec!["10.9.0.0/24".parse().unwrap()],
        accounts: vec![Account {
            name: "bob".into(),
            password: Some(Password::Plain(Secret::new("bob-pw"))),
            networks: Vec::new(),
            rights: "view yard".parse::<Rights>().unwrap(),
        }],
        beside: None,
        replay: Replay::default(),
        elsewhere: Some(Elsewhere::scripted(Arc::clone(&scripted) as _, &exclude)),
    });
    (scripted, auth)
}

async fn by_http(auth: &Auth, remote: &str, presented: Presented<'_>, wants: Wants<'_>) -> Result<Principal, Refusal> {
    let way = Way::of(remote.parse().unwrap());
    auth.http_from(&way, presented, None, wants, Instant::now())
        .settled()
        .await
}

async fn by_rtsp(auth: &Auth, remote: &str, presented: Presented<'_>) -> Result<Principal, Refusal> {
    let way = Way::of(remote.parse().unwrap());
    let door = "door".parse().unwrap();
    auth.rtsp(&way, presented, Action::View, &door, Instant::now())
        .settled()
        .await
}

const FAR: &str = "192.0.2.7";

#[tokio::test]
async fn what_is_ours_asks_nobody() {
    let (scripted, auth) = world(&[]);
    let door = "door".parse().unwrap();
    let view = Wants::Do(Action::View, Object::Stream(&door));
    let bob = Presented::Basic {
        user: "bob",
        password: "bob-pw",
    };
    assert!(by_rtsp(&auth, FAR, Presented::Token("v-token")).await.is_ok());
    assert!(matches!(
        by_rtsp(&auth, FAR, Presented::Token("p-token")).await,
        Err(Refusal::Forbidden(_))
    ));
    // An account decides for itself, also against somebody.
    assert!(matches!(by_rtsp(&auth, FAR, bob).await, Err(Refusal::Forbidden(_))));
    assert!(
        by_http(&auth, FAR, bob, view)
            .await
            .is_ok_and(|who| who.name() == "bob")
    );
    assert!(
        by_rtsp(&auth, "10.9.0.2", Presented::Nothing).await.is_ok(),
        "a trusted network"
    );
    assert_eq!(scripted.times(), 0);
    scripted.says(Answer::No(WhyNot::Refused));
    assert_eq!(
        by_rtsp(&auth, "127.0.0.1", Presented::Nothing).await,
        Err(Refusal::Missing),
        "this machine is like others"
    );
    assert_eq!(scripted.times(), 1);
    assert!(
        !auth.knows_all_passwords(),
        "no Digest: its password is not known to who decides"
    );
}

#[tokio::test]
async fn others_are_asked_about() {
    let (scripted, auth) = world(&[]);
    let carl = Presented::Basic {
        user: "carl",
        password: "carl-pw",
    };
    scripted.says(yes("view door"));
    assert!(by_rtsp(&auth, FAR, carl).await.is_ok_and(|who| who.name() == "anna"));
    let asked = scripted.asked.lock().unwrap()[0].clone();
    assert_eq!(
        (&*asked.user, asked.password.expose(), asked.token.expose()),
        ("carl", "carl-pw", "carl-pw")
    );
    assert_eq!(asked.wants, Some((Verb::Read, Some("door".parse().unwrap()))));
    scripted.says(yes("view yard"));
    assert!(matches!(by_rtsp(&auth, FAR, carl).await, Err(Refusal::Forbidden(_))));
    scripted.says(Answer::No(WhyNot::Refused));
    assert_eq!(by_rtsp(&auth, FAR, carl).await, Err(Refusal::Wrong));
    assert_eq!(by_rtsp(&auth, FAR, Presented::Nothing).await, Err(Refusal::Missing));
    scripted.says(Answer::No(WhyNot::Ended));
    assert_eq!(
        by_rtsp(&auth, FAR, Presented::Token("a.b.c")).await,
        Err(Refusal::Token(WhyNot::Ended))
    );
    scripted.says(Answer::Away);
    for presented in [Presented::Nothing, carl] {
        assert_eq!(by_rtsp(&auth, FAR, presented).await, Err(Refusal::Away));
    }
    scripted.says(yes("view door"));
    let both = by_http(&auth, FAR, Presented::Token("carl:carl-pw"), Wants::Who)
        .await
        .unwrap();
    assert!(may(&both, Action::View, &"door".parse::<StreamName>().unwrap()).is_allowed());
    let asked = scripted.asked.lock().unwrap().last().unwrap().clone();
    assert_eq!(
        (&*asked.user, asked.password.expose(), asked.wants),
        ("carl", "carl-pw", None)
    );
}

#[tokio::test]
async fn what_is_excluded_asks_nobody() {
    let (scripted, auth) = world(&["read door", "metrics", "api"]);
    let [door, yard]: [StreamName; 2] = ["door", "yard"].map(|name| name.parse().unwrap());
    let guess = Presented::Basic {
        user: "carl",
        password: "guess",
    };
    for presented in [Presented::Nothing, guess] {
        assert!(by_rtsp(&auth, FAR, presented).await.is_ok());
        let figures = Wants::Do(Action::View, Object::Metrics);
        let who = by_http(&auth, FAR, presented, figures).await.unwrap();
        assert!(may(&who, Action::View, Object::Metrics).is_allowed());
        assert!(!may(&who, Action::View, Object::Program).is_allowed());
        assert!(!may(&who, Action::Publish, &door).is_allowed());
    }
    assert_eq!(scripted.times(), 0);
    scripted.says(Answer::No(WhyNot::Refused));
    let who = by_http(
        &auth,
        FAR,
        Presented::Nothing,
        Wants::Do(Action::View, Object::Stream(&yard)),
    )
    .await
    .unwrap();
    assert!(who.is_nobody() && !may(&who, Action::View, &yard).is_allowed());
    // That the API is excluded opens it to nobody: it is not asked about.
    let _ = by_http(
        &auth,
        FAR,
        Presented::Nothing,
        Wants::Do(Action::Administer, Object::Program),
    )
    .await;
    assert_eq!(scripted.asked.lock().unwrap().last().unwrap().wants, None);
    let settings: AuthJwt = toml::from_str("jwks = \"http://127.0.0.1:9/\"\nexclude = [\"api\"]").unwrap();
    assert_eq!(Allowed::without_api(&settings.exclude), Allowed::nothing());
}

#[tokio::test]
async fn in_a_trusted_network_nobody_is_less() {
    let (scripted, auth) = world(&[]);
    let (near, door) = ("10.9.0.2", "door".parse::<StreamName>().unwrap());
    scripted.says(Answer::Away);
    let who = by_http(
        &auth,
        near,
        Presented::Token("a.b.c"),
        Wants::Do(Action::Replay, Object::Stream(&door)),
    )
    .await
    .unwrap();
    assert_eq!(who, Principal::Near { replays: false });
    scripted.says(yes("replay door"));
    let who = by_http(
        &auth,
        near,
        Presented::Token("a.b.c"),
        Wants::Do(Action::Replay, Object::Stream(&door)),
    )
    .await
    .unwrap();
    for action in [Action::View, Action::Replay, Action::Publish] {
        assert!(may(&who, action, &door).is_allowed(), "{action:?}");
    }
}

#[test]
fn a_change_of_other_settings_keeps_the_authority() {
    let clock: Arc<dyn Clock> = clock();
    let settings = |text: &str| -> Settings { toml::from_str(text).unwrap() };
    let jwt = settings("[auth]\nmethod = \"jwt\"\njwt.jwks = \"http://127.0.0.1:9/\"");
    assert!(Elsewhere::of(&Settings::default(), None, &clock).is_none());
    let first = Elsewhere::of(&jwt, None, &clock).unwrap();
    let again = Elsewhere::of(&jwt, Some(&first), &clock).unwrap();
    assert!(Arc::ptr_eq(&first.authority, &again.authority));
    let other = settings("[auth]\nmethod = \"jwt\"\njwt = { jwks = \"http://127.0.0.1:9/\", issuer = \"i\" }");
    let other = Elsewhere::of(&other, Some(&first), &clock).unwrap();
    assert!(!Arc::ptr_eq(&first.authority, &other.authority) && first != other);
}
