//! The differences between one request's environ and the next.

use super::Changes;
use super::collected::{Claim, Collected};
use super::fixed::{self, BY_SCHEME, Last, Overrides};
use super::name::{self, Credentials, Destination, NameTable};
use super::slots::{Purpose, Slots};
use crate::host::{HeaderField, RequestView};

/// Remembers the variables that a dictionary holds, and reports how to update it.
///
/// Its memory is bounded, whatever clients send: long values, and names beyond a limit, are not kept but reported with each
/// request ([`Changes::once`]). A request with the same values as the one before costs a comparison for each value, and
/// allocates nothing.
pub struct EnvironCache {
    slots: Slots,
    names: NameTable,
    credentials: Credentials,
    last: Last,
    /// Slots of the last request's [`extra`](RequestView::extra) and [`variables`](RequestView::variables), in order.
    extra: Vec<(&'static str, usize)>,
    variables: Vec<usize>,
}

impl EnvironCache {
    /// Creates a cache for a dictionary that has none of the variables yet.
    pub fn new(credentials: Credentials) -> Self {
        Self {
            slots: Slots::new(),
            names: NameTable::new(credentials),
            credentials,
            last: Last::default(),
            extra: Vec::new(),
            variables: Vec::new(),
        }
    }

    /// Reports the changes that turn the dictionary into that of `request`.
    pub fn update<R: RequestView>(&mut self, request: &R, changes: &mut impl Changes) {
        self.slots.begin();
        let mut collected = Collected::default();
        match self.put_variables(request, &mut collected, changes) {
            None => self.put_fixed(request, &Overrides::default(), changes),
            Some(overrides) => self.put_overridden(request, &overrides, changes),
        }
        self.put_extra(request, &mut collected, changes);
        // The functions that each header passes through here are inlined by force: left to the compiler, a request costs a
        // third more.
        for HeaderField { name, value, hash } in request.headers() {
            match self.names.find(name, hash) {
                Some(Destination::Slot(slot)) => self.take(slot, name, value, &mut collected),
                Some(Destination::Withheld) => {}
                None => self.meet(HeaderField { name, value, hash }, &mut collected),
            }
        }
        if !collected.is_empty() {
            self.put_collected(collected, changes);
        }
        self.slots.sweep(changes);
    }

    /// Handles the operator's variables. They come first, so that no value is reported that they replace.
    #[inline]
    fn put_variables<'a, R: RequestView>(
        &mut self,
        request: &'a R,
        collected: &mut Collected<'a>,
        changes: &mut impl Changes,
    ) -> Option<Overrides<'a>> {
        let mut overrides: Option<Overrides<'_>> = None;
        for (position, (key, value)) in request.variables().enumerate() {
            let slot = match self.variables.get(position) {
                Some(slot) if self.slots.key(*slot) == Some(key) => Some(*slot),
                _ => self.find_variable(position, key),
            };
            let wanted = Some(value).filter(|value| !value.is_empty());
            match slot {
                Some(slot) if slot < fixed::COUNT => overrides.get_or_insert_default().set(slot, value),
                Some(slot) => self.slots.settle(slot, wanted, changes),
                None => collected.settle(key, wanted, changes),
            }
        }
        overrides
    }

    /// Inlined into each caller: without overrides, the code for them is optimized away.
    #[inline(always)]
    fn put_fixed<'a, R: RequestView>(&mut self, request: &'a R, overrides: &Overrides<'a>, changes: &mut impl Changes) {
        let mut buffer = Vec::new();
        let same_scheme = fixed::has_same_scheme(request, overrides, &mut self.last);
        let values = fixed::values(request, overrides, &mut self.last, &mut buffer);
        self.slots.put_fixed(0..BY_SCHEME.start, &values, changes);
        if !same_scheme {
            self.slots.put_fixed(BY_SCHEME, &values, changes);
        }
        self.slots.put_fixed(BY_SCHEME.end..fixed::COUNT, &values, changes);
    }

    #[inline(never)]
    fn put_overridden<'a, R: RequestView>(
        &mut self,
        request: &'a R,
        overrides: &Overrides<'a>,
        changes: &mut impl Changes,
    ) {
        self.put_fixed(request, overrides, changes);
    }

    #[cold]
    fn find_variable(&mut self, position: usize, key: &str) -> Option<usize> {
        let slot = self.slots.find(key, Purpose::Configured)?;
        remember(&mut self.variables, position, slot);
        Some(slot)
    }

    #[inline]
    fn put_extra<R: RequestView>(&mut self, request: &R, collected: &mut Collected<'_>, changes: &mut impl Changes) {
        for (position, (key, value)) in request.extra().enumerate() {
            let slot = match self.extra.get(position) {
                Some((known, slot)) if std::ptr::eq(*known, key) || *known == key => Some(*slot),
                _ => self.find_extra(position, key),
            };
            match slot {
                // A host cannot change the variables that the gateway makes itself.
                Some(slot) if slot < fixed::COUNT => {}
                Some(slot) => self.slots.settle(slot, Some(value), changes),
                None => collected.settle(key, Some(value), changes),
            }
        }
    }

    #[cold]
    fn find_extra(&mut self, position: usize, key: &'static str) -> Option<usize> {
        let slot = self.slots.find(key, Purpose::Configured)?;
        remember(&mut self.extra, position, (key, slot));
        Some(slot)
    }

    /// Handles a header that has a slot.
    #[inline(always)]
    fn take<'a>(&mut self, slot: usize, name: &'a [u8], value: &'a [u8], collected: &mut Collected<'a>) {
        match self.slots.claim(slot, Some(value), collected.next()) {
            Ok(Claim::Collected(_)) => collected.push(Some(slot), name, value),
            Ok(_) => {}
            Err(claim) => self.take_again(slot, claim, name, value, collected),
        }
    }

    #[cold]
    fn take_again<'a>(
        &mut self,
        slot: usize,
        claim: Claim,
        name: &'a [u8],
        value: &'a [u8],
        collected: &mut Collected<'a>,
    ) {
        if claim == Claim::Unchanged {
            // The value did change: there is a second header of the name.
            let first = self.slots.collect(slot, collected.next());
            collected.push_joined(slot, name, first, value);
        } else {
            collected.join(claim, name, value);
        }
    }

    /// Handles a header whose name is not in the table.
    #[cold]
    fn meet<'a>(&mut self, field: HeaderField<'a>, collected: &mut Collected<'a>) {
        if name::has_underscore(field.name) {
            collected.postpone(field);
            return;
        }
        let Some(key) = name::variable(field.name, self.credentials) else { return };
        match self.find_header(&key, collected) {
            Some(slot) => {
                self.names.learn(field.name, field.hash, Destination::Slot(slot));
                self.take(slot, field.name, field.value, collected);
            }
            None => collected.take(key, field.name, field.value),
        }
    }

    /// Returns the slot for a header, unless an earlier header of this request with the same key got none.
    fn find_header(&mut self, key: &str, collected: &Collected<'_>) -> Option<usize> {
        if collected.is_loose(key) {
            return None;
        }
        self.slots.find(key, Purpose::Header { common: name::is_common(key) })
    }

    /// Reports the values that the headers have changed.
    fn put_collected(&mut self, mut collected: Collected<'_>, changes: &mut impl Changes) {
        for HeaderField { name, value, .. } in collected.postponed() {
            let Some(key) = name::variable(name, self.credentials) else { continue };
            match self.find_header(&key, &collected) {
                Some(slot) => match self.slots.claim(slot, None, collected.next()) {
                    Ok(_) => collected.push(Some(slot), name, value),
                    // The header in the dashed form takes precedence.
                    Err(Claim::Unchanged) => {}
                    Err(claim) => collected.join(claim, name, value),
                },
                None => collected.take(key, name, value),
            }
        }
        for (slot, value) in collected.in_slots() {
            self.slots.put(slot, value, changes);
        }
        for (key, value) in collected.without_slot() {
            changes.once(key, value);
        }
    }
}

/// Stores the entry for a position. Positions after one without a slot are not stored.
fn remember<T>(list: &mut Vec<T>, position: usize, entry: T) {
    if position == list.len() {
        list.push(entry);
    } else if let Some(known) = list.get_mut(position) {
        *known = entry;
    }
}
