use std::sync::Arc;

use media::Clock;
use testkit::clock::SystemClock;

use super::*;
use crate::picture::{FrameRate, Pool};
use crate::source::Wanted;

const FFMPEG: &str = "ffmpeg -v error -re -f lavfi -i testsrc2=size=320x240:rate=30 -c:v libx264 -preset ultrafast \
     -tune zerolatency -pix_fmt yuv420p -g 15 -f h264 -";

fn opening() -> Opening {
    Opening {
        wanted: Wanted {
            width: 640,
            height: 480,
            fps: FrameRate::whole(30),
            raw: false,
        },
        clock: Arc::new(SystemClock),
        pool: Pool::default(),
    }
}

fn open(command: &str) -> Box<dyn Source> {
    Exec::new(command).open(&opening()).unwrap()
}

/// What comes until `count` access units are there, or the error in between.
fn take(
    source: &mut dyn Source,
    count: usize,
) -> Result<Vec<(media::annexb::AccessUnit, crate::source::Taken)>, Error> {
    let until = SystemClock.now() + Duration::from_secs(20);
    let mut units = Vec::new();
    while units.len() < count {
        assert!(SystemClock.now() < until, "{} of {count} in time", units.len());
        match source.next(Duration::from_millis(100))? {
            Some(Captured::AccessUnit { unit, taken }) => units.push((unit, taken)),
            Some(Captured::Picture { .. }) => panic!("a picture"),
            None => {}
        }
    }
    Ok(units)
}

#[test]
fn delivers_what_an_encoder_writes_as_soon_as_it_has_written_it() {
    let mut source = open(FFMPEG);
    assert_eq!(source.description().kind, Kind::Coded);
    let (mut units, mut ages) = (Vec::new(), Vec::new());
    while units.len() < 45 {
        units.append(&mut take(&mut *source, 1).unwrap());
        ages.push(SystemClock.now() - units[units.len() - 1].1.at);
    }
    assert_eq!(units.iter().filter(|(unit, _)| unit.keyframe).count(), 3);
    assert_eq!(units[0].0.format.dimensions(), Some((320, 240)));
    let middle = |mut times: Vec<Duration>| {
        times.sort_unstable();
        times[times.len() / 2]
    };
    let interval = middle(units.windows(2).map(|pair| pair[1].1.at - pair[0].1.at).collect());
    assert!(
        (20..45).contains(&interval.as_millis()),
        "{interval:?} from one to the next"
    );
    // They are handed over within their own frame interval, not with the next one.
    let age = middle(ages);
    assert!(age < Duration::from_millis(30), "{age:?}");
}

#[test]
fn takes_pipelines() {
    let mut source = open(&format!("{FFMPEG} | cat"));
    assert_eq!(take(&mut *source, 5).unwrap().len(), 5);
}

#[test]
fn the_end_comes_after_all_that_was_written() {
    let mut source = open(&format!(
        "{} ; echo that was all >&2; exit 7",
        FFMPEG.replace("-re ", "").replace("-g 15", "-frames:v 20 -g 15")
    ));
    let units = take(&mut *source, 20).unwrap();
    assert_eq!(units.len(), 20);
    let error = take(&mut *source, 1).err().unwrap();
    assert!(error.retryable);
    assert!(
        error
            .to_string()
            .starts_with("exec:ffmpeg ended: exit code 7: that was all; run the command by hand"),
        "{error}"
    );
}

#[test]
fn says_what_is_wrong_with_a_command() {
    let fails = |command: &str| take(&mut *open(command), 1).err().unwrap().to_string();
    let missing = fails("no-such-encoder -o -");
    assert!(
        missing.contains("exec:no-such-encoder ended: exit code 127") && missing.contains("not found"),
        "{missing}"
    );
    let other = fails(&FFMPEG.replace("-re ", "").replace("-f h264", "-f mpegts"));
    assert!(other.contains("MPEG transport stream"), "{other}");
}

#[test]
fn a_command_that_says_nothing_is_no_error() {
    let mut source = open("sleep 100");
    assert!(source.when_silent().starts_with("run the command by hand"));
    let began = SystemClock.now();
    assert!(matches!(source.next(Duration::from_millis(120)), Ok(None)));
    assert!((SystemClock.now() - began) >= Duration::from_millis(120));
    let began = SystemClock.now();
    drop(source);
    assert!((SystemClock.now() - began) < Duration::from_secs(2));
}
