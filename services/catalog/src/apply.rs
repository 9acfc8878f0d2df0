//! ApplyWorkflow: makes a workflow equal to a document. Invariant: all or nothing, and nothing at all if
//! the workflow is what the document says.

mod plan;

use chassis::{Error, Result};
use model::problem::Problem;
use sqlx::PgConnection;
use uuid::Uuid;

pub use self::plan::{alone, wanted};
use crate::callees;
use crate::document::{ClientRef, Document};
use crate::editing;
use crate::publish::{self, Published, Release};
use crate::store::workflows::{NewWorkflow, Workflow};
use crate::store::{self, clients, workflows};
use crate::working_copy::{self, WorkingCopy};

/// Lines of changes that an answer has room for, beside a large workflow.
pub const MOST_LINES: usize = 1000;

/// What applying did.
#[derive(Debug)]
pub struct Applied {
    pub workflow_id: Uuid,
    /// The client that was made for it.
    pub new_client_id: Option<Uuid>,
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
    (by, etag): (Option<Uuid>, &str),
    trial: bool,
) -> Result<Applied> {
    let mut changes = Vec::new();
    let client_id = client(conn, &document.client, &mut changes).await?;
    let new_client_id = (!changes.is_empty()).then_some(client_id);
    let workflow = workflow(conn, document, (client_id, by, etag), &mut changes).await?;
    let before = WorkingCopy::read(conn, workflow).await?;
    let (wanted, mut problems) = wanted(document, &before.definition, &before.steps, Uuid::now_v7);
    let diff = before.rewrite(conn, &wanted).await?;
    changes.extend(diff.lines(MOST_LINES));
    // As it stands after all that.
    let workflow = editing::lock(conn, wanted.workflow_id).await?;
    let definition = working_copy::at(conn, &workflow, 0).await?;
    problems.extend(publish::problems(definition.clone()));
    problems.extend(callees::problems(conn, &definition, Some(workflow.client_id)).await?);
    let mut published = false;
    if document.publish && !(trial && problems.iter().any(Problem::is_error)) {
        publish::check(&problems)?;
        let outcome = publish::freeze(conn, &workflow, definition, Release::by(by)).await?;
        published = matches!(outcome, Published::New(_));
        changes.extend(outcome.line());
    }
    Ok(Applied {
        workflow_id: workflow.id,
        new_client_id,
        changes,
        published,
        problems,
    })
}

/// The workflow that a document is about, if it is there.
pub async fn find(conn: &mut PgConnection, document: &Document) -> Result<Option<Workflow>> {
    match client_of(conn, document).await? {
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

/// The client that a document is about, if it is known.
pub async fn client_of(conn: &mut PgConnection, document: &Document) -> Result<Option<Uuid>> {
    match &document.client {
        ClientRef::Id(id) => Ok(Some(*id)),
        ClientRef::Described(fields) => only_client(conn, &fields.name).await,
    }
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
    (client_id, by, etag): (Uuid, Option<Uuid>, &str),
    changes: &mut Vec<String>,
) -> Result<Workflow> {
    if let Some(id) = only_workflow(conn, client_id, &document.name).await? {
        let workflow = editing::lock(conn, id).await?;
        if !etag.is_empty() && etag != workflow.revision.to_string() {
            return Err(Error::stale_etag("workflow"));
        }
        return Ok(workflow);
    }
    if !etag.is_empty() {
        return Err(Error::stale_etag("workflow"));
    }
    let id = Uuid::now_v7();
    let new = NewWorkflow {
        id,
        name: &document.name,
        description: document.description.as_deref(),
        target: document.target.as_deref(),
        client_id,
        created_by: by,
    };
    workflows::insert(conn, new).await?;
    changes.push(format!("created workflow {:?}", document.name));
    editing::lock(conn, id).await
}
