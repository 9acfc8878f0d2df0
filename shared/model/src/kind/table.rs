//! Every step type with every setting it understands. Invariant: what a setting accepts is said here and
//! nowhere else; configs are read by this table, and the JSON Schemas that editors get are made from it.

use super::{control, foreach};
use crate::known::Types;

/// What the words of a step's `stepType` stand for.
#[derive(Debug)]
pub struct StepType {
    /// Empty: every word that is not built in.
    pub word: &'static str,
    /// For people.
    pub title: &'static str,
    pub description: &'static str,
    pub(super) settings: &'static [Setting],
    pub(super) choice: Option<Choice>,
    pub(super) only: &'static [Only],
    pub(crate) output: Output,
    /// A config, as JSON.
    pub(super) example: &'static str,
}

/// One key of a config.
#[derive(Debug)]
pub(super) struct Setting {
    pub(super) key: &'static str,
    pub(super) form: Form,
    /// What to say if it is not there; None: it need not be.
    pub(super) required: Option<&'static str>,
    pub(super) description: &'static str,
    /// What its absence means, as JSON; empty if that is no value of its own.
    pub(super) default: &'static str,
}

/// What a setting accepts.
#[derive(Debug)]
pub(super) enum Form {
    /// A text of 1 to 200 characters.
    Text,
    /// A word of 1 to 100 characters.
    Word,
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// Any text.
    Prose,
    /// Anything.
    Any,
    /// A list of at most 100 texts.
    Texts,
    /// The same, of email addresses.
    Emails,
    /// Longer than none, at most ten years.
    Duration,
    /// An RFC 3339 instant.
    Instant,
    /// A path into the data.
    Path,
    /// A number within a range.
    Number { min: f64, max: f64 },
    /// A whole number from 1 on.
    Count { max: u32 },
    /// A CEL expression.
    Expression,
    /// An object of CEL expressions; what to say if it is empty, if it must not be.
    Expressions(Option<&'static str>),
    /// A UUID.
    Uuid,
    /// An object of settings.
    Object(&'static [Setting]),
}

/// A setting that means something only with a word of another.
#[derive(Debug)]
pub(super) struct Only {
    pub(super) key: &'static str,
    pub(super) with: (&'static str, &'static str),
    /// What to say if it is not there, though that word is.
    pub(super) required: Option<&'static str>,
}

/// Settings of which exactly one is given.
#[derive(Debug)]
pub(super) struct Choice {
    pub(super) keys: &'static [&'static str],
    pub(super) missing: &'static str,
    pub(super) several: &'static str,
}

/// What a step leaves for those after it.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Output {
    Nothing,
    Fields(&'static [Field]),
    /// One field for each key of `config.output`.
    Expressions,
    /// Whatever a person or a worker answers.
    Open,
}

#[derive(Debug)]
pub(crate) struct Field {
    pub(crate) name: &'static str,
    /// Whether it is there whenever the step is done.
    pub(crate) always: bool,
    pub(crate) types: Types,
    pub(crate) description: &'static str,
}

pub(super) const fn optional(key: &'static str, form: Form, description: &'static str) -> Setting {
    Setting {
        key,
        form,
        required: None,
        description,
        default: "",
    }
}

pub(super) const fn default(setting: Setting, default: &'static str) -> Setting {
    Setting { default, ..setting }
}

const OUTPUT_MISSING: &str =
    "must say what comes out: {\"output\": {\"total\": \"data.net + data.tax\"}}";

/// What every step understands.
pub(super) const COMMON: &[Setting] = &[
    optional(
        "retry",
        Form::Object(RETRY),
        "When a failed attempt is tried again. Jobs are retried: what a person does not decide in time, and \
         what an expression cannot compute, fails at once.",
    ),
    optional(
        "timeout",
        Form::Duration,
        "How long an attempt may take, for people and workers; then it fails with the code TIMEOUT.",
    ),
    optional(
        "queueTimeout",
        Form::Duration,
        "How long a job may wait for a worker; then it fails with the code QUEUE_TIMEOUT.",
    ),
    optional(
        "target",
        Form::Duration,
        "Within which time the step should be done, from the first attempt's becoming visible. Nothing happens \
         when it is missed: reports tell whether it was met.",
    ),
    default(
        optional(
            "onFailure",
            Form::OneOf(&["fail", "park"]),
            "What its last failure means if no transition catches it and the step is required: the execution \
             fails, or waits for an operator (ResolveIncident).",
        ),
        "\"fail\"",
    ),
    optional(
        "compensate",
        Form::Text,
        "Key or name of the step that undoes this one: it runs, newest first, before the execution fails or \
         is cancelled with `compensate`. No transition leads to it.",
    ),
    optional(
        "lock",
        Form::Object(LOCK),
        "A critical section: at any time one step of all executions of the client holds a lock. The step waits \
         for it before it begins, in the order of arrival, and gives it back when it is over, retries \
         included. Whoever holds one lock and waits for another needs a timeout: two of them could wait for \
         each other.",
    ),
    optional(
        "cancels",
        Form::Texts,
        "Keys or names of steps: whatever is under way at them is withdrawn when this step is completed.",
    ),
];

const LOCK: &[Setting] = &[
    Setting {
        required: Some("must name the lock, for instance \"ledger\""),
        ..optional("name", Form::Text, "What is guarded.")
    },
    optional(
        "key",
        Form::Path,
        "The path to the text or number that tells one guarded thing of that name from others.",
    ),
    optional(
        "timeout",
        Form::Duration,
        "How long the step waits for the lock; then it fails with the code LOCK_TIMEOUT.",
    ),
];

const RETRY: &[Setting] = &[
    default(
        optional(
            "maxAttempts",
            Form::Count { max: 1000 },
            "How many attempts there are at most, the first included.",
        ),
        "3",
    ),
    default(
        optional(
            "initialInterval",
            Form::Duration,
            "The delay after the first failed attempt.",
        ),
        "\"1s\"",
    ),
    default(
        optional(
            "multiplier",
            Form::Number {
                min: 1.0,
                max: 100.0,
            },
            "By what each further delay grows.",
        ),
        "2",
    ),
    optional(
        "maxInterval",
        Form::Duration,
        "No delay is longer. Not shorter than initialInterval. Default: one minute, or initialInterval if \
         that is longer.",
    ),
    default(
        optional(
            "jitter",
            Form::Number { min: 0.0, max: 1.0 },
            "By which part of itself a delay may be shortened by chance, so that what failed together does \
             not come back together.",
        ),
        "0.2",
    ),
    optional(
        "totalTimeout",
        Form::Duration,
        "Counted from the first attempt; no attempt begins later.",
    ),
];

const GROUP: Setting = optional(
    "approverRole",
    Form::Text,
    "The group whose members may decide. Without group and assignees every user may.",
);
const ASSIGNEES: Setting = optional(
    "assignees",
    Form::Emails,
    "Email addresses of people who may decide, beside the group.",
);

/// Step types that the engine itself understands, and last what every other word is.
pub(super) const TYPES: [StepType; 13] = [
    StepType {
        word: "approval",
        title: "Approval",
        description: "A person says yes or no.",
        settings: &[GROUP, ASSIGNEES],
        choice: None,
        only: &[],
        output: Output::Fields(&[
            Field {
                name: "approved",
                always: true,
                types: Types::BOOL,
                description: "Whether it was approved.",
            },
            Field {
                name: "approver",
                always: true,
                types: Types::TEXT,
                description: "Email address of who decided.",
            },
            Field {
                name: "comment",
                always: true,
                types: Types::TEXT,
                description: "What they said; may be empty.",
            },
            Field {
                name: "timestamp",
                always: true,
                types: Types::TEXT,
                description: "When, as an RFC 3339 instant.",
            },
        ]),
        example: r#"{"approverRole": "manager", "timeout": "48h"}"#,
    },
    StepType {
        word: "data_entry",
        title: "Data entry",
        description: "A person enters data, which is the step's output.",
        settings: &[
            GROUP,
            ASSIGNEES,
            optional(
                "requiredDocuments",
                Form::Texts,
                "What the person is asked for; shown with the task.",
            ),
            optional(
                "fields",
                Form::Any,
                "What a form shows for the task; kept as it is.",
            ),
        ],
        choice: None,
        only: &[],
        output: Output::Open,
        example: r#"{"approverRole": "sales", "requiredDocuments": ["contract", "tax_form"]}"#,
    },
    StepType {
        word: "notification",
        title: "Notification",
        description: "A message is sent; the execution goes on at once.",
        settings: &[
            default(
                optional("notificationType", Form::Text, "The channel."),
                "\"email\"",
            ),
            optional("template", Form::Text, "The name of the text that is sent."),
            optional(
                "recipients",
                Form::Texts,
                "To whom, as the channel understands it.",
            ),
            optional("message", Form::Prose, "A text to send without a template."),
        ],
        choice: None,
        only: &[],
        output: Output::Nothing,
        example: r#"{"notificationType": "email", "template": "welcome_email"}"#,
    },
    StepType {
        word: "transform",
        title: "Transform",
        description: "Expressions make the output from the data.",
        settings: &[Setting {
            required: Some(OUTPUT_MISSING),
            ..optional(
                "output",
                Form::Expressions(Some(OUTPUT_MISSING)),
                "A CEL expression for each field of the output; a constant text is \"'…'\". At most 2 KiB each.",
            )
        }],
        choice: None,
        only: &[],
        output: Output::Expressions,
        example: r#"{"output": {"total": "data.net + data.tax", "currency": "'EUR'"}}"#,
    },
    StepType {
        word: "decision",
        title: "Decision",
        description: "Does nothing itself: its transitions say where to go.",
        settings: &[],
        choice: None,
        only: &[],
        output: Output::Nothing,
        example: "{}",
    },
    control::PARALLEL,
    control::JOIN,
    foreach::FOREACH,
    StepType {
        word: "wait",
        title: "Wait",
        description: "Time passes: a duration, or until an instant.",
        settings: &[
            optional("duration", Form::Duration, "How long."),
            optional(
                "until",
                Form::Instant,
                "The instant, in RFC 3339; one that has passed is no wait.",
            ),
            optional(
                "untilField",
                Form::Path,
                "The path to the RFC 3339 instant that is there when the step is reached.",
            ),
        ],
        choice: Some(Choice {
            keys: &["duration", "until", "untilField"],
            missing: "must say how long: `duration` (\"48h\"), `until` (an RFC 3339 instant) or `untilField` \
                      (the field that holds one)",
            several: "only one of duration, until and untilField can be given",
        }),
        only: &[],
        output: Output::Nothing,
        example: r#"{"duration": "48h"}"#,
    },
    control::SIGNAL,
    control::END,
    control::SUBWORKFLOW,
    StepType {
        word: "",
        title: "Job",
        description: "Work for an external worker; what the worker answers is the step's output. Every word of \
                      1 to 100 characters that is not built in means this. Further keys of the config are the \
                      worker's own.",
        settings: &[optional(
            "action",
            Form::Word,
            "The job type that workers ask for. Default: the step type.",
        )],
        choice: None,
        only: &[],
        output: Output::Open,
        example: r#"{"action": "create_account", "timeout": "5m", "retry": {"maxAttempts": 5}, "plan": "basic"}"#,
    },
];

impl StepType {
    /// All of them, the job last.
    pub fn all() -> &'static [Self] {
        &TYPES
    }

    /// What a word of `stepType` stands for.
    pub fn of(word: &str) -> &'static Self {
        let built_in = TYPES.iter().find(|about| about.word == word);
        built_in.unwrap_or(&TYPES[TYPES.len() - 1])
    }

    pub fn is_job(&self) -> bool {
        self.word.is_empty()
    }

    /// Its own settings, then those of every step.
    pub(super) fn all_settings(&self) -> impl Iterator<Item = &'static Setting> {
        self.settings.iter().chain(COMMON)
    }
}
