//! Pages with includes (SSI) that the same gateway answers: output that waits for another part of its page does not
//! wait for a client. Threads and permits are free meanwhile, and the event loop runs.

use std::net::TcpListener;
use std::thread;

use crate::harness::{Client, Gate, Mode, Nginx, Site, get, in_both_modes, request, wait_for};

const SOURCE: &str = r#"
import hashlib, os, tempfile
INCLUDE = b'<!--#include virtual="%s" -->'
HTML = [("Content-Type", "text/html")]
def size(environ):
    return int(environ["QUERY_STRING"] or 300000)
def filling(length):
    # No two blocks are the same: an exchange of two would show.
    for number in range(-(-length // 10000)):
        yield (b"%09d " % number * 1000)[:min(10000, length - number * 10000)]
def iterated(environ, start_response):
    start_response("200 OK", HTML)
    yield b"one " + INCLUDE % b"/part" + b" two "
    yield from filling(size(environ))
def written(environ, start_response):
    write = start_response("200 OK", HTML)
    write(b"one " + INCLUDE % b"/part" + b" two ")
    for block in filling(size(environ)):
        write(block)
    return []
def listed(environ, start_response):
    start_response("200 OK", HTML)
    return [b"one " + INCLUDE % b"/part" + b" two ", *filling(size(environ))]
def small(environ, start_response):
    write = start_response("200 OK", HTML)
    write(b"one " + INCLUDE % b"/part" + b" two ")
    def blocks():
        for number, block in enumerate(filling(size(environ))):
            if number % 50 == 7:
                # The loop has something to look at meanwhile.
                environ["wsgi.errors"].write("at block %d\n" % number)
            for at in range(0, len(block), 100):
                yield block[at:at + 100]
    return blocks()
def filed(environ, start_response):
    write = start_response("200 OK", HTML)
    write(b"one " + INCLUDE % b"/part" + b" two ")
    file = tempfile.TemporaryFile()
    file.writelines(filling(size(environ)))
    file.seek(0)
    return environ["wsgi.file_wrapper"](file)
def nested(environ, start_response):
    start_response("200 OK", HTML)
    yield INCLUDE % b"/iterated" + INCLUDE % b"/written"
    yield from filling(size(environ))
def part(environ, start_response):
    start_response("200 OK", HTML)
    return [b"PART"]
def standing(environ, start_response):
    open(os.path.join(os.path.dirname(__file__), "gate")).read()
    start_response("200 OK", HTML)
    return [b"PART"]
def large(environ, start_response):
    write = start_response("200 OK", HTML)
    write(b"LARGE ")
    return filling(200000)
"#;

const PAGES: [&str; 5] = ["iterated", "written", "listed", "small", "filed"];

fn site(mode: Mode) -> Site {
    complete(Site::new(mode))
}

fn complete(site: Site) -> Site {
    let site = site
        .file("app.py", SOURCE)
        .file("html/page.html", "<!--#include virtual=\"/proxied\" --> and <!--#include virtual=\"/written\" -->")
        .file("html/large.html", "<!--#include virtual=\"/large\" --> and <!--#include virtual=\"/large\" -->")
        .http("ssi on;\nssi_types *;\ndefault_type text/html;\nsend_timeout 20s;")
        .location("/", "root html;\nssi on;")
        .location("= /static", "return 200 static;")
        .location("= /part", "wsgi_pass app.py part;")
        .location("= /large", "wsgi_pass app.py large;")
        .location("= /nested", "wsgi_pass app.py nested;");
    let proxied = format!("proxy_pass http://127.0.0.1:{}/part;", site.port());
    PAGES
        .iter()
        .fold(site, |site, page| site.location(&format!("= /{page}"), &format!("wsgi_pass app.py {page};")))
        .location("= /proxied", &proxied)
}

fn filling(length: usize) -> String {
    let mut text: String = (0..length.div_ceil(10_000)).map(|number| format!("{number:09} ").repeat(1000)).collect();
    text.truncate(length);
    text
}

fn page(length: usize) -> String {
    format!("one PART two {}", filling(length))
}

#[track_caller]
fn assert_serves(nginx: &Nginx) {
    assert_eq!(nginx.get("/static").ok(), "static");
    assert_eq!(nginx.get("/part").ok(), "PART");
}

#[test]
fn a_page_and_its_parts_are_whole_however_the_page_is_sent() {
    in_both_modes(|mode| {
        let nginx = site(mode).start();
        for page_of in PAGES {
            for length in [0, 5, 70_000, 300_000] {
                let response = nginx.get(&format!("/{page_of}?{length}"));
                assert!(response.ok() == page(length), "{mode} /{page_of}?{length}");
            }
        }
        let response = nginx.get("/page.html").ok();
        assert!(response == format!("PART and {}", page(300_000)), "{mode}");
        let large = format!("LARGE {}", filling(200_000));
        assert!(nginx.get("/large.html").ok() == format!("{large} and {large}"), "{mode}");
        let nested = format!("{}{}{}", page(300_000), page(300_000), filling(40_000));
        assert!(nginx.get("/nested?40000").ok().len() == nested.len(), "{mode}");
        assert!(nginx.get("/nested?40000").ok() == nested, "{mode}");
        assert_serves(&nginx);
    });
}

#[test]
fn more_pages_than_threads_do_not_wait_for_each_other() {
    for (threads, pages) in [("1 max=4", 12), ("4 max=4", 24), ("1", 40)] {
        let nginx = complete(Site::with_defaults().http(&format!("wsgi_threads {threads};"))).start();
        for page_of in PAGES {
            let mut clients: Vec<Client> = (0..pages)
                .map(|_| {
                    let mut client = nginx.connect();
                    client.send(get(&format!("/{page_of}")));
                    client
                })
                .collect();
            for client in &mut clients {
                assert!(client.response().ok() == page(300_000), "wsgi_threads {threads}, /{page_of}");
            }
        }
        let mut clients: Vec<Client> = (0..pages).map(|_| nginx.connect()).collect();
        clients.iter_mut().for_each(|client| client.send(get("/nested?90000")));
        for client in &mut clients {
            assert!(client.response().ok().len() == 2 * page(300_000).len() + 90_000, "wsgi_threads {threads}");
        }
        assert_serves(&nginx);
    }
}

/// Resident memory of the worker in KiB.
fn memory(nginx: &Nginx) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", nginx.worker())).expect("a worker");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a size");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

#[test]
fn a_long_page_that_waits_for_a_part_is_kept_in_a_file() {
    const LENGTH: usize = 60_000_000;
    for page_of in ["iterated", "written", "small"] {
        let nginx = standing_site().start();
        assert_eq!(nginx.get("/quick").ok(), "PART");
        let gate = Gate::new(nginx.path("gate"));
        let before = memory(&nginx);
        let mut client = nginx.connect();
        client.send(get(&format!("/{page_of}?{LENGTH}")));
        let standing = gate.arrival();
        // The thread of the page is not blocked: its permit is free for other requests.
        assert_eq!(nginx.get("/quick").ok(), "PART", "{page_of}");
        wait_for("the page to be kept", || (kept(&nginx) + 200_000 > LENGTH as u64).then_some(()));
        let grown = memory(&nginx).saturating_sub(before);
        assert!(grown < 24 * 1024, "{page_of}: {grown} KiB for a page that waits");
        drop(standing);
        let response = client.response();
        assert!(response.ok() == page(LENGTH), "{page_of}");
        wait_for("the file to go", || (kept(&nginx) == 0).then_some(()));
    }
}

/// Like [`site`], with a part that waits at the gate.
fn standing_site() -> Site {
    site(Mode::Threads(2))
        .location("= /quick", "wsgi_pass app.py part;")
        .server("rewrite ^/part$ /standing last;")
        .location("= /standing", "wsgi_pass app.py standing;")
}

/// Total size of the unnamed files that the worker has open, in bytes.
fn kept(nginx: &Nginx) -> u64 {
    let folder = std::fs::read_dir(format!("/proc/{}/fd", nginx.worker())).expect("a worker");
    folder
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            let target = std::fs::read_link(&path).ok()?;
            let nameless =
                target.to_string_lossy().ends_with("(deleted)") && target.starts_with(nginx.path("wsgi_temp"));
            nameless.then(|| std::fs::metadata(&path).map_or(0, |found| found.len()))
        })
        .sum()
}

#[test]
fn a_page_that_cannot_be_kept_is_cut_and_the_log_says_why() {
    // A part whose server accepts the connection and never answers.
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = silent.local_addr().expect("an address").port();
    let nginx = site(Mode::Threads(2))
        .location("= /quick", "wsgi_pass app.py part;")
        .server("rewrite ^/part$ /silent last;")
        .location("= /silent", &format!("proxy_pass http://127.0.0.1:{port};"))
        .start();
    assert_eq!(nginx.get("/quick").ok(), "PART");
    std::fs::remove_dir_all(nginx.path("wsgi_temp")).expect("a folder");
    for (page_of, failed) in [("iterated", " not sent"), ("written", "")] {
        let mut client = nginx.connect();
        client.send(get(&format!("/{page_of}?2000000")));
        // nginx may hold the head back until the part has come.
        let sent = client.rest();
        assert!(!sent.ends_with(b"0\r\n\r\n"), "{page_of}: {}", sent.len());
        nginx.logged(&format!("callable \"{page_of}\"{failed}: No such file or directory"));
        assert_eq!(nginx.get("/quick").ok(), "PART", "{page_of}");
    }
}

#[test]
fn clients_may_leave_while_a_page_waits_for_its_part() {
    for page_of in PAGES {
        let nginx = standing_site().start();
        assert_eq!(nginx.get("/quick").ok(), "PART");
        let descriptors = || std::fs::read_dir(format!("/proc/{}/fd", nginx.worker())).expect("a worker").count();
        let before = descriptors();
        for _ in 0..3 {
            let gate = Gate::new(nginx.path("gate"));
            let mut client = nginx.connect();
            client.send(request("GET", &format!("/{page_of}?2000000"), "", b""));
            let standing = gate.arrival();
            drop(client);
            drop(standing);
            std::fs::remove_file(nginx.path("gate")).expect("the gate goes");
        }
        wait_for("descriptors to be given back", || (descriptors() <= before).then_some(()));
        assert_eq!(nginx.get("/quick").ok(), "PART", "{page_of}");
    }
}

#[test]
fn the_event_loop_runs_while_a_page_is_written_that_waits_for_a_part() {
    in_both_modes(|mode| {
        let nginx = site(mode).start();
        thread::scope(|scope| {
            let pages: Vec<_> = (0..4).map(|_| scope.spawn(|| nginx.get("/written?2000000").ok())).collect();
            for _ in 0..20 {
                assert_eq!(nginx.get("/static").ok(), "static", "{mode}");
            }
            pages.into_iter().for_each(|client| assert!(client.join().expect("a page") == page(2_000_000), "{mode}"));
        });
    });
}
