//! Reads the conditions of an xRSL request as `XRSLParser.cpp` of ARC does.
//!
//! An attribute for which a description has no field is an error. So is a value that ARC ignores.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::time::Duration;

use super::{Condition, Value};
use crate::description::formats::files::{keep_output, local_input, url_with_options};
use crate::description::formats::time::{number, parse_date_time, period};
use crate::description::{
    InputFile, JobDescription, Notification, NotificationState, OutputFile, RuntimeEnvironment, invalid,
};
use crate::error::{Error, Result};
use crate::util::byte_size::ByteSize;

/// The supported attributes. A `*` marks those that may appear more than once.
const ATTRIBUTES: &str = "arguments cache count countpernode cputime disk environment* exclusiveexecution executable \
    executables ftpthreads gmlog inputfiles* jobname join lifetime memory notify* outputfiles* priority queue rerun \
    runtimeenvironment* starttime stderr stdin stdout walltime";

/// The letters for states in `notify`.
const STATES: [(char, NotificationState); 6] = [
    ('b', NotificationState::Preparing),
    ('q', NotificationState::InLrms),
    ('f', NotificationState::Finishing),
    ('e', NotificationState::Finished),
    ('c', NotificationState::Canceling),
    ('d', NotificationState::Deleted),
];

/// Reads the conditions of one job.
pub(in crate::description::formats) fn read(conditions: &[Condition]) -> Result<JobDescription> {
    let request = Request(conditions);
    request.check()?;
    let mut job = JobDescription::new(request.text("executable")?);
    job.name = request.text("jobname")?.to_owned();
    let arguments = request.optional("arguments", Condition::texts)?.unwrap_or_default();
    job.args = arguments.into_iter().map(str::to_owned).collect();
    for condition in request.all("environment") {
        for pair in condition.lists()? {
            let [name, value] = pair[..] else { return Err(condition.error("takes pairs of texts")) };
            job.envs.push((name.to_owned(), value.to_owned()));
        }
    }
    let filled = |name| request.text(name).map(|text| Some(text.to_owned()).filter(|text| !text.is_empty()));
    job.stdin = filled("stdin")?;
    job.stdout = filled("stdout")?;
    job.stderr = filled("stderr")?;
    job.log_directory = filled("gmlog")?;
    job.queue = filled("queue")?;
    if let Some(join) = request.get("join") {
        if join.value(yes_or_no, "yes or no")? {
            if job.stdout.is_none() || job.stderr.is_some() && job.stderr != job.stdout {
                return Err(join.error("needs a stdout, and no other stderr"));
            }
            job.stderr.clone_from(&job.stdout);
        }
    }
    resources(&mut job, &request)?;
    job.notifications = notifications(&request)?;
    files(&mut job, &request)?;
    let job = job.with_implied_inputs();
    job.check()?;
    Ok(job)
}

fn resources(job: &mut JobDescription, request: &Request) -> Result<()> {
    let minutes = |condition: &Condition| condition.value(|text| period(text, 60), "minutes, or numbers with units");
    let time = |name| -> Result<_> { Ok(request.optional(name, minutes)?.map(Duration::from_secs)) };
    (job.wall_time, job.cpu_time, job.life_time) = (time("walltime")?, time("cputime")?, time("lifetime")?);
    let size = |name| -> Result<_> { Ok(request.optional(name, Condition::number)?.map(ByteSize::mib)) };
    (job.memory, job.disk) = (size("memory")?, size("disk")?);
    job.slots = request.optional("count", Condition::count)?;
    job.slots_per_host = request.optional("countpernode", Condition::count)?;
    if let Some(condition) = request.get("countpernode").filter(|_| job.slots.is_none()) {
        return Err(condition.error("needs the attribute count"));
    }
    // ARC ignores case here, but not in join.
    let yes_or_no = |text: &str| yes_or_no(&text.to_ascii_lowercase());
    job.exclusive = request.optional("exclusiveexecution", |condition| condition.value(yes_or_no, "yes or no"))?;
    job.rerun = request.optional("rerun", Condition::count)?;
    job.priority = request.optional("priority", Condition::count)?;
    let what = "YYYYMMDDhhmmss or YYYY-MM-DD hh:mm:ss";
    let start_time = |condition: &Condition| condition.value(|text| parse_date_time(text, true), what);
    job.start_time = request.optional("starttime", start_time)?;
    for condition in request.all("runtimeenvironment") {
        let texts = condition.texts()?;
        let [name, options @ ..] = texts.as_slice() else { return Err(condition.error("takes a name and options")) };
        let rte = RuntimeEnvironment::new(*name);
        job.runtime_environments.push(options.iter().fold(rte, |rte, option| rte.with_option(*option)));
    }
    Ok(())
}

/// Reads the notifications, and merges those of the same address.
fn notifications(request: &Request) -> Result<Vec<Notification>> {
    let mut found: Vec<(&str, Vec<NotificationState>)> = Vec::new();
    let mut places: HashMap<&str, usize> = HashMap::new();
    for condition in request.all("notify") {
        for text in condition.texts()? {
            let (states, addresses) = notification(text).ok_or_else(|| {
                condition.error(format!("cannot be {text:?}: it takes state letters (bqfecd) and e-mail addresses"))
            })?;
            for email in addresses {
                let place = *places.entry(email).or_insert(found.len());
                if place == found.len() {
                    found.push((email, Vec::new()));
                }
                let (_, known) = &mut found[place];
                states.iter().for_each(|state| {
                    if !known.contains(state) {
                        known.push(*state)
                    }
                });
            }
        }
    }
    Ok(found.into_iter().map(|(email, states)| Notification::new(email, states)).collect())
}

/// Splits `[letters] address...`.
fn notification(text: &str) -> Option<(Vec<NotificationState>, Vec<&str>)> {
    let mut words = text.split([' ', '\t']).filter(|word| !word.is_empty()).peekable();
    let letters = words.next_if(|word| !word.contains('@')).unwrap_or("be");
    let state = |letter| STATES.iter().find(|(known, _)| *known == letter).map(|(_, state)| *state);
    let states = letters.chars().map(state).collect::<Option<_>>()?;
    let addresses: Vec<&str> = words.collect();
    let is_good = !addresses.is_empty() && addresses.iter().all(|address| address.contains('@'));
    is_good.then_some((states, addresses))
}

fn files(job: &mut JobDescription, request: &Request) -> Result<()> {
    let inputs = request.files("inputfiles")?;
    let names: HashSet<&str> = inputs.iter().map(|file| file.name).collect();
    let mut executables = HashSet::new();
    if let Some(condition) = request.get("executables") {
        executables.extend(condition.texts()?);
        if let Some(missing) = executables.difference(&names).next() {
            return Err(condition.error(format!("has {missing:?}, which is not among the inputfiles")));
        }
    }
    let values = ["yes", "no", "copy", "renew", "check", "invariant"];
    let cache = |text| values.contains(&text).then_some(("cache", text));
    let cache = request.optional("cache", |condition| condition.value(cache, &values.join(", ")))?;
    let threads = |text| (1..=10).contains(&number(text)?).then_some(("threads", text));
    let threads = request.optional("ftpthreads", |condition| condition.value(threads, "a number from 1 to 10"))?;
    for file in inputs {
        let is_executable = executables.contains(file.name);
        let input = if file.is_remote() {
            let cache = cache.filter(|_| !is_executable);
            InputFile::url(file.url("input", threads.into_iter().chain(cache))?)
        } else {
            file.local_input()?
        };
        job.inputs.push(input.with_other_name(file.name).with_executable(is_executable));
    }
    for file in request.files("outputfiles")? {
        if file.is_remote() {
            job.outputs.push(OutputFile::file(file.name).with_url(file.url("output", threads.into_iter())?));
        } else if file.place.is_empty() {
            file.check_local()?;
            keep_output(job, file.name);
        } else {
            return Err(file.error(format!("it cannot be uploaded to the local file {:?}", file.place)));
        }
    }
    Ok(())
}

/// The conditions of one job.
struct Request<'a>(&'a [Condition]);

impl<'a> Request<'a> {
    /// Refuses unsupported attributes, operators other than `=`, and attributes that appear twice.
    fn check(&self) -> Result<()> {
        let mut seen = HashSet::new();
        for condition in self.0 {
            let (name, operator) = (condition.attribute.as_str(), &condition.operator);
            let known = ATTRIBUTES.split_whitespace().find(|known| known.trim_end_matches('*') == name);
            let known = known.ok_or_else(|| condition.error("is not supported"))?;
            if operator != "=" {
                return Err(condition.error(format!("must have the operator = instead of {operator}")));
            }
            if !seen.insert(name) && !known.ends_with('*') {
                return Err(condition.error("appears twice"));
            }
        }
        Ok(())
    }

    fn all(&self, name: &str) -> impl Iterator<Item = &'a Condition> {
        self.0.iter().filter(move |condition| condition.attribute == name)
    }

    fn get(&self, name: &str) -> Option<&'a Condition> {
        self.all(name).next()
    }

    fn optional<T>(&self, name: &str, read: impl Fn(&'a Condition) -> Result<T>) -> Result<Option<T>> {
        self.get(name).map(read).transpose()
    }

    /// Returns the text of an attribute, or an empty text if there is no such attribute.
    fn text(&self, name: &str) -> Result<&'a str> {
        Ok(self.optional(name, Condition::text)?.unwrap_or_default())
    }

    fn files(&self, name: &str) -> Result<Vec<File<'a>>> {
        let mut files = Vec::new();
        for condition in self.all(name) {
            for parts in condition.lists()? {
                let [name, place, options @ ..] = parts.as_slice() else {
                    return Err(condition.error("takes lists of a name and a place"));
                };
                files.push(File { condition, name, place, options: options.to_vec() });
            }
        }
        Ok(files)
    }
}

impl Condition {
    /// Creates an error about this attribute. `message` is the predicate of the sentence.
    fn error(&self, message: impl AsRef<str>) -> Error {
        invalid(format!("the xRSL attribute {} {}", self.attribute, message.as_ref()))
    }

    fn texts(&self) -> Result<Vec<&str>> {
        texts(&self.values).ok_or_else(|| self.error("takes no lists"))
    }

    fn lists(&self) -> Result<Vec<Vec<&str>>> {
        fn list(value: &Value) -> Option<Vec<&str>> {
            if let Value::List(values) = value { texts(values) } else { None }
        }
        let lists: Option<_> = self.values.iter().map(list).collect();
        lists.ok_or_else(|| self.error("takes lists of texts"))
    }

    fn text(&self) -> Result<&str> {
        if let [text] = self.texts()?[..] { Ok(text) } else { Err(self.error("takes one text")) }
    }

    /// Parses the text. `what` describes the allowed values in the error.
    fn value<'a, T>(&'a self, parse: impl Fn(&'a str) -> Option<T>, what: &str) -> Result<T> {
        let text = self.text()?;
        parse(text).ok_or_else(|| self.error(format!("cannot be {text:?}: it takes {what}")))
    }

    fn number(&self) -> Result<u64> {
        self.value(number, "a whole number")
    }

    fn count(&self) -> Result<u32> {
        self.value(|text| number(text)?.try_into().ok(), "a whole number below 2^32")
    }
}

fn texts(values: &[Value]) -> Option<Vec<&str>> {
    fn text(value: &Value) -> Option<&str> {
        if let Value::Text(text) = value { Some(text) } else { None }
    }
    values.iter().map(text).collect()
}

fn yes_or_no(text: &str) -> Option<bool> {
    match text {
        "yes" | "true" => Some(true),
        "no" | "false" => Some(false),
        _ => None,
    }
}

/// An entry of `inputfiles` or `outputfiles`.
struct File<'a> {
    condition: &'a Condition,
    name: &'a str,
    place: &'a str,
    options: Vec<&'a str>,
}

impl File<'_> {
    fn error(&self, message: impl AsRef<str>) -> Error {
        self.condition.error(format!("has the file {:?}: {}", self.name, message.as_ref()))
    }

    /// Whether the file is not on this machine.
    fn is_remote(&self) -> bool {
        self.place.contains("://") && !self.is_file_url()
    }

    fn is_file_url(&self) -> bool {
        self.place.get(..5).is_some_and(|scheme| scheme.eq_ignore_ascii_case("file:"))
    }

    fn check_local(&self) -> Result<()> {
        if self.options.is_empty() { Ok(()) } else { Err(self.error("it has options, but its place is not a URL")) }
    }

    /// Returns the URL with its options. Options of the whole job replace those of the file.
    fn url<'a>(&'a self, what: &str, of_job: impl Iterator<Item = (&'a str, &'a str)>) -> Result<String> {
        let mut options = Vec::new();
        for option in &self.options {
            let pair = option.split_once('=');
            options.push(pair.ok_or_else(|| self.error(format!("{option:?} is not an option of a URL")))?);
        }
        options.extend(of_job);
        url_with_options(what, self.place, &options).map_err(|message| self.error(message))
    }

    fn local_input(&self) -> Result<InputFile> {
        self.check_local()?;
        if self.place.is_empty() {
            return Ok(InputFile::file(self.name));
        }
        let path = if self.is_file_url() {
            // A path in xRSL is not percent-encoded. ARC 7.2 alone decodes it.
            self.place.strip_prefix("file://").filter(|path| path.starts_with('/'))
        } else {
            // ARC treats the other forms as a comment, a list of URLs, and URLs without a host.
            Some(self.place).filter(|place| !place.starts_with(['#', '@']) && !has_scheme(place))
        };
        let path = path.ok_or_else(|| self.error(format!("{:?} is neither a local path nor a URL", self.place)))?;
        local_input(Path::new(path), self.name)
    }
}

/// Whether ARC treats the text before the first colon as the scheme of a URL.
fn has_scheme(place: &str) -> bool {
    let is_scheme = |c: char| c.is_ascii_alphanumeric() || "+-.".contains(c);
    place.split_once(':').is_some_and(|(scheme, _)| scheme.chars().all(is_scheme))
}
