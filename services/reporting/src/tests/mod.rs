//! The service against a real database, each test with its own.

mod analyzing;
mod archive;
mod comparing;
mod exactly_once;
mod exporting;
mod materializing;
mod proving;
mod querying;
mod reading;
mod repairing;
mod streaming;
mod watching;

pub mod samples;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use chassis::db::{self, DbConfig};
use devkit::Database;
use model::event::ExecutionEvents;
use serde_json::Value;
use sqlx::PgPool;
use tokio::sync::watch;
use uuid::Uuid;

use crate::ingest::{Row, settle};
use crate::materialize::Materializer;
use crate::projection::period::{Period, cohort, execution_report_id};
use crate::recount::{Recount, differences};
use crate::wire::Part;

/// A database, as the service sees it and as its owner does.
struct Fixture {
    database: Database,
    pool: PgPool,
    owner: PgPool,
}

impl Fixture {
    async fn new() -> Self {
        let database = Database::new().await;
        let config = DbConfig::new(database.reporting_url(), crate::ROLE);
        let pool = db::open(&config).unwrap();
        let owner = PgPool::connect_lazy(&database.admin_url()).unwrap();
        Self {
            database,
            pool,
            owner,
        }
    }

    /// Makes the rows that these histories refer to, which belong to other services.
    async fn know(&self, histories: &[ExecutionEvents]) {
        let clients = BTreeSet::from_iter(histories.iter().map(|own| own.client_id));
        let workflows =
            BTreeMap::from_iter(histories.iter().map(|own| (own.workflow_id, own.client_id)));
        for client in clients {
            self.run(
                "insert into catalog.clients (id, name) values ($1, $1::text)",
                &[client],
            )
            .await;
        }
        for (workflow, client) in workflows {
            let insert =
                "insert into catalog.workflows (id, name, client_id) values ($1, $1::text, $2)";
            self.run(insert, &[workflow, client]).await;
        }
        for own in histories {
            self.know_more(own).await;
        }
    }

    /// Makes the row of one more execution of a known workflow.
    async fn know_more(&self, history: &ExecutionEvents) {
        let insert = "insert into execution.workflow_executions \
            (id, workflow_id, client_id, workflow_version) values ($1, $2, $3, 1)";
        self.run(
            insert,
            &[history.execution_id, history.workflow_id, history.client_id],
        )
        .await;
    }

    async fn run(&self, statement: &'static str, ids: &[Uuid]) {
        let query = ids
            .iter()
            .fold(sqlx::query(statement), |query, id| query.bind(*id));
        query.execute(&self.owner).await.unwrap();
    }

    async fn count(&self, statement: &'static str) -> i64 {
        sqlx::query_scalar(statement)
            .fetch_one(&self.owner)
            .await
            .unwrap()
    }

    /// Waits until a count is not zero.
    async fn until(&self, statement: &'static str) {
        let counted = async {
            while self.count(statement).await == 0 {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), counted)
            .await
            .expect(statement);
    }

    async fn parked(&self) -> i64 {
        self.count("select count(*) from reporting.parked_rows")
            .await
    }

    async fn held(&self) -> i64 {
        self.count("select count(*) from reporting.held_events")
            .await
    }

    /// As the writer does with what has gathered.
    async fn settle(&self, parts: &[ExecutionEvents]) {
        settle(&self.pool, &[row(parts)]).await.unwrap();
    }

    /// Every report equals an independent count.
    async fn check(&self, histories: &[ExecutionEvents]) {
        self.materializer().step().await.unwrap();
        let mut expected: BTreeMap<Uuid, Value> = BTreeMap::new();
        let mut periods: BTreeMap<Period, Recount> = BTreeMap::new();
        for history in histories {
            for period in Period::of_day(history.workflow_id, cohort(history.started_at)) {
                periods.entry(period).or_default().add(history, usize::MAX);
            }
            let mut own = Recount::default();
            own.add(history, usize::MAX);
            let id = execution_report_id(history.execution_id);
            expected.insert(id, own.execution(history, usize::MAX));
        }
        let told = periods
            .iter()
            .map(|(period, own)| (period.id(), own.period()));
        expected.extend(told);
        let select = "select id, metrics from reporting.workflow_reports";
        let stored: Vec<(Uuid, Value)> =
            sqlx::query_as(select).fetch_all(&self.owner).await.unwrap();
        let stored = BTreeMap::from_iter(stored);
        assert_eq!(
            Vec::from_iter(stored.keys()),
            Vec::from_iter(expected.keys())
        );
        for (id, metrics) in &stored {
            assert_eq!(differences(metrics, &expected[id]), [], "{id}");
        }
        let events: usize = histories.iter().map(|own| own.events.len()).sum();
        let applied = "select coalesce(sum(applied_seq), 0) from reporting.workflow_reports";
        assert_eq!(self.count(applied).await, events as i64);
        assert_eq!(self.held().await, 0);
    }

    /// Days whose reports are older than their figures.
    async fn stale(&self) -> i64 {
        self.count("select count(*) from reporting.days where shown is distinct from mark")
            .await
    }

    fn materializer(&self) -> Materializer {
        Materializer::new(self.pool.clone(), watch::channel(None).1)
    }

    /// All reports but those of executions, as their type, start and metrics.
    async fn reports(&self) -> BTreeMap<(String, String), Value> {
        let select = "select report_type::text, to_char(period_start at time zone 'UTC', 'YYYY-MM-DD'), metrics \
            from reporting.workflow_reports where report_type <> 'execution'";
        let rows: Vec<(String, String, Value)> =
            sqlx::query_as(select).fetch_all(&self.owner).await.unwrap();
        rows.into_iter()
            .map(|(kind, start, metrics)| ((kind, start), metrics))
            .collect()
    }
}

fn row(parts: &[ExecutionEvents]) -> Row {
    Row {
        id: Uuid::now_v7(),
        parts: parts
            .iter()
            .map(|part| Part::Read(Arc::new(part.clone())))
            .collect(),
        bytes: 0,
    }
}
