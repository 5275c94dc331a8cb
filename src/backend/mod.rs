//! [`Backend`]: the operations of an ARC-CE, independent of the protocol.

use std::collections::{HashMap, HashSet};
use std::ffi::OsString;
use std::fmt::Debug;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::backend::offer::Offer;
use crate::backend::prepare::PreparedJob;
use crate::error::{Error, Result};
use crate::ffi::JobPlace;
use crate::job::{JobId, JobInfo, JobState};
use crate::limits::Limits;

pub(crate) mod breaker;
pub(crate) mod failure;
#[cfg(test)]
pub(crate) mod fake;
pub(crate) mod offer;
pub(crate) mod plugin;
pub(crate) mod prepare;
pub(crate) mod rest;

/// Is told how far a submission has come. Jobs are named by their index in the slice that is submitted.
pub(crate) trait Progress {
    /// Jobs are about to be sent. An error stops the submission before that.
    fn sending(&self, jobs: Range<usize>) -> Result<()>;

    /// Jobs exist, and have no input files yet. An error stops the uploads.
    fn created(&self, jobs: &[(usize, JobPlace)]) -> Result<()>;
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
        /// Whether the CE has confirmed that it cancels the job.
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
    /// The job has ended and needs no files.
    JobHasEnded,
}

/// The jobs that a search by identifier found.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// The jobs with a wanted identifier.
    pub(crate) jobs: Vec<(String, JobPlace)>,
    /// A-REX's own ids of all jobs that were looked at, and their identifiers. Empty for a job without one.
    pub(crate) looked_at: Vec<(String, String)>,
}

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
    fn find(&self, identifiers: &HashSet<String>, known: &HashMap<String, String>) -> Result<Found>;

    /// Uploads those input files of jobs that the CE is still waiting for. Cancels no job.
    fn upload_missing(&self, jobs: &[(&JobId, &PreparedJob)]) -> Result<Vec<Result<Uploaded>>>;

    /// Looks up the states of jobs, as current as the protocol provides them.
    fn states(&self, ids: &[JobId]) -> Result<Vec<Result<JobState>>>;

    /// Looks up the details of jobs.
    fn jobs(&self, ids: &[JobId]) -> Result<Vec<Result<JobInfo>>>;

    /// Cancels jobs. Does not change a job that has ended.
    fn cancel(&self, ids: &[JobId]) -> Result<Vec<Result<()>>>;

    /// Removes jobs that have ended, with their files, from the CE.
    fn clean(&self, ids: &[JobId]) -> Result<Vec<Result<()>>>;

    /// Lists the files in the session directories of jobs.
    fn files(&self, ids: &[JobId]) -> Result<Vec<Result<Vec<SessionFile>>>>;

    /// Downloads files to paths where nothing exists yet.
    fn fetch(&self, wanted: &[Fetch<'_>]) -> Vec<Result<Fetched>>;

    /// Reads what the CE publishes about itself. The offer has at least one queue.
    fn offer(&self) -> Result<Offer>;
}

/// A file in a session directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SessionFile {
    /// Relative to the session directory, with `/` between components. Jobs may choose any name.
    pub(crate) path: OsString,
    /// Where the backend finds the file.
    pub(crate) url: String,
    /// The size in bytes when the file was listed, if the CE reports it.
    pub(crate) size: Option<u64>,
}

/// A file to download.
#[derive(Debug)]
pub(crate) struct Fetch<'a> {
    pub(crate) id: &'a JobId,
    pub(crate) file: &'a SessionFile,
    /// The path to write to.
    pub(crate) to: PathBuf,
    /// The final path of the file, for messages.
    pub(crate) shown: &'a Path,
}

/// What became of a file to fetch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fetched {
    /// The file has arrived whole.
    Whole,
    /// The job, which is still running, removed the file after it was listed.
    Removed,
}
