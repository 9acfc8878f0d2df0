//! The launcher against what happens to servers and to those who start them.
#![expect(
    clippy::unwrap_used,
    reason = "a test that unwraps fails with the place"
)]

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use devkit::{Durability, Folder, Options, Postgres};
use sqlx::{Connection, PgConnection};

/// A server that was killed looks at all its files again.
const PATIENCE: Duration = Duration::from_secs(300);

/// Tells this same test, started again as a process of its own, to hold a server in the folder named.
const HOLD: &str = "DEVKIT_TEST_HOLD";

fn options(folder: &Path) -> Options {
    Options {
        folder: folder.to_owned(),
        durability: Durability::Durable,
        fetch: false,
    }
}

async fn start(folder: &Path) -> anyhow::Result<Postgres> {
    let options = options(folder);
    tokio::task::spawn_blocking(move || Postgres::start(&options, &|_| {})).await?
}

async fn connect(postgres: &Postgres) -> PgConnection {
    PgConnection::connect(&postgres.url("postgres"))
        .await
        .unwrap()
}

async fn write(postgres: &Postgres) {
    let mut connection = connect(postgres).await;
    sqlx::raw_sql("create table kept (v int); insert into kept values (42)")
        .execute(&mut connection)
        .await
        .unwrap();
}

async fn read(postgres: &Postgres) -> i32 {
    sqlx::query_scalar("select v from kept")
        .fetch_one(&mut connect(postgres).await)
        .await
        .unwrap()
}

fn kill(pid: u32) {
    let pid = i32::try_from(pid)
        .ok()
        .and_then(rustix::process::Pid::from_raw)
        .unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
}

fn poll<T>(mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited in vain");
        std::thread::yield_now();
    }
}

#[tokio::test]
async fn stopped_server_finds_its_data_again() {
    let folder = Folder::new();
    let first = start(folder.path()).await.unwrap();
    write(&first).await;
    first.stop();
    // What a killed initdb leaves must not be in the way.
    fs::create_dir(folder.path().join("postgres.new")).unwrap();
    let second = start(folder.path()).await.unwrap();
    assert_eq!(read(&second).await, 42);
}

#[tokio::test]
async fn killed_server_comes_back_by_itself() {
    let folder = Folder::new();
    let postgres = start(folder.path()).await.unwrap();
    write(&postgres).await;
    let before = postgres.pid().unwrap();
    kill(before);
    poll(|| postgres.pid().filter(|pid| *pid != before));
    let url = postgres.url("postgres");
    let deadline = Instant::now() + PATIENCE;
    while PgConnection::connect(&url).await.is_err() {
        assert!(Instant::now() < deadline, "the server did not come back");
        tokio::task::yield_now().await;
    }
    assert_eq!(read(&postgres).await, 42);
    assert!(postgres.lost().borrow().is_none());
}

#[tokio::test]
async fn second_starter_is_told_who_holds_the_folder() {
    let folder = Folder::new();
    let _first = start(folder.path()).await.unwrap();
    let refusal = start(folder.path()).await.unwrap_err().to_string();
    assert!(
        refusal.contains(&format!("process {}", std::process::id())),
        "{refusal}"
    );
}

#[tokio::test]
async fn data_of_another_version_are_refused_and_left_alone() {
    let folder = Folder::new();
    start(folder.path()).await.unwrap().stop();
    let file = folder.path().join("postgres/PG_VERSION");
    fs::write(&file, "7\n").unwrap();
    let refusal = start(folder.path()).await.unwrap_err().to_string();
    assert!(refusal.contains("written by PostgreSQL 7"), "{refusal}");
    assert_eq!(fs::read_to_string(&file).unwrap(), "7\n");
}

#[tokio::test]
async fn killed_owner_leaves_nothing_that_stops_the_next_one() {
    if let Some(folder) = std::env::var_os(HOLD) {
        return hold_until_killed(Path::new(&folder)).await;
    }
    let folder = Folder::new();
    let mut owner = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "--nocapture",
            "killed_owner_leaves_nothing_that_stops_the_next_one",
        ])
        .env(HOLD, folder.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(owner.stdout.take().unwrap()).lines();
    assert!(
        lines.any(|line| line.unwrap().contains("holding")),
        "the owner did not start"
    );
    owner.kill().unwrap();
    owner.wait().unwrap();
    let next = start(folder.path()).await.unwrap();
    assert_eq!(read(&next).await, 42);
}

async fn hold_until_killed(folder: &Path) {
    let postgres = start(folder).await.unwrap();
    write(&postgres).await;
    let mut out = std::io::stdout();
    // The other side reads this line as the word to kill us.
    writeln!(out, "holding").unwrap();
    std::future::pending().await
}

#[tokio::test]
async fn folder_that_the_servers_user_cannot_reach_is_replaced_by_a_public_one() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let folder = Folder::new();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700)).unwrap();
    let data = folder.path().join("data");
    let first = start(&data).await.unwrap();
    write(&first).await;
    let home = first.home().to_owned();
    assert!(!home.starts_with(folder.path()));
    first.stop();
    let second = start(&data).await.unwrap();
    assert_eq!((second.home(), read(&second).await), (home.as_path(), 42));
    second.stop();
    fs::remove_dir_all(home).unwrap();
}

/// Downloads 14 MB, so only where the environment wants no other programs: WFP_POSTGRES_BIN_DIR=own.
#[tokio::test]
async fn fetched_programs_serve() {
    if std::env::var("WFP_POSTGRES_BIN_DIR").is_ok_and(|wanted| wanted == "own") {
        fetch_and_serve().await;
    }
}

async fn fetch_and_serve() {
    let folder = Folder::new();
    let options = Options {
        fetch: true,
        ..options(folder.path())
    };
    let started =
        tokio::task::spawn_blocking(move || Postgres::start(&options, &|said| eprintln!("{said}")));
    let postgres = started.await.unwrap().unwrap();
    write(&postgres).await;
    assert_eq!(read(&postgres).await, 42);
    let version = sqlx::query_scalar::<_, String>("show server_version")
        .fetch_one(&mut connect(&postgres).await)
        .await;
    assert!(version.unwrap().starts_with("18."));
}

#[tokio::test]
async fn root_serves_a_cluster_in_its_owners_name() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let folder = Folder::new();
    let first = start(folder.path()).await.unwrap();
    write(&first).await;
    let cluster = first.home().join("postgres");
    first.stop();
    let given = Command::new("chown")
        .args(["-R", "65534:65534"])
        .arg(cluster)
        .status()
        .unwrap();
    assert!(given.success());
    assert_eq!(read(&start(folder.path()).await.unwrap()).await, 42);
}
