//! rusty_h264, and the fences around it.
//!
//! Read before it was trusted: its core is `forbid(unsafe_code)`; the only state of the process it keeps are switches for its authors,
//! read once from `RS_H264_*` environment variables; it starts no thread unless one of them says so. It refuses sizes of its own,
//! but later and larger than we do.

use std::panic::{AssertUnwindSafe, catch_unwind};

use media::annexb;
use rusty_h264_decoder as rusty;

use super::{Error, MAX_MACROBLOCKS};
use crate::last_words;
use crate::picture::Picture;

/// The state of one stream.
#[derive(Default)]
pub(super) struct Rusty(rusty::Decoder);

impl Rusty {
    /// Decodes an access unit. After an error the state is good for nothing and must be dropped.
    pub(super) fn decode(&mut self, annex_b: &[u8], at_us: i64) -> Result<Picture, Error> {
        match fenced(|| self.0.decode(annex_b)) {
            Ok(Ok(Some(frame))) => {
                let size = |pixels: usize| u32::try_from(pixels).unwrap_or(u32::MAX);
                let planes = [&frame.y[..], &frame.u[..], &frame.v[..]];
                Picture::from_planes(size(frame.width), size(frame.height), planes).ok_or_else(|| Error::Picture {
                    at_us,
                    why: format!("{}×{} pixels, at least 16×16 are needed", frame.width, frame.height),
                })
            }
            Ok(Ok(None)) => Err(Error::Incomplete { at_us }),
            Ok(Err(error)) => Err(Error::Picture {
                at_us,
                why: error.to_string(),
            }),
            Err(why) => Err(Error::Panicked { at_us, why }),
        }
    }
}

/// Refuses a sequence parameter set whose pictures would take too much memory, or whose cropping leaves nothing.
pub(super) fn check(sps: &[u8]) -> Result<(), Error> {
    let rbsp: Vec<u8> = annexb::unescaped(sps.get(1..).unwrap_or_default()).collect();
    let read = fenced(|| rusty::Sps::parse(&rbsp)).map_err(Error::Sps)?;
    let sps = read.map_err(|error| Error::Sps(error.to_string()))?;
    let (columns, rows) = (sps.pic_width_in_mbs, sps.pic_height_in_mbs);
    if columns.saturating_mul(rows) > MAX_MACROBLOCKS {
        return Err(Error::Sps(format!(
            "{columns}×{rows} macroblocks; at most {MAX_MACROBLOCKS} are decoded"
        )));
    }
    if sps.max_num_ref_frames > 16 {
        return Err(Error::Sps(format!(
            "{} reference pictures; at most 16 are allowed",
            sps.max_num_ref_frames
        )));
    }
    let crop_x = 2 * (u64::from(sps.frame_crop_left) + u64::from(sps.frame_crop_right));
    let unit_y = if sps.frame_mbs_only { 2 } else { 4 };
    let crop_y = unit_y * (u64::from(sps.frame_crop_top) + u64::from(sps.frame_crop_bottom));
    if crop_x >= 16 * columns as u64 || crop_y >= 16 * rows as u64 {
        return Err(Error::Sps("its cropping leaves no picture".to_owned()));
    }
    Ok(())
}

/// Runs foreign code; the message of a panic instead of the panic. What it worked on must be dropped then, so that nobody sees
/// what was left half done.
fn fenced<T>(run: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(run)).map_err(|panic| last_words::of_panic(&*panic))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_an_error_with_its_message() {
        assert_eq!(fenced(|| 7), Ok(7));
        assert_eq!(fenced::<()>(|| panic!("picture {}", 7)), Err("picture 7".to_owned()));
        assert_eq!(fenced::<()>(|| panic!("plain")), Err("plain".to_owned()));
    }
}
