//! Submits ten jobs, each exactly once, however often it is started and however it ended before.
//!
//! Usage: `cargo run --example keys [CONFIG [NAME]]`. CONFIG is a configuration file. The default is the file that
//! `JASMIN_ARC_CONFIG` names. NAME is part of the keys of the jobs: another name makes other jobs.
//!
//! Kill it at any moment and start it again: the CE has each job once.

use std::env;
use std::thread::sleep;
use std::time::Duration;

use anyhow::Context;
use jasmin_arc::{ArcInterface, Error, JobDescription};

fn main() -> anyhow::Result<()> {
    let config = env::args_os().nth(1).or_else(|| env::var_os("JASMIN_ARC_CONFIG"));
    let config = config.context("name a configuration file as the first argument or in JASMIN_ARC_CONFIG")?;
    let name = env::args().nth(2).unwrap_or_else(|| "example".into());
    let arc = ArcInterface::builder()
        .config_file(config)
        .on_created(|job| println!("{} is now {}", job.key, job.id))
        .build()?;

    for submission in arc.recover()? {
        println!("an earlier run left {}: {:?}", submission.key, submission.outcome);
    }

    let jobs: Vec<JobDescription> = (0..10)
        .map(|seed| {
            let key = format!("{name}, seed {seed}");
            JobDescription::new("/bin/echo").with_arg(format!("seed {seed}")).with_name(&key).with_key(&key)
        })
        .collect();
    loop {
        let results = arc.submit_jobs(&jobs)?;
        let is_unknown = |result: &Result<_, Error>| matches!(result, Err(Error::SubmissionUnknown { .. }));
        if results.iter().any(is_unknown) {
            println!("the CE may still create some of the jobs, asking again in ten seconds");
            sleep(Duration::from_secs(10));
            continue;
        }
        for (job, result) in jobs.iter().zip(results) {
            println!("{}: {}", job.name(), result?);
        }
        return Ok(());
    }
}
