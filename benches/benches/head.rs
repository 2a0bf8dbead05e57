//! Parsing status and headers, without Python.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use wsgi_core::host::{HeadError, HeaderList, StatusLine};

/// Headers of a usual response: three that every framework sends.
const THREE: [(&str, &str); 3] =
    [("Content-Type", "text/html; charset=utf-8"), ("Content-Length", "5120"), ("Vary", "Accept-Encoding, Cookie")];

/// Further headers, which are repeated to make thirty in all.
const FURTHER: [(&str, &str); 3] = [
    ("Set-Cookie", "sessionid=2c3f1a0b9d8e7f6a5b4c3d2e1f0a9b8c; HttpOnly; Path=/; SameSite=Lax"),
    ("X-Content-Type-Options", "nosniff"),
    ("Link", "</static/site.css>; rel=preload; as=style"),
];

fn parse(status: &str, headers: &[(&str, &str)]) -> Result<(StatusLine, HeaderList), HeadError> {
    let mut list = HeaderList::new();
    for (name, value) in headers {
        list.push(name.as_bytes(), value.as_bytes())?;
    }
    Ok((StatusLine::parse(status.as_bytes())?, list))
}

fn head(criterion: &mut Criterion) {
    let thirty: Vec<_> = THREE.into_iter().chain(FURTHER.into_iter().cycle()).take(30).collect();
    let mut group = criterion.benchmark_group("head");
    for (name, status, headers) in [
        ("3 headers", "200 OK", &THREE[..]),
        ("3 headers, own reason", "200 Fine With Me", &THREE[..]),
        ("30 headers", "200 OK", &thirty[..]),
    ] {
        group.throughput(Throughput::Elements(headers.len() as u64));
        group.bench_function(name, |bencher| {
            bencher.iter(|| parse(black_box(status), black_box(headers)).expect("a head that can be sent"));
        });
    }
    group.finish();
}

criterion_group!(benches, head);
criterion_main!(benches);
