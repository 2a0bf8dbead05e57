//! Ranges that a host may cut out of a response: whatever calls an application makes, a response that allows ranges has
//! exactly the body that its head promises, and several ranges are allowed of a single block only.

use wsgi_core::host::{Framing, HeaderList, Ranges, ResponseHead, StatusLine};
use wsgi_core::protocol::{Accepted, HeadAt, Response};

use crate::{Numbers, fields};

/// The input: numbers for the calls; then a status, and names of headers.
pub fn run(data: &[u8]) {
    let mut texts = fields(data);
    let mut numbers = Numbers::new(texts.next().unwrap_or_default());
    let Ok(status) = StatusLine::parse(texts.next().unwrap_or_default()) else { return };
    let mut headers = HeaderList::new();
    for name in texts {
        let value = numbers.byte().to_string();
        let _ = headers.push(name, value.as_bytes());
    }
    if numbers.flag() {
        let length = numbers.below(64).to_string();
        let _ = headers.push(b"Content-Length", length.as_bytes());
    }
    let head_request = numbers.below(8) == 1;
    let mut sent = Sent { response: Response::new(head_request, HeadAt::FirstBlock), head: None, blocks: Vec::new() };
    sent.response.start(status, headers, false).expect("the first call");
    // In the gateway's order: first the calls of write, then an iterable, whose total length may be known.
    for _ in 0..numbers.below(3) {
        let length = u64::from(numbers.below(32));
        let accepted = sent.response.write(length);
        sent.take(accepted.ok());
    }
    let blocks: Vec<u64> = (0..numbers.below(4)).map(|_| u64::from(numbers.below(32))).collect();
    if numbers.flag() {
        sent.response.declare_total(blocks.iter().sum());
        if blocks.len() == 1 {
            sent.response.declare_single_block();
        }
    }
    for block in blocks {
        let accepted = sent.response.item(block);
        sent.take(accepted.ok());
    }
    let Ok(ending) = sent.response.end() else { return };
    if let Some(head) = sent.head.or(ending.head) {
        check(&head, &sent.blocks, head_request);
    }
}

struct Sent {
    response: Response,
    head: Option<ResponseHead>,
    blocks: Vec<u64>,
}

impl Sent {
    fn take(&mut self, accepted: Option<Accepted>) {
        let Some(Accepted { head, take, .. }) = accepted else { return };
        self.head = self.head.take().or(head);
        self.blocks.extend(Some(take).filter(|take| *take > 0));
    }
}

fn check(head: &ResponseHead, blocks: &[u64], head_request: bool) {
    let ranges = head.ranges();
    let named = |wanted: &str| head.headers.iter().any(|header| header.name.eq_ignore_ascii_case(wanted.as_bytes()));
    if ranges == Ranges::None {
        let whole = head.status.code() == 200 && matches!(head.framing, Framing::Length(_));
        assert!(!whole || named("accept-ranges") || named("content-range"));
        return;
    }
    let Framing::Length(length) = head.framing else { panic!("parts of a body of unknown length") };
    assert_eq!(head.status.code().as_u16(), 200);
    assert!(!named("accept-ranges") && !named("content-range"), "the application deals with ranges itself");
    assert!(head_request || blocks.iter().sum::<u64>() == length);
    assert!(ranges == Ranges::One || blocks.len() <= 1, "several parts out of several blocks");
}
