//! [`Endpoint`]: the address of a CE, and the job ids that belong to it.

use std::fmt;
use std::net::Ipv6Addr;

/// The address of a CE in its full form, such as `https://ce.example.org:443/arex`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint {
    scheme: &'static str,
    /// In lower case. An IPv6 address has no brackets here.
    host: String,
    port: u16,
    /// Begins with a slash and does not end with one.
    path: String,
}

impl Endpoint {
    /// Parses `host`, `host:port`, `host:port/path` or an http(s) URL. The error says what is wrong with `text`.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        // Other characters introduce a user, a query or a fragment, or have a special meaning in ARC's URLs.
        let allowed = |c: char| c.is_ascii_alphanumeric() || "-._~%+/:[]".contains(c);
        if let Some(c) = text.chars().find(|c| !allowed(*c)) {
            return Err(format!("the address of a CE must not contain {c:?}"));
        }
        let (scheme, rest) = text.split_once("://").unwrap_or(("https", text));
        let scheme = match scheme.to_ascii_lowercase().as_str() {
            "https" => "https",
            "http" => "http",
            _ => return Err(format!("{scheme:?} is not https or http")),
        };
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (host, port) = parse_authority(authority, scheme)?;

        let mut segments: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
        if segments.iter().any(|segment| matches!(*segment, "." | "..")) {
            return Err(format!("the path {path:?} must not contain \".\" or \"..\""));
        }
        // Users may copy the URL of the REST interface, which is below the path of the CE.
        match segments[..] {
            [.., "rest"] => segments.truncate(segments.len() - 1),
            [.., "rest", version] if is_version(version) => segments.truncate(segments.len() - 2),
            _ => {}
        }
        if segments.is_empty() {
            segments.push("arex");
        }
        Ok(Endpoint { scheme, host, port, path: format!("/{}", segments.join("/")) })
    }

    /// The path, such as `/arex`.
    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// The host and the port, such as `ce.example.org:443` or `[::1]:443`.
    pub(crate) fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }

    /// The URL, such as `https://ce.example.org:443/arex`.
    pub(crate) fn url(&self) -> String {
        format!("{}://{}{}", self.scheme, self.authority(), self.path)
    }

    /// Returns the ids that the interfaces of the CE give to the job with this local id.
    pub(crate) fn job_ids(&self, local_id: &str) -> [String; 3] {
        let url = self.url();
        [
            format!("{url}/rest/1.0/jobs/{local_id}"),
            format!("{url}/rest/1.1/jobs/{local_id}"),
            format!("{url}/{local_id}"),
        ]
    }

    /// Returns the local id of a job, or `None` if its id cannot belong to this CE.
    ///
    /// `id` is the local id itself, `https://ce.example.org:443/arex/LOCAL` (EMI-ES) or
    /// `https://ce.example.org:443/arex/rest/1.0/jobs/LOCAL` (REST). The local id contains only letters, digits, `-` and
    /// `_`, so it is safe in URLs and file names.
    pub(crate) fn job_local_id<'a>(&self, id: &'a str) -> Option<&'a str> {
        let id = id.trim_end(); // ids from a file may end in a line feed
        let name = match id.split_once("://") {
            None => id,
            Some((scheme, rest)) => {
                let (authority, path) = rest.split_at(rest.find('/')?);
                let (host, port) = parse_authority(authority, self.scheme).ok()?;
                if !scheme.eq_ignore_ascii_case(self.scheme) || host != self.host || port != self.port {
                    return None;
                }
                let path = path.strip_prefix(self.path.as_str())?.strip_prefix('/')?;
                match path.strip_prefix("rest/") {
                    None => path,
                    Some(rest) => {
                        let (version, name) = rest.split_once("/jobs/")?;
                        is_version(version).then_some(name)?
                    }
                }
            }
        };
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        ((1..=256).contains(&name.len()) && name.bytes().all(allowed)).then_some(name)
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.url())
    }
}

/// Parses the host, in the form of [`Endpoint::host`], and the port.
fn parse_authority(authority: &str, scheme: &str) -> Result<(String, u16), String> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']').ok_or("the bracket of the IPv6 address is not closed")?;
            let host: Ipv6Addr = host.parse().map_err(|_| format!("{host:?} is not an IPv6 address"))?;
            (host.to_string(), port)
        }
        None => {
            let (host, port) = authority.split_at(authority.find(':').unwrap_or(authority.len()));
            let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
            if !host.starts_with(|c: char| c.is_ascii_alphanumeric()) || !host.bytes().all(allowed) {
                return Err(format!("{host:?} is not a host name"));
            }
            (host.to_ascii_lowercase(), port)
        }
    };
    let number = match port.strip_prefix(':') {
        None if port.is_empty() => Some(if scheme == "http" { 80 } else { 443 }),
        // `parse` would accept a plus sign.
        Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => digits.parse().ok(),
        _ => None,
    };
    match number {
        Some(number) if number > 0 => Ok((host, number)),
        _ => Err(format!("{port:?} is not a port; write a colon and a number from 1 to 65535")),
    }
}

/// Whether `text` is a version of the REST interface, such as `1.0`.
pub(crate) fn is_version(text: &str) -> bool {
    let number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    text.split_once('.').is_some_and(|(major, minor)| number(major) && number(minor))
}

#[cfg(test)]
mod tests;
