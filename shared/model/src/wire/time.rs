//! Instants and durations on the wire. Invariant: what is accepted can be stored and sent back.

use std::time::Duration;

use chrono::{DateTime, Utc};
use prost_types::Timestamp;

pub fn timestamp(instant: DateTime<Utc>) -> Timestamp {
    // A leap second counts 1e9 nanoseconds and more in chrono, which no Timestamp may hold.
    let nanos = instant.timestamp_subsec_nanos().min(999_999_999);
    Timestamp {
        seconds: instant.timestamp(),
        nanos: i32::try_from(nanos).expect("less than 2^31 after `min`"),
    }
}

/// Reads an instant of the years 1 to 9999, cut to microseconds: that is what the database keeps, and it
/// would round the last one into a year that no Timestamp can hold.
pub fn instant(timestamp: &Timestamp) -> Result<DateTime<Utc>, String> {
    // 0001-01-01T00:00:00Z and 9999-12-31T23:59:59Z.
    const YEARS: std::ops::RangeInclusive<i64> = -62_135_596_800..=253_402_300_799;
    let nanos = nanos(timestamp.nanos)?;
    Some(timestamp.seconds)
        .filter(|seconds| YEARS.contains(seconds))
        .and_then(|seconds| DateTime::from_timestamp(seconds, nanos / 1000 * 1000))
        .ok_or_else(|| "must lie in the years 1 to 9999".to_owned())
}

/// Reads a duration that is not negative and at most ten years.
pub fn duration(duration: &prost_types::Duration) -> Result<Duration, String> {
    let seconds = u64::try_from(duration.seconds).map_err(|_| "must not be negative")?;
    let duration = Duration::new(seconds, nanos(duration.nanos)?);
    if duration > crate::duration::LONGEST {
        return Err("must not be longer than ten years".to_owned());
    }
    Ok(duration)
}

fn nanos(nanos: i32) -> Result<u32, String> {
    u32::try_from(nanos)
        .ok()
        .filter(|nanos| *nanos < 1_000_000_000)
        .ok_or_else(|| "must have 0 to 999999999 nanos".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_come_back_to_the_microsecond() {
        let check = |seconds: i64, nanos: i32, want: &str| {
            let read = instant(&Timestamp { seconds, nanos }).unwrap();
            assert_eq!(read.to_rfc3339(), want);
            assert_eq!(instant(&timestamp(read)), Ok(read));
        };
        check(0, 0, "1970-01-01T00:00:00+00:00");
        check(-1, 999_999_999, "1969-12-31T23:59:59.999999+00:00");
        check(-62_135_596_800, 0, "0001-01-01T00:00:00+00:00");
        check(
            253_402_300_799,
            999_999_999,
            "9999-12-31T23:59:59.999999+00:00",
        );
    }

    #[test]
    fn instants_outside_the_calendar_are_refused() {
        for (seconds, nanos) in [
            (-62_135_596_801, 0),
            (253_402_300_800, 0),
            (i64::MIN, 0),
            (i64::MAX, 0),
            (0, -1),
            (0, 1_000_000_000),
        ] {
            assert!(
                instant(&Timestamp { seconds, nanos }).is_err(),
                "{seconds} {nanos}"
            );
        }
    }

    #[test]
    fn durations_are_bounded() {
        let check = |seconds, nanos| duration(&prost_types::Duration { seconds, nanos });
        assert_eq!(check(1, 500_000_000), Ok(Duration::from_millis(1500)));
        assert_eq!(check(315_360_000, 0), Ok(crate::duration::LONGEST));
        assert!(check(315_360_000, 1).is_err());
        assert!(check(i64::MAX, 999_999_999).is_err());
        assert!(check(-1, 0).is_err());
        assert!(check(0, -1).is_err());
    }
}
