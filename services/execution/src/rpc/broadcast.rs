//! Signals to all that wait for one. Invariant: what is answered with OK is taken, or kept if that was asked for; a
//! broadcast counts only those that took it. One with a request id is for those that wait at the instant that is
//! kept with the id before anything is sent: a repetition goes on from there, and reaches nobody else.

use std::time::Duration;

use chassis::idempotency::RequestKey;
use chassis::{Error, Result, db};
use chrono::{DateTime, Utc};
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
use crate::store::load;
use crate::store::requests::{self, FirstCall};

/// Waits that a broadcast reaches with one read.
const AT_ONCE: i64 = 1000;
const LONGEST_TTL: Duration = Duration::from_secs(30 * 24 * 3600);
/// Signals that are kept, of one name and correlation and of all.
const MOST_OF_KEY: i64 = 100;
const MOST_OF_ALL: i64 = 100_000;

/// Deliveries of a broadcast, among the calls that are kept.
const DELIVER: &str = "Deliver";

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
    let signal = Broadcast {
        name,
        correlation: (!correlation.is_empty()).then_some(correlation),
        workflow_id,
        data: data.unwrap_or_default(),
    };
    let Some(key) = key else {
        let mut conn = db::acquire(&service.pool).await?;
        let now = db::now(&mut conn).await?;
        drop(conn);
        let delivered = deliver(service, &signal, (None, now)).await?;
        let Some(ttl) = ttl.filter(|_| delivered == 0) else {
            return Ok(told(delivered, None));
        };
        let kept = db::transaction(&service.pool, async move |conn| {
            keep(conn, &signal, ttl).await
        });
        return Ok(told(0, Some(kept.await?)));
    };
    let begun = begin(service, key).await?;
    let mut conn = db::acquire(&service.pool).await?;
    if let Some(told) = settled(&mut conn, begun.resource_id).await? {
        return Ok(told);
    }
    drop(conn);
    let reached = (Some(begun.resource_id), begun.created_at);
    deliver(service, &signal, reached).await?;
    settle(service, signal, ttl, begun.resource_id).await
}

fn told(delivered: i32, kept: Option<Uuid>) -> pb::BroadcastSignalResponse {
    let kept = kept.is_some();
    pb::BroadcastSignalResponse { delivered, kept }
}

/// Keeps the key and the instant of a call, or finds those of the first one. The broadcast's id is made here.
async fn begin(service: &Service, key: RequestKey) -> Result<FirstCall> {
    db::transaction(&service.pool, async move |conn| {
        let first = requests::first_call(conn, &key).await?;
        let first = match first {
            Some(first) => first,
            None => {
                requests::keep_requests(conn, &[(&key, Uuid::now_v7())]).await?;
                // A concurrent repetition may have come first.
                let kept = requests::first_call(conn, &key).await?;
                kept.ok_or_else(|| Error::conflict("a concurrent repetition came first"))?
            }
        };
        match first.body_hash == key.body_hash {
            true => Ok(first),
            false => Err(RequestKey::reused()),
        }
    })
    .await
}

/// In whose name a broadcast tells branches: its deliveries are counted by it.
fn sender(id: Uuid) -> String {
    format!("broadcast:{id}")
}

/// Kept with the delivery to a wait, so that it takes the signal once.
fn delivery(id: Uuid, wait_id: Uuid) -> RequestKey {
    RequestKey {
        caller: sender(id),
        method: DELIVER,
        id: wait_id,
        // A broadcast says the same to all.
        body_hash: Vec::new(),
    }
}

/// Kept when all is sent, with the id of the signal that was kept.
fn end(id: Uuid) -> RequestKey {
    RequestKey {
        caller: sender(id),
        method: "EndBroadcast",
        id,
        body_hash: Vec::new(),
    }
}

/// What a broadcast came to, if it is over.
async fn settled(conn: &mut PgConnection, id: Uuid) -> Result<Option<pb::BroadcastSignalResponse>> {
    let Some(end) = requests::first_call(conn, &end(id)).await? else {
        return Ok(None);
    };
    let delivered = requests::count_calls(conn, &sender(id), DELIVER).await?;
    let kept = Some(end.resource_id).filter(|id| !id.is_nil());
    Ok(Some(told(delivered, kept)))
}

/// Brings the signal to those who have waited for it since before `now`, in the name of the broadcast if it has an
/// id; returns how many took it. Others are not reached: an execution in a loop would never be left alone.
async fn deliver(
    service: &Service,
    signal: &Broadcast,
    (id, now): (Option<Uuid>, DateTime<Utc>),
) -> Result<i32> {
    let mut delivered = 0;
    let mut after = None;
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
        for wait_id in waits {
            let committer = service.committer.clone();
            let command = Command {
                target: Target::Wait(wait_id),
                action: Action::Deliver(signal.data.clone()),
                request: id.map(|id| delivery(id, wait_id)),
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

/// Ends a broadcast: keeps the signal if it has a time to live and nobody has taken it.
async fn settle(
    service: &Service,
    signal: Broadcast,
    ttl: Option<Duration>,
    id: Uuid,
) -> Result<pb::BroadcastSignalResponse> {
    db::transaction(&service.pool, async move |conn| {
        // The same call may have been here meanwhile.
        if let Some(told) = settled(conn, id).await? {
            return Ok(told);
        }
        let delivered = requests::count_calls(conn, &sender(id), DELIVER).await?;
        let kept = match ttl.filter(|_| delivered == 0) {
            Some(ttl) => Some(keep(conn, &signal, ttl).await?),
            None => None,
        };
        let end = end(id);
        let rows = [(&end, kept.unwrap_or_default())];
        if requests::keep_requests(conn, &rows).await? == 0 {
            return Err(Error::conflict("a concurrent repetition came first"));
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
