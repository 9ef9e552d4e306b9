//! What figures were, as it is asked for.

use super::*;
use crate::feed::sample::{Sample, UNKNOWN};
use crate::history::{History, Limits as Kept, Query};
use crate::http::api::rfc3339;

/// 2026-11-23, in the middle of an hour.
const NOW: i64 = 1_795_431_600 + 1_800;

async fn world() -> World {
    let limits = Kept {
        series: 64,
        minutes: Duration::from_secs(31 * 86_400),
        hours: Duration::from_secs(3_650 * 86_400),
        max_bytes: 1 << 20,
    };
    let history = History::start(|| None, limits).unwrap();
    let figures = |value: f64| {
        let mut figures = UNKNOWN;
        figures.fill(value);
        figures
    };
    for second in NOW - 600..NOW {
        let at = (second % 60) as f64;
        history.second(Arc::new(Sample {
            at: WallTime::from_unix_micros(second * 1_000_000),
            system: figures(5.0),
            cameras: [("door".parse().unwrap(), figures(at))].into(),
        }));
        // No more waits than there is room for.
        if second % 16 == 0 {
            let query = Query {
                camera: None,
                metrics: vec![0],
                from: second,
                to: second + 1,
                step: 1,
            };
            history.ask(query).await.unwrap();
        }
    }
    World::with(Wishes {
        clock: Arc::new(SimClock::at(WallTime::from_unix_micros(NOW * 1_000_000))),
        history: Some(history),
        ..Wishes::default()
    })
}

async fn ask_for(world: &World, token: &str, query: &str) -> Reply {
    let authorization = format!("Bearer {token}");
    let path = format!("/api/v1/history?{query}");
    world.get(&path, &[("authorization", &authorization)]).await
}

#[tokio::test]
async fn figures_are_told_as_they_were() {
    let world = world().await;
    let (from, to) = ((NOW - 600) * 1_000, NOW * 1_000);
    let minutes = format!("camera=door&metric=fps&metric=kbps&from={from}&to={to}&step=60000");
    let reply = ask_for(&world, "v-token", &minutes).await;
    assert_eq!(reply.status, StatusCode::OK, "{reply:?}");
    let told = reply.json();
    assert_eq!(told["step_ms"], 60_000);
    assert_eq!(told["from"], rfc3339(WallTime::from_unix_micros(from * 1_000)));
    for metric in ["fps", "kbps"] {
        for (kind, expected) in [("mean", 29.5), ("min", 0.0), ("max", 59.0)] {
            let values = told["values"][metric][kind].as_array().unwrap();
            assert_eq!(values.len(), 10, "{metric} {kind}");
            assert!(
                values.iter().all(|value| *value == expected),
                "{metric} {kind}: {values:?}"
            );
        }
    }
    // As people write times, by seconds, without an end, of somebody nobody knows.
    let at = WallTime::from_unix_micros((NOW - 10) * 1_000_000).to_rfc3339();
    let seconds = ask_for(&world, "v-token", &format!("camera=door&metric=fps&from={at}")).await;
    assert_eq!(seconds.json()["values"]["fps"]["max"][3], 53.0, "{seconds:?}");
    let nobody = ask_for(
        &world,
        "v-token",
        &format!("camera=yard&metric=fps&from={from}&to={to}&step=60000"),
    )
    .await;
    let values = nobody.json()["values"]["fps"]["mean"].as_array().unwrap().clone();
    assert!(values.len() == 10 && values.iter().all(Value::is_null));
    world.end().await;
}

#[tokio::test]
async fn figures_are_for_who_may_view() {
    let world = world().await;
    world.with_account("anna", "pass-of-anna", "door");
    let (from, to) = ((NOW - 600) * 1_000, NOW * 1_000);
    let door = format!("camera=door&metric=fps&from={from}&to={to}");
    let yard = format!("camera=yard&metric=fps&from={from}&to={to}");
    for (token, query, status) in [
        ("p-token", &door, 403),
        ("wrong", &door, 401),
        ("anna:pass-of-anna", &door, 200),
        ("anna:pass-of-anna", &yard, 403),
    ] {
        let reply = ask_for(&world, token, query).await;
        assert_eq!(reply.status.as_u16(), status, "{token} {query}");
    }
    // How many there are is of those, too, that she may not see.
    let counts = format!("metric=streams&from={from}&to={to}&step=600000");
    for (token, is_told) in [("v-token", true), ("anna:pass-of-anna", false)] {
        let reply = ask_for(&world, token, &counts).await;
        let mean = &reply.json()["values"]["streams"]["mean"][0];
        assert_eq!(mean.is_number(), is_told, "{token}: {reply:?}");
    }
    world.end().await;
}

#[tokio::test]
async fn questions_that_are_none_are_refused() {
    let world = world().await;
    for query in [
        "",
        "camera=door",
        "camera=door&metric=nothing",
        "camera=door&metric=fps,fps,fps,fps,fps,fps,fps,fps,fps",
        "camera=door&metric=fps&from=yesterday",
        "camera=door&metric=fps&to=99999999999999999",
        "camera=door&metric=fps&from=2026-11-23T11:00:00Z&to=2026-11-23T10:00:00Z",
        "camera=door&metric=fps&from=-62000000000000&to=253000000000",
        "camera=door&metric=fps&step=0",
        "camera=door&metric=fps&step=-1",
        "camera=door&metric=fps&step=9223372036854775807",
    ] {
        let reply = ask_for(&world, "v-token", query).await;
        assert_eq!(
            (reply.status.as_u16(), reply.code().as_str()),
            (400, "bad-history"),
            "{query}"
        );
    }
    world.end().await;
    let without = World::new();
    let reply = ask_for(&without, "v-token", "camera=door&metric=fps").await;
    assert_eq!((reply.status.as_u16(), reply.code().as_str()), (503, "no-history"));
    without.end().await;
}
