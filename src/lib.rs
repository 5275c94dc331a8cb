//! jasmin-arc
mod config;
mod description;
mod error;
mod job;
mod jsdl;
mod proxy;
mod status;

pub use error::{Error, Result};
pub use job::JobId;
