//! Saving the outputs of jobs.

use std::borrow::Borrow;
use std::path::{Path, PathBuf};

use super::{ArcInterface, owned};
use crate::backend::SessionFile;
use crate::error::Result;
use crate::job::JobId;
use crate::logging::{self, LogLevel};
use crate::transfer::outputs;

impl ArcInterface {
    /// Saves the files that the CE keeps of a job in a new temporary directory and returns its path.
    ///
    /// These are `stdout.txt`, `stderr.txt` and what `OUTPUT_FILE` named when the job was submitted. The caller owns the
    /// directory, and may move or remove it. Returns `None` and creates no directory if the CE keeps no file.
    ///
    /// For a job that still runs, these are all files in the session directory at this moment. For a failed job, they are
    /// what it left. A job that left no `OUTPUT_FILE` causes a warning in the log.
    ///
    /// Costs one request for each directory and one for each file, several at a time.
    ///
    /// # Errors
    ///
    /// [`Error::JobNotFound`](crate::Error::JobNotFound), or [`Error::OutputFile`](crate::Error::OutputFile) if a file
    /// cannot be fetched or stored; then no directory is left. Besides, the errors of [`job_statuses`](Self::job_statuses)
    /// for a CE that does not respond.
    ///
    /// ```no_run
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let arc = jasmin_arc::ArcInterface::builder().build()?;
    /// # let job = jasmin_arc::JobId::from("");
    /// if let Some(directory) = arc.save_job_outputs(&job)? {
    ///     print!("{}", std::fs::read_to_string(directory.join("stdout.txt"))?);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn save_job_outputs(&self, id: &JobId) -> Result<Option<PathBuf>> {
        let _entered = self.begin()?;
        let backend = self.backend()?;
        let files = self.only(backend.files(std::slice::from_ref(id))?)??;
        if files.is_empty() {
            return Ok(None);
        }
        self.warn_without_output_file(id, &files);
        outputs::save_in_new_directory(&*backend, id, files).map(Some)
    }

    /// Saves the outputs of a job below `directory`: [`save_jobs_outputs_to`](Self::save_jobs_outputs_to) for one.
    ///
    /// # Errors
    ///
    /// As for [`save_jobs_outputs_to`](Self::save_jobs_outputs_to).
    ///
    /// ```no_run
    /// # fn main() -> jasmin_arc::Result<()> {
    /// # let arc = jasmin_arc::ArcInterface::builder().build()?;
    /// # let job = jasmin_arc::JobId::from("");
    /// if let Some(path) = arc.save_job_outputs_to(&job, "results")? {
    ///     println!("the outputs are in {}", path.display());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn save_job_outputs_to(&self, id: &JobId, directory: impl AsRef<Path>) -> Result<Option<PathBuf>> {
        let results = self.save_jobs_outputs_to([id], directory)?;
        self.only(results)?
    }

    /// Saves the files that the CE keeps of many jobs below `directory`, and returns the path for each job, in the order of
    /// `ids`.
    ///
    /// Each job gets a sub-directory named after the last component of its id ([`JobId::local_id`]). `None`, and no
    /// sub-directory, for a job of which the CE keeps no file. `directory` is created if necessary. A file that exists is
    /// replaced once the new one has arrived whole, so the call can be repeated after an error.
    ///
    /// Costs one request for each directory of each job and one for each file, several at a time.
    ///
    /// # Errors
    ///
    /// For one job: [`Error::JobNotFound`](crate::Error::JobNotFound), or
    /// [`Error::OutputFile`](crate::Error::OutputFile) if a file cannot be fetched or stored; the job's other files stay.
    /// For the call: the errors of [`job_statuses`](Self::job_statuses) for a CE that does not respond.
    ///
    /// ```no_run
    /// # fn main() -> jasmin_arc::Result<()> {
    /// # let arc = jasmin_arc::ArcInterface::builder().build()?;
    /// # let jobs: Vec<jasmin_arc::JobId> = Vec::new();
    /// for saved in arc.save_jobs_outputs_to(&jobs, "results")? {
    ///     println!("{:?}", saved?);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn save_jobs_outputs_to(
        &self,
        ids: impl IntoIterator<Item: Borrow<JobId>>,
        directory: impl AsRef<Path>,
    ) -> Result<Vec<Result<Option<PathBuf>>>> {
        let ids = owned(ids);
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let _entered = self.begin()?;
        let backend = self.backend()?;
        let listed = backend.files(&ids)?;
        Ok(outputs::save_all(&*backend, &ids, listed, directory.as_ref()))
    }

    /// Warns if a job left nothing of the name that `submit_job` asked the CE to keep.
    fn warn_without_output_file(&self, id: &JobId, files: &[SessionFile]) {
        let wanted = self.0.config.plain_output_file();
        if !files.iter().any(|file| Path::new(&file.path).starts_with(&wanted)) {
            let message = format!("job {id} left no OUTPUT_FILE {wanted:?}");
            logging::log(LogLevel::Warning, message);
        }
    }
}
