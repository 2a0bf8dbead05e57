//! Random requests.

use std::ops::Range;

use proptest::prelude::*;

use crate::host::Scheme;
use crate::protocol::environ::model::Request;

/// Generates several requests. Values come from small sets, so that consecutive requests often have the same ones.
pub(crate) fn requests(count: Range<usize>) -> impl Strategy<Value = Vec<Request>> {
    let name = prop_oneof![
        6 => prop::sample::select(vec![
            "Host", "host", "User-Agent", "Cookie", "cookie", "X-User", "X_User", "x_user", "A-B_C", "A_B-C", "A-B-C",
            "Content-Type", "Content_Type", "Content-Length", "Authorization", "Proxy_Authorization", "Proxy",
            "Transfer-Encoding", "Keep-Alive", "keep_alive", "X-Secret",
        ])
        .prop_map(str::to_owned),
        2 => (0..400u32).prop_map(|number| format!("X-Name-{number}")),
        1 => (0..400u32).prop_map(|number| format!("X_Name-{number}")),
        1 => (60..70usize).prop_map(|length| "L".repeat(length)),
    ];
    let value = prop_oneof![
        6 => prop::sample::select(vec!["", "a", "b", "a, b"]).prop_map(|text| text.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..8),
        1 => (254..259usize, b'a'..b'c').prop_map(|(length, byte)| vec![byte; length]),
    ];
    let variable = prop_oneof![
        8 => prop::sample::select(vec![
            "HTTP_X_USER", "HTTP_AUTHORIZATION", "HTTP_X_SECRET", "HTTP_A_B_C", "CONTENT_TYPE", "CONTENT_LENGTH", "HTTPS",
            "REQUEST_SCHEME", "REQUEST_METHOD", "SERVER_NAME", "SERVER_PORT", "SERVER_PROTOCOL", "REMOTE_ADDR",
            "QUERY_STRING", "PATH_INFO", "GATEWAY_INTERFACE", "my.app", "DOCUMENT_ROOT",
        ])
        .prop_map(str::to_owned),
        1 => (0..400u32).prop_map(|number| format!("HTTP_X_NAME_{number}")),
    ];
    let setting = prop_oneof![
        4 => (variable, value.clone()),
        1 => (Just("SCRIPT_NAME".to_owned()), prop::sample::select(vec!["", "/", "/app", "/app/x/", "/ap", "/other"])
            .prop_map(|text| text.as_bytes().to_vec())),
        1 => (Just("HTTPS".to_owned()), prop::sample::select(vec!["on", "1", "off"])
            .prop_map(|text| text.as_bytes().to_vec())),
        1 => (Just("REQUEST_SCHEME".to_owned()), prop::sample::select(vec!["http", "https"])
            .prop_map(|text| text.as_bytes().to_vec())),
    ];
    let variables = prop::collection::vec(setting, 0..5).prop_map(|mut list| {
        // Each name at most once.
        let mut known = Vec::new();
        list.retain(|(name, _)| {
            !known.contains(name) && {
                known.push(name.clone());
                true
            }
        });
        list
    });
    let extra = prop::sample::subsequence(vec!["REQUEST_URI", "DOCUMENT_ROOT", "SERVER_ADDR", "SSL_CIPHER"], 0..=4);
    let line = (
        prop::sample::select(vec!["GET", "HEAD", "POST"]),
        prop::bool::weighted(0.2),
        prop::sample::select(vec![("", "/"), ("/app", "/x/y"), ("", "/app/x/y"), ("/app", ""), ("", "/apple")]),
        prop::sample::select(vec!["", "q=1"]),
        (
            prop::option::of(79..81u16),
            prop::sample::select(vec!["127.0.0.1", ""]),
            prop::option::of(1..3u16),
            prop::option::of(0..2u64),
        ),
    );
    let headers = prop::collection::vec((name, value.clone()), 0..40);
    let hash_mask = prop_oneof![Just(u32::MAX), Just(3)];
    let headers = (headers, hash_mask);
    let request = (line, headers, extra, prop::collection::vec(value, 4), variables).prop_map(
        |(
            (method, https, (script_name, path_info), query, numbers),
            (headers, hash_mask),
            extra,
            values,
            variables,
        )| Request {
            method,
            scheme: if https { Scheme::Https } else { Scheme::Http },
            script_name: script_name.to_owned(),
            path_info: path_info.to_owned(),
            query: query.to_owned(),
            server_port: numbers.0,
            remote_addr: numbers.1,
            remote_port: numbers.2,
            content_length: numbers.3,
            headers: headers.into_iter().map(|(name, value)| (name.into_bytes(), value)).collect(),
            hash_mask,
            extra: extra.into_iter().zip(values).collect(),
            variables,
        },
    );
    prop::collection::vec(request, count)
}
