//! What came out of an exchange.

use wsgi_core::head::ResponseHead;
use wsgi_core::host::{Flush, Level};
use wsgi_core::response::Framing;

/// Everything that crossed the host's seam during one exchange, in order.
#[derive(Debug, Default)]
pub struct Captured {
    pub(crate) events: Vec<Event>,
    pub(crate) fault: Option<wsgi_core::error::Fault>,
    /// Only a head was asked for.
    pub(crate) head_request: bool,
    /// The host did not want the body.
    pub(crate) body_unwanted: bool,
}

/// One call of the gateway to the host's sink.
#[derive(Debug)]
pub enum Event {
    /// Status and headers.
    Head(ResponseHead),
    /// One block of body.
    Block(Vec<u8>, Flush),
    /// One block that the gateway has in a file.
    File(Vec<u8>, Flush),
    /// What was sent so far has to leave.
    Flush,
    /// A wait for the client, as the write callable does.
    Drain,
    /// The complete end.
    Finish,
    /// The sink was dropped.
    Dropped,
    /// A record of the error log.
    Log(LogLine),
}

/// One record of the error log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// Its severity.
    pub level: Level,
    /// Its text.
    pub text: String,
}

impl Captured {
    /// What happened, in order.
    pub fn events(&self) -> &[Event] {
        &self.events
    }

    /// Log records of this exchange, in order.
    pub fn log(&self) -> impl Iterator<Item = &LogLine> {
        self.events.iter().filter_map(|event| match event {
            Event::Log(line) => Some(line),
            _ => None,
        })
    }

    /// All log records of `level` and above, one a line.
    pub fn log_text(&self, level: Level) -> String {
        self.log().filter(|line| line.level >= level).map(|line| format!("{}\n", line.text)).collect()
    }

    /// The head, if one was sent.
    pub fn head(&self) -> Option<&ResponseHead> {
        self.events.iter().find_map(|event| match event {
            Event::Head(head) => Some(head),
            _ => None,
        })
    }

    /// Status code: of the head, or the one a host answers with when there is none; 0 when nobody is there.
    pub fn status(&self) -> u16 {
        match (self.head(), &self.fault) {
            (Some(head), _) => head.status.code().as_u16(),
            (None, Some(fault)) => fault.status_hint().map_or(0, |status| status.as_u16()),
            (None, None) => 0,
        }
    }

    /// Values of a header as text, in order.
    pub fn header(&self, name: &str) -> Vec<String> {
        self.head()
            .into_iter()
            .flat_map(|head| head.headers.iter())
            .filter(|header| header.name.eq_ignore_ascii_case(name.as_bytes()))
            .map(|header| header.value.iter().map(|byte| char::from(*byte)).collect())
            .collect()
    }

    /// `Content-Length` as it would be sent.
    pub fn content_length(&self) -> Option<u64> {
        match self.head()?.framing {
            Framing::Length(length) => Some(length),
            _ => None,
        }
    }

    /// The body's blocks.
    pub fn blocks(&self) -> Vec<&[u8]> {
        self.events
            .iter()
            .filter_map(|event| match event {
                Event::Block(block, _) | Event::File(block, _) => Some(block.as_slice()),
                _ => None,
            })
            .collect()
    }

    /// The body.
    pub fn body(&self) -> Vec<u8> {
        self.blocks().concat()
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body()).into_owned()
    }

    /// Whether the response came to its proper end.
    pub fn is_complete(&self) -> bool {
        self.events.iter().any(|event| matches!(event, Event::Finish))
    }

    /// How the exchange failed, if it did.
    pub fn fault(&self) -> Option<&wsgi_core::error::Fault> {
        self.fault.as_ref()
    }
}
