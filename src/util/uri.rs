//! Splits URLs, adds ARC's options to them, and percent-encodes paths.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fmt::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// The ports that `Arc::URL` adds to URLs without one.
const DEFAULT_PORTS: [(&str, u16); 11] = [
    ("ftp", 21),
    ("gsiftp", 2811),
    ("http", 80),
    ("httpg", 8443),
    ("https", 443),
    ("ldap", 389),
    ("lfc", 5010),
    ("rc", 389),
    ("root", 1094),
    ("s3", 80),
    ("s3+https", 443),
];

/// The parts of a URL `scheme://user@host;options/path?query#fragment`.
///
/// Options between host and path, such as `;cache=no;threads=5`, are an extension of ARC's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Url<'a> {
    pub(crate) scheme: &'a str,
    /// The user, and the password after a colon.
    pub(crate) user: Option<&'a str>,
    /// The host, and the port after a colon. An IPv6 address is in brackets.
    pub(crate) host: &'a str,
    /// The options without the first `;`. `None` if there is no `;`.
    pub(crate) options: Option<&'a str>,
    /// Path, query and fragment.
    pub(crate) rest: &'a str,
}

impl<'a> Url<'a> {
    /// Splits a URL. Returns `None` if the text has no `://`.
    pub(crate) fn split(url: &'a str) -> Option<Url<'a>> {
        let (scheme, after) = url.split_once("://")?;
        let (authority, rest) = after.split_at(after.find(['/', '?', '#']).unwrap_or(after.len()));
        let (user, host) = authority.rsplit_once('@').map_or((None, authority), |(user, host)| (Some(user), host));
        let (host, options) = host.split_once(';').map_or((host, None), |(host, options)| (host, Some(options)));
        Some(Url { scheme, user, host, options, rest })
    }

    /// The host without the port, and the port.
    pub(crate) fn host_and_port(&self) -> (&'a str, Option<&'a str>) {
        match self.host.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => (host, Some(port)),
            _ => (self.host, None),
        }
    }

    /// Returns the URL with other options.
    pub(crate) fn with_options<T: AsRef<str>>(&self, options: impl IntoIterator<Item = T>) -> String {
        let user = self.user.map(|user| format!("{user}@")).unwrap_or_default();
        let mut url = format!("{}://{user}{}", self.scheme, self.host);
        for option in options {
            url.push(';');
            url.push_str(option.as_ref());
        }
        url + self.rest
    }
}

/// Returns a URL in the form of `Arc::URL`, with options added: scheme and host in lower case, an explicit port, and
/// the options in alphabetical order. A later option replaces an earlier one with the same name.
pub(crate) fn arc_url<'a>(url: &'a str, options: impl IntoIterator<Item = (&'a str, &'a str)>) -> Option<String> {
    let url = Url::split(url)?;
    let own = url.options.filter(|options| !options.is_empty()).into_iter().flat_map(|options| options.split(';'));
    let mut all: BTreeMap<&str, &str> = own.map(|option| option.split_once('=').unwrap_or((option, ""))).collect();
    all.extend(options);
    let scheme = url.scheme.to_ascii_lowercase();
    let mut host = url.host.to_ascii_lowercase();
    match DEFAULT_PORTS.iter().find(|(name, _)| *name == scheme) {
        Some((_, port)) if url.host_and_port().1.is_none() => host += &format!(":{port}"),
        _ => {}
    }
    let url = Url { scheme: &scheme, host: &host, ..url };
    Some(url.with_options(all.iter().map(|(name, value)| format!("{name}={value}"))))
}

/// Reads a port: a number from 1 to 65535, in digits only.
pub(crate) fn parse_port(port: &str) -> Option<u16> {
    // `parse` accepts a plus sign.
    let is_number = port.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| port.parse().ok()).flatten().filter(|port| *port > 0)
}

/// Returns the URL for messages, in which `...` replaces a password.
pub(crate) fn without_password(url: &str) -> String {
    let password = || {
        let Url { scheme, user, .. } = Url::split(url)?;
        let start = scheme.len() + "://".len();
        Some(start + user?.find(':')? + 1..start + user?.len())
    };
    match password() {
        Some(password) => format!("{}...{}", &url[..password.start], &url[password.end..]),
        None => url.into(),
    }
}

/// Whether a text can be an option between the host and the path of a URL.
pub(crate) fn is_option(option: &str) -> bool {
    !option.is_empty() && !option.contains(|c: char| c.is_whitespace() || c.is_control() || ";/?#@".contains(c))
}

/// Percent-encodes all bytes except RFC 3986's unreserved characters and `/`, so that every program reads the result
/// literally.
pub(crate) fn encode_path(path: &[u8]) -> String {
    let mut uri = String::with_capacity(path.len());
    for &byte in path {
        if byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte) {
            uri.push(char::from(byte));
        } else {
            write!(uri, "%{byte:02X}").expect("writing to a String does not fail");
        }
    }
    uri
}

/// Decodes percent-encoding. Returns `None` if it is malformed or contains a NUL, encoded or not.
pub(crate) fn decode_path(path: &str) -> Option<Vec<u8>> {
    let mut parts = path.split('%');
    let mut bytes = parts.next()?.as_bytes().to_vec();
    for part in parts {
        let digits = part.get(..2).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()))?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        bytes.extend_from_slice(&part.as_bytes()[2..]);
    }
    (!bytes.contains(&0)).then_some(bytes)
}

/// Returns the `file` URI of an absolute path.
pub(crate) fn file_uri(path: &Path) -> String {
    format!("file://{}", encode_path(path.as_os_str().as_bytes()))
}

/// Returns the path of a `file` URI, or `None` for another scheme. The error is the predicate of a sentence about the
/// URI.
pub(crate) fn file_path(uri: &str) -> Option<Result<PathBuf, &'static str>> {
    let (scheme, rest) = uri.split_once(':')?;
    scheme.eq_ignore_ascii_case("file").then(|| {
        let path = match rest.strip_prefix("//") {
            Some(rest) => {
                let (host, _) = rest.split_once('/').ok_or("has no path")?;
                if !host.is_empty() && !host.eq_ignore_ascii_case("localhost") {
                    return Err("is a file of another host");
                }
                &rest[host.len()..]
            }
            None => rest,
        };
        if !path.starts_with('/') {
            return Err("is not an absolute path");
        }
        if path.contains(['?', '#']) {
            return Err("has a query or a fragment, which a file cannot have");
        }
        let bytes = decode_path(path).ok_or("is not percent-encoded correctly")?;
        Ok(PathBuf::from(OsStr::from_bytes(&bytes)))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn unreserved_characters_are_not_encoded() {
        assert_eq!(encode_path("/a-b_c.d~e/0".as_bytes()), "/a-b_c.d~e/0");
        assert_eq!(encode_path("/é %2F?#;&+:\n".as_bytes()), "/%C3%A9%20%252F%3F%23%3B%26%2B%3A%0A");
        let path = Path::new(OsStr::from_bytes(b"/a b/%20?x=1;y#z/\xc3\xa9\xff\n~-._Z9"));
        assert_eq!(file_uri(path), "file:///a%20b/%2520%3Fx%3D1%3By%23z/%C3%A9%FF%0A~-._Z9");
    }

    #[test]
    fn file_uris_give_paths() {
        for (uri, path) in [
            ("file:///a/b", "/a/b"),
            ("file:/a/b", "/a/b"),
            ("FILE://LocalHost/a%20b%2f%25", "/a b/%"),
            ("file:///é/", "/é/"),
            ("file:////a", "/a"),
        ] {
            assert_eq!(file_path(uri), Some(Ok(path.into())), "{uri}");
        }
        for uri in [
            "file:a",
            "file:",
            "file://",
            "file://h",
            "file://h/a",
            "file:///a?b",
            "file:///a#b",
            "file:///%",
            "file:///%0",
            "file:///%+1",
            "file:///%é",
            "file:///a%00b",
            "file:///a\0b",
        ] {
            assert!(matches!(file_path(uri), Some(Err(_))), "{uri}");
        }
        assert_eq!(["https://h/a", "a", "files:///a"].map(file_path), [None, None, None]);
    }

    #[test]
    fn urls_are_split_into_their_parts() {
        let split = |url| Url::split(url).map(|url| (url.scheme, url.user, url.host_and_port(), url.options, url.rest));
        for (url, expected) in [
            ("https://h/a?b#c", Some(("https", None, ("h", None), None, "/a?b#c"))),
            ("https://u:p@h:80;a=1;b/a@b;c", Some(("https", Some("u:p"), ("h", Some("80")), Some("a=1;b"), "/a@b;c"))),
            ("s://u;x@[::1]:8;", Some(("s", Some("u;x"), ("[::1]", Some("8")), Some(""), ""))),
            ("s://[::1]?a://b", Some(("s", None, ("[::1]", None), None, "?a://b"))),
            ("://", Some(("", None, ("", None), None, ""))),
            ("file:/a", None),
        ] {
            assert_eq!(split(url), expected, "{url}");
        }
    }

    #[test]
    fn ports_are_numbers_from_1_to_65535() {
        assert_eq!(["1", "0443", "65535"].map(parse_port), [Some(1), Some(443), Some(65535)]);
        assert_eq!(["", "0", "65536", "+1", "-1", " 1", "0x1"].map(parse_port), [None; 7]);
    }

    #[test]
    fn passwords_are_not_shown() {
        for (url, shown) in [
            ("https://me:secret@h/me:secret@x", "https://me:...@h/me:secret@x"),
            ("https://me;x:sec:ret@h;a/x", "https://me;x:...@h;a/x"),
            ("https://:@h", "https://:...@h"),
            ("https://me@h:1/x", "https://me@h:1/x"),
            ("https://h:1/a@b", "https://h:1/a@b"),
            ("me:secret@h", "me:secret@h"),
        ] {
            assert_eq!(without_password(url), shown);
        }
    }

    #[test]
    fn urls_in_the_form_of_arc_have_a_port_and_sorted_options() {
        for (url, options, expected) in [
            ("HTTPS://u@Host/A?B", &[][..], "https://u@host:443/A?B"),
            ("gsiftp://h;threads=2;a=b/x", &[("threads", "5"), ("Z", "1")], "gsiftp://h:2811;Z=1;a=b;threads=5/x"),
            ("srm://[::1]/x", &[("a", "b")], "srm://[::1];a=b/x"),
            ("https://[::1]", &[], "https://[::1]:443"),
            ("root://h:1;//x", &[], "root://h:1//x"),
        ] {
            assert_eq!(arc_url(url, options.iter().copied()).as_deref(), Some(expected));
        }
        assert_eq!(arc_url("/a", []), None);
    }

    proptest! {
        #[test]
        fn any_path_is_read(bytes in prop::collection::vec(1..=255_u8, 0..20)) {
            let path = Path::new("/").join(OsStr::from_bytes(&bytes));
            let path = if path.is_absolute() { path } else { Path::new("/").join(path) };
            prop_assert_eq!(file_path(&file_uri(&path)), Some(Ok(path)));
        }

        #[test]
        fn any_text_is_split(url in "[a-z]{0,2}(://)?[a-z;@:/?#=|\\[\\]]{0,30}") {
            if let Some(parts) = Url::split(&url) {
                prop_assert!(parts.options.is_some() || parts.rest.len() <= url.len());
            }
            let _ = arc_url(&url, []);
        }
    }
}
