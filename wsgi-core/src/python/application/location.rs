//! A configured place that serves requests, and the application loaded for it.

use std::fs::File;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use super::loader::{self, Application};
use super::middleware::{Middleware, PythonMiddleware};
use super::source::Source;
use crate::config::{Flag, LevelSettings, Target, TempPath};
use crate::host::Level;
use crate::lock::Leaf;
use crate::protocol::head::HeadError;
use crate::protocol::output::{SpoolStore, TempFolder};
use crate::protocol::record::Log;
use crate::protocol::reload::{Decision, StampSource, Version, Watch, WorkerControl};
use crate::python::attach::token::Token;
use crate::python::objects::raise::Raised;

/// A configured place that serves an application.
///
/// A host creates one for each place in its configuration that serves requests. Each has its own environ template. The
/// application is loaded at the first request; after a failure the next request tries again.
pub struct Location {
    source: Source,
    settings: LevelSettings,
    /// Where write-buffer data beyond the limit is spooled.
    store: Box<dyn SpoolStore>,
    number: usize,
    /// Number of its interpreter, which the gateway of the process chooses.
    interpreter: OnceLock<usize>,
    application: Leaf<Option<Arc<Application>>>,
    /// Whether the warning that the host cannot replace this process was logged.
    warned: AtomicBool,
}

/// Builder of a [`Location`].
pub struct LocationBuilder {
    target: Target,
    settings: LevelSettings,
    store: Option<Box<dyn SpoolStore>>,
    watch: Watch,
    layers: Vec<Arc<dyn Middleware>>,
}

impl LocationBuilder {
    /// Sets the complete settings; absent ones have their defaults. If they turn script reloading on, their policy
    /// replaces an earlier one.
    pub fn settings(mut self, settings: LevelSettings) -> Self {
        if settings.is_on(Flag::ScriptReloading) {
            self.watch.policy = settings.reload_mechanism.unwrap_or_default().policy();
        }
        self.settings = settings;
        self
    }

    /// Sets where temporary files are created. By default in the folder of the settings, or in the system's temporary
    /// folder.
    pub fn store(mut self, store: impl SpoolStore + 'static) -> Self {
        self.store = Some(Box::new(store));
        self
    }

    /// Sets the source of script versions. By default the file system.
    pub fn stamps(mut self, stamps: Arc<dyn StampSource>) -> Self {
        self.watch.stamps = stamps;
        self
    }

    /// Sets a policy other than that of the settings.
    pub fn reload(mut self, policy: Arc<dyn crate::protocol::reload::ReloadPolicy>) -> Self {
        self.watch.policy = policy;
        self
    }

    /// Sets how this process is replaced. Hosts that cannot replace it do not call this.
    pub fn control(mut self, control: Arc<dyn WorkerControl>) -> Self {
        self.watch.control = Some(control);
        self
    }

    /// Puts a middleware around those of the settings and those added earlier.
    pub fn middleware(mut self, layer: Arc<dyn Middleware>) -> Self {
        self.layers.push(layer);
        self
    }

    /// Creates the location. Loads nothing yet.
    pub fn build(self) -> Arc<Location> {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let Self { target, settings, store, watch, layers } = self;
        let store = store.unwrap_or_else(|| {
            Box::new(match &settings.temp_path {
                Some(TempPath { path, levels }) => TempFolder::new(path.clone(), levels.clone()),
                None => TempFolder::new(std::env::temp_dir(), Vec::new()),
            })
        });
        // With middleware added by the embedder, no other location has the same stack.
        let shared = layers.is_empty().then(|| settings.middleware.clone().unwrap_or_default());
        let named = settings.middleware.iter().flatten().cloned();
        let stack = named.map(|layer| Arc::new(PythonMiddleware::new(layer)) as _).chain(layers).collect();
        Arc::new(Location {
            source: Source::new(target, stack, shared, watch),
            settings,
            store,
            number: NEXT.fetch_add(1, Ordering::Relaxed),
            interpreter: OnceLock::new(),
            application: Leaf::new(None),
            warned: AtomicBool::new(false),
        })
    }
}

impl Location {
    /// Creates a location that serves `target`, with everything else at its default.
    pub fn new(target: Target) -> Arc<Self> {
        Self::builder(target).build()
    }

    /// Returns a builder of a location that serves `target`.
    pub fn builder(target: Target) -> LocationBuilder {
        let settings = LevelSettings::default();
        LocationBuilder { target, settings, store: None, watch: Watch::default(), layers: Vec::new() }
    }

    /// Returns the script or module that is served.
    pub fn target(&self) -> &Target {
        self.source.target()
    }

    /// Returns the settings.
    pub fn settings(&self) -> &LevelSettings {
        &self.settings
    }

    /// Creates an empty, unnamed file where responses of this location are spooled (`wsgi_temp_path`). May block on the
    /// disk.
    pub fn temporary_file(&self) -> io::Result<File> {
        self.store.create()
    }

    pub(crate) fn store(&self) -> &dyn SpoolStore {
        &*self.store
    }

    pub(crate) fn number(&self) -> usize {
        self.number
    }

    /// Returns the number of its interpreter; calls `choose` the first time.
    pub(crate) fn interpreter(&self, choose: impl FnOnce() -> usize) -> usize {
        *self.interpreter.get_or_init(choose)
    }

    /// Stats the file of the application if its policy asks for that: one system call, so do not call it attached to
    /// Python.
    #[inline]
    pub(crate) fn stamp_now(&self) -> Option<Version> {
        if self.source.is_watched() { self.stamp() } else { None }
    }

    #[cold]
    fn stamp(&self) -> Option<Version> {
        match self.target() {
            Target::Script { path, .. } => Some(self.source.version(path)),
            // The file of a module is known once the module is loaded.
            Target::Module { .. } => Some(self.source.version(self.loaded()?.file.as_ref()?)),
        }
    }

    /// Returns the application, and loads it if necessary. `found` is the result of [`stamp_now`](Self::stamp_now).
    /// Failures are logged.
    #[inline]
    pub(crate) fn application(
        &self,
        token: Token<'_>,
        log: &Log,
        found: Option<Version>,
    ) -> Result<Arc<Application>, Raised> {
        match (self.loaded(), found) {
            (Some(application), None) => Ok(application),
            (loaded, found) => self.load(token, log, loaded, found),
        }
    }

    /// Slow path of [`application`](Self::application): decides about a reload, or loads.
    #[cold]
    fn load(
        &self,
        token: Token<'_>,
        log: &Log,
        loaded: Option<Arc<Application>>,
        found: Option<Version>,
    ) -> Result<Arc<Application>, Raised> {
        if let (Some(application), Some(found)) = (loaded, found) {
            match self.source.decide(application.version, found) {
                Decision::Keep => return Ok(application),
                Decision::Retire if self.retire(log) => return Ok(application),
                Decision::Retire | Decision::Load => {}
            }
        }
        let application = loader::load(token, &self.source, log, found)?;
        // This may drop the last reference to the previous version, whose destructors may run any code.
        drop(self.application.replace(Some(Arc::clone(&application))));
        Ok(application)
    }

    /// Returns whether another process is about to replace this one.
    pub(crate) fn is_retiring(&self) -> bool {
        self.source.control().is_some_and(|control| control.is_retiring())
    }

    /// Returns whether the header that `error` is about is left out of the response (`wsgi_strict off`). Logs a warning
    /// the first time that an application sends the header.
    #[cold]
    pub(crate) fn leaves_out(&self, error: &HeadError, log: &Log) -> bool {
        let Some(name) = error.reserved_header() else { return false };
        if self.settings.is_on(Flag::Strict) {
            return false;
        }
        if self.loaded().is_none_or(|application| application.is_first_use_of(name)) {
            let note = "it is left out of responses (logged once; \"wsgi_strict on\" makes it an error)";
            log.log(Level::Warn, &format!("{}: {error}; {note}", self.target()));
        }
        true
    }

    fn loaded(&self) -> Option<Arc<Application>> {
        self.application.with(|application| application.clone())
    }

    /// Asks the host to replace this process; returns false if it cannot.
    fn retire(&self, log: &Log) -> bool {
        let trouble = match self.source.control() {
            Some(control) => match control.retire() {
                Ok(()) => return true,
                Err(error) => error.to_string(),
            },
            None => "the server does not support it".to_owned(),
        };
        if !self.warned.swap(true, Ordering::Relaxed) {
            let target = self.target();
            log.log(
                Level::Warn,
                &format!("cannot replace this process ({trouble}): {target} is reloaded in it instead"),
            );
        }
        false
    }
}

impl std::fmt::Debug for Location {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Location").field("target", self.target()).finish_non_exhaustive()
    }
}
