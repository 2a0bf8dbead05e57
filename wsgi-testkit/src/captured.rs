//! The recorded events of an exchange.

use wsgi_core::host::{Flush, Framing, Level, ResponseHead};

/// All calls of the gateway to the host during one exchange, in order.
#[derive(Debug, Default)]
pub struct Captured {
    pub(crate) events: Vec<Event>,
    pub(crate) fault: Option<wsgi_core::error::Fault>,
    /// Whether the request was HEAD.
    pub(crate) head_request: bool,
    /// Whether the host refused the body.
    pub(crate) body_unwanted: bool,
}

/// One call of the gateway to the host's sink.
#[derive(Debug)]
pub enum Event {
    /// Status and headers.
    Head(ResponseHead),
    /// One block of the body.
    Block(Vec<u8>, Flush),
    /// One block of the body that the gateway sent from a file.
    File(Vec<u8>, Flush),
    /// A request to send everything so far.
    Flush,
    /// A wait until the client has received everything, as the write callable does.
    Drain,
    /// The end of a complete response.
    Finish,
    /// The sink was dropped.
    Dropped,
    /// A record of the error log.
    Log(LogLine),
}

/// One record of the error log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// The record's severity.
    pub level: Level,
    /// The record's text.
    pub text: String,
}

impl Captured {
    /// Returns the events, in order.
    pub fn events(&self) -> &[Event] {
        &self.events
    }

    /// Returns the log records of this exchange, in order.
    pub fn log(&self) -> impl Iterator<Item = &LogLine> {
        self.events.iter().filter_map(|event| match event {
            Event::Log(line) => Some(line),
            _ => None,
        })
    }

    /// Returns all log records of `level` and above, one per line.
    pub fn log_text(&self, level: Level) -> String {
        self.log().filter(|line| line.level >= level).map(|line| format!("{}\n", line.text)).collect()
    }

    /// Returns the head, if one was sent.
    pub fn head(&self) -> Option<&ResponseHead> {
        self.events.iter().find_map(|event| match event {
            Event::Head(head) => Some(head),
            _ => None,
        })
    }

    /// Returns the status code: that of the head, or of the host's answer if there is no head; 0 if the client has left.
    pub fn status(&self) -> u16 {
        match (self.head(), &self.fault) {
            (Some(head), _) => head.status.code().as_u16(),
            (None, Some(fault)) => fault.status_hint().map_or(0, |status| status.as_u16()),
            (None, None) => 0,
        }
    }

    /// Returns the values of a header as text, in order.
    pub fn header(&self, name: &str) -> Vec<String> {
        self.head()
            .into_iter()
            .flat_map(|head| head.headers.iter())
            .filter(|header| header.name.eq_ignore_ascii_case(name.as_bytes()))
            .map(|header| header.value.iter().map(|byte| char::from(*byte)).collect())
            .collect()
    }

    /// Returns `Content-Length` as a host would send it.
    pub fn content_length(&self) -> Option<u64> {
        match self.head()?.framing {
            Framing::Length(length) => Some(length),
            _ => None,
        }
    }

    /// Returns the blocks of the body.
    pub fn blocks(&self) -> Vec<&[u8]> {
        self.events
            .iter()
            .filter_map(|event| match event {
                Event::Block(block, _) | Event::File(block, _) => Some(block.as_slice()),
                _ => None,
            })
            .collect()
    }

    /// Returns the body.
    pub fn body(&self) -> Vec<u8> {
        self.blocks().concat()
    }

    /// Returns the body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body()).into_owned()
    }

    /// Whether the response was completed.
    pub fn is_complete(&self) -> bool {
        self.events.iter().any(|event| matches!(event, Event::Finish))
    }

    /// Returns the fault of a failed exchange.
    pub fn fault(&self) -> Option<&wsgi_core::error::Fault> {
        self.fault.as_ref()
    }
}
