//! What a job asks for beside what the CE offers: [`mismatches`]. Pure.

use std::collections::HashSet;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::description::{ByteSize, JobDescription, RuntimeEnvironment};

/// What a CE offers, as far as it tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Offer {
    /// A queue is in here more than once when the CE publishes it for several virtual organisations.
    pub(crate) queues: Vec<Queue>,
    /// With their versions, as they are asked for.
    pub(crate) runtime_environments: Vec<String>,
}

/// A queue and its limits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Queue {
    pub(crate) name: String,
    /// The serving states of the queue and of the CE, as GLUE2 has them.
    pub(crate) serving: Vec<String>,
    /// In seconds.
    pub(crate) least_wall_time: Option<u64>,
    /// In seconds.
    pub(crate) most_wall_time: Option<u64>,
    /// In seconds, in each slot.
    pub(crate) least_cpu_time: Option<u64>,
    /// In seconds, in each slot.
    pub(crate) most_cpu_time: Option<u64>,
    /// In seconds, in all slots together.
    pub(crate) most_total_cpu_time: Option<u64>,
    /// In MiB, in each slot.
    pub(crate) memory: Option<u64>,
    /// In MiB, in each slot.
    pub(crate) virtual_memory: Option<u64>,
    /// In GiB.
    pub(crate) disk: Option<u64>,
    pub(crate) slots: Option<u64>,
}

/// A number that a CE publishes, unless it stands for none: GLUE2 has nines for what is not known, ARC's classes have -1,
/// and A-REX has 0 for a limit that it could not read, and the largest number there is for one that SLURM does not set.
pub(crate) fn told(number: i64) -> Option<u64> {
    const UNKNOWN: i64 = 999_999_999;
    u64::try_from(number).ok().filter(|_| (1..i64::from(i32::MAX)).contains(&number) && number != UNKNOWN)
}

/// The tighter of two limits.
pub(crate) fn tighter(one: Option<u64>, other: Option<u64>) -> Option<u64> {
    one.into_iter().chain(other).min()
}

/// Something that a job asks for and the CE does not offer: see [`ArcInterface::mismatches`](crate::ArcInterface::mismatches).
///
/// ```
/// use std::time::Duration;
///
/// use jasmin_arc::{ResourceAmount, Mismatch};
///
/// let queue = Mismatch::NoQueue { asked: "long".into(), offered: vec!["fork".into(), "short".into()] };
/// assert_eq!(queue.to_string(), r#"queue "long" does not exist: there are fork, short"#);
///
/// let time = |hours: u64| ResourceAmount::WallTime(Duration::from_secs(hours * 3600));
/// let time = Mismatch::TooMuch { queue: "short".into(), asked: time(48), most: time(4) };
/// assert_eq!(time.to_string(), r#"48 h of wall time are more than the 4 h that queue "short" allows"#);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Mismatch {
    /// The CE has no such queue.
    NoQueue {
        /// The queue that the job is to run in.
        asked: String,
        /// The queues that there are.
        offered: Vec<String>,
    },

    /// The CE has no such runtime environment. Names and versions must be the same to the letter: A-REX looks for a file
    /// of that name.
    NoRuntimeEnvironment {
        /// Name and version of the runtime environment.
        asked: String,
        /// What there is of the same name, in other versions or in other letters (`env/proxy`).
        offered: Vec<String>,
    },

    /// The queue, or the whole CE, takes no jobs now.
    NotServing {
        /// The queue.
        queue: String,
        /// What GLUE2 calls it: `closed` or `draining`.
        state: String,
    },

    /// The job asks for more than it can have.
    TooMuch {
        /// The queue.
        queue: String,
        /// What the job asks for.
        asked: ResourceAmount,
        /// What it can have at most: the same variant.
        most: ResourceAmount,
    },

    /// The job asks for less than the queue is there for.
    TooLittle {
        /// The queue.
        queue: String,
        /// What the job asks for.
        asked: ResourceAmount,
        /// What it must ask for at least: the same variant.
        least: ResourceAmount,
    },
}

/// So much of something that a queue has a limit for.
///
/// ```
/// use jasmin_arc::{ResourceAmount, ByteSize};
///
/// assert_eq!(ResourceAmount::Slots(16).to_string(), "16 slots");
/// assert_eq!(ResourceAmount::Memory(ByteSize::gib(4)).to_string(), "4 GiB of memory");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ResourceAmount {
    /// The time from the job's start to its end.
    WallTime(Duration),
    /// The CPU time of all of the job's processes together.
    CpuTime(Duration),
    /// The main memory in each slot.
    Memory(ByteSize),
    /// The virtual memory in each slot.
    VirtualMemory(ByteSize),
    /// The disk space of the job.
    Disk(ByteSize),
    /// Slots of the job.
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
                // No days: limits are "48 h" to those who set them and to those who ask for them.
                let units = [(3600, "h"), (60, "min")];
                match units.into_iter().find(|(unit, _)| seconds != 0 && seconds.is_multiple_of(*unit)) {
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
        // What a CE publishes is not to move the cursor of a terminal.
        let list =
            |names: &[String]| names.iter().map(|name| name.escape_debug().to_string()).collect::<Vec<_>>().join(", ");
        match self {
            Mismatch::NoQueue { asked, offered } => {
                write!(f, "queue {asked:?} does not exist: there are {}", list(offered))
            }
            Mismatch::NoRuntimeEnvironment { asked, offered } if offered.is_empty() => {
                write!(f, "runtime environment {asked:?} is not installed")
            }
            Mismatch::NoRuntimeEnvironment { asked, offered } => {
                write!(f, "runtime environment {asked:?} is not installed: there are {}", list(offered))
            }
            Mismatch::NotServing { queue, state } => {
                write!(f, "queue {queue:?} takes no jobs now: it is {}", state.escape_debug())
            }
            Mismatch::TooMuch { queue, asked, most } => {
                write!(f, "{asked} are more than the {} that queue {queue:?} allows", most.size())
            }
            Mismatch::TooLittle { queue, asked, least } => {
                write!(f, "{asked} are less than the {} that queue {queue:?} is for", least.size())
            }
        }
    }
}

/// What a job asks for and the CE does not offer. Of the queues nothing, if there is one that offers all; else what is
/// wrong with each, or with the one that is asked for.
pub(crate) fn mismatches(job: &JobDescription, offer: &Offer) -> Vec<Mismatch> {
    let mut found = Vec::new();
    for runtime in job.runtime_environments() {
        let asked = runtime.to_string();
        if !offer.runtime_environments.contains(&asked) {
            found.push(Mismatch::NoRuntimeEnvironment { offered: similar(runtime.name(), offer), asked });
        }
    }
    let is_wanted = |queue: &&Queue| job.queue().is_none_or(|wanted| wanted == queue.name);
    let wanted: Vec<&Queue> = offer.queues.iter().filter(is_wanted).collect();
    if let (Some(asked), true) = (job.queue(), wanted.is_empty()) {
        let offered = sorted(offer.queues.iter().map(|queue| queue.name.clone()));
        found.push(Mismatch::NoQueue { asked: asked.into(), offered });
    }
    let faults: Vec<Vec<Mismatch>> = wanted.into_iter().map(|queue| faults(job, queue)).collect();
    if !faults.iter().any(Vec::is_empty) {
        found.extend(faults.into_iter().flatten());
    }
    // A queue that is published several times has the same fault each time.
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

/// The runtime environments that may have been meant.
fn similar(name: &str, offer: &Offer) -> Vec<String> {
    let is_similar = |offered: &&String| RuntimeEnvironment::new(offered.as_str()).name().eq_ignore_ascii_case(name);
    sorted(offer.runtime_environments.iter().filter(is_similar).cloned())
}

/// Why a queue is not for the job.
fn faults(job: &JobDescription, queue: &Queue) -> Vec<Mismatch> {
    let mut faults = Vec::new();
    let closed = |state: &&String| ["closed", "draining"].iter().any(|closed| state.eq_ignore_ascii_case(closed));
    if let Some(state) = queue.serving.iter().find(closed) {
        faults.push(Mismatch::NotServing { queue: queue.name.clone(), state: state.to_lowercase() });
    }
    let slots = u64::from(job.slots().unwrap_or(1));
    let in_all_slots = |limit: Option<u64>| limit.map(|limit| limit.saturating_mul(slots));
    let most_cpu_time = tighter(in_all_slots(queue.most_cpu_time), queue.most_total_cpu_time);
    let disk = queue.disk.map(|gib| gib.saturating_mul(1024));
    let seconds = |time: Option<Duration>| time.map(|time| time.as_secs());
    let mib = |size: Option<ByteSize>| size.map(ByteSize::in_mib);
    fn time(kind: fn(Duration) -> ResourceAmount) -> impl Fn(u64) -> ResourceAmount {
        move |seconds| kind(Duration::from_secs(seconds))
    }
    fn size(kind: fn(ByteSize) -> ResourceAmount) -> impl Fn(u64) -> ResourceAmount {
        move |mib| kind(ByteSize::mib(mib))
    }
    let mut check =
        |asked: Option<u64>, least: Option<u64>, most: Option<u64>, amount: &dyn Fn(u64) -> ResourceAmount| {
            let Some(asked) = asked else { return };
            let queue = queue.name.clone();
            match (least, most) {
                (_, Some(most)) if asked > most => {
                    faults.push(Mismatch::TooMuch { queue, asked: amount(asked), most: amount(most) });
                }
                (Some(least), _) if asked < least => {
                    faults.push(Mismatch::TooLittle { queue, asked: amount(asked), least: amount(least) });
                }
                _ => {}
            }
        };
    check(seconds(job.wall_time()), queue.least_wall_time, queue.most_wall_time, &time(ResourceAmount::WallTime));
    check(seconds(job.cpu_time()), in_all_slots(queue.least_cpu_time), most_cpu_time, &time(ResourceAmount::CpuTime));
    check(mib(job.memory()), None, queue.memory, &size(ResourceAmount::Memory));
    check(mib(job.virtual_memory()), None, queue.virtual_memory, &size(ResourceAmount::VirtualMemory));
    check(mib(job.disk()), None, disk, &size(ResourceAmount::Disk));
    check(Some(slots), None, queue.slots, &ResourceAmount::Slots);
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job() -> JobDescription {
        JobDescription::new("/bin/true")
    }

    fn hours(hours: u64) -> Duration {
        Duration::from_secs(hours * 3600)
    }

    fn queue(name: &str) -> Queue {
        Queue { name: name.into(), ..Queue::default() }
    }

    fn short() -> Queue {
        Queue {
            serving: vec!["production".into()],
            least_wall_time: Some(60),
            most_wall_time: Some(4 * 3600),
            least_cpu_time: Some(30),
            most_cpu_time: Some(2 * 3600),
            most_total_cpu_time: Some(10 * 3600),
            memory: Some(2048),
            virtual_memory: Some(4096),
            disk: Some(100),
            slots: Some(8),
            ..queue("short")
        }
    }

    fn offer(queues: &[Queue]) -> Offer {
        let runtimes = ["ENV/PROXY", "APPS/R-4.2.1", "APPS/R-4.3.0"];
        Offer { queues: queues.to_vec(), runtime_environments: runtimes.map(str::to_owned).to_vec() }
    }

    #[track_caller]
    fn check(job: &JobDescription, queues: &[Queue], expected: &[&str]) {
        let found = mismatches(job, &offer(queues));
        assert_eq!(found.iter().map(Mismatch::to_string).collect::<Vec<_>>(), expected);
        let text = serde_json::to_string(&found).unwrap();
        assert_eq!(serde_json::from_str::<Vec<Mismatch>>(&text).unwrap(), found, "{text}");
    }

    #[test]
    fn what_is_not_asked_for_or_not_told_fits() {
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
    fn a_queue_must_exist() {
        let queues = [queue("short"), queue("fork"), queue("short")];
        check(&job().with_queue("long"), &queues, &[r#"queue "long" does not exist: there are fork, short"#]);
        check(&job().with_queue("Short"), &queues, &[r#"queue "Short" does not exist: there are fork, short"#]);
        check(&job().with_queue("short"), &queues, &[]);
    }

    #[test]
    fn each_limit_is_kept_to_the_unit() {
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
        for (job, expected) in [
            (job().with_wall_time(Duration::from_secs(14_401)), "14401 s of wall time are more than the 4 h"),
            (job().with_wall_time(Duration::from_secs(59)), "59 s of wall time are less than the 1 min"),
            (job().with_cpu_time(Duration::from_secs(7_201)), "7201 s of CPU time are more than the 2 h"),
            (job().with_cpu_time(Duration::from_secs(29)), "29 s of CPU time are less than the 30 s"),
            (job().with_memory(more(ByteSize::gib(2))), "2049 MiB of memory are more than the 2 GiB"),
            (job().with_virtual_memory(more(ByteSize::gib(4))), "4097 MiB of virtual memory are more than the 4 GiB"),
            (job().with_disk(more(ByteSize::gib(100))), "102401 MiB of disk space are more than the 100 GiB"),
            (job().with_slots(9), "9 slots are more than the 8"),
        ] {
            let end = if expected.contains("less") { "is for" } else { "allows" };
            let expected = format!("{expected} that queue \"short\" {end}");
            check(&job, &[short()], &[&expected]);
            check(&job.with_queue("short"), &[queue("any"), short()], &[&expected]);
        }
    }

    #[test]
    fn cpu_time_is_limited_in_each_slot_and_in_all() {
        let job = |slots, time| job().with_slots(slots).with_cpu_time(hours(time));
        check(&job(3, 6), &[short()], &[]);
        check(&job(3, 7), &[short()], &[r#"7 h of CPU time are more than the 6 h that queue "short" allows"#]);
        check(&job(8, 10), &[short()], &[]);
        check(&job(8, 11), &[short()], &[r#"11 h of CPU time are more than the 10 h that queue "short" allows"#]);
        let little = job(4, 1).with_cpu_time(Duration::from_secs(119));
        check(&little, &[short()], &[r#"119 s of CPU time are less than the 2 min that queue "short" is for"#]);
        check(&job(8, 11), &[Queue { most_cpu_time: Some(u64::MAX), ..queue("x") }], &[]);
    }

    #[test]
    fn one_queue_must_satisfy_all() {
        let wide = Queue { most_wall_time: Some(3600), slots: Some(64), ..queue("wide") };
        let long = Queue { most_wall_time: Some(48 * 3600), slots: Some(1), ..queue("long") };
        let queues = [wide, long];
        check(&job().with_slots(64), &queues, &[]);
        check(&job().with_wall_time(hours(48)), &queues, &[]);
        check(
            &job().with_slots(64).with_wall_time(hours(48)),
            &queues,
            &[
                r#"48 h of wall time are more than the 1 h that queue "wide" allows"#,
                r#"64 slots are more than the 1 that queue "long" allows"#,
            ],
        );
        // The same queue, published for two virtual organisations.
        let twice = [short(), Queue { slots: Some(16), ..short() }];
        check(&job().with_queue("short").with_slots(16), &twice, &[]);
        let large = job().with_memory(ByteSize::gib(3));
        check(&large, &twice, &[r#"3 GiB of memory are more than the 2 GiB that queue "short" allows"#]);
    }

    #[test]
    fn a_queue_that_takes_no_jobs_is_none() {
        let state = |name, states: &[&str]| Queue {
            serving: states.iter().map(|state| (*state).to_owned()).collect(),
            ..queue(name)
        };
        let draining = state("a", &["production", "Draining"]);
        check(&job(), std::slice::from_ref(&draining), &[r#"queue "a" takes no jobs now: it is draining"#]);
        check(&job(), &[state("a", &["closed"])], &[r#"queue "a" takes no jobs now: it is closed"#]);
        check(&job(), &[draining, state("b", &["queueing", "production", "new"])], &[]);
    }

    #[test]
    fn runtime_environments_are_the_same_to_the_letter() {
        let with = |name: &str| job().with_runtime_environment(RuntimeEnvironment::new(name).with_option("x"));
        check(&with("ENV/PROXY"), &[short()], &[]);
        check(&with("APPS/R-4.3.0"), &[short()], &[]);
        check(&with("ENV/SINGULARITY"), &[short()], &[r#"runtime environment "ENV/SINGULARITY" is not installed"#]);
        for (asked, offered) in
            [("env/proxy", "ENV/PROXY"), ("ENV/PROXY-1", "ENV/PROXY"), ("APPS/R", "APPS/R-4.2.1, APPS/R-4.3.0")]
        {
            let expected = format!("runtime environment {asked:?} is not installed: there are {offered}");
            check(&with(asked), &[short()], &[&expected]);
        }
        let all = with("A").with_runtime_environment(RuntimeEnvironment::new("A")).with_queue("b").with_slots(99);
        check(
            &all,
            &[short()],
            &[r#"runtime environment "A" is not installed"#, r#"queue "b" does not exist: there are short"#],
        );
    }

    #[test]
    fn placeholders_are_not_limits() {
        for number in [i64::MIN, -1, 0, 999_999_999, i64::from(i32::MAX), 999_999_999_999_999_999, i64::MAX] {
            assert_eq!(told(number), None, "{number}");
        }
        for number in [1, 999_999_998, 1_000_000_000, i64::from(i32::MAX) - 1] {
            assert_eq!(told(number), Some(number.unsigned_abs()));
        }
        assert_eq!([tighter(None, Some(2)), tighter(Some(1), Some(2)), tighter(None, None)], [Some(2), Some(1), None]);
    }

    #[test]
    fn what_a_ce_calls_its_queues_does_no_harm() {
        let expected = r#"queue "a" does not exist: there are \u{1b}[2J\n"#;
        check(&job().with_queue("a"), &[queue("\u{1b}[2J\n")], &[expected]);
        fn plain<T: Send + Sync + 'static>() {}
        plain::<Mismatch>();
    }
}
