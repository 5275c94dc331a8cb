//! Submits a job, waits until it ends, and prints its standard output.
//!
//! Usage: `cargo run --example basic [CONFIG]`. CONFIG is a configuration file. The default is the file that
//! `JASMIN_ARC_CONFIG` names.

use std::env;
use std::fs;

use anyhow::{Context, bail};
use jasmin_arc::ArcInterface;

fn main() -> anyhow::Result<()> {
    let config = env::args_os().nth(1).or_else(|| env::var_os("JASMIN_ARC_CONFIG"));
    let config = config.context("name a configuration file as the first argument or in JASMIN_ARC_CONFIG")?;
    let arc = ArcInterface::from_file(config)?;

    let id = arc.submit_job("/bin/bash", &["-c", "echo \"This job is running on $(/bin/hostname)\""], &[])?;
    println!("Submitted {id}");

    let status = arc.wait_job(&id)?;
    println!("The job's status is {status}");
    if let Some(reason) = arc.job(&id)?.failure_reason() {
        bail!("{reason}");
    }

    let directory = arc.save_job_outputs(&id)?.context("the job has no outputs")?;
    println!("Saved the outputs in {}", directory.display());
    println!("The standard output was:");
    print!("{}", fs::read_to_string(directory.join("stdout.txt"))?);
    Ok(())
}
