//! Who may call what. Invariant: a method that is not listed here can be called by nobody.

use chassis::auth::{Access, AccessTable};

pub const ACCESS: AccessTable = &[
    ("/workflow.catalog.v1.AuthService/Login", Access::Open),
    (
        "/workflow.catalog.v1.AuthService/GetCurrentUser",
        Access::User,
    ),
    (
        "/workflow.catalog.v1.AuthService/ListSigningKeys",
        Access::Open,
    ),
    ("/workflow.catalog.v1.UserService/CreateUser", Access::Admin),
    ("/workflow.catalog.v1.UserService/GetUser", Access::User),
    ("/workflow.catalog.v1.UserService/ListUsers", Access::User),
    ("/workflow.catalog.v1.UserService/UpdateUser", Access::Admin),
    (
        "/workflow.catalog.v1.AuditService/ListAuditEvents",
        Access::Admin,
    ),
    (
        "/workflow.catalog.v1.ClientService/CreateClient",
        Access::User,
    ),
    ("/workflow.catalog.v1.ClientService/GetClient", Access::User),
    (
        "/workflow.catalog.v1.ClientService/ListClients",
        Access::User,
    ),
    (
        "/workflow.catalog.v1.ClientService/UpdateClient",
        Access::User,
    ),
    (
        "/workflow.catalog.v1.ClientService/DeleteClient",
        Access::User,
    ),
    (
        "/workflow.catalog.v1.WorkflowService/CreateWorkflow",
        Access::User,
    ),
    (
        "/workflow.catalog.v1.WorkflowService/GetWorkflow",
        Access::User,
    ),
    (
        "/workflow.catalog.v1.WorkflowService/ListWorkflows",
        Access::User,
    ),
    (
        "/workflow.catalog.v1.WorkflowService/UpdateWorkflow",
        Access::User,
    ),
    (
        "/workflow.catalog.v1.WorkflowService/DeleteWorkflow",
        Access::User,
    ),
    (
        "/workflow.catalog.v1.WorkflowService/CreateStep",
        Access::User,
    ),
    (
        "/workflow.catalog.v1.WorkflowService/UpdateStep",
        Access::User,
    ),
    (
        "/workflow.catalog.v1.WorkflowService/DeleteStep",
        Access::User,
    ),
    (
        "/workflow.catalog.v1.WorkflowService/ReorderSteps",
        Access::User,
    ),
    (
        "/workflow.catalog.v1.WorkflowService/ListStepTypes",
        Access::User,
    ),
    (
        "/workflow.catalog.v1.WorkflowService/CreateTransition",
        Access::User,
    ),
    (
        "/workflow.catalog.v1.WorkflowService/UpdateTransition",
        Access::User,
    ),
    (
        "/workflow.catalog.v1.WorkflowService/DeleteTransition",
        Access::User,
    ),
    (
        "/workflow.catalog.v1.WorkflowService/ApplyWorkflow",
        Access::User,
    ),
    (
        "/workflow.catalog.v1.WorkflowService/ExportWorkflow",
        Access::User,
    ),
    (
        "/workflow.catalog.v1.WorkflowService/ValidateWorkflow",
        Access::User,
    ),
    (
        "/workflow.catalog.v1.WorkflowService/DiffWorkflow",
        Access::User,
    ),
    (
        "/workflow.catalog.v1.WorkflowService/CloneWorkflow",
        Access::User,
    ),
    (
        "/workflow.catalog.v1.WorkflowService/PublishWorkflow",
        Access::User,
    ),
    (
        "/workflow.catalog.v1.WorkflowService/ActivateWorkflow",
        Access::User,
    ),
    (
        "/workflow.catalog.v1.WorkflowService/DeactivateWorkflow",
        Access::User,
    ),
    (
        "/workflow.catalog.v1.WorkflowService/ArchiveWorkflow",
        Access::User,
    ),
    (
        "/workflow.catalog.v1.WorkflowService/ListWorkflowVersions",
        Access::User,
    ),
    (
        "/workflow.catalog.v1.WorkflowService/GetWorkflowVersion",
        Access::User,
    ),
    (
        "/workflow.catalog.v1.DefinitionService/ResolveStarts",
        Access::Service,
    ),
    (
        "/workflow.catalog.v1.DefinitionService/GetSnapshot",
        Access::Service,
    ),
    (
        "/workflow.catalog.v1.DefinitionService/ResolveNames",
        Access::Service,
    ),
];

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;

    #[test]
    fn every_method_of_the_contract_is_listed_once() {
        let files = prost_types::FileDescriptorSet::decode(proto::DESCRIPTORS).expect("decodes");
        let mut methods: Vec<String> = (files.file.iter())
            .filter(|file| file.package() == "workflow.catalog.v1")
            .flat_map(|file| &file.service)
            .flat_map(|service| {
                (service.method.iter()).map(|method| {
                    format!("/workflow.catalog.v1.{}/{}", service.name(), method.name())
                })
            })
            .collect();
        let mut listed: Vec<String> = ACCESS.iter().map(|(path, _)| (*path).to_owned()).collect();
        methods.sort();
        listed.sort();
        assert_eq!(listed, methods);
    }
}
