//! The rules for a description in any language. They access no file.

mod urls;

use std::collections::{BTreeMap, HashSet};
use std::iter;
use std::path::Path;
use std::time::{Duration, SystemTime};

pub(crate) use self::urls::check_url;
use super::errors::invalid;
use super::key::check_key;
use super::session_names::{check_characters, check_session_name, is_below, without_slash};
use super::{InputFile, InputSource, JobDescription};
use crate::error::Result;
use crate::util::byte_size::ByteSize;

/// The largest number in ARC's descriptions, which use `int`.
const MAX_NUMBER: u32 = i32::MAX.unsigned_abs();

/// The last second of the year 9999, since ARC writes years with four digits.
const LAST_SECOND: Duration = Duration::from_secs(253_402_300_799);

/// Checks the rules that apply in any language.
pub(super) fn check(job: &JobDescription) -> Result<()> {
    check_texts(job)?;
    check_envs(job)?;
    check_streams(job)?;
    check_outputs(job)?;
    check_counts(job)?;
    check_limits(job)?;
    check_notifications(job)?;
    check_inputs(job)
}

fn check_texts(job: &JobDescription) -> Result<()> {
    check_characters("the name", job.name())?;
    let texts = [("description", job.description()), ("project", job.project()), ("queue", job.queue())];
    for (part, text) in texts {
        let Some(text) = text else { continue };
        check_characters(format_args!("the {part}"), text)?;
        if text.trim().is_empty() {
            return Err(invalid(format!("the {part} is empty")));
        }
    }
    if let Some(queue) = job.queue().filter(|queue| queue.trim() != *queue) {
        return Err(invalid(format!("the queue {queue:?} begins or ends with a blank: remove it")));
    }
    for (n, annotation) in iter::zip(1.., job.annotations()) {
        check_characters(format_args!("annotation {n}"), annotation)?;
    }
    if let Some(key) = job.key() {
        check_key(key)?;
    }
    if job.executable().is_empty() {
        return Err(invalid("the executable is empty"));
    }
    check_characters("the executable", job.executable())?;
    if !job.executable().starts_with('/') {
        let name = job.plain_executable();
        check_session_name(format_args!("the executable {name:?}, which is not an absolute path,"), name)?;
    }
    for (n, arg) in iter::zip(1.., job.args()) {
        check_characters(format_args!("argument {n}"), arg)?;
    }
    for (n, rte) in iter::zip(1.., job.runtime_environments()) {
        let part = format!("runtime environment {n}, {:?},", rte.to_string());
        check_characters(&part, &rte.to_string())?;
        for option in rte.options() {
            check_characters(format_args!("an option of {part}"), option)?;
        }
    }
    Ok(())
}

fn check_envs(job: &JobDescription) -> Result<()> {
    let mut names = HashSet::new();
    for (name, value) in job.envs() {
        let part = format!("the environment variable {name:?}");
        let is_plain = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        if name.is_empty() || !is_plain || name.starts_with(|c: char| c.is_ascii_digit()) {
            return Err(invalid(format!(
                "{part} has a name that no shell can set: use letters, digits and _, and do not begin with a digit"
            )));
        }
        if !names.insert(name) {
            return Err(invalid(format!("{part} is set twice: remove one of them")));
        }
        check_characters(format_args!("the value of {part}"), value)?;
    }
    Ok(())
}

fn check_streams(job: &JobDescription) -> Result<()> {
    if let Some(name) = job.stdin().filter(|name| !name.starts_with('/')) {
        check_session_name(format_args!("the standard input {name:?}"), name)?;
        if !job.has_input(name) {
            return Err(invalid(format!("the standard input {name:?} is neither an absolute path nor an input file")));
        }
    }
    for (part, name) in [("standard output", job.stdout()), ("standard error", job.stderr())] {
        let Some(name) = name else { continue };
        check_session_name(format_args!("the {part} {name:?}"), name)?;
    }
    if let Some(log) = job.log_directory() {
        check_session_name(format_args!("the log directory {log:?}"), log)?;
        if [job.stdout(), job.stderr()].contains(&Some(log)) {
            return Err(invalid(format!("the log directory {log:?} is also the standard output or error")));
        }
    }
    Ok(())
}

fn check_outputs(job: &JobDescription) -> Result<()> {
    let mut urls = HashSet::new();
    for (n, output) in iter::zip(1.., job.outputs()) {
        let name = output.name();
        if without_slash(name) != "/" || output.url().is_some() {
            let trimmed = if name.starts_with('/') { name } else { without_slash(name) };
            let part = format!("the name of output file {n}, {name:?},");
            check_session_name(part, trimmed.strip_prefix('@').unwrap_or(trimmed))?;
        }
        let Some(url) = output.url() else { continue };
        check_url("output", url).map_err(|reason| invalid(format!("output file {n}, {name:?}: {reason}")))?;
        if output.is_list() {
            return Err(invalid(format!("output file {n}, {name:?}, is a list of outputs, which cannot have a URL")));
        }
        if !urls.insert(url) {
            return Err(invalid(format!("two outputs have the same URL {url:?}: remove one of them")));
        }
    }
    Ok(())
}

fn check_counts(job: &JobDescription) -> Result<()> {
    let counts = [
        ("slots", job.slots()),
        ("slots_per_host", job.slots_per_host()),
        ("processes_per_slot", job.processes_per_slot()),
        ("threads_per_process", job.threads_per_process()),
    ];
    for (part, count) in counts {
        match count {
            Some(0) => return Err(invalid(format!("{part} is 0, but must be at least 1"))),
            Some(count) if count > MAX_NUMBER => return Err(too_large(part, count)),
            Some(_) if job.slots().is_none() => return Err(invalid(format!("{part} requires slots"))),
            _ => {}
        }
    }
    if let Some(priority) = job.priority().filter(|priority| !(1..=100).contains(priority)) {
        return Err(invalid(format!("priority is {priority}, but must be from 1 to 100")));
    }
    match job.rerun() {
        Some(times) if times > MAX_NUMBER => Err(too_large("rerun", times)),
        _ => Ok(()),
    }
}

fn too_large(part: &str, number: u32) -> crate::error::Error {
    invalid(format!("{part} is {number}, but must be at most {MAX_NUMBER}"))
}

fn check_limits(job: &JobDescription) -> Result<()> {
    let sizes = [("memory", job.memory()), ("virtual_memory", job.virtual_memory()), ("disk", job.disk())];
    for (part, size) in sizes {
        let Some(size) = size else { continue };
        if size == ByteSize::new(0) || size.in_mib() > u64::from(MAX_NUMBER) {
            return Err(invalid(format!("{part} is {size}, but must be from 1 B to {MAX_NUMBER} MiB")));
        }
    }
    let times = [("wall_time", job.wall_time()), ("cpu_time", job.cpu_time()), ("life_time", job.life_time())];
    for (part, time) in times {
        let Some(time) = time else { continue };
        if time < Duration::from_secs(1) || time.as_secs() > u64::from(MAX_NUMBER) {
            let seconds = time.as_secs();
            return Err(invalid(format!("{part} is {seconds} s, but must be from 1 to {MAX_NUMBER} seconds")));
        }
    }
    // ARC's scripts treat the first second of 1970 as no start time.
    let is_possible = |time: SystemTime| {
        let since = time.duration_since(SystemTime::UNIX_EPOCH);
        since.is_ok_and(|since| !since.is_zero() && since <= LAST_SECOND)
    };
    match job.start_time() {
        Some(time) if !is_possible(time) => {
            Err(invalid("start_time must be after 1970-01-01T00:00:00Z and before the year 10000"))
        }
        _ => Ok(()),
    }
}

fn check_notifications(job: &JobDescription) -> Result<()> {
    let mut emails = HashSet::new();
    for notification in job.notifications() {
        let email = notification.email();
        let part = format!("the notification of {email:?}");
        check_characters(&part, email)?;
        if !email.contains('@') || email.chars().any(|c| c.is_whitespace() || "'\"`$\\".contains(c)) {
            return Err(invalid(format!(
                "{email:?} is not an e-mail address: notifications need one such as user@example.org"
            )));
        }
        if notification.states().is_empty() {
            return Err(invalid(format!("{part} has no states: add at least one")));
        }
        let mut states = HashSet::new();
        if let Some(state) = notification.states().iter().find(|state| !states.insert(**state)) {
            return Err(invalid(format!("{part} has the state {state} twice")));
        }
        if !emails.insert(email) {
            return Err(invalid(format!("there are two notifications of {email:?}: put their states into one")));
        }
    }
    Ok(())
}

fn check_inputs(job: &JobDescription) -> Result<()> {
    let streams = [job.stdout(), job.stderr()];
    let mut named: BTreeMap<&str, &InputFile> = BTreeMap::new();
    for input in job.inputs() {
        let name = input.checked_name()?;
        if streams.contains(&Some(name)) {
            let message = format!(
                "its name in the session directory, {name:?}, is also the name of the job's standard output or error"
            );
            return Err(input.error(message));
        }
        if let Some(first) = named.insert(name, input) {
            let first = first.label();
            let first = first.display();
            return Err(
                input.error(format!("its name in the session directory, {name:?}, is also the name of {first}"))
            );
        }
    }
    for (name, input) in &named {
        let parents = Path::new(name).ancestors().skip(1).filter_map(Path::to_str);
        for parent in parents {
            let is_file = |input: &&InputFile| !matches!(input.source(), InputSource::Directory(_));
            if streams.contains(&Some(parent)) || named.get(parent).is_some_and(is_file) {
                let message = format!("its name in the session directory is {name:?}, but {parent:?} is a file there");
                return Err(input.error(message));
            }
        }
    }
    Ok(())
}

impl JobDescription {
    /// Whether an input has this name in the session directory, or is a directory that may contain it.
    pub(crate) fn has_input(&self, name: &str) -> bool {
        self.inputs().iter().any(|input| {
            let is_directory = matches!(input.source(), InputSource::Directory(_));
            input.name().is_some_and(|own| if is_directory { is_below(name, own) } else { name == own })
        })
    }
}

impl InputFile {
    /// Checks the input and returns its name in the session directory.
    pub(crate) fn checked_name(&self) -> Result<&str> {
        if let InputSource::Url(url) = self.source() {
            check_url("input", url).map_err(|reason| self.error(reason))?;
        }
        let path = self.source().path();
        if path.is_some_and(|path| path.as_os_str().is_empty()) {
            return Err(self.error("the path is empty"));
        }
        let Some(name) = self.name() else {
            return Err(self.error(match path.map(Path::file_name) {
                Some(Some(_)) => "its base name is not UTF-8: set a name in the session directory",
                Some(None) => "the path does not end in the name of a file: set a name in the session directory",
                None => "it has no name in the session directory: set one",
            }));
        };
        let label = self.label();
        let label = label.display();
        check_session_name(format_args!("the name of input file {label} in the session directory, {name:?},"), name)?;
        Ok(name)
    }
}

#[cfg(test)]
mod tests;
