//! [`Jobs`]: what a watch knows of its jobs, and which changes it reports.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::time::SystemTime;

use super::{Change, Standing, WatchGoal, WatchOutcome, WatchedJob};
use crate::job::{ArcState, JobId, JobStatus};

/// After this number of refusals in a row, a watch no longer asks for a job.
const MAX_REFUSALS: u32 = 10;

/// What one poll found about a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Observation {
    State(ArcState),
    /// The CE does not know the job.
    Gone,
    /// The CE could not tell, and may in the next poll.
    Nothing,
    /// The CE responds, and refuses to tell.
    Refused(String),
    /// The job cannot be on this CE.
    Foreign(String),
}

/// The jobs of a watch, each once, with what has been reported about them.
#[derive(Clone, Debug)]
pub(crate) struct Jobs {
    goal: WatchGoal,
    jobs: Vec<Job>,
    /// For each id of the caller the index of its job.
    order: Vec<usize>,
    /// The index of each job.
    known: HashMap<JobId, usize>,
}

/// The jobs on one CE that have not settled.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pending {
    ids: Vec<JobId>,
    /// The indexes of the jobs in [`Jobs`].
    indexes: Vec<usize>,
}

impl Pending {
    /// The jobs to ask for.
    pub(crate) fn ids(&self) -> &[JobId] {
        &self.ids
    }
}

#[derive(Clone, Debug)]
struct Job {
    id: JobId,
    /// The number of its CE.
    ce: usize,
    progress: Progress,
    /// The state that was reported last.
    reported: Option<ArcState>,
    /// The latest stage that was reported.
    stage: u8,
    observed_at: Option<SystemTime>,
}

#[derive(Clone, Debug)]
enum Progress {
    /// Pending, with the number of refusals in a row and the last one.
    Pending(u32, String),
    Reached,
    Gone,
    Unknown(String),
}

impl Jobs {
    /// Returns the jobs, and those of each of `ces` CEs. `ce_of` returns the number of the CE of a job, or why there is none.
    pub(crate) fn new(
        ids: impl IntoIterator<Item = JobId>,
        ces: usize,
        ce_of: impl Fn(&JobId) -> Result<usize, String>,
    ) -> (Jobs, Vec<Pending>) {
        let mut known: HashMap<JobId, usize> = HashMap::new();
        let mut jobs: Vec<Job> = Vec::new();
        let mut pending = vec![Pending::default(); ces];
        let mut order = Vec::new();
        for id in ids {
            let index = *known.entry(id).or_insert_with_key(|id| {
                let (ce, progress) = match ce_of(id) {
                    Ok(ce) => {
                        pending[ce].ids.push(id.clone());
                        pending[ce].indexes.push(jobs.len());
                        (ce, Progress::Pending(0, String::new()))
                    }
                    Err(message) => (0, Progress::Unknown(message)),
                };
                jobs.push(Job::new(id.clone(), ce, progress));
                jobs.len() - 1
            });
            order.push(index);
        }
        (Jobs { goal: WatchGoal::End, jobs, order, known }, pending)
    }

    /// Adds those jobs on a CE that are not known yet. Returns whether there are any.
    pub(crate) fn add(&mut self, ce: usize, ids: Vec<JobId>, pending: &mut Pending) -> bool {
        let count = self.jobs.len();
        for id in ids {
            let index = self.jobs.len();
            let Entry::Vacant(entry) = self.known.entry(id.clone()) else { continue };
            entry.insert(index);
            pending.ids.push(id.clone());
            pending.indexes.push(index);
            self.order.push(index);
            self.jobs.push(Job::new(id, ce, Progress::Pending(0, String::new())));
        }
        self.jobs.len() > count
    }

    /// Sets the goal, before the first observation.
    pub(crate) fn set_goal(&mut self, goal: WatchGoal) {
        self.goal = goal;
    }

    /// The number of jobs, each counted once.
    pub(crate) fn count(&self) -> usize {
        self.jobs.len()
    }

    /// Takes in what a poll found about pending jobs, in their order. Returns the changes to report.
    pub(crate) fn observe(
        &mut self,
        pending: &mut Pending,
        observations: impl IntoIterator<Item = Observation>,
        now: SystemTime,
    ) -> Vec<Change> {
        let mut changes = Vec::new();
        for (index, observation) in pending.indexes.iter().zip(observations) {
            changes.extend(self.jobs[*index].observe(observation, self.goal, now));
        }
        let is_pending = |index: &usize| matches!(self.jobs[*index].progress, Progress::Pending(..));
        if !pending.indexes.iter().all(is_pending) {
            pending.indexes.retain(is_pending);
            pending.ids = pending.indexes.iter().map(|index| self.jobs[*index].id.clone()).collect();
        }
        changes
    }

    /// Gives up the pending jobs of a CE that can no longer be asked.
    pub(crate) fn give_up(&mut self, ce: usize, why: &str) {
        let is_pending = |job: &&mut Job| job.ce == ce && matches!(job.progress, Progress::Pending(..));
        self.jobs.iter_mut().filter(is_pending).for_each(|job| job.progress = Progress::Unknown(why.to_owned()));
    }

    /// Where each job stands, in the order of the caller. `why` returns why a CE has not told the state of its jobs.
    pub(crate) fn standings<'a>(&self, why: impl Fn(usize) -> &'a str) -> Vec<WatchedJob> {
        let one = |index: &usize| {
            let job = &self.jobs[*index];
            let unknown = |message: &str| WatchOutcome::Unknown { message: message.to_owned() };
            let outcome = match &job.progress {
                Progress::Reached => WatchOutcome::Reached,
                Progress::Gone => WatchOutcome::Gone,
                Progress::Unknown(message) => unknown(message),
                Progress::Pending(0, _) if job.reported.is_some() => WatchOutcome::Pending,
                Progress::Pending(0, _) => unknown(why(job.ce)),
                Progress::Pending(_, message) => unknown(message),
            };
            WatchedJob { id: job.id.clone(), outcome, state: job.reported, observed_at: job.observed_at }
        };
        self.order.iter().map(one).collect()
    }
}

impl Job {
    fn new(id: JobId, ce: usize, progress: Progress) -> Job {
        Job { id, ce, progress, reported: None, stage: 0, observed_at: None }
    }

    fn observe(&mut self, observation: Observation, goal: WatchGoal, now: SystemTime) -> Option<Change> {
        match observation {
            Observation::Nothing | Observation::State(ArcState::Undefined) => None,
            Observation::Gone | Observation::State(ArcState::Deleted) => {
                self.progress = Progress::Gone;
                Some(Change { id: self.id.clone(), from: self.reported, to: Standing::Gone, observed_at: now })
            }
            Observation::Foreign(message) => {
                self.progress = Progress::Unknown(message);
                None
            }
            Observation::Refused(message) => {
                if let Progress::Pending(refusals, _) = self.progress {
                    let refusals = refusals + 1;
                    self.progress = match refusals < MAX_REFUSALS {
                        true => Progress::Pending(refusals, message),
                        false => Progress::Unknown(message),
                    };
                }
                None
            }
            Observation::State(state) => self.see(state, goal, now),
        }
    }

    fn see(&mut self, state: ArcState, goal: WatchGoal, now: SystemTime) -> Option<Change> {
        self.progress = Progress::Pending(0, String::new());
        let stage = stage(state);
        // What the CE publishes lags behind its own record.
        if stage.is_some_and(|stage| stage < self.stage) {
            return None;
        }
        self.stage = stage.unwrap_or(self.stage);
        self.observed_at = Some(now);
        if is_reached(goal, state) {
            self.progress = Progress::Reached;
        }
        let from = self.reported.replace(state);
        (from != Some(state)).then(|| Change {
            id: self.id.clone(),
            from,
            to: Standing::State(state),
            observed_at: now,
        })
    }
}

/// The stage in the life of a job. A job goes forward from stage to stage. Within the batch system it may be queued again or
/// be held. `None` for a state that says nothing.
fn stage(state: ArcState) -> Option<u8> {
    Some(match state {
        ArcState::Undefined | ArcState::Other => return None,
        ArcState::Accepted => 1,
        ArcState::Preparing => 2,
        ArcState::Submitting => 3,
        ArcState::Queuing | ArcState::Hold | ArcState::Running => 4,
        ArcState::Finishing => 5,
        ArcState::Finished | ArcState::Killed | ArcState::Failed | ArcState::Deleted => 6,
    })
}

/// Whether a job in a state has reached a goal. A state that ARC does not know reaches nothing.
fn is_reached(goal: WatchGoal, state: ArcState) -> bool {
    let Some(now) = stage(state) else { return false };
    let is_in_or_after = |wanted: ArcState| match (wanted, state) {
        (ArcState::Running, ArcState::Queuing | ArcState::Hold) => false,
        _ => stage(wanted).is_some_and(|wanted| now >= wanted),
    };
    state.is_final()
        || match goal {
            WatchGoal::End | WatchGoal::Status(JobStatus::Completed | JobStatus::Failed) => false,
            WatchGoal::Status(JobStatus::NotSubmitted) => is_in_or_after(ArcState::Accepted),
            WatchGoal::Status(JobStatus::NotStarted) => is_in_or_after(ArcState::Queuing),
            WatchGoal::Status(JobStatus::InProgress) => state == ArcState::Hold || is_in_or_after(ArcState::Running),
            WatchGoal::State(wanted) => is_in_or_after(wanted),
        }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn at(second: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(second)
    }

    fn on_one_ce<const N: usize>(ids: [&str; N]) -> (Jobs, Pending) {
        let (jobs, mut pending) = Jobs::new(ids.map(JobId::from), 1, |_| Ok(0));
        (jobs, pending.remove(0))
    }

    /// Observes a job until it settles. Returns the reported changes and the outcome.
    fn watch(goal: WatchGoal, observations: &[Observation]) -> (Vec<Change>, WatchedJob) {
        let (mut jobs, mut pending) = on_one_ce(["a"]);
        jobs.set_goal(goal);
        let mut reported = Vec::new();
        for (second, observation) in observations.iter().enumerate() {
            if pending.ids().is_empty() {
                break;
            }
            reported.extend(jobs.observe(&mut pending, [observation.clone()], at(second as u64)));
        }
        (reported, jobs.standings(|_| "never asked").remove(0))
    }

    fn states(states: &[ArcState]) -> Vec<Observation> {
        states.iter().copied().map(Observation::State).collect()
    }

    fn reported(changes: &[Change]) -> Vec<Standing> {
        changes.iter().map(|change| change.to).collect()
    }

    #[test]
    fn changes_are_reported_once_and_never_backwards() {
        use ArcState::{Accepted, Finished, Preparing, Queuing, Running, Submitting};
        let seen =
            [Accepted, Accepted, Submitting, Preparing, Queuing, Submitting, Running, Queuing, Running, Finished];
        let (changes, job) = watch(WatchGoal::End, &states(&seen));
        let expected = [Accepted, Submitting, Queuing, Running, Queuing, Running, Finished].map(Standing::State);
        assert_eq!(reported(&changes), expected);
        let from: Vec<Option<ArcState>> = changes.iter().map(|change| change.from).collect();
        assert_eq!(from[0], None);
        assert!(from[1..].iter().zip(&expected).all(|(from, to)| *from == to.state()));
        assert_eq!((job.outcome, job.state, job.observed_at), (WatchOutcome::Reached, Some(Finished), Some(at(9))));
    }

    #[test]
    fn an_unknown_state_ends_nothing() {
        for goal in [WatchGoal::End, ArcState::Accepted.into(), JobStatus::InProgress.into(), ArcState::Other.into()] {
            let (changes, job) = watch(goal, &states(&[ArcState::Undefined, ArcState::Other, ArcState::Undefined]));
            assert_eq!(reported(&changes), [Standing::State(ArcState::Other)]);
            assert_eq!((&job.outcome, job.status()), (&WatchOutcome::Pending, Some(JobStatus::InProgress)), "{goal:?}");
        }
        let (_, job) = watch(WatchGoal::End, &states(&[ArcState::Other, ArcState::Running, ArcState::Finished]));
        assert_eq!(job.outcome, WatchOutcome::Reached);
    }

    #[test]
    fn a_job_that_the_ce_no_longer_knows_is_gone_and_has_no_status() {
        for last in [Observation::Gone, Observation::State(ArcState::Deleted)] {
            let (changes, job) = watch(WatchGoal::End, &[Observation::State(ArcState::Running), last.clone()]);
            assert_eq!(reported(&changes), [Standing::State(ArcState::Running), Standing::Gone]);
            assert_eq!((&job.outcome, job.state, job.status()), (&WatchOutcome::Gone, Some(ArcState::Running), None));
            let (changes, job) = watch(WatchGoal::End, &[last]);
            assert_eq!((changes[0].from, job.status()), (None, None));
        }
    }

    #[test]
    fn later_states_count_as_reached() {
        let order = [
            ArcState::Accepted,
            ArcState::Preparing,
            ArcState::Submitting,
            ArcState::Queuing,
            ArcState::Running,
            ArcState::Finishing,
            ArcState::Finished,
        ];
        for (index, goal) in order.iter().enumerate() {
            for (now, state) in order.iter().enumerate() {
                assert_eq!(is_reached((*goal).into(), *state), now >= index, "{state} for {goal}");
            }
            assert!(is_reached((*goal).into(), ArcState::Failed) && is_reached((*goal).into(), ArcState::Killed));
        }
        for (status, first) in [
            (JobStatus::NotSubmitted, ArcState::Accepted),
            (JobStatus::NotStarted, ArcState::Queuing),
            (JobStatus::InProgress, ArcState::Running),
            (JobStatus::Completed, ArcState::Finished),
            (JobStatus::Failed, ArcState::Finished),
        ] {
            for state in order {
                assert_eq!(is_reached(status.into(), state), is_reached(first.into(), state), "{state} for {status}");
            }
        }
        assert!(is_reached(JobStatus::InProgress.into(), ArcState::Hold));
        assert!(!is_reached(ArcState::Running.into(), ArcState::Hold));
        assert!(!is_reached(WatchGoal::End, ArcState::Finishing));
    }

    #[test]
    fn refusals_settle_a_job_only_when_they_last() {
        let refused = Observation::Refused("not allowed".into());
        let unknown = WatchOutcome::Unknown { message: "not allowed".into() };
        let (_, job) = watch(WatchGoal::End, &vec![refused.clone(); 3]);
        assert_eq!(job.outcome, unknown);
        let (mut jobs, mut pending) = on_one_ce(["a", "b"]);
        for _ in 1..MAX_REFUSALS {
            jobs.observe(&mut pending, [refused.clone(), Observation::Foreign("another CE".into())], at(0));
            assert_eq!(pending.ids(), ["a".into()]);
        }
        jobs.observe(&mut pending, [Observation::State(ArcState::Running)], at(0));
        assert_eq!(jobs.standings(|_| "")[0].outcome, WatchOutcome::Pending);
        for _ in 0..MAX_REFUSALS {
            assert_eq!(jobs.observe(&mut pending, [refused.clone()], at(0)), []);
        }
        assert!(pending.ids().is_empty());
        let standings = jobs.standings(|_| "");
        assert_eq!(standings[0].outcome, unknown);
        assert_eq!(standings[1].outcome, WatchOutcome::Unknown { message: "another CE".into() });
    }

    #[test]
    fn jobs_that_were_never_seen_are_unknown() {
        let (changes, job) = watch(WatchGoal::End, &[Observation::Nothing]);
        assert!(changes.is_empty());
        assert_eq!(job.outcome, WatchOutcome::Unknown { message: "never asked".into() });
    }

    #[test]
    fn repeated_ids_are_one_job_and_keep_their_places() {
        let (mut jobs, mut pending) = on_one_ce(["a", "b", "a"]);
        assert_eq!(pending.ids(), ["a", "b"].map(JobId::from));
        assert_eq!(jobs.count(), 2);
        let changes = jobs.observe(&mut pending, states(&[ArcState::Finished, ArcState::Running]), at(1));
        assert_eq!(changes.len(), 2);
        assert_eq!(pending.ids(), ["b".into()]);
        let ids: Vec<String> = jobs.standings(|_| "").into_iter().map(|job| job.id.into_string()).collect();
        assert_eq!(ids, ["a", "b", "a"]);
    }

    #[test]
    fn jobs_of_several_ces_keep_the_order_of_the_caller() {
        let ce_of = |id: &JobId| match id.as_str().as_bytes()[0] {
            b'a' => Ok(0),
            b'b' => Ok(1),
            _ => Err("on no CE".to_owned()),
        };
        let ids = ["b1", "a1", "c1", "b2", "a1", "a2"];
        let (mut jobs, mut pending) = Jobs::new(ids.map(JobId::from), 2, ce_of);
        assert_eq!(pending[0].ids(), ["a1", "a2"].map(JobId::from));
        assert_eq!(pending[1].ids(), ["b1", "b2"].map(JobId::from));
        jobs.observe(&mut pending[1], states(&[ArcState::Running, ArcState::Finished]), at(1));
        jobs.observe(&mut pending[0], states(&[ArcState::Queuing]), at(2));
        jobs.give_up(1, "not trusted");
        let unknown = |message: &str| WatchOutcome::Unknown { message: message.into() };
        let expected = [
            ("b1", unknown("not trusted"), Some(ArcState::Running)),
            ("a1", WatchOutcome::Pending, Some(ArcState::Queuing)),
            ("c1", unknown("on no CE"), None),
            ("b2", WatchOutcome::Reached, Some(ArcState::Finished)),
            ("a1", WatchOutcome::Pending, Some(ArcState::Queuing)),
            ("a2", unknown("CE 0 is away"), None),
        ];
        let standings = jobs.standings(|ce| if ce == 0 { "CE 0 is away" } else { "" });
        let found: Vec<(&str, WatchOutcome, Option<ArcState>)> =
            standings.iter().map(|job| (job.id.as_str(), job.outcome.clone(), job.state)).collect();
        assert_eq!(found, expected);
    }

    proptest! {
        /// Whatever is observed: each change begins where the one before ended, stages only grow, and nothing follows an end.
        #[test]
        fn any_course_is_reported_in_order(seen in proptest::collection::vec(0..ArcState::ALL.len(), 0..40)) {
            let seen: Vec<ArcState> = seen.into_iter().map(|index| ArcState::ALL[index]).collect();
            let (changes, _) = watch(WatchGoal::End, &states(&seen));
            let (mut from, mut latest) = (None, 0);
            for (index, change) in changes.iter().enumerate() {
                prop_assert_eq!(change.from, from);
                prop_assert!(change.to != from.map_or(Standing::Gone, Standing::State) || from.is_none());
                prop_assert!(!change.to.is_final() || index == changes.len() - 1);
                if let Some(stage) = change.to.state().and_then(stage) {
                    prop_assert!(stage >= latest);
                    latest = stage;
                }
                from = change.to.state();
            }
        }
    }
}
