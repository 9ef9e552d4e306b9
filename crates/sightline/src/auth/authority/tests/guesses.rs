//! What counts as a guess at a credential, and what takes the brake off.

use super::*;

fn basic<'a>(user: &'a str, password: &'a str) -> Presented<'a> {
    Presented::Basic { user, password }
}

fn is_braked<T>(found: &Result<T, Refusal>) -> bool {
    matches!(found, Err(Refusal::Braked { .. }))
}

#[tokio::test]
async fn guesses_are_braked_before_anybody_is_asked() {
    let (scripted, auth) = world(&[]);
    scripted.says(Answer::No(WhyNot::Refused));
    let guess = Presented::Basic {
        user: "carl",
        password: "guess",
    };
    let mut last = Ok(());
    for _ in 0..50 {
        last = by_rtsp(&auth, FAR, guess).await.map(drop);
    }
    assert!(matches!(last, Err(Refusal::Braked { .. })), "{last:?}");
    assert!(scripted.times() < 50);
    // Nor is anybody braked by an authority that is away, or by showing nothing.
    let (scripted, auth) = world(&[]);
    for answer in [Answer::Away, Answer::No(WhyNot::Refused)] {
        let is_away = answer == Answer::Away;
        scripted.says(answer);
        for _ in 0..50 {
            let presented = if is_away { guess } else { Presented::Nothing };
            let refused = by_rtsp(&auth, FAR, presented).await;
            assert_eq!(refused, Err(if is_away { Refusal::Away } else { Refusal::Missing }));
        }
    }
}

/// Such an authority is yes to everybody where a stream is public: it says nothing about what was shown.
#[tokio::test]
async fn a_yes_without_a_proof_takes_no_brake_off() {
    let (scripted, auth) = world(&[]);
    let mut last = Ok(());
    for _ in 0..50 {
        scripted.says(yes("view door"));
        let _ = by_rtsp(&auth, FAR, Presented::Token("x")).await;
        scripted.says(Answer::No(WhyNot::Refused));
        last = by_rtsp(&auth, FAR, basic("bob", "guess")).await.map(drop);
    }
    assert!(is_braked(&last), "{last:?}");
    // What is signed is proven.
    let (scripted, auth) = world(&[]);
    scripted.proves.store(true, Relaxed);
    for _ in 0..50 {
        scripted.says(yes("view door"));
        assert!(by_rtsp(&auth, FAR, Presented::Token("x")).await.is_ok());
        scripted.says(Answer::No(WhyNot::Refused));
        let wrong = by_rtsp(&auth, FAR, basic("carl", "guess")).await;
        assert_eq!(wrong, Err(Refusal::Wrong));
    }
}

/// They were compared with ours before anybody was asked.
#[tokio::test]
async fn passwords_of_ours_are_not_guessed_while_an_authority_is_away() {
    for name in ["bob", "Bob"] {
        let (scripted, auth) = world(&[]);
        scripted.says(Answer::Away);
        let mut last = Ok(());
        for _ in 0..50 {
            last = by_rtsp(&auth, FAR, basic(name, "guess")).await.map(drop);
        }
        assert!(is_braked(&last), "{name}: {last:?}");
    }
    let (scripted, auth) = world(&[]);
    auth.set_rules(Rules {
        mode: Mode::Single(Secret::new("short")),
        ..(*auth.rules()).clone()
    });
    scripted.says(Answer::Away);
    let mut last = Ok(());
    for _ in 0..50 {
        last = by_rtsp(&auth, FAR, Presented::Token("guess")).await.map(drop);
    }
    assert!(is_braked(&last), "a token that somebody chose: {last:?}");
}

/// What nobody looked at, and what somebody signed, is no guess of a stranger's.
#[rstest]
#[case(WhyNot::Unasked)]
#[case(WhyNot::Ended)]
#[case(WhyNot::NotYet)]
#[case(WhyNot::Audience)]
#[case(WhyNot::Permissions)]
#[tokio::test]
async fn right_credentials_are_no_guesses(#[case] why: WhyNot) {
    let (scripted, auth) = world(&[]);
    scripted.says(Answer::No(why));
    for _ in 0..50 {
        let refused = by_http(&auth, FAR, basic("anna", "right"), Wants::Who).await;
        assert!(
            matches!(refused, Err(Refusal::Wrong | Refusal::Token(_))),
            "{refused:?}"
        );
    }
    scripted.says(yes("view door"));
    assert!(by_rtsp(&auth, FAR, basic("anna", "right")).await.is_ok());
    // But whoever names an account of ours was compared with it.
    scripted.says(Answer::No(WhyNot::Unasked));
    let mut last = Ok(());
    for _ in 0..50 {
        last = by_http(&auth, FAR, basic("bob", "guess"), Wants::Who).await.map(drop);
    }
    assert!(is_braked(&last), "{last:?}");
}

/// The one that asks by HTTP has no question for what is of no one stream.
#[tokio::test]
async fn a_callback_says_where_it_was_not_asked() {
    let server = Server::new(|_| Does::Says(204, String::new())).await;
    let authority = by_callback(&server.url, &clock(), AMPLE);
    let asked = Question {
        wants: None,
        ..question("t")
    };
    assert_eq!(authority.ask(asked).await, Answer::No(WhyNot::Unasked));
    assert!(server.asked().is_empty());
}

/// Where nothing is for everybody, whoever shows nothing is asked for a credential, as without an authority.
#[tokio::test]
async fn nobody_is_let_in_who_may_nothing() {
    let (scripted, auth) = world(&[]);
    for why in [WhyNot::Unasked, WhyNot::Missing] {
        scripted.says(Answer::No(why));
        let nobody = by_http(&auth, FAR, Presented::Nothing, Wants::Who).await;
        assert_eq!(nobody, Err(Refusal::Missing));
    }
    let (scripted, auth) = world(&["read door"]);
    scripted.says(Answer::No(WhyNot::Unasked));
    let nobody = by_http(&auth, FAR, Presented::Nothing, Wants::Who).await;
    assert!(nobody.is_ok_and(|who| who.is_nobody()));
}
