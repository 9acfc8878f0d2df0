//! `bench catalog`: what people and tools ask the catalog for all day, one caller and many, each beside an
//! echo of the same size in the same run; then lists of very many rows.

use anyhow::Context;
use prost::Message;
use proto::catalog::v1::{
    ApplyWorkflowRequest, GetWorkflowRequest, ListWorkflowsRequest, Workflow,
};
use serde_json::json;

use super::calls::{self, Load, Sizes};
use super::echo::Echo;
use super::{CHANNELS, lists, say, sign_in};
use crate::Running;
use crate::client::{Session, again};

/// Callers at the same time, after one alone.
const MANY: usize = 64;

/// Measures the catalog on a database of its own that is thrown away afterwards.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Calls of each kind that reads; a tenth of it for documents of 500 steps.
    #[arg(long, default_value_t = 2_000, value_parser = clap::value_parser!(u32).range(10..))]
    calls: u32,

    /// Clients, and as many workflows, in the lists of very many rows.
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u32).range(1000..=10_000_000))]
    rows: u32,
}

pub async fn measure(args: &Args, running: &Running) -> anyhow::Result<()> {
    let sessions = sign_in(running).await?;
    let echo = Echo::start(CHANNELS).await?;
    say(&format!(
        "{:<52}callers  calls a second, duration of a call beside an echo of its size",
        "call"
    ))?;
    let calls = args.calls as usize;
    let small = Documents::prepare(&sessions, 10).await?;
    read(&sessions, &echo, &small, calls).await?;
    write(&sessions, &echo, &small, calls).await?;
    let large = Documents::prepare(&sessions, 500).await?;
    write(&sessions, &echo, &large, calls / 10).await?;
    let url = running
        .private_database_url
        .as_deref()
        .context("the server is private")?;
    lists::measure(&sessions[0], &echo, url, args.rows).await
}

/// Workflows of so many steps, one for each caller: editors of one take turns.
struct Documents {
    steps: usize,
    applied: Vec<Workflow>,
}

impl Documents {
    async fn prepare(sessions: &[Session], steps: usize) -> anyhow::Result<Self> {
        let mut applied = Vec::new();
        for caller in 0..MANY {
            let document = document(steps, caller, "as it was");
            applied.push(super::apply(&sessions[0], &document).await?);
        }
        Ok(Self { steps, applied })
    }
}

fn document(steps: usize, caller: usize, description: &str) -> String {
    let step = |n: usize| {
        let text = if n == 0 {
            description
        } else {
            "A step of many"
        };
        json!({
            "key": format!("s{n}"), "name": format!("Step {n}"), "description": text,
            "stepType": "approval", "order": n, "config": { "timeout": "48h", "approverRole": "managers" },
        })
    };
    let transition = |n: usize| json!({ "from": format!("s{n}"), "to": format!("s{}", n + 1), "isDefault": true });
    let document = json!({
        "client": { "name": "Benchmark" },
        "workflow": { "name": format!("{steps} steps of caller {caller}") },
        "steps": (0..steps).map(step).collect::<Vec<_>>(),
        "transitions": (1..steps).map(|n| transition(n - 1)).collect::<Vec<_>>(),
    });
    document.to_string()
}

async fn read(
    sessions: &[Session],
    echo: &Echo,
    documents: &Documents,
    calls: usize,
) -> anyhow::Result<()> {
    for callers in [1, MANY] {
        let load = Load { calls, callers };
        let (own, ids) = (sessions.to_vec(), ids(documents));
        let got = calls::beside_echo(echo, load, move |caller, _| {
            let mut client = own[caller % own.len()].workflows.clone();
            let id = ids[caller % ids.len()].clone();
            async move {
                let request = GetWorkflowRequest { id };
                let asked = request.encoded_len();
                let answer = client.get_workflow(request).await?.into_inner();
                anyhow::Ok((asked, answer.encoded_len()))
            }
        });
        say(&got.await?.line("GetWorkflow, 10 steps", callers))?;
        let own = sessions.to_vec();
        let listed = calls::beside_echo(echo, load, move |caller, _| {
            let mut client = own[caller % own.len()].workflows.clone();
            async move {
                let request = ListWorkflowsRequest::default();
                let asked = request.encoded_len();
                let answer = client.list_workflows(request).await?.into_inner();
                anyhow::Ok((asked, answer.encoded_len()))
            }
        });
        say(&listed.await?.line("ListWorkflows, 50 a page", callers))?;
    }
    Ok(())
}

fn ids(documents: &Documents) -> Vec<String> {
    let ids = documents.applied.iter().map(|workflow| workflow.id.clone());
    ids.collect()
}

async fn write(
    sessions: &[Session],
    echo: &Echo,
    documents: &Documents,
    calls: usize,
) -> anyhow::Result<()> {
    let steps = documents.steps;
    for callers in [1, MANY] {
        let load = Load {
            calls: calls.max(callers),
            callers,
        };
        let own = sessions.to_vec();
        let same = calls::beside_echo(echo, load, move |caller, _| {
            apply(&own, caller, document(steps, caller, "as it was"))
        });
        let what = format!("ApplyWorkflow, {steps} steps, nothing changed");
        say(&same.await?.line(&what, callers))?;
        let own = sessions.to_vec();
        let changed = calls::beside_echo(echo, load, move |caller, n| {
            let description = format!("change {n} of {callers}");
            apply(&own, caller, document(steps, caller, &description))
        });
        let what = format!("ApplyWorkflow, {steps} steps, one changed");
        say(&changed.await?.line(&what, callers))?;
        // As it was, for the next round.
        for caller in 0..callers {
            apply(sessions, caller, document(steps, caller, "as it was")).await?;
        }
    }
    Ok(())
}

fn apply(
    sessions: &[Session],
    caller: usize,
    document: String,
) -> impl Future<Output = anyhow::Result<Sizes>> + Send + use<> {
    let client = sessions[caller % sessions.len()].workflows.clone();
    async move {
        let request = ApplyWorkflowRequest {
            document,
            ..ApplyWorkflowRequest::default()
        };
        let asked = request.encoded_len();
        // Under as many writers a call may be told to come again: then that is part of how long it takes.
        let answer = again(&client, &request, |mut client, request| async move {
            client.apply_workflow(request).await
        })
        .await?;
        Ok((asked, answer.encoded_len()))
    }
}
