//! The pictures in `docs/`, which the rendered documentation carries with it.
//!
//! A page in the repository shows `word.svg` beside it by the reference `[word]`. The rendered page has
//! no files beside it, so `docs/pictures.md`, which comes first there, defines the same reference as the
//! picture itself.

use std::{env, fs, path::Path};

/// What Markdown needs to find `picture` under `name`.
fn definition(name: &str, picture: &str) -> String {
    let lines: Vec<_> = picture.lines().map(str::trim).collect();
    let encoded = lines.join(" ").replace('%', "%25").replace('#', "%23");
    let encoded = encoded.replace('<', "%3C").replace('>', "%3E");
    format!("[{name}]: <data:image/svg+xml,{encoded}>\n")
}

#[test]
fn the_rendered_pages_carry_the_pictures_of_the_repository() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    let files = fs::read_dir(&docs)
        .unwrap()
        .map(|file| file.unwrap().path());
    let mut pictures: Vec<_> = files
        .filter(|file| file.extension().is_some_and(|end| end == "svg"))
        .collect();
    pictures.sort();
    assert!(!pictures.is_empty());
    let definitions: String = pictures
        .iter()
        .map(|file| {
            let name = file.file_stem().unwrap().to_str().unwrap();
            definition(name, &fs::read_to_string(file).unwrap())
        })
        .collect();

    let carried = docs.join("pictures.md");
    if env::var_os("UPDATE_PICTURES").is_some() {
        fs::write(&carried, &definitions).unwrap();
    }
    assert!(
        fs::read_to_string(&carried).unwrap() == definitions,
        "docs/pictures.md is older than the pictures: run `UPDATE_PICTURES=1 cargo test --test pictures`"
    );
}
