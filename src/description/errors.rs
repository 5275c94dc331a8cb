//! Constructors of the errors about descriptions.

use std::io;
use std::path::Path;

use crate::error::Error;

/// Creates the error for an invalid description.
pub(crate) fn invalid(message: impl Into<String>) -> Error {
    Error::InvalidJobDescription { path: None, message: message.into(), source: None }
}

/// Creates the error for an invalid input file. `path` is its local path, URL or name in the session directory.
pub(crate) fn input_error(path: &Path, message: impl Into<String>) -> Error {
    Error::InputFile { path: path.into(), message: message.into(), source: None }
}

/// Creates the error for a local input file that cannot be read.
pub(crate) fn input_io_error(path: &Path, error: io::Error) -> Error {
    let message = match error.kind() {
        io::ErrorKind::NotFound => "does not exist",
        io::ErrorKind::PermissionDenied => "may not be read",
        _ => "cannot be read",
    };
    Error::InputFile { path: path.into(), message: message.into(), source: Some(error) }
}
