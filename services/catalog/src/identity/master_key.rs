//! The key that seals secrets before they go into the database. Invariant: it stands in its file and in
//! memory only; a copy of the database opens nothing.

use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{Key, KeyInit, XChaCha20Poly1305, XNonce};
use chassis::{Error, Result};
use sha2::{Digest, Sha256};

/// Bytes of the random nonce that stands before each sealed text.
const NONCE: usize = 24;

#[derive(Clone)]
pub struct MasterKey([u8; 32]);

/// Without the key.
impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MasterKey")
    }
}

impl MasterKey {
    /// Reads the file, or makes it, readable by its owner only. Of several processes that start at once
    /// all get the same key.
    pub fn load_or_create(path: &Path) -> Result<Self> {
        if let Some(key) = read(path)? {
            return Ok(key);
        }
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(|e| unusable(path, &e))?;
        }
        let mut key = [0; 32];
        let mut suffix = [0; 8];
        getrandom::fill(&mut key).map_err(Error::internal)?;
        getrandom::fill(&mut suffix).map_err(Error::internal)?;
        let draft = path.with_extension(format!("{:016x}", u64::from_be_bytes(suffix)));
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(0o600);
        let written = options.open(&draft).and_then(|mut file| {
            file.write_all(&key)?;
            file.sync_all()?;
            // The whole file appears under its name, or somebody else's does.
            fs::hard_link(&draft, path)
        });
        let removed = fs::remove_file(&draft);
        match written {
            Err(e) if e.kind() != ErrorKind::AlreadyExists => return Err(unusable(path, &e)),
            _ => removed.map_err(|e| unusable(path, &e))?,
        }
        read(path)?.ok_or_else(|| unusable(path, &ErrorKind::NotFound.into()))
    }

    /// Encrypts; `purpose` is bound to the result and needed to open it.
    pub fn seal(&self, purpose: &str, secret: &[u8]) -> Result<Vec<u8>> {
        let mut sealed = vec![0; NONCE];
        getrandom::fill(&mut sealed).map_err(Error::internal)?;
        let nonce = XNonce::try_from(sealed.as_slice()).expect("the nonce has its length");
        let payload = Payload {
            msg: secret,
            aad: purpose.as_bytes(),
        };
        let text = (self.cipher().encrypt(&nonce, payload)).map_err(Error::internal)?;
        sealed.extend(text);
        Ok(sealed)
    }

    /// Decrypts what was sealed with this key for this purpose, and nothing else.
    pub fn open(&self, purpose: &str, sealed: &[u8]) -> Option<Vec<u8>> {
        let (nonce, text) = sealed.split_at_checked(NONCE)?;
        let nonce = XNonce::try_from(nonce).ok()?;
        let payload = Payload {
            msg: text,
            aad: purpose.as_bytes(),
        };
        self.cipher().decrypt(&nonce, payload).ok()
    }

    /// A digest by which a secret is recognised again, and which cannot be guessed at without the key.
    pub fn fingerprint(&self, secret: &str) -> String {
        let mut digest = Sha256::new();
        digest.update(self.0);
        digest.update(secret.as_bytes());
        // Twice, so that nobody who knows a digest can compute that of a longer secret.
        let inner = digest.finalize();
        (Sha256::digest(inner).iter())
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }

    fn cipher(&self) -> XChaCha20Poly1305 {
        XChaCha20Poly1305::new(&Key::from(self.0))
    }
}

fn read(path: &Path) -> Result<Option<MasterKey>> {
    match fs::read(path) {
        Ok(bytes) => match bytes.try_into() {
            Ok(key) => Ok(Some(MasterKey(key))),
            Err(_) => Err(Error::precondition(
                "KEY_FILE_INVALID",
                format!("{} does not hold 32 bytes", path.display()),
            )),
        },
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        Err(e) => Err(unusable(path, &e)),
    }
}

fn unusable(path: &Path, error: &std::io::Error) -> Error {
    Error::internal(format_args!("key file {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_opens_for_its_purpose_only() {
        let key = MasterKey([7; 32]);
        let sealed = key.seal("signing-key a", b"secret").expect("seals");
        assert_eq!(
            key.open("signing-key a", &sealed).as_deref(),
            Some(&b"secret"[..])
        );
        assert_eq!(key.open("signing-key b", &sealed), None);
        assert_eq!(MasterKey([8; 32]).open("signing-key a", &sealed), None);
        assert_eq!(key.open("signing-key a", &sealed[..10]), None);
        assert_ne!(sealed, key.seal("signing-key a", b"secret").expect("seals"));
    }

    #[test]
    fn fingerprints_need_the_key() {
        let key = MasterKey([7; 32]);
        assert_eq!(key.fingerprint("a"), key.fingerprint("a"));
        assert_ne!(key.fingerprint("a"), key.fingerprint("b"));
        assert_ne!(key.fingerprint("a"), MasterKey([8; 32]).fingerprint("a"));
    }
}
