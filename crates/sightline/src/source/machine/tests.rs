use proptest::prelude::*;

use super::*;

/// Both ends of what chance can do.
const NOT_SHORTENED: u64 = 0;
const SHORTENED: u64 = 1_000;

fn why(trouble: Trouble) -> Why {
    Why::new(trouble, format!("{trouble:?}"))
}

/// A machine and the time it lives in.
struct World {
    machine: Machine,
    now: Instant,
    seen: Seen,
}

impl World {
    #[allow(clippy::disallowed_methods, reason = "what time it is does not matter")]
    fn new(places: usize, on_demand: bool) -> Self {
        Self {
            machine: Machine::new(Rules {
                places,
                hosts: HOSTS,
                on_demand,
            }),
            now: Instant::now(),
            seen: Seen::default(),
        }
    }

    fn look(&mut self) -> Step {
        self.machine.look(&self.seen, self.now)
    }

    fn pass(&mut self, time: Duration) -> &mut Self {
        self.now += time;
        self
    }

    fn fail(&mut self, trouble: Trouble) -> Duration {
        self.machine.ended(Some(why(trouble)), self.now, NOT_SHORTENED);
        match self.machine.state() {
            State::Waiting { until, .. } => *until - self.now,
            state => panic!("{state:?}"),
        }
    }

    /// Starts as soon as it may.
    fn start(&mut self) -> usize {
        for _ in 0..100 {
            match self.look() {
                Step::Start { place } => return place,
                Step::Stay { until: Some(until) } => self.now = until,
                step => panic!("{step:?} in {:?}", self.machine),
            }
        }
        panic!("it never starts: {:?}", self.machine)
    }
}

/// Each place asks another machine.
const HOSTS: [u8; MOST_PLACES] = [0, 1, 2, 3, 4, 5, 6, 7];

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn waits_double_to_half_a_minute_and_begin_anew_after_a_good_minute() {
    let mut world = World::new(1, false);
    let mut waits = Vec::new();
    for _ in 0..7 {
        world.start();
        waits.push(world.fail(Trouble::Unreachable).as_secs());
    }
    assert_eq!(waits, [1, 2, 4, 8, 16, 30, 30]);
    world.start();
    world.machine.runs(world.now);
    world.pass(seconds(59));
    assert_eq!(world.fail(Trouble::Ended), seconds(30));
    world.start();
    world.machine.runs(world.now);
    world.pass(seconds(60));
    assert_eq!(world.fail(Trouble::Ended), seconds(1));
}

#[test]
fn what_will_not_change_by_itself_waits_the_longest_at_once() {
    let mut world = World::new(1, false);
    world.start();
    assert_eq!(world.fail(Trouble::NotThere), LONGEST);
    // Not if one of several may be back soon.
    let mut world = World::new(2, false);
    world.start();
    world.fail(Trouble::Unreachable);
    world.start();
    assert_eq!(world.fail(Trouble::NotThere), seconds(1));
}

#[test]
fn no_account_is_locked_by_asking() {
    let mut world = World::new(1, false);
    let begun = world.now;
    let mut asked = Vec::new();
    for _ in 0..8 {
        world.start();
        asked.push(world.now - begun);
        world.fail(Trouble::Login);
    }
    for (at, first) in asked.iter().enumerate() {
        let within = asked[at..].iter().filter(|later| **later - *first < seconds(1_800));
        assert!(within.count() <= 4, "{asked:?}");
    }
    assert_eq!(asked[7] - asked[6], seconds(1_800), "it is asked again for ever");
    // A good login, and all is forgotten.
    world.start();
    world.machine.runs(world.now);
    world.fail(Trouble::Ended);
    world.start();
    assert_eq!(world.fail(Trouble::Login), AFTER_LOGIN[0]);
}

#[test]
fn a_machine_that_refuses_the_login_is_not_asked_by_another_path() {
    let mut world = World::new(4, false);
    // The first three ask one camera.
    world.machine.rules.hosts = [0, 0, 0, 3, 4, 5, 6, 7];
    assert_eq!(world.start(), 0);
    world.fail(Trouble::NotThere);
    assert_eq!(world.start(), 1);
    world.fail(Trouble::Login);
    assert_eq!(world.start(), 3, "another camera, another account");
    assert_eq!(world.fail(Trouble::Unreachable), AFTER_LOGIN[0]);
    assert_eq!(world.start(), 0);
}

#[test]
fn who_wants_a_login_and_was_shown_none_locks_nothing() {
    let mut world = World::new(1, false);
    for _ in 0..3 {
        world.start();
        assert_eq!(world.fail(Trouble::LoginNeeded), LONGEST);
    }
    // Another of its places may have an account, on the same machine too. What is told is what a person can mend.
    let mut world = World::new(2, false);
    world.machine.rules.hosts = [0; MOST_PLACES];
    world.start();
    world.fail(Trouble::LoginNeeded);
    assert_eq!(world.start(), 1);
    assert_eq!(world.fail(Trouble::Unreachable), seconds(1));
    assert_eq!(world.machine.state().why(), Some(&why(Trouble::LoginNeeded)));
    world.start();
    world.fail(Trouble::Unreachable);
    world.start();
    world.fail(Trouble::Unreachable);
    assert_eq!(world.machine.state().why(), Some(&why(Trouble::Unreachable)));
}

#[test]
fn waits_are_shortened_by_a_quarter_at_most() {
    assert_eq!(shortened(seconds(8), NOT_SHORTENED), seconds(8));
    assert_eq!(shortened(seconds(8), SHORTENED), seconds(6));
}

#[test]
fn urls_are_tried_in_order_without_a_wait_between() {
    let mut world = World::new(3, false);
    let begun = world.now;
    let mut tried = Vec::new();
    for _ in 0..3 {
        tried.push(world.start());
        world.fail(Trouble::Unreachable);
    }
    assert_eq!((tried, world.now), (vec![0, 1, 2], begun));
    assert_eq!((world.start(), world.now - begun), (0, seconds(1)));
    // One that ran and ended: the first has its turn again.
    world.fail(Trouble::Unreachable);
    assert_eq!(world.start(), 1);
    world.machine.runs(world.now);
    world.fail(Trouble::Ended);
    assert_eq!(world.start(), 0);
}

#[test]
fn on_demand_it_runs_from_the_first_viewer_until_ten_seconds_after_the_last() {
    let mut world = World::new(1, true);
    assert_eq!(world.look(), Step::Stay { until: None });
    world.machine.wanted(world.now);
    assert_eq!(world.look(), Step::Start { place: 0 });
    world.machine.runs(world.now);
    world.seen.viewers = 1;
    for _ in 0..100 {
        assert!(matches!(world.pass(seconds(1)).look(), Step::Stay { until: Some(_) }));
    }
    world.seen.viewers = 0;
    assert!(matches!(
        world.pass(Duration::from_millis(9_999)).look(),
        Step::Stay { .. }
    ));
    assert_eq!(world.pass(Duration::from_millis(1)).look(), Step::Stop);
    world.machine.ended(None, world.now, NOT_SHORTENED);
    assert_eq!(world.machine.state(), &State::Idle);
    assert_eq!(world.look(), Step::Stay { until: None });
}

#[test]
fn on_demand_a_failure_is_kept_and_its_wait_holds_for_who_comes_next() {
    let mut world = World::new(1, true);
    world.machine.wanted(world.now);
    world.start();
    world.fail(Trouble::Login);
    let until = world.now + AFTER_LOGIN[0];
    world.pass(LINGER);
    assert_eq!(world.look(), Step::Stay { until: None });
    assert_eq!(world.machine.state(), &State::Failed(why(Trouble::Login)));
    world.machine.wanted(world.now);
    let why = why(Trouble::Login);
    assert_eq!(world.machine.state(), &State::Waiting { until, why });
    assert!(
        matches!(world.look(), Step::Stay { .. }),
        "a camera would lock the account"
    );
    assert_eq!(world.machine.remembered_until(), Some(until));
    world.now = until;
    world.machine.wanted(world.now);
    assert_eq!(world.look(), Step::Start { place: 0 });
}

#[test]
fn whoever_publishes_in_its_place_is_left_alone() {
    let mut world = World::new(2, false);
    world.start();
    world.machine.runs(world.now);
    assert_eq!(world.fail(Trouble::Occupied), OCCUPIED_LOOK);
    world.seen.occupied = Some(why(Trouble::Occupied));
    for _ in 0..5 {
        assert!(matches!(
            world.pass(OCCUPIED_LOOK).look(),
            Step::Stay { until: Some(_) }
        ));
    }
    world.seen.occupied = None;
    assert_eq!(world.pass(OCCUPIED_LOOK).look(), Step::Start { place: 0 });
}

/// What may happen next.
#[derive(Clone, Debug)]
enum Move {
    Pass(u64),
    Wanted,
    Viewers(usize),
    Occupied(bool),
    Runs,
    Ends(Option<Trouble>, u64),
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let trouble = prop::sample::select(vec![
        Trouble::Unreachable,
        Trouble::Login,
        Trouble::LoginNeeded,
        Trouble::NotThere,
        Trouble::Ended,
        Trouble::Occupied,
    ]);
    let one = prop_oneof![
        4 => (0_u64..40_000).prop_map(Move::Pass),
        1 => Just(Move::Wanted),
        1 => (0_usize..3).prop_map(Move::Viewers),
        1 => any::<bool>().prop_map(Move::Occupied),
        2 => Just(Move::Runs),
        2 => (prop::option::of(trouble), any::<u64>()).prop_map(|(trouble, chance)| Move::Ends(trouble, chance)),
    ];
    prop::collection::vec(one, 0..200)
}

proptest! {
    #[test]
    fn whatever_happens(moves in moves(), places in 1_usize..4, on_demand: bool) {
        let mut world = World::new(places, on_demand);
        let mut attempt = false;
        for next in moves {
            match next {
                Move::Pass(ms) => { world.pass(Duration::from_millis(ms)); }
                Move::Wanted => world.machine.wanted(world.now),
                Move::Viewers(viewers) => world.seen.viewers = viewers,
                Move::Occupied(occupied) => world.seen.occupied = occupied.then(|| why(Trouble::Occupied)),
                Move::Runs if attempt => world.machine.runs(world.now),
                Move::Ends(trouble, chance) if attempt => {
                    attempt = false;
                    world.machine.ended(trouble.map(why), world.now, chance);
                    if let State::Waiting { until, .. } = world.machine.state() {
                        prop_assert!(*until - world.now <= AFTER_LOGIN[3]);
                    }
                }
                Move::Runs | Move::Ends(..) => {}
            }
            match world.look() {
                Step::Start { place } => {
                    prop_assert!(!attempt, "two attempts at a time");
                    prop_assert!(place < places && world.seen.occupied.is_none());
                    attempt = true;
                }
                Step::Stop => prop_assert!(attempt && on_demand && world.seen.viewers == 0),
                Step::Stay { until } => {
                    // It is looked at again when there is something to see.
                    let idle = on_demand && world.seen.viewers == 0 && !attempt;
                    prop_assert!(attempt || idle || until.is_some());
                    prop_assert!(until.is_none_or(|until| until > world.now));
                }
            }
            let is_attempt = matches!(world.machine.state(), State::Connecting { .. } | State::Running { .. });
            prop_assert_eq!(is_attempt, attempt);
        }
    }
}
