//! The model on the wire: the only place here that knows generated types. Invariant: what is encoded
//! decodes to an equal value; what cannot is refused, never bent.

mod event;
mod json;
mod status;
mod time;

pub use event::{events_from_proto, events_to_proto};
pub use json::{json_from_list, json_from_struct, struct_from_json, value_from_json};
pub use time::{duration, instant, timestamp};
