//! Who did a step, as its log tells. Invariant: what one function here writes the other one reads.

use model::status::StepStatus;

/// How a message begins that names who did it.
const WORDS: [&str; 6] = [
    "completed",
    "failed",
    "skipped",
    "approved",
    "rejected",
    "submitted",
];

/// A message that says who did it, and whatever else is said.
pub fn done_by(status: StepStatus, who: &str, said: Option<&str>) -> String {
    let word = match status {
        StepStatus::Failed => "failed",
        StepStatus::Skipped => "skipped",
        _ => "completed",
    };
    let who = serde_json::Value::from(who);
    match said {
        Some(said) => format!("{word} by {who}; {said}"),
        None => format!("{word} by {who}"),
    }
}

/// Who a message names. Messages of the engine name a worker in quotes and a person by an email address, and may go on
/// after a semicolon.
pub fn who(message: &str) -> Option<String> {
    let (word, rest) = message.split_once(" by ")?;
    if !WORDS.contains(&word) {
        return None;
    }
    let rest = rest.strip_prefix("worker ").unwrap_or(rest);
    let mut quoted = serde_json::Deserializer::from_str(rest).into_iter::<String>();
    if let Some(Ok(who)) = quoted.next() {
        return Some(who);
    }
    let who = rest.split("; ").next().unwrap_or(rest);
    let bare = who.trim_matches('"');
    (!bare.is_empty()).then(|| bare.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_did_it_comes_back() {
        for name in ["clerk-7", "a \"b\" \\c; d", "Käthe by night", "x@y.org"] {
            for said in [None, Some("and more; by \"Bob\"")] {
                let message = done_by(StepStatus::Completed, name, said);
                assert_eq!(who(&message).as_deref(), Some(name), "{message}");
            }
        }
        assert_eq!(
            done_by(StepStatus::Failed, "clerk-7", Some("why")),
            "failed by \"clerk-7\"; why"
        );
        assert_eq!(
            done_by(StepStatus::Skipped, "clerk-7", None),
            "skipped by \"clerk-7\""
        );
    }

    #[test]
    fn messages_of_the_engine_are_understood() {
        let check = |message: &str, want: Option<&str>| {
            assert_eq!(who(message).as_deref(), want, "{message}");
        };
        check("completed by worker \"w 1\"", Some("w 1"));
        check("completed by worker \"w\\u{301}\"", Some("w\\u{301}"));
        check("approved by ann@x.org", Some("ann@x.org"));
        check("rejected by ann@x.org; no way on", Some("ann@x.org"));
        check("attempt 2 follows", None);
        check("replaced by ann", None);
        check("completed by ", None);
        check("", None);
    }
}
