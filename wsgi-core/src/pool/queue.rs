//! Tasks before their first step, first come, first served, of which each can be taken out.

use std::collections::VecDeque;

/// A place in the queue of a [`Pool`](super::Pool).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(u64);

pub(super) struct Queue<T> {
    /// In the order of their tickets.
    tasks: VecDeque<(Ticket, T)>,
    next: Ticket,
}

impl<T> Queue<T> {
    pub(super) const fn new() -> Self {
        Self { tasks: VecDeque::new(), next: Ticket(0) }
    }

    pub(super) fn len(&self) -> usize {
        self.tasks.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.tasks.is_empty()
    }

    pub(super) fn push(&mut self, task: T) -> Ticket {
        let ticket = self.next;
        self.next = Ticket(ticket.0 + 1);
        self.tasks.push_back((ticket, task));
        ticket
    }

    /// The task that has waited longest.
    pub(super) fn pop(&mut self) -> Option<T> {
        self.tasks.pop_front().map(|(_, task)| task)
    }

    /// The task of this ticket, if it is still here.
    pub(super) fn take(&mut self, ticket: Ticket) -> Option<T> {
        let at = self.tasks.binary_search_by_key(&ticket, |(ticket, _)| *ticket).ok()?;
        self.tasks.remove(at).map(|(_, task)| task)
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Copy, Debug)]
    enum Step {
        Push,
        Pop,
        /// The task that was pushed as this one, whether it is here or not.
        Take(usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![3 => Just(Step::Push), 1 => Just(Step::Pop), 2 => (0..40usize).prop_map(Step::Take)]
    }

    proptest! {
        #[test]
        fn a_queue_loses_none_and_gives_each_once(steps in vec(step(), 0..80)) {
            let (mut queue, mut model, mut tickets) = (Queue::new(), Vec::new(), Vec::new());
            for step in steps {
                match step {
                    Step::Push => {
                        model.push(tickets.len());
                        tickets.push(queue.push(tickets.len()));
                    }
                    Step::Pop => {
                        let expected = (!model.is_empty()).then(|| model.remove(0));
                        prop_assert_eq!(queue.pop(), expected);
                    }
                    Step::Take(number) => {
                        let Some(ticket) = tickets.get(number) else { continue };
                        let at = model.iter().position(|task| *task == number);
                        prop_assert_eq!(queue.take(*ticket), at.map(|at| model.remove(at)));
                    }
                }
                prop_assert_eq!((queue.len(), queue.is_empty()), (model.len(), model.is_empty()));
            }
        }
    }
}
