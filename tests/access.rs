//! Who may call what: every call of the contract, made by everybody who may come. The calls come from the
//! descriptors and the expectations from a table of rows, so a new call without a row fails.

use std::collections::BTreeMap;

use anyhow::{Context, ensure};
use chassis::auth::{SigningKey, User};
use chrono::{DateTime, TimeDelta, Utc};
use devkit::Database;
use http::uri::PathAndQuery;
use model::status::Role;
use prost::Message;
use prost_types::FileDescriptorSet;
use proto::catalog::v1::ApiKeyScope;
use sqlx::{Connection, PgConnection};
use tonic::metadata::MetadataValue;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};
use tonic_prost::ProstCodec;
use uuid::Uuid;

use self::table::Level::{self, Admin, Internal, Member, Open, Person, Worker};
use self::table::table;
use crate::story::{Outcome, Story, reason_of, until};

mod table;

/// Ends the session of whoever calls it: it is called last.
const ENDS_THE_SESSION: &str = "AuthService/Logout";

/// Everybody who may come.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Who {
    Nobody,
    /// Everything is right but the time.
    Expired,
    /// The signature is another token's.
    BadSignature,
    /// The token says that it needs no signature.
    NoAlgorithm,
    /// Signed by a key that the catalog never published.
    UnknownKey,
    /// The same, under the name of one that it did.
    OtherKey,
    Deactivated,
    User,
    Admin,
    WorkerKey,
    ServiceKey,
    Internal,
}

impl Who {
    /// Code and reason of the refusal; none if such a caller is let in.
    fn refused(self, level: Level) -> Option<(Code, &'static str)> {
        let unauthenticated = |reason| Some((Code::Unauthenticated, reason));
        let denied = |reason| Some((Code::PermissionDenied, reason));
        if level == Open {
            return None;
        }
        match (self, level) {
            (Who::Nobody, _) => unauthenticated("TOKEN_MISSING"),
            (Who::Expired, _) => unauthenticated("TOKEN_EXPIRED"),
            (Who::BadSignature | Who::NoAlgorithm | Who::UnknownKey | Who::OtherKey, _) => {
                unauthenticated("TOKEN_INVALID")
            }
            (Who::Deactivated, _) => unauthenticated("TOKEN_REVOKED"),
            (Who::Internal, Internal) => None,
            (_, Internal) => denied("INTERNAL_ONLY"),
            (Who::Admin, _) => None,
            (_, Admin) => denied("ADMIN_REQUIRED"),
            (Who::User, _) => None,
            (Who::Internal, _) => denied("USER_REQUIRED"),
            (_, Person) => denied("USER_REQUIRED"),
            (Who::ServiceKey, _) => None,
            (_, Member) => denied("SCOPE_REQUIRED"),
            (_, Worker | Open) => None,
        }
    }

    /// What is wrong with an answer, if something is.
    fn complaint(self, level: Level, answer: Result<(), Status>) -> Option<String> {
        let (code, reason) = match answer {
            Ok(()) => (Code::Ok, String::new()),
            Err(status) => (status.code(), reason_of(&status)),
        };
        let as_expected = match self.refused(level) {
            Some(expected) => (code, reason.as_str()) == expected,
            // Let in; whatever is wrong then is the empty message.
            None => match code {
                Code::Ok | Code::InvalidArgument | Code::NotFound | Code::FailedPrecondition => {
                    true
                }
                Code::Unauthenticated => !reason.starts_with("TOKEN_"),
                _ => false,
            },
        };
        (!as_expected).then(|| format!("answers {self:?} with {code:?} {reason}"))
    }
}

/// The package of every call of the contract, by `Service/Method`.
fn contract() -> anyhow::Result<BTreeMap<String, String>> {
    let set = FileDescriptorSet::decode(proto::DESCRIPTORS)?;
    let mut calls = BTreeMap::new();
    for file in set.file {
        let package = file.package().to_owned();
        for service in file
            .service
            .iter()
            .filter(|_| package.starts_with("workflow."))
        {
            for method in &service.method {
                let call = format!("{}/{}", service.name(), method.name());
                calls.insert(call, package.clone());
            }
        }
    }
    ensure!(
        calls.len() > 50,
        "the contract is not where this test looks"
    );
    Ok(calls)
}

#[test]
fn every_call_of_the_contract_has_its_row() -> Outcome {
    let rows: Vec<String> = table()?.into_keys().collect();
    let calls: Vec<String> = contract()?.into_keys().collect();
    assert_eq!(rows, calls);
    Ok(())
}

/// The way to each service, by package.
struct Ways(BTreeMap<&'static str, Channel>);

impl Ways {
    fn to(story: &Story) -> anyhow::Result<Self> {
        let at = &story.running.addresses;
        let way = |address| -> anyhow::Result<Channel> {
            Ok(Endpoint::from_shared(format!("http://{address}"))?.connect_lazy())
        };
        Ok(Self(BTreeMap::from([
            ("workflow.catalog.v1", way(at.catalog)?),
            ("workflow.execution.v1", way(at.execution)?),
            ("workflow.reporting.v1", way(at.reporting)?),
        ])))
    }

    /// What an empty message is answered with.
    async fn call(
        &self,
        package: &str,
        call: &str,
        token: &str,
    ) -> anyhow::Result<Result<(), Status>> {
        let channel = self.0.get(package).context("a service of the platform")?;
        let mut client = tonic::client::Grpc::new(channel.clone());
        client.ready().await?;
        let mut request = Request::new(tokio_stream::once(()));
        if !token.is_empty() {
            let value = MetadataValue::try_from(format!("Bearer {token}"))?;
            request.metadata_mut().insert("authorization", value);
        }
        let path: PathAndQuery = format!("/{package}.{call}").parse()?;
        let codec = ProstCodec::<(), ()>::default();
        Ok(match client.streaming(request, path, codec).await {
            Ok(mut answer) => answer.get_mut().message().await.map(|_| ()),
            Err(status) => Err(status),
        })
    }
}

/// A key that the platform publishes as one of its own, and whose private half is here.
fn published() -> SigningKey {
    SigningKey::from_seed("of-the-test", &[77; 32])
}

/// An administrator's token for as many minutes from now.
fn signed(key: &SigningKey, minutes: i64) -> anyhow::Result<String> {
    let user = User {
        id: Uuid::now_v7(),
        email: "somebody@example.com".into(),
        name: "Somebody".into(),
        role: Role::Admin,
        groups: Vec::new(),
        session_id: Uuid::now_v7(),
        revision: 1,
    };
    let now: DateTime<Utc> = Utc::now();
    let issued = now - TimeDelta::minutes(15);
    Ok(key.user_token(&user, issued, now + TimeDelta::minutes(minutes))?)
}

/// On a database that knows the test's key before the platform starts.
async fn begin() -> anyhow::Result<Story> {
    let database = Database::new().await;
    let mut connection = PgConnection::connect(&database.admin_url()).await?;
    let public = published().public().clone();
    // The private half is nothing that the master key opens, so nobody but this test signs with it.
    sqlx::query(
        "insert into catalog.signing_keys (id, public_key, sealed_private_key) values ($1, $2, $2)",
    )
    .bind(public.id)
    .bind(&public.bytes[..])
    .execute(&mut connection)
    .await?;
    connection.close().await?;
    Story::begin_on(database).await
}

async fn callers(story: &Story, ways: &Ways) -> anyhow::Result<Vec<(Who, String)>> {
    let admin = story.another_admin().await?.token;
    let user = story.user("clerk", &[]).await?.token;
    let leaver = story.user("leaver", &[]).await?.token;
    let (_, worker) = story.machine(ApiKeyScope::Worker).await?;
    let (_, service) = story.machine(ApiKeyScope::Service).await?;
    let (header, rest) = admin.split_once('.').context("a token has three parts")?;
    let (claims, _) = rest.split_once('.').context("a token has three parts")?;
    let (_, signature) = user.rsplit_once('.').context("a token has three parts")?;
    let strangers = |name: &str| SigningKey::from_seed(name, &[78; 32]);
    let callers = vec![
        (Who::Nobody, String::new()),
        (Who::Expired, signed(&published(), -1)?),
        (Who::BadSignature, format!("{header}.{claims}.{signature}")),
        // `{"alg":"none"}`
        (Who::NoAlgorithm, format!("eyJhbGciOiJub25lIn0.{claims}.")),
        (Who::UnknownKey, signed(&strangers("unknown"), 10)?),
        (Who::OtherKey, signed(&strangers("of-the-test"), 10)?),
        (Who::Deactivated, leaver.clone()),
        (Who::User, user),
        (Who::Admin, admin),
        (Who::WorkerKey, worker.token),
        (Who::ServiceKey, service.token),
        (Who::Internal, story.internal_token()?),
    ];
    story
        .alter(
            "update catalog.users set is_active = false, access_changed_at = now()
             where email = 'leaver@example.com'",
        )
        .await?;
    // Each service learns of it by itself.
    for (package, call) in [
        ("workflow.catalog.v1", "ClientService/ListClients"),
        ("workflow.execution.v1", "ExecutionService/ListExecutions"),
        ("workflow.reporting.v1", "ReportService/ListReports"),
    ] {
        until("a user who left is refused", async || {
            Ok(ways.call(package, call, &leaver).await?.is_err())
        })
        .await?;
    }
    Ok(callers)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_call_is_for_those_whom_the_table_names() -> Outcome {
    let story = begin().await?;
    let ways = Ways::to(&story)?;
    // What the expired token lacks is time and nothing else.
    let good = signed(&published(), 10)?;
    let known = ways.call(
        "workflow.execution.v1",
        "ExecutionService/CheckExecutions",
        &good,
    );
    known.await??;

    let callers = callers(&story, &ways).await?;
    let (rows, contract) = (table()?, contract()?);
    let mut calls: Vec<(&String, &String)> = contract.iter().collect();
    calls.sort_by_key(|(call, _)| call.as_str() == ENDS_THE_SESSION);
    let mut wrong = Vec::new();
    for (call, package) in calls {
        let level = *rows
            .get(call)
            .with_context(|| format!("{call} has no row"))?;
        for (who, token) in &callers {
            let answer = ways.call(package, call, token).await?;
            let complaint = who.complaint(level, answer);
            wrong.extend(complaint.map(|complaint| format!("{call} {complaint}")));
        }
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    story.end().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unknown_calls_are_unimplemented_and_a_changed_token_is_refused() -> Outcome {
    let story = Story::begin().await?;
    let ways = Ways::to(&story)?;
    let package = "workflow.catalog.v1";
    let answer = ways
        .call(package, "Nothing/Here", &story.admin.token)
        .await?;
    assert_eq!(
        answer.err().map(|status| status.code()),
        Some(Code::Unimplemented)
    );

    let whoami = "AuthService/GetCurrentUser";
    let token = story.admin.token.as_str();
    ensure!(
        ways.call(package, whoami, token).await?.is_ok(),
        "the admin is let in"
    );
    let (signed, signature) = token.rsplit_once('.').context("a token has three parts")?;
    let (header, claims) = signed.split_once('.').context("a token has three parts")?;
    // The first letter of the claims is changed.
    let other = if claims.starts_with('f') { "g" } else { "f" };
    let changed = format!("{header}.{other}{}.{signature}", &claims[1..]);
    let answer = ways.call(package, whoami, &changed).await?;
    assert_eq!(
        answer.err().map(|status| status.code()),
        Some(Code::Unauthenticated)
    );
    story.end().await
}
