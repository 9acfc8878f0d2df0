//! Definitions that parse, and one that does not for each code.

mod apart;
mod configs;
mod facts;
mod problems;

use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::Graph;
use crate::definition::{Definition, Step, Transition};
use crate::kind::{Audience, Kind, WaitUntil};
use crate::problem::Problem;

/// A definition from the form that documents have: steps as `{name, stepType, order?, config?}`,
/// transitions as `{from, to, condition?, isDefault?}` by name. Orders default to the position.
fn definition(steps: Value, transitions: Value) -> Definition {
    let items = |value: Value| value.as_array().cloned().unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let steps: Vec<Step> = items(steps)
        .iter()
        .enumerate()
        .map(|(at, step)| Step {
            id: Uuid::from_u128(1000 + at as u128),
            key: step
                .get("key")
                .map_or_else(|| crate::text::slug(&text(&step["name"])), &text),
            name: text(&step["name"]),
            description: None,
            step_type: step
                .get("stepType")
                .map_or_else(|| "custom".to_owned(), &text),
            order: step["order"]
                .as_i64()
                .map_or(at as i32, |order| order as i32),
            config: step["config"].as_object().cloned().unwrap_or_default(),
            is_required: step["isRequired"].as_bool().unwrap_or(true),
        })
        .collect();
    let id_of = |name: &Value| {
        let step = steps
            .iter()
            .find(|step| Some(step.name.as_str()) == name.as_str());
        step.map_or(Uuid::from_u128(9), |step| step.id)
    };
    let transitions = items(transitions)
        .iter()
        .enumerate()
        .map(|(at, transition)| Transition {
            id: Uuid::from_u128(2000 + at as u128),
            from_step_id: id_of(&transition["from"]),
            to_step_id: id_of(&transition["to"]),
            condition: transition.get("condition").cloned(),
            is_default: transition["isDefault"].as_bool().unwrap_or(false),
        })
        .collect();
    Definition {
        workflow_id: Uuid::from_u128(1),
        version: 1,
        client_id: Uuid::from_u128(2),
        name: "Test".to_owned(),
        description: None,
        target: None,
        steps,
        transitions,
    }
}

/// One step with a config, between nothing.
fn single(step_type: &str, config: Value) -> Definition {
    definition(
        json!([{ "name": "A", "stepType": step_type, "config": config }]),
        json!([]),
    )
}

fn parse(steps: Value, transitions: Value) -> Graph {
    let (graph, warnings) = Graph::parse(definition(steps, transitions)).unwrap();
    assert_eq!(warnings, []);
    graph
}

fn name(graph: &Graph, at: usize) -> &str {
    &graph.definition.steps[at].name
}

/// Each step's targets in judging order: `A > B C; B > C`.
fn ways(graph: &Graph) -> String {
    let step = |(at, node): (usize, &super::Node)| {
        let targets: Vec<&str> = node
            .outgoing
            .iter()
            .map(|edge| name(graph, edge.to))
            .collect();
        format!("{} > {}", name(graph, at), targets.join(" "))
    };
    let nodes = graph.nodes.iter().enumerate();
    let steps: Vec<String> = nodes
        .filter(|(_, n)| !n.outgoing.is_empty())
        .map(step)
        .collect();
    steps.join("; ")
}

#[test]
fn workflows_in_use_parse_without_a_word() {
    let documents: Vec<Value> =
        serde_saphyr::from_str(include_str!("workflows-in-use.yaml")).unwrap();
    assert_eq!(documents.len(), 3);
    let mut starts = Vec::new();
    for document in documents {
        let graph = parse(document["steps"].clone(), document["transitions"].clone());
        starts.push(name(&graph, graph.start).to_owned());
        let json = serde_json::to_string(&graph.definition).unwrap();
        let read: Definition = serde_json::from_str(&json).unwrap();
        assert_eq!(read, graph.definition);
    }
    assert_eq!(
        starts,
        ["Initial Contact", "Ticket Created", "Invoice Submission"]
    );
}

#[test]
fn the_snapshot_has_the_documented_keys() {
    let definition = definition(
        json!([{ "name": "A" }, { "name": "B" }]),
        json!([{ "from": "A", "to": "B", "condition": { "cel": "true" } }]),
    );
    let json = serde_json::to_value(&definition).unwrap();
    let keys = |value: &Value| {
        value
            .as_object()
            .unwrap()
            .keys()
            .cloned()
            .collect::<Vec<_>>()
            .join(" ")
    };
    assert_eq!(
        keys(&json),
        "clientId name steps transitions version workflowId"
    );
    assert_eq!(
        keys(&json["steps"][0]),
        "config id isRequired key name order stepType"
    );
    assert_eq!(
        keys(&json["transitions"][0]),
        "condition fromStepId id isDefault toStepId"
    );
}

#[test]
fn the_start_has_no_incoming_transition_and_the_lowest_order() {
    let check = |steps: Value, transitions: Value, want: &str| {
        let graph = parse(steps, transitions);
        assert_eq!(name(&graph, graph.start), want);
        assert_eq!(
            graph.node_of(graph.definition.steps[graph.start].id),
            Some(graph.start)
        );
    };
    let three = json!([{ "name": "A", "order": 5 }, { "name": "B", "order": 1 }, { "name": "C", "order": 9 }]);
    let way = |from: &str, to: &str| json!({ "from": from, "to": to });
    check(three.clone(), json!([way("A", "B"), way("B", "C")]), "A");
    // A loop back to the first: the lowest order of all.
    check(
        three.clone(),
        json!([way("A", "B"), way("B", "C"), way("C", "A")]),
        "B",
    );
    // No transitions: by order.
    check(three.clone(), json!([]), "B");
    // A step that repeats itself can still be the first.
    let again = json!({ "from": "A", "to": "A", "condition": { "cel": "false" } });
    let on = json!({ "from": "A", "to": "B", "isDefault": true });
    check(three, json!([again, on, way("B", "C")]), "A");
    check(json!([{ "name": "A" }]), json!([]), "A");
}

#[test]
fn without_transitions_steps_run_by_order() {
    let graph = parse(
        json!([{ "name": "A", "order": 5 }, { "name": "B", "order": 1 }, { "name": "C", "order": 9 }]),
        json!([]),
    );
    assert_eq!(ways(&graph), "A > C; B > A");
    assert!(
        graph
            .nodes
            .iter()
            .flat_map(|node| &node.outgoing)
            .all(|edge| edge.id.is_nil())
    );
}

#[test]
fn edges_are_judged_by_target_order_then_id_and_the_default_last() {
    let condition = json!({ "field": "x", "operator": "exists" });
    let graph = parse(
        json!([{ "name": "A" }, { "name": "B", "order": 7 }, { "name": "C", "order": 3 }, { "name": "D", "order": 3 },
               { "name": "E", "order": 1 }]),
        json!([
            { "from": "A", "to": "E", "isDefault": true },
            { "from": "A", "to": "B", "condition": condition },
            { "from": "A", "to": "D", "condition": condition },
            { "from": "A", "to": "C", "condition": condition },
            { "from": "A", "to": "B", "condition": { "field": "step.status", "operator": "equals", "value": "FAILED" } },
        ]),
    );
    assert_eq!(ways(&graph), "A > D C B B E");
    let edges = &graph.nodes[0].outgoing;
    let catches: Vec<bool> = edges.iter().map(|edge| edge.is_catch).collect();
    assert_eq!(catches, [false, false, false, true, false]);
    assert!(edges[4].is_default && edges[4].condition.is_none());
    assert_eq!(edges[0].id, Uuid::from_u128(2002));
}

#[test]
fn kinds_are_read_from_their_configs() {
    let kind = |step_type: &str, config: Value| {
        let (graph, warnings) = Graph::parse(single(step_type, config)).unwrap();
        assert_eq!(warnings, [], "{step_type}");
        graph.nodes[0].kind.clone()
    };
    let Kind::Approval(audience) = kind(
        "approval",
        json!({ "approverRole": "finance", "assignees": ["Ada@Example.com "], "timeout": "48h" }),
    ) else {
        panic!("an approval");
    };
    let wanted = Audience {
        group: Some("finance".to_owned()),
        assignees: vec!["ada@example.com".to_owned()],
    };
    assert_eq!(audience, wanted);
    let Kind::DataEntry(audience) = kind(
        "data_entry",
        json!({ "requiredDocuments": ["id"], "approverRole": null }),
    ) else {
        panic!("a data entry");
    };
    assert_eq!(audience, Audience::default());
    let Kind::Notification {
        notification_type,
        template,
        recipients,
    } = kind(
        "notification",
        json!({ "template": "welcome", "recipients": ["a@b.c"], "message": "" }),
    )
    else {
        panic!("a notification");
    };
    assert_eq!(
        (notification_type.as_str(), template.as_deref()),
        ("email", Some("welcome"))
    );
    assert_eq!(recipients, ["a@b.c"]);
    let Kind::Transform(fields) = kind(
        "transform",
        json!({ "output": { "b": "1 + 1", "a": "amount" } }),
    ) else {
        panic!("a transform");
    };
    let keys: Vec<&str> = fields.iter().map(|(key, _)| key.as_str()).collect();
    assert_eq!(keys, ["a", "b"]);
    assert!(matches!(kind("decision", json!({})), Kind::Decision));
    let job = |step_type: &str, config: Value| match kind(step_type, config) {
        Kind::Job { job_type } => job_type,
        other => panic!("a job, not {other:?}"),
    };
    assert_eq!(
        job(
            "custom",
            json!({ "action": "create_account", "anything": [1] })
        ),
        "create_account"
    );
    assert_eq!(
        job("custom", json!({ "validationRules": ["amount"] })),
        "custom"
    );
    assert_eq!(job("审批", json!({})), "审批");
}

#[test]
fn waits_are_read_from_their_configs() {
    let wait = |config: Value| match &Graph::parse(single("wait", config)).unwrap().0.nodes[0].kind
    {
        Kind::Wait(until) => until.clone(),
        other => panic!("a wait, not {other:?}"),
    };
    assert_eq!(
        wait(json!({ "duration": "1h" })),
        WaitUntil::For(Duration::from_secs(3600))
    );
    let WaitUntil::At(instant) = wait(json!({ "until": "2030-01-31T10:00:00+01:00" })) else {
        panic!("an instant");
    };
    assert_eq!(instant.to_rfc3339(), "2030-01-31T09:00:00+00:00");
    let WaitUntil::Field(path) = wait(json!({ "untilField": "order.dueAt" })) else {
        panic!("a field");
    };
    assert_eq!(path.as_str(), "order.dueAt");
}

#[test]
fn retries_and_timeouts_are_read() {
    let node = |step_type: &str, config: Value| {
        Graph::parse(single(step_type, config))
            .unwrap()
            .0
            .nodes
            .remove(0)
    };
    let job = node("custom", json!({}));
    assert_eq!(
        (job.retry.max_attempts, job.timeout, job.queue_timeout),
        (3, None, None)
    );
    assert_eq!(node("approval", json!({})).retry.max_attempts, 1);
    let job = node(
        "custom",
        json!({ "timeout": "30s", "queueTimeout": "PT1H", "retry": {
            "maxAttempts": 5.0, "initialInterval": "2s", "multiplier": 3, "maxInterval": "1m", "jitter": 0,
            "totalTimeout": "10m" } }),
    );
    let seconds = Duration::from_secs;
    assert_eq!(
        (job.timeout, job.queue_timeout),
        (Some(seconds(30)), Some(seconds(3600)))
    );
    assert_eq!((job.retry.max_attempts, job.retry.jitter), (5, 0.0));
    assert_eq!(job.retry.total_timeout, Some(seconds(600)));
    assert_eq!(job.target, None);
    for step_type in ["custom", "approval", "decision"] {
        let target = node(step_type, json!({ "target": "PT36H" })).target;
        assert_eq!(target, Some(seconds(36 * 3600)), "{step_type}");
    }
    let delays: Vec<Duration> = (1..6)
        .map(|attempt| job.retry.delay(attempt, 0.3))
        .collect();
    assert_eq!(delays, [2, 6, 18, 54, 60].map(seconds));
    let slow = node("custom", json!({ "retry": { "initialInterval": "5m" } }));
    assert_eq!(slow.retry.max, seconds(300));
}

#[test]
fn the_target_of_a_workflow_is_read() {
    let target = |text: &str| {
        let definition = Definition {
            target: Some(text.to_owned()),
            ..single("decision", json!({}))
        };
        Graph::parse(definition).map(|(graph, _)| graph.target)
    };
    assert_eq!(target("2d"), Ok(Some(Duration::from_secs(48 * 3600))));
    for (text, message) in [("48", "`48h`"), ("0h", "longer"), ("soon", "no duration")] {
        let [problem] = &target(text).expect_err(text)[..] else {
            panic!("one problem");
        };
        assert_eq!(
            (&problem.path[..], problem.code),
            ("target", "DURATION_INVALID")
        );
        assert!(problem.message.contains(message), "{problem:?}");
    }
    let none = Graph::parse(single("decision", json!({}))).unwrap().0;
    assert_eq!(none.target, None);
}

#[test]
fn a_definition_from_before_targets_reads_and_writes_the_same() {
    let written = serde_json::to_value(single("decision", json!({}))).unwrap();
    assert_eq!(written.get("target"), None);
    let read: Definition = serde_json::from_value(written.clone()).unwrap();
    assert_eq!(serde_json::to_value(read).unwrap(), written);
}

#[test]
fn a_chain_of_a_thousand_steps_parses() {
    let steps: Vec<Value> = (0..1000)
        .map(|at| json!({ "name": format!("S{at}"), "stepType": "decision" }))
        .collect();
    let ways: Vec<Value> = (1..1000)
        .map(|at| json!({ "from": format!("S{}", at - 1), "to": format!("S{at}"), "isDefault": true }))
        .collect();
    let graph = parse(json!(steps), json!(ways));
    assert_eq!(graph.nodes.len(), 1000);
}

proptest! {
    #[test]
    fn any_shape_is_judged_the_same_way_twice(
        kinds in prop::collection::vec("approval|decision|custom|wait|transform|end", 1..8),
        pairs in prop::collection::vec((0_usize..9, 0_usize..9, any::<bool>()), 0..12),
    ) {
        let names = ["A", "B", "C", "D", "E", "F", "G", "H", "nobody"];
        let steps: Vec<Value> = kinds
            .iter()
            .zip(names)
            .map(|(kind, name)| json!({ "name": name, "stepType": kind, "config": { "duration": "1s" } }))
            .collect();
        let between: Vec<Value> = pairs
            .iter()
            .map(|(from, to, default)| json!({ "from": names[*from], "to": names[*to], "isDefault": default }))
            .collect();
        let definition = definition(json!(steps), json!(between));
        let codes = |problems: Vec<Problem>| problems.into_iter().map(|p| (p.path, p.code)).collect::<Vec<_>>();
        match (Graph::parse(definition.clone()), Graph::parse(definition)) {
            (Ok((graph, warnings)), Ok((again, _))) => {
                prop_assert!(warnings.iter().all(|problem| !problem.is_error()));
                prop_assert_eq!(ways(&graph), ways(&again));
                prop_assert!(graph.start < graph.nodes.len());
            }
            (Err(problems), Err(again)) => {
                prop_assert!(problems.iter().any(Problem::is_error));
                prop_assert_eq!(codes(problems), codes(again));
            }
            _ => prop_assert!(false, "judged differently"),
        }
    }
}

/// For tests that need no more than an object.
fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(fields) => fields,
        _ => panic!("an object"),
    }
}
