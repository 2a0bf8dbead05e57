//! The size of the stacks that applications run on.

use rustix::process::{Resource, getrlimit};

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

/// The size of a thread's stack in bytes, from [`LEAST`](Self::LEAST) to [`MOST`](Self::MOST).
///
/// A stack reserves address space. Memory is used only for pages that have been written to.
///
/// The default is the stack that a thread of Python gets on Linux, `RLIMIT_STACK`: functions in C, through which Python code
/// recurses until it reaches its recursion limit, and numerical libraries need that much. See [`of_limit`](Self::of_limit).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StackSize(usize);

impl StackSize {
    /// 512 KiB. With less, recursive functions in plain Python crash Python 3.9 and 3.10 before they reach the default
    /// recursion limit of 1000 (measured: 384 KiB crash 3.10, 512 KiB do not).
    pub const LEAST: usize = 512 * KIB;
    /// 1 GiB.
    pub const MOST: usize = 1024 * MIB;

    /// Returns `None` for a size outside of the bounds.
    pub fn new(bytes: usize) -> Option<Self> {
        (Self::LEAST..=Self::MOST).contains(&bytes).then_some(Self(bytes))
    }

    /// Returns the default size if `RLIMIT_STACK` is `limit` bytes (`None`: unlimited): the limit, clamped to 8 to 64 MiB, or
    /// 8 MiB if unlimited.
    pub fn of_limit(limit: Option<u64>) -> Self {
        let limit = limit.map_or(8 * MIB, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
        Self(limit.clamp(8 * MIB, 64 * MIB))
    }

    /// Returns the size in bytes.
    pub fn bytes(self) -> usize {
        self.0
    }
}

/// The default size in this process: [`of_limit`](StackSize::of_limit) of its present soft limit.
impl Default for StackSize {
    fn default() -> Self {
        Self::of_limit(getrlimit(Resource::Stack).current)
    }
}

/// Formatted as in the directive: `512k`, `8m`.
impl std::fmt::Display for StackSize {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            bytes if bytes.is_multiple_of(MIB) => write!(formatter, "{}m", bytes / MIB),
            bytes if bytes.is_multiple_of(KIB) => write!(formatter, "{}k", bytes / KIB),
            bytes => write!(formatter, "{bytes}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_the_limit_of_the_process_within_bounds() {
        for (limit, expected) in [
            (Some(0), 8 * MIB),
            (Some(1 << 20), 8 * MIB),
            (Some(8 << 20), 8 * MIB),
            (Some(32 << 20), 32 * MIB),
            (Some(64 << 20), 64 * MIB),
            (Some(1 << 30), 64 * MIB),
            (Some(u64::MAX), 64 * MIB),
            (None, 8 * MIB),
        ] {
            assert_eq!(StackSize::of_limit(limit).bytes(), expected, "{limit:?}");
        }
    }

    #[test]
    fn sizes_have_bounds() {
        for refused in [0, StackSize::LEAST - 1, StackSize::MOST + 1, usize::MAX] {
            assert_eq!(StackSize::new(refused), None);
        }
        for allowed in [StackSize::LEAST, StackSize::MOST] {
            assert_eq!(StackSize::new(allowed).map(StackSize::bytes), Some(allowed));
        }
    }

    #[test]
    fn a_size_reads_as_in_a_configuration() {
        let shown = |bytes| StackSize::new(bytes).expect("an allowed size").to_string();
        assert_eq!([shown(8 * MIB), shown(600 * KIB), shown(8 * MIB + 1)], ["8m", "600k", "8388609"]);
    }
}
