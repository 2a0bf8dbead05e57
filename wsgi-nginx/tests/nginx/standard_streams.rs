//! Uses of the standard streams by applications and libraries, each in a separate worker.

use crate::harness::{Mode, Nginx, Site, in_both_modes};

fn site(mode: Mode, source: &str) -> Site {
    Site::new(mode).file("app.py", source).location("/", "wsgi_pass app.py;")
}

#[track_caller]
fn assert_logged(log: &str, texts: &[&str]) {
    for text in texts {
        assert_eq!(log.lines().filter(|line| line.contains(text)).count(), 1, "{text:?} in\n{log}");
    }
}

/// Asserts that each text is in a record with nginx's context of the request.
#[track_caller]
fn assert_logged_with_the_request(nginx: &Nginx, path: &str, texts: &[&str]) {
    for text in texts {
        let record = nginx.logged(text);
        assert!(record.contains(&format!("request: \"GET {path} HTTP/1.1\"")), "{record}");
    }
}

#[test]
fn lines_of_threads_do_not_mix_and_none_is_lost() {
    in_both_modes(|mode| {
        let source = "
import sys, threading
def work(number):
    for line in range(20):
        print('<', end='')
        sys.stdout.buffer.write(b'%d: ' % number)
        print(line, 'é' * 3, sep=' ', end='>\\n')
    # Nothing flushes this one.
    print(f'<{number} has no end>', end='')
def application(environ, start_response):
    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads: thread.start()
    start_response('200 OK', [])
    return [b'ok']
";
        let nginx = site(mode, source).start();
        assert_eq!(nginx.get("/").ok(), "ok");
        for number in 0..4 {
            nginx.logged(&format!("<{number} has no end>"));
        }
        let log = nginx.stop();
        for number in 0..4 {
            let lines: Vec<String> = (0..20).map(|line| format!("<{number}: {line} ééé>")).collect();
            assert_logged(&log, &lines.iter().map(String::as_str).collect::<Vec<_>>());
        }
        assert!(!log.contains("><"), "{log}");
    });
}

/// At import, when the script is reloaded, and when another script does the same.
#[test]
fn scripts_may_put_streams_of_their_own_around_the_standard_ones_again_and_again() {
    let ways = [
        "sys.stdout = io.TextIOWrapper(sys.stdout.detach(), encoding='utf-8', line_buffering=True)",
        "sys.stdout = io.TextIOWrapper(sys.stdout.buffer, encoding='utf-8', write_through=True)",
        "sys.stdout = codecs.getwriter('utf-8')(sys.stdout.buffer)",
        "sys.stdout = codecs.getwriter('utf-8')(sys.stdout.detach())",
        "sys.stdout.reconfigure(encoding='utf-8', errors='replace', line_buffering=True)",
        "sys.stdout = io.TextIOWrapper(sys.stdout.buffer.raw, write_through=True)",
        "sys.stdout = open(os.dup(sys.stdout.fileno()), 'w', buffering=1)",
    ];
    in_both_modes(|mode| {
        for way in ways {
            let source = format!(
                "
import codecs, io, logging, os, sys
{way}
handler = logging.StreamHandler(sys.stdout)
logger = logging.Logger(__name__)
logger.addHandler(handler)
def application(environ, start_response):
    sys.stdout.write('<print é ' + environ['PATH_INFO'] + '>\\n')
    logger.warning('<logging ' + environ['PATH_INFO'] + '>')
    print('<stderr ' + environ['PATH_INFO'] + '>', file=sys.stderr)
    start_response('200 OK', [])
    return [b'ok']
"
            );
            let nginx = site(mode, &source)
                .file("other.py", &source)
                .http("wsgi_script_reloading on;")
                .location("/other", "wsgi_pass other.py;")
                .start();
            assert_eq!(nginx.get("/one").ok(), "ok", "{way}");
            assert_eq!(nginx.get("/other/two").ok(), "ok", "{way}");
            let script = nginx.path("app.py");
            std::fs::write(&script, source.clone() + "# changed\n").expect("write the script");
            assert_eq!(nginx.get("/three").ok(), "ok", "{way}");
            let log = nginx.stop();
            for path in ["/one", "/two", "/three"] {
                for stream in ["print é", "logging", "stderr"] {
                    assert_logged(&log, &[&format!("<{stream} {path}>")]);
                }
            }
            assert!(!log.contains("Traceback") && !log.contains("Logging error"), "{way}\n{log}");
        }
    });
}

#[test]
fn a_handler_of_logging_from_an_import_serves_every_request_and_thread() {
    in_both_modes(|mode| {
        let source = "
import logging, sys, threading
logging.basicConfig(stream=sys.stdout, level=logging.INFO, format='<%(message)s>')
go = threading.Event()
def late():
    go.wait()
    logging.info('after the request')
    sys.stdout.write('<written after the request>\\n')
def application(environ, start_response):
    if environ['PATH_INFO'] == '/late':
        threading.Thread(target=late).start()
    else:
        go.set()
        logging.info('in a request')
        print('<first half ', end='')
        print('second half>')
    start_response('200 OK', [])
    return [b'ok']
";
        let nginx = site(mode, source).start();
        assert_eq!(nginx.get("/late").ok(), "ok");
        assert_eq!(nginx.get("/go").ok(), "ok");
        assert_logged_with_the_request(&nginx, "/go", &["<in a request>", "<first half second half>"]);
        for text in ["<after the request>", "<written after the request>"] {
            let record = nginx.logged(text);
            assert!(record.contains("[notice]") && !record.contains("request:"), "{record}");
        }
    });
}

#[test]
fn a_stream_that_an_application_detaches_is_that_of_its_interpreter_alone() {
    in_both_modes(|mode| {
        let detached = "
import sys
def application(environ, start_response):
    sys.stdout.detach()
    sys.stderr.reconfigure(encoding='ascii')
    try:
        print('nowhere')
    except ValueError as error:
        print('<refused>', error, file=sys.stderr)
    start_response('200 OK', [])
    return [b'ok']
";
        let other = "
import sys
def application(environ, start_response):
    print('<printed é>')
    print(f'<{sys.stderr.encoding}>', file=sys.stderr)
    start_response('200 OK', [])
    return [b'ok']
";
        let nginx = site(mode, detached)
            .file("other.py", other)
            .http("wsgi_enable_subinterpreters on;")
            .location("/other", "wsgi_pass other.py;")
            .start();
        assert_eq!(nginx.get("/").ok(), "ok");
        assert_eq!(nginx.get("/other").ok(), "ok");
        let log = nginx.stop();
        assert_logged(&log, &["<refused>", "<printed é>", "<utf-8>"]);
    });
}

#[test]
fn lines_without_an_end_are_logged_at_the_end_of_the_worker() {
    in_both_modes(|mode| {
        let source = "
import atexit, io, sys
kept = io.TextIOWrapper(sys.stderr.buffer, encoding='utf-8')
def at_end():
    print('<by print>', end='')
    sys.stderr.buffer.write(b'<by bytes>')
    sys.stdout = io.StringIO()
atexit.register(at_end)
def wrap():
    sys.stderr = io.TextIOWrapper(sys.stderr.buffer, encoding='utf-8')
    print('<buffered by the application>', file=sys.stderr)
atexit.register(wrap)
def application(environ, start_response):
    start_response('200 OK', [])
    return [b'ok']
";
        let nginx = site(mode, source).start();
        assert_eq!(nginx.get("/").ok(), "ok");
        let log = nginx.stop();
        assert_logged(&log, &["<by print>", "<by bytes>", "<buffered by the application>"]);
    });
}

#[test]
fn an_application_may_point_descriptor_2_elsewhere_and_programs_write_to_it() {
    in_both_modes(|mode| {
        let source = "
import os, subprocess, sys
def application(environ, start_response):
    subprocess.run('echo \"<by a program>\" >&2', shell=True, stderr=sys.stderr)
    subprocess.run('echo \"<to its output>\"', shell=True, stdout=sys.stdout)
    with open(os.path.join(os.path.dirname(__file__), 'own.txt'), 'w') as file:
        os.dup2(file.fileno(), sys.stderr.fileno())
    os.write(sys.stderr.fileno(), b'<elsewhere>')
    print('<to the log>', file=sys.stderr)
    start_response('200 OK', [])
    return [b'ok']
";
        let site = site(mode, source).user("root");
        let nginx = site.start();
        assert_eq!(nginx.get("/").ok(), "ok");
        assert_eq!(std::fs::read_to_string(nginx.path("own.txt")).expect("a file"), "<elsewhere>");
        // nginx redirects descriptor 2 to the log again when it reopens its logs.
        nginx.signal(libc::SIGUSR1);
        nginx.logged("reopening logs");
        let log = nginx.stop();
        assert_logged(&log, &["<by a program>", "<to its output>", "<to the log>"]);
    });
}

#[test]
fn a_forked_process_prints_to_descriptor_2() {
    in_both_modes(|mode| {
        let source = "
import os, sys
def application(environ, start_response):
    child = os.fork()
    if not child:
        print('<child prints é>')
        sys.stderr.buffer.write(b'<child writes>')
        sys.stderr.flush()
        sys.stdout.close()
        print('<child again>', flush=True)
        os._exit(0)
    os.waitpid(child, 0)
    print('<parent>')
    start_response('200 OK', [])
    return [b'ok']
";
        let nginx = site(mode, source).start();
        assert_eq!(nginx.get("/").ok(), "ok");
        let log = nginx.stop();
        assert_logged(&log, &["<child prints é>", "<child writes>", "<child again>", "<parent>"]);
    });
}
