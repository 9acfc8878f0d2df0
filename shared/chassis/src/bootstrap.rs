//! Makes what migrations take for granted: a role and a schema for each service, and the extension that
//! searching needs. May be run at any time, by several at once, and changes nothing that is already as it
//! should be.

use sqlx::{AssertSqlSafe, Connection, PgConnection};

use crate::db::SETTINGS;
use crate::error::{Error, Result};

/// The services; their roles are `wfp_<name>`, their schemas `<name>`.
pub const SERVICES: [&str; 3] = ["catalog", "execution", "reporting"];

/// "WFP" and then the year in which it was made up: nobody else's advisory lock.
const LOCK: i64 = 0x0057_4650_2026;

/// How often another bootstrap, in another database of the same server, may get in the way.
const ATTEMPTS: u32 = 10;

/// `url` has to belong to a superuser, or to a user who may create roles, and schemas in the database.
pub async fn bootstrap(url: &str) -> Result<()> {
    let mut attempt = 1;
    loop {
        match attempt_once(url).await {
            Err(error) if is_collision(&error) && attempt < ATTEMPTS => attempt += 1,
            done => return done.map_err(explain),
        }
    }
}

/// Roles belong to the server but the lock to one database, so two can still meet.
fn is_collision(error: &sqlx::Error) -> bool {
    let state = error.as_database_error().and_then(|e| e.code());
    // "tuple concurrently updated" has no better code than internal error.
    matches!(
        state.as_deref(),
        Some("42710" | "42P06" | "23505" | "XX000" | "40001" | "40P01")
    )
}

fn explain(error: sqlx::Error) -> Error {
    if let sqlx::Error::Configuration(fault) = &error {
        return Error::precondition("DATABASE_URL_INVALID", format!("database URL: {fault}"));
    }
    match error.as_database_error().and_then(|e| e.code()).as_deref() {
        Some("42501") => Error::precondition(
            "BOOTSTRAP_DENIED",
            format!("the database user may not create the roles, schemas and extension: {error}"),
        ),
        // Feature not supported; undefined file.
        Some("0A000" | "58P01") => Error::precondition(
            "EXTENSION_MISSING",
            format!("PostgreSQL lacks its contrib modules, of which pg_trgm is needed: {error}"),
        ),
        _ => error.into(),
    }
}

async fn attempt_once(url: &str) -> Result<(), sqlx::Error> {
    let mut conn = PgConnection::connect(url).await?;
    let mut transaction = conn.begin().await?;
    sqlx::query("-- chassis.bootstrap_lock\nselect pg_advisory_xact_lock($1)")
        .bind(LOCK)
        .execute(&mut *transaction)
        .await?;
    for service in SERVICES {
        let role = format!("wfp_{service}");
        ensure_role(&mut transaction, &role).await?;
        ensure_membership(&mut transaction, &role).await?;
        ensure_schema(&mut transaction, service, &role).await?;
    }
    ensure_extension(&mut transaction).await?;
    transaction.commit().await?;
    conn.close().await
}

async fn ensure_role(conn: &mut PgConnection, role: &str) -> Result<(), sqlx::Error> {
    let exists: bool = sqlx::query_scalar(
        "-- chassis.has_role\nselect exists (select from pg_roles where rolname = $1)",
    )
    .bind(role)
    .fetch_one(&mut *conn)
    .await?;
    if exists {
        // An operator's own settings stay.
        return Ok(());
    }
    run(conn, format!("create role {role} login")).await?;
    for (setting, value) in SETTINGS {
        run(conn, format!("alter role {role} set {setting} = '{value}'")).await?;
    }
    Ok(())
}

/// Without it, SET ROLE is refused to a user who is no superuser.
async fn ensure_membership(conn: &mut PgConnection, role: &str) -> Result<(), sqlx::Error> {
    let member: bool = sqlx::query_scalar(
        "-- chassis.may_take_role\n\
         select case when current_setting('server_version_num')::int >= 160000\n\
         then pg_has_role(current_user, $1, 'SET') else pg_has_role(current_user, $1, 'MEMBER') end",
    )
    .bind(role)
    .fetch_one(&mut *conn)
    .await?;
    if member {
        Ok(())
    } else {
        run(conn, format!("grant {role} to current_user")).await
    }
}

async fn ensure_schema(
    conn: &mut PgConnection,
    schema: &str,
    role: &str,
) -> Result<(), sqlx::Error> {
    let exists: bool = sqlx::query_scalar(
        "-- chassis.has_schema\nselect exists (select from pg_namespace where nspname = $1)",
    )
    .bind(schema)
    .fetch_one(&mut *conn)
    .await?;
    if exists {
        Ok(())
    } else {
        run(conn, format!("create schema {schema} authorization {role}")).await
    }
}

/// Trigrams, by which the catalog's lists are searched. Trusted: who may create schemas may create it.
async fn ensure_extension(conn: &mut PgConnection) -> Result<(), sqlx::Error> {
    let exists: bool = sqlx::query_scalar(
        "-- chassis.has_extension\nselect exists (select from pg_extension where extname = 'pg_trgm')",
    )
    .fetch_one(&mut *conn)
    .await?;
    if exists {
        Ok(())
    } else {
        run(conn, "create extension pg_trgm".to_owned()).await
    }
}

/// Names cannot be parameters; all of them are made from `SERVICES`.
async fn run(conn: &mut PgConnection, statement: String) -> Result<(), sqlx::Error> {
    let named = format!("-- chassis.bootstrap\n{statement}");
    sqlx::query(AssertSqlSafe(named)).execute(conn).await?;
    Ok(())
}
