//! Step types that steer branches. Invariant: a word that is not one of those listed is refused, never
//! taken for the default.

use uuid::Uuid;

use super::config;
use super::table::{Field, Form, Only, Output, Setting, StepType, default, optional};
use crate::cel::Cel;
use crate::known::Types;

/// When a join lets one branch go on for all that came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Join {
    pub needed: Needed,
    pub rest: Rest,
}

/// How many branches a join waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needed {
    /// All that can still come.
    All,
    /// This many.
    Count(u32),
}

/// What becomes of branches that a join no longer waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rest {
    /// They go on, and end where they would have come to the join.
    Runs,
    /// They are withdrawn as soon as the join goes on.
    IsCancelled,
}

/// How an `end` step ends the whole execution.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct End {
    /// Code and message; none: the execution is COMPLETED.
    pub failure: Option<(String, String)>,
}

/// What a `subworkflow` step runs.
#[derive(Debug, Clone)]
pub struct Called {
    pub workflow_id: Uuid,
    /// Its input, one expression a key; none: all of the data.
    pub input: Option<Vec<(String, Cel)>>,
    /// Whether the step is done when the execution is over; else as soon as it has started.
    pub waits: bool,
}

pub(super) const PARALLEL: StepType = StepType {
    word: "parallel",
    title: "Parallel",
    description: "Takes every transition that holds, each with a branch of its own; the default only if none does.",
    settings: &[],
    choice: None,
    only: &[],
    output: Output::Nothing,
    example: "{}",
};

pub(super) const JOIN: StepType = StepType {
    word: "join",
    title: "Join",
    description: "Branches become one again. Whoever comes after it has gone on, of those it went on without, \
                  ends here.",
    settings: &[
        default(
            optional(
                "mode",
                Form::OneOf(&["ALL", "ANY", "N_OF"]),
                "Waits for all branches that can still come, for the first, or for `n` of them. If these can no \
                 longer come, the step fails with the code JOIN_UNSATISFIABLE.",
            ),
            "\"ALL\"",
        ),
        optional(
            "n",
            Form::Count { max: 10_000 },
            "How many branches are needed, with mode N_OF.",
        ),
        default(
            optional(
                "onSatisfied",
                Form::OneOf(&["LET_RUN", "CANCEL_REST"]),
                "Whether branches that are no longer waited for go on, or are withdrawn.",
            ),
            "\"LET_RUN\"",
        ),
    ],
    choice: None,
    only: &[Only {
        key: "n",
        with: ("mode", "N_OF"),
        required: Some("must say how many branches are needed, for instance 2"),
    }],
    output: Output::Nothing,
    example: r#"{"mode": "N_OF", "n": 2, "onSatisfied": "CANCEL_REST"}"#,
};

pub(super) const SIGNAL: StepType = StepType {
    word: "signal",
    title: "Signal",
    description: "Waits for a named message: SignalExecution sends one to an execution, where it is kept if it \
                  comes early; BroadcastSignal sends one to all that wait, and can keep one with a correlation for \
                  who will. Its data is the output. With a timeout, and a transition that catches TIMEOUT, it is a \
                  race.",
    settings: &[
        Setting {
            required: Some("must name the signal, for instance \"payment-received\""),
            ..optional("name", Form::Text, "The signal's name.")
        },
        optional(
            "correlation",
            Form::Path,
            "The path to the text or number by which a broadcast tells this execution's signal from others'.",
        ),
    ],
    choice: None,
    only: &[],
    output: Output::Open,
    example: r#"{"name": "payment-received", "correlation": "orderId", "timeout": "3d"}"#,
};

const FAILED: (&str, &str) = ("status", "FAILED");

pub(super) const END: StepType = StepType {
    word: "end",
    title: "End",
    description: "Ends the whole execution, its other branches included. Without it an execution is COMPLETED \
                  when no branch is left.",
    settings: &[
        default(
            optional(
                "status",
                Form::OneOf(&["COMPLETED", "FAILED"]),
                "What the execution is then.",
            ),
            "\"COMPLETED\"",
        ),
        optional(
            "errorCode",
            Form::Text,
            "A stable word for why it failed. Default: ENDED.",
        ),
        optional("message", Form::Text, "Why it failed, in words."),
    ],
    choice: None,
    only: &[
        Only {
            key: "errorCode",
            with: FAILED,
            required: None,
        },
        Only {
            key: "message",
            with: FAILED,
            required: None,
        },
    ],
    output: Output::Nothing,
    example: r#"{"status": "FAILED", "errorCode": "REJECTED", "message": "the offer was turned down"}"#,
};

pub(super) const SUBWORKFLOW: StepType = StepType {
    word: "subworkflow",
    title: "Subworkflow",
    description: "Starts an execution of another workflow of the same client, of the version that is current then, \
                  and waits for its end. If it fails, the step fails with its error code; if it is cancelled, with \
                  SUBWORKFLOW_CANCELLED; if it may not start, with the reason. An execution whose step is withdrawn \
                  or times out is cancelled.",
    settings: &[
        Setting {
            required: Some("must be the UUID of a workflow"),
            ..optional("workflowId", Form::Uuid, "The UUID of the workflow.")
        },
        optional(
            "input",
            Form::Expressions(None),
            "A CEL expression for each field of its input; a constant text is \"'…'\". At most 2 KiB each. \
             Default: all of the data.",
        ),
        default(
            optional(
                "mode",
                Form::OneOf(&["CALL", "START"]),
                "Whether the step is done when the execution is over, or as soon as it has started.",
            ),
            "\"CALL\"",
        ),
    ],
    choice: None,
    only: &[],
    output: Output::Fields(&[
        Field {
            name: "executionId",
            always: true,
            types: Types::TEXT,
            description: "The UUID of the execution.",
        },
        Field {
            name: "result",
            always: false,
            types: Types::OBJECT,
            description: "With mode CALL: the output of that step of it which was done last, of those that have one.",
        },
    ]),
    example: r#"{"workflowId": "018f3b5e-7a10-7c4e-9a53-2f7d1c0b9e64", "input": {"order": "data.orderId"}, "timeout": "2d"}"#,
};

pub(super) fn called(read: &mut config::Settings) -> Option<Called> {
    Some(Called {
        workflow_id: read.uuid("workflowId")?,
        input: read.expressions("input"),
        waits: read.text("mode").as_deref() != Some("START"),
    })
}

/// None if it cannot be told how many branches are needed.
pub(super) fn join(read: &mut config::Settings) -> Option<Join> {
    let count = read.count("n");
    let needed = match read.text("mode").as_deref() {
        Some("ANY") => Needed::Count(1),
        Some("N_OF") => Needed::Count(count?),
        _ => Needed::All,
    };
    let rest = match read.text("onSatisfied").as_deref() {
        Some("CANCEL_REST") => Rest::IsCancelled,
        _ => Rest::Runs,
    };
    Some(Join { needed, rest })
}

pub(super) fn end(read: &mut config::Settings) -> End {
    let code = read.text("errorCode");
    let message = read.text("message");
    let fails = read.text("status").as_deref() == Some("FAILED");
    let failure = fails.then(|| {
        let message = message.unwrap_or_else(|| "the workflow ended it as failed".to_owned());
        (code.unwrap_or_else(|| "ENDED".to_owned()), message)
    });
    End { failure }
}
