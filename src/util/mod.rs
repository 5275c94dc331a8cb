//! Small helpers that know nothing of jobs or CEs.

pub(crate) mod names;
pub(crate) mod uri;
pub(crate) mod xml;

use std::sync::{Mutex, MutexGuard, PoisonError};

/// A panic while one of this crate's locks was held cannot have left anything half done.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
