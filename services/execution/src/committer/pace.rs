//! How many starts may wait. Invariant: nothing here looks at a clock; a start is refused only while those before
//! it are expected to take longer than callers should wait.

use std::time::Duration;

use super::BATCH;

/// Of a batch, what starts get however much else waits, and however slow they are.
pub const SHARE: usize = BATCH / 8;
/// Starts that may wait at once however fast they are done: the service's port has room for more calls than these,
/// so that whoever answers, decides or signals still gets in.
pub const MOST: usize = 1536;
/// Starts that may wait however slow they are: one call brings no more at once, and a burst is no overload.
pub const BURST: usize = BATCH / 2;
/// How long a start should wait at most.
const WAIT: Duration = Duration::from_secs(1);
/// How long a batch should take: whatever comes meanwhile waits for its end.
const TURN: Duration = Duration::from_millis(200);
/// What was measured counts for less the longer ago it was: half after so much work.
const HALF_LIFE: Duration = Duration::from_millis(500);

/// How fast starts were done lately.
#[derive(Debug, Clone, Copy, Default)]
pub struct Pace {
    /// Starts, and the seconds that a writer was at work on them.
    starts: f64,
    seconds: f64,
}

impl Pace {
    /// A writer did so many starts, with whatever else was in their batch, in this time.
    pub fn note(&mut self, starts: usize, took: Duration) {
        if starts == 0 {
            return;
        }
        let took = took.as_secs_f64();
        let left = 0.5_f64.powf(took / HALF_LIFE.as_secs_f64());
        self.starts = self.starts * left + starts as f64;
        self.seconds = self.seconds * left + took;
    }

    /// How many starts a writer does in a turn.
    pub fn of_a_turn(&self) -> usize {
        if self.seconds <= 0.0 {
            return BATCH;
        }
        let a_second = self.starts / self.seconds;
        ((a_second * TURN.as_secs_f64()) as usize).clamp(SHARE, BATCH)
    }

    /// How many starts `writers` do in the time that one may wait.
    pub fn may_wait(&self, writers: usize) -> usize {
        if self.seconds <= 0.0 {
            return MOST;
        }
        let a_second = self.starts / self.seconds * writers as f64;
        ((a_second * WAIT.as_secs_f64()) as usize).clamp(BURST, MOST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(batches: &[(usize, u64)]) -> usize {
        let mut pace = Pace::default();
        for (starts, millis) in batches {
            pace.note(*starts, Duration::from_millis(*millis));
        }
        pace.may_wait(2)
    }

    #[test]
    fn as_many_wait_as_are_done_in_a_second() {
        assert_eq!(after(&[]), MOST, "nothing is known yet");
        assert_eq!(after(&[(50, 100); 20]), 1000, "two writers, 500/s each");
        assert_eq!(
            after(&[(512, 50); 20]),
            MOST,
            "no more than there is room for"
        );
        assert_eq!(after(&[(1, 200); 20]), BURST, "a burst is no overload");
    }

    #[test]
    fn slow_starts_make_small_batches() {
        let batch = |starts, millis| {
            let mut pace = Pace::default();
            pace.note(starts, Duration::from_millis(millis));
            pace.of_a_turn()
        };
        assert_eq!(Pace::default().of_a_turn(), BATCH, "nothing is known yet");
        assert_eq!(batch(100, 100), 200, "1000/s");
        assert_eq!(batch(512, 20), BATCH);
        assert_eq!(batch(512, 20_000), SHARE);
    }

    #[test]
    fn what_is_slow_for_a_while_is_soon_forgotten() {
        let outage = [(512, 5000); 3];
        assert_eq!(after(&outage), BURST);
        let mut batches = outage.to_vec();
        batches.extend([(50, 100); 20]);
        let again = after(&batches);
        assert!((700..=1000).contains(&again), "{again}");
        batches.extend([(0, 60_000)]);
        assert_eq!(
            after(&batches),
            again,
            "answers alone tell nothing of starts"
        );
    }
}
