//! Fetches files of jobs with a progress bar, and continues where an earlier call broke off.
//!
//! Usage: `cargo run --example fetch [JOB-ID...]`. Without ids, it submits three jobs, each with a file of 20 MB, and waits
//! for them. `JASMIN_ARC_CONFIG` names the configuration file.

use std::env;

use anyhow::Context;
use indicatif::{ProgressBar, ProgressStyle};
use jasmin_arc::{ArcInterface, ByteSize, Existing, JobDescription, JobId};

fn main() -> anyhow::Result<()> {
    let config = env::var_os("JASMIN_ARC_CONFIG").context("set JASMIN_ARC_CONFIG to a configuration file")?;
    let arc = ArcInterface::from_file(config)?;
    let mut jobs: Vec<JobId> = env::args().skip(1).map(JobId::from).collect();
    if jobs.is_empty() {
        jobs = submit(&arc)?;
    }

    let bar = ProgressBar::no_length();
    bar.set_style(ProgressStyle::with_template("{wide_bar} {bytes}/{total_bytes} {binary_bytes_per_sec} {msg}")?);
    let progress = bar.clone();
    let fetched = arc
        .fetch(&jobs)
        .files(["stdout.txt"])
        .matching(["output/*.dat"])
        .to("results")
        .existing(Existing::Resume)
        .max_bytes(ByteSize::gib(10))
        .on_progress(move |now| {
            progress.set_length(now.total_bytes);
            progress.set_position(now.bytes);
            progress.set_message(format!("{} of {} files", now.files, now.total_files));
        })
        .remove_when_complete()
        .run()?;
    bar.finish();

    for (id, job) in jobs.iter().zip(fetched) {
        match job {
            Ok(job) => println!("{}: {} files, {} skipped", job.directory.display(), job.files.len(), job.skipped),
            Err(error) => eprintln!("{id}: {error}"),
        }
    }
    Ok(())
}

fn submit(arc: &ArcInterface) -> anyhow::Result<Vec<JobId>> {
    let script = "mkdir output; head -c 20000000 /dev/urandom > output/data.dat; echo scratch > output/tmp";
    let job = JobDescription::new("/bin/sh").with_args(["-c", script]).with_output_file("output/");
    let job = job.with_stdout("stdout.txt");
    let jobs: Vec<JobId> = arc.submit_jobs(vec![job; 3])?.into_iter().collect::<Result<_, _>>()?;
    arc.wait_jobs(&jobs)?.into_iter().collect::<Result<Vec<_>, _>>()?;
    Ok(jobs)
}
