//! Shows a live table of all your jobs on the CE, also of those that come, until you press ctrl-c. With ids, it shows these jobs
//! until all have ended.
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
use jasmin_arc::{ArcInterface, Change, JobFilter, JobId, JobStatus};

fn main() -> anyhow::Result<()> {
    let ids: Vec<JobId> = env::args().skip(1).map(JobId::from).collect();
    let config = env::var_os("JASMIN_ARC_CONFIG").context("name a configuration file in JASMIN_ARC_CONFIG")?;
    let arc = ArcInterface::from_file(config)?;

    let filter = JobFilter::new().with_ids(ids.clone());
    let filter = if ids.is_empty() { JobFilter::new() } else { filter };
    let names = arc.find_jobs(&filter)?.into_iter().filter_map(|job| Some((job.id, job.name?)));
    let mut names: HashMap<JobId, String> = names.collect();

    let table = MultiProgress::new();
    let footer = table.add(row("", "  {msg}")?);
    let watch = if ids.is_empty() { arc.watch_all() } else { arc.watch(&ids) };
    let watch = watch.on_poll(|poll| {
        footer.set_message(match &poll.error {
            None => format!("{} of {} jobs have not ended", poll.pending, poll.jobs),
            Some(error) => format!("waiting for the CE: {error}"),
        });
        ControlFlow::Continue(())
    });
    let (mut rows, mut order) = (HashMap::new(), Vec::new());
    for change in watch {
        let change = change?;
        if table.is_hidden() {
            println!("{change}");
        }
        if !rows.contains_key(&change.id) {
            let name = names.remove(&change.id).or_else(|| arc.job(&change.id).ok()?.name);
            let name = name.unwrap_or_else(|| change.id.local_id().to_owned());
            // The time is that in the state.
            let row = row(&name, "{spinner:.cyan} {prefix:40!} {msg:12} {elapsed:>6}")?;
            let index = order.partition_point(|other| *other <= name);
            order.insert(index, name);
            let row = table.insert(index, row);
            row.enable_steady_tick(Duration::from_millis(200));
            rows.insert(change.id.clone(), row);
        }
        show(&change, &rows[&change.id])?;
    }
    footer.finish_with_message("all jobs have ended");
    Ok(())
}

fn row(name: &str, style: &str) -> anyhow::Result<ProgressBar> {
    Ok(ProgressBar::new_spinner().with_prefix(name.to_owned()).with_style(ProgressStyle::with_template(style)?))
}

fn show(change: &Change, row: &ProgressBar) -> anyhow::Result<()> {
    row.reset_elapsed();
    if !change.to.is_final() {
        row.set_message(change.to.to_string());
        return Ok(());
    }
    let succeeded = change.status() == Some(JobStatus::Completed);
    let style = if succeeded { "  {prefix:40!} {msg:.green}" } else { "  {prefix:40!} {msg:.red}" };
    row.set_style(ProgressStyle::with_template(style)?);
    row.abandon_with_message(change.to.to_string());
    Ok(())
}
