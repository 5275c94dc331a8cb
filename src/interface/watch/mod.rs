//! Watching jobs: [`Watch`], and waiting for the end of jobs.

mod poller;
mod renewal;

use std::borrow::Borrow;
use std::collections::VecDeque;
use std::fmt;
use std::iter::FusedIterator;
use std::ops::ControlFlow;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use self::poller::{Absence, Poller, Step};
use super::{ArcInterface, check_process, lost_thread, owned};
use crate::backend::failure::not_found;
use crate::error::{Error, ErrorKind, OTHER_CE, Operation, Result};
use crate::job::{JobId, JobStatus};
use crate::limits::{CallLimits, CancelOnDrop, CancelToken};
use crate::util::lock;
use crate::watch::{
    Change, Jobs, Pending, PollPolicy, PollSummary, WatchEnd, WatchGoal, WatchOutcome, WatchReport, WatchedJob,
};

type Callback<'a, T> = Mutex<Box<dyn FnMut(&T) -> ControlFlow<()> + Send + 'a>>;

/// Watches jobs until they end, or until another goal. Created by [`ArcInterface::watch`], and for jobs on several CEs by
/// [`ArcPool::watch`](crate::ArcPool::watch).
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
/// - A watch reports a job in the batch system as [`ArcState::Queuing`](crate::ArcState::Queuing) until A-REX publishes, once a minute, that it runs. It
///   may report [`ArcState::Running`](crate::ArcState::Running) a minute late, or never for a short job. The next poll reports all other states.
///   On a CE without a batch system (`fork`), a job runs as soon as A-REX has started it.
/// - A job that the CE no longer knows is [gone](crate::Standing::Gone). It has not failed.
/// - A job of which A-REX has had no status for ten minutes, although it publishes something about it, is
///   [`WatchOutcome::Unknown`]. A-REX may have lost it, for example when it was killed while it changed the status.
/// - A state that this crate does not know is [`ArcState::Other`](crate::ArcState::Other) and ends nothing.
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
/// # Several CEs
///
/// A watch of a [pool](crate::ArcPool) polls the CEs at the same time, each in a thread of its own, also while the iterator is
/// not asked for a change. A CE that is away delays nothing of the others. An error that would end the watch of one CE ends
/// only that part: the iterator returns it and goes on, and the pending jobs of the CE are [`WatchOutcome::Unknown`] with
/// the message of the error. Dropping the watch ends the threads.
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
    jobs: Arc<Mutex<Jobs>>,
    ces: Vec<Ce>,
    source: Source,
    policy: PollPolicy,
    /// Ends the threads.
    stop: CancelOnDrop,
    on_change: Option<Callback<'a, Change>>,
    on_poll: Option<Callback<'a, PollSummary>>,
    /// Changes that have not been reported yet.
    changes: VecDeque<Change>,
    /// The poll that they come from, for [`on_poll`](Watch::on_poll).
    polled: Option<PollSummary>,
    /// Whether to look for new jobs.
    finds_new: bool,
    end: Option<WatchEnd>,
    /// Errors have ended the watch.
    has_failed: bool,
}

/// A CE of a watch.
struct Ce {
    arc: ArcInterface,
    limits: CallLimits,
    /// The number of jobs that are still asked for.
    pending: usize,
    absence: Option<Absence>,
    progress: Progress,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    /// It has none of the jobs.
    WithoutJobs,
    Watched,
    Ended(WatchEnd),
    Failed,
}

/// Where the steps of a watch come from.
enum Source {
    /// The watch has not begun. The pending jobs of each CE.
    None(Vec<Pending>),
    /// One CE, which the thread of the caller polls, and its index.
    Poller(usize, Box<Poller>),
    /// Threads that poll a CE each. They send its index with each step.
    Threads(Mutex<Receiver<(usize, Step)>>),
}

/// Sends the steps of a poller in a thread of its own. If the thread panics, that is the last step: the threads of other CEs
/// keep the channel open.
struct Steps {
    sender: Sender<(usize, Step)>,
    ce: usize,
}

impl Drop for Steps {
    fn drop(&mut self) {
        if thread::panicking() {
            let _ = self.sender.send((self.ce, Step::Failed(lost_thread())));
        }
    }
}

impl fmt::Debug for Watch<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch")
            .field("pending", &self.pending())
            .field("end", &self.end)
            .field("away", &self.absence())
            .finish_non_exhaustive()
    }
}

impl<'a> Watch<'a> {
    /// Sets what to wait for: a [`JobStatus`], an [`ArcState`](crate::ArcState), or the end of each job, which is the default.
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
    pub fn until(self, goal: impl Into<WatchGoal>) -> Self {
        lock(&self.jobs).set_goal(goal.into());
        self
    }

    /// Sets a time after which the watch ends, counted from its first poll.
    ///
    /// This is an answer and not an error: the report says which jobs are pending. The last poll is just before the
    /// deadline. Of several deadlines the shortest holds, including that of
    /// [`with_deadline`](ArcInterface::with_deadline).
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.ces.iter_mut().for_each(|ce| ce.limits = ce.limits.clone().with_deadline(deadline));
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
        self.ces.iter_mut().for_each(|ce| ce.limits = ce.limits.clone().with_cancel(token));
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
    /// The callback comes after the changes of the poll: a program can draw what they have led to once.
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
    /// failed or are gone. With several CEs, only if such an error has come from each of them, or a token is cancelled.
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
        let why = |ce: usize| match self.ces.get(ce).and_then(|ce| ce.absence.as_ref()) {
            Some((_, error)) => error.as_str(),
            None => "the CE reported no state before the watch ended",
        };
        WatchReport {
            jobs: lock(&self.jobs).standings(why),
            end: self.end,
            unreachable_since: self.absence().map(|(since, _)| *since),
        }
    }

    /// Watches jobs on several CEs. `ce_of` returns the index of the CE of a job, or why there is none.
    pub(super) fn new(
        ids: impl IntoIterator<Item: Borrow<JobId>>,
        arcs: &[ArcInterface],
        ce_of: impl Fn(&JobId) -> Result<usize, String>,
    ) -> Watch<'a> {
        let (jobs, pending) = Jobs::new(owned(ids), arcs.len(), ce_of);
        let ce = |(arc, pending): (&ArcInterface, &Pending)| Ce {
            arc: arc.clone(),
            limits: arc.1.clone(),
            pending: pending.ids().len(),
            absence: None,
            progress: if pending.ids().is_empty() { Progress::WithoutJobs } else { Progress::Watched },
        };
        Watch {
            ces: arcs.iter().zip(&pending).map(ce).collect(),
            jobs: Arc::new(Mutex::new(jobs)),
            source: Source::None(pending),
            policy: PollPolicy::default(),
            stop: CancelOnDrop::default(),
            on_change: None,
            on_poll: None,
            changes: VecDeque::new(),
            polled: None,
            finds_new: false,
            end: None,
            has_failed: false,
        }
    }

    /// Watches all jobs on some CEs, and those that come.
    pub(super) fn all(arcs: &[ArcInterface]) -> Watch<'a> {
        let mut watch = Watch::new(std::iter::empty::<JobId>(), arcs, |_| Ok(0));
        watch.ces.iter_mut().for_each(|ce| ce.progress = Progress::Watched);
        Watch { finds_new: true, ..watch }
    }

    fn run_to_end(&mut self) -> Result<()> {
        let failure = self.filter_map(Result::err).last();
        match failure {
            Some(error) if self.has_failed => Err(error),
            _ => Ok(()),
        }
    }

    /// The number of jobs that are still asked for.
    fn pending(&self) -> usize {
        self.ces.iter().map(|ce| ce.pending).sum()
    }

    /// The longest absence of a CE.
    fn absence(&self) -> Option<&Absence> {
        self.ces.iter().filter_map(|ce| ce.absence.as_ref()).min_by_key(|(since, _)| *since)
    }

    /// The next step of any CE, and the index of the CE. `None` if no CE is watched any more.
    fn step(&mut self) -> Option<(usize, Step)> {
        let first = self.ces.iter().position(|ce| ce.progress == Progress::Watched)?;
        if let Source::None(pending) = &mut self.source {
            let pending = std::mem::take(pending);
            self.source = self.begin(pending);
        }
        Some(match &mut self.source {
            Source::Poller(index, poller) => (*index, poller.step()),
            Source::Threads(receiver) => match check_process() {
                Ok(()) => {
                    let receiver = receiver.get_mut().unwrap_or_else(PoisonError::into_inner);
                    receiver.recv().unwrap_or_else(|_| (first, Step::Failed(lost_thread())))
                }
                // The threads are in the parent process.
                Err(forked) => (first, Step::Failed(forked)),
            },
            Source::None(_) => return None,
        })
    }

    /// Creates the pollers of the CEs, and the threads for several of them.
    fn begin(&self, pending: Vec<Pending>) -> Source {
        let watched = self.ces.iter().zip(pending).enumerate();
        let watched = watched.filter(|(_, (ce, _))| ce.progress == Progress::Watched);
        let poller = |index: usize, ce: &Ce, limits: CallLimits, pending| {
            let jobs = (Arc::clone(&self.jobs), pending);
            let policy = self.policy.clone();
            Box::new(Poller::new(ce.arc.clone(), index, jobs, limits.begin(), policy, self.finds_new))
        };
        let mut watched: Vec<(usize, (&Ce, Pending))> = watched.collect();
        if watched.len() == 1 {
            if let Some((index, (ce, pending))) = watched.pop() {
                return Source::Poller(index, poller(index, ce, ce.limits.clone(), pending));
            }
        }
        let (sender, receiver) = channel();
        for (index, (ce, pending)) in watched {
            let mut poller = poller(index, ce, ce.limits.clone().with_cancel(&self.stop.0), pending);
            let steps = Steps { sender: sender.clone(), ce: index };
            let run = move || loop {
                let step = poller.step();
                let is_last = !matches!(step, Step::Polled { .. });
                if steps.sender.send((index, step)).is_err() || is_last {
                    break;
                }
            };
            if thread::Builder::new().name("jasmin-arc watch".into()).spawn(run).is_err() {
                let _ = sender.send((index, Step::Failed(lost_thread())));
            }
        }
        Source::Threads(Mutex::new(receiver))
    }

    /// Takes in a poll of a CE.
    fn take_in(&mut self, ce: usize, changes: Vec<Change>, pending: usize, absence: Option<Absence>) {
        self.changes.extend(changes);
        self.ces[ce].pending = pending;
        self.ces[ce].absence = absence;
        self.polled = Some(PollSummary {
            jobs: lock(&self.jobs).count(),
            pending: self.pending(),
            unreachable_since: self.absence().map(|(since, _)| *since),
            error: self.absence().map(|(_, error)| error.clone()),
        });
    }

    /// Ends the watch of a CE, and the whole watch if the error concerns every CE.
    fn fail(&mut self, ce: usize, error: &Error) {
        if matches!(error.kind(), ErrorKind::Cancelled | ErrorKind::Exiting | ErrorKind::Forked) {
            self.has_failed = true;
            self.stop.0.cancel();
            return;
        }
        lock(&self.jobs).give_up(ce, &error.to_string());
        let ce = &mut self.ces[ce];
        (ce.pending, ce.absence, ce.progress) = (0, None, Progress::Failed);
    }

    /// Ends the watch when no CE is watched any more.
    fn finish(&mut self) {
        let any = |progress| self.ces.iter().any(|ce| ce.progress == progress);
        self.end = match (any(Progress::Ended(WatchEnd::Deadline)), any(Progress::Ended(WatchEnd::Settled))) {
            (true, _) => Some(WatchEnd::Deadline),
            (false, false) if any(Progress::Failed) => None,
            _ => Some(WatchEnd::Settled),
        };
        self.has_failed = self.end.is_none();
    }

    /// Ends the watch for a callback.
    fn stop(&mut self) {
        self.end = Some(WatchEnd::Stopped);
        self.stop.0.cancel();
    }

    /// Returns the status of each job that has ended, and why another one has none, after the end of a watch of one CE.
    pub(super) fn statuses(&self) -> Vec<Result<JobStatus>> {
        let report = self.report();
        let Some(Ce { arc, limits, .. }) = self.ces.first() else { return Vec::new() };
        let deadline = limits.begin().deadline().unwrap_or_default();
        let one = |job: WatchedJob| match (&job.outcome, job.status()) {
            (WatchOutcome::Reached, Some(status)) => Ok(status),
            (WatchOutcome::Gone, _) => Err(not_found(&arc.0.endpoint, &job.id)),
            (WatchOutcome::Unknown { message }, _) if message.starts_with(OTHER_CE) => {
                Err(not_found(&arc.0.endpoint, &job.id))
            }
            (WatchOutcome::Unknown { message }, _) if report.end == Some(WatchEnd::Settled) => {
                let message = message.clone();
                Err(Error::JobOperation { job_id: job.id, operation: Operation::LookUp, message })
            }
            _ => Err(Error::DeadlineExceeded { deadline }),
        };
        report.jobs.into_iter().map(one).collect()
    }
}

impl Iterator for Watch<'_> {
    type Item = Result<Change>;

    fn next(&mut self) -> Option<Result<Change>> {
        loop {
            if let Some(change) = self.changes.pop_front() {
                if call(&mut self.on_change, &change).is_break() {
                    self.stop();
                    self.changes.clear();
                    self.polled = None;
                }
                return Some(Ok(change));
            }
            if self.polled.take().is_some_and(|polled| call(&mut self.on_poll, &polled).is_break()) {
                self.stop();
            }
            if self.end.is_some() || self.has_failed {
                return None;
            }
            match self.step() {
                None => self.finish(),
                Some((ce, Step::Polled { changes, pending, absence })) => self.take_in(ce, changes, pending, absence),
                Some((ce, Step::Ended(end))) => self.ces[ce].progress = Progress::Ended(end),
                Some((ce, Step::Failed(error))) => {
                    self.fail(ce, &error);
                    return Some(Err(error));
                }
            }
        }
    }
}

impl FusedIterator for Watch<'_> {}

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
    /// use jasmin_arc::ArcInterface;
    ///
    /// # fn main() -> jasmin_arc::Result<()> {
    /// let arc = ArcInterface::from_file("config.json")?;
    /// let job = arc.submit_job("/bin/hostname", &[], &[])?;
    /// let status = arc.wait_job(&job)?;
    /// println!("the job has {status}");
    /// if let Some(reason) = arc.job(&job)?.failure_reason() {
    ///     println!("{reason}");
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
        Watch::new(ids, std::slice::from_ref(self), |_| Ok(0))
    }

    /// Watches all your jobs on the CE, and those that you or other programs submit later: see [`Watch`].
    ///
    /// Jobs that have ended already are reported once. The watch does not end with the last job: it waits for new ones,
    /// until its deadline, a token or a callback ends it.
    ///
    /// The watch keeps every job that it has seen, also after the job is cleaned, for [`report`](Watch::report). It reports
    /// nothing more about a job that has reached the goal, even if the job is restarted.
    ///
    /// Like every watch, it renews the delegations of all jobs that it watches.
    ///
    /// Each poll is a list of your jobs that have not ended, also for a single job. Once a minute, another request lists
    /// those that have ended, for jobs that ended between two polls.
    ///
    /// # Errors
    ///
    /// Those of a [watch](Watch#when-the-ce-is-away). [`Error::Unsupported`] over EMI-ES, which cannot list jobs.
    ///
    /// ```no_run
    /// use jasmin_arc::ArcInterface;
    ///
    /// # fn main() -> jasmin_arc::Result<()> {
    /// let arc = ArcInterface::from_file("config.json")?;
    /// for change in arc.watch_all() {
    ///     println!("{}", change?);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn watch_all<'a>(&self) -> Watch<'a> {
        Watch::all(std::slice::from_ref(self))
    }
}

#[cfg(test)]
mod tests;
