#![allow(clippy::unwrap_used)]

use std::{sync::Mutex, time::Duration};

use tokio::{sync::watch, time::Instant};

use super::{gate::Gate, unknown_key::UnknownKey};

const SECOND: Duration = Duration::from_secs(1);

fn gate(policy: UnknownKey) -> (Gate, Mutex<Vec<watch::Sender<()>>>) {
    (Gate::new(policy, 3600 * SECOND).unwrap(), Mutex::default())
}

#[test]
fn a_cool_down_of_days_is_kept() {
    let days = |days: u32| days * 86_400 * SECOND;
    let gate = Gate::new(UnknownKey::new().cool_down(days(10)), days(30)).unwrap();
    // It ends at once.
    assert!(gate.enter(None, days(1), drop).is_some());
    assert!(!gate.may_admit(days(10)));
    assert!(gate.may_admit(days(13)));
}

#[test]
fn one_refresh_in_each_cool_down_whatever_comes() {
    let (gate, asked) = gate(UnknownKey::new());
    let enter = |now| gate.enter(None, now, |end| asked.lock().unwrap().push(end));
    let mut waiters = 0;
    for tenth in 0..1_000 {
        let now = tenth * SECOND / 10;
        waiters += usize::from(gate.may_admit(now) && enter(now).is_some());
        // Each refresh ends soon.
        if let Some(end) = asked.lock().unwrap().last_mut() {
            *end = watch::channel(()).0;
        }
    }
    let asked = asked.lock().unwrap().len();
    assert!((9..=10).contains(&asked), "{asked} in 100 s");
    assert_eq!(waiters, asked);
}

#[test]
fn the_pause_doubles_with_each_failure_up_to_a_bound() {
    for (refresh_every, bound) in [(3600, 300), (60, 60), (5, 10)] {
        let gate = Gate::new(UnknownKey::new(), refresh_every * SECOND).unwrap();
        let mut now = Duration::ZERO;
        let mut pause_after = |is_good| {
            let mut end = None;
            let _ = gate.enter(None, now, |it| end = Some(it));
            assert!(end.is_some(), "closed at {now:?}");
            gate.note(is_good, now, Duration::ZERO);
            // Somebody else's, while that one runs, counts once.
            gate.note(is_good, now, Duration::ZERO);
            drop(end);
            gate.note(false, now, Duration::ZERO);
            let began = now;
            while !gate.may_admit(now) {
                now += SECOND / 10;
            }
            (now - began).as_secs_f64()
        };
        for n in 1..=40 {
            let expected = f64::from(10_u32.saturating_mul(2_u32.saturating_pow(n)).min(bound));
            let pause = pause_after(false);
            assert!(
                (expected..=expected * 1.1 + 0.1).contains(&pause),
                "{n}: {pause}"
            );
        }
        let pause = pause_after(true);
        assert!((10.0..=11.1).contains(&pause), "{pause}");
    }
}

#[test]
fn a_store_that_wants_to_be_left_alone_is() {
    let gate = Gate::new(UnknownKey::new(), 60 * SECOND).unwrap();
    let asks = |now: Duration| {
        let mut asked = false;
        let _ = gate.enter(None, now, |_| asked = true);
        asked
    };
    // Before any token has asked.
    gate.note(false, SECOND, 30 * SECOND);
    assert!(!gate.may_admit(30 * SECOND) && !asks(30 * SECOND));
    assert!(gate.may_admit(31 * SECOND) && asks(31 * SECOND));
    // Longer than a cool-down, and no longer than the longest pause.
    gate.note(true, 32 * SECOND, 86_400 * SECOND);
    assert!(!asks(91 * SECOND) && asks(92 * SECOND));
}

#[tokio::test(start_paused = true)]
async fn who_joined_late_gets_one_that_began_after_where_there_is_time() {
    for (max_wait, is_served) in [(20, true), (5, false)] {
        let policy = UnknownKey::new().max_wait(max_wait * SECOND);
        let (gate, asked) = gate(policy);
        let enter = |before, now| gate.enter(before, now, |end| asked.lock().unwrap().push(end));
        let first = enter(None, SECOND).unwrap();
        let mut late = enter(None, 2 * SECOND).unwrap();
        asked.lock().unwrap().clear();
        late.wait().await;
        assert!(enter(Some(first), 3 * SECOND).is_none(), "it had its own");
        let Some(mut late) = enter(Some(late), 3 * SECOND) else {
            assert!(!is_served);
            continue;
        };
        assert!(is_served);
        let begin = Instant::now();
        late.wait().await;
        let passed = begin.elapsed();
        assert!((8 * SECOND..=9 * SECOND).contains(&passed), "{passed:?}");
        assert!(asked.lock().unwrap().is_empty(), "not before it may");
        let own = enter(Some(late), 12 * SECOND).unwrap();
        assert_eq!(asked.lock().unwrap().len(), 1);
        asked.lock().unwrap().clear();
        assert!(enter(Some(own), 30 * SECOND).is_none(), "one more, no more");
    }
}

#[test]
fn those_who_come_while_it_runs_share_it() {
    let (gate, asked) = gate(UnknownKey::new().max_waiters(3).cool_down(SECOND));
    let enter = |now| gate.enter(None, now, |end| asked.lock().unwrap().push(end));
    // Longer than the cool-down: still only one.
    let waiters: Vec<_> = (0..10).filter_map(|now| enter(now * SECOND)).collect();
    assert_eq!((waiters.len(), asked.lock().unwrap().len()), (3, 1));
    assert!(!gate.may_admit(SECOND / 2), "no place is left");
    drop(waiters);
    assert!(gate.may_admit(SECOND / 2), "to join");
    assert!(enter(SECOND).is_some(), "their places are free again");
}

#[tokio::test(start_paused = true)]
async fn waiting_ends_with_the_refresh_or_in_time() {
    let (gate, asked) = gate(UnknownKey::new());
    let enter = || gate.enter(None, SECOND, |end| asked.lock().unwrap().push(end));
    let start = tokio::time::Instant::now();
    enter().unwrap().wait().await;
    assert_eq!(start.elapsed(), 5 * SECOND);
    let mut waiter = enter().unwrap();
    asked.lock().unwrap().clear();
    waiter.wait().await;
    assert_eq!(start.elapsed(), 5 * SECOND);
    assert!(enter().is_none(), "over, and the cool-down lasts");
}

#[test]
fn while_it_is_closed_nobody_waits_for_a_lock() {
    let (gate, asked) = gate(UnknownKey::new());
    let enter = || gate.enter(None, SECOND, |end| asked.lock().unwrap().push(end));
    drop(enter());
    assert!(gate.may_admit(2 * SECOND), "to join");
    asked.lock().unwrap().clear();
    // Whoever looks first notes that it has ended.
    assert!(!gate.may_admit(2 * SECOND));
    let books = gate.books();
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        scope.spawn(|| tell.send(gate.may_admit(2 * SECOND)));
        let told = told.recv_timeout(10 * SECOND);
        drop(books);
        assert_eq!(told, Ok(false));
    });
}

#[test]
fn without_places_a_refresh_is_asked_for_all_the_same() {
    let (gate, asked) = gate(UnknownKey::new().max_waiters(0));
    assert!(
        gate.enter(None, SECOND, |end| asked.lock().unwrap().push(end))
            .is_none()
    );
    assert_eq!(asked.lock().unwrap().len(), 1);
    assert!(Gate::new(UnknownKey::never(), SECOND).is_none());
}
