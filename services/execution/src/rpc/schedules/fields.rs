//! What callers say of a schedule, and what they are shown. Invariant: what is taken over was checked; a field that
//! is cleared gets the default that the contract names.

use std::time::Duration;

use chassis::input::Input;
use chassis::mask::Mask;
use chrono::{DateTime, Utc};
use model::json::{self, INPUT};
use model::wire;
use proto::execution::v1 as pb;
use proto::execution::v1::OverlapPolicy as Policy;
use serde_json::{Map, Value};
use sqlx::types::Json;

use crate::rpc::starts::check_metadata;
use crate::schedules::cron::Cron;
use crate::schedules::plan::Plan;
use crate::schedules::{Overlap, stamped, zone};
use crate::store::schedules::{Fields, Schedule};

pub(super) const CHANGEABLE: &[&str] = &[
    "name",
    "cron",
    "time_zone",
    "metadata",
    "overlap_policy",
    "catch_up_window",
    "is_paused",
    "start_at",
    "end_at",
];

const CATCH_UP: std::ops::RangeInclusive<Duration> =
    Duration::from_secs(10)..=Duration::from_secs(7 * 24 * 60 * 60);
const DEFAULT_CATCH_UP: Duration = Duration::from_secs(60);

impl Default for Fields {
    fn default() -> Self {
        Self {
            name: String::new(),
            cron: String::new(),
            time_zone: "UTC".to_owned(),
            metadata: None,
            overlap_policy: Overlap::Skip.as_str().to_owned(),
            catch_up_ms: millis(DEFAULT_CATCH_UP),
            is_paused: false,
            start_at: None,
            end_at: None,
        }
    }
}

/// What decides which instants come.
type Timing<'a> = (
    (&'a str, &'a str),
    bool,
    (Option<DateTime<Utc>>, Option<DateTime<Utc>>),
);

impl Fields {
    pub(super) fn timing(&self) -> Timing<'_> {
        (
            (&self.cron, &self.time_zone),
            self.is_paused,
            (self.start_at, self.end_at),
        )
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// The fields that the message fills in.
pub(super) fn filled(schedule: &pb::Schedule) -> Vec<&'static str> {
    [
        ("name", !schedule.name.is_empty()),
        ("cron", !schedule.cron.is_empty()),
        ("time_zone", !schedule.time_zone.is_empty()),
        ("metadata", schedule.metadata.is_some()),
        ("overlap_policy", schedule.overlap_policy != 0),
        ("catch_up_window", schedule.catch_up_window.is_some()),
        ("is_paused", schedule.is_paused.is_some()),
        ("start_at", schedule.start_at.is_some()),
        ("end_at", schedule.end_at.is_some()),
    ]
    .into_iter()
    .filter_map(|(field, is_filled)| is_filled.then_some(field))
    .collect()
}

/// Takes over what the mask names; what is wrong with it goes to `input`.
pub(super) fn patch(fields: &mut Fields, wanted: &pb::Schedule, mask: &Mask, input: &mut Input) {
    if mask.has("name") {
        fields.name = input.name("schedule.name", &wanted.name, 1..=200);
    }
    if mask.has("cron") {
        fields.cron = input.text("schedule.cron", &wanted.cron, 1..=200);
        if !fields.cron.trim().is_empty() {
            input.keep("schedule.cron", Cron::parse(&wanted.cron));
        }
    }
    if mask.has("time_zone") {
        fields.time_zone = match wanted.time_zone.as_str() {
            "" => "UTC".to_owned(),
            name => name.to_owned(),
        };
        input.keep("schedule.time_zone", zone(&fields.time_zone));
    }
    if mask.has("metadata") {
        fields.metadata = metadata(input, wanted).map(Json);
    }
    if mask.has("overlap_policy") {
        fields.overlap_policy = overlap(input, wanted.overlap_policy).as_str().to_owned();
    }
    if mask.has("catch_up_window") {
        let window = wanted.catch_up_window.as_ref();
        let window = input.duration("schedule.catch_up_window", window);
        let window = window.unwrap_or(DEFAULT_CATCH_UP);
        if !CATCH_UP.contains(&window) {
            input.push("schedule.catch_up_window", "must be 10 s to 7 days");
        }
        fields.catch_up_ms = millis(window);
    }
    if mask.has("is_paused") {
        fields.is_paused = wanted.is_paused.unwrap_or(false);
    }
    if mask.has("start_at") {
        fields.start_at = input.instant("schedule.start_at", wanted.start_at.as_ref());
    }
    if mask.has("end_at") {
        fields.end_at = input.instant("schedule.end_at", wanted.end_at.as_ref());
    }
}

fn metadata(input: &mut Input, wanted: &pb::Schedule) -> Option<Map<String, Value>> {
    const FIELD: &str = "schedule.metadata";
    let metadata = input.json(FIELD, wanted.metadata.as_ref(), INPUT);
    if check_metadata(input, FIELD, metadata.as_ref()) {
        let field = format!("{FIELD}.simulation");
        input.push(field, "a simulation has no schedule");
    }
    if let Some(metadata) = &metadata {
        if metadata.contains_key("scheduledAt") {
            let field = format!("{FIELD}.scheduledAt");
            input.push(field, "is added by the schedule");
        }
        let whole = stamped(metadata.clone(), DateTime::<Utc>::MAX_UTC);
        input.keep(FIELD, json::check_object(&whole, INPUT));
    }
    metadata
}

fn overlap(input: &mut Input, policy: i32) -> Overlap {
    match Policy::try_from(policy) {
        Ok(Policy::Unspecified | Policy::Skip) => Overlap::Skip,
        Ok(Policy::Allow) => Overlap::Allow,
        Ok(Policy::BufferOne) => Overlap::BufferOne,
        Ok(Policy::CancelRunning) => Overlap::CancelRunning,
        Err(_) => {
            input.push("schedule.overlap_policy", "is none of OverlapPolicy");
            Overlap::Skip
        }
    }
}

/// When it starts executions; what is wrong as a whole goes to `input`.
pub(super) fn plan(fields: &Fields, input: &mut Input) -> Option<Plan> {
    if let (Some(start), Some(end)) = (fields.start_at, fields.end_at)
        && start >= end
    {
        input.push("schedule.end_at", "must be after start_at");
    }
    // Both were checked when they came.
    Some(Plan {
        cron: Cron::parse(&fields.cron).ok()?,
        zone: zone(&fields.time_zone).ok()?,
        start_at: fields.start_at,
        end_at: fields.end_at,
    })
}

pub(super) fn message(row: Schedule, next_times: Vec<DateTime<Utc>>) -> pb::Schedule {
    let overlap = match Overlap::parse(&row.overlap_policy) {
        Some(Overlap::Allow) => Policy::Allow,
        Some(Overlap::Skip) | None => Policy::Skip,
        Some(Overlap::BufferOne) => Policy::BufferOne,
        Some(Overlap::CancelRunning) => Policy::CancelRunning,
    };
    let catch_up = Duration::from_millis(row.catch_up_ms.unsigned_abs());
    let last_execution_id = row.last_execution_id.map(|id| id.to_string());
    pb::Schedule {
        id: row.id.to_string(),
        workflow_id: row.workflow_id.to_string(),
        name: row.name,
        cron: row.cron,
        time_zone: row.time_zone,
        metadata: row.metadata.map(|object| wire::struct_from_json(&object.0)),
        overlap_policy: overlap.into(),
        catch_up_window: prost_types::Duration::try_from(catch_up).ok(),
        is_paused: Some(row.is_paused),
        start_at: row.start_at.map(wire::timestamp),
        end_at: row.end_at.map(wire::timestamp),
        next_times: next_times.into_iter().map(wire::timestamp).collect(),
        last_started_at: row.last_started_at.map(wire::timestamp),
        last_execution_id: last_execution_id.unwrap_or_default(),
        skipped_count: row.skipped_count,
        missed_count: row.missed_count,
        last_error: row.last_error.unwrap_or_default(),
        last_error_at: row.last_error_at.map(wire::timestamp),
        buffered_at: row.buffered_at.map(wire::timestamp),
        created_by: row.created_by,
        created_at: Some(wire::timestamp(row.created_at)),
        updated_at: Some(wire::timestamp(row.updated_at)),
        etag: row.revision.to_string(),
    }
}
