//! A stream, a muxer for it, and a clock that moves with them.

use std::collections::BTreeSet;
use std::sync::Arc;

use media::audio::{Aac, Opus};
use media::{Capture, CaptureSource, Format, Frame, MediaTime, Timescale, Track, TrackIndex, WallTime};
use testkit::hls::{Checker, Fetch, Rule};
use testkit::stream::{Settings, Video};

use super::super::*;

/// 2026-01-01T00:00:00Z.
pub(super) const START_US: i64 = 1_767_225_600_000_000;

pub(super) struct World {
    pub(super) muxer: Muxer,
    pub(super) video: Video,
    sound: Option<Sound>,
    pub(super) publisher: u64,
    fps: u32,
    frames: i64,
    paused_us: i64,
}

/// Sound beside the picture, as track 1.
pub(super) struct Sound {
    pub(super) track: Track,
    ticks: i64,
    next_ticks: i64,
    pub(super) silent: bool,
}

impl Sound {
    pub(super) fn aac() -> Self {
        let format = Format::Aac(Aac::low_complexity(48_000, 2).unwrap());
        Self::new(format, Timescale::OPUS, 1_024)
    }

    pub(super) fn opus() -> Self {
        Self::new(Format::Opus(Opus { channels: 2 }), Timescale::OPUS, 960)
    }

    pub(super) fn new(format: Format, timescale: Timescale, ticks: i64) -> Self {
        Self {
            track: Track {
                index: TrackIndex(1),
                format: Arc::new(format),
                timescale,
            },
            ticks,
            next_ticks: 0,
            silent: false,
        }
    }

    /// Frames up to a time.
    fn until(&mut self, time: MediaTime) -> Vec<Frame> {
        let mut frames = Vec::new();
        let end = time.rescale(self.track.timescale).ticks();
        while self.next_ticks + self.ticks <= end {
            let time = MediaTime::new(self.next_ticks, self.track.timescale);
            self.next_ticks += self.ticks;
            // The first byte is that of an Opus packet of 20 ms.
            let data = vec![0xf8, 1, 2, 3].into();
            frames.push(Frame {
                track: self.track.index,
                time,
                capture: capture(START_US + time.as_micros()),
                keyframe: true,
                format: Arc::clone(&self.track.format),
                data,
            });
        }
        if self.silent {
            frames.clear();
        }
        frames
    }
}

fn capture(us: i64) -> Capture {
    Capture {
        at: WallTime::from_unix_micros(us),
        source: CaptureSource::Camera,
    }
}

impl World {
    /// 30 pictures a second, a keyframe every ten.
    pub(super) fn new(config: Config) -> Self {
        Self::of(config, Settings::default(), Some(Duration::from_micros(333_333)))
    }

    pub(super) fn of(config: Config, settings: Settings, gop: Option<Duration>) -> Self {
        Self::with_sound(config, settings, gop, None)
    }

    pub(super) fn with_sound(config: Config, settings: Settings, gop: Option<Duration>, sound: Option<Sound>) -> Self {
        let video = Video::new(settings);
        let tracks: Vec<_> = [Some(video.track()), sound.as_ref().map(|sound| sound.track.clone())]
            .into_iter()
            .flatten()
            .collect();
        Self {
            muxer: Muxer::new(&tracks, gop, identity(), config).unwrap(),
            video,
            sound,
            publisher: 0,
            fps: settings.fps,
            frames: 0,
            paused_us: 0,
        }
    }

    pub(super) fn sound(&mut self) -> &mut Sound {
        self.sound.as_mut().unwrap()
    }

    /// The next so many pictures, and what sound there is until then. Says after which of them there was something new.
    pub(super) fn play(&mut self, frames: usize) -> Vec<usize> {
        (0..frames).filter(|_| self.play_one(0)).collect()
    }

    /// Since the first picture, by media and wall time alike.
    fn now(&self) -> MediaTime {
        MediaTime::new(self.frames * 90_000 / i64::from(self.fps), Timescale::VIDEO).offset_micros(self.paused_us)
    }

    /// One picture, so much later than it should be.
    pub(super) fn play_one(&mut self, late_us: i64) -> bool {
        let time = self.now().offset_micros(late_us);
        let captured = WallTime::from_unix_micros(START_US + time.as_micros());
        let mut frame = self.video.next_frame(captured);
        frame.time = time;
        self.frames += 1;
        let mut new = false;
        for sound in self.sound.as_mut().map_or(Vec::new(), |sound| sound.until(frame.time)) {
            new |= self.muxer.push(&sound, self.publisher);
        }
        new | self.muxer.push(&frame, self.publisher)
    }

    /// A picture that does not come. Not a keyframe: that would be asked for again.
    pub(super) fn lose_one(&mut self) {
        let frame = self.video.next_frame(self.wall());
        self.frames += 1;
        if frame.keyframe {
            self.video.request_keyframe();
        }
    }

    /// Nothing comes for so long.
    pub(super) fn pause(&mut self, us: i64) {
        self.paused_us += us;
        let now = self.now();
        if let Some(sound) = &mut self.sound {
            sound.until(now);
        }
    }

    /// Wall time.
    pub(super) fn wall(&self) -> WallTime {
        WallTime::from_unix_micros(START_US + self.now().as_micros())
    }

    pub(super) fn list(&mut self) -> String {
        text(self.muxer.list(&Query::default(), None))
    }

    pub(super) fn ask(&mut self, query: &str) -> List {
        self.muxer.list(&Query::parse(query).unwrap(), None)
    }

    pub(super) fn multivariant(&mut self) -> String {
        self.multivariant_with(None)
    }

    pub(super) fn multivariant_with(&mut self, token: Option<&str>) -> String {
        let variant = self.muxer.variant().unwrap();
        let text = multivariant(&[(&variant, "stream.m3u8")], token);
        String::from_utf8(text.plain().to_vec()).unwrap()
    }

    /// Media by the name that a list has for it.
    pub(super) fn media(&self, uri: &str) -> Resource {
        let name = uri.split('?').next().unwrap().strip_suffix(".mp4").unwrap();
        self.muxer.resource(name)
    }
}

pub(super) fn text(list: List) -> String {
    match list {
        List::Ready(text) => String::from_utf8(text.plain().to_vec()).unwrap(),
        other => panic!("{other:?}"),
    }
}

pub(super) fn identity() -> Identity {
    Identity {
        name: "run".to_owned(),
        first: 100,
    }
}

/// What the lines that begin with `tag` say behind it.
pub(super) fn lines<'a>(list: &'a str, tag: &'a str) -> Vec<&'a str> {
    list.lines().filter_map(|line| line.strip_prefix(tag)).collect()
}

/// The value of an attribute, without quotes.
pub(super) fn attribute<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    let value = line
        .split(',')
        .find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))?;
    Some(value.trim_matches('"'))
}

pub(super) fn micros(seconds: &str) -> i64 {
    (seconds.parse::<f64>().unwrap() * 1_000_000.0).round() as i64
}

/// Durations of all parts that are listed, by segment as far as listed.
pub(super) fn part_durations(list: &str) -> Vec<i64> {
    let parts = lines(list, "#EXT-X-PART:");
    parts
        .into_iter()
        .map(|part| micros(attribute(part, "DURATION").unwrap()))
        .collect()
}

/// A player that asks for whatever is new, and a checker that looks at what it gets.
pub(super) struct Viewer {
    checker: Checker,
    /// What the last list hinted at.
    hint: Option<String>,
    fetched: BTreeSet<String>,
    requests: usize,
}

impl Viewer {
    pub(super) fn new() -> Self {
        Self {
            checker: Checker::new(testkit::hls::Settings::default()),
            hint: None,
            fetched: BTreeSet::new(),
            requests: 0,
        }
    }

    /// Asks for what follows, and takes all media that it finds listed.
    pub(super) fn look(&mut self, world: &mut World) {
        let mut query = self.hint.as_deref().map_or(String::new(), after);
        self.requests += 1;
        if self.requests.is_multiple_of(3) && self.hint.is_some() {
            query.push_str("&_HLS_skip=YES");
        }
        let List::Ready(list) = world.ask(&query) else { return };
        let list = String::from_utf8(list.plain().to_vec()).unwrap();
        self.see(world, &format!("stream.m3u8?{query}"), list.as_bytes());
        let hint = lines(&list, "#EXT-X-PRELOAD-HINT:TYPE=PART,");
        self.hint = hint.first().map(|hint| attribute(hint, "URI").unwrap().to_owned());
        for uri in list.lines().filter_map(uri_of) {
            if self.fetched.insert(uri.to_owned())
                && let Resource::Ready(bytes) = world.media(uri)
            {
                self.see(world, uri, &bytes.concat());
            }
        }
    }

    fn see(&mut self, world: &World, uri: &str, body: &[u8]) {
        self.checker.see(&Fetch {
            uri: &format!("/cam/{uri}"),
            asked: world.wall(),
            answered: world.wall(),
            status: 200,
            body,
        });
    }

    /// What was wrong, without what does not count here.
    pub(super) fn complaints(self, but: &[Rule]) -> Vec<String> {
        let all = self.checker.finish().into_iter();
        all.filter(|complaint| !but.contains(&complaint.rule))
            .map(|complaint| format!("{:?} {complaint}", complaint.rule))
            .collect()
    }
}

/// The URI of a segment, part or header that is there.
fn uri_of(line: &str) -> Option<&str> {
    if line.starts_with("#EXT-X-PART:") || line.starts_with("#EXT-X-MAP:") {
        return line.split_once("URI=\"")?.1.split('"').next();
    }
    (!line.starts_with('#')).then_some(line)
}

/// The directives that ask for this part.
fn after(hint: &str) -> String {
    let (_, name) = hint.split_once('_').unwrap();
    let (msn, part) = name.trim_end_matches(".mp4").split_once('.').unwrap();
    format!("_HLS_msn={msn}&_HLS_part={part}")
}
