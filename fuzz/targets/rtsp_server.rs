//! What a peer may send to our RTSP server: any bytes, cut anywhere.
#![no_main]

use input::{Input, Time};
use libfuzzer_sys::fuzz_target;
use protocol::rtsp::auth::{Challenge, Credentials};
use protocol::rtsp::message::Status;
use protocol::rtsp::server::{
    Announced, Config, Denied, Description, Event, Refusal, RtpInfo, ServerPorts, Session, SetUpTransport,
};

/// Answers what the session asks; refuses when the choice says so.
fn answer(session: &mut Session, event: &Event, choices: u8, time: &Time) {
    let refuse = |bit: u8| choices & (1 << bit) != 0;
    let refusal = || Refusal::new(Status::NOT_FOUND);
    let controls = || vec!["trackID=0".to_owned(), String::new()];
    match event {
        Event::Authorize { credentials, .. } => {
            let right = match credentials {
                Credentials::None => false,
                Credentials::Basic { password, .. } => password == "pass",
                Credentials::Digest(response) => response.verify("pass"),
                Credentials::Token(token) => token == "pass",
            };
            let challenge = Challenge {
                realm: "fuzz".into(),
                digest: true,
                basic: refuse(6),
            };
            let allowed = right || !refuse(5);
            session.authorized(
                if allowed {
                    Ok(())
                } else {
                    Err(Denied::Challenge(challenge))
                },
                time.at,
            );
        }
        Event::Describe { .. } if refuse(0) => session.describe(Err(refusal()), time.at),
        Event::Describe { .. } => {
            session.describe(
                Ok(Description {
                    sdp: "v=0\r\n".into(),
                    controls: controls(),
                }),
                time.at,
            );
        }
        Event::Announce { .. } if refuse(1) => session.announce(Err(refusal()), time.at),
        Event::Announce { .. } => session.announce(Ok(Announced { controls: controls() }), time.at),
        Event::SetUp { .. } if refuse(2) => session.set_up(Err(refusal()), time.at),
        Event::SetUp { transport, .. } => {
            let udp = matches!(transport, SetUpTransport::Udp { .. });
            let ports = ServerPorts {
                rtp_rtcp: udp.then_some((8000, 8001)),
                source: None,
                ssrc: Some(7),
            };
            session.set_up(Ok(ports), time.at);
        }
        Event::Play { .. } if refuse(3) => session.play(Err(refusal()), time.at),
        Event::Play { tracks } => {
            let infos: Vec<RtpInfo> = tracks
                .iter()
                .map(|track| RtpInfo {
                    track: *track,
                    sequence: 1,
                    rtp_time: 2,
                })
                .collect();
            session.play(Ok(&infos), time.at);
        }
        Event::Record { .. } if refuse(4) => session.record(Err(refusal()), time.at),
        Event::Record { .. } => session.record(Ok(()), time.at),
        Event::Pause | Event::TearDown | Event::Data { .. } | Event::Close { .. } => {}
    }
}

/// What the session said and wrote.
fn run<'a>(pieces: impl Iterator<Item = &'a [u8]>, choices: u8, time: &Time) -> (Vec<String>, Vec<u8>) {
    // So many that pieces make no difference: in one go all requests wait behind the first.
    let config = Config {
        max_pending: usize::MAX,
        ..Config::default()
    };
    let mut session = Session::new(config, 1, time.at);
    let (mut events, mut output) = (Vec::new(), Vec::new());
    let mut closed = false;
    for piece in pieces {
        session.receive(piece, time.at);
        while let Some(event) = session.poll() {
            assert!(!closed, "{event:?} after Close");
            closed = matches!(event, Event::Close { .. });
            answer(&mut session, &event, choices, time);
            events.push(format!("{event:?}"));
        }
        output.extend_from_slice(&session.take_output());
    }
    (events, output)
}

fuzz_target!(|data: &[u8]| {
    let mut input = Input::new(data);
    let (choices, seed) = (input.byte(), input.byte());
    let bytes = input.rest();
    let time = Time::default();
    let whole = run(std::iter::once(bytes), choices, &time);
    let cut = run(input::cut(bytes, seed), choices, &time);
    assert_eq!(whole, cut, "pieces make a difference");
});
