//! Checks and compares the names of files in the session directory.

use std::collections::HashSet;
use std::fmt;

use super::errors::invalid;
use crate::error::Result;

/// Checks that a name is a relative path that stays in the session directory, and that A-REX can handle.
///
/// `part` is the subject of the error message, such as `the name of output file 1, "a",`.
pub(crate) fn check_session_name(part: impl fmt::Display, name: &str) -> Result<()> {
    check_characters(&part, name)?;
    let fault = if name.is_empty() {
        "is empty"
    } else if name.starts_with('/') {
        "is not relative"
    } else if name.ends_with('/') {
        "ends in a slash"
    } else if name.contains('\n') {
        // A-REX keeps these names in files with one name per line.
        "has a newline"
    } else if name.starts_with('@') {
        // A-REX treats such a name as that of a list of files.
        "begins with an @"
    } else if name.split('/').any(str::is_empty) {
        // Two forms of the same name would hide that two inputs overwrite each other.
        "has an empty component"
    } else if name.len() > 4096 {
        "is longer than 4096 bytes"
    } else if name.split('/').any(|component| component.len() > 255) {
        "has a component of more than 255 bytes"
    } else if name.split('/').any(|component| component == "." || component == "..") {
        "has a component \".\" or \"..\""
    } else {
        return Ok(());
    };
    Err(invalid(format!("{part} {fault}")))
}

/// Checks that XML 1.0 can represent every character of a text, because the crate sends descriptions as XML.
pub(crate) fn check_characters(part: impl fmt::Display, text: &str) -> Result<()> {
    match text.chars().find(|&c| !is_xml(c)) {
        Some(c) => {
            let code = u32::from(c);
            Err(invalid(format!("{part} contains the character U+{code:04X}, which a job description cannot contain")))
        }
        None => Ok(()),
    }
}

/// Whether XML 1.0 can represent the character, at least as a character reference.
fn is_xml(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | ' '..='\u{FFFD}' | '\u{10000}'..)
}

/// Returns the name of an output without the trailing slash of a directory.
pub(crate) fn without_slash(name: &str) -> &str {
    match name.trim_end_matches('/') {
        "" if !name.is_empty() => "/",
        trimmed => trimmed,
    }
}

/// Whether `name` is inside the directory `directory`.
pub(crate) fn is_below(name: &str, directory: &str) -> bool {
    name.strip_prefix(directory).is_some_and(|rest| rest.starts_with('/'))
}

/// Whether `name` is inside one of `directories`.
pub(crate) fn is_below_one_of(name: &str, directories: &HashSet<&str>) -> bool {
    name.match_indices('/').any(|(end, _)| directories.contains(&name[..end]))
}
