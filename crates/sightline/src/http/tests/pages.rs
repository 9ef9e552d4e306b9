//! Signing in and out, as a browser does it.

use super::*;

const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");

/// Posts the form of the sign-in page.
async fn sign_in(world: &World, remote: &str, form: &'static str, headers: &[(&str, &str)]) -> Reply {
    let headers = [&[FORM], headers].concat();
    ask(&world.dashboard, remote, Method::POST, "/sign-in", &headers, form).await
}

/// What is written into the page that plays.
fn config(reply: &Reply) -> Value {
    assert_eq!(reply.status, StatusCode::OK, "{reply:?}");
    let (_, config) = reply.text.split_once("id=\"page-config\">").unwrap();
    serde_json::from_str(config.split_once("</script>").unwrap().0).unwrap()
}

/// Name and value of the cookie that was set.
fn cookie(reply: &Reply) -> String {
    reply.header("set-cookie").split(';').next().unwrap().to_owned()
}

#[tokio::test]
async fn signing_in_gives_a_session_and_signing_out_ends_it() {
    let world = World::new();
    let _publisher = world.publish("house/door", None);
    let page = world.get("/", &[]).await;
    assert_eq!(page.status, StatusCode::OK);
    assert!(
        page.text.contains("type=\"password\"") && page.text.contains("action=\"./sign-in\""),
        "{}",
        page.text
    );
    // Nothing from elsewhere, no script.
    assert!(
        !page.text.contains("://") && !page.text.contains("<script"),
        "{}",
        page.text
    );

    let signed_in = sign_in(&world, ELSEWHERE, "user=sightline&token=+v-token+", &[]).await;
    assert_eq!(
        (signed_in.status, signed_in.header("location")),
        (StatusCode::SEE_OTHER, "./")
    );
    for attribute in ["; HttpOnly", "; SameSite=Lax", "; Path=/", "; Max-Age=2592000"] {
        assert!(signed_in.header("set-cookie").contains(attribute), "{signed_in:?}");
    }
    assert!(!signed_in.header("set-cookie").contains("v-token"));

    let cookie = cookie(&signed_in);
    let others = format!("theme=dark; sightline=of-another-program; {cookie}");
    for cookies in [&cookie, &others] {
        let home = world.get("/", &[("cookie", cookies)]).await;
        assert_eq!(config(&home)["signed_in"], true);
        let list = ask(&world.players, ELSEWHERE, Method::GET, "/", &[("cookie", cookies)], "").await;
        assert!(list.text.contains("rtsp://pi.local:8554/house/door"), "{}", list.text);
        assert!(list.text.contains("href=\"house/door/\""), "{}", list.text);
        assert!(list.text.contains("action=\"sign-out\""), "{}", list.text);
        let streams = world.get("/api/v1/streams", &[("cookie", cookies)]).await;
        assert_eq!(streams.status, StatusCode::OK);
    }
    let signed_out = world
        .ask(ELSEWHERE, Method::POST, "/sign-out", &[("cookie", &cookie)])
        .await;
    assert!(
        signed_out
            .header("set-cookie")
            .starts_with("sightline=; Path=/; Max-Age=0"),
        "{signed_out:?}"
    );
}

#[tokio::test]
async fn a_wrong_token_is_said_on_the_page_and_guessing_is_braked() {
    let world = World::new();
    let wrong = sign_in(&world, ELSEWHERE, "token=%3Cb%3E", &[("user-agent", "Mozilla/5.0")]).await;
    assert_eq!(wrong.status, StatusCode::UNAUTHORIZED);
    assert!(
        wrong.text.contains("role=\"alert\">The name or the password is wrong"),
        "{}",
        wrong.text
    );
    assert!(wrong.headers.get("set-cookie").is_none() && !wrong.text.contains("<b>"));
    assert_eq!(wrong.header("www-authenticate"), "Bearer realm=\"Sightline\"");
    for _ in 0..10 {
        sign_in(&world, ELSEWHERE, "token=guess", &[]).await;
    }
    let braked = sign_in(&world, ELSEWHERE, "token=v-token", &[]).await;
    assert_eq!(braked.status, StatusCode::TOO_MANY_REQUESTS);
    assert!(braked.text.contains("Too many wrong credentials") && !braked.header("retry-after").is_empty());
}

#[tokio::test]
async fn a_link_with_a_token_signs_in_and_leaves_the_address_bar_clean() {
    let world = World::new();
    let link = world.get("/?token=v-token", &[]).await;
    assert_eq!((link.status, link.header("location")), (StatusCode::SEE_OTHER, "./"));
    let home = world.get("/", &[("cookie", &cookie(&link))]).await;
    assert_eq!(config(&home)["view"], "dashboard");
}

#[tokio::test]
async fn by_tls_the_cookie_is_for_tls_alone() {
    // By that of a proxy.
    let trusted = Trusted {
        networks: vec!["192.0.2.7".parse().unwrap()],
        ..Trusted::default()
    };
    let world = World::with(Wishes {
        trusted,
        ..Wishes::default()
    });
    let tls = ("x-forwarded-proto", "https");
    let signed_in = sign_in(&world, ELSEWHERE, "token=v-token", &[tls]).await;
    assert!(
        signed_in.header("set-cookie").starts_with("__Host-sightline="),
        "{signed_in:?}"
    );
    assert!(signed_in.header("set-cookie").ends_with("; Secure"), "{signed_in:?}");
    let cookie = cookie(&signed_in);
    assert_eq!(
        world.get("/api/v1/streams", &[("cookie", &cookie), tls]).await.status,
        StatusCode::OK
    );
    let plain = cookie.replace("__Host-", "");
    assert_eq!(
        world.get("/api/v1/streams", &[("cookie", &plain), tls]).await.code(),
        "credential-missing"
    );
}

#[tokio::test]
async fn a_session_ends_when_nobody_uses_it_and_after_a_month_whoever_does() {
    let clock = SimClock::new();
    let world = World::with(Wishes {
        clock: Arc::new(clock.clone()),
        ..Wishes::default()
    });
    const DAY: Duration = Duration::from_secs(86_400);
    let [idle, used] = [(); 2].map(|()| world.cookie(AuthRole::Viewer));
    let world = &world;
    let get = |cookie: String| async move { world.get("/api/v1/streams", &[("cookie", &cookie)]).await.status };
    for _ in 0..4 {
        clock.advance(DAY * 6);
        assert_eq!(get(used.clone()).await, StatusCode::OK);
    }
    assert_eq!(get(idle).await, StatusCode::UNAUTHORIZED);
    clock.advance(DAY * 6);
    assert_eq!(get(used).await, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn nobody_signs_in_where_nobody_needs_to() {
    let world = World::new();
    let home = world.ask(TRUSTED, Method::GET, "/", &[]).await;
    assert_eq!(config(&home)["signed_in"], false);
    let list = ask(&world.players, TRUSTED, Method::GET, "/", &[], "").await;
    assert!(
        list.text.contains("No stream is published now.") && !list.text.contains("sign-out"),
        "{}",
        list.text
    );
    // Whoever signs in all the same may do more: see what was.
    let viewer = sign_in(&world, TRUSTED, "token=v-token", &[]).await;
    assert!(viewer.header("set-cookie").starts_with("sightline="), "{viewer:?}");
    let wrong = sign_in(&world, TRUSTED, "token=x", &[]).await;
    assert_eq!(
        (wrong.status, wrong.headers.get("set-cookie")),
        (StatusCode::SEE_OTHER, None)
    );
    let admin = sign_in(&world, TRUSTED, "token=a-token", &[]).await;
    assert!(admin.header("set-cookie").starts_with("sightline="), "{admin:?}");
}

#[tokio::test]
async fn a_form_that_is_none_of_ours_is_refused() {
    let world = World::new();
    let large: &'static str = Box::leak(format!("token={}", "x".repeat(5_000)).into_boxed_str());
    assert_eq!(sign_in(&world, ELSEWHERE, large, &[]).await.code(), "too-large");
    let reply = ask(
        &world.dashboard,
        ELSEWHERE,
        Method::POST,
        "/sign-in",
        &[],
        "token=v-token",
    )
    .await;
    assert_eq!(reply.code(), "wrong-type");
    let empty = sign_in(&world, ELSEWHERE, "", &[]).await;
    assert_eq!(empty.status, StatusCode::UNAUTHORIZED);
}

/// Everything that a page asks for is found from where it stands, so that a proxy may put it anywhere.
#[tokio::test]
async fn pages_of_streams_know_where_they_are() {
    let world = World::new();
    for (path, view, root) in [
        ("/cam/", "watch", "../"),
        ("/cam/publish", "publish", "../"),
        ("/house/cam/", "watch", "../../"),
        ("/house%2Fcam/publish?x=1", "publish", "../"),
    ] {
        let name = if path.contains("house") { "house/cam" } else { "cam" };
        for (entrance, prefix, streams, deeper) in [
            (&world.players, "", "", ""),
            (&world.dashboard, "/live", "live/", "../"),
        ] {
            let path = format!("{prefix}{path}");
            let reply = ask(entrance, TRUSTED, Method::GET, &path, &[], "").await;
            let root = format!("{root}{deeper}");
            let expected = serde_json::json!({
                "view": view, "name": name, "root": root, "streams": streams, "signed_in": false,
                "https_port": world.shared.ports.https,
            });
            assert_eq!(config(&reply), expected, "{path}");
            assert!(reply.text.contains(&format!("src=\"{root}assets/")), "{}", reply.text);
            assert!(!reply.text.contains("\"./assets/") && reply.text.contains(&format!("<title>{name} ")));
        }
    }
    let home = world.ask(TRUSTED, Method::GET, "/", &[]).await;
    assert_eq!(
        (&config(&home)["root"], &config(&home)["streams"]),
        (&"./".into(), &"live/".into())
    );
    for directive in ["default-src 'none'", "script-src 'self'", "frame-ancestors 'none'"] {
        assert!(home.header("content-security-policy").contains(directive));
    }
    assert!(!home.header("content-security-policy").contains("unsafe"));
}

/// Whoever has a link is nobody yet: its page is the same for all, but for whether this browser has a session to lose.
#[tokio::test]
async fn pages_of_links_are_for_everybody_and_say_nothing() {
    let world = World::new();
    let _publisher = world.publish("house/door", None);
    let viewer = world.cookie(AuthRole::Viewer);
    for page in ["first-run", "join", "shared"] {
        let path = format!("/{page}");
        let expected = |signed_in: bool| {
            serde_json::json!({
                "view": page, "name": null, "root": "./", "streams": "live/", "signed_in": signed_in,
                "https_port": world.shared.ports.https,
            })
        };
        let nobody = world.get(&path, &[]).await;
        assert_eq!(config(&nobody), expected(false));
        assert!(
            nobody.header("content-security-policy").contains("script-src 'self'")
                && !nobody.text.contains("door")
                && nobody.headers.get("set-cookie").is_none()
        );
        // A credential that is wrong is none of this page's business.
        let wrong = world.get(&format!("{path}?token=x"), &[]).await;
        assert_eq!(wrong.text, nobody.text);
        assert_eq!(config(&world.get(&path, &[("cookie", &viewer)]).await), expected(true));
        // They are on the dashboard's ports; on those of players the word is a stream's name.
        let player = ask(&world.players, TRUSTED, Method::GET, &path, &[], "").await;
        assert_eq!(
            (player.status, player.header("location")),
            (StatusCode::TEMPORARY_REDIRECT, &*format!("./{page}/"))
        );
    }
}

#[tokio::test]
async fn signing_in_leads_to_the_page_that_was_asked_for() {
    let world = World::new();
    let page = world.get("/live/house/cam/?x=1", &[]).await;
    assert!(page.text.contains("action=\"../../../sign-in\""), "{}", page.text);
    assert!(
        page.text.contains("href=\"../../../assets/pages.css\""),
        "{}",
        page.text
    );
    assert!(
        page.text.contains("name=\"to\" value=\"live/house/cam/\""),
        "{}",
        page.text
    );
    let signed_in = sign_in(&world, ELSEWHERE, "to=live%2Fhouse%2Fcam%2F&token=v-token", &[]).await;
    assert_eq!(signed_in.header("location"), "./live/house/cam/");
    let wrong = sign_in(&world, ELSEWHERE, "to=live%2Fhouse%2Fcam%2F&token=x", &[]).await;
    assert!(wrong.text.contains("action=\"./sign-in\""), "{}", wrong.text);
    assert!(wrong.text.contains("value=\"live/house/cam/\""), "{}", wrong.text);
}

/// A browser that knows the icon of one of our pages shows it on all: they name it, and their policy allows it.
#[tokio::test]
async fn every_page_has_its_icon() {
    let world = World::new();
    for (address, path, root) in [
        (ELSEWHERE, "/", "./"),
        (ELSEWHERE, "/live/house/cam/", "../../../"),
        (TRUSTED, "/", "./"),
        (TRUSTED, "/live/house/cam/", "../../../"),
    ] {
        for page in [
            world.ask(address, Method::GET, path, &[]).await,
            ask(&world.players, address, Method::GET, path, &[], "").await,
        ] {
            let (before, _) = page.text.split_once(".svg\" type=\"image/svg+xml\"").expect(path);
            let (_, icon) = before.rsplit_once("rel=\"icon\" href=\"").unwrap();
            let icon = icon.strip_prefix(root).unwrap_or_else(|| panic!("{path}: {icon}"));
            let found = world.get(&format!("/{icon}.svg"), &[]).await;
            assert_eq!(
                (found.status, found.header("content-type")),
                (StatusCode::OK, "image/svg+xml")
            );
            assert!(
                page.header("content-security-policy").contains("img-src 'self'"),
                "{path}"
            );
        }
    }
}

/// Nobody is sent elsewhere by a link to our sign-in page.
#[tokio::test]
async fn signing_in_leads_nowhere_else() {
    let world = World::new();
    for form in [
        "to=https%3A%2F%2Fevil.example%2F&token=v-token",
        "to=%2F%2Fevil.example%2F&token=v-token",
        "to=..%2F..%2Fx&token=v-token",
        "to=a%5Cb&token=v-token",
        "to=a%0D%0Ab&token=v-token",
        "to=%22%3E%3Cscript%3E&token=v-token",
    ] {
        let reply = sign_in(&world, ELSEWHERE, form, &[]).await;
        assert_eq!(
            (reply.status, reply.header("location")),
            (StatusCode::SEE_OTHER, "./"),
            "{form}"
        );
    }
    for path in ["/live/a%22%3E%3Cb%3E/", "/live/a'b/"] {
        let page = world.get(path, &[]).await;
        assert!(
            !page.text.contains("<b>") && !page.text.contains("a'b"),
            "{}",
            page.text
        );
    }
}

/// Who may view may not publish; a token in the URL is enough for either.
#[tokio::test]
async fn publishing_has_a_page_for_those_who_may() {
    let world = World::new();
    let get = async |path| ask(&world.players, ELSEWHERE, Method::GET, path, &[], "").await;
    assert_eq!(config(&get("/cam/publish?token=p-token").await)["view"], "publish");
    assert_eq!(config(&get("/cam/?token=v-token").await)["view"], "watch");
    let viewer = get("/cam/publish?token=v-token").await;
    assert_eq!(viewer.status, StatusCode::FORBIDDEN);
    assert!(viewer.text.contains("role=\"alert\""), "{}", viewer.text);
}

/// Written into the page, so that nothing flashes; only words that are known.
#[tokio::test]
async fn what_one_wants_of_the_page_is_in_it() {
    let world = World::new();
    world.user("anna", "viewer", "*");
    let json = ("content-type", "application/json");
    let body = format!("{{\"name\":\"anna\",\"password\":\"{PASSWORD}\"}}");
    let signed_in = ask(
        &world.dashboard,
        ELSEWHERE,
        Method::POST,
        "/api/v1/session",
        &[json],
        &body,
    )
    .await;
    let cookies = signed_in.headers.get_all("set-cookie").iter();
    let mut ours = cookies.filter_map(|value| value.to_str().ok());
    let cookie = ours.find(|value| value.starts_with("sightline=")).unwrap();
    let cookie = cookie.split(';').next().unwrap().to_owned();
    let own = ("cookie", cookie.as_str());
    let before = world.get("/settings/me", &[own]).await;
    assert!(
        before.text.contains("<html lang=\"en\" data-theme=\"dark\">"),
        "{before:?}"
    );
    let wish = "{\"theme\":\"light\",\"language\":\"vi\",\"start\":\"</script>\",\"letters\":false,\"more\":[1]}";
    let kept = ask(
        &world.dashboard,
        ELSEWHERE,
        Method::PUT,
        "/api/v1/me/preferences",
        &[own, json],
        wish,
    )
    .await;
    assert_eq!(kept.status, StatusCode::NO_CONTENT, "{kept:?}");
    for path in ["/", "/wall", "/settings/me"] {
        let page = world.get(path, &[own]).await;
        assert!(
            page.text.contains("<html lang=\"vi\" data-theme=\"light\">"),
            "{page:?}"
        );
        let expected = "\"preferences\":{\"theme\":\"light\",\"language\":\"vi\",\"start\":null,\"letters\":false}";
        assert!(page.text.contains(expected), "{page:?}");
    }
    let link = world.get("/join", &[own]).await;
    assert!(
        link.text.contains("data-theme=\"dark\"") && !link.text.contains("preferences"),
        "{link:?}"
    );
}
