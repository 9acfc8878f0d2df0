//! What the rows of an answer are told apart by. Invariant: a sum has exactly one key in each dimension, so rows together
//! are the whole.

use chrono::{Datelike, Months, NaiveDate, TimeDelta, Timelike, Weekday};
use chrono_tz::Tz;
use uuid::Uuid;

use super::{Dimension, Question};
use crate::projection::figures::{Grain, hour_of};
use crate::projection::period::midnight;
use crate::store::figures::Sum;

/// In the order of its dimension.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    /// Of a workflow, a client, a step or a transition.
    Id(Uuid),
    /// A version, a day of the week (1 is Monday) or an hour.
    Number(i32),
    /// A group's name.
    Name(String),
    /// The first day of a period.
    Day(NaiveDate),
}

impl Question {
    pub fn keys(&self, sum: &Sum) -> Vec<Key> {
        let keys = self.group_by.iter();
        keys.map(|dimension| self.key(*dimension, sum)).collect()
    }

    fn key(&self, dimension: Dimension, sum: &Sum) -> Key {
        match dimension {
            Dimension::Workflow => Key::Id(sum.key.workflow_id),
            Dimension::Version => Key::Number(sum.key.version),
            Dimension::Client => Key::Id(sum.label.client_id),
            Dimension::Step | Dimension::Transition => Key::Id(sum.key.key),
            Dimension::Group => Key::Name(sum.label.group.clone().unwrap_or_default()),
            Dimension::Day | Dimension::Week | Dimension::Month => {
                Key::Day(begin(dimension, sum.key.day))
            }
            Dimension::Weekday => number(local(self.zone, sum).0.number_from_monday()),
            Dimension::Hour => number(local(self.zone, sum).1),
        }
    }
}

fn number(number: u32) -> Key {
    Key::Number(i32::try_from(number).expect("weekdays and hours are small"))
}

/// The weekday and the hour that an hour's figures get; of a day's figures, the day's own.
fn local(zone: Tz, sum: &Sum) -> (Weekday, u32) {
    let hour = (sum.key.grain == Grain::Hour)
        .then(|| hour_of(sum.key.key))
        .flatten();
    let Some(hour) = hour else {
        return (sum.key.day.weekday(), 0);
    };
    let local = (midnight(sum.key.day) + TimeDelta::hours(hour.into())).with_timezone(&zone);
    (local.weekday(), local.hour())
}

/// The first day of the period that a day lies in.
fn begin(period: Dimension, day: NaiveDate) -> NaiveDate {
    match period {
        Dimension::Week => day.week(Weekday::Mon).first_day(),
        Dimension::Month => day.with_day(1).expect("every month has a first day"),
        _ => day,
    }
}

/// The period that is as many periods from that of `to` as the one of `day` is from that of `from`.
pub fn aligned(period: Dimension, day: NaiveDate, from: NaiveDate, to: NaiveDate) -> NaiveDate {
    let [day, from, to] = [day, from, to].map(|day| begin(period, day));
    if period != Dimension::Month {
        return to + (day - from);
    }
    let month = |day: NaiveDate| day.year() * 12 + day.month0() as i32;
    let months = month(day) - month(from);
    let step = Months::new(months.unsigned_abs());
    if months < 0 { to - step } else { to + step }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn date(text: &str) -> NaiveDate {
        text.parse().unwrap()
    }

    #[test]
    fn periods_begin_on_mondays_and_on_firsts() {
        // ISO week 2020-W53 ends on 3 January 2021; 2024-W01 begins in 2024, 2025-W01 in 2024.
        for (day, monday, first) in [
            ("2020-12-31", "2020-12-28", "2020-12-01"),
            ("2021-01-03", "2020-12-28", "2021-01-01"),
            ("2021-01-04", "2021-01-04", "2021-01-01"),
            ("2024-01-01", "2024-01-01", "2024-01-01"),
            ("2024-12-30", "2024-12-30", "2024-12-01"),
        ] {
            assert_eq!(begin(Dimension::Week, date(day)), date(monday), "{day}");
            assert_eq!(begin(Dimension::Month, date(day)), date(first), "{day}");
            assert_eq!(begin(Dimension::Day, date(day)), date(day));
        }
    }

    #[test]
    fn the_first_period_stands_beside_the_first() {
        let check = |period, day, from, to, wanted| {
            let found = aligned(period, date(day), date(from), date(to));
            assert_eq!(found, date(wanted), "{period:?} {day}");
            assert_eq!(
                aligned(period, found, date(to), date(from)),
                begin(period, date(day))
            );
        };
        // February of a leap year beside March: the 29th day beside the 29th.
        check(
            Dimension::Day,
            "2024-02-29",
            "2024-02-01",
            "2024-03-01",
            "2024-03-29",
        );
        check(
            Dimension::Day,
            "2023-12-31",
            "2023-01-01",
            "2024-01-01",
            "2024-12-30",
        );
        // Both begin within a week.
        check(
            Dimension::Week,
            "2020-12-30",
            "2020-12-30",
            "2021-01-06",
            "2021-01-04",
        );
        check(
            Dimension::Week,
            "2021-01-04",
            "2020-12-30",
            "2020-01-01",
            "2020-01-06",
        );
        check(
            Dimension::Month,
            "2025-01-31",
            "2024-11-15",
            "2023-12-31",
            "2024-02-01",
        );
        check(
            Dimension::Month,
            "2024-11-20",
            "2024-11-15",
            "2025-11-01",
            "2025-11-01",
        );
    }
}
