//! Reports are held to account, and made anew.

use std::collections::BTreeSet;

use model::event::ExecutionEvents;
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;
use uuid::Uuid;

use super::Fixture;
use super::archive::Archive;
use super::samples::{deliveries, instant, part, simple, some};
use crate::projection::period::execution_report_id;
use crate::rebuild::Rebuilder;
use crate::store::rebuilds::{self, Done, Progress, Scope};
use crate::verify::{Verified, Verifier};

/// Everything that readers can see.
const ROWS: &str = "select string_agg(id::text || workflow_id || coalesce(execution_id::text, '') || report_type \
    || metrics || period_start || coalesce(period_end::text, ''), ' ' order by id) from reporting.workflow_reports";

async fn rows(fixture: &Fixture) -> Option<String> {
    let rows = sqlx::query_scalar(ROWS).fetch_one(&fixture.owner).await;
    rows.unwrap()
}

async fn verify_all(fixture: &Fixture, archive: &Archive) -> Vec<Verified> {
    let verifier = Verifier::new(fixture.pool.clone(), archive.history().await);
    let ids = "select id from reporting.workflow_reports order by id";
    let ids: Vec<Uuid> = sqlx::query_scalar(ids)
        .fetch_all(&fixture.owner)
        .await
        .unwrap();
    let mut verified = Vec::new();
    for id in ids {
        verified.push(verifier.verify(id).await.unwrap());
    }
    verified
}

fn figures(verified: &[Verified]) -> BTreeSet<&str> {
    let differences = verified.iter().flat_map(|own| &own.differences);
    differences.map(|own| own.figure.as_str()).collect()
}

async fn rebuild(fixture: &Fixture, archive: &Archive, scope: Scope) -> Progress {
    let mut conn = fixture.pool.acquire().await.unwrap();
    let id = rebuilds::ask(&mut conn, Uuid::now_v7(), scope, "somebody")
        .await
        .unwrap();
    let again = rebuilds::ask(&mut conn, Uuid::now_v7(), scope, "else")
        .await
        .unwrap();
    assert_eq!(again, id, "the same is not done twice at once");
    let mut rebuilder = Rebuilder::new(fixture.pool.clone(), archive.history().await);
    assert!(rebuilder.step().await.unwrap());
    assert!(!rebuilder.step().await.unwrap(), "it is done");
    fixture.materializer().step().await.unwrap();
    rebuilds::progress(&mut conn, id).await.unwrap().unwrap()
}

async fn counted(histories: &[ExecutionEvents]) -> (Fixture, Archive) {
    let fixture = Fixture::new().await;
    fixture.know(histories).await;
    fixture.settle(histories).await;
    fixture.materializer().step().await.unwrap();
    (fixture, Archive::of(histories))
}

fn any_histories() -> Vec<ExecutionEvents> {
    let mut runner = TestRunner::deterministic();
    deliveries().new_tree(&mut runner).unwrap().current().0
}

#[tokio::test]
async fn right_reports_are_verified_and_left_alone() {
    let histories = any_histories();
    let (fixture, archive) = counted(&histories).await;
    let before = rows(&fixture).await;
    for verified in verify_all(&fixture, &archive).await {
        assert_eq!(verified.differences, []);
        assert_eq!(
            (verified.uncounted_events, verified.purged_executions),
            (0, 0)
        );
        assert!(verified.executions > 0 && verified.events >= verified.executions);
    }
    let progress = rebuild(&fixture, &archive, Scope::default()).await;
    let events: usize = histories.iter().map(|own| own.events.len()).sum();
    assert_eq!(
        (progress.executions, progress.events),
        (histories.len() as i64, events as i64)
    );
    assert_eq!(
        (progress.changed_executions, progress.changed_figures),
        (0, 0)
    );
    assert!(progress.finished_at.is_some());
    assert_eq!(rows(&fixture).await, before);
}

#[tokio::test]
async fn whatever_was_spoiled_is_told_and_made_right() {
    let (fixture, archive) = counted(&some()).await;
    let before = rows(&fixture).await;
    for (spoil, figure) in [
        (
            "update reporting.figures set figures = jsonb_set(figures, '{total}', '77') where kind = 'execution'",
            "totalExecutions",
        ),
        (
            "update reporting.workflow_reports set metrics = jsonb_set(metrics, '{executionTime}', '77') \
             where report_type = 'execution' and period_end is not null",
            "executionTime",
        ),
        (
            "update reporting.workflow_reports set metrics = '{}' where report_type = 'weekly'",
            "runningExecutions",
        ),
        (
            "update reporting.workflow_reports set applied_seq = 9 where report_type = 'execution'",
            "executions.00000000-0000-0000-0000-000000000001",
        ),
    ] {
        fixture.run(spoil, &[]).await;
        fixture
            .run("update reporting.days set mark = gen_random_uuid()", &[])
            .await;
        if !spoil.contains("weekly") {
            fixture.materializer().step().await.unwrap();
        } else {
            fixture
                .run("update reporting.days set shown = mark", &[])
                .await;
        }
        let verified = verify_all(&fixture, &archive).await;
        assert!(
            figures(&verified).contains(figure),
            "{figure}: {:?}",
            figures(&verified)
        );
        rebuild(&fixture, &archive, Scope::default()).await;
        assert_eq!(rows(&fixture).await, before, "{figure}");
        let verified = verify_all(&fixture, &archive).await;
        assert_eq!(figures(&verified), BTreeSet::new());
    }
}

#[tokio::test]
async fn lost_tables_come_back_from_history() {
    let histories = any_histories();
    let (fixture, archive) = counted(&histories).await;
    let before = rows(&fixture).await;
    for table in ["workflow_reports", "figures", "days"] {
        let delete = format!("delete from reporting.{table}");
        sqlx::query(sqlx::AssertSqlSafe(delete))
            .execute(&fixture.owner)
            .await
            .unwrap();
    }
    rebuild(&fixture, &archive, Scope::default()).await;
    assert_eq!(rows(&fixture).await, before);
    // What the stream brings once more was counted.
    fixture.settle(&histories).await;
    fixture.check(&histories).await;
}

#[tokio::test]
async fn a_rebuild_of_a_range_leaves_the_rest_alone() {
    let (fixture, archive) = counted(&some()).await;
    let spoil = "update reporting.figures set figures = jsonb_set(figures, '{total}', '77') where kind = 'execution'";
    fixture.run(spoil, &[]).await;
    let scope = Scope {
        workflow_id: Some(some()[0].workflow_id),
        first: Some(instant("2021-01-01T00:00:00Z").date_naive()),
        end: Some(instant("2021-01-03T00:00:00Z").date_naive()),
    };
    let progress = rebuild(&fixture, &archive, scope).await;
    assert_eq!((progress.executions, progress.changed_figures), (1, 1));
    let wrong = "select count(*) from reporting.figures where figures ->> 'total' = '77'";
    assert_eq!(fixture.count(wrong).await, 3);
}

#[tokio::test]
async fn a_rebuild_counts_what_the_stream_counts_and_no_more() {
    let histories: Vec<_> = (1..=40).map(|number| simple(number, 1000)).collect();
    let fixture = Fixture::new().await;
    fixture.know(&histories).await;
    let archive = Archive::of(&histories);
    // Some are whole, some begun, some have not come yet.
    for (at, history) in histories.iter().enumerate() {
        match at % 3 {
            0 => fixture.settle(std::slice::from_ref(history)).await,
            1 => fixture.settle(&[part(history, 0, 2)]).await,
            _ => {}
        }
    }
    let spoil =
        "update reporting.workflow_reports set metrics = jsonb_set(metrics, '{steps}', '{}')";
    fixture.run(spoil, &[]).await;
    let stream = async {
        for history in &histories {
            fixture.settle(&[part(history, 1, 3)]).await;
            fixture.settle(std::slice::from_ref(history)).await;
        }
    };
    let scope = Scope::default();
    tokio::join!(stream, rebuild(&fixture, &archive, scope));
    fixture.check(&histories).await;
}

#[tokio::test]
async fn what_the_stream_has_lost_is_counted_by_a_rebuild() {
    let histories = [simple(1, 5), simple(2, 7), simple(3, 9)];
    let known = [
        part(&histories[0], 0, 2),
        histories[1].clone(),
        part(&histories[2], 0, 2),
    ];
    let (fixture, _) = counted(&known).await;
    // As if it were over: nothing can be counted on with that.
    let spoil = "update reporting.workflow_reports set period_end = now() where id = $1";
    let spoiled = execution_report_id(histories[2].execution_id);
    fixture.run(spoil, &[spoiled]).await;
    let archive = Archive::of(&histories);
    rebuild(&fixture, &archive, Scope::default()).await;
    fixture.check(&histories).await;
    assert_eq!(fixture.parked().await, 0);
    for verified in verify_all(&fixture, &archive).await {
        assert_eq!(
            (verified.differences, verified.uncounted_events),
            (vec![], 0)
        );
    }
}

#[tokio::test]
async fn executions_that_went_on_since_their_history_was_read_stay_as_they_are() {
    let histories = [simple(1, 5), simple(2, 7)];
    let (fixture, archive) = counted(&histories).await;
    let before = rows(&fixture).await;
    archive.tell_once(&[part(&histories[0], 0, 2), part(&histories[1], 0, 1)]);
    let progress = rebuild(&fixture, &archive, Scope::default()).await;
    assert_eq!(
        (progress.changed_executions, progress.changed_figures),
        (0, 0)
    );
    assert_eq!(rows(&fixture).await, before);
}

#[tokio::test]
async fn an_interrupted_rebuild_goes_on_with_another_replica() {
    let (fixture, archive) = counted(&some()).await;
    let mut conn = fixture.pool.acquire().await.unwrap();
    let id = rebuilds::ask(&mut conn, Uuid::now_v7(), Scope::default(), "somebody")
        .await
        .unwrap();
    let mut broken = Rebuilder::new(fixture.pool.clone(), super::archive::nobody());
    assert!(broken.step().await.is_err());
    // It has its turn again after a pause, in which others come first.
    let free = "update reporting.rebuilds set held_until = '-infinity'";
    fixture.run(free, &[]).await;
    let mut other = Rebuilder::new(fixture.pool.clone(), archive.history().await);
    assert!(other.step().await.unwrap());
    let progress = rebuilds::progress(&mut conn, id).await.unwrap().unwrap();
    assert_eq!(progress.executions, 4);
    assert!(progress.finished_at.is_some());
}

/// Reports of a workflow some of whose days are replaced wait, whoever goes on, until another one has its turn.
#[tokio::test]
async fn whose_days_are_being_replaced_is_known_to_whoever_goes_on() {
    let fixture = Fixture::new().await;
    let mut conn = fixture.pool.acquire().await.unwrap();
    let id = Uuid::now_v7();
    rebuilds::ask(&mut conn, id, Scope::default(), "somebody")
        .await
        .unwrap();
    let [one, other] = [Uuid::from_u128(1), Uuid::from_u128(2)];
    let since = "select replacing_since::text from reporting.rebuilds";
    let mut before: Option<String> = None;
    for (placing, replacing, is_new) in [
        (None, None, false),
        (Some(one), Some(one), true),
        (None, Some(one), false),
        (Some(one), Some(one), false),
        (Some(other), Some(other), true),
    ] {
        let free = "update reporting.rebuilds set held_until = '-infinity'";
        fixture.run(free, &[]).await;
        let holder = Uuid::now_v7();
        rebuilds::take(&mut conn, holder).await.unwrap().unwrap();
        let done = Done {
            placing,
            ..Done::default()
        };
        assert!(rebuilds::note(&mut conn, id, holder, &done).await.unwrap());
        fixture.run(free, &[]).await;
        let held = rebuilds::take(&mut conn, Uuid::now_v7()).await.unwrap();
        assert_eq!(held.unwrap().replacing, replacing);
        assert!(!rebuilds::note(&mut conn, id, holder, &done).await.unwrap());
        let after: Option<String> = sqlx::query_scalar(since)
            .fetch_one(&fixture.owner)
            .await
            .unwrap();
        assert_eq!(after != before, is_new, "{placing:?}");
        before = after;
    }
}

/// It was to be replaced, has gone on since, and was purged then.
#[tokio::test]
async fn purged_executions_do_not_keep_a_rebuild_from_its_end() {
    let histories = [simple(1, 5), simple(2, 7)];
    let (fixture, _) = counted(&histories).await;
    let mut conn = fixture.pool.acquire().await.unwrap();
    let id = Uuid::now_v7();
    rebuilds::ask(&mut conn, id, Scope::default(), "somebody")
        .await
        .unwrap();
    let keep = "insert into reporting.rebuilt_ledgers (rebuild_id, id, workflow_id, execution_id, metrics, \
        started_at, applied_seq, base_seq) select $1, id, workflow_id, execution_id, metrics, period_start, 1, 1 \
        from reporting.workflow_reports where execution_id = $2";
    fixture.run(keep, &[id, histories[0].execution_id]).await;
    let archive = Archive::of(&histories[1..]);
    let mut rebuilder = Rebuilder::new(fixture.pool.clone(), archive.history().await);
    assert!(rebuilder.step().await.unwrap());
    let progress = rebuilds::progress(&mut conn, id).await.unwrap().unwrap();
    assert!(progress.finished_at.is_some());
    assert_eq!(progress.changed_executions, 0);
}

#[tokio::test]
async fn purged_and_uncounted_executions_are_told_apart_from_differences() {
    let histories = some();
    let (fixture, archive) = counted(&histories).await;
    // More has happened than the stream has brought.
    let mut more = histories.clone();
    let grown = simple(4, 5);
    more[3].events.extend(grown.events[1..2].iter().cloned());
    archive.set(&more);
    let verifier = Verifier::new(fixture.pool.clone(), archive.history().await);
    let id = execution_report_id(histories[3].execution_id);
    let (verified, ()) = tokio::join!(verifier.verify(id), fixture.settle(&more));
    let verified = verified.unwrap();
    assert_eq!(verified.differences, []);
    fixture.materializer().step().await.unwrap();
    fixture
        .run(
            "update reporting.workflow_reports set execution_id = null where execution_id = $1",
            &[histories[0].execution_id],
        )
        .await;
    let id = execution_report_id(histories[0].execution_id);
    let verified = verifier.verify(id).await.unwrap();
    assert_eq!(
        (verified.differences.len(), verified.purged_executions),
        (0, 1)
    );
}
