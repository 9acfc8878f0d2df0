//! Figures beside each other, and questions that nothing answers.

use prost_types::Timestamp;
use proto::reporting::v1::comparison::With;
use proto::reporting::v1::*;
use tonic::Code;
use tonic_types::StatusExt;

use super::Fixture;
use super::querying::{at, busy, days, query, rows, settled, total};
use super::reading::{NOBODY, reports};
use super::samples::some;

#[tokio::test]
async fn two_months_and_two_versions_stand_beside_each_other() {
    let histories = [some(), busy()].concat();
    let fixture = settled(&histories).await;
    let service = reports(&fixture, NOBODY);
    let mut months = days(&[Dimension::Day]);
    months.period_start = at("2021-01-01T00:00:00Z");
    months.compare_to = Some(Comparison {
        with: Some(With::Range(ComparedRange {
            period_start: at("2020-12-29T00:00:00Z"),
            period_end: at("2021-01-01T00:00:00Z"),
        })),
    });
    let rows = query(&service, months).await.unwrap().rows;
    let total = |figures: &Option<QueryFigures>| {
        let of = figures.as_ref().and_then(|figures| figures.of.as_ref());
        of.map(total)
    };
    let told: Vec<_> = rows
        .iter()
        .map(|row| {
            let day = |at: &Option<Timestamp>| at.unwrap().seconds / 86_400 - 18_628;
            let own = day(&row.keys.as_ref().unwrap().period_start);
            let beside = day(&row.compared_period_start);
            (own, total(&row.figures), beside, total(&row.compared))
        })
        .collect();
    // Counted from 1 January. The third days are 3 January and 31 December.
    assert_eq!(
        told,
        [
            (0, Some(1), -3, None),
            (2, Some(2), -1, Some(3)),
            (3, Some(1), 0, None),
        ]
    );
    let third = &rows[1].differences;
    assert_eq!(third["totalExecutions"].absolute, -1.0);
    assert_eq!(third["totalExecutions"].relative, Some(-0.333_333));
    assert_eq!(rows[0].differences["totalExecutions"].absolute, 1.0);
    assert_eq!(rows[0].differences["totalExecutions"].relative, None);

    let mut versions = days(&[]);
    versions.versions = vec![2];
    versions.compare_to = Some(Comparison {
        with: Some(With::Version(1)),
    });
    let rows = query(&service, versions).await.unwrap().rows;
    assert_eq!(
        (total(&rows[0].figures), total(&rows[0].compared)),
        (Some(2), Some(5))
    );
    assert_eq!(rows[0].compared_period_start, None);
    assert_eq!(rows[0].differences["totalExecutions"].relative, Some(-0.6));
}

/// A change that makes a request wrong, and the field that is named for it.
type Wrong = (fn(&mut QueryReportsRequest), &'static str);

#[tokio::test]
async fn what_is_wrong_is_named() {
    let fixture = Fixture::new().await;
    let service = reports(&fixture, NOBODY);
    let wrong: [Wrong; 19] = [
        (|own| own.period_start = None, "period_start"),
        (|own| own.period_end = None, "period_end"),
        (|own| own.period_end = own.period_start, "period_end"),
        (
            |own| own.period_end = at("2030-12-02T00:00:00Z"),
            "period_end",
        ),
        (
            |own| own.period_start = at("2020-12-01T00:00:01Z"),
            "period_start",
        ),
        (|own| own.workflow_ids = vec!["w".into()], "workflow_ids[0]"),
        (
            |own| own.client_ids = vec![String::new(); 101],
            "client_ids",
        ),
        (|own| own.versions = vec![1, 0], "versions[1]"),
        (
            |own| own.step_ids = vec![uuid::Uuid::nil().to_string()],
            "step_ids",
        ),
        (|own| own.group_by = vec![99], "group_by[0]"),
        (|own| own.group_by = vec![1, 2, 3, 7], "group_by"),
        (|own| own.group_by = vec![4, 11], "group_by"),
        (|own| own.time_zone = "Mars/Olympus".into(), "time_zone"),
        (
            |own| own.compare_to = Some(Comparison::default()),
            "compare_to",
        ),
        (
            |own| {
                own.compare_to = Some(Comparison {
                    with: Some(With::Range(ComparedRange::default())),
                })
            },
            "compare_to.range",
        ),
        (|own| against(own, 0), "compare_to.version"),
        (|own| against(own, 1), "versions"),
        (
            |own| {
                own.group_by = vec![2];
                own.versions = vec![2];
                against(own, 1);
            },
            "group_by",
        ),
        (
            |own| {
                own.group_by = vec![4, 10];
                own.time_zone = "Europe/Berlin".into();
            },
            "group_by",
        ),
    ];
    for (change, field) in wrong {
        let mut request = days(&[]);
        change(&mut request);
        let status = query(&service, request).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{field}");
        let bad = status.get_details_bad_request().unwrap();
        let fields: Vec<_> = bad
            .field_violations
            .iter()
            .map(|own| own.field.as_str())
            .collect();
        assert!(fields.contains(&field), "{field} not in {fields:?}");
    }
    let ten_years = QueryReportsRequest {
        period_end: at("2030-12-01T00:00:00Z"),
        ..days(&[])
    };
    assert_eq!(rows(&service, ten_years).await.len(), 1);
}

fn against(request: &mut QueryReportsRequest, version: i32) {
    request.compare_to = Some(Comparison {
        with: Some(With::Version(version)),
    });
}
