//! [`Log`]: the log of one [`ArcInterface`](crate::ArcInterface), and which log a thread writes to.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::io::Write;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::SystemTime;

use super::LogLevel;
use crate::util::lock;
use crate::util::time::rfc3339;

/// ARC's threshold, in ARC's numbers. ARC has one threshold for the whole process, so the crate only lowers it.
static THRESHOLD: AtomicU32 = AtomicU32::new(2);

/// The log that was created last. It receives the messages of ARC's own threads.
static LATEST: Mutex<Weak<Log>> = Mutex::new(Weak::new());

thread_local! {
    /// Whether this thread is writing a message to a destination.
    static WRITING: Cell<bool> = const { Cell::new(false) };
    static CURRENT: RefCell<Option<Arc<Log>>> = const { RefCell::new(None) };
}

/// Where the messages of one [`ArcInterface`](crate::ArcInterface) go.
pub(crate) enum Destination {
    /// The `log` crate.
    Facade,
    Writer(Mutex<Box<dyn Write + Send>>),
    Nowhere,
}

impl fmt::Debug for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Destination::Facade => "Facade",
            Destination::Writer(_) => "Writer",
            Destination::Nowhere => "Nowhere",
        })
    }
}

/// A level and a destination.
#[derive(Debug)]
pub(crate) struct Log {
    level: LogLevel,
    destination: Destination,
}

impl Log {
    pub(crate) fn new(level: LogLevel, destination: Destination) -> Arc<Log> {
        let log = Arc::new(Log { level, destination });
        // The crate always needs Verbose, because ARC gives the reasons of failures only in its log.
        THRESHOLD.fetch_min(level.max(LogLevel::Verbose).to_arc(), Ordering::Relaxed);
        *lock(&LATEST) = Arc::downgrade(&log);
        log
    }

    /// Returns the threshold, in ARC's numbers, at which ARC logs enough for every log.
    pub(crate) fn threshold() -> u32 {
        THRESHOLD.load(Ordering::Relaxed)
    }

    pub(super) fn shows(&self, level: LogLevel) -> bool {
        level <= self.level && !matches!(self.destination, Destination::Nowhere)
    }

    /// Writes a message to the destination, on this thread.
    pub(super) fn write(&self, time: SystemTime, level: LogLevel, target: &str, text: &str) {
        // Otherwise a logger that calls this crate would log without end, or wait for the lock of its own writer.
        if !self.shows(level) || WRITING.replace(true) {
            return;
        }
        // A logger that panics loses its message; later messages still arrive.
        let write = std::panic::AssertUnwindSafe(|| self.write_unguarded(time, level, target, text));
        let _ = std::panic::catch_unwind(write);
        WRITING.set(false);
    }

    fn write_unguarded(&self, time: SystemTime, level: LogLevel, target: &str, text: &str) {
        match &self.destination {
            Destination::Facade => log::log!(target: target, level.to_facade(), "{text}"),
            Destination::Writer(writer) => {
                let time = rfc3339(time, 3);
                let mut writer = lock(writer);
                // A log that cannot be written must not make operations fail.
                let _ = writeln!(writer, "[{time}] [{target}] [{level}] {text}").and_then(|()| writer.flush());
            }
            Destination::Nowhere => {}
        }
    }

    /// Makes this the log of the current thread until the guard is dropped.
    pub(crate) fn enter(self: &Arc<Log>) -> Entered {
        // `try_with`, because an exit handler of the program may run after the main thread's locals are destroyed.
        Entered(CURRENT.try_with(|current| current.borrow_mut().replace(Arc::clone(self))).ok().flatten())
    }
}

/// Restores the log that the thread had before [`Log::enter`].
pub(crate) struct Entered(Option<Arc<Log>>);

impl Drop for Entered {
    fn drop(&mut self) {
        let previous = self.0.take();
        let _ = CURRENT.try_with(|current| *current.borrow_mut() = previous);
    }
}

/// Returns the log that the current thread has entered. Threads that work for it enter the same log.
pub(crate) fn current() -> Option<Arc<Log>> {
    CURRENT.try_with(|current| current.borrow().clone()).ok().flatten()
}

pub(super) fn latest() -> Option<Arc<Log>> {
    lock(&LATEST).upgrade()
}

/// Whether a logger called this crate from within [`Log::write`].
pub(super) fn is_writing() -> bool {
    WRITING.get()
}
