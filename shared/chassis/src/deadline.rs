//! The time a caller gives. Its end is DEADLINE_EXCEEDED, on either side of a call.

use std::future::Future;
use std::time::Duration;

use http::HeaderMap;

use crate::error::{Error, Result};

const HEADER: &str = "grpc-timeout";

/// tonic, too, watches the header and says CANCELLED. Being a little early makes our answer the first.
const AHEAD: Duration = Duration::from_millis(3);

/// What the header allows; nothing if there is none, or none that makes sense.
pub(crate) fn of(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(HEADER)?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.len() > 8 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let amount: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(amount * 3600)),
        "M" => Some(Duration::from_secs(amount * 60)),
        "S" => Some(Duration::from_secs(amount)),
        "m" => Some(Duration::from_millis(amount)),
        "u" => Some(Duration::from_micros(amount)),
        "n" => Some(Duration::from_nanos(amount)),
        _ => None,
    }
}

/// The outcome of `work`, unless the time is up before.
pub(crate) async fn within<T>(
    limit: Option<Duration>,
    work: impl Future<Output = Result<T>>,
) -> Result<T> {
    let Some(limit) = limit else {
        return work.await;
    };
    match tokio::time::timeout(limit.saturating_sub(AHEAD), work).await {
        Ok(done) => done,
        Err(_) => Err(Error::deadline_exceeded()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_is_digits_and_a_unit() {
        let parse = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(HEADER, text.parse().expect("a header"));
            of(&headers)
        };
        assert_eq!(parse("90S"), Some(Duration::from_secs(90)));
        assert_eq!(parse("5m"), Some(Duration::from_millis(5)));
        assert_eq!(
            parse("99999999H"),
            Some(Duration::from_secs(99_999_999 * 3600))
        );
        for nonsense in ["", "S", "5", "5s", "-5S", "+5S", "5.0S", "123456789S"] {
            assert_eq!(parse(nonsense), None, "{nonsense}");
        }
        assert_eq!(of(&HeaderMap::new()), None);
    }

    #[tokio::test]
    async fn end_of_time_is_deadline_exceeded() {
        let never = std::future::pending::<Result<()>>();
        let error = within(Some(AHEAD * 2), never).await.expect_err("too late");
        assert_eq!(error.code(), tonic::Code::DeadlineExceeded);
        assert!(
            within(Some(Duration::ZERO), async { Ok(()) }).await.is_ok(),
            "done at once"
        );
        assert!(within(None, async { Ok(()) }).await.is_ok());
    }
}
