//! Reads the files that A-REX keeps about a job in its control directory (`diagnose/...`).

use std::collections::HashSet;
use std::time::Duration;

use super::session::{Pool, Repeat};
use super::state::RestState;
use crate::backend::Inputs;
use crate::backend::failure::{Failure, JobFailure};
use crate::job::diagnostics::escaped_words;
use crate::util::xml::Element;

/// The maximum number of reads of a file that A-REX may be rewriting.
pub(super) const ATTEMPTS: u32 = 5;

/// The pause between two attempts.
pub(super) const PAUSE: Duration = Duration::from_millis(50);

/// The part of A-REX's file `local` that identifies a job.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct LocalRecord {
    pub(super) name: String,
    /// The job's `ActivityOldID`s.
    pub(super) identifiers: Vec<String>,
}

impl LocalRecord {
    /// Reads the file. Returns `None` if it is not complete.
    ///
    /// A-REX rewrites the file in place while the job runs (`KeyValueFile`), and `dryrun` is the last line
    /// (`JobLocalDescription::write`, 6.17 and 7.0).
    pub(super) fn parse(text: &str) -> Option<LocalRecord> {
        let mut record = LocalRecord::default();
        let mut is_complete = false;
        for line in text.split_inclusive('\n') {
            let Some((name, value)) = line.strip_suffix('\n')?.split_once('=') else { continue };
            match name {
                "jobname" => record.name = value.into(),
                "activityid" => record.identifiers.push(value.into()),
                "dryrun" => is_complete = true,
                _ => {}
            }
        }
        is_complete.then_some(record)
    }

    /// Reads the name and the identifiers in a description in ADL. `None` if it is not one.
    pub(super) fn from_adl(text: &str) -> Option<LocalRecord> {
        let description = Element::parse(text).ok().filter(|root| root.name == "ActivityDescription")?;
        let identification = description.get("ActivityIdentification");
        let identifiers = identification.into_iter().flat_map(|identification| identification.all("ActivityOldID"));
        Some(LocalRecord {
            name: identification.and_then(|identification| identification.text_of("Name")).unwrap_or_default().into(),
            identifiers: identifiers.map(|identifier| identifier.text.trim().to_owned()).collect(),
        })
    }
}

/// Returns the content of a job's file in A-REX's control directory, or `None` if the job has no such file.
pub(super) fn diagnose(pool: &Pool, id: &str, file: &str) -> Result<Option<String>, Failure> {
    let response = pool.request(Repeat::Safe, "GET", &format!("jobs/{id}/diagnose/{file}"), b"")?;
    match response.code {
        200 => Ok(Some(String::from_utf8_lossy(&response.body).into_owned())),
        404 => Ok(None),
        _ => Err(response.refusal()),
    }
}

/// Reads the name and the identifiers of a job. Returns `None` if the job does not exist.
///
/// They are in the file `local` too, but A-REX rewrites it in place (`KeyValueFile`). Its web service maps the files that it
/// sends into memory, and a file that is truncated meanwhile ends the web service with SIGBUS (seen with 6.17). The
/// description is written once, before the job is listed. So `local` is read only for a job in another language than ADL.
pub(super) fn local_record(pool: &Pool, id: &str) -> Result<Option<LocalRecord>, Failure> {
    let Some(text) = diagnose(pool, id, "description")? else { return Ok(None) };
    if let Some(record) = LocalRecord::from_adl(&text) {
        return Ok(Some(record));
    }
    for attempt in 0..ATTEMPTS {
        pool.limits().sleep(PAUSE * attempt)?;
        let Some(text) = diagnose(pool, id, "local")? else { return Ok(None) };
        if let Some(record) = LocalRecord::parse(&text) {
            return Ok(Some(record));
        }
    }
    Err(Failure::invalid_response(format!("A-REX's record of job {id} is incomplete")))
}

/// The input files that a job still waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum MissingInputs {
    /// The job does not exist.
    NoJob,
    /// A-REX has not read the description yet, so it has no list of input files. Holds the names of the files uploaded so far.
    NotRead(Vec<String>),
    Files(Vec<String>),
}

/// Whether a job has its input files, and those that it waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum InputState {
    Waiting(MissingInputs),
    Known(Inputs),
}

/// Determines whether a job has its input files. Repeats the look-up while A-REX moves the job between directories.
pub(super) fn input_state(pool: &Pool, id: &str) -> Result<InputState, JobFailure> {
    for attempt in 0..ATTEMPTS {
        pool.limits().sleep(PAUSE * attempt).map_err(Failure::from)?;
        let Some(status) = diagnose(pool, id, "status")? else { continue };
        let failed = match status.trim() {
            "FINISHED" | "FINISHING" => diagnose(pool, id, "failed")?,
            _ => None,
        };
        let state = RestState::from_record(&status, || Ok::<_, Failure>(failed.clone()))?;
        let Some(state) = state.filter(|state| !state.is_unsettled()) else { continue };
        match missing_inputs(pool, id)? {
            MissingInputs::NoJob => {}
            missing => return Ok(state_of_inputs(&state, &failed.unwrap_or_default(), missing)),
        }
    }
    Err(JobFailure::NotFound)
}

/// Derives the state of the inputs from A-REX's records. `failed` is A-REX's reason for the failure.
///
/// A file counts as uploaded even if it comes after A-REX has given up waiting, so the reason for the failure decides
/// (`DTRGenerator::checkUploadedFiles`).
fn state_of_inputs(state: &RestState, failed: &str, missing: MissingInputs) -> InputState {
    let waits = match &missing {
        MissingInputs::Files(names) => !names.is_empty(),
        MissingInputs::NotRead(_) | MissingInputs::NoJob => true,
    };
    let gave_up = failed.lines().any(|line| line.contains("User file: "));
    let is_cancelled = matches!(state, RestState::Killed | RestState::Killing)
        || RestState::failed_because(failed) == RestState::Killed;
    let ends = state.is_final() || matches!(state, RestState::Killing | RestState::Finishing);
    InputState::Known(match (ends, waits) {
        (false, true) => return InputState::Waiting(missing),
        (true, true) => Inputs::NeverRan,
        _ if gave_up => Inputs::NeverRan,
        _ if is_cancelled => Inputs::Cancelled,
        _ => Inputs::Complete { has_ended: state.is_final() },
    })
}

/// Looks up the input files that a job still waits for. A-REX writes the list after it has created the job, when it
/// accepts it.
pub(super) fn missing_inputs(pool: &Pool, id: &str) -> Result<MissingInputs, Failure> {
    let Some(inputs) = diagnose(pool, id, "input")? else {
        if local_record(pool, id)?.is_none() {
            return Ok(MissingInputs::NoJob);
        }
        let uploaded = diagnose(pool, id, "input_status")?.unwrap_or_default();
        let names = uploaded.lines().filter_map(|line| line.strip_prefix('/'));
        return Ok(MissingInputs::NotRead(names.map(str::to_owned).collect()));
    };
    let inputs = declared_uploads(&inputs);
    if inputs.is_empty() {
        return Ok(MissingInputs::Files(inputs));
    }
    let uploaded = diagnose(pool, id, "input_status")?.unwrap_or_default();
    Ok(MissingInputs::Files(without_uploaded(inputs, &uploaded)))
}

/// Reads A-REX's list of input files, and returns those that the client uploads: see `staging_list`.
pub(super) fn declared_uploads(list: &str) -> Vec<String> {
    let declared = |line: &str| {
        let mut words = escaped_words(line).into_iter();
        let name = words.next()?.trim_start_matches('/').to_owned();
        let content = words.next().unwrap_or_default();
        Some(name).filter(|name| !name.is_empty() && !content.contains(':') && content != "*.*")
    };
    list.lines().filter_map(declared).collect()
}

/// Removes the files that have been uploaded. A line `/` means that all have.
pub(super) fn without_uploaded(mut inputs: Vec<String>, uploaded: &str) -> Vec<String> {
    let done: HashSet<&str> = uploaded.lines().filter(|line| !line.is_empty()).collect();
    if done.contains("/") {
        return Vec::new();
    }
    inputs.retain(|name| !done.contains(format!("/{name}").as_str()));
    inputs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_read_only_if_they_are_complete() {
        let text = "globalid=x\njobname=a=b\nactivityid=urn:jasmin-arc:k\nactivityid=other\ndryrun=no\n";
        let expected = LocalRecord { name: "a=b".into(), identifiers: vec!["urn:jasmin-arc:k".into(), "other".into()] };
        assert_eq!(LocalRecord::parse(text), Some(expected));
        for length in 0..text.len() {
            assert_eq!(LocalRecord::parse(&text[..length]), None, "{length}");
        }
    }

    #[test]
    fn descriptions_have_names_and_identifiers() {
        let text = r#"<?xml version="1.0"?><ActivityDescription xmlns="http://www.eu-emi.eu/es/2010/12/adl"
            xmlns:nordugrid-adl="http://www.nordugrid.org/es/2011/12/nordugrid-adl"><ActivityIdentification>
            <Name>é &lt;1&gt;</Name><nordugrid-adl:ActivityOldID>urn:jasmin-arc:k</nordugrid-adl:ActivityOldID>
            </ActivityIdentification><Application/></ActivityDescription>"#;
        let expected = LocalRecord { name: "é <1>".into(), identifiers: vec!["urn:jasmin-arc:k".into()] };
        assert_eq!(LocalRecord::from_adl(text), Some(expected));
        assert_eq!(LocalRecord::from_adl("<ActivityDescription/>"), Some(LocalRecord::default()));
        for other in ["", "&(executable=a)", "<JobDefinition/>"] {
            assert_eq!(LocalRecord::from_adl(other), None, "{other}");
        }
    }

    #[test]
    fn a_job_that_ended_without_its_inputs_never_ran() {
        let files = |names: &[&str]| MissingInputs::Files(names.iter().map(|name| (*name).to_owned()).collect());
        let known =
            |state: &str, failed: &str, missing| match state_of_inputs(&RestState::parse(state), failed, missing) {
                InputState::Known(inputs) => Some(inputs),
                InputState::Waiting(_) => None,
            };
        let cancelled = "Job is canceled by external request";
        assert_eq!(known("PREPARING", "", files(&["a"])), None);
        assert_eq!(known("ACCEPTING", "", MissingInputs::NotRead(Vec::new())), None);
        for (state, failed) in [
            ("KILLING", ""),
            ("FINISHING", cancelled),
            ("KILLED", cancelled),
            ("FAILED", "User file: a - Timeout waiting"),
        ] {
            assert_eq!(known(state, failed, files(&["a"])), Some(Inputs::NeverRan), "{state}");
        }
        // The file came after A-REX had given up.
        assert_eq!(known("FAILED", "User file: a - Timeout waiting", files(&[])), Some(Inputs::NeverRan));
        assert_eq!(known("KILLED", cancelled, MissingInputs::NotRead(vec!["a".into()])), Some(Inputs::NeverRan));
        for (state, failed) in [("KILLED", cancelled), ("KILLING", ""), ("FINISHING", cancelled)] {
            assert_eq!(known(state, failed, files(&[])), Some(Inputs::Cancelled), "{state}");
        }
        for (state, has_ended) in [("RUNNING", false), ("FINISHING", false), ("FINISHED", true), ("FAILED", true)] {
            assert_eq!(known(state, "exit code 7", files(&[])), Some(Inputs::Complete { has_ended }), "{state}");
        }
    }

    #[test]
    fn missing_inputs_are_those_that_were_not_uploaded() {
        let list = "/data.bin\n/with\\ blank\\\\x 7\n/sub/a 5.123\n/fetched https://h:443/x\n/optional *.*\n\n";
        let declared = declared_uploads(list);
        assert_eq!(declared, ["data.bin", "with blank\\x", "sub/a"]);
        assert_eq!(without_uploaded(declared.clone(), "\n/data.bin\n/sub/a\n"), ["with blank\\x"]);
        assert_eq!(without_uploaded(declared.clone(), ""), declared);
        assert!(without_uploaded(declared, "\n/\n").is_empty());
    }
}
