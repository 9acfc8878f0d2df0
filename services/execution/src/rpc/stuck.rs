//! ListStuck: what waits too long, or cannot end by itself. Invariant: an answer says whether it knew which
//! groups are empty; while the catalog cannot be asked, everything else is still told.

use std::ops::RangeInclusive;
use std::time::Duration;

use chassis::filter::{Filter, Kind};
use chassis::input::Input;
use chassis::order::Order;
use chassis::page::Page;
use chassis::{Error, Result, db};
use proto::catalog::v1 as catalog;
use proto::catalog::v1::identity_service_client::IdentityServiceClient;
use proto::execution::v1 as pb;

use super::view;
use crate::state::Service;
use crate::store::stuck::{self, Stuck};

const FILTER: &[(&str, Kind)] = &[
    ("workflow_id", Kind::Uuid),
    ("client_id", Kind::Uuid),
    ("step_id", Kind::Uuid),
    ("kind", Kind::Word(view::WAIT_KINDS)),
    ("code", Kind::Word(CODES)),
];
const CODES: &[&str] = &[
    "INCIDENT",
    "OVERDUE",
    "NO_WORKER",
    "GROUP_EMPTY",
    "UNASSIGNED",
    "LONG",
];

const OLDER_THAN: RangeInclusive<Duration> =
    Duration::from_secs(60)..=Duration::from_secs(3650 * DAY);
const DEFAULT_OLDER_THAN: Duration = Duration::from_secs(DAY);
const DAY: u64 = 24 * 60 * 60;
/// Groups that the catalog is asked about; the tasks of others are listed as UNASSIGNED.
const MOST_GROUPS: i64 = 1000;
/// The longest that anybody waits for the catalog.
const PATIENCE: Duration = Duration::from_secs(2);

pub(super) async fn list(
    service: &Service,
    body: pb::ListStuckRequest,
) -> Result<pb::ListStuckResponse> {
    let mut input = Input::new();
    let older_than = input.duration("older_than", body.older_than.as_ref());
    let older_than = older_than.unwrap_or(DEFAULT_OLDER_THAN);
    if !OLDER_THAN.contains(&older_than) {
        input.push("older_than", "is not between 1 minute and 3650 days");
    }
    input.finish()?;
    let seconds = format!("{older_than:?}");
    let order = Order::parse(&body.order_by, &["id"], Order::up("id"))?;
    let query = ["ListStuck", &body.filter, &order.to_string(), &seconds];
    let page = Page::parse(body.page_size, &body.page_token, &query)?;
    let place = (page.after_id()?, order.descending);
    let filter = Filter::parse(&body.filter, FILTER)?;
    let empty_groups = empty_groups(service).await;
    let groups_known = empty_groups.is_ok();
    let filter = stuck::Filter {
        workflow_id: filter.uuid("workflow_id"),
        client_id: filter.uuid("client_id"),
        step_id: filter.uuid("step_id"),
        kind: filter.text("kind").map(str::to_ascii_lowercase),
        code: filter.text("code").map(str::to_owned),
        // The database knows nothing shorter.
        older_than: Duration::from_micros(older_than.as_micros().try_into().unwrap_or(u64::MAX)),
        empty_groups: empty_groups.unwrap_or_default(),
    };
    let mut listing = db::listing(&service.pool).await?;
    let mut rows = stuck::list(&mut listing, &filter, place, page.limit + 1).await?;
    listing.commit().await?;
    let next_page_token = page.cut(&mut rows, |row| page.next_token(&[&row.wait.id]));
    let mut waits = Vec::with_capacity(rows.len());
    for row in rows {
        waits.push(shown(service, row).await?);
    }
    Ok(pb::ListStuckResponse {
        waits,
        next_page_token,
        groups_known,
    })
}

async fn shown(service: &Service, row: Stuck) -> Result<pb::StuckWait> {
    let graph = service
        .definitions
        .graph(row.workflow_id, row.workflow_version)
        .await?;
    let code = pb::StuckCode::from_str_name(&format!("STUCK_CODE_{}", row.code));
    Ok(pb::StuckWait {
        execution_id: row.execution_id.to_string(),
        workflow_id: row.workflow_id.to_string(),
        client_id: row.client_id.to_string(),
        wait: Some(view::wait(&row.wait, &graph)),
        code: code.unwrap_or_default().into(),
    })
}

/// Those of the groups that tasks wait for in which nobody is who could decide.
async fn empty_groups(service: &Service) -> Result<Vec<String>> {
    let mut conn = db::acquire(&service.pool).await?;
    let groups = stuck::asked_groups(&mut conn, MOST_GROUPS).await?;
    drop(conn);
    if groups.is_empty() {
        return Ok(groups);
    }
    let mut identity = IdentityServiceClient::new(service.catalog.clone());
    let request = catalog::FindEmptyGroupsRequest { groups };
    let asked = identity.find_empty_groups(request);
    match tokio::time::timeout(PATIENCE, asked).await {
        Ok(Ok(answer)) => Ok(answer.into_inner().groups),
        Ok(Err(status)) => {
            tracing::warn!(%status, "the catalog does not tell which groups are empty");
            Err(status.into())
        }
        Err(_) => Err(Error::unavailable(
            "DEPENDENCY_UNAVAILABLE",
            "the catalog does not answer",
        )),
    }
}
