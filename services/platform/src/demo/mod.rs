//! `workflow-platform demo`: what the platform is for, in half a minute. People decide, a worker
//! answers, some things go wrong, and the reports tell. The demo is a gRPC client and nothing else: it
//! calls no code of the services and reads no table of theirs.

mod accounts;
mod answers;
mod cases;
mod people;
mod reports;
mod starts;
mod tables;
mod tally;
mod worker;

use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use chassis::Shutdown;
use chassis::telemetry::{self, Logs};
use proto::execution::v1::CheckExecutionsRequest;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::admin::Admin;
use crate::{AllConfig, Running};
pub use cases::DOCUMENTS;

use crate::client::{Services, Session, again};
use people::Person;
use reports::Findings;
use tally::{Progress, Tally};

/// Nothing moving for so long means that nothing will; the longest back-off of the demo is 2 seconds.
const STALLED: Duration = Duration::from_secs(60);
/// How often it looks whether executions are still open.
const PAUSE: Duration = Duration::from_millis(200);

/// Runs the three workflows that the platform's first users run, with people and a worker of its own,
/// and prints the reports. Its worker answers every `create_account`, `assign`, `process_payment` and
/// `custom` job there is: not for an installation where others do real work.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// How many executions to start: 30 to 10000.
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u32).range(i64::from(cases::FEWEST)..=10_000))]
    executions: u32,

    /// The platform that is used, or started if nothing answers at its addresses.
    #[command(flatten)]
    platform: AllConfig,
}

/// Fails if the reports differ from the executions, or an execution waits without a reason.
pub async fn run(args: &Args) -> anyhow::Result<()> {
    let begun = Instant::now();
    if answers(&args.platform).await? {
        say("The platform is running already: using it.")?;
        let people = play(args).await?;
        say(&farewell(args, &people, false, begun))?;
        return Ok(());
    }
    say("Nothing answers at the configured addresses: starting the platform in this process.")?;
    let _telemetry = telemetry::init("workflow-platform", Logs::TERMINAL)?;
    let shutdown = Shutdown::new();
    shutdown.listen_for_signals()?;
    let running: Running = crate::start(args.platform.clone(), shutdown.clone()).await?;
    say(&format!(
        "It serves, after {:.1} s.",
        begun.elapsed().as_secs_f64()
    ))?;
    let outcome = tokio::select! {
        outcome = play(args) => outcome,
        () = shutdown.soft.cancelled() => Err(anyhow::anyhow!("the platform was stopped")),
    };
    running.stop().await?;
    say(&farewell(args, &outcome?, true, begun))?;
    Ok(())
}

/// Whether the platform is there; a part of it is an error.
async fn answers(platform: &AllConfig) -> anyhow::Result<bool> {
    let addresses = [
        &platform.catalog_addr,
        &platform.execution_addr,
        &platform.reporting_addr,
    ];
    let mut silent = Vec::new();
    for address in addresses {
        let connect = TcpStream::connect(address.as_str());
        let connected = tokio::time::timeout(Duration::from_secs(2), connect).await;
        if !matches!(connected, Ok(Ok(_))) {
            silent.push(address.as_str());
        }
    }
    match silent.len() {
        0 => Ok(true),
        3 => Ok(false),
        _ => bail!(
            "a part of the platform is running, but nothing answers at {}",
            silent.join(", ")
        ),
    }
}

/// Plays it through; returns the email addresses of the people.
async fn play(args: &Args) -> anyhow::Result<Vec<String>> {
    let platform = &args.platform;
    let data_dir = &platform.common.data_dir;
    let services = Services::at(
        &platform.catalog_addr,
        &platform.execution_addr,
        &platform.reporting_addr,
    )?;
    let given = platform.given_password();
    let admin = Admin::find(
        data_dir,
        &platform.admin_email,
        given,
        &platform.catalog_addr,
    )
    .await?;
    let admin = admin.with_context(|| {
        format!(
            "cannot sign in as {}: set WFP_ADMIN_PASSWORD, or WFP_DATA_DIR to the folder that has \
                 its password",
            platform.admin_email
        )
    })?;
    let admin = services
        .login(&admin.email, &admin.password)
        .await
        .context("Login")?;
    let people = accounts::everybody(&services, &admin, data_dir).await?;
    let clerk = people
        .last()
        .context("the clerk comes last")?
        .session
        .clone();
    let (workflows, changes) = starts::apply(&clerk).await?;
    for change in changes {
        say(&change)?;
    }
    let left = starts::open(&clerk, &workflows).await?.len();
    if left > 0 {
        say(&format!(
            "{left} executions of an earlier run are still open: they are finished as well."
        ))?;
    }
    let emails = people
        .iter()
        .map(|person| person.session.email.clone())
        .collect();
    let begun = Instant::now();
    act(
        people,
        clerk.clone(),
        Arc::new(workflows.clone()),
        args.executions,
    )
    .await?;
    say(&format!(
        "Nothing of the demo is open any more, after {:.1} s. Waiting for the reports.",
        begun.elapsed().as_secs_f64()
    ))?;
    let findings = reports::settled(&clerk, &workflows).await?;
    say(&tables::render(&findings.summary, &findings.periods))?;
    verdict(&admin, &findings).await?;
    Ok(emails)
}

fn farewell(args: &Args, people: &[String], stopped: bool, begun: Instant) -> String {
    let password = args.platform.common.data_dir.join("demo-password");
    let mut text = format!("\nDone in {:.1} s.\n", begun.elapsed().as_secs_f64());
    if stopped {
        text.push_str(
            "The platform is stopped again and has kept everything: `cargo run --release` serves it, and prints\n\
             what to type first.\n",
        );
    }
    text.push_str(&format!(
        "To decide tasks yourself, sign in as {};\nthe password is in {}. README.md shows the calls.",
        people.join(", "),
        password.display()
    ));
    text
}

/// People and worker work while executions are started, and stop when none is open.
async fn act(
    people: Vec<Person>,
    clerk: Session,
    workflows: Arc<Vec<String>>,
    wanted: u32,
) -> anyhow::Result<()> {
    let tally = Arc::new(Tally::default());
    let done = CancellationToken::new();
    let mut staff = JoinSet::new();
    for person in people {
        staff.spawn(person.work(workflows.clone(), tally.clone(), done.clone()));
    }
    staff.spawn(worker::work(clerk.clone(), tally.clone(), done.clone()));
    let mut starting = tokio::spawn(starts::start(
        clerk.clone(),
        workflows.clone(),
        wanted,
        tally.clone(),
    ));
    let mut progress = Progress::new();
    let mut moved = (0, Instant::now());
    loop {
        let all_started = starting.is_finished();
        let open = starts::open(&clerk, &workflows).await?;
        progress.show(
            &tally,
            wanted,
            open.len() as u64,
            all_started && open.is_empty(),
        )?;
        if all_started && open.is_empty() {
            break;
        }
        if tally.moves() != moved.0 {
            moved = (tally.moves(), Instant::now());
        } else if moved.1.elapsed() > STALLED {
            let reason = match open.first() {
                Some(id) => starts::reason(&clerk, id).await?,
                None => "the starts do not return".into(),
            };
            bail!("nothing has moved for {} s; {reason}", STALLED.as_secs());
        }
        tokio::select! {
            // Nobody of the staff ends before `done`, but by an error.
            Some(ended) = staff.join_next() => ended??,
            () = tokio::time::sleep(PAUSE) => {}
        }
    }
    (&mut starting).await??;
    done.cancel();
    while let Some(ended) = staff.join_next().await {
        ended??;
    }
    Ok(())
}

/// Says whether what the reports tell is what happened.
async fn verdict(admin: &Session, findings: &Findings) -> anyhow::Result<()> {
    let counted = findings.executions;
    let reported = reports::total(&findings.summary);
    let request = CheckExecutionsRequest {};
    let check = again(
        &admin.executions,
        &request,
        |mut client, request| async move { client.check_executions(request).await },
    )
    .await
    .context("CheckExecutions")?;
    say(&format!(
        "Executions counted (simulations left out): {}; in the reports: {}. {}",
        counted.total,
        reported.total,
        if findings.agree {
            "The same."
        } else {
            "NOT the same."
        }
    ))?;
    say(&format!(
        "Executions that are not over: {}, of these without a reason: {}.",
        check.open_executions,
        check.execution_ids.len()
    ))?;
    if !findings.agree {
        bail!("the reports say {reported:?}, the executions say {counted:?}");
    }
    if let Some(id) = check.execution_ids.first() {
        bail!("execution {id} waits without a reason");
    }
    Ok(())
}

fn say(text: &str) -> std::io::Result<()> {
    writeln!(std::io::stdout().lock(), "{text}")
}
