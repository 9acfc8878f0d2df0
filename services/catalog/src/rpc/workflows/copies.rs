//! CloneWorkflow. Invariant: the copy shares keys with what it was made of, and no ids.

use std::collections::HashMap;

use chassis::auth::Caller;
use chassis::idempotency::RequestKey;
use chassis::input::Input;
use chassis::{Error, Result, db};
use model::definition::Definition;
use proto::catalog::v1 as pb;
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use super::message;
use crate::fields;
use crate::rpc::author;
use crate::store::audit::{self, Object};
use crate::store::workflows::{self, NewWorkflow};
use crate::store::{clients, requests};
use crate::working_copy::{self, WorkingCopy};

pub async fn clone(
    pool: &PgPool,
    caller: Caller,
    mut request: pb::CloneWorkflowRequest,
) -> Result<pb::Workflow> {
    let request_id = std::mem::take(&mut request.request_id);
    let key = RequestKey::from(&caller, "CloneWorkflow", &request_id, &request)?;
    let mut input = Input::new();
    let source_id = input.uuid("id", &request.id);
    if request.version < 0 {
        input.push("version", "must be 0 (the working copy) or more");
    }
    let client_id = input.optional_uuid("client_id", &request.client_id);
    let name = (!request.name.is_empty()).then(|| input.name("name", &request.name, fields::NAME));
    input.finish()?;

    let id = Uuid::now_v7();
    let created_by = author(&caller);
    db::transaction(pool, async move |conn| {
        if let Some(id) = requests::claim(conn, key.as_ref(), id).await? {
            return message::read(conn, id).await;
        }
        let missing = || Error::not_found("workflow", source_id);
        let source = workflows::get(conn, source_id).await?.ok_or_else(missing)?;
        // Clients before workflows, as wherever both are locked.
        let client_id = client_id.unwrap_or(source.client_id);
        let client = clients::lock(conn, client_id).await?;
        client.ok_or_else(|| Error::not_found("client", client_id))?;
        let source = workflows::lock(conn, source_id)
            .await?
            .ok_or_else(missing)?;
        let mut copy = working_copy::at(conn, &source, request.version).await?;
        renew_ids(&mut copy);
        copy.name = name.clone().unwrap_or(copy.name);
        let new = NewWorkflow {
            id,
            name: &copy.name,
            description: copy.description.as_deref(),
            target: copy.target.as_deref(),
            client_id,
            created_by,
        };
        make(conn, new, &copy).await?;
        let from = match request.version {
            0 => String::new(),
            version => format!(", version {version}"),
        };
        let source = &source.name;
        let lines = [format!(
            "created workflow {:?} from {source:?}{from}",
            copy.name
        )];
        audit::record(conn, &caller, "CloneWorkflow", Object::Workflow(id), &lines).await?;
        message::read(conn, id).await
    })
    .await
}

/// Makes a workflow that consists of `definition`.
async fn make(
    conn: &mut PgConnection,
    new: NewWorkflow<'_>,
    definition: &Definition,
) -> Result<()> {
    let (id, name) = (new.id, new.name);
    if !workflows::find(conn, new.client_id, name).await?.is_empty() {
        let message = format!("the client has a workflow named {name:?}: give the copy a `name`");
        return Err(Error::already_exists("WORKFLOW_NAME_TAKEN", message));
    }
    workflows::insert(conn, new).await?;
    let made = workflows::lock(conn, id).await?;
    let made = made.ok_or_else(|| Error::not_found("workflow", id))?;
    let empty = WorkingCopy::read(conn, made).await?;
    empty.rewrite(conn, definition).await?;
    Ok(())
}

/// Gives every part an id of its own.
fn renew_ids(definition: &mut Definition) {
    let mut renewed = HashMap::new();
    for step in &mut definition.steps {
        let id = Uuid::now_v7();
        renewed.insert(std::mem::replace(&mut step.id, id), id);
    }
    for transition in &mut definition.transitions {
        transition.id = Uuid::now_v7();
        for end in [&mut transition.from_step_id, &mut transition.to_step_id] {
            *end = renewed.get(end).copied().unwrap_or(*end);
        }
    }
}
