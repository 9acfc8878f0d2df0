//! Approve, reject, cancel and time-out at the same moment, at two replicas; and a completion at the very end of its
//! lease. Invariant: one of them happens, and it is the one whose caller was told OK.

use std::sync::Arc;
use std::time::{Duration, Instant};

use proto::execution::v1::{
    ActivateJobsRequest, CancelExecutionRequest, CompleteJobRequest, StartExecutionRequest,
};

use super::Call;
use crate::chance::Chance;
use crate::load::{self, Completion, Decision, Everywhere, Fate, Ledger, Load, Start};
use crate::stage::{Props, Stage};
use crate::table::Row;

const AT_ONCE: u64 = 16;
const INSISTS: Duration = Duration::from_secs(60);

const JOB: &str = r#"
client: { name: Fault Works }
workflow: { name: Race for a job, status: ACTIVE }
steps:
  - { name: Run, stepType: race, config: { retry: { maxAttempts: 50, initialInterval: 1ms, maxInterval: 1ms } } }
"#;

pub async fn play(call: &Call) -> anyhow::Result<Row> {
    let mut stage = call.stage(&Props::default()).await?;
    for (n, execution) in stage.executions.iter_mut().enumerate() {
        let seed = call.seed + n as u64;
        execution.start_with(&format!(
            "timers.due=pause:100%30:{seed};committer.locked=pause:20%10:{seed};leasing.before_commit=pause:30%10:{seed}"
        ))?;
        execution.serving().await?;
    }
    let load = Load::helpers_but_people(&stage, call.seed);
    let (approval, job) = (
        stage
            .sessions
            .publish(&load::approval("Race", "250ms"))
            .await?,
        stage.sessions.publish(JOB).await?,
    );
    let rounds: u64 = call.small_or(48, 500);
    let mut racing = tokio::task::JoinSet::new();
    for n in 0..AT_ONCE {
        let mut race = Race {
            ledger: Arc::clone(&load.ledger),
            admin: stage.sessions.admin.clone(),
            people: stage.sessions.people.clone(),
            chance: Chance::part(call.seed, &format!("race {n}")),
        };
        let (approval, job) = (approval.clone(), job.clone());
        racing.spawn(async move {
            for round in 0..rounds / AT_ONCE {
                if round % 4 == 3 {
                    race.job(&job).await?;
                } else {
                    race.approval(&approval).await?;
                }
            }
            anyhow::Ok(())
        });
    }
    while let Some(raced) = racing.join_next().await {
        raced??;
    }
    finish(call, stage, load, rounds).await
}

async fn finish(call: &Call, stage: Stage, load: Load, rounds: u64) -> anyhow::Result<Row> {
    // Whatever nobody won is left to a worker who has time.
    let session = stage.sessions.admin[0].clone();
    let ledger = Arc::clone(&load.ledger);
    let rest = tokio::spawn(async move {
        let mut chance = Chance::new(0);
        loop {
            let leased = activate(&ledger, &session, "rest", Duration::from_secs(30)).await;
            for job in leased {
                complete(&ledger, &vec![session.clone()], ("rest", job), &mut chance).await;
            }
        }
    });
    let row = call.finish(stage, load, (rounds, Instant::now())).await;
    rest.abort();
    row
}

struct Race {
    ledger: Arc<Ledger>,
    admin: Everywhere,
    people: Vec<Everywhere>,
    chance: Chance,
}

impl Race {
    async fn start(
        &mut self,
        workflow_id: &str,
    ) -> anyhow::Result<proto::execution::v1::Execution> {
        let mark = load::request_id(&mut self.chance);
        let request = StartExecutionRequest {
            workflow_id: workflow_id.to_owned(),
            metadata: Some(load::input(&mark, 0)),
            request_id: mark.clone(),
            ..StartExecutionRequest::default()
        };
        let begin = |session: platform::client::Session| {
            let request = request.clone();
            async move { session.executions.clone().start_execution(request).await }
        };
        let own = (&self.admin, &mut self.chance);
        let started = self.ledger.insist(("start", INSISTS), own, begin).await;
        let outcome = started
            .as_ref()
            .map(|it| it.id.clone())
            .map_err(|fate| *fate);
        self.ledger.book().starts.push(Start { mark, outcome });
        started.map_err(|fate| anyhow::anyhow!("a start ended with {fate:?}"))
    }

    /// Three callers and the time-out.
    async fn approval(&mut self, workflow_id: &str) -> anyhow::Result<()> {
        let execution = self.start(workflow_id).await?;
        // A start that was told late has a task no more.
        let Some(task) = execution.waits.first().map(|wait| wait.id.clone()) else {
            return Ok(());
        };
        // Against each other, or against the timer too.
        let moment = if self.chance.percent(60) {
            200..300
        } else {
            0..15
        };
        let mut delay = || Duration::from_millis(self.chance.within(moment.clone()));
        let delays = [delay(), delay(), delay()];
        let mut chances = [(); 3].map(|()| Chance::new(self.chance.next()));
        let [first, second, third] = &mut chances;
        let (approved, rejected, cancelled) = tokio::join!(
            decide(
                &self.ledger,
                &self.people[0],
                (&task, true, delays[0]),
                first
            ),
            decide(
                &self.ledger,
                &self.people[1],
                (&task, false, delays[1]),
                second
            ),
            cancel(&self.ledger, &self.admin, (&execution.id, delays[2]), third),
        );
        let winners = [approved, rejected, cancelled]
            .iter()
            .filter(|won| **won)
            .count();
        if winners > 1 {
            let line = format!(
                "{} of approve {approved}, reject {rejected}, cancel {cancelled} of {} were OK",
                winners, execution.id
            );
            self.ledger.book().improper.push(line);
        }
        Ok(())
    }

    /// Completes at the end of the lease, while somebody else waits for the job.
    async fn job(&mut self, workflow_id: &str) -> anyhow::Result<()> {
        self.start(workflow_id).await?;
        let session = self.chance.pick(&self.admin).clone();
        let other = self.chance.pick(&self.admin).clone();
        let lease = Duration::from_secs(1);
        let jobs = activate(&self.ledger, &session, "first", lease).await;
        let moment = Instant::now() + lease - Duration::from_millis(20);
        let mut chance = Chance::new(self.chance.next());
        let waiting = async {
            let jobs = activate(&self.ledger, &other, "second", Duration::from_secs(5)).await;
            for job in jobs {
                complete(&self.ledger, &self.admin, ("second", job), &mut chance).await;
            }
        };
        let mut late = Chance::new(self.chance.next());
        let completing = async {
            for job in jobs {
                let moment = moment + Duration::from_millis(late.below(40));
                tokio::time::sleep_until(moment.into()).await;
                complete(&self.ledger, &self.admin, ("first", job), &mut late).await;
            }
        };
        tokio::join!(waiting, completing);
        Ok(())
    }
}

/// Whether it was done.
async fn decide(
    ledger: &Ledger,
    sessions: &Everywhere,
    (task, approved, delay): (&str, bool, Duration),
    chance: &mut Chance,
) -> bool {
    tokio::time::sleep(delay).await;
    let request_id = load::request_id(chance);
    let call = |session: platform::client::Session| {
        let (task, request_id) = (task.to_owned(), request_id.clone());
        async move { load::decide(&session, approved, task, request_id).await }
    };
    let decided: Result<_, Fate> = ledger
        .insist(("decide", INSISTS), (sessions, chance), call)
        .await;
    if decided.is_ok() {
        let decision = Decision {
            task: task.to_owned(),
            approved,
            by: sessions[0].email.clone(),
        };
        ledger.book().decisions.push(decision);
    }
    decided.is_ok()
}

async fn cancel(
    ledger: &Ledger,
    sessions: &Everywhere,
    (id, delay): (&str, Duration),
    chance: &mut Chance,
) -> bool {
    tokio::time::sleep(delay).await;
    let request = CancelExecutionRequest {
        id: id.to_owned(),
        reason: "faster".into(),
        request_id: load::request_id(chance),
        compensate: false,
    };
    let call = |session: platform::client::Session| {
        let request = request.clone();
        async move { session.executions.clone().cancel_execution(request).await }
    };
    let cancelled: Result<_, Fate> = ledger
        .insist(("cancel", INSISTS), (sessions, chance), call)
        .await;
    if cancelled.is_ok() {
        ledger.book().cancelled.push(id.to_owned());
    }
    cancelled.is_ok()
}

async fn activate(
    ledger: &Ledger,
    session: &platform::client::Session,
    worker: &str,
    lease: Duration,
) -> Vec<proto::execution::v1::Job> {
    let request = ActivateJobsRequest {
        worker: worker.to_owned(),
        job_types: vec!["race".into()],
        max_jobs: 1,
        lease_duration: prost_types::Duration::try_from(lease).ok(),
        wait_timeout: prost_types::Duration::try_from(Duration::from_millis(1200)).ok(),
    };
    let leased = ledger
        .call("activate", session.jobs.clone().activate_jobs(request))
        .await;
    let jobs = leased.map(|leased| leased.jobs).unwrap_or_default();
    for job in &jobs {
        *ledger
            .book()
            .effects
            .entry(job.idempotency_key.clone())
            .or_default() += 1;
    }
    jobs
}

async fn complete(
    ledger: &Ledger,
    sessions: &Everywhere,
    (worker, job): (&str, proto::execution::v1::Job),
    chance: &mut Chance,
) {
    let mark = load::request_id(chance);
    let output = serde_json::json!({ "mark": mark });
    let request = CompleteJobRequest {
        job_id: job.id.clone(),
        worker: worker.to_owned(),
        output: output.as_object().map(model::wire::struct_from_json),
        request_id: mark.clone(),
    };
    let call = |session: platform::client::Session| {
        let request = request.clone();
        async move { session.jobs.clone().complete_job(request).await }
    };
    let completed: Result<_, Fate> = ledger
        .insist(("complete", INSISTS), (sessions, chance), call)
        .await;
    if completed.is_ok() {
        let job = job.id;
        ledger.book().completions.push(Completion { job, mark });
    }
}
