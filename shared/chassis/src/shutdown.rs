//! How a process ends. Everything that runs beside a call is a task of `tasks`; `soft` asks it to come
//! to an end, `hard` says that waiting is over. A background loop that dies takes the process with it.

use std::future::Future;
use std::sync::{Arc, OnceLock};

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::BoxFuture;
use crate::error::{Error, Result};

/// The exit code of a process that was told twice to stop.
const ABORTED: i32 = 130;

/// Shared by everything in a process that has to stop together.
#[derive(Debug, Clone, Default)]
pub struct Shutdown {
    /// Take no new work, finish what is begun, end streams.
    pub soft: CancellationToken,
    /// Waiting is over: drop what is left.
    pub hard: CancellationToken,
    /// Work that must not be cut off before `hard`.
    pub tasks: TaskTracker,
    failure: Arc<OnceLock<String>>,
}

impl Shutdown {
    pub fn new() -> Self {
        Self::default()
    }

    /// Stops softly at the first SIGINT or SIGTERM, and leaves the process at the second.
    pub fn listen_for_signals(&self) -> Result<()> {
        let mut interrupt = signal(SignalKind::interrupt()).map_err(Error::internal)?;
        let mut terminate = signal(SignalKind::terminate()).map_err(Error::internal)?;
        let shutdown = self.clone();
        tokio::spawn(async move {
            for again in [false, true] {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
                if again {
                    tracing::warn!("told to stop again: leaving at once");
                    std::process::exit(ABORTED);
                }
                tracing::info!("told to stop");
                shutdown.soft.cancel();
            }
        });
        Ok(())
    }

    /// Runs a background loop, which has to return once `soft` is cancelled and not before.
    pub fn spawn_loop(&self, name: &'static str, work: impl Future<Output = ()> + Send + 'static) {
        self.spawn_boxed(name, Box::pin(work));
    }

    fn spawn_boxed(&self, name: &'static str, work: BoxFuture<'static, ()>) {
        let shutdown = self.clone();
        // No span around it: what a loop does belongs to the traces of those for whom it does it.
        let mut running = tokio::spawn(work);
        self.tasks.spawn(async move {
            let ended = tokio::select! {
                ended = &mut running => ended,
                () = shutdown.hard.cancelled() => {
                    running.abort();
                    return;
                }
            };
            match ended {
                Err(panic) => shutdown.fail(format!("the loop {name} died: {panic}")),
                Ok(()) if !shutdown.soft.is_cancelled() => {
                    shutdown.fail(format!("the loop {name} ended by itself"));
                }
                Ok(()) => {}
            }
        });
    }

    /// Stops the process and makes it exit as crashed.
    pub fn fail(&self, why: String) {
        tracing::error!(why, "stopping");
        // Of several failures the first is the cause.
        let _ = self.failure.set(why);
        self.soft.cancel();
    }

    /// How the process ended: an error if something failed, not if it was told to stop.
    pub fn outcome(&self) -> Result<()> {
        match self.failure.get() {
            Some(why) => Err(Error::internal(why)),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn loop_that_dies_takes_the_process_with_it() {
        let shutdown = Shutdown::new();
        shutdown.spawn_loop("timers", async { panic!("planted") });
        shutdown.soft.cancelled().await;
        assert!(shutdown.outcome().is_err());

        let shutdown = Shutdown::new();
        shutdown.spawn_loop("timers", async {});
        shutdown.soft.cancelled().await;
        assert!(shutdown.outcome().is_err());
    }

    #[tokio::test]
    async fn loop_that_ends_when_told_is_no_failure() {
        let shutdown = Shutdown::new();
        shutdown.spawn_loop("timers", shutdown.soft.clone().cancelled_owned());
        shutdown.soft.cancel();
        shutdown.tasks.close();
        shutdown.tasks.wait().await;
        assert!(shutdown.outcome().is_ok());
    }

    #[tokio::test]
    async fn hard_end_does_not_wait_for_a_loop() {
        let shutdown = Shutdown::new();
        shutdown.spawn_loop("deaf", std::future::pending());
        shutdown.soft.cancel();
        shutdown.hard.cancel();
        shutdown.tasks.close();
        shutdown.tasks.wait().await;
        assert!(shutdown.outcome().is_ok());
    }
}
