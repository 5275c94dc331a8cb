//! [`Backend`]: the operations of an ARC-CE, independent of the protocol.

use std::collections::{HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::fmt::Debug;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use crate::backend::poll::{PollMemory, Polled};
use crate::backend::prepare::PreparedJob;
use crate::error::{Error, Result};
use crate::ffi::JobPlace;
use crate::job::{JobDiagnostics, JobFilter, JobId, JobInfo, JobState, LeftOut, LeftOutReason};
use crate::limits::Limits;
use crate::service::ServiceInfo;

pub(crate) mod breaker;
pub(crate) mod failure;
#[cfg(test)]
pub(crate) mod fake;
pub(crate) mod names;
pub(crate) mod plugin;
pub(crate) mod poll;
pub(crate) mod prepare;
pub(crate) mod rest;

/// Is told how far a submission has come. Jobs are named by their index in the slice that is submitted.
pub(crate) trait Progress {
    /// Jobs are about to be sent. An error stops the submission before that.
    fn sending(&self, jobs: Range<usize>) -> Result<()>;

    /// Jobs exist, and have no input files yet. An error stops the uploads.
    fn created(&self, jobs: &[(usize, JobPlace)]) -> Result<()>;

    /// Jobs did not get all their input files and are about to be cancelled. After an error they are not cancelled.
    fn cancelling(&self, jobs: &[usize]) -> Result<()>;
}

/// What became of a job that was to be submitted.
#[derive(Debug)]
pub(crate) enum Submitted {
    /// The job exists and has its input files.
    Complete(JobPlace),
    /// The job exists and does not have all input files.
    Incomplete {
        place: JobPlace,
        message: String,
        /// Whether the job is cancelled. Otherwise it may get its input files later.
        cancelled: bool,
    },
    /// The job does not exist.
    Failed(Error),
    /// The job may exist.
    Unknown { message: String, loss: Loss },
}

/// How the answer to a submission was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Loss {
    /// The CE has responded without the ids. A job that it does not have now will not come to exist.
    Unreadable,
    /// The connection broke, or something else than the CE responded.
    Broken,
    /// The CE did not respond within the time limit.
    TimedOut,
}

/// What became of the missing input files of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Uploaded {
    /// The job has all its input files.
    Whole,
    /// The job has ended without its input files, so it never ran.
    JobHasEnded,
}

/// What became of a job that did not get all its input files, after the order to cancel it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Discarded {
    /// The CE cancels the job, or the job has ended without its input files.
    Cancelled,
    /// The job had all its input files after all, and ended before it could be cancelled.
    Ran,
}

/// Whether a job has its input files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Inputs {
    /// The job waits for input files, or A-REX has not read its description yet.
    Waiting,
    /// The job has all its input files, or needs none.
    Complete { has_ended: bool },
    /// The job had all its input files and has been cancelled.
    Cancelled,
    /// The job has ended or is being cancelled without all its input files.
    NeverRan,
}

/// How much of the CE a search for identifiers looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Search {
    /// Until each identifier is found once.
    UntilFound,
    /// All jobs of the user.
    AllJobs,
}

/// The jobs that a search by identifier found.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// The jobs with a wanted identifier.
    pub(crate) jobs: Vec<(String, JobPlace)>,
    /// A-REX's own ids of all jobs that were looked at, and their identifiers. Empty for a job without one.
    pub(crate) looked_at: Vec<(String, String)>,
}

/// Returns the names of jobs, by their ids, as far as this machine knows them. The ids are the CE's own.
pub(crate) type KnownNames<'a> = &'a dyn Fn(&[&str]) -> HashMap<String, String>;

/// A connection to one CE over one protocol.
///
/// Every call takes any number of jobs and returns one result for each, in the order of the jobs. An error of the call
/// itself replaces all results. Every call ends in bounded time.
pub(crate) trait Backend: Send + Sync + Debug {
    /// Returns the same backend for a call with limits.
    fn with_limits(&self, limits: Limits) -> Arc<dyn Backend>;

    /// Submits jobs and uploads their input files. Cancels a job whose upload fails. An error of the call means that
    /// nothing has been sent.
    fn submit(&self, jobs: &[PreparedJob], progress: &dyn Progress) -> Result<Vec<Submitted>>;

    /// Searches the user's jobs for identifiers. Does not look at jobs whose identifiers are in `known`, which has
    /// A-REX's own ids.
    fn find(&self, identifiers: &HashSet<String>, known: &HashMap<String, String>, search: Search) -> Result<Found>;

    /// Lists the ids of all jobs of the user.
    fn list(&self) -> Result<Vec<JobId>>;

    /// Finds jobs of the user, in the order of their submission. `known_names` provides names that the CE has not published
    /// yet.
    fn find_jobs(&self, filter: &JobFilter, known_names: KnownNames<'_>) -> Result<Vec<JobInfo>>;

    /// Returns the data with which ARC's tools find a job, as far as the id determines them. `None` if the id cannot belong
    /// to this CE.
    fn place(&self, id: &JobId) -> Option<JobPlace>;

    /// Uploads those input files of jobs that the CE is still waiting for. Cancels no job.
    fn upload_missing(&self, jobs: &[(&JobId, &PreparedJob)]) -> Result<Vec<Result<Uploaded>>>;

    /// Looks whether jobs have their input files.
    fn inputs(&self, ids: &[JobId]) -> Result<Vec<Result<Inputs>>>;

    /// Cancels jobs that did not get all their input files, and makes sure that they are cancelled.
    fn discard(&self, ids: &[JobId]) -> Result<Vec<Result<Discarded>>>;

    /// Looks up the states of jobs, as current as the protocol provides them.
    fn states(&self, ids: &[JobId]) -> Result<Vec<Result<JobState>>>;

    /// Looks up the states of jobs for a watch, which asks again and again, with as few requests as possible.
    fn poll(&self, ids: &[JobId], memory: &mut PollMemory) -> Result<Polled>;

    /// Looks up the details of jobs.
    fn jobs(&self, ids: &[JobId]) -> Result<Vec<Result<JobInfo>>>;

    /// Cancels jobs. Does not change a job that has ended.
    fn cancel(&self, ids: &[JobId]) -> Result<Vec<Result<()>>>;

    /// Removes jobs that have ended, with their files, from the CE.
    fn clean(&self, ids: &[JobId]) -> Result<Vec<Result<()>>>;

    /// Renews the delegations of jobs. Returns when the credentials of each job on the CE expire now, or `None` for a job
    /// without a delegation.
    fn renew(&self, ids: &[JobId]) -> Result<Vec<Result<Option<SystemTime>>>>;

    /// Runs failed jobs again. Returns when the CE has begun to.
    fn restart(&self, ids: &[JobId]) -> Result<Vec<Result<()>>>;

    /// Lists the files in the session directories of jobs. Does not list a directory that `enters` rejects, by its path in
    /// the session directory, where that saves requests.
    fn files(&self, ids: &[JobId], enters: &Enters<'_>) -> Result<Vec<Result<SessionFiles>>>;

    /// Downloads files. Each file that has arrived whole is kept at once ([`Destination::keep`]), from any thread.
    ///
    /// The size of a file of a job that has ended must be the listed one.
    fn fetch(&self, wanted: &[Fetch<'_>]) -> Vec<Result<Fetched>>;

    /// Returns the size of a file in the session directory of a job now.
    fn file_size(&self, id: &JobId, path: &OsStr) -> Result<u64>;

    /// Reads a range of a file, which has been inside the file. Returns less if the file has become shorter.
    fn read_file(&self, id: &JobId, path: &OsStr, range: Range<u64>) -> Result<Vec<u8>>;

    /// Reads what the CE keeps about a job.
    fn diagnostics(&self, id: &JobId) -> Result<JobDiagnostics>;

    /// Whether a job has ended, by the most current record of the CE.
    fn has_ended(&self, id: &JobId) -> Result<bool>;

    /// Reads what the CE publishes about itself.
    fn service(&self) -> Result<ServiceInfo>;

    /// Asks for nothing, as the user. Fails unless the CE serves the user.
    fn ping(&self) -> Result<()>;
}

/// Whether the content of a directory is wanted.
pub(crate) type Enters<'a> = dyn Fn(&OsStr) -> bool + Sync + 'a;

/// The content of a session directory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct SessionFiles {
    pub(crate) files: Vec<SessionFile>,
    pub(crate) directories: Vec<OsString>,
    /// What the directory has besides these files.
    pub(crate) left_out: Vec<LeftOut>,
}

impl SessionFiles {
    /// Whether the CE has no output of the job.
    pub(crate) fn is_empty(&self) -> bool {
        self.files.is_empty() && self.left_out.iter().all(|left_out| left_out.reason == LeftOutReason::NotChecked)
    }
}

/// A file in a session directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SessionFile {
    /// Relative to the session directory, with `/` between components. Jobs may choose any name.
    pub(crate) path: OsString,
    /// Where the backend finds the file, if the path is not enough. A job may have a million files, and each would have
    /// the same long URL.
    pub(crate) url: Option<String>,
    /// The size in bytes when the file was listed, if the CE reports it.
    pub(crate) size: Option<u64>,
}

/// A file to download.
#[derive(Debug)]
pub(crate) struct Fetch<'a> {
    pub(crate) id: &'a JobId,
    pub(crate) file: &'a SessionFile,
    pub(crate) to: &'a dyn Destination,
    /// The number of the file at its destination.
    pub(crate) number: usize,
}

impl Fetch<'_> {
    /// The error for a file that did not arrive.
    pub(crate) fn failed(&self, message: impl Into<String>, is_temporary: bool) -> Error {
        let path = self.to.shown(self.number, self.file);
        Error::OutputFile { job_id: self.id.clone(), path, message: message.into(), is_temporary, source: None }
    }

    /// The error for a local file that cannot be written.
    pub(crate) fn not_written(&self, error: io::Error) -> Error {
        let message = "the local file cannot be written".into();
        let path = self.to.shown(self.number, self.file);
        Error::OutputFile { job_id: self.id.clone(), path, message, is_temporary: false, source: Some(error) }
    }
}

/// The local place of the files of a job. Files have numbers, and are temporary until they are whole.
pub(crate) trait Destination: Sync + Debug {
    /// Creates the temporary file. `size` is the expected size.
    fn create(&self, number: usize, size: Option<u64>) -> io::Result<File>;

    /// Opens what an earlier download has kept of a file, to read it and to append to it. `None` to begin anew.
    fn resume(&self, number: usize, file: &SessionFile) -> io::Result<Option<File>>;

    /// Returns the path of the temporary file, for a library that creates it by its path.
    fn temporary_path(&self, number: usize) -> io::Result<PathBuf>;

    /// Removes the temporary file.
    fn discard(&self, number: usize);

    /// Keeps the file of [`resume`](Self::resume) as far as it has come.
    fn leave(&self, number: usize);

    /// Moves the temporary file, which has arrived whole, to its place.
    fn keep(&self, number: usize, file: &SessionFile) -> io::Result<Fetched>;

    /// Returns the final path of a file, for messages.
    fn shown(&self, number: usize, file: &SessionFile) -> PathBuf;
}

/// What became of a file to fetch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fetched {
    /// The file is in its place.
    Kept { bytes: u64 },
    /// The file cannot be saved. Other files of the job can.
    LeftOut(LeftOutReason),
}
