//! Shares of a pool for connections that carry several concurrent requests (HTTP/2, HTTP/3).
//!
//! A thread that waits for its client is cheap as long as each of them costs the client a connection. If one connection
//! carries a hundred requests, a client can close their flow-control windows and occupy all threads with a few connections.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;

use super::Limits;

/// Counts requests by their connection: a limited number of each connection has a place in the pool, and further ones wait
/// here, first in, first out. `K` identifies a connection, `W` a waiting request.
#[derive(Debug)]
pub struct Shares<K, W> {
    limit: usize,
    entries: HashMap<K, Entry<W>>,
}

#[derive(Debug)]
struct Entry<W> {
    placed: usize,
    waiting: VecDeque<W>,
}

impl Limits {
    /// Returns how many requests of one connection may have a place in the pool: a quarter of the threads or the number
    /// of permits, the larger of both, but at most one less than the limit of threads, so that other connections get one.
    pub fn share(&self) -> usize {
        let others = self.max_threads.saturating_sub(1).max(1);
        self.permits.max(self.max_threads / 4).clamp(1, others)
    }
}

impl<K: Eq + Hash, W: PartialEq> Shares<K, W> {
    /// Creates an empty set of shares of `limit` places for each connection; one place if that is 0.
    pub fn new(limit: usize) -> Self {
        Self { limit: limit.max(1), entries: HashMap::new() }
    }

    /// Adds a request of `connection`. Returns true if it has a place; else it waits as `waiter`.
    pub fn enter(&mut self, connection: K, waiter: W) -> bool {
        let entry = self.entries.entry(connection).or_insert_with(|| Entry { placed: 0, waiting: VecDeque::new() });
        let is_placed = entry.placed < self.limit;
        match is_placed {
            true => entry.placed += 1,
            false => entry.waiting.push_back(waiter),
        }
        is_placed
    }

    /// Ends a request of `connection` that has a place. Returns the waiting request that has the place now.
    pub fn leave(&mut self, connection: &K) -> Option<W> {
        let entry = self.entries.get_mut(connection)?;
        let next = entry.waiting.pop_front();
        if next.is_none() {
            entry.placed -= 1;
            if entry.placed == 0 {
                self.entries.remove(connection);
            }
        }
        next
    }

    /// Removes a waiting request.
    pub fn forget(&mut self, connection: &K, waiter: &W) {
        if let Some(entry) = self.entries.get_mut(connection) {
            entry.waiting.retain(|waiting| waiting != waiter);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn one_connection_cannot_take_all_threads() {
        let share = |permits, max_threads| Limits::new(permits).max_threads(max_threads).share();
        assert_eq!([share(1, 256), share(100, 256), share(256, 256)], [64, 100, 255]);
        assert_eq!([share(1, 4), share(4, 4), share(2, 2), share(1, 1)], [1, 3, 1, 1]);
    }

    /// Steps of three connections: a new request, the end of a request with a place, the end of a request that waits.
    #[derive(Clone, Copy, Debug)]
    enum Step {
        Enter(u8),
        Leave(u8),
        Forget(u8, usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (0..3u8).prop_map(Step::Enter),
            3 => (0..3u8).prop_map(Step::Leave),
            1 => (0..3u8, 0..9usize).prop_map(|(connection, at)| Step::Forget(connection, at)),
        ]
    }

    proptest! {
        #[test]
        fn each_request_gets_a_place_in_turn_and_no_connection_more_than_its_share(
            limit in 1..4usize,
            steps in vec(step(), 0..80),
        ) {
            let mut shares = Shares::new(limit);
            let mut model: [(usize, Vec<usize>); 3] = Default::default();
            for (number, step) in steps.into_iter().enumerate() {
                match step {
                    Step::Enter(connection) => {
                        let (placed, waiting) = &mut model[usize::from(connection)];
                        let expected = *placed < limit;
                        if expected { *placed += 1 } else { waiting.push(number) }
                        prop_assert_eq!(shares.enter(connection, number), expected);
                    }
                    Step::Leave(connection) => {
                        let (placed, waiting) = &mut model[usize::from(connection)];
                        if *placed == 0 { continue }
                        let next = (!waiting.is_empty()).then(|| waiting.remove(0));
                        *placed -= usize::from(next.is_none());
                        prop_assert_eq!(shares.leave(&connection), next);
                    }
                    Step::Forget(connection, at) => {
                        let (_, waiting) = &mut model[usize::from(connection)];
                        if at >= waiting.len() { continue }
                        shares.forget(&connection, &waiting.remove(at));
                    }
                }
                prop_assert!(model.iter().all(|(placed, waiting)| *placed == limit || waiting.is_empty()));
                let connections = model.iter().filter(|(placed, _)| *placed > 0).count();
                prop_assert_eq!(shares.entries.len(), connections, "what is over takes no memory");
            }
        }
    }
}
