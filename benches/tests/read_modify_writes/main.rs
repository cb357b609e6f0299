//! Counts the atomic read-modify-writes of each operation, of this crate and of its peers, and holds the
//! tables in `docs/performance.md` true.
//!
//! The program steps through each of them, instruction by instruction: what counts is what has a `lock`
//! prefix, or is an `xchg` with memory. The wakers do none, so the clones of wakers and the wakes
//! themselves are not in the counts.

use anyhow::Result;

/// What makes the tables anew.
const COMMAND: &str = "UPDATE_TABLES=1 cargo test --test read_modify_writes";

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod count;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod operations;

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
fn main() -> Result<()> {
    use std::{env, fs};

    use anyhow::{Context, ensure};
    use operations::TABLES;

    if let Err(error) = count::install() {
        println!("SKIPPED  read-modify-writes are not counted: {error:#}");
        return Ok(());
    }

    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/performance.md");
    let mut page = fs::read_to_string(path).with_context(|| format!("cannot read {path}"))?;
    let update = env::var_os("UPDATE_TABLES").is_some();
    for table in TABLES {
        let counted = table.count();
        println!("{counted}");
        let begin = format!(
            "<!-- {} read-modify-writes, made by `{COMMAND}` -->\n\n",
            table.name
        );
        let (before, rest) = page
            .split_once(&begin)
            .with_context(|| format!("{path} has no line `{}`", begin.trim()))?;
        let (there, after) = rest
            .split_once("\n\n")
            .with_context(|| format!("{path}: the {} table has no end", table.name))?;
        ensure!(
            update || there == counted.trim_end(),
            "docs/performance.md has other {} counts: run `{COMMAND}`",
            table.name
        );
        page = format!("{before}{begin}{counted}\n{after}");
    }
    if update {
        fs::write(path, page).with_context(|| format!("cannot write {path}"))?;
    }
    Ok(())
}

#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
fn main() -> Result<()> {
    println!("SKIPPED  read-modify-writes are counted on x86-64 Linux: {COMMAND} does nothing");
    Ok(())
}
