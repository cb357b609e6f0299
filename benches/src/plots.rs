//! Line plots by number of parties, as SVG.

use std::path::Path;

use anyhow::Result;
use plotters::prelude::*;

/// A line: its name, and its points by number of parties.
pub type Line<'a> = (&'a str, Vec<(f64, f64)>);

const COLOURS: [RGBColor; 5] = [
    RGBColor(0xC0, 0x39, 0x2B),
    RGBColor(0x29, 0x80, 0xB9),
    RGBColor(0x8E, 0x44, 0xAD),
    RGBColor(0x27, 0xAE, 0x60),
    RGBColor(0x7F, 0x8C, 0x8D),
];

/// Writes one plot, both axes logarithmic.
pub fn write(path: &Path, title: &str, lines: &[Line]) -> Result<()> {
    let points = || lines.iter().flat_map(|(_, points)| points);
    let bounds = |of: fn(&(f64, f64)) -> f64| {
        let values = || points().map(of);
        values().fold(f64::MAX, f64::min)..values().fold(f64::MIN, f64::max)
    };
    let (x, y) = (bounds(|point| point.0), bounds(|point| point.1));

    let area = SVGBackend::new(path, (720, 400)).into_drawing_area();
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&area)
        .caption(title, ("sans-serif", 18))
        .margin(12)
        .x_label_area_size(36)
        .y_label_area_size(56)
        .build_cartesian_2d(x.log_scale(), (y.start * 0.8..y.end * 1.2).log_scale())?;
    chart
        .configure_mesh()
        .x_desc("parties")
        .y_desc("ns per task and generation")
        .x_label_formatter(&|n| format!("{n:.0}"))
        .y_label_formatter(&|ns| format!("{ns:.0}"))
        .light_line_style(TRANSPARENT)
        .draw()?;
    for ((name, points), colour) in lines.iter().zip(COLOURS) {
        let style = colour.stroke_width(2);
        chart
            .draw_series(LineSeries::new(points.iter().copied(), style).point_size(3))?
            .label(*name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], style));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE.mix(0.8))
        .border_style(COLOURS[4])
        .draw()?;
    area.present()?;
    Ok(())
}
