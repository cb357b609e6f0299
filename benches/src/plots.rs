//! Line plots by number of parties, as SVG.

use std::{ops::Range, path::Path};

use anyhow::Result;
use plotters::{
    coord::{Shift, types::RangedCoordf64},
    prelude::*,
};

/// A line: its name, and its points by number of parties.
pub type Line<'a> = (&'a str, Vec<(f64, f64)>);

/// A part of the picture: what stands above it, and its lines. Those of one place in the list have
/// one name and colour in all parts.
pub type Panel<'a> = (String, Vec<Line<'a>>);

const COLOURS: [RGBColor; 5] = [
    RGBColor(0xC0, 0x39, 0x2B),
    RGBColor(0x29, 0x80, 0xB9),
    RGBColor(0x8E, 0x44, 0xAD),
    RGBColor(0x27, 0xAE, 0x60),
    RGBColor(0x7F, 0x8C, 0x8D),
];

const PANEL: (u32, u32) = (560, 380);
const HEAD: u32 = 56;

/// Writes a picture of panels side by side, over the same axes, which are logarithmic.
///
/// # Errors
///
/// If the file cannot be written.
pub fn write(path: &Path, title: &str, panels: &[Panel]) -> Result<()> {
    let points = || {
        panels
            .iter()
            .flat_map(|(_, lines)| lines)
            .flat_map(|(_, points)| points)
    };
    let bounds = |of: fn(&(f64, f64)) -> f64| {
        let values = || points().map(of);
        values().fold(f64::MAX, f64::min)..values().fold(f64::MIN, f64::max)
    };
    let (x, y) = (bounds(|point| point.0), bounds(|point| point.1));
    let (x, y) = (x.start / 1.2..x.end * 1.2, y.start / 1.15..y.end * 1.15);

    let size = (PANEL.0 * panels.len() as u32, PANEL.1 + HEAD);
    let area = SVGBackend::new(path, size).into_drawing_area();
    area.fill(&WHITE)?;
    let (head, body) = area.split_vertically(HEAD);
    head.draw(&Text::new(title.to_owned(), (16, 10), ("sans-serif", 17)))?;
    if let Some((_, lines)) = panels.first() {
        legend(&head, lines)?;
    }
    for (area, (name, lines)) in body.split_evenly((1, panels.len())).iter().zip(panels) {
        panel(area, name, lines, &x, &y)?;
    }
    area.present()?;
    Ok(())
}

/// The names of the lines, where no line is.
fn legend(area: &DrawingArea<SVGBackend, Shift>, lines: &[Line]) -> Result<()> {
    let mut left = 16;
    for ((name, _), colour) in lines.iter().zip(COLOURS) {
        let style = colour.stroke_width(2);
        area.draw(&PathElement::new([(left, 44), (left + 22, 44)], style))?;
        area.draw(&Text::new(
            name.to_string(),
            (left + 28, 37),
            ("sans-serif", 14),
        ))?;
        left += 48 + 8 * name.len() as i32;
    }
    Ok(())
}

fn panel(
    area: &DrawingArea<SVGBackend, Shift>,
    name: &str,
    lines: &[Line],
    x: &Range<f64>,
    y: &Range<f64>,
) -> Result<()> {
    // The axes are linear in the logarithm, for ticks of one's own.
    let logarithms = |range: &Range<f64>| range.start.ln()..range.end.ln();
    let mut chart = ChartBuilder::on(area)
        .caption(name, ("sans-serif", 14))
        .margin(8)
        .margin_right(20)
        .x_label_area_size(40)
        .y_label_area_size(56)
        .build_cartesian_2d(logarithms(x), logarithms(y))?;
    chart
        .configure_mesh()
        .disable_mesh()
        .x_labels(0)
        .y_labels(0)
        .x_desc("parties")
        .y_desc("ns per task and generation")
        .draw()?;
    ticks(area, &chart.as_coord_spec().clone(), x, y)?;
    for ((_, points), colour) in lines.iter().zip(COLOURS) {
        let points = points.iter().map(|&(x, y)| (x.ln(), y.ln()));
        let style = colour.stroke_width(2);
        chart.draw_series(LineSeries::new(points.clone(), style))?;
        chart.draw_series(points.map(|point| Circle::new(point, 2, colour.filled())))?;
    }
    Ok(())
}

type Axes = Cartesian2d<RangedCoordf64, RangedCoordf64>;

/// A tick with a number at 1, 2 and 5 of each power of ten, or at each power where there are many.
fn ticks(
    area: &DrawingArea<SVGBackend, Shift>,
    axes: &Axes,
    x: &Range<f64>,
    y: &Range<f64>,
) -> Result<()> {
    let (left, top) = area.get_base_pixel();
    let at = |x: f64, y: f64| {
        let (x, y) = axes.translate(&(x.ln(), y.ln()));
        (x - left, y - top)
    };
    let line = RGBColor(0xDD, 0xDD, 0xDD);
    let font = ("sans-serif", 12).into_text_style(area);
    use plotters::style::text_anchor::{HPos, Pos, VPos};
    for n in numbers(x) {
        let (low, high) = (at(n, y.start), at(n, y.end));
        area.draw(&PathElement::new([low, high], line))?;
        let style = font.pos(Pos::new(HPos::Center, VPos::Top));
        area.draw_text(&format!("{n}"), &style, (low.0, low.1 + 5))?;
    }
    for n in numbers(y) {
        let (low, high) = (at(x.start, n), at(x.end, n));
        area.draw(&PathElement::new([low, high], line))?;
        let style = font.pos(Pos::new(HPos::Right, VPos::Center));
        area.draw_text(&format!("{n}"), &style, (low.0 - 5, low.1))?;
    }
    Ok(())
}

fn numbers(range: &Range<f64>) -> Vec<f64> {
    let steps: &[f64] = if range.end / range.start > 1000.0 {
        &[1.0]
    } else {
        &[1.0, 2.0, 5.0]
    };
    let powers = (0..9).map(|power| 10_f64.powi(power));
    let numbers = powers.flat_map(|power| steps.iter().map(move |step| step * power));
    numbers.filter(|number| range.contains(number)).collect()
}
