//! The catalog's calls: from the wire into the platform's own types, and back. Invariant: nothing below
//! here knows of requests, and every malformed field is refused before the database is asked.

pub mod api_keys;
pub mod audit;
pub mod auth;
pub mod clients;
pub mod definitions;
pub mod identity;
pub mod users;
pub mod workflows;

use chassis::auth::Caller;
use chassis::page::Page;
use chassis::{Error, Result};
use prost::Message;
use sqlx::PgConnection;
use tonic::{Response, Status};
use uuid::Uuid;

use crate::store;

type Answer<T> = Result<Response<T>, Status>;

/// Clients accept messages of 4 MiB; a page stays well below, however long its texts are.
pub(crate) const PAGE_BYTES: usize = 3 * 1024 * 1024;

/// A message without which the request says nothing.
fn present<T>(field: &str, message: Option<T>) -> Result<T> {
    message.ok_or_else(|| Error::invalid(field, "is required"))
}

/// Refuses a change that was decided upon another state. Without an etag, any state will do.
fn check_etag(kind: &'static str, etag: &str, revision: i64) -> Result<()> {
    if etag.is_empty() || etag == revision.to_string() {
        return Ok(());
    }
    Err(Error::stale_etag(kind))
}

/// Refuses to change what was fixed at creation; saying it again does no harm. `stored` is in lower case.
fn check_fixed(field: &str, wanted: &str, stored: &str) -> Result<()> {
    if wanted.is_empty() || wanted.to_lowercase() == stored {
        return Ok(());
    }
    Err(Error::invalid(
        field,
        format!("is fixed: it stays {stored:?}"),
    ))
}

/// The person or the API key to whom a change is put down.
/// Refuses an administrator whose role or session has ended since this replica last asked: what they change
/// now could undo that.
async fn still_admin(conn: &mut PgConnection, caller: &Caller) -> Result<()> {
    let Caller::User(user) = caller else {
        return Ok(());
    };
    if store::users::is_admin_now(conn, user.id, user.session_id).await? {
        return Ok(());
    }
    let message = "the caller is no administrator any more";
    Err(Error::denied("ADMIN_REQUIRED", message))
}

fn author(caller: &Caller) -> Option<Uuid> {
    match caller {
        Caller::User(user) => Some(user.id),
        Caller::ApiKey(key) => Some(key.id),
        Caller::Internal(_) => None,
    }
}

/// What fits into a page of rows read with `limit + 1`, and the token of the next one.
fn fit<R, M: Message>(
    page: &Page,
    rows: Vec<R>,
    token: impl Fn(&R) -> String,
    message: impl Fn(R) -> M,
) -> (Vec<M>, String) {
    let limit = usize::try_from(page.limit).unwrap_or(usize::MAX);
    let more = rows.len() > limit;
    let mut messages = Vec::new();
    let mut last = String::new();
    let mut bytes = 0;
    for row in rows.into_iter().take(limit) {
        let next = token(&row);
        let message = message(row);
        bytes += message.encoded_len();
        if bytes > PAGE_BYTES && !messages.is_empty() {
            return (messages, last);
        }
        messages.push(message);
        last = next;
    }
    (messages, if more { last } else { String::new() })
}
