//! Bulk requests about jobs, with one result for each job in the order of the ids.

use std::collections::HashMap;

use quick_xml::events::Event;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::session::{Pool, Repeat};
use crate::backend::failure::{Failure, JobFailure};
use crate::error::Operation;
use crate::util::xml::utf8;

/// The maximum number of jobs in one request. A-REX reads lists of jobs up to 1 MiB, which is about 12,000 jobs. A
/// smaller number keeps the time of a request short.
pub(super) const CHUNK: usize = 1000;

/// The part of A-REX's response that concerns one job.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(default)]
pub(super) struct Item {
    #[serde(rename = "status-code")]
    pub(super) code: u16,
    pub(super) reason: String,
    pub(super) id: String,
    pub(super) state: String,
}

impl Item {
    /// Converts a code other than success into a failure.
    pub(super) fn failure(&self, operation: Operation) -> JobFailure {
        match self.code {
            404 => JobFailure::NotFound,
            _ => JobFailure::Refused { operation, message: self.reason.clone() },
        }
    }
}

#[derive(Deserialize)]
struct Items<T> {
    #[serde(default = "Vec::new")]
    job: Vec<T>,
}

/// Reads A-REX's list of jobs.
///
/// Nothing else is a list of jobs. A page of a web server must not pass for an empty list: a job whose submission was
/// interrupted would seem not to exist.
pub(super) fn parse(body: &[u8]) -> Result<Vec<Item>, Failure> {
    parse_items(body)
}

/// Reads a list of jobs with other elements than those of [`Item`].
pub(super) fn parse_items<T: DeserializeOwned>(body: &[u8]) -> Result<Vec<T>, Failure> {
    let text = String::from_utf8_lossy(body);
    let root = root_name(&text);
    if root.as_deref() != Some("jobs") {
        let root = root.map_or_else(|| "it has no element".into(), |root| format!("its root is {root:?}"));
        return Err(Failure::invalid_response(format!("the response is not a list of jobs: {root}")));
    }
    quick_xml::de::from_str::<Items<T>>(&text)
        .map(|items| items.job)
        .map_err(|error| Failure::unreadable("the response is not a list of jobs", error))
}

/// The name of the root element, if the text begins as an XML document.
fn root_name(text: &str) -> Option<String> {
    let mut reader = quick_xml::Reader::from_str(text);
    loop {
        match reader.read_event().ok()? {
            Event::Start(element) | Event::Empty(element) => {
                return Some(utf8(element.local_name().as_ref()).to_owned());
            }
            Event::Decl(_) | Event::Comment(_) => {}
            Event::Text(text) if text.trim_ascii().is_empty() => {}
            _ => return None,
        }
    }
}

/// Writes the request body that lists jobs. The ids have been checked, so they need no escaping.
pub(super) fn list(ids: &[&str]) -> Vec<u8> {
    let mut xml = String::with_capacity(16 + ids.len() * 90);
    xml.push_str("<jobs>");
    for id in ids {
        xml.extend(["<job><id>", id, "</id></job>"]);
    }
    xml.push_str("</jobs>");
    xml.into_bytes()
}

/// Requests an action on jobs and returns what A-REX responds for each, in order.
///
/// Repeating any of the actions that are requested this way changes nothing more. An error of the call means that nothing
/// was done for any job. If a later one of several requests fails, its jobs have that failure, and the rest is not tried.
pub(super) fn act(pool: &Pool, action: &str, ids: &[&str]) -> Result<Vec<Result<Item, Failure>>, Failure> {
    let mut items: HashMap<String, Item> = HashMap::with_capacity(ids.len());
    let mut results = Vec::with_capacity(ids.len());
    for chunk in ids.chunks(CHUNK) {
        match request(pool, action, chunk) {
            Ok(found) => items.extend(found.into_iter().map(|item| (item.id.clone(), item))),
            Err(failure) if results.is_empty() => return Err(failure),
            Err(failure) => {
                results.extend(chunk.iter().map(|_| Err(failure.clone())));
                results.extend((results.len()..ids.len()).map(|_| Err(failure.not_tried_after())));
                break;
            }
        }
        let item = |id: &&str| {
            let missing = || Failure::invalid_response(format!("the response leaves out job {id}"));
            items.get(*id).cloned().ok_or_else(missing)
        };
        results.extend(chunk.iter().map(item));
        items.clear();
    }
    Ok(results)
}

fn request(pool: &Pool, action: &str, ids: &[&str]) -> Result<Vec<Item>, Failure> {
    let reply = pool.request(Repeat::Safe, "POST", &format!("jobs?action={action}"), &list(ids))?;
    match reply.code {
        201 => parse(&reply.body),
        _ => Err(reply.refusal()),
    }
}
