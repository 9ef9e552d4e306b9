//! What clients of the status socket may say: any binary message, any text, in any order, and come and go.
#![no_main]

use std::task::{Context, Poll, Waker};
use std::time::Duration;

use input::{Input, Time};
use libfuzzer_sys::fuzz_target;
use media::WallTime;
use protocol::status::{CameraCommand, ClientId, Config, Effect, Member, Out, Right, Room, pong};

fn member(rights: u8) -> Member {
    Member {
        name: "fuzz".to_owned(),
        hears_cameras: rights & 8 == 0,
        camera: None,
        permit: Box::new(move |right, _| match right {
            Right::View => rights & 1 != 0,
            Right::Publish => rights & 2 != 0,
            Right::Operate => rights & 4 != 0,
        }),
    }
}

/// Everything that a client is told is what clients can read, and no more than its queues hold.
fn read(room: &mut Room, id: ClientId, config: &Config) {
    let mut count = 0;
    while let Poll::Ready(Some(out)) = room.poll_next(id, &mut Context::from_waker(Waker::noop())) {
        count += 1;
        let text = match out {
            Out::Text(text) => text.to_vec(),
            Out::Pong(echo) => pong(&echo, WallTime::from_unix_micros(1)).into_bytes(),
            Out::Command(bytes) => {
                assert!(CameraCommand::read(&bytes).unwrap().command.is_some());
                continue;
            }
        };
        let text = String::from_utf8(text).unwrap();
        assert!(text.starts_with("{\"type\":\"") && text.ends_with('}'), "{text}");
    }
    assert!(count <= 2 * config.queue + 2 * config.cameras, "{count}");
}

fuzz_target!(|data: &[u8]| {
    let mut input = Input::new(data);
    let mut time = Time::default();
    let config = Config {
        clients: 5,
        queue: 6,
        cameras: 4,
        cameras_of_one: 3,
        ..Config::default()
    };
    let mut room = Room::new(config.clone());
    let mut clients = Vec::new();
    while !input.is_empty() {
        let choice = input.byte();
        let who = clients.get(usize::from(choice >> 4) % clients.len().max(1)).copied();
        match (choice & 7, who) {
            (0, _) => clients.extend(room.join(member(input.byte()), time.at)),
            (1, Some(id)) => {
                room.leave(id, time.at);
                clients.retain(|other| *other != id);
            }
            (2 | 3, Some(id)) => drop(room.said_binary(id, input.piece(), time.at)),
            (4 | 5, Some(id)) => {
                let text = String::from_utf8_lossy(input.piece()).into_owned();
                let effect = room.said_text(id, &text, time.at, WallTime::from_unix_micros(1));
                if let Some(Effect::Command { asker, command, .. }) = effect {
                    room.answer(asker, command.name(), Ok("done"));
                }
            }
            (6, Some(id)) => read(&mut room, id, &config),
            _ => time.pass(Duration::from_millis(u64::from(input.word()))),
        }
        let next = room.poll(time.at);
        assert!(next.is_none_or(|next| next > time.at));
        let totals = room.totals();
        assert!(totals.clients == clients.len() && totals.cameras <= config.cameras);
    }
});
