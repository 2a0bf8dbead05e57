//! Slots: the keys a dictionary holds and their values, as they were with the last request.

use std::collections::HashMap;
use std::ops::Range;

use super::collected::Claim;
use super::equal::equal;
use super::{Changes, SlotId, fixed};

/// Values above this size are not kept: they would take memory, and rarely come twice.
const VALUE_LIMIT: usize = 256;

/// Slots for the names of headers that clients choose, and the size of a key beyond which there is none.
const HEADER_SLOTS: usize = 128;
const HEADER_KEY_LIMIT: usize = 64;

/// Slots for the host's and the operator's variables. Their number is the configuration's, no client's.
const CONFIGURED_SLOTS: usize = 256;

/// All slots of a cache, the [`fixed`] ones first.
///
/// With each request ([`begin`](Self::begin) to [`sweep`](Self::sweep)) a slot beyond the fixed ones is claimed once,
/// by who comes first; what nobody claims is removed.
pub(super) struct Slots {
    all: Vec<Slot>,
    by_key: HashMap<Box<str>, u16>,
    headers: usize,
    configured: usize,
    /// Number of the current request.
    round: u64,
    /// Slots beyond the fixed ones that hold a value, and those of them that keep it in this round.
    present: usize,
    claimed: usize,
}

struct Slot {
    key: Box<str>,
    /// The dictionary has the key...
    present: bool,
    /// ...with this value.
    value: Vec<u8>,
    /// The last round in which it was claimed, and how.
    round: u64,
    claim: Claim,
}

/// For whom a slot is made.
pub(super) enum Purpose {
    /// For a client, which may use names of its own up to a number.
    Header { common: bool },
    /// For the host or the operator.
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

    /// The slot of `key`, new if there is none and it deserves one.
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

    /// Key of a slot; `None` if there is no such slot.
    #[inline]
    pub(super) fn key(&self, index: usize) -> Option<&str> {
        self.all.get(index).map(|slot| &*slot.key)
    }

    pub(super) fn begin(&mut self) {
        self.round += 1;
        self.claimed = 0;
    }

    /// Brings fixed slots up to date: those in `range`, to which `values` belong.
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

    /// Claims a slot beyond the fixed ones, unless somebody was faster. `None` leaves the key out.
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

    /// Claims a slot for a header, or tells how it is claimed already. Unless the dictionary holds `value`, the claim is
    /// [`Collected`](Claim::Collected) under the number `next`.
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

    /// Takes back that a header is unchanged: it is collected as number `next`. Returns its value.
    pub(super) fn collect(&mut self, index: usize, next: usize) -> Vec<u8> {
        let slot = &mut self.all[index];
        slot.claim = Claim::Collected(next);
        slot.value.clone()
    }

    /// Brings a claimed slot up to date.
    #[inline(always)]
    pub(super) fn put(&mut self, index: usize, value: &[u8], changes: &mut impl Changes) {
        let slot = &mut self.all[index];
        if !slot.holds(value) {
            self.present += usize::from(!slot.present);
            slot.change(index, value, changes);
        }
    }

    /// Removes what this request does not have.
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
            // The key has its place in the dictionary, so that the copy does not grow.
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
