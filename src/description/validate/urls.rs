//! The rules for URLs of inputs and outputs.

use std::collections::HashSet;

use crate::util::uri::{Url, parse_port};

/// Checks that a CE can use a URL and that ARC passes it on unchanged.
///
/// `kind` is "input" or "output". The error is the reason.
pub(crate) fn check_url(kind: &str, url: &str) -> Result<(), String> {
    let is_scheme = |scheme: &str| {
        scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
    };
    let has_form = |parts: &Url| is_scheme(parts.scheme) && url.len() > parts.scheme.len() + "://".len();
    let Some(parts) = Url::split(url).filter(has_form) else {
        return Err(format!("{url:?} is not a URL for an {kind} file: it must begin with protocol://host"));
    };
    let Url { scheme, user, rest, .. } = parts;
    if scheme.eq_ignore_ascii_case("file") {
        return Err(format!("the URL {url:?} names a file on the CE's own host, which cannot be an {kind} file"));
    }
    if user.is_some_and(|user| user.contains(':')) {
        return Err(
            "the URL contains a password, which would be visible to anyone who can see the job: remove it".into()
        );
    }
    if parts.host_and_port().1.is_some_and(|port| parse_port(port).is_none()) {
        return Err(format!("the port in the URL {url:?} is not a number from 1 to 65535"));
    }
    let host = parts.host_and_port().0;
    let is_ipv6 = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).is_some_and(|host| !host.is_empty());
    if !is_ipv6 && !host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte)) {
        return Err(format!("the host {host:?} in the URL {url:?} is not a host name or an address"));
    }
    if rest.starts_with(['?', '#']) {
        return Err(format!(
            "the URL {url:?} needs a / after the host, because ARC would treat the rest as a part of the host"
        ));
    }
    // ARC keeps the query as a map, and writes each key with a `=`.
    let query = rest.split_once('?').map_or("", |(_, query)| query);
    let mut keys = HashSet::new();
    let is_kept = |part: &str| part.split_once('=').is_some_and(|(key, _)| keys.insert(key.to_owned()));
    if !query.is_empty() && !query.split('&').all(is_kept) {
        return Err(format!("the query of the URL {url:?} has a key twice or a key without =, which ARC would change"));
    }
    if let Some(c) = url.chars().find(|c| c.is_whitespace() || c.is_control() || !c.is_ascii()) {
        return Err(format!("the URL {url:?} contains the character {c:?}: percent-encode it"));
    }
    // For HTTP, A-REX percent-encodes these characters (again), and would request another file.
    let is_http = ["http", "dav"].iter().any(|kind| scheme.to_ascii_lowercase().starts_with(kind));
    match url.chars().find(|c| "%#".contains(*c)) {
        Some(c) if is_http => Err(format!("the URL {url:?} contains the character {c:?}, which an ARC-CE changes")),
        _ => Ok(()),
    }
}
