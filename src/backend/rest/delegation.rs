//! The user's credentials on the CE: one delegation, shared by the jobs that need one.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use super::session::{Pool, Repeat};
use crate::error::{Error, Result};
use crate::ffi;

/// A delegation with less than this left is renewed.
const MARGIN: Duration = Duration::from_secs(600);

/// One that is older is renewed as well: A-REX forgets those that no job uses after 24 hours
/// (`DelegationStore::PeriodicCheckConsumers`).
const OLD: Duration = Duration::from_secs(12 * 3600);

#[derive(Debug, Default)]
pub(super) struct Delegations(Mutex<Option<Delegation>>);

#[derive(Clone, Debug)]
struct Delegation {
    id: String,
    /// When the proxy expires that it was made from.
    expires: SystemTime,
    made: Instant,
}

impl Delegations {
    /// The id of a delegation made from the proxy at `proxy`; made or renewed only when there is need.
    pub(super) fn ensure(&self, pool: &Pool, proxy: &str) -> Result<String> {
        // Others wait: making one costs the CE half a second, and one serves them all.
        let mut current = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = current.as_ref().filter(|delegation| delegation.made.elapsed() < OLD);
        if let Some(delegation) = known.filter(|known| known.expires > SystemTime::now() + MARGIN) {
            return Ok(delegation.id.clone());
        }
        let expires = ffi::read_credential(proxy)?.not_after;
        // The proxy may have no more to give.
        if let Some(delegation) = known.filter(|known| known.expires >= expires) {
            return Ok(delegation.id.clone());
        }
        let id = make(pool, proxy, current.as_ref().map(|delegation| delegation.id.as_str()))?;
        *current = Some(Delegation { id: id.clone(), expires, made: Instant::now() });
        Ok(id)
    }
}

/// Makes a delegation or renews one: the CE sends a certificate request, and gets it back signed.
fn make(pool: &Pool, proxy: &str, renew: Option<&str>) -> Result<String> {
    let path = match renew {
        Some(id) => format!("delegations/{id}?action=renew"),
        None => "delegations?action=new".into(),
    };
    let reply = pool.request(Repeat::Once, "POST", &path, b"")?;
    match reply.code {
        201 => {}
        // The CE has forgotten it (500: "Failed generating delegation request").
        _ if renew.is_some() => return make(pool, proxy, None),
        _ => return Err(pool.refused(&reply)),
    }
    let id = renew.map(str::to_owned);
    let id = id.or_else(|| reply.location.rsplit('/').next().map(str::to_owned)).unwrap_or_default();
    if id.is_empty() || !id.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        let message = format!("a delegation without a usable id: {:?}", reply.location);
        return Err(Error::Connection { endpoint: pool.endpoint().url(), message });
    }
    let signed = ffi::sign_delegation(proxy, &String::from_utf8_lossy(&reply.body))?;
    let reply = pool.request(Repeat::Once, "PUT", &format!("delegations/{id}"), signed.as_bytes())?;
    if !(200..300).contains(&reply.code) {
        return Err(pool.refused(&reply));
    }
    Ok(id)
}
