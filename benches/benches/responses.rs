//! Whole exchanges whose responses have 1, 100 and 10,000 blocks of 64 bytes, from a list and from a generator.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use wsgi_benches::host::Host;
use wsgi_benches::request::{BARE, Request};
use wsgi_core::config::Mode;

/// `BLOCKS` stands for the number of blocks.
const LIST: &str = r#"
blocks = [b"x" * 64] * BLOCKS

def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return blocks
"#;

const GENERATOR: &str = r#"
blocks = [b"x" * 64] * BLOCKS

def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    yield from blocks
"#;

fn responses(criterion: &mut Criterion) {
    let host = Host::start(Mode::Inline);
    let request = Request::get(BARE);
    for (kind, source) in [("list", LIST), ("generator", GENERATOR)] {
        let mut group = criterion.benchmark_group(format!("responses/{kind}"));
        for blocks in [1u64, 100, 10_000] {
            let location = host.serve(&source.replace("BLOCKS", &blocks.to_string()));
            let _attached = host.attach(&location);
            assert_eq!(host.answer(&location, &request).body_bytes, blocks * 64);
            group.throughput(Throughput::Elements(blocks));
            group.bench_function(blocks.to_string(), |bencher| bencher.iter(|| host.answer(&location, &request)));
        }
        group.finish();
    }
}

criterion_group!(benches, responses);
criterion_main!(benches);
