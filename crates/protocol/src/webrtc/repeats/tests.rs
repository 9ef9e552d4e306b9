//! Which packets can be sent again.

use media::Clock as _;
use proptest::prelude::*;
use testkit::clock::SimClock;
use testkit::stream::{Settings, Video};

use super::super::Former;
use super::*;

const FIRST: u64 = 65_500;

/// What was sent of a stream, from the number [`FIRST`] on.
struct Sent {
    repeats: Repeats,
    clock: SimClock,
    video: Video,
    next: u64,
    forms: Vec<(u64, Form)>,
}

impl Sent {
    fn new() -> Self {
        Self {
            repeats: Repeats::new(1, 2, 3),
            clock: SimClock::new(),
            video: Video::new(Settings::default()),
            next: FIRST,
            forms: Vec::new(),
        }
    }

    fn send(&mut self) {
        let frame = self.video.next_frame(self.clock.wall());
        let form = Former::new(self.video.format(), 0).form(&frame);
        let bytes = form.payloads().map(|payload| payload.bytes.len()).sum();
        self.repeats.note(self.next, &form, 0, bytes, self.clock.now());
        self.forms.push((self.next, form.clone()));
        self.next += form.packets() as u64;
    }

    fn take(&mut self, number: u64) -> Option<(Form, usize)> {
        let round_trip = Some(Duration::from_millis(40));
        self.repeats
            .take(number as u16, self.next, round_trip, self.clock.now())
            .map(|(form, _, position)| (form, position))
    }

    fn wait(&self, millis: u64) {
        self.clock.advance(Duration::from_millis(millis));
    }
}

#[test]
fn each_packet_is_found_by_its_number() {
    let mut sent = Sent::new();
    for _ in 0..20 {
        sent.send();
    }
    assert!(sent.next > 65_536, "the sixteen bits come round");
    for (first, form) in sent.forms.clone() {
        // A budget that does not end.
        sent.repeats.share.fresh[0] = 1 << 40;
        sent.repeats.recent.clear();
        for position in 0..form.packets() {
            let (found, at) = sent.take(first + position as u64).unwrap();
            assert_eq!(found.payload(at).unwrap().bytes, form.payload(position).unwrap().bytes);
        }
    }
    assert!(sent.take(FIRST - 1).is_none(), "before the first");
    assert!(sent.take(sent.next).is_none(), "not sent yet");
}

#[test]
fn once_in_a_round_trip() {
    let mut sent = Sent::new();
    sent.send();
    assert!(sent.take(FIRST).is_some());
    sent.wait(29);
    assert!(sent.take(FIRST).is_none());
    assert!(sent.take(FIRST + 1).is_some());
    sent.wait(1);
    assert!(sent.take(FIRST).is_some());
}

#[test]
fn half_of_all_bytes_at_most() {
    let mut sent = Sent::new();
    sent.send();
    let packets = sent.forms[0].1.packets() as u64;
    let mut repeated = 0;
    for _ in 0..10 {
        repeated += (0..packets).filter(|at| sent.take(FIRST + at).is_some()).count() as u64;
        sent.wait(30);
    }
    assert_eq!(repeated, packets);
    sent.wait(800);
    sent.send();
    assert!(sent.take(sent.next - 1).is_some(), "what is new may be repeated");
}

#[test]
fn what_is_old_or_too_much_is_let_go() {
    let mut sent = Sent::new();
    for _ in 0..10 {
        sent.send();
        sent.wait(200);
    }
    assert!(sent.repeats.past.len() <= 5, "{}", sent.repeats.past.len());
    sent.wait(1_000);
    sent.repeats.forget(sent.clock.now());
    assert_eq!((sent.repeats.past.len(), sent.repeats.packets), (0, 0));
    for _ in 0..1_000 {
        sent.send();
    }
    assert!(sent.repeats.past.len() <= KEPT_FORMS && sent.repeats.packets <= KEPT_PACKETS);
    sent.repeats.share.fresh[0] = 1 << 40;
    let taken = (FIRST..sent.next)
        .rev()
        .filter(|number| sent.take(*number).is_some())
        .count();
    assert!(taken <= RECENT && sent.repeats.recent.len() <= RECENT, "{taken}");
}

proptest! {
    #[test]
    fn any_number_is_taken_or_not(numbers in prop::collection::vec(any::<u16>(), 1..500), frames in 0_usize..5) {
        let mut sent = Sent::new();
        for _ in 0..frames {
            sent.send();
        }
        for number in numbers {
            let next = sent.next;
            let now = sent.clock.now();
            if let Some((form, _, position)) = sent.repeats.take(number, next, None, now) {
                prop_assert!(form.payload(position).is_some());
            }
        }
    }
}
