//! Tests of the limits of threads and of the queue.

use super::*;

#[test]
fn waiting_tasks_occupy_threads_up_to_the_limit() {
    let fixture = pool(1, 2, 8);
    let (first, second) = (fixture.park(), fixture.park());
    let (tell, ran) = channel();
    fixture.submit(told(&tell, ()));
    // The permit is free, but there is no thread.
    assert!(ran.try_recv().is_err());
    assert_eq!(fixture.pool.in_flight(), 3);
    first.waker.wake();
    next(&ran);
    second.waker.wake();
    assert_eq!(count(&fixture.shut_down(), is_started), 2);
}

#[test]
fn the_thread_that_became_idle_last_is_used_first() {
    let fixture = pool(2, 2, 8);
    let (first, second) = (fixture.run_held(), fixture.run_held());
    let (early, late) = (first.thread, second.thread);
    drop(first);
    while fixture.pool.in_flight() > 1 {
        thread::yield_now();
    }
    drop(second);
    fixture.quiet();
    for _ in 0..3 {
        assert_eq!(fixture.run_held().thread, late);
        fixture.quiet();
    }
    let _late = fixture.run_held();
    assert_eq!(fixture.run_held().thread, early);
}

#[test]
fn a_full_queue_gives_the_task_back() {
    let fixture = pool(1, 8, 1);
    let held = fixture.run_held();
    fixture.submit(|_| Poll::Ready(()));
    let (tell, ran) = channel();
    let refused = fixture.try_submit(told(&tell, ()));
    assert_eq!(fixture.pool.in_flight(), 2);
    let Err(Overloaded::QueueFull(task)) = refused else { panic!("taken") };
    drop(held);
    fixture.quiet();
    assert!(fixture.pool.submit(task).is_ok());
    next(&ran);
}

#[test]
fn a_task_that_gets_a_permit_at_once_needs_no_place_in_the_queue() {
    let fixture = pool(2, 8, 0);
    let _held = (fixture.run_held(), fixture.run_held());
    assert!(matches!(fixture.try_submit(|_| Poll::Ready(())), Err(Overloaded::QueueFull(_))));
}

#[test]
fn zero_permits_and_threads_count_as_one() {
    let fixture = pool(0, 0, 0);
    drop(fixture.run_held());
    fixture.shut_down();
}

#[test]
fn a_task_is_refused_when_no_thread_can_be_started() {
    let fixture = pool(1, 1, 8);
    fixture.allowed.store(0, Ordering::Relaxed);
    assert!(matches!(fixture.try_submit(|_| Poll::Ready(())), Err(Overloaded::NoThread(_))));
    assert_eq!(fixture.pool.in_flight(), 0);
    fixture.allowed.store(1, Ordering::Relaxed);
    drop(fixture.run_held());
}

#[test]
fn threads_that_cannot_be_started_are_reported_once_until_one_can() {
    let fixture = pool(3, 8, 8);
    let refused = |fixture: &Fixture| fixture.try_submit(|_| Poll::Ready(())).is_err();
    fixture.allowed.store(0, Ordering::Relaxed);
    assert!(refused(&fixture) && refused(&fixture));
    fixture.allowed.store(1, Ordering::Relaxed);
    let held = fixture.run_held();
    for _ in 0..2 {
        fixture.submit(|_| Poll::Ready(()));
    }
    drop(held);
    fixture.quiet();
    assert_eq!(count(&fixture.shut_down(), is_refusal), 2);
}

#[test]
fn a_thread_that_cannot_be_started_for_a_task_that_waits_is_reported_at_once() {
    // Whether a task waits or ends, its thread passes the permit on to a queued task, for which no thread can be started.
    let fixture = pool(1, 8, 8);
    let held = fixture.run_held();
    fixture.allowed.store(0, Ordering::Relaxed);
    let (tell_waker, waker) = channel();
    let mut begun = false;
    fixture.submit(move |cx| {
        if std::mem::replace(&mut begun, true) {
            return Poll::Ready(());
        }
        tell_waker.send(cx.waker().clone()).unwrap();
        Poll::Pending
    });
    fixture.submit(|_| Poll::Ready(()));
    drop(held);
    let waker = next(&waker);
    let report = fixture.events.iter().find(is_refusal);
    assert!(report.is_some());
    waker.wake();
    fixture.quiet();
}

#[test]
fn a_task_waits_for_a_thread_that_exists_when_no_other_can_be_started() {
    let fixture = pool(2, 8, 8);
    fixture.allowed.store(1, Ordering::Relaxed);
    let held = fixture.run_held();
    let (tell, ran) = channel();
    fixture.submit(told(&tell, ()));
    drop(held);
    next(&ran);
    assert_eq!(count(&fixture.shut_down(), is_started), 1);
}

#[test]
fn a_task_that_is_put_back_has_its_place_and_its_ticket_again() {
    let fixture = pool(1, 1, 2);
    let held = fixture.run_held();
    let (tell, ran) = channel();
    let first = fixture.submit(told(&tell, "first"));
    let task = fixture.pool.withdraw(first).expect("a queued task");
    for name in ["second", "third"] {
        fixture.submit(told(&tell, name));
    }
    assert!(fixture.try_submit(told(&tell, "fourth")).is_err());
    assert!(fixture.pool.put_back(task, first).is_ok());
    let task = fixture.pool.withdraw(first).expect("it has its ticket");
    assert!(fixture.pool.put_back(task, first).is_ok());
    drop((held, tell));
    assert_eq!(ran.iter().collect::<Vec<_>>(), ["first", "second", "third"]);
}

#[test]
fn a_task_that_was_withdrawn_does_not_run_and_leaves_its_place() {
    let fixture = pool(1, 8, 2);
    let held = fixture.run_held();
    let (tell, ran) = channel();
    let tickets = [1, 2].map(|task| fixture.submit(told(&tell, task)));
    assert!(matches!(fixture.try_submit(told(&tell, 3)), Err(Overloaded::QueueFull(_))));
    assert!(fixture.pool.withdraw(tickets[0]).is_some());
    assert!(fixture.pool.withdraw(tickets[0]).is_none(), "it is given back once");
    assert_eq!(fixture.pool.in_flight(), 2);
    fixture.submit(told(&tell, 4));
    drop(held);
    assert_eq!([next(&ran), next(&ran)], [2, 4]);
    fixture.quiet();
    assert!(fixture.pool.withdraw(tickets[1]).is_none(), "it has run");
}

#[test]
fn idle_threads_of_a_pool_that_ends_leave_when_the_last_queued_task_is_withdrawn() {
    let fixture = pool(1, 2, 8);
    let (release, gate) = channel::<()>();
    let (tell, wakers) = channel();
    fixture.submit(move |cx| {
        if tell.send(cx.waker().clone()).is_ok() && gate.recv().is_ok() { Poll::Pending } else { Poll::Ready(()) }
    });
    let waker = next(&wakers);
    release.send(()).unwrap();
    // While that task waits, a second thread takes this one, and is idle afterwards.
    fixture.submit(|_| Poll::Ready(()));
    while fixture.pool.in_flight() > 1 {
        thread::yield_now();
    }
    waker.wake();
    next(&wakers);
    let ticket = fixture.submit(|_| Poll::Ready(()));
    assert!(!fixture.pool.shutdown(Duration::ZERO));
    assert!(fixture.pool.withdraw(ticket).is_some());
    while !matches!(next(&fixture.events), Event::Ended(_)) {}
    assert_eq!(fixture.pool.in_flight(), 1, "the other one runs");
    drop(release);
    fixture.shut_down();
}
