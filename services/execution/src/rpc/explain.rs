//! Accounts of executions and simulations. Invariant: what is explained is what the logs say, of any page.

use chassis::input::Input;
use chassis::page::Page;
use chassis::{Error, Result, db};
use model::graph::Graph;
use model::json::{self, INPUT};
use model::wire;
use proto::execution::v1 as pb;
use uuid::Uuid;

use super::answer::{Filled, fill};
use super::view;
use crate::explain::{self, Choice};
use crate::state::Service;
use crate::store;
use crate::store::executions::{Execution, Wait};
use crate::store::logs::{Filter, Log, Place};

/// Answers ExplainExecution.
pub async fn of_request(
    service: &Service,
    body: pb::ExplainExecutionRequest,
) -> Result<pb::ExplainExecutionResponse> {
    let mut input = Input::new();
    let id = input.uuid("id", &body.id);
    input.finish()?;
    let query = ["ExplainExecution", &id.to_string()];
    let page = Page::parse(body.page_size, &body.page_token, &query)?;
    let after = page.after_number()?;
    let mut conn = db::acquire(&service.pool).await?;
    let found = store::executions::get(&mut conn, id).await?;
    let mut execution = found.ok_or_else(|| Error::not_found("execution", id))?;
    let graph = service
        .definitions
        .pinned(&mut conn, execution.workflow_id, execution.workflow_version)
        .await?;
    let waits = execution.waits.take().map(|waits| waits.0);
    let waits = waits.unwrap_or_default();
    let order = chassis::order::Order::up("seq");
    let place = Place { order, after };
    let filter = Filter::default();
    let rows = store::logs::list(&mut conn, id, &filter, place, page.limit + 1);
    let Filled { items, last } = fill(rows, page.limit, |row| {
        let wait = waits.iter().find(|wait| wait.id == row.id);
        (row.seq, entry(&row, wait, &graph))
    })
    .await?;
    Ok(pb::ExplainExecutionResponse {
        summary: summary(&execution, &waits, &graph),
        explanations: items,
        next_page_token: last.map(|seq| page.next_token(&[&seq])).unwrap_or_default(),
    })
}

/// One attempt, explained.
pub fn entry(log: &Log, wait: Option<&Wait>, graph: &Graph) -> pb::Explanation {
    let choices = explain::choices(graph, log.route.as_ref().map(|route| &route.0));
    let shown = wait.map(|wait| view::wait(wait, graph));
    let reason = shown.as_ref().map(|wait| wait.reason.as_str());
    let text = explain::text(graph, log, &choices, reason);
    let step = log.step_id.and_then(|id| graph.node_of(id));
    let step = step.map(|at| &graph.definition.steps[at]);
    pb::Explanation {
        seq: log.seq,
        step_id: log.step_id.map(|id| id.to_string()).unwrap_or_default(),
        step_name: step.map(|step| step.name.clone()).unwrap_or_default(),
        step_type: step.map(|step| step.step_type.clone()).unwrap_or_default(),
        activation: log.activation,
        attempt: log.attempt,
        status: view::step_status(&log.status).into(),
        error_code: log.error_code.clone().unwrap_or_default(),
        judged: choices.into_iter().map(judged).collect(),
        ends_by: wait
            .map(|wait| explain::ends_by(graph, wait))
            .unwrap_or_default(),
        wait: shown,
        text,
        from_seq: log.from_seq.unwrap_or_default(),
    }
}

fn judged(choice: Choice) -> pb::JudgedTransition {
    // As in the log: what is too deep or large for its reader is not shown.
    let seen = Some(choice.seen).filter(|seen| json::check_object(seen, INPUT).is_ok());
    pb::JudgedTransition {
        transition_id: choice
            .transition_id
            .as_ref()
            .map(Uuid::to_string)
            .unwrap_or_default(),
        to_step_name: choice.to,
        is_default: choice.is_default,
        holds: choice.holds,
        taken: choice.is_taken,
        condition: choice.condition,
        seen: seen
            .filter(|seen| !seen.is_empty())
            .map(|seen| wire::struct_from_json(&seen)),
        missing: choice.missing,
        error: choice.error,
    }
}

/// The execution as a whole.
fn summary(execution: &Execution, waits: &[Wait], graph: &Graph) -> String {
    let status = &execution.status;
    let why = match (&execution.error_code, &execution.error) {
        (Some(code), Some(error)) => format!(", as {code}: {}", model::text::clean(error, 300)),
        _ => String::new(),
    };
    let becomes = match &execution.closing_as {
        Some(closing) => format!(" and will be {closing} once what was done is undone"),
        None => String::new(),
    };
    // Many branches would make no sentence.
    let shown = waits.iter().take(MOST_TOLD).map(|wait| {
        let wait = view::wait(wait, graph);
        format!("{} waits for {}", wait.step_name, wait.reason)
    });
    let shown: Vec<String> = shown.collect();
    let more = match waits.len().saturating_sub(MOST_TOLD) {
        0 => String::new(),
        more => format!("; and {more} more"),
    };
    let waiting = match shown.is_empty() {
        true => String::new(),
        false => format!(": {}{more}", shown.join("; ")),
    };
    format!(
        "{} is {status}{becomes}{why}{waiting}.",
        graph.definition.name
    )
}

/// Waits that a summary names.
const MOST_TOLD: usize = 5;
