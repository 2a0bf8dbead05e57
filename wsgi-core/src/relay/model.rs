//! Compares a relay with a model: for any steps of both ends, bytes arrive once and in order, the relay is bounded, and
//! an end that can go on is awake.

use std::collections::VecDeque;

use proptest::prelude::*;

use super::tests::{Count, counting};
use super::*;

const ROOM: usize = 24;

#[derive(Clone, Debug)]
enum Step {
    /// Sends this many bytes if there is room.
    Send(usize, bool),
    Join(usize),
    Flush,
    End,
    Fail,
    /// Takes one part, as tasks and threads do.
    TakeOne,
    /// Takes all parts, as an event loop does, which reports later.
    TakeAll,
    Report(Demand),
    Close(Closed),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let demand = prop_oneof![
        4 => Just(Demand::Open),
        2 => Just(Demand::Full),
        1 => Just(Demand::Spool),
        1 => Just(Demand::Unwanted),
    ];
    let closed = prop_oneof![Just(Closed::Gone), Just(Closed::TimedOut), Just(Closed::Satisfied)];
    let step = prop_oneof![
        12 => (1..20usize, any::<bool>()).prop_map(|(len, flush)| Step::Send(len, flush)),
        6 => (1..6usize).prop_map(Step::Join),
        3 => Just(Step::Flush),
        8 => Just(Step::TakeOne),
        6 => Just(Step::TakeAll),
        8 => demand.prop_map(Step::Report),
        1 => Just(Step::End),
        1 => Just(Step::Fail),
        1 => closed.prop_map(Step::Close),
    ];
    prop::collection::vec(step, 1..60)
}

/// The waker of an end that waits.
#[derive(Default)]
struct Waiting(Option<Arc<Count>>);

impl Waiting {
    fn is_asleep(&self) -> bool {
        self.0.as_ref().is_some_and(|count| count.get() == 0)
    }

    fn is_awake(&self) -> bool {
        self.0.as_ref().is_some_and(|count| count.get() > 0)
    }
}

/// The visible state of a relay.
struct Model {
    /// Bytes that were sent and not taken. Their values count up.
    sent: VecDeque<u8>,
    next: u8,
    /// Whether a part must be sent now.
    urgent: bool,
    ended: bool,
    end_seen: bool,
    demand: Demand,
    /// Whether the receiver has ever spooled, so that the sender did not have to wait.
    spooled: bool,
    closed: Option<Closed>,
    sender: Waiting,
    receiver: Waiting,
    /// Whether the receiver was woken, and has not polled since.
    will_look: bool,
    /// Whether the receiver has taken everything, and reports next.
    will_report: bool,
}

impl Model {
    fn new() -> Self {
        Self {
            sent: VecDeque::new(),
            next: 0,
            urgent: false,
            ended: false,
            end_seen: false,
            demand: Demand::Open,
            spooled: false,
            closed: None,
            sender: Waiting::default(),
            receiver: Waiting::default(),
            will_look: false,
            will_report: false,
        }
    }

    fn made(&mut self, len: usize) -> Vec<u8> {
        let from = self.next;
        self.next = self.next.wrapping_add(len as u8);
        (0..len as u8).map(|at| from.wrapping_add(at)).collect()
    }

    fn accepts(&self) -> bool {
        self.closed.is_none() && self.demand != Demand::Unwanted
    }

    fn received(&mut self, part: Part<()>) -> Result<(), TestCaseError> {
        match part {
            Part::Block { data, .. } => {
                prop_assert!(!data.is_empty());
                for byte in data {
                    prop_assert_eq!(Some(byte), self.sent.pop_front());
                }
            }
            Part::End | Part::Failed(_) => {
                prop_assert!(self.closed.is_none());
                prop_assert!(self.ended && !self.end_seen && self.sent.is_empty());
                self.end_seen = true;
            }
            Part::Head(()) | Part::File { .. } | Part::ApplicationFile { .. } | Part::Flush => {}
        }
        Ok(())
    }
}

fn sends(sink: &mut RelaySink<()>, model: &mut Model, step: &Step) -> Result<(), TestCaseError> {
    let (count, waker) = counting();
    let Poll::Ready(room) = sink.poll_room(&mut Context::from_waker(&waker), false) else {
        model.sender = Waiting(Some(count));
        model.urgent |= !model.sent.is_empty();
        return Ok(());
    };
    model.sender = Waiting::default();
    prop_assert_eq!(room.is_err(), matches!(model.closed, Some(Closed::Gone | Closed::TimedOut)));
    let (len, urgent) = match step {
        Step::Send(len, flush) => (*len, *flush),
        Step::Join(len) => (*len, true),
        _ => unreachable!("steps that send"),
    };
    let data = model.made(len);
    let result = match step {
        Step::Send(_, flush) => sink.send_block(Bytes::from(data.clone()), *flush),
        _ => sink.join(&data),
    };
    prop_assert_eq!(result.is_err(), room.is_err());
    if model.accepts() && !model.ended {
        model.sent.extend(data);
        model.urgent |= urgent;
    }
    Ok(())
}

fn takes_one(relay: &Relay<()>, model: &mut Model) -> Result<(), TestCaseError> {
    let (count, waker) = counting();
    // The receiver polls until nothing is left.
    model.will_look = true;
    match relay.poll_part(&mut Context::from_waker(&waker)) {
        Poll::Ready(Some(part)) => model.received(part)?,
        Poll::Ready(None) => prop_assert!(model.end_seen || model.closed.is_some()),
        Poll::Pending => {
            prop_assert!(model.sent.is_empty());
            (model.urgent, model.will_look) = (false, false);
            model.receiver = Waiting(Some(count));
        }
    }
    Ok(())
}

fn takes_all(relay: &Relay<()>, model: &mut Model) -> Result<(), TestCaseError> {
    (model.will_look, model.will_report) = (false, true);
    let batch = if model.demand == Demand::Spool { relay.take_complete() } else { relay.take_all() };
    for part in batch {
        model.received(part)?;
    }
    model.urgent &= !model.sent.is_empty();
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn bytes_arrive_in_order_within_bounds_and_a_side_that_can_proceed_is_awake(steps in steps()) {
        let (mut sink, relay) = relay::<()>(ROOM);
        let mut model = Model::new();
        for step in steps {
            match &step {
                Step::Send(..) | Step::Join(_) if model.ended => {}
                Step::Send(..) | Step::Join(_) => sends(&mut sink, &mut model, &step)?,
                Step::Flush => {
                    let _ = sink.send_flush();
                    model.urgent |= !model.sent.is_empty();
                }
                Step::End => {
                    let _ = sink.end();
                    model.ended = true;
                }
                Step::Fail => {
                    sink.fail_with(None);
                    model.ended = true;
                }
                Step::TakeOne => takes_one(&relay, &mut model)?,
                Step::TakeAll => takes_all(&relay, &mut model)?,
                Step::Report(demand) => {
                    let (count, waker) = counting();
                    relay.report(Some(*demand), waker);
                    if model.closed.is_none() {
                        model.demand = *demand;
                        model.will_report = false;
                        model.will_look |= model.receiver.is_awake();
                        model.receiver = Waiting(Some(count));
                    }
                }
                Step::Close(closed) => {
                    relay.close(*closed);
                    model.closed.get_or_insert(*closed);
                    model.sent.clear();
                    model.urgent = false;
                }
            }
            // At most one block beyond the room, since the sender checks before each.
            model.spooled |= model.demand == Demand::Spool;
            prop_assert!(model.spooled || model.sent.len() < ROOM + 20);
            let receivable = model.closed.is_none() && (model.demand != Demand::Spool || model.ended) && !model.end_seen;
            if receivable && !model.will_look && (model.urgent || model.ended) {
                prop_assert!(!model.receiver.is_asleep(), "the receiver sleeps, and a part is to leave");
            }
            let low = model.sent.len() <= ROOM / 2 && model.demand == Demand::Open && !model.will_report;
            if model.closed.is_some() || low {
                prop_assert!(!model.sender.is_asleep(), "the sender sleeps, and there is room");
            }
        }
    }
}
