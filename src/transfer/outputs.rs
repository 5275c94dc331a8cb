//! Saves the outputs of jobs.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::directory::OutputDirectory;
use crate::backend::{Backend, Fetch, Fetched, SessionFile, SessionFiles};
use crate::error::{Error, Result};
use crate::job::{JobId, LeftOut, LeftOutReason, SavedOutputs};
use crate::logging::{LogLevel, log};

/// The number of files that are handed to the backend together. It bounds the memory for their results.
const BATCH: usize = 10_000;

/// The number of files that a log message names.
const NAMED_IN_LOG: usize = 5;

/// Saves the files of many jobs. Each job gets a sub-directory of `directory`, named after the last component of its id.
pub(crate) fn save_all(
    backend: &dyn Backend,
    ids: &[JobId],
    listed: Vec<Result<SessionFiles>>,
    directory: &Path,
) -> Vec<Result<Option<SavedOutputs>>> {
    let plan = |(id, listed): (_, Result<SessionFiles>)| {
        let listed = listed?;
        if listed.is_empty() {
            log_left_out(id, &listed.left_out);
            return Ok(None);
        }
        // The CE knows this id, so its last component has been checked and is a valid name.
        let created = OutputDirectory::create_in(directory, id.local_id());
        let created = created.map_err(|error| not_created(id, directory.join(id.local_id()), error))?;
        Ok(Some(Plan::new(id, listed, created)))
    };
    let mut plans: Vec<Result<Option<Plan<'_>>>> = ids.iter().zip(listed).map(plan).collect();
    save(backend, plans.iter_mut().flatten().flatten());
    plans.into_iter().map(|plan| plan?.map(Plan::finish).transpose()).collect()
}

/// Saves the files of one job in a new temporary directory, which then belongs to the caller.
pub(crate) fn save_in_new_directory(backend: &dyn Backend, id: &JobId, listed: SessionFiles) -> Result<SavedOutputs> {
    let private = fs::Permissions::from_mode(0o700);
    let directory: TempDir = tempfile::Builder::new()
        .prefix("jasmin_arc-")
        .permissions(private)
        .tempdir()
        .map_err(|error| not_created(id, std::env::temp_dir(), error))?;
    let path = directory.path().to_owned();
    let opened = OutputDirectory::open(path.clone()).map_err(|error| not_created(id, path, error))?;
    let mut plan = Plan::new(id, listed, opened);
    save(backend, std::iter::once(&mut plan));
    let saved = plan.finish()?;
    let _ = directory.keep();
    Ok(saved)
}

/// The files of one job, and what has become of them so far.
#[derive(Debug)]
struct Plan<'a> {
    id: &'a JobId,
    files: Vec<SessionFile>,
    directory: OutputDirectory,
    saved: SavedOutputs,
    error: Option<Error>,
}

impl<'a> Plan<'a> {
    fn new(id: &'a JobId, listed: SessionFiles, directory: OutputDirectory) -> Plan<'a> {
        let mut left_out = listed.left_out;
        let mut files = listed.files;
        files.retain(|file| match directory.refusal(&file.path) {
            None => true,
            Some(reason) => {
                left_out.push(LeftOut { path: file.path.clone().into(), reason });
                false
            }
        });
        let saved = SavedOutputs::new(directory.path().to_owned(), left_out);
        Plan { id, files, directory, saved, error: None }
    }

    fn record(&mut self, number: usize, fetched: Result<Fetched>) {
        match fetched {
            Ok(Fetched::Kept { bytes }) => {
                self.saved.files += 1;
                self.saved.bytes += bytes;
            }
            Ok(Fetched::LeftOut(reason)) => self.leave_out(number, reason),
            Err(error) => self.error = self.error.take().or(Some(error)),
        }
    }

    fn leave_out(&mut self, number: usize, reason: LeftOutReason) {
        let path = self.files[number].path.clone().into();
        self.saved.left_out.push(LeftOut { path, reason });
    }

    fn finish(self) -> Result<SavedOutputs> {
        log_left_out(self.id, &self.saved.left_out);
        match self.error {
            None => Ok(self.saved),
            Some(error) => Err(error),
        }
    }
}

/// Fetches the files of all plans together.
fn save<'a, 'b: 'a>(backend: &dyn Backend, plans: impl Iterator<Item = &'a mut Plan<'b>>) {
    let mut plans: Vec<&mut Plan<'b>> = plans.collect();
    let mut next = (0, 0); // the next plan, and the next of its files
    loop {
        let mut batch = Vec::new();
        while batch.len() < BATCH && next.0 < plans.len() {
            let (plan, first) = next;
            let count = (plans[plan].files.len() - first).min(BATCH - batch.len());
            batch.extend((first..first + count).map(|number| (plan, number)));
            next = if first + count < plans[plan].files.len() { (plan, first + count) } else { (plan + 1, 0) };
        }
        if batch.is_empty() {
            return;
        }
        let fetch = |(plan, number): &(usize, usize)| {
            let plan = &*plans[*plan];
            Fetch { id: plan.id, file: &plan.files[*number], to: &plan.directory, number: *number }
        };
        let fetched = backend.fetch(&batch.iter().map(fetch).collect::<Vec<_>>());
        for ((plan, number), fetched) in batch.into_iter().zip(fetched) {
            plans[plan].record(number, fetched);
        }
    }
}

/// Logs what was left out of the outputs of a job, in one message.
fn log_left_out(id: &JobId, left_out: &[LeftOut]) {
    if left_out.is_empty() {
        return;
    }
    let named: Vec<String> = left_out.iter().take(NAMED_IN_LOG).map(LeftOut::to_string).collect();
    let more = match left_out.len() - named.len() {
        0 => String::new(),
        more => format!("; and {more} more"),
    };
    log(LogLevel::Warning, format!("not all of the outputs of job {id} were saved: {}{more}", named.join("; ")));
}

fn not_created(id: &JobId, path: PathBuf, error: io::Error) -> Error {
    let message = "the directory cannot be created".into();
    Error::OutputFile { job_id: id.clone(), path, message, is_temporary: false, source: Some(error) }
}
