//! Reads of a request body, compared with those of a file with the same bytes.

use wsgi_core::error::HostError;
use wsgi_core::internal::model::input::{Pieces, Step, compare};

use crate::{Numbers, fields};

/// The input: numbers for the arrival of the body and for the reads, then the body.
pub fn run(data: &[u8]) {
    let mut texts = fields(data);
    let mut numbers = Numbers::new(texts.next().unwrap_or_default());
    let mut body = texts.next().unwrap_or_default().to_vec();
    if numbers.below(8) == 1 {
        // Larger than the buffer for lines.
        body = body.repeat(1 + 30_000 / body.len().max(1));
    }
    let sizes = (0..numbers.below(4)).map(|_| numbers.size().max(1)).collect();
    let fails = numbers.below(4) == 1;
    let known = numbers.flag() && !fails;
    let mut steps = Vec::new();
    while !numbers.is_empty() && steps.len() < 64 {
        steps.push(match numbers.below(8) {
            0 => Step::Into(numbers.size()),
            1 => Step::UpTo(numbers.size()),
            2 => Step::ToEnd,
            3 | 4 => Step::Line(Some(numbers.size())),
            _ => Step::Line(None),
        });
    }
    compare(Pieces::new(body, sizes, known, fails.then_some(HostError::ClientGone)), &steps);
}
