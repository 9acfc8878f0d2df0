//! Answers against rows. Invariant: who was told OK finds it done, who was refused finds nothing, and who was told
//! nothing finds it done once or not at all.

use std::collections::HashMap;

use sqlx::PgPool;
use uuid::Uuid;

use crate::load::{Fate, Ledger};

/// What an audited log says.
#[derive(sqlx::FromRow)]
struct Log {
    id: String,
    status: String,
    mark: Option<String>,
    approved: Option<String>,
    approver: Option<String>,
}

pub async fn check(admin: &PgPool, ledger: &Ledger) -> sqlx::Result<Vec<String>> {
    let marked: Vec<(String, Uuid, String)> = sqlx::query_as(
        "select metadata ->> 'mark', id, status::text from execution.workflow_executions where metadata ? 'mark'",
    )
    .fetch_all(admin)
    .await?;
    let rows: Vec<Log> = sqlx::query_as(
        "select id::text, status::text as status, data ->> 'mark' as mark, data ->> 'approved' as approved,
                data ->> 'approver' as approver
           from execution.execution_logs",
    )
    .fetch_all(admin)
    .await?;
    let logs: HashMap<String, Log> = rows.into_iter().map(|log| (log.id.clone(), log)).collect();
    let keys: Vec<String> = sqlx::query_scalar(
        "select concat_ws('/', execution_id, step_id, activation, attempt) from execution.execution_logs",
    )
    .fetch_all(admin)
    .await?;
    let mut found = starts(ledger, &marked);
    found.extend(answers(ledger, &logs));
    found.extend(effects(ledger, &keys));
    Ok(found)
}

fn starts(ledger: &Ledger, marked: &[(String, Uuid, String)]) -> Vec<String> {
    let by_mark: HashMap<&str, &(String, Uuid, String)> =
        marked.iter().map(|row| (row.0.as_str(), row)).collect();
    let statuses: HashMap<String, &str> = marked
        .iter()
        .map(|(_, id, status)| (id.to_string(), status.as_str()))
        .collect();
    let book = ledger.book();
    let mut found = Vec::new();
    for start in &book.starts {
        let row = by_mark.get(start.mark.as_str());
        let id = row.map(|(_, id, _)| id.to_string());
        match (&start.outcome, id) {
            (Ok(told), Some(id)) if *told == id => {}
            (Ok(told), id) => found.push(format!("start {told} was OK, but there is {id:?}")),
            (Err(Fate::Refused(code)), Some(id)) => {
                found.push(format!(
                    "a start was refused with {code:?}, but there is {id}"
                ));
            }
            (Err(_), _) => {}
        }
    }
    for id in &book.cancelled {
        match statuses.get(id) {
            Some(&"CANCELLED") => {}
            status => found.push(format!("cancelling {id} was OK, but it is {status:?}")),
        }
    }
    found
}

fn answers(ledger: &Ledger, logs: &HashMap<String, Log>) -> Vec<String> {
    let book = ledger.book();
    let mut found = Vec::new();
    for completion in &book.completions {
        let log = logs.get(&completion.job);
        let holds = log.is_some_and(|log| {
            log.status == "COMPLETED" && log.mark.as_ref() == Some(&completion.mark)
        });
        if !holds {
            let status = log.map(|log| log.status.as_str());
            found.push(format!(
                "completing {} was OK, but it is {status:?}",
                completion.job
            ));
        }
    }
    for decision in &book.decisions {
        let log = logs.get(&decision.task);
        let holds = log.is_some_and(|log| {
            log.status == "COMPLETED"
                && log.approved.as_deref() == Some(if decision.approved { "true" } else { "false" })
                && log.approver.as_ref() == Some(&decision.by)
        });
        if !holds {
            let told = log.map(|log| (&log.status, &log.approved, &log.approver));
            found.push(format!("{decision:?} was OK, but the log says {told:?}"));
        }
    }
    found
}

/// Work that a worker began is an attempt that there is, and was begun once.
fn effects(ledger: &Ledger, keys: &[String]) -> Vec<String> {
    let keys: std::collections::HashSet<&str> = keys.iter().map(String::as_str).collect();
    let book = ledger.book();
    let effects = book.effects.iter();
    let wrong = effects.filter(|(key, count)| **count != 1 || !keys.contains(key.as_str()));
    wrong
        .map(|(key, count)| {
            format!(
                "work {key} was begun {count} times, attempt known: {}",
                keys.contains(key.as_str())
            )
        })
        .collect()
}
