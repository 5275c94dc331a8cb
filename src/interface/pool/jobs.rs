//! What a pool does for jobs: it asks the CE that each id names.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::ops::RangeBounds;
use std::path::Path;
use std::time::{Duration, SystemTime};

use super::results::Tell;
use super::{ArcPool, ON_NO_CE, PoolResults};
use crate::backend::failure::not_found;
use crate::description::JobDescription;
use crate::error::Result;
use crate::interface::{ArcInterface, Fetch, Follow, Watch, lost_thread};
use crate::job::{FetchedJob, FilePart, JobDiagnostics, JobFiles, JobId, JobInfo, JobState, JobStatus, SavedOutputs};
use crate::limits::CancelOnDrop;
use crate::watch::Standing;

/// # Jobs on any of the CEs
impl ArcPool {
    /// Watches jobs on any of the CEs until they end, or until another goal: see [`Watch`](Watch#several-ces).
    ///
    /// The CEs are watched at the same time, each with the cost of [`ArcInterface::watch`]. A job whose id names no CE of the
    /// pool is [`WatchOutcome::Unknown`](crate::WatchOutcome::Unknown) in the report.
    ///
    /// ```no_run
    /// use std::time::Duration;
    ///
    /// # fn main() -> jasmin_arc::Result<()> {
    /// # let pool = jasmin_arc::ArcPool::new([jasmin_arc::ArcInterface::builder().build()?])?;
    /// # let jobs: Vec<jasmin_arc::JobId> = Vec::new();
    /// let report = pool.watch(&jobs).deadline(Duration::from_secs(3600)).wait()?;
    /// println!("{} of {} jobs have ended", report.reached().count(), report.jobs.len());
    /// # Ok(())
    /// # }
    /// ```
    pub fn watch<'a>(&self, ids: impl IntoIterator<Item: Borrow<JobId>>) -> Watch<'a> {
        Watch::new(ids, &self.members, |id| self.index_of(id).ok_or_else(|| ON_NO_CE.to_owned()))
    }

    /// Watches all your jobs on all CEs, and those that come: [`ArcInterface::watch_all`] for several CEs.
    ///
    /// ```no_run
    /// # fn main() -> jasmin_arc::Result<()> {
    /// # let pool = jasmin_arc::ArcPool::new([jasmin_arc::ArcInterface::builder().build()?])?;
    /// for change in pool.watch_all() {
    ///     println!("{}", change?);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn watch_all<'a>(&self) -> Watch<'a> {
        Watch::all(&self.members)
    }

    /// Waits for the ends of jobs on any of the CEs, and returns the status of each job as soon as it has ended.
    ///
    /// Each CE is watched as by [`ArcInterface::watch`], with the same cost, and a CE that is away is waited for. Set a limit
    /// with [`with_deadline`](Self::with_deadline). Dropping the results ends the wait.
    ///
    /// # Errors
    ///
    /// For one job: those of [`ArcInterface::wait_jobs`], and [`Error::JobNotFound`](crate::Error::JobNotFound) if its id names no CE of the pool.
    ///
    /// ```no_run
    /// # fn main() -> jasmin_arc::Result<()> {
    /// # let pool = jasmin_arc::ArcPool::new([jasmin_arc::ArcInterface::builder().build()?])?;
    /// # let jobs: Vec<jasmin_arc::JobId> = Vec::new();
    /// for (id, status) in pool.wait_jobs(&jobs) {
    ///     println!("{id}: {}", status?);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn wait_jobs(&self, ids: impl IntoIterator<Item: Borrow<JobId>>) -> PoolResults<JobId, JobStatus> {
        let stop = CancelOnDrop::default();
        let token = stop.0.clone();
        self.stream(ids, Some(stop), move |member, ids, tell| wait(&member.with_cancel(&token), ids, tell))
    }

    /// Waits until a job on any of the CEs has ended, and returns its status: see [`ArcInterface::wait_job`].
    ///
    /// # Errors
    ///
    /// As for [`job_statuses`](Self::job_statuses).
    pub fn wait_job(&self, id: &JobId) -> Result<JobStatus> {
        self.interface_of(id)?.wait_job(id)
    }

    /// Returns the statuses of jobs on any of the CEs: see [`ArcInterface::job_statuses`].
    ///
    /// The other methods for jobs work in the same way.
    ///
    /// # Errors
    ///
    /// For one job: [`Error::JobNotFound`](crate::Error::JobNotFound) if its id names no CE of the pool, and the errors of the method of
    /// [`ArcInterface`]. If the call to a CE fails, each of its jobs has that error.
    ///
    /// ```no_run
    /// # fn main() -> jasmin_arc::Result<()> {
    /// # let pool = jasmin_arc::ArcPool::new([jasmin_arc::ArcInterface::builder().build()?])?;
    /// # let jobs: Vec<jasmin_arc::JobId> = Vec::new();
    /// for (id, status) in pool.job_statuses(&jobs) {
    ///     match status {
    ///         Ok(status) => println!("{id} is {status}"),
    ///         Err(error) => eprintln!("{id}: {error}"),
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn job_statuses(&self, ids: impl IntoIterator<Item: Borrow<JobId>>) -> PoolResults<JobId, JobStatus> {
        self.each_job(ids, |arc, ids| arc.job_statuses(ids))
    }

    /// Returns the status of a job on any of the CEs: see [`ArcInterface::job_status`].
    ///
    /// # Errors
    ///
    /// As for [`job_statuses`](Self::job_statuses).
    pub fn job_status(&self, id: &JobId) -> Result<JobStatus> {
        self.interface_of(id)?.job_status(id)
    }

    /// Returns ARC's states of jobs on any of the CEs: see [`ArcInterface::job_states`].
    pub fn job_states(&self, ids: impl IntoIterator<Item: Borrow<JobId>>) -> PoolResults<JobId, JobState> {
        self.each_job(ids, |arc, ids| arc.job_states(ids))
    }

    /// Returns ARC's state of a job on any of the CEs: see [`ArcInterface::job_state`].
    ///
    /// # Errors
    ///
    /// As for [`job_statuses`](Self::job_statuses).
    pub fn job_state(&self, id: &JobId) -> Result<JobState> {
        self.interface_of(id)?.job_state(id)
    }

    /// Returns the details of jobs on any of the CEs: see [`ArcInterface::jobs`].
    pub fn jobs(&self, ids: impl IntoIterator<Item: Borrow<JobId>>) -> PoolResults<JobId, JobInfo> {
        self.each_job(ids, |arc, ids| arc.jobs(ids))
    }

    /// Returns the details of a job on any of the CEs: see [`ArcInterface::job`].
    ///
    /// # Errors
    ///
    /// As for [`job_statuses`](Self::job_statuses).
    pub fn job(&self, id: &JobId) -> Result<JobInfo> {
        self.interface_of(id)?.job(id)
    }

    /// Cancels jobs on any of the CEs: see [`ArcInterface::cancel_jobs`].
    pub fn cancel_jobs(&self, ids: impl IntoIterator<Item: Borrow<JobId>>) -> PoolResults<JobId, ()> {
        self.each_job(ids, |arc, ids| arc.cancel_jobs(ids))
    }

    /// Cancels a job on any of the CEs: see [`ArcInterface::cancel_job`].
    ///
    /// # Errors
    ///
    /// As for [`job_statuses`](Self::job_statuses).
    pub fn cancel_job(&self, id: &JobId) -> Result<()> {
        self.interface_of(id)?.cancel_job(id)
    }

    /// Cancels jobs on any of the CEs and waits until they have ended: see [`ArcInterface::cancel_jobs_and_wait`].
    pub fn cancel_jobs_and_wait(
        &self,
        ids: impl IntoIterator<Item: Borrow<JobId>>,
        patience: Duration,
    ) -> PoolResults<JobId, JobStatus> {
        self.each_job(ids, move |arc, ids| arc.cancel_jobs_and_wait(ids, patience))
    }

    /// Runs failed jobs on any of the CEs again: see [`ArcInterface::restart_jobs`].
    pub fn restart_jobs(&self, ids: impl IntoIterator<Item: Borrow<JobId>>) -> PoolResults<JobId, ()> {
        self.each_job(ids, |arc, ids| arc.restart_jobs(ids))
    }

    /// Runs a failed job on any of the CEs again: see [`ArcInterface::restart_job`].
    ///
    /// # Errors
    ///
    /// As for [`job_statuses`](Self::job_statuses).
    pub fn restart_job(&self, id: &JobId) -> Result<()> {
        self.interface_of(id)?.restart_job(id)
    }

    /// Renews the credentials of jobs on any of the CEs: see [`ArcInterface::renew_jobs`].
    pub fn renew_jobs(&self, ids: impl IntoIterator<Item: Borrow<JobId>>) -> PoolResults<JobId, Option<SystemTime>> {
        self.each_job(ids, |arc, ids| arc.renew_jobs(ids))
    }

    /// Renews the credentials of a job on any of the CEs: see [`ArcInterface::renew_job`].
    ///
    /// # Errors
    ///
    /// As for [`job_statuses`](Self::job_statuses).
    pub fn renew_job(&self, id: &JobId) -> Result<Option<SystemTime>> {
        self.interface_of(id)?.renew_job(id)
    }

    /// Removes ended jobs from their CEs: see [`ArcInterface::clean_jobs`].
    pub fn clean_jobs(&self, ids: impl IntoIterator<Item: Borrow<JobId>>) -> PoolResults<JobId, ()> {
        self.each_job(ids, |arc, ids| arc.clean_jobs(ids))
    }

    /// Removes an ended job from its CE: see [`ArcInterface::clean_job`].
    ///
    /// # Errors
    ///
    /// As for [`job_statuses`](Self::job_statuses).
    pub fn clean_job(&self, id: &JobId) -> Result<()> {
        self.interface_of(id)?.clean_job(id)
    }

    /// Saves the outputs of jobs on any of the CEs below one directory: see [`ArcInterface::save_jobs_outputs_to`].
    pub fn save_jobs_outputs_to(
        &self,
        ids: impl IntoIterator<Item: Borrow<JobId>>,
        directory: impl AsRef<Path>,
    ) -> PoolResults<JobId, Option<SavedOutputs>> {
        let directory = directory.as_ref().to_owned();
        self.each_job(ids, move |arc, ids| arc.save_jobs_outputs_to(ids, &directory))
    }

    /// Saves the outputs of a job on any of the CEs below a directory: see [`ArcInterface::save_job_outputs_to`].
    ///
    /// # Errors
    ///
    /// As for [`job_statuses`](Self::job_statuses).
    pub fn save_job_outputs_to(&self, id: &JobId, directory: impl AsRef<Path>) -> Result<Option<SavedOutputs>> {
        self.interface_of(id)?.save_job_outputs_to(id, directory)
    }

    /// Fetches files of jobs on any of the CEs. `choose` sets which files, to where, and within which limits: it gets a
    /// [`Fetch`] of the jobs of each CE and returns it with its settings.
    ///
    /// The jobs of a CE have their results when the fetch from this CE has ended. A CE that is away delays nothing of the
    /// others. [`max_bytes`](Fetch::max_bytes) and [`on_progress`](Fetch::on_progress) are for the jobs of one CE.
    /// If [`named`](Fetch::named) gives the same path to files on two CEs, one of them replaces the other.
    ///
    /// # Errors
    ///
    /// For one job: those of [`Fetch::run`], and [`Error::JobNotFound`](crate::Error::JobNotFound) if its id names no CE of the
    /// pool.
    ///
    /// ```no_run
    /// # fn main() -> jasmin_arc::Result<()> {
    /// # let pool = jasmin_arc::ArcPool::new([jasmin_arc::ArcInterface::builder().build()?])?;
    /// # let jobs: Vec<jasmin_arc::JobId> = Vec::new();
    /// for (id, fetched) in pool.fetch(&jobs, |fetch| fetch.files(["result.txt"]).to("results")) {
    ///     match fetched {
    ///         Ok(fetched) => println!("{id}: {} bytes in {}", fetched.bytes, fetched.directory.display()),
    ///         Err(error) => eprintln!("{id}: {error}"),
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn fetch(
        &self,
        ids: impl IntoIterator<Item: Borrow<JobId>>,
        choose: impl Fn(Fetch) -> Fetch + Send + Sync + 'static,
    ) -> PoolResults<JobId, FetchedJob> {
        self.each_job(ids, move |arc, ids| choose(arc.fetch(ids)).run())
    }

    /// Lists the files of a job on any of the CEs: see [`ArcInterface::list_files`].
    ///
    /// # Errors
    ///
    /// As for [`job_statuses`](Self::job_statuses).
    pub fn list_files(&self, id: &JobId) -> Result<JobFiles> {
        self.interface_of(id)?.list_files(id)
    }

    /// Reads a part of a file of a job on any of the CEs: see [`ArcInterface::read_file`].
    ///
    /// # Errors
    ///
    /// As for [`job_statuses`](Self::job_statuses), and [`Error::JobFile`](crate::Error::JobFile).
    pub fn read_file(&self, id: &JobId, name: impl AsRef<Path>, range: impl RangeBounds<u64>) -> Result<FilePart> {
        self.interface_of(id)?.read_file(id, name, range)
    }

    /// Follows a file of a job on any of the CEs: see [`ArcInterface::follow`].
    ///
    /// # Errors
    ///
    /// [`Error::JobNotFound`](crate::Error::JobNotFound) if the id names no CE of the pool.
    pub fn follow(&self, id: &JobId, name: impl AsRef<Path>) -> Result<Follow> {
        Ok(self.interface_of(id)?.follow(id, name))
    }

    /// Returns what A-REX keeps about a job on any of the CEs: see [`ArcInterface::diagnostics`].
    ///
    /// # Errors
    ///
    /// As for [`job_statuses`](Self::job_statuses), and [`Error::Unsupported`](crate::Error::Unsupported) over EMI-ES.
    pub fn diagnostics(&self, id: &JobId) -> Result<JobDiagnostics> {
        self.interface_of(id)?.diagnostics(id)
    }

    /// Uploads the missing input files of a job on any of the CEs: see [`ArcInterface::resume_uploads`].
    ///
    /// # Errors
    ///
    /// As for [`ArcInterface::resume_uploads`].
    pub fn resume_uploads(&self, id: &JobId, job: &JobDescription) -> Result<()> {
        self.interface_of(id)?.resume_uploads(id, job)
    }
}

/// Watches the jobs of one CE, and tells the status of each as soon as it has ended.
fn wait(arc: &ArcInterface, ids: &[JobId], tell: Tell<'_, JobStatus>) {
    let mut pending: HashMap<&JobId, Vec<usize>> = HashMap::with_capacity(ids.len());
    for (index, id) in ids.iter().enumerate() {
        pending.entry(id).or_default().push(index);
    }
    let mut watch = arc.watch(ids);
    let mut failed = None;
    for change in &mut watch {
        match change {
            Ok(change) => {
                let result = || match change.to {
                    Standing::Gone => Err(not_found(&arc.0.endpoint, &change.id)),
                    _ => Ok(change.status().unwrap_or(JobStatus::InProgress)),
                };
                if change.to.is_final() {
                    pending.remove(&change.id).into_iter().flatten().for_each(|index| tell(index, result()));
                }
            }
            Err(error) => failed = Some(error),
        }
    }
    let mut statuses: Vec<Option<Result<JobStatus>>> = watch.statuses().into_iter().map(Some).collect();
    for index in pending.into_values().flatten() {
        let status = statuses.get_mut(index).and_then(Option::take);
        tell(
            index,
            failed
                .as_ref()
                .map_or(status, |error| Some(Err(error.without_source())))
                .unwrap_or_else(|| Err(lost_thread())),
        );
    }
}
