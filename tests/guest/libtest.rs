//! The crate is a well-behaved guest in a program with Rust's test harness: `cargo test` ends with the right exit code.
//!
//! `test_runs_end` and `test_runs_with_a_ce_end` run the other two tests in child processes.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use std::{env, thread};

use jasmin_arc::{ArcInterface, Error};

#[path = "run.rs"]
mod run;

/// The variable with a child's directory for notes.
const DIR: &str = "JASMIN_ARC_GUEST_DIR";
/// The variable with a child's configuration file.
const CONFIG: &str = "JASMIN_ARC_GUEST_CONFIG";

/// Runs a test of this file [`run::RUNS`] times in a child process and checks its end.
fn run_test(name: &str, code: i32, config: &Path) {
    let mut took = Vec::new();
    for _ in 0..run::RUNS {
        let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let mut command = Command::new(env::current_exe().unwrap());
        command.args([name, "--exact"]).env(DIR, dir.path()).env(CONFIG, config);
        let ended = run::run(command, dir.path());
        let silent = [&ended.stderr, &ended.terminal, &ended.handlers].iter().all(|text| text.is_empty());
        assert!(ended.code == Some(code) && ended.stdout.contains("test result: ") && silent, "{ended:#?}");
        took.push(ended.took.unwrap());
    }
    println!("{}", run::in_time(took, Duration::from_secs(1)).unwrap());
}

/// In a child process, starts threads that make calls until the process ends. Returns `None` in other processes.
fn busy_child() -> Option<PathBuf> {
    let dir = PathBuf::from(env::var_os(DIR)?);
    run::take_terminal();
    let arc = ArcInterface::from_file(env::var_os(CONFIG).unwrap()).unwrap();
    let call = move || arc.job_status(&"0123456789abcdef".into()).unwrap_err();
    call();
    for _ in 0..2 {
        let call = call.clone();
        thread::spawn(move || while !matches!(call(), Error::Exiting) {});
    }
    run::set_out(&dir);
    Some(dir)
}

#[test]
fn passing_child() {
    busy_child();
}

#[test]
fn failing_child() {
    assert_eq!(busy_child(), None);
}

fn run_tests(config: &Path) {
    run_test("passing_child", 0, config);
    run_test("failing_child", 101, config);
}

#[test]
fn test_runs_end() {
    let home = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    run_tests(&run::config_without_ce(home.path()));
}

#[test]
#[ignore = "needs an ARC-CE"]
fn test_runs_with_a_ce_end() {
    run_tests(Path::new(
        &env::var_os("JASMIN_ARC_CONFIG")
            .expect("set JASMIN_ARC_CONFIG to a configuration file, or use tests/testbed/run test"),
    ));
}
