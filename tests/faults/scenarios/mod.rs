//! The ways in which the platform is broken, one file each. Invariant: each scenario ends with the audit, and says how
//! long it took until everything was well again.

mod blackhole;
mod clocks;
mod endurance;
mod frozen;
mod generated;
mod overload;
mod panics;
mod planted;
mod points;
mod races;
mod rebuilds;
mod reporting;
mod restarts;
mod server;
mod sessions;
mod timers;
mod vanishing;

use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::audit;
use crate::chance::Chance;
use crate::load::{Ledger, Load, Plan};
use crate::stage::{Cluster, Props, Stage};
use crate::table::Row;

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Scale {
    /// A minute in all, for every run of the tests.
    Small,
    /// Some twenty minutes.
    Full,
    /// The same, and reporting away for ten minutes.
    Long,
}

type Played<'a> = Pin<Box<dyn Future<Output = anyhow::Result<Row>> + 'a>>;

pub struct Scenario {
    pub name: &'static str,
    pub about: &'static str,
    /// Whether it breaks what others stand on.
    pub alone: bool,
    play: fn(&Call) -> Played<'_>,
}

macro_rules! scenario {
    ($module:ident, $about:literal) => {
        scenario!($module, $about, false)
    };
    ($module:ident, $about:literal, $alone:literal) => {
        Scenario {
            name: stringify!($module),
            about: $about,
            alone: $alone,
            play: |call| Box::pin($module::play(call)),
        }
    };
}

/// In the order in which they are played: those that wait most come first.
pub const ALL: &[Scenario] = &[
    scenario!(
        blackhole,
        "connections to the database and to reporting that go silent without an end"
    ),
    scenario!(
        endurance,
        "a definition of 200 steps while replicas and reporting are killed"
    ),
    scenario!(clocks, "replicas whose clocks are an hour off"),
    scenario!(
        points,
        "kill -9 at every commit, answer, send and acknowledgement"
    ),
    scenario!(restarts, "replicas killed or told to stop again and again"),
    scenario!(
        frozen,
        "a replica that stands still past its leases, and wakes"
    ),
    scenario!(
        vanishing,
        "callers that leave after 1 to 60 ms; two connections, 20 ms away"
    ),
    scenario!(sessions, "database sessions ended at random"),
    scenario!(
        races,
        "approve, reject, cancel, time-out and completion at the same moment"
    ),
    scenario!(
        reporting,
        "reporting killed, away, and fed everything twice by two senders"
    ),
    scenario!(
        rebuilds,
        "reports spoiled by hand, and a rebuild killed at each of its points"
    ),
    scenario!(
        timers,
        "a storm of timers in one second, and a kill in the middle"
    ),
    scenario!(overload, "ten times as many starts as can be done"),
    scenario!(panics, "a panic in each background loop"),
    scenario!(
        planted,
        "violations planted by hand, which the auditor must find"
    ),
    scenario!(server, "PostgreSQL killed and restarted, and away", true),
];

/// How a scenario is asked for.
pub struct Call {
    pub scenario: &'static Scenario,
    pub cluster: Arc<Cluster>,
    pub seed: u64,
    pub scale: Scale,
}

impl Call {
    /// What cannot be played to its end is a violation, too.
    pub async fn play(self) -> Row {
        let begun = Instant::now();
        let played = (self.scenario.play)(&self).await;
        let mut row = played.unwrap_or_else(|error| Row {
            violations: vec![format!("could not be played to its end: {error:#}")],
            ..Row::default()
        });
        row.scenario = self.scenario.name;
        row.took = begun.elapsed();
        row
    }

    pub fn small_or<T>(&self, small: T, full: T) -> T {
        match self.scale {
            Scale::Small => small,
            Scale::Full | Scale::Long => full,
        }
    }

    pub fn chance(&self) -> Chance {
        Chance::part(self.seed, self.scenario.name)
    }

    /// Load for as long as a scenario takes. At small scale many scenarios share two processors.
    pub fn plan(&self) -> Plan {
        Plan {
            callers: self.small_or(3, 8),
            pause: Duration::from_millis(self.small_or(200, 40)),
            ..Plan::of(u64::MAX)
        }
    }

    pub async fn stage(&self, props: &Props) -> anyhow::Result<Stage> {
        let database = format!("faults_{}", self.scenario.name);
        Stage::set(&self.cluster, &database, props).await
    }

    /// Waits until the dust has settled, audits and clears away.
    pub async fn finish(
        &self,
        stage: Stage,
        mut load: Load,
        (faults, last_fault): (u64, Instant),
    ) -> anyhow::Result<Row> {
        load.stop_starting();
        load.all_started().await?;
        let settled = audit::until_settled(&stage.admin, last_fault, PATIENCE).await?;
        let ledger = load.end().await?;
        self.close(stage, &ledger, faults, settled).await
    }

    /// The same when nobody works any more.
    pub async fn close(
        &self,
        stage: Stage,
        ledger: &Ledger,
        faults: u64,
        settled: Result<Duration, Vec<String>>,
    ) -> anyhow::Result<Row> {
        let mut violations = audit::violations(&stage, ledger).await?;
        let recovery = match settled {
            Ok(time) => Some(time),
            Err(stuck) => {
                violations.extend(stuck);
                None
            }
        };
        let count = "select count(*) from execution.workflow_executions";
        let executions = sqlx::query_scalar(count).fetch_one(&stage.admin).await?;
        let row = Row {
            faults,
            executions,
            recovery,
            violations,
            ..answered(ledger)
        };
        if std::env::var_os("FAULTS_KEEP").is_some() && !row.violations.is_empty() {
            keep_logs(&stage)?;
        }
        stage.strike().await?;
        Ok(row)
    }
}

fn answered(ledger: &Ledger) -> Row {
    let book = ledger.book();
    Row {
        ok: book.ok,
        refused: book.refused,
        unknown: book.unknown,
        ..Row::default()
    }
}

/// Leaves what processes said where somebody can read it.
fn keep_logs(stage: &Stage) -> anyhow::Result<()> {
    for (name, process) in stage.processes() {
        let path = std::env::temp_dir().join(format!("{}-{name}.log", stage.database));
        std::fs::write(path, process.log()?)?;
    }
    Ok(())
}

/// The longest that recovery may take on a slow machine, timers of the workflows included. A connection that says
/// nothing is given up after half a minute, and so is a transaction that nobody ends.
const PATIENCE: Duration = Duration::from_secs(150);
