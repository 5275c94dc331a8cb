//! Reads JSDL.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

use super::values::{seconds, whole, with_options, xsd_date_time};
use super::{ARC, HPC, JSDL, POSIX};
use crate::description::formats::tree::{Language, Part, trim};
use crate::description::{InputFile, JobDescription, Notification, OutputFile, RuntimeEnvironment, invalid};
use crate::error::Result;
use crate::util::byte_size::ByteSize;
use crate::util::uri::{file_path, is_option};
use crate::util::xml::Element;

/// The children of a `RangeValue_Type`. ARC 1 to 5 wrote the numbers a second time, in elements of their own.
const RANGE: &str = "UpperBoundedRange LowerBoundedRange Exact arc:Min arc:Max";
const TIME: &str = "UpperBoundedRange LowerBoundedRange Exact arc:Min arc:Max arc:Value";
/// ARC 1 to 5 wrote a number without a range.
const COUNT: &str = "UpperBoundedRange LowerBoundedRange Exact arc:Min arc:Max #text";
const URI: &str = "URI arc:URIOption*";

const LANGUAGE: Language = Language {
    name: "JSDL",
    root: "JobDefinition",
    namespaces: &[("", JSDL), ("posix", POSIX), ("hpc", HPC), ("arc", ARC)],
    attributes: "xml:lang xml:space",
    elements: &[
        ("JobDefinition", "id", "JobDescription"),
        ("JobDescription", "", "JobIdentification Application Resources DataStaging*"),
        ("JobIdentification", "", "JobName Description JobAnnotation* JobProject arc:UserTag*"),
        (
            "Application",
            "",
            "posix:POSIXApplication hpc:HPCProfileApplication arc:LogDir arc:Rerun arc:Priority \
          arc:ProcessingStartTime arc:Notification*",
        ),
        (
            "POSIXApplication",
            "name",
            "posix:Executable posix:Argument* posix:Input posix:Output posix:Error \
          posix:Environment* posix:WallTimeLimit posix:MemoryLimit posix:CPUTimeLimit posix:ProcessCountLimit \
          posix:VirtualMemoryLimit posix:ThreadCountLimit",
        ),
        (
            "HPCProfileApplication",
            "name",
            "hpc:Executable hpc:Argument* hpc:Input hpc:Output hpc:Error \
          hpc:Environment*",
        ),
        ("Environment", "name", ""),
        ("Notification", "", "arc:Type arc:Endpoint arc:State*"),
        (
            "Resources",
            "",
            "FileSystem ExclusiveExecution IndividualPhysicalMemory IndividualVirtualMemory \
          TotalCPUTime TotalCPUCount TotalDiskSpace arc:DiskSpaceRequirement arc:SessionLifeTime \
          arc:TotalWallTime arc:SlotRequirement arc:QueueName arc:CandidateTarget arc:RunTimeEnvironment*",
        ),
        ("FileSystem", "name", "DiskSpace"),
        ("DiskSpaceRequirement", "", "arc:DiskSpace"),
        ("DiskSpace", "", RANGE),
        ("IndividualPhysicalMemory", "", RANGE),
        ("IndividualVirtualMemory", "", RANGE),
        ("TotalCPUCount", "", COUNT),
        ("TotalDiskSpace", "", RANGE),
        ("TotalCPUTime", "", TIME),
        ("TotalWallTime", "", TIME),
        ("Value", "", "arc:Min arc:Max"),
        (
            "SlotRequirement",
            "",
            "arc:NumberOfSlots arc:ProcessPerHost arc:ThreadsPerProcesses \
          arc:ExclusiveExecution",
        ),
        ("CandidateTarget", "", "arc:QueueName"),
        ("QueueName", "require", ""),
        ("RunTimeEnvironment", "", "arc:Software*"),
        ("Software", "require", "arc:Name arc:Version"),
        ("Version", "require", ""),
        ("DataStaging", "name", "FileName CreationFlag DeleteOnTermination Source Target arc:IsExecutable"),
        ("Source", "", URI),
        ("Target", "", URI),
    ],
};

/// A value, and the path of the element that it is in.
type Found<T> = Option<(String, T)>;

/// Reads a child, if it exists.
fn find<'a, T>(part: &Part<'a>, name: &str, read: impl Fn(&Part<'a>) -> Result<T>) -> Result<Found<T>> {
    part.optional(name, |part| Ok((part.path.clone(), read(part)?)))
}

/// Returns the value that all existing elements have in common.
fn agreed<T: PartialEq>(found: impl IntoIterator<Item = Found<T>>) -> Result<Option<T>> {
    let mut first: Found<T> = None;
    for (path, value) in found.into_iter().flatten() {
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

/// Reads the only number of a `RangeValue_Type`.
fn range(part: &Part) -> Result<u64> {
    let double = |part: &Part| part.value(whole, "a whole number that is not negative and below 2^64");
    let mut found: Vec<Found<u64>> = Vec::new();
    for name in ["UpperBoundedRange", "LowerBoundedRange", "Exact", "Min", "Max"] {
        for part in [part, &part.inside("Value")] {
            found.push(find(part, name, double)?);
        }
    }
    agreed(found)?.ok_or_else(|| part.error("contains no number"))
}

fn count_range(part: &Part) -> Result<u32> {
    let number = range(part)?;
    u32::try_from(number).map_err(|_| part.error(format!("is {number}, which is not below 2^32")))
}

/// Refuses comparisons other than equality in ARC's attribute `require`.
fn check_comparison(part: &Part) -> Result<()> {
    match part.attribute("require").map(|operator| trim(operator).to_ascii_lowercase()) {
        Some(operator) if !["=", "==", "eq"].contains(&operator.as_str()) => {
            Err(part.error(format!("has the attribute require=\"{operator}\", and only == is supported")))
        }
        _ => Ok(()),
    }
}

/// Reads a description from a parsed document.
pub(in crate::description::formats) fn read(root: &Element) -> Result<JobDescription> {
    let root = LANGUAGE.check(root)?;
    let Some(document) = root.get("JobDescription") else {
        return Err(invalid("the JSDL element JobDescription is missing"));
    };
    let mut job = application(&document)?;
    identification(&mut job, &document.inside("JobIdentification"));
    resources(&mut job, &document)?;
    staging(&mut job, &document)?;
    let job = job.with_implied_inputs();
    job.check()?;
    Ok(job)
}

fn identification(job: &mut JobDescription, part: &Part) {
    if let Some(name) = part.text_of("JobName") {
        job.name = name;
    }
    job.description = part.text_of("Description");
    job.project = part.text_of("JobProject");
    let annotations = part.element.children.iter().filter(|child| ["JobAnnotation", "UserTag"].contains(&&*child.name));
    job.annotations = annotations.map(|annotation| annotation.text.clone()).collect();
}

/// Reads the elements that both of the standard's applications contain.
#[derive(PartialEq)]
struct Command {
    executable: String,
    args: Vec<String>,
    envs: Vec<(String, String)>,
    streams: [Option<String>; 3],
}

impl Command {
    fn read(part: &Part) -> Result<Command> {
        let Some(executable) = part.text_of("Executable") else { return Err(part.error("has no Executable")) };
        let variable = |part: Part| match part.attribute("name") {
            // An NCName contains no white space, and white space around it is not part of it.
            Some(name) => Ok((trim(name).to_owned(), part.text().to_owned())),
            None => Err(part.error("has no attribute name")),
        };
        Ok(Command {
            executable,
            args: part.texts("Argument"),
            envs: part.all("Environment").into_iter().map(variable).collect::<Result<_>>()?,
            streams: ["Input", "Output", "Error"].map(|name| part.text_of(name)),
        })
    }
}

fn application(document: &Part) -> Result<JobDescription> {
    let part = document.inside("Application");
    // ARC 1 to 5 wrote both.
    let posix = find(&part, "POSIXApplication", Command::read)?;
    let hpc = find(&part, "HPCProfileApplication", Command::read)?;
    let Some(Command { executable, args, envs, streams: [stdin, stdout, stderr] }) = agreed([posix, hpc])? else {
        return Err(part.error("has neither a POSIXApplication nor an HPCProfileApplication"));
    };
    let mut job = JobDescription::new(executable);
    (job.args, job.envs) = (args, envs);
    (job.stdin, job.stdout, job.stderr) = (stdin, stdout, stderr);
    job.log_directory = part.text_of("LogDir");
    job.rerun = part.optional("Rerun", Part::count)?;
    job.priority = part.optional("Priority", Part::count)?;
    let what = "a date and time since 1970 with a time zone, like 2027-01-15T08:00:00Z";
    job.start_time = part.optional("ProcessingStartTime", |part| part.value(xsd_date_time, what))?;
    for part in part.all("Notification") {
        part.optional("Type", |kind| kind.value(|kind| (kind == "Email").then_some(()), "Email"))?;
        let Some(email) = part.text_of("Endpoint") else { return Err(part.error("has no Endpoint")) };
        let what = "a state that an ARC-CE sends notifications about";
        let states = part.all("State").into_iter().map(|state| state.value(|name| name.parse().ok(), what));
        job.notifications.push(Notification::new(email, states.collect::<Result<Vec<_>>>()?));
    }
    Ok(job)
}

fn resources(job: &mut JobDescription, document: &Part) -> Result<()> {
    let posix = document.inside("Application").inside("POSIXApplication");
    let part = document.inside("Resources");
    let slots = part.inside("SlotRequirement");

    let wall_time = [find(&posix, "WallTimeLimit", Part::integer)?, find(&part, "TotalWallTime", range)?];
    job.wall_time = agreed(wall_time)?.map(Duration::from_secs);
    let cpu_time = [find(&part, "TotalCPUTime", range)?, find(&posix, "CPUTimeLimit", Part::integer)?];
    job.cpu_time = agreed(cpu_time)?.map(Duration::from_secs);
    let memory = [find(&part, "IndividualPhysicalMemory", range)?, find(&posix, "MemoryLimit", Part::integer)?];
    job.memory = agreed(memory)?.map(ByteSize::new);
    let memory = [find(&part, "IndividualVirtualMemory", range)?, find(&posix, "VirtualMemoryLimit", Part::integer)?];
    job.virtual_memory = agreed(memory)?.map(ByteSize::new);
    let disk = [
        find(&part, "TotalDiskSpace", range)?,
        find(&part.inside("FileSystem"), "DiskSpace", range)?,
        find(&part.inside("DiskSpaceRequirement"), "DiskSpace", range)?,
    ];
    for name in ["FileSystem", "DiskSpaceRequirement"] {
        if let Some(part) = part.get(name).filter(|part| part.get("DiskSpace").is_none()) {
            return Err(part.error("has no DiskSpace"));
        }
    }
    job.disk = agreed(disk)?.map(ByteSize::new);

    // ARC 1 to 5 wrote a bare number there, for the slots per host. In the standard it is a range, for all slots.
    let is_range = part.get("TotalCPUCount").is_none_or(|part| !part.element.children.is_empty());
    let (total, bare) = if is_range {
        (find(&part, "TotalCPUCount", count_range)?, None)
    } else {
        (None, find(&part, "TotalCPUCount", Part::count)?)
    };
    job.slots = agreed([total, find(&slots, "NumberOfSlots", Part::count)?])?;
    job.slots_per_host = agreed([find(&slots, "ProcessPerHost", Part::count)?, bare])?;
    job.threads_per_process = slots.optional("ThreadsPerProcesses", Part::count)?;
    // In the standard these are limits, which an ARC-CE does not have. ARC 1 to 5 wrote the requests there again.
    let limits = [
        ("ProcessCountLimit", job.slots, "NumberOfSlots"),
        ("ThreadCountLimit", job.threads_per_process, "ThreadsPerProcesses"),
    ];
    for (name, number, other) in limits {
        let limit = posix.optional(name, Part::count)?;
        if limit.is_some() && limit != number {
            return Err(posix.inside(name).error(format!("is supported only where it repeats {other}")));
        }
    }
    let exclusive = "ExclusiveExecution";
    job.exclusive = agreed([find(&part, exclusive, Part::boolean)?, find(&slots, exclusive, Part::boolean)?])?;

    let queue = |part: &Part| check_comparison(part).map(|()| part.text().to_owned());
    job.queue = agreed([find(&part, "QueueName", queue)?, find(&part.inside("CandidateTarget"), "QueueName", queue)?])?;
    for software in part.all("RunTimeEnvironment").iter().flat_map(|part| part.all("Software")) {
        let Some(name) = software.text_of("Name") else { return Err(software.error("has no Name")) };
        check_comparison(&software)?;
        let version = software.inside("Version");
        check_comparison(&version)?;
        // Neither value contains white space, and ARC trimmed both.
        let (name, version) = (trim(&name).to_owned(), trim(version.text()).to_owned());
        job.runtime_environments.push(RuntimeEnvironment::from_parts(name, version, Vec::new()));
    }
    let life_time = part.optional("SessionLifeTime", |part| part.value(seconds, "a number of seconds"))?;
    job.life_time = life_time.map(Duration::from_secs);
    Ok(())
}

fn staging(job: &mut JobDescription, document: &Part) -> Result<()> {
    let mut deleted: Vec<(Part, String)> = Vec::new();
    for part in document.all("DataStaging") {
        let Some(name) = part.text_of("FileName") else { return Err(part.error("has no FileName")) };
        // A new session directory is empty, and input files have different names, so that all flags mean the same.
        let is_known = |flag: &str| ["overwrite", "append", "dontOverwrite"].contains(&flag).then_some(());
        part.optional("CreationFlag", |flag| flag.value(is_known, "overwrite, append or dontOverwrite"))?;
        let (source, target) = (part.get("Source"), part.get("Target"));
        let is_deleted = part.optional("DeleteOnTermination", Part::boolean)?;
        let is_executable = part.optional("IsExecutable", Part::boolean)?.unwrap_or(false);
        if is_executable && source.is_none() {
            return Err(part.inside("IsExecutable").error("is true, but there is no Source"));
        }
        if source.is_none() && target.is_none() && is_deleted != Some(false) {
            let message = "has neither a Source nor a Target, and its DeleteOnTermination is not false";
            return Err(part.error(message));
        }
        let is_output = target.is_some() || is_deleted == Some(false);
        if is_output && name.starts_with('@') {
            return Err(part
                .inside("FileName")
                .error("begins with an @, by which an ARC-CE, but not JSDL, means a list of outputs"));
        }
        if let Some(source) = source {
            let input = input(&source, &name)?.with_other_name(&name);
            job.inputs.push(input.with_executable(is_executable));
        }
        // ARC 1 to 5 kept a file whose target has no URI.
        let url = target.as_ref().map(url).transpose()?.flatten();
        if is_deleted == Some(false) || (target.is_some() && url.is_none()) {
            job.outputs.push(OutputFile::file(&name));
        }
        if let Some((uri, _)) = url {
            if file_path(&uri).is_some() {
                return Err(part.inside("Target").inside("URI").error(format!("is {uri:?}, a local file")));
            }
            job.outputs.push(OutputFile::file(&name).with_url(uri));
        }
        if is_deleted == Some(true) {
            deleted.push((part, name));
        }
    }
    let kept = job.outputs().iter().filter(|output| output.url().is_none());
    let kept: HashSet<&str> = kept.map(|output| output.name().trim_end_matches('/')).collect();
    for (part, name) in deleted {
        // The file itself, its directories, and the whole session directory.
        let directories = name.match_indices('/').map(|(slash, _)| &name[..slash]);
        if directories.chain([name.as_str(), ""]).any(|name| kept.contains(name)) {
            return Err(part.inside("DeleteOnTermination").error(format!("is true, but {name:?} is kept elsewhere")));
        }
    }
    Ok(())
}

/// Reads the input file of a source.
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

/// Returns the URI of a source or a target with ARC's options in it, and whether there are any.
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
    let options: Vec<&str> = options.iter().map(|option| trim(option.text())).collect();
    let with = with_options(text, &options);
    let with = with.ok_or_else(|| uri.error(format!("is {text:?}, which has no host to put options after")))?;
    Ok(Some((with, true)))
}
