//! `wsgi_write_buffering` and `wsgi_write_buffer_size`: the write callable (WB-*, WBS-*).

use std::path::{Path, PathBuf};
use std::time::Duration;

use wsgi_testkit::Process;

use crate::harness::{Gate, Mode, Nginx, Site, get, in_both_modes, wait_for};

const SOURCE: &str = r#"
import os, sys
def gate():
    open(os.path.join(os.path.dirname(__file__), "gate")).read()
def application(environ, start_response):
    path, query = environ["PATH_INFO"], environ["QUERY_STRING"]
    headers = [("Content-Length", "3")] if path == "/long" else []
    write = start_response("200 OK", headers)
    if path == "/gate":
        write(b"A")
        gate()
        write(b"B")
        return []
    if path == "/items":
        write(b"x")
        return iter([b"y", b"z"])
    if path == "/bytes":
        for number in range(int(query) // 512):
            write(b"%04d" % (number % 10000) * 128)
        for number in range(int(query) % 512):
            write(b"!")
        if os.path.exists(os.path.join(os.path.dirname(__file__), "gate")):
            gate()
        return []
    if path == "/large":
        for number in range(int(query)):
            write(b"%x" % (number % 16) * (1 << 20))
        return [b"end"]
    if path == "/replace":
        write(b"x" * 9000)
        try:
            raise ValueError("the first")
        except ValueError:
            start_response("500 Sorry", [], sys.exc_info())
        return [b"sorry"]
    if path == "/long":
        try:
            write(b"abcd")
        except ValueError as error:
            environ["wsgi.errors"].write(f"refused: {error}\n")
        return []
    if path == "/empty":
        write(b"")
        return []
    if path == "/endless":
        try:
            while True:
                write(b"x" * 65536)
        except OSError as error:
            environ["wsgi.errors"].write(f"{type(error).__name__} from write()\n")
        return []
"#;

fn site(mode: Mode, directives: &str) -> Site {
    Site::new(mode).file("app.py", SOURCE).location("/", &format!("wsgi_pass app.py;\n{directives}"))
}

const ON: &str = "wsgi_write_buffering on;";

/// Returns the deleted files below the site's temporary directory that a worker has open.
fn nameless_files(nginx: &Nginx) -> Vec<PathBuf> {
    let folder = nginx.path("wsgi_temp");
    let descriptors = format!("/proc/{}/fd", nginx.worker());
    let links = Path::new(&descriptors)
        .read_dir()
        .expect("descriptors")
        .filter_map(|entry| entry.ok()?.path().read_link().ok());
    links.filter(|link| link.starts_with(&folder) && link.to_string_lossy().ends_with(" (deleted)")).collect()
}

/// The body of `/bytes`.
fn bytes(count: usize) -> String {
    let blocks: String = (0..count / 512).map(|number| format!("{:04}", number % 10_000).repeat(128)).collect();
    blocks + &"!".repeat(count % 512)
}

/// Returns the number of temporary files while a response of `count` bytes waits to be sent.
fn files_for(nginx: &Nginx, path: &str, count: usize) -> usize {
    let gate = Gate::new(nginx.path("gate"));
    let mut client = nginx.connect();
    client.send(get(&format!("{path}?{count}")));
    let standing = gate.arrival();
    let files = nameless_files(nginx).len();
    drop(standing);
    std::fs::remove_file(nginx.path("gate")).expect("the gate goes");
    let response = client.response();
    assert!(response.ok() == bytes(count), "{} bytes, or others", response.body.len());
    assert_eq!(response.header("Content-Length"), Some(count.to_string().as_str()));
    files
}

#[test]
fn wb_1_without_it_each_write_is_sent_at_once() {
    in_both_modes(|mode| {
        let nginx = site(mode, "").start();
        let gate = Gate::new(nginx.path("gate"));
        let mut client = nginx.connect();
        client.send(get("/gate"));
        assert_eq!(client.head().status, 200);
        assert_eq!(client.chunk().as_deref(), Some(&b"A"[..]));
        gate.pass();
        assert_eq!(client.chunk().as_deref(), Some(&b"B"[..]));
    });
}

#[test]
fn wb_2_with_it_nothing_is_sent_before_the_application_returns() {
    in_both_modes(|mode| {
        let nginx = site(mode, ON).start();
        let gate = Gate::new(nginx.path("gate"));
        let mut client = nginx.connect();
        client.send(get("/gate"));
        let standing = gate.arrival();
        assert!(!client.has_answer_within(Duration::from_millis(200)));
        drop(standing);
        let response = client.response();
        assert_eq!((response.ok().as_str(), response.header("Content-Length")), ("AB", Some("2")));
    });
}

#[test]
fn wb_3_written_data_is_sent_before_the_items() {
    in_both_modes(|mode| {
        for directives in ["", ON] {
            assert_eq!(site(mode, directives).start().get("/items").ok(), "xyz");
        }
    });
}

#[test]
fn wb_4_overflow_goes_to_an_unlinked_file() {
    in_both_modes(|mode| {
        for options in ["", "sendfile on;", "aio threads;\nsendfile on;"] {
            let nginx = site(mode, &format!("{ON}\nwsgi_write_buffer_size 4k;\n{options}")).start();
            assert_eq!(files_for(&nginx, "/bytes", 10 << 20), 1);
        }
    });
}

#[test]
fn wb_5_exc_info_replaces_what_was_written() {
    in_both_modes(|mode| {
        let response = site(mode, ON).start().get("/replace");
        assert_eq!((response.status, response.text().as_str()), (500, "sorry"));
    });
}

#[test]
fn wb_6_without_it_exc_info_comes_too_late() {
    in_both_modes(|mode| {
        let nginx = site(mode, "").start();
        let response = nginx.get("/replace");
        assert_eq!((response.status, response.whole), (200, false));
        nginx.logged("ValueError: the first");
    });
}

#[test]
fn wb_7_write_to_a_client_that_does_not_read_fails_and_affects_no_other_request() {
    in_both_modes(|mode| {
        let nginx = site(mode, "send_timeout 1s;").workers(2).start();
        let mut stalled = nginx.connect();
        stalled.send(get("/endless"));
        nginx.logged("Error from write()");
        drop(stalled);
        assert_eq!(nginx.get("/items").ok(), "xyz");
    });
}

#[test]
fn send_timeout_counts_between_two_sends_of_one_write() {
    in_both_modes(|mode| {
        let nginx = site(mode, "send_timeout 1s;").listen_options("sndbuf=16k").start();
        let mut client = nginx.connect_with_receive_buffer(16 << 10);
        client.send("GET /large?2 HTTP/1.0\r\n\r\n");
        assert_eq!(client.head().status, 200);
        // Each of the two blocks takes longer than the timeout.
        for _ in 0..32 {
            assert_eq!(client.take(64 << 10).len(), 64 << 10, "cut");
            std::thread::sleep(Duration::from_millis(100));
        }
        assert_eq!(client.rest(), b"end");
    });
}

#[test]
fn blocks_that_only_the_event_loop_can_send_are_spooled_while_the_application_writes() {
    let nginx = site(Mode::Inline, "limit_rate 100k;").start();
    assert_eq!(nginx.get("/items").ok(), "xyz");
    let worker = Process::new(nginx.worker());
    let before = worker.memory();
    let mut client = nginx.connect();
    client.send(get("/large?64"));
    assert_eq!(client.head().status, 200);
    // The application has returned, since this request is answered.
    assert_eq!(nginx.get("/items").ok(), "xyz");
    let growth = worker.memory().saturating_sub(before);
    assert!(growth < 8 << 20, "the worker grew by {growth} bytes");
    assert_eq!(nameless_files(&nginx).len(), 1);
    drop(client);
    wait_for("the file to be closed", || nameless_files(&nginx).is_empty().then_some(()));
}

#[test]
fn spooled_blocks_of_a_writing_application_arrive_in_order() {
    in_both_modes(|mode| {
        for options in ["", "sendfile on;", "gzip on;\ngzip_types text/plain;"] {
            let nginx = site(mode, &format!("limit_rate 3m;\n{options}")).start();
            let body = nginx.get("/large?4").ok();
            let expected = ["0", "1", "2", "3"].map(|digit| digit.repeat(1 << 20)).concat() + "end";
            assert!(body == expected, "{} bytes", body.len());
        }
    });
}

#[test]
fn wb_8_writing_beyond_content_length_raises() {
    in_both_modes(|mode| {
        for directives in ["", ON] {
            let nginx = site(mode, directives).start();
            let response = nginx.get("/long");
            assert_eq!(response.status, 500, "nothing of the body was sent, and the length is a lie");
            nginx.logged("refused: 1 bytes written beyond the declared Content-Length of 3");
        }
    });
}

#[test]
fn wb_9_an_empty_write_is_an_empty_body() {
    in_both_modes(|mode| {
        let response = site(mode, ON).start().get("/empty");
        assert_eq!((response.ok().as_str(), response.header("Content-Length")), ("", Some("0")));
    });
}

#[test]
fn wbs_1_and_wbs_2_the_size_decides() {
    in_both_modes(|mode| {
        let nginx = site(mode, &format!("{ON}\nwsgi_write_buffer_size 1m;")).start();
        assert_eq!(files_for(&nginx, "/bytes", 900 << 10), 0);
        let nginx = site(mode, &format!("{ON}\nwsgi_write_buffer_size 1k;")).start();
        assert_eq!(files_for(&nginx, "/bytes", 2 << 10), 1);
    });
}

#[test]
fn wbs_3_invalid_size_is_refused() {
    for bad in ["abc", "0", "1023", "-1", "1g"] {
        let check = Site::with_defaults().http(&format!("wsgi_write_buffer_size {bad};")).check();
        assert!(!check.succeeded);
        let expected = format!("invalid value \"{bad}\" in \"wsgi_write_buffer_size\" directive");
        assert!(check.output.contains(&expected), "{}", check.output);
    }
}

#[test]
fn wbs_4_an_inner_level_decides_for_itself() {
    in_both_modes(|mode| {
        let nginx = Site::new(mode)
            .file("app.py", SOURCE)
            .http("wsgi_write_buffering on;\nwsgi_write_buffer_size 1k;")
            .location("/", "wsgi_pass app.py;\nwsgi_var PATH_INFO /bytes;")
            .location("/large/", "wsgi_pass app.py;\nwsgi_var PATH_INFO /bytes;\nwsgi_write_buffer_size 64k;")
            .start();
        assert_eq!(files_for(&nginx, "/", 8 << 10), 1);
        assert_eq!(files_for(&nginx, "/large/", 8 << 10), 0);
    });
}

#[test]
fn wbs_5_a_page_is_the_default() {
    // SAFETY: `sysconf` only returns a number.
    let page = usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).expect("a size");
    in_both_modes(|mode| {
        let nginx = site(mode, ON).start();
        assert_eq!(files_for(&nginx, "/bytes", page), 0);
        assert_eq!(files_for(&nginx, "/bytes", page + 1), 1);
    });
}
