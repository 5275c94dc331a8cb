//! Log messages of ARC and of this crate: their levels, and where they go.
//!
//! ARC has one log for the whole process. It calls this crate back with a lock held, from the thread that called ARC or
//! from one of its own threads. All messages therefore go through a queue, and a thread of this crate writes them: a
//! slow logger does not slow ARC down, and a logger that calls this crate does not deadlock.

use std::borrow::Cow;

mod capture;
mod level;
mod queue;
mod route;

pub(crate) use self::capture::{Reasons, capture, this_thread_calls_arc};
pub use self::level::{LogLevel, ParseLogLevelError};
pub(crate) use self::queue::flush;
pub(crate) use self::route::{Destination, Entered, Log, current};

/// The target of this crate's own messages in the [`log`](https://docs.rs/log) facade. The target of ARC's messages is
/// `arc::` and the ARC component that logged, such as `arc::SubmitterPlugin.REST`.
const TARGET: &str = "jasmin_arc";

/// Logs a message of this crate to the current thread's log, or to the facade if the thread has entered none.
///
/// The message goes through the queue, like ARC's messages, since the caller may hold a lock that the logger needs.
pub(crate) fn log(level: LogLevel, text: impl AsRef<str>) {
    match current() {
        // Otherwise a logger that calls this crate would log without end.
        _ if route::is_writing() => {}
        Some(log) if !log.shows(level) => {}
        Some(log) => queue::send(log, level, TARGET.into(), text.as_ref().into()),
        None => log::log!(target: TARGET, level.to_facade(), "{}", text.as_ref()),
    }
}

/// Receives a message from ARC in its long format, `[time] [domain] [LEVEL] [identifier] text`. ARC's lock is held.
pub(crate) fn arc_message(level: u32, line: &str) {
    let level = LogLevel::from_arc(level);
    let (domain, text) = split_long_format(line);
    let text = &*without_tokens(text);

    let current = if capture::record_here(level, text) || capture::calls_arc() {
        current()
    } else {
        capture::record_everywhere(level, text);
        None
    };
    let Some(log) = current.or_else(route::latest) else { return };
    if log.shows(level) {
        queue::send(log, level, format!("arc::{domain}"), text.into());
    }
}

/// Replaces bearer tokens. At the level DEBUG, ARC logs the heads of requests (`PayloadHTTP.cpp`).
fn without_tokens(text: &str) -> Cow<'_, str> {
    const SCHEME: &[u8] = b"bearer ";
    let begins = |at: &usize| {
        text.as_bytes()[*at..].get(..SCHEME.len()).is_some_and(|scheme| scheme.eq_ignore_ascii_case(SCHEME))
    };
    let mut shown = String::new();
    let mut rest = 0;
    while let Some(at) = (rest..text.len()).find(begins) {
        let token = at + SCHEME.len();
        shown.push_str(&text[rest..token]);
        shown.push_str("...");
        rest = text[token..].find(char::is_whitespace).map_or(text.len(), |length| token + length);
    }
    match rest {
        0 => Cow::Borrowed(text),
        _ => Cow::Owned(shown + &text[rest..]),
    }
}

/// Splits a line in ARC's long format into the domain, without the leading `Arc.`, and the text.
fn split_long_format(line: &str) -> (&str, &str) {
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

#[cfg(test)]
mod tests;
