//! Looks up the current states and details of jobs.
//!
//! A-REX has two sources. `action=status` and `action=info` return what its information provider published up to a
//! minute ago. A-REX's own record is current: `diagnose/status` returns it for one job, `GET jobs?state=` for all jobs
//! of the user. The record does not distinguish queued jobs from running ones. Only the information provider does, so
//! this module merges the two. A job that A-REX has passed to the batch system after the last run of the provider is in the
//! queue, for all that is known, unless A-REX runs jobs without a batch system.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::activity;
use super::diagnostics;
use super::info;
use super::jobs::{self, Item, act};
use super::record::{MissingInputs, diagnose, missing_inputs};
use super::session::{Pool, Repeat, Response};
use super::state::{RestState, jobs_in_any_state};
use crate::backend::failure::{Failure, JobFailure};
use crate::error::Operation;
use crate::job::diagnostics::read_usage;
use crate::job::{Freshness, JobInfo, ResourceUsage};
use crate::logging::{LogLevel, log};
use crate::util::lock;

/// Up to this number of jobs, the record is looked up job by job without comparing costs.
const MAX_SINGLE_LOOKUPS: usize = 16;

/// A list of all jobs of the user that was not measured may take this time, or that of single look-ups. It is tried when single
/// look-ups have taken as long, so a program that makes one call for some jobs never pays for the other jobs on the CE.
const TRIAL: Duration = Duration::from_millis(250);

/// The batch system that is none: A-REX starts the jobs itself, at once.
const NO_BATCH_SYSTEM: &str = "fork";

/// How long the name of the batch system stays valid.
const BATCH_SYSTEM_TTL: Duration = Duration::from_secs(3600);

/// How long to wait if the CE does not tell it.
const NO_NAME_TTL: Duration = Duration::from_secs(60);

/// How long a measured cost stays valid.
const COST_TTL: Duration = Duration::from_secs(300);

/// How long a published state that is not final is not asked for again. The information provider runs about once a minute.
const PUBLISHED_TTL: Duration = Duration::from_secs(10);

/// How long a final state of a job that was restarted is looked up in A-REX's record. The information provider needs a
/// minute, and more on a busy CE.
const RESTART_TTL: Duration = Duration::from_secs(900);

/// The pause before a repeated look-up of a job that A-REX may be moving between its control directories.
const SETTLE_PAUSE: Duration = Duration::from_millis(100);

/// The maximum number of repeated look-ups of a job whose state A-REX could not determine.
const MAX_SETTLE_ATTEMPTS: usize = 10;

/// The maximum number of repeated look-ups of a job that A-REX reports as removed. It is lower than
/// [`MAX_SETTLE_ATTEMPTS`], because every look-up of a job that really has been removed costs these repetitions.
const MAX_WIPED_ATTEMPTS: usize = 2;

/// The state of a job and how current it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Observed {
    pub(super) state: RestState,
    pub(super) freshness: Freshness,
}

/// What look-ups on this CE remember.
#[derive(Debug, Default)]
pub(super) struct Costs {
    /// The last measured costs of the two ways to look up A-REX's record.
    measured: Mutex<Measured>,
    /// The jobs that were restarted, and when.
    restarted: Mutex<HashMap<String, Instant>>,
    /// The published states that are not final, and when they were read.
    published: Mutex<HashMap<String, (RestState, Instant)>>,
    /// Whether there is a batch system with a queue, and until when this is known.
    has_queue: Mutex<Option<(bool, Instant)>>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Measured {
    /// The time of a look-up of many jobs with one request each, divided by their number, and when it was measured.
    single: Option<(Duration, Instant)>,
    /// The time that single look-ups have taken since the list was measured.
    spent: Duration,
    /// The time to get the list of all jobs of the user, and when it was measured.
    list: Option<(Duration, Instant)>,
}

impl Costs {
    /// Remembers that jobs were restarted, and forgets those that were restarted long ago.
    pub(super) fn restarted<'a>(&self, ids: impl IntoIterator<Item = &'a str>) {
        let mut restarted = lock(&self.restarted);
        restarted.retain(|_, when| when.elapsed() < RESTART_TTL);
        let mut published = lock(&self.published);
        for id in ids {
            published.remove(id);
            restarted.insert(id.to_owned(), Instant::now());
        }
    }

    /// Whether a final state that the CE has published may be the one before a restart.
    pub(super) fn was_restarted(&self, id: &str) -> bool {
        lock(&self.restarted).get(id).is_some_and(|when| when.elapsed() < RESTART_TTL)
    }

    /// The states of jobs that were published lately. Their jobs had not ended.
    fn published_lately<'a>(&self, ids: &[&'a str]) -> Vec<(&'a str, RestState)> {
        let mut published = lock(&self.published);
        published.retain(|_, (_, when)| when.elapsed() < PUBLISHED_TTL);
        ids.iter().filter_map(|id| Some((*id, published.get(*id)?.0.clone()))).collect()
    }

    /// Remembers published states that are not final.
    pub(super) fn were_published(&self, states: &[(&str, RestState)]) {
        let now = Instant::now();
        let unfinished = states.iter().filter(|(_, state)| !state.is_final() && !state.is_unsettled());
        lock(&self.published).extend(unfinished.map(|(id, state)| ((*id).to_owned(), (state.clone(), now))));
    }

    /// Whether jobs that A-REX has started may wait in a queue. True if the CE does not tell.
    ///
    /// The name of the batch system is in the GLUE2 document. It is also in A-REX's file `local` of each job, but that is
    /// not safe to read while the job runs (see `local_record`), and costs a request for each job.
    pub(super) fn has_queue(&self, pool: &Pool) -> Result<bool, Failure> {
        if let Some((known, _)) = (*lock(&self.has_queue)).filter(|(_, until)| Instant::now() < *until) {
            return Ok(known);
        }
        let name = match info::service(pool) {
            Ok(service) => service.batch_system,
            Err(failure @ (Failure::Exiting | Failure::Cancelled { .. } | Failure::Deadline { .. })) => {
                return Err(failure);
            }
            Err(failure) => {
                log(LogLevel::Verbose, failure.into_error(pool.endpoint()).to_string());
                None
            }
        };
        let has_queue = name.as_deref() != Some(NO_BATCH_SYSTEM);
        let ttl = if name.is_some() { BATCH_SYSTEM_TTL } else { NO_NAME_TTL };
        *lock(&self.has_queue) = Some((has_queue, Instant::now() + ttl));
        Ok(has_queue)
    }

    fn update(&self, change: impl FnOnce(&mut Measured)) {
        change(&mut lock(&self.measured));
    }

    /// Records how long the list of all jobs of the user took.
    pub(super) fn list_took(&self, time: Duration) {
        self.update(|measured| (measured.list, measured.spent) = (Some((time, Instant::now())), Duration::ZERO));
    }

    /// Records how long `count` single look-ups took.
    fn singles_took(&self, time: Duration, count: usize) {
        self.update(|measured| {
            measured.single = Some((time.div_f64(count as f64), Instant::now()));
            measured.spent += time;
        });
    }

    fn are_singles_unknown(&self) -> bool {
        recent(lock(&self.measured).single).is_none()
    }

    /// Whether to get the list of all jobs of the user instead of `count` single look-ups: it takes at most `cheap`, is
    /// cheaper than they are, or there is no recent measurement.
    pub(super) fn list_pays(&self, count: usize, cheap: Duration) -> bool {
        let measured = *lock(&self.measured);
        let Some(list) = recent(measured.list) else { return true };
        list <= cheap || recent(measured.single).is_some_and(|single| list < times(single, count))
    }

    /// How long a list of all jobs of the user may take instead of `count` single look-ups. `None` if it is, or may be, more
    /// expensive than they are.
    fn time_for_list(&self, count: usize) -> Option<Duration> {
        let measured = *lock(&self.measured);
        let singles = times(recent(measured.single)?, count);
        let pays = match recent(measured.list) {
            Some(list) => list < singles,
            None => measured.spent + singles >= TRIAL,
        };
        pays.then(|| singles.max(TRIAL))
    }
}

fn recent(cost: Option<(Duration, Instant)>) -> Option<Duration> {
    cost.filter(|(_, when)| when.elapsed() < COST_TTL).map(|(cost, _)| cost)
}

fn times(duration: Duration, count: usize) -> Duration {
    duration.saturating_mul(u32::try_from(count).unwrap_or(u32::MAX))
}

/// Looks up the current states of jobs, in the order of `ids`.
pub(super) fn states(pool: &Pool, costs: &Costs, ids: &[&str]) -> Result<Vec<Result<Observed, JobFailure>>, Failure> {
    let mut states = merged_states(pool, costs, ids)?;
    for attempt in 0..MAX_SETTLE_ATTEMPTS {
        let must_settle =
            |state: &RestState| state.is_unsettled() && (*state != RestState::Wiped || attempt < MAX_WIPED_ATTEMPTS);
        let moving: Vec<usize> = (0..ids.len())
            .filter(|index| matches!(&states[*index], Ok(observed) if must_settle(&observed.state)))
            .collect();
        if moving.is_empty() {
            break;
        }
        pool.limits().sleep(SETTLE_PAUSE)?;
        let again: Vec<&str> = moving.iter().map(|index| ids[*index]).collect();
        for (index, state) in moving.into_iter().zip(merged_states(pool, costs, &again)?) {
            states[index] = state;
        }
    }
    Ok(states)
}

/// Lists all jobs of the user with their states by A-REX's own record. Costs one request, for which A-REX opens the records
/// of all jobs.
pub(super) fn listed_states(pool: &Pool) -> Result<HashMap<String, RestState>, Failure> {
    states_in(&pool.request(Repeat::Safe, "GET", &jobs_in_any_state(), b"")?)
}

/// Reads the response to `GET jobs?state=`: the states of jobs by A-REX's own ids.
pub(super) fn states_in(response: &Response) -> Result<HashMap<String, RestState>, Failure> {
    if response.code != 200 {
        return Err(response.refusal());
    }
    Ok(jobs::parse(&response.body)?.into_iter().map(|item| (item.id, RestState::parse(&item.state))).collect())
}

fn merged_states(pool: &Pool, costs: &Costs, ids: &[&str]) -> Result<Vec<Result<Observed, JobFailure>>, Failure> {
    let published = costs.published_lately(ids);
    let recorded = recorded_states(pool, costs, &published)?;
    let is_settled = |state: &&RestState| !state.is_unsettled();
    let one = |(id, published): (_, RestState)| {
        let recorded = recorded.get(id).filter(is_settled)?;
        let observed = newer(published, Some(recorded.clone()), || costs.has_queue(pool));
        Some(observed.map(|observed| (id, observed)))
    };
    let known: HashMap<&str, Observed> = published.into_iter().filter_map(one).collect::<Result<_, Failure>>()?;
    let others: Vec<&str> = ids.iter().copied().filter(|id| !known.contains_key(id)).collect();
    let mut others = published_and_recorded_states(pool, costs, &others)?.into_iter();
    let left_out = || Err(Failure::invalid_response("the response leaves out a job").into());
    Ok(ids.iter().map(|id| known.get(id).cloned().map_or_else(|| others.next().unwrap_or_else(left_out), Ok)).collect())
}

fn published_and_recorded_states(
    pool: &Pool,
    costs: &Costs,
    ids: &[&str],
) -> Result<Vec<Result<Observed, JobFailure>>, Failure> {
    let items = act(pool, "status", ids)?;
    let known = items.iter().flatten().filter(|item| item.code == 200);
    let published: Vec<(&str, RestState)> =
        known.map(|item| (item.id.as_str(), RestState::parse(&item.state))).collect();
    costs.were_published(&published);
    let mut recorded = recorded_states(pool, costs, &published)?;
    let one = |item: Result<Item, Failure>| {
        let item = item?;
        match item.code {
            200 => Ok(newer(RestState::parse(&item.state), recorded.remove(&item.id), || costs.has_queue(pool))?),
            _ => Err(item.failure(Operation::LookUp)),
        }
    };
    Ok(items.into_iter().map(one).collect())
}

/// Whether jobs have neither ended nor begun to be cancelled, by A-REX's own record, in the order of `ids`.
///
/// True for a job without a record, because A-REX may be moving it.
pub(super) fn without_cancellation(pool: &Pool, costs: &Costs, ids: &[&str]) -> Result<Vec<bool>, Failure> {
    let unknown: Vec<(&str, RestState)> = ids.iter().map(|id| (*id, RestState::Undefined)).collect();
    let recorded = recorded_states(pool, costs, &unknown)?;
    let is_cancelled = |state: &RestState| {
        matches!(state, RestState::Killing | RestState::Finishing) || state.is_final() && !state.is_unsettled()
    };
    Ok(ids.iter().map(|id| !recorded.get(*id).is_some_and(is_cancelled)).collect())
}

/// Looks up the details of jobs with their current states, in the order of `ids`. The id in each result is A-REX's own.
pub(super) fn infos(pool: &Pool, costs: &Costs, ids: &[&str]) -> Result<Vec<Result<JobInfo, JobFailure>>, Failure> {
    let mut items = HashMap::with_capacity(ids.len());
    for chunk in ids.chunks(jobs::CHUNK) {
        let response = pool.request(Repeat::Safe, "POST", "jobs?action=info", &jobs::list(chunk))?;
        if response.code != 201 {
            return Err(response.refusal());
        }
        items.extend(activity::parse(&response.body)?.into_iter().map(|item| (item.id.clone(), item)));
    }
    let published: Vec<(&str, RestState)> =
        items.values().filter(|item| item.info.is_some()).map(|item| (item.id.as_str(), item.state.clone())).collect();
    costs.were_published(&published);
    let mut recorded = recorded_states(pool, costs, &published)?;
    let mut merge = |(id, state): (&str, RestState)| {
        Ok((id.to_owned(), newer(state, recorded.remove(id), || costs.has_queue(pool))?))
    };
    let mut observed: HashMap<String, Observed> =
        published.into_iter().map(&mut merge).collect::<Result<_, Failure>>()?;
    let unsettled: Vec<String> =
        observed.iter().filter(|(_, observed)| observed.state.is_unsettled()).map(|(id, _)| id.clone()).collect();
    let asked: Vec<&str> = unsettled.iter().map(String::as_str).collect();
    for (id, settled) in unsettled.iter().zip(states(pool, costs, &asked)?) {
        observed.extend(settled.ok().map(|settled| (id.clone(), settled)));
    }
    let mut ended = Vec::new();
    let mut waiting = Vec::new();
    for item in items.values_mut() {
        let (Some(info), Some(observed)) = (&mut item.info, observed.remove(&item.id)) else { continue };
        // A job that was cancelled early is published as failed without a reason at first.
        let mut is_incomplete = !item.state.is_final() || item.state == RestState::Failed && info.errors.is_empty();
        if item.state.is_final() && costs.was_restarted(&item.id) {
            forget_ending(info);
            is_incomplete = true;
        }
        set_state(info, &observed);
        if matches!(observed.state, RestState::Accepting | RestState::Accepted | RestState::Preparing) {
            waiting.push(item.id.clone());
        }
        if observed.state.is_final() && is_incomplete {
            ended.push((item.id.clone(), observed.state == RestState::Finished));
        }
    }
    let missing = pool.in_parallel(&waiting, |id| missing_inputs(pool, id));
    for (id, missing) in waiting.iter().zip(missing) {
        let info = items.get_mut(id).and_then(|item| item.info.as_mut());
        if let (Some(info), MissingInputs::Files(missing)) = (info, missing?) {
            info.missing_inputs = missing;
        }
    }
    // These jobs ended after the last run of the information provider, so their exit codes and errors are not published
    // yet.
    let endings = pool.in_parallel(&ended, |(id, succeeded)| ending(pool, id, *succeeded));
    for ((id, _), ending) in ended.iter().zip(endings) {
        let info = items.get_mut(id).and_then(|item| item.info.as_mut());
        let (Some(info), Ok((usage, failure))) = (info, ending) else { continue };
        use_recorded(info, usage);
        if RestState::failed_because(&failure) == RestState::Killed {
            set_state(info, &Observed { state: RestState::Killed, freshness: Freshness::Current });
        }
        for line in failure.lines().map(str::trim).filter(|line| !line.is_empty()) {
            if !info.errors.iter().any(|known| known == line) {
                info.errors.push(line.into());
            }
        }
    }
    diagnostics::look_up_killers(pool, items.values_mut().filter_map(|item| item.info.as_deref_mut()));
    let details = items.values_mut().filter_map(|item| item.info.as_deref_mut());
    diagnostics::look_up_failed_files(pool, details);
    let one = |id: &&str| match items.get(*id) {
        Some(activity::Item { info: Some(info), .. }) => Ok((**info).clone()),
        Some(item) if item.code == 404 => Err(JobFailure::NotFound),
        // A code other than 404 does not mean that the job does not exist.
        Some(item) => {
            Err(JobFailure::Refused { operation: Operation::LookUp, message: format!("{} {}", item.code, item.reason) })
        }
        None => Err(Failure::invalid_response(format!("the response leaves out job {id}")).into()),
    };
    Ok(ids.iter().map(one).collect())
}

/// Removes what the CE has published about the end of a job that was restarted since.
pub(super) fn forget_ending(info: &mut JobInfo) {
    info.exit_code = None;
    info.batch_exit_code = None;
    info.failed_stage = None;
    info.errors.clear();
    info.end_time = None;
    info.batch_end_time = None;
    info.erase_time = None;
}

pub(super) fn set_state(info: &mut JobInfo, observed: &Observed) {
    info.state = observed.state.arc_state();
    info.native_state = observed.state.to_string();
    info.freshness = observed.freshness;
}

/// Looks up A-REX's own record of those jobs whose published state is not final or may be the one before a restart.
fn recorded_states(
    pool: &Pool,
    costs: &Costs,
    published: &[(&str, RestState)],
) -> Result<HashMap<String, RestState>, Failure> {
    let may_change = |(id, state): &&(&str, RestState)| !state.is_final() || costs.was_restarted(id);
    let pending: Vec<&str> = published.iter().filter(may_change).map(|(id, _)| *id).collect();
    let mut found = HashMap::with_capacity(pending.len());
    let mut rest = &pending[..];
    if rest.len() > MAX_SINGLE_LOOKUPS && costs.are_singles_unknown() {
        let (some, others) = rest.split_at(MAX_SINGLE_LOOKUPS);
        look_up_each(pool, costs, some, &mut found)?;
        rest = others;
    }
    let time = if rest.len() > MAX_SINGLE_LOOKUPS { costs.time_for_list(rest.len()) } else { None };
    if let Some(time) = time {
        let limited = pool.with_limits(pool.limits().within(time));
        let begun = Instant::now();
        let response = limited.request(Repeat::Never, "GET", &jobs_in_any_state(), b"");
        costs.list_took(begun.elapsed());
        match response {
            Ok(response) if response.code == 200 => {
                found.extend(states_in(&response)?);
                return Ok(found);
            }
            Ok(response) => log(LogLevel::Verbose, response.refusal().into_error(pool.endpoint()).to_string()),
            Err(Failure::Exiting) => return Err(Failure::Exiting),
            // If the CE has too many jobs to list them in time, single look-ups can still succeed.
            Err(failure) => log(LogLevel::Verbose, failure.into_error(pool.endpoint()).to_string()),
        }
    }
    look_up_each(pool, costs, rest, &mut found)?;
    Ok(found)
}

/// Looks up A-REX's own record of jobs with one or two requests each.
pub(super) fn look_up_each(
    pool: &Pool,
    costs: &Costs,
    ids: &[&str],
    found: &mut HashMap<String, RestState>,
) -> Result<(), Failure> {
    if ids.is_empty() {
        return Ok(());
    }
    let begun = Instant::now();
    let states = pool.in_parallel(ids, |id| recorded_state(pool, id));
    costs.singles_took(begun.elapsed(), ids.len());
    for (id, state) in ids.iter().zip(states) {
        if let Some(state) = state? {
            found.insert((*id).to_owned(), state);
        }
    }
    Ok(())
}

/// Looks up the state in A-REX's own record. `None` if there is none, or one that is unknown.
pub(super) fn recorded_state(pool: &Pool, id: &str) -> Result<Option<RestState>, Failure> {
    let Some(status) = diagnose(pool, id, "status")? else { return Ok(None) };
    RestState::from_record(&status, || diagnose(pool, id, "failed"))
}

/// Looks up the resources that a job has used that has ended, and A-REX's reason for its failure (empty if it succeeded).
fn ending(pool: &Pool, id: &str, succeeded: bool) -> Result<(ResourceUsage, String), Failure> {
    let usage = read_usage(diagnose(pool, id, "diag")?.unwrap_or_default().lines());
    let failure = if succeeded { None } else { diagnose(pool, id, "failed")? };
    Ok((usage, failure.unwrap_or_default()))
}

/// Sets what A-REX has recorded about the end of a job and not published yet, as it will publish it (`ARC1ClusterInfo.pm`).
fn use_recorded(info: &mut JobInfo, usage: ResourceUsage) {
    info.exit_code = usage.exit_code.or(info.exit_code);
    let slots = info.requested_slots.unwrap_or(1).max(1);
    info.used_wall_time = usage.wall_time.and_then(|time| time.checked_mul(slots)).or(info.used_wall_time);
    let cpu_time = usage.user_time.zip(usage.kernel_time).and_then(|(user, kernel)| user.checked_add(kernel));
    info.used_cpu_time = cpu_time.or(info.used_cpu_time);
    if info.execution_nodes.is_empty() {
        info.execution_nodes = usage.nodes;
    }
}

/// Returns the newer of two states of a job. That is the recorded one, except for a job in the batch system: only the
/// published state distinguishes queued from running. `has_queue` tells whether a job that is not published as one of them
/// may be queued.
pub(super) fn newer<E>(
    published: RestState,
    recorded: Option<RestState>,
    has_queue: impl Fn() -> Result<bool, E>,
) -> Result<Observed, E> {
    let current = |state| Observed { state, freshness: Freshness::Current };
    let as_published = |state| Observed { state, freshness: Freshness::Published };
    Ok(match recorded.filter(|recorded| *recorded == RestState::Wiped || !recorded.is_unsettled()) {
        // A final state no longer changes, so it is current even if it was published earlier.
        None if published.is_final() => current(published),
        None => as_published(published),
        Some(RestState::Running) if published.is_in_batch_system() => as_published(published),
        Some(RestState::Running) if has_queue()? => as_published(RestState::Queuing),
        Some(RestState::Killing) => current(killing(&published, &has_queue)?),
        Some(recorded) => current(recorded),
    })
}

/// The state of a job that is being cancelled. One that was queued does not run.
fn killing<E>(published: &RestState, has_queue: impl Fn() -> Result<bool, E>) -> Result<RestState, E> {
    let was_queued = match published {
        RestState::Queuing => true,
        // A-REX publishes this state after the previous one, which it does not tell.
        RestState::Killing => false,
        published => !published.is_in_batch_system() && has_queue()?,
    };
    Ok(if was_queued { RestState::KillingQueued } else { RestState::Killing })
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;
    use crate::job::ArcState;

    #[test]
    fn a_list_pays_unless_it_is_slower_than_single_look_ups() {
        let second = Duration::from_secs(1);
        let costs = Costs::default();
        assert!(costs.list_pays(2, second), "the list must be measured");
        costs.list_took(second);
        assert!(costs.list_pays(2, second));
        costs.list_took(4 * second);
        assert!(!costs.list_pays(1000, second), "single look-ups must be measured");
        costs.update(|measured| measured.single = Some((second / 40, Instant::now())));
        assert!(!costs.list_pays(160, second));
        assert!(costs.list_pays(161, second));
        let stale = Instant::now().checked_sub(COST_TTL);
        costs.update(|measured| measured.list = stale.map(|at| (4 * second, at)));
        assert!(costs.list_pays(2, second), "the list must be measured again");
    }

    #[test]
    fn recorded_states_replace_published_ones_except_in_the_batch_system() {
        let state = |name: &str| RestState::parse(name);
        // A CE that runs jobs at once. Only an unpublished job in the batch system depends on it.
        let newer = |published: &str, recorded: Option<&str>| {
            newer(state(published), recorded.map(state), || Ok::<_, Infallible>(false)).unwrap()
        };
        let check = |observed: Observed, name: &str, freshness| {
            assert_eq!(observed, Observed { state: state(name), freshness });
        };
        check(newer("QUEUING", None), "QUEUING", Freshness::Published);
        check(newer("QUEUING", Some("RUNNING")), "QUEUING", Freshness::Published);
        check(newer("HELD", Some("RUNNING")), "HELD", Freshness::Published);
        check(newer("PREPARING", Some("RUNNING")), "RUNNING", Freshness::Current);
        check(newer("RUNNING", Some("FINISHED")), "FINISHED", Freshness::Current);
        check(newer("ACCEPTING", Some("KILLED")), "KILLED", Freshness::Current);
        check(newer("RUNNING", Some("None")), "RUNNING", Freshness::Published);
        check(newer("FINISHED", None), "FINISHED", Freshness::Current);
        assert!(newer("None", None).state.is_unsettled() && newer("", Some("None")).state.is_unsettled());
        assert!(newer("ACCEPTING", Some("WIPED")).state.is_unsettled() && newer("WIPED", None).state.is_unsettled());
        check(newer("WIPED", Some("PREPARING")), "PREPARING", Freshness::Current);
    }

    #[test]
    fn published_states_that_may_change_are_not_asked_for_again_at_once() {
        let costs = Costs::default();
        let states = ["RUNNING", "FINISHED", "None"].map(|state| (state, RestState::parse(state)));
        costs.were_published(&states);
        assert_eq!(costs.published_lately(&["RUNNING", "FINISHED", "None", "other"]), states[..1]);
        let past = Instant::now().checked_sub(PUBLISHED_TTL).expect("a past");
        lock(&costs.published).values_mut().for_each(|(_, when)| *when = past);
        assert!(costs.published_lately(&["RUNNING"]).is_empty() && lock(&costs.published).is_empty());
    }

    #[test]
    fn jobs_are_queued_until_a_batch_system_is_known_to_run_them() {
        let state_of = |published: &str, recorded: &str, has_queue: bool| {
            let [published, recorded] = [published, recorded].map(RestState::parse);
            newer(published, Some(recorded), || Ok::<_, Infallible>(has_queue)).unwrap().state.arc_state()
        };
        for (published, recorded, with_queue, without) in [
            ("SUBMITTING", "RUNNING", ArcState::Queuing, ArcState::Running),
            ("QUEUING", "RUNNING", ArcState::Queuing, ArcState::Queuing),
            ("RUNNING", "RUNNING", ArcState::Running, ArcState::Running),
            ("OTHER", "RUNNING", ArcState::Running, ArcState::Running),
            ("ACCEPTED", "KILLING", ArcState::Queuing, ArcState::Running),
            ("QUEUING", "KILLING", ArcState::Queuing, ArcState::Queuing),
            ("HELD", "KILLING", ArcState::Running, ArcState::Running),
            ("RUNNING", "KILLING", ArcState::Running, ArcState::Running),
            ("KILLING", "KILLING", ArcState::Running, ArcState::Running),
            ("SUBMITTING", "FINISHING", ArcState::Finishing, ArcState::Finishing),
        ] {
            assert_eq!(state_of(published, recorded, true), with_queue, "{published} {recorded}");
            assert_eq!(state_of(published, recorded, false), without, "{published} {recorded}");
        }
        assert_eq!(
            newer(RestState::Queuing, Some(RestState::Killing), || Err(())).unwrap().state.to_string(),
            "KILLING"
        );
        assert_eq!(newer(RestState::Accepted, Some(RestState::Running), || Err(())), Err(()));
    }

    #[test]
    fn the_cheaper_lookup_is_chosen_once_both_costs_are_known() {
        let ago = |cost, age| Some((Duration::from_millis(cost), Instant::now().checked_sub(age).expect("a past")));
        let now = |cost| ago(cost, Duration::ZERO);
        let costs = Costs::default();
        let milliseconds = |time| Some(Duration::from_millis(time));
        assert_eq!(costs.time_for_list(1000), None, "no cost is known");
        costs.singles_took(Duration::from_millis(16), 16);
        assert_eq!(costs.time_for_list(100), None, "the list may be slow");
        assert_eq!(costs.time_for_list(234), milliseconds(250), "the list is tried once");
        assert_eq!(costs.time_for_list(1000), milliseconds(1000));
        costs.singles_took(Duration::from_millis(100), 100);
        costs.singles_took(Duration::from_millis(100), 100);
        assert_eq!(costs.time_for_list(100), milliseconds(250), "single look-ups have taken as long");
        costs.list_took(Duration::from_millis(250));
        assert_eq!(costs.time_for_list(200), None, "the list is slow");
        assert_eq!(costs.time_for_list(2000), milliseconds(2000));
        costs.list_took(Duration::from_millis(10));
        assert_eq!(costs.time_for_list(20), milliseconds(250), "the list is fast");
        costs.update(|measured| measured.single = ago(1, COST_TTL));
        assert!(costs.are_singles_unknown() && costs.time_for_list(20).is_none(), "the measurement is too old");
        costs.update(|measured| (measured.single, measured.list) = (now(1), ago(1, COST_TTL)));
        assert_eq!(costs.time_for_list(20), None, "the list must be tried again");
    }
}
