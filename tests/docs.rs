//! The documents: what they name is there, in the repository and in the package; the rendered pages
//! carry their pictures; each claim has its test.

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
    path::Path,
    process::Command,
};

use pulldown_cmark::{CodeBlockKind, Event, HeadingLevel, Options, Parser, Tag, TagEnd};
use serde_json::Value;

/// What makes `docs/pictures.md` anew.
const COMMAND: &str = "UPDATE_PICTURES=1 cargo test --test docs";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// All files of the repository, as paths from its root.
fn files() -> BTreeSet<String> {
    fn add(folder: &Path, files: &mut BTreeSet<String>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() {
                let path = path.strip_prefix(root()).unwrap();
                files.insert(path.to_str().unwrap().to_owned());
            } else if !path.ends_with("target") && !path.ends_with(".git") {
                add(&path, files);
            }
        }
    }
    let mut files = BTreeSet::new();
    add(root(), &mut files);
    files
}

fn documents(files: &BTreeSet<String>) -> impl Iterator<Item = &String> {
    files.iter().filter(|file| file.ends_with(".md"))
}

fn cargo(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO"))
        .args(arguments)
        .current_dir(root())
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    String::from_utf8(output.stdout).unwrap()
}

/// Fails with a line for each thing that is wrong.
#[track_caller]
fn assert_none(wrong: &BTreeSet<String>) {
    let lines: String = wrong.iter().map(|line| format!("\n- {line}")).collect();
    assert!(wrong.is_empty(), "{} wrong:{lines}", wrong.len());
}

#[derive(Debug)]
enum Kind {
    /// The address of a link or of a picture.
    Link,
    Path,
    /// A line for a shell.
    Command,
    /// `Type::item`.
    Item,
    Feature,
}

/// Something that a document names.
struct Name {
    kind: Kind,
    text: String,
    /// Whether its paragraph, the text before that in its section, or the head of the document speaks
    /// of the repository.
    of_repository: bool,
}

fn names(document: &str) -> Vec<Name> {
    let mut names = Vec::new();
    let [mut head, mut heading, mut section, mut block] = [const { String::new() }; 4];
    let (mut in_head, mut in_heading, mut in_shell, mut starts_item) = (true, false, false, false);
    // The first name in the present block.
    let mut first = 0;
    for event in Parser::new_ext(document, Options::ENABLE_TABLES) {
        let mut add = |kind, text: &str| {
            names.push(Name {
                kind,
                text: text.trim().to_owned(),
                of_repository: false,
            });
        };
        let mut ends_block = false;
        match event {
            Event::Start(Tag::Heading { level, .. }) => {
                in_head &= level == HeadingLevel::H1;
                in_heading = true;
                heading.clear();
                section.clear();
            }
            Event::End(TagEnd::Heading(_)) => in_heading = false,
            Event::Start(Tag::Item) => starts_item = true,
            Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
                add(Kind::Link, &dest_url)
            }
            Event::Start(Tag::CodeBlock(CodeBlockKind::Fenced(language))) => {
                in_shell = &*language == "sh"
            }
            Event::End(TagEnd::CodeBlock) => {
                block.lines().for_each(|line| add(Kind::Command, line));
                block.clear();
                in_shell = false;
                ends_block = true;
            }
            Event::Code(code) => {
                if section.ends_with("feature ") || starts_item && heading == "Features" {
                    add(Kind::Feature, &code);
                } else if code.split(' ').any(|word| word == "cargo") {
                    add(Kind::Command, &code);
                } else if is_path(&code) {
                    add(Kind::Path, &code);
                } else if code.contains("::") {
                    add(Kind::Item, &code);
                }
                section.push_str(&code);
                starts_item = false;
            }
            Event::Text(text) if in_shell => block += &text,
            Event::Text(text) => {
                if in_heading {
                    heading += &text;
                }
                if in_head {
                    head += &text;
                }
                section += &text;
                starts_item = false;
            }
            Event::SoftBreak => section.push(' '),
            Event::End(TagEnd::Paragraph | TagEnd::Item | TagEnd::Table) => {
                section.push(' ');
                ends_block = true;
            }
            _ => {}
        }
        if ends_block {
            let of_repository = [&head, &section]
                .iter()
                .any(|text| text.contains("repository"));
            for name in &mut names[first..] {
                name.of_repository = of_repository;
            }
            first = names.len();
        }
    }
    names
}

fn is_path(code: &str) -> bool {
    let is_name = |c: char| c.is_ascii_alphanumeric() || "_-./".contains(c);
    let extensions = ["md", "rs", "svg", "toml", "txt"];
    let (first, _) = code.split_once('/').unwrap_or((".", ""));
    let has_extension = code
        .rsplit_once('.')
        .is_some_and(|(_, end)| extensions.contains(&end));
    code.chars().all(is_name)
        && (has_extension
            || !first.starts_with('.') && !first.is_empty() && root().join(first).is_dir())
        && first != "target"
}

/// Whether there is such a file or folder, named from the root or from any other folder.
fn is_there(path: &str, files: &BTreeSet<String>) -> bool {
    let path = format!("/{}/", path.trim_start_matches("./").trim_end_matches('/'));
    files.iter().any(|file| format!("/{file}/").contains(&path))
}

/// The file that a relative link in `document` leads to.
fn target(link: &str, document: &str) -> Option<String> {
    let (path, _) = link.split_once('#').unwrap_or((link, ""));
    if path.is_empty() || path.contains(':') {
        return None;
    }
    let mut parts: Vec<_> = document.split('/').collect();
    parts.pop();
    for part in path.split('/') {
        match part {
            "." => {}
            ".." => drop(parts.pop()),
            _ => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

#[test]
fn every_link_leads_to_something() {
    let files = files();
    let mut wrong = BTreeSet::new();
    for document in documents(&files) {
        for name in names(&read(document)) {
            let text = &name.text;
            if !matches!(name.kind, Kind::Link) || text.contains("://") || text.starts_with("data:")
            {
                continue;
            }
            let target = target(text, document).unwrap_or_else(|| document.clone());
            let is_folder = root().join(&target).is_dir();
            let heading = text.split_once('#').map(|(_, heading)| heading);
            let leads_there = match heading {
                Some(heading) => {
                    files.contains(&target) && anchors(&read(&target)).contains(heading)
                }
                None => is_folder || files.contains(&target),
            };
            if !leads_there {
                wrong.insert(format!("{document}: {text}"));
            }
        }
    }
    assert_none(&wrong);
}

/// What a link names a heading by.
fn anchors(document: &str) -> BTreeSet<String> {
    let headings = document.lines().filter(|line| line.starts_with('#'));
    headings
        .map(|heading| {
            let words = heading.trim_start_matches('#').trim().to_lowercase();
            let kept = words
                .chars()
                .filter(|&c| c.is_alphanumeric() || "-_ ".contains(c));
            kept.map(|c| if c == ' ' { '-' } else { c }).collect()
        })
        .collect()
}

#[test]
fn every_path_that_a_document_names_exists() {
    let files = files();
    let mut wrong = BTreeSet::new();
    for document in documents(&files) {
        for name in names(&read(document)) {
            if matches!(name.kind, Kind::Path) && !is_there(&name.text, &files) {
                wrong.insert(format!("{document}: {}", name.text));
            }
        }
    }
    assert_none(&wrong);
}

/// What cargo knows of all packages, those that are workspaces of their own too.
struct Packages {
    names: BTreeSet<String>,
    features: BTreeSet<String>,
    /// The sources of each package with a target, under the target's kind and name.
    targets: BTreeMap<(String, String), String>,
}

impl Packages {
    fn new(files: &BTreeSet<String>) -> Self {
        let mut packages = Self {
            names: BTreeSet::new(),
            features: BTreeSet::new(),
            targets: BTreeMap::new(),
        };
        for manifest in files.iter().filter(|file| file.ends_with("Cargo.toml")) {
            let metadata = cargo(&[
                "metadata",
                "--no-deps",
                "--format-version",
                "1",
                "--manifest-path",
                manifest,
            ]);
            let metadata: Value = serde_json::from_str(&metadata).unwrap();
            for package in metadata["packages"].as_array().unwrap() {
                let string = |value: &Value| value.as_str().unwrap().to_owned();
                packages.names.insert(string(&package["name"]));
                let features = package["features"].as_object().unwrap();
                packages.features.extend(features.keys().cloned());
                let manifest = string(&package["manifest_path"]);
                let folder = Path::new(&manifest)
                    .parent()
                    .unwrap()
                    .strip_prefix(root())
                    .unwrap();
                let is_source =
                    |file: &&String| file.ends_with(".rs") && Path::new(file).starts_with(folder);
                let sources: String = files
                    .iter()
                    .filter(is_source)
                    .map(|file| read(file))
                    .collect();
                for target in package["targets"].as_array().unwrap() {
                    let key = (string(&target["kind"][0]), string(&target["name"]));
                    packages.targets.insert(key, sources.clone());
                }
            }
        }
        packages
    }

    /// What in the command does not exist.
    fn unknown(&self, command: &str, files: &BTreeSet<String>) -> Vec<String> {
        let (command, _) = command.split_once(" #").unwrap_or((command, ""));
        let (command, arguments) = command.split_once(" -- ").unwrap_or((command, ""));
        let mut unknown = Vec::new();
        let mut sources = None;
        let mut words = command.split_whitespace();
        while let Some(word) = words.next() {
            let mut check = |is_known: bool, name: &str| {
                if !is_known {
                    unknown.push(format!("{word} {name}"));
                }
            };
            match word {
                "-p" | "--package" => {
                    let name = words.next().unwrap_or("");
                    check(self.names.contains(name), name);
                }
                "--features" => {
                    for feature in words.next().unwrap_or("").split(',') {
                        let (_, name) = feature.split_once('/').unwrap_or(("", feature));
                        check(self.features.contains(name), name);
                    }
                }
                "--bench" | "--bin" | "--example" | "--test" => {
                    let name = words.next().unwrap_or("");
                    let key = (word.trim_start_matches('-').to_owned(), name.to_owned());
                    sources = self.targets.get(&key);
                    check(sources.is_some(), name);
                }
                path if path.contains('/') && !path.contains([':', '=', '$']) => {
                    check(is_there(path, files), "");
                }
                _ => {}
            }
        }
        for option in arguments
            .split_whitespace()
            .filter_map(|word| word.strip_prefix("--"))
        {
            let (option, _) = option.split_once('=').unwrap_or((option, ""));
            let is_known = sources.is_none_or(|sources| {
                sources.contains(option) || sources.contains(&option.replace('-', "_"))
            });
            if !is_known {
                unknown.push(format!("--{option}"));
            }
        }
        unknown
    }
}

#[test]
fn every_command_and_feature_that_a_document_names_exists() {
    let files = files();
    let packages = Packages::new(&files);
    let mut wrong = BTreeSet::new();
    for document in documents(&files) {
        for name in names(&read(document)) {
            let text = &name.text;
            match name.kind {
                Kind::Command => {
                    let unknown = packages.unknown(text, &files);
                    wrong.extend(
                        unknown
                            .iter()
                            .map(|part| format!("{document}: {part}, in: {text}")),
                    );
                }
                Kind::Feature if !packages.features.contains(text) => {
                    wrong.insert(format!("{document}: feature {text}"));
                }
                _ => {}
            }
        }
    }
    assert_none(&wrong);
}

/// What each type of the library has: its functions, variants and fields.
fn items(files: &BTreeSet<String>) -> BTreeMap<String, BTreeSet<String>> {
    let word = |text: &str| -> String {
        let is_part = |c: &char| c.is_alphanumeric() || *c == '_';
        text.chars().take_while(is_part).collect()
    };
    let mut items = BTreeMap::<String, BTreeSet<String>>::new();
    for file in files.iter().filter(|file| file.starts_with("src/")) {
        let text = read(file);
        let mut current = None;
        for line in text.lines() {
            let declaration = line
                .trim_start_matches("pub(crate) ")
                .trim_start_matches("pub ");
            let declared = ["struct ", "enum ", "trait "]
                .iter()
                .find_map(|kind| declaration.strip_prefix(kind));
            if let Some(declared) = declared {
                current = Some(word(declared));
                items.entry(word(declared)).or_default();
            } else if line.starts_with("impl") {
                let (_, subject) = line.split_once(" for ").unwrap_or_else(|| {
                    // Past the parameters of `impl<...>`.
                    let mut depth = 0;
                    let end = line.find(|c| {
                        depth += i32::from(c == '<') - i32::from(c == '>');
                        depth == 0 && c == ' '
                    });
                    line.split_at(end.unwrap_or(0))
                });
                current = Some(word(subject.trim_start()));
            } else if line.starts_with('}') {
                current = None;
            } else if let Some(of) = &current {
                let line = line.trim_start();
                let name = match line.split_once("fn ") {
                    Some((_, name)) if !line.starts_with("//") => name,
                    _ => line
                        .trim_start_matches("pub(crate) ")
                        .trim_start_matches("pub ")
                        .trim_start_matches("const "),
                };
                items.entry(of.clone()).or_default().insert(word(name));
            }
        }
    }
    items
}

#[test]
fn every_item_that_a_document_names_exists() {
    let files = files();
    let items = items(&files);
    assert!(items["Barrier"].contains("wait_blocking"));
    let mut wrong = BTreeSet::new();
    for document in documents(&files) {
        for name in names(&read(document)) {
            let path: Vec<_> = name.text.split("::").collect();
            if let (Kind::Item, &[.., of, item]) = (&name.kind, &path[..])
                && let Some(items) = items.get(of)
                && !items.contains(item.split_once('(').unwrap_or((item, "")).0)
            {
                wrong.insert(format!("{document}: {}", name.text));
            }
        }
    }
    assert_none(&wrong);
}

/// The files that a user unpacks, as paths from the root.
fn shipped() -> BTreeSet<String> {
    let shipped = cargo(&["package", "--list", "--allow-dirty", "-p", "atomic-barrier"]);
    shipped.lines().map(str::to_owned).collect()
}

/// A user unpacks a part of the repository. What that names and does not have must be said to be in the
/// repository, by that word.
#[test]
fn nothing_that_is_shipped_refers_to_what_is_not() {
    let shipped = shipped();
    let needs_repository = |command: &str| {
        let options = ["--bench", "--bin", "--example", "--test", "-p"];
        let command = command.replace("-p atomic-barrier ", "");
        command
            .split(' ')
            .any(|word| options.contains(&word) || word.contains('/') && !is_there(word, &shipped))
    };
    let mut wrong = BTreeSet::new();
    for file in &shipped {
        let texts = match file.rsplit_once('.') {
            Some((_, "md")) => vec![read(file)],
            Some((_, "rs")) => comments(&read(file)),
            _ => continue,
        };
        for name in texts.iter().flat_map(|text| names(text)) {
            let text = &name.text;
            let is_right = match name.kind {
                Kind::Link => {
                    !file.ends_with(".md")
                        || target(text, file).is_none_or(|target| shipped.contains(&target))
                }
                Kind::Path => name.of_repository || is_there(text, &shipped),
                Kind::Command => name.of_repository || !needs_repository(text),
                Kind::Item | Kind::Feature => true,
            };
            if !is_right {
                wrong.insert(format!("{file}: {text}"));
            }
        }
    }
    assert_none(&wrong);
}

/// The comments of a source, each a text.
fn comments(source: &str) -> Vec<String> {
    let mut comments = vec![String::new()];
    for line in source.lines() {
        match line.trim_start().strip_prefix("//") {
            Some(line) => {
                let line = line.trim_start_matches(['/', '!']);
                *comments.last_mut().unwrap() +=
                    &format!("{}\n", line.strip_prefix(' ').unwrap_or(line));
            }
            None => comments.push(String::new()),
        }
    }
    comments
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
fn the_rendered_pages_carry_the_pictures_that_are_shipped() {
    let shipped = shipped();
    let files = fs::read_dir(root().join("docs"))
        .unwrap()
        .map(|file| file.unwrap().path());
    let mut pictures: Vec<_> = files
        .filter(|file| file.extension().is_some_and(|end| end == "svg"))
        .filter(|file| shipped.contains(file.strip_prefix(root()).unwrap().to_str().unwrap()))
        .collect();
    pictures.sort();
    assert!(!pictures.is_empty());
    let mut definitions = format!("[//]: # (Made by `{COMMAND}`.)\n");
    for file in pictures {
        let name = file.file_stem().unwrap().to_str().unwrap();
        definitions += &definition(name, &fs::read_to_string(&file).unwrap());
    }

    // What comes first in a page is its summary.
    let shows = Parser::new(&definitions).next();
    assert!(shows.is_none(), "shows by itself: {shows:?}");

    let carried = root().join("docs").join("pictures.md");
    if env::var_os("UPDATE_PICTURES").is_some() {
        fs::write(&carried, &definitions).unwrap();
    }
    assert!(
        fs::read_to_string(&carried).unwrap() == definitions,
        "docs/pictures.md is older than the pictures: run `{COMMAND}`"
    );
}

#[test]
fn the_picture_of_the_console_has_the_lines_of_the_example() {
    let example = read("examples/console/src/main.rs");
    let page = read("docs/tokio-console.md");
    let mut places = 0;
    for place in page.split("src/main.rs:").skip(1) {
        let place = place.split([' ', '│']).next().unwrap();
        let (line, column) = place.split_once(':').unwrap();
        let [line, column] = [line, column].map(|number| number.parse::<usize>().unwrap());
        let source = example.lines().nth(line - 1).unwrap_or("");
        let call = source.get(column - 1..).unwrap_or("");
        let calls = ["Barrier::new(", "Phaser::new(", "sleep(", "timeout("];
        let is_right = calls.iter().any(|made| call.starts_with(made));
        assert!(is_right, "src/main.rs:{place}: {call:?}");
        places += 1;
    }
    assert!(places > 0);
}

#[test]
fn every_claim_is_pinned_by_a_test_that_exists() {
    let page = read("docs/verification.md");
    let (_, claims) = page.split_once("\n## Claims\n").unwrap();
    let (claims, _) = claims.split_once("\n## ").unwrap();
    let mut wrong = BTreeSet::new();
    for claim in claims.split("\n- ").skip(1) {
        let (claim, pinned_by) = claim.split_once(".\\\n").unwrap();
        // What stands between backquotes.
        let names: Vec<_> = pinned_by.split('`').skip(1).step_by(2).collect();
        if names.is_empty() {
            wrong.insert(format!("nothing pins: {claim}"));
        }
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
                fs::read_to_string(root().join(path))
            };
            let there = file(path).is_ok()
                || path.rsplit_once("::").is_some_and(|(module, test)| {
                    file(module).is_ok_and(|source| source.contains(&format!("fn {test}(")))
                });
            if !there {
                wrong.insert(format!("no such test: {name}"));
            }
        }
    }
    assert_none(&wrong);
}
