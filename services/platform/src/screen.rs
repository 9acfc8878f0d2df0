//! What a person sees when all of it runs: where, and what to type next.
//!
//! Invariant: a password stands here only on the day it was made; later only the name of its file does.

use std::fmt::Write;
use std::path::Path;

use crate::all::Running;
use crate::services::Addresses;

pub fn render(running: &Running, data: &Path) -> String {
    let Addresses {
        catalog,
        execution,
        reporting,
    } = running.addresses;
    let mut text = format!(
        "\nWorkflow Platform is running.\n\n  \
         catalog    {catalog}   users, clients, workflows\n  \
         execution  {execution}   executions, tasks, jobs\n  \
         reporting  {reporting}   reports\n"
    );
    if let Some(url) = &running.private_database_url {
        let _ = writeln!(text, "  database   psql '{url}'");
    }
    let _ = writeln!(text, "  admin      {}", admin(running));
    let _ = write!(
        text,
        "\nTo try next, in another terminal:\n\n  {}\n",
        demo(data)
    );
    if let Some(login) = login(running) {
        let _ = writeln!(text, "{login}");
    }
    let _ = write!(
        text,
        "\nCtrl-C stops it; what it holds stays in {}.\n",
        data.display()
    );
    text
}

fn admin(running: &Running) -> String {
    let Some(admin) = &running.admin else {
        return "was there before; its password is not known here".into();
    };
    match &admin.file {
        None => format!("{}, with the password from WFP_ADMIN_PASSWORD", admin.email),
        Some(file) if admin.is_new => {
            format!(
                "{}, password {} (kept in {})",
                admin.email,
                admin.password,
                file.display()
            )
        }
        Some(file) => format!("{}, password in {}", admin.email, file.display()),
    }
}

fn demo(data: &Path) -> String {
    // Set by cargo for what it runs.
    let program = if std::env::var_os("CARGO").is_some() {
        "cargo run --release --"
    } else {
        "workflow-platform"
    };
    let folder = match data.to_str() {
        Some(".workflow-platform") => String::new(),
        _ => format!("WFP_DATA_DIR='{}' ", data.display()),
    };
    format!("{folder}{program} demo")
}

/// Taken from the file when it is run, so that the line stays right and tells nobody anything.
fn login(running: &Running) -> Option<String> {
    let admin = running.admin.as_ref()?;
    let password = match &admin.file {
        Some(file) => format!("$(cat '{}')", file.display()),
        None => "$WFP_ADMIN_PASSWORD".into(),
    };
    let body = format!(
        r#""{{\"email\": \"{}\", \"password\": \"{password}\"}}""#,
        admin.email
    );
    let catalog = running.addresses.catalog;
    let method = "workflow.catalog.v1.AuthService/Login";
    Some(format!(
        "  grpcurl -plaintext -d {body} \\\n    {catalog} {method}\n  \
         npx -y @bufbuild/buf curl --protocol grpc --http2-prior-knowledge -d {body} \\\n    \
         http://{catalog}/{method}"
    ))
}
