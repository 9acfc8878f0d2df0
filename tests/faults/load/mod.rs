//! Honest work: callers that start and signal, workers, people who decide. Invariant: what they do is a function of
//! the seed and of what they are given; every answer they get is in the ledger.

mod callers;
mod definitions;
mod ledger;
mod people;
mod streams;
mod workers;

pub use callers::{input, request_id};
pub use definitions::{Definition, Kind, approval, publish};
pub use ledger::{Completion, Decision, Fate, Ledger, Start};
pub use people::decide;

use std::sync::Arc;
use std::time::Duration;

use platform::client::Session;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::chance::Chance;
use crate::stage::Stage;

/// One caller at every replica.
pub type Everywhere = Vec<Session>;

/// How much of what.
#[derive(Debug, Clone)]
pub struct Plan {
    pub starts: u64,
    /// Callers that start at the same time.
    pub callers: u64,
    pub kinds: &'static [Kind],
    /// Between two starts of one caller, at most.
    pub pause: Duration,
}

impl Plan {
    pub fn of(starts: u64) -> Self {
        Self {
            starts,
            callers: 8,
            kinds: Kind::ALL,
            pause: Duration::from_millis(40),
        }
    }
}

/// Work that is under way.
pub struct Load {
    pub ledger: Arc<Ledger>,
    callers: JoinSet<()>,
    helpers: JoinSet<()>,
    enough: watch::Sender<bool>,
    done: watch::Sender<bool>,
}

impl Load {
    /// Publishes the definitions and begins.
    pub async fn begin(stage: &Stage, seed: u64, plan: &Plan) -> anyhow::Result<Self> {
        let definitions = Arc::new(publish(&stage.sessions, plan.kinds).await?);
        let mut load = Self::helpers(stage, seed);
        load.start(stage, seed, plan, &definitions);
        Ok(load)
    }

    /// Workers and people, and nobody who starts anything.
    pub fn helpers(stage: &Stage, seed: u64) -> Self {
        Self::helping(stage, seed, true)
    }

    /// Workers alone.
    pub fn helpers_but_people(stage: &Stage, seed: u64) -> Self {
        Self::helping(stage, seed, false)
    }

    fn helping(stage: &Stage, seed: u64, with_people: bool) -> Self {
        let (done, watching) = watch::channel(false);
        let (enough, _) = watch::channel(false);
        let ledger = Arc::new(Ledger::default());
        let mut helpers = JoinSet::new();
        for n in 0..4 {
            let chance = Chance::part(seed, &format!("worker {n}"));
            let worker = workers::Worker {
                name: format!("worker-{n}"),
                sessions: stage.sessions.admin.clone(),
                ledger: Arc::clone(&ledger),
                seed,
            };
            if n % 2 == 0 {
                helpers.spawn(worker.work(chance, watching.clone()));
            } else {
                helpers.spawn(streams::work(worker, chance, watching.clone()));
            }
        }
        let people = stage.sessions.people.iter().filter(|_| with_people);
        for (n, sessions) in people.enumerate() {
            let chance = Chance::part(seed, &format!("person {n}"));
            let person = people::Person {
                sessions: sessions.clone(),
                ledger: Arc::clone(&ledger),
            };
            helpers.spawn(person.work(chance, watching.clone()));
        }
        Self {
            ledger,
            callers: JoinSet::new(),
            helpers,
            enough,
            done,
        }
    }

    /// Adds callers.
    pub fn start(
        &mut self,
        stage: &Stage,
        seed: u64,
        plan: &Plan,
        definitions: &Arc<Vec<Definition>>,
    ) {
        for n in 0..plan.callers {
            let caller = callers::Caller {
                sessions: stage.sessions.admin.clone(),
                ledger: Arc::clone(&self.ledger),
                definitions: Arc::clone(definitions),
                pause: plan.pause,
            };
            let share = plan.starts / plan.callers + u64::from(n < plan.starts % plan.callers);
            let chance = Chance::part(seed, &format!("caller {n}"));
            self.callers
                .spawn(caller.work(share, chance, self.enough.subscribe()));
        }
    }

    /// Executions whose start was answered, one way or another.
    pub fn started(&self) -> usize {
        self.ledger.book().starts.len()
    }

    /// Nobody begins another call.
    pub fn stop_starting(&self) {
        self.enough.send_replace(true);
    }

    /// Waits until everything has been started, or everybody has stopped.
    pub async fn all_started(&mut self) -> anyhow::Result<()> {
        while let Some(ended) = self.callers.join_next().await {
            ended?;
        }
        Ok(())
    }

    /// Sends workers and people home.
    pub async fn end(mut self) -> anyhow::Result<Arc<Ledger>> {
        self.all_started().await?;
        self.done.send_replace(true);
        while let Some(ended) = self.helpers.join_next().await {
            ended?;
        }
        Ok(self.ledger)
    }
}
