//! Status and headers as they are sent (PEP 3333, "The start_response() Callable", "A Note On String Types").

use super::host::{HostUnderTest, Site, get};
use super::refusals::HOP_BY_HOP;
use crate::wire::Response;

/// Serves an application that answers with this status and these headers, both Python expressions, and a body.
fn answer(host: &dyn HostUnderTest, status: &str, headers: &str) -> Response {
    let site = host.serve(Site::new(format!(
        "
def application(environ, start_response):
    start_response({status}, {headers})
    return [b'body']
"
    )));
    let response = site.get("/");
    assert_eq!((response.text().as_str(), response.whole), ("body", true), "{response:?}");
    response
}

pub(super) fn the_status_arrives_with_its_own_reason(host: &dyn HostUnderTest) {
    for (status, code, reason) in [
        ("200 OK", 200, "OK"),
        ("200 Well done", 200, "Well done"),
        ("201 Created", 201, "Created"),
        ("299 Fine: 2, or 3?", 299, "Fine: 2, or 3?"),
        ("404 Nicht da", 404, "Nicht da"),
        ("418 I am a teapot", 418, "I am a teapot"),
        ("500 Own", 500, "Own"),
        ("599 Own", 599, "Own"),
    ] {
        let response = answer(host, &format!("'{status}'"), "[]");
        assert_eq!((response.status, response.reason.as_str()), (code, reason));
    }
}

/// PEP 3333 requires a reason; RFC 9112, 4 allows an empty one, and applications of the time of that RFC leave it out.
pub(super) fn a_missing_reason_is_tolerated(host: &dyn HostUnderTest) {
    for status in ["'404'", "'404 '"] {
        assert_eq!(answer(host, status, "[]").status, 404, "{status}");
    }
}

pub(super) fn characters_of_latin_1_are_sent_as_one_byte_each(host: &dyn HostUnderTest) {
    let all: String = (0x80..=0xff_u8).map(char::from).collect();
    let range = "''.join(map(chr, range(0x80, 0x100)))";
    let response = answer(host, &format!("'404 <' + {range} + '>'"), &format!("[('X-All', '<' + {range} + '>')]"));
    assert_eq!(response.header("X-All"), Some(format!("<{all}>").as_str()));
    assert_eq!(response.reason, format!("<{all}>"));
}

pub(super) fn values_of_headers_arrive_as_given(host: &dyn HostUnderTest) {
    let response = answer(
        host,
        "'200 OK'",
        r#"[("!#$%&'*+-.^_`|~09Az", "1"), ('X-Empty', ''), ('X-Marks', 'a, b ;c="d\\"" (e) <f> %20 : =?'), ('X-Long', 'x' * 3000)]"#,
    );
    assert_eq!(response.header("!#$%&'*+-.^_`|~09Az"), Some("1"));
    assert_eq!(response.header("X-Empty"), Some(""));
    assert_eq!(response.header("X-Marks"), Some(r#"a, b ;c="d\"" (e) <f> %20 : =?"#));
    assert_eq!(response.header("X-Long"), Some("x".repeat(3000).as_str()));
}

pub(super) fn repeated_headers_stay_separate_and_in_order(host: &dyn HostUnderTest) {
    let response = answer(
        host,
        "'401 Unauthorized'",
        "[('Set-Cookie', 'a=1'), ('Vary', 'Cookie'), ('WWW-Authenticate', 'Basic realm=\"a\"'), ('Link', '</a>; rel=next'),
          ('set-cookie', 'b=2'), ('WWW-Authenticate', 'Bearer'), ('Vary', 'Accept'), ('SET-COOKIE', 'a=1'),
          ('Link', '</b>; rel=prev'), ('X-Same', 'x'), ('X-Same', 'x')]",
    );
    assert_eq!(response.all("Set-Cookie"), ["a=1", "b=2", "a=1"]);
    assert_eq!(response.all("Vary"), ["Cookie", "Accept"]);
    assert_eq!(response.all("WWW-Authenticate"), ["Basic realm=\"a\"", "Bearer"]);
    assert_eq!(response.all("Link"), ["</a>; rel=next", "</b>; rel=prev"]);
    assert_eq!(response.all("X-Same"), ["x", "x"]);
}

pub(super) fn a_hundred_headers_arrive_in_order(host: &dyn HostUnderTest) {
    let response = answer(host, "'200 OK'", "[('Set-Cookie', f'{number}=' + 'x' * 100) for number in range(100)]");
    let expected: Vec<String> = (0..100).map(|number| format!("{number}={}", "x".repeat(100))).collect();
    assert_eq!(response.all("Set-Cookie"), expected);
}

pub(super) fn content_type_is_the_application_s_or_none(host: &dyn HostUnderTest) {
    for value in ["text/html", "text/html; charset=utf-8", "application/x-own", "multipart/mixed; boundary=x"] {
        let response = answer(host, "'200 OK'", &format!("[('Content-Type', '{value}')]"));
        assert_eq!(response.header("Content-Type"), Some(value));
    }
    for status in ["'200 OK'", "'404 Not Found'", "'500 Own'"] {
        assert_eq!(answer(host, status, "[]").header("Content-Type"), None, "{status}");
    }
}

pub(super) fn a_relative_location_is_left_as_it_is(host: &dyn HostUnderTest) {
    for value in ["/next?x=y", "next", "../next", "//other.example/x", "?x", "http://other.example/x#y"] {
        let response = answer(host, "'302 Found'", &format!("[('Location', '{value}')]"));
        assert_eq!((response.status, response.header("Location")), (302, Some(value)));
    }
}

/// The gateway and the server must find a header in any case (RFC 9110, 5.1).
pub(super) fn names_of_response_headers_are_compared_without_case(host: &dyn HostUnderTest) {
    for name in ["Content-Length", "content-length", "CONTENT-LENGTH"] {
        // If it were not recognised, there would be a second one with the real length, or the body would exceed it.
        let site = host.serve(Site::new(format!(
            "
def application(environ, start_response):
    start_response('200 OK', [('{name}', '4')])
    return iter([b'body', b' and too much'])
"
        )));
        let response = site.get("/");
        assert_eq!((response.ok().as_str(), response.header("Content-Length")), ("body", Some("4")), "{name}");
    }
    for name in ["Content-Type", "content-type", "CONTENT-TYPE"] {
        let response = answer(host, "'200 OK'", &format!("[('{name}', 'text/x')]"));
        assert_eq!(response.header("Content-Type"), Some("text/x"), "{name}");
    }
}

pub(super) fn equal_content_lengths_become_one(host: &dyn HostUnderTest) {
    let response = answer(host, "'200 OK'", "[('Content-Length', '4'), ('content-length', '4')]");
    assert_eq!(response.header("Content-Length"), Some("4"));
}

/// PEP 3333, "The start_response() Callable"; RFC 9110, 6.6.1 and 10.2.4.
pub(super) fn date_and_server_of_the_application_win(host: &dyn HostUnderTest) {
    let date = "Thu, 01 Jan 1970 00:00:01 GMT";
    for spelled in [str::to_owned, str::to_lowercase, str::to_uppercase] as [fn(&str) -> String; 3] {
        let headers = format!("[('{}', '{date}'), ('{}', 'own/1')]", spelled("Date"), spelled("Server"));
        let response = answer(host, "'200 OK'", &headers);
        assert_eq!([response.header("Date"), response.header("Server")], [Some(date), Some("own/1")]);
    }
}

pub(super) fn headers_do_not_depend_on_method_or_version(host: &dyn HostUnderTest) {
    let site = host.serve(Site::new(
        "
def application(environ, start_response):
    start_response('404 Nicht da', [('Content-Type', 'text/x'), ('X-A', '1'), ('Set-Cookie', 'a=1'), ('Set-Cookie', 'b=2'),
                                    ('Content-Length', '4')])
    return [b'body']
",
    ));
    for request in [get("/"), get("/").http_1_0(), get("/").method("POST")] {
        let response = site.send(request);
        assert_eq!((response.status, response.reason.as_str(), response.text().as_str()), (404, "Nicht da", "body"));
        assert_eq!([response.header("Content-Type"), response.header("X-A")], [Some("text/x"), Some("1")]);
        assert_eq!((response.all("Set-Cookie"), response.header("Content-Length")), (vec!["a=1", "b=2"], Some("4")));
    }
}

/// As in other servers: a view that copies the headers of another server, or that follows common examples of event streams,
/// sends some of these headers.
pub(super) fn headers_of_the_connection_and_status_are_left_out_with_one_warning_each(host: &dyn HostUnderTest) {
    let names: Vec<_> = HOP_BY_HOP.into_iter().chain(["Status"]).collect();
    let source = format!(
        "
NAMES = {names:?}

def application(environ, start_response):
    case = {{'lower': str.lower, 'upper': str.upper}}.get(environ['QUERY_STRING'], str)
    headers = [('X-First', '1')] + [(case(name), 'x-value') for name in NAMES] + [('X-Last', '1')]
    start_response('200 OK', headers)
    return iter([b'one ', b'two'])
"
    );
    let site = host.serve(Site::new(source).with("wsgi_strict off"));
    for query in ["", "lower", "upper", ""] {
        let response = site.get(&format!("/?{query}"));
        assert_eq!(response.ok(), "one two", "{response:?}");
        assert_eq!((response.header("X-First"), response.header("X-Last")), (Some("1"), Some("1")));
        assert!(response.headers.iter().all(|(_, value)| value != "x-value"), "{response:?}");
    }
    let log = site.stop();
    for name in names {
        let warning = format!("callable \"application\": header \"{name}\" ");
        assert_eq!(log.matches(&warning).count(), 1, "{name} in the log:\n{log}");
    }
    assert_eq!(log.matches("is left out of responses").count(), HOP_BY_HOP.len() + 1, "{log}");
}

pub(super) fn a_header_that_is_left_out_changes_no_framing(host: &dyn HostUnderTest) {
    let source = r#"
def application(environ, start_response):
    name, value, length = environ['QUERY_STRING'].split(',')
    start_response('200 OK', [(name, value)] + ([('Content-Length', length)] if length else []))
    return iter([b'5\r\nfirst', b'\r\n0\r\n\r\n'])
"#;
    let site = host.serve(Site::new(source).with("wsgi_strict off"));
    for header in ["Transfer-Encoding,chunked", "Transfer-Encoding,gzip", "Connection,close", "Upgrade,websocket"] {
        for length in ["", "15"] {
            let response = site.get(&format!("/?{header},{length}"));
            assert_eq!(response.ok(), "5\r\nfirst\r\n0\r\n\r\n", "{header}, {length}: {response:?}");
        }
    }
}
