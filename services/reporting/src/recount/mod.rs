//! Counts histories once more, in the plainest way: every duration in a list, every list sorted. It is what reports
//! are verified with.
//! Invariant: shares no code with what it checks; a report differs from it in nothing but percentiles, and in
//! those by 1 % at most.

mod compare;
mod tally;

pub use compare::{Difference, differences};

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, Utc};
use model::event::{Cause, Event, ExecutionEvents, StepFinished};
use model::status::{ExecutionStatus, StepStatus};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use tally::{Tally, millis, share};

/// Everything that was told of some executions.
#[derive(Debug, Default)]
pub struct Recount {
    all: Tally,
    versions: BTreeMap<i32, Tally>,
    steps: BTreeMap<Uuid, Tally>,
    transitions: BTreeMap<Uuid, (Uuid, Tally)>,
    groups: BTreeMap<String, Tally>,
    /// Whose tasks a step makes.
    group_of: BTreeMap<Uuid, String>,
}

impl Recount {
    /// Counts the first `known` events of an execution.
    pub fn add(&mut self, history: &ExecutionEvents, known: usize) {
        let mut arrivals: HashMap<(Uuid, i32), DateTime<Utc>> = HashMap::new();
        // Another version may have given a step to others.
        self.group_of.clear();
        for event in history.events.iter().take(known) {
            match event {
                Event::Started => self.executions(history, |tally| tally.count("total")),
                Event::StepFinished(step) if step.taken_over => {}
                Event::StepFinished(step) => {
                    let arrival = (step.step_id, step.activation);
                    let since = *arrivals.entry(arrival).or_insert(step.queued_at);
                    if step.cause == Cause::Person {
                        let group = step.group.clone().unwrap_or_default();
                        self.group_of.entry(step.step_id).or_insert(group);
                    }
                    self.step(step, since);
                }
                Event::Finished {
                    status,
                    completed_at,
                    target,
                } => self.executions(history, |tally| {
                    let micros = micros(history.started_at, *completed_at);
                    let target = target.map(|target| target.as_micros());
                    match status {
                        ExecutionStatus::Completed => {
                            tally.count("completed");
                            tally.durations.push(micros);
                            tally.target(target.map(|target| u128::from(micros) <= target));
                        }
                        ExecutionStatus::Failed => {
                            tally.count("failed");
                            tally.target(target.map(|_| false));
                        }
                        _ => tally.count("cancelled"),
                    }
                }),
            }
        }
    }

    fn executions(&mut self, history: &ExecutionEvents, count: impl Fn(&mut Tally)) {
        count(&mut self.all);
        count(self.versions.entry(history.workflow_version).or_default());
    }

    fn step(&mut self, step: &StepFinished, since: DateTime<Utc>) {
        let spent = phases(step);
        let tally = self.steps.entry(step.step_id).or_default();
        for (phase, micros) in &spent {
            tally.spend(phase, *micros);
        }
        if step.attempt > 1 {
            tally.count("retries");
        }
        if step.cause == Cause::Incident {
            tally.count("incidents");
        }
        if !step.will_retry {
            tally.count("total");
            tally.count(ending(step.status));
            if step.status == StepStatus::Completed {
                let own = micros(step.available_at, step.completed_at);
                tally.durations.push(own);
            }
            if let (Some(target), true) = (step.target, step.status != StepStatus::Skipped) {
                let in_time = u128::from(micros(since, step.completed_at)) <= target.as_micros();
                tally.target(Some(in_time && step.status == StepStatus::Completed));
            }
        }
        if let Some(group) = self.group_of.get(&step.step_id) {
            let tally = self.groups.entry(group.clone()).or_default();
            for (phase, micros) in spent {
                tally.spend(phase, micros);
            }
            if !step.will_retry {
                tally.count("total");
                tally.count(ending(step.status));
            }
        }
        for id in &step.taken_transition_ids {
            let (from, tally) = self.transitions.entry(*id).or_default();
            *from = step.step_id;
            tally.count("total");
            if step.took_default {
                tally.count("defaults");
            }
        }
    }

    /// What the report of a period should say.
    pub fn period(&self) -> Value {
        let mut told = executions(&self.all);
        let mut whole = Tally::default();
        for step in self.steps.values() {
            for (phase, micros) in &step.phases {
                whole.spend(phase, *micros);
            }
            let incidents = step.counted("incidents");
            *whole.counts.entry("incidents").or_default() += incidents;
        }
        told.insert("phases".to_owned(), whole.phases());
        told.insert("incidents".to_owned(), json!(whole.counted("incidents")));
        told.insert("averageIncidentTime".to_owned(), whole.incident_time());
        let versions = self.versions.iter();
        let versions = versions.map(|(id, tally)| (id.to_string(), executions(tally).into()));
        told.insert("versions".to_owned(), Value::Object(versions.collect()));
        let steps = self.steps.iter();
        let steps = steps.map(|(id, tally)| (id.to_string(), period_step(tally)));
        told.insert("steps".to_owned(), Value::Object(steps.collect()));
        let transitions = self.transitions.iter();
        let transitions = transitions.map(|(id, (from, tally))| {
            let leaving = self.transitions.values();
            let leaving = leaving.filter(|(other, _)| other == from);
            let whole: u64 = leaving.map(|(_, other)| other.counted("total")).sum();
            let taken = tally.counted("total");
            let told = json!({
                "fromStepId": from, "taken": taken, "share": share(taken, whole),
                "defaultShare": share(tally.counted("defaults"), taken),
            });
            (id.to_string(), told)
        });
        told.insert(
            "transitions".to_owned(),
            Value::Object(transitions.collect()),
        );
        let groups = self.groups.iter();
        let groups = groups.map(|(name, tally)| (name.clone(), group(tally)));
        told.insert("groups".to_owned(), Value::Object(groups.collect()));
        Value::Object(told)
    }

    /// What the report of the one execution that was counted should say.
    pub fn execution(&self, history: &ExecutionEvents, known: usize) -> Value {
        let end = history
            .events
            .iter()
            .take(known)
            .find_map(|event| match event {
                Event::Finished {
                    status,
                    completed_at,
                    ..
                } => Some((*status, micros(history.started_at, *completed_at))),
                _ => None,
            });
        let steps = self.steps.iter();
        let steps: Map<String, Value> = steps
            .map(|(id, tally)| {
                let mut told = execution_step(tally);
                if let Some(group) = self.group_of.get(id) {
                    told.insert("group".to_owned(), json!(group));
                }
                (id.to_string(), Value::Object(told))
            })
            .collect();
        let transitions = self.transitions.iter();
        let transitions: Map<String, Value> = transitions
            .map(|(id, (from, tally))| {
                let mut told = object(json!({ "fromStepId": from }));
                told.insert("taken".to_owned(), json!(tally.counted("total")));
                tally.insert_some(&mut told, "takenAsDefault", "defaults");
                (id.to_string(), Value::Object(told))
            })
            .collect();
        let status = end.map_or("RUNNING", |(status, _)| status.as_str());
        let mut told = object(json!({
            "status": status,
            "workflowVersion": history.workflow_version,
            "clientId": history.client_id,
            "executionTime": end.map(|(_, micros)| millis(micros.into())),
            "steps": steps,
            "transitions": transitions,
        }));
        if self.all.counted("targetsMet") + self.all.counted("targetsMissed") > 0 {
            let met = self.all.counted("targetsMet") == 1;
            told.insert("targetMet".to_owned(), Value::Bool(met));
        }
        Value::Object(told)
    }
}

fn executions(tally: &Tally) -> Map<String, Value> {
    let count = |name| tally.counted(name);
    let over = count("completed") + count("failed");
    object(json!({
        "totalExecutions": count("total"),
        "completedExecutions": count("completed"),
        "failedExecutions": count("failed"),
        "cancelledExecutions": count("cancelled"),
        "runningExecutions": count("total") - over - count("cancelled"),
        "successRate": share(count("completed"), over),
        "averageExecutionTime": tally.average(),
        "minExecutionTime": tally.least(),
        "maxExecutionTime": tally.most(),
        "p50ExecutionTime": tally.percentile(50),
        "p90ExecutionTime": tally.percentile(90),
        "p95ExecutionTime": tally.percentile(95),
        "p99ExecutionTime": tally.percentile(99),
        "targetsMet": count("targetsMet"),
        "targetsMissed": count("targetsMissed"),
    }))
}

fn period_step(tally: &Tally) -> Value {
    let count = |name| tally.counted(name);
    json!({
        "activations": count("total"), "completed": count("completed"), "failed": count("failed"),
        "skipped": count("skipped"), "retries": count("retries"), "incidents": count("incidents"),
        "targetsMet": count("targetsMet"), "targetsMissed": count("targetsMissed"),
        "averageTime": tally.average(), "minTime": tally.least(), "maxTime": tally.most(),
        "p50Time": tally.percentile(50), "p90Time": tally.percentile(90), "p95Time": tally.percentile(95),
        "p99Time": tally.percentile(99), "phases": tally.phases(),
        "averageIncidentTime": tally.incident_time(),
    })
}

/// Without what is 0, and with the spread of times only if there are several.
fn execution_step(tally: &Tally) -> Map<String, Value> {
    let mut told = Map::new();
    for (key, name) in [
        ("activations", "total"),
        ("completed", "completed"),
        ("failed", "failed"),
        ("skipped", "skipped"),
        ("retries", "retries"),
        ("incidents", "incidents"),
        ("targetsMet", "targetsMet"),
        ("targetsMissed", "targetsMissed"),
    ] {
        tally.insert_some(&mut told, key, name);
    }
    if !tally.durations.is_empty() {
        told.insert("totalTime".to_owned(), millis(tally.sum()));
    }
    if tally.durations.len() > 1 {
        let spread = json!({
            "averageTime": tally.average(), "minTime": tally.least(), "maxTime": tally.most(),
        });
        told.extend(object(spread));
    }
    let phases = tally.phases();
    if phases != json!({}) {
        told.insert("phases".to_owned(), phases);
    }
    told
}

fn group(tally: &Tally) -> Value {
    let (tasks, spent) = (tally.counted("total"), |phase| tally.spent(phase));
    let average = |phase| tally::mean(spent(phase), tasks);
    json!({
        "tasks": tasks, "completed": tally.counted("completed"), "failed": tally.counted("failed"),
        "skipped": tally.counted("skipped"), "unassignedTime": millis(spent("unassigned")),
        "personTime": millis(spent("withPerson")), "averageUnassignedTime": average("unassigned"),
        "averagePersonTime": average("withPerson"),
    })
}

fn ending(status: StepStatus) -> &'static str {
    match status {
        StepStatus::Completed => "completed",
        StepStatus::Skipped => "skipped",
        _ => "failed",
    }
}

/// How one attempt's time divides, from the instants that bound each part.
fn phases(step: &StepFinished) -> Vec<(&'static str, u64)> {
    let (from, to) = (step.queued_at, step.completed_at.max(step.queued_at));
    let free = step.available_at.max(from).min(to);
    let taken = step.assigned_at.unwrap_or(to).max(free).min(to);
    let whole = |phase| vec![(phase, micros(free, to))];
    let mut parts = match step.cause {
        Cause::Job => vec![
            ("queued", micros(free, taken)),
            ("worked", micros(taken, to)),
        ],
        Cause::Person => vec![
            ("unassigned", micros(free, taken)),
            ("withPerson", micros(taken, to)),
        ],
        Cause::Timer => whole("timer"),
        Cause::Signal => whole("signal"),
        Cause::Join => whole("join"),
        Cause::Children => whole("children"),
        Cause::Incident => whole("incident"),
        Cause::Engine => whole("engine"),
    };
    let before = if step.locked { "locked" } else { "backingOff" };
    parts.push((before, micros(from, free)));
    parts
}

fn micros(from: DateTime<Utc>, to: DateTime<Utc>) -> u64 {
    let between = to.timestamp_micros() - from.timestamp_micros();
    u64::try_from(between).unwrap_or_default()
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        other => panic!("{other} is no object"),
    }
}
