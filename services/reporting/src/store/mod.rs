//! All SQL of reporting: free functions on a connection, one statement each.
//! Invariant: rows that several transactions change are locked in key order, ledgers before days.

pub mod days;
pub mod figures;
pub mod held;
pub mod ledgers;
pub mod parked;
pub mod periods;
pub mod query;
pub mod rebuilds;
pub mod rebuilt;
pub mod reports;
pub mod started;
pub mod watched;
pub mod watermark;

use chassis::Error;

/// The reason of events that the database will never take.
pub const EVENTS_REFUSED: &str = "EVENTS_REFUSED";

/// Tells values that the database will never take (an unknown workflow, an instant beyond its calendar)
/// from faults that pass or concern the statement: only the former may be set aside.
fn refused(error: sqlx::Error) -> Error {
    let database = error.as_database_error();
    let class = database.and_then(|error| error.code()).unwrap_or_default();
    match database {
        Some(cause) if ["22", "23", "54"].iter().any(|own| class.starts_with(own)) => {
            Error::precondition(EVENTS_REFUSED, cause.message())
        }
        _ => error.into(),
    }
}
