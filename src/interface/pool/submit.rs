//! Submitting to a pool: each job goes to a CE that it fits and that has free slots, and to the next one if that CE does not
//! take it.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::panic::resume_unwind;
use std::sync::mpsc::channel;
use std::thread::{self, ScopedJoinHandle};
use std::time::{Duration, Instant};

use super::super::ArcInterface;
use super::{ArcPool, for_each};
use crate::description::JobDescription;
use crate::error::{ConnectionFailure, Error, Result};
use crate::job::JobId;
use crate::journal::{Claim, Scope};
use crate::logging::{self, LogLevel};
use crate::matching::mismatches;
use crate::service::ServiceInfo;
use crate::util::lock;

/// How long what a CE has published is used. A-REX publishes once a minute.
const OFFER_TTL: Duration = Duration::from_secs(30);

/// How long a submission waits for CEs that have not published their queues, once every job fits another CE.
const PATIENCE: Duration = Duration::from_secs(3);

/// The pause between two looks at a key that another thread or process is submitting.
const BUSY_PAUSE: Duration = Duration::from_millis(50);

/// What a CE has published, and the slots of the jobs that the pool has submitted since.
#[derive(Clone, Debug)]
pub(super) struct Offer {
    info: ServiceInfo,
    read: Instant,
    assigned: u64,
}

impl Offer {
    /// The slots that are free, less those that jobs wait for. The more, the sooner a job runs.
    fn room(&self) -> i64 {
        let number = |number: Option<u64>| i64::try_from(number.unwrap_or(0)).unwrap_or(i64::MAX);
        let waiting = number(self.info.waiting_jobs).saturating_add(number(self.info.accepted_jobs));
        let taken = waiting.saturating_add(number(Some(self.assigned)));
        number(self.info.free_slots()).saturating_sub(taken)
    }
}

/// What is known of a CE.
enum CeState {
    Offer(Box<Offer>),
    /// It was asked and has not responded yet.
    Pending,
    Away(Error),
}

/// Jobs with the same key, or one job without a key.
struct DistinctJob {
    job: JobDescription,
    /// The places of the job in the arguments.
    indices: Vec<usize>,
    /// The CE whose journal has the key. The job goes there and nowhere else.
    pinned: Option<usize>,
    /// The CEs that have not taken the job.
    refused: Vec<usize>,
    result: Option<Result<JobId>>,
}

impl DistinctJob {
    fn slots(&self) -> u64 {
        u64::from(self.job.slots().unwrap_or(1))
    }
}

impl ArcPool {
    /// Submits a job: [`submit_jobs`](Self::submit_jobs) for one.
    ///
    /// # Errors
    ///
    /// As for [`submit_jobs`](Self::submit_jobs).
    pub fn submit(&self, job: &JobDescription) -> Result<JobId> {
        let missing = || Error::Arc { message: "the submission has no result".into() };
        self.submit_jobs([job]).pop().unwrap_or_else(|| Err(missing()))
    }

    /// Submits jobs to the CEs that they fit, at the same time. The results are in the order of `jobs`.
    ///
    /// A job fits a CE if [`mismatches`](ArcInterface::mismatches) finds none. Of these CEs, each job goes to the one with the
    /// most free slots, less the jobs that wait there and those that the pool has just sent there.
    ///
    /// If the job certainly does not exist on that CE, because the CE refuses it, is away or is not trusted, or because the
    /// credentials for it cannot be used, the job goes to the next CE that it fits. If the answer of the CE is lost, it does
    /// not: the job may exist, and the result is [`Error::SubmissionUnknown`]. Submit it with its key again, and
    /// the pool asks the same CE. A job whose key is in the journal of one of the interfaces always goes to that CE. Programs
    /// that submit the same keys at the same time must use the same first interface, in whose journal they take turns.
    ///
    /// Reads what each CE publishes, with one request to each, unless it was read within the last 30 seconds. A CE that does not
    /// respond within three seconds is left out if every job fits another one. The call returns when the last job has a
    /// result: [`on_created`](crate::ArcInterfaceBuilder::on_created) reports each job as soon as it exists.
    ///
    /// # Errors
    ///
    /// For one job: those of [`ArcInterface::submit_jobs`], of the last CE that did not take it.
    /// [`Error::NoTargetsAvailable`], with the mismatches, if it fits no CE. If it fits none of the CEs that have responded, the
    /// error of one that has not. A job with a key gets an error if the credentials or the journal of an interface cannot be
    /// used, because that journal may have the key.
    ///
    /// ```no_run
    /// # fn main() -> jasmin_arc::Result<()> {
    /// # let pool = jasmin_arc::ArcPool::new([jasmin_arc::ArcInterface::builder().build()?])?;
    /// use jasmin_arc::JobDescription;
    ///
    /// let jobs = (0..100).map(|n| JobDescription::new("/opt/model").with_arg(n.to_string()).with_key(format!("run {n}")));
    /// for submitted in pool.submit_jobs(jobs) {
    ///     println!("{}", submitted?);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn submit_jobs(&self, jobs: impl IntoIterator<Item: Borrow<JobDescription>>) -> Vec<Result<JobId>> {
        let mut distinct_jobs: Vec<DistinctJob> = Vec::new();
        let mut by_key: HashMap<String, usize> = HashMap::new();
        let mut count = 0;
        for (index, job) in jobs.into_iter().enumerate() {
            let job = job.borrow();
            count = index + 1;
            if let Some(first) = job.key().and_then(|key| by_key.get(key)) {
                distinct_jobs[*first].indices.push(index);
                continue;
            }
            by_key.extend(job.key().map(|key| (key.to_owned(), distinct_jobs.len())));
            let result = job.validate().err().map(Err);
            let (job, indices) = (job.clone(), vec![index]);
            distinct_jobs.push(DistinctJob { job, indices, pinned: None, refused: Vec::new(), result });
        }
        let _claims = self.claim_for_pool(&mut distinct_jobs);
        self.pin(&mut distinct_jobs);
        let states = self.offers(&distinct_jobs);
        self.submit_distinct(&mut distinct_jobs, states);
        let mut results: Vec<Option<Result<JobId>>> = (0..count).map(|_| None).collect();
        for distinct in distinct_jobs {
            let result =
                distinct.result.unwrap_or_else(|| Err(Error::Arc { message: "the submission has no result".into() }));
            let (last, others) = distinct.indices.split_last().expect("a distinct job has a place");
            for index in others {
                results[*index] = Some(match &result {
                    Ok(id) => Ok(id.clone()),
                    Err(error) => Err(error.without_source()),
                });
            }
            results[*last] = Some(result);
        }
        results.into_iter().flatten().collect()
    }

    /// Claims the keys in the name of the pool, so that no other thread or process chooses CEs for them meanwhile.
    fn claim_for_pool(&self, distinct_jobs: &mut [DistinctJob]) -> PoolClaims<'_> {
        let first = &self.members[0];
        let mut pool_claims = PoolClaims { first, keys: Vec::new() };
        let begun = Instant::now();
        let limits = first.1.begin();
        let mut waiting: Vec<&mut DistinctJob> = distinct_jobs
            .iter_mut()
            .filter(|distinct| distinct.result.is_none() && distinct.job.key().is_some())
            .collect();
        while !waiting.is_empty() {
            let keys: Vec<String> =
                waiting.iter().filter_map(|distinct| distinct.job.key()).map(str::to_owned).collect();
            let names: Vec<&str> = keys.iter().map(String::as_str).collect();
            let claims = match first.0.journal.claim(&PoolClaims::scope(), &names) {
                Ok(claims) => claims,
                Err(error) => {
                    waiting.into_iter().for_each(|distinct| distinct.result = Some(Err(error.without_source())));
                    break;
                }
            };
            let mut busy = Vec::new();
            for ((distinct, key), claim) in waiting.into_iter().zip(keys).zip(claims) {
                if claim == Claim::Busy { busy.push(distinct) } else { pool_claims.keys.push(key) }
            }
            waiting = busy;
            let is_over = waiting.is_empty() || begun.elapsed() >= first.0.timeout;
            if is_over || limits.sleep(BUSY_PAUSE).is_err() {
                for distinct in waiting {
                    distinct.result = Some(Err(Error::SubmissionUnknown {
                        endpoint: "any CE of the pool".into(),
                        key: distinct.job.key().unwrap_or_default().into(),
                        message: "another thread or process is still submitting it".into(),
                    }));
                }
                break;
            }
        }
        pool_claims
    }

    /// Finds the CEs whose journals have the keys.
    fn pin(&self, distinct_jobs: &mut [DistinctJob]) {
        if !distinct_jobs.iter().any(|distinct| distinct.result.is_none() && distinct.job.key().is_some()) {
            return;
        }
        for (index, member) in self.members.iter().enumerate() {
            let scope = member
                .begin()
                .and_then(|_| member.0.credentials.identity())
                .map(|identity| Scope { endpoint: member.0.endpoint.url(), identity });
            for distinct in
                distinct_jobs.iter_mut().filter(|distinct| distinct.result.is_none() && distinct.pinned.is_none())
            {
                let Some(key) = distinct.job.key() else { continue };
                let looked_up = match &scope {
                    Ok(scope) => member.0.journal.look_up(scope, key),
                    // Without an identity, its journal cannot be searched, and it may have the key.
                    Err(error) => Err(error.without_source()),
                };
                match looked_up {
                    Ok((id, may_exist)) if id.is_some() || may_exist => distinct.pinned = Some(index),
                    Ok(_) => {}
                    Err(error) => distinct.result = Some(Err(error)),
                }
            }
        }
    }

    /// Reads what the CEs offer, at the same time. Does not wait for a CE that does not respond, if each job fits another.
    fn offers(&self, distinct_jobs: &[DistinctJob]) -> Vec<CeState> {
        let mut states: Vec<CeState> = lock(&self.offers)
            .iter()
            .map(|offer| match offer {
                Some(offer) if offer.read.elapsed() < OFFER_TTL => CeState::Offer(Box::new(offer.clone())),
                _ => CeState::Pending,
            })
            .collect();
        let (sender, receiver) = channel();
        let free: Vec<&DistinctJob> =
            distinct_jobs.iter().filter(|distinct| distinct.result.is_none() && distinct.pinned.is_none()).collect();
        if free.is_empty() {
            return states;
        }
        for (index, _) in states.iter().enumerate().filter(|(_, state)| matches!(state, CeState::Pending)) {
            let (member, sender, offers) = (self.members[index].clone(), sender.clone(), self.offers.clone());
            let read = move || {
                let read = Instant::now();
                let offer = member.service_info().map(|info| Offer { info, read, assigned: 0 });
                // A CE that responds late is used by the next submission.
                if let Ok(offer) = &offer {
                    lock(&offers)[index] = Some(offer.clone());
                }
                let _ = sender.send((index, offer));
            };
            let _ = thread::Builder::new().name("jasmin-arc pool".into()).spawn(read);
        }
        drop(sender);
        let begun = Instant::now();
        while states.iter().any(|state| matches!(state, CeState::Pending)) {
            let fits_all = free.iter().all(|distinct| !candidates(&states, &distinct.job).is_empty());
            let received = match fits_all {
                true => receiver.recv_timeout(PATIENCE.saturating_sub(begun.elapsed())).ok(),
                false => receiver.recv().ok(),
            };
            let Some((index, offer)) = received else { break };
            states[index] = offer.map_or_else(CeState::Away, |offer| CeState::Offer(Box::new(offer)));
        }
        states
    }

    /// Submits jobs until each has a result.
    fn submit_distinct(&self, distinct_jobs: &mut [DistinctJob], mut states: Vec<CeState>) {
        loop {
            let mut of_member: Vec<Vec<usize>> = self.members.iter().map(|_| Vec::new()).collect();
            for (index, distinct) in
                distinct_jobs.iter_mut().enumerate().filter(|(_, distinct)| distinct.result.is_none())
            {
                match self.choose(distinct, &mut states) {
                    Ok(member) => of_member[member].push(index),
                    Err(error) => distinct.result = Some(Err(error)),
                }
            }
            let chosen: Vec<(usize, Vec<usize>)> =
                of_member.into_iter().enumerate().filter(|(_, indices)| !indices.is_empty()).collect();
            if chosen.is_empty() {
                break;
            }
            let submit = |(member, indices): &(usize, Vec<usize>)| {
                let jobs: Vec<JobDescription> = indices.iter().map(|index| distinct_jobs[*index].job.clone()).collect();
                for_each(self.members[*member].submit_jobs(&jobs), jobs.len())
            };
            let submitted = in_threads(&chosen, submit);
            for ((member, indices), results) in chosen.into_iter().zip(submitted) {
                for (index, result) in indices.into_iter().zip(results) {
                    self.settle(&mut distinct_jobs[index], member, result, &mut states);
                }
            }
        }
    }

    /// Chooses the CE for a job.
    fn choose(&self, distinct: &DistinctJob, states: &mut [CeState]) -> Result<usize> {
        if let Some(member) = distinct.pinned {
            return Ok(member);
        }
        let mut candidates = candidates(states, &distinct.job);
        candidates.retain(|(member, _)| !distinct.refused.contains(member));
        // Of equal ones the first.
        let best = candidates.into_iter().rev().max_by_key(|(_, room)| *room);
        let Some((member, _)) = best else { return Err(self.no_ce_fits(distinct, states)) };
        self.assign(member, states, |assigned| assigned.saturating_add(distinct.slots()));
        Ok(member)
    }

    /// Changes the slots that the pool has assigned to a CE.
    fn assign(&self, member: usize, states: &mut [CeState], change: impl Fn(u64) -> u64) {
        if let CeState::Offer(offer) = &mut states[member] {
            offer.assigned = change(offer.assigned);
        }
        if let Some(offer) = &mut lock(&self.offers)[member] {
            offer.assigned = change(offer.assigned);
        }
    }

    /// Records the result of a job, or that it goes to the next CE.
    fn settle(&self, distinct: &mut DistinctJob, member: usize, result: Result<JobId>, states: &mut [CeState]) {
        let error = match result {
            Err(error) if distinct.pinned.is_none() && does_not_exist(&error) => error,
            result => {
                distinct.result = Some(result);
                return;
            }
        };
        self.assign(member, states, |assigned| assigned.saturating_sub(distinct.slots()));
        let endpoint = &self.members[member].0.endpoint;
        {
            let _entered = self.members[member].0.log.enter();
            logging::log(LogLevel::Info, format!("{endpoint} has not taken the job, trying another CE: {error}"));
        }
        distinct.refused.push(member);
        let has_another =
            candidates(states, &distinct.job).iter().any(|(candidate, _)| !distinct.refused.contains(candidate));
        if !has_another {
            distinct.result = Some(Err(error));
        }
    }

    /// The error of a job that fits no CE that has responded.
    fn no_ce_fits(&self, distinct: &DistinctJob, states: &[CeState]) -> Error {
        let mut reasons = Vec::new();
        for (member, state) in self.members.iter().zip(states) {
            let endpoint = member.0.endpoint.url();
            match state {
                // The job may fit it, so this is no answer.
                CeState::Away(error) => return error.without_source(),
                CeState::Pending => {
                    let (failure, message) =
                        (ConnectionFailure::TimedOut, "the CE has not responded to the request for its queues".into());
                    return Error::Connection { endpoint, failure, message, source: None };
                }
                CeState::Offer(offer) => {
                    let mut texts: Vec<String> =
                        mismatches(&distinct.job, &offer.info).iter().map(ToString::to_string).collect();
                    if offer.info.queues.is_empty() {
                        texts.push("the CE publishes no queue".into());
                    }
                    reasons.push(format!("{endpoint}: {}", texts.join(", ")));
                }
            }
        }
        Error::NoTargetsAvailable { endpoint: "any CE of the pool".into(), message: reasons.join("; ") }
    }
}

/// Runs work on each item in a thread of its own. Waits for all of them.
fn in_threads<I: Sync, T: Send>(items: &[I], work: impl Fn(&I) -> T + Sync) -> Vec<T> {
    let work = &work;
    thread::scope(|scope| {
        let start = |item| thread::Builder::new().spawn_scoped(scope, move || work(item)).map_err(|_| item);
        let threads: Vec<_> = items.iter().map(start).collect();
        let finish = |thread: Result<ScopedJoinHandle<'_, T>, &I>| match thread {
            Ok(thread) => thread.join().unwrap_or_else(|panic| resume_unwind(panic)),
            // There can be no other thread.
            Err(item) => work(item),
        };
        threads.into_iter().map(finish).collect()
    })
}

/// The CEs that a job fits, and how much room they have.
fn candidates(states: &[CeState], job: &JobDescription) -> Vec<(usize, i64)> {
    let candidate = |(index, state): (usize, &CeState)| match state {
        CeState::Offer(offer) if !offer.info.queues.is_empty() && mismatches(job, &offer.info).is_empty() => {
            Some((index, offer.room()))
        }
        _ => None,
    };
    states.iter().enumerate().filter_map(candidate).collect()
}

/// Whether an error of a submission means that the job does not exist, and another CE may take it.
fn does_not_exist(error: &Error) -> bool {
    matches!(
        error,
        Error::JobSubmission { job_id: None, .. }
            | Error::JobLimit { .. }
            | Error::Refused { .. }
            | Error::NoTargetsAvailable { .. }
            | Error::Connection { .. }
            | Error::Untrusted { .. }
            | Error::Unsupported { .. }
            | Error::InvalidConfig { .. }
            | Error::ProxyGeneration { .. }
            | Error::Passphrase { .. }
            | Error::Token { .. }
    )
}

/// The keys for which this call chooses CEs. Given back when the call ends.
struct PoolClaims<'a> {
    first: &'a ArcInterface,
    keys: Vec<String>,
}

impl PoolClaims<'_> {
    /// The pool has a scope of its own in the journal of the first interface.
    fn scope() -> Scope {
        Scope { endpoint: "pool".into(), identity: String::new() }
    }
}

impl Drop for PoolClaims<'_> {
    fn drop(&mut self) {
        let keys: Vec<&str> = self.keys.iter().map(String::as_str).collect();
        if keys.is_empty() {
            return;
        }
        if let Err(error) = self.first.0.journal.forget(&PoolClaims::scope(), &keys) {
            logging::log(LogLevel::Warning, error.to_string());
        }
    }
}
