//! What is malformed is refused with the field that is wrong, and leaves nothing behind. A case that a
//! caller could run into belongs into one of these tables; `every_field` makes the rest from the descriptors.

mod accounts;
mod definitions;
mod every_field;
mod executions;
mod imports;
mod raw;
mod reports;
mod requests;
mod values;

use std::fmt::Debug;

use serde_json::{Value, json};
use tonic::{Code, Response, Status};
use tonic_types::StatusExt;

/// The id of nothing.
pub const UNKNOWN: &str = "0190aaaa-0000-7000-8000-000000000000";

/// Collects what was answered otherwise than expected, so that one run shows all of it.
#[derive(Default)]
pub struct Answers(Vec<String>);

impl Answers {
    /// `field` is the violation's, or the reason where no field is at fault.
    pub fn expect<T: Debug>(
        &mut self,
        answer: Result<Response<T>, Status>,
        code: Code,
        field: &str,
    ) {
        let status = match answer {
            Ok(response) => {
                let text = format!("{response:?}");
                self.0.push(format!("{field}: accepted with {:.300}", text));
                return;
            }
            Err(status) => status,
        };
        let mut said: Vec<String> = status
            .get_details_bad_request()
            .map(|bad| {
                bad.field_violations
                    .into_iter()
                    .map(|violation| violation.field)
                    .collect()
            })
            .unwrap_or_default();
        said.extend(status.get_details_error_info().map(|info| info.reason));
        if status.code() != code || !said.iter().any(|said| said == field) {
            let (code_said, message) = (status.code(), status.message());
            self.0.push(format!(
                "{field}: expected {code:?}, got {code_said:?} {said:?} {message:.200}"
            ));
        }
    }

    pub fn invalid<T: Debug>(&mut self, answer: Result<Response<T>, Status>, field: &str) {
        self.expect(answer, Code::InvalidArgument, field);
    }

    pub fn end(self) {
        assert!(self.0.is_empty(), "\n{}", self.0.join("\n"));
    }
}

/// Objects in objects.
pub fn nested(levels: usize) -> Value {
    (0..levels).fold(json!({}), |inner, _| json!({ "a": inner }))
}
