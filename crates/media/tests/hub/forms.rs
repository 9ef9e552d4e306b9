//! Rendered forms: numbered in order, rendered once, shared.

use std::sync::{Arc, Mutex};

use media::hub::{Entry, Forms, Limits, Render};
use testkit::stream::Settings;

use crate::world::{Terms, World};

/// Outputs kept.
const KEEP: usize = 8;

/// Packets of 1,000 bytes, numbered as RTP does it.
#[derive(Default)]
struct Packets {
    next: u64,
    done: Arc<Mutex<Done>>,
}

/// The ids of frames, as they were worked on.
#[derive(Default)]
struct Done {
    marked: Vec<u64>,
    rendered: Vec<u64>,
}

/// A form, and what its renderer did.
fn forms(world: &World, keep: usize) -> (Forms<Packets>, Arc<Mutex<Done>>) {
    let packets = Packets::default();
    let done = packets.done.clone();
    (Forms::new(&world.stream(), keep, packets), done)
}

impl Render for Packets {
    type Output = (u64, Vec<u64>);

    fn mark(&mut self, entry: &Entry) -> u64 {
        self.done.lock().unwrap().marked.push(entry.id);
        let mark = self.next;
        self.next += entry.frame.data.len().div_ceil(1_000) as u64;
        mark
    }

    fn render(&mut self, entry: &Entry, mark: u64) -> Self::Output {
        self.done.lock().unwrap().rendered.push(entry.id);
        (entry.id, packets(entry, mark))
    }
}

fn packets(entry: &Entry, mark: u64) -> Vec<u64> {
    (mark..).take(entry.frame.data.len().div_ceil(1_000)).collect()
}

#[test]
fn all_viewers_share_one_rendering() {
    let world = World::new();
    let mut feed = world.video();
    let (forms, done) = self::forms(&world, KEEP);
    let (mut first, mut second) = (world.join(), world.join());
    feed.pictures(3);
    for (a, b) in first.frames().iter().zip(&second.frames()) {
        let form = forms.get(a).unwrap();
        assert!(Arc::ptr_eq(&form, &forms.get(b).unwrap()));
        assert_eq!(form.0, a.id);
    }
    let done = done.lock().unwrap();
    assert_eq!((&done.marked[..], &done.rendered[..]), (&[0, 1, 2][..], &[0, 1, 2][..]));
}

#[test]
fn numbers_are_without_gap_whoever_asks_for_which_frames() {
    let world = World::new();
    let mut feed = world.video();
    let mut viewer = world.join();
    let (forms, done) = self::forms(&world, KEEP);
    feed.pictures(20);
    let frames = viewer.frames();
    // The newest first, then a lagging viewer's, then one in between.
    let newest = forms.get(&frames[19]).unwrap();
    assert_eq!(newest.1[0], 2 * 13 + 17 * 3);
    assert_eq!(forms.mark(&frames[10]), Some(13 + 9 * 3));
    assert!(
        forms.get(&frames[11]).is_none(),
        "older than the last eight: to be rendered apart"
    );
    assert_eq!(forms.get(&frames[14]).unwrap().1[0], 2 * 13 + 12 * 3);
    let mut all = Vec::new();
    for entry in &frames {
        let mark = forms.mark(entry).unwrap();
        let apart = packets(entry, mark);
        if let Some(shared) = forms.get(entry) {
            assert_eq!(shared.1, apart, "the same bytes");
        }
        all.extend(apart);
    }
    assert_eq!(all, (0..all.len() as u64).collect::<Vec<_>>());
    let done = done.lock().unwrap();
    assert_eq!(done.marked, (0..20).collect::<Vec<_>>());
    let mut once = done.rendered.clone();
    once.sort_unstable();
    once.dedup();
    assert_eq!(once.len(), done.rendered.len(), "nothing twice");
}

#[test]
fn as_many_outputs_are_kept_as_were_asked_for() {
    let world = World::new();
    let mut feed = world.video();
    let mut viewer = world.join();
    let (forms, _) = self::forms(&world, 2);
    feed.pictures(4);
    let frames = viewer.frames();
    for entry in &frames {
        forms.get(entry).unwrap();
    }
    assert!(forms.get(&frames[1]).is_none());
    let kept = forms.get(&frames[2]).unwrap();
    assert_eq!(Arc::strong_count(&kept), 2);
    forms.clear();
    assert_eq!(Arc::strong_count(&kept), 1);
    assert_eq!(forms.mark(&frames[3]), Some(13 + 2 * 3), "marks stay");
}

#[test]
fn frames_that_nobody_asked_for_while_they_were_there_are_not_numbered() {
    let world = World::with(Limits {
        ring_frames: 10,
        ..Limits::default()
    });
    let settings = Settings {
        gop_frames: 0,
        ..Settings::default()
    };
    let mut feed = world.feed(settings, Terms::remote());
    let mut viewer = world.join();
    let (forms, done) = self::forms(&world, KEEP);
    feed.pictures(5);
    let early = viewer.frames();
    feed.pictures(5);
    let middle = viewer.frames();
    assert_eq!(forms.mark(&early[1]), Some(13));
    feed.pictures(40);
    viewer.drain();
    feed.keyframe().unwrap();
    let late = [Arc::clone(viewer.drain()[1].frame())];
    assert_eq!(late[0].id, 50);
    assert_eq!(
        forms.mark(&late[0]),
        Some(16 + 9 * 3),
        "0 and 1, and the nine of the ring before it"
    );
    assert_eq!(forms.mark(&middle[0]), None);
    assert_eq!(forms.mark(&early[1]), None, "marks are kept as long as their frames");
    let marked = &done.lock().unwrap().marked;
    assert_eq!(*marked, [0, 1, 41, 42, 43, 44, 45, 46, 47, 48, 49, 50]);
}

#[test]
fn marks_are_forgotten_with_their_frames() {
    let world = World::with(Limits {
        ring_frames: 10,
        ..Limits::default()
    });
    let mut feed = world.video();
    let mut viewer = world.join();
    let (forms, _) = self::forms(&world, KEEP);
    let mut frames = Vec::new();
    for _ in 0..40 {
        feed.pictures(1);
        frames.extend(viewer.frames());
        forms.mark(&frames[frames.len() - 1]).unwrap();
    }
    let kept: Vec<_> = frames
        .iter()
        .filter(|entry| forms.mark(entry).is_some())
        .map(|entry| entry.id)
        .collect();
    assert_eq!(kept, (30..40).collect::<Vec<_>>());
}

#[test]
fn a_frame_that_is_in_hand_is_numbered_though_it_left_the_ring() {
    let world = World::with(Limits {
        ring_frames: 1,
        ..Limits::default()
    });
    let mut feed = world.video();
    let mut viewer = world.join();
    let (forms, _) = self::forms(&world, KEEP);
    feed.pictures(1);
    let first = viewer.frames();
    feed.pictures(1);
    assert_eq!(forms.get(&first[0]).unwrap().1.len(), 13);
    let second = viewer.frames();
    world.hub.end_all();
    drop((feed, viewer));
    assert_eq!(forms.mark(&second[0]), Some(13), "though the stream is gone");
}

/// Forms live in their stream without keeping it alive.
#[test]
fn forms_are_an_extension_of_their_stream() {
    let world = World::new();
    let mut feed = world.video();
    let mut viewer = world.join();
    feed.pictures(1);
    let stream = world.stream();
    let forms = stream.extension(|| Forms::new(&stream, KEEP, Packets::default()));
    forms.get(&viewer.frames()[0]).unwrap();
    let weak = Arc::downgrade(&stream);
    world.hub.end_all();
    drop((feed, viewer, stream));
    assert!(weak.upgrade().is_none());
    assert_eq!(Arc::strong_count(&forms), 1);
}
