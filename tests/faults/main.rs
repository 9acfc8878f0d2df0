//! The fault suite: the services as processes of their own, under load and under fire, and an auditor who holds the
//! database against what must be true. Invariant: a run ends with exit code 0 only if nothing was violated.
//!
//! With FAULTS_KEEP set, what processes said in a scenario with violations stays in the temp folder.
//!
//! `faults [--seed N] [--scale small|full] [SCENARIO...]` runs scenarios and prints a table. The same program is the
//! services, too: called with `catalog`, `execution` or `reporting` it is that one.

mod audit;
mod chance;
mod load;
mod scenarios;
mod stage;
mod table;

use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;

use scenarios::{ALL, Call, Scale, Scenario};
use stage::Cluster;

/// Breaks the platform in every way that it must survive, and audits what is left.
#[derive(Debug, Parser)]
#[command(name = "faults")]
struct Args {
    /// Decides everything that is left to chance.
    #[arg(long, default_value_t = 1)]
    seed: u64,

    /// How much of everything: `small` takes a minute, `full` some twenty.
    #[arg(long, value_enum, default_value_t = Scale::Full)]
    scale: Scale,

    /// Scenarios that run at the same time, each on an installation of its own.
    #[arg(long, default_value_t = 1)]
    at_once: usize,

    /// Prints the names of the scenarios.
    #[arg(long)]
    list: bool,

    /// Which scenarios; all of them if none is named.
    scenarios: Vec<String>,
}

fn main() -> ExitCode {
    let service = std::env::args().nth(1);
    if service.is_some_and(|word| ["catalog", "execution", "reporting"].contains(&word.as_str())) {
        // A process that was stopped would not notice the end of the suite.
        let _ =
            rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL));
        return platform::cli::main();
    }
    let args = Args::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    let ended = runtime
        .map_err(anyhow::Error::from)
        .and_then(|runtime| tokio::task::LocalSet::new().block_on(&runtime, run(args)));
    match ended {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "faults: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Whether nothing was violated.
async fn run(args: Args) -> anyhow::Result<bool> {
    let mut out = std::io::stdout();
    if args.list {
        for scenario in ALL {
            writeln!(out, "{:<12} {}", scenario.name, scenario.about)?;
        }
        return Ok(true);
    }
    let mut chosen: Vec<&'static Scenario> = ALL.iter().collect();
    if !args.scenarios.is_empty() {
        for name in &args.scenarios {
            anyhow::ensure!(
                ALL.iter().any(|it| it.name == name),
                "there is no scenario {name}"
            );
        }
        chosen.retain(|it| args.scenarios.iter().any(|name| it.name == name));
    }
    let cluster = Arc::new(Cluster::start().await?);
    let call = |scenario: &'static Scenario| Call {
        scenario,
        cluster: Arc::clone(&cluster),
        seed: args.seed,
        scale: args.scale,
    };
    let mut rows = Vec::new();
    writeln!(out, "{}", table::head(args.seed))?;
    let mut playing = tokio::task::JoinSet::new();
    // Those that break the server break it for everybody, and come last.
    chosen.sort_by_key(|scenario| scenario.alone);
    let mut waiting = chosen.into_iter().peekable();
    while waiting.peek().is_some() || !playing.is_empty() {
        let room =
            |next: &&Scenario| playing.is_empty() || (!next.alone && playing.len() < args.at_once);
        if let Some(next) = waiting.next_if(room) {
            playing.spawn_local(call(next).play());
            continue;
        }
        if let Some(row) = playing.join_next().await {
            let row = row?;
            writeln!(out, "{}", table::line(&row))?;
            rows.push(row);
        }
    }
    write!(out, "{}", table::foot(&rows))?;
    Ok(rows.iter().all(|row| row.violations.is_empty()))
}
