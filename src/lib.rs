//! Submit, watch, cancel and fetch compute jobs on an ARC-CE, the computing element of NorduGrid's Advanced Resource
//! Connector, which stands before clusters such as JASMIN's LOTUS and many WLCG and Nordic sites.
//!
//! ```no_run
//! use std::path::Path;
//! use std::time::Duration;
//!
//! use jasmin_arc::ArcInterface;
//!
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     // {"ARC_SERVER": "ce.example.org", "CLIENT_KEY": "~/key.pem", "CLIENT_CERT": "~/cert.pem"}
//!     let arc = ArcInterface::from_file("config.json")?;
//!
//!     let job = arc.submit_job("/bin/bash", &["-c", "echo Running on $(hostname) > output"], &[])?;
//!     while !arc.job_status(&job)?.is_final() {
//!         std::thread::sleep(Duration::from_secs(1));
//!     }
//!
//!     if let Some(directory) = arc.save_job_outputs(&job)? {
//!         print!("{}", std::fs::read_to_string(directory.join("output"))?);
//!     }
//!     Ok(())
//! }
//! ```
//!
//! [`ArcInterface`] is the entry to everything. It is blocking, cheap to clone, and can be used by any number of threads;
//! what it needs to know is in a [`ConnectionConfig`]. A job is described by an executable, its arguments and input files,
//! or by a [`JobDescription`], and known by its [`JobId`]. Every method for one job has a form for many, which asks the CE
//! once for all of them: [`submit_jobs`](ArcInterface::submit_jobs), [`job_statuses`](ArcInterface::job_statuses),
//! [`jobs`](ArcInterface::jobs), [`cancel_jobs`](ArcInterface::cancel_jobs), [`clean_jobs`](ArcInterface::clean_jobs) and
//! [`save_jobs_outputs_to`](ArcInterface::save_jobs_outputs_to).
//!
//! Credentials, TLS and proxies are the business of NorduGrid's C++ library, which is linked. It is kept from taking over
//! the process: signal handlers, exit codes and exit handlers stay the program's, nothing is printed, nothing asks for a
//! password. Log messages go to the [`log`](https://docs.rs/log) facade unless the
//! [builder](ArcInterfaceBuilder) is told otherwise.
//!
//! The repository has a guide, examples, and a throwaway ARC-CE to try all this on: `tests/testbed/run demo`.

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
