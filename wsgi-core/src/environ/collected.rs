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

/// New values of one request. Without memory of its own if nothing has changed.
#[derive(Default)]
pub(super) struct Collected<'a> {
    values: Vec<Value<'a>>,
    rare: Option<Box<Rare<'a>>>,
}

struct Value<'a> {
    slot: Option<usize>,
    /// Name of its headers: only those of the same name are joined.
    name: &'a [u8],
    value: Cow<'a, [u8]>,
}

/// What few requests have.
#[derive(Default)]
struct Rare<'a> {
    /// Keys for which there is no slot.
    loose: BTreeMap<String, Claim>,
    /// Headers with an underscore, for the end.
    postponed: Vec<HeaderField<'a>>,
}

impl<'a> Collected<'a> {
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.values.is_empty() && self.rare.is_none()
    }

    /// Number of the next value.
    #[inline]
    pub(super) fn next(&self) -> usize {
        self.values.len()
    }

    /// Puts off a header whose name is another spelling of one with dashes. The latter goes before it wherever it
    /// stands: a proxy that sets X-User must not be outwitted with X_User.
    pub(super) fn postpone(&mut self, field: HeaderField<'a>) {
        self.rare.get_or_insert_default().postponed.push(field);
    }

    /// The headers put off, in order.
    pub(super) fn postponed(&mut self) -> Vec<HeaderField<'a>> {
        self.rare.as_mut().map(|rare| std::mem::take(&mut rare.postponed)).unwrap_or_default()
    }

    /// A new value.
    pub(super) fn push(&mut self, slot: Option<usize>, name: &'a [u8], value: &'a [u8]) {
        if self.values.is_empty() {
            self.values.reserve(USUAL_VALUES);
        }
        self.values.push(Value { slot, name, value: Cow::Borrowed(trim(value)) });
    }

    /// A new value that consists of what the dictionary holds and a further header.
    pub(super) fn push_joined(&mut self, slot: usize, name: &'a [u8], held: Vec<u8>, value: &[u8]) {
        let mut joined = Value { slot: Some(slot), name, value: Cow::Owned(held) };
        joined.join(value);
        self.values.push(joined);
    }

    /// A further header for a key that is claimed. It is dropped if it is not of the same name.
    pub(super) fn join(&mut self, claim: Claim, name: &[u8], value: &[u8]) {
        let Claim::Collected(number) = claim else { return };
        let collected = &mut self.values[number];
        if collected.name.eq_ignore_ascii_case(name) {
            collected.join(value);
        }
    }

    /// Whether somebody has claimed this key without a slot.
    pub(super) fn is_loose(&self, key: &str) -> bool {
        self.rare.as_ref().is_some_and(|rare| rare.loose.contains_key(key))
    }

    /// Takes a header whose key has no slot.
    pub(super) fn take(&mut self, key: String, name: &'a [u8], value: &'a [u8]) {
        let next = self.next();
        match self.rare.get_or_insert_default().loose.entry(key) {
            Entry::Vacant(entry) => {
                entry.insert(Claim::Collected(next));
                self.push(None, name, value);
            }
            Entry::Occupied(entry) => {
                let claim = *entry.get();
                self.join(claim, name, value);
            }
        }
    }

    /// Takes a variable of the host or the operator whose key has no slot, unless somebody was faster. `None` leaves
    /// the key out.
    #[cold]
    pub(super) fn settle(&mut self, key: &str, value: Option<&[u8]>, changes: &mut impl Changes) {
        if let Entry::Vacant(entry) = self.rare.get_or_insert_default().loose.entry(key.to_owned()) {
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
        self.rare.iter().flat_map(|rare| &rare.loose).filter_map(|(key, claim)| match claim {
            Claim::Collected(number) => Some((key.as_str(), &*self.values[*number].value)),
            _ => None,
        })
    }
}

impl Value<'_> {
    fn join(&mut self, value: &[u8]) {
        let joined = self.value.to_mut();
        joined.extend_from_slice(name::separator(self.name));
        joined.extend_from_slice(trim(value));
    }
}

/// A value without white space around it, which is no part of it (RFC 9110, 5.5). nginx leaves tabs there. A value that the
/// dictionary holds has none, so only new ones come here.
fn trim(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

/// Room for the headers of a browser that has not been here before, so that they take one allocation.
const USUAL_VALUES: usize = 16;
