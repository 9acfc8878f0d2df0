//! What a step does. Invariant: an unknown step type is a worker's job, never an error and never nothing.

mod config;
mod control;
mod foreach;
mod parse;
mod schema;
mod table;
#[cfg(test)]
mod tests;

use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::cel::Cel;
use crate::retry::Retry;
use crate::scope::Path;

pub(crate) use config::uuid;
pub use control::{Called, End, Join, Needed, Rest};
pub use foreach::{Foreach, Items, MOST_ITEMS};
pub(crate) use parse::parse;
pub use schema::duration as duration_schema;
pub use table::StepType;
pub(crate) use table::{Field, Output};

/// Step types that the engine itself understands; every other word is a job.
pub const BUILT_IN: &[&str] = &[
    "approval",
    "data_entry",
    "notification",
    "transform",
    "decision",
    "parallel",
    "join",
    "foreach",
    "wait",
    "signal",
    "end",
    "subworkflow",
];

/// Words that will be built in: taken as jobs today, workflows would change their meaning then.
pub const RESERVED: &[&str] = &["http"];

/// What a step does.
#[derive(Debug, Clone)]
pub enum Kind {
    /// A person says yes or no.
    Approval(Audience),
    /// A person enters data.
    DataEntry(Audience),
    /// A message is sent.
    Notification {
        notification_type: String,
        template: Option<String>,
        recipients: Vec<String>,
    },
    /// Expressions make the output, one a key, in the order of the config's keys.
    Transform(Vec<(String, Cel)>),
    /// Nothing but its transitions.
    Decision,
    /// Every transition that holds is taken, each by a branch of its own.
    Parallel,
    /// Branches become one again.
    Join(Join),
    /// One step is done for each item of a list.
    Foreach(Foreach),
    /// A named message has to come.
    Signal {
        name: String,
        /// Where the text or number is that tells this execution's message from others'.
        correlation: Option<Path>,
    },
    /// The whole execution ends.
    End(End),
    /// Another workflow runs.
    Subworkflow(Called),
    /// Time passes.
    Wait(WaitUntil),
    /// An external worker does it.
    Job {
        /// `config.action`, else the step type.
        job_type: String,
    },
}

impl Kind {
    /// Whether something outside the engine must happen before the step is over: a loop without such a
    /// step would never rest.
    pub fn waits(&self) -> bool {
        match self {
            Self::Approval(_)
            | Self::DataEntry(_)
            | Self::Wait(_)
            | Self::Signal { .. }
            | Self::Subworkflow(_)
            | Self::Job { .. } => true,
            // As what it does for an item does; there may be no item.
            Self::Foreach(_) => true,
            Self::Notification { .. }
            | Self::Transform(_)
            | Self::Decision
            | Self::Parallel
            | Self::Join(_)
            | Self::End(_) => false,
        }
    }

    /// Whether it waits each time: an instant may have passed already or not be there, a list may be empty.
    pub fn waits_each_time(&self) -> bool {
        let not_always = match self {
            Self::Wait(until) => !matches!(until, WaitUntil::For(_)),
            Self::Foreach(foreach) => matches!(foreach.items, Items::Of(_)),
            _ => false,
        };
        self.waits() && !not_always
    }
}

/// Who may decide; nobody named means every user.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Audience {
    /// `approverRole`.
    pub group: Option<String>,
    /// Email addresses in lower case.
    pub assignees: Vec<String>,
}

/// What a step must hold while it is under way.
#[derive(Debug, Clone, PartialEq)]
pub struct Lock {
    pub name: String,
    /// Where the text or number is that tells one thing of that name from others.
    pub key: Option<Path>,
    /// How long the step waits for it.
    pub timeout: Option<Duration>,
}

/// How long a wait lasts.
#[derive(Debug, Clone, PartialEq)]
pub enum WaitUntil {
    For(Duration),
    At(DateTime<Utc>),
    /// Until the RFC 3339 instant that is found there when the step is reached.
    Field(Path),
}

/// All that type and config of a step say.
pub(crate) struct Settings {
    pub(crate) kind: Kind,
    pub(crate) retry: Retry,
    pub(crate) timeout: Option<Duration>,
    pub(crate) queue_timeout: Option<Duration>,
    pub(crate) target: Option<Duration>,
    pub(crate) parks: bool,
    /// Key or name of the step that undoes this one.
    pub(crate) compensate: Option<String>,
    pub(crate) lock: Option<Lock>,
    /// Keys or names of steps that are left when this one is completed.
    pub(crate) cancels: Vec<String>,
}
