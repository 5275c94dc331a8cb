//! Where the outputs of a job land: names made safe, files moved into place when they are whole.

use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

use tempfile::TempDir;

use crate::backend::{Backend, Fetch, SessionFile};
use crate::error::{Error, Result};
use crate::job::JobId;

/// Saves the files of one job below `directory`, which must exist.
///
/// Each file is fetched into a directory beside its place and moved there when all of it has come.
pub(crate) fn save(backend: &dyn Backend, id: &JobId, files: &[SessionFile], directory: &Path) -> Result<()> {
    let failed = |path: &Path, message: String, source: Option<io::Error>| Error::OutputFile {
        job_id: id.clone(),
        path: path.into(),
        message,
        source,
    };
    // The CE chooses these names: none may lead anywhere else.
    let targets = files
        .iter()
        .map(|file| {
            inside(directory, &file.path)
                .ok_or_else(|| failed(directory, format!("the CE names a file {:?}", file.path), None))
        })
        .collect::<Result<Vec<PathBuf>>>()?;

    let partial = tempfile::Builder::new()
        .prefix(".partial-")
        .tempdir_in(directory)
        .map_err(|error| failed(directory, "no directory can be made in it".into(), Some(error)))?;
    let wanted: Vec<Fetch<'_>> = files
        .iter()
        .zip(&targets)
        .enumerate()
        .map(|(number, (file, target))| Fetch { id, file, to: partial.path().join(number.to_string()), shown: target })
        .collect();
    for (fetch, fetched) in wanted.iter().zip(backend.fetch(&wanted)) {
        fetched?;
        let into_place = || -> io::Result<()> {
            let size = fs::metadata(&fetch.to)?.len();
            // The file of a running job may have grown since it was listed, but not shrunk.
            if let Some(listed) = fetch.file.size.filter(|listed| size < *listed) {
                return Err(io::Error::other(format!("{size} bytes of {listed} have come")));
            }
            if let Some(parent) = fetch.shown.parent() {
                fs::create_dir_all(parent)?;
            }
            fs::rename(&fetch.to, fetch.shown)
        };
        into_place().map_err(|error| failed(fetch.shown, error.to_string(), Some(error)))?;
    }
    Ok(())
}

/// Saves the files of one job in a new temporary directory, which is the caller's from then on.
pub(crate) fn save_in_new_directory(backend: &dyn Backend, id: &JobId, files: &[SessionFile]) -> Result<PathBuf> {
    let directory: TempDir =
        tempfile::Builder::new().prefix("jasmin_arc-").tempdir().map_err(|error| Error::OutputFile {
            job_id: id.clone(),
            path: std::env::temp_dir(),
            message: error.to_string(),
            source: Some(error),
        })?;
    save(backend, id, files, directory.path())?;
    Ok(directory.keep())
}

/// The path of a file of the session directory below `directory`, or `None` when it would be outside.
fn inside(directory: &Path, name: &str) -> Option<PathBuf> {
    let relative = Path::new(name);
    let plain = relative.components().all(|component| matches!(component, Component::Normal(_)));
    (plain && !name.is_empty() && !name.ends_with('/') && !name.contains('\0')).then(|| directory.join(relative))
}
