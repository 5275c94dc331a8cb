//! [`ServiceInfo`] and [`Ping`]: what a CE publishes about itself, and whether it serves the user.

use std::fmt;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use crate::util::byte_size::ByteSize;
use crate::util::serde_forms;

/// What an ARC-CE publishes about itself (GLUE2's `ComputingService`), from
/// [`ArcInterface::service_info`](crate::ArcInterface::service_info).
///
/// A value that the CE does not publish is `None` or empty, and so is a number that stands for "unknown". An ARC-CE updates
/// the values about once a minute. Over EMI-ES, only the queues with their limits, the serving state, the total slots, the
/// free disk space and the runtime environments are known.
///
/// In the serde form, points in time are whole seconds since 1970, durations are whole seconds, and sizes are bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct ServiceInfo {
    /// The name of the CE, which is often that of its host.
    pub name: Option<String>,
    /// The software, such as `nordugrid-arc`.
    pub implementation: Option<String>,
    /// The version of the software, which is the version of ARC, such as `6.17.0`. A-REX 7.0 does not publish it.
    pub version: Option<String>,
    /// The health of the interface in use.
    pub health: Option<HealthState>,
    /// Whether the interface in use accepts jobs.
    pub state: Option<ServingState>,
    /// The interfaces of the CE.
    pub interfaces: Vec<ServiceInterface>,
    /// The queues. A queue appears more than once if the CE publishes it for several virtual organisations.
    pub queues: Vec<QueueInfo>,
    /// The batch system, such as `SLURM` or `fork`.
    pub batch_system: Option<String>,
    /// The version of the batch system.
    pub batch_system_version: Option<String>,
    /// The slots of the cluster.
    pub total_slots: Option<u64>,
    /// The slots that jobs of the CE use.
    pub used_slots: Option<u64>,
    /// The slots that other jobs use, which did not come through the CE.
    pub other_used_slots: Option<u64>,
    /// The jobs on the CE that have not ended.
    pub total_jobs: Option<u64>,
    /// The jobs that run in the batch system.
    pub running_jobs: Option<u64>,
    /// The jobs that wait in the batch system.
    pub waiting_jobs: Option<u64>,
    /// The jobs whose files the CE transfers.
    pub staging_jobs: Option<u64>,
    /// The jobs that wait for their turn in A-REX, before the batch system gets them.
    pub accepted_jobs: Option<u64>,
    /// The space for session directories that is free, for all jobs together.
    pub free_disk: Option<ByteSize>,
    /// The runtime environments that jobs may request, with versions.
    pub runtime_environments: Vec<String>,
    /// When the CE published these values.
    #[serde(with = "serde_forms::since_1970")]
    pub published_at: Option<SystemTime>,
}

impl ServiceInfo {
    /// The slots that no job uses. `None` if the CE does not publish enough to tell.
    ///
    /// It is what the slots in use leave of the cluster, or the free slots of the queue that has the most.
    pub fn free_slots(&self) -> Option<u64> {
        let unused = |total: u64| Some(total.saturating_sub(self.used_slots?).saturating_sub(self.other_used_slots?));
        self.total_slots.and_then(unused).or_else(|| self.queues.iter().filter_map(|queue| queue.free_slots).max())
    }
}

/// An interface of a CE (GLUE2's `ComputingEndpoint`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct ServiceInterface {
    /// The name, such as `org.nordugrid.arcrest`.
    pub name: String,
    /// The version that the CE publishes. ARC 6.17 publishes `0.1` for version 1.0 of REST.
    pub version: Option<String>,
    /// The URL.
    pub url: Option<String>,
    /// The health.
    pub health: Option<HealthState>,
    /// Whether it accepts jobs.
    pub state: Option<ServingState>,
}

/// A queue of a CE, with its limits and its load (GLUE2's `ComputingShare`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct QueueInfo {
    /// The name, as jobs request it.
    pub name: String,
    /// The name of the share, which differs from that of the queue if the CE publishes it for several virtual organisations.
    pub share: Option<String>,
    /// Whether the queue accepts jobs.
    pub state: Option<ServingState>,
    /// The least wall time of a job.
    #[serde(with = "serde_forms::seconds")]
    pub min_wall_time: Option<Duration>,
    /// The longest wall time of a job.
    #[serde(with = "serde_forms::seconds")]
    pub max_wall_time: Option<Duration>,
    /// The least CPU time of a job, per slot.
    #[serde(with = "serde_forms::seconds")]
    pub min_cpu_time: Option<Duration>,
    /// The longest CPU time of a job, per slot.
    #[serde(with = "serde_forms::seconds")]
    pub max_cpu_time: Option<Duration>,
    /// The longest CPU time of a job, in all slots together.
    #[serde(with = "serde_forms::seconds")]
    pub max_total_cpu_time: Option<Duration>,
    /// The main memory that a job may use, per slot.
    pub max_memory: Option<ByteSize>,
    /// The virtual memory that a job may use, per slot.
    pub max_virtual_memory: Option<ByteSize>,
    /// The disk space that a job may use.
    pub max_disk: Option<ByteSize>,
    /// The slots that a job may use.
    pub max_slots: Option<u64>,
    /// The jobs that may run at a time.
    pub max_running_jobs: Option<u64>,
    /// The jobs of one user that may run at a time.
    pub max_user_running_jobs: Option<u64>,
    /// The jobs that may wait in the queue.
    pub max_waiting_jobs: Option<u64>,
    /// The jobs in the queue that have not ended, and the CE's other jobs for it.
    pub total_jobs: Option<u64>,
    /// The jobs that run.
    pub running_jobs: Option<u64>,
    /// The jobs that wait in the batch system.
    pub waiting_jobs: Option<u64>,
    /// The slots that are free for the user.
    pub free_slots: Option<u64>,
    /// The slots that waiting jobs request.
    pub requested_slots: Option<u64>,
}

/// Whether a queue or a CE accepts jobs (GLUE2's `ServingState`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ServingState {
    /// It accepts jobs and runs them.
    Production,
    /// It accepts jobs and does not run them yet.
    Queueing,
    /// It accepts no new jobs and runs those that it has.
    Draining,
    /// It neither accepts nor runs jobs.
    Closed,
    /// A state that this crate does not know.
    #[serde(other)]
    Other,
}

impl ServingState {
    const NAMES: [(&'static str, ServingState); 4] = [
        ("production", ServingState::Production),
        ("queueing", ServingState::Queueing),
        ("draining", ServingState::Draining),
        ("closed", ServingState::Closed),
    ];

    /// Whether new jobs are accepted. True for a state that is not known.
    pub const fn accepts_jobs(self) -> bool {
        !matches!(self, ServingState::Draining | ServingState::Closed)
    }
}

impl From<&str> for ServingState {
    fn from(text: &str) -> Self {
        let known = Self::NAMES.iter().find(|(name, _)| text.eq_ignore_ascii_case(name));
        known.map_or(ServingState::Other, |(_, state)| *state)
    }
}

impl fmt::Display for ServingState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(Self::NAMES.iter().find(|(_, state)| state == self).map_or("other", |(name, _)| name))
    }
}

/// The health of an interface of a CE (GLUE2's `HealthState`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum HealthState {
    /// It works.
    Ok,
    /// It works, with a problem.
    Warning,
    /// It does not work as it should.
    Critical,
    /// The CE does not know.
    Unknown,
    /// A state that this crate does not know.
    #[serde(other)]
    Other,
}

impl HealthState {
    const NAMES: [(&'static str, HealthState); 4] = [
        ("ok", HealthState::Ok),
        ("warning", HealthState::Warning),
        ("critical", HealthState::Critical),
        ("unknown", HealthState::Unknown),
    ];
}

impl From<&str> for HealthState {
    fn from(text: &str) -> Self {
        let known = Self::NAMES.iter().find(|(name, _)| text.eq_ignore_ascii_case(name));
        known.map_or(HealthState::Other, |(_, state)| *state)
    }
}

impl fmt::Display for HealthState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(Self::NAMES.iter().find(|(_, state)| state == self).map_or("other", |(name, _)| name))
    }
}

/// The answer of a CE that serves the user, from [`ArcInterface::ping`](crate::ArcInterface::ping).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Ping {
    /// The URL of the CE.
    pub endpoint: String,
    /// As whom the CE has authorised the user: the distinguished name of the certificate, or the issuer and the subject of
    /// the token.
    pub identity: String,
    /// How long the request took. Whole seconds in the serde form.
    #[serde(with = "serde_forms::whole_seconds")]
    pub response_time: Duration,
}

impl Ping {
    pub(crate) fn new(endpoint: String, identity: String, response_time: Duration) -> Ping {
        Ping { endpoint, identity, response_time }
    }
}

/// Returns a published limit, or `None` if the number is a placeholder. GLUE2 writes nines for an unknown limit, and
/// ARC's classes use -1. A-REX writes 0 for a limit that it could not read, and the largest integer for one that SLURM
/// does not set.
pub(crate) fn published_limit(number: i64) -> Option<u64> {
    published_count(number).filter(|number| *number > 0)
}

/// Returns a published number of jobs or slots, which may be 0, or `None` if it is a placeholder.
pub(crate) fn published_count(number: i64) -> Option<u64> {
    const UNKNOWN: i64 = 999_999_999;
    u64::try_from(number).ok().filter(|_| number < i64::from(i32::MAX) && number != UNKNOWN)
}

/// The smaller of two limits.
pub(crate) fn tighter(one: Option<u64>, other: Option<u64>) -> Option<u64> {
    one.into_iter().chain(other).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_not_limits() {
        for number in [i64::MIN, -1, 0, 999_999_999, i64::from(i32::MAX), 999_999_999_999_999_999, i64::MAX] {
            assert_eq!(published_limit(number), None, "{number}");
        }
        for number in [1, 999_999_998, 1_000_000_000, i64::from(i32::MAX) - 1] {
            assert_eq!(published_limit(number), Some(number.unsigned_abs()));
        }
        assert_eq!([published_count(0), published_count(-1), published_count(999_999_999)], [Some(0), None, None]);
        assert_eq!([tighter(None, Some(2)), tighter(Some(1), Some(2)), tighter(None, None)], [Some(2), Some(1), None]);
    }

    #[test]
    fn states_have_names_and_unknown_ones_are_other() {
        for (text, state) in ServingState::NAMES {
            assert_eq!((ServingState::from(text.to_uppercase().as_str()), state.to_string()), (state, text.to_owned()));
            assert_eq!(serde_json::to_value(state).unwrap(), text);
        }
        for (text, state) in HealthState::NAMES {
            assert_eq!((HealthState::from(text), state.to_string()), (state, text.to_owned()));
        }
        assert_eq!((ServingState::from("new"), HealthState::from("new")), (ServingState::Other, HealthState::Other));
        assert_eq!(serde_json::from_str::<ServingState>("\"new\"").unwrap(), ServingState::Other);
        assert!(ServingState::Other.accepts_jobs() && !ServingState::Draining.accepts_jobs());
    }

    #[test]
    fn free_slots_are_what_the_jobs_leave() {
        let queues = [1, 5].map(|slots| QueueInfo { free_slots: Some(slots), ..QueueInfo::default() });
        let mut info = ServiceInfo { queues: queues.to_vec(), ..ServiceInfo::default() };
        assert_eq!(info.free_slots(), Some(5));
        info.total_slots = Some(10);
        assert_eq!(info.free_slots(), Some(5));
        (info.used_slots, info.other_used_slots) = (Some(6), Some(1));
        assert_eq!(info.free_slots(), Some(3));
        info.used_slots = Some(60);
        assert_eq!(info.free_slots(), Some(0));
        assert_eq!(ServiceInfo::default().free_slots(), None);
    }

    #[test]
    fn information_is_serialised_with_seconds_and_bytes() {
        let queue = QueueInfo {
            name: "fork".into(),
            max_wall_time: Some(Duration::from_secs(60)),
            max_memory: Some(ByteSize::mib(1)),
            ..QueueInfo::default()
        };
        let info = ServiceInfo { queues: vec![queue], state: Some(ServingState::Closed), ..ServiceInfo::default() };
        let value = serde_json::to_value(&info).unwrap();
        assert_eq!(value["queues"][0]["max_wall_time"], 60);
        assert_eq!(value["queues"][0]["max_memory"], 1 << 20);
        assert_eq!(value["state"], "closed");
        assert_eq!(serde_json::from_value::<ServiceInfo>(value).unwrap(), info);
        assert_eq!(serde_json::from_str::<ServiceInfo>("{}").unwrap(), ServiceInfo::default());
    }
}
