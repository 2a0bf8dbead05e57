//! Settings of one block, and how blocks inherit.

use std::sync::Arc;

use super::{Place, Target};

/// What a block sets. After [`inherit`](Self::inherit): what is in force there.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct LevelSettings {
    /// The application, if requests of this block go to one.
    pub target: Option<Target>,
    /// Variables, each name once.
    pub variables: Vec<Variable>,
    /// Whether the application is imported when a worker starts.
    pub preload: Option<bool>,
}

/// A variable of the operator (`wsgi_var`).
#[derive(Clone, Debug)]
pub struct Variable {
    /// The environ key.
    pub name: Arc<str>,
    /// The value as written; the host evaluates its own variables in it.
    pub value: Arc<[u8]>,
    /// Counts every `wsgi_var` of the configuration from 0, replaced ones included; hosts keep what they compiled from
    /// `value` under it.
    pub number: usize,
    /// Where it stands.
    pub place: Place,
}

impl LevelSettings {
    /// Completes the settings of an inner block from those of the `outer` one, which are complete already.
    ///
    /// Variables inherit name by name, the inherited ones first. The application goes to `nameless` blocks only (`if`
    /// and `limit_except`): they are part of the location around them, whereas a nested location is another place.
    pub fn inherit(&mut self, outer: &Self, nameless: bool) {
        let own = std::mem::take(&mut self.variables);
        let overridden = |variable: &&Variable| own.iter().any(|own| own.name == variable.name);
        self.variables = outer.variables.iter().filter(|variable| !overridden(variable)).cloned().collect();
        self.variables.extend(own);
        self.preload = self.preload.or(outer.preload);
        if nameless && self.target.is_none() {
            self.target.clone_from(&outer.target);
        }
    }

    /// Adds a variable. Returns the one of that name it replaces.
    pub(super) fn set_variable(&mut self, variable: Variable) -> Option<Variable> {
        let earlier = self.variables.iter().position(|other| other.name == variable.name);
        let replaced = earlier.map(|index| self.variables.remove(index));
        self.variables.push(variable);
        replaced
    }
}
