//! Tests of the harness itself: it detects the errors that it must detect. Python is not used.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::harness::{Site, get};

#[test]
fn keeps_a_connection_for_several_responses() {
    let nginx = Site::plain().location("/", "return 200 $uri;").start();
    let mut client = nginx.connect();
    for path in ["/one", "/two"] {
        client.send(get(path));
        assert_eq!(client.response().ok(), path);
    }
}

#[test]
fn an_alert_in_the_log_fails_the_test() {
    for line in ["[alert] 1#1: bad", "[emerg] 1#1: bad", "==1==ERROR: AddressSanitizer: bad", "==1== Invalid read"] {
        let nginx = Site::plain().start();
        append(&nginx.path("error.log"), line);
        assert!(catch_unwind(AssertUnwindSafe(|| drop(nginx))).is_err(), "{line} went unnoticed");
    }
}

#[test]
fn an_alert_of_an_nginx_that_has_ended_by_itself_fails_the_test() {
    let mut nginx = Site::plain().start();
    nginx.signal(libc::SIGQUIT);
    nginx.wait();
    append(&nginx.path("error.log"), "[alert] 1#1: bad");
    assert!(catch_unwind(AssertUnwindSafe(|| drop(nginx))).is_err(), "it went unnoticed");
}

#[test]
fn expected_alert_in_the_log_does_not_fail_the_test() {
    let nginx = Site::plain().expect_in_log("is expected").start();
    append(&nginx.path("error.log"), "[alert] 1#1: this is expected");
}

#[test]
fn a_configuration_that_nginx_refuses_is_reported() {
    let check = Site::plain().location("/", "nonsense;").check();
    assert!(!check.succeeded);
    assert!(check.output.contains("unknown directive \"nonsense\""), "{}", check.output);
}

fn append(path: &std::path::Path, line: &str) {
    use std::io::Write;
    let mut file = std::fs::OpenOptions::new().append(true).open(path).expect("a log");
    writeln!(file, "{line}").expect("append");
}
