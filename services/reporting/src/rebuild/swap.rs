//! Puts a workflow's reports and sums in place, a day at a time.
//! Invariant: a day's sums are those of the reports of its executions at one moment, at which nobody could change
//! either.

use chassis::{Error, Result, db, fail_point};
use chrono::NaiveDate;
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use super::held_on;
use crate::projection::fold::Changes;
use crate::store::rebuilds::{Done, Held};
use crate::store::{self, EVENTS_REFUSED};

/// Reports of executions that are replaced in one transaction: what is left of a day follows in the next.
const AT_ONCE: i64 = 5000;

/// Sums, and the mark that their day had.
type Prepared = (Uuid, Option<Changes>);

pub async fn days(pool: &PgPool, held: &Held, holder: Uuid, workflow_id: Uuid) -> Result<()> {
    let days = db::patiently(async {
        let mut conn = db::acquire(pool).await?;
        store::days::of_scope(&mut conn, held.id, workflow_id, held.scope).await
    });
    for day in days.await? {
        while !one(pool, held.id, holder, workflow_id, day).await? {}
    }
    Ok(())
}

/// Replaces some reports of a day, and its sums. Returns whether those were all that could be replaced.
async fn one(
    pool: &PgPool,
    rebuild_id: Uuid,
    holder: Uuid,
    workflow_id: Uuid,
    day: NaiveDate,
) -> Result<bool> {
    let prepared = prepare(pool, rebuild_id, workflow_id, day).await?;
    let place = (rebuild_id, workflow_id, day);
    let placed = db::transaction(pool, async move |conn| {
        apply(conn, place, holder, prepared.as_ref()).await
    });
    match placed.await {
        Err(error) if error.reason() == EVENTS_REFUSED => {
            db::transaction(pool, async move |conn| {
                held_on(store::rebuilds::walk_again(conn, rebuild_id, holder).await?)?;
                store::rebuilt::forget_new(conn, rebuild_id, workflow_id).await
            })
            .await?;
            Err(error)
        }
        placed => placed,
    }
}

/// A day's sums, made without any lock; nothing, if its reports are about to change.
async fn prepare(
    pool: &PgPool,
    rebuild_id: Uuid,
    workflow_id: Uuid,
    day: NaiveDate,
) -> Result<Option<Prepared>> {
    db::patiently(async {
        let mut snapshot = db::snapshot(pool).await?;
        let mark = store::days::mark_of(&mut snapshot, workflow_id, day).await?;
        let Some(mark) = mark else { return Ok(None) };
        if store::rebuilt::any_kept(&mut snapshot, rebuild_id, workflow_id, day).await? {
            return Ok(None);
        }
        let sums = sum_up(&mut snapshot, workflow_id, day).await?;
        snapshot.commit().await?;
        Ok(Some((mark, sums)))
    })
    .await
}

async fn apply(
    conn: &mut PgConnection,
    (rebuild_id, workflow_id, day): (Uuid, Uuid, NaiveDate),
    holder: Uuid,
    prepared: Option<&Prepared>,
) -> Result<bool> {
    let replaced =
        store::rebuilt::put_in_place(conn, rebuild_id, workflow_id, day, AT_ONCE).await?;
    fail_point!("rebuild.ledgers_placed");
    let is_last = replaced < AT_ONCE;
    let mark = store::days::lock(conn, workflow_id, day).await?;
    store::days::mark(conn, &[workflow_id], &[day], Uuid::now_v7()).await?;
    let sums = match prepared {
        // Until all its reports are replaced a day's sums stay as they were.
        _ if !is_last => None,
        Some((before, sums)) if mark == Some(*before) => sums.clone(),
        _ => sum_up(conn, workflow_id, day).await?,
    };
    let mut changed_figures = 0;
    if let Some(sums) = sums {
        changed_figures = store::figures::replace(conn, workflow_id, day, sums).await?;
    }
    fail_point!("rebuild.figures_placed");
    let done = Done {
        placing: Some(workflow_id),
        changed_executions: replaced,
        changed_figures,
        ..Done::default()
    };
    held_on(store::rebuilds::note(conn, rebuild_id, holder, &done).await?)?;
    Ok(is_last)
}

/// The sums of the executions of a day, from their reports; nothing, if one of these is of an earlier release and
/// can never be made anew, because its execution has been purged: the sums are then left as they are.
async fn sum_up(
    conn: &mut PgConnection,
    workflow_id: Uuid,
    day: NaiveDate,
) -> Result<Option<Changes>> {
    let mut sums = Changes::default();
    let mut is_whole = true;
    store::rebuilt::for_each_of_day(conn, workflow_id, day, |ledger| {
        is_whole &= ledger.metrics.workflow_version > 0;
        ledger.contribute(&mut sums).map_err(Error::internal)
    })
    .await?;
    Ok(is_whole.then_some(sums))
}
