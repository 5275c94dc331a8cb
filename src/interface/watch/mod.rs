//! Watching jobs: [`Watch`], and waiting for the end of jobs.

mod renewal;

use std::borrow::Borrow;
use std::collections::VecDeque;
use std::fmt;
use std::iter::FusedIterator;
use std::ops::ControlFlow;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use self::renewal::Renewal;
use super::{ArcInterface, owned};
use crate::backend::failure::not_found;
use crate::backend::poll::{PollMemory, Polled};
use crate::error::{Error, ErrorKind, OTHER_CE, Operation, Result};
use crate::job::{ArcState, JobId, JobStatus};
use crate::limits::{CallLimits, CancelToken, Interrupted, Limits};
use crate::logging::{LogLevel, log};
use crate::watch::{
    Change, Jobs, Observation, Pace, PollPolicy, PollSummary, WatchEnd, WatchGoal, WatchOutcome, WatchReport,
};

/// The time that a poll before the deadline gets, besides that of the last poll.
const LAST_POLL_MARGIN: Duration = Duration::from_millis(50);

type Callback<'a, T> = Mutex<Box<dyn FnMut(&T) -> ControlFlow<()> + Send + 'a>>;

/// Watches jobs until they end, or until another goal. Created by [`ArcInterface::watch`].
///
/// Run it in one of two ways: [`wait`](Self::wait) blocks until the end and returns where each job stands. As an
/// iterator, it blocks until the next [`Change`]. Then call [`report`](Self::report) at any time.
///
/// # What a watch reports
///
/// - A watch reports each change of state that a poll sees, and misses states between two polls. The first [`Change`] of a
///   job has no `from`.
/// - A job never goes back to an earlier stage, although some of what a CE publishes is a minute old. Only in the batch system
///   can it be reported as queued or running again.
/// - A watch reports a job in the batch system as [`ArcState::Queuing`] until A-REX publishes, once a minute, that it runs. It
///   may report [`ArcState::Running`] a minute late, or never for a short job. The next poll reports all other states.
/// - A job that the CE no longer knows is [gone](crate::Standing::Gone). It has not failed.
/// - A state that this crate does not know is [`ArcState::Other`] and ends nothing.
///
/// # When the CE is away
///
/// The watch goes on while the CE refuses connections, is silent or responds with an error that may pass, such as HTTP
/// status 500 or 503. Without a [`deadline`](Self::deadline) it does so for ever. The log has a warning,
/// [`on_poll`](Self::on_poll) is called after each poll, and the report has
/// [`unreachable_since`](WatchReport::unreachable_since). Errors that waiting cannot fix end the watch:
///
/// - a CE that is not trusted, or that refuses the user, and credentials that cannot be renewed;
/// - a host name that does not exist, or a server without an ARC-CE, if the CE has never responded to this watch;
/// - a cancelled token.
///
/// # Cost
///
/// Over REST, each poll costs at most two requests for up to 1000 jobs: one small request for one job, otherwise a list of
/// the user's jobs that have not ended. The list takes A-REX about 0.1 ms for each job that it has, also those of other
/// users, and the pause after it is several times as long. If the list takes longer than a second, and requests for the single jobs are quicker, the watch
/// sends those. Jobs that have ended cost nothing more. [`PollPolicy`] has the intervals.
///
/// Each poll renews the proxy certificate if necessary, as every operation does. The watch then renews the delegations of the
/// jobs too, as [`renew_jobs`](ArcInterface::renew_jobs) does, and once when it has lasted a minute.
///
/// ```no_run
/// use std::time::Duration;
///
/// use jasmin_arc::ArcInterface;
///
/// # fn main() -> jasmin_arc::Result<()> {
/// let arc = ArcInterface::from_file("config.json")?;
/// # let jobs: Vec<jasmin_arc::JobId> = Vec::new();
/// let mut watch = arc.watch(&jobs).deadline(Duration::from_secs(3600));
/// for change in &mut watch {
///     println!("{}", change?); // https://...: Running -> Finished
/// }
/// println!("{} jobs still run", watch.report().pending().count());
/// # Ok(())
/// # }
/// ```
#[must_use = "a watch does nothing until it is waited for or iterated over"]
pub struct Watch<'a> {
    arc: ArcInterface,
    jobs: Jobs,
    limits: CallLimits,
    policy: PollPolicy,
    on_change: Option<Callback<'a, Change>>,
    on_poll: Option<Callback<'a, PollSummary>>,
    /// Set by the first poll.
    run: Option<Run>,
    /// Changes that have not been told yet.
    changes: VecDeque<Change>,
    end: Option<WatchEnd>,
    /// An error has ended the watch.
    has_failed: bool,
    /// Since when the CE is away, and the last error.
    away: Option<(SystemTime, String)>,
    /// Whether the CE has responded.
    has_responded: bool,
}

/// The course of a watch that has begun.
struct Run {
    limits: Limits,
    pace: Pace,
    memory: PollMemory,
    renewal: Renewal,
    /// The time until the next poll.
    pause: Duration,
    /// The time that the last poll took.
    took: Duration,
}

impl fmt::Debug for Watch<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch")
            .field("pending", &self.jobs.pending())
            .field("end", &self.end)
            .field("away", &self.away)
            .finish_non_exhaustive()
    }
}

impl<'a> Watch<'a> {
    /// Sets what to wait for: a [`JobStatus`], an [`ArcState`], or the end of each job, which is the default.
    ///
    /// A later state counts as reached, and a job that has ended has reached every goal. Look at
    /// [`WatchedJob::state`](crate::WatchedJob::state) for how.
    ///
    /// ```no_run
    /// use jasmin_arc::ArcState;
    ///
    /// # fn main() -> jasmin_arc::Result<()> {
    /// # let arc = jasmin_arc::ArcInterface::builder().build()?;
    /// # let job = jasmin_arc::JobId::from("");
    /// let report = arc.watch([&job]).until(ArcState::Running).wait()?;
    /// println!("the job is {:?}", report.jobs[0].state);
    /// # Ok(())
    /// # }
    /// ```
    pub fn until(mut self, goal: impl Into<WatchGoal>) -> Self {
        self.jobs.set_goal(goal.into());
        self
    }

    /// Sets a time after which the watch ends, counted from its first poll.
    ///
    /// This is an answer and not an error: the report says which jobs are pending. The last poll is just before the
    /// deadline. Of several deadlines the shortest holds, including that of
    /// [`with_deadline`](ArcInterface::with_deadline).
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.limits = self.limits.with_deadline(deadline);
        self
    }

    /// Sets how often the watch asks the CE.
    pub fn poll(mut self, policy: PollPolicy) -> Self {
        self.policy = policy;
        self
    }

    /// Adds a token that ends the watch with [`Error::Cancelled`] when it is cancelled, from any thread.
    ///
    /// ```no_run
    /// use std::thread;
    ///
    /// use jasmin_arc::{CancelToken, Error};
    ///
    /// # fn main() -> jasmin_arc::Result<()> {
    /// # let arc = jasmin_arc::ArcInterface::builder().build()?;
    /// # let jobs: Vec<jasmin_arc::JobId> = Vec::new();
    /// # fn wait_for_key() {}
    /// let token = CancelToken::new();
    /// let quit = token.clone();
    /// thread::spawn(move || {
    ///     wait_for_key();
    ///     quit.cancel();
    /// });
    /// match arc.watch(&jobs).cancel(&token).wait() {
    ///     Err(Error::Cancelled) => println!("the jobs go on"),
    ///     report => println!("{} jobs have ended", report?.reached().count()),
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn cancel(mut self, token: &CancelToken) -> Self {
        self.limits = self.limits.with_cancel(token);
        self
    }

    /// Calls `callback` with each change, before the iterator returns it. [`ControlFlow::Break`] ends the watch.
    ///
    /// ```no_run
    /// use std::ops::ControlFlow;
    ///
    /// use jasmin_arc::JobStatus;
    ///
    /// # fn main() -> jasmin_arc::Result<()> {
    /// # let arc = jasmin_arc::ArcInterface::builder().build()?;
    /// # let jobs: Vec<jasmin_arc::JobId> = Vec::new();
    /// let stop_at_a_failure = |change: &jasmin_arc::Change| match change.status() {
    ///     Some(JobStatus::Failed) => ControlFlow::Break(()),
    ///     _ => ControlFlow::Continue(()),
    /// };
    /// arc.watch(&jobs).on_change(stop_at_a_failure).wait()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn on_change(mut self, callback: impl FnMut(&Change) -> ControlFlow<()> + Send + 'a) -> Self {
        self.on_change = Some(Mutex::new(Box::new(callback)));
        self
    }

    /// Calls `callback` after each poll, also when the CE has not responded, except after a poll that ends the watch with an
    /// error or at the deadline. [`ControlFlow::Break`] ends the watch.
    ///
    /// The callback comes before the changes of the poll.
    ///
    /// ```no_run
    /// use std::ops::ControlFlow;
    ///
    /// # fn main() -> jasmin_arc::Result<()> {
    /// # let arc = jasmin_arc::ArcInterface::builder().build()?;
    /// # let jobs: Vec<jasmin_arc::JobId> = Vec::new();
    /// let watch = arc.watch(&jobs).on_poll(|poll| {
    ///     if let Some(error) = &poll.error {
    ///         eprintln!("waiting for the CE: {error}");
    ///     }
    ///     ControlFlow::Continue(())
    /// });
    /// watch.wait()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn on_poll(mut self, callback: impl FnMut(&PollSummary) -> ControlFlow<()> + Send + 'a) -> Self {
        self.on_poll = Some(Mutex::new(Box::new(callback)));
        self
    }

    /// Runs the watch to its end and returns where each job stands.
    ///
    /// # Errors
    ///
    /// Errors that waiting cannot fix: see [above](Self#when-the-ce-is-away). A deadline is no error, and neither are jobs that
    /// failed or are gone.
    ///
    /// ```no_run
    /// use std::time::Duration;
    ///
    /// # fn main() -> jasmin_arc::Result<()> {
    /// # let arc = jasmin_arc::ArcInterface::builder().build()?;
    /// # let jobs: Vec<jasmin_arc::JobId> = Vec::new();
    /// let report = arc.watch(&jobs).deadline(Duration::from_secs(3600)).wait()?;
    /// for job in report.pending() {
    ///     println!("{} is still {:?}", job.id, job.state);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn wait(mut self) -> Result<WatchReport> {
        self.run_to_end()?;
        Ok(self.report())
    }

    /// Returns where each job stands now. Sends no request.
    pub fn report(&self) -> WatchReport {
        let why = match &self.away {
            Some((_, error)) => error,
            None => "the CE reported no state before the watch ended",
        };
        WatchReport {
            jobs: self.jobs.standings(why),
            end: self.end,
            unreachable_since: self.away.as_ref().map(|(since, _)| *since),
        }
    }

    fn run_to_end(&mut self) -> Result<()> {
        self.try_for_each(|change| change.map(drop))
    }

    /// Polls once, after the pause that is due. Sets the end of the watch when it has come.
    fn step(&mut self) -> Result<()> {
        let run = self.run.get_or_insert_with(|| Run {
            limits: self.limits.begin(),
            pace: Pace::new(self.policy.clone()),
            memory: PollMemory::default(),
            renewal: Renewal::new(),
            pause: Duration::ZERO,
            took: Duration::ZERO,
        });
        if self.jobs.pending().is_empty() {
            self.end = Some(WatchEnd::Settled);
            return Ok(());
        }
        match run.wait() {
            Ok(()) => {}
            Err(Interrupted::Deadline(_)) => {
                self.end = Some(WatchEnd::Deadline);
                return Ok(());
            }
            Err(Interrupted::Cancelled) => return Err(Error::Cancelled),
        }
        let (time, begun) = (SystemTime::now(), Instant::now());
        let polled = poll(&self.arc, self.jobs.pending(), run);
        run.took = begun.elapsed();
        let is_news = match polled {
            Ok(polled) => {
                let changes = self.take_in(polled);
                let is_news = !changes.is_empty();
                self.changes.extend(changes);
                is_news
            }
            Err(Error::DeadlineExceeded { .. }) => {
                self.end = Some(WatchEnd::Deadline);
                return Ok(());
            }
            Err(error) if self.may_pass(&error) => {
                self.note_absence(time, &error);
                false
            }
            Err(error) => return Err(error),
        };
        let error = self.away.as_ref().map(|(_, error)| error.clone());
        let summary = PollSummary {
            jobs: self.jobs.count(),
            pending: self.jobs.pending().len(),
            unreachable_since: self.away.as_ref().map(|(since, _)| *since),
            error,
        };
        if call(&mut self.on_poll, &summary).is_break() {
            self.end = Some(WatchEnd::Stopped);
        }
        if let Some(run) = &mut self.run {
            if is_news {
                run.pace.restart();
            }
            run.pause = run.pace.interval(run.pause, fastrand::f64());
            if let Some(left) = run.renewal.left(self.arc.0.config.proxy_renewal_threshold()) {
                run.pause = run.pause.min(left);
            }
        }
        Ok(())
    }

    /// Returns the status of each job that has ended, and why another one has none, after the end of the watch.
    pub(super) fn statuses(&self) -> Vec<Result<JobStatus>> {
        let report = self.report();
        let endpoint = &self.arc.0.endpoint;
        let deadline = self.run.as_ref().and_then(|run| run.limits.deadline()).unwrap_or_default();
        let one = |job: crate::watch::WatchedJob| match (&job.outcome, job.status()) {
            (WatchOutcome::Reached, Some(status)) => Ok(status),
            (WatchOutcome::Gone, _) => Err(not_found(endpoint, &job.id)),
            (WatchOutcome::Unknown { message }, _) if message.starts_with(OTHER_CE) => {
                Err(not_found(endpoint, &job.id))
            }
            (WatchOutcome::Unknown { message }, _) if report.end == Some(WatchEnd::Settled) => {
                let message = message.clone();
                Err(Error::JobOperation { job_id: job.id, operation: Operation::LookUp, message })
            }
            _ => Err(Error::DeadlineExceeded { deadline }),
        };
        report.jobs.into_iter().map(one).collect()
    }

    /// Takes in what a poll found. Returns the changes.
    fn take_in(&mut self, polled: Polled) -> Vec<Change> {
        let was_away = self.away.take().is_some();
        if was_away {
            let _entered = self.arc.0.log.enter();
            log(LogLevel::Info, format!("{} responds again", self.arc.0.endpoint));
        }
        self.has_responded = true;
        if let Some(run) = &mut self.run {
            run.pause = polled.pause;
            if was_away || polled.is_unsettled {
                run.pace.restart();
            }
        }
        self.jobs.observe(polled.states.into_iter().map(observation), SystemTime::now())
    }

    /// Whether an error may pass without a change to the configuration or the credentials.
    fn may_pass(&self, error: &Error) -> bool {
        error.is_retryable()
            // A CE that has responded before exists, even if its name server or a proxy in front of it now denies it.
            || self.has_responded
                && matches!(error.kind(), ErrorKind::HostNotFound | ErrorKind::Refused | ErrorKind::NoTargetsAvailable)
    }

    fn note_absence(&mut self, since: SystemTime, error: &Error) {
        if let Some(run) = &mut self.run {
            run.pause = Duration::ZERO;
        }
        match &mut self.away {
            Some((_, last)) => *last = error.to_string(),
            None => {
                let _entered = self.arc.0.log.enter();
                log(LogLevel::Warning, format!("waiting for the CE: {error}"));
                self.away = Some((since, error.to_string()));
                if let Some(run) = &mut self.run {
                    run.pace.restart();
                }
            }
        }
    }
}

impl Iterator for Watch<'_> {
    type Item = Result<Change>;

    fn next(&mut self) -> Option<Result<Change>> {
        loop {
            if let Some(change) = self.changes.pop_front() {
                if call(&mut self.on_change, &change).is_break() {
                    self.end = Some(WatchEnd::Stopped);
                    self.changes.clear();
                }
                return Some(Ok(change));
            }
            if self.end.is_some() || self.has_failed {
                return None;
            }
            if let Err(error) = self.step() {
                self.has_failed = true;
                return Some(Err(error));
            }
        }
    }
}

impl FusedIterator for Watch<'_> {}

impl Run {
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
}

/// Asks the CE once.
fn poll(arc: &ArcInterface, ids: &[JobId], run: &mut Run) -> Result<Polled> {
    let call = arc.begin_within(run.limits.clone())?;
    let backend = arc.backend(&call)?;
    let polled = backend.poll(ids, &mut run.memory)?;
    run.renewal.run(&arc.0.credentials, &*backend, ids, &run.limits);
    Ok(polled)
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

fn call<T>(callback: &mut Option<Callback<'_, T>>, value: &T) -> ControlFlow<()> {
    match callback {
        Some(callback) => callback.get_mut().unwrap_or_else(PoisonError::into_inner)(value),
        None => ControlFlow::Continue(()),
    }
}

impl ArcInterface {
    /// Waits until a job has ended and returns its status: [`wait_jobs`](Self::wait_jobs) for one.
    ///
    /// # Errors
    ///
    /// [`Error::JobNotFound`] if the CE does not know the job or has removed it. [`Error::DeadlineExceeded`] after the time
    /// of [`with_deadline`](Self::with_deadline). A job that fails is no error. While the CE is away, the call waits: see
    /// [`Watch`](Watch#when-the-ce-is-away).
    ///
    /// ```no_run
    /// use jasmin_arc::{ArcInterface, JobStatus};
    ///
    /// # fn main() -> jasmin_arc::Result<()> {
    /// let arc = ArcInterface::from_file("config.json")?;
    /// let job = arc.submit_job("/bin/hostname", &[], &[])?;
    /// if arc.wait_job(&job)? != JobStatus::Completed {
    ///     println!("the job failed: {:?}", arc.job(&job)?.failure_reason());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn wait_job(&self, id: &JobId) -> Result<JobStatus> {
        let results = self.wait_jobs([id])?;
        self.single(results)?
    }

    /// Waits until all jobs have ended and returns their statuses, in the order of `ids`.
    ///
    /// This is the short form of [`watch`](Self::watch), which can also report progress and stop earlier, and has the
    /// cost.
    ///
    /// # Errors
    ///
    /// For one job: [`Error::JobNotFound`] if the CE does not know it or has removed it; [`Error::JobOperation`] if the CE
    /// refuses to tell its state; [`Error::DeadlineExceeded`] if it has not ended within the time of
    /// [`with_deadline`](Self::with_deadline). For the call: what [ends a watch](Watch#when-the-ce-is-away).
    ///
    /// ```no_run
    /// use jasmin_arc::{ArcInterface, JobDescription};
    ///
    /// # fn main() -> jasmin_arc::Result<()> {
    /// let arc = ArcInterface::from_file("config.json")?;
    /// let jobs = (0..100).map(|n| JobDescription::new("/bin/echo").with_arg(n.to_string()));
    /// let ids = arc.submit_jobs(jobs)?.into_iter().collect::<Result<Vec<_>, _>>()?;
    /// for (id, status) in ids.iter().zip(arc.wait_jobs(&ids)?) {
    ///     println!("{id}: {}", status?);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn wait_jobs(&self, ids: impl IntoIterator<Item: Borrow<JobId>>) -> Result<Vec<Result<JobStatus>>> {
        let mut watch = self.watch(ids);
        watch.run_to_end()?;
        Ok(watch.statuses())
    }

    /// Watches jobs until they end, or until another goal: see [`Watch`].
    ///
    /// The returned builder does nothing until it is waited for or iterated over. One watch serves any number of jobs, and
    /// is cheaper than several.
    ///
    /// ```no_run
    /// use std::time::Duration;
    ///
    /// use jasmin_arc::ArcInterface;
    ///
    /// # fn main() -> jasmin_arc::Result<()> {
    /// let arc = ArcInterface::from_file("config.json")?;
    /// # let jobs: Vec<jasmin_arc::JobId> = Vec::new();
    /// let report = arc.watch(&jobs).deadline(Duration::from_secs(600)).wait()?;
    /// println!("{} of {} jobs have ended", report.reached().count(), report.jobs.len());
    /// # Ok(())
    /// # }
    /// ```
    pub fn watch<'a>(&self, ids: impl IntoIterator<Item: Borrow<JobId>>) -> Watch<'a> {
        Watch {
            arc: self.clone(),
            jobs: Jobs::new(owned(ids)),
            limits: self.1.clone(),
            policy: PollPolicy::default(),
            on_change: None,
            on_poll: None,
            run: None,
            changes: VecDeque::new(),
            end: None,
            has_failed: false,
            away: None,
            has_responded: false,
        }
    }
}

#[cfg(test)]
mod tests;
