//! Submits the jobs that are described in files, in JSDL, ADL or xRSL, all in one call, and watches them to the end.
//!
//! Run it with `cargo run --example submit FILE...`. The configuration is the file that `JASMIN_ARC_CONFIG` names, or all
//! defaults.

use std::error::Error;
use std::path::PathBuf;
use std::thread::sleep;
use std::time::Duration;

use jasmin_arc::{ArcInterface, JobDescription, JobId, JobStatus};

fn main() -> Result<(), Box<dyn Error>> {
    let files: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    if files.is_empty() {
        return Err("usage: submit FILE...".into());
    }
    let config = std::env::var_os("JASMIN_ARC_CONFIG").ok_or("set JASMIN_ARC_CONFIG to a configuration file")?;
    let arc = ArcInterface::from_file(config)?;

    let mut failures = 0;
    let mut jobs = Vec::new();
    for file in &files {
        // One file of xRSL can describe several jobs.
        match JobDescription::all_from_file(file) {
            Ok(described) => jobs.extend(described.into_iter().map(|job| match job.name() {
                "" => job.with_name(file.display().to_string()),
                _ => job,
            })),
            Err(error) => {
                eprintln!("{error}");
                failures += 1;
            }
        }
    }

    let mut running: Vec<(&str, JobId)> = Vec::new();
    for (job, submitted) in jobs.iter().zip(arc.submit_jobs(&jobs)?) {
        match submitted {
            Ok(id) => {
                println!("{} is {id}", job.name());
                running.push((job.name(), id));
            }
            Err(error) => {
                eprintln!("{} was not submitted: {error}", job.name());
                failures += 1;
            }
        }
    }

    while !running.is_empty() {
        sleep(Duration::from_secs(1));
        let ids: Vec<JobId> = running.iter().map(|(_, id)| id.clone()).collect();
        let mut statuses = arc.job_statuses(&ids)?.into_iter().collect::<Result<Vec<JobStatus>, _>>()?.into_iter();
        let (ended, others): (Vec<_>, Vec<_>) =
            running.into_iter().partition(|_| statuses.next().is_some_and(JobStatus::is_final));
        running = others;
        for (name, id) in ended {
            let job = arc.job(&id)?;
            let code = job.exit_code.map_or("none".to_owned(), |code| code.to_string());
            println!("{name}: {}, exit code {code} ({id})", job.status());
            for error in &job.errors {
                eprintln!("{name}: {error}");
            }
            failures += usize::from(job.status() != JobStatus::Completed);
        }
    }
    if failures == 0 { Ok(()) } else { Err(format!("{failures} failed").into()) }
}
