//! How many statements a commit of the engine takes, by listening to its own traces. Invariant: every statement
//! between a transaction's begin and its end counts, whichever the engine sends by then.

use std::fmt::Debug;
use std::sync::{Arc, Mutex};

use proto::catalog::v1::Workflow;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry};

use super::limit::at_most;
use super::{drive, say};
use crate::client::Session;

const LIMIT: f64 = 10.0;

/// Statements of commits that have ended.
#[derive(Debug, Default, Clone, Copy)]
struct Tally {
    commits: u32,
    statements: u32,
    most: u32,
}

/// Statements of a commit under way; in its span.
#[derive(Default)]
struct UnderWay(u32);

struct Listener(Arc<Mutex<Tally>>);

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Listener {
    fn on_new_span(&self, span: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        if span.metadata().name() == "commit"
            && let Some(span) = context.span(id)
        {
            span.extensions_mut().insert(UnderWay::default());
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut statement = Statement::default();
        event.record(&mut statement);
        for span in context.event_scope(event).into_iter().flatten() {
            if let Some(UnderWay(count)) = span.extensions_mut().get_mut() {
                *count += u32::from(statement.is_one && !statement.is_bound);
            }
        }
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        let Some(span) = context.span(&id) else {
            return;
        };
        let ended = span.extensions_mut().remove::<UnderWay>();
        if let Some(UnderWay(count)) = ended {
            let mut tally = self.0.lock().expect("no holder of this lock panics");
            tally.commits += 1;
            tally.statements += count;
            tally.most = tally.most.max(count);
        }
    }
}

/// Whether an event tells of a statement.
#[derive(Default)]
struct Statement {
    is_one: bool,
    /// It begins or ends the transaction.
    is_bound: bool,
}

impl Visit for Statement {
    fn record_str(&mut self, field: &Field, value: &str) {
        let is_bound = ["begin", "commit", "rollback"]
            .iter()
            .any(|word| value.starts_with(word));
        self.is_bound |= field.name() == "summary" && is_bound;
    }

    fn record_debug(&mut self, field: &Field, _: &dyn Debug) {
        self.is_one |= field.name() == "rows_affected";
    }
}

/// Counts over runs of five steps and of five jobs; the engine runs in this process.
pub async fn measure(
    sessions: &[Session],
    (steps, jobs): (&Workflow, &Workflow),
    (step_runs, job_runs, in_flight): (usize, usize, usize),
) -> anyhow::Result<()> {
    let tally = Arc::new(Mutex::new(Tally::default()));
    // From here on it costs something to tell of every statement: nothing is measured by the clock any more.
    let told = Targets::new()
        .with_target("sqlx::query", Level::DEBUG)
        .with_target("execution::committer", Level::INFO);
    Registry::default()
        .with(Listener(tally.clone()).with_filter(told))
        .try_init()?;
    let take = || std::mem::take(&mut *tally.lock().expect("no holder of this lock panics"));
    drive::steps(sessions, steps, step_runs, in_flight).await?;
    line(take(), "five steps", in_flight)?;
    drive::jobs(sessions, jobs, job_runs, in_flight).await?;
    line(take(), "five jobs", in_flight)
}

fn line(tally: Tally, of: &str, in_flight: usize) -> anyhow::Result<()> {
    let mean = f64::from(tally.statements) / f64::from(tally.commits.max(1));
    let what = format!(
        "statements with rows in a commit of {of} at {in_flight} in flight, {mean:.1} on average of {} commits",
        tally.commits
    );
    say(&at_most(f64::from(tally.most), LIMIT, &what))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_of_commits_count_and_no_others() {
        let tally = Arc::new(Mutex::new(Tally::default()));
        let registry = Registry::default().with(Listener(tally.clone()));
        tracing::subscriber::with_default(registry, || {
            let statement = |summary| {
                tracing::debug!(target: "sqlx::query", summary, rows_affected = 1);
            };
            statement("select 1");
            for count in [2, 3] {
                let commit = tracing::info_span!("commit");
                let _inside = commit.enter();
                statement("begin; set local x");
                for _ in 0..count {
                    statement("-- execution.write");
                }
                statement("commit");
                tracing::info!("something else");
            }
        });
        let tally = *tally.lock().unwrap();
        assert_eq!((tally.commits, tally.statements, tally.most), (2, 5, 3));
    }
}
