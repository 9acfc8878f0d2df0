//! Present names, for summaries that people read.
//! Invariant: names are an extra; without the catalog a summary has none, and is not late.

use std::collections::HashMap;
use std::time::Duration;

use chassis::client::Peer;
use proto::catalog::v1::ResolveNamesRequest;
use proto::catalog::v1::definition_service_client::DefinitionServiceClient;
use tonic::Request;
use uuid::Uuid;

const PATIENCE: Duration = Duration::from_millis(1000);

#[derive(Debug, Clone)]
pub struct Names(DefinitionServiceClient<Peer>);

impl Names {
    pub fn new(catalog: Peer) -> Self {
        Self(DefinitionServiceClient::new(catalog))
    }

    /// By id, as text. Empty if the catalog cannot be asked.
    pub async fn of(&self, ids: impl Iterator<Item = Uuid>) -> HashMap<String, String> {
        let ids: Vec<String> = ids.map(|id| id.to_string()).collect();
        if ids.is_empty() {
            return HashMap::new();
        }
        let mut request = Request::new(ResolveNamesRequest { ids });
        request.set_timeout(PATIENCE);
        match self.0.clone().resolve_names(request).await {
            Ok(response) => response.into_inner().names,
            Err(status) => {
                tracing::warn!(%status, "the catalog does not tell names");
                HashMap::new()
            }
        }
    }
}
