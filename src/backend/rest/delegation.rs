//! The user's credentials on the CE: one delegation, shared by the jobs that need one.

use std::sync::Mutex;
use std::time::{Duration, Instant, SystemTime};

use super::session::{Pool, Repeat};
use crate::config::endpoint::Endpoint;
use crate::error::{Error, Result};
use crate::ffi;
use crate::util::lock;

/// A delegation with less than this left is renewed.
const MARGIN: Duration = Duration::from_secs(600);

/// One that is older is renewed as well: A-REX forgets those that no job uses after 24 hours
/// (`DelegationStore::PeriodicCheckConsumers`).
const OLD: Duration = Duration::from_secs(12 * 3600);

#[derive(Debug, Default)]
pub(super) struct Delegations(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    current: Option<Delegation>,
    /// When the last attempt began, if the CE was not reached, and why.
    unreached: Option<(Instant, String)>,
}

#[derive(Debug)]
struct Delegation {
    id: String,
    /// When the proxy expires that it was made from.
    expires: SystemTime,
    made: Instant,
}

impl Delegations {
    /// The id of a delegation made from the proxy at `proxy`; made or renewed only when there is need.
    pub(super) fn ensure(&self, pool: &Pool, proxy: &str) -> Result<String> {
        let expires = || Ok(ffi::read_credential(proxy)?.not_after);
        self.shared(Instant::now(), pool.endpoint(), expires, |renew| make(pool, proxy, renew))
    }

    /// `asked`: when the caller began to wait. `make` is given the id of the delegation to renew.
    fn shared(
        &self,
        asked: Instant,
        endpoint: &Endpoint,
        expires: impl FnOnce() -> Result<SystemTime>,
        make: impl FnOnce(Option<&str>) -> Result<String>,
    ) -> Result<String> {
        // Others wait: making one costs the CE half a second, and one serves them all.
        let mut state = lock(&self.0);
        let known = state.current.as_ref().filter(|delegation| delegation.made.elapsed() < OLD);
        if let Some(delegation) = known.filter(|known| known.expires > SystemTime::now() + MARGIN) {
            return Ok(delegation.id.clone());
        }
        // Nor do they find out one after the other that the CE does not answer.
        if let Some((_, message)) = state.unreached.as_ref().filter(|(begun, _)| *begun >= asked) {
            return Err(Error::Connection { endpoint: endpoint.url(), message: message.clone() });
        }
        let expires = expires()?;
        // The proxy may have no more to give.
        if let Some(delegation) = known.filter(|known| known.expires >= expires) {
            return Ok(delegation.id.clone());
        }
        let begun = Instant::now();
        match make(state.current.as_ref().map(|delegation| delegation.id.as_str())) {
            Ok(id) => {
                *state = State { current: Some(Delegation { id: id.clone(), expires, made: begun }), unreached: None };
                Ok(id)
            }
            Err(error) => {
                state.unreached = match &error {
                    Error::Connection { message, .. } => Some((begun, message.clone())),
                    _ => None,
                };
                Err(error)
            }
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ConnectionConfig;

    /// Asks for a delegation with a proxy that expires in so many seconds. If one is made, its id tells what it renewed.
    fn ask(delegations: &Delegations, asked: Instant, expires: u64) -> Result<String> {
        let expires = || Ok(SystemTime::now() + Duration::from_secs(expires));
        delegations.shared(asked, &endpoint(), expires, |renew| Ok(format!("after {}", renew.unwrap_or("none"))))
    }

    fn endpoint() -> Endpoint {
        ConnectionConfig::default().endpoint().expect("a CE")
    }

    #[test]
    fn one_is_made_and_renewed_when_there_is_need() {
        let delegations = Delegations::default();
        let ask = |expires| ask(&delegations, Instant::now(), expires).expect("a delegation");
        assert_eq!(ask(100), "after none");
        // It ends soon, but the proxy has no more to give.
        assert_eq!(ask(0), "after none");
        assert_eq!(ask(10_000), "after after none");
        assert_eq!(ask(20_000), "after after none");
        lock(&delegations.0).current.as_mut().expect("one").made = Instant::now().checked_sub(OLD).expect("a past");
        assert_eq!(ask(10_000), "after after after none");
    }

    #[test]
    fn a_ce_that_does_not_answer_is_tried_once_for_all_who_wait() {
        let delegations = Delegations::default();
        let before = Instant::now();
        let silent = || Error::Connection { endpoint: String::new(), message: "no answer".into() };
        let unreached = delegations.shared(before, &endpoint(), || Ok(SystemTime::now()), |_| Err(silent()));
        assert!(matches!(unreached, Err(Error::Connection { .. })), "{unreached:?}");
        let waited = ask(&delegations, before, 10_000);
        assert!(matches!(&waited, Err(Error::Connection { message, .. }) if message == "no answer"), "{waited:?}");
        assert_eq!(ask(&delegations, Instant::now(), 10_000).expect("a delegation"), "after none");
    }
}
