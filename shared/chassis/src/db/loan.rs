//! Connections on loan from the pool. Invariant: what goes back to it is in no transaction and has not been waited for
//! in vain; everything else is closed, because whoever had it next would wait, or lose what they wrote.

use std::ops::{Deref, DerefMut};
use std::time::{Duration, Instant};

use sqlx::pool::PoolConnection;
use sqlx::{PgConnection, Postgres};

/// A connection that was out for longer, and was not given back in order, may never answer again.
const SUSPECT: Duration = Duration::from_secs(30);

/// How long a transaction may take to end without an effect.
const ROLL_BACK: Duration = Duration::from_secs(5);

/// A connection.
#[derive(Debug)]
pub struct Loan {
    conn: PoolConnection<Postgres>,
    since: Instant,
}

impl Loan {
    pub(super) fn of(conn: PoolConnection<Postgres>) -> Self {
        Self {
            conn,
            since: Instant::now(),
        }
    }

    pub(super) fn close_on_drop(&mut self) {
        self.conn.close_on_drop();
    }

    fn is_suspect(&self) -> bool {
        self.since.elapsed() > SUSPECT
    }
}

impl Deref for Loan {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        &self.conn
    }
}

impl DerefMut for Loan {
    fn deref_mut(&mut self) -> &mut PgConnection {
        &mut self.conn
    }
}

impl Drop for Loan {
    fn drop(&mut self) {
        if self.is_suspect() {
            self.close_on_drop();
        }
    }
}

/// A connection in a transaction, which ends without an effect unless it is committed.
#[derive(Debug)]
pub struct Transaction {
    /// None only while it is dropped.
    loan: Option<Loan>,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum State {
    /// Nobody knows whether the database has begun, or ended, it.
    Between,
    Open,
    Ended,
}

impl Transaction {
    pub(super) async fn begin(loan: Loan, statement: &'static str) -> sqlx::Result<Self> {
        let mut begun = Self {
            loan: Some(loan),
            state: State::Between,
        };
        sqlx::raw_sql(statement).execute(&mut *begun).await?;
        begun.state = State::Open;
        Ok(begun)
    }

    pub async fn commit(mut self) -> sqlx::Result<()> {
        self.state = State::Between;
        sqlx::raw_sql("commit").execute(&mut *self).await?;
        self.state = State::Ended;
        Ok(())
    }
}

impl Deref for Transaction {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        self.loan.as_ref().expect("it is not dropped yet")
    }
}

impl DerefMut for Transaction {
    fn deref_mut(&mut self) -> &mut PgConnection {
        self.loan.as_mut().expect("it is not dropped yet")
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        let Some(mut loan) = self.loan.take() else {
            return;
        };
        match (self.state, tokio::runtime::Handle::try_current()) {
            (State::Ended, _) => {}
            (State::Open, Ok(runtime)) if !loan.is_suspect() => {
                drop(runtime.spawn(roll_back(loan)))
            }
            _ => loan.close_on_drop(),
        }
    }
}

async fn roll_back(mut loan: Loan) {
    let done = sqlx::raw_sql("rollback").execute(&mut *loan);
    if !matches!(tokio::time::timeout(ROLL_BACK, done).await, Ok(Ok(_))) {
        loan.close_on_drop();
    }
}
