//! The user's credentials on the CE: one delegation, shared by the jobs that need one.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use super::session::{Pool, Repeat};
use crate::error::{Error, Result};
use crate::ffi;

/// A delegation with less than this left is renewed.
const MARGIN: Duration = Duration::from_secs(600);

#[derive(Debug, Default)]
pub(super) struct Delegations(Mutex<Option<Delegation>>);

#[derive(Clone, Debug)]
struct Delegation {
    id: String,
    /// When the proxy expires that it was made from.
    expires: SystemTime,
}

impl Delegations {
    /// The id of a delegation made from the proxy at `proxy`; made or renewed only when there is need.
    pub(super) fn ensure(&self, pool: &Pool, proxy: &str) -> Result<String> {
        // Others wait: making one costs the CE half a second, and one serves them all.
        let mut current = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let soon = SystemTime::now() + MARGIN;
        if let Some(delegation) = current.as_ref().filter(|delegation| delegation.expires > soon) {
            return Ok(delegation.id.clone());
        }
        let expires = ffi::read_credential(proxy)?.not_after;
        match current.clone() {
            // The proxy has no more to give.
            Some(delegation) if expires <= delegation.expires => Ok(delegation.id),
            known => {
                let id = make(pool, proxy, known.map(|delegation| delegation.id))?;
                *current = Some(Delegation { id: id.clone(), expires });
                Ok(id)
            }
        }
    }
}

/// Makes a delegation or renews one: the CE sends a certificate request, and gets it back signed.
fn make(pool: &Pool, proxy: &str, renew: Option<String>) -> Result<String> {
    let path = match &renew {
        Some(id) => format!("delegations/{id}?action=renew"),
        None => "delegations?action=new".into(),
    };
    let reply = pool.request(Repeat::Once, "POST", &path, b"")?;
    if reply.code != 201 {
        return Err(pool.refused(&reply));
    }
    let id = renew.or_else(|| reply.location.rsplit('/').next().map(str::to_owned)).unwrap_or_default();
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
