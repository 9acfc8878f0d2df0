//! Pages of a list. A token says after which row the next page begins, and fits only the query that
//! it came from: with another filter or order it is refused, never misread.

use std::fmt::Display;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Datelike, Utc};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::error::{Error, Result};
use crate::input::parse_uuid;

const DEFAULT_SIZE: i32 = 50;
const LARGEST_SIZE: i32 = 1000;
/// Of a token: our own are far shorter.
const MOST_BYTES: usize = 4096;
/// Of a text that is a key: names are far shorter.
const MOST_CHARS: usize = 1000;

/// One page of a list that is read by key.
#[derive(Debug, Clone)]
pub struct Page {
    /// How many rows the page holds at most. Reading one more tells whether there is another page.
    pub limit: i64,
    /// The keys of the last row of the page before; nothing for the first page.
    pub after: Option<Vec<String>>,
    query: String,
}

#[derive(Serialize, Deserialize)]
struct Token {
    q: String,
    k: Vec<String>,
}

impl Page {
    /// `query` is all that decides which rows are listed and how: method, filter, order.
    pub fn parse(page_size: i32, page_token: &str, query: &[&str]) -> Result<Self> {
        if page_size < 0 {
            return Err(Error::invalid("page_size", "must not be negative"));
        }
        let size = if page_size == 0 {
            DEFAULT_SIZE
        } else {
            page_size.min(LARGEST_SIZE)
        };
        let query = fingerprint(query);
        let after = if page_token.is_empty() {
            None
        } else {
            let token = read(page_token).ok_or_else(malformed)?;
            if token.q != query {
                return Err(Error::invalid("page_token", "belongs to another query"));
            }
            Some(token.k)
        };
        Ok(Self {
            limit: size.into(),
            after,
            query,
        })
    }

    /// Where the page begins in a list ordered by (instant, id). The instant has microseconds.
    pub fn after_instant(&self) -> Result<Option<(DateTime<Utc>, Uuid)>> {
        let Some(keys) = &self.after else {
            return Ok(None);
        };
        let [instant, id] = keys.as_slice() else {
            return Err(malformed());
        };
        let instant = instant
            .parse()
            .ok()
            .and_then(DateTime::from_timestamp_micros)
            // Others are no instants to the database.
            .filter(|instant| (1..=9999).contains(&instant.year()));
        Ok(Some((
            instant.ok_or_else(malformed)?,
            parse_uuid(id).ok_or_else(malformed)?,
        )))
    }

    /// Where the page begins in a list ordered by (text, id).
    pub fn after_text(&self) -> Result<Option<(String, Uuid)>> {
        let Some(keys) = &self.after else {
            return Ok(None);
        };
        let [text, id] = keys.as_slice() else {
            return Err(malformed());
        };
        // The one character that the database refuses; others may be in texts that are older than a rule.
        if text.chars().count() > MOST_CHARS || text.contains('\0') {
            return Err(malformed());
        }
        let id = parse_uuid(id).ok_or_else(malformed)?;
        Ok(Some((text.clone(), id)))
    }

    /// Where the page begins in a list ordered by a number of its own.
    pub fn after_number(&self) -> Result<Option<i32>> {
        match self.after.as_deref() {
            None => Ok(None),
            Some([number]) => Ok(Some(number.parse().map_err(|_| malformed())?)),
            Some(_) => Err(malformed()),
        }
    }

    /// Where the page begins in a list ordered by id.
    pub fn after_id(&self) -> Result<Option<Uuid>> {
        match self.after.as_deref() {
            None => Ok(None),
            Some([id]) => Ok(Some(parse_uuid(id).ok_or_else(malformed)?)),
            Some(_) => Err(malformed()),
        }
    }

    /// The token of the page after a row with these keys.
    pub fn next_token(&self, keys: &[&dyn Display]) -> String {
        let token = Token {
            q: self.query.clone(),
            k: keys.iter().map(ToString::to_string).collect(),
        };
        let json = serde_json::to_vec(&token).expect("texts are always JSON");
        URL_SAFE_NO_PAD.encode(json)
    }

    /// The token after a row of a list ordered by (instant, id).
    pub fn next_instant(&self, instant: DateTime<Utc>, id: Uuid) -> String {
        self.next_token(&[&instant.timestamp_micros(), &id])
    }

    /// The token after a row of a list ordered by (text, id).
    pub fn next_text(&self, text: &str, id: Uuid) -> String {
        self.next_token(&[&text, &id])
    }

    /// Cuts rows read with `limit + 1` to the page. The token is empty on the last page.
    pub fn cut<T>(&self, rows: &mut Vec<T>, next: impl FnOnce(&T) -> String) -> String {
        let limit = usize::try_from(self.limit).expect("a page size is small and positive");
        if rows.len() <= limit {
            return String::new();
        }
        rows.truncate(limit);
        rows.last().map(next).unwrap_or_default()
    }
}

fn read(token: &str) -> Option<Token> {
    if token.len() > MOST_BYTES {
        return None;
    }
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token).ok()?).ok()
}

fn malformed() -> Error {
    Error::invalid("page_token", "is not a token that this method returned")
}

fn fingerprint(query: &[&str]) -> String {
    let mut hash = Sha256::new();
    for part in query {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part.as_bytes());
    }
    URL_SAFE_NO_PAD.encode(&hash.finalize()[..12])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn token_continues_its_own_query_only() {
        let page = Page::parse(0, "", &["List", "a = 1"]).expect("valid");
        assert_eq!((page.limit, page.after.clone()), (50, None));
        let token = page.next_token(&[&7, &"x"]);
        let next = Page::parse(5000, &token, &["List", "a = 1"]).expect("valid");
        assert_eq!(next.limit, 1000);
        assert_eq!(next.after, Some(vec!["7".to_owned(), "x".to_owned()]));
        for (token, query) in [
            (token.as_str(), ["List", "a = 2"]),
            (token.as_str(), ["Lista", " = 1"]),
            ("!!", ["List", "a = 1"]),
            ("e30", ["List", "a = 1"]),
        ] {
            let error = Page::parse(1, token, &query).expect_err("refused");
            assert_eq!(error.code(), tonic::Code::InvalidArgument);
        }
        assert!(Page::parse(-1, "", &[]).is_err());
    }

    #[test]
    fn instant_and_id_come_back_as_they_were() {
        let page = Page::parse(1, "", &[]).expect("valid");
        let at = DateTime::from_timestamp_micros(1_700_000_000_123_456).expect("in range");
        let id = Uuid::from_u128(42);
        let next = Page::parse(1, &page.next_instant(at, id), &[]).expect("valid");
        assert_eq!(next.after_instant().expect("well-formed"), Some((at, id)));
        let long_ago = -6_000 * 366 * 86_400 * 1_000_000_i64;
        for forged in [
            page.next_token(&[&"soon", &id]),
            page.next_token(&[&long_ago, &id]),
        ] {
            let forged = Page::parse(1, &forged, &[]).expect("valid");
            assert!(forged.after_instant().is_err());
        }
    }

    #[test]
    fn keys_of_another_kind_are_refused() {
        let page = Page::parse(1, "", &[]).expect("valid");
        let again = |token: &str| Page::parse(1, token, &[]).expect("valid");
        let id = Uuid::from_u128(42);
        let by_name = again(&page.next_text("Ünïcode \"%_", id));
        let after = by_name.after_text().expect("well-formed");
        assert_eq!(after, Some(("Ünïcode \"%_".to_owned(), id)));
        assert!(by_name.after_instant().is_err() && by_name.after_number().is_err());
        let by_id = again(&page.next_token(&[&id]));
        assert_eq!(by_id.after_id().expect("well-formed"), Some(id));
        assert!(by_name.after_id().is_err() && by_id.after_number().is_err());
        let by_number = again(&page.next_token(&[&-7]));
        assert_eq!(by_number.after_number().expect("well-formed"), Some(-7));
        assert!(by_number.after_text().is_err() && by_number.after_instant().is_err());
        for forged in [
            page.next_text("a\0b", id),
            page.next_text(&"x".repeat(1001), id),
            page.next_token(&[&"a", &"no id"]),
            page.next_token(&[&"a", &id, &id]),
            page.next_token(&[&(i64::from(i32::MAX) + 1)]),
            page.next_token(&[]),
        ] {
            let forged = again(&forged);
            assert!(forged.after_text().is_err() && forged.after_number().is_err());
        }
        let long = page.next_text(&"x".repeat(5000), id);
        assert!(Page::parse(1, &long, &[]).is_err());
        assert_eq!(page.after_text().expect("a first page"), None);
        assert_eq!(page.after_number().expect("a first page"), None);
    }

    #[test]
    fn last_page_has_no_token() {
        let page = Page::parse(2, "", &[]).expect("valid");
        let mut rows = vec![1, 2];
        assert_eq!(page.cut(&mut rows, |row| row.to_string()), "");
        rows.push(3);
        assert_eq!(page.cut(&mut rows, |row| row.to_string()), "2");
        assert_eq!(rows, [1, 2]);
    }
}
