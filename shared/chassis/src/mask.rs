//! Which fields an update changes. A path outside of what may be changed is refused, never ignored.

use prost_types::FieldMask;

use crate::error::{Error, Result, Violation};

/// The fields to change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mask(Vec<String>);

impl Mask {
    /// Without a mask, the fields of `set` (those that the request fills in) are changed; `*` means
    /// all that are `allowed`.
    pub fn parse(mask: Option<&FieldMask>, allowed: &[&str], set: &[&str]) -> Result<Self> {
        let own = |fields: &[&str]| Ok(Self(fields.iter().map(|&f| f.to_owned()).collect()));
        let paths = mask.map(|mask| mask.paths.as_slice()).unwrap_or_default();
        if paths.is_empty() {
            return own(set);
        }
        if paths == ["*"] {
            return own(allowed);
        }
        let unknown: Vec<Violation> = paths
            .iter()
            .filter(|path| !allowed.contains(&path.as_str()))
            .map(|path| Violation {
                field: "update_mask".to_owned(),
                description: format!("cannot change {path:?}; can change: {}", allowed.join(", ")),
            })
            .collect();
        if unknown.is_empty() {
            Ok(Self(paths.to_vec()))
        } else {
            Err(Error::violations(unknown))
        }
    }

    pub fn has(&self, field: &str) -> bool {
        self.0.iter().any(|path| path == field)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mask_names_what_changes() {
        let parse = |paths: &[&str]| {
            let mask = FieldMask {
                paths: paths.iter().map(|&p| p.to_owned()).collect(),
            };
            Mask::parse(Some(&mask), &["name", "email"], &["email"])
        };
        let only_name = parse(&["name"]).expect("valid");
        assert!(only_name.has("name") && !only_name.has("email"));
        let all = parse(&["*"]).expect("valid");
        assert!(all.has("name") && all.has("email"));
        assert!(!parse(&[]).expect("valid").has("name"));
        assert!(
            Mask::parse(None, &["name"], &["name"])
                .expect("valid")
                .has("name")
        );
        for refused in [&["status"][..], &["name", "*"], &["Name"], &[""]] {
            assert_eq!(
                parse(refused).expect_err("refused").reason(),
                "INVALID_ARGUMENT"
            );
        }
    }
}
