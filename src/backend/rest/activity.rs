//! Reads the response to `action=info`: a GLUE2 `ComputingActivity` for each job.

use std::time::{Duration, SystemTime};

use super::state::RestState;
use crate::backend::failure::Failure;
use crate::description::key_of;
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

/// Undoes what A-REX's information provider does to texts that are not ASCII: it reads bytes and encodes them as UTF-8
/// twice (`XmlPrinter.pm` and `jobXmlFileWriter`, 6.17 and 7.0). A text that cannot be decoded twice is returned as it is.
fn repaired(text: &str) -> String {
    let decoded = |text: &str| {
        let bytes: Option<Vec<u8>> = text.chars().map(|character| u8::try_from(u32::from(character)).ok()).collect();
        String::from_utf8(bytes?).ok()
    };
    match text.is_ascii() {
        true => text.to_owned(),
        false => decoded(text).and_then(|once| decoded(&once)).unwrap_or_else(|| text.to_owned()),
    }
}

fn read_activity(id: &str, activity: &Element) -> JobInfo {
    let text = |name: &str| activity.text_of(name).map(repaired);
    let texts = |name: &'static str| -> Vec<String> {
        activity.all(name).map(|child| repaired(child.text.trim())).filter(|text| !text.is_empty()).collect()
    };
    let with_prefix = |name: &'static str, prefix: &str| {
        activity.all(name).find_map(|child| child.text.trim().strip_prefix(prefix).map(str::to_owned))
    };
    let created = activity.attributes.iter().find(|(name, _)| name == "CreationTime");
    let created = created.and_then(|(_, value)| parse_time(value));
    // For a job that its information provider has not seen, A-REX makes a document with few elements, whose time of
    // creation is that of the job (`processJobInfo` in rest.cpp).
    let is_published = activity.get("SubmissionTime").is_some();
    let mut identifiers = activity.all("Associations").flat_map(|associations| associations.all("ActivityID"));
    let number = |name: &str| activity.text_of(name).and_then(|text| text.parse::<u64>().ok());
    let count = |name: &str| number(name).and_then(|number| number.try_into().ok());
    let period = |name: &str| number(name).map(Duration::from_secs);
    let time = |name: &str| activity.text_of(name).and_then(parse_time);
    JobInfo {
        published_at: created.filter(|_| is_published),
        published_states: if is_published { texts("State") } else { Vec::new() },
        key: identifiers.find_map(|identifier| key_of(identifier.text.trim())),
        name: text("Name"),
        owner: text("Owner"),
        local_owner: text("LocalOwner"),
        local_job_id: text("LocalIDFromManager"),
        queue: text("Queue"),
        // A-REX publishes -1 if it does not know the exit code.
        exit_code: activity.text_of("ExitCode").and_then(|code| code.parse().ok()).filter(|code| *code >= 0),
        batch_exit_code: activity.text_of("ComputingManagerExitCode").and_then(|code| code.parse().ok()),
        failed_stage: with_prefix("RestartState", "nordugrid:"),
        errors: texts("Error"),
        messages: texts("OtherMessages"),
        execution_nodes: texts("ExecutionNode"),
        stdin: text("StdIn"),
        stdout: text("StdOut"),
        stderr: text("StdErr"),
        log_directory: text("LogDir"),
        description_language: text("JobDescription").filter(|language| is_published && language != "UNDEFINEDVALUE"),
        submission_interface: with_prefix("OtherInfo", "SubmittedVia=").filter(|_| is_published),
        submission_host: text("SubmissionHost"),
        requested_runtime_environments: texts("RequestedApplicationEnvironment"),
        // A-REX publishes 0 for a job that runs, and for all jobs of a batch system that it cannot ask, such as SLURM.
        waiting_position: count("WaitingPosition").filter(|position| *position > 0),
        requested_slots: count("RequestedSlots"),
        requested_wall_time: period("RequestedTotalWallTime"),
        requested_cpu_time: period("RequestedTotalCPUTime"),
        used_wall_time: period("UsedTotalWallTime"),
        used_cpu_time: period("UsedTotalCPUTime"),
        used_memory: number("UsedMainMemory").map(ByteSize::mib),
        submission_time: time("SubmissionTime").or(created),
        start_time: time("StartTime"),
        // For a failed job A-REX publishes no EndTime, only the time when the job left the batch system.
        end_time: time("EndTime").or_else(|| time("ComputingManagerEndTime")),
        batch_end_time: time("ComputingManagerEndTime"),
        erase_time: time("WorkingAreaEraseTime"),
        proxy_expiration_time: time("ProxyExpirationTime"),
        ..JobInfo::new(JobId::from(id))
    }
}

pub(super) fn parse_time(text: &str) -> Option<SystemTime> {
    SystemTime::try_from(text.parse::<jiff::Timestamp>().ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::ArcState;

    /// A response of A-REX 6.17 about a failed job and one that its information provider has not seen.
    const RESPONSE: &str = r#"<jobs><job><status-code>200</status-code><reason>OK</reason><id>a1</id><info_document>
  <ComputingActivity xmlns="http://schemas.ogf.org/glue/2009/03/spec_2.0_r1" BaseType="Activity"
      CreationTime="2026-11-24T13:58:02Z" Validity="10800">
    <ID>urn:caid:localhost:org.nordugrid.arcrest:a1</ID>
    <Name>Ã&#x83;Â&#xa9; Ã¦Â&#x97;Â¥ &lt;&amp;&gt;</Name>
    <OtherInfo>SubmittedVia=org.nordugrid.arcrest</OtherInfo><Type>single</Type>
    <IDFromEndpoint>urn:idfe:a1</IDFromEndpoint><JobDescription>nordugrid:xrsl</JobDescription>
    <State>nordugrid:FAILED::INLRMS</State><State>file:inlrms</State><State>arcrest:FAILED</State>
    <State>emies:terminal</State><RestartState>nordugrid:INLRMS</RestartState>
    <RestartState>arcrest:OTHER</RestartState><ExitCode>3</ExitCode>
    <ComputingManagerExitCode>256</ComputingManagerExitCode>
    <Error>LRMS error: (3) Job finished with wrong exit code - 3 != 0</Error><Owner>/O=TestCA/CN=user</Owner>
    <LocalOwner>nobody</LocalOwner><RequestedTotalWallTime>1200</RequestedTotalWallTime>
    <RequestedApplicationEnvironment>ENV/PROXY</RequestedApplicationEnvironment><RequestedSlots>2</RequestedSlots>
    <StdIn>/dev/null</StdIn><StdOut>out</StdOut><LogDir>log</LogDir><ExecutionNode>vm</ExecutionNode>
    <Queue>fork</Queue><UsedMainMemory>3</UsedMainMemory><SubmissionTime>2026-11-24T13:57:25Z</SubmissionTime>
    <ComputingManagerEndTime>2026-11-24T13:57:29Z</ComputingManagerEndTime>
    <ProxyExpirationTime>2026-12-24T13:56:58Z</ProxyExpirationTime><SubmissionHost>127.0.0.1</SubmissionHost>
    <Associations><ComputingShareID>urn:ogf:ComputingShare:localhost:fork</ComputingShareID>
      <ActivityID>urn:other:x</ActivityID><ActivityID>urn:jasmin-arc:sweep%207</ActivityID></Associations>
  </ComputingActivity></info_document></job>
  <job><status-code>200</status-code><reason>OK</reason><id>b2</id><info_document>
  <ComputingActivity xmlns="http://schemas.ogf.org/glue/2009/03/spec_2.0_r1" BaseType="Activity"
      CreationTime="2026-11-24T13:59:00Z" Validity="60">
    <ID>urn:caid:localhost:b2</ID><OtherInfo>SubmittedVia=org.ogf.glue.emies.activitycreation</OtherInfo>
    <Type>single</Type><JobDescription>emies:adl</JobDescription><State>arcrest:ACCEPTING</State>
    <Owner>/O=Süd/CN=user</Owner></ComputingActivity></info_document></job>
  <job><status-code>404</status-code><reason>Job not found</reason><id>c3</id><info_document/></job></jobs>"#;

    #[test]
    fn every_element_that_a_ce_publishes_is_read() {
        let items = parse(RESPONSE.as_bytes()).unwrap();
        let at = |text: &str| parse_time(text);
        let expected = JobInfo {
            published_at: at("2026-11-24T13:58:02Z"),
            published_states: ["nordugrid:FAILED::INLRMS", "file:inlrms", "arcrest:FAILED", "emies:terminal"]
                .map(Into::into)
                .into(),
            key: Some("sweep 7".into()),
            name: Some("é 日 <&>".into()),
            owner: Some("/O=TestCA/CN=user".into()),
            local_owner: Some("nobody".into()),
            queue: Some("fork".into()),
            exit_code: Some(3),
            batch_exit_code: Some(256),
            failed_stage: Some("INLRMS".into()),
            errors: vec!["LRMS error: (3) Job finished with wrong exit code - 3 != 0".into()],
            execution_nodes: vec!["vm".into()],
            stdin: Some("/dev/null".into()),
            stdout: Some("out".into()),
            log_directory: Some("log".into()),
            description_language: Some("nordugrid:xrsl".into()),
            submission_interface: Some("org.nordugrid.arcrest".into()),
            submission_host: Some("127.0.0.1".into()),
            requested_runtime_environments: vec!["ENV/PROXY".into()],
            requested_slots: Some(2),
            requested_wall_time: Some(Duration::from_secs(1200)),
            used_memory: Some(ByteSize::mib(3)),
            submission_time: at("2026-11-24T13:57:25Z"),
            end_time: at("2026-11-24T13:57:29Z"),
            batch_end_time: at("2026-11-24T13:57:29Z"),
            proxy_expiration_time: at("2026-12-24T13:56:58Z"),
            ..JobInfo::new(JobId::from("a1"))
        };
        assert_eq!(items[0].info.as_deref(), Some(&expected));
        assert_eq!(items[0].state.arc_state(), ArcState::Failed);
    }

    #[test]
    fn jobs_that_are_not_published_yet_have_their_submission_time() {
        let items = parse(RESPONSE.as_bytes()).unwrap();
        let expected = JobInfo {
            owner: Some("/O=Süd/CN=user".into()),
            submission_time: parse_time("2026-11-24T13:59:00Z"),
            ..JobInfo::new(JobId::from("b2"))
        };
        assert_eq!(items[1].info.as_deref(), Some(&expected));
        assert!(items[2].info.is_none() && items[2].code == 404);
    }

    #[test]
    fn only_texts_that_were_encoded_twice_are_repaired() {
        let encoded = |text: &str| text.bytes().map(char::from).collect::<String>();
        for name in ["plain", "é ñ 日本 😀", "Ã©"] {
            assert_eq!(repaired(&encoded(&encoded(name))), name);
            assert_eq!(repaired(name), name);
        }
    }
}
