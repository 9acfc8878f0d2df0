//! Rows for this crate's tests, written behind the engine's back.

pub mod catalog;

use std::collections::HashMap;

use chassis::Shutdown;
use chassis::auth::ServiceKey;
use chassis::client::Peer;
use chassis::db::{self, DbConfig};
use devkit::Database;
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, PgPool};
use uuid::Uuid;

use crate::committer::{Committer, Hints};
use crate::definitions::Definitions;

/// A database and the service's way into it.
pub struct World {
    /// Dropped with the last row read.
    _database: Database,
    pub pool: PgPool,
    admin: PgPool,
}

/// A client with a published workflow: a job, then an approval.
#[derive(Debug, Clone, Copy)]
pub struct Line {
    pub client: Uuid,
    pub workflow: Uuid,
    pub job_step: Uuid,
    pub task_step: Uuid,
}

/// A peer that nobody answers for.
pub fn nobody() -> Peer {
    peer("127.0.0.1:1")
}

pub fn peer(address: &str) -> Peer {
    Peer::connect_lazy(address, ServiceKey::from_seed(&[7; 32]), "execution").unwrap()
}

impl World {
    pub async fn new() -> Self {
        let database = Database::new().await;
        let pool = db::open(&DbConfig::new(database.execution_url(), "wfp_execution")).unwrap();
        let admin = PgPool::connect(&database.admin_url()).await.unwrap();
        Self {
            _database: database,
            pool,
            admin,
        }
    }

    pub fn definitions(&self) -> Definitions {
        Definitions::new(self.pool.clone(), nobody())
    }

    /// `n` orders clients: a greater one comes later.
    pub async fn line(&self, n: u128) -> Line {
        let line = Line {
            client: Uuid::from_u128(n << 64),
            workflow: Uuid::now_v7(),
            job_step: Uuid::now_v7(),
            task_step: Uuid::now_v7(),
        };
        let step = |id: Uuid, name: &str, step_type: &str, order: i32, config: Value| {
            json!({
                "id": id, "key": name, "name": name, "stepType": step_type, "order": order,
                "config": config, "isRequired": true,
            })
        };
        let definition = json!({
            "workflowId": line.workflow, "version": 1, "clientId": line.client, "name": "Line",
            "steps": [
                step(line.job_step, "pack", "pack", 1, json!({"box": "small"})),
                step(line.task_step, "check", "approval", 2, json!({"approverRole": "chefs"})),
            ],
            "transitions": [],
        });
        self.run(&format!(
            "insert into catalog.clients (id, name) values ('{0}', 'client');
             insert into catalog.workflows (id, name, client_id) values ('{1}', 'Line', '{0}');
             insert into catalog.workflow_steps (id, workflow_id, name, step_type, \"order\", key)
             values ('{2}', '{1}', 'pack', 'pack', 1, 'pack'), ('{3}', '{1}', 'check', 'approval', 2, 'check');
             insert into execution.definitions (workflow_id, version, definition) values ('{1}', 1, '{definition}')",
            line.client, line.workflow, line.job_step, line.task_step
        ))
        .await;
        line
    }

    /// Executions that wait for a worker, from the oldest to the youngest.
    pub async fn jobs(&self, line: Line, job_type: &str, count: u32) {
        self.run(&format!(
            "with new as (
                select gen_random_uuid() as execution, gen_random_uuid() as job, n,
                       now() - interval '1 minute' + n * interval '1 microsecond' as at
                  from generate_series(1, {count}) n
             ), executions as (
                insert into execution.workflow_executions (
                    id, workflow_id, client_id, status, started_at, workflow_version, metadata, event_count)
                select execution, '{workflow}', '{client}', 'RUNNING', at, 1,
                       jsonb_build_object('inputData', jsonb_build_object('n', n, 'who', 'input')), 1
                  from new
             ), logs as (
                insert into execution.execution_logs (
                    id, execution_id, step_id, started_at, seq, queued_at, available_at)
                select job, execution, '{step}', at, 1, at, at from new
             )
             insert into execution.waits (
                id, execution_id, workflow_id, client_id, step_id, kind, created_at, arrived_at,
                available_at, job_type)
             select job, execution, '{workflow}', '{client}', '{step}', 'job', at, at, at, '{job_type}'
               from new",
            workflow = line.workflow,
            client = line.client,
            step = line.job_step,
        ))
        .await;
    }

    /// Gives the executions what the engine remembers of them, so that commands move them.
    pub async fn remember(&self) {
        self.run(
            "insert into execution.execution_states (execution_id, state)
             select id, json_build_object('lastAt', started_at, 'logCount', 1, 'activations', 1,
                        'arrivals', json_build_object(), 'outputs', json_build_array(), 'contextBytes', 20)
               from execution.workflow_executions
              where status in ('PENDING', 'RUNNING')",
        )
        .await;
    }

    /// A committer of its own, whose events stay in the outbox.
    pub fn committer(&self) -> Committer {
        let (handed, _) = tokio::sync::mpsc::channel(1);
        let (definitions, hints) = (self.definitions(), Hints::default());
        let shutdown = Shutdown::new();
        Committer::start(self.pool.clone(), definitions, handed, hints, &shutdown)
    }

    /// Runs statements as a superuser.
    pub async fn run(&self, sql: &str) {
        sqlx::raw_sql(AssertSqlSafe(sql))
            .execute(&self.admin)
            .await
            .unwrap();
    }

    /// The rows of a query as JSON objects.
    pub async fn rows(&self, sql: &str) -> Vec<HashMap<String, Value>> {
        let sql = format!("select to_jsonb(r) from ({sql}) r");
        let rows: Vec<Value> = sqlx::query_scalar(AssertSqlSafe(sql))
            .fetch_all(&self.admin)
            .await
            .unwrap();
        rows.into_iter()
            .map(|row| serde_json::from_value(row).unwrap())
            .collect()
    }
}
