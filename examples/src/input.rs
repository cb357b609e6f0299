//! Input: files, standard input, and the text that is built in.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};

use anyhow::{Context, Result, anyhow, ensure};

use crate::Place;

const BUILT_IN: &str = include_str!("../texts/gettysburg.txt");

/// The most that is read.
const MOST_MIB: u64 = 256;

/// A file that was read.
#[derive(Debug)]
pub struct Input {
    /// Its name in messages.
    pub name: String,
    /// Its content.
    pub bytes: Vec<u8>,
    /// Where it is, if it has a place.
    pub place: Option<Place>,
}

impl Input {
    /// Something that is built in.
    pub fn built_in(name: &str, bytes: &[u8]) -> Input {
        Input {
            name: name.to_string(),
            bytes: bytes.to_vec(),
            place: None,
        }
    }

    /// Reads the file at `path` to its end.
    pub fn read(path: &Path) -> Result<Input> {
        let name = shown(path);
        let file = File::open(path).with_context(|| format!("cannot read {name}"))?;
        let place = Place::of_stream(&file);
        read(name, file, place)
    }

    fn standard() -> Result<Input> {
        let place = Place::of_stream(io::stdin());
        read("standard input".to_string(), io::stdin(), place)
    }
}

fn read(name: String, from: impl Read, place: Option<Place>) -> Result<Input> {
    let mut bytes = Vec::new();
    let most = MOST_MIB << 20;
    from.take(most + 1)
        .read_to_end(&mut bytes)
        .with_context(|| format!("cannot read {name}"))?;
    ensure!(
        bytes.len() as u64 <= most,
        "cannot read {name}: it has more than {MOST_MIB} MiB"
    );
    Ok(Input { name, bytes, place })
}

/// A text that was read.
#[derive(Debug)]
pub struct Text {
    /// Its name in messages.
    pub name: String,
    /// Its lines, at least one.
    pub lines: Vec<String>,
    /// Where it is, if it has a place.
    pub place: Option<Place>,
}

impl Text {
    /// Reads the file at `path`, or standard input for `-`. Without a path it is the text that is built in.
    pub fn read(path: Option<&Path>) -> Result<Text> {
        let Input { name, bytes, place } = match path {
            None => Input::built_in("the Gettysburg Address", BUILT_IN.as_bytes()),
            Some(path) if path == Path::new("-") => Input::standard()?,
            Some(path) => Input::read(path)?,
        };
        let text = String::from_utf8(bytes).map_err(|error| {
            let (good, bad) = error.as_bytes().split_at(error.utf8_error().valid_up_to());
            let line = 1 + good.iter().filter(|&&byte| byte == b'\n').count();
            anyhow!(
                "{name}: line {line}: expected UTF-8, found the byte 0x{:02x}",
                bad[0]
            )
        })?;
        let lines: Vec<String> = text.lines().map(str::to_string).collect();
        ensure!(!lines.is_empty(), "{name}: expected a text, found nothing");
        Ok(Text { name, lines, place })
    }
}

/// The words of a line, in lower case: what stands between spaces, without the punctuation around it.
pub fn words(line: &str) -> impl Iterator<Item = String> {
    line.split_whitespace()
        .map(|word| word.trim_matches(|char: char| !char.is_alphanumeric()))
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
}

/// A path as messages name it: quoted if it is empty or has control characters.
pub fn shown(path: &Path) -> String {
    let name = path.display().to_string();
    if name.is_empty() || name.contains(char::is_control) {
        format!("{path:?}")
    } else {
        name
    }
}
