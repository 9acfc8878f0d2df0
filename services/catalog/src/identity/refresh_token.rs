//! Refresh tokens: which session, a secret that lasts as long as it does, and one that each refresh
//! replaces. Invariant: the secrets leave this module in the token and as digests, and no other way.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chassis::{Error, Result};
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// Whoever shows the lasting secret had a token of the session once; with the present rotating one, it is
/// the newest.
#[derive(Clone, PartialEq)]
pub struct RefreshToken {
    pub session_id: Uuid,
    lasting: [u8; 16],
    rotating: [u8; 32],
}

impl RefreshToken {
    /// The first one of a session.
    pub fn first(session_id: Uuid) -> Result<Self> {
        let mut first = Self {
            session_id,
            lasting: [0; 16],
            rotating: [0; 32],
        };
        getrandom::fill(&mut first.lasting).map_err(Error::internal)?;
        first.next()
    }

    /// The one that takes this one's place.
    pub fn next(&self) -> Result<Self> {
        let mut next = self.clone();
        getrandom::fill(&mut next.rotating).map_err(Error::internal)?;
        Ok(next)
    }

    /// Nothing if the text has not the form of a token.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes: [u8; 64] = URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()?;
        let (id, rest) = bytes.split_first_chunk()?;
        let (lasting, rotating) = rest.split_first_chunk()?;
        Some(Self {
            session_id: Uuid::from_bytes(*id),
            lasting: *lasting,
            rotating: rotating.try_into().ok()?,
        })
    }

    pub fn text(&self) -> String {
        let id: &[u8] = self.session_id.as_bytes();
        URL_SAFE_NO_PAD.encode([id, &self.lasting, &self.rotating].concat())
    }

    pub fn lasting_digest(&self) -> Vec<u8> {
        Sha256::digest(self.lasting).to_vec()
    }

    pub fn rotating_digest(&self) -> Vec<u8> {
        Sha256::digest(self.rotating).to_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_read_as_it_was_written() {
        let first = RefreshToken::first(Uuid::from_u128(7)).expect("random");
        let next = first.next().expect("random");
        for token in [&first, &next] {
            assert!(RefreshToken::parse(&token.text()).as_ref() == Some(token));
        }
        assert_eq!(first.session_id, next.session_id);
        assert_eq!(first.lasting_digest(), next.lasting_digest());
        assert_ne!(first.rotating_digest(), next.rotating_digest());
        let text = first.text();
        let padded = format!("{text}==");
        for bad in ["", "x", &text[1..], &padded, &text.replace(['A', 'B'], "+")] {
            assert!(RefreshToken::parse(bad).is_none(), "{bad}");
        }
    }
}
