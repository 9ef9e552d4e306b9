//! Pictures and sound from two lists, put in one row again by their decode times.
//!
//! Both count on one clock (RFC 8216 §6.2.4), and come whenever they come. Pictures lead: sound that is from before the first of them, or from another
//! clock, is left out. Waits for nobody but pictures at the beginning; what comes too late is published late, and delays both then ([`super::pace`]).

use std::collections::VecDeque;
use std::net::SocketAddr;

use media::demux::Sample;
use media::{Kind, WallTime};
use tokio::sync::mpsc;

use super::fetcher::Fetched;
use super::pace::JUMP_US;

/// A sample to be published.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) sample: Sample,
    /// When it was captured, as its list says.
    pub(super) date: Option<WallTime>,
    /// Published at once: it is older than what there is already, at the beginning.
    pub(super) at_once: bool,
    /// It does not follow from the one before.
    pub(super) jumps: bool,
    /// It is of the list that is sound alone.
    pub(super) apart: bool,
}

/// What is to be done next.
#[derive(Debug)]
pub(super) enum Next {
    Publish(Item),
    /// Nothing is there: [`Lines::wait`].
    Wait,
    Over,
}

/// One list.
struct Line {
    inbox: mpsc::Receiver<Fetched>,
    waiting: VecDeque<Item>,
    open: bool,
}

/// One list with both, or two.
pub(super) struct Lines {
    pictures: Line,
    sound: Option<Line>,
    /// The newest piece is reached: from here on it goes by the clock.
    paced: bool,
    remote: Option<SocketAddr>,
    /// Of the first that is published.
    start_us: i64,
}

impl Line {
    fn new(inbox: mpsc::Receiver<Fetched>) -> Self {
        Self {
            inbox,
            waiting: VecDeque::new(),
            open: true,
        }
    }

    /// Takes the next piece, when it is there; where it came from.
    async fn fill(&mut self, apart: bool) -> Option<SocketAddr> {
        let fetched = self.inbox.recv().await;
        self.take(fetched, apart)
    }

    fn fill_now(&mut self, apart: bool) {
        if self.waiting.is_empty()
            && let Ok(fetched) = self.inbox.try_recv()
        {
            self.take(Some(fetched), apart);
        }
    }

    fn take(&mut self, fetched: Option<Fetched>, apart: bool) -> Option<SocketAddr> {
        let Some(fetched) = fetched else {
            self.open = false;
            return None;
        };
        let first_us = fetched.samples.first().map_or(0, |sample| sample.decode_us);
        let mut jumps = fetched.discontinuity;
        let samples = fetched.samples.into_iter();
        let items = samples.map(|sample| Item {
            date: fetched
                .date
                .map(|date| date.offset_micros(sample.decode_us.saturating_sub(first_us))),
            sample,
            at_once: fetched.old,
            jumps: std::mem::take(&mut jumps),
            apart,
        });
        self.waiting.extend(items);
        fetched.remote
    }

    fn front_us(&self) -> Option<i64> {
        Some(self.waiting.front()?.sample.decode_us)
    }

    fn first(&self, kind: Kind) -> Option<&Sample> {
        self.waiting
            .iter()
            .map(|item| &item.sample)
            .find(|sample| sample.kind() == kind)
    }
}

impl Lines {
    pub(super) fn new(pictures: mpsc::Receiver<Fetched>, sound: Option<mpsc::Receiver<Fetched>>) -> Self {
        Self {
            pictures: Line::new(pictures),
            sound: sound.map(Line::new),
            paced: false,
            remote: None,
            start_us: i64::MIN,
        }
    }

    /// Waits for the first samples of each, for those of sound no longer than `patience`. Whether there are any.
    pub(super) async fn begin(&mut self, patience: std::time::Duration) -> bool {
        while self.pictures.waiting.is_empty() && self.pictures.open {
            self.remote = self.pictures.fill(false).await;
        }
        let Some(start_us) = self.pictures.front_us() else {
            return false;
        };
        self.start_us = start_us;
        if let Some(sound) = &mut self.sound {
            let filling = async {
                while sound.waiting.is_empty() && sound.open {
                    sound.fill(true).await;
                }
            };
            let _ = tokio::time::timeout(patience, filling).await;
            let is_of_one_clock = |us: i64| us.abs_diff(start_us) <= JUMP_US;
            if !sound.front_us().is_some_and(is_of_one_clock) {
                tracing::info!("source: the list of its sound gives none that belongs to its pictures: it is left out");
                self.sound = None;
            }
        }
        true
    }

    /// One picture and one sound at most, the picture first.
    pub(super) fn firsts(&self) -> impl Iterator<Item = &Sample> {
        let sound = self.sound.as_ref().unwrap_or(&self.pictures);
        let both = [self.pictures.first(Kind::Video), sound.first(Kind::Audio)];
        both.into_iter().flatten()
    }

    pub(super) fn remote(&self) -> Option<SocketAddr> {
        self.remote
    }

    pub(super) fn next(&mut self) -> Next {
        self.pictures.fill_now(false);
        let Some(sound) = &mut self.sound else {
            return match self.pictures.waiting.pop_front() {
                Some(item) => self.publish(item),
                None if self.pictures.open => Next::Wait,
                None => Next::Over,
            };
        };
        sound.fill_now(true);
        let picture_us = self.pictures.front_us();
        // Pictures at the beginning are not overtaken: what is published at once would make them late.
        if picture_us.is_none() && self.pictures.open && !self.paced {
            return Next::Wait;
        }
        while let Some(sound_us) = sound.front_us() {
            let of_another_clock = picture_us.is_some_and(|us| us.abs_diff(sound_us) > JUMP_US);
            if !of_another_clock && sound_us >= self.start_us {
                break;
            }
            sound.waiting.pop_front();
            sound.fill_now(true);
        }
        let item = match (picture_us, sound.front_us()) {
            (Some(picture_us), Some(sound_us)) if sound_us < picture_us => sound.waiting.pop_front(),
            (Some(_), _) => self.pictures.waiting.pop_front(),
            (None, _) => sound.waiting.pop_front(),
        };
        match item {
            Some(item) => self.publish(item),
            None if self.pictures.open || sound.open => Next::Wait,
            None => Next::Over,
        }
    }

    /// Until something has come, or nothing more does.
    pub(super) async fn wait(&mut self) {
        let pictures = &mut self.pictures;
        match &mut self.sound {
            Some(sound) => tokio::select! {
                _ = pictures.fill(false), if pictures.open && pictures.waiting.is_empty() => {}
                _ = sound.fill(true), if sound.open && sound.waiting.is_empty() => {}
                else => {}
            },
            None => drop(pictures.fill(false).await),
        }
    }

    fn publish(&mut self, mut item: Item) -> Next {
        if item.apart {
            // Sound follows the pictures in when it goes by the clock.
            item.at_once = !self.paced;
            item.jumps = false;
        } else {
            self.paced |= !item.at_once;
            item.at_once &= !self.paced;
        }
        if item.jumps {
            self.start_us = i64::MIN;
        }
        Next::Publish(item)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use testkit::stream::Video;

    use super::*;

    fn sample(kind: Kind, decode_us: i64) -> Sample {
        let track = match kind {
            Kind::Video => Video::new(testkit::stream::Settings::default()).track(),
            Kind::Audio => testkit::stream::Audio::new(media::TrackIndex(1), 0).track(),
        };
        Sample {
            time: media::MediaTime::new(decode_us, track.timescale),
            decode_us,
            keyframe: true,
            format: Arc::clone(&track.format),
            data: bytes::Bytes::new(),
            capture: None,
        }
    }

    fn piece(kind: Kind, times: &[i64], old: bool) -> Fetched {
        Fetched {
            samples: times.iter().map(|&at| sample(kind, at)).collect(),
            discontinuity: false,
            old,
            date: None,
            remote: None,
        }
    }

    fn lines() -> (Lines, mpsc::Sender<Fetched>, mpsc::Sender<Fetched>) {
        let (pictures, sound) = (mpsc::channel(8), mpsc::channel(8));
        (Lines::new(pictures.1, Some(sound.1)), pictures.0, sound.0)
    }

    /// What can be published now: times, negative those of sound; whether they are published at once.
    fn published(lines: &mut Lines) -> (Vec<i64>, Vec<bool>) {
        std::iter::from_fn(|| match lines.next() {
            Next::Publish(item) => {
                let sign = if item.sample.kind() == Kind::Audio { -1 } else { 1 };
                Some((sign * item.sample.decode_us, item.at_once))
            }
            Next::Wait | Next::Over => None,
        })
        .unzip()
    }

    const PATIENCE: Duration = Duration::from_millis(20);

    #[tokio::test]
    async fn pictures_and_sound_go_by_their_times_from_the_first_picture_on() {
        let (mut lines, pictures, sound) = lines();
        sound.try_send(piece(Kind::Audio, &[10, 30, 50, 70], true)).unwrap();
        sound.try_send(piece(Kind::Audio, &[90, 110, 130], false)).unwrap();
        pictures.try_send(piece(Kind::Video, &[40, 80], true)).unwrap();
        assert!(lines.begin(PATIENCE).await);
        let kinds: Vec<_> = lines.firsts().map(Sample::kind).collect();
        assert_eq!(kinds, [Kind::Video, Kind::Audio]);
        // Sound behind the last picture waits for the next at the beginning.
        assert_eq!(published(&mut lines), (vec![40, -50, -70, 80], vec![true; 4]));
        pictures.try_send(piece(Kind::Video, &[120], false)).unwrap();
        assert_eq!(
            published(&mut lines),
            (vec![-90, -110, 120, -130], vec![true, true, false, false])
        );
        // Later neither waits for the other.
        sound.try_send(piece(Kind::Audio, &[150], false)).unwrap();
        assert_eq!(published(&mut lines).0, [-150]);
        drop((pictures, sound));
        assert!(matches!(lines.next(), Next::Wait), "nobody has looked yet");
        lines.wait().await;
        lines.wait().await;
        assert!(matches!(lines.next(), Next::Over));
    }

    #[tokio::test]
    async fn sound_of_another_clock_is_left_out() {
        let far = 2 * JUMP_US as i64;
        let (mut begins, pictures, sound) = lines();
        pictures.try_send(piece(Kind::Video, &[40, 80], false)).unwrap();
        sound.try_send(piece(Kind::Audio, &[far], false)).unwrap();
        assert!(begins.begin(PATIENCE).await);
        assert_eq!(begins.firsts().count(), 1);
        assert_eq!(published(&mut begins).0, [40, 80]);

        let (mut later, pictures, sound) = lines();
        pictures.try_send(piece(Kind::Video, &[40, 80], false)).unwrap();
        sound.try_send(piece(Kind::Audio, &[50, -far, far], false)).unwrap();
        sound.try_send(piece(Kind::Audio, &[60], false)).unwrap();
        assert!(later.begin(PATIENCE).await);
        assert_eq!(published(&mut later).0, [40, -50, -60, 80]);
    }

    #[tokio::test]
    async fn a_list_of_sound_that_gives_none_is_not_waited_for() {
        let (mut silent, pictures, sound) = lines();
        pictures.try_send(piece(Kind::Video, &[40], false)).unwrap();
        assert!(silent.begin(PATIENCE).await);
        assert_eq!(silent.firsts().count(), 1);
        drop(sound);
        let (mut nothing, pictures, sound) = lines();
        drop((pictures, sound));
        assert!(!nothing.begin(PATIENCE).await);
    }
}
