//! The machines that the gateway consists of: plain data, rules and state machines, without a server and without Python.
//!
//! They are public for gateways with another interpreter, for hosts that need one of the rules, and for fuzzing. They may
//! change in any minor version. The types of the machines that hosts need are in [`host`](crate::host) and
//! [`config`](crate::config), which do not change in minor versions.

pub(crate) mod balance;
pub(crate) mod environ;
pub(crate) mod head;
pub(crate) mod input;
pub(crate) mod output;
pub(crate) mod pool;
pub(crate) mod record;
pub(crate) mod reload;
pub(crate) mod response;
#[cfg_attr(not(feature = "python"), allow(dead_code, reason = "only the gateway transfers requests"))]
pub(crate) mod transfer;

pub use balance::{Placement, Slot, State, Workers};
pub use environ::{Changes, Credentials, EnvironCache, SlotId};
pub use head::is_listed;
pub use input::Input;
pub use output::{TempFolder, WriteBuffer};
pub use pool::{Overloaded, Pool, Task, Threads, Ticket, stream_ended, without_permit};
pub use record::{LineBuffer, MAX_RECORD, escape, split_record};
pub use reload::{ByModule, ByProcess, FileSystem, Never, Watch};
pub use response::{Accepted, Ending, HeadAt, Response};
