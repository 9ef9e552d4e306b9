//! Who × action × address × mode, and the ways to show a credential.

use std::net::IpAddr;
use std::time::Instant;

use media::{StreamName, WallTime};
use rstest::rstest;
use testkit::clock::SimClock;
use tokio::sync::watch;

use super::people::{Change, People, SESSION_US, Session, Sum};
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

/// By what is ours alone.
fn rtsp(
    auth: &Auth,
    remote: IpAddr,
    presented: Presented<'_>,
    action: Action,
    stream: &StreamName,
    now: Instant,
) -> Result<Principal, Refusal> {
    let way = authority::Way::of(remote);
    auth.rtsp(&way, presented, action, stream, now).at_once()
}

const LOOPBACK: [&str; 3] = ["127.0.0.1", "::1", "::ffff:127.0.0.1"];
const TRUSTED: [&str; 2] = ["10.9.0.2", "::ffff:10.9.0.2"];
const ELSEWHERE: [&str; 3] = ["192.168.1.7", "2001:db8::7", "::ffff:10.9.1.2"];

/// Asks a fresh [`Auth`] about both actions RTSP knows.
fn ask(mode: &Mode, remote: &str, presented: Presented<'_>) -> [Result<(), Refusal>; 2] {
    [Action::View, Action::Publish].map(|action| {
        let auth = Auth::new(mode.clone(), trusted());
        let remote: IpAddr = remote.parse().unwrap();
        rtsp(
            &auth,
            remote,
            presented,
            action,
            &StreamName::default_stream(),
            Instant::now(),
        )
        .map(drop)
    })
}

fn forbidden(action: Action, needs: Role) -> Result<(), Refusal> {
    Err(Refusal::Forbidden(Decision::Deny { action, needs }))
}

#[test]
fn roles_and_actions() {
    let stream = StreamName::default_stream();
    let table = |who: Principal| {
        let may = |action| match may(&who, action, &stream).is_allowed() {
            true => 'x',
            false => '.',
        };
        Action::ALL.map(may).iter().collect::<String>()
    };
    // View, replay, publish, operate, erase, administer.
    for action in Action::ALL {
        let decided = |who: &Principal| (may(who, action, &stream), may(who, action, Object::Program));
        let (stream, program) = decided(&Principal::Known(Role::Viewer));
        assert_eq!(stream, program, "{action:?}");
    }
    assert_eq!(table(Principal::Known(Role::Admin)), "xxxxxx");
    assert_eq!(table(Principal::Known(Role::Operator)), "xxxxx.");
    assert_eq!(table(Principal::Known(Role::Publisher)), "..x...");
    assert_eq!(table(Principal::Known(Role::Viewer)), "xx....");
    for (replays, expected) in [(false, "x.x..."), (true, "xxx...")] {
        assert_eq!(table(Principal::Near { replays }), expected);
        assert_eq!(table(Principal::Anyone { replays }), expected);
    }
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
        let _ = rtsp(
            &auth,
            guesser,
            basic("viewer", &guess.to_string()),
            Action::View,
            &stream,
            now,
        );
    }
    let right = basic("viewer", "v-token");
    let braked = rtsp(&auth, guesser, right, Action::View, &stream, now);
    let Err(Refusal::Braked { wait }) = braked else {
        panic!("the guesser is not braked: {braked:?}");
    };
    assert!(rtsp(&auth, other, right, Action::View, &stream, now).is_ok());
    assert!(rtsp(&auth, guesser, right, Action::View, &stream, now + wait).is_ok());
    // Asking for a challenge is not guessing.
    for _ in 0..50 {
        let answer = rtsp(&auth, other, Presented::Nothing, Action::View, &stream, now);
        assert_eq!(answer, Err(Refusal::Missing));
    }
    assert!(rtsp(&auth, other, right, Action::View, &stream, now).is_ok());
}

#[test]
fn urls_carry_the_least_credential_that_does() {
    let auth = Auth::new(tokens(), Vec::new());
    let exposed = |role| {
        auth.credential(role)
            .map(|(user, secret)| (user, secret.expose().to_owned()))
    };
    assert_eq!(exposed(Role::Viewer), Some(("viewer", "v-token".to_owned())));
    assert_eq!(exposed(Role::Publisher), Some(("publisher", "p-token".to_owned())));
    assert_eq!(exposed(Role::Admin), Some(("admin", "a-token".to_owned())));
    assert_eq!(Auth::new(Mode::Open, Vec::new()).credential(Role::Viewer), None);
}

/// Who somebody is over HTTP who shows this.
fn http(
    mode: &Mode,
    remote: &str,
    presented: Presented<'_>,
    session: Option<Arc<Grant>>,
) -> Result<Principal, Refusal> {
    let auth = Auth::new(mode.clone(), trusted());
    auth.http(remote.parse().unwrap(), presented, session, Instant::now())
}

fn noon() -> WallTime {
    WallTime::from_unix_micros(1_800_000_000_000_000)
}

#[test]
fn http_from_this_machine_is_from_anywhere() {
    for remote in LOOPBACK.iter().chain(&ELSEWHERE) {
        for mode in [tokens(), single()] {
            assert_eq!(
                http(&mode, remote, Presented::Nothing, None),
                Err(Refusal::Missing),
                "{remote}"
            );
            assert_eq!(
                http(&mode, remote, Presented::Token("x"), None),
                Err(Refusal::Wrong),
                "{remote}"
            );
        }
        let viewer = Ok(Principal::Known(Role::Viewer));
        assert_eq!(
            http(&tokens(), remote, Presented::Token("v-token"), None),
            viewer,
            "{remote}"
        );
        assert_eq!(
            http(&tokens(), remote, basic("viewer", "v-token"), None),
            viewer,
            "{remote}"
        );
        assert_eq!(
            http(&Mode::Open, remote, Presented::Token("x"), None),
            Ok(Principal::Anyone { replays: true })
        );
    }
}

const NEAR: Principal = Principal::Near { replays: false };

/// Of this role, where none is needed.
fn beside(role: Role) -> Principal {
    Principal::Beside {
        known: Arc::new(Principal::Known(role)),
        replays: false,
    }
}

/// Whoever comes from there may not see what was; whoever shows something may do both.
#[test]
fn recordings_are_for_accounts_but_where_they_are_said_to_be_free() {
    let may_replay = |replay, mode: Mode, remote: &str, presented| {
        let auth = Auth::of(Rules {
            replay,
            ..(*Auth::new(mode, trusted()).rules()).clone()
        });
        let who = auth
            .http(remote.parse().unwrap(), presented, None, Instant::now())
            .unwrap();
        may(&who, Action::Replay, Object::Program).is_allowed()
    };
    for (replay, open, near) in [
        (Replay::WhereOpen, true, false),
        (Replay::Trusted, true, true),
        (Replay::Accounts, false, false),
    ] {
        let nothing = Presented::Nothing;
        assert_eq!(may_replay(replay, Mode::Open, ELSEWHERE[0], nothing), open, "{replay}");
        assert_eq!(may_replay(replay, tokens(), TRUSTED[0], nothing), near, "{replay}");
        assert!(may_replay(replay, tokens(), TRUSTED[0], Presented::Token("v-token")));
        assert_eq!(replay.to_string().parse(), Ok(replay));
    }
    assert!("all".parse::<Replay>().is_err());
}

/// Recordings are nothing that a camera of the server's own, or its settings, would be steered by.
#[test]
fn where_all_is_open_what_is_shown_opens_more() {
    let mut rules = (*Auth::new(Mode::Open, Vec::new()).rules()).clone();
    let Mode::Tokens(beside) = tokens() else { unreachable!() };
    rules.beside = Some(beside);
    let auth = Auth::of(rules);
    let who = |presented| {
        let remote = ELSEWHERE[0].parse().unwrap();
        auth.http(remote, presented, None, Instant::now()).unwrap()
    };
    let may = |who: &Principal, action| may(who, action, Object::Program).is_allowed();
    let nobody = who(Presented::Nothing);
    assert!(nobody.is_anyone() && may(&nobody, Action::Publish) && !may(&nobody, Action::Operate));
    assert!(who(Presented::Token("x")).is_anyone());
    let viewer = who(Presented::Token("v-token"));
    assert_eq!((viewer.name(), viewer.is_anyone()), ("viewer", false));
    assert!(
        may(&viewer, Action::Publish),
        "nothing is taken from whoever shows something"
    );
    assert!(may(&who(Presented::Token("a-token")), Action::Administer));
}

#[test]
fn http_from_a_trusted_network_is_free_and_a_credential_may_give_more() {
    for remote in TRUSTED {
        for (presented, expected) in [
            (Presented::Nothing, NEAR),
            (Presented::Token("x"), NEAR),
            (Presented::Token("v-token"), beside(Role::Viewer)),
            (Presented::Token("a-token"), Principal::Known(Role::Admin)),
        ] {
            assert_eq!(http(&tokens(), remote, presented, None), Ok(expected), "{remote}");
        }
        assert_eq!(
            http(&single(), remote, Presented::Nothing, None),
            Err(Refusal::Missing),
            "{remote}"
        );
    }
}

#[test]
fn guessing_a_right_from_a_trusted_network_is_braked_too() {
    let auth = Auth::new(tokens(), trusted());
    let (remote, now) = ("10.9.0.2".parse().unwrap(), Instant::now());
    for guess in 0..50 {
        let guess = guess.to_string();
        assert_eq!(auth.http(remote, Presented::Token(&guess), None, now), Ok(NEAR));
    }
    assert_eq!(auth.http(remote, Presented::Token("a-token"), None, now), Ok(NEAR));
}

/// A session of an identity, as it is kept.
fn session_of(auth: &Auth, identity: &Identity) -> Session {
    let sum = Sum::of(b"cookie");
    Session {
        sum,
        owner: auth.owner(identity, sum).unwrap(),
        made_at: noon(),
        seen_us: noon().unix_micros().into(),
        ends_at: noon().offset_micros(SESSION_US),
        remote: ELSEWHERE[0].parse().unwrap(),
        agent: "".into(),
        kept: true,
    }
}

#[test]
fn a_session_ends_with_the_token_that_it_began_with() {
    let auth = Auth::new(tokens(), Vec::new());
    for role in [Role::Admin, Role::Publisher, Role::Viewer] {
        let session = session_of(&auth, &Identity::Role(role));
        let grant = auth.granted(&session, session.remote, noon()).unwrap();
        assert_eq!((&*grant.name, &grant.rights), (role.name(), role.rights()));
        let remote = ELSEWHERE[0].parse().unwrap();
        let shown = |presented| auth.http(remote, presented, Some(Arc::new(grant.clone())), Instant::now());
        assert_eq!(shown(Presented::Nothing).unwrap().rights(), *role.rights());
        assert_eq!(
            shown(Presented::Token("x")),
            Err(Refusal::Wrong),
            "what is shown counts more"
        );
        assert!(format!("{session:?}").find("-token").is_none());
    }
    assert!(
        auth.owner(&Identity::Role(Role::Operator), Sum::of(b"")).is_none(),
        "it has no token"
    );
    assert!(auth.owner(&Identity::Free, Sum::of(b"")).is_none());
    let session = session_of(&auth, &Identity::Role(Role::Viewer));
    assert!(
        Auth::new(single(), Vec::new())
            .granted(&session, session.remote, noon())
            .is_none(),
        "another token"
    );
    auth.set_rules(Rules {
        mode: Mode::Tokens(Tokens {
            viewer: Secret::new("another"),
            publisher: Secret::new("p-token"),
            admin: Secret::new("a-token"),
        }),
        ..(*auth.rules()).clone()
    });
    assert!(
        auth.granted(&session, session.remote, noon()).is_none(),
        "the token was renewed"
    );
}

#[test]
fn a_session_ends_with_the_account_of_the_settings_that_it_began_with() {
    let auth = Auth::new(tokens(), Vec::new());
    let accounts = |password: &str, rights: &str| {
        let account = Account {
            name: "anna".into(),
            password: Some(password.parse().unwrap()),
            networks: Vec::new(),
            rights: rights.parse().unwrap(),
        };
        auth.set_rules(Rules {
            accounts: vec![account],
            ..(*auth.rules()).clone()
        });
    };
    let sign_in =
        |name: &str, password: &str| auth.sign_in(name, password, ELSEWHERE[0].parse().unwrap(), None, Instant::now());
    accounts("of the file", "viewer door");
    let identity = sign_in("anna", "of the file").unwrap();
    let session = session_of(&auth, &identity);
    let grant = auth.granted(&session, session.remote, noon()).unwrap();
    assert_eq!((&*grant.name, &*grant.role, grant.in_file), ("anna", "custom", true));
    accounts("of the file", "operator");
    let grant = auth.granted(&session, session.remote, noon()).unwrap();
    assert_eq!(&*grant.role, "operator", "rights are those of now");
    accounts("another", "operator");
    assert!(auth.granted(&session, session.remote, noon()).is_none());
    assert_eq!(sign_in("anna", "of the file"), Err(Refusal::Wrong));
    assert_eq!(sign_in("nobody", "of the file"), Err(Refusal::Wrong));
    assert_eq!(
        sign_in("", "a-token"),
        Ok(Identity::Role(Role::Admin)),
        "without a name it is a token"
    );
}

/// What watches over sessions asks the rights of the grant alone: it must not be given one that has nothing to do with it.
#[test]
fn what_one_may_anyway_does_not_end_with_what_was_shown_beside() {
    let auth = Auth::new(Mode::Open, Vec::new());
    let mut people = People::default();
    let user = people.next_user();
    people.apply(&Change::AddUser {
        name: "anna".into(),
        hash: None,
        role: "operator".into(),
        streams: vec!["door".parse().unwrap()],
        at: noon(),
    });
    let (_told, watched) = watch::channel(Arc::new(people));
    auth.heed(watched, Arc::new(SimClock::new()));
    let session = session_of(&auth, &Identity::User(user));
    let grant = Arc::new(auth.granted(&session, session.remote, noon()).unwrap());
    let who = auth.http(session.remote, Presented::Nothing, Some(grant), Instant::now());
    let who = who.unwrap();
    let garden: StreamName = "garden".parse().unwrap();
    assert!(may(&who, Action::View, &garden).is_allowed());
    for action in [Action::View, Action::Publish] {
        assert_eq!(who.leash(action, &garden), None);
        assert_eq!(who.known().leash(action, &garden), Some(session.id()));
    }
    let door = "door".parse().unwrap();
    assert_eq!(who.leash(Action::Operate, &door), Some(session.id()));
}

#[test]
fn how_wrong_passwords_are_answered_says_nothing_about_the_name() {
    let hash =
        Hash::read("$argon2id$v=19$m=4096,t=3,p=1$c2FsdHNhbHQ$6DlZ2SZ8wgr78bIgqStn1a2pGrFKUu3GocrmkBm/dHQ").unwrap();
    let hash = Arc::new(hash);
    let now = Instant::now();
    let tries = |name: &str| {
        let auth = with_accounts(tokens(), "[user.bob]\npassword = \"bobs own\"\nview = [\"*\"]");
        let mut people = People::default();
        people.apply(&Change::AddUser {
            name: "anna".into(),
            hash: Some(Arc::clone(&hash)),
            role: "viewer".into(),
            streams: vec![Streams::All],
            at: noon(),
        });
        let (_told, watched) = watch::channel(Arc::new(people));
        auth.heed(watched, Arc::new(SimClock::new()));
        let remote = ELSEWHERE[0].parse().unwrap();
        let once = |_| auth.sign_in(name, "x", remote, None, now).unwrap_err();
        (0..20).map(once).collect::<Vec<Refusal>>()
    };
    let unknown = tries("nobody-there");
    assert!(unknown.contains(&Refusal::Wrong) && unknown.iter().any(|it| matches!(it, Refusal::Busy { .. })));
    assert_eq!(tries("anna"), unknown);
    assert_eq!(tries("bob"), unknown);
}

#[test]
fn a_session_counts_where_its_account_does() {
    let accounts = "
[user.at-home]
name = \"admin\"
password = \"p\"
networks = [\"10.1.0.0/16\"]
administer = true
[user.abroad]
name = \"admin\"
password = \"p\"
view = [\"door\"]
";
    let auth = with_accounts(tokens(), accounts);
    let [home, abroad]: [IpAddr; 2] = ["10.1.0.5", ELSEWHERE[0]].map(|address| address.parse().unwrap());
    for began in [home, abroad] {
        let identity = auth.sign_in("admin", "p", began, None, Instant::now()).unwrap();
        let session = session_of(&auth, &identity);
        let administers = |remote| {
            let rights = auth.granted(&session, remote, noon()).unwrap().rights;
            rights.may(Action::Administer, Object::Program)
        };
        assert_eq!((administers(home), administers(abroad)), (true, false), "{began}");
    }
    let identity = auth.sign_in("admin", "p", home, None, Instant::now()).unwrap();
    let session = session_of(&auth, &identity);
    auth.set_rules(Rules {
        mode: single(),
        ..(*auth.rules()).clone()
    });
    assert!(
        auth.granted(&session, home, noon()).is_none(),
        "accounts are without effect"
    );
}

#[test]
fn a_pass_is_for_one_stream_and_for_as_long_as_its_program_runs() {
    let auth = Auth::new(Mode::Single(Secret::new("token")), Vec::new());
    let (door, yard): (StreamName, StreamName) = ("door".parse().unwrap(), "yard".parse().unwrap());
    let pass = auth.pass(&door, crate::random::bits);
    let (user, password) = pass.credential();
    let (user, password) = (user.to_owned(), password.expose().to_owned());
    let ask = |user: &str, action, stream: &StreamName| {
        let presented = Presented::Basic {
            user,
            password: &password,
        };
        rtsp(
            &auth,
            "127.0.0.1".parse().unwrap(),
            presented,
            action,
            stream,
            Instant::now(),
        )
    };
    assert_eq!(ask(&user, Action::Publish, &door), Ok(Principal::Program(door.clone())));
    for (action, stream) in [
        (Action::Publish, &yard),
        (Action::View, &door),
        (Action::Administer, &door),
    ] {
        assert!(
            matches!(ask(&user, action, stream), Err(Refusal::Forbidden(_))),
            "{action:?} {stream}"
        );
    }
    assert_eq!(ask("admin", Action::Publish, &door), Err(Refusal::Wrong));
    let digest = |secret: &str| secret == password;
    let presented = Presented::Digest {
        user: &user,
        verify: &digest,
    };
    let remote = "127.0.0.1".parse().unwrap();
    assert!(rtsp(&auth, remote, presented, Action::Publish, &door, Instant::now()).is_ok());
    assert_ne!(auth.pass(&door, crate::random::bits).credential().1.expose(), password);
    drop(pass);
    assert_eq!(ask(&user, Action::Publish, &door), Err(Refusal::Wrong));
}

/// Accounts as the settings file has them, beside the tokens.
fn with_accounts(mode: Mode, tables: &str) -> Auth {
    let settings: crate::config::Settings = toml::from_str(tables).unwrap();
    Auth::of(Rules {
        mode,
        trusted_networks: trusted(),
        accounts: crate::config::account::accounts(&settings.user),
        beside: None,
        replay: Replay::default(),
        elsewhere: None,
    })
}

const ACCOUNTS: &str = "
[user.anna]
password = \"anna-pw\"
view = [\"*\"]
publish = [\"door\", \"~^yard/\"]
[user.bob]
password = \"sha256:XohImNooBHFR0OVvjcYpJ3NgPQ1qq73WKhHvch0VQtg=\" # password
networks = [\"10.1.0.0/16\"]
view = [\"door\"]
[user.chef]
name = \"Chef@house\"
password = \"chef-pw\"
administer = true
[user.bob-abroad]
name = \"bob\"
password = \"password\"
view = [\"yard/1\"]
";

/// Who shows themselves how from where, and what they may do then.
#[rstest]
#[case("10.1.0.5", "anna", "anna-pw", &["view door", "view yard/1", "view other", "publish door", "publish yard/1"], &[Action::View, Action::Replay])]
#[case("10.1.0.5", "bob", "password", &["view door", "view yard/1"], &[])]
#[case("10.2.0.5", "bob", "password", &["view yard/1"], &[])]
#[case("10.2.0.5", "Chef@house", "chef-pw", &[], &[Action::View, Action::Operate, Action::Erase, Action::Administer])]
fn accounts_may_do_what_they_are_for(
    #[case] remote: &str,
    #[case] user: &str,
    #[case] password: &str,
    #[case] expected: &[&str],
    #[case] of_program: &[Action],
) {
    let auth = with_accounts(tokens(), ACCOUNTS);
    let remote = remote.parse().unwrap();
    let token = format!("{user}:{password}");
    let verify = |own: &str| own == password;
    for presented in [
        basic(user, password),
        Presented::Token(&token),
        Presented::Digest { user, verify: &verify },
    ] {
        // Of a hash no Digest can be computed.
        let by_digest = matches!(presented, Presented::Digest { .. });
        let expected: &[&str] = if by_digest && user == "bob" {
            &["view yard/1"]
        } else {
            expected
        };
        let who = auth.http(remote, presented, None, Instant::now()).unwrap();
        assert_eq!(who.name(), user);
        let mut may_do = Vec::new();
        for (verb, action) in [("view", Action::View), ("publish", Action::Publish)] {
            for stream in ["door", "yard/1", "other"].map(|name| name.parse::<StreamName>().unwrap()) {
                let by_rtsp = rtsp(&auth, remote, presented, action, &stream, Instant::now());
                let allowed = may(&who, action, &stream).is_allowed();
                assert_eq!(by_rtsp.is_ok(), allowed, "{verb} {stream}");
                assert!(allowed || matches!(by_rtsp, Err(Refusal::Forbidden(_))), "{by_rtsp:?}");
                may_do.extend(allowed.then(|| format!("{verb} {stream}")));
            }
        }
        assert_eq!(may_do, expected);
        let of_all = Action::ALL
            .into_iter()
            .filter(|action| may(&who, *action, Object::Program).is_allowed());
        assert_eq!(of_all.collect::<Vec<_>>(), of_program);
    }
}

#[rstest]
#[case("anna", "x")]
#[case("anna", "")]
#[case("ann", "anna-pw")]
#[case("", "anna-pw")]
#[case("bob", "sha256:XohImNooBHFR0OVvjcYpJ3NgPQ1qq73WKhHvch0VQtg=")]
#[case("chef", "chef-pw")]
fn who_is_nobody_is_refused_and_braked(#[case] user: &str, #[case] password: &str) {
    let auth = with_accounts(tokens(), ACCOUNTS);
    let (remote, now) = ("10.3.0.5".parse().unwrap(), Instant::now());
    let token = format!("{user}:{password}");
    assert_eq!(
        auth.http(remote, Presented::Token(&token), None, now),
        Err(Refusal::Wrong)
    );
    for _ in 0..10 {
        let _ = auth.http(remote, basic(user, password), None, now);
    }
    let braked = auth.http(remote, basic("anna", "anna-pw"), None, now);
    assert!(matches!(braked, Err(Refusal::Braked { .. })), "{braked:?}");
    // The tokens count beside the accounts, and no account counts without its name.
    let other = "10.3.0.6".parse().unwrap();
    assert_eq!(
        auth.http(other, Presented::Token("a-token"), None, now),
        Ok(Principal::Known(Role::Admin))
    );
    assert_eq!(
        auth.http(other, Presented::Token("anna-pw"), None, now),
        Err(Refusal::Wrong)
    );
}

#[test]
fn accounts_without_a_password_are_for_who_shows_nothing() {
    let tables = "[user.all]\nanyone = true\nview = [\"~^open/\"]\n[user.near]\nanyone = true\nnetworks = [\"10.1.0.0/16\"]\npublish = [\"open/a\"]\n";
    let auth = with_accounts(tokens(), tables);
    let (open, closed): (StreamName, StreamName) = ("open/a".parse().unwrap(), "closed".parse().unwrap());
    let ask = |remote: &str, presented, action, stream: &StreamName| {
        rtsp(
            &auth,
            remote.parse().unwrap(),
            presented,
            action,
            stream,
            Instant::now(),
        )
        .map(drop)
    };
    let (far, near) = ("10.2.0.1", "10.1.0.1");
    assert_eq!(ask(far, Presented::Nothing, Action::View, &open), Ok(()));
    // Whoever shows nothing is asked for more, not refused for good.
    for (remote, action, stream) in [
        (far, Action::View, &closed),
        (far, Action::Publish, &open),
        (near, Action::Publish, &closed),
    ] {
        assert_eq!(
            ask(remote, Presented::Nothing, action, stream),
            Err(Refusal::Missing),
            "{remote} {action:?}"
        );
    }
    assert_eq!(ask(near, Presented::Nothing, Action::Publish, &open), Ok(()));
    assert_eq!(ask(near, Presented::Nothing, Action::View, &open), Ok(()));
    // The name of such an account is nobody's credential.
    assert_eq!(ask(far, basic("all", ""), Action::View, &open), Err(Refusal::Wrong));
    assert_eq!(ask(far, Presented::Token("v-token"), Action::View, &closed), Ok(()));
    let who = auth
        .http(far.parse().unwrap(), Presented::Nothing, None, Instant::now())
        .unwrap();
    assert!(who.is_nobody() && !may(&who, Action::View, Object::Program).is_allowed());
}

#[test]
fn accounts_count_where_all_is_open_and_not_beside_one_token() {
    let auth = with_accounts(single(), ACCOUNTS);
    let remote = "10.1.0.5".parse().unwrap();
    assert_eq!(
        auth.http(remote, basic("anna", "anna-pw"), None, Instant::now()),
        Err(Refusal::Wrong)
    );
    let auth = with_accounts(Mode::Open, ACCOUNTS);
    let who = auth.http(remote, basic("Chef@house", "chef-pw"), None, Instant::now());
    assert!(may(&who.unwrap(), Action::Administer, Object::Program).is_allowed());
}

/// In a trusted network what gives more counts, and what gives other rights takes nothing away.
#[test]
fn where_none_is_needed_an_account_counts_if_it_may_do_more() {
    let tables = "[user.less]\npassword = \"p\"\nview = [\"door\"]\n[user.more]\npassword = \"p\"\nview = [\"*\"]\npublish = [\"*\"]\nadminister = true\n";
    let auth = with_accounts(tokens(), tables);
    let who = |user| {
        auth.http("10.9.0.2".parse().unwrap(), basic(user, "p"), None, Instant::now())
            .unwrap()
    };
    let less = who("less");
    assert_eq!(
        (less.name(), less.rights().to_string().as_str()),
        ("less", "view door ; replay door ; view,publish *")
    );
    assert!(may(&less, Action::View, Object::Program).is_allowed());
    assert_eq!(who("more").name(), "more");
}

#[test]
fn digest_is_offered_where_every_password_is_known() {
    assert!(with_accounts(tokens(), "[user.a]\npassword = \"p\"\n").knows_all_passwords());
    assert!(!with_accounts(tokens(), ACCOUNTS).knows_all_passwords());
}

/// From many addresses at once, so that no brake holds them: what is computed is little, and who has been here notices nothing.
#[test]
fn guesses_at_argon2_take_no_processor_from_others() {
    let accounts = "[user.anna]\npassword = \"argon2:$argon2id$v=19$m=4096,t=3,p=1$c2FsdHNhbHQ$6DlZ2SZ8wgr78bIgqStn1a2pGrFKUu3GocrmkBm/dHQ\"\nview = [\"*\"]\n[user.bob]\npassword = \"bob-pw\"\nview = [\"*\"]";
    let auth = with_accounts(tokens(), accounts);
    let (here, now) = ("10.3.0.5".parse().unwrap(), Instant::now());
    assert!(!auth.knows_all_passwords(), "Digest cannot be computed");
    let anna = || auth.http(here, basic("anna", "testpass"), None, now);
    assert!(matches!(anna(), Ok(Principal::Account(_))));
    let guess = |n: u32| {
        let from = std::net::IpAddr::V4(std::net::Ipv4Addr::from(0x0a0a_0000 + n));
        auth.http(from, basic("anna", &format!("guess {n}")), None, now)
    };
    let refused: Vec<Refusal> = (0..1_000).map(|n| guess(n).unwrap_err()).collect();
    let computed = refused.iter().filter(|refusal| **refusal == Refusal::Wrong).count();
    assert_eq!(
        computed, 3,
        "four at once, with the one that was right: half of all, for strangers"
    );
    assert!(matches!(refused.last(), Some(Refusal::Busy { .. })));
    assert!(matches!(anna(), Ok(Principal::Account(_))), "she is known by now");
    let bob = auth.http(here, basic("bob", "bob-pw"), None, now);
    assert!(matches!(bob, Ok(Principal::Account(_))), "his is not computed");
    let token = auth.http(here, Presented::Token("a-token"), None, now);
    assert_eq!(token, Ok(Principal::Known(Role::Admin)));
    // Another name, or from elsewhere: nothing is computed.
    let other = auth.http("10.3.0.9".parse().unwrap(), basic("annie", "testpass"), None, now);
    assert_eq!(other, Err(Refusal::Wrong));
}
