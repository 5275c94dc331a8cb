//! [`PoolResults`]: the results of several CEs, as they come.

use std::collections::VecDeque;
use std::fmt;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, PoisonError};
use std::thread;

use crate::error::Result;
use crate::interface::{check_process, lost_thread};
use crate::limits::CancelOnDrop;

/// The results of an operation on several CEs: an iterator that returns each as soon as its CE has responded.
///
/// Each item is a pair of a subject, which is a [`JobId`](crate::JobId) or the URL of a CE, and its result. A CE that does
/// not respond delays only its own items. The CEs work at the same time, whether or not the items are taken.
/// [`in_order`](Self::in_order) waits for all of them and returns them in the order of the arguments.
#[must_use = "the results of the CEs are lost otherwise"]
pub struct PoolResults<K, T> {
    /// Each subject, until its result is returned.
    keys: Vec<Option<K>>,
    pending: usize,
    arrived: VecDeque<(usize, Result<T>)>,
    receiver: Mutex<Receiver<(usize, Result<T>)>>,
    /// Ends the work when this is dropped, if it only waits.
    _stop: Option<CancelOnDrop>,
}

impl<K, T> fmt::Debug for PoolResults<K, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PoolResults").field("pending", &self.pending).finish_non_exhaustive()
    }
}

impl<K, T> PoolResults<K, T> {
    /// Waits for all CEs and returns the results in the order of the arguments.
    pub fn in_order(mut self) -> Vec<Result<T>> {
        let mut results: Vec<Option<Result<T>>> = self.keys.iter().map(|_| None).collect();
        while let Some((index, _, result)) = self.next_indexed() {
            results[index] = Some(result);
        }
        results.into_iter().map(|result| result.unwrap_or_else(|| Err(lost_thread()))).collect()
    }

    fn next_indexed(&mut self) -> Option<(usize, K, Result<T>)> {
        while self.pending > 0 {
            while let Some((index, result)) = self.arrived.pop_front() {
                if let Some(key) = self.keys[index].take() {
                    self.pending -= 1;
                    return Some((index, key, result));
                }
            }
            // In a forked process there are no threads.
            let received = check_process().and_then(|()| {
                let receiver = self.receiver.get_mut().unwrap_or_else(PoisonError::into_inner);
                receiver.recv().map_err(|_| lost_thread())
            });
            match received {
                Ok(result) => self.arrived.push_back(result),
                Err(error) => {
                    let missing = self.keys.iter().enumerate().filter(|(_, key)| key.is_some());
                    self.arrived = missing.map(|(index, _)| (index, Err(error.without_source()))).collect();
                }
            }
        }
        None
    }
}

impl<K, T> Iterator for PoolResults<K, T> {
    type Item = (K, Result<T>);

    fn next(&mut self) -> Option<(K, Result<T>)> {
        let (_, key, result) = self.next_indexed()?;
        Some((key, result))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.pending, Some(self.pending))
    }
}

impl<K, T> ExactSizeIterator for PoolResults<K, T> {}

/// Takes a result, with the index of its subject.
pub(super) type Tell<'a, T> = &'a dyn Fn(usize, Result<T>);

/// Starts the work for several CEs.
#[derive(Debug)]
pub(super) struct Work<K, T> {
    keys: Vec<K>,
    sender: Sender<(usize, Result<T>)>,
    receiver: Receiver<(usize, Result<T>)>,
}

impl<K, T: Send + 'static> Work<K, T> {
    pub(super) fn new(keys: Vec<K>) -> Work<K, T> {
        let (sender, receiver) = channel();
        Work { keys, sender, receiver }
    }

    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }

    pub(super) fn key(&self, index: usize) -> &K {
        &self.keys[index]
    }

    /// Adds a result that needs no CE.
    pub(super) fn known(&self, index: usize, result: Result<T>) {
        let _ = self.sender.send((index, result));
    }

    /// Runs `ask` in a thread of its own. It gets a function that takes results with the index of their keys.
    pub(super) fn start(&self, ask: impl FnOnce(Tell<'_, T>) + Send + 'static) {
        let sender = self.sender.clone();
        let run = move || {
            // The caller may have dropped the results.
            ask(&|index, result| drop(sender.send((index, result))));
        };
        // Without a thread the results are missing, which is an error of each.
        let _ = thread::Builder::new().name("jasmin-arc pool".into()).spawn(run);
    }

    /// Returns the results to come, which drop `stop` with themselves.
    pub(super) fn results(self, stop: Option<CancelOnDrop>) -> PoolResults<K, T> {
        let keys: Vec<Option<K>> = self.keys.into_iter().map(Some).collect();
        let receiver = Mutex::new(self.receiver);
        PoolResults { pending: keys.len(), keys, arrived: VecDeque::new(), receiver, _stop: stop }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;
    use crate::limits::CancelToken;

    #[test]
    fn results_that_a_thread_loses_are_errors() {
        let work: Work<&str, u8> = Work::new(vec!["a", "b", "c"]);
        work.start(|tell| {
            tell(1, Ok(7));
            panic!("this thread ends early");
        });
        work.known(2, Ok(8));
        let results = work.results(None).in_order();
        assert!(matches!(results[..], [Err(Error::Arc { .. }), Ok(7), Ok(8)]), "{results:?}");
    }

    #[test]
    fn dropped_results_end_a_wait() {
        let token = CancelToken::new();
        let work: Work<&str, u8> = Work::new(vec!["a"]);
        let results = work.results(Some(CancelOnDrop(token.clone())));
        assert!(!token.is_cancelled() && results.len() == 1);
        drop(results);
        assert!(token.is_cancelled());
    }
}
