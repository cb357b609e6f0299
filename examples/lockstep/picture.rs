//! A generation as a PNG: a pixel a cell, live ones white, as much of the plane as there is life.

use std::{
    fs::{File, OpenOptions},
    io::{self, ErrorKind, Write},
    ops::Range,
    path::Path,
};

use anyhow::Result;

use crate::life::Census;

/// Cells left dead on every side.
const MARGIN: usize = 8;

pub(crate) fn encode(census: &Census) -> Result<Vec<u8>> {
    let rows = extent(census.cells().map(|(row, _)| row));
    let columns = extent(census.cells().map(|(_, column)| column));
    let (height, width) = (rows.len() + 2 * MARGIN, columns.len() + 2 * MARGIN);

    let stride = width.div_ceil(8);
    let mut pixels = vec![0; stride * height];
    for (row, column) in census.cells() {
        let (y, x) = (row - rows.start + MARGIN, column - columns.start + MARGIN);
        pixels[y * stride + x / 8] |= 0x80 >> (x % 8);
    }

    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, width.try_into()?, height.try_into()?);
    encoder.set_color(png::ColorType::Grayscale);
    encoder.set_depth(png::BitDepth::One);
    encoder.write_header()?.write_image_data(&pixels)?;
    Ok(file)
}

/// From the least to the greatest.
fn extent(places: impl Iterator<Item = usize>) -> Range<usize> {
    places
        .map(|place| place..place + 1)
        .reduce(|all, place| all.start.min(place.start)..all.end.max(place.end))
        .unwrap_or(0..0)
}

/// Writes a file that appears whole or not at all.
pub(crate) fn save(picture: &[u8], path: &Path) -> io::Result<()> {
    let path = match OpenOptions::new().write(true).open(path) {
        // A device or a pipe is written to, not replaced.
        Ok(mut file) if !file.metadata()?.is_file() => return file.write_all(picture),
        // Nor is a link.
        Ok(_) => path.canonicalize()?,
        Err(error) if error.kind() == ErrorKind::NotFound => path.to_path_buf(),
        Err(error) => return Err(error),
    };
    let folder = match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    let mut file = tempfile::Builder::new().make_in(folder, |path| File::create_new(path))?;
    file.write_all(picture)?;
    file.persist(&path)?;
    Ok(())
}
