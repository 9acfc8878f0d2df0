//! Those who start executions, signal to them and cancel some. Invariant: a call that is repeated carries the same
//! `request_id`.

use std::sync::Arc;
use std::time::Duration;

use model::wire::struct_from_json;
use proto::execution::v1::{CancelExecutionRequest, SignalExecutionRequest, StartExecutionRequest};
use serde_json::{Map, Value, json};
use tokio::sync::watch;

use super::ledger::{Fate, Ledger, Start};
use super::{Definition, Everywhere, Kind};
use crate::chance::Chance;

/// For so long a caller asks again what became of its call.
const INSISTS: Duration = Duration::from_secs(20);

pub struct Caller {
    pub sessions: Everywhere,
    pub ledger: Arc<Ledger>,
    pub definitions: Arc<Vec<Definition>>,
    pub pause: Duration,
}

impl Caller {
    pub async fn work(self, starts: u64, mut chance: Chance, enough: watch::Receiver<bool>) {
        for n in 0..starts {
            if *enough.borrow() {
                return;
            }
            self.start(n, &mut chance).await;
            let most = u64::try_from(self.pause.as_millis()).unwrap_or(0);
            tokio::time::sleep(Duration::from_millis(chance.below(most + 1))).await;
        }
    }

    async fn start(&self, n: u64, chance: &mut Chance) {
        let definition = chance.pick(&self.definitions).clone();
        let mark = request_id(chance);
        let request = StartExecutionRequest {
            workflow_id: definition.workflow_id.clone(),
            metadata: Some(input(&mark, n)),
            request_id: mark.clone(),
            ..StartExecutionRequest::default()
        };
        // Some never ask what became of it.
        let patience = if chance.percent(80) {
            INSISTS
        } else {
            Duration::ZERO
        };
        let call = |session: platform::client::Session| {
            let request = request.clone();
            async move { session.executions.clone().start_execution(request).await }
        };
        let own = (&self.sessions, &mut *chance);
        let started = self.ledger.insist(("start", patience), own, call).await;
        let outcome = started.map(|execution| execution.id);
        let id = outcome.clone();
        self.ledger.book().starts.push(Start { mark, outcome });
        let Ok(id) = id else { return };
        if definition.kind == Kind::Signals && chance.percent(70) {
            self.signal(id, chance).await;
        } else if chance.percent(5) {
            self.cancel(id, chance).await;
        }
    }

    async fn signal(&self, id: String, chance: &mut Chance) {
        let data = struct_from_json(&Map::from_iter([("said".to_owned(), Value::from("yes"))]));
        let request = SignalExecutionRequest {
            id,
            name: "word".into(),
            data: Some(data),
            request_id: request_id(chance),
            ..SignalExecutionRequest::default()
        };
        let call = |session: platform::client::Session| {
            let request = request.clone();
            async move { session.executions.clone().signal_execution(request).await }
        };
        let own = (&self.sessions, chance);
        let _ = self.ledger.insist(("signal", INSISTS), own, call).await;
    }

    async fn cancel(&self, id: String, chance: &mut Chance) {
        let request = CancelExecutionRequest {
            id: id.clone(),
            reason: "no longer needed".into(),
            request_id: request_id(chance),
            compensate: false,
        };
        let call = |session: platform::client::Session| {
            let request = request.clone();
            async move { session.executions.clone().cancel_execution(request).await }
        };
        let own = (&self.sessions, chance);
        let cancelled: Result<_, Fate> = self.ledger.insist(("cancel", INSISTS), own, call).await;
        if cancelled.is_ok() {
            self.ledger.book().cancelled.push(id);
        }
    }
}

/// A UUID that the seed decides.
pub fn request_id(chance: &mut Chance) -> String {
    let (high, low) = (chance.next(), chance.next());
    uuid::Uuid::from_u64_pair(high, low).to_string()
}

/// What an execution starts with: the mark by which it is found again.
pub fn input(mark: &str, n: u64) -> prost_types::Struct {
    let metadata =
        json!({ "mark": mark, "inputData": { "mark": mark, "even": n.is_multiple_of(2) } });
    struct_from_json(metadata.as_object().expect("it is an object"))
}
