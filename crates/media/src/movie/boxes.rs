//! The boxes of the head.

use super::{Movie, TIMESCALE, Track, in_90k};
use crate::track::Kind;

/// All in front of the samples: places in the file are known when the length of this is, which does not depend on them.
pub(super) fn head(movie: &Movie) -> Vec<u8> {
    let is_long = |head_bytes: usize| head_bytes as u64 + movie.data_bytes > u64::from(u32::MAX);
    let tables = |wide: bool, base: u64| {
        let mut out = FILE_TYPE.to_vec();
        boxed(&mut out, b"moov", |out| moov(movie, wide, base, out));
        mdat(movie.data_bytes, &mut out);
        out
    };
    let narrow = tables(false, 0);
    let wide = is_long(narrow.len());
    let base = if wide { tables(true, 0).len() } else { narrow.len() };
    drop(narrow);
    tables(wide, base as u64)
}

fn mdat(data_bytes: u64, out: &mut Vec<u8>) {
    match u32::try_from(data_bytes + 8) {
        Ok(bytes) => {
            push(out, bytes);
            out.extend_from_slice(b"mdat");
        }
        Err(_) => {
            push(out, 1);
            out.extend_from_slice(b"mdat");
            out.extend_from_slice(&(data_bytes + 16).to_be_bytes());
        }
    }
}

fn moov(movie: &Movie, wide: bool, base: u64, out: &mut Vec<u8>) {
    // Seconds since 1904.
    let created = u64::try_from(movie.created.unix_micros() / 1_000_000).unwrap_or(0) + SINCE_1904_S;
    boxed(out, b"mvhd", |out| {
        timed(out, 0, [created, movie.duration_90k()], &TIMESCALE.to_be_bytes());
        push(out, 0x0001_0000); // rate
        out.extend_from_slice(&[1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]); // volume
        matrix(out);
        out.extend_from_slice(&[0; 24]);
        push(out, movie.tracks.len() as u32 + 1);
    });
    for (track, number) in movie.tracks.iter().zip(1..) {
        boxed(out, b"trak", |out| trak(track, number, created, (wide, base), out));
    }
}

fn trak(track: &Track, number: u32, created: u64, (wide, base): (bool, u64), out: &mut Vec<u8>) {
    let is_sound = track.kind == Kind::Audio;
    boxed(out, b"tkhd", |out| {
        // Enabled, in the movie, in previews.
        let number = u64::from(number) << 32;
        timed(out, 7, [created, track.ends_90k()], &number.to_be_bytes());
        out.extend_from_slice(&[0; 8]);
        // Layer and group, and how loud.
        out.extend_from_slice(&[0, 0, 0, 0, u8::from(is_sound), 0, 0, 0]);
        matrix(out);
        let size = if is_sound { [0, 0] } else { track.size };
        size.iter().for_each(|side| push(out, *side));
    });
    edits(track, out);
    boxed(out, b"mdia", |out| {
        boxed(out, b"mdhd", |out| {
            timed(out, 0, [created, track.lasts()], &track.timescale.to_be_bytes());
            out.extend_from_slice(&[0x55, 0xc4, 0, 0]); // "und"
        });
        boxed(out, b"hdlr", |out| {
            out.extend_from_slice(&[0; 8]);
            out.extend_from_slice(if is_sound { b"soun" } else { b"vide" });
            out.extend_from_slice(&[0; 12]);
            out.extend_from_slice(if is_sound { b"SoundHandler\0" } else { b"VideoHandler\0" });
        });
        boxed(out, b"minf", |out| {
            match is_sound {
                true => boxed(out, b"smhd", |out| out.extend_from_slice(&[0; 8])),
                false => boxed(out, b"vmhd", |out| {
                    push(out, 1);
                    out.extend_from_slice(&[0; 8]);
                }),
            }
            // In this file.
            boxed(out, b"dinf", |out| {
                boxed(out, b"dref", |out| {
                    push(out, 0);
                    push(out, 1);
                    boxed(out, b"url ", |out| push(out, 1));
                });
            });
            boxed(out, b"stbl", |out| tables(track, wide, base, out));
        });
    });
}

/// What is shown of a track, and when it begins (§8.6.6).
fn edits(track: &Track, out: &mut Vec<u8>) {
    if track.begins == 0 || track.last.is_none() {
        return;
    }
    let waits_90k = in_90k(i128::from(track.begins), track.timescale);
    let shown_90k = track.ends_90k().saturating_sub(waits_90k);
    // Where what is decoded before is hidden, from there on.
    let from = u64::try_from(-i128::from(track.begins)).unwrap_or(0);
    boxed(out, b"edts", |out| {
        boxed(out, b"elst", |out| {
            push(out, 1 << 24);
            let empty = (waits_90k > 0).then_some((waits_90k, u64::MAX));
            let edits: Vec<(u64, u64)> = empty.into_iter().chain([(shown_90k, from)]).collect();
            push(out, edits.len() as u32);
            for (lasts, from) in edits {
                out.extend_from_slice(&lasts.to_be_bytes());
                out.extend_from_slice(&from.to_be_bytes());
                push(out, 0x0001_0000);
            }
        });
    });
}

fn tables(track: &Track, wide: bool, base: u64, out: &mut Vec<u8>) {
    boxed(out, b"stsd", |out| {
        push(out, 0);
        push(out, track.entries.len() as u32);
        track.entries.iter().for_each(|entry| out.extend_from_slice(entry));
    });
    boxed(out, b"stts", |out| {
        let last = track.last.map(|last| (1, last.duration));
        let mut rows = track.durations.clone();
        if let Some((_, duration)) = last {
            super::count(&mut rows, duration);
        }
        push(out, 0);
        push(out, rows.len() as u32);
        for (count, duration) in rows {
            push(out, count);
            push(out, duration);
        }
    });
    if track.offsets.iter().any(|(_, offset)| *offset != 0) {
        boxed(out, b"ctts", |out| {
            let is_signed = track.offsets.iter().any(|(_, offset)| *offset < 0);
            push(out, u32::from(is_signed) << 24);
            push(out, track.offsets.len() as u32);
            for (count, offset) in &track.offsets {
                push(out, *count);
                push(out, offset.cast_unsigned());
            }
        });
    }
    if track.kind == Kind::Video && track.syncs.len() < track.bytes.len() {
        boxed(out, b"stss", |out| {
            push(out, 0);
            push(out, track.syncs.len() as u32);
            track.syncs.iter().for_each(|number| push(out, *number));
        });
    }
    boxed(out, b"stsc", |out| chunks(track, out));
    boxed(out, b"stsz", |out| {
        push(out, 0);
        push(out, 0);
        push(out, track.bytes.len() as u32);
        track.bytes.iter().for_each(|bytes| push(out, *bytes));
    });
    boxed(out, if wide { b"co64" } else { b"stco" }, |out| {
        push(out, 0);
        push(out, track.chunks.len() as u32);
        for chunk in &track.chunks {
            let at = base + chunk.at;
            match wide {
                true => out.extend_from_slice(&at.to_be_bytes()),
                false => push(out, at as u32),
            }
        }
    });
}

/// Which chunks have how many samples, of which entry (§8.7.4).
fn chunks(track: &Track, out: &mut Vec<u8>) {
    let mut rows: Vec<(u32, u32, u32)> = Vec::new();
    for (chunk, number) in track.chunks.iter().zip(1..) {
        let goes_on = |(_, samples, entry): &(u32, u32, u32)| (*samples, *entry) == (chunk.samples, chunk.entry);
        if !rows.last().is_some_and(goes_on) {
            rows.push((number, chunk.samples, chunk.entry));
        }
    }
    push(out, 0);
    push(out, rows.len() as u32);
    for (number, samples, entry) in rows {
        [number, samples, entry].iter().for_each(|word| push(out, *word));
    }
}

/// What `mvhd`, `tkhd` and `mdhd` begin with: when it was created and changed, what stands `between`, its duration; of 64 bits where 32 do not hold them (version 1).
fn timed(out: &mut Vec<u8>, flags: u32, [created, duration]: [u64; 2], between: &[u8]) {
    let is_long = created.max(duration) > u64::from(u32::MAX);
    push(out, u32::from(is_long) << 24 | flags);
    let time = |out: &mut Vec<u8>, time: u64| match is_long {
        true => out.extend_from_slice(&time.to_be_bytes()),
        false => push(out, time as u32),
    };
    time(out, created);
    time(out, created);
    out.extend_from_slice(between);
    time(out, duration);
}

fn boxed(out: &mut Vec<u8>, name: &[u8; 4], content: impl FnOnce(&mut Vec<u8>)) {
    let at = out.len();
    push(out, 0);
    out.extend_from_slice(name);
    content(out);
    set_size(out, at);
}

fn set_size(out: &mut [u8], at: usize) {
    let bytes = (out.len() - at) as u32;
    if let Some(size) = out.get_mut(at..at + 4) {
        size.copy_from_slice(&bytes.to_be_bytes());
    }
}

fn matrix(out: &mut Vec<u8>) {
    for word in [0x0001_0000, 0, 0, 0, 0x0001_0000, 0, 0, 0, 0x4000_0000] {
        push(out, word);
    }
}

fn push(out: &mut Vec<u8>, word: u32) {
    out.extend_from_slice(&word.to_be_bytes());
}

/// Players of old want `mp42` or `isom` to begin with.
const FILE_TYPE: [u8; 28] = *b"\0\0\0\x1cftypmp42\0\0\0\0mp42isomiso6";
/// From 1904 to 1970.
const SINCE_1904_S: u64 = 2_082_844_800;
