//! Tells whether the process that claimed an entry of the journal is still alive.
//!
//! Each journal that a process opens has a file that the process keeps locked with `flock`. The kernel drops the lock when
//! the process ends in any way. A process id would not do: containers that share a journal do not share their ids.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use crate::util::random_hex;

/// A claimant, alive until it is dropped or the process ends.
#[derive(Debug)]
pub(super) struct Owner {
    name: String,
    path: PathBuf,
    _locked: File,
}

impl Owner {
    /// Creates a claimant in a directory, which is created if necessary. Removes the files of dead ones.
    pub(super) fn new(directory: &Path) -> io::Result<Owner> {
        match DirBuilder::new().mode(0o700).create(directory) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        for entry in fs::read_dir(directory)?.flatten() {
            remove_if_dead(&entry.path());
        }
        loop {
            let name = random_hex()?;
            let path = directory.join(&name);
            create_private(&path)?;
            // Another process may lock the file for a moment, or remove it, before it is locked here.
            let file = match File::open(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                opened => opened?,
            };
            if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
                continue;
            }
            match fs::metadata(&path) {
                Ok(found) if found.ino() == file.metadata()?.ino() => return Ok(Owner { name, path, _locked: file }),
                _ => {}
            }
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Whether the claimant with this name is alive.
    pub(super) fn is_alive(&self, name: &str) -> bool {
        let Some(directory) = self.path.parent() else { return true };
        let path = directory.join(name);
        match File::open(&path) {
            // Without the lock nobody is alive. Any other failure than a missing file says nothing.
            Ok(file) => flock(&file, FlockOperation::NonBlockingLockExclusive).is_err(),
            Err(error) => error.kind() != io::ErrorKind::NotFound,
        }
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

fn remove_if_dead(path: &Path) {
    let Ok(file) = File::open(path) else { return };
    if flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok() {
        let _ = fs::remove_file(path);
    }
}

/// Creates an empty file that only its owner can access, unless it exists.
pub(super) fn create_private(path: &Path) -> io::Result<()> {
    OpenOptions::new().append(true).create(true).mode(0o600).open(path).map(drop)
}
