//! What clients, steps and transitions consist of, apart from identity and history, and the limits of
//! it. Invariant: calls and documents share these, so what one way in refuses, the other refuses too.

use std::ops::RangeInclusive;

use serde_json::{Map, Value};
use uuid::Uuid;

#[derive(Debug, Clone, Default, PartialEq)]
pub struct ClientFields {
    pub name: String,
    pub email: Option<String>,
    pub phone: Option<String>,
    pub address: Option<String>,
    pub company: Option<String>,
    pub notes: Option<String>,
    pub is_active: bool,
}

impl ClientFields {
    /// What makes these fields the `wanted` ones, in words.
    pub fn changes(&self, wanted: &Self) -> Vec<String> {
        let mut lines = Vec::new();
        for (field, is, wanted) in [
            ("name", Some(&self.name), Some(&wanted.name)),
            ("email", self.email.as_ref(), wanted.email.as_ref()),
            ("phone", self.phone.as_ref(), wanted.phone.as_ref()),
            ("address", self.address.as_ref(), wanted.address.as_ref()),
            ("company", self.company.as_ref(), wanted.company.as_ref()),
            ("notes", self.notes.as_ref(), wanted.notes.as_ref()),
        ] {
            match (is, wanted) {
                (is, wanted) if is == wanted => {}
                (None, Some(wanted)) => lines.push(format!("set {field} to {wanted:?}")),
                (Some(is), None) => lines.push(format!("cleared {field}, which was {is:?}")),
                (is, wanted) => lines.push(format!(
                    "changed {field} from {:?} to {:?}",
                    is.map_or("", String::as_str),
                    wanted.map_or("", String::as_str)
                )),
            }
        }
        if self.is_active != wanted.is_active {
            let what = if wanted.is_active {
                "activated"
            } else {
                "deactivated"
            };
            lines.push(what.to_owned());
        }
        lines
    }
}

#[derive(Debug, Clone, Default, PartialEq)]
pub struct StepFields {
    pub name: String,
    pub description: Option<String>,
    pub step_type: String,
    pub order: i32,
    /// Empty and absent are the same.
    pub config: Map<String, Value>,
    pub is_required: bool,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub struct TransitionFields {
    pub from_step_id: Uuid,
    pub to_step_id: Uuid,
    pub condition: Option<Value>,
    pub is_default: bool,
}

pub const NAME: RangeInclusive<usize> = 1..=200;
pub const DESCRIPTION: RangeInclusive<usize> = 0..=10_000;
pub const TARGET: RangeInclusive<usize> = 0..=50;
pub const STEP_TYPE: RangeInclusive<usize> = 1..=100;
pub const EMAIL: RangeInclusive<usize> = 0..=254;
pub const PHONE: RangeInclusive<usize> = 0..=50;
pub const ADDRESS: RangeInclusive<usize> = 0..=1000;
pub const COMPANY: RangeInclusive<usize> = 0..=200;
pub const NOTES: RangeInclusive<usize> = 0..=10_000;
pub const PASSWORD: RangeInclusive<usize> = 8..=256;
pub const COMMENT: RangeInclusive<usize> = 0..=500;
pub const GROUP: RangeInclusive<usize> = 1..=100;

/// Groups a user may belong to, and bytes of all their names: they travel in the header of every call.
pub const MAX_GROUPS: usize = 50;
pub const MAX_GROUP_BYTES: usize = 8000;
/// Steps a workflow may have: validation and routing are built for this many.
pub const MAX_STEPS: usize = 1000;
/// Transitions a workflow may have.
pub const MAX_TRANSITIONS: usize = 10_000;
/// Bytes of a workflow's texts, configs and conditions as PostgreSQL writes them. As a message it is at
/// most four times that, so every client can read it.
pub const MAX_WORKFLOW_BYTES: usize = 1024 * 1024;

/// What is wrong with an email address. A plausibility check only: whether mail arrives, nobody can see
/// from the text, and `admin@localhost` is an address.
pub fn email_fault(email: &str) -> Option<&'static str> {
    let plausible = email.split_once('@').is_some_and(|(local, domain)| {
        !local.is_empty()
            && !domain.is_empty()
            && !domain.contains('@')
            && !domain.starts_with('.')
            && !domain.ends_with('.')
    }) && !email.contains(char::is_whitespace)
        && model::text::name_fault(email).is_none();
    (!plausible).then_some("is not an email address such as `name@example.com`")
}

/// What is wrong with the time within which executions should end.
pub fn target_fault(target: &str) -> Option<String> {
    let length = target.chars().count();
    if !TARGET.contains(&length) {
        return Some(format!(
            "has {length} characters; at most {} are accepted",
            TARGET.end()
        ));
    }
    model::duration::parse_positive(target).err()
}

/// What is wrong with a step's key.
pub fn key_fault(key: &str) -> Option<&'static str> {
    let fits = (1..=100).contains(&key.len())
        && key
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    (!fits).then_some("must be 1 to 100 lower-case letters, digits and `-`")
}

/// Empty text and absent text are the same thing on the wire; in the schema it is null.
pub fn non_empty(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn implausible_addresses_are_refused() {
        for good in ["a@b", "admin@localhost", "jane.doe+x@mail.example.com"] {
            assert_eq!(email_fault(good), None, "{good:?}");
        }
        for bad in [
            "",
            "a",
            "@b",
            "a@",
            "a@b@c",
            "a b@c",
            "a@.c",
            "a@c.",
            "a\u{200b}@b",
            "a@b\u{ad}",
            "a\u{308}@b",
        ] {
            assert!(email_fault(bad).is_some(), "{bad:?}");
        }
    }

    #[test]
    fn keys_are_plain_words() {
        for good in ["a", "manager-approval", "2nd"] {
            assert_eq!(key_fault(good), None, "{good:?}");
        }
        for bad in ["", "A", "a_b", "ä", "a b"] {
            assert!(key_fault(bad).is_some(), "{bad:?}");
        }
        assert!(key_fault(&"a".repeat(101)).is_some());
    }
}
