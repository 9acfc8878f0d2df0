//! The way to PostgreSQL. A service works in its own role whatever it logs in as, and no connection
//! goes back to the pool with a transaction open: what another caller then writes would be lost.

mod loan;
mod watch;

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{AssertSqlSafe, Connection, PgConnection, PgPool};

use crate::BoxFuture;
use crate::error::{Error, Result, is_outage};

pub use loan::{Loan, Transaction};
pub use watch::watch;

/// How often a transaction is run before a conflict is reported to its caller.
const ATTEMPTS: u32 = 5;
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);
/// Longer than any statement lasts; a connection that is silent for so long is dead, whatever TCP believes.
const PATIENCE: Duration = Duration::from_secs(35);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// No statement, lock or forgotten transaction holds others up for longer. A role that we make has them
/// by itself; a session that only takes the role on sets them.
pub(crate) const SETTINGS: [(&str, &str); 3] = [
    ("statement_timeout", "30s"),
    ("lock_timeout", "10s"),
    ("idle_in_transaction_session_timeout", "30s"),
];

/// Where the database is and who we are there.
#[derive(Clone)]
pub struct DbConfig {
    pub url: String,
    /// The role to work in, e.g. `wfp_catalog`.
    pub role: &'static str,
    pub max_connections: u32,
}

impl DbConfig {
    pub fn new(url: impl Into<String>, role: &'static str) -> Self {
        Self {
            url: url.into(),
            role,
            max_connections: 16,
        }
    }
}

/// Without the password.
impl fmt::Debug for DbConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DbConfig")
            .field("role", &self.role)
            .field("max_connections", &self.max_connections)
            .finish_non_exhaustive()
    }
}

/// A pool that connects when it is first used; it fails only if the URL makes no sense.
pub fn open(config: &DbConfig) -> Result<PgPool> {
    let options = PgConnectOptions::from_str(&config.url)
        .map_err(|e| Error::precondition("DATABASE_URL_INVALID", format!("database URL: {e}")))?
        .application_name(config.role)
        .options(SETTINGS);
    let role = config.role;
    Ok(PgPoolOptions::new()
        .max_connections(config.max_connections)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .after_connect(move |conn, _| Box::pin(take_role(conn, role)))
        .connect_lazy_with(options))
}

/// A connection of the pool; fails after 5 s if none is free.
pub fn acquire(pool: &PgPool) -> BoxFuture<'_, Result<Loan>> {
    Box::pin(async { Ok(Loan::of(pool.acquire().await?)) })
}

/// Gives work that only waits for the database up when it must be waiting in vain: a peer that vanished without a word
/// never answers. Loops, which nobody else cuts short, do all their work so; `transaction` does by itself.
pub async fn patiently<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    match tokio::time::timeout(PATIENCE, work).await {
        Ok(done) => done,
        Err(_) => Err(Error::database_unavailable()),
    }
}

/// A transaction that sees one state of the database throughout and changes nothing: for answers that
/// are put together from several statements.
pub fn snapshot(pool: &PgPool) -> BoxFuture<'_, Result<Transaction>> {
    const BEGIN: &str = "begin isolation level repeatable read, read only";
    Box::pin(async { Ok(Transaction::begin(acquire(pool).await?, BEGIN).await?) })
}

/// A transaction that finds every row by its key. Its statements are planned once, and never as a walk over a table: one
/// that was small, or whose statistics are old, would make that look cheap, and grow.
pub fn keyed(pool: &PgPool) -> BoxFuture<'_, Result<Transaction>> {
    Box::pin(async { Ok(Transaction::begin(acquire(pool).await?, BEGIN_KEYED).await?) })
}

const BEGIN_KEYED: &str = "begin; set local plan_cache_mode = force_generic_plan; \
                           set local enable_seqscan = off; set local enable_hashjoin = off; \
                           set local enable_mergejoin = off";

/// As [`snapshot`], for lists: each statement is planned for the values at hand. Optional restrictions
/// make a plan for all values one that walks the whole table.
pub fn listing(pool: &PgPool) -> BoxFuture<'_, Result<Transaction>> {
    const BEGIN: &str = "begin isolation level repeatable read, read only; \
                         set local plan_cache_mode = force_custom_plan";
    Box::pin(async { Ok(Transaction::begin(acquire(pool).await?, BEGIN).await?) })
}

async fn take_role(conn: &mut PgConnection, role: &'static str) -> Result<(), sqlx::Error> {
    let already: bool = sqlx::query_scalar("-- chassis.current_role\nselect current_user = $1")
        .bind(role)
        .fetch_one(&mut *conn)
        .await?;
    if !already {
        // The role is a constant of the service: nobody else's text gets into this statement.
        let statement = AssertSqlSafe(format!("set role {role}"));
        sqlx::query(statement).execute(conn).await?;
    }
    Ok(())
}

/// Brings the service's own tables up to date and records in `done`, a table of its own schema, what was
/// done. Waits while the database is away, or while what they refer to is missing: another service makes
/// that, or `bootstrap`.
pub fn migrate<'a>(
    pool: &'a PgPool,
    done: &'static str,
    mut migrations: Migrator,
) -> BoxFuture<'a, Result<()>> {
    migrations.dangerous_set_table_name(done);
    Box::pin(async move { migrate_patiently(pool, &migrations).await })
}

async fn migrate_patiently(pool: &PgPool, migrator: &Migrator) -> Result<()> {
    let mut pause = FIRST_PAUSE;
    loop {
        match migrate_once(pool, migrator).await {
            Ok(()) => return Ok(()),
            // Services that start together wait for each other for a moment: that is nobody's concern.
            Err(error) if is_premature(&error) && pause < LONGEST_PAUSE => {
                tracing::info!(%error, "waiting for what the tables need");
            }
            Err(error) if is_premature(&error) => {
                tracing::warn!(%error, "still waiting for what the tables need");
            }
            Err(error) => return Err(Error::internal(error)),
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

async fn migrate_once(pool: &PgPool, migrator: &Migrator) -> Result<(), MigrateError> {
    // A failed run leaves the migration lock with its session: the connection ends with the attempt.
    let mut conn = pool.acquire().await?;
    conn.close_on_drop();
    sqlx::query("-- chassis.unlimited_statements\nset statement_timeout = 0")
        .execute(&mut *conn)
        .await?;
    sqlx::query("-- chassis.unlimited_lock_waits\nset lock_timeout = 0")
        .execute(&mut *conn)
        .await?;
    let done = migrator.run_direct(None, &mut *conn, false).await;
    conn.close().await?;
    done
}

fn is_premature(error: &MigrateError) -> bool {
    let (MigrateError::Execute(cause) | MigrateError::ExecuteMigration(cause, _)) = error else {
        return false;
    };
    match cause.as_database_error().and_then(|e| e.code()) {
        // No such table, schema, role; no right to refer to it yet.
        Some(state) => {
            matches!(
                state.as_ref(),
                "42P01" | "3F000" | "42704" | "42501" | "22023"
            ) || is_outage(&state)
        }
        None => !matches!(
            cause,
            sqlx::Error::Protocol(_) | sqlx::Error::Configuration(_)
        ),
    }
}

/// Runs `work` in a transaction and commits it if it succeeds. Whatever `work` does may be done again:
/// a transaction that the database gives up in favour of others is repeated a few times.
///
/// `work` owns what it needs (`async move |conn| …`): one that borrows from its surroundings does not
/// compile inside of a handler, whose future has to be `Send`.
pub async fn transaction<T>(
    pool: &PgPool,
    work: impl AsyncFnMut(&mut PgConnection) -> Result<T>,
) -> Result<T> {
    repeat(pool, "begin", work).await
}

/// As [`transaction`], with what [`keyed`] promises.
pub async fn keyed_transaction<T>(
    pool: &PgPool,
    work: impl AsyncFnMut(&mut PgConnection) -> Result<T>,
) -> Result<T> {
    repeat(pool, BEGIN_KEYED, work).await
}

async fn repeat<T>(
    pool: &PgPool,
    begin: &'static str,
    mut work: impl AsyncFnMut(&mut PgConnection) -> Result<T>,
) -> Result<T> {
    let mut attempt = 1;
    loop {
        let mut lent = Lent {
            conn: acquire(pool).await?,
            clean: false,
        };
        match patiently(lent.run(begin, &mut work)).await {
            Err(error) if error.is_conflict() && attempt < ATTEMPTS => {
                tokio::time::sleep(Duration::from_millis(5) * attempt * attempt).await;
                attempt += 1;
            }
            done => return done,
        }
    }
}

/// A connection that ends with the loan, unless its transaction is known to have ended.
struct Lent {
    conn: Loan,
    clean: bool,
}

impl Lent {
    async fn run<T>(
        &mut self,
        begin: &'static str,
        work: &mut impl AsyncFnMut(&mut PgConnection) -> Result<T>,
    ) -> Result<T> {
        let mut transaction = self.conn.begin_with(begin).await?;
        let done = work(&mut transaction).await;
        let ended = match done {
            Ok(_) => {
                crate::fail_point!("transaction.before_commit");
                transaction.commit().await
            }
            Err(_) => transaction.rollback().await,
        };
        self.clean = ended.is_ok();
        let value = done?;
        ended?;
        crate::fail_point!("transaction.after_commit");
        Ok(value)
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if !self.clean {
            self.conn.close_on_drop();
        }
    }
}

/// The time everybody agrees on: the database's, at this very moment.
pub async fn now(conn: &mut PgConnection) -> Result<DateTime<Utc>> {
    let now = sqlx::query_scalar("-- chassis.now\nselect clock_timestamp()")
        .fetch_one(conn)
        .await?;
    Ok(now)
}
