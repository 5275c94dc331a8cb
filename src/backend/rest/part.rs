//! Reads parts of files in session directories.
//!
//! The size is looked up first, and the range ends there. A-REX 6.17 and 7.0 send more than they have announced of a
//! file that grows meanwhile, unless the range excludes it (`PayloadFAFile::Get`).

use std::ops::Range;

use super::listing::{self, Kind, session_path};
use super::session::Pool;
use crate::backend::failure::{Failure, JobFailure};
use crate::error::JobFileFailure;

/// Returns the size of a file now.
pub(super) fn size(pool: &Pool, id: &str, path: &[u8]) -> Result<u64, JobFailure> {
    match listing::look_closely(pool, id, path)? {
        Kind::File { size: Some(size) } => Ok(size),
        Kind::File { size: None } => Err(Failure::invalid_response("the CE does not tell the size of the file").into()),
        Kind::Directory => Err(JobFailure::File(JobFileFailure::NotAFile, "it is a directory".into())),
        Kind::Nothing => Err(JobFailure::File(JobFileFailure::NotFound, "the job has no such file".into())),
    }
}

/// Reads a range of a file, which has been inside the file. Returns less if the file has become shorter.
pub(super) fn read(pool: &Pool, id: &str, path: &[u8], range: Range<u64>) -> Result<Vec<u8>, JobFailure> {
    let length = range.end.saturating_sub(range.start);
    if length == 0 {
        return Ok(Vec::new());
    }
    let response = pool.read_range(&session_path(id, path), range.start, length)?;
    match response.code {
        200 | 206 => Ok(response.body),
        416 => Ok(Vec::new()),
        403 | 404 => {
            let message = "the CE does not open the file, because of its permissions or because it is gone";
            Err(JobFailure::File(JobFileFailure::Unreadable, message.into()))
        }
        _ => Err(response.refusal().into()),
    }
}
