//! The auditor audited: what no fault brought about is planted by hand, and must be found. Invariant: an auditor that
//! finds nothing here finds nothing anywhere.

use std::time::Instant;

use anyhow::ensure;
use sqlx::Executor;

use super::{Call, PATIENCE};
use crate::audit;
use crate::load::{self, Completion, Decision, Load, Plan, Start};
use crate::stage::Props;
use crate::table::Row;

/// What is broken, and what the auditor must say.
const PLANTED: &[(&str, &str)] = &[
    (
        "update execution.workflow_executions set error = 'planted'
          where id = (select id from execution.workflow_executions where status = 'COMPLETED' limit 1)",
        "row that changed though it was final",
    ),
    (
        "delete from execution.execution_logs
          where id = (select id from execution.execution_logs where seq = 1 and event_seq is not null limit 1)",
        "execution whose logs have gaps in seq",
    ),
    (
        "update execution.execution_logs set attempt = 9
          where id = (select id from execution.execution_logs where seq = 2 and event_seq is not null limit 1)",
        "activation whose attempts are not 1..n",
    ),
    (
        "update execution.workflow_executions set event_count = event_count + 1
          where id = (select id from execution.workflow_executions where status = 'COMPLETED' limit 1)",
        "execution whose events are not numbered",
    ),
    (
        "insert into execution.waits (id, execution_id, workflow_id, client_id, step_id, kind, created_at, arrived_at,
                                      available_at)
         select gen_random_uuid(), id, workflow_id, client_id, gen_random_uuid(), 'timer', now(), now(), now()
           from execution.workflow_executions where status = 'COMPLETED' limit 1",
        "execution that is over and still waits",
    ),
    (
        "insert into execution.workflow_executions (id, workflow_id, client_id, workflow_version, metadata)
         select gen_random_uuid(), workflow_id, client_id, 1, metadata
           from execution.workflow_executions where metadata ? 'mark' limit 1",
        "two executions of one request",
    ),
    ("select 1", "open execution without a reason"),
    (
        "update reporting.figures set figures = jsonb_set(figures, '{total}', '77')
          where (workflow_id, day, kind, key) =
                (select workflow_id, day, kind, key from reporting.figures where kind = 'execution' limit 1)",
        "day's figures that differ",
    ),
    (
        "update reporting.workflow_reports set metrics = jsonb_set(metrics, '{totalExecutions}', '77')
          where id = (select id from reporting.workflow_reports where report_type = 'weekly' limit 1)",
        "day, week or month that is not the sum",
    ),
    (
        "update reporting.workflow_reports set applied_seq = applied_seq + 1
          where id = (select id from reporting.workflow_reports where report_type = 'execution' limit 1)",
        "execution whose report is missing or differs",
    ),
    (
        "update reporting.workflow_reports set metrics = jsonb_set(metrics, '{steps}', '{}')
          where id = (select id from reporting.workflow_reports
                       where report_type = 'execution' and metrics -> 'steps' <> '{}' limit 1)",
        "step of an execution's report that differs",
    ),
    (
        "insert into reporting.parked_rows (row_id, payload, error) values (gen_random_uuid(), '', 'planted')",
        "event that was set aside",
    ),
];

pub async fn play(call: &Call) -> anyhow::Result<Row> {
    let mut stage = call.stage(&Props::default()).await?;
    let mut load = Load::begin(&stage, call.seed, &Plan::of(60)).await?;
    load.all_started().await?;
    let settled = audit::until_settled(&stage.admin, Instant::now(), PATIENCE).await?;
    let ledger = load.end().await?;
    let before = audit::violations(&stage, &ledger).await?;
    ensure!(before.is_empty(), "before anything was planted: {before:?}");

    stage.reporting.kill()?;
    for execution in &mut stage.executions {
        execution.kill()?;
    }
    let lies = load::Ledger::default();
    lie(&lies);
    for (sql, _) in PLANTED {
        stage.admin.execute(*sql).await?;
    }
    let found = audit::violations(&stage, &lies).await?;
    let said = [
        "completing",
        "Decision",
        "start",
        "begun 2 times",
        "cancelling",
    ];
    let said = said.map(|word| (word, "unfounded answer"));
    for (word, none) in PLANTED.iter().map(|(_, none)| ("", *none)).chain(said) {
        let is_found = found
            .iter()
            .any(|line| line.starts_with(none) && line.contains(word));
        ensure!(is_found, "nobody found: {none} {word}, only {found:#?}");
    }
    let left = audit::settled(&stage.admin).await?;
    ensure!(
        left.contains("1 executions open"),
        "the open one is not seen: {left}"
    );
    let why = audit::why(&stage.admin).await?;
    ensure!(
        why.iter().any(|line| line.contains("NO WAIT")),
        "nobody says why: {why:?}"
    );
    let executions = sqlx::query_scalar("select count(*) from execution.workflow_executions");
    let executions = executions.fetch_one(&stage.admin).await?;
    stage.strike().await?;
    Ok(Row {
        faults: (PLANTED.len() + said.len()) as u64,
        executions,
        recovery: settled.ok(),
        ..Row::default()
    })
}

/// Answers that nobody got.
fn lie(ledger: &load::Ledger) {
    let nobody = uuid::Uuid::nil().to_string();
    let mut book = ledger.book();
    book.starts.push(Start {
        mark: nobody.clone(),
        outcome: Ok(nobody.clone()),
    });
    book.completions.push(Completion {
        job: nobody.clone(),
        mark: nobody.clone(),
    });
    book.decisions.push(Decision {
        task: nobody.clone(),
        approved: true,
        by: nobody.clone(),
    });
    book.cancelled.push(nobody.clone());
    book.effects.insert(nobody, 2);
}
