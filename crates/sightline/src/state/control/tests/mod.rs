//! The file: what was answered is there, what was not is whole or absent, and what happens when it cannot be written or read.

mod kills;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicI64;

use media::{Clock, WallTime};
use proptest::prelude::*;
use testkit::clock::SimClock;
use tokio::sync::watch;

use super::schema::{self, Unreadable};
use super::thread::{Control, NotDone, Store};
use super::{Entry, Outcome, Query, read};
use crate::auth::Hash;
use crate::auth::people::{Change, Link, LinkKind, Owner, People, Player, SESSION_US, Session, Sum, Token, UserId};
use crate::secret::Secret;

/// Of `testpass`.
const HASH: &str = "$argon2id$v=19$m=4096,t=3,p=1$c2FsdHNhbHQ$6DlZ2SZ8wgr78bIgqStn1a2pGrFKUu3GocrmkBm/dHQ";

fn clock() -> Arc<dyn Clock> {
    Arc::new(SimClock::new())
}

fn now() -> WallTime {
    SimClock::new().wall()
}

fn hash() -> Arc<Hash> {
    Arc::new(Hash::read(HASH).unwrap())
}

fn sum(number: u32) -> Sum {
    Sum::of(&number.to_be_bytes())
}

fn session(owner: Owner, number: u32) -> Arc<Session> {
    session_from(owner, number, "Mozilla/5.0 ậ")
}

fn session_from(owner: Owner, number: u32, agent: &str) -> Arc<Session> {
    Arc::new(Session {
        sum: sum(number),
        owner,
        made_at: now(),
        seen_us: AtomicI64::new(now().unix_micros()),
        ends_at: now().offset_micros(SESSION_US),
        remote: "2001:db8::1".parse().unwrap(),
        agent: agent.into(),
        kept: true,
    })
}

fn add_user(name: &str, role: &str) -> Change {
    Change::AddUser {
        name: name.into(),
        hash: Some(hash()),
        role: role.into(),
        streams: vec!["door".parse().unwrap(), "~^yard/".parse().unwrap()],
        at: now(),
    }
}

fn token(user: UserId, number: u32) -> Change {
    Change::AddToken(Arc::new(Token {
        sum: sum(number),
        user,
        name: "a script".into(),
        rights: "view,operate door ; replay ~^yard/".parse().unwrap(),
        networks: vec!["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()],
        made_at: now(),
        ends_at: now().offset_micros(SESSION_US),
        used_us: AtomicI64::new(0),
    }))
}

fn link(kind: LinkKind, number: u32, by: Option<UserId>) -> Change {
    Change::AddLink(Arc::new(Link {
        sum: sum(number),
        kind,
        role: "viewer".into(),
        streams: vec!["door".parse().unwrap()],
        by,
        ends_at: now().offset_micros(SESSION_US),
        uses_left: 2,
        hash: (kind == LinkKind::Share).then(hash),
    }))
}

/// Some of everything, one after the other.
fn changes() -> Vec<Change> {
    let (anna, ben) = (UserId(1), UserId(2));
    vec![
        add_user("anna", "operator"),
        add_user("ben", "viewer"),
        Change::SetRole {
            name: "guard of the yard".into(),
            rights: "view,operate ~^yard/ ; publish door".parse().unwrap(),
        },
        Change::Begin(session(Owner::User(anna), 1)),
        Change::Begin(session(Owner::User(anna), 2)),
        Change::Begin(session(Owner::Credential("role:admin:00".into()), 3)),
        token(anna, 10),
        token(ben, 11),
        Change::SetPlayer(
            anna,
            Some(Player {
                secret: Secret::new("of players"),
            }),
        ),
        link(LinkKind::Invitation, 20, None),
        link(LinkKind::Share, 21, Some(anna)),
        Change::UseLink {
            link: sum(20),
            name: "carl".into(),
            hash: hash(),
            at: now(),
        },
        Change::Begin(session(Owner::User(ben), 5)),
        Change::SetUser {
            user: ben,
            role: "guard of the yard".into(),
            streams: vec!["*".parse().unwrap()],
            disabled: true,
        },
        Change::SetPreferences(anna, "{\"theme\":\"dark\"}".into()),
        Change::SetPassword {
            user: anna,
            hash: hash(),
            but: Some(sum(2)),
        },
        Change::Revoke(sum(10)),
        Change::End(sum(2)),
        Change::Begin(session(Owner::User(UserId(3)), 4)),
        Change::UseLink {
            link: sum(20),
            name: "dora".into(),
            hash: hash(),
            at: now(),
        },
        Change::EndAll {
            owner: Owner::Credential("role:admin:00".into()),
            but: None,
        },
        Change::RemoveUser(ben),
        Change::SetPlayer(anna, None),
        Change::RemoveLink(sum(21)),
        Change::RemoveRole("guard of the yard".into()),
    ]
}

/// What writes, without its thread.
fn store(path: &Path) -> Store {
    let connection = schema::open(path).unwrap();
    let people = read::everybody(&connection).unwrap();
    Store {
        file: Some((connection, path.to_owned())),
        told: watch::channel(Arc::new(people)).0,
        clock: clock(),
        unreadable: None,
        seen_us: 0,
        notes: Arc::default(),
        copy_tried_us: i64::MIN,
    }
}

fn people(store: &Store) -> People {
    People::clone(&store.told.borrow())
}

fn read_again(path: &Path) -> People {
    read::everybody(&schema::open(path).unwrap()).unwrap()
}

#[test]
fn what_is_read_again_is_what_there_was() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(schema::FILE);
    let mut store = store(&path);
    for change in changes() {
        store
            .change(&change)
            .unwrap_or_else(|error| panic!("{change:?}: {error}"));
        assert_eq!(read_again(&path), people(&store), "{change:?}");
    }
    assert_eq!(people(&store).users().count(), 3);
}

proptest! {
    /// In any order, with what is refused among it.
    #[test]
    fn memory_and_file_stay_the_same(order in prop::collection::vec(any::<prop::sample::Index>(), 1..60)) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(schema::FILE);
        let mut store = store(&path);
        // Durability is not at stake here, and each sync takes milliseconds.
        store.file.as_ref().unwrap().0.execute_batch("PRAGMA synchronous = OFF").unwrap();
        let changes = changes();
        for index in order {
            let before = people(&store);
            if let Err(error) = store.change(index.get(&changes)) {
                // Two sessions of one cookie are no more than what the table refuses.
                prop_assert!(matches!(error, NotDone::Refused(_) | NotDone::Failed(_)), "{error}");
                if !matches!(index.get(&changes), Change::Begin(_)) {
                    prop_assert_eq!(&people(&store), &before);
                }
            }
        }
        let kept = |people: &People| people.users().map(|user| user.name.clone()).collect::<Vec<_>>();
        prop_assert_eq!(kept(&read_again(&path)), kept(&people(&store)));
    }
}

#[test]
fn nothing_that_is_shown_stands_in_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let (token, sum) = crate::auth::secrets::token().unwrap();
    let (password, name) = ("canary password of anna", "anna");
    let control = Control::open(folder.path(), clock()).unwrap();
    let hash = Arc::new(crate::auth::secrets::hash(password).unwrap());
    let add = Change::AddUser {
        name: name.into(),
        hash: Some(hash),
        role: "admin".into(),
        streams: vec!["*".parse().unwrap()],
        at: now(),
    };
    control.change_now(add).unwrap();
    let Change::AddToken(one) = self::token(UserId(1), 1) else {
        unreachable!()
    };
    let one = Token {
        sum,
        ..Arc::into_inner(one).unwrap()
    };
    control.change_now(Change::AddToken(Arc::new(one))).unwrap();
    control.close();
    for entry in std::fs::read_dir(folder.path()).unwrap() {
        let path = entry.unwrap().path();
        let bytes = std::fs::read(&path).unwrap();
        let holds = |text: &str| bytes.windows(text.len()).any(|window| window == text.as_bytes());
        assert!(!holds(password) && !holds(token.expose()), "{}", path.display());
    }
}

#[test]
fn where_the_disk_is_full_one_signs_in_and_nothing_else_changes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(schema::FILE);
    let mut store = store(&path);
    store.change(&add_user("anna", "viewer")).unwrap();
    let full = |store: &Store, is_full: bool| {
        let connection = &store.file.as_ref().unwrap().0;
        let pages: i64 = connection.query_row("PRAGMA page_count", [], |row| row.get(0)).unwrap();
        let most = if is_full { pages } else { 1 << 30 };
        connection
            .query_row(&format!("PRAGMA max_page_count = {most}"), [], |_| Ok(()))
            .unwrap();
    };
    full(&store, true);
    // Pages have room for a few rows yet.
    let mut number = 100;
    let refused = loop {
        match store.change(&token(UserId(1), number)) {
            Ok(()) => number += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(refused, NotDone::NoRoom);
    let begun = (0..19).map(|number| {
        let begun = session_from(Owner::User(UserId(1)), number, &"x".repeat(1_000));
        store.change(&Change::Begin(begun)).unwrap();
        people(&store).session(sum(number), now()).unwrap().kept
    });
    let kept: Vec<bool> = begun.collect();
    assert!(kept.contains(&false), "{kept:?}");
    let unkept = u32::try_from(kept.iter().position(|kept| !kept).unwrap()).unwrap();
    store.change(&Change::End(sum(unkept))).unwrap();
    assert!(people(&store).session(sum(unkept), now()).is_none(), "who goes is gone");
    full(&store, false);
    store.change(&token(UserId(1), number)).unwrap();
}

#[test]
fn one_that_cannot_be_read_stays_as_it_is_and_says_the_way_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(schema::FILE);
    std::fs::write(&path, b"no database at all").unwrap();
    let unreadable = Control::open(folder.path(), clock()).unwrap_err();
    assert!(matches!(unreadable, Unreadable::Damaged { .. }));
    assert!(
        unreadable.to_string().contains("sightline state restore"),
        "{unreadable}"
    );
    assert_eq!(std::fs::read(&path).unwrap(), b"no database at all");
    let control = Control::without(unreadable.clone(), clock());
    let refused = control.change_now(add_user("anna", "viewer"));
    assert_eq!(refused, Err(NotDone::Unreadable(unreadable)));
    let owner = Owner::Credential("role:admin:00".into());
    control.change_now(Change::Begin(session(owner, 1))).unwrap();
    assert!(!control.now().session(sum(1), now()).unwrap().kept, "in memory alone");
}

#[test]
fn a_row_that_cannot_be_is_damage() {
    for wrong in [
        "UPDATE user SET hash = 'x'",
        "UPDATE user SET streams = '~('",
        "UPDATE session SET remote = 'nowhere'",
        "UPDATE session SET hash = x'00'",
        "UPDATE session SET user = NULL, credential = NULL",
        "UPDATE token SET rights = 'everything'",
        "UPDATE link SET kind = 'x'",
        "UPDATE role SET rights = ''",
    ] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(schema::FILE);
        let mut store = store(&path);
        for change in &changes()[..11] {
            store.change(change).unwrap();
        }
        let changed = store.file.as_ref().unwrap().0.execute(wrong, []);
        // Two sessions of one sum the table refuses by itself.
        if changed.is_ok() {
            let unreadable = Control::open(folder.path(), clock()).unwrap_err();
            assert!(
                matches!(unreadable, Unreadable::Damaged { .. }),
                "{wrong}: {unreadable}"
            );
        }
    }
}

#[test]
fn a_newer_file_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(schema::FILE);
    schema::open(&path)
        .unwrap()
        .pragma_update(None, "user_version", 99)
        .unwrap();
    let unreadable = Control::open(folder.path(), clock()).unwrap_err();
    assert!(
        matches!(unreadable, Unreadable::Newer { found: 99, .. }),
        "{unreadable}"
    );
}

#[tokio::test]
async fn a_copy_is_made_once_a_day() {
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("control.db.copy");
    let control = Control::open(folder.path(), clock()).unwrap();
    control.change(add_user("anna", "viewer")).await.unwrap();
    control.close();
    assert!(copy.exists(), "there was none");
    let control = Control::open(folder.path(), clock()).unwrap();
    let old = std::time::SystemTime::now() - std::time::Duration::from_secs(90_000);
    control.change(add_user("ben", "viewer")).await.unwrap();
    control.close();
    assert!(read_again(&copy).named("ben").is_none(), "not a day old");
    std::fs::File::options()
        .write(true)
        .open(&copy)
        .unwrap()
        .set_modified(old)
        .unwrap();
    let control = Control::open(folder.path(), clock()).unwrap();
    control.change(add_user("carl", "viewer")).await.unwrap();
    control.close();
    assert!(read_again(&copy).named("ben").is_some());
}

#[test]
fn a_copy_that_fails_is_not_tried_again_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(schema::FILE);
    let copy = folder.path().join("control.db.copy");
    let clock = Arc::new(SimClock::new());
    let mut store = Store {
        clock: Arc::clone(&clock) as Arc<dyn Clock>,
        ..store(&path)
    };
    store.change(&add_user("anna", "viewer")).unwrap();
    // No file can be put in its place.
    std::fs::create_dir(&copy).unwrap();
    std::fs::write(copy.join("x"), b"x").unwrap();
    let old = std::time::SystemTime::now() - std::time::Duration::from_secs(90_000);
    std::fs::File::open(&copy).unwrap().set_modified(old).unwrap();
    store.copy();
    std::fs::remove_dir_all(&copy).unwrap();
    clock.advance(std::time::Duration::from_secs(3_599));
    store.copy();
    assert!(!copy.exists());
    clock.advance(std::time::Duration::from_secs(1));
    store.copy();
    assert!(copy.exists());
}

#[tokio::test]
async fn lines_of_the_audit_log_come_together_and_are_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let control = Control::open(folder.path(), clock()).unwrap();
    let entry = |who: &str, object: &str, seconds: i64| Entry {
        at: now().offset_micros(seconds * 1_000_000),
        who: who.to_owned(),
        remote: "192.0.2.1".to_owned(),
        action: "watch".to_owned(),
        object: object.to_owned(),
        detail: String::new(),
        result: Outcome::Done,
        times: 1,
    };
    for (who, object, seconds) in [
        ("anna", "door", 0),
        ("anna", "door", 30),
        ("ben", "door", 40),
        ("anna", "yard", 50),
        ("anna", "door", 70),
    ] {
        control.audit(entry(who, object, seconds)).await.unwrap();
    }
    let ask = |query: Query| async { control.audited(query).await.unwrap() };
    let all = ask(Query {
        limit: 10,
        ..Query::default()
    })
    .await;
    let told: Vec<_> = all.iter().map(|row| (&*row.who, &*row.object, row.times)).collect();
    assert_eq!(
        told,
        [
            ("anna", "door", 1),
            ("anna", "yard", 1),
            ("ben", "door", 1),
            ("anna", "door", 2)
        ]
    );
    let some = Query {
        who: Some("anna".to_owned()),
        object: Some("door".to_owned()),
        limit: 1,
        before: Some(all[0].id),
        ..Query::default()
    };
    let some = ask(some).await;
    assert_eq!((some.len(), some[0].id), (1, all[3].id));
}
