//! ListClients, read and answered. Invariant: what the tables here do not name can be neither compared nor
//! ordered by.

use chassis::filter::{Filter, Kind};
use chassis::order::Order;
use chassis::page::Page;
use chassis::{Result, db};
use proto::catalog::v1 as pb;
use sqlx::PgPool;

use super::message;
use crate::rpc::fit;
use crate::store::clients::{self, Client, ClientFilter, ClientOrder};

const FILTER: &[(&str, Kind)] = &[
    ("name", Kind::Text),
    ("is_active", Kind::Bool),
    ("text", Kind::Search),
    ("created_at", Kind::Instant),
    ("updated_at", Kind::Instant),
];
const ORDER: &[&str] = &["created_at", "updated_at", "name"];

pub async fn list(
    pool: &PgPool,
    request: pb::ListClientsRequest,
) -> Result<pb::ListClientsResponse> {
    let order = Order::parse(&request.order_by, ORDER, Order::up("created_at"))?;
    let query = ["ListClients", &request.filter, &order.to_string()];
    let page = Page::parse(request.page_size, &request.page_token, &query)?;
    let filter = Filter::parse(&request.filter, FILTER)?;
    let pattern = filter.pattern("text");
    let restriction = ClientFilter {
        name: filter.text("name"),
        is_active: filter.bool("is_active"),
        pattern: pattern.as_deref(),
        created_from: filter.at_least("created_at"),
        created_before: filter.before("created_at"),
        updated_from: filter.at_least("updated_at"),
        updated_before: filter.before("updated_at"),
    };
    let by = match order.key {
        "name" => ClientOrder::Name(order.run(page.after_text()?)),
        "updated_at" => ClientOrder::Updated(order.run(page.after_instant()?)),
        _ => ClientOrder::Created(order.run(page.after_instant()?)),
    };
    let mut listing = db::listing(pool).await?;
    let rows = clients::list(&mut listing, restriction, by, page.limit + 1).await?;
    listing.commit().await?;
    let token = |row: &Client| match order.key {
        "name" => page.next_text(&row.fields.name, row.id),
        "updated_at" => page.next_instant(row.updated_at, row.id),
        _ => page.next_instant(row.created_at, row.id),
    };
    let (clients, next_page_token) = fit(&page, rows, token, message);
    Ok(pb::ListClientsResponse {
        clients,
        next_page_token,
    })
}
