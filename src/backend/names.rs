//! The rules for names of files that a CE chose.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use crate::job::LeftOutReason;

/// The longest name of a file, on every local file system of Linux (`NAME_MAX`).
pub(crate) const MAX_NAME: usize = 255;

/// The longest path that a program can open (`PATH_MAX` without the NUL).
pub(crate) const MAX_PATH: usize = 4095;

/// Returns why a file with this path, relative to the session directory, cannot be saved in a local directory.
pub(crate) fn refusal_of_path(path: &OsStr) -> Option<LeftOutReason> {
    if path.len() > MAX_PATH {
        return Some(LeftOutReason::NameTooLong);
    }
    path.as_bytes().split(|byte| *byte == b'/').find_map(refusal_of_name)
}

/// Returns why a file with this name cannot be saved. A name that leads elsewhere, or that changes what a terminal or a
/// script shows, is not safe.
pub(crate) fn refusal_of_name(name: &[u8]) -> Option<LeftOutReason> {
    let is_control = |chunk: std::str::Utf8Chunk<'_>| chunk.valid().contains(char::is_control);
    let leads_elsewhere = matches!(name, b"" | b"." | b"..") || name.contains(&b'/');
    if leads_elsewhere || name.utf8_chunks().any(is_control) {
        return Some(LeftOutReason::UnsafeName);
    }
    (name.len() > MAX_NAME).then_some(LeftOutReason::NameTooLong)
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;
    use std::os::unix::ffi::OsStringExt;
    use std::path::{Component, Path};

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_that_lead_elsewhere_or_are_too_long_are_refused() {
        for name in [
            "", ".", "..", "/", "a/", "/a", "a//b", "a/./b", "a/../b", "../a", "a\0", "a\n", "\x1b[2J", "a\x7f",
            "\u{85}",
        ] {
            assert_eq!(refusal_of_path(name.as_ref()), Some(LeftOutReason::UnsafeName), "{name:?}");
        }
        for name in [
            "a", "a b", ".hidden", "...", "..a", "a..", "-", "CON", "nul.txt", "a:b", "a\\b", "é", "a/b/c", "%2e%2e",
            "\u{202e}",
        ] {
            assert_eq!(refusal_of_path(name.as_ref()), None, "{name:?}");
        }
        assert_eq!(refusal_of_path(OsStr::from_bytes(b"latin \xe9")), None);
        assert_eq!(refusal_of_path("x".repeat(MAX_NAME).as_ref()), None);
        assert_eq!(refusal_of_path("x".repeat(MAX_NAME + 1).as_ref()), Some(LeftOutReason::NameTooLong));
        assert_eq!(refusal_of_path("x/".repeat(MAX_PATH).as_ref()), Some(LeftOutReason::NameTooLong));
    }

    proptest! {
        #[test]
        fn accepted_paths_stay_below_the_directory(path in paths()) {
            let path = OsString::from_vec(path);
            if refusal_of_path(&path).is_none() {
                let below = Path::new(&path);
                prop_assert!(below.components().all(|component| matches!(component, Component::Normal(_))));
                // Nothing was normalised away: the components are the path.
                let joined = below.components().map(|component| component.as_os_str()).collect::<Vec<_>>();
                prop_assert_eq!(joined.join(OsStr::new("/")), path.clone());
                prop_assert!(joined.iter().all(|name| name.len() <= MAX_NAME));
                prop_assert!(!path.as_bytes().iter().any(u8::is_ascii_control));
            }
        }

        #[test]
        fn ordinary_names_are_accepted(name in "[A-Za-z0-9 é漢_+=,;:@#%&(){}~-][A-Za-z0-9 é漢._+-]{0,60}") {
            prop_assert_eq!(refusal_of_name(name.as_bytes()), None);
        }
    }

    /// Paths of pieces that have a meaning for a file system, mixed with arbitrary bytes.
    fn paths() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            Just(b"/".to_vec()),
            Just(b"..".to_vec()),
            Just(b".".to_vec()),
            Just(b"a".to_vec()),
            Just(vec![b'x'; 200]),
            Just("é".as_bytes().to_vec()),
            proptest::collection::vec(any::<u8>(), 0..4),
        ];
        proptest::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
    }
}
