//! [`Error`], the one public error type, with its kinds and hints.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::job::JobId;

/// How the message of [`Error::JobNotFound`] begins if the id belongs to another CE. [`Error::hint`] depends on it.
pub(crate) const OTHER_CE: &str = "it is not the id of a job on";

/// How the message of [`Error::NoTargetsAvailable`] begins if the CE has other versions of REST than this crate.
pub(crate) const OTHER_VERSIONS: &str = "the CE has only version";

/// The result of every fallible function of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The reason why an operation failed.
///
/// `Display` names the file, key, job or CE concerned and includes the message of ARC or the CE.
/// [`source`](std::error::Error::source) returns the underlying error, if any; `Display` does not repeat its text.
/// [`hint`](Self::hint) suggests what to check or change.
///
/// Match on a variant to get at its fields, or on [`kind`](Self::kind) to decide what to do next:
///
/// ```
/// use jasmin_arc::{ArcInterface, ErrorKind};
///
/// let error = ArcInterface::from_file("/no/such/config.json").unwrap_err();
/// assert_eq!(error.kind(), ErrorKind::InvalidConfig);
/// assert!(error.to_string().contains("/no/such/config.json"));
/// assert!(!error.is_retryable());
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The configuration cannot be read, is not valid JSON, or contains an invalid value.
    #[error("invalid configuration{}: {message}", Place { path: path.as_deref(), line: *line, key: key.as_deref() })]
    #[non_exhaustive]
    InvalidConfig {
        /// The configuration file. `None` if the configuration was built in code.
        path: Option<PathBuf>,
        /// The line of the file, counted from 1.
        line: Option<usize>,
        /// The key with the bad value.
        key: Option<String>,
        /// What is wrong with it.
        message: String,
        /// The error of the file system, if the file cannot be read.
        #[source]
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },

    /// The proxy certificate at `PROXY_FILE` cannot be used, and `arcproxy` cannot create a new one.
    #[error("no usable proxy certificate at {}: {message}", path.display())]
    #[non_exhaustive]
    ProxyGeneration {
        /// The value of `PROXY_FILE`.
        path: PathBuf,
        /// What is wrong, with the output of `arcproxy` if it ran.
        message: String,
        /// The error of the file system.
        #[source]
        source: Option<io::Error>,
    },

    /// The private key at `CLIENT_KEY` is encrypted and was not decrypted, so no proxy certificate was created.
    #[error("cannot decrypt CLIENT_KEY {}: {message}", path.display())]
    #[non_exhaustive]
    Passphrase {
        /// The value of `CLIENT_KEY`.
        path: PathBuf,
        /// Whether there is no passphrase or a wrong one.
        failure: PassphraseFailure,
        /// What is wrong.
        message: String,
        /// The error of the function that was to return the passphrase.
        #[source]
        source: Option<io::Error>,
    },

    /// There is no bearer token that can be used: see [`TOKEN_FILE`](crate::ConnectionConfig::token_file).
    #[error("no usable bearer token{}: {message}", Place { path: path.as_deref(), line: None, key: None })]
    #[non_exhaustive]
    Token {
        /// The file of the token. `None` if there is no file.
        path: Option<PathBuf>,
        /// What is wrong.
        message: String,
        /// The error of the file system.
        #[source]
        source: Option<io::Error>,
    },

    /// The job description is not valid, or contains a value that an ARC-CE cannot express or would change.
    #[error("invalid job description{}: {message}", Place { path: path.as_deref(), line: None, key: None })]
    #[non_exhaustive]
    InvalidJobDescription {
        /// The file that the description comes from, if any.
        path: Option<PathBuf>,
        /// What is wrong, and in which part of the description.
        message: String,
        /// The error of the file system, if the file cannot be read.
        #[source]
        source: Option<io::Error>,
    },

    /// The CE did not accept the job.
    #[error("cannot submit the job to {endpoint}: {message}{}", job_id.as_ref().map_or_else(String::new, |id| {
        format!(" (the CE may hold it as {id})")
    }))]
    #[non_exhaustive]
    JobSubmission {
        /// The URL of the CE.
        endpoint: String,
        /// The id of the job, if the CE created it before the submission failed, for example during the upload of its
        /// input files. The job may still exist on the CE.
        job_id: Option<JobId>,
        /// The message of the CE or of ARC.
        message: String,
    },

    /// The response to a submission is lost, and the CE does not have the job yet. The job may still come to exist.
    ///
    /// Submit a description with the same key again later, or call
    /// [`find_submission`](crate::ArcInterface::find_submission) or [`recover`](crate::ArcInterface::recover). None of
    /// them makes a second job.
    #[error("the job with the key {key:?} may have been submitted to {endpoint}: {message}")]
    #[non_exhaustive]
    SubmissionUnknown {
        /// The URL of the CE.
        endpoint: String,
        /// The key of the submission: the one of the description, or the random one that the crate chose.
        key: String,
        /// Why the outcome is unknown.
        message: String,
    },

    /// The journal of submissions, beside `JOBS_INFO_FILE`, cannot be read or written.
    ///
    /// If a submission returns this error, nothing has been sent.
    #[error("the journal of submissions {}: {message}", path.display())]
    #[non_exhaustive]
    Journal {
        /// The path of the journal.
        path: PathBuf,
        /// What is wrong.
        message: String,
        /// The error of SQLite or the file system.
        #[source]
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },

    /// The job list at `JOBS_INFO_FILE`, which ARC's tools share, cannot be read or written.
    ///
    /// Only [`sync_job_list`](crate::ArcInterface::sync_job_list) returns this error. Other operations write a warning to
    /// the log.
    #[error("the job list {}: {message}", path.display())]
    #[non_exhaustive]
    JobList {
        /// The value of `JOBS_INFO_FILE`.
        path: PathBuf,
        /// What is wrong.
        message: String,
    },

    /// The interface of the CE that is in use does not offer the operation.
    #[error("{endpoint} does not support this: {message}")]
    #[non_exhaustive]
    Unsupported {
        /// The URL of the CE.
        endpoint: String,
        /// What is not supported, and over which interface it is.
        message: String,
    },

    /// The CE accepts no more jobs at present, because of the limit `maxjobs` in its configuration. It has not accepted
    /// the job, and may do so later.
    ///
    /// A-REX of ARC 7 compares the limit with the number of jobs in one request.
    #[error("{endpoint} accepts no more jobs at present, because of its limit maxjobs: {message}")]
    #[non_exhaustive]
    JobLimit {
        /// The URL of the CE.
        endpoint: String,
        /// The message of the CE.
        message: String,
    },

    /// The CE offers no queue, or no interface that this crate can use.
    #[error("no execution target at {endpoint}: {message}")]
    #[non_exhaustive]
    NoTargetsAvailable {
        /// The URL of the CE.
        endpoint: String,
        /// The message of the CE or of ARC.
        message: String,
    },

    /// The CE has no job with this id.
    #[error("job \"{job_id}\" not found: {message}")]
    #[non_exhaustive]
    JobNotFound {
        /// The id as the caller gave it.
        job_id: JobId,
        /// The reason: the CE does not know the id, or the id belongs to another CE.
        message: String,
    },

    /// An input file is missing, cannot be read, is not a regular file, or has the same name as another one.
    #[error("input file {}: {message}", path.display())]
    #[non_exhaustive]
    InputFile {
        /// The path as the caller gave it.
        path: PathBuf,
        /// What is wrong with it.
        message: String,
        /// The error of the file system.
        #[source]
        source: Option<io::Error>,
    },

    /// An output file of a job cannot be downloaded or stored.
    ///
    /// The crate removes incomplete files. It keeps complete files in a directory that the caller chose, and removes a
    /// temporary directory with all its files.
    #[error("output {} of job {job_id}: {message}", path.display())]
    #[non_exhaustive]
    OutputFile {
        /// The job.
        job_id: JobId,
        /// The local file or directory that could not be written.
        path: PathBuf,
        /// What is wrong.
        message: String,
        /// Whether the download may succeed later: the CE did not respond, or sent an incomplete file.
        is_temporary: bool,
        /// The error of the file system.
        #[source]
        source: Option<io::Error>,
    },

    /// A pattern for names of files is not valid: see [`Fetch::matching`](crate::Fetch::matching).
    #[error("invalid pattern {pattern:?}: {message}")]
    #[non_exhaustive]
    InvalidPattern {
        /// The pattern.
        pattern: String,
        /// What is wrong with it.
        message: String,
    },

    /// The files of a job exceed a limit of [`fetch`](crate::ArcInterface::fetch), or the disk has no room for them. None of
    /// them has been fetched.
    #[error("not fetching the files of job {job_id}: {message}")]
    #[non_exhaustive]
    FetchLimit {
        /// The job.
        job_id: JobId,
        /// The limit.
        limit: FetchLimit,
        /// What the job has, and what the limit is.
        message: String,
    },

    /// A file of a job on the CE cannot be read.
    #[error("cannot read {path:?} of job {job_id}: {message}")]
    #[non_exhaustive]
    JobFile {
        /// The job.
        job_id: JobId,
        /// The path of the file, relative to the session directory.
        path: PathBuf,
        /// Why it cannot be read.
        failure: JobFileFailure,
        /// What is wrong.
        message: String,
    },

    /// The CE refused an operation on a job that it knows.
    #[error("cannot {operation} job {job_id}: {message}")]
    #[non_exhaustive]
    JobOperation {
        /// The job.
        job_id: JobId,
        /// The operation that failed.
        operation: Operation,
        /// The message of the CE or of ARC.
        message: String,
    },

    /// The CE cannot be reached, does not respond in time, or sends an invalid response.
    #[error("no usable response from {endpoint}: {message}")]
    #[non_exhaustive]
    Connection {
        /// The URL of the CE.
        endpoint: String,
        /// How the connection failed.
        failure: ConnectionFailure,
        /// The message of ARC.
        message: String,
        /// The error of the parser that could not read the response.
        #[source]
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },

    /// One side does not trust the certificate of the other, or the CE's certificate does not name the host of
    /// `ARC_SERVER`. No request has been sent.
    #[error("cannot establish a trusted connection to {endpoint}: {message}")]
    #[non_exhaustive]
    Untrusted {
        /// The URL of the CE.
        endpoint: String,
        /// The message of the TLS library, or the host that the CE's certificate names.
        message: String,
    },

    /// The CE responded and refuses the request, for example because it does not know the user or is overloaded.
    #[error("{endpoint} refused the request with HTTP status {code}: {message}")]
    #[non_exhaustive]
    Refused {
        /// The URL of the CE.
        endpoint: String,
        /// The HTTP status code.
        code: u16,
        /// The message of the CE.
        message: String,
    },

    /// The call was cancelled: see [`CancelToken`](crate::CancelToken). The CE may have received its last request.
    #[error("the call was cancelled")]
    Cancelled,

    /// The call did not end within the time that [`with_deadline`](crate::ArcInterface::with_deadline) gave it. The CE may
    /// have received its last request.
    #[error("the call did not end within its deadline of {deadline:?}")]
    #[non_exhaustive]
    DeadlineExceeded {
        /// The deadline.
        deadline: Duration,
    },

    /// ARC's library cannot be initialised, or threw an exception.
    #[error("ARC's library failed: {message}")]
    #[non_exhaustive]
    Arc {
        /// The message of ARC.
        message: String,
    },

    /// The process is exiting, so the crate starts no operation.
    #[error("the process is exiting")]
    Exiting,

    /// This process was forked, without an exec, from a process that had used the crate, so the crate starts no
    /// operation in it. It would speak on the connections of its parent.
    #[error("this process was forked from one that uses jasmin-arc")]
    Forked,
}

/// The category of an [`Error`], for decisions in code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// [`Error::InvalidConfig`].
    InvalidConfig,
    /// [`Error::ProxyGeneration`].
    ProxyGeneration,
    /// [`Error::Passphrase`].
    Passphrase,
    /// [`Error::Token`].
    Token,
    /// [`Error::InvalidJobDescription`].
    InvalidJobDescription,
    /// [`Error::JobSubmission`].
    JobSubmission,
    /// [`Error::SubmissionUnknown`].
    SubmissionUnknown,
    /// [`Error::Journal`].
    Journal,
    /// [`Error::JobList`].
    JobList,
    /// [`Error::Unsupported`].
    Unsupported,
    /// [`Error::JobLimit`].
    JobLimit,
    /// [`Error::NoTargetsAvailable`].
    NoTargetsAvailable,
    /// [`Error::JobNotFound`].
    JobNotFound,
    /// [`Error::InputFile`].
    InputFile,
    /// [`Error::OutputFile`].
    OutputFile,
    /// [`Error::InvalidPattern`].
    InvalidPattern,
    /// [`Error::FetchLimit`].
    FetchLimit,
    /// [`Error::JobFile`].
    JobFile,
    /// [`Error::JobOperation`].
    JobOperation,
    /// [`Error::Connection`] with [`ConnectionFailure::TimedOut`].
    TimedOut,
    /// [`Error::Connection`] with [`ConnectionFailure::Refused`].
    ConnectionRefused,
    /// [`Error::Connection`] with [`ConnectionFailure::HostNotFound`].
    HostNotFound,
    /// [`Error::Connection`] with [`ConnectionFailure::ResolutionFailed`].
    ResolutionFailed,
    /// [`Error::Connection`] with [`ConnectionFailure::InvalidResponse`].
    InvalidResponse,
    /// [`Error::Connection`] with any other failure.
    Connection,
    /// [`Error::Untrusted`].
    Untrusted,
    /// [`Error::Refused`] because the user may not use the CE: HTTP status 401 or 403, or A-REX has no local user for
    /// the user's certificate.
    AccessDenied,
    /// [`Error::Refused`] for any other reason.
    Refused,
    /// [`Error::Cancelled`].
    Cancelled,
    /// [`Error::DeadlineExceeded`].
    DeadlineExceeded,
    /// [`Error::Arc`].
    Arc,
    /// [`Error::Exiting`].
    Exiting,
    /// [`Error::Forked`].
    Forked,
}

/// How a connection to a CE failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ConnectionFailure {
    /// The CE did not respond within the time limit.
    TimedOut,
    /// The connection was refused, for example because nothing listens on the port, or the host cannot be reached.
    Refused,
    /// The host name does not exist.
    HostNotFound,
    /// No name server could resolve the host name, which may be temporary.
    ResolutionFailed,
    /// The connection broke, or TLS failed for a reason other than trust.
    Broken,
    /// The CE responded, but the response does not have the form that the interface requires.
    InvalidResponse,
}

/// Why an encrypted private key was not decrypted, in [`Error::Passphrase`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum PassphraseFailure {
    /// The program has set no function that returns the passphrase.
    Missing,
    /// The function failed, or returned a text that cannot be a passphrase.
    NotGiven,
    /// The passphrase does not decrypt the key.
    Wrong,
}

/// A limit of a fetch, in [`Error::FetchLimit`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum FetchLimit {
    /// The number of files of one job.
    Files,
    /// The bytes of one job.
    BytesPerJob,
    /// The bytes of all jobs together.
    Bytes,
    /// The free space of the file system.
    DiskSpace,
}

/// Why a file of a job cannot be read, in [`Error::JobFile`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum JobFileFailure {
    /// The job has no such file.
    NotFound,
    /// It is a directory.
    NotAFile,
    /// The CE has it and does not open it.
    Unreadable,
    /// The name leads out of the session directory, or contains control characters.
    UnsafeName,
    /// The range is longer than one call returns.
    TooLong,
    /// The file has become shorter than the part that was read already.
    Shrunk,
    /// Another file has taken its place: the part that was read already has changed.
    Replaced,
}

/// An operation on a job, as it appears in [`Error::JobOperation`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Operation {
    /// Looking up the state or the details of the job.
    LookUp,
    /// Cancelling the job.
    Cancel,
    /// Removing the job from the CE.
    Clean,
    /// Listing the files in the session directory of the job.
    ListFiles,
    /// Uploading the input files of the job.
    UploadInputs,
    /// Renewing the credentials of the job on the CE.
    Renew,
    /// Running a failed job again.
    Restart,
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Operation::LookUp => "look up",
            Operation::Cancel => "cancel",
            Operation::Clean => "clean",
            Operation::ListFiles => "list the files of",
            Operation::UploadInputs => "upload the input files of",
            Operation::Renew => "renew the credentials of",
            Operation::Restart => "restart",
        })
    }
}

impl Error {
    /// Returns the same error without its source, for another job that failed for the same reason.
    pub(crate) fn without_source(&self) -> Error {
        match self {
            Error::InvalidConfig { path, line, key, message, source: _ } => Error::InvalidConfig {
                path: path.clone(),
                line: *line,
                key: key.clone(),
                message: message.clone(),
                source: None,
            },
            Error::ProxyGeneration { path, message, source: _ } => {
                Error::ProxyGeneration { path: path.clone(), message: message.clone(), source: None }
            }
            Error::Passphrase { path, failure, message, source: _ } => {
                Error::Passphrase { path: path.clone(), failure: *failure, message: message.clone(), source: None }
            }
            Error::Token { path, message, source: _ } => {
                Error::Token { path: path.clone(), message: message.clone(), source: None }
            }
            Error::InvalidJobDescription { path, message, source: _ } => {
                Error::InvalidJobDescription { path: path.clone(), message: message.clone(), source: None }
            }
            Error::JobSubmission { endpoint, job_id, message } => {
                Error::JobSubmission { endpoint: endpoint.clone(), job_id: job_id.clone(), message: message.clone() }
            }
            Error::SubmissionUnknown { endpoint, key, message } => {
                Error::SubmissionUnknown { endpoint: endpoint.clone(), key: key.clone(), message: message.clone() }
            }
            Error::Journal { path, message, source: _ } => {
                Error::Journal { path: path.clone(), message: message.clone(), source: None }
            }
            Error::JobList { path, message } => Error::JobList { path: path.clone(), message: message.clone() },
            Error::Unsupported { endpoint, message } => {
                Error::Unsupported { endpoint: endpoint.clone(), message: message.clone() }
            }
            Error::JobLimit { endpoint, message } => {
                Error::JobLimit { endpoint: endpoint.clone(), message: message.clone() }
            }
            Error::NoTargetsAvailable { endpoint, message } => {
                Error::NoTargetsAvailable { endpoint: endpoint.clone(), message: message.clone() }
            }
            Error::JobNotFound { job_id, message } => {
                Error::JobNotFound { job_id: job_id.clone(), message: message.clone() }
            }
            Error::InputFile { path, message, source: _ } => {
                Error::InputFile { path: path.clone(), message: message.clone(), source: None }
            }
            Error::OutputFile { job_id, path, message, is_temporary, source: _ } => Error::OutputFile {
                job_id: job_id.clone(),
                path: path.clone(),
                message: message.clone(),
                is_temporary: *is_temporary,
                source: None,
            },
            Error::InvalidPattern { pattern, message } => {
                Error::InvalidPattern { pattern: pattern.clone(), message: message.clone() }
            }
            Error::FetchLimit { job_id, limit, message } => {
                Error::FetchLimit { job_id: job_id.clone(), limit: *limit, message: message.clone() }
            }
            Error::JobFile { job_id, path, failure, message } => Error::JobFile {
                job_id: job_id.clone(),
                path: path.clone(),
                failure: *failure,
                message: message.clone(),
            },
            Error::JobOperation { job_id, operation, message } => {
                Error::JobOperation { job_id: job_id.clone(), operation: *operation, message: message.clone() }
            }
            Error::Connection { endpoint, failure, message, source: _ } => Error::Connection {
                endpoint: endpoint.clone(),
                failure: *failure,
                message: message.clone(),
                source: None,
            },
            Error::Untrusted { endpoint, message } => {
                Error::Untrusted { endpoint: endpoint.clone(), message: message.clone() }
            }
            Error::Refused { endpoint, code, message } => {
                Error::Refused { endpoint: endpoint.clone(), code: *code, message: message.clone() }
            }
            Error::Cancelled => Error::Cancelled,
            Error::DeadlineExceeded { deadline } => Error::DeadlineExceeded { deadline: *deadline },
            Error::Arc { message } => Error::Arc { message: message.clone() },
            Error::Exiting => Error::Exiting,
            Error::Forked => Error::Forked,
        }
    }

    /// Returns the category of the error. Use it to decide what to do next.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Error::InvalidConfig { .. } => ErrorKind::InvalidConfig,
            Error::ProxyGeneration { .. } => ErrorKind::ProxyGeneration,
            Error::Passphrase { .. } => ErrorKind::Passphrase,
            Error::Token { .. } => ErrorKind::Token,
            Error::InvalidJobDescription { .. } => ErrorKind::InvalidJobDescription,
            Error::JobSubmission { .. } => ErrorKind::JobSubmission,
            Error::SubmissionUnknown { .. } => ErrorKind::SubmissionUnknown,
            Error::Journal { .. } => ErrorKind::Journal,
            Error::JobList { .. } => ErrorKind::JobList,
            Error::Unsupported { .. } => ErrorKind::Unsupported,
            Error::JobLimit { .. } => ErrorKind::JobLimit,
            Error::NoTargetsAvailable { .. } => ErrorKind::NoTargetsAvailable,
            Error::JobNotFound { .. } => ErrorKind::JobNotFound,
            Error::InputFile { .. } => ErrorKind::InputFile,
            Error::OutputFile { .. } => ErrorKind::OutputFile,
            Error::InvalidPattern { .. } => ErrorKind::InvalidPattern,
            Error::FetchLimit { .. } => ErrorKind::FetchLimit,
            Error::JobFile { .. } => ErrorKind::JobFile,
            Error::JobOperation { .. } => ErrorKind::JobOperation,
            Error::Connection { failure, .. } => match failure {
                ConnectionFailure::TimedOut => ErrorKind::TimedOut,
                ConnectionFailure::Refused => ErrorKind::ConnectionRefused,
                ConnectionFailure::HostNotFound => ErrorKind::HostNotFound,
                ConnectionFailure::ResolutionFailed => ErrorKind::ResolutionFailed,
                ConnectionFailure::InvalidResponse => ErrorKind::InvalidResponse,
                ConnectionFailure::Broken => ErrorKind::Connection,
            },
            Error::Untrusted { .. } => ErrorKind::Untrusted,
            Error::Refused { code, message, .. } if is_access_denied(*code, message) => ErrorKind::AccessDenied,
            Error::Refused { .. } => ErrorKind::Refused,
            Error::Cancelled => ErrorKind::Cancelled,
            Error::DeadlineExceeded { .. } => ErrorKind::DeadlineExceeded,
            Error::Arc { .. } => ErrorKind::Arc,
            Error::Exiting => ErrorKind::Exiting,
            Error::Forked => ErrorKind::Forked,
        }
    }

    /// Whether the same call may succeed later without a change to the configuration, the credentials or the job.
    ///
    /// True if the CE is unavailable or overloaded: the connection is refused, breaks or times out, the response is
    /// invalid, the HTTP status is 429, 500, 502, 503 or 504, or the CE accepts no more jobs at present. Also true for an
    /// output file whose download failed in one of these ways, and after a deadline. False for problems that need a
    /// change, such as an untrusted certificate, a user without access, a host name that does not exist, or an `http://`
    /// address.
    ///
    /// [`Error::JobSubmission`] is never retryable, because the job may exist already.
    pub fn is_retryable(&self) -> bool {
        match self {
            Error::Connection { endpoint, failure, .. } => {
                *failure != ConnectionFailure::HostNotFound && !endpoint.starts_with("http://")
            }
            Error::Refused { code, message, .. } => {
                matches!(code, 429 | 500 | 502..=504) && !is_access_denied(*code, message)
            }
            Error::OutputFile { is_temporary, .. } => *is_temporary,
            Error::JobLimit { .. } => true,
            Error::DeadlineExceeded { .. } => true,
            _ => false,
        }
    }

    /// Returns the job that the error concerns, if any.
    pub fn job_id(&self) -> Option<&JobId> {
        match self {
            Error::JobNotFound { job_id, .. }
            | Error::OutputFile { job_id, .. }
            | Error::FetchLimit { job_id, .. }
            | Error::JobFile { job_id, .. }
            | Error::JobOperation { job_id, .. } => Some(job_id),
            Error::JobSubmission { job_id, .. } => job_id.as_ref(),
            _ => None,
        }
    }

    /// Returns a suggestion what to check or change. `None` if the crate has no suggestion beyond the message.
    ///
    /// ```
    /// # use jasmin_arc::Error;
    /// # fn example(error: &Error) {
    /// eprintln!("{error}");
    /// if let Some(hint) = error.hint() {
    ///     eprintln!("hint: {hint}");
    /// }
    /// # }
    /// ```
    pub fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Error::Connection { endpoint, .. } if endpoint.starts_with("http://") => {
                "ARC-CEs speak HTTPS: use https:// in ARC_SERVER, or leave the scheme out"
            }
            Error::Connection { failure, .. } => match failure {
                ConnectionFailure::TimedOut => "check that the CE is up and that no firewall drops the connection",
                ConnectionFailure::Refused => "check the port in ARC_SERVER and that the CE is up",
                ConnectionFailure::HostNotFound => "check the host name in ARC_SERVER",
                ConnectionFailure::ResolutionFailed => "check the network and the name servers of this machine",
                ConnectionFailure::InvalidResponse => "check that ARC_SERVER is the address of an ARC-CE",
                ConnectionFailure::Broken => return None,
            },
            Error::Untrusted { endpoint, .. } if endpoint.starts_with("http://") => {
                "ARC-CEs speak HTTPS: use https:// in ARC_SERVER, or leave the scheme out"
            }
            Error::Untrusted { .. } => {
                "check that ARC_SERVER has the host name of the CE's certificate, that CERTS_DIR holds the CA of the CE, that \
                 the CE trusts the CA of CLIENT_CERT, that neither certificate has expired, and the clock of this machine"
            }
            Error::Refused { code, message, .. } if is_access_denied(*code, message) => {
                "ask the administrators of the CE whether the subject of your certificate or token may use it"
            }
            Error::NoTargetsAvailable { message, .. } if message.starts_with(OTHER_VERSIONS) => {
                "update ARC's client library on this machine, or this crate"
            }
            Error::Refused { code: 404, .. } | Error::NoTargetsAvailable { .. } => {
                "check the path in ARC_SERVER, which is /arex on most CEs"
            }
            Error::JobNotFound { message, .. } if message.starts_with(OTHER_CE) => "set ARC_SERVER to the CE in the id",
            Error::JobSubmission { job_id: Some(_), .. } => {
                "look up the job by its id, or submit the description again with the same key"
            }
            Error::SubmissionUnknown { .. } => {
                "call recover() or find_submission() after half a minute, or submit again with this key"
            }
            Error::JobLimit { .. } => "submit the job again later, in smaller groups",
            Error::Unsupported { .. } => "use the REST interface: set INTERFACE to org.nordugrid.arcrest",
            Error::OutputFile { source: Some(source), .. } | Error::ProxyGeneration { source: Some(source), .. } => {
                match source.kind() {
                    io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "free some disk space",
                    io::ErrorKind::PermissionDenied => "check the permissions of the directory",
                    _ => return None,
                }
            }
            Error::FetchLimit { limit: FetchLimit::DiskSpace, .. } => "free some disk space, or fetch fewer files",
            Error::Passphrase { .. } => {
                "check the passphrase that the program gives to ArcInterfaceBuilder::passphrase"
            }
            Error::Forked => "fork before the first use of the crate, or start programs with std::process::Command",
            _ => return None,
        })
    }
}

/// Whether the CE refuses the user. A-REX sends this text with status 500 if it maps the user to no local user
/// (`ARexRest::processJobs`).
fn is_access_denied(code: u16, message: &str) -> bool {
    matches!(code, 401 | 403) || message.contains("User can't be assigned configuration")
}

/// Shows where in a file an error is: ` /path, line 3, key NAME`.
struct Place<'a> {
    path: Option<&'a Path>,
    line: Option<usize>,
    key: Option<&'a str>,
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(path) = self.path {
            write!(f, " {}", path.display())?;
        }
        if let Some(line) = self.line {
            write!(f, ", line {line}")?;
        }
        if let Some(key) = self.key {
            write!(f, ", key {key}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connection(endpoint: &str, failure: ConnectionFailure) -> Error {
        Error::Connection { endpoint: endpoint.into(), failure, message: "message".into(), source: None }
    }

    #[test]
    fn only_temporary_failures_are_retryable() {
        let https = "https://ce.example.org:443/arex";
        for (failure, kind, retryable) in [
            (ConnectionFailure::TimedOut, ErrorKind::TimedOut, true),
            (ConnectionFailure::Refused, ErrorKind::ConnectionRefused, true),
            (ConnectionFailure::Broken, ErrorKind::Connection, true),
            (ConnectionFailure::InvalidResponse, ErrorKind::InvalidResponse, true),
            (ConnectionFailure::HostNotFound, ErrorKind::HostNotFound, false),
            (ConnectionFailure::ResolutionFailed, ErrorKind::ResolutionFailed, true),
        ] {
            let error = connection(https, failure);
            assert_eq!((error.kind(), error.is_retryable()), (kind, retryable), "{failure:?}");
            assert!(!connection("http://ce.example.org:80/arex", failure).is_retryable());
        }
        let untrusted = Error::Untrusted { endpoint: https.into(), message: "self-signed certificate".into() };
        assert!(!untrusted.is_retryable() && untrusted.hint().is_some());
        for (code, retryable) in [(401, false), (403, false), (404, false), (429, true), (500, true), (503, true)] {
            let refused = Error::Refused { endpoint: https.into(), code, message: String::new() };
            assert_eq!(refused.is_retryable(), retryable, "{code}");
            let kind = if matches!(code, 401 | 403) { ErrorKind::AccessDenied } else { ErrorKind::Refused };
            assert_eq!(refused.kind(), kind, "{code}");
        }
        let message = "User can't be assigned configuration".into();
        let unmapped = Error::Refused { endpoint: https.into(), code: 500, message };
        assert_eq!((unmapped.kind(), unmapped.is_retryable()), (ErrorKind::AccessDenied, false));
        let full = Error::JobLimit { endpoint: https.into(), message: "No more jobs allowed".into() };
        assert_eq!((full.kind(), full.is_retryable()), (ErrorKind::JobLimit, true));
        assert!(full.to_string().contains("maxjobs") && full.hint().is_some(), "{full}");
        let id = Some(JobId::from("a"));
        let submission = Error::JobSubmission { endpoint: https.into(), job_id: id.clone(), message: "lost".into() };
        assert!(!submission.is_retryable());
        assert_eq!(submission.job_id(), id.as_ref());
        assert_eq!(submission.to_string(), format!("cannot submit the job to {https}: lost (the CE may hold it as a)"));
    }

    #[test]
    fn messages_name_the_place() {
        let error = Error::InvalidConfig {
            path: Some("/c.json".into()),
            line: Some(3),
            key: Some("CLIENT_KEY".into()),
            message: "the path is empty".into(),
            source: None,
        };
        assert_eq!(error.to_string(), "invalid configuration /c.json, line 3, key CLIENT_KEY: the path is empty");
        let error =
            Error::JobOperation { job_id: "a".into(), operation: Operation::Clean, message: "it has not ended".into() };
        assert_eq!(error.to_string(), "cannot clean job a: it has not ended");
    }

    #[test]
    fn full_disks_have_a_hint() {
        let source = Some(io::Error::from(io::ErrorKind::StorageFull));
        let error = Error::OutputFile {
            job_id: "a".into(),
            path: "/x".into(),
            message: "cannot write".into(),
            is_temporary: false,
            source,
        };
        assert_eq!((error.hint(), error.is_retryable()), (Some("free some disk space"), false));
    }
}
