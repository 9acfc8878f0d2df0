//! Statuses and roles on the wire. Invariant: UNSPECIFIED, and words of a newer release, are never taken
//! for a status.

use proto::catalog::v1 as catalog;
use proto::execution::v1 as execution;

use crate::status::{ExecutionStatus, Role, StepStatus, WorkflowStatus};

/// Ties an enum of the model to its generated twin, both ways.
macro_rules! twins {
    ($model:ident, $wire:path, { $( $variant:ident ),+ }) => {
        impl From<$model> for $wire {
            fn from(status: $model) -> Self {
                match status { $( $model::$variant => Self::$variant ),+ }
            }
        }

        impl TryFrom<$wire> for $model {
            type Error = String;

            fn try_from(status: $wire) -> Result<Self, String> {
                match status {
                    $( <$wire>::$variant => Ok(Self::$variant), )+
                    <$wire>::Unspecified => Err("must be specified".to_owned()),
                }
            }
        }
    };
}

twins!(ExecutionStatus, execution::ExecutionStatus, { Pending, Running, Completed, Failed, Cancelled });
twins!(StepStatus, execution::StepStatus, { Pending, Running, Completed, Failed, Skipped });
twins!(WorkflowStatus, catalog::WorkflowStatus, { Draft, Active, Inactive, Archived });
twins!(Role, catalog::UserRole, { Admin, User });

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wire_words_end_in_the_schemas_words() {
        for status in ExecutionStatus::ALL {
            let wire = execution::ExecutionStatus::from(*status);
            assert_eq!(wire.as_str_name(), format!("EXECUTION_STATUS_{status}"));
            assert_eq!(ExecutionStatus::try_from(wire), Ok(*status));
        }
        for status in StepStatus::ALL {
            let wire = execution::StepStatus::from(*status);
            assert_eq!(wire.as_str_name(), format!("STEP_STATUS_{status}"));
            assert_eq!(StepStatus::try_from(wire), Ok(*status));
        }
        for status in WorkflowStatus::ALL {
            let wire = catalog::WorkflowStatus::from(*status);
            assert_eq!(wire.as_str_name(), format!("WORKFLOW_STATUS_{status}"));
            assert_eq!(WorkflowStatus::try_from(wire), Ok(*status));
        }
        for role in Role::ALL {
            let wire = catalog::UserRole::from(*role);
            assert_eq!(wire.as_str_name(), format!("USER_ROLE_{role}"));
            assert_eq!(Role::try_from(wire), Ok(*role));
        }
        assert!(Role::try_from(catalog::UserRole::Unspecified).is_err());
    }
}
