//! Answers equal sums that were made by hand.

use chrono::{Days, NaiveDate};
use chrono_tz::Tz;
use uuid::Uuid;

use super::*;
use crate::projection::figures::{DayKey, Grain, Label, hour_key};
use crate::query::{Dimension, Side};

fn date(text: &str) -> NaiveDate {
    text.parse().unwrap()
}

fn side(first: &str, end: &str) -> Side {
    Side {
        first: date(first),
        end: date(end),
        versions: Vec::new(),
    }
}

fn question(group_by: &[Dimension], zone: Tz) -> Question {
    Question {
        group_by: group_by.to_vec(),
        zone,
        workflow_ids: Vec::new(),
        client_ids: Vec::new(),
        step_ids: Vec::new(),
        side: side("2026-01-01", "2027-01-01"),
        other: None,
    }
}

/// So many, of one thing on one day.
fn sum(day: NaiveDate, grain: Grain, key: Uuid, total: u64) -> Sum {
    let mut figures = Figures {
        total,
        completed: total,
        ..Figures::default()
    };
    (0..total).for_each(|at| figures.times.add(1000 * (at + 1)));
    Sum {
        key: DayKey {
            workflow_id: Uuid::from_u128(1),
            day,
            version: 1,
            grain,
            key,
        },
        label: Label::default(),
        figures,
    }
}

fn totals(rows: &BTreeMap<Vec<Key>, Row>) -> Vec<(Vec<Key>, Option<u64>, Option<u64>)> {
    let total = |cell: &Option<Cell>| cell.as_ref().map(|cell| cell.figures.total);
    let rows = rows.iter();
    rows.map(|(keys, row)| (keys.clone(), total(&row.own), total(&row.other)))
        .collect()
}

#[test]
fn rows_are_the_sums_of_what_has_their_keys() {
    let question = question(&[Dimension::Week, Dimension::Version], Tz::UTC);
    let mut table = Table::new(&question);
    let nobody = Uuid::nil();
    // The last Sunday of 2020-W53, the Friday before it, and the Monday after it in another version.
    for (day, version, total) in [
        ("2021-01-03", 1, 2),
        ("2021-01-01", 1, 3),
        ("2021-01-04", 2, 5),
    ] {
        let mut sum = sum(date(day), Grain::Execution, nobody, total);
        sum.key.version = version;
        table.add(&sum).unwrap();
    }
    let rows = table.finish();
    let week = |monday, version| vec![Key::Day(date(monday)), Key::Number(version)];
    assert_eq!(
        totals(&rows),
        [
            (week("2020-12-28", 1), Some(5), None),
            (week("2021-01-04", 2), Some(5), None),
        ]
    );
    let merged = &rows[&week("2020-12-28", 1)].own.as_ref().unwrap().figures;
    let mut wanted = Figures {
        total: 5,
        completed: 5,
        ..Figures::default()
    };
    for micros in [1000, 2000, 1000, 2000, 3000] {
        wanted.times.add(micros);
    }
    assert_eq!(*merged, wanted);
}

#[test]
fn a_question_without_keys_has_one_row_even_of_nothing() {
    let mut question = question(&[], Tz::UTC);
    question.other = Some(side("2025-01-01", "2026-01-01"));
    let rows = Table::new(&question).finish();
    assert_eq!(totals(&rows), [(Vec::new(), Some(0), Some(0))]);
}

#[test]
fn hours_have_the_label_of_their_local_beginning() {
    let label = |zone: &str, day: &str, hour: u32| {
        let question = question(
            &[Dimension::Weekday, Dimension::Hour],
            zone.parse().unwrap(),
        );
        assert_eq!(question.grain(), Grain::Hour);
        match question.keys(&sum(date(day), Grain::Hour, hour_key(hour), 1))[..] {
            [Key::Number(weekday), Key::Number(hour)] => (weekday, hour),
            ref keys => panic!("{keys:?}"),
        }
    };
    assert_eq!(label("UTC", "2026-03-29", 0), (7, 0));
    // Clocks go forward at 1:00 UTC: there is no 2 o'clock; and back at 1:00 UTC: there are two.
    assert_eq!(label("Europe/Berlin", "2026-03-29", 0), (7, 1));
    assert_eq!(label("Europe/Berlin", "2026-03-29", 1), (7, 3));
    assert_eq!(label("Europe/Berlin", "2026-10-25", 0), (7, 2));
    assert_eq!(label("Europe/Berlin", "2026-10-25", 1), (7, 2));
    // The next day there, and the day before; half an hour is cut off.
    assert_eq!(label("Europe/Berlin", "2026-03-29", 23), (1, 1));
    assert_eq!(label("America/New_York", "2026-03-30", 3), (7, 23));
    assert_eq!(label("Asia/Kolkata", "2026-03-29", 18), (7, 23));
    assert_eq!(label("Asia/Kolkata", "2026-03-29", 19), (1, 0));
}

#[test]
fn weekdays_of_utc_need_no_hours() {
    let question = question(&[Dimension::Step, Dimension::Weekday], Tz::UTC);
    assert_eq!((question.grain(), question.fault()), (Grain::Step, None));
    let keys = question.keys(&sum(date("2026-03-29"), Grain::Step, Uuid::from_u128(7), 1));
    assert_eq!(keys, [Key::Id(Uuid::from_u128(7)), Key::Number(7)]);
}

#[test]
fn what_no_figures_answer_is_refused_by_name() {
    use Dimension::{Day, Group, Hour, Month, Step, Transition, Weekday, Workflow};
    let berlin: Tz = "Europe/Berlin".parse().unwrap();
    for (group_by, zone, words) in [
        (&[Step, Transition][..], Tz::UTC, "both STEP and TRANSITION"),
        (&[Month, Workflow, Day], Tz::UTC, "both MONTH and DAY"),
        (&[Step, Step], Tz::UTC, "STEP twice"),
        (&[Weekday, Weekday], Tz::UTC, "WEEKDAY twice"),
        (&[Hour, Step], Tz::UTC, "HOUR beside STEP"),
        (&[Group, Hour], Tz::UTC, "HOUR beside GROUP"),
        (
            &[Weekday, Group],
            berlin,
            "WEEKDAY beside GROUP in the time zone Europe/Berlin",
        ),
    ] {
        let fault = question(group_by, zone).fault().expect(words);
        assert!(fault.contains(words), "{fault}");
    }
    assert_eq!(question(&[Weekday, Hour, Day], berlin).fault(), None);
}

#[test]
fn the_other_range_stands_beside_by_position() {
    let mut question = question(&[Dimension::Day], Tz::UTC);
    question.side = side("2026-03-01", "2026-03-03");
    question.other = Some(side("2025-12-30", "2026-01-02"));
    let mut table = Table::new(&question);
    let nobody = Uuid::nil();
    let first = date("2026-03-01");
    table.add(&sum(first, Grain::Execution, nobody, 1)).unwrap();
    for (day, total) in [("2025-12-31", 2), ("2026-01-01", 3)] {
        let sum = sum(date(day), Grain::Execution, nobody, total);
        table.add_other(&sum).unwrap();
    }
    let day = |at| vec![Key::Day(first + Days::new(at))];
    assert_eq!(
        totals(&table.finish()),
        [
            (day(0), Some(1), None),
            (day(1), None, Some(2)),
            // The other range is longer.
            (day(2), None, Some(3)),
        ]
    );
}

#[test]
fn shares_are_of_what_left_the_same_step_beside_the_same_keys() {
    let question = question(&[Dimension::Transition, Dimension::Month], Tz::UTC);
    let mut table = Table::new(&question);
    for (day, transition, from, total) in [
        ("2026-01-05", 10, 1, 3),
        ("2026-01-06", 11, 1, 1),
        ("2026-01-06", 20, 2, 7),
        ("2026-02-01", 10, 1, 5),
    ] {
        let mut sum = sum(
            date(day),
            Grain::Transition,
            Uuid::from_u128(transition),
            total,
        );
        sum.label.from_step_id = Some(Uuid::from_u128(from));
        table.add(&sum).unwrap();
    }
    let rows = table.finish();
    let cells = rows.values().map(|row| row.own.as_ref().unwrap());
    let shares: Vec<_> = cells
        .map(|cell| (cell.figures.total, cell.leaving))
        .collect();
    // Transition 10 in January and February, 11, 20.
    assert_eq!(shares, [(3, 4), (5, 5), (1, 4), (7, 7)]);
}

#[test]
fn rows_beyond_the_limit_are_refused_and_known_ones_still_added_to() {
    let question = question(&[Dimension::Client], Tz::UTC);
    let mut table = Table::new(&question);
    let of = |client: usize| {
        let mut sum = sum(date("2026-01-01"), Grain::Execution, Uuid::nil(), 1);
        sum.label.client_id = Uuid::from_u128(client as u128);
        sum
    };
    for client in 0..MOST_ROWS {
        table.add(&of(client)).unwrap();
    }
    assert_eq!(table.add_other(&of(MOST_ROWS)), Err(TooMany));
    table.add(&of(3)).unwrap();
    assert_eq!(table.finish().len(), MOST_ROWS);
}
