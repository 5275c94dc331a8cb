//! Logs to a file, then to the terminal with ARC's debug messages, then not at all.
//!
//! Usage: `cargo run --example logging [CONFIG]`. CONFIG is a configuration file. The default is the file that
//! `JASMIN_ARC_CONFIG` names.
//!
//! Without `log_writer` and `no_log` the messages go to the logger that the program has set for the `log` crate, with the
//! targets `jasmin_arc` and `arc::...`.

use std::env;
use std::fs;
use std::io;

use anyhow::Context;
use jasmin_arc::{ArcInterface, LogLevel};

fn main() -> anyhow::Result<()> {
    let config = env::args_os().nth(1).or_else(|| env::var_os("JASMIN_ARC_CONFIG"));
    let config = config.context("name a configuration file as the first argument or in JASMIN_ARC_CONFIG")?;

    // Logs to a file at the default level, INFO.
    let (file, path) = tempfile::Builder::new().prefix("jasmin_arc-").suffix(".log").tempfile()?.keep()?;
    let arc = ArcInterface::builder().config_file(&config).log_writer(file).build()?;
    let id = arc.submit_job("/bin/sleep", &["60"], &[])?;
    println!("The log in {}:", path.display());
    print!("{}", fs::read_to_string(&path)?);

    // Logs to the terminal. The level DEBUG logs many messages.
    let arc =
        ArcInterface::builder().config_file(&config).log_writer(io::stderr()).log_level(LogLevel::Debug).build()?;
    println!("The job's status is {}", arc.job_status(&id)?);

    // Disables the log.
    let arc = ArcInterface::builder().config_file(&config).no_log().build()?;
    arc.cancel_job(&id)?;
    println!("Cancelled {id}");
    Ok(())
}
