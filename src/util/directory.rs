//! The directory in which a file is to be created.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::Path;

/// Whether to create the directory of a file if it does not exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CreateDirectory {
    Never,
    /// Without the parent of the directory.
    Alone,
    WithParents,
}

/// Why the directory of a file does not exist: the message, and the error of the file system.
pub(crate) type NoDirectory = (String, Option<io::Error>);

/// Makes sure that the directory of the file at `path`, which is at or beside `JOBS_INFO_FILE`, exists.
pub(crate) fn ensure_directory_of(path: &Path, create: CreateDirectory) -> Result<(), NoDirectory> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let Some(parent) = parent.filter(|parent| !parent.is_dir()) else { return Ok(()) };
    let place = parent.display();
    let created = match create {
        CreateDirectory::Never => {
            let advice = "create it, or set JOBS_INFO_FILE to a path in another one";
            return Err((format!("there is no directory {place}; {advice}"), None));
        }
        CreateDirectory::Alone => fs::create_dir(parent),
        CreateDirectory::WithParents => fs::create_dir_all(parent),
    };
    match created {
        // Another thread or process may have created it.
        Err(error) if error.kind() != ErrorKind::AlreadyExists => {
            Err((format!("the directory {place} cannot be created"), Some(error)))
        }
        _ => Ok(()),
    }
}
