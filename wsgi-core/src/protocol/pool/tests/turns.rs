//! Tests of the order of tasks, and of the threads they run on.

use super::*;

#[test]
fn as_many_tasks_run_together_as_there_are_permits() {
    let fixture = pool(3, 8, 8);
    let together = Arc::new(Barrier::new(3));
    for _ in 0..3 {
        let together = Arc::clone(&together);
        fixture.submit(move |_| {
            together.wait();
            Poll::Ready(())
        });
    }
    assert_eq!(count(&fixture.shut_down(), is_started), 3);
}

#[test]
fn a_task_without_a_permit_waits() {
    let fixture = pool(2, 8, 8);
    let (first, _second) = (fixture.run_held(), fixture.run_held());
    let (tell, ran) = channel();
    fixture.submit(told(&tell, ()));
    assert!(ran.try_recv().is_err());
    drop(first);
    next(&ran);
}

#[test]
fn queued_tasks_run_in_order() {
    let fixture = pool(1, 1, 8);
    let held = fixture.run_held();
    let (tell, ran) = channel();
    for number in 0..5 {
        fixture.submit(told(&tell, number));
    }
    drop((held, tell));
    assert_eq!(ran.iter().collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
}

#[test]
fn a_task_that_is_put_first_needs_a_free_permit() {
    let fixture = pool(1, 1, 8);
    let (tell, ran) = channel();
    assert!(fixture.pool.submit_first(Box::new(told(&tell, ()))).is_ok());
    next(&ran);
    fixture.quiet();
    let _held = fixture.run_held();
    assert!(matches!(fixture.pool.submit_first(Box::new(told(&tell, ()))), Err(Overloaded::QueueFull(_))));
}

#[test]
fn a_thread_that_waits_for_a_task_to_be_put_first_takes_it() {
    let fixture = observed_pool(Limits::new(1).queue(8), true);
    let held = fixture.run_held();
    let (tell, ran) = channel();
    fixture.submit(told(&tell, "second"));
    drop(held);
    while next(&fixture.events) != Event::WaitsForFirst {}
    let first = || fixture.pool.submit_first(Box::new(told(&tell, "first")));
    while first().is_err() {
        thread::yield_now();
    }
    assert_eq!(next(&ran), "first");
}

#[test]
fn a_waiting_task_hands_its_permit_to_another_and_keeps_its_thread() {
    let fixture = pool(1, 2, 8);
    let parked = fixture.park();
    let held = fixture.run_held();
    assert_ne!(held.thread, parked.thread);
    drop(held);
    parked.waker.wake();
    assert_eq!(next(&parked.resumed), parked.thread);
    assert_eq!(count(&fixture.shut_down(), is_started), 2);
}

#[test]
fn a_woken_task_waits_for_a_permit() {
    let fixture = pool(1, 2, 8);
    let parked = fixture.park();
    let held = fixture.run_held();
    parked.waker.wake();
    assert!(parked.resumed.try_recv().is_err());
    drop(held);
    assert_eq!(next(&parked.resumed), parked.thread);
}

#[test]
fn woken_tasks_go_before_queued_ones_in_the_order_of_their_wakes() {
    let fixture = pool(1, 4, 8);
    let (tell, ran) = channel();
    let mut wakers = Vec::new();
    for name in ["first", "second"] {
        let (tell, mut begun) = (tell.clone(), false);
        let (tell_waker, waker) = channel();
        fixture.submit(move |cx| {
            if !std::mem::replace(&mut begun, true) {
                tell_waker.send(cx.waker().clone()).unwrap();
                return Poll::Pending;
            }
            tell.send(name).unwrap();
            Poll::Ready(())
        });
        wakers.push(next(&waker));
    }
    // This task has the only permit, so both are parked.
    let held = fixture.run_held();
    fixture.submit(told(&tell, "queued"));
    wakers[1].wake_by_ref();
    wakers[0].wake_by_ref();
    wakers[1].wake_by_ref();
    drop((held, tell));
    assert_eq!([next(&ran), next(&ran), next(&ran)], ["second", "first", "queued"]);
    fixture.shut_down();
}

#[test]
fn a_task_that_wakes_itself_lets_those_go_first_that_were_woken_before() {
    let fixture = pool(1, 2, 8);
    let parked = fixture.park();
    let (release, gate) = channel();
    let (tell, order) = channel();
    let tell_own = tell.clone();
    let mut begun = false;
    fixture.submit(move |cx| {
        if !std::mem::replace(&mut begun, true) {
            tell_own.send("begun").unwrap();
            let _ = gate.recv();
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        tell_own.send("woke itself").unwrap();
        Poll::Ready(())
    });
    assert_eq!(next(&order), "begun");
    parked.waker.wake();
    release.send(()).unwrap();
    assert_eq!(next(&order), "woke itself");
    assert_eq!(parked.resumed.try_recv(), Ok(parked.thread));
}

#[test]
fn a_wake_before_pending_is_returned_is_not_lost() {
    let fixture = pool(1, 1, 8);
    for from_another_thread in [false, true] {
        let (tell, steps) = channel();
        let mut step = 0;
        fixture.submit(move |cx| {
            step += 1;
            if step == 1 {
                let waker = cx.waker().clone();
                if from_another_thread {
                    thread::spawn(|| waker.wake()).join().unwrap();
                } else {
                    waker.wake();
                }
                return Poll::Pending;
            }
            tell.send(step).unwrap();
            Poll::Ready(())
        });
        assert_eq!(next(&steps), 2);
    }
}

#[test]
fn a_waker_kept_beyond_its_task_and_the_pool_does_no_harm() {
    let fixture = pool(1, 1, 8);
    let parked = fixture.park();
    parked.waker.wake_by_ref();
    next(&parked.resumed);
    fixture.quiet();
    parked.waker.wake_by_ref();
    let later = fixture.park();
    assert_eq!(later.thread, parked.thread);
    later.waker.wake();
    next(&later.resumed);
    fixture.shut_down();
    parked.waker.wake();
}
