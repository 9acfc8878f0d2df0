//! A storm: thousands of timers due at the same instant, and a replica killed while it takes them up. Invariant: each
//! rings once, and none is forgotten.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use model::wire::struct_from_json;
use proto::execution::v1::{BatchStartExecutionsRequest, StartExecutionRequest};
use serde_json::json;

use super::Call;
use crate::chance::Chance;
use crate::load::{self, Ledger, Load, Start};
use crate::stage::{Props, Stage};
use crate::table::Row;

const DOCUMENT: &str = r#"
client: { name: Fault Works }
workflow: { name: Storm, status: ACTIVE }
steps:
  - { name: Wait, stepType: wait, config: { untilField: at } }
  - { name: Tell, stepType: notification }
transitions:
  - { from: Wait, to: Tell }
"#;

const BATCH: u64 = 250;
const BATCHES_AT_ONCE: u64 = 4;

pub async fn play(call: &Call) -> anyhow::Result<Row> {
    let mut stage = call.stage(&Props::default()).await?;
    let load = Load::helpers(&stage, call.seed);
    let workflow_id = stage.sessions.publish(DOCUMENT).await?;
    let (count, head_start) = call.small_or((500, 3), (50_000, 30));
    let (at, millis): (String, i64) = sqlx::query_as(
        "select to_json(at)::jsonb #>> '{}', (extract(epoch from at) * 1000)::bigint
           from (select clock_timestamp() + $1 * interval '1 s' as at) t",
    )
    .bind(head_start)
    .fetch_one(&stage.admin)
    .await?;
    // The second handful of what is due is the last that this one sees.
    stage.executions[0].start_with("timers.due=kill@2")?;
    stage.executions[0].serving().await?;
    let mut starting = tokio::task::JoinSet::new();
    for n in 0..BATCHES_AT_ONCE {
        let share =
            count / BATCH / BATCHES_AT_ONCE + u64::from(n < count / BATCH % BATCHES_AT_ONCE);
        let (sessions, ledger) = (stage.sessions.admin.clone(), Arc::clone(&load.ledger));
        let (workflow_id, at) = (workflow_id.clone(), at.clone());
        let mut chance = Chance::part(call.seed, &format!("storm {n}"));
        starting.spawn(async move {
            for _ in 0..share {
                start(&ledger, &sessions, (&workflow_id, &at), &mut chance).await;
            }
        });
    }
    while let Some(started) = starting.join_next().await {
        started?;
    }
    killed_in_the_storm(&mut stage, head_start).await?;
    let late: i64 =
        sqlx::query_scalar("select (extract(epoch from clock_timestamp()) * 1000)::bigint - $1")
            .bind(millis)
            .fetch_one(&stage.admin)
            .await?;
    let since = Instant::now() - Duration::from_millis(u64::try_from(late).unwrap_or(0));
    call.finish(stage, load, (1, since)).await
}

async fn killed_in_the_storm(stage: &mut Stage, head_start: i32) -> anyhow::Result<()> {
    let patience = Duration::from_secs(u64::try_from(head_start)? + 20);
    let first = &mut stage.executions[0];
    // With few timers, the other replica may have taken up all that would have been the second handful.
    if first
        .ended(patience.min(Duration::from_secs(u64::try_from(head_start)? + 5)))
        .await?
        .is_none()
    {
        first.kill()?;
    }
    first.start()?;
    first
        .serving()
        .await
        .context("it comes back in the middle of the storm")
}

async fn start(
    ledger: &Ledger,
    sessions: &load::Everywhere,
    (workflow_id, at): (&str, &str),
    chance: &mut Chance,
) {
    let marks: Vec<String> = (0..BATCH).map(|_| load::request_id(chance)).collect();
    let requests = marks.iter().map(|mark| {
        let metadata = json!({ "mark": mark, "inputData": { "at": at } });
        StartExecutionRequest {
            workflow_id: workflow_id.to_owned(),
            metadata: metadata.as_object().map(struct_from_json),
            request_id: mark.clone(),
            ..StartExecutionRequest::default()
        }
    });
    let request = BatchStartExecutionsRequest {
        requests: requests.collect(),
    };
    let begin = |session: platform::client::Session| {
        let request = request.clone();
        async move {
            session
                .executions
                .clone()
                .batch_start_executions(request)
                .await
        }
    };
    let own = (sessions, chance);
    let answer = ledger
        .insist(("start", Duration::from_secs(20)), own, begin)
        .await;
    let mut book = ledger.book();
    match answer {
        Ok(answer) => {
            for (mark, result) in marks.into_iter().zip(answer.results) {
                let outcome = if result.execution_id.is_empty() {
                    Err(load::Fate::Unknown)
                } else {
                    Ok(result.execution_id)
                };
                book.starts.push(Start { mark, outcome });
            }
        }
        Err(fate) => {
            let outcome = Err(fate);
            book.starts.extend(marks.into_iter().map(|mark| Start {
                mark,
                outcome: outcome.clone(),
            }));
        }
    }
}
