//! Where an attempt's time went. Invariant: the phases of an attempt are never negative and add up to the time
//! from its becoming visible to its end, whatever the clocks said.

use std::fmt;

use model::event::{Cause, StepFinished};
use serde::de::{MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::number::Millis;

/// What a stretch of time was spent on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Backing off after a failed attempt.
    BackingOff,
    /// Waiting for a lock.
    Locked,
    /// A job that no worker has taken yet.
    Queued,
    /// A worker is at it.
    Worked,
    /// A task that nobody has claimed yet.
    Unassigned,
    /// A person is at it.
    WithPerson,
    /// Waiting for an instant.
    Timer,
    /// Waiting for a message.
    Signal,
    /// Waiting for other branches.
    Join,
    /// Waiting for other executions, or for the items of a list.
    Children,
    /// Waiting for an operator.
    Incident,
    /// In the engine.
    Engine,
}

impl Phase {
    pub const ALL: [Self; 12] = [
        Self::BackingOff,
        Self::Locked,
        Self::Queued,
        Self::Worked,
        Self::Unassigned,
        Self::WithPerson,
        Self::Timer,
        Self::Signal,
        Self::Join,
        Self::Children,
        Self::Incident,
        Self::Engine,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::BackingOff => "backingOff",
            Self::Locked => "locked",
            Self::Queued => "queued",
            Self::Worked => "worked",
            Self::Unassigned => "unassigned",
            Self::WithPerson => "withPerson",
            Self::Timer => "timer",
            Self::Signal => "signal",
            Self::Join => "join",
            Self::Children => "children",
            Self::Incident => "incident",
            Self::Engine => "engine",
        }
    }

    fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|phase| phase.as_str() == word)
    }
}

/// Microseconds by phase.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Phases([u128; Phase::ALL.len()]);

impl Phases {
    /// Those of one attempt. An attempt that ends before it was its turn was only ever in its first phase.
    pub fn of(step: &StepFinished) -> Self {
        let micros = [
            Some(step.queued_at),
            Some(step.available_at),
            step.assigned_at,
            Some(step.completed_at),
        ]
        .map(|instant| instant.map(|instant| instant.timestamp_micros()));
        let [Some(queued), Some(available), assigned, Some(completed)] = micros else {
            unreachable!("only the assignment may be missing");
        };
        let end = completed.max(queued);
        let available = available.clamp(queued, end);
        // What nobody has taken was waited for until its end.
        let assigned = assigned.map_or(end, |assigned| assigned.clamp(available, end));
        let before = if step.locked {
            Phase::Locked
        } else {
            Phase::BackingOff
        };
        let (free, taken) = match step.cause {
            Cause::Job => (Phase::Queued, Phase::Worked),
            Cause::Person => (Phase::Unassigned, Phase::WithPerson),
            Cause::Timer => (Phase::Timer, Phase::Timer),
            Cause::Signal => (Phase::Signal, Phase::Signal),
            Cause::Join => (Phase::Join, Phase::Join),
            Cause::Children => (Phase::Children, Phase::Children),
            Cause::Incident => (Phase::Incident, Phase::Incident),
            Cause::Engine => (Phase::Engine, Phase::Engine),
        };
        let mut phases = Self::default();
        phases.add(before, available.abs_diff(queued));
        phases.add(free, assigned.abs_diff(available));
        phases.add(taken, end.abs_diff(assigned));
        phases
    }

    pub fn get(&self, phase: Phase) -> u128 {
        self.0[phase as usize]
    }

    pub fn merge(&mut self, other: &Self) {
        for (own, other) in self.0.iter_mut().zip(&other.0) {
            *own += other;
        }
    }

    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|micros| *micros == 0)
    }

    /// Only what people are responsible for.
    pub fn of_people(&self) -> Self {
        let mut people = Self::default();
        for phase in [Phase::Unassigned, Phase::WithPerson] {
            people.0[phase as usize] = self.get(phase);
        }
        people
    }

    /// The phases that took any time.
    pub fn taken(&self) -> impl Iterator<Item = (Phase, Millis)> {
        let all = Phase::ALL.into_iter().zip(self.0);
        all.filter(|(_, micros)| *micros > 0)
            .map(|(phase, micros)| (phase, Millis(micros)))
    }

    fn add(&mut self, phase: Phase, micros: u64) {
        self.0[phase as usize] += u128::from(micros);
    }
}

/// As an object of whole microseconds, without the phases that took no time.
impl Serialize for Phases {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        write(self, serializer, |time| time.0)
    }
}

impl<'de> Deserialize<'de> for Phases {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Object(|micros: u128| micros))
    }
}

/// The same in milliseconds, as reports tell times.
pub mod in_millis {
    use super::*;

    pub fn serialize<S: Serializer>(phases: &Phases, serializer: S) -> Result<S::Ok, S::Error> {
        write(phases, serializer, |time| time)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Phases, D::Error> {
        deserializer.deserialize_map(Object(|time: Millis| time.0))
    }
}

fn write<S: Serializer, T: Serialize>(
    phases: &Phases,
    serializer: S,
    as_written: impl Fn(Millis) -> T,
) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(None)?;
    for (phase, time) in phases.taken() {
        map.serialize_entry(phase.as_str(), &as_written(time))?;
    }
    map.end()
}

/// Reads phases from what was written for their times.
struct Object<T>(fn(T) -> u128);

impl<'de, T: Deserialize<'de>> Visitor<'de> for Object<T> {
    type Value = Phases;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of times by phase")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Phases, A::Error> {
        let mut phases = Phases::default();
        while let Some((word, time)) = map.next_entry::<String, T>()? {
            let phase = Phase::parse(&word)
                .ok_or_else(|| serde::de::Error::custom(format!("there is no phase {word}")))?;
            phases.0[phase as usize] = (self.0)(time);
        }
        Ok(phases)
    }
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, Utc};
    use model::status::StepStatus;
    use uuid::Uuid;

    use super::*;

    fn at(second: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_700_000_000 + second, 0).unwrap()
    }

    fn step(cause: Cause, times: [Option<i64>; 4]) -> StepFinished {
        let [queued, available, assigned, completed] = times.map(|second| second.map(at));
        StepFinished {
            step_id: Uuid::nil(),
            status: StepStatus::Completed,
            activation: 1,
            attempt: 1,
            queued_at: queued.unwrap(),
            available_at: available.unwrap(),
            locked: false,
            assigned_at: assigned,
            completed_at: completed.unwrap(),
            error_code: None,
            taken_transition_ids: Vec::new(),
            took_default: false,
            will_retry: false,
            cause,
            group: None,
            target: None,
            taken_over: false,
        }
    }

    fn check(step: &StepFinished, want: &[(Phase, u128)]) {
        let seconds: Vec<_> = Phases::of(step)
            .taken()
            .map(|(phase, time)| (phase, time.0 / 1_000_000))
            .collect();
        assert_eq!(seconds, want);
    }

    #[test]
    fn time_is_split_by_what_it_was_spent_on() {
        let times = [Some(0), Some(10), Some(13), Some(20)];
        check(
            &step(Cause::Job, times),
            &[
                (Phase::BackingOff, 10),
                (Phase::Queued, 3),
                (Phase::Worked, 7),
            ],
        );
        check(
            &step(Cause::Person, [Some(0), Some(0), Some(5), Some(6)]),
            &[(Phase::Unassigned, 5), (Phase::WithPerson, 1)],
        );
        let mut locked = step(Cause::Job, times);
        locked.locked = true;
        assert_eq!(Phases::of(&locked).get(Phase::Locked), 10_000_000);
        let unclaimed = [Some(0), Some(0), None, Some(9)];
        check(&step(Cause::Person, unclaimed), &[(Phase::Unassigned, 9)]);
        check(&step(Cause::Timer, unclaimed), &[(Phase::Timer, 9)]);
    }

    #[test]
    fn clocks_that_disagree_neither_make_nor_lose_time() {
        // Withdrawn while it was backing off; taken before it was free; ended before it began.
        for times in [
            [Some(0), Some(60), None, Some(9)],
            [Some(0), Some(5), Some(2), Some(9)],
            [Some(0), Some(5), Some(70), Some(9)],
            [Some(9), Some(5), Some(2), Some(0)],
        ] {
            let step = step(Cause::Job, times);
            let sum: u128 = Phases::of(&step).taken().map(|(_, time)| time.0).sum();
            let whole = (step.completed_at - step.queued_at).num_microseconds();
            assert_eq!(sum, u128::try_from(whole.unwrap().max(0)).unwrap());
        }
    }

    #[test]
    fn phases_come_back_from_both_forms() {
        let times = [Some(0), Some(1), Some(3), Some(6)];
        let phases = Phases::of(&step(Cause::Job, times));
        let text = serde_json::to_string(&phases).unwrap();
        assert_eq!(
            text,
            r#"{"backingOff":1000000,"queued":2000000,"worked":3000000}"#
        );
        assert_eq!(serde_json::from_str::<Phases>(&text).unwrap(), phases);
        let mut json = serde_json::Serializer::new(Vec::new());
        in_millis::serialize(&phases, &mut json).unwrap();
        let text = String::from_utf8(json.into_inner()).unwrap();
        assert_eq!(text, r#"{"backingOff":1000,"queued":2000,"worked":3000}"#);
        let mut read = serde_json::Deserializer::from_str(&text);
        assert_eq!(in_millis::deserialize(&mut read).unwrap(), phases);
    }
}
