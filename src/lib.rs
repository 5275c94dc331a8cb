//! jasmin-arc
mod backend;
mod config;
mod description;
mod error;
mod ffi;
mod interface;
mod job;
mod jsdl;
mod logging;
mod outputs;
mod proxy;
mod status;
mod store;
mod uri;

pub use config::{ConnectionConfig, Delegation, Interface};
pub use description::{InputFile, JobDescription};
pub use error::{Error, Result};
pub use interface::{ArcInterface, ArcInterfaceBuilder};
pub use job::{JobId, JobInfo};
pub use logging::LogLevel;
pub use status::{ARC_STATUS_MAPPING, ArcState, JobStatus, ParseJobStatusError};
