//! What the headers of one request bring that the dictionary does not hold.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use super::Changes;
use super::name;
use crate::host::HeaderField;

/// Who gave a key its value in this request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Claim {
    /// Configuration or host: no header changes it.
    Settled,
    /// A header without underscores, whose value is that of the request before.
    Unchanged,
    /// Headers of one name, whose value is collected under this number.
    Collected(usize),
}

/// New values of one request. Empty, and without memory, if nothing has changed.
#[derive(Default)]
pub(super) struct Collected<'a> {
    values: Vec<Value<'a>>,
    /// Keys for which there is no slot.
    loose: BTreeMap<String, Claim>,
    /// Headers with an underscore, for the end.
    postponed: Vec<HeaderField<'a>>,
}

struct Value<'a> {
    slot: Option<usize>,
    /// Name of its headers: only those of the same name are joined.
    name: &'a [u8],
    value: Cow<'a, [u8]>,
}

impl<'a> Collected<'a> {
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.values.is_empty() && self.postponed.is_empty()
    }

    /// Number of the next value.
    #[inline]
    pub(super) fn next(&self) -> usize {
        self.values.len()
    }

    /// Puts off a header whose name is another spelling of one with dashes. The latter goes before it wherever it
    /// stands: a proxy that sets X-User must not be outwitted with X_User.
    pub(super) fn postpone(&mut self, field: HeaderField<'a>) {
        self.postponed.push(field);
    }

    /// The headers put off, in order.
    pub(super) fn postponed(&mut self) -> Vec<HeaderField<'a>> {
        std::mem::take(&mut self.postponed)
    }

    /// A new value.
    pub(super) fn push(&mut self, slot: Option<usize>, field: HeaderField<'a>) {
        self.values.push(Value { slot, name: field.name, value: Cow::Borrowed(field.value) });
    }

    /// A new value that consists of the value so far and that of `field`.
    pub(super) fn push_joined(&mut self, slot: usize, value: Vec<u8>, field: HeaderField<'a>) {
        let mut value = Value { slot: Some(slot), name: field.name, value: Cow::Owned(value) };
        value.join(field);
        self.values.push(value);
    }

    /// A further header for a key that is claimed. It is dropped if it is not of the same name.
    pub(super) fn join(&mut self, claim: Claim, field: HeaderField<'a>) {
        if let Claim::Collected(number) = claim
            && self.values[number].name.eq_ignore_ascii_case(field.name)
        {
            self.values[number].join(field);
        }
    }

    /// Takes a header whose key has no slot.
    pub(super) fn take(&mut self, key: String, field: HeaderField<'a>) {
        let next = self.next();
        match self.loose.entry(key) {
            Entry::Vacant(entry) => {
                entry.insert(Claim::Collected(next));
                self.push(None, field);
            }
            Entry::Occupied(entry) => {
                let claim = *entry.get();
                self.join(claim, field);
            }
        }
    }

    /// Takes a variable of the host or the operator whose key has no slot, unless somebody was faster. `None` leaves
    /// the key out.
    pub(super) fn settle(&mut self, key: &str, value: Option<&[u8]>, changes: &mut impl Changes) {
        if let Entry::Vacant(entry) = self.loose.entry(key.to_owned()) {
            entry.insert(Claim::Settled);
            if let Some(value) = value {
                changes.once(key, value);
            }
        }
    }

    /// Values that belong into slots.
    pub(super) fn in_slots(&self) -> impl Iterator<Item = (usize, &[u8])> {
        self.values.iter().filter_map(|value| Some((value.slot?, &*value.value)))
    }

    /// Values that do not.
    pub(super) fn without_slot(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.loose.iter().filter_map(|(key, claim)| match claim {
            Claim::Collected(number) => Some((key.as_str(), &*self.values[*number].value)),
            _ => None,
        })
    }
}

impl<'a> Value<'a> {
    fn join(&mut self, field: HeaderField<'a>) {
        let value = self.value.to_mut();
        value.extend_from_slice(name::separator(self.name));
        value.extend_from_slice(field.value);
    }
}
