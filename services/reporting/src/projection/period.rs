//! The periods of reports, their bounds and ids.
//! Invariant: periods are half-open UTC ranges of whole days; every day lies in exactly one of each kind.

use std::collections::BTreeSet;

use chrono::{DateTime, Datelike, Days, Months, NaiveDate, NaiveTime, Utc, Weekday};
use uuid::Uuid;

/// Never to be changed: every report's id is made within it.
const NAMESPACE: Uuid = Uuid::from_u128(0x8a4d_6a0e_58f3_4f6b_9c1c_2f7e_0d35_b1a2);

/// What a report is about. The words are the schema's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ReportType {
    Daily,
    /// An ISO week: Monday to Sunday.
    Weekly,
    Monthly,
    Execution,
}

impl ReportType {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Daily => "daily",
            Self::Weekly => "weekly",
            Self::Monthly => "monthly",
            Self::Execution => "execution",
        }
    }

    pub fn parse(word: &str) -> Option<Self> {
        [Self::Daily, Self::Weekly, Self::Monthly, Self::Execution]
            .into_iter()
            .find(|kind| kind.as_str() == word)
    }
}

/// Some days in a row, of one workflow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Period {
    pub workflow_id: Uuid,
    pub report_type: ReportType,
    pub first: NaiveDate,
    /// The first day after it.
    pub end: NaiveDate,
}

impl Period {
    /// The day, the week and the month that a day lies in.
    pub fn of_day(workflow_id: Uuid, day: NaiveDate) -> [Self; 3] {
        let monday = day.week(Weekday::Mon).first_day();
        let first = day.with_day(1).expect("every month has a first day");
        let make = |report_type, first, end| Self {
            workflow_id,
            report_type,
            first,
            end,
        };
        [
            make(ReportType::Daily, day, day + Days::new(1)),
            make(ReportType::Weekly, monday, monday + Days::new(7)),
            make(ReportType::Monthly, first, first + Months::new(1)),
        ]
    }

    pub fn id(&self) -> Uuid {
        let (report_type, first) = (self.report_type.as_str(), self.first);
        let name = format!("{}/{report_type}/{first}", self.workflow_id);
        Uuid::new_v5(&NAMESPACE, name.as_bytes())
    }

    pub fn days(&self) -> impl Iterator<Item = NaiveDate> {
        let end = self.end;
        self.first.iter_days().take_while(move |day| *day < end)
    }
}

/// The id of one execution's report. It does not depend on the execution's row, which may be purged.
pub fn execution_report_id(execution_id: Uuid) -> Uuid {
    Uuid::new_v5(&NAMESPACE, execution_id.as_bytes())
}

/// The UTC day that an execution is counted in.
pub fn cohort(started_at: DateTime<Utc>) -> NaiveDate {
    started_at.date_naive()
}

pub fn midnight(day: NaiveDate) -> DateTime<Utc> {
    day.and_time(NaiveTime::MIN).and_utc()
}

/// The periods that have to be written anew when the figures of these days changed.
pub fn touched(days: &[(Uuid, NaiveDate)]) -> BTreeSet<Period> {
    days.iter()
        .flat_map(|(workflow_id, day)| Period::of_day(*workflow_id, *day))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(day: &str, monday: &str, first: &str, next: &str) {
        let date = |text: &str| text.parse::<NaiveDate>().unwrap();
        let [daily, weekly, monthly] = Period::of_day(Uuid::nil(), date(day));
        assert_eq!((daily.first, daily.days().count()), (date(day), 1));
        assert_eq!((weekly.first, weekly.days().count()), (date(monday), 7));
        assert_eq!((monthly.first, monthly.end), (date(first), date(next)));
        let holds = |period: Period| period.days().any(|own| own == date(day));
        assert!(holds(weekly) && holds(monthly));
    }

    #[test]
    fn days_lie_in_their_iso_week_and_month() {
        // A Sunday: the last day of 2020-W53.
        check("2021-01-03", "2020-12-28", "2021-01-01", "2021-02-01");
        check("2021-01-04", "2021-01-04", "2021-01-01", "2021-02-01");
        check("2024-02-29", "2024-02-26", "2024-02-01", "2024-03-01");
        check("2024-12-31", "2024-12-30", "2024-12-01", "2025-01-01");
    }

    #[test]
    fn ids_are_stable_and_distinct() {
        let day = "2026-11-22".parse().unwrap();
        let ids: BTreeSet<_> = Period::of_day(Uuid::nil(), day)
            .iter()
            .map(Period::id)
            .chain([execution_report_id(Uuid::nil())])
            .collect();
        assert_eq!(ids.len(), 4);
        // Stored reports are found by it: it must never come out differently.
        let daily = Period::of_day(Uuid::nil(), day)[0].id();
        assert_eq!(daily.to_string(), "f8985f76-a6dc-5c17-8b42-0596b8ff340b");
    }

    #[test]
    fn the_last_microsecond_of_a_day_belongs_to_it() {
        let last: DateTime<Utc> = "2021-01-03T23:59:59.999999Z".parse().unwrap();
        assert_eq!(cohort(last).to_string(), "2021-01-03");
        assert_eq!(cohort(midnight(cohort(last))), cohort(last));
    }
}
