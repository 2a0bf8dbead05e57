//! The program over loopback.

mod children;
mod clients;
mod debugger;
mod harness;
mod installations;
mod terminal;

use std::net::TcpListener;
use std::time::{Duration, Instant};

use harness::{Program, command};
use wsgi_harness::{leaving, stacks};
use wsgi_testkit::figure;

const HELLO: &str = r#"
def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"hello"]
"#;

/// Answers with the variables that are named in the query.
const SHOW: &str = r#"
def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [" ".join(f"{environ.get(name)!r}" for name in environ["QUERY_STRING"].split("&")).encode()]
"#;

/// Answers with the body, and prints a line when it begins to read.
const ECHO: &str = r#"
def application(environ, start_response):
    print("reading")
    try:
        body = environ["wsgi.input"].read()
    except OSError as error:
        print("error:", error)
        raise
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [body]
"#;

/// Ignores the body.
const IGNORE: &str = r#"
def application(environ, start_response):
    start_response("413 Too Much", [("Content-Type", "text/plain")])
    return [b"not wanted\n"]
"#;

const FAILING: &str = r#"
def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    yield b"some"
    raise ValueError("broken")
"#;

const ENDLESS: &str = r#"
def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    try:
        while True:
            yield b"x" * 10_000
    finally:
        print("closed")
"#;

/// Counts the headers of a name in a response.
fn count(response: &str, name: &str) -> usize {
    response.lines().filter(|line| line.starts_with(&format!("{name}:"))).count()
}

#[test]
fn an_application_is_served_and_its_requests_are_listed() {
    let program = Program::serve(HELLO);
    let response = program.get("/a?b");
    assert!(response.starts_with("HTTP/1.1 200 OK\r\n") && response.ends_with("\r\n\r\nhello"), "{response}");
    assert!(response.contains("\r\nserver: wsgi-hyper\r\n"), "{response}");
    assert_eq!((count(&response, "server"), count(&response, "date")), (1, 1));
    let line = program.out.wait_for("/a?b");
    assert!(line.starts_with("127.0.0.1 - - [") && line.contains("] \"GET /a?b HTTP/1.1\" 200 5 "), "{line}");
    assert!(line.ends_with("ms"), "{line}");
}

#[test]
fn server_and_date_of_the_application_win() {
    let program = Program::serve(
        r#"
def application(environ, start_response):
    start_response("200 OK", [("Server", "mine"), ("Date", "Sun, 06 Nov 1994 08:49:37 GMT")])
    return []
"#,
    );
    let response = program.get("/");
    assert!(response.contains("\r\nserver: mine\r\n") && response.contains("08:49:37 GMT\r\n"), "{response}");
    assert_eq!((count(&response, "server"), count(&response, "date")), (1, 1));
}

#[test]
fn addresses_and_prefix_are_in_environ() {
    let program = Program::with(SHOW, &["--prefix", "/mnt", "app.py"]);
    let port = program.address.port();
    let response = program.get("/mnt/x?SCRIPT_NAME&PATH_INFO&SERVER_NAME&SERVER_PORT&REMOTE_ADDR&SERVER_ADDR");
    let expected = format!("'/mnt' '/x' 'a' '{port}' '127.0.0.1' '127.0.0.1'");
    assert!(response.ends_with(&expected), "{response}");
    assert!(program.get("/x").starts_with("HTTP/1.1 404 Not Found\r\n"));
}

#[test]
fn directives_threads_and_another_callable_are_options() {
    let source = SHOW.replace("def application", "def app");
    let arguments = ["app.py", "app", "--set", "wsgi_var=TITLE 'My site'", "--set", "wsgi_var=B b", "--threads", "2"];
    let response = Program::with(&source, &arguments).get("/?TITLE&B&wsgi.multithread");
    assert!(response.ends_with("'My site' 'b' True"), "{response}");
}

#[test]
fn a_body_that_cannot_be_kept_is_500_with_a_line_in_the_log() {
    let program = Program::with(HELLO, &["app.py", "--set", "wsgi_temp_path=spool"]);
    let spool = program.folder().join("spool");
    // A file is at the path of the directory.
    let _ = std::fs::remove_dir_all(&spool);
    std::fs::write(&spool, "").expect("a file");
    let mut client = program.client();
    let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n";
    client.send(&format!("{head}{:x}\r\n{}\r\n0\r\n\r\n", 200_000, "x".repeat(200_000)));
    let response = client.rest();
    assert!(response.starts_with("HTTP/1.1 500 "), "{response}");
    let line = program.errors.wait_for("cannot spool the request body for");
    assert!(line.contains(&*spool.to_string_lossy()), "{line}");
}

#[test]
fn a_module_is_found_in_the_current_folder() {
    let response = Program::with(SHOW, &["app"]).get("/?wsgi_gateway.script&wsgi.multithread");
    assert!(response.ends_with("'app' False"), "{response}");
}

#[test]
fn a_script_finds_modules_beside_it_wherever_the_program_is_started() {
    let folder = tempfile::tempdir().unwrap();
    let beside = folder.path().join("site");
    std::fs::create_dir(&beside).unwrap();
    let source = "import helper\ndef application(environ, start_response):\n    start_response('200 OK', [])\n    return [helper.WORD]\n";
    std::fs::write(beside.join("shop.py"), source).unwrap();
    // The module imports the script, too.
    std::fs::write(beside.join("helper.py"), "import shop\nWORD = b'found ' + shop.__name__[:6].encode()\n").unwrap();
    let script = beside.join("shop.py");
    let program = Program::with(HELLO, &[script.to_str().unwrap()]);
    let answer = program.get("/");
    assert!(answer.ends_with("found _wsgi_"), "{answer}");
}

#[test]
fn a_script_that_has_changed_is_loaded_again() {
    let program = Program::serve(HELLO);
    assert!(program.get("/").ends_with("hello"));
    std::fs::write(program.folder().join("app.py"), HELLO.replace("hello", "hello again")).unwrap();
    assert!(program.get("/").ends_with("hello again"));
}

#[test]
fn wrong_arguments_are_one_line_and_status_2() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("app.py"), HELLO).unwrap();
    let output = command(folder.path()).args(["app.py", "--set", "wsgi_output_buffering=maybe"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let expected = "wsgi-hyper: --set wsgi_output_buffering=maybe: invalid value \"maybe\" in \"wsgi_output_buffering\" \
                    directive, it must be \"on\" or \"off\"\n";
    assert_eq!(String::from_utf8(output.stderr).unwrap(), expected);
    assert!(output.stdout.is_empty());
}

#[test]
fn address_in_use_is_reported() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("app.py"), HELLO).unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = command(folder.path()).args(["app.py", "--bind", &address]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.starts_with(&format!("wsgi-hyper: cannot listen on {address}: Address already in use")), "{error}");
}

#[test]
fn help_and_version_are_shown() {
    let folder = tempfile::tempdir().unwrap();
    let shown = |option| String::from_utf8(command(folder.path()).arg(option).output().unwrap().stdout).unwrap();
    assert!(shown("--help").contains("--set NAME=VALUE"));
    assert_eq!(shown("--version"), concat!("wsgi-hyper ", env!("CARGO_PKG_VERSION"), "\n"));
}

#[test]
fn a_request_under_way_is_answered_before_the_server_ends() {
    let program = Program::serve(&format!("import atexit\natexit.register(print, 'at exit')\n{ECHO}"));
    let mut client = program.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\nabc");
    program.errors.wait_for("reading");
    program.signal("INT");
    program.wait_until_closed();
    client.send("def");
    let response = client.rest();
    assert!(response.contains("\r\nconnection: close\r\n") && response.ends_with("abcdef"), "{response}");
    program.errors.wait_for("at exit");
    assert!(program.end().success());
}

#[test]
fn second_signal_ends_the_program_at_once() {
    let program = Program::serve(ECHO);
    let mut client = program.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\nabc");
    program.errors.wait_for("reading");
    program.signal("TERM");
    program.wait_until_closed();
    program.signal("INT");
    program.errors.wait_for("] client closed the connection");
    assert_eq!(program.end().code(), Some(1));
}

#[test]
fn second_signal_ends_the_program_despite_its_applications() {
    let keepers = [
        ("a request that keeps the GIL", "hold()"),
        ("a request that computes", "loop()"),
        ("a thread that keeps the GIL", "threading.Thread(target=hold).start()"),
        ("atexit that sleeps", "atexit.register(time.sleep, 3600); print('holds')"),
        ("atexit that keeps the GIL", "atexit.register(hold); print('holds')"),
    ];
    for (what, go) in keepers {
        let program = Program::serve(&format!(
            "
import atexit, ctypes, sys, threading, time
def hold():
    sys.stderr.write('holds\\n')
    ctypes.PyDLL(None).sleep(3600)
def loop():
    sys.stderr.write('holds\\n')
    while True:
        pass
def application(environ, start_response):
    start_response('200 OK', [])
    {go}
    return [b'ok']
"
        ));
        let mut client = program.client();
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        program.errors.wait_for("holds");
        let asked = Instant::now();
        program.signal("TERM");
        program.wait_until_closed();
        program.signal("INT");
        assert_eq!(program.end().code(), Some(1), "{what}");
        assert!(asked.elapsed() < Duration::from_secs(8), "{what}: {:?}", asked.elapsed());
    }
}

#[test]
fn a_crash_leaves_its_python_traceback_on_standard_error() {
    for (crash, fault) in [
        ("ctypes.string_at(0)", "Segmentation fault"),
        ("faulthandler._stack_overflow()", "Segmentation fault"),
        ("os.abort()", "Aborted"),
    ] {
        let program = Program::serve(&format!(
            "
import ctypes, faulthandler, os
def application(environ, start_response):
    environ['PATH_INFO'] == '/crash' and {crash}
    start_response('200 OK', [])
    return [b'ok']
"
        ));
        // Another thread writes this line; it would cut the report of the crash in two.
        assert!(program.get("/").ends_with("ok"), "{crash}");
        program.errors.wait_for("loaded");
        let mut client = program.client();
        client.send("GET /crash HTTP/1.1\r\nHost: a\r\n\r\n");
        program.errors.wait_for(&format!("Fatal Python error: {fault}"));
        program.errors.wait_for("app.py\", line 4 in application");
        assert_eq!(program.end().code(), None, "{crash}");
    }
}

#[test]
fn idle_connection_does_not_delay_the_exit() {
    let program = Program::serve(HELLO);
    let mut client = program.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    client.head();
    assert_eq!(client.read(5), "hello");
    program.signal("TERM");
    assert_eq!(client.rest(), "");
    assert!(program.end().success());
}

#[test]
fn application_cannot_ignore_signals_of_the_server() {
    let program = Program::serve(&format!("import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\n{HELLO}"));
    assert!(program.get("/").ends_with("hello"));
    program.signal("INT");
    assert!(program.end().success());
}

#[test]
fn an_application_is_closed_when_its_client_leaves() {
    let program = Program::serve(ENDLESS);
    let mut client = program.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    client.head();
    drop(client);
    program.errors.wait_for("closed");
    program.out.wait_for("\"GET / HTTP/1.1\" 200 ");
}

#[test]
fn read_raises_when_the_client_disconnects() {
    let program = Program::serve(ECHO);
    let mut client = program.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\nabc");
    program.errors.wait_for("reading");
    drop(client);
    program.errors.wait_for("] client closed the connection");
    program.out.wait_for("\"POST / HTTP/1.1\" 500 ");
}

#[test]
fn connection_stays_usable_after_a_small_unread_body() {
    let program = Program::serve(IGNORE);
    let mut client = program.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 17\r\n\r\nGET /no HTTP/1.1\nGET /yes HTTP/1.1\r\nHost: a\r\n\r\n");
    for target in ["POST /", "GET /yes"] {
        let head = client.head();
        assert!(head.starts_with("HTTP/1.1 413 Too Much\r\n") && !head.contains("close"), "{head}");
        assert_eq!(client.read(11), "not wanted\n");
        program.out.wait_for(&format!("\"{target} HTTP/1.1\" 413 11 "));
    }
}

#[test]
fn response_arrives_despite_a_large_unread_body() {
    let program = Program::serve(IGNORE);
    let mut client = program.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 20000000\r\n\r\n");
    // The server reads and discards the whole body: a client that is blocked in sending may not read the answer.
    client.send(&"x".repeat(20_000_000));
    assert!(client.head().starts_with("HTTP/1.1 413 Too Much\r\n"));
    assert_eq!(client.read(11), "not wanted\n");
}

#[test]
fn client_gets_100_continue_when_the_application_reads() {
    let request = "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n";
    let program = Program::serve(ECHO);
    let mut client = program.client();
    client.send(request);
    assert!(client.head().starts_with("HTTP/1.1 100 Continue\r\n"));
    client.send("abc");
    assert!(client.head().starts_with("HTTP/1.1 200 OK\r\n"));
    assert_eq!(client.read(3), "abc");

    let program = Program::serve(IGNORE);
    let mut client = program.client();
    client.send(request);
    assert!(client.head().starts_with("HTTP/1.1 413 Too Much\r\n"));
}

#[test]
fn a_chunked_body_is_read_to_its_end() {
    let program = Program::serve(ECHO);
    let mut client = program.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n");
    assert!(client.head().contains("\r\ncontent-length: 5\r\n"));
    assert_eq!(client.read(5), "abcde");
}

#[test]
fn invalid_requests_that_hyper_accepts_are_refused() {
    let program = Program::serve(HELLO);
    for request in [
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
        "GET /%zz HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /../ HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost : a\r\n\r\n",
        "GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n",
    ] {
        let mut client = program.client();
        client.send(request);
        let response = client.rest();
        assert!(response.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{request:?}: {response:?}");
    }
    let mut client = program.client();
    client.send("GET / HTTP/1.0\r\n\r\n");
    assert!(client.rest().ends_with("hello"));
}

#[test]
fn a_response_that_fails_midway_does_not_look_complete() {
    let program = Program::serve(FAILING);
    let mut client = program.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(client.head().contains("\r\ntransfer-encoding: chunked\r\n"));
    assert_eq!(client.rest(), "4\r\nsome\r\n");

    let mut client = program.client();
    client.send("GET / HTTP/1.0\r\n\r\n");
    let error = client.try_rest().expect_err("a connection that is reset");
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
}

#[test]
fn clients_that_leave_at_any_time_leave_nothing_behind() {
    let program = Program::with(leaving::APPLICATION, &["--threads", "2", "app.py"]);
    let text = leaving::withstand(program.address, program.process(), 10_000, u64::from(std::process::id()));
    figure("R14", &format!("wsgi-hyper, --threads 2: {text}"));
}

#[test]
fn threads_have_stacks_of_the_size_that_the_directive_says() {
    const MIB: usize = 1 << 20;
    for (arguments, least, most) in [
        (&["app.py"][..], 8 * MIB, 64 * MIB),
        (&["app.py", "--set", "wsgi_thread_stack_size=1m"], MIB, MIB),
        (&["app.py", "--set", "wsgi_thread_stack_size=100m"], 100 * MIB, 100 * MIB),
    ] {
        let program = Program::with(stacks::APPLICATION, arguments);
        let answer = program.get("/size");
        let size = answer.rsplit("\r\n").next().expect("a body").parse::<usize>().expect("a number");
        assert!((least..=most).contains(&size), "{arguments:?}: {answer}");
    }
    let program = Program::with(stacks::APPLICATION, &["app.py"]);
    assert!(program.get("/?max_key,10000").ends_with("RecursionError"));
}
