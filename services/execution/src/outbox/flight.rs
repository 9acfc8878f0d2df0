//! Which outbox rows are on their way. Invariant: what is on its way is bounded in rows and bytes, and a
//! row that may have broken the stream travels alone until it is cleared or parked.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use tokio::time::Instant;
use uuid::Uuid;

/// What may be on its way at once, however much the table holds: memory stays bounded while reporting is
/// slow.
pub const MOST_ROWS: usize = 1000;
const MOST_BYTES: usize = 16 * 1024 * 1024;
/// How long a row is left alone that cannot be decoded, or that reporting refuses.
const PARKED: Duration = Duration::from_secs(60);

/// The rows that the sender knows of.
#[derive(Debug, Default)]
pub struct Flight {
    /// Bytes of each row that was sent and not acknowledged.
    sent: HashMap<Uuid, usize>,
    bytes: usize,
    /// Acknowledged and still in the table.
    acknowledged: Vec<Uuid>,
    /// On their way when a stream broke.
    suspects: HashSet<Uuid>,
    /// Until when each is left alone.
    parked: HashMap<Uuid, Instant>,
}

impl Flight {
    /// Whether another row may be sent now, given the next one of the backlog.
    pub fn has_room(&self, next: Option<&Uuid>) -> bool {
        if next.is_some_and(|id| self.is_suspect(id)) {
            return self.sent.is_empty();
        }
        let travels_alone = self.sent.len() == 1 && self.sent.keys().any(|id| self.is_suspect(id));
        !travels_alone && self.sent.len() < MOST_ROWS && self.bytes < MOST_BYTES
    }

    /// Whether a row must travel alone.
    pub fn is_suspect(&self, id: &Uuid) -> bool {
        self.suspects.contains(id)
    }

    /// Whether a row must not be sent (again) now.
    pub fn knows(&self, id: &Uuid) -> bool {
        self.sent.contains_key(id) || self.parked.contains_key(id) || self.acknowledged.contains(id)
    }

    /// Rows of the table that [`knows`](Self::knows) holds back.
    pub fn known(&self) -> usize {
        self.sent.len() + self.parked.len() + self.acknowledged.len()
    }

    pub fn sent(&mut self, id: Uuid, bytes: usize) {
        if self.sent.insert(id, bytes).is_none() {
            self.bytes += bytes;
        }
    }

    pub fn is_empty(&self) -> bool {
        self.sent.is_empty()
    }

    pub fn acknowledge(&mut self, id: Uuid) {
        if let Some(bytes) = self.sent.remove(&id) {
            self.bytes -= bytes;
            self.suspects.remove(&id);
            self.acknowledged.push(id);
        }
    }

    /// Rows to be deleted; they stay known until [`forget_acknowledged`](Self::forget_acknowledged).
    pub fn acknowledged(&self) -> &[Uuid] {
        &self.acknowledged
    }

    pub fn forget_acknowledged(&mut self) {
        self.acknowledged.clear();
    }

    pub fn park(&mut self, id: Uuid, now: Instant) {
        self.suspects.remove(&id);
        self.parked.insert(id, now + PARKED);
    }

    /// Gives rows that were parked long ago another chance.
    pub fn unpark(&mut self, now: Instant) {
        self.parked.retain(|_, until| *until > now);
    }

    /// The stream broke. If the peer gave a verdict, what was on its way is suspect from now on; a row
    /// that travelled alone is convicted, and returned.
    pub fn break_off(&mut self, verdict: bool, now: Instant) -> Option<Uuid> {
        let lost: Vec<Uuid> = self.sent.drain().map(|(id, _)| id).collect();
        self.bytes = 0;
        if !verdict {
            return None;
        }
        match lost.as_slice() {
            [alone] => {
                self.park(*alone, now);
                Some(*alone)
            }
            _ => {
                self.suspects = lost.into_iter().collect();
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u128) -> Uuid {
        Uuid::from_u128(n)
    }

    #[test]
    fn flight_is_bounded_in_rows_and_bytes() {
        let mut flight = Flight::default();
        for n in 0..MOST_ROWS as u128 {
            assert!(flight.has_room(None));
            flight.sent(id(n), 1);
        }
        assert!(!flight.has_room(None));
        flight.acknowledge(id(0));
        assert!(flight.has_room(None));
        flight.sent(id(0), MOST_BYTES);
        assert!(!flight.has_room(None));
    }

    #[test]
    fn acknowledged_row_is_known_until_it_is_deleted() {
        let mut flight = Flight::default();
        flight.sent(id(1), 5);
        flight.acknowledge(id(1));
        assert!(flight.is_empty() && flight.knows(&id(1)));
        assert_eq!(flight.acknowledged(), [id(1)]);
        flight.forget_acknowledged();
        assert!(!flight.knows(&id(1)));
    }

    #[test]
    fn row_that_breaks_the_stream_is_found_and_parked() {
        let now = Instant::now();
        let mut flight = Flight::default();
        flight.sent(id(1), 5);
        flight.sent(id(2), 5);
        assert_eq!(flight.break_off(true, now), None);
        assert!(flight.has_room(Some(&id(1))));
        flight.sent(id(1), 5);
        assert!(!flight.has_room(None), "a suspect travels alone");
        flight.acknowledge(id(1));
        assert!(flight.has_room(Some(&id(2))));
        flight.sent(id(2), 5);
        assert_eq!(flight.break_off(true, now), Some(id(2)));
        assert!(flight.knows(&id(2)) && flight.has_room(Some(&id(3))));
        flight.unpark(now + PARKED);
        assert!(!flight.knows(&id(2)));
    }

    #[test]
    fn lost_connection_makes_nobody_suspect() {
        let mut flight = Flight::default();
        flight.sent(id(1), 5);
        assert_eq!(flight.break_off(false, Instant::now()), None);
        assert!(!flight.knows(&id(1)) && flight.has_room(Some(&id(1))));
        flight.sent(id(1), 5);
        assert!(flight.has_room(None));
    }
}
