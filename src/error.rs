//! [`Error`], the one error type of this crate.

use std::io;
use std::path::PathBuf;

use crate::job::JobId;

/// What every fallible function of this crate returns.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why an operation failed.
///
/// Each variant names the file, key or job it is about, and carries what ARC said where ARC said something.
///
/// ```
/// use jasmin_arc::{ArcInterface, Error};
///
/// match ArcInterface::from_file("/no/such/config.json") {
///     Err(Error::InvalidConfig { path, .. }) => assert_eq!(path.unwrap().to_str(), Some("/no/such/config.json")),
///     other => panic!("{other:?}"),
/// }
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The configuration cannot be read, is not valid JSON, or a key has a value that cannot be used.
    #[error("invalid configuration{}: {message}", place(path, line, key))]
    InvalidConfig {
        /// The configuration file; `None` when the configuration was built in code.
        path: Option<PathBuf>,
        /// The line of the file, counted from 1.
        line: Option<usize>,
        /// The key with the bad value.
        key: Option<String>,
        /// What is wrong.
        message: String,
        /// What the file system or the JSON parser said.
        #[source]
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },

    /// No proxy certificate could be made from the private key and the certificate, or the one at `PROXY_FILE`
    /// cannot be used.
    #[error("no proxy certificate at {}: {message}", path.display())]
    ProxyGeneration {
        /// `PROXY_FILE`.
        path: PathBuf,
        /// What is wrong, with the output of `arcproxy` if it ran.
        message: String,
        /// What the file system said.
        #[source]
        source: Option<io::Error>,
    },

    /// The job description says something that no ARC-CE can be told.
    #[error("invalid job description{}: {message}", place(path, &None, &None))]
    InvalidJobDescription {
        /// The file that it was read from, if it was.
        path: Option<PathBuf>,
        /// What is wrong, and in which part of the description.
        message: String,
    },

    /// The CE did not accept the job.
    #[error("job was not submitted to {endpoint}{}: {message}", left_behind(job_id))]
    JobSubmission {
        /// URL of the CE.
        endpoint: String,
        /// The job, if the CE made one before the submission failed (while its input files were uploaded, for
        /// instance): it may still exist there.
        job_id: Option<JobId>,
        /// What the CE or ARC said.
        message: String,
    },

    /// The CE offers nothing to submit a job to.
    #[error("no execution targets available at {endpoint}: {message}")]
    NoTargetsAvailable {
        /// URL of the CE.
        endpoint: String,
        /// What the CE or ARC said.
        message: String,
    },

    /// The CE knows no job with this id.
    #[error("no job with the id \"{job_id}\"")]
    JobNotFound {
        /// The id that was asked for.
        job_id: JobId,
    },

    /// An input file is missing, cannot be read, is no file, or has the name of another one.
    #[error("input file {}: {message}", path.display())]
    InputFile {
        /// The file as it was given.
        path: PathBuf,
        /// What is wrong.
        message: String,
        /// What the file system said.
        #[source]
        source: Option<io::Error>,
    },

    /// An output of a job could not be fetched or stored. A file that did not arrive whole is not shown; what had been
    /// fetched before is there if the directory is the caller's, and gone if it was a temporary one.
    #[error("outputs of job {job_id}: {}: {message}", path.display())]
    OutputFile {
        /// The job.
        job_id: JobId,
        /// The local file or directory that was being written.
        path: PathBuf,
        /// What is wrong.
        message: String,
        /// What the file system said.
        #[source]
        source: Option<io::Error>,
    },

    /// The CE refused an operation on a job that it knows.
    #[error("cannot {operation} job {job_id}: {message}")]
    JobOperation {
        /// The job.
        job_id: JobId,
        /// What was asked: "cancel", "clean".
        operation: &'static str,
        /// What the CE or ARC said.
        message: String,
    },

    /// The CE cannot be reached, did not answer in time, or its answer makes no sense.
    #[error("no usable answer from {endpoint}: {message}")]
    Connection {
        /// URL of the CE.
        endpoint: String,
        /// What ARC said.
        message: String,
    },

    /// The CE answered, and refuses: it does not know the user, has no such interface, or cannot do it now.
    #[error("{endpoint} refuses ({code}): {message}")]
    Refused {
        /// URL of the CE.
        endpoint: String,
        /// The HTTP status code.
        code: i32,
        /// What the CE said.
        message: String,
    },

    /// ARC's library itself failed: it cannot be initialised, or threw an exception.
    #[error("ARC: {message}")]
    Arc {
        /// What ARC said.
        message: String,
    },

    /// The process is on its way out: nothing new is begun.
    #[error("the process is exiting")]
    Exiting,
}

impl Error {
    /// Whether the same call may succeed later without anything being changed on this side.
    ///
    /// An [`Error::JobSubmission`] is never called retryable: the job may exist.
    ///
    /// ```
    /// use jasmin_arc::Error;
    ///
    /// let error = Error::Connection { endpoint: "https://ce.example.org/arex".into(), message: "timed out".into() };
    /// assert!(error.is_retryable());
    /// ```
    pub fn is_retryable(&self) -> bool {
        matches!(self, Error::Connection { .. } | Error::Refused { code: 429 | 502..=504, .. })
    }
}

fn place(path: &Option<PathBuf>, line: &Option<usize>, key: &Option<String>) -> String {
    let mut text = String::new();
    if let Some(path) = path {
        text += &format!(" {}", path.display());
    }
    if let Some(line) = line {
        text += &format!(", line {line}");
    }
    if let Some(key) = key {
        text += &format!(", key {key}");
    }
    text
}

fn left_behind(job_id: &Option<JobId>) -> String {
    job_id.as_ref().map(|id| format!(" (but the CE may hold it as {id})")).unwrap_or_default()
}
