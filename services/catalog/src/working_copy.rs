//! The working copy as a whole: read as a definition, and made equal to another one. Invariant: whatever
//! replaces a working copy — a document, an old version, a copy — goes through [`WorkingCopy::rewrite`].

use std::collections::{HashMap, HashSet};

use chassis::{Error, Result};
use model::definition::{self, Definition};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::diff::{self, Action, Diff};
use crate::editing;
use crate::store::steps::{self, Step};
use crate::store::workflows::{self, Workflow};
use crate::store::{transitions, versions};

pub struct WorkingCopy {
    /// With version 0.
    pub definition: Definition,
    /// Every step that the workflow has, removed ones included: they may come back.
    pub steps: Vec<Step>,
    workflow: Workflow,
}

/// What a workflow was in a version, or is in its working copy (0).
pub async fn at(conn: &mut PgConnection, workflow: &Workflow, version: i32) -> Result<Definition> {
    if version == 0 {
        return Ok(WorkingCopy::read(conn, workflow.clone()).await?.definition);
    }
    let frozen = versions::get(conn, workflow.id, version)
        .await?
        .ok_or_else(|| Error::not_found("workflow version", version))?;
    serde_json::from_str(&frozen.definition).map_err(Error::internal)
}

/// A definition of nothing but these parts.
pub fn fragment(
    steps: Vec<definition::Step>,
    transitions: Vec<definition::Transition>,
) -> Definition {
    Definition {
        workflow_id: Uuid::nil(),
        version: 0,
        client_id: Uuid::nil(),
        name: String::new(),
        description: None,
        target: None,
        steps,
        transitions,
    }
}

impl WorkingCopy {
    /// Reads it. The transaction sees one state of the database, or holds the workflow.
    pub async fn read(conn: &mut PgConnection, workflow: Workflow) -> Result<Self> {
        let steps = steps::list_all(conn, workflow.id).await?;
        let transitions = transitions::list(conn, workflow.id).await?;
        let definition = Definition {
            workflow_id: workflow.id,
            version: 0,
            client_id: workflow.client_id,
            name: workflow.name.clone(),
            description: workflow.description.clone(),
            target: workflow.target.clone(),
            steps: (steps.iter().filter(|step| !step.removed))
                .map(Step::definition)
                .collect(),
            transitions: (transitions.into_iter())
                .map(|transition| transition.fields.definition(transition.id))
                .collect(),
        };
        Ok(Self {
            definition,
            steps,
            workflow,
        })
    }

    /// Makes the locked working copy equal to `wanted`, and says what that changed. Steps with ids that the
    /// workflow knows stay, or come back; others are new.
    pub async fn rewrite(&self, conn: &mut PgConnection, wanted: &Definition) -> Result<Diff> {
        let diff = diff::between(&self.definition, wanted);
        if !diff.workflow.is_empty() {
            let workflow = Workflow {
                name: wanted.name.clone(),
                description: wanted.description.clone(),
                target: wanted.target.clone(),
                ..self.workflow.clone()
            };
            workflows::update(conn, &workflow).await?;
        }
        let ways = self.ways(&diff, wanted);
        if !ways.gone.is_empty() {
            transitions::delete(conn, &ways.gone).await?;
        }
        self.rewrite_steps(conn, &diff, wanted).await?;
        transitions::update_all(conn, &ways.kept).await?;
        // An id that was there before must not bring back an etag that was: the workflow's is higher.
        let revision = self.workflow.revision + 1;
        transitions::insert_all(conn, self.workflow.id, revision, &ways.new).await?;
        if !diff.is_empty() {
            editing::finish(conn, self.workflow.id).await?;
        }
        Ok(diff)
    }

    async fn rewrite_steps(
        &self,
        conn: &mut PgConnection,
        diff: &Diff,
        wanted: &Definition,
    ) -> Result<()> {
        let known: HashMap<Uuid, &Step> = self.steps.iter().map(|step| (step.id, step)).collect();
        let is: HashMap<Uuid, &definition::Step> =
            wanted.steps.iter().map(|step| (step.id, step)).collect();
        let (mut renamed, mut kept, mut new) = (Vec::new(), Vec::new(), Vec::new());
        for step in &diff.steps {
            match (step.action, known.get(&step.id)) {
                (Action::Removed, known) => {
                    let known = known.expect("what was in the working copy is known");
                    editing::remove_step(conn, known).await?;
                }
                (_, None) => new.push(is[&step.id]),
                (_, Some(known)) => {
                    if !known.removed && known.fields.name != step.name {
                        renamed.push(step.id);
                    }
                    kept.push(is[&step.id]);
                }
            }
        }
        if !renamed.is_empty() {
            steps::vacate_names(conn, &renamed).await?;
        }
        steps::update_all(conn, &kept).await?;
        steps::insert_all(conn, self.workflow.id, &new).await
    }

    /// What becomes of the rows of transitions. One that leads elsewhere is made anew, under its id: its old
    /// end may be a step that goes.
    fn ways<'w>(&self, diff: &Diff, wanted: &'w Definition) -> Ways<'w> {
        let is: HashMap<Uuid, &definition::Transition> =
            wanted.transitions.iter().map(|t| (t.id, t)).collect();
        let mut ways = Ways::default();
        let mut gone = HashSet::new();
        for transition in &diff.transitions {
            let moved = |path: &str| matches!(path, "id" | "fromStepId" | "toStepId");
            let stays = transition.action == Action::Changed
                && !transition.changes.iter().any(|change| moved(&change.path));
            match is.get(&transition.id) {
                Some(wanted) if stays => ways.kept.push(wanted),
                wanted => {
                    gone.extend(transition.id_before);
                    ways.new.extend(wanted);
                }
            }
        }
        ways.gone = gone.into_iter().collect();
        ways
    }
}

#[derive(Default)]
struct Ways<'a> {
    gone: Vec<Uuid>,
    kept: Vec<&'a definition::Transition>,
    new: Vec<&'a definition::Transition>,
}
