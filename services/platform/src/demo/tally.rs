//! What the demo has done so far, counted by those who do it, and the line that shows it while it grows.
//! Counts only: no decision depends on it but the one that nothing moves any more.

use std::io::{IsTerminal, Write};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// Counts since the demo began.
#[derive(Debug, Default)]
pub struct Tally {
    pub started: AtomicU64,
    pub cancelled: AtomicU64,
    pub entered: AtomicU64,
    pub approved: AtomicU64,
    pub rejected: AtomicU64,
    pub jobs_done: AtomicU64,
    pub attempts_failed: AtomicU64,
}

impl Tally {
    pub fn add(count: &AtomicU64) {
        count.fetch_add(1, Relaxed);
    }

    /// Grows with every step that the demo makes.
    pub fn moves(&self) -> u64 {
        [
            &self.started,
            &self.cancelled,
            &self.entered,
            &self.approved,
            &self.rejected,
            &self.jobs_done,
            &self.attempts_failed,
        ]
        .iter()
        .map(|count| count.load(Relaxed))
        .sum()
    }

    fn line(&self, wanted: u32, open: u64) -> String {
        let n = |count: &AtomicU64| count.load(Relaxed);
        format!(
            "started {}/{wanted}, open {open}; entered {}, approved {}, rejected {}; \
             jobs done {}, attempts failed {}; cancelled {}",
            n(&self.started),
            n(&self.entered),
            n(&self.approved),
            n(&self.rejected),
            n(&self.jobs_done),
            n(&self.attempts_failed),
            n(&self.cancelled),
        )
    }
}

/// Shows a tally: one line that is written over on a terminal, a line a second elsewhere.
#[derive(Debug)]
pub struct Progress {
    on_terminal: bool,
    shown_at: Option<Instant>,
}

impl Progress {
    pub fn new() -> Self {
        Self {
            on_terminal: std::io::stdout().is_terminal(),
            shown_at: None,
        }
    }

    /// Shows the line if the last one is old enough, or if it is the `last` one.
    pub fn show(
        &mut self,
        tally: &Tally,
        wanted: u32,
        open: u64,
        last: bool,
    ) -> std::io::Result<()> {
        let pause = Duration::from_millis(if self.on_terminal { 100 } else { 1000 });
        if !last && self.shown_at.is_some_and(|at| at.elapsed() < pause) {
            return Ok(());
        }
        self.shown_at = Some(Instant::now());
        let line = tally.line(wanted, open);
        let mut out = std::io::stdout().lock();
        if self.on_terminal {
            // To the left edge, no wrapping, the text, wrapping again, erase what a longer line left.
            write!(out, "\r\x1b[?7l{line}\x1b[?7h\x1b[K")?;
        } else {
            writeln!(out, "{line}")?;
        }
        out.flush()
    }
}

/// What follows stands on a line of its own, an error too.
impl Drop for Progress {
    fn drop(&mut self) {
        if self.on_terminal && self.shown_at.is_some() {
            // Nobody is left to tell that the terminal is gone.
            let _ = writeln!(std::io::stdout());
        }
    }
}
