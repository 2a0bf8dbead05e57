//! For the tests and fuzz targets of this repository, and for its nginx module. No part of the API: it may change at any time.

pub use crate::failpoint::{FOLDER as FAILPOINTS, failpoint};
pub use crate::protocol::pool::panic_message;

/// The rules once more, written independently of the machines, for comparison.
pub mod model {
    /// The variables of a request.
    pub mod environ {
        pub use crate::protocol::environ::model::{Environ, Follower, Request, model};
    }
    /// Reads of a request body.
    pub mod input {
        pub use crate::protocol::input::model::{Pieces, Step, compare};
    }
    /// Calls of an application for a response.
    pub mod response {
        pub use crate::protocol::response::model::{Step, check_framing, compare};
    }
}
