//! Who people are: their passwords and sessions, the keys that sign their tokens, the first administrator.
//! Invariant: neither a password nor a private key is ever stored, logged or sent in the clear.

mod admin;
mod guard;
pub mod limits;
mod master_key;
mod passwords;
mod refresh_token;
pub mod sessions;
mod signer;
mod source;

pub use self::admin::ensure_admin;
pub use self::guard::{Guard, Proof};
pub use self::master_key::MasterKey;
pub use self::passwords::Passwords;
pub use self::refresh_token::RefreshToken;
pub use self::signer::Signer;
pub use self::source::Proxies;
