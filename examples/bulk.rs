//! Submits many jobs in one call, waits until all have ended, saves their outputs, and removes the jobs from the CE.
//!
//! Usage: `cargo run --example bulk [CONFIG [NUMBER]]`. CONFIG is a configuration file. The default is the file that
//! `JASMIN_ARC_CONFIG` names. NUMBER is the number of jobs, 20 by default.

use std::env;
use std::fs;
use std::ops::ControlFlow;
use std::time::Instant;

use anyhow::{Context, ensure};
use indicatif::{ProgressBar, ProgressStyle};
use jasmin_arc::{ArcInterface, JobDescription, JobId};

fn main() -> anyhow::Result<()> {
    let config = env::args_os().nth(1).or_else(|| env::var_os("JASMIN_ARC_CONFIG"));
    let config = config.context("name a configuration file as the first argument or in JASMIN_ARC_CONFIG")?;
    let number: usize = match env::args().nth(2) {
        Some(number) => number.parse().with_context(|| format!("{number} is not a number of jobs"))?,
        None => 20,
    };
    let arc = ArcInterface::from_file(config)?;
    let begun = Instant::now();

    let jobs: Vec<JobDescription> = (0..number)
        .map(|n| JobDescription::new("/bin/echo").with_name(format!("bulk {n}")).with_arg(format!("hello from {n}")))
        .collect();
    let ids: Vec<JobId> = arc.submit_jobs(&jobs)?.into_iter().collect::<Result<_, _>>()?;
    println!("{:6.2} s: submitted {} jobs", begun.elapsed().as_secs_f64(), ids.len());

    let bar = ProgressBar::new(ids.len() as u64).with_message("jobs have ended");
    bar.set_style(ProgressStyle::with_template("{elapsed:>8} {wide_bar} {pos} of {len} {msg}")?);
    let report = arc
        .watch(&ids)
        .on_change(|change| {
            bar.inc(u64::from(change.to.is_final()));
            ControlFlow::Continue(())
        })
        .wait()?;
    bar.finish_and_clear();
    println!("{:6.2} s: {} jobs have ended", begun.elapsed().as_secs_f64(), report.reached().count());

    let directory = tempfile::tempdir()?;
    let saved = arc.save_jobs_outputs_to(&ids, directory.path())?;
    for (n, saved) in saved.into_iter().enumerate() {
        let outputs = saved?.with_context(|| format!("job {n} has no outputs"))?;
        let text = fs::read_to_string(outputs.join("stdout.txt"))?;
        ensure!(text == format!("hello from {n}\n"), "job {n} printed {text:?}");
    }
    println!("{:6.2} s: fetched the expected output of each job", begun.elapsed().as_secs_f64());

    arc.clean_jobs(&ids)?.into_iter().collect::<Result<Vec<_>, _>>()?;
    println!("{:6.2} s: removed the jobs from the CE", begun.elapsed().as_secs_f64());
    Ok(())
}
