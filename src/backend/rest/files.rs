//! Uploads and downloads the files of session directories.

use std::fs::File;
use std::io::{self, Seek};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;

use super::listing::{self, Kind, session_path};
use super::parallel::MayBeUnanswered;
use super::session::Pool;
use crate::backend::failure::{Failure, FileFailure};
use crate::backend::{Fetch, Fetched};
use crate::description::Upload;
use crate::ffi::{ConnectionError, HttpReply};
use crate::job::LeftOutReason;

/// How much more than its listed size is fetched of a file of a running job, besides the same size again.
const GROWTH: u64 = 128 << 20;

/// The maximum number of downloads of a file that is not as it was listed.
const ATTEMPTS: u32 = 6;

/// How much of an incomplete download is compared with the CE's file before it is continued.
const BLOCK: u64 = 64 << 10;

/// Why a file was not fetched.
#[derive(Debug)]
pub(super) enum FetchFailure {
    /// The local file cannot be written.
    Local(io::Error),
    /// What the CE sends is not the file that it lists.
    Mismatch(String),
    Request(Failure),
}

impl From<Failure> for FetchFailure {
    fn from(failure: Failure) -> Self {
        FetchFailure::Request(failure)
    }
}

impl MayBeUnanswered for FetchFailure {
    fn unanswered(&self) -> Option<&Failure> {
        match self {
            FetchFailure::Local(_) | FetchFailure::Mismatch(_) => None,
            FetchFailure::Request(failure) => failure.unanswered(),
        }
    }

    fn from_failure(failure: Failure) -> Self {
        failure.into()
    }
}

/// What a download of a file has brought.
enum Arrived {
    Whole(u64),
    /// The file is longer than the limit. Not more than the limit has been written.
    TooLong,
    /// A-REX does not open the file.
    Nothing,
    /// The size of the file has changed while A-REX prepared its response. A-REX then responds as if to a range, with 206
    /// or 416 (`PayloadHTTPOut::make_header` in 6.17 and 7.0).
    Changed(u16),
}

/// Uploads an input file of a job.
pub(super) fn upload(pool: &Pool, id: &str, input: &Upload) -> Result<(), FileFailure> {
    let file = input.open().map_err(FileFailure::Local)?;
    let path = pool.path(&session_path(id, input.name.as_bytes()));
    // The description contains this size. If the file has grown, only the first part is sent.
    let response = pool.transfer(|connection| connection.upload(&path, &file, input.size))?;
    let response = response.map_err(FileFailure::Local)?;
    match code(&response)? {
        // A-REX's own response has no body (`PutJobFile`). A page comes from something else, which has stored nothing.
        200 if response.size == 0 => Ok(()),
        200 => Err(Failure::invalid_response("the response to the upload is not A-REX's").into()),
        code => Err(Failure::refused(code, response.reason).into()),
    }
}

/// Downloads a file of the job with the local id `id`. `may_change` is whether the job may be running, and `is_running`
/// looks that up again.
pub(super) fn fetch(
    pool: &Pool,
    id: &str,
    fetch: &Fetch<'_>,
    may_change: bool,
    is_running: impl Fn() -> Result<bool, Failure>,
) -> Result<Fetched, FetchFailure> {
    let listed = fetch.file.size;
    if !may_change {
        if let Some(fetched) = resume(pool, id, fetch)? {
            return Ok(fetched);
        }
    }
    let mut limit = listed.unwrap_or(GROWTH);
    let mut has_failed = false;
    for attempt in 0..ATTEMPTS {
        let arrived = match download(pool, id, fetch, limit, may_change) {
            Err(FetchFailure::Request(failure)) if failure.is_connection() && !has_failed => {
                // A-REX falls silent within a file that becomes shorter while it is sent.
                has_failed = true;
                let now = listing::look(pool, id, fetch.file.path.as_bytes());
                match now {
                    Ok(Some(now)) if now != (Kind::File { size: listed }) && is_running().unwrap_or(false) => continue,
                    _ => return Err(failure.into()),
                }
            }
            arrived => arrived?,
        };
        let matches = matches!(arrived, Arrived::Whole(size) if listed.is_none_or(|listed| size == listed));
        let settled =
            if matches { Ok(Next::Keep) } else { settle(pool, id, fetch, &arrived, (attempt, limit), &is_running) };
        if !matches!(settled, Ok(Next::Keep)) {
            fetch.to.discard(fetch.number);
        }
        match settled? {
            Next::Keep => return fetch.to.keep(fetch.number, fetch.file).map_err(FetchFailure::Local),
            Next::LeaveOut(reason) => return Ok(Fetched::LeftOut(reason)),
            Next::Again(higher) => limit = higher,
        }
    }
    Err(FetchFailure::Mismatch("the file changes faster than it can be fetched".into()))
}

/// Continues an earlier download of a file of a job that has ended, and keeps what has come if this one breaks off too.
/// Returns `None` if nothing can be continued, or if the file is not as it was listed.
fn resume(pool: &Pool, id: &str, fetch: &Fetch<'_>) -> Result<Option<Fetched>, FetchFailure> {
    let Some(size) = fetch.file.size else { return Ok(None) };
    let Some(local) = fetch.to.resume(fetch.number, fetch.file).map_err(FetchFailure::Local)? else { return Ok(None) };
    match append(pool, &session_path(id, fetch.file.path.as_bytes()), size, &local) {
        Ok(true) => fetch.to.keep(fetch.number, fetch.file).map(Some).map_err(FetchFailure::Local),
        // What is kept has taken long, and the CE may respond better next time.
        Ok(false) => {
            fetch.to.leave(fetch.number);
            Ok(None)
        }
        Err(failure) => {
            fetch.to.leave(fetch.number);
            Err(failure)
        }
    }
}

/// Appends what is missing of a file with `size` bytes. Returns whether it is complete then.
fn append(pool: &Pool, path: &str, size: u64, local: &File) -> Result<bool, FetchFailure> {
    let length = |file: &File| file.metadata().map(|metadata| metadata.len());
    let kept = length(local).map_err(FetchFailure::Local)?;
    match if kept > size { Some(false) } else { is_last_block_of(pool, path, kept, local)? } {
        Some(true) if kept == size => return Ok(true),
        Some(true) => {}
        Some(false) => local.set_len(0).map_err(FetchFailure::Local)?,
        None => return Ok(false),
    }
    let absolute = pool.path(path);
    // A repeated request continues where the one before has broken off.
    let response = pool.transfer(|connection| match length(local) {
        Ok(kept) => connection.append_range(&absolute, kept, size.saturating_sub(kept), local),
        Err(error) => Ok(Err(error)),
    })?;
    let response = response.map_err(FetchFailure::Local)?;
    match code(&response)? {
        200 | 206 | 416 => Ok(length(local).map_err(FetchFailure::Local)? == size),
        403 | 404 => Ok(false),
        code => Err(Failure::refused(code, response.reason).into()),
    }
}

/// Whether the last block of an incomplete download is the CE's. `None` if the response is not about the file for sure, such
/// as a web page.
fn is_last_block_of(pool: &Pool, path: &str, kept: u64, local: &File) -> Result<Option<bool>, FetchFailure> {
    let block = kept.min(BLOCK);
    if block == 0 {
        return Ok(Some(true));
    }
    let mut bytes = vec![0; usize::try_from(block).unwrap_or_default()];
    local.read_exact_at(&mut bytes, kept - block).map_err(FetchFailure::Local)?;
    let response = pool.read_range(path, kept - block, block)?;
    match response.code {
        206 => Ok(Some(response.body == bytes)),
        200 => Ok((response.body == bytes).then_some(true)),
        416 => Ok(Some(false)),
        403 | 404 => Ok(None),
        _ => Err(response.refusal().into()),
    }
}

/// What to do with a file that is not as it was listed.
enum Next {
    Keep,
    LeaveOut(LeftOutReason),
    /// Download it again, with this limit.
    Again(u64),
}

/// Finds out why a file is not as it was listed. A running job may change its files. A job that has ended may not, but it
/// may have ended since the file was listed.
fn settle(
    pool: &Pool,
    id: &str,
    fetch: &Fetch<'_>,
    arrived: &Arrived,
    (attempt, limit): (u32, u64),
    is_running: impl Fn() -> Result<bool, Failure>,
) -> Result<Next, FetchFailure> {
    let path = fetch.file.path.as_bytes();
    let running = is_running()?;
    let now = listing::look(pool, id, path)?;
    let current = match now {
        Some(Kind::File { size }) => size,
        _ => None,
    };
    let listed = fetch.file.size.map_or_else(|| "no size".into(), |size| format!("{size} bytes"));
    match arrived {
        Arrived::Whole(size) if running || current == Some(*size) => Ok(Next::Keep),
        Arrived::Whole(size) => {
            let relation = if fetch.file.size.is_some_and(|listed| *size < listed) { "only " } else { "" };
            Err(FetchFailure::Mismatch(format!("{relation}{size} bytes arrived, and the CE lists {listed}")))
        }
        Arrived::TooLong if running => {
            let size = current.unwrap_or(0).max(fetch.file.size.unwrap_or(0));
            Ok(Next::Again(size.saturating_mul(2).saturating_add(GROWTH)))
        }
        Arrived::TooLong => match current.filter(|current| *current > limit) {
            Some(current) => Ok(Next::Again(current)),
            None => Err(FetchFailure::Mismatch(format!("the CE sends more than it lists, which is {listed}"))),
        },
        Arrived::Changed(_) if running || current != fetch.file.size => {
            Ok(Next::Again(limit.max(current.unwrap_or(0))))
        }
        Arrived::Changed(code) => {
            Err(FetchFailure::Mismatch(format!("the CE responds with HTTP status {code} to a request without a range")))
        }
        Arrived::Nothing => match now {
            // The job may have removed it and made it again.
            Some(Kind::File { .. }) if running && attempt == 0 => Ok(Next::Again(limit)),
            Some(Kind::File { .. }) => Ok(Next::LeaveOut(LeftOutReason::Unreadable)),
            _ if running => Ok(Next::LeaveOut(LeftOutReason::Removed)),
            Some(_) if !listing::is_listed(pool, id, path)? => Ok(Next::LeaveOut(LeftOutReason::Removed)),
            _ => Err(FetchFailure::Mismatch("the CE lists the file and does not find it".into())),
        },
    }
}

/// Downloads a file, of which at most `limit` bytes are written. Leaves no temporary file after a failure.
///
/// If a file grows while it is sent, A-REX 6.17 sends more than it has announced. The rest may come after the response was
/// read, and would be read as the next one. So a connection that has sent a file that `may_change` sends no other request.
fn download(pool: &Pool, id: &str, fetch: &Fetch<'_>, limit: u64, may_change: bool) -> Result<Arrived, FetchFailure> {
    let path = pool.path(&session_path(id, fetch.file.path.as_bytes()));
    let local = fetch.to.create(fetch.number, fetch.file.size).map_err(FetchFailure::Local)?;
    let mut is_repeated = false;
    let mut truncation = Ok(());
    let downloaded = pool.transfer(|connection| {
        if std::mem::replace(&mut is_repeated, true) {
            // The second attempt must not append to the first.
            truncation = truncate(&local);
            truncation.as_ref().map_err(|error| ConnectionError::Failed(error.to_string()))?;
        }
        let downloaded = connection.download(&path, &local, limit);
        if may_change {
            connection.retire();
        }
        downloaded
    });
    let arrived = truncation
        .map_err(FetchFailure::Local)
        .and(downloaded.map_err(FetchFailure::from))
        .and_then(|response| arrived(response.map_err(FetchFailure::Local)?, &local));
    if arrived.is_err() {
        fetch.to.discard(fetch.number);
    }
    arrived
}

fn arrived(response: HttpReply, local: &File) -> Result<Arrived, FetchFailure> {
    match code(&response)? {
        200 if response.over_limit => Ok(Arrived::TooLong),
        200 => Ok(Arrived::Whole(local.metadata().map_err(FetchFailure::Local)?.len())),
        403 | 404 => Ok(Arrived::Nothing),
        code @ (206 | 416) => Ok(Arrived::Changed(code)),
        code => Err(Failure::refused(code, response.reason).into()),
    }
}

fn code(response: &HttpReply) -> Result<u16, Failure> {
    u16::try_from(response.code)
        .map_err(|_| Failure::invalid_response(format!("{} is not an HTTP status code", response.code)))
}

fn truncate(mut file: &File) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()
}
