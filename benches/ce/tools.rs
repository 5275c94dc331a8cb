//! ARC's command-line tools. They are slow, so the bench measures them with a few jobs and scales the time up.

use std::fs::{self, DirEntry};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use jasmin_arc::{JobDescription, JobId};

use crate::Outcome;
use crate::ce::{self, Ce};

/// Runs a tool with the crate's credentials and job list. Returns what it printed and the time it took.
fn run(ce: &Ce, tool: &str, arguments: &[&str]) -> Outcome<(String, Duration)> {
    let begun = Instant::now();
    let output = Command::new(tool)
        .arg("-j")
        .arg(ce.config.jobs_info_file())
        .args(arguments)
        // Without the user's own settings.
        .env("HOME", ce.files.path())
        .env("X509_USER_PROXY", ce.config.proxy_file())
        .env("X509_CERT_DIR", ce.config.certs_dir())
        .output()?;
    let time = begun.elapsed();
    if !output.status.success() {
        return Err(format!("{tool}: {}", String::from_utf8_lossy(&output.stderr)).into());
    }
    Ok((String::from_utf8(output.stdout)?, time))
}

fn with_ids<'a>(arguments: &[&'a str], ids: &'a [JobId]) -> Vec<&'a str> {
    arguments.iter().copied().chain(ids.iter().map(JobId::as_str)).collect()
}

/// Submits a job described in xRSL. Returns its id and the time.
pub(crate) fn submit_one(ce: &Ce, xrsl: &str) -> Outcome<(JobId, Duration)> {
    let service = ce.url.trim_end_matches("/rest/1.0");
    let (printed, time) = run(ce, "arcsub", &["-C", service, "-T", "arcrest", "-Q", "NONE", "-e", xrsl])?;
    let id = printed.split_whitespace().find(|word| word.starts_with("https://"));
    Ok((id.ok_or_else(|| format!("arcsub printed no id: {printed}"))?.into(), time))
}

/// Submits `count` jobs one by one, because arcsub with two descriptions submits none. Returns the total time.
pub(crate) fn submit(ce: &mut Ce, count: usize) -> Outcome<Duration> {
    let job = r#"&(executable="/bin/true")(stdout="stdout.txt")(stderr="stderr.txt")"#;
    let submitted: Vec<(JobId, Duration)> = (0..count).map(|_| submit_one(ce, job)).collect::<Outcome<_>>()?;
    let (ids, times): (Vec<JobId>, Vec<Duration>) = submitted.into_iter().unzip();
    ce.remove(&ids)?;
    Ok(times.iter().sum())
}

/// Returns the time of one arcstat for all jobs.
pub(crate) fn status(ce: &Ce, ids: &[JobId]) -> Outcome<Duration> {
    Ok(run(ce, "arcstat", &with_ids(&[], ids))?.1)
}

/// Whether arcstat reports that a job has ended.
pub(crate) fn has_ended(ce: &Ce, id: &JobId) -> Outcome<bool> {
    let (printed, _) = run(ce, "arcstat", &["-u", id.as_str()])?;
    Ok(["Finished", "Failed", "Killed"].iter().any(|state| printed.contains(&format!("State: {state}"))))
}

/// Submits `count` jobs and returns the time of one arckill for all.
pub(crate) fn cancel(ce: &mut Ce, count: usize) -> Outcome<Duration> {
    let job = JobDescription::new("/bin/sleep").with_arg("600");
    let ids = ce::all(ce.arc.submit_jobs(vec![job; count])?)?;
    let (_, time) = run(ce, "arckill", &with_ids(&["-k"], &ids))?;
    ce.remove(&ids)?;
    Ok(time)
}

/// Fetches the outputs of jobs, which have `files` files each. Returns the time.
pub(crate) fn fetch(ce: &mut Ce, ids: &[JobId], files: usize) -> Outcome<Duration> {
    ce.wait_until_published(ids)?;
    let directory = tempfile::tempdir_in(ce.files.path())?;
    let to = directory.path().to_str().ok_or("the path is not UTF-8")?;
    let (_, time) = run(ce, "arcget", &with_ids(&["-k", "-D", to], ids))?;
    assert_eq!(count_files(directory.path())?, files * ids.len(), "the number of files that arcget fetched");
    Ok(time)
}

/// The number of files below a directory.
fn count_files(directory: &Path) -> std::io::Result<usize> {
    let count = |entry: std::io::Result<DirEntry>| {
        let entry = entry?;
        if entry.file_type()?.is_dir() { count_files(&entry.path()) } else { Ok(1) }
    };
    fs::read_dir(directory)?.map(count).sum()
}
