//! Rules for the events of an exchange with any application.
//!
//! The counterpart of `wsgiref.validate`, which checks between gateway and application; this one checks between gateway and
//! host. It implements the rules anew and shares no code with the gateway.

use std::fmt;

use wsgi_core::host::{Flush, Framing};

use crate::captured::{Captured, Event};

/// A rule that an exchange has broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The rule, with its source.
    pub rule: &'static str,
    /// Position in [`Captured::events`] of the event that breaks it.
    pub event: usize,
}

impl fmt::Display for Violation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "event {}: {}", self.event, self.rule)
    }
}

impl Captured {
    /// Returns the rules of PEP 3333 and of HTTP that the events of this exchange break.
    pub fn violations(&self) -> Vec<Violation> {
        let mut walk = Walk { head_request: self.head_request, ..Walk::default() };
        for (position, event) in self.events.iter().enumerate() {
            walk.position = position;
            let next = self.events[position + 1..].iter().find(|event| !matches!(event, Event::Log(_)));
            walk.step(event, next);
        }
        walk.end(self);
        walk.violations
    }

    /// Panics if this exchange breaks a rule; see [`violations`](Self::violations).
    #[track_caller]
    pub fn check(&self) {
        let broken: Vec<_> = self.violations().iter().map(|violation| format!("\n  {violation}")).collect();
        assert!(broken.is_empty(), "the exchange breaks rules:{}\n{self:#?}", broken.concat());
    }
}

#[derive(Default)]
struct Walk {
    head_request: bool,
    position: usize,
    framing: Option<Framing>,
    sent: u64,
    finished: bool,
    dropped: bool,
    violations: Vec<Violation>,
}

impl Walk {
    fn require(&mut self, holds: bool, rule: &'static str) {
        if !holds {
            self.violations.push(Violation { rule, event: self.position });
        }
    }

    fn step(&mut self, event: &Event, next: Option<&Event>) {
        if matches!(event, Event::Log(_)) {
            return;
        }
        self.require(!self.dropped, "nothing follows once the sink was dropped");
        if !matches!(event, Event::Dropped) {
            self.require(!self.finished, "nothing follows the end of a response");
        }
        match event {
            Event::Head(head) => {
                self.require(self.framing.is_none(), "there is one set of headers (PEP 3333, Error Handling)");
                self.framing = Some(head.framing);
                self.status(head.status.as_bytes());
                for header in head.headers.iter() {
                    self.header(header.name, header.value);
                }
            }
            Event::Block(block, flush) | Event::File(block, flush) => self.block(block.len() as u64, *flush, next),
            Event::Flush | Event::Drain => {
                self.require(self.framing.is_some(), "nothing is flushed before the head is there");
            }
            Event::Finish => {
                self.require(self.framing.is_some(), "a response has a head");
                self.finished = true;
            }
            Event::Dropped => self.dropped = true,
            Event::Log(_) => {}
        }
    }

    fn status(&mut self, status: &[u8]) {
        let shape = status.len() >= 3
            && status[..3].iter().all(u8::is_ascii_digit)
            && (status.len() == 3 || status[3] == b' ')
            && status.iter().all(|byte| !byte.is_ascii_control());
        self.require(shape, "a status is three digits, a space and a reason without control characters (PEP 3333)");
        self.require(status.first() > Some(&b'1'), "an application sends final statuses (RFC 9110, 15.2)");
    }

    fn header(&mut self, name: &[u8], value: &[u8]) {
        const SEPARATORS: &[u8] = b"\"(),/:;<=>?@[\\]{}";
        const HOP_BY_HOP: [&str; 9] = [
            "connection",
            "keep-alive",
            "proxy-authenticate",
            "proxy-connection",
            "proxy-authorization",
            "te",
            "trailer",
            "transfer-encoding",
            "upgrade",
        ];
        let token = !name.is_empty() && name.iter().all(|byte| byte.is_ascii_graphic() && !SEPARATORS.contains(byte));
        self.require(token, "the name of a header is a token (RFC 9110, 5.1)");
        let clean = value.iter().all(|byte| !byte.is_ascii_control());
        self.require(clean, "the value of a header has no control characters (PEP 3333)");
        let lower = String::from_utf8_lossy(name).to_ascii_lowercase();
        let end_to_end = !HOP_BY_HOP.contains(&lower.as_str());
        self.require(end_to_end, "an application sends no hop-by-hop headers (PEP 3333, Other HTTP Features)");
        self.require(lower != "status", "there is no header called Status (PEP 3333)");
        self.require(lower != "content-length", "the length of the body is told by the framing alone");
    }

    fn block(&mut self, len: u64, flush: Flush, next: Option<&Event>) {
        self.require(len > 0, "an empty block is not sent: in chunked coding it would be the end");
        self.require(self.framing.is_some(), "the head comes before the body");
        self.require(!self.head_request, "the answer to HEAD has no body (RFC 9110, 9.3.2)");
        self.require(self.framing != Some(Framing::NoBody), "204 and 304 have no body (RFC 9110, 6.4.1)");
        self.sent += len;
        if let Some(Framing::Length(length)) = self.framing {
            self.require(self.sent <= length, "no byte goes beyond Content-Length (PEP 3333)");
        }
        if flush == Flush::Later {
            let follows = matches!(
                next,
                Some(Event::Block(..) | Event::File(..) | Event::Flush | Event::Finish | Event::Dropped)
            );
            self.require(follows, "a block that is not flushed is followed by another or by the end, without a wait");
        }
    }

    fn end(&mut self, captured: &Captured) {
        self.require(self.dropped, "the sink is given back");
        self.require(
            captured.fault.is_some() != self.finished,
            "an exchange either fails or comes to its end, and not both",
        );
        if let Some(Framing::Length(length)) = self.framing
            && self.finished
            && !self.head_request
            && !captured.body_unwanted
        {
            self.require(self.sent == length, "a response with less than its Content-Length is cut off (PEP 3333)");
        }
    }
}

#[cfg(test)]
mod tests {
    use wsgi_core::host::{HeaderList, ResponseHead, StatusLine};

    use super::*;

    fn head(framing: Framing) -> Event {
        let status = StatusLine::parse(b"200 OK").expect("a status");
        Event::Head(ResponseHead::new(status, HeaderList::new(), framing))
    }

    fn block(text: &str, flush: Flush) -> Event {
        Event::Block(text.as_bytes().to_vec(), flush)
    }

    fn broken(events: Vec<Event>) -> Vec<&'static str> {
        let captured = Captured { events, ..Captured::default() };
        captured.violations().into_iter().map(|violation| violation.rule).collect()
    }

    #[test]
    fn a_proper_exchange_breaks_no_rule() {
        let whole = vec![
            head(Framing::Length(2)),
            block("a", Flush::Later),
            block("b", Flush::Now),
            Event::Finish,
            Event::Dropped,
        ];
        assert_eq!(broken(whole), [""; 0]);
    }

    #[test]
    fn each_rule_is_noticed() {
        let end = || [Event::Finish, Event::Dropped];
        let with = |events: Vec<Event>| broken(events.into_iter().chain(end()).collect());
        let open = || head(Framing::Unknown);
        for (rules, expected) in [
            (with(vec![open(), open()]), "one set of headers"),
            (with(vec![block("a", Flush::Now), open()]), "the head comes before the body"),
            (with(vec![open(), block("", Flush::Now)]), "an empty block is not sent"),
            (with(vec![head(Framing::Length(1)), block("ab", Flush::Now)]), "beyond Content-Length"),
            (with(vec![head(Framing::Length(3)), block("ab", Flush::Now)]), "less than its Content-Length"),
            (with(vec![head(Framing::NoBody), block("a", Flush::Now)]), "204 and 304"),
            (with(vec![Event::Flush, open()]), "nothing is flushed before"),
            (with(vec![]), "a response has a head"),
            (broken(vec![open(), block("a", Flush::Later), Event::Drain, Event::Dropped]), "not flushed is followed"),
            (broken(vec![open(), Event::Dropped]), "either fails or comes to its end"),
            (broken(vec![open(), Event::Finish]), "the sink is given back"),
            (broken(vec![open(), Event::Finish, Event::Dropped, Event::Flush]), "once the sink was dropped"),
            (broken(vec![open(), Event::Finish, Event::Flush, Event::Dropped]), "nothing follows the end"),
        ] {
            assert!(rules.iter().any(|rule| rule.contains(expected)), "{expected}: {rules:?}");
        }
    }

    #[test]
    fn an_answer_to_head_has_no_block() {
        let events = vec![head(Framing::Length(9)), block("a", Flush::Now), Event::Finish, Event::Dropped];
        let captured = Captured { events, head_request: true, ..Captured::default() };
        assert!(captured.violations().iter().any(|violation| violation.rule.contains("HEAD")));
    }
}
