//! WatchExecutions: many executions as they change. Invariant: what is sent is read from the tables when
//! the reader has room for it; commits of other replicas, and those that become visible out of order, are
//! seen by looking back further than a transaction lasts.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use chassis::input::Input;
use chassis::order::Run;
use chassis::{Error, Result, db};
use chrono::{DateTime, TimeDelta, Utc};
use model::status::ExecutionStatus;
use model::wire;
use proto::execution::v1 as pb;
use proto::execution::v1::watch_executions_response::Change;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;
use uuid::Uuid;

use super::{WAITING, run, send, wait};
use crate::rpc::submit::show;
use crate::state::Service;
use crate::store::executions::{self, Execution, Filter, Place};

type Sent = Result<pb::WatchExecutionsResponse, Status>;

/// Streams of one replica: each looks at up to [`FOLLOWED`] rows a second.
const STREAMS: usize = 50;
const MOST_IDS: usize = 100;
/// Executions of a workflow or a client that are followed; the newest ones.
const FOLLOWED: i64 = 1000;
/// Executions read at once: with metadata of the largest size still a bounded piece of memory.
const AT_ONCE: usize = 20;
/// Looks follow each other no faster.
const PAUSE: Duration = Duration::from_millis(500);
/// Executions that started as long ago are looked for again: their transactions may have lasted.
const LOOK_BACK: TimeDelta = TimeDelta::seconds(30);

/// The streams that are open at this replica.
pub struct Streams(Arc<Semaphore>);

impl Default for Streams {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(STREAMS)))
    }
}

/// What is known of an execution that is followed.
struct Known {
    started_at: DateTime<Utc>,
    /// As it was looked at last.
    revision: i64,
    /// Never changes again; remembered so that it is not taken for a new one.
    is_over: bool,
}

struct Watcher {
    service: Service,
    /// All of a workflow or a client; nothing if executions were named.
    scope: Option<Filter>,
    /// Empty: all.
    statuses: Vec<ExecutionStatus>,
    known: HashMap<Uuid, Known>,
    sender: mpsc::Sender<Sent>,
    /// Ends with the stream.
    _permit: OwnedSemaphorePermit,
}

/// Begins to follow executions.
pub async fn start(
    service: &Service,
    streams: &Streams,
    body: &pb::WatchExecutionsRequest,
) -> Result<ReceiverStream<Sent>> {
    let (ids, scope, statuses) = check(body)?;
    let permit = streams.0.clone().try_acquire_owned().map_err(|_| {
        let message = format!("{STREAMS} streams are open; one that ends makes room");
        Error::exhausted("TOO_MANY_WATCHES", message, Duration::from_secs(10))
    })?;
    let mut known = HashMap::new();
    if scope.is_none() {
        let mut conn = db::acquire(&service.pool).await?;
        for place in executions::revisions(&mut conn, &ids).await? {
            known.insert(place.id, Known::new(place));
        }
        if let Some(id) = ids.iter().find(|id| !known.contains_key(id)) {
            return Err(Error::not_found("execution", id));
        }
    }
    let (sender, receiver) = mpsc::channel(WAITING);
    let mut watcher = Watcher {
        service: service.clone(),
        scope,
        statuses,
        known,
        sender,
        _permit: permit,
    };
    let (own, told) = (service.clone(), watcher.sender.clone());
    let following = async move { watcher.follow().await };
    service.shutdown.tasks.spawn(run(own, told, following));
    Ok(ReceiverStream::new(receiver))
}

type Checked = (Vec<Uuid>, Option<Filter>, Vec<ExecutionStatus>);

fn check(body: &pb::WatchExecutionsRequest) -> Result<Checked> {
    let mut input = Input::new();
    if body.ids.len() > MOST_IDS {
        input.push("ids", format!("are more than {MOST_IDS}"));
    }
    let ids = body.ids.iter().take(MOST_IDS).enumerate();
    let ids: Vec<Uuid> = ids
        .map(|(at, id)| input.uuid(&format!("ids[{at}]"), id))
        .collect();
    let workflow_id = input.optional_uuid("workflow_id", &body.workflow_id);
    let client_id = input.optional_uuid("client_id", &body.client_id);
    let scopes = [
        ("ids", !body.ids.is_empty()),
        ("workflow_id", !body.workflow_id.is_empty()),
        ("client_id", !body.client_id.is_empty()),
    ];
    if scopes.iter().filter(|(_, is_given)| *is_given).count() != 1 {
        for (field, _) in scopes {
            input.push(
                field,
                "exactly one of ids, workflow_id and client_id is wanted",
            );
        }
    }
    let mut statuses = Vec::new();
    for (at, number) in body.statuses.iter().enumerate().take(MOST_IDS) {
        let status = pb::ExecutionStatus::try_from(*number).ok();
        let word = status.map(|status| status.as_str_name());
        let word = word.and_then(|word| word.strip_prefix("EXECUTION_STATUS_"));
        match word.and_then(ExecutionStatus::parse) {
            Some(status) => statuses.push(status),
            None => input.push(format!("statuses[{at}]"), "is not a status"),
        }
    }
    input.finish()?;
    let scope = body.ids.is_empty().then(|| Filter {
        workflow_id,
        client_id,
        ..Filter::default()
    });
    Ok((ids, scope, statuses))
}

impl Known {
    /// Not yet told.
    fn new(place: Place) -> Self {
        Self {
            started_at: place.started_at,
            revision: 0,
            is_over: false,
        }
    }
}

impl Watcher {
    /// Sends for as long as something may still change.
    async fn follow(&mut self) -> Result<()> {
        let mut changes = self.service.changes.clone();
        let began = self.begin().await?;
        self.send_changed().await?;
        self.send(Change::CaughtUpAt(wire::timestamp(began)))
            .await?;
        while self.scope.is_some() || self.known.values().any(|known| !known.is_over) {
            wait(&mut changes, PAUSE).await;
            self.find_new().await?;
            self.send_changed().await?;
        }
        Ok(())
    }

    /// Takes up what is open. What is over already, and would look new, is known but not told.
    async fn begin(&mut self) -> Result<DateTime<Utc>> {
        let mut conn = db::acquire(&self.service.pool).await?;
        let now = db::now(&mut conn).await?;
        drop(conn);
        let Some(scope) = self.scope.clone() else {
            return Ok(now);
        };
        let open = Filter {
            is_open: true,
            ..scope
        };
        let open = self.places(&open).await?;
        for place in self.places(&self.young(now)).await? {
            let known = Known {
                // What began later and is over already is a change.
                is_over: place.is_over && place.started_at < now,
                ..Known::new(place)
            };
            self.known.insert(place.id, known);
        }
        for place in open {
            self.known.insert(place.id, Known::new(place));
        }
        Ok(now)
    }

    async fn find_new(&mut self) -> Result<()> {
        if self.scope.is_none() {
            return Ok(());
        }
        let mut conn = db::acquire(&self.service.pool).await?;
        let now = db::now(&mut conn).await?;
        drop(conn);
        for place in self.places(&self.young(now)).await? {
            self.known
                .entry(place.id)
                .or_insert_with(|| Known::new(place));
        }
        // Twice as far back, so that nothing is forgotten that could be found again.
        let horizon = now - LOOK_BACK * 2;
        self.known
            .retain(|_, known| !known.is_over || known.started_at >= horizon);
        self.forget_oldest();
        Ok(())
    }

    /// Of the open ones, the oldest are too many.
    fn forget_oldest(&mut self) {
        let mut open: Vec<_> = self
            .known
            .iter()
            .filter(|(_, known)| !known.is_over)
            .map(|(id, known)| (known.started_at, *id))
            .collect();
        let surplus = open.len().saturating_sub(FOLLOWED as usize);
        if surplus > 0 {
            open.sort_unstable();
            for (_, id) in &open[..surplus] {
                self.known.remove(id);
            }
        }
    }

    /// What began lately.
    fn young(&self, now: DateTime<Utc>) -> Filter {
        let mut filter = self.scope.clone().unwrap_or_default();
        filter.started.from = Some(now - LOOK_BACK);
        filter
    }

    async fn places(&self, filter: &Filter) -> Result<Vec<Place>> {
        let mut listing = db::listing(&self.service.pool).await?;
        let newest_first = Run::Down(None);
        let places = executions::places(&mut listing, filter, newest_first, FOLLOWED);
        let places = places.collect::<sqlx::Result<Vec<_>>>().await?;
        listing.commit().await?;
        Ok(places)
    }

    /// Sends what has moved since it was looked at, the oldest first.
    async fn send_changed(&mut self) -> Result<()> {
        let open = self.known.iter().filter(|(_, known)| !known.is_over);
        let open: Vec<Uuid> = open.map(|(id, _)| *id).collect();
        if open.is_empty() {
            return Ok(());
        }
        let mut conn = db::acquire(&self.service.pool).await?;
        let mut found = executions::revisions(&mut conn, &open).await?;
        drop(conn);
        found.sort_unstable_by_key(|place| (place.started_at, place.id));
        let exist: HashMap<Uuid, i64> = found.iter().map(|it| (it.id, it.revision)).collect();
        // What has been purged does not change any more.
        self.known
            .retain(|id, known| known.is_over || exist.contains_key(id));
        found.retain(|place| self.known[&place.id].revision != place.revision);
        for places in found.chunks(AT_ONCE) {
            let ids: Vec<Uuid> = places.iter().map(|place| place.id).collect();
            let mut conn = db::acquire(&self.service.pool).await?;
            let mut rows = executions::get_all(&mut conn, &ids).await?;
            drop(conn);
            rows.sort_unstable_by_key(|row| (row.started_at, row.id));
            for row in rows {
                self.send_execution(row).await?;
            }
        }
        Ok(())
    }

    async fn send_execution(&mut self, row: Execution) -> Result<()> {
        let status = ExecutionStatus::parse(&row.status).expect("the enum type has the same words");
        if let Some(known) = self.known.get_mut(&row.id) {
            known.revision = row.revision;
            known.is_over = status.is_final();
        }
        if !self.statuses.is_empty() && !self.statuses.contains(&status) {
            return Ok(());
        }
        let execution = show(&self.service, row).await?;
        self.send(Change::Execution(execution)).await
    }

    async fn send(&self, change: Change) -> Result<()> {
        let message = pb::WatchExecutionsResponse {
            change: Some(change),
        };
        send(&self.sender, message).await
    }
}
