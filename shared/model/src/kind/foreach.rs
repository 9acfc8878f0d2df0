//! The step type that does one step for each item of a list. Invariant: how many items there can be, and
//! how many at once, is always bounded.

use super::config;
use super::control::Rest;
use super::table::{Choice, Field, Form, Output, Setting, StepType, default, optional};
use crate::cel::Cel;
use crate::known::Types;
use crate::scope::Path;

/// Items that one step goes through at most.
pub const MOST_ITEMS: u32 = 1000;

/// One step, done once for each item.
#[derive(Debug, Clone)]
pub struct Foreach {
    pub items: Items,
    /// Key or name of the step that is done; the graph knows which one that is.
    pub step: String,
    /// How many items may be under way at once.
    pub concurrency: u32,
    /// How many items must complete before it goes on; none: all.
    pub needed: Option<u32>,
    /// Judged after each item: it goes on once this is true.
    pub until: Option<Cel>,
    /// How many items may fail without failing the step.
    pub tolerated: u32,
    /// What becomes of items that are no longer needed.
    pub rest: Rest,
}

/// What there is an item for.
#[derive(Debug, Clone)]
pub enum Items {
    /// Each value of the list found there when the step is reached.
    Of(Path),
    /// This many, as numbers from 0 on.
    Count(u32),
}

pub(super) const FOREACH: StepType = StepType {
    word: "foreach",
    title: "For each",
    description: "Does one step for each item of a list, several at once. That step stands apart from the \
                  flow; its config, its worker and its person see the fields `item` and `itemIndex` beside \
                  the data. The results come out in the order of the items.",
    settings: &[
        optional(
            "items",
            Form::Path,
            "The path to the list, of at most 1000 items.",
        ),
        optional(
            "count",
            Form::Count { max: MOST_ITEMS },
            "Instead of a list: how many times the step is done.",
        ),
        Setting {
            required: Some("must name the step that is done for each item"),
            ..optional(
                "step",
                Form::Text,
                "Key or name of the step that is done for each item. No transition leads to it.",
            )
        },
        optional(
            "concurrency",
            Form::Count { max: MOST_ITEMS },
            "How many items may be under way at once. Default: all.",
        ),
        optional(
            "needed",
            Form::Count { max: MOST_ITEMS },
            "How many items must be completed before the execution goes on. Default: all.",
        ),
        optional(
            "until",
            Form::Expression,
            "A CEL expression, judged after each item: once it is true the execution goes on. It sees \
             `step.completed`, `step.failed` and `step.total` (counts), and `step.output`, the item's.",
        ),
        optional(
            "tolerated",
            Form::Count { max: MOST_ITEMS },
            "How many items may fail. One more, and the step fails with that item's code. Default: none.",
        ),
        default(
            optional(
                "onSatisfied",
                Form::OneOf(&["CANCEL_REST", "LET_RUN"]),
                "Whether items under way that are no longer needed are withdrawn, or go on to their end without \
                 a result. Items not begun are not begun.",
            ),
            "\"CANCEL_REST\"",
        ),
    ],
    choice: Some(Choice {
        keys: &["items", "count"],
        missing: "must say what there is an item for: `items` (the path to a list) or `count` (a number)",
        several: "only one of items and count can be given",
    }),
    only: &[],
    output: Output::Fields(&[
        Field {
            name: "results",
            always: true,
            types: Types::LIST,
            description: "The output of each item, in their order; null where there is none.",
        },
        Field {
            name: "completed",
            always: true,
            types: Types::NUMBER,
            description: "How many items were completed.",
        },
        Field {
            name: "failed",
            always: true,
            types: Types::NUMBER,
            description: "How many items failed.",
        },
    ]),
    example: r#"{"items": "orders", "step": "check-order", "concurrency": 5, "tolerated": 2}"#,
};

/// None if there is no knowing what to do.
pub(super) fn foreach(read: &mut config::Settings) -> Option<Foreach> {
    let items = match read.path("items") {
        Some(path) => Items::Of(path),
        None => Items::Count(read.count("count")?),
    };
    Some(Foreach {
        items,
        step: read.text("step")?,
        concurrency: read.count("concurrency").unwrap_or(MOST_ITEMS),
        needed: read.count("needed"),
        until: read.expression("until"),
        tolerated: read.count("tolerated").unwrap_or(0),
        rest: match read.text("onSatisfied").as_deref() {
            Some("LET_RUN") => Rest::Runs,
            _ => Rest::IsCancelled,
        },
    })
}
