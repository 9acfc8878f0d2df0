//! The documented statuses and roles. Invariant: their words are those of the schema's enum types.

/// Declares an enum whose variants are words of the schema.
macro_rules! words {
    (
        $(#[$outer:meta])*
        $name:ident { $( $(#[$inner:meta])* $variant:ident = $word:literal ),+ $(,)? }
    ) => {
        $(#[$outer])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $name { $( $(#[$inner])* $variant ),+ }

        impl $name {
            pub const ALL: &'static [Self] = &[$( Self::$variant ),+];
            pub const WORDS: &'static [&'static str] = &[$( $word ),+];

            /// The schema's word.
            pub fn as_str(self) -> &'static str {
                match self { $( Self::$variant => $word ),+ }
            }

            /// Reads the schema's word, and nothing else.
            pub fn parse(word: &str) -> Option<Self> {
                match word { $( $word => Some(Self::$variant), )+ _ => None }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

words! {
    /// Where an execution is in its life.
    ExecutionStatus {
        /// Accepted. Ends when the first step begins, or by a cancellation.
        Pending = "PENDING",
        /// Under way or waiting. Ends when every branch has ended, a required step failed for good, or
        /// by a cancellation.
        Running = "RUNNING",
        /// Every branch ended. Final.
        Completed = "COMPLETED",
        /// A required step failed, or a limit was exceeded. Final.
        Failed = "FAILED",
        /// Cancelled on request. Final.
        Cancelled = "CANCELLED",
    }
}

words! {
    /// Where one attempt at a step is in its life.
    StepStatus {
        /// Visible, nobody works on it. Begins when the step is reached or a retry is planned; ends when
        /// it is leased, claimed or withdrawn.
        Pending = "PENDING",
        /// Leased, claimed, or its time is running. Ends with an answer, a timeout or a withdrawal.
        Running = "RUNNING",
        /// Done. Final.
        Completed = "COMPLETED",
        /// Failed; a retry is an attempt of its own. Final.
        Failed = "FAILED",
        /// Withdrawn, or failed although optional. Final.
        Skipped = "SKIPPED",
    }
}

words! {
    /// Where a workflow is in its life.
    WorkflowStatus {
        /// Never published. Ends by publishing or archiving.
        Draft = "DRAFT",
        /// Published, may start. Ends by deactivating or archiving.
        Active = "ACTIVE",
        /// Published, may not start. Ends by activating, publishing or archiving.
        Inactive = "INACTIVE",
        /// Retired. Final.
        Archived = "ARCHIVED",
    }
}

words! {
    /// What a user may do.
    Role {
        /// Administers users, reads and edits everything.
        Admin = "ADMIN",
        /// Edits clients and workflows, runs them, decides own tasks.
        User = "USER",
    }
}

words! {
    /// What a machine with an API key may do.
    KeyScope {
        /// Works jobs.
        Worker = "WORKER",
        /// Does what a user does, but decides no tasks and touches no accounts.
        Service = "SERVICE",
    }
}

impl ExecutionStatus {
    /// Whether nothing can change it any more.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Cancelled)
    }
}

impl StepStatus {
    /// Whether nothing can change it any more.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Skipped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_read_back() {
        for status in ExecutionStatus::ALL {
            assert_eq!(ExecutionStatus::parse(status.as_str()), Some(*status));
        }
        for status in StepStatus::ALL {
            assert_eq!(StepStatus::parse(status.as_str()), Some(*status));
        }
        for status in WorkflowStatus::ALL {
            assert_eq!(WorkflowStatus::parse(status.as_str()), Some(*status));
        }
        for role in Role::ALL {
            assert_eq!(Role::parse(role.as_str()), Some(*role));
        }
        assert_eq!(Role::parse("admin"), None);
    }
}
