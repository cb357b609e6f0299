//! Edits of the sources that the models or the tests must catch, one by one.
//!
//! ```text
//! cargo run -p loom-tests --bin mutants -- --all
//! cargo run -p loom-tests --bin mutants -- --quick
//! cargo run -p loom-tests --bin mutants -- --only slab-
//! cargo run -p loom-tests --bin mutants -- --check
//! ```
//!
//! Each file in `mutants/` is an edit: its name, the tests that are expected to catch it, and a patch.
//! A hunk applies where its lines stand, wherever that is in the file and whatever their indentation;
//! they must stand there once. Each edit is made in a copy of the workspace, where the tests that it
//! names run first; if those do not catch it, the tests that other edits name. An edit that nothing
//! catches, that no longer applies or that does not compile is a failure. So is a test that fails
//! without an edit.

use core::{fmt, iter, str::FromStr, time::Duration};
use std::{
    env, fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, ExitCode, Stdio},
    sync::mpsc::{self, Receiver, RecvTimeoutError},
    thread,
    time::Instant,
};

use anyhow::{Context, Error, Result, bail, ensure};
use clap::Parser;

/// Edits the sources of a copy and checks that every edit is caught.
#[derive(Parser)]
#[command(group(clap::ArgGroup::new("which").required(true)))]
struct Args {
    /// Make every edit
    #[arg(long, group = "which")]
    all: bool,
    /// Make the few edits that stand for the others in continuous integration
    #[arg(long, group = "which")]
    quick: bool,
    /// Make the edits whose file names or names contain this
    #[arg(long, group = "which", value_name = "TEXT")]
    only: Option<String>,
    /// Make no edit: report all that do not apply or name tests that do not exist
    #[arg(long, group = "which")]
    check: bool,
}

/// One edit, as its file has it.
struct Mutant {
    /// The file's name without its extension.
    file: String,
    name: String,
    caught_by: Tests,
    quick: bool,
    hunks: Vec<Hunk>,
}

/// Lines of a source that stand there once, and those that replace them.
struct Hunk {
    source: String,
    old: Vec<String>,
    new: Vec<String>,
}

/// A test target, or those of its tests whose paths begin with the filter.
#[derive(Clone, PartialEq)]
struct Tests {
    kind: Kind,
    target: String,
    filter: String,
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Loom,
    Shuttle,
    Plain,
}

/// What tests take at least before they count as hanging, on a machine that does something else as well.
const LEAST_TIME: Duration = Duration::from_secs(60);

fn main() -> ExitCode {
    run(&Args::parse()).unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}

fn run(args: &Args) -> Result<ExitCode> {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let original = package.parent().context("the models have no workspace")?;
    let mutants = read_all(&package.join("mutants"), original)?;
    if args.check {
        println!("{} edits apply", mutants.len());
        return Ok(ExitCode::SUCCESS);
    }
    let chosen: Vec<_> = mutants
        .iter()
        .filter(|mutant| match &args.only {
            Some(text) => mutant.file.contains(text) || mutant.name.contains(text),
            None => args.all || mutant.quick,
        })
        .collect();
    ensure!(!chosen.is_empty(), "no edit has such a name");

    let mut workspace = Workspace::copy(original)?;
    for mutant in &chosen {
        workspace.add_tests(&mutant.caught_by)?;
    }
    let mut failures = Vec::new();
    println!("{:64} | {:>7} | caught by", "edit", "seconds");
    for mutant in &chosen {
        let start = Instant::now();
        let verdict = workspace.judge(mutant)?;
        let seconds = start.elapsed().as_secs_f32();
        let caught = match &verdict {
            Verdict::Caught(by) => by.clone(),
            Verdict::Survived => "NOTHING".into(),
            Verdict::Invalid(why) => format!("ERROR: {why}"),
        };
        println!("{:64} | {seconds:7.1} | {caught}", mutant.name);
        if !matches!(verdict, Verdict::Caught(_)) {
            failures.push(&mutant.file);
        }
    }

    println!(
        "{} of {} edits caught",
        chosen.len() - failures.len(),
        chosen.len()
    );
    if failures.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    eprintln!("not caught:");
    for file in failures {
        eprintln!("- {file}");
    }
    Ok(ExitCode::FAILURE)
}

/// Reads every edit. The error lists all that are not right.
fn read_all(folder: &Path, workspace: &Path) -> Result<Vec<Mutant>> {
    let mut files: Vec<_> = fs::read_dir(folder)?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<_>>()?;
    files.sort();
    let mut mutants = Vec::new();
    let mut wrong = String::new();
    for path in files {
        let file = path.file_stem().unwrap_or_default().to_string_lossy();
        let mutant = fs::read_to_string(&path)
            .map_err(Error::from)
            .and_then(|text| Mutant::parse(&file, &text));
        let checked = mutant.and_then(|mutant| {
            mutant.caught_by.check(workspace)?;
            mutant.apply(workspace)?;
            Ok(mutant)
        });
        match checked {
            Ok(mutant) => mutants.push(mutant),
            Err(error) => wrong += &format!("\n- {file}: {error:#}"),
        }
    }
    ensure!(wrong.is_empty(), "edits that are not right:{wrong}");
    Ok(mutants)
}

impl Mutant {
    fn parse(file: &str, text: &str) -> Result<Self> {
        let mut lines = text.lines().peekable();
        let name = lines.next().context("it is empty")?.to_owned();
        let caught_by = lines
            .next()
            .and_then(|line| line.strip_prefix("caught by: "))
            .context("its second line is not \"caught by: ...\"")?
            .parse()?;
        let quick = lines.next_if_eq(&"quick").is_some();
        let mut source = None;
        let mut hunks: Vec<Hunk> = Vec::new();
        for line in lines {
            if line.starts_with("--- ") {
                source = None;
            } else if let Some(path) = line.strip_prefix("+++ b/") {
                source = Some(path.to_owned());
            } else if let Some(source) = &source {
                if line.starts_with("@@ ") {
                    hunks.push(Hunk {
                        source: source.clone(),
                        old: Vec::new(),
                        new: Vec::new(),
                    });
                    continue;
                }
                let hunk = hunks.last_mut().context("a line before any \"@@\"")?;
                let (sign, line) = line.split_at_checked(1).unwrap_or((" ", ""));
                if matches!(sign, " " | "-") {
                    hunk.old.push(line.to_owned());
                }
                if matches!(sign, " " | "+") {
                    hunk.new.push(line.to_owned());
                }
            }
        }
        ensure!(!hunks.is_empty(), "it changes nothing");
        Ok(Self {
            file: file.to_owned(),
            name,
            caught_by,
            quick,
            hunks,
        })
    }

    /// Applies the patch to the sources below `root`: each file that changes, and its new text.
    fn apply(&self, root: &Path) -> Result<Vec<(PathBuf, String)>> {
        let mut changed: Vec<(PathBuf, String)> = Vec::new();
        for hunk in &self.hunks {
            let path = root.join(&hunk.source);
            let known = changed.iter().position(|(known, _)| *known == path);
            let (_, text) = match known {
                Some(k) => &mut changed[k],
                None => {
                    let text = fs::read_to_string(&path)
                        .with_context(|| format!("cannot read {}", hunk.source))?;
                    changed.push((path, text));
                    changed.last_mut().expect("just pushed")
                }
            };
            *text = hunk.apply(text)?;
        }
        Ok(changed)
    }
}

impl Hunk {
    fn apply(&self, text: &str) -> Result<String> {
        let lines: Vec<_> = text.lines().collect();
        let is_here =
            |window: &[&str]| iter::zip(window, &self.old).all(|(a, b)| a.trim() == b.trim());
        let found: Vec<_> = (0..)
            .zip(lines.windows(self.old.len().max(1)))
            .filter(|(_, window)| is_here(window))
            .map(|(start, _)| start)
            .collect();
        let &[start] = &found[..] else {
            let first = self.old.first().map_or("", |line| line.trim());
            let count = found.len();
            bail!("stands {count} times in {}: {first}", self.source);
        };
        let (before, rest) = lines.split_at(start);
        let mut edited = before.to_vec();
        edited.extend(self.new.iter().map(String::as_str));
        edited.extend(&rest[self.old.len()..]);
        Ok(edited.join("\n") + "\n")
    }
}

impl FromStr for Tests {
    type Err = Error;

    /// `loom target`, `shuttle target`, `tests target`, and each with `::filter`.
    fn from_str(text: &str) -> Result<Self> {
        let (kind, path) = text.split_once(' ').context("no name of a test")?;
        let (target, filter) = path.split_once("::").unwrap_or((path, ""));
        Ok(Self {
            kind: match kind {
                "loom" => Kind::Loom,
                "shuttle" => Kind::Shuttle,
                "tests" => Kind::Plain,
                _ => bail!("none of \"loom\", \"shuttle\" and \"tests\": {kind}"),
            },
            target: target.to_owned(),
            filter: filter.to_owned(),
        })
    }
}

impl fmt::Display for Tests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            Kind::Loom => "loom",
            Kind::Shuttle => "shuttle",
            Kind::Plain => "tests",
        };
        write!(f, "{kind} {}", self.target)?;
        match &self.filter[..] {
            "" => Ok(()),
            filter => write!(f, "::{filter}"),
        }
    }
}

impl Tests {
    fn package(&self) -> &'static str {
        match self.kind {
            Kind::Loom => "loom-tests",
            Kind::Shuttle => "shuttle-tests",
            Kind::Plain => "atomic-barrier-tests",
        }
    }

    /// The target has to exist, and the module that the filter begins with.
    fn check(&self, workspace: &Path) -> Result<()> {
        let tests = match self.kind {
            Kind::Loom => workspace.join("loom-tests/tests"),
            Kind::Shuttle => workspace.join("loom-tests/shuttle/tests"),
            Kind::Plain => workspace.join("tests"),
        };
        let target = tests.join(&self.target);
        let exists = match self.filter.split("::").next() {
            None | Some("") => {
                target.join("main.rs").exists() || target.with_extension("rs").exists()
            }
            Some(module) => target.join(module).with_extension("rs").exists(),
        };
        ensure!(exists, "no such tests: {self}");
        Ok(())
    }
}

enum Verdict {
    Caught(String),
    Survived,
    Invalid(String),
}

/// A copy of the sources, and where it is built. The builds stay from one run to the next.
struct Workspace {
    copy: tempfile::TempDir,
    target: PathBuf,
    /// With the time after which they count as hanging.
    tests: Vec<(Tests, Duration)>,
}

impl Workspace {
    fn copy(original: &Path) -> Result<Self> {
        let target = env::var_os("CARGO_TARGET_DIR").map_or(original.join("target"), Into::into);
        let copy = tempfile::tempdir()?;
        copy_folder(original, copy.path())?;
        Ok(Self {
            copy,
            target: target.join("mutants"),
            tests: Vec::new(),
        })
    }

    /// Runs the tests without an edit: what fails then catches nothing.
    fn add_tests(&mut self, tests: &Tests) -> Result<()> {
        if self.tests.iter().any(|(known, _)| known == tests) {
            return Ok(());
        }
        let binary = match self.build(tests)? {
            Ok(binary) => binary,
            Err(error) => bail!("{tests} does not build without an edit: {error}"),
        };
        let start = Instant::now();
        if let Some(how) = self.run(&binary, tests, Duration::MAX)? {
            bail!("{tests} fails without an edit: {how}");
        }
        let limit = LEAST_TIME + 5 * start.elapsed();
        self.tests.push((tests.clone(), limit));
        Ok(())
    }

    /// Makes the edit, looks for a test that fails, and reverts the edit.
    fn judge(&self, mutant: &Mutant) -> Result<Verdict> {
        let edited = mutant.apply(self.copy.path())?;
        let mut originals = Vec::new();
        for (path, text) in edited {
            originals.push((fs::read_to_string(&path)?, path.clone()));
            fs::write(path, text)?;
        }
        let mut tests: Vec<_> = self.tests.iter().collect();
        tests.sort_by_key(|(tests, _)| *tests != mutant.caught_by);
        let verdict = self.verdict(&tests);
        for (text, path) in originals {
            fs::write(path, text)?;
        }
        verdict
    }

    /// Runs the tests in turn until one fails.
    fn verdict(&self, tests: &[&(Tests, Duration)]) -> Result<Verdict> {
        for (tests, limit) in tests {
            let binary = match self.build(tests)? {
                Ok(binary) => binary,
                Err(error) => return Ok(Verdict::Invalid(error)),
            };
            if let Some(how) = self.run(&binary, tests, *limit)? {
                return Ok(Verdict::Caught(format!("{} {how}", tests.target)));
            }
        }
        Ok(Verdict::Survived)
    }

    /// Builds a test target. Returns where it is, or the compiler's first error.
    fn build(&self, tests: &Tests) -> Result<Result<PathBuf, String>> {
        let output = Command::new(env::var_os("CARGO").unwrap_or("cargo".into()))
            .args(["test", "--offline", "--no-run"])
            .args(["-p", tests.package(), "--test", &tests.target])
            .current_dir(&self.copy)
            .env("CARGO_TARGET_DIR", &self.target)
            .output()
            .context("cannot run cargo")?;
        let messages = String::from_utf8_lossy(&output.stderr);
        if !output.status.success() {
            let error = messages.lines().find(|line| line.starts_with("error"));
            return Ok(Err(error.unwrap_or("does not build").to_owned()));
        }
        // "  Executable tests/name.rs (path)"
        let binary = messages
            .lines()
            .find(|line| line.trim_start().starts_with("Executable"))
            .and_then(|line| line.split_once('(')?.1.strip_suffix(')'));
        let Some(binary) = binary else {
            bail!("cargo names no executable:\n{messages}");
        };
        Ok(Ok(self.copy.path().join(binary)))
    }

    /// Runs tests to their first failure. Returns the failure, if there is one.
    fn run(&self, binary: &Path, tests: &Tests, limit: Duration) -> Result<Option<String>> {
        let mut test = Command::new(binary)
            .args((!tests.filter.is_empty()).then_some(&tests.filter))
            .current_dir(&self.copy)
            .env("RUST_BACKTRACE", "0")
            .env("ANY_NUMBER_OF_EXECUTIONS", "1")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| format!("cannot run {}", binary.display()))?;
        let stdout = test.stdout.take().context("no output to read")?;
        let (sender, lines) = mpsc::channel();
        let reader = thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });

        let failure = first_failure(&mut test, &lines, limit);
        // Fails if it has ended by itself.
        let _ = test.kill();
        test.wait()?;
        let _ = reader.join();
        failure
    }
}

/// Follows a test target to its end or to its first failure, if that comes before.
fn first_failure(
    test: &mut Child,
    lines: &Receiver<String>,
    limit: Duration,
) -> Result<Option<String>> {
    let start = Instant::now();
    loop {
        match lines.recv_timeout(limit.saturating_sub(start.elapsed())) {
            Ok(line) => {
                ensure!(line != "running 0 tests", "there are no such tests");
                let name = line.strip_prefix("test ");
                if let Some(name) = name.and_then(|line| line.strip_suffix(" ... FAILED")) {
                    return Ok(Some(name.to_owned()));
                }
            }
            Err(RecvTimeoutError::Timeout) => return Ok(Some("hangs".to_owned())),
            Err(RecvTimeoutError::Disconnected) => {
                let status = test.wait()?;
                return Ok((!status.success()).then(|| format!("ends with {status}")));
            }
        }
    }
}

/// Copies all that a build of the workspace needs, without this program.
fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (name, source) = (entry.file_name(), entry.path());
        let destination = to.join(&name);
        if entry.file_type()?.is_dir() {
            if ["target", "bin", ".git"].iter().any(|it| name == *it) {
                continue;
            }
            fs::create_dir(&destination)?;
            copy_folder(&source, &destination)?;
        } else {
            fs::copy(&source, &destination)
                .with_context(|| format!("cannot copy {}", source.display()))?;
        }
    }
    Ok(())
}
