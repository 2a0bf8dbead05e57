//! Comparison of short texts.

/// Whether two texts are equal.
///
/// An environ compares some forty texts, most of them short: here they cost 8 to 12 instructions each, and 20 to 30 with
/// `==`, which calls `memcmp` (callgrind, x86-64, glibc 2.36).
#[inline(always)]
pub(super) fn equal(a: &[u8], b: &[u8]) -> bool {
    if a.len() != b.len() {
        return false;
    }
    let length = a.len();
    if length >= 16 {
        if length <= 32 { ends_equal::<16>(a, b) } else { a == b }
    } else if length >= 8 {
        ends_equal::<8>(a, b)
    } else if length >= 4 {
        ends_equal::<4>(a, b)
    } else {
        length == 0 || ends_equal::<1>(a, b) && a[length / 2] == b[length / 2]
    }
}

/// Compares the first and the last `N` bytes, which overlap if there are less than twice as many.
#[inline(always)]
fn ends_equal<const N: usize>(a: &[u8], b: &[u8]) -> bool {
    a.first_chunk::<N>() == b.first_chunk() && a.last_chunk::<N>() == b.last_chunk()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_that_differ_in_any_byte_are_unequal() {
        for length in 0..70 {
            let text: Vec<u8> = (0..length).collect();
            assert!(equal(&text, &text.clone()));
            for position in 0..text.len() {
                let mut other = text.clone();
                other[position] ^= 0x80;
                assert!(!equal(&text, &other), "byte {position} of {length}");
                assert!(!equal(&text, &text[..position]));
            }
        }
    }
}
