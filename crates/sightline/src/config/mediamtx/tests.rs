//! Files as people have them.

use std::io::Write;

use super::super::environment::Environment;
use super::super::load::{Loaded, Wanted, load};
use super::super::problem::Invalid;
use super::super::stream_key::StreamKey;
use crate::auth::Replay;
use crate::config::settings::AuthMethod;

fn loaded(yaml: &str) -> Result<Loaded, Invalid> {
    let mut file = tempfile::Builder::new().suffix(".yml").tempfile().unwrap();
    file.write_all(yaml.as_bytes()).unwrap();
    let mut loaded = load(&Wanted {
        file: Some(file.path().to_owned()),
        ..Wanted::default()
    });
    let name = format!("{}:", file.path().display());
    let notices = match &mut loaded {
        Ok(loaded) => &mut loaded.notices,
        Err(invalid) => &mut invalid.notices,
    };
    for notice in notices {
        *notice = notice.replace(&name, "");
    }
    loaded
}

/// The file, without the notices of every file that says nothing of accounts and of what we do not speak.
fn quiet(yaml: &str) -> Loaded {
    loaded(&format!("authInternalUsers: []\nrtmp: no\nsrt: no\nmoq: no\n{yaml}")).unwrap()
}

#[test]
fn the_flat_spelling_of_today() {
    let loaded = loaded(
        "hls: yes
hlsAddress: :9888
hlsVariant: lowLatency
hlsSegmentDuration: 200ms
hlsPartDuration: 50ms
hlsAlwaysRemux: no
rtspAddress: 127.0.0.1:9554
rtspTransports: [tcp]
readTimeout: 1m30s
logLevel: debug
webrtcAdditionalHosts: [cam.example.org, 203.0.113.5]
webrtcLocalUDPAddress: :9189
",
    )
    .unwrap();
    let settings = &loaded.settings;
    assert_eq!(
        (settings.hls.port, settings.rtsp.port, settings.webrtc.ice_port),
        (9_888, 9_554, 9_189)
    );
    assert_eq!(settings.hls.segment_duration.to_string(), "200ms");
    assert_eq!(settings.hls.part_duration.to_string(), "50ms");
    assert_eq!(
        (settings.rtsp.udp, settings.rtsp.timeout.to_string().as_str()),
        (false, "90s")
    );
    assert_eq!(settings.webrtc.additional_hosts, ["cam.example.org", "203.0.113.5"]);
    assert_eq!(settings.log.level.to_string(), "debug");
    assert!(settings.server.host.is_some());
    assert!(settings.auth.open, "as MediaMTX does without accounts");
    insta::assert_snapshot!(loaded.notices.join("\n"), @r#"
    1:1: without authInternalUsers everybody may watch, publish and play recordings, as with MediaMTX; to ask for tokens write `authInternalUsers: []`
    1:1: not served here, and on in MediaMTX unless its file says no: RTMP, SRT, MoQ
    "#);
}

#[test]
fn the_nested_spelling_of_old_guides() {
    let loaded = loaded(
        "rtsp:
  enabled: yes
  listen: :8555
  protocols: [tcp]

hls:
  enabled: yes
  listen: :8887
  hlsVariant: lowLatency
  hlsAlwaysRemux: yes
  hlsSegmentCount: 3
  hlsSegmentDuration: 200ms
  hlsPartDuration: 40ms
  hlsAllowOrigin: '*'

webrtc:
  enabled: yes
  listen: :8890
  allowOrigin: '*'

paths:
  zerolatency:
    source: publisher
",
    )
    .unwrap();
    let settings = &loaded.settings;
    assert_eq!(
        (settings.rtsp.port, settings.hls.port, settings.webrtc.port),
        (8_555, 8_887, 8_890)
    );
    assert_eq!((settings.rtsp.udp, settings.hls.segment_count), (false, 3));
    assert!(settings.stream.is_empty());
    insta::assert_snapshot!(loaded.notices.join("\n"), @r#"
    10:3: hlsAlwaysRemux: yes is not honoured: it begins with the first player, which has its list within 50 ms
    1:1: without authInternalUsers everybody may watch, publish and play recordings, as with MediaMTX; to ask for tokens write `authInternalUsers: []`
    1:1: not served here, and on in MediaMTX unless its file says no: RTMP, SRT, MoQ
    "#);
}

#[test]
fn paths_are_streams() {
    let loaded = quiet(
        "pathDefaults:
  sourceOnDemand: yes
paths:
  door:
    source: rtsp://user:pa$$word@10.0.0.4/h264
    rtspTransport: udp
  garden:
    source: rtsps://10.0.0.5/$MTX_PATH
    sourceOnDemand: no
    sourceFingerprint: ABABABABABABABABABABABABABABABABABABABABABABABABABABABABABABABAB
  hall:
    source: wheps://10.0.0.6:8889/hall/whep
    whepBearerToken: a/b
  '~^floor(\\d+)/(.+)$':
    source: rtsp://10.0.$G1.2/$G2?x=$y
  moved:
    source: redirect
    sourceRedirect: rtsp://elsewhere/moved
  slate:
    alwaysAvailable: true
  pi:
    source: rpiCamera
    rpiCameraWidth: 1280
    rpiCameraHeight: 720
    rpiCameraIDRPeriod: 30
  all_others:
    source: rtsp://origin/$MTX_PATH
",
    );
    let streams = toml::to_string(&loaded.settings.stream).unwrap();
    insta::assert_snapshot!(streams, @r#"
    [door]
    source = "rtsp://***@10.0.0.4/h264"
    on_demand = true
    source_transport = "udp"
    forward = []
    always_available = false
    run_on_start_restart = false
    run_on_available_restart = false
    run_on_read_restart = false

    [garden]
    source = "rtsps://10.0.0.5/garden"
    on_demand = false
    source_transport = "auto"
    source_fingerprint = "abababababababababababababababababababababababababababababababab"
    forward = []
    always_available = false
    run_on_start_restart = false
    run_on_available_restart = false
    run_on_read_restart = false

    [hall]
    source = "wheps://10.0.0.6:8889/hall/whep?token=***"
    on_demand = true
    source_transport = "auto"
    forward = []
    always_available = false
    run_on_start_restart = false
    run_on_available_restart = false
    run_on_read_restart = false

    [moved]
    on_demand = false
    source_transport = "auto"
    redirect = "rtsp://elsewhere/moved"
    forward = []
    always_available = false
    run_on_start_restart = false
    run_on_available_restart = false
    run_on_read_restart = false

    [slate]
    on_demand = false
    source_transport = "auto"
    forward = []
    always_available = true
    run_on_start_restart = false
    run_on_available_restart = false
    run_on_read_restart = false

    ['~^floor(\d+)/(.+)$']
    source = "rtsp://10.0.$1.2/$2?x=$$y"
    on_demand = true
    source_transport = "auto"
    forward = []
    always_available = false
    run_on_start_restart = false
    run_on_available_restart = false
    run_on_read_restart = false

    ["~z{0}^.*$"]
    source = "rtsp://origin/$0"
    on_demand = true
    source_transport = "auto"
    forward = []
    always_available = false
    run_on_start_restart = false
    run_on_available_restart = false
    run_on_read_restart = false
    "#);
    insta::assert_snapshot!(toml::to_string(&loaded.settings.camera).unwrap(), @r#"
    [pi]
    source = "libcamera"
    size = "1280x720"
    fps = "30"
    bitrate = "5M"
    gop = 30
    encoder = "auto"
    overlay = "auto"
    stamp = "auto"
    overlay_corner = "top-left"
    stamp_corner = "bottom-right"
    vflip = "off"
    takeover = false
    low = false
    "#);
    assert_eq!(loaded.notices, Vec::<String>::new());
}

#[test]
fn a_converted_file_means_the_same() {
    let yaml = "rtspAddress: 127.0.0.1:9554
logLevel: warn
paths:
  door:
    source: rtsp://user:pa$$word@10.0.0.4/h264
    sourceOnDemand: yes
  '~^floor(\\d+)$':
    source: rtsp://10.0.$G1.2/x
  pi:
    source: rpiCamera
";
    let before = loaded(yaml).unwrap();
    let mut file = tempfile::Builder::new().suffix(".toml").tempfile().unwrap();
    file.write_all(before.to_toml().as_bytes()).unwrap();
    let after = load(&Wanted {
        file: Some(file.path().to_owned()),
        ..Wanted::default()
    });
    assert_eq!(after.unwrap().settings, before.settings);
    assert!(before.to_toml().starts_with("# "), "what is different stands first");
}

#[test]
fn what_is_recorded() {
    let loaded = loaded(
        "pathDefaults:
  record: yes
  recordPath: /data/recordings/%path/%Y-%m-%d_%H-%M-%S-%f
  recordDeleteAfter: 2d
paths:
  door:
    recordSegmentDuration: 10m
  yard:
    record: no
    recordDeleteAfter: 0s
",
    )
    .unwrap();
    let settings = &loaded.settings;
    assert_eq!(
        settings.record.path.as_deref(),
        Some(std::path::Path::new("/data/recordings"))
    );
    assert!(!settings.record.enabled);
    let of = |name: &str| {
        let stream = &settings.stream[&name.parse::<StreamKey>().unwrap()];
        let record = settings.record.of_stream(&stream.record);
        (record.enabled, record.segment.to_string(), record.keep.to_string())
    };
    assert_eq!(of("door"), (true, "10min".to_owned(), "2d".to_owned()));
    assert_eq!(of("yard"), (false, "1min".to_owned(), "0s".to_owned()));
    assert!(
        !loaded
            .notices
            .iter()
            .any(|notice| notice.contains("record") && !notice.contains("authInternalUsers")),
        "{:?}",
        loaded.notices
    );
}

#[test]
fn a_length_of_files_that_is_none_here_is_the_nearest() {
    let taken = loaded(
        "pathDefaults:
  record: yes
  recordSegmentDuration: 24h
paths:
  door:
  cellar:
  yard:
    recordSegmentDuration: 1s
  hall:
    recordSegmentDuration: 10m
  shed:
    record: no
    recordSegmentDuration: 500ms
  attic:
    record: no
    recordSegmentDuration: long
",
    )
    .unwrap();
    let settings = &taken.settings;
    let of = |name: &str| {
        let stream = &settings.stream[&name.parse::<StreamKey>().unwrap()];
        settings.record.of_stream(&stream.record).segment.to_string()
    };
    assert_eq!(["door", "yard", "hall", "shed"].map(of), ["1h", "2s", "10min", "2s"]);
    let notices: Vec<_> = (taken.notices.iter())
        .filter(|notice| notice.contains("recordSegmentDuration"))
        .collect();
    assert_eq!(
        notices,
        [
            "3:3: recordSegmentDuration: 24h is not honoured: a file lasts from 2s to 1h here; it is 1h",
            "8:5: recordSegmentDuration: 1s is not honoured: a file lasts from 2s to 1h here; it is 2s"
        ]
    );
    let wrong = loaded("paths:\n  door:\n    record: yes\n    recordSegmentDuration: long\n");
    let wrong = wrong.unwrap_err();
    assert!(
        wrong.problems[0].to_string().contains("recordSegmentDuration"),
        "{wrong:?}"
    );
}

#[test]
fn who_else_decides() {
    let loaded_auth = |text: &str| loaded(text).unwrap().settings.auth;
    let jwt = loaded_auth(
        "authMethod: jwt
authJWTJWKS: https://id.example/jwks
authJWTJWKSFingerprint: 0123456789abcdef0123456789abcdef0123456789abcdef0123456789ABCDEF
authJWTClaimKey: rights
authJWTIssuer: https://id.example
authJWTAudience: cameras
authJWTInHTTPQuery: yes
authJWTExclude:
  - action: publish
    path: gate
  - action: metrics
metrics: yes
authInternalUsers:
  - user: any
    permissions: [{action: read}, {action: publish}]
",
    );
    assert!(
        !jwt.open && jwt.method == AuthMethod::Jwt,
        "accounts of the file do not count then"
    );
    assert_eq!(jwt.jwt.jwks.unwrap().to_string(), "https://id.example/jwks");
    assert_eq!(jwt.jwt.issuer.as_deref(), Some("https://id.example"));
    assert_eq!(
        (jwt.jwt.audience.as_deref(), &*jwt.jwt.claim),
        (Some("cameras"), "rights")
    );
    assert!(jwt.jwt.fingerprint.is_some());
    let exclude: Vec<String> = jwt.jwt.exclude.iter().map(ToString::to_string).collect();
    assert_eq!(exclude, ["publish gate", "metrics"]);
    let of_old = loaded_auth("externalAuthenticationURL: http://10.0.0.9/auth\n");
    assert!(
        !of_old.open && of_old.method == AuthMethod::Http,
        "before there were methods"
    );
    assert_eq!(
        loaded_auth("authMethod: internal\nauthInternalUsers: []\n").method,
        AuthMethod::Own
    );
    for wrong in ["authMethod: http\n", "authMethod: jwt\n", "authMethod: ldap\n"] {
        assert!(loaded(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn what_cannot_be_honoured_is_told_with_its_line() {
    let loaded = loaded(
        "rtmp: yes
rtmpAddress: :1935
srt: no
hlsVariant: fmp4
hlsSegmentDurration: 2s
webrtcICEServers2:
  - url: turn:turn.example.org
    password: secret
authMethod: http
authHTTPAddress: http://me:secret@10.0.0.9/
authHTTPExclude:
  - action: api
  - action: metrics
  - action: pprof
  - action: read
    path: ~^open/
pathDefaults:
  recordFormat: mpegts
  recordPath: /data/%Y/%path/%H
  runOnInit: curl http://10.0.0.9/ready
paths:
  radio:
    source: srt://10.0.0.9:9000
    readUser: me
    readPass: secret
",
    )
    .unwrap();
    let notices = loaded.notices.join("\n");
    assert!(!notices.contains("secret"), "{notices}");
    let auth = &loaded.settings.auth;
    assert!(!auth.open && auth.method == AuthMethod::Http);
    assert_eq!(
        auth.http.url.as_ref().unwrap().expose().as_str(),
        "http://me:secret@10.0.0.9/"
    );
    let exclude: Vec<String> = auth.http.exclude.iter().map(ToString::to_string).collect();
    assert_eq!(exclude, ["api", "read ~^open/"]);
    insta::assert_snapshot!(notices, @r#"
    1:1: rtmp: yes is not honoured: RTMP is not served
    4:1: hlsVariant: fmp4 is not honoured: streams are served as LL-HLS in fMP4, which players of plain HLS play too
    5:1: hlsSegmentDurration: there is no such key, in MediaMTX neither; did you mean hlsSegmentDuration?
    6:1: webrtcICEServers2: … is not honoured: viewers come here without STUN and TURN; webrtc.additional_hosts names the public address
    12:5: authHTTPExclude: the API is not open to whoever comes: it is on the port of the dashboard here, and takes an account or a token of this server
    13:5: authHTTPExclude: metrics are not served by this file, and here they are: they take a token of this server
    18:3: recordFormat: mpegts is not honoured: recordings are fragmented MP4, a second at most in each fragment
    19:3: recordPath: it is not honoured: recordings are in a folder for each stream and day below [record] path; set that
    24:5: readUser: me is not honoured: accounts of single paths are not there; viewers show a token
    25:5: readPass: … is not honoured: accounts of single paths are not there; viewers show a token
    23:13: source: srt is not fetched here: sources are fetched by RTSP, WHEP and HLS; FFmpeg can fetch it and publish it by RTSP
    1:1: not served here, and on in MediaMTX unless its file says no: MoQ
    "#);
}

#[test]
fn commands_of_paths_are_taken_with_those_of_all() {
    let loaded = loaded(
        "pathDefaults:
  runOnReady: curl 'http://10.0.0.9/?a=$MTX_PATH&b=1'
  runOnReadyRestart: yes
  runOnUnread: logger $MTX_READER_ID
paths:
  door:
  yard:
    runOnNotReady: logger $MTX_PATH
    runOnAvailableRestart: no
",
    )
    .unwrap();
    let notices = loaded.notices.join("\n");
    assert!(!notices.contains("runOn"), "{notices}");
    let table = |name: &str| &loaded.settings.stream[&name.parse().unwrap()];
    let given = |name: &str| table(name).commands().iter().map(|(key, _)| *key).collect::<Vec<_>>();
    assert_eq!(given("door"), ["run_on_available", "run_on_unread"]);
    assert_eq!(
        given("yard"),
        ["run_on_available", "run_on_unavailable", "run_on_unread"]
    );
    assert!(table("door").run_on_available_restart && !table("yard").run_on_available_restart);
    let toml = loaded.to_toml();
    assert!(
        toml.contains("run_on_available = \"curl 'http://10.0.0.9/?a=$MTX_PATH&b=1'\""),
        "{toml}"
    );
}

#[test]
fn accounts_never_open_more_than_the_file() {
    let any = |rest: &str| format!("authInternalUsers:\n- user: any\n{rest}");
    let both = "  permissions: [{action: publish}, {action: read}, {action: api}]\n";
    assert!(loaded(&any(both)).unwrap().settings.auth.open);
    let near = loaded(&any(&format!("  ips: ['127.0.0.1', '192.168.0.0/16']\n{both}")))
        .unwrap()
        .settings
        .auth;
    assert_eq!((near.open, near.trusted_networks.len()), (false, 2));
    for closed in [
        "  permissions: [{action: read}]\n",
        "  permissions: [{action: publish, path: cam}, {action: read}]\n",
        "  permissions: [{action: publish, path: ~^cam}, {action: read, path: ''}]\n",
        "  pass: x\n  permissions: [{action: publish}, {action: read}]\n",
        "",
    ] {
        let loaded = loaded(&any(closed)).unwrap();
        let auth = &loaded.settings.auth;
        assert_eq!((auth.open, auth.trusted_networks.len()), (false, 0), "{closed}");
    }
    assert!(!loaded("authInternalUsers: []\n").unwrap().settings.auth.open);
}

/// Recordings are free to whom the file gives `playback`, and to nobody else.
#[test]
fn playback_says_to_whom_recordings_are_free() {
    let replay = |users: &str| {
        let auth = loaded(&format!("authInternalUsers:\n{users}")).unwrap().settings.auth;
        (auth.open, auth.trusted_networks.len(), auth.replay)
    };
    let user = |ips: &str, permissions: &str| {
        let live = "{action: publish}, {action: read}";
        format!("- user: any\n  ips: {ips}\n  permissions: [{live}{permissions}]\n")
    };
    let playback = ", {action: playback}";
    assert_eq!(replay(&user("[]", playback)), (true, 0, Replay::WhereOpen));
    assert_eq!(replay(&user("[]", "")), (true, 0, Replay::Accounts));
    assert_eq!(
        replay(&user("[]", ", {action: playback, path: door}")),
        (true, 0, Replay::Accounts)
    );
    let near = user("['10.0.0.0/8']", playback);
    assert_eq!(replay(&near), (false, 1, Replay::Trusted));
    assert_eq!(
        replay(&(near.clone() + &user("['192.168.0.0/16']", ""))),
        (false, 2, Replay::WhereOpen)
    );
    assert_eq!(replay(&(near + &user("[]", ""))), (true, 1, Replay::Accounts));
}

#[test]
fn accounts_are_taken_as_they_are() {
    let text = "authInternalUsers:
- user: any
  ips: ['10.0.0.0/8']
  permissions: [{action: read, path: ~^open/}, {action: playback}]
- user: any
  permissions: [{action: publish, path: door}]
- user: anna
  pass: anna-pw
  permissions: [{action: publish}, {action: read, path: ''}, {action: api}]
- user: anna
  pass: sha256:XohImNooBHFR0OVvjcYpJ3NgPQ1qq73WKhHvch0VQtg=
  ips: [127.0.0.1]
  permissions: [{action: read, path: yard/1}]
- user: o'neil
  pass: pw
  permissions: [{action: read}]
- user: old
  pass: argon2:$argon2id$canary
  permissions: [{action: read}]
- user: new
  pass: argon2:$argon2id$v=19$m=4096,t=3,p=1$c2FsdHNhbHQ$6DlZ2SZ8wgr78bIgqStn1a2pGrFKUu3GocrmkBm/dHQ
  permissions: [{action: read}]
- user: open
  permissions: [{action: read}]
- user: sha256:abc
  pass: pw
  permissions: [{action: read}]
- user: any
  ips: [127.0.0.1]
  permissions: [{action: api}, {action: metrics}]
";
    let loaded = loaded(&format!("rtmp: no\nsrt: no\nmoq: no\n{text}")).unwrap();
    assert!(!loaded.settings.auth.open && loaded.settings.auth.trusted_networks.is_empty());
    insta::assert_snapshot!(toml::to_string(&loaded.values()["user"]).unwrap(), @r#"
    [account2]
    anyone = true
    name = "any"
    publish = ["door"]

    [account4]
    name = "anna"
    networks = ["127.0.0.1"]
    password = "sha256:XohImNooBHFR0OVvjcYpJ3NgPQ1qq73WKhHvch0VQtg="
    replay = []
    view = ["yard/1"]

    [account5]
    name = "o'neil"
    password = "pw"
    replay = []
    view = ["*"]

    [anna]
    administer = true
    password = "anna-pw"
    publish = ["*"]
    replay = []
    view = ["*"]

    [any]
    anyone = true
    networks = ["10.0.0.0/8"]
    replay = ["*"]
    view = ["~^open/"]

    [new]
    password = "argon2:$argon2id$v=19$m=4096,t=3,p=1$c2FsdHNhbHQ$6DlZ2SZ8wgr78bIgqStn1a2pGrFKUu3GocrmkBm/dHQ"
    replay = []
    view = ["*"]
    "#);
    let notices = loaded.notices.join("\n");
    assert!(!notices.contains("canary"), "{notices}");
    insta::assert_snapshot!(notices, @r#"
    21:9: authInternalUsers: behind argon2: stands $argon2id$v=19$m=4096,t=3,p=1$SALT$HASH, as `printf %s PASSWORD | argon2 SALT -id -e` prints it; the account stays closed until then
    26:3: authInternalUsers: without a password an account is nobody's here: it stays closed
    29:9: authInternalUsers: hashed names of users are not understood here: the account stays closed
    "#);
}

/// A table that is made up is none that is there.
#[test]
fn tables_of_accounts_do_not_meet() {
    let user = |name: &str| format!("- user: {name}\n  pass: pw\n  permissions: [{{action: read}}]\n");
    let text = [user("account2"), user("a/b"), user("account3"), user("a/c")].concat();
    let loaded = loaded(&format!("authInternalUsers:\n{text}")).unwrap();
    let names = loaded
        .settings
        .user
        .iter()
        .map(|(table, user)| user.name.clone().unwrap_or(table.to_string()));
    let mut names: Vec<String> = names.collect();
    names.sort();
    assert_eq!(names, ["a/b", "a/c", "account2", "account3"]);
}

#[test]
fn a_path_that_is_none_allows_nothing() {
    let invalid = loaded("authInternalUsers:\n- user: a\n  pass: b\n  permissions: [{action: read, path: 'a b'}]\n");
    assert!(invalid.unwrap_err().problems[0].to_string().contains("holds ' '"));
}

#[test]
fn wrong_values_are_refused_with_their_line() {
    let invalid =
        loaded("rtspAddress: 8554\nhls: yes\nhlsPartDuration: soon\npaths:\n  door:\n    source: rtsp://\n  a b: {}\n")
            .unwrap_err();
    let problems: Vec<_> = invalid
        .problems
        .iter()
        .map(|problem| {
            problem
                .to_string()
                .split_once(".yml:")
                .map_or_else(String::new, |(_, rest)| rest.to_owned())
        })
        .collect();
    insta::assert_snapshot!(problems.join("\n"), @r#"
    1:14: rtspAddress: expected an address such as :8554 or 192.168.1.5:8554, found 8554
    3:18: hlsPartDuration: expected a time span such as 10s, 1m30s, 200ms, found soon
    6:13: stream.door.source: the URL has no host; write it like rtsp://192.168.1.20:554/stream1
    7:3: paths.a b: the stream name holds ' '; allowed are letters, digits, ".", "_", "~", "-" and "/" between parts
    "#);
}

/// A pair that nothing encrypts with is not looked at, as there.
#[test]
fn certificates_of_what_is_encrypted() {
    let tls = |yaml: &str| {
        let loaded = quiet(yaml);
        let tls = loaded.settings.tls;
        let text = |path: Option<std::path::PathBuf>| path.map(|path| path.display().to_string());
        (text(tls.certificate), text(tls.key), loaded.notices)
    };
    let some = |text: &str| Some(text.to_owned());
    let (certificate, key, notices) = tls("rtspEncryption: no\nrtspServerCert: a.crt\nhlsServerKey: server.key\n");
    assert_eq!((certificate, key, notices.len()), (None, None, 0));
    let (certificate, key, notices) =
        tls("rtspEncryption: optional\nrtspServerCert: /etc/a.crt\nrtspServerKey: /etc/a.key\n");
    assert_eq!((certificate, key), (some("/etc/a.crt"), some("/etc/a.key")));
    assert!(notices[0].contains("both served"), "{notices:?}");
    let (certificate, key, notices) = tls("hlsEncryption: yes\nwebrtcEncryption: yes\nwebrtcServerCert: b.crt\n");
    assert_eq!((certificate, key), (some("server.crt"), some("server.key")));
    assert!(
        notices
            .iter()
            .any(|notice| notice.contains("webrtcServerCert: b.crt is not honoured")),
        "{notices:?}"
    );
}

/// The same with variables.
fn with_variables(yaml: &str, variables: &[(&str, &str)]) -> Result<Loaded, Invalid> {
    let mut file = tempfile::Builder::new().suffix(".yml").tempfile().unwrap();
    let text = format!("rtmp: no\nsrt: no\nmoq: no\n{yaml}");
    file.write_all(text.as_bytes()).unwrap();
    load(&Wanted {
        file: Some(file.path().to_owned()),
        environment: Environment::of(variables.iter().copied()),
        ..Wanted::default()
    })
}

#[test]
fn variables_win_over_the_file() {
    let loaded = with_variables(
        "rtspAddress: :7554
runOnConnect: x
webrtcAdditionalHosts: [a.example]
pathDefaults:
  sourceOnDemand: yes
paths:
  cam:
    source: rtsp://10.0.0.4/a
    runOnReady: old
  front_door:
    source: rtsp://10.0.0.5/a
",
        &[
            ("MTX_RTSPADDRESS", ":9554"),
            ("MTX_WEBRTCADDITIONALHOSTS", "b.example,c.example"),
            ("MTX_PATHDEFAULTS_SOURCEONDEMAND", "no"),
            ("MTX_PATHS_CAM_SOURCE", "rtsp://10.0.0.6/b"),
            ("MTX_PATHS_CAM_RUNONREADY", "new"),
            ("MTX_PATHS_FRONT_DOOR_ALWAYSAVAILABLE", "yes"),
            ("MTX_PATHS_YARD_SOURCE", "rtsp://10.0.0.7/c"),
            ("MTX_AUTHINTERNALUSERS_0_IPS", "10.0.0.0/8,192.168.0.0/16"),
            ("MTX_PROTOCOLS", "tcp"),
            ("MTX_QUERY", "of a command"),
            ("MTX_NOBODY", "x"),
            ("MTX_PATHS_CAM_NOBODY", "x"),
            ("SIGHTLINE_HLS_PORT", "9888"),
            ("MTX_HLSADDRESS", ":9889"),
        ],
    )
    .unwrap();
    let settings = &loaded.settings;
    let source = |name: &str| settings.stream[&name.parse().unwrap()].source.as_ref().unwrap().0[0].to_string();
    assert_eq!(
        (settings.rtsp.port, settings.rtsp.udp, settings.hls.port),
        (9_554, false, 9_888)
    );
    assert_eq!(settings.webrtc.additional_hosts, ["b.example", "c.example"]);
    assert_eq!(source("cam"), "rtsp://10.0.0.6/b");
    assert_eq!(source("yard"), "rtsp://10.0.0.7/c");
    let cam = &settings.stream[&"cam".parse().unwrap()];
    assert!(!cam.on_demand && cam.run_on_available == Some("new".parse().unwrap()));
    assert!(settings.stream[&"front_door".parse().unwrap()].always_available);
    assert_eq!(settings.stream.len(), 3);
    assert!(!settings.auth.open);
    let networks: Vec<String> = settings.auth.trusted_networks.iter().map(ToString::to_string).collect();
    assert_eq!(networks, ["10.0.0.0/8", "192.168.0.0/16"]);
    for (key, variable) in [
        ("rtsp.port", "MTX_RTSPADDRESS"),
        ("stream.cam.source", "MTX_PATHS_CAM_SOURCE"),
    ] {
        assert!(
            loaded.origin(key).unwrap().to_string().contains(variable),
            "{:?}",
            loaded.origin(key)
        );
    }
    let notices = loaded.notices.join("\n");
    for (variable, is_told) in [
        ("MTX_NOBODY", true),
        ("MTX_PATHS_CAM_NOBODY", true),
        ("MTX_QUERY", false),
        ("MTX_RTSPADDRESS", false),
    ] {
        assert_eq!(notices.contains(variable), is_told, "{variable} in {notices}");
    }
}

#[test]
fn a_wrong_variable_is_told_by_its_name() {
    let invalid = with_variables(
        "",
        &[
            ("MTX_RTSPADDRESS", "canary"),
            ("MTX_PATHS_X_SOURCEONDEMAND", "perhaps"),
            ("MTX_PATHS_X_SOURCE", "rtsp://a/b"),
        ],
    );
    let text = invalid
        .unwrap_err()
        .problems
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join("\n");
    assert!(
        text.contains("MTX_RTSPADDRESS") && text.contains("MTX_PATHS_X_SOURCEONDEMAND"),
        "{text}"
    );
}

#[test]
fn variables_for_users() {
    let loaded = |yaml: &str, variables: &[(&str, &str)]| with_variables(yaml, variables).unwrap().settings.auth;
    assert!(
        loaded("", &[("MTX_AUTHINTERNALUSERS_1_IPS", "10.0.0.1")]).open,
        "the first of those that are usual"
    );
    assert!(!loaded("authInternalUsers: []", &[("MTX_LOGLEVEL", "info")]).open);
    let user = [
        ("MTX_AUTHINTERNALUSERS_0_USER", "any"),
        ("MTX_AUTHINTERNALUSERS_0_PERMISSIONS_0_ACTION", "read"),
        ("MTX_AUTHINTERNALUSERS_0_PERMISSIONS_1_ACTION", "publish"),
    ];
    assert!(loaded("authInternalUsers: []", &user).open);
    assert!(!loaded("authInternalUsers: []", &user[..2]).open);
    let many = "MTX_AUTHINTERNALUSERS_99999999999_USER";
    assert!(
        with_variables("authInternalUsers: []", &[(many, "any")])
            .unwrap()
            .notices
            .join("")
            .contains(many)
    );
}

#[test]
fn commands_that_give_streams_are_sources() {
    let loaded = quiet(
        "rtspAddress: :9554
runOnConnect: logger x
runOnConnectRestart: yes
runOnDisconnect: logger y
pathDefaults:
  runOnInitRestart: yes
paths:
  cam:
    runOnDemand: ffmpeg -re -i a.mp4 -c copy -f rtsp rtsp://localhost:$RTSP_PORT/$MTX_PATH
    runOnDemandRestart: yes
    runOnDemandCloseAfter: 20s
    runOnUnDemand: logger gone
  fetched:
    source: rtsp://10.0.0.4/a
    runOnDemand: never run there either
  '~^f(.)$':
    runOnDemand: /opt/start.sh $G1 $RTSP_PORT
    runOnInit: logger f
  first:
    runOnInit: ffmpeg -i x -f rtsp rtsp://localhost:9554/first
",
    );
    let table = |name: &str| toml::to_string(&loaded.values()["stream"][name]).unwrap();
    insta::assert_snapshot!(table("cam"), @r#"
    on_demand = true
    run_on_start_restart = true
    run_on_undemand = "logger gone"
    source = "exec:ffmpeg -re -i a.mp4 -c copy -f rtsp {output}"
    "#);
    insta::assert_snapshot!(table("fetched"), @r#"
    run_on_start_restart = true
    source = "rtsp://10.0.0.4/a"
    "#);
    insta::assert_snapshot!(table("~^f(.)$"), @r#"
    on_demand = true
    source = "run:/opt/start.sh $1 {port}"
    "#);
    insta::assert_snapshot!(table("first"), @r#"
    run_on_start = "ffmpeg -i x -f rtsp rtsp://localhost:9554/first"
    run_on_start_restart = true
    "#);
    insta::assert_snapshot!(toml::to_string(&loaded.values()["server"]).unwrap(), @r#"
    run_on_connect = "logger x"
    run_on_connect_restart = true
    run_on_disconnect = "logger y"
    "#);
    let shown = format!("{:?}", loaded.settings.stream[&"~^f(.)$".parse().unwrap()].source);
    assert!(shown.contains("run:/opt/start.sh …"), "{shown}");
    let notices = loaded.notices.join("\n");
    insta::assert_snapshot!(notices, @r#"
    15:5: runOnDemandCloseAfter: 20s is not honoured: a viewer waits ten seconds for a source, and it ends ten seconds after the last
    22:5: runOnInit: it is not honoured here: it belongs to one name, and an expression means many
    "#);
}
