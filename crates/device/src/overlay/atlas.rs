//! Glyphs of one size and colour, ready to be laid over a picture.

use std::collections::HashMap;

use fontdue::{Font, FontSettings};

use super::Color;
use crate::picture::Picture;

/// Noto Mono; see `assets/README.md` for where it comes from and its licence.
const FONT: &[u8] = include_bytes!("../../assets/NotoMono-Regular.ttf");
/// Luma of the outline.
const DARK: f32 = 20.0;

/// Glyphs as cells of the same, even size, so that a cell's chroma is a bitmap of its own at half the size.
pub(crate) struct Atlas {
    width: usize,
    height: usize,
    glyphs: HashMap<char, Glyph>,
}

/// What covers each pixel: the pixel becomes `pixel * keep / 256 + add`.
struct Glyph {
    luma: Vec<Cover>,
    chroma: Vec<ChromaCover>,
}

#[derive(Clone, Copy)]
struct Cover {
    keep: u16,
    add: u16,
}

#[derive(Clone, Copy)]
struct ChromaCover {
    keep: u16,
    add: [u16; 2],
}

impl Atlas {
    /// Rasterises `characters` in a font of `px` pixels. `None` if the embedded font cannot be read, which a test rules out.
    pub(crate) fn new(px: u32, characters: impl IntoIterator<Item = char>, color: Color) -> Option<Self> {
        let settings = FontSettings {
            scale: px as f32,
            ..FontSettings::default()
        };
        let font = Font::from_bytes(FONT, settings).ok()?;
        let size = px as f32;
        let metrics = font.horizontal_line_metrics(size)?;
        let advance = font.metrics('0', size).advance_width;
        let outline = (px as usize / 18).max(1);
        let width = (advance.round() as usize).next_multiple_of(2).max(2);
        // Capitals reach about 0.72 of the size above the baseline, accents more; the cell begins where ink may begin.
        let baseline = (metrics.ascent.min(0.95 * size)).ceil() as usize + outline;
        let height = (baseline + (-metrics.descent).ceil() as usize + outline).next_multiple_of(2);
        let mut atlas = Self {
            width,
            height,
            glyphs: HashMap::new(),
        };
        let mut inks: Vec<(char, Vec<u8>)> = Vec::new();
        for character in characters {
            inks.push((character, atlas.ink(&font, character, size, baseline)));
        }
        let unused = atlas.unused_rows(&inks, outline);
        atlas.height -= unused;
        for (character, ink) in inks {
            let glyph = atlas.cover(&ink[unused * width..], outline, color);
            atlas.glyphs.insert(character, glyph);
        }
        Some(atlas)
    }

    /// Width and height of a character, in pixels.
    pub(crate) fn cell(&self) -> (i64, i64) {
        (self.width as i64, self.height as i64)
    }

    /// Draws `text` with its upper left corner at `x`, `y` (made even). Characters that do not fit are left out, rows too.
    pub(crate) fn draw(&self, picture: &mut Picture, x: i64, y: i64, text: &str) {
        let fallback = self.glyphs.get(&'?');
        let mut x = x & !1;
        for character in text.chars() {
            let glyph = self.glyphs.get(&character).or(fallback);
            if let (Some(glyph), Ok(left)) = (glyph, usize::try_from(x)) {
                self.blit(picture, glyph, left, y & !1);
            }
            x += self.width as i64;
        }
    }

    fn blit(&self, picture: &mut Picture, glyph: &Glyph, left: usize, top: i64) {
        let (width, height) = (picture.width() as usize, picture.height() as usize);
        if left + self.width > width {
            return;
        }
        let skipped = usize::try_from(-top).unwrap_or(0);
        let top = usize::try_from(top).unwrap_or(0);
        let [luma, u, v] = picture.planes_mut();
        let rows = luma.chunks_exact_mut(width).take(height).skip(top);
        for (row, covers) in rows.zip(glyph.luma.chunks_exact(self.width).skip(skipped)) {
            for (pixel, cover) in row[left..].iter_mut().zip(covers) {
                *pixel = ((u16::from(*pixel) * cover.keep) >> 8) as u8 + cover.add as u8;
            }
        }
        let (width, cell) = (width / 2, self.width / 2);
        for (plane, index) in [(u, 0), (v, 1)] {
            let rows = plane.chunks_exact_mut(width).skip(top / 2);
            for (row, covers) in rows.zip(glyph.chroma.chunks_exact(cell).skip(skipped / 2)) {
                for (pixel, cover) in row[left / 2..].iter_mut().zip(covers) {
                    *pixel = ((u16::from(*pixel) * cover.keep) >> 8) as u8 + cover.add[index] as u8;
                }
            }
        }
    }

    /// Coverage of a character in its cell, 0 to 255.
    fn ink(&self, font: &Font, character: char, size: f32, baseline: usize) -> Vec<u8> {
        let (metrics, bitmap) = font.rasterize(character, size);
        let mut cell = vec![0; self.width * self.height];
        let left = (metrics.xmin.max(0) as usize).min(self.width);
        let top = baseline as i64 - i64::from(metrics.ymin) - metrics.height as i64;
        for (row, source) in (top..).zip(bitmap.chunks_exact(metrics.width.max(1))) {
            let Some(row) = usize::try_from(row).ok().filter(|row| *row < self.height) else {
                continue;
            };
            let target = &mut cell[row * self.width + left..(row + 1) * self.width];
            for (to, from) in target.iter_mut().zip(source) {
                *to = *from;
            }
        }
        cell
    }

    /// Even number of rows at the top that no character needs.
    fn unused_rows(&self, inks: &[(char, Vec<u8>)], outline: usize) -> usize {
        let first = |ink: &Vec<u8>| ink.iter().position(|&coverage| coverage > 0).map(|at| at / self.width);
        let highest = inks.iter().filter_map(|(_, ink)| first(ink)).min().unwrap_or(0);
        highest.saturating_sub(outline) & !1
    }

    fn cover(&self, ink: &[u8], outline: usize, color: Color) -> Glyph {
        let Color([y, u, v]) = color;
        let edge = self.dilated(ink, outline);
        let luma = ink.iter().zip(&edge).map(|(&ink, &edge)| {
            let (ink, edge) = (f32::from(ink) / 255.0, f32::from(edge) / 255.0);
            let keep = (1.0 - ink) * (1.0 - 0.75 * edge);
            let add = f32::from(y) * ink + DARK * (1.0 - ink) * 0.75 * edge;
            Cover {
                keep: (keep * 256.0) as u16,
                add: add as u16,
            }
        });
        let luma = luma.collect();
        let mut chroma = Vec::with_capacity(ink.len() / 4);
        for y in (0..self.height).step_by(2) {
            for x in (0..self.width).step_by(2) {
                let at = y * self.width + x;
                let four = [at, at + 1, at + self.width, at + self.width + 1].map(|at| f32::from(ink[at]) / 255.0);
                // More than the mean of the four: thin strokes would lose their colour to what is around them.
                let mean = four.iter().sum::<f32>() / 4.0;
                let most = four.into_iter().fold(0.0, f32::max);
                let part = 0.25 * mean + 0.75 * most;
                chroma.push(ChromaCover {
                    keep: ((1.0 - part) * 256.0) as u16,
                    add: [u, v].map(|color| (f32::from(color) * part) as u16),
                });
            }
        }
        Glyph { luma, chroma }
    }

    /// The greatest coverage within `reach` pixels: an outline that keeps text readable before any background.
    fn dilated(&self, ink: &[u8], reach: usize) -> Vec<u8> {
        let mut wide = ink.to_vec();
        for (row, source) in wide.chunks_exact_mut(self.width).zip(ink.chunks_exact(self.width)) {
            for (x, to) in row.iter_mut().enumerate() {
                let around = &source[x.saturating_sub(reach)..(x + reach + 1).min(self.width)];
                *to = around.iter().copied().max().unwrap_or(0);
            }
        }
        let mut edge = wide.clone();
        for (at, to) in edge.iter_mut().enumerate() {
            let (x, y) = (at % self.width, at / self.width);
            let rows = y.saturating_sub(reach)..(y + reach + 1).min(self.height);
            *to = rows.map(|y| wide[y * self.width + x]).max().unwrap_or(0);
        }
        edge
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_embedded_font_reads_at_every_size() {
        for px in [12, 13, 20, 45, 90, 341] {
            let atlas = Atlas::new(px, "AÉgЖλ?".chars(), Color::WHITE).unwrap();
            let (width, height) = atlas.cell();
            assert!(width % 2 == 0 && height % 2 == 0 && height > width);
            assert_eq!(atlas.glyphs.len(), 6);
            let inked = |character| {
                atlas.glyphs[&character]
                    .luma
                    .iter()
                    .filter(|cover| cover.add > 200)
                    .count()
            };
            assert!(
                "AÉgЖλ?".chars().all(|character| inked(character) > px as usize / 3),
                "{px}"
            );
        }
    }

    #[test]
    fn covers_never_leave_the_range_of_a_byte() {
        let atlas = Atlas::new(20, ' '..='~', Color([255, 255, 255])).unwrap();
        for glyph in atlas.glyphs.values() {
            assert!(
                glyph
                    .luma
                    .iter()
                    .all(|cover| ((255 * cover.keep) >> 8) + cover.add <= 255)
            );
            let sums = glyph
                .chroma
                .iter()
                .flat_map(|cover| cover.add.map(|add| ((255 * cover.keep) >> 8) + add));
            assert!(sums.into_iter().all(|sum| sum <= 255));
        }
    }

    #[test]
    fn text_is_cut_off_at_every_edge() {
        let atlas = Atlas::new(20, ' '..='~', Color::WHITE).unwrap();
        for (x, y) in [(-5, 4), (4, -9), (60, 60), (1_000, 4), (4, 1_000), (-1_000, -1_000)] {
            let mut picture = Picture::black(64, 64).unwrap();
            atlas.draw(&mut picture, x, y, "WWWWWWWW");
        }
        let mut tiny = Picture::black(16, 16).unwrap();
        atlas.draw(&mut tiny, 0, 0, "WW");
        assert!(tiny.planes()[0].iter().any(|&luma| luma > 200));
    }
}
