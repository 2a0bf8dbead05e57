//! `wsgi_output_buffering`: items of an iterable that are joined before they are sent (OB-*).

use wsgi_testkit::Process;

use crate::harness::{Client, Gate, Mode, Nginx, Site, get, in_both_modes};

const SOURCE: &str = r#"
import hashlib, os
def gate():
    open(os.path.join(os.path.dirname(__file__), "gate")).read()
def steps():
    for item in (b"one", b"two", b"three"):
        yield item
        gate()
def block():
    yield b"x" * 9000
    gate()
def small():
    for number in range(10000):
        yield b"%d" % (number % 10)
def large():
    for number in range(800):
        yield bytes([number % 256]) * 65536
def fresh():
    for number in range(20000):
        item = b"%08d" % number * 100
        yield item
        del item
def sized():
    yield b"abc"
    yield b"de"
def application(environ, start_response):
    name = environ["PATH_INFO"][1:]
    start_response("200 OK", [("Content-Length", "5")] if name == "sized" else [])
    return globals()[name]()
"#;

fn nginx(mode: Mode, switch: &str) -> Nginx {
    let directives = format!("wsgi_pass app.py;\nwsgi_output_buffering {switch};");
    Site::new(mode).file("app.py", SOURCE).location("/", &directives).start()
}

fn open(nginx: &Nginx, path: &str) -> Client {
    let mut client = nginx.connect();
    client.send(get(path));
    assert_eq!(client.head().status, 200);
    client
}

/// Reads the chunks of a body to its end.
fn chunks(client: &mut Client) -> Vec<Vec<u8>> {
    let mut chunks = Vec::new();
    loop {
        match client.chunk().expect("a complete body") {
            chunk if chunk.is_empty() => return chunks,
            chunk => chunks.push(chunk),
        }
    }
}

#[test]
fn ob_1_without_it_each_item_is_sent_by_itself() {
    in_both_modes(|mode| {
        let nginx = nginx(mode, "off");
        let gate = Gate::new(nginx.path("gate"));
        let mut client = open(&nginx, "/steps");
        for item in [&b"one"[..], b"two", b"three"] {
            assert_eq!(client.chunk().as_deref(), Some(item));
            gate.pass();
        }
        assert_eq!(client.chunk().as_deref(), Some(&b""[..]));
    });
}

/// The rule that makes the directive safe: items that arrive slowly are not held back.
#[test]
fn ob_1_with_it_an_item_that_nothing_follows_does_not_wait() {
    in_both_modes(|mode| {
        let nginx = nginx(mode, "on");
        let gate = Gate::new(nginx.path("gate"));
        let mut client = open(&nginx, "/steps");
        for item in [&b"one"[..], b"two", b"three"] {
            assert_eq!(client.chunk().as_deref(), Some(item));
            let standing = gate.arrival();
            // With inline execution an item counts as slow only if it takes longer than 1 ms.
            std::thread::sleep(std::time::Duration::from_millis(5));
            drop(standing);
        }
        assert_eq!(client.chunk().as_deref(), Some(&b""[..]));
    });
}

#[test]
fn ob_1_with_it_a_larger_item_does_not_wait_for_a_full_buffer() {
    in_both_modes(|mode| {
        let directives = "wsgi_pass app.py;\nwsgi_output_buffering on;\nwsgi_write_buffer_size 64k;";
        let nginx = Site::new(mode).file("app.py", SOURCE).location("/", directives).start();
        let gate = Gate::new(nginx.path("gate"));
        let mut client = open(&nginx, "/block");
        assert_eq!(client.chunk().map(|chunk| chunk.len()), Some(9000));
        gate.pass();
        assert_eq!(client.chunk().as_deref(), Some(&b""[..]));
    });
}

#[test]
fn ob_2_many_small_items_become_few_chunks() {
    in_both_modes(|mode| {
        let expected: Vec<u8> = (0..10_000).map(|number| b'0' + (number % 10) as u8).collect();
        let nginx = nginx(mode, "on");
        let chunks = chunks(&mut open(&nginx, "/small"));
        assert_eq!(chunks.concat(), expected);
        assert!(chunks.len() < 2500, "{} chunks", chunks.len());
    });
}

#[test]
fn ob_3_memory_stays_bounded_with_a_slow_client() {
    in_both_modes(|mode| {
        let nginx = nginx(mode, "on");
        // The memory of the application itself does not count.
        nginx.get("/sized");
        let before = Process::new(nginx.worker()).memory();
        let mut client = open(&nginx, "/large");
        let mut most = 0;
        for number in 0..800 {
            let chunk = client.chunk().expect("a chunk");
            assert!(chunk == [(number % 256) as u8; 65536], "item {number} is damaged");
            if number % 50 == 0 {
                std::thread::sleep(std::time::Duration::from_millis(20));
                most = most.max(Process::new(nginx.worker()).memory());
            }
        }
        assert_eq!(client.chunk().as_deref(), Some(&b""[..]));
        assert!(most.saturating_sub(before) < 8 << 20, "{} KiB more", (most - before) >> 10);
    });
}

#[test]
fn ob_5_items_survive_the_objects_they_came_from() {
    in_both_modes(|mode| {
        let nginx = nginx(mode, "on");
        let mut client = open(&nginx, "/fresh");
        // The socket's buffers fill up before the client reads.
        std::thread::sleep(std::time::Duration::from_millis(300));
        let body = chunks(&mut client).concat();
        let expected: String = (0..20_000).map(|number| format!("{number:08}").repeat(100)).collect();
        assert!(body == expected.as_bytes(), "{} of {} bytes, or others", body.len(), expected.len());
    });
}

#[test]
fn ob_6_a_declared_length_stays() {
    in_both_modes(|mode| {
        let response = nginx(mode, "on").get("/sized");
        assert_eq!((response.ok().as_str(), response.header("Content-Length")), ("abcde", Some("5")));
    });
}
