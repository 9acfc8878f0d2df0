//! Who may call which method. Invariant: a method that is not named here is nobody's to call.

use chassis::auth::{Access, AccessTable};

/// People and customers' systems run workflows, workers do the jobs, people alone decide.
pub const ACCESS: AccessTable = &[
    (
        "/workflow.execution.v1.ExecutionService/StartExecution",
        Access::Member,
    ),
    (
        "/workflow.execution.v1.ExecutionService/GetExecution",
        Access::Member,
    ),
    (
        "/workflow.execution.v1.ExecutionService/ListExecutions",
        Access::Member,
    ),
    (
        "/workflow.execution.v1.ExecutionService/ListExecutionLogs",
        Access::Member,
    ),
    (
        "/workflow.execution.v1.ExecutionService/WatchExecution",
        Access::Member,
    ),
    (
        "/workflow.execution.v1.ExecutionService/CancelExecution",
        Access::Member,
    ),
    (
        "/workflow.execution.v1.ExecutionService/CheckExecutions",
        Access::Admin,
    ),
    (
        "/workflow.execution.v1.ExecutionService/SimulateWorkflow",
        Access::Member,
    ),
    (
        "/workflow.execution.v1.TaskService/ListTasks",
        Access::Member,
    ),
    ("/workflow.execution.v1.TaskService/GetTask", Access::Member),
    (
        "/workflow.execution.v1.TaskService/ClaimTask",
        Access::Person,
    ),
    (
        "/workflow.execution.v1.TaskService/ReleaseTask",
        Access::Person,
    ),
    (
        "/workflow.execution.v1.TaskService/ApproveTask",
        Access::Person,
    ),
    (
        "/workflow.execution.v1.TaskService/RejectTask",
        Access::Person,
    ),
    (
        "/workflow.execution.v1.TaskService/SubmitTask",
        Access::Person,
    ),
    (
        "/workflow.execution.v1.JobService/ActivateJobs",
        Access::Worker,
    ),
    (
        "/workflow.execution.v1.JobService/CompleteJob",
        Access::Worker,
    ),
    ("/workflow.execution.v1.JobService/FailJob", Access::Worker),
    (
        "/workflow.execution.v1.JobService/ThrowJobError",
        Access::Worker,
    ),
    (
        "/workflow.execution.v1.JobService/ExtendJob",
        Access::Worker,
    ),
    (
        "/workflow.execution.v1.HistoryService/StreamHistory",
        Access::Internal,
    ),
];
