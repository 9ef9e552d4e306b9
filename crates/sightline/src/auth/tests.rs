//! Who × action × address × mode, and the ways to show a credential.

use std::net::IpAddr;
use std::time::Instant;

use media::StreamName;
use rstest::rstest;

use super::*;
use crate::secret::Secret;

fn tokens() -> Mode {
    Mode::Tokens(Tokens {
        viewer: Secret::new("v-token"),
        publisher: Secret::new("p-token"),
        admin: Secret::new("a-token"),
    })
}

fn single() -> Mode {
    Mode::Single(Secret::new("single"))
}

fn trusted() -> Vec<Network> {
    vec!["10.9.0.0/24".parse().unwrap()]
}

fn basic<'a>(user: &'a str, password: &'a str) -> Presented<'a> {
    Presented::Basic { user, password }
}

const LOOPBACK: [&str; 3] = ["127.0.0.1", "::1", "::ffff:127.0.0.1"];
const TRUSTED: [&str; 2] = ["10.9.0.2", "::ffff:10.9.0.2"];
const ELSEWHERE: [&str; 3] = ["192.168.1.7", "2001:db8::7", "::ffff:10.9.1.2"];

/// Asks a fresh [`Auth`] about both actions RTSP knows.
fn ask(mode: &Mode, remote: &str, presented: Presented<'_>) -> [Result<(), Refusal>; 2] {
    [Action::View, Action::Publish].map(|action| {
        let auth = Auth::new(mode.clone(), trusted());
        let remote: IpAddr = remote.parse().unwrap();
        auth.rtsp(remote, presented, action, &StreamName::default_stream(), Instant::now())
            .map(drop)
    })
}

fn forbidden(action: Action, needs: Role) -> Result<(), Refusal> {
    Err(Refusal::Forbidden(Decision::Deny { action, needs }))
}

#[test]
fn roles_and_actions() {
    let stream = StreamName::default_stream();
    let table = |who: Principal| Action::ALL.map(|action| may(&who, action, &stream).is_allowed());
    //                                                        view   publish operate administer
    assert_eq!(table(Principal::Known(Role::Admin)), [true, true, true, true]);
    assert_eq!(table(Principal::Known(Role::Operator)), [true, true, true, false]);
    assert_eq!(table(Principal::Known(Role::Publisher)), [false, true, false, false]);
    assert_eq!(table(Principal::Known(Role::Viewer)), [true, false, false, false]);
    assert_eq!(table(Principal::Near), [true, true, false, false]);
    assert_eq!(table(Principal::Anyone), [true, true, false, false]);
}

#[test]
fn nearby_rtsp_needs_nothing_and_elsewhere_does() {
    for remote in LOOPBACK.iter().chain(&TRUSTED) {
        assert_eq!(ask(&tokens(), remote, Presented::Nothing), [Ok(()), Ok(())], "{remote}");
        // Players go on sending what they were once told.
        assert_eq!(
            ask(&tokens(), remote, basic("old", "wrong")),
            [Ok(()), Ok(())],
            "{remote}"
        );
    }
    for remote in ELSEWHERE {
        let missing = Err(Refusal::Missing);
        assert_eq!(
            ask(&tokens(), remote, Presented::Nothing),
            [missing, missing],
            "{remote}"
        );
    }
}

#[rstest]
#[case("viewer", "v-token", [Ok(()), forbidden(Action::Publish, Role::Publisher)])]
#[case("publisher", "p-token", [forbidden(Action::View, Role::Viewer), Ok(())])]
#[case("admin", "a-token", [Ok(()), Ok(())])]
#[case("publisher", "a-token", [Ok(()), Ok(())])]
#[case("admin", "v-token", [Ok(()), forbidden(Action::Publish, Role::Publisher)])]
#[case("somebody", "a-token", [Err(Refusal::Wrong), Err(Refusal::Wrong)])]
#[case("viewer", "x-token", [Err(Refusal::Wrong), Err(Refusal::Wrong)])]
#[case("", "", [Err(Refusal::Wrong), Err(Refusal::Wrong)])]
#[case("viewer", "", [Err(Refusal::Wrong), Err(Refusal::Wrong)])]
fn users_from_elsewhere(#[case] user: &str, #[case] password: &str, #[case] expected: [Result<(), Refusal>; 2]) {
    for remote in ELSEWHERE {
        assert_eq!(
            ask(&tokens(), remote, basic(user, password)),
            expected,
            "Basic, {remote}"
        );
        let digest = Presented::Digest {
            user,
            verify: &|secret| secret == password,
        };
        assert_eq!(ask(&tokens(), remote, digest), expected, "Digest, {remote}");
    }
}

#[rstest]
#[case("v-token", [Ok(()), forbidden(Action::Publish, Role::Publisher)])]
#[case("p-token", [forbidden(Action::View, Role::Viewer), Ok(())])]
#[case("a-token", [Ok(()), Ok(())])]
#[case("", [Err(Refusal::Wrong), Err(Refusal::Wrong)])]
fn tokens_alone_from_elsewhere(#[case] token: &str, #[case] expected: [Result<(), Refusal>; 2]) {
    assert_eq!(ask(&tokens(), "192.168.1.7", Presented::Token(token)), expected);
}

#[test]
fn open_asks_nobody() {
    for remote in LOOPBACK.iter().chain(&TRUSTED).chain(&ELSEWHERE) {
        for presented in [Presented::Nothing, basic("a", "b"), Presented::Token("x")] {
            assert_eq!(ask(&Mode::Open, remote, presented), [Ok(()), Ok(())], "{remote}");
        }
    }
}

#[test]
fn a_single_token_is_asked_for_everywhere() {
    for remote in LOOPBACK.iter().chain(&TRUSTED).chain(&ELSEWHERE) {
        let missing = Err(Refusal::Missing);
        let wrong = Err(Refusal::Wrong);
        assert_eq!(
            ask(&single(), remote, Presented::Nothing),
            [missing, missing],
            "{remote}"
        );
        assert_eq!(
            ask(&single(), remote, basic("viewer", "v-token")),
            [wrong, wrong],
            "{remote}"
        );
        for user in ["viewer", "publisher", "admin", "anything", ""] {
            assert_eq!(
                ask(&single(), remote, basic(user, "single")),
                [Ok(()), Ok(())],
                "{remote} {user}"
            );
        }
        assert_eq!(
            ask(&single(), remote, Presented::Token("single")),
            [Ok(()), Ok(())],
            "{remote}"
        );
    }
}

#[test]
fn guessing_is_braked_for_the_guesser_alone() {
    let auth = Auth::new(tokens(), Vec::new());
    let stream = StreamName::default_stream();
    let now = Instant::now();
    let guesser: IpAddr = "192.168.1.66".parse().unwrap();
    let other: IpAddr = "192.168.1.7".parse().unwrap();
    for guess in 0..50 {
        let _ = auth.rtsp(guesser, basic("viewer", &guess.to_string()), Action::View, &stream, now);
    }
    let right = basic("viewer", "v-token");
    let braked = auth.rtsp(guesser, right, Action::View, &stream, now);
    let Err(Refusal::Braked { wait }) = braked else {
        panic!("the guesser is not braked: {braked:?}");
    };
    assert!(auth.rtsp(other, right, Action::View, &stream, now).is_ok());
    assert!(auth.rtsp(guesser, right, Action::View, &stream, now + wait).is_ok());
    // Asking for a challenge is not guessing.
    for _ in 0..50 {
        let answer = auth.rtsp(other, Presented::Nothing, Action::View, &stream, now);
        assert_eq!(answer, Err(Refusal::Missing));
    }
    assert!(auth.rtsp(other, right, Action::View, &stream, now).is_ok());
}

#[test]
fn urls_carry_the_least_credential_that_does() {
    let auth = Auth::new(tokens(), Vec::new());
    let exposed = |role| auth.credential(role).map(|(user, secret)| (user, secret.expose()));
    assert_eq!(exposed(Role::Viewer), Some(("viewer", "v-token")));
    assert_eq!(exposed(Role::Publisher), Some(("publisher", "p-token")));
    assert_eq!(exposed(Role::Admin), Some(("admin", "a-token")));
    assert_eq!(Auth::new(Mode::Open, Vec::new()).credential(Role::Viewer), None);
}
