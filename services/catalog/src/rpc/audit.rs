//! AuditService. Invariant: nothing here writes.

use chassis::filter::{Filter, Kind};
use chassis::order::Order;
use chassis::page::Page;
use chassis::{Error, db};
use model::wire;
use proto::catalog::v1 as pb;
use proto::catalog::v1::audit_service_server::AuditService;
use sqlx::PgPool;
use tonic::{Request, Response};

use super::{Answer, fit};
use crate::store::audit::{self, Event, EventFilter};

const OBJECT_TYPE: Kind = Kind::Word(&["USER", "API_KEY", "CLIENT", "WORKFLOW"]);
const FILTER: &[(&str, Kind)] = &[
    ("object_id", Kind::Uuid),
    ("object_type", OBJECT_TYPE),
    ("actor_id", Kind::Uuid),
    ("action", Kind::Text),
    ("occurred_at", Kind::Instant),
];

pub struct Audit {
    pub pool: PgPool,
}

#[tonic::async_trait]
impl AuditService for Audit {
    async fn list_audit_events(
        &self,
        request: Request<pb::ListAuditEventsRequest>,
    ) -> Answer<pb::ListAuditEventsResponse> {
        let request = request.into_inner();
        let newest_first = Order::down("occurred_at");
        let order = Order::parse(&request.order_by, &["occurred_at"], newest_first)?;
        let query = ["ListAuditEvents", &request.filter, &order.to_string()];
        let page = Page::parse(request.page_size, &request.page_token, &query)?;
        let filter = Filter::parse(&request.filter, FILTER)?;
        let restriction = EventFilter {
            actor_id: filter.uuid("actor_id"),
            object_id: filter.uuid("object_id"),
            object_type: filter.text("object_type"),
            action: filter.text("action"),
            from: filter.at_least("occurred_at"),
            until: filter.before("occurred_at"),
        };
        let run = order.run(page.after_instant()?);
        let mut listing = db::listing(&self.pool).await?;
        let rows = audit::list(&mut listing, restriction, run, page.limit + 1).await?;
        listing.commit().await.map_err(Error::from)?;
        let token = |row: &Event| page.next_instant(row.occurred_at, row.id);
        let (events, next_page_token) = fit(&page, rows, token, message);
        Ok(Response::new(pb::ListAuditEventsResponse {
            events,
            next_page_token,
        }))
    }
}

fn object_type_of(word: &str) -> Option<pb::ObjectType> {
    pb::ObjectType::from_str_name(&format!("OBJECT_TYPE_{word}"))
        .filter(|found| *found != pb::ObjectType::Unspecified)
}

fn message(event: Event) -> pb::AuditEvent {
    let actor_type = pb::ActorType::from_str_name(&format!("ACTOR_TYPE_{}", event.actor_type));
    pb::AuditEvent {
        id: event.id.to_string(),
        occurred_at: Some(wire::timestamp(event.occurred_at)),
        actor_type: actor_type.unwrap_or_default().into(),
        actor_id: event.actor_id.map(|id| id.to_string()).unwrap_or_default(),
        actor_name: event.actor_name,
        action: event.action,
        object_type: object_type_of(&event.object_type)
            .unwrap_or_default()
            .into(),
        object_id: event.object_id.to_string(),
        changes: event.changes,
    }
}
