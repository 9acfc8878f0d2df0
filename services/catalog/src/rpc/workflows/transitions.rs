//! Transitions of the working copy. Invariant: both ends are present steps of the transition's own
//! workflow, whatever ids a caller names.

use chassis::auth::Caller;
use chassis::idempotency::RequestKey;
use chassis::input::Input;
use chassis::mask::Mask;
use chassis::{Error, Result, db};
use model::json;
use proto::catalog::v1 as pb;
use serde_json::Value;
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use super::message;
use crate::apply::MOST_LINES;
use crate::fields::TransitionFields;
use crate::rpc::{check_etag, check_fixed, present};
use crate::store::audit::{self, Object};
use crate::store::transitions::{self, Transition};
use crate::store::{requests, steps};
use crate::working_copy::fragment;
use crate::{diff, editing};

const CHANGEABLE: &[&str] = &["from_step_id", "to_step_id", "condition", "is_default"];

pub async fn create(
    pool: &PgPool,
    caller: Caller,
    mut request: pb::CreateTransitionRequest,
) -> Result<pb::WorkflowTransition> {
    let request_id = std::mem::take(&mut request.request_id);
    let key = RequestKey::from(&caller, "CreateTransition", &request_id, &request)?;
    let wanted = present("transition", request.transition)?;
    let mut input = Input::new();
    let workflow_id = input.uuid("transition.workflow_id", &wanted.workflow_id);
    let mut fields = TransitionFields::default();
    patch(
        &mut fields,
        &wanted,
        &Mask::parse(None, CHANGEABLE, CHANGEABLE)?,
        &mut input,
    );
    input.finish()?;

    let id = Uuid::now_v7();
    db::transaction(pool, async move |conn| {
        if let Some(id) = requests::claim(conn, key.as_ref(), id).await? {
            return read(conn, id).await;
        }
        let workflow = editing::lock(conn, workflow_id).await?;
        check_etag("workflow", &request.workflow_etag, workflow.revision)?;
        check_ends(conn, workflow_id, &fields).await?;
        transitions::insert(conn, id, workflow_id, &fields).await?;
        editing::finish(conn, workflow_id).await?;
        let lines = changes(conn, None, Some(&fields)).await?;
        let of = Object::Workflow(workflow_id);
        audit::record(conn, &caller, "CreateTransition", of, &lines).await?;
        read(conn, id).await
    })
    .await
}

pub async fn update(
    pool: &PgPool,
    caller: Caller,
    request: pb::UpdateTransitionRequest,
) -> Result<pb::WorkflowTransition> {
    let wanted = present("transition", request.transition)?;
    let mask = Mask::parse(request.update_mask.as_ref(), CHANGEABLE, &filled(&wanted))?;
    let mut input = Input::new();
    let id = input.uuid("transition.id", &wanted.id);
    patch(&mut TransitionFields::default(), &wanted, &mask, &mut input);
    input.finish()?;

    db::transaction(pool, async move |conn| {
        let before = lock(conn, id).await?;
        check_etag("transition", &wanted.etag, before.revision)?;
        let workflow_id = before.workflow_id.to_string();
        check_fixed("transition.workflow_id", &wanted.workflow_id, &workflow_id)?;
        let mut fields = before.fields.clone();
        patch(&mut fields, &wanted, &mask, &mut Input::new());
        if fields != before.fields {
            check_ends(conn, before.workflow_id, &fields).await?;
            transitions::update(conn, id, &fields).await?;
            editing::finish(conn, before.workflow_id).await?;
            let lines = changes(conn, Some(&before.fields), Some(&fields)).await?;
            let of = Object::Workflow(before.workflow_id);
            audit::record(conn, &caller, "UpdateTransition", of, &lines).await?;
        }
        read(conn, id).await
    })
    .await
}

pub async fn delete(
    pool: &PgPool,
    caller: Caller,
    request: pb::DeleteTransitionRequest,
) -> Result<()> {
    let mut input = Input::new();
    let id = input.uuid("id", &request.id);
    input.finish()?;
    db::transaction(pool, async move |conn| {
        let transition = lock(conn, id).await?;
        check_etag("transition", &request.etag, transition.revision)?;
        transitions::delete(conn, &[id]).await?;
        editing::finish(conn, transition.workflow_id).await?;
        let lines = changes(conn, Some(&transition.fields), None).await?;
        let of = Object::Workflow(transition.workflow_id);
        audit::record(conn, &caller, "DeleteTransition", of, &lines).await
    })
    .await
}

/// What became of one transition, in words.
async fn changes(
    conn: &mut PgConnection,
    before: Option<&TransitionFields>,
    after: Option<&TransitionFields>,
) -> Result<Vec<String>> {
    let sides = [before, after];
    let mut ends = Vec::new();
    for fields in sides.into_iter().flatten() {
        for id in [fields.from_step_id, fields.to_step_id] {
            ends.extend(steps::get(conn, id).await?.map(|step| step.definition()));
        }
    }
    let [before, after] = sides.map(|fields| {
        let transition = fields.map(|fields| fields.definition(Uuid::nil()));
        fragment(ends.clone(), transition.into_iter().collect())
    });
    Ok(diff::between(&before, &after).lines(MOST_LINES))
}

/// Locks the workflow of a transition, then reads the transition.
async fn lock(conn: &mut PgConnection, id: Uuid) -> Result<Transition> {
    let missing = || Error::not_found("transition", id);
    let seen = transitions::get(conn, id).await?.ok_or_else(missing)?;
    editing::lock(conn, seen.workflow_id).await?;
    transitions::get(conn, id).await?.ok_or_else(missing)
}

async fn check_ends(
    conn: &mut PgConnection,
    workflow_id: Uuid,
    fields: &TransitionFields,
) -> Result<()> {
    let mut input = Input::new();
    for (field, step_id) in [
        ("transition.from_step_id", fields.from_step_id),
        ("transition.to_step_id", fields.to_step_id),
    ] {
        let step = steps::get(conn, step_id).await?;
        if step.is_none_or(|step| step.workflow_id != workflow_id) {
            input.push(field, format!("{step_id} is no step of the workflow"));
        }
    }
    input.finish()
}

async fn read(conn: &mut PgConnection, id: Uuid) -> Result<pb::WorkflowTransition> {
    let transition = transitions::get(conn, id).await?;
    transition
        .map(message::transition)
        .ok_or_else(|| Error::not_found("transition", id))
}

/// The fields that the message fills in.
fn filled(transition: &pb::WorkflowTransition) -> Vec<&'static str> {
    [
        ("from_step_id", !transition.from_step_id.is_empty()),
        ("to_step_id", !transition.to_step_id.is_empty()),
        ("condition", transition.condition.is_some()),
        ("is_default", transition.is_default),
    ]
    .into_iter()
    .filter_map(|(field, is_filled)| is_filled.then_some(field))
    .collect()
}

/// Takes over what the mask names; what is wrong with it goes to `input`.
fn patch(
    fields: &mut TransitionFields,
    wanted: &pb::WorkflowTransition,
    mask: &Mask,
    input: &mut Input,
) {
    if mask.has("from_step_id") {
        fields.from_step_id = input.uuid("transition.from_step_id", &wanted.from_step_id);
    }
    if mask.has("to_step_id") {
        fields.to_step_id = input.uuid("transition.to_step_id", &wanted.to_step_id);
    }
    if mask.has("condition") {
        let condition = input.json(
            "transition.condition",
            wanted.condition.as_ref(),
            json::CONFIG,
        );
        fields.condition = condition.map(Value::Object);
    }
    if mask.has("is_default") {
        fields.is_default = wanted.is_default;
    }
}
