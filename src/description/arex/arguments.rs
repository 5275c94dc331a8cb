//! Escapes arguments so that the shell scripts of A-REX do not change them.
//!
//! A-REX writes a shell script for each job (`parse_grami_file` in lrms_common.sh, `cd_and_run` in submit_common.sh;
//! ARC 6 and 7), with the arguments between double quotes. There the shell expands `$` and backquotes. Every line but
//! the first loses its first word, and trailing newlines are lost. The `echo` of different shells treats backslashes
//! differently, and the script for SLURMPY escapes nothing. In that script, the values of environment variables are in
//! single quotes. The crate therefore puts each of these characters into a variable, and writes `${NAME}` in the
//! argument.

use crate::ffi::Variable;

/// The prefix of the names of these variables.
pub(super) const PREFIX: &str = "JASMIN_ARC_";

/// The characters that the scripts change, the replacement of each in an argument, and the variable that it needs.
const REPLACED: [(char, &str, Option<&str>); 5] = [
    ('$', "${JASMIN_ARC_DOLLAR}", Some("JASMIN_ARC_DOLLAR")),
    ('`', "${JASMIN_ARC_BACKQUOTE}", Some("JASMIN_ARC_BACKQUOTE")),
    ('"', "${JASMIN_ARC_QUOTE}", Some("JASMIN_ARC_QUOTE")),
    ('\\', "${JASMIN_ARC_BACKSLASH}", Some("JASMIN_ARC_BACKSLASH")),
    // A variable cannot contain only a newline, because A-REX trims values. Every shell starts with an IFS of a blank,
    // a tab and a newline, so the last character of IFS replaces it.
    ('\n', "${IFS#??}", None),
];

/// Returns the arguments to send, and the variables that they need.
pub(crate) fn escape(arguments: &[String]) -> (Vec<String>, Vec<Variable>) {
    let escape = |argument: &String| {
        let mut escaped = String::with_capacity(argument.len());
        for c in argument.chars() {
            match REPLACED.iter().find(|(replaced, ..)| *replaced == c) {
                Some((_, reference, _)) => escaped.push_str(reference),
                None => escaped.push(c),
            }
        }
        escaped
    };
    let variable = |&(c, _, name): &(char, &str, Option<&str>)| {
        arguments.iter().any(|argument| argument.contains(c)).then_some(())?;
        Some(Variable { name: name?.into(), value: c.into() })
    };
    (arguments.iter().map(escape).collect(), REPLACED.iter().filter_map(variable).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_characters_that_a_shell_changes_are_replaced() {
        let plain = [" a 'b' <&> é\t\r*~#;|!%s".to_owned(), String::new()];
        assert_eq!(escape(&plain), (plain.to_vec(), Vec::new()));

        let (arguments, variables) = escape(&["$HOME\n".into(), "\\`".into(), "$".into()]);
        assert_eq!(
            arguments,
            [
                "${JASMIN_ARC_DOLLAR}HOME${IFS#??}",
                "${JASMIN_ARC_BACKSLASH}${JASMIN_ARC_BACKQUOTE}",
                "${JASMIN_ARC_DOLLAR}"
            ]
        );
        let variables: Vec<_> = variables.iter().map(|v| (v.name.as_str(), v.value.as_str())).collect();
        assert_eq!(
            variables,
            [("JASMIN_ARC_DOLLAR", "$"), ("JASMIN_ARC_BACKQUOTE", "`"), ("JASMIN_ARC_BACKSLASH", "\\")]
        );
    }

    #[test]
    fn variables_have_the_reserved_prefix() {
        assert!(REPLACED.iter().all(|(.., name)| name.is_none_or(|name| name.starts_with(PREFIX))));
    }
}
