//! The rows: who may make which call. Kept apart from the services' own tables, so that a row that is changed
//! there by mistake is noticed here.

use std::collections::BTreeMap;

use anyhow::ensure;

/// Who may make a call.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Level {
    /// Anybody.
    Open,
    /// Whoever has signed in.
    Person,
    /// The same, and keys of the scope SERVICE.
    Member,
    /// The same, and keys of the scope WORKER.
    Worker,
    /// The role ADMIN.
    Admin,
    /// The platform's own services.
    Internal,
}

use Level::{Admin, Internal, Member, Open, Person, Worker};

/// By service, so that a service's rows stand together.
const TABLE: &[(&str, Level, &[&str])] = &[
    (
        "AuthService",
        Open,
        &["Login", "RefreshToken", "ListSigningKeys"],
    ),
    (
        "AuthService",
        Person,
        &["Logout", "GetCurrentUser", "ChangePassword"],
    ),
    // Of UpdateUser everybody may make something: who may change what of whom, the catalog's tests hold.
    (
        "UserService",
        Person,
        &["GetUser", "ListUsers", "UpdateUser"],
    ),
    (
        "UserService",
        Admin,
        &["CreateUser", "ResetPassword", "DeleteUser"],
    ),
    (
        "ApiKeyService",
        Admin,
        &["CreateApiKey", "GetApiKey", "ListApiKeys", "RevokeApiKey"],
    ),
    ("AuditService", Admin, &["ListAuditEvents"]),
    (
        "ClientService",
        Member,
        &[
            "CreateClient",
            "GetClient",
            "ListClients",
            "UpdateClient",
            "DeleteClient",
        ],
    ),
    (
        "WorkflowService",
        Member,
        &[
            "CreateWorkflow",
            "GetWorkflow",
            "ListWorkflows",
            "UpdateWorkflow",
            "DeleteWorkflow",
            "CreateStep",
            "UpdateStep",
            "DeleteStep",
            "ReorderSteps",
            "ListStepTypes",
            "DiffWorkflow",
            "CloneWorkflow",
            "CreateTransition",
            "UpdateTransition",
            "DeleteTransition",
            "ApplyWorkflow",
            "ExportWorkflow",
            "ValidateWorkflow",
            "PublishWorkflow",
            "ActivateWorkflow",
            "DeactivateWorkflow",
            "ArchiveWorkflow",
            "ListWorkflowVersions",
            "GetWorkflowVersion",
        ],
    ),
    (
        "DefinitionService",
        Internal,
        &["ResolveStarts", "GetSnapshot", "ResolveNames"],
    ),
    (
        "IdentityService",
        Internal,
        &["VerifyApiKey", "ListRevocations", "FindEmptyGroups"],
    ),
    (
        "ExecutionService",
        Member,
        &[
            "StartExecution",
            "BatchStartExecutions",
            "SignalOrStartExecution",
            "GetExecution",
            "ListExecutions",
            "ListExecutionLogs",
            "WatchExecution",
            "WatchExecutions",
            "ListStuck",
            "CancelExecution",
            "SignalExecution",
            "BroadcastSignal",
            "ExplainExecution",
            "SimulateWorkflow",
            "PreviewPublish",
            "ExportExecutions",
        ],
    ),
    (
        "ExecutionService",
        Admin,
        &[
            "CheckExecutions",
            "ResolveIncident",
            "CancelStep",
            "RestartExecution",
            "ImportExecutions",
        ],
    ),
    ("TaskService", Member, &["ListTasks", "GetTask"]),
    (
        "TaskService",
        Person,
        &[
            "ClaimTask",
            "ReleaseTask",
            "ApproveTask",
            "RejectTask",
            "SubmitTask",
        ],
    ),
    (
        "JobService",
        Worker,
        &[
            "ActivateJobs",
            "CompleteJob",
            "FailJob",
            "ThrowJobError",
            "ExtendJob",
            "StreamJobs",
        ],
    ),
    (
        "BulkOperationService",
        Admin,
        &[
            "CreateBulkOperation",
            "GetBulkOperation",
            "ListBulkOperations",
            "CancelBulkOperation",
        ],
    ),
    (
        "ScheduleService",
        Member,
        &[
            "CreateSchedule",
            "GetSchedule",
            "ListSchedules",
            "UpdateSchedule",
            "DeleteSchedule",
            "TriggerSchedule",
        ],
    ),
    ("HistoryService", Internal, &["StreamHistory"]),
    (
        "ReportService",
        Member,
        &[
            "GetReport",
            "ListReports",
            "SummarizeReports",
            "AnalyzeWorkflow",
            "VerifyReport",
            "QueryReports",
            "WatchReports",
            "ExportReports",
        ],
    ),
    ("ReportService", Admin, &["RebuildReports"]),
    ("StepEventService", Internal, &["StreamStepEvents"]),
];

/// `Service/Method` of every row.
pub fn table() -> anyhow::Result<BTreeMap<String, Level>> {
    let mut rows = BTreeMap::new();
    for (service, level, methods) in TABLE {
        for method in *methods {
            let twice = rows.insert(format!("{service}/{method}"), *level);
            ensure!(twice.is_none(), "{service}/{method} has two rows");
        }
    }
    Ok(rows)
}
