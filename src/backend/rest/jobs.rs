//! Requests about jobs: many in one, in the order asked.

use std::collections::HashMap;

use serde::Deserialize;

use super::session::{Pool, Repeat};
use crate::error::{Error, Result};

/// How many jobs are named in one request. A-REX reads lists of jobs up to 1 MiB, which is about 12,000 of them; fewer
/// keep the time of a request bounded.
pub(super) const CHUNK: usize = 1000;

/// What A-REX says of one job in an answer.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(default)]
pub(super) struct Answer {
    #[serde(rename = "status-code")]
    pub(super) code: u16,
    pub(super) reason: String,
    pub(super) id: String,
    pub(super) state: String,
}

#[derive(Deserialize)]
struct Answers {
    #[serde(default)]
    job: Vec<Answer>,
}

/// Reads A-REX's list of jobs.
pub(super) fn parse(pool: &Pool, xml: &[u8]) -> Result<Vec<Answer>> {
    let text = String::from_utf8_lossy(xml);
    quick_xml::de::from_str::<Answers>(&text).map(|answers| answers.job).map_err(|error| Error::Connection {
        endpoint: pool.endpoint().url(),
        message: format!("the answer is no list of jobs: {error}"),
    })
}

/// The request body that names jobs. Ids have been checked: they need no escaping.
pub(super) fn list(ids: &[&str]) -> Vec<u8> {
    let mut xml = String::with_capacity(16 + ids.len() * 90);
    xml.push_str("<jobs>");
    for id in ids {
        xml.extend(["<job><id>", id, "</id></job>"]);
    }
    xml.push_str("</jobs>");
    xml.into_bytes()
}

/// Asks for an action on jobs, and returns the answer for each, in order.
///
/// All the actions that are asked for this way do nothing more when they are repeated.
pub(super) fn act(pool: &Pool, action: &str, ids: &[&str]) -> Result<Vec<Answer>> {
    let mut answers = HashMap::with_capacity(ids.len());
    for chunk in ids.chunks(CHUNK) {
        let reply = pool.request(Repeat::Once, "POST", &format!("jobs?action={action}"), &list(chunk))?;
        if reply.code != 201 {
            return Err(pool.refused(&reply));
        }
        answers.extend(parse(pool, &reply.body)?.into_iter().map(|answer| (answer.id.clone(), answer)));
    }
    let answer = |id: &&str| {
        answers.get(*id).cloned().ok_or_else(|| Error::Connection {
            endpoint: pool.endpoint().url(),
            message: format!("the answer says nothing of job {id}"),
        })
    };
    ids.iter().map(answer).collect()
}
