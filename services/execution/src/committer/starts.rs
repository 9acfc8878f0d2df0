//! What starts would run, found out before their transaction: nothing waits for the catalog inside one, and
//! only starts wait for it long.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use chassis::Error;
use tonic::Code;
use uuid::Uuid;

use super::{Pending, Shared};

/// How long a batch waits for the catalog. Starts that take longer come back when they are prepared, so that
/// a catalog that is silent stops nothing but them.
const GLANCE: Duration = Duration::from_millis(100);

/// Whether nothing is wrong with the commands: the database or the catalog is away.
pub(super) fn is_outage(error: &Error) -> bool {
    error.code() == Code::Unavailable
}

/// What of a batch may be written now: all of it, unless the catalog is slow.
pub(super) async fn ready(shared: &Arc<Shared>, batch: Vec<Pending>) -> Vec<Pending> {
    let (starts, mut batch): (Vec<_>, Vec<_>) =
        batch.into_iter().partition(Pending::asks_the_catalog);
    if starts.is_empty() {
        return batch;
    }
    let own = Arc::clone(shared);
    let mut preparing = Box::pin(async move { prepare(&own, starts).await });
    if let Ok(ready) = tokio::time::timeout(GLANCE, &mut preparing).await {
        batch.extend(ready);
        return batch;
    }
    let queue = shared.queue.clone();
    tokio::spawn(async move {
        for pending in preparing.await {
            queue.put_back(pending).await;
        }
    });
    batch
}

/// Whether a start that may not be goes on all the same.
fn is_kept(pending: &Pending, error: &Error) -> bool {
    if pending.row.is_some() {
        // The step that asked for it fails, unless that may change by itself.
        return matches!(error.code(), Code::NotFound | Code::FailedPrecondition);
    }
    // A repetition of a start that succeeded finds it, whatever the workflow has become since.
    pending.command.request.is_some() && !is_outage(error)
}

/// Finds out what starts would run; answers those that may not start.
async fn prepare(shared: &Shared, batch: Vec<Pending>) -> Vec<Pending> {
    let asked: HashSet<_> = batch.iter().filter_map(Pending::runs).collect();
    if asked.is_empty() {
        return batch;
    }
    let ids: HashSet<Uuid> = asked.iter().map(|(id, _)| *id).collect();
    let targets = shared
        .definitions
        .resolve_starts(ids.into_iter().collect())
        .await;
    let mut graphs = HashMap::new();
    for (id, pinned) in asked {
        let graph = match &targets {
            Err(error) => Err(error.clone()),
            Ok(targets) => match targets.get(&id) {
                None => Err(Error::not_found("workflow", id)),
                Some(target) => match target.check() {
                    Ok(()) => {
                        let version = pinned.unwrap_or(target.version);
                        shared.definitions.graph(id, version).await
                    }
                    Err(error) => Err(error),
                },
            },
        };
        graphs.insert((id, pinned), graph);
    }
    let mut ready = Vec::with_capacity(batch.len());
    for mut pending in batch {
        let graph = pending.runs().and_then(|runs| graphs.get(&runs).cloned());
        match graph {
            Some(Err(error)) if !is_kept(&pending, &error) => pending.answer(Err(error)),
            Some(Err(error)) => {
                pending.barred = Some(error);
                ready.push(pending);
            }
            Some(Ok(graph)) => {
                pending.graph = Some(graph);
                ready.push(pending);
            }
            None => ready.push(pending),
        }
    }
    ready
}
