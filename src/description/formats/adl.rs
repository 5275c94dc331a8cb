//! Reads ADL: the EMI Activity Description Language with NorduGrid's extensions, as `ADLParser.cpp` of ARC reads it.
//!
//! An element for which a description has no field is an error. So is a value that ARC ignores.

use std::time::Duration;

use super::files::{keep_output, local_input, url_with_options};
use super::time::{parse_date_time, period};
use super::tree::{Language, Part, trim};
use crate::description::{InputFile, JobDescription, Notification, NotificationState, OutputFile, RuntimeEnvironment};
use crate::error::Result;
use crate::util::byte_size::ByteSize;
use crate::util::uri::file_path;
use crate::util::xml::Element;

pub(super) const NAMESPACES: [(&str, &str); 2] =
    [("", "http://www.eu-emi.eu/es/2010/12/adl"), ("ng", "http://www.nordugrid.org/es/2011/12/nordugrid-adl")];

const LANGUAGE: Language = Language {
    name: "ADL",
    root: "ActivityDescription",
    namespaces: &NAMESPACES,
    attributes: "optional=false xml:lang xml:space",
    elements: &[
        ("ActivityDescription", "", "ActivityIdentification Application Resources DataStaging"),
        ("ActivityIdentification", "", "Name Description Annotation*"),
        (
            "Application",
            "",
            "Executable Input Output Error Environment* LoggingDirectory ng:LoggingDirectory \
          WipeTime ng:StartTime ng:Rerun ng:Priority Notification*",
        ),
        ("Executable", "", "Path Argument*"),
        ("Environment", "", "Name Value"),
        ("Notification", "", "Protocol Recipient* OnState*"),
        (
            "Resources",
            "",
            "RuntimeEnvironment* ParallelEnvironment IndividualPhysicalMemory \
          IndividualVirtualMemory DiskSpaceRequirement SlotRequirement QueueName TotalCPUTime WallTime",
        ),
        ("RuntimeEnvironment", "", "Name Version Option*"),
        ("ParallelEnvironment", "", "ProcessesPerSlot ThreadsPerProcess"),
        ("SlotRequirement", "", "NumberOfSlots SlotsPerHost ExclusiveExecution"),
        ("DataStaging", "", "InputFile* OutputFile*"),
        ("InputFile", "", "Name IsExecutable Source"),
        ("Source", "", "URI Option*"),
        ("OutputFile", "", "Name Target*"),
        ("Target", "", "URI Option* Mandatory UseIfFailure UseIfCancel UseIfSuccess"),
        ("Source/Option", "", "Name Value"),
        ("Target/Option", "", "Name Value"),
    ],
};

/// The states of the EMI Execution Service that ARC sends notifications about.
const STATES: [(&str, NotificationState); 4] = [
    ("PREPROCESSING", NotificationState::Preparing),
    ("PROCESSING", NotificationState::InLrms),
    ("POSTPROCESSING", NotificationState::Finishing),
    ("TERMINAL", NotificationState::Finished),
];

pub(super) fn read(root: &Element) -> Result<JobDescription> {
    let root = LANGUAGE.check(root)?;
    let mut job = JobDescription::new("").without_stdout().without_stderr();
    identification(&mut job, &root.inside("ActivityIdentification"));
    application(&mut job, &root.inside("Application"))?;
    resources(&mut job, &root.inside("Resources"))?;
    staging(&mut job, &root.inside("DataStaging"))?;
    let job = job.with_implied_inputs();
    job.check()?;
    Ok(job)
}

/// Returns the text of a child, or `None` if it is empty.
fn filled(part: &Part, name: &str) -> Option<String> {
    part.text_of(name).filter(|text| !text.is_empty())
}

fn identification(job: &mut JobDescription, part: &Part) {
    job.name = part.inside("Name").text().to_owned();
    job.description = filled(part, "Description");
    job.annotations = part.texts("Annotation");
}

fn application(job: &mut JobDescription, part: &Part) -> Result<()> {
    let executable = part.inside("Executable");
    job.executable = executable.inside("Path").text().to_owned();
    job.args = executable.texts("Argument");
    job.stdin = filled(part, "Input");
    job.stdout = filled(part, "Output");
    job.stderr = filled(part, "Error");
    job.log_directory = filled(part, "LoggingDirectory");
    for variable in part.all("Environment") {
        let text = |name| variable.inside(name).text().to_owned();
        job.envs.push((text("Name"), text("Value")));
    }
    job.rerun = part.optional("Rerun", Part::count)?;
    job.priority = part.optional("Priority", Part::count)?;
    let life_time = |part: &Part| part.value(|text| period(text, 1), "a number of seconds or an ISO 8601 duration");
    job.life_time = part.optional("WipeTime", life_time)?.map(Duration::from_secs);
    // Some readers treat a time without a zone as local time, others as UTC.
    let what = "a date and time since 1970 with a time zone, like 20270115080000Z";
    let start_time = |part: &Part| part.value(|text| parse_date_time(text, false), what);
    job.start_time = part.optional("StartTime", start_time)?;
    for part in part.all("Notification") {
        part.inside("Protocol").value(|text| (text == "email").then_some(()), "email")?;
        let state = |text: &str| STATES.iter().find(|(name, _)| *name == text).map(|(_, state)| *state);
        let states = part.all("OnState").into_iter().map(|part| part.value(state, "a state that an ARC-CE reports"));
        let states = states.collect::<Result<Vec<_>>>()?;
        let recipients = part.texts("Recipient");
        if recipients.is_empty() {
            return Err(part.error("has no Recipient"));
        }
        for email in recipients {
            job.notifications.push(Notification::new(email, states.clone()));
        }
    }
    Ok(())
}

fn resources(job: &mut JobDescription, part: &Part) -> Result<()> {
    for part in part.all("RuntimeEnvironment") {
        let text = |name| part.inside(name).text().to_owned();
        let rte = RuntimeEnvironment::from_parts(text("Name"), text("Version"), part.texts("Option"));
        job.runtime_environments.push(rte);
    }
    let parallel = part.inside("ParallelEnvironment");
    job.processes_per_slot = parallel.optional("ProcessesPerSlot", Part::count)?;
    job.threads_per_process = parallel.optional("ThreadsPerProcess", Part::count)?;
    job.memory = part.optional("IndividualPhysicalMemory", Part::integer)?.map(ByteSize::new);
    job.virtual_memory = part.optional("IndividualVirtualMemory", Part::integer)?.map(ByteSize::new);
    job.disk = part.optional("DiskSpaceRequirement", Part::integer)?.map(ByteSize::new);
    job.queue = filled(part, "QueueName");
    job.cpu_time = part.optional("TotalCPUTime", Part::integer)?.map(Duration::from_secs);
    job.wall_time = part.optional("WallTime", Part::integer)?.map(Duration::from_secs);
    if let Some(part) = part.get("SlotRequirement") {
        job.slots = Some(part.inside("NumberOfSlots").count()?);
        // 0 means that there is no such limit. ARC writes it because ExclusiveExecution requires SlotsPerHost.
        job.slots_per_host = part.optional("SlotsPerHost", Part::count)?.filter(|slots| *slots > 0);
        job.exclusive = part.optional("ExclusiveExecution", Part::boolean)?;
        if job.exclusive.is_some() && part.get("SlotsPerHost").is_none() {
            return Err(part.inside("ExclusiveExecution").error("needs a SlotsPerHost: ARC ignores it otherwise"));
        }
    }
    Ok(())
}

fn staging(job: &mut JobDescription, part: &Part) -> Result<()> {
    for part in part.all("InputFile") {
        let name = part.inside("Name");
        let input = match part.get("Source") {
            None => InputFile::file(name.text()),
            Some(source) => source_file(&source, name.text())?,
        };
        let is_executable = part.optional("IsExecutable", Part::boolean)?.unwrap_or(false);
        job.inputs.push(input.with_other_name(name.text()).with_executable(is_executable));
    }
    for part in part.all("OutputFile") {
        let name = part.inside("Name");
        let targets = part.all("Target");
        if targets.is_empty() {
            keep_output(job, name.text());
        }
        for target in targets {
            let flags = [("Mandatory", false), ("UseIfFailure", false), ("UseIfCancel", false), ("UseIfSuccess", true)];
            for (flag, supported) in flags {
                if target.optional(flag, Part::boolean)?.is_some_and(|value| value != supported) {
                    return Err(target.inside(flag).error(format!("is supported only as {supported}")));
                }
            }
            job.outputs.push(OutputFile::file(name.text()).with_url(url(&target, "output")?));
        }
    }
    Ok(())
}

fn source_file(source: &Part, name: &str) -> Result<InputFile> {
    let uri = source.inside("URI");
    let text = trim(uri.text());
    match file_path(text) {
        None => Ok(InputFile::url(url(source, "input")?)),
        Some(_) if source.get("Option").is_some() => Err(source.error("has options for a local file")),
        Some(path) => {
            let path = path.map_err(|message| uri.error(format!("is {text:?}, which {message}")))?;
            local_input(&path, name)
        }
    }
}

/// Returns the URL of a source or a target, with its options.
fn url<'a>(part: &Part<'a>, what: &str) -> Result<String> {
    let option = |option: &Part<'a>| (trim(option.inside("Name").text()), trim(option.inside("Value").text()));
    let options: Vec<_> = part.all("Option").iter().map(option).collect();
    let uri = part.inside("URI");
    url_with_options(what, trim(uri.text()), &options).map_err(|message| uri.error(format!("is not usable: {message}")))
}
