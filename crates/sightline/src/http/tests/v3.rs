//! What tools for MediaMTX read: all members that they may look at, under the names that they know.

use std::collections::BTreeSet;

use super::*;

const ADMIN: &[(&str, &str)] = &[("authorization", "Bearer a-token")];

fn members(value: &Value) -> BTreeSet<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

fn words(text: &str) -> BTreeSet<&str> {
    text.split_ascii_whitespace().collect()
}

async fn read(world: &World, path: &str) -> Value {
    world.get(&format!("/v3/{path}"), ADMIN).await.json()
}

#[tokio::test]
async fn paths_are_told_as_they_are() {
    let world = World::new();
    let publisher = world.publish("house/door", None);
    publisher.stats().leash.tie(|| true);
    let list = read(&world, "paths/list").await;
    assert_eq!((&list["itemCount"], &list["pageCount"]), (&1.into(), &1.into()));
    let path = &list["items"][0];
    assert_eq!(
        members(path),
        words(
            "name confName ready readyTime available availableTime online onlineTime source tracks tracks2 readers inboundBytes \
             outboundBytes inboundFramesInError bytesReceived bytesSent"
        )
    );
    assert_eq!(
        (&path["name"], &path["confName"]),
        (&"house/door".into(), &"all_others".into())
    );
    assert_eq!(
        (&path["online"], &path["inboundBytes"]),
        (&true.into(), &123_456.into()),
        "{path}"
    );
    let source = serde_json::json!({ "type": "rtspSession", "id": "00000000-0000-4000-8000-000000000001" });
    assert_eq!(path["source"], source);
    assert_eq!(path["tracks"], serde_json::json!(["H264", "G711"]));
    let tracks = path["tracks2"].as_array().unwrap();
    assert_eq!(members(&tracks[0]["codecProps"]), words("width height profile level"));
    let sound = serde_json::json!({ "muLaw": true, "sampleRate": 8_000, "channelCount": 1 });
    assert_eq!(tracks[1]["codecProps"], sound);
    assert_eq!(path["readers"].as_array().unwrap().len(), 1);
    // With slashes as they are.
    assert_eq!(&read(&world, "paths/get/house/door").await, path);
    assert_eq!(world.get("/v3/paths/get/house", ADMIN).await.code(), "not-found");
    publisher.close(world.clock.now());
    let held = read(&world, "paths/get/house/door").await;
    assert!(
        held["source"].is_null() && held["online"] == false && held["onlineTime"].is_null(),
        "{held}"
    );
}

#[tokio::test]
async fn sessions_are_told_by_protocol() {
    let world = World::new();
    let publisher = world.publish("door", None);
    assert_eq!(
        read(&world, "rtspsessions/list").await["itemCount"],
        0,
        "it is none that could be ended"
    );
    publisher.stats().leash.tie(|| true);
    let list = read(&world, "rtspsessions/list").await;
    let session = &list["items"][0];
    let common = "id created remoteAddr state path query user userAgent inboundBytes inboundRTPPackets inboundRTPPacketsLost \
        inboundRTPPacketsJitter inboundRTCPPackets outboundBytes outboundRTPPackets outboundRTCPPackets bytesReceived bytesSent \
        rtpPacketsReceived rtpPacketsSent rtpPacketsLost rtpPacketsJitter rtcpPacketsReceived rtcpPacketsSent";
    let rtsp = "transport profile conns inboundRTPPacketsInError inboundRTCPPacketsInError outboundRTPPacketsReportedLost \
        outboundRTPPacketsDiscarded rtpPacketsInError rtcpPacketsInError";
    assert_eq!(members(session), words(&format!("{common} {rtsp}")));
    assert_eq!(
        (&session["state"], &session["path"]),
        (&"publish".into(), &"door".into())
    );
    assert_eq!(
        (&session["inboundBytes"], &session["outboundBytes"]),
        (&123_456.into(), &0.into())
    );
    assert_eq!(
        (&session["transport"], &session["userAgent"]),
        (&"TCP".into(), &"Lavf61".into())
    );
    let id = session["id"].as_str().unwrap();
    assert_eq!(&read(&world, &format!("rtspsessions/get/{id}")).await, session);
    assert_eq!(world.get("/v3/rtspsessions/get/1", ADMIN).await.code(), "not-found");
    assert_eq!(
        world.get(&format!("/v3/webrtcsessions/get/{id}"), ADMIN).await.code(),
        "not-found"
    );

    let stats = Arc::new(SessionStats::new(SessionInfo {
        protocol: "WebRTC",
        role: SessionRole::Viewer,
        ..publisher.stats().info.clone()
    }));
    stats.leash.tie(|| true);
    stats.bytes.add(7);
    let _viewing = publisher.stream().add_viewer(stats).unwrap();
    let list = read(&world, "webrtcsessions/list").await;
    let session = &list["items"][0];
    let webrtc = "peerConnectionEstablished localCandidate remoteCandidate outboundFramesDiscarded";
    assert_eq!(members(session), words(&format!("{common} {webrtc}")));
    assert_eq!(
        (&session["state"], &session["outboundBytes"]),
        (&"read".into(), &7.into())
    );
}

#[tokio::test]
async fn muxers_are_those_that_somebody_plays() {
    let world = World::new();
    let _publisher = world.publish("door", None);
    assert_eq!(read(&world, "hlsmuxers/list").await["itemCount"], 0);
    assert_eq!(world.get("/live/door/index.m3u8", ADMIN).await.status, StatusCode::OK);
    let list = read(&world, "hlsmuxers/list").await;
    let muxer = &list["items"][0];
    let known = "path created lastRequest outboundBytes outboundFramesDiscarded bytesSent";
    assert_eq!((members(muxer), &muxer["path"]), (words(known), &"door".into()));
    assert!(muxer["outboundBytes"].as_u64() > Some(50), "{muxer}");
    assert_eq!(read(&world, "hlsmuxers/get/door").await["path"], "door");
}

#[tokio::test]
async fn lists_come_in_pages() {
    let world = World::new();
    let _publishers = ["a", "b", "c"].map(|name| world.publish(name, None));
    for (query, pages, names) in [
        ("", 1, &["a", "b", "c"][..]),
        ("?itemsPerPage=2", 2, &["a", "b"]),
        ("?itemsPerPage=2&page=1", 2, &["c"]),
        ("?itemsPerPage=2&page=9", 2, &[]),
        ("?itemsPerPage=&page=", 1, &["a", "b", "c"]),
    ] {
        let list = read(&world, &format!("paths/list{query}")).await;
        let items = list["items"].as_array().unwrap().iter();
        let named: Vec<_> = items.map(|item| item["name"].as_str().unwrap()).collect();
        assert_eq!(
            (&named[..], &list["pageCount"], &list["itemCount"]),
            (names, &pages.into(), &3.into()),
            "{query}"
        );
    }
    for wrong in ["itemsPerPage=0", "itemsPerPage=x", "page=-1", "page=2147483648"] {
        assert_eq!(
            world.get(&format!("/v3/paths/list?{wrong}"), ADMIN).await.code(),
            "bad-page",
            "{wrong}"
        );
    }
}

#[test]
fn profiles_and_levels_have_their_names() {
    use super::super::v3::{h264_profile, h265_profile, tenths};
    assert_eq!(
        (
            h264_profile(66).as_str(),
            h264_profile(100).as_str(),
            h264_profile(7).as_str()
        ),
        ("Baseline", "High", "7")
    );
    assert_eq!((h265_profile(1).as_str(), h265_profile(99).as_str()), ("Main", "99"));
    // 4.1 in H.265 is 123 thirtieths.
    assert_eq!(
        (tenths(40).as_str(), tenths(31).as_str(), tenths(123 / 3).as_str()),
        ("4", "3.1", "4.1")
    );
}
