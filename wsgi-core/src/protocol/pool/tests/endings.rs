//! Tests of the end of tasks, threads and the pool.

use super::*;

#[test]
fn a_task_counts_as_in_flight_until_it_is_dropped() {
    let fixture = pool(1, 1, 8);
    let held = fixture.run_held();
    fixture.submit(|_| Poll::Ready(()));
    assert_eq!(fixture.pool.in_flight(), 2);
    drop(held);
    fixture.quiet();
    fixture.shut_down();
}

#[test]
fn a_task_is_dropped_on_its_thread_before_it_leaves_the_count() {
    struct Tell(Sender<ThreadId>);
    impl Drop for Tell {
        fn drop(&mut self) {
            self.0.send(thread::current().id()).unwrap();
        }
    }
    let fixture = pool(1, 1, 8);
    let (tell, dropped) = channel();
    let (tell_run, ran) = channel();
    let kept = Tell(tell);
    fixture.submit(move |_| {
        let _kept = &kept;
        tell_run.send(thread::current().id()).unwrap();
        Poll::Ready(())
    });
    fixture.quiet();
    assert_eq!(dropped.try_recv().unwrap(), ran.try_recv().unwrap());
}

#[test]
fn a_panic_is_reported_and_costs_neither_thread_nor_permit() {
    let fixture = pool(1, 1, 8);
    let first = fixture.run_held();
    let thread = first.thread;
    drop(first);
    let (tell, dropped) = channel::<()>();
    fixture.submit(move |_| {
        let _kept = &tell;
        panic!("of a task");
    });
    assert!(
        dropped.recv_timeout(WAIT_TIMEOUT).is_err_and(|error| error == std::sync::mpsc::RecvTimeoutError::Disconnected)
    );
    assert_eq!(fixture.run_held().thread, thread);
    let events = fixture.shut_down();
    assert_eq!(events[1], Event::Panicked("of a task".to_owned()));
    assert_eq!(count(&events, is_started), 1);
}

#[test]
fn a_panic_while_a_task_is_dropped_is_reported_too() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("of a drop");
        }
    }
    let fixture = pool(1, 1, 8);
    let bomb = Bomb;
    fixture.submit(move |_| {
        let _kept = &bomb;
        Poll::Ready(())
    });
    drop(fixture.run_held());
    assert_eq!(fixture.shut_down()[1], Event::Panicked("of a drop".to_owned()));
}

#[test]
fn shutdown_waits_for_queued_running_and_waiting_tasks_and_then_ends_the_threads() {
    let fixture = pool(1, 4, 8);
    let parked = fixture.park();
    let held = fixture.run_held();
    let (tell, ran) = channel();
    fixture.submit(told(&tell, ()));
    assert!(!fixture.pool.shutdown(Duration::ZERO));
    let ended = thread::scope(|scope| {
        let shutdown = scope.spawn(|| fixture.pool.shutdown(WAIT_TIMEOUT));
        drop(held);
        next(&ran);
        parked.waker.wake();
        next(&parked.resumed);
        shutdown.join().unwrap()
    });
    assert!(ended);
    assert_eq!(fixture.pool.in_flight(), 0);
    let events = fixture.shut_down();
    assert_eq!(count(&events, is_started), count(&events, |event| matches!(event, Event::Ended(_))));
}

#[test]
fn shutdown_ends_idle_threads_at_once() {
    let fixture = pool(4, 4, 8);
    let held: Vec<_> = (0..4).map(|_| fixture.run_held()).collect();
    drop(held);
    fixture.quiet();
    let events = fixture.shut_down();
    assert_eq!(count(&events, |event| matches!(event, Event::Ended(_))), 4);
}

#[test]
fn shutdown_refuses_new_tasks() {
    let fixture = pool(1, 4, 8);
    let held = fixture.run_held();
    fixture.pool.shutdown(Duration::ZERO);
    assert!(matches!(fixture.try_submit(|_| Poll::Ready(())), Err(Overloaded::ShuttingDown(_))));
    drop(held);
    fixture.shut_down();
}

#[test]
fn shutdown_gives_up_when_the_time_is_over() {
    let fixture = pool(1, 1, 8);
    let held = fixture.run_held();
    assert!(!fixture.pool.shutdown(Duration::from_millis(1)));
    drop(held);
    assert!(fixture.pool.shutdown(WAIT_TIMEOUT));
}

#[test]
fn shutdown_of_an_unused_pool_succeeds() {
    assert!(pool(1, 1, 8).pool.shutdown(Duration::ZERO));
}

#[test]
fn dropping_the_pool_lets_its_tasks_end_and_leaves_nothing() {
    let fixture = pool(1, 4, 8);
    let parked = fixture.park();
    let held = fixture.run_held();
    let (tell, ran) = channel();
    fixture.submit(told(&tell, ()));
    let Fixture { pool, events, .. } = fixture;
    drop(pool);
    drop(held);
    next(&ran);
    parked.waker.wake_by_ref();
    next(&parked.resumed);
    // The iterator ends when all senders are gone: the threads and their shared state. The waker may remain.
    let rest: Vec<_> = events.iter().collect();
    assert_eq!(count(&rest, |event| matches!(event, Event::Ended(_))), 2);
}
