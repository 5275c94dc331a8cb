//! What an ARC-CE can be asked, whatever protocol it is asked by.

use std::ffi::OsString;
use std::fmt::Debug;
use std::path::{Path, PathBuf};

use crate::backend::prepare::PreparedJob;
use crate::error::Result;
use crate::ffi::JobPlace;
use crate::job::status::ArcState;
use crate::job::{JobId, JobInfo};
use crate::matching::Offer;

#[cfg(test)]
pub(crate) mod fake;
pub(crate) mod plugin;
pub(crate) mod prepare;
pub(crate) mod rest;

/// Is told of jobs as soon as the CE has accepted them, before their input files are uploaded.
pub(crate) type Accepted<'a> = &'a dyn Fn(&[JobPlace]);

/// One CE, asked by one protocol.
///
/// Every call is for any number of jobs and answers in the order they were given in, one result a job. An error of the
/// call itself means that nothing was done for any of them. All of them are bounded in time, and their cost depends on
/// the jobs asked for, never on the jobs that the CE holds.
pub(crate) trait Backend: Send + Sync + Debug {
    /// Submits jobs and uploads their input files. A job whose upload fails is cancelled; if it may be there all the same
    /// the error has its id.
    fn submit(&self, jobs: &[PreparedJob], accepted: Accepted<'_>) -> Result<Vec<Result<JobPlace>>>;

    /// The states of jobs, as fresh as the protocol has them.
    fn states(&self, ids: &[JobId]) -> Result<Vec<Result<ArcState>>>;

    /// All that the CE tells of jobs.
    fn jobs(&self, ids: &[JobId]) -> Result<Vec<Result<JobInfo>>>;

    /// Cancels jobs. A job that has ended already is left as it is.
    fn cancel(&self, ids: &[JobId]) -> Result<Vec<Result<()>>>;

    /// Removes jobs that have ended from the CE, with their files.
    fn clean(&self, ids: &[JobId]) -> Result<Vec<Result<()>>>;

    /// The files in the session directories of jobs.
    fn files(&self, ids: &[JobId]) -> Result<Vec<Result<Vec<SessionFile>>>>;

    /// Fetches files to paths where there is nothing yet.
    fn fetch(&self, wanted: &[Fetch<'_>]) -> Vec<Result<()>>;

    /// What the CE offers, as far as it tells: one queue at least.
    fn offer(&self) -> Result<Offer>;
}

/// A file in a session directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SessionFile {
    /// Relative to the session directory, with `/`. Jobs give files whatever names they like.
    pub(crate) path: OsString,
    /// Where the backend finds it.
    pub(crate) url: String,
    /// In bytes, when it was listed.
    pub(crate) size: Option<u64>,
}

/// A file to fetch.
#[derive(Debug)]
pub(crate) struct Fetch<'a> {
    pub(crate) id: &'a JobId,
    pub(crate) file: &'a SessionFile,
    /// Where to write it.
    pub(crate) to: PathBuf,
    /// Where it will be in the end; for messages.
    pub(crate) shown: &'a Path,
}
