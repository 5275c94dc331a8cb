//! Submits a job with two local input files and prints its standard output.
//!
//! Usage: `cargo run --example input_files [CONFIG]`. CONFIG is a configuration file. The default is the file that
//! `JASMIN_ARC_CONFIG` names.

use std::env;
use std::fs;

use anyhow::{Context, bail};
use jasmin_arc::ArcInterface;

fn main() -> anyhow::Result<()> {
    let config = env::args_os().nth(1).or_else(|| env::var_os("JASMIN_ARC_CONFIG"));
    let config = config.context("name a configuration file as the first argument or in JASMIN_ARC_CONFIG")?;
    let arc = ArcInterface::from_file(config)?;

    let directory = tempfile::tempdir()?;
    let (f1, f2) = (directory.path().join("f1.txt"), directory.path().join("f2.txt"));
    fs::write(&f1, "This is file 1... ")?;
    fs::write(&f2, "And this is file 2\n")?;

    // The job finds the files in its working directory, under their base names. The pattern `*.txt` would include
    // stdout.txt, which the job is writing.
    let id = arc.submit_job("/bin/bash", &["-c", "cat f?.txt"], &[&f1, &f2])?;
    println!("Submitted {id}");
    // `submit` has uploaded the files, so the local ones can be removed.
    directory.close()?;

    arc.wait_job(&id)?;
    if let Some(reason) = arc.job(&id)?.failure_reason() {
        bail!("{reason}");
    }

    let outputs = arc.save_job_outputs(&id)?.context("the job has no outputs")?;
    print!("{}", fs::read_to_string(outputs.join("stdout.txt"))?);
    fs::remove_dir_all(outputs)?;
    Ok(())
}
