//! Whether a fragment begins with a keyframe, by its own boxes.

/// As much of a fragment is enough, where one of [`crate::fmp4`] begins.
pub(super) const PREFIX_BYTES: usize = 256;

/// `trun` flags (ISO/IEC 14496-12 §8.8.8): which fields stand in front of the flags of the first sample.
const DATA_OFFSET: u32 = 0x1;
const FIRST_SAMPLE_FLAGS: u32 = 0x4;
const DURATION: u32 = 0x100;
const SIZE: u32 = 0x200;
const FLAGS: u32 = 0x400;
/// Of a sample (§8.8.3.1): it is no sync sample.
const IS_NON_SYNC: u32 = 0x1_0000;

/// Whether the first sample of the first track is one that can be decoded by itself. Where that is not said, it is taken for none: then nobody seeks there.
pub(super) fn begins(fragment: &[u8]) -> bool {
    first_sample_flags(fragment).is_some_and(|flags| flags & IS_NON_SYNC == 0)
}

fn first_sample_flags(fragment: &[u8]) -> Option<u32> {
    let run = child(child(child(fragment, b"moof")?, b"traf")?, b"trun")?;
    let word = |at: usize| Some(u32::from_be_bytes(*run.get(at..)?.first_chunk::<4>()?));
    let flags = word(0)?;
    let bytes_where = |bit: u32| if flags & bit > 0 { 4 } else { 0 };
    let samples_at = 8 + bytes_where(DATA_OFFSET);
    if flags & FIRST_SAMPLE_FLAGS > 0 {
        return word(samples_at);
    }
    (flags & FLAGS > 0).then(|| word(samples_at + bytes_where(DURATION) + bytes_where(SIZE)))?
}

/// The content of the first box of this name, as far as it is there.
fn child<'a>(bytes: &'a [u8], name: &[u8; 4]) -> Option<&'a [u8]> {
    let mut rest = bytes;
    loop {
        let (head, content) = rest.split_first_chunk::<8>()?;
        let [a, b, c, d, found @ ..] = *head;
        let length = (u32::from_be_bytes([a, b, c, d]) as usize).checked_sub(8)?;
        if found == *name {
            return Some(content.get(..length).unwrap_or(content));
        }
        rest = content.get(length..)?;
    }
}
