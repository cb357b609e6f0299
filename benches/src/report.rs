//! Tables, which are Markdown as they are printed, and verdicts on targets.

use crate::machine;

/// A table that is printed line by line, as its figures come.
#[derive(Debug)]
pub struct Table {
    widths: Vec<usize>,
}

impl Table {
    /// Prints the title, the machine, and the head. The first column is a row's name, the others
    /// are figures.
    pub fn start(title: &str, notes: &[&str], head: &[&str]) -> Self {
        println!("\n{title}");
        for note in notes {
            println!("  {note}");
        }
        println!("  {}\n", machine::cpu());
        let widths = head.iter().map(|name| match name.chars().count() {
            // Of names.
            0 => 22,
            width => width.max(6),
        });
        let table = Self {
            widths: widths.collect(),
        };
        table.row(head);
        let rule = |(column, width): (usize, &usize)| match column {
            0 => "-".repeat(*width),
            _ => "-".repeat(width - 1) + ":",
        };
        let rules: Vec<_> = table.widths.iter().enumerate().map(rule).collect();
        table.row(&rules);
        table
    }

    /// Prints a row.
    pub fn row(&self, cells: &[impl AsRef<str>]) {
        for (column, (cell, width)) in cells.iter().zip(&self.widths).enumerate() {
            let cell = cell.as_ref();
            match column {
                0 => print!("| {cell:<width$} |"),
                _ => print!(" {cell:>width$} |"),
            }
        }
        println!();
    }
}

/// Prints one line for a target: whether it is met, what it asks for, and what was measured.
pub fn verdict(met: bool, what: &str) {
    println!("{}  {what}", if met { "PASS" } else { "FAIL" });
}

/// Prints the line above verdicts.
pub fn targets() {
    println!("\nTargets ({}):", machine::cpu());
}

/// The geometric mean of some ratios.
pub fn geometric_mean(ratios: impl IntoIterator<Item = f64>) -> f64 {
    let logarithms: Vec<f64> = ratios.into_iter().map(f64::ln).collect();
    (logarithms.iter().sum::<f64>() / logarithms.len() as f64).exp()
}
