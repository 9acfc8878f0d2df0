//! ClientService. Invariant: an update touches the fields that its mask names, and no others.

use chassis::auth;
use chassis::idempotency::RequestKey;
use chassis::input::Input;
use chassis::mask::Mask;
use chassis::{Error, Result, db};
use model::wire;
use proto::catalog::v1 as pb;
use proto::catalog::v1::client_service_server::ClientService;
use sqlx::PgPool;
use tonic::{Request, Response};
use uuid::Uuid;

use super::{Answer, check_etag, present};
use crate::fields::{self, ClientFields};
use crate::store::audit::{self, Object};
use crate::store::clients::{self, Client};
use crate::store::requests;

mod list;

const CHANGEABLE: &[&str] = &[
    "name",
    "email",
    "phone",
    "address",
    "company",
    "notes",
    "is_active",
];

pub struct Clients {
    pub pool: PgPool,
}

#[tonic::async_trait]
impl ClientService for Clients {
    async fn create_client(&self, request: Request<pb::CreateClientRequest>) -> Answer<pb::Client> {
        let caller = auth::caller(&request)?.clone();
        let mut request = request.into_inner();
        let request_id = std::mem::take(&mut request.request_id);
        let key = RequestKey::from(&caller, "CreateClient", &request_id, &request)?;
        let wanted = present("client", request.client)?;
        let mut input = Input::new();
        let mut fields = ClientFields::default();
        patch(
            &mut fields,
            &wanted,
            &Mask::parse(None, CHANGEABLE, CHANGEABLE)?,
            &mut input,
        );
        input.finish()?;

        let id = Uuid::now_v7();
        let client = db::transaction(&self.pool, async move |conn| {
            if let Some(id) = requests::claim(conn, key.as_ref(), id).await? {
                return found(clients::get(conn, id).await?, id);
            }
            clients::insert(conn, id, &fields).await?;
            let lines = [format!("created client {:?}", fields.name)];
            audit::record(conn, &caller, "CreateClient", Object::Client(id), &lines).await?;
            found(clients::get(conn, id).await?, id)
        })
        .await?;
        Ok(Response::new(message(client)))
    }

    async fn get_client(&self, request: Request<pb::GetClientRequest>) -> Answer<pb::Client> {
        let mut input = Input::new();
        let id = input.uuid("id", &request.get_ref().id);
        input.finish()?;
        let mut conn = db::acquire(&self.pool).await?;
        let client = found(clients::get(&mut conn, id).await?, id)?;
        Ok(Response::new(message(client)))
    }

    async fn list_clients(
        &self,
        request: Request<pb::ListClientsRequest>,
    ) -> Answer<pb::ListClientsResponse> {
        let page = list::list(&self.pool, request.into_inner()).await?;
        Ok(Response::new(page))
    }

    async fn update_client(&self, request: Request<pb::UpdateClientRequest>) -> Answer<pb::Client> {
        let caller = auth::caller(&request)?.clone();
        let request = request.into_inner();
        let wanted = present("client", request.client)?;
        let mask = Mask::parse(request.update_mask.as_ref(), CHANGEABLE, &filled(&wanted))?;
        let mut input = Input::new();
        let id = input.uuid("client.id", &wanted.id);
        patch(&mut ClientFields::default(), &wanted, &mask, &mut input);
        input.finish()?;

        let client = db::transaction(&self.pool, async move |conn| {
            let before = found(clients::lock(conn, id).await?, id)?;
            check_etag("client", &wanted.etag, before.revision)?;
            let mut fields = before.fields.clone();
            patch(&mut fields, &wanted, &mask, &mut Input::new());
            let lines = before.fields.changes(&fields);
            if !lines.is_empty() {
                clients::update(conn, id, &fields).await?;
                audit::record(conn, &caller, "UpdateClient", Object::Client(id), &lines).await?;
            }
            found(clients::get(conn, id).await?, id)
        })
        .await?;
        Ok(Response::new(message(client)))
    }

    async fn delete_client(&self, request: Request<pb::DeleteClientRequest>) -> Answer<()> {
        let caller = auth::caller(&request)?.clone();
        let request = request.into_inner();
        let mut input = Input::new();
        let id = input.uuid("id", &request.id);
        input.finish()?;
        db::transaction(&self.pool, async move |conn| {
            let client = found(clients::lock(conn, id).await?, id)?;
            check_etag("client", &request.etag, client.revision)?;
            let lines = [format!("deleted client {:?}", client.fields.name)];
            audit::record(conn, &caller, "DeleteClient", Object::Client(id), &lines).await?;
            clients::delete(conn, id).await
        })
        .await?;
        Ok(Response::new(()))
    }
}

fn found(client: Option<Client>, id: Uuid) -> Result<Client> {
    client.ok_or_else(|| Error::not_found("client", id))
}

/// The fields that the message fills in.
fn filled(client: &pb::Client) -> Vec<&'static str> {
    [
        ("name", !client.name.is_empty()),
        ("email", !client.email.is_empty()),
        ("phone", !client.phone.is_empty()),
        ("address", !client.address.is_empty()),
        ("company", !client.company.is_empty()),
        ("notes", !client.notes.is_empty()),
        ("is_active", client.is_active.is_some()),
    ]
    .into_iter()
    .filter_map(|(field, is_filled)| is_filled.then_some(field))
    .collect()
}

/// Takes over what the mask names; what is wrong with it goes to `input`.
fn patch(fields: &mut ClientFields, wanted: &pb::Client, mask: &Mask, input: &mut Input) {
    if mask.has("name") {
        fields.name = input.name("client.name", &wanted.name, fields::NAME);
    }
    if mask.has("email") {
        let email = input.text("client.email", &wanted.email, fields::EMAIL);
        if let Some(fault) = fields::email_fault(&email).filter(|_| !email.is_empty()) {
            input.push("client.email", fault);
        }
        fields.email = fields::non_empty(email);
    }
    if mask.has("phone") {
        let phone = input.text("client.phone", &wanted.phone, fields::PHONE);
        fields.phone = fields::non_empty(phone);
    }
    if mask.has("address") {
        let address = input.text("client.address", &wanted.address, fields::ADDRESS);
        fields.address = fields::non_empty(address);
    }
    if mask.has("company") {
        let company = input.name("client.company", &wanted.company, fields::COMPANY);
        fields.company = fields::non_empty(company);
    }
    if mask.has("notes") {
        let notes = input.text("client.notes", &wanted.notes, fields::NOTES);
        fields.notes = fields::non_empty(notes);
    }
    if mask.has("is_active") {
        fields.is_active = wanted.is_active.unwrap_or(true);
    }
}

fn message(client: Client) -> pb::Client {
    let fields = client.fields;
    pb::Client {
        id: client.id.to_string(),
        name: fields.name,
        email: fields.email.unwrap_or_default(),
        phone: fields.phone.unwrap_or_default(),
        address: fields.address.unwrap_or_default(),
        company: fields.company.unwrap_or_default(),
        notes: fields.notes.unwrap_or_default(),
        is_active: Some(fields.is_active),
        created_at: Some(wire::timestamp(client.created_at)),
        updated_at: Some(wire::timestamp(client.updated_at)),
        etag: client.revision.to_string(),
    }
}
