//! How many starts may wait. Invariant: nothing here looks at a clock; a start is refused only while those before
//! it are expected to take longer than callers should wait.

use std::time::Duration;

/// Starts that may wait at once however fast they are done: the service's port has room for more calls than these,
/// so that whoever answers, decides or signals still gets in.
pub const MOST: usize = 1536;
/// Starts that may wait however slow they are: one call may bring as many, and a burst is no overload.
const FEWEST: usize = super::BATCH;
/// How long a start should wait at most.
const WAIT: Duration = Duration::from_secs(1);
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

    /// How many starts `writers` do in the time that one may wait.
    pub fn may_wait(&self, writers: usize) -> usize {
        if self.seconds <= 0.0 {
            return MOST;
        }
        let a_second = self.starts / self.seconds * writers as f64;
        ((a_second * WAIT.as_secs_f64()) as usize).clamp(FEWEST, MOST)
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
        assert_eq!(after(&[(1, 200); 20]), FEWEST, "a burst is no overload");
    }

    #[test]
    fn what_is_slow_for_a_while_is_soon_forgotten() {
        let outage = [(512, 5000); 3];
        assert_eq!(after(&outage), FEWEST);
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
