//! The table of settings as JSON Schema (draft 2020-12). Invariant: a config that its schema accepts has no
//! problem, and one that it refuses has; apart from what a schema cannot say — the syntax of CEL and of
//! paths, which duration is longer than another or than ten years, how large a config is as a whole — and
//! from null, which validation takes as absent and a schema does not offer.

use serde_json::{Map, Value, json};

use super::table::{Form, Only, Output, Setting, StepType};

/// `48h`, `1h30m`, `PT48H`, `P1W`: as `duration::parse` reads them, with a digit that is not zero.
const DURATION: &str = "^(?=.*[1-9])(?:([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?([0-9]+ms)?|P[0-9]+W|\
                        P([0-9]+D)?(T(?=[0-9])([0-9]+H)?([0-9]+M)?([0-9]+S)?)?)$";
/// No blanks around, no control characters.
const WORD: &str = "^[^\\s\\u0000-\\u001f\\u007f-\\u009f]([^\\u0000-\\u001f\\u007f-\\u009f]*\
                    [^\\s\\u0000-\\u001f\\u007f-\\u009f])?$";

/// As `Uuid` reads it with its hyphens.
const UUID: &str = "^[0-9a-fA-F]{8}-([0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}$";

impl StepType {
    /// The schema of its configs.
    pub fn config_schema(&self) -> Value {
        let mut schema = object(self.all_settings());
        schema.insert(
            "$schema".to_owned(),
            json!("https://json-schema.org/draft/2020-12/schema"),
        );
        schema.insert("title".to_owned(), json!(self.title));
        schema.insert("description".to_owned(), json!(self.description));
        schema.insert("examples".to_owned(), json!([self.example()]));
        if let Some(choice) = &self.choice {
            let ways = choice.keys.iter().map(|key| json!({ "required": [key] }));
            schema.insert("oneOf".to_owned(), ways.collect());
        }
        if !self.only.is_empty() {
            schema.insert("allOf".to_owned(), self.only.iter().map(only).collect());
        }
        if self.is_job() {
            schema.remove("additionalProperties");
        }
        Value::Object(schema)
    }

    /// The schema of its outputs.
    pub fn output_schema(&self) -> Value {
        match self.output {
            Output::Nothing => json!({ "type": "object", "maxProperties": 0 }),
            Output::Fields(fields) => {
                let properties: Map<String, Value> = (fields.iter())
                    .map(|field| {
                        let about = json!({
                            "type": field.types.schema_words()[0],
                            "description": field.description,
                        });
                        (field.name.to_owned(), about)
                    })
                    .collect();
                let always = fields.iter().filter(|field| field.always);
                let required: Vec<&str> = always.map(|field| field.name).collect();
                json!({ "type": "object", "properties": properties, "required": required })
            }
            Output::Expressions => json!({
                "type": "object",
                "description": "One field for each key of config.output.",
            }),
            Output::Open => json!({ "type": "object" }),
        }
    }

    /// A config that is right.
    pub fn example(&self) -> Value {
        serde_json::from_str(self.example).expect("the table holds JSON: a test reads it all")
    }
}

/// With the word the setting may be there, or must; without it, it must not.
fn only(only: &Only) -> Value {
    let (key, word) = only.with;
    let mut then = json!({});
    if only.required.is_some() {
        then["required"] = json!([only.key]);
    }
    json!({
        "if": { "properties": { key: { "const": word } }, "required": [key] },
        "then": then,
        "else": { "properties": { only.key: false } },
    })
}

fn object(settings: impl Iterator<Item = &'static Setting>) -> Map<String, Value> {
    let mut properties = Map::new();
    let mut required = Vec::new();
    for setting in settings {
        properties.insert(setting.key.to_owned(), property(setting));
        if setting.required.is_some() {
            required.push(Value::from(setting.key));
        }
    }
    let mut schema = Map::from_iter([
        ("type".to_owned(), json!("object")),
        ("properties".to_owned(), Value::Object(properties)),
        ("additionalProperties".to_owned(), json!(false)),
    ]);
    if !required.is_empty() {
        schema.insert("required".to_owned(), Value::Array(required));
    }
    schema
}

fn property(setting: &Setting) -> Value {
    let mut schema = form(&setting.form);
    schema["description"] = json!(setting.description);
    if !setting.default.is_empty() {
        let default: Value = serde_json::from_str(setting.default)
            .expect("the table holds JSON: a test reads it all");
        schema["default"] = default;
    }
    schema
}

/// The schema of a duration that is longer than none.
pub fn duration() -> Value {
    json!({
        "type": "string",
        "pattern": DURATION,
        "examples": ["48h", "1h30m", "PT48H"],
    })
}

fn form(form: &Form) -> Value {
    let text = || json!({ "type": "string", "maxLength": 200, "pattern": "\\S" });
    match form {
        Form::Text => text(),
        Form::Word => json!({ "type": "string", "maxLength": 100, "pattern": WORD }),
        Form::OneOf(words) => json!({ "enum": words }),
        Form::Prose => json!({ "type": "string" }),
        Form::Any => json!({}),
        Form::Texts => json!({ "type": "array", "maxItems": 100, "items": text() }),
        Form::Emails => {
            let email = json!({ "type": "string", "maxLength": 200, "pattern": "@" });
            json!({ "type": "array", "maxItems": 100, "items": email })
        }
        Form::Duration => duration(),
        Form::Instant => json!({ "type": "string", "format": "date-time" }),
        Form::Path => json!({ "type": "string", "maxLength": 1000, "pattern": "\\S" }),
        Form::Number { min, max } => json!({ "type": "number", "minimum": min, "maximum": max }),
        Form::Count { max } => json!({ "type": "integer", "minimum": 1, "maximum": max }),
        Form::Expression => json!({ "type": "string", "pattern": "\\S", "maxLength": 2048 }),
        Form::Expressions(empty) => json!({
            "type": "object",
            "minProperties": i32::from(empty.is_some()),
            "additionalProperties": { "type": "string", "minLength": 1, "maxLength": 2048 },
        }),
        Form::Uuid => json!({ "type": "string", "format": "uuid", "pattern": UUID }),
        Form::Object(settings) => Value::Object(object(settings.iter())),
    }
}
