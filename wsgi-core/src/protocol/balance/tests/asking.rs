//! A worker with a free permit asks for a request that waits in another worker.

use super::super::asking::{ASK_INTERVAL, DISTRUST, INCOMING};
use super::*;

#[test]
fn a_worker_with_a_free_permit_asks_for_the_request_that_has_waited_longest() {
    let slots = [Slot::default(), Slot::default(), Slot::default()];
    let [first, second, third] = [0, 1, 2].map(|own| {
        let workers = Workers::new(&slots, own, threads(1));
        workers.enter(7);
        workers.set_state(State::Serving);
        workers
    });
    assert_eq!(first.ask_for_request(|| panic!("the time is not needed")), None, "no request waits");
    second.set_oldest(Some(990));
    third.set_oldest(Some(980));
    assert_eq!(first.ask_for_request(|| 1000), Some(2));
    assert_eq!(first.ask_for_request(|| 1000 + ASK_INTERVAL - 1), None, "asked already");
    assert_eq!((second.was_asked(), third.was_asked()), (None, Some(0)));
    assert_eq!(third.was_asked(), None, "answered");
    third.set_oldest(None);
    assert_eq!(first.ask_for_request(|| 1000), Some(1));
    first.requests_changed(0, 1, || 1000);
    assert_eq!(first.ask_for_request(|| 2000), None, "its permit is taken");
    first.requests_changed(1, 0, || 1000);
    first.set_state(State::Retiring);
    assert_eq!(first.ask_for_request(|| 2000), None, "it will be replaced");
}

#[test]
fn a_busy_worker_asks_only_for_a_request_that_has_waited_for_much_longer() {
    let slots = [Slot::default(), Slot::default()];
    let [first, second] = serving(&slots, threads(1));
    second.set_oldest(Some(1000));
    assert_eq!(first.ask_for_older_request(|| 2000), None, "no request waits here");
    first.set_oldest(Some(1000 + LONG));
    assert_eq!(first.ask_for_older_request(|| 2000), None);
    first.set_oldest(Some(1000 + LONG + 1));
    assert_eq!(first.ask_for_older_request(|| 2000), Some(1));
    assert_eq!(first.ask_for_older_request(|| 3000), None, "the last question has not been answered");
    second.was_asked();
    assert_eq!(first.ask_for_older_request(|| 4000), Some(1));
}

#[test]
fn a_transferred_request_counts_until_it_has_arrived() {
    let slots = [Slot::default(), Slot::default()];
    let [first, second] = serving(&slots, threads(1));
    assert_eq!(first.another_free(1000), Some(1));
    first.expect(1, 1000);
    assert_eq!(first.another_free(1000), None);
    assert!(!second.is_free(1000));
    assert_eq!(first.another_free(1000 + INCOMING), Some(1), "it has not arrived");
    second.arrived();
    assert_eq!(first.another_free(1000), Some(1));
}

#[test]
fn a_worker_gets_no_more_requests_than_it_has_free_permits() {
    let slots = [Slot::default(), Slot::default()];
    let [first, second] = serving(&slots, threads(3));
    second.requests_changed(0, 1, || 1000);
    for _ in 0..2 {
        assert_eq!(first.another_free(1000), Some(1));
        first.expect(1, 1000);
    }
    assert_eq!(first.another_free(1000), None);
    first.expect_none(1);
    assert_eq!(first.another_free(1000), Some(1));
}

#[test]
fn a_worker_that_does_not_look_at_transferred_requests_counts_as_busy_for_a_time() {
    let slots = [Slot::default(), Slot::default()];
    let [first, second] = serving(&slots, threads(1));
    first.expect(1, 1000);
    first.expect(1, 1000 + BLOCKED_AFTER);
    assert_eq!(first.another_free(1000 + BLOCKED_AFTER), Some(1));
    assert_eq!(first.another_free(1000 + BLOCKED_AFTER + 1), None);
    assert_eq!(first.another_free(1000 + DISTRUST), None);
    assert_eq!(first.another_free(1000 + DISTRUST + 1), Some(1), "the sender may have been killed before it has sent");
    first.expect(1, 1000 + DISTRUST + 1);
    second.arrived();
    assert_eq!(first.another_free(1000 + DISTRUST + BLOCKED_AFTER + 2), Some(1));
}

#[test]
fn a_worker_that_starts_has_no_questions_of_the_one_before() {
    let slots = [Slot::default(), Slot::default()];
    let [first, second] = serving(&slots, threads(1));
    second.set_oldest(Some(990));
    assert_eq!(first.ask_for_request(|| 1000), Some(1));
    second.enter(9);
    assert_eq!((second.was_asked(), first.ask_for_request(|| 2000)), (None, None));
}
