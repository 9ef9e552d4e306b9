//! What a server may send to our RTSP client: any bytes, cut anywhere, in both roles.
#![no_main]

use std::time::Duration;

use input::{Input, Time};
use libfuzzer_sys::fuzz_target;
use protocol::rtsp::client::{Choice, Config, Event, Login, Mode, Session, Transport};
use protocol::rtsp::url::Url;

fuzz_target!(|data: &[u8]| {
    let mut input = Input::new(data);
    let (choices, seed) = (input.byte(), input.byte());
    let transport = match choices & 3 {
        0 => Transport::Auto,
        1 => Transport::AutoUdpFirst,
        2 => Transport::Tcp,
        _ => Transport::Udp,
    };
    let mode = if choices & 4 == 0 {
        Mode::Play
    } else {
        Mode::Publish {
            sdp: "v=0\r\n".into(),
            controls: vec!["trackID=0".into()],
            via: Some("RTSP/1.0 sightline".to_owned()),
        }
    };
    let login = (choices & 8 == 0).then(|| Login {
        user: "user".into(),
        password: "pass".into(),
    });
    let config = Config {
        transport,
        login,
        ..Config::default()
    };
    let url = Url {
        tls: false,
        user: None,
        password: None,
        host: "camera.example".into(),
        port: 554,
        path: "/stream".into(),
    };
    let mut time = Time::default();
    let mut session = Session::new(config, url, mode, 1);
    session.connected(time.at);
    let mut over = false;
    for piece in input::cut(input.rest(), seed) {
        session.receive(piece, time.at);
        while let Some(event) = session.poll() {
            assert!(!over, "{event:?} after the end");
            match event {
                Event::Described { .. } => {
                    let choice = Choice {
                        track: 0,
                        control: Some("trackID=0".into()),
                    };
                    session.choose(&[choice], time.at);
                }
                Event::Bind { .. } => session.bound((choices & 16 == 0).then_some((5000, 5001)), time.at),
                Event::Reconnect => session.connected(time.at),
                Event::Closed | Event::Failed(_) => over = true,
                _ => {}
            }
        }
        let _ = session.take_output();
        time.pass(Duration::from_millis(u64::from(choices)));
        if session.poll_timeout().is_some_and(|due| due <= time.at) {
            session.handle_timeout(time.at);
        }
    }
    session.tear_down(time.at);
    session.disconnected(time.at);
    while session.poll().is_some() {}
});
