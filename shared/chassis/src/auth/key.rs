//! Keys that sign: the catalog's for people's tokens, the installation's for those of its services.
//! A seed never leaves this module except into its own file.

use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, TimeDelta, Utc};
use jsonwebtoken::EncodingKey;
use serde::Serialize;

use super::token::{self, SERVICE_ISSUER, ServiceClaims, USER_ISSUER, UserClaims};
use super::{User, ed25519};
use crate::error::{Error, Result};

/// How long a service's token is good for.
const SERVICE_TOKEN_LIFE: TimeDelta = TimeDelta::minutes(5);

/// The half of a key that verifies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey {
    /// The `kid` of the tokens it verifies.
    pub id: String,
    pub bytes: [u8; 32],
}

/// An Ed25519 key that signs tokens.
#[derive(Clone)]
pub struct SigningKey {
    public: PublicKey,
    private: EncodingKey,
}

impl SigningKey {
    pub fn from_seed(id: impl Into<String>, seed: &[u8; 32]) -> Self {
        let pair = ed25519_dalek::SigningKey::from_bytes(seed);
        Self {
            public: PublicKey {
                id: id.into(),
                bytes: pair.verifying_key().to_bytes(),
            },
            private: EncodingKey::from_ed_der(seed),
        }
    }

    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    /// An access token for a person.
    pub fn user_token(
        &self,
        user: &User,
        issued_at: DateTime<Utc>,
        expires_at: DateTime<Utc>,
    ) -> Result<String> {
        self.sign(&UserClaims {
            sub: user.id,
            email: user.email.clone(),
            name: user.name.clone(),
            role: user.role.as_str().to_owned(),
            groups: user.groups.clone(),
            sid: user.session_id,
            rev: user.revision,
            iss: USER_ISSUER.to_owned(),
            iat: issued_at.timestamp(),
            exp: expires_at.timestamp(),
        })
    }

    fn sign(&self, claims: &impl Serialize) -> Result<String> {
        ed25519::install();
        jsonwebtoken::encode(&token::header(&self.public.id), claims, &self.private)
            .map_err(Error::internal)
    }
}

/// Without the private half.
impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SigningKey").field(&self.public).finish()
    }
}

/// The key by which the services of one installation recognise each other.
#[derive(Debug, Clone)]
pub struct ServiceKey(SigningKey);

impl ServiceKey {
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(SigningKey::from_seed("service", seed))
    }

    /// Reads the key file, or makes it. Of several processes that start at once, all get the same key.
    pub fn load_or_create(path: &Path) -> Result<Self> {
        if let Some(key) = read(path)? {
            return Ok(key);
        }
        let fault = |e| Error::internal(format_args!("key file {}: {e}", path.display()));
        let folder = path.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(folder).map_err(fault)?;

        let mut bytes = [0; 48];
        getrandom::fill(&mut bytes).map_err(Error::internal)?;
        let (seed, suffix) = bytes.split_at(32);
        let suffix = u128::from_be_bytes(suffix.try_into().expect("16 bytes are left"));
        let draft = path.with_extension(format!("{suffix:032x}"));
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&draft)
            .map_err(fault)?;
        file.write_all(STANDARD.encode(seed).as_bytes())
            .map_err(fault)?;
        file.sync_all().map_err(fault)?;
        // A link appears whole or not at all, and only if nobody else's is there already.
        let linked = fs::hard_link(&draft, path);
        fs::remove_file(&draft).map_err(fault)?;
        match linked {
            Err(e) if e.kind() != ErrorKind::AlreadyExists => Err(fault(e)),
            _ => read(path)?.ok_or_else(|| fault(ErrorKind::NotFound.into())),
        }
    }

    pub fn public(&self) -> &PublicKey {
        self.0.public()
    }

    /// A token with which the service `name` calls others for some minutes, and when it ends.
    pub fn token(&self, name: &str, now: DateTime<Utc>) -> Result<(String, DateTime<Utc>)> {
        let expires = now + SERVICE_TOKEN_LIFE;
        let token = self.0.sign(&ServiceClaims {
            sub: name.to_owned(),
            iss: SERVICE_ISSUER.to_owned(),
            iat: now.timestamp(),
            exp: expires.timestamp(),
        })?;
        Ok((token, expires))
    }
}

fn read(path: &Path) -> Result<Option<ServiceKey>> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        Err(e) => {
            return Err(Error::internal(format_args!(
                "key file {}: {e}",
                path.display()
            )));
        }
    };
    let seed = STANDARD
        .decode(text.trim())
        .ok()
        .and_then(|bytes| bytes.try_into().ok());
    match seed {
        Some(seed) => Ok(Some(ServiceKey::from_seed(&seed))),
        None => Err(Error::precondition(
            "KEY_FILE_INVALID",
            format!("{} does not hold 32 bytes in base64", path.display()),
        )),
    }
}
