//! Writes a workflow as a document. Invariant: reading gives what was written, and writing that gives the
//! same bytes.

use std::collections::HashMap;

use chassis::error::{Error, Result};
use model::definition::Definition;
use serde::Serialize;
use serde_json::{Map, Value};
use uuid::Uuid;

/// What the document says of the client.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Owner {
    Named { name: String },
    Id(Uuid),
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Document<'a> {
    client: &'a Owner,
    workflow: Head<'a>,
    steps: Vec<Step<'a>>,
    transitions: Vec<Transition<'a>>,
}

#[derive(Serialize)]
struct Head<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<&'a str>,
    status: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Step<'a> {
    key: &'a str,
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
    step_type: &'a str,
    order: i32,
    is_required: bool,
    #[serde(skip_serializing_if = "Map::is_empty")]
    config: &'a Map<String, Value>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Transition<'a> {
    from: &'a str,
    to: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    condition: Option<&'a Value>,
    is_default: bool,
}

/// The definition as YAML text; `publish` is what its status asks of whoever applies it.
pub fn write(definition: &Definition, owner: &Owner, publish: bool) -> Result<String> {
    let keys: HashMap<Uuid, &str> = (definition.steps.iter())
        .map(|step| (step.id, step.key.as_str()))
        .collect();
    let key = |id: &Uuid| {
        let key = keys.get(id).copied();
        key.ok_or_else(|| Error::internal(format_args!("a transition to {id}, which is no step")))
    };
    let steps = (definition.steps.iter())
        .map(|step| Step {
            key: &step.key,
            name: &step.name,
            description: step.description.as_deref(),
            step_type: &step.step_type,
            order: step.order,
            is_required: step.is_required,
            config: &step.config,
        })
        .collect();
    let transitions = (definition.transitions.iter())
        .map(|transition| {
            Ok(Transition {
                from: key(&transition.from_step_id)?,
                to: key(&transition.to_step_id)?,
                condition: transition.condition.as_ref(),
                is_default: transition.is_default,
            })
        })
        .collect::<Result<_>>()?;
    let document = Document {
        client: owner,
        workflow: Head {
            name: &definition.name,
            description: definition.description.as_deref(),
            target: definition.target.as_deref(),
            status: if publish { "ACTIVE" } else { "DRAFT" },
        },
        steps,
        transitions,
    };
    let options = serde_saphyr::ser_options! {
        // What YAML would fold or guess at is written in quotes, on one line.
        prefer_block_scalars: false,
    };
    serde_saphyr::to_string_with_options(&document, options).map_err(Error::internal)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::super::text;
    use super::*;

    fn definition(config: Map<String, Value>, name: String) -> Definition {
        let ids = [1, 2].map(Uuid::from_u128);
        let step = |id: Uuid, key: &str, name: String| model::definition::Step {
            id,
            key: key.to_owned(),
            name,
            description: None,
            step_type: "custom".to_owned(),
            order: 1,
            config: config.clone(),
            is_required: true,
        };
        Definition {
            workflow_id: Uuid::nil(),
            version: 0,
            client_id: Uuid::nil(),
            name: name.clone(),
            description: Some(name.clone()),
            target: None,
            steps: vec![
                step(ids[0], "1", name),
                step(ids[1], "null", "B".to_owned()),
            ],
            transitions: vec![model::definition::Transition {
                id: Uuid::nil(),
                from_step_id: ids[0],
                to_step_id: ids[1],
                condition: Some(Value::Object(config.clone())),
                is_default: false,
            }],
        }
    }

    fn value() -> impl Strategy<Value = Value> {
        let text = prop_oneof![
            any::<String>(),
            "[ \\n\\t:#'\"&*!%@`|>?~.,\\-\\[\\]{}=a0-9]{0,12}",
            proptest::sample::select(vec![
                "",
                "yes",
                "no",
                "null",
                "~",
                "true",
                "False",
                "007",
                "1_000",
                "0x1f",
                "1e3",
                ".5",
                ".inf",
                "12:30:00",
                "2026-01-01",
                "<<",
                "---",
                "...",
                "- a",
                "a: b",
                "# x",
                "\u{feff}",
                "\u{85}",
                "\u{2028}",
                " x ",
                "x\n",
                "\nx",
                "a\r\nb",
            ])
            .prop_map(str::to_owned),
        ];
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            (-(1_i64 << 53)..=1 << 53).prop_map(Value::from),
            any::<f64>()
                .prop_filter("as it is read", |f| f.is_finite() && f.fract() != 0.0)
                .prop_map(Value::from),
            text.clone().prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 4, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map(text.clone(), inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(value in value(), name in any::<String>()) {
            let config = Map::from_iter([("value".to_owned(), value.clone())]);
            let written =
                write(&definition(config.clone(), name.clone()), &Owner::Id(Uuid::nil()), true).unwrap();
            let read = text::parse(&written).unwrap_or_else(|fault| panic!("{fault}\n{written}"));
            prop_assert_eq!(&read["steps"][0]["config"]["value"], &value, "{}", written);
            prop_assert_eq!(&read["transitions"][0]["condition"]["value"], &value);
            prop_assert_eq!(&read["steps"][0]["name"], &json!(name));
            prop_assert_eq!(&read["transitions"][0]["to"], &json!("null"));
        }
    }
}
