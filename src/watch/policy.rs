//! [`PollPolicy`]: how often a watch asks the CE.

use std::time::Duration;

/// The shortest interval between two polls.
const SHORTEST: Duration = Duration::from_millis(20);

/// The part of an interval that jitter may take away.
const JITTER: f64 = 0.2;

/// How often a [`Watch`](crate::Watch) asks the CE.
///
/// The interval begins with [`first_interval`](Self::first_interval), and each one is longer than the one before by
/// [`factor`](Self::factor), up to [`max_interval`](Self::max_interval). When a job changes, the interval begins anew. With
/// the default factor, an interval is 0.2 s plus a twenty-fifth of the time since the last change, without jitter.
///
/// The CE sets a lower limit: a list takes A-REX 0.1 ms for each job that it has, and the pause after it is several times as
/// long: a second for up to 3000 jobs, and seven seconds for 10,000. Over EMI-ES, where the CE publishes states once a minute,
/// it is at least ten seconds.
///
/// ```no_run
/// use std::time::Duration;
///
/// use jasmin_arc::PollPolicy;
///
/// # fn main() -> jasmin_arc::Result<()> {
/// # let arc = jasmin_arc::ArcInterface::builder().build()?;
/// # let jobs: Vec<jasmin_arc::JobId> = Vec::new();
/// let unhurried = PollPolicy::default()
///     .with_first_interval(Duration::from_secs(10))
///     .with_max_interval(Duration::from_secs(60));
/// arc.watch(&jobs).poll(unhurried).wait()?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq)]
#[must_use]
pub struct PollPolicy {
    first: Duration,
    max: Duration,
    factor: f64,
    jitter: bool,
}

impl Default for PollPolicy {
    /// From 0.2 to 5 seconds, growing by the factor 1.04, with jitter.
    fn default() -> Self {
        PollPolicy { first: Duration::from_millis(200), max: Duration::from_secs(5), factor: 1.04, jitter: true }
    }
}

impl PollPolicy {
    /// Sets the first interval, at least 20 ms. The default is 0.2 seconds.
    pub fn with_first_interval(mut self, interval: Duration) -> Self {
        self.first = interval.max(SHORTEST);
        self
    }

    /// Sets the longest interval. The default is 5 seconds. It is never shorter than the first one.
    pub fn with_max_interval(mut self, interval: Duration) -> Self {
        self.max = interval;
        self
    }

    /// Sets by how much each interval is longer than the one before. The default is 1.04. A factor below 1, or one that is
    /// no number, counts as 1.
    pub fn with_factor(mut self, factor: f64) -> Self {
        self.factor = if factor >= 1.0 { factor } else { 1.0 };
        self
    }

    /// Sets whether each interval is shortened by a random part of up to a fifth, so that many programs do not ask at the
    /// same moment. The default is true.
    pub fn with_jitter(mut self, jitter: bool) -> Self {
        self.jitter = jitter;
        self
    }

    /// The first interval.
    pub fn first_interval(&self) -> Duration {
        self.first
    }

    /// The longest interval.
    pub fn max_interval(&self) -> Duration {
        self.max.max(self.first)
    }

    /// By how much each interval is longer than the one before.
    pub fn factor(&self) -> f64 {
        self.factor
    }

    /// Whether intervals have a random part.
    pub fn jitter(&self) -> bool {
        self.jitter
    }
}

/// The intervals of one watch.
#[derive(Clone, Debug)]
pub(crate) struct Pace {
    policy: PollPolicy,
    next: Duration,
}

impl Pace {
    pub(crate) fn new(policy: PollPolicy) -> Pace {
        let next = policy.first_interval();
        Pace { policy, next }
    }

    /// Begins anew with the first interval.
    pub(crate) fn restart(&mut self) {
        self.next = self.policy.first_interval();
    }

    /// Returns the time until the next poll, at least `least`. `random` is from 0 to 1.
    pub(crate) fn interval(&mut self, least: Duration, random: f64) -> Duration {
        let max = self.policy.max_interval();
        let now = self.next.min(max);
        let longer = now.as_secs_f64() * self.policy.factor();
        self.next = Duration::try_from_secs_f64(longer).unwrap_or(max).min(max);
        let jitter = if self.policy.jitter() { now.mul_f64(JITTER * random.clamp(0.0, 1.0)) } else { Duration::ZERO };
        now.saturating_sub(jitter).max(least)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn millis(pace: &mut Pace, count: usize) -> Vec<u128> {
        (0..count).map(|_| pace.interval(Duration::ZERO, 0.5).as_millis()).collect()
    }

    #[test]
    fn intervals_grow_to_the_maximum_and_begin_anew() {
        let policy = PollPolicy::default()
            .with_first_interval(Duration::from_millis(100))
            .with_max_interval(Duration::from_millis(500))
            .with_factor(2.0)
            .with_jitter(false);
        let mut pace = Pace::new(policy);
        assert_eq!(millis(&mut pace, 5), [100, 200, 400, 500, 500]);
        pace.restart();
        assert_eq!(millis(&mut pace, 2), [100, 200]);
        assert_eq!(pace.interval(Duration::from_secs(9), 0.5), Duration::from_secs(9));
    }

    #[test]
    fn a_default_interval_is_a_small_part_of_the_time_since_the_last_change() {
        let mut pace = Pace::new(PollPolicy::default());
        let mut elapsed = Duration::ZERO;
        while elapsed < Duration::from_secs(3600) {
            let interval = pace.interval(Duration::ZERO, 0.0);
            let bound = Duration::from_millis(201) + elapsed.mul_f64(0.041);
            assert!(interval <= bound.min(Duration::from_secs(5)), "{interval:?} after {elapsed:?}");
            elapsed += interval;
        }
        assert!(pace.interval(Duration::ZERO, 0.0) > Duration::from_millis(4999));
    }

    #[test]
    fn jitter_only_shortens() {
        for random in [0.0, 0.3, 1.0, 7.0] {
            let interval = Pace::new(PollPolicy::default()).interval(Duration::ZERO, random);
            assert!((160..=200).contains(&interval.as_millis()), "{random}: {interval:?}");
        }
    }

    #[test]
    fn odd_values_are_harmless() {
        let odd = PollPolicy::default().with_first_interval(Duration::ZERO).with_max_interval(Duration::ZERO);
        assert_eq!(Pace::new(odd.with_jitter(false)).interval(Duration::ZERO, 0.0), SHORTEST);
        let endless = PollPolicy::default().with_first_interval(Duration::MAX);
        assert!(Pace::new(endless).interval(Duration::ZERO, 0.0) > Duration::from_secs(1 << 60));
        for factor in [f64::NAN, -1.0, 0.0, f64::INFINITY, f64::MAX] {
            let policy = PollPolicy::default().with_factor(factor).with_max_interval(Duration::MAX).with_jitter(false);
            let mut pace = Pace::new(policy);
            let intervals = [(); 3].map(|()| pace.interval(Duration::ZERO, 0.0));
            assert!(intervals.is_sorted() && intervals[0] == Duration::from_millis(200), "{factor}: {intervals:?}");
        }
    }
}
