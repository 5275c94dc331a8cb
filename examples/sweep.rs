//! Runs one job for each line of a file, fetches the result of each, runs failed jobs once more, and prints a table.
//!
//! Usage: `cargo run --example sweep PARAMETERS [CONFIG]`. PARAMETERS is a file with one set of parameters per line. CONFIG is
//! a configuration file. The default is the file that `JASMIN_ARC_CONFIG` names. The results are in `sweep-results/`.
//!
//! Kill it at any moment and start it again: it continues with the jobs that it has submitted.

use std::env;
use std::fs;
use std::ops::ControlFlow;
use std::path::Path;

use anyhow::{Context, ensure};
use indicatif::{ProgressBar, ProgressStyle};
use jasmin_arc::{ArcInterface, Existing, JobDescription, JobId, JobStatus, WatchReport};

const RESULTS: &str = "sweep-results";

/// The model: it fails if its parameters are `fail`.
const MODEL: &str =
    r#"sleep 2; [ "$*" != fail ] && { echo "scratch" > scratch.dat; echo "$(( $1 * $1 ))" > result.txt; }"#;

fn main() -> anyhow::Result<()> {
    let parameters = env::args().nth(1).context("name a file with one set of parameters per line")?;
    let config = env::args_os().nth(2).or_else(|| env::var_os("JASMIN_ARC_CONFIG"));
    let arc = ArcInterface::from_file(config.context("name a configuration file, or set JASMIN_ARC_CONFIG")?)?;
    let text = fs::read_to_string(&parameters).with_context(|| format!("cannot read {parameters}"))?;
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    ensure!(!lines.is_empty(), "{parameters} has no parameters");
    let name = fs::canonicalize(&parameters)?.display().to_string();

    let mut results: Vec<Option<String>> = vec![None; lines.len()];
    let mut failures: Vec<String> = vec![String::new(); lines.len()];
    for attempt in 1..=2 {
        let rest: Vec<usize> = (0..lines.len()).filter(|line| results[*line].is_none()).collect();
        if rest.is_empty() {
            break;
        }
        // The key makes each job exist once, however often the program is started.
        let jobs = rest.iter().map(|line| job(lines[*line], &format!("{name}, line {line}, attempt {attempt}")));
        let submitted = arc.submit_jobs(jobs)?.into_iter().collect::<Result<Vec<JobId>, _>>()?;
        let report = wait(&arc, &submitted, attempt)?;

        let fetched = arc
            .fetch(&submitted)
            .files(["result.txt"])
            .to(RESULTS)
            .named(|job, _| format!("{}.txt", job.local_id()).into())
            .existing(Existing::Resume)
            .run()?;
        for ((line, job), fetched) in rest.into_iter().zip(&report.jobs).zip(fetched) {
            match (job.status(), fetched) {
                (Some(JobStatus::Completed), Ok(fetched)) if fetched.is_complete() => {
                    let path = Path::new(RESULTS).join(format!("{}.txt", job.id.local_id()));
                    results[line] = Some(fs::read_to_string(path)?.trim().to_owned());
                }
                (Some(JobStatus::Completed), Err(error)) => failures[line] = error.to_string(),
                (None, _) => failures[line] = job.to_string(),
                _ => {
                    let reason = arc.job(&job.id)?.failure_reason();
                    failures[line] = reason.map_or_else(|| "it has no result".into(), |reason| reason.to_string());
                }
            }
        }
    }

    println!("{:<20} result", "parameters");
    for ((line, result), failure) in lines.iter().zip(&results).zip(&failures) {
        match result {
            Some(result) => println!("{line:<20} {result}"),
            None => println!("{line:<20} failed twice: {failure}"),
        }
    }
    Ok(())
}

fn job(parameters: &str, key: &str) -> JobDescription {
    JobDescription::new("/bin/sh")
        .with_args(["-c", MODEL, "model"])
        .with_args(parameters.split_whitespace())
        .with_name(format!("sweep {parameters}"))
        .with_key(key)
        .with_output_file("result.txt")
}

/// Waits until all jobs have ended, with a bar.
fn wait(arc: &ArcInterface, jobs: &[JobId], attempt: u32) -> anyhow::Result<WatchReport> {
    let bar = ProgressBar::new(jobs.len() as u64);
    bar.set_style(ProgressStyle::with_template(
        "attempt {prefix} {bar:40.cyan/blue} {pos}/{len} jobs have ended, {elapsed} {msg}",
    )?);
    bar.set_prefix(attempt.to_string());
    let report = arc
        .watch(jobs)
        .on_poll(|poll| {
            bar.set_position((poll.jobs - poll.pending) as u64);
            bar.set_message(poll.error.clone().unwrap_or_default());
            ControlFlow::Continue(())
        })
        .wait()?;
    bar.finish();
    Ok(report)
}
