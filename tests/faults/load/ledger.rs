//! What callers were told, to be held against the database. Invariant: an answer is noted as what the caller may
//! conclude from it: done, not done, or nothing.

use std::collections::HashMap;
use std::error::Error;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tonic::{Code, Response, Status};

use super::Everywhere;
use crate::chance::Chance;

/// Whoever waits longer for an answer leaves.
const PATIENCE: Duration = Duration::from_secs(4);

/// How a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    Refused(Code),
    Unknown,
}

#[derive(Debug)]
pub struct Start {
    /// Its `request_id`, which is also in the input.
    pub mark: String,
    pub outcome: Result<String, Fate>,
}

#[derive(Debug)]
pub struct Completion {
    pub job: String,
    /// Of the output.
    pub mark: String,
}

#[derive(Debug)]
pub struct Decision {
    pub task: String,
    pub approved: bool,
    pub by: String,
}

#[derive(Debug, Default)]
pub struct Book {
    pub starts: Vec<Start>,
    pub completions: Vec<Completion>,
    pub decisions: Vec<Decision>,
    /// Executions whose cancelling was answered OK.
    pub cancelled: Vec<String>,
    /// How often work was begun, by idempotency key.
    pub effects: HashMap<String, u32>,
    pub ok: u64,
    pub refused: u64,
    pub unknown: u64,
    /// Answers that no server may give.
    pub improper: Vec<String>,
}

#[derive(Debug, Default)]
pub struct Ledger(Mutex<Book>);

impl Ledger {
    pub fn book(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes one call and notes how it ended.
    pub async fn call<T>(
        &self,
        what: &str,
        call: impl Future<Output = Result<Response<T>, Status>>,
    ) -> Result<T, Fate> {
        self.call_within(PATIENCE, what, call).await
    }

    pub async fn call_within<T>(
        &self,
        patience: Duration,
        what: &str,
        call: impl Future<Output = Result<Response<T>, Status>>,
    ) -> Result<T, Fate> {
        let answer = tokio::time::timeout(patience, call).await;
        let mut book = self.book();
        match answer {
            Ok(Ok(response)) => {
                book.ok += 1;
                Ok(response.into_inner())
            }
            Ok(Err(status)) => {
                let fate = fate(&status);
                if is_improper(&status) {
                    book.improper.push(format!("{what}: {status}"));
                }
                match fate {
                    Fate::Refused(_) => book.refused += 1,
                    Fate::Unknown => book.unknown += 1,
                }
                Err(fate)
            }
            Err(_) => {
                book.unknown += 1;
                Err(Fate::Unknown)
            }
        }
    }

    /// Makes the same call again, at any replica, while nothing can be concluded from its answers.
    pub async fn insist<T, F>(
        &self,
        (what, patience): (&str, Duration),
        (sessions, chance): (&Everywhere, &mut Chance),
        call: impl Fn(platform::client::Session) -> F,
    ) -> Result<T, Fate>
    where
        F: Future<Output = Result<Response<T>, Status>>,
    {
        let begun = Instant::now();
        let mut may_be_done = false;
        loop {
            let session = chance.pick(sessions).clone();
            let fate = match self.call(what, call(session)).await {
                Ok(answer) => return Ok(answer),
                Err(fate) => fate,
            };
            let again = matches!(
                fate,
                Fate::Unknown | Fate::Refused(Code::ResourceExhausted | Code::Unauthenticated)
            );
            may_be_done |= fate == Fate::Unknown;
            if !again || begun.elapsed() > patience {
                return Err(if may_be_done { Fate::Unknown } else { fate });
            }
            tokio::time::sleep(Duration::from_millis(chance.within(20..200))).await;
        }
    }
}

fn fate(status: &Status) -> Fate {
    match status.code() {
        Code::Unavailable
        | Code::DeadlineExceeded
        | Code::Cancelled
        | Code::Unknown
        | Code::Internal
        | Code::DataLoss => Fate::Unknown,
        code => Fate::Refused(code),
    }
}

/// A connection that broke has a cause on this side; what a server says has none.
fn is_improper(status: &Status) -> bool {
    let is_nonsense = matches!(
        status.code(),
        Code::Unknown | Code::Internal | Code::DataLoss
    );
    is_nonsense && status.source().is_none()
}
