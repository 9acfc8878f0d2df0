//! Running a definition without effects: others answer as they are told to, and time jumps.
//! Invariant: the semantics are the engine's alone; this only supplies the answers, in the order of their time.

mod answering;
mod coverage;
mod mocks;
#[cfg(test)]
mod tests;

use chrono::{DateTime, Utc};
use model::graph::Graph;
use model::json;
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::engine::{self, Branch, Change, Command, Execution, Hold};

pub use coverage::{Coverage, Exercise};
pub use mocks::{Mock, Mocks};

/// What one simulation may come to: it is kept in memory until it is over, and a start stores it at once.
/// Every activation that an execution can have is allowed, if few of its attempts fail.
pub const MOST_ATTEMPTS: usize = 20_000;
pub const MOST_BYTES: usize = 16 * 1024 * 1024;

/// A simulation has more attempts or larger outputs than that.
#[derive(Debug, PartialEq, thiserror::Error)]
#[error("the simulation comes to more than {MOST_ATTEMPTS} attempts, or 16 MiB of outputs")]
pub struct TooLarge;

/// When something happens to a branch, if nothing else does before. The earliest comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment {
    pub at: DateTime<Utc>,
    /// Orders what happens at the same instant.
    pub rank: i32,
}

/// Those who move a simulated execution on.
pub trait Others {
    /// Takes note of the branches, before it is asked about them.
    fn notice(&mut self, branches: &[Branch]);
    /// When something happens to this branch.
    fn when(&self, branch: &Branch) -> Moment;
    /// What happens to this branch at that moment. None: nobody knows, and the simulation ends here.
    fn act(&mut self, branch: &mut Branch, now: DateTime<Utc>) -> Option<Command>;
}

/// How far a simulation came.
#[derive(Debug)]
pub struct Played {
    pub execution: Execution,
    pub change: Change,
    /// The seq of the branch about which nobody knew how it goes on.
    pub stuck: Option<i32>,
}

/// A finished simulation.
#[derive(Debug)]
pub struct Simulated {
    pub execution: Execution,
    pub change: Change,
    pub coverage: Coverage,
}

/// Runs `graph` from `input` to its end, with the answers of `mocks`.
pub fn run(
    graph: &Graph,
    input: Map<String, Value>,
    mocks: &Mocks,
    now: DateTime<Utc>,
) -> Result<Simulated, TooLarge> {
    let execution = engine::begin(graph, Uuid::now_v7(), input, now);
    let played = play(graph, execution, &mut mocks.answering(graph))?;
    assert!(
        played.stuck.is_none(),
        "only branches that are there are answered"
    );
    let coverage = Coverage::of(graph, &played.change);
    Ok(Simulated {
        execution: played.execution,
        change: played.change,
        coverage,
    })
}

/// Runs an execution that has not begun, until it is over or nobody knows how it goes on.
pub fn play(
    graph: &Graph,
    mut execution: Execution,
    others: &mut impl Others,
) -> Result<Played, TooLarge> {
    let mut change = Change::default();
    let mut command = Command::Start;
    let mut time = execution.started_at;
    let (mut ended, mut bytes) = (0, 0);
    let mut stuck = None;
    loop {
        if engine::advance(graph, &mut execution, command, time, &mut change).is_err() {
            // What the others do is not possible here; a refused command has changed nothing.
            break;
        }
        stuck = None;
        bytes += outputs(&change, ended);
        ended = change.finished.len();
        if ended > MOST_ATTEMPTS || bytes > MOST_BYTES {
            return Err(TooLarge);
        }
        if execution.status.is_final() {
            break;
        }
        others.notice(&execution.branches);
        let moments = execution.branches.iter_mut().map(|branch| {
            let moment = others.when(branch);
            (moment, branch.seq, branch)
        });
        let next = moments.min_by_key(|(moment, seq, _)| (*moment, *seq));
        let (moment, seq, branch) = next.expect("an open execution has a branch");
        time = time.max(moment.at);
        stuck = Some(seq);
        match others.act(branch, time) {
            Some(next) => command = next,
            None => break,
        }
    }
    // Nothing is stored of what has effects elsewhere.
    change.notifications.clear();
    change.messages.clear();
    Ok(Played {
        execution,
        change,
        stuck,
    })
}

/// Bytes of what the logs hold that ended after the first `ended` ones.
fn outputs(change: &Change, ended: usize) -> usize {
    let logs = change.finished.iter().skip(ended);
    logs.filter_map(|seq| change.logs[seq].data.as_ref())
        .map(|data| json::measure(data, json::INPUT).unwrap_or(json::INPUT.bytes))
        .sum()
}

/// What a lease makes of a job's branch. `deadline` is the end of its timeout.
pub fn take_up(branch: &mut Branch, from: DateTime<Utc>, deadline: Option<DateTime<Utc>>) {
    branch.times.assigned_at = Some(from);
    branch.times.started_at = from;
    if let Hold::Job {
        held_by,
        lease_until,
        wake_at,
        ..
    } = &mut branch.hold
    {
        *held_by = Some("simulation/simulation".to_owned());
        // It is extended for as long as it takes.
        *lease_until = Some(DateTime::<Utc>::MAX_UTC);
        *wake_at = deadline;
    }
}
