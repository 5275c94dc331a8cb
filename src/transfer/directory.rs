//! [`OutputDirectory`]: a local directory that files of a CE cannot leave.

use std::collections::{HashMap, HashSet};
use std::ffi::{CString, OsStr};
use std::fmt::Write;
use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fs::{AtFlags, CWD, FileType, FlockOperation, Mode, OFlags, RawDir, Stat};
use rustix::io::Errno;
use sha2::{Digest, Sha256};

use crate::backend::Fetched;
use crate::backend::names::{MAX_PATH, refusal_of_path};
use crate::job::LeftOutReason;
use crate::util::{lock, random_hex};

/// The files that are at least this large are compared with the free space before they are downloaded.
const LARGE: u64 = 1 << 20;

/// The directory of incomplete downloads that a later call continues, below the directory of the outputs. Only its owner
/// can use it.
const RESUMABLE: &str = ".partial-resume";

/// How the directory of temporary files begins.
const PARTIAL: &[u8] = b".partial-";

/// What a program that was killed has left is removed after this time. A file that is being downloaded is never so old.
const ABANDONED_AFTER: Duration = Duration::from_secs(24 * 3600);

/// How often the directory of incomplete downloads is opened, if other processes remove it.
const OPEN_ATTEMPTS: u32 = 100;

/// How the directories are opened. A symbolic link in the place of one is an error.
const DIRECTORY: OFlags = OFlags::DIRECTORY.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC).union(OFlags::RDONLY);

/// The directory of the outputs of one job.
///
/// It is opened for each file, so that thousands of jobs do not need thousands of open files. It must be the same
/// directory each time, and everything below it is reached through open directories: a link that somebody plants there
/// meanwhile is not followed.
#[derive(Debug)]
pub(crate) struct OutputDirectory {
    path: PathBuf,
    /// The absolute path.
    absolute: PathBuf,
    root: Identity,
    /// The directory below it that contains files until they are whole, as soon as there is one. Both are on the same file
    /// system, so that files can be moved.
    partial: Mutex<Option<Identity>>,
    partial_name: String,
    /// The outputs that have been put in place, and their directories. If the file system finds one of them under the name of
    /// another, the names collide. This also covers file systems that ignore case.
    placed: Mutex<HashMap<Identity, Box<Path>>>,
    /// The downloads that are being continued, by the numbers of their files: their names in [`RESUMABLE`], and the open
    /// files, which hold locks.
    resumed: Mutex<HashMap<usize, (String, File)>>,
}

/// The device and inode of a file or directory.
type Identity = (u64, u64);

impl OutputDirectory {
    /// Takes a directory that the caller has chosen, and creates it if necessary. It may be a symbolic link.
    pub(crate) fn at(path: &Path) -> io::Result<OutputDirectory> {
        fs::create_dir_all(path)?;
        let path = fs::canonicalize(path)?;
        let root = rustix::fs::openat(CWD, &path, DIRECTORY, Mode::empty())?;
        OutputDirectory::new(path, &root)
    }

    /// Creates the directory `name` in `parent`, and both if necessary. `parent` is the choice of the caller, and may be a
    /// symbolic link. `name` may not.
    pub(crate) fn create_in(parent: &Path, name: &str) -> io::Result<OutputDirectory> {
        fs::create_dir_all(parent)?;
        let parent_fd = rustix::fs::open(parent, OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::RDONLY, Mode::empty())?;
        let root = open_or_create(&parent_fd, name.as_ref()).map_err(|error| match error {
            Blocked::Link => not_followed(&parent.join(name)),
            Blocked::Other(error) => error.into(),
        })?;
        OutputDirectory::new(parent.join(name), &root)
    }

    /// Takes an existing directory, which is no symbolic link.
    pub(crate) fn open(path: PathBuf) -> io::Result<OutputDirectory> {
        let root = rustix::fs::openat(CWD, &path, DIRECTORY, Mode::empty())?;
        OutputDirectory::new(path, &root)
    }

    fn new(path: PathBuf, root: &OwnedFd) -> io::Result<OutputDirectory> {
        remove_abandoned(root);
        Ok(OutputDirectory {
            absolute: std::path::absolute(&path)?,
            path,
            root: identity(&rustix::fs::fstat(root)?),
            partial: Mutex::default(),
            partial_name: format!(".partial-{}", random_hex()?),
            placed: Mutex::default(),
            resumed: Mutex::default(),
        })
    }

    fn opened(&self) -> io::Result<OwnedFd> {
        let root = rustix::fs::openat(CWD, &self.absolute, DIRECTORY, Mode::empty())?;
        self.expect(&root, self.root)?;
        Ok(root)
    }

    /// Opens the directory of temporary files, and creates it if necessary.
    fn open_partial(&self, root: &OwnedFd) -> io::Result<OwnedFd> {
        let mut partial = lock(&self.partial);
        if partial.is_none() {
            rustix::fs::mkdirat(root, &self.partial_name, Mode::RWXU)?;
        }
        let opened = rustix::fs::openat(root, &self.partial_name, DIRECTORY, Mode::empty())?;
        let expected = *partial.get_or_insert(identity(&rustix::fs::fstat(&opened)?));
        self.expect(&opened, expected)?;
        Ok(opened)
    }

    fn has_partial(&self) -> bool {
        lock(&self.partial).is_some()
    }

    fn expect(&self, opened: &OwnedFd, expected: Identity) -> io::Result<()> {
        match identity(&rustix::fs::fstat(opened)?) == expected {
            true => Ok(()),
            false => Err(io::Error::other(format!("{} was replaced by another directory", self.path.display()))),
        }
    }

    /// Returns why a file of this name cannot be saved here.
    pub(crate) fn refusal(&self, path: &OsStr) -> Option<LeftOutReason> {
        let is_too_long = self.absolute.as_os_str().len() + 1 + path.len() > MAX_PATH;
        // An output must not pass for an incomplete download.
        let first = Path::new(path).components().next().map(|first| first.as_os_str().as_bytes().to_ascii_lowercase());
        let is_reserved = first.is_some_and(|first| first == RESUMABLE.as_bytes());
        refusal_of_path(path)
            .or(is_reserved.then_some(LeftOutReason::UnsafeName))
            .or(is_too_long.then_some(LeftOutReason::NameTooLong))
    }

    /// Moves a temporary file to its place, and returns its size.
    fn place(&self, number: usize, file: &Path) -> Result<u64, NoPlace> {
        let root = self.opened().map_err(NoPlace::Error)?;
        let resumed = lock(&self.resumed).get(&number).map(|(name, _)| name.clone());
        let (from, number) = match resumed {
            Some(name) => (open_private(&root).map_err(NoPlace::Error)?, name),
            None => (self.open_partial(&root).map_err(NoPlace::Error)?, number.to_string()),
        };
        let whole = rustix::fs::statat(&from, &number, AtFlags::SYMLINK_NOFOLLOW)?;
        let directory = self.enter(&root, file)?;
        let parent = directory.as_ref().unwrap_or(&root);
        let name = file.file_name().unwrap_or_default();
        // No other output may take the place between the look and the move.
        let mut placed = lock(&self.placed);
        if stat(parent, name)?.is_some_and(|existing| is_placed(&root, &placed, &existing)) {
            return Err(NoPlace::Reason(LeftOutReason::NameCollision));
        }
        rustix::fs::renameat(&from, &number, parent, name)?;
        placed.insert(identity(&whole), file.into());
        Ok(u64::try_from(whole.st_size).unwrap_or_default())
    }

    /// Opens the directory of `file`, and creates the directories on the way if necessary. `None` if it is the root.
    fn enter(&self, root: &OwnedFd, file: &Path) -> Result<Option<OwnedFd>, NoPlace> {
        let mut parent = None;
        let mut path = PathBuf::new();
        for component in file.parent().into_iter().flat_map(Path::components) {
            let name = component.as_os_str();
            path.push(name);
            let above = parent.as_ref().unwrap_or(root);
            match open_or_create(above, name) {
                Ok(directory) => {
                    let identity = identity(&rustix::fs::fstat(&directory)?);
                    lock(&self.placed).entry(identity).or_insert_with(|| path.as_path().into());
                    parent = Some(directory);
                }
                Err(Blocked::Link) => return Err(NoPlace::Error(not_followed(&self.path.join(file)))),
                Err(Blocked::Other(error)) => {
                    let existing = if error == Errno::NOTDIR { stat(above, name)? } else { None };
                    return Err(match existing {
                        Some(existing) if is_placed(root, &lock(&self.placed), &existing) => {
                            NoPlace::Reason(LeftOutReason::NameCollision)
                        }
                        _ => error.into(),
                    });
                }
            }
        }
        Ok(parent)
    }
}

impl OutputDirectory {
    /// Creates the temporary file with a number. `size` is the expected size.
    pub(crate) fn create(&self, number: usize, size: Option<u64>) -> io::Result<File> {
        let partial = self.open_partial(&self.opened()?)?;
        if let Some(size) = size.filter(|size| *size >= LARGE) {
            require_room(&partial, size)?;
        }
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(File::from(rustix::fs::openat(&partial, number.to_string(), flags, Mode::from_raw_mode(0o666))?))
    }

    /// Opens what an earlier call has kept of a file, to read it and append to it. `None` if another process downloads the
    /// same file.
    ///
    /// The name of an incomplete download belongs to the job, the path and the size, so that only the same file is
    /// continued.
    pub(crate) fn resume(&self, number: usize, job: &str, path: &OsStr, size: u64) -> io::Result<Option<File>> {
        let name = resumable_name(job, path, size);
        let (directory, file) = open_resumable(&self.opened()?, &name)?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::WOULDBLOCK) => return Ok(None),
            locked => locked?,
        }
        // Another process may have moved it to its place before the lock was taken.
        let opened = rustix::fs::fstat(&file)?;
        let is_regular = FileType::from_raw_mode(opened.st_mode) == FileType::RegularFile;
        let is_here = stat(&directory, name.as_ref())?.is_some_and(|named| identity(&named) == identity(&opened));
        if !is_regular || !is_here || opened.st_nlink != 1 {
            return Ok(None);
        }
        let left = size.saturating_sub(u64::try_from(opened.st_size).unwrap_or_default());
        if left >= LARGE {
            require_room(&directory, left)?;
        }
        lock(&self.resumed).insert(number, (name, file.try_clone()?));
        Ok(Some(file))
    }

    /// Keeps a file as far as it has come, if it can be continued. Otherwise removes it.
    pub(crate) fn leave(&self, number: usize) {
        if lock(&self.resumed).remove(&number).is_none() {
            self.discard(number);
        }
    }

    /// The bytes that earlier calls have kept of files. Each file has a path and a size.
    pub(crate) fn resumable_bytes<'a>(&self, job: &str, files: impl Iterator<Item = (&'a OsStr, u64)>) -> u64 {
        let Ok(directory) = self.opened().and_then(|root| Ok(openat_existing(&root)?)) else { return 0 };
        let kept: HashSet<CString> = entries(&directory).into_iter().collect();
        let bytes = |(path, size)| {
            let name = resumable_name(job, path, size);
            let is_kept = CString::new(&*name).is_ok_and(|name| kept.contains(&name));
            let stat = is_kept.then(|| stat(&directory, name.as_ref()).ok().flatten()).flatten()?;
            Some(u64::try_from(stat.st_size).unwrap_or_default().min(size))
        };
        files.filter_map(bytes).sum()
    }

    /// Removes what earlier calls have kept, except for what other processes continue at the moment.
    pub(crate) fn forget_resumable(&self) {
        let Ok(directory) = self.opened().and_then(|root| Ok(openat_existing(&root)?)) else { return };
        for name in entries(&directory) {
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
            let Ok(file) = rustix::fs::openat(&directory, &name, flags, Mode::empty()) else { continue };
            if rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok() {
                let _ = rustix::fs::unlinkat(&directory, &name, AtFlags::empty());
            }
        }
    }

    /// The size of a file that is in its place. `None` if there is none, or something else.
    pub(crate) fn existing_size(&self, file: &Path) -> Option<u64> {
        let existing = find(&self.opened().ok()?, file)?;
        let is_regular = FileType::from_raw_mode(existing.st_mode) == FileType::RegularFile;
        is_regular.then(|| u64::try_from(existing.st_size).unwrap_or_default())
    }

    /// Returns the path of the temporary file, for a library that creates it by its path.
    pub(crate) fn temporary_path(&self, number: usize) -> io::Result<PathBuf> {
        self.open_partial(&self.opened()?)?;
        Ok(self.absolute.join(&self.partial_name).join(number.to_string()))
    }

    /// Removes the temporary file.
    pub(crate) fn discard(&self, number: usize) {
        let resumed = lock(&self.resumed).remove(&number);
        let Ok(root) = self.opened() else { return };
        let (directory, name, _locked) = match resumed {
            Some((name, locked)) => (openat_existing(&root).ok(), name, Some(locked)),
            None if self.has_partial() => (self.open_partial(&root).ok(), number.to_string(), None),
            None => return,
        };
        if let Some(directory) = directory {
            let _ = rustix::fs::unlinkat(&directory, &name, AtFlags::empty());
        }
    }

    /// Moves the temporary file, which has arrived whole, to its place: a path in this directory.
    pub(crate) fn keep(&self, number: usize, path: &OsStr) -> io::Result<Fetched> {
        let placed = match self.refusal(path) {
            Some(reason) => Err(NoPlace::Reason(reason)),
            None => self.place(number, Path::new(path)),
        };
        match &placed {
            // It may find its place in the next call.
            Err(NoPlace::Error(_)) => self.leave(number),
            Err(NoPlace::Reason(_)) => self.discard(number),
            Ok(_) => drop(lock(&self.resumed).remove(&number)),
        }
        match placed {
            Ok(bytes) => Ok(Fetched::Kept { bytes }),
            Err(NoPlace::Reason(reason)) => Ok(Fetched::LeftOut(reason)),
            Err(NoPlace::Error(error)) => Err(error),
        }
    }

    /// Returns the final path of a file, for messages.
    pub(crate) fn shown(&self, path: &OsStr) -> PathBuf {
        // `join` would follow an absolute name.
        match refusal_of_path(path) {
            Some(_) => self.path.clone(),
            None => self.path.join(path),
        }
    }
}

impl Drop for OutputDirectory {
    /// Removes the temporary files that are left.
    fn drop(&mut self) {
        let Ok(root) = self.opened() else { return };
        if self.has_partial() {
            if let Ok(partial) = self.open_partial(&root) {
                remove_with_files(&root, self.partial_name.as_ref(), &partial);
            }
        }
        // This fails if it has incomplete downloads.
        let _ = rustix::fs::unlinkat(&root, RESUMABLE, AtFlags::REMOVEDIR);
    }
}

/// Removes the directories of temporary files that programs have left when they were killed.
fn remove_abandoned(root: &OwnedFd) {
    let is_old = |stat: &Stat| {
        let written = UNIX_EPOCH + Duration::from_secs(u64::try_from(stat.st_mtime).unwrap_or_default());
        SystemTime::now().duration_since(written).is_ok_and(|age| age > ABANDONED_AFTER)
    };
    for name in entries(root) {
        if !name.as_bytes().starts_with(PARTIAL) || name.as_bytes() == RESUMABLE.as_bytes() {
            continue;
        }
        let name = OsStr::from_bytes(name.as_bytes());
        let Ok(partial) = rustix::fs::openat(root, name, DIRECTORY, Mode::empty()) else { continue };
        let is_partial = rustix::fs::fstat(&partial).is_ok_and(|stat| is_old(&stat) && is_private(&stat));
        let is_old_file = |file: &CString| {
            let stat = stat(&partial, OsStr::from_bytes(file.as_bytes()));
            matches!(stat, Ok(Some(stat)) if is_old(&stat) && FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile)
        };
        if is_partial && entries(&partial).iter().filter(|file| !is_dots(file)).all(is_old_file) {
            remove_with_files(root, name, &partial);
        }
    }
}

/// Removes a directory and the files in it.
fn remove_with_files(root: &OwnedFd, name: &OsStr, directory: &OwnedFd) {
    for file in entries(directory) {
        let _ = rustix::fs::unlinkat(directory, &file, AtFlags::empty());
    }
    let _ = rustix::fs::unlinkat(root, name, AtFlags::REMOVEDIR);
}

fn is_dots(name: &CString) -> bool {
    matches!(name.as_bytes(), b"." | b"..")
}

/// Whether only this user can use a directory.
fn is_private(stat: &Stat) -> bool {
    stat.st_uid == rustix::process::geteuid().as_raw() && stat.st_mode & 0o077 == 0
}

/// The name of an incomplete download: a digest of what it is continued by.
fn resumable_name(job: &str, path: &OsStr, size: u64) -> String {
    let mut digest = Sha256::new();
    digest.update(size.to_le_bytes());
    digest.update(u64::try_from(job.len()).unwrap_or_default().to_le_bytes());
    digest.update(job);
    digest.update(path.as_bytes());
    digest.finalize().iter().fold(String::new(), |mut name, byte| {
        let _ = write!(name, "{byte:02x}");
        name
    })
}

/// Opens an incomplete download and its directory, and creates both if necessary.
fn open_resumable(root: &OwnedFd, name: &str) -> io::Result<(OwnedFd, File)> {
    let flags = OFlags::RDWR | OFlags::APPEND | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut attempts = 0..OPEN_ATTEMPTS;
    loop {
        let directory = open_private(root);
        let opened = directory.and_then(|directory| {
            let file = rustix::fs::openat(&directory, name, flags, Mode::from_raw_mode(0o666))?;
            Ok((directory, File::from(file)))
        });
        match opened {
            // Another process that has finished removes the empty directory.
            Err(error) if error.kind() == io::ErrorKind::NotFound && attempts.next().is_some() => {}
            opened => return opened,
        }
    }
}

/// The names in a directory, `.` and `..` included.
fn entries(directory: &OwnedFd) -> Vec<CString> {
    let mut names = Vec::new();
    if let Ok(directory) = rustix::fs::openat(directory, ".", DIRECTORY, Mode::empty()) {
        let mut buffer = Vec::with_capacity(8192);
        let mut entries = RawDir::new(directory, buffer.spare_capacity_mut());
        while let Some(Ok(entry)) = entries.next() {
            names.push(entry.file_name().to_owned());
        }
    }
    names
}

fn openat_existing(root: &OwnedFd) -> Result<OwnedFd, Errno> {
    rustix::fs::openat(root, RESUMABLE, DIRECTORY, Mode::empty())
}

/// Opens the directory of incomplete downloads, and creates it if necessary. Fails if others can use it.
fn open_private(root: &OwnedFd) -> io::Result<OwnedFd> {
    match rustix::fs::mkdirat(root, RESUMABLE, Mode::RWXU) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(error) => return Err(error.into()),
    }
    let directory = openat_existing(root)?;
    let stat = rustix::fs::fstat(&directory)?;
    if !is_private(&stat) {
        let message = format!("others can use the directory {RESUMABLE}: remove it, or run chmod 700 on it");
        return Err(io::Error::other(message));
    }
    Ok(directory)
}

/// The free space of the file system that a path is or will be on. `None` if it does not tell.
pub(crate) fn free_bytes(path: &Path) -> Option<u64> {
    let path = std::path::absolute(path).ok()?;
    let existing = path.ancestors().find(|ancestor| ancestor.exists())?;
    let system = rustix::fs::statvfs(existing).ok()?;
    (system.f_blocks > 0).then(|| system.f_bavail.saturating_mul(system.f_frsize))
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

/// Looks at what is at a path below a directory, without following links.
fn find(root: &OwnedFd, path: &Path) -> Option<Stat> {
    let mut parent = None;
    for component in path.parent().into_iter().flat_map(Path::components) {
        let above = parent.as_ref().unwrap_or(root);
        parent = Some(rustix::fs::openat(above, component.as_os_str(), DIRECTORY, Mode::empty()).ok()?);
    }
    stat(parent.as_ref().unwrap_or(root), path.file_name()?).ok()?
}

/// Whether an output has been put in this place. Another process may have replaced the output since, and then its number may
/// have become that of another file.
fn is_placed(root: &OwnedFd, placed: &HashMap<Identity, Box<Path>>, existing: &Stat) -> bool {
    let still = placed.get(&identity(existing)).and_then(|path| find(root, path));
    still.is_some_and(|still| identity(&still) == identity(existing))
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

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    const SIZE: u64 = 1000;

    fn directory(at: &Path) -> OutputDirectory {
        OutputDirectory::create_in(at, "job").unwrap()
    }

    fn resume(directory: &OutputDirectory, number: usize, path: &str) -> Option<File> {
        directory.resume(number, "job", path.as_ref(), SIZE).unwrap()
    }

    fn length(file: &File) -> u64 {
        file.metadata().unwrap().len()
    }

    #[test]
    fn incomplete_files_belong_to_job_path_and_size() {
        let at = tempfile::tempdir().unwrap();
        let first = directory(at.path());
        resume(&first, 7, "sub/a").unwrap().write_all(b"012").unwrap();
        first.leave(7);
        drop(first);
        let place = at.path().join("job").join(RESUMABLE);
        assert_eq!(fs::metadata(&place).unwrap().permissions().mode() & 0o777, 0o700);

        let second = directory(at.path());
        let kept = |path: &str, size| second.resumable_bytes("job", [(path.as_ref(), size)].into_iter());
        assert_eq!((kept("sub/a", SIZE), kept("sub/a", SIZE + 1), kept("sub/b", SIZE)), (3, 0, 0));
        let other = |number, job, path: &str, size| second.resume(number, job, path.as_ref(), size).unwrap().unwrap();
        for (number, file) in
            [other(1, "job", "sub/b", SIZE), other(2, "job2", "sub/a", SIZE), other(3, "job", "sub/a", SIZE + 1)]
                .iter()
                .enumerate()
        {
            assert_eq!(length(file), 0);
            second.discard(number + 1);
        }
        let mut same = resume(&second, 0, "sub/a").unwrap();
        assert_eq!(length(&same), 3);
        // Another process has to begin anew, and nobody takes away what is being written.
        let third = directory(at.path());
        assert!(resume(&third, 0, "sub/a").is_none());
        third.forget_resumable();
        same.write_all(b"345").unwrap();
        assert_eq!(second.keep(0, "sub/a".as_ref()).unwrap(), Fetched::Kept { bytes: 6 });
        assert_eq!(fs::read(at.path().join("job/sub/a")).unwrap(), b"012345");
        assert_eq!(second.existing_size(Path::new("sub/a")), Some(6));
        drop((second, third));
        // Nothing is left beside the file.
        assert_eq!(fs::read_dir(at.path().join("job")).unwrap().count(), 1);
    }

    #[test]
    fn old_incomplete_files_are_forgotten() {
        let at = tempfile::tempdir().unwrap();
        let first = directory(at.path());
        resume(&first, 0, "a").unwrap().write_all(b"012").unwrap();
        first.leave(0);
        first.forget_resumable();
        drop(first);
        assert_eq!(fs::read_dir(at.path().join("job")).unwrap().count(), 0);
    }

    #[test]
    fn incomplete_files_of_others_are_not_continued() {
        let at = tempfile::tempdir().unwrap();
        let directory = directory(at.path());
        let place = at.path().join("job").join(RESUMABLE);
        let elsewhere = tempfile::tempdir().unwrap();
        symlink(elsewhere.path(), &place).unwrap();
        directory.resume(0, "job", "a".as_ref(), SIZE).unwrap_err();
        fs::remove_file(&place).unwrap();
        fs::create_dir(&place).unwrap();
        fs::set_permissions(&place, fs::Permissions::from_mode(0o770)).unwrap();
        let error = directory.resume(0, "job", "a".as_ref(), SIZE).unwrap_err();
        assert!(error.to_string().contains("chmod 700"), "{error}");
        fs::set_permissions(&place, fs::Permissions::from_mode(0o700)).unwrap();
        resume(&directory, 0, "a").unwrap();
        directory.leave(0);
        let name = fs::read_dir(&place).unwrap().next().unwrap().unwrap().path();
        // A file that has another name too may be somebody else's.
        fs::hard_link(&name, at.path().join("linked")).unwrap();
        assert!(resume(&directory, 0, "a").is_none());
        fs::remove_file(&name).unwrap();
        symlink(at.path().join("linked"), &name).unwrap();
        directory.resume(0, "job", "a".as_ref(), SIZE).unwrap_err();
        assert_eq!(fs::read(at.path().join("linked")).unwrap(), b"");
    }

    #[test]
    fn outputs_do_not_take_the_place_of_incomplete_files() {
        let at = tempfile::tempdir().unwrap();
        let directory = directory(at.path());
        for name in [".partial-resume", ".partial-resume/a", ".Partial-Resume/a"] {
            assert_eq!(directory.refusal(name.as_ref()), Some(LeftOutReason::UnsafeName), "{name}");
        }
        assert_eq!(directory.refusal(".partial-results".as_ref()), None);
    }

    #[test]
    fn sizes_of_files_are_found_without_following_links() {
        let at = tempfile::tempdir().unwrap();
        let directory = directory(at.path());
        let job = at.path().join("job");
        fs::create_dir(job.join("sub")).unwrap();
        fs::write(job.join("sub/a"), "0123").unwrap();
        symlink("sub", job.join("link")).unwrap();
        symlink("sub/a", job.join("linked")).unwrap();
        let size = |name: &str| directory.existing_size(Path::new(name));
        assert_eq!(
            (size("sub/a"), size("link/a"), size("linked"), size("sub"), size("none/a")),
            (Some(4), None, None, None, None)
        );
    }

    #[test]
    fn what_killed_programs_have_left_is_removed_after_a_day() {
        let at = tempfile::tempdir().unwrap();
        let job = at.path().join("job");
        let leave = |name: &str, age: u64, mode| {
            let place = job.join(name);
            fs::create_dir_all(&place).unwrap();
            fs::write(place.join("0"), "half").unwrap();
            fs::set_permissions(&place, fs::Permissions::from_mode(mode)).unwrap();
            let time = SystemTime::now() - Duration::from_secs(age * 3600);
            for path in [place.join("0"), place] {
                File::open(path).unwrap().set_modified(time).unwrap();
            }
        };
        leave(".partial-0123", 25, 0o700);
        leave(".partial-4567", 23, 0o700);
        leave(".partial-resume", 99, 0o700);
        leave(".partial-shared", 99, 0o755);
        leave("partial-mine", 99, 0o700);
        drop(directory(at.path()));
        let mut names: Vec<_> = fs::read_dir(&job).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, [".partial-4567", ".partial-resume", ".partial-shared", "partial-mine"]);
    }

    #[test]
    fn processes_that_finish_do_not_disturb_those_that_begin() {
        let at = tempfile::tempdir().unwrap();
        std::thread::scope(|scope| {
            for name in ["a", "b"] {
                let at = &at;
                scope.spawn(move || {
                    for _ in 0..2000 {
                        let directory = directory(at.path());
                        resume(&directory, 0, name).unwrap();
                        directory.discard(0);
                    }
                });
            }
        });
    }

    #[test]
    fn a_whole_file_without_a_place_is_kept_for_the_next_call() {
        let at = tempfile::tempdir().unwrap();
        let first = directory(at.path());
        fs::create_dir(at.path().join("job/a")).unwrap();
        resume(&first, 0, "a").unwrap().write_all(b"012").unwrap();
        first.keep(0, "a".as_ref()).unwrap_err();
        drop(first);
        assert_eq!(length(&resume(&directory(at.path()), 0, "a").unwrap()), 3);
    }

    #[test]
    fn what_other_processes_replace_does_not_collide() {
        let at = tempfile::tempdir().unwrap();
        let directory = directory(at.path());
        let job = at.path().join("job");
        let save = |number: usize, name: &str| {
            directory.create(number, None).unwrap().write_all(b"0").unwrap();
            directory.keep(number, name.as_ref()).unwrap()
        };
        let collision = Fetched::LeftOut(LeftOutReason::NameCollision);
        assert_eq!(save(0, "sub/a"), Fetched::Kept { bytes: 1 });
        fs::hard_link(job.join("sub/a"), job.join("alias")).unwrap();
        assert_eq!(save(1, "alias"), collision);
        assert_eq!(save(2, "alias/b"), collision);
        fs::rename(job.join("sub/a"), job.join("moved")).unwrap();
        assert_eq!(save(3, "moved"), Fetched::Kept { bytes: 1 });
    }
}
