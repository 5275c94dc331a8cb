//! [`Mismatch`]: compares the requests of a job with what a CE offers.

use std::collections::HashSet;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::description::{JobDescription, RuntimeEnvironment};
use crate::service::{QueueInfo, ServiceInfo, tighter};
use crate::util::byte_size::ByteSize;
use crate::util::serde_forms;

/// A request of a job that the CE does not satisfy, from [`ArcInterface::mismatches`](crate::ArcInterface::mismatches).
///
/// `Display` writes a sentence for the user, such as `queue "long" does not exist: the CE has fork, short`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Mismatch {
    /// The CE has no such queue.
    #[non_exhaustive]
    NoSuchQueue {
        /// The queue that the job requests.
        requested: String,
        /// The queues of the CE.
        available: Vec<String>,
    },

    /// The CE has no such runtime environment. Name and version must match exactly, because A-REX looks for a file of that
    /// name.
    #[non_exhaustive]
    NoSuchRuntimeEnvironment {
        /// The name and version that the job requests.
        requested: String,
        /// The runtime environments of the CE whose name differs only in case or version.
        available: Vec<String>,
    },

    /// The queue or the whole CE does not accept jobs at the moment.
    #[non_exhaustive]
    NotServing {
        /// The queue.
        queue: String,
        /// GLUE2's serving state: `closed` or `draining`.
        state: String,
    },

    /// The job requests more than the queue allows.
    #[non_exhaustive]
    AboveLimit {
        /// The queue.
        queue: String,
        /// The amount that the job requests.
        requested: ResourceAmount,
        /// The amount that the queue allows. It has the same variant.
        limit: ResourceAmount,
    },

    /// The job requests less than the queue requires.
    #[non_exhaustive]
    BelowMinimum {
        /// The queue.
        queue: String,
        /// The amount that the job requests.
        requested: ResourceAmount,
        /// The amount that the queue requires. It has the same variant.
        minimum: ResourceAmount,
    },
}

/// An amount of a resource that queues limit.
///
/// In the serde form, times are whole seconds and sizes are bytes.
///
/// ```
/// use jasmin_arc::{ByteSize, ResourceAmount};
///
/// assert_eq!(ResourceAmount::Slots(16).to_string(), "16 slots");
/// assert_eq!(ResourceAmount::Memory(ByteSize::gib(4)).to_string(), "4 GiB of memory");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ResourceAmount {
    /// The time from the start of the job to its end.
    #[serde(with = "serde_forms::whole_seconds")]
    WallTime(Duration),
    /// The CPU time of all processes of the job together.
    #[serde(with = "serde_forms::whole_seconds")]
    CpuTime(Duration),
    /// The main memory per slot.
    Memory(ByteSize),
    /// The virtual memory per slot.
    VirtualMemory(ByteSize),
    /// The disk space of the job.
    Disk(ByteSize),
    /// The slots of the job.
    Slots(u64),
}

impl ResourceAmount {
    fn kind(&self) -> &'static str {
        match self {
            ResourceAmount::WallTime(_) => " of wall time",
            ResourceAmount::CpuTime(_) => " of CPU time",
            ResourceAmount::Memory(_) => " of memory",
            ResourceAmount::VirtualMemory(_) => " of virtual memory",
            ResourceAmount::Disk(_) => " of disk space",
            ResourceAmount::Slots(_) => " slots",
        }
    }

    fn size(&self) -> String {
        match self {
            ResourceAmount::WallTime(time) | ResourceAmount::CpuTime(time) => {
                let seconds = time.as_secs();
                // Hours are the largest unit, because administrators and users write "48 h" and not "2 d".
                let units = [(3600, "h"), (60, "min")];
                match units.into_iter().find(|(unit, _)| seconds != 0 && seconds % *unit == 0) {
                    Some((unit, name)) => format!("{} {name}", seconds / unit),
                    None => format!("{seconds} s"),
                }
            }
            ResourceAmount::Memory(size) | ResourceAmount::VirtualMemory(size) | ResourceAmount::Disk(size) => {
                size.to_string()
            }
            ResourceAmount::Slots(slots) => slots.to_string(),
        }
    }
}

impl fmt::Display for ResourceAmount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.size(), self.kind())
    }
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The names are escaped, so that a name from the CE cannot control the user's terminal.
        let list =
            |names: &[String]| names.iter().map(|name| name.escape_debug().to_string()).collect::<Vec<_>>().join(", ");
        match self {
            Mismatch::NoSuchQueue { requested, available } => {
                write!(f, "queue {requested:?} does not exist: the CE has {}", list(available))
            }
            Mismatch::NoSuchRuntimeEnvironment { requested, available } if available.is_empty() => {
                write!(f, "runtime environment {requested:?} is not installed")
            }
            Mismatch::NoSuchRuntimeEnvironment { requested, available } => {
                write!(f, "runtime environment {requested:?} is not installed: the CE has {}", list(available))
            }
            Mismatch::NotServing { queue, state } => {
                write!(f, "queue {queue:?} accepts no jobs at the moment: its state is {}", state.escape_debug())
            }
            Mismatch::AboveLimit { queue, requested, limit } => {
                write!(f, "{requested} exceed the limit of queue {queue:?}, which is {}", limit.size())
            }
            Mismatch::BelowMinimum { queue, requested, minimum } => {
                write!(f, "{requested} are below the minimum of queue {queue:?}, which is {}", minimum.size())
            }
        }
    }
}

/// Compares a job with what a CE publishes.
///
/// If the job requests a queue, that queue is the only candidate. Otherwise every queue is one. The result contains the
/// mismatches of all candidates, or none of them if one candidate satisfies the job.
pub(crate) fn mismatches(job: &JobDescription, service: &ServiceInfo) -> Vec<Mismatch> {
    let mut found = Vec::new();
    for runtime in job.runtime_environments() {
        let requested = runtime.to_string();
        if !service.runtime_environments.contains(&requested) {
            let available = similar(runtime.name(), service);
            found.push(Mismatch::NoSuchRuntimeEnvironment { requested, available });
        }
    }
    let is_candidate = |queue: &&QueueInfo| job.queue().is_none_or(|requested| requested == queue.name);
    let candidates: Vec<&QueueInfo> = service.queues.iter().filter(is_candidate).collect();
    if let (Some(requested), true) = (job.queue(), candidates.is_empty()) {
        let available = sorted(service.queues.iter().map(|queue| queue.name.clone()));
        found.push(Mismatch::NoSuchQueue { requested: requested.into(), available });
    }
    let by_queue: Vec<Vec<Mismatch>> =
        candidates.into_iter().map(|queue| queue_mismatches(job, queue, service)).collect();
    if !by_queue.iter().any(Vec::is_empty) {
        found.extend(by_queue.into_iter().flatten());
    }
    // A queue that is published several times causes the same mismatch each time.
    let mut seen = HashSet::new();
    found.retain(|mismatch| seen.insert(mismatch.clone()));
    found
}

fn sorted(names: impl Iterator<Item = String>) -> Vec<String> {
    let mut names: Vec<String> = names.collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// Returns the runtime environments that the user may have meant.
fn similar(name: &str, service: &ServiceInfo) -> Vec<String> {
    let is_similar = |known: &&String| RuntimeEnvironment::new(known.as_str()).name().eq_ignore_ascii_case(name);
    sorted(service.runtime_environments.iter().filter(is_similar).cloned())
}

fn queue_mismatches(job: &JobDescription, queue: &QueueInfo, service: &ServiceInfo) -> Vec<Mismatch> {
    let mut found = Vec::new();
    if let Some(state) = queue.state.into_iter().chain(service.state).find(|state| !state.accepts_jobs()) {
        found.push(Mismatch::NotServing { queue: queue.name.clone(), state: state.to_string() });
    }
    let slots = u64::from(job.slots().unwrap_or(1));
    let seconds = |time: Option<Duration>| time.map(|time| time.as_secs());
    let mib = |size: Option<ByteSize>| size.map(ByteSize::in_mib);
    let in_all_slots = |limit: Option<Duration>| seconds(limit).map(|limit| limit.saturating_mul(slots));
    let max_cpu_time = tighter(in_all_slots(queue.max_cpu_time), seconds(queue.max_total_cpu_time));
    let disk = tighter(mib(queue.max_disk), mib(service.free_disk));
    fn time(kind: fn(Duration) -> ResourceAmount) -> impl Fn(u64) -> ResourceAmount {
        move |seconds| kind(Duration::from_secs(seconds))
    }
    fn size(kind: fn(ByteSize) -> ResourceAmount) -> impl Fn(u64) -> ResourceAmount {
        move |mib| kind(ByteSize::mib(mib))
    }
    let mut check =
        |requested: Option<u64>, min: Option<u64>, max: Option<u64>, amount: &dyn Fn(u64) -> ResourceAmount| {
            let Some(requested) = requested else { return };
            let queue = queue.name.clone();
            match (min, max) {
                (_, Some(max)) if requested > max => {
                    let (requested, limit) = (amount(requested), amount(max));
                    found.push(Mismatch::AboveLimit { queue, requested, limit });
                }
                (Some(min), _) if requested < min => {
                    let (requested, minimum) = (amount(requested), amount(min));
                    found.push(Mismatch::BelowMinimum { queue, requested, minimum });
                }
                _ => {}
            }
        };
    use ResourceAmount::{CpuTime, Disk, Memory, Slots, VirtualMemory, WallTime};
    check(seconds(job.wall_time()), seconds(queue.min_wall_time), seconds(queue.max_wall_time), &time(WallTime));
    check(seconds(job.cpu_time()), in_all_slots(queue.min_cpu_time), max_cpu_time, &time(CpuTime));
    check(mib(job.memory()), None, mib(queue.max_memory), &size(Memory));
    check(mib(job.virtual_memory()), None, mib(queue.max_virtual_memory), &size(VirtualMemory));
    check(mib(job.disk()), None, disk, &size(Disk));
    check(Some(slots), None, tighter(queue.max_slots, service.total_slots), &Slots);
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::ServingState;

    fn job() -> JobDescription {
        JobDescription::new("/bin/true")
    }

    fn hours(hours: u64) -> Duration {
        Duration::from_secs(hours * 3600)
    }

    fn queue(name: &str) -> QueueInfo {
        QueueInfo { name: name.into(), ..QueueInfo::default() }
    }

    fn short() -> QueueInfo {
        QueueInfo {
            state: Some(ServingState::Production),
            min_wall_time: Some(Duration::from_secs(60)),
            max_wall_time: Some(hours(4)),
            min_cpu_time: Some(Duration::from_secs(30)),
            max_cpu_time: Some(hours(2)),
            max_total_cpu_time: Some(hours(10)),
            max_memory: Some(ByteSize::gib(2)),
            max_virtual_memory: Some(ByteSize::gib(4)),
            max_disk: Some(ByteSize::gib(100)),
            max_slots: Some(8),
            ..queue("short")
        }
    }

    fn service(queues: &[QueueInfo]) -> ServiceInfo {
        let runtimes = ["ENV/PROXY", "APPS/R-4.2.1", "APPS/R-4.3.0"].map(str::to_owned).to_vec();
        ServiceInfo { queues: queues.to_vec(), runtime_environments: runtimes, ..ServiceInfo::default() }
    }

    #[track_caller]
    fn check(job: &JobDescription, queues: &[QueueInfo], expected: &[&str]) {
        let found = mismatches(job, &service(queues));
        assert_eq!(found.iter().map(Mismatch::to_string).collect::<Vec<_>>(), expected);
        let text = serde_json::to_string(&found).unwrap();
        assert_eq!(serde_json::from_str::<Vec<Mismatch>>(&text).unwrap(), found, "{text}");
    }

    #[test]
    fn unpublished_limits_are_ignored() {
        check(&job(), &[short()], &[]);
        let greedy = job()
            .with_queue("any")
            .with_wall_time(hours(10_000))
            .with_cpu_time(hours(10_000))
            .with_memory(ByteSize::gib(10_000))
            .with_virtual_memory(ByteSize::gib(10_000))
            .with_disk(ByteSize::gib(10_000))
            .with_slots(10_000)
            .with_exclusive(true);
        check(&greedy, &[queue("any")], &[]);
    }

    #[test]
    fn requested_queues_must_exist() {
        let queues = [queue("short"), queue("fork"), queue("short")];
        check(&job().with_queue("long"), &queues, &[r#"queue "long" does not exist: the CE has fork, short"#]);
        check(&job().with_queue("Short"), &queues, &[r#"queue "Short" does not exist: the CE has fork, short"#]);
        check(&job().with_queue("short"), &queues, &[]);
    }

    #[test]
    fn limits_are_exact() {
        let at_most = job()
            .with_wall_time(hours(4))
            .with_cpu_time(hours(2))
            .with_memory(ByteSize::gib(2))
            .with_virtual_memory(ByteSize::gib(4))
            .with_disk(ByteSize::gib(100));
        check(&at_most, &[short()], &[]);
        let at_least = job().with_wall_time(Duration::from_secs(60)).with_cpu_time(Duration::from_secs(30));
        check(&at_least, &[short()], &[]);
        check(&job().with_slots(8), &[short()], &[]);
        let more = |size: ByteSize| ByteSize::new(size.get() + 1);
        for (job, start, limit) in [
            (job().with_wall_time(Duration::from_secs(14_401)), "14401 s of wall time exceed the limit", "4 h"),
            (job().with_wall_time(Duration::from_secs(59)), "59 s of wall time are below the minimum", "1 min"),
            (job().with_cpu_time(Duration::from_secs(7_201)), "7201 s of CPU time exceed the limit", "2 h"),
            (job().with_cpu_time(Duration::from_secs(29)), "29 s of CPU time are below the minimum", "30 s"),
            (job().with_memory(more(ByteSize::gib(2))), "2049 MiB of memory exceed the limit", "2 GiB"),
            (job().with_virtual_memory(more(ByteSize::gib(4))), "4097 MiB of virtual memory exceed the limit", "4 GiB"),
            (job().with_disk(more(ByteSize::gib(100))), "102401 MiB of disk space exceed the limit", "100 GiB"),
            (job().with_slots(9), "9 slots exceed the limit", "8"),
        ] {
            let expected = format!("{start} of queue \"short\", which is {limit}");
            check(&job, &[short()], &[&expected]);
            check(&job.with_queue("short"), &[queue("any"), short()], &[&expected]);
        }
    }

    #[test]
    fn cpu_time_is_limited_per_slot_and_in_total() {
        let job = |slots, time| job().with_slots(slots).with_cpu_time(hours(time));
        check(&job(3, 6), &[short()], &[]);
        check(&job(3, 7), &[short()], &[r#"7 h of CPU time exceed the limit of queue "short", which is 6 h"#]);
        check(&job(8, 10), &[short()], &[]);
        check(&job(8, 11), &[short()], &[r#"11 h of CPU time exceed the limit of queue "short", which is 10 h"#]);
        let little = job(4, 1).with_cpu_time(Duration::from_secs(119));
        check(&little, &[short()], &[r#"119 s of CPU time are below the minimum of queue "short", which is 2 min"#]);
        check(&job(8, 11), &[QueueInfo { max_cpu_time: Some(Duration::MAX), ..queue("x") }], &[]);
    }

    #[test]
    fn one_queue_must_satisfy_all_requests() {
        let wide = QueueInfo { max_wall_time: Some(hours(1)), max_slots: Some(64), ..queue("wide") };
        let long = QueueInfo { max_wall_time: Some(hours(48)), max_slots: Some(1), ..queue("long") };
        let queues = [wide, long];
        check(&job().with_slots(64), &queues, &[]);
        check(&job().with_wall_time(hours(48)), &queues, &[]);
        check(
            &job().with_slots(64).with_wall_time(hours(48)),
            &queues,
            &[
                r#"48 h of wall time exceed the limit of queue "wide", which is 1 h"#,
                r#"64 slots exceed the limit of queue "long", which is 1"#,
            ],
        );
        // One queue, published for two virtual organisations.
        let twice = [short(), QueueInfo { max_slots: Some(16), ..short() }];
        check(&job().with_queue("short").with_slots(16), &twice, &[]);
        let large = job().with_memory(ByteSize::gib(3));
        check(&large, &twice, &[r#"3 GiB of memory exceed the limit of queue "short", which is 2 GiB"#]);
    }

    #[test]
    fn closed_and_draining_queues_do_not_fit() {
        let state = |name, state| QueueInfo { state: Some(state), ..queue(name) };
        let draining = state("a", ServingState::Draining);
        check(
            &job(),
            std::slice::from_ref(&draining),
            &[r#"queue "a" accepts no jobs at the moment: its state is draining"#],
        );
        let closed = state("a", ServingState::Closed);
        check(&job(), &[closed], &[r#"queue "a" accepts no jobs at the moment: its state is closed"#]);
        check(&job(), &[draining, state("b", ServingState::Queueing)], &[]);
        let draining = ServiceInfo { state: Some(ServingState::Draining), ..service(&[queue("a")]) };
        assert!(
            matches!(&mismatches(&job(), &draining)[..], [Mismatch::NotServing { state, .. }] if state == "draining")
        );
    }

    #[test]
    fn the_cluster_limits_slots_and_disk_too() {
        let cluster = ServiceInfo {
            total_slots: Some(4),
            free_disk: Some(ByteSize::gib(1)),
            ..service(&[short(), queue("any")])
        };
        let found = mismatches(&job().with_slots(5).with_disk(ByteSize::gib(2)), &cluster);
        let limits: Vec<String> = found.iter().map(Mismatch::to_string).collect();
        assert_eq!(limits.len(), 4, "{limits:?}");
        assert!(limits[0].ends_with("is 1 GiB") && limits[1].ends_with("is 4"), "{limits:?}");
    }

    #[test]
    fn runtime_environments_must_match_exactly() {
        let with = |name: &str| job().with_runtime_environment(RuntimeEnvironment::new(name).with_option("x"));
        check(&with("ENV/PROXY"), &[short()], &[]);
        check(&with("APPS/R-4.3.0"), &[short()], &[]);
        check(&with("ENV/SINGULARITY"), &[short()], &[r#"runtime environment "ENV/SINGULARITY" is not installed"#]);
        for (asked, offered) in
            [("env/proxy", "ENV/PROXY"), ("ENV/PROXY-1", "ENV/PROXY"), ("APPS/R", "APPS/R-4.2.1, APPS/R-4.3.0")]
        {
            let expected = format!("runtime environment {asked:?} is not installed: the CE has {offered}");
            check(&with(asked), &[short()], &[&expected]);
        }
        let all = with("A").with_runtime_environment(RuntimeEnvironment::new("A")).with_queue("b").with_slots(99);
        check(
            &all,
            &[short()],
            &[r#"runtime environment "A" is not installed"#, r#"queue "b" does not exist: the CE has short"#],
        );
    }

    #[test]
    fn published_names_are_escaped() {
        let expected = r#"queue "a" does not exist: the CE has \u{1b}[2J\n"#;
        check(&job().with_queue("a"), &[queue("\u{1b}[2J\n")], &[expected]);
        fn plain<T: Send + Sync + 'static>() {}
        plain::<Mismatch>();
    }
}
