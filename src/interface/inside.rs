//! Looking into the session directory of a job.

use std::ffi::OsStr;
use std::ops::{Bound, RangeBounds};
use std::path::Path;

use super::ArcInterface;
use crate::backend::SessionFiles;
use crate::backend::names::refusal_of_path;
use crate::error::{Error, JobFileFailure, Result};
use crate::job::{FilePart, JobFile, JobFiles, JobId};

/// The longest part that [`ArcInterface::read_file`] returns.
const MAX_PART: u64 = 64 << 20;

impl ArcInterface {
    /// Lists the files and directories of a job, in its session directory and below.
    ///
    /// While the job runs, these are its files at that moment. When it has ended, they are the outputs that its description
    /// keeps. The order is the CE's. A job without files has an empty list.
    ///
    /// Costs two requests for each directory, and one more for a job without a session directory. Over EMI-ES, only files
    /// are listed.
    ///
    /// # Errors
    ///
    /// [`Error::JobNotFound`]; [`Error::JobOperation`] if the CE cannot list the files, or lists more than a million files
    /// or 100,000 directories; and the errors of [`job_statuses`](Self::job_statuses) for a CE that does not respond.
    ///
    /// ```no_run
    /// # fn main() -> jasmin_arc::Result<()> {
    /// # let arc = jasmin_arc::ArcInterface::builder().build()?;
    /// # let job = jasmin_arc::JobId::from("");
    /// for file in arc.list_files(&job)?.files {
    ///     println!("{:>12} {}", file.size.unwrap_or(0), file.path.display());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn list_files(&self, id: &JobId) -> Result<JobFiles> {
        let call = self.begin()?;
        let listed = self.single(self.backend(&call)?.files(std::slice::from_ref(id), &|_| true)?)??;
        Ok(listed.into())
    }

    /// Reads a part of a file of a job, without downloading the rest.
    ///
    /// `name` is relative to the session directory, and may have any characters except control characters. `range` counts
    /// bytes from 0, as in `..`, `1000..2000` or `5_000_000..`. The part is shorter than the range if the file ends
    /// before, and empty if the file ends before the range begins. [`FilePart::size`] is the size of the whole file.
    ///
    /// One call returns up to 64 MiB. Save larger files with [`save_job_outputs_to`](Self::save_job_outputs_to). A-REX follows
    /// symbolic links: see [`list_files`](Self::list_files), which leaves them out.
    ///
    /// Costs two requests. A CE that ignores the range sends the file from its beginning up to the end of the range.
    ///
    /// # Errors
    ///
    /// [`Error::JobFile`] with a [`JobFileFailure`]: the job has no such file, it is a directory, the CE does not open it,
    /// its name is not safe, or the part has more than 64 MiB. [`Error::JobNotFound`]; [`Error::Unsupported`] over EMI-ES;
    /// and the errors of [`job_statuses`](Self::job_statuses) for a CE that does not respond.
    ///
    /// ```no_run
    /// # fn main() -> jasmin_arc::Result<()> {
    /// # let arc = jasmin_arc::ArcInterface::builder().build()?;
    /// # let job = jasmin_arc::JobId::from("");
    /// // The last kilobyte of the standard error.
    /// let size = arc.read_file(&job, "stderr.txt", ..0)?.size;
    /// let end = arc.read_file(&job, "stderr.txt", size.saturating_sub(1000)..)?;
    /// eprint!("{}", String::from_utf8_lossy(&end.bytes));
    /// # Ok(())
    /// # }
    /// ```
    pub fn read_file(&self, id: &JobId, name: impl AsRef<Path>, range: impl RangeBounds<u64>) -> Result<FilePart> {
        let path = checked_name(id, name.as_ref())?;
        let call = self.begin()?;
        let backend = self.backend(&call)?;
        let size = backend.file_size(id, path)?;
        let (start, end) = limits_of(&range);
        let range = start..end.min(size);
        if range.end.saturating_sub(range.start) > MAX_PART {
            let length = range.end - range.start;
            let message = format!("the part has {length} bytes, and one call reads {MAX_PART}: use a shorter range");
            return Err(job_file(id, path, JobFileFailure::TooLong, message));
        }
        let bytes = if range.is_empty() { Vec::new() } else { backend.read_file(id, path, range)? };
        Ok(FilePart { offset: start, bytes, size })
    }
}

impl From<SessionFiles> for JobFiles {
    fn from(listed: SessionFiles) -> JobFiles {
        JobFiles {
            files: listed.files.into_iter().map(|file| JobFile { path: file.path.into(), size: file.size }).collect(),
            directories: listed.directories.into_iter().map(Into::into).collect(),
            left_out: listed.left_out,
        }
    }
}

/// Returns the name of a file in a session directory for a backend. Fails if it may lead elsewhere.
pub(super) fn checked_name<'a>(id: &JobId, name: &'a Path) -> Result<&'a OsStr> {
    match refusal_of_path(name.as_os_str()) {
        None => Ok(name.as_os_str()),
        Some(reason) => Err(job_file(id, name.as_os_str(), JobFileFailure::UnsafeName, reason.to_string())),
    }
}

pub(super) fn job_file(id: &JobId, path: &OsStr, failure: JobFileFailure, message: impl Into<String>) -> Error {
    Error::JobFile { job_id: id.clone(), path: path.into(), failure, message: message.into() }
}

/// The first byte of a range, and the one after its last.
fn limits_of(range: &impl RangeBounds<u64>) -> (u64, u64) {
    let start = match range.start_bound() {
        Bound::Included(start) => *start,
        Bound::Excluded(start) => start.saturating_add(1),
        Bound::Unbounded => 0,
    };
    let end = match range.end_bound() {
        Bound::Included(end) => end.saturating_add(1),
        Bound::Excluded(end) => *end,
        Bound::Unbounded => u64::MAX,
    };
    (start, end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;
    use crate::interface::tests::fake;
    use crate::job::ArcState;

    #[test]
    fn files_are_listed_and_read_in_parts() {
        let (arc, backend, _directory) = fake();
        let id = arc.submit_job("/bin/true", &[""; 0], &[]).unwrap();
        backend.jobs().get_mut(id.as_str()).unwrap().files =
            vec![("stdout.txt".into(), b"0123456789".to_vec(), Some(10)), ("out/a b%41".into(), b"x".to_vec(), None)];
        let listed = arc.list_files(&id).unwrap();
        assert_eq!(listed.files[0], JobFile { path: "stdout.txt".into(), size: Some(10) });
        assert_eq!(listed.files[1], JobFile { path: "out/a b%41".into(), size: None });

        let read = |range: (Bound<u64>, Bound<u64>)| arc.read_file(&id, "stdout.txt", range).unwrap();
        let part = |offset, text: &str| FilePart { offset, bytes: text.into(), size: 10 };
        let (inside, open) = (Bound::Included, Bound::Unbounded);
        assert_eq!(read((open, open)), part(0, "0123456789"));
        assert_eq!(read((inside(3), inside(5))), part(3, "345"));
        assert_eq!(read((inside(8), open)), part(8, "89"));
        assert_eq!(read((inside(10), open)), part(10, ""));
        assert_eq!(read((inside(99), open)), part(99, ""));
        assert_eq!(read((inside(5), Bound::Excluded(2))), part(5, ""));

        let error = arc.read_file(&id, "none", ..).unwrap_err();
        assert_eq!((error.kind(), error.job_id()), (ErrorKind::JobFile, Some(&id)));
        backend.jobs().get_mut(id.as_str()).unwrap().state = ArcState::Finished;
        let error = arc.read_file(&JobId::from("fake://ce/none"), "stdout.txt", ..).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::JobNotFound);
    }

    #[test]
    fn a_part_is_not_longer_than_memory_should_be() {
        let (arc, backend, _directory) = fake();
        let id = arc.submit_job("/bin/true", &[""; 0], &[]).unwrap();
        let large = vec![0; usize::try_from(MAX_PART).unwrap() + 1];
        backend.jobs().get_mut(id.as_str()).unwrap().files = vec![("large".into(), large, None)];
        let error = arc.read_file(&id, "large", ..).unwrap_err();
        assert!(matches!(error, Error::JobFile { failure: JobFileFailure::TooLong, .. }), "{error}");
        assert_eq!(arc.read_file(&id, "large", MAX_PART..).unwrap().bytes, [0]);
    }

    #[test]
    fn ranges_have_inclusive_and_exclusive_ends() {
        assert_eq!(limits_of(&(..)), (0, u64::MAX));
        assert_eq!(limits_of(&(3..7)), (3, 7));
        assert_eq!(limits_of(&(3..=7)), (3, 8));
        assert_eq!(limits_of(&(..=u64::MAX)), (0, u64::MAX));
        assert_eq!(limits_of(&(Bound::Excluded(3), Bound::Unbounded)), (4, u64::MAX));
    }

    #[test]
    fn names_stay_in_the_session_directory() {
        let id = JobId::from("a");
        for name in ["../a", "/etc/passwd", "", "a/../../b", "a\nb"] {
            let error = checked_name(&id, Path::new(name)).unwrap_err();
            assert!(matches!(error, Error::JobFile { failure: JobFileFailure::UnsafeName, .. }), "{name:?}: {error}");
        }
        assert!(checked_name(&id, Path::new("out/é %41?#")).is_ok());
    }
}
