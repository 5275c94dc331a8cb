//! [`Breaker`]: lets calls fail at once while a CE does not respond.
//!
//! A call that got no response makes the CE suspect. The next call then sends a short request of its own first, a probe,
//! and the calls that begin meanwhile wait for it: what looked like a dead CE may have been one slow request. If the
//! probe fails too, calls fail at once, except for those that find the next probe due. A probe that gets any response
//! ends this state.
//!
//! A CE that answers, but takes longer than a probe waits, must not stay unavailable for ever. So a call is let through
//! without a probe now and then.

use std::sync::{Condvar, Mutex};
use std::time::{Duration, Instant};

use crate::backend::failure::Failure;
use crate::limits::Limits;
use crate::util::lock;

/// The time limit of a probe. A CE that is up answers the cheapest request in much less.
pub(crate) const PROBE_LIMIT: Duration = Duration::from_secs(4);

/// The minimum time between two calls that are let through without a probe.
const MIN_TRIAL_INTERVAL: Duration = Duration::from_secs(30);

/// The state of a CE, shared by all calls.
#[derive(Debug)]
pub(crate) struct Breaker {
    /// The time between two probes of a silent CE. Zero turns the breaker off.
    pause: Duration,
    /// The time between two calls that are let through without a probe.
    trial_interval: Duration,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    down: Option<Down>,
    /// When the CE responded last.
    heard: Option<Instant>,
}

/// A CE that did not respond.
#[derive(Debug)]
struct Down {
    failure: Failure,
    /// When the last attempt failed.
    failed: Instant,
    /// Whether a probe, or a refused connection, has shown that the CE is down.
    is_confirmed: bool,
    is_probing: bool,
    next_probe: Instant,
    next_trial: Instant,
}

impl Down {
    /// The failure of a call that is not tried.
    fn not_tried(&self) -> Failure {
        self.failure.not_tried_again(self.failed.elapsed())
    }

    /// A refused connection costs nothing, so it is tried with each call.
    fn pause(&self, pause: Duration) -> Duration {
        if self.failure.is_refused_connection() { Duration::ZERO } else { pause }
    }
}

impl Breaker {
    /// `timeout` is the time that a call waits for a silent CE.
    pub(crate) fn new(pause: Duration, timeout: Duration) -> Breaker {
        Breaker {
            pause,
            trial_interval: (2 * timeout).max(MIN_TRIAL_INTERVAL),
            state: Mutex::default(),
            changed: Condvar::new(),
        }
    }

    /// Returns once the CE may be asked. Fails if it does not respond. `asked` is when the caller began to wait, and
    /// `probe` sends a request with the limit [`PROBE_LIMIT`].
    pub(crate) fn pass(
        &self,
        asked: Instant,
        limits: &Limits,
        probe: impl FnOnce() -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let mut state = lock(&self.state);
        loop {
            let Some(down) = &mut state.down else { return Ok(()) };
            let now = Instant::now();
            // Calls that waited for the attempt of another one share its failure.
            if down.is_confirmed && down.failed >= asked {
                return Err(down.not_tried());
            }
            if down.is_probing {
                if down.is_confirmed && !down.failure.is_refused_connection() {
                    return Err(down.not_tried());
                }
                state = limits.wait(&self.changed, state)?;
                continue;
            }
            if now >= down.next_trial {
                down.next_trial = now + self.trial_interval;
                return Ok(());
            }
            if now < down.next_probe {
                return Err(down.not_tried());
            }
            down.is_probing = true;
            break;
        }
        drop(state);
        let probing = Probing(self);
        let result = probe();
        drop(probing);
        match result {
            Err(failure) if failure.is_no_response() => {
                let mut state = lock(&self.state);
                if let Some(down) = &mut state.down {
                    (down.failure, down.failed, down.is_confirmed) = (failure.clone(), Instant::now(), true);
                    down.next_probe = down.failed + down.pause(self.pause);
                }
                drop(state);
                self.changed.notify_all();
                Err(failure)
            }
            Err(failure) if failure.is_interrupted() => {
                self.changed.notify_all();
                Err(failure)
            }
            // Whatever else is wrong, something responds: the call finds out.
            _ => {
                self.heard();
                Ok(())
            }
        }
    }

    /// The CE has responded.
    pub(crate) fn heard(&self) {
        let mut state = lock(&self.state);
        state.heard = Some(Instant::now());
        if state.down.take().is_some() {
            self.changed.notify_all();
        }
    }

    /// A call that began at `begun` has failed.
    pub(crate) fn failed(&self, failure: &Failure, begun: Instant) {
        if self.pause.is_zero() || !failure.is_no_response() {
            return;
        }
        let mut state = lock(&self.state);
        // If other calls got responses meanwhile, the CE is up.
        if state.heard.is_some_and(|heard| heard >= begun) {
            return;
        }
        let now = Instant::now();
        if let Some(down) = &mut state.down {
            down.next_trial = now + self.trial_interval;
            return;
        }
        state.down = Some(Down {
            failure: failure.clone(),
            failed: now,
            is_confirmed: failure.is_refused_connection(),
            is_probing: false,
            next_probe: now,
            next_trial: now + self.trial_interval,
        });
    }

    /// Whether a call that waits for something else should ask [`pass`](Self::pass) again.
    pub(crate) fn is_down(&self) -> bool {
        lock(&self.state).down.is_some()
    }
}

/// A probe in flight.
struct Probing<'a>(&'a Breaker);

impl Drop for Probing<'_> {
    fn drop(&mut self) {
        if let Some(down) = &mut lock(&self.0.state).down {
            down.is_probing = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;

    use super::*;
    use crate::error::ConnectionFailure;

    fn refused() -> Failure {
        Failure::connection(ConnectionFailure::Refused, "refused")
    }

    fn pass(breaker: &Breaker, probe: Result<(), Failure>) -> Result<(), Failure> {
        breaker.pass(Instant::now(), &Limits::default(), || probe)
    }

    fn never(breaker: &Breaker) -> Result<(), Failure> {
        breaker.pass(Instant::now(), &Limits::default(), || panic!("no probe is due"))
    }

    fn silent_breaker() -> Breaker {
        let breaker = Breaker::new(Duration::from_secs(600), Duration::from_secs(600));
        breaker.failed(&Failure::timed_out(60), Instant::now());
        breaker
    }

    #[test]
    fn calls_fail_at_once_after_a_probe_that_failed() {
        let breaker = silent_breaker();
        let failed = pass(&breaker, Err(Failure::timed_out(4))).unwrap_err();
        assert!(!failed.was_sent() || failed.is_no_response(), "{failed:?}");
        for _ in 0..1000 {
            let failure = never(&breaker).unwrap_err();
            assert!(failure.is_no_response() && !failure.was_sent(), "{failure:?}");
            assert!(format!("{failure:?}").contains("not tried again"), "{failure:?}");
        }
        breaker.heard();
        assert!(never(&breaker).is_ok());
    }

    #[test]
    fn a_slow_request_does_not_make_a_ce_unavailable() {
        let breaker = silent_breaker();
        assert!(pass(&breaker, Ok(())).is_ok());
        assert!(never(&breaker).is_ok());
        // An answer of any kind shows that the CE is up.
        let breaker = silent_breaker();
        assert!(pass(&breaker, Err(Failure::Untrusted("expired".into()))).is_ok());
        assert!(never(&breaker).is_ok());
        // So do the answers to other calls.
        let breaker = Breaker::new(Duration::from_secs(600), Duration::from_secs(600));
        let begun = Instant::now();
        breaker.heard();
        breaker.failed(&Failure::timed_out(60), begun);
        assert!(never(&breaker).is_ok());
    }

    #[test]
    fn a_refused_connection_is_tried_with_each_call() {
        let breaker = Breaker::new(Duration::from_secs(600), Duration::from_secs(600));
        breaker.failed(&refused(), Instant::now());
        for _ in 0..3 {
            assert!(pass(&breaker, Err(refused())).unwrap_err().is_refused_connection());
        }
        assert!(pass(&breaker, Ok(())).is_ok());
        assert!(never(&breaker).is_ok());
    }

    #[test]
    fn other_failures_and_no_pause_leave_it_closed() {
        for (pause, failure) in [
            (600, Failure::connection(ConnectionFailure::Broken, "closed")),
            (600, Failure::invalid_response("HTML")),
            (600, Failure::Refused { code: 503, message: String::new() }),
            (600, Failure::Untrusted(String::new())),
            (600, Failure::Cancelled { sent: true }),
            (0, refused()),
        ] {
            let breaker = Breaker::new(Duration::from_secs(pause), Duration::from_secs(600));
            breaker.failed(&failure, Instant::now());
            assert!(never(&breaker).is_ok(), "{failure:?}");
        }
    }

    #[test]
    fn one_call_probes_and_the_others_share_its_failure() {
        let breaker = silent_breaker();
        let probes = AtomicUsize::new(0);
        let asked = Instant::now();
        thread::scope(|scope| {
            for _ in 0..50 {
                scope.spawn(|| {
                    let failure = breaker.pass(asked, &Limits::default(), || {
                        probes.fetch_add(1, Ordering::Relaxed);
                        thread::sleep(Duration::from_millis(100));
                        Err(Failure::timed_out(4))
                    });
                    assert!(failure.is_err_and(|failure| failure.is_no_response()));
                });
            }
        });
        assert_eq!(probes.into_inner(), 1);
    }

    #[test]
    fn a_slow_ce_gets_a_call_now_and_then() {
        let breaker = Breaker { trial_interval: Duration::ZERO, ..silent_breaker() };
        lock(&breaker.state).down.as_mut().expect("down").next_trial = Instant::now();
        assert!(never(&breaker).is_ok());
    }
}
