//! Submits a job that reads two local files, and prints what it made of them.
//!
//! Run it with `cargo run --example input_files [CONFIG]`. Without an argument the configuration is the file that
//! `JASMIN_ARC_CONFIG` names, or all defaults.

use std::error::Error;
use std::fs;
use std::thread::sleep;
use std::time::Duration;

use jasmin_arc::{ArcInterface, JobStatus};

fn main() -> Result<(), Box<dyn Error>> {
    let config = std::env::args_os().nth(1).or_else(|| std::env::var_os("JASMIN_ARC_CONFIG"));
    let config = config.ok_or("name a configuration file, or set JASMIN_ARC_CONFIG")?;
    let arc = ArcInterface::from_file(config)?;

    let directory = tempfile::tempdir()?;
    let (f1, f2) = (directory.path().join("f1.txt"), directory.path().join("f2.txt"));
    fs::write(&f1, "This is file 1... ")?;
    fs::write(&f2, "And this is file 2\n")?;

    // The job finds the files in its working directory, under their base names. `*.txt` would name stdout.txt, which
    // the job is writing, as well.
    let job = arc.submit_job("/bin/bash", &["-c", "cat f?.txt"], &[&f1, &f2])?;
    println!("Submitted {job}");
    // They have been uploaded by now: the job needs them here no more.
    directory.close()?;

    let status = loop {
        let status = arc.job_status(&job)?;
        if status.is_final() {
            break status;
        }
        sleep(Duration::from_secs(1));
    };
    if status != JobStatus::Completed {
        return Err(format!("the job {status}: {}", arc.job(&job)?.errors.join("; ")).into());
    }

    let outputs = arc.save_job_outputs(&job)?.ok_or("the CE has no outputs of the job")?;
    print!("{}", fs::read_to_string(outputs.join("stdout.txt"))?);
    fs::remove_dir_all(outputs)?;
    Ok(())
}
