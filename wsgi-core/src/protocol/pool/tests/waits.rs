//! Tests of tasks that wait in the middle of a step, and of tasks that stream.

use super::super::{stream_ended, without_permit};
use super::*;

/// A task that waits within its step until `gate` is dropped, and reports when it waits and when it continues.
fn waiting(tell: &Sender<&'static str>, gate: Receiver<()>) -> Step {
    let tell = tell.clone();
    Box::new(move |_| {
        without_permit(|| {
            tell.send("waits").unwrap();
            let _ = gate.recv();
        });
        tell.send("goes on").unwrap();
        Poll::Ready(())
    })
}

#[test]
fn a_task_that_waits_within_its_step_lets_another_one_run() {
    let fixture = pool(1, 4, 10);
    let ((tell, told), (release, gate)) = (channel(), channel());
    fixture.submit(waiting(&tell, gate));
    assert_eq!(next(&told), "waits");
    fixture.submit(self::told(&tell, "another"));
    assert_eq!(next(&told), "another");
    drop(release);
    assert_eq!(next(&told), "goes on");
    let events = fixture.shut_down();
    assert_eq!(count(&events, is_started), 2);
}

#[test]
fn a_task_that_has_waited_within_its_step_goes_on_with_a_permit_only_and_before_queued_ones() {
    let fixture = pool(1, 4, 10);
    let ((tell, told), (release, gate)) = (channel(), channel());
    fixture.submit(waiting(&tell, gate));
    assert_eq!(next(&told), "waits");
    let held = fixture.run_held();
    fixture.submit(self::told(&tell, "queued"));
    drop(release);
    // It cannot continue before the permit is given back, and no other event shows that it wants to.
    while !fixture.pool.shared.lock().has_woken() {
        thread::yield_now();
    }
    assert!(told.try_recv().is_err());
    drop(held);
    assert_eq!([next(&told), next(&told)], ["goes on", "queued"]);
    fixture.shut_down();
}

#[test]
fn a_wake_while_a_task_waits_within_its_step_is_not_lost() {
    for held_up in [false, true] {
        let fixture = pool(1, 4, 10);
        let ((tell, told), (release, gate)) = (channel(), channel::<()>());
        let mut begun = false;
        fixture.submit(move |cx| {
            if std::mem::replace(&mut begun, true) {
                return Poll::Ready(());
            }
            without_permit(|| {
                tell.send(cx.waker().clone()).unwrap();
                let _ = gate.recv();
            });
            Poll::Pending
        });
        let waker = next(&told);
        let held = held_up.then(|| fixture.run_held());
        waker.wake();
        drop((release, held));
        fixture.quiet();
        fixture.shut_down();
    }
}

#[test]
fn a_panic_in_a_wait_within_a_step_costs_no_permit() {
    let fixture = pool(1, 1, 10);
    fixture.submit(|_| without_permit(|| panic!("in the wait")));
    let (tell, told) = channel();
    fixture.submit(self::told(&tell, ()));
    next(&told);
    fixture.shut_down();
}

#[test]
fn waiting_outside_of_a_pool_is_only_the_work() {
    assert_eq!(without_permit(|| without_permit(|| 7)), 7);
    stream_ended();
}

/// A pool of one permit and four threads, in which tasks that stream wait within their step.
struct Streams {
    pool: Pool<Streaming>,
    tell: Sender<&'static str>,
    told: Receiver<&'static str>,
    // Keeps the channel of the pool's events open.
    _events: Receiver<Event>,
}

impl Streams {
    fn new(queue: usize) -> Self {
        let (events, _events) = channel();
        let threads = Observed { events, allowed: Arc::new(AtomicUsize::new(usize::MAX)), patient: false };
        let (tell, told) = channel();
        let pool = Pool::new(Limits::new(1).max_threads(4).queue(queue), threads);
        Self { pool, tell, told, _events }
    }

    /// Submits a task that waits until the sender is dropped; `None` if it is refused.
    fn stream(&self) -> Option<(Ticket, Sender<()>)> {
        let (release, gate) = channel();
        Some((self.pool.submit(Streaming(waiting(&self.tell, gate), true)).ok()?, release))
    }

    fn plain(&self, name: &'static str) {
        let step = Box::new(told(&self.tell, name));
        assert!(self.pool.submit(Streaming(step, false)).is_ok());
    }
}

#[test]
fn tasks_that_stream_have_half_of_the_threads_and_others_run_beside_them() {
    let streams = Streams::new(2);
    let (_, first) = streams.stream().unwrap();
    let (_, second) = streams.stream().unwrap();
    assert_eq!([next(&streams.told), next(&streams.told)], ["waits"; 2]);
    assert!(streams.pool.is_full_of_streams());
    // Two more tasks wait for a place; for a third task the queue is full.
    let (third_ticket, third) = streams.stream().unwrap();
    let (fourth_ticket, fourth) = streams.stream().unwrap();
    assert!(streams.stream().is_none());
    streams.plain("another");
    assert_eq!(next(&streams.told), "another");
    assert!(streams.pool.withdraw(third_ticket).is_some());
    drop(first);
    assert_eq!([next(&streams.told), next(&streams.told)], ["goes on", "waits"]);
    assert!(streams.pool.withdraw(fourth_ticket).is_none());
    drop((second, third, fourth));
    assert!(streams.pool.shutdown(WAIT_TIMEOUT));
    assert_eq!(streams.pool.in_flight(), 0);
}

#[test]
fn a_task_whose_stream_has_ended_gives_its_place_to_another_one() {
    let streams = Streams::new(2);
    let mut running = Vec::new();
    for _ in 0..2 {
        let ((release, gate), tell) = (channel::<()>(), streams.tell.clone());
        let step = Box::new(move |_: &mut Context<'_>| {
            (0..2).for_each(|_| stream_ended());
            without_permit(|| {
                tell.send("has ended").unwrap();
                let _ = gate.recv();
            });
            Poll::Ready(())
        });
        assert!(streams.pool.submit(Streaming(step, true)).is_ok());
        running.push(release);
    }
    assert_eq!([next(&streams.told), next(&streams.told)], ["has ended"; 2]);
    let (_, first) = streams.stream().unwrap();
    let (_, second) = streams.stream().unwrap();
    assert_eq!([next(&streams.told), next(&streams.told)], ["waits"; 2]);
    drop((running, first, second));
    assert!(streams.pool.shutdown(WAIT_TIMEOUT));
}
