//! Reads tasks. Invariant: a task is open exactly as long as
//! its row in `waits` is there.

use chassis::order::Run;
use chrono::{DateTime, Utc};
use serde_json::{Map, Value};
use sqlx::PgConnection;
use sqlx::types::Json;
use uuid::Uuid;

/// A log of a person's step with what its wait adds while it is open.
#[derive(Debug, Clone)]
pub struct Task {
    pub id: Uuid,
    pub execution_id: Uuid,
    pub workflow_id: Uuid,
    pub workflow_version: i32,
    pub client_id: Uuid,
    pub step_id: Uuid,
    /// A word of `execution.step_status`.
    pub status: String,
    pub created_at: DateTime<Utc>,
    pub due_at: Option<DateTime<Utc>>,
    pub claimed_by: Option<String>,
    pub output: Option<Json<Map<String, Value>>>,
    /// Fields beside the execution's data, within a foreach.
    pub item: Option<Json<Map<String, Value>>>,
}

/// What a list of tasks is restricted to; `None` restricts nothing.
#[derive(Debug, Default)]
pub struct TaskFilter {
    pub mine: Option<Mine>,
    pub execution_id: Option<Uuid>,
    pub workflow_id: Option<Uuid>,
    pub client_id: Option<Uuid>,
    pub group: Option<String>,
}

/// Whose tasks: those that this person may decide now.
#[derive(Debug)]
pub struct Mine {
    pub email: String,
    pub groups: Vec<String>,
}

/// What a list is ordered by.
#[derive(Debug)]
pub enum TaskOrder {
    Created(Run<DateTime<Utc>>),
    /// What is due never counts as due at [`Task::due_key`].
    Due(Run<DateTime<Utc>>),
}

impl Task {
    /// By what it is ordered when tasks are listed by due time.
    pub fn due_key(&self) -> DateTime<Utc> {
        const NEVER: i64 = 253_402_300_799_999_999;
        let never = DateTime::from_timestamp_micros(NEVER).expect("the last microsecond of 9999");
        self.due_at.unwrap_or(never)
    }
}

/// One statement an order; they differ in where they go on and in which direction.
macro_rules! statement {
    ($conn:ident, $filter:ident, $limit:ident, $run:expr, $column:literal, $key:literal) => {
        match $run {
            Run::Up(after) => statement!($conn, $filter, $limit, after, $column, $key, ">", ""),
            Run::Down(after) => {
                statement!($conn, $filter, $limit, after, $column, $key, "<", " desc")
            }
        }
    };
    (
        $conn:ident, $filter:ident, $limit:ident, $after:ident,
        $column:literal, $key:literal, $beyond:literal, $direction:literal
    ) => {{
        let (key, id) = $after.unzip();
        let mine = $filter.mine.as_ref();
        let groups = mine.map_or(&[][..], |mine| &mine.groups);
        sqlx::query_as!(
            Task,
            r#"-- execution.list_tasks
            select w.id, w.execution_id, w.workflow_id, e.workflow_version, w.client_id, w.step_id,
                   l.status::text as "status!", w.created_at, w.wake_at as due_at,
                   w.held_by as claimed_by, l.data as "output: Json<Map<String, Value>>",
                   w.item as "item: Json<Map<String, Value>>"
              from execution.waits w
              join execution.execution_logs l on l.id = w.id
              join execution.workflow_executions e on e.id = w.execution_id
             where w.kind = 'person'
               and ($1::text is null
                    or ((w.held_by is null or w.held_by = $1)
                        and (w.task_group = any($2::text[]) or lower($1) = any(w.assignees)
                             or (w.task_group is null and w.assignees = '{}'))))
               and ($3::uuid is null or w.execution_id = $3)
               and ($4::uuid is null or w.workflow_id = $4)
               and ($5::uuid is null or w.client_id = $5)
               and ($6::text is null or w.task_group = $6)
               and ($7::timestamptz is null or ("#
                + $column
                + r#", w.id) "#
                + $beyond
                + r#" ("#
                + $key
                + r#", $8::uuid))
             order by "#
                + $column
                + $direction
                + r#", w.id"#
                + $direction
                + r#"
             limit $9"#,
            mine.map(|mine| mine.email.as_str()),
            groups,
            $filter.execution_id,
            $filter.workflow_id,
            $filter.client_id,
            $filter.group,
            key,
            id,
            $limit
        )
        .fetch_all($conn)
        .await
    }};
}

/// At most `limit` open tasks.
pub async fn list(
    conn: &mut PgConnection,
    filter: &TaskFilter,
    order: TaskOrder,
    limit: i64,
) -> sqlx::Result<Vec<Task>> {
    use TaskOrder::{Created, Due};
    match order {
        Created(run) => statement!(conn, filter, limit, run, "w.created_at", "$7"),
        Due(run) => statement!(
            conn,
            filter,
            limit,
            run,
            "coalesce(w.wake_at, '9999-12-31T23:59:59.999999Z')",
            "$7"
        ),
    }
}

/// The log `id` seen as a task. Whether its step is a person's, the definition knows.
pub async fn get(conn: &mut PgConnection, id: Uuid) -> sqlx::Result<Option<Task>> {
    sqlx::query_as!(
        Task,
        r#"-- execution.get_task
        select l.id, l.execution_id, e.workflow_id, e.workflow_version, e.client_id,
               l.step_id as "step_id!", l.status::text as "status!",
               coalesce(w.created_at, l.queued_at) as "created_at!", w.wake_at as "due_at?",
               w.held_by as "claimed_by?", case when l.status = 'COMPLETED' then l.data end
                   as "output: Json<Map<String, Value>>",
               w.item as "item: Json<Map<String, Value>>"
          from execution.execution_logs l
          join execution.workflow_executions e on e.id = l.execution_id
          left join execution.waits w on w.id = l.id
         where l.id = $1 and l.step_id is not null and coalesce(w.kind, 'person') = 'person'"#,
        id
    )
    .fetch_optional(conn)
    .await
}
