//! Reads and writes durations and points in time in the forms of the three languages.

use std::time::{Duration, SystemTime};

use jiff::SignedDuration;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
const WEEK: u64 = 7 * DAY;

const UNIX_EPOCH: DateTime = DateTime::constant(1970, 1, 1, 0, 0, 0, 0);

/// Reads ASCII digits and nothing else.
pub(super) fn number(text: &str) -> Option<u64> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) { text.parse().ok() } else { None }
}

/// Reads an ISO 8601 duration, such as `P1DT2H`, in seconds. As in `Arc::Period`, a year has 365 days and a month 30.
pub(super) fn iso_duration(text: &str) -> Option<u64> {
    let text = text.strip_prefix('P')?;
    let (days, hours) = text.split_once('T').unwrap_or((text, ""));
    if days.is_empty() && hours.is_empty() {
        return None;
    }
    let days = amounts(days, &[('Y', 365 * DAY), ('M', 30 * DAY), ('W', WEEK), ('D', DAY)])?;
    days.checked_add(amounts(hours, &[('H', HOUR), ('M', MINUTE), ('S', 1)])?)
}

/// Adds up numbers that are followed by their units, in the order of `units`.
fn amounts(mut text: &str, units: &[(char, u64)]) -> Option<u64> {
    let (mut total, mut units) = (0_u64, units.iter());
    while !text.is_empty() {
        let (digits, rest) = text.split_at(text.find(|c: char| !c.is_ascii_digit())?);
        let (unit, length) = units.find(|(unit, _)| rest.starts_with(*unit))?;
        total = total.checked_add(number(digits)?.checked_mul(*length)?)?;
        text = rest.strip_prefix(*unit)?;
    }
    Some(total)
}

/// Reads a duration as `Arc::Period` does, in seconds: an ISO 8601 duration, or numbers with units (`1 hour 5 minutes`).
///
/// The last number may have no unit. Its unit is then the next smaller one after the preceding unit, or `base` seconds
/// if there is no other number.
pub(super) fn period(text: &str, mut base: u64) -> Option<u64> {
    if text.starts_with('P') {
        return iso_duration(text);
    }
    let (mut rest, mut total, mut last) = (text, None, None);
    while !rest.is_empty() {
        let (digits, after) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len()));
        let after = after.trim_start_matches(' ');
        let (unit, after) = after.split_at(after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len()));
        let unit = match unit.to_ascii_lowercase().as_str() {
            // ARC ignores a number without a unit after seconds.
            "" if after.is_empty() && last != Some(1) => base,
            "s" | "sec" | "secs" | "second" | "seconds" => 1,
            "m" | "min" | "mins" | "minute" | "minutes" => MINUTE,
            "h" | "hour" | "hours" => HOUR,
            "d" | "day" | "days" => DAY,
            "w" | "week" | "weeks" => WEEK,
            _ => return None,
        };
        last = Some(unit);
        base = match unit {
            WEEK => DAY,
            DAY => HOUR,
            HOUR => MINUTE,
            _ => 1,
        };
        total = Some(total.unwrap_or(0_u64).checked_add(number(digits)?.checked_mul(unit)?)?);
        rest = after.trim_start_matches(' ');
    }
    total
}

/// Writes a point in time as an `xsd:dateTime` in UTC: `2027-01-15T08:00:00Z`.
pub(super) fn date_time(time: SystemTime) -> String {
    let seconds = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    let since = SignedDuration::from_secs(i64::try_from(seconds).unwrap_or(i64::MAX));
    format!("{}Z", UNIX_EPOCH.saturating_add(since))
}

/// Reads a date and time: `YYYYMMDDhhmmss` or `YYYY-MM-DDThh:mm:ss`, with a blank or nothing instead of the `T`, and with
/// `Z` or an offset from UTC after it. Fractions of a second are dropped.
///
/// A time without `Z` and offset is local time if `is_local_allowed`, and otherwise an error. Times before 1970 are an
/// error.
pub(super) fn parse_date_time(text: &str, is_local_allowed: bool) -> Option<SystemTime> {
    let is_zone = |(at, c): &(usize, char)| *c == 'Z' || *at > 10 && "+-".contains(*c);
    let (civil, zone) = text.split_at(text.char_indices().find(is_zone).map_or(text.len(), |(at, _)| at));
    let (civil, fraction) = civil.split_once('.').unwrap_or((civil, "0"));
    let shape: String = civil.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    let time = shape.strip_prefix("0000-00-00").or_else(|| shape.strip_prefix("00000000"))?;
    let is_time = ["00:00:00", "000000"].contains(&time.strip_prefix(['T', ' ']).unwrap_or(time));
    if !is_time || fraction.is_empty() || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let digits: String = civil.chars().filter(char::is_ascii_digit).collect();
    let field = |at: usize| digits[at..at + 2].parse::<i8>().ok();
    // 24:00:00 is midnight at the end of the day.
    let is_midnight = &digits[8..] == "240000" && fraction.bytes().all(|byte| byte == b'0');
    let hour = if is_midnight { 0 } else { field(8)? };
    let year = digits[..4].parse().ok()?;
    let mut time = DateTime::new(year, field(4)?, field(6)?, hour, field(10)?, field(12)?, 0).ok()?;
    if is_midnight {
        time = time.checked_add(SignedDuration::from_hours(24)).ok()?;
    }
    let seconds = match zone {
        "" if is_local_allowed => time.to_zoned_datetime(TimeZone::system()).ok()?.timestamp().as_second(),
        "" => return None,
        "Z" => time.duration_since(UNIX_EPOCH).as_secs(),
        offset => time.duration_since(UNIX_EPOCH).as_secs() - seconds_from_utc(offset)?,
    };
    Some(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds.try_into().ok()?))
}

/// Reads an offset from UTC, `+hh:mm` or `-hhmm`, of at most 14 hours as in an `xsd:dateTime`.
fn seconds_from_utc(offset: &str) -> Option<i64> {
    let digits = offset.strip_prefix(['+', '-'])?;
    let (hours, minutes) = digits.split_once(':').or_else(|| digits.split_at_checked(2))?;
    let pair = |text: &str| number(text).filter(|_| text.len() == 2).and_then(|number| i64::try_from(number).ok());
    let (hours, minutes) = (pair(hours)?, pair(minutes)?);
    let seconds = 60 * (60 * hours + minutes);
    let is_valid = minutes < 60 && seconds <= 14 * 60 * 60;
    is_valid.then_some(if offset.starts_with('-') { -seconds } else { seconds })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn periods_are_read_as_arc_does() {
        for (text, expected) in [
            ("7", Some(420)),
            ("7s", Some(7)),
            ("1 hour 5 minutes", Some(3900)),
            ("1h30", Some(5400)),
            ("2w 1d", Some(15 * DAY)),
            ("10 M", Some(600)),
            ("PT1H5S", Some(3605)),
            ("P1DT1M", Some(DAY + 60)),
            ("P1M", Some(30 * DAY)),
            ("P", None),
            ("", None),
            ("x", None),
            ("-5", None),
            ("1:30", None),
            ("1.5", None),
            ("5 fortnights", None),
            ("5 6", None),
            ("5 sec 6", None),
            ("PT5", None),
            ("PT1HT1S", None),
            ("99999999999999999999", None),
            ("9999999999999999999w", None),
        ] {
            assert_eq!(period(text, MINUTE), expected, "{text}");
        }
    }

    #[test]
    fn times_are_read_completely_or_refused() {
        for good in ["20261122120000", "20261122120000Z", "2026-11-22T12:00:00+01:00", "2026-11-22 12:00:00"] {
            assert!(parse_date_time(good, true).is_some(), "{good}");
        }
        for bad in [
            "",
            "x",
            "20-01",
            "20261122120000Z0100",
            "2026-11-22T12:00:00Z01:00",
            "20261322120000",
            "20261122126000",
            "2026-11-22",
            "2026-11-22 12:00",
            "20261122120000x",
            "2026-11-22T12:00:00Zx",
        ] {
            assert_eq!(parse_date_time(bad, true), None, "{bad}");
        }
    }

    #[test]
    fn times_need_a_time_zone() {
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
            assert_eq!(parse_date_time(text, false), at(seconds), "{text}");
        }
        for text in [
            "",
            "T",
            "2027-01-15",
            "2027-01-15T08:00:00",
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
            assert_eq!(parse_date_time(text, false), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_time_is_read(seconds in 0..253_402_300_800_u64) {
            let time = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
            prop_assert_eq!(parse_date_time(&date_time(time), false), Some(time));
        }
    }
}
