//! [`Delegations`]: the user's credentials on the CE. All jobs that need a delegation share one.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, Instant, SystemTime};

use serde::Deserialize;

use super::jobs;
use super::session::{Pool, Repeat};
use crate::backend::failure::{Failure, JobFailure};
use crate::error::Operation;
use crate::ffi;
use crate::limits::Limits;
use crate::util::lock;

/// A delegation is renewed when its remaining lifetime is shorter than this.
const RENEWAL_MARGIN: Duration = Duration::from_secs(600);

/// A delegation older than this is renewed too, because A-REX removes those that no job has used for 24 hours
/// (`DelegationStore::PeriodicCheckConsumers`).
const MAX_AGE: Duration = Duration::from_secs(12 * 3600);

#[derive(Debug, Default)]
pub(super) struct Delegations(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    current: Option<Delegation>,
    /// When the last attempt began and how it failed, if the CE did not respond.
    unanswered: Option<(Instant, Failure)>,
}

#[derive(Debug)]
struct Delegation {
    id: String,
    /// When the proxy certificate expires that the delegation was created from.
    expires: SystemTime,
    created: Instant,
}

impl Delegations {
    /// Returns the id of a delegation created from the proxy certificate at `proxy`. Creates or renews one only if
    /// necessary.
    pub(super) fn ensure(&self, pool: &Pool, proxy: &str) -> Result<String, Failure> {
        let expires = || Ok(ffi::read_credential(proxy)?.not_after);
        self.shared(pool.limits(), Instant::now(), expires, |renew| create(pool, proxy, renew))
    }

    /// Records that a delegation was renewed, if it is the one that new jobs get.
    fn renewed(&self, id: &str, expires: SystemTime) {
        if let Some(current) = lock(&self.0).current.as_mut().filter(|current| current.id == id) {
            current.expires = expires;
            current.created = Instant::now();
        }
    }

    /// Implements [`ensure`](Self::ensure). `asked` is the time at which the caller began to wait. `create` receives
    /// the id of the delegation to renew, if any.
    fn shared(
        &self,
        limits: &Limits,
        asked: Instant,
        expires: impl FnOnce() -> Result<SystemTime, Failure>,
        create: impl FnOnce(Option<&str>) -> Result<String, Failure>,
    ) -> Result<String, Failure> {
        // Other threads wait here. Creating a delegation takes the CE half a second, and all threads can use the same
        // one.
        let mut state = limits.lock(&self.0)?;
        let known = state.current.as_ref().filter(|delegation| delegation.created.elapsed() < MAX_AGE);
        if let Some(delegation) = known.filter(|known| known.expires > SystemTime::now() + RENEWAL_MARGIN) {
            return Ok(delegation.id.clone());
        }
        // Threads that waited while the CE did not respond share that failure.
        if let Some((_, failure)) = state.unanswered.as_ref().filter(|(begun, _)| *begun >= asked) {
            return Err(failure.clone());
        }
        let expires = expires()?;
        // Renewing gains nothing if the proxy certificate is no newer than the delegation.
        if let Some(delegation) = known.filter(|known| known.expires >= expires) {
            return Ok(delegation.id.clone());
        }
        let begun = Instant::now();
        match create(state.current.as_ref().map(|delegation| delegation.id.as_str())) {
            Ok(id) => {
                let current = Delegation { id: id.clone(), expires, created: begun };
                *state = State { current: Some(current), unanswered: None };
                Ok(id)
            }
            Err(failure) => {
                state.unanswered = failure.is_connection().then(|| (begun, failure.clone()));
                Err(failure)
            }
        }
    }
}

/// Reads the response to `action=delegations`.
pub(super) fn parse(body: &[u8]) -> Result<Vec<Item>, Failure> {
    jobs::parse_items(body)
}

/// The delegations of a job.
#[derive(Debug, Deserialize)]
pub(super) struct Item {
    #[serde(rename = "status-code")]
    code: u16,
    #[serde(default)]
    reason: String,
    id: String,
    #[serde(default, rename = "delegation_id")]
    delegations: Vec<String>,
}

/// Renews the delegations of jobs. Returns when they expire now, or `None` for a job that has none.
///
/// Costs one request for each 1000 jobs and two for each delegation. A-REX names the delegations of a job from the time at
/// which it has accepted the job until the job has ended.
pub(super) fn renew(
    known: &Delegations,
    pool: &Pool,
    proxy: &str,
    ids: &[&str],
) -> Result<Vec<Result<Option<SystemTime>, JobFailure>>, Failure> {
    let mut items: HashMap<String, Item> = HashMap::with_capacity(ids.len());
    for chunk in ids.chunks(jobs::CHUNK) {
        let response = pool.request(Repeat::Safe, "POST", "jobs?action=delegations", &jobs::list(chunk))?;
        if response.code != 201 {
            return Err(response.refusal());
        }
        let found = parse(&response.body)?;
        items.extend(found.into_iter().map(|item| (item.id.clone(), item)));
    }
    let mut delegations: Vec<&str> = items.values().flat_map(|item| &item.delegations).map(String::as_str).collect();
    delegations.sort_unstable();
    delegations.dedup();
    let expires = if delegations.is_empty() { SystemTime::UNIX_EPOCH } else { ffi::read_credential(proxy)?.not_after };
    let renewed = pool.in_parallel(&delegations, |id| renew_one(pool, proxy, id));
    for (id, renewed) in delegations.iter().zip(&renewed) {
        if renewed.is_ok() {
            known.renewed(id, expires);
        }
    }
    let renewed: HashMap<&str, &Result<(), Failure>> = delegations.iter().copied().zip(&renewed).collect();
    let one = |id: &&str| {
        let missing = || Failure::invalid_response(format!("the response leaves out job {id}"));
        let item = items.get(*id).ok_or_else(missing)?;
        match item.code {
            200 => {}
            404 => return Err(JobFailure::NotFound),
            _ => return Err(JobFailure::Refused { operation: Operation::Renew, message: item.reason.clone() }),
        }
        for delegation in &item.delegations {
            match renewed.get(delegation.as_str()) {
                Some(Err(Failure::Refused { message, .. })) => {
                    let message = format!("the CE refuses to renew delegation {delegation}: {message}");
                    return Err(JobFailure::Refused { operation: Operation::Renew, message });
                }
                Some(Err(failure)) => return Err(failure.clone().into()),
                _ => {}
            }
        }
        Ok((!item.delegations.is_empty()).then_some(expires))
    };
    Ok(ids.iter().map(one).collect())
}

fn renew_one(pool: &Pool, proxy: &str, id: &str) -> Result<(), Failure> {
    check_id(id)?;
    let response = pool.request(Repeat::Safe, "POST", &format!("delegations/{id}?action=renew"), b"")?;
    match response.code {
        201 => sign(pool, proxy, id, &response.body),
        _ => Err(response.refusal()),
    }
}

/// Creates a delegation or renews one: the CE sends a certificate request and receives the signed chain.
fn create(pool: &Pool, proxy: &str, renew: Option<&str>) -> Result<String, Failure> {
    let path = match renew {
        Some(id) => format!("delegations/{id}?action=renew"),
        None => "delegations?action=new".into(),
    };
    let response = pool.request(Repeat::Safe, "POST", &path, b"")?;
    match response.code {
        201 => {}
        // The CE no longer has the delegation (500: "Failed generating delegation request").
        _ if renew.is_some() => return create(pool, proxy, None),
        _ => return Err(response.refusal()),
    }
    let id = renew.map(str::to_owned);
    let id = id.or_else(|| response.location.rsplit('/').next().map(str::to_owned)).unwrap_or_default();
    check_id(&id)?;
    sign(pool, proxy, &id, &response.body)?;
    Ok(id)
}

/// Checks the id of a delegation, which becomes part of a path.
fn check_id(id: &str) -> Result<(), Failure> {
    match !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        true => Ok(()),
        false => Err(Failure::invalid_response(format!("{id:?} is not the id of a delegation"))),
    }
}

/// Signs the CE's certificate request and sends the chain.
fn sign(pool: &Pool, proxy: &str, id: &str, request: &[u8]) -> Result<(), Failure> {
    let signed = ffi::sign_delegation(proxy, &String::from_utf8_lossy(request))?;
    let response = pool.request(Repeat::Safe, "PUT", &format!("delegations/{id}"), signed.as_bytes())?;
    match response.code {
        200..=299 => Ok(()),
        _ => Err(response.refusal()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ensures a delegation with a proxy certificate that expires in `expires` seconds. The id of a new delegation
    /// contains the id of the renewed one.
    fn ensure(delegations: &Delegations, asked: Instant, expires: u64) -> Result<String, Failure> {
        let expires = || Ok(SystemTime::now() + Duration::from_secs(expires));
        delegations.shared(&Limits::default(), asked, expires, |renew| Ok(format!("after {}", renew.unwrap_or("none"))))
    }

    #[test]
    fn a_delegation_is_created_and_renewed_when_necessary() {
        let delegations = Delegations::default();
        let ensure = |expires| ensure(&delegations, Instant::now(), expires).expect("a delegation");
        assert_eq!(ensure(100), "after none");
        // The delegation expires soon, but the proxy certificate does not expire later.
        assert_eq!(ensure(0), "after none");
        assert_eq!(ensure(10_000), "after after none");
        assert_eq!(ensure(20_000), "after after none");
        lock(&delegations.0).current.as_mut().expect("one").created =
            Instant::now().checked_sub(MAX_AGE).expect("a past");
        assert_eq!(ensure(10_000), "after after after none");
    }

    #[test]
    fn delegations_of_jobs_are_read() {
        let body =
            b"<jobs><job><status-code>200</status-code><reason>OK</reason><id>a</id><delegation_id>x</delegation_id>\
                     <delegation_id>y</delegation_id></job><job><status-code>200</status-code><reason>OK</reason>\
                     <id>b</id></job><job><status-code>404</status-code><id>c</id></job></jobs>";
        let items = parse(body).unwrap();
        let read: Vec<(&str, u16, &[String])> =
            items.iter().map(|item| (item.id.as_str(), item.code, &item.delegations[..])).collect();
        assert_eq!(read, [("a", 200, &["x".to_owned(), "y".to_owned()][..]), ("b", 200, &[]), ("c", 404, &[])]);
        assert!(check_id("a1").is_ok() && check_id("").is_err() && check_id("a/b").is_err());
    }

    #[test]
    fn waiting_threads_share_the_failure_of_a_ce_that_does_not_respond() {
        let delegations = Delegations::default();
        let before = Instant::now();
        let failed =
            delegations.shared(&Limits::default(), before, || Ok(SystemTime::now()), |_| Err(Failure::timed_out(60)));
        assert!(matches!(failed, Err(Failure::Connection { .. })), "{failed:?}");
        let waited = ensure(&delegations, before, 10_000);
        assert!(matches!(&waited, Err(Failure::Connection { message, .. }) if message.contains("60 s")), "{waited:?}");
        assert_eq!(ensure(&delegations, Instant::now(), 10_000).expect("a delegation"), "after none");
    }
}
