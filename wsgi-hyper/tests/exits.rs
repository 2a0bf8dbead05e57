//! Requests that the program answers without an application: no byte of their bodies may be parsed as a request. A
//! clause of the conformance suite covers requests that an application answers.

use std::fmt::Write as _;
use std::process::Command;

use wsgi_testkit::conformance::{After, Probe, Served};
use wsgi_testkit::wire::request;
use wsgi_testkit::{End, Program, figure};

/// Serves an application at `/probe`; other paths are outside of it.
fn serve(source: &str) -> Box<dyn Served> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let script = folder.path().join("app.py");
    std::fs::write(&script, source).expect("write the script");
    let mut command = Command::new(env!("CARGO_BIN_EXE_wsgi-hyper"));
    command.args(["--bind", "127.0.0.1:0", "--threads", "1", "--prefix", "/probe"]).arg(script);
    Box::new(Program::start(command, folder, End::Signal))
}

/// Logs each request that is not a probe, since such a request has no visible answer.
const TELLS: &str = "
import sys
def application(environ, start_response):
    answer = probe(environ, start_response)
    if answer is None:
        print('smuggled', environ['PATH_INFO'], file=sys.stderr)
        start_response('200 OK', [])
    return answer or []
";

/// Requests with a body that looks like a request.
fn bodies(method: &str, target: &str) -> [Vec<u8>; 5] {
    let small = request("GET", "/probe/smuggled", "", b"");
    let large = small.repeat(4_000);
    let chunked = |body: &[u8]| {
        let head = request(method, target, "Transfer-Encoding: chunked\r\n", b"");
        [&head, format!("{:x}\r\n", body.len()).as_bytes(), body, b"\r\n0\r\n\r\n"].concat()
    };
    let expected = request(method, target, "Expect: 100-continue\r\n", &small);
    [
        request(method, target, "", &small),
        chunked(&small),
        expected,
        request(method, target, "", &large),
        chunked(&large),
    ]
}

#[test]
fn no_refused_request_leaves_body_bytes_on_the_connection() {
    let site = serve(&(Probe::ANSWER.to_owned() + TELLS));
    let (mut requests, mut answered, mut ended, mut stray) = (0, 0, 0, 0);
    let mut problems = String::new();
    for (target, status) in [("/elsewhere", 404), ("/probe/%zz", 400), ("/probe/x", 405)] {
        let methods = if status == 405 { &["TRACE"][..] } else { &["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"] };
        for method in methods {
            for (number, bytes) in bodies(method, target).into_iter().enumerate() {
                requests += 1;
                let mut client = site.connect();
                client.send([bytes, Probe::new(requests).bytes()].concat());
                let response = client.final_response(method);
                let after = Probe::new(requests).after(&mut client);
                match after {
                    After::Answer => answered += 1,
                    After::End => ended += 1,
                    After::Stray(count) => stray += count,
                }
                if response.status != status || !response.whole || matches!(after, After::Stray(_)) {
                    let _ = writeln!(problems, "{method} {target}, body {number}: {response:?}, then {after:?}");
                }
            }
        }
    }
    figure(
        "S1",
        &format!(
            "{requests} requests refused by wsgi-hyper: behind them {answered} probes answered exactly, {ended} \
             connections ended, {stray} stray bytes"
        ),
    );
    assert!(problems.is_empty(), "{problems}");
    assert!(!site.stop().contains("smuggled"));
}
