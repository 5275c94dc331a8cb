//! [`FetchedJob`], and the choices and the progress of fetching.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{JobId, LeftOut};

/// What happens to a file that exists already where a file is to be saved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Existing {
    /// The new file replaces it when it is complete.
    #[default]
    Overwrite,
    /// The file stays as it is, regardless of its size, and nothing is fetched.
    Skip,
    /// It stays if it has the size that the CE lists. Otherwise the new file replaces it. A download that breaks off is kept
    /// and continued by the next call.
    Resume,
}

/// What was fetched of a job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct FetchedJob {
    /// The job.
    pub id: JobId,
    /// The directory of its files. It does not exist if nothing was fetched.
    pub directory: PathBuf,
    /// The files that were fetched, relative to `directory`.
    pub files: Vec<PathBuf>,
    /// The size of these files in bytes.
    pub bytes: u64,
    /// The number of wanted files that were not fetched because they exist: see [`Existing`].
    pub skipped: u64,
    /// What was wanted and was not fetched, and why. Empty if everything that was wanted is there.
    pub left_out: Vec<LeftOut>,
    /// Whether the job was removed from the CE.
    pub removal: Removal,
}

impl FetchedJob {
    /// Whether everything that was wanted is there: fetched now, or before.
    ///
    /// ```no_run
    /// # fn main() -> jasmin_arc::Result<()> {
    /// # let arc = jasmin_arc::ArcInterface::builder().build()?;
    /// # let jobs: Vec<jasmin_arc::JobId> = Vec::new();
    /// for job in arc.fetch(&jobs).files(["result.nc"]).to("results").run()? {
    ///     let job = job?;
    ///     if !job.is_complete() {
    ///         println!("{} lacks {:?}", job.id, job.left_out);
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn is_complete(&self) -> bool {
        self.left_out.is_empty()
    }
}

/// Whether a job was removed from the CE after it was fetched.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Removal {
    /// The call was not to remove jobs.
    #[default]
    NotRequested,
    /// The job was removed.
    Removed,
    /// The job is still on the CE, for this reason.
    Kept(String),
}

/// How far a fetch is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct FetchProgress {
    /// The number of files that are complete.
    pub files: u64,
    /// The number of files to fetch.
    pub total_files: u64,
    /// The number of bytes that are here, those of incomplete files included. It becomes less if a download has to begin
    /// anew.
    pub bytes: u64,
    /// The size of the files to fetch, as the CE lists it. A running job may write more.
    pub total_bytes: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choices_and_results_are_serialised_as_words() {
        assert_eq!(serde_json::to_string(&Existing::Resume).unwrap(), "\"resume\"");
        assert_eq!(serde_json::to_string(&Removal::Removed).unwrap(), "\"removed\"");
        let kept = Removal::Kept("it runs".into());
        assert_eq!(serde_json::from_str::<Removal>("{\"kept\": \"it runs\"}").unwrap(), kept);
    }
}
