//! [`Offer`]: the queues and runtime environments that a CE publishes.

/// What a CE publishes about itself. A value that it does not publish is no limit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Offer {
    /// A queue appears more than once if the CE publishes it for several virtual organisations.
    pub(crate) queues: Vec<Queue>,
    /// Names with versions, as jobs request them.
    pub(crate) runtime_environments: Vec<String>,
}

/// A queue and its limits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Queue {
    pub(crate) name: String,
    /// GLUE2's serving states of the queue and of the CE.
    pub(crate) serving_states: Vec<String>,
    /// In seconds.
    pub(crate) min_wall_time: Option<u64>,
    /// In seconds.
    pub(crate) max_wall_time: Option<u64>,
    /// In seconds per slot.
    pub(crate) min_cpu_time: Option<u64>,
    /// In seconds per slot.
    pub(crate) max_cpu_time: Option<u64>,
    /// In seconds for all slots together.
    pub(crate) max_total_cpu_time: Option<u64>,
    /// In MiB per slot.
    pub(crate) memory: Option<u64>,
    /// In MiB per slot.
    pub(crate) virtual_memory: Option<u64>,
    /// In GiB.
    pub(crate) disk: Option<u64>,
    pub(crate) slots: Option<u64>,
}

/// Returns a published limit, or `None` if the number is a placeholder. GLUE2 writes nines for an unknown limit, and
/// ARC's classes use -1. A-REX writes 0 for a limit that it could not read, and the largest integer for one that SLURM
/// does not set.
pub(crate) fn published_limit(number: i64) -> Option<u64> {
    const UNKNOWN: i64 = 999_999_999;
    u64::try_from(number).ok().filter(|_| (1..i64::from(i32::MAX)).contains(&number) && number != UNKNOWN)
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
        assert_eq!([tighter(None, Some(2)), tighter(Some(1), Some(2)), tighter(None, None)], [Some(2), Some(1), None]);
    }
}
