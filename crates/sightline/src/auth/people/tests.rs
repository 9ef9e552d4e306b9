//! What may change, whose a credential is, and each limit.

use std::net::IpAddr;
use std::sync::atomic::AtomicI64;

use media::WallTime;
use media::stats::GrantId;

use super::*;
use crate::auth::{Object, Presented};
use crate::secret::Secret;

const REMOTE: &str = "192.0.2.1";

fn at(seconds: i64) -> WallTime {
    WallTime::from_unix_micros((1_800_000_000 + seconds) * 1_000_000)
}

fn remote() -> IpAddr {
    REMOTE.parse().unwrap()
}

fn change(people: &mut People, change: &Change) -> Result<(), Refused> {
    people.check(change)?;
    people.apply(change);
    Ok(())
}

fn new_user(name: &str, role: &str, streams: &str) -> Change {
    Change::AddUser {
        name: name.into(),
        hash: None,
        role: role.into(),
        streams: streams.split_whitespace().map(|word| word.parse().unwrap()).collect(),
        at: at(0),
    }
}

fn add(people: &mut People, name: &str, role: &str) -> UserId {
    let id = people.next_user();
    change(people, &new_user(name, role, "*")).unwrap();
    id
}

fn session(owner: Owner, number: u32, seen: WallTime) -> Arc<Session> {
    Arc::new(Session {
        sum: Sum::of(&number.to_be_bytes()),
        owner,
        made_at: at(0),
        seen_us: AtomicI64::new(seen.unix_micros()),
        ends_at: at(0).offset_micros(SESSION_US),
        remote: remote(),
        agent: "".into(),
        kept: true,
    })
}

fn token(user: UserId, secret: &str, rights: &str) -> Arc<Token> {
    Arc::new(Token {
        sum: Sum::of(secret.as_bytes()),
        user,
        name: "script".into(),
        rights: rights.parse().unwrap(),
        networks: Vec::new(),
        made_at: at(0),
        ends_at: at(100),
        used_us: AtomicI64::new(0),
    })
}

fn link(kind: LinkKind, number: u32, role: &str) -> Arc<Link> {
    Arc::new(Link {
        sum: Sum::of(&number.to_be_bytes()),
        kind,
        role: role.into(),
        streams: vec![Streams::All],
        by: None,
        ends_at: at(100),
        uses_left: 1,
        hash: None,
    })
}

fn use_link(number: u32, name: &str, seconds: i64) -> Change {
    Change::UseLink {
        link: Sum::of(&number.to_be_bytes()),
        name: name.into(),
        hash: Arc::new(
            Hash::read("$argon2id$v=19$m=4096,t=3,p=1$c2FsdHNhbHQ$6DlZ2SZ8wgr78bIgqStn1a2pGrFKUu3GocrmkBm/dHQ")
                .unwrap(),
        ),
        at: at(seconds),
    }
}

use crate::auth::Hash;

#[test]
fn names_are_given_once_however_they_are_spelled() {
    let mut people = People::default();
    let anna = add(&mut people, "Anna", "viewer");
    let taken = change(&mut people, &new_user("anna", "viewer", "*"));
    assert_eq!(taken, Err(Refused::NameTaken("anna".into())));
    assert_eq!(people.named("ANNA").unwrap().id, anna);
    change(&mut people, &Change::RemoveUser(anna)).unwrap();
    assert_ne!(add(&mut people, "anna", "viewer"), anna, "a number is given once");
    for wrong in [
        "",
        " a",
        "a ",
        "a:b",
        "a/b",
        "a\nb",
        "a\u{202e}b",
        "a\u{2066}b",
        "a\u{ad}b",
        &"x".repeat(65),
    ] {
        let refused = change(&mut people, &new_user(wrong, "viewer", "*"));
        assert!(matches!(refused, Err(Refused::NameWrong(_))), "{wrong:?}");
    }
    for taken in ["Nobody", "share", "anna (doorbell)"] {
        let refused = change(&mut people, &new_user(taken, "viewer", "*"));
        assert!(matches!(refused, Err(Refused::NameTaken(_))), "{taken:?}");
    }
    for right in ["Nguyễn Văn An", "anna@example.com", "admin"] {
        change(&mut people, &new_user(right, "viewer", "*")).unwrap();
    }
}

#[test]
fn rights_follow_the_role() {
    let mut people = People::default();
    let rights: Rights = "view door ; operate yard".parse().unwrap();
    let role = |rights: &Rights| Change::SetRole {
        name: "guard".into(),
        rights: rights.clone(),
    };
    let refused = change(&mut people, &new_user("anna", "guard", "*"));
    assert_eq!(refused, Err(Refused::NoSuchRole("guard".into())));
    change(&mut people, &role(&rights)).unwrap();
    let anna = add(&mut people, "anna", "guard");
    assert_eq!(people.user(anna).unwrap().rights, rights);
    let more: Rights = "viewer".parse().unwrap();
    change(&mut people, &role(&more)).unwrap();
    assert_eq!(people.user(anna).unwrap().rights, more);
    let in_use = change(&mut people, &Change::RemoveRole("guard".into()));
    assert_eq!(in_use, Err(Refused::RoleInUse("guard".into())));
    change(&mut people, &new_user("ben", "guard", "door")).unwrap();
    let ben = people.named("ben").unwrap();
    let may = |name: &str| ben.rights.may(Action::View, Object::Stream(&name.parse().unwrap()));
    assert!(may("door") && !may("garden"), "of its role, for its streams");
    let fixed = Change::SetRole {
        name: "admin".into(),
        rights: more,
    };
    assert_eq!(change(&mut people, &fixed), Err(Refused::RoleFixed("admin".into())));
}

#[test]
fn the_last_admin_stays_one() {
    let mut people = People::default();
    let anna = add(&mut people, "anna", "admin");
    let less = |user, disabled, role: &str| Change::SetUser {
        user,
        role: role.into(),
        streams: vec![Streams::All],
        disabled,
    };
    let last = Err(Refused::LastAdmin("anna".into()));
    assert_eq!(change(&mut people, &less(anna, false, "viewer")), last);
    assert_eq!(change(&mut people, &less(anna, true, "admin")), last);
    assert_eq!(change(&mut people, &Change::RemoveUser(anna)), last);
    assert_eq!(
        change(&mut people, &new_user("ben", "admin", "door")),
        Err(Refused::AdminOfSome)
    );
    add(&mut people, "ben", "admin");
    change(&mut people, &less(anna, true, "admin")).unwrap();
    assert!(people.has_admin());
}

#[test]
fn a_token_may_what_it_was_given_and_its_owner_may_now() {
    let mut people = People::default();
    let anna = add(&mut people, "anna", "operator");
    change(
        &mut people,
        &Change::AddToken(token(anna, "slt_a", "view,operate door ; administer")),
    )
    .unwrap();
    let find = |people: &People, shown| people.find(shown, remote(), at(1));
    let shown = Presented::Token("slt_a");
    let grant = find(&people, shown).unwrap();
    let door = "door".parse().unwrap();
    let may = |grant: &Grant, action| grant.rights.may(action, Object::Stream(&door));
    assert!(may(&grant, Action::Operate) && !may(&grant, Action::Publish));
    assert!(
        !grant.rights.may(Action::Administer, Object::Program),
        "its owner may not"
    );
    let basic = Presented::Basic {
        user: "x",
        password: "slt_a",
    };
    assert_eq!(find(&people, basic), Some(grant.clone()));
    assert_eq!(find(&people, Presented::Token("slt_b")), None);
    assert_eq!(people.find(shown, remote(), at(100)), None, "it ended");
    let set = |disabled| Change::SetUser {
        user: anna,
        role: "viewer".into(),
        streams: vec![Streams::All],
        disabled,
    };
    change(&mut people, &set(false)).unwrap();
    assert!(!may(&people.renewed(&grant, at(1)).unwrap(), Action::Operate));
    change(&mut people, &set(true)).unwrap();
    assert_eq!((find(&people, shown), people.renewed(&grant, at(1))), (None, None));
}

#[test]
fn a_token_counts_from_its_networks_alone() {
    let mut people = People::default();
    let anna = add(&mut people, "anna", "viewer");
    let token = Token {
        networks: vec!["10.0.0.0/8".parse().unwrap()],
        ..Arc::into_inner(token(anna, "slt_a", "viewer")).unwrap()
    };
    change(&mut people, &Change::AddToken(Arc::new(token))).unwrap();
    let find = |remote: &str| people.find(Presented::Token("slt_a"), remote.parse().unwrap(), at(1));
    assert!(find("10.1.2.3").is_some() && find(REMOTE).is_none());
}

#[test]
fn what_began_with_a_token_counts_from_its_networks_alone() {
    let mut people = People::default();
    let anna = add(&mut people, "anna", "viewer");
    let own = Token {
        networks: vec!["192.0.2.0/24".parse().unwrap()],
        ..Arc::into_inner(token(anna, "slt_a", "viewer")).unwrap()
    };
    let sum = own.sum;
    change(&mut people, &Change::AddToken(Arc::new(own))).unwrap();
    let from = |address: &str| people.by_sum(sum, Some(address.parse().unwrap()), at(1)).is_some();
    assert_eq!((from(REMOTE), from("198.51.100.1")), (true, false));
}

#[test]
fn a_players_password_is_shown_with_its_users_name() {
    let mut people = People::default();
    let anna = add(&mut people, "anna", "viewer");
    let player = Player {
        secret: Secret::new("of-players"),
    };
    change(&mut people, &Change::SetPlayer(anna, Some(player))).unwrap();
    let verify = |password: &str| password == "of-players";
    let digest = |user| Presented::Digest { user, verify: &verify };
    let basic = |user, password| Presented::Basic { user, password };
    let find = |presented| people.find(presented, remote(), at(1)).map(|grant| grant.kind);
    assert_eq!(find(digest("anna")), Some(GrantKind::Player));
    assert_eq!(find(basic("anna", "of-players")), Some(GrantKind::Player));
    assert_eq!((find(digest("ben")), find(basic("anna", "x"))), (None, None));
    assert_eq!(find(Presented::Token("of-players")), None);
    let grant = people.find(digest("anna"), remote(), at(1)).unwrap();
    let again = Player {
        secret: Secret::new("another"),
    };
    change(&mut people, &Change::SetPlayer(anna, Some(again))).unwrap();
    assert_eq!(people.renewed(&grant, at(1)), None, "the password before is void");
}

#[test]
fn a_session_is_over_at_its_end_or_when_nobody_uses_it() {
    let mut people = People::default();
    let anna = add(&mut people, "anna", "viewer");
    let begun = session(Owner::User(anna), 1, at(0));
    change(&mut people, &Change::Begin(Arc::clone(&begun))).unwrap();
    let is_there = |people: &People, now| people.session(begun.sum, now).is_some();
    let idle = at(0).offset_micros(IDLE_US);
    assert!(is_there(&people, at(1)) && !is_there(&people, idle));
    begun.see(at(1));
    assert!(is_there(&people, idle));
    begun.see(at(0).offset_micros(SESSION_US));
    assert!(!is_there(&people, at(0).offset_micros(SESSION_US)));
    change(&mut people, &Change::Expire(at(0).offset_micros(SESSION_US))).unwrap();
    assert_eq!(people.sessions().count(), 0);
}

#[test]
fn whoever_is_not_let_in_any_more_has_no_session_and_begins_none() {
    let mut people = People::default();
    let anna = add(&mut people, "anna", "viewer");
    let begin = || Change::Begin(session(Owner::User(anna), 1, at(0)));
    let set = |disabled| Change::SetUser {
        user: anna,
        role: "viewer".into(),
        streams: vec![Streams::All],
        disabled,
    };
    change(&mut people, &begin()).unwrap();
    change(&mut people, &set(true)).unwrap();
    assert_eq!(change(&mut people, &begin()), Err(Refused::Gone));
    change(&mut people, &set(false)).unwrap();
    assert_eq!(people.sessions().count(), 0, "it does not come back");
    change(&mut people, &Change::RemoveUser(anna)).unwrap();
    assert_eq!(change(&mut people, &begin()), Err(Refused::Gone));
}

#[test]
fn another_password_ends_all_sessions_but_one() {
    let mut people = People::default();
    let (anna, ben) = (add(&mut people, "anna", "viewer"), add(&mut people, "ben", "viewer"));
    for (number, owner) in [(1, anna), (2, anna), (3, ben)] {
        change(&mut people, &Change::Begin(session(Owner::User(owner), number, at(0)))).unwrap();
    }
    let Change::UseLink { hash, .. } = use_link(1, "", 0) else {
        unreachable!()
    };
    let but = Some(Sum::of(&1_u32.to_be_bytes()));
    change(&mut people, &Change::SetPassword { user: anna, hash, but }).unwrap();
    let mut left: Vec<GrantId> = people.sessions().map(|session| session.id()).collect();
    left.sort_unstable();
    let mut expected = [1_u32, 3].map(|number| Sum::of(&number.to_be_bytes()).id());
    expected.sort_unstable();
    assert_eq!(left, expected);
    change(&mut people, &Change::RemoveUser(ben)).unwrap();
    assert_eq!(people.sessions().count(), 1);
}

#[test]
fn links_are_used_once_and_the_first_run_while_there_is_no_admin() {
    let mut people = People::default();
    change(&mut people, &Change::AddLink(link(LinkKind::FirstRun, 1, "admin"))).unwrap();
    change(&mut people, &Change::AddLink(link(LinkKind::Invitation, 2, "viewer"))).unwrap();
    change(&mut people, &Change::AddLink(link(LinkKind::FirstRun, 3, "admin"))).unwrap();
    assert_eq!(
        change(&mut people, &use_link(1, "anna", 100)),
        Err(Refused::LinkSpent),
        "it is over"
    );
    change(&mut people, &use_link(1, "anna", 1)).unwrap();
    assert!(people.named("anna").unwrap().administers());
    assert_eq!(
        change(&mut people, &use_link(1, "eve", 1)),
        Err(Refused::LinkSpent),
        "it was used"
    );
    assert_eq!(
        change(&mut people, &use_link(3, "eve", 1)),
        Err(Refused::LinkSpent),
        "there is an admin"
    );
    assert_eq!(
        change(&mut people, &use_link(2, "anna", 1)),
        Err(Refused::NameTaken("anna".into()))
    );
    change(&mut people, &use_link(2, "ben", 1)).unwrap();
    assert!(!people.named("ben").unwrap().administers());
    assert_eq!(
        change(&mut people, &use_link(4, "eve", 1)),
        Err(Refused::LinkSpent),
        "there is none such"
    );
}

#[test]
fn an_invitation_is_good_while_who_made_it_administers() {
    let mut people = People::default();
    let [anna, ben] = ["anna", "ben"].map(|name| add(&mut people, name, "admin"));
    let invitation = Link {
        by: Some(anna),
        ..Link::clone(&link(LinkKind::Invitation, 1, "admin"))
    };
    change(&mut people, &Change::AddLink(Arc::new(invitation))).unwrap();
    let set = |user, role: &str, disabled| Change::SetUser {
        user,
        role: role.into(),
        streams: vec![Streams::All],
        disabled,
    };
    for (role, disabled) in [("operator", false), ("admin", true)] {
        change(&mut people, &set(anna, role, disabled)).unwrap();
        assert_eq!(change(&mut people, &use_link(1, "eve", 1)), Err(Refused::LinkSpent));
    }
    change(&mut people, &set(anna, "admin", false)).unwrap();
    change(&mut people, &set(ben, "viewer", false)).unwrap();
    change(&mut people, &use_link(1, "carl", 1)).unwrap();
}

#[test]
fn a_share_is_never_more_than_who_made_it_may_now() {
    let mut people = People::default();
    let anna = add(&mut people, "anna", "operator");
    let share = Link {
        by: Some(anna),
        streams: vec!["door".parse().unwrap()],
        ..Link::clone(&link(LinkKind::Share, 1, "viewer"))
    };
    let sum = share.sum;
    change(&mut people, &Change::AddLink(Arc::new(share))).unwrap();
    let grant = people.by_sum(sum, None, at(1)).unwrap();
    let sees = |grant: &Grant, name: &str| grant.rights.may(Action::View, Object::Stream(&name.parse().unwrap()));
    assert!(sees(&grant, "door") && !sees(&grant, "yard"));
    assert_eq!(people.by_sum(sum, None, at(100)), None, "it ended");
    let less = Change::SetUser {
        user: anna,
        role: "viewer".into(),
        streams: vec!["yard".parse().unwrap()],
        disabled: false,
    };
    change(&mut people, &less).unwrap();
    assert!(!sees(&people.renewed(&grant, at(1)).unwrap(), "door"));
    change(&mut people, &Change::RemoveUser(anna)).unwrap();
    assert_eq!(people.renewed(&grant, at(1)), None);
}

#[test]
fn everything_that_grows_has_a_limit() {
    let mut people = People::default();
    let anna = add(&mut people, "anna", "viewer");
    let limited = |result: Result<(), Refused>, most: usize| {
        assert!(
            matches!(result, Err(Refused::Limit { limit, .. }) if limit == most),
            "{result:?}"
        );
    };
    for number in 1..MAX_USERS {
        people.apply(&new_user(&format!("u{number}"), "viewer", "*"));
    }
    limited(change(&mut people, &new_user("one more", "viewer", "*")), MAX_USERS);
    let role = |number: usize| Change::SetRole {
        name: format!("r{number}").into(),
        rights: Rights::none(),
    };
    (0..MAX_ROLES).for_each(|number| change(&mut people, &role(number)).unwrap());
    limited(change(&mut people, &role(MAX_ROLES)), MAX_ROLES);
    change(&mut people, &role(0)).unwrap();
    let tokens = |people: &mut People, user: UserId, count: usize| {
        (0..count).try_for_each(|number| {
            change(
                people,
                &Change::AddToken(token(user, &format!("slt_{}-{number}", user.0), "viewer")),
            )
        })
    };
    tokens(&mut people, anna, MAX_TOKENS_EACH).unwrap();
    limited(tokens(&mut people, anna, MAX_TOKENS_EACH + 1), MAX_TOKENS_EACH);
    let users: Vec<UserId> = people.users().map(|user| user.id).collect();
    let all: Result<(), Refused> = users[1..]
        .iter()
        .try_for_each(|user| tokens(&mut people, *user, MAX_TOKENS_EACH));
    limited(all, MAX_TOKENS);
    (0..MAX_LINKS as u32).for_each(|number| {
        change(
            &mut people,
            &Change::AddLink(link(LinkKind::Invitation, number, "viewer")),
        )
        .unwrap();
    });
    limited(
        change(
            &mut people,
            &Change::AddLink(link(LinkKind::Invitation, 9_999, "viewer")),
        ),
        MAX_LINKS,
    );
    let data: Arc<str> = "x".repeat(MAX_PREFERENCES_BYTES + 1).into();
    limited(
        change(&mut people, &Change::SetPreferences(anna, data)),
        MAX_PREFERENCES_BYTES + 1,
    );
    let many = vec!["door".parse().unwrap(); MAX_STREAMS + 1];
    let set = |streams| Change::SetUser {
        user: anna,
        role: "viewer".into(),
        streams,
        disabled: false,
    };
    limited(change(&mut people, &set(many)), MAX_STREAMS + 1);
    let spaced = vec!["~^a b".parse().unwrap()];
    assert!(matches!(
        change(&mut people, &set(spaced)),
        Err(Refused::StreamsWrong(_))
    ));
}

#[test]
fn as_many_watch_a_share_as_may_and_its_printed_token_is_everybodys() {
    let mut people = People::default();
    let share = Link {
        uses_left: 30,
        ..Link::clone(&link(LinkKind::Share, 1, "view"))
    };
    let hex: String = share.sum.0.iter().map(|byte| format!("{byte:02x}")).collect();
    change(&mut people, &Change::AddLink(Arc::new(share))).unwrap();
    let owner = Owner::Credential(format!("grant:{hex}").into());
    let begin = |number, seen| Change::Begin(session(owner.clone(), number, at(seen)));
    for number in 1..=30 {
        change(&mut people, &begin(number, 0)).unwrap();
    }
    assert_eq!(people.sessions().count(), 30, "none is ended by another");
    assert_eq!(change(&mut people, &begin(31, 0)), Err(Refused::ShareFull(30)));
    let first = people.session(Sum::of(&1_u32.to_be_bytes()), at(1)).unwrap();
    first
        .seen_us
        .store(at(-400).unix_micros(), std::sync::atomic::Ordering::Relaxed);
    change(&mut people, &begin(31, 0)).unwrap();
    assert_eq!(people.sessions().count(), 30, "whoever went made room");
    assert!(people.session(Sum::of(&1_u32.to_be_bytes()), at(1)).is_none());
    for number in 100..200 {
        let owner = Owner::Credential(format!("role:viewer:{number}").into());
        change(&mut people, &Change::Begin(session(owner, number, at(0)))).unwrap();
    }
    assert_eq!(people.sessions().count(), 130);
}

#[test]
fn of_one_session_too_many_the_oldest_goes() {
    let mut people = People::default();
    let anna = add(&mut people, "anna", "viewer");
    for number in 0..=MAX_SESSIONS_EACH as u32 {
        let begun = session(Owner::User(anna), number, at(i64::from(number)));
        change(&mut people, &Change::Begin(begun)).unwrap();
    }
    assert_eq!(people.sessions().count(), MAX_SESSIONS_EACH);
    assert!(
        people.session(Sum::of(&0_u32.to_be_bytes()), at(1)).is_none(),
        "it was used longest ago"
    );
    for number in 100..MAX_SESSIONS as u32 + 200 {
        let begun = session(
            Owner::Credential(format!("user:{number}:x").into()),
            number,
            at(i64::from(number)),
        );
        let gone = people.displaced_by(&begun);
        Arc::make_mut(&mut people.sessions).retain(|sum, _| !gone.contains(sum));
        Arc::make_mut(&mut people.sessions).insert(begun.sum, begun);
    }
    assert_eq!(people.sessions().count(), MAX_SESSIONS);
}
