//! What the catalog says of versions.
//! Invariant: asked for each time; nobody waits long for it, and without it an analysis says less, not nothing.

use std::time::Duration;

use chassis::client::Peer;
use chassis::{Error, Result};
use model::definition::Definition;
use proto::catalog::v1::definition_service_client::DefinitionServiceClient;
use proto::catalog::v1::{GetSnapshotRequest, ResolveStartsRequest};
use tonic::Request;
use uuid::Uuid;

const PATIENCE: Duration = Duration::from_millis(2000);

#[derive(Debug, Clone)]
pub struct Definitions(DefinitionServiceClient<Peer>);

impl Definitions {
    pub fn new(catalog: Peer) -> Self {
        Self(DefinitionServiceClient::new(catalog))
    }

    /// The number of the version that starts now; None if there is no such workflow.
    pub async fn current(&self, workflow_id: Uuid) -> Result<Option<i32>> {
        let mut request = Request::new(ResolveStartsRequest {
            workflow_ids: vec![workflow_id.to_string()],
        });
        request.set_timeout(PATIENCE);
        let answer = self.0.clone().resolve_starts(request).await?;
        let target = answer.into_inner().targets.pop();
        Ok(target.map(|target| target.version))
    }

    /// A published version.
    pub async fn of(&self, workflow_id: Uuid, version: i32) -> Result<Definition> {
        let mut request = Request::new(GetSnapshotRequest {
            workflow_id: workflow_id.to_string(),
            version,
        });
        request.set_timeout(PATIENCE);
        let answer = self.0.clone().get_snapshot(request).await?;
        serde_json::from_str(&answer.into_inner().definition_json).map_err(Error::internal)
    }
}
