//! ListWorkflows, read and answered. Invariant: what the tables here do not name can be neither compared
//! nor ordered by.

use chassis::filter::{Filter, Kind};
use chassis::order::Order;
use chassis::page::Page;
use chassis::{Result, db};
use model::status::WorkflowStatus;
use proto::catalog::v1 as pb;
use sqlx::PgPool;

use super::message;
use crate::rpc::fit;
use crate::store::workflows::{self, Workflow, WorkflowFilter, WorkflowOrder};

const FILTER: &[(&str, Kind)] = &[
    ("client_id", Kind::Uuid),
    ("status", Kind::Word(WorkflowStatus::WORDS)),
    ("name", Kind::Text),
    ("text", Kind::Search),
    ("has_unpublished_changes", Kind::Bool),
    ("created_at", Kind::Instant),
    ("updated_at", Kind::Instant),
];
const ORDER: &[&str] = &["created_at", "updated_at", "name"];

pub async fn list(
    pool: &PgPool,
    request: pb::ListWorkflowsRequest,
) -> Result<pb::ListWorkflowsResponse> {
    let order = Order::parse(&request.order_by, ORDER, Order::up("created_at"))?;
    let query = ["ListWorkflows", &request.filter, &order.to_string()];
    let page = Page::parse(request.page_size, &request.page_token, &query)?;
    let filter = Filter::parse(&request.filter, FILTER)?;
    let pattern = filter.pattern("text");
    let restriction = WorkflowFilter {
        client_id: filter.uuid("client_id"),
        status: filter.text("status"),
        name: filter.text("name"),
        pattern: pattern.as_deref(),
        has_unpublished_changes: filter.bool("has_unpublished_changes"),
        created_from: filter.at_least("created_at"),
        created_before: filter.before("created_at"),
        updated_from: filter.at_least("updated_at"),
        updated_before: filter.before("updated_at"),
    };
    let by = match order.key {
        "name" => WorkflowOrder::Name(order.run(page.after_text()?)),
        "updated_at" => WorkflowOrder::Updated(order.run(page.after_instant()?)),
        _ => WorkflowOrder::Created(order.run(page.after_instant()?)),
    };
    let mut listing = db::listing(pool).await?;
    let rows = workflows::list(&mut listing, restriction, by, page.limit + 1).await?;
    listing.commit().await?;
    let token = |row: &Workflow| match order.key {
        "name" => page.next_text(&row.name, row.id),
        "updated_at" => page.next_instant(row.updated_at, row.id),
        _ => page.next_instant(row.created_at, row.id),
    };
    let (workflows, next_page_token) = fit(&page, rows, token, message::workflow_alone);
    Ok(pb::ListWorkflowsResponse {
        workflows,
        next_page_token,
    })
}
