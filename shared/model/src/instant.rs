//! Instants as people and documents write them. Invariant: what is read can be stored and sent.

use chrono::{DateTime, Datelike, Utc};

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

#[cfg(test)]
mod tests {
    use super::parse;

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
