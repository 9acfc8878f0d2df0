//! What is let in, and in which order it comes out.

use futures_util::FutureExt;
use tonic::Code;
use uuid::Uuid;

use super::super::pace::BURST;
use super::super::{Action, Command, NewExecution};
use super::*;
use crate::engine::Actor;

fn pending(target: Target) -> Pending {
    Pending::of(Command {
        target,
        action: Action::Start,
        request: None,
        actor: Actor::default(),
    })
}

fn start(origin: Origin) -> Pending {
    pending(Target::New(Box::new(NewExecution {
        origin,
        ..NewExecution::default()
    })))
}

fn answer() -> Pending {
    pending(Target::Wait(Uuid::nil()))
}

/// Puts it in; what it is answered at once is why it was refused.
fn put(queue: &Queue, mut pending: Pending) -> Result<()> {
    let (reply, refused) = std::sync::mpsc::channel();
    pending.reply = Some(Box::new(move |result| drop(reply.send(result))));
    queue.put(pending);
    refused.try_recv().map_or(Ok(()), |answer| answer.map(drop))
}

async fn take(inbox: &mut Inbox) -> Vec<Pending> {
    let mut batch = Vec::new();
    assert!(inbox.more(&mut batch).await);
    batch
}

#[tokio::test]
async fn only_starts_are_refused_because_others_wait() {
    let (queue, mut inbox) = queue();
    for _ in 0..MOST {
        put(&queue, start(Origin::Call)).unwrap();
    }
    let refused = put(&queue, start(Origin::Call)).unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted);
    assert!(queue.gate.check().is_err());
    put(&queue, answer()).unwrap();
    let promised = Origin::Schedule(Uuid::nil());
    put(&queue, start(promised)).unwrap();

    let batch = take(&mut inbox).await;
    assert!(
        queue.gate.check().is_err(),
        "they wait until they are written"
    );
    drop(batch);
    queue.gate.check().unwrap();
    put(&queue, start(Origin::Call)).unwrap();
}

#[tokio::test]
async fn answers_of_streams_leave_room_for_others() {
    let (queue, _inbox) = queue();
    let all = queue.room(STREAMED).await;
    assert!(queue.room(1).now_or_never().is_none(), "they wait");
    drop(all);
    assert!(queue.room(1).now_or_never().is_some());
}

#[tokio::test]
async fn slow_starts_are_refused_early_and_soon_let_in_again() {
    let (queue, mut inbox) = queue();
    queue.gate.note(BATCH, Duration::from_secs(8));
    for _ in 0..BURST {
        put(&queue, start(Origin::Call)).unwrap();
    }
    put(&queue, start(Origin::Call)).unwrap_err();
    put(&queue, answer()).unwrap();
    let batch = take(&mut inbox).await;
    assert_eq!(batch.len(), 1 + SHARE, "a batch of slow starts is small");
    drop(batch);
    for _ in 0..SHARE {
        put(&queue, start(Origin::Call)).unwrap();
    }
    put(&queue, start(Origin::Call)).unwrap_err();
    for _ in 0..10 {
        queue.gate.note(BATCH, Duration::from_millis(100));
    }
    for _ in 0..MOST - BURST {
        put(&queue, start(Origin::Call)).unwrap();
    }
    put(&queue, start(Origin::Call)).unwrap_err();
}

#[tokio::test]
async fn what_was_begun_goes_first_and_starts_have_a_share() {
    let (queue, mut inbox) = queue();
    for _ in 0..BATCH {
        put(&queue, start(Origin::Call)).unwrap();
        put(&queue, answer()).unwrap();
    }
    let starts = |batch: &[Pending]| batch.iter().filter(|it| it.is_start()).count();
    let first = take(&mut inbox).await;
    assert_eq!((first.len(), starts(&first)), (BATCH, SHARE));
    let second = take(&mut inbox).await;
    assert_eq!((second.len(), starts(&second)), (BATCH, BATCH - SHARE));
}

#[test]
fn those_who_are_refused_do_not_all_come_back_at_once() {
    let mut pauses: Vec<Duration> = (0..100).map(pause).collect();
    pauses.sort();
    pauses.dedup();
    assert_eq!(pauses.len(), 100);
}
