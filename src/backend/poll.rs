//! What the poll of a watch finds, and what it remembers until the next one.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::error::Result;
use crate::job::{ArcState, JobId};

/// What a poll found about jobs.
#[derive(Debug, Default)]
pub(crate) struct Polled {
    /// One result for each job, in the order of the jobs. `None` if the CE could not tell, and may do so in the next poll.
    pub(crate) states: Vec<Result<Option<ArcState>>>,
    /// The least time until the next poll.
    pub(crate) pause: Duration,
    /// Whether the next poll should follow soon, because a state is to be confirmed.
    pub(crate) is_unsettled: bool,
    /// The user's other jobs on the CE, if the poll looks for them. Those that have ended may be left out for a minute.
    pub(crate) others: Vec<JobId>,
}

/// What a backend remembers from one poll of a watch to the next.
#[derive(Debug, Default)]
pub(crate) struct PollMemory {
    /// Whether to look for the user's other jobs.
    pub(crate) finds_others: bool,
    /// When the jobs that have ended were last listed.
    pub(crate) ended_listed_at: Option<Instant>,
    /// When the CE was last asked for the published states.
    pub(crate) published_at: Option<Instant>,
    /// When the CE was last asked for the time of its publication, and that time.
    pub(crate) publication: Option<(Instant, String)>,
    /// Since when the CE is known to have published newer states.
    pub(crate) published_news_at: Option<Instant>,
    /// The last published state of each job in the batch system, in the terms of the protocol.
    pub(crate) published: HashMap<String, String>,
    /// The jobs of which the CE had no state in the last polls.
    pub(crate) missing: HashMap<String, Missing>,
    /// Whether the last poll that missed a job read the list of ended jobs.
    pub(crate) has_listed_ended: bool,
}

/// A job of which the CE has no state.
#[derive(Clone, Debug)]
pub(crate) struct Missing {
    /// In how many polls in a row.
    pub(crate) polls: u32,
    pub(crate) since: Instant,
    /// The CE has confirmed, after a long time, that it has no state of the job.
    pub(crate) is_lost: bool,
}

impl Default for Missing {
    fn default() -> Self {
        Missing { polls: 0, since: Instant::now(), is_lost: false }
    }
}
