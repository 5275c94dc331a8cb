//! Cancelling jobs and removing them from the CE.

use std::borrow::Borrow;

use super::{ArcInterface, owned};
use crate::error::Result;
use crate::job::JobId;
use crate::job_list;
use crate::logging::{self, LogLevel};

impl ArcInterface {
    /// Cancels a job: [`cancel_jobs`](Self::cancel_jobs) for one.
    ///
    /// # Errors
    ///
    /// [`Error::JobNotFound`](crate::Error::JobNotFound), or [`Error::JobOperation`](crate::Error::JobOperation) if the
    /// CE refuses. Also the errors of [`job_statuses`](Self::job_statuses) for a CE that does not respond.
    ///
    /// ```no_run
    /// # fn main() -> jasmin_arc::Result<()> {
    /// # let arc = jasmin_arc::ArcInterface::builder().build()?;
    /// let job = arc.submit_job("/bin/sleep", &["3600"], &[])?;
    /// arc.cancel_job(&job)?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn cancel_job(&self, id: &JobId) -> Result<()> {
        let results = self.cancel_jobs([id])?;
        self.single(results)?
    }

    /// Cancels many jobs. The CE kills their processes, and their status becomes
    /// [`JobStatus::Failed`](crate::JobStatus::Failed). For a job that has ended, the call succeeds and changes
    /// nothing.
    ///
    /// The results are in the order of `ids`. The CE confirms the request at once and kills the jobs within seconds.
    /// Costs two requests for each 1000 jobs.
    ///
    /// A-REX can lose the request for a job that it is just accepting (ARC 6.17). For jobs that were submitted within
    /// the last minute or so, the crate therefore waits a tenth of a second, looks at A-REX's record, and cancels those
    /// again that are not being cancelled yet. This costs the requests for the look-up that
    /// [`job_statuses`](Self::job_statuses) describes, and one for each 1000 jobs.
    ///
    /// # Errors
    ///
    /// As for [`cancel_job`](Self::cancel_job).
    ///
    /// ```no_run
    /// # fn main() -> jasmin_arc::Result<()> {
    /// # let arc = jasmin_arc::ArcInterface::builder().build()?;
    /// # let jobs: Vec<jasmin_arc::JobId> = Vec::new();
    /// for (id, cancelled) in jobs.iter().zip(arc.cancel_jobs(&jobs)?) {
    ///     if let Err(error) = cancelled {
    ///         eprintln!("{id}: {error}");
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn cancel_jobs(&self, ids: impl IntoIterator<Item: Borrow<JobId>>) -> Result<Vec<Result<()>>> {
        let ids = owned(ids);
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let call = self.begin()?;
        ids.iter().for_each(|id| logging::log(LogLevel::Info, format!("cancelling job {id}")));
        self.backend(&call)?.cancel(&ids)
    }

    /// Removes a job that has ended from the CE: [`clean_jobs`](Self::clean_jobs) for one.
    ///
    /// # Errors
    ///
    /// As for [`clean_jobs`](Self::clean_jobs).
    pub fn clean_job(&self, id: &JobId) -> Result<()> {
        let results = self.clean_jobs([id])?;
        self.single(results)?
    }

    /// Removes many jobs that have ended, with all their files, from the CE and from the job list.
    ///
    /// The results are in the order of `ids`. If you do not clean a job, the CE deletes it after some days
    /// ([`erase_time`](crate::JobInfo::erase_time)). Costs the requests of [`job_statuses`](Self::job_statuses) and one
    /// more for each 1000 jobs.
    ///
    /// # Errors
    ///
    /// For one job: [`Error::JobNotFound`](crate::Error::JobNotFound), or
    /// [`Error::JobOperation`](crate::Error::JobOperation) if it has not ended. For the call: the errors of
    /// [`job_statuses`](Self::job_statuses) for a CE that does not respond.
    ///
    /// ```no_run
    /// # fn main() -> jasmin_arc::Result<()> {
    /// # let arc = jasmin_arc::ArcInterface::builder().build()?;
    /// # let jobs: Vec<jasmin_arc::JobId> = Vec::new();
    /// for cleaned in arc.clean_jobs(&jobs)? {
    ///     cleaned?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn clean_jobs(&self, ids: impl IntoIterator<Item: Borrow<JobId>>) -> Result<Vec<Result<()>>> {
        let ids = owned(ids);
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let call = self.begin()?;
        let cleaned = self.backend(&call)?.clean(&ids)?;
        self.remove_from_lists(ids.iter().zip(&cleaned).filter(|(_, result)| result.is_ok()).map(|(id, _)| id));
        Ok(cleaned)
    }

    /// Removes jobs from the journal and from the job list of ARC's tools. Only logs a failure, because the CE has removed the jobs already.
    fn remove_from_lists<'a>(&self, ids: impl Iterator<Item = &'a JobId>) {
        let path = self.0.config.jobs_info_file();
        let local_ids: Vec<&str> = ids.filter_map(|id| self.0.endpoint.job_local_id(id.as_str())).collect();
        if let Err(error) = self.0.journal.remove_jobs(&self.0.endpoint.url(), &local_ids) {
            logging::log(LogLevel::Warning, error.to_string());
        }
        let ids: Vec<String> = local_ids.into_iter().flat_map(|id| self.0.endpoint.job_ids(id)).collect();
        if let Err(message) = job_list::remove(&path, &ids) {
            let message = format!("cannot remove jobs from the job list {}: {message}", path.display());
            logging::log(LogLevel::Warning, message);
        }
    }
}
