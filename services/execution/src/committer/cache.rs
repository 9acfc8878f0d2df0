//! What the engine remembers of open executions, kept in memory between commits.
//! Invariant: an entry is used only if its revision is the locked row's.

use std::num::NonZeroUsize;

use uuid::Uuid;

use crate::engine::{Context, Memory};

/// Entries kept, and the largest context that is: together a bound on memory of 64 MiB of JSON.
const ENTRIES: NonZeroUsize = NonZeroUsize::new(8192).expect("not zero");
const LARGEST: usize = 8 * 1024;

/// One execution's memory as of a revision.
#[derive(Debug)]
pub struct Remembered {
    pub revision: i64,
    pub memory: Memory,
    pub context: Context,
}

#[derive(Debug)]
pub struct Cache(lru::LruCache<Uuid, Remembered>);

impl Default for Cache {
    fn default() -> Self {
        Self(lru::LruCache::new(ENTRIES))
    }
}

impl Cache {
    /// Takes an entry out, if it is of this revision.
    pub fn take(&mut self, execution_id: Uuid, revision: i64) -> Option<Remembered> {
        let entry = self.0.pop(&execution_id)?;
        (entry.revision == revision).then_some(entry)
    }

    pub fn put(&mut self, execution_id: Uuid, entry: Remembered) {
        let memory = &entry.memory;
        // What signals bring, items and their results, what is left to take over, and one number for each thing to undo, may come to more
        // than the context.
        let is_small = memory.signals.is_empty()
            && memory.loops.is_empty()
            && memory.to_undo.len() <= 100
            && memory.reuse.is_none();
        if is_small && memory.context_bytes <= LARGEST {
            self.0.put(execution_id, entry);
        }
    }
}
