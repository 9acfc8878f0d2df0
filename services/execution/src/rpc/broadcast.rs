//! Signals to all that wait for one. Invariant: what is answered with OK is taken, or kept if that was asked for; a
//! broadcast counts only those that took it.

use std::time::Duration;

use chassis::idempotency::RequestKey;
use chassis::{Error, Result, db};
use model::json::INPUT;
use proto::execution::v1 as pb;
use serde_json::{Map, Value};
use sqlx::PgConnection;
use sqlx::types::Json;
use tokio::task::JoinSet;
use tonic::{Code, Request};
use uuid::Uuid;

use super::Change;
use super::signals::NAME;
use crate::committer::{self, Action, Command, Target};
use crate::state::Service;
use crate::store::commands::{self, NewCommands};
use crate::store::kept_signals::{self, KeptSignal};
use crate::store::{load, requests};

/// Waits that a broadcast reaches with one read.
const AT_ONCE: i64 = 1000;
const LONGEST_TTL: Duration = Duration::from_secs(30 * 24 * 3600);
/// Signals that are kept, of one name and correlation and of all.
const MOST_OF_KEY: i64 = 100;
const MOST_OF_ALL: i64 = 100_000;

/// A signal for whoever waits for it.
#[derive(Clone)]
struct Broadcast {
    name: String,
    correlation: Option<String>,
    workflow_id: Option<Uuid>,
    data: Map<String, Value>,
}

pub(super) async fn to_all(
    service: &Service,
    request: Request<pb::BroadcastSignalRequest>,
) -> Result<pb::BroadcastSignalResponse> {
    let mut call = Change::read(request, |body| &mut body.request_id)?;
    let name = call.input.text("name", &call.body.name, NAME);
    let (input, body) = (&mut call.input, &call.body);
    let correlation = input.text("correlation", &body.correlation, 0..=200);
    let workflow_id = input.optional_uuid("workflow_id", &body.workflow_id);
    let data = input.json("data", body.data.as_ref(), INPUT);
    let ttl = input.duration("ttl", body.ttl.as_ref());
    if ttl.is_some_and(|ttl| ttl.is_zero() || ttl > LONGEST_TTL) {
        input.push("ttl", "must be longer than none, and at most 30 days");
    }
    if ttl.is_some() && correlation.is_empty() {
        input.push("ttl", "only a signal with a correlation can be kept");
    }
    call.check()?;
    let key = RequestKey::from(
        &call.caller,
        "BroadcastSignal",
        &call.request_id,
        &call.body,
    )?;
    let mut conn = db::acquire(&service.pool).await?;
    if let Some(told) = earlier(&mut conn, key.as_ref()).await? {
        return Ok(told);
    }
    drop(conn);
    let signal = Broadcast {
        name,
        correlation: (!correlation.is_empty()).then_some(correlation),
        workflow_id,
        data: data.unwrap_or_default(),
    };
    let delivered = deliver(service, &signal).await?;
    let ttl = ttl.filter(|_| delivered == 0);
    if ttl.is_none() && key.is_none() {
        return Ok(told(delivered, None));
    }
    settle(service, signal, ttl, key, delivered).await
}

fn told(delivered: i32, kept: Option<Uuid>) -> pb::BroadcastSignalResponse {
    let kept = kept.is_some();
    pb::BroadcastSignalResponse { delivered, kept }
}

/// What an earlier call with this key came to.
async fn earlier(
    conn: &mut PgConnection,
    key: Option<&RequestKey>,
) -> Result<Option<pb::BroadcastSignalResponse>> {
    let Some(key) = key else { return Ok(None) };
    let found = requests::find_requests(conn, &[key]).await?;
    match found.into_iter().next() {
        None => Ok(None),
        Some(earlier) if earlier.body_hash != key.body_hash => Err(RequestKey::reused()),
        Some(earlier) => {
            let kept = Some(earlier.resource_id).filter(|id| !id.is_nil());
            Ok(Some(told(0, kept)))
        }
    }
}

/// Brings the signal to those who wait for it at this moment; returns how many took it.
async fn deliver(service: &Service, signal: &Broadcast) -> Result<i32> {
    let mut delivered = 0;
    let mut after = None;
    // Whoever comes to wait after this is not reached: an execution in a loop would never be left alone.
    let now = db::now(&mut *db::acquire(&service.pool).await?).await?;
    loop {
        let mut conn = db::acquire(&service.pool).await?;
        let correlation = signal.correlation.as_deref();
        let restriction = (signal.name.as_str(), correlation, signal.workflow_id);
        let waits = load::signal_waits(&mut conn, restriction, (now, after), AT_ONCE).await?;
        drop(conn);
        let Some(last) = waits.last() else {
            return Ok(delivered);
        };
        after = Some(*last);
        let mut sending = JoinSet::new();
        for id in waits {
            let committer = service.committer.clone();
            let command = Command {
                target: Target::Wait(id),
                action: Action::Deliver(signal.data.clone()),
                request: None,
                actor: Default::default(),
            };
            sending.spawn(async move { committer.submit(command).await });
        }
        for result in sending.join_all().await {
            match result {
                Ok(_) => delivered += 1,
                // It stopped waiting meanwhile, or has no room for the data.
                Err(error) if error.code() == Code::FailedPrecondition => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// Remembers the call, and keeps the signal if it has a time to live.
async fn settle(
    service: &Service,
    signal: Broadcast,
    ttl: Option<Duration>,
    key: Option<RequestKey>,
    delivered: i32,
) -> Result<pb::BroadcastSignalResponse> {
    db::transaction(&service.pool, async move |conn| {
        // The same call may have been here meanwhile.
        if let Some(told) = earlier(conn, key.as_ref()).await? {
            return Ok(told);
        }
        let kept = match ttl {
            Some(ttl) => Some(keep(conn, &signal, ttl).await?),
            None => None,
        };
        if let Some(key) = &key {
            let rows = [(key, kept.unwrap_or_default())];
            if requests::keep_requests(conn, &rows).await? == 0 {
                return Err(Error::conflict("a concurrent repetition came first"));
            }
        }
        Ok(told(delivered, kept))
    })
    .await
}

/// Keeps a signal for who will wait for it, or has begun to since it was looked for.
async fn keep(conn: &mut PgConnection, signal: &Broadcast, ttl: Duration) -> Result<Uuid> {
    let kept = KeptSignal {
        id: Uuid::now_v7(),
        name: signal.name.clone(),
        correlation: signal.correlation.clone().unwrap_or_default(),
        workflow_id: signal.workflow_id,
        data: Json(signal.data.clone()),
    };
    let key = (&[kept.name.clone()][..], &[kept.correlation.clone()][..]);
    kept_signals::lock_keys(conn, key.0, key.1).await?;
    let counts = kept_signals::count(conn, &kept, (MOST_OF_KEY, MOST_OF_ALL)).await?;
    if counts.of_key >= MOST_OF_KEY || counts.of_all >= MOST_OF_ALL {
        let message = format!(
            "{} signals of this name and correlation are kept already, of {MOST_OF_KEY}; {} of all, of {MOST_OF_ALL}",
            counts.of_key, counts.of_all
        );
        let later = Duration::from_secs(60);
        return Err(Error::exhausted("TOO_MANY_SIGNALS", message, later));
    }
    let now = db::now(&mut *conn).await?;
    kept_signals::keep(conn, &kept, now + ttl).await?;
    let row = NewCommands {
        id: vec![Uuid::now_v7()],
        kind: vec![committer::KEPT.to_owned()],
        execution_id: vec![kept.id],
        wait_id: vec![None],
        payload: vec![None],
        available_at: vec![now],
    };
    commands::insert_commands(conn, &row).await?;
    Ok(kept.id)
}
