//! Lists of very many rows: the first page, page 10 000, and what a search leaves of them. The rows are
//! written behind the catalog's back, because it would take hours to create them one by one.

use std::time::Instant;

use prost::Message;
use proto::catalog::v1::{ListClientsRequest, ListWorkflowsRequest};
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;

use super::calls::{self, Load, Sizes};
use super::echo::Echo;
use super::say;
use crate::client::Session;

/// Rows of a measured page, and of one on the way to a page far down.
const PAGE: i32 = 50;
const STRIDE: i32 = 1000;
/// The page far down, if there are as many.
const FAR: u32 = 10_000;
/// Calls of each list.
const CALLS: usize = 100;

/// What is listed.
#[derive(Clone, Copy, PartialEq)]
enum Of {
    Clients,
    Workflows,
}

/// A list to be measured: of what, filter, order, what that is.
type Query = (Of, &'static str, &'static str, &'static str);

const QUERIES: [Query; 14] = [
    (Of::Clients, "", "", "all"),
    (Of::Clients, "", "name", "by name"),
    (Of::Clients, "", "updated_at desc", "last changed first"),
    (
        Of::Clients,
        "is_active = false",
        "",
        "the inactive, one in 1000",
    ),
    (Of::Clients, "name = \"Sun Valley 77\"", "", "of one name"),
    (
        Of::Clients,
        "text : \"harbor\"",
        "",
        "searched, one in ten found",
    ),
    (
        Of::Clients,
        "text : \"office777@\"",
        "",
        "searched, one found",
    ),
    (
        Of::Clients,
        "text : \"harbor xyz\"",
        "name",
        "searched, none found",
    ),
    (Of::Workflows, "", "", "all"),
    (Of::Workflows, "", "name desc", "by name, backwards"),
    (
        Of::Workflows,
        "status = ACTIVE",
        "updated_at desc",
        "the active, last changed first",
    ),
    (
        Of::Workflows,
        "status = ARCHIVED",
        "name",
        "the archived, of which there are none",
    ),
    (
        Of::Workflows,
        "has_unpublished_changes = true",
        "",
        "worked on, one in 1000",
    ),
    (
        Of::Workflows,
        "text : \"onboarding 777\"",
        "",
        "searched, few found",
    ),
];

pub async fn measure(session: &Session, echo: &Echo, url: &str, rows: u32) -> anyhow::Result<()> {
    say(&format!("\nwriting {rows} clients and {rows} workflows"))?;
    let begun = Instant::now();
    let pool = PgPoolOptions::new().max_connections(1).connect(url).await?;
    seed(&pool, i64::from(rows)).await?;
    pool.close().await;
    say(&format!(
        "written in {:.0} s",
        begun.elapsed().as_secs_f64()
    ))?;
    let load = Load {
        calls: CALLS,
        callers: 1,
    };
    for query in QUERIES {
        let (of, _, _, what) = query;
        let noun = if of == Of::Clients {
            "ListClients"
        } else {
            "ListWorkflows"
        };
        let own = session.clone();
        let first = calls::beside_echo(echo, load, move |_, _| {
            let session = own.clone();
            async move { Ok(page(&session, query, PAGE, String::new()).await?.0) }
        });
        say(&first.await?.line(&format!("{noun}: {what}"), 1))?;
        let far = FAR.min(rows / 100);
        let Some(token) = token_of_page(session, query, far).await? else {
            continue;
        };
        let own = session.clone();
        let deep = calls::beside_echo(echo, load, move |_, _| {
            let (session, token) = (own.clone(), token.clone());
            async move { Ok(page(&session, query, PAGE, token).await?.0) }
        });
        say(&deep.await?.line(&format!("  page {far}"), 1))?;
    }
    Ok(())
}

/// The token with which page `number` is asked for; none if the list ends before.
async fn token_of_page(
    session: &Session,
    query: Query,
    number: u32,
) -> anyhow::Result<Option<String>> {
    // Restricted lists are measured by their first page.
    if !query.1.is_empty() {
        return Ok(None);
    }
    let mut skip = i32::try_from(number - 1)? * PAGE;
    let mut token = String::new();
    while skip > 0 {
        let (_, next) = page(session, query, skip.min(STRIDE), token).await?;
        if next.is_empty() {
            return Ok(None);
        }
        token = next;
        skip -= STRIDE;
    }
    Ok(Some(token))
}

async fn page(
    session: &Session,
    (of, filter, order_by, _): Query,
    page_size: i32,
    page_token: String,
) -> anyhow::Result<(Sizes, String)> {
    let (filter, order_by) = (filter.to_owned(), order_by.to_owned());
    Ok(match of {
        Of::Clients => {
            let request = ListClientsRequest {
                page_size,
                page_token,
                filter,
                order_by,
            };
            let asked = request.encoded_len();
            let answer = session.clients.clone().list_clients(request).await?;
            let sizes = (asked, answer.get_ref().encoded_len());
            (sizes, answer.into_inner().next_page_token)
        }
        Of::Workflows => {
            let request = ListWorkflowsRequest {
                page_size,
                page_token,
                filter,
                order_by,
            };
            let asked = request.encoded_len();
            let answer = session.workflows.clone().list_workflows(request).await?;
            let sizes = (asked, answer.get_ref().encoded_len());
            (sizes, answer.into_inner().next_page_token)
        }
    })
}

async fn seed(pool: &PgPool, rows: i64) -> anyhow::Result<()> {
    sqlx::query(
        "-- bench.clients
        insert into catalog.clients (id, name, email, company, is_active, created_at, updated_at)
        select ('00000000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid,
            word.one || ' ' || word.two || ' ' || n, 'office' || n || '@example.com', word.two || ' Holding',
            n % 1000 <> 0,
            timestamptz '2020-01-01' + n * interval '1 second',
            timestamptz '2024-01-01' + n * 7919 % 1000003 * interval '1 second'
        from generate_series(1::bigint, $1) n,
            lateral (select
                (array['North', 'South', 'East', 'West', 'Blue', 'Green', 'Red', 'Silver', 'Iron', 'Sun'])
                    [1 + n * 7 % 10] as one,
                (array['River', 'Harbor', 'Summit', 'Valley', 'Forest', 'Lake', 'Moon', 'Star', 'Stone',
                    'Field'])[1 + n * 3 / 10 % 10] as two) word",
    )
    .bind(rows)
    .execute(pool)
    .await?;
    sqlx::query(
        "-- bench.workflows
        insert into catalog.workflows (id, name, client_id, status, has_unpublished_changes, created_at,
            updated_at)
        select ('00000000-0000-7000-9000-' || lpad(to_hex(n), 12, '0'))::uuid,
            (array['Onboarding', 'Purchase', 'Travel', 'Invoice', 'Leave', 'Review', 'Hiring', 'Audit'])
                [1 + n % 8] || ' ' || n,
            ('00000000-0000-7000-8000-' || lpad(to_hex(1 + n / 10), 12, '0'))::uuid,
            case n % 5 when 0 then 'DRAFT' when 1 then 'INACTIVE' else 'ACTIVE' end::catalog.workflow_status,
            n % 1000 = 0,
            timestamptz '2020-01-01' + n * interval '1 second',
            timestamptz '2024-01-01' + n * 7919 % 1000003 * interval '1 second'
        from generate_series(1::bigint, $1) n",
    )
    .bind(rows)
    .execute(pool)
    .await?;
    // What autovacuum does after a while.
    for table in ["catalog.clients", "catalog.workflows"] {
        let statement = format!("-- bench.vacuum\nvacuum analyze {table}");
        sqlx::query(sqlx::AssertSqlSafe(statement))
            .execute(pool)
            .await?;
    }
    Ok(())
}
