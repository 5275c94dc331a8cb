//! [`JobDescription`] to JSDL.

use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

use quick_xml::Writer;
use quick_xml::events::{BytesDecl, BytesText, Event};

use super::values::{date_time, file_uri, is_uri, split_options};
use super::{ARC, JSDL, POSIX};
use crate::description::{ByteSize, Delegation, InputFile, InputSource, JobDescription, absolute, invalid};
use crate::error::Result;

/// An element to be written. The schemas prescribe the order of elements everywhere.
struct Node {
    name: &'static str,
    attributes: Vec<(&'static str, String)>,
    content: Content,
}

enum Content {
    Text(String),
    Nodes(Vec<Node>),
}

fn leaf(name: &'static str, text: impl Into<String>) -> Node {
    Node { name, attributes: Vec::new(), content: Content::Text(text.into()) }
}

fn number(name: &'static str, number: impl Into<u64>) -> Node {
    leaf(name, number.into().to_string())
}

fn parent(name: &'static str, nodes: Vec<Node>) -> Node {
    Node { name, attributes: Vec::new(), content: Content::Nodes(nodes) }
}

/// A `RangeValue_Type`.
fn range(name: &'static str, bound: &'static str, value: impl Into<u64>) -> Node {
    parent(name, vec![number(bound, value)])
}

/// An element unless it would be empty.
fn filled(name: &'static str, nodes: Vec<Node>) -> Option<Node> {
    (!nodes.is_empty()).then(|| parent(name, nodes))
}

pub(super) fn document(job: &JobDescription) -> Result<String> {
    check(job)?;
    let mut nodes = vec![parent("JobIdentification", identification(job)), parent("Application", application(job))];
    nodes.extend(filled("Resources", resources(job)));
    for input in job.inputs() {
        nodes.push(staged_in(input)?);
    }
    for output in job.outputs() {
        nodes.push(staged_out(output.name(), output.url())?);
    }
    let namespaces = [("xmlns", JSDL), ("xmlns:posix", POSIX), ("xmlns:arc", ARC)];
    let root = Node {
        name: "JobDefinition",
        attributes: namespaces.map(|(name, uri)| (name, uri.to_owned())).into(),
        content: Content::Nodes(vec![parent("JobDescription", nodes)]),
    };
    let mut xml = Writer::new_with_indent(Vec::new(), b' ', 2);
    xml.write_event(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)))
        .and_then(|()| write(&mut xml, &root))
        .expect("a Vec takes all that is written");
    let mut text = String::from_utf8(xml.into_inner()).expect("all that was written is UTF-8");
    text.push('\n');
    Ok(text)
}

fn write(xml: &mut Writer<Vec<u8>>, node: &Node) -> io::Result<()> {
    let attributes = node.attributes.iter().map(|(name, value)| (*name, value.as_str()));
    let element = xml.create_element(node.name).with_attributes(attributes);
    match &node.content {
        Content::Text(text) => element.write_text_content(BytesText::new(text))?,
        Content::Nodes(nodes) => {
            element.write_inner_content(|xml| nodes.iter().try_for_each(|node| write(xml, node)))?
        }
    };
    Ok(())
}

/// What neither the standard nor ARC's extensions have a place for.
fn check(job: &JobDescription) -> Result<()> {
    let mut lacking = Vec::new();
    if job.processes_per_slot().is_some() {
        lacking.push("processes per slot".to_owned());
    }
    if job.delegation() != Delegation::Auto {
        lacking.push("whether credentials are delegated".to_owned());
    }
    for rte in job.runtime_environments() {
        if !rte.options().is_empty() {
            lacking.push(format!("options of the runtime environment {rte}"));
        }
    }
    for output in job.outputs() {
        if output.name().starts_with('@') {
            lacking.push(format!("that outputs are listed in a file ({:?})", output.name()));
        }
    }
    for input in job.inputs() {
        if matches!(input.source(), InputSource::Bytes(_)) {
            lacking.push(format!("the bytes of the input file {:?}", input.name().unwrap_or_default()));
        }
    }
    if lacking.is_empty() { Ok(()) } else { Err(invalid(format!("JSDL cannot say: {}", lacking.join(", ")))) }
}

fn identification(job: &JobDescription) -> Vec<Node> {
    let mut nodes = vec![leaf("JobName", job.name())];
    nodes.extend(job.description().map(|text| leaf("Description", text)));
    nodes.extend(job.annotations().iter().map(|text| leaf("JobAnnotation", text)));
    nodes.extend(job.project().map(|text| leaf("JobProject", text)));
    nodes
}

fn application(job: &JobDescription) -> Vec<Node> {
    let mut posix = vec![leaf("posix:Executable", job.executable())];
    posix.extend(job.args().iter().map(|arg| leaf("posix:Argument", arg)));
    posix.extend(job.stdin().map(|name| leaf("posix:Input", name)));
    posix.extend(job.stdout().map(|name| leaf("posix:Output", name)));
    posix.extend(job.stderr().map(|name| leaf("posix:Error", name)));
    posix.extend(
        job.envs().map(|(name, value)| Node {
            attributes: vec![("name", name.to_owned())],
            ..leaf("posix:Environment", value)
        }),
    );
    posix.extend(job.wall_time().map(|time| number("posix:WallTimeLimit", seconds(time))));

    let mut nodes = vec![parent("posix:POSIXApplication", posix)];
    nodes.extend(job.log_directory().map(|name| leaf("arc:LogDir", name)));
    nodes.extend(job.rerun().map(|times| number("arc:Rerun", times)));
    nodes.extend(job.priority().map(|priority| number("arc:Priority", priority)));
    nodes.extend(job.start_time().map(|time| leaf("arc:ProcessingStartTime", date_time(time))));
    for notification in job.notifications() {
        let mut notice = vec![leaf("arc:Type", "Email"), leaf("arc:Endpoint", notification.email())];
        notice.extend(notification.states().iter().map(|state| leaf("arc:State", state.as_str())));
        nodes.push(parent("arc:Notification", notice));
    }
    nodes
}

fn resources(job: &JobDescription) -> Vec<Node> {
    let at_least = |name, size: Option<ByteSize>| size.map(|size| range(name, "LowerBoundedRange", size.get()));
    let mut nodes = Vec::new();
    nodes.extend(job.exclusive().map(|yes| leaf("ExclusiveExecution", yes.to_string())));
    nodes.extend(at_least("IndividualPhysicalMemory", job.memory()));
    nodes.extend(at_least("IndividualVirtualMemory", job.virtual_memory()));
    nodes.extend(job.cpu_time().map(|time| range("TotalCPUTime", "UpperBoundedRange", seconds(time))));
    nodes.extend(job.slots().map(|slots| range("TotalCPUCount", "Exact", slots)));
    nodes.extend(at_least("TotalDiskSpace", job.disk()));
    nodes.extend(job.life_time().map(|time| number("arc:SessionLifeTime", seconds(time))));
    let mut slots = Vec::new();
    slots.extend(job.slots().map(|slots| number("arc:NumberOfSlots", slots)));
    slots.extend(job.slots_per_host().map(|slots| number("arc:ProcessPerHost", slots)));
    slots.extend(job.threads_per_process().map(|threads| number("arc:ThreadsPerProcesses", threads)));
    nodes.extend(filled("arc:SlotRequirement", slots));
    nodes.extend(job.queue().map(|queue| leaf("arc:QueueName", queue)));
    // ARC wrote, and read, one RunTimeEnvironment with all the software in it.
    let software = job.runtime_environments().iter().map(|rte| {
        let mut software = vec![leaf("arc:Name", rte.name())];
        software.extend(rte.version().map(|version| leaf("arc:Version", version)));
        parent("arc:Software", software)
    });
    nodes.extend(filled("arc:RunTimeEnvironment", software.collect()));
    nodes
}

fn staged_in(input: &InputFile) -> Result<Node> {
    let mut nodes = staging(input.checked_name()?);
    let uri = match input.source() {
        InputSource::File(path) => {
            let path = absolute(path)?;
            if ends_in_slash(&path) {
                let path = path.display();
                return Err(invalid(format!(
                    "the path of input file {path} ends in a slash: JSDL would say a directory"
                )));
            }
            vec![leaf("URI", file_uri(&path))]
        }
        InputSource::Directory(path) => {
            let path = absolute(path)?;
            let slash = if ends_in_slash(&path) { "" } else { "/" };
            vec![leaf("URI", file_uri(&path) + slash)]
        }
        InputSource::Url(url) => location(url)?,
        InputSource::Bytes(_) => return Err(invalid("JSDL has no place for bytes")),
    };
    nodes.push(parent("Source", uri));
    if input.is_executable() {
        nodes.push(leaf("arc:IsExecutable", "true"));
    }
    Ok(parent("DataStaging", nodes))
}

fn staged_out(name: &str, url: Option<&str>) -> Result<Node> {
    let mut nodes = staging(name);
    nodes.push(match url {
        Some(url) => parent("Target", location(url)?),
        None => leaf("DeleteOnTermination", "false"),
    });
    Ok(parent("DataStaging", nodes))
}

fn staging(name: &str) -> Vec<Node> {
    vec![leaf("FileName", name), leaf("CreationFlag", "overwrite")]
}

fn location(url: &str) -> Result<Vec<Node>> {
    let (uri, options) = split_options(url);
    if !is_uri(&uri) {
        return Err(invalid(format!("the URL {url:?} is not a URI, and JSDL has a place for nothing else")));
    }
    let mut nodes = vec![leaf("URI", uri)];
    nodes.extend(options.into_iter().map(|option| leaf("arc:URIOption", option)));
    Ok(nodes)
}

fn ends_in_slash(path: &Path) -> bool {
    path.as_os_str().as_bytes().ends_with(b"/")
}

/// Rounded up, as everywhere.
fn seconds(time: Duration) -> u64 {
    time.as_secs().saturating_add(u64::from(time.subsec_nanos() > 0))
}
