//! [`ArcPool`]: several CEs as one.
//!
//! An operation on ids goes to the CE that each id names, to all CEs at the same time (`jobs.rs`). `submit.rs` chooses CEs for
//! jobs, and `results.rs` returns results as they come.

mod jobs;
mod results;
mod submit;

use std::borrow::Borrow;
use std::sync::{Arc, Mutex};
use std::time::Duration;

pub use self::results::PoolResults;
use self::results::{Tell, Work};
use self::submit::Offer;
use super::{ArcInterface, RecoveredSubmission, SyncedJobList, owned};
use crate::description::JobDescription;
use crate::error::{Error, Result};
use crate::job::{JobFilter, JobId, JobInfo};
use crate::limits::{CancelOnDrop, CancelToken};
use crate::matching::Mismatch;
use crate::service::{Ping, ServiceInfo};

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
/// [`watch`](Self::watch) is a [`Watch`](crate::Watch) of jobs on several CEs.
///
/// The type is cheap to clone, and any number of threads can use it. Each interface keeps its own configuration,
/// credentials, journal and log. Everything else that an interface can do for a job is available through
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

    /// Returns the interface to the CE that an id names. It has everything that an interface can do for a job.
    ///
    /// An id without a host, such as `0a1b2c`, names no CE, unless the pool has only one.
    ///
    /// # Errors
    ///
    /// [`Error::JobNotFound`] if the id names no CE of the pool.
    ///
    /// ```no_run
    /// # fn main() -> jasmin_arc::Result<()> {
    /// # let pool = jasmin_arc::ArcPool::new([jasmin_arc::ArcInterface::builder().build()?])?;
    /// # let id = jasmin_arc::JobId::from("");
    /// println!("{id} is a job on {}", pool.interface_of(&id)?.config().arc_server());
    /// # Ok(())
    /// # }
    /// ```
    pub fn interface_of(&self, id: &JobId) -> Result<&ArcInterface> {
        self.index_of(id).map(|index| &self.members[index]).ok_or_else(|| on_no_ce(id))
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
        stop: Option<CancelOnDrop>,
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
        work.results(stop)
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

    /// Finds out on each CE why a job does not fit it: see [`ArcInterface::mismatches`]. The items name the URL of the CE.
    ///
    /// [`submit`](Self::submit) does this by itself.
    pub fn mismatches(&self, job: &JobDescription) -> PoolResults<String, Vec<Mismatch>> {
        let job = job.clone();
        self.each_ce(move |arc| arc.mismatches(&job))
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
}

/// Begins with [`OTHER_CE`](crate::error::OTHER_CE).
const ON_NO_CE: &str = "it is not the id of a job on any CE of the pool";

fn on_no_ce(id: &JobId) -> Error {
    Error::JobNotFound { job_id: id.clone(), message: ON_NO_CE.into() }
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
