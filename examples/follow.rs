//! Submits a job, or takes one, and shows its standard output as the job writes it.
//!
//! Usage: `cargo run --example follow [JOB-ID [FILE]]`. `JASMIN_ARC_CONFIG` names the configuration file.

use std::env;
use std::io::{self, Write};

use anyhow::Context;
use jasmin_arc::{ArcInterface, JobId};

const SCRIPT: &str = "for n in $(seq 10); do echo \"time step $n of 10\"; sleep 1; done";

fn main() -> anyhow::Result<()> {
    let config = env::var_os("JASMIN_ARC_CONFIG").context("set JASMIN_ARC_CONFIG to a configuration file")?;
    let arc = ArcInterface::from_file(config)?;
    let mut args = env::args().skip(1);
    let id = match args.next() {
        Some(id) => JobId::from(id),
        None => arc.submit_job("/bin/sh", &["-c", SCRIPT], &[])?,
    };
    let file = args.next().unwrap_or_else(|| "stdout.txt".into());

    eprintln!("following {file} of {id}");
    let mut out = io::stdout();
    for piece in arc.follow(&id, file) {
        out.write_all(&piece?.bytes)?;
        out.flush()?;
    }
    eprintln!("the job has ended with status {}", arc.job_status(&id)?);
    Ok(())
}
