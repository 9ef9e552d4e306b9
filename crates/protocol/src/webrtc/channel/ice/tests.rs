//! Checks, and which way is taken.

use media::Clock as _;
use testkit::clock::SimClock;

use str0m::ice::{StunMessageBuilder, TransId};

use super::super::super::tests::IDENTITY;
use super::*;

const OURS: [&str; 2] = ["10.0.0.1:8189", "10.0.1.1:8189"];

fn credentials(name: &str) -> Credentials {
    Credentials {
        ufrag: name.to_owned(),
        password: format!("{name} {name} {name} {name}"),
    }
}

/// A check as a browser sends it.
#[derive(Clone, Copy)]
struct Check<'a> {
    from: &'a str,
    to: &'a str,
    username: &'a str,
    password: &'a str,
    priority: u32,
    nominates: bool,
    controls: bool,
}

const CHECK: Check<'static> = Check {
    from: "10.0.0.2:5000",
    to: OURS[0],
    username: "ours:theirs",
    password: "ours ours ours ours",
    priority: 100,
    nominates: true,
    controls: true,
};

struct Agent {
    lite: Lite,
    clock: SimClock,
}

impl Agent {
    fn new() -> Self {
        Self {
            lite: Lite::new(&credentials("ours"), &credentials("theirs")),
            clock: SimClock::new(),
        }
    }

    /// Whether it is answered by a success, to where it came from.
    fn receive(&mut self, check: Check<'_>) -> Option<bool> {
        let crypto = &IDENTITY.crypto;
        let hmac = |key: &[u8], parts: &[&[u8]]| crypto.sha1_hmac_provider.sha1_hmac(key, parts);
        let builder = StunMessageBuilder::new().binding().request();
        let builder = builder.username(check.username).prio(check.priority);
        let builder = if check.nominates {
            builder.use_candidate()
        } else {
            builder
        };
        let builder = if check.controls {
            builder.ice_controlling(u64::MAX)
        } else {
            builder.ice_controlled(u64::MAX)
        };
        let mut bytes = [0; 500];
        let written = builder
            .build(TransId::new())
            .to_bytes(Some(check.password.as_bytes()), &mut bytes, hmac)
            .unwrap();
        let mut out = Outbox::new();
        let datagram = Datagram {
            transport: Transport::Udp,
            from: check.from.parse().unwrap(),
            to: check.to.parse().unwrap(),
            bytes: &bytes[..written],
        };
        let taken = self.lite.receive(datagram, crypto, self.clock.now(), &mut out);
        assert_eq!(taken, !out.is_empty());
        let batch = out.batches().first()?;
        assert_eq!((batch.from, batch.to), (datagram.to, datagram.from));
        let answer = StunMessage::parse(out.bytes(&batch.runs()[0])).unwrap();
        assert!(answer.verify(check.password.as_bytes(), hmac));
        let success = answer.is_successful_binding_response();
        assert_eq!(answer.mapped_address(), success.then_some(datagram.from));
        Some(success)
    }

    fn nominated(&self) -> Option<String> {
        let way = self.lite.nominated()?;
        Some(format!("{} {}", way.from, way.to))
    }

    fn wait(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }
}

#[test]
fn only_the_peers_own_checks_are_answered() {
    let mut agent = Agent::new();
    let wrong = [
        Check {
            username: "ours:others",
            ..CHECK
        },
        Check {
            username: "others:theirs",
            ..CHECK
        },
        Check {
            password: "theirs theirs theirs",
            ..CHECK
        },
    ];
    for check in wrong {
        assert_eq!(agent.receive(check), None);
    }
    assert_eq!((agent.lite.silent_at(), agent.nominated()), (None, None));
    assert!(!agent.lite.knows(CHECK.from.parse().unwrap()));
    assert_eq!(agent.receive(CHECK), Some(true));
    assert!(agent.lite.knows(CHECK.from.parse().unwrap()));
    assert_eq!(agent.lite.silent_at(), Some(agent.clock.now() + SILENCE));
}

#[test]
fn who_thinks_that_we_control_is_told_otherwise() {
    let mut agent = Agent::new();
    let check = Check {
        controls: false,
        ..CHECK
    };
    assert_eq!(agent.receive(check), Some(false));
    assert_eq!(agent.nominated(), None);
}

#[test]
fn the_nominated_way_is_taken() {
    let mut agent = Agent::new();
    let quiet = Check {
        nominates: false,
        priority: 900,
        from: "10.0.0.3:1",
        ..CHECK
    };
    agent.receive(quiet);
    assert_eq!(agent.nominated(), None);
    assert_eq!(agent.lite.remote().unwrap().1, "10.0.0.3:1".parse().unwrap());
    agent.receive(CHECK);
    agent.receive(quiet);
    assert_eq!(agent.nominated().unwrap(), "10.0.0.1:8189 10.0.0.2:5000");
}

#[test]
fn of_several_that_are_nominated_the_best_is_taken_until_it_is_silent() {
    let mut agent = Agent::new();
    let better = Check {
        priority: 200,
        to: OURS[1],
        ..CHECK
    };
    agent.receive(CHECK);
    agent.receive(better);
    agent.receive(CHECK);
    assert_eq!(agent.nominated().unwrap(), "10.0.1.1:8189 10.0.0.2:5000");
    agent.wait(2);
    agent.receive(CHECK);
    assert_eq!(agent.nominated().unwrap(), "10.0.1.1:8189 10.0.0.2:5000");
    agent.wait(1);
    agent.receive(Check {
        nominates: false,
        ..CHECK
    });
    assert_eq!(
        agent.nominated().unwrap(),
        "10.0.1.1:8189 10.0.0.2:5000",
        "nobody said so"
    );
    agent.receive(CHECK);
    assert_eq!(agent.nominated().unwrap(), "10.0.0.1:8189 10.0.0.2:5000");
}

#[test]
fn a_peer_whose_router_gives_it_another_port_is_followed() {
    let mut agent = Agent::new();
    agent.receive(CHECK);
    agent.receive(Check {
        from: "10.0.0.2:6000",
        ..CHECK
    });
    assert_eq!(agent.nominated().unwrap(), "10.0.0.1:8189 10.0.0.2:6000");
    // Another address of the peer, as good as the first, is no reason to change.
    agent.receive(Check {
        from: "10.0.0.3:6000",
        ..CHECK
    });
    assert_eq!(agent.nominated().unwrap(), "10.0.0.1:8189 10.0.0.2:6000");
}

#[test]
fn after_a_restart_only_new_credentials_count() {
    let mut agent = Agent::new();
    agent.receive(Check { priority: 900, ..CHECK });
    agent.lite.restart(&credentials("new"), &credentials("fresh"));
    assert_eq!(agent.receive(CHECK), None);
    assert!(agent.nominated().is_some(), "what was taken before serves until then");
    let renewed = Check {
        from: "10.0.0.9:9",
        username: "fresh:new",
        password: "fresh fresh fresh fresh",
        ..CHECK
    };
    assert_eq!(agent.receive(renewed), Some(true));
    assert_eq!(agent.nominated().unwrap(), "10.0.0.1:8189 10.0.0.9:9");
}

#[test]
fn so_many_ways_are_remembered() {
    let mut agent = Agent::new();
    agent.receive(CHECK);
    for port in 1..100 {
        agent.wait(1);
        let from = format!("10.0.0.3:{port}");
        agent.receive(Check {
            from: &from,
            nominates: false,
            ..CHECK
        });
    }
    assert_eq!(agent.lite.paths.len(), MAX_PATHS);
    assert!(!agent.lite.knows("10.0.0.3:1".parse().unwrap()));
    assert!(agent.lite.knows("10.0.0.3:99".parse().unwrap()));
    assert!(
        agent.lite.knows(CHECK.from.parse().unwrap()),
        "what is sent to is not forgotten"
    );
}
