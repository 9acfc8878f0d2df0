//! DefinitionService: what the other services need to know. Invariant: a published version is handed out
//! to the letter.

use std::collections::HashMap;

use chassis::input::Input;
use chassis::{Error, db};
use proto::catalog::v1 as pb;
use proto::catalog::v1::definition_service_server::DefinitionService;
use sqlx::PgPool;
use tonic::{Request, Response};
use uuid::Uuid;

use super::Answer;
use crate::publish;
use crate::store::{names, versions, workflows};
use crate::working_copy;

/// Ids that one request may ask about.
const MAX_IDS: usize = 10_000;

pub struct Definitions {
    pub pool: PgPool,
}

#[tonic::async_trait]
impl DefinitionService for Definitions {
    async fn resolve_starts(
        &self,
        request: Request<pb::ResolveStartsRequest>,
    ) -> Answer<pb::ResolveStartsResponse> {
        let ids = read_ids("workflow_ids", &request.get_ref().workflow_ids)?;
        let mut conn = db::acquire(&self.pool).await?;
        let targets = workflows::start_targets(&mut conn, &ids).await?;
        let targets = (targets.into_iter())
            .map(|target| pb::StartTarget {
                workflow_id: target.id.to_string(),
                client_id: target.client_id.to_string(),
                version: target.version,
                status: target.status,
                client_is_active: target.client_is_active,
            })
            .collect();
        Ok(Response::new(pb::ResolveStartsResponse { targets }))
    }

    async fn get_snapshot(
        &self,
        request: Request<pb::GetSnapshotRequest>,
    ) -> Answer<pb::GetSnapshotResponse> {
        let request = request.into_inner();
        let mut input = Input::new();
        let id = input.uuid("workflow_id", &request.workflow_id);
        if request.version < 0 {
            input.push("version", "must be 0 or more");
        }
        input.finish()?;
        let mut snapshot = db::snapshot(&self.pool).await?;
        let workflow = workflows::get(&mut snapshot, id)
            .await?
            .ok_or_else(|| Error::not_found("workflow", id))?;
        let definition_json = if request.version == 0 {
            let definition = working_copy::at(&mut snapshot, &workflow, 0).await?;
            publish::check(&publish::problems(definition.clone()))?;
            serde_json::to_string(&definition).map_err(Error::internal)?
        } else {
            versions::get(&mut snapshot, id, request.version)
                .await?
                .ok_or_else(|| Error::not_found("workflow version", request.version))?
                .definition
        };
        snapshot.commit().await.map_err(Error::from)?;
        Ok(Response::new(pb::GetSnapshotResponse { definition_json }))
    }

    async fn resolve_names(
        &self,
        request: Request<pb::ResolveNamesRequest>,
    ) -> Answer<pb::ResolveNamesResponse> {
        let ids = read_ids("ids", &request.get_ref().ids)?;
        let mut conn = db::acquire(&self.pool).await?;
        let names: HashMap<String, String> = names::resolve(&mut conn, &ids)
            .await?
            .into_iter()
            .map(|(id, name)| (id.to_string(), name))
            .collect();
        Ok(Response::new(pb::ResolveNamesResponse { names }))
    }
}

fn read_ids(field: &str, texts: &[String]) -> chassis::Result<Vec<Uuid>> {
    if texts.len() > MAX_IDS {
        let fault = format!("has {} ids; at most {MAX_IDS} are accepted", texts.len());
        return Err(Error::invalid(field, fault));
    }
    let mut input = Input::new();
    let ids = (texts.iter().enumerate())
        .map(|(index, text)| input.uuid(&format!("{field}[{index}]"), text))
        .collect();
    input.finish()?;
    Ok(ids)
}
