//! Who people are: their passwords, the key that signs their tokens, the first administrator. Invariant:
//! neither a password nor a private key is ever stored, logged or sent in the clear.

mod admin;
mod master_key;
mod passwords;
mod signer;

pub use self::admin::ensure_admin;
pub use self::master_key::MasterKey;
pub use self::passwords::Passwords;
pub use self::signer::Signer;
