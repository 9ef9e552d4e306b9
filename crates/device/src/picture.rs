//! Raw pictures in planar 4:2:0, the one format between capture, overlay, encoder and decoder.
//!
//! Belongs here: the picture type and its planes. Does not belong here: conversions from what a camera delivers (those are
//! with their source) and drawing ([`crate::overlay`]).

/// A picture in planar YUV 4:2:0 (I420), 8 bits, BT.601 limited range. Planes are tightly packed (stride = plane width); sizes
/// are even.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    width: u32,
    height: u32,
    data: Vec<u8>,
}

/// Largest picture we handle: 8K. A peer's or camera's claim beyond it is refused before memory is taken.
pub const MAX_DIMENSION: u32 = 8192;

impl Picture {
    /// A black picture. `None` unless both sizes are even and between 16 and [`MAX_DIMENSION`].
    pub fn black(width: u32, height: u32) -> Option<Self> {
        let valid = |n: u32| (16..=MAX_DIMENSION).contains(&n) && n.is_multiple_of(2);
        if !valid(width) || !valid(height) {
            return None;
        }
        let luma = width as usize * height as usize;
        let mut data = vec![16; luma + luma / 2];
        data[luma..].fill(128);
        Some(Self { width, height, data })
    }

    /// Pixels per row.
    pub fn width(&self) -> u32 {
        self.width
    }

    /// Rows.
    pub fn height(&self) -> u32 {
        self.height
    }

    /// All three planes in order, as raw I420 files hold them.
    pub fn as_bytes(&self) -> &[u8] {
        &self.data
    }

    /// The planes Y, U, V.
    pub fn planes(&self) -> [&[u8]; 3] {
        let luma = self.width as usize * self.height as usize;
        let (y, chroma) = self.data.split_at(luma);
        let (u, v) = chroma.split_at(luma / 4);
        [y, u, v]
    }

    /// The planes Y, U, V, to draw into.
    pub fn planes_mut(&mut self) -> [&mut [u8]; 3] {
        let luma = self.width as usize * self.height as usize;
        let (y, chroma) = self.data.split_at_mut(luma);
        let (u, v) = chroma.split_at_mut(luma / 4);
        [y, u, v]
    }
}
