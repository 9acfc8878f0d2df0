//! How durations are distributed: counts in fixed logarithmic buckets.
//! Invariant: the buckets are the same everywhere and never collapse, so merging is plain addition.
//!
//! Bucket 0 holds zero; bucket i > 0 holds the whole microseconds in (γ^(i-2), γ^(i-1)] with
//! γ = 1.01 / 0.99. A bucket answers with 2γ^(i-1) / (γ + 1), which is within 1 % of all it holds, and is
//! then rounded to a whole microsecond.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Error, SeqAccess, Visitor};
use serde::ser::SerializeSeq;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

const GAMMA: f64 = 1.01 / 0.99;

/// γ^2218 is above u64::MAX: every value has a bucket.
const BUCKETS: usize = 2220;

/// The largest value of each bucket. Made by multiplication alone, whose result does not depend on the
/// platform as that of a logarithm does: two replicas never differ about a boundary.
static UPPER: [u64; BUCKETS] = {
    let mut upper = [0; BUCKETS];
    let mut power = 1.0_f64;
    let mut bucket = 1;
    while bucket < BUCKETS {
        // Saturates beyond u64.
        upper[bucket] = power as u64;
        power *= GAMMA;
        bucket += 1;
    }
    upper
};

/// Counts by bucket; only buckets that hold something.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sketch(BTreeMap<u16, u64>);

impl Sketch {
    pub fn add(&mut self, micros: u64) {
        *self.0.entry(bucket_of(micros)).or_default() += 1;
    }

    pub fn merge(&mut self, other: &Self) {
        for (bucket, count) in &other.0 {
            *self.0.entry(*bucket).or_default() += count;
        }
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The value of rank ⌈n · percent / 100⌉ among the n values in ascending order (*nearest rank*: an
    /// observed value's bucket, never a point between two), in microseconds.
    pub fn percentile(&self, percent: u64) -> Option<u64> {
        let n: u64 = self.0.values().sum();
        let rank = (u128::from(n) * u128::from(percent)).div_ceil(100).max(1);
        let mut seen = 0_u128;
        for (bucket, count) in &self.0 {
            seen += u128::from(*count);
            if seen >= rank {
                return Some(answer_of(*bucket));
            }
        }
        None
    }
}

fn bucket_of(micros: u64) -> u16 {
    let bucket = UPPER.partition_point(|upper| *upper < micros);
    u16::try_from(bucket).expect("there are fewer buckets than u16 counts")
}

fn answer_of(bucket: u16) -> u64 {
    if bucket == 0 {
        return 0;
    }
    let mut power = 1.0_f64;
    for _ in 1..bucket {
        power *= GAMMA;
    }
    (2.0 * power / (GAMMA + 1.0)).round() as u64
}

/// As one flat list `[bucket, count, bucket, count, …]` in ascending order: a third of what an object
/// with text keys takes in jsonb.
impl Serialize for Sketch {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(Some(self.0.len() * 2))?;
        for (bucket, count) in &self.0 {
            list.serialize_element(bucket)?;
            list.serialize_element(count)?;
        }
        list.end()
    }
}

impl<'de> Deserialize<'de> for Sketch {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(FlatList)
    }
}

struct FlatList;

impl<'de> Visitor<'de> for FlatList {
    type Value = Sketch;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of buckets, each followed by its count")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Sketch, A::Error> {
        let mut sketch = Sketch::default();
        while let Some(bucket) = list.next_element::<u16>()? {
            let count = list
                .next_element::<u64>()?
                .ok_or_else(|| A::Error::custom("the last bucket has no count"))?;
            if usize::from(bucket) >= BUCKETS {
                return Err(A::Error::custom("there is no such bucket"));
            }
            *sketch.0.entry(bucket).or_default() += count;
        }
        Ok(sketch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: impl IntoIterator<Item = u64>) -> Sketch {
        let mut sketch = Sketch::default();
        values.into_iter().for_each(|value| sketch.add(value));
        sketch
    }

    #[test]
    fn every_answer_is_within_one_percent_and_half_a_microsecond() {
        let mut value = 0_u64;
        while value < u64::MAX / 3 {
            let answer = answer_of(bucket_of(value));
            let error = answer.abs_diff(value) as f64;
            assert!(
                error <= value as f64 * 0.010_000_001 + 0.5,
                "{value} answers {answer}"
            );
            value = value + 1 + value / 7;
        }
        assert!(usize::from(bucket_of(u64::MAX)) < BUCKETS);
    }

    #[test]
    fn small_values_are_exact() {
        for value in 0..50 {
            assert_eq!(answer_of(bucket_of(value)), value);
        }
    }

    #[test]
    fn ranks_are_nearest_and_round_up() {
        let sketch = of(1..=10);
        assert_eq!(sketch.percentile(50), Some(5));
        assert_eq!(sketch.percentile(51), Some(6));
        assert_eq!(sketch.percentile(95), Some(10));
        assert_eq!(sketch.percentile(0), Some(1));
        assert_eq!(of([7]).percentile(99), Some(7));
        assert_eq!(of([]).percentile(50), None);
    }

    #[test]
    fn reads_back_what_it_wrote() {
        let sketch = of([0, 0, 1, 1_000_000, u64::MAX]);
        let text = serde_json::to_string(&sketch).unwrap();
        assert!(text.starts_with("[0,2,1,1,"));
        assert_eq!(serde_json::from_str::<Sketch>(&text).unwrap(), sketch);
        assert!(serde_json::from_str::<Sketch>("[1]").is_err());
        assert!(serde_json::from_str::<Sketch>("[60000,1]").is_err());
    }
}
