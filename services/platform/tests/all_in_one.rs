//! The whole platform with a PostgreSQL of its own: started, stopped, started again, robbed of its database.
#![expect(
    clippy::unwrap_used,
    reason = "a test that unwraps fails with the place"
)]

use std::time::{Duration, Instant};

use chassis::Shutdown;
use devkit::Folder;
use platform::{AllConfig, Running};
use proto::catalog::v1::auth_service_client::AuthServiceClient;
use proto::catalog::v1::client_service_client::ClientServiceClient;
use proto::catalog::v1::{Client, CreateClientRequest, GetClientRequest, LoginRequest};
use tonic::transport::Channel;
use tonic::{Request, Status};

async fn start(folder: &Folder) -> Running {
    let config = AllConfig::on_free_ports(folder.path().to_owned(), None);
    platform::start(config, Shutdown::new()).await.unwrap()
}

async fn channel(running: &Running) -> Channel {
    let address = format!("http://{}", running.addresses.catalog);
    Channel::from_shared(address)
        .unwrap()
        .connect()
        .await
        .unwrap()
}

/// A request as the first administrator, who signs in with what the platform says.
async fn signed<T>(running: &Running, message: T) -> Request<T> {
    let admin = running
        .admin
        .clone()
        .expect("the administrator's password is known");
    let login = LoginRequest {
        email: admin.email,
        password: admin.password,
    };
    let token = AuthServiceClient::new(channel(running).await)
        .login(login)
        .await
        .unwrap()
        .into_inner()
        .access_token;
    let mut request = Request::new(message);
    request
        .metadata_mut()
        .insert("authorization", format!("Bearer {token}").parse().unwrap());
    request
}

async fn create(running: &Running, name: &str) -> Result<Client, Status> {
    let client = Client {
        name: name.into(),
        ..Client::default()
    };
    let message = CreateClientRequest {
        client: Some(client),
        ..CreateClientRequest::default()
    };
    let request = signed(running, message).await;
    Ok(ClientServiceClient::new(channel(running).await)
        .create_client(request)
        .await?
        .into_inner())
}

async fn name_of(running: &Running, id: &str) -> Result<String, Status> {
    let request = signed(running, GetClientRequest { id: id.into() }).await;
    Ok(ClientServiceClient::new(channel(running).await)
        .get_client(request)
        .await?
        .into_inner()
        .name)
}

#[tokio::test(flavor = "multi_thread")]
async fn second_start_finds_what_the_first_one_kept() {
    let folder = Folder::new();
    let first = start(&folder).await;
    assert!(first.admin.as_ref().unwrap().is_new);
    let id = create(&first, "Acme").await.unwrap().id;
    first.stop().await.unwrap();
    let second = start(&folder).await;
    assert!(!second.admin.as_ref().unwrap().is_new);
    assert_eq!(name_of(&second, &id).await.unwrap(), "Acme");
    second.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_database_comes_back_and_nothing_is_lost() {
    let folder = Folder::new();
    let running = start(&folder).await;
    let id = create(&running, "Acme").await.unwrap().id;
    let request = signed(&running, GetClientRequest { id }).await;
    let pid = running.private_database_pid().unwrap();
    let pid = rustix::process::Pid::from_raw(pid.try_into().unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    // Until it is back, callers are told to come again; they never get a wrong answer.
    let deadline = Instant::now() + Duration::from_secs(300);
    let mut clients = ClientServiceClient::new(channel(&running).await);
    let name = loop {
        let mut again = Request::new(request.get_ref().clone());
        *again.metadata_mut() = request.metadata().clone();
        match clients.get_client(again).await {
            Ok(client) => break client.into_inner().name,
            Err(status) => {
                assert_eq!(status.code(), tonic::Code::Unavailable, "{status}");
                assert!(
                    Instant::now() < deadline,
                    "the database did not come back: {status}"
                );
            }
        }
    };
    assert_eq!(name, "Acme");
    running.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn second_platform_in_the_same_folder_is_refused() {
    let folder = Folder::new();
    let first = start(&folder).await;
    let config = AllConfig::on_free_ports(folder.path().to_owned(), None);
    let refusal = platform::start(config, Shutdown::new())
        .await
        .unwrap_err()
        .to_string();
    assert!(refusal.contains("in use by process"), "{refusal}");
    first.stop().await.unwrap();
}
