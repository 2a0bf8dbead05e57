//! From a target of the configuration to a callable: scripts by path, modules by name.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use pyo3::ffi;

use super::raise::Raised;
use super::report;
use super::token::{Held, Obj, Token};
use super::types::type_name;
use crate::config::{LevelSettings, Target, TempPath};
use crate::host::{ErrorLog, Level};
use crate::output::{SpoolStore, TempFolder};

/// An application as a host knows it: its target, and what has been loaded from it.
///
/// One per place in the configuration that serves requests: the environ of its requests is made from a template of its
/// own. It is loaded at its first request; one that failed to load is tried again with the next request.
pub struct Location {
    target: Target,
    settings: LevelSettings,
    /// Where goes what is written beyond the limit.
    store: Box<dyn SpoolStore>,
    number: usize,
    application: Mutex<Option<Arc<Application>>>,
    /// Held while loading, so that it happens once.
    loading: Mutex<()>,
}

/// What was loaded: immutable, and kept by every exchange that uses it.
pub(super) struct Application {
    pub(super) callable: Held,
}

impl std::fmt::Debug for Location {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Location").field("target", &self.target).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Application {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Application").finish_non_exhaustive()
    }
}

impl Location {
    /// A place that serves `target`, with everything else at its default.
    pub fn new(target: Target) -> Arc<Self> {
        Self::with_settings(target, LevelSettings::default())
    }

    /// A place that serves `target` as the complete `settings` of its block say. Temporary files go where they say, else
    /// into the system's folder for them.
    pub fn with_settings(target: Target, settings: LevelSettings) -> Arc<Self> {
        let store = match &settings.temp_path {
            Some(TempPath { path, levels }) => TempFolder::new(path.clone(), levels.clone()),
            None => TempFolder::new(std::env::temp_dir(), Vec::new()),
        };
        Self::with_store(target, settings, Box::new(store))
    }

    /// As [`with_settings`](Self::with_settings), with another place for temporary files.
    pub fn with_store(target: Target, settings: LevelSettings, store: Box<dyn SpoolStore>) -> Arc<Self> {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        Arc::new(Self {
            target,
            settings,
            store,
            number: NEXT.fetch_add(1, Ordering::Relaxed),
            application: Mutex::new(None),
            loading: Mutex::new(()),
        })
    }

    /// What is served.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// How it is served.
    pub fn settings(&self) -> &LevelSettings {
        &self.settings
    }

    pub(super) fn store(&self) -> &dyn SpoolStore {
        &*self.store
    }

    pub(super) fn number(&self) -> usize {
        self.number
    }

    /// The application, loaded if need be. On failure everything is in the log.
    pub(super) fn application(&self, token: Token<'_>, log: &dyn ErrorLog) -> Result<Arc<Application>, Raised> {
        if let Some(application) = self.loaded() {
            return Ok(application);
        }
        // Others that need it wait here, and let Python run: the application may be slow to load.
        let _loading = match self.loading.try_lock() {
            Ok(guard) => guard,
            Err(std::sync::TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(std::sync::TryLockError::WouldBlock) => {
                token.detached(|| self.loading.lock().unwrap_or_else(PoisonError::into_inner))
            }
        };
        if let Some(application) = self.loaded() {
            return Ok(application);
        }
        let application = Arc::new(self.load(token, log)?);
        *self.application.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&application));
        Ok(application)
    }

    fn loaded(&self) -> Option<Arc<Application>> {
        self.application.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn load(&self, token: Token<'_>, log: &dyn ErrorLog) -> Result<Application, Raised> {
        let (module, callable, what) = match &self.target {
            Target::Script { path, callable } => {
                (load_script(token, path), callable, format!("WSGI script \"{}\"", path.display()))
            }
            Target::Module { name, callable } => {
                (load_module(token, name), callable, format!("WSGI module \"{name}\""))
            }
        };
        let module = module.inspect_err(|_| report::pending(token, log, &format!("cannot load {what}")))?;
        let object = resolve(token, &module, callable).inspect_err(|_| {
            let reason = token.take_error_line();
            log.log(Level::Error, &format!("{what} has no callable \"{callable}\": {reason}"));
        })?;
        // SAFETY: a live object.
        unsafe {
            if ffi::PyCallable_Check(object.as_ptr()) == 0 {
                let kind = type_name(object.as_ptr());
                log.log(Level::Error, &format!("\"{callable}\" of {what} is not callable: it is of type {kind}"));
                return Err(Raised);
            }
        }
        if let Err(Raised) = token.helper(c"freeze").and_then(|freeze| token.call(freeze.as_ptr(), &[])) {
            report::pending(token, log, "cannot freeze the garbage collector");
        }
        log.log(Level::Notice, &format!("{what} loaded, callable \"{callable}\""));
        Ok(Application { callable: object.hold() })
    }
}

/// The module of a script: the one that is loaded already, for all callables of one script share it.
fn load_script<'py>(token: Token<'py>, path: &Path) -> Result<Obj<'py>, Raised> {
    let name = token.text(&module_name(path))?;
    // SAFETY: a live str; a new reference or null without an exception results.
    if let Some(module) = unsafe { token.own(ffi::PyImport_GetModule(name.as_ptr())) } {
        return Ok(module);
    }
    // SAFETY: attached; asks whether looking it up raised.
    if !unsafe { ffi::PyErr_Occurred() }.is_null() {
        return Err(Raised);
    }
    let path = token.path(path)?;
    token.call(token.helper(c"load_script")?.as_ptr(), &[name.as_ptr(), path.as_ptr()])
}

fn load_module<'py>(token: Token<'py>, name: &str) -> Result<Obj<'py>, Raised> {
    let name = token.text(name)?;
    token.call(token.helper(c"load_module")?.as_ptr(), &[name.as_ptr()])
}

/// `callable`, or `object.attribute.callable`.
fn resolve<'py>(token: Token<'py>, module: &Obj<'py>, callable: &str) -> Result<Obj<'py>, Raised> {
    let mut parts = callable.split('.');
    let first = parts.next().unwrap_or_default();
    let mut object = token.attribute_named(module.as_ptr(), first)?;
    for part in parts {
        object = token.attribute_named(object.as_ptr(), part)?;
    }
    Ok(object)
}

/// The name under which a script stands in `sys.modules`: `_wsgi_` and 16 hex digits, the FNV-1a hash of its path. Two
/// scripts `app.py` in two folders do not clash, and none can be imported by accident.
pub fn module_name(path: &Path) -> String {
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
