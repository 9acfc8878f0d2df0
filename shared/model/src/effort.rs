//! What judging may cost. Invariant: it is counted in values touched, not in time, so the same data
//! always costs the same and the pure code stays pure.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// An amount of work that several conditions and expressions share; clones share it, too.
#[derive(Debug, Clone)]
pub struct Effort {
    limit: u64,
    left: Arc<AtomicU64>,
}

impl Effort {
    /// Roughly half a million values a second are touched.
    pub fn new(limit: u64) -> Self {
        Self {
            limit,
            left: Arc::new(AtomicU64::new(limit)),
        }
    }

    /// Whether there was enough left; if not, nothing is left any more.
    pub fn spend(&self, values: u64) -> bool {
        let take = |left: u64| left.checked_sub(values);
        let spent = self
            .left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, take)
            .is_ok();
        if !spent {
            self.left.store(0, Ordering::Relaxed);
        }
        spent
    }

    pub fn spent(&self) -> u64 {
        self.limit - self.left.load(Ordering::Relaxed)
    }

    pub fn is_exhausted(&self) -> bool {
        self.left.load(Ordering::Relaxed) == 0
    }
}

#[cfg(test)]
mod tests {
    use super::Effort;

    #[test]
    fn what_does_not_fit_exhausts() {
        let effort = Effort::new(10);
        assert!(effort.spend(4) && effort.clone().spend(5));
        assert_eq!((effort.spent(), effort.is_exhausted()), (9, false));
        assert!(!effort.spend(2));
        assert_eq!((effort.spent(), effort.is_exhausted()), (10, true));
    }
}
