//! A workflow as data: what is edited, frozen as a version and handed to the execution service.
//! Invariant: the JSON form is what `workflow_versions` stores, so a change here must still read every
//! snapshot ever written.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

/// One version of a workflow, or its working copy. May be wrong in every way until
/// [`Graph::parse`](crate::graph::Graph::parse) has accepted it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Definition {
    pub workflow_id: Uuid,
    /// From 1; 0 is the working copy.
    pub version: i32,
    pub client_id: Uuid,
    pub name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Within which time an execution should end: a duration as [`crate::duration`] reads it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    pub steps: Vec<Step>,
    pub transitions: Vec<Transition>,
}

/// One step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Step {
    /// Kept through edits, renames and versions.
    pub id: Uuid,
    /// Unique in the workflow and immutable: what documents know the step by.
    pub key: String,
    /// Unique in the workflow: what conditions know the step by.
    pub name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// A built-in word, or any other word for an external worker's job.
    pub step_type: String,
    pub order: i32,
    #[serde(default)]
    pub config: Map<String, Value>,
    /// Whether its failure fails the execution.
    pub is_required: bool,
}

/// A way from one step to another.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Transition {
    pub id: Uuid,
    pub from_step_id: Uuid,
    pub to_step_id: Uuid,
    /// Absent: always.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub condition: Option<Value>,
    /// Taken only if no other transition of the step holds.
    #[serde(default)]
    pub is_default: bool,
}
