//! ListUsers, read and answered. Invariant: what the tables here do not name can be neither compared nor
//! ordered by; the password's hash least of all.

use chassis::filter::{Filter, Kind};
use chassis::order::Order;
use chassis::page::Page;
use chassis::{Result, db};
use model::status::Role;
use proto::catalog::v1 as pb;
use sqlx::PgPool;

use super::message;
use crate::rpc::fit;
use crate::store::users::{self, User, UserFilter, UserOrder};

const FILTER: &[(&str, Kind)] = &[
    ("email", Kind::Text),
    ("role", Kind::Word(Role::WORDS)),
    ("group", Kind::Text),
    ("is_active", Kind::Bool),
    ("text", Kind::Search),
    ("created_at", Kind::Instant),
];
const ORDER: &[&str] = &["created_at", "name", "email"];

pub async fn list(pool: &PgPool, request: pb::ListUsersRequest) -> Result<pb::ListUsersResponse> {
    let order = Order::parse(&request.order_by, ORDER, Order::up("created_at"))?;
    let query = ["ListUsers", &request.filter, &order.to_string()];
    let page = Page::parse(request.page_size, &request.page_token, &query)?;
    let filter = Filter::parse(&request.filter, FILTER)?;
    let email = filter.text("email").map(str::to_lowercase);
    let pattern = filter.pattern("text");
    let restriction = UserFilter {
        email: email.as_deref(),
        role: filter.text("role"),
        group: filter.text("group"),
        is_active: filter.bool("is_active"),
        pattern: pattern.as_deref(),
        created_from: filter.at_least("created_at"),
        created_before: filter.before("created_at"),
    };
    let by = match order.key {
        "name" => UserOrder::Name(order.run(page.after_text()?)),
        "email" => UserOrder::Email(order.run(page.after_text()?)),
        _ => UserOrder::Created(order.run(page.after_instant()?)),
    };
    let mut listing = db::listing(pool).await?;
    let rows = users::list(&mut listing, restriction, by, page.limit + 1).await?;
    listing.commit().await?;
    let token = |row: &User| match order.key {
        "name" => page.next_text(&row.name, row.id),
        "email" => page.next_text(&row.email, row.id),
        _ => page.next_instant(row.created_at, row.id),
    };
    let (users, next_page_token) = fit(&page, rows, token, message);
    Ok(pb::ListUsersResponse {
        users,
        next_page_token,
    })
}
