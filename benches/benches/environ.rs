//! Making the environ of a request: `Gateway::begin`, which makes the whole exchange but does not call the application.

use std::hint::black_box;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use wsgi_benches::HELLO;
use wsgi_benches::host::Host;
use wsgi_benches::request::{BARE, BROWSER, Request, SETS, THIRTY};
use wsgi_core::config::Mode;

fn environ(criterion: &mut Criterion) {
    let host = Host::start(Mode::Inline);
    let location = host.serve(HELLO);
    let _attached = host.attach(&location);
    let mut group = criterion.benchmark_group("environ");
    let same = [("bare", BARE), ("browser", BROWSER), ("thirty", THIRTY)];
    let same = same.map(|(name, headers)| (name, vec![Request::get(headers)]));
    let changing = SETS.into_iter().filter(|(name, _)| *name == "changing").map(|(name, set)| (name, set.to_vec()));
    for (name, requests) in same.into_iter().chain(changing) {
        let mut turns = requests.iter().cycle();
        group.bench_function(name, |bencher| {
            bencher.iter_batched(
                || {
                    let request = turns.next().expect("at least one request");
                    (request, host.parts(request))
                },
                // The exchange returned is dropped after the clock has stopped.
                |(request, parts)| host.begin(&location, black_box(request), parts),
                BatchSize::NumIterations(64),
            );
        });
    }
    group.finish();
}

criterion_group!(benches, environ);
criterion_main!(benches);
