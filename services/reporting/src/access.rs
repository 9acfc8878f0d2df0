//! Who may call what. A method that is not here cannot be called.

use chassis::auth::{Access, AccessTable};

pub const ACCESS: AccessTable = &[
    (
        "/workflow.reporting.v1.ReportService/AnalyzeWorkflow",
        Access::Member,
    ),
    (
        "/workflow.reporting.v1.ReportService/GetReport",
        Access::Member,
    ),
    (
        "/workflow.reporting.v1.ReportService/ListReports",
        Access::Member,
    ),
    (
        "/workflow.reporting.v1.ReportService/QueryReports",
        Access::Member,
    ),
    (
        "/workflow.reporting.v1.ReportService/WatchReports",
        Access::Member,
    ),
    (
        "/workflow.reporting.v1.ReportService/ExportReports",
        Access::Member,
    ),
    (
        "/workflow.reporting.v1.ReportService/SummarizeReports",
        Access::Member,
    ),
    (
        "/workflow.reporting.v1.ReportService/VerifyReport",
        Access::Member,
    ),
    (
        "/workflow.reporting.v1.ReportService/RebuildReports",
        Access::Admin,
    ),
    (
        "/workflow.reporting.v1.StepEventService/StreamStepEvents",
        Access::Internal,
    ),
];
