//! [`Renewal`]: renews the delegations of the jobs that are watched.

use std::time::{Duration, Instant, SystemTime};

use crate::backend::Backend;
use crate::credential::{Credential, Credentials};
use crate::error::Error;
use crate::interface::credentials::UserCredentials;
use crate::job::JobId;
use crate::limits::Limits;
use crate::logging::{LogLevel, log};

/// When a watch renews the delegations for the first time. They may be of an older proxy certificate. A shorter watch does
/// not pay for it.
const FIRST: Duration = Duration::from_secs(60);

/// The time until another attempt after a failure.
const RETRY: Duration = Duration::from_secs(30);

/// How long after the renewal threshold of the proxy certificate a poll comes at the latest.
const AFTER_THRESHOLD: Duration = Duration::from_secs(1);

/// When to renew the delegations of jobs.
///
/// A delegation ends when the proxy certificate does that it was made from. So it is renewed as soon as there is a new proxy
/// certificate, which the poll makes that comes after the renewal threshold.
#[derive(Debug)]
pub(super) struct Renewal {
    due: Option<Instant>,
    credential: Option<Credential>,
    expires: Option<SystemTime>,
}

impl Renewal {
    pub(super) fn new() -> Renewal {
        Renewal { due: Instant::now().checked_add(FIRST), credential: None, expires: None }
    }

    /// Renews the delegations of jobs that have one, if that is due. Only logs a failure: the watch goes on.
    pub(super) fn run(&mut self, credentials: &UserCredentials, backend: &dyn Backend, ids: &[JobId], limits: &Limits) {
        // Tokens cannot be delegated.
        let UserCredentials::Proxy(proxy) = credentials else { return };
        // The next poll finds out what is wrong with the certificate.
        let Ok(current) = proxy.current(limits) else { return };
        if self.credential.as_ref() != Some(&current) {
            if self.credential.is_some() {
                self.due = Some(Instant::now());
            }
            self.credential = Some(current);
            self.expires = proxy.expires().ok();
        }
        if ids.is_empty() || self.due.is_none_or(|due| due > Instant::now()) {
            return;
        }
        self.due = None;
        match backend.renew(ids) {
            Ok(renewed) => {
                let count = renewed.iter().filter(|renewed| matches!(renewed, Ok(Some(_)))).count();
                let failure = renewed.into_iter().filter_map(Result::err).find(|error| !is_not_found(error));
                log(LogLevel::Verbose, format!("renewed the delegations of {count} jobs"));
                if let Some(error) = failure {
                    log(LogLevel::Warning, format!("cannot renew all delegations: {error}"));
                }
            }
            Err(Error::Unsupported { .. } | Error::Cancelled | Error::DeadlineExceeded { .. }) => {}
            Err(error) => {
                log(LogLevel::Warning, format!("cannot renew the delegations yet: {error}"));
                self.due = Instant::now().checked_add(RETRY);
            }
        }
    }

    /// The time until a poll must renew the proxy certificate. `None` if that is unknown, or this time has passed.
    pub(super) fn left(&self, threshold: Duration) -> Option<Duration> {
        let left = self.expires?.duration_since(SystemTime::now()).ok()?.checked_sub(threshold)?;
        Some(left + AFTER_THRESHOLD)
    }
}

fn is_not_found(error: &Error) -> bool {
    matches!(error, Error::JobNotFound { .. })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::interface::tests::{calls, fake};

    #[test]
    fn delegations_are_renewed_with_the_proxy_certificate() {
        let (arc, backend, _directory) = fake();
        let id = arc.submit_job("/bin/true", &[], &[]).unwrap();
        let before = calls(&backend);
        let mut renewal = Renewal::new();
        let run = |renewal: &mut Renewal| {
            renewal.run(&arc.0.credentials, &*backend, std::slice::from_ref(&id), &Limits::default());
            calls(&backend) - before
        };
        assert_eq!([(); 2].map(|()| run(&mut renewal)), [0, 0]);
        renewal.due = Some(Instant::now());
        assert_eq!([(); 2].map(|()| run(&mut renewal)), [1, 1]);
        fs::write(arc.config().proxy_file(), "a new one").unwrap();
        assert_eq!([(); 2].map(|()| run(&mut renewal)), [2, 2]);
        // After a failure, it is tried again later.
        *backend.unreachable.lock().unwrap() = Some("down".into());
        renewal.due = Some(Instant::now());
        assert_eq!([(); 2].map(|()| run(&mut renewal)), [3, 3]);
        assert!(renewal.due.is_some_and(|due| due > Instant::now()));
    }

    #[test]
    fn a_poll_comes_between_the_threshold_and_the_end() {
        let (arc, backend, _directory) = fake();
        let mut renewal = Renewal::new();
        assert_eq!(renewal.left(Duration::ZERO), None);
        renewal.run(&arc.0.credentials, &*backend, &[], &Limits::default());
        let left = renewal.left(Duration::from_secs(600)).unwrap();
        assert!((2900..=3001).contains(&left.as_secs()), "{left:?}");
        assert_eq!(renewal.left(Duration::from_secs(3700)), None);
    }
}
