//! What starts would run, found out before their transaction: nothing waits for the catalog inside one, and
//! only starts wait for it long.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use chassis::Error;
use uuid::Uuid;

use super::{Pending, Shared, Target, stopping};

/// How long a batch waits for the catalog. Starts that take longer come back when they are prepared, so that
/// a catalog that is silent stops nothing but them.
const GLANCE: Duration = Duration::from_millis(100);

/// Whether nothing is wrong with the commands: the database or the catalog is away.
pub(super) fn is_outage(error: &Error) -> bool {
    error.code() == tonic::Code::Unavailable
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
            if let Err(refused) = queue.send(pending).await {
                refused.0.answer(Err(stopping()));
            }
        }
    });
    batch
}

/// Finds out what starts would run; answers those that may not start.
async fn prepare(shared: &Shared, batch: Vec<Pending>) -> Vec<Pending> {
    let asked: HashSet<_> = batch.iter().filter_map(runs).collect();
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
        let graph = runs(&pending).and_then(|runs| graphs.get(&runs).cloned());
        match graph {
            // A repetition of a start that succeeded finds it, whatever the workflow has become since.
            Some(Err(error)) if pending.command.request.is_none() || is_outage(&error) => {
                pending.answer(Err(error));
            }
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

/// The workflow that a command starts an execution of, and the version if it is not the current one.
fn runs(pending: &Pending) -> Option<(Uuid, Option<i32>)> {
    match &pending.command.target {
        Target::New(new) if new.simulated.is_none() => {
            Some((new.workflow_id, new.origin.version()))
        }
        _ => None,
    }
}
