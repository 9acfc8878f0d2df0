//! What is accepted, and that complaints come together.

use super::*;
use model::json;
use prost_types::value::Kind;
use prost_types::{Struct, Value as Wire};

fn complaints(fill: impl FnOnce(&mut Input)) -> Vec<Violation> {
    let mut input = Input::new();
    fill(&mut input);
    input.violations
}

#[test]
fn all_complaints_come_at_once() {
    let mut input = Input::new();
    input.uuid("id", "");
    input.uuid("client_id", "x");
    input.text("name", "", 1..=200);
    let error = input.finish().expect_err("three complaints");
    let status = tonic::Status::from(error);
    let listed = tonic_types::StatusExt::get_details_bad_request(&status).expect("listed");
    let fields: Vec<&str> = listed
        .field_violations
        .iter()
        .map(|v| v.field.as_str())
        .collect();
    assert_eq!(fields, ["id", "client_id", "name"]);
    assert!(Input::new().finish().is_ok());
}

#[test]
fn ids_have_one_form() {
    let id = "0190c0de-0000-7000-8000-00000000000A";
    let mut input = Input::new();
    assert_eq!(input.uuid("id", id), id.parse::<Uuid>().expect("valid"));
    assert_eq!(input.optional_uuid("id", ""), None);
    assert!(input.finish().is_ok());
    for wrong in [
        "0190c0de000070008000000000000001",
        "{0190c0de-0000-7000-8000-000000000001}",
        "urn:uuid:0190c0de-0000-7000-8000-000000000001",
        " 0190c0de-0000-7000-8000-000000000001",
        "0190c0de-0000-7000-8000-00000000000g",
        "ä190c0de-0000-7000-8000-0000000000",
        "'; drop table users; --",
    ] {
        let found = complaints(|input| assert_eq!(input.uuid("id", wrong), Uuid::nil()));
        assert_eq!(found.len(), 1, "{wrong}");
        assert_eq!(
            complaints(|input| assert_eq!(input.optional_uuid("id", wrong), None)).len(),
            1
        );
    }
}

#[test]
fn texts_are_kept_to_the_letter_or_refused() {
    for good in [
        "a",
        " padded ",
        "line\nand\ttab",
        "ünïcödé 🦀",
        "\\u0000",
        &"ß".repeat(200),
    ] {
        let mut input = Input::new();
        assert_eq!(input.text("name", good, 1..=200), good);
        assert!(input.finish().is_ok(), "{good}");
    }
    for bad in [
        "",
        "   ",
        "\n",
        "a\0b",
        "a\rb",
        "a\u{1b}[31m",
        "a\u{85}",
        &"ß".repeat(201),
    ] {
        assert_eq!(
            complaints(|input| drop(input.text("name", bad, 1..=200))).len(),
            1,
            "{bad:?}"
        );
    }
    assert!(complaints(|input| drop(input.text("notes", "", 0..=200))).is_empty());
    assert_eq!(
        complaints(|input| drop(input.text("notes", "\0", 0..=200))).len(),
        1
    );
}

#[test]
fn names_are_texts_that_can_be_told_apart() {
    let mut input = Input::new();
    assert_eq!(input.name("name", "Acme GmbH", 1..=200), "Acme GmbH");
    assert_eq!(input.name("company", "", 0..=200), "");
    assert!(input.finish().is_ok());
    for bad in [
        "",
        " ",
        "Acme\u{200b}",
        "Acme ",
        "a\nb",
        "a\0b",
        "long name",
    ] {
        let found = complaints(|input| drop(input.name("name", bad, 1..=8)));
        assert_eq!(found.len(), 1, "{bad:?}");
    }
}

#[test]
fn json_is_an_object_within_its_limit() {
    let object = |key: &str, kind: Kind| Struct {
        fields: [(key.to_owned(), Wire { kind: Some(kind) })].into(),
    };
    let mut input = Input::new();
    let whole = input.json(
        "metadata",
        Some(&object("n", Kind::NumberValue(5.0))),
        json::INPUT,
    );
    assert_eq!(
        Value::from(whole.expect("accepted")),
        serde_json::json!({"n": 5})
    );
    assert_eq!(input.json("metadata", None, json::INPUT), None);
    assert!(input.finish().is_ok());
    for bad in [
        object("n", Kind::NumberValue(f64::NAN)),
        object("n", Kind::NumberValue(f64::INFINITY)),
        object("a\0", Kind::BoolValue(true)),
        object("s", Kind::StringValue("\0".to_owned())),
        object("s", Kind::StringValue("x".repeat(300 * 1024))),
    ] {
        assert_eq!(
            complaints(|i| drop(i.json("metadata", Some(&bad), json::INPUT))).len(),
            1
        );
    }
}

#[test]
fn times_outside_of_the_calendar_are_refused() {
    let far = prost_types::Timestamp {
        seconds: i64::MAX,
        nanos: 0,
    };
    let negative = prost_types::Duration {
        seconds: -1,
        nanos: 0,
    };
    let found = complaints(|input| {
        assert_eq!(input.instant("at", Some(&far)), None);
        assert_eq!(input.duration("for", Some(&negative)), None);
        assert_eq!(input.instant("none", None), None);
    });
    assert_eq!(
        found.iter().map(|v| v.field.as_str()).collect::<Vec<_>>(),
        ["at", "for"]
    );
}
