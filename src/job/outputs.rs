//! [`SavedOutputs`]: what was saved of a job, and what was left out.

use std::fmt;
use std::ops::Deref;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// The outputs of a job that were saved, and those that were left out.
///
/// It stands for the directory where a path is expected: it dereferences to [`Path`], and converts to [`PathBuf`].
///
/// ```no_run
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let arc = jasmin_arc::ArcInterface::builder().build()?;
/// # let job = jasmin_arc::JobId::from("");
/// if let Some(saved) = arc.save_job_outputs_to(&job, "results")? {
///     println!("{} files with {} bytes in {}", saved.files, saved.bytes, saved.display());
///     for left_out in &saved.left_out {
///         eprintln!("not saved: {left_out}");
///     }
///     print!("{}", std::fs::read_to_string(saved.join("stdout.txt"))?);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SavedOutputs {
    /// The directory of the job's files.
    pub directory: PathBuf,
    /// The number of files that were saved.
    pub files: u64,
    /// The size of these files in bytes.
    pub bytes: u64,
    /// What the job has on the CE and was not saved. Empty if everything was saved.
    pub left_out: Vec<LeftOut>,
}

impl SavedOutputs {
    pub(crate) fn new(directory: PathBuf, left_out: Vec<LeftOut>) -> SavedOutputs {
        SavedOutputs { directory, files: 0, bytes: 0, left_out }
    }
}

impl Deref for SavedOutputs {
    type Target = Path;

    fn deref(&self) -> &Path {
        &self.directory
    }
}

impl AsRef<Path> for SavedOutputs {
    fn as_ref(&self) -> &Path {
        &self.directory
    }
}

impl From<SavedOutputs> for PathBuf {
    fn from(saved: SavedOutputs) -> PathBuf {
        saved.directory
    }
}

/// A file or directory of a job that was not saved. `Display` shows its path and the reason, without control
/// characters.
///
/// ```
/// use jasmin_arc::LeftOutReason;
///
/// assert_eq!(LeftOutReason::SymbolicLink.to_string(), "it is a symbolic link");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub struct LeftOut {
    /// The path in the session directory, as the CE names it. It may be absolute, contain `..` or control characters, or
    /// be empty for the session directory itself. Do not open a local file by it.
    pub path: PathBuf,
    /// Why it was not saved.
    pub reason: LeftOutReason,
}

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.path, self.reason)
    }
}

/// Why a file or directory of a job was not saved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum LeftOutReason {
    /// It is a symbolic link. Its target may be anywhere on the CE.
    SymbolicLink,
    /// It is a named pipe, a socket, a device, or a symbolic link to nothing.
    NotAFile,
    /// The CE has it and does not let the user read it, because of its permissions.
    Unreadable,
    /// The CE has it and does not list it: it is a symbolic link, or the permissions of its directory hide it.
    NotListed,
    /// The job removed it after it was listed.
    Removed,
    /// Its name is not safe: it is absolute, contains `..` or control characters, or the local file system refuses it.
    UnsafeName,
    /// Its name or its local path is longer than the local system allows.
    NameTooLong,
    /// The local file system gives it the same path as another output of the job, for example because it ignores case.
    NameCollision,
    /// It is in a directory that is nested more than 100 deep.
    TooDeep,
    /// The CE does not tell whether it leaves out entries of this directory. The files that it lists were saved.
    NotChecked,
    /// The job has no file of this name, or none that matches this pattern.
    Missing,
}

impl fmt::Display for LeftOutReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            LeftOutReason::SymbolicLink => "it is a symbolic link",
            LeftOutReason::NotAFile => "it is neither a file nor a directory",
            LeftOutReason::Unreadable => "the CE may not read it",
            LeftOutReason::NotListed => "the CE does not list it",
            LeftOutReason::Removed => "the job has removed it",
            LeftOutReason::UnsafeName => "its name is not safe",
            LeftOutReason::NameTooLong => "its name is too long",
            LeftOutReason::NameCollision => "another output has the same local path",
            LeftOutReason::TooDeep => "it is nested too deep",
            LeftOutReason::Missing => "the job has no such file",
            LeftOutReason::NotChecked => "the CE does not tell whether it leaves out entries of this directory",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn saved_outputs_are_a_path() {
        let saved = SavedOutputs::new("/results/1".into(), Vec::new());
        assert_eq!(saved.join("stdout.txt"), Path::new("/results/1/stdout.txt"));
        assert_eq!(AsRef::<Path>::as_ref(&saved), Path::new("/results/1"));
        assert_eq!(PathBuf::from(saved), PathBuf::from("/results/1"));
    }

    #[test]
    fn left_out_paths_are_shown_without_control_characters() {
        let left_out = LeftOut { path: "a\x1b[31m\nb".into(), reason: LeftOutReason::UnsafeName };
        let text = left_out.to_string();
        assert!(!text.contains(char::is_control) && text.ends_with(": its name is not safe"), "{text}");
        assert_eq!(serde_json::to_string(&LeftOutReason::NotAFile).unwrap(), "\"not_a_file\"");
    }
}
