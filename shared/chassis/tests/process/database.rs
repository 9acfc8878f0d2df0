//! Roles, migrations and transactions, and that a caller who gives up leaves nothing behind.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use chassis::bootstrap::{SERVICES, bootstrap};
use chassis::db::{self, DbConfig};
use chassis::server::Limits;
use chassis::{Error, Result};
use devkit::{Database, Durability, Folder, Options, Postgres};
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, PgPool, SqlSafeStr};
use tonic::Code;

use crate::fixture::{Running, login};

const ROLE: &str = "wfp_catalog";

async fn admin(database: &Database) -> PgConnection {
    let mut admin = PgConnection::connect(&database.admin_url())
        .await
        .expect("reachable");
    admin
        .execute("create table canary (v int); grant all on canary to wfp_catalog")
        .await
        .expect("created");
    admin
}

fn pool_of_one(database: &Database) -> PgPool {
    let mut config = DbConfig::new(database.admin_url(), ROLE);
    config.max_connections = 1;
    db::open(&config).expect("a URL")
}

async fn number(conn: &mut PgConnection, query: &'static str) -> i64 {
    sqlx::query_scalar(query)
        .fetch_one(conn)
        .await
        .expect("a number")
}

async fn insert(conn: &mut PgConnection, value: i32) -> Result<()> {
    sqlx::query("insert into canary values ($1)")
        .bind(value)
        .execute(conn)
        .await?;
    Ok(())
}

/// Polls a future so many times and then drops it, as a server does with a caller's.
struct Impatient<F>(Pin<Box<F>>, usize);

impl<F: Future> Future for Impatient<F> {
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.1 -= 1;
        match self.0.as_mut().poll(cx) {
            Poll::Ready(done) => Poll::Ready(Some(done)),
            Poll::Pending if self.1 == 0 => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    }
}

#[tokio::test]
async fn session_works_in_its_role_with_its_limits() {
    let database = Database::new().await;
    for url in [database.admin_url(), database.catalog_url()] {
        let pool = db::open(&DbConfig::new(url, ROLE)).expect("a URL");
        let (role, statement, lock, idle, name): (String, String, String, String, String) =
            sqlx::query_as(
                "select current_user::text, current_setting('statement_timeout'), \
                 current_setting('lock_timeout'), \
                 current_setting('idle_in_transaction_session_timeout'), \
                 current_setting('application_name')",
            )
            .fetch_one(&pool)
            .await
            .expect("settings");
        assert_eq!((role.as_str(), name.as_str()), (ROLE, ROLE));
        assert_eq!(
            (statement.as_str(), lock.as_str(), idle.as_str()),
            ("30s", "10s", "30s")
        );
        assert!(
            pool.execute("create table public.mine (v int)")
                .await
                .is_err(),
            "not its schema"
        );
    }
}

#[tokio::test]
async fn dropped_transaction_leaves_no_session_in_one() {
    let database = Database::new().await;
    let mut other = admin(&database).await;
    let pool = pool_of_one(&database);
    let mut kept = 0;
    for polls in (1..=12).cycle().take(60) {
        let work = db::transaction(&pool, async |conn| insert(conn, 1).await);
        // Whether it was done at all is open; what comes afterwards is not.
        let _ = Impatient(Box::pin(work), polls).await;
        let mut conn = pool.acquire().await.expect("a connection");
        insert(&mut conn, 2).await.expect("written");
        kept += 1;
        let seen = number(&mut other, "select count(*) from canary where v = 2").await;
        assert_eq!(seen, kept, "after {polls} polls");
    }
}

#[tokio::test]
async fn transaction_that_is_dropped_or_never_begun_takes_nothing_from_the_next_caller() {
    let database = Database::new().await;
    let mut admin = admin(&database).await;
    for polls in 1..=12 {
        let pool = pool_of_one(&database);
        if let Some(begun) = Impatient(Box::pin(db::keyed(&pool)), polls).await {
            let mut lost = begun.expect("the database is up");
            insert(&mut lost, 1).await.expect("written");
        }
        let mut kept = db::keyed(&pool).await.expect("the connection is free");
        insert(&mut kept, 2).await.expect("written");
        kept.commit().await.expect("committed");
        let seen = number(&mut admin, "select count(*) from canary where v = 2").await;
        assert_eq!(seen, polls as i64, "after {polls} polls");
        pool.close().await;
    }
    assert_eq!(
        number(&mut admin, "select count(*) from canary where v = 1").await,
        0
    );
}

/// Lets the others of this thread (the server, the connection) have so many turns.
async fn pass(turns: u32) {
    for _ in 0..turns {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn vanished_callers_take_nothing_from_later_ones() {
    let database = Database::new().await;
    let mut other = admin(&database).await;
    let pool = pool_of_one(&database);
    let running = Running::start(Limits::default(), Some(pool)).await;
    let client = running.client().await;
    for turns in 1..=200 {
        let mut vanishing = client.clone();
        tokio::select! {
            biased;
            _ = vanishing.login(login("begin")) => {}
            () = pass(turns) => {}
        }
        client.clone().login(login("write")).await.expect("written");
        let seen = number(&mut other, "select count(*) from canary").await;
        assert_eq!(
            seen,
            i64::from(turns),
            "what was promised is there for others, too"
        );
    }
    running.shutdown.soft.cancel();
    running
        .serving
        .await
        .expect("no panic")
        .expect("a clean end");
    let open = "select count(*) from pg_stat_activity \
                where datname = current_database() and state like 'idle in transaction%'";
    assert_eq!(number(&mut other, open).await, 0);
}

#[tokio::test]
async fn conflict_is_tried_again_and_other_errors_are_not() {
    let database = Database::new().await;
    let mut other = admin(&database).await;
    let pool = pool_of_one(&database);
    let runs = AtomicU32::new(0);
    let failing = async |conn: &mut PgConnection, state: &'static str, times: u32| {
        insert(conn, 1).await?;
        if runs.fetch_add(1, Ordering::Relaxed) < times {
            let raise = format!("do $$ begin raise sqlstate '{state}'; end $$");
            conn.execute(AssertSqlSafe(raise)).await?;
        }
        Ok::<(), Error>(())
    };
    db::transaction(&pool, async |conn| failing(conn, "40001", 2).await)
        .await
        .expect("third time");
    assert_eq!(runs.swap(0, Ordering::Relaxed), 3);
    assert_eq!(number(&mut other, "select count(*) from canary").await, 1);

    let error = db::transaction(&pool, async |conn| failing(conn, "40P01", 100).await).await;
    assert_eq!(error.expect_err("gives up").reason(), "DATABASE_CONFLICT");
    assert_eq!(runs.swap(0, Ordering::Relaxed), 5);

    let error = db::transaction(&pool, async |conn| failing(conn, "22012", 100).await).await;
    assert_eq!(error.expect_err("fails").code(), Code::Internal);
    assert_eq!(runs.load(Ordering::Relaxed), 1);
    assert_eq!(
        number(&mut other, "select count(*) from canary").await,
        1,
        "rolled back"
    );
}

#[tokio::test]
async fn lost_connection_is_an_outage_and_the_next_call_works() {
    let database = Database::new().await;
    let mut other = admin(&database).await;
    let pool = pool_of_one(&database);
    let error = db::transaction(&pool, async |conn| {
        let pid: i32 = sqlx::query_scalar("select pg_backend_pid()")
            .fetch_one(&mut *conn)
            .await?;
        sqlx::query("select pg_terminate_backend($1, 5000)")
            .bind(pid)
            .execute(&mut other)
            .await?;
        insert(conn, 1).await
    });
    let error = error.await.expect_err("cut off");
    assert_eq!(
        (error.code(), error.reason()),
        (Code::Unavailable, "DATABASE_UNAVAILABLE")
    );
    db::transaction(&pool, async |conn| insert(conn, 1).await)
        .await
        .expect("a new connection");
    assert_eq!(number(&mut other, "select count(*) from canary").await, 1);
}

#[tokio::test]
async fn violated_constraint_has_its_name() {
    let database = Database::new().await;
    let mut conn = PgConnection::connect(&database.admin_url())
        .await
        .expect("reachable");
    let double = "create table t (v int constraint t_v_key unique); insert into t values (1), (1)";
    let error = conn.execute(double).await.expect_err("violated");
    assert_eq!(Error::constraint(&error), Some("t_v_key"));
}

/// The future may cross threads, which tonic demands of a handler.
#[tokio::test]
async fn transaction_fits_into_a_spawned_task() {
    let database = Database::new().await;
    let _other = admin(&database).await;
    let pool = pool_of_one(&database);
    let text = "7".to_owned();
    let task = tokio::spawn(async move {
        db::transaction(&pool, async move |conn| {
            let at = db::now(conn).await?;
            insert(conn, text.parse().map_err(Error::internal)?).await?;
            Ok(at)
        })
        .await
    });
    task.await.expect("no panic").expect("committed");
}

fn migrator(sql: &'static str) -> Migrator {
    let kind = MigrationType::Simple;
    let migration = Migration::new(1, "tables".into(), kind, sql.into_sql_str(), false);
    Migrator::with_migrations(vec![migration])
}

#[tokio::test]
async fn tables_wait_for_those_that_they_refer_to() {
    let database = Database::new().await;
    let catalog = db::open(&DbConfig::new(database.catalog_url(), ROLE)).expect("a URL");
    let execution =
        db::open(&DbConfig::new(database.execution_url(), "wfp_execution")).expect("a URL");
    let first = || {
        migrator(
            "create table catalog.a (id int primary key); grant references on catalog.a to wfp_execution",
        )
    };
    let second = migrator("create table execution.b (id int references catalog.a (id))");
    let waiting =
        tokio::spawn(
            async move { db::migrate(&execution, "execution.test_migrations", second).await },
        );
    let mut other = PgConnection::connect(&database.admin_url())
        .await
        .expect("reachable");
    // Its bookkeeping table shows that it has tried.
    let tried = "select count(*) from pg_tables where tablename = 'test_migrations'";
    while number(&mut other, tried).await == 0 {
        tokio::task::yield_now().await;
    }
    assert!(!waiting.is_finished());
    db::migrate(&catalog, "catalog.test_migrations", first())
        .await
        .expect("the other one does not hold the lock");
    let done = tokio::time::timeout(Duration::from_secs(20), waiting)
        .await
        .expect("in time");
    done.expect("no panic").expect("migrated");
    db::migrate(&catalog, "catalog.test_migrations", first())
        .await
        .expect("nothing left to do");

    let broken = migrator("create tabel x ()");
    let error = db::migrate(&catalog, "catalog.broken_migrations", broken)
        .await
        .expect_err("never right");
    assert_eq!(error.code(), Code::Internal);
}

#[tokio::test]
async fn bootstrap_may_run_often_at_once_and_without_superuser() {
    let folder = Folder::new();
    let options = Options {
        folder: folder.path().to_owned(),
        durability: Durability::Test,
        fetch: false,
    };
    let start = move || Postgres::start(&options, &|_| {});
    let postgres = tokio::task::spawn_blocking(start)
        .await
        .expect("no panic")
        .expect("started");
    let mut admin = PgConnection::connect(&postgres.url("postgres"))
        .await
        .expect("reachable");
    for statement in [
        "create role dba login createrole createdb",
        "create database one owner dba",
        "create database two owner dba",
    ] {
        admin.execute(statement).await.expect("prepared");
    }
    let starters: Vec<_> = (0..8)
        .map(|n| {
            let url = postgres.url_as("dba", ["one", "two"][n % 2]);
            tokio::spawn(async move { bootstrap(&url).await })
        })
        .collect();
    for starter in starters {
        starter.await.expect("no panic").expect("done");
    }
    for service in SERVICES {
        let role: &'static str = Box::leak(format!("wfp_{service}").into_boxed_str());
        for url in [postgres.url_as("dba", "one"), postgres.url_as(role, "two")] {
            let pool = db::open(&DbConfig::new(url, role)).expect("a URL");
            let make = format!("create table {service}.mine (v int)");
            pool.execute(AssertSqlSafe(make))
                .await
                .expect("its own schema");
        }
        let own = PgConnection::connect(&postgres.url_as(role, "one")).await;
        let query = "select current_setting('lock_timeout') = '10s'";
        let limited: bool = sqlx::query_scalar(query)
            .fetch_one(&mut own.expect("reachable"))
            .await
            .expect("a row");
        assert!(limited);
    }
    let powerless = bootstrap(&postgres.url_as("wfp_catalog", "postgres")).await;
    assert_eq!(powerless.expect_err("refused").reason(), "BOOTSTRAP_DENIED");
    tokio::task::spawn_blocking(move || postgres.stop())
        .await
        .expect("stopped");
}
