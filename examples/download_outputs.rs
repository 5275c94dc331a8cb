//! Submits a job that writes two files, keeps one of them, and downloads it.
//!
//! Usage: `cargo run --example download_outputs [CONFIG]`. CONFIG is a configuration file. The default is the file that
//! `JASMIN_ARC_CONFIG` names.

use std::env;
use std::fs;

use anyhow::{Context, bail};
use jasmin_arc::{ArcInterface, JobDescription};

const SCRIPT: &str = "\
echo 'This will be deleted' > myfile.txt
echo 'This will be downloaded' > output.txt
ls -l
";

fn main() -> anyhow::Result<()> {
    let config = env::args_os().nth(1).or_else(|| env::var_os("JASMIN_ARC_CONFIG"));
    let config = config.context("pass a configuration file as the first argument, or set JASMIN_ARC_CONFIG")?;
    let arc = ArcInterface::from_file(config)?;

    let job = JobDescription::new("/bin/bash").with_args(["-c", SCRIPT]).with_output_file("output.txt");
    let id = arc.submit(&job)?;
    println!("Submitted {id}");
    arc.wait_job(&id)?;
    if let Some(reason) = arc.job(&id)?.failure_reason() {
        bail!("{reason}");
    }

    let directory = arc.save_job_outputs(&id)?.context("the job has no outputs")?;
    println!("Saved the outputs in {}:", directory.display());
    let mut names: Vec<_> =
        fs::read_dir(&directory)?.map(|entry| entry.map(|entry| entry.file_name())).collect::<Result<_, _>>()?;
    names.sort();
    for name in names {
        println!("  {}", name.to_string_lossy());
    }
    // `ls` also lists myfile.txt, which the CE deletes when the job ends.
    println!("The files while the job was running:");
    print!("{}", fs::read_to_string(directory.join("stdout.txt"))?);
    Ok(())
}
