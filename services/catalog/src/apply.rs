//! ApplyWorkflow: makes a workflow equal to a document. Invariant: all or nothing, and nothing at all if
//! the workflow is what the document says.

mod plan;

use chassis::{Error, Result};
use model::problem::Problem;
use sqlx::PgConnection;
use uuid::Uuid;

use self::plan::{StepMatch, Ways};
use crate::document::{ClientRef, Document};
use crate::editing;
use crate::fields::{StepFields, TransitionFields};
use crate::publish::{self, Published};
use crate::store::steps::{NewStep, Step};
use crate::store::workflows::{NewWorkflow, Workflow};
use crate::store::{self, clients, steps, transitions, workflows};

/// What applying did.
#[derive(Debug)]
pub struct Applied {
    pub workflow_id: Uuid,
    /// In words, a line each.
    pub changes: Vec<String>,
    pub published: bool,
    pub problems: Vec<Problem>,
}

/// Applies a document. If it is to be published and does not validate, that is an error, unless the
/// caller only wants to know (`trial`, to be rolled back): then the problems tell.
pub async fn apply(
    conn: &mut PgConnection,
    document: &Document,
    by: Option<Uuid>,
    trial: bool,
) -> Result<Applied> {
    let mut changes = Vec::new();
    let client_id = client(conn, &document.client, &mut changes).await?;
    let workflow = workflow(conn, document, (client_id, by), &mut changes).await?;
    let before = changes.len();
    let mut problems = parts(conn, document, workflow.id, &mut changes).await?;
    if changes.len() > before {
        editing::finish(conn, workflow.id).await?;
    }
    // As it stands after all that.
    let workflow = editing::lock(conn, workflow.id).await?;
    let definition = publish::working_copy(conn, &workflow).await?;
    problems.extend(publish::problems(definition.clone()));
    let mut published = false;
    if document.publish && !(trial && problems.iter().any(Problem::is_error)) {
        publish::check(&problems)?;
        match publish::freeze(conn, &workflow, definition, by).await? {
            Published::New(version) => {
                published = true;
                changes.push(format!("published version {version}"));
            }
            Published::Again(version) => changes.push(format!("activated version {version}")),
            Published::Nothing => {}
        }
    }
    Ok(Applied {
        workflow_id: workflow.id,
        changes,
        published,
        problems,
    })
}

/// The workflow that a document is about, if it is there.
pub async fn find(conn: &mut PgConnection, document: &Document) -> Result<Option<Workflow>> {
    let client_id = match &document.client {
        ClientRef::Id(id) => Some(*id),
        ClientRef::Described(fields) => only_client(conn, &fields.name).await?,
    };
    match client_id {
        None => Ok(None),
        Some(client_id) => match only_workflow(conn, client_id, &document.name).await? {
            None => Ok(None),
            Some(id) => workflows::get(conn, id).await,
        },
    }
}

/// Finds or makes the client, and holds its row: applies of one client take turns.
async fn client(
    conn: &mut PgConnection,
    wanted: &ClientRef,
    changes: &mut Vec<String>,
) -> Result<Uuid> {
    let id = match wanted {
        ClientRef::Id(id) => *id,
        ClientRef::Described(fields) => {
            // Two documents of a new client must not make it twice.
            store::serialize(conn, &format!("catalog.client_name {}", fields.name)).await?;
            match only_client(conn, &fields.name).await? {
                Some(id) => id,
                None => {
                    let id = Uuid::now_v7();
                    clients::insert(conn, id, fields).await?;
                    changes.push(format!("created client {:?}", fields.name));
                    id
                }
            }
        }
    };
    let client = clients::lock(conn, id).await?;
    client.ok_or_else(|| Error::not_found("client", id))?;
    Ok(id)
}

async fn only_client(conn: &mut PgConnection, name: &str) -> Result<Option<Uuid>> {
    match clients::find(conn, name).await?.as_slice() {
        [] => Ok(None),
        [id] => Ok(Some(*id)),
        _ => Err(Error::precondition(
            "CLIENT_AMBIGUOUS",
            format!("several clients have the name {name:?}: give the client's id instead"),
        )),
    }
}

async fn only_workflow(
    conn: &mut PgConnection,
    client_id: Uuid,
    name: &str,
) -> Result<Option<Uuid>> {
    match workflows::find(conn, client_id, name).await?.as_slice() {
        [] => Ok(None),
        [id] => Ok(Some(*id)),
        _ => Err(Error::precondition(
            "WORKFLOW_AMBIGUOUS",
            format!(
                "several workflows of the client have the name {name:?}: rename or archive one"
            ),
        )),
    }
}

/// Finds or makes the workflow itself, and locks it.
async fn workflow(
    conn: &mut PgConnection,
    document: &Document,
    (client_id, by): (Uuid, Option<Uuid>),
    changes: &mut Vec<String>,
) -> Result<Workflow> {
    if let Some(id) = only_workflow(conn, client_id, &document.name).await? {
        let mut workflow = editing::lock(conn, id).await?;
        if workflow.description != document.description {
            workflow.description.clone_from(&document.description);
            workflows::update(conn, &workflow).await?;
            changes.push("changed the description".to_owned());
        }
        return Ok(workflow);
    }
    let id = Uuid::now_v7();
    let new = NewWorkflow {
        id,
        name: &document.name,
        description: document.description.as_deref(),
        client_id,
        created_by: by,
    };
    workflows::insert(conn, new).await?;
    changes.push(format!("created workflow {:?}", document.name));
    editing::lock(conn, id).await
}

/// Makes steps and transitions equal to the document's.
async fn parts(
    conn: &mut PgConnection,
    document: &Document,
    workflow_id: Uuid,
    changes: &mut Vec<String>,
) -> Result<Vec<Problem>> {
    let existing = steps::list_all(conn, workflow_id).await?;
    let matches = plan::match_steps(&document.steps, &existing, Uuid::now_v7);
    let ids: Vec<Uuid> = (matches.iter())
        .map(|is| match is {
            StepMatch::Existing(index) => existing[*index].id,
            StepMatch::New { id, .. } => *id,
        })
        .collect();
    let wanted = (document.transitions.iter())
        .map(|transition| TransitionFields {
            from_step_id: ids[transition.from],
            to_step_id: ids[transition.to],
            condition: transition.condition.clone(),
            is_default: transition.is_default,
        })
        .collect();
    let ways = plan::match_transitions(wanted, transitions::list(conn, workflow_id).await?);

    let names = Names::new(document, &ids, &existing);
    let gone: Vec<Uuid> = ways.gone.iter().map(|transition| transition.id).collect();
    if !gone.is_empty() {
        transitions::delete(conn, &gone).await?;
        let lines = ways
            .gone
            .iter()
            .map(|gone| names.line("removed", &gone.fields));
        changes.extend(lines);
    }
    for step in existing
        .iter()
        .filter(|step| !step.removed && !ids.contains(&step.id))
    {
        editing::remove_step(conn, step).await?;
        changes.push(format!("removed step {:?}", step.fields.name));
    }
    write_steps(conn, workflow_id, (document, &matches, &existing), changes).await?;
    write_transitions(conn, workflow_id, ways, (&names, changes)).await?;
    Ok(plan::fixed_keys(&document.steps, &matches, &existing))
}

async fn write_steps(
    conn: &mut PgConnection,
    workflow_id: Uuid,
    (document, matches, existing): (&Document, &[StepMatch], &[Step]),
    changes: &mut Vec<String>,
) -> Result<()> {
    let pairs = || document.steps.iter().zip(matches);
    let renamed: Vec<Uuid> = pairs()
        .filter_map(|(wanted, is)| {
            let StepMatch::Existing(index) = is else {
                return None;
            };
            let step = &existing[*index];
            (!step.removed && step.fields.name != wanted.fields.name).then_some(step.id)
        })
        .collect();
    if !renamed.is_empty() {
        steps::vacate_names(conn, &renamed).await?;
    }
    for (wanted, is) in pairs() {
        match is {
            StepMatch::New { id, key } => {
                let step = NewStep {
                    id: *id,
                    workflow_id,
                    key,
                    fields: &wanted.fields,
                };
                steps::insert(conn, step).await?;
                changes.push(format!("created step {:?}", wanted.fields.name));
            }
            StepMatch::Existing(index) => {
                let step = &existing[*index];
                let lines = step_changes(step, &wanted.fields);
                if !lines.is_empty() {
                    steps::update(conn, step.id, &wanted.fields).await?;
                    changes.extend(lines);
                }
            }
        }
    }
    Ok(())
}

/// What makes a step what is wanted, in words.
fn step_changes(step: &Step, wanted: &StepFields) -> Vec<String> {
    let is = &step.fields;
    let mut lines = Vec::new();
    if step.removed {
        lines.push(format!("restored step {:?}", wanted.name));
    }
    if is.name != wanted.name {
        lines.push(format!("renamed step {:?} to {:?}", is.name, wanted.name));
    }
    let differing: Vec<&str> = [
        ("description", is.description != wanted.description),
        ("stepType", is.step_type != wanted.step_type),
        ("order", is.order != wanted.order),
        ("config", is.config != wanted.config),
        ("isRequired", is.is_required != wanted.is_required),
    ]
    .into_iter()
    .filter_map(|(field, differs)| differs.then_some(field))
    .collect();
    if !differing.is_empty() {
        let fields = differing.join(", ");
        lines.push(format!("changed step {:?}: {fields}", wanted.name));
    }
    lines
}

async fn write_transitions(
    conn: &mut PgConnection,
    workflow_id: Uuid,
    ways: Ways,
    (names, changes): (&Names<'_>, &mut Vec<String>),
) -> Result<()> {
    for (transition, wanted) in ways.kept {
        if transition.fields != wanted {
            transitions::update(conn, transition.id, &wanted).await?;
            changes.push(names.line("changed", &wanted));
        }
    }
    for wanted in ways.new {
        transitions::insert(conn, Uuid::now_v7(), workflow_id, &wanted).await?;
        changes.push(names.line("created", &wanted));
    }
    Ok(())
}

/// Names of steps by id, for what is told about transitions.
struct Names<'a>(std::collections::HashMap<Uuid, &'a str>);

impl<'a> Names<'a> {
    fn new(document: &'a Document, ids: &[Uuid], existing: &'a [Step]) -> Self {
        let before = existing
            .iter()
            .map(|step| (step.id, step.fields.name.as_str()));
        let after = document.steps.iter().map(|step| step.fields.name.as_str());
        Self(before.chain(ids.iter().copied().zip(after)).collect())
    }

    fn line(&self, what: &str, transition: &TransitionFields) -> String {
        let name = |id| self.0.get(&id).copied().unwrap_or("?");
        let (from, to) = (name(transition.from_step_id), name(transition.to_step_id));
        format!("{what} transition {from:?} -> {to:?}")
    }
}
