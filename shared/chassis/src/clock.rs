//! The process's own clock. Invariant: it judges tokens and nothing else; whatever is stored or due follows the
//! database's clock.

use chrono::{DateTime, Utc};

/// For judging and making tokens.
pub fn now() -> DateTime<Utc> {
    let now = Utc::now();
    #[cfg(feature = "faults")]
    let now = now + chrono::TimeDelta::seconds(crate::fault::clock_offset());
    now
}
