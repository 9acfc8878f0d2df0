//! What is put where it does not belong: by kind of field.

use prost::Message;
use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, Value};
use prost_types::value::Kind as Json;
use prost_types::{Duration, FieldMask, Struct, Timestamp};

/// Replaced by bytes that are no UTF-8, once the message is encoded.
pub const NOT_UTF8: &str = "ÿþÿþ";

/// The values for a field, or for one element of it if it is repeated.
pub fn of(field: &FieldDescriptor) -> Vec<Value> {
    match field.kind() {
        Kind::String => texts().into_iter().map(Value::String).collect(),
        Kind::Bytes => [vec![], vec![0xFF; 9], vec![0; 1 << 16]]
            .into_iter()
            .map(|bytes| Value::Bytes(bytes.into()))
            .collect(),
        Kind::Bool => vec![Value::Bool(true), Value::Bool(false)],
        Kind::Enum(_) => [-1, 0, 99, i32::MIN, i32::MAX]
            .map(Value::EnumNumber)
            .into(),
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => {
            [i32::MIN, -1, 0, 1, 1001, i32::MAX].map(Value::I32).into()
        }
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => {
            [i64::MIN, -1, 0, 1, i64::MAX].map(Value::I64).into()
        }
        Kind::Uint32 | Kind::Fixed32 => [0, 1, u32::MAX].map(Value::U32).into(),
        Kind::Uint64 | Kind::Fixed64 => [0, 1, u64::MAX].map(Value::U64).into(),
        Kind::Float => [f32::NAN, f32::INFINITY, -0.0, f32::MAX]
            .map(Value::F32)
            .into(),
        Kind::Double => [f64::NAN, f64::NEG_INFINITY, -0.0, f64::MAX]
            .map(Value::F64)
            .into(),
        Kind::Message(kind) => messages(&kind),
    }
}

/// Whether a message is a value of its own rather than a group of fields.
pub fn is_value(kind: &MessageDescriptor) -> bool {
    kind.full_name().starts_with("google.protobuf.")
}

fn texts() -> Vec<String> {
    let mut texts: Vec<String> = [
        "",
        " ",
        "\n",
        "a\0b",
        "\u{7}",
        "\u{1b}[31mred",
        "a\r\nb",
        "\u{85}",
        "a\u{200b}b",
        "\u{feff}a",
        "\u{202e}a",
        "\u{2028}",
        "\u{fe0f}",
        "\u{fdd0}\u{10ffff}",
        "e\u{301}",
        "İ",
        "😀",
        "null",
        "-1",
        "1e400",
        "00000000-0000-0000-0000-000000000000",
        "0190AAAA-0000-7000-8000-000000000000",
        "0190aaaa-0000-7000-8000-00000000000g",
        "{0190aaaa-0000-7000-8000-000000000000}",
        "'; drop table catalog.clients; --",
        "\" OR \"\"=\"",
        "' || (select password from catalog.users limit 1) || '",
        "%_\\%",
        "$1 $$ {} {0} %s %n ${jndi:ldap://x}",
        "../../../etc/passwd",
        "<script>alert(1)</script>",
        "name = \"a\0\"",
        "text : \"",
        "created_at >= \"99999-01-01T00:00:00Z\"",
        "password = \"x\"",
        "password desc",
        "e30",
        "eyJxIjoiIiwiayI6WyJhIl19",
        "a: &a [*a, *a]",
        "a: 1\na: 2",
        "--- a\n--- b",
        "{\"client\": {\"name\": 1e999}}",
        "!!binary x",
        "Bearer x",
        NOT_UTF8,
    ]
    .map(str::to_owned)
    .into();
    texts.push("[".repeat(20_000));
    texts.push("x".repeat(300));
    texts.push("ß".repeat(20_000));
    texts.push("x".repeat(1 << 20));
    texts
}

fn messages(kind: &MessageDescriptor) -> Vec<Value> {
    let encoded: Vec<Vec<u8>> = match kind.full_name() {
        "google.protobuf.Timestamp" => [
            (i64::MIN, 0),
            (i64::MAX, 0),
            (0, -1),
            (0, i32::MAX),
            (-62_135_596_801, 0),
            (253_402_300_800, 0),
            (253_402_300_799, 999_999_999),
            (0, 1),
        ]
        .map(|(seconds, nanos)| Timestamp { seconds, nanos }.encode_to_vec())
        .into(),
        "google.protobuf.Duration" => [
            (i64::MIN, 0),
            (i64::MAX, 0),
            (-1, 0),
            (1, -1),
            (0, i32::MIN),
            (0, 0),
            (315_576_000_001, 0),
        ]
        .map(|(seconds, nanos)| Duration { seconds, nanos }.encode_to_vec())
        .into(),
        "google.protobuf.FieldMask" => [
            &["*"][..],
            &["*", "name"],
            &[""],
            &["id"],
            &["password"],
            &["NAME"],
            &["name.first"],
            &["a\0"],
            &["name"; 5000],
        ]
        .map(|paths| FieldMask {
            paths: paths.iter().map(|&path| path.to_owned()).collect(),
        })
        .map(|mask| mask.encode_to_vec())
        .into(),
        "google.protobuf.Struct" => structs().iter().map(Struct::encode_to_vec).collect(),
        _ => vec![Vec::new()],
    };
    let decoded = encoded
        .iter()
        .map(|bytes| DynamicMessage::decode(kind.clone(), &bytes[..]).expect("it was encoded"));
    decoded.map(Value::Message).collect()
}

fn structs() -> Vec<Struct> {
    let one = |key: &str, kind: Option<Json>| Struct {
        fields: [(key.to_owned(), prost_types::Value { kind })].into(),
    };
    let text = |text: &str| Some(Json::StringValue(text.to_owned()));
    let deep = |levels: usize| {
        (0..levels).fold(Struct::default(), |inner, _| {
            one("a", Some(Json::StructValue(inner)))
        })
    };
    let many = vec![
        prost_types::Value {
            kind: Some(Json::NumberValue(1e308))
        };
        4000
    ];
    vec![
        Struct::default(),
        one("n", Some(Json::NumberValue(f64::NAN))),
        one("n", Some(Json::NumberValue(f64::INFINITY))),
        one("n", Some(Json::NumberValue(-0.0))),
        one("n", Some(Json::NumberValue(f64::MIN_POSITIVE / 2.0))),
        one("nothing", None),
        one("", text("empty key")),
        one("a\0", text("key")),
        one("text", text("a\0b")),
        one("text", text("\\u0000 \u{202e}")),
        one(&"k".repeat(300_000), text("key")),
        one("text", text(&"x".repeat(1 << 20))),
        one(
            "list",
            Some(Json::ListValue(prost_types::ListValue { values: many })),
        ),
        one("inputData", text("no object")),
        one("simulation", text("perhaps")),
        one("timeout", Some(Json::NumberValue(48.0))),
        one("retry", text("always")),
        one("cel", text("data.a ==")),
        one("cel", text(&"(".repeat(3000))),
        one("field", text("a..b[")),
        deep(29),
    ]
}
