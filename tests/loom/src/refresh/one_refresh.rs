//! Many ask for a refresh: each is answered, by one that began after the asking, or told that there is
//! none any more.

use std::{collections::VecDeque, sync::Arc};

use loom::{
    future::block_on,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use super::{Trigger, asked::Asked};
use crate::{
    check,
    sync::{Mutex, Notify, watch},
};

/// What a refresh found in the store; `None` where it has failed, or panicked.
type Outcome = Option<usize>;
/// `Reply::Answer`: dropped without an answer, it says `Stopped`.
type Reply = watch::Sender<Outcome>;

/// tokio's unbounded channel, as far as it matters here: once its receiver is gone it takes nothing.
#[derive(Default)]
struct Requests {
    queue: Mutex<Queue>,
    told: Notify,
}

#[derive(Default)]
struct Queue {
    requests: VecDeque<Reply>,
    is_closed: bool,
}

impl Requests {
    fn send(&self, reply: Reply) {
        let mut queue = self.queue.lock().unwrap();
        if queue.is_closed {
            drop(queue);
            return;
        }
        queue.requests.push_back(reply);
        drop(queue);
        self.told.notify_one();
    }

    fn try_recv(&self) -> Option<Reply> {
        self.queue.lock().unwrap().requests.pop_front()
    }

    async fn recv(&self) -> Reply {
        loop {
            if let Some(reply) = self.try_recv() {
                return reply;
            }
            self.told.notified().await;
        }
    }

    /// The receiver is dropped.
    fn close(&self) {
        let mut queue = self.queue.lock().unwrap();
        queue.is_closed = true;
        let left = std::mem::take(&mut queue.requests);
        drop(queue);
        drop(left);
    }
}

#[derive(Default)]
struct World {
    /// Grows with each rotation.
    store: AtomicUsize,
    requests: Requests,
}

impl World {
    /// Somebody rotates, and asks for the new version: `Shared::refresh`.
    fn ask(&self) -> (usize, watch::Receiver<Outcome>) {
        let rotated_to = self.store.fetch_add(1, Ordering::AcqRel) + 1;
        let (reply, answer) = watch::channel(None);
        self.requests.send(reply);
        (rotated_to, answer)
    }
}

/// `Worker::run`, as far as requests go, until so many were answered.
struct Loop {
    world: Arc<World>,
    /// The first refresh fails.
    fails: bool,
    /// It ends while the first refresh runs.
    stops: bool,
    /// A request that comes while a refresh runs is answered by that one: wrong.
    joins_the_running: bool,
}

impl Loop {
    fn run(self, callers: usize) {
        let Self {
            world,
            mut fails,
            stops,
            joins_the_running,
        } = self;
        let mut asked = Asked::new();
        let mut answered = 0;
        let mut refreshes = 0;
        while answered < callers {
            let first = block_on(world.requests.recv());
            asked.note(Trigger, Some(first));
            while asked.begin().is_some() {
                refreshes += 1;
                let found = world.store.load(Ordering::Acquire);
                // While it runs, more may ask.
                while let Some(reply) = world.requests.try_recv() {
                    asked.note(Trigger, Some(reply));
                }
                if stops {
                    world.requests.close();
                    return;
                }
                if joins_the_running {
                    let _ = asked.begin();
                }
                let outcome = (!std::mem::take(&mut fails)).then_some(found);
                for reply in asked.end() {
                    reply.send_replace(outcome);
                    answered += 1;
                }
            }
        }
        assert!(refreshes <= callers);
        world.requests.close();
    }
}

/// `Ok`: what the refresh found.
fn answer(mut answer: watch::Receiver<Outcome>) -> Result<Outcome, watch::Closed> {
    block_on(answer.changed())?;
    Ok(answer.value())
}

fn two_callers(set: fn(&mut Loop)) {
    let world = Arc::new(World::default());
    let mut refreshing = Loop {
        world: world.clone(),
        fails: false,
        stops: false,
        joins_the_running: false,
    };
    set(&mut refreshing);
    let (fails, stops) = (refreshing.fails, refreshing.stops);
    let callers: Vec<_> = (0..2)
        .map(|_| {
            let world = world.clone();
            thread::spawn(move || {
                let (rotated_to, receiver) = world.ask();
                match answer(receiver) {
                    Ok(Some(found)) => {
                        assert!(found >= rotated_to, "what was read before the asking");
                    }
                    Ok(None) => assert!(fails, "a failure from nowhere"),
                    Err(watch::Closed) => assert!(stops, "no answer"),
                }
            })
        })
        .collect();
    refreshing.run(2);
    for caller in callers {
        caller.join().unwrap();
    }
}

#[test]
fn each_caller_gets_a_refresh_that_began_after_the_asking() {
    check(|| two_callers(|_| {}));
}

#[test]
#[ignore = "wrong on purpose"]
fn joining_the_refresh_that_runs_is_found() {
    check(|| two_callers(|it| it.joins_the_running = true));
}

#[test]
fn a_refresh_that_panics_is_an_answer_too() {
    check(|| two_callers(|it| it.fails = true));
}

#[test]
fn nobody_waits_for_a_loop_that_has_ended() {
    check(|| two_callers(|it| it.stops = true));
}

#[test]
fn a_caller_who_gives_up_takes_no_answer_from_another() {
    check(|| {
        let world = Arc::new(World::default());
        let refreshing = Loop {
            world: world.clone(),
            fails: false,
            stops: false,
            joins_the_running: false,
        };
        let gives_up = {
            let world = world.clone();
            thread::spawn(move || drop(world.ask()))
        };
        let stays = thread::spawn(move || {
            let (rotated_to, receiver) = world.ask();
            let found = answer(receiver).unwrap().unwrap();
            assert!(found >= rotated_to);
        });
        refreshing.run(2);
        gives_up.join().unwrap();
        stays.join().unwrap();
    });
}
