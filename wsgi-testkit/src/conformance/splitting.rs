//! Control characters in a response head (CWE-113; PEP 3333, "The start_response() Callable").

use super::host::{HostUnderTest, Site};
use crate::figure;
use crate::wire::request;

/// Text that occurs in each refused part of a head, and nowhere else.
const MARK: &str = "smuggled";

const SPLITS: &str = "
def application(environ, start_response):
    part, place, code = environ['PATH_INFO'][1:].split('/')
    mark = 'smuggled'
    text = {'before': '%s' + mark, 'within': 'a%s' + mark, 'after': mark + '%s'}[place] % chr(int(code))
    if part == 'status':
        start_response('200 ' + text, [('X-' + mark, mark)])
    elif part == 'name':
        start_response('200 OK', [('X-' + mark, mark), (text, 'value')])
    elif part == 'value':
        start_response('200 OK', [('X-' + mark, mark), ('X-Value', text)])
    elif part == 'slot':
        start_response('200 OK', [('X-' + mark, mark), ('Content-Type', text)])
    return [mark.encode()]
";

/// Applications copy data of clients into heads: a response must stay one response.
pub(super) fn no_control_character_of_an_application_leaves_in_a_head(host: &dyn HostUnderTest) {
    let site = host.serve(Site::new(SPLITS));
    let (mut tried, mut refused, mut bytes) = (0, 0, 0);
    for part in ["status", "name", "value", "slot"] {
        for place in ["before", "within", "after"] {
            for code in (0..0x20).chain([0x7f]) {
                tried += 1;
                let mut client = site.connect();
                client.send(request("GET", &format!("/{part}/{place}/{code}"), "Connection: close\r\n", b""));
                let answer = client.rest();
                let text = String::from_utf8_lossy(&answer);
                bytes += text.matches(MARK).count() * MARK.len();
                refused += usize::from(text.starts_with("HTTP/1.1 500 ") && text.matches("HTTP/1.").count() == 1);
            }
        }
    }
    figure("S2", &format!("{refused} of {tried} refused on {}, {bytes} bytes of them sent", host.name()));
    assert_eq!((tried, refused, bytes), (4 * 3 * 33, tried, 0));
    // The same without a control character is sent, so the refused text could have been seen.
    let good = site.get("/value/within/65");
    assert_eq!((good.header("X-Value"), good.ok().as_str()), (Some("aAsmuggled"), MARK));
}
