//! Job descriptions compared with what the CE offers.

use std::time::{Duration, SystemTime};

use crate::common::{Site, batch_system, is_testbed, queue};
use jasmin_arc::{
    ByteSize, Error, ErrorKind, HealthState, JobDescription, Mismatch, ResourceAmount, RuntimeEnvironment, ServingState,
};
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
    // For SLURM, A-REX publishes the limit of the wall time as that of the CPU time too (SLURMmod.pm).
    let cpu_time = if batch_system().as_deref() == Some("slurm") { 7 * DAY } else { 100 * DAY };
    let fitting = job()
        .with_queue(queue())
        .with_slots(1)
        .with_wall_time(7 * DAY)
        .with_cpu_time(cpu_time)
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
            if requested == "long" && *available == [queue()]),
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
            if *queue == self::queue() && *requested == eight && *limit == seven),
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

#[test]
#[ignore = "needs an ARC-CE"]
fn the_ce_publishes_what_it_is_and_serves_the_user() {
    let site = Site::new();
    let info = site.arc.service_info().unwrap();
    assert!(!info.queues.is_empty() && info.total_slots.is_some(), "{info:?}");
    assert_eq!(info.state.map(ServingState::accepts_jobs), Some(true));
    if !site.is_rest() {
        assert_eq!(site.arc.ping().unwrap_err().kind(), ErrorKind::Unsupported);
        return;
    }
    // A-REX 7.0 publishes no version (ConfigCentral.pm puts it where ARC1ClusterInfo.pm does not look).
    let is_version = |version: &str| version.starts_with(|c: char| c.is_ascii_digit());
    assert!(info.version.as_deref().is_none_or(is_version), "{:?}", info.version);
    assert_eq!(info.health, Some(HealthState::Ok));
    let rest = info.interfaces.iter().find(|interface| interface.name == "org.nordugrid.arcrest").unwrap();
    assert_eq!(rest.url, site.arc.config().endpoint_url().ok());
    assert!(info.free_slots().is_some() && info.running_jobs.is_some() && info.waiting_jobs.is_some(), "{info:?}");
    let age = SystemTime::now().duration_since(info.published_at.unwrap()).unwrap_or_default();
    assert!(age < Duration::from_secs(3600), "{age:?}");

    let ping = site.arc.ping().unwrap();
    // The CE names the same owner for the jobs.
    let id = site.submit("true");
    assert_eq!(site.arc.job(&id).unwrap().owner.as_deref(), Some(ping.identity.as_str()));
    let away = site.another(json!({"ARC_SERVER": "localhost:1/arex"}));
    assert_eq!(away.ping().unwrap_err().kind(), ErrorKind::ConnectionRefused);
}
