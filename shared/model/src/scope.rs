//! What conditions and expressions can see. Invariant: reserved roots always win, and a plain name always
//! means a field of `data`.

use serde_json::{Map, Value};

use crate::effort::Effort;

/// The documents that an expression is judged against.
#[derive(Debug, Clone, Copy)]
pub struct Scope<'a> {
    /// `inputData` overlaid with the outputs of completed steps.
    pub data: &'a Map<String, Value>,
    /// Fields beside those of `data`, which they hide: `item` and `itemIndex` within a foreach.
    pub item: Option<&'a Map<String, Value>>,
    /// By step name: `{"output": {…}}` of the latest activation.
    pub steps: &'a Map<String, Value>,
    /// The step just finished: `{"name", "status", "output", "error": {"code", "message"}}`.
    pub step: &'a Value,
    pub execution: &'a Value,
    pub client: &'a Value,
    /// What judging may still cost.
    pub effort: &'a Effort,
}

/// Where a path starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Root {
    Data,
    Steps,
    Step,
    Execution,
    Client,
}

impl<'a> Scope<'a> {
    /// A field of `data`.
    pub fn field(&self, name: &str) -> Option<&'a Value> {
        let item = self.item.and_then(|item| item.get(name));
        item.or_else(|| self.data.get(name))
    }
}

impl Root {
    pub const ALL: [Self; 5] = [
        Self::Data,
        Self::Steps,
        Self::Step,
        Self::Execution,
        Self::Client,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Data => "data",
            Self::Steps => "steps",
            Self::Step => "step",
            Self::Execution => "execution",
            Self::Client => "client",
        }
    }

    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|root| root.as_str() == word)
    }
}

/// One step down into a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Segment {
    Key(String),
    Index(usize),
}

/// A way to one value: `amount`, `items[0].price`, `steps["Manager Approval"].output.approved`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Path {
    text: String,
    root: Root,
    /// The first one is a key where the root is a map of data or of steps.
    segments: Vec<Segment>,
}

impl Path {
    /// Reads a path. Names are separated by dots; `[0]` picks an item, `["any name"]` a field whose name
    /// holds dots or brackets.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut segments = segments(text)?;
        let root = match &segments[0] {
            Segment::Key(name) => Root::parse(name),
            Segment::Index(_) => return Err("must start with a name".to_owned()),
        };
        // `["step"]` is a field of data that happens to have a reserved name.
        let root = root.filter(|_| !text.starts_with('['));
        if root.is_some() {
            segments.remove(0);
        }
        if segments.is_empty() {
            return Err(format!(
                "must name a field of `{text}`, such as `{text}.name`"
            ));
        }
        let root = root.unwrap_or(Root::Data);
        if matches!(root, Root::Data | Root::Steps) && matches!(segments[0], Segment::Index(_)) {
            return Err(format!("`{}` has names, no numbers", root.as_str()));
        }
        Ok(Self {
            text: text.to_owned(),
            root,
            segments,
        })
    }

    /// A path made of its parts; None if they name a whole root.
    pub(crate) fn new(root: Root, segments: Vec<Segment>) -> Option<Self> {
        if matches!(
            (root, segments.first()?),
            (Root::Data | Root::Steps, Segment::Index(_))
        ) {
            return None;
        }
        let text = segments
            .iter()
            .fold(root.as_str().to_owned(), |text, segment| match segment {
                Segment::Key(key) => below(&text, key),
                Segment::Index(index) => format!("{text}[{index}]"),
            });
        Some(Self {
            text,
            root,
            segments,
        })
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    pub fn root(&self) -> Root {
        self.root
    }

    /// The way below the root; never empty.
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// The value, if there is one: null is one.
    pub fn resolve<'s>(&self, scope: &Scope<'s>) -> Option<&'s Value> {
        let (mut value, rest) = match self.root {
            Root::Data => (scope.field(self.first_key()?)?, &self.segments[1..]),
            Root::Steps => (scope.steps.get(self.first_key()?)?, &self.segments[1..]),
            Root::Step => (scope.step, &self.segments[..]),
            Root::Execution => (scope.execution, &self.segments[..]),
            Root::Client => (scope.client, &self.segments[..]),
        };
        for segment in rest {
            value = match segment {
                Segment::Key(key) => value.as_object()?.get(key)?,
                Segment::Index(index) => value.as_array()?.get(*index)?,
            };
        }
        Some(value)
    }

    /// None only for a number, which `parse` refuses below data and steps.
    fn first_key(&self) -> Option<&str> {
        match self.segments.first()? {
            Segment::Key(key) => Some(key),
            Segment::Index(_) => None,
        }
    }
}

/// The path of a field below a path, as [`Path::parse`] reads it.
pub fn below(path: &str, key: &str) -> String {
    match is_word(key) {
        true => format!("{path}.{key}"),
        false => format!("{path}[{}]", Value::from(key)),
    }
}

fn segments(text: &str) -> Result<Vec<Segment>, String> {
    const LONGEST: usize = 1000;
    if text.is_empty() {
        return Err("must not be empty".to_owned());
    }
    if text.len() > LONGEST {
        return Err(format!("must not be longer than {LONGEST} bytes"));
    }
    let mut segments = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let (segment, after) = match rest.strip_prefix('[') {
            Some(inner) => bracket(inner)?,
            None => {
                let name = match (segments.is_empty(), rest.strip_prefix('.')) {
                    (true, None) => rest,
                    (false, Some(name)) => name,
                    _ => return Err(malformed(text)),
                };
                let end = name.find(['.', '[', ']', '"']).unwrap_or(name.len());
                let (name, after) = name.split_at(end);
                if !is_plain(name) {
                    return Err(malformed(text));
                }
                (Segment::Key(name.to_owned()), after)
            }
        };
        segments.push(segment);
        rest = after;
    }
    Ok(segments)
}

/// Whether a name reads well between dots.
fn is_word(name: &str) -> bool {
    let belongs = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-');
    !name.is_empty() && name.chars().all(belongs)
}

/// Whether a name can stand between dots.
fn is_plain(name: &str) -> bool {
    !name.is_empty()
        && name.trim() == name
        && !name.contains(|c: char| c.is_control() || matches!(c, '.' | '[' | ']' | '"'))
}

/// What stands in brackets, and what comes after them.
fn bracket(inner: &str) -> Result<(Segment, &str), String> {
    let malformed = || malformed(&format!("[{inner}"));
    if inner.starts_with('"') {
        // The JSON parser knows best where a quoted name ends.
        let mut stream = serde_json::Deserializer::from_str(inner).into_iter::<String>();
        let name = stream.next().and_then(Result::ok).ok_or_else(malformed)?;
        let after = inner[stream.byte_offset()..]
            .strip_prefix(']')
            .ok_or_else(malformed)?;
        return Ok((Segment::Key(name), after));
    }
    let (digits, after) = inner.split_once(']').ok_or_else(malformed)?;
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(malformed());
    }
    let index = digits.parse().map_err(|_| malformed())?;
    Ok((Segment::Index(index), after))
}

fn malformed(text: &str) -> String {
    format!(
        "`{}` is no path: write for instance `amount`, `items[0].price` or \
         `steps[\"Manager Approval\"].output.approved`",
        crate::text::clean(text, 100)
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn resolve(path: &str) -> Option<Value> {
        let (Value::Object(data), Value::Object(steps)) = (
            json!({ "amount": 5, "none": null, "a b": 1, "x.y": 2, "step": 3,
                    "items": [{ "price": 7 }, [8]] }),
            json!({ "Manager Approval": { "output": { "approved": true } } }),
        ) else {
            panic!("two objects");
        };
        let scope = Scope {
            data: &data,
            item: None,
            steps: &steps,
            step: &json!({ "status": "FAILED", "error": { "code": "TIMEOUT" } }),
            execution: &json!({ "id": "e" }),
            client: &json!({ "name": "Acme" }),
            effort: &Effort::new(1000),
        };
        Path::parse(path).expect(path).resolve(&scope).cloned()
    }

    #[test]
    fn paths_find_their_value() {
        let check = |path: &str, want: Value| assert_eq!(resolve(path), Some(want), "{path}");
        check("amount", json!(5));
        check("data.amount", json!(5));
        check("none", json!(null));
        check("a b", json!(1));
        check(r#"["x.y"]"#, json!(2));
        check(r#"data["x.y"]"#, json!(2));
        check(r#"["step"]"#, json!(3));
        check("data.step", json!(3));
        check("items[0].price", json!(7));
        check("items[1][0]", json!(8));
        check(r#"steps["Manager Approval"].output.approved"#, json!(true));
        check("steps.Manager Approval.output", json!({ "approved": true }));
        check(r#"step["error"].code"#, json!("TIMEOUT"));
        check("execution.id", json!("e"));
        check("client.name", json!("Acme"));
    }

    #[test]
    fn what_is_not_there_is_missing() {
        for path in [
            "missing",
            "amount.x",
            "amount[0]",
            "items[2]",
            "items.price",
            "none.x",
            "steps.Nobody.output",
            "step.output.x",
        ] {
            assert_eq!(resolve(path), None, "{path}");
        }
    }

    #[test]
    fn malformed_paths_are_refused() {
        let check = |path: &str, want: &str| {
            let error = Path::parse(path).expect_err(path);
            assert!(error.contains(want), "{path}: {error}");
        };
        check("", "empty");
        check(&"a".repeat(1001), "1000 bytes");
        check("data", "`data.name`");
        check("steps", "`steps.name`");
        check("data[0]", "names, no numbers");
        check("[0]", "start with a name");
        for path in [
            ".a",
            "a.",
            "a..b",
            "a[",
            "a[]",
            "a[-1]",
            "a[x]",
            "a]",
            r#"a["b]"#,
            r#"a["b"x]"#,
            "a[0]b",
            " a",
            "a[99999999999999999999999]",
            "a\0",
            "\"a\"",
        ] {
            check(path, "no path");
        }
    }

    #[test]
    fn made_paths_read_back() {
        let key = |name: &str| Segment::Key(name.to_owned());
        let check = |root, segments: Vec<Segment>, want: &str| {
            let path = Path::new(root, segments).unwrap();
            assert_eq!(path.as_str(), want);
            assert_eq!(Path::parse(want), Ok(path));
        };
        check(Root::Data, vec![key("a"), Segment::Index(0)], "data.a[0]");
        check(Root::Steps, vec![key("A \"b\"")], r#"steps["A \"b\""]"#);
        assert_eq!(Path::new(Root::Data, vec![]), None);
    }

    proptest! {
        #[test]
        fn no_text_panics(text in r#"([a-z0-9.\[\]" ]|\PC){0,20}"#) {
            if let Ok(path) = Path::parse(&text) {
                prop_assert_eq!(path.as_str(), text);
            }
        }
    }
}
