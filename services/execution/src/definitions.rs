//! Published definitions as the engine runs them. Invariant: a version never changes, so what is cached
//! or stored here is never invalidated; what may change (status, current version) is asked afresh.

use std::collections::{HashMap, HashSet};
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex};

use chassis::client::Peer;
use chassis::{Error, Result, db};
use model::definition::Definition;
use model::graph::Graph;
use model::kind::StepType;
use model::status::WorkflowStatus;
use proto::catalog::v1 as pb;
use proto::catalog::v1::definition_service_client::DefinitionServiceClient;
use serde_json::Value;
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use crate::store::load;

/// Parsed graphs kept in memory.
const CACHED: NonZeroUsize = NonZeroUsize::new(1000).expect("not zero");
/// Settings that every step understands, but did not from the beginning.
const LATER: [&str; 5] = ["onFailure", "compensate", "lock", "cancels", "target"];

/// What a start depends on, as the catalog says at this moment.
#[derive(Debug, Clone)]
pub struct StartTarget {
    pub version: i32,
    pub status: WorkflowStatus,
    pub client_is_active: bool,
}

impl StartTarget {
    /// Passes if executions may start now.
    pub fn check(&self) -> Result<()> {
        if self.status != WorkflowStatus::Active {
            let message = format!(
                "the workflow is {}; only ACTIVE ones can start",
                self.status
            );
            return Err(Error::precondition("WORKFLOW_NOT_ACTIVE", message));
        }
        if !self.client_is_active {
            let message = "the workflow's client is not active";
            return Err(Error::precondition("CLIENT_INACTIVE", message));
        }
        Ok(())
    }
}

/// Parsed versions by workflow and number.
type Graphs = lru::LruCache<(Uuid, i32), Arc<Graph>>;

/// A cheap handle.
#[derive(Clone)]
pub struct Definitions {
    pool: PgPool,
    catalog: DefinitionServiceClient<Peer>,
    graphs: Arc<Mutex<Graphs>>,
}

impl Definitions {
    pub fn new(pool: PgPool, catalog: Peer) -> Self {
        Self {
            pool,
            catalog: DefinitionServiceClient::new(catalog),
            graphs: Arc::new(Mutex::new(lru::LruCache::new(CACHED))),
        }
    }

    /// A published version: from memory, this service's table, or the catalog.
    pub async fn graph(&self, workflow_id: Uuid, version: i32) -> Result<Arc<Graph>> {
        if let Some(graph) = self.cached(workflow_id, version) {
            return Ok(graph);
        }
        // A catalog that is silent must not take the connections from those who do without it.
        let stored = db::patiently(async {
            let mut conn = db::acquire(&self.pool).await?;
            self.stored(&mut conn, workflow_id, version).await
        });
        if let Some(graph) = stored.await? {
            return Ok(graph);
        }
        let definition = self.fetch(workflow_id, version).await?;
        let kept = db::patiently(async {
            let mut conn = db::acquire(&self.pool).await?;
            let kept = load::keep_definition(&mut conn, workflow_id, version, &definition);
            Ok(kept.await?)
        });
        kept.await?;
        self.parse(workflow_id, version, definition)
    }

    /// A version that executions already run, read inside the caller's transaction.
    pub async fn pinned(
        &self,
        conn: &mut PgConnection,
        workflow_id: Uuid,
        version: i32,
    ) -> Result<Arc<Graph>> {
        if let Some(graph) = self.cached(workflow_id, version) {
            return Ok(graph);
        }
        let stored = self.stored(conn, workflow_id, version).await?;
        stored.ok_or_else(|| {
            Error::internal(format!("no definition {workflow_id} version {version}"))
        })
    }

    /// The working copy, which must validate.
    pub async fn working_copy(&self, workflow_id: Uuid) -> Result<Arc<Graph>> {
        let definition = self.fetch(workflow_id, 0).await?;
        parse(definition).map(Arc::new)
    }

    /// What decides whether executions of these workflows may start now. Unknown ones are left out.
    pub async fn resolve_starts(&self, ids: Vec<Uuid>) -> Result<HashMap<Uuid, StartTarget>> {
        let request = pb::ResolveStartsRequest {
            workflow_ids: ids.iter().map(Uuid::to_string).collect(),
        };
        let answer = self.catalog.clone().resolve_starts(request).await?;
        let targets = answer.into_inner().targets.into_iter();
        targets
            .map(|target| {
                let id = target.workflow_id.parse().map_err(Error::internal)?;
                let status = WorkflowStatus::parse(&target.status)
                    .ok_or_else(|| Error::internal("the catalog sent an unknown status"))?;
                let target = StartTarget {
                    version: target.version,
                    status,
                    client_is_active: target.client_is_active,
                };
                Ok((id, target))
            })
            .collect()
    }

    /// The current version of a workflow, if executions of it may start now.
    pub async fn startable(&self, id: Uuid) -> Result<i32> {
        let targets = self.resolve_starts(vec![id]).await?;
        let target = targets.get(&id);
        let target = target.ok_or_else(|| Error::not_found("workflow", id))?;
        target.check()?;
        Ok(target.version)
    }

    fn cached(&self, workflow_id: Uuid, version: i32) -> Option<Arc<Graph>> {
        let mut graphs = self.graphs.lock().expect("no holder of this lock panics");
        graphs.get(&(workflow_id, version)).cloned()
    }

    async fn stored(
        &self,
        conn: &mut PgConnection,
        workflow_id: Uuid,
        version: i32,
    ) -> Result<Option<Arc<Graph>>> {
        match load::definition(conn, workflow_id, version).await? {
            Some(definition) => self.parse(workflow_id, version, definition).map(Some),
            None => Ok(None),
        }
    }

    async fn fetch(&self, workflow_id: Uuid, version: i32) -> Result<Value> {
        let request = pb::GetSnapshotRequest {
            workflow_id: workflow_id.to_string(),
            version,
        };
        let answer = self.catalog.clone().get_snapshot(request).await?;
        serde_json::from_str(&answer.into_inner().definition_json).map_err(Error::internal)
    }

    fn parse(&self, workflow_id: Uuid, version: i32, definition: Value) -> Result<Arc<Graph>> {
        let graph = Arc::new(parse(definition)?);
        let mut graphs = self.graphs.lock().expect("no holder of this lock panics");
        graphs.put((workflow_id, version), graph.clone());
        Ok(graph)
    }
}

/// Reads a published definition. One that was published by an earlier release must go on to run: a key of a job's
/// config that meant nothing then, and that the settings of today would refuse, means nothing still.
fn parse(definition: Value) -> Result<Graph> {
    let mut definition: Definition = serde_json::from_value(definition).map_err(Error::internal)?;
    let problems = match Graph::parse(definition.clone()) {
        Ok((graph, _)) => return Ok(graph),
        Err(problems) => problems,
    };
    for step in &mut definition.steps {
        if StepType::of(&step.step_type).is_job() {
            let config = format!("steps[{}].config.", Value::from(step.name.as_str()));
            let said: HashSet<&str> = (problems.iter())
                .filter_map(|problem| problem.path.strip_prefix(&config))
                .filter_map(|path| path.split(['.', '[']).next())
                .filter(|key| LATER.contains(key))
                .collect();
            said.iter().for_each(|key| drop(step.config.remove(*key)));
        }
    }
    match Graph::parse(definition) {
        Ok((graph, _)) => Ok(graph),
        Err(problems) => Err(Error::internal(format!(
            "a published definition does not parse: {problems:?}"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;
    use tokio::task::JoinSet;

    use super::*;
    use crate::fixtures::{World, peer};

    #[tokio::test]
    async fn silent_catalog_leaves_the_connections_to_others() {
        let world = World::new().await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let catalog = peer(&listener.local_addr().unwrap().to_string());
        let definitions = Definitions::new(world.pool.clone(), catalog);
        let mut asking = JoinSet::new();
        for n in 0..world.pool.options().get_max_connections() {
            let definitions = definitions.clone();
            let id = Uuid::from_u128(n.into());
            asking.spawn(async move { definitions.graph(id, 1).await.is_err() });
        }
        // It takes the call and says nothing.
        let _silent = listener.accept().await.unwrap();
        world.pool.acquire().await.unwrap();
    }

    #[test]
    fn jobs_published_before_a_setting_was_one_go_on() {
        let definition = |config: Value| {
            let step = |name: &str, config: Value| {
                serde_json::json!({
                    "id": Uuid::now_v7(), "key": name, "name": name, "stepType": "work", "order": 1,
                    "isRequired": true, "config": config,
                })
            };
            serde_json::json!({
                "workflowId": Uuid::now_v7(), "version": 1, "clientId": Uuid::now_v7(), "name": "W",
                "steps": [step("a \"b\"", config)], "transitions": [],
            })
        };
        let old = serde_json::json!({
            "lock": true, "cancels": "x", "compensate": ["y"], "onFailure": 3, "timeout": "1h",
            "target": "production",
        });
        let graph = parse(definition(old)).unwrap();
        assert!(graph.nodes[0].timeout.is_some() && graph.nodes[0].lock.is_none());
        assert!(parse(definition(serde_json::json!({ "timeout": 3 }))).is_err());
    }
}
