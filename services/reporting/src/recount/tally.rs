//! Plain counts and lists. Invariant: what is derived is derived from the lists, once, when it is asked for.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

/// What was counted of one thing.
#[derive(Debug, Default)]
pub struct Tally {
    pub counts: BTreeMap<&'static str, u64>,
    /// Of what completed, in microseconds.
    pub durations: Vec<u64>,
    /// In microseconds.
    pub phases: BTreeMap<&'static str, u128>,
}

impl Tally {
    pub fn count(&mut self, name: &'static str) {
        *self.counts.entry(name).or_default() += 1;
    }

    pub fn counted(&self, name: &str) -> u64 {
        self.counts.get(name).copied().unwrap_or_default()
    }

    pub fn spend(&mut self, phase: &'static str, micros: impl Into<u128>) {
        *self.phases.entry(phase).or_default() += micros.into();
    }

    pub fn spent(&self, phase: &str) -> u128 {
        self.phases.get(phase).copied().unwrap_or_default()
    }

    /// None: there is no target.
    pub fn target(&mut self, met: Option<bool>) {
        match met {
            Some(true) => self.count("targetsMet"),
            Some(false) => self.count("targetsMissed"),
            None => {}
        }
    }

    /// Shows a count under a key, if there is anything to count.
    pub fn insert_some(&self, told: &mut Map<String, Value>, key: &str, name: &str) {
        if self.counted(name) > 0 {
            told.insert(key.to_owned(), json!(self.counted(name)));
        }
    }

    pub fn sum(&self) -> u128 {
        self.durations
            .iter()
            .map(|micros| u128::from(*micros))
            .sum()
    }

    pub fn average(&self) -> Value {
        mean(self.sum(), self.durations.len() as u64)
    }

    pub fn least(&self) -> Value {
        time(self.durations.iter().min())
    }

    pub fn most(&self) -> Value {
        time(self.durations.iter().max())
    }

    /// The duration of rank ⌈n · percent / 100⌉ in ascending order.
    pub fn percentile(&self, percent: usize) -> Value {
        let mut sorted = self.durations.clone();
        sorted.sort_unstable();
        let rank = (sorted.len() * percent).div_ceil(100).max(1);
        time(sorted.get(rank - 1))
    }

    pub fn phases(&self) -> Value {
        let some = self.phases.iter().filter(|(_, micros)| **micros > 0);
        Value::Object(
            some.map(|(name, micros)| ((*name).to_owned(), millis(*micros)))
                .collect(),
        )
    }

    pub fn incident_time(&self) -> Value {
        mean(self.spent("incident"), self.counted("incidents"))
    }
}

/// Rounded to a microsecond, halves up; null of nothing.
pub fn mean(sum: u128, count: u64) -> Value {
    match u128::from(count) {
        0 => Value::Null,
        count => millis((2 * sum + count) / (2 * count)),
    }
}

/// Rounded to 6 decimals, halves up; null of nothing.
pub fn share(part: u64, whole: u64) -> Value {
    if whole == 0 {
        return Value::Null;
    }
    let millionths = (2_000_000 * u128::from(part) + u128::from(whole)) / (2 * u128::from(whole));
    json!(millionths as f64 / 1e6)
}

pub fn millis(micros: u128) -> Value {
    json!(micros as f64 / 1e3)
}

fn time(micros: Option<&u64>) -> Value {
    micros.map_or(Value::Null, |micros| millis((*micros).into()))
}
