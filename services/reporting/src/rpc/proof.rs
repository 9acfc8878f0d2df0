//! VerifyReport and RebuildReports. Invariant: a rebuild is kept before it is answered, and does not depend on
//! whoever asked.

use std::time::Duration;

use chassis::input::Input;
use chassis::server::CallerGone;
use chassis::{Error, Result, Shutdown, db};
use model::wire::{timestamp, value_from_json};
use proto::reporting::v1::{
    RebuildReportsRequest, RebuildReportsResponse, ReportDifference, VerifyOutcome,
    VerifyReportRequest, VerifyReportResponse,
};
use sqlx::PgPool;
use uuid::Uuid;

use super::reports::day;
use super::streams::{self, Reader, Room, Sent};
use crate::recount::Difference;
use crate::store;
use crate::store::rebuilds::Scope;
use crate::verify::Verifier;

const MOST_DIFFERENCES: usize = 1000;
/// Callers that are told of rebuilds at once.
pub const REBUILDS: usize = 20;
/// Between two looks at a rebuild.
const PAUSE: Duration = Duration::from_millis(500);

pub async fn verify(
    verifier: &Verifier,
    request: &VerifyReportRequest,
) -> Result<VerifyReportResponse> {
    let mut input = Input::new();
    let id = input.uuid("id", &request.id);
    input.finish()?;
    let gone = CallerGone::current().0;
    let verified = gone.run_until_cancelled(verifier.verify(id)).await;
    let verified = verified.unwrap_or_else(|| {
        let message = "nobody waits for the answer any more";
        Err(Error::unavailable("CALLER_GONE", message))
    })?;
    let outcome = if !verified.differences.is_empty() {
        VerifyOutcome::Different
    } else if verified.purged_executions > 0 {
        VerifyOutcome::HistoryPurged
    } else {
        VerifyOutcome::Equal
    };
    let count = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    Ok(VerifyReportResponse {
        outcome: outcome.into(),
        executions: count(verified.executions),
        events: count(verified.events),
        uncounted_events: count(verified.uncounted_events),
        purged_executions: count(verified.purged_executions),
        complete_through: verified.complete_through.map(timestamp),
        differences: verified
            .differences
            .into_iter()
            .take(MOST_DIFFERENCES)
            .map(difference)
            .collect(),
    })
}

fn difference(own: Difference) -> ReportDifference {
    ReportDifference {
        figure: own.figure,
        stored: own.stored.as_ref().map(value_from_json),
        recounted: own.recounted.as_ref().map(value_from_json),
    }
}

pub async fn rebuild(
    pool: &PgPool,
    (shutdown, room): (&Shutdown, &Room),
    requested_by: String,
    request: &RebuildReportsRequest,
) -> Result<Sent<RebuildReportsResponse>> {
    let mut input = Input::new();
    let scope = Scope {
        workflow_id: input.optional_uuid("workflow_id", &request.workflow_id),
        first: day(&mut input, "period_start", request.period_start.as_ref()),
        end: day(&mut input, "period_end", request.period_end.as_ref()),
    };
    let bounds = scope.first.zip(scope.end);
    if bounds.is_some_and(|(first, end)| end <= first) {
        input.push("period_end", "must be later than period_start");
    }
    input.finish()?;
    let place = room.enter()?;
    let id = Uuid::now_v7();
    let id = db::transaction(pool, async move |conn| {
        store::rebuilds::ask(conn, id, scope, &requested_by).await
    })
    .await?;
    let pool = pool.clone();
    Ok(streams::open(shutdown, place, |reader| async move {
        tell(&pool, id, &reader).await
    }))
}

/// Tells how far a rebuild has come, until it is over.
async fn tell(pool: &PgPool, id: Uuid, reader: &Reader<RebuildReportsResponse>) -> Result<()> {
    let mut ticks = tokio::time::interval(PAUSE);
    let mut last = None;
    loop {
        ticks.tick().await;
        let look = db::patiently(async {
            let mut conn = db::acquire(pool).await?;
            store::rebuilds::progress(&mut conn, id).await
        });
        let progress = look.await?.ok_or_else(|| Error::not_found("rebuild", id))?;
        let done = progress.finished_at.is_some();
        if last.as_ref() != Some(&progress) {
            let told = RebuildReportsResponse {
                rebuild_id: id.to_string(),
                executions: progress.executions,
                events: progress.events,
                changed_executions: progress.changed_executions,
                changed_figures: progress.changed_figures,
                done,
            };
            reader.send(told).await?;
        }
        if done {
            return Ok(());
        }
        last = Some(progress);
    }
}
