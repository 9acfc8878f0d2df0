//! What jsonwebtoken signs and verifies with: Ed25519 and nothing else. Its own providers bring every
//! algorithm of the standard with them, and with those the time to build them.

use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use jsonwebtoken::crypto::{CryptoProvider, JwtSigner, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::{ErrorKind, Result};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey};
use signature::{Error, Signer, Verifier};

static PROVIDER: CryptoProvider = CryptoProvider {
    signer_factory: signer,
    verifier_factory: verifier,
    // Keys in JSON (JWK) do not occur here.
    key_utils: KeyUtils::new_unimplemented(),
};

/// To be called before the library signs or verifies; often is as good as once.
pub(super) fn install() {
    // An error says that it is installed already.
    let _ = PROVIDER.install_default();
}

/// The key is 32 bytes of seed.
fn signer(algorithm: &Algorithm, key: &EncodingKey) -> Result<Box<dyn JwtSigner>> {
    only(algorithm)?;
    let seed = key.as_bytes().try_into().map_err(|_| unusable())?;
    Ok(Box::new(Private(SigningKey::from_bytes(seed))))
}

/// The key is the point's 32 bytes.
fn verifier(algorithm: &Algorithm, key: &DecodingKey) -> Result<Box<dyn JwtVerifier>> {
    only(algorithm)?;
    let bytes = key.try_get_as_bytes()?.try_into().map_err(|_| unusable())?;
    let key = VerifyingKey::from_bytes(bytes).map_err(|_| unusable())?;
    Ok(Box::new(Public(key)))
}

fn only(algorithm: &Algorithm) -> Result<()> {
    match algorithm {
        Algorithm::EdDSA => Ok(()),
        _ => Err(ErrorKind::InvalidAlgorithm.into()),
    }
}

fn unusable() -> jsonwebtoken::errors::Error {
    ErrorKind::InvalidEddsaKey.into()
}

struct Private(SigningKey);

impl Signer<Vec<u8>> for Private {
    fn try_sign(&self, message: &[u8]) -> std::result::Result<Vec<u8>, Error> {
        Ok(self.0.sign(message).to_bytes().to_vec())
    }
}

impl JwtSigner for Private {
    fn algorithm(&self) -> Algorithm {
        Algorithm::EdDSA
    }
}

struct Public(VerifyingKey);

impl Verifier<Vec<u8>> for Public {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> std::result::Result<(), Error> {
        let signature = Signature::from_slice(signature).map_err(|_| Error::new())?;
        self.0
            .verify_strict(message, &signature)
            .map_err(|_| Error::new())
    }
}

impl JwtVerifier for Public {
    fn algorithm(&self) -> Algorithm {
        Algorithm::EdDSA
    }
}
