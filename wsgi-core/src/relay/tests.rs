use std::fs::File;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Wake;
use std::thread;

use super::*;
use crate::error::Fault;
use crate::host::ResponseSink;

const ROOM: usize = 16;
const BLOCK: &[u8] = &[b'x'; ROOM];

#[derive(Default)]
pub(super) struct Count(AtomicUsize);

impl Count {
    pub(super) fn get(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

pub(super) fn counting() -> (Arc<Count>, Waker) {
    let count = Arc::<Count>::default();
    (Arc::clone(&count), Waker::from(count))
}

fn relayed() -> (RelaySink<()>, Relay<()>) {
    relay(ROOM)
}

fn bytes(block: &'static [u8]) -> Bytes {
    Bytes::from_static(block)
}

/// Returns the next part as text; `None` if there is none yet.
fn take(relay: &Relay<()>) -> Option<String> {
    match relay.poll_part(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(part) => Some(part.map_or_else(|| "over".to_owned(), shown)),
        Poll::Pending => None,
    }
}

fn shown(part: Part<()>) -> String {
    match part {
        Part::Head(()) => "head".to_owned(),
        Part::Block { data, flush } => {
            format!("{}{}", String::from_utf8_lossy(&data), if flush { "!" } else { "" })
        }
        Part::File { part, .. } => format!("file {}+{}", part.start, part.len),
        Part::ApplicationFile { part, .. } => format!("application's file {}+{}", part.start, part.len),
        Part::Flush => "!".to_owned(),
        Part::End => "end".to_owned(),
        Part::Failed(status) => format!("failed {:?}", status.map(|status| status.as_u16())),
    }
}

fn room(sink: &mut RelaySink<()>, waker: &Waker) -> Poll<Result<Room, HostError>> {
    sink.poll_room(&mut Context::from_waker(waker), false)
}

fn is_gone<T>(result: &Result<T, HostError>) -> bool {
    matches!(result, Err(HostError::ClientGone))
}

#[test]
fn parts_come_in_order_and_end_once() {
    let (mut sink, relay) = relayed();
    sink.head(()).unwrap();
    sink.send_flush().unwrap();
    sink.send_block(bytes(b"a"), false).unwrap();
    sink.send_block(bytes(b"b"), true).unwrap();
    sink.end().unwrap();
    assert!(!relay.is_at_end());
    for expected in ["head", "!", "a", "b!"] {
        assert_eq!(take(&relay).as_deref(), Some(expected));
    }
    assert!(relay.is_at_end());
    drop(sink);
    assert_eq!(take(&relay).as_deref(), Some("end"));
    assert_eq!(take(&relay).as_deref(), Some("over"));
}

#[test]
fn a_flush_marks_the_last_block_that_waits() {
    let (mut sink, relay) = relayed();
    sink.send_block(bytes(b"a"), false).unwrap();
    sink.send_block(bytes(b"b"), false).unwrap();
    sink.send_flush().unwrap();
    assert_eq!(relay.take_all().map(shown).collect::<Vec<_>>(), ["a", "b!"]);
}

#[test]
fn small_blocks_that_were_not_taken_are_joined() {
    let (mut sink, relay) = relayed();
    sink.join(b"a").unwrap();
    sink.join(b"b").unwrap();
    sink.send_block(bytes(b"c"), true).unwrap();
    sink.join(b"d").unwrap();
    assert_eq!(take(&relay).as_deref(), Some("ab!"));
    assert_eq!(relay.take_all().map(shown).collect::<Vec<_>>(), ["c!", "d!"]);
    assert_eq!(take(&relay), None);
}

#[test]
fn a_failure_comes_behind_the_blocks_before_it() {
    for (end, expected) in [
        (None, "failed Some(500)"),
        (Some(Fault::Application), "failed Some(500)"),
        (Some(Fault::Cancelled), "failed None"),
    ] {
        let (mut sink, relay) = relay::<ResponseHead>(ROOM);
        sink.send_block(bytes(b"a"), false).unwrap();
        if let Some(fault) = end {
            sink.fail(&fault);
        }
        drop(sink);
        let parts = relay.take_all().map(|part| match part {
            Part::Failed(status) => shown(Part::Failed(status)),
            Part::Block { data, flush } => shown(Part::Block { data, flush }),
            other => panic!("{other:?}"),
        });
        assert_eq!(parts.collect::<Vec<_>>(), ["a", expected]);
    }
}

#[test]
fn the_first_end_counts() {
    let (mut sink, relay) = relayed();
    let handle = relay.handle();
    handle.fail_with(Some(StatusCode::SERVICE_UNAVAILABLE));
    sink.end().unwrap();
    sink.fail_with(None);
    assert_eq!(take(&relay).as_deref(), Some("failed Some(503)"));
    assert_eq!(take(&relay).as_deref(), Some("over"));
}

#[test]
fn head_blocks_and_end_wake_the_receiver_once() {
    let (mut sink, relay) = relayed();
    let (wakes, waker) = counting();
    assert!(relay.poll_part(&mut Context::from_waker(&waker)).is_pending());
    sink.head(()).unwrap();
    sink.send_block(bytes(b"a"), false).unwrap();
    assert_eq!(wakes.get(), 0);
    sink.end().unwrap();
    assert_eq!(wakes.get(), 1);
}

#[test]
fn parts_that_the_receiver_was_not_woken_for_leave_when_the_sender_waits() {
    let waits: [fn(&mut RelaySink<()>); 2] = [
        |sink| assert!(room(sink, Waker::noop()).is_pending()),
        |sink| assert!(matches!(sink.wait_for_room(Duration::ZERO, false), Err(HostError::TimedOut))),
    ];
    for wait in waits {
        let (mut sink, relay) = relayed();
        let (wakes, waker) = counting();
        assert!(relay.poll_part(&mut Context::from_waker(&waker)).is_pending());
        sink.send_block(bytes(BLOCK), false).unwrap();
        assert_eq!(wakes.get(), 0);
        wait(&mut sink);
        assert_eq!(wakes.get(), 1);
    }
}

#[test]
fn a_sender_goes_on_when_half_of_the_room_is_free() {
    let (mut sink, relay) = relayed();
    let (wakes, waker) = counting();
    for _ in 0..4 {
        sink.send_block(bytes(&BLOCK[..ROOM / 4]), true).unwrap();
    }
    assert!(room(&mut sink, &waker).is_pending());
    take(&relay);
    assert_eq!(wakes.get(), 0);
    take(&relay);
    assert_eq!(wakes.get(), 1);
    assert!(room(&mut sink, &waker).is_ready());
}

#[test]
fn room_ends_at_64_blocks_of_any_length() {
    let (mut sink, relay) = relay::<()>(super::ROOM);
    let mut sent = 0;
    while room(&mut sink, Waker::noop()).is_ready() {
        sink.send_block(bytes(b"a"), true).unwrap();
        sent += 1;
    }
    assert_eq!(sent, state::BLOCKS);
    assert_eq!(relay.take_all().count(), state::BLOCKS);
}

#[test]
fn a_loop_that_takes_everything_is_woken_for_what_comes_while_it_forwards() {
    let (mut sink, relay) = relayed();
    let (first, waker) = counting();
    relay.report(None, waker);
    sink.send_block(bytes(b"a"), true).unwrap();
    sink.send_block(bytes(b"b"), true).unwrap();
    assert_eq!(first.get(), 1);
    assert_eq!(relay.take_all().count(), 2);
    sink.send_block(bytes(b"c"), true).unwrap();
    let (second, waker) = counting();
    relay.report(Some(Demand::Open), waker);
    assert_eq!((first.get(), second.get()), (1, 1));
    assert_eq!(relay.take_all().count(), 1);
    let (third, waker) = counting();
    relay.report(Some(Demand::Open), waker);
    assert_eq!(third.get(), 0);
}

#[test]
fn a_sender_waits_while_the_client_is_behind() {
    let (mut sink, relay) = relayed();
    let (wakes, waker) = counting();
    relay.report(Some(Demand::Full), Waker::noop().clone());
    assert!(room(&mut sink, &waker).is_pending());
    relay.report(Some(Demand::Full), Waker::noop().clone());
    assert_eq!(wakes.get(), 0);
    relay.report(Some(Demand::Open), Waker::noop().clone());
    assert_eq!(wakes.get(), 1);
    assert!(room(&mut sink, &waker).is_ready());
}

#[test]
fn a_sender_waits_behind_its_head_where_the_demand_depends_on_it() {
    let (mut sink, relay) = relayed();
    relay.ask_after_head();
    assert!(room(&mut sink, Waker::noop()).is_ready());
    let (wakes, waker) = counting();
    relay.report(None, waker);
    sink.head(()).unwrap();
    assert!(room(&mut sink, Waker::noop()).is_pending());
    assert_eq!(wakes.get(), 1, "the receiver takes the head");
    assert_eq!(relay.take_all().count(), 1);
    relay.report(Some(Demand::Unwanted), Waker::noop().clone());
    let Poll::Ready(Ok(found)) = room(&mut sink, Waker::noop()) else { panic!("it waits") };
    assert_eq!(found.interest, BodyInterest::Unwanted);
    sink.send_block(bytes(b"a"), true).unwrap();
    sink.end().unwrap();
    assert_eq!(relay.take_all().map(shown).collect::<Vec<_>>(), ["end"]);
}

#[test]
fn spooling_sender_never_waits_and_wakes_the_receiver_only_at_the_end() {
    let (mut sink, relay) = relayed();
    let (wakes, waker) = counting();
    relay.report(Some(Demand::Spool), waker);
    let file = Arc::new(tempfile::tempfile().unwrap());
    let part = |start| FilePart { file: Arc::<File>::clone(&file), start, len: 8 };
    for round in 0..4 {
        assert!(matches!(room(&mut sink, Waker::noop()), Poll::Ready(Ok(Room { spool: true, .. }))));
        assert!(sink.spools());
        if !sink.keep(b"12345678").unwrap() {
            sink.send_file(part(8 * round), true).unwrap();
        }
    }
    assert!(!sink.keep(b"1").unwrap(), "a file has begun");
    assert!(sink.poll_room(&mut Context::from_waker(Waker::noop()), true).is_pending(), "the file is full");
    assert_eq!(wakes.get(), 0);
    assert_eq!(relay.take_complete().count(), 0);
    sink.end().unwrap();
    assert_eq!(wakes.get(), 1);
    let parts: Vec<_> = relay.take_complete().map(shown).collect();
    assert_eq!(parts, ["1234567812345678!", "file 16+16", "end"]);
}

#[test]
fn blocks_that_were_kept_leave_when_the_receiver_takes_them_again() {
    let (mut sink, relay) = relayed();
    relay.report(Some(Demand::Spool), Waker::noop().clone());
    sink.keep(b"a").unwrap();
    let (wakes, waker) = counting();
    relay.report(Some(Demand::Spool), waker);
    assert_eq!(wakes.get(), 0);
    let (wakes, waker) = counting();
    relay.report(Some(Demand::Open), waker);
    assert_eq!(wakes.get(), 1);
}

#[test]
fn close_by_the_receiver_wakes_waiting_senders() {
    for (closed, is_error) in [(Closed::Gone, true), (Closed::TimedOut, true), (Closed::Satisfied, false)] {
        let (mut sink, relay) = relayed();
        let (wakes, waker) = counting();
        sink.send_block(bytes(BLOCK), true).unwrap();
        assert!(room(&mut sink, &waker).is_pending());
        let handle = relay.handle();
        assert!(handle.poll_closed(&mut Context::from_waker(&waker)).is_pending());
        thread::scope(|scope| {
            let mut draining = sink;
            let drained = scope.spawn(move || (draining.wait_for_room(Duration::MAX, false), draining));
            relay.close(closed);
            let (drained, mut sink) = drained.join().unwrap();
            let failures = [
                drained.map(drop),
                sink.head(()),
                sink.send_block(bytes(b"a"), true),
                sink.join(b"a"),
                sink.send_flush(),
                sink.end(),
            ];
            for failure in failures {
                match (closed, failure) {
                    (Closed::Gone, failure) => assert!(is_gone(&failure)),
                    (Closed::TimedOut, failure) => assert!(matches!(failure, Err(HostError::TimedOut))),
                    (Closed::Satisfied, failure) => failure.unwrap(),
                }
            }
        });
        assert_eq!(handle.poll_closed(&mut Context::from_waker(Waker::noop())).is_ready(), is_error);
        assert_eq!(take(&relay).as_deref(), Some("over"));
        assert_eq!(relay.take_all().count(), 0);
        assert!(wakes.get() >= 1);
    }
}

#[test]
fn closed_relay_yields_no_part_and_no_end() {
    let (mut sink, relay) = relayed();
    sink.head(()).unwrap();
    sink.send_block(bytes(b"a"), true).unwrap();
    drop(sink);
    relay.close(Closed::Gone);
    assert_eq!(relay.take_all().count(), 0);
    assert_eq!(relay.take_complete().count(), 0);
    assert_eq!(take(&relay).as_deref(), Some("over"));
}

#[test]
fn a_sender_that_waits_is_woken_by_a_close_after_the_end() {
    let (mut sink, relay) = relayed();
    let (wakes, waker) = counting();
    relay.report(Some(Demand::Full), Waker::noop().clone());
    assert!(room(&mut sink, &waker).is_pending());
    relay.handle().fail_with(Some(StatusCode::SERVICE_UNAVAILABLE));
    assert_eq!(relay.take_all().count(), 1);
    relay.close(Closed::Gone);
    assert_eq!(wakes.get(), 1);
}

#[test]
fn a_relay_that_is_dropped_is_closed() {
    let (mut sink, relay) = relayed();
    drop(relay);
    assert!(is_gone(&sink.send_block(bytes(b"a"), true)));
}

#[test]
fn application_thread_reads_a_request_body_through_a_relay() {
    let (mut sink, relay) = relayed();
    let reader = thread::spawn(move || relay.map(shown).collect::<Vec<_>>().concat());
    let mut sent = String::new();
    for number in 0..100 {
        sink.wait_for_room(Duration::from_secs(60), false).unwrap();
        let piece = format!("{number},");
        sink.send_block(Bytes::from(piece.clone()), false).unwrap();
        sent += &piece;
    }
    sink.end().unwrap();
    assert_eq!(reader.join().unwrap(), sent + "end");
}
