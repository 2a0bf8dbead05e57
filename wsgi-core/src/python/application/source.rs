//! The source of an application: a script or module, the stack around it, and how its file is watched.

use std::path::Path;
use std::sync::Arc;

use super::middleware::Middleware;
use crate::config::{Layer, Target};
use crate::reload::{Decision, Version, Watch, WorkerControl};

/// What the loader needs of a location.
pub(crate) struct Source {
    target: Target,
    /// Innermost first. Those of the settings come first.
    stack: Vec<Arc<dyn Middleware>>,
    /// The layers of the settings; `None` if the embedder has added others, so that no other location has the same stack.
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

    /// Callable and layers: a location with the same ones serves the very same object. `None` if none can.
    pub(crate) fn identity(&self) -> Option<Identity<'_>> {
        let layers = self.layers.as_deref()?;
        let callable = match &self.target {
            Target::Script { callable, .. } | Target::Module { callable, .. } => callable,
        };
        Some(Identity { callable, layers })
    }

    /// Whether the file is looked at with each request.
    pub(crate) fn is_watched(&self) -> bool {
        self.is_watched
    }

    /// The version of a file now.
    pub(crate) fn version(&self, file: &Path) -> Version {
        self.watch.stamps.stamp(file).ok()
    }

    /// Whether an application that is loaded in one version stays where its file has another one.
    pub(crate) fn decide(&self, loaded: Version, found: Version) -> Decision {
        self.watch.policy.decide(loaded, found)
    }

    /// How to replace this process.
    pub(crate) fn control(&self) -> Option<&dyn WorkerControl> {
        self.watch.control.as_deref()
    }
}

/// Callable and stack of a location.
#[derive(Clone, Copy)]
pub(crate) struct Identity<'a> {
    pub(crate) callable: &'a str,
    pub(crate) layers: &'a [Layer],
}
