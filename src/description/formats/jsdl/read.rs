//! JSDL to [`JobDescription`].

use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

use super::values::{boolean, file_path, integer, is_option, parse_date_time, seconds, whole, with_options};
use super::{ARC, HPC, JSDL, POSIX};
use crate::description::formats::apply;
use crate::description::{ByteSize, InputFile, JobDescription, Notification, RuntimeEnvironment, invalid};
use crate::error::{Error, Result};
use crate::util::xml::Element;

/// What may be in a `RangeValue_Type`. ARC wrote the numbers a second time, in elements of its own.
const RANGE: &[&str] = &["jsdl:UpperBoundedRange", "jsdl:LowerBoundedRange", "jsdl:Exact", "arc:Min", "arc:Max"];
const TIME: &[&str] =
    &["jsdl:UpperBoundedRange", "jsdl:LowerBoundedRange", "jsdl:Exact", "arc:Min", "arc:Max", "arc:Value"];
const URI: &[&str] = &["jsdl:URI", "arc:URIOption*"];

/// The elements that a [`JobDescription`] has something for: which attributes each may have, and what may be in it; `*`:
/// more than once. What is not here has only text in it.
const KNOWN: &[(&str, &[&str], &[&str])] = &[
    ("JobDefinition", &["id"], &["jsdl:JobDescription"]),
    ("JobDescription", &[], &["jsdl:JobIdentification", "jsdl:Application", "jsdl:Resources", "jsdl:DataStaging*"]),
    (
        "JobIdentification",
        &[],
        &["jsdl:JobName", "jsdl:Description", "jsdl:JobAnnotation*", "jsdl:JobProject", "arc:UserTag*"],
    ),
    (
        "Application",
        &[],
        &[
            "posix:POSIXApplication",
            "hpc:HPCProfileApplication",
            "arc:LogDir",
            "arc:Rerun",
            "arc:Priority",
            "arc:ProcessingStartTime",
            "arc:Notification*",
        ],
    ),
    (
        "POSIXApplication",
        &["name"],
        &[
            "posix:Executable",
            "posix:Argument*",
            "posix:Input",
            "posix:Output",
            "posix:Error",
            "posix:Environment*",
            "posix:WallTimeLimit",
            "posix:MemoryLimit",
            "posix:CPUTimeLimit",
            "posix:ProcessCountLimit",
            "posix:VirtualMemoryLimit",
            "posix:ThreadCountLimit",
        ],
    ),
    (
        "HPCProfileApplication",
        &["name"],
        &["hpc:Executable", "hpc:Argument*", "hpc:Input", "hpc:Output", "hpc:Error", "hpc:Environment*"],
    ),
    ("Environment", &["name"], &[]),
    ("Notification", &[], &["arc:Type", "arc:Endpoint", "arc:State*"]),
    (
        "Resources",
        &[],
        &[
            "jsdl:FileSystem",
            "jsdl:ExclusiveExecution",
            "jsdl:IndividualPhysicalMemory",
            "jsdl:IndividualVirtualMemory",
            "jsdl:TotalCPUTime",
            "jsdl:TotalCPUCount",
            "jsdl:TotalDiskSpace",
            "arc:DiskSpaceRequirement",
            "arc:SessionLifeTime",
            "arc:TotalWallTime",
            "arc:SlotRequirement",
            "arc:QueueName",
            "arc:CandidateTarget",
            "arc:RunTimeEnvironment*",
        ],
    ),
    ("FileSystem", &["name"], &["jsdl:DiskSpace"]),
    ("DiskSpaceRequirement", &[], &["arc:DiskSpace"]),
    ("DiskSpace", &[], RANGE),
    ("IndividualPhysicalMemory", &[], RANGE),
    ("IndividualVirtualMemory", &[], RANGE),
    ("TotalCPUCount", &[], RANGE),
    ("TotalDiskSpace", &[], RANGE),
    ("TotalCPUTime", &[], TIME),
    ("TotalWallTime", &[], TIME),
    ("Value", &[], &["arc:Min", "arc:Max"]),
    (
        "SlotRequirement",
        &[],
        &["arc:NumberOfSlots", "arc:ProcessPerHost", "arc:ThreadsPerProcesses", "arc:ExclusiveExecution"],
    ),
    ("CandidateTarget", &[], &["arc:QueueName"]),
    ("QueueName", &["require"], &[]),
    ("RunTimeEnvironment", &[], &["arc:Software*"]),
    ("Software", &["require"], &["arc:Name", "arc:Version"]),
    ("Version", &["require"], &[]),
    (
        "DataStaging",
        &["name"],
        &[
            "jsdl:FileName",
            "jsdl:CreationFlag",
            "jsdl:DeleteOnTermination",
            "jsdl:Source",
            "jsdl:Target",
            "arc:IsExecutable",
        ],
    ),
    ("Source", &[], URI),
    ("Target", &[], URI),
];

/// What is in an element that is not there.
static NOTHING: Element = Element {
    namespace: String::new(),
    name: String::new(),
    attributes: Vec::new(),
    children: Vec::new(),
    text: String::new(),
};

/// An element, and where it is in the document.
#[derive(Clone, Debug)]
struct Part<'a> {
    element: &'a Element,
    path: String,
}

/// What an element says, and where it is.
type Said<T> = Option<(String, T)>;

impl<'a> Part<'a> {
    fn all(&self, name: &str) -> Vec<Part<'a>> {
        let found: Vec<&Element> = self.element.children.iter().filter(|child| child.name == name).collect();
        let count = found.len();
        let part = |(n, element)| Part { element, path: below(&self.path, name, n + 1, count) };
        found.into_iter().enumerate().map(part).collect()
    }

    fn get(&self, name: &str) -> Option<Part<'a>> {
        let element = self.element.children.iter().find(|child| child.name == name)?;
        Some(Part { element, path: below(&self.path, name, 1, 1) })
    }

    /// The same, and an empty one if it is not there.
    fn inside(&self, name: &str) -> Part<'a> {
        self.get(name).unwrap_or(Part { element: &NOTHING, path: below(&self.path, name, 1, 1) })
    }

    /// To the letter.
    fn text(&self) -> &'a str {
        &self.element.text
    }

    fn text_of(&self, name: &str) -> Option<&'a str> {
        self.get(name).map(|part| part.text())
    }

    fn attribute(&self, name: &str) -> Option<&'a str> {
        self.element.attributes.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    fn error(&self, message: impl AsRef<str>) -> Error {
        invalid(format!("the JSDL element {} {}", self.path, message.as_ref()))
    }

    /// What stands there between white space, by one of the functions for values.
    fn value<T>(&self, parse: impl Fn(&str) -> Option<T>, what: &str) -> Result<T> {
        let text = trim(self.text());
        parse(text).ok_or_else(|| self.error(format!("is {text:?}, which is not {what}")))
    }

    fn integer(&self) -> Result<u64> {
        self.value(integer, "a whole number that is not negative and below 2^64")
    }

    /// A number that a description keeps in 32 bits.
    fn count(&self) -> Result<u32> {
        self.value(|text| integer(text)?.try_into().ok(), "a whole number that is not negative and below 2^32")
    }

    fn boolean(&self) -> Result<bool> {
        self.value(boolean, "true or false")
    }

    /// The one number of a `RangeValue_Type`.
    fn range(&self) -> Result<u64> {
        let mut said: Vec<Said<u64>> = Vec::new();
        for name in ["UpperBoundedRange", "LowerBoundedRange", "Exact", "Min", "Max"] {
            for part in [self, &self.inside("Value")] {
                let double = |part: &Part| part.value(whole, "a whole number that is not negative and below 2^64");
                said.push(part.say(name, double)?);
            }
        }
        agreed(said)?.ok_or_else(|| self.error("says no number"))
    }

    fn count_range(&self) -> Result<u32> {
        let number = self.range()?;
        u32::try_from(number).map_err(|_| self.error(format!("is {number}, which is not below 2^32")))
    }

    /// What an element says, if it is there.
    fn say<T>(&self, name: &str, read: impl Fn(&Part<'a>) -> Result<T>) -> Result<Said<T>> {
        self.get(name).map(|part| Ok((part.path.clone(), read(&part)?))).transpose()
    }

    /// Refuses all comparisons but the one for equality, in ARC's attribute for that.
    fn check_comparison(&self) -> Result<()> {
        match self.attribute("require").map(|operator| trim(operator).to_ascii_lowercase()) {
            Some(operator) if !["=", "==", "eq"].contains(&operator.as_str()) => {
                Err(self.error(format!("has the attribute require=\"{operator}\", and only == is supported")))
            }
            _ => Ok(()),
        }
    }
}

fn below(path: &str, name: &str, n: usize, count: usize) -> String {
    let slash = if path.is_empty() { "" } else { "/" };
    let position = if count > 1 { format!("[{n}]") } else { String::new() };
    format!("{path}{slash}{name}{position}")
}

/// XML's white space only.
fn trim(text: &str) -> &str {
    text.trim_matches([' ', '\t', '\r', '\n'])
}

/// What several elements say, any of which may be absent.
fn agreed<T: PartialEq>(said: impl IntoIterator<Item = Said<T>>) -> Result<Option<T>> {
    let mut first: Said<T> = None;
    for (path, value) in said.into_iter().flatten() {
        match &first {
            None => first = Some((path, value)),
            Some((_, known)) if *known == value => {}
            Some((known, _)) => {
                let message = format!("the JSDL elements {known} and {path} differ, and only one value is supported");
                return Err(invalid(message));
            }
        }
    }
    Ok(first.map(|(_, value)| value))
}

/// Whether a description has something for every element and attribute.
fn check(element: &Element, path: &str) -> Result<()> {
    let known = KNOWN.iter().find(|(name, ..)| *name == element.name);
    let (attributes, children) = known.map_or((&[][..], &[][..]), |(_, attributes, children)| (*attributes, *children));
    for (name, _) in &element.attributes {
        if !attributes.contains(&name.as_str()) && !["xml:lang", "xml:space"].contains(&name.as_str()) {
            return Err(invalid(format!("the JSDL attribute {name} of {path} is not supported")));
        }
    }
    let is_bare_number = element.name == "TotalCPUCount" && element.children.is_empty();
    if !children.is_empty() && !is_bare_number && !trim(&element.text).is_empty() {
        let text = trim(&element.text);
        return Err(invalid(format!("the JSDL element {path} has the text {text:?} between its elements")));
    }
    let mut counts: HashMap<&str, usize> = HashMap::new();
    for child in &element.children {
        *counts.entry(&child.name).or_default() += 1;
    }
    let mut seen: HashMap<&str, usize> = HashMap::new();
    for child in &element.children {
        let name = child.name.as_str();
        let place = seen.entry(name).and_modify(|n| *n += 1).or_insert(1);
        let count = counts.get(name).copied().unwrap_or(1);
        let of_parent = if path == "JobDefinition" { "" } else { path };
        let path = below(of_parent, name, *place, count);
        check_namespace(child, children, &path)?;
        if count > 1 && !children.iter().any(|known| known.strip_suffix('*').is_some_and(|known| local(known) == name))
        {
            return Err(invalid(format!("the JSDL element {} is there twice", below(of_parent, name, 1, 1))));
        }
        check(child, &path)?;
    }
    Ok(())
}

fn local(known: &str) -> &str {
    known.split_once(':').map_or(known, |(_, name)| name).trim_end_matches('*')
}

fn check_namespace(child: &Element, known: &[&str], path: &str) -> Result<()> {
    let Some(known) = known.iter().find(|known| local(known) == child.name) else {
        return Err(invalid(format!("the JSDL element {path} is not supported")));
    };
    let right = match known.split_once(':') {
        Some(("arc", _)) => ARC,
        Some(("posix", _)) => POSIX,
        Some(("hpc", _)) => HPC,
        _ => JSDL,
    };
    check_is_in(child, right, path)
}

fn check_is_in(element: &Element, right: &str, path: &str) -> Result<()> {
    if element.namespace == right {
        return Ok(());
    }
    let wrong = &element.namespace;
    Err(invalid(format!("the JSDL element {path} is in the XML namespace {wrong:?}, not in {right:?}")))
}

pub(super) fn document(text: &str) -> Result<JobDescription> {
    definition(&Element::parse(text).map_err(|message| invalid(format!("it is not XML as JSDL is: {message}")))?)
}

/// The description in a document that has been taken apart.
pub(crate) fn definition(root: &Element) -> Result<JobDescription> {
    if root.name != "JobDefinition" {
        return Err(invalid(format!("{} is not the root of a JSDL document", root.name)));
    }
    check_is_in(root, JSDL, "JobDefinition")?;
    check(root, "JobDefinition")?;
    let root = Part { element: root, path: String::new() };
    let Some(document) = root.get("JobDescription") else {
        return Err(invalid("the JSDL element JobDescription is missing"));
    };
    let mut job = application(&document)?;
    job = identification(job, &document.inside("JobIdentification"));
    job = resources(job, &document)?;
    job = stagings(job, &document)?.with_files_of_its_own();
    job.check()?;
    Ok(job)
}

fn identification(mut job: JobDescription, part: &Part) -> JobDescription {
    job = apply(job, part.text_of("JobName"), JobDescription::with_name);
    job = apply(job, part.text_of("Description"), JobDescription::with_description);
    job = apply(job, part.text_of("JobProject"), JobDescription::with_project);
    let annotations = part.element.children.iter().filter(|child| ["JobAnnotation", "UserTag"].contains(&&*child.name));
    annotations.fold(job, |job, annotation| job.with_annotation(&annotation.text))
}

/// What both of the standard's applications say.
#[derive(PartialEq)]
struct Command<'a> {
    executable: &'a str,
    args: Vec<&'a str>,
    environment: Vec<(&'a str, &'a str)>,
    streams: [Option<&'a str>; 3],
}

impl<'a> Command<'a> {
    fn read(part: &Part<'a>) -> Result<Command<'a>> {
        let Some(executable) = part.text_of("Executable") else { return Err(part.error("has no Executable")) };
        let variable = |part: Part<'a>| match part.attribute("name") {
            // An NCName has no white space in it, so that around it does not count.
            Some(name) => Ok((trim(name), part.text())),
            None => Err(part.error("has no attribute name")),
        };
        Ok(Command {
            executable,
            args: part.all("Argument").iter().map(Part::text).collect(),
            environment: part.all("Environment").into_iter().map(variable).collect::<Result<_>>()?,
            streams: ["Input", "Output", "Error"].map(|name| part.text_of(name)),
        })
    }
}

fn application(document: &Part) -> Result<JobDescription> {
    let part = document.inside("Application");
    // ARC wrote both.
    let posix = part.say("POSIXApplication", Command::read)?;
    let hpc = part.say("HPCProfileApplication", Command::read)?;
    let Some(Command { executable, args, environment, streams: [stdin, stdout, stderr] }) = agreed([posix, hpc])?
    else {
        return Err(part.error("has neither a POSIXApplication nor an HPCProfileApplication"));
    };
    let mut job = JobDescription::new(executable).with_args(args).without_stdout().without_stderr();
    job = environment.into_iter().fold(job, |job, (name, value)| job.with_env(name, value));
    job = apply(job, stdin, JobDescription::with_stdin);
    job = apply(job, stdout, JobDescription::with_stdout);
    job = apply(job, stderr, JobDescription::with_stderr);

    job = apply(job, part.text_of("LogDir"), JobDescription::with_log_directory);
    job = apply(job, part.get("Rerun").map(|part| part.count()).transpose()?, JobDescription::with_rerun);
    job = apply(job, part.get("Priority").map(|part| part.count()).transpose()?, JobDescription::with_priority);
    let what = "a date and time since 1970 with a time zone, like 2027-01-15T08:00:00Z";
    let start = part.get("ProcessingStartTime").map(|part| part.value(parse_date_time, what)).transpose()?;
    job = apply(job, start, JobDescription::with_start_time);
    for part in part.all("Notification") {
        if let Some(kind) = part.get("Type") {
            kind.value(|kind| (kind == "Email").then_some(()), "Email")?;
        }
        let Some(email) = part.text_of("Endpoint") else { return Err(part.error("has no Endpoint")) };
        let what = "a state that an ARC-CE sends messages about";
        let states = part.all("State").into_iter().map(|state| state.value(|name| name.parse().ok(), what));
        job = job.with_notification(Notification::new(email, states.collect::<Result<Vec<_>>>()?));
    }
    Ok(job)
}

fn resources(mut job: JobDescription, document: &Part) -> Result<JobDescription> {
    let posix = document.inside("Application").inside("POSIXApplication");
    let part = document.inside("Resources");
    let slots = part.inside("SlotRequirement");

    let wall_time = [posix.say("WallTimeLimit", Part::integer)?, part.say("TotalWallTime", Part::range)?];
    job = apply(job, agreed(wall_time)?.map(Duration::from_secs), JobDescription::with_wall_time);
    let cpu_time = [part.say("TotalCPUTime", Part::range)?, posix.say("CPUTimeLimit", Part::integer)?];
    job = apply(job, agreed(cpu_time)?.map(Duration::from_secs), JobDescription::with_cpu_time);
    let memory = [part.say("IndividualPhysicalMemory", Part::range)?, posix.say("MemoryLimit", Part::integer)?];
    job = apply(job, agreed(memory)?.map(ByteSize::new), JobDescription::with_memory);
    let memory = [part.say("IndividualVirtualMemory", Part::range)?, posix.say("VirtualMemoryLimit", Part::integer)?];
    job = apply(job, agreed(memory)?.map(ByteSize::new), JobDescription::with_virtual_memory);
    let disk = [
        part.say("TotalDiskSpace", Part::range)?,
        part.inside("FileSystem").say("DiskSpace", Part::range)?,
        part.inside("DiskSpaceRequirement").say("DiskSpace", Part::range)?,
    ];
    for name in ["FileSystem", "DiskSpaceRequirement"] {
        if let Some(part) = part.get(name)
            && part.get("DiskSpace").is_none()
        {
            return Err(part.error("has no DiskSpace"));
        }
    }
    job = apply(job, agreed(disk)?.map(ByteSize::new), JobDescription::with_disk);

    // ARC wrote a bare number there, for the slots per host; the standard wants a range, for all slots.
    let is_range = part.get("TotalCPUCount").is_none_or(|part| !part.element.children.is_empty());
    let (total, bare) = match is_range {
        true => (part.say("TotalCPUCount", Part::count_range)?, None),
        false => (None, part.say("TotalCPUCount", Part::count)?),
    };
    let number = agreed([total, slots.say("NumberOfSlots", Part::count)?])?;
    job = apply(job, number, JobDescription::with_slots);
    let per_host = agreed([slots.say("ProcessPerHost", Part::count)?, bare])?;
    job = apply(job, per_host, JobDescription::with_slots_per_host);
    let threads = slots.get("ThreadsPerProcesses").map(|part| part.count()).transpose()?;
    job = apply(job, threads, JobDescription::with_threads_per_process);
    // In the standard they are limits, which an ARC-CE cannot be told; ARC wrote the same numbers there again.
    let limits = [("ProcessCountLimit", number, "NumberOfSlots"), ("ThreadCountLimit", threads, "ThreadsPerProcesses")];
    for (name, number, other) in limits {
        if let Some((_, limit)) = posix.say(name, Part::count)?
            && number != Some(limit)
        {
            return Err(posix.inside(name).error(format!("is not supported, but where it repeats {other}")));
        }
    }
    let exclusive = [part.say("ExclusiveExecution", Part::boolean)?, slots.say("ExclusiveExecution", Part::boolean)?];
    job = apply(job, agreed(exclusive)?, JobDescription::with_exclusive);

    let queue = |part: &Part| part.check_comparison().map(|()| part.text().to_owned());
    let queues = [part.say("QueueName", queue)?, part.inside("CandidateTarget").say("QueueName", queue)?];
    job = apply(job, agreed(queues)?, JobDescription::with_queue);
    for part in part.all("RunTimeEnvironment") {
        for software in part.all("Software") {
            let Some(name) = software.text_of("Name") else { return Err(software.error("has no Name")) };
            software.check_comparison()?;
            let version = software.inside("Version");
            version.check_comparison()?;
            // Neither has white space in it, and ARC trimmed them.
            let (name, version) = (trim(name).to_owned(), trim(version.text()).to_owned());
            job = job.with_runtime_environment(RuntimeEnvironment::from_parts(name, version, Vec::new()));
        }
    }
    let life_time = part.get("SessionLifeTime");
    let life_time = life_time.map(|part| part.value(seconds, "a number of seconds")).transpose()?;
    Ok(apply(job, life_time.map(Duration::from_secs), JobDescription::with_life_time))
}

fn stagings(mut job: JobDescription, document: &Part) -> Result<JobDescription> {
    let mut deleted: Vec<(Part, &str)> = Vec::new();
    for part in document.all("DataStaging") {
        let Some(name) = part.text_of("FileName") else { return Err(part.error("has no FileName")) };
        if let Some(flag) = part.get("CreationFlag") {
            // Nothing is in a new session directory, and no two inputs have the same name: all of them are the same.
            let is_known = |flag: &str| ["overwrite", "append", "dontOverwrite"].contains(&flag).then_some(());
            flag.value(is_known, "overwrite, append or dontOverwrite")?;
        }
        let (source, target) = (part.get("Source"), part.get("Target"));
        let is_deleted = part.get("DeleteOnTermination").map(|part| part.boolean()).transpose()?;
        let is_executable = part.get("IsExecutable").map(|part| part.boolean()).transpose()?.unwrap_or(false);
        if is_executable && source.is_none() {
            return Err(part.inside("IsExecutable").error("is true, but there is no Source"));
        }
        if source.is_none() && target.is_none() && is_deleted != Some(false) {
            let message = "has neither a Source nor a Target, and its DeleteOnTermination is not false";
            return Err(part.error(message));
        }
        let is_output = target.is_some() || is_deleted == Some(false);
        if is_output && name.starts_with('@') {
            return Err(part.inside("FileName").error("begins with an @, which JSDL cannot mean as an ARC-CE does"));
        }
        if let Some(source) = source {
            let input = input(&source, name)?.with_other_name(name);
            job = job.with_input(input.with_executable(is_executable));
        }
        // ARC kept a file with a target that has no URI.
        let url = target.as_ref().map(url).transpose()?.flatten();
        if is_deleted == Some(false) || (target.is_some() && url.is_none()) {
            job = job.with_output_file(name);
        }
        job = match url {
            Some((uri, _)) if file_path(&uri).is_some() => {
                return Err(part.inside("Target").inside("URI").error(format!("is {uri:?}, a local file")));
            }
            Some((uri, _)) => job.with_output_file_to(name, uri),
            None => job,
        };
        if is_deleted == Some(true) {
            deleted.push((part, name));
        }
    }
    let kept = job.outputs().iter().filter(|output| output.url().is_none());
    let kept: HashSet<&str> = kept.map(|output| output.name().trim_end_matches('/')).collect();
    for (part, name) in deleted {
        // Itself, the directories that it is in, and all that is there.
        let directories = name.match_indices('/').map(|(slash, _)| &name[..slash]);
        if directories.chain([name, ""]).any(|name| kept.contains(name)) {
            return Err(part.inside("DeleteOnTermination").error(format!("is true, but {name:?} is kept elsewhere")));
        }
    }
    Ok(job)
}

/// What is in a source.
fn input(source: &Part, name: &str) -> Result<InputFile> {
    let Some((uri, has_options)) = url(source)? else { return Ok(InputFile::file(name)) };
    let Some(path) = file_path(&uri) else { return Ok(InputFile::url(uri)) };
    let part = source.inside("URI");
    let path = path.map_err(|message| part.error(format!("is {uri:?}, which {message}")))?;
    if has_options {
        return Err(source.error("has options for a local file"));
    }
    let bytes = path.as_os_str().as_bytes();
    let end = bytes.iter().rposition(|byte| *byte != b'/').map_or(1, |last| last + 1);
    if end < bytes.len() || bytes == b"/" {
        return Ok(InputFile::directory(Path::new(OsStr::from_bytes(&bytes[..end]))));
    }
    Ok(InputFile::file(path))
}

/// The URI of a source or a target, with its options as ARC has them in URLs, and whether there are any.
fn url(part: &Part) -> Result<Option<(String, bool)>> {
    let options = part.all("URIOption");
    let Some(uri) = part.get("URI") else {
        return if options.is_empty() { Ok(None) } else { Err(part.error("has a URIOption, but no URI")) };
    };
    let text = trim(uri.text());
    for option in &options {
        option.value(|option| is_option(option).then_some(()), "an option of a URL")?;
    }
    if file_path(text).is_some() || options.is_empty() {
        return Ok(Some((text.to_owned(), !options.is_empty())));
    }
    let with = with_options(text, options.iter().map(|option| trim(option.text())));
    let with = with.ok_or_else(|| uri.error(format!("is {text:?}, which has no place for options")))?;
    Ok(Some((with, true)))
}
