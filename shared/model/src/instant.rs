//! Instants as people and documents write them. Invariant: what is read or added up can be stored and sent.

use std::time::Duration;

use chrono::{DateTime, Datelike, TimeDelta, Utc};

/// The latest instant that is kept: durations may be long, timestamps end with the year 9999.
const END_OF_TIME_MS: i64 = 253_402_300_799_000;

/// Reads an RFC 3339 instant of the years 1 to 9999, cut to microseconds, as the database keeps it.
pub fn parse(text: &str) -> Result<DateTime<Utc>, String> {
    DateTime::parse_from_rfc3339(text)
        .ok()
        .map(|instant| instant.to_utc())
        .filter(|instant| (1..=9999).contains(&instant.year()))
        .and_then(|instant| DateTime::from_timestamp_micros(instant.timestamp_micros()))
        .ok_or_else(|| {
            format!(
                "`{}` is no RFC 3339 instant, such as `2030-01-31T09:00:00Z`",
                crate::text::clean(text, 50)
            )
        })
}

/// `at` plus `by`, never beyond what can be stored.
pub fn later(at: DateTime<Utc>, by: Duration) -> DateTime<Utc> {
    let end = DateTime::from_timestamp_millis(END_OF_TIME_MS).expect("the year 9999 exists");
    TimeDelta::from_std(by)
        .ok()
        .and_then(|by| at.checked_add_signed(by))
        .map_or(end, |sum| sum.min(end))
}

#[cfg(test)]
mod tests {
    use super::{DateTime, Duration, later, parse};

    #[test]
    fn no_duration_leads_beyond_what_is_kept() {
        let start = DateTime::UNIX_EPOCH;
        assert_eq!(later(start, Duration::from_secs(1)).timestamp(), 1);
        for by in [Duration::from_secs(253_402_300_800), Duration::MAX] {
            assert_eq!(later(start, by).to_rfc3339(), "9999-12-31T23:59:59+00:00");
        }
    }

    #[test]
    fn instants_have_an_offset_and_microseconds() {
        let check = |text: &str, want: &str| {
            assert_eq!(
                parse(text).map(|instant| instant.to_rfc3339()),
                Ok(want.to_owned()),
                "{text}"
            );
        };
        check("2026-01-01T01:00:00+01:00", "2026-01-01T00:00:00+00:00");
        check(
            "2026-01-01T00:00:00.123456789Z",
            "2026-01-01T00:00:00.123456+00:00",
        );
        check(
            "9999-12-31T23:59:59.999999999Z",
            "9999-12-31T23:59:59.999999+00:00",
        );
        check("0001-01-01T00:00:00Z", "0001-01-01T00:00:00+00:00");
        check("2016-12-31T23:59:60Z", "2017-01-01T00:00:00+00:00");
        for text in [
            "2026-01-01",
            "2026-01-01T00:00:00",
            "now",
            "",
            "9999-12-31T23:59:59-01:00",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
