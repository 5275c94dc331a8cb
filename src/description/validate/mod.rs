//! What can be checked of a description without looking at any file.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::iter;
use std::path::Path;
use std::time::{Duration, SystemTime};

use super::files::{InputFile, InputSource, ResolvedInput, input_error};
use super::{ByteSize, JobDescription, is_below, is_below_one_of, plain};
use crate::error::{Error, Result};
use crate::util::uri::Url;

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
        for (name, value) in &self.envs {
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
            if size.is_some_and(|size| size == ByteSize::new(0) || size.in_mib() > u64::from(most)) {
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

/// Whether a CE can be told to fetch from, or write to, a URL.
pub(crate) fn check_url(what: &str, url: &str) -> Result<(), String> {
    let parts = Url::split(url);
    let scheme = parts.map(|parts| (parts.scheme, url.len() > parts.scheme.len() + 3));
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
    if parts.and_then(|parts| parts.user).is_some_and(|user| user.contains(':')) {
        return Err("the URL has a password in it, which everybody who sees the job would see".into());
    }
    let port = parts.and_then(|parts| parts.host_and_port().1);
    if port.is_some_and(|port| {
        !port.bytes().all(|byte| byte.is_ascii_digit()) || !port.parse().is_ok_and(|port: u16| port > 0)
    }) {
        return Err(format!("the port in the URL {url:?} is none"));
    }
    if parts.is_some_and(|parts| parts.rest.starts_with(['?', '#'])) {
        return Err(format!(
            "the URL {url:?} needs a / after the host: ARC would take what follows for a part of the host"
        ));
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
mod tests;
