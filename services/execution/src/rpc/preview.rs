//! PreviewPublish: past executions by the rules of a working copy. Invariant: nothing here writes, one execution is in
//! memory at a time, and what all of them cost together is bounded.

use std::pin::pin;
use std::sync::Arc;

use chassis::filter::{Filter, Kind};
use chassis::input::Input;
use chassis::{Error, Result, db};
use model::graph::Graph;
use model::json::{self, INPUT};
use model::status::ExecutionStatus;
use proto::execution::v1 as pb;
use serde_json::Value;
use tokio_stream::StreamExt;
use uuid::Uuid;

use super::answer::Room;
use crate::preview::{self, Missing, Past, Place, Previewed, Verdict};
use crate::simulate::{MOST_ATTEMPTS, MOST_BYTES};
use crate::state::Service;
use crate::store::records::{self, Finished, Of};

/// Past executions that one preview replays.
const MOST_EXECUTIONS: i32 = 1000;
const DEFAULT_EXECUTIONS: i32 = 100;
/// What all of them together may come to: attempts read and run, and values touched.
const MOST_TOGETHER: usize = 200_000;
const MOST_EFFORT: u64 = 20_000_000;
const MOST_EXAMPLES: usize = 100;

const FILTER: &[(&str, Kind)] = &[("started_at", Kind::Instant)];

/// What is left of the means.
struct Means {
    attempts: usize,
    effort: u64,
}

/// Answers PreviewPublish.
pub async fn of_request(
    service: &Service,
    body: pb::PreviewPublishRequest,
) -> Result<pb::PreviewPublishResponse> {
    let mut input = Input::new();
    let workflow_id = input.uuid("workflow_id", &body.workflow_id);
    let count = match body.last_executions {
        0 => DEFAULT_EXECUTIONS,
        count => count,
    };
    if !(1..=MOST_EXECUTIONS).contains(&count) {
        let range = format!("must be 1 to {MOST_EXECUTIONS}, or 0 for {DEFAULT_EXECUTIONS}");
        input.push("last_executions", range);
    }
    input.finish()?;
    let filter = Filter::parse(&body.filter, FILTER)?;
    let of = Of {
        workflow_id,
        started_from: filter.at_least("started_at"),
        started_before: filter.before("started_at"),
    };
    let draft = service.definitions.working_copy(workflow_id).await?;
    let mut conn = db::acquire(&service.pool).await?;
    let finished = records::last(&mut conn, of, count.into()).await?;
    drop(conn);

    let mut told = pb::PreviewPublishResponse::default();
    let mut room = Room::default();
    let mut means = Means {
        attempts: MOST_TOGETHER,
        effort: MOST_EFFORT,
    };
    for finished in finished {
        let Some((old, previewed)) = replay(service, &draft, &finished, &mut means).await? else {
            told.not_compared += 1;
            continue;
        };
        let count = match previewed.verdict {
            Verdict::Same => &mut told.same,
            Verdict::Diverged => &mut told.diverged,
            Verdict::Undetermined => &mut told.undetermined,
            Verdict::Failed => &mut told.failed,
        };
        *count += 1;
        if previewed.verdict != Verdict::Same && told.examples.len() < MOST_EXAMPLES {
            let example = example(&finished, previewed, &draft, &old);
            if room.fits(&example) {
                told.examples.push(example);
            }
        }
    }
    Ok(told)
}

/// Replays one execution; None if that would cost too much.
async fn replay(
    service: &Service,
    draft: &Arc<Graph>,
    finished: &Finished,
    means: &mut Means,
) -> Result<Option<(Arc<Graph>, Previewed)>> {
    if means.attempts == 0 || means.effort == 0 {
        return Ok(None);
    }
    let _turn = service.turn().await?;
    let mut conn = db::acquire(&service.pool).await?;
    let workflow_id = draft.definition.workflow_id;
    let old = service
        .definitions
        .pinned(&mut conn, workflow_id, finished.workflow_version)
        .await?;
    let Some(past) = recall(&mut conn, finished).await? else {
        means.attempts = means.attempts.saturating_sub(MOST_ATTEMPTS);
        return Ok(None);
    };
    drop(conn);
    let read = past.attempts.len();
    let (by, ran) = (draft.clone(), old.clone());
    // Up to ten thousand activations are work for a thread that answers nobody else.
    let previewed = tokio::task::spawn_blocking(move || preview::preview(&by, &ran, &past))
        .await
        .map_err(Error::internal)?;
    means.attempts = means.attempts.saturating_sub(read + previewed.attempts);
    means.effort = means.effort.saturating_sub(previewed.effort);
    Ok(Some((old, previewed)))
}

/// Reads how an execution went; None if that is too large.
async fn recall(conn: &mut sqlx::PgConnection, finished: &Finished) -> Result<Option<Past>> {
    let input = match records::input(conn, finished.id).await? {
        Some(Value::Object(input)) => input,
        _ => Default::default(),
    };
    let mut attempts = Vec::new();
    let mut bytes = 0;
    {
        let mut rows = pin!(records::attempts(conn, finished.id));
        while let Some(row) = rows.try_next().await? {
            let data = row.data.as_ref();
            bytes += data.map_or(0, |data| {
                json::measure(&data.0, INPUT).unwrap_or(INPUT.bytes)
            });
            attempts.push(row);
            if attempts.len() > MOST_ATTEMPTS || bytes > MOST_BYTES {
                return Ok(None);
            }
        }
    }
    let status = ExecutionStatus::parse(&finished.status);
    Ok(Some(Past {
        id: finished.id,
        started_at: finished.started_at,
        status: status.expect("the enum type has the same words"),
        error_code: finished.error_code.clone(),
        input,
        attempts,
    }))
}

fn example(
    finished: &Finished,
    previewed: Previewed,
    draft: &Graph,
    old: &Graph,
) -> pb::PreviewedExecution {
    let result = match previewed.verdict {
        Verdict::Same => pb::PreviewResult::Same,
        Verdict::Diverged => pb::PreviewResult::Diverged,
        Verdict::Undetermined => pb::PreviewResult::Undetermined,
        Verdict::Failed => pb::PreviewResult::Failed,
    };
    let difference = previewed
        .difference
        .map(|place| difference(place, draft, old));
    let missing = previewed.missing.map(|it| missing(&it, draft));
    pb::PreviewedExecution {
        execution_id: finished.id.to_string(),
        workflow_version: finished.workflow_version,
        result: result.into(),
        text: tell(difference.as_ref(), missing.as_ref()),
        difference,
        missing,
    }
}

fn difference(place: Place, draft: &Graph, old: &Graph) -> pb::PreviewDifference {
    let name = name(draft, place.step_id).or_else(|| name(old, place.step_id));
    pb::PreviewDifference {
        step_id: match place.step_id.is_nil() {
            true => String::new(),
            false => place.step_id.to_string(),
        },
        step_name: name.unwrap_or_default(),
        activation: place.activation,
        attempt: place.attempt,
        was: place.was,
        becomes: place.becomes,
    }
}

fn missing(it: &Missing, draft: &Graph) -> pb::MissingAnswer {
    pb::MissingAnswer {
        step_id: it.step_id.to_string(),
        step_name: name(draft, it.step_id).unwrap_or_default(),
        activation: it.activation,
        attempt: it.attempt,
        reason: it.why.to_owned(),
    }
}

fn name(graph: &Graph, step_id: Uuid) -> Option<String> {
    let at = graph.node_of(step_id)?;
    Some(graph.definition.steps[at].name.clone())
}

fn tell(difference: Option<&pb::PreviewDifference>, missing: Option<&pb::MissingAnswer>) -> String {
    let difference = difference.map(|it| {
        let what = match it.step_name.is_empty() {
            true => "the execution".to_owned(),
            false => at(&it.step_name, it.activation, it.attempt),
        };
        format!("{what} was: {}; becomes: {}", it.was, it.becomes)
    });
    let missing = missing.map(|it| {
        let what = at(&it.step_name, it.activation, it.attempt);
        format!("nobody answered {what}: {}", it.reason)
    });
    let parts: Vec<String> = difference.into_iter().chain(missing).collect();
    parts.join("; then ")
}

fn at(step: &str, activation: i32, attempt: i32) -> String {
    match (activation, attempt) {
        (1, 1) => format!("{step:?}"),
        (_, 1) => format!("{step:?} (arrival {activation})"),
        _ => format!("{step:?} (arrival {activation}, attempt {attempt})"),
    }
}
