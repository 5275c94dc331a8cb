//! The states of jobs as A-REX has them now.
//!
//! `action=status` and `action=info` show what A-REX's information provider wrote up to a minute ago. What A-REX itself
//! has recorded can be had for one job (`diagnose/status`) and for all jobs of the user (`GET jobs?state=`). That does not
//! tell queued from running in the batch system: only the information provider knows.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::in_parallel;
use super::jobs::{self, Answer, act};
use super::session::{Pool, Repeat};
use super::{AT_ONCE, JobRecord};
use crate::error::{Error, Result};
use crate::ffi;
use crate::job::JobId;
use crate::job::status::ArcState;
use crate::logging::{self, LogLevel};
use crate::util::lock;

/// All the states that A-REX can filter by.
const ALL_STATES: &str = "ACCEPTING,ACCEPTED,PREPARING,PREPARED,SUBMITTING,RUNNING,EXECUTED,FINISHING,KILLING,FINISHED,\
                          FAILED,KILLED,WIPED";

/// Up to so many jobs are looked up one by one, whatever that costs.
const FEW: usize = 4 * AT_ONCE;

/// How long a measured cost is believed.
const BELIEVED: Duration = Duration::from_secs(300);

/// What the two ways cost when they were last used on this CE.
#[derive(Debug, Default)]
pub(super) struct Costs(Mutex<Measured>);

#[derive(Clone, Copy, Debug, Default)]
struct Measured {
    /// Of [`AT_ONCE`] jobs looked up one by one, at once.
    round: Option<(Duration, Instant)>,
    list: Option<(Duration, Instant)>,
}

impl Costs {
    fn update(&self, change: impl FnOnce(&mut Measured)) {
        change(&mut lock(&self.0));
    }

    /// Whether `count` more jobs are cheaper to look up in the list of all of the user's jobs, however many those are;
    /// `None`: that cannot be known before some have been looked up one by one.
    fn list_is_cheaper(&self, count: usize) -> Option<bool> {
        let believed = |cost: Option<(Duration, Instant)>| cost.filter(|(_, when)| when.elapsed() < BELIEVED);
        let measured = *lock(&self.0);
        let (round, _) = believed(measured.round)?;
        // A list that was never asked for has to be tried.
        Some(believed(measured.list).is_none_or(|(list, _)| list < round.saturating_mul(rounds(count))))
    }
}

fn rounds(count: usize) -> u32 {
    u32::try_from(count.div_ceil(AT_ONCE)).unwrap_or(u32::MAX)
}

/// The arcrest states of jobs.
pub(super) fn fresh(pool: &Pool, costs: &Costs, ids: &[&str]) -> Result<Vec<Result<String>>> {
    let mut states = asked(pool, costs, ids)?;
    for attempt in 0..MOVES {
        let is_moving = |state: &str| unsettled(state) && (state != WIPED || attempt < WIPED_MOVES);
        let moving: Vec<usize> =
            (0..ids.len()).filter(|index| matches!(&states[*index], Ok(state) if is_moving(state))).collect();
        if moving.is_empty() {
            break;
        }
        std::thread::sleep(MOVE);
        let again: Vec<&str> = moving.iter().map(|index| ids[*index]).collect();
        for (index, state) in moving.into_iter().zip(asked(pool, costs, &again)?) {
            states[index] = state;
        }
    }
    Ok(states)
}

/// Whether A-REX could not tell the state: it moves a job's status from one directory to another, and in between there is
/// none, or it takes the job for one that has been removed (`job_state_read_file`). To call that a state would be to call a
/// job failed that is not.
fn unsettled(state: &str) -> bool {
    matches!(state, "" | "None" | "UNDEFINED" | WIPED)
}

const WIPED: &str = "WIPED";

/// How long such a move takes at most, and how often it is waited for.
const MOVE: Duration = Duration::from_millis(100);
const MOVES: usize = 10;

/// How often where the job may indeed have been removed: that is told at every call, and should not take long.
const WIPED_MOVES: usize = 2;

fn asked(pool: &Pool, costs: &Costs, ids: &[&str]) -> Result<Vec<Result<String>>> {
    let answers = act(pool, "status", ids)?;
    let recorded = look_up(pool, costs, answers.iter().filter(|answer| answer.code == 200))?;
    let one = |answer: Answer| match answer.code {
        200 => Ok(newer(answer.state, recorded.get(&answer.id).cloned())),
        404 => Err(Error::JobNotFound { job_id: answer.id.into() }),
        _ => Err(Error::JobOperation { job_id: answer.id.into(), operation: "ask for", message: answer.reason }),
    };
    Ok(answers.into_iter().map(one).collect())
}

/// The records of jobs, with their states as they are now.
pub(super) fn records(pool: &Pool, costs: &Costs, ids: &[&str]) -> Result<Vec<Result<JobRecord>>> {
    let mut records: HashMap<String, JobRecord> = HashMap::with_capacity(ids.len());
    for chunk in ids.chunks(jobs::CHUNK) {
        let reply = pool.request(Repeat::Once, "POST", "jobs?action=info", &jobs::list(chunk))?;
        if reply.code != 201 {
            return Err(pool.refused(&reply));
        }
        let parsed = ffi::parse_jobs(&reply.body)
            .map_err(|error| Error::Connection { endpoint: pool.endpoint().url(), message: error.to_string() })?;
        records.extend(parsed.into_iter().map(|record| (record.id.clone(), record)));
    }
    let answers: Vec<Answer> = ids
        .iter()
        .filter_map(|id| records.get(*id).filter(|record| record.found))
        .map(|record| Answer {
            code: 200,
            id: record.id.clone(),
            state: record.native_state.clone(),
            ..Answer::default()
        })
        .collect();
    let recorded = look_up(pool, costs, answers.iter())?;
    let mut ended = Vec::new();
    for answer in answers {
        let Some(record) = records.get_mut(&answer.id) else { continue };
        let was_final = ArcState::from_rest(&answer.state).is_final();
        record.native_state = newer(answer.state, recorded.get(&answer.id).cloned());
        if unsettled(&record.native_state)
            && let Some(Ok(settled)) = fresh(pool, costs, &[&answer.id])?.pop()
        {
            record.native_state = settled;
        }
        let state = ArcState::from_rest(&record.native_state);
        record.state = state.to_string();
        if state.is_final() && !was_final {
            ended.push((answer.id, state == ArcState::Finished));
        }
    }
    // What the information provider will tell in a minute of a job that has just ended.
    let endings = in_parallel(&ended, |(id, well)| ending(pool, id, *well));
    for ((id, _), ending) in ended.iter().zip(endings) {
        if let (Some(record), Ok((exit_code, failure))) = (records.get_mut(id), ending) {
            record.exit_code = exit_code.unwrap_or(record.exit_code);
            for line in failure.lines().map(str::trim).filter(|line| !line.is_empty()) {
                if !record.errors.iter().any(|known| known == line) {
                    record.errors.push(line.into());
                }
            }
        }
    }
    let one = |id: &&str| match records.get(*id) {
        Some(record) if record.found => Ok(record.clone()),
        Some(record) if record.native_state == "404" => Err(Error::JobNotFound { job_id: JobId::from(*id) }),
        // It was not told that there is no such job.
        Some(record) => Err(Error::JobOperation {
            job_id: JobId::from(*id),
            operation: "ask for",
            message: format!("{} {}", record.native_state, record.messages.join(" ")),
        }),
        None => Err(Error::Connection {
            endpoint: pool.endpoint().url(),
            message: format!("the answer says nothing of job {id}"),
        }),
    };
    Ok(ids.iter().map(one).collect())
}

/// The states in A-REX's own record of those jobs that have not been said to have ended.
fn look_up<'a>(
    pool: &Pool,
    costs: &Costs,
    answers: impl Iterator<Item = &'a Answer>,
) -> Result<HashMap<String, String>> {
    let pending: Vec<&str> = answers
        .filter(|answer| !ArcState::from_rest(&answer.state).is_final())
        .map(|answer| answer.id.as_str())
        .collect();
    if pending.is_empty() {
        return Ok(HashMap::new());
    }
    let mut found = HashMap::with_capacity(pending.len());
    let mut rest = &pending[..];
    if rest.len() > FEW && costs.list_is_cheaper(rest.len()).is_none() {
        let (some, others) = rest.split_at(FEW);
        one_by_one(pool, costs, some, &mut found)?;
        rest = others;
    }
    if rest.len() > FEW && costs.list_is_cheaper(rest.len()) == Some(true) {
        let begun = Instant::now();
        let reply = pool.request(Repeat::Never, "GET", &format!("jobs?state={ALL_STATES}"), b"");
        costs.update(|measured| measured.list = Some((begun.elapsed(), Instant::now())));
        match reply {
            Ok(reply) if reply.code == 200 => {
                found.extend(jobs::parse(pool, &reply.body)?.into_iter().map(|answer| (answer.id, answer.state)));
                return Ok(found);
            }
            Ok(reply) => logging::log(LogLevel::Verbose, pool.refused(&reply).to_string()),
            Err(Error::Exiting) => return Err(Error::Exiting),
            // A CE with so many jobs that it does not get them listed in time: it can still be asked for each.
            Err(error) => logging::log(LogLevel::Verbose, error.to_string()),
        }
    }
    one_by_one(pool, costs, rest, &mut found)?;
    Ok(found)
}

fn one_by_one(pool: &Pool, costs: &Costs, ids: &[&str], found: &mut HashMap<String, String>) -> Result<()> {
    if ids.is_empty() {
        return Ok(());
    }
    let begun = Instant::now();
    let states = in_parallel(ids, |id| recorded(pool, id));
    costs.update(|measured| measured.round = Some((begun.elapsed() / rounds(ids.len()), Instant::now())));
    for (id, state) in ids.iter().zip(states) {
        if let Some(state) = state? {
            found.insert((*id).to_owned(), state);
        }
    }
    Ok(())
}

/// What a file of A-REX's control directory holds, if there is one.
fn diagnose(pool: &Pool, id: &str, file: &str) -> Result<Option<String>> {
    let reply = pool.request(Repeat::Once, "GET", &format!("jobs/{id}/diagnose/{file}"), b"")?;
    match reply.code {
        200 => Ok(Some(String::from_utf8_lossy(&reply.body).into_owned())),
        404 => Ok(None),
        _ => Err(pool.refused(&reply)),
    }
}

/// The arcrest state of one job, made from the grid-manager's as A-REX does it (`convertActivityStatusREST`).
fn recorded(pool: &Pool, id: &str) -> Result<Option<String>> {
    let Some(status) = diagnose(pool, id, "status")? else { return Ok(None) };
    let status = status.trim();
    let state = match status.strip_prefix("PENDING:").map_or((status, false), |state| (state, true)) {
        ("ACCEPTED", false) => "ACCEPTING",
        ("ACCEPTED", true) => "ACCEPTED",
        ("PREPARING", false) => "PREPARING",
        ("PREPARING", true) => "PREPARED",
        ("SUBMIT", _) => "SUBMITTING",
        ("INLRMS", false) => "RUNNING",
        ("INLRMS" | "FINISHED", true) => "EXECUTED",
        ("FINISHING", _) => "FINISHING",
        ("CANCELING", _) => "KILLING",
        ("FINISHED", false) => match diagnose(pool, id, "failed")? {
            None => "FINISHED",
            Some(cause) if cause.contains("Job is canceled by external request") => "KILLED",
            Some(_) => "FAILED",
        },
        ("DELETED", _) => "WIPED",
        _ => return Ok(None),
    };
    Ok(Some(state.into()))
}

/// The exit code of a job that has ended, and why it failed unless it ended well.
fn ending(pool: &Pool, id: &str, well: bool) -> Result<(Option<i32>, String)> {
    let diag = diagnose(pool, id, "diag")?.unwrap_or_default();
    let exit_code = diag.lines().rev().find_map(|line| line.strip_prefix("exitcode=")?.trim().parse().ok());
    let failure = if well { None } else { diagnose(pool, id, "failed")? };
    Ok((exit_code, failure.unwrap_or_default()))
}

/// The newer of two states: `recorded` is, but of a job in the batch system only `published` tells more than that.
fn newer(published: String, recorded: Option<String>) -> String {
    const IN_BATCH_SYSTEM: [&str; 5] = ["QUEUING", "RUNNING", "HELD", "EXITINGLRMS", "OTHER"];
    match recorded.filter(|recorded| recorded == WIPED || !unsettled(recorded)) {
        None => published,
        Some(recorded) if recorded == "RUNNING" && IN_BATCH_SYSTEM.contains(&published.as_str()) => published,
        Some(recorded) => recorded,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_record_is_newer_but_does_not_tell_queued_from_running() {
        let newer = |published: &str, recorded: Option<&str>| newer(published.into(), recorded.map(str::to_owned));
        assert_eq!(newer("QUEUING", None), "QUEUING");
        assert_eq!(newer("QUEUING", Some("RUNNING")), "QUEUING");
        assert_eq!(newer("HELD", Some("RUNNING")), "HELD");
        assert_eq!(newer("PREPARING", Some("RUNNING")), "RUNNING");
        assert_eq!(newer("RUNNING", Some("FINISHED")), "FINISHED");
        assert_eq!(newer("ACCEPTING", Some("KILLED")), "KILLED");
        assert_eq!(newer("RUNNING", Some("None")), "RUNNING");
        assert!(unsettled(&newer("None", None)) && unsettled(&newer("", Some("None"))));
        assert!(unsettled(&newer("ACCEPTING", Some("WIPED"))) && unsettled(&newer("WIPED", None)));
        assert_eq!(newer("WIPED", Some("PREPARING")), "PREPARING");
    }

    #[test]
    fn the_cheaper_way_is_taken_once_both_are_known() {
        let ago = |cost, age| Some((Duration::from_millis(cost), Instant::now().checked_sub(age).expect("a past")));
        let now = |cost| ago(cost, Duration::ZERO);
        let costs = Costs::default();
        assert_eq!(costs.list_is_cheaper(100), None, "nothing is known");
        costs.update(|measured| measured.round = now(30));
        assert_eq!(costs.list_is_cheaper(20), Some(true), "the list is tried once");
        costs.update(|measured| measured.list = now(10_000));
        assert_eq!(costs.list_is_cheaper(200), Some(false), "a CE with many jobs");
        assert_eq!(costs.list_is_cheaper(2000), Some(true));
        costs.update(|measured| measured.list = now(50));
        assert_eq!(costs.list_is_cheaper(20), Some(true), "a CE with few");
        costs.update(|measured| measured.round = ago(1, BELIEVED));
        assert_eq!(costs.list_is_cheaper(20), None, "it may have been a slow minute");
    }
}
