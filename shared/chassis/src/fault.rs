//! Fail points, for the fault suite: at a named point of the code the process kills itself or stands still for
//! a while. Invariant: without the feature `faults` there is nothing of it in a binary, and with it nothing
//! happens unless the environment asks for it.

use std::collections::HashMap;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Where what is to happen is asked for: `committer.before_commit=kill@3;timers.due=pause:200%20:7`.
const VARIABLE: &str = "WFP_FAULTS";

/// What happens when a point is passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Effect {
    /// As by `kill -9`.
    Kill,
    /// What runs there waits; the rest of the process goes on.
    Pause(Duration),
    /// What runs there dies.
    Panic,
}

/// At which passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum When {
    Always,
    /// Only the n-th, from 1.
    Nth(u64),
    /// With this probability, by a seed.
    Percent(u64, u64),
}

#[derive(Debug)]
struct Plan {
    effect: Effect,
    when: When,
    passes: AtomicU64,
}

impl Plan {
    /// `kill`, `pause:MS` or `panic`, then nothing, `@N` or `%PERCENT:SEED`.
    fn parse(text: &str) -> Option<Self> {
        let (effect, when) = match text.split_once(['@', '%']) {
            None => (text, When::Always),
            Some((effect, rest)) if text.contains('@') => (effect, When::Nth(rest.parse().ok()?)),
            Some((effect, rest)) => {
                let (percent, seed) = rest.split_once(':')?;
                let when = When::Percent(percent.parse().ok()?, seed.parse().ok()?);
                (effect, when)
            }
        };
        let effect = match effect.split_once(':') {
            None if effect == "kill" => Effect::Kill,
            None if effect == "panic" => Effect::Panic,
            Some(("pause", ms)) => Effect::Pause(Duration::from_millis(ms.parse().ok()?)),
            _ => return None,
        };
        Some(Self {
            effect,
            when,
            passes: AtomicU64::new(0),
        })
    }

    fn passed(&self) -> Option<Effect> {
        let pass = self.passes.fetch_add(1, Ordering::Relaxed) + 1;
        let happens = match self.when {
            When::Always => true,
            When::Nth(n) => pass == n,
            When::Percent(percent, seed) => mix(seed.wrapping_add(pass)) % 100 < percent,
        };
        happens.then_some(self.effect)
    }
}

/// SplitMix64: neighbouring numbers become unrelated ones.
fn mix(n: u64) -> u64 {
    let z = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn plans() -> &'static HashMap<String, Plan> {
    static PLANS: OnceLock<HashMap<String, Plan>> = OnceLock::new();
    PLANS.get_or_init(|| {
        let text = std::env::var(VARIABLE).unwrap_or_default();
        let plans = text.split(';').filter(|part| !part.is_empty());
        plans
            .map(|part| {
                let plan = part.split_once('=');
                let plan =
                    plan.and_then(|(name, plan)| Some((name.to_owned(), Plan::parse(plan)?)));
                plan.unwrap_or_else(|| panic!("{VARIABLE}: {part} makes no sense"))
            })
            .collect()
    })
}

/// What [`fail_point!`](crate::fail_point) calls.
pub async fn reach(name: &str) {
    match plans().get(name).and_then(Plan::passed) {
        None => {}
        Some(Effect::Pause(time)) => tokio::time::sleep(time).await,
        Some(Effect::Panic) => panic!("planted at {name}"),
        Some(Effect::Kill) => {
            let own = rustix::process::getpid();
            let _ = rustix::process::kill_process(own, rustix::process::Signal::KILL);
            // The signal is on its way.
            std::future::pending().await
        }
    }
}

/// By how much this process's clock is made to be off, in seconds.
pub fn clock_offset() -> i64 {
    static OFFSET: OnceLock<i64> = OnceLock::new();
    *OFFSET.get_or_init(|| {
        let text = std::env::var("WFP_CLOCK_OFFSET").unwrap_or_default();
        text.parse().unwrap_or(0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn effects(text: &str, passes: usize) -> Vec<Option<Effect>> {
        let plan = Plan::parse(text).expect("it makes sense");
        (0..passes).map(|_| plan.passed()).collect()
    }

    #[test]
    fn plans_say_what_happens_and_when() {
        let pause = Some(Effect::Pause(Duration::from_millis(20)));
        assert_eq!(effects("pause:20", 2), [pause, pause]);
        assert_eq!(effects("kill@2", 3), [None, Some(Effect::Kill), None]);
        let some = effects("panic%30:7", 1000);
        let hits = some.iter().flatten().count();
        assert!((200..400).contains(&hits), "{hits} of 1000 are not 30 %");
        assert_eq!(some, effects("panic%30:7", 1000));
        for nonsense in ["", "kill@", "kill@x", "pause", "pause:x", "panic%30", "die"] {
            assert!(Plan::parse(nonsense).is_none(), "{nonsense}");
        }
    }
}
