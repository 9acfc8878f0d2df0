//! The accounts of the demo's people. A later run signs in as the same people, so that tasks which a killed
//! run had claimed can still be decided.

use std::path::Path;

use anyhow::{Context, bail};
use proto::catalog::v1::{CreateUserRequest, User};
use tonic::Code;

use super::people::Person;
use crate::client::{Services, Session, again, request_id};

/// Name, and group if any.
const ROLES: [(&str, Option<&str>); 3] = [
    ("manager", Some("manager")),
    ("finance", Some("finance")),
    ("clerk", None),
];

/// Signs everybody in, creating who is missing; the last one is the clerk.
/// They share one password, kept in the data folder so that a later run can sign them in again.
pub async fn everybody(
    services: &Services,
    admin: &Session,
    data_dir: &Path,
) -> anyhow::Result<Vec<Person>> {
    let password = password(data_dir)?;
    let mut people = Vec::new();
    for (name, group) in ROLES {
        let session = account(services, admin, (name, group), &password).await?;
        people.push(Person { session, group });
    }
    Ok(people)
}

/// One password for all of them: made once, readable by the owner of the data folder only.
fn password(data_dir: &Path) -> anyhow::Result<String> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;

    let path = data_dir.join("demo-password");
    if let Ok(kept) = std::fs::read_to_string(&path)
        && kept.trim().len() >= 8
    {
        return Ok(kept.trim().to_owned());
    }
    // Version 7 ids carry 74 random bits each.
    let made = format!(
        "{}{}",
        uuid::Uuid::now_v7().simple(),
        uuid::Uuid::now_v7().simple()
    );
    std::fs::create_dir_all(data_dir)?;
    std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&path)
        .and_then(|mut file| writeln!(file, "{made}"))
        .with_context(|| format!("cannot write {}", path.display()))?;
    Ok(made)
}

/// Signs in `<name>@demo.example`, creating it first if need be. Where an account of that address has
/// another password (the file was lost), the next free number is taken: `<name>-2@demo.example`.
async fn account(
    services: &Services,
    admin: &Session,
    (name, group): (&str, Option<&str>),
    password: &str,
) -> anyhow::Result<Session> {
    for number in 1..100 {
        let email = match number {
            1 => format!("{name}@demo.example"),
            _ => format!("{name}-{number}@demo.example"),
        };
        let request = CreateUserRequest {
            user: Some(User {
                email: email.clone(),
                name: format!("Demo {name}"),
                groups: group.map(str::to_owned).into_iter().collect(),
                ..Default::default()
            }),
            password: password.to_owned(),
            request_id: request_id(),
        };
        let created = again(&admin.users, &request, |mut client, request| async move {
            client.create_user(request).await
        })
        .await;
        match created {
            Ok(_) => {}
            Err(status) if status.code() == Code::AlreadyExists => {}
            Err(status) => return Err(status).context("CreateUser"),
        }
        match services.login(&email, password).await {
            Ok(session) => return Ok(session),
            Err(status) if status.code() == Code::Unauthenticated => {}
            Err(status) => return Err(status).context("Login"),
        }
    }
    bail!("cannot sign in as anybody called {name}@demo.example; is the demo's password file lost?")
}
