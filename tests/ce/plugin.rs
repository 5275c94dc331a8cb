//! REST through the plugin of ARC's client library: the value `arcrest-plugin` of `INTERFACE`.
//!
//! All tests of jobs run this way with `JASMIN_ARC_TEST_INTERFACE=arcrest-plugin`.

use jasmin_arc::{ErrorKind, InputFile, JobDescription, JobStatus, Protocol};
use serde_json::json;

use crate::common::Site;

#[test]
#[ignore = "needs an ARC-CE"]
fn jobs_run_through_the_rest_plugin_of_arc() {
    let site = Site::with(json!({ "INTERFACE": Protocol::ArcRestPlugin.as_str() }));
    let job = |script: &str| JobDescription::new("/bin/sh").with_args(["-c", script]).with_output_file("copy");
    let copies = job("cat in > copy; echo done")
        .with_input(InputFile::bytes("in", "data"))
        .with_key(format!("plugin {}", std::process::id()));
    let copying = site.arc.submit(&copies).unwrap();
    assert_eq!(site.arc.submit(&copies).unwrap(), copying);
    let failing = site.arc.submit(&job("echo why > copy; exit 3")).unwrap();
    let sleeping = site.arc.submit(&job("sleep 1000")).unwrap();
    assert_eq!(site.arc.list_jobs().unwrap_err().kind(), ErrorKind::Unsupported);
    site.arc.cancel_job(&sleeping).unwrap();

    // Our own client for REST and ARC's plugin name the jobs in the same way.
    let rest = site.another(json!({ "INTERFACE": Protocol::ArcRest.as_str() }));
    let listed = rest.list_jobs().unwrap();
    assert!([&copying, &failing, &sleeping].iter().all(|id| listed.contains(id)), "{copying} is not in {listed:?}");

    assert_eq!(site.outputs(&copying).text("copy"), "data");
    assert_eq!(site.wait(&failing), JobStatus::Failed);
    assert_eq!(site.complete_job(&failing).exit_code, Some(3));
    assert_eq!(site.save(&failing).unwrap().text("copy"), "why\n");
    assert_eq!(site.wait(&sleeping), JobStatus::Failed);
    site.arc.clean_job(&copying).unwrap();
    assert_eq!(rest.job_status(&failing).unwrap(), JobStatus::Failed);
}
