//! The workflow_transitions table: the working copy's only. Invariant: both ends are steps of the
//! transition's own workflow; who writes one has checked that under the workflow's lock.

use chassis::Result;
use chrono::{DateTime, Utc};
use model::definition;
use serde_json::Value;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::fields::TransitionFields;

/// A way from one step to the next.
#[derive(Debug, Clone)]
pub struct Transition {
    pub id: Uuid,
    pub workflow_id: Uuid,
    pub fields: TransitionFields,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
    pub revision: i64,
}

impl TransitionFields {
    /// As a definition holds them.
    pub fn definition(&self, id: Uuid) -> definition::Transition {
        definition::Transition {
            id,
            from_step_id: self.from_step_id,
            to_step_id: self.to_step_id,
            condition: self.condition.clone(),
            is_default: self.is_default,
        }
    }
}

struct Row {
    id: Uuid,
    workflow_id: Uuid,
    from_step_id: Uuid,
    to_step_id: Uuid,
    condition: Option<Value>,
    is_default: bool,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    revision: i64,
}

impl From<Row> for Transition {
    fn from(row: Row) -> Self {
        Self {
            id: row.id,
            workflow_id: row.workflow_id,
            fields: TransitionFields {
                from_step_id: row.from_step_id,
                to_step_id: row.to_step_id,
                condition: row.condition,
                is_default: row.is_default,
            },
            created_at: row.created_at,
            updated_at: row.updated_at,
            revision: row.revision,
        }
    }
}

pub async fn insert(
    conn: &mut PgConnection,
    id: Uuid,
    workflow_id: Uuid,
    fields: &TransitionFields,
) -> Result<()> {
    sqlx::query!(
        "-- catalog.insert_transition
        insert into catalog.workflow_transitions
            (id, workflow_id, from_step_id, to_step_id, condition, is_default)
        values ($1, $2, $3, $4, $5, $6)",
        id,
        workflow_id,
        fields.from_step_id,
        fields.to_step_id,
        fields.condition,
        fields.is_default
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// A transition. Its workflow is to be locked before the answer is relied on.
pub async fn get(conn: &mut PgConnection, id: Uuid) -> Result<Option<Transition>> {
    let row = sqlx::query_as!(
        Row,
        "-- catalog.get_transition
        select id, workflow_id, from_step_id, to_step_id, condition, is_default, created_at,
            updated_at, revision
        from catalog.workflow_transitions where id = $1",
        id
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(Transition::from))
}

/// A workflow's transitions: by the step they leave, then in the order in which they are judged.
pub async fn list(conn: &mut PgConnection, workflow_id: Uuid) -> Result<Vec<Transition>> {
    let rows = sqlx::query_as!(
        Row,
        r#"-- catalog.list_transitions
        select t.id, t.workflow_id, t.from_step_id, t.to_step_id, t.condition, t.is_default,
            t.created_at, t.updated_at, t.revision
        from catalog.workflow_transitions t
        join catalog.workflow_steps f on f.id = t.from_step_id
        join catalog.workflow_steps s on s.id = t.to_step_id
        where t.workflow_id = $1
        order by f."order", f.id, t.is_default, s."order", t.id"#,
        workflow_id
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(Transition::from).collect())
}

pub async fn update(conn: &mut PgConnection, id: Uuid, fields: &TransitionFields) -> Result<()> {
    sqlx::query!(
        "-- catalog.update_transition
        update catalog.workflow_transitions
        set from_step_id = $2, to_step_id = $3, condition = $4, is_default = $5
        where id = $1",
        id,
        fields.from_step_id,
        fields.to_step_id,
        fields.condition,
        fields.is_default
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Makes transitions under ids of their own, whose etags begin at `revision`.
pub async fn insert_all(
    conn: &mut PgConnection,
    workflow_id: Uuid,
    revision: i64,
    transitions: &[&definition::Transition],
) -> Result<()> {
    if transitions.is_empty() {
        return Ok(());
    }
    let rows = Columns::of(transitions);
    sqlx::query!(
        "-- catalog.insert_transitions
        insert into catalog.workflow_transitions
            (id, workflow_id, from_step_id, to_step_id, condition, is_default, revision)
        select id, $1, from_step_id, to_step_id, condition, is_default, $2
        from unnest($3::uuid[], $4::uuid[], $5::uuid[], $6::jsonb[], $7::bool[])
        as new (id, from_step_id, to_step_id, condition, is_default)",
        workflow_id,
        revision,
        &rows.id,
        &rows.from_step_id,
        &rows.to_step_id,
        &rows.condition as &[Option<Value>],
        &rows.is_default
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Writes what transitions say; where they lead stays.
pub async fn update_all(
    conn: &mut PgConnection,
    transitions: &[&definition::Transition],
) -> Result<()> {
    if transitions.is_empty() {
        return Ok(());
    }
    let rows = Columns::of(transitions);
    sqlx::query!(
        "-- catalog.update_transitions
        update catalog.workflow_transitions t
        set condition = new.condition, is_default = new.is_default
        from unnest($1::uuid[], $2::jsonb[], $3::bool[]) as new (id, condition, is_default)
        where t.id = new.id",
        &rows.id,
        &rows.condition as &[Option<Value>],
        &rows.is_default
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Transitions, column by column.
#[derive(Default)]
struct Columns {
    id: Vec<Uuid>,
    from_step_id: Vec<Uuid>,
    to_step_id: Vec<Uuid>,
    condition: Vec<Option<Value>>,
    is_default: Vec<bool>,
}

impl Columns {
    fn of(transitions: &[&definition::Transition]) -> Self {
        let mut rows = Self::default();
        for transition in transitions {
            rows.id.push(transition.id);
            rows.from_step_id.push(transition.from_step_id);
            rows.to_step_id.push(transition.to_step_id);
            rows.condition.push(transition.condition.clone());
            rows.is_default.push(transition.is_default);
        }
        rows
    }
}

pub async fn delete(conn: &mut PgConnection, ids: &[Uuid]) -> Result<()> {
    sqlx::query!(
        "-- catalog.delete_transitions
        delete from catalog.workflow_transitions where id = any($1)",
        ids
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Deletes every transition that leaves a step or leads to it.
pub async fn delete_of_step(conn: &mut PgConnection, step_id: Uuid) -> Result<()> {
    sqlx::query!(
        "-- catalog.delete_transitions_of_step
        delete from catalog.workflow_transitions where from_step_id = $1 or to_step_id = $1",
        step_id
    )
    .execute(conn)
    .await?;
    Ok(())
}
