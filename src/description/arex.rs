//! Arguments in a form that survives the shell scripts of a CE.
//!
//! A-REX writes a shell script for each job (`parse_grami_file` in lrms_common.sh, `cd_and_run` in submit_common.sh; ARC
//! 6 and 7), with the arguments between double quotes. There `$` and the backquote are alive; every line but the first
//! loses its first word, and newlines at the end are lost; a backslash means different things to the `echo` of different
//! shells, and the script for SLURMPY escapes nothing. Environment variables stand there between single quotes: so each
//! of these characters becomes one, and what is in the argument is `${NAME}`.

use crate::ffi::Variable;

/// A character, what stands for it in an argument, and the variable that must be set for that.
const ODD: [(char, &str, Option<&str>); 5] = [
    ('$', "${JASMIN_ARC_DOLLAR}", Some("JASMIN_ARC_DOLLAR")),
    ('`', "${JASMIN_ARC_BACKQUOTE}", Some("JASMIN_ARC_BACKQUOTE")),
    ('"', "${JASMIN_ARC_QUOTE}", Some("JASMIN_ARC_QUOTE")),
    ('\\', "${JASMIN_ARC_BACKSLASH}", Some("JASMIN_ARC_BACKSLASH")),
    // A-REX trims values. But every shell starts with an IFS of a blank, a tab and a newline.
    ('\n', "${IFS#??}", None),
];

/// The arguments to send, and the variables that they need.
pub(crate) fn escape(arguments: &[String]) -> (Vec<String>, Vec<Variable>) {
    let escape = |argument: &String| {
        let mut escaped = String::with_capacity(argument.len());
        for c in argument.chars() {
            match ODD.iter().find(|(odd, ..)| *odd == c) {
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
    (arguments.iter().map(escape).collect(), ODD.iter().filter_map(variable).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_shell_would_touch_is_replaced() {
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
}
