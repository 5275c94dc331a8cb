//! [`Place`]: the local place of the files of one job, and [`Meter`], which counts what arrives there.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use super::directory::OutputDirectory;
use crate::backend::{Destination, Fetched, SessionFile};
use crate::job::FetchProgress;
use crate::util::lock;

/// The smallest file of which an incomplete download is kept.
const MIN_RESUMABLE: u64 = 256 << 10;

/// The local place of the files of one job. The numbers of its files follow each other.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) directory: Arc<OutputDirectory>,
    /// The number of the first file.
    pub(super) first: usize,
    /// The local paths of the files, if they are not those on the CE.
    pub(super) names: Option<Vec<OsString>>,
    /// The id of the job, if incomplete downloads are kept.
    pub(super) resumes: Option<String>,
    /// Whether what is kept of other files than those of the job is removed when all files of the job are here.
    pub(super) forgets: bool,
    pub(super) meter: Option<Arc<Meter>>,
}

impl Place {
    /// The local path of a file in the directory.
    pub(super) fn name<'a>(&'a self, number: usize, file: &'a SessionFile) -> &'a OsStr {
        self.names.as_ref().map_or(&file.path, |names| &names[number - self.first])
    }

    /// The bytes that earlier calls have kept of files.
    pub(super) fn kept_bytes(&self, files: &[SessionFile]) -> u64 {
        let Some(job) = &self.resumes else { return 0 };
        self.directory.resumable_bytes(job, files.iter().filter_map(|file| Some((&*file.path, resumable_size(file)?))))
    }

    fn begin(&self, number: usize, file: &File) {
        if let Some(meter) = &self.meter {
            meter.begin(number, file);
        }
    }

    fn end(&self, number: usize, kept: Option<u64>) {
        if let Some(meter) = &self.meter {
            meter.end(number, kept);
        }
    }
}

impl Destination for Place {
    fn create(&self, number: usize, size: Option<u64>) -> io::Result<File> {
        let file = self.directory.create(number, size)?;
        self.begin(number, &file);
        Ok(file)
    }

    fn resume(&self, number: usize, file: &SessionFile) -> io::Result<Option<File>> {
        let Some(job) = &self.resumes else { return Ok(None) };
        let Some(size) = resumable_size(file) else { return Ok(None) };
        let resumed = self.directory.resume(number, job, &file.path, size)?;
        resumed.iter().for_each(|file| self.begin(number, file));
        Ok(resumed)
    }

    fn temporary_path(&self, number: usize) -> io::Result<PathBuf> {
        self.directory.temporary_path(number)
    }

    fn discard(&self, number: usize) {
        self.end(number, None);
        self.directory.discard(number);
    }

    fn leave(&self, number: usize) {
        self.end(number, None);
        self.directory.leave(number);
    }

    fn keep(&self, number: usize, file: &SessionFile) -> io::Result<Fetched> {
        let kept = self.directory.keep(number, self.name(number, file));
        let bytes = match &kept {
            Ok(Fetched::Kept { bytes }) => Some(*bytes),
            _ => None,
        };
        self.end(number, bytes);
        kept
    }

    fn shown(&self, number: usize, file: &SessionFile) -> PathBuf {
        self.directory.shown(self.name(number, file))
    }
}

/// The size of a file of which an incomplete download is kept.
fn resumable_size(file: &SessionFile) -> Option<u64> {
    file.size.filter(|size| *size >= MIN_RESUMABLE)
}

/// Counts what has arrived.
#[derive(Debug, Default)]
pub(super) struct Meter(Mutex<Count>);

#[derive(Debug, Default)]
struct Count {
    kept: FetchProgress,
    /// The files that are being downloaded. Their sizes are what has arrived of them.
    open: HashMap<usize, File>,
}

impl Meter {
    pub(super) fn expect(&self, files: u64, bytes: u64) {
        let mut count = lock(&self.0);
        count.kept.total_files += files;
        count.kept.total_bytes = count.kept.total_bytes.saturating_add(bytes);
    }

    fn begin(&self, number: usize, file: &File) {
        // Without a copy of the descriptor, the file counts when it is complete.
        if let Ok(file) = file.try_clone() {
            lock(&self.0).open.insert(number, file);
        }
    }

    fn end(&self, number: usize, kept: Option<u64>) {
        let mut count = lock(&self.0);
        count.open.remove(&number);
        if let Some(bytes) = kept {
            count.kept.files += 1;
            count.kept.bytes += bytes;
        }
    }

    pub(super) fn progress(&self) -> FetchProgress {
        let count = lock(&self.0);
        let size = |file: &File| file.metadata().map_or(0, |metadata| metadata.len());
        FetchProgress { bytes: count.kept.bytes + count.open.values().map(size).sum::<u64>(), ..count.kept }
    }
}
