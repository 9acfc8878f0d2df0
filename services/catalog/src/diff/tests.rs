//! What a diff tells is all there is to know: a patcher that knows nothing but its paths and values turns
//! the one definition into the other.

use model::definition::{Definition, Step, Transition};
use model::scope::{Path, Segment};
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::{Action, Change, Diff, between};

/// Steps by id and transitions by id: a definition without the order of its lists, which is that of its
/// steps' `order`.
fn parts(definition: &Definition) -> Value {
    let steps: Map<String, Value> = (definition.steps.iter())
        .map(|step| (step.id.to_string(), json!(step)))
        .collect();
    let transitions: Map<String, Value> = (definition.transitions.iter())
        .map(|transition| (transition.id.to_string(), json!(transition)))
        .collect();
    let mut parts = json!({ "name": definition.name, "steps": steps, "transitions": transitions });
    if let Some(description) = &definition.description {
        parts["description"] = json!(description);
    }
    if let Some(target) = &definition.target {
        parts["target"] = json!(target);
    }
    parts
}

/// Writes or removes one value, wherever its path leads.
fn set(part: &mut Value, change: &Change) {
    let path = Path::parse(&change.path).expect("a path");
    let (last, way) = path.segments().split_last().expect("not empty");
    let key = |segment: &Segment| match segment {
        Segment::Key(key) => key.clone(),
        Segment::Index(_) => panic!("lists are told as a whole"),
    };
    let object = way.iter().fold(part, |at, segment| &mut at[key(segment)]);
    let object = object.as_object_mut().expect("an object");
    assert_eq!(object.get(&key(last)), change.before.as_ref(), "{change:?}");
    match &change.after {
        Some(after) => object.insert(key(last), after.clone()),
        None => object.remove(&key(last)),
    };
}

fn patch_part(
    parts: &mut Value,
    action: Action,
    (before, after): (Uuid, Uuid),
    changes: &[Change],
) {
    let parts = parts.as_object_mut().expect("an object");
    let (before, after) = (before.to_string(), after.to_string());
    let mut part = match action {
        Action::Added => json!({ "id": after }),
        _ => parts.remove(&before).expect("it was there"),
    };
    changes.iter().for_each(|change| set(&mut part, change));
    match action {
        Action::Removed => assert_eq!(part, json!({ "id": before })),
        _ => assert_eq!(parts.insert(after, part), None),
    }
}

fn patch(parts: &mut Value, diff: &Diff) {
    diff.workflow.iter().for_each(|change| set(parts, change));
    for step in &diff.steps {
        let ids = (step.id, step.id);
        patch_part(&mut parts["steps"], step.action, ids, &step.changes);
    }
    for transition in &diff.transitions {
        let ids = (transition.id_before.unwrap_or_default(), transition.id);
        let changes = &transition.changes;
        patch_part(&mut parts["transitions"], transition.action, ids, changes);
    }
}

fn value() -> impl Strategy<Value = Value> {
    let key = proptest::sample::select(vec!["a", "b", "c d", "e.f", "", "[0]"]);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (0..5).prop_map(Value::from),
        Just(json!(1.5)),
        "[a-c]{0,2}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 4, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::btree_map(key.clone(), inner, 0..4).prop_map(|fields| {
                let fields = fields
                    .into_iter()
                    .map(|(key, value)| (key.to_owned(), value));
                Value::Object(fields.collect())
            }),
        ]
    })
}

fn config() -> impl Strategy<Value = Map<String, Value>> {
    let fields = prop::collection::btree_map("[ab]|timeout", value(), 0..3);
    fields.prop_map(|fields| fields.into_iter().collect())
}

prop_compose! {
    fn step(at: u128)(
        name in 0..4_u8,
        description in prop::option::of("[x-z]"),
        step_type in "approval|custom",
        order in 0..4,
        config in config(),
        is_required: bool,
    ) -> Step {
        Step {
            id: Uuid::from_u128(at),
            key: format!("k{at}"),
            name: format!("Step {at} {name}"),
            description,
            step_type,
            order,
            config,
            is_required,
        }
    }
}

/// A definition of some of six steps and eight transitions, so that two of them share a good part.
fn definition() -> impl Strategy<Value = Definition> {
    let steps: Vec<_> = (1..=6)
        .map(|at| prop::option::weighted(0.7, step(at)))
        .collect();
    let transition = (
        any::<prop::sample::Index>(),
        any::<prop::sample::Index>(),
        prop::option::of(config()),
        any::<bool>(),
    );
    let transitions = prop::collection::btree_map(101..109_u128, transition, 0..8);
    let about = ("V|W", prop::option::of("[x-z]"), prop::option::of("[12]h"));
    (about, steps, transitions).prop_map(|((name, description, target), steps, transitions)| {
        let steps: Vec<Step> = steps.into_iter().flatten().collect();
        let transitions = transitions.into_iter().filter(|_| !steps.is_empty());
        let transitions = transitions.map(|(id, (from, to, condition, is_default))| Transition {
            id: Uuid::from_u128(id),
            from_step_id: steps[from.index(steps.len())].id,
            to_step_id: steps[to.index(steps.len())].id,
            condition: condition.map(Value::Object),
            is_default,
        });
        Definition {
            workflow_id: Uuid::nil(),
            version: 0,
            client_id: Uuid::nil(),
            name,
            description,
            target,
            transitions: transitions.collect(),
            steps,
        }
    })
}

proptest! {
    #[test]
    fn a_diff_applied_to_the_one_gives_the_other(before in definition(), after in definition()) {
        let diff = between(&before, &after);
        let mut patched = parts(&before);
        patch(&mut patched, &diff);
        prop_assert_eq!(&patched, &parts(&after), "{:#?}", diff);
        prop_assert_eq!(diff.is_empty(), parts(&before) == parts(&after));
        prop_assert_eq!(diff.lines(1_000_000).is_empty(), diff.is_empty());
    }
}

fn one_step(config: Value) -> Definition {
    Definition {
        workflow_id: Uuid::nil(),
        version: 0,
        client_id: Uuid::nil(),
        name: "W".to_owned(),
        description: None,
        target: None,
        steps: vec![Step {
            id: Uuid::from_u128(1),
            key: "pay".to_owned(),
            name: "Pay".to_owned(),
            description: None,
            step_type: "custom".to_owned(),
            order: 0,
            config: config.as_object().expect("an object").clone(),
            is_required: true,
        }],
        transitions: Vec::new(),
    }
}

#[test]
fn a_change_deep_within_is_told_where_it_is() {
    let before =
        json!({ "retry": { "maxAttempts": 3, "jitter": 0.1 }, "list": [1], "odd key": null });
    let after =
        json!({ "retry": { "maxAttempts": 5 }, "list": [1, 2], "odd key": {}, "timeout": "5m" });
    let diff = between(&one_step(before), &one_step(after));
    assert_eq!(
        diff.lines(10),
        [
            r#"changed step "Pay": config.list: [1] -> [1,2]"#,
            r#"changed step "Pay": config["odd key"]: null -> {}"#,
            r#"changed step "Pay": config.retry.jitter: 0.1 -> nothing"#,
            r#"changed step "Pay": config.retry.maxAttempts: 3 -> 5"#,
            r#"changed step "Pay": config.timeout: nothing -> "5m""#,
        ]
    );
    assert_eq!(
        diff.lines(2)[1..],
        [
            r#"changed step "Pay": config["odd key"]: null -> {}"#,
            "and 3 more",
        ]
    );
}

#[test]
fn what_would_take_longer_to_tell_in_parts_is_told_whole() {
    let wide = |value: i32| {
        let long = "k".repeat(2000);
        let fields: Map<String, Value> = (0..100)
            .map(|at| (format!("f{at}"), json!(value)))
            .collect();
        json!({ long: fields })
    };
    let diff = between(&one_step(wide(1)), &one_step(wide(2)));
    let [step] = &diff.steps[..] else {
        panic!("one step: {diff:?}");
    };
    assert_eq!(step.changes.len(), 1);
    assert_eq!(step.changes[0].path, "config");
    assert_eq!(step.changes[0].after, Some(wide(2)));
}

#[test]
fn transitions_tell_steps_by_name() {
    let mut before = one_step(json!({}));
    let mut second = before.steps[0].clone();
    (second.id, second.name) = (Uuid::from_u128(2), "Ship".to_owned());
    before.steps.push(second);
    let way = |id: u128, to: u128| Transition {
        id: Uuid::from_u128(id),
        from_step_id: Uuid::from_u128(1),
        to_step_id: Uuid::from_u128(to),
        condition: None,
        is_default: true,
    };
    before.transitions = vec![way(11, 1), way(12, 2)];
    let mut after = before.clone();
    after.transitions = vec![way(11, 2), way(13, 2)];
    after.transitions[1].condition = Some(json!({ "field": "a", "operator": "exists" }));
    let lines = between(&before, &after).lines(10);
    assert_eq!(
        lines,
        [
            r#"changed transition "Pay" -> "Ship": toStepId: "Pay" -> "Ship""#,
            concat!(
                r#"changed transition "Pay" -> "Ship": condition: nothing -> "#,
                r#"{"field":"a","operator":"exists"}"#
            ),
            r#"replaced transition "Pay" -> "Ship" by another one"#,
        ]
    );
}
