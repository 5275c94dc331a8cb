//! Submits many jobs in one call, watches them to the end, fetches all their outputs, checks them, and removes the jobs
//! from the CE.
//!
//! Run it with `cargo run --example bulk [NUMBER [CONFIG]]`. Without a CONFIG the configuration is the file that
//! `JASMIN_ARC_CONFIG` names, or all defaults.

use std::error::Error;
use std::thread::sleep;
use std::time::{Duration, Instant};

use jasmin_arc::{ArcInterface, JobDescription, JobId};

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args_os().skip(1);
    let number: usize = args.next().map_or(Ok(20), |number| number.to_string_lossy().parse())?;
    let config = args.next().or_else(|| std::env::var_os("JASMIN_ARC_CONFIG"));
    let config = config.ok_or("name a configuration file, or set JASMIN_ARC_CONFIG")?;
    let arc = ArcInterface::from_file(config)?;
    let begun = Instant::now();

    let jobs: Vec<_> = (0..number)
        .map(|n| JobDescription::new("/bin/echo").with_name(format!("bulk {n}")).with_arg(format!("hello from {n}")))
        .collect();
    let ids: Vec<JobId> = arc.submit_jobs(&jobs)?.into_iter().collect::<Result<_, _>>()?;
    println!("{:7.2?}: submitted {} jobs", begun.elapsed(), ids.len());

    let mut ended = 0;
    while ended < ids.len() {
        sleep(Duration::from_secs(1));
        let statuses = arc.job_statuses(&ids)?.into_iter().collect::<Result<Vec<_>, _>>()?;
        let now = statuses.iter().filter(|status| status.is_final()).count();
        if now != ended {
            println!("{:7.2?}: {now} have ended", begun.elapsed());
            ended = now;
        }
    }

    let directory = std::env::temp_dir().join(format!("jasmin_arc-bulk-{}", std::process::id()));
    let saved = arc.save_jobs_outputs_to(&ids, &directory)?;
    println!("{:7.2?}: saved their outputs in {}", begun.elapsed(), directory.display());
    let mut wrong = 0;
    for (n, saved) in saved.into_iter().enumerate() {
        let path = saved?.ok_or_else(|| format!("job {n} has no output"))?.join("stdout.txt");
        if std::fs::read_to_string(path)? != format!("hello from {n}\n") {
            wrong += 1;
        }
    }
    println!("{:7.2?}: {} outputs are right, {wrong} are wrong", begun.elapsed(), number - wrong);

    std::fs::remove_dir_all(directory)?;
    arc.clean_jobs(&ids)?.into_iter().collect::<Result<Vec<_>, _>>()?;
    println!("{:7.2?}: removed the jobs from the CE", begun.elapsed());
    if wrong == 0 { Ok(()) } else { Err("some outputs are wrong".into()) }
}
