//! The limits of a call: its deadline, its cancellation, and how requests are repeated.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, TryLockError};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use backon::{BackoffBuilder, ExponentialBuilder};
use jiff::fmt::rfc2822::DateTimeParser;

use crate::error::Error;
use crate::util::lock;

/// The interval between checks for cancellation.
const CANCEL_INTERVAL: Duration = Duration::from_millis(20);

/// The longest [`RetryPolicy::with_pause`].
const MAX_PAUSE: Duration = Duration::from_secs(5);

/// A flag that cancels calls from any thread.
///
/// [`ArcInterface::with_cancel`](crate::ArcInterface::with_cancel) returns an interface whose calls end with
/// [`Error::Cancelled`] when the token is cancelled. Clones share one state, so keep a clone to cancel with. A token
/// stays cancelled: use a new one for calls that come later.
///
/// ```
/// use jasmin_arc::{ArcInterface, CancelToken, ErrorKind, JobId};
///
/// # fn main() -> jasmin_arc::Result<()> {
/// let arc = ArcInterface::builder().build()?;
/// let shutdown = CancelToken::new();
/// let jobs = arc.with_cancel(&shutdown);
///
/// shutdown.cancel(); // for example in the thread that handles SIGTERM
/// let error = jobs.job_status(&JobId::from("any")).unwrap_err();
/// assert_eq!(error.kind(), ErrorKind::Cancelled);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Default)]
pub struct CancelToken(Arc<AtomicBool>);

impl CancelToken {
    /// Creates a token that is not cancelled.
    pub fn new() -> CancelToken {
        CancelToken::default()
    }

    /// Cancels all calls with this token, now and later.
    ///
    /// It only sets a flag, so any thread may call it, and a signal handler too. The calls return within a tenth of a
    /// second.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether [`cancel`](Self::cancel) has been called.
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl fmt::Debug for CancelToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CancelToken").field("is_cancelled", &self.is_cancelled()).finish()
    }
}

/// Cancels a token when it is dropped.
#[derive(Debug, Default)]
pub(crate) struct CancelOnDrop(pub(crate) CancelToken);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

/// The rules for repeating failed requests.
///
/// A request is repeated if the connection is refused or breaks, if no name server responds, or if the CE responds with
/// the HTTP status 429, 500, 502 or 503. It is not repeated after a timeout, for a certificate that is not trusted, or
/// if the CE refuses it with another status. Requests that would create something twice are never repeated: submitting
/// jobs has rules of its own.
///
/// Each pause is twice as long as the one before, up to a maximum. If the CE asks for a longer one (`Retry-After`), that
/// is used. No pause is longer than what is left of the [`timeout`](crate::ArcInterfaceBuilder::timeout) or of the
/// deadline of the call: the call then ends at once with the last error.
///
/// A CE that did not respond at all counts as unavailable. Calls then fail at once with the same error, while at most
/// one call at a time finds out whether the CE is back. This takes one short request, and at most four seconds.
///
/// ```
/// use std::time::Duration;
///
/// use jasmin_arc::{ArcInterface, RetryPolicy};
///
/// # fn main() -> jasmin_arc::Result<()> {
/// let patient = RetryPolicy::default().with_attempts(8).with_max_delay(Duration::from_secs(10));
/// let arc = ArcInterface::builder().retries(patient).build()?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct RetryPolicy {
    attempts: u32,
    first_delay: Duration,
    max_delay: Duration,
    jitter: bool,
    pause: Duration,
}

impl Default for RetryPolicy {
    /// Four attempts, with pauses of 0.2, 0.4 and 0.8 seconds and jitter. A CE that does not respond is tried again
    /// after two seconds.
    fn default() -> Self {
        RetryPolicy {
            attempts: 4,
            first_delay: Duration::from_millis(200),
            max_delay: Duration::from_secs(5),
            jitter: true,
            pause: Duration::from_secs(2),
        }
    }
}

impl RetryPolicy {
    /// Repeats nothing, and tries a CE that does not respond with each call.
    ///
    /// One case remains: if an idle connection turns out to be closed, the request is sent on a new one.
    pub fn none() -> RetryPolicy {
        RetryPolicy { attempts: 1, pause: Duration::ZERO, ..RetryPolicy::default() }
    }

    /// Sets how often a request is sent in all, at least once.
    pub fn with_attempts(mut self, attempts: u32) -> Self {
        self.attempts = attempts.max(1);
        self
    }

    /// Sets the pause before the second attempt.
    pub fn with_first_delay(mut self, delay: Duration) -> Self {
        self.first_delay = delay;
        self
    }

    /// Sets the longest pause between two attempts. A `Retry-After` of the CE may be longer.
    pub fn with_max_delay(mut self, delay: Duration) -> Self {
        self.max_delay = delay;
        self
    }

    /// Sets whether each pause is prolonged by a random part of itself, so that many clients do not return at the same
    /// moment. The default is true.
    pub fn with_jitter(mut self, jitter: bool) -> Self {
        self.jitter = jitter;
        self
    }

    /// Sets how long calls fail at once after the CE did not respond, before one of them tries the CE again.
    ///
    /// The default is two seconds and the maximum five. With zero, each call tries the CE.
    pub fn with_pause(mut self, pause: Duration) -> Self {
        self.pause = pause.min(MAX_PAUSE);
        self
    }

    /// How often a request is sent in all.
    pub fn attempts(&self) -> u32 {
        self.attempts
    }

    /// The pause before the second attempt.
    pub fn first_delay(&self) -> Duration {
        self.first_delay
    }

    /// The longest pause between two attempts.
    pub fn max_delay(&self) -> Duration {
        self.max_delay
    }

    /// Whether pauses have a random part.
    pub fn jitter(&self) -> bool {
        self.jitter
    }

    /// How long calls fail at once after the CE did not respond.
    pub fn pause(&self) -> Duration {
        self.pause
    }

    /// Returns the pauses between the attempts.
    pub(crate) fn delays(&self) -> impl Iterator<Item = Duration> + use<> {
        let times = usize::try_from(self.attempts - 1).unwrap_or(usize::MAX);
        let delays = ExponentialBuilder::new()
            .with_min_delay(self.first_delay)
            .with_max_delay(self.max_delay.max(self.first_delay))
            .with_max_times(times);
        if self.jitter { delays.with_jitter() } else { delays }.build()
    }
}

/// Reads the value of `Retry-After`: a number of seconds, or an HTTP date. `None` if it is neither.
pub(crate) fn retry_after(value: &str, now: SystemTime) -> Option<Duration> {
    let value = value.trim();
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(value.parse().map_or(Duration::MAX, Duration::from_secs));
    }
    let at = DateTimeParser::new().relaxed_weekday(true).parse_zoned_datetime(value).ok()?;
    let since_epoch = Duration::from_secs(u64::try_from(at.timestamp().as_second()).unwrap_or_default());
    Some((SystemTime::UNIX_EPOCH + since_epoch).duration_since(now).unwrap_or_default())
}

/// Why a call ended before its work did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Interrupted {
    Cancelled,
    /// The deadline that the caller set.
    Deadline(Duration),
}

impl From<Interrupted> for Error {
    fn from(interrupted: Interrupted) -> Self {
        match interrupted {
            Interrupted::Cancelled => Error::Cancelled,
            Interrupted::Deadline(deadline) => Error::DeadlineExceeded { deadline },
        }
    }
}

/// The limits that each call of an interface gets.
#[derive(Clone, Debug, Default)]
pub(crate) struct CallLimits {
    deadline: Option<Duration>,
    tokens: Vec<CancelToken>,
}

impl CallLimits {
    /// Adds a deadline. The shortest one holds.
    pub(crate) fn with_deadline(mut self, deadline: Duration) -> Self {
        self.deadline = Some(self.deadline.map_or(deadline, |known| known.min(deadline)));
        self
    }

    /// Adds a token. A call ends when any token is cancelled.
    pub(crate) fn with_cancel(mut self, token: &CancelToken) -> Self {
        self.tokens.push(token.clone());
        self
    }

    /// Returns the limits of a call that begins now.
    pub(crate) fn begin(&self) -> Limits {
        // A deadline that the clock cannot express is none.
        let deadline = self.deadline.and_then(|deadline| Some((Instant::now().checked_add(deadline)?, deadline)));
        Limits { deadline, tokens: self.tokens.clone() }
    }
}

/// The limits of one call.
#[derive(Clone, Debug, Default)]
pub(crate) struct Limits {
    /// When the call ends, and the time that it had.
    deadline: Option<(Instant, Duration)>,
    tokens: Vec<CancelToken>,
}

impl Limits {
    /// Fails if the call has to end.
    pub(crate) fn check(&self) -> Result<(), Interrupted> {
        if self.tokens.iter().any(CancelToken::is_cancelled) {
            return Err(Interrupted::Cancelled);
        }
        match self.deadline {
            Some((end, deadline)) if Instant::now() >= end => Err(Interrupted::Deadline(deadline)),
            _ => Ok(()),
        }
    }

    /// The limits of a part of the call that must end within `time`.
    pub(crate) fn within(&self, time: Duration) -> Limits {
        let end = Instant::now().checked_add(time);
        match (end, self.deadline) {
            (Some(end), Some((own, _))) if own <= end => self.clone(),
            (None, _) => self.clone(),
            (Some(end), _) => Limits { deadline: Some((end, time)), tokens: self.tokens.clone() },
        }
    }

    /// The time until the deadline, if there is one.
    pub(crate) fn left(&self) -> Option<Duration> {
        self.deadline.map(|(end, _)| end.saturating_duration_since(Instant::now()))
    }

    /// The deadline that the caller set, if any.
    pub(crate) fn deadline(&self) -> Option<Duration> {
        self.deadline.map(|(_, deadline)| deadline)
    }

    /// The flags that cancel the call.
    pub(crate) fn flags(&self) -> Vec<Arc<AtomicBool>> {
        self.tokens.iter().map(|token| Arc::clone(&token.0)).collect()
    }

    /// How long to wait at most before the next [`check`](Self::check). `None` if nothing can end the call.
    fn interval(&self) -> Option<Duration> {
        let interval = (!self.tokens.is_empty()).then_some(CANCEL_INTERVAL);
        match (interval, self.left()) {
            (Some(interval), Some(left)) => Some(interval.min(left)),
            (interval, left) => interval.or(left),
        }
    }

    /// Sleeps, unless the call has to end earlier.
    pub(crate) fn sleep(&self, time: Duration) -> Result<(), Interrupted> {
        let begun = Instant::now();
        loop {
            self.check()?;
            let Some(left) = time.checked_sub(begun.elapsed()).filter(|left| !left.is_zero()) else { return Ok(()) };
            thread::sleep(self.interval().map_or(left, |interval| interval.min(left)));
        }
    }

    /// Waits until `condvar` is notified, and perhaps for a shorter time.
    pub(crate) fn wait<'a, T>(
        &self,
        condvar: &Condvar,
        guard: MutexGuard<'a, T>,
    ) -> Result<MutexGuard<'a, T>, Interrupted> {
        self.check()?;
        let guard = match self.interval() {
            None => condvar.wait(guard).unwrap_or_else(PoisonError::into_inner),
            Some(interval) => condvar.wait_timeout(guard, interval).unwrap_or_else(PoisonError::into_inner).0,
        };
        self.check()?;
        Ok(guard)
    }

    /// Locks a mutex that another thread may hold for long.
    pub(crate) fn lock<'a, T>(&self, mutex: &'a Mutex<T>) -> Result<MutexGuard<'a, T>, Interrupted> {
        loop {
            let Some(interval) = self.interval() else { return Ok(lock(mutex)) };
            match mutex.try_lock() {
                Ok(guard) => return Ok(guard),
                Err(TryLockError::Poisoned(poisoned)) => return Ok(poisoned.into_inner()),
                Err(TryLockError::WouldBlock) => self.sleep(interval.min(CANCEL_INTERVAL / 4))?,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    fn is_soon(begun: Instant) -> bool {
        begun.elapsed() < Duration::from_secs(10)
    }

    #[test]
    fn delays_double_up_to_the_maximum() {
        let policy =
            RetryPolicy::default().with_jitter(false).with_attempts(5).with_max_delay(Duration::from_millis(500));
        assert_eq!(policy.delays().map(|delay| delay.as_millis()).collect::<Vec<_>>(), [200, 400, 500, 500]);
        assert_eq!(RetryPolicy::none().delays().count(), 0);
        assert_eq!(RetryPolicy::default().with_attempts(0).attempts(), 1);
        assert_eq!(RetryPolicy::default().with_pause(Duration::MAX).pause(), MAX_PAUSE);
        for (delay, least) in RetryPolicy::default().delays().zip([200, 400, 800]) {
            assert!((least..=2 * least).contains(&delay.as_millis()), "{delay:?}");
        }
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = UNIX_EPOCH + Duration::from_secs(784_111_777); // Sun, 06 Nov 1994 08:49:37 GMT
        for (value, expected) in [
            ("0", Some(0)),
            (" 120 ", Some(120)),
            ("Sun, 06 Nov 1994 08:49:47 GMT", Some(10)),
            ("Sun, 06 Nov 1994 08:00:00 GMT", Some(0)),
            ("Mon, 06 Nov 1994 08:49:47 GMT", Some(10)),
            ("", None),
            ("-1", None),
            ("soon", None),
            ("99999999999999999999999", Some(u64::MAX)),
        ] {
            assert_eq!(retry_after(value, now).map(|time| time.as_secs()), expected, "{value:?}");
        }
    }

    #[test]
    fn limits_only_tighten() {
        let limits = CallLimits::default().with_deadline(Duration::from_secs(5)).with_deadline(Duration::from_secs(9));
        assert_eq!(limits.begin().deadline(), Some(Duration::from_secs(5)));
        let (a, b) = (CancelToken::new(), CancelToken::new());
        let limits = CallLimits::default().with_cancel(&a).with_cancel(&b).begin();
        assert_eq!(limits.check(), Ok(()));
        a.cancel();
        assert_eq!(limits.check(), Err(Interrupted::Cancelled));
        assert_eq!(CallLimits::default().with_deadline(Duration::MAX).begin().check(), Ok(()));
    }

    #[test]
    fn waits_end_when_the_call_has_to() {
        let token = CancelToken::new();
        let limits = CallLimits::default().with_cancel(&token).begin();
        let (mutex, condvar) = (Mutex::new(()), Condvar::new());
        let held = lock(&mutex);
        let begun = Instant::now();
        thread::scope(|scope| {
            scope.spawn(|| assert_eq!(limits.sleep(Duration::from_secs(600)), Err(Interrupted::Cancelled)));
            scope.spawn(|| assert_eq!(limits.lock(&mutex).map(drop), Err(Interrupted::Cancelled)));
            thread::sleep(Duration::from_millis(50));
            token.cancel();
        });
        drop(held);
        assert_eq!(limits.wait(&condvar, lock(&mutex)).map(drop), Err(Interrupted::Cancelled));
        let deadline = Duration::from_millis(30);
        let limits = CallLimits::default().with_deadline(deadline).begin();
        assert_eq!(limits.sleep(Duration::from_secs(600)), Err(Interrupted::Deadline(deadline)));
        assert!(is_soon(begun), "{:?}", begun.elapsed());
    }
}
