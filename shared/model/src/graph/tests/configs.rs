//! One broken step for each code that concerns types and configs.

use serde_json::{Value, json};

use super::problems::{error, warning};
use super::single;

#[test]
fn step_types() {
    error(
        single("", json!({})),
        r#"steps["A"].stepType"#,
        "STEP_TYPE_INVALID",
        "1 to 100",
    );
    error(
        single(&"x".repeat(101), json!({})),
        r#"steps["A"].stepType"#,
        "STEP_TYPE_INVALID",
        "1 to 100",
    );
    for word in crate::kind::RESERVED {
        let message = "supported: approval, data_entry";
        error(
            single(word, json!({})),
            r#"steps["A"].stepType"#,
            "STEP_TYPE_NOT_SUPPORTED",
            message,
        );
    }
    for (word, meant) in [
        ("aproval", "approval"),
        ("dataEntry", "data_entry"),
        ("Wait", "wait"),
    ] {
        let meant = format!("built-in `{meant}`");
        warning(
            single(word, json!({})),
            r#"steps["A"].stepType"#,
            "STEP_TYPE_IS_JOB",
            &meant,
        );
    }
}

#[test]
fn configs() {
    let check = |step_type: &str, config: Value, key: &str, code: &str, message: &str| {
        error(
            single(step_type, config),
            &format!("steps[\"A\"].config.{key}"),
            code,
            message,
        );
    };
    let invalid = "CONFIG_INVALID";
    check(
        "approval",
        json!({ "approverRole": 1 }),
        "approverRole",
        invalid,
        "a text",
    );
    check(
        "approval",
        json!({ "assignees": "ada@example.com" }),
        "assignees",
        invalid,
        "a list",
    );
    check(
        "approval",
        json!({ "assignees": ["managers"] }),
        "assignees",
        invalid,
        "approverRole",
    );
    check(
        "data_entry",
        json!({ "requiredDocuments": [1] }),
        "requiredDocuments",
        invalid,
        "a list",
    );
    check(
        "notification",
        json!({ "notificationType": "" }),
        "notificationType",
        invalid,
        "1 to 200",
    );
    check(
        "notification",
        json!({ "message": 1 }),
        "message",
        invalid,
        "a text",
    );
    check(
        "custom",
        json!({ "action": "x".repeat(101) }),
        "action",
        invalid,
        "100 characters",
    );
    check(
        "transform",
        json!({}),
        "output",
        "CONFIG_MISSING",
        "what comes out",
    );
    check(
        "transform",
        json!({ "output": {} }),
        "output",
        "CONFIG_MISSING",
        "what comes out",
    );
    check(
        "transform",
        json!({ "output": [] }),
        "output",
        invalid,
        "an object",
    );
    check(
        "transform",
        json!({ "output": { "a": "1 +" } }),
        "output.a",
        "CEL_INVALID",
        "Syntax",
    );
    check(
        "transform",
        json!({ "output": { "a": 1 } }),
        "output.a",
        "CEL_INVALID",
        "a CEL expression",
    );
    check("wait", json!({}), "duration", "CONFIG_MISSING", "how long");
    check(
        "wait",
        json!({ "duration": "1h", "untilField": "a" }),
        "untilField",
        invalid,
        "only one",
    );
    check(
        "wait",
        json!({ "until": "tomorrow" }),
        "until",
        invalid,
        "RFC 3339",
    );
    check(
        "wait",
        json!({ "untilField": "a..b" }),
        "untilField",
        invalid,
        "no path",
    );
    check(
        "wait",
        json!({ "duration": "0s" }),
        "duration",
        "DURATION_INVALID",
        "longer than",
    );
    for step_type in ["approval", "custom"] {
        let duration = "DURATION_INVALID";
        check(
            step_type,
            json!({ "timeout": 48 }),
            "timeout",
            duration,
            "\"48s\"",
        );
        check(
            step_type,
            json!({ "timeout": "48" }),
            "timeout",
            duration,
            "`48h`",
        );
        check(
            step_type,
            json!({ "timeout": true }),
            "timeout",
            duration,
            "such as",
        );
        check(
            step_type,
            json!({ "target": "soon" }),
            "target",
            duration,
            "no duration",
        );
        check(
            step_type,
            json!({ "queueTimeout": "11 days" }),
            "queueTimeout",
            duration,
            "no duration",
        );
        check(
            step_type,
            json!({ "retry": 3 }),
            "retry",
            invalid,
            "an object",
        );
        let retry = |retry: Value, key: &str, code: &str, message: &str| {
            check(
                step_type,
                json!({ "retry": retry }),
                &format!("retry.{key}"),
                code,
                message,
            );
        };
        retry(
            json!({ "maxAttempts": 0 }),
            "maxAttempts",
            invalid,
            "from 1 to 1000",
        );
        retry(
            json!({ "maxAttempts": 1.5 }),
            "maxAttempts",
            invalid,
            "whole number",
        );
        retry(
            json!({ "multiplier": 0.5 }),
            "multiplier",
            invalid,
            "from 1 to 100",
        );
        retry(json!({ "jitter": 2 }), "jitter", invalid, "from 0 to 1");
        retry(
            json!({ "initialInterval": "x" }),
            "initialInterval",
            duration,
            "no duration",
        );
        retry(
            json!({ "totalTimeout": 5 }),
            "totalTimeout",
            duration,
            "no unit",
        );
        let shorter = json!({ "initialInterval": "1m", "maxInterval": "1s" });
        retry(shorter, "maxInterval", invalid, "not be shorter");
    }
}

#[test]
fn keys_without_effect() {
    let check = |step_type: &str, config: Value, key: &str, hint: &str| {
        let path = format!("steps[\"A\"].config.{key}");
        warning(single(step_type, config), &path, "UNKNOWN_CONFIG_KEY", hint);
    };
    check(
        "approval",
        json!({ "aproverRole": "x" }),
        "aproverRole",
        "Did you mean `approverRole`?",
    );
    check(
        "approval",
        json!({ "time_out": "1h" }),
        "time_out",
        "Did you mean `timeout`?",
    );
    check(
        "decision",
        json!({ "colour": 1 }),
        "colour",
        "understood here: retry, timeout, queueTimeout, target, onFailure, compensate, lock, cancels.",
    );
    check(
        "custom",
        json!({ "retry": { "max": 3 } }),
        "retry.max",
        "maxAttempts",
    );
}

#[test]
fn a_wrong_reference_in_a_config_is_a_warning() {
    warning(
        single(
            "transform",
            json!({ "output": { "x": "steps.B.output.y" } }),
        ),
        r#"steps["A"].config.output.x"#,
        "UNKNOWN_STEP_REFERENCE",
        r#"no step "B""#,
    );
    warning(
        single("wait", json!({ "untilField": "steps.B.output.y" })),
        r#"steps["A"].config.untilField"#,
        "UNKNOWN_STEP_REFERENCE",
        r#"no step "B""#,
    );
}

#[test]
fn subworkflows() {
    let config = |workflow: &str| json!({ "workflowId": workflow });
    let path = r#"steps["A"].config.workflowId"#;
    error(
        single("subworkflow", json!({})),
        path,
        "CONFIG_MISSING",
        "UUID of a workflow",
    );
    error(
        single("subworkflow", config("onboarding")),
        path,
        "CONFIG_INVALID",
        "must be a UUID",
    );
    let itself = single("subworkflow", json!({}));
    let itself = config(&itself.workflow_id.to_string());
    warning(
        single("subworkflow", itself),
        path,
        "SUBWORKFLOW_CALLS_ITSELF",
        "8 deep",
    );
    let mut reads = config("018f3b5e-7a10-7c4e-9a53-2f7d1c0b9e64");
    reads["input"] = json!({ "x": "steps[\"Nowhere\"].output.x" });
    warning(
        single("subworkflow", reads),
        r#"steps["A"].config.input.x"#,
        "UNKNOWN_STEP_REFERENCE",
        "there is no step",
    );
}
