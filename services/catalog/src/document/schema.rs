//! Documents as JSON Schema, for editors. Invariant: the examples' schema file is what this makes, byte for
//! byte; what it refuses, reading or validating a document complains of.

use std::ops::RangeInclusive;

use model::kind::{RESERVED, StepType};
use serde_json::{Map, Value, json};

use crate::fields;

/// The schema of a document.
pub fn document() -> Value {
    let mut definitions = Map::new();
    definitions.insert(
        "condition".to_owned(),
        model::condition::schema("#/$defs/condition"),
    );
    for about in StepType::all() {
        let mut schema = about.config_schema();
        // It stands within a schema that says this.
        schema
            .as_object_mut()
            .map(|schema| schema.remove("$schema"));
        definitions.insert(config_name(about), schema);
    }
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Workflow document",
        "description": "A whole workflow, as ApplyWorkflow takes it and ExportWorkflow writes it.",
        "type": "object",
        "properties": {
            "client": client(),
            "workflow": workflow(),
            "steps": {
                "type": "array", "maxItems": fields::MAX_STEPS, "items": step(),
                "description": "In any order; `order` says which comes first.",
            },
            "transitions": {
                "type": "array", "maxItems": fields::MAX_TRANSITIONS, "items": transition(),
                "description": "The ways between steps; without any, steps follow one another by `order`.",
            },
        },
        "required": ["client", "workflow"],
        "additionalProperties": false,
        "$defs": definitions,
    })
}

fn config_name(about: &StepType) -> String {
    match about.is_job() {
        true => "job_config".to_owned(),
        false => format!("{}_config", about.word),
    }
}

fn text(chars: RangeInclusive<usize>, description: &str) -> Value {
    let mut schema =
        json!({ "type": "string", "maxLength": chars.end(), "description": description });
    if *chars.start() > 0 {
        schema["pattern"] = json!("\\S");
    }
    schema
}

fn client() -> Value {
    json!({
        "description": "Whose workflow it is.",
        "oneOf": [
            { "type": "string", "format": "uuid", "description": "The client's id." },
            {
                "type": "object",
                "description": "A client, found by its exact name; made with the other fields if there is none.",
                "properties": {
                    "name": text(fields::NAME, "The client's name."),
                    "email": text(fields::EMAIL, "Email address."),
                    "phone": text(fields::PHONE, "Phone number, in quotes."),
                    "address": text(fields::ADDRESS, "Postal address."),
                    "company": text(fields::COMPANY, "Company."),
                    "notes": text(fields::NOTES, "Notes."),
                    "isActive": {
                        "type": "boolean", "default": true,
                        "description": "Whether executions may start.",
                    },
                },
                "required": ["name"],
                "additionalProperties": false,
            },
        ],
    })
}

fn workflow() -> Value {
    let mut target = model::kind::duration_schema();
    target["maxLength"] = json!(fields::TARGET.end());
    target["description"] = json!(
        "Within which time an execution should end, from its start. Nothing happens when it is missed: reports \
         tell whether it was met."
    );
    json!({
        "type": "object",
        "properties": {
            "name": text(fields::NAME, "The client's workflow of this name is changed, or made."),
            "description": text(fields::DESCRIPTION, "What the workflow is for."),
            "target": target,
            "status": {
                "enum": ["DRAFT", "ACTIVE"], "default": "DRAFT",
                "description": "ACTIVE: publish after applying.",
            },
        },
        "required": ["name"],
        "additionalProperties": false,
    })
}

fn step() -> Value {
    let reference = |about: &StepType| json!({ "$ref": format!("#/$defs/{}", config_name(about)) });
    let built_in = StepType::all().iter().filter(|about| !about.is_job());
    let words: Vec<&str> = built_in.clone().map(|about| about.word).collect();
    let mut rules: Vec<Value> = built_in
        .map(|about| {
            let is_this = json!({ "properties": { "stepType": { "const": about.word } } });
            let needs_config = !about.config_schema()["required"].is_null()
                || !about.config_schema()["oneOf"].is_null();
            let mut then = json!({ "properties": { "config": reference(about) } });
            if needs_config {
                then["required"] = json!(["config"]);
            }
            json!({ "if": is_this, "then": then })
        })
        .collect();
    rules.push(json!({
        "if": { "properties": { "stepType": { "not": { "enum": words } } } },
        "then": { "properties": { "config": reference(StepType::of("")) } },
    }));
    json!({
        "type": "object",
        "properties": {
            "key": {
                "type": "string", "pattern": "^[a-z0-9-]{1,100}$",
                "description": "What documents know the step by through renames. Default: made from the name.",
            },
            "name": text(fields::NAME, "Unique in the workflow: what conditions know the step by."),
            "description": text(fields::DESCRIPTION, "What the step is for."),
            "stepType": {
                "type": "string", "maxLength": fields::STEP_TYPE.end(), "pattern": "\\S",
                "not": { "enum": RESERVED },
                "anyOf": [{ "enum": words }, { "type": "string" }],
                "description": "What the step does; any other word is a job for an external worker.",
            },
            "order": {
                "type": "integer", "minimum": 0, "maximum": i32::MAX,
                "description": "The position among the steps. Default: its place in this list, from 0.",
            },
            "isRequired": {
                "type": "boolean", "default": true,
                "description": "Whether its failure fails the execution.",
            },
            "config": {
                "type": "object",
                "description": "What is understood depends on stepType.",
            },
        },
        "required": ["name", "stepType"],
        "additionalProperties": false,
        "allOf": rules,
    })
}

fn transition() -> Value {
    json!({
        "type": "object",
        "properties": {
            "from": text(fields::NAME, "Name or key of the step it leaves."),
            "to": text(fields::NAME, "Name or key of the step it leads to."),
            "condition": { "$ref": "#/$defs/condition" },
            "isDefault": {
                "type": "boolean", "default": false,
                "description": "Taken only if no other transition of the step holds; has no condition.",
            },
        },
        "required": ["from", "to"],
        "additionalProperties": false,
        "not": {
            "properties": { "isDefault": { "const": true } },
            "required": ["isDefault", "condition"],
        },
    })
}
