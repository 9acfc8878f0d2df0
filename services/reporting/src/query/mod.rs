//! Questions about figures, and their answers. Invariant: pure; what a row tells is derived from sums alone, never from
//! what another row tells.

mod difference;
mod key;
mod table;

use chrono::NaiveDate;
use chrono_tz::Tz;
use uuid::Uuid;

pub use difference::{Difference, differences};
pub use key::{Key, aligned};
pub use table::{Cell, MOST_ROWS, Row, Table, TooMany};

use crate::projection::figures::Grain;

/// What rows are made by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dimension {
    Workflow,
    Version,
    Client,
    Step,
    Transition,
    /// Of people.
    Group,
    Day,
    /// An ISO week.
    Week,
    Month,
    /// In the reader's time zone.
    Weekday,
    /// In the reader's time zone.
    Hour,
}

impl Dimension {
    /// Grains of their own: of these a question has one at most.
    pub const THINGS: [Self; 3] = [Self::Step, Self::Transition, Self::Group];
    /// Of these, too.
    pub const PERIODS: [Self; 3] = [Self::Day, Self::Week, Self::Month];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Workflow => "WORKFLOW",
            Self::Version => "VERSION",
            Self::Client => "CLIENT",
            Self::Step => "STEP",
            Self::Transition => "TRANSITION",
            Self::Group => "GROUP",
            Self::Day => "DAY",
            Self::Week => "WEEK",
            Self::Month => "MONTH",
            Self::Weekday => "WEEKDAY",
            Self::Hour => "HOUR",
        }
    }
}

/// What is asked.
#[derive(Debug, Clone)]
pub struct Question {
    pub group_by: Vec<Dimension>,
    pub zone: Tz,
    /// Empty: all; likewise the next two.
    pub workflow_ids: Vec<Uuid>,
    pub client_ids: Vec<Uuid>,
    pub step_ids: Vec<Uuid>,
    pub side: Side,
    /// What it is compared with.
    pub other: Option<Side>,
}

/// Of which days and versions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Side {
    pub first: NaiveDate,
    /// The first day after it.
    pub end: NaiveDate,
    /// Empty: all.
    pub versions: Vec<i32>,
}

impl Question {
    pub fn groups_by(&self, dimension: Dimension) -> bool {
        self.group_by.contains(&dimension)
    }

    /// Which figures answer it.
    pub fn grain(&self) -> Grain {
        if self.groups_by(Dimension::Step) {
            Grain::Step
        } else if self.groups_by(Dimension::Transition) {
            Grain::Transition
        } else if self.groups_by(Dimension::Group) {
            Grain::Group
        } else if self.needs_hours() {
            Grain::Hour
        } else {
            Grain::Execution
        }
    }

    /// Where in its keys the day, week or month stands.
    pub fn period(&self) -> Option<(usize, Dimension)> {
        let mut dimensions = self.group_by.iter().copied().enumerate();
        dimensions.find(|(_, own)| Dimension::PERIODS.contains(own))
    }

    /// Why no figures answer it.
    pub fn fault(&self) -> Option<String> {
        for alternatives in [Dimension::THINGS, Dimension::PERIODS] {
            let mut asked = self
                .group_by
                .iter()
                .filter(|own| alternatives.contains(own));
            if let (Some(one), Some(another)) = (asked.next(), asked.next()) {
                let (one, another) = (one.as_str(), another.as_str());
                return Some(match one == another {
                    true => format!("has {one} twice"),
                    false => format!("cannot have both {one} and {another}"),
                });
            }
        }
        for (at, own) in self.group_by.iter().enumerate() {
            if self.group_by[..at].contains(own) {
                return Some(format!("has {} twice", own.as_str()));
            }
        }
        let thing = self
            .group_by
            .iter()
            .find(|own| Dimension::THINGS.contains(own))?;
        let thing = thing.as_str();
        if self.groups_by(Dimension::Hour) {
            return Some(format!(
                "cannot have HOUR beside {thing}: only executions are counted by the hour"
            ));
        }
        self.needs_hours().then(|| {
            format!(
                "cannot have WEEKDAY beside {thing} in the time zone {}: only executions are counted by the hour; \
                 leave the time zone out for the weekdays of UTC",
                self.zone.name()
            )
        })
    }

    fn needs_hours(&self) -> bool {
        let shifts = self.groups_by(Dimension::Weekday) && self.zone != Tz::UTC;
        shifts || self.groups_by(Dimension::Hour)
    }
}
