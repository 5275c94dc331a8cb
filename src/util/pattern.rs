//! [`Pattern`]: a glob pattern for names.

use std::fmt;
use std::str::FromStr;

use globset::{Glob, GlobMatcher};
use serde::{Deserialize, Serialize};

/// The error of a text that is not a pattern, such as `job-[0`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{pattern:?} is not a pattern: {message}")]
pub struct ParsePatternError {
    pattern: String,
    message: String,
}

/// A pattern with `*`, `?`, `[...]` and `{a,b}`. `*` also matches slashes. `?` and `[...]` match one byte, because globset
/// works on bytes.
#[derive(Clone, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct Pattern(GlobMatcher);

impl Pattern {
    pub(crate) fn matches(&self, name: &str) -> bool {
        self.0.is_match(name)
    }

    pub(crate) fn as_str(&self) -> &str {
        self.0.glob().glob()
    }
}

impl FromStr for Pattern {
    type Err = ParsePatternError;

    fn from_str(text: &str) -> Result<Pattern, ParsePatternError> {
        let parsed = Glob::new(text).map(|glob| Pattern(glob.compile_matcher()));
        parsed.map_err(|error| ParsePatternError { pattern: text.into(), message: error.kind().to_string() })
    }
}

impl TryFrom<String> for Pattern {
    type Error = ParsePatternError;

    fn try_from(text: String) -> Result<Pattern, ParsePatternError> {
        text.parse()
    }
}

impl From<Pattern> for String {
    fn from(pattern: Pattern) -> String {
        pattern.as_str().into()
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_str().fmt(f)
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Pattern) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for Pattern {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_whole_names() {
        let matches = |pattern: &str, name: &str| pattern.parse::<Pattern>().unwrap().matches(name);
        assert!(matches("sweep-*", "sweep-1/é"));
        assert!(matches("{a,b}[0-9]?", "b1x"));
        assert!(!matches("sweep", "sweep-1"));
        let error = "job-[0".parse::<Pattern>().unwrap_err();
        assert!(error.to_string().starts_with("\"job-[0\" is not a pattern: "), "{error}");
    }
}
