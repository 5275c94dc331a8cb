//! Job descriptions compared with what the CE offers.

use std::time::Duration;

use crate::common::{Site, is_testbed};
use jasmin_arc::{ByteSize, Error, JobDescription, Mismatch, ResourceAmount, RuntimeEnvironment};
use serde_json::json;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn job() -> JobDescription {
    JobDescription::new("/bin/true")
}

fn with_runtime(runtime: &str) -> JobDescription {
    job().with_runtime_environment(RuntimeEnvironment::new(runtime))
}

#[test]
#[ignore = "needs an ARC-CE"]
fn modest_job_has_no_mismatches() {
    let site = Site::new();
    assert_eq!(site.arc.mismatches(&job()).unwrap(), []);
    let modest = job()
        .with_slots(1)
        .with_wall_time(Duration::from_secs(600))
        .with_cpu_time(Duration::from_secs(600))
        .with_memory(ByteSize::mib(10))
        .with_disk(ByteSize::mib(1));
    assert_eq!(site.arc.mismatches(&modest).unwrap(), []);
}

#[test]
#[ignore = "needs an ARC-CE"]
fn unknown_queue_and_runtime_environment_are_mismatches() {
    let site = Site::new();
    let job = with_runtime("NO/SUCH-1.0").with_queue("no such queue");
    let found = site.arc.mismatches(&job).unwrap();
    assert!(
        matches!(&found[..], [
            Mismatch::NoSuchRuntimeEnvironment { requested: runtime, available: similar, .. },
            Mismatch::NoSuchQueue { requested: queue, available: queues, .. },
        ] if runtime == "NO/SUCH-1.0" && similar.is_empty() && queue == "no such queue" && !queues.is_empty()),
        "{found:?}"
    );

    let invalid = site.arc.mismatches(&with_runtime("")).unwrap_err();
    assert!(matches!(invalid, Error::InvalidJobDescription { .. }), "{invalid:?}");

    let error = site.another(json!({"ARC_SERVER": "localhost:1/arex"})).mismatches(&job).unwrap_err();
    assert!(matches!(error, Error::Connection { .. }), "{:?}: {error:?}", site.arc.config().interface());
}

/// The limits are those of `tests/testbed/arc.conf.in`.
#[test]
#[ignore = "needs an ARC-CE"]
fn testbed_limits_are_mismatches() {
    if !is_testbed() {
        return;
    }
    let site = Site::new();
    let check = |job: &JobDescription| site.arc.mismatches(job).unwrap();
    let fitting = job()
        .with_queue("fork")
        .with_slots(1)
        .with_wall_time(7 * DAY)
        .with_cpu_time(100 * DAY)
        .with_memory(ByteSize::gib(100))
        .with_virtual_memory(ByteSize::gib(100))
        .with_disk(ByteSize::mib(100))
        .with_exclusive(true)
        .with_runtime_environment(RuntimeEnvironment::new("ENV/PROXY").with_option("x"))
        .with_runtime_environment(RuntimeEnvironment::new("TESTS/GREETING-1.2"));
    assert_eq!(check(&fitting), []);
    let found = check(&job().with_queue("long"));
    assert!(
        matches!(&found[..], [Mismatch::NoSuchQueue { requested, available, .. }]
            if requested == "long" && *available == ["fork"]),
        "{found:?}"
    );
    for (name, similar) in [
        ("TESTS/GREETING", "TESTS/GREETING-1.2"),
        ("TESTS/GREETING-1.3", "TESTS/GREETING-1.2"),
        ("env/proxy", "ENV/PROXY"),
    ] {
        let found = check(&with_runtime(name));
        assert!(
            matches!(&found[..], [Mismatch::NoSuchRuntimeEnvironment { requested, available, .. }]
                if requested == name && *available == [similar]),
            "{found:?}"
        );
    }
    let (eight, seven) = (ResourceAmount::WallTime(8 * DAY), ResourceAmount::WallTime(7 * DAY));
    let found = check(&job().with_wall_time(8 * DAY));
    assert!(
        matches!(&found[..], [Mismatch::AboveLimit { queue, requested, limit, .. }]
            if queue == "fork" && *requested == eight && *limit == seven),
        "{found:?}"
    );
    let found = check(&job().with_slots(1_000_000).with_disk(ByteSize::gib(1 << 20)));
    assert!(
        matches!(&found[..], [
            Mismatch::AboveLimit { requested: ResourceAmount::Disk(_), limit: ResourceAmount::Disk(disk), .. },
            Mismatch::AboveLimit { requested: ResourceAmount::Slots(1_000_000), limit: ResourceAmount::Slots(slots), .. },
        ] if *disk >= ByteSize::gib(1) && *slots >= 1),
        "{found:?}"
    );
}
