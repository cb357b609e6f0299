//! The plane: Conway's rule on rows of 64-cell words, in two grids that take turns.

use std::{
    iter, mem,
    ops::Range,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use anyhow::{Result, ensure};

use crate::rle::Pattern;

/// One grid has generation g, the other takes g + 1. One band writes each row of that, and no band reads it
/// before the next generation.
///
/// `Relaxed:` the barrier orders what is written in one generation before what is read or overwritten in the
/// next.
pub(crate) struct Plane {
    /// In a row, 64 cells each, the leftmost in the lowest bit.
    words: usize,
    /// The rows of the pattern itself.
    seeded: Range<usize>,
    grids: [Grid; 2],
}

struct Grid {
    words: Vec<AtomicU64>,
    /// Which words of each row have live cells: the first, and the one after the last.
    spans: Vec<AtomicU64>,
}

/// How large a plane must be, its margins included.
#[derive(Clone, Copy)]
pub(crate) struct Size {
    words: usize,
    rows: usize,
    /// The empty words to either side of the pattern, and the empty rows above and below.
    beside: usize,
    above: usize,
}

impl Size {
    /// So large that nothing reaches the border: life spreads by at most a cell per generation.
    pub(crate) fn new(pattern: &Pattern, generations: u32) -> Result<Size> {
        const MOST_BYTES: u128 = 1 << 30;

        // Whatever comes alive has a row of neighbours, and a word to both sides of its word.
        let above = u64::from(generations) + 1;
        let beside = u64::from(generations.div_ceil(64)) + 2;
        let rows = 2 * above + u64::from(pattern.height);
        let words = 2 * beside + u64::from(pattern.width.div_ceil(64));
        // Both grids, each with its words and its spans.
        let bytes = 2 * 8 * u128::from(words + 1) * u128::from(rows);
        ensure!(
            bytes <= MOST_BYTES,
            "{} x {} cells that may spread for {generations} generations need {} MiB of memory, \
             more than the {} MiB there are: ask for fewer generations or a smaller pattern",
            pattern.width,
            pattern.height,
            bytes.div_ceil(1 << 20),
            MOST_BYTES >> 20,
        );
        let [words, rows, beside, above] = [words, rows, beside, above].map(|size| size as usize);
        Ok(Size {
            words,
            rows,
            beside,
            above,
        })
    }
}

impl Plane {
    /// Generation 0.
    pub(crate) fn new(pattern: &Pattern, size: Size) -> Plane {
        let plane = Plane {
            words: size.words,
            seeded: size.above..size.rows - size.above,
            grids: [(), ()].map(|()| Grid::new(size.words, size.rows)),
        };
        let [seed, _] = &plane.grids;
        for run in &pattern.runs {
            let row = size.above + run.row as usize;
            let first = size.beside * 64 + run.column as usize;
            for column in first..first + run.cells as usize {
                let word = column / 64;
                seed.row(row, size.words)[word].fetch_or(1 << (column % 64), Relaxed);
                seed.set_span(row, hull(seed.span(row), word..word + 1));
            }
        }
        plane
    }

    /// Writes `rows` of the generation after `generation`.
    pub(crate) fn step(&self, generation: u32, rows: Range<usize>) {
        let [from, to] = self.turn(generation);
        for row in rows {
            let near = (row - 1..=row + 1).map(|row| from.span(row));
            let reach = widened(near.fold(0..0, hull));
            // With what was alive two generations ago, for that is what stands there still.
            let span = hull(reach, to.span(row));
            if span.is_empty() {
                continue;
            }

            let near = [row - 1, row, row + 1].map(|row| from.row(row, self.words));
            let next = to.row(row, self.words);
            // Nothing lives in the first word of the span, nor before it.
            let (mut left, mut middle) = ([0; 3], [0; 3]);
            let mut live = 0..0;
            for word in span {
                let right = near.map(|row| row[word + 1].load(Relaxed));
                let cells = successor(left, middle, right);
                next[word].store(cells, Relaxed);
                if cells != 0 {
                    live = hull(live, word..word + 1);
                }
                (left, middle) = (middle, right);
            }
            to.set_span(row, live);
        }
    }

    /// What is alive in `generation`. Looks everywhere.
    pub(crate) fn census(&self, generation: u32) -> Census {
        let [present, _] = self.turn(generation);
        let words = present.words.iter().map(|word| word.load(Relaxed));
        Census {
            words: self.words,
            live: words.enumerate().filter(|&(_, word)| word != 0).collect(),
        }
    }

    /// The grid that `generation` is in, and the other.
    fn turn(&self, generation: u32) -> [&Grid; 2] {
        let [even, odd] = &self.grids;
        if generation % 2 == 0 {
            [even, odd]
        } else {
            [odd, even]
        }
    }
}

impl Grid {
    fn new(words: usize, rows: usize) -> Grid {
        let dead = |number| iter::repeat_with(AtomicU64::default).take(number).collect();
        Grid {
            words: dead(words * rows),
            spans: dead(rows),
        }
    }

    fn row(&self, row: usize, words: usize) -> &[AtomicU64] {
        &self.words[row * words..][..words]
    }

    fn span(&self, row: usize) -> Range<usize> {
        let span = self.spans[row].load(Relaxed);
        (span >> 32) as usize..(span & u64::from(u32::MAX)) as usize
    }

    fn set_span(&self, row: usize, span: Range<usize>) {
        self.spans[row].store((span.start as u64) << 32 | span.end as u64, Relaxed);
    }
}

/// All the live cells of a generation.
#[derive(PartialEq, Eq)]
pub(crate) struct Census {
    /// In a row of the plane.
    words: usize,
    /// Words of the plane, those with live cells.
    live: Vec<(usize, u64)>,
}

impl Census {
    pub(crate) fn population(&self) -> u64 {
        let cells = self.live.iter().map(|(_, word)| word.count_ones());
        cells.map(u64::from).sum()
    }

    /// Their rows and columns, counted from the corner of the plane.
    pub(crate) fn cells(&self) -> impl Iterator<Item = (usize, usize)> {
        self.live.iter().flat_map(|&(index, word)| {
            let (row, column) = (index / self.words, index % self.words * 64);
            let alive = (0..64).filter(move |bit| word >> bit & 1 == 1);
            alive.map(move |bit| (row, column + bit))
        })
    }
}

/// The rows to go through, from one generation to the next.
///
/// Each task computes them from what the last generation wrote. So all tasks agree on the bands, and the bands
/// stay where the life is.
pub(crate) struct Rows {
    /// Those of the generation before, which are still in the grid to be written.
    before: Range<usize>,
    live: Range<usize>,
}

impl Rows {
    pub(crate) fn new(plane: &Plane) -> Rows {
        Rows {
            before: 0..0,
            live: plane.seeded.clone(),
        }
    }

    /// The share of one band of `bands`.
    pub(crate) fn band(&self, band: usize, bands: usize) -> Range<usize> {
        let all = hull(widened(self.live.clone()), self.before.clone());
        let edge = |band| all.start + all.len() * band / bands;
        edge(band)..edge(band + 1)
    }

    /// Goes on to `generation`, which every band must have been stepped to.
    pub(crate) fn advance(&mut self, plane: &Plane, generation: u32) {
        let [present, _] = plane.turn(generation);
        let mut rows = widened(self.live.clone()).filter(|&row| !present.span(row).is_empty());
        let live = match (rows.next(), rows.next_back()) {
            (Some(first), last) => first..last.unwrap_or(first) + 1,
            (None, _) => 0..0,
        };
        self.before = mem::replace(&mut self.live, live);
    }
}

/// All that either range has, and what is between them.
pub(crate) fn hull(a: Range<usize>, b: Range<usize>) -> Range<usize> {
    if a.is_empty() {
        b
    } else if b.is_empty() {
        a
    } else {
        a.start.min(b.start)..a.end.max(b.end)
    }
}

/// With the neighbours at both ends, if there is anything to have neighbours.
fn widened(range: Range<usize>) -> Range<usize> {
    if range.is_empty() {
        range
    } else {
        range.start - 1..range.end + 1
    }
}

/// The next generation of 64 cells side by side: the middle word of the middle row of three.
///
/// Each cell counts its neighbours in its own bit of some words: `ones` and the four `twos` below
/// are digits of that number, of weight one and two.
fn successor(left: [u64; 3], middle: [u64; 3], right: [u64; 3]) -> u64 {
    let west = |row: usize| middle[row] << 1 | left[row] >> 63;
    let east = |row: usize| middle[row] >> 1 | right[row] << 63;
    let sum = |a: u64, b: u64, c: u64| (a ^ b ^ c, a & b | (a ^ b) & c);

    let (above, twos_0) = sum(west(0), middle[0], east(0));
    let (beside, twos_1) = sum(west(1), 0, east(1));
    let (below, twos_2) = sum(west(2), middle[2], east(2));
    let (ones, twos_3) = sum(above, beside, below);

    // Two or three neighbours: exactly one of the twos.
    let odd = twos_0 ^ twos_1 ^ twos_2 ^ twos_3;
    let pair = twos_0 & twos_1 | twos_2 & twos_3;
    // Three, or alive already.
    odd & !pair & (ones | middle[1])
}
