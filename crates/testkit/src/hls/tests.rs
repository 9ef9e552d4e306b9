//! A list that keeps every rule, and for every rule a change to it that breaks that rule.

use std::collections::BTreeSet;

use media::fmp4::{Run, Sample, Timeline, Writer};
use media::{TrackIndex, WallTime};

use super::{Checker, Fetch, Rule, Settings, text};
use crate::stream;

/// Parts of a segment; three pictures at 30 a second each.
const PARTS: u64 = 10;
const SEGMENTS: u64 = 16;
/// Where the publisher came back: new header, new clock.
const RETURN: u64 = 5;
const START_US: i64 = 1_700_000_000_000_000;
const PART_US: i64 = 100_000;

#[derive(Clone, Debug)]
struct Answer {
    uri: String,
    asked_us: i64,
    answered_us: i64,
    status: u16,
    body: Vec<u8>,
}

impl Answer {
    fn text(&mut self, change: impl Fn(&str) -> String) {
        let before = String::from_utf8(self.body.clone()).unwrap();
        let after = change(&before);
        assert_ne!(before, after, "the change must change something in {}", self.uri);
        self.body = after.into_bytes();
    }
}

fn date(us: i64) -> String {
    // The day of START_US is 2023-11-14, 22:13:20.
    let seconds = us - START_US + 13 * 60_000_000 + 20_000_000;
    format!(
        "2023-11-14T22:{:02}:{:06.3}Z",
        seconds / 60_000_000,
        (seconds % 60_000_000) as f64 / 1e6
    )
}

fn list(name: &str, other: &str, parts: u64, skip: bool) -> String {
    let (closed, open) = (parts / PARTS, parts % PARTS);
    let first = closed.saturating_sub(10);
    let mut out = format!(
        "#EXTM3U\n#EXT-X-VERSION:9\n#EXT-X-TARGETDURATION:1\n#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK=0.315,CAN-SKIP-UNTIL=6.0\n\
         #EXT-X-PART-INF:PART-TARGET=0.105\n#EXT-X-MEDIA-SEQUENCE:{first}\n#EXT-X-DISCONTINUITY-SEQUENCE:{}\n#EXT-X-INDEPENDENT-SEGMENTS\n",
        u64::from(first > RETURN)
    );
    let skipped = if skip {
        closed.saturating_sub(7).saturating_sub(first)
    } else {
        0
    };
    if skipped > 0 {
        out += &format!("#EXT-X-SKIP:SKIPPED-SEGMENTS={skipped}\n");
    }
    for number in first + skipped..=closed {
        let listed = if number == closed { open } else { PARTS };
        if number == closed && open == 0 {
            break;
        }
        if number == RETURN {
            out += "#EXT-X-DISCONTINUITY\n";
        }
        if number == RETURN || (number == first && skipped == 0) {
            out += &format!("#EXT-X-MAP:URI=\"{name}-init{}.mp4\"\n", u64::from(number >= RETURN));
        }
        let away_us = if number >= RETURN { 3_000_000 } else { 0 };
        out += &format!(
            "#EXT-X-PROGRAM-DATE-TIME:{}\n",
            date(START_US + number as i64 * 1_000_000 + away_us)
        );
        if number + 4 >= closed {
            for part in 0..listed {
                let independent = if part == 0 { ",INDEPENDENT=YES" } else { "" };
                out += &format!("#EXT-X-PART:DURATION=0.10000,URI=\"{name}-{number}.{part}.m4s\"{independent}\n");
            }
        }
        if number < closed {
            out += &format!("#EXTINF:1.00000,\n{name}-{number}.m4s\n");
        }
    }
    out += &format!("#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"{name}-{closed}.{open}.m4s\"\n");
    let last = parts - 1;
    out += &format!(
        "#EXT-X-RENDITION-REPORT:URI=\"{other}.m3u8\",LAST-MSN={},LAST-PART={}\n",
        last / PARTS,
        last % PARTS
    );
    out
}

fn pieces() -> Vec<(String, Vec<u8>)> {
    let mut video = stream::Video::new(stream::Settings {
        gop_frames: 30,
        ..stream::Settings::default()
    });
    let track = video.track();
    let mut timeline = Timeline::new(&track);
    let mut out = Vec::new();
    let mut writer = None;
    let mut samples: Vec<Sample> = Vec::new();
    let frames = SEGMENTS * PARTS * 3;
    let mut segment = Vec::new();
    for number in 0..=frames {
        let sample = timeline.sample(video.next_frame(WallTime::from_unix_micros(0)));
        if number % 3 == 0 && number > 0 {
            let part = number / 3 - 1;
            let run = Run {
                track: TrackIndex(0),
                samples: &samples,
                end: sample.decode_time,
            };
            let writer: &Writer = writer.as_ref().unwrap();
            let bytes = writer.fragment(part as u32 + 1, &[run]).unwrap();
            out.push((
                format!("/cam/video-{}.{}.m4s", part / PARTS, part % PARTS),
                bytes.to_vec(),
            ));
            segment.extend_from_slice(&bytes);
            if (part + 1) % PARTS == 0 {
                out.push((format!("/cam/video-{}.m4s", part / PARTS), std::mem::take(&mut segment)));
            }
            samples.clear();
        }
        if number == 0 || number == RETURN * PARTS * 3 {
            let made = Writer::new(std::slice::from_ref(&track), sample.decode_time).unwrap();
            let name = format!("/cam/video-init{}.mp4", u64::from(number > 0));
            out.push((name, made.init_segment().to_vec()));
            writer = Some(made);
        }
        samples.push(sample);
    }
    out
}

/// Everything that a diligent player of two renditions asks for, and its answers.
fn answers() -> Vec<Answer> {
    let mut out = Vec::new();
    let answer = |uri: &str, asked: i64, answered: i64, body: Vec<u8>| Answer {
        uri: uri.to_owned(),
        asked_us: asked,
        answered_us: answered,
        status: 200,
        body,
    };
    let multivariant = "#EXTM3U\n#EXT-X-VERSION:9\n#EXT-X-INDEPENDENT-SEGMENTS\n\
        #EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"a\",NAME=\"audio\",DEFAULT=YES,AUTOSELECT=YES,URI=\"audio.m3u8\"\n\
        #EXT-X-STREAM-INF:BANDWIDTH=900000,CODECS=\"avc1.42C01E,mp4a.40.2\",RESOLUTION=640x480,AUDIO=\"a\"\nvideo.m3u8\n";
    out.push(answer("/cam/index.m3u8", START_US, START_US, multivariant.into()));
    for parts in 1..=SEGMENTS * PARTS {
        let now = START_US + parts as i64 * PART_US;
        let query = format!("_HLS_msn={}&_HLS_part={}", (parts - 1) / PARTS, (parts - 1) % PARTS);
        for (name, other) in [("video", "audio"), ("audio", "video")] {
            let skip = parts % 7 == 0;
            let uri = format!("/cam/{name}.m3u8?{query}{}", if skip { "&_HLS_skip=YES" } else { "" });
            let body = list(name, other, parts, skip).into_bytes();
            out.push(answer(&uri, now - PART_US + 2_000, now + 1_000, body));
        }
    }
    let end = START_US + (SEGMENTS * PARTS) as i64 * PART_US + 50_000;
    for (name, other) in [("video", "audio"), ("audio", "video")] {
        let body = list(name, other, SEGMENTS * PARTS, false);
        let hint = body.find("#EXT-X-PRELOAD-HINT").unwrap();
        let body = format!("{}#EXT-X-ENDLIST\n", &body[..hint]);
        out.push(answer(
            &format!("/cam/{name}.m3u8"),
            end,
            end + 1_000,
            body.into_bytes(),
        ));
    }
    let got = pieces()
        .into_iter()
        .map(|(uri, bytes)| answer(&uri, end, end + 2_000, bytes));
    out.extend(got);
    out
}

fn settings() -> Settings {
    Settings {
        late_us: Some(20_000),
        ..Settings::default()
    }
}

fn broken_by(answers: &[Answer], settings: Settings) -> Vec<super::Complaint> {
    let mut checker = Checker::new(settings);
    for answer in answers {
        checker.see(&Fetch {
            uri: &answer.uri,
            asked: WallTime::from_unix_micros(answer.asked_us),
            answered: WallTime::from_unix_micros(answer.answered_us),
            status: answer.status,
            body: &answer.body,
        });
    }
    checker.finish()
}

/// The answer with the video list after so many parts, beginning with 1.
fn video(answers: &mut [Answer], parts: u64) -> &mut Answer {
    let at = 1 + 2 * (parts as usize - 1);
    &mut answers[at]
}

/// All lists of the video.
fn videos(answers: &mut [Answer], change: impl Fn(&str) -> String) {
    for answer in answers
        .iter_mut()
        .filter(|answer| answer.uri.starts_with("/cam/video.m3u8"))
    {
        answer.text(&change);
    }
}

fn resource<'a>(answers: &'a mut [Answer], uri: &str) -> &'a mut Answer {
    answers.iter_mut().find(|answer| answer.uri == uri).unwrap()
}

/// The last list that is no delta update and shows ten segments.
const FULL: u64 = 152;

type Break = (Rule, &'static str, fn(&mut Vec<Answer>));

fn swap(from: &'static str, to: &'static str) -> impl Fn(&str) -> String {
    move |text| text.replacen(from, to, 1)
}

const BREAKS: &[Break] = &[
    (Rule::Form, "no opening", |all| {
        video(all, 3).text(swap("#EXTM3U\n", "#EXTM3U8\n"));
    }),
    (Rule::Form, "no comma", |all| {
        video(all, 15).text(swap("#EXTINF:1.00000,", "#EXTINF:1.00000"));
    }),
    (Rule::Form, "no quotes", |all| {
        video(all, 3).text(swap("URI=\"video-0.1.m4s\"", "URI=video-0.1.m4s"));
    }),
    (Rule::Form, "not UTF-8", |all| video(all, 3).body.push(0xff)),
    (Rule::Once, "two versions", |all| {
        video(all, 3).text(swap("#EXT-X-VERSION:9\n", "#EXT-X-VERSION:9\n#EXT-X-VERSION:9\n"));
    }),
    (Rule::Order, "sequence behind segments", |all| {
        video(all, 15).text(|t| t.replacen("#EXT-X-MEDIA-SEQUENCE:0\n", "", 1) + "#EXT-X-MEDIA-SEQUENCE:0\n");
    }),
    (Rule::Version, "none", |all| {
        video(all, 3).text(swap("#EXT-X-VERSION:9\n", ""));
    }),
    (Rule::Version, "too low for a delta", |all| {
        video(all, 154).text(swap("#EXT-X-VERSION:9\n", "#EXT-X-VERSION:8\n"));
    }),
    (Rule::TargetDuration, "none", |all| {
        videos(all, swap("#EXT-X-TARGETDURATION:1\n", ""));
    }),
    (Rule::TargetDuration, "too long", |all| {
        video(all, 15).text(swap("#EXTINF:1.00000", "#EXTINF:1.50000"));
    }),
    (Rule::TargetChanged, "grows", |all| {
        video(all, 15).text(swap("TARGETDURATION:1", "TARGETDURATION:2"));
    }),
    (Rule::PartTarget, "none", |all| {
        videos(all, swap("#EXT-X-PART-INF:PART-TARGET=0.105\n", ""));
    }),
    (Rule::PartTarget, "empty", |all| {
        video(all, 5).text(swap("PART-TARGET=", "PART-GOAL="));
    }),
    (Rule::PartTooLong, "106 ms", |all| {
        video(all, 5).text(swap("DURATION=0.10000", "DURATION=0.10600"));
    }),
    (Rule::PartTooShort, "89 ms", |all| {
        video(all, 5).text(swap(
            "DURATION=0.10000,URI=\"video-0.3",
            "DURATION=0.08900,URI=\"video-0.3",
        ));
    }),
    (Rule::PartTargetChanged, "shrinks", |all| {
        video(all, 5).text(swap("TARGET=0.105", "TARGET=0.104"));
    }),
    (Rule::PartsSum, "one part less", |all| {
        videos_with(all, "#EXTINF:1.00000,\nvideo-1.m4s", "#EXTINF:0.90000,\nvideo-1.m4s");
    }),
    (Rule::Placement, "date behind the parts", |all| {
        video(all, 12).text(|t| {
            let date = t.lines().rfind(|line| line.contains("DATE-TIME")).unwrap().to_owned() + "\n";
            t.replacen(&date, "", 1)
                .replacen("#EXT-X-PRELOAD", &format!("{date}#EXT-X-PRELOAD"), 1)
        });
    }),
    (Rule::PartsGoneTooSoon, "of the segment before", |all| {
        video(all, 25).text(|t| without_parts(t, "video-1."));
    }),
    (Rule::PartsGoneTooSoon, "of a later one first", |all| {
        video(all, 35).text(|t| without_parts(t, "video-2."));
    }),
    (Rule::PartsGoneTooSoon, "the last of a segment", |all| {
        video(all, 25).text(|t| without_parts(t, "video-1.9"));
    }),
    (Rule::PartsKeptTooLong, "all", |all| {
        video(all, 60).text(|t| {
            let parts: String = (0..PARTS)
                .map(|n| {
                    format!(
                        "#EXT-X-PART:DURATION=0.10000,URI=\"video-0.{n}.m4s\"{}\n",
                        if n == 0 { ",INDEPENDENT=YES" } else { "" }
                    )
                })
                .collect();
            t.replacen(
                "#EXTINF:1.00000,\nvideo-0.m4s",
                &format!("{parts}#EXTINF:1.00000,\nvideo-0.m4s"),
                1,
            )
        });
    }),
    (Rule::ServerControl, "no hold back", |all| {
        videos(all, swap("PART-HOLD-BACK=0.315,", ""));
    }),
    (Rule::ServerControl, "hold back of two targets", |all| {
        videos(all, swap("PART-HOLD-BACK=0.315,", "PART-HOLD-BACK=0.21,"));
    }),
    (Rule::ServerControl, "no blocking", |all| {
        videos(all, swap("CAN-BLOCK-RELOAD=YES,", ""));
    }),
    (Rule::ServerControl, "skips too early", |all| {
        videos(all, swap("UNTIL=6.0", "UNTIL=5.0"));
    }),
    (Rule::ServerControlChanged, "hold back", |all| {
        video(all, 5).text(swap("BACK=0.315", "BACK=0.4"));
    }),
    (Rule::MediaSequence, "falls", |all| {
        video(all, FULL + 3).text(swap("MEDIA-SEQUENCE:5", "MEDIA-SEQUENCE:4"));
    }),
    (Rule::MediaSequence, "jumps", |all| {
        video(all, FULL + 3).text(swap("MEDIA-SEQUENCE:5", "MEDIA-SEQUENCE:5000"));
    }),
    (Rule::DiscontinuitySequence, "one more", |all| {
        video(all, 15).text(swap("DISCONTINUITY-SEQUENCE:0", "DISCONTINUITY-SEQUENCE:1"));
    }),
    (Rule::DiscontinuitySequence, "the removed one is forgotten", |all| {
        video(all, 160).text(swap("DISCONTINUITY-SEQUENCE:1", "DISCONTINUITY-SEQUENCE:0"));
    }),
    (Rule::SegmentChanged, "URI", |all| {
        video(all, 30).text(swap("\nvideo-1.m4s", "\nvideo-1b.m4s"));
    }),
    (Rule::SegmentChanged, "duration", |all| {
        video(all, 30).text(swap("#EXTINF:1.00000,\nvideo-1.m4s", "#EXTINF:0.99900,\nvideo-1.m4s"));
    }),
    (Rule::PartChanged, "URI", |all| {
        video(all, 8).text(swap("video-0.1.m4s", "video-0.1b.m4s"));
    }),
    (Rule::PartChanged, "duration", |all| {
        video(all, 8).text(swap("0.10000,URI=\"video-0.1.", "0.09900,URI=\"video-0.1."));
    }),
    (Rule::Older, "a list of the last second", |all| {
        video(all, 40).body = list("video", "audio", 30, false).into_bytes();
    }),
    (Rule::TooFewListed, "two segments", |all| {
        video(all, FULL).text(|t| {
            let cut = t.find("#EXT-X-MAP").unwrap();
            let rest = t.find("#EXT-X-PROGRAM-DATE-TIME:2023-11-14T22:13:36").unwrap();
            let head = t[..cut]
                .replace("SEQUENCE:5", "SEQUENCE:13")
                .replace("CONTINUITY-SEQUENCE:0", "CONTINUITY-SEQUENCE:1");
            format!("{head}#EXT-X-MAP:URI=\"video-init1.mp4\"\n{}", &t[rest..])
        });
    }),
    (Rule::LiveType, "event", |all| {
        video(all, 5).text(swap("#EXT-X-PART-INF", "#EXT-X-PLAYLIST-TYPE:EVENT\n#EXT-X-PART-INF"));
    }),
    (Rule::Late, "a part", |all| {
        let late = video(all, 20);
        late.answered_us += 60_000;
    }),
    (Rule::Hint, "none", |all| {
        video(all, 5).text(|t| without(t, "#EXT-X-PRELOAD-HINT"));
    }),
    (Rule::Hint, "two", |all| {
        video(all, 5).text(|t| t.to_owned() + "#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"video-0.6.m4s\"\n");
    }),
    (Rule::Hint, "of a part that is listed", |all| {
        video(all, 5).text(swap("TYPE=PART,URI=\"video-0.5", "TYPE=PART,URI=\"video-0.4"));
    }),
    (Rule::Hint, "after the end", |all| {
        last_video(all).text(|t| t.to_owned() + "#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"video-16.0.m4s\"\n");
    }),
    (Rule::HintBroken, "another part", |all| {
        video(all, 5).text(swap("TYPE=PART,URI=\"video-0.5", "TYPE=PART,URI=\"video-0.7"));
    }),
    (Rule::HintBroken, "in the next segment", |all| {
        video(all, 20).text(swap("TYPE=PART,URI=\"video-2.0", "TYPE=PART,URI=\"video-1.10"));
    }),
    (Rule::Delta, "not asked for", |all| {
        let answer = video(all, 154);
        answer.uri = answer.uri.replace("&_HLS_skip=YES", "");
    }),
    (Rule::Delta, "not given", |all| {
        video(all, 154).body = list("video", "audio", 154, false).into_bytes();
    }),
    (Rule::Delta, "too much", |all| {
        video(all, 154).text(|t| {
            let cut = t.find("#EXT-X-PROGRAM").unwrap();
            let rest = t.find("#EXT-X-PROGRAM-DATE-TIME:2023-11-14T22:13:33").unwrap();
            format!("{}{}", t[..cut].replace("SEGMENTS=3", "SEGMENTS=5"), &t[rest..])
        });
    }),
    (Rule::Delta, "without the attribute", |all| {
        videos(all, swap(",CAN-SKIP-UNTIL=6.0", ""));
    }),
    (Rule::Blocked, "a part too early", |all| {
        video(all, 20).uri = "/cam/video.m3u8?_HLS_msn=2&_HLS_part=0".to_owned();
    }),
    (Rule::Blocked, "a segment too early", |all| {
        video(all, 25).uri = "/cam/video.m3u8?_HLS_msn=2".to_owned();
    }),
    (Rule::Blocked, "past the end of its segment", |all| {
        video(all, 20).uri = "/cam/video.m3u8?_HLS_msn=1&_HLS_part=10".to_owned();
    }),
    (Rule::Refused, "fair", |all| video(all, 20).status = 400),
    (Rule::Refused, "at once", |all| video(all, 20).status = 503),
    (Rule::Refused, "a part of nothing is answered", |all| {
        video(all, 20).uri = "/cam/video.m3u8?_HLS_part=9".to_owned();
    }),
    (Rule::Refused, "for too long", |all| {
        video(all, 20).asked_us -= 3_500_000;
    }),
    (Rule::Report, "none", |all| {
        video(all, 5).text(|t| without(t, "#EXT-X-RENDITION"));
    }),
    (Rule::Report, "without its last part", |all| {
        video(all, 5).text(swap(",LAST-PART=4", ""));
    }),
    (Rule::Report, "old", |all| {
        video(all, 35).text(swap("LAST-MSN=3,LAST-PART=4", "LAST-MSN=3,LAST-PART=0"));
    }),
    (Rule::Report, "of what is not there", |all| {
        video(all, 35).text(swap("LAST-MSN=3,LAST-PART=4", "LAST-MSN=4,LAST-PART=4"));
    }),
    (Rule::Report, "of itself", |all| {
        video(all, 35).text(swap("REPORT:URI=\"audio", "REPORT:URI=\"video"));
    }),
    (Rule::DateMissing, "none", |all| {
        video(all, 35).text(|t| without(t, "#EXT-X-PROGRAM"));
    }),
    (Rule::Date, "half a second off", |all| {
        videos_with(all, "22:13:22.000", "22:13:22.500");
    }),
    (Rule::Map, "none", |all| videos(all, |t| without_any(t, "#EXT-X-MAP"))),
    (Rule::Map, "another one in between", |all| {
        video(all, 35).text(swap(
            "#EXT-X-PROGRAM-DATE-TIME:2023-11-14T22:13:22",
            "#EXT-X-MAP:URI=\"video-init1.mp4\"\n#EXT-X-PROGRAM-DATE-TIME:2023-11-14T22:13:22",
        ));
    }),
    (Rule::Map, "not renewed", |all| {
        videos_with(
            all,
            "#EXT-X-DISCONTINUITY\n#EXT-X-MAP:URI=\"video-init1.mp4\"\n",
            "#EXT-X-DISCONTINUITY\n",
        );
    }),
    (Rule::Ended, "goes on", |all| {
        let mut more = last_video(all).clone();
        more.body = list("video", "audio", SEGMENTS * PARTS, false).into_bytes();
        all.push(more);
    }),
    (Rule::Ended, "with parts of nothing", |all| {
        last_video(all).text(|t| t.replace("#EXTINF:1.00000,\nvideo-15.m4s\n", ""));
    }),
    (Rule::IndependentSegments, "a dependent one", |all| {
        video(all, 12).text(swap("video-1.0.m4s\",INDEPENDENT=YES", "video-1.0.m4s\""));
    }),
    (Rule::Multivariant, "no bandwidth", |all| {
        all[0].text(swap("BANDWIDTH=900000,", ""));
    }),
    (Rule::Multivariant, "no codecs", |all| {
        all[0].text(swap("CODECS=\"avc1.42C01E,mp4a.40.2\",", ""));
    }),
    (Rule::Multivariant, "no size", |all| {
        all[0].text(swap("RESOLUTION=640x480,", ""));
    }),
    (Rule::Multivariant, "no such group", |all| {
        all[0].text(swap("AUDIO=\"a\"", "AUDIO=\"b\""));
    }),
    (Rule::Multivariant, "no URI", |all| {
        all[0].text(swap("\nvideo.m3u8", ""));
    }),
    (Rule::Group, "other targets", |all| {
        videos(all, swap("TARGETDURATION:1", "TARGETDURATION:2"));
    }),
    (Rule::Unavailable, "a part", |all| {
        resource(all, "/cam/video-14.3.m4s").status = 404;
    }),
    (Rule::Unavailable, "a segment", |all| {
        resource(all, "/cam/video-14.m4s").status = 404;
    }),
    (Rule::Unavailable, "a header", |all| {
        resource(all, "/cam/video-init1.mp4").status = 404;
    }),
    (Rule::Token, "not carried", |all| video(all, 5).uri += "&token=secret"),
    (Rule::Token, "carried by one", |all| {
        video(all, 5).text(swap("video-0.1.m4s", "video-0.1.m4s?token=secret"));
    }),
    (Rule::Token, "in the multivariant list", |all| {
        all[0].uri += "?token=secret";
    }),
    (Rule::Bytes, "a part cut short", |all| {
        resource(all, "/cam/video-3.3.m4s").body.truncate(500);
    }),
    (Rule::Bytes, "a header without moov", |all| {
        resource(all, "/cam/video-init0.mp4").body.truncate(36);
    }),
    (Rule::BytesChanged, "of a part", |all| {
        let mut again = resource(all, "/cam/video-3.3.m4s").clone();
        *again.body.last_mut().unwrap() ^= 1;
        all.push(again);
    }),
    (Rule::BytesOfParts, "one byte", |all| {
        *resource(all, "/cam/video-3.m4s").body.last_mut().unwrap() ^= 1;
    }),
    (Rule::BytesDuration, "of a segment", |all| {
        videos_with(all, "#EXTINF:1.00000,\nvideo-3.m4s", "#EXTINF:0.95000,\nvideo-3.m4s");
    }),
    (Rule::BytesIndependent, "says too little", |all| {
        videos_with(all, "video-3.0.m4s\",INDEPENDENT=YES", "video-3.0.m4s\"");
    }),
    (Rule::BytesIndependent, "says too much", |all| {
        videos_with(all, "video-3.4.m4s\"", "video-3.4.m4s\",INDEPENDENT=YES");
    }),
    (Rule::BytesTime, "the part before again", |all| {
        let before = resource(all, "/cam/video-3.2.m4s").body.clone();
        resource(all, "/cam/video-3.3.m4s").body = before;
    }),
];

fn last_video(all: &mut [Answer]) -> &mut Answer {
    all.iter_mut().rfind(|answer| answer.uri == "/cam/video.m3u8").unwrap()
}

/// Replaced in every list of the video that has it; a rule about change must not be what notices.
fn videos_with(all: &mut [Answer], from: &str, to: &str) {
    let mut changed = 0;
    for answer in all
        .iter_mut()
        .filter(|answer| answer.uri.starts_with("/cam/video.m3u8"))
    {
        let text = String::from_utf8(answer.body.clone()).unwrap();
        changed += usize::from(text.contains(from));
        answer.body = text.replacen(from, to, 1).into_bytes();
    }
    assert!(changed > 0, "{from} is in no list");
}

fn without(text: &str, tag: &str) -> String {
    text.lines()
        .filter(|line| !line.starts_with(tag))
        .map(|line| format!("{line}\n"))
        .collect()
}

/// As [`without`], and what has none is left alone but for an empty line.
fn without_any(text: &str, tag: &str) -> String {
    without(text, tag) + "\n"
}

fn without_parts(text: &str, name: &str) -> String {
    let is = |line: &str| line.starts_with("#EXT-X-PART:") && line.contains(name);
    text.lines()
        .filter(|line| !is(line))
        .map(|line| format!("{line}\n"))
        .collect()
}

#[test]
fn a_good_stream_breaks_nothing() {
    let found = broken_by(&answers(), settings());
    assert_eq!(found, []);
}

#[test]
fn each_rule_is_noticed_when_broken() {
    let good = answers();
    let mut missed = Vec::new();
    for (rule, how, change) in BREAKS {
        let mut bad = good.clone();
        change(&mut bad);
        let found = broken_by(&bad, settings());
        if !found.iter().any(|complaint| complaint.rule == *rule) {
            let noticed: BTreeSet<Rule> = found.iter().map(|complaint| complaint.rule).collect();
            missed.push(format!("{rule:?}, {how}: {noticed:?}"));
        }
    }
    assert_eq!(missed, Vec::<String>::new());
    let tested: BTreeSet<Rule> = BREAKS.iter().map(|(rule, ..)| *rule).collect();
    let untested: Vec<_> = Rule::ALL.iter().filter(|rule| !tested.contains(rule)).collect();
    assert_eq!(untested, Vec::<&Rule>::new());
}

#[test]
fn what_is_ours_alone_is_left_out_when_asked() {
    let mut bad = answers();
    videos(&mut bad, |text| without(text, "#EXT-X-PRELOAD-HINT") + "\n");
    let draft = Settings {
        ours: false,
        ..settings()
    };
    assert_eq!(broken_by(&bad, draft), []);
    assert!(
        broken_by(&bad, settings())
            .iter()
            .all(|complaint| complaint.rule == Rule::Hint)
    );
}

#[test]
fn an_answer_that_was_overtaken_is_not_older() {
    let mut late = answers();
    let at = 1 + 2 * 38;
    late.swap(at, at + 2);
    late[at + 2].answered_us = late[at].answered_us + 1;
    late[at].asked_us = late[at + 2].asked_us;
    let found = broken_by(&late, Settings::default());
    assert!(
        !found.iter().any(|complaint| complaint.rule == Rule::Older),
        "{found:?}"
    );
}

#[test]
fn refusals_that_are_right_are_no_complaint() {
    let mut all = answers();
    for (uri, status, waited_us) in [
        ("/cam/video.m3u8?_HLS_msn=9&_HLS_part=0", 400, 1_000),
        ("/cam/video.m3u8?_HLS_msn=2&_HLS_part=900", 400, 1_000),
        ("/cam/video.m3u8?_HLS_part=1", 400, 1_000),
        ("/cam/video.m3u8?_HLS_msn=rubbish", 400, 1_000),
        ("/cam/video.m3u8?_HLS_msn=2&_HLS_part=1", 503, 3_000_000),
    ] {
        let mut refused = video(&mut all, 20).clone();
        (refused.uri, refused.status) = (uri.to_owned(), status);
        refused.asked_us = refused.answered_us - waited_us;
        all.insert(1 + 2 * 20, refused);
    }
    assert_eq!(broken_by(&all, settings()), []);
}

#[test]
fn dates_and_decimals() {
    assert_eq!(text::date("2023-11-14T22:13:20Z"), Some(START_US));
    assert_eq!(text::date("2023-11-14T23:13:20.250+01:00"), Some(START_US + 250_000));
    assert_eq!(text::date("2023-11-14T17:13:20.5-0500"), Some(START_US + 500_000));
    assert_eq!(text::date("2024-02-29T00:00:00Z"), Some(1_709_164_800_000_000));
    for wrong in [
        "",
        "2023-11-14",
        "2023-11-14T22:13:20",
        "2023-13-14T22:13:20Z",
        "2023-11-14T22:13:xxZ",
        "T+é",
    ] {
        assert_eq!(text::date(wrong), None, "{wrong}");
    }
    assert_eq!(text::micros("0.10000"), Some(100_000));
    assert_eq!(text::micros("1"), Some(1_000_000));
    assert_eq!(text::micros("0.0000005"), Some(1));
    for wrong in ["", ".5", "1.", "-1", "1e3", "0x1", "nan"] {
        assert_eq!(text::micros(wrong), None, "{wrong}");
    }
}

#[test]
fn addresses() {
    assert_eq!(
        super::resolve("/cam/a/video.m3u8?token=x", "../b.m4s?token=x"),
        "/cam/b.m4s?token=x"
    );
    assert_eq!(super::resolve("/cam/video.m3u8", "./b.m4s"), "/cam/b.m4s");
    assert_eq!(super::resolve("/cam/video.m3u8", "http://host:80/c/b.m4s"), "/c/b.m4s");
    let (key, directives) = super::split_directives("http://h:8888/c/v.m3u8?_HLS_msn=3&token=x&_HLS_part=x");
    assert_eq!(key, "/c/v.m3u8?token=x");
    assert_eq!(
        (directives.msn, directives.part, directives.skip),
        (Some(Some(3)), Some(None), false)
    );
}
