//! AnalyzeWorkflow: reads histories into an analysis.
//! Invariant: reads one history after another and keeps none; stops as soon as nobody waits for the answer.

mod answer;

use std::sync::Arc;
use std::time::Duration;

use chassis::input::Input;
use chassis::server::CallerGone;
use chassis::{Error, Result, db};
use chrono::{DateTime, Utc};
use model::wire::timestamp;
use proto::execution::v1::HistoryRange;
use proto::reporting::v1::{AnalyzeWorkflowRequest, AnalyzeWorkflowResponse};
use sqlx::PgPool;
use tokio::sync::Semaphore;
use uuid::Uuid;

use crate::definitions::Definitions;
use crate::history::History;
use crate::insight::{Insight, Map};
use crate::names::Names;
use crate::store::started::{self, Range};

/// Executions that are looked at unless a request says otherwise.
const USUAL: i32 = 10_000;
const MOST: i32 = 100_000;
/// Executions of a range that are counted.
const MOST_COUNTED: i64 = 1_000_000;
/// Analyses at once: each may take some hundred megabytes.
const AT_ONCE: usize = 2;

/// Reads histories and says what they show.
#[derive(Debug)]
pub struct Analyst {
    pool: PgPool,
    history: History,
    definitions: Definitions,
    names: Names,
    room: Arc<Semaphore>,
}

/// Which executions are looked at.
struct Chosen {
    /// How many there are.
    total: i64,
    /// When the first of them started; None if there is no room but for all.
    from: Option<DateTime<Utc>>,
    /// Of those that started just then, so many are left out.
    surplus: i64,
    most: i64,
}

impl Analyst {
    pub fn new(pool: PgPool, history: History, definitions: Definitions, names: Names) -> Self {
        Self {
            pool,
            history,
            definitions,
            names,
            room: Arc::new(Semaphore::new(AT_ONCE)),
        }
    }

    pub async fn analyze(
        &self,
        request: AnalyzeWorkflowRequest,
    ) -> Result<AnalyzeWorkflowResponse> {
        let (range, most) = parse(&request)?;
        let Ok(_place) = self.room.try_acquire() else {
            let message = format!("{AT_ONCE} analyses are under way here; ask again");
            let pause = Duration::from_secs(5);
            return Err(Error::exhausted("TOO_MANY_ANALYSES", message, pause));
        };
        let gone = CallerGone::current().0;
        let read = gone.run_until_cancelled(self.read(range, most));
        let (chosen, insight) = read.await.unwrap_or_else(|| {
            let message = "nobody waits for the analysis any more";
            Err(Error::unavailable("CALLER_GONE", message))
        })?;
        let findings = insight.finish();
        let names = self.names.of(answer::ids(&findings).into_iter()).await;
        Ok(answer::of(findings, chosen.total, &names))
    }

    async fn read(&self, range: Range, most: i64) -> Result<(Chosen, Insight)> {
        let mut insight = Insight::new(self.current(range.workflow_id).await?);
        let mut chosen = db::patiently(self.choose(&range, most)).await?;
        let asked = HistoryRange {
            workflow_id: range.workflow_id.to_string(),
            started_from: chosen.from.or(range.from).map(timestamp),
            started_before: range.before.map(timestamp),
            ..HistoryRange::default()
        };
        let mut histories = self.history.clone().of_range(asked).await?;
        // The last execution, and whether it is looked at.
        let mut last = (Uuid::nil(), false);
        loop {
            let batch = histories.batch().await?;
            if batch.is_empty() {
                return Ok((chosen, insight));
            }
            for events in batch {
                if last.0 != events.execution_id {
                    if chosen.most == 0 {
                        return Ok((chosen, insight));
                    }
                    let is_chosen = chosen.take(events.started_at);
                    last = (events.execution_id, is_chosen);
                }
                let version = events.workflow_version;
                if last.1 && insight.asks_for(version) {
                    insight.learn(version, self.map(range.workflow_id, version).await);
                }
                if last.1 {
                    insight.add(Arc::unwrap_or_clone(events));
                }
            }
        }
    }

    /// The version that starts now, if the catalog can be asked.
    async fn current(&self, workflow_id: Uuid) -> Result<Option<(i32, Map)>> {
        match self.definitions.current(workflow_id).await {
            Ok(None) => Err(Error::not_found("workflow", workflow_id)),
            Ok(Some(version)) => {
                let map = self.map(workflow_id, version).await;
                Ok(map.map(|map| (version, map)))
            }
            Err(error) => {
                tracing::warn!(%error, "the catalog does not tell which version starts");
                Ok(None)
            }
        }
    }

    /// What a version has; None if it was never published, or the catalog cannot be asked.
    async fn map(&self, workflow_id: Uuid, version: i32) -> Option<Map> {
        let definition = self.definitions.of(workflow_id, version).await;
        let definition = definition
            .inspect_err(|error| tracing::warn!(%error, version, "a version is not told"));
        definition.ok().map(Map::of)
    }

    /// The latest executions of the range, as far as reports know of them.
    async fn choose(&self, range: &Range, most: i64) -> Result<Chosen> {
        let mut listing = db::listing(&self.pool).await?;
        let mut chosen = Chosen {
            total: started::count(&mut listing, range, MOST_COUNTED).await?,
            from: None,
            surplus: 0,
            most,
        };
        if chosen.total > most {
            chosen.from = started::latest(&mut listing, range, most - 1).await?;
            let from = Range {
                from: chosen.from,
                ..*range
            };
            chosen.surplus = started::count(&mut listing, &from, MOST_COUNTED).await? - most;
        }
        listing.commit().await?;
        Ok(chosen)
    }
}

impl Chosen {
    /// Whether an execution that started then is looked at; asked once of each, in the order of their starts.
    fn take(&mut self, started_at: DateTime<Utc>) -> bool {
        if self.surplus > 0 && self.from == Some(started_at) {
            self.surplus -= 1;
            return false;
        }
        self.most -= 1;
        true
    }
}

fn parse(request: &AnalyzeWorkflowRequest) -> Result<(Range, i64)> {
    let mut input = Input::new();
    let range = Range {
        workflow_id: input.uuid("workflow_id", &request.workflow_id),
        from: input.instant("started_from", request.started_from.as_ref()),
        before: input.instant("started_before", request.started_before.as_ref()),
    };
    if (range.from.zip(range.before)).is_some_and(|(from, before)| before <= from) {
        input.push("started_before", "must be later than started_from");
    }
    if !(0..=MOST).contains(&request.max_executions) {
        let description = format!("must be 1 to {MOST}, or 0 for {USUAL}");
        input.push("max_executions", description);
    }
    input.finish()?;
    let most = match request.max_executions {
        0 => USUAL,
        most => most,
    };
    Ok((range, i64::from(most)))
}
