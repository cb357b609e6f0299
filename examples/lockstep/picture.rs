//! A generation as a PNG, and a whole run as a GIF: as much of the plane as there is life.

use std::{borrow::Cow, ops::Range};

use anyhow::Result;
use gif::{Frame, Repeat};
use indicatif::ProgressBar;

use crate::{
    life::{Census, hull},
    runs::{Life, progress},
};

/// Cells left dead on every side.
const MARGIN: usize = 8;

/// The part of the plane that is shown, without its margin.
#[derive(Default)]
struct Window {
    rows: Range<usize>,
    columns: Range<usize>,
}

impl Window {
    /// Widens it to all live cells.
    fn widen(&mut self, census: &Census) {
        for (row, column) in census.cells() {
            self.add(row, column);
        }
    }

    fn add(&mut self, row: usize, column: usize) {
        self.rows = hull(self.rows.clone(), row..row + 1);
        self.columns = hull(self.columns.clone(), column..column + 1);
    }

    fn size(&self) -> (usize, usize) {
        (
            self.columns.len() + 2 * MARGIN,
            self.rows.len() + 2 * MARGIN,
        )
    }

    /// The live cells as x and y.
    fn cells(&self, census: &Census) -> impl Iterator<Item = (usize, usize)> {
        let (left, top) = (self.columns.start, self.rows.start);
        let cells = census.cells();
        cells.map(move |(row, column)| (column - left + MARGIN, row - top + MARGIN))
    }
}

/// A pixel for each cell, live ones white.
pub(crate) fn png(census: &Census) -> Result<Vec<u8>> {
    let mut window = Window::default();
    window.widen(census);
    let (width, height) = window.size();

    let stride = width.div_ceil(8);
    let mut pixels = vec![0; stride * height];
    for (x, y) in window.cells(census) {
        pixels[y * stride + x / 8] |= 0x80 >> (x % 8);
    }

    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, width.try_into()?, height.try_into()?);
    encoder.set_color(png::ColorType::Grayscale);
    encoder.set_depth(png::BitDepth::One);
    encoder.write_header()?.write_image_data(&pixels)?;
    Ok(file)
}

/// The most frames that a GIF has, and the most pixels to a side of it.
const FRAMES: u32 = 300;
const SIDE: usize = 480;

/// How long a frame is shown, and how long the last one, in hundredths of a second.
const DELAY: u16 = 5;
const LAST_DELAY: u16 = 200;

/// What a pixel may be: never alive so far, alive before, alive; or not yet drawn.
const DEAD: u8 = 0;
const TRAIL: u8 = 1;
const LIVE: u8 = 2;
const UNDRAWN: u8 = 3;
const PALETTE: [u8; 9] = [13, 17, 23, 35, 62, 105, 255, 255, 255];

/// The run again, twice: to see what there is to show, and to show it.
pub(crate) fn gif(life: &Life, bar: &ProgressBar) -> Result<Vec<u8>> {
    let last = life.generations;
    let stride = last.div_ceil(FRAMES - 1);
    let is_shown = |generation| generation % stride == 0 || generation == last;

    let mut window = Window::default();
    life.sequential(|plane, generation| {
        progress(bar, generation, last);
        if is_shown(generation) {
            window.widen(&plane.census(generation));
        }
    });
    let mut canvas = Canvas::new(&window);

    let mut file = Vec::new();
    let (width, height) = (canvas.width.try_into()?, canvas.height.try_into()?);
    let mut encoder = gif::Encoder::new(&mut file, width, height, &PALETTE)?;
    encoder.set_repeat(Repeat::Infinite)?;
    let mut written = Ok(());
    life.sequential(|plane, generation| {
        progress(bar, generation, last);
        if is_shown(generation) && written.is_ok() {
            let mut frame = canvas.draw(window.cells(&plane.census(generation)));
            frame.delay = if generation == last {
                LAST_DELAY
            } else {
                DELAY
            };
            written = encoder.write_frame(&frame);
        }
    });
    written?;
    drop(encoder);
    Ok(file)
}

/// The pixels of a frame.
struct Canvas {
    /// Large planes have several cells to a pixel, small ones several pixels to a cell.
    cells: usize,
    pixels: usize,
    width: usize,
    height: usize,
    content: Vec<u8>,
}

impl Canvas {
    fn new(window: &Window) -> Canvas {
        let (width, height) = window.size();
        let side = width.max(height);
        let cells = side.div_ceil(SIDE);
        let pixels = (SIDE / side).clamp(1, 8);
        let [width, height] = [width, height].map(|side| (side * pixels).div_ceil(cells));
        Canvas {
            cells,
            pixels,
            width,
            height,
            content: vec![UNDRAWN; width * height],
        }
    }

    /// Draws the next generation, and returns the part that has changed.
    fn draw(&mut self, live: impl Iterator<Item = (usize, usize)>) -> Frame<'static> {
        let before = self.content.clone();
        for pixel in &mut self.content {
            *pixel = match *pixel {
                LIVE | TRAIL => TRAIL,
                _ => DEAD,
            };
        }
        for (x, y) in live {
            let [x, y] = [x, y].map(|place| place * self.pixels / self.cells);
            for y in y..y + self.pixels {
                self.content[y * self.width + x..][..self.pixels].fill(LIVE);
            }
        }

        let mut changed = Window::default();
        for (place, (before, now)) in before.iter().zip(&self.content).enumerate() {
            if before != now {
                changed.add(place / self.width, place % self.width);
            }
        }
        // A frame has a pixel at least.
        if changed.rows.is_empty() {
            changed.add(0, 0);
        }
        let rows = changed.rows.clone();
        let part = rows.flat_map(|y| &self.content[y * self.width..][changed.columns.clone()]);
        Frame {
            left: changed.columns.start as u16,
            top: changed.rows.start as u16,
            width: changed.columns.len() as u16,
            height: changed.rows.len() as u16,
            buffer: Cow::Owned(part.copied().collect()),
            ..Frame::default()
        }
    }
}
