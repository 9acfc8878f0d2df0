//! The examples, the schema that editors get, and documents made by chance.

use std::collections::BTreeSet;
use std::path::PathBuf;

use jsonschema::Validator;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use proto::catalog::v1 as pb;
use serde_json::{Map, Value, json};

use crate::apply::in_use;
use crate::harness::Catalog;

fn folder() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/examples"))
}

/// The workflow that an example runs.
const CALLED: &str = "018f3b5e-7a10-7c4e-9a53-2f7d1c0b9e64";

/// Name and text of each example.
fn examples() -> Vec<(String, String)> {
    let mut found = Vec::new();
    for folder in [folder(), folder().join("processes")] {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path
                .extension()
                .is_some_and(|extension| extension == "yaml")
            {
                let name = path.file_stem().unwrap().to_string_lossy().into_owned();
                found.push((name, std::fs::read_to_string(&path).unwrap()));
            }
        }
    }
    found.sort();
    assert!(found.len() > 12, "{} found", found.len());
    found
}

fn read(document: &str) -> Value {
    serde_saphyr::from_str(document).unwrap()
}

async fn step_types(catalog: &Catalog) -> pb::ListStepTypesResponse {
    let request = pb::ListStepTypesRequest {};
    catalog
        .workflows()
        .list_step_types(request)
        .await
        .unwrap()
        .into_inner()
}

fn plain(object: Option<&prost_types::Struct>) -> Value {
    Value::Object(model::wire::json_from_struct(object.unwrap()).unwrap())
}

fn validator(schema: &Value) -> Validator {
    jsonschema::meta::validate(schema).unwrap();
    let options = jsonschema::options().should_validate_formats(true);
    options.build(schema).unwrap()
}

async fn export(catalog: &Catalog, id: &str) -> String {
    let request = pb::ExportWorkflowRequest {
        id: id.to_owned(),
        version: 0,
    };
    catalog
        .workflows()
        .export_workflow(request)
        .await
        .unwrap()
        .into_inner()
        .document
}

#[tokio::test]
async fn examples_apply_validate_publish_and_come_back_to_the_byte() {
    let catalog = Catalog::start().await;
    let schema = validator(&plain(step_types(&catalog).await.document_schema.as_ref()));
    // A workflow of the same client that an example may run, there and elsewhere.
    let mut called = [CALLED.to_owned(), CALLED.to_owned()];
    for (name, document) in examples() {
        let document = document.replace(CALLED, &called[0]);
        let errors: Vec<String> = schema
            .iter_errors(&read(&document))
            .map(|error| error.to_string())
            .collect();
        assert_eq!(errors, [""; 0], "{name}");
        let source = pb::validate_workflow_request::Source::Document(document.clone());
        let request = pb::ValidateWorkflowRequest {
            source: Some(source),
        };
        let verdict = catalog
            .workflows()
            .validate_workflow(request)
            .await
            .unwrap()
            .into_inner();
        assert!(
            verdict.valid && verdict.problems.is_empty(),
            "{name}: {:#?}",
            verdict.problems
        );

        let applied = catalog.apply(&document).await.unwrap();
        assert!(applied.published && applied.problems.is_empty(), "{name}");
        let workflow = applied.workflow.unwrap();
        assert_eq!(workflow.status(), pb::WorkflowStatus::Active);
        let exported = export(&catalog, &workflow.id).await;
        assert!(schema.is_valid(&read(&exported)), "{name}");
        let again = catalog.apply(&exported).await.unwrap();
        assert_eq!(again.changes, [""; 0], "{name}");
        assert_eq!(export(&catalog, &workflow.id).await, exported);
        // Where nothing of it is yet, it makes the same.
        let elsewhere = exported.replace("name: Northwind Traders", "name: Elsewhere");
        let elsewhere = elsewhere.replace("name: Contoso Manufacturing", "name: Elsewhere");
        assert_ne!(elsewhere, exported, "{name}");
        let elsewhere = elsewhere.replace(&called[0], &called[1]);
        let made = catalog.apply(&elsewhere).await.unwrap().workflow.unwrap();
        assert_eq!(export(&catalog, &made.id).await, elsewhere);
        if name == "first-steps" {
            called = [workflow.id, made.id];
        }
    }
}

/// Every key that stands anywhere in a value, and every text.
fn words(value: &Value, into: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => fields.iter().for_each(|(key, value)| {
            into.insert(key.clone());
            words(value, into);
        }),
        Value::Array(items) => items.iter().for_each(|item| words(item, into)),
        Value::String(text) => drop(into.insert(text.clone())),
        _ => {}
    }
}

/// The keys that a schema knows, and the words that it lists.
fn features(schema: &Value, into: &mut BTreeSet<String>) {
    match schema {
        Value::Object(fields) => {
            if let Some(Value::Object(properties)) = fields.get("properties") {
                let known = properties
                    .iter()
                    .filter(|(_, schema)| **schema != json!(false));
                into.extend(known.map(|(key, _)| key.clone()));
            }
            if let Some(Value::Array(listed)) = fields.get("enum") {
                into.extend(listed.iter().filter_map(Value::as_str).map(str::to_owned));
            }
            // What is forbidden, and what is written as an example, is no feature.
            let within = fields
                .iter()
                .filter(|(key, _)| !matches!(key.as_str(), "not" | "examples"));
            within.for_each(|(_, schema)| features(schema, into));
        }
        Value::Array(items) => items.iter().for_each(|item| features(item, into)),
        _ => {}
    }
}

#[tokio::test]
async fn examples_show_everything_that_there_is() {
    let catalog = Catalog::start().await;
    let mut known = BTreeSet::new();
    features(
        &plain(step_types(&catalog).await.document_schema.as_ref()),
        &mut known,
    );
    assert!(known.len() > 70, "{known:?}");
    let mut shown = BTreeSet::new();
    for (_, document) in examples() {
        words(&read(&document), &mut shown);
    }
    // Applying a draft is what leaving the status out means.
    shown.insert("DRAFT".to_owned());
    let hidden: Vec<&String> = known.difference(&shown).collect();
    assert!(hidden.is_empty(), "no example shows {hidden:?}");
    let page = std::fs::read_to_string(folder().join("README.md")).unwrap();
    for (name, _) in examples() {
        assert!(
            page.contains(&format!("{name}.yaml)")),
            "README.md leaves out {name}"
        );
    }
}

#[tokio::test]
async fn the_schema_file_is_what_the_catalog_tells() {
    let catalog = Catalog::start().await;
    let told = step_types(&catalog).await;
    let words: Vec<&str> = told
        .step_types
        .iter()
        .map(|about| about.step_type.as_str())
        .collect();
    assert_eq!(words, model::kind::BUILT_IN);
    for about in told.step_types.iter().chain(&told.job) {
        let schema = validator(&plain(about.config_schema.as_ref()));
        assert!(
            schema.is_valid(&plain(about.config_example.as_ref())),
            "{}",
            about.title
        );
        validator(&plain(about.output_schema.as_ref()));
        assert!(about.description.len() > 10);
    }
    let schema = plain(told.document_schema.as_ref());
    let wanted = serde_json::to_string_pretty(&schema).unwrap() + "\n";
    let path = folder().join("workflow.schema.json");
    if std::fs::read_to_string(&path).ok().as_deref() != Some(&wanted) {
        let fresh = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("workflow.schema.json");
        std::fs::write(&fresh, wanted).unwrap();
        panic!("renew it: cp {} {}", fresh.display(), path.display());
    }
}

#[tokio::test]
async fn the_schema_accepts_what_is_in_use_and_refuses_what_is_wrong() {
    let catalog = Catalog::start().await;
    let schema = validator(&plain(step_types(&catalog).await.document_schema.as_ref()));
    for document in in_use() {
        assert!(schema.is_valid(&read(&document)), "{document}");
    }
    let base = || {
        json!({
            "client": { "name": "A" }, "workflow": { "name": "W" },
            "steps": [{ "name": "A", "stepType": "wait", "config": { "duration": "1h" } }],
            "transitions": [{ "from": "A", "to": "A", "isDefault": true }],
        })
    };
    assert!(schema.is_valid(&base()));
    for (pointer, wrong) in [
        ("/client", json!("Acme")),
        ("/client/name", json!("")),
        ("/client/emial", json!("a@b")),
        ("/workflow/status", json!("ARCHIVED")),
        ("/workflow/name", json!("x".repeat(201))),
        ("/steps/0/stepType", json!("foreach")),
        ("/steps/0/stepType", json!("transform")),
        ("/steps/0/config", json!({})),
        ("/steps/0/config/until", json!("2030-01-01T00:00:00Z")),
        ("/steps/0/config/duration", json!(48)),
        ("/steps/0/order", json!(-1)),
        ("/steps/0/key", json!("No Key")),
        ("/steps/0/colour", json!("red")),
        (
            "/transitions/0/condition",
            json!({ "field": "a", "operator": "exists" }),
        ),
        ("/transitions/0/isDefault", json!("yes")),
        ("/stages", json!([])),
    ] {
        let mut document = base();
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        let parent = document
            .pointer_mut(parent)
            .unwrap()
            .as_object_mut()
            .unwrap();
        parent.insert(key.to_owned(), wrong.clone());
        assert!(!schema.is_valid(&document), "{pointer}: {wrong}");
        // The catalog has something to say of it, too.
        let source = pb::validate_workflow_request::Source::Document(document.to_string());
        let request = pb::ValidateWorkflowRequest {
            source: Some(source),
        };
        let verdict = catalog.workflows().validate_workflow(request).await;
        let complains = verdict.map_or(true, |v| !v.into_inner().problems.is_empty());
        assert!(complains, "{pointer}: {wrong}");
    }
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => "[a-z]{1,8}",
        1 => "[ -~äß審\\n\\t]{0,10}x",
        1 => proptest::sample::select(vec!["yes", "~", "null", "1e3", "- a", "a: b", "#", "<<", "0x1f", "x ", "\u{2028}."])
            .prop_map(str::to_owned),
    ]
}

/// What a step's name may begin with; a number follows.
fn name() -> impl Strategy<Value = String> {
    let is_name = |text: &String| model::text::name_fault(&format!("{text} 1")).is_none();
    text().prop_filter("no name", is_name)
}

fn settings() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        any::<bool>().prop_map(Value::from),
        (-(1_i64 << 53)..=1 << 53).prop_map(Value::from),
        (-1e6..1e6_f64).prop_map(|number| json!(number + 0.5)),
        text().prop_map(Value::from),
        Just(json!(1e300)),
    ];
    let value = leaf.prop_recursive(3, 10, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::btree_map(text(), inner, 0..3)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    });
    let fields = prop::collection::btree_map(text(), value, 0..3);
    fields.prop_map(|fields| Value::Object(fields.into_iter().collect()))
}

/// A document, its steps known by key or by name, in any order.
fn document() -> impl Strategy<Value = Value> {
    let step = (
        name(),
        prop::option::of(text()),
        any::<bool>(),
        0..5,
        settings(),
        any::<bool>(),
    );
    let way = (
        any::<prop::sample::Index>(),
        any::<prop::sample::Index>(),
        prop::option::of(settings()),
        any::<bool>(),
    );
    let steps = prop::collection::vec(step, 0..6);
    let parts = (steps, prop::collection::vec(way, 0..8));
    (text(), prop::option::of(text()), parts).prop_map(|(name, description, (steps, ways))| {
        let count = steps.len();
        let steps: Vec<Value> = (steps.into_iter().enumerate())
            .map(
                |(at, (name, description, keyed, order, config, is_required))| {
                    let mut step = json!({
                        "name": format!("{name} {at}"), "stepType": "custom", "config": config,
                        "isRequired": is_required, "order": order,
                    });
                    let fields = step.as_object_mut().unwrap();
                    fields.extend(description.map(|text| ("description".to_owned(), json!(text))));
                    fields.extend(keyed.then(|| ("key".to_owned(), json!(format!("key-{at}")))));
                    step
                },
            )
            .collect();
        let ways: Vec<Value> = (ways.into_iter().filter(|_| count > 0))
            .map(|(from, to, condition, is_default)| {
                let end = |index: prop::sample::Index| steps[index.index(count)]["name"].clone();
                let mut way = json!({ "from": end(from), "to": end(to), "isDefault": is_default });
                let fields: &mut Map<String, Value> = way.as_object_mut().unwrap();
                fields.extend(condition.map(|condition| ("condition".to_owned(), condition)));
                way
            })
            .collect();
        json!({
            "client": { "name": "Acme" },
            "workflow": { "name": "W", "description": description.unwrap_or(name) },
            "steps": steps, "transitions": ways,
        })
    })
}

/// Each document replaces the one before: so a document also finds steps, or brings them back.
#[tokio::test]
async fn applying_what_was_exported_changes_nothing() {
    let catalog = Catalog::start().await;
    let documents = document();
    let mut runner = TestRunner::default();
    let mut changed = 0;
    for _ in 0..256 {
        let document = documents
            .new_tree(&mut runner)
            .unwrap()
            .current()
            .to_string();
        let applied = catalog.apply(&document).await;
        let applied = applied.unwrap_or_else(|status| panic!("{status:?}\n{document}"));
        changed += usize::from(!applied.changes.is_empty());
        let workflow = applied.workflow.unwrap();
        let exported = export(&catalog, &workflow.id).await;
        for again in [&exported, &document] {
            let again = catalog.apply(again).await.unwrap();
            assert_eq!(again.changes, [""; 0], "{document}\n{exported}");
            assert_eq!(again.workflow.as_ref(), Some(&workflow), "{document}");
        }
        assert_eq!(export(&catalog, &workflow.id).await, exported, "{document}");
    }
    assert!(changed > 200, "{changed}");
}
