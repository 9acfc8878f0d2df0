//! Who may call which method. Invariant: a method that is not named here is nobody's to call.

use chassis::auth::{Access, AccessTable};

/// Users run workflows and do their work; what is internal takes services only.
pub const ACCESS: AccessTable = &[
    (
        "/workflow.execution.v1.ExecutionService/StartExecution",
        Access::User,
    ),
    (
        "/workflow.execution.v1.ExecutionService/GetExecution",
        Access::User,
    ),
    (
        "/workflow.execution.v1.ExecutionService/ListExecutions",
        Access::User,
    ),
    (
        "/workflow.execution.v1.ExecutionService/ListExecutionLogs",
        Access::User,
    ),
    (
        "/workflow.execution.v1.ExecutionService/WatchExecution",
        Access::User,
    ),
    (
        "/workflow.execution.v1.ExecutionService/CancelExecution",
        Access::User,
    ),
    (
        "/workflow.execution.v1.ExecutionService/CheckExecutions",
        Access::Admin,
    ),
    (
        "/workflow.execution.v1.ExecutionService/SimulateWorkflow",
        Access::User,
    ),
    ("/workflow.execution.v1.TaskService/ListTasks", Access::User),
    ("/workflow.execution.v1.TaskService/GetTask", Access::User),
    ("/workflow.execution.v1.TaskService/ClaimTask", Access::User),
    (
        "/workflow.execution.v1.TaskService/ReleaseTask",
        Access::User,
    ),
    (
        "/workflow.execution.v1.TaskService/ApproveTask",
        Access::User,
    ),
    (
        "/workflow.execution.v1.TaskService/RejectTask",
        Access::User,
    ),
    (
        "/workflow.execution.v1.TaskService/SubmitTask",
        Access::User,
    ),
    (
        "/workflow.execution.v1.JobService/ActivateJobs",
        Access::User,
    ),
    (
        "/workflow.execution.v1.JobService/CompleteJob",
        Access::User,
    ),
    ("/workflow.execution.v1.JobService/FailJob", Access::User),
    (
        "/workflow.execution.v1.JobService/ThrowJobError",
        Access::User,
    ),
    ("/workflow.execution.v1.JobService/ExtendJob", Access::User),
    (
        "/workflow.execution.v1.HistoryService/StreamHistory",
        Access::Service,
    ),
];
