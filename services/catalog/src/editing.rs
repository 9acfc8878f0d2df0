//! What every edit of a working copy has to keep. Invariant: the workflow's row is locked from the first
//! look at its parts to the commit, and nobody edits what is archived.

use std::collections::HashSet;

use chassis::{Error, Result};
use model::status::WorkflowStatus;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::fields;
use crate::store::steps::{self, Step};
use crate::store::transitions;
use crate::store::workflows::{self, Workflow};

/// Locks a workflow whose definition or status is to change.
pub async fn lock(conn: &mut PgConnection, id: Uuid) -> Result<Workflow> {
    let workflow = workflows::lock(conn, id)
        .await?
        .ok_or_else(|| Error::not_found("workflow", id))?;
    if workflow.status == WorkflowStatus::Archived {
        return Err(archived(id));
    }
    Ok(workflow)
}

pub fn archived(id: Uuid) -> Error {
    let message = format!("workflow {id} is archived: it can be read, not changed");
    Error::precondition("WORKFLOW_ARCHIVED", message)
}

/// Locks the workflow of a step, then reads the step.
pub async fn lock_step(conn: &mut PgConnection, id: Uuid) -> Result<Step> {
    let missing = || Error::not_found("step", id);
    let seen = steps::get(conn, id).await?.ok_or_else(missing)?;
    lock(conn, seen.workflow_id).await?;
    // Read again: it may have gone while the lock was waited for.
    steps::get(conn, id).await?.ok_or_else(missing)
}

/// Refuses an edit after which the workflow would be too large; and says that the workflow has changed.
pub async fn finish(conn: &mut PgConnection, id: Uuid) -> Result<()> {
    let size = workflows::size(conn, id).await?;
    for (what, is, most) in [
        ("steps", size.steps, fields::MAX_STEPS),
        ("transitions", size.transitions, fields::MAX_TRANSITIONS),
        ("bytes", size.bytes, fields::MAX_WORKFLOW_BYTES),
    ] {
        if usize::try_from(is).is_ok_and(|is| is > most) {
            let message =
                format!("the workflow would have {is} {what}; at most {most} are possible");
            return Err(Error::precondition("LIMIT_EXCEEDED", message));
        }
    }
    workflows::touch(conn, id).await
}

/// Takes a step and its transitions out of the working copy.
pub async fn remove_step(conn: &mut PgConnection, step: &Step) -> Result<()> {
    if !step.was_published {
        return steps::delete(conn, step.id).await;
    }
    transitions::delete_of_step(conn, step.id).await?;
    steps::mark_removed(conn, step.id).await
}

/// A key for a step of this name that no step of the workflow has or had.
pub fn free_key(name: &str, taken: &HashSet<String>) -> String {
    let slug = model::text::slug(name);
    if !taken.contains(&slug) {
        return slug;
    }
    (2..)
        .map(|number| {
            let suffix = format!("-{number}");
            // Slugs are ASCII, so every index is a character's.
            format!("{}{suffix}", &slug[..slug.len().min(100 - suffix.len())])
        })
        .find(|key| !taken.contains(key))
        .expect("there are more numbers than steps")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_made_unique_within_their_length() {
        let long = "x".repeat(150);
        let cut = "x".repeat(100);
        let numbered = format!("{}-2", "x".repeat(98));
        let taken = HashSet::from(["review", "review-2", &cut].map(str::to_owned));
        assert_eq!(free_key("Review", &taken), "review-3");
        assert_eq!(free_key("Other", &taken), "other");
        assert_eq!(free_key(&long, &taken), numbered);
    }
}
