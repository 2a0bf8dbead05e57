//! The length of a body: as declared and as produced by the application, and as received by the client (RFC 9112, 6.3; PEP
//! 3333, "Handling the Content-Length Header").

use std::fmt::Write as _;

use super::host::{HostUnderTest, Site};
use super::probe::{After, Probe};
use crate::figure;
use crate::wire::Response;

const GIVES: &str = "
import io

def application(environ, start_response):
    answer = probe(environ, start_response)
    if answer is not None:
        return answer
    status, declared, written, blocks, kind = environ['PATH_INFO'][1:].split('/')
    write = start_response(status + ' X', [] if declared == '-' else [('Content-Length', declared)])
    if written != '0':
        write(b'w' * int(written))
    sizes = [int(size) for size in blocks.split(',')]
    if kind == 'list':
        return [b'b' * size for size in sizes]
    if kind == 'generator':
        return (b'b' * size for size in sizes)
    return environ['wsgi.file_wrapper'](io.BytesIO(b'b' * sum(sizes)), 4)
";

/// One response.
#[derive(Clone, Copy, Debug)]
struct Case {
    method: &'static str,
    /// Whether the request is HTTP/1.0, with a connection to be kept open.
    old: bool,
    status: u16,
    declared: Option<usize>,
    written: usize,
    blocks: &'static [usize],
    kind: &'static str,
}

/// The response that a client must get.
#[derive(Debug, PartialEq, Eq)]
enum Expected {
    /// Exactly this body.
    Whole(String),
    /// The beginning of this body, and the end of the connection.
    Cut(String),
    /// An error page of the host.
    Error,
}

impl Case {
    fn target(&self) -> String {
        let Case { status, written, kind, .. } = self;
        let declared = self.declared.map_or("-".to_owned(), |length| length.to_string());
        let blocks: Vec<_> = self.blocks.iter().map(usize::to_string).collect();
        format!("/{status}/{declared}/{written}/{}/{kind}", blocks.join(","))
    }

    fn bytes(&self) -> Vec<u8> {
        let version = if self.old { "1.0\r\nConnection: keep-alive" } else { "1.1" };
        format!("{} {} HTTP/{version}\r\nHost: localhost\r\n\r\n", self.method, self.target()).into_bytes()
    }

    fn expected(&self) -> Expected {
        let given: usize = self.blocks.iter().sum();
        let all = "w".repeat(self.written) + &"b".repeat(given);
        if self.method == "HEAD" || matches!(self.status, 204 | 205 | 304) {
            return Expected::Whole(String::new());
        }
        match self.declared {
            // The write callable refuses the block, and the head has not been sent.
            Some(declared) if self.written > declared => Expected::Error,
            Some(declared) if all.len() >= declared => Expected::Whole(all[..declared].to_owned()),
            // The gateway detects the missing bytes before it sends the head.
            Some(_) if all.is_empty() || (self.written == 0 && self.kind == "list") => Expected::Error,
            Some(_) => Expected::Cut(all),
            None => Expected::Whole(all),
        }
    }

    /// Returns a defect of the head, if there is one.
    fn complaint(&self, response: &Response) -> Option<&'static str> {
        let (lengths, codings) = (response.all("Content-Length"), response.all("Transfer-Encoding"));
        let no_body = self.method == "HEAD" || matches!(response.status, 204 | 304);
        match (lengths.len(), codings.len()) {
            (1, 1) => Some("both a length and a coding"),
            (2.., _) | (_, 2..) => Some("two of a kind"),
            (_, 1) if self.old => Some("chunks for HTTP/1.0"),
            (1, _) if response.status == 204 => Some("a length with 204"),
            (0, 0) if !no_body && !self.old => Some("neither a length nor a coding"),
            (0, 1) if self.declared.is_some() && response.status == self.status => {
                Some("a length that is not passed on")
            }
            _ => None,
        }
    }
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (status, kinds) in [
        (200, &["list", "generator", "file"][..]),
        (404, &["generator"]),
        (204, &["list"]),
        (205, &["list"]),
        (304, &["list"]),
    ] {
        for (method, old) in [("GET", false), ("HEAD", false), ("GET", true), ("HEAD", true)] {
            for declared in [None, Some(0), Some(5), Some(8)] {
                for written in [0, 3, 8] {
                    for blocks in [&[0][..], &[5], &[3, 0, 2], &[8, 1]] {
                        let case = |kind: &&'static str| Case { method, old, status, declared, written, blocks, kind };
                        cases.extend(kinds.iter().map(case));
                    }
                }
            }
        }
    }
    cases
}

pub(super) fn framing_is_exact_for_any_response_of_an_application(host: &dyn HostUnderTest) {
    let site = host.serve(Site::new(Probe::ANSWER.to_owned() + GIVES));
    let (mut problems, mut stray) = (String::new(), 0);
    let (mut whole, mut short, mut cut, mut probes, mut answered) = (0, 0, 0, 0, 0);
    let cases = cases();
    for (number, case) in cases.iter().enumerate() {
        let mut client = site.connect();
        client.send([case.bytes(), Probe::new(number).bytes()].concat());
        let response = client.final_response(case.method);
        let after = Probe::new(number).after(&mut client);
        let expected = case.expected();
        let body = response.text();
        let mut right = case.complaint(&response).is_none();
        right &= match &expected {
            Expected::Whole(text) => response.status == case.status && response.whole && body == *text,
            Expected::Cut(text) => response.status == case.status && !response.whole && text.starts_with(&body),
            Expected::Error => response.status == 500 && response.whole,
        };
        match after {
            After::Stray(count) => stray += count,
            After::Answer => answered += 1,
            After::End => {}
        }
        match expected {
            Expected::Whole(_) => {
                whole += 1;
                // For a client of HTTP/1.0, some bodies end only with the connection.
                probes += usize::from(!case.old || after == After::Answer);
                right &= after == After::Answer || (case.old && after == After::End);
            }
            Expected::Cut(_) => {
                short += 1;
                cut += usize::from(after == After::End && !response.whole);
                right &= after == After::End;
            }
            Expected::Error => {
                probes += usize::from(after == After::Answer);
                right &= !matches!(after, After::Stray(_));
            }
        }
        if !right {
            let _ = writeln!(problems, "{case:?}: {:?}, {response:?}, then {after:?}", case.complaint(&response));
        }
    }
    figure(
        "R19",
        &format!(
            "{} responses on {}: {stray} extra bytes, {whole} exact, {cut} of {short} short ones cut, \
             {answered} of {probes} pipelined requests behind them intact",
            cases.len(),
            host.name()
        ),
    );
    assert!(problems.is_empty(), "{problems}");
}
