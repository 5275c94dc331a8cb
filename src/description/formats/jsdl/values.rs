//! Numbers, times and URIs as JSDL writes them.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::util::uri::encode_path;

const DAY: i64 = 24 * 60 * 60;

/// A number as `xsd:double` has it, if it is whole, not negative and below 2^64. It is read to the last digit, which a
/// double is not.
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
    // An exponent that does not fit is too much, or too little, in any case.
    let exponent = exponent.parse().unwrap_or(i64::MAX / 2);
    let exponent = if is_small { -exponent } else { exponent };
    let zeros = i64::try_from(digits.len() - significant.len()).ok()? - i64::try_from(after.len()).ok()?;
    let zeros = u32::try_from(exponent.saturating_add(zeros)).ok()?;
    let number = significant.parse::<u64>().ok()?.checked_mul(10_u64.checked_pow(zeros)?)?;
    (!is_negative).then_some(number)
}

/// Whether it has a minus, and what comes after the sign.
fn signed(text: &str) -> (bool, &str) {
    match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    }
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// A number as `xsd:nonNegativeInteger` has it.
pub(super) fn integer(text: &str) -> Option<u64> {
    let digits = text.strip_prefix('+').unwrap_or(text);
    is_number(digits).then(|| digits.parse().ok())?
}

/// A time in seconds, or as ARC wrote it: an ISO 8601 duration, without months and years, whose length varies.
pub(super) fn seconds(text: &str) -> Option<u64> {
    let Some(duration) = text.strip_prefix('P') else { return integer(text) };
    let (days, hours) = duration.split_once('T').unwrap_or((duration, ""));
    if days.is_empty() && hours.is_empty() {
        return None;
    }
    let days = units(days, &[('W', 7 * 24 * 60 * 60), ('D', 24 * 60 * 60)])?;
    days.checked_add(units(hours, &[('H', 60 * 60), ('M', 60), ('S', 1)])?)
}

fn units(mut text: &str, units: &[(char, u64)]) -> Option<u64> {
    let (mut total, mut units) = (0_u64, units.iter());
    while !text.is_empty() {
        let (number, rest) = text.split_at(text.find(|c: char| !c.is_ascii_digit())?);
        let (unit, length) = units.find(|(unit, _)| rest.starts_with(*unit))?;
        total = total.checked_add(number.parse::<u64>().ok()?.checked_mul(*length)?)?;
        text = rest.strip_prefix(*unit)?;
    }
    Some(total)
}

pub(super) fn boolean(text: &str) -> Option<bool> {
    // ARC took any case.
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" => Some(true),
        "false" | "0" => Some(false),
        _ => None,
    }
}

/// As `xsd:dateTime`, in UTC.
pub(super) fn date_time(time: SystemTime) -> String {
    let seconds = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    let (day, second) = (seconds / DAY.unsigned_abs(), seconds % DAY.unsigned_abs());
    let (year, month, day) = date_of(i64::try_from(day).unwrap_or(i64::MAX / DAY));
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// What an `xsd:dateTime` stands for, if it has a time zone and is not before 1970; without what is less than a second.
pub(super) fn parse_date_time(text: &str) -> Option<SystemTime> {
    let (date, rest) = text.split_once('T')?;
    let [year, month, day] = numbers(date, '-', [4, 2, 2])?;
    let (time, offset) = match rest.strip_suffix('Z') {
        Some(time) => (time, 0),
        None => {
            let (time, zone) = rest.split_at(rest.rfind(['+', '-'])?);
            let (is_west, zone) = signed(zone);
            let [hours, minutes] = numbers(zone, ':', [2, 2])?;
            let offset = hours * 60 + minutes;
            if minutes > 59 || offset > 14 * 60 {
                return None;
            }
            (time, if is_west { -offset } else { offset })
        }
    };
    let (time, fraction) = time.split_once('.').unwrap_or((time, "0"));
    let [hour, minute, second] = numbers(time, ':', [2, 2, 2])?;
    let is_midnight = (hour, minute, second) == (24, 0, 0) && fraction.trim_end_matches('0').is_empty();
    let is_time = hour < 24 && minute < 60 && second < 60 || is_midnight;
    if !is_number(fraction) || !is_time || !(1..=12).contains(&month) {
        return None;
    }
    let days = days(year, month, day);
    if date_of(days) != (year, month, day) {
        return None;
    }
    let seconds = days * DAY + hour * 3600 + (minute - offset) * 60 + second;
    Some(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds.try_into().ok()?))
}

/// Numbers of so many digits each.
fn numbers<const N: usize>(text: &str, separator: char, digits: [usize; N]) -> Option<[i64; N]> {
    let mut numbers = [0; N];
    let mut parts = text.split(separator);
    for (number, digits) in numbers.iter_mut().zip(digits) {
        let part = parts.next().filter(|part| part.len() == digits && is_number(part))?;
        *number = part.parse().ok()?;
    }
    parts.next().is_none().then_some(numbers)
}

/// Days from 1970-01-01 in the Gregorian calendar. Years begin with March here, so that a leap day is the last of one.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    // 719468 days from 0000-03-01 to 1970-01-01.
    year * 365 + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + (month * 153 + 2) / 5 + day
        - 1
        - 719_468
}

/// The date so many days after 1970-01-01.
fn date_of(after: i64) -> (i64, i64, i64) {
    // Never too late, and at most a year and some days too early.
    let mut year = 1970 + after * 400 / 146_097 - 1;
    while days(year + 1, 1, 1) <= after {
        year += 1;
    }
    let month = (1..=12).rev().find(|month| days(year, *month, 1) <= after).unwrap_or(1);
    (year, month, after - days(year, month, 1) + 1)
}

/// The `file` URI of an absolute path.
pub(super) fn file_uri(path: &Path) -> String {
    format!("file://{}", encode_path(path.as_os_str().as_bytes()))
}

/// The path of a URI, if its scheme is `file`.
pub(super) fn file_path(uri: &str) -> Option<Result<PathBuf, &'static str>> {
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
            return Err("has a query or a fragment, which files have not");
        }
        let bytes = decode(path).ok_or("is not percent-encoded as it should be")?;
        Ok(PathBuf::from(OsStr::from_bytes(&bytes)))
    })
}

fn decode(path: &str) -> Option<Vec<u8>> {
    let mut parts = path.split('%');
    let mut bytes = parts.next()?.as_bytes().to_vec();
    for part in parts {
        let digits = part.get(..2).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()))?;
        bytes.push(u8::from_str_radix(digits, 16).ok().filter(|byte| *byte != 0)?);
        bytes.extend_from_slice(&part.as_bytes()[2..]);
    }
    Some(bytes)
}

/// A URL without the options that ARC has between host and path (`https://host;cache=no/path`), and these: with a port
/// before them it is no URI.
pub(super) fn split_options(url: &str) -> (String, Vec<&str>) {
    let (start, authority, rest) = authority(url);
    let host = authority.rfind('@').map_or(0, |at| at + 1);
    let Some(end) = authority[host..].find(';').map(|end| host + end) else { return (url.into(), Vec::new()) };
    let options: Vec<&str> = authority[end + 1..].split(';').collect();
    if end > 0 && options.iter().all(|option| is_option(option)) {
        (format!("{start}{}{rest}", &authority[..end]), options)
    } else {
        (url.into(), Vec::new())
    }
}

/// A URL with options between host and path.
pub(super) fn with_options<'a>(url: &str, mut options: impl Iterator<Item = &'a str>) -> Option<String> {
    let (start, authority, rest) = authority(url);
    let with = options.try_fold(authority.to_owned(), |url, option| {
        (is_option(option) && !authority.is_empty()).then(|| format!("{url};{option}"))
    })?;
    Some(format!("{start}{with}{rest}"))
}

pub(super) fn is_option(option: &str) -> bool {
    !option.is_empty() && !option.contains(|c: char| c.is_whitespace() || c.is_control() || ";/?#@".contains(c))
}

/// What is before, in and after a URL's authority.
fn authority(url: &str) -> (&str, &str, &str) {
    let start = url.find("://").map_or(url.len(), |colon| colon + 3);
    let end = url[start..].find(['/', '?', '#']).map_or(url.len(), |end| start + end);
    (&url[..start], &url[start..end], &url[end..])
}

/// Whether a URL is an `xsd:anyURI`: a URI by RFC 3986, when what is not ASCII, or never stands in a URI, has been encoded.
pub(super) fn is_uri(url: &str) -> bool {
    let (_, authority, rest) = authority(url);
    let (host, user) = match authority.rsplit_once('@') {
        Some((user, host)) => (host, user),
        None => (authority, ""),
    };
    let (host, port) = match host.strip_prefix('[').and_then(|address| address.split_once(']')) {
        Some((address, port)) => {
            if !address.bytes().all(|byte| byte.is_ascii_hexdigit() || b":.".contains(&byte)) {
                return false;
            }
            ("", port.strip_prefix(':').or(if port.is_empty() { Some("1") } else { None }))
        }
        None => host.split_once(':').map_or((host, Some("1")), |(host, port)| (host, Some(port))),
    };
    let is_port = port.is_some_and(|port| is_number(port) && port.parse::<u16>().is_ok());
    let has_brackets = [user, host, rest].iter().any(|part| part.contains(['[', ']']));
    is_port
        && !has_brackets
        && !user.contains('@')
        && rest.matches('#').count() <= 1
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
    fn integers_and_booleans_are_as_in_the_schemas() {
        assert_eq!(["0", "+7", "007"].map(integer), [Some(0), Some(7), Some(7)]);
        assert_eq!(["", "+", "-1", "1.0", "1e3", "18446744073709551616"].map(integer), [None; 6]);
        assert_eq!(["true", "1", "TRUE", "false", "0"].map(boolean), [true, true, true, false, false].map(Some));
        assert_eq!(["", "yes", "2"].map(boolean), [None; 3]);
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
    fn times_have_a_time_zone() {
        let at = |seconds| Some(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
        for (text, seconds) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2000-02-29T12:34:56Z", 951_827_696),
            ("2027-01-15T08:00:00Z", 1_800_000_000),
            ("2027-01-15T10:30:00.75+02:30", 1_800_000_000),
            ("2027-01-14T18:00:00-14:00", 1_800_000_000),
            ("1999-12-31T24:00:00Z", 946_684_800),
            ("9999-12-31T23:59:59Z", 253_402_300_799),
        ] {
            assert_eq!(parse_date_time(text), at(seconds), "{text}");
        }
        for text in [
            "",
            "T",
            "2027-01-15",
            "2027-01-15T08:00:00",
            "2027-01-15 08:00:00Z",
            "2027-13-01T00:00:00Z",
            "2027-02-29T00:00:00Z",
            "1900-02-29T00:00:00Z",
            "2027-00-01T00:00:00Z",
            "2027-01-00T00:00:00Z",
            "2027-01-01T24:00:01Z",
            "2027-01-01T24:00:00.1Z",
            "2027-01-01T00:60:00Z",
            "2027-01-01T00:00:60Z",
            "2027-01-01T00:00Z",
            "2027-01-01T00:00:00.Z",
            "2027-1-1T00:00:00Z",
            "02027-01-01T00:00:00Z",
            "-2027-01-01T00:00:00Z",
            "2027-01-01T00:00:00+15:00",
            "2027-01-01T00:00:00+00:60",
            "2027-01-01T00:00:00+-1:00",
            "1969-12-31T23:59:59Z",
            "1970-01-01T00:00:00+00:01",
            "2027-01-01T00:00:0éZ",
        ] {
            assert_eq!(parse_date_time(text), None, "{text}");
        }
    }

    #[test]
    fn file_uris_are_paths() {
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
        ] {
            assert!(matches!(file_path(uri), Some(Err(_))), "{uri}");
        }
        assert_eq!(["https://h/a", "a", "files:///a"].map(file_path), [None, None, None]);
    }

    #[test]
    fn uris_are_percent_encoded() {
        let path = Path::new(OsStr::from_bytes(b"/a b/%20?x=1;y#z/\xc3\xa9\xff\n~-._Z9"));
        assert_eq!(file_uri(path), "file:///a%20b/%2520%3Fx%3D1%3By%23z/%C3%A9%FF%0A~-._Z9");
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
            assert_eq!(with_options(plain, options.iter().copied()).as_deref(), Some(url));
        }
        for (url, option) in [("a", "b=c"), ("https://h/a", ""), ("https://h/a", "a;b"), ("https://h/a", "a/b")] {
            assert_eq!(with_options(url, [option].into_iter()), None);
        }
    }

    #[test]
    fn not_every_url_is_a_uri() {
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
        fn any_time_is_read(seconds in 0..253_402_300_800_u64) {
            let time = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
            prop_assert_eq!(parse_date_time(&date_time(time)), Some(time));
        }

        #[test]
        fn any_path_is_read(bytes in prop::collection::vec(1..=255_u8, 0..20)) {
            let path = Path::new("/").join(OsStr::from_bytes(&bytes));
            let path = if path.is_absolute() { path } else { Path::new("/").join(path) };
            prop_assert_eq!(file_path(&file_uri(&path)), Some(Ok(path)));
        }

        #[test]
        fn any_options_are_put_back(url in "[a-z]{1,3}://[a-z;@:/?#=|]{0,30}") {
            let (plain, options) = split_options(&url);
            prop_assert_eq!(with_options(&plain, options.into_iter()), Some(url));
        }
    }
}
