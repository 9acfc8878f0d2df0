//! How a repeated call is recognised: by who calls, which method and the caller's own id for the call.
//! The hash of the body tells a repetition from an id that was used for something else.

use prost::Message;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::auth::Caller;
use crate::error::{Error, Result};
use crate::input::parse_uuid;

/// What a service keeps in the same transaction as the call's effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestKey {
    /// Ids are the caller's own: two callers may use the same one.
    pub caller: String,
    pub method: &'static str,
    pub id: Uuid,
    /// SHA-256 of the request without its id.
    pub body_hash: Vec<u8>,
}

impl RequestKey {
    /// Nothing when the caller gave no id. `body` is the request with its `request_id` cleared.
    pub fn from(
        caller: &Caller,
        method: &'static str,
        request_id: &str,
        body: &impl Message,
    ) -> Result<Option<Self>> {
        if request_id.is_empty() {
            return Ok(None);
        }
        let id =
            parse_uuid(request_id).ok_or_else(|| Error::invalid("request_id", "is not a UUID"))?;
        let body_hash = Sha256::digest(body.encode_to_vec()).to_vec();
        Ok(Some(Self {
            caller: caller.key(),
            method,
            id,
            body_hash,
        }))
    }

    /// The id was used before, with another body.
    pub fn reused() -> Error {
        Error::already_exists(
            "REQUEST_ID_REUSED",
            "this request_id was used for a request with another body",
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn body_and_caller_are_part_of_the_key() {
        let body = |text: &str| prost_types::FieldMask {
            paths: vec![text.to_owned()],
        };
        let anna = Caller::Internal("anna".to_owned());
        let key = |caller: &Caller, id: &str, text: &str| {
            RequestKey::from(caller, "CreateClient", id, &body(text))
        };
        let id = Uuid::from_u128(5).to_string();
        let first = key(&anna, &id, "a").expect("valid").expect("given");
        assert_eq!(key(&anna, &id, "a").expect("valid").as_ref(), Some(&first));
        let other_body = key(&anna, &id, "b").expect("valid").expect("given");
        assert_eq!(
            (other_body.id, &other_body.caller),
            (first.id, &first.caller)
        );
        assert_ne!(other_body.body_hash, first.body_hash);
        let other = key(&Caller::Internal("bert".to_owned()), &id, "a").expect("valid");
        assert_ne!(other.expect("given").caller, first.caller);
        assert_eq!(key(&anna, "", "a").expect("valid"), None);
        assert_eq!(
            key(&anna, "5", "a").expect_err("refused").reason(),
            "INVALID_ARGUMENT"
        );
    }
}
