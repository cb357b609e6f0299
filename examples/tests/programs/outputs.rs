//! The files that examples write: only files are replaced, whole or not at all, and nothing stays behind.

use std::{
    fs::{self, File, Permissions},
    os::unix::{
        fs::{FileTypeExt, PermissionsExt, symlink},
        net::UnixListener,
        process::ExitStatusExt,
    },
    path::Path,
    process::{Command, Stdio},
    thread,
};

use crate::program::{complaint, entries, example, output, report};

/// Each option that names a file to write, given `out`.
fn writers(out: &Path) -> [Command; 3] {
    writers_after(&["--rounds=1"], out)
}

/// The same, where `options` make the run of `lockstep` short or long.
fn writers_after(options: &[&str], out: &Path) -> [Command; 3] {
    let (mut text, mut png, mut gif) = (
        example("snapshot"),
        example("lockstep"),
        example("lockstep"),
    );
    text.arg("--out").arg(out);
    png.arg("die-hard").args(options).arg("--png").arg(out);
    gif.arg("die-hard").args(options).arg("--gif").arg(out);
    [text, png, gif]
}

/// Asserts that `out` is refused before the run, which would last for hours.
fn assert_refused(out: &Path, why: &str) {
    let long = ["--generations=20000", "--bands=10000", "--rounds=10000"];
    for mut command in writers_after(&long, out) {
        let output = output(&mut command);
        assert_eq!(
            complaint(&output, 2),
            format!("error: cannot write {}: {why}", out.display())
        );
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn a_link_that_leads_nowhere_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let link = folder.path().join("link");
    symlink("nowhere", &link).unwrap();
    assert_refused(&link, "it is a link to nowhere, which does not exist");
    assert_eq!(fs::read_link(&link).unwrap(), Path::new("nowhere"));
    assert_eq!(entries(folder.path()), [link]);
}

#[test]
fn what_is_neither_a_file_nor_a_stream_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    assert_refused(folder.path(), "it is a folder");
    let socket = folder.path().join("socket");
    let _listener = UnixListener::bind(&socket).unwrap();
    assert_refused(
        &socket,
        "it is neither a file nor a pipe nor a character device",
    );
    assert!(fs::metadata(&socket).unwrap().file_type().is_socket());
    assert_eq!(entries(folder.path()), [socket]);
}

#[test]
fn where_no_file_can_be_made_the_run_does_not_begin() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("missing");
    let why = format!(
        "its folder {}: No such file or directory (os error 2)",
        missing.display()
    );
    assert_refused(&missing.join("out"), &why);
    assert_refused(&folder.path().join("new/"), "it names a folder");
    assert_eq!(entries(folder.path()), [] as [&Path; 0]);
}

#[cfg(target_os = "linux")]
#[test]
fn a_folder_that_takes_no_file_is_noticed_before_the_run() {
    assert_refused(
        Path::new("/proc/self/out"),
        "no file can be made in /proc/self: entity not found",
    );
}

#[test]
fn what_is_standard_output_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let [file, link] = ["file", "link"].map(|name| folder.path().join(name));
    symlink("/dev/fd/1", &link).unwrap();
    for out in [&file, &link] {
        for mut command in writers(out) {
            let redirected = File::create(&file).unwrap();
            let output = output(command.stdout(redirected));
            let expected = format!(
                "error: cannot write {}: it is standard output too",
                out.display()
            );
            assert_eq!(complaint(&output, 2), expected);
        }
        // As a pipe it has no name.
        for mut command in writers(&link) {
            let output = output(&mut command);
            let expected = format!(
                "error: cannot write {}: it is standard output too",
                link.display()
            );
            assert_eq!(complaint(&output, 2), expected);
        }
    }
    assert!(link.is_symlink());
    assert_eq!(entries(folder.path()), [file, link]);
}

#[test]
fn what_is_read_is_not_written_whatever_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let [file, link, hard] = ["file", "link", "hard"].map(|name| folder.path().join(name));
    let content = "x = 2, y = 2\n2o$2o!\n";
    fs::write(&file, content).unwrap();
    fs::hard_link(&file, &hard).unwrap();
    symlink("file", &link).unwrap();
    for out in [&file, &link, &hard] {
        let [mut text, mut standard] = [(); 2].map(|()| example("snapshot"));
        text.arg(&file).arg("--out").arg(out);
        standard
            .arg("-")
            .stdin(File::open(&file).unwrap())
            .arg("--out")
            .arg(out);
        let [mut png, mut gif] = [(); 2].map(|()| example("lockstep"));
        png.arg(&file).args(["--rounds=1", "--png"]).arg(out);
        gif.arg(&file).args(["--rounds=1", "--gif"]).arg(out);
        for (mut command, what) in [
            (text, "the text"),
            (standard, "the text"),
            (png, "the pattern"),
            (gif, "the pattern"),
        ] {
            let expected = format!("error: cannot write {}: it is {what} too", out.display());
            assert_eq!(complaint(&output(&mut command), 2), expected);
        }
    }
    assert!(link.is_symlink());
    assert_eq!(fs::read_to_string(&hard).unwrap(), content);
    assert_eq!(entries(folder.path()), [file, hard, link]);
}

#[test]
fn two_pictures_do_not_go_to_one_file() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("sub")).unwrap();
    let [png, gif] = ["new", "sub/../new"].map(|name| folder.path().join(name));
    let mut command = example("lockstep");
    command
        .args(["die-hard", "--rounds=1", "--png"])
        .arg(&png)
        .arg("--gif")
        .arg(&gif);
    let expected = format!(
        "error: cannot write {}: it is the file of --png too",
        gif.display()
    );
    assert_eq!(complaint(&output(&mut command), 2), expected);
    assert!(!png.exists());
}

#[test]
fn a_file_that_is_replaced_keeps_its_mode() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    for mode in [0o600, 0o640, 0o666, 0o777] {
        for mut command in writers(&out) {
            fs::write(&out, "what was there before").unwrap();
            fs::set_permissions(&out, Permissions::from_mode(mode)).unwrap();
            report(&output(&mut command));
            assert_ne!(fs::read(&out).unwrap(), b"what was there before");
            assert_eq!(
                fs::metadata(&out).unwrap().permissions().mode() & 0o7777,
                mode
            );
        }
    }
    assert_eq!(entries(folder.path()), [out]);
}

#[test]
fn a_new_file_has_the_mode_of_any_other() {
    let folder = tempfile::tempdir().unwrap();
    let [out, other] = ["out", "other"].map(|name| folder.path().join(name));
    File::create(&other).unwrap();
    for mut command in writers(&out) {
        report(&output(&mut command));
        let [out, other] = [&out, &other].map(|file| fs::metadata(file).unwrap().permissions());
        assert_eq!(out, other);
        fs::remove_file(folder.path().join("out")).unwrap();
    }
}

#[test]
fn a_link_stays_and_what_it_leads_to_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let [file, link] = ["file", "link"].map(|name| folder.path().join(name));
    fs::write(&file, "").unwrap();
    symlink(&file, &link).unwrap();
    for mut command in writers(&link) {
        fs::write(&file, "").unwrap();
        report(&output(&mut command));
        assert!(link.is_symlink());
        assert_ne!(fs::read(&file).unwrap(), b"");
    }
    assert_eq!(entries(folder.path()), [file, link]);
}

#[test]
fn a_pipe_is_written_to() {
    let folder = tempfile::tempdir().unwrap();
    let [pipe, file] = ["pipe", "file"].map(|name| folder.path().join(name));
    assert!(
        Command::new("mkfifo")
            .arg(&pipe)
            .status()
            .unwrap()
            .success()
    );
    for (mut command, mut to_file) in writers(&pipe).into_iter().zip(writers(&file)) {
        let reader = thread::spawn({
            let pipe = pipe.clone();
            move || fs::read(pipe).unwrap()
        });
        report(&output(&mut command));
        report(&output(&mut to_file));
        let (read, expected) = (reader.join().unwrap(), fs::read(&file).unwrap());
        // A text that is counted has five snapshots, one after the other.
        assert!(!expected.is_empty() && read.ends_with(&expected));
        assert!(fs::metadata(&pipe).unwrap().file_type().is_fifo());
    }
    assert_eq!(entries(folder.path()), [file, pipe]);
}

#[cfg(target_os = "linux")]
#[test]
fn a_device_is_written_to() {
    for mut command in writers(Path::new("/dev/null")) {
        report(&output(command.stdin(Stdio::null())));
        // Nothing is lost where both go to nowhere.
        assert!(command.stdout(Stdio::null()).status().unwrap().success());
    }
    let full = Path::new("/dev/full");
    let [mut text, png, gif] = writers(full);
    let [mut goes_on, ..] = writers(full);
    text.arg("--on-loss=stop");
    goes_on.arg("--on-loss=continue");
    for mut command in [text, goes_on, png, gif] {
        assert_eq!(
            complaint(&output(&mut command), 1),
            "error: cannot write /dev/full: No space left on device (os error 28)"
        );
    }
    for device in ["/dev/null", "/dev/full"] {
        let kind = fs::metadata(device).unwrap().file_type();
        assert!(kind.is_char_device());
    }
}

/// A text whose snapshots are long, many, and take a while.
fn long_text(folder: &Path, every: u32) -> Command {
    let text = folder.join("text");
    let lines = (0..20_000).map(|number| format!("word{number}\n"));
    fs::write(&text, lines.collect::<String>()).unwrap();
    let mut command = example("snapshot");
    command
        .arg(&text)
        .arg(format!("--every={every}"))
        .arg("--out")
        .arg(folder.join("out"));
    command
}

#[test]
fn a_signal_leaves_no_temporary_file_behind() {
    for (name, number) in [("INT", 2), ("TERM", 15)] {
        for _ in 0..10 {
            let folder = tempfile::tempdir().unwrap();
            let out = folder.path().join("out");
            let mut run = long_text(folder.path(), 1)
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            while !out.exists() {
                assert!(run.try_wait().unwrap().is_none());
                thread::yield_now();
            }
            let kill = format!("kill -{name} {}", run.id());
            assert!(
                Command::new("sh")
                    .args(["-c", &kill])
                    .status()
                    .unwrap()
                    .success()
            );
            assert_eq!(run.wait().unwrap().signal(), Some(number));
            assert_eq!(entries(folder.path()), [out, folder.path().join("text")]);
        }
    }
}

#[test]
fn a_write_that_fails_half_way_leaves_what_was_there_before() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    fs::write(&out, "what was there before").unwrap();
    let command = long_text(folder.path(), 20_000);
    let mut shell = Command::new("sh");
    shell
        .args(["-c", "ulimit -f 8; exec \"$@\"", "sh"])
        .arg(command.get_program());
    let output = output(shell.args(command.get_args()));
    assert_eq!(
        complaint(&output, 1),
        format!(
            "error: cannot write {}: File too large (os error 27)",
            out.display()
        )
    );
    assert!(output.stdout.is_empty());
    assert_eq!(fs::read(&out).unwrap(), b"what was there before");
    assert_eq!(entries(folder.path()), [out, folder.path().join("text")]);
}
