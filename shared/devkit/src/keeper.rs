//! Keeps one PostgreSQL process alive: starts it, starts it again when it dies, stops it when asked.
//!
//! Invariant: the thread that started the server waits for it until it is gone. The kernel stops the server when
//! that *thread* ends, so it must be no pool's and no test's thread.

use std::os::unix::process::CommandExt;
use std::process::{Child, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};
use tokio::sync::watch;

use crate::cluster::Cluster;

/// Replaying the log after a crash may take long, but not this long.
const START: Duration = Duration::from_secs(600);
/// So many failed restarts in a row, 40 seconds in all, and the server is given up.
const RESTARTS: u32 = 12;
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub struct Keeper {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    /// The reason, once the server is gone for good without having been asked to go.
    lost: watch::Sender<Option<String>>,
}

#[derive(Debug, Default)]
struct State {
    /// The living server; None between two of them. It is reaped only after this was cleared, so that a signal
    /// never hits a process that was given the same number.
    pid: Option<Pid>,
    ready: bool,
    stopping: bool,
    ended: bool,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state());
        self.changed.notify_all();
    }

    /// Waits until `until` holds; false if it does not within `patience`.
    fn wait(&self, patience: Duration, until: impl Fn(&State) -> bool) -> bool {
        let (state, _) = self
            .changed
            .wait_timeout_while(self.state(), patience, |state| !until(state))
            .unwrap_or_else(PoisonError::into_inner);
        until(&state)
    }
}

impl Keeper {
    /// Returns when the server takes connections.
    pub fn start(cluster: Cluster) -> Result<Keeper> {
        let shared = Arc::new(Shared {
            state: Mutex::default(),
            changed: Condvar::new(),
            lost: watch::Sender::new(None),
        });
        let kept = shared.clone();
        let thread = std::thread::Builder::new()
            .name("postgres-keeper".into())
            .spawn(move || keep(&cluster, &kept))
            .context("cannot start a thread")?;
        let keeper = Keeper {
            shared,
            thread: Some(thread),
        };
        keeper
            .shared
            .wait(START, |state| state.ready || state.ended);
        if keeper.shared.state().ready {
            return Ok(keeper);
        }
        let reason = keeper.shared.lost.borrow().clone();
        bail!(reason.unwrap_or_else(|| "PostgreSQL did not become ready".into()))
    }

    pub fn pid(&self) -> Option<u32> {
        self.shared
            .state()
            .pid
            .map(|pid| pid.as_raw_nonzero().get().unsigned_abs())
    }

    pub fn lost(&self) -> watch::Receiver<Option<String>> {
        self.shared.lost.subscribe()
    }

    /// Politely (sessions are ended, a checkpoint is written), then less so.
    pub fn stop(&mut self) {
        let Some(thread) = self.thread.take() else {
            return;
        };
        self.shared.change(|state| state.stopping = true);
        for (signal, patience) in [(Signal::INT, 60), (Signal::QUIT, 10), (Signal::KILL, 10)] {
            if let Some(pid) = self.shared.state().pid {
                let _ = kill_process(pid, signal);
            }
            if self
                .shared
                .wait(Duration::from_secs(patience), |state| state.ended)
            {
                let _ = thread.join();
                return;
            }
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The keeper's thread, from the first start to the last exit.
fn keep(cluster: &Cluster, shared: &Shared) {
    let mut failures = 0;
    let reason = loop {
        let run = run_once(cluster, shared);
        if shared.state().stopping {
            break None;
        }
        let Run { ready, status } = match run {
            Ok(run) => run,
            Err(error) => break Some(format!("PostgreSQL cannot be started: {error:#}")),
        };
        failures = if ready { 0 } else { failures + 1 };
        // What fails at the first start will not heal; after a crash the dead server's sessions may
        // be in the way for a moment.
        if failures > RESTARTS || !shared.state().ready {
            let words = cluster.last_words();
            break Some(format!("PostgreSQL ended ({status}):\n{words}"));
        }
        tracing::warn!(%status, failures, "PostgreSQL ended; starting it again");
        let pause = (FIRST_PAUSE * 2u32.saturating_pow(failures)).min(LONGEST_PAUSE);
        if shared.wait(pause, |state| state.stopping) {
            break None;
        }
    };
    if reason.is_some() {
        shared.lost.send_replace(reason);
    }
    shared.change(|state| state.ended = true);
}

struct Run {
    ready: bool,
    status: ExitStatus,
}

fn run_once(cluster: &Cluster, shared: &Shared) -> Result<Run> {
    let mut child = spawn(cluster)?;
    let pid = Pid::from_child(&child);
    shared.change(|state| state.pid = Some(pid));
    let ready = wait_until_ready(cluster, &child, shared);
    if ready {
        shared.change(|state| state.ready = true);
    } else if shared.state().stopping || is_running(pid) {
        let _ = kill_process(pid, Signal::INT);
    }
    // Waits without reaping: the number stays ours until nobody can signal it any more.
    while waitid(
        WaitId::Pid(pid),
        WaitIdOptions::EXITED | WaitIdOptions::NOWAIT,
    )
    .is_err_and(|e| e == rustix::io::Errno::INTR)
    {}
    shared.change(|state| state.pid = None);
    let status = child.wait().context("cannot wait for PostgreSQL")?;
    Ok(Run { ready, status })
}

fn is_running(pid: Pid) -> bool {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
    matches!(waitid(WaitId::Pid(pid), options), Ok(None))
}

fn wait_until_ready(cluster: &Cluster, child: &Child, shared: &Shared) -> bool {
    let pid = Pid::from_child(child);
    let deadline = Instant::now() + START;
    while Instant::now() < deadline && is_running(pid) && !shared.state().stopping {
        if cluster.is_ready(pid) {
            return true;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    false
}

fn spawn(cluster: &Cluster) -> Result<Child> {
    let log = cluster.open_log()?;
    let mut command = cluster.program("postgres");
    command.arg("-D").arg(&cluster.data);
    command
        .arg("-k")
        .arg(&cluster.socket)
        .args(["-p", "5432", "-c", "listen_addresses="]);
    for setting in cluster.durability.settings() {
        command.arg("-c").arg(setting);
    }
    command
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log);
    // Ctrl-C must reach only us: the services drain before their database goes.
    command.process_group(0);
    die_with_this_thread(&mut command);
    command.spawn().context("cannot start PostgreSQL")
}

#[cfg(target_os = "linux")]
#[expect(
    unsafe_code,
    reason = "the closure makes one system call, which is safe between fork and exec"
)]
fn die_with_this_thread(command: &mut std::process::Command) {
    let ask = || {
        Ok(rustix::process::set_parent_process_death_signal(Some(
            Signal::INT,
        ))?)
    };
    // SAFETY: no allocation, no lock, one prctl.
    unsafe { command.pre_exec(ask) };
}

#[cfg(not(target_os = "linux"))]
fn die_with_this_thread(_: &mut std::process::Command) {}
