//! What people and the worker of the demo answer. Pure: an answer follows from the task or the job alone.

use proto::execution::v1::{Job, Task};
use serde_json::{Map, Value, json};

/// A person's.
#[derive(Debug, PartialEq)]
pub enum Answer {
    Submit(Map<String, Value>),
    Approve,
    Reject(&'static str),
}

/// What a reasonable person says to this task.
pub fn to_task(task: &Task) -> Answer {
    let (config, data) = (read(&task.config), read(&task.data));
    if task.step_type == "approval" {
        let number = |key: &str| data.get(key).and_then(Value::as_f64).unwrap_or_default();
        return if number("riskScore") > 80.0 {
            Answer::Reject("too risky")
        } else if number("amount") > 10_000.0 {
            Answer::Reject("over budget")
        } else if data.get("satisfied") == Some(&Value::Bool(false)) {
            Answer::Reject("still broken")
        } else {
            Answer::Approve
        };
    }
    let list = |part: &Map<String, Value>, key: &str| -> Vec<Value> {
        part.get(key)
            .and_then(Value::as_array)
            .cloned()
            .unwrap_or_default()
    };
    let have = list(&data, "documents");
    let complete = list(&config, "requiredDocuments")
        .iter()
        .all(|wanted| have.contains(wanted));
    let entered = match task.step_name.as_str() {
        "Document Collection" => json!({ "documentsComplete": complete }),
        "Initial Review" => json!({ "category": "account" }),
        "Resolution" => json!({
            "resolution": "password reset",
            "requiresConfirmation": data.get("priority") == Some(&json!("high")),
        }),
        _ => json!({ "submitted": true }),
    };
    Answer::Submit(entered.as_object().cloned().unwrap_or_default())
}

/// The output of a job, or why this attempt fails.
pub fn to_job(job: &Job) -> Result<Map<String, Value>, String> {
    let data = read(&job.data);
    let failing = data
        .get("failingAttempts")
        .and_then(Value::as_i64)
        .unwrap_or(0);
    if i64::from(job.attempt) <= failing {
        return Err(format!("{} did not answer in time", job.job_type));
    }
    let text = |key: &str| data.get(key).and_then(Value::as_str).unwrap_or_default();
    let short = &job.execution_id[..job.execution_id.len().min(8)];
    let output = match job.job_type.as_str() {
        "create_account" => json!({ "account": format!("A-{short}") }),
        "assign" => json!({ "team": if text("priority") == "high" { "first" } else { "second" } }),
        "process_payment" => json!({ "payment": format!("P-{short}") }),
        // The Validation step of an invoice; its rules name the fields that must be there.
        _ => {
            let amount = data
                .get("amount")
                .and_then(Value::as_f64)
                .unwrap_or_default();
            json!({ "isValid": amount > 0.0 && !text("date").is_empty() && !text("vendor").is_empty() })
        }
    };
    Ok(output.as_object().cloned().unwrap_or_default())
}

fn read(part: &Option<prost_types::Struct>) -> Map<String, Value> {
    part.as_ref()
        .and_then(|part| model::wire::json_from_struct(part).ok())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(step_type: &str, step_name: &str, data: Value, expected: Answer) {
        let of = |value: Value| value.as_object().map(model::wire::struct_from_json);
        let task = Task {
            step_type: step_type.into(),
            step_name: step_name.into(),
            config: of(json!({ "requiredDocuments": ["id", "contract"] })),
            data: of(data),
            ..Default::default()
        };
        assert_eq!(to_task(&task), expected);
    }

    #[test]
    fn answers_follow_from_the_task() {
        let entered = |value: Value| Answer::Submit(value.as_object().cloned().unwrap_or_default());
        check(
            "approval",
            "Manager Approval",
            json!({ "riskScore": 10 }),
            Answer::Approve,
        );
        check(
            "approval",
            "Manager Approval",
            json!({ "riskScore": 90 }),
            Answer::Reject("too risky"),
        );
        check(
            "approval",
            "Finance Approval",
            json!({ "amount": 20000 }),
            Answer::Reject("over budget"),
        );
        check(
            "data_entry",
            "Document Collection",
            json!({ "documents": ["id"] }),
            entered(json!({ "documentsComplete": false })),
        );
        check(
            "data_entry",
            "Document Collection",
            json!({ "documents": ["contract", "id"] }),
            entered(json!({ "documentsComplete": true })),
        );
    }
}
