//! Writes JSDL.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::values::{is_uri, split_options};
use super::{ARC, JSDL, POSIX};
use crate::description::formats::time::date_time;
use crate::description::{Delegation, InputFile, InputSource, JobDescription, absolute, invalid};
use crate::error::Result;
use crate::util::byte_size::ByteSize;
use crate::util::uri::file_uri;
use crate::util::xml::Element;

fn leaf(namespace: &str, name: &str, text: impl Into<String>) -> Element {
    Element { text: text.into(), ..parent(namespace, name, Vec::new()) }
}

fn number(namespace: &str, name: &str, number: impl Into<u64>) -> Element {
    leaf(namespace, name, number.into().to_string())
}

fn parent(namespace: &str, name: &str, children: Vec<Element>) -> Element {
    Element { namespace: namespace.into(), name: name.into(), children, ..Element::default() }
}

/// A `RangeValue_Type`.
fn range(name: &str, bound: &str, value: impl Into<u64>) -> Element {
    parent(JSDL, name, vec![number(JSDL, bound, value)])
}

/// An element, unless it would be empty.
fn filled(namespace: &str, name: &str, children: Vec<Element>) -> Option<Element> {
    (!children.is_empty()).then(|| parent(namespace, name, children))
}

/// Writes a document. The schemas prescribe the order of elements everywhere.
pub(super) fn document(job: &JobDescription) -> Result<String> {
    check(job)?;
    let identification = parent(JSDL, "JobIdentification", identification(job));
    let mut parts = vec![identification, parent(JSDL, "Application", application(job))];
    parts.extend(filled(JSDL, "Resources", resources(job)));
    for input in job.inputs() {
        parts.push(staged_in(input)?);
    }
    for output in job.outputs() {
        parts.push(staged_out(output.name(), output.url())?);
    }
    let root = parent(JSDL, "JobDefinition", vec![parent(JSDL, "JobDescription", parts)]);
    Ok(root.to_document(&[("", JSDL), ("posix", POSIX), ("arc", ARC)]))
}

/// Refuses values that neither the standard nor ARC's extensions can express.
fn check(job: &JobDescription) -> Result<()> {
    let mut unsupported = Vec::new();
    if job.processes_per_slot().is_some() {
        unsupported.push("processes per slot".to_owned());
    }
    if job.delegation() != Delegation::Auto {
        unsupported.push("whether credentials are delegated".to_owned());
    }
    for rte in job.runtime_environments() {
        if !rte.options().is_empty() {
            unsupported.push(format!("options of the runtime environment {rte}"));
        }
    }
    for output in job.outputs() {
        if output.name().starts_with('@') {
            unsupported.push(format!("the list of outputs {:?}", output.name()));
        }
    }
    for input in job.inputs() {
        if matches!(input.source(), InputSource::Bytes(_)) {
            unsupported.push(format!("the bytes of the input file {:?}", input.name().unwrap_or_default()));
        }
    }
    if unsupported.is_empty() {
        Ok(())
    } else {
        Err(invalid(format!("JSDL cannot express {}", unsupported.join(", "))))
    }
}

fn identification(job: &JobDescription) -> Vec<Element> {
    let mut elements = vec![leaf(JSDL, "JobName", job.name())];
    elements.extend(job.description().map(|text| leaf(JSDL, "Description", text)));
    elements.extend(job.annotations().iter().map(|text| leaf(JSDL, "JobAnnotation", text)));
    elements.extend(job.project().map(|text| leaf(JSDL, "JobProject", text)));
    elements
}

fn application(job: &JobDescription) -> Vec<Element> {
    let mut posix = vec![leaf(POSIX, "Executable", job.executable())];
    posix.extend(job.args().iter().map(|arg| leaf(POSIX, "Argument", arg)));
    posix.extend(job.stdin().map(|name| leaf(POSIX, "Input", name)));
    posix.extend(job.stdout().map(|name| leaf(POSIX, "Output", name)));
    posix.extend(job.stderr().map(|name| leaf(POSIX, "Error", name)));
    posix.extend(job.envs().map(|(name, value)| Element {
        attributes: vec![("name".to_owned(), name.to_owned())],
        ..leaf(POSIX, "Environment", value)
    }));
    posix.extend(job.wall_time().map(|time| number(POSIX, "WallTimeLimit", time.as_secs())));

    let mut elements = vec![parent(POSIX, "POSIXApplication", posix)];
    elements.extend(job.log_directory().map(|name| leaf(ARC, "LogDir", name)));
    elements.extend(job.rerun().map(|times| number(ARC, "Rerun", times)));
    elements.extend(job.priority().map(|priority| number(ARC, "Priority", priority)));
    elements.extend(job.start_time().map(|time| leaf(ARC, "ProcessingStartTime", date_time(time))));
    for notification in job.notifications() {
        let mut notice = vec![leaf(ARC, "Type", "Email"), leaf(ARC, "Endpoint", notification.email())];
        notice.extend(notification.states().iter().map(|state| leaf(ARC, "State", state.as_str())));
        elements.push(parent(ARC, "Notification", notice));
    }
    elements
}

fn resources(job: &JobDescription) -> Vec<Element> {
    let at_least = |name, size: Option<ByteSize>| size.map(|size| range(name, "LowerBoundedRange", size.get()));
    let mut elements = Vec::new();
    elements.extend(job.exclusive().map(|yes| leaf(JSDL, "ExclusiveExecution", yes.to_string())));
    elements.extend(at_least("IndividualPhysicalMemory", job.memory()));
    elements.extend(at_least("IndividualVirtualMemory", job.virtual_memory()));
    elements.extend(job.cpu_time().map(|time| range("TotalCPUTime", "UpperBoundedRange", time.as_secs())));
    elements.extend(job.slots().map(|slots| range("TotalCPUCount", "Exact", slots)));
    elements.extend(at_least("TotalDiskSpace", job.disk()));
    elements.extend(job.life_time().map(|time| number(ARC, "SessionLifeTime", time.as_secs())));
    let mut slots = Vec::new();
    slots.extend(job.slots().map(|slots| number(ARC, "NumberOfSlots", slots)));
    slots.extend(job.slots_per_host().map(|slots| number(ARC, "ProcessPerHost", slots)));
    slots.extend(job.threads_per_process().map(|threads| number(ARC, "ThreadsPerProcesses", threads)));
    elements.extend(filled(ARC, "SlotRequirement", slots));
    elements.extend(job.queue().map(|queue| leaf(ARC, "QueueName", queue)));
    // ARC 1 to 5 wrote and read one RunTimeEnvironment with all the software in it.
    let software = job.runtime_environments().iter().map(|rte| {
        let mut software = vec![leaf(ARC, "Name", rte.name())];
        software.extend(rte.version().map(|version| leaf(ARC, "Version", version)));
        parent(ARC, "Software", software)
    });
    elements.extend(filled(ARC, "RunTimeEnvironment", software.collect()));
    elements
}

fn staged_in(input: &InputFile) -> Result<Element> {
    let mut elements = staging(input.checked_name()?);
    let uri = match input.source() {
        InputSource::File(path) => {
            let path = absolute(path)?;
            if ends_in_slash(&path) {
                let path = path.display();
                return Err(invalid(format!(
                    "the path of input file {path} ends in a slash, by which JSDL names a directory"
                )));
            }
            vec![leaf(JSDL, "URI", file_uri(&path))]
        }
        InputSource::Directory(path) => {
            let path = absolute(path)?;
            let slash = if ends_in_slash(&path) { "" } else { "/" };
            vec![leaf(JSDL, "URI", file_uri(&path) + slash)]
        }
        InputSource::Url(url) => location(url)?,
        InputSource::Bytes(_) => return Err(invalid("JSDL cannot express an input file whose content is bytes")),
    };
    elements.push(parent(JSDL, "Source", uri));
    if input.is_executable() {
        elements.push(leaf(ARC, "IsExecutable", "true"));
    }
    Ok(parent(JSDL, "DataStaging", elements))
}

fn staged_out(name: &str, url: Option<&str>) -> Result<Element> {
    let mut elements = staging(name);
    elements.push(match url {
        Some(url) => parent(JSDL, "Target", location(url)?),
        None => leaf(JSDL, "DeleteOnTermination", "false"),
    });
    Ok(parent(JSDL, "DataStaging", elements))
}

fn staging(name: &str) -> Vec<Element> {
    vec![leaf(JSDL, "FileName", name), leaf(JSDL, "CreationFlag", "overwrite")]
}

fn location(url: &str) -> Result<Vec<Element>> {
    let (uri, options) = split_options(url);
    if !is_uri(&uri) {
        return Err(invalid(format!("the URL {url:?} is not a URI, which JSDL requires")));
    }
    let mut elements = vec![leaf(JSDL, "URI", uri)];
    elements.extend(options.into_iter().map(|option| leaf(ARC, "URIOption", option)));
    Ok(elements)
}

fn ends_in_slash(path: &Path) -> bool {
    path.as_os_str().as_bytes().ends_with(b"/")
}
