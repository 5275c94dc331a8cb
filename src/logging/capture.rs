//! [`Reasons`]: ARC's log messages during a call. Most of ARC's functions return false on failure and only log the
//! reason.

use std::cell::{Cell, RefCell};
use std::sync::{Arc, Mutex, Weak};

use super::LogLevel;
use crate::util::lock;

/// The maximum number of messages kept for a call. Older ones are dropped, because the last ones give the reason of a
/// failure.
pub(super) const MAX_MESSAGES: usize = 40;

/// The maximum length of a kept message, in characters.
const MAX_CHARACTERS: usize = 2000;

type Capture = Arc<Mutex<Vec<Message>>>;

/// The calls in progress. A message from one of ARC's own threads goes to all of them, since nothing tells which call
/// caused it.
static CAPTURES: Mutex<Vec<Weak<Mutex<Vec<Message>>>>> = Mutex::new(Vec::new());

thread_local! {
    static CAPTURE: RefCell<Option<Capture>> = const { RefCell::new(None) };
    static CALLS_ARC: Cell<bool> = const { Cell::new(false) };
}

#[derive(Clone, Debug)]
struct Message {
    level: LogLevel,
    text: String,
}

/// ARC's messages during a call.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reasons(Vec<Message>);

impl Reasons {
    /// Returns the messages up to the level Info without repetitions. If there are none, returns those up to Verbose.
    pub(crate) fn text(&self) -> String {
        [LogLevel::Info, LogLevel::Verbose]
            .into_iter()
            .map(|level| self.up_to(level))
            .find(|text| !text.is_empty())
            .unwrap_or_else(|| "ARC gave no reason".into())
    }

    /// Returns the messages up to the level Info without repetitions, or an empty string.
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

    /// Returns every message, of any level.
    pub(crate) fn texts(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|message| message.text.as_str())
    }
}

/// Marks the current thread as one that calls ARC, unlike ARC's own threads. What ARC logs on a marked thread belongs
/// to the calls of that thread only.
pub(crate) fn this_thread_calls_arc() {
    CALLS_ARC.set(true);
}

pub(super) fn calls_arc() -> bool {
    CALLS_ARC.get()
}

/// Runs `call` and collects the messages that ARC logs during the call, on this thread and on ARC's own threads.
pub(crate) fn capture<T>(call: impl FnOnce() -> T) -> (T, Reasons) {
    struct Restore(Option<Capture>);
    impl Drop for Restore {
        fn drop(&mut self) {
            let previous = self.0.take();
            let _ = CAPTURE.try_with(|capture| *capture.borrow_mut() = previous);
        }
    }

    this_thread_calls_arc();
    let messages = Capture::default();
    {
        let mut captures = lock(&CAPTURES);
        captures.retain(|capture| capture.strong_count() > 0);
        captures.push(Arc::downgrade(&messages));
    }
    let result = {
        let _restore =
            Restore(CAPTURE.try_with(|capture| capture.borrow_mut().replace(Arc::clone(&messages))).ok().flatten());
        call()
    };
    let reasons = Reasons(std::mem::take(&mut *lock(&messages)));
    (result, reasons)
}

/// Adds a message to the call of the current thread. Returns false if the thread is not in a call.
pub(super) fn record_here(level: LogLevel, text: &str) -> bool {
    let capture = CAPTURE.try_with(|capture| capture.borrow().clone()).ok().flatten();
    capture.map(|capture| record(&capture, level, text)).is_some()
}

/// Adds a message to every call in progress.
pub(super) fn record_everywhere(level: LogLevel, text: &str) {
    let captures: Vec<_> = lock(&CAPTURES).iter().filter_map(Weak::upgrade).collect();
    captures.iter().for_each(|capture| record(capture, level, text));
}

fn record(capture: &Mutex<Vec<Message>>, level: LogLevel, text: &str) {
    let mut messages = lock(capture);
    if messages.len() == MAX_MESSAGES {
        messages.remove(0);
    }
    messages.push(Message { level, text: text.chars().take(MAX_CHARACTERS).collect() });
}
