//! Tests of the time when `release` runs.

use super::*;

#[test]
fn a_nudge_makes_an_idle_thread_release() {
    let fixture = pool(1, 8, 8);
    let held = fixture.run_held();
    let thread = held.thread;
    drop(held);
    fixture.quiet();
    fixture.pool.nudge();
    assert_eq!(next(&fixture.events), Event::Started(thread));
    assert_eq!(next(&fixture.events), Event::Released(thread));
    assert_eq!(fixture.shut_down(), [Event::Ended(thread)]);
}

#[test]
fn a_nudge_starts_a_thread_if_there_is_none() {
    let fixture = pool(1, 8, 8);
    fixture.pool.nudge();
    let Event::Started(thread) = next(&fixture.events) else { panic!("not started") };
    assert_eq!(next(&fixture.events), Event::Released(thread));
}

#[test]
fn a_nudge_starts_a_thread_if_all_tasks_wait() {
    let fixture = pool(1, 2, 8);
    let parked = fixture.park();
    fixture.pool.nudge();
    assert_eq!(next(&fixture.events), Event::Started(parked.thread));
    let Event::Started(thread) = next(&fixture.events) else { panic!("not started") };
    assert_eq!(next(&fixture.events), Event::Released(thread));
    parked.waker.wake();
    fixture.shut_down();
}

#[test]
fn nudges_while_tasks_run_are_one_release_when_the_next_ends() {
    let fixture = pool(2, 8, 8);
    let (first, _second) = (fixture.run_held(), fixture.run_held());
    for _ in 0..10 {
        fixture.pool.nudge();
    }
    let thread = first.thread;
    drop(first);
    let released = fixture.events.iter().find(is_release);
    assert_eq!(released, Some(Event::Released(thread)));
    let held = fixture.run_held();
    drop((held, _second));
    assert_eq!(count(&fixture.shut_down(), is_release), 0);
}

#[test]
fn a_thread_that_releases_first_still_counts_for_the_task_it_will_take() {
    let fixture = pool(2, 2, 0);
    drop((fixture.run_held(), fixture.run_held()));
    fixture.quiet();
    for _ in 0..2000 {
        fixture.pool.nudge();
        fixture.submit(|_| Poll::Ready(()));
        fixture.submit(|_| Poll::Ready(()));
        fixture.quiet();
    }
    fixture.shut_down();
}
