//! Loads the callable of a configured target: a script by path or a module by name, with the middleware around it.

use std::collections::BTreeMap;
use std::ffi::CStr;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::ptr;
use std::sync::Arc;

use pyo3::ffi;

use super::loading::LoadsApplication;
use super::middleware::{Callable, MiddlewareError};
use super::source::{Identity, Source};
use crate::config::{Layer, Target};
use crate::host::Level;
use crate::lock::Leaf;
use crate::protocol::record::Log;
use crate::protocol::reload::Version;
use crate::python::attach::forked::end_if_forked;
use crate::python::attach::lock::{Loading, LoadingGuard};
use crate::python::attach::token::{Held, Obj, Token};
use crate::python::objects::convert::{resolve, type_name};
use crate::python::objects::raise::{Raised, fetch};
use crate::python::objects::report;

/// A loaded application. Every exchange that uses it keeps a reference.
pub(crate) struct Application {
    /// The outermost callable: the application with its middleware.
    pub(crate) callable: Held,
    /// Version of the file, taken before the file was read: the next request notices a change made during the load.
    pub(crate) version: Version,
    /// The script, or the file of a module that is watched.
    pub(crate) file: Option<PathBuf>,
    /// Lower-case names of headers that were removed from responses (`wsgi_strict off`). A dozen at most.
    left_out: Leaf<Vec<String>>,
}

impl Application {
    /// Records that the header `name` is removed from a response; returns whether this is the first time.
    pub(crate) fn is_first_use_of(&self, name: &str) -> bool {
        let name = name.to_ascii_lowercase();
        self.left_out.with(|names| {
            let first = !names.contains(&name);
            if first {
                names.push(name);
            }
            first
        })
    }
}

/// Scripts and modules of all interpreters. The key is the address of the interpreter, which is never freed, and the
/// name of the module.
static SCRIPTS: Leaf<BTreeMap<(usize, String), Arc<Script>>> = Leaf::new(BTreeMap::new());

/// A script or module. Its lock is held while it is loaded, which runs Python, so that it is loaded once.
#[derive(Default)]
struct Script(Loading<Loaded>);

#[derive(Default)]
struct Loaded {
    /// Applications by callable and middleware, shared by the locations that have the same ones.
    applications: Vec<(String, Vec<Layer>, Arc<Application>)>,
    /// Version and reason of the last failed load, so that the failure is logged once.
    failed: Option<(Version, String)>,
}

impl Script {
    fn find(token: Token<'_>, name: &str) -> Arc<Self> {
        let interpreter = ptr::from_ref(token.interpreter()).addr();
        SCRIPTS.with(|scripts| Arc::clone(scripts.entry((interpreter, name.to_owned())).or_default()))
    }
}

impl Loaded {
    fn find(&self, identity: Identity<'_>) -> Option<usize> {
        self.applications.iter().position(|(callable, layers, _)| {
            callable == identity.callable
                && layers.len() == identity.layers.len()
                && layers.iter().zip(identity.layers).all(|(one, other)| one.is_same(other))
        })
    }
}

/// Why a load has failed.
enum LoadFailure {
    /// A pending Python exception. The text names the failed step.
    Raised(String),
    /// The complete log message.
    Message(String),
}

/// Loads the application of `source`, unless it is loaded already in version `found`. Failures are logged; for a
/// watched file, once for each version.
pub(crate) fn load(
    token: Token<'_>,
    source: &Source,
    log: &Log,
    found: Option<Version>,
) -> Result<Arc<Application>, Raised> {
    let what = describe(source.target());
    let name = match source.target() {
        Target::Script { path, .. } => module_name(path),
        Target::Module { name, .. } => name.clone(),
    };
    let script = Script::find(token, &name);
    // Other threads that need the module wait here detached: the application may take long to load.
    let Ok(loaded) = script.0.lock() else {
        log.log(Level::Error, &format!("cannot load {what}: this thread is already loading it"));
        return Err(Raised);
    };
    // `load_or_find` releases the lock: other threads need not wait for the log, which the host implements, nor for the
    // destructors of the previous version.
    match load_or_find(token, source, &name, found, loaded) {
        Ok(Found { application, loaded: None, .. }) => Ok(application),
        Ok(Found { application, loaded: Some(again), doubt, before }) => {
            drop(before);
            let again = if again { "loaded again" } else { "loaded" };
            log.log(Level::Notice, &format!("{what} {again}, callable \"{}\"", callable(source.target())));
            if let Some(doubt) = doubt {
                log.log(Level::Warn, &doubt);
            }
            Ok(application)
        }
        Err(Failure::Known) => Err(Raised),
        Err(Failure::Raised(what, exception)) => {
            report::exception(token, log, &what, &exception);
            Err(Raised)
        }
        Err(Failure::Said(what)) => {
            log.log(Level::Error, &what);
            Err(Raised)
        }
    }
}

/// The result of [`load_or_find`].
struct Found {
    application: Arc<Application>,
    /// `Some` if it was loaded just now: false for the first time, true for a reload.
    loaded: Option<bool>,
    /// A warning for the log: why the callable will probably fail.
    doubt: Option<String>,
    /// The previous version.
    before: Option<Arc<Application>>,
}

/// Why an application could not be loaded, as far as the log does not have it.
enum Failure<'py> {
    /// The failure is in the log already.
    Known,
    Raised(String, Obj<'py>),
    Said(String),
}

fn load_or_find<'py>(
    token: Token<'py>,
    source: &Source,
    name: &str,
    found: Option<Version>,
    mut loaded: LoadingGuard<'_, Loaded>,
) -> Result<Found, Failure<'py>> {
    let known = source.identity().and_then(|identity| loaded.find(identity));
    if let Some(index) = known {
        let application = &loaded.applications[index].2;
        if found.is_none_or(|found| found == application.version) {
            return Ok(Found { application: Arc::clone(application), loaded: None, doubt: None, before: None });
        }
    }
    let (file, version) = file_and_version(token, source, found);
    match load_anew(token, source, name, version, file, known.is_some()) {
        Ok((application, doubt)) => {
            let application = Arc::new(application);
            loaded.failed = None;
            let mut before = None;
            if let Some(Identity { callable, layers }) = source.identity() {
                before = known.map(|index| loaded.applications.remove(index).2);
                loaded.applications.push((callable.to_owned(), layers.to_vec(), Arc::clone(&application)));
            }
            Ok(Found { application, loaded: Some(known.is_some()), doubt, before })
        }
        Err(trouble) => {
            let failed = &mut loaded.failed;
            let once = source.is_watched();
            let mut is_new = |reason: String| {
                let new = !once || failed.as_ref() != Some(&(version, reason.clone()));
                *failed = Some((version, reason));
                new
            };
            Err(match trouble {
                LoadFailure::Raised(what) => match fetch(token) {
                    Some(exception) if is_new(token.error_line(&exception)) => Failure::Raised(what, exception),
                    _ => Failure::Known,
                },
                LoadFailure::Message(what) if is_new(what.clone()) => Failure::Said(what),
                LoadFailure::Message(_) => Failure::Known,
            })
        }
    }
}

/// Returns the file of a target, and its version before it is read.
fn file_and_version(token: Token<'_>, source: &Source, found: Option<Version>) -> (Option<PathBuf>, Version) {
    let file = match source.target() {
        Target::Script { path, .. } => Some(path.clone()),
        Target::Module { name, .. } if source.is_watched() => find_module(token, name),
        Target::Module { .. } => None,
    };
    let version = found.unwrap_or_else(|| file.as_ref().and_then(|file| source.version(file)));
    (file, version)
}

/// Loads the application. The text is [`Found::doubt`].
fn load_anew(
    token: Token<'_>,
    source: &Source,
    name: &str,
    version: Version,
    file: Option<PathBuf>,
    again: bool,
) -> Result<(Application, Option<String>), LoadFailure> {
    let what = describe(source.target());
    let _loading = LoadsApplication::new(token);
    let module = load_module(token, source, name, version);
    end_if_forked(token, || what.clone());
    let module = module.map_err(|_| raised(format!("cannot load {what}")))?;
    let callable = callable(source.target());
    let object = resolve(token, &module, callable).map_err(|_| {
        let reason = token.take_error_line();
        let hint =
            hint(token, c"other_callables", &module, Some(callable)).map_or(String::new(), |hint| format!("; {hint}"));
        LoadFailure::Message(format!("{what} has no callable \"{callable}\": {reason}{hint}"))
    })?;
    check_callable(&object, || format!("\"{callable}\" of {what}"))?;
    if let Some(complaint) = hint(token, c"complaint", &object, None) {
        return Err(LoadFailure::Message(format!("callable \"{callable}\" of {what} {complaint}")));
    }
    let doubt = hint(token, c"doubt", &object, None);
    let doubt = doubt.map(|doubt| format!("callable \"{callable}\" of {what} {doubt}"));
    let mut application = Callable::new(object);
    for layer in source.stack() {
        let name = layer.name();
        let wrapped = layer.wrap(application);
        end_if_forked(token, || name.clone());
        application = wrapped.map_err(|error| match error {
            MiddlewareError::Raised => raised(format!("cannot apply {name} to {what}")),
            MiddlewareError::Other(reason) => LoadFailure::Message(format!("cannot apply {name} to {what}: {reason}")),
        })?;
        check_callable(application.object(), || format!("the result of {name} for {what}"))?;
    }
    token.interpreter().freezing.want(token, again);
    let callable = application.into_object().hold();
    Ok((Application { callable, version, file, left_out: Leaf::new(Vec::new()) }, doubt))
}

/// Returns the text of a function of `hints.py` about a module or an application. Exceptions of that function are
/// ignored.
fn hint(token: Token<'_>, function: &CStr, object: &Obj<'_>, wanted: Option<&str>) -> Option<String> {
    let say = || {
        let wanted = wanted.map(|wanted| token.text(wanted)).transpose()?;
        let arguments: Vec<_> = [object].into_iter().chain(wanted.as_ref()).map(Obj::as_ptr).collect();
        let said = token.call(token.helper(function)?.as_ptr(), &arguments)?;
        // SAFETY: the singleton lives as long as Python.
        if said.as_ptr() == unsafe { ffi::Py_None() } { Ok(String::new()) } else { token.to_text(said.as_ptr()) }
    };
    say().inspect_err(|Raised| token.clear_error()).ok().filter(|said| !said.is_empty())
}

fn raised(what: String) -> LoadFailure {
    LoadFailure::Raised(what)
}

fn check_callable(object: &Obj<'_>, name: impl Fn() -> String) -> Result<(), LoadFailure> {
    // SAFETY: a live object.
    let (callable, kind) = unsafe { (ffi::PyCallable_Check(object.as_ptr()) != 0, type_name(object.as_ptr())) };
    if callable {
        Ok(())
    } else {
        Err(LoadFailure::Message(format!("{} is not callable: it is of type {kind}", name())))
    }
}

/// Returns the module of a target. All callables of a script share its module, which is loaded again only if it is
/// watched and its version has changed.
fn load_module<'py>(token: Token<'py>, source: &Source, name: &str, version: Version) -> Result<Obj<'py>, Raised> {
    let name = token.text(name)?;
    let version = token.text(&format!("{version:?}"))?;
    // SAFETY: the singletons live as long as Python.
    let watched = unsafe { if source.is_watched() { ffi::Py_True() } else { ffi::Py_False() } };
    match source.target() {
        Target::Script { path, .. } => {
            let path = token.path(path)?;
            let arguments = [name.as_ptr(), path.as_ptr(), version.as_ptr(), watched];
            token.call(token.helper(c"load_script")?.as_ptr(), &arguments)
        }
        Target::Module { .. } => {
            token.call(token.helper(c"load_module")?.as_ptr(), &[name.as_ptr(), version.as_ptr(), watched])
        }
    }
}

/// Returns the file of a module, if Python finds one without importing the module.
fn find_module(token: Token<'_>, name: &str) -> Option<PathBuf> {
    let found = token
        .text(name)
        .and_then(|name| token.call(token.helper(c"find_file")?.as_ptr(), &[name.as_ptr()]))
        .and_then(|found| token.bytes_of(&found));
    // The import will report the error.
    found.inspect_err(|Raised| token.clear_error()).ok().flatten().map(|path| std::ffi::OsString::from_vec(path).into())
}

fn describe(target: &Target) -> String {
    match target {
        Target::Script { path, .. } => format!("WSGI script \"{}\"", path.display()),
        Target::Module { name, .. } => format!("WSGI module \"{name}\""),
    }
}

fn callable(target: &Target) -> &str {
    match target {
        Target::Script { callable, .. } | Target::Module { callable, .. } => callable,
    }
}

/// Returns the name of a script in `sys.modules`: `_wsgi_` and 16 hex digits, the FNV-1a hash of its path. Two scripts
/// `app.py` in two folders do not clash, and none can be imported by accident.
pub(crate) fn module_name(path: &Path) -> String {
    let hash = path
        .as_os_str()
        .as_bytes()
        .iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3));
    format!("_wsgi_{hash:016x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_of_one_name_in_two_folders_have_different_modules() {
        assert_ne!(module_name(Path::new("/a/app.py")), module_name(Path::new("/b/app.py")));
        assert_eq!(module_name(Path::new("/a/app.py")).len(), "_wsgi_".len() + 16);
    }
}
