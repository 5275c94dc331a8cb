//! [`Backend`]: the operations of an ARC-CE, independent of the protocol.

use std::ffi::OsString;
use std::fmt::Debug;
use std::path::{Path, PathBuf};

use crate::backend::offer::Offer;
use crate::backend::prepare::PreparedJob;
use crate::error::Result;
use crate::ffi::JobPlace;
use crate::job::{JobId, JobInfo, JobState};

pub(crate) mod failure;
#[cfg(test)]
pub(crate) mod fake;
pub(crate) mod offer;
pub(crate) mod plugin;
pub(crate) mod prepare;
pub(crate) mod rest;

/// Called with jobs as soon as the CE has accepted them, before their input files are uploaded.
pub(crate) type Accepted<'a> = &'a dyn Fn(&[JobPlace]);

/// A connection to one CE over one protocol.
///
/// Every call takes any number of jobs and returns one result for each, in the order of the jobs. An error of the call
/// itself replaces all results. Every call ends in bounded time.
pub(crate) trait Backend: Send + Sync + Debug {
    /// Submits jobs and uploads their input files. Cancels a job whose upload fails; the error has its id if the job may
    /// still exist.
    fn submit(&self, jobs: &[PreparedJob], accepted: Accepted<'_>) -> Result<Vec<Result<JobPlace>>>;

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
