//! Where a file is, whatever its name.

use std::{ffi::OsString, fs::Metadata};

/// The device and inode of a file; or of its folder, with its name, if it is not there yet.
///
/// Character devices have none: what is written to them replaces nothing. Nor has any file where the system
/// has no inodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    device: u64,
    inode: u64,
    new: Option<OsString>,
}

#[cfg(unix)]
impl Place {
    pub(crate) fn of(metadata: &Metadata) -> Option<Place> {
        use std::os::unix::fs::{FileTypeExt, MetadataExt};

        (!metadata.file_type().is_char_device()).then(|| Place {
            device: metadata.dev(),
            inode: metadata.ino(),
            new: None,
        })
    }

    pub(crate) fn of_stream(stream: impl std::os::fd::AsFd) -> Option<Place> {
        let stream = stream.as_fd().try_clone_to_owned().ok()?;
        Place::of(&std::fs::File::from(stream).metadata().ok()?)
    }
}

#[cfg(not(unix))]
impl Place {
    pub(crate) fn of(_: &Metadata) -> Option<Place> {
        None
    }

    pub(crate) fn of_stream<T>(_: T) -> Option<Place> {
        None
    }
}

impl Place {
    /// A file that is not there yet.
    pub(crate) fn new(folder: &Metadata, name: OsString) -> Option<Place> {
        Some(Place {
            new: Some(name),
            ..Place::of(folder)?
        })
    }
}
