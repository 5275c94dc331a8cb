//! Whether ARC's parsers lose anything of a text. They pass over what they do not know, take the last of what is said
//! twice, and read as much of a number as is one.

use std::time::{Duration, SystemTime};

use super::xrsl::{Condition, Value, is_url};
use crate::description::{ByteSize, JobDescription, check_url, invalid};
use crate::error::Result;
use crate::util::xml::Element;

/// The attributes of xRSL that a [`JobDescription`] has something for, as ARC writes them; `*`: more than once.
const XRSL: [&str; 28] = [
    "arguments",
    "cache",
    "count",
    "countpernode",
    "cputime",
    "disk",
    "environment*",
    "exclusiveexecution",
    "executable",
    "executables",
    "ftpthreads",
    "gmlog",
    "inputfiles*",
    "jobname",
    "join",
    "lifetime",
    "memory",
    "notify*",
    "outputfiles*",
    "priority",
    "queue",
    "rerun",
    "runtimeenvironment*",
    "starttime",
    "stderr",
    "stdin",
    "stdout",
    "walltime",
];

/// The elements of ADL that a [`JobDescription`] has something for: what may be in each; `*`: more than once.
const ADL: [(&str, &[&str]); 17] = [
    ("ActivityDescription", &["ActivityIdentification", "Application", "Resources", "DataStaging"]),
    ("ActivityIdentification", &["Name", "Description", "Annotation*"]),
    (
        "Application",
        &[
            "Executable",
            "Input",
            "Output",
            "Error",
            "Environment*",
            "LoggingDirectory",
            "WipeTime",
            "StartTime",
            "Rerun",
            "Priority",
            "Notification*",
        ],
    ),
    ("Executable", &["Path", "Argument*"]),
    ("Environment", &["Name", "Value"]),
    ("Notification", &["Protocol", "Recipient*", "OnState*"]),
    (
        "Resources",
        &[
            "RuntimeEnvironment*",
            "ParallelEnvironment",
            "IndividualPhysicalMemory",
            "IndividualVirtualMemory",
            "DiskSpaceRequirement",
            "SlotRequirement",
            "QueueName",
            "TotalCPUTime",
            "WallTime",
        ],
    ),
    ("RuntimeEnvironment", &["Name", "Version", "Option*"]),
    ("ParallelEnvironment", &["ProcessesPerSlot", "ThreadsPerProcess"]),
    ("SlotRequirement", &["NumberOfSlots", "SlotsPerHost", "ExclusiveExecution"]),
    ("DataStaging", &["InputFile*", "OutputFile*"]),
    ("InputFile", &["Name", "IsExecutable", "Source"]),
    ("Source", &["URI", "Option*"]),
    ("OutputFile", &["Name", "Target*"]),
    ("Target", &["URI", "Option*", "Mandatory", "UseIfFailure", "UseIfCancel", "UseIfSuccess"]),
    ("Source/Option", &["Name", "Value"]),
    ("Target/Option", &["Name", "Value"]),
];

const ADL_NAMESPACE: &str = "http://www.eu-emi.eu/es/2010/12/adl";

/// NorduGrid's extensions to ADL, and their namespace. (ARC finds `LoggingDirectory` in either.)
const EXTENSIONS: [&str; 4] = ["LoggingDirectory", "Priority", "Rerun", "StartTime"];
const EXTENSIONS_NAMESPACE: &str = "http://www.nordugrid.org/es/2011/12/nordugrid-adl";

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
const WEEK: u64 = 7 * DAY;

/// Whether ARC will read all of conditions, and come to no harm: it is told nothing that it has not been seen to read well.
pub(super) fn xrsl(conditions: &[Condition]) -> Result<()> {
    for (n, condition) in conditions.iter().enumerate() {
        let Condition { attribute, operator, values } = condition;
        let is_repeated = XRSL.contains(&format!("{attribute}*").as_str());
        if !is_repeated && !XRSL.contains(&attribute.as_str()) {
            return Err(invalid(format!("the xRSL attribute {attribute} is not supported")));
        }
        if operator != "=" {
            return Err(invalid(format!("the xRSL attribute {attribute} may only be given by =, not {operator}")));
        }
        if !is_repeated && conditions[..n].iter().any(|other| other.attribute == *attribute) {
            return Err(invalid(format!("the xRSL attribute {attribute} is there twice")));
        }
        let fault = match attribute.as_str() {
            "inputfiles" | "outputfiles" => {
                values.iter().find_map(|value| file_fault(attribute == "outputfiles", value))
            }
            "environment" => {
                let is_pair = |value: &Value| matches!(value, Value::List(pair) if texts(pair).is_some_and(|pair| pair.len() == 2));
                (!values.iter().all(is_pair)).then(|| "takes pairs of texts".into())
            }
            _ => texts(values).map_or(Some("takes no lists".into()), |values| value_fault(attribute, &values)),
        };
        if let Some(fault) = fault {
            return Err(invalid(format!("the xRSL attribute {attribute} {fault}")));
        }
    }
    Ok(())
}

fn texts(values: &[Value]) -> Option<Vec<&str>> {
    fn text(value: &Value) -> Option<&str> {
        match value {
            Value::Text(text) => Some(text),
            Value::List(_) => None,
        }
    }
    values.iter().map(text).collect()
}

/// What is wrong with the texts that an attribute is given.
fn value_fault(attribute: &str, values: &[&str]) -> Option<String> {
    let many = ["arguments", "executables", "notify", "runtimeenvironment"];
    let [value] = values else {
        let is_many = many.contains(&attribute) && (attribute != "runtimeenvironment" || !values.is_empty());
        let notify = || values.iter().find_map(|value| notify_fault(value));
        return if !is_many {
            Some("takes one text".into())
        } else if attribute == "notify" {
            notify()
        } else {
            None
        };
    };
    let is_good = match attribute {
        "walltime" | "cputime" | "lifetime" => period(value, MINUTE).is_some(),
        "memory" | "disk" | "count" | "countpernode" | "rerun" | "priority" | "ftpthreads" => number(value).is_some(),
        "starttime" => is_time(value),
        "join" => ["yes", "no", "true", "false"].contains(value),
        "exclusiveexecution" => ["yes", "no", "true", "false"].contains(&value.to_lowercase().as_str()),
        "cache" => ["yes", "no", "copy", "renew", "check", "invariant"].contains(value),
        "notify" => return notify_fault(value),
        _ => true,
    };
    let wanted = match attribute {
        "walltime" | "cputime" | "lifetime" => "minutes, or numbers with units",
        "memory" | "disk" => "a whole number of MiB",
        "starttime" => "YYYYMMDDhhmmss or YYYY-MM-DD hh:mm:ss",
        "join" | "exclusiveexecution" => "yes or no",
        "cache" => "yes, no, copy, renew, check or invariant",
        _ => "a whole number",
    };
    (!is_good).then(|| format!("cannot be {value:?}: it takes {wanted}"))
}

/// What is wrong with `[flags] address...`.
fn notify_fault(value: &str) -> Option<String> {
    let mut words = value.split([' ', '\t']).filter(|word| !word.is_empty()).peekable();
    let is_flags = |word: &&str| !word.contains('@') && word.chars().all(|c| "bqfecd".contains(c));
    let _flags = words.next_if(is_flags);
    let has_address = words.peek().is_some();
    (!has_address || !words.all(|word| word.contains('@'))).then(|| format!("cannot be {value:?}"))
}

/// What is wrong with `(name source options...)`, or with a target instead of the source.
fn file_fault(is_output: bool, value: &Value) -> Option<String> {
    let Value::List(parts) = value else { return Some("takes lists of a name and a place".into()) };
    let parts = texts(parts).unwrap_or_default();
    let [name, place, options @ ..] = parts.as_slice() else { return Some("takes lists of a name and a place".into()) };
    if is_url(place) {
        return check_url(if is_output { "output" } else { "input" }, place)
            .err()
            .map(|fault| format!("of {name:?}: {fault}"));
    }
    if is_output && !place.is_empty() {
        return Some(format!("cannot have {name:?} uploaded to the local file {place:?}"));
    }
    if place.to_lowercase().starts_with("file:") && !place.starts_with("file:///") {
        return Some(format!("cannot have {name:?} from {place:?}: that is no path of this machine"));
    }
    (!options.is_empty()).then(|| format!("has options for {name:?}, which is no URL"))
}

/// Whether the numbers and times in xRSL are those that ARC has read.
pub(super) fn xrsl_was_understood(conditions: &[Condition], job: &JobDescription) -> Result<()> {
    let minutes = |text: &str| period(text, MINUTE);
    for Condition { attribute, values, .. } in conditions {
        let Some(Value::Text(value)) = values.first() else { continue };
        let is_understood = match attribute.as_str() {
            "walltime" => is(minutes(value), seconds(job.wall_time())),
            "cputime" => is(minutes(value), seconds(job.cpu_time())),
            "lifetime" => is(minutes(value), seconds(job.life_time())),
            "memory" => is(number(value), mib(job.memory())),
            "disk" => is(number(value), mib(job.disk())),
            "count" => is(number(value), job.slots().map(u64::from)),
            "countpernode" => is(number(value), job.slots_per_host().map(u64::from)),
            "rerun" => is(number(value), job.rerun().map(u64::from)),
            "priority" => is(number(value), job.priority().map(u64::from)),
            "starttime" => job.start_time().is_some_and(|time| time > SystemTime::UNIX_EPOCH),
            "notify" => !job.notifications().is_empty(),
            _ => true,
        };
        if !is_understood {
            return Err(invalid(format!("the xRSL attribute {attribute} cannot be {value:?}")));
        }
    }
    Ok(())
}

/// Whether a description has something for every element of ADL.
pub(super) fn adl(root: &Element) -> Result<()> {
    check_adl(root, "", &root.name)
}

fn check_adl(element: &Element, parent: &str, path: &str) -> Result<()> {
    let known = |name: &str| ADL.iter().find(|(known, _)| *known == name).map(|(_, children)| *children);
    let children = known(&format!("{parent}/{}", element.name)).or_else(|| known(&element.name)).unwrap_or_default();
    let is_extension = element.namespace == EXTENSIONS_NAMESPACE && EXTENSIONS.contains(&element.name.as_str());
    let is_adl = element.namespace == ADL_NAMESPACE
        && (!EXTENSIONS.contains(&element.name.as_str()) || element.name == "LoggingDirectory");
    if !is_extension && !is_adl {
        return Err(invalid(format!("{path} is not in its namespace of ADL, but in {:?}", element.namespace)));
    }
    if let Some(fault) = leaf_fault(element) {
        return Err(invalid(format!("the ADL element {path} {fault}")));
    }
    if !children.is_empty() && !element.text.trim().is_empty() {
        return Err(invalid(format!("the ADL element {path} has text in it: {:?}", element.text.trim())));
    }
    for (name, value) in &element.attributes {
        if !(name == "optional" && value == "false" || name.starts_with("xml:")) {
            return Err(invalid(format!("the ADL attribute {name}=\"{value}\" of {path} is not supported")));
        }
    }
    for (n, child) in element.children.iter().enumerate() {
        let path = format!("{path}/{}", child.name);
        let is_repeated = children.contains(&format!("{}*", child.name).as_str());
        if !is_repeated && !children.contains(&child.name.as_str()) {
            return Err(invalid(format!("the ADL element {path} is not supported")));
        }
        if !is_repeated && element.children[..n].iter().any(|other| other.name == child.name) {
            return Err(invalid(format!("the ADL element {path} is there twice")));
        }
        check_adl(child, &element.name, &path)?;
    }
    Ok(())
}

/// What is wrong with the text in an element, or with what must be in it.
fn leaf_fault(element: &Element) -> Option<String> {
    let value = element.text.as_str();
    let child = |name: &str| element.children.iter().find(|child| child.name == name).map_or("", |child| &child.text);
    let is_good = match element.name.as_str() {
        "WallTime"
        | "TotalCPUTime"
        | "IndividualPhysicalMemory"
        | "IndividualVirtualMemory"
        | "DiskSpaceRequirement"
        | "NumberOfSlots"
        | "SlotsPerHost"
        | "ProcessesPerSlot"
        | "ThreadsPerProcess"
        | "Rerun"
        | "Priority" => number(value).is_some(),
        "WipeTime" => period(value, 1).is_some(),
        // Without a zone it is local time to some readers, and UTC to others.
        "StartTime" => {
            let digits = value.bytes().filter(u8::is_ascii_digit).count();
            is_time(value) && (value.ends_with('Z') || digits > 14)
        }
        "ExclusiveExecution" | "IsExecutable" | "Mandatory" | "UseIfFailure" | "UseIfCancel" | "UseIfSuccess" => {
            ["true", "false", "1", "0"].contains(&value)
        }
        "Protocol" => value == "email",
        "Notification" => !child("Recipient").is_empty() && !child("Protocol").is_empty(),
        "SlotRequirement" => !child("NumberOfSlots").is_empty(),
        "Source" | "Target" => {
            let url = child("URI");
            let is_output = element.name == "Target";
            if url.starts_with("file:///") && !is_output && element.children.len() == 1 {
                return None;
            }
            return check_url(if is_output { "output" } else { "input" }, url)
                .err()
                .map(|fault| format!("is not right: {fault}"));
        }
        _ => true,
    };
    (!is_good).then(|| format!("cannot be {value:?}"))
}

/// A document with nothing else in it than what has been read, for ARC's reader: no encodings, sections or attributes.
pub(super) fn write_adl(element: &Element) -> String {
    let mut text = String::new();
    write_element(element, &mut text);
    text
}

fn write_element(element: &Element, text: &mut String) {
    let prefix = if element.namespace == EXTENSIONS_NAMESPACE { "ng:" } else { "" };
    let name = &element.name;
    let declarations = match name.as_str() {
        "ActivityDescription" => format!(" xmlns=\"{ADL_NAMESPACE}\" xmlns:ng=\"{EXTENSIONS_NAMESPACE}\""),
        _ => String::new(),
    };
    *text += &format!("<{prefix}{name}{declarations}>");
    if element.children.is_empty() {
        for c in element.text.chars() {
            match c {
                '&' | '<' | '>' | '\r' | '\n' | '\t' => *text += &format!("&#{};", u32::from(c)),
                _ => text.push(c),
            }
        }
    }
    element.children.iter().for_each(|child| write_element(child, text));
    *text += &format!("</{prefix}{name}>");
}

/// Whether the numbers, times and flags in ADL are those that ARC has read.
pub(super) fn adl_was_understood(element: &Element, job: &JobDescription) -> Result<()> {
    let value = element.text.as_str();
    let bytes = || number(value).map(|bytes| ByteSize::new(bytes).in_mib());
    let count = |told: Option<u32>| is(number(value), told.map(u64::from));
    let is_understood = match element.name.as_str() {
        "WallTime" => is(number(value), seconds(job.wall_time())),
        "TotalCPUTime" => is(number(value), seconds(job.cpu_time())),
        "WipeTime" => is(period(value, 1), seconds(job.life_time())),
        "IndividualPhysicalMemory" => is(bytes(), mib(job.memory())),
        "IndividualVirtualMemory" => is(bytes(), mib(job.virtual_memory())),
        "DiskSpaceRequirement" => is(bytes(), mib(job.disk())),
        "NumberOfSlots" => count(job.slots()),
        // 0 is how an exclusive job is said to have none.
        "SlotsPerHost" => value == "0" || count(job.slots_per_host()),
        "ProcessesPerSlot" => count(job.processes_per_slot()),
        "ThreadsPerProcess" => count(job.threads_per_process()),
        // ARC reads it only along with the slots per host.
        "ExclusiveExecution" => job.exclusive().is_some(),
        "Rerun" => count(job.rerun()),
        "Priority" => count(job.priority()),
        "StartTime" => job.start_time().is_some_and(|time| time > SystemTime::UNIX_EPOCH),
        _ => true,
    };
    if !is_understood {
        return Err(invalid(format!("the ADL element {} cannot be {value:?} there", element.name)));
    }
    element.children.iter().try_for_each(|child| adl_was_understood(child, job))
}

fn is(said: Option<u64>, read: Option<u64>) -> bool {
    said.is_some() && said == read
}

fn seconds(time: Option<Duration>) -> Option<u64> {
    time.map(|time| time.as_secs())
}

fn mib(size: Option<ByteSize>) -> Option<u64> {
    size.map(ByteSize::in_mib)
}

/// Digits, and nothing else.
fn number(text: &str) -> Option<u64> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) { text.parse().ok() } else { None }
}

/// A time as ARC reads it (`Arc::Period`), in seconds: an ISO 8601 duration, or numbers with their units, of which the last
/// may go without: it is of the unit below the one before, or, if it stands alone, of `base` seconds.
fn period(text: &str, base: u64) -> Option<u64> {
    let is_iso = text.starts_with('P');
    let mut rest = text.strip_prefix('P').unwrap_or(text);
    let (mut total, mut base, mut is_time, mut is_empty) = (0_u64, base, false, true);
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix('T').filter(|_| is_iso && !is_time) {
            (is_time, rest) = (true, after);
            continue;
        }
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let value = number(&rest[..digits]).filter(|_| digits > 0)?;
        let after = &rest[digits..];
        let (unit, after) = if is_iso {
            let mut characters = after.chars();
            let unit = match (characters.next()?, is_time) {
                ('Y', false) => 365 * DAY,
                ('M', false) => 30 * DAY,
                ('W', false) => WEEK,
                ('D', false) => DAY,
                ('H', true) => HOUR,
                ('M', true) => MINUTE,
                ('S', true) => 1,
                _ => return None,
            };
            (unit, characters.as_str())
        } else {
            let after = after.trim_start_matches(' ');
            let letters = after.len() - after.trim_start_matches(|c: char| c.is_ascii_alphabetic()).len();
            let unit = match after[..letters].to_ascii_lowercase().as_str() {
                "" if after.is_empty() => base,
                "s" | "sec" | "secs" | "second" | "seconds" => 1,
                "m" | "min" | "mins" | "minute" | "minutes" => MINUTE,
                "h" | "hour" | "hours" => HOUR,
                "d" | "day" | "days" => DAY,
                "w" | "week" | "weeks" => WEEK,
                _ => return None,
            };
            base = match unit {
                WEEK => DAY,
                DAY => HOUR,
                HOUR => MINUTE,
                _ => 1,
            };
            (unit, after[letters..].trim_start_matches(' '))
        };
        total = total.checked_add(value.checked_mul(unit)?)?;
        (rest, is_empty) = (after, false);
    }
    if is_empty { None } else { Some(total) }
}

/// Whether ARC reads all of a point in time (`Arc::Time`): `YYYYMMDDhhmmss`, or with `-`, `:` and `T` or a blank between,
/// and `Z` or an offset if it is not local time.
fn is_time(text: &str) -> bool {
    let digits =
        |text: &str| text.bytes().map(|byte| if byte.is_ascii_digit() { '0' } else { char::from(byte) }).collect();
    let shape: String = digits(text);
    let dates = ["0000-00-00", "00000000"];
    let after_date = dates.iter().find_map(|date| shape.strip_prefix(date));
    let Some(rest) = after_date.map(|rest| rest.strip_prefix(['T', ' ']).unwrap_or(rest)) else { return false };
    let times = ["00:00:00", "000000"];
    let Some(zone) = times.iter().find_map(|time| rest.strip_prefix(time)) else { return false };
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_digit).map(|digit| digit - b'0').collect();
    let [_, _, month, day, hour, minute, second, ..] =
        digits.chunks(2).map(|pair| pair.iter().fold(0, |sum, digit| 10 * sum + digit)).collect::<Vec<u8>>()[..]
    else {
        return false;
    };
    let is_on_the_clock =
        (1..=12).contains(&month) && (1..=31).contains(&day) && hour < 24 && minute < 60 && second < 60;
    is_on_the_clock && ["", "Z", "+00:00", "-00:00", "+0000", "-0000"].contains(&zone)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn periods_are_those_of_arc() {
        for (text, expected) in [
            ("7", Some(420)),
            ("7s", Some(7)),
            ("1 hour 5 minutes", Some(3900)),
            ("1h30", Some(5400)),
            ("2w 1d", Some(15 * DAY)),
            ("10 M", Some(600)),
            ("PT1H5S", Some(3605)),
            ("P1DT1M", Some(DAY + 60)),
            ("P1M", Some(30 * DAY)),
            ("P", None),
            ("", None),
            ("x", None),
            ("-5", None),
            ("1:30", None),
            ("1.5", None),
            ("5 fortnights", None),
            ("5 6", None),
            ("PT5", None),
            ("PT1HT1S", None),
            ("99999999999999999999", None),
            ("9999999999999999999w", None),
        ] {
            assert_eq!(period(text, MINUTE), expected, "{text}");
        }
    }

    #[test]
    fn times_are_whole() {
        for good in ["20261122120000", "20261122120000Z", "2026-11-22T12:00:00+01:00", "2026-11-22 12:00:00"] {
            assert!(is_time(good), "{good}");
        }
        for bad in [
            "",
            "x",
            "20-01",
            "20261322120000",
            "20261122126000",
            "2026-11-22",
            "2026-11-22 12:00",
            "20261122120000x",
            "2026-11-22T12:00:00Zx",
        ] {
            assert!(!is_time(bad), "{bad}");
        }
    }
}
