//! The two kinds of token and their claims. EdDSA is the only algorithm there is: what a token's own
//! header asks for is never taken as an instruction.

use chrono::{DateTime, TimeDelta, Utc};
use jsonwebtoken::{Algorithm, DecodingKey, Header, Validation};
use model::status::Role;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{PublicKey, User, ed25519};

pub(super) const USER_ISSUER: &str = "workflow-platform/catalog";
pub(super) const SERVICE_ISSUER: &str = "workflow-platform/service";

/// Clocks of one installation may be minutes apart, and its services trust each other.
pub(super) const SERVICE_LEEWAY: TimeDelta = TimeDelta::minutes(10);

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct UserClaims {
    pub sub: Uuid,
    pub email: String,
    pub name: String,
    pub role: String,
    pub groups: Vec<String>,
    pub sid: Uuid,
    /// The account's revision.
    pub rev: i64,
    pub iss: String,
    pub iat: i64,
    pub exp: i64,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct ServiceClaims {
    pub sub: String,
    pub iss: String,
    pub iat: i64,
    pub exp: i64,
}

/// What a token says of itself, before anything is verified: good only for choosing the key.
pub(super) struct Unverified {
    pub kid: Option<String>,
    pub issuer: String,
}

/// Why a token is not accepted; one word for all, so that forgers learn nothing.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refused;

impl Unverified {
    pub(super) fn read(token: &str) -> Result<Self, Refused> {
        #[derive(Deserialize)]
        struct Issuer {
            iss: String,
        }
        let header = jsonwebtoken::decode_header(token).map_err(|_| Refused)?;
        if header.alg != Algorithm::EdDSA {
            return Err(Refused);
        }
        let Issuer { iss } =
            jsonwebtoken::dangerous::insecure_decode_claims(token).map_err(|_| Refused)?;
        Ok(Self {
            kid: header.kid,
            issuer: iss,
        })
    }
}

pub(super) fn verify_user(token: &str, key: &PublicKey) -> Result<(User, DateTime<Utc>), Refused> {
    let claims: UserClaims = verify(token, key, USER_ISSUER)?;
    let user = User {
        id: claims.sub,
        email: claims.email,
        name: claims.name,
        role: Role::parse(&claims.role).ok_or(Refused)?,
        groups: claims.groups,
        session_id: claims.sid,
        revision: claims.rev,
    };
    Ok((
        user,
        DateTime::from_timestamp(claims.exp, 0).ok_or(Refused)?,
    ))
}

pub(super) fn verify_service(
    token: &str,
    key: &PublicKey,
) -> Result<(String, DateTime<Utc>), Refused> {
    let claims: ServiceClaims = verify(token, key, SERVICE_ISSUER)?;
    let expires = DateTime::from_timestamp(claims.exp, 0).ok_or(Refused)?;
    Ok((claims.sub, expires + SERVICE_LEEWAY))
}

/// Signature and issuer. The time is compared by the verifier, which is given the time of day.
fn verify<C: DeserializeOwned>(token: &str, key: &PublicKey, issuer: &str) -> Result<C, Refused> {
    let mut validation = Validation::new(Algorithm::EdDSA);
    validation.validate_exp = false;
    validation.set_required_spec_claims(&["exp", "iss", "sub"]);
    validation.set_issuer(&[issuer]);
    ed25519::install();
    let key = DecodingKey::from_ed_der(&key.bytes);
    let data = jsonwebtoken::decode(token, &key, &validation).map_err(|_| Refused)?;
    Ok(data.claims)
}

pub(super) fn header(kid: &str) -> Header {
    let mut header = Header::new(Algorithm::EdDSA);
    header.kid = Some(kid.to_owned());
    header
}
