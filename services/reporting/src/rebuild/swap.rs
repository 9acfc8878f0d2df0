//! Puts a workflow's reports and sums in place.
//! Invariant: the sums are those of the reports of executions at one moment, at which nobody could change either.

use std::collections::HashMap;

use chassis::{Error, Result, db, fail_point};
use chrono::NaiveDate;
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use super::held_on;
use crate::projection::fold::Changes;
use crate::store::rebuilds::{Done, Held};
use crate::store::{self, EVENTS_REFUSED};

/// Sums that were made without any lock, and the mark that their day had.
type Prepared = HashMap<NaiveDate, (Uuid, Changes)>;

/// Returns the executions that have gone on since they were read.
pub async fn swap(
    pool: &PgPool,
    held: &Held,
    holder: Uuid,
    workflow_id: Uuid,
) -> Result<Vec<Uuid>> {
    let days = db::patiently(async {
        let mut conn = db::acquire(pool).await?;
        store::days::of_scope(&mut conn, held.id, workflow_id, held.scope).await
    });
    let days = days.await?;
    let mut prepared = Prepared::new();
    for (day, mark) in &days {
        if mark.is_some()
            && let Some(sums) = prepare(pool, held.id, workflow_id, *day).await?
        {
            prepared.insert(*day, sums);
        }
        keep_on(pool, held, holder).await?;
    }
    let days: Vec<NaiveDate> = days.into_iter().map(|(day, _)| day).collect();
    let id = held.id;
    let swapped = db::transaction(pool, async move |conn| {
        apply(conn, (id, holder), workflow_id, &days, &prepared).await
    });
    match swapped.await {
        Err(error) if error.reason() == EVENTS_REFUSED => {
            let forgotten = db::patiently(async {
                let mut conn = db::acquire(pool).await?;
                store::rebuilt::forget_new(&mut conn, id, workflow_id).await
            });
            forgotten.await?;
            Err(error)
        }
        swapped => swapped,
    }
}

/// A day's sums, made without a lock; nothing, if its reports are about to change.
async fn prepare(
    pool: &PgPool,
    rebuild_id: Uuid,
    workflow_id: Uuid,
    day: NaiveDate,
) -> Result<Option<(Uuid, Changes)>> {
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

async fn keep_on(pool: &PgPool, held: &Held, holder: Uuid) -> Result<()> {
    let noted = db::patiently(async {
        let mut conn = db::acquire(pool).await?;
        store::rebuilds::note(&mut conn, held.id, holder, &Done::default()).await
    });
    held_on(noted.await?)
}

async fn apply(
    conn: &mut PgConnection,
    (rebuild_id, holder): (Uuid, Uuid),
    workflow_id: Uuid,
    days: &[NaiveDate],
    prepared: &Prepared,
) -> Result<Vec<Uuid>> {
    let (replaced, left) = store::rebuilt::put_in_place(conn, rebuild_id, workflow_id).await?;
    fail_point!("rebuild.ledgers_placed");
    let marks = store::days::lock(conn, workflow_id, days).await?;
    let workflows = vec![workflow_id; days.len()];
    store::days::mark(conn, &workflows, days, Uuid::now_v7()).await?;
    let mut sums = Changes::default();
    for day in days {
        let own = match prepared.get(day) {
            Some((mark, sums)) if marks.get(day) == Some(mark) => sums.clone(),
            _ => sum_up(conn, workflow_id, *day).await?,
        };
        sums.0.extend(own.0);
    }
    let changed_figures = store::figures::replace(conn, workflow_id, days, sums).await?;
    fail_point!("rebuild.figures_placed");
    let done = Done {
        changed_executions: replaced,
        changed_figures,
        ..Done::default()
    };
    held_on(store::rebuilds::note(conn, rebuild_id, holder, &done).await?)?;
    Ok(left)
}

/// The sums of the executions of a day, from their reports.
async fn sum_up(conn: &mut PgConnection, workflow_id: Uuid, day: NaiveDate) -> Result<Changes> {
    let mut sums = Changes::default();
    store::rebuilt::for_each_of_day(conn, workflow_id, day, |ledger| {
        ledger.contribute(&mut sums).map_err(Error::internal)
    })
    .await?;
    Ok(sums)
}
