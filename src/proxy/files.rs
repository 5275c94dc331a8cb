//! The lock file next to a proxy certificate, and the checks that refuse files of other users.

use std::ffi::{OsStr, OsString};
use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, OFlags, flock};
use rustix::io::Errno;
use rustix::process::geteuid;

use super::{Failure, POLL_INTERVAL};
use crate::limits::Limits;

/// The free space that creating a proxy certificate requires, in bytes. A proxy certificate and arcproxy's output are
/// usually smaller.
const SPACE_NEEDED: usize = 64 << 10;

/// A lock on a file, released when dropped.
pub(super) struct Lock(File);

impl Lock {
    /// Waits until no other process or thread holds the lock file, for at most `timeout` and within the limits of a call.
    pub(super) fn acquire(path: &Path, timeout: Duration, limits: &Limits) -> Result<Lock, Failure> {
        let what = format!("the lock file {}", path.display());
        let io_failure = |e| Failure::io(format!("{what} cannot be locked"), e);
        // Without NONBLOCK, opening a named pipe would block.
        let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(flags.bits() as i32)
            .open(path)
            .map_err(io_failure)?;
        if let Some(why) = why_not_ours(&file.metadata().map_err(io_failure)?) {
            return Err(Failure::new(format!("{what} {why}; remove it")));
        }
        let deadline = Instant::now() + timeout;
        loop {
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(Lock(file)),
                Err(Errno::WOULDBLOCK | Errno::INTR) => {}
                Err(e) => return Err(io_failure(e.into())),
            }
            if Instant::now() >= deadline {
                return Err(Failure::new(format!(
                    "{what} has been held by another process for {timeout:?}; try again, or end that process"
                )));
            }
            if limits.sleep(POLL_INTERVAL).is_err() {
                return Err(Failure::new("the call was stopped"));
            }
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // A child that the program forked in the meantime shares the lock, so closing the file would not release it.
        let _ = flock(&self.0, FlockOperation::Unlock);
    }
}

/// Returns why a file must not be used or replaced, or `None` if it may be.
pub(super) fn why_not_ours(metadata: &Metadata) -> Option<String> {
    let user = geteuid().as_raw();
    if metadata.is_symlink() {
        Some("is a symbolic link, which may lead to another file".to_owned())
    } else if !metadata.is_file() {
        Some("is not a regular file".to_owned())
    } else if metadata.uid() != user {
        Some(format!("belongs to the user with id {}, not to the user with id {user}", metadata.uid()))
    } else {
        None
    }
}

/// Whether the file contains an encrypted private key.
pub(super) fn has_encrypted_key(path: &Path) -> io::Result<bool> {
    let mut text = Vec::new();
    File::open(path)?.take(1 << 20).read_to_end(&mut text)?;
    let encrypted = |line: &str| line.starts_with("-----BEGIN ENCRYPTED") || line.starts_with("Proc-Type: 4,ENCRYPTED");
    Ok(String::from_utf8_lossy(&text).lines().any(encrypted))
}

/// Checks that the disk has enough space by writing to `file`. On a full disk arcproxy fails without giving the reason.
pub(super) fn check_space(file: &Path) -> io::Result<()> {
    File::create(file)?.write_all(&[0; SPACE_NEEDED])
}

/// Returns the name `.NAMESUFFIX`.
pub(super) fn hidden(name: &OsStr, suffix: &str) -> OsString {
    let mut hidden = OsString::from(".");
    hidden.push(name);
    hidden.push(suffix);
    hidden
}
