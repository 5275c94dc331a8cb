//! The crate is a well-behaved guest in a program: it does not delay the program's exit, change its exit code, print, or
//! take its signal handlers.
//!
//! Each scenario is a child process, which this program starts [`RUNS`] times as itself with other arguments. So it needs
//! its own `main` instead of Rust's test harness. `guest/libtest.rs` tests a program with Rust's harness.
//!
//! Scenarios without a CE use a port where no server listens, or a server that never responds.

use std::path::Path;
use std::process::{Command, ExitCode};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use std::{env, thread};

use libtest_mimic::{Arguments, Failed, Trial};

#[path = "guest/child.rs"]
mod child;
#[path = "guest/run.rs"]
mod run;

use child::{CHILD, SCENARIOS, Scenario};
use run::RUNS;

fn main() -> ExitCode {
    let mut args = env::args();
    if args.nth(1).as_deref() == Some(CHILD) {
        return child::main(args);
    }
    let arguments = Arguments::from_args();
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let home: &'static Path = Box::leak(dir.path().to_path_buf().into_boxed_path());
    let mut trials = Vec::new();
    for scenario in SCENARIOS {
        if scenario.without_ce {
            let test = || trial(scenario.name, scenario, home, &run::config_without_ce(home));
            trials.push(Trial::test(scenario.name, test));
        }
        if scenario.with_ce {
            let name = format!("{}_with_a_ce", scenario.name);
            let test = {
                let name = name.clone();
                move || match env::var_os("JASMIN_ARC_CONFIG") {
                    Some(config) => trial(&name, scenario, home, Path::new(&config)),
                    None => Err("set JASMIN_ARC_CONFIG to a configuration file, or use tests/testbed/run test".into()),
                }
            };
            trials.push(Trial::test(name, test).with_kind("needs an ARC-CE").with_ignored_flag(true));
        }
    }
    let conclusion = libtest_mimic::run(&arguments, trials);
    for line in MEASURED.lock().unwrap().iter() {
        println!("{line}");
    }
    conclusion.exit_code()
}

/// A line for each scenario, printed after all tests.
static MEASURED: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Runs a scenario [`RUNS`] times and checks each end.
fn trial(name: &str, scenario: &Scenario, home: &Path, config: &Path) -> Result<(), Failed> {
    // A scenario that may take long sleeps most of the time.
    let at_once = if scenario.within > Duration::from_secs(1) { RUNS / 2 } else { 2 };
    let next = AtomicUsize::new(0);
    let results = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..at_once {
            scope.spawn(|| {
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    if n >= RUNS {
                        break;
                    }
                    let result = run_once(scenario, home, config, n);
                    results.lock().unwrap().push(result);
                }
            });
        }
    });
    let took = results.into_inner().unwrap().into_iter().collect::<Result<_, String>>()?;
    let measured = run::in_time(took, scenario.within)?;
    MEASURED.lock().unwrap().push(format!("{measured}: {name}"));
    Ok(())
}

fn run_once(scenario: &Scenario, home: &Path, config: &Path, n: usize) -> Result<Duration, String> {
    let dir = tempfile::tempdir_in(home).unwrap();
    let mut command = Command::new(env::current_exe().unwrap());
    command.args([CHILD, scenario.name, &n.to_string()]).arg(config).arg(dir.path()).env_remove("RUST_BACKTRACE");
    let ended = run::run(command, dir.path());
    let stderr_is_right = match scenario.stderr {
        "" => ended.stderr.is_empty(),
        expected => ended.stderr.contains(expected),
    };
    let right = ended.code == Some(scenario.code)
        && stderr_is_right
        && ended.stdout.is_empty()
        && ended.terminal == scenario.terminal
        && ended.handlers == "after before ";
    match ended.took {
        Some(took) if right => Ok(took),
        _ => Err(format!("run {n}: {ended:#?}")),
    }
}
