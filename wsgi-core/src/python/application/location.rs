//! An application as a host knows it: a place that serves requests, and what is loaded for it.

use std::fs::File;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use super::loader::{self, Application};
use super::middleware::{Middleware, PythonMiddleware};
use super::source::Source;
use crate::config::{Flag, LevelSettings, Target, TempPath};
use crate::head::HeadError;
use crate::host::Level;
use crate::lock::Leaf;
use crate::output::{SpoolStore, TempFolder};
use crate::python::attach::token::Token;
use crate::python::objects::raise::Raised;
use crate::record::Log;
use crate::reload::{Decision, StampSource, Version, Watch, WorkerControl};

/// A place that serves an application.
///
/// One per place in the configuration that serves requests: the environ of its requests is made from a template of its
/// own. The application is loaded at its first request; one that failed to load is tried again with the next request.
pub struct Location {
    source: Source,
    settings: LevelSettings,
    /// Where write-buffer data beyond the limit is spooled.
    store: Box<dyn SpoolStore>,
    number: usize,
    /// The number of its interpreter, which the gateway of the process chooses.
    interpreter: OnceLock<usize>,
    application: Leaf<Option<Arc<Application>>>,
    /// That the host cannot retire has been said.
    warned: AtomicBool,
}

/// What a [`Location`] is made of.
pub struct LocationBuilder {
    target: Target,
    settings: LevelSettings,
    store: Option<Box<dyn SpoolStore>>,
    watch: Watch,
    layers: Vec<Arc<dyn Middleware>>,
}

impl LocationBuilder {
    /// The complete settings of its block; whatever is not said is at its default. Reloading is as they say from here on.
    pub fn settings(mut self, settings: LevelSettings) -> Self {
        if settings.is_on(Flag::ScriptReloading) {
            self.watch.policy = settings.reload_mechanism.unwrap_or_default().policy();
        }
        self.settings = settings;
        self
    }

    /// Where temporary files go; otherwise where the settings say, or into the system's folder for them.
    pub fn store(mut self, store: impl SpoolStore + 'static) -> Self {
        self.store = Some(Box::new(store));
        self
    }

    /// Where versions of scripts come from, instead of the file system.
    pub fn stamps(mut self, stamps: Arc<dyn StampSource>) -> Self {
        self.watch.stamps = stamps;
        self
    }

    /// Another policy than the settings name.
    pub fn reload(mut self, policy: Arc<dyn crate::reload::ReloadPolicy>) -> Self {
        self.watch.policy = policy;
        self
    }

    /// How to replace this process. Hosts that cannot leave it out.
    pub fn control(mut self, control: Arc<dyn WorkerControl>) -> Self {
        self.watch.control = Some(control);
        self
    }

    /// Puts a middleware around what is there: those of the settings, and earlier ones.
    pub fn middleware(mut self, layer: Arc<dyn Middleware>) -> Self {
        self.layers.push(layer);
        self
    }

    /// The place. Nothing is loaded yet.
    pub fn build(self) -> Arc<Location> {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let Self { target, settings, store, watch, layers } = self;
        let store = store.unwrap_or_else(|| {
            Box::new(match &settings.temp_path {
                Some(TempPath { path, levels }) => TempFolder::new(path.clone(), levels.clone()),
                None => TempFolder::new(std::env::temp_dir(), Vec::new()),
            })
        });
        // With layers of the embedder's own, no other location has the same stack.
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
    /// A place that serves `target`, with everything else at its default.
    pub fn new(target: Target) -> Arc<Self> {
        Self::builder(target).build()
    }

    /// A place that serves `target`, to be described further.
    pub fn builder(target: Target) -> LocationBuilder {
        let settings = LevelSettings::default();
        LocationBuilder { target, settings, store: None, watch: Watch::default(), layers: Vec::new() }
    }

    /// What is served.
    pub fn target(&self) -> &Target {
        self.source.target()
    }

    /// How it is served.
    pub fn settings(&self) -> &LevelSettings {
        &self.settings
    }

    /// An empty file where its responses are spooled (`wsgi_temp_path`), which has no name. May wait for the disk.
    pub fn temporary_file(&self) -> io::Result<File> {
        self.store.create()
    }

    pub(crate) fn store(&self) -> &dyn SpoolStore {
        &*self.store
    }

    pub(crate) fn number(&self) -> usize {
        self.number
    }

    /// The number of its interpreter; `choose` is called the first time.
    pub(crate) fn interpreter(&self, choose: impl FnOnce() -> usize) -> usize {
        *self.interpreter.get_or_init(choose)
    }

    /// Stats the file of the application if its policy asks for that: one system call, so not while attached to Python.
    #[inline]
    pub(crate) fn stamp_now(&self) -> Option<Version> {
        if self.source.is_watched() { self.stamp() } else { None }
    }

    #[cold]
    fn stamp(&self) -> Option<Version> {
        match self.target() {
            Target::Script { path, .. } => Some(self.source.version(path)),
            // The file of a module is known once it is loaded.
            Target::Module { .. } => Some(self.source.version(self.loaded()?.file.as_ref()?)),
        }
    }

    /// The application, loaded if need be; `found` is what [`stamp_now`](Self::stamp_now) has seen. On failure everything is in the
    /// log.
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

    /// As [`application`](Self::application), where there is something to decide or to load.
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
        // The last reference to the version before may go here, and its destructors run any code.
        drop(self.application.replace(Some(Arc::clone(&application))));
        Ok(application)
    }

    /// Whether another process is about to take over.
    pub(crate) fn is_retiring(&self) -> bool {
        self.source.control().is_some_and(|control| control.is_retiring())
    }

    /// Whether the response goes out without the header that `error` is about (`wsgi_strict off`). The first time that an
    /// application sends it, the log has a warning.
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

    /// Has another process take over; false where that cannot be.
    fn retire(&self, log: &Log) -> bool {
        let trouble = match self.source.control() {
            Some(control) => match control.retire() {
                Ok(()) => return true,
                Err(error) => error.to_string(),
            },
            None => "this server cannot".to_owned(),
        };
        if !self.warned.swap(true, Ordering::Relaxed) {
            let target = self.target();
            log.log(
                Level::Warn,
                &format!("no other process takes over for {target} ({trouble}): it is reloaded in this one instead"),
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
