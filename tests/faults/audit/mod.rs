//! The auditor: holds the database against what must be true and against what callers were told. Invariant: it shares
//! no code with the services; its SQL and its sums are its own.

mod answers;
mod executions;
mod processes;
mod reports;
mod settled;
mod stuck;

pub use settled::{settled, until_settled};
pub use stuck::why;

use sqlx::postgres::PgPoolOptions;
use sqlx::{Executor, PgPool};

use crate::load::Ledger;
use crate::stage::Stage;

/// A query that returns a line of text for each row that breaks a rule.
pub struct Rule {
    /// The rule, as an absence.
    pub none: &'static str,
    pub sql: &'static str,
}

/// Lines of one kind that are told; the rest are counted.
const TOLD: usize = 5;

/// Installs what notes forbidden changes at the moment when they happen.
pub async fn watch(admin: &PgPool) -> anyhow::Result<()> {
    admin.execute(include_str!("triggers.sql")).await?;
    Ok(())
}

/// Everything that is wrong.
pub async fn violations(stage: &Stage, ledger: &Ledger) -> anyhow::Result<Vec<String>> {
    let mut found = Vec::new();
    // Sessions that a killed server left in the pool are no use here.
    let admin = PgPoolOptions::new().max_connections(2);
    let admin = admin
        .connect_with((*stage.admin.connect_options()).clone())
        .await?;
    for rule in executions::RULES.iter().chain(reports::RULES) {
        let broken: Vec<String> = sqlx::query_scalar(rule.sql).fetch_all(&admin).await?;
        tell(&mut found, rule.none, broken);
    }
    tell(
        &mut found,
        "unfounded answer",
        answers::check(&admin, ledger).await?,
    );
    tell(
        &mut found,
        "improper answer",
        std::mem::take(&mut ledger.book().improper),
    );
    tell(&mut found, "process in disorder", processes::check(stage)?);
    admin.close().await;
    Ok(found)
}

fn tell(found: &mut Vec<String>, none: &str, broken: Vec<String>) {
    let more = broken.len().saturating_sub(TOLD);
    found.extend(
        broken
            .into_iter()
            .take(TOLD)
            .map(|line| format!("{none}: {line}")),
    );
    if more > 0 {
        found.push(format!("{none}: {more} more"));
    }
}
