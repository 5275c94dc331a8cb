//! Reads the response to `action=info`: a GLUE2 `ComputingActivity` for each job.

use std::time::{Duration, SystemTime};

use super::state::RestState;
use crate::backend::failure::Failure;
use crate::job::{JobId, JobInfo};
use crate::util::byte_size::ByteSize;
use crate::util::xml::Element;

/// The largest number of elements and attributes in a response: 2000 for each of its jobs.
const MAX_NODES: usize = 2000 * super::jobs::CHUNK;

/// The prefix of A-REX's own states among the states of an activity.
const STATE_PREFIX: &str = "arcrest:";

/// The part of the response that concerns one job.
#[derive(Clone, Debug)]
pub(super) struct Item {
    pub(super) id: String,
    pub(super) code: u16,
    pub(super) reason: String,
    /// The published state. The state in `info` is set when A-REX's own record has been looked up.
    pub(super) state: RestState,
    /// `None` if A-REX does not know the job or has no information about it.
    pub(super) info: Option<Box<JobInfo>>,
}

pub(super) fn parse(body: &[u8]) -> Result<Vec<Item>, Failure> {
    let root = Element::parse_up_to(&String::from_utf8_lossy(body), MAX_NODES)
        .map_err(|error| Failure::invalid_response(format!("the response is not a list of jobs: {error}")))?;
    if root.name != "jobs" {
        return Err(Failure::invalid_response(format!(
            "the response is not a list of jobs: its root is {}",
            root.name
        )));
    }
    Ok(root.all("job").map(read_item).collect())
}

fn read_item(job: &Element) -> Item {
    let text = |name: &str| job.text_of(name).unwrap_or_default().to_owned();
    let code = job.text_of("status-code").and_then(|code| code.parse().ok()).unwrap_or(0);
    let id = text("id");
    let activity = job.get("info_document").and_then(|document| document.get("ComputingActivity"));
    let states = activity.into_iter().flat_map(|activity| activity.all("State"));
    let state = states.filter_map(|state| state.text.trim().strip_prefix(STATE_PREFIX)).last();
    Item {
        info: activity.filter(|_| code == 200).map(|activity| Box::new(read_activity(&id, activity))),
        state: RestState::parse(state.unwrap_or_default()),
        reason: text("reason"),
        code,
        id,
    }
}

fn read_activity(id: &str, activity: &Element) -> JobInfo {
    let text = |name: &str| activity.text_of(name).map(str::to_owned);
    let texts = |name: &'static str| -> Vec<String> {
        activity.all(name).map(|child| child.text.trim().to_owned()).filter(|text| !text.is_empty()).collect()
    };
    let number = |name: &str| activity.text_of(name).and_then(|text| text.parse::<u64>().ok());
    let count = |name: &str| number(name).and_then(|number| number.try_into().ok());
    let period = |name: &str| number(name).map(Duration::from_secs);
    let time = |name: &str| activity.text_of(name).and_then(parse_time);
    JobInfo {
        name: text("Name"),
        owner: text("Owner"),
        local_owner: text("LocalOwner"),
        local_job_id: text("LocalIDFromManager"),
        queue: text("Queue"),
        // A-REX publishes -1 if it does not know the exit code.
        exit_code: activity.text_of("ExitCode").and_then(|code| code.parse().ok()).filter(|code| *code >= 0),
        errors: texts("Error"),
        messages: texts("OtherMessages"),
        execution_nodes: texts("ExecutionNode"),
        stdin: text("StdIn"),
        stdout: text("StdOut"),
        stderr: text("StdErr"),
        waiting_position: count("WaitingPosition"),
        requested_slots: count("RequestedSlots"),
        requested_wall_time: period("RequestedTotalWallTime"),
        requested_cpu_time: period("RequestedTotalCPUTime"),
        used_wall_time: period("UsedTotalWallTime"),
        used_cpu_time: period("UsedTotalCPUTime"),
        used_memory: number("UsedMainMemory").map(ByteSize::mib),
        submission_time: time("SubmissionTime"),
        start_time: time("StartTime"),
        // For a failed job A-REX publishes no EndTime, only the time when the job left the batch system.
        end_time: time("EndTime").or_else(|| time("ComputingManagerEndTime")),
        erase_time: time("WorkingAreaEraseTime"),
        proxy_expiration_time: time("ProxyExpirationTime"),
        ..JobInfo::new(JobId::from(id))
    }
}

fn parse_time(text: &str) -> Option<SystemTime> {
    SystemTime::try_from(text.parse::<jiff::Timestamp>().ok()?).ok()
}
