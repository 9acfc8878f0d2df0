//! Who may call what. Invariant: a method that is not listed here can be called by nobody.

use chassis::auth::{Access, AccessTable};

pub const ACCESS: AccessTable = &[
    ("/workflow.catalog.v1.AuthService/Login", Access::Open),
    (
        "/workflow.catalog.v1.AuthService/RefreshToken",
        Access::Open,
    ),
    ("/workflow.catalog.v1.AuthService/Logout", Access::Person),
    (
        "/workflow.catalog.v1.AuthService/GetCurrentUser",
        Access::Person,
    ),
    (
        "/workflow.catalog.v1.AuthService/ChangePassword",
        Access::Person,
    ),
    (
        "/workflow.catalog.v1.AuthService/ListSigningKeys",
        Access::Open,
    ),
    ("/workflow.catalog.v1.UserService/CreateUser", Access::Admin),
    ("/workflow.catalog.v1.UserService/GetUser", Access::Person),
    ("/workflow.catalog.v1.UserService/ListUsers", Access::Person),
    // Everybody their own name; the handler knows the rest.
    (
        "/workflow.catalog.v1.UserService/UpdateUser",
        Access::Person,
    ),
    (
        "/workflow.catalog.v1.UserService/ResetPassword",
        Access::Admin,
    ),
    ("/workflow.catalog.v1.UserService/DeleteUser", Access::Admin),
    (
        "/workflow.catalog.v1.ApiKeyService/CreateApiKey",
        Access::Admin,
    ),
    (
        "/workflow.catalog.v1.ApiKeyService/GetApiKey",
        Access::Admin,
    ),
    (
        "/workflow.catalog.v1.ApiKeyService/ListApiKeys",
        Access::Admin,
    ),
    (
        "/workflow.catalog.v1.ApiKeyService/RevokeApiKey",
        Access::Admin,
    ),
    (
        "/workflow.catalog.v1.AuditService/ListAuditEvents",
        Access::Admin,
    ),
    (
        "/workflow.catalog.v1.ClientService/CreateClient",
        Access::Member,
    ),
    (
        "/workflow.catalog.v1.ClientService/GetClient",
        Access::Member,
    ),
    (
        "/workflow.catalog.v1.ClientService/ListClients",
        Access::Member,
    ),
    (
        "/workflow.catalog.v1.ClientService/UpdateClient",
        Access::Member,
    ),
    (
        "/workflow.catalog.v1.ClientService/DeleteClient",
        Access::Member,
    ),
    (
        "/workflow.catalog.v1.WorkflowService/CreateWorkflow",
        Access::Member,
    ),
    (
        "/workflow.catalog.v1.WorkflowService/GetWorkflow",
        Access::Member,
    ),
    (
        "/workflow.catalog.v1.WorkflowService/ListWorkflows",
        Access::Member,
    ),
    (
        "/workflow.catalog.v1.WorkflowService/UpdateWorkflow",
        Access::Member,
    ),
    (
        "/workflow.catalog.v1.WorkflowService/DeleteWorkflow",
        Access::Member,
    ),
    (
        "/workflow.catalog.v1.WorkflowService/CreateStep",
        Access::Member,
    ),
    (
        "/workflow.catalog.v1.WorkflowService/UpdateStep",
        Access::Member,
    ),
    (
        "/workflow.catalog.v1.WorkflowService/DeleteStep",
        Access::Member,
    ),
    (
        "/workflow.catalog.v1.WorkflowService/ReorderSteps",
        Access::Member,
    ),
    (
        "/workflow.catalog.v1.WorkflowService/ListStepTypes",
        Access::Member,
    ),
    (
        "/workflow.catalog.v1.WorkflowService/CreateTransition",
        Access::Member,
    ),
    (
        "/workflow.catalog.v1.WorkflowService/UpdateTransition",
        Access::Member,
    ),
    (
        "/workflow.catalog.v1.WorkflowService/DeleteTransition",
        Access::Member,
    ),
    (
        "/workflow.catalog.v1.WorkflowService/ApplyWorkflow",
        Access::Member,
    ),
    (
        "/workflow.catalog.v1.WorkflowService/ExportWorkflow",
        Access::Member,
    ),
    (
        "/workflow.catalog.v1.WorkflowService/ValidateWorkflow",
        Access::Member,
    ),
    (
        "/workflow.catalog.v1.WorkflowService/DiffWorkflow",
        Access::Member,
    ),
    (
        "/workflow.catalog.v1.WorkflowService/CloneWorkflow",
        Access::Member,
    ),
    (
        "/workflow.catalog.v1.WorkflowService/PublishWorkflow",
        Access::Member,
    ),
    (
        "/workflow.catalog.v1.WorkflowService/ActivateWorkflow",
        Access::Member,
    ),
    (
        "/workflow.catalog.v1.WorkflowService/DeactivateWorkflow",
        Access::Member,
    ),
    (
        "/workflow.catalog.v1.WorkflowService/ArchiveWorkflow",
        Access::Member,
    ),
    (
        "/workflow.catalog.v1.WorkflowService/ListWorkflowVersions",
        Access::Member,
    ),
    (
        "/workflow.catalog.v1.WorkflowService/GetWorkflowVersion",
        Access::Member,
    ),
    (
        "/workflow.catalog.v1.DefinitionService/ResolveStarts",
        Access::Internal,
    ),
    (
        "/workflow.catalog.v1.DefinitionService/GetSnapshot",
        Access::Internal,
    ),
    (
        "/workflow.catalog.v1.DefinitionService/ResolveNames",
        Access::Internal,
    ),
    (
        "/workflow.catalog.v1.IdentityService/VerifyApiKey",
        Access::Internal,
    ),
    (
        "/workflow.catalog.v1.IdentityService/ListRevocations",
        Access::Internal,
    ),
    (
        "/workflow.catalog.v1.IdentityService/FindEmptyGroups",
        Access::Internal,
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
