//! Formats points in time.

use std::time::SystemTime;

use jiff::Timestamp;

/// Formats a time as RFC 3339 in UTC, such as `2026-11-24T06:44:01Z`, with `decimals` digits after the second.
///
/// Times before 1970 become the first second of 1970. Times after the year 9999 become the last time that jiff
/// supports.
pub(crate) fn rfc3339(time: SystemTime, decimals: usize) -> String {
    let time = time.max(SystemTime::UNIX_EPOCH);
    format!("{:.decimals$}", Timestamp::try_from(time).unwrap_or(Timestamp::MAX))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn times_are_rfc_3339() {
        let time = SystemTime::UNIX_EPOCH + Duration::from_millis(1_795_502_641_123);
        assert_eq!(rfc3339(time, 0), "2026-11-24T06:44:01Z");
        assert_eq!(rfc3339(time, 3), "2026-11-24T06:44:01.123Z");
        assert_eq!(rfc3339(SystemTime::UNIX_EPOCH, 3), "1970-01-01T00:00:00.000Z");
        assert_eq!(rfc3339(SystemTime::UNIX_EPOCH - Duration::from_secs(1), 0), "1970-01-01T00:00:00Z");
        assert!(rfc3339(time + Duration::from_secs(1 << 40), 0).starts_with("9999-12-30"));
    }
}
