//! [`LogLevel`]: ARC's six levels.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The level of a log message, or the most detailed level that a log shows.
///
/// The six levels are ARC's. `Fatal` is the least and `Debug` the greatest. The form in JSON and in text is the name in
/// upper case. [`FromStr`] ignores case.
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
/// assert_eq!("verbose".parse(), Ok(LogLevel::Verbose));
/// assert_eq!(LogLevel::Verbose.to_string(), "VERBOSE");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
#[non_exhaustive]
pub enum LogLevel {
    /// Errors after which ARC expects the program to end.
    Fatal,
    /// Errors that the program can survive.
    Error,
    /// Conditions that may cause a failure later.
    Warning,
    /// The main steps, such as a submitted job or a new proxy certificate. This is the default.
    #[default]
    Info,
    /// The details of each step, such as why a proxy certificate is renewed.
    Verbose,
    /// Everything, including the headers of requests and responses, and over EMI-ES whole ones.
    Debug,
}

impl LogLevel {
    pub(super) const ALL: [LogLevel; 6] =
        [LogLevel::Fatal, LogLevel::Error, LogLevel::Warning, LogLevel::Info, LogLevel::Verbose, LogLevel::Debug];

    /// Returns ARC's name of the level, `"FATAL"` to `"DEBUG"`.
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

    /// The corresponding level of the `log` facade.
    pub(super) fn to_facade(self) -> log::Level {
        match self {
            LogLevel::Fatal | LogLevel::Error => log::Level::Error,
            LogLevel::Warning => log::Level::Warn,
            LogLevel::Info => log::Level::Info,
            LogLevel::Verbose => log::Level::Debug,
            LogLevel::Debug => log::Level::Trace,
        }
    }

    /// Converts a number of the enum `Arc::LogLevel` (`arc/Logger.h`). A number between two levels becomes the lower
    /// one.
    pub(super) fn from_arc(level: u32) -> LogLevel {
        match level {
            ..=1 => LogLevel::Debug,
            2..=3 => LogLevel::Verbose,
            4..=7 => LogLevel::Info,
            8..=15 => LogLevel::Warning,
            16..=31 => LogLevel::Error,
            32.. => LogLevel::Fatal,
        }
    }

    /// The number of the level in the enum `Arc::LogLevel` (`arc/Logger.h`).
    pub(super) fn to_arc(self) -> u32 {
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

/// The error of parsing a [`LogLevel`] from text that is not the name of one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{given:?} is not a log level; use FATAL, ERROR, WARNING, INFO, VERBOSE or DEBUG")]
pub struct ParseLogLevelError {
    given: String,
}

impl FromStr for LogLevel {
    type Err = ParseLogLevelError;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let level = Self::ALL.into_iter().find(|level| level.as_str().eq_ignore_ascii_case(name));
        level.ok_or_else(|| ParseLogLevelError { given: name.to_owned() })
    }
}
