//! The error that a call ends with. Owns the way from a fault to the wire: no other file builds a
//! `Status`, and nothing internal (SQL, paths, panics) ever gets into one.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt::{self, Display};
use std::time::Duration;

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The `domain` of every ErrorInfo.
pub const DOMAIN: &str = "workflow-platform";

/// How soon a caller may try again when nothing better is known.
const RETRY_SOON: Duration = Duration::from_secs(1);

/// Details travel in a header, and common clients refuse headers of more than 8 KiB.
const MAX_VIOLATION_BYTES: usize = 3 * 1024;
const MAX_MESSAGE_CHARS: usize = 1000;

/// Something wrong with one field of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The path of the field, as in the proto: `step.config.timeout`.
    pub field: String,
    pub description: String,
}

/// A fault as its caller may see it: a code, a stable reason and a message without secrets.
#[derive(Clone)]
pub struct Error(Box<Fault>);

#[derive(Debug, Clone)]
struct Fault {
    code: Code,
    reason: Cow<'static, str>,
    message: String,
    violations: Vec<Violation>,
    retry_after: Option<Duration>,
    /// The database gave up one of several transactions in each other's way: again, it may succeed.
    conflict: bool,
}

impl Error {
    fn new(code: Code, reason: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self(Box::new(Fault {
            code,
            reason: reason.into(),
            message: message.into(),
            violations: Vec::new(),
            retry_after: None,
            conflict: false,
        }))
    }

    /// One malformed field.
    pub fn invalid(field: impl Into<String>, description: impl Into<String>) -> Self {
        Self::violations(vec![Violation {
            field: field.into(),
            description: description.into(),
        }])
    }

    /// Several malformed fields, all at once.
    pub fn violations(violations: Vec<Violation>) -> Self {
        let message = match violations.as_slice() {
            [one] => format!("{}: {}", one.field, one.description),
            many => format!("{} fields are invalid", many.len()),
        };
        Self::new(Code::InvalidArgument, "INVALID_ARGUMENT", message).with_violations(violations)
    }

    /// Adds what is wrong in detail to an error of another kind.
    pub fn with_violations(mut self, violations: Vec<Violation>) -> Self {
        self.0.violations = violations;
        self
    }

    /// `kind` is the thing's name in the glossary ("workflow version"); the reason is made from it.
    pub fn not_found(kind: &'static str, id: impl Display) -> Self {
        let reason = format!("{}_NOT_FOUND", upper_snake(kind));
        Self::new(Code::NotFound, reason, format!("no {kind} {id}"))
    }

    pub fn already_exists(reason: &'static str, message: impl Into<String>) -> Self {
        Self::new(Code::AlreadyExists, reason, message)
    }

    /// The request is well-formed but the thing's state forbids it.
    pub fn precondition(reason: &'static str, message: impl Into<String>) -> Self {
        Self::new(Code::FailedPrecondition, reason, message)
    }

    /// The caller's copy is not the latest: read again, decide again.
    pub fn stale_etag(kind: &'static str) -> Self {
        let message = format!("the {kind} has changed since it was read");
        Self::new(Code::Aborted, "STALE_ETAG", message)
    }

    pub fn denied(reason: &'static str, message: impl Into<String>) -> Self {
        Self::new(Code::PermissionDenied, reason, message)
    }

    pub fn unauthenticated(reason: &'static str, message: impl Into<String>) -> Self {
        Self::new(Code::Unauthenticated, reason, message)
    }

    pub fn exhausted(
        reason: &'static str,
        message: impl Into<String>,
        retry_after: Duration,
    ) -> Self {
        Self::new(Code::ResourceExhausted, reason, message).retry_after(retry_after)
    }

    pub(crate) fn database_unavailable() -> Self {
        Self::unavailable(
            "DATABASE_UNAVAILABLE",
            "the database does not answer in time",
        )
    }

    /// Nothing is wrong with the request: the same one may succeed a little later.
    pub fn unavailable(reason: &'static str, message: impl Into<String>) -> Self {
        Self::new(Code::Unavailable, reason, message).retry_after(RETRY_SOON)
    }

    /// A fault of ours. What happened is logged here, once, and goes no further.
    #[track_caller]
    pub fn internal(detail: impl Display) -> Self {
        let at = std::panic::Location::caller();
        tracing::error!(error = %detail, at = %at, "internal error");
        Self::new(Code::Internal, "INTERNAL", "internal error")
    }

    pub(crate) fn deadline_exceeded() -> Self {
        let message = "the deadline passed before there was an answer; the work may still be done";
        Self::new(Code::DeadlineExceeded, "DEADLINE_EXCEEDED", message)
    }

    pub(crate) fn unimplemented(path: &str) -> Self {
        let message = format!("there is no method {path}");
        Self::new(Code::Unimplemented, "METHOD_NOT_FOUND", message)
    }

    /// Another transaction was in the way: `db::transaction` and the committer try again.
    pub fn conflict(message: &str) -> Self {
        let mut error = Self::unavailable("DATABASE_CONFLICT", message);
        error.0.conflict = true;
        error
    }

    fn retry_after(mut self, delay: Duration) -> Self {
        self.0.retry_after = Some(delay);
        self
    }

    pub fn code(&self) -> Code {
        self.0.code
    }

    /// Stable and UPPER_SNAKE: what programs compare.
    pub fn reason(&self) -> &str {
        &self.0.reason
    }

    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The malformed fields, of an error that names some.
    pub fn fields(&self) -> &[Violation] {
        &self.0.violations
    }

    /// Whether the transaction that ended with this may simply be run again.
    pub fn is_conflict(&self) -> bool {
        self.0.conflict
    }

    /// The answer of a call that never reached its handler.
    pub(crate) fn into_http(self) -> http::Response<tonic::body::Body> {
        Status::from(self).into_http()
    }

    /// What a stream ends with that had begun well.
    pub(crate) fn into_trailers(self) -> http::HeaderMap {
        let (mut parts, ()) = Status::from(self).into_http::<()>().into_parts();
        parts.headers.remove(http::header::CONTENT_TYPE);
        parts.headers
    }

    /// The name of the constraint that a statement violated. To be asked where the statement is run:
    /// only there is it known what the violation means to the caller.
    pub fn constraint(error: &sqlx::Error) -> Option<&str> {
        error.as_database_error()?.constraint()
    }
}

impl Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.0.message, self.0.reason)?;
        if self.0.violations.len() > 1 {
            for violation in &self.0.violations {
                write!(f, "; {}: {}", violation.field, violation.description)?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl std::error::Error for Error {}

impl From<sqlx::Error> for Error {
    #[track_caller]
    fn from(error: sqlx::Error) -> Self {
        use sqlx::Error as Db;
        let state = error.as_database_error().and_then(|e| e.code());
        match (&error, state.as_deref()) {
            (_, Some("40001" | "40P01")) => {
                tracing::debug!(%error, "transaction given up by the database");
                Self::conflict("the call met others in its way")
            }
            // Cut off (08, 57P0x), full (53), read-only after a failover, or waited too long for a
            // lock or a statement.
            (_, Some(state)) if is_outage(state) => outage(&error),
            (
                Db::PoolTimedOut
                | Db::PoolClosed
                | Db::WorkerCrashed
                | Db::BeginFailed
                | Db::Io(_)
                | Db::Tls(_),
                _,
            ) => outage(&error),
            _ => Self::internal(error),
        }
    }
}

pub(crate) fn is_outage(sqlstate: &str) -> bool {
    ["08", "53", "57P0"]
        .iter()
        .any(|class| sqlstate.starts_with(class))
        || matches!(sqlstate, "25006" | "55P03" | "57014")
}

fn outage(error: &sqlx::Error) -> Error {
    tracing::warn!(%error, "the database does not answer");
    Error::database_unavailable()
}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        let fault = *error.0;
        let mut details = ErrorDetails::with_error_info(fault.reason, DOMAIN, HashMap::new());
        if let Some(delay) = fault.retry_after {
            details.set_retry_info(Some(delay));
        }
        let (listed, left_out) = fitting(fault.violations);
        for violation in listed {
            details.add_bad_request_violation(violation.field, violation.description);
        }
        let mut message: String = fault.message.chars().take(MAX_MESSAGE_CHARS).collect();
        if left_out > 0 {
            message.push_str(&format!(" ({left_out} more are not listed)"));
        }
        Status::with_error_details(fault.code, message, details)
    }
}

/// As many violations as a header holds, and how many it does not.
fn fitting(violations: Vec<Violation>) -> (Vec<Violation>, usize) {
    let mut bytes = 0;
    let fit = violations
        .iter()
        .take_while(|v| {
            bytes += v.field.len() + v.description.len() + 8;
            bytes <= MAX_VIOLATION_BYTES
        })
        .count();
    let left_out = violations.len() - fit;
    (violations.into_iter().take(fit).collect(), left_out)
}

/// What a call to another service of the platform ended with, as an error of the call that needed it.
impl From<Status> for Error {
    #[track_caller]
    fn from(status: Status) -> Self {
        let info = status
            .get_details_error_info()
            .filter(|info| info.domain == DOMAIN);
        match (status.code(), info) {
            (
                Code::InvalidArgument
                | Code::NotFound
                | Code::AlreadyExists
                | Code::FailedPrecondition
                | Code::Aborted
                | Code::ResourceExhausted,
                Some(info),
            ) => {
                let mut error = Self::new(status.code(), info.reason, status.message());
                if let Some(bad) = status.get_details_bad_request() {
                    error.0.violations = bad
                        .field_violations
                        .into_iter()
                        .map(|v| Violation {
                            field: v.field,
                            description: v.description,
                        })
                        .collect();
                }
                error.0.retry_after = status
                    .get_details_retry_info()
                    .and_then(|retry| retry.retry_delay);
                error
            }
            (Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled | Code::Unknown, _) => {
                unreachable_peer(&status)
            }
            // A connection that broke in mid-call; a peer's own INTERNAL carries no source.
            _ if std::error::Error::source(&status).is_some() => unreachable_peer(&status),
            _ => Self::internal(format_args!("another service answered: {status}")),
        }
    }
}

fn unreachable_peer(status: &Status) -> Error {
    tracing::warn!(%status, "another service does not answer");
    Error::unavailable(
        "DEPENDENCY_UNAVAILABLE",
        "another service of the platform does not answer",
    )
}

fn upper_snake(kind: &str) -> String {
    kind.chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() {
                c.to_ascii_uppercase()
            } else {
                '_'
            }
        })
        .collect()
}

#[cfg(test)]
mod tests;
