//! The workflow_steps table. Invariant: a step that a version holds is never deleted, only marked as
//! removed; its id and key stay its own for good.

use chassis::{Error, Result};
use chrono::{DateTime, Utc};
use model::definition;
use serde_json::{Map, Value};
use sqlx::PgConnection;
use sqlx::types::Json;
use uuid::Uuid;

use super::on_constraint;
use crate::fields::StepFields;

/// One step of a working copy, or one that was taken out of it.
#[derive(Debug, Clone)]
pub struct Step {
    pub id: Uuid,
    pub workflow_id: Uuid,
    pub key: String,
    pub fields: StepFields,
    pub was_published: bool,
    pub removed: bool,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
    pub revision: i64,
}

impl Step {
    /// As a definition holds it.
    pub fn definition(&self) -> definition::Step {
        let fields = self.fields.clone();
        definition::Step {
            id: self.id,
            key: self.key.clone(),
            name: fields.name,
            description: fields.description,
            step_type: fields.step_type,
            order: fields.order,
            config: fields.config,
            is_required: fields.is_required,
        }
    }
}

struct Row {
    id: Uuid,
    workflow_id: Uuid,
    key: String,
    name: String,
    description: Option<String>,
    step_type: String,
    order: i32,
    config: Option<Json<Map<String, Value>>>,
    is_required: bool,
    was_published: bool,
    removed: bool,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    revision: i64,
}

impl From<Row> for Step {
    fn from(row: Row) -> Self {
        Self {
            id: row.id,
            workflow_id: row.workflow_id,
            key: row.key,
            fields: StepFields {
                name: row.name,
                description: row.description,
                step_type: row.step_type,
                order: row.order,
                config: row.config.map(|Json(config)| config).unwrap_or_default(),
                is_required: row.is_required,
            },
            was_published: row.was_published,
            removed: row.removed,
            created_at: row.created_at,
            updated_at: row.updated_at,
            revision: row.revision,
        }
    }
}

/// A step that is to be made.
#[derive(Debug)]
pub struct NewStep<'a> {
    pub id: Uuid,
    pub workflow_id: Uuid,
    pub key: &'a str,
    pub fields: &'a StepFields,
}

pub async fn insert(conn: &mut PgConnection, step: NewStep<'_>) -> Result<()> {
    sqlx::query!(
        r#"-- catalog.insert_step
        insert into catalog.workflow_steps
            (id, workflow_id, key, name, description, step_type, "order", config, is_required)
        values ($1, $2, $3, $4, $5, $6, $7, $8, $9)"#,
        step.id,
        step.workflow_id,
        step.key,
        step.fields.name,
        step.fields.description,
        step.fields.step_type,
        step.fields.order,
        stored(&step.fields.config) as _,
        step.fields.is_required
    )
    .execute(conn)
    .await
    .map_err(|error| {
        on_constraint(
            error,
            &[
                ("workflow_steps_name_key", &|| name_taken(&step.fields.name)),
                ("workflow_steps_key_key", &|| {
                    let message = format!(
                        "{:?} is, or was, the key of another step of the workflow",
                        step.key
                    );
                    Error::already_exists("STEP_KEY_TAKEN", message)
                }),
            ],
        )
    })?;
    Ok(())
}

/// A step of a working copy. Its workflow is to be locked before its answer is relied on.
pub async fn get(conn: &mut PgConnection, id: Uuid) -> Result<Option<Step>> {
    let row = sqlx::query_as!(
        Row,
        r#"-- catalog.get_step
        select id, workflow_id, key, name, description, step_type, "order",
            config as "config: Json<Map<String, Value>>", is_required, was_published,
            removed_at is not null as "removed!", created_at, updated_at, revision
        from catalog.workflow_steps where id = $1 and removed_at is null"#,
        id
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(Step::from))
}

/// A workflow's steps in order, those that were removed included.
pub async fn list_all(conn: &mut PgConnection, workflow_id: Uuid) -> Result<Vec<Step>> {
    let rows = sqlx::query_as!(
        Row,
        r#"-- catalog.list_steps
        select id, workflow_id, key, name, description, step_type, "order",
            config as "config: Json<Map<String, Value>>", is_required, was_published,
            removed_at is not null as "removed!", created_at, updated_at, revision
        from catalog.workflow_steps where workflow_id = $1 order by "order", id"#,
        workflow_id
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(Step::from).collect())
}

/// The working copy's steps in order.
pub async fn list(conn: &mut PgConnection, workflow_id: Uuid) -> Result<Vec<Step>> {
    let mut steps = list_all(conn, workflow_id).await?;
    steps.retain(|step| !step.removed);
    Ok(steps)
}

/// Writes a step's fields; one that was removed is in the working copy again.
pub async fn update(conn: &mut PgConnection, id: Uuid, fields: &StepFields) -> Result<()> {
    sqlx::query!(
        r#"-- catalog.update_step
        update catalog.workflow_steps
        set name = $2, description = $3, step_type = $4, "order" = $5, config = $6, is_required = $7,
            removed_at = null
        where id = $1"#,
        id,
        fields.name,
        fields.description,
        fields.step_type,
        fields.order,
        stored(&fields.config) as _,
        fields.is_required
    )
    .execute(conn)
    .await
    .map_err(|error| {
        on_constraint(
            error,
            &[("workflow_steps_name_key", &|| name_taken(&fields.name))],
        )
    })?;
    Ok(())
}

/// Makes steps, under ids and keys of their own.
pub async fn insert_all(
    conn: &mut PgConnection,
    workflow_id: Uuid,
    steps: &[&definition::Step],
) -> Result<()> {
    if steps.is_empty() {
        return Ok(());
    }
    let rows = Columns::of(steps);
    sqlx::query!(
        r#"-- catalog.insert_steps
        insert into catalog.workflow_steps
            (id, workflow_id, key, name, description, step_type, "order", config, is_required)
        select id, $1, key, name, description, step_type, "order", config, is_required
        from unnest($2::uuid[], $3::text[], $4::text[], $5::text[], $6::text[], $7::int[], $8::jsonb[],
            $9::bool[])
        as new (id, key, name, description, step_type, "order", config, is_required)"#,
        workflow_id,
        &rows.id,
        &rows.key,
        &rows.name,
        &rows.description as &[Option<String>],
        &rows.step_type,
        &rows.order,
        &rows.config as &[Option<Value>],
        &rows.is_required
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Writes the fields of steps; those that were removed are in the working copy again.
pub async fn update_all(conn: &mut PgConnection, steps: &[&definition::Step]) -> Result<()> {
    if steps.is_empty() {
        return Ok(());
    }
    let rows = Columns::of(steps);
    sqlx::query!(
        r#"-- catalog.update_steps
        update catalog.workflow_steps s
        set name = new.name, description = new.description, step_type = new.step_type,
            "order" = new."order", config = new.config, is_required = new.is_required, removed_at = null
        from unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::int[], $6::jsonb[], $7::bool[])
        as new (id, name, description, step_type, "order", config, is_required)
        where s.id = new.id"#,
        &rows.id,
        &rows.name,
        &rows.description as &[Option<String>],
        &rows.step_type,
        &rows.order,
        &rows.config as &[Option<Value>],
        &rows.is_required
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Steps, column by column.
#[derive(Default)]
struct Columns {
    id: Vec<Uuid>,
    key: Vec<String>,
    name: Vec<String>,
    description: Vec<Option<String>>,
    step_type: Vec<String>,
    order: Vec<i32>,
    config: Vec<Option<Value>>,
    is_required: Vec<bool>,
}

impl Columns {
    fn of(steps: &[&definition::Step]) -> Self {
        let mut rows = Self::default();
        for step in steps {
            rows.id.push(step.id);
            rows.key.push(step.key.clone());
            rows.name.push(step.name.clone());
            rows.description.push(step.description.clone());
            rows.step_type.push(step.step_type.clone());
            rows.order.push(step.order);
            let config = Some(&step.config).filter(|config| !config.is_empty());
            rows.config.push(config.cloned().map(Value::Object));
            rows.is_required.push(step.is_required);
        }
        rows
    }
}

/// Gives each of these steps its position.
pub async fn reorder(conn: &mut PgConnection, ids: &[Uuid], orders: &[i32]) -> Result<()> {
    sqlx::query!(
        r#"-- catalog.reorder_steps
        update catalog.workflow_steps s set "order" = new."order"
        from unnest($1::uuid[], $2::int[]) as new (id, "order")
        where s.id = new.id"#,
        ids,
        orders
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Gives steps names that no step can have, so that their real ones can be exchanged one by one.
pub async fn vacate_names(conn: &mut PgConnection, ids: &[Uuid]) -> Result<()> {
    sqlx::query!(
        "-- catalog.vacate_step_names
        update catalog.workflow_steps set name = chr(1) || id::text where id = any($1)",
        ids
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Takes a step that a version holds out of the working copy.
pub async fn mark_removed(conn: &mut PgConnection, id: Uuid) -> Result<()> {
    sqlx::query!(
        "-- catalog.mark_step_removed
        update catalog.workflow_steps set removed_at = now() where id = $1",
        id
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Deletes a step that no version holds, with its transitions.
pub async fn delete(conn: &mut PgConnection, id: Uuid) -> Result<()> {
    sqlx::query!(
        "-- catalog.delete_step
        delete from catalog.workflow_steps where id = $1",
        id
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Notes that a version holds every step of the working copy.
pub async fn mark_published(conn: &mut PgConnection, workflow_id: Uuid) -> Result<()> {
    sqlx::query!(
        "-- catalog.mark_steps_published
        update catalog.workflow_steps set was_published = true
        where workflow_id = $1 and removed_at is null and not was_published",
        workflow_id
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// No settings at all are stored as none.
fn stored(config: &Map<String, Value>) -> Option<Json<&Map<String, Value>>> {
    (!config.is_empty()).then_some(Json(config))
}

fn name_taken(name: &str) -> Error {
    let message = format!("{name:?} is the name of another step of the workflow");
    Error::already_exists("STEP_NAME_TAKEN", message)
}
