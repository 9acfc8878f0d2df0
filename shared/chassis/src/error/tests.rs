//! What of an error reaches a caller, and what does not.

use super::*;

fn sent(error: Error) -> Status {
    error.into()
}

#[test]
fn every_error_names_a_stable_reason() {
    let soon = Duration::from_secs(7);
    for (error, code, reason) in [
        (
            Error::invalid("name", "is required"),
            Code::InvalidArgument,
            "INVALID_ARGUMENT",
        ),
        (
            Error::not_found("workflow version", 3),
            Code::NotFound,
            "WORKFLOW_VERSION_NOT_FOUND",
        ),
        (
            Error::already_exists("EMAIL_TAKEN", "taken"),
            Code::AlreadyExists,
            "EMAIL_TAKEN",
        ),
        (
            Error::precondition("NOT_DRAFT", "no"),
            Code::FailedPrecondition,
            "NOT_DRAFT",
        ),
        (Error::stale_etag("client"), Code::Aborted, "STALE_ETAG"),
        (
            Error::denied("ADMIN_REQUIRED", "no"),
            Code::PermissionDenied,
            "ADMIN_REQUIRED",
        ),
        (
            Error::unauthenticated("LOGIN_FAILED", "no"),
            Code::Unauthenticated,
            "LOGIN_FAILED",
        ),
        (
            Error::exhausted("OVERLOADED", "no", soon),
            Code::ResourceExhausted,
            "OVERLOADED",
        ),
        (Error::unavailable("AWAY", "no"), Code::Unavailable, "AWAY"),
        (Error::internal("secret"), Code::Internal, "INTERNAL"),
    ] {
        let status = sent(error);
        let info = status.get_details_error_info().expect("always there");
        assert_eq!((status.code(), info.reason.as_str()), (code, reason));
        assert_eq!(info.domain, DOMAIN);
    }
}

#[test]
fn retry_info_stands_where_retrying_helps() {
    let delay = |error| {
        sent(error)
            .get_details_retry_info()
            .and_then(|info| info.retry_delay)
    };
    let busy = Error::exhausted("OVERLOADED", "no", Duration::from_secs(7));
    assert_eq!(delay(busy), Some(Duration::from_secs(7)));
    assert_eq!(delay(Error::unavailable("AWAY", "no")), Some(RETRY_SOON));
    assert_eq!(delay(Error::internal("x")), None);
    assert_eq!(delay(Error::stale_etag("client")), None);
}

#[test]
fn internal_text_is_never_sent() {
    for error in [
        Error::internal("canary"),
        Error::from(sqlx::Error::Protocol("canary".to_owned())),
        Error::from(sqlx::Error::Io(std::io::Error::other("canary"))),
        Error::from(Status::internal("canary")),
        Error::from(Status::unavailable("canary")),
    ] {
        let shown = format!("{error} {error:?} {:?}", sent(error.clone()));
        assert!(!shown.contains("canary"), "{shown}");
    }
}

#[test]
fn violations_are_listed_as_far_as_a_header_holds_them() {
    let many: Vec<Violation> = (0..1000)
        .map(|n| Violation {
            field: format!("steps[{n}].name"),
            description: "x".repeat(50),
        })
        .collect();
    let status = sent(Error::violations(many.clone()));
    let listed = status
        .get_details_bad_request()
        .expect("violations")
        .field_violations;
    assert!(listed.len() > 20 && listed.len() < 100, "{}", listed.len());
    assert!(
        status.message().ends_with("more are not listed)"),
        "{}",
        status.message()
    );
    assert!(status.details().len() < 5000);

    let few = Error::precondition("PROBLEMS", "no").with_violations(many[..2].to_vec());
    let listed = sent(few)
        .get_details_bad_request()
        .expect("violations")
        .field_violations;
    assert_eq!(listed.len(), 2);
    assert_eq!(listed[1].field, "steps[1].name");
}

#[test]
fn pool_without_connections_is_an_outage() {
    for error in [sqlx::Error::PoolTimedOut, sqlx::Error::PoolClosed] {
        let error = Error::from(error);
        assert_eq!(
            (error.code(), error.reason()),
            (Code::Unavailable, "DATABASE_UNAVAILABLE")
        );
    }
    for state in [
        "57P01", "57P03", "08006", "53300", "53100", "55P03", "57014", "25006",
    ] {
        assert!(is_outage(state), "{state}");
    }
    for state in ["23505", "42P01", "40001", "57000", "22021"] {
        assert!(!is_outage(state), "{state}");
    }
}

#[test]
fn answers_of_other_services_keep_their_meaning() {
    let passed_on = Error::from(sent(Error::not_found("workflow", "w1")));
    assert_eq!(passed_on.reason(), "WORKFLOW_NOT_FOUND");
    assert_eq!(passed_on.code(), Code::NotFound);
    let invalid = Error::from(sent(Error::invalid("name", "is required")));
    let listed = sent(invalid)
        .get_details_bad_request()
        .expect("violations")
        .field_violations;
    assert_eq!(listed[0].field, "name");

    for away in [
        Code::Unavailable,
        Code::DeadlineExceeded,
        Code::Cancelled,
        Code::Unknown,
    ] {
        let error = Error::from(Status::new(away, "no"));
        assert_eq!(error.reason(), "DEPENDENCY_UNAVAILABLE", "{away:?}");
    }
    // That our own token or call is wrong is no fault of the one who called us.
    for ours in [
        Code::Unauthenticated,
        Code::PermissionDenied,
        Code::Unimplemented,
    ] {
        assert_eq!(
            Error::from(Status::new(ours, "no")).code(),
            Code::Internal,
            "{ours:?}"
        );
    }
}
