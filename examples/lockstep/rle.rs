//! Patterns of Conway's Life in the run length encoded format, RLE, that they are published in.

use std::fmt;

/// The live cells of a file, in runs: as small as the file was, whatever size it declares.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Pattern {
    pub(crate) name: Option<String>,
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) runs: Vec<Run>,
}

/// Live cells side by side, counted from the upper left corner.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) row: u32,
    pub(crate) column: u32,
    pub(crate) cells: u32,
}

/// What was expected, in which line from 1, and what stands there.
#[derive(Debug)]
pub(crate) struct Error {
    line: usize,
    expected: String,
    found: String,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            line,
            expected,
            found,
        } = self;
        write!(f, "line {line}: expected {expected}, found {found}")
    }
}

impl std::error::Error for Error {}

/// What was expected, and what was found.
type Mismatch = (String, String);

const HEADER: &str = "a header like `x = 3, y = 3, rule = B3/S23`";

/// Reads `#` lines, a header, and items up to the `!`. What comes after that is comment.
///
/// In bytes, because the comments of old files are in any encoding.
pub(crate) fn parse(file: &[u8]) -> Result<Pattern, Error> {
    let in_line = |line| {
        move |(expected, found)| Error {
            line,
            expected,
            found,
        }
    };
    let mut lines = (1..).zip(file.split(|&byte| byte == b'\n').map(<[u8]>::trim_ascii));

    let mut name = None;
    let mut pattern = loop {
        let Some((line, text)) = lines.next() else {
            return Err(cut_short(file, HEADER));
        };
        match text {
            [] => {}
            [b'#', b'N', text @ ..] => name = printable(text),
            [b'#', b'r', text @ ..] => rule(text.trim_ascii()).map_err(in_line(line))?,
            [b'#', ..] => {}
            text => {
                let (width, height) = header(text).map_err(in_line(line))?;
                break Pattern {
                    name,
                    width,
                    height,
                    runs: Vec::new(),
                };
            }
        }
    };

    let mut cursor = Cursor { row: 0, column: 0 };
    for (line, text) in lines {
        let mut rest = text;
        while !rest.is_empty() {
            let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
            let (item, after) = rest.split_at(rest.len().min(digits + 1));
            if item == b"!" {
                return Ok(pattern);
            }
            cursor.follow(item, &mut pattern).map_err(in_line(line))?;
            rest = after.trim_ascii_start();
        }
    }
    Err(cut_short(file, "`!`, which closes the pattern"))
}

/// The error of a file that ends too early: at its last line.
fn cut_short(file: &[u8], expected: &str) -> Error {
    Error {
        line: file.trim_ascii_end().split(|&byte| byte == b'\n').count(),
        expected: expected.to_string(),
        found: if file.is_empty() {
            "an empty file".to_string()
        } else {
            "the end of the file".to_string()
        },
    }
}

/// `x = 3, y = 3, rule = B3/S23`, where the rule may be missing.
fn header(line: &[u8]) -> Result<(u32, u32), Mismatch> {
    let mismatch = |expected: &str| (expected.to_string(), quoted(line));
    let text = std::str::from_utf8(line).map_err(|_| mismatch(HEADER))?;
    let mut fields = text.splitn(3, ',').map(|field| {
        let (key, value) = field.split_once('=')?;
        Some((key.trim(), value.trim()))
    });
    let (Some(Some(("x", width))), Some(Some(("y", height)))) = (fields.next(), fields.next())
    else {
        return Err(mismatch(HEADER));
    };
    let size = |text: &str| {
        let expected = format!("a width and a height of up to {}", u32::MAX);
        text.parse().map_err(|_| mismatch(&expected))
    };
    let size = (size(width)?, size(height)?);
    match fields.next() {
        None => Ok(size),
        Some(Some(("rule", text))) => rule(text.as_bytes()).map(|()| size),
        Some(_) => Err(mismatch(HEADER)),
    }
}

fn rule(text: &[u8]) -> Result<(), Mismatch> {
    // The last is how older programs write it: survivals, then births.
    let conways: [&[u8]; 3] = [b"B3/S23", b"S23/B3", b"23/3"];
    if conways.iter().any(|name| name.eq_ignore_ascii_case(text)) {
        Ok(())
    } else {
        Err(("Conway's rule, B3/S23".to_string(), quoted(text)))
    }
}

/// Where the next item starts.
struct Cursor {
    row: u32,
    column: u32,
}

impl Cursor {
    /// An item is a count, or none for 1, and what there is so many of.
    fn follow(&mut self, item: &[u8], pattern: &mut Pattern) -> Result<(), Mismatch> {
        let mismatch = |expected: &str| (expected.to_string(), quoted(item));
        let (tag, count) = match item {
            [count @ .., tag @ (b'b' | b'o' | b'$')] => (*tag, count),
            [_] if !item[0].is_ascii_digit() => {
                return Err(mismatch("`b`, `o`, `$`, `!` or a count"));
            }
            _ => return Err(mismatch("`b`, `o` or `$` after a count")),
        };
        let count = match count {
            [] => 1,
            // A number that is out of bounds is too large for any pattern, whatever it is exactly.
            digits => digits.iter().fold(0u32, |number, digit| {
                number
                    .saturating_mul(10)
                    .saturating_add(u32::from(digit - b'0'))
            }),
        };
        if count == 0 {
            return Err(mismatch("a count from 1"));
        }

        // A row may be ended where no other follows.
        let (at, end, number, unit) = match tag {
            b'$' => (self.row, pattern.height, count, "rows"),
            _ if self.row == pattern.height => (self.row, pattern.height, 1, "rows"),
            _ => (self.column, pattern.width, count, "cells in a row"),
        };
        if number > end - at {
            return Err((
                format!("{end} {unit} at most, as the header says"),
                format!("{} after the first {at}", quoted(item)),
            ));
        }

        if tag == b'$' {
            self.row += count;
            self.column = 0;
            return Ok(());
        }
        if tag == b'o' {
            pattern.runs.push(Run {
                row: self.row,
                column: self.column,
                cells: count,
            });
        }
        self.column += count;
        Ok(())
    }
}

/// The text of a comment without what could upset a terminal, if anything is left.
fn printable(text: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(text.trim_ascii());
    let text: String = text.chars().filter(|c| !c.is_control()).collect();
    (!text.is_empty()).then_some(text)
}

/// A piece of the file, fit for a terminal: short, and without control characters.
fn quoted(text: &[u8]) -> String {
    const LONGEST: usize = 40;
    if text.len() > LONGEST {
        format!("`{}...`", text[..LONGEST].escape_ascii())
    } else {
        format!("`{}`", text.escape_ascii())
    }
}
