//! The one rounding rule of all reports: times are divided in whole microseconds, halves up, and written as
//! milliseconds with at most 3 decimals; rates are rounded to 6 decimals, halves up.
//! Invariant: a number is rounded once, when it is written, and never computed with afterwards.

use std::fmt;

use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Microseconds, written as JSON milliseconds. Reading gives the same microseconds again (exact below
/// 2^53 µs, 285 years).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Millis(pub u128);

impl Millis {
    /// The mean of `count` durations; none of none.
    pub fn mean(sum: u128, count: u64) -> Option<Self> {
        let count = u128::from(count);
        (count > 0).then(|| Self((sum + count / 2) / count))
    }

    pub fn as_f64(self) -> f64 {
        self.0 as f64 / 1000.0
    }
}

/// `part` of `whole`; none of nothing.
pub fn rate(part: u64, whole: u64) -> Option<f64> {
    let (part, whole) = (u128::from(part), u128::from(whole));
    (whole > 0).then(|| ((part * 1_000_000 + whole / 2) / whole) as f64 / 1_000_000.0)
}

impl Serialize for Millis {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match u64::try_from(self.0) {
            // Without this, 5 ms would read 5.0.
            Ok(micros) if micros % 1000 == 0 => serializer.serialize_u64(micros / 1000),
            _ => serializer.serialize_f64(self.as_f64()),
        }
    }
}

impl<'de> Deserialize<'de> for Millis {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Number)
    }
}

struct Number;

impl Visitor<'_> for Number {
    type Value = Millis;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("milliseconds, not negative")
    }

    fn visit_u64<E: Error>(self, millis: u64) -> Result<Millis, E> {
        Ok(Millis(u128::from(millis) * 1000))
    }

    fn visit_f64<E: Error>(self, millis: f64) -> Result<Millis, E> {
        if millis < 0.0 {
            return Err(E::custom("a negative time"));
        }
        Ok(Millis((millis * 1000.0).round() as u128))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_in_milliseconds_with_at_most_three_decimals() {
        for (micros, text) in [
            (0, "0"),
            (1, "0.001"),
            (5000, "5"),
            (12_345, "12.345"),
            (86_400_000_001, "86400000.001"),
        ] {
            assert_eq!(serde_json::to_string(&Millis(micros)).unwrap(), text);
            assert_eq!(
                serde_json::from_str::<Millis>(text).unwrap(),
                Millis(micros)
            );
        }
    }

    #[test]
    fn means_round_halves_up_to_a_microsecond() {
        assert_eq!(Millis::mean(3, 2), Some(Millis(2)));
        assert_eq!(Millis::mean(4, 3), Some(Millis(1)));
        assert_eq!(Millis::mean(0, 0), None);
    }

    #[test]
    fn rates_have_six_decimals() {
        assert_eq!(rate(85, 95), Some(0.894_737));
        assert_eq!(rate(1, 1), Some(1.0));
        assert_eq!(rate(0, 0), None);
    }
}
