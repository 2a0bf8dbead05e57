//! Calls of the response state machine, checked against rules stated as facts about the calls so far.

use wsgi_core::internal::model::response::{Step, check_framing, compare};

use crate::Numbers;

/// The input: two numbers for the request, the rest for the calls.
pub fn run(data: &[u8]) {
    let mut numbers = Numbers::new(data);
    let (head_request, first_item) = (numbers.flag(), numbers.flag());
    let steps = steps(&mut numbers);
    compare(head_request, first_item, &steps);
    check_framing(head_request, first_item, &steps);
}

/// Statuses with special rules, and some without.
const CODES: [u16; 8] = [200, 200, 200, 204, 205, 304, 500, 999];

fn steps(numbers: &mut Numbers<'_>) -> Vec<Step> {
    let mut steps = Vec::new();
    while !numbers.is_empty() && steps.len() < 64 {
        steps.push(match numbers.below(11) {
            0 | 1 => Step::Start {
                code: CODES[usize::from(numbers.below(8))],
                content_length: numbers.flag().then(|| length(numbers)),
                exc_info: numbers.flag(),
            },
            2 => Step::StartRefused,
            3 => Step::DeclareTotal(numbers.size() as u64),
            4 | 5 => Step::Item(numbers.size() as u64),
            6 => Step::Write(numbers.size() as u64),
            7 | 8 => Step::Collect(numbers.size() as u64),
            9 => Step::Release,
            _ => Step::End,
        });
    }
    steps
}

/// A declared length may be any number: nothing is allocated for it.
fn length(numbers: &mut Numbers<'_>) -> u64 {
    match numbers.byte() {
        255 => u64::MAX,
        254 => u64::MAX - 1,
        253 => i64::MAX as u64,
        small => u64::from(small),
    }
}
