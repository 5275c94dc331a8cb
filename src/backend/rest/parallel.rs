//! Runs requests in parallel and stops when the CE no longer responds.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use super::session::Pool;
use crate::backend::failure::{Failure, FileFailure, JobFailure};
use crate::logging;
use crate::util::lock;

/// An error that may mean that the CE did not respond.
pub(super) trait MayBeUnanswered: Send + Sized {
    /// Returns the failure, if it means that the CE did not respond.
    fn unanswered(&self) -> Option<&Failure>;
    fn from_failure(failure: Failure) -> Self;
}

impl MayBeUnanswered for Failure {
    fn unanswered(&self) -> Option<&Failure> {
        self.is_connection().then_some(self)
    }

    fn from_failure(failure: Failure) -> Self {
        failure
    }
}

impl MayBeUnanswered for JobFailure {
    fn unanswered(&self) -> Option<&Failure> {
        match self {
            JobFailure::NotFound | JobFailure::Refused { .. } | JobFailure::File(..) => None,
            JobFailure::Request(failure) => failure.unanswered(),
        }
    }

    fn from_failure(failure: Failure) -> Self {
        failure.into()
    }
}

impl MayBeUnanswered for FileFailure {
    fn unanswered(&self) -> Option<&Failure> {
        match self {
            FileFailure::Local(_) => None,
            FileFailure::Request(failure) => failure.unanswered(),
        }
    }

    fn from_failure(failure: Failure) -> Self {
        failure.into()
    }
}

impl Pool {
    /// Runs `work` on each item, several at a time. The results are in the order of the items.
    pub(super) fn in_parallel<I: Sync, T: Send, E: MayBeUnanswered>(
        &self,
        items: &[I],
        work: impl Fn(&I) -> Result<T, E> + Sync,
    ) -> Vec<Result<T, E>> {
        in_parallel(self.width(), items, work)
    }
}

/// Runs `work` on each item, up to `width` at a time. After twice as many consecutive requests without a response, the
/// remaining ones are not sent.
fn in_parallel<I: Sync, T: Send, E: MayBeUnanswered>(
    width: usize,
    items: &[I],
    work: impl Fn(&I) -> Result<T, E> + Sync,
) -> Vec<Result<T, E>> {
    let next = AtomicUsize::new(0);
    let consecutive = AtomicUsize::new(0);
    let last: Mutex<Option<Failure>> = Mutex::new(None);
    let done: Mutex<Vec<(usize, Result<T, E>)>> = Mutex::new(Vec::with_capacity(items.len()));
    let interface_log = logging::current();
    let try_one = |item: &I| {
        let is_dead = consecutive.load(Ordering::Relaxed) >= 2 * width;
        if let Some(failure) = lock(&last).as_ref().filter(|_| is_dead) {
            return Err(E::from_failure(failure.not_tried_after()));
        }
        let result = work(item);
        match result.as_ref().err().and_then(E::unanswered) {
            Some(failure) => {
                *lock(&last) = Some(failure.clone());
                consecutive.fetch_add(1, Ordering::Relaxed);
            }
            None => consecutive.store(0, Ordering::Relaxed),
        }
        result
    };
    let share = || {
        let _entered = interface_log.as_ref().map(|log| log.enter());
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(index) else { break };
            let result = try_one(item);
            lock(&done).push((index, result));
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..items.len().min(width) {
            // This thread works too, so failing to start another thread only makes the work slower.
            if std::thread::Builder::new().spawn_scoped(scope, share).is_err() {
                break;
            }
        }
        share();
    });
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_unstable_by_key(|(index, _)| *index);
    done.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const WIDTH: usize = 4;

    #[test]
    fn requests_stop_when_the_ce_does_not_respond() {
        let asked = AtomicUsize::new(0);
        let items = [(); 100];
        let results = in_parallel(WIDTH, &items, |()| {
            asked.fetch_add(1, Ordering::Relaxed);
            Err::<(), _>(Failure::timed_out(60))
        });
        assert_eq!(results.len(), items.len());
        assert!(asked.load(Ordering::Relaxed) < 3 * WIDTH);
        let Some(Err(Failure::Connection { message, .. })) = results.last() else { panic!("{results:?}") };
        assert_eq!(message.matches("not tried after").count(), 1, "{message}");
    }

    #[test]
    fn local_failures_do_not_stop_other_transfers() {
        let items = [(); 100];
        let asked = AtomicUsize::new(0);
        in_parallel(WIDTH, &items, |()| {
            asked.fetch_add(1, Ordering::Relaxed);
            Err::<(), _>(FileFailure::Local(std::io::ErrorKind::PermissionDenied.into()))
        });
        assert_eq!(asked.load(Ordering::Relaxed), items.len());
    }
}
