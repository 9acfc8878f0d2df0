//! Step events on the wire. Invariant: events that decode are complete; half an event is an error, so
//! that reporting parks it instead of counting it wrong.

use std::time::Duration;

use chrono::{DateTime, Utc};
use proto::execution::v1::{self as pb, step_event};
use uuid::Uuid;

use super::{instant, timestamp};
use crate::event::{Cause, Event, ExecutionEvents, StepFinished};

pub fn events_to_proto(events: &ExecutionEvents) -> pb::ExecutionEvents {
    pb::ExecutionEvents {
        execution_id: events.execution_id.to_string(),
        workflow_id: events.workflow_id.to_string(),
        client_id: events.client_id.to_string(),
        workflow_version: events.workflow_version,
        started_at: Some(timestamp(events.started_at)),
        first_seq: i64::from(events.first_seq),
        events: events.events.iter().map(event_to_proto).collect(),
    }
}

pub fn events_from_proto(events: &pb::ExecutionEvents) -> Result<ExecutionEvents, String> {
    let first_seq = i32::try_from(events.first_seq)
        .ok()
        .filter(|seq| *seq >= 1)
        .ok_or("first_seq: must be at least 1")?;
    let read: Result<Vec<Event>, String> = events
        .events
        .iter()
        .enumerate()
        .map(|(at, event)| event_from_proto(event).map_err(|error| format!("events[{at}].{error}")))
        .collect();
    Ok(ExecutionEvents {
        execution_id: id("execution_id", &events.execution_id)?,
        workflow_id: id("workflow_id", &events.workflow_id)?,
        client_id: id("client_id", &events.client_id)?,
        workflow_version: events.workflow_version,
        started_at: required("started_at", events.started_at.as_ref())?,
        first_seq,
        events: read?,
    })
}

fn event_to_proto(event: &Event) -> pb::StepEvent {
    let event = match event {
        Event::Started => step_event::Event::ExecutionStarted(pb::ExecutionStarted {}),
        Event::StepFinished(step) => step_event::Event::StepFinished(pb::StepFinished {
            step_id: step.step_id.to_string(),
            status: pb::StepStatus::from(step.status).into(),
            activation: step.activation,
            attempt: step.attempt,
            queued_at: Some(timestamp(step.queued_at)),
            available_at: Some(timestamp(step.available_at)),
            assigned_at: step.assigned_at.map(timestamp),
            completed_at: Some(timestamp(step.completed_at)),
            error_code: step.error_code.clone().unwrap_or_default(),
            taken_transition_ids: step
                .taken_transition_ids
                .iter()
                .map(Uuid::to_string)
                .collect(),
            will_retry: step.will_retry,
            cause: pb::StepCause::from(step.cause).into(),
            group: step.group.clone().unwrap_or_default(),
            took_default: step.took_default,
            locked: step.locked,
            target: step.target.map(duration),
            taken_over: step.taken_over,
        }),
        Event::Finished {
            status,
            completed_at,
            target,
        } => step_event::Event::ExecutionFinished(pb::ExecutionFinished {
            status: pb::ExecutionStatus::from(*status).into(),
            completed_at: Some(timestamp(*completed_at)),
            target: target.map(duration),
        }),
    };
    pb::StepEvent { event: Some(event) }
}

fn event_from_proto(event: &pb::StepEvent) -> Result<Event, String> {
    match event.event.as_ref().ok_or("event: must be set")? {
        step_event::Event::ExecutionStarted(_) => Ok(Event::Started),
        step_event::Event::StepFinished(step) => step_from_proto(step).map(Event::StepFinished),
        step_event::Event::ExecutionFinished(finished) => {
            let status = finished.status().try_into();
            Ok(Event::Finished {
                status: status.map_err(|error| format!("status: {error}"))?,
                completed_at: required("completed_at", finished.completed_at.as_ref())?,
                target: target(finished.target.as_ref())?,
            })
        }
    }
}

fn step_from_proto(step: &pb::StepFinished) -> Result<StepFinished, String> {
    let status = step.status().try_into();
    let taken: Result<Vec<Uuid>, String> = step
        .taken_transition_ids
        .iter()
        .map(|text| id("taken_transition_ids", text))
        .collect();
    let assigned_at = step.assigned_at.as_ref().map(instant).transpose();
    Ok(StepFinished {
        step_id: id("step_id", &step.step_id)?,
        status: status.map_err(|error| format!("status: {error}"))?,
        activation: step.activation,
        attempt: step.attempt,
        queued_at: required("queued_at", step.queued_at.as_ref())?,
        available_at: required("available_at", step.available_at.as_ref())?,
        assigned_at: assigned_at.map_err(|error| format!("assigned_at: {error}"))?,
        completed_at: required("completed_at", step.completed_at.as_ref())?,
        error_code: Some(step.error_code.clone()).filter(|code| !code.is_empty()),
        taken_transition_ids: taken?,
        will_retry: step.will_retry,
        cause: step.cause().into(),
        group: Some(step.group.clone()).filter(|group| !group.is_empty()),
        took_default: step.took_default,
        locked: step.locked,
        target: target(step.target.as_ref())?,
        taken_over: step.taken_over,
    })
}

fn id(field: &str, text: &str) -> Result<Uuid, String> {
    Uuid::parse_str(text).map_err(|_| format!("{field}: must be a UUID"))
}

/// Targets are of years at most.
fn duration(duration: Duration) -> prost_types::Duration {
    duration
        .try_into()
        .expect("a duration of years fits i64 seconds")
}

fn target(target: Option<&prost_types::Duration>) -> Result<Option<Duration>, String> {
    let read = target.map(super::duration).transpose();
    read.map_err(|error| format!("target: {error}"))
}

impl From<Cause> for pb::StepCause {
    fn from(cause: Cause) -> Self {
        match cause {
            Cause::Engine => Self::Unspecified,
            Cause::Job => Self::Job,
            Cause::Person => Self::Person,
            Cause::Timer => Self::Timer,
            Cause::Signal => Self::Signal,
            Cause::Join => Self::Join,
            Cause::Children => Self::Children,
            Cause::Incident => Self::Incident,
        }
    }
}

impl From<pb::StepCause> for Cause {
    fn from(cause: pb::StepCause) -> Self {
        match cause {
            pb::StepCause::Unspecified => Self::Engine,
            pb::StepCause::Job => Self::Job,
            pb::StepCause::Person => Self::Person,
            pb::StepCause::Timer => Self::Timer,
            pb::StepCause::Signal => Self::Signal,
            pb::StepCause::Join => Self::Join,
            pb::StepCause::Children => Self::Children,
            pb::StepCause::Incident => Self::Incident,
        }
    }
}

fn required(
    field: &str,
    timestamp: Option<&prost_types::Timestamp>,
) -> Result<DateTime<Utc>, String> {
    timestamp
        .ok_or_else(|| "must be set".to_owned())
        .and_then(instant)
        .map_err(|error| format!("{field}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::{ExecutionStatus, StepStatus};

    fn at(second: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_700_000_000 + second, 123_456_000).unwrap()
    }

    fn sample() -> ExecutionEvents {
        ExecutionEvents {
            execution_id: Uuid::from_u128(1),
            workflow_id: Uuid::from_u128(2),
            client_id: Uuid::from_u128(3),
            workflow_version: 4,
            started_at: at(0),
            first_seq: 1,
            events: vec![
                Event::Started,
                Event::StepFinished(StepFinished {
                    step_id: Uuid::from_u128(5),
                    status: StepStatus::Failed,
                    activation: 1,
                    attempt: 2,
                    queued_at: at(1),
                    available_at: at(2),
                    locked: true,
                    assigned_at: Some(at(3)),
                    completed_at: at(4),
                    error_code: Some("TIMEOUT".to_owned()),
                    taken_transition_ids: vec![Uuid::from_u128(6)],
                    took_default: true,
                    will_retry: true,
                    cause: Cause::Person,
                    group: Some("Accounting".to_owned()),
                    target: Some(Duration::from_millis(1500)),
                    taken_over: true,
                }),
                Event::Finished {
                    status: ExecutionStatus::Failed,
                    completed_at: at(5),
                    target: Some(Duration::from_secs(86_400)),
                },
            ],
        }
    }

    #[test]
    fn events_come_back() {
        let mut events = sample();
        assert_eq!(
            events_from_proto(&events_to_proto(&events)),
            Ok(events.clone())
        );
        if let Event::StepFinished(step) = &mut events.events[1] {
            step.assigned_at = None;
            step.error_code = None;
            step.group = None;
            step.target = None;
            step.cause = Cause::Engine;
        }
        assert_eq!(events_from_proto(&events_to_proto(&events)), Ok(events));
    }

    #[test]
    fn half_an_event_is_refused() {
        let check = |spoil: fn(&mut pb::ExecutionEvents), want: &str| {
            let mut wire = events_to_proto(&sample());
            spoil(&mut wire);
            assert_eq!(events_from_proto(&wire), Err(want.to_owned()));
        };
        check(|e| e.execution_id.clear(), "execution_id: must be a UUID");
        check(|e| e.first_seq = 0, "first_seq: must be at least 1");
        check(|e| e.started_at = None, "started_at: must be set");
        check(|e| e.events[0].event = None, "events[0].event: must be set");
        check(
            |e| {
                let Some(step_event::Event::StepFinished(step)) = &mut e.events[1].event else {
                    panic!("the second event is a step's");
                };
                step.status = 99;
            },
            "events[1].status: must be specified",
        );
    }
}
