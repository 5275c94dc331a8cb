//! [`JobFilter`]: which jobs to find on a CE.

use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::{ArcState, JobId, JobInfo, JobStatus};
use crate::util::pattern::{ParsePatternError, Pattern};
use crate::util::serde_forms;

/// Selects jobs on a CE, for [`ArcInterface::find_jobs`](crate::ArcInterface::find_jobs). An empty filter selects all jobs
/// of the user.
///
/// A job must satisfy every criterion that is set. Of several states or statuses, one is enough.
///
/// ```
/// use std::time::{Duration, SystemTime};
///
/// use jasmin_arc::{JobFilter, JobStatus};
///
/// # fn main() -> Result<(), jasmin_arc::ParsePatternError> {
/// let yesterday = SystemTime::now() - Duration::from_secs(24 * 3600);
/// let failed = JobFilter::new()
///     .with_status(JobStatus::Failed)
///     .with_name_pattern("sweep-*")?
///     .with_submitted_since(yesterday);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[must_use]
pub struct JobFilter {
    ids: Option<Vec<JobId>>,
    states: Vec<ArcState>,
    statuses: Vec<JobStatus>,
    name: Option<String>,
    name_pattern: Option<Pattern>,
    key: Option<String>,
    owner: Option<String>,
    #[serde(with = "serde_forms::since_1970")]
    submitted_since: Option<SystemTime>,
}

impl JobFilter {
    /// Creates a filter that selects all jobs.
    pub fn new() -> JobFilter {
        JobFilter::default()
    }

    /// Selects jobs among these ids only. The CE then looks at no other job, which is the cheapest way to find some of many
    /// jobs.
    pub fn with_ids(mut self, ids: impl IntoIterator<Item = JobId>) -> Self {
        self.ids.get_or_insert_default().extend(ids);
        self
    }

    /// Selects jobs in this state. Call it again to add another one.
    pub fn with_state(mut self, state: ArcState) -> Self {
        self.states.push(state);
        self
    }

    /// Selects jobs with this status. Call it again to add another one.
    pub fn with_status(mut self, status: JobStatus) -> Self {
        self.statuses.push(status);
        self
    }

    /// Selects jobs with this name.
    pub fn with_name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Selects jobs whose whole name matches a pattern with `*`, `?`, `[...]` and `{a,b}`. `*` matches any text,
    /// `?` and `[...]` match one ASCII character.
    ///
    /// # Errors
    ///
    /// [`ParsePatternError`] if the text is not a pattern.
    pub fn with_name_pattern(mut self, pattern: &str) -> Result<Self, ParsePatternError> {
        self.name_pattern = Some(pattern.parse()?);
        Ok(self)
    }

    /// Selects the job that was submitted with this key: see [`with_key`](crate::JobDescription::with_key).
    ///
    /// [`find_submission`](crate::ArcInterface::find_submission) is cheaper on the machine that submitted the job.
    pub fn with_key(mut self, key: impl Into<String>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// Selects jobs of this distinguished name. A CE lists only jobs of the user who asks.
    pub fn with_owner(mut self, owner: impl Into<String>) -> Self {
        self.owner = Some(owner.into());
        self
    }

    /// Selects jobs that the CE has accepted at this time or later, by the clock of the CE, in whole seconds.
    pub fn with_submitted_since(mut self, since: SystemTime) -> Self {
        self.submitted_since = Some(since);
        self
    }

    /// The ids among which the filter selects, if they are limited.
    pub(crate) fn ids(&self) -> Option<&[JobId]> {
        self.ids.as_deref()
    }

    /// Whether a job in one of these states could be selected.
    pub(crate) fn selects_one_of(&self, states: &[ArcState]) -> bool {
        states.iter().any(|state| {
            (self.states.is_empty() || self.states.contains(state))
                && (self.statuses.is_empty() || self.statuses.contains(&state.status()))
        })
    }

    /// Whether the filter depends on the name or the key of a job.
    pub(crate) fn needs_name_or_key(&self) -> bool {
        self.name.is_some() || self.name_pattern.is_some() || self.key.is_some()
    }

    /// Whether the job satisfies every criterion except for the ids.
    pub(crate) fn selects(&self, job: &JobInfo) -> bool {
        let name = job.name.as_deref().unwrap_or_default();
        // The CE publishes whole seconds.
        let second = |time: SystemTime| time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        self.selects_one_of(&[job.state])
            && self.name.as_ref().is_none_or(|wanted| wanted == name)
            && self.name_pattern.as_ref().is_none_or(|pattern| pattern.matches(name))
            && self.key.as_ref().is_none_or(|key| job.key.as_ref() == Some(key))
            && self.owner.as_ref().is_none_or(|owner| job.owner.as_ref() == Some(owner))
            && self
                .submitted_since
                .is_none_or(|since| job.submission_time.is_some_and(|submitted| second(submitted) >= second(since)))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn jobs_must_satisfy_every_criterion() {
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let job = JobInfo {
            state: ArcState::Queuing,
            name: Some("sweep-é".into()),
            key: Some("k".into()),
            owner: Some("/CN=user".into()),
            submission_time: Some(at(100)),
            ..JobInfo::new("a".into())
        };
        let all = || JobFilter::new().with_state(ArcState::Running).with_state(ArcState::Queuing);
        assert!(JobFilter::new().selects(&job) && all().selects(&job));
        let pattern = |text: &str| all().with_name_pattern(text).unwrap();
        for (filter, expected) in [
            (all().with_status(JobStatus::NotStarted), true),
            (all().with_status(JobStatus::Failed), false),
            (JobFilter::new().with_state(ArcState::Hold), false),
            (all().with_name("sweep-é"), true),
            (all().with_name("sweep"), false),
            (pattern("s?eep-*"), true),
            (pattern("*x*"), false),
            (all().with_key("k"), true),
            (all().with_key("l"), false),
            (all().with_owner("/CN=user"), true),
            (all().with_owner("/CN=other"), false),
            (all().with_submitted_since(at(100) + Duration::from_millis(900)), true),
            (all().with_submitted_since(at(101)), false),
        ] {
            assert_eq!(filter.selects(&job), expected, "{filter:?}");
        }
        let unnamed = JobInfo::new("a".into());
        assert!(!JobFilter::new().with_name("x").selects(&unnamed));
        assert!(!JobFilter::new().with_submitted_since(at(0)).selects(&unnamed));
    }

    #[test]
    fn filters_are_serialised_with_their_pattern() {
        let filter =
            JobFilter::new().with_ids(["a".into()]).with_status(JobStatus::Failed).with_name_pattern("a*").unwrap();
        let value = serde_json::to_value(&filter).unwrap();
        assert_eq!(value["name_pattern"], "a*");
        assert_eq!(serde_json::from_value::<JobFilter>(value).unwrap(), filter);
        assert_eq!(serde_json::from_str::<JobFilter>("{}").unwrap(), JobFilter::new());
        assert!(serde_json::from_str::<JobFilter>(r#"{"name_pattern": "["}"#).is_err());
        assert!(serde_json::from_str::<JobFilter>(r#"{"nam": "a"}"#).is_err());
    }
}
