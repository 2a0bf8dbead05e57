//! Open responses, which are cut if the gateway shuts down before they are complete.

use std::sync::Arc;

use http::StatusCode;
use wsgi_core::host::{Leaf, Shutdown};
use wsgi_core::relay::RelayHandle;

use crate::sink::Head;

/// The relays of all open responses of a service.
#[derive(Default)]
pub(crate) struct Open(Leaf<Slots>);

#[derive(Default)]
struct Slots {
    relays: Vec<Option<RelayHandle<Head>>>,
    free: Vec<usize>,
}

impl Open {
    pub(crate) fn add(self: &Arc<Self>, relay: RelayHandle<Head>) -> Entry {
        let relay = Some(relay);
        let index = self.0.with(|slots| match slots.free.pop() {
            Some(index) => {
                slots.relays[index] = relay;
                index
            }
            None => {
                slots.relays.push(relay);
                slots.relays.len() - 1
            }
        });
        Entry { open: Arc::clone(self), index }
    }
}

impl Shutdown for Open {
    fn abandoned(&self) {
        let relays: Vec<_> = self.0.with(|slots| slots.relays.iter().flatten().cloned().collect());
        relays.iter().for_each(|relay| relay.fail_with(Some(StatusCode::SERVICE_UNAVAILABLE)));
    }
}

/// Registration of a relay in [`Open`]. Removes the relay when dropped.
pub(crate) struct Entry {
    open: Arc<Open>,
    index: usize,
}

impl Drop for Entry {
    fn drop(&mut self) {
        // Moved out of the lock before it is dropped.
        let _relay = self.open.0.with(|slots| {
            slots.free.push(self.index);
            slots.relays[self.index].take()
        });
    }
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Poll, Waker};

    use wsgi_core::relay::{Part, ROOM, Relay, relay};

    use super::*;

    fn failure(relay: &Relay<Head>) -> Option<StatusCode> {
        match relay.poll_part(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Some(Part::Failed(status))) => status,
            _ => None,
        }
    }

    #[test]
    fn responses_that_are_open_are_cut_and_no_others() {
        let open = Arc::<Open>::default();
        let ends: Vec<_> = (0..3).map(|_| relay(ROOM)).collect();
        let mut entries: Vec<_> = ends.iter().map(|(_, relay)| open.add(relay.handle())).collect();
        drop(entries.remove(1));
        let last = relay(ROOM);
        entries.push(open.add(last.1.handle()));
        assert_eq!(open.0.with(|slots| slots.relays.len()), 3, "a slot is used again");
        open.abandoned();
        let cut = Some(StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(ends.iter().map(|(_, relay)| failure(relay)).collect::<Vec<_>>(), [cut, None, cut]);
        assert_eq!(failure(&last.1), cut);
    }
}
