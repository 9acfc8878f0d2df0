//! A workflow as a document: the form a team keeps in git and ApplyWorkflow takes. Invariant: a
//! `Document` is well-formed — every text has a legal length, every transition leads from and to a step
//! that stands in it — though it need not be publishable.

mod object;
mod read;
pub mod schema;
mod text;
mod write;

use chassis::error::{Error, Result, Violation};
use serde_json::Value;
use uuid::Uuid;

use self::object::Faults;
pub use self::write::{Owner, write};
use crate::fields::{ClientFields, StepFields};

/// What ApplyWorkflow is to bring about.
#[derive(Debug)]
pub struct Document {
    pub client: ClientRef,
    pub name: String,
    pub description: Option<String>,
    /// Within which time an execution should end.
    pub target: Option<String>,
    /// Whether the document says `status: ACTIVE`.
    pub publish: bool,
    pub steps: Vec<Step>,
    pub transitions: Vec<Transition>,
}

/// Whose workflow it is.
#[derive(Debug)]
pub enum ClientRef {
    Id(Uuid),
    /// Matched by its exact name; the other fields serve only to create it.
    Described(ClientFields),
}

#[derive(Debug)]
pub struct Step {
    /// Only if the document gives one.
    pub key: Option<String>,
    pub fields: StepFields,
}

#[derive(Debug)]
pub struct Transition {
    /// Index of the step it leaves.
    pub from: usize,
    /// Index of the step it leads to.
    pub to: usize,
    pub condition: Option<Value>,
    pub is_default: bool,
}

impl Document {
    /// Reads the document in a request's `field`; every fault of its form is reported, each with its place.
    pub fn parse(field: &str, document: &str) -> Result<Self> {
        if document.trim().is_empty() {
            return Err(Error::invalid(field, "is required"));
        }
        let value = text::parse(document).map_err(|fault| Error::invalid(field, fault))?;
        let mut faults = Faults::default();
        match read::read(value, &mut faults) {
            Some(document) if faults.0.is_empty() => Ok(document),
            _ => Err(Error::violations(
                faults
                    .0
                    .into_iter()
                    .map(|description| Violation {
                        field: field.to_owned(),
                        description,
                    })
                    .collect(),
            )),
        }
    }
}
