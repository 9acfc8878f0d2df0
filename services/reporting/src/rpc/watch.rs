//! WatchReports: reports as they change. Invariant: one statement a second tells what has changed, and only that is read
//! and sent.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use chassis::filter::Filter;
use chassis::order::Run;
use chassis::{Result, Shutdown, db};
use model::wire::timestamp;
use proto::reporting::v1::watch_reports_response::Change;
use proto::reporting::v1::{WatchReportsRequest, WatchReportsResponse};
use sqlx::PgPool;
use uuid::Uuid;

use super::reports::{FILTER, selected, to_proto};
use super::streams::{Reader, Room, Sent, open};
use crate::store;
use crate::store::reports::Report;

/// Streams of one replica: each asks once a second.
pub const WATCHES: usize = 256;
/// Reports that one of them follows.
const FOLLOWED: i64 = 100;
/// Reports read at once: with metrics of the largest size still a bounded piece of memory.
const AT_ONCE: usize = 20;
/// Looks follow each other no faster.
const PAUSE: Duration = Duration::from_secs(1);

struct Watcher {
    pool: PgPool,
    filter: Filter,
    reader: Reader<WatchReportsResponse>,
    known: HashMap<Uuid, Known>,
}

/// A report as it was sent last.
struct Known {
    mark: String,
    content: u64,
}

/// Begins to follow reports.
pub fn start(
    pool: &PgPool,
    shutdown: &Shutdown,
    room: &Room,
    request: &WatchReportsRequest,
) -> Result<Sent<WatchReportsResponse>> {
    let filter = Filter::parse(&request.filter, FILTER)?;
    let pool = pool.clone();
    let follow = |reader| async move {
        let known = HashMap::new();
        let mut watcher = Watcher {
            pool,
            filter,
            reader,
            known,
        };
        watcher.follow().await
    };
    Ok(open(shutdown, room.enter()?, follow))
}

impl Watcher {
    async fn follow(&mut self) -> Result<()> {
        let began = db::patiently(async {
            let mut conn = db::acquire(&self.pool).await?;
            db::now(&mut conn).await
        });
        let began = began.await?;
        self.send_changed().await?;
        self.send(Change::CaughtUpAt(timestamp(began))).await?;
        loop {
            tokio::time::sleep(PAUSE).await;
            self.send_changed().await?;
        }
    }

    async fn send_changed(&mut self) -> Result<()> {
        let places = db::patiently(self.look()).await?;
        let mut earlier = std::mem::take(&mut self.known);
        let mut changed = Vec::new();
        for place in places {
            let known = earlier.remove(&place.id);
            if known.as_ref().is_none_or(|known| known.mark != place.mark) {
                changed.push(place.id);
            }
            let content = known.map_or(0, |known| known.content);
            let known = Known {
                mark: place.mark,
                content,
            };
            self.known.insert(place.id, known);
        }
        for ids in changed.chunks(AT_ONCE) {
            self.send_all(ids).await?;
        }
        Ok(())
    }

    async fn look(&self) -> Result<Vec<store::watched::Place>> {
        let mut listing = db::listing(&self.pool).await?;
        let query = selected(&self.filter, Run::Down(None), FOLLOWED);
        let places = store::watched::latest(&mut listing, &query).await?;
        listing.commit().await?;
        Ok(places)
    }

    /// What is there of them by now, if it is not what was sent last.
    async fn send_all(&mut self, ids: &[Uuid]) -> Result<()> {
        let read = db::patiently(async {
            let mut conn = db::acquire(&self.pool).await?;
            let complete_through = store::watermark::read(&mut conn).await?;
            Ok((
                complete_through,
                store::watched::get_all(&mut conn, ids).await?,
            ))
        });
        let (complete_through, reports) = read.await?;
        for report in reports {
            let content = content(&report);
            if let Some(known) = self.known.get_mut(&report.id) {
                if known.content == content {
                    continue;
                }
                known.content = content;
            }
            let report = to_proto(report, complete_through);
            self.send(Change::Report(report)).await?;
        }
        Ok(())
    }

    async fn send(&self, change: Change) -> Result<()> {
        let message = WatchReportsResponse {
            change: Some(change),
        };
        self.reader.send(message).await
    }
}

/// Tells a report from what it was before: a row may be written anew with what it held.
fn content(report: &Report) -> u64 {
    let mut hasher = DefaultHasher::new();
    let Report {
        execution_id,
        metrics,
        period_end,
        ..
    } = report;
    (execution_id, metrics.to_string(), period_end).hash(&mut hasher);
    // 0 stands for nothing sent.
    hasher.finish().max(1)
}
