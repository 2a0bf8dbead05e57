//! The responses under way, which are cut if the gateway ends before they do.

use std::sync::Arc;

use wsgi_core::host::Shutdown;
use wsgi_core::lock::Leaf;

use crate::channel::Channel;

/// The channels of all responses of a service.
#[derive(Default)]
pub(crate) struct Open(Leaf<Slots>);

#[derive(Default)]
struct Slots {
    channels: Vec<Option<Arc<Channel>>>,
    free: Vec<usize>,
}

impl Open {
    pub(crate) fn add(self: &Arc<Self>, channel: &Arc<Channel>) -> Entry {
        let channel = Some(Arc::clone(channel));
        let index = self.0.with(|slots| match slots.free.pop() {
            Some(index) => {
                slots.channels[index] = channel;
                index
            }
            None => {
                slots.channels.push(channel);
                slots.channels.len() - 1
            }
        });
        Entry { open: Arc::clone(self), index }
    }
}

impl Shutdown for Open {
    fn abandoned(&self) {
        let channels: Vec<_> = self.0.with(|slots| slots.channels.iter().flatten().cloned().collect());
        channels.iter().for_each(|channel| channel.abandon());
    }
}

/// Takes its channel out when it is dropped.
pub(crate) struct Entry {
    open: Arc<Open>,
    index: usize,
}

impl Drop for Entry {
    fn drop(&mut self) {
        // Dropped without the lock.
        let _channel = self.open.0.with(|slots| {
            slots.free.push(self.index);
            slots.channels[self.index].take()
        });
    }
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Poll, Waker};

    use http::StatusCode;

    use super::*;

    fn head(channel: &Channel) -> Option<StatusCode> {
        match channel.poll_head(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(head) => head.err(),
            Poll::Pending => None,
        }
    }

    #[test]
    fn responses_that_are_open_are_cut_and_no_others() {
        let open = Arc::<Open>::default();
        let channels: Vec<_> = (0..3).map(|_| Channel::new()).collect();
        let mut entries: Vec<_> = channels.iter().map(|channel| open.add(channel)).collect();
        drop(entries.remove(1));
        let last = Channel::new();
        entries.push(open.add(&last));
        assert_eq!(open.0.with(|slots| slots.channels.len()), 3, "a slot is used again");
        open.abandoned();
        let cut = Some(StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(channels.iter().map(|channel| head(channel)).collect::<Vec<_>>(), [cut, None, cut]);
        assert_eq!(head(&last), cut);
    }
}
