//! Helpers of the tests of this folder.

use std::fmt;
use std::path::PathBuf;

use super::JobDescription;
use crate::error::{Error, Result};

pub(super) fn job() -> JobDescription {
    JobDescription::new("/bin/true")
}

/// The message of an [`Error::InvalidJobDescription`].
#[track_caller]
pub(super) fn invalid_message(job: &JobDescription) -> String {
    match job.validate() {
        Err(Error::InvalidJobDescription { message, .. }) => message,
        other => panic!("{other:?}"),
    }
}

/// The path and the message of an [`Error::InputFile`].
#[track_caller]
pub(super) fn bad_input<T: fmt::Debug>(result: Result<T>) -> (PathBuf, String) {
    match result {
        Err(Error::InputFile { path, message, .. }) => (path, message),
        other => panic!("{other:?}"),
    }
}
