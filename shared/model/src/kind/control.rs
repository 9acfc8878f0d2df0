//! Step types that steer branches. Invariant: a word that is not one of those listed is refused, never
//! taken for the default.

use super::config;
use super::table::{Form, Only, Output, Setting, StepType, default, optional};

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
                  comes early; BroadcastSignal to all that wait. Its data is the output. With a timeout, and a \
                  transition that catches TIMEOUT, it is a race.",
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
