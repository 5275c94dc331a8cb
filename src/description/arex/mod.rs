//! The rules of A-REX, the server software of every ARC-CE: values that it or its scripts would change, and the form of
//! arguments and outputs.
//!
//! There are two checks:
//! - [`check_values`] refuses values that A-REX changes, loses or rejects. It applies to every description that the
//!   crate reads, writes or submits, since every description is for A-REX in the end.
//! - [`check_submission`] refuses values that are valid in the languages but that A-REX misreads. It applies only when
//!   a job is submitted.

mod arguments;

use std::collections::HashSet;
use std::fmt;
use std::iter;

pub(crate) use self::arguments::escape;
use super::errors::invalid;
use super::session_names::{is_below, is_below_one_of, without_slash};
use super::{InputFile, InputSource, JobDescription, OutputFile};
use crate::error::Result;

/// Variables that the job script sets itself (`add_user_env`, `cd_and_run` in submit_common.sh;
/// `JobDescriptionHandler::write_grami`), or that a shell sets. The job would not see the requested value.
const RESERVED_VARIABLES: [&str; 32] = [
    "ACCOUNTING_STARTTIME",
    "BASHOPTS",
    "BASHPID",
    "BASH_VERSINFO",
    "EUID",
    "GNU_TIME",
    "GRID_GLOBAL_JOBHOST",
    "GRID_GLOBAL_JOBID",
    "GRID_GLOBAL_JOBINTERFACE",
    "GRID_GLOBAL_JOBURL",
    "HOME",
    "IFS",
    "JOB_ACCOUNTING",
    "LINENO",
    "OLDPWD",
    "OPTIND",
    "PPID",
    "PWD",
    "RANDOM",
    "RESULT",
    "SECONDS",
    "SHELLOPTS",
    "SHLVL",
    "SYSTEM_SOFTWARE",
    "UID",
    "_",
    "executable",
    "interpreter",
    "line1",
    "nodename",
    "runtimeenvironments",
    "shebang",
];

/// Prefixes of the names of further such variables, and of the variables that [`escape`] uses for arguments.
const RESERVED_PREFIXES: [&str; 2] = [arguments::PREFIX, "RUNTIME_"];

/// The ASCII characters, apart from letters and digits, that the name of a standard stream may contain. A-REX writes
/// the name into a shell script without quotes (`setup_runtime_env` in submit_common.sh).
const STREAM_NAME_CHARACTERS: &str = "_./-+,:@%=^#";

/// A-REX sends messages to at most three addresses (`JobLocalDescription`).
const MAX_NOTIFICATIONS: usize = 3;

/// Refuses values that A-REX or its scripts change, lose or reject.
pub(super) fn check_values(job: &JobDescription) -> Result<()> {
    check_executable(job)?;
    check_arguments(job)?;
    check_runtime_environments(job)?;
    check_envs(job)?;
    check_streams(job)?;
    check_outputs(job)?;
    match (job.slots(), job.slots_per_host()) {
        // ARexJob::make_new_job refuses the job.
        (Some(slots), Some(per_host)) if slots % per_host != 0 => {
            return Err(invalid(format!("slots ({slots}) must be a multiple of slots_per_host ({per_host})")));
        }
        _ => {}
    }
    if job.notifications().len() > MAX_NOTIFICATIONS {
        return Err(invalid(format!(
            "the job has {} notifications, but an ARC-CE sends messages to at most {MAX_NOTIFICATIONS} addresses",
            job.notifications().len()
        )));
    }
    Ok(())
}

/// Refuses values that A-REX changes or misreads in a submitted description.
pub(super) fn check_submission(job: &JobDescription) -> Result<()> {
    // A-REX removes newlines from the descriptions that it keeps (job_description_read_file).
    let texts = [("name", Some(job.name())), ("description", job.description())];
    let annotations = job.annotations().iter().map(|annotation| ("annotation", Some(annotation.as_str())));
    for (part, text) in texts.into_iter().chain(annotations) {
        if text.is_some_and(|text| text.contains('\n')) {
            return Err(invalid(format!("the {part} has a newline, which an ARC-CE loses: use one line")));
        }
    }
    // A-REX uses the number of seconds as a character code (JobLocalDescription::operator=, ARC 6 and 7). With three
    // hours, for example, the result is "0", and A-REX removes the job at once.
    if job.life_time().is_some() {
        return Err(invalid("A-REX (ARC 6 and 7) misreads life_time: leave it out"));
    }
    Ok(())
}

/// The longest argument or variable that Linux passes to a program, in bytes (`MAX_ARG_STRLEN`, less the NUL).
const MAX_ARGUMENT: usize = 131_071;

/// A-REX accepts a longer argument, and the job then fails with exit code 126.
fn check_arguments(job: &JobDescription) -> Result<()> {
    match iter::zip(1.., job.args()).find(|(_, arg)| arg.len() > MAX_ARGUMENT) {
        Some((n, arg)) => Err(invalid(format!(
            "argument {n} has {} bytes, but Linux passes at most {MAX_ARGUMENT} to a program: use an input file",
            arg.len()
        ))),
        None => Ok(()),
    }
}

fn check_executable(job: &JobDescription) -> Result<()> {
    let executable = job.executable();
    // A-REX writes the executable into a shell script, in single quotes in one place and in double quotes in another.
    if let Some(c) = executable.chars().find(|c| "'\"`$\\\n".contains(*c)) {
        return Err(invalid(format!(
            "the executable {executable:?} contains the character {c:?}, which the scripts of an ARC-CE change: rename it"
        )));
    }
    if executable.trim() != executable {
        return Err(invalid(format!(
            "the executable {executable:?} begins or ends with a blank, which an ARC-CE loses"
        )));
    }
    Ok(())
}

fn check_runtime_environments(job: &JobDescription) -> Result<()> {
    for (n, rte) in iter::zip(1.., job.runtime_environments()) {
        let part = format!("runtime environment {n}, {:?},", rte.to_string());
        let is_unusable = |name: &str| name.chars().any(|c| c.is_whitespace() || "'\"`$\\".contains(c));
        if rte.name().is_empty()
            || rte.version() == Some("")
            || is_unusable(&rte.to_string())
            || rte.name().split('/').any(|part| part == "..")
        {
            return Err(invalid(format!("{part} is not a valid name of a runtime environment on an ARC-CE")));
        }
        for option in rte.options() {
            // The job script contains the option in double quotes, in a format string of printf (RTE_jobscript_call in
            // submit_common.sh).
            if let Some(c) = option.chars().find(|c| "\"$`\\%\n".contains(*c)) {
                return Err(invalid(format!(
                    "the option {option:?} of {part} contains the character {c:?}, which an ARC-CE changes"
                )));
            }
        }
    }
    Ok(())
}

fn check_envs(job: &JobDescription) -> Result<()> {
    for (name, value) in job.envs() {
        let part = format!("the environment variable {name:?}");
        if let Some(prefix) = RESERVED_PREFIXES.iter().find(|prefix| name.starts_with(**prefix)) {
            return Err(invalid(format!("{part}: names that begin with {prefix} are reserved")));
        }
        if RESERVED_VARIABLES.contains(&name) {
            return Err(invalid(format!("{part} is set by the CE itself: use another name")));
        }
        // A-REX removes newlines from the descriptions that it keeps (job_description_read_file).
        if value.contains('\n') {
            return Err(invalid(format!("the value of {part} has a newline, which an ARC-CE loses")));
        }
        // The job script contains the value in single quotes. The `echo` of /bin/sh writes it there (add_user_env in
        // submit_common.sh), and some versions, such as that of dash, replace these sequences.
        if let Some(c) = escape_of_echo(value) {
            return Err(invalid(format!(
                "the value of {part} has a backslash before {c:?}, which some ARC-CEs replace by another character"
            )));
        }
    }
    Ok(())
}

/// Returns the character after the backslash of the first escape sequence that the `echo` of some shell replaces.
fn escape_of_echo(value: &str) -> Option<char> {
    let mut pairs = iter::zip(value.chars(), value.chars().skip(1));
    pairs.find(|(c, next)| *c == '\\' && "\\abceEfnrtvxuU01234567".contains(*next)).map(|(_, next)| next)
}

fn check_streams(job: &JobDescription) -> Result<()> {
    if let Some(name) = job.stdin() {
        check_stream_name(format_args!("the standard input {name:?}"), name)?;
    }
    for (part, name) in [("standard output", job.stdout()), ("standard error", job.stderr())] {
        let Some(name) = name else { continue };
        check_stream_name(format_args!("the {part} {name:?}"), name)?;
        // A-REX creates directories only for uploaded files.
        if name.rsplit_once('/').is_some_and(|(directory, _)| !has_directory(job, directory)) {
            return Err(invalid(format!(
                "the {part} {name:?} is in a directory that the CE does not create: no input file is in it; add one, or \
                 choose another name"
            )));
        }
    }
    Ok(())
}

/// Checks that the scripts do not change the name of a standard stream.
fn check_stream_name(part: impl fmt::Display, name: &str) -> Result<()> {
    match name.chars().find(|c| c.is_ascii() && !c.is_ascii_alphanumeric() && !STREAM_NAME_CHARACTERS.contains(*c)) {
        Some(c) => Err(invalid(format!(
            "{part} contains the character {c:?}, which the shell scripts of an ARC-CE change: use letters, digits and \
             {STREAM_NAME_CHARACTERS}"
        ))),
        None => Ok(()),
    }
}

/// Whether an input creates, or may create, the directory `name`.
fn has_directory(job: &JobDescription, name: &str) -> bool {
    let creates = |own: &str, input: &InputFile| {
        let is_directory = matches!(input.source(), InputSource::Directory(_));
        is_below(own, name) || is_directory && (own == name || is_below(name, own))
    };
    job.inputs().iter().any(|input| input.name().is_some_and(|own| creates(own, input)))
}

/// Refuses uploads that would make A-REX delete other outputs. When A-REX cleans up the session directory
/// (`DTRGenerator`), it ignores the files of a list. If an output is a file in a directory, A-REX deletes the other
/// files of that directory.
fn check_outputs(job: &JobDescription) -> Result<()> {
    let keeps_all = job.outputs().iter().any(|output| without_slash(output.name()) == "/");
    let has_list = job.outputs().iter().any(OutputFile::is_list) && !keeps_all;
    let kept = kept_outputs(job);
    for (n, output) in iter::zip(1.., job.outputs()) {
        let name = output.name();
        if output.url().is_none() {
            continue;
        }
        if has_list {
            return Err(invalid(format!(
                "output file {n}, {name:?}, has a URL: an ARC-CE would not keep the files of a list of outputs"
            )));
        }
        if is_below_one_of(without_slash(name), &kept) {
            return Err(invalid(format!(
                "output file {n}, {name:?}, has a URL: an ARC-CE would not keep the rest of its directory"
            )));
        }
    }
    Ok(())
}

/// Returns the names of the outputs that stay on the CE, without a trailing slash.
fn kept_outputs(job: &JobDescription) -> HashSet<&str> {
    let kept = job.outputs().iter().filter(|output| output.url().is_none());
    kept.map(|output| without_slash(output.name())).collect()
}

impl JobDescription {
    /// Returns the outputs in the form that A-REX requires: each once, with its URL, and without a trailing slash if
    /// the CE keeps it.
    ///
    /// The result excludes the standard output and error and the log directory, since A-REX keeps these in any case. It
    /// also excludes files in a directory that is itself an output, because A-REX would then delete the rest of that
    /// directory (`Arc::DirDeleteExcl`).
    pub(crate) fn distinct_outputs(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        let standard = [self.stdout(), self.stderr(), self.log_directory()];
        let mut seen: HashSet<(&str, Option<&str>)> = standard.into_iter().flatten().map(|name| (name, None)).collect();
        let kept = kept_outputs(self);
        let is_covered = move |name: &str| {
            name != "/" && !name.starts_with('@') && (kept.contains("/") || is_below_one_of(name, &kept))
        };
        fn sent(output: &OutputFile) -> (&str, Option<&str>) {
            match output.url() {
                // The CE uploads a directory only if its name ends in a slash.
                Some(url) => (output.name(), Some(url)),
                None => (without_slash(output.name()), None),
            }
        }
        let outputs = self.outputs().iter().map(sent);
        outputs.filter(move |(name, url)| url.is_some() || !is_covered(name)).filter(move |output| seen.insert(*output))
    }
}

#[cfg(test)]
mod tests;
