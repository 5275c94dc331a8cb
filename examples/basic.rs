//! Submits a job, waits until it has ended, and prints its standard output.
//!
//! Run it with `cargo run --example basic [CONFIG]`. Without an argument the configuration is the file that
//! `JASMIN_ARC_CONFIG` names, or all defaults.

use std::error::Error;
use std::thread::sleep;
use std::time::Duration;

use jasmin_arc::{ArcInterface, JobStatus};

fn main() -> Result<(), Box<dyn Error>> {
    let config = std::env::args_os().nth(1).or_else(|| std::env::var_os("JASMIN_ARC_CONFIG"));
    let config = config.ok_or("name a configuration file, or set JASMIN_ARC_CONFIG")?;
    let arc = ArcInterface::from_file(config)?;

    let job = arc.submit_job("/bin/bash", &["-c", "echo \"This job is running on $(/bin/hostname)\""], &[])?;
    println!("Submitted {job}");

    let mut shown = None;
    let status = loop {
        let status = arc.job_status(&job)?;
        if shown != Some(status) {
            println!("Job status is {status}");
            shown = Some(status);
        }
        if status.is_final() {
            break status;
        }
        sleep(Duration::from_secs(1));
    };
    if status != JobStatus::Completed {
        return Err(format!("the job {status}: {}", arc.job(&job)?.errors.join("; ")).into());
    }

    match arc.save_job_outputs(&job)? {
        Some(directory) => {
            println!("Saved the outputs in {}", directory.display());
            println!("The standard output was:");
            print!("{}", std::fs::read_to_string(directory.join("stdout.txt"))?);
        }
        None => println!("There was nothing to save"),
    }
    Ok(())
}
