//! The pages in `docs/`: the pictures that they carry when rendered, and the tests that they name.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

/// What makes `docs/pictures.md` anew.
const COMMAND: &str = "UPDATE_PICTURES=1 cargo test --test docs";

fn docs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("docs")
}

/// What Markdown needs to find `picture` under `name`.
///
/// A page in the repository shows `word.svg` beside it by the reference `[word]`. The rendered page has
/// no files beside it, so `docs/pictures.md`, which comes first there, defines the same reference as the
/// picture itself.
fn definition(name: &str, picture: &str) -> String {
    let lines: Vec<_> = picture.lines().map(str::trim).collect();
    let encoded = lines.join(" ").replace('%', "%25").replace('#', "%23");
    let encoded = encoded.replace('<', "%3C").replace('>', "%3E");
    format!("[{name}]: <data:image/svg+xml,{encoded}>\n")
}

#[test]
fn the_rendered_pages_carry_the_pictures_of_the_repository() {
    let files = fs::read_dir(docs())
        .unwrap()
        .map(|file| file.unwrap().path());
    let mut pictures: Vec<_> = files
        .filter(|file| file.extension().is_some_and(|end| end == "svg"))
        .collect();
    pictures.sort();
    assert!(!pictures.is_empty());
    let mut definitions = format!("<!-- Made by `{COMMAND}`. -->\n");
    for file in pictures {
        let name = file.file_stem().unwrap().to_str().unwrap();
        definitions += &definition(name, &fs::read_to_string(&file).unwrap());
    }

    let carried = docs().join("pictures.md");
    if env::var_os("UPDATE_PICTURES").is_some() {
        fs::write(&carried, &definitions).unwrap();
    }
    assert!(
        fs::read_to_string(&carried).unwrap() == definitions,
        "docs/pictures.md is older than the pictures: run `{COMMAND}`"
    );
}

#[test]
fn every_claim_is_pinned_by_a_test_that_exists() {
    let page = fs::read_to_string(docs().join("verification.md")).unwrap();
    let (_, claims) = page.split_once("\n## Claims\n").unwrap();
    let (claims, _) = claims.split_once("\n## ").unwrap();
    let mut missing = Vec::new();
    for claim in claims.split("\n- ").skip(1) {
        let (claim, pinned_by) = claim.split_once(".\\\n").unwrap();
        // What stands between backquotes.
        let names: Vec<_> = pinned_by.split('`').skip(1).step_by(2).collect();
        assert!(!names.is_empty(), "nothing pins: {claim}");
        for name in names {
            let (kind, path) = name.split_once(' ').unwrap_or(("", name));
            let folder = match kind {
                "" => "tests",
                "loom" => "loom-tests/tests",
                "shuttle" => "loom-tests/shuttle/tests",
                _ => panic!("{name}: which tests?"),
            };
            let file = |path: &str| {
                let path = format!("{folder}/{}.rs", path.replace("::", "/"));
                fs::read_to_string(docs().with_file_name(path))
            };
            let there = file(path).is_ok()
                || path.rsplit_once("::").is_some_and(|(module, test)| {
                    file(module).is_ok_and(|source| source.contains(&format!("fn {test}(")))
                });
            if !there {
                missing.push(name);
            }
        }
    }
    assert_eq!(missing, [""; 0], "no such tests");
}
