//! An environ as received by an application, on any host.

use std::collections::BTreeMap;

use crate::wire::Response;

/// An application that answers with its environ, to be parsed by [`Environ`].
pub const ENVIRON: &str = r#"
def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    kind = lambda value: "" if type(value) in (str, bool, tuple) else "object "
    return ["".join(f"{key}={kind(value)}{value!a}\n" for key, value in environ.items()).encode()]
"#;

/// An environ as received by an application, with each value in the form of Python's `ascii()`.
pub struct Environ(BTreeMap<String, String>);

impl Environ {
    /// Parses the response of [`ENVIRON`].
    pub fn of(response: &Response) -> Self {
        let pairs = response.ok().lines().filter_map(|line| line.split_once('=')).map(own).collect();
        Self(pairs)
    }

    /// Returns the value as Python shows it: in quotes if its type is exactly str.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }

    /// Returns all keys, in alphabetical order.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}

fn own((key, value): (&str, &str)) -> (String, String) {
    (key.to_owned(), value.to_owned())
}
