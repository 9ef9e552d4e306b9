//! Looking for the way, with a peer that answers some of the questions.

use media::Clock as _;
use testkit::clock::SimClock;

use str0m::ice::StunMessageBuilder;

use super::super::super::tests::IDENTITY;
use super::*;

const LOCAL: &str = "10.0.0.2:5000";
const THEIRS: [&str; 3] = ["10.0.0.1:8189", "10.9.9.9:8189", "[2001:db8::1]:8189"];

fn credentials(name: &str) -> Credentials {
    Credentials {
        ufrag: name.to_owned(),
        password: format!("{name} {name} {name} {name}"),
    }
}

struct Agent {
    seeker: Seeker,
    clock: SimClock,
    out: Outbox,
}

/// A question as it was sent.
#[derive(Clone, Debug)]
struct Question {
    to: SocketAddr,
    id: TransId,
    names: bool,
}

impl Agent {
    fn new(addresses: &[&str]) -> Self {
        let clock = SimClock::new();
        let addresses: Vec<SocketAddr> = addresses.iter().map(|text| text.parse().unwrap()).collect();
        let both = (&credentials("ours"), &credentials("theirs"));
        Self {
            seeker: Seeker::new(both, LOCAL.parse().unwrap(), &addresses, 7, clock.now()),
            clock,
            out: Outbox::new(),
        }
    }

    /// What is asked until then.
    fn run(&mut self, time: Duration) -> Vec<Question> {
        let end = self.clock.now() + time;
        let mut questions = Vec::new();
        loop {
            let crypto = &IDENTITY.crypto;
            self.seeker.handle_timeout(crypto, self.clock.now(), &mut self.out);
            questions.extend(self.questions());
            let next = self.seeker.poll_timeout().map_or(end, |at| at.min(end));
            if next >= end {
                self.clock.advance(end - self.clock.now());
                return questions;
            }
            assert!(next > self.clock.now(), "time goes on");
            self.clock.advance(next - self.clock.now());
        }
    }

    fn questions(&mut self) -> Vec<Question> {
        let mut questions = Vec::new();
        for (batch, bytes) in self.out.datagrams() {
            let message = StunMessage::parse(bytes).unwrap();
            if message.is_binding_request() {
                assert_eq!(message.split_username(), Some(("theirs", "ours")));
                assert_eq!(message.ice_controlling(), Some(7));
                questions.push(Question {
                    to: batch.to,
                    id: message.trans_id(),
                    names: message.use_candidate(),
                });
            }
        }
        self.out.clear();
        questions
    }

    fn answer(&mut self, id: TransId, from: SocketAddr, password: &str) -> bool {
        let message = StunMessage::binding_reply(id, LOCAL.parse().unwrap());
        self.take(message, from, password)
    }

    fn take(&mut self, message: StunMessage<'_>, from: SocketAddr, password: &str) -> bool {
        let crypto = &IDENTITY.crypto;
        let hmac = |key: &[u8], parts: &[&[u8]]| crypto.sha1_hmac_provider.sha1_hmac(key, parts);
        let mut bytes = [0; 256];
        let size = message.to_bytes(Some(password.as_bytes()), &mut bytes, hmac).unwrap();
        let datagram = Datagram {
            transport: Transport::Udp,
            from,
            to: LOCAL.parse().unwrap(),
            bytes: &bytes[..size],
        };
        self.seeker.receive(datagram, crypto, self.clock.now(), &mut self.out)
    }

    fn asked(&mut self, from: &str, password: &str, controls: bool) -> bool {
        let builder = StunMessageBuilder::new()
            .binding()
            .request()
            .username("ours:theirs")
            .prio(1);
        let builder = if controls {
            builder.ice_controlling(9)
        } else {
            builder.ice_controlled(9)
        };
        self.take(builder.build(TransId::new()), from.parse().unwrap(), password)
    }
}

const PASSWORD: &str = "theirs theirs theirs theirs";

#[test]
fn every_address_of_the_same_family_is_asked_until_one_answers() {
    let mut agent = Agent::new(&THEIRS);
    let questions = agent.run(Duration::from_millis(300));
    let to = |at: &str| {
        questions
            .iter()
            .filter(|question| question.to == at.parse().unwrap())
            .count()
    };
    assert_eq!((to(THEIRS[0]), to(THEIRS[1]), to(THEIRS[2])), (3, 3, 0));
    assert!(questions.iter().all(|question| !question.names) && agent.seeker.nominated().is_none());
    let question = questions.last().unwrap().clone();
    assert!(agent.answer(question.id, question.to, PASSWORD));
    assert_eq!(agent.seeker.nominated().map(|way| way.to), Some(question.to));
    // The peer is told at once, and again until it has answered that.
    let named = agent.questions();
    assert!(
        named.iter().all(|named| named.names && named.to == question.to) && named.len() == 1,
        "{named:?}"
    );
    let again = agent.run(Duration::from_secs(1));
    assert!(again.len() > 2 && again.iter().all(|again| again.names && again.to == question.to));
    assert!(agent.answer(again.last().unwrap().id, question.to, PASSWORD));
    assert_eq!(
        agent.run(Duration::from_secs(10)).len(),
        3,
        "then it is asked for consent"
    );
}

#[test]
fn answers_to_nothing_and_of_others_change_nothing() {
    let mut agent = Agent::new(&THEIRS[..2]);
    let question = agent.run(Duration::from_millis(10)).remove(0);
    assert!(!agent.answer(TransId::new(), question.to, PASSWORD), "never asked");
    assert!(
        !agent.answer(question.id, THEIRS[1].parse().unwrap(), PASSWORD),
        "from elsewhere"
    );
    assert!(
        !agent.answer(question.id, question.to, "guessed guessed guessed"),
        "not signed"
    );
    assert!(agent.seeker.nominated().is_none() && agent.seeker.silent_at().is_none());
    assert!(agent.answer(question.id, question.to, PASSWORD));
}

#[test]
fn a_peer_that_asks_from_elsewhere_is_asked_there() {
    let mut agent = Agent::new(&[]);
    assert!(agent.run(Duration::from_secs(1)).is_empty());
    assert!(!agent.asked("10.0.0.7:9", "wrong wrong wrong wrong", false));
    assert!(agent.asked("10.0.0.7:9", "ours ours ours ours", false));
    let questions = agent.run(Duration::from_millis(10));
    assert_eq!(questions[0].to, "10.0.0.7:9".parse().unwrap());
    assert!(agent.answer(questions[0].id, questions[0].to, PASSWORD));
    assert!(agent.seeker.nominated().is_some());
}

#[test]
fn one_that_wants_to_be_in_control_is_told_otherwise() {
    let mut agent = Agent::new(&[]);
    assert!(agent.asked("10.0.0.7:9", "ours ours ours ours", true));
    assert!(!agent.seeker.knows("10.0.0.7:9".parse().unwrap()));
    let bytes: Vec<u8> = (agent.out.batches().iter())
        .flat_map(|batch| batch.runs())
        .flat_map(|run| agent.out.bytes(run).to_vec())
        .collect();
    assert_eq!(
        StunMessage::parse(&bytes).unwrap().error_code().map(|(code, _)| code),
        Some(487)
    );
}

#[test]
fn addresses_have_a_limit() {
    let mut agent = Agent::new(&[]);
    for port in 1..=3 * MAX_ADDRESSES {
        assert!(agent.asked(&format!("10.0.0.7:{port}"), "ours ours ours ours", false));
        agent.out.clear();
    }
    assert_eq!(agent.seeker.addresses.len(), MAX_ADDRESSES);
    agent.run(Duration::from_secs(20));
    let asked = agent.seeker.addresses.iter().map(|address| address.asked.len());
    assert_eq!(asked.max(), Some(MAX_ASKED));
}
