//! Of several streams: each sees what it may, and where some are for everybody not those alone.

use super::*;

const SOME: Wants<'static> = Wants::Do(Action::View, Object::Some);

fn views(who: &Principal, stream: &str) -> bool {
    may(who, Action::View, &stream.parse::<StreamName>().unwrap()).is_allowed()
}

#[tokio::test]
async fn whoever_shows_something_sees_what_it_may() {
    let (scripted, auth) = world(&["read lobby"]);
    let shown = Presented::Token("a.b.c");
    scripted.says(yes("view door"));
    let who = by_http(&auth, FAR, shown, SOME).await.unwrap();
    assert!(views(&who, "door") && views(&who, "lobby") && !views(&who, "yard"));
    // What is for everybody stays so, whatever is said of what was shown.
    for answer in [Answer::No(WhyNot::Ended), Answer::No(WhyNot::Unasked), Answer::Away] {
        scripted.says(answer);
        let who = by_http(&auth, FAR, shown, SOME).await.unwrap();
        assert!(who.is_nobody() && views(&who, "lobby") && !views(&who, "door"));
    }
    let asked = scripted.times();
    let who = by_http(&auth, FAR, Presented::Nothing, SOME).await.unwrap();
    assert!(who.is_nobody() && views(&who, "lobby"));
    assert_eq!(scripted.times(), asked, "whoever shows nothing is not asked about");
}

#[tokio::test]
async fn in_a_trusted_network_a_token_is_somebody() {
    let (scripted, auth) = world(&["read lobby"]);
    let shown = Presented::Token("a.b.c");
    scripted.says(yes("operate *"));
    let who = by_http(&auth, "10.9.0.2", shown, SOME).await.unwrap();
    assert_eq!(who.name(), "anna");
    assert!(may(&who, Action::Operate, Object::Program).is_allowed() && views(&who, "yard"));
    for answer in [Answer::No(WhyNot::Ended), Answer::Away] {
        scripted.says(answer);
        let who = by_http(&auth, "10.9.0.2", shown, SOME).await.unwrap();
        assert_eq!(who, Principal::Near { replays: false });
    }
    // Nobody gets the rights of the network by what is for everybody.
    scripted.says(yes("view door"));
    let who = by_http(&auth, FAR, shown, SOME).await.unwrap();
    assert!(!may(&who, Action::Publish, Object::Some).is_allowed());
}
