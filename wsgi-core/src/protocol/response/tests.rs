//! Tests of the response's state table, row by row; tests with random calls are in `random.rs`.

use super::model::{headers, status};
use super::*;

/// Returns a response after a call of `start_response`.
fn started(method: &str, code: u16, content_length: Option<u64>) -> Response {
    let mut response = Response::new(method == "HEAD", HeadAt::FirstBlock);
    response.start(status(code), headers(content_length), false).expect("the first call");
    response
}

fn framing(head: Option<ResponseHead>) -> Framing {
    head.expect("a head").framing
}

#[test]
fn a_second_call_needs_exc_info() {
    let mut response = started("GET", 200, None);
    assert_eq!(response.start(status(500), headers(None), false), Err(ProtocolError::AlreadyStarted));
    response.start(status(500), headers(Some(1)), true).expect("the head is not out");
    let head = response.item(1).expect("started").head.expect("the first block");
    assert_eq!((head.status, head.framing), (status(500), Framing::Length(1)));
    assert_eq!(response.start(status(500), headers(None), true), Err(ProtocolError::HeadSent));
    assert_eq!(response.start(status(500), headers(None), false), Err(ProtocolError::AlreadyStarted));
}

#[test]
fn a_total_below_content_length_is_noticed_before_the_head_is_out() {
    let check = |method, code, promised, written, total| {
        let mut response = started(method, code, Some(promised));
        if written > 0 {
            assert_eq!(response.collect(written), Ok(Some(written)));
        }
        response.declare_total(total);
        response.check_total()
    };
    assert_eq!(check("GET", 200, 5, 0, 3), Err(ProtocolError::TooShort { declared: 5, missing: 2 }));
    assert_eq!(check("GET", 200, 5, 1, 3), Err(ProtocolError::TooShort { declared: 5, missing: 1 }));
    assert_eq!(check("GET", 200, 5, 2, 3), Ok(()));
    assert_eq!(check("GET", 200, 5, 0, 9), Ok(()), "what is too much is cut off");
    assert_eq!(check("HEAD", 200, 5, 0, 0), Ok(()));
    assert_eq!(check("GET", 304, 5, 0, 0), Ok(()));
    let mut sending = started("GET", 200, Some(5));
    let _ = sending.write(1).expect("started");
    sending.declare_total(0);
    assert_eq!(sending.check_total(), Ok(()), "too late: the end tells");
}

#[test]
fn exc_info_is_allowed_on_the_first_call() {
    let mut response = Response::new(false, HeadAt::FirstBlock);
    response.start(status(500), headers(None), true).expect("the first call");
    assert_eq!(framing(response.end().expect("started").head), Framing::Length(0));
}

#[test]
fn refused_first_call_counts_as_a_call() {
    let mut response = Response::new(false, HeadAt::FirstBlock);
    response.start_refused();
    assert_eq!(response.start(status(200), headers(None), false), Err(ProtocolError::AlreadyStarted));
    assert_eq!(response.item(1), Err(ProtocolError::NotStarted));
    response.start(status(500), headers(None), true).expect("exc_info was given");
    assert!(response.item(1).expect("started").head.is_some());
}

#[test]
fn a_later_call_that_raised_leaves_the_head() {
    let mut response = started("GET", 200, None);
    response.start_refused();
    assert_eq!(response.end().expect("started").head.expect("not sent yet").status, status(200));
}

#[test]
fn empty_block_does_not_commit_the_head() {
    let nothing = || Accepted { head: None, take: 0, excess: 0, complete: false, last: false };
    let mut response = Response::new(false, HeadAt::FirstBlock);
    assert_eq!(response.item(0), Ok(nothing()));
    response.start(status(200), headers(None), false).expect("the first call");
    assert_eq!(response.item(0), Ok(nothing()));
    assert!(!response.head_sent());
    response.start(status(500), headers(None), true).expect("the head is not out");
}

#[test]
fn empty_write_commits_the_head() {
    let mut response = started("GET", 200, None);
    let accepted = response.write(0).expect("started");
    assert_eq!((framing(accepted.head), accepted.take), (Framing::Unknown, 0));
    assert!(response.head_sent());
}

#[test]
fn blocks_before_the_head_are_refused() {
    let mut response = Response::new(false, HeadAt::FirstBlock);
    assert_eq!(response.item(1), Err(ProtocolError::NotStarted));
    assert_eq!(response.write(0), Err(ProtocolError::NotStarted));
    assert_eq!(response.end(), Err(ProtocolError::NotStarted));
    assert!(response.is_ended() && !response.head_sent());
}

#[test]
fn a_known_total_becomes_content_length() {
    let mut response = started("GET", 200, None);
    response.declare_total(5);
    let first = response.item(2).expect("started");
    assert_eq!((framing(first.head), first.take, first.last), (Framing::Length(5), 2, false));
    assert_eq!(response.item(3), Ok(Accepted { head: None, take: 3, excess: 0, complete: true, last: false }));
    assert_eq!(response.end(), Ok(Ending { head: None }));
}

#[test]
fn a_total_does_not_count_what_was_written() {
    let mut response = started("GET", 200, None);
    response.declare_total(5);
    assert_eq!(framing(response.write(3).expect("started").head), Framing::Unknown);
    assert_eq!(response.item(5).expect("started").take, 5);
    assert_eq!(response.end(), Ok(Ending { head: None }));
}

#[test]
fn items_beyond_content_length_are_cut_and_end_the_iteration() {
    let mut response = started("GET", 200, Some(5));
    assert_eq!(response.write(3).expect("it fits").take, 3);
    assert_eq!(response.item(4), Ok(Accepted { head: None, take: 2, excess: 2, complete: true, last: true }));
    assert_eq!(response.item(4), Ok(Accepted { head: None, take: 0, excess: 4, complete: true, last: true }));
    assert_eq!(response.end(), Ok(Ending { head: None }));
}

#[test]
fn writes_beyond_content_length_are_refused_whole() {
    let mut response = started("GET", 200, Some(5));
    assert_eq!(response.write(7), Err(ProtocolError::TooLong { declared: 5, excess: 2 }));
    assert!(!response.head_sent());
    assert_eq!(response.write(4).expect("it fits").take, 4);
    assert_eq!(response.write(2), Err(ProtocolError::TooLong { declared: 5, excess: 1 }));
    assert_eq!(response.write(1).expect("it fits").take, 1);
    assert_eq!(response.end(), Ok(Ending { head: None }));
}

#[test]
fn a_short_body_is_an_error_and_the_end() {
    let mut response = started("GET", 200, Some(5));
    assert_eq!(response.end(), Err(ProtocolError::TooShort { declared: 5, missing: 5 }));
    assert!(!response.head_sent(), "the host answers with its own error");
    let mut response = started("GET", 200, Some(5));
    response.item(2).expect("started").head.expect("the first block");
    assert_eq!(response.end(), Err(ProtocolError::TooShort { declared: 5, missing: 3 }));
    assert_eq!(response.write(3), Err(ProtocolError::Ended));
}

#[test]
fn head_request_gets_the_head_alone() {
    for content_length in [None, Some(5)] {
        let mut response = started("HEAD", 200, content_length);
        response.declare_total(1);
        let accepted = response.item(9).expect("started");
        assert_eq!(framing(accepted.head), content_length.map_or(Framing::Unknown, Framing::Length));
        assert_eq!((accepted.take, accepted.excess, accepted.last), (0, 0, true));
        assert_eq!(response.end(), Ok(Ending { head: None }));
    }
    assert_eq!(framing(started("HEAD", 200, None).end().expect("started").head), Framing::Unknown);
    assert_eq!(framing(started("HEAD", 200, Some(5)).end().expect("nothing is owed").head), Framing::Length(5));
}

#[test]
fn body_is_discarded_for_statuses_without_one() {
    for (code, expected) in [(204, Framing::NoBody), (304, Framing::NoBody), (205, Framing::Length(0))] {
        let mut response = started("GET", code, Some(5));
        let accepted = response.write(9).expect("nothing is counted");
        assert_eq!((framing(accepted.head), accepted.take, accepted.last), (expected, 0, true));
        assert_eq!(response.item(9), Ok(Accepted { head: None, take: 0, excess: 0, complete: false, last: true }));
        assert_eq!(response.end(), Ok(Ending { head: None }));
    }
}

#[test]
fn first_item_commits_the_head_where_that_is_asked_for() {
    for method in ["GET", "HEAD"] {
        let mut response = Response::new(method == "HEAD", HeadAt::FirstItem);
        let nothing = Accepted { head: None, take: 0, excess: 0, complete: false, last: false };
        assert_eq!(response.item(0), Ok(nothing), "start_response was not called");
        response.start(status(200), headers(None), false).expect("the first call");
        let accepted = response.item(0).expect("started");
        assert_eq!((framing(accepted.head), accepted.last), (Framing::Unknown, method == "HEAD"));
        assert_eq!(response.start(status(500), headers(None), true), Err(ProtocolError::HeadSent));
    }
}

#[test]
fn collected_blocks_wait_for_their_release() {
    let mut response = started("GET", 200, None);
    assert_eq!(response.collect(3), Ok(Some(3)));
    assert_eq!(response.collect(0), Ok(Some(0)));
    assert!(!response.head_sent());
    response.declare_total(4);
    let accepted = response.release().expect("started");
    assert_eq!((framing(accepted.head), accepted.take), (Framing::Length(7), 3));
    assert_eq!(response.collect(1), Ok(None), "the head is out");
    assert_eq!(response.item(4), Ok(Accepted { head: None, take: 4, excess: 0, complete: true, last: false }));
    assert_eq!(response.end(), Ok(Ending { head: None }));
}

#[test]
fn exc_info_discards_what_was_collected() {
    let mut response = started("GET", 200, Some(5));
    assert_eq!(response.collect(5), Ok(Some(5)));
    response.start(status(500), headers(None), true).expect("the head is not out");
    assert_eq!(response.collected(), 0);
    response.declare_total(2);
    assert_eq!(framing(response.item(2).expect("started").head), Framing::Length(2));
}

#[test]
fn collected_blocks_are_held_to_content_length() {
    let mut response = started("GET", 200, Some(5));
    assert_eq!(response.collect(3), Ok(Some(3)));
    assert_eq!(response.collect(3), Err(ProtocolError::TooLong { declared: 5, excess: 1 }));
    let accepted = response.release().expect("started");
    assert_eq!((framing(accepted.head), accepted.take), (Framing::Length(5), 3));
    assert_eq!(response.end(), Err(ProtocolError::TooShort { declared: 5, missing: 2 }));
    assert_eq!(Response::new(false, HeadAt::FirstBlock).collect(1), Err(ProtocolError::NotStarted));
    assert_eq!(started("HEAD", 200, Some(5)).collect(9), Ok(Some(0)), "nobody wants it");
}

#[test]
fn single_block_is_marked_as_the_whole_body() {
    let mut response = started("GET", 200, None);
    response.declare_total(2);
    response.declare_single_block();
    assert!(response.item(2).expect("started").head.expect("the first block").single_block);
}

#[test]
fn nothing_follows_the_end() {
    let mut response = started("GET", 200, None);
    assert!(response.end().expect("started").head.is_some());
    assert!(response.is_ended() && response.head_sent());
    assert_eq!(response.start(status(200), headers(None), true), Err(ProtocolError::Ended));
    assert_eq!(response.item(0), Err(ProtocolError::Ended));
    assert_eq!(response.write(0), Err(ProtocolError::Ended));
    assert_eq!(response.end(), Err(ProtocolError::Ended));
}
