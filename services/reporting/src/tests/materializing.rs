//! Reports follow the sums.

use chrono::TimeDelta;
use model::wire::timestamp;
use proto::reporting::v1::SummarizeReportsRequest;
use proto::reporting::v1::report_service_server::ReportService;
use serde_json::json;
use sqlx::PgPool;
use tokio::sync::watch;
use tonic::Request;

use super::reading::{NOBODY, reports};
use super::samples::{history, instant, part, simple, some};
use super::{Fixture, row};
use crate::ingest::settle;
use crate::materialize::Materializer;
use crate::projection::period::ReportType;

#[tokio::test]
async fn a_late_event_changes_its_own_day_week_and_month_only() {
    let fixture = Fixture::new().await;
    let histories = some();
    fixture.know(&histories).await;
    fixture.settle(&histories[..3]).await;
    fixture.settle(&[part(&histories[1], 0, 1)]).await;
    fixture.materializer().step().await.unwrap();
    let before = fixture.reports().await;
    let names = |(kind, start): &(String, String)| format!("{kind} {start}");
    assert_eq!(
        Vec::from_iter(before.keys().map(names)),
        [
            "daily 2020-12-31",
            "daily 2021-01-01",
            "daily 2021-01-03",
            "monthly 2020-12-01",
            "monthly 2021-01-01",
            "weekly 2020-12-28",
        ]
    );
    let week = &before[&("weekly".to_owned(), "2020-12-28".to_owned())];
    assert_eq!(week["totalExecutions"], 3);
    assert_eq!(week["averageExecutionTime"], 15);
    assert_eq!(week["successRate"], json!(0.666_667));

    let late = history(9, 0, instant("2020-12-15T08:00:00Z"), &[], None);
    fixture.know_more(&late).await;
    fixture.settle(&[late]).await;
    fixture.materializer().step().await.unwrap();
    let mut after = fixture.reports().await;
    let changed = [
        ("daily", "2020-12-15"),
        ("weekly", "2020-12-14"),
        ("monthly", "2020-12-01"),
    ];
    for (kind, start) in changed {
        let key = (kind.to_owned(), start.to_owned());
        let report = after.remove(&key).expect("written");
        let total = before
            .get(&key)
            .map_or(0, |own| own["totalExecutions"].as_i64().unwrap());
        assert_eq!(report["totalExecutions"], total + 1);
        assert_eq!(report["runningExecutions"], 1);
    }
    assert!(after.iter().all(|(key, report)| before[key] == *report));
}

#[tokio::test]
async fn a_rebuilt_report_is_the_same_row() {
    let fixture = Fixture::new().await;
    let histories = some();
    fixture.know(&histories).await;
    for history in &histories {
        fixture.settle(std::slice::from_ref(history)).await;
        fixture.materializer().step().await.unwrap();
    }
    let rows = "select string_agg(id::text || workflow_id || coalesce(execution_id::text, '') || report_type \
        || metrics || period_start || coalesce(period_end::text, ''), ' ' order by id) \
        from reporting.workflow_reports";
    let read = || sqlx::query_scalar::<_, String>(rows).fetch_one(&fixture.owner);
    let incremental = read().await.unwrap();
    fixture
        .run("delete from reporting.workflow_reports", &[])
        .await;
    fixture.run("delete from reporting.figures", &[]).await;
    fixture.settle(&histories).await;
    fixture.materializer().step().await.unwrap();
    assert_eq!(read().await.unwrap(), incremental);
}

#[tokio::test]
async fn a_mark_made_while_reports_are_written_survives() {
    let fixture = Fixture::new().await;
    let histories = [simple(1, 5), simple(2, 5)];
    fixture.know(&histories).await;
    fixture.settle(&histories[..1]).await;
    let stale = {
        let mut conn = fixture.pool.acquire().await.unwrap();
        crate::store::days::stale(&mut conn).await.unwrap()
    };
    fixture.settle(&histories[1..]).await;
    {
        let mut conn = fixture.pool.acquire().await.unwrap();
        crate::store::days::show(&mut conn, &stale).await.unwrap();
    }
    assert_eq!(fixture.stale().await, 1);
    fixture.materializer().step().await.unwrap();
    assert_eq!(fixture.stale().await, 0);
    let daily = &fixture.reports().await[&("daily".to_owned(), "2021-01-03".to_owned())];
    assert_eq!(daily["totalExecutions"], 2);
}

#[tokio::test]
async fn the_watermark_waits_for_held_events_and_moves_forward_only() {
    let fixture = Fixture::new().await;
    let history = simple(1, 5);
    fixture.know(std::slice::from_ref(&history)).await;
    let (complete, completed) = watch::channel(None);
    let mut materializer = Materializer::new(fixture.pool.clone(), completed);
    let reports = reports(&fixture, NOBODY);
    let shown = async || {
        let request = Request::new(SummarizeReportsRequest::default());
        reports
            .summarize_reports(request)
            .await
            .unwrap()
            .into_inner()
            .complete_through
    };
    let (noon, one) = (
        instant("2021-01-03T12:00:00Z"),
        instant("2021-01-03T13:00:00Z"),
    );
    complete.send_replace(Some(noon));
    fixture.settle(&[part(&history, 1, 3)]).await;
    materializer.step().await.unwrap();
    assert_eq!(shown().await, None);
    fixture.settle(&[part(&history, 0, 1)]).await;
    materializer.step().await.unwrap();
    assert_eq!(shown().await, Some(timestamp(noon)));
    complete.send_replace(Some(one));
    materializer.step().await.unwrap();
    // A rebuild is at the workflow's days: its reports wait for it, and with them the instant.
    let replaced = "insert into reporting.rebuilds (id, requested_by, replacing_workflow_id, replacing_since) \
        select gen_random_uuid(), 'somebody', workflow_id, clock_timestamp() from reporting.days";
    fixture.run(replaced, &[]).await;
    let mark = "update reporting.days set mark = gen_random_uuid()";
    fixture.run(mark, &[]).await;
    complete.send_replace(Some(instant("2021-01-03T14:00:00Z")));
    materializer.step().await.unwrap();
    assert_eq!(shown().await, Some(timestamp(one)));
    let over = "update reporting.rebuilds set finished_at = clock_timestamp()";
    fixture.run(over, &[]).await;
    materializer.step().await.unwrap();
    let two = instant("2021-01-03T14:00:00Z");
    assert_eq!(shown().await, Some(timestamp(two)));
    // Another replica that knows less.
    let (_, completed) = watch::channel(Some(noon));
    Materializer::new(fixture.pool.clone(), completed)
        .step()
        .await
        .unwrap();
    assert_eq!(shown().await, Some(timestamp(two)));
}

#[tokio::test]
async fn writers_and_materializers_at_once_leave_true_reports() {
    let fixture = Fixture::new().await;
    let histories: Vec<_> = (0..60)
        .map(|number| {
            let day = instant("2020-12-28T00:00:00Z") + TimeDelta::days(number % 7);
            history(1 + number as u128, 0, day, &[], None)
        })
        .collect();
    fixture.know(&histories).await;
    let write = |from: usize, pool: PgPool| {
        let own: Vec<_> = histories.iter().skip(from).step_by(2).cloned().collect();
        tokio::spawn(async move {
            for history in own {
                settle(&pool, &[row(&[history])]).await.unwrap();
            }
        })
    };
    let materialize = |mut materializer: Materializer| {
        tokio::spawn(async move {
            for _ in 0..30 {
                materializer.step().await.unwrap();
            }
        })
    };
    let tasks = [
        write(0, fixture.pool.clone()),
        write(1, fixture.pool.clone()),
        materialize(fixture.materializer()),
        materialize(fixture.materializer()),
    ];
    for task in tasks {
        task.await.unwrap();
    }
    fixture.check(&histories).await;
    let reports = fixture.reports().await;
    let week = (
        ReportType::Weekly.as_str().to_owned(),
        "2020-12-28".to_owned(),
    );
    assert_eq!(reports[&week]["totalExecutions"], 60);
}
