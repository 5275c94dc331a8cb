//! Submits a job that makes two files, of which one is kept, and downloads what is kept.
//!
//! Run it with `cargo run --example download_outputs [CONFIG]`. Without an argument the configuration is the file that
//! `JASMIN_ARC_CONFIG` names, or all defaults; its `OUTPUT_FILE` is replaced by `output.txt`.

use std::error::Error;
use std::fs;
use std::thread::sleep;
use std::time::Duration;

use jasmin_arc::{ArcInterface, ConnectionConfig, JobStatus};

const SCRIPT: &str = "\
echo 'This will be deleted' > myfile.txt
echo 'This will be downloaded' > output.txt
ls -l
";

fn main() -> Result<(), Box<dyn Error>> {
    let config = match std::env::args_os().nth(1).or_else(|| std::env::var_os("JASMIN_ARC_CONFIG")) {
        Some(path) => ConnectionConfig::from_file(path)?,
        None => ConnectionConfig::default(),
    };
    // The same as "OUTPUT_FILE": "output.txt" in the file.
    let arc = ArcInterface::builder().config(config.with_output_file("output.txt")).build()?;

    let job = arc.submit_job("/bin/bash", &["-c", SCRIPT], &[])?;
    println!("Submitted {job}");
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

    let directory = arc.save_job_outputs(&job)?.ok_or("the CE has no outputs of the job")?;
    println!("Saved the outputs in {}:", directory.display());
    let mut names =
        fs::read_dir(&directory)?.map(|entry| Ok(entry?.file_name())).collect::<Result<Vec<_>, std::io::Error>>()?;
    names.sort();
    for name in names {
        println!("  {}", name.display());
    }
    // stdout.txt shows that there were four files while the job ran: myfile.txt was deleted when it ended.
    println!("While the job ran, there were:");
    print!("{}", fs::read_to_string(directory.join("stdout.txt"))?);
    Ok(())
}
