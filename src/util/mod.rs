//! Helpers that depend on no other module of the crate.

pub(crate) mod byte_size;
pub(crate) mod directory;
pub(crate) mod names;
pub(crate) mod pattern;
pub(crate) mod serde_forms;
pub(crate) mod time;
pub(crate) mod uri;
pub(crate) mod xml;

use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks a mutex, even a poisoned one. No panic can leave the data behind this crate's locks half changed.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns 32 random hexadecimal digits.
pub(crate) fn random_hex() -> io::Result<String> {
    let mut bytes = [0; 16];
    let mut filled = 0;
    while filled < bytes.len() {
        filled += rustix::rand::getrandom(&mut bytes[filled..], rustix::rand::GetRandomFlags::empty())?;
    }
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
