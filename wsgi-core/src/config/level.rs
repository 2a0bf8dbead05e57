//! Settings of one block, and the inheritance between blocks.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use super::{Flag, Place, Target};
use crate::protocol::head::AccelHeaders;
use crate::protocol::reload::Mechanism;

/// The settings made in a block. After [`inherit`](Self::inherit): those in force there.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct LevelSettings {
    /// The application, if the block has one.
    pub target: Option<Target>,
    /// The operator's variables, each name once.
    pub variables: Vec<Variable>,
    /// The stack around the application, innermost first; empty after `wsgi_middleware off`, `None` if not set.
    pub middleware: Option<Vec<Layer>>,
    /// How a changed script is reloaded (`wsgi_reload_mechanism`).
    pub reload_mechanism: Option<Mechanism>,
    /// Bytes that the write callable collects in memory (`wsgi_write_buffer_size`).
    pub write_buffer_size: Option<usize>,
    /// The folder for collected bytes beyond that (`wsgi_temp_path`).
    pub temp_path: Option<TempPath>,
    /// Bytes of a request body that the host keeps in memory (`wsgi_body_buffer_size`).
    pub body_buffer_size: Option<usize>,
    /// Response headers that nginx does not obey (`wsgi_ignore_headers`).
    pub ignored_headers: Option<AccelHeaders>,
    /// Switches, by [`Flag`].
    pub(super) flags: [Option<bool>; Flag::ALL.len()],
}

/// The size of a memory page on most systems.
const DEFAULT_WRITE_BUFFER: usize = 4096;

/// Holds most forms, and small files.
const DEFAULT_BODY_BUFFER: usize = 128 * 1024;

/// One `wsgi_middleware`: a callable that takes the application and returns another one.
#[derive(Clone, Debug)]
pub struct Layer {
    /// Dotted name of the module it is imported from.
    pub module: String,
    /// Its name in the module, which may have dots.
    pub callable: String,
    /// Position of the directive.
    pub place: Place,
}

impl Layer {
    /// Whether both name the same callable.
    pub fn is_same(&self, other: &Self) -> bool {
        self.module == other.module && self.callable == other.callable
    }
}

/// Displayed as the directive that it comes from, with its position.
impl fmt::Display for Layer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "\"wsgi_middleware {} {}\" in {}", self.module, self.callable, self.place)
    }
}

/// A folder for temporary files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TempPath {
    /// The folder, absolute.
    pub path: PathBuf,
    /// Digits in the names of the folders below it, outermost first; up to three of one to three digits.
    pub levels: Vec<usize>,
}

/// A variable of the operator (`wsgi_var`).
#[derive(Clone, Debug)]
pub struct Variable {
    /// The environ key.
    pub name: Arc<str>,
    /// The value as written; the host evaluates its own variables in it.
    pub value: Arc<[u8]>,
    /// Number of this `wsgi_var` in the configuration, counted from 0, replaced ones included; a host stores the compiled
    /// form of `value` under it.
    pub number: usize,
    /// Position of the directive.
    pub place: Place,
}

impl LevelSettings {
    /// Completes the settings of an inner block with those of the `outer` block, which must be complete already.
    ///
    /// Variables are inherited by name, the inherited ones first. The application is inherited by `nameless` blocks only
    /// (`if` and `limit_except`): they are part of the location around them, whereas a nested location is another location.
    pub fn inherit(&mut self, outer: &Self, nameless: bool) {
        let own = std::mem::take(&mut self.variables);
        let overridden = |variable: &&Variable| own.iter().any(|own| own.name == variable.name);
        self.variables = outer.variables.iter().filter(|variable| !overridden(variable)).cloned().collect();
        self.variables.extend(own);
        for (own, outer) in self.flags.iter_mut().zip(outer.flags) {
            *own = own.or(outer);
        }
        if self.middleware.is_none() {
            self.middleware.clone_from(&outer.middleware);
        }
        self.reload_mechanism = self.reload_mechanism.or(outer.reload_mechanism);
        self.write_buffer_size = self.write_buffer_size.or(outer.write_buffer_size);
        self.body_buffer_size = self.body_buffer_size.or(outer.body_buffer_size);
        self.ignored_headers = self.ignored_headers.or(outer.ignored_headers);
        if self.temp_path.is_none() {
            self.temp_path.clone_from(&outer.temp_path);
        }
        if nameless && self.target.is_none() {
            self.target.clone_from(&outer.target);
        }
    }

    /// Whether a switch is on here. The default is off.
    pub fn is_on(&self, flag: Flag) -> bool {
        self.flags[flag as usize].unwrap_or(false)
    }

    /// Returns how many bytes the write callable may collect in memory.
    pub fn write_buffer_size(&self) -> usize {
        self.write_buffer_size.unwrap_or(DEFAULT_WRITE_BUFFER)
    }

    /// Returns how many bytes of a request body the host may keep in memory.
    pub fn body_buffer_size(&self) -> usize {
        self.body_buffer_size.unwrap_or(DEFAULT_BODY_BUFFER)
    }

    /// Sets a switch.
    pub fn set(&mut self, flag: Flag, on: bool) {
        self.flags[flag as usize] = Some(on);
    }

    /// Adds a variable. Returns the variable of the same name that it replaces.
    pub(super) fn set_variable(&mut self, variable: Variable) -> Option<Variable> {
        let earlier = self.variables.iter().position(|other| other.name == variable.name);
        let replaced = earlier.map(|index| self.variables.remove(index));
        self.variables.push(variable);
        replaced
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn variable(name: &str, number: usize) -> Variable {
        let place = Place { file: "nginx.conf".to_owned(), line: number + 1 };
        Variable { name: name.into(), value: Arc::from(&b""[..]), number, place }
    }

    fn target(name: &str) -> Target {
        Target::Module { name: name.to_owned(), callable: "application".to_owned() }
    }

    fn numbers(level: &LevelSettings) -> Vec<(&str, usize)> {
        level.variables.iter().map(|variable| (&*variable.name, variable.number)).collect()
    }

    #[test]
    fn variables_inherit_name_by_name() {
        let http = LevelSettings { variables: vec![variable("A", 0), variable("B", 1)], ..Default::default() };
        let mut server = LevelSettings { variables: vec![variable("B", 2)], ..Default::default() };
        let mut location = LevelSettings { variables: vec![variable("C", 3)], ..Default::default() };
        server.inherit(&http, false);
        location.inherit(&server, false);
        assert_eq!(numbers(&location), [("A", 0), ("B", 2), ("C", 3)]);
    }

    #[test]
    fn a_later_variable_replaces_an_earlier_one_of_its_block() {
        let mut level = LevelSettings::default();
        assert!(level.set_variable(variable("A", 0)).is_none());
        assert!(level.set_variable(variable("B", 1)).is_none());
        assert_eq!(level.set_variable(variable("A", 2)).unwrap().number, 0);
        assert_eq!(numbers(&level), [("B", 1), ("A", 2)]);
    }

    #[test]
    fn inner_middleware_stack_replaces_the_outer_one() {
        let layer = |module: &str| Layer {
            module: module.to_owned(),
            callable: "middleware".to_owned(),
            place: Place { file: "nginx.conf".to_owned(), line: 1 },
        };
        let outer = LevelSettings { middleware: Some(vec![layer("a"), layer("b")]), ..Default::default() };
        let stack = |own: Option<Vec<Layer>>| {
            let mut inner = LevelSettings { middleware: own, ..Default::default() };
            inner.inherit(&outer, false);
            inner.middleware.unwrap().into_iter().map(|layer| layer.module).collect::<Vec<_>>()
        };
        assert_eq!(stack(None), ["a", "b"]);
        assert_eq!(stack(Some(vec![layer("c")])), ["c"]);
        assert_eq!(stack(Some(Vec::new())), [""; 0]);
    }

    #[test]
    fn only_nameless_blocks_inherit_the_application() {
        let outer = LevelSettings { target: Some(target("outer")), ..Default::default() };
        let mut nested = LevelSettings::default();
        nested.inherit(&outer, false);
        assert_eq!(nested.target, None);
        let mut nameless = LevelSettings::default();
        nameless.inherit(&outer, true);
        assert_eq!(nameless.target, Some(target("outer")));
        let mut own = LevelSettings { target: Some(target("own")), ..Default::default() };
        own.inherit(&outer, true);
        assert_eq!(own.target, Some(target("own")));
    }

    /// The settings of one block: names of variables, `preload`, whether it has an application, whether it is nameless.
    type Block = (Vec<u8>, Option<bool>, bool, bool);

    fn level((names, preload, pass, _): &Block, depth: usize) -> LevelSettings {
        let mut level = LevelSettings::default();
        level.flags[Flag::Preload as usize] = *preload;
        level.target = pass.then(|| target(&format!("level{depth}")));
        for (index, name) in names.iter().enumerate() {
            level.set_variable(variable(&name.to_string(), depth * 100 + index));
        }
        level
    }

    proptest! {
        /// The model derives the settings of a block from the whole chain, without inheritance.
        #[test]
        fn inheritance_finds_the_innermost_value(
            blocks in prop::collection::vec(
                (prop::collection::vec(0..6u8, 0..5), any::<Option<bool>>(), any::<bool>(), any::<bool>()),
                1..6,
            )
        ) {
            let mut inner = level(&blocks[0], 0);
            for (depth, block) in blocks.iter().enumerate().skip(1) {
                let outer = std::mem::replace(&mut inner, level(block, depth));
                inner.inherit(&outer, block.3);
            }

            for name in 0..6u8 {
                let innermost = blocks.iter().enumerate().rev().find_map(|(depth, block)| {
                    block.0.iter().rposition(|other| *other == name).map(|index| depth * 100 + index)
                });
                let name = name.to_string();
                let found: Vec<_> =
                    inner.variables.iter().filter(|variable| *variable.name == *name).map(|v| v.number).collect();
                prop_assert_eq!(found, Vec::from_iter(innermost));
            }
            // The variables of each block follow the inherited ones, in their order.
            prop_assert!(inner.variables.is_sorted_by_key(|variable| variable.number));

            let preload = blocks.iter().rev().find_map(|block| block.1);
            prop_assert_eq!(inner.flags[Flag::Preload as usize], preload);
            prop_assert_eq!(inner.is_on(Flag::Preload), preload == Some(true));

            let mut serving = blocks.len() - 1;
            while !blocks[serving].2 && blocks[serving].3 && serving > 0 {
                serving -= 1;
            }
            let expected = blocks[serving].2.then(|| target(&format!("level{serving}")));
            prop_assert_eq!(inner.target, expected);
        }
    }
}
