//! The clients table. Invariant: a client that workflows or executions refer to is never deleted.

use chassis::{Error, Result};
use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::on_constraint;
use crate::fields::ClientFields;

mod list;

pub use list::{ClientFilter, ClientOrder, list};

/// A company for which workflows are run.
#[derive(Debug, Clone)]
pub struct Client {
    pub id: Uuid,
    pub fields: ClientFields,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
    pub revision: i64,
}

struct Row {
    id: Uuid,
    name: String,
    email: Option<String>,
    phone: Option<String>,
    address: Option<String>,
    company: Option<String>,
    notes: Option<String>,
    is_active: bool,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    revision: i64,
}

impl From<Row> for Client {
    fn from(row: Row) -> Self {
        Self {
            id: row.id,
            fields: ClientFields {
                name: row.name,
                email: row.email,
                phone: row.phone,
                address: row.address,
                company: row.company,
                notes: row.notes,
                is_active: row.is_active,
            },
            created_at: row.created_at,
            updated_at: row.updated_at,
            revision: row.revision,
        }
    }
}

pub async fn insert(conn: &mut PgConnection, id: Uuid, fields: &ClientFields) -> Result<()> {
    sqlx::query!(
        "-- catalog.insert_client
        insert into catalog.clients (id, name, email, phone, address, company, notes, is_active)
        values ($1, $2, $3, $4, $5, $6, $7, $8)",
        id,
        fields.name,
        fields.email,
        fields.phone,
        fields.address,
        fields.company,
        fields.notes,
        fields.is_active
    )
    .execute(conn)
    .await?;
    Ok(())
}

pub async fn get(conn: &mut PgConnection, id: Uuid) -> Result<Option<Client>> {
    let row = sqlx::query_as!(
        Row,
        "-- catalog.get_client
        select id, name, email, phone, address, company, notes, is_active, created_at, updated_at, revision
        from catalog.clients where id = $1",
        id
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(Client::from))
}

/// The same, and nobody else changes it until the transaction ends.
pub async fn lock(conn: &mut PgConnection, id: Uuid) -> Result<Option<Client>> {
    let row = sqlx::query_as!(
        Row,
        "-- catalog.lock_client
        select id, name, email, phone, address, company, notes, is_active, created_at, updated_at, revision
        from catalog.clients where id = $1 for no key update",
        id
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(Client::from))
}

/// The clients that have exactly this name: the first two, which is enough to know that one is not meant.
pub async fn find(conn: &mut PgConnection, name: &str) -> Result<Vec<Uuid>> {
    Ok(sqlx::query_scalar!(
        "-- catalog.find_clients
        select id from catalog.clients where name = $1 order by created_at, id limit 2",
        name
    )
    .fetch_all(conn)
    .await?)
}

pub async fn update(conn: &mut PgConnection, id: Uuid, fields: &ClientFields) -> Result<()> {
    sqlx::query!(
        "-- catalog.update_client
        update catalog.clients
        set name = $2, email = $3, phone = $4, address = $5, company = $6, notes = $7, is_active = $8
        where id = $1",
        id,
        fields.name,
        fields.email,
        fields.phone,
        fields.address,
        fields.company,
        fields.notes,
        fields.is_active
    )
    .execute(conn)
    .await?;
    Ok(())
}

pub async fn delete(conn: &mut PgConnection, id: Uuid) -> Result<()> {
    let in_use = |what: &str| {
        let message = format!("{what} refer to the client {id}; deactivate it instead");
        Error::precondition("CLIENT_IN_USE", message)
    };
    sqlx::query!(
        "-- catalog.delete_client
        delete from catalog.clients where id = $1",
        id
    )
    .execute(conn)
    .await
    .map_err(|error| {
        on_constraint(
            error,
            &[
                ("workflows_client_id_fkey", &|| in_use("workflows")),
                ("workflow_executions_client_id_fkey", &|| {
                    in_use("executions")
                }),
            ],
        )
    })?;
    Ok(())
}
