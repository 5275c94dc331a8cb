//! [`LogLevel`], and where log messages go: ARC's, and this crate's own.
//!
//! ARC has one log for the whole process. It calls back with a lock held, from the thread that called ARC or from one of
//! its own, so its messages are put into a queue, and a thread of this crate hands them on: a slow logger does not slow
//! ARC, and one that calls this crate does not deadlock.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::io::Write;
use std::str::FromStr;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use crate::util::lock;

/// The target of this crate's own messages in the [`log`](https://docs.rs/log) facade. ARC's have `arc::` and ARC's name for the part that
/// logged, such as `arc::SubmitterPlugin.REST`.
pub(crate) const TARGET: &str = "jasmin_arc";

/// How much the log shows: ARC's six levels.
///
/// | level | in the [`log`](https://docs.rs/log) facade |
/// |---|---|
/// | `Fatal`, `Error` | `error` |
/// | `Warning` | `warn` |
/// | `Info` | `info` |
/// | `Verbose` | `debug` |
/// | `Debug` | `trace` |
///
/// ```
/// use jasmin_arc::LogLevel;
///
/// assert!(LogLevel::Debug > LogLevel::Info);
/// assert_eq!("VERBOSE".parse(), Ok(LogLevel::Verbose));
/// assert_eq!(LogLevel::default(), LogLevel::Info);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum LogLevel {
    /// Very severe errors that will presumably lead the application to abort.
    Fatal,
    /// Errors that might still allow the application to continue running.
    Error,
    /// Potentially harmful situations.
    Warning,
    /// The progress of the application at coarse-grained level.
    #[default]
    Info,
    /// Fine-grained messages with additional information about the application.
    Verbose,
    /// Finer-grained messages that are of use for debugging only. They hold whole requests and answers.
    Debug,
}

impl LogLevel {
    const ALL: [LogLevel; 6] =
        [LogLevel::Fatal, LogLevel::Error, LogLevel::Warning, LogLevel::Info, LogLevel::Verbose, LogLevel::Debug];

    /// ARC's name for it: `"FATAL"` to `"DEBUG"`.
    pub fn as_str(self) -> &'static str {
        match self {
            LogLevel::Fatal => "FATAL",
            LogLevel::Error => "ERROR",
            LogLevel::Warning => "WARNING",
            LogLevel::Info => "INFO",
            LogLevel::Verbose => "VERBOSE",
            LogLevel::Debug => "DEBUG",
        }
    }

    fn facade(self) -> log::Level {
        match self {
            LogLevel::Fatal | LogLevel::Error => log::Level::Error,
            LogLevel::Warning => log::Level::Warn,
            LogLevel::Info => log::Level::Info,
            LogLevel::Verbose => log::Level::Debug,
            LogLevel::Debug => log::Level::Trace,
        }
    }

    /// `Arc::LogLevel`'s numbers, from `arc/Logger.h`.
    fn from_arc(level: u32) -> LogLevel {
        match level {
            ..=1 => LogLevel::Debug,
            2..=3 => LogLevel::Verbose,
            4..=7 => LogLevel::Info,
            8..=15 => LogLevel::Warning,
            16..=31 => LogLevel::Error,
            32.. => LogLevel::Fatal,
        }
    }

    fn to_arc(self) -> u32 {
        match self {
            LogLevel::Fatal => 32,
            LogLevel::Error => 16,
            LogLevel::Warning => 8,
            LogLevel::Info => 4,
            LogLevel::Verbose => 2,
            LogLevel::Debug => 1,
        }
    }
}

impl fmt::Display for LogLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for LogLevel {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|level| level.as_str().eq_ignore_ascii_case(name)).ok_or_else(|| {
            format!("{name:?} is no log level; the levels are FATAL, ERROR, WARNING, INFO, VERBOSE, DEBUG")
        })
    }
}

/// Where the messages go that concern one [`ArcInterface`](crate::ArcInterface).
pub(crate) enum Destination {
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

#[derive(Debug)]
pub(crate) struct Log {
    level: LogLevel,
    destination: Destination,
}

impl Log {
    pub(crate) fn new(level: LogLevel, destination: Destination) -> Arc<Log> {
        let log = Arc::new(Log { level, destination });
        // ARC's threshold is the process's: it is only ever lowered. Verbose is always needed, for the reasons that ARC
        // gives nowhere but in its log.
        THRESHOLD.fetch_min(level.max(LogLevel::Verbose).to_arc(), Ordering::Relaxed);
        *lock(&LATEST) = Arc::downgrade(&log);
        log
    }

    /// ARC's threshold that serves every log there has been, in ARC's numbers.
    pub(crate) fn threshold() -> u32 {
        THRESHOLD.load(Ordering::Relaxed)
    }

    fn wants(&self, level: LogLevel) -> bool {
        level <= self.level && !matches!(self.destination, Destination::Nowhere)
    }

    fn write(&self, time: SystemTime, level: LogLevel, target: &str, text: &str) {
        if !self.wants(level) {
            return;
        }
        // What a logger that calls this crate makes it say would have no end, and a writer's lock is held meanwhile.
        if WRITING.replace(true) {
            return;
        }
        // A logger that panics loses its message; the work goes on.
        let write = std::panic::AssertUnwindSafe(|| self.hand_over(time, level, target, text));
        let _ = std::panic::catch_unwind(write);
        WRITING.set(false);
    }

    fn hand_over(&self, time: SystemTime, level: LogLevel, target: &str, text: &str) {
        match &self.destination {
            Destination::Facade => log::log!(target: target, level.facade(), "{text}"),
            Destination::Writer(writer) => {
                let seconds = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
                let time = format!("{}.{:03}", seconds.as_secs(), seconds.subsec_millis());
                // A log that cannot be written must not stop the work.
                let mut writer = lock(writer);
                let _ = writeln!(writer, "[{time}] [{target}] [{level}] {text}").and_then(|()| writer.flush());
            }
            Destination::Nowhere => {}
        }
    }

    /// Makes this the log of what the current thread does, until the guard is dropped.
    pub(crate) fn enter(self: &Arc<Log>) -> Entered {
        // An exit handler of the program's may come here when the main thread's locals are gone.
        Entered(CURRENT.try_with(|current| current.borrow_mut().replace(Arc::clone(self))).ok().flatten())
    }
}

static THRESHOLD: AtomicU32 = AtomicU32::new(2);

/// The log that was made last: messages of ARC's own threads go there.
static LATEST: Mutex<Weak<Log>> = Mutex::new(Weak::new());

/// What the calls under way have been told by ARC's own threads goes to all of them: which one it is for is unknown.
static CAPTURES: Mutex<Vec<Weak<Mutex<Vec<Captured>>>>> = Mutex::new(Vec::new());

thread_local! {
    static WRITING: Cell<bool> = const { Cell::new(false) };
    static CURRENT: RefCell<Option<Arc<Log>>> = const { RefCell::new(None) };
    static CAPTURE: RefCell<Option<Arc<Mutex<Vec<Captured>>>>> = const { RefCell::new(None) };
    static CALLS_ARC: Cell<bool> = const { Cell::new(false) };
}

/// Tells this thread from ARC's own: what it logs is of its own calls, and no reason for those of other threads.
pub(crate) fn this_thread_calls_arc() {
    CALLS_ARC.set(true);
}

/// Puts back the log that the thread had before [`Log::enter`].
pub(crate) struct Entered(Option<Arc<Log>>);

impl Drop for Entered {
    fn drop(&mut self) {
        let previous = self.0.take();
        let _ = CURRENT.try_with(|current| *current.borrow_mut() = previous);
    }
}

/// The log that the current thread has entered, for threads that work for it.
pub(crate) fn current() -> Option<Arc<Log>> {
    CURRENT.try_with(|current| current.borrow().clone()).ok().flatten()
}

/// Logs a message of this crate's own. It goes through the queue too: whoever logs may hold a lock, and a logger may
/// call this crate.
pub(crate) fn say(level: LogLevel, text: impl AsRef<str>) {
    match current() {
        // What a logger that calls this crate makes it say would have no end.
        _ if WRITING.get() => {}
        Some(log) if !log.wants(level) => {}
        Some(log) => {
            let text = text.as_ref().into();
            queue().send(Item::Message { log, time: SystemTime::now(), level, target: TARGET.into(), text });
        }
        None => log::log!(target: TARGET, level.facade(), "{}", text.as_ref()),
    }
}

/// A message of ARC's that may be the reason of a failure.
#[derive(Clone, Debug)]
struct Captured {
    level: LogLevel,
    text: String,
}

/// What ARC logged during a call.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reasons(Vec<Captured>);

impl Reasons {
    /// ARC's messages that tell why something failed; if there is none, what it said of its work.
    pub(crate) fn text(&self) -> String {
        [LogLevel::Info, LogLevel::Verbose]
            .into_iter()
            .map(|level| self.up_to(level))
            .find(|text| !text.is_empty())
            .unwrap_or_else(|| "ARC gave no reason".into())
    }

    /// ARC's messages that tell why something failed; empty if there is none.
    pub(crate) fn complaints(&self) -> String {
        self.up_to(LogLevel::Info)
    }

    fn up_to(&self, level: LogLevel) -> String {
        let mut texts: Vec<&str> = Vec::new();
        for message in self.0.iter().filter(|message| message.level <= level) {
            if !texts.contains(&message.text.as_str()) {
                texts.push(&message.text);
            }
        }
        texts.join("; ")
    }

    /// All that ARC said, for those who look for something in it.
    pub(crate) fn texts(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|message| message.text.as_str())
    }
}

/// How many messages of a call are kept; the last ones tell why it failed.
const KEPT: usize = 40;

fn keep(capture: &Mutex<Vec<Captured>>, level: LogLevel, text: &str) {
    let mut kept = lock(capture);
    if kept.len() == KEPT {
        kept.remove(0);
    }
    kept.push(Captured { level, text: text.chars().take(2000).collect() });
}

/// Runs `call` and collects what ARC logs meanwhile, on this thread and on threads of its own.
pub(crate) fn capture<T>(call: impl FnOnce() -> T) -> (T, Reasons) {
    struct Restore(Option<Arc<Mutex<Vec<Captured>>>>);
    impl Drop for Restore {
        fn drop(&mut self) {
            let previous = self.0.take();
            let _ = CAPTURE.try_with(|capture| *capture.borrow_mut() = previous);
        }
    }

    this_thread_calls_arc();
    let mine = Arc::new(Mutex::new(Vec::new()));
    {
        let mut captures = lock(&CAPTURES);
        captures.retain(|capture| capture.strong_count() > 0);
        captures.push(Arc::downgrade(&mine));
    }
    let result = {
        let _restore =
            Restore(CAPTURE.try_with(|capture| capture.borrow_mut().replace(Arc::clone(&mine))).ok().flatten());
        call()
    };
    let reasons = Reasons(std::mem::take(&mut *lock(&mine)));
    (result, reasons)
}

/// A message of ARC's, in the long format: `[time] [domain] [LEVEL] [identifier] text`. Called with ARC's lock held.
pub(crate) fn arc_message(level: u32, line: &str) {
    let level = LogLevel::from_arc(level);
    let (domain, text) = parse(line);

    let capture = CAPTURE.try_with(|capture| capture.borrow().clone()).ok().flatten();
    let current = match capture {
        Some(capture) => {
            keep(&capture, level, text);
            current()
        }
        None if CALLS_ARC.get() => current(),
        None => {
            let captures: Vec<_> = lock(&CAPTURES).iter().filter_map(Weak::upgrade).collect();
            for capture in captures {
                keep(&capture, level, text);
            }
            None
        }
    };
    let Some(log) = current.or_else(|| lock(&LATEST).upgrade()) else { return };
    if log.wants(level) {
        let target = format!("arc::{domain}");
        queue().send(Item::Message { log, time: SystemTime::now(), level, target, text: text.into() });
    }
}

/// Splits ARC's long format into the domain, without the leading `Arc.`, and the text.
fn parse(line: &str) -> (&str, &str) {
    fn field(rest: &str) -> Option<(&str, &str)> {
        rest.trim_start_matches(' ').strip_prefix('[')?.split_once(']')
    }
    let fields = || {
        let (_time, rest) = field(line)?;
        let (domain, rest) = field(rest)?;
        let (_level, rest) = field(rest)?;
        let (_identifier, text) = field(rest)?;
        Some((domain.strip_prefix("Arc.").unwrap_or(domain), text.strip_prefix(' ').unwrap_or(text)))
    };
    fields().unwrap_or(("Arc", line))
}

enum Item {
    Message { log: Arc<Log>, time: SystemTime, level: LogLevel, target: String, text: String },
    Flush(SyncSender<()>),
}

struct Queue {
    sender: SyncSender<Item>,
    dropped: Arc<AtomicU64>,
}

/// How many messages wait for a slow logger; more are dropped, and their number is told.
const QUEUE: usize = 8192;

fn queue() -> &'static Queue {
    static INSTANCE: OnceLock<Queue> = OnceLock::new();
    INSTANCE.get_or_init(|| {
        let (sender, receiver) = sync_channel(QUEUE);
        let dropped = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&dropped);
        // Without the thread the queue fills up and messages are dropped: a log is no reason to fail.
        let _ = std::thread::Builder::new().name("jasmin-arc-log".into()).spawn(move || hand_on(receiver, &count));
        Queue { sender, dropped }
    })
}

impl Queue {
    fn send(&self, item: Item) {
        if let Err(TrySendError::Full(_)) = self.sender.try_send(item) {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn hand_on(receiver: Receiver<Item>, dropped: &AtomicU64) {
    for item in receiver {
        match item {
            Item::Message { log, time, level, target, text } => {
                let lost = dropped.swap(0, Ordering::Relaxed);
                if lost > 0 {
                    log.write(
                        time,
                        LogLevel::Warning,
                        TARGET,
                        &format!("{lost} messages of ARC's were dropped: the logger is too slow"),
                    );
                }
                log.write(time, level, &target, &text);
            }
            Item::Flush(done) => {
                let _ = done.try_send(());
            }
        }
    }
}

/// Waits, but not long, until what ARC has logged so far is handed on.
pub(crate) fn flush(patience: Duration) {
    let (done, wait) = sync_channel(1);
    if queue().sender.try_send(Item::Flush(done)).is_ok() {
        let _ = wait.recv_timeout(patience);
    }
}

#[cfg(test)]
mod tests;
