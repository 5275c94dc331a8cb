//! [`OutputDirectory`]: a local directory that files of a CE cannot leave.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, RawDir, Stat};
use rustix::io::Errno;

use crate::backend::names::{MAX_PATH, refusal_of_path};
use crate::backend::{Destination, Fetched, SessionFile};
use crate::job::LeftOutReason;
use crate::util::{lock, random_hex};

/// The files that are at least this large are compared with the free space before they are downloaded.
const LARGE: u64 = 1 << 20;

/// How the directories are opened. A symbolic link in the place of one is an error.
const DIRECTORY: OFlags = OFlags::DIRECTORY.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC).union(OFlags::RDONLY);

/// The directory of the outputs of one job.
///
/// It is opened for each file, so that thousands of jobs do not need thousands of open files. It must be the same
/// directory each time, and everything below it is reached through open directories: a link that somebody plants there
/// meanwhile is not followed.
#[derive(Debug)]
pub(super) struct OutputDirectory {
    path: PathBuf,
    /// The absolute path.
    absolute: PathBuf,
    /// The identity of the directory, and of the one below it that contains files until they are whole. Both are on the
    /// same file system, so that files can be moved.
    root: Identity,
    partial: Identity,
    partial_name: String,
    /// The outputs that have been put in place. If the file system finds one of them under the name of another, the names
    /// collide. This also covers file systems that ignore case.
    placed: Mutex<HashSet<Identity>>,
}

/// The device and inode of a file or directory.
type Identity = (u64, u64);

/// An [`OutputDirectory`] in use.
struct Opened {
    root: OwnedFd,
    partial: OwnedFd,
}

impl OutputDirectory {
    /// Creates the directory `name` in `parent`, and both if necessary. `parent` is the choice of the caller, and may be a
    /// symbolic link. `name` may not.
    pub(super) fn create_in(parent: &Path, name: &str) -> io::Result<OutputDirectory> {
        fs::create_dir_all(parent)?;
        let parent_fd = rustix::fs::open(parent, OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::RDONLY, Mode::empty())?;
        let root = open_or_create(&parent_fd, name.as_ref()).map_err(|error| match error {
            Blocked::Link => not_followed(&parent.join(name)),
            Blocked::Other(error) => error.into(),
        })?;
        OutputDirectory::new(parent.join(name), &root)
    }

    /// Takes an existing directory, which is no symbolic link.
    pub(super) fn open(path: PathBuf) -> io::Result<OutputDirectory> {
        let root = rustix::fs::openat(CWD, &path, DIRECTORY, Mode::empty())?;
        OutputDirectory::new(path, &root)
    }

    fn new(path: PathBuf, root: &OwnedFd) -> io::Result<OutputDirectory> {
        let partial_name = format!(".partial-{}", random_hex()?);
        rustix::fs::mkdirat(root, &partial_name, Mode::RWXU)?;
        let partial = rustix::fs::openat(root, &partial_name, DIRECTORY, Mode::empty())?;
        Ok(OutputDirectory {
            absolute: std::path::absolute(&path)?,
            path,
            root: identity(&rustix::fs::fstat(root)?),
            partial: identity(&rustix::fs::fstat(&partial)?),
            partial_name,
            placed: Mutex::default(),
        })
    }

    fn opened(&self) -> io::Result<Opened> {
        let root = rustix::fs::openat(CWD, &self.absolute, DIRECTORY, Mode::empty())?;
        let partial = rustix::fs::openat(&root, &self.partial_name, DIRECTORY, Mode::empty())?;
        let is_same = |fd, expected| Ok::<_, Errno>(identity(&rustix::fs::fstat(fd)?) == expected);
        if is_same(&root, self.root)? && is_same(&partial, self.partial)? {
            return Ok(Opened { root, partial });
        }
        Err(io::Error::other(format!("{} was replaced by another directory", self.path.display())))
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns why a file of this name cannot be saved here.
    pub(super) fn refusal(&self, path: &OsStr) -> Option<LeftOutReason> {
        let is_too_long = self.absolute.as_os_str().len() + 1 + path.len() > MAX_PATH;
        refusal_of_path(path).or(is_too_long.then_some(LeftOutReason::NameTooLong))
    }

    /// Moves a temporary file to its place, and returns its size.
    fn place(&self, number: &str, file: &Path) -> Result<u64, NoPlace> {
        let Opened { root, partial } = self.opened().map_err(NoPlace::Error)?;
        let whole = rustix::fs::statat(&partial, number, AtFlags::SYMLINK_NOFOLLOW)?;
        let mut parent = root;
        for component in file.parent().into_iter().flat_map(Path::components) {
            parent = self.enter(&parent, component.as_os_str(), file)?;
        }
        let name = file.file_name().unwrap_or_default();
        // No other output may take the place between the look and the move.
        let mut placed = lock(&self.placed);
        if stat(&parent, name)?.is_some_and(|existing| placed.contains(&identity(&existing))) {
            return Err(NoPlace::Reason(LeftOutReason::NameCollision));
        }
        rustix::fs::renameat(&partial, number, &parent, name)?;
        placed.insert(identity(&whole));
        Ok(u64::try_from(whole.st_size).unwrap_or_default())
    }

    /// Opens a directory on the way to `file`, and creates it if necessary.
    fn enter(&self, parent: &OwnedFd, name: &OsStr, file: &Path) -> Result<OwnedFd, NoPlace> {
        match open_or_create(parent, name) {
            Ok(directory) => {
                lock(&self.placed).insert(identity(&rustix::fs::fstat(&directory)?));
                Ok(directory)
            }
            Err(Blocked::Link) => Err(NoPlace::Error(not_followed(&self.path.join(file)))),
            Err(Blocked::Other(Errno::NOTDIR)) if self.is_placed(stat(parent, name)?.as_ref()) => {
                Err(NoPlace::Reason(LeftOutReason::NameCollision))
            }
            Err(Blocked::Other(error)) => Err(error.into()),
        }
    }

    fn is_placed(&self, existing: Option<&Stat>) -> bool {
        existing.is_some_and(|existing| lock(&self.placed).contains(&identity(existing)))
    }
}

impl Destination for OutputDirectory {
    fn create(&self, number: usize, size: Option<u64>) -> io::Result<File> {
        let partial = self.opened()?.partial;
        if let Some(size) = size.filter(|size| *size >= LARGE) {
            require_room(&partial, size)?;
        }
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(File::from(rustix::fs::openat(&partial, number.to_string(), flags, Mode::from_raw_mode(0o666))?))
    }

    fn temporary_path(&self, number: usize) -> PathBuf {
        self.absolute.join(&self.partial_name).join(number.to_string())
    }

    fn discard(&self, number: usize) {
        if let Ok(opened) = self.opened() {
            let _ = rustix::fs::unlinkat(&opened.partial, number.to_string(), AtFlags::empty());
        }
    }

    fn keep(&self, number: usize, file: &SessionFile) -> io::Result<Fetched> {
        let placed = match self.refusal(&file.path) {
            Some(reason) => Err(NoPlace::Reason(reason)),
            None => self.place(&number.to_string(), Path::new(&file.path)),
        };
        if placed.is_err() {
            self.discard(number);
        }
        match placed {
            Ok(bytes) => Ok(Fetched::Kept { bytes }),
            Err(NoPlace::Reason(reason)) => Ok(Fetched::LeftOut(reason)),
            Err(NoPlace::Error(error)) => Err(error),
        }
    }

    fn shown(&self, file: &SessionFile) -> PathBuf {
        // `join` would follow an absolute name.
        match refusal_of_path(&file.path) {
            Some(_) => self.path.clone(),
            None => self.path.join(&file.path),
        }
    }
}

impl Drop for OutputDirectory {
    /// Removes the temporary files that are left.
    fn drop(&mut self) {
        let Ok(opened) = self.opened() else { return };
        let mut names = Vec::new();
        if let Ok(directory) = rustix::fs::openat(&opened.partial, ".", DIRECTORY, Mode::empty()) {
            let mut buffer = Vec::with_capacity(8192);
            let mut entries = RawDir::new(directory, buffer.spare_capacity_mut());
            while let Some(Ok(entry)) = entries.next() {
                names.push(entry.file_name().to_owned());
            }
        }
        for name in names {
            let _ = rustix::fs::unlinkat(&opened.partial, &name, AtFlags::empty());
        }
        let _ = rustix::fs::unlinkat(&opened.root, &self.partial_name, AtFlags::REMOVEDIR);
    }
}

/// Why a directory cannot be entered.
enum Blocked {
    /// A symbolic link is in its place.
    Link,
    Other(Errno),
}

/// Why a file cannot be moved to its place.
enum NoPlace {
    Reason(LeftOutReason),
    Error(io::Error),
}

impl From<Errno> for NoPlace {
    fn from(error: Errno) -> Self {
        match error {
            Errno::NAMETOOLONG => NoPlace::Reason(LeftOutReason::NameTooLong),
            // File systems of other operating systems refuse some names.
            Errno::INVAL | Errno::ILSEQ => NoPlace::Reason(LeftOutReason::UnsafeName),
            error => NoPlace::Error(error.into()),
        }
    }
}

/// Opens a directory, and creates it if necessary.
fn open_or_create(parent: &OwnedFd, name: &OsStr) -> Result<OwnedFd, Blocked> {
    let open = || rustix::fs::openat(parent, name, DIRECTORY, Mode::empty());
    let mut opened = open();
    if matches!(opened, Err(Errno::NOENT)) {
        match rustix::fs::mkdirat(parent, name, Mode::from_raw_mode(0o777)) {
            Ok(()) | Err(Errno::EXIST) => opened = open(),
            Err(error) => return Err(Blocked::Other(error)),
        }
    }
    opened.map_err(|error| {
        let is_link = || {
            let existing = stat(parent, name).ok().flatten();
            existing.is_some_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Symlink)
        };
        if matches!(error, Errno::NOTDIR | Errno::LOOP) && is_link() { Blocked::Link } else { Blocked::Other(error) }
    })
}

/// Looks at what has a name in a directory, without following a link.
fn stat(parent: &OwnedFd, name: &OsStr) -> Result<Option<Stat>, Errno> {
    match rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(error),
    }
}

fn identity(stat: &Stat) -> Identity {
    (stat.st_dev, stat.st_ino)
}

/// Fails if the file system has no room for a file. Succeeds if it does not tell.
fn require_room(directory: &OwnedFd, size: u64) -> io::Result<()> {
    let Ok(system) = rustix::fs::fstatvfs(directory) else { return Ok(()) };
    let free = system.f_bavail.saturating_mul(system.f_frsize);
    if system.f_blocks == 0 || size <= free {
        return Ok(());
    }
    let message = format!("the file has {size} bytes, and {free} bytes are free");
    Err(io::Error::new(io::ErrorKind::StorageFull, message))
}

fn not_followed(path: &Path) -> io::Error {
    io::Error::other(format!("a symbolic link is in the way of {}, and is not followed", path.display()))
}
