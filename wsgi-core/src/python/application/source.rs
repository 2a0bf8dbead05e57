//! The source of an application: a script or module, its middleware, and how its file is watched.

use std::path::Path;
use std::sync::Arc;

use super::middleware::Middleware;
use crate::config::{Layer, Target};
use crate::protocol::reload::{Decision, Version, Watch, WorkerControl};

/// The properties of a location that the loader needs.
pub(crate) struct Source {
    target: Target,
    /// Innermost first: those of the settings, then those of the embedder.
    stack: Vec<Arc<dyn Middleware>>,
    /// The middleware of the settings; `None` if the embedder has added others, so that no other location has the same
    /// stack.
    layers: Option<Vec<Layer>>,
    watch: Watch,
    /// Cached `policy.watches()`: whether to stat the file on each request.
    is_watched: bool,
}

impl Source {
    pub(crate) fn new(
        target: Target,
        stack: Vec<Arc<dyn Middleware>>,
        layers: Option<Vec<Layer>>,
        watch: Watch,
    ) -> Self {
        Self { target, stack, layers, is_watched: watch.policy.watches(), watch }
    }

    pub(crate) fn target(&self) -> &Target {
        &self.target
    }

    /// The middleware around the callable, innermost first.
    pub(crate) fn stack(&self) -> &[Arc<dyn Middleware>] {
        &self.stack
    }

    /// Returns callable and middleware. Locations of one script or module that have the same identity share one object.
    /// `None` if no other location can have it.
    pub(crate) fn identity(&self) -> Option<Identity<'_>> {
        let layers = self.layers.as_deref()?;
        let callable = match &self.target {
            Target::Script { callable, .. } | Target::Module { callable, .. } => callable,
        };
        Some(Identity { callable, layers })
    }

    /// Returns whether to stat the file on each request.
    pub(crate) fn is_watched(&self) -> bool {
        self.is_watched
    }

    /// Returns the current version of a file.
    pub(crate) fn version(&self, file: &Path) -> Version {
        self.watch.stamps.stamp(file).ok()
    }

    /// Decides what to do with an application loaded in version `loaded` when its file has version `found`.
    pub(crate) fn decide(&self, loaded: Version, found: Version) -> Decision {
        self.watch.policy.decide(loaded, found)
    }

    /// Returns how to replace this process, if the host can.
    pub(crate) fn control(&self) -> Option<&dyn WorkerControl> {
        self.watch.control.as_deref()
    }
}

/// Callable and middleware of a location.
#[derive(Clone, Copy)]
pub(crate) struct Identity<'a> {
    pub(crate) callable: &'a str,
    pub(crate) layers: &'a [Layer],
}
