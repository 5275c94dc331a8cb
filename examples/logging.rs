//! Shows where the log can go: into a file, in all detail to the terminal, and nowhere.
//!
//! Run it with `cargo run --example logging [CONFIG]`. Without an argument the configuration is the file that
//! `JASMIN_ARC_CONFIG` names, or all defaults.
//!
//! A program that already has a logger for the `log` crate need do nothing of this: without `log_writer` and `no_log`
//! the messages go there, with the targets `jasmin_arc` and `arc::...`.

use std::error::Error;
use std::fs;

use jasmin_arc::{ArcInterface, ConnectionConfig, LogLevel};

fn main() -> Result<(), Box<dyn Error>> {
    let config = match std::env::args_os().nth(1).or_else(|| std::env::var_os("JASMIN_ARC_CONFIG")) {
        Some(path) => ConnectionConfig::from_file(path)?,
        None => ConnectionConfig::default(),
    };

    // Into a file. The level is INFO unless told.
    let (file, path) = tempfile::Builder::new().prefix("jasmin_arc-").suffix(".log").tempfile()?.keep()?;
    let arc = ArcInterface::builder().config(config.clone()).log_writer(file).build()?;
    let job = arc.submit_job("/bin/sleep", &["60"], &[])?;
    println!("{} has:", path.display());
    print!("{}", fs::read_to_string(&path)?);

    // In all detail, which is a lot.
    let arc = ArcInterface::builder()
        .config(config.clone())
        .log_writer(std::io::stderr())
        .log_level(LogLevel::Debug)
        .build()?;
    println!("The job is {}", arc.job_status(&job)?);

    // Nothing at all.
    let arc = ArcInterface::builder().config(config).no_log().build()?;
    arc.cancel_job(&job)?;
    println!("Cancelled {job}");
    Ok(())
}
