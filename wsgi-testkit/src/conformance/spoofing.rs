//! Request headers that imitate other variables (CWE-290, CWE-644; PEP 3333, "environ Variables").

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::host::{HostUnderTest, Served, Site};
use crate::wire::{Client, request};
use crate::{ENVIRON, Environ, figure};

pub(super) fn no_header_poses_as_another_variable(host: &dyn HostUnderTest) {
    let site = host.serve(Site::new(ENVIRON));
    check_spoofing(&*site, &host.name());
}

/// Sends many kinds of headers to an application that answers with its [`ENVIRON`], served at `/` of a host that has
/// connections. Panics if a header changes a variable other than its own. `name` is the host's name in the printed figure.
pub fn check_spoofing(site: &dyn Served, name: &str) {
    let mut problems = String::new();
    let mut forged = 0;
    let plain = variables(&mut site.connect(), "").expect("a plain request is answered");
    let attacks = attacks(plain.keys().map(String::as_str));
    let mut client = site.connect();
    for attack in &attacks {
        let Some(found) = variables(&mut client, &attack.fields) else {
            // The host refused the request, and closed the connection.
            client = site.connect();
            continue;
        };
        for key in found.keys().chain(plain.keys()) {
            let (value, own) = (found.get(key), attack.own.iter().find(|own| own.key == *key));
            let right = match own {
                Some(own) => own.values.contains(&value.map(String::as_str)),
                None => value == plain.get(key),
            };
            if !right {
                forged += 1;
                let _ = writeln!(problems, "{:?} makes {key} {value:?}", attack.fields);
            }
        }
    }
    figure("S3", &format!("{forged} keys forged by {} sets of headers on {name}", attacks.len()));
    assert!(problems.is_empty(), "{problems}");
}

/// Header lines, and the allowed values of the variables that belong to these headers.
struct Attack {
    fields: String,
    own: Vec<Own>,
}

struct Own {
    key: String,
    /// The allowed values.
    values: Vec<Option<&'static str>>,
}

impl Attack {
    fn new(fields: impl Into<String>) -> Self {
        Self { fields: fields.into(), own: Vec::new() }
    }

    fn own(mut self, key: impl Into<String>, values: &[Option<&'static str>]) -> Self {
        self.own.push(Own { key: key.into(), values: values.to_vec() });
        self
    }
}

/// Keys that no header may set in the gateway's default configuration.
const NOBODYS: [&str; 7] = [
    "HTTP_PROXY",
    "HTTP_CONTENT_TYPE",
    "HTTP_CONTENT_LENGTH",
    "HTTP_TRANSFER_ENCODING",
    "HTTP_KEEP_ALIVE",
    "HTTP_AUTHORIZATION",
    "HTTP_PROXY_AUTHORIZATION",
];

/// Variables that an attacker would like to set, besides those that the host has.
const WANTED: [&str; 22] = [
    "REMOTE_USER",
    "REMOTE_HOST",
    "REMOTE_IDENT",
    "AUTH_TYPE",
    "HTTPS",
    "PATH",
    "PATH_TRANSLATED",
    "PYTHONPATH",
    "LD_PRELOAD",
    "SSL_CLIENT_VERIFY",
    "SSL_CLIENT_S_DN",
    "CONTENT_TYPE",
    "HTTP_PROXY",
    "HTTP_AUTHORIZATION",
    "HTTP_PROXY_AUTHORIZATION",
    "HTTP_TRANSFER_ENCODING",
    "HTTP_KEEP_ALIVE",
    "HTTP_X_FORWARDED_FOR",
    "HTTP_SCRIPT_NAME",
    "wsgi.file_wrapper",
    "wsgi_gateway.script",
    "x-wsgiorg.suspend",
];

/// Special characters that a name may have (RFC 9110, 5.6.2).
const MARKS: &str = "!#$%&'*+-.^_`|~";

const EVIL: &str = "evil";

fn attacks<'a>(keys: impl Iterator<Item = &'a str>) -> Vec<Attack> {
    let mut attacks = Vec::new();
    // The names of variables, with and without the prefix of header variables.
    for key in keys.chain(WANTED) {
        for key in [key, key.strip_prefix("HTTP_").unwrap_or(key)] {
            // Only one Host is allowed; lengths and credentials follow below.
            if ["HOST", "CONTENT_LENGTH", "CONTENT-LENGTH"].contains(&key) {
                continue;
            }
            for name in [key.to_owned(), key.replace('_', "-"), key.to_lowercase()] {
                attacks.push(alone(&name));
            }
        }
    }
    for mark in MARKS.chars() {
        for name in [format!("{mark}"), format!("X{mark}User"), format!("{mark}Proxy"), format!("Proxy{mark}")] {
            attacks.push(alone(&name));
        }
    }
    for trusted in ["X-User", "X-Forwarded-For", "Remote-User", "X-A-B-C"] {
        for posing in spellings(trusted) {
            for fields in [
                format!("{trusted}: me\r\n{posing}: {EVIL}\r\n"),
                format!("{posing}: {EVIL}\r\n{trusted}: me\r\n"),
                format!("{posing}: {EVIL}\r\n{trusted}: me\r\n{posing}: {EVIL}\r\n"),
                format!("{}: {EVIL}\r\n{}: me\r\n", posing.to_uppercase(), trusted.to_lowercase()),
            ] {
                attacks.push(Attack::new(fields).own(key_of(trusted), &[Some("'me'")]));
            }
        }
        // Headers of the same name are all kept, so that no component sees only the first or the last of them.
        let twice = format!("{trusted}: {EVIL}\r\n{}: me\r\n", trusted.to_lowercase());
        attacks.push(Attack::new(twice).own(key_of(trusted), &[Some("'evil, me'")]));
    }
    for posing in
        ["Content_Length: 0\r\n", "Content_Length: 9\r\n", "Transfer_Encoding: chunked\r\n", "CONTENT_LENGTH: 7\r\n"]
    {
        attacks.push(Attack::new(posing));
        for fields in [format!("{posing}Content-Length: 0\r\n"), format!("Content-Length: 0\r\n{posing}")] {
            attacks.push(Attack::new(fields).own("CONTENT_LENGTH", &[Some("'0'")]));
        }
    }
    for fields in ["Content-Type: a/b\r\nContent_Type: evil\r\n", "CONTENT_TYPE: evil\r\nContent-Type: a/b\r\n"] {
        attacks.push(Attack::new(fields).own("CONTENT_TYPE", &[Some("'a/b'")]));
    }
    for fields in ["Proxy: http://evil\r\n", "PROXY: http://evil\r\npROXY: http://evil\r\n"] {
        attacks.push(Attack::new(fields));
    }
    for fields in ["Authorization: Basic eDp5\r\n", "Proxy_Authorization: x\r\nAuthorization: x\r\n"] {
        attacks.push(Attack::new(fields));
    }
    // Headers in which a proxy in front describes the client, and itself.
    attacks.push(Attack::new("X-Forwarded-Proto: https\r\n").own("HTTP_X_FORWARDED_PROTO", &[Some("'https'")]));
    attacks.push(Attack::new("X-Forwarded-Host: evil\r\n").own("HTTP_X_FORWARDED_HOST", &[Some("'evil'")]));
    attacks
}

/// A single header: its variable is set or missing.
fn alone(name: &str) -> Attack {
    let attack = Attack::new(format!("{name}: {EVIL}\r\n"));
    if name.eq_ignore_ascii_case("content-type") {
        return attack.own("CONTENT_TYPE", &[Some("'evil'")]);
    }
    let key = key_of(name);
    if NOBODYS.contains(&key.as_str()) { attack } else { attack.own(key, &[None, Some("'evil'")]) }
}

fn key_of(name: &str) -> String {
    format!("HTTP_{}", name.to_ascii_uppercase().replace('-', "_"))
}

/// Returns the names that differ from this one only in underscores for dashes.
fn spellings(name: &str) -> Vec<String> {
    let dashes: Vec<_> = name.match_indices('-').map(|(position, _)| position).collect();
    let mut spellings = Vec::new();
    for choice in 1..1 << dashes.len() {
        let mut spelling = name.to_owned();
        for (_, position) in dashes.iter().enumerate().filter(|(bit, _)| choice >> bit & 1 == 1) {
            spelling.replace_range(*position..=*position, "_");
        }
        spellings.push(spelling);
    }
    spellings
}

/// Returns the environ of a request with these headers, except objects; `None` if the request is refused.
fn variables(client: &mut Client, fields: &str) -> Option<BTreeMap<String, String>> {
    client.send(request("GET", "/", fields, b""));
    let response = client.response();
    // E.g. an unknown transfer coding.
    if matches!(response.status, 400 | 501) {
        return None;
    }
    let environ = Environ::of(&response);
    let is_own = |key: &&str| *key != "REMOTE_PORT" && !environ.get(key).unwrap_or_default().starts_with("object ");
    Some(
        environ
            .keys()
            .filter(is_own)
            .map(|key| (key.to_owned(), environ.get(key).unwrap_or_default().to_owned()))
            .collect(),
    )
}
