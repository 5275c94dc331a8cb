//! [`Delegations`]: the user's credentials on the CE. One delegation serves all jobs that need one.

use std::sync::Mutex;
use std::time::{Duration, Instant, SystemTime};

use super::session::{Pool, Repeat};
use crate::backend::failure::Failure;
use crate::ffi;
use crate::util::lock;

/// A delegation with less time left than this is renewed.
const RENEWAL_MARGIN: Duration = Duration::from_secs(600);

/// A delegation older than this is renewed too: A-REX forgets those that no job has used for 24 hours
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
    /// The id of a delegation created from the proxy certificate at `proxy`. Creates or renews one only if necessary.
    pub(super) fn ensure(&self, pool: &Pool, proxy: &str) -> Result<String, Failure> {
        let expires = || Ok(ffi::read_credential(proxy)?.not_after);
        self.shared(Instant::now(), expires, |renew| create(pool, proxy, renew))
    }

    /// `asked` is when the caller began to wait. `create` gets the id of the delegation to renew, if any.
    fn shared(
        &self,
        asked: Instant,
        expires: impl FnOnce() -> Result<SystemTime, Failure>,
        create: impl FnOnce(Option<&str>) -> Result<String, Failure>,
    ) -> Result<String, Failure> {
        // Other threads wait here: creating a delegation takes the CE half a second, and one serves them all.
        let mut state = lock(&self.0);
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

/// Creates a delegation or renews one: the CE sends a certificate request and receives the signed chain.
fn create(pool: &Pool, proxy: &str, renew: Option<&str>) -> Result<String, Failure> {
    let path = match renew {
        Some(id) => format!("delegations/{id}?action=renew"),
        None => "delegations?action=new".into(),
    };
    let reply = pool.request(Repeat::Once, "POST", &path, b"")?;
    match reply.code {
        201 => {}
        // The CE has forgotten it (500: "Failed generating delegation request").
        _ if renew.is_some() => return create(pool, proxy, None),
        _ => return Err(reply.refusal()),
    }
    let id = renew.map(str::to_owned);
    let id = id.or_else(|| reply.location.rsplit('/').next().map(str::to_owned)).unwrap_or_default();
    if id.is_empty() || !id.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return Err(Failure::invalid_response(format!("{:?} is not the id of a delegation", reply.location)));
    }
    let signed = ffi::sign_delegation(proxy, &String::from_utf8_lossy(&reply.body))?;
    let reply = pool.request(Repeat::Once, "PUT", &format!("delegations/{id}"), signed.as_bytes())?;
    if !(200..300).contains(&reply.code) {
        return Err(reply.refusal());
    }
    Ok(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ensures a delegation with a proxy certificate that expires in `expires` seconds. The id of a new delegation tells
    /// which one it renewed.
    fn ensure(delegations: &Delegations, asked: Instant, expires: u64) -> Result<String, Failure> {
        let expires = || Ok(SystemTime::now() + Duration::from_secs(expires));
        delegations.shared(asked, expires, |renew| Ok(format!("after {}", renew.unwrap_or("none"))))
    }

    #[test]
    fn a_delegation_is_created_and_renewed_when_necessary() {
        let delegations = Delegations::default();
        let ensure = |expires| ensure(&delegations, Instant::now(), expires).expect("a delegation");
        assert_eq!(ensure(100), "after none");
        // It ends soon, but the proxy certificate ends no later.
        assert_eq!(ensure(0), "after none");
        assert_eq!(ensure(10_000), "after after none");
        assert_eq!(ensure(20_000), "after after none");
        lock(&delegations.0).current.as_mut().expect("one").created =
            Instant::now().checked_sub(MAX_AGE).expect("a past");
        assert_eq!(ensure(10_000), "after after after none");
    }

    #[test]
    fn a_silent_ce_is_tried_once_for_all_waiting_threads() {
        let delegations = Delegations::default();
        let before = Instant::now();
        let failed = delegations.shared(before, || Ok(SystemTime::now()), |_| Err(Failure::timed_out(60)));
        assert!(matches!(failed, Err(Failure::Connection { .. })), "{failed:?}");
        let waited = ensure(&delegations, before, 10_000);
        assert!(matches!(&waited, Err(Failure::Connection { message, .. }) if message.contains("60 s")), "{waited:?}");
        assert_eq!(ensure(&delegations, Instant::now(), 10_000).expect("a delegation"), "after none");
    }
}
