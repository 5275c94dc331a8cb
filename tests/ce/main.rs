//! Tests that need an ARC-CE, in one program, so that ARC's libraries are linked once.
//!
//! `tests/testbed/run test` runs them on a new CE. To run them on another CE, name its configuration file in
//! `JASMIN_ARC_CONFIG` and run `cargo test --test ce -- --ignored`. Tests of details that only the testbed has are
//! skipped there.

mod batch;
mod common;
mod descriptions;
mod diagnostics;
mod errors;
mod faults;
mod fetch;
mod follow;
mod inputs;
mod inside;
mod job_list;
mod jobs;
mod lifecycle;
#[path = "../link/mod.rs"]
mod link;
mod listing;
mod logging;
mod matching;
mod outputs;
mod plugin;
mod pool;
mod proxy;
mod secrets;
mod submissions;
mod testbed;
mod tokens;
mod watch;
