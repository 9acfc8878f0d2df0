//! The table, its schemas and validation say the same.

use jsonschema::Validator;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use serde_json::{Map, Value, json};

use super::table::{COMMON, Form, Setting, StepType};
use super::{BUILT_IN, parse};
use crate::definition::Step;
use crate::problem::Problem;

fn step(word: &str, config: &Map<String, Value>) -> Step {
    Step {
        id: uuid::Uuid::nil(),
        key: "a".to_owned(),
        name: "A".to_owned(),
        description: None,
        step_type: match word {
            "" => "anything".to_owned(),
            word => word.to_owned(),
        },
        order: 0,
        config: config.clone(),
        is_required: true,
    }
}

fn problems(word: &str, config: &Map<String, Value>) -> Vec<Problem> {
    let mut problems = Vec::new();
    parse(&step(word, config), "a", &mut problems);
    problems
}

fn validator(about: &StepType) -> Validator {
    jsonschema::options()
        .should_validate_formats(true)
        .build(&about.config_schema())
        .expect("a schema")
}

fn object(value: Value) -> Map<String, Value> {
    value.as_object().expect("an object").clone()
}

#[test]
fn every_built_in_word_is_in_the_table() {
    let words: Vec<&str> = StepType::all().iter().map(|about| about.word).collect();
    assert_eq!(words, [BUILT_IN, &[""]].concat());
    for word in BUILT_IN {
        assert!(!StepType::of(word).is_job());
    }
    assert!(StepType::of("custom").is_job());
}

#[test]
fn examples_are_right() {
    for about in StepType::all() {
        let example = about.example();
        assert_eq!(problems(about.word, &object(example.clone())), []);
        assert!(validator(about).is_valid(&example), "{example}");
        jsonschema::meta::validate(&about.config_schema()).expect("a schema of the draft it names");
        jsonschema::meta::validate(&about.output_schema()).expect("a schema");
    }
}

/// The settings that have defaults, as a config that says them all.
fn defaults(settings: &[Setting]) -> Map<String, Value> {
    let mut config = Map::new();
    for setting in settings {
        if let Form::Object(inner) = &setting.form {
            config.insert(setting.key.to_owned(), Value::Object(defaults(inner)));
        } else if !setting.default.is_empty() {
            let default = serde_json::from_str(setting.default).expect("JSON");
            config.insert(setting.key.to_owned(), default);
        }
    }
    config
}

#[test]
fn defaults_are_what_absence_means() {
    for word in ["notification", ""] {
        let about = StepType::of(word);
        let mut said = defaults(about.settings);
        said.extend(defaults(COMMON));
        assert!(!said.is_empty());
        let settings = |config: &Map<String, Value>| {
            let settings = parse(&step(word, config), "a", &mut Vec::new()).expect("right");
            (format!("{:?}", settings.kind), settings.retry)
        };
        let silent = object(json!({ "retry": {} }));
        assert_eq!(settings(&said), settings(&silent), "{said:?}");
    }
}

#[test]
fn null_is_absent_for_validation_alone() {
    let config = json!({ "approverRole": null, "timeout": null });
    assert_eq!(problems("approval", &object(config.clone())), []);
    assert!(!validator(StepType::of("approval")).is_valid(&config));
}

/// Values that are right for a form, and some that are not.
fn value(form: &Form) -> BoxedStrategy<Value> {
    let some = |values: &[Value]| proptest::sample::select(values.to_vec());
    let odd = some(&[
        json!(0),
        json!(1.5),
        json!(true),
        json!(""),
        json!(" "),
        json!([]),
        json!({}),
        json!("x".repeat(201)),
        json!([1]),
        json!({ "a": 1 }),
    ]);
    let right = match form {
        Form::Text | Form::Prose | Form::Any => {
            some(&[json!("a"), json!(" b "), json!("é".repeat(200))])
        }
        Form::Word => some(&[
            json!("do_it"),
            json!("do it"),
            json!("x".repeat(100)),
            json!("x".repeat(101)),
            json!(" a"),
            json!("a\n"),
            json!("a\u{7f}b"),
        ]),
        Form::OneOf(words) => some(&[json!(words[0]), json!(words[1]), json!("SOME")]),
        Form::Texts => some(&[json!([]), json!(["a", "b"]), json!(["a", ""]), many("a")]),
        Form::Emails => some(&[
            json!(["a@b"]),
            json!(["a@b", "managers"]),
            json!([" A@B "]),
            many("a@b"),
        ]),
        Form::Duration => some(
            &[
                "48h", "1h30m", "500ms", "5m3ms", "2d", "PT48H", "P2DT12H", "P1W", "PT1M", "0s",
                "00h", "PT0S", "P", "PT", "P1DT", "1m1h", "1h1h", "1 h", "48", "-1h", "1.5h",
                "P1M", "1H", "3650d", "pt1h", "1h ", "m",
            ]
            .map(Value::from),
        ),
        Form::Instant => some(
            &[
                "2030-01-31T09:00:00Z",
                "2030-01-31T09:00:00.5+02:00",
                "2030-01-31",
                "tomorrow",
                "2030-13-31T09:00:00Z",
            ]
            .map(Value::from),
        ),
        Form::Path => some(&[
            json!("due"),
            json!("a.b[0]"),
            json!("steps[\"A b\"].output.x"),
        ]),
        Form::Number { min, max } => some(&[
            json!(min),
            json!(max),
            json!(min - 0.5),
            json!(max + 0.5),
            json!("1"),
        ]),
        Form::Count { max } => some(&[
            json!(1),
            json!(2.0),
            json!(max),
            json!(0),
            json!(-1),
            json!(max + 1),
        ]),
        Form::Expression => some(&[json!("1 + 1 > 1"), json!("step.completed >= 2")]),
        Form::Expressions(_) => some(&[
            json!({ "a": "1 + 1" }),
            json!({ "a": "data.b", "c d": "'x'" }),
            json!({ "a": "" }),
        ]),
        Form::Uuid => some(&[
            json!("018f3b5e-7a10-7c4e-9a53-2f7d1c0b9e64"),
            json!("018F3B5E-7A10-7C4E-9A53-2F7D1C0B9E64"),
            json!("018f3b5e7a107c4e9a532f7d1c0b9e64"),
            json!("{018f3b5e-7a10-7c4e-9a53-2f7d1c0b9e64}"),
        ]),
        Form::Object(settings) => return prop_oneof![4 => config(settings), 1 => odd].boxed(),
    };
    prop_oneof![4 => right, 1 => odd].boxed()
}

fn many(item: &str) -> Value {
    Value::from(vec![item; 101])
}

/// Configs of some of the settings, now and then with a key that means nothing.
fn config(settings: &'static [Setting]) -> BoxedStrategy<Value> {
    let one = |setting: &'static Setting| {
        let value = prop::option::weighted(0.3, value(&setting.form));
        value.prop_map(|value| value.map(|value| (setting.key, value)))
    };
    let given: Vec<_> = settings.iter().map(one).collect();
    (given, prop::option::weighted(0.1, Just(())))
        .prop_map(|(given, other)| {
            let mut config: Map<String, Value> = (given.into_iter().flatten())
                .map(|(key, value)| (key.to_owned(), value))
                .collect();
            config.extend(other.map(|()| ("colour".to_owned(), json!("red"))));
            Value::Object(config)
        })
        .boxed()
}

/// What no schema can say.
fn is_beyond_schemas(problem: &Problem) -> bool {
    problem
        .message
        .contains("not be shorter than initialInterval")
}

#[test]
fn a_schema_accepts_what_validation_has_nothing_to_say_of() {
    for about in StepType::all() {
        let validator = validator(about);
        let own = config(about.settings);
        let configs = (own, config(COMMON));
        let mut seen = [0, 0];
        // Few are right in everything: so many that some are, whatever the luck.
        let mut runner = proptest::test_runner::TestRunner::deterministic();
        for _ in 0..3000 {
            let (own, common) = configs.new_tree(&mut runner).expect("generated").current();
            let mut config = object(own);
            config.extend(object(common));
            let problems = problems(about.word, &config);
            let said = problems.iter().any(|problem| !is_beyond_schemas(problem));
            let config = Value::Object(config);
            assert_eq!(
                validator.is_valid(&config),
                !said,
                "{} {config}: {problems:#?}",
                about.title
            );
            seen[usize::from(said)] += 1;
        }
        assert!(seen[0] > 0 && seen[1] > 0, "{}: {seen:?}", about.title);
    }
}
