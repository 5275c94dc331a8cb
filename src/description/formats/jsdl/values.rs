//! Reads and writes numbers, times and URIs in the forms of JSDL.

use std::time::SystemTime;

use crate::description::formats::time::{iso_duration, parse_date_time};
use crate::description::formats::tree::integer;
use crate::util::uri::{Url, is_option};

/// Reads an `xsd:double` that is whole, not negative and below 2^64. Every digit counts, unlike in an `f64`.
pub(super) fn whole(text: &str) -> Option<u64> {
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let (is_negative, mantissa) = signed(mantissa);
    let (before, after) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{before}{after}");
    let (is_small, exponent) = signed(exponent);
    if !is_number(&digits) || !is_number(exponent) {
        return None;
    }
    let digits = digits.trim_start_matches('0');
    let significant = digits.trim_end_matches('0');
    if significant.is_empty() {
        return Some(0);
    }
    // An exponent that does not fit in an i64 makes the number too large, or not whole.
    let exponent = exponent.parse().unwrap_or(i64::MAX / 2);
    let exponent = if is_small { -exponent } else { exponent };
    let zeros = i64::try_from(digits.len() - significant.len()).ok()? - i64::try_from(after.len()).ok()?;
    let zeros = u32::try_from(exponent.saturating_add(zeros)).ok()?;
    let number = significant.parse::<u64>().ok()?.checked_mul(10_u64.checked_pow(zeros)?)?;
    (!is_negative).then_some(number)
}

/// Returns whether the text begins with a minus, and the text after the sign.
fn signed(text: &str) -> (bool, &str) {
    match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    }
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Reads a time in seconds, or an ISO 8601 duration without years and months, whose length varies. ARC 1 to 5 wrote both.
pub(super) fn seconds(text: &str) -> Option<u64> {
    let date = text.split('T').next().unwrap_or_default();
    if date.contains(['Y', 'M']) { None } else { integer(text).or_else(|| iso_duration(text)) }
}

/// Reads an `xsd:dateTime` that has a time zone.
pub(super) fn xsd_date_time(text: &str) -> Option<SystemTime> {
    let is_xsd = text.get(4..5) == Some("-") && text.get(10..11) == Some("T") && text.get(13..14) == Some(":");
    is_xsd.then(|| parse_date_time(text, false))?
}

/// Splits a URL into itself without ARC's options between host and path, and the options. With a port before them it
/// would not be a URI.
pub(super) fn split_options(url: &str) -> (String, Vec<&str>) {
    let parts = Url::split(url).filter(|url| !(url.user.is_none() && url.host.is_empty()));
    let options = parts.and_then(|url| url.options).map(|options| options.split(';').collect::<Vec<_>>());
    match (parts, options) {
        (Some(parts), Some(options)) if options.iter().all(|option| is_option(option)) => {
            (parts.with_options::<&str>([]), options)
        }
        _ => (url.into(), Vec::new()),
    }
}

/// Adds options to a URL. Returns `None` if it has no host.
pub(super) fn with_options<'a>(url: &'a str, options: &[&'a str]) -> Option<String> {
    if options.is_empty() {
        return Some(url.to_owned());
    }
    let url = Url::split(url).filter(|url| !(url.user.is_none() && url.host.is_empty()))?;
    let is_good = options.iter().all(|option| is_option(option));
    is_good.then(|| url.with_options(url.options.iter().chain(options)))
}

/// Whether a URL is an `xsd:anyURI`: a URI by RFC 3986 once the characters that no URI has are percent-encoded.
pub(super) fn is_uri(url: &str) -> bool {
    let Some(url_parts) = Url::split(url) else { return false };
    let (host, port) = url_parts.host_and_port();
    let host = match host.strip_prefix('[').and_then(|address| address.strip_suffix(']')) {
        Some(address) if address.bytes().all(|byte| byte.is_ascii_hexdigit() || b":.".contains(&byte)) => "",
        Some(_) => return false,
        None => host,
    };
    // RFC 3986 treats ARC's options as a part of the host. After a port they are invalid.
    let is_port = port.is_none_or(|port| url_parts.options.is_none() && is_number(port) && port.parse::<u16>().is_ok());
    let is_plain = |part: &str| !part.contains(['[', ']']);
    let (user, options) = (url_parts.user.unwrap_or_default(), url_parts.options.unwrap_or_default());
    is_port
        && [user, host, options, url_parts.rest].into_iter().all(is_plain)
        && !host.contains(':')
        && !options.contains(':')
        && !user.contains('@')
        && url_parts.rest.matches('#').count() <= 1
        && url.split('%').skip(1).all(|part| part.len() >= 2 && part.bytes().take(2).all(|b| b.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn doubles_are_read_exactly() {
        for (text, number) in [
            ("0", 0),
            ("-0.0e5", 0),
            ("0e999999999999999999999", 0),
            ("2048.0", 2048),
            ("1e9", 1_000_000_000),
            ("+1.50E+1", 15),
            ("1200e-2", 12),
            ("00.0100e2", 1),
            (".5e1", 5),
            ("5.", 5),
            ("9007199254740993", 9_007_199_254_740_993),
            ("18446744073709551615.000", u64::MAX),
            ("1.8446744073709551615E19", u64::MAX),
        ] {
            assert_eq!(whole(text), Some(number), "{text}");
        }
        for text in [
            "",
            ".",
            "-1",
            "1.5",
            "1e-1",
            "0.1",
            "INF",
            "-INF",
            "NaN",
            "1e",
            "e1",
            "1e1.0",
            "1 0",
            "1,0",
            "0x10",
            "--1",
            "1e20",
            "18446744073709551616",
            "1e99999999999999999999",
            "1e-99999999999999999999",
            "٣",
            "1e9e9",
        ] {
            assert_eq!(whole(text), None, "{text}");
        }
    }

    #[test]
    fn life_times_may_be_durations() {
        let good = [("60", 60), ("PT1H30M", 5400), ("P1D", 86400), ("P1W2DT3H4M5S", 788_645), ("PT0S", 0)];
        for (text, number) in good {
            assert_eq!(seconds(text), Some(number), "{text}");
        }
        for text in
            ["", "P", "PT", "P1", "P1M", "P1Y", "PT1D", "PT1M1H", "PTS", "PT1.5S", "-P1D", "P18446744073709551615D"]
        {
            assert_eq!(seconds(text), None, "{text}");
        }
    }

    #[test]
    fn times_are_those_of_xml_schema() {
        let time = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_800_000_000);
        assert_eq!(xsd_date_time("2027-01-15T08:00:00Z"), Some(time));
        for text in ["2027-01-15 08:00:00Z", "20270115T080000Z", "2027-01-15T080000Z", "2027-01-15T08:00:00"] {
            assert_eq!(xsd_date_time(text), None, "{text}");
        }
    }

    #[test]
    fn options_are_between_host_and_path() {
        for (url, plain, options) in [
            ("gsiftp://h:2811;threads=5;cache=no/a;b", "gsiftp://h:2811/a;b", &["threads=5", "cache=no"][..]),
            ("https://u;x@h;a=1", "https://u;x@h", &["a=1"]),
            ("https://h;a=1?q", "https://h?q", &["a=1"]),
            ("https://u;x@h/;a", "https://u;x@h/;a", &[]),
            ("https://h;/a", "https://h;/a", &[]),
            ("https://h;;a=1/a", "https://h;;a=1/a", &[]),
        ] {
            assert_eq!(split_options(url), (plain.into(), options.to_vec()));
            assert_eq!(with_options(plain, options).as_deref(), Some(url));
        }
        for (url, option) in [("a", "b=c"), ("https://h/a", ""), ("https://h/a", "a;b"), ("https://h/a", "a/b")] {
            assert_eq!(with_options(url, &[option]), None);
        }
    }

    #[test]
    fn only_valid_uris_are_accepted() {
        for url in [
            "a://b",
            "a://",
            "https://u:p@h:80/a@b:c?d?/#e?/",
            "root://h//a",
            "http://[::1]:80/",
            "http://[::1]",
            "a://é|<>\"{}^`\\/é",
        ] {
            assert!(is_uri(url), "{url}");
        }
        for url in [
            "a://b%",
            "a://b%2",
            "a://b/%zz",
            "a://b:/",
            "a://b:c/",
            "a://b:80;x=y/",
            "a://[b",
            "a://[::1]x/",
            "a://[x]/",
            "a://b/[",
            "a://b#c#d",
            "a://b@c@d/",
            "a://b:99999/",
            "a://b:1:2/",
        ] {
            assert!(!is_uri(url), "{url}");
        }
    }

    proptest! {
        #[test]
        fn any_number_is_read(number: u64, zeros in 0..5_usize) {
            prop_assert_eq!(whole(&format!("{number}.{}", "0".repeat(zeros))), Some(number));
            prop_assert_eq!(whole(&format!("{number}{}e-{zeros}", "0".repeat(zeros))), Some(number));
            prop_assert_eq!(whole(&format!("{number}.5")), None);
        }

        #[test]
        fn any_options_are_put_back(url in "[a-z]{1,3}://[a-z;@:/?#=|]{0,30}") {
            let (plain, options) = split_options(&url);
            prop_assert_eq!(with_options(&plain, &options), Some(url.clone()));
        }
    }
}
