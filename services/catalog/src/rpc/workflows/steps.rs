//! Steps of the working copy. Invariant: a step's id, key and workflow never change.

use std::collections::{HashMap, HashSet};

use chassis::auth::Caller;
use chassis::idempotency::RequestKey;
use chassis::input::Input;
use chassis::mask::Mask;
use chassis::{Error, Result, Violation, db};
use model::json;
use proto::catalog::v1 as pb;
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use super::message;
use crate::apply::MOST_LINES;
use crate::fields::{self, StepFields};
use crate::rpc::{check_etag, check_fixed, present};
use crate::store::audit::{self, Object};
use crate::store::requests;
use crate::store::steps::{self, NewStep, Step};
use crate::working_copy::fragment;
use crate::{diff, editing};

const CHANGEABLE: &[&str] = &[
    "name",
    "description",
    "step_type",
    "order",
    "config",
    "is_required",
];

pub async fn create(
    pool: &PgPool,
    caller: Caller,
    mut request: pb::CreateStepRequest,
) -> Result<pb::WorkflowStep> {
    let request_id = std::mem::take(&mut request.request_id);
    let key = RequestKey::from(&caller, "CreateStep", &request_id, &request)?;
    let wanted = present("step", request.step)?;
    let mut input = Input::new();
    let workflow_id = input.uuid("step.workflow_id", &wanted.workflow_id);
    let mut fields = StepFields::default();
    patch(
        &mut fields,
        &wanted,
        &Mask::parse(None, CHANGEABLE, CHANGEABLE)?,
        &mut input,
    );
    if let Some(fault) = fields::key_fault(&wanted.key).filter(|_| !wanted.key.is_empty()) {
        input.push("step.key", fault);
    }
    input.finish()?;

    let id = Uuid::now_v7();
    db::transaction(pool, async move |conn| {
        if let Some(id) = requests::claim(conn, key.as_ref(), id).await? {
            return read(conn, id).await;
        }
        let workflow = editing::lock(conn, workflow_id).await?;
        check_etag("workflow", &request.workflow_etag, workflow.revision)?;
        let step_key = if wanted.key.is_empty() {
            let existing = steps::list_all(conn, workflow_id).await?;
            let taken: HashSet<String> = existing.into_iter().map(|step| step.key).collect();
            editing::free_key(&fields.name, &taken)
        } else {
            wanted.key.clone()
        };
        let new = NewStep {
            id,
            workflow_id,
            key: &step_key,
            fields: &fields,
        };
        steps::insert(conn, new).await?;
        editing::finish(conn, workflow_id).await?;
        let lines = [format!("added step {:?}", fields.name)];
        let of = Object::Workflow(workflow_id);
        audit::record(conn, &caller, "CreateStep", of, &lines).await?;
        read(conn, id).await
    })
    .await
}

pub async fn update(
    pool: &PgPool,
    caller: Caller,
    request: pb::UpdateStepRequest,
) -> Result<pb::WorkflowStep> {
    let wanted = present("step", request.step)?;
    let mask = Mask::parse(request.update_mask.as_ref(), CHANGEABLE, &filled(&wanted))?;
    let mut input = Input::new();
    let id = input.uuid("step.id", &wanted.id);
    patch(&mut StepFields::default(), &wanted, &mask, &mut input);
    input.finish()?;

    db::transaction(pool, async move |conn| {
        let before = editing::lock_step(conn, id).await?;
        check_etag("step", &wanted.etag, before.revision)?;
        let workflow_id = before.workflow_id.to_string();
        check_fixed("step.workflow_id", &wanted.workflow_id, &workflow_id)?;
        check_fixed("step.key", &wanted.key, &before.key)?;
        let mut fields = before.fields.clone();
        patch(&mut fields, &wanted, &mask, &mut Input::new());
        if fields != before.fields {
            steps::update(conn, id, &fields).await?;
            editing::finish(conn, before.workflow_id).await?;
            let after = Step {
                fields,
                ..before.clone()
            };
            let of = Object::Workflow(before.workflow_id);
            let lines = changes(&[before], &[after]);
            audit::record(conn, &caller, "UpdateStep", of, &lines).await?;
        }
        read(conn, id).await
    })
    .await
}

pub async fn delete(pool: &PgPool, caller: Caller, request: pb::DeleteStepRequest) -> Result<()> {
    let mut input = Input::new();
    let id = input.uuid("id", &request.id);
    input.finish()?;
    db::transaction(pool, async move |conn| {
        let step = editing::lock_step(conn, id).await?;
        check_etag("step", &request.etag, step.revision)?;
        editing::remove_step(conn, &step).await?;
        editing::finish(conn, step.workflow_id).await?;
        let lines = [format!("removed step {:?}", step.fields.name)];
        let of = Object::Workflow(step.workflow_id);
        audit::record(conn, &caller, "DeleteStep", of, &lines).await
    })
    .await
}

/// Puts all steps into the order of the request.
pub async fn reorder(
    pool: &PgPool,
    caller: Caller,
    request: pb::ReorderStepsRequest,
) -> Result<pb::Workflow> {
    let mut input = Input::new();
    let workflow_id = input.uuid("workflow_id", &request.workflow_id);
    let mut seen = HashSet::new();
    let mut ids = Vec::new();
    // One more than there can be tells as much as all of them.
    for (index, text) in request
        .step_ids
        .iter()
        .take(fields::MAX_STEPS + 1)
        .enumerate()
    {
        let field = format!("step_ids[{index}]");
        let id = input.uuid(&field, text);
        if !id.is_nil() && !seen.insert(id) {
            input.push(field, format!("{id} stands here twice"));
        }
        ids.push(id);
    }
    if request.step_ids.is_empty() {
        input.push("step_ids", "is required");
    }
    input.finish()?;

    db::transaction(pool, async move |conn| {
        let workflow = editing::lock(conn, workflow_id).await?;
        check_etag("workflow", &request.etag, workflow.revision)?;
        let steps = steps::list(conn, workflow_id).await?;
        check_complete(&ids, &steps)?;
        let before: HashMap<Uuid, i32> = steps
            .iter()
            .map(|step| (step.id, step.fields.order))
            .collect();
        let (moved, orders): (Vec<Uuid>, Vec<i32>) = (ids.iter().copied().zip(0..))
            .filter(|(id, order)| before[id] != *order)
            .unzip();
        if !moved.is_empty() {
            steps::reorder(conn, &moved, &orders).await?;
            editing::finish(conn, workflow_id).await?;
            let lines = changes(&steps, &steps::list(conn, workflow_id).await?);
            let of = Object::Workflow(workflow_id);
            audit::record(conn, &caller, "ReorderSteps", of, &lines).await?;
        }
        message::read(conn, workflow_id).await
    })
    .await
}

/// What differs between these steps, in words.
fn changes(before: &[Step], after: &[Step]) -> Vec<String> {
    let [before, after] = [before, after].map(|side| {
        let steps = side.iter().map(Step::definition);
        fragment(steps.collect(), Vec::new())
    });
    diff::between(&before, &after).lines(MOST_LINES)
}

/// Refuses ids that are not all of the steps and nothing else, naming those that differ.
fn check_complete(ids: &[Uuid], steps: &[Step]) -> Result<()> {
    let there: HashSet<Uuid> = steps.iter().map(|step| step.id).collect();
    let named: HashSet<Uuid> = ids.iter().copied().collect();
    let foreign = (ids.iter().enumerate())
        .filter(|(_, id)| !there.contains(id))
        .map(|(index, id)| Violation {
            field: format!("step_ids[{index}]"),
            description: format!("{id} is no step of the working copy"),
        });
    let left_out = (steps.iter().filter(|step| !named.contains(&step.id))).map(|step| Violation {
        field: "step_ids".to_owned(),
        description: format!("{} ({:?}) is missing", step.id, step.fields.name),
    });
    let violations: Vec<Violation> = foreign.chain(left_out).collect();
    if violations.is_empty() {
        return Ok(());
    }
    let message = "step_ids must name every step of the working copy once, and nothing else";
    Err(Error::precondition("STEPS_DIFFER", message).with_violations(violations))
}

async fn read(conn: &mut PgConnection, id: Uuid) -> Result<pb::WorkflowStep> {
    let step = steps::get(conn, id).await?;
    step.map(message::step)
        .ok_or_else(|| Error::not_found("step", id))
}

/// The fields that the message fills in.
fn filled(step: &pb::WorkflowStep) -> Vec<&'static str> {
    [
        ("name", !step.name.is_empty()),
        ("description", !step.description.is_empty()),
        ("step_type", !step.step_type.is_empty()),
        ("order", step.order.is_some()),
        ("config", step.config.is_some()),
        ("is_required", step.is_required.is_some()),
    ]
    .into_iter()
    .filter_map(|(field, is_filled)| is_filled.then_some(field))
    .collect()
}

/// Takes over what the mask names; what is wrong with it goes to `input`.
fn patch(fields: &mut StepFields, wanted: &pb::WorkflowStep, mask: &Mask, input: &mut Input) {
    if mask.has("name") {
        fields.name = input.name("step.name", &wanted.name, fields::NAME);
    }
    if mask.has("description") {
        let text = input.text("step.description", &wanted.description, fields::DESCRIPTION);
        fields.description = fields::non_empty(text);
    }
    if mask.has("step_type") {
        fields.step_type = input.name("step.step_type", &wanted.step_type, fields::STEP_TYPE);
    }
    if mask.has("order") {
        fields.order = wanted.order.unwrap_or_default();
        match wanted.order {
            None => input.push("step.order", "is required"),
            Some(order) if order < 0 => input.push("step.order", "must be 0 or more"),
            Some(_) => {}
        }
    }
    if mask.has("config") {
        let config = input.json("step.config", wanted.config.as_ref(), json::CONFIG);
        fields.config = config.unwrap_or_default();
    }
    if mask.has("is_required") {
        fields.is_required = wanted.is_required.unwrap_or(true);
    }
}
