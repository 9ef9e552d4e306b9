//! Accounts of the page: signing in, one's own, users, tokens, links, and what they may not.

use super::*;
use crate::state::control::Query;
use serde_json::json;

const JSON: (&str, &str) = ("content-type", "application/json");

async fn send(world: &World, method: Method, path: &str, headers: &[(&str, &str)], body: Value) -> Reply {
    let headers = [headers, &[JSON]].concat();
    ask(&world.dashboard, ELSEWHERE, method, path, &headers, &body.to_string()).await
}

async fn sign_in(world: &World, name: &str, password: &str) -> Reply {
    let body = json!({ "name": name, "password": password });
    send(world, Method::POST, "/api/v1/session", &[], body).await
}

/// The cookie of the session that an answer began.
fn cookie(reply: &Reply) -> String {
    let all = reply.headers.get_all("set-cookie").iter();
    let mut ours = all
        .filter_map(|value| value.to_str().ok())
        .filter(|value| value.starts_with("sightline="));
    ours.next().unwrap().split(';').next().unwrap().to_owned()
}

fn device(reply: &Reply) -> String {
    let all = reply.headers.get_all("set-cookie").iter();
    let mut ours = all
        .filter_map(|value| value.to_str().ok())
        .filter(|value| value.starts_with("sightline-device="));
    ours.next().unwrap().split(';').next().unwrap().to_owned()
}

#[tokio::test]
async fn a_user_signs_in_sees_what_is_theirs_and_signs_out() {
    let world = World::new();
    let _door = world.publish("door", None);
    let _yard = world.publish("yard", None);
    world.user("anna", "viewer", "door");
    let signed_in = sign_in(&world, "Anna", PASSWORD).await;
    assert_eq!(signed_in.status, StatusCode::OK, "{}", signed_in.text);
    let expected = json!({
        "name": "anna", "role": "viewer", "account": true, "in_file": false,
        "rights": [{ "actions": ["view", "replay"], "streams": ["door"] }],
    });
    assert_eq!(signed_in.json(), expected);
    let cookie = cookie(&signed_in);
    let get = |path: &'static str| {
        let (world, cookie) = (&world, cookie.clone());
        async move { world.get(path, &[("cookie", &cookie)]).await }
    };
    assert_eq!(get("/api/v1/me").await.json(), expected);
    let streams = get("/api/v1/streams").await.text;
    assert!(streams.contains("\"door\"") && !streams.contains("yard"), "{streams}");
    assert_eq!(get("/api/v1/streams/yard").await.status, StatusCode::FORBIDDEN);
    assert_eq!(get("/api/v1/users").await.status, StatusCode::FORBIDDEN);
    let sessions = get("/api/v1/me/sessions").await.json();
    assert_eq!(
        (&sessions[0]["current"], &sessions[0]["kept"]),
        (&json!(true), &json!(true))
    );
    let out = send(
        &world,
        Method::DELETE,
        "/api/v1/session",
        &[("cookie", &cookie)],
        json!({}),
    )
    .await;
    assert_eq!(out.status, StatusCode::NO_CONTENT);
    assert_eq!(get("/api/v1/me").await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn wrong_passwords_and_unknown_names_are_answered_alike() {
    let world = World::new();
    world.user("anna", "viewer", "*");
    let (wrong, unknown) = (sign_in(&world, "anna", "x").await, sign_in(&world, "nobody", "x").await);
    assert_eq!((wrong.status, wrong.text), (unknown.status, unknown.text));
    let id = world.shared.settings.control.now().named("anna").unwrap().id;
    world.change(Change::SetUser {
        user: id,
        role: "viewer".into(),
        streams: vec!["*".parse().unwrap()],
        disabled: true,
    });
    assert_eq!(sign_in(&world, "anna", PASSWORD).await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn whoever_guesses_locks_out_nobody_who_was_there_before() {
    let world = World::new();
    world.user("anna", "viewer", "*");
    let device = device(&sign_in(&world, "anna", PASSWORD).await);
    let from = |number: u8| format!("198.51.100.{number}:5000");
    let guess = json!({ "name": "anna", "password": "x" }).to_string();
    let mut braked = false;
    for number in 0..40 {
        let reply = ask(
            &world.dashboard,
            &from(number),
            Method::POST,
            "/api/v1/session",
            &[JSON],
            &guess,
        )
        .await;
        braked |= reply.status == StatusCode::TOO_MANY_REQUESTS;
        if braked {
            break;
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    assert!(braked, "the name waits for strangers");
    let right = json!({ "name": "anna", "password": PASSWORD });
    let owner = send(&world, Method::POST, "/api/v1/session", &[("cookie", &device)], right).await;
    assert_eq!(owner.status, StatusCode::OK, "{}", owner.text);
}

#[tokio::test]
async fn another_password_ends_other_sessions() {
    let world = World::new();
    world.user("anna", "viewer", "*");
    let [here, there] = [
        sign_in(&world, "anna", PASSWORD).await,
        sign_in(&world, "anna", PASSWORD).await,
    ]
    .map(|it| cookie(&it));
    let set = |current: &'static str, new: &'static str| {
        let (world, here) = (&world, here.clone());
        async move {
            let body = json!({ "current": current, "new": new });
            send(world, Method::PUT, "/api/v1/me/password", &[("cookie", &here)], body).await
        }
    };
    assert_eq!(set("wrong", "another horse battery").await.code(), "password-wrong");
    assert_eq!(set(PASSWORD, "password123").await.code(), "weak-password");
    assert_eq!(
        set(PASSWORD, "another horse battery").await.status,
        StatusCode::NO_CONTENT
    );
    let world = &world;
    let status = |cookie: String| async move { world.get("/api/v1/me", &[("cookie", &cookie)]).await.status };
    assert_eq!(
        (status(here).await, status(there).await),
        (StatusCode::OK, StatusCode::UNAUTHORIZED)
    );
    assert_eq!(
        sign_in(world, "anna", "another horse battery").await.status,
        StatusCode::OK
    );
}

#[tokio::test]
async fn admins_add_change_and_remove_users() {
    let world = World::new();
    let admin = [("authorization", "Bearer a-token")];
    let users = |method, path: &'static str, body: Value| send(&world, method, path, &admin, body);
    let anna = json!({ "name": "anna", "password": "annas own horse", "role": "guard", "streams": ["door"] });
    assert_eq!(
        users(Method::POST, "/api/v1/users", anna.clone()).await.code(),
        "no-such-role"
    );
    let role = json!({ "rights": "view,operate" });
    assert_eq!(
        users(Method::PUT, "/api/v1/roles/guard", role).await.status,
        StatusCode::OK
    );
    let added = users(Method::POST, "/api/v1/users", anna.clone()).await;
    assert_eq!(
        (added.status, &added.json()["role"]),
        (StatusCode::CREATED, &json!("guard"))
    );
    assert!(
        !added.text.contains("horse") && !added.text.contains("argon2"),
        "{}",
        added.text
    );
    assert_eq!(users(Method::POST, "/api/v1/users", anna).await.code(), "name-taken");
    let changed = users(Method::PATCH, "/api/v1/users/anna", json!({ "disabled": true })).await;
    assert_eq!(changed.json()["disabled"], true);
    assert_eq!(
        users(Method::DELETE, "/api/v1/roles/guard", json!({})).await.code(),
        "role-in-use"
    );
    assert_eq!(
        users(Method::DELETE, "/api/v1/users/ANNA", json!({})).await.status,
        StatusCode::NO_CONTENT
    );
    assert_eq!(
        users(Method::DELETE, "/api/v1/roles/guard", json!({})).await.status,
        StatusCode::NO_CONTENT
    );
    let audit = world.get("/api/v1/audit", &admin).await;
    let first = &audit.json()[0];
    assert_eq!(
        (&first["who"], &first["action"]),
        (&json!("admin"), &json!("DELETE /api/v1/roles/{role}"))
    );
    assert!(!audit.text.contains("horse"), "no value is written down");
}

#[tokio::test]
async fn a_token_opens_what_it_was_given_and_makes_no_others() {
    let world = World::new();
    let _door = world.publish("door", None);
    let _yard = world.publish("yard", None);
    world.user("anna", "operator", "*");
    let cookie = cookie(&sign_in(&world, "anna", PASSWORD).await);
    let wish = json!({ "name": "doorbell", "rights": "view door" });
    let made = send(&world, Method::POST, "/api/v1/me/tokens", &[("cookie", &cookie)], wish).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.text);
    let token = made.json()["token"].as_str().unwrap().to_owned();
    assert!(token.starts_with("slt_"));
    let bearer = format!("Bearer {token}");
    let get = |path: &'static str| {
        let (world, bearer) = (&world, bearer.clone());
        async move { world.get(path, &[("authorization", &bearer)]).await.status }
    };
    assert_eq!(get("/api/v1/streams/door").await, StatusCode::OK);
    assert_eq!(get("/api/v1/streams/yard").await, StatusCode::FORBIDDEN);
    assert_eq!(get("/api/v1/streams/door/viewers").await, StatusCode::FORBIDDEN);
    assert_eq!(get("/api/v1/me/tokens").await, StatusCode::FORBIDDEN);
    assert_eq!(get("/api/v1/me").await, StatusCode::OK);
    let id = made.json()["id"].as_str().unwrap().to_owned();
    let listed = world.get("/api/v1/me/tokens", &[("cookie", &cookie)]).await;
    assert!(
        listed.text.contains(&id) && !listed.text.contains(&token),
        "{}",
        listed.text
    );
    let path = format!("/api/v1/me/tokens/{id}");
    let gone = send(&world, Method::DELETE, &path, &[("cookie", &cookie)], json!({})).await;
    assert_eq!(gone.status, StatusCode::NO_CONTENT);
    assert_eq!(get("/api/v1/streams/door").await, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn the_first_admin_is_made_by_a_link_and_only_the_first() {
    let world = World::new();
    let admin = [("authorization", "Bearer a-token")];
    let link = || {
        send(
            &world,
            Method::POST,
            "/api/v1/invitations",
            &admin,
            json!({ "first_run": true }),
        )
    };
    let [first, second] = [link().await, link().await].map(|made| made.json()["code"].as_str().unwrap().to_owned());
    let accept = |code: String, name: &'static str, password: &'static str| {
        let body = json!({ "code": code, "name": name, "password": password });
        send(&world, Method::POST, "/api/v1/first-run", &[], body)
    };
    assert_eq!(accept("AAAA".to_owned(), "eve", PASSWORD).await.code(), "link-spent");
    assert_eq!(accept(first.clone(), "anna", "short").await.code(), "weak-password");
    let made = accept(first.clone(), "anna", PASSWORD).await;
    assert_eq!((made.status, &made.json()["role"]), (StatusCode::OK, &json!("admin")));
    let users = world.get("/api/v1/users", &[("cookie", &cookie(&made))]).await;
    assert_eq!(
        (users.status, &users.json()[0]["name"]),
        (StatusCode::OK, &json!("anna"))
    );
    for code in [first, second] {
        assert_eq!(accept(code, "eve", PASSWORD).await.code(), "link-spent");
    }
    let another = link().await.json();
    assert_eq!(
        another["kind"], "invitation",
        "there is an admin: it is an invitation of one"
    );
}

#[tokio::test]
async fn a_share_shows_its_cameras_to_so_many_and_no_more() {
    let world = World::new();
    let _door = world.publish("door", None);
    let _yard = world.publish("yard", None);
    world.user("anna", "operator", "door");
    let cookie_of_anna = cookie(&sign_in(&world, "anna", PASSWORD).await);
    let share = |cameras: Value| {
        let (world, cookie) = (&world, cookie_of_anna.clone());
        async move {
            let body = json!({ "cameras": cameras, "viewers": 1 });
            send(world, Method::POST, "/api/v1/shares", &[("cookie", &cookie)], body).await
        }
    };
    assert_eq!(share(json!(["yard"])).await.status, StatusCode::FORBIDDEN);
    let code = share(json!(["door"])).await.json()["code"].as_str().unwrap().to_owned();
    let open = || {
        send(
            &world,
            Method::POST,
            "/api/v1/shares/open",
            &[],
            json!({ "code": code }),
        )
    };
    let opened = open().await;
    assert_eq!(
        (opened.status, &opened.json()["role"]),
        (StatusCode::OK, &json!("share")),
        "{}",
        opened.text
    );
    assert_eq!(open().await.code(), "share-full");
    let cookie = cookie(&opened);
    let get = |path: &'static str| {
        let (world, cookie) = (&world, cookie.clone());
        async move { world.get(path, &[("cookie", &cookie)]).await.status }
    };
    assert_eq!(get("/api/v1/streams/door").await, StatusCode::OK);
    assert_eq!(get("/api/v1/streams/yard").await, StatusCode::FORBIDDEN);
    assert_eq!(get("/api/v1/me/sessions").await, StatusCode::FORBIDDEN);
    let anna = world.shared.settings.control.now().named("anna").unwrap().id;
    world.change(Change::RemoveUser(anna));
    assert_eq!(
        get("/api/v1/streams/door").await,
        StatusCode::UNAUTHORIZED,
        "it ended with who made it"
    );
}

/// The pages that links lead to: of each there is one, and its code stands where no server is told of it.
#[tokio::test]
async fn links_lead_to_pages_that_are_there() {
    let world = World::new();
    let _door = world.publish("door", None);
    let admin = [("authorization", "Bearer a-token")];
    for (path, wish, page) in [
        ("/api/v1/invitations", json!({ "first_run": true }), "first-run"),
        ("/api/v1/invitations", json!({ "role": "viewer" }), "join"),
        ("/api/v1/shares", json!({ "cameras": ["door"] }), "shared"),
    ] {
        let made = send(&world, Method::POST, path, &admin, wish).await.json();
        let (led, code) = made["path"].as_str().unwrap().split_once('#').unwrap();
        assert_eq!((led, code), (page, made["code"].as_str().unwrap()));
        let shown = world.get(&format!("/{led}"), &[]).await;
        assert_eq!(shown.status, StatusCode::OK);
        assert!(shown.text.contains(&format!("\"view\":\"{page}\"")), "{}", shown.text);
        assert!(
            !shown.text.contains("door"),
            "it says nothing of streams: {}",
            shown.text
        );
    }
}

/// Where somebody opens a link of a share again, they are let in already.
#[tokio::test]
async fn a_share_that_is_opened_again_takes_nobodys_place() {
    let world = World::new();
    let _door = world.publish("door", None);
    let admin = [("authorization", "Bearer a-token")];
    let wish = json!({ "cameras": ["door"], "viewers": 1, "password": PASSWORD });
    let made = send(&world, Method::POST, "/api/v1/shares", &admin, wish).await.json();
    let open = |password: &'static str, cookie: String| {
        let (world, body) = (&world, json!({ "code": made["code"], "password": password }));
        async move { send(world, Method::POST, "/api/v1/shares/open", &[("cookie", &cookie)], body).await }
    };
    // The page asks whether there is a password by giving none: nobody is braked for that.
    for _ in 0..30 {
        let asked = open("", String::new()).await;
        assert_eq!(
            (asked.status, asked.code().as_str()),
            (StatusCode::FORBIDDEN, "password-needed")
        );
    }
    assert_eq!(open("wrong", String::new()).await.code(), "credential-wrong");
    let opened = open(PASSWORD, String::new()).await;
    assert_eq!(opened.status, StatusCode::OK, "{}", opened.text);
    let again = open("", cookie(&opened)).await;
    assert_eq!(
        (again.status, &again.json()["role"]),
        (StatusCode::OK, &json!("share")),
        "{}",
        again.text
    );
    assert!(again.headers.get("set-cookie").is_none(), "the session stays");
    assert_eq!(open(PASSWORD, String::new()).await.code(), "share-full");
}

#[tokio::test]
async fn a_page_of_another_site_neither_signs_in_nor_out() {
    let world = World::new();
    world.user("anna", "viewer", "*");
    let elsewhere = ("sec-fetch-site", "cross-site");
    let body = json!({ "name": "anna", "password": PASSWORD });
    let signed_in = send(&world, Method::POST, "/api/v1/session", &[elsewhere], body).await;
    assert_eq!(signed_in.code(), "another-site");
    let cookie = cookie(&sign_in(&world, "anna", PASSWORD).await);
    for (method, path) in [
        (Method::DELETE, "/api/v1/session"),
        (Method::POST, "/sign-out"),
        (Method::POST, "/api/v1/me/player"),
        (Method::DELETE, "/api/v1/me/sessions"),
    ] {
        let reply = send(&world, method, path, &[elsewhere, ("cookie", &cookie)], json!({})).await;
        assert_eq!(reply.code(), "another-site", "{path}");
    }
}

#[tokio::test]
async fn the_form_speaks_the_language_of_the_browser() {
    let world = World::new();
    let form = world.get("/", &[("accept-language", "vi-VN,vi;q=0.9")]).await;
    assert!(
        form.text.contains("<html lang=\"vi\">") && form.text.contains("Mật khẩu"),
        "{}",
        form.text
    );
    assert!(
        !form.text.contains('{') && !form.text.contains("<script"),
        "{}",
        form.text
    );
    let headers = [
        ("content-type", "application/x-www-form-urlencoded"),
        ("accept-language", "vi"),
    ];
    let wrong = ask(
        &world.dashboard,
        ELSEWHERE,
        Method::POST,
        "/sign-in",
        &headers,
        "name=anna&password=x",
    )
    .await;
    assert!(wrong.text.contains("Tên hoặc mật khẩu không đúng"), "{}", wrong.text);
    world.user("anna", "viewer", "*");
    let form = format!("name=anna&password={}&to=wall", PASSWORD.replace(' ', "+"));
    let right = ask(&world.dashboard, ELSEWHERE, Method::POST, "/sign-in", &headers, &form).await;
    assert_eq!(
        (right.status, right.header("location")),
        (StatusCode::SEE_OTHER, "./wall")
    );
    assert_eq!(
        world.get("/api/v1/me", &[("cookie", &cookie(&right))]).await.json()["name"],
        "anna"
    );
}

#[tokio::test]
async fn whoever_may_nothing_neither_fills_the_audit_log_nor_keeps_others_from_signing_in() {
    let world = World::new();
    world.user("anna", "viewer", "*");
    let admin = [("authorization", "Bearer a-token")];
    let missing = send(&world, Method::DELETE, "/api/v1/users/ben", &admin, json!({})).await;
    assert_eq!(missing.status, StatusCode::NOT_FOUND);
    for number in 0..2_000 {
        let path = format!("/api/v1/users/{number}");
        let refused = world.ask(ELSEWHERE, Method::DELETE, &path, &[]).await;
        assert_eq!(refused.status, StatusCode::UNAUTHORIZED);
        if number % 1_000 == 500 {
            let signed_in = sign_in(&world, "anna", PASSWORD).await;
            assert!(!cookie(&signed_in).is_empty(), "{}", signed_in.text);
        }
    }
    let all = Query {
        limit: 1_000,
        ..Query::default()
    };
    let rows = world.shared.settings.control.audited(all).await.unwrap();
    assert!(rows.len() <= 30, "{}", rows.len());
    let before = rows.iter().any(|row| row.who == "admin" && row.object == "ben");
    assert!(before, "what others did stays: {rows:?}");
}

#[tokio::test]
async fn new_passwords_are_hashed_within_the_budget_of_all_hashes() {
    let world = World::new();
    let admin = [("authorization", "Bearer a-token")];
    let made = send(&world, Method::POST, "/api/v1/invitations", &admin, json!({})).await;
    let code = made.json()["code"].as_str().unwrap().to_owned();
    world.user("anna", "viewer", "*");
    let accept = |name: String| {
        let (world, body) = (&world, json!({ "code": code, "name": name, "password": PASSWORD }));
        async move {
            let path = "/api/v1/invitations/accept";
            ask(
                &world.dashboard,
                "198.51.100.4:5000",
                Method::POST,
                path,
                &[JSON],
                &body.to_string(),
            )
            .await
        }
    };
    for _ in 0..20 {
        // Nothing is computed for what is refused anyway.
        assert_eq!(accept("anna".to_owned()).await.code(), "name-taken");
    }
    let (remote, soon) = ("198.51.100.4".parse().unwrap(), world.clock.now() + PATIENCE);
    while world.shared.auth.may_hash(remote, soon).is_ok() {}
    assert_eq!(accept("ben".to_owned()).await.code(), "too-many-logins");
}

#[tokio::test]
async fn a_share_gives_no_more_than_its_maker_has_and_ends_with_them() {
    let world = World::new();
    let _all = world.publish("all", None);
    let _yard = world.publish("yard", None);
    world.user("anna", "operator", "all");
    let role = "view,operate".parse().unwrap();
    world.change(Change::SetRole {
        name: "guard".into(),
        rights: role,
    });
    world.user("ben", "guard", "*");
    let share = |cookie: String, more: Value| {
        let mut body = json!({ "cameras": ["all"] });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let world = &world;
        async move { send(world, Method::POST, "/api/v1/shares", &[("cookie", &cookie)], body).await }
    };
    let ben = cookie(&sign_in(&world, "ben", PASSWORD).await);
    let recorded = share(ben, json!({ "replay": true })).await;
    assert_eq!(
        recorded.status,
        StatusCode::FORBIDDEN,
        "he sees nothing that was recorded"
    );
    let anna = cookie(&sign_in(&world, "anna", PASSWORD).await);
    // A token of hers, and what begins with it, make shares that end with it, and with her.
    let wish = json!({ "name": "script", "days": 1 });
    let made = send(&world, Method::POST, "/api/v1/me/tokens", &[("cookie", &anna)], wish)
        .await
        .json();
    let token = made["token"].as_str().unwrap();
    let body = json!({ "token": token });
    let began = cookie(&send(&world, Method::POST, "/api/v1/session", &[], body).await);
    let shared = share(began, json!({ "hours": 1_000 })).await.json();
    assert_eq!((&shared["by"], &shared["ends"]), (&json!("anna"), &made["ends"]));
    let open = json!({ "code": shared["code"] });
    let opened = send(&world, Method::POST, "/api/v1/shares/open", &[], open).await;
    let rights = json!([{ "actions": ["view"], "streams": ["all"] }]);
    assert_eq!(
        opened.json()["rights"],
        rights,
        "the camera of that name, and what is live"
    );
    let guest = cookie(&opened);
    let get = |path: &'static str| {
        let (world, guest) = (&world, guest.clone());
        async move { world.get(path, &[("cookie", &guest)]).await.status }
    };
    assert_eq!(get("/api/v1/streams/all").await, StatusCode::OK);
    assert_eq!(get("/api/v1/streams/yard").await, StatusCode::FORBIDDEN);
    let anna = world.shared.settings.control.now().named("anna").unwrap().id;
    world.change(Change::RemoveUser(anna));
    assert_eq!(get("/api/v1/streams/all").await, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn the_audit_log_says_who_signed_in_and_what_was_changed() {
    let world = World::new();
    world.user("anna", "viewer", "*");
    let admin = [("authorization", "Bearer a-token")];
    let cookie = cookie(&sign_in(&world, "anna", PASSWORD).await);
    let out = [("cookie", cookie.as_str())];
    world.ask(ELSEWHERE, Method::POST, "/sign-out", &out).await;
    let wish = json!({ "role": "operator", "disabled": false });
    send(&world, Method::PATCH, "/api/v1/users/anna", &admin, wish).await;
    world
        .ask(ELSEWHERE, Method::DELETE, "/api/v1/recordings/abc", &admin)
        .await;
    let all = Query {
        limit: 10,
        ..Query::default()
    };
    let rows = world.shared.settings.control.audited(all).await.unwrap();
    let told: Vec<_> = rows
        .iter()
        .map(|row| (&*row.who, &*row.action, &*row.object, &*row.detail))
        .collect();
    assert_eq!(
        told,
        [
            ("admin", "DELETE /api/v1/recordings/{recording}", "abc", ""),
            ("admin", "PATCH /api/v1/users/{user}", "anna", "role,disabled"),
            ("anna", "POST /sign-out", "", ""),
            ("anna", "POST /api/v1/session", "", ""),
        ]
    );
}

#[tokio::test]
async fn whoever_hangs_up_has_a_line_all_the_same() {
    let world = World::new();
    let admin = [("authorization", "Bearer a-token"), JSON];
    let body = json!({ "rights": "view" }).to_string();
    let asking = ask(
        &world.dashboard,
        ELSEWHERE,
        Method::PUT,
        "/api/v1/roles/guard",
        &admin,
        &body,
    );
    // Begun, and dropped at the first wait.
    drop(tokio::time::timeout(Duration::ZERO, asking).await);
    let all = Query {
        limit: 10,
        ..Query::default()
    };
    let told = async {
        while world
            .shared
            .settings
            .control
            .audited(all.clone())
            .await
            .unwrap()
            .is_empty()
        {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, told).await.expect("there is no line");
    assert_eq!(world.shared.settings.control.now().roles().count(), 1);
}

#[tokio::test]
async fn a_password_that_was_changed_meanwhile_begins_no_session() {
    let world = World::new();
    let anna = world.user("anna", "viewer", "*");
    let before = world.shared.auth.everybody();
    world.change(Change::SetPassword {
        user: anna,
        hash: Arc::new(secrets::hash("another horse battery").unwrap()),
        but: None,
    });
    let peer = Peer::new(ELSEWHERE.parse().unwrap(), "192.0.2.1:8000".parse().unwrap(), false);
    let (headers, identity) = (HeaderMap::new(), Identity::User(anna));
    let begun = signing::begin(&world.shared, peer, &headers, &identity, &before).await;
    assert_eq!(begun.unwrap_err().code(), "credential-wrong");
    assert_eq!(world.shared.settings.control.now().sessions().count(), 0);
}

#[tokio::test]
async fn rights_are_asked_again_behind_the_body() {
    let world = World::new();
    let [anna, _] = ["anna", "ben"].map(|name| world.user(name, "admin", "*"));
    let (cookie, _) = world.cookie_of(&Identity::User(anna));
    let (rest, body) = tokio::sync::oneshot::channel::<Bytes>();
    let request = Request::builder()
        .method(Method::POST)
        .uri("/api/v1/users")
        .header("host", "pi.local:8000")
        .header(JSON.0, JSON.1)
        .header("cookie", cookie)
        .body(Body::from_stream(futures_util::stream::once(body)))
        .unwrap();
    let peer = Peer::new(ELSEWHERE.parse().unwrap(), "192.0.2.1:8000".parse().unwrap(), false);
    let dashboard = Arc::clone(&world.dashboard);
    let asked = tokio::spawn(async move { dashboard.answer(peer, request).await.status() });
    // It comes to where it waits for its body.
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    world.change(Change::RemoveUser(anna));
    let eve = json!({ "name": "eve", "password": PASSWORD, "role": "admin" });
    rest.send(eve.to_string().into()).unwrap();
    assert_eq!(asked.await.unwrap(), StatusCode::UNAUTHORIZED);
    assert!(world.shared.settings.control.now().named("eve").is_none());
}
