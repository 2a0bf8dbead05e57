//! Calls of `start_response` that PEP 3333 forbids ("The start_response() Callable", "Error Handling").

use super::host::{HostUnderTest, Site};

/// Headers that describe a connection: those of RFC 2616, which PEP 3333 refers to, and those that clients and proxies use
/// since.
pub(super) const HOP_BY_HOP: [&str; 10] = [
    "Connection",
    "Keep-Alive",
    "Proxy-Authenticate",
    "Proxy-Authorization",
    "Proxy-Connection",
    "TE",
    "Trailer",
    "Trailers",
    "Transfer-Encoding",
    "Upgrade",
];

/// Makes each of `calls` in two requests: in one the application catches the exception and answers with its text, in the
/// other it does not. Each call must raise at once an exception whose kind and text begin with `expected`, and which names the
/// rule; the client must see nothing of the refused response, and the log must have each exception once.
///
/// `helpers` is Python code that the calls may use.
fn are_refused(host: &dyn HostUnderTest, expected: &str, helpers: &str, calls: &[impl AsRef<str>]) {
    are_refused_with(host, &[], expected, helpers, calls);
}

/// As [`are_refused`], with additional directives.
fn are_refused_with(
    host: &dyn HostUnderTest,
    directives: &[&str],
    expected: &str,
    helpers: &str,
    calls: &[impl AsRef<str>],
) {
    let calls: Vec<_> = calls.iter().map(AsRef::as_ref).collect();
    let list: String = calls.iter().map(|call| format!("    lambda start_response: {call},\n")).collect();
    let site = Site::new(format!(
        "
import sys

{helpers}
CALLS = [
{list}]

def application(environ, start_response):
    call = CALLS[int(environ['QUERY_STRING'])]
    if environ['PATH_INFO'] == '/uncaught':
        call(start_response)
        return [b'not refused']
    try:
        call(start_response)
    except Exception as error:
        start_response('200 OK', [('X-Caught', '1')], sys.exc_info())
        return [(type(error).__name__ + ': ' + str(error)).encode()]
    return [b'not refused']
"
    ));
    let site = host.serve(directives.iter().fold(site, |site, directive| site.with(directive)));
    let mut texts = Vec::new();
    for (number, call) in calls.iter().enumerate() {
        let caught = site.get(&format!("/caught?{number}"));
        let text = caught.text();
        assert!(text.starts_with(expected), "{call} does not raise {expected:?}: {caught:?}");
        let rule = ["PEP 3333", "RFC 9110", "RFC 3875"].iter().any(|rule| text.contains(rule));
        assert!(rule, "{call} does not tell the rule: {text}");
        assert_eq!((caught.status, caught.header("X-Caught")), (200, Some("1")), "{call}");
        let uncaught = site.get(&format!("/uncaught?{number}"));
        assert_eq!((uncaught.status, uncaught.all("X-Never").len()), (500, 0), "{call}: {uncaught:?}");
        texts.push(text);
    }
    let log = site.stop();
    for text in &texts {
        let expected = texts.iter().filter(|other| *other == text).count();
        assert_eq!(log.matches(text.as_str()).count(), expected, "{text:?} in the log:\n{log}");
    }
}

/// Returns `pattern` once for each of `things`, with `{}` replaced.
fn each(pattern: &str, things: &[&str]) -> Vec<String> {
    things.iter().map(|thing| pattern.replace("{}", thing)).collect()
}

pub(super) fn start_response_with_another_number_of_arguments_is_refused(host: &dyn HostUnderTest) {
    let calls = each("start_response({})", &["", "'200 OK'", "'200 OK', [], None, None"]);
    are_refused(host, "TypeError: start_response() takes 2 or 3 positional arguments", "", &calls);
}

pub(super) fn keyword_arguments_other_than_exc_info_are_refused(host: &dyn HostUnderTest) {
    let calls = each(
        "start_response({})",
        &[
            "status='200 OK', headers=[]",
            "'200 OK', headers=[]",
            "'200 OK', response_headers=[]",
            "'200 OK', [], None, exc_info=None",
            "'200 OK', [], exc_info=None, status='200 OK'",
            "'200 OK', [], error=None",
            "'200 OK', exc_info=None",
            "exc_info=None",
            "**{'status': '200 OK', 'headers': []}",
        ],
    );
    are_refused(host, "TypeError: start_response() takes status and headers as positional arguments", "", &calls);
}

pub(super) fn a_status_that_is_no_str_is_refused(host: &dyn HostUnderTest) {
    let calls = each("start_response({}, [('X-Never', '1')])", &["b'200 OK'", "200", "None", "('200', 'OK')"]);
    are_refused(host, "TypeError: status must be str", "", &calls);
}

/// Codes below 200 are not final responses (RFC 9110, 15.2).
pub(super) fn a_status_without_three_digits_and_a_space_is_refused(host: &dyn HostUnderTest) {
    let calls = each(
        "start_response({}, [('X-Never', '1')])",
        &[
            "''",
            "'OK'",
            "'20 OK'",
            "'2000 OK'",
            "'200OK'",
            "'200-OK'",
            "' 200 OK'",
            "'+20 OK'",
            "'2x0 OK'",
            r"'\u00b200 OK'",
            "'099 Low'",
            "'100 Continue'",
            "'101 Switching Protocols'",
            "'199 High'",
        ],
    );
    are_refused(host, "ValueError: status", "", &calls);
}

pub(super) fn a_status_with_a_control_character_is_refused(host: &dyn HostUnderTest) {
    let mut calls = each(
        "start_response({}, [('X-Never', '1')])",
        &[r"'200 OK\r\n'", r"'200 OK\n'", r"'200 OK\r'", r"'200 OK\r\nX-Never: 1'", r"'200\tOK'", r"'200\n'"],
    );
    calls.extend(control_characters().map(|escaped| format!("start_response('200 O{escaped}K', [('X-Never', '1')])")));
    are_refused(host, "ValueError: status", "", &calls);
}

pub(super) fn headers_that_are_no_list_are_refused(host: &dyn HostUnderTest) {
    let helpers = "
class List(list):
    '''The specification asks for a list and no other type.'''
";
    let calls = each(
        "start_response('200 OK', {})",
        &[
            "(('X-Never', '1'),)",
            "()",
            "{'X-Never': '1'}",
            "{}",
            "(header for header in [('X-Never', '1')])",
            "iter([('X-Never', '1')])",
            "{('X-Never', '1')}",
            "List([('X-Never', '1')])",
            "'X-Never: 1'",
            "None",
        ],
    );
    are_refused(host, "TypeError: headers must be a list", helpers, &calls);
}

pub(super) fn a_header_that_is_no_pair_of_str_is_refused(host: &dyn HostUnderTest) {
    let calls = |headers: &[&str]| each("start_response('200 OK', [('X-Never', '1'), {}])", headers);
    let no_pairs = calls(&[
        "['X-A', '1']",
        "('X-A',)",
        "('X-A', '1', '2')",
        "()",
        "'XA'",
        "b'XA'",
        "{'X-A': '1', 'X-B': '2'}",
        "None",
    ]);
    are_refused(host, "TypeError: header 1 must be a tuple (name, value)", "", &no_pairs);
    are_refused(
        host,
        "TypeError: header 1 must be a tuple (name, value), not a tuple of length 3",
        "",
        &no_pairs[2..3],
    );
    let names = calls(&["(b'X-A', '1')", "(b'X-A', b'1')", "(None, '1')"]);
    are_refused(host, "TypeError: header name must be str", "", &names);
    let values = calls(&["('X-A', b'1')", "('X-A', 1)", "('X-A', None)", "('Content-Length', 1)"]);
    are_refused(host, "TypeError: header value must be str", "", &values);
}

/// Tokens are defined in RFC 9110, 5.6.2.
pub(super) fn a_header_name_that_is_no_token_is_refused(host: &dyn HostUnderTest) {
    let mut calls = each("start_response('200 OK', [('X-Never', '1'), ({}, '1')])", &["''", "'X A'", r"'X\u00e9'"]);
    for separator in r#"()<>@,;:/[]?={}""#.chars() {
        calls.push(format!("start_response('200 OK', [('X-Never', '1'), ('X{separator}', '1')])"));
    }
    calls.push(r"start_response('200 OK', [('X-Never', '1'), ('X\\', '1')])".to_owned());
    for escaped in control_characters() {
        calls.push(format!("start_response('200 OK', [('X-Never', '1'), ('X{escaped}', '1')])"));
    }
    are_refused(host, "ValueError: header name", "", &calls);
}

/// This includes the tab, which HTTP allows: PEP 3333 makes no exception.
pub(super) fn a_header_value_with_a_control_character_is_refused(host: &dyn HostUnderTest) {
    let mut calls = each(
        "start_response('200 OK', [('X-Never', '1'), ('X-A', {})])",
        &[r"'1\r\n'", r"'1\n'", r"'\n1'", r"'1\r\nX-Never: 1'", r"'1\n 2'"],
    );
    for escaped in control_characters() {
        calls.push(format!("start_response('200 OK', [('X-Never', '1'), ('X-A', '1{escaped}2')])"));
    }
    calls.push(r"start_response('200 OK', [('X-Never', '1'), ('Content-Type', 'text/x\r\nX-Never: 1')])".to_owned());
    are_refused(host, "ValueError: value", "", &calls);
}

/// PEP 3333, "A Note On String Types".
pub(super) fn characters_above_latin_1_are_refused(host: &dyn HostUnderTest) {
    for (what, call) in [
        ("status", "start_response('200 {}', [('X-Never', '1')])"),
        ("header name", "start_response('200 OK', [('X-Never', '1'), ('X{}', '1')])"),
        ("header value", "start_response('200 OK', [('X-Never', '1'), ('X-A', '{}')])"),
    ] {
        let calls = each(call, &[r"\u0100", r"\u20ac", r"\ud800", r"\U0001f600"]);
        are_refused(host, &format!("ValueError: {what} has characters above U+00FF"), "", &calls);
    }
}

/// PEP 3333, "Other HTTP Features"; RFC 9110, 7.6.1.
pub(super) fn hop_by_hop_headers_are_refused_where_the_operator_is_strict(host: &dyn HostUnderTest) {
    let mut calls = Vec::new();
    for name in HOP_BY_HOP {
        for name in [name.to_owned(), name.to_lowercase(), name.to_uppercase()] {
            calls.push(format!("start_response('200 OK', [('X-Never', '1'), ('{name}', 'x')])"));
        }
    }
    are_refused_with(host, &["wsgi_strict on"], "ValueError: header", "", &calls);
}

/// CGI programs send it, and some servers would use it as the status.
pub(super) fn a_header_called_status_is_refused_where_the_operator_is_strict(host: &dyn HostUnderTest) {
    let calls =
        each("start_response('200 OK', [('X-Never', '1'), ('{}', '404 Not Found')])", &["Status", "status", "STATUS"]);
    are_refused_with(host, &["wsgi_strict on"], "ValueError: header", "", &calls);
}

/// The syntax is defined in RFC 9110, 8.6.
pub(super) fn a_content_length_that_is_no_number_is_refused(host: &dyn HostUnderTest) {
    let mut calls = each(
        "start_response('200 OK', [('X-Never', '1'), ('Content-Length', '{}')])",
        &["", "-1", "+1", "1.0", "0x1", "1 1", "1,1", " 1", "x", r"\u00b2", "99999999999999999999999"],
    );
    calls.push("start_response('200 OK', [('Content-Length', '1'), ('content-length', '2')])".to_owned());
    are_refused(host, "ValueError: Content-Length", "", &calls);
}

pub(super) fn invalid_exc_info_is_refused(host: &dyn HostUnderTest) {
    let calls = each(
        "start_response('200 OK', [('X-Never', '1')], {})",
        &["'error'", "True", "KeyError()", "(1, 2)", "(1, 2, 3)", "[KeyError, KeyError(), None]"],
    );
    are_refused(host, "TypeError: exc_info", "", &calls);
}

/// In PEP 3333 the first call counts even if it raised.
pub(super) fn a_second_call_without_exc_info_is_refused(host: &dyn HostUnderTest) {
    let helpers = "
def after(first_call, second_call):
    try:
        first_call()
    except Exception:
        pass
    second_call()
";
    let mut calls = Vec::new();
    for first in [
        "'200 OK', [('X-Never', '1')]",
        "'no status', []",
        "'200 OK', [('no token', '1')]",
        "'200 OK', None",
        "",
        "'200 OK', [], 'no exc_info'",
        "'200 OK', headers=[]",
    ] {
        for second in ["'200 OK', [('X-Never', '1')]", "'200 OK', [('X-Never', '1')], None"] {
            calls.push(format!("after(lambda: start_response({first}), lambda: start_response({second}))"));
        }
    }
    are_refused(host, "RuntimeError: start_response() was already called", helpers, &calls);
}

/// Returns Python's escapes of all control characters below U+0080.
fn control_characters() -> impl Iterator<Item = String> {
    (0..0x20).chain([0x7f]).map(|code: u8| format!("\\x{code:02x}"))
}
