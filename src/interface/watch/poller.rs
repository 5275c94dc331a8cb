//! [`Poller`]: asks one CE about the jobs of a watch, again and again.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use super::renewal::Renewal;
use crate::backend::poll::{PollMemory, Polled};
use crate::error::{Error, ErrorKind, OTHER_CE, Result};
use crate::interface::ArcInterface;
use crate::job::ArcState;
use crate::limits::{Interrupted, Limits};
use crate::logging::{LogLevel, log};
use crate::util::lock;
use crate::watch::{Change, Jobs, Observation, Pace, Pending, PollPolicy, WatchEnd};

/// The time that a poll before the deadline gets, besides that of the last poll.
const LAST_POLL_MARGIN: Duration = Duration::from_millis(50);

/// Since when a CE is away, and the last error.
pub(super) type Absence = (SystemTime, String);

/// What a step of a poller has led to. After an end or a failure, it has no more steps.
#[derive(Debug)]
pub(super) enum Step {
    Polled {
        changes: Vec<Change>,
        /// The number of jobs that are still asked for.
        pending: usize,
        absence: Option<Absence>,
    },
    Ended(WatchEnd),
    Failed(Error),
}

/// Polls one CE.
pub(super) struct Poller {
    arc: ArcInterface,
    /// The number of the CE.
    ce: usize,
    jobs: Arc<Mutex<Jobs>>,
    pending: Pending,
    limits: Limits,
    pace: Pace,
    memory: PollMemory,
    renewal: Renewal,
    /// The time until the next poll.
    pause: Duration,
    /// The time that the last poll took.
    took: Duration,
    absence: Option<Absence>,
    /// Whether the CE has responded.
    pub(super) has_responded: bool,
}

impl Poller {
    pub(super) fn new(
        arc: ArcInterface,
        ce: usize,
        (jobs, pending): (Arc<Mutex<Jobs>>, Pending),
        limits: Limits,
        policy: PollPolicy,
        finds_new: bool,
    ) -> Poller {
        Poller {
            arc,
            ce,
            jobs,
            pending,
            limits,
            pace: Pace::new(policy),
            memory: PollMemory { finds_others: finds_new, ..PollMemory::default() },
            renewal: Renewal::new(),
            pause: Duration::ZERO,
            took: Duration::ZERO,
            absence: None,
            has_responded: false,
        }
    }

    /// Polls once, after the pause that is due.
    pub(super) fn step(&mut self) -> Step {
        if self.pending.ids().is_empty() && !self.memory.finds_others {
            return Step::Ended(WatchEnd::Settled);
        }
        match self.wait() {
            Ok(()) => {}
            Err(Interrupted::Deadline(_)) => return Step::Ended(WatchEnd::Deadline),
            Err(Interrupted::Cancelled) => return Step::Failed(Error::Cancelled),
        }
        let (time, begun) = (SystemTime::now(), Instant::now());
        let polled = self.poll();
        self.took = begun.elapsed();
        let changes = match polled {
            Ok(polled) => self.take_in(polled),
            Err(Error::DeadlineExceeded { .. }) => return Step::Ended(WatchEnd::Deadline),
            Err(error) if self.may_pass(&error) => {
                self.note_absence(time, &error);
                Vec::new()
            }
            Err(error) => return Step::Failed(error),
        };
        if !changes.is_empty() {
            self.pace.restart();
        }
        self.pause = self.pace.interval(self.pause, fastrand::f64());
        if let Some(left) = self.renewal.left(self.arc.0.config.proxy_renewal_threshold()) {
            self.pause = self.pause.min(left);
        }
        Step::Polled { changes, pending: self.pending.ids().len(), absence: self.absence.clone() }
    }

    /// Waits until the next poll is due. A poll that would be due after the deadline comes just before it.
    fn wait(&self) -> Result<(), Interrupted> {
        self.limits.check()?;
        let Some((left, deadline)) = self.limits.left().zip(self.limits.deadline()) else {
            return self.limits.sleep(self.pause);
        };
        let margin = 2 * self.took + LAST_POLL_MARGIN;
        match left.checked_sub(margin) {
            // A poll has just been.
            None if !self.pause.is_zero() => Err(Interrupted::Deadline(deadline)),
            None => Ok(()),
            Some(usable) => self.limits.sleep(self.pause.min(usable)),
        }
    }

    /// Asks the CE once.
    fn poll(&mut self) -> Result<Polled> {
        let call = self.arc.begin_within(self.limits.clone())?;
        let backend = self.arc.backend(&call)?;
        let ids = self.pending.ids();
        let polled = backend.poll(ids, &mut self.memory)?;
        self.renewal.run(&self.arc.0.credentials, &*backend, ids, &self.limits);
        Ok(polled)
    }

    /// Takes in what a poll found. Returns the changes.
    fn take_in(&mut self, polled: Polled) -> Vec<Change> {
        let was_away = self.absence.take().is_some();
        if was_away {
            let _entered = self.arc.0.log.enter();
            log(LogLevel::Info, format!("{} responds again", self.arc.0.endpoint));
        }
        self.has_responded = true;
        self.pause = polled.pause;
        if was_away || polled.is_unsettled {
            self.pace.restart();
        }
        let observations = polled.states.into_iter().map(observation);
        let mut jobs = lock(&self.jobs);
        let changes = jobs.observe(&mut self.pending, observations, SystemTime::now());
        if jobs.add(self.ce, polled.others, &mut self.pending) {
            self.pace.restart();
        }
        changes
    }

    /// Whether an error may pass without a change to the configuration or the credentials.
    pub(super) fn may_pass(&self, error: &Error) -> bool {
        error.is_retryable()
            // A CE that has responded before exists, even if its name server or a proxy in front of it now denies it.
            || self.has_responded
                && matches!(error.kind(), ErrorKind::HostNotFound | ErrorKind::Refused | ErrorKind::NoTargetsAvailable)
    }

    fn note_absence(&mut self, since: SystemTime, error: &Error) {
        self.pause = Duration::ZERO;
        match &mut self.absence {
            Some((_, last)) => *last = error.to_string(),
            none => {
                let _entered = self.arc.0.log.enter();
                log(LogLevel::Warning, format!("waiting for the CE: {error}"));
                *none = Some((since, error.to_string()));
                self.pace.restart();
            }
        }
    }
}

fn observation(state: Result<Option<ArcState>>) -> Observation {
    match state {
        Ok(Some(state)) => Observation::State(state),
        Ok(None) => Observation::Nothing,
        Err(Error::JobNotFound { message, .. }) if message.starts_with(OTHER_CE) => Observation::Foreign(message),
        Err(Error::JobNotFound { .. }) => Observation::Gone,
        Err(error) if error.is_retryable() => Observation::Nothing,
        Err(error) => Observation::Refused(error.to_string()),
    }
}
