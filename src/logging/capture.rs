//! [`Reasons`]: ARC's log messages during a call. ARC's functions mostly return false and log why.

use std::cell::{Cell, RefCell};
use std::sync::{Arc, Mutex, Weak};

use super::LogLevel;
use crate::util::lock;

/// How many messages of a call are kept. The last ones give the reason of a failure.
pub(super) const MAX_MESSAGES: usize = 40;

/// How many characters of a message are kept.
const MAX_CHARACTERS: usize = 2000;

type Capture = Arc<Mutex<Vec<Message>>>;

/// The calls in progress. A message from one of ARC's own threads goes to all of them, since it does not tell which call
/// it belongs to.
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
    /// The messages up to the level Info, else those up to Verbose, without repetitions.
    pub(crate) fn text(&self) -> String {
        [LogLevel::Info, LogLevel::Verbose]
            .into_iter()
            .map(|level| self.up_to(level))
            .find(|text| !text.is_empty())
            .unwrap_or_else(|| "ARC gave no reason".into())
    }

    /// The messages up to the level Info, without repetitions. Empty if there are none.
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

    /// Every message, of any level.
    pub(crate) fn texts(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|message| message.text.as_str())
    }
}

/// Marks the current thread as one of this crate's or of the program's. What ARC logs on it belongs to its own calls
/// only, unlike what ARC logs on its own threads.
pub(crate) fn this_thread_calls_arc() {
    CALLS_ARC.set(true);
}

pub(super) fn calls_arc() -> bool {
    CALLS_ARC.get()
}

/// Runs `call` and collects what ARC logs meanwhile, on this thread and on ARC's own threads.
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

/// Adds a message to the call of the current thread. False if the thread is not in a call.
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
