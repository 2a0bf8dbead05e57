//! An environ as an application saw it, on any host.

use std::collections::BTreeMap;

use crate::wire::Response;

/// Answers with the environ, to be read by [`Environ`].
pub const ENVIRON: &str = r#"
def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    kind = lambda value: "" if type(value) in (str, bool, tuple) else "object "
    return ["".join(f"{key}={kind(value)}{value!a}\n" for key, value in environ.items()).encode()]
"#;

/// An environ as an application saw it, by Python's `ascii()` of each value.
pub struct Environ(BTreeMap<String, String>);

impl Environ {
    /// Reads the answer of [`ENVIRON`].
    pub fn of(response: &Response) -> Self {
        let pairs = response.ok().lines().filter_map(|line| line.split_once('=')).map(own).collect();
        Self(pairs)
    }

    /// The value as Python shows it: a str stands in quotes, and only if it is exactly a str.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }

    /// All keys, in alphabetical order.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}

fn own((key, value): (&str, &str)) -> (String, String) {
    (key.to_owned(), value.to_owned())
}
