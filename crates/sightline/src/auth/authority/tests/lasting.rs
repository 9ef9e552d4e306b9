//! Who is still somebody on what is open for long: until the word for it ends, or is another's.

use super::*;

const NEAR: &str = "10.9.0.2";

/// As of somebody who has a feed open.
fn still(auth: &Auth, remote: &str, who: &Principal, wall: WallTime) -> Option<Result<Principal, Refusal>> {
    auth.still_vouched(who, remote.parse().unwrap(), Instant::now(), wall)
}

/// Another authority is in force, which has this excluded.
fn change(auth: &Auth, scripted: &Arc<Scripted>, exclude: &[&str]) {
    let exclude: Vec<Permission> = exclude.iter().map(|text| text.parse().unwrap()).collect();
    auth.set_rules(Rules {
        elsewhere: Some(Elsewhere::scripted(Arc::clone(scripted) as _, &exclude)),
        ..(*auth.rules()).clone()
    });
}

async fn anna(auth: &Auth, scripted: &Scripted, until: Option<WallTime>) -> Principal {
    let Answer::Yes(vouched) = yes("view door") else {
        panic!("it is a yes");
    };
    scripted.says(Answer::Yes(Vouched { until, ..vouched }));
    by_http(auth, FAR, Presented::Token("a.b.c"), Wants::Who).await.unwrap()
}

#[tokio::test]
async fn who_was_vouched_for_is_until_it_ends() {
    let (scripted, auth) = world(&[]);
    let now = clock().wall();
    let soon = now.offset_micros(1);
    let who = anna(&auth, &scripted, Some(soon)).await;
    assert_eq!(still(&auth, FAR, &who, now), Some(Ok(who.clone())));
    assert_eq!(still(&auth, FAR, &who, soon), Some(Err(Refusal::Wrong)));
    let who = anna(&auth, &scripted, None).await;
    assert_eq!(still(&auth, FAR, &who, soon), Some(Ok(who.clone())));
    assert_eq!(still(&auth, FAR, &Principal::Near { replays: false }, now), None);
    // By another one, or by none any more.
    change(&auth, &scripted, &[]);
    assert_eq!(still(&auth, FAR, &who, now), Some(Err(Refusal::Wrong)));
    let who = anna(&auth, &scripted, None).await;
    assert!(matches!(still(&auth, FAR, &who, now), Some(Ok(_))));
    auth.set_rules(Rules {
        elsewhere: None,
        ..(*auth.rules()).clone()
    });
    assert_eq!(still(&auth, FAR, &who, now), Some(Err(Refusal::Wrong)));
}

#[tokio::test]
async fn what_is_for_everybody_no_more_is_nobodys() {
    let (scripted, auth) = world(&["read"]);
    let now = clock().wall();
    scripted.says(Answer::No(WhyNot::Missing));
    let nobody = by_http(&auth, FAR, Presented::Nothing, Wants::Who).await.unwrap();
    assert_eq!(still(&auth, FAR, &nobody, now), Some(Ok(nobody.clone())));
    let who = anna(&auth, &scripted, None).await;
    let yard = "yard".parse::<StreamName>().unwrap();
    assert!(may(&who, Action::View, &yard).is_allowed());
    change(&auth, &scripted, &[]);
    for who in [&nobody, &who] {
        assert_eq!(still(&auth, FAR, who, now), Some(Err(Refusal::Wrong)));
    }
}

/// An account of whoever comes that is taken out of the file, with the authority as it was.
#[tokio::test]
async fn an_account_of_everybody_that_is_removed_is_nobodys() {
    let (scripted, auth) = world(&[]);
    let now = clock().wall();
    let before = auth.rules();
    let mut accounts = before.accounts.clone();
    accounts.push(Account {
        name: "everybody".into(),
        password: None,
        networks: Vec::new(),
        rights: "view lobby".parse::<Rights>().unwrap(),
    });
    auth.set_rules(Rules {
        accounts,
        ..(*before).clone()
    });
    scripted.says(Answer::No(WhyNot::Missing));
    let nobody = by_http(&auth, FAR, Presented::Nothing, Wants::Who).await.unwrap();
    assert_eq!(nobody.rights().to_string(), "view lobby");
    assert_eq!(still(&auth, FAR, &nobody, now), Some(Ok(nobody.clone())));
    auth.set_rules((*before).clone());
    assert_eq!(still(&auth, FAR, &nobody, now), Some(Err(Refusal::Missing)));
}

#[tokio::test]
async fn a_network_that_is_trusted_no_more_adds_nothing() {
    let (scripted, auth) = world(&[]);
    let now = clock().wall();
    scripted.says(yes("replay door"));
    let who = by_http(&auth, NEAR, Presented::Token("a.b.c"), Wants::Who)
        .await
        .unwrap();
    let door = "door".parse::<StreamName>().unwrap();
    assert_eq!(still(&auth, NEAR, &who, now), Some(Ok(who.clone())));
    assert!(may(&who, Action::Publish, &door).is_allowed());
    auth.set_rules(Rules {
        trusted_networks: Vec::new(),
        ..(*auth.rules()).clone()
    });
    let who = still(&auth, NEAR, &who, now).unwrap().unwrap();
    assert!(!may(&who, Action::Publish, &door).is_allowed());
    assert!(may(&who, Action::Replay, &door).is_allowed());
}
