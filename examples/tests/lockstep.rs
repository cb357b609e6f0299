//! The example `lockstep`: the program as it is built, and by themselves the parts that a file or
//! a barrier could break.

#[path = "../lockstep/life.rs"]
mod life;
mod program;
#[path = "../lockstep/rle.rs"]
mod rle;
#[path = "../lockstep/runs.rs"]
mod runs;

use std::{
    fs,
    io::Cursor,
    path::{Path, PathBuf},
    process::Output,
};

use life::{Plane, Rows, Size};
use program::{complaint, example, output, report};
use rle::Run;

/// Runs the example, each barrier once.
fn lockstep<'a>(arguments: impl IntoIterator<Item = &'a str>) -> Output {
    output(example("lockstep").args(["--rounds", "1"]).args(arguments))
}

/// The first line of a run that must have gone well.
fn result(output: &Output) -> String {
    report(output).lines().next().unwrap().to_string()
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn the_r_pentomino_has_116_cells_at_generation_1103() {
    let output = lockstep([]);
    assert_eq!(
        result(&output),
        "R-pentomino: 116 live cells at generation 1103, the same cells in all 3 runs"
    );
    let table = String::from_utf8(output.stdout).unwrap();
    assert!(table.contains("8 bands on "), "{table}");
    for row in ["whole run ", "synchronisation a generation "] {
        let row = table.lines().find(|line| line.starts_with(row)).unwrap();
        let numbers = row
            .split_whitespace()
            .filter_map(|word| word.parse::<f64>().ok());
        assert_eq!(numbers.filter(|&number| number > 0.0).count(), 3, "{row}");
    }
}

#[test]
fn the_acorn_has_633_cells_at_generation_5206() {
    assert_eq!(
        result(&lockstep(["acorn"])),
        "Acorn: 633 live cells at generation 5206, the same cells in all 3 runs"
    );
}

#[test]
fn die_hard_lives_for_129_generations() {
    let at = |generation| result(&lockstep(["die-hard", "--generations", generation]));
    assert!(at("129").starts_with("Die hard: 2 live cells at generation 129,"));
    assert!(at("130").starts_with("Die hard: 0 live cells at generation 130,"));
    // And nothing comes of nothing.
    assert!(at("300").starts_with("Die hard: 0 live cells at generation 300,"));
}

#[test]
fn the_pi_heptomino_has_55_cells_at_generation_173() {
    let result = result(&lockstep(["pi-heptomino"]));
    assert!(
        result.starts_with("Pi-heptomino: 55 live cells at generation 173,"),
        "{result}"
    );
}

#[test]
fn a_pattern_is_read_from_a_path() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("patterns/glider-gun.rle");
    // 36 cells, and a glider of five every 30 generations.
    let result = result(&lockstep([path(&file), "--generations", "300"]));
    assert_eq!(
        result,
        "Gosper glider gun: 86 live cells at generation 300, the same cells in all 3 runs"
    );
}

#[test]
fn a_pattern_from_a_path_runs_for_1000_generations_and_goes_by_its_path_if_it_has_no_name() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("block");
    fs::write(&file, "x = 2, y = 2\n2o$2o!\n").unwrap();
    assert_eq!(
        result(&lockstep([path(&file)])),
        format!(
            "{}: 4 live cells at generation 1000, the same cells in all 3 runs",
            file.display()
        )
    );
}

#[test]
fn any_number_of_bands_and_workers_comes_to_the_same() {
    for (bands, workers, what) in [
        ("1", "1", "1 band on 1 worker, "),
        ("1", "3", "1 band on 3 workers, "),
        ("7", "3", "7 bands on 3 workers, "),
        ("500", "2", "500 bands on 2 workers, "),
    ] {
        let output = lockstep(["pi-heptomino", "--bands", bands, "--workers", workers]);
        let result = result(&output);
        assert!(
            result.contains(": 55 live cells at generation 173,"),
            "{result}"
        );
        let report = String::from_utf8(output.stdout).unwrap();
        assert!(report.lines().nth(1).unwrap().starts_with(what), "{report}");
    }
}

#[test]
fn a_run_that_ends_otherwise_than_the_sequential_one_is_an_error() {
    /// Holds nobody up.
    struct Open;

    impl runs::Barrier for Open {
        const NAME: &str = "nobody";

        fn new(_: usize) -> Self {
            Open
        }

        async fn cross(&self) -> bool {
            false
        }
    }

    let pattern = rle::parse(b"x = 3, y = 3\nb2o$2o$bo!").unwrap();
    let life = runs::Life {
        name: "R".to_string(),
        size: Size::new(&pattern, 20).unwrap(),
        pattern,
        generations: 20,
    };
    let course = runs::Course {
        life: &life,
        bands: 2,
        crossings: 1,
        // One thread, so that the first band has come to its end before the second begins.
        runtime: tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap(),
        bar: indicatif::ProgressBar::hidden(),
    };
    let (expected, _) = course.sequential();
    let mut times = runs::Times::default();
    let error = times
        .measure::<Open>(&course, &expected)
        .unwrap_err()
        .to_string();
    assert!(
        error.starts_with("R: the run with nobody's barrier ended with "),
        "{error}"
    );
    assert!(
        error.ends_with(" live cells, the sequential run with 32 others"),
        "{error}"
    );
    assert!(times.run.is_empty());

    times
        .measure::<tokio::sync::Barrier>(&course, &expected)
        .unwrap();
    assert_eq!(times.run.len(), 1);
}

#[test]
fn a_file_that_is_not_rle_is_refused_with_its_line_and_what_was_expected() {
    const HEADER: &str = "expected a header like `x = 3, y = 3, rule = B3/S23`, found ";
    const CLOSE: &str = "expected `!`, which closes the pattern, found the end of the file";

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pattern.rle");
    for (content, line, complaint_of_it) in [
        ("", 1, &*format!("{HEADER}an empty file")),
        ("\n\n", 1, &format!("{HEADER}the end of the file")),
        (
            "#N Alone\n#C at last\n",
            2,
            &format!("{HEADER}the end of the file"),
        ),
        ("#N Prose\nAll happy\n", 2, &format!("{HEADER}`All happy`")),
        ("3o!\n", 1, &format!("{HEADER}`3o!`")),
        ("x = 3\n3o!", 1, &format!("{HEADER}`x = 3`")),
        ("y = 3, x = 3\n3o!", 1, &format!("{HEADER}`y = 3, x = 3`")),
        (
            "x = 3, y = 3, z = 3\n3o!",
            1,
            &format!("{HEADER}`x = 3, y = 3, z = 3`"),
        ),
        (
            "\u{1b}[2J\u{e9}",
            1,
            &format!("{HEADER}`\\x1b[2J\\xc3\\xa9`"),
        ),
        (
            &"x".repeat(41),
            1,
            &format!("{HEADER}`{}...`", "x".repeat(40)),
        ),
        (
            "x = -3, y = 3\n3o!",
            1,
            "expected a width and a height of up to 4294967295, found `x = -3, y = 3`",
        ),
        (
            "x = 3, y = 99999999999\n3o!",
            1,
            "expected a width and a height of up to 4294967295, found `x = 3, y = 99999999999`",
        ),
        (
            "#C HighLife\nx = 3, y = 3, rule = B36/S23\n3o!",
            2,
            "expected Conway's rule, B3/S23, found `B36/S23`",
        ),
        (
            "x = 3, y = 3, rule = B3/S23:T30,30\n3o!",
            1,
            "expected Conway's rule, B3/S23, found `B3/S23:T30,30`",
        ),
        (
            "#r 34/34\nx = 3, y = 3\n3o!",
            1,
            "expected Conway's rule, B3/S23, found `34/34`",
        ),
        (
            "x = 3, y = 3\nb2o$\n2o$b*!\n",
            3,
            "expected `b`, `o`, `$`, `!` or a count, found `*`",
        ),
        (
            "x = 3, y = 3\n3!\n",
            2,
            "expected `b`, `o` or `$` after a count, found `3!`",
        ),
        (
            "x = 13, y = 3\n1\n3o!\n",
            2,
            "expected `b`, `o` or `$` after a count, found `1`",
        ),
        (
            "x = 3, y = 3\n0o!\n",
            2,
            "expected a count from 1, found `0o`",
        ),
        (
            "x = 3, y = 3\n3o$b\n3o!",
            3,
            "expected 3 cells in a row at most, as the header says, found `3o` after the first 1",
        ),
        (
            "x = 3, y = 3\n4b!",
            2,
            "expected 3 cells in a row at most, as the header says, found `4b` after the first 0",
        ),
        (
            // Four more than 2^32, then one more.
            "x = 4, y = 3\n4294967300o!",
            2,
            "expected 4 cells in a row at most, as the header says, \
             found `4294967300o` after the first 0",
        ),
        (
            "x = 3, y = 3\n4294967297o!",
            2,
            "expected 3 cells in a row at most, as the header says, \
             found `4294967297o` after the first 0",
        ),
        (
            "x = 3, y = 3\n99999999999999999999o!",
            2,
            "expected 3 cells in a row at most, as the header says, \
             found `99999999999999999999o` after the first 0",
        ),
        (
            "x = 3, y = 2\n3o$3o$\no!",
            3,
            "expected 2 rows at most, as the header says, found `o` after the first 2",
        ),
        (
            "x = 3, y = 2\n3o3$!",
            2,
            "expected 2 rows at most, as the header says, found `3$` after the first 0",
        ),
        ("x = 3, y = 3\nb2o$\n2o$bo\n\n", 3, CLOSE),
        ("x = 3, y = 3", 1, CLOSE),
    ] {
        fs::write(&file, content).unwrap();
        assert_eq!(
            complaint(&lockstep([path(&file)]), 2),
            format!("error: {}: line {line}: {complaint_of_it}", file.display()),
            "{content:?}"
        );
    }
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("missing.rle");
    for file in [&missing, folder.path()] {
        let complaint = complaint(&lockstep([path(file)]), 2);
        let expected = format!(
            "error: cannot read {}: expected an RLE file or one of r-pentomino, acorn, die-hard, \
             pi-heptomino, glider-gun: ",
            file.display()
        );
        assert!(complaint.starts_with(&expected), "{complaint}");
    }
}

#[test]
fn a_plane_that_would_not_fit_in_memory_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("vast.rle");
    fs::write(&file, "x = 4294967295, y = 4294967295\no!").unwrap();
    for (pattern, generations, expected) in [
        (
            "acorn",
            "100000",
            "acorn: 7 x 3 cells that may spread for 100000 generations need 9559 MiB of memory, \
             more than the 1024 MiB there are: ask for fewer generations or a smaller pattern",
        ),
        (
            "acorn",
            "4294967295",
            "acorn: 7 x 3 cells that may spread for 4294967295 ",
        ),
        (
            path(&file),
            "1",
            "vast.rle: 4294967295 x 4294967295 cells that may spread for 1 ",
        ),
    ] {
        let complaint = complaint(&lockstep([pattern, "--generations", generations]), 2);
        assert!(complaint.contains(expected), "{complaint}");
    }
}

#[test]
fn options_out_of_range_are_refused() {
    for option in ["--generations", "--bands", "--workers", "--rounds"] {
        for value in ["0", "-1", "x", "99999999999"] {
            let output = output(example("lockstep").arg(format!("{option}={value}")));
            let err = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(2), "{err}");
            assert!(
                err.contains(option) && err.contains(&format!("'{value}'")),
                "{err}"
            );
        }
    }
}

#[test]
fn the_picture_has_a_white_pixel_for_each_live_cell() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("r.png");
    fs::write(&file, "what was there before").unwrap();
    result(&lockstep(["--png", path(&file)]));
    assert_eq!(white_pixels(&file).len(), 116);
    assert_eq!(entries(folder.path()), [&*file]);
}

#[test]
fn the_picture_is_the_pattern_with_a_margin_of_eight() {
    let folder = tempfile::tempdir().unwrap();
    let [pattern, file] = ["boat.rle", "boat.png"].map(|name| folder.path().join(name));
    fs::write(&pattern, "x = 3, y = 3\n2o$obo$bo!").unwrap();
    result(&lockstep([path(&pattern), "--png", path(&file)]));
    assert_eq!(
        white_pixels(&file),
        [(8, 8), (9, 8), (8, 9), (10, 9), (9, 10)]
    );
    assert_eq!(decoder(&file).info().size(), (19, 19));
}

#[test]
fn a_plane_without_life_makes_a_picture_too() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("nothing.png");
    result(&lockstep(["die-hard", "--png", path(&file)]));
    assert_eq!(white_pixels(&file), []);
    assert_eq!(decoder(&file).info().size(), (16, 16));
}

#[cfg(unix)]
#[test]
fn a_picture_is_written_through_a_link() {
    let folder = tempfile::tempdir().unwrap();
    let [file, link] = ["file", "link"].map(|name| folder.path().join(name));
    fs::write(&file, "").unwrap();
    std::os::unix::fs::symlink(&file, &link).unwrap();
    result(&lockstep(["pi-heptomino", "--png", path(&link)]));
    assert!(link.is_symlink());
    assert_eq!(white_pixels(&file).len(), 55);
}

fn decoder(picture: &Path) -> png::Reader<Cursor<Vec<u8>>> {
    let file = Cursor::new(fs::read(picture).unwrap());
    png::Decoder::new(file).read_info().unwrap()
}

/// Where they are: x and y.
fn white_pixels(picture: &Path) -> Vec<(usize, usize)> {
    let mut decoder = decoder(picture);
    assert_eq!(
        decoder.output_color_type(),
        (png::ColorType::Grayscale, png::BitDepth::One)
    );
    let mut pixels = vec![0; decoder.output_buffer_size().unwrap()];
    let info = decoder.next_frame(&mut pixels).unwrap();
    let rows = pixels.chunks(info.line_size).enumerate();
    rows.flat_map(|(y, row)| {
        let white = (0..8 * row.len()).filter(|x| row[x / 8] << (x % 8) & 0x80 != 0);
        white.map(move |x| (x, y))
    })
    .collect()
}

#[test]
fn a_picture_that_cannot_be_written_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let taken = folder.path().join("taken");
    fs::create_dir(&taken).unwrap();
    for file in [folder.path().join("missing/r.png"), taken.clone()] {
        let output = lockstep(["pi-heptomino", "--png", path(&file)]);
        let complaint = complaint(&output, 1);
        let expected = format!("error: cannot write {}: ", file.display());
        assert!(complaint.starts_with(&expected), "{complaint}");
        // What had been found out is not lost.
        assert!(output.stdout.starts_with(b"Pi-heptomino: 55 live cells"));
        assert_eq!(entries(folder.path()), [&*taken]);
        assert_eq!(entries(&taken), [] as [&Path; 0]);
    }
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap();
    entries.map(|entry| entry.unwrap().path()).collect()
}

/// The live cells as runs: row, column and how many.
fn runs_of(file: &str) -> Vec<(u32, u32, u32)> {
    let runs = rle::parse(file.as_bytes()).unwrap().runs.into_iter();
    let places = runs.map(|Run { row, column, cells }| (row, column, cells));
    places.collect()
}

#[test]
fn a_count_stands_for_cells_or_for_rows() {
    assert_eq!(
        runs_of("x = 12, y = 5\no$3$2b10o!"),
        [(0, 0, 1), (4, 2, 10)]
    );
}

#[test]
fn items_may_be_spread_over_lines_and_what_follows_the_end_is_comment() {
    let expected = [(0, 1, 2), (1, 0, 2), (2, 1, 1)];
    assert_eq!(runs_of("x = 3, y = 3\nb2o$2o$bo!"), expected);
    assert_eq!(
        runs_of("x=3,y=3\r\n b 2o $\r\n\r\n2o\t$bob$\r\n!5z\r\n#N 5z"),
        expected
    );
}

#[test]
fn conways_rule_has_several_spellings() {
    for file in [
        "x = 1, y = 1\no!",
        "x = 1, y = 1, rule = b3/s23\no!",
        "x = 1, y = 1, rule = S23/B3\no!",
        "x = 1, y = 1, rule=23/3\no!",
        "#r 23/3\nx = 1, y = 1\no!",
    ] {
        assert_eq!(runs_of(file), [(0, 0, 1)], "{file}");
    }
}

#[test]
fn a_name_may_be_in_any_encoding_and_cannot_command_the_terminal() {
    let name = |line: &[u8]| {
        rle::parse(&[line, b"\nx = 0, y = 0\n!"].concat())
            .unwrap()
            .name
    };
    assert_eq!(name(b"#N Two words "), Some("Two words".to_string()));
    assert_eq!(
        name(b"#N caf\xe9 \x1b[2J\x07"),
        Some("caf\u{fffd} [2J".to_string())
    );
    assert_eq!(name(b"#N "), None);
}

/// The live cells after so many generations in three bands, from the lowest row and column.
fn cells_after(generations: u32, file: &str) -> Vec<(usize, usize)> {
    let pattern = rle::parse(file.as_bytes()).unwrap();
    let plane = Plane::new(&pattern, Size::new(&pattern, generations).unwrap());
    let mut rows = Rows::new(&plane);
    for generation in 0..generations {
        // The order of the bands is nobody's business.
        for band in [2, 0, 1] {
            plane.step(generation, rows.band(band, 3));
        }
        rows.advance(&plane, generation + 1);
    }
    plane.census(generations).cells().collect()
}

#[test]
fn a_glider_has_moved_by_a_cell_after_four_generations() {
    // So many that it leaves the words it was in, and its first rows by far.
    const STEPS: usize = 100;
    let glider = "x = 3, y = 3\nbo$2bo$3o!";
    // The plane of the later one begins so much further up and to the left.
    let above = 4 * STEPS;
    let beside = 64 * above.div_ceil(64);
    let expected = cells_after(0, glider).into_iter();
    let expected = expected.map(|(row, column)| (row + above + STEPS, column + beside + STEPS));
    assert_eq!(
        cells_after(4 * STEPS as u32, glider),
        expected.collect::<Vec<_>>()
    );
}

#[test]
fn cells_come_alive_across_the_edges_of_the_pattern_and_of_its_words() {
    // Blinkers, upright in the outermost columns and across the words of the first row.
    let upright = "x = 64, y = 3\no62bo$o62bo$o62bo!";
    let flat = "x = 66, y = 1\n3o60b3o!";
    assert_eq!(
        cells_after(1, upright),
        [(3, 191), (3, 192), (3, 193), (3, 254), (3, 255), (3, 256)]
    );
    assert_eq!(
        cells_after(1, flat),
        [(1, 193), (1, 256), (2, 193), (2, 256), (3, 193), (3, 256)]
    );
    // And back.
    assert_eq!(cells_after(2, upright).len(), 6);
    assert_eq!(cells_after(2, flat).len(), 6);
}
