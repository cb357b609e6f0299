//! The example `lockstep`: the program as it is built, and by themselves its parts.

use std::{fs, io::Cursor, path::Path, process::Output};

use crate::life::{Plane, Rows, Size};
use crate::program::{assert_refused_out_of_range, complaint, entries, example, output, report};
use crate::rle::{self, Run};
use crate::runs;
use atomic_barrier::phaser::Participant;

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
        "R-pentomino: 116 live cells at generation 1103, the same cells in all 4 runs"
    );
    let table = String::from_utf8(output.stdout).unwrap();
    assert!(table.contains("8 bands on "), "{table}");
    for row in ["whole run ", "waits of one generation "] {
        let row = table.lines().find(|line| line.starts_with(row)).unwrap();
        let numbers = row
            .split_whitespace()
            .filter_map(|word| word.parse::<f64>().ok());
        assert_eq!(numbers.filter(|&number| number > 0.0).count(), 5, "{row}");
    }
}

#[test]
fn the_acorn_has_633_cells_at_generation_5206() {
    assert_eq!(
        result(&lockstep(["acorn"])),
        "Acorn: 633 live cells at generation 5206, the same cells in all 4 runs"
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
        "Gosper glider gun: 86 live cells at generation 300, the same cells in all 4 runs"
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
            "{}: 4 live cells at generation 1000, the same cells in all 4 runs",
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
    /// Waits for nobody.
    struct Hasty;

    impl runs::Party for Hasty {
        const NAME: &str = "nothing to wait at";

        fn parties(tasks: usize) -> Vec<Self> {
            (0..tasks).map(|_| Hasty).collect()
        }

        async fn wait(&mut self) -> bool {
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
        waits: 1,
        // One thread, so that the first band has come to its end before the second begins.
        runtime: tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap(),
        bar: indicatif::ProgressBar::hidden(),
    };
    let (expected, _) = course.sequential();
    let mut times = runs::Times::default();
    let error = times
        .measure::<Hasty>(&course, &expected)
        .unwrap_err()
        .to_string();
    assert!(
        error.starts_with("R: the run with nothing to wait at ended with "),
        "{error}"
    );
    assert!(
        error.ends_with(" live cells, the sequential run with 32 others"),
        "{error}"
    );
    assert!(times.run.is_empty());

    times.measure::<Participant>(&course, &expected).unwrap();
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
        let expected = format!("error: cannot read {}: ", file.display());
        assert!(complaint.starts_with(&expected), "{complaint}");
        assert!(
            complaint
                .ends_with("; built in are r-pentomino, acorn, die-hard, pi-heptomino, glider-gun"),
            "{complaint}"
        );
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
fn numbers_out_of_range_are_refused() {
    for (option, least, most) in [
        ("--generations", 1, i64::from(u32::MAX)),
        ("--bands", 1, 10000),
        ("--workers", 1, 1000),
        ("--rounds", 1, 10000),
    ] {
        assert_refused_out_of_range("lockstep", option, least, most);
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

/// The pixels of each frame of a film, drawn over those before, and the film's width.
fn frames(film: &Path) -> (usize, Vec<Vec<u8>>) {
    let mut decoder = gif::DecodeOptions::new();
    decoder.set_color_output(gif::ColorOutput::Indexed);
    let mut decoder = decoder.read_info(fs::File::open(film).unwrap()).unwrap();
    let [width, height] = [decoder.width(), decoder.height()].map(usize::from);
    let mut frames: Vec<Vec<u8>> = Vec::new();
    while let Some(frame) = decoder.read_next_frame().unwrap() {
        let [left, top] = [frame.left, frame.top].map(usize::from);
        let [across, down] = [frame.width, frame.height].map(usize::from);
        let mut pixels = match frames.last() {
            Some(pixels) => pixels.clone(),
            None => {
                assert_eq!((left, top, across, down), (0, 0, width, height));
                vec![0; width * height]
            }
        };
        for (y, row) in frame.buffer.chunks(across).enumerate() {
            pixels[(top + y) * width + left..][..across].copy_from_slice(row);
        }
        frames.push(pixels);
    }
    (width, frames)
}

/// What pixels are in a film: those of live cells, and those of cells that lived before.
const LIVE: u8 = 2;
const TRAIL: u8 = 1;

#[test]
fn a_film_shows_every_generation_of_a_short_run() {
    let folder = tempfile::tempdir().unwrap();
    let [pattern, film] = ["blinker.rle", "blinker.gif"].map(|name| folder.path().join(name));
    fs::write(&pattern, "x = 3, y = 1\n3o!").unwrap();
    result(&lockstep([
        path(&pattern),
        "--generations=3",
        "--gif",
        path(&film),
    ]));
    let (width, frames) = frames(&film);
    // A margin of 8 around 3 x 3 cells, and 8 pixels to a cell.
    assert_eq!(width, 19 * 8);
    let cells = |pixels: &Vec<u8>, what| -> Vec<(usize, usize)> {
        let places = (8..11).flat_map(|y| (8..11).map(move |x| (x - 8, y - 8)));
        let pixel = |x: usize, y: usize| pixels[(y * 8 + 67) * width + x * 8 + 67];
        places.filter(|&(x, y)| pixel(x, y) == what).collect()
    };
    let (flat, upright) = ([(0, 1), (1, 1), (2, 1)], [(1, 0), (1, 1), (1, 2)]);
    let lives = [flat, upright, flat, upright];
    let trails = [
        vec![],
        vec![(0, 1), (2, 1)],
        vec![(1, 0), (1, 2)],
        vec![(0, 1), (2, 1)],
    ];
    assert_eq!(frames.len(), 4);
    for ((frame, live), trail) in frames.iter().zip(lives).zip(trails) {
        assert_eq!(cells(frame, LIVE), live);
        assert_eq!(cells(frame, TRAIL), trail);
        let drawn = frame.iter().filter(|&&pixel| pixel != 0).count();
        assert_eq!(drawn, 64 * (live.len() + cells(frame, TRAIL).len()));
    }
}

#[test]
fn a_film_is_bounded_in_frames_and_in_size() {
    let folder = tempfile::tempdir().unwrap();
    let film = folder.path().join("film.gif");
    for (pattern, generations, expected) in [
        ("r-pentomino", "299", 300),
        ("r-pentomino", "300", 151),
        ("r-pentomino", "1103", 277),
        // Nothing changes for most of it.
        ("die-hard", "900", 226),
    ] {
        let generations = format!("--generations={generations}");
        result(&lockstep([pattern, &generations, "--gif", path(&film)]));
        let (width, frames) = frames(&film);
        assert_eq!(frames.len(), expected, "{pattern} {generations}");
        assert!(width <= 480 && frames[0].len() <= 480 * width);
        let last = frames.last().unwrap().iter();
        let live = last.filter(|&&pixel| pixel == LIVE).count();
        assert_eq!(live > 0, pattern != "die-hard");
    }
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
