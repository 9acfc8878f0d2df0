//! From the working copy to an immutable version. Invariant: what is frozen has been parsed without an
//! error, and two versions in a row are never equal.

use chassis::{Error, Result, Violation};
use model::definition::Definition;
use model::graph::Graph;
use model::problem::Problem;
use model::status::WorkflowStatus;
use sha2::{Digest, Sha256};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::store::steps;
use crate::store::versions::{self, NewVersion};
use crate::store::workflows::{self, Workflow};

/// What publishing did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Published {
    /// Froze this version.
    New(i32),
    /// Found the working copy equal to this version, and made it ACTIVE again.
    Again(i32),
    /// Found it published and ACTIVE already.
    Nothing,
}

impl Published {
    /// In words; None if nothing happened.
    pub fn line(self) -> Option<String> {
        match self {
            Self::New(version) => Some(format!("published version {version}")),
            Self::Again(version) => Some(format!("activated version {version}")),
            Self::Nothing => None,
        }
    }
}

/// What is said of a version when it is published.
#[derive(Debug, Clone, Copy)]
pub struct Release<'a> {
    pub by: Option<Uuid>,
    /// The version that it brings back.
    pub from_version: Option<i32>,
    pub comment: Option<&'a str>,
}

impl Release<'_> {
    pub fn by(by: Option<Uuid>) -> Self {
        Self {
            by,
            from_version: None,
            comment: None,
        }
    }
}

/// Everything that is wrong with a definition.
pub fn problems(definition: Definition) -> Vec<Problem> {
    match Graph::parse(definition) {
        Ok((_, warnings)) => warnings,
        Err(problems) => problems,
    }
}

/// Refuses a definition that has an error, naming each of its problems.
pub fn check(problems: &[Problem]) -> Result<()> {
    let errors = problems.iter().filter(|problem| problem.is_error()).count();
    if errors == 0 {
        return Ok(());
    }
    let mut sorted: Vec<&Problem> = problems.iter().collect();
    sorted.sort_by_key(|problem| !problem.is_error());
    let violations = (sorted.into_iter())
        .map(|problem| Violation {
            field: problem.path.clone(),
            description: if problem.is_error() {
                format!("{}: {}", problem.code, problem.message)
            } else {
                format!("{} (warning): {}", problem.code, problem.message)
            },
        })
        .collect();
    let message = match errors {
        1 => "the definition has an error".to_owned(),
        errors => format!("the definition has {errors} errors"),
    };
    Err(Error::precondition("DEFINITION_INVALID", message).with_violations(violations))
}

/// Freezes a working copy that has passed [`check`] as the next version, unless it equals the latest.
/// `workflow` is locked and as it now stands.
pub async fn freeze(
    conn: &mut PgConnection,
    workflow: &Workflow,
    mut definition: Definition,
    release: Release<'_>,
) -> Result<Published> {
    let digest = Sha256::digest(serde_json::to_vec(&definition).map_err(Error::internal)?);
    let latest = versions::latest(conn, workflow.id).await?;
    if let Some((version, frozen)) = &latest
        && frozen.as_slice() == digest.as_slice()
    {
        if workflow.status == WorkflowStatus::Active && !workflow.has_unpublished_changes {
            return Ok(Published::Nothing);
        }
        workflows::set_published(conn, workflow.id, *version).await?;
        return Ok(match workflow.status {
            WorkflowStatus::Active => Published::Nothing,
            _ => Published::Again(*version),
        });
    }
    definition.version = latest.map_or(1, |(version, _)| version + 1);
    let version = NewVersion {
        workflow_id: workflow.id,
        version: definition.version,
        definition: &serde_json::to_string(&definition).map_err(Error::internal)?,
        digest: &digest,
        published_by: release.by,
        from_version: release.from_version,
        comment: release.comment,
    };
    versions::insert(conn, version).await?;
    steps::mark_published(conn, workflow.id).await?;
    workflows::set_published(conn, workflow.id, definition.version).await?;
    Ok(Published::New(definition.version))
}
