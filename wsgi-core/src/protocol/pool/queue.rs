//! The queue of tasks before their first step: first in, first out; any task can be removed.
//!
//! A task that [streams](super::Task::streams) also needs a *place*, from here to its end: there are fewer places than
//! threads. Without a place it stays in a second queue until another task gives one back.

use std::collections::VecDeque;

/// Identifies a task in the queue of a [`Pool`](super::Pool).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(u64);

pub(super) struct Queue<T> {
    /// Tasks that a thread may take, in the order of their tickets.
    tasks: VecDeque<Entry<T>>,
    /// Tasks without a place, in the order of their tickets.
    aside: VecDeque<Entry<T>>,
    /// Number of free places.
    places: usize,
    next: Ticket,
    /// The ticket of the task that was put first last.
    first: Ticket,
}

/// The ticket of the first task. Tasks that are put first have lower ones.
const START: Ticket = Ticket(1 << 63);

struct Entry<T> {
    ticket: Ticket,
    streams: bool,
    task: T,
}

impl<T> Queue<T> {
    pub(super) const fn new(places: usize) -> Self {
        Self { tasks: VecDeque::new(), aside: VecDeque::new(), places, next: START, first: START }
    }

    /// Returns the number of tasks that a thread may take.
    pub(super) fn len(&self) -> usize {
        self.tasks.len()
    }

    /// Returns the number of tasks that wait for a place.
    pub(super) fn aside(&self) -> usize {
        self.aside.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.tasks.is_empty() && self.aside.is_empty()
    }

    /// Whether a task that streams would get a place at once.
    pub(super) fn has_place(&self) -> bool {
        self.places > 0
    }

    pub(super) fn push(&mut self, task: T, streams: bool) -> Ticket {
        let ticket = self.next;
        self.next = Ticket(ticket.0 + 1);
        let entry = Entry { ticket, streams, task };
        if !streams {
            self.tasks.push_back(entry);
        } else if self.places > 0 {
            self.places -= 1;
            self.tasks.push_back(entry);
        } else {
            self.aside.push_back(entry);
        }
        ticket
    }

    /// Puts a task in front of all others.
    pub(super) fn push_first(&mut self, task: T) -> Ticket {
        self.first = Ticket(self.first.0 - 1);
        self.tasks.push_front(Entry { ticket: self.first, streams: false, task });
        self.first
    }

    /// Puts a task back that was taken.
    pub(super) fn put_back(&mut self, task: T, ticket: Ticket) -> Ticket {
        let at = self.tasks.partition_point(|other| other.ticket < ticket);
        self.tasks.insert(at, Entry { ticket, streams: false, task });
        ticket
    }

    /// Whether the next task was put first.
    pub(super) fn has_first(&self) -> bool {
        self.tasks.front().is_some_and(|entry| entry.ticket < START)
    }

    /// Removes the oldest task. Returns it, and whether it has a place.
    pub(super) fn pop(&mut self) -> Option<(T, bool)> {
        self.tasks.pop_front().map(|entry| (entry.task, entry.streams))
    }

    /// Removes the task of this ticket, if it is still queued.
    pub(super) fn take(&mut self, ticket: Ticket) -> Option<T> {
        if let Some(entry) = remove(&mut self.tasks, ticket) {
            if entry.streams {
                self.give_place_back();
            }
            return Some(entry.task);
        }
        remove(&mut self.aside, ticket).map(|entry| entry.task)
    }

    /// Gives a place back: the oldest task that waits for one gets it.
    pub(super) fn give_place_back(&mut self) {
        let Some(entry) = self.aside.pop_front() else {
            self.places += 1;
            return;
        };
        let at = self.tasks.partition_point(|other| other.ticket < entry.ticket);
        self.tasks.insert(at, entry);
    }
}

fn remove<T>(entries: &mut VecDeque<Entry<T>>, ticket: Ticket) -> Option<Entry<T>> {
    let at = entries.binary_search_by_key(&ticket, |entry| entry.ticket).ok()?;
    entries.remove(at)
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Copy, Debug)]
    enum Step {
        Push,
        PushStreaming,
        PushFirst,
        Pop,
        /// Takes the task with this number, whether it is queued or not.
        Take(usize),
        /// Ends a task that was popped with a place.
        End,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            2 => Just(Step::Push),
            2 => Just(Step::PushStreaming),
            1 => Just(Step::PushFirst),
            1 => Just(Step::Pop),
            1 => Just(Step::End),
            2 => (0..40usize).prop_map(Step::Take),
        ]
    }

    /// The expected content of a queue: numbers of tasks, and whether each streams, in the order of their tickets.
    #[derive(Default)]
    struct Model {
        tasks: Vec<(usize, bool)>,
        aside: Vec<(usize, bool)>,
        places: usize,
        /// Numbers of tasks that were put first.
        firsts: Vec<usize>,
    }

    impl Model {
        fn push(&mut self, number: usize, streams: bool) {
            if streams && self.places == 0 {
                return self.aside.push((number, streams));
            }
            self.places -= usize::from(streams);
            self.tasks.push((number, streams));
        }

        fn give_place_back(&mut self) {
            self.places += 1;
            if !self.aside.is_empty() {
                self.places -= 1;
                let task = self.aside.remove(0);
                // Behind tasks that were put first, and in the order of arrival among the others.
                let at = self.tasks.iter().position(|other| !self.firsts.contains(&other.0) && other.0 > task.0);
                self.tasks.insert(at.unwrap_or(self.tasks.len()), task);
            }
        }

        fn take(&mut self, number: usize) -> Option<usize> {
            if let Some(at) = self.tasks.iter().position(|(other, _)| *other == number) {
                if self.tasks.remove(at).1 {
                    self.give_place_back();
                }
                return Some(number);
            }
            let at = self.aside.iter().position(|(other, _)| *other == number)?;
            Some(self.aside.remove(at).0)
        }
    }

    proptest! {
        #[test]
        fn queue_returns_each_task_exactly_once(places in 0..4usize, steps in vec(step(), 0..80)) {
            let (mut queue, mut tickets, mut placed) = (Queue::new(places), Vec::new(), 0);
            let mut model = Model { places, ..Model::default() };
            for step in steps {
                match step {
                    Step::Push | Step::PushStreaming => {
                        let streams = matches!(step, Step::PushStreaming);
                        prop_assert_eq!(queue.has_place(), model.places > 0);
                        model.push(tickets.len(), streams);
                        tickets.push(queue.push(tickets.len(), streams));
                    }
                    Step::PushFirst => {
                        model.tasks.insert(0, (tickets.len(), false));
                        model.firsts.push(tickets.len());
                        tickets.push(queue.push_first(tickets.len()));
                        prop_assert!(queue.has_first());
                    }
                    Step::Pop => {
                        let expected = (!model.tasks.is_empty()).then(|| model.tasks.remove(0));
                        placed += usize::from(expected.is_some_and(|(_, streams)| streams));
                        prop_assert_eq!(queue.pop(), expected);
                    }
                    Step::Take(number) => {
                        let Some(ticket) = tickets.get(number) else { continue };
                        prop_assert_eq!(queue.take(*ticket), model.take(number));
                    }
                    Step::End if placed > 0 => {
                        placed -= 1;
                        queue.give_place_back();
                        model.give_place_back();
                    }
                    Step::End => {}
                }
                prop_assert_eq!((queue.len(), queue.aside()), (model.tasks.len(), model.aside.len()));
                prop_assert_eq!(queue.is_empty(), model.tasks.is_empty() && model.aside.is_empty());
                prop_assert!(model.aside.is_empty() || model.places == 0);
            }
        }
    }
}
