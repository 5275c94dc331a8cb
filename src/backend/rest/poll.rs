//! Polls jobs for a watch, with as few requests as possible.
//!
//! Each poll looks up A-REX's own record. It sends one request for a single job, and otherwise lists the user's jobs that have
//! not ended (`GET jobs?state=`, `ARexRest::processJobs`). If that list is too expensive, it looks up each job. A job that the
//! list leaves out has ended, or A-REX is moving it between two directories. A list of the ended jobs decides. A job that is
//! in neither list is looked up by its id in the next poll.
//!
//! The record does not distinguish queued jobs from running ones. The information provider does, which runs about once a
//! minute. The jobs in the batch system are looked up there after each run. The file `job.ID.xml` of one of them tells when
//! the provider has run.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::find::is_id;
use super::jobs::{self, Item, act};
use super::lookup::{Costs, look_up_each, recorded_state, states_in};
use super::record::diagnose;
use super::session::{Pool, Repeat};
use super::state::{ACTIVE_STATES, ENDED_STATES, RestState};
use crate::backend::failure::{Failure, JobFailure};
use crate::backend::poll::{Missing, PollMemory};
use crate::error::Operation;
use crate::job::ArcState;

/// The number of requests of a poll, unless A-REX's list of jobs is too expensive.
const MAX_REQUESTS: usize = 2;

/// A list that takes no longer than this is never avoided.
const CHEAP_LIST: Duration = Duration::from_secs(1);

/// The longest time between two look-ups of the published states. A-REX's information provider runs more often.
const MAX_PUBLISHED_AGE: Duration = Duration::from_secs(90);

/// If the published states are late by this, they have precedence over the list of ended jobs.
const MAX_PUBLISHED_DELAY: Duration = Duration::from_secs(15);

/// How often to list the jobs that have ended, in a search for new jobs.
const ENDED_INTERVAL: Duration = Duration::from_secs(60);

/// How often to ask whether the information provider has run.
const PUBLICATION_INTERVAL: Duration = Duration::from_secs(5);

/// In how many polls in a row A-REX must report a job as removed. It may only be moving it.
const WIPED_POLLS: u32 = 3;

/// After this time without a status, A-REX is asked for the status itself. A move takes milliseconds.
const LOST_AFTER: Duration = Duration::from_secs(600);

/// In how many polls in a row a job must have had no status by then.
const LOST_POLLS: u32 = 10;

/// The pause after lists or many single look-ups, as a multiple of the time that they took.
const PAUSE_FACTOR: u32 = 9;

/// A pause of this length suffices if the lists took little more than a tenth of it.
const SHORT_PAUSE: Duration = Duration::from_secs(1);

/// By how much the lists may take longer than that.
const SHORT_PAUSE_TOLERANCE: Duration = Duration::from_millis(200);

/// The longest pause for the sake of the CE.
const MAX_PAUSE: Duration = Duration::from_secs(60);

/// What a poll found.
pub(super) struct Found {
    pub(super) states: Vec<Result<Option<ArcState>, JobFailure>>,
    pub(super) pause: Duration,
    pub(super) is_unsettled: bool,
    /// The ids of other jobs of the user, if they are looked for.
    pub(super) others: Vec<String>,
}

/// Looks up the states of jobs, in the order of `ids`.
pub(super) fn poll(pool: &Pool, costs: &Costs, ids: &[&str], memory: &mut PollMemory) -> Result<Found, Failure> {
    let recorded = HashMap::with_capacity(ids.len());
    let mut poll = Poll { pool, costs, recorded, others: Vec::new(), requests: 0, busy: Duration::ZERO };
    let is_confirmed = poll.look_up_records(ids, memory)?;
    if is_confirmed {
        poll.look_up_lost(ids, memory)?;
    }
    let published = poll.look_up_published(ids, memory)?;
    poll.look_up_publication(ids, memory)?;
    let has_queue = poll.has_queue(ids, memory)?;
    let one = |id: &&str| match poll.recorded.get(*id) {
        None if !is_confirmed => Ok(None),
        recorded => decide_state(id, recorded, published.get(*id), has_queue, memory),
    };
    let states = ids.iter().map(one).collect();
    let is_unsettled =
        !is_confirmed || waits_for_published(&poll.recorded, memory) || ids.iter().any(|id| is_new(id, memory));
    Ok(Found { is_unsettled, pause: poll.pause(), states, others: poll.others })
}

/// Whether a job has just been missed, so that the next poll should follow soon.
fn is_new(id: &str, memory: &PollMemory) -> bool {
    memory.missing.get(id).is_some_and(|missing| missing.polls < WIPED_POLLS)
}

/// One poll.
struct Poll<'a> {
    pool: &'a Pool,
    costs: &'a Costs,
    /// The states in A-REX's record. A job without one is unknown, or A-REX is moving it.
    recorded: HashMap<String, RestState>,
    /// The listed jobs that were not asked for.
    others: Vec<String>,
    requests: usize,
    /// The time that A-REX spent on work that grows with the number of jobs.
    busy: Duration,
}

impl Poll<'_> {
    /// Looks up A-REX's record of jobs. Returns false if a job without a record may also have ended.
    fn look_up_records(&mut self, ids: &[&str], memory: &mut PollMemory) -> Result<bool, Failure> {
        if let ([id], false) = (ids, memory.finds_others) {
            let state = recorded_state(self.pool, id)?;
            // Whether a job has failed is in another file.
            self.requests += if state.as_ref().is_some_and(RestState::is_final) { 2 } else { 1 };
            self.recorded.extend(state.map(|state| ((*id).to_owned(), state)));
            return Ok(true);
        }
        if !memory.finds_others && !self.costs.list_pays(ids.len(), CHEAP_LIST) {
            let begun = Instant::now();
            look_up_each(self.pool, self.costs, ids, &mut self.recorded)?;
            self.busy += begun.elapsed();
            return Ok(true);
        }
        self.list(ids, ACTIVE_STATES)?;
        let unlisted: Vec<&str> = ids.iter().copied().filter(|id| !self.recorded.contains_key(*id)).collect();
        let is_due = memory.finds_others && memory.ended_listed_at.is_none_or(|at| at.elapsed() >= ENDED_INTERVAL);
        if !is_due {
            if unlisted.is_empty() {
                return Ok(true);
            }
            if asks_by_id(&unlisted, memory) {
                memory.has_listed_ended = false;
                return Ok(true);
            }
            if published_comes_first(&self.recorded, memory) {
                return Ok(false);
            }
        }
        memory.has_listed_ended = true;
        self.list(ids, ENDED_STATES)?;
        memory.ended_listed_at = Some(Instant::now());
        Ok(true)
    }

    /// Lists the jobs of the user in some states, and keeps those with an id in `ids`.
    fn list(&mut self, ids: &[&str], states: &str) -> Result<(), Failure> {
        let begun = Instant::now();
        let response = self.pool.request(Repeat::Safe, "GET", &format!("jobs?state={states}"), b"");
        self.busy += begun.elapsed();
        self.requests += 1;
        self.costs.list_took(begun.elapsed());
        let mut listed = states_in(&response?)?;
        for id in ids {
            let Some((id, state)) = listed.remove_entry(*id) else { continue };
            // A job that is in both lists has ended in between, or A-REX is moving it.
            if !state.is_unsettled() || !self.recorded.contains_key(&id) {
                self.recorded.insert(id, state);
            }
        }
        let is_job = |(id, state): &(String, RestState)| !state.is_unsettled() && is_id(self.pool, id);
        self.others.extend(listed.into_iter().filter(is_job).map(|(id, _)| id));
        Ok(())
    }

    /// Looks up the status of one of the jobs that have had none for long.
    fn look_up_lost(&mut self, ids: &[&str], memory: &mut PollMemory) -> Result<(), Failure> {
        if self.requests >= MAX_REQUESTS {
            return Ok(());
        }
        let Some(id) = ids.iter().find(|id| !self.recorded.contains_key(**id) && may_be_lost(id, memory)) else {
            return Ok(());
        };
        self.requests += 1;
        let status = diagnose(self.pool, id, "status")?;
        if let Some(missing) = memory.missing.get_mut(*id) {
            // A status that this crate does not know is in no list.
            (missing.is_lost, missing.since) = (status.is_none(), Instant::now());
        }
        Ok(())
    }

    /// Looks up what the information provider has published: of jobs without a record, and after each run of the provider
    /// of jobs in the batch system. Returns what A-REX responds about them.
    fn look_up_published(&mut self, ids: &[&str], memory: &mut PollMemory) -> Result<HashMap<String, Item>, Failure> {
        if self.requests >= MAX_REQUESTS {
            return Ok(HashMap::new());
        }
        let due = memory.published_at.is_none() || is_overdue_by(memory, Duration::ZERO);
        let is_wanted = |id: &&str| match self.recorded.get(*id) {
            Some(state) => due && *state == RestState::Running,
            None => ids.len() == 1 || needs_single_lookup(id, memory),
        };
        let asked: Vec<&str> = ids.iter().copied().filter(is_wanted).collect();
        if asked.is_empty() {
            return Ok(HashMap::new());
        }
        if asked.iter().any(|id| self.recorded.contains_key(*id)) {
            memory.published_at = Some(Instant::now());
            memory.published_news_at = None;
        }
        self.requests += asked.len().div_ceil(jobs::CHUNK);
        let mut items = HashMap::with_capacity(asked.len());
        for item in act(self.pool, "status", &asked)? {
            let item = item?;
            if item.code == 200 {
                memory.published.insert(item.id.clone(), item.state.clone());
            }
            items.insert(item.id.clone(), item);
        }
        Ok(items)
    }

    /// Looks up whether the information provider has run, if that can be news for a job.
    fn look_up_publication(&mut self, ids: &[&str], memory: &mut PollMemory) -> Result<(), Failure> {
        let is_recent = memory.publication.as_ref().is_some_and(|(at, _)| at.elapsed() < PUBLICATION_INTERVAL);
        if self.requests >= MAX_REQUESTS || is_recent || memory.published_news_at.is_some() {
            return Ok(());
        }
        let may_wait = |id: &&&str| {
            let published = memory.published.get(**id).map(|state| RestState::parse(state));
            self.recorded.get(**id) == Some(&RestState::Running) && published != Some(RestState::Running)
        };
        let Some(id) = ids.iter().find(may_wait) else { return Ok(()) };
        self.requests += 1;
        let document = diagnose(self.pool, id, "xml")?;
        note_publication(document.as_deref().and_then(creation_time).unwrap_or_default(), memory);
        Ok(())
    }

    /// Whether a job that has not been published as queued or running may be queued. Only the first poll that wants to know
    /// sends a request for it.
    fn has_queue(&self, ids: &[&str], memory: &PollMemory) -> Result<bool, Failure> {
        let is_unpublished = |id: &&str| match self.recorded.get(*id) {
            Some(RestState::Running | RestState::Killing) => published_state(id, memory).is_none(),
            _ => false,
        };
        if ids.iter().any(is_unpublished) { self.costs.has_queue(self.pool) } else { Ok(true) }
    }

    fn pause(&self) -> Duration {
        pause(self.busy)
    }
}

/// The least pause after work that kept A-REX busy for some time.
fn pause(busy: Duration) -> Duration {
    let long = busy.saturating_sub(SHORT_PAUSE_TOLERANCE).saturating_mul(PAUSE_FACTOR);
    busy.saturating_mul(PAUSE_FACTOR).min(SHORT_PAUSE).max(long).min(MAX_PAUSE)
}

/// Whether the published states should have been looked up a time ago.
fn is_overdue_by(memory: &PollMemory, delay: Duration) -> bool {
    memory.published_news_at.is_some_and(|at| at.elapsed() >= delay)
        || memory.published_at.is_some_and(|at| at.elapsed() >= MAX_PUBLISHED_AGE + delay)
}

/// Whether there are newer published states, which the next poll looks up.
fn waits_for_published(recorded: &HashMap<String, RestState>, memory: &PollMemory) -> bool {
    memory.published_news_at.is_some() && recorded.values().any(|state| *state == RestState::Running)
}

/// Whether this poll looks up the published states instead of the list of ended jobs, because they are long due.
fn published_comes_first(recorded: &HashMap<String, RestState>, memory: &PollMemory) -> bool {
    is_overdue_by(memory, MAX_PUBLISHED_DELAY) && recorded.values().any(|state| *state == RestState::Running)
}

/// What the batch system does with a job, if that has been published.
fn published_state(id: &str, memory: &PollMemory) -> Option<RestState> {
    let published = memory.published.get(id).map(|state| RestState::parse(state));
    published.filter(RestState::is_in_batch_system)
}

/// Remembers the time of the last publication. It is empty if a job has not been published yet.
fn note_publication(time: &str, memory: &mut PollMemory) {
    let now = Instant::now();
    match &mut memory.publication {
        Some((at, known)) => {
            *at = now;
            if !time.is_empty() && known != time {
                time.clone_into(known);
                memory.published_news_at = Some(now);
            }
        }
        none => *none = Some((now, time.to_owned())),
    }
}

/// Reads when a GLUE2 document was created: the attribute of its root.
fn creation_time(document: &str) -> Option<&str> {
    let (_, rest) = document.split_once("CreationTime=\"")?;
    rest.split_once('"').map(|(time, _)| time)
}

/// Whether a job that this poll misses was in none of the lists before, so that only its id can tell about it.
fn needs_single_lookup(id: &str, memory: &PollMemory) -> bool {
    memory.missing.get(id).is_some_and(|missing| !missing.is_lost)
}

/// Whether a poll looks up jobs by their ids instead of reading the list of ended jobs. Polls do both in turn, so that
/// neither a job that has just ended nor one that is in no list waits for ever.
fn asks_by_id(unlisted: &[&str], memory: &PollMemory) -> bool {
    memory.has_listed_ended && unlisted.iter().any(|id| needs_single_lookup(id, memory))
}

/// Whether A-REX may have lost a job: it had no status in many polls, for a long time.
fn may_be_lost(id: &str, memory: &PollMemory) -> bool {
    let is_long = |missing: &Missing| missing.polls >= LOST_POLLS && missing.since.elapsed() >= LOST_AFTER;
    memory.missing.get(id).is_some_and(|missing| !missing.is_lost && is_long(missing))
}

/// Decides on the state of a job. `item` is A-REX's response, if the job was looked up by its id.
fn decide_state(
    id: &str,
    recorded: Option<&RestState>,
    item: Option<&Item>,
    has_queue: bool,
    memory: &mut PollMemory,
) -> Result<Option<ArcState>, JobFailure> {
    if let Some(recorded) = recorded.filter(|recorded| !recorded.is_unsettled()) {
        memory.missing.remove(id);
        let state = match (recorded, published_state(id, memory)) {
            (RestState::Running, Some(published)) => published,
            // Every job in a batch system has been in its queue.
            (RestState::Running, None) if has_queue => RestState::Queuing,
            (RestState::Killing, None) if has_queue => RestState::KillingQueued,
            (RestState::Killing, Some(RestState::Queuing)) => RestState::KillingQueued,
            (recorded, _) => recorded.clone(),
        };
        if state.is_final() {
            memory.published.remove(id);
        }
        return Ok(Some(state.arc_state()));
    }
    if let Some(item) = item.filter(|item| item.code != 200) {
        if item.code == 404 {
            memory.missing.remove(id);
            memory.published.remove(id);
        }
        return Err(item.failure(Operation::LookUp));
    }
    let missing = memory.missing.entry(id.to_owned()).or_default();
    missing.polls = missing.polls.saturating_add(1);
    if missing.is_lost {
        let message = "A-REX has had no status of the job for ten minutes: it may have lost the job".into();
        return Err(JobFailure::Refused { operation: Operation::LookUp, message });
    }
    Ok(match (recorded, item) {
        _ if missing.polls < WIPED_POLLS => None,
        (Some(RestState::Wiped), _) => Some(ArcState::Deleted),
        // The record has a state that this crate does not know. A-REX may publish one that it does.
        (None, Some(item)) => Some(RestState::parse(&item.state).arc_state()),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn memory(published: &[(&str, &str)]) -> PollMemory {
        let published = published.iter().map(|(id, state)| ((*id).to_owned(), (*state).to_owned())).collect();
        PollMemory { published, ..PollMemory::default() }
    }

    fn item(code: u16, state: &str) -> Item {
        Item { code, reason: "reason".into(), id: "a".into(), state: state.into() }
    }

    fn state(recorded: &str, memory: &mut PollMemory) -> Option<ArcState> {
        decide_state("a", Some(&RestState::parse(recorded)), None, true, memory).unwrap()
    }

    #[test]
    fn jobs_in_the_batch_system_are_queued_until_they_are_published_as_running() {
        for (published, expected) in [
            (&[][..], ArcState::Queuing),
            (&[("a", "PREPARING")], ArcState::Queuing),
            (&[("b", "RUNNING")], ArcState::Queuing),
            (&[("a", "QUEUING")], ArcState::Queuing),
            (&[("a", "HELD")], ArcState::Hold),
            (&[("a", "RUNNING")], ArcState::Running),
            (&[("a", "EXITINGLRMS")], ArcState::Running),
        ] {
            assert_eq!(state("RUNNING", &mut memory(published)), Some(expected), "{published:?}");
        }
        for (has_queue, published, recorded, expected) in [
            (false, "SUBMITTING", "RUNNING", ArcState::Running),
            (false, "SUBMITTING", "KILLING", ArcState::Running),
            (true, "SUBMITTING", "KILLING", ArcState::Queuing),
            (true, "QUEUING", "KILLING", ArcState::Queuing),
            (true, "RUNNING", "KILLING", ArcState::Running),
        ] {
            let recorded = RestState::parse(recorded);
            let state = decide_state("a", Some(&recorded), None, has_queue, &mut memory(&[("a", published)]));
            assert_eq!(state.unwrap(), Some(expected), "{has_queue} {published} {recorded}");
        }
        let mut published = memory(&[("a", "RUNNING")]);
        for (recorded, expected) in [
            ("ACCEPTING", ArcState::Accepted),
            ("SUBMITTING", ArcState::Submitting),
            ("FINISHING", ArcState::Finishing),
            ("FAILED", ArcState::Failed),
            ("TELEPORTING", ArcState::Other),
        ] {
            assert_eq!(state(recorded, &mut published), Some(expected));
        }
    }

    #[test]
    fn jobs_that_have_ended_are_forgotten() {
        let mut memory = memory(&[("a", "RUNNING")]);
        assert_eq!(state("FINISHED", &mut memory), Some(ArcState::Finished));
        assert!(memory.published.is_empty());
        memory.published.insert("a".into(), "RUNNING".into());
        assert_eq!(decide_state("a", None, None, true, &mut memory).unwrap(), None);
        decide_state("a", None, Some(&item(404, "None")), true, &mut memory).unwrap_err();
        assert!(memory.published.is_empty() && memory.missing.is_empty());
    }

    #[test]
    fn a_busy_ce_gets_pauses() {
        for (busy, expected) in [(0, 0), (10, 90), (100, 900), (200, 1000), (300, 1000), (1000, 7200), (60_000, 60_000)]
        {
            assert_eq!(pause(Duration::from_millis(busy)), Duration::from_millis(expected), "{busy} ms");
        }
        assert_eq!(pause(Duration::MAX), MAX_PAUSE);
    }

    #[test]
    fn published_states_are_due_after_each_publication() {
        let mut memory = memory(&[]);
        for (time, is_news) in [("", false), ("10:00", true), ("10:00", false), ("", false), ("10:01", true)] {
            note_publication(time, &mut memory);
            assert_eq!(
                (memory.published_news_at.is_some(), is_overdue_by(&memory, Duration::ZERO)),
                (is_news, is_news),
                "{time}"
            );
            assert!(!is_overdue_by(&memory, Duration::from_secs(60)));
            memory.published_news_at = None;
        }
        memory.published_at = Instant::now().checked_sub(MAX_PUBLISHED_AGE);
        assert!(is_overdue_by(&memory, Duration::ZERO) && !is_overdue_by(&memory, Duration::from_secs(60)));
        // Without a job in the batch system, no look-up would follow, and jobs that ended would never be looked up.
        memory.published_at = Instant::now().checked_sub(MAX_PUBLISHED_AGE + MAX_PUBLISHED_DELAY);
        for (state, expected) in [(RestState::Running, true), (RestState::Finishing, false)] {
            assert_eq!(published_comes_first(&[("a".into(), state)].into(), &memory), expected);
        }
        assert!(!published_comes_first(&HashMap::new(), &memory));
        let document = "<ComputingActivity xmlns=\"x\" CreationTime=\"2026-11-24T14:18:41Z\" Validity=\"10800\">";
        assert_eq!(creation_time(document), Some("2026-11-24T14:18:41Z"));
        assert_eq!(["", "<a/>", "CreationTime=\"x"].map(creation_time), [None; 3]);
    }

    #[test]
    fn a_job_that_is_moved_is_not_removed() {
        let mut memory = memory(&[]);
        assert_eq!([(); 2].map(|()| state("WIPED", &mut memory)), [None, None]);
        assert_eq!(state("FINISHING", &mut memory), Some(ArcState::Finishing));
        let seen = [(); 3].map(|()| state("WIPED", &mut memory));
        assert_eq!(seen, [None, None, Some(ArcState::Deleted)]);
        assert_eq!([(); 5].map(|()| state("None", &mut memory)), [None; 5]);
    }

    #[test]
    fn only_a_rex_itself_says_that_it_does_not_know_a_job() {
        let mut memory = memory(&[]);
        for _ in 0..6 {
            assert!(matches!(decide_state("a", None, None, true, &mut memory), Ok(None)));
            assert!(needs_single_lookup("a", &memory) && !may_be_lost("a", &memory));
        }
        assert!(matches!(
            decide_state("a", None, Some(&item(404, "None")), true, &mut memory),
            Err(JobFailure::NotFound)
        ));
        let refused = decide_state("a", None, Some(&item(500, "None")), true, &mut memory);
        assert!(matches!(refused, Err(JobFailure::Refused { operation: Operation::LookUp, .. })));
    }

    #[test]
    fn jobs_in_no_list_are_looked_up_in_turn_with_ended_jobs() {
        let mut memory = memory(&[]);
        // A new job is missed in each poll, so that each would have a reason to read the list of ended jobs.
        let mut turns = Vec::new();
        for poll in 0..6 {
            let ids: Vec<String> = (0..=poll).map(|id| id.to_string()).collect();
            let unlisted: Vec<&str> = ids.iter().map(String::as_str).collect();
            let by_id = asks_by_id(&unlisted, &memory);
            memory.has_listed_ended = !by_id;
            turns.push(by_id);
            unlisted.iter().for_each(|id| drop(decide_state(id, None, None, true, &mut memory)));
        }
        assert_eq!(turns, [false, true, false, true, false, true]);
    }

    #[test]
    fn a_job_without_a_status_for_long_is_lost_and_not_gone() {
        let mut memory = memory(&[]);
        let long_ago = Instant::now().checked_sub(LOST_AFTER).unwrap();
        for poll in 1..=LOST_POLLS {
            let published = item(200, "ACCEPTED");
            decide_state("a", None, (poll % 2 == 0).then_some(&published), true, &mut memory).unwrap();
            memory.missing.get_mut("a").unwrap().since = long_ago;
            assert_eq!(may_be_lost("a", &memory), poll == LOST_POLLS);
        }
        memory.missing.get_mut("a").unwrap().is_lost = true;
        assert!(!may_be_lost("a", &memory) && !needs_single_lookup("a", &memory));
        let lost = decide_state("a", None, None, true, &mut memory);
        assert!(matches!(lost, Err(JobFailure::Refused { message, .. }) if message.contains("lost")));
        // A status may come back.
        assert_eq!(state("PREPARING", &mut memory), Some(ArcState::Preparing));
        assert!(matches!(decide_state("a", None, None, true, &mut memory), Ok(None)));
    }

    #[test]
    fn polls_are_frequent_only_while_published_states_are_news_for_a_job() {
        let mut memory = memory(&[]);
        memory.published_news_at = Some(Instant::now());
        for (state, expected) in [(RestState::Running, true), (RestState::Finishing, false)] {
            assert_eq!(waits_for_published(&[("a".to_owned(), state)].into(), &memory), expected);
        }
    }

    #[test]
    fn published_states_count_for_jobs_whose_record_is_unreadable() {
        let mut memory = memory(&[]);
        let seen = [(); 3].map(|()| decide_state("a", None, Some(&item(200, "RUNNING")), true, &mut memory).unwrap());
        assert_eq!(seen, [None, None, Some(ArcState::Running)]);
        let unknown = decide_state("a", None, Some(&item(200, "TELEPORTING")), true, &mut memory).unwrap();
        assert_eq!(unknown, Some(ArcState::Other));
    }
}
