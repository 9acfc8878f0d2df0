//! Who calls: one administrator, who starts and works, and two people, who decide. Invariant: each of them
//! can call every replica.

use anyhow::Context;
use platform::client::{Services, Session, again, request_id};
use proto::catalog::v1::{ApplyWorkflowRequest, CreateUserRequest, PublishWorkflowRequest, User};

pub const ADMIN: &str = "admin@localhost";
pub const PASSWORD: &str = "correct horse battery staple";
const PEOPLE: [&str; 2] = ["ann@example.com", "ben@example.com"];

/// One caller at every replica.
pub type Everywhere = Vec<Session>;

pub struct Sessions {
    pub admin: Everywhere,
    pub people: Vec<Everywhere>,
}

impl Sessions {
    /// Signs everybody in; `replicas` are the addresses of execution.
    pub async fn begin(
        catalog: &str,
        replicas: &[String],
        reporting: &str,
    ) -> anyhow::Result<Self> {
        let admin = everywhere((catalog, replicas, reporting), ADMIN).await?;
        let mut people = Vec::new();
        for email in PEOPLE {
            let request = CreateUserRequest {
                user: Some(User {
                    email: email.into(),
                    name: email.into(),
                    ..User::default()
                }),
                password: PASSWORD.into(),
                request_id: request_id(),
            };
            let first = admin.first().context("there is a replica")?;
            first.users.clone().create_user(request).await?;
            people.push(everywhere((catalog, replicas, reporting), email).await?);
        }
        Ok(Self { admin, people })
    }

    /// Applies a document and publishes it; returns the workflow's id.
    pub async fn publish(&self, document: &str) -> anyhow::Result<String> {
        let admin = self.admin.first().context("there is a replica")?;
        let request = ApplyWorkflowRequest {
            document: document.into(),
            ..ApplyWorkflowRequest::default()
        };
        let applied = again(
            &admin.workflows,
            &request,
            |mut client, request| async move { client.apply_workflow(request).await },
        );
        let applied = applied
            .await
            .with_context(|| format!("applying {document}"))?;
        let id = applied.workflow.context("a workflow was applied")?.id;
        let request = PublishWorkflowRequest {
            id,
            ..PublishWorkflowRequest::default()
        };
        let published = admin.workflows.clone().publish_workflow(request).await;
        let published = published.with_context(|| format!("publishing {document}"))?;
        Ok(published.into_inner().id)
    }
}

async fn everywhere(
    (catalog, replicas, reporting): (&str, &[String], &str),
    email: &str,
) -> anyhow::Result<Everywhere> {
    let mut sessions: Everywhere = Vec::new();
    for replica in replicas {
        let services = Services::at(catalog, replica, reporting)?;
        sessions.push(match sessions.first() {
            Some(first) => services.bearing(email, first.token.clone())?,
            None => services.login(email, PASSWORD).await?,
        });
    }
    Ok(sessions)
}
