//! [`JobFiles`] and [`FilePart`]: the files that a job has on the CE.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::LeftOut;

/// The files and directories in the session directory of a job, as the CE lists them.
///
/// ```no_run
/// # fn main() -> jasmin_arc::Result<()> {
/// # let arc = jasmin_arc::ArcInterface::builder().build()?;
/// # let job = jasmin_arc::JobId::from("");
/// let listed = arc.list_files(&job)?;
/// let bytes: u64 = listed.files.iter().filter_map(|file| file.size).sum();
/// println!("{} files with {bytes} bytes in {} directories", listed.files.len(), listed.directories.len());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct JobFiles {
    /// The regular files, in all directories.
    #[serde(default)]
    pub files: Vec<JobFile>,
    /// The paths of the directories, relative to the session directory. Always empty over EMI-ES.
    #[serde(default)]
    pub directories: Vec<PathBuf>,
    /// What the job has besides these, such as symbolic links, and files whose names are not safe. Always empty over
    /// EMI-ES.
    #[serde(default)]
    pub left_out: Vec<LeftOut>,
}

/// A file of a job, in [`JobFiles`].
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub struct JobFile {
    /// The path relative to the session directory. Its components are safe names: see
    /// [`LeftOutReason::UnsafeName`](crate::LeftOutReason::UnsafeName).
    pub path: PathBuf,
    /// The size in bytes. `None` if the CE does not tell.
    #[serde(default)]
    pub size: Option<u64>,
}

/// A part of a file of a job.
///
/// ```no_run
/// # fn main() -> jasmin_arc::Result<()> {
/// # let arc = jasmin_arc::ArcInterface::builder().build()?;
/// # let job = jasmin_arc::JobId::from("");
/// let part = arc.read_file(&job, "stdout.txt", 0..1000)?;
/// println!("{} of {} bytes: {}", part.bytes.len(), part.size, String::from_utf8_lossy(&part.bytes));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct FilePart {
    /// The position of the first byte in the file, counted from 0.
    pub offset: u64,
    /// The content.
    pub bytes: Vec<u8>,
    /// The size of the file in bytes when the part was read. A running job may have written more since.
    pub size: u64,
}

impl FilePart {
    /// Returns the position of the byte that follows this part.
    pub fn end(&self) -> u64 {
        self.offset.saturating_add(u64::try_from(self.bytes.len()).unwrap_or(u64::MAX))
    }
}

impl AsRef<[u8]> for FilePart {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_end_where_the_next_one_begins() {
        let part = FilePart { offset: 10, bytes: b"abc".to_vec(), size: 20 };
        assert_eq!((part.end(), part.as_ref()), (13, &b"abc"[..]));
        let beyond = FilePart { offset: u64::MAX, ..part };
        assert_eq!(beyond.end(), u64::MAX);
    }

    #[test]
    fn listings_are_serialised_with_bytes() {
        let file = JobFile { path: "out/a".into(), size: Some(7) };
        let listed = JobFiles { files: vec![file], ..JobFiles::default() };
        let value = serde_json::to_value(&listed).unwrap();
        assert_eq!(value["files"][0], serde_json::json!({"path": "out/a", "size": 7}));
        assert_eq!(serde_json::from_value::<JobFiles>(value).unwrap(), listed);
    }
}
