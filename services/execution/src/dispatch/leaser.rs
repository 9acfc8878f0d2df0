//! Leases what is queued for the streams of this replica. Invariant: one look at a time, for all of them; what becomes
//! free during a look is the next one.

use std::time::Duration;

use chassis::Shutdown;
use sqlx::PgPool;
use uuid::Uuid;

use super::Dispatch;
use super::board::Look;
use crate::definitions::Definitions;
use crate::job_types::JobTypes;
use crate::leasing::{self, Leased, Turns};

/// How often it looks unasked: the tables are the truth. Twice as often as a look counts.
const POLL: Duration = Duration::from_millis(500);

/// How long it waits for streams that end, and for transactions that lease jobs for them; and how often it asks.
const LAST: Duration = Duration::from_secs(8);
const AGAIN: Duration = Duration::from_millis(20);

/// What the leaser works with.
pub struct Leaser {
    pool: PgPool,
    definitions: Definitions,
    dispatch: Dispatch,
    job_types: JobTypes,
}

impl Leaser {
    pub fn new(
        pool: PgPool,
        definitions: Definitions,
        dispatch: Dispatch,
        job_types: JobTypes,
    ) -> Self {
        Self {
            pool,
            definitions,
            dispatch,
            job_types,
        }
    }

    /// Ends with `soft`.
    pub async fn run(self, shutdown: Shutdown) {
        let turns = Turns::default();
        let look = self.dispatch.look();
        while !shutdown.soft.is_cancelled() {
            self.give_back().await;
            if self.look(&turns).await {
                continue;
            }
            tokio::select! {
                () = look.notified() => {}
                () = tokio::time::sleep(POLL) => {}
                () = shutdown.soft.cancelled() => {}
            }
        }
        // The streams end, too, and leave what they did not send; so do transactions under way.
        let left = async {
            while self.dispatch.is_in_use() {
                tokio::time::sleep(AGAIN).await;
            }
        };
        let _ = tokio::time::timeout(LAST, left).await;
        self.give_back().await;
    }

    /// Says whether to look again at once.
    pub(super) async fn look(&self, turns: &Turns) -> bool {
        let (look, wanted) = {
            let mut board = self.dispatch.board();
            board.tidy();
            (board.look(), board.job_types())
        };
        if !wanted.is_empty() {
            self.job_types.note(&self.pool, &wanted).await;
        }
        let Some(look) = look else { return false };
        let open = Open {
            dispatch: &self.dispatch,
            look: Some(look),
        };
        let takers = open.takers();
        match leasing::lease(&self.pool, &self.definitions, turns, takers).await {
            Ok(leased) => open.close(leased),
            Err(error) => {
                tracing::warn!(%error, "jobs for streams were not leased");
                false
            }
        }
    }

    /// What workers never saw is queued again; if that fails, when the leases end.
    pub(super) async fn give_back(&self) {
        let unseen: Vec<(Uuid, _)> = std::mem::take(&mut self.dispatch.board().unseen);
        let given = leasing::give_back(&self.pool, &self.definitions, unseen).await;
        if let Err(error) = given {
            tracing::warn!(%error, "jobs that were not sent wait for the end of their leases");
        }
    }
}

/// A look that gives back its credit however it ends.
struct Open<'a> {
    dispatch: &'a Dispatch,
    look: Option<Look>,
}

impl Open<'_> {
    fn takers(&self) -> Vec<leasing::Taker> {
        let look = self.look.as_ref();
        look.map(|look| look.takers.clone()).unwrap_or_default()
    }

    fn close(mut self, leased: Leased) -> bool {
        let look = self.look.take();
        look.is_some_and(|look| {
            let mut board = self.dispatch.board();
            board.looked(&look, leased.jobs, leased.is_all)
        })
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        if let Some(look) = self.look.take() {
            self.dispatch.board().looked(&look, Vec::new(), false);
        }
    }
}
