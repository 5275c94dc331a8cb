//! What can be checked of a description without looking at any file.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::iter;
use std::path::Path;
use std::time::{Duration, SystemTime};

use super::files::{InputFile, InputSource, ResolvedInput, input_error};
use super::{Bytes, JobDescription, is_below, is_below_one_of, plain};
use crate::error::{Error, Result};

/// What the names of variables begin with by which odd characters get through (src/arguments.rs).
const OURS: &str = "JASMIN_ARC_";

/// Variables that the job script of an ARC-CE sets itself (`add_user_env`, `cd_and_run` in submit_common.sh;
/// `JobDescriptionHandler::write_grami`), or that a shell does: what the job would see of them is not what was said.
const TAKEN: [&str; 32] = [
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

/// What the names of more such variables begin with.
const TAKEN_PREFIXES: [&str; 2] = [OURS, "RUNTIME_"];

/// The characters besides letters and digits that survive in the name of a standard stream: A-REX writes it into a shell
/// script without quotes (`setup_runtime_env` in submit_common.sh).
const PLAIN: &str = "_./-+,:@%=^#";

/// A-REX sends no more messages than to so many addresses (`JobLocalDescription`).
const NOTIFICATIONS: usize = 3;

impl JobDescription {
    /// Checks all that can be checked without looking at any file: submitting the job does this first.
    ///
    /// Descriptions travel as XML, which has no place for most control characters: in a name, the executable or an
    /// argument they are [`Error::InvalidJobDescription`]. What an ARC-CE cannot be told, or would lose or change, is so as
    /// well, even where another language can say it; all else arrives as it is. Names in the session directory must be
    /// paths that stay inside it. Input files that would overwrite each other, or be overwritten by the job's standard
    /// output or error, are [`Error::InputFile`].
    ///
    /// ```
    /// use jasmin_arc::{Error, JobDescription};
    ///
    /// let job = JobDescription::new("/bin/echo").with_args(["fine", "not\0fine"]);
    /// assert_eq!(
    ///     job.validate().unwrap_err().to_string(),
    ///     "invalid job description: argument 2 has the character U+0000, which no job description can carry"
    /// );
    ///
    /// let job = JobDescription::new("/bin/true").with_slots_per_host(2);
    /// assert!(job.validate().unwrap_err().to_string().contains("slots per host are said, but not how many slots"));
    ///
    /// let job = JobDescription::new("/bin/cat").with_input_file("a/data").with_input_file("b/data");
    /// assert!(matches!(job.validate(), Err(Error::InputFile { path, .. }) if path.to_str() == Some("b/data")));
    /// ```
    pub fn validate(&self) -> Result<()> {
        self.check()?;
        self.check_for_ce()?;
        self.check_for_arex()
    }

    /// What is wrong in any language.
    pub(crate) fn check(&self) -> Result<()> {
        self.check_texts()?;
        self.check_executable()?;
        self.check_environment()?;
        self.check_streams()?;
        self.check_outputs()?;
        self.check_requests()?;
        self.check_notifications()?;
        self.check_inputs()
    }

    fn check_texts(&self) -> Result<()> {
        check_characters("the name", &self.name)?;
        let texts = [("description", &self.description), ("project", &self.project), ("queue", &self.queue)];
        for (part, text) in texts {
            if let Some(text) = text {
                check_characters(format_args!("the {part}"), text)?;
                if text.trim().is_empty() {
                    return Err(invalid(format!("the {part} is empty")));
                }
            }
        }
        if self.queue.as_ref().is_some_and(|queue| queue.trim() != queue) {
            return Err(invalid("the queue begins or ends with a blank: no queue does"));
        }
        for (n, annotation) in iter::zip(1.., &self.annotations) {
            check_characters(format_args!("annotation {n}"), annotation)?;
        }
        for (n, arg) in iter::zip(1.., &self.args) {
            check_characters(format_args!("argument {n}"), arg)?;
        }
        for (n, rte) in iter::zip(1.., &self.runtime_environments) {
            let part = format!("runtime environment {n}, {:?},", rte.to_string());
            check_characters(&part, &rte.to_string())?;
            let is_odd = |name: &str| name.chars().any(|c| c.is_whitespace() || "'\"`$\\".contains(c));
            if rte.name().is_empty()
                || rte.version() == Some("")
                || is_odd(&rte.to_string())
                || rte.name().split('/').any(|part| part == "..")
            {
                return Err(invalid(format!("{part} has no name that an ARC-CE could know")));
            }
            for option in rte.options() {
                check_characters(format_args!("an option of {part}"), option)?;
                // They are written into a shell script between double quotes, by printf, as a part of its format
                // (RTE_jobscript_call in submit_common.sh).
                if let Some(c) = option.chars().find(|c| "\"$`\\%\n".contains(*c)) {
                    return Err(invalid(format!(
                        "an option of {part} has the character {c:?}, which an ARC-CE changes"
                    )));
                }
            }
        }
        Ok(())
    }

    fn check_executable(&self) -> Result<()> {
        if self.executable.is_empty() {
            return Err(invalid("the executable is empty"));
        }
        check_characters("the executable", &self.executable)?;
        // A-REX trims it and writes it into a shell script between quotes of both kinds.
        if let Some(c) = self.executable.chars().find(|c| "'\"`$\\\n".contains(*c)) {
            return Err(invalid(format!("the executable has the character {c:?}, which an ARC-CE cannot run")));
        }
        if self.executable.trim() != self.executable {
            return Err(invalid("the executable begins or ends with a blank, which an ARC-CE loses"));
        }
        Ok(())
    }

    fn check_environment(&self) -> Result<()> {
        let mut names = HashSet::new();
        for (name, value) in &self.environment {
            let part = format!("the environment variable {name:?}");
            let plain = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
            if name.is_empty() || !plain || name.starts_with(|c: char| c.is_ascii_digit()) {
                return Err(invalid(format!("{part} has a name that no shell can set")));
            }
            if let Some(prefix) = TAKEN_PREFIXES.iter().find(|prefix| name.starts_with(**prefix)) {
                return Err(invalid(format!("{part}: names that begin with {prefix} are taken")));
            }
            if TAKEN.contains(&name.as_str()) {
                return Err(invalid(format!("{part} is set by the CE itself")));
            }
            if !names.insert(name) {
                return Err(invalid(format!("{part} is set twice")));
            }
            check_characters(format_args!("the value of {part}"), value)?;
            // A-REX takes newlines out of the descriptions that it keeps (job_description_read_file).
            if value.contains('\n') {
                return Err(invalid(format!("the value of {part} has a newline, which an ARC-CE loses")));
            }
            // Between single quotes nothing happens to it, but it gets there by the `echo` of /bin/sh (add_user_env in
            // submit_common.sh), and that of dash, for one, knows these.
            if let Some(c) = escape_of_echo(value) {
                return Err(invalid(format!(
                    "the value of {part} has a backslash before {c:?}, which some ARC-CEs take for another character"
                )));
            }
        }
        Ok(())
    }

    fn check_streams(&self) -> Result<()> {
        if let Some(name) = &self.stdin {
            check_plain(format_args!("the standard input {name:?}"), name)?;
        }
        if let Some(name) = &self.stdin
            && !name.starts_with('/')
        {
            check_session_name(format_args!("the standard input {name:?}"), name)?;
            if !self.has_input(name) {
                return Err(invalid(format!(
                    "the standard input {name:?} is neither an absolute path nor an input file"
                )));
            }
        }
        for (part, name) in [("standard output", &self.stdout), ("standard error", &self.stderr)] {
            let Some(name) = name else { continue };
            check_session_name(format_args!("the {part} {name:?}"), name)?;
            check_plain(format_args!("the {part} {name:?}"), name)?;
            // The CE makes directories only for the files that it is sent.
            if let Some((directory, _)) = name.rsplit_once('/')
                && !self.has_directory(directory)
            {
                return Err(invalid(format!(
                    "the {part} {name:?} is in a directory that is not there when the job starts: no input file is in it"
                )));
            }
        }
        if let Some(log) = &self.log_directory {
            check_session_name(format_args!("the log directory {log:?}"), log)?;
        }
        if let Some(log) = &self.log_directory
            && [&self.stdout, &self.stderr].into_iter().flatten().any(|name| name == log)
        {
            return Err(invalid(format!("the log directory {log:?} is the standard output or error too")));
        }
        Ok(())
    }

    /// Whether there is, or may be, an input with this name, be it in a directory.
    pub(crate) fn has_input(&self, name: &str) -> bool {
        self.inputs.iter().any(|input| {
            let is_directory = matches!(input.source(), InputSource::Directory(_));
            input.name().is_some_and(|own| if is_directory { is_below(name, own) } else { name == own })
        })
    }

    /// Whether there is, or may be, such a directory because of an input.
    fn has_directory(&self, name: &str) -> bool {
        let makes = |own: &str, input: &InputFile| {
            let is_directory = matches!(input.source(), InputSource::Directory(_));
            is_below(own, name) || is_directory && (own == name || is_below(name, own))
        };
        self.inputs.iter().any(|input| input.name().is_some_and(|own| makes(own, input)))
    }

    fn check_outputs(&self) -> Result<()> {
        let is_any = |is: fn(&str) -> bool| self.outputs.iter().any(|output| is(&output.name));
        let is_listed = is_any(|name| name.starts_with('@')) && !is_any(|name| plain(name) == "/");
        let kept = self.kept_outputs();
        let mut urls = HashSet::new();
        for (n, output) in iter::zip(1.., &self.outputs) {
            let name = &output.name;
            let part = format!("the name of output file {n}, {name:?},");
            if plain(name) != "/" || output.url.is_some() {
                // The slash says that it is a directory, which the CE sees for itself.
                let trimmed = if name.starts_with('/') { name } else { plain(name) };
                check_session_name(part, trimmed.strip_prefix('@').unwrap_or(trimmed))?;
            }
            if let Some(url) = &output.url {
                check_url("output", url).map_err(|message| invalid(format!("output file {n}, {name:?}: {message}")))?;
                if name.starts_with('@') {
                    return Err(invalid(format!("the list of outputs {name:?} cannot be uploaded itself")));
                }
                // DTRGenerator cleans up the session directory by what it was told to keep: what is listed is not
                // known to it then, and of a directory of which a file is named only that file is kept.
                if is_listed {
                    return Err(invalid(format!(
                        "output file {n}, {name:?}, is to be uploaded: an ARC-CE would not keep what a list of outputs names"
                    )));
                }
                if is_below_one_of(plain(name), &kept) {
                    return Err(invalid(format!(
                        "output file {n}, {name:?}, is to be uploaded: an ARC-CE would not keep the rest of its directory"
                    )));
                }
                if !urls.insert(url) {
                    return Err(invalid(format!("two outputs are to be uploaded to {url}")));
                }
            }
        }
        Ok(())
    }

    fn check_requests(&self) -> Result<()> {
        let most = i32::MAX.unsigned_abs();
        let counts = [
            ("slots", self.slots),
            ("slots per host", self.slots_per_host),
            ("processes per slot", self.processes_per_slot),
            ("threads per process", self.threads_per_process),
        ];
        for (part, count) in counts {
            match count {
                Some(0) => return Err(invalid(format!("the {part} are 0"))),
                Some(count) if count > most => {
                    return Err(invalid(format!("{count} {part} are more than ARC can count")));
                }
                Some(_) if self.slots.is_none() => {
                    return Err(invalid(format!("the {part} are said, but not how many slots")));
                }
                _ => {}
            }
        }
        if let (Some(slots), Some(per_host)) = (self.slots, self.slots_per_host)
            && !slots.is_multiple_of(per_host)
        {
            // ARexJob::make_new_job
            return Err(invalid(format!(
                "{slots} slots are no multiple of {per_host} slots per host, as an ARC-CE demands"
            )));
        }
        let sizes = [("memory", self.memory), ("virtual memory", self.virtual_memory), ("disk space", self.disk)];
        for (part, size) in sizes {
            if size.is_some_and(|size| size == Bytes::new(0) || size.in_mib() > u64::from(most)) {
                return Err(invalid(format!("the {part} is 0, or more than ARC can count")));
            }
        }
        let times = [("wall time", self.wall_time), ("CPU time", self.cpu_time), ("life time", self.life_time)];
        for (part, time) in times {
            if time.is_some_and(|time| time < Duration::from_secs(1) || time.as_secs() > u64::from(most)) {
                return Err(invalid(format!("the {part} is 0, or more than ARC can count")));
            }
        }
        // The first moment of 1970 is how ARC's scripts say that there is none, and ARC writes the year in four digits.
        let last = SystemTime::UNIX_EPOCH + Duration::from_secs(253_402_300_799);
        if self.start_time.is_some_and(|time| time <= SystemTime::UNIX_EPOCH || time > last) {
            return Err(invalid("the start time is not between 1970 and 9999"));
        }
        if self.priority.is_some_and(|priority| !(1..=100).contains(&priority)) {
            return Err(invalid("the priority is not between 1 and 100"));
        }
        if self.rerun.is_some_and(|times| times > most) {
            return Err(invalid("more reruns than ARC can count"));
        }
        Ok(())
    }

    fn check_notifications(&self) -> Result<()> {
        if self.notifications.len() > NOTIFICATIONS {
            return Err(invalid(format!("an ARC-CE sends messages to no more than {NOTIFICATIONS} addresses")));
        }
        let mut known = HashSet::new();
        for notification in &self.notifications {
            let email = notification.email();
            let part = format!("the notification of {email:?}");
            check_characters(&part, email)?;
            if !email.contains('@') || email.chars().any(|c| c.is_whitespace() || "'\"`$\\".contains(c)) {
                return Err(invalid(format!("{part}: that is no address")));
            }
            let mut states = HashSet::new();
            if notification.states().is_empty() || !notification.states().iter().all(|state| states.insert(state)) {
                return Err(invalid(format!("{part} names no state, or one of them twice")));
            }
            if !known.insert(email) {
                return Err(invalid(format!("{part} is said twice")));
            }
        }
        Ok(())
    }

    fn check_inputs(&self) -> Result<()> {
        let own: Vec<&str> = [&self.stdout, &self.stderr].into_iter().flatten().map(String::as_str).collect();
        let mut named: BTreeMap<&str, &InputFile> = BTreeMap::new();
        for input in &self.inputs {
            let name = input.checked_name()?;
            if own.contains(&name) {
                return Err(input.error(format!("the job's own output to {name} would overwrite it")));
            }
            if let Some(first) = named.insert(name, input) {
                let first = first.shown();
                let first = first.display();
                return Err(input.error(format!("its name in the session directory, {name:?}, is that of {first} too")));
            }
        }
        for (name, input) in &named {
            let parents = Path::new(name).ancestors().skip(1).filter_map(Path::to_str);
            for parent in parents {
                let is_file = |input: &&InputFile| !matches!(input.source(), InputSource::Directory(_));
                if own.contains(&parent) || named.get(parent).is_some_and(is_file) {
                    let message =
                        format!("in the session directory it would be {name:?}, but {parent:?} is a file there");
                    return Err(input.error(message));
                }
            }
        }
        Ok(())
    }
}

impl JobDescription {
    /// Checks what directories have made of the inputs: the files of one may be those of another input too.
    pub(super) fn check_resolved(&self, inputs: &[ResolvedInput]) -> Result<()> {
        let own = [&self.stdout, &self.stderr].into_iter().flatten().map(String::as_str);
        let mut taken: HashSet<&str> = own.collect();
        for input in inputs {
            if !taken.insert(&input.name) {
                let message =
                    format!("another file, or the job's own output, is {:?} in the session directory too", input.name);
                return Err(input_error(&input.shown(), message));
            }
        }
        for input in inputs {
            let mut parents = Path::new(&input.name).ancestors().skip(1).filter_map(Path::to_str);
            if let Some(parent) = parents.find(|parent| taken.contains(parent)) {
                let message =
                    format!("in the session directory it would be {:?}, but {parent:?} is a file there", input.name);
                return Err(input_error(&input.shown(), message));
            }
        }
        let is_there = |name: &str| inputs.iter().any(|input| input.name == name);
        if let Some(stdin) = self.stdin.as_deref().filter(|name| !name.starts_with('/') && !is_there(name)) {
            return Err(invalid(format!("the standard input {stdin:?} is not among the input files")));
        }
        for name in [&self.stdout, &self.stderr].into_iter().flatten() {
            let Some((directory, _)) = name.rsplit_once('/') else { continue };
            if !inputs.iter().any(|input| is_below(&input.name, directory)) {
                return Err(invalid(format!("no input file makes the directory of {name:?}")));
            }
        }
        Ok(())
    }
}

pub(crate) fn invalid(message: impl Into<String>) -> Error {
    Error::InvalidJobDescription { path: None, message: message.into() }
}

pub(super) fn check_session_name(part: impl fmt::Display, name: &str) -> Result<()> {
    check_characters(&part, name)?;
    let fault = if name.is_empty() {
        "is empty"
    } else if name.starts_with('/') {
        "is not relative"
    } else if name.ends_with('/') {
        "ends in a slash"
    } else if name.contains('\n') {
        // A-REX keeps these names in files of lines: it would wait for another file.
        "has a newline"
    } else if name.starts_with('@') {
        // A-REX would take it for the name of a list of files.
        "begins with an @"
    } else if name.split('/').any(str::is_empty) {
        // It would escape the search for inputs with one name.
        "has an empty component"
    } else if name.len() > 4096 {
        "is longer than any path"
    } else if name.split('/').any(|component| component.len() > 255) {
        "has a component of more than 255 bytes"
    } else if name.split('/').any(|component| component == "." || component == "..") {
        "has a component \".\" or \"..\""
    } else {
        return Ok(());
    };
    Err(invalid(format!("{part} {fault}")))
}

/// Whether the name of a standard stream survives the shell scripts of a CE.
fn check_plain(part: impl fmt::Display, name: &str) -> Result<()> {
    match name.chars().find(|c| c.is_ascii() && !c.is_ascii_alphanumeric() && !PLAIN.contains(*c)) {
        Some(c) => {
            Err(invalid(format!("{part} has the character {c:?}, which the shells of an ARC-CE do not leave alone")))
        }
        None => Ok(()),
    }
}

/// The character after a backslash by which the `echo` of some shell knows that it stands for another.
fn escape_of_echo(value: &str) -> Option<char> {
    let mut pairs = iter::zip(value.chars(), value.chars().skip(1));
    pairs.find(|(c, next)| *c == '\\' && "\\abceEfnrtvxuU01234567".contains(*next)).map(|(_, next)| next)
}

/// The user, with the password if there is one, and the host, with the port if there is one, of a URL.
pub(super) fn authority(url: &str) -> (&str, &str) {
    let rest = url.split_once("://").map_or("", |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#', ';']).next().unwrap_or_default();
    authority.rsplit_once('@').unwrap_or(("", authority))
}

/// Whether a CE can be told to fetch from, or write to, a URL.
pub(crate) fn check_url(what: &str, url: &str) -> Result<(), String> {
    let scheme = url.split_once("://").map(|(scheme, rest)| (scheme, !rest.is_empty()));
    let is_scheme = |scheme: &str| {
        scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
    };
    match scheme {
        Some((scheme, true)) if is_scheme(scheme) => {
            if scheme.eq_ignore_ascii_case("file") {
                return Err(format!("the URL {url:?} is a file of the CE's own, which an {what} cannot be"));
            }
        }
        _ => return Err(format!("{url:?} is not the URL of an {what}: there is no protocol://host in it")),
    }
    let (user, host) = authority(url);
    if user.contains(':') {
        return Err("the URL has a password in it, which everybody who sees the job would see".into());
    }
    let port = host.rsplit_once(':').filter(|(_, port)| !port.contains(']')).map(|(_, port)| port);
    if port.is_some_and(|port| {
        !port.bytes().all(|byte| byte.is_ascii_digit()) || !port.parse().is_ok_and(|port: u16| port > 0)
    }) {
        return Err(format!("the port in the URL {url:?} is none"));
    }
    // ARC keeps the query as a map and writes each key with a `=`.
    let query = url.split_once('?').map_or("", |(_, query)| query);
    let mut keys = HashSet::new();
    let is_kept = |part: &str| part.split_once('=').is_some_and(|(key, _)| keys.insert(key.to_owned()));
    if !query.is_empty() && !query.split('&').all(is_kept) {
        return Err(format!("the query of the URL {url:?} has a key twice, or one without =: ARC would change that"));
    }
    if let Some(c) = url.chars().find(|c| c.is_whitespace() || c.is_control() || !c.is_ascii()) {
        return Err(format!("the URL {url:?} has the character {c:?}"));
    }
    // A-REX encodes them (again) when it speaks HTTP: what it asks for would be another file.
    let is_http = ["http", "dav"].iter().any(|kind| url.to_ascii_lowercase().starts_with(kind));
    match url.chars().find(|c| "%#".contains(*c)) {
        Some(c) if is_http => Err(format!("the URL {url:?} has the character {c:?}, which an ARC-CE changes")),
        _ => Ok(()),
    }
}

fn check_characters(part: impl fmt::Display, text: &str) -> Result<()> {
    match text.chars().find(|&c| !is_xml(c)) {
        Some(c) => {
            let code = u32::from(c);
            Err(invalid(format!("{part} has the character U+{code:04X}, which no job description can carry")))
        }
        None => Ok(()),
    }
}

/// Whether XML 1.0 has the character, be it as a character reference.
fn is_xml(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | ' '..='\u{FFFD}' | '\u{10000}'..)
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::fs;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::PermissionsExt;
    use std::path::PathBuf;

    use super::*;
    use crate::description::{Content, NotificationState, ResolvedInput, ResolvedSource, RuntimeEnvironment, Upload};

    fn job() -> JobDescription {
        JobDescription::new("/bin/true")
    }

    /// The message of an [`Error::InvalidJobDescription`].
    #[track_caller]
    fn invalid_part(job: &JobDescription) -> String {
        match job.validate() {
            Err(Error::InvalidJobDescription { message, .. }) => message,
            other => panic!("{other:?}"),
        }
    }

    /// The path and the message of an [`Error::InputFile`].
    #[track_caller]
    fn bad_input<T: fmt::Debug>(result: Result<T>) -> (PathBuf, String) {
        match result {
            Err(Error::InputFile { path, message, .. }) => (path, message),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn any_text_that_xml_carries_is_fine() {
        let text = " a\t\n\r\"'<>&]]>\\\u{7f}\u{85}é\u{d7ff}\u{e000}\u{fffd}\u{10000}\u{1f30d}\u{10ffff} ";
        let line = &text.replace('\n', "");
        let all = JobDescription::new("/opt/<my> & é/program")
            .with_name(text)
            .with_args(["", text])
            .with_input_file(format!("/tmp/{line}"))
            .with_input_file_as("/tmp/x", format!("dir/{line}"))
            .with_output_file(line)
            .with_output_file("...");
        all.check().unwrap();
    }

    #[test]
    fn what_an_arc_ce_does_not_keep_apart_is_refused() {
        for executable in ["a'b", "a\"b", "a`b", "a$b", "a\\b", "a\nb", " a", "a "] {
            let error = JobDescription::new(executable).validate().unwrap_err();
            assert!(error.to_string().contains("the executable"), "{error}");
        }
        for (name, why) in [("a\nb", "has a newline"), ("@@a", "begins with an @")] {
            for job in [job().with_output_file(name), job().with_input_file_as("/tmp/x", name)] {
                let error = job.validate().unwrap_err();
                assert!(error.to_string().contains(why), "{error}");
            }
        }
    }

    #[test]
    fn characters_that_xml_lacks_are_refused_and_the_part_is_named() {
        for c in (0..=0x1f).map(char::from).filter(|c| !"\t\n\r".contains(*c)).chain(['\u{fffe}', '\u{ffff}']) {
            let text = format!("a{c}b");
            let code = format!(" has the character U+{:04X},", u32::from(c));
            for (part, job) in [
                ("the name".to_owned(), job().with_name(&text)),
                ("the executable".to_owned(), JobDescription::new(&text)),
                ("argument 2".to_owned(), job().with_arg("").with_arg(&text)),
                (format!("the name of output file 1, {text:?},"), job().with_output_file(&text)),
                (
                    format!("the name of input file x in the session directory, {text:?},"),
                    job().with_input_file_as("x", &text),
                ),
            ] {
                let message = invalid_part(&job);
                assert!(message.starts_with(&(part + &code)), "{message}");
            }
        }
    }

    #[test]
    fn environment_variables_arrive_as_they_are_or_not_at_all() {
        let fine = ["", " ", " a\t", "it's \"x\"", "$HOME `id` $(id)", "a\\", "\\d\\ \\$", "é漢🦀", "a=b;c", "\r"];
        for value in fine {
            job().with_env("A", value).validate().unwrap();
        }
        for (value, why) in
            [("a\nb", "newline"), ("a\n", "newline"), ("a\\nb", "'n'"), ("\\\\", "'\\\\'"), ("\\0", "'0'")]
        {
            let message = invalid_part(&job().with_env("A", value));
            assert!(message.contains(why) && message.contains("\"A\""), "{message}");
        }
        for name in ["HOME", "IFS", "executable", "RUNTIME_JOB_DIR", "JASMIN_ARC_DOLLAR", "GRID_GLOBAL_JOBID"] {
            let message = invalid_part(&job().with_env(name, "x"));
            assert!(message.contains("taken") || message.contains("set by the CE"), "{message}");
        }
        job().with_env("home", "x").with_env("PATH", "/bin").with_env("RUNTIME", "x").validate().unwrap();
    }

    #[test]
    fn streams_have_plain_names_in_directories_that_are_there() {
        let plain = "aZ09_.-+,:@%=^#é";
        job()
            .with_joined_output(plain)
            .with_input_bytes(format!("d/{plain}"), "")
            .with_stdin(format!("d/{plain}"))
            .validate()
            .unwrap();
        for c in " \t'\"`$\\*?[]{}()<>&;|!~".chars() {
            let name = format!("a{c}b");
            let jobs = [
                job().with_stdout(&name),
                job().with_stderr(&name),
                job().with_input_bytes(&name, "").with_stdin(&name),
                job().with_stdin(format!("/{name}")),
            ];
            for job in jobs {
                let message = invalid_part(&job);
                assert!(message.contains(&format!("{c:?}")) && message.contains("standard"), "{message}");
            }
        }
        let inside = || job().with_stdout("d/e/out");
        assert!(invalid_part(&inside()).contains("no input file is in it"));
        assert!(invalid_part(&inside().with_input_bytes("d/x", "")).contains("no input file is in it"));
        assert!(invalid_part(&inside().with_input_file_as("/tmp/x", "d/e2/x")).contains("no input file is in it"));
        inside().with_input_bytes("d/e/f/x", "").validate().unwrap();
        // What is in them is seen when they are read.
        inside().with_input(InputFile::directory("/tmp").named("d")).validate().unwrap();
        inside().with_input(InputFile::directory("/tmp").named("d/e")).validate().unwrap();
    }

    #[test]
    fn options_of_runtime_environments_arrive_as_they_are_or_not_at_all() {
        let with = |option: &str| job().with_runtime_environment(RuntimeEnvironment::new("A-1").with_option(option));
        for option in ["", "two  words", "it's", "*", "é", "!#;&|<>(){}~"] {
            with(option).validate().unwrap();
        }
        for c in ['"', '$', '`', '\\', '%', '\n'] {
            let message = invalid_part(&with(&format!("a{c}b")));
            assert!(message.contains(&format!("{c:?}")) && message.contains("option"), "{message}");
        }
    }

    #[test]
    fn outputs_do_not_cost_each_other() {
        let outputs = |job: &JobDescription| {
            let told = job.distinct_outputs().map(|(name, url)| format!("{name}>{}", url.unwrap_or_default()));
            told.collect::<Vec<_>>()
        };
        let url = "https://example.org/a";
        let kept =
            job().with_output_file("d/").with_output_file("d/e").with_output_file("de").with_output_file("@d/list");
        assert_eq!(outputs(&kept), ["d>", "de>", "@d/list>"]);
        assert_eq!(outputs(&kept.with_output_file("/")), ["@d/list>", "/>"]);
        let both = job().with_output_file_to("a/", url).with_output_file("a/");
        both.validate().unwrap();
        assert_eq!(outputs(&both), [format!("a/>{url}"), "a>".into()]);

        let listed = job().with_output_list("list").with_output_file_to("a", url);
        assert!(invalid_part(&listed).contains("would not keep what a list"));
        let inside = job().with_output_file("d").with_output_file_to("d/a", url);
        assert!(invalid_part(&inside).contains("would not keep the rest"));
        let twice = job().with_output_file_to("a", url).with_output_file_to("b", url);
        assert!(invalid_part(&twice).contains("two outputs"));
    }

    #[test]
    fn an_executable_is_needed() {
        assert_eq!(invalid_part(&JobDescription::new("")), "the executable is empty");
    }

    #[test]
    fn session_names_stay_in_the_session_directory() {
        for (name, fault) in [
            ("", "is empty"),
            ("/etc/passwd", "is not relative"),
            (".", "has a component"),
            ("..", "has a component"),
            ("a/../b", "has a component"),
            ("./a", "has a component"),
            ("a//b", "has an empty component"),
            (&"/a".repeat(3000)[1..], "is longer than any path"),
            (&"a".repeat(256), "has a component"),
        ] {
            for job in [job().with_output_file(name), job().with_input_file_as("x", name)] {
                let message = invalid_part(&job);
                assert!(message.contains(fault), "{name:?}: {message}");
            }
        }
        assert!(invalid_part(&job().with_input_file_as("x", "/")).contains("is not relative"));
        assert!(invalid_part(&job().with_input_file_as("x", "a/")).contains("ends in a slash"));
        job().with_output_file("a/").validate().unwrap();
    }

    #[test]
    fn inputs_may_not_overwrite_each_other() {
        let (path, message) = bad_input(job().with_input_file("a/x").with_input_file_as("b/y", "x").validate());
        assert_eq!(path, Path::new("b/y"));
        assert!(message.contains("a/x"), "{message}");

        let nested = job().with_input_file_as("a", "d/e/f").with_input_file_as("b", "d");
        let (path, message) = bad_input(nested.validate());
        assert_eq!(path, Path::new("a"));
        assert!(message.contains("\"d\" is a file"), "{message}");

        job().with_input_file_as("a", "d/e").with_input_file_as("b", "d/f").validate().unwrap();
        job().with_input_file_as("a", "x").with_output_file("x").validate().unwrap();
    }

    #[test]
    fn inputs_may_not_be_where_the_output_goes() {
        for name in ["stdout.txt", "stderr.txt"] {
            let (path, message) = bad_input(job().with_input_file(format!("/tmp/{name}")).validate());
            assert_eq!(path, Path::new("/tmp").join(name));
            assert!(message.contains(name), "{message}");
            bad_input(job().with_input_file_as("a", format!("{name}/a")).validate());
            job().with_input_file_as("a", format!("a/{name}")).validate().unwrap();
        }
    }

    #[test]
    fn outputs_are_listed_once_and_without_the_standard_ones() {
        let job = job()
            .with_output_file("b")
            .with_output_file("stdout.txt")
            .with_output_file("a/")
            .with_output_file("a")
            .with_output_file("b")
            .with_output_file("stderr.txt");
        job.validate().unwrap();
        assert!(job.distinct_outputs().eq([("b", None), ("a", None)]));
        let kept = job.with_output_file_to("stdout.txt", "https://h/x");
        assert_eq!(kept.distinct_outputs().last(), Some(("stdout.txt", Some("https://h/x"))));
    }

    #[test]
    fn paths_without_a_usable_base_name_are_refused() {
        for path in ["", "/", "..", "a/.."] {
            let (given, message) = bad_input(job().with_input_file(path).validate());
            assert_eq!((given.as_path(), message.contains("path")), (Path::new(path), true));
        }
        bad_input(job().with_input_file_as("", "x").validate());

        let latin1 = Path::new(OsStr::from_bytes(b"/tmp/\xe9"));
        assert!(bad_input(job().with_input_file(latin1).validate()).1.contains("UTF-8"));
        job().with_input_file_as(latin1, "e").validate().unwrap();
    }

    #[test]
    fn inputs_are_resolved() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data 1");
        let script = dir.path().join(OsStr::from_bytes(b"\xff.sh"));
        let link = dir.path().join("link");
        fs::write(&data, "12345").unwrap();
        fs::write(&script, "").unwrap();
        fs::set_permissions(&data, fs::Permissions::from_mode(0o640)).unwrap();
        fs::set_permissions(&script, fs::Permissions::from_mode(0o754)).unwrap();
        std::os::unix::fs::symlink(&script, &link).unwrap();

        let job = job().with_input_file(&data).with_input_file_as(&script, "bin/run").with_input_file(&link);
        let expected = [(data, "data 1", 5, false), (script, "bin/run", 0, true), (link, "link", 0, true)].map(
            |(path, name, size, executable)| ResolvedInput {
                name: name.into(),
                source: ResolvedSource::Upload(Upload { name: name.into(), content: Content::File(path), size }),
                executable,
            },
        );
        assert_eq!(job.resolve_inputs().unwrap(), expected);
    }

    #[test]
    fn relative_paths_become_absolute() {
        let resolved = job().with_input_file("Cargo.toml").resolve_inputs().unwrap();
        let ResolvedSource::Upload(upload) = &resolved[0].source else { panic!("{resolved:?}") };
        assert_eq!(upload.content, Content::File(std::env::current_dir().unwrap().join("Cargo.toml")));
    }

    #[test]
    fn only_readable_regular_files_are_resolved() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::create_dir(at("dir")).unwrap();
        fs::write(at("file"), "").unwrap();
        fs::write(at("secret"), "").unwrap();
        fs::set_permissions(at("secret"), fs::Permissions::from_mode(0o000)).unwrap();
        std::os::unix::fs::symlink("nowhere", at("dangling")).unwrap();
        let fifo = rustix::fs::FileType::Fifo;
        rustix::fs::mknodat(rustix::fs::CWD, at("fifo"), fifo, rustix::fs::Mode::RUSR, 0).unwrap();

        for (name, expected) in [
            ("missing", "does not exist"),
            ("dangling", "does not exist"),
            ("dir", "is a directory"),
            ("dir/", "is a directory"),
            ("file/", "cannot be read"),
            ("fifo", "is not a regular file"),
            ("nul\0", "cannot be read"),
        ] {
            let result = job().with_input_file_as(at(name), "x").resolve_inputs();
            assert_eq!(bad_input(result), (at(name), expected.into()));
        }
        assert_eq!(bad_input(job().with_input_file_as("/", "x").resolve_inputs()).1, "is a directory");

        let secret = job().with_input_file(at("secret")).resolve_inputs();
        if rustix::process::geteuid().is_root() {
            secret.unwrap();
        } else {
            assert_eq!(bad_input(secret).1, "may not be read");
        }
    }

    #[test]
    fn serde_round_trip() {
        for job in [
            job(),
            job()
                .with_name("ü \u{1f30d}\r\n")
                .with_args(["", "\0", "\"\\"])
                .with_input_file("/a/b")
                .with_input_file_as("c", "d e")
                .with_output_file("f")
                .with_output_file("f")
                .with_input(InputFile::bytes("x", [0, 255]).executable())
                .with_input_url("https://h/u")
                .with_output_file_to("o", "https://h/o")
                .with_env("A", "b")
                .with_wall_time(Duration::from_secs(1))
                .with_start_time(SystemTime::UNIX_EPOCH + Duration::from_secs(5))
                .with_memory(Bytes::mib(1))
                .with_exclusive(false)
                .with_runtime_environment(RuntimeEnvironment::new("A-1").with_option("x"))
                .with_notification("a@b", [NotificationState::InLrms])
                .without_stdout()
                .with_project("p"),
        ] {
            let text = serde_json::to_string(&job).unwrap();
            assert_eq!(serde_json::from_str::<JobDescription>(&text).unwrap(), job);
        }
        assert!(serde_json::from_str::<JobDescription>(r#"{"executable": "a", "argz": []}"#).is_err());
    }

    #[test]
    fn what_is_asked_for_must_make_sense() {
        let second = Duration::from_secs(1);
        let far = SystemTime::UNIX_EPOCH + Duration::from_secs(1 << 40);
        for (bad, why) in [
            (job().with_slots(0), "the slots are 0"),
            (job().with_slots(u32::MAX), "more than ARC can count"),
            (job().with_slots_per_host(2), "not how many slots"),
            (job().with_slots(2).with_slots_per_host(0), "per host are 0"),
            (job().with_threads_per_process(2), "not how many slots"),
            (job().with_memory(Bytes::new(0)), "memory is 0"),
            (job().with_disk(Bytes::new(u64::MAX)), "disk space is 0, or more"),
            (job().with_wall_time(Duration::ZERO), "wall time is 0"),
            (job().with_life_time(second * u32::MAX), "life time is 0, or more"),
            (job().with_start_time(SystemTime::UNIX_EPOCH - second), "start time"),
            (job().with_start_time(far), "start time"),
            (job().with_priority(0), "priority"),
            (job().with_priority(101), "priority"),
            (job().with_queue(" "), "queue is empty"),
            (job().with_queue("\nfork"), "queue begins"),
            (job().with_env("", "x"), "no shell"),
            (job().with_env("1A", "x"), "no shell"),
            (job().with_env("A B", "x"), "no shell"),
            (job().with_env("A", "x\u{1}"), "U+0001"),
            (job().with_slots(4).with_slots_per_host(3), "no multiple"),
            (job().with_slots(4).with_slots_per_host(8), "no multiple"),
            (job().with_env("A", "").with_env("A", ""), "twice"),
            (job().with_env("JASMIN_ARC_DOLLAR", ""), "taken"),
            (job().with_stdin("a"), "neither an absolute path nor an input"),
            (job().with_stdin("../a"), "component"),
            (job().with_stdout("/a"), "not relative"),
            (job().with_stderr("$a"), "shells"),
            (job().with_log_directory("stdout.txt"), "standard output or error too"),
            (job().with_notification("a", [NotificationState::Finished]), "no address"),
            (job().with_notification("a@b c", [NotificationState::Finished]), "no address"),
            (job().with_notification("a@b", []), "names no state"),
            (job().with_notification("a@b", [NotificationState::Finished; 2]), "twice"),
            ((0..4).fold(job(), |job, n| job.with_notification(format!("{n}@b"), [NotificationState::Finished])), "3"),
            (job().with_runtime_environment(RuntimeEnvironment::new("")), "no name"),
            (job().with_runtime_environment(RuntimeEnvironment::new("a b")), "no name"),
            (job().with_runtime_environment(RuntimeEnvironment::new("a/../b")), "no name"),
            (job().with_output_file_to("a", "b"), "protocol://host"),
            (job().with_output_file_to("a", "file:///b"), "CE's own"),
            (job().with_output_file_to("/", "https://h/b"), "not relative"),
            (job().with_output_list("../a"), "component"),
        ] {
            let message = invalid_part(&bad);
            assert!(message.contains(why), "{message}: not {why:?}");
        }
        for good in [
            job().with_output_file("/").with_output_list("made").with_output_file_to("d/a", "gsiftp://h:1/a;x=y"),
            job().with_stdin("in/a").with_input_directory("/x/in"),
            job().with_stdin("a").with_input_bytes("a", ""),
            job().with_stdin("/dev/zero").with_joined_output("o").with_log_directory("log"),
            job().with_env("_a1", "'\"$`\\ \t é").with_slots(1).with_threads_per_process(1),
        ] {
            good.validate().unwrap();
        }
    }

    #[test]
    fn urls_are_inputs_of_their_own() {
        for (url, why) in [("x", "protocol"), ("://x", "protocol"), ("file:///x", "CE's own"), ("https://h/a b", "' '")]
        {
            let (path, message) = bad_input(job().with_input(InputFile::url(url).named("x")).validate());
            assert!(path.to_str() == Some(url) && message.contains(why), "{message}");
        }
        let secret = job().with_input_url("https://me:secret@h/x");
        let (path, message) = bad_input(secret.validate());
        let secret = secret.with_output_file_to("o", "https://me:secret@h/x");
        assert!(message.contains("password"), "{message}");
        for text in [path.display().to_string(), message, format!("{secret:?}")] {
            assert!(!text.contains("secret"), "{text}");
        }
        for bad in ["https://h:0/x", "https://h:99999/x", "https://h:0x50/x"] {
            assert!(bad_input(job().with_input_url(bad).validate()).1.contains("port"));
        }
        assert!(bad_input(job().with_input_url("https://h").validate()).1.contains("no name"));
        assert!(bad_input(job().with_input_url("https://h/a/").validate()).1.contains("no name"));
    }

    #[test]
    fn directories_are_their_files() {
        let dir = tempfile::tempdir().unwrap();
        let model = dir.path().join("model");
        fs::create_dir_all(model.join("sub/empty")).unwrap();
        fs::write(model.join("sub/b"), "22").unwrap();
        fs::write(model.join("a"), "1").unwrap();
        std::os::unix::fs::symlink(model.join("a"), model.join("link")).unwrap();
        let names = |job: &JobDescription| -> Vec<String> {
            job.resolve_inputs().unwrap().into_iter().map(|input| input.name).collect()
        };
        assert_eq!(names(&job().with_input_directory(&model)), ["model/a", "model/link", "model/sub/b"]);
        let renamed = job().with_input(InputFile::directory(&model).named("x/y"));
        assert_eq!(names(&renamed), ["x/y/a", "x/y/link", "x/y/sub/b"]);

        let same = job().with_input_directory(&model).with_input_file_as(model.join("a"), "model/sub/b");
        assert!(bad_input(same.resolve_inputs()).1.contains("another file"));
        let below = job().with_input_directory(&model).with_input_file_as(model.join("a"), "model/a/b");
        assert!(bad_input(below.resolve_inputs()).1.contains("\"model/a\" is a file"));
        let output = job().with_input_directory(&model).with_stdout("model/a");
        assert!(bad_input(output.resolve_inputs()).1.contains("own output"));
        let stdin = job().with_input_directory(&model).with_stdin("model/none");
        assert!(stdin.resolve_inputs().unwrap_err().to_string().contains("not among the input files"));

        std::os::unix::fs::symlink(&model, model.join("loop")).unwrap();
        assert!(bad_input(job().with_input_directory(&model).resolve_inputs()).1.contains("loop"));
        fs::remove_file(model.join("loop")).unwrap();
        fs::write(model.join("new\nline"), "").unwrap();
        assert!(job().with_input_directory(&model).resolve_inputs().unwrap_err().to_string().contains("newline"));
        assert!(bad_input(job().with_input_directory(model.join("a")).resolve_inputs()).1.contains("not a directory"));
        assert!(bad_input(job().with_input_directory(model.join("no")).resolve_inputs()).1.contains("exist"));
    }

    #[test]
    fn bytes_are_sent_as_they_are() {
        let job = job().with_input(InputFile::bytes("a", [0, 1, 255]).executable());
        let resolved = job.resolve_inputs().unwrap().remove(0);
        assert!(resolved.executable);
        let ResolvedSource::Upload(upload) = resolved.source else { panic!("no upload") };
        let mut read = Vec::new();
        std::io::Read::read_to_end(&mut upload.open().unwrap(), &mut read).unwrap();
        assert_eq!((upload.size, &read[..]), (3, &[0, 1, 255][..]));
        assert!(!format!("{job:?}").contains("255"), "{job:?}");
    }
}
