//! Submits the jobs that files in JSDL, ADL or xRSL describe, in one call, and waits until all have ended.
//!
//! Usage: `cargo run --example submit FILE...`. The configuration is the file that `JASMIN_ARC_CONFIG` names.

use std::collections::HashMap;
use std::env;
use std::path::PathBuf;

use anyhow::{Context, ensure};
use jasmin_arc::{ArcInterface, JobDescription, JobId, JobStatus};

fn main() -> anyhow::Result<()> {
    let files: Vec<PathBuf> = env::args_os().skip(1).map(PathBuf::from).collect();
    ensure!(!files.is_empty(), "name files with job descriptions as arguments");
    let config = env::var_os("JASMIN_ARC_CONFIG").context("name a configuration file in JASMIN_ARC_CONFIG")?;
    let arc = ArcInterface::from_file(config)?;

    let mut jobs = Vec::new();
    for file in &files {
        // An xRSL file can describe several jobs.
        for job in JobDescription::all_from_file(file)? {
            let named = !job.name().is_empty();
            jobs.push(if named { job } else { job.with_name(file.display().to_string()) });
        }
    }

    let mut failures = 0;
    let mut running: Vec<(&str, JobId)> = Vec::new();
    for (job, submitted) in jobs.iter().zip(arc.submit_jobs(&jobs)?) {
        match submitted {
            Ok(id) => {
                println!("{}: submitted as {id}", job.name());
                running.push((job.name(), id));
            }
            Err(error) => {
                eprintln!("{}: {:#}", job.name(), anyhow::Error::from(error));
                failures += 1;
            }
        }
    }

    let names: HashMap<&JobId, &str> = running.iter().map(|(name, id)| (id, *name)).collect();
    for change in arc.watch(names.keys().copied()) {
        let change = change?;
        if !change.to.is_final() {
            continue;
        }
        let name = names[&change.id];
        if change.status().is_none() {
            eprintln!("{name}: the CE no longer has the job");
            failures += 1;
            continue;
        }
        let job = arc.job(&change.id)?;
        let code = job.exit_code.map_or_else(|| "unknown".to_owned(), |code| code.to_string());
        println!("{name}: {}, exit code {code}", job.status());
        if let Some(reason) = job.failure_reason() {
            eprintln!("{name}: {reason}");
        }
        failures += usize::from(job.status() != JobStatus::Completed);
    }
    ensure!(failures == 0, "{failures} of {} jobs failed", jobs.len());
    Ok(())
}
