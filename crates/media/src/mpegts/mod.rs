//! MPEG-TS (ISO/IEC 13818-1 = ITU-T H.222.0), written: what HLS with `.ts` segments is made of, and what programs take that know nothing newer.
//!
//! Belongs here: one program of H.264, H.265 and AAC as packets: tables, clock, PES, access unit delimiters, ADTS. Does not belong here: reading
//! ([`crate::demux`]), what goes into which segment, lists, files. Decode times come from [`crate::fmp4::Timeline`], as in MP4.
//!
//! - **Tables** (§2.4.4) stand in front of every keyframe, so a stream can be cut there, and half a second apart at the most.
//! - **Clock** (§2.4.2.2): a PCR with every picture, and packets with nothing else where pictures are more than 100 ms apart. It runs
//!   half a second before decoding: longer than what a picture takes to arrive and sound is held.
//! - **Times** are 33 bits of 90 kHz and begin anew after 26.5 hours, which is no discontinuity.
//! - **Continuity counters** (§2.4.3.3) go on for as long as the writer lives, over discontinuities and other tracks too. A writer is kept
//!   over segments; a new one begins a new stream.
//! - **Sound** is held until the next picture, so that its frames share packets; see [`Writer::flush`].

mod adts;
mod packet;
mod tables;

use std::sync::Arc;

use crate::annexb;
use crate::fmp4::Sample;
use crate::time::{MediaTime, Timescale};
use crate::track::{Format, Kind, Track, TrackIndex};

use adts::Adts;
use packet::{Field, Pid};

pub use packet::PACKET_BYTES;

/// Tracks of one program at the most: as many as a publisher may have.
pub const MAX_TRACKS: usize = crate::hub::MAX_TRACKS;
/// Sound that is held back at the most, in bytes.
pub const MAX_HELD_BYTES: usize = 8 << 10;
/// What is written of one frame at the most: the largest access unit, its parameter sets, the packets around it, tables and clock.
pub const MAX_WRITTEN_BYTES: usize = annexb::MAX_ACCESS_UNIT_BYTES / 16 * 17 + (1 << 20);

/// The clock runs so far before decoding, in ticks of 90 kHz.
const LEAD_90K: i64 = 45_000;
/// Longest distance of two PCR (§2.7.2).
const PCR_INTERVAL_90K: i64 = 9_000;
/// Tables come again so long after the last ones.
const TABLES_INTERVAL_90K: i64 = 45_000;
/// A step of the stream's time beyond this is a discontinuity; below it the clock is written through.
const LONGEST_STEP_90K: i64 = 900_000;
/// The clock of a new time base begins so long before the sound that is its first frame.
const SOUND_FIRST_90K: i64 = 22_500;
/// Sound is held so long at the most.
const LONGEST_HELD_90K: i64 = 9_000;
/// Frames of sound that do not begin where the last one ended, give or take this, are not put into one PES packet: within it they have one time.
const SOUND_TOLERANCE_90K: i64 = 90;
/// PES packets of known length (§2.4.3.7) are no longer.
const MAX_PES_LENGTH: usize = 0xffff;
/// Memory that is kept for the next picture at most.
const MAX_KEPT_BYTES: usize = 1 << 20;

/// Why nothing was written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// No track or more than [`MAX_TRACKS`].
    #[error("{0} tracks; 1 to {MAX_TRACKS} can be written")]
    Tracks(usize),
    /// A track, or a frame of it, that MPEG-TS cannot carry, and why.
    #[error("track {} cannot be carried in MPEG-TS: {why}", track.0)]
    Unsupported {
        /// The track.
        track: TrackIndex,
        /// Why, for people.
        why: String,
    },
    /// A keyframe whose parameter sets are not known.
    #[error("track {} has no usable parameter sets yet", .0.0)]
    Incomplete(TrackIndex),
    /// A frame of a track that was not announced.
    #[error("track {} is not in the tables", .0.0)]
    NoSuchTrack(TrackIndex),
    /// A frame in another codec than its track was announced with: see [`Writer::set_tracks`]. Other parameter sets of the same codec are no
    /// change: they are in the stream.
    #[error("the codec of track {} has changed", .0.0)]
    CodecChanged(TrackIndex),
    /// A frame that is larger than an access unit may be ([`annexb::MAX_ACCESS_UNIT_BYTES`]).
    #[error("a frame of {0} bytes; at most {max} are written", max = annexb::MAX_ACCESS_UNIT_BYTES)]
    TooLarge(usize),
}

/// Writes one program. Holds counters, and the sound since the last picture.
#[derive(Debug)]
pub struct Writer {
    tracks: Vec<Elementary>,
    /// Which of them carries the clock: the first with pictures, else the first.
    clock: usize,
    origin_90k: i64,
    programs: tables::Section,
    map: tables::Section,
    /// The newest PCR and the newest tables on the clock of the program, without lead and wraps.
    last_pcr: Option<i64>,
    last_tables: Option<i64>,
    jump: bool,
    held: Held,
    /// The bytes of one PES packet; its memory is used again.
    pes: Vec<u8>,
}

/// One track.
#[derive(Debug)]
struct Elementary {
    track: Track,
    pid: Pid,
    stream_id: u8,
    adts: Option<Adts>,
}

/// Frames of sound of one track that will share a PES packet.
#[derive(Debug, Default)]
struct Held {
    /// Which track; meaningless while there are no bytes.
    at: usize,
    bytes: Vec<u8>,
    begins_90k: i64,
    ends_90k: i64,
}

impl Writer {
    /// For these tracks. `origin` becomes half a second in the stream: take the least decode time of the first frames of all tracks.
    ///
    /// # Errors
    /// [`Error::Tracks`], [`Error::Unsupported`].
    pub fn new(tracks: &[Track], origin: MediaTime) -> Result<Self, Error> {
        let announced = announce(tracks, &[])?;
        Ok(Self {
            clock: clock_of(&announced),
            programs: tables::programs(),
            map: tables::map(&announced, clock_of(&announced), 0),
            tracks: announced,
            origin_90k: ticks(origin),
            last_pcr: None,
            last_tables: None,
            jump: false,
            held: Held::default(),
            pes: Vec::new(),
        })
    }

    /// Other tracks from here on, and `origin` as with [`Writer::new`]. Call [`Writer::flush`] before it; what is held is dropped else. Counters go
    /// on, tables have another version (§2.4.4.9) and come first, the clock is marked as another.
    ///
    /// # Errors
    /// As [`Writer::new`]; the writer is as before then.
    pub fn set_tracks(&mut self, tracks: &[Track], origin: MediaTime) -> Result<(), Error> {
        let announced = announce(tracks, &self.tracks)?;
        self.clock = clock_of(&announced);
        self.map
            .replace(tables::map(&announced, self.clock, self.map.version() + 1));
        self.tracks = announced;
        self.origin_90k = ticks(origin);
        self.held.bytes.clear();
        self.last_tables = None;
        self.discontinuity();
        Ok(())
    }

    /// What follows has another time base, or something is missing before it. Marked in the next packet (`discontinuity_indicator`, §2.4.3.5).
    pub fn discontinuity(&mut self) {
        self.jump = true;
    }

    /// Appends both tables: at the head of a segment that does not begin with a keyframe.
    pub fn tables(&mut self, out: &mut Vec<u8>) {
        self.programs.write(out);
        self.map.write(out);
        // The next frame need not repeat them.
        self.last_tables = self.last_pcr;
    }

    /// Appends the next frame, and what was held before it. Sound is held until a picture follows or [`Writer::flush`] is called, for 100 ms at the most.
    ///
    /// # Errors
    /// [`Error::NoSuchTrack`], [`Error::CodecChanged`], [`Error::Incomplete`], [`Error::TooLarge`], [`Error::Unsupported`] for a frame of AAC that
    /// ADTS has no room for. Nothing was written of the frame then, and the next one may follow.
    pub fn frame(&mut self, sample: &Sample, out: &mut Vec<u8>) -> Result<(), Error> {
        let frame = &sample.frame;
        let found = self.tracks.iter().position(|known| known.track.index == frame.track);
        let at = found.ok_or(Error::NoSuchTrack(frame.track))?;
        let Some(stream) = self.tracks.get_mut(at) else {
            return Err(Error::NoSuchTrack(frame.track));
        };
        stream.check(sample)?;
        match &stream.adts {
            Some(adts) => {
                let adts = adts.clone();
                self.sound(at, &adts, sample, out);
            }
            None => self.picture(at, sample, out),
        }
        Ok(())
    }

    /// Appends the sound that is held: at the end of a segment, before the keyframe of the next one is given to [`Writer::frame`].
    pub fn flush(&mut self, out: &mut Vec<u8>) {
        if self.held.bytes.is_empty() {
            return;
        }
        let (at, begins) = (self.held.at, self.held.begins_90k);
        let bytes = std::mem::take(&mut self.held.bytes);
        self.begin_pes(at, begins, begins, bytes.len());
        self.pes.extend_from_slice(&bytes);
        self.held.bytes = bytes;
        self.held.bytes.clear();
        self.packets(at, begins, true, out);
    }

    fn picture(&mut self, at: usize, sample: &Sample, out: &mut Vec<u8>) {
        self.flush(out);
        let decode = self.since_origin(sample.decode_time);
        let shown = self.since_origin(sample.frame.time);
        self.pes.clear();
        self.begin_pes(at, shown, decode, usize::MAX);
        let delimiter = match &*sample.frame.format {
            Format::H265(_) => H265_DELIMITER,
            _ => H264_DELIMITER,
        };
        annexb::push_annex_b(delimiter, &mut self.pes);
        annexb::frame_to_annex_b(&sample.frame, &mut self.pes);
        self.set_length();
        self.packets(at, decode, sample.frame.keyframe, out);
    }

    fn sound(&mut self, at: usize, adts: &Adts, sample: &Sample, out: &mut Vec<u8>) {
        let begins = self.since_origin(sample.frame.time);
        let bytes = adts::HEADER_BYTES + sample.frame.data.len();
        let held = &self.held;
        let follows = held.at == at && begins.abs_diff(held.ends_90k) <= SOUND_TOLERANCE_90K.unsigned_abs();
        let fits = held.bytes.len() + bytes <= MAX_HELD_BYTES;
        if !(follows && fits) {
            self.flush(out);
        }
        if self.held.bytes.is_empty() {
            (self.held.at, self.held.begins_90k, self.held.ends_90k) = (at, begins, begins);
        }
        adts.write(&sample.frame.data, &mut self.held.bytes);
        // By what readers will count, not by the frame's own time: what it is off does not add up.
        self.held.ends_90k = self.held.ends_90k.saturating_add(adts.frame_90k());
        if self.held.ends_90k.saturating_sub(self.held.begins_90k) >= LONGEST_HELD_90K {
            self.flush(out);
        }
    }

    /// The head of a PES packet (§2.4.3.6). `bytes` follow; the length is set later where it is not known.
    fn begin_pes(&mut self, at: usize, shown: i64, decode: i64, bytes: usize) {
        let Some(stream) = self.tracks.get(at) else { return };
        self.pes.clear();
        let both = shown != decode;
        let fields: u8 = if both { 10 } else { 5 };
        // An access unit begins with the payload: data_alignment_indicator.
        let head = [
            0,
            0,
            1,
            stream.stream_id,
            0,
            0,
            0x84,
            if both { 0xc0 } else { 0x80 },
            fields,
        ];
        self.pes.extend_from_slice(&head);
        push_stamp(if both { 3 } else { 2 }, shown.saturating_add(LEAD_90K), &mut self.pes);
        if both {
            push_stamp(1, decode.saturating_add(LEAD_90K), &mut self.pes);
        }
        if bytes != usize::MAX {
            self.put_length(3 + usize::from(fields) + bytes);
        }
    }

    /// The length of what stands in `pes`, so that who reads need not wait for the next picture to know that this one is whole. Zero, which pictures
    /// alone may have, where it does not fit.
    fn set_length(&mut self) {
        self.put_length(self.pes.len().saturating_sub(6));
    }

    fn put_length(&mut self, length: usize) {
        let length = u16::try_from(length).ok().filter(|_| length <= MAX_PES_LENGTH);
        if let Some(bytes) = self.pes.get_mut(4..6) {
            bytes.copy_from_slice(&length.unwrap_or(0).to_be_bytes());
        }
    }

    /// Cuts the PES packet into packets, with tables and clock where they are due. `random_access`: who begins here can decode.
    fn packets(&mut self, at: usize, decode: i64, random_access: bool, out: &mut Vec<u8>) {
        let is_clock = at == self.clock;
        let keyframe = random_access && is_clock && self.has_pictures();
        let due =
            |last: Option<i64>| last.is_none_or(|last| decode.abs_diff(last) >= TABLES_INTERVAL_90K.unsigned_abs());
        if keyframe || due(self.last_tables) {
            self.tables(out);
            self.last_tables = Some(decode);
        }
        let pcr = self.run_clock(is_clock, decode, out);
        let mut field = Field {
            random_access,
            pcr,
            discontinuity: false,
        };
        let mut begins = true;
        let mut rest = self.pes.as_slice();
        let Some(stream) = self.tracks.get_mut(at) else { return };
        while !rest.is_empty() {
            rest = stream.pid.packet(begins, std::mem::take(&mut field), rest, out);
            begins = false;
        }
        if self.pes.capacity() > MAX_KEPT_BYTES {
            self.pes = Vec::new();
        }
    }

    /// Writes packets with the clock alone where the last one is too old, or was of another time base. Returns the clock that goes with the frame.
    fn run_clock(&mut self, is_clock: bool, decode: i64, out: &mut Vec<u8>) -> Option<i64> {
        let step = self.last_pcr.map(|last| decode.saturating_sub(last));
        let jumps = self.jump || step.is_some_and(|step| is_clock && !(0..=LONGEST_STEP_90K).contains(&step));
        let carrier = self.tracks.get_mut(self.clock)?;
        if jumps {
            self.jump = false;
            // Pictures may have been captured a little before the sound that comes first.
            let anew = if is_clock {
                decode
            } else {
                decode.saturating_sub(SOUND_FIRST_90K)
            };
            self.last_pcr = Some(anew);
            carrier.pid.without_payload(Field::clock(anew, true), out);
        }
        if !is_clock {
            // Before the first picture the sound brings no clock: it is not on its packets.
            return None;
        }
        while let Some(last) = self
            .last_pcr
            .filter(|last| decode.saturating_sub(*last) > PCR_INTERVAL_90K)
        {
            let next = last.saturating_add(PCR_INTERVAL_90K);
            carrier.pid.without_payload(Field::clock(next, false), out);
            self.last_pcr = Some(next);
        }
        self.last_pcr = Some(decode);
        Some(decode)
    }

    fn has_pictures(&self) -> bool {
        self.tracks.iter().any(|stream| stream.track.kind() == Kind::Video)
    }

    /// Ticks of 90 kHz since the origin.
    fn since_origin(&self, time: MediaTime) -> i64 {
        ticks(time).saturating_sub(self.origin_90k)
    }
}

impl Elementary {
    /// Whether the frame can be written; takes in what its format says.
    fn check(&mut self, sample: &Sample) -> Result<(), Error> {
        let (frame, track) = (&sample.frame, &self.track);
        if frame.format.codec() != track.format.codec() {
            return Err(Error::CodecChanged(track.index));
        }
        if frame.data.len() > annexb::MAX_ACCESS_UNIT_BYTES {
            return Err(Error::TooLarge(frame.data.len()));
        }
        match &*frame.format {
            Format::H264(format) if frame.keyframe && !format.is_complete() => Err(Error::Incomplete(track.index)),
            Format::H265(format) if frame.keyframe && !format.is_complete() => Err(Error::Incomplete(track.index)),
            Format::Aac(aac) => {
                if !Arc::ptr_eq(&frame.format, &track.format) {
                    self.adts = Some(Adts::new(aac).map_err(|why| unsupported(track.index, why))?);
                    self.track.format = Arc::clone(&frame.format);
                }
                let (bytes, most) = (frame.data.len(), adts::MAX_FRAME_BYTES);
                let why = || format!("a frame of AAC of {bytes} bytes; ADTS has room for {most}");
                if bytes > most {
                    Err(unsupported(self.track.index, why()))
                } else {
                    Ok(())
                }
            }
            Format::H264(_) | Format::H265(_) | Format::Opus(_) | Format::G711(_) => Ok(()),
        }
    }
}

/// The tracks with their PIDs. A PID that was there goes on counting.
fn announce(tracks: &[Track], before: &[Elementary]) -> Result<Vec<Elementary>, Error> {
    if tracks.is_empty() || tracks.len() > MAX_TRACKS {
        return Err(Error::Tracks(tracks.len()));
    }
    let mut announced = Vec::with_capacity(tracks.len());
    for (number, track) in (0_u8..).zip(tracks) {
        let adts = match &*track.format {
            Format::H264(_) | Format::H265(_) => None,
            Format::Aac(aac) => Some(Adts::new(aac).map_err(|why| unsupported(track.index, why))?),
            Format::Opus(_) | Format::G711(_) => {
                let why = format!("{} is not written to it; AAC is", track.format.codec().name());
                return Err(unsupported(track.index, why));
            }
        };
        let counted = before.get(usize::from(number)).map(|known| known.pid.clone());
        announced.push(Elementary {
            pid: counted.unwrap_or_else(|| Pid::new(FIRST_PID + u16::from(number))),
            // Table 2-22: 0xe0 to 0xef pictures, 0xc0 to 0xdf sound.
            stream_id: match track.kind() {
                Kind::Video => 0xe0 | number & 0x0f,
                Kind::Audio => 0xc0 | number & 0x1f,
            },
            track: track.clone(),
            adts,
        });
    }
    Ok(announced)
}

fn clock_of(tracks: &[Elementary]) -> usize {
    let pictures = tracks.iter().position(|stream| stream.track.kind() == Kind::Video);
    pictures.unwrap_or(0)
}

fn unsupported(track: TrackIndex, why: String) -> Error {
    Error::Unsupported { track, why }
}

fn ticks(time: MediaTime) -> i64 {
    time.rescale(Timescale::VIDEO).ticks()
}

/// 33 bits in five bytes (§2.4.3.6), behind four bits that say which it is.
fn push_stamp(prefix: u8, ticks_90k: i64, out: &mut Vec<u8>) {
    let [_, _, _, a, b, c, d, e] = (ticks_90k & 0x1_ffff_ffff).to_be_bytes();
    let (high, middle, low) = (
        (a << 2 | b >> 6) & 7,
        u16::from_be_bytes([b << 1 | c >> 7, c << 1 | d >> 7]) << 1 | 1,
        u16::from_be_bytes([d, e]) << 1 | 1,
    );
    out.push(prefix << 4 | high << 1 | 1);
    out.extend_from_slice(&middle.to_be_bytes());
    out.extend_from_slice(&low.to_be_bytes());
}

/// PID of the first track; the others follow.
const FIRST_PID: u16 = 0x100;
/// NAL unit of type 9, primary_pic_type 7: slices of any kind (H.264 §7.4.2.4). Asked for by §2.14.1.
const H264_DELIMITER: &[u8] = &[0x09, 0xf0];
/// NAL unit of type 35, pic_type 2: slices of any kind (H.265 §7.4.3.5). Asked for by §2.17.1.
const H265_DELIMITER: &[u8] = &[0x46, 0x01, 0x50];

#[cfg(test)]
mod tests;
