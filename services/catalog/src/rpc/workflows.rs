//! WorkflowService: the list of its calls, each in the file of its noun. Invariant: nothing is decided
//! here but who calls.

mod copies;
mod differences;
mod lifecycle;
mod list;
mod message;
mod step_types;
mod steps;
mod transitions;
mod versions;
mod workflow;

use chassis::auth;
use proto::catalog::v1 as pb;
use proto::catalog::v1::workflow_service_server::WorkflowService;
use sqlx::PgPool;
use tonic::{Request, Response};

use super::Answer;

pub struct Workflows {
    pub pool: PgPool,
}

#[tonic::async_trait]
impl WorkflowService for Workflows {
    async fn create_workflow(
        &self,
        request: Request<pb::CreateWorkflowRequest>,
    ) -> Answer<pb::Workflow> {
        let caller = auth::caller(&request)?.clone();
        let made = workflow::create(&self.pool, caller, request.into_inner()).await?;
        Ok(Response::new(made))
    }

    async fn get_workflow(&self, request: Request<pb::GetWorkflowRequest>) -> Answer<pb::Workflow> {
        let workflow = workflow::get(&self.pool, request.into_inner()).await?;
        Ok(Response::new(workflow))
    }

    async fn list_workflows(
        &self,
        request: Request<pb::ListWorkflowsRequest>,
    ) -> Answer<pb::ListWorkflowsResponse> {
        let page = list::list(&self.pool, request.into_inner()).await?;
        Ok(Response::new(page))
    }

    async fn update_workflow(
        &self,
        request: Request<pb::UpdateWorkflowRequest>,
    ) -> Answer<pb::Workflow> {
        let caller = auth::caller(&request)?.clone();
        let workflow = workflow::update(&self.pool, caller, request.into_inner()).await?;
        Ok(Response::new(workflow))
    }

    async fn delete_workflow(&self, request: Request<pb::DeleteWorkflowRequest>) -> Answer<()> {
        let caller = auth::caller(&request)?.clone();
        workflow::delete(&self.pool, caller, request.into_inner()).await?;
        Ok(Response::new(()))
    }

    async fn create_step(
        &self,
        request: Request<pb::CreateStepRequest>,
    ) -> Answer<pb::WorkflowStep> {
        let caller = auth::caller(&request)?.clone();
        let made = steps::create(&self.pool, caller, request.into_inner()).await?;
        Ok(Response::new(made))
    }

    async fn update_step(
        &self,
        request: Request<pb::UpdateStepRequest>,
    ) -> Answer<pb::WorkflowStep> {
        let caller = auth::caller(&request)?.clone();
        let step = steps::update(&self.pool, caller, request.into_inner()).await?;
        Ok(Response::new(step))
    }

    async fn delete_step(&self, request: Request<pb::DeleteStepRequest>) -> Answer<()> {
        let caller = auth::caller(&request)?.clone();
        steps::delete(&self.pool, caller, request.into_inner()).await?;
        Ok(Response::new(()))
    }

    async fn reorder_steps(
        &self,
        request: Request<pb::ReorderStepsRequest>,
    ) -> Answer<pb::Workflow> {
        let caller = auth::caller(&request)?.clone();
        let workflow = steps::reorder(&self.pool, caller, request.into_inner()).await?;
        Ok(Response::new(workflow))
    }

    async fn list_step_types(
        &self,
        _: Request<pb::ListStepTypesRequest>,
    ) -> Answer<pb::ListStepTypesResponse> {
        Ok(Response::new(step_types::list()))
    }

    async fn create_transition(
        &self,
        request: Request<pb::CreateTransitionRequest>,
    ) -> Answer<pb::WorkflowTransition> {
        let caller = auth::caller(&request)?.clone();
        let made = transitions::create(&self.pool, caller, request.into_inner()).await?;
        Ok(Response::new(made))
    }

    async fn update_transition(
        &self,
        request: Request<pb::UpdateTransitionRequest>,
    ) -> Answer<pb::WorkflowTransition> {
        let caller = auth::caller(&request)?.clone();
        let transition = transitions::update(&self.pool, caller, request.into_inner()).await?;
        Ok(Response::new(transition))
    }

    async fn delete_transition(&self, request: Request<pb::DeleteTransitionRequest>) -> Answer<()> {
        let caller = auth::caller(&request)?.clone();
        transitions::delete(&self.pool, caller, request.into_inner()).await?;
        Ok(Response::new(()))
    }

    async fn apply_workflow(
        &self,
        request: Request<pb::ApplyWorkflowRequest>,
    ) -> Answer<pb::ApplyWorkflowResponse> {
        let caller = auth::caller(&request)?.clone();
        let applied = lifecycle::apply(&self.pool, caller, request.into_inner()).await?;
        Ok(Response::new(applied))
    }

    async fn export_workflow(
        &self,
        request: Request<pb::ExportWorkflowRequest>,
    ) -> Answer<pb::ExportWorkflowResponse> {
        let exported = versions::export(&self.pool, request.into_inner()).await?;
        Ok(Response::new(exported))
    }

    async fn validate_workflow(
        &self,
        request: Request<pb::ValidateWorkflowRequest>,
    ) -> Answer<pb::ValidateWorkflowResponse> {
        let verdict = lifecycle::validate(&self.pool, request.into_inner()).await?;
        Ok(Response::new(verdict))
    }

    async fn diff_workflow(
        &self,
        request: Request<pb::DiffWorkflowRequest>,
    ) -> Answer<pb::DiffWorkflowResponse> {
        let diff = differences::diff(&self.pool, request.into_inner()).await?;
        Ok(Response::new(diff))
    }

    async fn clone_workflow(
        &self,
        request: Request<pb::CloneWorkflowRequest>,
    ) -> Answer<pb::Workflow> {
        let caller = auth::caller(&request)?.clone();
        let made = copies::clone(&self.pool, caller, request.into_inner()).await?;
        Ok(Response::new(made))
    }

    async fn publish_workflow(
        &self,
        request: Request<pb::PublishWorkflowRequest>,
    ) -> Answer<pb::Workflow> {
        let caller = auth::caller(&request)?.clone();
        let workflow = lifecycle::publish(&self.pool, caller, request.into_inner()).await?;
        Ok(Response::new(workflow))
    }

    async fn activate_workflow(
        &self,
        request: Request<pb::ActivateWorkflowRequest>,
    ) -> Answer<pb::Workflow> {
        let caller = auth::caller(&request)?.clone();
        let workflow = lifecycle::activate(&self.pool, caller, request.into_inner()).await?;
        Ok(Response::new(workflow))
    }

    async fn deactivate_workflow(
        &self,
        request: Request<pb::DeactivateWorkflowRequest>,
    ) -> Answer<pb::Workflow> {
        let caller = auth::caller(&request)?.clone();
        let workflow = lifecycle::deactivate(&self.pool, caller, request.into_inner()).await?;
        Ok(Response::new(workflow))
    }

    async fn archive_workflow(
        &self,
        request: Request<pb::ArchiveWorkflowRequest>,
    ) -> Answer<pb::Workflow> {
        let caller = auth::caller(&request)?.clone();
        let workflow = lifecycle::archive(&self.pool, caller, request.into_inner()).await?;
        Ok(Response::new(workflow))
    }

    async fn list_workflow_versions(
        &self,
        request: Request<pb::ListWorkflowVersionsRequest>,
    ) -> Answer<pb::ListWorkflowVersionsResponse> {
        let page = versions::list(&self.pool, request.into_inner()).await?;
        Ok(Response::new(page))
    }

    async fn get_workflow_version(
        &self,
        request: Request<pb::GetWorkflowVersionRequest>,
    ) -> Answer<pb::WorkflowVersion> {
        let version = versions::get(&self.pool, request.into_inner()).await?;
        Ok(Response::new(version))
    }
}
