//! Builds environ: a dict per location and thread, the template, holds the previous request's values. It is updated and
//! copied.
//!
//! Most values of two requests in a row are the same (method, protocol, host, user agent...). [`EnvironCache`] finds
//! the changed ones, which are set in the template; `PyDict_Copy` then copies the table as a whole. The template
//! belongs to one thread: no other thread can change it between the update and the copy, even if the copy runs the
//! garbage collector and thereby a finaliser.

use std::cell::RefCell;

use pyo3::ffi;

use crate::config::{Flag, Target};
use crate::host::RequestView;
use crate::protocol::environ::{Changes, Credentials, EnvironCache, SlotId};
use crate::python::application::location::Location;
use crate::python::attach::token::{Held, Obj, Token};
use crate::python::objects::raise::Raised;

thread_local! {
    /// Templates of this thread, by the number of the location.
    static TEMPLATES: RefCell<Vec<Option<Box<Template>>>> = const { RefCell::new(Vec::new()) };
}

struct Template {
    cache: EnvironCache,
    dict: Held,
    /// Interned keys by slot.
    keys: Vec<Option<Held>>,
    /// Number of keys deleted from `dict` since it was created: each has left a hole in its table.
    holes: usize,
}

/// Returns a new environ for `request`, without the per-request objects.
pub(crate) fn build<'py, R: RequestView>(
    token: Token<'py>,
    location: &Location,
    request: &R,
) -> Result<Obj<'py>, Raised> {
    let number = location.number();
    // Removed from the list, which must not be borrowed while the request is read: that runs code of the host, which
    // may begin another exchange. The other exchange then creates another template, and one of the two is kept.
    let template = TEMPLATES.with_borrow_mut(|templates| templates.get_mut(number).and_then(Option::take));
    let mut template = match template {
        Some(template) => template,
        None => Box::new(Template::new(token, location)?),
    };
    // If this fails, the template is updated in part only and is dropped: the next request creates a new one.
    let environ = template.environ(token, request)?;
    let other = TEMPLATES.with_borrow_mut(|templates| {
        if templates.len() <= number {
            templates.resize_with(number + 1, || None);
        }
        templates[number].replace(template)
    });
    drop(other);
    Ok(environ)
}

/// Drops this thread's templates. Called attached, before the thread ends.
pub(crate) fn forget(_token: Token<'_>) {
    TEMPLATES.take();
}

impl Template {
    fn new(token: Token<'_>, location: &Location) -> Result<Self, Raised> {
        let data = token.interpreter().data();
        let (script, callable) = match location.target() {
            Target::Script { path, callable } => (token.path(path)?, callable),
            Target::Module { name, callable } => (token.text(name)?, callable),
        };
        let callable = token.text(callable)?;
        let credentials = match location.settings().is_on(Flag::PassAuthorization) {
            true => Credentials::Passed,
            false => Credentials::Withheld,
        };
        let own = [(&data.script_key, script.as_ptr()), (&data.callable_key, callable.as_ptr())]
            .into_iter()
            // Placeholders for the keys that each request sets, so that they have a place in the table.
            .chain([&data.errors_key, &data.input_key].map(|key| (key, data.types.empty_input.as_ptr())));
        let common = data.environ.iter().map(|(key, value)| (key, value.as_ptr()));
        // SAFETY: a new dict; keys and values are alive.
        unsafe {
            let dict = token.own(ffi::PyDict_New()).ok_or(Raised)?;
            for (key, value) in common.chain(own) {
                if ffi::PyDict_SetItem(dict.as_ptr(), key.as_ptr(), value) < 0 {
                    return Err(Raised);
                }
            }
            Ok(Self { cache: EnvironCache::new(credentials), dict: dict.hold(), keys: Vec::new(), holes: 0 })
        }
    }

    fn environ<'py, R: RequestView>(&mut self, token: Token<'py>, request: &R) -> Result<Obj<'py>, Raised> {
        let Self { cache, dict, keys, holes } = self;
        let mut update = Update { token, dict, keys, holes, once: Vec::new(), result: Ok(()) };
        cache.update(request, &mut update);
        let Update { once, result, .. } = update;
        result?;
        // SAFETY: the template is a dict of this interpreter; the copy is a new reference.
        unsafe {
            let environ = token.own(ffi::PyDict_Copy(dict.as_ptr())).ok_or(Raised)?;
            for (key, value) in once {
                if ffi::PyDict_SetItem(environ.as_ptr(), key.as_ptr(), value.as_ptr()) < 0 {
                    return Err(Raised);
                }
            }
            Ok(environ)
        }
    }
}

/// Applies the changes since the last request to the template.
struct Update<'a, 'py> {
    token: Token<'py>,
    dict: &'a mut Held,
    keys: &'a mut Vec<Option<Held>>,
    holes: &'a mut usize,
    /// Keys and values of this request only.
    once: Vec<(Obj<'py>, Obj<'py>)>,
    /// The first failure; later changes are skipped.
    result: Result<(), Raised>,
}

impl Update<'_, '_> {
    fn key(&mut self, slot: SlotId, key: &str) -> Result<*mut ffi::PyObject, Raised> {
        let index = slot.index();
        if self.keys.len() <= index {
            self.keys.resize_with(index + 1, || None);
        }
        match &self.keys[index] {
            Some(key) => Ok(key.as_ptr()),
            None => Ok(self.keys[index].insert(self.token.intern(key)?.hold()).as_ptr()),
        }
    }

    /// Rebuilds the dict when it may have so many holes that copying it is slow.
    ///
    /// CPython copies the table of a dict as it is while two thirds of the entries are in use. Otherwise it inserts key
    /// by key, with ten times the instructions (3.9 to 3.14). Without the rebuild most copies would be of the second
    /// kind when clients with different headers alternate.
    fn fill_holes(&mut self) -> Result<(), Raised> {
        // SAFETY: a live dict and a new one.
        unsafe {
            if *self.holes * 2 <= ffi::PyDict_Size(self.dict.as_ptr()) as usize {
                return Ok(());
            }
            let dict = self.token.own(ffi::PyDict_New()).ok_or(Raised)?;
            if ffi::PyDict_Update(dict.as_ptr(), self.dict.as_ptr()) < 0 {
                return Err(Raised);
            }
            *self.dict = dict.hold();
        }
        *self.holes = 0;
        Ok(())
    }

    fn attempt(&mut self, work: impl FnOnce(&mut Self) -> Result<(), Raised>) {
        if self.result.is_ok() {
            self.result = work(self);
        }
    }
}

impl Changes for Update<'_, '_> {
    fn set(&mut self, slot: SlotId, key: &str, value: &[u8]) {
        self.attempt(|update| {
            let key = update.key(slot, key)?;
            let value = update.token.latin1(value)?;
            // SAFETY: dict, key and value are alive.
            let result = unsafe { ffi::PyDict_SetItem(update.dict.as_ptr(), key, value.as_ptr()) };
            if result < 0 { Err(Raised) } else { Ok(()) }
        });
    }

    fn remove(&mut self, slot: SlotId, key: &str) {
        self.attempt(|update| {
            let key = update.key(slot, key)?;
            // SAFETY: dict and key are alive.
            if unsafe { ffi::PyDict_DelItem(update.dict.as_ptr(), key) } < 0 {
                return Err(Raised);
            }
            *update.holes += 1;
            update.fill_holes()
        });
    }

    fn once(&mut self, key: &str, value: &[u8]) {
        self.attempt(|update| {
            let pair = (update.token.latin1(key.as_bytes())?, update.token.latin1(value)?);
            update.once.push(pair);
            Ok(())
        });
    }
}
