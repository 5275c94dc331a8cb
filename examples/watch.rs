//! Shows a live table of all your jobs on the CE, or of some, until all have ended.
//!
//! Usage: `cargo run --example watch [ID...]`. The configuration is the file that `JASMIN_ARC_CONFIG` names.
//!
//! Without a terminal it prints a line for each change.

use std::collections::HashMap;
use std::env;
use std::ops::ControlFlow;
use std::time::Duration;

use anyhow::Context;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use jasmin_arc::{ArcInterface, JobFilter, JobId, JobStatus};

fn main() -> anyhow::Result<()> {
    let ids: Vec<JobId> = env::args().skip(1).map(JobId::from).collect();
    let config = env::var_os("JASMIN_ARC_CONFIG").context("name a configuration file in JASMIN_ARC_CONFIG")?;
    let arc = ArcInterface::from_file(config)?;

    let filter = if ids.is_empty() {
        let statuses = [JobStatus::NotSubmitted, JobStatus::NotStarted, JobStatus::InProgress];
        statuses.into_iter().fold(JobFilter::new(), JobFilter::with_status)
    } else {
        JobFilter::new().with_ids(ids)
    };
    let mut jobs = arc.find_jobs(&filter)?;
    jobs.sort_by(|a, b| a.name.cmp(&b.name));

    let table = MultiProgress::new();
    let row = |name: &str, style: &str| -> anyhow::Result<ProgressBar> {
        let row = table.add(ProgressBar::new_spinner().with_prefix(name.to_owned()).with_message("?"));
        row.set_style(ProgressStyle::with_template(style)?);
        row.enable_steady_tick(Duration::from_millis(200));
        Ok(row)
    };
    let mut rows = HashMap::new();
    for job in &jobs {
        let name = job.name.as_deref().unwrap_or(job.id.local_id());
        // The time is that in the state.
        rows.insert(&job.id, row(name, "{spinner:.cyan} {prefix:40!} {msg:12} {elapsed:>6}")?);
    }
    let footer = row("", "  {msg}")?;

    let watch = arc.watch(jobs.iter().map(|job| &job.id)).on_poll(|poll| {
        footer.set_message(match &poll.error {
            None => format!("{} of {} jobs have not ended", poll.pending, poll.jobs),
            Some(error) => format!("waiting for the CE: {error}"),
        });
        ControlFlow::Continue(())
    });
    for change in watch {
        let change = change?;
        if table.is_hidden() {
            println!("{change}");
        }
        let row = &rows[&change.id];
        row.reset_elapsed();
        if change.to.is_final() {
            let succeeded = change.status() == Some(JobStatus::Completed);
            let style = if succeeded { "  {prefix:40!} {msg:.green}" } else { "  {prefix:40!} {msg:.red}" };
            row.set_style(ProgressStyle::with_template(style)?);
            row.abandon_with_message(change.to.to_string());
        } else {
            row.set_message(change.to.to_string());
        }
    }
    footer.finish_with_message("all jobs have ended");
    Ok(())
}
