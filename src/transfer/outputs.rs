//! Saves the outputs of jobs. Checks the names that the CE chose, and moves files into place when they are complete.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};

use tempfile::TempDir;

use crate::backend::{Backend, Fetch, Fetched, SessionFile};
use crate::error::{Error, Result};
use crate::job::JobId;
use crate::logging::{LogLevel, log};

/// Saves the files of many jobs. Each job gets a sub-directory of `directory`, named after the last component of its id.
pub(crate) fn save_all(
    backend: &dyn Backend,
    ids: &[JobId],
    listed: Vec<Result<Vec<SessionFile>>>,
    directory: &Path,
) -> Vec<Result<Option<PathBuf>>> {
    let mut plans = Vec::with_capacity(ids.len());
    for (id, files) in ids.iter().zip(listed) {
        plans.push(match files {
            Ok(files) if files.is_empty() => Ok(None),
            // The CE knows this id, so its last component has been checked and is a valid name.
            Ok(files) => Plan::new(id, files, directory.join(id.local_id())).map(Some),
            Err(error) => Err(error),
        });
    }
    let saved = save(backend, plans.iter().flatten().flatten());
    let mut saved = saved.into_iter();
    let one = |plan: Result<Option<Plan>>| match plan? {
        None => Ok(None),
        Some(plan) => saved.next().unwrap_or(Ok(())).map(|()| Some(plan.directory)),
    };
    plans.into_iter().map(one).collect()
}

/// Saves the files of one job in a new temporary directory, which then belongs to the caller.
pub(crate) fn save_in_new_directory(backend: &dyn Backend, id: &JobId, files: Vec<SessionFile>) -> Result<PathBuf> {
    let private = fs::Permissions::from_mode(0o700);
    let directory: TempDir =
        tempfile::Builder::new().prefix("jasmin_arc-").permissions(private).tempdir().map_err(|error| {
            failed(id, &std::env::temp_dir(), "no directory can be created in it".into(), Some(error))
        })?;
    let plan = Plan::new(id, files, directory.path().to_owned())?;
    save(backend, std::iter::once(&plan)).into_iter().collect::<Result<()>>()?;
    drop(plan);
    Ok(directory.keep())
}

/// The local paths of the files of one job.
struct Plan<'a> {
    id: &'a JobId,
    files: Vec<SessionFile>,
    targets: Vec<PathBuf>,
    directory: PathBuf,
    /// Contains files until they are complete. It is on the same file system as their targets, so that they can be
    /// moved.
    partial: TempDir,
}

impl<'a> Plan<'a> {
    fn new(id: &'a JobId, files: Vec<SessionFile>, directory: PathBuf) -> Result<Plan<'a>> {
        // The CE chooses these names. None may lead out of the directory.
        let target = |file: &SessionFile| {
            inside(&directory, &file.path).ok_or_else(|| {
                failed(
                    id,
                    &directory,
                    format!("the CE lists a file {:?}, which is not a path inside the directory", file.path),
                    None,
                )
            })
        };
        let targets = files.iter().map(target).collect::<Result<_>>()?;
        let partial = fs::create_dir_all(&directory)
            .and_then(|()| tempfile::Builder::new().prefix(".partial-").tempdir_in(&directory))
            .map_err(|error| failed(id, &directory, "the directory cannot be created".into(), Some(error)))?;
        Ok(Plan { id, files, targets, directory, partial })
    }
}

/// Fetches the files of all plans together, and moves each into place once it is whole.
fn save<'a>(backend: &dyn Backend, plans: impl Iterator<Item = &'a Plan<'a>> + Clone) -> Vec<Result<()>> {
    let wanted: Vec<Fetch<'_>> = plans
        .clone()
        .flat_map(|plan| {
            let files = plan.files.iter().zip(&plan.targets).enumerate();
            files.map(|(number, (file, target))| Fetch {
                id: plan.id,
                file,
                to: plan.partial.path().join(number.to_string()),
                shown: target,
            })
        })
        .collect();
    let mut fetched = wanted.iter().zip(backend.fetch(&wanted));
    plans
        .map(|plan| {
            let mut result = Ok(());
            for (fetch, outcome) in fetched.by_ref().take(plan.files.len()) {
                let outcome = outcome.and_then(|fetched| match fetched {
                    Fetched::Whole => move_into_place(fetch),
                    Fetched::Removed => {
                        let name = fetch.file.path.display();
                        log(
                            LogLevel::Warning,
                            format!("job {} removed its file {name:?} before it could be downloaded", fetch.id),
                        );
                        Ok(())
                    }
                });
                result = result.and(outcome);
            }
            result
        })
        .collect()
}

fn move_into_place(fetch: &Fetch<'_>) -> Result<()> {
    let failed = |message: String, source| failed(fetch.id, fetch.shown, message, source);
    let io_failed = |error| failed("cannot store the file".into(), Some(error));
    let size = fs::metadata(&fetch.to).map_err(io_failed)?.len();
    // A file of a running job may have grown since it was listed.
    if let Some(listed) = fetch.file.size.filter(|listed| size < *listed) {
        return Err(Error::OutputFile {
            job_id: fetch.id.clone(),
            path: fetch.shown.into(),
            message: format!("only {size} of {listed} bytes arrived"),
            is_temporary: true,
            source: None,
        });
    }
    if let Some(parent) = fetch.shown.parent() {
        fs::create_dir_all(parent).map_err(io_failed)?;
    }
    fs::rename(&fetch.to, fetch.shown).map_err(io_failed)
}

fn failed(id: &JobId, path: &Path, message: String, source: Option<io::Error>) -> Error {
    Error::OutputFile { job_id: id.clone(), path: path.into(), message, is_temporary: false, source }
}

/// Returns the path below `directory` of a file in the session directory, or `None` if it would be outside.
fn inside(directory: &Path, name: &OsStr) -> Option<PathBuf> {
    let relative = Path::new(name);
    let plain = relative.components().all(|component| matches!(component, Component::Normal(_)));
    let bytes = name.as_bytes();
    (plain && !bytes.is_empty() && !bytes.ends_with(b"/") && !bytes.contains(&0)).then(|| directory.join(relative))
}
