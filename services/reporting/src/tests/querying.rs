//! Figures in rows, as they are asked for.

use std::collections::BTreeMap;

use model::wire::timestamp;
use prost_types::Timestamp;
use proto::reporting::v1::query_figures::Of;
use proto::reporting::v1::report_service_server::ReportService;
use proto::reporting::v1::*;
use tonic::{Request, Status};

use super::Fixture;
use super::reading::{NOBODY, registry, reports};
use super::samples::{Attempt, history, instant, some};
use crate::rpc::reports::Reports;
use model::event::ExecutionEvents;
use model::status::ExecutionStatus;

pub fn at(text: &str) -> Option<Timestamp> {
    Some(timestamp(instant(text)))
}

/// The days around the turn of the year.
pub fn days(group_by: &[Dimension]) -> QueryReportsRequest {
    QueryReportsRequest {
        period_start: at("2020-12-01T00:00:00Z"),
        period_end: at("2021-02-01T00:00:00Z"),
        group_by: group_by.iter().map(|own| (*own).into()).collect(),
        ..Default::default()
    }
}

pub async fn query(
    reports: &Reports,
    request: QueryReportsRequest,
) -> Result<QueryReportsResponse, Status> {
    let answer = reports.query_reports(Request::new(request)).await;
    answer.map(tonic::Response::into_inner)
}

pub async fn rows(reports: &Reports, request: QueryReportsRequest) -> Vec<(QueryKeys, Of)> {
    let rows = query(reports, request).await.unwrap().rows.into_iter();
    let shown = |row: QueryRow| (row.keys.unwrap(), row.figures.unwrap().of.unwrap());
    rows.map(shown).collect()
}

pub fn total(of: &Of) -> i64 {
    match of {
        Of::Executions(executions) => executions.total_executions,
        Of::Steps(steps) => steps.activations,
        Of::Transitions(transitions) => transitions.taken,
        Of::Tasks(tasks) => tasks.tasks,
    }
}

/// Executions with steps of all kinds.
pub fn busy() -> Vec<ExecutionEvents> {
    let attempts = |way: u128| -> Vec<Attempt> {
        let step = |step: u128, taken: u128| Attempt {
            taken: vec![taken],
            micros: (1000, Some(2000), 4000),
            ..Attempt::completed(step, 0)
        };
        vec![
            step(10, 100 + way),
            step(11, 110),
            step(12, 120),
            step(13, 130),
        ]
    };
    let done = Some((ExecutionStatus::Completed, 9_000_000));
    let begun = [
        "2020-12-31T22:30:00Z",
        "2020-12-31T23:59:59.999999Z",
        "2021-01-04T00:00:00Z",
    ];
    let begun = (0..).zip(begun.map(instant));
    begun
        .map(|(number, at)| history(10 + number, 0, at, &attempts(number % 2), done))
        .collect()
}

pub async fn settled(histories: &[ExecutionEvents]) -> Fixture {
    let fixture = Fixture::new().await;
    fixture.know(histories).await;
    fixture.settle(histories).await;
    fixture
}

#[tokio::test]
async fn rows_are_what_the_stored_reports_say() {
    let fixture = settled(&some()).await;
    fixture.materializer().step().await.unwrap();
    let service = reports(&fixture, &registry().await);
    for (dimension, kind) in [
        (Dimension::Day, "daily"),
        (Dimension::Week, "weekly"),
        (Dimension::Month, "monthly"),
    ] {
        let mut request = days(&[Dimension::Workflow, dimension]);
        let workflow = some()[0].workflow_id.to_string();
        request.workflow_ids = vec![workflow.clone()];
        let stored: BTreeMap<i64, serde_json::Value> = {
            let select = "select extract(epoch from period_start)::bigint, metrics \
                from reporting.workflow_reports where report_type = $1 and workflow_id = $2 order by 1";
            let query = sqlx::query_as(select)
                .bind(kind)
                .bind(some()[0].workflow_id);
            let rows: Vec<_> = query.fetch_all(&fixture.owner).await.unwrap();
            rows.into_iter().collect()
        };
        let rows = rows(&service, request).await;
        assert_eq!(rows.len(), stored.len(), "{kind}");
        for ((keys, of), (start, metrics)) in rows.iter().zip(&stored) {
            assert_eq!(keys.period_start.unwrap().seconds, *start, "{kind}");
            assert_eq!(keys.workflow_name, format!("name of {workflow}"));
            let Of::Executions(own) = of else {
                panic!("{of:?}");
            };
            let number = |name: &str| metrics[name].as_f64();
            assert_eq!(Some(own.total_executions as f64), number("totalExecutions"));
            assert_eq!(
                Some(own.failed_executions as f64),
                number("failedExecutions")
            );
            assert_eq!(own.success_rate, number("successRate"));
            assert_eq!(own.average_execution_time, number("averageExecutionTime"));
            assert_eq!(own.max_execution_time, number("maxExecutionTime"));
            assert_eq!(own.p90_execution_time, number("p90ExecutionTime"));
            assert_eq!(Some(own.targets_met as f64), number("targetsMet"));
        }
    }
}

#[tokio::test]
async fn each_dimension_splits_the_whole() {
    use Dimension::{
        Client, Day, Group, Hour, Month, Step, Transition, Version, Week, Weekday, Workflow,
    };
    let histories = [some(), busy()].concat();
    let fixture = settled(&histories).await;
    let service = reports(&fixture, NOBODY);
    let whole = rows(&service, days(&[])).await;
    assert_eq!(whole.len(), 1);
    assert_eq!(
        (whole[0].0.clone(), total(&whole[0].1)),
        (QueryKeys::default(), 7)
    );
    for dimension in [Workflow, Version, Client, Day, Week, Month, Weekday, Hour] {
        let rows = rows(&service, days(&[dimension])).await;
        let sum: i64 = rows.iter().map(|(_, of)| total(of)).sum();
        assert_eq!(sum, 7, "{dimension:?}");
        assert!(rows.len() > 1, "{dimension:?}");
    }
    for (dimension, wanted) in [(Step, 12), (Transition, 12), (Group, 6)] {
        let split = rows(&service, days(&[dimension])).await;
        let sum: i64 = split.iter().map(|(_, of)| total(of)).sum();
        assert_eq!((split.len() > 1, sum), (true, wanted), "{dimension:?}");
        let by_week = rows(&service, days(&[Week, dimension, Version])).await;
        assert_eq!(by_week.iter().map(|(_, of)| total(of)).sum::<i64>(), wanted);
        assert!(
            by_week
                .iter()
                .map(|(keys, _)| keys.period_start.unwrap().seconds)
                .is_sorted()
        );
    }
}

#[tokio::test]
async fn hours_are_those_of_the_reader() {
    let fixture = settled(&busy()).await;
    let service = reports(&fixture, NOBODY);
    let labels = async |zone: &str| -> Vec<(i32, i32, i64)> {
        let request = QueryReportsRequest {
            time_zone: zone.to_owned(),
            ..days(&[Dimension::Weekday, Dimension::Hour])
        };
        let rows = rows(&service, request).await.into_iter();
        rows.map(|(keys, of)| (keys.weekday, keys.hour.unwrap(), total(&of)))
            .collect()
    };
    // Thursday 22:30 and 23:59:59, and Monday 0:00.
    assert_eq!(labels("").await, [(1, 0, 1), (4, 22, 1), (4, 23, 1)]);
    assert_eq!(
        labels("Europe/Berlin").await,
        [(1, 1, 1), (4, 23, 1), (5, 0, 1)]
    );
    assert_eq!(
        labels("America/New_York").await,
        [(4, 17, 1), (4, 18, 1), (7, 19, 1)]
    );
    let weekdays = QueryReportsRequest {
        time_zone: "Europe/Berlin".to_owned(),
        ..days(&[Dimension::Weekday])
    };
    let weekdays = rows(&service, weekdays).await;
    assert_eq!(
        weekdays
            .iter()
            .map(|(keys, _)| keys.weekday)
            .collect::<Vec<_>>(),
        [1, 4, 5]
    );
}

#[tokio::test]
async fn steps_ways_and_groups_tell_their_own_figures() {
    let fixture = settled(&busy()).await;
    let service = reports(&fixture, &registry().await);
    let first = uuid::Uuid::from_u128(10).to_string();
    let one_step = |dimension| QueryReportsRequest {
        step_ids: vec![first.clone()],
        ..days(&[dimension])
    };
    let steps = rows(&service, one_step(Dimension::Step)).await;
    let [(keys, Of::Steps(step))] = &steps[..] else {
        panic!("{steps:?}");
    };
    assert_eq!(
        (&keys.step_id, &keys.step_name),
        (&first, &format!("name of {first}"))
    );
    assert_eq!((step.activations, step.completed), (3, 3));
    assert_eq!(step.average_time, Some(6.0));
    // Each waited 1 ms for a lock and was 6 ms in the engine.
    assert_eq!(step.phases["locked"], 3.0);
    assert_eq!(step.phases["engine"], 18.0);

    let ways = rows(&service, one_step(Dimension::Transition)).await;
    let shares: Vec<_> = ways
        .iter()
        .map(|(keys, of)| match of {
            Of::Transitions(own) => {
                assert_eq!(own.from_step_id, first);
                assert_eq!(own.from_step_name, format!("name of {first}"));
                (keys.transition_id.clone(), own.taken, own.share.unwrap())
            }
            other => panic!("{other:?}"),
        })
        .collect();
    let way = |id: u128| uuid::Uuid::from_u128(id).to_string();
    assert_eq!(shares, [(way(100), 2, 0.666_667), (way(101), 1, 0.333_333)]);

    let groups = rows(&service, days(&[Dimension::Group])).await;
    let told: Vec<_> = groups
        .iter()
        .map(|(keys, of)| match of {
            Of::Tasks(own) => {
                let times = (own.average_unassigned_time, own.average_person_time);
                (
                    keys.group.clone().unwrap(),
                    own.tasks,
                    times,
                    own.person_time,
                )
            }
            other => panic!("{other:?}"),
        })
        .collect();
    let times = (Some(2.0), Some(4.0));
    assert_eq!(
        told,
        [
            (String::new(), 3, times, 12.0),
            ("Accounting".to_owned(), 3, times, 12.0)
        ]
    );
}

#[tokio::test]
async fn filters_restrict_what_is_added_up() {
    let histories = [some(), busy()].concat();
    let fixture = settled(&histories).await;
    let service = reports(&fixture, NOBODY);
    let count = async |request: QueryReportsRequest| total(&rows(&service, request).await[0].1);
    let ids = |at: usize| {
        (
            histories[at].workflow_id.to_string(),
            histories[at].client_id.to_string(),
        )
    };
    let (workflow, _) = ids(0);
    let (other, client) = ids(3);
    let with = |change: fn(&mut QueryReportsRequest, Vec<String>), ids: &[&String]| {
        let mut request = days(&[]);
        change(&mut request, ids.iter().map(|id| (*id).clone()).collect());
        request
    };
    assert_eq!(
        count(with(|own, ids| own.workflow_ids = ids, &[&workflow])).await,
        6
    );
    assert_eq!(
        count(with(
            |own, ids| own.workflow_ids = ids,
            &[&workflow, &other]
        ))
        .await,
        7
    );
    assert_eq!(
        count(with(|own, ids| own.client_ids = ids, &[&client])).await,
        1
    );
    let second = QueryReportsRequest {
        versions: vec![2],
        ..days(&[])
    };
    // Executions 3 and 12.
    assert_eq!(count(second).await, 2);
    let one_day = QueryReportsRequest {
        period_start: at("2021-01-03T00:00:00Z"),
        period_end: at("2021-01-04T00:00:00Z"),
        ..days(&[])
    };
    assert_eq!(count(one_day).await, 2);
}
