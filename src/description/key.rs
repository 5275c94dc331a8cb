//! The key of a submission, in the form in which it travels to the CE.

use super::errors::invalid;
use super::session_names::check_characters;
use crate::error::Result;
use crate::util::uri::{decode_path, encode_path};

/// The maximum length of a key, in bytes.
const MAX_LENGTH: usize = 500;

/// How the identifiers of this crate's submissions begin.
pub(crate) const URN_PREFIX: &str = "urn:jasmin-arc:";

/// Returns the identifier that a job with this key has on the CE.
///
/// It travels in ADL's `nordugrid-adl:ActivityOldID`. A-REX keeps it as `activityid` in the job's file `local`, which
/// ends lines with newlines and trims blanks, so the key is percent-encoded.
pub(crate) fn urn(key: &str) -> String {
    format!("{URN_PREFIX}{}", encode_path(key.as_bytes()))
}

/// Returns the key in an identifier of this crate, or `None` for any other identifier.
pub(crate) fn key_of(identifier: &str) -> Option<String> {
    String::from_utf8(decode_path(identifier.strip_prefix(URN_PREFIX)?)?).ok()
}

/// Checks a key that the caller has chosen.
pub(crate) fn check_key(key: &str) -> Result<()> {
    if key.is_empty() || key.len() > MAX_LENGTH {
        let length = key.len();
        return Err(invalid(format!("the key has {length} bytes: choose a key of 1 to {MAX_LENGTH} bytes")));
    }
    check_characters("the key", key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_become_identifiers_without_special_characters() {
        assert_eq!(urn("sweep 7, seed 42\n"), "urn:jasmin-arc:sweep%207%2C%20seed%2042%0A");
        assert_eq!(urn("a/é%"), "urn:jasmin-arc:a/%C3%A9%25");
        assert_eq!(key_of(&urn("a/é%, b\n")).as_deref(), Some("a/é%, b\n"));
        for other in ["", "urn:other:a", "urn:jasmin-arc:%FF", "urn:jasmin-arc:%"] {
            assert_eq!(key_of(other), None, "{other}");
        }
    }

    #[test]
    fn empty_and_long_keys_are_refused() {
        check_key(&"x".repeat(500)).unwrap();
        for key in [String::new(), "x".repeat(501), "a\0".into()] {
            assert!(check_key(&key).is_err(), "{key:?}");
        }
    }
}
