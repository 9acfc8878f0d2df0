//! Who takes what. Invariant: `credit >= held + reserved` of a worker, unless its credit was lowered.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use uuid::Uuid;

use crate::leasing::Taker;
use crate::rpc::jobs::Outgoing;
use crate::rpc::jobs::job::{self, Job};

/// How long the result of a look holds: jobs that other replicas queued meanwhile wait no longer behind those that
/// go past the queue.
const FRESH: Duration = Duration::from_secs(1);
/// Jobs of one lease.
const AT_ONCE: usize = 1000;
/// What a look takes of each worker when nobody is known to wait: the rest stays for what is queued meanwhile.
const A_FEW: usize = 16;

#[derive(Debug, Default)]
pub(super) struct Board {
    streams: BTreeMap<u64, Stream>,
    next: u64,
    /// So that each look begins with another worker.
    looks: usize,
    lines: HashMap<String, Line>,
    /// Leased to workers that never saw them, and their holders.
    pub unseen: Vec<(Uuid, Arc<str>)>,
    /// Who has jobs that are held but not yet on their way.
    sending: Vec<u64>,
}

#[derive(Debug)]
struct Stream {
    taker: Taker,
    reserved: usize,
    /// Until when each job is held, as this process measures it.
    held: HashMap<Uuid, Instant>,
    sending: Vec<Job>,
    outgoing: Outgoing,
}

/// Who wants jobs of one type.
#[derive(Debug, Default)]
struct Line {
    /// The next one first.
    streams: VecDeque<u64>,
    /// Until when the last look counts that found nobody waiting.
    clear_until: Option<Instant>,
    /// Jobs that this replica queued, ever and since that look began.
    queued: u64,
    waiting: u64,
    /// Whether the queue may have something for those who have credit.
    is_behind: bool,
}

/// A look into the queue.
#[derive(Debug)]
pub(super) struct Look {
    pub takers: Vec<Taker>,
    ids: Vec<u64>,
    began: Instant,
    /// Of each type: what was queued before.
    queued: HashMap<String, u64>,
}

impl Stream {
    fn free(&self) -> usize {
        let used = self.held.len() + self.reserved;
        match self.outgoing.has_room() {
            true => self.taker.limit.saturating_sub(used),
            false => 0,
        }
    }
}

/// Whether the queue may have something for this worker.
fn is_behind(lines: &HashMap<String, Line>, stream: &Stream) -> bool {
    let mut lines = stream.taker.job_types.iter().map(|it| lines.get(it));
    lines.any(|line| line.is_some_and(|line| line.is_behind))
}

impl Board {
    pub fn join(&mut self, taker: Taker, outgoing: Outgoing) -> u64 {
        self.next += 1;
        let id = self.next;
        for job_type in taker.job_types.iter() {
            let line = self.lines.entry(job_type.clone()).or_default();
            line.streams.push_back(id);
            line.is_behind = true;
        }
        let stream = Stream {
            taker,
            reserved: 0,
            held: HashMap::new(),
            sending: Vec::new(),
            outgoing,
        };
        self.streams.insert(id, stream);
        id
    }

    pub fn leave(&mut self, id: u64) {
        let Some(stream) = self.streams.remove(&id) else {
            return;
        };
        for job_type in stream.taker.job_types.iter() {
            if let Some(line) = self.lines.get_mut(job_type) {
                line.streams.retain(|other| *other != id);
                if line.streams.is_empty() {
                    self.lines.remove(job_type);
                }
            }
        }
        let unsent = stream.outgoing.close();
        self.give_back(&stream.taker.holder, unsent);
    }

    pub fn has_streams(&self) -> bool {
        !self.streams.is_empty()
    }

    fn give_back(&mut self, holder: &Arc<str>, jobs: Vec<Job>) {
        let ids = jobs.iter().map(|job| (job::id(job), holder.clone()));
        self.unseen.extend(ids);
    }

    pub fn set_credit(&mut self, id: u64, credit: usize) {
        if let Some(stream) = self.streams.get_mut(&id) {
            stream.taker.limit = credit;
            for job_type in stream.taker.job_types.iter() {
                if let Some(line) = self.lines.get_mut(job_type) {
                    line.is_behind = true;
                }
            }
        }
    }

    pub fn reserve(&mut self, job_type: &str) -> Option<(u64, Arc<str>, Duration)> {
        let line = self.lines.get_mut(job_type)?;
        let is_clear = line.clear_until.is_some_and(|until| Instant::now() < until);
        let free = |id: &u64| self.streams.get(id).map_or(0, Stream::free);
        // Those who wait come first.
        let is_theirs = || {
            let all: usize = line.streams.iter().map(free).sum();
            all as u64 <= line.waiting
        };
        if !is_clear || (line.waiting > 0 && is_theirs()) {
            return None;
        }
        let at = line.streams.iter().position(|id| free(id) > 0)?;
        line.streams.rotate_left(at + 1);
        let id = *line.streams.back()?;
        let stream = self.streams.get_mut(&id)?;
        stream.reserved += 1;
        Some((id, stream.taker.holder.clone(), stream.taker.lease))
    }

    pub fn release(&mut self, id: u64) {
        if let Some(stream) = self.streams.get_mut(&id) {
            stream.reserved -= 1;
        }
    }

    /// Turns reserved credit into a job that is held; [`send`](Self::send) puts it on its way.
    pub fn hold(&mut self, id: u64, holder: &Arc<str>, job: Job) {
        let Some(stream) = self.streams.get_mut(&id) else {
            return self.give_back(holder, vec![job]);
        };
        stream.reserved -= 1;
        let until = Instant::now() + stream.taker.lease;
        stream.held.insert(job::id(&job), until);
        if stream.sending.is_empty() {
            self.sending.push(id);
        }
        stream.sending.push(job);
    }

    /// Says whether some have to be given back.
    pub fn send(&mut self) -> bool {
        for id in std::mem::take(&mut self.sending) {
            let Some(stream) = self.streams.get_mut(&id) else {
                continue;
            };
            let jobs = std::mem::take(&mut stream.sending);
            if let Err(unsent) = stream.outgoing.push(jobs) {
                let holder = stream.taker.holder.clone();
                self.give_back(&holder, unsent);
            }
        }
        !self.unseen.is_empty()
    }

    /// Says whether somebody may wait for the credit.
    pub fn answered(&mut self, id: u64, job: Uuid) -> bool {
        let Some(stream) = self.streams.get_mut(&id) else {
            return false;
        };
        stream.held.remove(&job).is_some() && is_behind(&self.lines, stream)
    }

    pub fn extended(&mut self, id: u64, job: Uuid, lease: Duration) {
        let stream = self.streams.get_mut(&id);
        if let Some(until) = stream.and_then(|stream| stream.held.get_mut(&job)) {
            *until = Instant::now() + lease;
        }
    }

    /// Says whether anybody here wants one of them.
    pub fn queued<'a>(&mut self, job_types: impl Iterator<Item = &'a str>) -> bool {
        let mut is_wanted = false;
        for job_type in job_types {
            if let Some(line) = self.lines.get_mut(job_type) {
                line.queued += 1;
                line.waiting += 1;
                line.is_behind = true;
                is_wanted = true;
            }
        }
        is_wanted
    }

    /// Forgets leases that have ended, and whoever does not read.
    pub fn tidy(&mut self) {
        let now = Instant::now();
        for stream in self.streams.values_mut() {
            stream.held.retain(|_, until| now < *until);
        }
    }

    /// All job types that somebody wants.
    pub fn job_types(&self) -> Vec<String> {
        self.lines.keys().cloned().collect()
    }

    /// Reserves credit for a look; none if nobody has any.
    pub fn look(&mut self) -> Option<Look> {
        let mut look = Look {
            takers: Vec::new(),
            ids: Vec::new(),
            began: Instant::now(),
            queued: HashMap::new(),
        };
        let mut left = AT_ONCE;
        self.looks = self.looks.wrapping_add(1);
        let begin = self.looks % self.streams.len().max(1);
        let mut ids: Vec<u64> = self.streams.keys().copied().collect();
        ids.rotate_left(begin);
        for id in ids {
            let Some(stream) = self.streams.get_mut(&id) else {
                continue;
            };
            let most = match is_behind(&self.lines, stream) {
                true => AT_ONCE,
                false => A_FEW,
            };
            let limit = stream.free().min(most).min(left);
            if limit == 0 {
                continue;
            }
            left -= limit;
            stream.reserved += limit;
            look.ids.push(id);
            look.takers.push(Taker {
                limit,
                ..stream.taker.clone()
            });
            for job_type in stream.taker.job_types.iter() {
                let queued = self.lines.get(job_type).map(|line| line.queued);
                look.queued
                    .insert(job_type.clone(), queued.unwrap_or_default());
            }
        }
        (!look.ids.is_empty()).then_some(look)
    }

    /// Hands over what a look found, and gives back what credit is left. Says whether to look again at once.
    pub fn looked(&mut self, look: &Look, jobs: Vec<(usize, Job)>, is_all: bool) -> bool {
        let has_found = !jobs.is_empty();
        let mut left: Vec<usize> = look.takers.iter().map(|taker| taker.limit).collect();
        for (place, job) in jobs {
            left[place] -= 1;
            self.hold(look.ids[place], &look.takers[place].holder, job);
        }
        for (id, left) in look.ids.iter().zip(left) {
            if let Some(stream) = self.streams.get_mut(id) {
                stream.reserved -= left;
            }
        }
        self.send();
        for (job_type, queued) in &look.queued {
            if let Some(line) = self.lines.get_mut(job_type) {
                line.clear_until = is_all.then_some(look.began + FRESH);
                if is_all {
                    // A line whose last stream left, and another came, counts anew.
                    line.waiting = line.queued.saturating_sub(*queued);
                }
                line.is_behind = !is_all || line.waiting > 0;
            }
        }
        has_found && !is_all
    }

    /// Lets time pass.
    #[cfg(test)]
    pub fn pass(&mut self, time: Duration) {
        for line in self.lines.values_mut() {
            line.clear_until = line.clear_until.map(|until| until - time);
        }
        for stream in self.streams.values_mut() {
            stream.held.values_mut().for_each(|until| *until -= time);
        }
    }
}
