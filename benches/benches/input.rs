//! Whole exchanges whose applications read a body of 1 MiB: at once, and line by line.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use wsgi_benches::host::Host;
use wsgi_benches::request::Request;
use wsgi_core::config::Mode;

const SIZE: usize = 1 << 20;

/// Length of a line in bytes, including the newline.
const LINE: usize = 64;

/// `READ` stands for a statement that counts the bytes or lines it reads, `COUNTED` for the count it must find.
const APPLICATION: &str = r#"
def application(environ, start_response):
    body = environ["wsgi.input"]
    count = 0
    READ
    assert count == COUNTED
    start_response("200 OK", [("Content-Type", "text/plain")])
    return []
"#;

const WAYS: [(&str, &str, usize); 3] = [
    ("read", "count = len(body.read())", SIZE),
    ("readline", "while body.readline(): count += 1", SIZE / LINE),
    ("iteration", "for line in body: count += 1", SIZE / LINE),
];

fn input(criterion: &mut Criterion) {
    let body: Vec<u8> = [b'x'; LINE - 1].into_iter().chain([b'\n']).cycle().take(SIZE).collect();
    let request = Request::post(body.leak());
    let host = Host::start(Mode::Inline);
    let mut group = criterion.benchmark_group("input");
    group.throughput(Throughput::Bytes(SIZE as u64));
    for (name, read, counted) in WAYS {
        let location = host.serve(&APPLICATION.replace("READ", read).replace("COUNTED", &counted.to_string()));
        let _attached = host.attach(&location);
        group.bench_function(name, |bencher| bencher.iter(|| host.answer(&location, &request)));
    }
    group.finish();
}

criterion_group!(benches, input);
criterion_main!(benches);
