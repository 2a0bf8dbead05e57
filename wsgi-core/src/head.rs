//! Under construction.
pub struct ResponseHead;
