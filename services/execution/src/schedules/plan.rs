//! Which instants a schedule has. A pure function of its expression, its time zone and its bounds.
//! Invariant: every instant comes after the one before it, so that none counts twice.

use chrono::{
    DateTime, Datelike, LocalResult, NaiveDate, NaiveDateTime, TimeDelta, TimeZone, Timelike, Utc,
};
use chrono_tz::Tz;

use super::cron::{Cron, MOST_DAYS};

/// When clocks go back by more, what comes first in an hour may come after what comes first in the next ones.
const LONGEST_REPEAT: u32 = 3;
/// No gap between clocks is longer: one that was a whole day moved islands across the date line.
const LONGEST_GAP: TimeDelta = TimeDelta::hours(25);

/// When a schedule starts executions.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    pub cron: Cron,
    pub zone: Tz,
    pub start_at: Option<DateTime<Utc>>,
    pub end_at: Option<DateTime<Utc>>,
}

impl Plan {
    /// The first instant after `after`; none if it has ended.
    pub fn next(&self, after: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let first = self.start_at.map(|at| at - TimeDelta::microseconds(1));
        let after = first.map_or(after, |first| after.max(first));
        let local = after.with_timezone(&self.zone).naive_local();
        let days = local.date().iter_days().take(MOST_DAYS);
        let mut named = days.filter(|date| self.cron.has_day(*date));
        let next = named.find_map(|date| self.first_of(date, local, after))?;
        // What comes later is no Timestamp.
        let is_kept = next.year() <= 9999 && self.end_at.is_none_or(|end| next < end);
        is_kept.then_some(next)
    }

    /// The first instant of a day after `after`, when clocks show `local`.
    fn first_of(
        &self,
        date: NaiveDate,
        local: NaiveDateTime,
        after: DateTime<Utc>,
    ) -> Option<DateTime<Utc>> {
        let mut first: Option<(u32, DateTime<Utc>)> = None;
        // Of today only what may come again, and what is still to come.
        let passed = |hour: &u32| date == local.date() && hour + LONGEST_REPEAT < local.hour();
        for hour in self.cron.hours().skip_while(passed) {
            if first.is_some_and(|(found, _)| hour > found + LONGEST_REPEAT) {
                break;
            }
            let times = self.cron.times(hour).map(|time| date.and_time(time));
            let instants = times.flat_map(|local| self.instants(local));
            let next = instants.filter(|at| *at > after).min();
            first = match (first, next) {
                (Some((found, at)), Some(next)) => Some((found, at.min(next))),
                (None, Some(next)) => Some((hour, next)),
                (found, None) => found,
            };
        }
        first.map(|(_, at)| at)
    }

    /// The instants at which clocks show a time: none in a gap, two where they go back.
    fn instants(&self, local: NaiveDateTime) -> Vec<DateTime<Utc>> {
        match self.zone.from_local_datetime(&local) {
            LocalResult::Single(at) => vec![at.to_utc()],
            LocalResult::Ambiguous(first, _) if self.cron.is_fixed() => vec![first.to_utc()],
            LocalResult::Ambiguous(first, second) => vec![first.to_utc(), second.to_utc()],
            LocalResult::None if self.cron.is_fixed() => {
                self.after_gap(local).into_iter().collect()
            }
            LocalResult::None => Vec::new(),
        }
    }

    /// The instant at which clocks go forward across a time.
    fn after_gap(&self, local: NaiveDateTime) -> Option<DateTime<Utc>> {
        let mut beyond = local;
        while beyond < local + LONGEST_GAP {
            beyond += TimeDelta::minutes(1);
            if let Some(at) = self.zone.from_local_datetime(&beyond).earliest() {
                return Some(at.to_utc());
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(cron: &str, zone: &str) -> Plan {
        Plan {
            cron: Cron::parse(cron).unwrap_or_else(|wrong| panic!("{cron}: {wrong}")),
            zone: zone.parse().expect(zone),
            start_at: None,
            end_at: None,
        }
    }

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().expect(text)
    }

    fn following(plan: &Plan, after: &str, count: usize) -> Vec<String> {
        let mut after = at(after);
        let mut found = Vec::new();
        while found.len() < count {
            let Some(next) = plan.next(after) else { break };
            assert!(next > after);
            after = next;
            found.push(next.format("%FT%RZ").to_string());
        }
        found
    }

    #[test]
    fn instants_follow_the_expression() {
        let check = |cron: &str, after: &str, want: &[&str]| {
            let plan = plan(cron, "UTC");
            assert_eq!(following(&plan, after, want.len()), want, "{cron}");
        };
        check(
            "* * * * *",
            "2026-01-01T00:00:30Z",
            &["2026-01-01T00:01Z", "2026-01-01T00:02Z"],
        );
        check("30 8 * * *", "2026-01-01T08:30:00Z", &["2026-01-02T08:30Z"]);
        check(
            "*/15 9-10 * * 1-5",
            "2026-01-02T10:31:00Z",
            &["2026-01-02T10:45Z", "2026-01-05T09:00Z"],
        );
        check(
            "5/20 0 * * *",
            "2026-01-01T00:00:00Z",
            &[
                "2026-01-01T00:05Z",
                "2026-01-01T00:25Z",
                "2026-01-01T00:45Z",
            ],
        );
        check(
            "0 12 * JAN,jul MON",
            "2026-01-27T00:00:00Z",
            &["2026-07-06T12:00Z"],
        );
        check(
            "0 0 29 2 *",
            "2026-01-01T00:00:00Z",
            &["2028-02-29T00:00Z", "2032-02-29T00:00Z"],
        );
        check("0 0 29 2 *", "2096-03-01T00:00:00Z", &["2104-02-29T00:00Z"]);
        check(
            "0 0 29 2 */6",
            "2085-01-01T00:00:00Z",
            &["2088-02-29T00:00Z"],
        );
        check("0 0 31 * *", "2026-01-31T00:00:00Z", &["2026-03-31T00:00Z"]);
        // Either day will do, unless one begins with a star.
        check(
            "0 0 13 * FRI",
            "2026-02-07T00:00:00Z",
            &["2026-02-13T00:00Z", "2026-02-20T00:00Z"],
        );
        check(
            "0 0 */2 * FRI",
            "2026-02-07T00:00:00Z",
            &["2026-02-13T00:00Z", "2026-02-27T00:00Z"],
        );
        check("0 0 * * 7", "2026-01-01T00:00:00Z", &["2026-01-04T00:00Z"]);
        check("@weekly", "2026-01-01T00:00:00Z", &["2026-01-04T00:00Z"]);
        check("@HOURLY", "2026-01-01T00:00:00Z", &["2026-01-01T01:00Z"]);
        check("@annually", "2026-01-01T00:00:00Z", &["2027-01-01T00:00Z"]);
        check(
            "59 23 31 12 *",
            "9999-01-01T00:00:00Z",
            &["9999-12-31T23:59Z"],
        );
    }

    #[test]
    fn clocks_that_change_leave_nothing_out_and_do_nothing_twice() {
        let check = |cron: &str, zone: &str, after: &str, want: &[&str]| {
            let plan = plan(cron, zone);
            assert_eq!(following(&plan, after, want.len()), want, "{cron} {zone}");
        };
        // Spring: 02:00 becomes 03:00 in Berlin on 29 March 2026, at 01:00 UTC.
        let spring = "2026-03-28T12:00:00Z";
        check(
            "30 2 * * *",
            "Europe/Berlin",
            spring,
            &["2026-03-29T01:00Z", "2026-03-30T00:30Z"],
        );
        check(
            "0,20 2 * * *",
            "Europe/Berlin",
            spring,
            &["2026-03-29T01:00Z", "2026-03-30T00:00Z"],
        );
        check(
            "0 2,3 * * *",
            "Europe/Berlin",
            spring,
            &["2026-03-29T01:00Z", "2026-03-30T00:00Z"],
        );
        check(
            "30 * * * *",
            "Europe/Berlin",
            "2026-03-29T00:00:00Z",
            &["2026-03-29T00:30Z", "2026-03-29T01:30Z"],
        );
        check(
            "*/30 2 * * *",
            "Europe/Berlin",
            spring,
            &["2026-03-30T00:00Z", "2026-03-30T00:30Z"],
        );
        // Autumn: 03:00 becomes 02:00 in Berlin on 25 October 2026, at 01:00 UTC.
        let autumn = "2026-10-24T12:00:00Z";
        check(
            "30 2 * * *",
            "Europe/Berlin",
            autumn,
            &["2026-10-25T00:30Z", "2026-10-26T01:30Z"],
        );
        check(
            "30 * * * *",
            "Europe/Berlin",
            "2026-10-25T00:00:00Z",
            &[
                "2026-10-25T00:30Z",
                "2026-10-25T01:30Z",
                "2026-10-25T02:30Z",
            ],
        );
        check(
            "*/30 2 * * *",
            "Europe/Berlin",
            autumn,
            &[
                "2026-10-25T00:00Z",
                "2026-10-25T00:30Z",
                "2026-10-25T01:00Z",
                "2026-10-25T01:30Z",
                "2026-10-26T01:00Z",
            ],
        );
        // Half an hour back, in the middle of an hour; two hours back; back across midnight; a day that was left out.
        check(
            "*/30 1 * * *",
            "Australia/Lord_Howe",
            "2026-04-04T00:00:00Z",
            &[
                "2026-04-04T14:00Z",
                "2026-04-04T14:30Z",
                "2026-04-04T15:00Z",
                "2026-04-05T14:30Z",
            ],
        );
        check(
            "30 * * * *",
            "Antarctica/Troll",
            "2026-10-24T23:00:00Z",
            &[
                "2026-10-24T23:30Z",
                "2026-10-25T00:30Z",
                "2026-10-25T01:30Z",
                "2026-10-25T02:30Z",
                "2026-10-25T03:30Z",
            ],
        );
        check(
            "15 * * * *",
            "America/Sao_Paulo",
            "2018-02-18T00:30:00Z",
            &[
                "2018-02-18T01:15Z",
                "2018-02-18T02:15Z",
                "2018-02-18T03:15Z",
            ],
        );
        check(
            "0 12 * * *",
            "Pacific/Apia",
            "2011-12-29T23:00:00Z",
            &["2011-12-30T10:00Z", "2011-12-30T22:00Z"],
        );
        check(
            "0 8 * * *",
            "Asia/Kathmandu",
            "2026-01-01T00:00:00Z",
            &["2026-01-01T02:15Z"],
        );
    }

    #[test]
    fn bounds_hold() {
        let mut plan = plan("0 * * * *", "UTC");
        plan.start_at = Some(at("2026-01-01T12:00:00Z"));
        plan.end_at = Some(at("2026-01-01T14:00:00Z"));
        let all = following(&plan, "2020-01-01T00:00:00Z", 9);
        assert_eq!(all, ["2026-01-01T12:00Z", "2026-01-01T13:00Z"]);
        let never = Plan {
            end_at: None,
            ..plan
        };
        assert_eq!(never.next(at("9999-12-31T23:59:59Z")), None);
    }

    #[test]
    fn what_is_no_expression_is_refused() {
        for (text, want) in [
            ("", "0 fields"),
            ("* * * *", "4 fields"),
            ("0 * * * * *", "6 fields"),
            ("@reboot", "1 fields"),
            ("60 * * * *", "`60` is no minute"),
            ("* 24 * * *", "no hour"),
            ("* * 0 * *", "no day of month"),
            ("* * * 13 *", "no month"),
            ("* * * * 8", "no day of week"),
            ("*/0 * * * *", "`*/0`"),
            ("5-1 * * * *", "`5-1`"),
            ("1, * * * *", "`` is no minute"),
            ("+1 * * * *", "`+1`"),
            ("** * * * *", "`**`"),
            ("1-2-3 * * * *", "`1-2-3`"),
            ("1/2/3 * * * *", "`1/2/3`"),
            ("* * * JANUARY *", "`JANUARY`"),
            ("99999999999 * * * *", "no minute"),
            ("0 0 30 2 *", "never comes"),
            ("0 0 31 4,6,9,11 *", "never comes"),
            (&"1,".repeat(200), "characters"),
        ] {
            let wrong = Cron::parse(text).expect_err(text);
            assert!(wrong.contains(want), "{text}: {wrong}");
        }
        assert!(Cron::parse("0 0 30 2 MON").is_ok(), "Mondays come");
    }
}
