//! [`ArcPool`]: several CEs as one.
//!
//! An operation on ids goes to the CE that each id names, to all CEs at the same time. `submit.rs` chooses CEs for jobs, and
//! `results.rs` returns results as they come.

mod results;
mod submit;

use std::borrow::Borrow;
use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

pub use self::results::PoolResults;
use self::results::{Tell, Work, lost};
use self::submit::Offer;
use super::{ArcInterface, RecoveredSubmission, SyncedJobList, owned};
use crate::backend::failure::not_found;
use crate::error::{Error, Result};
use crate::job::{JobFilter, JobId, JobInfo, JobState, JobStatus, SavedOutputs};
use crate::limits::CancelToken;
use crate::service::{Ping, ServiceInfo};
use crate::watch::Standing;

/// Interfaces to several CEs, used as one.
///
/// - [`submit`](Self::submit) and [`submit_jobs`](Self::submit_jobs) send each job to a CE that it fits and that has free
///   slots, and to the next one if a CE refuses it or is away.
/// - Operations on ids ask the CE that each id names. The pool needs no list of jobs.
/// - Operations on the CEs, such as [`list_jobs`](Self::list_jobs), ask all of them.
///
/// The CEs work at the same time. Most operations return [`PoolResults`], an iterator that returns each result as soon as its
/// CE has responded, so a CE that does not respond delays nothing of the others. Only its own jobs get its error. Submitting is
/// different: it returns when the last job has a result.
///
/// The type is cheap to clone, and any number of threads can use it. Each interface keeps its own configuration,
/// credentials, journal and log. Everything else that an interface can do is available through
/// [`interface_of`](Self::interface_of).
///
/// ```no_run
/// use jasmin_arc::{ArcInterface, ArcPool, JobDescription};
///
/// # fn main() -> jasmin_arc::Result<()> {
/// let pool = ArcPool::new([ArcInterface::from_file("lotus.json")?, ArcInterface::from_file("other.json")?])?;
/// let jobs = (0..100).map(|n| JobDescription::new("/opt/model").with_arg(n.to_string()));
/// let ids: Vec<_> = pool.submit_jobs(jobs).into_iter().flatten().collect();
/// for (id, status) in pool.job_statuses(&ids) {
///     println!("{id}: {status:?}");
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct ArcPool {
    members: Vec<ArcInterface>,
    /// What each CE has published, and what the pool has submitted since.
    offers: Arc<Mutex<Vec<Option<Offer>>>>,
}

impl ArcPool {
    /// Creates a pool. Sends nothing to the CEs.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidConfig`] if there is no interface, or two for the same CE.
    pub fn new(interfaces: impl IntoIterator<Item = ArcInterface>) -> Result<ArcPool> {
        let members: Vec<ArcInterface> = interfaces.into_iter().collect();
        let invalid = |message: String| Error::InvalidConfig {
            path: None,
            line: None,
            key: Some("ARC_SERVER".into()),
            message,
            source: None,
        };
        if members.is_empty() {
            return Err(invalid("a pool needs at least one interface".into()));
        }
        for (index, member) in members.iter().enumerate() {
            if members[..index].iter().any(|other| other.0.endpoint == member.0.endpoint) {
                return Err(invalid(format!("two interfaces of the pool are for {}", member.0.endpoint)));
            }
        }
        let offers = Arc::new(Mutex::new(members.iter().map(|_| None).collect()));
        Ok(ArcPool { members, offers })
    }

    /// Returns the interfaces, in the order in which they were given.
    pub fn interfaces(&self) -> &[ArcInterface] {
        &self.members
    }

    /// Returns the interface to the CE that an id names, or `None` if it is none of the pool's.
    ///
    /// An id without a host, such as `0a1b2c`, names no CE, unless the pool has only one.
    ///
    /// ```no_run
    /// # fn main() -> jasmin_arc::Result<()> {
    /// # let pool = jasmin_arc::ArcPool::new([jasmin_arc::ArcInterface::builder().build()?])?;
    /// # let id = jasmin_arc::JobId::from("");
    /// if let Some(arc) = pool.interface_of(&id) {
    ///     println!("{id} is a job on {}", arc.config().arc_server());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn interface_of(&self, id: &JobId) -> Option<&ArcInterface> {
        self.index_of(id).map(|index| &self.members[index])
    }

    fn index_of(&self, id: &JobId) -> Option<usize> {
        if self.members.len() > 1 && !id.as_str().contains("://") {
            return None;
        }
        self.members.iter().position(|member| member.0.endpoint.job_local_id(id.as_str()).is_some())
    }

    /// Returns the same pool with a deadline for each call to a CE: see
    /// [`ArcInterface::with_deadline`]. A submission may make several calls, one after the other.
    #[must_use]
    pub fn with_deadline(&self, deadline: Duration) -> ArcPool {
        self.with_members(|member| member.with_deadline(deadline))
    }

    /// Returns the same pool with a token that cancels its calls: see [`ArcInterface::with_cancel`].
    #[must_use]
    pub fn with_cancel(&self, token: &CancelToken) -> ArcPool {
        self.with_members(|member| member.with_cancel(token))
    }

    fn with_members(&self, change: impl Fn(&ArcInterface) -> ArcInterface) -> ArcPool {
        ArcPool { members: self.members.iter().map(change).collect(), offers: Arc::clone(&self.offers) }
    }

    /// Asks each CE about its jobs among `ids`.
    fn each_job<T: Send + 'static>(
        &self,
        ids: impl IntoIterator<Item: Borrow<JobId>>,
        ask: impl Fn(&ArcInterface, &[JobId]) -> Result<Vec<Result<T>>> + Send + Sync + 'static,
    ) -> PoolResults<JobId, T> {
        let ask = move |member: &ArcInterface, ids: &[JobId], tell: Tell<'_, T>| {
            let results = for_each(ask(member, ids), ids.len());
            results.into_iter().enumerate().for_each(|(index, result)| tell(index, result));
        };
        self.stream(ids, None, ask)
    }

    /// Asks each CE about its jobs among `ids`. `ask` tells each result, with the index of its id, as soon as it has it.
    fn stream<T: Send + 'static>(
        &self,
        ids: impl IntoIterator<Item: Borrow<JobId>>,
        token: Option<CancelToken>,
        ask: impl Fn(&ArcInterface, &[JobId], Tell<'_, T>) + Send + Sync + 'static,
    ) -> PoolResults<JobId, T> {
        let mut of_member: Vec<Vec<usize>> = self.members.iter().map(|_| Vec::new()).collect();
        let work = Work::new(owned(ids));
        for index in 0..work.len() {
            let id: &JobId = work.key(index);
            match self.index_of(id) {
                Some(member) => of_member[member].push(index),
                None => work.known(index, Err(on_no_ce(id))),
            }
        }
        let ask = Arc::new(ask);
        for (member, indices) in self.members.iter().zip(of_member).filter(|(_, indices)| !indices.is_empty()) {
            let asked: Vec<JobId> = indices.iter().map(|index| work.key(*index).clone()).collect();
            let (member, ask) = (member.clone(), Arc::clone(&ask));
            work.start(move |tell| ask(&member, &asked, &|index, result| tell(indices[index], result)));
        }
        work.results(token)
    }

    /// Asks each CE.
    fn each_ce<T: Send + 'static>(
        &self,
        ask: impl Fn(&ArcInterface) -> Result<T> + Send + Sync + 'static,
    ) -> PoolResults<String, T> {
        let ask = Arc::new(ask);
        let work = Work::new(self.members.iter().map(|member| member.0.endpoint.url()).collect());
        for (index, member) in self.members.iter().cloned().enumerate() {
            let ask = Arc::clone(&ask);
            work.start(move |tell| tell(index, ask(&member)));
        }
        work.results(None)
    }

    /// Waits for the ends of jobs on any of the CEs, and returns the status of each job as soon as it has ended.
    ///
    /// Each CE is watched as by [`ArcInterface::watch`], with the same cost, and a CE that is away is waited for. Set a limit
    /// with [`with_deadline`](Self::with_deadline). Dropping the results ends the wait.
    ///
    /// # Errors
    ///
    /// For one job: those of [`ArcInterface::wait_jobs`], and [`Error::JobNotFound`] if its id names no CE of the pool.
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
        let token = CancelToken::new();
        let cancel = token.clone();
        self.stream(ids, Some(token), move |member, ids, tell| wait(&member.with_cancel(&cancel), ids, tell))
    }

    /// Returns the statuses of jobs on any of the CEs: see [`ArcInterface::job_statuses`].
    ///
    /// The other methods for jobs work in the same way.
    ///
    /// # Errors
    ///
    /// For one job: [`Error::JobNotFound`] if its id names no CE of the pool, and the errors of the method of
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
        self.of(id)?.job_status(id)
    }

    /// Returns ARC's states of jobs on any of the CEs: see [`ArcInterface::job_states`].
    pub fn job_states(&self, ids: impl IntoIterator<Item: Borrow<JobId>>) -> PoolResults<JobId, JobState> {
        self.each_job(ids, |arc, ids| arc.job_states(ids))
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
        self.of(id)?.job(id)
    }

    /// Cancels jobs on any of the CEs: see [`ArcInterface::cancel_jobs`].
    pub fn cancel_jobs(&self, ids: impl IntoIterator<Item: Borrow<JobId>>) -> PoolResults<JobId, ()> {
        self.each_job(ids, |arc, ids| arc.cancel_jobs(ids))
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

    /// Renews the credentials of jobs on any of the CEs: see [`ArcInterface::renew_jobs`].
    pub fn renew_jobs(&self, ids: impl IntoIterator<Item: Borrow<JobId>>) -> PoolResults<JobId, Option<SystemTime>> {
        self.each_job(ids, |arc, ids| arc.renew_jobs(ids))
    }

    /// Removes ended jobs from their CEs: see [`ArcInterface::clean_jobs`].
    pub fn clean_jobs(&self, ids: impl IntoIterator<Item: Borrow<JobId>>) -> PoolResults<JobId, ()> {
        self.each_job(ids, |arc, ids| arc.clean_jobs(ids))
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

    /// Lists your jobs on each CE: see [`ArcInterface::list_jobs`]. The items name the URL of the CE.
    pub fn list_jobs(&self) -> PoolResults<String, Vec<JobId>> {
        self.each_ce(ArcInterface::list_jobs)
    }

    /// Finds jobs on each CE: see [`ArcInterface::find_jobs`]. The items name the URL of the CE.
    ///
    /// ```no_run
    /// # fn main() -> jasmin_arc::Result<()> {
    /// # let pool = jasmin_arc::ArcPool::new([jasmin_arc::ArcInterface::builder().build()?])?;
    /// use jasmin_arc::JobFilter;
    ///
    /// for (ce, jobs) in pool.find_jobs(&JobFilter::new()) {
    ///     match jobs {
    ///         Ok(jobs) => println!("{ce} has {} jobs", jobs.len()),
    ///         Err(error) => eprintln!("{ce}: {error}"),
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn find_jobs(&self, filter: &JobFilter) -> PoolResults<String, Vec<JobInfo>> {
        let filter = filter.clone();
        self.each_ce(move |arc| arc.find_jobs(&filter))
    }

    /// Makes the job lists agree with the CEs: see [`ArcInterface::sync_job_list`]. The items name the URL of the CE.
    pub fn sync_job_lists(&self) -> PoolResults<String, SyncedJobList> {
        self.each_ce(ArcInterface::sync_job_list)
    }

    /// Returns what each CE publishes about itself: see [`ArcInterface::service_info`]. The items name the URL of the CE.
    pub fn service_infos(&self) -> PoolResults<String, ServiceInfo> {
        self.each_ce(ArcInterface::service_info)
    }

    /// Checks that each CE can be reached and serves the user: see [`ArcInterface::ping`]. The items name the URL of the CE.
    pub fn pings(&self) -> PoolResults<String, Ping> {
        self.each_ce(ArcInterface::ping)
    }

    /// Finds the job that was submitted with a key, on any of the CEs: see [`ArcInterface::find_submission`].
    ///
    /// Returns as soon as one CE has the job.
    ///
    /// # Errors
    ///
    /// As for [`ArcInterface::find_submission`], if no CE has the job and one of them could not be asked.
    pub fn find_submission(&self, key: &str) -> Result<Option<JobId>> {
        let key = key.to_owned();
        let mut failed = None;
        for (_, found) in self.each_ce(move |arc| arc.find_submission(&key)) {
            match found {
                Ok(Some(id)) => return Ok(Some(id)),
                Ok(None) => {}
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        failed.map_or(Ok(None), Err)
    }

    /// Finds the outcome of every unfinished submission to each CE: see [`ArcInterface::recover`]. The items name the URL of the
    /// CE.
    pub fn recover(&self) -> PoolResults<String, Vec<RecoveredSubmission>> {
        self.each_ce(ArcInterface::recover)
    }

    fn of(&self, id: &JobId) -> Result<&ArcInterface> {
        self.interface_of(id).ok_or_else(|| on_no_ce(id))
    }
}

fn on_no_ce(id: &JobId) -> Error {
    Error::JobNotFound { job_id: id.clone(), message: "it is not the id of a job on any CE of the pool".into() }
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
            failed.as_ref().map_or(status, |error| Some(Err(error.without_source()))).unwrap_or_else(|| Err(lost())),
        );
    }
}

/// Returns one result for each of `count` jobs. If the whole call failed, each has that error.
fn for_each<T>(results: Result<Vec<Result<T>>>, count: usize) -> Vec<Result<T>> {
    let mut results = results.unwrap_or_else(|error| {
        let mut errors: Vec<Result<T>> = (1..count).map(|_| Err(error.without_source())).collect();
        errors.push(Err(error));
        errors
    });
    results.resize_with(count, || Err(Error::Arc { message: "the CE has no result for the job".into() }));
    results
}

#[cfg(test)]
mod tests;
