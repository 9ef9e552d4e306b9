//! What a picture is handed over as: its bytes, and the line that says what they are.

use std::fmt;
use std::fmt::Write as _;

use device::decode::{to_bgr, to_grey};
use device::jpeg::{self, Shape};
use device::picture::Picture;
use media::{Capture, CaptureSource, WallTime};
use serde::Serialize;

/// How pixels are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// A JPEG file each.
    Jpeg,
    /// Three bytes a pixel, blue, green, red, as OpenCV has them.
    Bgr24,
    /// A byte a pixel, from 0 (black) to 255 (white).
    Gray,
    /// Planes Y, U, V, colour at half the width and height, as the decoder has them (BT.601, limited range).
    Yuv420p,
}

impl Format {
    /// As people write it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Jpeg => "jpeg",
            Self::Bgr24 => "bgr24",
            Self::Gray => "gray",
            Self::Yuv420p => "yuv420p",
        }
    }

    /// How the names of such files end.
    pub fn ending(self) -> &'static str {
        match self {
            Self::Jpeg => "jpg",
            other => other.word(),
        }
    }

    /// Bytes of a picture of that size, where that is fixed.
    pub fn frame_bytes(self, width: u32, height: u32) -> Option<u64> {
        let pixels = u64::from(width) * u64::from(height);
        match self {
            Self::Jpeg => None,
            Self::Bgr24 => Some(pixels * 3),
            Self::Gray => Some(pixels),
            Self::Yuv420p => Some(pixels + pixels / 2),
        }
    }
}

/// How a picture is handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Form {
    /// How its pixels are written.
    pub format: Format,
    /// How large it is at the most, and how good a JPEG is.
    pub shape: Shape,
}

/// A picture on its way to whoever looks at it.
#[derive(Clone, Debug)]
pub struct Shot {
    /// The pixels.
    pub picture: Picture,
    /// When it was captured.
    pub captured: WallTime,
    /// How that is known.
    pub clock: ClockWord,
}

/// How it is known when a picture was captured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClockWord {
    /// The camera says so, in the picture's bitstream or beside its packets.
    Camera,
    /// The server or camera says when it sent the picture.
    Sender,
    /// When it came.
    Arrival,
    /// The recording says when it begins, and this is so far behind.
    Recording,
    /// The name of the file says when it begins.
    Name,
    /// The file was made then.
    File,
}

impl From<CaptureSource> for ClockWord {
    fn from(source: CaptureSource) -> Self {
        match source {
            CaptureSource::Camera | CaptureSource::Sei | CaptureSource::AbsCaptureTime => Self::Camera,
            CaptureSource::SenderReport => Self::Sender,
            CaptureSource::Arrival => Self::Arrival,
        }
    }
}

impl fmt::Display for ClockWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Camera => "camera",
            Self::Sender => "sender",
            Self::Arrival => "arrival",
            Self::Recording => "recording",
            Self::Name => "name",
            Self::File => "file",
        })
    }
}

impl Shot {
    /// A picture that was captured then.
    pub fn new(picture: Picture, capture: Capture) -> Self {
        Self {
            picture,
            captured: capture.at,
            clock: capture.source.into(),
        }
    }
}

/// What stands in front of a picture where it was asked for: one line of JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Header {
    /// Bytes of the picture, behind the end of this line.
    pub bytes: usize,
    /// Pixels of a row.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// As [`Format::word`].
    pub format: &'static str,
    /// Capture time, RFC 3339 in UTC with milliseconds.
    pub captured: String,
    /// The same in microseconds since 1970.
    pub captured_us: i64,
    /// How that is known.
    pub clock: ClockWord,
    /// Which picture it is of those that were handed over, from 0.
    pub index: u64,
    /// Pictures that were left out so far, since nobody took them in time.
    pub dropped: u64,
}

/// Pictures as bytes, and what the memory for it is kept for.
pub struct Maker {
    form: Form,
    /// The size that all pictures are given, where bytes of a fixed number are promised.
    fixed: Option<(u32, u32)>,
    keeps_size: bool,
    /// The newest picture's bytes.
    pub bytes: Vec<u8>,
}

impl Maker {
    /// `keeps_size`: raw pictures all have the size of the first, whatever a camera changes to, since nothing says how long each is.
    pub fn new(form: Form, keeps_size: bool) -> Self {
        Self {
            form,
            fixed: None,
            keeps_size: keeps_size && form.format != Format::Jpeg,
            bytes: Vec::new(),
        }
    }

    /// Makes [`Maker::bytes`] of a picture. Gives the header.
    ///
    /// # Errors
    /// [`jpeg::Error`].
    pub fn make(&mut self, shot: &Shot, index: u64, dropped: u64) -> Result<Header, jpeg::Error> {
        let picture = &shot.picture;
        let shape = self.form.shape;
        let (width, height) = match self.fixed {
            Some(size) => size,
            None => shape.size_of(picture.width(), picture.height()),
        };
        if self.keeps_size {
            self.fixed = Some((width, height));
        }
        if self.form.format == Format::Jpeg {
            self.bytes = jpeg::encode(picture, shape)?;
        } else {
            let is_other = (width, height) != (picture.width(), picture.height());
            let scaled = is_other.then(|| picture.scaled(width, height)).flatten();
            let picture = scaled.as_ref().unwrap_or(picture);
            match self.form.format {
                Format::Bgr24 => to_bgr(picture, &mut self.bytes),
                Format::Gray => to_grey(picture, &mut self.bytes),
                Format::Yuv420p | Format::Jpeg => {
                    self.bytes.clear();
                    self.bytes.extend_from_slice(picture.as_bytes());
                }
            }
        }
        Ok(Header {
            bytes: self.bytes.len(),
            width,
            height,
            format: self.form.format.word(),
            captured: shot.captured.to_rfc3339(),
            captured_us: shot.captured.unix_micros(),
            clock: shot.clock,
            index,
            dropped,
        })
    }
}

impl Header {
    /// The line, with its end.
    pub fn line(&self) -> String {
        let mut line = serde_json::to_string(self).unwrap_or_default();
        line.push('\n');
        line
    }

    /// What commands are told by their environment.
    pub fn variables(&self) -> Vec<(&'static str, String)> {
        vec![
            ("FRAME_TIME", self.captured.clone()),
            ("FRAME_TIME_US", self.captured_us.to_string()),
            ("FRAME_CLOCK", self.clock.to_string()),
            ("FRAME_INDEX", self.index.to_string()),
            ("FRAME_WIDTH", self.width.to_string()),
            ("FRAME_HEIGHT", self.height.to_string()),
            ("FRAME_FORMAT", self.format.to_owned()),
        ]
    }
}

/// `frame_20261123_040506_123.jpg`: local time of the capture; raw pictures tell their size, `frame_20261123_040506_123_640x480.bgr24`.
pub fn file_name(header: &Header, format: Format, zone: &jiff::tz::TimeZone) -> String {
    let at = jiff::Timestamp::from_microsecond(header.captured_us).unwrap_or_default();
    let local = zone.to_datetime(at);
    let mut name = format!(
        "frame_{:04}{:02}{:02}_{:02}{:02}{:02}_{:03}",
        local.year(),
        local.month(),
        local.day(),
        local.hour(),
        local.minute(),
        local.second(),
        local.millisecond()
    );
    if format != Format::Jpeg {
        // Into a string nothing fails.
        let _ = write!(name, "_{}x{}", header.width, header.height);
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shot(width: u32, height: u32) -> Shot {
        Shot {
            picture: Picture::black(width, height).unwrap(),
            captured: WallTime::from_utc((2026, 11, 23), (4, 5, 6))
                .unwrap()
                .offset_micros(123_456),
            clock: ClockWord::Camera,
        }
    }

    fn maker(format: Format, max_width: Option<u16>, keeps_size: bool) -> Maker {
        let shape = Shape { max_width, quality: 80 };
        Maker::new(Form { format, shape }, keeps_size)
    }

    #[test]
    fn each_format_has_the_bytes_that_it_promises() {
        for format in [Format::Bgr24, Format::Gray, Format::Yuv420p] {
            let mut maker = maker(format, Some(160), false);
            let header = maker.make(&shot(640, 480), 7, 3).unwrap();
            assert_eq!((header.width, header.height), (160, 120));
            assert_eq!(header.bytes, maker.bytes.len());
            assert_eq!(format.frame_bytes(160, 120), Some(header.bytes as u64), "{format:?}");
        }
        let mut maker = maker(Format::Jpeg, None, true);
        let header = maker.make(&shot(640, 480), 0, 0).unwrap();
        assert!(maker.bytes.starts_with(&[0xff, 0xd8, 0xff]) && maker.bytes.ends_with(&[0xff, 0xd9]));
        assert_eq!(
            (header.width, header.height, header.bytes),
            (640, 480, maker.bytes.len())
        );
    }

    #[test]
    fn without_a_header_all_have_the_size_of_the_first() {
        let mut kept = maker(Format::Gray, None, true);
        let mut free = maker(Format::Gray, None, false);
        for (width, height) in [(64, 48), (320, 240), (32, 32)] {
            let header = kept.make(&shot(width, height), 0, 0).unwrap();
            assert_eq!((header.width, header.height, kept.bytes.len()), (64, 48, 64 * 48));
            let header = free.make(&shot(width, height), 0, 0).unwrap();
            assert_eq!((header.width, header.height), (width, height));
        }
    }

    #[test]
    fn the_line_and_the_name_tell_the_time() {
        let mut maker = maker(Format::Gray, None, false);
        let header = maker.make(&shot(16, 16), 2, 1).unwrap();
        assert_eq!(
            header.line(),
            "{\"bytes\":256,\"width\":16,\"height\":16,\"format\":\"gray\",\"captured\":\"2026-11-23T04:05:06.123Z\",\"captured_us\":1795406706123456,\"clock\":\"camera\",\"index\":2,\"dropped\":1}\n"
        );
        let zone = jiff::tz::TimeZone::fixed(jiff::tz::offset(-5));
        assert_eq!(
            file_name(&header, Format::Gray, &zone),
            "frame_20261122_230506_123_16x16"
        );
        assert_eq!(file_name(&header, Format::Jpeg, &zone), "frame_20261122_230506_123");
    }
}
