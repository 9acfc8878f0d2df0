//! Bulk operations as they are asked for.

use pb::bulk_operation::Action;
use pb::bulk_operation_service_server::BulkOperationService;

use super::*;
use crate::bulk::Worker;
use crate::rpc::bulk::BulkOperations;

fn asked(operation: pb::BulkOperation) -> Request<pb::CreateBulkOperationRequest> {
    call(pb::CreateBulkOperationRequest {
        bulk_operation: Some(operation),
        ..Default::default()
    })
}

fn signal() -> pb::BulkOperation {
    pb::BulkOperation {
        action: Some(Action::Signal(pb::BulkSignal {
            name: "go".to_owned(),
            data: None,
        })),
        ..Default::default()
    }
}

#[tokio::test]
async fn everything_wrong_with_an_operation_is_told_at_once() {
    let world = World::new().await;
    let operations = BulkOperations::new(service(&world));
    let check = async |operation: pb::BulkOperation, wanted: &[&str]| {
        let status = operations.create_bulk_operation(asked(operation)).await;
        let status = status.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument);
        let violations = status.get_details_bad_request().unwrap().field_violations;
        let fields: Vec<&str> = violations.iter().map(|v| v.field.as_str()).collect();
        assert_eq!(fields, wanted);
    };
    let nothing = pb::BulkOperation {
        filter: "status = DONE".to_owned(),
        max_per_second: 10_001,
        ..Default::default()
    };
    check(
        nothing,
        &[
            "bulk_operation.cancel",
            "bulk_operation.filter",
            "bulk_operation.max_per_second",
        ],
    )
    .await;
    let resolution = pb::IncidentResolution::Complete.into();
    let complete = pb::BulkOperation {
        action: Some(Action::ResolveIncidents(pb::BulkResolveIncidents {
            resolution,
        })),
        filter: "wait_kind = JOB".to_owned(),
        max_per_second: -1,
        ..Default::default()
    };
    check(
        complete,
        &[
            "bulk_operation.resolve_incidents.resolution",
            "bulk_operation.filter",
            "bulk_operation.max_per_second",
        ],
    )
    .await;
    let request = call(pb::CreateBulkOperationRequest::default());
    let status = operations.create_bulk_operation(request).await;
    assert_eq!(status.unwrap_err().code(), Code::InvalidArgument);
}

#[tokio::test]
async fn operation_is_created_once_shown_listed_and_cancelled() {
    let world = World::new().await;
    let operations = BulkOperations::new(service(&world));
    let mut request = asked(signal()).into_inner();
    request.request_id = Uuid::now_v7().to_string();
    let create = async |request: &pb::CreateBulkOperationRequest| {
        let made = operations
            .create_bulk_operation(call(request.clone()))
            .await;
        made.map(Response::into_inner)
    };
    let first = create(&request).await.unwrap();
    assert_eq!(create(&request).await.unwrap(), first);
    assert_eq!(
        (first.max_per_second, first.created_by.as_str()),
        (100, "ann@x.org")
    );
    assert_eq!(first.state(), pb::BulkOperationState::Pending);
    request.bulk_operation.as_mut().unwrap().dry_run = true;
    let status = create(&request).await.unwrap_err();
    assert_eq!(status.code(), Code::AlreadyExists);
    request.request_id.clear();
    for _ in 1..10 {
        create(&request).await.unwrap();
    }
    let status = create(&request).await.unwrap_err();
    let info = status.get_details_error_info().unwrap();
    assert_eq!(info.reason, "TOO_MANY_BULK_OPERATIONS");

    let named = |id: &str| call(pb::CancelBulkOperationRequest { id: id.to_owned() });
    for _ in 0..2 {
        let ended = operations.cancel_bulk_operation(named(&first.id)).await;
        let ended = ended.unwrap().into_inner();
        assert_eq!(ended.state(), pb::BulkOperationState::Cancelled);
        assert!(ended.completed_at.is_some());
    }
    create(&request).await.expect("there is room again");
    let list = async |filter: &str, order_by: &str, page_token: String| {
        let request = pb::ListBulkOperationsRequest {
            page_size: 6,
            page_token,
            filter: filter.to_owned(),
            order_by: order_by.to_owned(),
        };
        let page = operations.list_bulk_operations(call(request)).await;
        page.unwrap().into_inner()
    };
    let mut orders = Vec::new();
    for order in ["created_at", ""] {
        let mut page = list("", order, String::new()).await;
        let rest = list("", order, page.next_page_token).await;
        assert!(rest.next_page_token.is_empty());
        page.bulk_operations.extend(rest.bulk_operations);
        let ids = page
            .bulk_operations
            .into_iter()
            .map(|operation| operation.id);
        orders.push(ids.collect::<Vec<_>>());
    }
    assert_eq!(orders[0].len(), 11);
    orders[1].reverse();
    assert_eq!(orders[0], orders[1]);
    let cancelled = list("state = CANCELLED|FAILED", "", String::new()).await;
    assert_eq!(cancelled.bulk_operations[0].id, first.id);
    let unknown = operations.cancel_bulk_operation(named(&Uuid::now_v7().to_string()));
    assert_eq!(unknown.await.unwrap_err().code(), Code::NotFound);
}

#[tokio::test]
async fn dry_run_counts_and_does_nothing() {
    let world = World::new().await;
    let line = world.line(1).await;
    world.jobs(line, "pack", 7).await;
    let service = service(&world);
    let operations = BulkOperations::new(service.clone());
    let dry = pb::BulkOperation {
        dry_run: true,
        filter: "wait_kind = JOB".to_owned(),
        ..signal()
    };
    let made = operations.create_bulk_operation(asked(dry)).await.unwrap();
    let worker = Worker {
        pool: service.pool.clone(),
        committer: service.committer.clone(),
    };
    let held = worker.take().await.unwrap().unwrap();
    assert_eq!(worker.step(held).await.unwrap(), None);
    let id = made.into_inner().id;
    let request = call(pb::GetBulkOperationRequest { id });
    let counted = operations.get_bulk_operation(request).await.unwrap();
    let counted = counted.into_inner();
    assert_eq!(counted.state(), pb::BulkOperationState::Completed);
    assert_eq!((counted.processed, counted.succeeded), (7, 0));
    let moved = "select 1 from execution.workflow_executions where revision > 1";
    assert!(world.rows(moved).await.is_empty());
    let late = call(pb::CancelBulkOperationRequest { id: counted.id });
    let status = operations.cancel_bulk_operation(late).await.unwrap_err();
    let info = status.get_details_error_info().unwrap();
    assert_eq!(info.reason, "BULK_OPERATION_FINISHED");
}
