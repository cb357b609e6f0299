//! Output files. Only a regular file, or nothing, is replaced, and it is replaced whole or not at all.

use std::{
    fs::{self, File, Metadata, OpenOptions},
    io::{self, ErrorKind, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail, ensure};

use crate::{Place, shown, temporary::Temporary};

/// Where to write. `open` has checked that it can be written, without a change to it.
#[derive(Debug)]
pub struct Output {
    name: String,
    place: Option<Place>,
    target: Target,
}

#[derive(Debug)]
enum Target {
    /// A regular file, or nothing so far: replaced.
    File { folder: PathBuf, path: PathBuf },
    /// A pipe or a character device: written in place.
    Stream(File),
}

impl Output {
    /// Checks what is at `path`. It must not be standard output, standard error, or one of `taken`: what else the
    /// example reads or writes, each with its name in messages.
    pub fn open(path: &Path, taken: &[(&str, Option<Place>)]) -> Result<Output> {
        let name = shown(path);
        let open = || {
            let metadata = look(path)?;
            let place = match &metadata {
                Some(metadata) => Place::of(metadata),
                None => new(path)?,
            };
            let streams = [
                ("standard output", Place::of_stream(io::stdout())),
                ("standard error", Place::of_stream(io::stderr())),
            ];
            for (what, taken) in streams.iter().chain(taken) {
                ensure!(place.is_none() || place != *taken, "it is {what} too");
            }
            anyhow::Ok((place, Target::open(path, metadata)?))
        };
        let (place, target) = open().with_context(|| format!("cannot write {name}"))?;
        Ok(Output {
            name,
            place,
            target,
        })
    }

    /// Its name in messages.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it is, if it has a place.
    pub fn place(&self) -> Option<&Place> {
        self.place.as_ref()
    }

    /// Writes all of `content`. A file then has this content alone.
    pub fn write(&mut self, content: &[u8]) -> Result<()> {
        match &mut self.target {
            Target::File { folder, path } => replace(folder, path, content),
            Target::Stream(stream) => stream.write_all(content).map_err(Into::into),
        }
        .with_context(|| format!("cannot write {}", self.name))
    }
}

impl Target {
    fn open(path: &Path, metadata: Option<Metadata>) -> Result<Target> {
        let path = match metadata {
            None => path.to_path_buf(),
            Some(metadata) if !metadata.is_file() => return Target::stream(path, &metadata),
            Some(metadata) => {
                OpenOptions::new().write(true).open(path)?;
                // Links stay, and what they lead to is replaced.
                let path = path.canonicalize()?;
                let there = fs::symlink_metadata(&path).ok();
                ensure!(
                    there.is_some_and(|there| Place::of(&there) == Place::of(&metadata)),
                    "it is a file without a name that could be replaced"
                );
                path
            }
        };
        let folder = folder(&path).to_path_buf();
        Temporary::create(&folder, false)?;
        Ok(Target::File { folder, path })
    }

    #[cfg(unix)]
    fn stream(path: &Path, metadata: &Metadata) -> Result<Target> {
        use std::os::unix::fs::FileTypeExt;

        let kind = metadata.file_type();
        if kind.is_dir() {
            bail!("it is a folder");
        } else if kind.is_fifo() || kind.is_char_device() {
            Ok(Target::Stream(OpenOptions::new().write(true).open(path)?))
        } else {
            bail!("it is neither a file nor a pipe nor a character device");
        }
    }

    #[cfg(not(unix))]
    fn stream(_: &Path, _: &Metadata) -> Result<Target> {
        bail!("it is not a file");
    }
}

/// What is at `path`, if there is anything.
fn look(path: &Path) -> Result<Option<Metadata>> {
    match fs::metadata(path) {
        Ok(metadata) => Ok(Some(metadata)),
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error.into()),
        Err(_) => {
            if let Ok(end) = path.read_link() {
                bail!("it is a link to {}, which does not exist", shown(&end));
            }
            Ok(None)
        }
    }
}

/// The place of a file that is to be made at `path`.
fn new(path: &Path) -> Result<Option<Place>> {
    let name = path.file_name().context("it names no file")?;
    let slash = path.as_os_str().as_encoded_bytes().ends_with(b"/");
    ensure!(!slash, "it names a folder");
    let folder = folder(path);
    let metadata = fs::metadata(folder).with_context(|| format!("its folder {}", shown(folder)))?;
    Ok(Place::new(&metadata, name.to_os_string()))
}

fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    }
}

/// Replaces what is at `path` once all of `content` is on the disk, or changes nothing.
fn replace(folder: &Path, path: &Path, content: &[u8]) -> Result<()> {
    let before = match fs::symlink_metadata(path) {
        Ok(before) => Some(before),
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(error) => return Err(error.into()),
    };
    let mut temporary = Temporary::create(folder, before.is_some())?;
    temporary.file().write_all(content)?;
    if let Some(before) = before {
        ensure!(before.is_file(), "it is not a file any longer");
        // Its owner too, if that is allowed.
        #[cfg(unix)]
        {
            use std::os::unix::fs::{MetadataExt, fchown};
            _ = fchown(temporary.file(), Some(before.uid()), Some(before.gid()));
        }
        temporary.file().set_permissions(before.permissions())?;
    }
    temporary.file().sync_all()?;
    temporary.persist(path)?;
    // The new name is on the disk only when the folder is.
    #[cfg(unix)]
    File::open(folder)?.sync_all()?;
    Ok(())
}
