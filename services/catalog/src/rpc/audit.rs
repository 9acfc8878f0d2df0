//! AuditService. Invariant: nothing here writes.

use chassis::filter::{Filter, Kind};
use chassis::page::Page;
use chassis::{Error, db};
use model::wire;
use proto::catalog::v1 as pb;
use proto::catalog::v1::audit_service_server::AuditService;
use sqlx::PgPool;
use tonic::{Request, Response};

use super::{Answer, fit};
use crate::store::audit::{self, Event, EventFilter};

const FILTER: &[(&str, Kind)] = &[
    ("object_id", Kind::Uuid),
    ("object_type", Kind::Text),
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
        let page = Page::parse(
            request.page_size,
            &request.page_token,
            &["ListAuditEvents", &request.filter],
        )?;
        let filter = Filter::parse(&request.filter, FILTER)?;
        let object_type = filter.text("object_type");
        if object_type.is_some_and(|word| object_type_of(word).is_none()) {
            let message = "object_type is USER, API_KEY, CLIENT or WORKFLOW";
            return Err(Error::invalid("filter", message).into());
        }
        let restriction = EventFilter {
            actor_id: filter.uuid("actor_id"),
            object_id: filter.uuid("object_id"),
            object_type,
            action: filter.text("action"),
            from: filter.at_least("occurred_at"),
            until: filter.before("occurred_at"),
        };
        let after = page.after_instant()?;
        let mut conn = db::acquire(&self.pool).await?;
        let rows = audit::list(&mut conn, restriction, after, page.limit + 1).await?;
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
