//! Random calls of a response, compared with the model.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::model::{Step, check_framing, compare};

fn step() -> impl Strategy<Value = Step> {
    let code = prop_oneof![6 => Just(200u16), 1 => Just(204), 1 => Just(205), 1 => Just(304), 1 => Just(500)];
    prop_oneof![
        4 => (code, option::of(0..12u64), any::<bool>())
            .prop_map(|(code, content_length, exc_info)| Step::Start { code, content_length, exc_info }),
        1 => Just(Step::StartRefused),
        1 => (0..12u64).prop_map(Step::DeclareTotal),
        6 => (0..6u64).prop_map(Step::Item),
        4 => (0..6u64).prop_map(Step::Write),
        3 => (0..6u64).prop_map(Step::Collect),
        1 => Just(Step::Release),
        1 => Just(Step::End),
    ]
}

proptest! {
    #[test]
    fn response_agrees_with_the_model(head_request: bool, first_item: bool, steps in vec(step(), 0..24)) {
        compare(head_request, first_item, &steps);
    }

    #[test]
    fn a_complete_response_is_framed_rightly(head_request: bool, first_item: bool, steps in vec(step(), 0..24)) {
        check_framing(head_request, first_item, &steps);
    }
}
