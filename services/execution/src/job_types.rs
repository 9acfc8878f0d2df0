//! Notes what workers ask for, so that a job that nobody asks for can be told. Invariant: only a hint for
//! people: nothing is given, kept or taken because of it.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chassis::{Result, db};
use sqlx::PgPool;
use tokio::time::Instant;

use crate::store;

/// Types of which is known that they have just been noted; of others it is noted again.
const KNOWN: NonZeroUsize = NonZeroUsize::new(10_000).expect("not zero");
/// How often a type is noted. A tenth of the time after which its absence is told.
const EVERY: Duration = Duration::from_secs(30);

/// When each type was noted by this process.
#[derive(Debug, Clone)]
pub struct JobTypes(Arc<Mutex<lru::LruCache<String, Instant>>>);

impl Default for JobTypes {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(lru::LruCache::new(KNOWN))))
    }
}

impl JobTypes {
    /// A worker asks for these types at this moment.
    pub async fn note(&self, pool: &PgPool, job_types: &[String]) {
        let due = self.due(job_types, Instant::now());
        if !due.is_empty()
            && let Err(error) = db::patiently(write(pool, &due)).await
        {
            tracing::warn!(%error, "what workers ask for was not noted");
        }
    }

    fn due(&self, job_types: &[String], now: Instant) -> Vec<String> {
        let mut noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut due = Vec::new();
        for job_type in job_types {
            let last = noted.get(job_type).copied();
            if last.is_none_or(|last| now - last >= EVERY) {
                noted.put(job_type.clone(), now);
                due.push(job_type.clone());
            }
        }
        due
    }
}

async fn write(pool: &PgPool, job_types: &[String]) -> Result<()> {
    let mut conn = db::acquire(pool).await?;
    store::stuck::note_asked(&mut conn, job_types).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn type_is_noted_now_and_then() {
        let job_types = JobTypes::default();
        let now = Instant::now();
        let check = |words: &[&str], now, wanted: &[&str]| {
            let types: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
            assert_eq!(job_types.due(&types, now), wanted);
        };
        check(&["a", "b"], now, &["a", "b"]);
        check(&["a", "c"], now, &["c"]);
        check(&["a"], now + EVERY, &["a"]);
    }
}
