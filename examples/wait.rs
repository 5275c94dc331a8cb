//! Waits until jobs have ended, and prints how.
//!
//! Usage: `cargo run --example wait ID...`. The configuration is the file that `JASMIN_ARC_CONFIG` names.

use std::env;
use std::ops::ControlFlow;
use std::time::Duration;

use anyhow::{Context, ensure};
use indicatif::ProgressBar;
use jasmin_arc::{ArcInterface, JobId};

fn main() -> anyhow::Result<()> {
    let ids: Vec<JobId> = env::args().skip(1).map(JobId::from).collect();
    ensure!(!ids.is_empty(), "name jobs as arguments");
    let config = env::var_os("JASMIN_ARC_CONFIG").context("name a configuration file in JASMIN_ARC_CONFIG")?;
    let arc = ArcInterface::from_file(config)?;

    let spinner = ProgressBar::new_spinner();
    spinner.enable_steady_tick(Duration::from_millis(100));
    let watch = arc.watch(&ids).on_poll(|poll| {
        spinner.set_message(match &poll.error {
            None => format!("{} of {} jobs have not ended", poll.pending, poll.jobs),
            Some(error) => format!("waiting for the CE: {error}"),
        });
        ControlFlow::Continue(())
    });
    let report = watch.wait()?;
    spinner.finish_and_clear();

    report.jobs.iter().for_each(|job| println!("{job}"));
    ensure!(report.all_completed(), "not all jobs have completed");
    Ok(())
}
