//! When a failed attempt is tried again. Invariant: no delay exceeds the policy's maximum, whatever the
//! attempt's number.

use std::time::Duration;

/// A retry policy.
#[derive(Debug, Clone, PartialEq)]
pub struct Retry {
    /// The first included; at least 1.
    pub max_attempts: u32,
    /// Delay after the first failed attempt.
    pub initial: Duration,
    /// By what each further delay grows; at least 1.
    pub multiplier: f64,
    /// No delay is longer.
    pub max: Duration,
    /// Which part of a delay is left to chance, 0 to 1: a delay is shortened by up to this part, so that
    /// what failed together does not come back together.
    pub jitter: f64,
    /// From the activation's first attempt on; no attempt begins later.
    pub total_timeout: Option<Duration>,
}

impl Retry {
    /// For work that is not repeated unless its step says so.
    pub fn once() -> Self {
        Self {
            max_attempts: 1,
            ..Self::for_jobs()
        }
    }

    /// For external workers, whose failures tend to pass.
    pub fn for_jobs() -> Self {
        Self {
            max_attempts: 3,
            initial: Duration::from_secs(1),
            multiplier: 2.0,
            max: Duration::from_secs(60),
            jitter: 0.2,
            total_timeout: None,
        }
    }

    /// The delay after attempt number `attempt` (from 1) has failed; `unit`, 0 to 1, is the caller's
    /// chance.
    pub fn delay(&self, attempt: u32, unit: f64) -> Duration {
        let max = self.max.as_secs_f64();
        let exponent = f64::from(attempt.saturating_sub(1));
        // Infinity and NaN (0 x infinity) become the maximum: `min` prefers the number.
        let full = match self.initial.is_zero() {
            true => 0.0,
            false => (self.initial.as_secs_f64() * self.multiplier.powf(exponent)).min(max),
        };
        let kept = 1.0 - self.jitter.clamp(0.0, 1.0) * unit.clamp(0.0, 1.0);
        Duration::try_from_secs_f64(full * kept).map_or(self.max, |delay| delay.min(self.max))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn seconds(retry: &Retry, attempt: u32, unit: f64) -> f64 {
        retry.delay(attempt, unit).as_secs_f64()
    }

    #[test]
    fn delays_double_up_to_the_maximum() {
        let retry = Retry {
            jitter: 0.0,
            ..Retry::for_jobs()
        };
        let delays: Vec<f64> = (0..9).map(|n| seconds(&retry, n, 0.7)).collect();
        assert_eq!(delays, [1.0, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0]);
    }

    #[test]
    fn late_attempts_do_not_overflow() {
        let retry = Retry {
            multiplier: 100.0,
            max: crate::duration::LONGEST,
            jitter: 0.0,
            ..Retry::for_jobs()
        };
        for attempt in [62, 63, 64, 65, 1000, u32::MAX] {
            assert_eq!(retry.delay(attempt, 1.0), crate::duration::LONGEST);
        }
        let idle = Retry {
            initial: Duration::ZERO,
            ..retry
        };
        assert_eq!(idle.delay(u32::MAX, 0.5), Duration::ZERO);
    }

    #[test]
    fn jitter_only_shortens() {
        let retry = Retry::for_jobs();
        assert_eq!(seconds(&retry, 1, 0.0), 1.0);
        assert_eq!(seconds(&retry, 1, 0.5), 0.9);
        assert_eq!(seconds(&retry, 1, 1.0), 0.8);
    }

    proptest! {
        #[test]
        fn delays_stay_within_the_policy(
            attempt: u32,
            unit: f64,
            initial in 0_u64..1_000_000,
            multiplier in 1.0_f64..100.0,
            max in 0_u64..1_000_000,
            jitter in 0.0_f64..=1.0,
        ) {
            let retry = Retry {
                max_attempts: 5,
                initial: Duration::from_millis(initial),
                multiplier,
                max: Duration::from_millis(max),
                jitter,
                total_timeout: None,
            };
            prop_assert!(retry.delay(attempt, unit) <= retry.max);
        }
    }
}
