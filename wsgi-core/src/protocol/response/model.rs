//! A second implementation of the rules of a response, as facts about the calls so far; random calls must show no difference.

use super::*;

/// Returns a status without a reason.
pub(super) fn status(code: u16) -> StatusLine {
    StatusLine::parse(code.to_string().as_bytes()).expect("valid")
}

pub(super) fn headers(content_length: Option<u64>) -> HeaderList {
    let mut headers = HeaderList::new();
    headers.push(b"X-Order", b"1").expect("valid");
    if let Some(length) = content_length {
        headers.push(b"Content-Length", length.to_string().as_bytes()).expect("valid");
    }
    headers
}

/// A call of a [`Response`], by the method's name.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "the methods have them")]
pub enum Step {
    Start { code: u16, content_length: Option<u64>, exc_info: bool },
    StartRefused,
    DeclareTotal(u64),
    Item(u64),
    Write(u64),
    Collect(u64),
    Release,
    End,
}

/// Panics if a response differs from the rules after these steps.
pub fn compare(head_request: bool, first_item: bool, steps: &[Step]) {
    let mut response = Response::new(head_request, head_at(first_item));
    let mut model = Model { head_request, first_item, ..Model::default() };
    for step in steps {
        for step in in_order(&response, step) {
            assert_eq!(apply(&mut response, &step), model.apply(&step), "{step:?}");
            assert_eq!(response.head_sent(), model.sent.is_some());
            assert_eq!(response.is_ended(), model.over);
            assert_eq!(response.collected(), model.collected);
        }
    }
}

/// Panics if the data sent after these steps is no valid response: a second head, a block before it, more bytes than the head
/// promises, or fewer in a response that has ended.
pub fn check_framing(head_request: bool, first_item: bool, steps: &[Step]) {
    let mut response = Response::new(head_request, head_at(first_item));
    let mut sent_head = None;
    let mut sent = 0;
    for step in steps.iter().chain([&Step::End]).flat_map(|step| [Step::Release, step.clone()]) {
        if matches!(step, Step::Release) && response.collected() == 0 {
            continue;
        }
        let complete = !response.is_ended() && matches!(step, Step::End);
        let Ok((head, take, _, _)) = apply(&mut response, &step) else { continue };
        let take = if matches!(step, Step::Collect(_)) { 0 } else { take };
        if let Some(head) = head {
            assert_eq!(sent_head.replace(head), None, "a second head");
        }
        sent += take;
        assert!(take == 0 || sent_head.is_some(), "a block before the head");
        match sent_head {
            Some((_, Framing::Length(length))) if !head_request => {
                assert!(sent <= length);
                assert!(!complete || sent == length);
            }
            Some((_, Framing::NoBody)) => assert_eq!(sent, 0),
            _ if head_request => assert_eq!(sent, 0),
            _ => {}
        }
    }
}

/// The next step after a block.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Next {
    Ask,
    Complete,
    End,
}

/// The result of a step: head, bytes to send, excess, and the next step.
type Given = Result<(Option<(u16, Framing)>, u64, u64, Next), ProtocolError>;

fn apply(response: &mut Response, step: &Step) -> Given {
    let head = |head: Option<ResponseHead>| head.map(|head| (head.status.code().as_u16(), head.framing));
    let accepted = |accepted: Accepted| {
        let next = match () {
            () if accepted.last => Next::End,
            () if accepted.complete => Next::Complete,
            () => Next::Ask,
        };
        (head(accepted.head), accepted.take, accepted.excess, next)
    };
    match *step {
        Step::Start { code, content_length, exc_info } => {
            response.start(status(code), headers(content_length), exc_info).map(|()| (None, 0, 0, Next::Ask))
        }
        Step::StartRefused => {
            response.start_refused();
            Ok((None, 0, 0, Next::Ask))
        }
        Step::DeclareTotal(total) => {
            response.declare_total(total);
            Ok((None, 0, 0, Next::Ask))
        }
        Step::Item(len) => response.item(len).map(accepted),
        Step::Write(len) => response.write(len).map(accepted),
        Step::Collect(len) => response.collect(len).map(|keep| (None, keep.unwrap_or(u64::MAX), 0, Next::Ask)),
        Step::Release => response.release().map(accepted),
        Step::End => response.end().map(|ending| (head(ending.head), 0, 0, Next::End)),
    }
}

#[derive(Default)]
struct Model {
    head_request: bool,
    called: bool,
    head: Option<(u16, Option<u64>)>,
    total: Option<u64>,
    sent: Option<Framing>,
    produced: u64,
    collected: u64,
    first_item: bool,
    over: bool,
}

impl Model {
    fn bodiless(&self) -> bool {
        self.head_request || self.head.is_some_and(|(code, _)| [204, 205, 304].contains(&code))
    }

    /// Returns the framing of the head if it were sent now; `computed` is the length known to the gateway.
    fn framing(&self, computed: Option<u64>) -> Framing {
        match self.head {
            Some((204 | 304, _)) => Framing::NoBody,
            Some((205, _)) => Framing::Length(0),
            Some((_, Some(declared))) => Framing::Length(declared),
            _ if self.head_request => Framing::Unknown,
            _ => computed.map_or(Framing::Unknown, Framing::Length),
        }
    }

    fn block(&mut self, len: u64, kind: Kind) -> Given {
        if self.over {
            return Err(ProtocolError::Ended);
        }
        let written = kind == Kind::Write;
        let framing = self.sent.unwrap_or_else(|| match kind {
            Kind::Item => self.framing(self.total),
            Kind::Write => self.framing(None),
            Kind::Release => self.framing(self.total.map(|total| total + len)),
        });
        let limit = match framing {
            Framing::Length(length) if !self.bodiless() => Some(length),
            _ => None,
        };
        let bodiless = self.bodiless();
        let next = |produced, excess| match limit {
            _ if bodiless || excess > 0 => Next::End,
            Some(limit) if produced >= limit => Next::Complete,
            _ => Next::Ask,
        };
        let early = self.first_item && self.head.is_some() && self.sent.is_none();
        if len == 0 && kind == Kind::Item && !early {
            let next = if self.sent.is_some() { next(self.produced, 0) } else { Next::Ask };
            return Ok((None, 0, 0, next));
        }
        let Some((code, _)) = self.head else { return Err(ProtocolError::NotStarted) };
        let excess = limit.map_or(0, |limit| (self.produced + len).saturating_sub(limit));
        if written && excess > 0 {
            return Err(ProtocolError::TooLong { declared: limit.unwrap_or(0), excess });
        }
        let take = if self.bodiless() { 0 } else { len - excess };
        let next = next(self.produced + take, excess);
        let head = self.sent.is_none().then_some((code, framing));
        self.sent = Some(framing);
        self.produced += take;
        Ok((head, take, excess, next))
    }

    fn apply(&mut self, step: &Step) -> Given {
        match *step {
            Step::Start { code, content_length, exc_info } => match () {
                () if self.over => return Err(ProtocolError::Ended),
                () if self.called && !exc_info => return Err(ProtocolError::AlreadyStarted),
                () if self.sent.is_some() => return Err(ProtocolError::HeadSent),
                () => (self.called, self.head, self.collected) = (true, Some((code, content_length)), 0),
            },
            Step::StartRefused => self.called = true,
            Step::DeclareTotal(total) => self.total = Some(total),
            Step::Item(len) => return self.block(len, Kind::Item),
            Step::Write(len) => return self.block(len, Kind::Write),
            Step::Collect(_) if self.over => return Err(ProtocolError::Ended),
            Step::Collect(_) if self.sent.is_some() => return Ok((None, u64::MAX, 0, Next::Ask)),
            Step::Collect(len) => match self.head {
                None => return Err(ProtocolError::NotStarted),
                Some(_) if self.bodiless() => {}
                Some((_, Some(declared))) if self.collected + len > declared => {
                    return Err(ProtocolError::TooLong { declared, excess: self.collected + len - declared });
                }
                Some(_) => {
                    self.collected += len;
                    return Ok((None, len, 0, Next::Ask));
                }
            },
            Step::Release => {
                let collected = std::mem::take(&mut self.collected);
                return self.block(collected, Kind::Release);
            }
            Step::End if self.over => return Err(ProtocolError::Ended),
            Step::End => {
                self.over = true;
                let Some((code, _)) = self.head else { return Err(ProtocolError::NotStarted) };
                let framing = self.sent.unwrap_or_else(|| self.framing(self.total.or(Some(0))));
                if let Framing::Length(declared) = framing
                    && !self.bodiless()
                    && self.produced < declared
                {
                    return Err(ProtocolError::TooShort { declared, missing: declared - self.produced });
                }
                let head = self.sent.is_none().then_some((code, framing));
                self.sent = Some(framing);
                return Ok((head, 0, 0, Next::End));
            }
        }
        Ok((None, 0, 0, Next::Ask))
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Item,
    Write,
    Release,
}

fn head_at(first_item: bool) -> HeadAt {
    if first_item { HeadAt::FirstItem } else { HeadAt::FirstBlock }
}

/// Releases collected blocks before any step that sends data.
fn in_order(response: &Response, step: &Step) -> Vec<Step> {
    let follows = matches!(step, Step::Item(_) | Step::Write(_) | Step::End) && response.collected() > 0;
    follows.then_some(Step::Release).into_iter().chain([step.clone()]).collect()
}
