//! Submits, watches and cancels compute jobs on an ARC-CE and downloads their outputs. An ARC-CE, the computing element
//! of NorduGrid's Advanced Resource Connector, gives remote access to a compute cluster, such as JASMIN's LOTUS and
//! many WLCG and Nordic sites.
//!
//! # Example
//!
//! ```no_run
//! use jasmin_arc::ArcInterface;
//!
//! fn main() -> anyhow::Result<()> {
//!     // {"ARC_SERVER": "ce.example.org", "CLIENT_KEY": "~/key.pem", "CLIENT_CERT": "~/cert.pem"}
//!     let arc = ArcInterface::from_file("config.json")?;
//!
//!     let job = arc.submit_job("/bin/bash", &["-c", "echo Running on $(hostname) > output"], &[])?;
//!     println!("the job {}", arc.wait_job(&job)?);
//!
//!     if let Some(directory) = arc.save_job_outputs(&job)? {
//!         print!("{}", std::fs::read_to_string(directory.join("output"))?);
//!     }
//!     Ok(())
//! }
//! ```
//!
//! # Overview
//!
//! - [`ArcInterface`] is the client for one CE. It is blocking, cheap to clone, and `Send + Sync`.
//! - [`ArcPool`] is several of them, used as one.
//! - [`ConnectionConfig`] holds the address of the CE and the paths of the credentials. Read it from a JSON file or
//!   build it in code.
//! - [`JobDescription`] describes a job. Build it in code or read it from JSDL, ADL or xRSL.
//! - [`JobId`] names a submitted job. [`JobStatus`], [`JobState`] and [`JobInfo`] report its progress.
//! - [`Watch`] tells the changes of any number of jobs and waits until they end.
//! - [`Error`] is the one error type. [`Error::kind`] and [`Error::is_retryable`] help a program to react.
//!   [`Error::hint`] tells the user what to check.
//!
//! | one job | many jobs |
//! |---|---|
//! | [`submit_job`](ArcInterface::submit_job), [`submit`](ArcInterface::submit) | [`submit_jobs`](ArcInterface::submit_jobs) |
//! | [`wait_job`](ArcInterface::wait_job) | [`wait_jobs`](ArcInterface::wait_jobs), [`watch`](ArcInterface::watch) |
//! | [`job_status`](ArcInterface::job_status) | [`job_statuses`](ArcInterface::job_statuses) |
//! | [`job_state`](ArcInterface::job_state) | [`job_states`](ArcInterface::job_states) |
//! | [`job`](ArcInterface::job) | [`jobs`](ArcInterface::jobs) |
//! | | [`list_jobs`](ArcInterface::list_jobs), [`find_jobs`](ArcInterface::find_jobs) |
//! | [`save_job_outputs`](ArcInterface::save_job_outputs), [`save_job_outputs_to`](ArcInterface::save_job_outputs_to) | [`save_jobs_outputs_to`](ArcInterface::save_jobs_outputs_to) |
//! | | [`fetch`](ArcInterface::fetch) |
//! | [`list_files`](ArcInterface::list_files), [`read_file`](ArcInterface::read_file) | |
//! | [`follow`](ArcInterface::follow) | |
//! | [`diagnostics`](ArcInterface::diagnostics) | |
//! | [`cancel_job`](ArcInterface::cancel_job) | [`cancel_jobs`](ArcInterface::cancel_jobs) |
//! | | [`cancel_jobs_and_wait`](ArcInterface::cancel_jobs_and_wait) |
//! | [`restart_job`](ArcInterface::restart_job) | [`restart_jobs`](ArcInterface::restart_jobs) |
//! | [`renew_job`](ArcInterface::renew_job) | [`renew_jobs`](ArcInterface::renew_jobs) |
//! | [`clean_job`](ArcInterface::clean_job) | [`clean_jobs`](ArcInterface::clean_jobs) |
//!
//! The bulk methods take any iterator and combine many jobs into one request.
//!
//! # In a service
//!
//! The crate links NorduGrid's C++ client library, which handles credentials and TLS, and keeps that library from
//! taking over the process. Your program keeps its signal handlers, exit code and exit handlers. The crate prints
//! nothing and never prompts for a password. Log messages go to the [`log`](https://docs.rs/log) facade, or where the
//! [builder](ArcInterfaceBuilder) sends them.
//!
//! # More
//!
//! The repository contains a guide (`docs/guide.md`), examples, and a testbed. `tests/testbed/run demo` starts a real
//! ARC-CE on your own machine and runs an example.

mod backend;
mod config;
mod credential;
mod description;
mod error;
mod ffi;
#[cfg(any(test, fuzzing))]
mod fuzzing;
mod interface;
mod job;
mod job_list;
mod journal;
mod limits;
mod logging;
mod matching;
mod proxy;
mod service;
mod transfer;
mod util;
mod watch;

pub use config::{ConnectionConfig, Delegation, ParseProtocolError, Protocol};
pub use description::{
    InputFile, InputSource, JobDescription, Notification, NotificationState, OutputFile, ParseDelegationError,
    ParseNotificationStateError, Restrictions, RuntimeEnvironment,
};
pub use error::{
    ConnectionFailure, Error, ErrorKind, FetchLimit, JobFileFailure, Operation, PassphraseFailure, Result,
};
#[cfg(fuzzing)]
#[doc(hidden)]
pub use fuzzing::FUZZ_TARGETS;
pub use interface::{
    ArcInterface, ArcInterfaceBuilder, ArcPool, CreatedJob, Fetch, Follow, PoolResults, RecoveredSubmission,
    SubmissionOutcome, SyncedJobList, Watch,
};
pub use job::{
    ARC_STATUS_MAPPING, ArcState, DiagnosticPart, DiagnosticText, Existing, FailureReason, FetchProgress, FetchedJob,
    FilePart, Freshness, JobDiagnostics, JobFile, JobFiles, JobFilter, JobId, JobInfo, JobState, JobStatus, LeftOut,
    LeftOutReason, LoggedChange, ParseJobStatusError, Removal, ResourceUsage, SavedOutputs, StagedFile, StagingState,
    TransferredFile,
};
pub use limits::{CancelToken, RetryPolicy};
pub use logging::{LogLevel, ParseLogLevelError};
pub use matching::{Mismatch, ResourceAmount};
pub use service::{HealthState, Ping, QueueInfo, ServiceInfo, ServiceInterface, ServingState};
pub use util::byte_size::{ByteSize, ParseByteSizeError};
pub use util::pattern::ParsePatternError;
pub use watch::{
    Change, PollPolicy, PollSummary, Standing, WatchEnd, WatchGoal, WatchOutcome, WatchReport, WatchedJob,
};

/// Compiles the Rust code in the documents as doc tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
#[doc = include_str!("../docs/descriptions.md")]
#[doc = include_str!("../docs/guide.md")]
#[doc = include_str!("../docs/python-to-rust.md")]
mod documents {}
