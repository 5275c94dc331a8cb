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
    /// Saves the outputs of a job in a new temporary directory and returns the path of the directory.
    ///
    /// For a job from [`submit_job`](Self::submit_job), the outputs are `stdout.txt`, `stderr.txt` and the file or
    /// directory that `OUTPUT_FILE` named at that time. For a job from [`submit`](Self::submit), its description names
    /// them. The caller owns the directory and may move or remove it. Returns `None` and creates no directory if the CE
    /// has no file of the job.
    ///
    /// While the job runs, the outputs are all files in its session directory at that moment. A failed job has the
    /// outputs that it wrote before it failed. If there is no `OUTPUT_FILE` among them, the crate logs a warning.
    ///
    /// The directory is created where [`std::env::temp_dir`] says, with access for the user only. Costs one request for each
    /// directory of the job and one for each file, several at a time.
    ///
    /// # Errors
    ///
    /// [`Error::JobNotFound`](crate::Error::JobNotFound); [`Error::OutputFile`](crate::Error::OutputFile) if a file
    /// cannot be downloaded or stored, in which case the directory is removed; and the errors of
    /// [`job_statuses`](Self::job_statuses) for a CE that does not respond.
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
        let call = self.begin()?;
        let backend = self.backend(&call)?;
        let files = self.single(backend.files(std::slice::from_ref(id))?)??;
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
        self.single(results)?
    }

    /// Saves the outputs of many jobs below `directory`, and returns the path for each job, in the order of `ids`.
    ///
    /// Each job gets a subdirectory named after the last component of its id ([`JobId::local_id`]). A job without files
    /// on the CE gets no subdirectory, and its result is `None`. The crate creates `directory` if necessary. It
    /// replaces an existing file only when the new one is complete, so you can repeat the call after an error.
    ///
    /// Costs one request for each directory of each job and one for each file, several at a time.
    ///
    /// # Errors
    ///
    /// For one job: [`Error::JobNotFound`](crate::Error::JobNotFound), or
    /// [`Error::OutputFile`](crate::Error::OutputFile) if a file cannot be downloaded or stored; the job's other files
    /// stay. For the call: the errors of [`job_statuses`](Self::job_statuses) for a CE that does not respond.
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
        let call = self.begin()?;
        let backend = self.backend(&call)?;
        let listed = backend.files(&ids)?;
        Ok(outputs::save_all(&*backend, &ids, listed, directory.as_ref()))
    }

    /// Logs a warning if the job has no output of the name that `submit_job` requests.
    fn warn_without_output_file(&self, id: &JobId, files: &[SessionFile]) {
        let expected = self.0.config.plain_output_file();
        if !files.iter().any(|file| Path::new(&file.path).starts_with(&expected)) {
            let message = format!("job {id} has no output {expected:?}, the value of OUTPUT_FILE");
            logging::log(LogLevel::Warning, message);
        }
    }
}
