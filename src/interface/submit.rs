//! Submitting jobs.

use std::borrow::Borrow;
use std::path::Path;

use super::ArcInterface;
use crate::backend::prepare::{PreparedJob, prepare};
use crate::description::JobDescription;
use crate::error::Result;
use crate::ffi::JobPlace;
use crate::job::JobId;
use crate::job_list;
use crate::logging::{self, LogLevel};

impl ArcInterface {
    /// Submits a job that runs `executable`, a path on the CE, with `args`.
    ///
    /// The job runs in its own session directory. The crate uploads the local `input_files` to that directory under
    /// their base names. The CE keeps `stdout.txt`, `stderr.txt` and the file or directory named by `OUTPUT_FILE` for
    /// [`save_job_outputs`](Self::save_job_outputs). Use [`submit`](Self::submit) for everything else that a job can
    /// have.
    ///
    /// Costs two requests, and one for each input file.
    ///
    /// # Errors
    ///
    /// Before the crate sends anything: [`Error::InputFile`](crate::Error::InputFile) if an input file is missing,
    /// cannot be read, is not a regular file, or has the base name of another one;
    /// [`Error::InvalidJobDescription`](crate::Error::InvalidJobDescription) if an ARC-CE cannot express an argument;
    /// [`Error::ProxyGeneration`](crate::Error::ProxyGeneration).
    ///
    /// From the CE: [`Error::NoTargetsAvailable`](crate::Error::NoTargetsAvailable),
    /// [`Error::JobSubmission`](crate::Error::JobSubmission) if the CE does not accept the job, and the errors of
    /// [`job_statuses`](Self::job_statuses) for a CE that does not respond.
    ///
    /// ```no_run
    /// # fn main() -> jasmin_arc::Result<()> {
    /// # let arc = jasmin_arc::ArcInterface::builder().build()?;
    /// let job = arc.submit_job("/bin/cat", &["data.txt"], &["/home/me/data.txt".as_ref()])?;
    /// println!("submitted {job}");
    /// # Ok(())
    /// # }
    /// ```
    pub fn submit_job(&self, executable: &str, args: &[&str], input_files: &[&Path]) -> Result<JobId> {
        let mut job = JobDescription::new(executable)
            .with_args(args.iter().copied())
            .with_output_file(self.0.config.plain_output_file());
        for path in input_files {
            job = job.with_input_file(path);
        }
        self.submit(&job)
    }

    /// Submits a job.
    ///
    /// The CE keeps the outputs that the description names, and the standard output and error. The call ignores
    /// `OUTPUT_FILE`.
    ///
    /// Costs two requests, and one for each input file.
    ///
    /// # Errors
    ///
    /// As for [`submit_job`](Self::submit_job).
    ///
    /// ```no_run
    /// # fn main() -> jasmin_arc::Result<()> {
    /// # let arc = jasmin_arc::ArcInterface::builder().build()?;
    /// use jasmin_arc::JobDescription;
    ///
    /// let job = JobDescription::new("/bin/sh").with_args(["-c", "mkdir out; date > out/date"]).with_output_file("out");
    /// let id = arc.submit(&job)?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn submit(&self, job: &JobDescription) -> Result<JobId> {
        let results = self.submit_jobs([job])?;
        self.single(results)?
    }

    /// Submits many jobs. The results are in the order of `jobs`. A job that fails does not affect the others.
    ///
    /// Over the REST interface one request submits up to 250 jobs. The crate then uploads their input files, several at
    /// a time.
    ///
    /// # Errors
    ///
    /// For one job: [`Error::InputFile`](crate::Error::InputFile) and
    /// [`Error::InvalidJobDescription`](crate::Error::InvalidJobDescription), both before the crate sends anything, and
    /// [`Error::JobSubmission`](crate::Error::JobSubmission). For the call, if nothing has been submitted:
    /// [`Error::ProxyGeneration`](crate::Error::ProxyGeneration) and the errors of [`job_statuses`](Self::job_statuses)
    /// for a CE that does not respond.
    ///
    /// ```no_run
    /// # fn main() -> jasmin_arc::Result<()> {
    /// # let arc = jasmin_arc::ArcInterface::builder().build()?;
    /// use jasmin_arc::JobDescription;
    ///
    /// let jobs = (0..1000).map(|n| JobDescription::new("/bin/echo").with_arg(n.to_string()));
    /// for (n, submitted) in arc.submit_jobs(jobs)?.into_iter().enumerate() {
    ///     match submitted {
    ///         Ok(id) => println!("job {n} is {id}"),
    ///         Err(error) => eprintln!("job {n} was not submitted: {error}"),
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn submit_jobs(&self, jobs: impl IntoIterator<Item: Borrow<JobDescription>>) -> Result<Vec<Result<JobId>>> {
        let prepared: Vec<Result<PreparedJob>> = jobs.into_iter().map(|job| prepare(job.borrow())).collect();
        let valid: Vec<PreparedJob> = prepared.iter().flatten().cloned().collect();
        let mut submitted = if valid.is_empty() {
            Vec::new()
        } else {
            let _entered = self.begin()?;
            self.backend()?.submit(&valid, &|places| self.add_to_job_list(places))?
        }
        .into_iter();
        let one = |job: Result<PreparedJob>| {
            job.and_then(|_| submitted.next().unwrap_or_else(|| Err(self.missing_result())))
                .map(|place| JobId::from(place.id))
        };
        Ok(prepared.into_iter().map(one).collect())
    }

    /// Adds jobs to the job list of ARC's tools. Only logs a failure, because the CE has accepted the jobs already.
    fn add_to_job_list(&self, places: &[JobPlace]) {
        for place in places {
            logging::log(LogLevel::Info, format!("submitted job {}", place.id));
        }
        let path = self.0.config.jobs_info_file();
        if let Err(message) = job_list::add(&path, self.0.config.has_default_jobs_info_file(), places) {
            let ids: Vec<&str> = places.iter().map(|place| place.id.as_str()).collect();
            let message = format!(
                "cannot write the job list {}: {message}; it does not contain {}",
                path.display(),
                ids.join(" ")
            );
            logging::log(LogLevel::Warning, message);
        }
    }
}
