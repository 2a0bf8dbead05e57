//! Header values of one request that the dictionary does not hold.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use super::Changes;
use super::name;
use crate::host::HeaderField;

/// The source of a key's value in this request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Claim {
    /// The configuration or the host: no header changes it.
    Settled,
    /// A header without underscores, whose value equals that of the request before.
    Unchanged,
    /// Headers of one name, whose joined value is collected under this number.
    Collected(usize),
}

/// New values of one request. Allocates nothing if no value has changed.
#[derive(Default)]
pub(super) struct Collected<'a> {
    values: Vec<Value<'a>>,
    rare: Option<Box<Rare<'a>>>,
}

struct Value<'a> {
    slot: Option<usize>,
    /// Name of its headers: only headers of the same name are joined.
    name: &'a [u8],
    value: Cow<'a, [u8]>,
}

/// State that few requests need.
#[derive(Default)]
struct Rare<'a> {
    /// Keys without a slot.
    loose: BTreeMap<String, Claim>,
    /// Headers with an underscore in their name, to be handled last.
    postponed: Vec<HeaderField<'a>>,
}

impl<'a> Collected<'a> {
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.values.is_empty() && self.rare.is_none()
    }

    /// Returns the number of the next value.
    #[inline]
    pub(super) fn next(&self) -> usize {
        self.values.len()
    }

    /// Postpones a header whose name is another spelling of a dashed name. The dashed name takes precedence in any position:
    /// clients must not be able to override the X-User of a proxy with X_User.
    pub(super) fn postpone(&mut self, field: HeaderField<'a>) {
        self.rare.get_or_insert_default().postponed.push(field);
    }

    /// Takes the postponed headers, in order.
    pub(super) fn postponed(&mut self) -> Vec<HeaderField<'a>> {
        self.rare.as_mut().map(|rare| std::mem::take(&mut rare.postponed)).unwrap_or_default()
    }

    /// Adds a new value.
    pub(super) fn push(&mut self, slot: Option<usize>, name: &'a [u8], value: &'a [u8]) {
        if self.values.is_empty() {
            self.values.reserve(USUAL_VALUES);
        }
        self.values.push(Value { slot, name, value: Cow::Borrowed(trim(value)) });
    }

    /// Adds a new value made of the dictionary's value (`held`) and a further header.
    pub(super) fn push_joined(&mut self, slot: usize, name: &'a [u8], held: Vec<u8>, value: &[u8]) {
        let mut joined = Value { slot: Some(slot), name, value: Cow::Owned(held) };
        joined.join(value);
        self.values.push(joined);
    }

    /// Joins a further header to a key that is claimed. The header is dropped if its name is not the same.
    pub(super) fn join(&mut self, claim: Claim, name: &[u8], value: &[u8]) {
        let Claim::Collected(number) = claim else { return };
        let collected = &mut self.values[number];
        if collected.name.eq_ignore_ascii_case(name) {
            collected.join(value);
        }
    }

    /// Whether this key, without a slot, has been claimed.
    pub(super) fn is_loose(&self, key: &str) -> bool {
        self.rare.as_ref().is_some_and(|rare| rare.loose.contains_key(key))
    }

    /// Adds a header whose key has no slot.
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

    /// Adds a variable of the host or the operator whose key has no slot, unless the key has been claimed. `None` leaves the
    /// key out.
    #[cold]
    pub(super) fn settle(&mut self, key: &str, value: Option<&[u8]>, changes: &mut impl Changes) {
        if let Entry::Vacant(entry) = self.rare.get_or_insert_default().loose.entry(key.to_owned()) {
            entry.insert(Claim::Settled);
            if let Some(value) = value {
                changes.once(key, value);
            }
        }
    }

    /// Returns the values of keys with slots.
    pub(super) fn in_slots(&self) -> impl Iterator<Item = (usize, &[u8])> {
        self.values.iter().filter_map(|value| Some((value.slot?, &*value.value)))
    }

    /// Returns the values of keys without slots.
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

/// Strips white space around a value, which is not part of it (RFC 9110, 5.5). nginx keeps tabs. Values in the dictionary are
/// stripped already, so only new ones get here.
fn trim(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

/// Capacity for the headers of a browser on its first request, so that they take one allocation.
const USUAL_VALUES: usize = 16;
