//! Reproducible pseudo-random numbers.

/// A generator that returns the same numbers for the same seed in each run (xorshift64), so that a test with random steps can
/// be repeated after a failure.
#[derive(Clone, Debug)]
pub struct Chance(u64);

impl Chance {
    /// Creates a generator. Similar seeds give different numbers.
    pub fn new(seed: u64) -> Self {
        // A state of zero would stay zero.
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    /// Returns one of `0..limit`.
    pub fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        // The lower bits are less random.
        (self.0 >> 16) as usize % limit
    }

    /// Returns one of `choice`.
    pub fn one_of<T: Copy>(&mut self, choice: &[T]) -> T {
        choice[self.below(choice.len())]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_makes_the_same_numbers_and_another_one_others() {
        let numbers = |seed| {
            let mut chance = Chance::new(seed);
            std::array::from_fn::<_, 20, _>(|_| chance.below(1000))
        };
        assert_eq!(numbers(0), numbers(0));
        assert_ne!(numbers(1), numbers(2));
        let mut chance = Chance::new(7);
        let mut seen = [false; 5];
        (0..200).for_each(|_| seen[chance.one_of(&[0, 1, 2, 3, 4])] = true);
        assert_eq!(seen, [true; 5]);
    }
}
