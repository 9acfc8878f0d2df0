//! ListStepTypes. Invariant: nothing is written down here; the table of settings tells it all.

use model::kind::StepType;
use model::wire;
use prost_types::Struct;
use proto::catalog::v1 as pb;
use serde_json::Value;

use crate::document::schema;

pub fn list() -> pb::ListStepTypesResponse {
    let (jobs, built_in): (Vec<_>, Vec<_>) =
        StepType::all().iter().partition(|about| about.is_job());
    pb::ListStepTypesResponse {
        step_types: built_in.into_iter().map(message).collect(),
        job: jobs.into_iter().map(message).next(),
        document_schema: object(&schema::document()),
    }
}

fn message(about: &StepType) -> pb::StepType {
    pb::StepType {
        step_type: about.word.to_owned(),
        title: about.title.to_owned(),
        description: about.description.to_owned(),
        config_schema: object(&about.config_schema()),
        output_schema: object(&about.output_schema()),
        config_example: object(&about.example()),
    }
}

fn object(value: &Value) -> Option<Struct> {
    value.as_object().map(wire::struct_from_json)
}
