//! Who gets through to what, and what every answer has in common.

use std::fmt::Write as _;

use axum_core::response::IntoResponse as _;

use super::super::answer::json;
use super::super::routes::{Answer, Call, DASHBOARD, PLAYERS, Port, Route, Target, Verb};
use super::*;
use crate::auth::Action;
use crate::record::export::Exports;
use crate::record::library::made::Made;

/// Everybody there can be: what they show, and from where.
const CALLERS: [(&str, &str, &str); 8] = [
    ("nobody", ELSEWHERE, ""),
    ("wrong", ELSEWHERE, "x-token"),
    ("viewer", ELSEWHERE, "v-token"),
    ("publisher", ELSEWHERE, "p-token"),
    ("admin", ELSEWHERE, "a-token"),
    ("account", ELSEWHERE, "anna:of-one"),
    ("near", TRUSTED, ""),
    ("loopback", "127.0.0.1:5000", ""),
];

/// Each route once more for every new one: who may use it is read here, not only in the table.
#[tokio::test]
async fn every_route_and_every_role() {
    // Of a recorder in which nothing is: how far the one that is told to record got is no matter here.
    let (made, clock) = (Made::new(), Arc::new(SimClock::default()));
    let recorder = made.recorder.clone();
    let events = crate::events::Events::new(&Hub::new(Limits::default()), clock.clone());
    let exports = Exports::new(
        move || Some(recorder.clone()),
        None,
        events,
        clock,
        || jiff::tz::TimeZone::UTC,
    );
    let world = World::with(Wishes {
        library: Some(made.library()),
        exports: Some(exports),
        ..Wishes::default()
    });
    let _publisher = world.publish("zerolatency", None);
    world.with_account("anna", "of-one", "zerolatency");
    let mut table = String::new();
    for (which, port, entrance) in [
        ("dashboard", DASHBOARD, &world.dashboard),
        ("players", PLAYERS, &world.players),
    ] {
        for route in port.tables.iter().copied().flatten() {
            let path = example(port, route);
            let said = path.replace(&script(), "SCRIPT");
            let method = route.verb.method();
            let _ = write!(table, "{which} {method} {said}:");
            for (who, remote, token) in CALLERS {
                let authorization = format!("Bearer {token}");
                let headers: &[(&str, &str)] = match token {
                    "" => &[],
                    _ => &[("authorization", &authorization)],
                };
                let reply = ask(entrance, remote, method.clone(), &path, headers, "").await;
                let status = reply.status.as_u16();
                let _ = write!(table, " {who} {status}");
                if let Some(about) = route.about {
                    let described = openapi::statuses(route, about);
                    assert!(
                        described.contains(&status),
                        "{method} {path}: {status} is not described"
                    );
                }
                if reply.text.contains("sign-in\">") {
                    table.push('*');
                }
            }
            table.push('\n');
        }
    }
    // A star: the sign-in page in place of the page asked for.
    insta::assert_snapshot!(table, @"
    dashboard GET /: nobody 200* wrong 401* viewer 200 publisher 403* admin 200 account 200 near 200 loopback 200*
    dashboard GET /wall: nobody 200* wrong 401* viewer 200 publisher 403* admin 200 account 200 near 200 loopback 200*
    dashboard GET /wall/layout: nobody 200* wrong 401* viewer 200 publisher 403* admin 200 account 200 near 200 loopback 200*
    dashboard GET /timeline: nobody 200* wrong 401* viewer 200 publisher 403* admin 200 account 200 near 403* loopback 200*
    dashboard GET /events: nobody 200* wrong 401* viewer 200 publisher 403* admin 200 account 200 near 403* loopback 200*
    dashboard GET /exports: nobody 200* wrong 401* viewer 200 publisher 403* admin 200 account 200 near 403* loopback 200*
    dashboard GET /cameras: nobody 200* wrong 401* viewer 403* publisher 403* admin 200 account 403* near 403* loopback 200*
    dashboard GET /cameras/add: nobody 200* wrong 401* viewer 403* publisher 403* admin 200 account 403* near 403* loopback 200*
    dashboard GET /inspector: nobody 200* wrong 401* viewer 403* publisher 403* admin 200 account 403* near 403* loopback 200*
    dashboard GET /system: nobody 200* wrong 401* viewer 403* publisher 403* admin 200 account 403* near 403* loopback 200*
    dashboard GET /settings: nobody 200* wrong 401* viewer 200 publisher 200 admin 200 account 200 near 200 loopback 200*
    dashboard GET /settings/me: nobody 200* wrong 401* viewer 200 publisher 200 admin 200 account 200 near 200 loopback 200*
    dashboard GET /settings/*part: nobody 200* wrong 401* viewer 403* publisher 403* admin 200 account 403* near 403* loopback 200*
    dashboard GET /first-run: nobody 200 wrong 200 viewer 200 publisher 200 admin 200 account 200 near 200 loopback 200
    dashboard GET /join: nobody 200 wrong 200 viewer 200 publisher 200 admin 200 account 200 near 200 loopback 200
    dashboard GET /shared: nobody 200 wrong 200 viewer 200 publisher 200 admin 200 account 200 near 200 loopback 200
    dashboard GET /live/zerolatency/: nobody 200* wrong 401* viewer 200 publisher 403* admin 200 account 200 near 200 loopback 200*
    dashboard GET /live/zerolatency/publish: nobody 200* wrong 401* viewer 403* publisher 200 admin 200 account 200 near 200 loopback 200*
    dashboard POST /sign-in: nobody 415 wrong 415 viewer 415 publisher 415 admin 415 account 415 near 415 loopback 415
    dashboard POST /sign-out: nobody 303 wrong 303 viewer 303 publisher 303 admin 303 account 303 near 303 loopback 303
    dashboard GET /assets/pages.css: nobody 200 wrong 200 viewer 200 publisher 200 admin 200 account 200 near 200 loopback 200
    dashboard GET /healthz: nobody 200 wrong 200 viewer 200 publisher 200 admin 200 account 200 near 200 loopback 200
    dashboard GET /readyz: nobody 200 wrong 200 viewer 200 publisher 200 admin 200 account 200 near 200 loopback 200
    dashboard GET /assets/SCRIPT: nobody 200 wrong 200 viewer 200 publisher 200 admin 200 account 200 near 200 loopback 200
    dashboard GET /api/v1/streams/zerolatency: nobody 401 wrong 401 viewer 200 publisher 403 admin 200 account 200 near 200 loopback 401
    dashboard GET /api/v1/streams: nobody 401 wrong 401 viewer 200 publisher 403 admin 200 account 200 near 200 loopback 401
    dashboard GET /api/v1/sources: nobody 401 wrong 401 viewer 200 publisher 403 admin 200 account 200 near 200 loopback 401
    dashboard GET /api/v1/forwards: nobody 401 wrong 401 viewer 403 publisher 403 admin 200 account 403 near 403 loopback 401
    dashboard GET /api/v1/motion: nobody 401 wrong 401 viewer 200 publisher 403 admin 200 account 200 near 200 loopback 401
    dashboard GET /api/v1/webhooks: nobody 401 wrong 401 viewer 403 publisher 403 admin 200 account 403 near 403 loopback 401
    dashboard GET /api/v1/events: nobody 401 wrong 401 viewer 200 publisher 403 admin 200 account 200 near 200 loopback 401
    dashboard GET /api/v1/config: nobody 401 wrong 401 viewer 403 publisher 403 admin 200 account 403 near 403 loopback 401
    dashboard PATCH /api/v1/config: nobody 401 wrong 401 viewer 403 publisher 403 admin 415 account 403 near 403 loopback 401
    dashboard GET /api/v1/config/schema: nobody 401 wrong 401 viewer 403 publisher 403 admin 200 account 403 near 403 loopback 401
    dashboard GET /api/v1/config/file: nobody 401 wrong 401 viewer 403 publisher 403 admin 200 account 403 near 403 loopback 401
    dashboard PUT /api/v1/config/file: nobody 401 wrong 401 viewer 403 publisher 403 admin 415 account 403 near 403 loopback 401
    dashboard PUT /api/v1/config/streams/zerolatency: nobody 401 wrong 401 viewer 403 publisher 403 admin 415 account 403 near 403 loopback 401
    dashboard DELETE /api/v1/config/streams/zerolatency: nobody 401 wrong 401 viewer 403 publisher 403 admin 404 account 403 near 403 loopback 401
    dashboard GET /api/v1/credentials: nobody 401 wrong 401 viewer 403 publisher 403 admin 200 account 403 near 403 loopback 401
    dashboard POST /api/v1/credentials: nobody 401 wrong 401 viewer 403 publisher 403 admin 415 account 403 near 403 loopback 401
    dashboard PUT /api/v1/credentials/key: nobody 401 wrong 401 viewer 403 publisher 403 admin 415 account 403 near 403 loopback 401
    dashboard DELETE /api/v1/credentials/key: nobody 401 wrong 401 viewer 403 publisher 403 admin 404 account 403 near 403 loopback 401
    dashboard POST /api/v1/discover: nobody 401 wrong 401 viewer 403 publisher 403 admin 415 account 403 near 403 loopback 401
    dashboard POST /api/v1/probe: nobody 401 wrong 401 viewer 403 publisher 403 admin 415 account 403 near 403 loopback 401
    dashboard GET /api/v1/probe/key/picture.jpg: nobody 401 wrong 401 viewer 403 publisher 403 admin 404 account 403 near 403 loopback 401
    dashboard GET /api/v1/history: nobody 401 wrong 401 viewer 400 publisher 403 admin 400 account 400 near 400 loopback 401
    dashboard GET /api/v1/latency: nobody 401 wrong 401 viewer 200 publisher 403 admin 200 account 403 near 200 loopback 401
    dashboard GET /api/v1/log: nobody 401 wrong 401 viewer 403 publisher 403 admin 200 account 403 near 403 loopback 401
    dashboard POST /api/v1/qr: nobody 401 wrong 401 viewer 415 publisher 403 admin 415 account 415 near 415 loopback 401
    dashboard GET /api/v1/system: nobody 401 wrong 401 viewer 200 publisher 403 admin 200 account 200 near 200 loopback 401
    dashboard GET /api/v1/streams/zerolatency/viewers: nobody 401 wrong 401 viewer 403 publisher 403 admin 200 account 403 near 403 loopback 401
    dashboard GET /api/v1/streams/zerolatency/snapshot.jpg: nobody 401 wrong 401 viewer 503 publisher 403 admin 503 account 503 near 503 loopback 401
    dashboard GET /api/v1/streams/zerolatency/controls: nobody 401 wrong 401 viewer 403 publisher 403 admin 404 account 403 near 403 loopback 401
    dashboard PUT /api/v1/streams/zerolatency/controls: nobody 401 wrong 401 viewer 403 publisher 403 admin 415 account 403 near 403 loopback 401
    dashboard POST /api/v1/streams/zerolatency/recording: nobody 401 wrong 401 viewer 403 publisher 403 admin 200 account 403 near 403 loopback 401
    dashboard DELETE /api/v1/streams/zerolatency/recording: nobody 401 wrong 401 viewer 403 publisher 403 admin 200 account 403 near 403 loopback 401
    dashboard GET /api/v1/viewers: nobody 401 wrong 401 viewer 403 publisher 403 admin 200 account 403 near 403 loopback 401
    dashboard GET /api/v1/publishers: nobody 401 wrong 401 viewer 403 publisher 403 admin 200 account 403 near 403 loopback 401
    dashboard DELETE /api/v1/viewers/id: nobody 401 wrong 401 viewer 403 publisher 403 admin 404 account 403 near 403 loopback 401
    dashboard DELETE /api/v1/publishers/id: nobody 401 wrong 401 viewer 403 publisher 403 admin 404 account 403 near 403 loopback 401
    dashboard POST /api/v1/session: nobody 415 wrong 415 viewer 415 publisher 415 admin 415 account 415 near 415 loopback 415
    dashboard DELETE /api/v1/session: nobody 204 wrong 204 viewer 204 publisher 204 admin 204 account 204 near 204 loopback 204
    dashboard POST /api/v1/first-run: nobody 415 wrong 415 viewer 415 publisher 415 admin 415 account 415 near 415 loopback 415
    dashboard POST /api/v1/invitations/accept: nobody 415 wrong 415 viewer 415 publisher 415 admin 415 account 415 near 415 loopback 415
    dashboard POST /api/v1/shares/open: nobody 415 wrong 415 viewer 415 publisher 415 admin 415 account 415 near 415 loopback 415
    dashboard GET /api/v1/me: nobody 401 wrong 401 viewer 200 publisher 200 admin 200 account 200 near 200 loopback 401
    dashboard PUT /api/v1/me/password: nobody 401 wrong 401 viewer 403 publisher 403 admin 403 account 403 near 403 loopback 401
    dashboard GET /api/v1/me/sessions: nobody 401 wrong 401 viewer 403 publisher 403 admin 403 account 403 near 403 loopback 401
    dashboard DELETE /api/v1/me/sessions: nobody 401 wrong 401 viewer 403 publisher 403 admin 403 account 403 near 403 loopback 401
    dashboard DELETE /api/v1/me/sessions/key: nobody 401 wrong 401 viewer 403 publisher 403 admin 403 account 403 near 403 loopback 401
    dashboard GET /api/v1/me/tokens: nobody 401 wrong 401 viewer 403 publisher 403 admin 403 account 403 near 403 loopback 401
    dashboard POST /api/v1/me/tokens: nobody 401 wrong 401 viewer 403 publisher 403 admin 403 account 403 near 403 loopback 401
    dashboard DELETE /api/v1/me/tokens/key: nobody 401 wrong 401 viewer 403 publisher 403 admin 403 account 403 near 403 loopback 401
    dashboard GET /api/v1/me/player: nobody 401 wrong 401 viewer 403 publisher 403 admin 403 account 403 near 403 loopback 401
    dashboard POST /api/v1/me/player: nobody 401 wrong 401 viewer 403 publisher 403 admin 403 account 403 near 403 loopback 401
    dashboard GET /api/v1/me/preferences: nobody 401 wrong 401 viewer 403 publisher 403 admin 403 account 403 near 403 loopback 401
    dashboard PUT /api/v1/me/preferences: nobody 401 wrong 401 viewer 403 publisher 403 admin 403 account 403 near 403 loopback 401
    dashboard GET /api/v1/users: nobody 401 wrong 401 viewer 403 publisher 403 admin 200 account 403 near 403 loopback 401
    dashboard POST /api/v1/users: nobody 401 wrong 401 viewer 403 publisher 403 admin 415 account 403 near 403 loopback 401
    dashboard PATCH /api/v1/users/user: nobody 401 wrong 401 viewer 403 publisher 403 admin 415 account 403 near 403 loopback 401
    dashboard DELETE /api/v1/users/user: nobody 401 wrong 401 viewer 403 publisher 403 admin 404 account 403 near 403 loopback 401
    dashboard POST /api/v1/users/user/tokens: nobody 401 wrong 401 viewer 403 publisher 403 admin 404 account 403 near 403 loopback 401
    dashboard GET /api/v1/roles: nobody 401 wrong 401 viewer 403 publisher 403 admin 200 account 403 near 403 loopback 401
    dashboard PUT /api/v1/roles/role: nobody 401 wrong 401 viewer 403 publisher 403 admin 415 account 403 near 403 loopback 401
    dashboard DELETE /api/v1/roles/role: nobody 401 wrong 401 viewer 403 publisher 403 admin 400 account 403 near 403 loopback 401
    dashboard GET /api/v1/sessions: nobody 401 wrong 401 viewer 403 publisher 403 admin 200 account 403 near 403 loopback 401
    dashboard DELETE /api/v1/sessions/key: nobody 401 wrong 401 viewer 403 publisher 403 admin 404 account 403 near 403 loopback 401
    dashboard GET /api/v1/tokens: nobody 401 wrong 401 viewer 403 publisher 403 admin 200 account 403 near 403 loopback 401
    dashboard DELETE /api/v1/tokens/key: nobody 401 wrong 401 viewer 403 publisher 403 admin 404 account 403 near 403 loopback 401
    dashboard GET /api/v1/invitations: nobody 401 wrong 401 viewer 403 publisher 403 admin 200 account 403 near 403 loopback 401
    dashboard POST /api/v1/invitations: nobody 401 wrong 401 viewer 403 publisher 403 admin 415 account 403 near 403 loopback 401
    dashboard DELETE /api/v1/invitations/key: nobody 401 wrong 401 viewer 403 publisher 403 admin 404 account 403 near 403 loopback 401
    dashboard POST /api/v1/shares: nobody 401 wrong 401 viewer 403 publisher 403 admin 415 account 403 near 403 loopback 401
    dashboard GET /api/v1/audit: nobody 401 wrong 401 viewer 403 publisher 403 admin 200 account 403 near 403 loopback 401
    dashboard GET /api/v1/search: nobody 401 wrong 401 viewer 400 publisher 403 admin 400 account 400 near 400 loopback 401
    dashboard GET /api/v1/recordings?camera=zerolatency&path=zerolatency: nobody 401 wrong 401 viewer 200 publisher 403 admin 200 account 200 near 403 loopback 401
    dashboard GET /api/v1/recordings/cameras: nobody 401 wrong 401 viewer 200 publisher 403 admin 200 account 200 near 403 loopback 401
    dashboard DELETE /api/v1/recordings/zerolatency@7: nobody 401 wrong 401 viewer 403 publisher 403 admin 404 account 403 near 403 loopback 401
    dashboard GET /api/v1/recordings/zerolatency@7/media: nobody 401 wrong 401 viewer 404 publisher 403 admin 404 account 404 near 403 loopback 401
    dashboard GET /api/v1/recordings/zerolatency@7/media.mp4: nobody 401 wrong 401 viewer 404 publisher 403 admin 404 account 404 near 403 loopback 401
    dashboard GET /api/v1/recordings/zerolatency/clip.mp4: nobody 401 wrong 401 viewer 400 publisher 403 admin 400 account 400 near 403 loopback 401
    dashboard GET /api/v1/recordings/zerolatency/index.m3u8: nobody 401 wrong 401 viewer 400 publisher 403 admin 400 account 400 near 403 loopback 401
    dashboard GET /api/v1/recordings/zerolatency/motion: nobody 401 wrong 401 viewer 200 publisher 403 admin 200 account 200 near 403 loopback 401
    dashboard GET /api/v1/recordings/zerolatency/frame.jpg: nobody 401 wrong 401 viewer 400 publisher 403 admin 400 account 400 near 403 loopback 401
    dashboard GET /api/v1/recordings/zerolatency/strip.jpg: nobody 401 wrong 401 viewer 400 publisher 403 admin 400 account 400 near 403 loopback 401
    dashboard GET /api/v1/recordings/zerolatency/strip.json: nobody 401 wrong 401 viewer 400 publisher 403 admin 400 account 400 near 403 loopback 401
    dashboard GET /api/v1/recordings/protected?camera=zerolatency&path=zerolatency: nobody 401 wrong 401 viewer 200 publisher 403 admin 200 account 200 near 403 loopback 401
    dashboard PUT /api/v1/recordings/protected/zerolatency@7: nobody 401 wrong 401 viewer 403 publisher 403 admin 404 account 403 near 403 loopback 401
    dashboard DELETE /api/v1/recordings/protected/zerolatency@7: nobody 401 wrong 401 viewer 403 publisher 403 admin 404 account 403 near 403 loopback 401
    dashboard GET /api/v1/recordings/events?camera=zerolatency&path=zerolatency: nobody 401 wrong 401 viewer 200 publisher 403 admin 200 account 200 near 403 loopback 401
    dashboard POST /api/v1/recordings/events: nobody 401 wrong 401 viewer 403 publisher 403 admin 415 account 403 near 403 loopback 401
    dashboard POST /api/v1/exports: nobody 401 wrong 401 viewer 403 publisher 403 admin 415 account 403 near 403 loopback 401
    dashboard GET /api/v1/exports: nobody 401 wrong 401 viewer 200 publisher 403 admin 200 account 200 near 403 loopback 401
    dashboard GET /api/v1/exports/zerolatency@7: nobody 401 wrong 401 viewer 404 publisher 403 admin 404 account 404 near 403 loopback 401
    dashboard GET /api/v1/exports/zerolatency@7/media: nobody 401 wrong 401 viewer 404 publisher 403 admin 404 account 404 near 403 loopback 401
    dashboard DELETE /api/v1/exports/zerolatency@7: nobody 401 wrong 401 viewer 403 publisher 403 admin 404 account 403 near 403 loopback 401
    dashboard GET /list?camera=zerolatency&path=zerolatency: nobody 401 wrong 401 viewer 404 publisher 403 admin 404 account 404 near 403 loopback 401
    dashboard GET /get?camera=zerolatency&path=zerolatency: nobody 401 wrong 401 viewer 400 publisher 403 admin 400 account 400 near 403 loopback 401
    dashboard GET /v3/paths/list: nobody 401 wrong 401 viewer 403 publisher 403 admin 200 account 403 near 403 loopback 401
    dashboard GET /v3/paths/get/zerolatency: nobody 401 wrong 401 viewer 403 publisher 403 admin 200 account 403 near 403 loopback 401
    dashboard GET /v3/rtspsessions/list: nobody 401 wrong 401 viewer 403 publisher 403 admin 200 account 403 near 403 loopback 401
    dashboard GET /v3/rtspsessions/get/id: nobody 401 wrong 401 viewer 403 publisher 403 admin 404 account 403 near 403 loopback 401
    dashboard GET /v3/rtspssessions/list: nobody 401 wrong 401 viewer 403 publisher 403 admin 200 account 403 near 403 loopback 401
    dashboard GET /v3/rtspssessions/get/id: nobody 401 wrong 401 viewer 403 publisher 403 admin 404 account 403 near 403 loopback 401
    dashboard GET /v3/webrtcsessions/list: nobody 401 wrong 401 viewer 403 publisher 403 admin 200 account 403 near 403 loopback 401
    dashboard GET /v3/webrtcsessions/get/id: nobody 401 wrong 401 viewer 403 publisher 403 admin 404 account 403 near 403 loopback 401
    dashboard GET /v3/hlsmuxers/list: nobody 401 wrong 401 viewer 403 publisher 403 admin 200 account 403 near 403 loopback 401
    dashboard GET /v3/hlsmuxers/get/zerolatency: nobody 401 wrong 401 viewer 403 publisher 403 admin 404 account 403 near 403 loopback 401
    dashboard GET /metrics: nobody 401 wrong 401 viewer 200 publisher 403 admin 200 account 403 near 200 loopback 401
    dashboard GET /api/v1/openapi.json: nobody 200 wrong 200 viewer 200 publisher 200 admin 200 account 200 near 200 loopback 200
    dashboard GET /.well-known/acme-challenge/token: nobody 404 wrong 404 viewer 404 publisher 404 admin 404 account 404 near 404 loopback 404
    dashboard GET /live/zerolatency/index.m3u8: nobody 401 wrong 401 viewer 200 publisher 403 admin 200 account 200 near 200 loopback 401
    dashboard GET /live/zerolatency/stream.m3u8: nobody 401 wrong 401 viewer 200 publisher 403 admin 200 account 200 near 200 loopback 401
    dashboard GET /live/zerolatency/media.mp4: nobody 401 wrong 401 viewer 404 publisher 403 admin 404 account 404 near 404 loopback 401
    dashboard POST /live/zerolatency/whep: nobody 401 wrong 401 viewer 415 publisher 403 admin 415 account 415 near 415 loopback 401
    dashboard OPTIONS /live/zerolatency/whep: nobody 204 wrong 204 viewer 204 publisher 204 admin 204 account 204 near 204 loopback 204
    dashboard PATCH /live/zerolatency/whep/session: nobody 404 wrong 404 viewer 404 publisher 404 admin 404 account 404 near 404 loopback 404
    dashboard DELETE /live/zerolatency/whep/session: nobody 404 wrong 404 viewer 404 publisher 404 admin 404 account 404 near 404 loopback 404
    dashboard OPTIONS /live/zerolatency/whep/session: nobody 204 wrong 204 viewer 204 publisher 204 admin 204 account 204 near 204 loopback 204
    dashboard POST /live/zerolatency/whip: nobody 401 wrong 401 viewer 403 publisher 415 admin 415 account 415 near 415 loopback 401
    dashboard OPTIONS /live/zerolatency/whip: nobody 204 wrong 204 viewer 204 publisher 204 admin 204 account 204 near 204 loopback 204
    dashboard PATCH /live/zerolatency/whip/session: nobody 404 wrong 404 viewer 404 publisher 404 admin 404 account 404 near 404 loopback 404
    dashboard DELETE /live/zerolatency/whip/session: nobody 404 wrong 404 viewer 404 publisher 404 admin 404 account 404 near 404 loopback 404
    dashboard OPTIONS /live/zerolatency/whip/session: nobody 204 wrong 204 viewer 204 publisher 204 admin 204 account 204 near 204 loopback 204
    dashboard GET /ws/camera/: nobody 401 wrong 401 viewer 426 publisher 426 admin 426 account 426 near 426 loopback 401
    dashboard GET /ws/camera: nobody 401 wrong 401 viewer 426 publisher 426 admin 426 account 426 near 426 loopback 401
    dashboard GET /api/v1/live: nobody 401 wrong 401 viewer 426 publisher 426 admin 426 account 426 near 426 loopback 401
    players GET /: nobody 200* wrong 401* viewer 200 publisher 403* admin 200 account 200 near 200 loopback 200*
    players GET /zerolatency/: nobody 200* wrong 401* viewer 200 publisher 403* admin 200 account 200 near 200 loopback 200*
    players GET /zerolatency/publish: nobody 200* wrong 401* viewer 403* publisher 200 admin 200 account 200 near 200 loopback 200*
    players POST /sign-in: nobody 415 wrong 415 viewer 415 publisher 415 admin 415 account 415 near 415 loopback 415
    players POST /sign-out: nobody 303 wrong 303 viewer 303 publisher 303 admin 303 account 303 near 303 loopback 303
    players GET /assets/pages.css: nobody 200 wrong 200 viewer 200 publisher 200 admin 200 account 200 near 200 loopback 200
    players GET /healthz: nobody 200 wrong 200 viewer 200 publisher 200 admin 200 account 200 near 200 loopback 200
    players GET /readyz: nobody 200 wrong 200 viewer 200 publisher 200 admin 200 account 200 near 200 loopback 200
    players GET /assets/SCRIPT: nobody 200 wrong 200 viewer 200 publisher 200 admin 200 account 200 near 200 loopback 200
    players GET /api/v1/streams/zerolatency: nobody 401 wrong 401 viewer 200 publisher 403 admin 200 account 200 near 200 loopback 401
    players GET /zerolatency/index.m3u8: nobody 401 wrong 401 viewer 200 publisher 403 admin 200 account 200 near 200 loopback 401
    players GET /zerolatency/stream.m3u8: nobody 401 wrong 401 viewer 200 publisher 403 admin 200 account 200 near 200 loopback 401
    players GET /zerolatency/media.mp4: nobody 401 wrong 401 viewer 404 publisher 403 admin 404 account 404 near 404 loopback 401
    players POST /zerolatency/whep: nobody 401 wrong 401 viewer 415 publisher 403 admin 415 account 415 near 415 loopback 401
    players OPTIONS /zerolatency/whep: nobody 204 wrong 204 viewer 204 publisher 204 admin 204 account 204 near 204 loopback 204
    players PATCH /zerolatency/whep/session: nobody 404 wrong 404 viewer 404 publisher 404 admin 404 account 404 near 404 loopback 404
    players DELETE /zerolatency/whep/session: nobody 404 wrong 404 viewer 404 publisher 404 admin 404 account 404 near 404 loopback 404
    players OPTIONS /zerolatency/whep/session: nobody 204 wrong 204 viewer 204 publisher 204 admin 204 account 204 near 204 loopback 204
    players POST /zerolatency/whip: nobody 401 wrong 401 viewer 403 publisher 415 admin 415 account 415 near 415 loopback 401
    players OPTIONS /zerolatency/whip: nobody 204 wrong 204 viewer 204 publisher 204 admin 204 account 204 near 204 loopback 204
    players PATCH /zerolatency/whip/session: nobody 404 wrong 404 viewer 404 publisher 404 admin 404 account 404 near 404 loopback 404
    players DELETE /zerolatency/whip/session: nobody 404 wrong 404 viewer 404 publisher 404 admin 404 account 404 near 404 loopback 404
    players OPTIONS /zerolatency/whip/session: nobody 204 wrong 204 viewer 204 publisher 204 admin 204 account 204 near 204 loopback 204
    players GET /ws/camera/: nobody 401 wrong 401 viewer 426 publisher 426 admin 426 account 426 near 426 loopback 401
    players GET /ws/camera: nobody 401 wrong 401 viewer 426 publisher 426 admin 426 account 426 near 426 loopback 401
    players GET /api/v1/live: nobody 401 wrong 401 viewer 426 publisher 426 admin 426 account 426 near 426 loopback 401
    ");
}

/// A path that the route has on this port.
fn example(port: Port, route: &Route) -> String {
    let path = match route.path.strip_prefix("/{+name}/") {
        Some(end) => format!("{}zerolatency/{end}", port.streams_at),
        None => route
            .path
            .replace("{*name}", "zerolatency")
            .replace("{name}", "zerolatency"),
    };
    let path = path
        .replace("{recording}", "zerolatency@7")
        .replace("{export}", "zerolatency@7");
    let path = path.replace("{file}", &script()).replace(['{', '}'], "");
    match route.target {
        Target::Camera { .. } if !path.contains('@') => format!("{path}?camera=zerolatency&path=zerolatency"),
        _ => path,
    }
}

/// One of the files under `/assets/`, whose names hold a hash.
fn script() -> String {
    let page = assets::page();
    let (_, script) = page.split_once("src=\"./assets/").unwrap();
    script.split_once('"').unwrap().0.to_owned()
}

#[test]
fn what_is_public_says_why() {
    for route in [DASHBOARD.tables, PLAYERS.tables].concat().into_iter().flatten() {
        if let Target::Public { why, .. } = route.target {
            assert!(why.len() > 20, "{}", route.path);
        }
    }
}

/// A stock nginx on this machine makes the whole Internet look like loopback.
#[tokio::test]
async fn a_proxy_on_this_machine_lets_nobody_in() {
    let world = World::new();
    for headers in [
        &[][..],
        &[
            ("x-forwarded-for", "10.9.0.2"),
            ("x-real-ip", "10.9.0.2"),
            ("forwarded", "for=10.9.0.2"),
        ],
        &[("x-forwarded-for", "127.0.0.1"), ("host", "localhost")],
    ] {
        for remote in ["127.0.0.1:5000", "[::1]:5000", "[::ffff:127.0.0.1]:5000"] {
            let reply = world.ask(remote, Method::GET, "/api/v1/streams", headers).await;
            assert_eq!(reply.status, StatusCode::UNAUTHORIZED, "{remote} {headers:?}");
        }
    }
    // And over the socket itself.
    let mut socket = world.connect().await;
    let request = b"GET /api/v1/streams HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    assert!(exchange(&mut socket, request).await.starts_with("HTTP/1.1 401 "));
}

#[tokio::test]
async fn openness_and_a_single_token_are_as_set() {
    let open = World::with(Wishes {
        mode: Mode::Open,
        ..Wishes::default()
    });
    for path in ["/", "/api/v1/streams", "/api/v1/system"] {
        let reply = open.get(path, &[("authorization", "Bearer old")]).await;
        assert_eq!(reply.status, StatusCode::OK, "{path}");
        assert!(!reply.text.contains("sign-in"), "{}", reply.text);
    }
    let single = World::with(Wishes {
        mode: Mode::Single(Secret::new("mine")),
        ..Wishes::default()
    });
    for remote in [ELSEWHERE, TRUSTED, "127.0.0.1:5000"] {
        let reply = single.ask(remote, Method::GET, "/api/v1/streams", &[]).await;
        assert_eq!(reply.code(), "credential-missing", "{remote}");
        let reply = single.ask(remote, Method::GET, "/api/v1/streams?token=mine", &[]).await;
        assert_eq!(reply.status, StatusCode::OK, "{remote}");
    }
}

#[tokio::test]
async fn each_way_to_show_a_credential_works() {
    let world = World::new();
    for (path, header) in [
        ("/api/v1/streams", "Bearer v-token"),
        ("/api/v1/streams", "Token v-token"),
        ("/api/v1/streams", "Basic dmlld2VyOnYtdG9rZW4="),
        ("/api/v1/streams?token=v-token", "Negotiate abc"),
        ("/api/v1/streams?x=1&token=v%2Dtoken", ""),
    ] {
        let reply = world.get(path, &[("authorization", header)]).await;
        assert_eq!(reply.status, StatusCode::OK, "{path} {header}");
    }
    // What stands in the header counts.
    let reply = world
        .get("/api/v1/streams?token=v-token", &[("authorization", "Bearer x")])
        .await;
    assert_eq!(reply.code(), "credential-wrong");
}

#[tokio::test]
async fn guessing_is_braked() {
    let world = World::new();
    let mut last = None;
    for guess in 0..20 {
        last = Some(world.get(&format!("/api/v1/streams?token={guess}"), &[]).await);
    }
    let braked = last.unwrap();
    assert_eq!(
        (braked.status, braked.code().as_str()),
        (StatusCode::TOO_MANY_REQUESTS, "too-many-guesses")
    );
    assert!(braked.header("retry-after").parse::<u64>().unwrap() >= 1);
    let other = world
        .ask("192.0.2.8:1", Method::GET, "/api/v1/streams?token=v-token", &[])
        .await;
    assert_eq!(other.status, StatusCode::OK, "others are not held up");
}

#[tokio::test]
async fn problems_say_what_why_and_what_next() {
    let world = World::new();
    let viewer = ("authorization", "Bearer v-token");
    let mut all = String::new();
    for (method, path, headers) in [
        (Method::GET, "/api/v1/streams", &[][..]),
        (Method::GET, "/api/v1/streams?token=x", &[]),
        (Method::GET, "/api/v1/streams?token=p-token", &[]),
        (Method::GET, "/api/v1/streams/nothing", &[viewer]),
        (Method::GET, "/api/v1/streams/a%20b", &[viewer]),
        (Method::GET, "/api/v1/streams/%FF", &[viewer]),
        (Method::GET, "/api/v2/streams", &[]),
        (Method::DELETE, "/api/v1/streams", &[viewer]),
        (Method::POST, "/sign-in", &[("content-type", "application/json")]),
    ] {
        let reply = world.ask(ELSEWHERE, method, path, headers).await;
        let problem = reply.json();
        assert_eq!(problem["status"], reply.status.as_u16());
        for field in ["title", "detail", "next", "code"] {
            assert!(!problem[field].as_str().unwrap().is_empty(), "{problem}");
        }
        let _ = writeln!(
            all,
            "{} {}: {}: {}: {}",
            reply.status.as_u16(),
            reply.code(),
            problem["title"].as_str().unwrap(),
            problem["detail"].as_str().unwrap(),
            problem["next"].as_str().unwrap(),
        );
    }
    insta::assert_snapshot!(all);
}

#[tokio::test]
async fn a_challenge_opens_no_window_in_a_browser() {
    let world = World::new();
    let challenges = |reply: &Reply| {
        let all = reply.headers.get_all("www-authenticate").iter();
        all.map(|value| value.to_str().unwrap().split(' ').next().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    let program = world.get("/api/v1/streams", &[("user-agent", "VLC/3.0")]).await;
    assert_eq!(challenges(&program), ["Bearer", "Basic"]);
    let browser = world
        .get("/api/v1/streams", &[("user-agent", "Mozilla/5.0 (X11)")])
        .await;
    assert_eq!(challenges(&browser), ["Bearer"]);
    assert_eq!(
        challenges(&world.get("/", &[]).await),
        [""; 0],
        "the page is no challenge"
    );
}

#[tokio::test]
async fn head_works_wherever_get_does() {
    let world = World::new();
    let _publisher = world.publish("zerolatency", None);
    let mut heads = 0;
    for route in DASHBOARD
        .tables
        .iter()
        .copied()
        .flatten()
        .filter(|route| route.verb == Verb::Get)
    {
        let path = example(DASHBOARD, route);
        for headers in [&[][..], &[("authorization", "Bearer v-token")]] {
            let get = world.get(&path, headers).await;
            let head = world.ask(ELSEWHERE, Method::HEAD, &path, headers).await;
            assert_eq!((head.status, head.text.as_str()), (get.status, ""), "{path}");
            assert_eq!(head.header("content-type"), get.header("content-type"), "{path}");
            heads += 1;
        }
    }
    assert!(heads >= 10);
}

#[tokio::test]
async fn every_answer_is_protected() {
    let world = World::new();
    for (entrance, path) in [
        (&world.dashboard, "/"),
        (&world.dashboard, "/healthz"),
        (&world.dashboard, "/api/v1/streams"),
        (&world.dashboard, "/nothing"),
        (&world.players, "/nothing"),
    ] {
        let reply = ask(entrance, ELSEWHERE, Method::GET, path, &[], "").await;
        assert_eq!(reply.header("x-content-type-options"), "nosniff", "{path}");
        assert_eq!(reply.header("referrer-policy"), "no-referrer", "{path}");
        assert_eq!(reply.header("cache-control"), "no-store", "{path}");
        let policy = reply.header("content-security-policy");
        assert!(
            policy.starts_with("default-src 'none'") && policy.contains("frame-ancestors 'none'"),
            "{path}"
        );
        assert!(!policy.contains("unsafe"), "{path}");
    }
    let style = world.get("/assets/pages.css", &[]).await;
    assert_eq!(style.header("cache-control"), "public, max-age=3600");
}

#[tokio::test]
async fn other_sites_may_use_players_and_nothing_else() {
    let world = World::new();
    let asks = [
        ("origin", "https://blog.example"),
        ("access-control-request-method", "POST"),
    ];
    let preflight = |entrance| ask(entrance, ELSEWHERE, Method::OPTIONS, "/zerolatency/whep", &asks, "");
    let reply = preflight(&world.players).await;
    assert_eq!(reply.status, StatusCode::NO_CONTENT);
    assert_eq!(reply.header("access-control-allow-origin"), "*");
    for header in ["Authorization", "Content-Type", "If-Match"] {
        assert!(
            reply.header("access-control-allow-headers").contains(header),
            "{header}"
        );
    }
    for header in ["Location", "ETag", "Link", "Accept-Patch"] {
        assert!(
            reply.header("access-control-expose-headers").contains(header),
            "{header}"
        );
    }
    assert!(
        !reply.headers.contains_key("access-control-allow-credentials"),
        "never with cookies"
    );
    let reply = ask(&world.players, ELSEWHERE, Method::GET, "/nothing", &[], "").await;
    assert_eq!(
        reply.header("access-control-allow-origin"),
        "*",
        "players can read what is wrong"
    );
    for reply in [
        preflight(&world.dashboard).await,
        world.get("/api/v1/streams", &[]).await,
    ] {
        assert!(!reply.headers.contains_key("access-control-allow-origin"), "{reply:?}");
        assert!(reply.status.is_client_error(), "{reply:?}");
    }
}

/// A route that changes something, and one that has a bug.
const PROBES: &[Route] = &[
    Route {
        verb: Verb::Post,
        path: "/change",
        target: Target::Program {
            action: Action::Operate,
            handler: |_, _| answer_ok(),
        },
        about: None,
    },
    Route {
        verb: Verb::Post,
        path: "/{+name}/whep",
        target: Target::Stream {
            action: Action::View,
            handler: |_, _, name| Box::pin(async move { json(&name.as_str()).into_response() }),
        },
        about: None,
    },
    Route {
        verb: Verb::Options,
        path: "/{+name}/whep",
        target: Target::Public {
            why: "browsers ask without a credential",
            handler: |_| Box::pin(async { ([("accept-post", "application/sdp")], "").into_response() }),
        },
        about: None,
    },
    Route {
        verb: Verb::Post,
        path: "/{+name}/whip",
        target: Target::Stream {
            action: Action::Publish,
            handler: |_, _, _| answer_ok(),
        },
        about: None,
    },
    Route {
        verb: Verb::Get,
        path: "/{+name}/{file}.m4s",
        target: Target::Stream {
            action: Action::View,
            handler: |call, _, _| Box::pin(async move { json(&call.params.get("file")).into_response() }),
        },
        about: None,
    },
    Route {
        verb: Verb::Get,
        path: "/{+name}/",
        target: Target::StreamPage {
            action: Action::View,
            handler: |_, _, name| Box::pin(async move { json(&name.as_str()).into_response() }),
        },
        about: None,
    },
    Route {
        verb: Verb::Get,
        path: "/bug",
        target: Target::Public {
            why: "a test that wants to see a panic",
            handler: |_| Box::pin(async { panic!("a bug that a test made") }),
        },
        about: None,
    },
    Route {
        verb: Verb::Get,
        path: "/early-bug",
        target: Target::Public {
            why: "a test that wants to see a panic",
            handler: early_bug,
        },
        about: None,
    },
];

const PROBED: Port = Port {
    tables: &[PROBES],
    streams_at: "/live/",
};

fn answer_ok() -> Answer {
    Box::pin(async { json(&"done").into_response() })
}

fn early_bug(_: Call) -> Answer {
    panic!("a bug that a test made")
}

#[tokio::test]
async fn a_page_of_another_site_changes_nothing_by_cookie_or_address() {
    let world = World::new();
    let probes = Arc::new(Entrance::new(PROBED, Cors::Live, &world.shared));
    let cookie = world.cookie(AuthRole::Admin);
    let change = |remote, headers: Vec<(&'static str, String)>| {
        let probes = probes.clone();
        async move {
            let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
            ask(&probes, remote, Method::POST, "/change", &headers, "").await
        }
    };
    let text = str::to_owned;
    let same = change(
        ELSEWHERE,
        vec![("cookie", cookie.clone()), ("origin", text("http://pi.local:8000"))],
    )
    .await;
    assert_eq!(same.status, StatusCode::OK);
    for foreign in [
        ("origin", text("http://pi.local:3000")),
        ("sec-fetch-site", text("cross-site")),
    ] {
        let reply = change(ELSEWHERE, vec![("cookie", cookie.clone()), foreign.clone()]).await;
        assert_eq!(reply.code(), "another-site", "{foreign:?}");
        // Whoever knows the token is nobody's tool.
        let reply = change(ELSEWHERE, vec![("authorization", text("Bearer a-token")), foreign]).await;
        assert_eq!(reply.status, StatusCode::OK);
    }
}

/// Names with slashes, in each way of writing them.
#[tokio::test]
async fn streams_are_found_by_the_end_of_the_path() {
    const VIEWER: &[(&str, &str)] = &[("authorization", "Bearer v-token")];
    let world = World::new();
    let probes = Arc::new(Entrance::new(PROBED, Cors::Live, &world.shared));
    let reply = |method: Method, path: &'static str, headers: &'static [(&'static str, &'static str)]| {
        let probes = probes.clone();
        async move { ask(&probes, ELSEWHERE, method, path, headers, "").await }
    };
    for (method, path, expected) in [
        (Method::POST, "/live/cam/whep", "\"cam\""),
        (Method::POST, "/live/house/cam/whep?latency=min", "\"house/cam\""),
        (Method::POST, "/live/house%2Fcam/whep", "\"house/cam\""),
        (Method::GET, "/live/house/cam/7.m4s", "\"7\""),
        (Method::HEAD, "/live/house/cam/7.m4s", ""),
        (Method::GET, "/live/house/cam/", "\"house/cam\""),
    ] {
        let reply = reply(method, path, VIEWER).await;
        assert_eq!(
            (reply.status, reply.text.as_str()),
            (StatusCode::OK, expected),
            "{path}"
        );
        assert_eq!(reply.header("access-control-allow-origin"), "*", "{path}");
    }
    assert_eq!(
        reply(Method::HEAD, "/live/a/7.m4s", VIEWER)
            .await
            .header("content-length"),
        "3"
    );
    let page = reply(Method::GET, "/live/house/cam?token=a%2Fb", &[]).await;
    assert_eq!(
        (page.status, page.header("location")),
        (StatusCode::TEMPORARY_REDIRECT, "./cam/?token=a%2Fb")
    );
    assert!(reply(Method::GET, "/live/cam/", &[]).await.text.contains("sign-in"));
    for (method, path, code) in [
        (Method::POST, "/live/api/whep", "bad-name"),
        (Method::POST, "/live/a%20b/whep", "bad-name"),
        (Method::GET, "/live/cam/7.mp4/x y", "no-such-path"),
        (Method::POST, "/live/cam", "no-such-path"),
        (Method::GET, "/live/a%20b", "no-such-path"),
        (Method::POST, "/cam/whep", "no-such-path"),
        (Method::GET, "/live/cam/whep", "wrong-method"),
        (Method::PUT, "/live/cam/whep", "wrong-method"),
    ] {
        let path = path.replace(' ', "%20").leak();
        assert_eq!(reply(method, path, VIEWER).await.code(), code, "{path}");
    }
    let wrong = reply(Method::PUT, "/live/cam/whep", VIEWER).await;
    assert_eq!(wrong.header("allow"), "POST, OPTIONS");
    for path in ["/live/cam/whep", "/live/api/whep"] {
        assert_eq!(
            reply(Method::POST, path, &[]).await.code(),
            "credential-missing",
            "{path}"
        );
    }
}

/// Players of other sites may view what one needs no credential for; what such a page publishes is nobody's wish but its own.
#[tokio::test]
async fn other_sites_may_view_but_not_publish_by_address() {
    const FOREIGN: &[(&str, &str)] = &[("origin", "https://blog.example"), ("sec-fetch-site", "cross-site")];
    for (mode, whip) in [(tokens(), StatusCode::FORBIDDEN), (Mode::Open, StatusCode::OK)] {
        let world = World::with(Wishes {
            mode,
            ..Wishes::default()
        });
        let probes = Arc::new(Entrance::new(PROBED, Cors::Live, &world.shared));
        let post = |path| ask(&probes, TRUSTED, Method::POST, path, FOREIGN, "");
        assert_eq!(post("/live/cam/whep").await.status, StatusCode::OK);
        assert_eq!(post("/live/cam/whip").await.status, whip);
    }
    let world = World::new();
    let probes = Arc::new(Entrance::new(PROBED, Cors::Live, &world.shared));
    let asks = [FOREIGN[0], ("access-control-request-method", "POST")];
    for (path, method) in [
        ("/live/cam/whep", Method::OPTIONS),
        ("/live/cam/7.m4s", Method::OPTIONS),
    ] {
        let reply = ask(&probes, ELSEWHERE, method, path, &asks, "").await;
        assert!(reply.status.is_success(), "{path}");
        assert!(reply.header("access-control-allow-methods").contains("PATCH"), "{path}");
    }
    let whep = ask(&probes, ELSEWHERE, Method::OPTIONS, "/live/cam/whep", &asks, "").await;
    assert_eq!(whep.header("accept-post"), "application/sdp");
    let outside = ask(&probes, ELSEWHERE, Method::OPTIONS, "/change", &asks, "").await;
    assert!(!outside.headers.contains_key("access-control-allow-origin"));
}

#[tokio::test]
async fn a_panic_ends_its_request_alone_and_is_counted() {
    let world = World::new();
    let probes = Arc::new(Entrance::new(PROBED, Cors::Live, &world.shared));
    for path in ["/bug", "/early-bug", "/bug"] {
        let reply = ask(&probes, ELSEWHERE, Method::GET, path, &[], "").await;
        assert_eq!(
            (reply.status, reply.code().as_str()),
            (StatusCode::INTERNAL_SERVER_ERROR, "bug")
        );
        assert_eq!(reply.header("x-content-type-options"), "nosniff");
        assert!(!reply.text.contains("a test made"), "what it was about is for the log");
    }
    let headers = bearer("a-token");
    let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let reply = ask(&probes, ELSEWHERE, Method::POST, "/change", &headers, "").await;
    assert_eq!(reply.status, StatusCode::OK);
    assert_eq!(
        world.get("/api/v1/system", &headers).await.json()["program"]["http_panics"],
        3
    );
}

/// Whatever stands in a request, it is answered, and not by a bug of ours.
#[test]
fn nothing_that_peers_write_is_our_bug() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let world = runtime.block_on(async { World::new() });
    let requests = (
        "(GET|HEAD|POST|OPTIONS|X)",
        "/(api/v1/streams/|assets/|)[!-~]{0,40}",
        "(Basic |Bearer |Token |)[ -~]{0,40}",
        "(sightline=|)[ -~]{0,60}",
        "[ -~]{0,40}",
    );
    let ask = |(method, path, authorization, cookie, host): (String, String, String, String, String)| {
        let request = Request::builder()
            .method(method.as_str())
            .uri(path.as_str())
            .header("authorization", authorization)
            .header("cookie", cookie)
            .header("host", host);
        // What is no URI does not come so far.
        if let Ok(request) = request.body(Body::empty()) {
            let peer = Peer::new(ELSEWHERE.parse().unwrap(), "192.0.2.1:8000".parse().unwrap(), false);
            let response = runtime.block_on(world.dashboard.answer(peer, request));
            assert!(!response.status().is_server_error(), "{response:?}");
        }
        Ok(())
    };
    proptest::test_runner::TestRunner::default()
        .run(&requests, ask)
        .unwrap();
    assert_eq!(world.shared.panics.load(Relaxed), 0);
}
