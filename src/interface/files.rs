//! Saving the outputs of jobs.

use std::borrow::Borrow;
use std::path::{Path, PathBuf};

use super::{ArcInterface, owned};
use crate::backend::SessionFiles;
use crate::error::Result;
use crate::job::{JobId, SavedOutputs};
use crate::logging::{self, LogLevel};
use crate::transfer::fetch::{self, Options, Outcome};

impl ArcInterface {
    /// Saves the outputs of a job in a new temporary directory and returns the path of the directory.
    ///
    /// For a job from [`submit_job`](Self::submit_job), the outputs are `stdout.txt`, `stderr.txt` and the file or
    /// directory that `OUTPUT_FILE` named at that time. For a job from [`submit`](Self::submit), its description names
    /// them. The caller owns the directory and may move or remove it. Returns `None` and creates no directory if the CE
    /// lists no output of the job.
    ///
    /// While the job runs, the outputs are all files in its session directory at that moment. A failed job has the
    /// outputs that it wrote before it failed. If there is no `OUTPUT_FILE` among them, the crate logs a warning.
    ///
    /// The crate logs a warning that names outputs that cannot be saved, such as symbolic links. Use
    /// [`save_job_outputs_to`](Self::save_job_outputs_to) to get them as values.
    ///
    /// The directory is created where [`std::env::temp_dir`] says, with access for the user only. Costs a
    /// [`job_status`](Self::job_status), two requests for each directory of the job and one for each file, several at a
    /// time.
    ///
    /// # Errors
    ///
    /// [`Error::JobNotFound`](crate::Error::JobNotFound); [`Error::OutputFile`](crate::Error::OutputFile) if a file
    /// cannot be downloaded or stored, in which case the directory is removed;
    /// [`Error::JobOperation`](crate::Error::JobOperation) if the CE cannot list the files, or lists more than a million;
    /// and the errors of [`job_statuses`](Self::job_statuses) for a CE that does not respond.
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
        let files = self.single(backend.files(std::slice::from_ref(id), &|_| true)?)??;
        if files.is_empty() {
            return Ok(None);
        }
        self.warn_without_output_file(id, &files);
        Ok(Some(fetch::save_in_new_directory(&*backend, id, files)?))
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
    /// if let Some(saved) = arc.save_job_outputs_to(&job, "results")? {
    ///     println!("the outputs are in {}", saved.display());
    ///     for left_out in &saved.left_out {
    ///         eprintln!("not saved: {left_out}");
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn save_job_outputs_to(&self, id: &JobId, directory: impl AsRef<Path>) -> Result<Option<SavedOutputs>> {
        let results = self.save_jobs_outputs_to([id], directory)?;
        self.single(results)?
    }

    /// Saves all outputs of many jobs below `directory`: a short form of [`fetch`](Self::fetch). Returns what was saved of each job,
    /// in the order of `ids`.
    ///
    /// Each job gets a subdirectory named after the last component of its id ([`JobId::local_id`]). A job without outputs
    /// on the CE gets no subdirectory, and its result is `None`. The crate creates `directory` if necessary. It
    /// replaces an existing file only when the new one is complete, so you can repeat the call after an error.
    ///
    /// Nothing is written outside the subdirectory, whatever names the CE chooses and whatever symbolic links are in it.
    /// `directory` itself may be a symbolic link. A file of a job that has ended must have the size that the CE lists. A
    /// file of a running job is saved as the CE sends it, which is its content at one moment if the job only appends to it.
    ///
    /// [`SavedOutputs::left_out`] names what the job has on the CE and was not saved: symbolic links, files that the CE may
    /// not read, files that the job has removed meanwhile, and names that are not safe or too long. They do not stop the
    /// other files. A-REX lists no symbolic links. The crate finds them by a second request for each directory. Over EMI-ES
    /// there is no such request, and the crate does not learn of them.
    ///
    /// Costs [`job_statuses`](Self::job_statuses), two requests for each directory of each job and one for each file, several
    /// at a time. Each file of a running job takes a connection of its own.
    ///
    /// # Errors
    ///
    /// For one job: [`Error::JobNotFound`](crate::Error::JobNotFound);
    /// [`Error::OutputFile`](crate::Error::OutputFile) if a file cannot be downloaded or stored, also because a symbolic
    /// link is in its way or the disk is full, in which case the job's other files stay; or
    /// [`Error::JobOperation`](crate::Error::JobOperation) if the CE cannot list the files, or lists more than a million
    /// files or 100,000 directories. For the call: the errors of [`job_statuses`](Self::job_statuses) for a CE that does
    /// not respond.
    ///
    /// ```no_run
    /// # fn main() -> jasmin_arc::Result<()> {
    /// # let arc = jasmin_arc::ArcInterface::builder().build()?;
    /// # let jobs: Vec<jasmin_arc::JobId> = Vec::new();
    /// for saved in arc.save_jobs_outputs_to(&jobs, "results")? {
    ///     if let Some(saved) = saved? {
    ///         println!("{}: {} files, {} left out", saved.display(), saved.files, saved.left_out.len());
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn save_jobs_outputs_to(
        &self,
        ids: impl IntoIterator<Item: Borrow<JobId>>,
        directory: impl AsRef<Path>,
    ) -> Result<Vec<Result<Option<SavedOutputs>>>> {
        let ids = owned(ids);
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let call = self.begin()?;
        let backend = self.backend(&call)?;
        let listed = backend.files(&ids, &|_| true)?;
        let options = Options { directory: directory.as_ref().to_owned(), ..Options::default() };
        let saved = |outcome: Outcome| {
            let Outcome { has_outputs, job, .. } = outcome;
            let files = u64::try_from(job.files.len()).unwrap_or(u64::MAX);
            let saved = SavedOutputs { files, bytes: job.bytes, ..SavedOutputs::new(job.directory, job.left_out) };
            has_outputs.then_some(saved)
        };
        let outcomes = fetch::fetch_all(&*backend, &ids, listed, &options);
        Ok(outcomes.into_iter().map(|outcome| outcome.map(saved)).collect())
    }

    /// Logs a warning if the job has no output of the name that `submit_job` requests.
    fn warn_without_output_file(&self, id: &JobId, files: &SessionFiles) {
        let expected = self.0.config.plain_output_file();
        if !files.files.iter().any(|file| Path::new(&file.path).starts_with(&expected)) {
            let message = format!("job {id} has no output {expected:?}, the value of OUTPUT_FILE");
            logging::log(LogLevel::Warning, message);
        }
    }
}
