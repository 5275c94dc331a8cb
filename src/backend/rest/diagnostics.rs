//! Reads what A-REX keeps about a job, in parts of bounded size.

use std::collections::BTreeMap;

use super::jobs::act;
use super::record::{ATTEMPTS, PAUSE, diagnose};
use super::session::Pool;
use crate::backend::failure::{Failure, JobFailure};
use crate::error::Operation;
use crate::job::diagnostics::staging_list;
use crate::job::failure::{exceeds_memory, failed_transfer, may_have_exceeded_memory, staging_files, url_in};
use crate::job::{DiagnosticPart, DiagnosticText, JobInfo};
use crate::util::names::Named;
use crate::util::uri::{Url, arc_url};

/// The longest beginning of a part, and the longest end, in bytes.
const HALF: u64 = 512 << 10;

/// The information provider publishes this number of bytes of A-REX's reasons for a failure (`GMJobsInfo.pm`).
const PUBLISHED_BYTES: usize = 1024;

/// Reads a part. `None` if A-REX does not have it.
///
/// A-REX sends a file of its control directory as large as it was when it was opened. It replaces these files or appends to
/// them, except `local`: see `local_record`.
fn read(pool: &Pool, id: &str, part: DiagnosticPart) -> Result<Option<DiagnosticText>, Failure> {
    let path = format!("jobs/{id}/diagnose/{part}");
    let first = pool.read_range(&path, 0, HALF)?;
    match first.code {
        200 | 206 => {}
        404 => return Ok(None),
        // A-REX knows no range of an empty file.
        416 => return Ok(Some(DiagnosticText::default())),
        _ => return Err(first.refusal()),
    }
    let beginning = first.body.len() as u64;
    let size = first.total.unwrap_or(beginning).max(beginning);
    let from = size.saturating_sub(HALF).max(beginning);
    let left_out = from - beginning;
    let mut end = Vec::new();
    if from < size {
        let last = pool.read_range(&path, from, size - from)?;
        if !matches!(last.code, 200 | 206) {
            return Err(last.refusal());
        }
        end = last.body;
    }
    Ok(Some(DiagnosticText { text: joined(first.body, left_out, &end), size, left_out }))
}

/// The text of a part. A character that is partly in the beginning and partly in the end is kept.
fn joined(mut beginning: Vec<u8>, left_out: u64, end: &[u8]) -> String {
    if left_out > 0 {
        beginning.extend(format!("\n[... {left_out} bytes left out ...]\n").into_bytes());
    }
    beginning.extend(end);
    String::from_utf8_lossy(&beginning).into_owned()
}

/// Reads the part `status`. While A-REX moves the file between its directories, it has none for a moment.
fn status(pool: &Pool, id: &str) -> Result<Option<DiagnosticText>, JobFailure> {
    for attempt in 0..ATTEMPTS {
        pool.limits().sleep(PAUSE * attempt).map_err(Failure::from)?;
        if let Some(status) = read(pool, id, DiagnosticPart::Status)? {
            return Ok(Some(status));
        }
    }
    match act(pool, "status", &[id])?.pop() {
        Some(Ok(item)) if item.code == 200 => Ok(None),
        Some(Ok(item)) => Err(item.failure(Operation::LookUp)),
        Some(Err(failure)) => Err(failure.into()),
        None => Err(Failure::invalid_response("the response leaves out the job").into()),
    }
}

/// Reads all parts that A-REX has of a job, except `local` of a job that has not ended.
pub(super) fn parts(pool: &Pool, id: &str) -> Result<BTreeMap<DiagnosticPart, DiagnosticText>, JobFailure> {
    let status = status(pool, id)?;
    let has_ended = status.as_ref().is_some_and(|status| matches!(status.text.trim(), "FINISHED" | "DELETED"));
    let is_wanted = |part: &DiagnosticPart| match part {
        DiagnosticPart::Status => false,
        DiagnosticPart::Local => has_ended,
        _ => true,
    };
    let wanted: Vec<DiagnosticPart> = DiagnosticPart::ALL.iter().copied().filter(is_wanted).collect();
    let texts = pool.in_parallel(&wanted, |part| read(pool, id, *part));
    let mut parts = BTreeMap::new();
    parts.extend(status.map(|status| (DiagnosticPart::Status, status)));
    for (part, text) in wanted.into_iter().zip(texts) {
        parts.extend(text?.map(|text| (part, text)));
    }
    Ok(parts)
}

/// The file with the names of the files whose transfer failed, if a failed job has any and A-REX's texts do not name them all.
fn list_of_failed_files(job: &JobInfo) -> Option<&'static str> {
    let is_output = failed_transfer(job)?;
    let is_complete = staging_files(job).len() == job.errors.len() && !may_be_cut(job);
    (!is_complete).then_some(if is_output { "output" } else { "input" })
}

fn may_be_cut(job: &JobInfo) -> bool {
    job.errors.iter().map(|text| text.len() + 1).sum::<usize>() + 2 >= PUBLISHED_BYTES
}

/// The names of the files whose transfer failed. `list` has the files that A-REX has not transferred.
///
/// A-REX cancels the other downloads when one fails, and goes on with the other uploads (`DTRGenerator::processReceivedDTR`).
fn failed_files(job: &JobInfo, list: &str, are_outputs: bool) -> Vec<String> {
    let remaining = || staging_list(list).into_iter().filter_map(|(name, url)| Some((name, url?)));
    let failed: Vec<String> = job.errors.iter().filter_map(|text| canonical(url_in(text)?)).collect();
    let has_failed = |url: &str| {
        let Some(url) = canonical(url) else { return false };
        // The URL of a directory is followed by the name of a file in it.
        failed
            .iter()
            .any(|failed| failed.strip_prefix(&url).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')))
    };
    let mut names = staging_files(job);
    names.extend(remaining().filter(|(_, url)| has_failed(url)).map(|(name, _)| name));
    let is_guess = names.is_empty() || are_outputs && may_be_cut(job);
    if is_guess && (are_outputs || remaining().count() == 1) {
        names = remaining().map(|(name, _)| name).collect();
    }
    names.sort();
    names.dedup();
    names
}

/// A URL as ARC prints it, without options.
fn canonical(url: &str) -> Option<String> {
    let url = arc_url(url, [])?;
    Some(Url::split(&url)?.with_options::<&str>([]).trim_end_matches('/').to_owned())
}

/// Looks up whether jobs that were killed for a reason that A-REX does not publish used too much memory, with one or two
/// requests for each such job. A look-up that fails leaves the reason out.
pub(super) fn look_up_killers<'a>(pool: &Pool, jobs: impl Iterator<Item = &'a mut JobInfo>) {
    let killed: Vec<&mut JobInfo> = jobs.filter(|job| may_have_exceeded_memory(job)).collect();
    let ids: Vec<String> = killed.iter().map(|job| job.id.to_string()).collect();
    let logs = pool.in_parallel(&ids, |id| read(pool, id, DiagnosticPart::Errors));
    for (job, log) in killed.into_iter().zip(logs) {
        let Ok(Some(log)) = log else { continue };
        job.errors.extend(log.text.lines().find(|line| exceeds_memory(line)).map(|line| line.trim().to_owned()));
    }
}

/// Looks up the names of the files whose transfers made jobs fail, with up to one request for each such job. A look-up that
/// fails leaves the names out.
pub(super) fn look_up_failed_files<'a>(pool: &Pool, jobs: impl Iterator<Item = &'a mut JobInfo>) {
    let (mut asked, mut lists) = (Vec::new(), Vec::new());
    for job in jobs {
        match list_of_failed_files(job) {
            Some(list) => {
                lists.push((job.id.to_string(), list));
                asked.push(job);
            }
            None => job.failed_files = if failed_transfer(job).is_some() { staging_files(job) } else { Vec::new() },
        }
    }
    let found = pool.in_parallel(&lists, |(id, list)| diagnose(pool, id, list));
    for ((job, (_, list)), text) in asked.into_iter().zip(&lists).zip(found) {
        let text = text.ok().flatten().unwrap_or_default();
        job.failed_files = failed_files(job, &text, *list == "output");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::ArcState;

    fn failed(errors: &[&str]) -> JobInfo {
        let errors = errors.iter().map(|text| (*text).into()).collect();
        JobInfo { state: ArcState::Failed, errors, ..JobInfo::new("a1".into()) }
    }

    #[test]
    fn inputs_that_could_not_be_fetched_are_found_by_their_urls() {
        let list = "/data/a http://host/a;cache=no /cred\n/b\\ c http://host:80/b /cred\n/own 7.12\n";
        let job = failed(&["Failed in data staging: Failed checking source replica http://host:80/b: gone"]);
        assert_eq!(list_of_failed_files(&job), Some("input"));
        assert_eq!(failed_files(&job, list, false), ["b c"]);
        let unnamed = failed(&["Failed in data staging: Transfer timed out"]);
        assert!(failed_files(&unnamed, list, false).is_empty(), "one of two has failed");
        assert_eq!(failed_files(&unnamed, "/a http://host/a /cred\n/own 7\n", false), ["a"]);
        assert!(failed_files(&job, "", false).is_empty());
    }

    #[test]
    fn outputs_that_could_not_be_saved_are_found() {
        let list = "/res http://host:1/res /cred\n/dir/ http://host:1/d /cred\n/out\n";
        let writing = "Failed in data staging: Failed writing to destination: http://host:1/d/x : Forbidden";
        assert_eq!(list_of_failed_files(&failed(&[writing])), Some("output"));
        assert_eq!(failed_files(&failed(&[writing]), list, true), ["dir/"]);
        let long = format!("{writing}{}", " again".repeat(200));
        assert_eq!(failed_files(&failed(&[&long]), list, true), ["dir/", "res"], "the texts may be cut");
        let missing = "Failed in data staging: Failed checking source replica file:/session/a1/res: No such file";
        assert_eq!(list_of_failed_files(&failed(&[missing])), None);
    }

    #[test]
    fn characters_survive_a_cut_that_leaves_nothing_out() {
        let text = "aéb".as_bytes();
        for cut in 0..=text.len() {
            assert_eq!(joined(text[..cut].to_vec(), 0, &text[cut..]), "aéb", "{cut}");
        }
        assert_eq!(joined(b"a".to_vec(), 7, b"b\xff"), "a\n[... 7 bytes left out ...]\nb\u{fffd}");
    }

    #[test]
    fn other_failures_need_no_look_up() {
        for text in ["LRMS error: (7) Job failed", "Job submission to LRMS failed", "User file: /a - Timeout waiting"] {
            assert_eq!(list_of_failed_files(&failed(&[text])), None, "{text}");
        }
        let finished = JobInfo { state: ArcState::Finished, ..failed(&["Failed in data staging: x"]) };
        assert_eq!(list_of_failed_files(&finished), None);
    }
}
