//! Numbers for an alarm.
//! Invariant: they are watched, never read back: nothing depends on them.

use chrono::{DateTime, Utc};
use opentelemetry::global;
use opentelemetry::metrics::{Gauge, Meter};

fn meter() -> Meter {
    global::meter("reporting")
}

/// Something was set aside that can never be counted. Every one is worth a look.
pub fn parked(rows: u64) {
    let counter = meter().u64_counter("reporting.parked_rows").build();
    counter.add(rows, &[]);
}

/// How far the reports are behind.
#[derive(Debug)]
pub struct Lag {
    seconds: Gauge<f64>,
    stale_days: Gauge<u64>,
    held_events: Gauge<u64>,
}

impl Lag {
    pub fn new() -> Self {
        let meter = meter();
        Self {
            seconds: meter.f64_gauge("reporting.lag").with_unit("s").build(),
            stale_days: meter.u64_gauge("reporting.stale_days").build(),
            held_events: meter.u64_gauge("reporting.held_events").build(),
        }
    }

    pub fn record_backlog(&self, stale_days: usize, held_events: usize) {
        self.stale_days.record(stale_days as u64, &[]);
        self.held_events.record(held_events as u64, &[]);
    }

    pub fn record_shown(&self, now: DateTime<Utc>, complete_through: DateTime<Utc>) {
        let lag = (now - complete_through).as_seconds_f64();
        self.seconds.record(lag.max(0.0), &[]);
    }
}
