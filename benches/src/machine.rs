//! The machine that a figure is from.

use std::{env::consts, fs, thread};

/// The CPU's name, as far as the system tells it, and how many cores of it this process may use.
pub fn cpu() -> String {
    let cores = thread::available_parallelism().map_or(1, |cores| cores.get());
    let name = name().unwrap_or_else(|| format!("{} on {}", consts::ARCH, consts::OS));
    format!("{name}, {cores} core{}", if cores == 1 { "" } else { "s" })
}

/// Linux on x86. Virtual machines often hide the model's name, but not its family.
fn name() -> Option<String> {
    let info = fs::read_to_string("/proc/cpuinfo").ok()?;
    let field = |field: &str| {
        let mut lines = info.lines().filter_map(|line| line.split_once(':'));
        let (_, value) = lines.find(|(name, _)| name.trim() == field)?;
        Some(value.trim())
    };
    Some(format!(
        "{} (family {}, model {})",
        field("model name")?,
        field("cpu family")?,
        field("model")?
    ))
}
