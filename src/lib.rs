//! Submit, watch, cancel and fetch compute jobs on an ARC-CE, the computing element of NorduGrid's Advanced Resource
//! Connector. ARC-CEs stand before clusters such as JASMIN's LOTUS and many WLCG and Nordic sites.
//!
//! # Example
//!
//! ```no_run
//! use std::thread::sleep;
//! use std::time::Duration;
//!
//! use jasmin_arc::ArcInterface;
//!
//! fn main() -> anyhow::Result<()> {
//!     // {"ARC_SERVER": "ce.example.org", "CLIENT_KEY": "~/key.pem", "CLIENT_CERT": "~/cert.pem"}
//!     let arc = ArcInterface::from_file("config.json")?;
//!
//!     let job = arc.submit_job("/bin/bash", &["-c", "echo Running on $(hostname) > output"], &[])?;
//!     while !arc.job_status(&job)?.is_final() {
//!         sleep(Duration::from_secs(1));
//!     }
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
//! - [`ConnectionConfig`] says which CE and which credentials to use. It is read from a JSON file or built in code.
//! - [`JobDescription`] describes a job. It is built in code or read from JSDL, ADL or xRSL.
//! - [`JobId`] names a submitted job. [`JobStatus`], [`JobState`] and [`JobInfo`] tell where it stands.
//! - [`Error`] is the one error type. [`Error::kind`] and [`Error::is_retryable`] help to decide, [`Error::hint`] to repair.
//!
//! | one job | many jobs |
//! |---|---|
//! | [`submit_job`](ArcInterface::submit_job), [`submit`](ArcInterface::submit) | [`submit_jobs`](ArcInterface::submit_jobs) |
//! | [`job_status`](ArcInterface::job_status) | [`job_statuses`](ArcInterface::job_statuses) |
//! | [`job_state`](ArcInterface::job_state) | [`job_states`](ArcInterface::job_states) |
//! | [`job`](ArcInterface::job) | [`jobs`](ArcInterface::jobs) |
//! | [`save_job_outputs`](ArcInterface::save_job_outputs), [`save_job_outputs_to`](ArcInterface::save_job_outputs_to) | [`save_jobs_outputs_to`](ArcInterface::save_jobs_outputs_to) |
//! | [`cancel_job`](ArcInterface::cancel_job) | [`cancel_jobs`](ArcInterface::cancel_jobs) |
//! | [`clean_job`](ArcInterface::clean_job) | [`clean_jobs`](ArcInterface::clean_jobs) |
//!
//! The bulk methods take any iterator of ids and send a few requests for all jobs.
//!
//! # In a service
//!
//! The crate links NorduGrid's C++ client library, which handles credentials and TLS, and keeps it from taking over the
//! process. Signal handlers, exit code and exit handlers stay the program's. Nothing is printed, and nothing prompts for a
//! password. Messages go to the [`log`](https://docs.rs/log) facade, or where the [builder](ArcInterfaceBuilder) sends them.
//!
//! # More
//!
//! The repository has a guide (`docs/guide.md`), examples, and a testbed, a real ARC-CE for your own machine:
//! `tests/testbed/run demo`.

mod backend;
mod config;
mod description;
mod error;
mod ffi;
mod interface;
mod job;
mod job_list;
mod logging;
mod matching;
mod proxy;
mod transfer;
mod util;

pub use config::{ConnectionConfig, Delegation, ParseProtocolError, Protocol};
pub use description::{
    InputFile, InputSource, JobDescription, Notification, NotificationState, OutputFile, ParseDelegationError,
    ParseNotificationStateError, RuntimeEnvironment,
};
pub use error::{ConnectionFailure, Error, ErrorKind, Operation, Result};
pub use interface::{ArcInterface, ArcInterfaceBuilder};
pub use job::{ARC_STATUS_MAPPING, ArcState, Freshness, JobId, JobInfo, JobState, JobStatus, ParseJobStatusError};
pub use logging::{LogLevel, ParseLogLevelError};
pub use matching::{Mismatch, ResourceAmount};
pub use util::byte_size::{ByteSize, ParseByteSizeError};

/// The Rust code in the documents is compiled with the tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
#[doc = include_str!("../docs/descriptions.md")]
#[doc = include_str!("../docs/guide.md")]
#[doc = include_str!("../docs/python-to-rust.md")]
mod documents {}
