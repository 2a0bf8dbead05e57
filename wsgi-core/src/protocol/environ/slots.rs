//! Slots: the keys that a dictionary holds and their values, as of the last request.

use std::collections::HashMap;
use std::ops::Range;

use super::collected::Claim;
use super::equal::equal;
use super::{Changes, SlotId, fixed};

/// Size in bytes above which values are not kept: they would take memory, and are rarely repeated.
const VALUE_LIMIT: usize = 256;

/// Number of slots for header names that clients choose, and below, the size in bytes above which a key gets no slot.
const HEADER_SLOTS: usize = 128;
const HEADER_KEY_LIMIT: usize = 64;

/// Number of slots for the host's and the operator's variables. The configuration determines how many are used; clients do
/// not.
const CONFIGURED_SLOTS: usize = 256;

/// All slots of a cache, the [`fixed`] ones first.
///
/// In each request ([`begin`](Self::begin) to [`sweep`](Self::sweep)) the first claim on a slot beyond the fixed ones counts;
/// slots without a claim are removed from the dictionary.
pub(super) struct Slots {
    all: Vec<Slot>,
    by_key: HashMap<Box<str>, u16>,
    headers: usize,
    configured: usize,
    /// Number of the current request.
    round: u64,
    /// Number of slots beyond the fixed ones that hold a value, and below, of those claimed in this round.
    present: usize,
    claimed: usize,
}

struct Slot {
    key: Box<str>,
    /// Whether the dictionary has the key...
    present: bool,
    /// ...with this value.
    value: Vec<u8>,
    /// The last round in which it was claimed, and how.
    round: u64,
    claim: Claim,
}

/// The source of the values of a slot.
pub(super) enum Purpose {
    /// A client's header. Names that are not common get a limited number of slots.
    Header { common: bool },
    /// A variable of the host or the operator.
    Configured,
}

impl Slots {
    pub(super) fn new() -> Self {
        let mut slots = Self {
            all: Vec::new(),
            by_key: HashMap::new(),
            headers: 0,
            configured: 0,
            round: 0,
            present: 0,
            claimed: 0,
        };
        for key in fixed::KEYS {
            slots.add(key);
        }
        slots
    }

    /// Returns the slot of `key`; adds one if there is none and the limits allow it.
    pub(super) fn find(&mut self, key: &str, purpose: Purpose) -> Option<usize> {
        if let Some(index) = self.by_key.get(key) {
            return Some(usize::from(*index));
        }
        match purpose {
            Purpose::Header { common } => {
                if !common && (self.headers == HEADER_SLOTS || key.len() > HEADER_KEY_LIMIT) {
                    return None;
                }
                self.headers += usize::from(!common);
            }
            Purpose::Configured => {
                if self.configured == CONFIGURED_SLOTS {
                    return None;
                }
                self.configured += 1;
            }
        }
        Some(self.add(key))
    }

    fn add(&mut self, key: &str) -> usize {
        let index = self.all.len();
        self.by_key.insert(key.into(), index as u16);
        self.all.push(Slot { key: key.into(), present: false, value: Vec::new(), round: 0, claim: Claim::Settled });
        index
    }

    /// Returns the key of a slot; `None` if there is no such slot.
    #[inline]
    pub(super) fn key(&self, index: usize) -> Option<&str> {
        self.all.get(index).map(|slot| &*slot.key)
    }

    pub(super) fn begin(&mut self) {
        self.round += 1;
        self.claimed = 0;
    }

    /// Updates the fixed slots in `range` with their `values`.
    #[inline(always)]
    pub(super) fn put_fixed(
        &mut self,
        range: Range<usize>,
        values: &[Option<&[u8]>; fixed::COUNT],
        changes: &mut impl Changes,
    ) {
        let slots = self.all[range.clone()].iter_mut().zip(&values[range.clone()]);
        for (index, (slot, value)) in range.zip(slots) {
            match *value {
                Some(value) if slot.holds(value) => {}
                Some(value) => slot.change(index, value, changes),
                None if slot.present => slot.remove(index, changes),
                None => {}
            }
        }
    }

    /// Claims a slot beyond the fixed ones, unless it has been claimed. `None` leaves the key out.
    #[inline(always)]
    pub(super) fn settle(&mut self, index: usize, value: Option<&[u8]>, changes: &mut impl Changes) {
        let slot = &mut self.all[index];
        if slot.round == self.round {
            return;
        }
        slot.round = self.round;
        slot.claim = Claim::Settled;
        match value {
            Some(value) => {
                self.claimed += 1;
                self.put(index, value, changes);
            }
            None if slot.present => {
                self.present -= 1;
                slot.remove(index, changes);
            }
            None => {}
        }
    }

    /// Claims a slot for a header, or returns the earlier claim as an error. Unless the dictionary holds `value`, the claim
    /// is [`Collected`](Claim::Collected) under the number `next`.
    #[inline(always)]
    pub(super) fn claim(&mut self, index: usize, value: Option<&[u8]>, next: usize) -> Result<Claim, Claim> {
        let slot = &mut self.all[index];
        if slot.round == self.round {
            return Err(slot.claim);
        }
        slot.round = self.round;
        slot.claim =
            if value.is_some_and(|value| slot.holds(value)) { Claim::Unchanged } else { Claim::Collected(next) };
        self.claimed += 1;
        Ok(slot.claim)
    }

    /// Changes a claim from unchanged to collected under the number `next`. Returns the slot's value.
    pub(super) fn collect(&mut self, index: usize, next: usize) -> Vec<u8> {
        let slot = &mut self.all[index];
        slot.claim = Claim::Collected(next);
        slot.value.clone()
    }

    /// Updates a claimed slot.
    #[inline(always)]
    pub(super) fn put(&mut self, index: usize, value: &[u8], changes: &mut impl Changes) {
        let slot = &mut self.all[index];
        if !slot.holds(value) {
            self.present += usize::from(!slot.present);
            slot.change(index, value, changes);
        }
    }

    /// Removes the keys that this request does not have.
    #[inline]
    pub(super) fn sweep(&mut self, changes: &mut impl Changes) {
        if self.claimed < self.present {
            self.remove_unclaimed(changes);
        }
    }

    #[cold]
    fn remove_unclaimed(&mut self, changes: &mut impl Changes) {
        for (index, slot) in self.all.iter_mut().enumerate().skip(fixed::COUNT) {
            if slot.present && slot.round != self.round {
                slot.remove(index, changes);
            }
        }
        self.present = self.claimed;
    }
}

impl Slot {
    #[inline(always)]
    fn holds(&self, value: &[u8]) -> bool {
        self.present && equal(&self.value, value)
    }

    fn change(&mut self, index: usize, value: &[u8], changes: &mut impl Changes) {
        let id = SlotId(index as u16);
        if value.len() <= VALUE_LIMIT {
            self.present = true;
            self.value.clear();
            self.value.extend_from_slice(value);
            changes.set(id, &self.key, value);
            return;
        }
        if !self.present {
            // The key gets its place in the dictionary, so that the copy does not have to grow.
            self.present = true;
            self.value.clear();
            changes.set(id, &self.key, b"");
        }
        changes.once(&self.key, value);
    }

    fn remove(&mut self, index: usize, changes: &mut impl Changes) {
        self.present = false;
        changes.remove(SlotId(index as u16), &self.key);
    }
}
