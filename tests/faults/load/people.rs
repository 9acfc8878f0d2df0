//! People who decide what their inbox shows, and get in each other's way. Invariant: a person who was told OK has
//! decided, and notes what.

use std::sync::Arc;
use std::time::Duration;

use platform::client::Session;
use proto::execution::v1::{
    ApproveTaskRequest, ClaimTaskRequest, ListTasksRequest, RejectTaskRequest,
};
use tokio::sync::watch;

use super::Everywhere;
use super::callers::request_id;
use super::ledger::{Decision, Fate, Ledger};
use crate::chance::Chance;

const INSISTS: Duration = Duration::from_secs(5);

pub struct Person {
    pub sessions: Everywhere,
    pub ledger: Arc<Ledger>,
}

impl Person {
    pub async fn work(self, mut chance: Chance, done: watch::Receiver<bool>) {
        while !*done.borrow() {
            let session = chance.pick(&self.sessions).clone();
            let request = ListTasksRequest {
                page_size: 20,
                filter: "mine = true".into(),
                ..ListTasksRequest::default()
            };
            let mut tasks = session.tasks;
            let page = self.ledger.call("list", tasks.list_tasks(request)).await;
            let inbox = page.map(|page| page.tasks).unwrap_or_default();
            if inbox.is_empty() {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            for task in inbox {
                self.settle(task.id, &mut chance).await;
            }
        }
    }

    async fn settle(&self, id: String, chance: &mut Chance) {
        let request = ClaimTaskRequest {
            id: id.clone(),
            request_id: request_id(chance),
        };
        let claim = |session: Session| {
            let request = request.clone();
            async move { session.tasks.clone().claim_task(request).await }
        };
        let own = (&self.sessions, &mut *chance);
        let _: Result<_, Fate> = self.ledger.insist(("claim", INSISTS), own, claim).await;
        // Whoever could not claim it tries to decide all the same.
        let (approved, request_id) = (chance.percent(70), request_id(chance));
        let decide = |session: Session| {
            let (id, request_id) = (id.clone(), request_id.clone());
            async move { decide(&session, approved, id, request_id).await }
        };
        let own = (&self.sessions, &mut *chance);
        let decided: Result<_, Fate> = self.ledger.insist(("decide", INSISTS), own, decide).await;
        let by = self.sessions.first().map(|session| session.email.clone());
        if let (Ok(_), Some(by)) = (decided, by) {
            let decision = Decision {
                task: id,
                approved,
                by,
            };
            self.ledger.book().decisions.push(decision);
        }
    }
}

pub async fn decide(
    session: &Session,
    approved: bool,
    id: String,
    request_id: String,
) -> Result<tonic::Response<proto::execution::v1::Task>, tonic::Status> {
    let comment = "as agreed".to_owned();
    let mut tasks = session.tasks.clone();
    if approved {
        let request = ApproveTaskRequest {
            id,
            comment,
            request_id,
        };
        tasks.approve_task(request).await
    } else {
        let request = RejectTaskRequest {
            id,
            comment,
            request_id,
        };
        tasks.reject_task(request).await
    }
}
