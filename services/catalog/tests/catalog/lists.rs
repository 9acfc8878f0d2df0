//! Lists of clients, users, workflows and versions: searched, restricted, ordered, paged; and what a list
//! must never give away.

use proto::catalog::v1 as pb;
use sqlx::{AssertSqlSafe, PgPool};
use tonic::{Code, Status};

use crate::harness::{Catalog, malformed, refused};

/// A list by the name of what it lists; rows come back as names (versions as numbers, events as the ids of
/// what they are about).
async fn page(
    catalog: &Catalog,
    of: &str,
    (filter, order_by): (&str, &str),
    page_size: i32,
    page_token: &str,
) -> Result<(Vec<String>, String), Status> {
    let (filter, order_by) = (filter.to_owned(), order_by.to_owned());
    let page_token = page_token.to_owned();
    Ok(match of {
        "clients" => {
            let request = pb::ListClientsRequest {
                page_size,
                page_token,
                filter,
                order_by,
            };
            let page = catalog.clients().list_clients(request).await?.into_inner();
            let names = page.clients.into_iter().map(|client| client.name);
            (names.collect(), page.next_page_token)
        }
        "users" => {
            let request = pb::ListUsersRequest {
                page_size,
                page_token,
                filter,
                order_by,
            };
            let mut users = catalog.users(&catalog.admin_token);
            let page = users.list_users(request).await?.into_inner();
            let names = page.users.into_iter().map(|user| user.name);
            (names.collect(), page.next_page_token)
        }
        "workflows" => {
            let request = pb::ListWorkflowsRequest {
                page_size,
                page_token,
                filter,
                order_by,
            };
            let mut workflows = catalog.workflows();
            let page = workflows.list_workflows(request).await?.into_inner();
            let names = page.workflows.into_iter().map(|workflow| workflow.name);
            (names.collect(), page.next_page_token)
        }
        "events" => {
            let request = pb::ListAuditEventsRequest {
                page_size,
                page_token,
                filter,
                order_by,
            };
            let mut audit = catalog.audit(&catalog.admin_token);
            let page = audit.list_audit_events(request).await?.into_inner();
            let ids = page.events.into_iter().map(|event| event.object_id);
            (ids.collect(), page.next_page_token)
        }
        workflow_id => {
            let request = pb::ListWorkflowVersionsRequest {
                workflow_id: workflow_id.to_owned(),
                page_size,
                page_token,
                filter,
                order_by,
            };
            let mut workflows = catalog.workflows();
            let page = workflows
                .list_workflow_versions(request)
                .await?
                .into_inner();
            let versions = page.versions.iter().map(|v| v.version.to_string());
            (versions.collect(), page.next_page_token)
        }
    })
}

async fn names(catalog: &Catalog, of: &str, filter: &str) -> Vec<String> {
    page(catalog, of, (filter, ""), 0, "").await.unwrap().0
}

/// All rows, three a page.
async fn walk(catalog: &Catalog, of: &str, query: (&str, &str)) -> Vec<String> {
    let (mut all, mut token) = (Vec::new(), String::new());
    loop {
        let (rows, next) = page(catalog, of, query, 3, &token).await.unwrap();
        assert!(
            rows.len() == 3 || next.is_empty(),
            "a full page but the last"
        );
        all.extend(rows);
        if next.is_empty() {
            return all;
        }
        token = next;
    }
}

async fn sql(catalog: &Catalog, statement: &str) {
    let pool = PgPool::connect(&catalog.database.admin_url())
        .await
        .unwrap();
    sqlx::query(AssertSqlSafe(statement))
        .execute(&pool)
        .await
        .unwrap();
    pool.close().await;
}

/// Ten rows each: created in order of their number, changed in the order of its last digit times seven,
/// two and two of one creation, and named alike but for case.
async fn fill(catalog: &Catalog) {
    let rows = "generate_series(0, 9) n";
    let at = "timestamptz '2020-01-01' + n / 2 * interval '1 day', \
              timestamptz '2021-01-01' + n * 7 % 10 * interval '1 day'";
    let name = "case n % 2 when 0 then 'ROW ' else 'row ' end || 9 - n";
    let id = "('00000000-0000-7000-8000-00000000000' || n)::uuid";
    sql(
        catalog,
        &format!(
            "insert into catalog.clients (id, name, created_at, updated_at)
             select {id}, {name}, {at} from {rows}"
        ),
    )
    .await;
    sql(
        catalog,
        &format!(
            "insert into catalog.users (id, email, name, password, created_at, updated_at)
             select {id}, 'user' || n * 3 % 10 || '@example.com', {name}, 'x', {at} from {rows}"
        ),
    )
    .await;
    sql(
        catalog,
        &format!(
            "insert into catalog.workflows (id, name, client_id, created_at, updated_at)
             select {id}, {name}, {id}, {at} from {rows}"
        ),
    )
    .await;
}

#[tokio::test]
async fn every_order_shows_every_row_once() {
    let catalog = Catalog::start().await;
    fill(&catalog).await;
    // Without the administrator, who is there from the start.
    let query = "created_at < 2022-01-01T00:00:00Z";
    let name = |n: i32| format!("{} {}", if n % 2 == 0 { "ROW" } else { "row" }, 9 - n);
    let by = |key: fn(i32) -> i32| {
        let mut numbers: Vec<i32> = (0..10).collect();
        numbers.sort_by_key(|n| key(*n));
        numbers.into_iter().map(name).collect::<Vec<_>>()
    };
    for (of, order, wanted) in [
        ("clients", "created_at", by(|n| n)),
        ("clients", "updated_at", by(|n| n * 7 % 10)),
        ("clients", "name", by(|n| 9 - n)),
        ("users", "created_at", by(|n| n)),
        ("users", "name", by(|n| 9 - n)),
        ("users", "email", by(|n| n * 3 % 10)),
        ("workflows", "created_at", by(|n| n)),
        ("workflows", "updated_at", by(|n| n * 7 % 10)),
        ("workflows", "name", by(|n| 9 - n)),
    ] {
        assert_eq!(
            walk(&catalog, of, (query, order)).await,
            wanted,
            "{of} by {order}"
        );
        let mut backwards = wanted;
        backwards.reverse();
        let order = format!("{order} desc");
        assert_eq!(
            walk(&catalog, of, (query, &order)).await,
            backwards,
            "{of} by {order}"
        );
    }
    assert_eq!(
        walk(&catalog, "clients", (query, "")).await,
        by(|n| n),
        "oldest first unless asked otherwise"
    );
}

#[tokio::test]
async fn equal_names_are_told_apart_by_id() {
    let catalog = Catalog::start().await;
    let insert = "insert into catalog.clients (id, name)
        select gen_random_uuid(), 'Same' from generate_series(1, 8)";
    sql(&catalog, insert).await;
    for order in ["name", "name desc"] {
        assert_eq!(walk(&catalog, "clients", ("", order)).await.len(), 8);
    }
}

#[tokio::test]
async fn text_is_found_whatever_its_case() {
    let catalog = Catalog::start().await;
    let insert = r"insert into catalog.clients (id, name, email, company) values
        ('00000000-0000-7000-8000-000000000001', 'Müller & Söhne', 'office@muller.example', 'Holding One'),
        ('00000000-0000-7000-8000-000000000002', '100% Ünique_Ltd', null, null),
        ('00000000-0000-7000-8000-000000000003', '1000 Unique-Ltd', null, 'a\b'),
        ('00000000-0000-7000-8000-000000000004', '北京科技公司', null, null)";
    sql(&catalog, insert).await;
    for (text, wanted) in [
        ("MÜLLER", &["Müller & Söhne"][..]),
        ("söhn", &["Müller & Söhne"]),
        ("@MULLER.ex", &["Müller & Söhne"]),
        ("holding", &["Müller & Söhne"]),
        // What LIKE takes for patterns is text.
        ("100%", &["100% Ünique_Ltd"]),
        ("ünique_l", &["100% Ünique_Ltd"]),
        ("nique", &["100% Ünique_Ltd", "1000 Unique-Ltd"]),
        (r"a\\b", &["1000 Unique-Ltd"]),
        // One or two characters: only where a word begins.
        ("hO", &["Müller & Söhne"]),
        ("uN", &["1000 Unique-Ltd"]),
        ("ni", &[]),
        ("北京", &["北京科技公司"]),
        ("科技公", &["北京科技公司"]),
        ("nobody", &[]),
    ] {
        let filter = format!("text : \"{text}\"");
        assert_eq!(names(&catalog, "clients", &filter).await, wanted, "{text}");
    }
    let users = names(&catalog, "users", "text : ROOT AND is_active = true").await;
    assert_eq!(users.len(), 1, "by email: the administrator");
    let client = catalog.client("Acme").await;
    catalog.workflow(&client, "Employee Onboarding").await;
    let found = names(&catalog, "workflows", "text : onboard").await;
    assert_eq!(found, ["Employee Onboarding"]);
}

#[tokio::test]
async fn each_restriction_restricts() {
    let catalog = Catalog::start().await;
    fill(&catalog).await;
    sql(
        &catalog,
        "update catalog.clients set is_active = false where name = 'ROW 9'",
    )
    .await;
    let users = "update catalog.users set is_active = false, groups = '{night}', role = 'ADMIN'
        where name = 'row 8'";
    sql(&catalog, users).await;
    let workflows =
        "update catalog.workflows set has_unpublished_changes = false, status = 'ACTIVE'
        where name in ('ROW 9', 'row 8')";
    sql(&catalog, workflows).await;
    let first = r#"client_id = "00000000-0000-7000-8000-000000000000""#;
    for (of, filter, wanted) in [
        ("clients", "is_active = false", &["ROW 9"][..]),
        ("clients", r#"name = "row 9""#, &[]),
        ("clients", r#"name = "ROW 9""#, &["ROW 9"]),
        (
            "clients",
            "created_at >= 2020-01-02T00:00:00Z AND created_at < 2020-01-03T00:00:00Z",
            &["ROW 7", "row 6"],
        ),
        (
            "clients",
            "updated_at >= 2021-01-09T00:00:00Z AND updated_at < 2021-01-10T00:00:00Z",
            &["ROW 5"],
        ),
        ("users", "is_active = false", &["row 8"]),
        ("users", "group = night", &["row 8"]),
        ("users", "role = ADMIN AND is_active = false", &["row 8"]),
        ("users", "role = USER AND is_active = false", &[]),
        ("users", r#"email = "USER3@EXAMPLE.COM""#, &["row 8"]),
        (
            "workflows",
            "has_unpublished_changes = false",
            &["ROW 9", "row 8"],
        ),
        (
            "workflows",
            "status = ACTIVE AND text : \"row 8\"",
            &["row 8"],
        ),
        ("workflows", first, &["ROW 9"]),
        ("workflows", "updated_at < 2021-01-02T00:00:00Z", &[]),
    ] {
        assert_eq!(names(&catalog, of, filter).await, wanted, "{of}: {filter}");
    }
}

#[tokio::test]
async fn versions_run_either_way() {
    let catalog = Catalog::start().await;
    let client = catalog.client("Acme").await;
    let workflow = catalog.workflow(&client, "Line").await;
    let insert = format!(
        "insert into catalog.workflow_versions (workflow_id, version, definition, digest, published_at)
         select '{}', n, '{{\"name\": \"Line\"}}', '', timestamptz '2020-01-01' + n * interval '1 day'
         from generate_series(1, 7) n",
        workflow.id
    );
    sql(&catalog, &insert).await;
    let id = workflow.id.as_str();
    let down = ["7", "6", "5", "4", "3", "2", "1"];
    assert_eq!(walk(&catalog, id, ("", "")).await, down);
    assert_eq!(
        walk(&catalog, id, ("", "version")).await,
        ["1", "2", "3", "4", "5", "6", "7"]
    );
    let late = "published_at >= 2020-01-06T00:00:00Z";
    assert_eq!(walk(&catalog, id, (late, "")).await, ["7", "6", "5"]);
    let nobody = format!("published_by = {id}");
    assert!(walk(&catalog, id, (&nobody, "")).await.is_empty());
}

#[tokio::test]
async fn events_run_either_way() {
    let catalog = Catalog::start().await;
    let mut ids = Vec::new();
    for _ in 0..7 {
        ids.push(catalog.client("Acme").await.id);
    }
    let query = "action = CreateClient AND object_type = CLIENT";
    assert_eq!(walk(&catalog, "events", (query, "occurred_at")).await, ids);
    ids.reverse();
    assert_eq!(walk(&catalog, "events", (query, "")).await, ids);
    for (filter, order) in [("object_type = PERSON", ""), ("", "actor_name")] {
        let answer = page(&catalog, "events", (filter, order), 0, "").await;
        assert_eq!(malformed(answer).len(), 1, "{filter} {order}");
    }
}

#[tokio::test]
async fn hidden_columns_stay_hidden() {
    let catalog = Catalog::start().await;
    for of in ["clients", "users", "workflows"] {
        for filter in [
            "password = x",
            "password : argon",
            "revision = 1",
            "search = x",
            "name = x OR name = y",
            "name = 'x' or 1=1 --",
            "users.password = x",
            "id = x) or (true",
        ] {
            let answer = page(&catalog, of, (filter, ""), 0, "").await;
            assert_eq!(malformed(answer), ["filter"], "{of}: {filter}");
        }
        for order in [
            "password",
            "id",
            "revision",
            "name, password",
            "1",
            "name; select",
        ] {
            let answer = page(&catalog, of, ("", order), 0, "").await;
            assert_eq!(malformed(answer), ["order_by"], "{of}: {order}");
        }
    }
    // What comes back to the letter of a hash is nowhere.
    assert!(names(&catalog, "users", "text : argon2id").await.is_empty());
    assert!(
        names(&catalog, "clients", r#"name = "' or ''='""#)
            .await
            .is_empty()
    );
    assert!(
        names(&catalog, "clients", r#"text : "%a%""#)
            .await
            .is_empty()
    );
}

#[tokio::test]
async fn a_token_continues_its_own_list_only() {
    let catalog = Catalog::start().await;
    fill(&catalog).await;
    let lists = [
        ("clients", "", "created_at"),
        ("clients", "", "created_at desc"),
        ("clients", "", "name"),
        ("clients", "is_active = true", "name"),
        ("users", "", "name"),
        ("users", "", "email"),
        ("workflows", "", "name"),
        ("workflows", "status = DRAFT", "name"),
        ("workflows", "status = DRAFT", "updated_at"),
    ];
    let mut tokens = Vec::new();
    for (of, filter, order) in lists {
        let (_, token) = page(&catalog, of, (filter, order), 2, "").await.unwrap();
        tokens.push(token);
    }
    for (mine, (of, filter, order)) in lists.into_iter().enumerate() {
        for (theirs, token) in tokens.iter().enumerate() {
            let answer = page(&catalog, of, (filter, order), 2, token).await;
            if mine == theirs {
                assert_eq!(answer.unwrap().0.len(), 2);
            } else {
                assert_eq!(
                    malformed(answer),
                    ["page_token"],
                    "{of} {order} with {theirs}"
                );
            }
        }
    }
    // Another spelling of the same order is the same order.
    let again = page(&catalog, "clients", ("", " name  asc "), 2, &tokens[2]).await;
    assert_eq!(again.unwrap().0.len(), 2);
}

#[tokio::test]
async fn forged_tokens_are_refused() {
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    let catalog = Catalog::start().await;
    fill(&catalog).await;
    for order in ["name", "created_at"] {
        let (_, token) = page(&catalog, "clients", ("", order), 2, "").await.unwrap();
        let honest: serde_json::Value =
            serde_json::from_slice(&URL_SAFE_NO_PAD.decode(&token).unwrap()).unwrap();
        let id = honest["k"][1].clone();
        for keys in [
            serde_json::json!([]),
            serde_json::json!([id]),
            serde_json::json!(["x", "y"]),
            serde_json::json!(["a\0", id]),
            serde_json::json!(["99999999999999999999", "'; drop table catalog.clients; --"]),
            serde_json::json!([honest["k"][0], id, id]),
            serde_json::json!([1, 2]),
            serde_json::json!("text"),
            serde_json::json!(["x".repeat(100_000), id]),
        ] {
            let forged = serde_json::json!({ "q": honest["q"], "k": keys });
            let forged = URL_SAFE_NO_PAD.encode(forged.to_string());
            let answer = page(&catalog, "clients", ("", order), 2, &forged).await;
            assert_eq!(malformed(answer), ["page_token"], "{keys:.80}");
        }
    }
    for token in ["x", "%%%", "e30", "bnVsbA", "ÿ", &"A".repeat(100_000)] {
        let answer = page(&catalog, "clients", ("", ""), 2, token).await;
        assert_eq!(malformed(answer), ["page_token"]);
    }
    let id = "00000000-0000-7000-8000-0000000000aa";
    refused(
        page(&catalog, id, ("", ""), 2, "").await,
        Code::NotFound,
        "WORKFLOW_NOT_FOUND",
    );
}
