//! What differs from the background, put together: pixels that are near each other are one blob, by union-find in one pass.

/// Pixels that lie together, and what was found of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Blob {
    pub(super) left: usize,
    pub(super) top: usize,
    /// Behind the last.
    pub(super) right: usize,
    /// Behind the last.
    pub(super) bottom: usize,
    pub(super) pixels: usize,
    /// Of them, those that changed in the last pictures.
    moving: usize,
    /// Of them, those where the picture changed in a way that light does not.
    edges: usize,
    /// Together.
    off: u64,
    limits: u64,
}

/// Blobs that are told of: the largest.
pub(super) const MAX_BLOBS: usize = 16;
/// Pixels are together that have one pixel between them at the most: parts of what moves look like what is behind it.
const JOINS: usize = 2;
/// Of a blob's pixels, one in so many has to have changed: what stands or lies there since it came does not.
const MOVING: usize = 16;
/// And so many of them.
const LEAST_MOVING: usize = 3;

impl Blob {
    fn at(x: usize, y: usize) -> Self {
        Self {
            left: x,
            top: y,
            right: x + 1,
            bottom: y + 1,
            pixels: 0,
            moving: 0,
            edges: 0,
            off: 0,
            limits: 0,
        }
    }

    /// Both as one.
    pub(super) fn with(&self, other: &Self) -> Self {
        Self {
            left: self.left.min(other.left),
            top: self.top.min(other.top),
            right: self.right.max(other.right),
            bottom: self.bottom.max(other.bottom),
            pixels: self.pixels + other.pixels,
            moving: self.moving + other.moving,
            edges: self.edges + other.edges,
            off: self.off + other.off,
            limits: self.limits + other.limits,
        }
    }

    /// How far it stands out: 25 is just enough, 100 four times that or more.
    pub(super) fn score(&self) -> u8 {
        let times = 25 * self.off / self.limits.max(1);
        times.clamp(1, 100) as u8
    }

    /// Something that has an outline and moves. A shadow's edge is soft, and noise does not hold together.
    fn is_motion(&self, min_pixels: usize) -> bool {
        let has_outline = self.edges * self.edges >= self.pixels;
        let moves = self.moving >= LEAST_MOVING && self.moving * MOVING >= self.pixels;
        self.pixels >= min_pixels && has_outline && moves
    }
}

/// Finds blobs. What it needs for that it keeps.
pub(super) struct Finder {
    width: usize,
    /// Of each pixel, 0 where nothing differs.
    labels: Vec<u16>,
    /// Of each label a lower one that it is the same as, or itself.
    parents: Vec<u16>,
    /// By label; only those of labels that are their own parents count.
    found: Vec<Blob>,
    chosen: Vec<bool>,
    blobs: Vec<Blob>,
}

impl Finder {
    pub(super) fn new(width: usize, height: usize) -> Self {
        Self {
            width,
            labels: vec![0; width * height],
            parents: Vec::new(),
            found: Vec::new(),
            chosen: Vec::new(),
            blobs: Vec::new(),
        }
    }

    /// Gives each pixel that differs the label of its blob.
    pub(super) fn label(&mut self, differs: &[u8]) {
        self.parents.clear();
        self.found.clear();
        self.parents.push(0);
        self.found.push(Blob::at(0, 0));
        self.labels.fill(0);
        let differing = differs.iter().enumerate().filter(|(_, differs)| **differs != 0);
        for (at, _) in differing {
            let (x, y) = (at % self.width, at / self.width);
            let mut label = 0;
            for dy in 0..=JOINS.min(y) {
                let row = at - dy * self.width;
                let left = row - x.min(JOINS);
                let right = if dy == 0 {
                    row
                } else {
                    row + JOINS.min(self.width - 1 - x) + 1
                };
                for near in left..right {
                    label = self.join(label, self.labels.get(near).copied().unwrap_or(0));
                }
            }
            if label == 0 {
                // No more than a quarter of the pixels.
                label = self.parents.len() as u16;
                self.parents.push(label);
                self.found.push(Blob::at(x, y));
            }
            if let Some(to) = self.labels.get_mut(at) {
                *to = label;
            }
        }
        for label in 0..self.parents.len() {
            let root = self.root(label as u16);
            if let Some(parent) = self.parents.get_mut(label) {
                *parent = root;
            }
        }
    }

    /// Makes one of two, of which either may be none.
    fn join(&mut self, one: u16, other: u16) -> u16 {
        if one == other || other == 0 {
            return one;
        }
        let other = self.root(other);
        if one == 0 {
            return other;
        }
        let one = self.root(one);
        let (lower, higher) = (one.min(other), one.max(other));
        if let Some(parent) = self.parents.get_mut(usize::from(higher)) {
            *parent = lower;
        }
        lower
    }

    fn root(&mut self, mut label: u16) -> u16 {
        loop {
            let parent = self.parent(label);
            if parent == label {
                return label;
            }
            // The way is half as long for the next.
            let above = self.parent(parent);
            if let Some(parent) = self.parents.get_mut(usize::from(label)) {
                *parent = above;
            }
            label = above;
        }
    }

    fn parent(&self, label: u16) -> u16 {
        self.parents.get(usize::from(label)).copied().unwrap_or(0)
    }

    /// A pixel that has a label: whether it changed and lies at an edge, by how much it is off and how much it needed.
    pub(super) fn count(&mut self, at: usize, moves: bool, is_edge: bool, (off, limit): (i32, i32)) {
        let label = self.labels.get(at).copied().unwrap_or(0);
        let (x, y) = (at % self.width, at / self.width);
        let root = self.parent(label);
        let Some(blob) = self.found.get_mut(usize::from(root)) else {
            return;
        };
        (blob.left, blob.right) = (blob.left.min(x), blob.right.max(x + 1));
        (blob.top, blob.bottom) = (blob.top.min(y), blob.bottom.max(y + 1));
        blob.pixels += 1;
        blob.moving += usize::from(moves);
        blob.edges += usize::from(is_edge);
        blob.off += u64::from(off.unsigned_abs());
        blob.limits += u64::from(limit.unsigned_abs());
    }

    /// Decides which of them are motion.
    pub(super) fn choose(&mut self, min_pixels: usize) {
        self.chosen.clear();
        self.chosen
            .extend(self.found.iter().map(|blob| blob.is_motion(min_pixels)));
        let chosen = self.found.iter().zip(&self.chosen).filter(|(_, chosen)| **chosen);
        self.blobs.clear();
        self.blobs.extend(chosen.map(|(blob, _)| *blob));
        self.blobs.sort_unstable_by_key(|blob| std::cmp::Reverse(blob.pixels));
        self.blobs.truncate(MAX_BLOBS);
    }

    /// Whether a pixel is of something that moves.
    pub(super) fn is_chosen(&self, at: usize) -> bool {
        let label = self.labels.get(at).copied().unwrap_or(0);
        label != 0 && self.chosen.get(usize::from(self.parent(label))) == Some(&true)
    }

    /// What moves, the largest first.
    pub(super) fn blobs(&self) -> &[Blob] {
        &self.blobs
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn found(width: usize, rows: &[&str]) -> Vec<(usize, usize, usize, usize, usize)> {
        let differs: Vec<u8> = rows.concat().bytes().map(|byte| u8::from(byte == b'#')).collect();
        let mut finder = Finder::new(width, rows.len());
        finder.label(&differs);
        for at in (0..differs.len()).filter(|at| differs[*at] == 1) {
            finder.count(at, true, true, (100, 50));
        }
        finder.choose(1);
        let told = |blob: &Blob| (blob.left, blob.top, blob.right, blob.bottom, blob.pixels);
        finder.blobs().iter().map(told).collect()
    }

    #[test]
    fn what_lies_together_is_one() {
        let rows = [
            "#.#.....", // The first two have one pixel between them.
            "..#.....", ".......#", "......#.", "#.....##", "##......",
        ];
        assert_eq!(found(8, &rows), [(6, 2, 8, 5, 4), (0, 0, 3, 2, 3), (0, 4, 2, 6, 3)]);
        // Two arms that meet only at the bottom.
        let rows = ["#.....#", "#.....#", "#.....#", "#######"];
        assert_eq!(found(7, &rows), [(0, 0, 7, 4, 13)]);
    }

    #[test]
    fn a_score_is_how_far_it_stands_out() {
        let mut blob = Blob::at(0, 0);
        assert_eq!(blob.score(), 1);
        (blob.off, blob.limits) = (100, 50);
        assert_eq!(blob.score(), 50);
        blob.off = 1_000;
        assert_eq!(blob.score(), 100);
    }

    #[test]
    fn no_more_are_told_of_than_the_limit() {
        let row = "##....".repeat(20);
        let empty = ".".repeat(row.len());
        let rows = [row.as_str(), row.as_str(), &empty, &empty, &row, &row];
        assert_eq!(found(row.len(), &rows).len(), MAX_BLOBS);
    }

    proptest! {
        /// Against filling from each pixel on.
        #[test]
        fn labels_are_those_of_flooding(width in 1_usize..20, bits in proptest::collection::vec(0_u8..2, 1..300)) {
            let height = bits.len() / width;
            prop_assume!(height > 0);
            let differs = &bits[..width * height];
            let mut finder = Finder::new(width, height);
            finder.label(differs);
            let mut flooded = vec![0; differs.len()];
            for start in 0..differs.len() {
                if differs[start] == 0 || flooded[start] != 0 {
                    continue;
                }
                let mut open = vec![start];
                while let Some(at) = open.pop() {
                    if flooded[at] != 0 {
                        continue;
                    }
                    flooded[at] = start + 1;
                    let near = |other: &usize| {
                        let apart = |one: usize, other: usize| one.abs_diff(other) <= JOINS;
                        differs[*other] == 1 && apart(at % width, other % width) && apart(at / width, other / width)
                    };
                    open.extend((0..differs.len()).filter(near));
                }
            }
            for one in 0..differs.len() {
                for other in 0..one {
                    let same = |labels: [usize; 2]| labels[0] == labels[1];
                    let ours = [one, other].map(|at| usize::from(finder.parent(finder.labels[at])));
                    prop_assert_eq!(same(ours), same([flooded[one], flooded[other]]));
                }
            }
        }
    }
}
