#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| wsgi_fuzz::spool::run(data));
